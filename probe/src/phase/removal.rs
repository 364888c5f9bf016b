//! PURE. Removing an old side for good: when that may be said, and what keeps watch over it afterwards.

use super::{Desk, conflict, said};
use crate::event::{Event, Refusal, RefusalKind};
use crate::plan::{Plan, ProbePlan, TargetName};
use crate::state::{PhaseState, State};

/// An old side is removed for good. Refused as long as a phase could need it: to go on, or to go back.
pub(crate) fn decommission(desk: &Desk<'_>, target: &TargetName, reason: &str) -> Result<Event, Refusal> {
    let name = known(desk.plan, target)?;
    let reason = said(reason)?;
    if let Some(removal) = desk.state.durable.removals.get(target) {
        let words = format!("target {target} is decommissioned since {}, by {}", removal.stamp.at, removal.stamp.by);
        return Err(conflict(words));
    }
    let readers = || desk.plan.probes().filter(|(_, probe)| probe.targets.contains(target) && !probe.tripwire);
    for (at, probe) in readers() {
        let own = desk.plan.phases.get(at).map(|phase| &phase.name);
        let unfinished =
            own.into_iter().chain(&probe.until).find(|phase| desk.state.phase(phase).state() != PhaseState::Complete);
        if let Some(phase) = unfinished {
            let stands = desk.state.phase(phase).state().as_str();
            return Err(conflict(format!(
                "target {target} is looked at by probe {} until phase {phase} is complete, and that is {stands}",
                probe.name
            )));
        }
    }
    if desk.plan.tripwires(target).next().is_none() {
        return Err(conflict(format!(
            "nothing would notice if target {target} came back: add a gate probe with `check: {{tripwire: {{target: {target}}}}}` to the document first"
        )));
    }
    if desk.terms.confirm.as_deref() != Some(&**target) {
        let words =
            format!("without target {target} nothing leads back to it any more; `--confirm={target}` says that this is meant");
        return Err(Refusal::new(RefusalKind::Unconfirmed, words));
    }
    Ok(Event::TargetRemoved { target: name, stamp: desk.stamp.clone(), reason })
}

/// It was a mistake. Not once it was seen gone: then only its coming back is news, and the tripwire tells it.
pub(crate) fn recommission(desk: &Desk<'_>, target: &TargetName, reason: &str) -> Result<Event, Refusal> {
    let reason = said(reason)?;
    match desk.state.durable.removals.get(target) {
        None => Err(Refusal::new(RefusalKind::NotFound, format!("target `{target}` is not decommissioned"))),
        Some(removal) => match removal.gone {
            Some(gone) => Err(conflict(format!("target {target} was seen gone at {gone}: its removal is not taken back"))),
            None => Ok(Event::TargetReturned { target: target.clone(), stamp: desk.stamp.clone(), reason }),
        },
    }
}

fn known(plan: &Plan, target: &TargetName) -> Result<TargetName, Refusal> {
    let mut names: Vec<&TargetName> = plan.probes().flat_map(|(_, probe)| &probe.targets).collect();
    names.sort_unstable();
    names.dedup();
    names.iter().find(|name| **name == target).map(|name| (*name).clone()).ok_or_else(|| {
        let names: Vec<&str> = names.iter().map(|name| &***name).collect();
        Refusal::new(RefusalKind::NotFound, format!("no target `{target}`; the probes look at {}", names.join(", ")))
    })
}

/// The tripwire of a removed target can not be edited away, moved or pointed at another target.
pub(crate) fn keeps_tripwires(state: &State, old: &Plan, new: &Plan) -> Result<(), Refusal> {
    let home = |plan: &Plan, name: &str| plan.probe(name).and_then(|(at, _)| plan.phases.get(at)).map(|phase| phase.name.clone());
    for (target, removal) in &state.durable.removals {
        let stays = |probe: &ProbePlan| new.tripwires(target).any(|same| same.name == probe.name);
        let gone = old.tripwires(target).find(|probe| !stays(probe) || home(old, &probe.name) != home(new, &probe.name));
        if let Some(gone) = gone {
            return Err(conflict(format!(
                "probe {} watches that target {target}, decommissioned at {}, does not come back: it can not be moved, removed or pointed at another target",
                gone.name, removal.stamp.at
            )));
        }
    }
    Ok(())
}
