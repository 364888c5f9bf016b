//! PURE. The whole record, for the checklist: what each phase was completed on, every exception and every regression.

use std::collections::BTreeMap;

use checks::{Evidence, Reason};
use serde::{Deserialize, Serialize};

use super::{Past, Seen};
use crate::audit::{Frame, Head};
use crate::event::Event;
use crate::now::{Millis, Now};
use crate::plan::{PhaseName, ProbeName};
use crate::state::Stamp;

/// What the whole audit trail tells.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// Where its end left everything.
    pub past: Past,
    completions: BTreeMap<PhaseName, Completion>,
    /// In their order.
    pub exceptions: Vec<Exception>,
    /// In their order.
    pub regressions: Vec<Latched>,
}

/// A phase as it was at the moment it was completed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// When, by whom.
    pub stamp: Stamp,
    /// The event of the audit trail.
    pub seal: Head,
    /// Its probes.
    pub probes: BTreeMap<ProbeName, Seen>,
    /// Overrides that counted.
    pub overrides: Vec<u64>,
}

/// An override, from its beginning to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exception {
    /// Its number.
    pub id: u64,
    /// For which probe.
    pub probe: ProbeName,
    /// Of which phase.
    pub phase: PhaseName,
    /// Who, when.
    pub stamp: Stamp,
    /// Why.
    pub reason: String,
    /// Where that is discussed.
    pub ticket: Option<String>,
    /// Up to when it was to last, on the ledger's timeline.
    pub until: Millis,
    /// How it ended.
    pub ended: Option<Ended>,
}

/// How something ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// When, by whom; the verifier itself when nobody did.
    pub stamp: Stamp,
    /// In words.
    pub how: String,
}

/// A regression, from its beginning to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latched {
    /// Of which phase.
    pub phase: PhaseName,
    /// Which probe.
    pub probe: ProbeName,
    /// When.
    pub since: Now,
    /// Why it was red.
    pub reason: Reason,
    /// What was seen.
    pub evidence: Evidence,
    /// How it ended.
    pub ended: Option<Ended>,
}

impl Record {
    /// Folds the next frame in.
    pub fn take(&mut self, frame: &Frame) -> Result<(), serde_json::Error> {
        let event = self.past.take(frame)?;
        match &event {
            Event::PhaseCompleted { phase, stamp, overrides, .. } => {
                let plan = self.past.state.durable.plan.clone();
                let probes = plan.iter().filter_map(|plan| plan.phase(phase)).flat_map(|phase| &phase.probes);
                let probes = probes.map(|probe| (probe.name.clone(), self.past.probe(&probe.name))).collect();
                let seal = Head { seq: frame.seq, hash: frame.hash.clone() };
                let completion = Completion { stamp: stamp.clone(), seal, probes, overrides: overrides.clone() };
                self.completions.insert(phase.clone(), completion);
            }
            Event::OverrideCreated { id, probe, stamp, reason, ticket, until } => {
                let plan = self.past.state.durable.plan.as_deref();
                let phase = plan.and_then(|plan| plan.probe(probe).and_then(|(at, _)| plan.phases.get(at)));
                self.exceptions.push(Exception {
                    id: *id,
                    probe: probe.clone(),
                    phase: phase.map_or_else(|| "".into(), |phase| phase.name.clone()),
                    stamp: stamp.clone(),
                    reason: reason.clone(),
                    ticket: ticket.clone(),
                    until: *until,
                    ended: None,
                });
            }
            Event::OverrideEnded { stamp, .. } => {
                let how = if stamp.by == crate::decide::VERIFIER { "it expired" } else { "it was revoked" };
                self.end_exceptions(stamp, how);
            }
            Event::AnotherBoot { at } => self.end_exceptions(&by_itself(*at), "the machine was booted anew"),
            Event::ConfigLoaded { at, .. } => self.end_exceptions(&by_itself(*at), "its probe was changed or removed"),
            Event::RegressionLatched { phase, probe, at, reason, evidence } => self.regressions.push(Latched {
                phase: phase.clone(),
                probe: probe.clone(),
                since: *at,
                reason: reason.clone(),
                evidence: evidence.clone(),
                ended: None,
            }),
            Event::RegressionAcknowledged { phase, stamp, reason } => self.end_regressions(phase, stamp, reason.clone()),
            Event::PhaseRolledBack { phase, stamp, reason } => {
                self.end_regressions(phase, stamp, format!("rolled back: {reason}"));
            }
            Event::PhaseBegun { .. }
            | Event::PhaseSwitched { .. }
            | Event::PhaseAdopted { .. }
            | Event::ProbeChanged { .. }
            | Event::VerdictChanged { .. }
            | Event::ControlPassed { .. }
            | Event::MemoryLost { .. }
            | Event::ProofFinished { .. }
            | Event::AnotherServer { .. }
            | Event::VerifierStarted { .. }
            | Event::NobodyLooked { .. }
            | Event::Refused { .. }
            | Event::FactRecorded { .. }
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
        Ok(())
    }

    /// What a phase that is complete was completed on; none also for one that was adopted.
    pub fn completion(&self, phase: &str) -> Option<&Completion> {
        let complete = self.past.state.phase(phase).complete.as_ref()?;
        self.completions.get(phase).filter(|completion| completion.stamp == *complete)
    }

    fn end_exceptions(&mut self, stamp: &Stamp, how: &str) {
        let active = &self.past.state.durable.overrides;
        for exception in self.exceptions.iter_mut().filter(|each| each.ended.is_none() && !active.contains_key(&each.id)) {
            exception.ended = Some(Ended { stamp: stamp.clone(), how: how.to_owned() });
        }
    }

    fn end_regressions(&mut self, phase: &PhaseName, stamp: &Stamp, how: String) {
        for latched in self.regressions.iter_mut().filter(|each| each.phase == *phase && each.ended.is_none()) {
            latched.ended = Some(Ended { stamp: stamp.clone(), how: how.clone() });
        }
    }
}

fn by_itself(at: Now) -> Stamp {
    Stamp { at, by: crate::decide::VERIFIER.to_owned() }
}
