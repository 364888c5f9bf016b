//! PURE. `decide`: what an [`Input`] means, given the [`State`], as events; or why it is refused.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use checks::{Evidence, MAX_PARTS, Outcome, PartId, Reason, Step, engine_reasons as engine};

use crate::event::{Control, Event, Input, Refusal, RefusalKind, Run};
use crate::gate::{Blocker, Evaluation, ProbeView, evaluate};
use crate::now::Now;
use crate::phase;
use crate::plan::{Plan, ProbeName, ProbePlan, TargetName};
use crate::state::{ProbeState, Removal, RunRecord, Stamp, State, Trust};
use crate::steps::watched;

/// The name under which the verifier itself acts.
pub const VERIFIER: &str = "verifier";

/// What this input changes. Nothing is changed here; [`crate::apply::apply`] does.
pub fn decide(state: &State, input: &Input, now: Now) -> Result<Vec<Event>, Refusal> {
    match input {
        Input::Configure(plan) => phase::configure(state, plan, now),
        Input::Run(run) => take_run(state, run),
        Input::Control(control) => take_control(state, control),
        Input::AnotherBoot => Ok(vec![Event::AnotherBoot { at: now }]),
        Input::Epoch => Ok(edges(state, now)),
        Input::Command(command) => phase::command(state, command, now),
        Input::Store(result) => {
            let unwritable = result.as_ref().err().cloned();
            let changed = unwritable != state.live.unwritable;
            Ok(changed.then_some(Event::StoreChanged { unwritable }).into_iter().collect())
        }
    }
}

fn outdated() -> Refusal {
    Refusal::new(RefusalKind::Outdated, "the run belongs to an earlier start of the probe")
}

/// The probe's plan, if this start of it is the current one.
fn current<'a>(state: &'a State, name: &str, generation: u64) -> Result<&'a ProbePlan, Refusal> {
    let plan = state.durable.plan.as_deref().and_then(|plan: &Plan| plan.probe(name)).map(|(_, probe)| probe);
    let record = state.live.probes.get(name);
    plan.filter(|_| record.is_some_and(|record| record.generation == generation)).ok_or_else(outdated)
}

fn take_run(state: &State, run: &Run) -> Result<Vec<Event>, Refusal> {
    let probe = current(state, &run.probe, run.generation)?;
    if phase::facts::outrun(state, run) {
        return Err(Refusal::new(RefusalKind::Outdated, "a newer edition of a fact was recorded while the run was under way"));
    }
    let mut events = voided(state, run);
    // Its own cursor is of the other server: nothing of this run may count.
    if events.iter().any(|event| matches!(event, Event::AnotherServer { probe, .. } if *probe == run.probe)) {
        return Ok(events);
    }
    let (parts, progress) = match &run.step {
        Step::Done(parts) => (complete_parts(state, probe, parts, run.named.as_ref()), None),
        Step::More(progress) if probe.is_proof() => (BTreeMap::new(), Some(progress.clone())),
        Step::More(_) => (BTreeMap::new(), None),
    };
    let mut outcome = match &progress {
        Some(progress) => Outcome::Pass { evidence: progress.note.clone() },
        None => worst(&parts),
    };
    if probe.is_proof() && progress.is_none() {
        let trusted = state
            .live
            .probes
            .get(&run.probe)
            .is_some_and(|record| matches!(record.trust(probe, run.finished.t), Trust::Trusted(_)));
        let sealed = state.durable.proofs.get(&run.probe).is_some_and(|proof| proof.sealed && proof.hash == probe.hash);
        if matches!(outcome, Outcome::Pass { .. }) && !trusted {
            outcome = engine::CONTROL_UNTESTED.because("finished, but its negative control has not been seen failing");
        }
        let failed = match &outcome {
            Outcome::Pass { .. } => Some(None),
            Outcome::Fail { reason, .. } => Some(Some(reason.clone())),
            Outcome::Unknown { .. } | Outcome::Waiting { .. } => None,
        };
        if let Some(failed) = failed
            && !sealed
        {
            let mut identities = state.soft.reading.get(&run.probe).cloned().unwrap_or_default();
            identities.extend(run.identities.clone());
            let evidence = outcome.evidence().clone();
            if !fails_as_before(state, probe, (&failed, &evidence, &identities)) {
                let (probe, at, hash) = (run.probe.clone(), run.started, probe.hash.clone());
                events.push(Event::ProofFinished { probe, at, failed, evidence, hash, identities });
            }
        }
    }
    if outcome.reason() == Some(&engine::MEMORY.into()) {
        events.push(Event::MemoryLost { probe: run.probe.clone(), at: run.finished });
    }
    let trails = run.trails.clone();
    let record = RunRecord { started: run.started, finished: run.finished, outcome, parts, progress, trails };
    events.push(Event::RunObserved {
        probe: run.probe.clone(),
        run: Arc::new(record),
        memory: run.memory.clone(),
        identities: run.identities.clone(),
    });
    Ok(events)
}

/// Whether a proof that takes one Run has failed in the same way before: only edges are events.
fn fails_as_before(
    state: &State,
    probe: &ProbePlan,
    (failed, evidence, identities): (&Option<Reason>, &Evidence, &BTreeMap<String, String>),
) -> bool {
    let before = state.durable.proofs.get(&probe.name).filter(|proof| proof.hash == probe.hash);
    failed.is_some()
        && !state.soft.reading.contains_key(&probe.name)
        && before.is_some_and(|proof| (&proof.failed, &proof.evidence, &proof.identities) == (failed, evidence, identities))
}

/// Proofs, finished or not, that are bound to another server than this run has read; and its own probe, whatever it is. What is
/// sealed stays bound to the editions of the facts that it read, whatever others are measured by since.
fn voided(state: &State, run: &Run) -> Vec<Event> {
    let mut events = Vec::new();
    if run.identities.is_empty() {
        return events;
    }
    for (_, probe) in
        state.durable.plan.iter().flat_map(|plan| plan.probes()).filter(|(_, probe)| probe.is_proof() || probe.name == run.probe)
    {
        let proof = state.durable.proofs.get(&probe.name);
        let (finished, sealed) = (proof.map(|proof| &proof.identities), proof.is_some_and(|proof| proof.sealed));
        let differs = |(target, is): (&String, &String)| {
            if sealed && target.starts_with(checks::FACT_READ) {
                return None;
            }
            let mut bound = finished.into_iter().chain(state.soft.reading.get(&probe.name));
            let was = bound.find_map(|read| read.get(target).filter(|was| *was != is))?;
            Some((target.clone(), was.clone(), is.clone()))
        };
        if let Some((target, was, is)) = run.identities.iter().find_map(differs) {
            events.push(Event::AnotherServer { probe: probe.name.clone(), at: run.finished, target, was, is });
        }
    }
    events
}

/// The reported parts, and those that were there before and are not any more.
fn complete_parts(
    state: &State,
    probe: &ProbePlan,
    reported: &BTreeMap<PartId, Outcome>,
    named: Option<&BTreeSet<PartId>>,
) -> BTreeMap<PartId, Outcome> {
    if let Some(flood) = flood(reported) {
        return BTreeMap::from([(PartId::new(PartId::WHOLE), flood)]);
    }
    let mut parts = reported.clone();
    // A check that could not look at all says so for the whole: its parts have not vanished, they were not listed.
    let blind = reported
        .get(&PartId::new(PartId::WHOLE))
        .is_some_and(|whole| matches!(whole, Outcome::Unknown { .. } | Outcome::Fail { .. }));
    // A node that Kubernetes has no more has left; one that it has is missing.
    let left = |part: &PartId| named.is_some_and(|named| !named.contains(part));
    for part in state.soft.parts.get(&probe.name).into_iter().flatten().filter(|part| !blind && !left(part)) {
        parts.entry(part.clone()).or_insert_with(|| engine::PART_VANISHED.because(format!("{part} is not reported any more")));
    }
    parts
}

/// The worst part decides, of several that wait the one that is due first; no part at all is Unknown.
fn worst(parts: &BTreeMap<PartId, Outcome>) -> Outcome {
    let due = |outcome: &Outcome| if let Outcome::Waiting { due, .. } = outcome { Some(*due) } else { None };
    let worst = parts.iter().max_by_key(|(_, outcome)| (outcome.rank(), Reverse(due(outcome))));
    match worst {
        None => engine::NO_PARTS.because("the check reported no part"),
        Some((_, outcome)) if parts.len() == 1 => outcome.clone(),
        Some((part, outcome)) => named(part, outcome, parts.len()),
    }
}

fn named(part: &PartId, outcome: &Outcome, count: usize) -> Outcome {
    let mut outcome = outcome.clone();
    match &mut outcome {
        Outcome::Pass { evidence } => *evidence = Evidence::from(format!("{count} parts; {part}: {evidence}")),
        Outcome::Fail { evidence, .. } | Outcome::Unknown { evidence, .. } | Outcome::Waiting { evidence, .. } => {
            *evidence = Evidence::from(format!("{part}: {evidence}"));
        }
    }
    outcome
}

fn take_control(state: &State, control: &Control) -> Result<Vec<Event>, Refusal> {
    let probe = current(state, &control.probe, control.generation)?;
    let was = state.live.probes.get(&control.probe).map(|record| record.trust);
    let earned = matches!(&control.outcome, Outcome::Fail { reason, .. } if reason.as_str() == probe.control_reason);
    let passed = matches!(control.outcome, Outcome::Pass { .. });
    let mut events = vec![Event::ControlObserved {
        probe: control.probe.clone(),
        at: control.started,
        finished: control.finished,
        outcome: control.outcome.clone(),
        earned,
    }];
    if passed && was != Some(Trust::Untrusted) {
        events.push(Event::ControlPassed {
            probe: control.probe.clone(),
            at: control.finished,
            evidence: control.outcome.evidence().clone(),
        });
    }
    Ok(events)
}

/// An evaluation, and every edge since the last one.
fn edges(state: &State, now: Now) -> Vec<Event> {
    let expired = state.durable.overrides.iter().filter(|(_, o)| o.until <= now.t);
    let ended = |(id, _): (&u64, _)| Event::OverrideEnded { id: *id, stamp: Stamp { at: now, by: VERIFIER.into() } };
    let mut events: Vec<_> = expired.map(ended).collect();
    let evaluation = evaluate(state, now);
    let before = state.live.evaluation.as_deref();
    events.extend(probe_edges(state, &evaluation, before));
    events.extend(verdict_edges(&evaluation, before));
    events.extend(sightings(state, &evaluation));
    events.push(Event::Evaluated(Arc::new(evaluation)));
    events
}

fn probe_edges(state: &State, evaluation: &Evaluation, before: Option<&Evaluation>) -> Vec<Event> {
    let mut events = Vec::new();
    let Some(plan) = state.durable.plan.as_deref() else { return events };
    for (at, (view, (_, probe))) in evaluation.probes.iter().zip(plan.probes()).enumerate() {
        let last = before.filter(|_| state.shown(&view.name)).and_then(|e| e.probe_named(at, &view.name));
        let was = last.map_or(ProbeState::Unknown, |last| last.sight.state);
        let red = view.sight.state == ProbeState::Red;
        let armed = red && state.durable.armed.contains(&view.name) && !state.excused(probe, evaluation.at);
        if was == view.sight.state && !armed {
            continue;
        }
        // A red that was excused until now is told once more: from here on it counts.
        events.push(Event::ProbeChanged {
            probe: view.name.clone(),
            at: evaluation.at,
            from: was,
            to: view.sight.state,
            reason: view.sight.reason.clone(),
            evidence: view.sight.evidence.clone(),
        });
        let Some(phase) = plan.phases.get(view.phase) else { continue };
        if armed && watched(state, phase, probe, view, evaluation.at) {
            events.push(Event::RegressionLatched {
                phase: phase.name.clone(),
                probe: view.name.clone(),
                at: evaluation.at,
                reason: view.sight.reason.clone().unwrap_or_else(|| engine::STALE.into()),
                evidence: view.sight.evidence.clone(),
            });
        }
    }
    events
}

/// What greens say beyond their colour: that an old side is gone, or that nothing leads back any more.
fn sightings(state: &State, evaluation: &Evaluation) -> Vec<Event> {
    let Some(plan) = state.durable.plan.as_deref() else { return Vec::new() };
    let green = |name: &ProbeName| evaluation.probe(name).is_some_and(|view| view.sight.state == ProbeState::Green);
    let gone = |(target, _): (&TargetName, &Removal)| {
        let mut wires = plan.tripwires(target).peekable();
        let seen = wires.peek().is_some() && wires.all(|probe| green(&probe.name));
        seen.then(|| Event::TargetGone { target: target.clone(), at: evaluation.at })
    };
    let crossed = |(view, (_, probe)): (&ProbeView, (usize, &ProbePlan))| {
        let phase = plan.phases.get(view.phase).filter(|_| probe.marks_ponr && view.sight.state == ProbeState::Green)?;
        let record = state.phase(&phase.name);
        let began = record.switching.as_ref().filter(|_| record.ponr.is_none())?;
        let last = state.live.probes.get(&probe.name)?.last.as_ref()?;
        // What it saw before the switch began was of something else.
        (last.started.t >= began.at.t).then(|| Event::PonrDetected {
            phase: phase.name.clone(),
            probe: probe.name.clone(),
            stamp: Stamp { at: evaluation.at, by: VERIFIER.into() },
            evidence: view.sight.evidence.clone(),
        })
    };
    let awaited = state.durable.removals.iter().filter(|(_, removal)| removal.gone.is_none());
    awaited.filter_map(gone).chain(evaluation.probes.iter().zip(plan.probes()).filter_map(crossed)).collect()
}

fn verdict_edges(evaluation: &Evaluation, before: Option<&Evaluation>) -> Vec<Event> {
    let edge = |gate: &crate::gate::GateView| {
        let from = before.and_then(|e| e.gate(&gate.phase)).map(|last| last.verdict);
        (from != Some(gate.verdict)).then(|| Event::VerdictChanged {
            phase: gate.phase.clone(),
            at: evaluation.at,
            from,
            to: gate.verdict,
            epoch: evaluation.epoch,
            blockers: gate.blockers.iter().take(5).map(brief).collect(),
        })
    };
    evaluation.gates.iter().filter_map(edge).collect()
}

fn brief(blocker: &Blocker) -> String {
    let probe = blocker.probe.as_deref().unwrap_or("-");
    format!("{}/{probe}: {}", blocker.phase, blocker.reason)
}

fn flood(reported: &BTreeMap<PartId, Outcome>) -> Option<Outcome> {
    let words = || format!("{} parts, more than {MAX_PARTS}", reported.len());
    (reported.len() > MAX_PARTS).then(|| engine::FLOOD.because(words()))
}

/// What one look comes to by itself, without what was seen before.
pub fn at_one_look(reported: &BTreeMap<PartId, Outcome>) -> Outcome {
    flood(reported).unwrap_or_else(|| worst(reported))
}
