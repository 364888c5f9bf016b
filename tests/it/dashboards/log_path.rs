//! The way of log lines.

use serde_json::Value;

use super::panel::{Panel, dashboard, label_variable};
use super::words::{CALM, colours, values};

pub(super) fn board() -> Value {
    let count =
        |value: &str| format!("phasegate_probe_value{{job=\"$job\", probe=~\"$probe\", part=~\"$node\", value=\"{value}\"}}");
    let newest = |value: &str| format!("max by (probe, part) ({})", count(value));
    let grown = |value: &str, window: &str| {
        format!("max by (probe, part) (last_over_time({0}[{window}]) - min_over_time({0}[{window}]))", count(value))
    };
    let latency = "phasegate_probe_latency_seconds_bucket{job=\"$job\", probe=~\"$probe\", part=~\"$node\"}";
    let percentile = |q: &str| format!("histogram_quantile({q}, sum by (probe, le) (rate({latency}[$__rate_interval])))");
    let hops = "journal_stuck|not_read|dropped_in_alloy|not_sent|not_received|discarded_by_loki|not_through_gateway|not_through_grafana|\
                stalled|agent_silent|agent_unreachable";
    let lines = vec![
        Panel::numbers("Lost", "Lines that never arrived, since each probe's account began", (6, 4))
            .query(&format!("sum({})", newest("lost_lines")), "lines")
            .steps(&CALM),
        Panel::numbers("Destroyed", "Lines that were in Loki and are not any more", (6, 4))
            .query(&format!("sum({})", newest("destroyed_lines")), "lines")
            .steps(&CALM),
        Panel::numbers("On their way", "Lines that are written and not found yet", (6, 4))
            .query(&format!("sum({})", newest("outstanding_lines")), "lines"),
        Panel::numbers(
            "In time",
            "Which part of the lines of ten minutes was neither late nor is on its way (needs the recording rules)",
            (6, 4),
        )
        .query("1 - max(phasegate:log_lines_late:ratio10m{job=\"$job\", probe=~\"$probe\", part=~\"$node\"})", "in time")
        .unit("percentunit")
        .steps(&[("red", None), ("orange", Some(0.95)), ("green", Some(0.99))]),
        Panel::lines("Written", "Lines that each agent has written, by its own word beside the pipeline", (12, 8))
            .query(&format!("max by (part) (rate({}[$__rate_interval]))", count("head_seq")), "{{part}}")
            .unit("cps"),
        Panel::lines("On their way", "Lines that are written and not found yet, by Loki (probe) and node", (12, 8))
            .query(&newest("outstanding_lines"), "{{probe}} {{part}}"),
        Panel::bars("Lost and destroyed", "By Loki (probe) and node", (12, 8))
            .query(&grown("lost_lines", "$__interval"), "lost {{probe}} {{part}}")
            .query(&grown("destroyed_lines", "$__interval"), "destroyed {{probe}} {{part}}"),
        Panel::bars("Late", "Lines that arrived later than `lateAfter`, by Loki (probe) and node", (12, 8))
            .query(&grown("late_lines", "$__interval"), "{{probe}} {{part}}"),
    ];
    let time = vec![
        Panel::lines("Latency, old against new", "How far each Loki (probe) is behind the agents", (24, 8))
            .query(&percentile("0.5"), "{{probe}} p50")
            .query(&percentile("0.99"), "{{probe}} p99")
            .unit("s"),
        Panel::heatmap("Latency of $probe", "How far it is behind, at each look", (12, 8))
            .query(&format!("sum by (le) (increase({latency}[$__rate_interval]))"), "{{le}}")
            .for_each("probe"),
    ];
    let way = vec![
        Panel::bars("Where lines stop", "Looks that failed, by the hop at which lines stood still", (12, 8)).query(
            &format!("sum by (probe, reason) (increase(phasegate_probe_failures_total{{job=\"$job\", probe=~\"$probe\", reason=~\"{hops}\"}}[$__rate_interval])) > 0"),
            "{{probe}} {{reason}}",
        ),
        Panel::lines("Alloy", "How long ago each Alloy last read its journal, and shipped something", (12, 8))
            .query(&values("journal_age_seconds", "alloyHealth"), "read {{part}}")
            .query(&values("sent_age_seconds", "alloyShipping"), "shipped {{probe}} {{part}}")
            .unit("s"),
        Panel::lines("Loki", "How long ago each Loki last took lines", (12, 8))
            .query(&values("lines_age_seconds", "lokiIngest"), "{{probe}} {{part}}")
            .unit("s"),
        Panel::lines("Old and new collector", "Lines of either, as the handover counts them", (12, 8))
            .query(&values("old_lines", "shipperHandover"), "old {{probe}} {{part}}")
            .query(&values("new_lines", "shipperHandover"), "new {{probe}} {{part}}"),
        colours("Probes of the path", "Agents, Alloy, Loki and its gateway, Grafana", (24, 9), "", "max by (probe) (phasegate_probe_runs_total{job=\"$job\", check=~\"logCanary|alloyHealth|alloyShipping|lokiReady|lokiIngest|lokiQuiet|shipperHandover|streamFreshness|grafanaQuery\"})"),
    ];
    let agents = vec![
        Panel::lines("Agents", "Lines per second that the sink of each agent took, and refused", (12, 8))
            .query("sum by (node) (rate(phasegate_canary_emitted_total[$__rate_interval]))", "{{node}}")
            .query("sum by (node) (rate(phasegate_agent_write_failures_total[$__rate_interval])) > 0", "{{node}} refused")
            .unit("cps"),
        Panel::lines(
            "Unread, and clocks",
            "For how long a journal has not read what it was sent; how far a node's clock is off",
            (12, 8),
        )
        .query("max by (node) (phasegate_agent_unread_seconds)", "{{node}} unread")
        .query(&newest("clock_skew_seconds"), "{{part}} clock, by {{probe}}")
        .unit("s"),
    ];
    let variables = vec![
        label_variable("probe", "probe", "phasegate_probe_runs_total{job=\"$job\", check=\"logCanary\"}", true),
        label_variable("node", "part", "phasegate_probe_value{job=\"$job\", value=\"head_seq\"}", true),
    ];
    dashboard(
        "phasegate-log-path",
        "phasegate / Log path",
        "The numbered lines of each node, hop by hop: delivered, late, lost; old against new Loki.",
        variables,
        vec![("Lines", lines), ("Time", time), ("Way", way), ("Agents", agents)],
    )
}
