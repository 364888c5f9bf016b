//! Gates and entry guards.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::text::{ago, clip, seconds, table};
use super::{Case, Show, value};
use crate::api::types::{BlockerBody, GateBody, GateKind, ProbeBody, SoakBody};
use crate::gate::Verdict;
use crate::state::ProbeState;

/// A gate in a few lines; [`GateBody`] itself shows everything.
pub(crate) struct Brief<'a>(pub(crate) &'a GateBody);

impl Show for Brief<'_> {
    fn body(&self) -> Value {
        self.0.body()
    }

    fn lines(&self, wide: bool) -> Vec<String> {
        if wide {
            return self.0.lines(true);
        }
        let gate = self.0;
        let mut lines = vec![head(gate), format!("  {}", gate.reason)];
        let rows = gate.blockers.iter().map(|blocker| {
            vec![
                format!("  {}", word(blocker)),
                subject(blocker),
                blocker.reason.clone(),
                blocker.since.map_or_else(|| "-".to_owned(), super::moment),
                clip(&blocker.evidence, false),
            ]
        });
        if !gate.blockers.is_empty() {
            lines.extend(table(&["  STATE", "PROBE", "REASON", "SINCE", "SAW"], rows.collect()));
        }
        lines.extend(more(gate.blockers.len(), gate.blocked_by));
        lines.push(format!("next: {}", gate.next_step));
        lines
    }

    fn names(&self) -> Vec<String> {
        self.0.names()
    }

    fn cases(&self) -> (String, Vec<Case>) {
        self.0.cases()
    }

    fn outputs(&self) -> Vec<(&'static str, String)> {
        self.0.outputs()
    }
}

impl Show for GateBody {
    fn body(&self) -> Value {
        value(self)
    }

    fn lines(&self, wide: bool) -> Vec<String> {
        let now = self.server_now();
        let mut lines = vec![head(self), format!("  {}", self.reason)];
        if let Some(since) = self.open_since {
            lines.push(format!("  open since {}", ago(since, now)));
        }
        let counting: Vec<_> = self.probes.iter().filter(|probe| probe.gate && !probe.retired).collect();
        let green = counting.iter().filter(|probe| probe.state == ProbeState::Green).count();
        let mut counts = format!("  green {green}/{} probes", counting.len());
        if self.kind == GateKind::Gate {
            counts = format!("{counts}; {}", soak_words(&self.soak));
        }
        lines.push(counts);
        lines.extend(blocker_lines(&self.blockers, self.blocked_by, now, true));
        if wide {
            lines.extend(super::probes::probe_table(&self.probes, now, true).into_iter().map(|line| format!("  {line}")));
        }
        lines.extend(ratchet(&self.ratchet));
        lines.extend(self.overrides.iter().map(|each| format!("  {}", super::status::override_line(each))));
        lines.push(format!("next: {}", self.next_step));
        lines
    }

    fn names(&self) -> Vec<String> {
        vec![self.gate.clone()]
    }

    fn cases(&self) -> (String, Vec<Case>) {
        let title = match self.kind {
            GateKind::Gate => format!("gate {}", self.gate),
            GateKind::Entry => format!("entry {}", self.gate),
        };
        let mut cases = vec![Case {
            name: "verdict".to_owned(),
            grade: self.verdict,
            text: format!("{}; next: {}", self.reason, self.next_step),
        }];
        let blocked = |name: &str| self.blockers.iter().any(|blocker| blocker.probe.as_deref() == Some(name));
        let quiet = self.probes.iter().chain(&self.ratchet).filter(|probe| {
            probe.gate && !probe.retired && probe.state == ProbeState::Green && !probe.overridden && !blocked(&probe.name)
        });
        cases.extend(quiet.map(|probe| Case {
            name: format!("{}/{}", probe.phase, probe.name),
            grade: Verdict::Open,
            text: probe.evidence.clone(),
        }));
        for blocker in &self.blockers {
            let (name, text) = (subject(blocker), blocker_sentence(blocker));
            // What stands in the way never counts as passed.
            let grade = if blocker.verdict == Verdict::Open { Verdict::Unknown } else { blocker.verdict };
            match cases.iter_mut().find(|case| case.name == name) {
                Some(case) => case.text = format!("{}; {text}", case.text),
                None => cases.push(Case { name, grade, text }),
            }
        }
        (title, cases)
    }

    fn outputs(&self) -> Vec<(&'static str, String)> {
        vec![
            ("verdict", self.verdict.as_str().to_owned()),
            ("open", self.open.to_string()),
            ("reason", self.reason.clone()),
            ("next_step", self.next_step.clone()),
        ]
    }
}

impl GateBody {
    /// The server's clock when it answered.
    pub(crate) fn server_now(&self) -> Option<DateTime<Utc>> {
        server_now(self.evaluated_at, self.age_seconds)
    }
}

/// The server's clock when it answered.
pub(crate) fn server_now(evaluated_at: Option<DateTime<Utc>>, age_seconds: Option<f64>) -> Option<DateTime<Utc>> {
    let age = std::time::Duration::try_from_secs_f64(age_seconds.unwrap_or(0.0)).unwrap_or_default();
    evaluated_at.and_then(|at| at.checked_add_signed(TimeDelta::from_std(age).ok()?))
}

fn head(gate: &GateBody) -> String {
    let what = match gate.kind {
        GateKind::Gate => "GATE",
        GateKind::Entry => "ENTRY",
    };
    let age = gate.age_seconds.map_or_else(|| "never evaluated".to_owned(), |age| format!("evaluated {age:.1}s ago"));
    let config = gate.config_hash.as_deref().map_or("-", super::status::short);
    let overridden = if gate.overridden { "  overridden" } else { "" };
    format!(
        "{what} {}  {}{overridden}  phase {}  epoch {}  {age}  config {config}",
        gate.gate,
        gate.verdict.as_str().to_uppercase(),
        gate.phase_state.as_str(),
        gate.epoch,
    )
}

fn soak_words(soak: &SoakBody) -> String {
    let left = soak_left(soak).map_or_else(|| "served".to_owned(), |left| format!("{left} left"));
    format!(
        "soak {} of {} ({left}); passes {} of {}",
        seconds(soak.have),
        seconds(soak.need),
        soak.samples_have,
        soak.samples_need
    )
}

/// What is missing of the soak's time.
pub(crate) fn soak_left(soak: &SoakBody) -> Option<String> {
    let left = soak.need - soak.have;
    (left > 0.0).then(|| seconds(left.ceil()))
}

/// Blockers for people: what, since when, what was seen, what to do. `all` also tells each probe's phase's own reasons.
pub(crate) fn blocker_lines(
    blockers: &[BlockerBody],
    blocked_by: usize,
    now: Option<DateTime<Utc>>,
    spaced: bool,
) -> Vec<String> {
    let mut lines = Vec::new();
    for blocker in blockers {
        if spaced {
            lines.push(String::new());
        }
        lines.push(format!("  {:<8} {}  {}", word(blocker), subject(blocker), blocker.reason));
        lines.extend(blocker.since.map(|since| format!("           since: {}", ago(since, now))));
        if !blocker.evidence.is_empty() {
            lines.push(format!("           saw:   {}", blocker.evidence));
        }
        lines.push(format!("           next:  {}", blocker.next));
    }
    lines.extend(more(blockers.len(), blocked_by));
    if spaced && !lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

/// A blocker in one sentence.
pub(crate) fn blocker_sentence(blocker: &BlockerBody) -> String {
    let since = blocker.since.map_or_else(String::new, |since| format!(" since {}", super::moment(since)));
    let colour = blocker.state.map_or_else(|| blocker.verdict.as_str(), ProbeState::as_str);
    format!("{} is {colour}{since}: {}: {}; next: {}", subject(blocker), blocker.reason, blocker.evidence, blocker.next)
}

fn word(blocker: &BlockerBody) -> String {
    blocker.state.map_or_else(|| blocker.verdict.as_str(), ProbeState::as_str).to_uppercase()
}

fn subject(blocker: &BlockerBody) -> String {
    match &blocker.probe {
        Some(probe) => format!("{}/{probe}", blocker.phase),
        None => format!("phase {}", blocker.phase),
    }
}

fn more(listed: usize, blocked_by: usize) -> Option<String> {
    (blocked_by > listed).then(|| format!("  … and {} more", blocked_by - listed))
}

/// One line for the phases that stay required.
fn ratchet(probes: &[ProbeBody]) -> Option<String> {
    let mut phases: Vec<(&str, usize, usize)> = Vec::new();
    for probe in probes.iter().filter(|probe| !probe.retired) {
        let green = usize::from(probe.state == ProbeState::Green);
        match phases.iter_mut().find(|(name, ..)| *name == probe.phase) {
            Some((_, greens, all)) => (*greens, *all) = (*greens + green, *all + 1),
            None => phases.push((&probe.phase, green, 1)),
        }
    }
    let words: Vec<_> = phases.iter().map(|(name, green, all)| format!("{name} {green}/{all} green")).collect();
    (!words.is_empty()).then(|| format!("  ratchet: {}", words.join(", ")))
}
