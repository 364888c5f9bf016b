//! Steps, the lock and plans, as they are served.

use super::super::types::{GateKind, LockBody, PlanBody, SCHEMA_VERSION, StepBody};
use super::{View, stamp};
use crate::plan::{PhasePlan, StepPlan};
use crate::state::State;
use crate::steps::plan_hash;

impl View<'_> {
    /// The lock, if there is one.
    pub(in crate::api) fn lock_body(&self) -> Option<LockBody> {
        let lock = self.state.durable.lock.as_ref()?;
        Some(LockBody {
            id: lock.id,
            phase: lock.phase.to_string(),
            holder: lock.stamp.by.clone(),
            place: lock.place.clone(),
            since: lock.stamp.at.utc,
            ttl_seconds: lock.ttl.as_secs_f64(),
            heard_seconds: self.now.t.since(self.state.renewed(lock)).as_secs_f64(),
            live: self.state.locked(self.now.t).is_some(),
        })
    }

    /// The steps of a phase, with where they stand.
    pub(super) fn steps(&self, phase: &PhasePlan) -> Vec<StepBody> {
        phase.steps.iter().map(|step| planned(self.state, phase, step)).collect()
    }

    /// What the steps of a phase would do now. None: no such phase.
    pub(in crate::api) fn plan_body(&self, name: &str) -> Option<PlanBody> {
        let phase = self.plan.phase(name)?;
        let record = self.state.phase(name);
        let entry = self.gate(name, GateKind::Entry)?;
        let hash = plan_hash(self.state, name)?;
        let approval = self.state.durable.approvals.get(name).filter(|approval| approval.plan == hash);
        let retires = self.plan.probes().filter(|(_, probe)| probe.until.as_deref() == Some(name));
        Some(PlanBody {
            schema_version: SCHEMA_VERSION,
            migration: self.plan.migration.clone(),
            phase: name.to_owned(),
            config_hash: self.plan.hash.clone(),
            phase_state: record.state(),
            switching: record.switching.as_ref().map(stamp),
            ponr_crossed: record.ponr.as_ref().map(stamp),
            going_back: record.going_back(phase),
            steps: self.steps(phase),
            entry: entry.verdict,
            entry_reason: entry.reason,
            retires: retires.map(|(_, probe)| probe.name.to_string()).collect(),
            four_eyes: phase.four_eyes,
            approved: approval.map(|approval| stamp(&approval.stamp)),
            lock: self.lock_body(),
            hash,
        })
    }
}

/// A step, with where it stands in this state.
pub(in crate::api) fn planned(state: &State, phase: &PhasePlan, step: &StepPlan) -> StepBody {
    let record = state.phase(&phase.name).steps.get(&step.name);
    let took = state.durable.took.get(&phase.name).and_then(|took| took.get(&step.name));
    StepBody {
        took_seconds: took.map(|took| took.span.as_secs_f64()),
        rehearsed: took.is_some_and(|took| took.rehearsed),
        state: record.map(|record| record.state),
        since: record.map(|record| stamp(&record.stamp)),
        started: record.map(|record| record.started.utc),
        attempts: record.map_or(0, |record| record.attempts),
        note: record.map(|record| record.note.clone()).unwrap_or_default(),
        ..StepBody::from(step)
    }
}
