//! The verifier itself.

use serde_json::Value;

use super::panel::{Panel, dashboard, label_variable};

pub(super) fn board() -> Value {
    let of = |metric: &str, more: &str| format!("{metric}{{job=\"$job\", probe=~\"$probe\"{more}}}");
    let now = vec![
        Panel::table("Version", "Of verifier and agents", (6, 4), "count").query("count by (version, job) (phasegate_build_info)", ""),
        Panel::numbers("Document", "1: the newest one is in force", (3, 4))
            .query("min(phasegate_config_last_reload_successful{job=\"$job\"})", "in force")
            .steps(&[("red", None), ("green", Some(1.0))]),
        Panel::numbers("In force for", "Since when the document is", (5, 4))
            .query("min(phasegate_time_seconds{job=\"$job\"} - phasegate_config_last_reload_success_timestamp_seconds{job=\"$job\"})", "in force for")
            .unit("s"),
        Panel::numbers("Ledger written", "How long ago", (5, 4))
            .query("max(phasegate_time_seconds{job=\"$job\"} - phasegate_ledger_last_persist_timestamp_seconds{job=\"$job\"})", "ago")
            .unit("s")
            .steps(&[("green", None), ("red", Some(120.0))]),
        Panel::numbers("Clock", "How far it is from Prometheus'", (5, 4))
            .query("max(phasegate_time_seconds{job=\"$job\"} - timestamp(phasegate_time_seconds{job=\"$job\"}))", "ahead")
            .unit("s")
            .steps(&[("green", None)]),
    ];
    let looks = vec![
        Panel::bars("Outcomes", "What looks saw; progress is a slice of a proof", (12, 8))
            .query(&format!("sum by (outcome) (rate({}[$__rate_interval]))", of("phasegate_probe_runs_total", "")), "{{outcome}}")
            .unit("ops"),
        Panel::bars("Reasons", "Why looks were a Fail or an Unknown", (12, 8))
            .query(
                &format!(
                    "topk(10, sum by (probe, reason) (rate({}[$__rate_interval])) > 0)",
                    of("phasegate_probe_failures_total", "")
                ),
                "{{probe}} {{reason}}",
            )
            .unit("ops"),
        Panel::lines("Not a Pass", "Which part of each probe's looks of five minutes (needs the recording rules)", (12, 8))
            .query(&of("phasegate:probe_bad_runs:ratio_rate5m", ""), "{{probe}}")
            .unit("percentunit"),
        Panel::lines("Duration", "How long looks take: 95 of a hundred are faster", (12, 8))
            .query(
                &format!(
                    "histogram_quantile(0.95, sum by (probe, le) (rate({}[$__rate_interval])))",
                    of("phasegate_probe_duration_seconds_bucket", "")
                ),
                "{{probe}}",
            )
            .unit("s"),
        Panel::states(
            "Controls",
            "Whether each probe's negative control was seen failing",
            (12, 9),
            &[("untrusted", "orange"), ("trusted", "green")],
        )
        .query(&format!("1 + max by (probe) ({})", of("phasegate_probe_control_trusted", "")), "{{probe}}"),
        Panel::table("Oldest looks", "How long ago each probe's newest look and newest Pass began", (12, 9), "ago")
            .query(
                &format!("topk(10, time() - max by (probe) ({} > 0))", of("phasegate_probe_last_run_timestamp_seconds", "")),
                "",
            )
            .unit("s"),
        Panel::bars("Flaps", "How often a probe began to change its colour too often to be believed", (12, 8)).query(
            &format!("sum by (probe) (increase({}[$__rate_interval])) > 0", of("phasegate_probe_flaps_total", "")),
            "{{probe}}",
        ),
        Panel::lines("Fails in a row", "By probe", (12, 8))
            .query(&format!("max by (probe) ({}) > 0", of("phasegate_probe_consecutive_failures", "")), "{{probe}}"),
    ];
    let engine = vec![
        Panel::heatmap("Scheduler lag", "How much later than due looks started", (12, 8))
            .query("sum by (le) (increase(phasegate_scheduler_lag_seconds_bucket{job=\"$job\"}[$__rate_interval]))", "{{le}}"),
        Panel::lines("Ledger", "Messages that wait for its writer; writes that failed", (12, 8))
            .query("max(phasegate_ledger_queue_depth{job=\"$job\"})", "queue")
            .query("sum(increase(phasegate_ledger_persist_failures_total{job=\"$job\"}[$__rate_interval]))", "failed writes"),
        Panel::lines("Marks in Grafana", "Events that are not marked yet, and rounds that failed", (12, 8))
            .query("max by (target) (phasegate_annotations_waiting{job=\"$job\"})", "{{target}} waiting")
            .query(
                "sum by (target) (increase(phasegate_annotations_failures_total{job=\"$job\"}[$__rate_interval]))",
                "{{target}} failed rounds",
            ),
        Panel::numbers("Probes", "How many the document names, and how many gates ask for now", (12, 8))
            .query("count(phasegate_probe_required{job=\"$job\"})", "probes")
            .query("sum(phasegate_probe_required{job=\"$job\"})", "asked for"),
    ];
    let variables = vec![label_variable("probe", "probe", "phasegate_probe_state{job=\"$job\"}", true)];
    dashboard(
        "phasegate-internals",
        "phasegate / Probe internals",
        "Whether the verifier itself is well: lag, outcomes, reasons, controls, ledger.",
        variables,
        vec![("Now", now), ("Looks", looks), ("Engine", engine)],
    )
}
