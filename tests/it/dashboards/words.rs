//! Expressions and colours that several dashboards share.

use super::panel::Panel;

/// The colours of a probe, the best first: their numbers in timelines.
pub(super) const COLOURS: [(&str, &str); 5] =
    [("green", "green"), ("waiting", "blue"), ("suspect", "yellow"), ("unknown", "purple"), ("red", "red")];
/// Verdicts, the best first.
pub(super) const VERDICTS: [(&str, &str); 4] = [("open", "green"), ("pending", "blue"), ("unknown", "purple"), ("closed", "red")];
/// What a phase can be.
pub(super) const PHASES: [(&str, &str); 3] = [("waiting", "text"), ("active", "blue"), ("complete", "green")];
/// Nothing is well, anything is not.
pub(super) const CALM: [(&str, Option<f64>); 2] = [("green", None), ("red", Some(1.0))];

/// One number for each state of a metric that is 1 for the one it has.
pub(super) fn numbered(metric: &str, label: &str, by: &str, matchers: &str, states: &[(&str, &str)]) -> String {
    let term = |(at, (state, _)): (usize, &(&str, &str))| {
        format!("{} * max by ({by}) ({metric}{{job=\"$job\", {label}=\"{state}\"{matchers}}})", at + 1)
    };
    states.iter().enumerate().map(term).collect::<Vec<_>>().join(" + ")
}

/// The colours of probes over time, of those that these matchers find.
pub(super) fn colours(title: &str, says: &str, size: (u64, u64), matchers: &str, only: &str) -> Panel {
    let numbers = numbered("phasegate_probe_state", "state", "phase, probe", matchers, &COLOURS);
    let expr = if only.is_empty() { numbers } else { format!("({numbers}) and on (probe) {only}") };
    Panel::states(title, says, size, &COLOURS).query(&expr, "{{phase}}/{{probe}}")
}

/// The newest numbers of probes of these checks.
pub(super) fn values(value: &str, checks: &str) -> String {
    let of = format!("on (probe) phasegate_probe_runs_total{{job=\"$job\", check=~\"{checks}\"}}");
    format!("max by (probe, part) (phasegate_probe_value{{job=\"$job\", value=\"{value}\"}} and {of})")
}
