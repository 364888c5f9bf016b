//! A gate as it was.

use serde_json::Value;

use super::text::{clip, moment, table};
use super::{Case, Show, value};
use crate::api::types::{PastBlockerBody, PastBody, PastOverrideBody, StepBody};
use crate::gate::Verdict;
use crate::state::StepState;

impl Show for PastBody {
    fn body(&self) -> Value {
        value(self)
    }

    fn lines(&self, wide: bool) -> Vec<String> {
        let mut lines = vec![
            format!(
                "GATE {} AT {}  {}  phase {}  config {}  event {}",
                self.gate,
                moment(self.time),
                self.verdict.as_str().to_uppercase(),
                self.phase_state.as_str(),
                super::status::short(&self.config_hash),
                self.head.seq,
            ),
            format!("  {}", self.reason),
            format!("  from {} until {}", moment(self.since), self.until.map_or_else(|| "now".to_owned(), moment)),
        ];
        for blocker in &self.blockers {
            lines.push(String::new());
            lines.extend(blocker_lines(blocker));
        }
        if wide || self.verdict != Verdict::Open {
            lines.push(String::new());
        }
        if wide {
            let row = |probe: &crate::api::types::PastProbeBody| {
                let state = probe.seen.state.as_str().to_uppercase();
                let asked = match (probe.required, probe.overridden) {
                    (true, _) => "yes",
                    (false, true) => "overridden",
                    (false, false) => "no",
                };
                vec![
                    format!("  {}/{}", probe.phase, probe.name),
                    state,
                    asked.to_owned(),
                    moment(probe.seen.since),
                    probe.seen.evidence.clone(),
                ]
            };
            lines.extend(table(&["  PROBE", "STATE", "REQUIRED", "SINCE", "SAW"], self.probes.iter().map(row).collect()));
        }
        lines.extend(self.steps.iter().filter_map(step_line).map(|line| format!("  {line}")));
        lines.extend(self.lock.iter().map(|lock| {
            format!(
                "  lock {} for phase {}: taken by {} {}, on {}",
                lock.id,
                lock.phase,
                lock.holder,
                moment(lock.since),
                lock.place
            )
        }));
        lines.extend(self.overrides.iter().map(|each| format!("  {}", override_line(each))));
        lines.push(format!("this is how it was, and opens nothing; how it is: `cutover gate explain {}`", self.gate));
        lines
    }

    fn names(&self) -> Vec<String> {
        vec![self.gate.clone()]
    }

    fn cases(&self) -> (String, Vec<Case>) {
        let title = format!("gate {} at {}", self.gate, moment(self.time));
        let mut cases = vec![Case { name: "verdict then".to_owned(), grade: self.verdict, text: self.reason.clone() }];
        cases.extend(self.blockers.iter().map(|blocker| Case {
            name: subject(blocker),
            // What stood in the way never counts as passed.
            grade: if self.verdict == Verdict::Open { Verdict::Unknown } else { self.verdict },
            text: format!("{}: {}", blocker.reason, clip(&blocker.evidence, true)),
        }));
        (title, cases)
    }

    /// Neither `open` nor `verdict`: later steps must not take what was for what is.
    fn outputs(&self) -> Vec<(&'static str, String)> {
        vec![("verdict_then", self.verdict.as_str().to_owned()), ("reason_then", self.reason.clone())]
    }
}

fn subject(blocker: &PastBlockerBody) -> String {
    match &blocker.probe {
        Some(probe) => format!("{}/{probe}", blocker.phase),
        None => format!("phase {}", blocker.phase),
    }
}

fn blocker_lines(blocker: &PastBlockerBody) -> Vec<String> {
    let word = blocker.state.map_or_else(|| "-".to_owned(), |state| state.as_str().to_uppercase());
    let mut lines = vec![format!("  {word:<8} {}  {}", subject(blocker), blocker.reason)];
    lines.extend(blocker.since.map(|since| format!("           since: {}", moment(since))));
    if !blocker.evidence.is_empty() {
        lines.push(format!("           saw:   {}", blocker.evidence));
    }
    lines
}

fn override_line(each: &PastOverrideBody) -> String {
    let (since, until) = (moment(each.since), moment(each.until));
    let ticket = each.ticket.as_ref().map_or_else(String::new, |ticket| format!(" ({ticket})"));
    format!(
        "override {}: {} was not looked at from {since} to {until}, said {}: {}{ticket}",
        each.id, each.probe, each.by, each.reason
    )
}

/// A step that something has happened to.
fn step_line(step: &StepBody) -> Option<String> {
    let since = step.since.as_ref().map(|since| format!(" since {} by {}", moment(since.at), since.by)).unwrap_or_default();
    let note = if step.note.is_empty() { String::new() } else { format!(": {}", step.note) };
    step.state.map(|state| format!("step {}: {}{since}{note}", step.name, StepState::as_str(state)))
}
