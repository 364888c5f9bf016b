//! The whole picture, and what commands brought about.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::super::trust;
use super::gate::server_now;
use super::text::{ago, clip, seconds, table};
use super::{Case, Show, value};
use crate::api::types::{OverrideBody, PhaseBody, Receipt, RegressionBody, RemovalBody, StatusBody, StepBody};
use crate::gate::Verdict;
use crate::state::{PhaseState, ProbeState, StepState};

/// The first characters of a hash.
pub(crate) fn short(hash: &str) -> &str {
    let hash = hash.strip_prefix("sha256:").unwrap_or(hash);
    hash.get(..8).unwrap_or(hash)
}

/// A status with the address it came from.
pub(crate) struct Screen<'a> {
    pub(crate) server: &'a str,
    pub(crate) status: &'a StatusBody,
}

impl Show for Screen<'_> {
    fn body(&self) -> Value {
        value(self.status)
    }

    fn lines(&self, wide: bool) -> Vec<String> {
        let status = self.status;
        let now = server_now(status.evaluated_at, status.age_seconds);
        let age = status.age_seconds.map_or_else(|| "never evaluated".to_owned(), |age| format!("{age:.1}s old"));
        let mut lines = vec![
            format!(
                "migration {}  {}  verifier {}  config {}  epoch {}, {age}",
                status.migration,
                self.server,
                status.version,
                short(&status.config_hash),
                status.epoch
            ),
            String::new(),
        ];
        let rows = status.phases.iter().map(|phase| phase_row(phase, status, wide)).collect();
        lines.extend(table(&["PHASE", "STATE", "GATE", "SOAK", "GREEN", "FIRST BLOCKER"], rows));
        let stale = trust::fresh(status.age_seconds).is_err();
        for phase in status.phases.iter().filter(|phase| wide || phase.state == PhaseState::Active) {
            lines.extend(step_lines(phase, now, stale));
        }
        if wide && !status.probes.is_empty() {
            lines.push(String::new());
            lines.extend(super::probes::probe_table(&status.probes, now, true));
        }
        let mut notes: Vec<String> = status.lock.iter().map(super::plan::lock_line).collect();
        for phase in &status.phases {
            notes.extend(phase.regressed.iter().flat_map(|each| regression_lines(phase, each, now)));
        }
        notes.extend(status.overrides.iter().map(override_line));
        notes.extend(status.decommissioned.iter().map(removal_line));
        notes.extend(status.ledger_error.iter().map(|error| format!("error: the ledger can not be written: {error}")));
        notes.extend(status.config_error.iter().map(|error| format!("error: the newest document was not taken: {error}")));
        if !notes.is_empty() {
            lines.push(String::new());
            lines.extend(notes);
        }
        lines.push(String::new());
        lines.push(format!("next: {}", status.next_step));
        lines
    }

    fn names(&self) -> Vec<String> {
        self.status.phases.iter().map(|phase| phase.name.clone()).collect()
    }

    fn cases(&self) -> (String, Vec<Case>) {
        let case = |phase: &PhaseBody| Case {
            name: phase.name.clone(),
            grade: phase.verdict,
            text: format!("{}: {}", phase.state.as_str(), phase.reason),
        };
        (format!("migration {}", self.status.migration), self.status.phases.iter().map(case).collect())
    }

    fn outputs(&self) -> Vec<(&'static str, String)> {
        vec![("next_step", self.status.next_step.clone())]
    }
}

/// Where a phase stands, in a word or two.
pub(crate) fn stands(phase: &PhaseBody) -> &'static str {
    match (phase.state, &phase.switched, &phase.switching, &phase.adopted) {
        (PhaseState::Active, Some(_), _, _) => "active, switched",
        (PhaseState::Active, None, Some(_), _) => "active, switching",
        (PhaseState::Complete, _, _, Some(_)) => "complete, adopted",
        (state, ..) => state.as_str(),
    }
}

/// The steps of a phase, with where each stands since when and by whom.
fn step_lines(phase: &PhaseBody, now: Option<DateTime<Utc>>, stale: bool) -> Vec<String> {
    let (name, all) = (&phase.name, phase.steps.len());
    if all == 0 {
        return Vec::new();
    }
    let done = phase.steps.iter().filter(|step| step.state == Some(StepState::Done)).count();
    let row = |(nth, step): (usize, &StepBody)| {
        let marks = [(step.switch, "switch"), (step.ponr, "point of no return"), (!step.undo, "no undo")];
        let marks: Vec<&str> = marks.iter().filter(|(is, _)| *is).map(|(_, mark)| *mark).collect();
        let state = step.state.map_or("-", StepState::as_str);
        let note = if step.state == Some(StepState::Done) { "" } else { &step.note };
        vec![
            format!("{}", nth + 1),
            step.name.clone(),
            if stale && step.state.is_some() { format!("was {state}") } else { state.to_owned() },
            step.since.as_ref().map_or_else(|| "-".to_owned(), |since| format!("{} by {}", ago(since.at, now), since.by)),
            marks.join(", "),
            clip(note, false),
        ]
    };
    let mut lines = vec![String::new(), format!("steps of {name}: {done} of {all} done")];
    lines.extend(table(&["#", "STEP", "STATE", "SINCE", "MARKS", "SAID"], phase.steps.iter().enumerate().map(row).collect()));
    lines.extend(phase.ponr_crossed.iter().map(|crossed| {
        format!("{name} crossed its point of no return {}, by {}: nothing leads back", ago(crossed.at, now), crossed.by)
    }));
    lines
}

fn phase_row(phase: &PhaseBody, status: &StatusBody, wide: bool) -> Vec<String> {
    let soak = match phase.state {
        PhaseState::Waiting => "-".to_owned(),
        PhaseState::Active | PhaseState::Complete => format!("{} / {}", seconds(phase.soak.have), seconds(phase.soak.need)),
    };
    let green = phase.probes.get(ProbeState::Green.as_str()).copied().unwrap_or(0);
    let total: usize = phase.probes.values().sum();
    let blocker = match phase.verdict {
        Verdict::Open => String::new(),
        Verdict::Closed | Verdict::Pending | Verdict::Unknown => without_verdict(phase.verdict, &first_blocker(phase, status)),
    };
    vec![
        phase.name.clone(),
        stands(phase).to_owned(),
        phase.verdict.as_str().to_uppercase(),
        soak,
        format!("{green}/{total}"),
        clip(&blocker, wide),
    ]
}

/// A reason beside the verdict that it begins with.
pub(super) fn without_verdict(verdict: Verdict, reason: &str) -> String {
    let rest = reason.strip_prefix(verdict.as_str()).and_then(|rest| rest.strip_prefix(": "));
    rest.unwrap_or(reason).to_owned()
}

fn first_blocker(phase: &PhaseBody, status: &StatusBody) -> String {
    if !phase.reason.is_empty() {
        return phase.reason.clone();
    }
    let dark = status.probes.iter().find(|probe| {
        probe.phase == phase.name && probe.gate && !probe.retired && !probe.overridden && probe.state != ProbeState::Green
    });
    dark.map_or_else(String::new, |probe| format!("{} is {}: {}", probe.name, probe.state.as_str(), probe.evidence))
}

pub(crate) fn regression_lines(phase: &PhaseBody, regression: &RegressionBody, now: Option<DateTime<Utc>>) -> Vec<String> {
    let name = &phase.name;
    let back = if phase.can_roll_back { format!(", or `cutover rollback {name} --reason …`") } else { String::new() };
    vec![
        format!(
            "regressed: {name}/{} went red {}: {}: {}",
            regression.probe,
            ago(regression.since, now),
            regression.reason,
            regression.evidence
        ),
        format!("           mend it and say `cutover regression ack {name} --reason …`{back}"),
    ]
}

/// An override in one line.
pub(crate) fn override_line(each: &OverrideBody) -> String {
    format!(
        "override {}: {} is not looked at for another {}, says {}: {}{}",
        each.id,
        each.probe,
        seconds(each.remaining_seconds),
        each.by,
        each.reason,
        each.ticket.as_ref().map_or_else(String::new, |ticket| format!(" ({ticket})"))
    )
}

/// A removed old side in one line.
fn removal_line(each: &RemovalBody) -> String {
    let gone =
        each.gone.map_or_else(|| "it is still there: stop it".to_owned(), |gone| format!("gone since {}", super::moment(gone)));
    let watch = each.tripwires.join(", ");
    format!("target {} is decommissioned, says {}: {}; {gone}; watched by {watch}", each.target, each.stamp.by, each.reason)
}

/// The active overrides.
pub(crate) struct Overrides<'a>(pub(crate) &'a [OverrideBody]);

impl Show for Overrides<'_> {
    fn body(&self) -> Value {
        serde_json::json!({"overrides": value(&self.0)})
    }

    fn lines(&self, wide: bool) -> Vec<String> {
        let row = |each: &OverrideBody| {
            vec![
                each.id.to_string(),
                each.probe.clone(),
                each.by.clone(),
                super::moment(each.since),
                seconds(each.remaining_seconds),
                each.ticket.clone().unwrap_or_else(|| "-".to_owned()),
                clip(&each.reason, wide),
            ]
        };
        if self.0.is_empty() {
            return Vec::new();
        }
        table(&["ID", "PROBE", "BY", "SINCE", "LEFT", "TICKET", "REASON"], self.0.iter().map(row).collect())
    }

    fn names(&self) -> Vec<String> {
        self.0.iter().map(|each| each.id.to_string()).collect()
    }

    fn cases(&self) -> (String, Vec<Case>) {
        let case = |each: &OverrideBody| Case { name: each.probe.clone(), grade: Verdict::Pending, text: override_line(each) };
        ("overrides".to_owned(), self.0.iter().map(case).collect())
    }

    fn tests(&self) -> (String, Vec<Case>) {
        passed(self.cases())
    }

    fn sum(&self) -> Option<String> {
        self.0.is_empty().then(|| "no override is active".to_owned())
    }
}

/// Test reports know no warning, and what is only told has not failed.
pub(super) fn passed((title, mut cases): (String, Vec<Case>)) -> (String, Vec<Case>) {
    for case in &mut cases {
        case.grade = Verdict::Open;
    }
    (title, cases)
}

/// What a command brought about for something that its answer does not name.
pub(crate) struct About<'a>(pub(crate) &'a str, pub(crate) &'a Receipt);

impl About<'_> {
    fn done(&self) -> Done<'_> {
        Done(std::slice::from_ref(self.1))
    }
}

impl Show for About<'_> {
    fn body(&self) -> Value {
        self.done().body()
    }

    fn lines(&self, wide: bool) -> Vec<String> {
        self.done().lines(wide)
    }

    fn names(&self) -> Vec<String> {
        vec![self.0.to_owned()]
    }

    fn cases(&self) -> (String, Vec<Case>) {
        self.done().cases()
    }

    fn outputs(&self) -> Vec<(&'static str, String)> {
        self.done().outputs()
    }
}

/// What commands brought about, in order.
pub(crate) struct Done<'a>(pub(crate) &'a [Receipt]);

impl Show for Done<'_> {
    fn body(&self) -> Value {
        match self.0 {
            [only] => value(only),
            all => serde_json::json!({"done": value(&all)}),
        }
    }

    fn lines(&self, _: bool) -> Vec<String> {
        self.0.iter().map(|receipt| receipt.message.clone()).collect()
    }

    fn names(&self) -> Vec<String> {
        let name = |receipt: &Receipt| match (&receipt.phase, receipt.id) {
            (Some(phase), _) => Some(phase.name.clone()),
            (None, id) => id.map(|id| id.to_string()),
        };
        self.0.iter().filter_map(name).collect()
    }

    fn cases(&self) -> (String, Vec<Case>) {
        let case = |receipt: &Receipt| Case { name: "command".to_owned(), grade: Verdict::Open, text: receipt.message.clone() };
        ("cutover".to_owned(), self.0.iter().map(case).collect())
    }

    fn outputs(&self) -> Vec<(&'static str, String)> {
        self.0.iter().filter_map(|receipt| receipt.id).map(|id| ("id", id.to_string())).collect()
    }
}
