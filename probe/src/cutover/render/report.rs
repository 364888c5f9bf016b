//! The verification checklist: what was to be proven, phase by phase, with the evidence.

use serde_json::Value;

use super::gate::server_now;
use super::probes::case;
use super::status::{override_line, regression_lines, short, stands};
use super::text::{ago, moment, seconds};
use super::{Case, Show, value};
use crate::api::types::{PhaseBody, ProbeBody, StampBody, StatusBody};
use crate::state::{PhaseState, ProbeState};

/// A status as a checklist; its lines are Markdown.
pub(crate) struct Checklist<'a>(pub(crate) &'a StatusBody);

impl Show for Checklist<'_> {
    fn body(&self) -> Value {
        value(self.0)
    }

    fn lines(&self, wide: bool) -> Vec<String> {
        let status = self.0;
        let evaluated = status.evaluated_at.map_or_else(|| "never".to_owned(), moment);
        let mut lines = vec![
            format!("# Verification checklist of migration {}", status.migration),
            String::new(),
            format!(
                "evaluated {evaluated}, epoch {}, config {}, verifier {}",
                status.epoch,
                short(&status.config_hash),
                status.version
            ),
        ];
        for phase in &status.phases {
            lines.push(String::new());
            lines.extend(phase_lines(phase, status, wide));
        }
        let complete = status.phases.iter().filter(|phase| phase.state == PhaseState::Complete).count();
        lines.push(String::new());
        lines.push(format!("{complete} of {} phases complete; next: {}", status.phases.len(), status.next_step));
        lines
    }

    fn names(&self) -> Vec<String> {
        self.asked().filter(|probe| probe.state != ProbeState::Green).map(|probe| probe.name.clone()).collect()
    }

    fn cases(&self) -> (String, Vec<Case>) {
        (format!("checklist {}", self.0.migration), self.asked().map(case).collect())
    }
}

impl Checklist<'_> {
    /// The probes that somebody asks for.
    fn asked(&self) -> impl Iterator<Item = &ProbeBody> {
        let phase = |probe: &ProbeBody| self.0.phases.iter().find(|phase| phase.name == probe.phase);
        self.0.probes.iter().filter(move |probe| phase(probe).is_none_or(|phase| done_with(probe, phase).is_none()))
    }
}

fn phase_lines(phase: &PhaseBody, status: &StatusBody, wide: bool) -> Vec<String> {
    let now = server_now(status.evaluated_at, status.age_seconds);
    let mut lines = vec![format!("## {}: {}, gate {}", phase.name, stands(phase), phase.verdict.as_str().to_uppercase())];
    let step = |word: &str, stamp: &Option<StampBody>| {
        stamp.as_ref().map(|stamp| format!("{word} {} by {}", moment(stamp.at), stamp.by))
    };
    let mut steps: Vec<String> =
        [step("begun", &phase.begun), step("switched", &phase.switched), step("complete", &phase.complete)]
            .into_iter()
            .flatten()
            .collect();
    if phase.switched.is_some() {
        let soak = &phase.soak;
        steps.push(format!("soak {} of {}", seconds(soak.have.min(soak.need)), seconds(soak.need)));
    }
    lines.extend((!steps.is_empty()).then(|| steps.join(", ")));
    lines.extend(phase.adopted.iter().map(|reason| format!("adopted, not proven: {reason}")));
    lines.push(String::new());
    for probe in status.probes.iter().filter(|probe| probe.phase == phase.name) {
        lines.extend(probe_lines(probe, phase, now, wide));
    }
    lines.extend(phase.regressed.iter().flat_map(|each| regression_lines(phase, each, now)));
    let here = |probe: &str| status.probes.iter().any(|each| each.name == probe && each.phase == phase.name);
    lines.extend(status.overrides.iter().filter(|each| here(&each.probe)).map(override_line));
    lines
}

/// Why nobody asks for a probe any more.
fn done_with(probe: &ProbeBody, phase: &PhaseBody) -> Option<&'static str> {
    if probe.retired && probe.tripwire {
        Some("counts from the day on that its target is decommissioned")
    } else if probe.retired {
        Some("a later phase has switched or what it looks at was decommissioned, so it is not required any more")
    } else if !probe.gate && phase.state != PhaseState::Waiting {
        Some("preflight, asked when the phase began")
    } else {
        None
    }
}

fn probe_lines(probe: &ProbeBody, phase: &PhaseBody, now: Option<chrono::DateTime<chrono::Utc>>, wide: bool) -> Vec<String> {
    let green = probe.state == ProbeState::Green;
    let what = format!("{} ({})", probe.name, probe.check);
    if let Some(why) = done_with(probe, phase) {
        return vec![format!("- [-] {what}: {why}")];
    }
    let since = probe.since.map_or_else(String::new, |since| format!(" since {}", ago(since, now)));
    let (mark, state) = (if green { 'x' } else { ' ' }, probe.state.as_str().to_uppercase());
    let mut lines = vec![format!("- [{mark}] {what}: {state}{since}")];
    lines.extend((!probe.evidence.is_empty()).then(|| format!("      {}", super::text::clip(&probe.evidence, wide))));
    if !green {
        lines.extend(probe.next.iter().map(|next| format!("      next: {next}")));
    }
    lines
}
