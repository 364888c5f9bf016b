//! PURE. `apply`: what an [`Event`] does to the [`State`]. Total: an event that was decided is never refused here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use checks::{MAX_PARTS, Outcome, PartId};

use crate::event::{Event, Way};
use crate::gate::Evaluation;
use crate::now::{Millis, Now};
use crate::plan::{PhaseName, Plan, ProbeName, StepName};
use crate::state::{
    Approval, Fact, Override, ProbeRecord, ProbeState, ProofRecord, Regression, Removal, RunRecord, Soft, Stamp, State,
    StepRecord, StepState, Took, Trust,
};

/// Changes the state.
pub fn apply(state: &mut State, event: &Event) {
    match event {
        Event::ConfigLoaded { plan, at } => configure(state, plan, *at),
        Event::PhaseBegun { phase, stamp } => {
            state.durable.phases.entry(phase.clone()).or_default().begun = Some(stamp.clone());
            state.durable.approvals.remove(phase);
        }
        Event::PhaseSwitched { phase, stamp, seals } => {
            let record = state.durable.phases.entry(phase.clone()).or_default();
            record.switching.get_or_insert_with(|| stamp.clone());
            record.switched = Some(stamp.clone());
            restart_soak(state, phase, stamp.at.t);
            forget_flips(state, phase);
            seal(state, seals);
        }
        Event::PhaseCompleted { phase, stamp, seals, .. } => {
            state.durable.phases.entry(phase.clone()).or_default().complete = Some(stamp.clone());
            seal(state, seals);
        }
        Event::PhaseRolledBack { phase, stamp, .. } => roll_back(state, phase, stamp.at.t),
        Event::PhaseAdopted { phase, stamp, reason } => {
            let record = state.durable.phases.entry(phase.clone()).or_default();
            record.begun.get_or_insert_with(|| stamp.clone());
            record.switching = Some(stamp.clone());
            record.switched = Some(stamp.clone());
            record.complete = Some(stamp.clone());
            record.adopted = Some(reason.clone());
            restart_soak(state, phase, stamp.at.t);
            forget_flips(state, phase);
        }
        Event::ProbeChanged { probe, at, to, .. } => match to {
            ProbeState::Green => {
                state.durable.armed.insert(probe.clone());
            }
            ProbeState::Red => {
                // While a step is known to disturb it, whether the red stays is yet to be seen.
                if !excused(state, probe, *at) {
                    state.durable.armed.remove(probe);
                }
                soak(&mut state.soft, probe).red(at.t);
            }
            ProbeState::Suspect | ProbeState::Waiting | ProbeState::Unknown => {}
        },
        Event::VerdictChanged { .. } | Event::VerifierStarted { .. } | Event::NobodyLooked { .. } | Event::Refused { .. } => {}
        Event::ControlPassed { probe, at, .. } => soak(&mut state.soft, probe).reset(at.t),
        Event::RegressionLatched { phase, probe, at, reason, evidence } => {
            state.durable.armed.remove(probe);
            let record = state.durable.phases.entry(phase.clone()).or_default();
            record.regressions = record.regressions.saturating_add(1);
            let regression = Regression { since: *at, reason: reason.clone(), evidence: evidence.clone() };
            record.regressed.entry(probe.clone()).or_insert(regression);
        }
        Event::RegressionAcknowledged { phase, .. } => state.durable.phases.entry(phase.clone()).or_default().regressed.clear(),
        Event::MemoryLost { probe, at } => {
            state.soft.memories.remove(probe);
            soak(&mut state.soft, probe).reset(at.t);
        }
        Event::ProofFinished { probe, at, failed, evidence, hash, identities } => {
            let record = ProofRecord {
                at: *at,
                failed: failed.clone(),
                evidence: evidence.clone(),
                hash: hash.clone(),
                identities: identities.clone(),
                sealed: false,
            };
            state.durable.proofs.insert(probe.clone(), record);
            state.soft.reading.remove(probe);
        }
        Event::AnotherServer { probe, at, .. } => {
            state.durable.proofs.remove(probe);
            fresh(state, probe, at.t);
        }
        Event::AnotherBoot { at } => another_boot(state, at.t),
        Event::FactRecorded { name, stamp, value } => {
            state.durable.facts.insert(name.clone(), Fact { stamp: stamp.clone(), value: value.clone() });
        }
        Event::OverrideCreated { id, probe, stamp, reason, ticket, until } => {
            let exception = Override {
                probe: probe.clone(),
                reason: reason.clone(),
                ticket: ticket.clone(),
                stamp: stamp.clone(),
                until: *until,
            };
            state.durable.overrides.insert(*id, exception);
            state.durable.next_override = id.saturating_add(1);
        }
        Event::OverrideEnded { id, .. } => {
            state.durable.overrides.remove(id);
        }
        Event::PartForgotten { probe, part, .. } => {
            if let Some(parts) = state.soft.parts.get_mut(probe) {
                parts.remove(part);
            }
        }
        Event::LockTaken { lock } => {
            state.durable.next_lock = lock.id;
            state.durable.lock = Some(lock.clone());
        }
        Event::LockReleased { .. } => state.durable.lock = None,
        Event::LockRenewed { id, at } => state.soft.renewed = Some((*id, *at)),
        Event::StepStarted { phase, step, way, stamp, switch, ponr, seals, .. } => match way {
            Way::Do => {
                begin_anew(state, phase);
                move_step(state, phase, step, StepState::Running, stamp, "");
                let record = state.durable.phases.entry(phase.clone()).or_default();
                if *switch {
                    record.switching.get_or_insert_with(|| stamp.clone());
                }
                if *ponr {
                    record.ponr.get_or_insert_with(|| stamp.clone());
                }
                seal(state, seals);
            }
            Way::Undo => turn_back(state, phase, step, stamp),
        },
        Event::StepWorked { phase, step, stamp } => move_step(state, phase, step, StepState::Verifying, stamp, ""),
        Event::StepEnded { phase, step, way, stamp, end, switch, note } => {
            let to = StepState::after(*way, *end);
            move_step(state, phase, step, to, stamp, note);
            if to == StepState::Done {
                remember_span(state, phase, step, stamp.at);
            }
            if to == StepState::Undone && *switch {
                state.durable.phases.entry(phase.clone()).or_default().switching = None;
                probes_return(state, phase, stamp.at.t);
            }
        }
        Event::PlanApproved { phase, stamp, plan } => {
            state.durable.approvals.insert(phase.clone(), Approval { stamp: stamp.clone(), plan: plan.clone() });
        }
        Event::PonrDetected { phase, stamp, .. } => {
            state.durable.phases.entry(phase.clone()).or_default().ponr.get_or_insert_with(|| stamp.clone());
        }
        Event::TargetRemoved { target, stamp, reason } => {
            let removal = Removal { stamp: stamp.clone(), reason: reason.clone(), gone: None };
            state.durable.removals.insert(target.clone(), removal);
        }
        Event::TargetGone { target, at } => {
            if let Some(removal) = state.durable.removals.get_mut(target) {
                removal.gone.get_or_insert(*at);
            }
        }
        Event::TargetReturned { target, .. } => {
            state.durable.removals.remove(target);
        }
        Event::StepsRehearsed { phase, spans, .. } => remember_rehearsal(state, phase, spans),
        Event::RunObserved { probe, run, memory, identities } => observe(state, probe, run, memory.as_ref(), identities),
        Event::ControlObserved { probe, at, finished, outcome, earned } => {
            control(state, probe, (*at, *finished), outcome, *earned);
        }
        Event::Evaluated(evaluation) => evaluated(state, evaluation),
        Event::StoreChanged { unwritable } => state.live.unwritable.clone_from(unwritable),
    }
}

fn soak<'a>(soft: &'a mut Soft, probe: &ProbeName) -> &'a mut crate::soak::Soak {
    soft.soaks.entry(probe.clone()).or_default()
}

/// A probe starts afresh: unknown, without Memory, parts or soak; when it was last red is not forgotten.
fn fresh(state: &mut State, probe: &ProbeName, at: Millis) {
    state.live.generation = state.live.generation.saturating_add(1);
    state.live.probes.insert(probe.clone(), ProbeRecord::new(state.live.generation));
    soak(&mut state.soft, probe).reset(at);
    state.soft.parts.remove(probe);
    state.soft.memories.remove(probe);
    state.soft.reading.remove(probe);
}

fn configure(state: &mut State, plan: &Arc<Plan>, at: Now) {
    let old = state.durable.plan.replace(plan.clone());
    let known = |name: &str| plan.probe(name).is_some();
    state.live.probes.retain(|name, _| known(name));
    state.soft.soaks.retain(|name, _| known(name));
    state.soft.parts.retain(|name, _| known(name));
    state.soft.memories.retain(|name, _| known(name));
    state.soft.reading.retain(|name, _| known(name));
    state.durable.proofs.retain(|name, _| known(name));
    state.durable.armed.retain(|name| known(name));
    state.durable.overrides.retain(|_, exception| known(&exception.probe));
    state.durable.phases.retain(|name, _| plan.position(name).is_some());
    for record in state.durable.phases.values_mut() {
        record.regressed.retain(|name, _| known(name));
    }
    for (_, probe) in plan.probes() {
        let before = old.as_deref().and_then(|old| old.probe(&probe.name)).map(|(_, before)| &before.hash);
        if before.is_some_and(|before| *before != probe.hash) {
            state.soft.soaks.remove(&probe.name);
            fresh(state, &probe.name, at.t);
            state.durable.proofs.remove(&probe.name);
            state.durable.armed.remove(&probe.name);
            state.durable.overrides.retain(|_, exception| exception.probe != probe.name);
        }
    }
    for phase in &plan.phases {
        let before = old.as_deref().and_then(|old| old.fingerprint(&phase.name));
        if before != plan.fingerprint(&phase.name) {
            restart_soak(state, &phase.name, at.t);
        }
    }
    state.enroll();
}

/// Soaks start anew, overrides end, and a finished Pass that nothing has sealed is no evidence any more: a machine without a
/// clock of its own comes up with the time it was shut down at, and would stretch each of them.
fn another_boot(state: &mut State, at: Millis) {
    state.soft.soaks.values_mut().for_each(|soak| soak.reset(at));
    state.durable.overrides.clear();
    state.durable.proofs.retain(|_, proof| proof.sealed || proof.failed.is_some());
}

fn restart_soak(state: &mut State, phase: &str, at: Millis) {
    let Some(plan) = state.durable.plan.clone() else { return };
    for probe in plan.phases.iter().filter(|p| &*p.name == phase).flat_map(|p| &p.probes) {
        soak(&mut state.soft, &probe.name).reset(at);
    }
}

/// From the switch on a phase's probes look at what stands now: how often they changed on the way there says nothing of that.
fn forget_flips(state: &mut State, phase: &str) {
    let Some(plan) = state.durable.plan.clone() else { return };
    for probe in plan.phases.iter().filter(|p| &*p.name == phase).flat_map(|p| &p.probes) {
        if let Some(record) = state.live.probes.get_mut(&probe.name) {
            record.flips.clear();
        }
    }
}

fn seal(state: &mut State, proofs: &[ProbeName]) {
    for name in proofs {
        if let Some(proof) = state.durable.proofs.get_mut(name) {
            proof.sealed = true;
            state.soft.reading.remove(name);
        }
    }
}

fn roll_back(state: &mut State, phase: &str, at: Millis) {
    let was_switching = state.phase(phase).is_switching();
    if let Some(record) = state.durable.phases.get_mut(phase) {
        record.begun = None;
        record.switching = None;
        record.switched = None;
        record.ponr = None;
        record.steps.clear();
        record.complete = None;
        record.adopted = None;
        record.regressed.clear();
    }
    state.durable.approvals.remove(phase);
    restart_soak(state, phase, at);
    proofs_are_void(state, phase, at);
    if was_switching {
        probes_return(state, phase, at);
    }
}

/// The proofs of a phase on its way back were of something else.
fn proofs_are_void(state: &mut State, phase: &str, at: Millis) {
    let Some(plan) = state.durable.plan.clone() else { return };
    for probe in plan.phase(phase).into_iter().flat_map(|phase| &phase.probes).filter(|probe| probe.is_proof()) {
        state.durable.proofs.remove(&probe.name);
        fresh(state, &probe.name, at);
    }
}

/// The probes that a phase had retired are required again, and nothing is known of them.
fn probes_return(state: &mut State, phase: &str, at: Millis) {
    let Some(plan) = state.durable.plan.clone() else { return };
    for (_, probe) in plan.probes().filter(|(_, probe)| probe.until.as_deref() == Some(phase)) {
        state.durable.proofs.remove(&probe.name);
        fresh(state, &probe.name, at);
    }
}

fn move_step(state: &mut State, phase: &PhaseName, step: &StepName, to: StepState, stamp: &Stamp, note: &str) {
    let steps = &mut state.durable.phases.entry(phase.clone()).or_default().steps;
    let record = steps.entry(step.clone()).or_insert_with(|| StepRecord {
        state: to,
        stamp: stamp.clone(),
        started: stamp.at,
        attempts: 0,
        note: String::new(),
    });
    record.state = to;
    record.stamp = stamp.clone();
    note.clone_into(&mut record.note);
    if matches!(to, StepState::Running | StepState::Undoing) {
        record.started = stamp.at;
    }
    if to == StepState::Running {
        record.attempts = record.attempts.saturating_add(1);
    }
}

/// Once everything is undone, a step that starts begins the phase anew: what went back is over, and does not call it back again.
fn begin_anew(state: &mut State, phase: &PhaseName) {
    let Some(plan) = state.durable.plan.clone() else { return };
    let back = plan.phase(phase).is_some_and(|phase| state.phase(&phase.name).next_undo(phase).is_none());
    if let Some(record) = state.durable.phases.get_mut(phase).filter(|_| back) {
        record.steps.retain(|_, step| step.state != StepState::Undone);
    }
}

/// The undo of a step starts: the phase is neither switched nor complete any more, and later steps that have no undo are left
/// behind as they are.
fn turn_back(state: &mut State, phase: &PhaseName, step: &StepName, stamp: &Stamp) {
    let plan = state.durable.plan.clone();
    let steps = plan.as_deref().and_then(|plan| plan.phase(phase)).map(|phase| phase.steps.as_slice()).unwrap_or_default();
    for later in steps.iter().rev().take_while(|later| later.name != *step).filter(|later| !later.undo) {
        if state.phase(phase).steps.contains_key(&later.name) {
            move_step(state, phase, &later.name, StepState::Undone, stamp, "it has no undo and is left as it is");
        }
    }
    move_step(state, phase, step, StepState::Undoing, stamp, "");
    if let Some(record) = state.durable.phases.get_mut(phase) {
        record.switched = None;
        record.complete = None;
        record.adopted = None;
    }
    proofs_are_void(state, phase, stamp.at.t);
}

fn remember_span(state: &mut State, phase: &PhaseName, step: &StepName, end: Now) {
    let Some(started) = state.phase(phase).steps.get(step).map(|record| record.started) else { return };
    let took = Took { span: end.t.since(started.t), rehearsed: false };
    state.durable.took.entry(phase.clone()).or_default().insert(step.clone(), took);
}

/// What was done for real says more.
fn remember_rehearsal(state: &mut State, phase: &PhaseName, spans: &BTreeMap<StepName, Duration>) {
    let took = state.durable.took.entry(phase.clone()).or_default();
    for (step, span) in spans {
        if took.get(step).is_none_or(|known| known.rehearsed) {
            took.insert(step.clone(), Took { span: *span, rehearsed: true });
        }
    }
}

fn excused(state: &State, probe: &str, at: Now) -> bool {
    let plan = state.durable.plan.as_deref().and_then(|plan| plan.probe(probe));
    plan.is_some_and(|(_, probe)| state.excused(probe, at))
}

fn observe(
    state: &mut State,
    probe: &ProbeName,
    run: &Arc<RunRecord>,
    memory: Option<&Arc<[u8]>>,
    identities: &BTreeMap<String, String>,
) {
    let Some(plan) = state.durable.plan.clone() else { return };
    let Some((_, probe_plan)) = plan.probe(probe) else { return };
    let (excused, awaits) = (state.excused(probe_plan, run.finished), state.awaits(probe_plan));
    let Some(record) = state.live.probes.get_mut(probe) else { return };
    if let Some(memory) = memory {
        state.soft.memories.insert(probe.clone(), memory.clone());
    }
    remember_parts(&mut state.soft, probe, run);
    if probe_plan.is_proof() {
        record.last_pass = matches!(run.outcome, Outcome::Pass { .. }).then_some(run.started).or(record.last_pass);
        record.last = Some(run.clone());
        let sealed = state.durable.proofs.get(probe).is_some_and(|proof| proof.sealed);
        if run.progress.is_some() && !sealed {
            state.soft.reading.entry(probe.clone()).or_default().extend(identities.clone());
        }
        if state.durable.proofs.get(probe).is_some_and(|proof| proof.failed.is_some() && proof.hash == probe_plan.hash) {
            soak(&mut state.soft, probe).red(run.finished.t);
        }
        return;
    }
    let base = record.observe(run.clone(), probe_plan, excused || awaits);
    if !identities.is_empty() {
        state.soft.reading.entry(probe.clone()).or_default().extend(identities.clone());
    }
    if base == ProbeState::Red {
        if !awaits {
            soak(&mut state.soft, probe).red(run.finished.t);
        }
    } else if matches!(run.outcome, Outcome::Pass { .. }) {
        soak(&mut state.soft, probe).sample(run.started.t);
    }
}

fn control(state: &mut State, probe: &ProbeName, (at, finished): (Now, Now), outcome: &Outcome, earned: bool) {
    let Some(record) = state.live.probes.get_mut(probe) else { return };
    record.control = Some((at, outcome.clone()));
    if earned {
        record.trust = Trust::Trusted(at.t);
        soak(&mut state.soft, probe).control_failed(at.t);
    } else if matches!(outcome, Outcome::Pass { .. }) {
        record.trust = Trust::Untrusted;
        soak(&mut state.soft, probe).reset(finished.t);
    }
}

/// Green time since the last epoch is credited; the evaluation is the one that readers get.
fn evaluated(state: &mut State, evaluation: &Arc<Evaluation>) {
    state.soft.epoch = evaluation.epoch;
    for record in state.live.probes.values_mut() {
        record.disturbed = false;
        record.shown = true;
    }
    let last = state.live.evaluation.replace(evaluation.clone());
    for view in evaluation.probes.iter().filter(|view| view.sight.state == ProbeState::Red) {
        soak(&mut state.soft, &view.name).red(evaluation.at.t);
    }
    let (Some(last), Some(plan)) = (last, state.durable.plan.clone()) else { return };
    for view in evaluation.probes.iter().filter(|view| view.credited) {
        let Some(phase) = plan.phases.get(view.phase) else { continue };
        let Some(switched) = state.durable.phases.get(&phase.name).and_then(|record| record.switched.as_ref()) else { continue };
        let from = last.at.t.max(switched.at.t);
        soak(&mut state.soft, &view.name).credit(from, evaluation.at.t, &phase.gate);
    }
}

/// The parts that must not vanish. Not for ever more of them: a target may call itself by another name each time it answers.
fn remember_parts(soft: &mut Soft, probe: &ProbeName, run: &RunRecord) {
    let named = || run.parts.keys().filter(|part| part.as_str() != PartId::WHOLE);
    if named().next().is_none() {
        return;
    }
    let known = soft.parts.entry(probe.clone()).or_default();
    for part in named() {
        if known.len() < MAX_PARTS {
            known.insert(part.clone());
        }
    }
}
