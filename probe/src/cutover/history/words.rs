//! Each event as a sentence about who did what.

use crate::event::{Event, StepEnd, Way};
use crate::gate::Verdict;
use crate::now::span;
use crate::state::{ProbeState, Stamp};

/// Who, and what.
pub(super) struct Told {
    pub(super) by: String,
    pub(super) what: String,
}

impl Told {
    /// Nobody did it.
    pub(super) fn by_verifier(what: String) -> Self {
        Self { by: "verifier".to_owned(), what }
    }
}

fn by(stamp: &Stamp, what: impl Into<String>) -> Told {
    Told { by: stamp.by.clone(), what: what.into() }
}

/// An event in words.
pub(super) fn tell(event: &Event) -> Told {
    let own = Told::by_verifier;
    match event {
        Event::ConfigLoaded { plan, .. } => {
            let hash = plan.hash.get(..8).unwrap_or(&plan.hash);
            own(format!("document {hash} is in force: {} phases", plan.phases.len()))
        }
        Event::PhaseBegun { phase, stamp } => by(stamp, format!("began phase {phase}")),
        Event::PhaseSwitched { phase, stamp, .. } => by(stamp, format!("phase {phase} has switched: its soak starts")),
        Event::PhaseCompleted { phase, stamp, overrides, .. } => {
            let with = if overrides.is_empty() { String::new() } else { format!(", with {} overridden", overrides.len()) };
            by(stamp, format!("completed phase {phase}{with}"))
        }
        Event::PhaseRolledBack { phase, stamp, reason } => by(stamp, format!("rolled phase {phase} back: {reason}")),
        Event::PhaseAdopted { phase, stamp, reason } => by(stamp, format!("adopted phase {phase}, not proven: {reason}")),
        Event::ProbeChanged { probe, from, to, reason, evidence, .. } => {
            let reason = reason.as_ref().map_or_else(String::new, |reason| format!("{reason}: "));
            let (from, to) = (ProbeState::as_str(*from), ProbeState::as_str(*to));
            own(format!("probe {probe} went from {from} to {to}: {reason}{evidence}"))
        }
        Event::VerdictChanged { phase, from, to, blockers, .. } => {
            let from = from.map_or_else(String::new, |from| format!(" from {}", Verdict::as_str(from)));
            let why = if blockers.is_empty() { String::new() } else { format!(": {}", blockers.join(", ")) };
            own(format!("gate {phase} went{from} to {}{why}", to.as_str()))
        }
        Event::ControlPassed { probe, evidence, .. } => {
            own(format!("the negative control of probe {probe} passed, so it is not to be trusted: {evidence}"))
        }
        Event::RegressionLatched { phase, probe, reason, evidence, .. } => {
            own(format!("phase {phase} regressed: probe {probe} went red: {reason}: {evidence}"))
        }
        Event::RegressionAcknowledged { phase, stamp, reason } => {
            by(stamp, format!("acknowledged the regressions of phase {phase}: {reason}"))
        }
        Event::MemoryLost { probe, .. } => own(format!("the memory of probe {probe} was unreadable: it starts afresh")),
        Event::ProofFinished { probe, failed, evidence, .. } => {
            let end = failed.as_ref().map_or_else(|| "passed".to_owned(), |reason| format!("failed: {reason}"));
            own(format!("proof {probe} {end}: {evidence}"))
        }
        Event::AnotherServer { probe, target, was, is, .. } => own(match target.strip_prefix(checks::FACT_READ) {
            Some(fact) => format!("fact {fact} has a newer edition, {is} and not {was}: probe {probe} starts afresh"),
            None => format!("another server stands at {target}, {is} and not {was}: probe {probe} starts afresh"),
        }),
        Event::AnotherBoot { .. } => own("the machine was booted anew: soaks start afresh, overrides end".to_owned()),
        Event::VerifierStarted { at, last, version } => {
            let down = last.map_or_else(
                || "on a new ledger".to_owned(),
                |last| format!("nothing is known of the {} before", span(at.t.since(last.t))),
            );
            own(format!("the verifier started, version {version}: {down}"))
        }
        Event::NobodyLooked { at, last } => {
            own(format!("nothing was evaluated for {}: gates were unknown", span(at.t.since(last.t))))
        }
        Event::Refused { stamp, what, kind, message, times, .. } => {
            let often = if *times > 1 { format!(" ({times} times)") } else { String::new() };
            by(stamp, format!("was refused to {what}{often}: {message} ({kind})"))
        }
        Event::FactRecorded { name, stamp, .. } => by(stamp, format!("recorded fact {name}")),
        Event::OverrideCreated { id, probe, stamp, reason, ticket, until } => {
            let lasts = span(until.since(stamp.at.t));
            let ticket = ticket.as_ref().map_or_else(String::new, |ticket| format!(" ({ticket})"));
            by(stamp, format!("made override {id}: probe {probe} is not looked at for {lasts}: {reason}{ticket}"))
        }
        Event::OverrideEnded { id, stamp } => by(stamp, format!("ended override {id}")),
        Event::PartForgotten { probe, part, stamp } => {
            by(stamp, format!("had part {} of probe {probe} forgotten", part.as_str()))
        }
        Event::LockTaken { lock } => {
            by(&lock.stamp, format!("took lock {} for phase {}, on {}", lock.id, lock.phase, lock.place))
        }
        Event::LockReleased { id, phase, stamp, forced: None } => by(stamp, format!("released lock {id} for phase {phase}")),
        Event::LockReleased { id, phase, stamp, forced: Some(reason) } => {
            by(stamp, format!("ended lock {id} for phase {phase}, somebody else's: {reason}"))
        }
        Event::StepStarted { phase, step, way, stamp, switch, ponr, .. } => {
            let what = match way {
                Way::Do => "started",
                Way::Undo => "began to undo",
            };
            let switch = if *switch && *way == Way::Do { ", the switch" } else { "" };
            let ponr = if *ponr && *way == Way::Do { ": nothing leads back from here" } else { "" };
            by(stamp, format!("{what} step {step} of phase {phase}{switch}{ponr}"))
        }
        Event::StepWorked { phase, step, stamp } => {
            by(stamp, format!("the work of step {step} of phase {phase} is over; its probes are to follow"))
        }
        Event::StepEnded { phase, step, way, stamp, end, note, .. } => {
            let how = match (way, end) {
                (Way::Do, StepEnd::Done) => "is done",
                (Way::Do, StepEnd::Failed) => "failed",
                (Way::Do, StepEnd::Interrupted) => "was broken off",
                (Way::Undo, StepEnd::Done) => "is undone",
                (Way::Undo, StepEnd::Failed | StepEnd::Interrupted) => "could not be undone",
            };
            let note = if note.is_empty() { String::new() } else { format!(": {note}") };
            by(stamp, format!("step {step} of phase {phase} {how}{note}"))
        }
        Event::PlanApproved { phase, stamp, plan } => {
            by(stamp, format!("approved plan {} of phase {phase}", plan.get(..8).unwrap_or(plan)))
        }
        Event::PonrDetected { phase, probe, evidence, .. } => {
            own(format!("phase {phase} is past its point of no return, as probe {probe} has seen: {evidence}"))
        }
        Event::TargetRemoved { target, stamp, reason } => by(stamp, format!("decommissioned target {target}: {reason}")),
        Event::TargetGone { target, .. } => own(format!("target {target} is seen gone: it must not come back")),
        Event::TargetReturned { target, stamp, reason } => {
            by(stamp, format!("took back that target {target} is decommissioned: {reason}"))
        }
        Event::StepsRehearsed { phase, stamp, spans } => by(stamp, format!("rehearsed {} steps of phase {phase}", spans.len())),
        // These are never in the trail.
        Event::LockRenewed { .. }
        | Event::RunObserved { .. }
        | Event::ControlObserved { .. }
        | Event::Evaluated(_)
        | Event::StoreChanged { .. } => own(String::new()),
    }
}
