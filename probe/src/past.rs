//! PURE. Looking back: the chained events, folded again up to a moment, tell what was known then: where phases, steps and the
//! lock stood, the colour of each probe with its evidence, and the verdict of each gate.
//!
//! A verifier that did not run, or did not get to evaluate, knew nothing: what was recorded before says nothing about that time.

use std::collections::BTreeMap;

use checks::{Evidence, Reason, ReasonSpec};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::apply::apply;
use crate::audit::{Frame, Head, from_json};
use crate::event::Event;
use crate::gate::Verdict;
use crate::now::Now;
use crate::plan::{PhaseName, ProbeName};
use crate::state::{ProbeState, Sight, Stamp, State};

mod kept;
mod record;
mod search;
#[cfg(test)]
mod tests;

pub use record::{Completion, Ended, Exception, Latched, Record};
pub use search::{Beyond, Search, Then, WasBlocked};

/// The verifier did not run.
pub const NOT_RUNNING: ReasonSpec =
    ReasonSpec::unknown("not_running", "ask for another moment: nobody looked while the verifier did not run");
/// The verifier ran, and evaluated nothing.
pub const NOT_LOOKED: ReasonSpec =
    ReasonSpec::unknown("not_evaluated", "ask for another moment: the verifier did not get to evaluate anything then");
/// The wall clock was set back.
pub const CAME_TWICE: ReasonSpec =
    ReasonSpec::unknown("clock_set_back", "read the events of that time one by one: `cutover audit list`");

/// A probe had no other colour yet. Only changes of colour are recorded, so why it was unknown is not.
pub const NOT_SEEN: ReasonSpec =
    ReasonSpec::unknown("not_seen_yet", "ask for a later moment: the probe had not been seen well or wrong yet");

/// A span about which nobody knows anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The last moment that is known.
    pub from: Now,
    /// The next moment that is known.
    pub to: Option<Now>,
    /// Why.
    pub why: ReasonSpec,
}

/// A probe as it was seen, and since when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Colour, reason and evidence, as of the moment when it got this colour.
    pub sight: Sight,
    /// Since when it had this colour.
    pub since: Now,
}

/// A verdict as it was given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ruling {
    /// The answer.
    pub verdict: Verdict,
    /// Since when.
    pub since: Now,
    /// The first blockers at that moment, as `phase/probe: reason`.
    pub blockers: Vec<String>,
}

/// What the events up to some moment tell. As it is kept, it stands for those events when they are not.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Past {
    /// What the events made of the ledger; nothing of it is live.
    #[serde(rename = "durable", with = "kept")]
    pub state: State,
    /// The newest event that is part of it.
    pub head: Head,
    probes: BTreeMap<ProbeName, Seen>,
    verdicts: BTreeMap<PhaseName, Ruling>,
    first: Option<Now>,
    last: Option<Now>,
    /// When the verifier of that time started to look, as far as is known.
    started: Option<Now>,
    /// The last moment at which a verifier certainly ran, and the one before it.
    alive: Option<Now>,
    alive_before: Option<Now>,
    /// The latest moment of any event by the wall clock, which can be set back.
    latest: Option<DateTime<Utc>>,
}

impl Default for Past {
    fn default() -> Self {
        Self {
            state: State::default(),
            head: Head::genesis(),
            probes: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            first: None,
            last: None,
            started: None,
            alive: None,
            alive_before: None,
            latest: None,
        }
    }
}

impl Past {
    /// Folds the next frame in.
    pub fn take(&mut self, frame: &Frame) -> Result<Event, serde_json::Error> {
        let event = frame.event()?;
        self.fold(&Glance::of(frame)?, &event);
        self.head = Head { seq: frame.seq, hash: frame.hash.clone() };
        Ok(event)
    }

    fn fold(&mut self, glance: &Glance, event: &Event) {
        let at = self.in_order(glance.at);
        self.first.get_or_insert(at);
        self.started.get_or_insert(at);
        let restart = self.restarts(glance);
        self.pass(glance, at);
        let generation = self.state.live.generation;
        apply(&mut self.state, event);
        if self.state.live.generation != generation {
            self.forget_fresh_starts(generation);
        }
        match event {
            Event::VerifierStarted { .. } => {
                self.probes.clear();
                self.verdicts.clear();
                self.started = Some(at);
            }
            Event::NobodyLooked { .. } => self.verdicts.values_mut().for_each(|ruling| ruling.since = at),
            Event::ProbeChanged { probe, to, reason, evidence, .. } => {
                let same = self.probes.get(probe).filter(|seen| seen.sight.state == *to).map(|seen| seen.since);
                let sight = Sight { state: *to, reason: reason.clone(), evidence: evidence.clone() };
                self.probes.insert(probe.clone(), Seen { sight, since: same.unwrap_or(at) });
            }
            Event::VerdictChanged { phase, to, blockers, .. } => {
                if restart {
                    // The first evaluation of a new process: what it has not said itself is of the one before.
                    self.probes.retain(|_, seen| seen.since.t >= at.t);
                    self.verdicts.retain(|_, ruling| ruling.since.t >= at.t);
                    self.started = Some(at);
                }
                self.verdicts.insert(phase.clone(), Ruling { verdict: *to, since: at, blockers: blockers.clone() });
            }
            Event::ConfigLoaded { plan, .. } => {
                self.probes.retain(|name, _| plan.probe(name).is_some());
                self.verdicts.retain(|name, _| plan.position(name).is_some());
            }
            Event::PhaseBegun { .. }
            | Event::PhaseSwitched { .. }
            | Event::PhaseCompleted { .. }
            | Event::PhaseRolledBack { .. }
            | Event::PhaseAdopted { .. }
            | Event::ControlPassed { .. }
            | Event::RegressionLatched { .. }
            | Event::RegressionAcknowledged { .. }
            | Event::MemoryLost { .. }
            | Event::ProofFinished { .. }
            | Event::AnotherServer { .. }
            | Event::AnotherBoot { .. }
            | Event::Refused { .. }
            | Event::FactRecorded { .. }
            | Event::OverrideCreated { .. }
            | Event::OverrideEnded { .. }
            | Event::PartForgotten { .. }
            | Event::LockTaken { .. }
            | Event::LockReleased { .. }
            | Event::StepStarted { .. }
            | Event::StepWorked { .. }
            | Event::StepEnded { .. }
            | Event::PlanApproved { .. }
            | Event::PonrDetected { .. }
            | Event::TargetRemoved { .. }
            | Event::TargetGone { .. }
            | Event::TargetReturned { .. }
            | Event::StepsRehearsed { .. }
            | Event::LockRenewed { .. }
            | Event::RunObserved { .. }
            | Event::ControlObserved { .. }
            | Event::Evaluated(_)
            | Event::StoreChanged { .. } => {}
        }
    }

    /// The moment of an event in the order of the chain: some events carry the start of a look that took a while.
    fn in_order(&self, at: Now) -> Now {
        self.last.filter(|last| at.t < last.t).unwrap_or(at)
    }

    /// Notes that time has come this far, and whether a verifier ran then.
    fn pass(&mut self, glance: &Glance, at: Now) {
        self.last = Some(at);
        self.latest = self.latest.max(Some(at.utc));
        // A new process may write these before it has evaluated anything.
        let of_a_start = matches!(glance.event.as_str(), "configLoaded" | "anotherBoot");
        if !of_a_start && self.alive.is_none_or(|alive| alive.t < at.t) {
            self.alive_before = self.alive.replace(at);
        }
    }

    /// Whether this is the first verdict of a new process, in a ledger that does not tell of starts.
    fn restarts(&self, glance: &Glance) -> bool {
        let earlier = |phase: &PhaseName| self.verdicts.get(phase).is_some_and(|ruling| ruling.since.t < glance.at.t);
        glance.event == "verdictChanged" && glance.from.is_none() && glance.phase.as_ref().is_some_and(earlier)
    }

    /// The last moment before this one at which a verifier certainly ran.
    fn alive_before(&self, at: Now) -> Option<Now> {
        self.alive.filter(|alive| alive.t < at.t).or(self.alive_before)
    }

    /// What started afresh is unknown, and no event of its own says so.
    fn forget_fresh_starts(&mut self, generation: u64) {
        let fresh = self.state.live.probes.iter().filter(|(_, record)| record.generation > generation);
        for (name, _) in fresh {
            self.probes.remove(name);
        }
    }

    /// What a probe looked like. One that nothing is recorded of has been unknown since the start of that verifier, or its own.
    pub fn probe(&self, name: &str) -> Seen {
        self.probes.get(name).cloned().unwrap_or_else(|| Seen {
            sight: unknown(NOT_SEEN, "it had no other colour yet since the verifier started, or since the probe changed"),
            since: self.started.or(self.last).unwrap_or(Now { t: crate::now::Millis(0), utc: DateTime::UNIX_EPOCH }),
        })
    }

    /// When the record begins.
    pub const fn first(&self) -> Option<Now> {
        self.first
    }

    /// The verdict of a gate; none: nothing was evaluated yet.
    pub fn verdict(&self, phase: &str) -> Option<&Ruling> {
        self.verdicts.get(phase)
    }
}

fn unknown(why: ReasonSpec, evidence: impl Into<Evidence>) -> Sight {
    Sight { state: ProbeState::Unknown, reason: Some(Reason::from(why)), evidence: evidence.into() }
}

/// As much of an event as tells when it was and whether it is one to look for. The rest is not read.
#[derive(Debug, Deserialize)]
struct Raw {
    event: String,
    at: Option<Now>,
    stamp: Option<Stamp>,
    last: Option<Now>,
    phase: Option<PhaseName>,
    from: Option<String>,
    to: Option<String>,
}

/// The same, with a moment in any case.
#[derive(Debug)]
struct Glance {
    event: String,
    at: Now,
    last: Option<Now>,
    phase: Option<PhaseName>,
    from: Option<String>,
    to: Option<String>,
}

impl Glance {
    fn of(frame: &Frame) -> Result<Self, serde_json::Error> {
        let Raw { event, at, stamp, last, phase, from, to } = from_json(frame.event.get())?;
        let at = at.or(stamp.map(|stamp| stamp.at)).unwrap_or(Now { t: frame.t, utc: frame.utc });
        Ok(Self { event, at, last, phase, from, to })
    }
}

/// A moment for people.
pub fn moment(utc: DateTime<Utc>) -> String {
    utc.format("%Y-%m-%d %H:%M:%SZ").to_string()
}
