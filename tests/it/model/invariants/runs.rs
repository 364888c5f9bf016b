//! What must hold of steps and of the lock, by what has happened alone.

use std::collections::BTreeMap;

use probe::event::{Event, StepEnd, Way};
use probe::gate::Verdict;
use probe::state::StepState;

use crate::model::case::{Act, Tick, Token, phase_name};
use crate::model::drive::{Core, Counts};

/// Follows the steps of all phases, and the lock.
#[derive(Debug, Default)]
pub(super) struct Runs {
    /// The last lock that was taken.
    newest: Option<u64>,
    /// How the last attempt of a step ended.
    ended: BTreeMap<(String, String), StepEnd>,
}

impl Runs {
    pub(super) fn after(
        &mut self,
        core: &Core,
        tick: &Tick,
        events: &[Event],
        guard: Option<Verdict>,
        counts: &mut Counts,
    ) -> Result<(), String> {
        for event in events {
            match event {
                Event::LockTaken { lock } => {
                    counts.locks += 1;
                    if self.newest.is_some_and(|newest| newest >= lock.id) {
                        return Err(format!("lock {} was taken after {:?}", lock.id, self.newest));
                    }
                    self.newest = Some(lock.id);
                }
                Event::StepStarted { phase, step, way, lock, checked, switch, ponr, .. } => {
                    counts.steps += 1;
                    counts.ponrs += u64::from(*ponr && *way == Way::Do);
                    if self.newest != Some(*lock) {
                        return Err(format!("{step} of {phase} was started under lock {lock}, the newest is {:?}", self.newest));
                    }
                    let key = (phase.to_string(), step.to_string());
                    let broken = matches!(self.ended.remove(&key), Some(StepEnd::Failed | StepEnd::Interrupted));
                    let plan = core.state.durable.plan.as_ref().and_then(|plan| plan.phase(phase)?.step(step));
                    if plan.is_none_or(|plan| (plan.switch, plan.ponr) != (*switch, *ponr)) && *way == Way::Do {
                        return Err(format!("{step} of {phase} was started as another step: {plan:?}"));
                    }
                    if *way == Way::Undo {
                        // What can not be undone is left behind, and with it how it ended.
                        let later = core.state.durable.plan.as_ref().and_then(|plan| plan.phase(phase));
                        for left in
                            later.iter().flat_map(|phase| &phase.steps).skip_while(|own| own.name != *step).filter(|s| !s.undo)
                        {
                            self.ended.remove(&(phase.to_string(), left.name.to_string()));
                        }
                        continue;
                    }
                    if broken && !checked {
                        return Err(format!("{step} of {phase} was broken off and started again unchecked"));
                    }
                    if *ponr && tick.said.confirm.map(phase_name).as_ref() != Some(phase) {
                        return Err(format!("{step} of {phase} leads to where nothing leads back, and nobody has confirmed it"));
                    }
                    if guard != Some(Verdict::Open) {
                        return Err(format!("{step} of {phase} was started while the guard was {guard:?}"));
                    }
                }
                Event::StepEnded { phase, step, way, end, .. } => {
                    counts.undone += u64::from(*way == Way::Undo && *end == StepEnd::Done);
                    counts.broken += u64::from(*end != StepEnd::Done);
                    if *way == Way::Do {
                        self.ended.insert((phase.to_string(), step.to_string()), *end);
                    }
                }
                Event::PhaseSwitched { phase, .. } => {
                    let plan = core.state.durable.plan.as_ref().and_then(|plan| plan.phase(phase));
                    let by_steps = plan.is_none_or(|plan| !plan.steps.is_empty());
                    counts.whole += u64::from(by_steps);
                    if by_steps && !matches!(tick.act, Act::EndStep(of, _, StepEnd::Done) if phase_name(of) == *phase) {
                        return Err(format!("{phase} was switched by {tick:?}, and it has steps for that"));
                    }
                }
                Event::PhaseBegun { phase, .. } if core.state.durable.approvals.contains_key(phase) => {
                    return Err(format!("the approval of {phase} outlives its begin"));
                }
                Event::PhaseRolledBack { phase, .. } => {
                    self.ended.retain(|(of, _), _| *of != **phase);
                    let record = core.state.phase(phase);
                    let left = record.begun.is_some()
                        || record.is_switching()
                        || record.ponr.is_some()
                        || record.complete.is_some()
                        || record.adopted.is_some()
                        || !record.steps.is_empty()
                        || !record.regressed.is_empty();
                    if left || core.state.durable.approvals.contains_key(phase) {
                        return Err(format!("something of {phase} is left after its rollback: {record:?}"));
                    }
                }
                _ => {}
            }
        }
        let of_step = matches!(tick.act, Act::StartStep { .. } | Act::StepWorked(..) | Act::EndStep(..));
        if of_step && !events.is_empty() {
            let held = core.state.durable.lock.as_ref().map(|lock| lock.id);
            if tick.said.lock != Some(Token::Newest) || held.is_none() || held != self.newest {
                return Err(format!("{tick:?} was accepted, the newest lock is {:?}, held is {held:?}", self.newest));
            }
        }
        Self::stands(core, counts)
    }

    /// What must hold at any moment.
    fn stands(core: &Core, counts: &mut Counts) -> Result<(), String> {
        let Some(plan) = core.state.durable.plan.as_deref() else { return Ok(()) };
        for phase in plan.phases.iter().filter(|phase| !phase.steps.is_empty()) {
            let record = core.state.phase(&phase.name);
            let flying = |state| matches!(state, StepState::Running | StepState::Verifying | StepState::Undoing);
            if record.steps.values().filter(|step| flying(step.state)).count() > 1 {
                return Err(format!("more than one step of {} is in flight", phase.name));
            }
            if record.steps.keys().any(|name| phase.step(name).is_none()) {
                return Err(format!("something happened to a step of {} that does not exist: {record:?}", phase.name));
            }
            let done = phase.steps.iter().all(|step| record.step(&step.name) == Some(StepState::Done));
            if record.switched.is_some() && !record.steps.is_empty() && !done {
                return Err(format!("{} has switched, and not all its steps are done: {record:?}", phase.name));
            }
        }
        let excused = plan.probes().filter(|(_, probe)| core.state.excused(probe, core.now()));
        counts.excused += u64::try_from(excused.count()).unwrap();
        Ok(())
    }
}
