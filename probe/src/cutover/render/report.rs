//! The verification checklist: what was to be proven, phase by phase, with the evidence.

use serde_json::Value;

use super::probes::case;
use super::{Case, Show, value};
use crate::api::types::{PhaseBody, ProbeBody, ReportBody, ReportPhaseBody};
use crate::state::{PhaseState, ProbeState};

mod html;
mod markdown;
mod sheet;

/// A report as a checklist; its lines are Markdown.
pub(crate) struct Checklist<'a>(pub(crate) &'a ReportBody);

impl Show for Checklist<'_> {
    fn body(&self) -> Value {
        value(self.0)
    }

    fn lines(&self, wide: bool) -> Vec<String> {
        markdown::lines(&sheet::sheet(self.0), wide)
    }

    fn names(&self) -> Vec<String> {
        self.asked().filter(|probe| probe.state != ProbeState::Green).map(|probe| probe.name.clone()).collect()
    }

    fn cases(&self) -> (String, Vec<Case>) {
        (format!("checklist {}", self.0.migration), self.asked().map(case).collect())
    }
}

impl Checklist<'_> {
    /// One page that needs nothing else.
    pub(crate) fn html(&self) -> String {
        html::page(&sheet::sheet(self.0))
    }

    /// The probes that somebody asks for.
    fn asked(&self) -> impl Iterator<Item = &ProbeBody> {
        let asked = |phase: &ReportPhaseBody, probe: &ProbeBody| done_with(probe, &phase.phase).is_none();
        self.0.phases.iter().flat_map(move |phase| {
            phase.criteria.iter().map(|criterion| &criterion.probe).filter(move |probe| asked(phase, probe))
        })
    }
}

/// Why nobody asks for a probe any more.
fn done_with(probe: &ProbeBody, phase: &PhaseBody) -> Option<&'static str> {
    if probe.retired && probe.tripwire {
        Some("counts from the day on that its target is decommissioned")
    } else if probe.retired {
        Some("a later phase has switched or what it looks at was decommissioned, so it is not required any more")
    } else if !probe.gate && phase.state != PhaseState::Waiting {
        Some(if probe.preflight { "preflight, asked when the phase began" } else { "for steps and the way on, not for the gate" })
    } else {
        None
    }
}
