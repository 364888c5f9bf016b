//! Where a migration stands.

use serde_json::Value;

use super::panel::{Panel, dashboard, label_variable};
use super::words::{CALM, PHASES, VERDICTS, colours, numbered};

pub(super) fn board() -> Value {
    let now = vec![
        Panel::numbers("Regressions", "Probes of complete phases that went red, until somebody acknowledges it", (4, 4))
            .query("sum(phasegate_phase_regressed{job=\"$job\"})", "latched")
            .steps(&CALM),
        Panel::numbers("Overrides", "Probes that are taken out of the gates", (4, 4))
            .query("sum(phasegate_override_active{job=\"$job\"})", "active")
            .steps(&[("green", None), ("orange", Some(1.0))]),
        Panel::numbers("Lock", "For how long a run has held the lock", (4, 4))
            .query("max(phasegate_time_seconds{job=\"$job\"} - phasegate_lock_acquired_timestamp_seconds{job=\"$job\"} and phasegate_lock_held{job=\"$job\"} == 1) or vector(0)", "held")
            .unit("s")
            .steps(&[("green", None), ("orange", Some(14400.0))]),
        Panel::numbers("Points of no return", "Phases that nothing leads back from", (4, 4))
            .query("sum(phasegate_phase_ponr_crossed{job=\"$job\"})", "crossed"),
        Panel::numbers("Last evaluation", "How old the newest evaluation is; older than 3 s opens nothing", (4, 4))
            .query("max(phasegate_time_seconds{job=\"$job\"} - ignoring (phase) group_right () phasegate_gate_last_evaluation_timestamp_seconds{job=\"$job\"})", "age")
            .unit("s")
            .steps(&[("green", None), ("red", Some(3.0))]),
        Panel::numbers("Metrics of the verifier", "How many verifiers are scraped; none is an outage", (4, 4))
            .query("count(phasegate_ledger_queue_depth{job=\"$job\"}) or vector(0)", "verifiers")
            .steps(&[("red", None), ("green", Some(1.0))]),
    ];
    let phases = vec![
        Panel::states("Phases", "Where each phase stands", (12, 7), &PHASES)
            .query(&numbered("phasegate_phase_state", "state", "phase", "", &PHASES), "{{phase}}"),
        Panel::states("Gates", "The verdict of each gate: the exit of its phase", (12, 7), &VERDICTS)
            .query(&numbered("phasegate_gate_verdict", "verdict", "phase", "", &VERDICTS), "{{phase}}"),
        Panel::gauges("Soak", "How much of its green time the probe with the least of it has served", (8, 7))
            .query("max by (phase) (phasegate_gate_soak_seconds{job=\"$job\"}) / (max by (phase) (phasegate_gate_soak_required_seconds{job=\"$job\"}) > 0)", "{{phase}}"),
        Panel::lines("Blockers", "How many reasons keep each gate from being open", (8, 7))
            .query("max by (phase) (phasegate_gate_blockers{job=\"$job\"})", "{{phase}}"),
        Panel::table("Since when", "When a phase was begun or completed, and when it switched", (8, 7), "since")
            .query("max by (phase, state) ((phasegate_phase_state{job=\"$job\"} == 1) * ignoring (state) group_left () (phasegate_phase_state_since_timestamp_seconds{job=\"$job\"} > 0)) * 1000", "")
            .unit("dateTimeFromNow"),
    ];
    let probes = vec![
        colours("Probes", "The colour of each probe", (24, 12), ", phase=~\"$phase\"", ""),
        Panel::table("Not green, and asked for", "For how long each probe that a gate asks for has not been green", (12, 9), "for")
            .query("max by (phase, probe, state) ((phasegate_probe_state{job=\"$job\", phase=~\"$phase\", state!=\"green\"} == 1 and ignoring (state) phasegate_probe_required{job=\"$job\"} == 1) * ignoring (state) group_left () (time() - phasegate_probe_state_since_timestamp_seconds{job=\"$job\"}))", "")
            .unit("s"),
        Panel::marks("Who, and when", "What phasegate has marked in this Grafana: phases begun, switched, completed, regressed, rolled back", (12, 9)),
        Panel::states("Regressions and overrides", "Latched regressions by phase, overrides by probe", (24, 6), &[("none", "text"), ("there", "orange")])
            .query("1 + clamp_max(max by (phase) (phasegate_phase_regressed{job=\"$job\"}), 1)", "{{phase}} regressed")
            .query("1 + max by (probe) (phasegate_override_active{job=\"$job\"}) > 1", "{{probe}} overridden"),
    ];
    let variables = vec![label_variable("phase", "phase", "phasegate_gate_open{job=\"$job\"}", true)];
    dashboard(
        "phasegate-migration",
        "phasegate / Migration health",
        "Where a migration stands: phases, verdicts, soak, what is in the way, and who did what.",
        variables,
        vec![("Now", now), ("Phases", phases), ("Probes", probes)],
    )
}
