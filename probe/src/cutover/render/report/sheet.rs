//! What the checklist says, before it is known in which language. Free text of others is told apart from our own words, so that
//! each language can keep it from being taken for markup.

use chrono::{DateTime, Utc};

use super::super::gate::server_now;
use super::super::status::{short, stands};
use super::super::text::{ago, moment, seconds};
use super::done_with;
use crate::api::types::{CriterionBody, ExceptionBody, LatchedBody, ReportBody, ReportPhaseBody, SightBody, StampBody, StepBody};
use crate::state::{PhaseState, ProbeState, StepState};

/// A piece of a line.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Bit {
    /// Our own words, and names.
    Own(String),
    /// What somebody or something else said, or what is to be typed.
    Told(String),
    /// A colour or verdict.
    State(&'static str),
}

/// Whether a line of the list is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// Yes.
    Done,
    /// No.
    Missing,
    /// Nobody asks for it.
    Left,
    /// Nothing to be ticked.
    Plain,
}

/// A line of a list, with what belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub(super) mark: Mark,
    pub(super) line: Vec<Bit>,
    pub(super) notes: Vec<Vec<Bit>>,
}

/// A list with a heading.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    pub(super) title: &'static str,
    pub(super) items: Vec<Item>,
}

/// One phase.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Section {
    pub(super) title: Vec<Bit>,
    pub(super) facts: Vec<Vec<Bit>>,
    pub(super) parts: Vec<Part>,
}

/// The whole checklist.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sheet {
    pub(super) title: String,
    pub(super) facts: Vec<Vec<Bit>>,
    pub(super) sections: Vec<Section>,
    pub(super) end: Vec<Vec<Bit>>,
}

fn own(text: impl Into<String>) -> Bit {
    Bit::Own(text.into())
}

fn told(text: impl Into<String>) -> Bit {
    Bit::Told(text.into())
}

/// The checklist of a report.
pub(super) fn sheet(report: &ReportBody) -> Sheet {
    let now = server_now(report.evaluated_at, report.age_seconds);
    let evaluated = report.evaluated_at.map_or_else(|| "never".to_owned(), moment);
    let (config, version, epoch) = (short(&report.config_hash), &report.version, report.epoch);
    let since = report.recorded_since.map_or_else(String::new, |since| format!("since {}, ", moment(since)));
    let mut facts = vec![
        vec![own(format!("evaluated {evaluated}, epoch {epoch}, config {config}, verifier {version}"))],
        vec![
            own(format!("recorded {since}up to event {} with the hash ", report.head.seq)),
            told(&report.head.hash),
            own("; to check it: "),
            told("cutover audit verify"),
        ],
    ];
    facts.extend(report.ledger_error.iter().map(|error| vec![own("the ledger can not be written: "), told(error)]));
    facts.extend(report.config_error.iter().map(|error| vec![own("the newest document was not taken: "), told(error)]));
    let complete = report.phases.iter().filter(|phase| phase.phase.state == PhaseState::Complete).count();
    let mut end = Vec::new();
    end.extend(report.lock.iter().map(|lock| {
        let held = if lock.live { "held by" } else { "expired, last held by" };
        let since = moment(lock.since);
        vec![
            own(format!("lock {} for phase {}: {held} {} since {since}, on ", lock.id, lock.phase, lock.holder)),
            told(&lock.place),
        ]
    }));
    end.push(vec![own(format!("{complete} of {} phases complete; next: ", report.phases.len())), own(&report.next_step)]);
    Sheet {
        title: format!("Verification checklist of migration {}", report.migration),
        facts,
        sections: report.phases.iter().map(|phase| section(phase, now)).collect(),
        end,
    }
}

fn section(report: &ReportPhaseBody, now: Option<DateTime<Utc>>) -> Section {
    let phase = &report.phase;
    let stamped = |word: &str, stamp: &Option<StampBody>| {
        stamp.as_ref().map(|stamp| format!("{word} {} by {}", moment(stamp.at), stamp.by))
    };
    let mut moved: Vec<String> =
        [stamped("begun", &phase.begun), stamped("switched", &phase.switched), stamped("complete", &phase.complete)]
            .into_iter()
            .flatten()
            .collect();
    if phase.switched.is_some() {
        moved.push(format!("soak {} of {}", seconds(phase.soak.have.min(phase.soak.need)), seconds(phase.soak.need)));
    }
    let mut facts: Vec<Vec<Bit>> = Vec::new();
    facts.extend((!moved.is_empty()).then(|| vec![own(moved.join(", "))]));
    facts.extend(stamped("point of no return crossed", &phase.ponr_crossed).map(|line| vec![own(line)]));
    facts.extend(phase.adopted.iter().map(|reason| vec![own("adopted, not proven: "), told(reason)]));
    facts.extend(report.completion.iter().map(|completion| {
        let event = &completion.event;
        let with = if completion.overrides.is_empty() {
            "without an override".to_owned()
        } else {
            let ids: Vec<_> = completion.overrides.iter().map(ToString::to_string).collect();
            format!("with override {}", ids.join(", "))
        };
        vec![own(format!("completed {with}: event {} with the hash ", event.seq)), told(&event.hash)]
    }));
    let criteria = report.criteria.iter().map(|criterion| criterion_item(criterion, report, now)).collect();
    let parts = vec![
        Part { title: "Steps", items: phase.steps.iter().map(step_item).collect() },
        Part { title: "Criteria", items: criteria },
        Part { title: "Overrides", items: report.overrides_ever.iter().map(|each| exception_item(each, report)).collect() },
        Part { title: "Regressions", items: report.regressions_ever.iter().map(|each| latched_item(each, report)).collect() },
    ];
    Section {
        title: vec![own(format!("{}: {}, gate ", phase.name, stands(phase))), Bit::State(phase.verdict.as_str())],
        facts,
        parts: parts.into_iter().filter(|part| !part.items.is_empty()).collect(),
    }
}

fn step_item(step: &StepBody) -> Item {
    let mark = match step.state {
        Some(StepState::Done) => Mark::Done,
        Some(StepState::Undone) => Mark::Left,
        Some(
            StepState::Running
            | StepState::Verifying
            | StepState::Failed
            | StepState::Interrupted
            | StepState::Undoing
            | StepState::UndoFailed,
        )
        | None => Mark::Missing,
    };
    let kinds = [(step.switch, "the switch"), (step.ponr, "the point of no return")];
    let kinds: Vec<_> = kinds.iter().filter(|(is, _)| *is).map(|(_, kind)| *kind).collect();
    let kind = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
    let stands = match (step.state, &step.since) {
        (Some(state), Some(since)) => format!("{} {} by {}", state.as_str(), moment(since.at), since.by),
        (state, _) => state.map_or("not begun", StepState::as_str).to_owned(),
    };
    let mut line = vec![format!("{}{kind}: {stands}", step.name)];
    if let (Some(started), Some(since)) = (step.started, &step.since)
        && let Ok(took) = (since.at - started).to_std()
    {
        line.push(format!("begun {}, took {}", moment(started), took_words(took)));
    }
    if step.attempts > 0 {
        let word = if step.attempts == 1 { "attempt" } else { "attempts" };
        line.push(format!("{} {word}", step.attempts));
    }
    let notes = if step.note.is_empty() { vec![] } else { vec![vec![own("said: "), told(&step.note)]] };
    Item { mark, line: vec![own(line.join(", "))], notes }
}

fn took_words(took: std::time::Duration) -> String {
    if took.as_secs() == 0 { "less than 1s".to_owned() } else { crate::now::span(took) }
}

fn criterion_item(criterion: &CriterionBody, report: &ReportPhaseBody, now: Option<DateTime<Utc>>) -> Item {
    let probe = &criterion.probe;
    let what = format!("{} ({})", probe.name, probe.check);
    let then = criterion.at_completion.iter().map(|then| then_note(then, report, &probe.name));
    if let Some(why) = done_with(probe, &report.phase) {
        return Item { mark: Mark::Left, line: vec![own(format!("{what}: {why}"))], notes: then.collect() };
    }
    let green = probe.state == ProbeState::Green;
    let since = probe.since.map_or_else(String::new, |since| format!(" since {}", ago(since, now)));
    let overridden = if probe.overridden { ", overridden" } else { "" };
    let mut notes = Vec::new();
    notes.extend((!probe.evidence.is_empty()).then(|| vec![own("saw: "), told(&probe.evidence)]));
    if !green {
        notes.extend(probe.next.iter().map(|next| vec![own("next: "), own(next)]));
    }
    notes.extend(then);
    let line = vec![own(format!("{what}: ")), Bit::State(probe.state.as_str()), own(format!("{since}{overridden}"))];
    Item { mark: if green { Mark::Done } else { Mark::Missing }, line, notes }
}

fn then_note(then: &SightBody, report: &ReportPhaseBody, probe: &str) -> Vec<Bit> {
    let counted = report.completion.iter().flat_map(|completion| &completion.overrides);
    let named = |id: &&u64| report.overrides_ever.iter().any(|each| each.made.id == **id && each.made.probe == probe);
    let overridden = counted.filter(named).map(|id| format!(", under override {id}")).collect::<Vec<_>>().concat();
    let mut note = vec![
        own("when the phase was completed: "),
        Bit::State(then.state.as_str()),
        own(format!(" since {}{overridden}", moment(then.since))),
    ];
    if !then.evidence.is_empty() {
        note.extend([own(": "), told(&then.evidence)]);
    }
    note
}

fn exception_item(each: &ExceptionBody, report: &ReportPhaseBody) -> Item {
    let made = &each.made;
    let counted = report.completion.as_ref().is_some_and(|completion| completion.overrides.contains(&made.id));
    let counted = if counted { ", which the completion rests on" } else { "" };
    let (since, until) = (moment(made.since), moment(made.until));
    let line = format!("override {} of {} by {}, from {since} to {until}{counted}: ", made.id, made.probe, made.by);
    let end = each.ended.as_ref().map_or_else(
        || "it is active: nobody looks at this probe".to_owned(),
        |ended| format!("{}: {}, {}", ended.how, moment(ended.stamp.at), ended.stamp.by),
    );
    let ticket = made.ticket.as_ref().map(|ticket| [own(" ("), told(ticket), own(")")]).into_iter().flatten();
    let line = [own(line), told(&made.reason)].into_iter().chain(ticket).collect();
    Item { mark: Mark::Plain, line, notes: vec![vec![own(end)]] }
}

fn latched_item(each: &LatchedBody, report: &ReportPhaseBody) -> Item {
    let name = &report.phase.name;
    let line = vec![
        own(format!("regressed: {name}/{} went red {}, {}: ", each.probe, moment(each.since), each.reason)),
        told(&each.evidence),
    ];
    let end = each.ended.as_ref().map_or_else(
        || {
            let mut bits = vec![own("mend it and say "), told(format!("cutover regression ack {name} --reason …"))];
            if report.phase.can_roll_back {
                bits.extend([own(", or "), told(format!("cutover rollback {name} --reason …"))]);
            }
            bits
        },
        |ended| vec![own(format!("ended {} by {}: ", moment(ended.stamp.at), ended.stamp.by)), told(&ended.how)],
    );
    Item { mark: if each.ended.is_some() { Mark::Done } else { Mark::Missing }, line, notes: vec![end] }
}
