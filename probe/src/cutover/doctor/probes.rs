//! Probes that do not get to look, those that nobody believes, regressions, and the canary that a pipeline drops.

use std::collections::BTreeMap;

use super::{Finding, few, wants};
use crate::api::types::{PhaseBody, ProbeBody, StatusBody};
use crate::exit::Exit;
use crate::state::{PhaseState, ProbeState};

/// Reasons of unknown that go by themselves. Any other wants somebody to do something.
const PASSING: [&str; 11] = [
    "no_run",
    "stale",
    "recovering",
    "flapping",
    "control_untested",
    "not_evaluated",
    "memory_unreadable",
    "no_beat_yet",
    "not_comparable",
    "not_compared",
    "behind",
];
/// The identifier of the canary's lines.
const IDENTIFIER: &str = "system-metrics-canary";

/// Looks at all probes that count.
pub(super) fn look(status: &StatusBody, findings: &mut Vec<Finding>) {
    let before = findings.len();
    for phase in &status.phases {
        findings.extend(regressed(phase));
    }
    // Of an evaluation that is too old, nothing is known of any probe, and that was said.
    if crate::cutover::trust::fresh(status.age_seconds).is_err() {
        return;
    }
    let counts: Vec<&ProbeBody> = status.probes.iter().filter(|probe| !probe.retired && !probe.overridden).collect();
    let at_stake = |probe: &ProbeBody| probe.state == ProbeState::Unknown && at_stake(status, probe);
    findings.extend(wants::of(&counts, at_stake));
    let others: Vec<&ProbeBody> = counts.iter().copied().filter(|probe| !wants::tell_all(probe)).collect();
    blind(status, &others, findings);
    let untrusted = counts.iter().filter(|probe| probe.state != ProbeState::Unknown && probe.control == "untrusted");
    findings.extend(untrusted.map(|probe| {
        let text = format!("the negative control of {} passed: the probe can not tell good from bad", named(probe));
        Finding::warning("probes", text, format!("cutover probes history {}", probe.name))
    }));
    findings.extend(dropped(&counts));
    if findings.len() == before {
        let text = format!("all {} that count get to look, and no regression is latched", counts.len());
        findings.push(Finding::fine("probes", text));
    }
}

pub(super) fn named(probe: &ProbeBody) -> String {
    format!("{}/{}", probe.phase, probe.name)
}

fn regressed(phase: &PhaseBody) -> impl Iterator<Item = Finding> {
    let name = &phase.name;
    let back = if phase.can_roll_back { format!(", or `cutover rollback {name} --reason …`") } else { String::new() };
    phase.regressed.iter().map(move |one| {
        let text = format!("{name}/{} of a complete phase went red ({}): {}", one.probe, one.reason, one.evidence);
        let next = format!("cutover regression ack {name} --reason …   (once it is mended{back})");
        Finding::problem("regression", Exit::CLOSED, text, next)
    })
}

/// Those that are unknown, by reason.
fn blind(status: &StatusBody, probes: &[&ProbeBody], findings: &mut Vec<Finding>) {
    let mut by_reason: BTreeMap<(bool, &str), Vec<&ProbeBody>> = BTreeMap::new();
    for probe in probes.iter().filter(|probe| probe.state == ProbeState::Unknown) {
        let reason = probe.reason.as_deref().unwrap_or_default();
        let passing = PASSING.contains(&reason) || !at_stake(status, probe);
        by_reason.entry((passing, reason)).or_default().push(probe);
    }
    for ((passing, reason), probes) in by_reason {
        let names: Vec<String> = probes.iter().map(|probe| named(probe)).collect();
        let verb = if names.len() == 1 { "is" } else { "are" };
        let Some(first) = probes.first() else { continue };
        let evidence = if first.evidence.is_empty() { String::new() } else { format!(": {}", first.evidence) };
        let text = format!("{} {verb} unknown ({reason}){evidence}", few(&names));
        let next = first.next.clone().unwrap_or_else(|| format!("cutover probes history {}", first.name));
        findings.push(if passing {
            Finding::warning("probes", text, next)
        } else {
            Finding::problem("probes", Exit::UNKNOWN, text, next)
        });
    }
}

/// Whether a run would be stopped by this probe: what it looks at may not be there yet while its phase waits.
fn at_stake(status: &StatusBody, probe: &ProbeBody) -> bool {
    let state = |phase: &&PhaseBody| phase.state;
    match status.phases.iter().find(|phase| phase.name == probe.phase).as_ref().map(state) {
        Some(PhaseState::Waiting) => probe.preflight,
        Some(PhaseState::Active | PhaseState::Complete) | None => true,
    }
}

/// Lines are written and do not arrive while the collector is well: most often it drops what it was not told to keep.
fn dropped(probes: &[&ProbeBody]) -> Option<Finding> {
    let reasons = [Some("stalled"), Some("dropped_in_alloy")];
    let stalled = probes.iter().filter(|probe| probe.check == "logCanary" && reasons.contains(&probe.reason.as_deref()));
    let names: Vec<String> = stalled.map(|probe| named(probe)).collect();
    let mut collectors = probes.iter().filter(|probe| probe.check == "alloyHealth").peekable();
    let watched = collectors.peek().is_some();
    let well = collectors.find(|probe| probe.state == ProbeState::Green);
    // Its evidence tells whether its pipeline drops lines.
    let while_well = well.map(|probe| format!(", while {} is well ({})", named(probe), probe.evidence)).unwrap_or_default();
    (!names.is_empty() && (well.is_some() || !watched)).then(|| {
        Finding::warning(
            "canary",
            format!("{}: the agent's lines are written and do not arrive{while_well}; a pipeline may drop them", few(&names)),
            format!(
                "keep SYSLOG_IDENTIFIER={IDENTIFIER} wherever the collector's pipeline keeps only some identifiers \
                 (`stage.match` with `action = \"drop\"`, a relabel rule with `action = \"keep\"`), and reload it"
            ),
        )
    })
}
