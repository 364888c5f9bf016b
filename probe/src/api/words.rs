//! Sentences for people: why a gate stands as it does, and what to do next.

use chrono::{DateTime, Utc};

use super::types::BlockerBody;
use crate::gate::{GateView, Verdict, phase_reasons as why};
use crate::now::span;
use crate::plan::PhasePlan;
use crate::state::PhaseState;

/// Longer evidence is cut inside a sentence; the blocker has it whole.
const MAX_EVIDENCE: usize = 160;

/// Why a gate (or guard) has its verdict.
pub(super) fn sentence(verdict: Verdict, blockers: &[BlockerBody], blocked_by: usize, now: DateTime<Utc>) -> String {
    let Some(first) = blockers.first() else { return verdict.as_str().to_owned() };
    let more = match blocked_by.saturating_sub(1) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!("{}: {}{more}", verdict.as_str(), blocker(first, now))
}

/// Why an open gate is open.
pub(super) fn open_gate(view: &GateView, now: DateTime<Utc>) -> String {
    let since = view.open_since.map_or(String::new(), |since| format!(" since {}", clock(since.utc, now)));
    let overridden = match view.overrides.len() {
        0 => String::new(),
        count => format!(", except {count} overridden"),
    };
    format!("open{since}: every required probe is green{overridden}, the soak of {} is served", span(view.soak.need))
}

fn blocker(blocker: &BlockerBody, now: DateTime<Utc>) -> String {
    let evidence = clipped(&blocker.evidence);
    let Some(probe) = &blocker.probe else { return evidence };
    let Some(state) = blocker.state else {
        let what = if blocker.reason == why::REGRESSED.name { "of complete phases regressed" } else { "is soaking" };
        return format!("probe {probe} {what} ({evidence})");
    };
    let since = blocker.since.map_or(String::new(), |since| format!(" since {}", clock(since, now)));
    let evidence = if evidence.is_empty() { String::new() } else { format!(": {evidence}") };
    format!("probe {probe} is {}{since} ({}{evidence})", state.as_str(), blocker.reason)
}

pub(super) fn clipped(evidence: &str) -> String {
    match evidence.char_indices().nth(MAX_EVIDENCE) {
        Some((end, _)) => format!("{}…", evidence.get(..end).unwrap_or_default()),
        None => evidence.to_owned(),
    }
}

/// The time of day, with the date unless it is today.
fn clock(utc: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let format = if utc.date_naive() == now.date_naive() { "%H:%M:%SZ" } else { "%Y-%m-%d %H:%M:%SZ" };
    utc.format(format).to_string()
}

/// A reason's next step, with its placeholders filled in.
pub(super) fn fill(next: &str, phase: &str, probe: Option<&str>, part: Option<&str>) -> String {
    let mut text = next.replace("PHASE", phase);
    for (placeholder, name) in [("PROBE", probe), ("PART", part)] {
        if let Some(name) = name {
            text = text.replace(placeholder, name);
        }
    }
    text
}

/// What to do when nothing stands in the way of a phase's exit.
pub(super) fn exit_step(phase: &str, state: PhaseState) -> String {
    match state {
        PhaseState::Complete => format!("nothing to do: phase {phase} is complete"),
        PhaseState::Active | PhaseState::Waiting => format!("complete phase {phase}: `cutover advance`"),
    }
}

/// What to do when nothing stands in the way of a phase's next step.
pub(super) fn entry_step(phase: &PhasePlan, state: PhaseState) -> String {
    let (steps, phase) = (!phase.steps.is_empty(), &phase.name);
    match state {
        PhaseState::Waiting => format!("begin phase {phase}: `cutover begin {phase}`"),
        PhaseState::Active if steps => format!("run the rest of the steps of phase {phase}: `cutover resume`"),
        PhaseState::Active => {
            format!("do the work of phase {phase}, and say `cutover switch {phase}` when you begin to re-point")
        }
        PhaseState::Complete => format!("nothing to do: phase {phase} is complete"),
    }
}
