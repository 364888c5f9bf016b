//! A history in short form: numbers instead of names, so that it can be generated, shrunk and printed.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use checks::{Evidence, Outcome, PartId, Progress, ReasonSpec, Step};
use chrono::{DateTime, Utc};
use probe::event::{Command, Control, Input, Run, Wish};
use probe::now::{Millis, Now};
use probe::plan::{GatePlan, NaturePlan, PhasePlan, Plan, ProbePlan, SealAt};

/// A document. All times are milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Doc {
    pub(crate) phases: Vec<PhaseDoc>,
}

/// A phase of a [`Doc`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PhaseDoc {
    pub(crate) id: u8,
    pub(crate) soak: u64,
    pub(crate) budget: u64,
    pub(crate) min_samples: u32,
    pub(crate) max_wait: Option<u64>,
    pub(crate) probes: Vec<ProbeDoc>,
}

/// A probe of a [`Doc`]. `rev` stands for its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProbeDoc {
    pub(crate) id: u8,
    pub(crate) rev: u32,
    /// `validFor`, and whether it is sealed by the switch (otherwise by `complete`).
    pub(crate) proof: Option<(u64, bool)>,
    pub(crate) gate: bool,
    pub(crate) preflight: bool,
    pub(crate) until: Option<u8>,
    pub(crate) fail_after: u32,
    pub(crate) recover_after: u32,
    pub(crate) every: u64,
    pub(crate) max_age: u64,
    pub(crate) control_every: u64,
    pub(crate) waivable: bool,
}

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

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    /// The document with this index in [`Case::docs`].
    Configure(usize),
    /// Parts with what they show; `None` is a proof's slice. `began` is how long ago it started, `target` an identity it read.
    Run {
        probe: u8,
        old: bool,
        began: u64,
        parts: Option<Vec<(u8, Look)>>,
        target: Option<(u8, u8)>,
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
    /// For so many milliseconds.
    Override(u8, u64),
    /// The override with this ordinal.
    Revoke(u8),
    Record(u8, u8),
    Forget(u8, u8),
    Store(bool),
    /// Soft is saved.
    Checkpoint,
    /// A new process; `crash`: with Soft as it was saved last; `boot`: of a machine that has booted.
    Restart {
        crash: bool,
        boot: bool,
    },
}

/// An [`Act`] and how far both clocks move before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tick {
    pub(crate) after: u64,
    /// The wall clock is set by this much.
    pub(crate) jump: i64,
    pub(crate) act: Act,
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

impl ProbeDoc {
    fn plan(&self) -> ProbePlan {
        ProbePlan {
            name: probe_name(self.id),
            check: "scripted".into(),
            hash: format!("rev{}", self.rev),
            nature: self.proof.map_or(NaturePlan::Continuous, |(valid_for, at_switch)| NaturePlan::Proof {
                valid_for: Duration::from_millis(valid_for),
                seal_at: if at_switch { SealAt::Switch } else { SealAt::Complete },
            }),
            gate: self.gate,
            preflight: self.preflight,
            until: self.until.map(phase_name),
            fail_after: self.fail_after,
            recover_after: self.recover_after,
            every: Duration::from_millis(self.every),
            timeout: Duration::from_millis(self.every),
            max_age: Duration::from_millis(self.max_age),
            control_every: Duration::from_millis(self.control_every),
            control_reason: OWN.name.into(),
            waivable: self.waivable,
        }
    }
}

impl Doc {
    /// The core's form.
    pub(crate) fn plan(&self, index: usize) -> Arc<Plan> {
        let phases = self.phases.iter().map(|phase| PhasePlan {
            name: phase_name(phase.id),
            gate: GatePlan {
                soak: Duration::from_millis(phase.soak),
                min_samples: phase.min_samples,
                unknown_budget: Duration::from_millis(phase.budget),
                max_wait: phase.max_wait.map(Duration::from_millis),
            },
            probes: phase.probes.iter().map(ProbeDoc::plan).collect(),
        });
        Arc::new(Plan::new("model", format!("doc{index}"), phases.collect()))
    }

    /// All probes with the position of their phase.
    pub(crate) fn probes(&self) -> impl Iterator<Item = (usize, &ProbeDoc)> {
        self.phases.iter().enumerate().flat_map(|(at, phase)| phase.probes.iter().map(move |probe| (at, probe)))
    }

    pub(crate) fn probe(&self, id: u8) -> Option<(usize, &ProbeDoc)> {
        self.probes().find(|(_, probe)| probe.id == id)
    }

    pub(crate) fn position(&self, phase: u8) -> Option<usize> {
        self.phases.iter().position(|p| p.id == phase)
    }
}

impl Act {
    /// The core's form. `generation` is the one a Run or control carries; `overrides` the core's ids by ordinal.
    pub(crate) fn input(&self, plans: &[Arc<Plan>], t: u64, utc: i64, generation: u64, overrides: &[u64]) -> Option<Input> {
        let now = moment(t, utc);
        let began = |ago: u64| moment(t.saturating_sub(ago), utc - i64::try_from(ago).unwrap());
        let wish = |wish| Some(Input::Command(Command { by: "tester".into(), wish }));
        match self {
            Self::Configure(index) => Some(Input::Configure(Arc::clone(&plans[*index]))),
            Self::Run { probe, began: ago, parts, target, .. } => Some(Input::Run(Run {
                probe: probe_name(*probe),
                generation,
                started: began(*ago),
                finished: now,
                step: match parts {
                    Some(parts) => Step::Done(parts.iter().map(|(id, look)| (part_name(*id), look.outcome(utc))).collect()),
                    None => Step::More(Progress { done: 1, total: 2, note: Evidence::from("half way") }),
                },
                memory: Some(Arc::from([7_u8].as_slice())),
                identities: target
                    .iter()
                    .map(|(target, is)| (format!("t{target}"), format!("i{is}")))
                    .collect::<BTreeMap<_, _>>(),
            })),
            Self::Control { probe, began: ago, look, .. } => Some(Input::Control(Control {
                probe: probe_name(*probe),
                generation,
                started: began(*ago),
                finished: now,
                outcome: look.outcome(utc),
            })),
            Self::Epoch => Some(Input::Epoch),
            Self::Begin(phase) => wish(Wish::Begin(phase_name(*phase))),
            Self::Switch(phase) => wish(Wish::Switch(phase_name(*phase))),
            Self::Complete(phase) => wish(Wish::Complete(phase_name(*phase))),
            Self::Rollback(phase) => wish(Wish::Rollback(phase_name(*phase), "because".into())),
            Self::Adopt(phase) => wish(Wish::Adopt(phase_name(*phase), "because".into())),
            Self::Acknowledge(phase) => wish(Wish::Acknowledge(phase_name(*phase), "because".into())),
            Self::Override(probe, span) => {
                wish(Wish::Override(probe_name(*probe), "because".into(), Duration::from_millis(*span)))
            }
            Self::Revoke(ordinal) => wish(Wish::Revoke(overrides.get(usize::from(*ordinal)).copied().unwrap_or(9_999))),
            Self::Record(name, value) => wish(Wish::Record(format!("fact{name}"), serde_json::json!(value))),
            Self::Forget(probe, part) => wish(Wish::Forget(probe_name(*probe), part_name(*part))),
            Self::Store(ok) => Some(Input::Store(if *ok { Ok(()) } else { Err("disk full".into()) })),
            Self::Checkpoint | Self::Restart { .. } => None,
        }
    }
}
