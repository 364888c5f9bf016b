//! A history in short form: numbers instead of names, so that it can be generated, shrunk and printed.

mod document;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use checks::{Evidence, Outcome, PartId, Progress, ReasonSpec, Step};
use chrono::{DateTime, Utc};
use probe::event::{Command, Control, Input, Run, StepEnd, Terms, Way, Wish};
use probe::now::{Millis, Now};
use probe::plan::Plan;
use probe::state::{State, Unwritable};

pub(crate) use document::{Doc, PhaseDoc, ProbeDoc, Seal, StepDoc};

/// What one part, or a control, shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    Pass,
    Fail,
    /// A Fail for a reason that is not the control's own.
    Other,
    Unknown,
    /// Due so many milliseconds after (or before) the wall clock's now.
    Waiting(i64),
}

/// What a proof can be bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Thing {
    /// Which server it was.
    Server(u8),
    /// Which edition of a fact it was.
    Fact(u8),
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    /// The document with this index in [`Case::docs`].
    Configure(usize),
    /// Parts with what they show; `None` is a proof's slice. `began` is how long ago it started, `reads` what it is bound to.
    Run {
        probe: u8,
        old: bool,
        began: u64,
        parts: Option<Vec<(u8, Look)>>,
        reads: Vec<(Thing, u8)>,
    },
    Control {
        probe: u8,
        old: bool,
        began: u64,
        look: Look,
    },
    Epoch,
    Begin(u8),
    Switch(u8),
    Complete(u8),
    Rollback(u8),
    Adopt(u8),
    Acknowledge(u8),
    /// This target is removed for good.
    Decommission(u8),
    /// It is not.
    Recommission(u8),
    /// For so many milliseconds.
    Override(u8, u64),
    /// The override with this ordinal.
    Revoke(u8),
    /// A fact, which edition of it (0: a name that only looks like one), and what it says.
    Record(u8, u8, u8),
    Forget(u8, u8),
    /// For so many milliseconds.
    Lock {
        phase: u8,
        ttl: u64,
        own: Option<Token>,
    },
    Renew(Token),
    Release(Token),
    ForceRelease(Token),
    StartStep {
        phase: u8,
        step: u8,
        way: Way,
        checked: bool,
    },
    StepWorked(u8, u8),
    EndStep(u8, u8, StepEnd),
    Approve(u8, Hash),
    /// Somebody looks at the plan of a phase, and may come back to it later.
    Read(u8),
    Store(bool),
    /// Soft is saved.
    Checkpoint,
    /// A new process; `crash`: with Soft as it was saved last; `boot`: of a machine that has booted.
    Restart {
        crash: bool,
        boot: bool,
    },
}

/// A lock, counted back from the last that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    Newest,
    Before,
    Never,
}

/// The hash of a phase's plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    /// As it is now.
    Present,
    /// As it was when somebody read it last.
    Read,
    Never,
}

/// Who says it, and what it depends on. What is not a command has none of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) by: u8,
    pub(crate) lock: Option<Token>,
    pub(crate) plan: Option<Hash>,
    /// Whether the document is the one in force, or another.
    pub(crate) document: Option<bool>,
    pub(crate) confirm: Option<u8>,
}

/// An [`Act`] and how far both clocks move before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tick {
    pub(crate) after: u64,
    /// The wall clock is set by this much.
    pub(crate) jump: i64,
    pub(crate) act: Act,
    pub(crate) said: Said,
}

impl Tick {
    /// Something that depends on nothing.
    pub(crate) fn new(after: u64, act: Act) -> Self {
        Self { after, jump: 0, act, said: Said::default() }
    }
}

/// What the numbers of a history stand for at this moment.
#[derive(Debug)]
pub(crate) struct Known<'a> {
    pub(crate) plans: &'a [Arc<Plan>],
    pub(crate) t: u64,
    pub(crate) utc: i64,
    /// The one that a Run or control carries.
    pub(crate) generation: u64,
    /// The core's ids by ordinal.
    pub(crate) overrides: &'a [u64],
    pub(crate) locks: &'a [u64],
    pub(crate) terms: Terms,
    /// The hash that an approval carries.
    pub(crate) approved: String,
}

/// A whole history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) docs: Vec<Doc>,
    pub(crate) ticks: Vec<Tick>,
}

/// The part of a probe that looks at one thing only.
pub(crate) const WHOLE: u8 = 9;

/// The reason every control must give.
pub(crate) const OWN: ReasonSpec = ReasonSpec::fail("broken", "mend it");
const OTHER: ReasonSpec = ReasonSpec::fail("other", "look elsewhere");
const BLIND: ReasonSpec = ReasonSpec::unknown("blind", "open your eyes");
const LATER: ReasonSpec = ReasonSpec::waiting("later", "wait");

/// Both clocks at one moment.
pub(crate) fn moment(t: u64, utc: i64) -> Now {
    Now { t: Millis(t), utc: wall(utc) }
}

fn wall(utc: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_700_000_000_000 + utc).unwrap()
}

/// Names are made once: a hundred million are asked for.
fn names(prefix: &str) -> Vec<Arc<str>> {
    (0..16).map(|id| format!("{prefix}{id}").into()).collect()
}

pub(crate) fn phase_name(id: u8) -> Arc<str> {
    static NAMES: LazyLock<Vec<Arc<str>>> = LazyLock::new(|| names("phase"));
    Arc::clone(&NAMES[usize::from(id)])
}

pub(crate) fn probe_name(id: u8) -> Arc<str> {
    static NAMES: LazyLock<Vec<Arc<str>>> = LazyLock::new(|| names("p"));
    Arc::clone(&NAMES[usize::from(id)])
}

pub(crate) fn step_name(id: u8) -> Arc<str> {
    static NAMES: LazyLock<Vec<Arc<str>>> = LazyLock::new(|| names("step"));
    Arc::clone(&NAMES[usize::from(id)])
}

pub(crate) fn target_name(id: u8) -> Arc<str> {
    static NAMES: LazyLock<Vec<Arc<str>>> = LazyLock::new(|| names("target"));
    Arc::clone(&NAMES[usize::from(id)])
}

/// The name by which an edition of a fact is recorded.
pub(crate) fn edition_name(fact: u8, edition: u8) -> String {
    match edition {
        0 => format!("fact{fact}.02"),
        1 => format!("fact{fact}"),
        later => format!("fact{fact}.{later}"),
    }
}

/// The newest edition of a fact that is recorded; the first if there is none.
pub(crate) fn newest_edition(state: &State, fact: u8) -> u8 {
    let name = edition_name(fact, 1);
    let editions = state.durable.facts.keys().filter_map(|recorded| checks::edition(&name, recorded));
    editions.max().map_or(1, |edition| u8::try_from(edition).unwrap())
}

/// The one who says something.
pub(crate) fn person(id: u8) -> String {
    format!("person{id}")
}

pub(crate) fn part_name(id: u8) -> PartId {
    if id == WHOLE { PartId::new(PartId::WHOLE) } else { PartId::new(format!("n{id}")) }
}

impl Look {
    pub(crate) fn outcome(self, utc: i64) -> Outcome {
        match self {
            Self::Pass => Outcome::pass("seen"),
            Self::Fail => OWN.because("wrong"),
            Self::Other => OTHER.because("wrong"),
            Self::Unknown => BLIND.because("not seen"),
            Self::Waiting(due) => LATER.until(wall(utc + due), "not yet"),
        }
    }
}

impl Thing {
    fn identity(self, is: u8) -> (String, String) {
        match self {
            Self::Server(server) => (format!("t{server}"), format!("i{is}")),
            Self::Fact(fact) => (format!("{}fact{fact}", checks::FACT_READ), edition_name(fact, is)),
        }
    }
}

impl Token {
    /// The lock it means, of all that were ever taken.
    pub(crate) fn of<T: Copy>(self, locks: &[T]) -> Option<T> {
        match self {
            Self::Newest => locks.last().copied(),
            Self::Before => locks.iter().rev().nth(1).copied(),
            Self::Never => None,
        }
    }
}

impl Act {
    /// The core's form. None: it does not go through the front door.
    pub(crate) fn input(&self, by: u8, known: &Known<'_>) -> Option<Input> {
        let (t, utc, generation) = (known.t, known.utc, known.generation);
        let now = moment(t, utc);
        let began = |ago: u64| moment(t.saturating_sub(ago), utc - i64::try_from(ago).unwrap());
        match self {
            Self::Configure(index) => Some(Input::Configure(Arc::clone(&known.plans[*index]))),
            Self::Run { probe, began: ago, parts, reads, .. } => Some(Input::Run(Run {
                probe: probe_name(*probe),
                generation,
                started: began(*ago),
                finished: now,
                step: match parts {
                    Some(parts) => Step::Done(parts.iter().map(|(id, look)| (part_name(*id), look.outcome(utc))).collect()),
                    None => Step::More(Progress { done: 1, total: 2, note: Evidence::from("half way") }),
                },
                memory: Some(Arc::from([7_u8].as_slice())),
                identities: reads.iter().map(|(thing, is)| thing.identity(*is)).collect::<BTreeMap<_, _>>(),
                trails: BTreeMap::new(),
                named: None,
            })),
            Self::Control { probe, began: ago, look, .. } => Some(Input::Control(Control {
                probe: probe_name(*probe),
                generation,
                started: began(*ago),
                finished: now,
                outcome: look.outcome(utc),
            })),
            Self::Epoch => Some(Input::Epoch),
            Self::Store(ok) => Some(Input::Store(if *ok { Ok(()) } else { Err(Unwritable::here("disk full")) })),
            _ => Some(Input::Command(Command { by: person(by), wish: self.wish(known)?, terms: known.terms.clone() })),
        }
    }

    /// What a command wishes; none: it is not a command.
    fn wish(&self, known: &Known<'_>) -> Option<Wish> {
        let why = || "because".to_owned();
        let lock = |token: &Token| token.of(known.locks).unwrap_or(9_999);
        Some(match self {
            Self::Begin(phase) => Wish::Begin(phase_name(*phase)),
            Self::Switch(phase) => Wish::Switch(phase_name(*phase)),
            Self::Complete(phase) => Wish::Complete(phase_name(*phase)),
            Self::Rollback(phase) => Wish::Rollback(phase_name(*phase), why()),
            Self::Adopt(phase) => Wish::Adopt(phase_name(*phase), why()),
            Self::Decommission(target) => Wish::Decommission(target_name(*target), why()),
            Self::Recommission(target) => Wish::Recommission(target_name(*target), why()),
            Self::Acknowledge(phase) => Wish::Acknowledge(phase_name(*phase), why()),
            Self::Override(probe, span) => {
                Wish::Override { probe: probe_name(*probe), reason: why(), ticket: None, ttl: Duration::from_millis(*span) }
            }
            Self::Revoke(ordinal) => Wish::Revoke(known.overrides.get(usize::from(*ordinal)).copied().unwrap_or(9_999)),
            Self::Record(fact, edition, value) => Wish::Record(edition_name(*fact, *edition), serde_json::json!(value)),
            Self::Forget(probe, part) => Wish::Forget(probe_name(*probe), part_name(*part)),
            Self::Lock { phase, ttl, own } => Wish::Lock {
                phase: phase_name(*phase),
                place: "host, process".into(),
                ttl: Duration::from_millis(*ttl),
                own: own.as_ref().map(lock),
            },
            Self::Renew(token) => Wish::Renew(lock(token)),
            Self::Release(token) => Wish::Release(lock(token)),
            Self::ForceRelease(token) => Wish::ForceRelease(lock(token), why()),
            Self::StartStep { phase, step, way, checked } => {
                Wish::StartStep { phase: phase_name(*phase), step: step_name(*step), way: *way, checked: *checked }
            }
            Self::StepWorked(phase, step) => Wish::StepWorked(phase_name(*phase), step_name(*step)),
            Self::EndStep(phase, step, end) => {
                Wish::EndStep { phase: phase_name(*phase), step: step_name(*step), end: *end, note: why() }
            }
            Self::Approve(phase, _) => Wish::Approve(phase_name(*phase), known.approved.clone()),
            _ => return None,
        })
    }

    /// The phase it is about, if it depends on that phase's plan.
    pub(crate) const fn plans(&self) -> Option<u8> {
        match self {
            Self::Begin(phase) | Self::Approve(phase, _) | Self::Read(phase) => Some(*phase),
            _ => None,
        }
    }
}
