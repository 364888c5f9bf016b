//! PURE. Old sides that were removed, and what their removal means for probes.

use serde::{Deserialize, Serialize};

use super::{Stamp, State};
use crate::now::Now;
use crate::plan::{PhaseName, PhasePlan, ProbePlan};
use crate::state::PhaseState;

/// Somebody has said that a target is removed for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// When, by whom.
    pub stamp: Stamp,
    /// Why.
    pub reason: String,
    /// When its tripwire has first seen it gone.
    pub gone: Option<Now>,
}

impl State {
    /// Whether the gates from this phase of the probe's on ask for it, unless it is overridden. Proofs of an adopted phase are not
    /// asked for: nobody took them.
    pub fn asked_for(&self, phase: &PhaseName, probe: &ProbePlan) -> bool {
        let adopted = self.phase(phase).adopted.is_some();
        probe.gate && !self.retired(probe) && !(probe.is_proof() && adopted)
    }

    /// Whether a probe is in no required set: the phase it lasts until is switching or has switched, the old side it looks at
    /// was removed behind it, or it is a tripwire that waits for a removal.
    pub fn retired(&self, probe: &ProbePlan) -> bool {
        let until = probe.until.as_ref().is_some_and(|until| self.phase(until).is_switching());
        let removed = probe.targets.iter().any(|target| self.durable.removals.contains_key(target));
        until || if probe.tripwire { !removed } else { removed && self.behind(probe) }
    }

    /// Whether the phase of a probe is complete. What is looked at anew in a later one is required, removed or not.
    fn behind(&self, probe: &ProbePlan) -> bool {
        let plan = self.durable.plan.as_deref();
        let phase = plan.and_then(|plan| plan.phases.get(plan.probe(&probe.name)?.0));
        phase.is_some_and(|phase| self.phase(&phase.name).state() == PhaseState::Complete)
    }

    /// Whether a Fail of this probe says only that something has not come about yet: an old side is still there, or the point
    /// of no return is not crossed.
    pub fn awaits(&self, probe: &ProbePlan) -> bool {
        let gone = |target| self.durable.removals.get(target).is_some_and(|removal| removal.gone.is_some());
        probe.marks_ponr || probe.tripwire && !probe.targets.iter().any(gone)
    }

    /// The removed target that a phase's way back would need: one that its probes looked at, or that it has left behind.
    pub fn way_back_removed(&self, phase: &PhasePlan) -> Option<(&str, &Removal)> {
        let plan = self.durable.plan.as_deref()?;
        let own = |probe: &ProbePlan| phase.probes.iter().any(|own| own.name == probe.name);
        let needs = |probe: &ProbePlan| !probe.tripwire && (own(probe) || probe.until.as_ref() == Some(&phase.name));
        let needed = plan.probes().map(|(_, probe)| probe).filter(|probe| needs(probe)).flat_map(|probe| &probe.targets);
        needed.into_iter().find_map(|target| Some((&**target, self.durable.removals.get(target)?)))
    }
}
