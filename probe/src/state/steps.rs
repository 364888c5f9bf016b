//! PURE. Where the steps of a phase stand, and who may run them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{PhaseRecord, Stamp, State};
use crate::event::{StepEnd, Way};
use crate::now::{Millis, Now};
use crate::plan::{PhaseName, PhasePlan, ProbePlan, StepPlan};

/// Where a step stands. A step that nothing happened to has no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum StepState {
    /// Its `do` runs, or ran when it was last heard of.
    Running,
    /// Its `do` is over; its probes must turn green yet.
    Verifying,
    /// Done, and verified.
    Done,
    /// Its `do` or its verification failed.
    Failed,
    /// It was broken off: how far it came is not known.
    Interrupted,
    /// Its `undo` runs, or ran when it was last heard of.
    Undoing,
    /// Undone, or left behind on the way back because it has no `undo`.
    Undone,
    /// Its `undo` failed.
    UndoFailed,
}

impl StepState {
    /// Where a step stands that has gone this way and ended like this.
    pub const fn after(way: Way, end: StepEnd) -> Self {
        match (way, end) {
            (Way::Do, StepEnd::Done) => Self::Done,
            (Way::Do, StepEnd::Failed) => Self::Failed,
            (Way::Do, StepEnd::Interrupted) => Self::Interrupted,
            (Way::Undo, StepEnd::Done) => Self::Undone,
            (Way::Undo, StepEnd::Failed | StepEnd::Interrupted) => Self::UndoFailed,
        }
    }

    /// Whether something may be running now.
    pub const fn in_flight(self) -> bool {
        matches!(self, Self::Running | Self::Verifying | Self::Undoing)
    }

    /// Whether the way back has reached it.
    pub const fn went_back(self) -> bool {
        matches!(self, Self::Undoing | Self::Undone | Self::UndoFailed)
    }

    /// As people read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Verifying => "verifying",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Undoing => "undoing",
            Self::Undone => "undone",
            Self::UndoFailed => "undo failed",
        }
    }
}

/// What happened to a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepRecord {
    /// Where it stands.
    pub state: StepState,
    /// Since when, by whom.
    pub stamp: Stamp,
    /// When its `do` or `undo` was started last.
    pub started: Now,
    /// How often its `do` was started.
    pub attempts: u32,
    /// What was said of its end.
    pub note: String,
}

/// The right to run the steps of a phase: a lease with a fencing token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lock {
    /// The fencing token: each lock has a greater one than all before it.
    pub id: u64,
    /// For which phase.
    pub phase: PhaseName,
    /// Who holds it, since when.
    pub stamp: Stamp,
    /// Where the holder works: `host, process`, in its own words.
    pub place: String,
    /// For how long it holds without being renewed.
    pub ttl: Duration,
}

/// How long a step took when it was done last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Took {
    /// From its start to its end.
    pub span: Duration,
    /// Whether that was in a rehearsal.
    pub rehearsed: bool,
}

/// Somebody has approved the plan of a phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Who, when.
    pub stamp: Stamp,
    /// The hash of what was approved.
    pub plan: String,
}

impl PhaseRecord {
    /// Whether its switch has begun. Ledgers from before phases had steps know only of switches that are over.
    pub const fn is_switching(&self) -> bool {
        self.switching.is_some() || self.switched.is_some()
    }

    /// Where a step stands.
    pub fn step(&self, name: &str) -> Option<StepState> {
        self.steps.get(name).map(|record| record.state)
    }

    /// The step that may be running now.
    pub fn in_flight<'a>(&self, phase: &'a PhasePlan) -> Option<&'a StepPlan> {
        phase.steps.iter().find(|step| self.step(&step.name).is_some_and(StepState::in_flight))
    }

    /// The next step on the way forward: the first that is not done.
    pub fn next_do<'a>(&self, phase: &'a PhasePlan) -> Option<&'a StepPlan> {
        phase.steps.iter().find(|step| self.step(&step.name) != Some(StepState::Done))
    }

    /// The next step on the way back: the last that something happened to, and that can be undone and is not.
    pub fn next_undo<'a>(&self, phase: &'a PhasePlan) -> Option<&'a StepPlan> {
        let due = |step: &&StepPlan| step.undo && self.step(&step.name).is_some_and(|state| state != StepState::Undone);
        phase.steps.iter().rev().find(due)
    }

    /// Whether the way back was begun and has not come to its end: nothing goes forward until it has.
    pub fn going_back(&self, phase: &PhasePlan) -> bool {
        self.next_undo(phase).is_some() && phase.steps.iter().any(|step| self.step(&step.name).is_some_and(StepState::went_back))
    }

    /// Whether its steps were begun and neither all done nor all undone.
    pub fn half_way(&self, phase: &PhasePlan) -> bool {
        let untouched = |step: &StepPlan| self.step(&step.name).is_none_or(|state| state == StepState::Undone);
        let finished = self.next_do(phase).is_none();
        self.in_flight(phase).is_some() || !finished && !phase.steps.iter().all(untouched)
    }
}

impl State {
    /// Whether a step in flight has said that it disturbs this probe. Not for longer than the step may take.
    pub fn excused(&self, probe: &ProbePlan, now: Now) -> bool {
        let Some(plan) = self.durable.plan.as_deref() else { return false };
        plan.phases.iter().any(|phase| {
            let record = self.phase(&phase.name);
            record
                .in_flight(phase)
                .filter(|step| step.disturbs.contains(&probe.name))
                .is_some_and(|step| record.steps.get(&step.name).is_some_and(|own| now.t.since(own.started.t) <= step.timeout))
        })
    }

    /// The lock, if it keeps others out now. One whose steps were begun and are neither all done nor all undone passes to
    /// nobody by time: only its holder knows how far they came.
    pub fn locked(&self, now: Millis) -> Option<&Lock> {
        let lock = self.durable.lock.as_ref()?;
        let half_way = || {
            let phase = self.durable.plan.as_deref().and_then(|plan| plan.phase(&lock.phase));
            phase.is_some_and(|phase| self.phase(&phase.name).half_way(phase))
        };
        (now.since(self.renewed(lock)) <= lock.ttl || half_way()).then_some(lock)
    }

    /// When the lock's holder was last heard of.
    pub fn renewed(&self, lock: &Lock) -> Millis {
        let renewed = self.soft.renewed.filter(|(id, _)| *id == lock.id).map(|(_, at)| at);
        renewed.map_or(lock.stamp.at.t, |at| at.max(lock.stamp.at.t))
    }
}
