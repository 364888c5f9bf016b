//! ONE vocabulary of what happens: each event is one log line, with the same field names everywhere, and its counters.
//! `error` means that somebody must act.

use crate::event::{Event, StepEnd, Way};
use crate::gate::Verdict;
use crate::metrics::Metrics;
use crate::plan::ProbeName;
use crate::state::{ProbeState, RunRecord, Stamp, State, Unwritable};

/// Logs and counts an event that was applied.
pub fn emit(metrics: &Metrics, state: &State, event: &Event) {
    match event {
        Event::ConfigLoaded { plan, .. } => {
            metrics.retain(plan);
            tracing::info!(config.hash = plan.hash, config.migration = plan.migration, "document in force");
        }
        Event::PhaseBegun { phase, stamp } => phase_line(phase, stamp, "phase begun"),
        Event::PhaseSwitched { phase, stamp, .. } => phase_line(phase, stamp, "phase switched"),
        Event::PhaseCompleted { phase, stamp, .. } => phase_line(phase, stamp, "phase complete"),
        Event::PhaseRolledBack { phase, stamp, reason } => {
            tracing::warn!(phase.name = &**phase, actor = stamp.by, reason, "phase rolled back");
        }
        Event::PhaseAdopted { phase, stamp, reason } => {
            tracing::warn!(phase.name = &**phase, actor = stamp.by, reason, "phase adopted, not proven");
        }
        Event::ProbeChanged { probe, from, to, reason, evidence, .. } => {
            let (name, phase) = (&**probe, phase_of(state, probe));
            let (from, reason) = (from.as_str(), reason.as_ref().map(tracing::field::display));
            match to {
                ProbeState::Green | ProbeState::Waiting => {
                    tracing::info!(probe.name = name, phase.name = phase, from, to = to.as_str(), reason, %evidence, "probe changed");
                }
                ProbeState::Suspect | ProbeState::Red | ProbeState::Unknown => {
                    tracing::warn!(probe.name = name, phase.name = phase, from, to = to.as_str(), reason, %evidence, "probe changed");
                }
            }
        }
        Event::VerdictChanged { phase, from, to, epoch, blockers, .. } => {
            let (name, was, blockers) = (&**phase, from.map(Verdict::as_str), blockers.join("; "));
            if *from == Some(Verdict::Open) {
                tracing::warn!(phase.name = name, from = was, to = to.as_str(), epoch, blockers, "gate is not open any more");
            } else {
                tracing::info!(phase.name = name, from = was, to = to.as_str(), epoch, blockers, "gate changed");
            }
        }
        Event::ControlPassed { probe, evidence, .. } => {
            let (name, phase) = (&**probe, phase_of(state, probe));
            tracing::error!(probe.name = name, phase.name = phase, %evidence, "negative control passed: the probe is not to be trusted");
        }
        Event::RegressionLatched { phase, probe, reason, evidence, .. } => {
            tracing::error!(phase.name = &**phase, probe.name = &**probe, %reason, %evidence, "regression of a complete phase");
        }
        Event::RegressionAcknowledged { phase, stamp, reason } => {
            tracing::info!(phase.name = &**phase, actor = stamp.by, reason, "regression acknowledged");
        }
        Event::ProofFinished { probe, failed, evidence, .. } => {
            let (name, phase) = (&**probe, phase_of(state, probe));
            match failed {
                None => tracing::info!(probe.name = name, phase.name = phase, %evidence, "proof passed"),
                Some(reason) => tracing::warn!(probe.name = name, phase.name = phase, %reason, %evidence, "proof failed"),
            }
        }
        Event::MemoryLost { probe, .. } => {
            tracing::warn!(probe.name = &**probe, "memory of the probe is unreadable: it starts afresh, and so does its soak");
        }
        Event::AnotherServer { probe, target, was, is, .. } => {
            tracing::warn!(
                probe.name = &**probe,
                target.name = target,
                was,
                is,
                "another server, or another edition of a fact, is there: the probe starts afresh"
            );
        }
        Event::AnotherBoot { .. } => {
            tracing::warn!("another boot: the downtime is not known; soaks start anew, overrides end, proofs are done again");
        }
        Event::VerifierStarted { last, version, .. } => {
            let last = last.map(|last| last.to_string());
            tracing::info!(version, last, "a verifier begins to write the ledger");
        }
        Event::NobodyLooked { at, last } => {
            let gap_ms = crate::now::millis(at.t.since(last.t));
            tracing::warn!(gap_ms, "nothing was evaluated in between: gates were unknown");
        }
        Event::Refused { stamp, what, kind, message, times, .. } => {
            tracing::info!(actor = stamp.by, what, kind, reason = message, times, "refused");
        }
        Event::FactRecorded { name, stamp, .. } => tracing::info!(fact.name = name, actor = stamp.by, "fact recorded"),
        Event::OverrideCreated { id, probe, stamp, reason, .. } => {
            tracing::warn!(override.id = id, probe.name = &**probe, actor = stamp.by, reason, "override begins");
        }
        Event::OverrideEnded { id, stamp } => tracing::info!(override.id = id, actor = stamp.by, "override ended"),
        Event::PartForgotten { probe, part, stamp } => {
            tracing::info!(probe.name = &**probe, part = part.as_str(), actor = stamp.by, "part forgotten");
        }
        Event::LockTaken { lock } => {
            tracing::info!(lock.id, phase.name = &*lock.phase, actor = lock.stamp.by, place = lock.place, "lock taken");
        }
        Event::LockReleased { id, phase, stamp, forced: None } => {
            tracing::info!(lock.id = id, phase.name = &**phase, actor = stamp.by, "lock released");
        }
        Event::LockReleased { id, phase, stamp, forced: Some(reason) } => {
            tracing::warn!(lock.id = id, phase.name = &**phase, actor = stamp.by, reason, "lock ended by somebody else");
        }
        Event::LockRenewed { id, .. } => tracing::trace!(lock.id = id, "lock renewed"),
        Event::StepStarted { phase, step, way, stamp, lock, ponr, .. } => {
            let message = match way {
                Way::Do if *ponr => "step starts: nothing leads back from here",
                Way::Do => "step starts",
                Way::Undo => "step is being undone",
            };
            tracing::info!(phase.name = &**phase, step.name = &**step, actor = stamp.by, lock.id = lock, "{message}");
        }
        Event::StepWorked { phase, step, stamp } => {
            tracing::info!(phase.name = &**phase, step.name = &**step, actor = stamp.by, "the work of the step is over");
        }
        Event::StepEnded { phase, step, way, stamp, end, note, .. } => step_line((phase, step), *way, stamp, *end, note),
        Event::PlanApproved { phase, stamp, plan } => {
            tracing::info!(phase.name = &**phase, actor = stamp.by, plan.hash = plan, "plan approved");
        }
        Event::PonrDetected { phase, probe, evidence, .. } => {
            tracing::warn!(phase.name = &**phase, probe.name = &**probe, %evidence, "point of no return crossed: a probe has seen it");
        }
        Event::TargetRemoved { target, stamp, reason } => {
            tracing::warn!(target.name = &**target, actor = stamp.by, reason, "target decommissioned");
        }
        Event::TargetGone { target, .. } => tracing::info!(target.name = &**target, "target seen gone: it must not come back"),
        Event::TargetReturned { target, stamp, reason } => {
            tracing::warn!(target.name = &**target, actor = stamp.by, reason, "target is not decommissioned any more");
        }
        Event::StepsRehearsed { phase, stamp, .. } => {
            tracing::info!(phase.name = &**phase, actor = stamp.by, "rehearsal recorded");
        }
        Event::RunObserved { probe, run, .. } => {
            metrics.run_observed(probe, run);
            run_line(state, probe, run);
        }
        Event::ControlObserved { probe, outcome, earned, .. } => {
            let (outcome, evidence) = (outcome.label(), outcome.evidence());
            tracing::debug!(probe.name = &**probe, outcome, earned, %evidence, "negative control");
        }
        Event::Evaluated(evaluation) => tracing::trace!(epoch = evaluation.epoch, "evaluated"),
        Event::StoreChanged { unwritable: Some(Unwritable { cause, .. }) } => {
            tracing::error!(cause, "the ledger can not be written: every gate is unknown until it can");
        }
        Event::StoreChanged { unwritable: None } => tracing::info!("the ledger can be written again"),
    }
}

fn step_line((phase, step): (&str, &str), way: Way, stamp: &Stamp, end: StepEnd, note: &str) {
    let actor = &stamp.by;
    match (way, end) {
        (Way::Do, StepEnd::Done) => tracing::info!(phase.name = phase, step.name = step, actor, "step done"),
        (Way::Undo, StepEnd::Done) => tracing::warn!(phase.name = phase, step.name = step, actor, "step undone"),
        (Way::Do, StepEnd::Failed) => tracing::warn!(phase.name = phase, step.name = step, actor, note, "step failed"),
        (Way::Do, StepEnd::Interrupted) => tracing::warn!(phase.name = phase, step.name = step, actor, note, "step broken off"),
        (Way::Undo, StepEnd::Failed | StepEnd::Interrupted) => {
            tracing::error!(phase.name = phase, step.name = step, actor, note, "undo of a step failed: somebody must finish it");
        }
    }
}

fn phase_line(phase: &str, stamp: &Stamp, message: &'static str) {
    tracing::info!(phase.name = phase, actor = stamp.by, "{message}");
}

fn run_line(state: &State, probe: &ProbeName, run: &RunRecord) {
    tracing::debug!(
        probe.name = &**probe,
        phase.name = phase_of(state, probe),
        duration_ms = crate::now::millis(run.finished.t.since(run.started.t)),
        outcome = run.outcome.label(),
        reason = run.outcome.reason().map(tracing::field::display),
        evidence = %run.outcome.evidence(),
        "run",
    );
}

/// The phase a probe belongs to, for its log line.
fn phase_of<'a>(state: &'a State, probe: &str) -> &'a str {
    let plan = state.durable.plan.as_deref();
    plan.and_then(|plan| plan.probe(probe).and_then(|(at, _)| plan.phases.get(at))).map_or("", |phase| &*phase.name)
}
