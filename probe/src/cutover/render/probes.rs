//! Probes and their Runs.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::text::{clip, seconds, table};
use super::{Case, Show, moment, value};
use crate::api::types::{ProbeBody, ProbesBody, RunBody, RunsBody};
use crate::gate::Verdict;
use crate::now::span;
use crate::state::ProbeState;

/// All probes.
pub(crate) struct Listing<'a>(pub(crate) &'a ProbesBody);

impl Show for Listing<'_> {
    fn body(&self) -> Value {
        value(self.0)
    }

    fn lines(&self, wide: bool) -> Vec<String> {
        probe_table(&self.0.probes, None, wide)
    }

    fn names(&self) -> Vec<String> {
        self.0.probes.iter().map(|probe| probe.name.clone()).collect()
    }

    fn cases(&self) -> (String, Vec<Case>) {
        ("probes".to_owned(), self.0.probes.iter().map(case).collect())
    }
}

/// A probe as a test case.
pub(crate) fn case(probe: &ProbeBody) -> Case {
    let grade = match probe.state {
        ProbeState::Green => Verdict::Open,
        ProbeState::Red => Verdict::Closed,
        ProbeState::Suspect | ProbeState::Waiting => Verdict::Pending,
        ProbeState::Unknown => Verdict::Unknown,
    };
    let reason = probe.reason.iter().map(|reason| format!("{reason}: "));
    let next = probe.next.iter().map(|next| format!("; next: {next}"));
    let text = reason.chain([probe.evidence.clone()]).chain(next).collect();
    Case { name: format!("{}/{}", probe.phase, probe.name), grade, text }
}

/// Probes, one per line; `now` is the server's.
pub(crate) fn probe_table(probes: &[ProbeBody], now: Option<DateTime<Utc>>, wide: bool) -> Vec<String> {
    let row = |probe: &ProbeBody| {
        let mark = match (probe.retired, probe.overridden) {
            (true, _) => " (retired)",
            (false, true) => " (overridden)",
            (false, false) => "",
        };
        let since = match (probe.since, now) {
            (Some(since), Some(now)) => (now - since).to_std().map_or_else(|_| moment(since), span),
            (Some(since), None) => moment(since),
            (None, _) => "-".to_owned(),
        };
        let mut row = vec![
            probe.phase.clone(),
            format!("{}{mark}", probe.name),
            probe.state.as_str().to_uppercase(),
            probe.reason.clone().unwrap_or_else(|| "-".to_owned()),
            since,
        ];
        if wide {
            row.extend([
                probe.check.clone(),
                probe.control.clone(),
                format!("{} / {}", seconds(probe.soak.have), seconds(probe.soak.need)),
            ]);
        }
        row.push(clip(&probe.evidence, wide));
        row
    };
    let head: &[&str] = if wide {
        &["PHASE", "PROBE", "STATE", "REASON", "SINCE", "CHECK", "CONTROL", "SOAK", "SAW"]
    } else {
        &["PHASE", "PROBE", "STATE", "REASON", "SINCE", "SAW"]
    };
    table(head, probes.iter().map(row).collect())
}

/// The last Runs of a probe.
pub(crate) struct History<'a>(pub(crate) &'a RunsBody);

impl Show for History<'_> {
    fn body(&self) -> Value {
        value(self.0)
    }

    fn lines(&self, wide: bool) -> Vec<String> {
        let row = |run: &RunBody| {
            vec![
                moment(run.started),
                format!("{:.0} ms", run.duration_seconds * 1000.0),
                run.outcome.to_uppercase(),
                run.reason.clone().unwrap_or_else(|| "-".to_owned()),
                clip(&run.evidence, wide),
            ]
        };
        let mut lines = table(&["STARTED", "TOOK", "OUTCOME", "REASON", "SAW"], self.0.runs.iter().map(row).collect());
        if wide && let [only] = self.0.runs.as_slice() {
            lines.extend(
                only.parts.iter().map(|part| format!("  {} {}: {}", part.outcome.to_uppercase(), part.part, part.evidence)),
            );
        }
        lines
    }

    fn names(&self) -> Vec<String> {
        self.0.runs.iter().map(|run| run.started.to_rfc3339()).collect()
    }

    fn cases(&self) -> (String, Vec<Case>) {
        let case = |run: &RunBody| Case {
            name: moment(run.started),
            grade: grade(&run.outcome),
            text: run.reason.iter().map(|reason| format!("{reason}: ")).chain([run.evidence.clone()]).collect(),
        };
        (format!("probe {}", self.0.probe), self.0.runs.iter().map(case).collect())
    }
}

/// What a Run's outcome would mean for a gate. A word that is not known is no pass.
pub(crate) fn grade(outcome: &str) -> Verdict {
    match outcome {
        "pass" => Verdict::Open,
        "fail" => Verdict::Closed,
        "waiting" | "progress" => Verdict::Pending,
        _ => Verdict::Unknown,
    }
}
