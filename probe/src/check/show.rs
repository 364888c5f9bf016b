//! What was seen, for people and for programs.

use std::collections::BTreeMap;

use checks::{Measure, Outcome, PartId, Report, Step, engine_reasons as why};
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::api::reasons::ReasonBook;
use crate::config::Config;
use crate::decide::at_one_look;
use crate::exit::Exit;

use super::look::{Order, Sight};

/// What one look is not.
pub(super) const NOTE: &str = "One look opens no gate: the verifier decides, on what it has seen for the whole soak.";

/// The answer. It only grows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CheckBody {
    schema_version: u32,
    migration: String,
    document: String,
    config_hash: String,
    /// `pass`, or the worst that was seen: `fail`, `unknown`, `waiting`, `progress`.
    outcome: &'static str,
    /// The exit code.
    exit: u8,
    note: &'static str,
    probes: Vec<Seen>,
}

/// One probe.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Seen {
    phase: String,
    name: String,
    check: String,
    #[serde(flatten)]
    said: Said,
    duration_seconds: f64,
    /// What each look came to; the last one counts.
    looks: Vec<&'static str>,
    parts: Vec<PartSeen>,
    measures: Vec<MeasureSeen>,
    /// By target.
    identities: BTreeMap<String, String>,
    /// None: it was not run.
    control: Option<ControlSeen>,
}

/// One outcome in words.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    outcome: &'static str,
    reason: Option<String>,
    evidence: String,
    /// What makes the reason go away.
    next: Option<&'static str>,
    /// When what is waited for is due.
    due: Option<DateTime<Utc>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PartSeen {
    part: String,
    #[serde(flatten)]
    said: Said,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct MeasureSeen {
    part: String,
    name: &'static str,
    value: f64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ControlSeen {
    /// Whether it failed with its own reason, so that the probe can be believed.
    trusted: bool,
    /// The reason that it must give.
    expected: String,
    #[serde(flatten)]
    said: Said,
}

/// Finds words for what was seen.
struct Words<'a> {
    book: &'a ReasonBook,
    check: &'a str,
    now: DateTime<Utc>,
}

impl Words<'_> {
    fn say(&self, outcome: &Outcome) -> Said {
        let late = match outcome {
            Outcome::Waiting { due, evidence, .. } if *due < self.now => Some(why::OVERDUE.because(evidence.as_str())),
            Outcome::Waiting { .. } | Outcome::Pass { .. } | Outcome::Fail { .. } | Outcome::Unknown { .. } => None,
        };
        let outcome = late.as_ref().unwrap_or(outcome);
        let reason = outcome.reason().map(ToString::to_string);
        Said {
            outcome: outcome.label(),
            next: reason.as_deref().map(|reason| self.book.of_probe(self.check, reason)),
            reason,
            evidence: outcome.evidence().to_string(),
            due: if let Outcome::Waiting { due, .. } = outcome { Some(*due) } else { None },
        }
    }

    fn said(&self, step: &Step) -> (Said, Vec<PartSeen>) {
        match step {
            Step::Done(parts) => {
                let whole = self.say(&at_one_look(parts));
                let part = |(part, outcome): (&PartId, &Outcome)| PartSeen { part: part.to_string(), said: self.say(outcome) };
                // A flood of parts is told once, not part by part.
                let flood = whole.reason.as_deref() == Some(why::FLOOD.name);
                (whole, if flood { Vec::new() } else { parts.iter().map(part).collect() })
            }
            Step::More(progress) => {
                let said = Said {
                    outcome: "progress",
                    reason: Some(why::UNFINISHED.name.to_owned()),
                    evidence: format!("{} of {}: {}", progress.done, progress.total, progress.note),
                    next: Some("look more often with `--times N`, or leave it to the verifier"),
                    due: None,
                };
                (said, Vec::new())
            }
        }
    }
}

impl Seen {
    /// What was seen of a probe.
    pub(super) fn of(order: &Order, sight: Sight, book: &ReasonBook) -> Self {
        let plan = &order.plan;
        let words = Words { book, check: &plan.check, now: sight.at };
        let looks: Vec<_> = sight.looks.iter().map(|report| words.said(&report.step).0.outcome).collect();
        let none = || Report::new(Step::Done(BTreeMap::new()), ());
        let last = sight.looks.into_iter().last().unwrap_or_else(none);
        let (said, parts) = words.said(&last.step);
        let measure = |Measure { part, name, value }: Measure| MeasureSeen { part: part.to_string(), name, value };
        let finite = |measure: &Measure| measure.value.is_finite();
        let control = sight.control.map(|outcome| {
            let trusted = matches!(&outcome, Outcome::Fail { reason, .. } if reason.as_str() == plan.control_reason);
            let said = words.say(&outcome);
            // Of a control that failed as it should, nothing is to be mended; of one that passed, the probe is not to be trusted.
            let next = match (&outcome, trusted) {
                (_, true) => None,
                (Outcome::Pass { .. }, false) => Some(why::CONTROL_PASSED.next),
                (_, false) => said.next,
            };
            ControlSeen { trusted, expected: plan.control_reason.clone(), said: Said { next, ..said } }
        });
        // As for the verifier: what can not tell right from wrong has seen nothing, unless it is red.
        let doubt = control.as_ref().filter(|control| !control.trusted && said.outcome != "fail").map(|control| {
            let reason = if control.said.outcome == "pass" { why::CONTROL_PASSED } else { why::CONTROL_UNTESTED };
            words.say(&reason.because(format!("it says {}, and so may it of anything: {}", said.outcome, said.evidence)))
        });
        let said = doubt.unwrap_or(said);
        Self {
            phase: order.phase.to_string(),
            name: plan.name.to_string(),
            check: plan.check.clone(),
            said,
            duration_seconds: sight.took.as_secs_f64(),
            looks,
            parts,
            measures: last.measures.into_iter().filter(finite).map(measure).collect(),
            identities: last.identities,
            control,
        }
    }
}

/// Outcomes from good to bad, with the exit code of each.
const GRADES: [(&str, Exit); 5] = [
    ("pass", Exit::OPEN),
    ("progress", Exit::PENDING),
    ("waiting", Exit::PENDING),
    ("unknown", Exit::UNKNOWN),
    ("fail", Exit::CLOSED),
];

/// How bad an outcome is. No probe at all is no pass.
fn grade(outcome: Option<&str>) -> usize {
    const UNKNOWN: usize = 3;
    GRADES.iter().position(|(known, _)| Some(*known) == outcome).unwrap_or(UNKNOWN)
}

impl CheckBody {
    /// The whole answer.
    pub(super) fn new(config: &Config, probes: Vec<Seen>) -> Self {
        let worst = probes.iter().map(|probe| probe.said.outcome).max_by_key(|outcome| grade(Some(outcome)));
        let (outcome, exit) = GRADES.get(grade(worst)).copied().unwrap_or(("unknown", Exit::UNKNOWN));
        Self {
            schema_version: 1,
            migration: config.plan.migration.clone(),
            document: config.source.file.clone(),
            config_hash: config.plan.hash.clone(),
            outcome,
            exit: exit.code,
            note: NOTE,
            probes,
        }
    }

    /// How the process is to exit.
    pub(super) fn exit(&self) -> Exit {
        GRADES.iter().find(|(outcome, _)| *outcome == self.outcome).map_or(Exit::UNKNOWN, |(_, exit)| *exit)
    }
}

/// For people.
pub(super) fn lines(body: &CheckBody) -> Vec<String> {
    body.probes.iter().flat_map(probe_lines).collect()
}

fn probe_lines(probe: &Seen) -> Vec<String> {
    let head = |said: &Said, rest: &str| format!("{:<8} {rest}", said.outcome.to_uppercase());
    let milliseconds = probe.duration_seconds * 1000.0;
    let name = format!("{}/{}  ({}, {milliseconds:.0} ms)", probe.phase, probe.name, probe.check);
    let mut lines = vec![head(&probe.said, &name)];
    if let [_, _, ..] = probe.looks.as_slice() {
        lines.push(format!("         looks: {}", probe.looks.join(", ")));
    }
    match probe.parts.as_slice() {
        [] | [_] => lines.extend(said_lines(&probe.said, "")),
        parts => {
            for part in parts {
                let rest = format!("{}: {}", part.part, sentence(&part.said));
                lines.push(format!("  {}", head(&part.said, &rest)));
                lines.extend(next_line(&part.said, "  "));
            }
        }
    }
    if let Some(control) = &probe.control {
        let trust = if control.trusted { "failed as it should" } else { "DID NOT FAIL as it should" };
        let expected = if control.trusted { String::new() } else { format!(" ({} was due)", control.expected) };
        lines.push(format!("         control {trust}{expected}: {} {}", control.said.outcome, sentence(&control.said)));
        lines.extend(next_line(&control.said, ""));
    }
    lines
}

fn said_lines(said: &Said, indent: &str) -> Vec<String> {
    let saw = format!("{indent}         {}", sentence(said));
    std::iter::once(saw).chain(next_line(said, indent)).collect()
}

fn sentence(said: &Said) -> String {
    let due = said.due.map(|due| format!(" (due {})", due.format("%Y-%m-%d %H:%M:%SZ"))).unwrap_or_default();
    match &said.reason {
        Some(reason) => format!("{reason}: {}{due}", said.evidence),
        None => said.evidence.clone(),
    }
}

fn next_line(said: &Said, indent: &str) -> Option<String> {
    said.next.map(|next| format!("{indent}         next: {next}"))
}

/// What is said on stderr when all is done.
pub(super) fn summary(body: &CheckBody) -> Vec<String> {
    let count = |outcome: &str| body.probes.iter().filter(|probe| probe.said.outcome == outcome).count();
    let counted = GRADES.iter().map(|(outcome, _)| (count(outcome), *outcome)).filter(|(count, _)| *count > 0);
    let counted: Vec<_> = counted.map(|(count, outcome)| format!("{count} {outcome}")).collect();
    let doubted = body.probes.iter().filter(|probe| probe.control.as_ref().is_some_and(|control| !control.trusted)).count();
    let probes = if body.probes.len() == 1 { "1 probe".to_owned() } else { format!("{} probes", body.probes.len()) };
    let trust = match doubted {
        0 => String::new(),
        doubted => format!("; {doubted} not to be trusted: the negative control did not fail as it should"),
    };
    vec![format!("{probes}: {}{trust}", counted.join(", ")), NOTE.to_owned()]
}
