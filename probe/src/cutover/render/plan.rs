//! Plans and the lock.

use serde_json::Value;

use super::super::Own;
use super::status::{passed, short, without_verdict};
use super::text::{clip, seconds, table};
use super::{Case, Show, moment, value};
use crate::api::types::{LockAnswer, LockBody, PlanBody, StepBody};
use crate::config::{StepSpec, Undo, Work, without_secrets};
use crate::gate::Verdict;
use crate::plan::StepKind;
use crate::state::StepState;

/// What a phase would do, with the commands of the operator's own document where there is one.
pub(crate) struct Planned<'a> {
    pub(crate) plan: &'a PlanBody,
    pub(crate) own: Option<&'a Own>,
}

impl Planned<'_> {
    fn spec(&self, step: &StepBody) -> Option<&StepSpec> {
        self.own?.step(&self.plan.phase, &step.name).ok()
    }

    fn does(&self, step: &StepBody) -> String {
        let what = match (self.spec(step).map(|spec| &spec.work), step.kind) {
            (Some(Work::Command(words)), _) => shown(words),
            (Some(Work::Manual(text)), _) => format!("by hand: {text}"),
            (Some(Work::Wait), _) | (None, StepKind::Wait) => match &step.gate {
                Some(gate) => format!("wait for gate {gate}"),
                None => format!("wait for {}", step.verify.join(", ")),
            },
            (None, StepKind::Command) => "a command".to_owned(),
            (None, StepKind::Manual) => "by hand".to_owned(),
        };
        if step.switch { format!("SWITCH {what}") } else { what }
    }

    fn undoes(&self, step: &StepBody) -> String {
        match self.spec(step).map(|spec| &spec.undo) {
            Some(Some(Undo::Command(words))) => shown(words),
            Some(Some(Undo::Manual(text))) => format!("by hand: {text}"),
            None if step.undo => "yes".to_owned(),
            Some(None) | None => "none".to_owned(),
        }
    }

    fn expected(&self) -> String {
        let known: f64 = self.plan.steps.iter().filter_map(|step| step.took_seconds).sum();
        let unknown = self.plan.steps.iter().filter(|step| step.took_seconds.is_none()).count();
        match (self.plan.steps.len(), unknown) {
            (0, _) => "no steps: its work is done by hand".to_owned(),
            (all, unknown) if all == unknown => "expected duration not known: it has never run".to_owned(),
            (_, 0) => format!("expected {}", seconds(known)),
            (all, unknown) => {
                format!("expected {} for {} of {all} steps; the others have never run", seconds(known), all - unknown)
            }
        }
    }
}

/// Words as they would be typed, without the secrets among them.
pub(crate) fn shown(words: &[String]) -> String {
    let plain = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:=@,+%*".contains(c));
    let quoted = |word: &String| if plain(word) { word.clone() } else { format!("'{}'", word.replace('\'', "'\\''")) };
    without_secrets(words).iter().map(quoted).collect::<Vec<_>>().join(" ")
}

impl Show for Planned<'_> {
    fn body(&self) -> Value {
        value(self.plan)
    }

    fn lines(&self, wide: bool) -> Vec<String> {
        let plan = self.plan;
        let mut lines = vec![
            format!(
                "plan {}  phase {}, {}  migration {}  config {}",
                short(&plan.hash),
                plan.phase,
                plan.phase_state.as_str(),
                plan.migration,
                short(&plan.config_hash)
            ),
            format!("  {}", self.expected()),
            format!("  entry guard {}: {}", plan.entry.as_str().to_uppercase(), without_verdict(plan.entry, &plan.entry_reason)),
        ];
        if !plan.steps.is_empty() {
            lines.push(String::new());
        }
        let row = |(nth, step): (usize, &StepBody)| {
            vec![
                format!("  {}", nth + 1),
                step.name.clone(),
                step.state.map_or_else(|| "-".to_owned(), |state| state.as_str().to_owned()),
                took(step),
                clip(&self.does(step), wide),
                clip(&self.undoes(step), wide),
            ]
        };
        let mut drawn =
            table(&["  #", "STEP", "STATE", "TOOK", "DOES", "UNDO"], plan.steps.iter().enumerate().map(row).collect());
        if let Some(at) = plan.steps.iter().position(|step| step.ponr) {
            drawn.insert(at + 1, "  --- POINT OF NO RETURN: nothing leads back once the next step has started ---".to_owned());
        }
        if !plan.steps.is_empty() {
            lines.extend(drawn);
        }
        lines.extend(self.notes());
        lines
    }

    fn names(&self) -> Vec<String> {
        self.plan.steps.iter().map(|step| step.name.clone()).collect()
    }

    fn cases(&self) -> (String, Vec<Case>) {
        let entry = Case { name: "entry".to_owned(), grade: self.plan.entry, text: self.plan.entry_reason.clone() };
        let step = |step: &StepBody| {
            let state = step.state.map_or_else(String::new, |state| format!("{}: ", state.as_str()));
            Case { name: step.name.clone(), grade: grade(step.state), text: format!("{state}{}", self.does(step)) }
        };
        (format!("plan {}", self.plan.phase), std::iter::once(entry).chain(self.plan.steps.iter().map(step)).collect())
    }

    fn sum(&self) -> Option<String> {
        Some(format!("{} steps; {}; entry guard open", self.plan.steps.len(), self.expected()))
    }

    fn outputs(&self) -> Vec<(&'static str, String)> {
        vec![("plan", self.plan.hash.clone())]
    }
}

/// How long a step took when it last ran, here or in a rehearsal.
fn took(step: &StepBody) -> String {
    let rehearsed = if step.rehearsed { " (rehearsed)" } else { "" };
    step.took_seconds.map_or_else(|| "-".to_owned(), |took| format!("{}{rehearsed}", seconds(took)))
}

/// What a step says of itself: one that nobody has touched stands in nobody's way.
const fn grade(state: Option<StepState>) -> Verdict {
    match state {
        None | Some(StepState::Running | StepState::Verifying | StepState::Done | StepState::Undoing | StepState::Undone) => {
            Verdict::Open
        }
        Some(StepState::Interrupted) => Verdict::Unknown,
        Some(StepState::Failed | StepState::UndoFailed) => Verdict::Closed,
    }
}

impl Planned<'_> {
    /// What this phase means for those who look on.
    fn notes(&self) -> Vec<String> {
        let plan = self.plan;
        let mut notes: Vec<String> = Vec::new();
        let breaks = self.own.and_then(|own| own.breaks(&plan.phase));
        notes.extend(breaks.map(|words| format!("for a while: {words}")));
        if !plan.retires.is_empty() {
            notes.push(format!("from the switch on nobody looks at the old side through: {}", plan.retires.join(", ")));
        }
        for step in plan.steps.iter().filter(|step| !step.disturbs.is_empty()) {
            notes.push(format!("while step {} runs, these may be red: {}", step.name, step.disturbs.join(", ")));
        }
        if let Some(crossed) = &plan.ponr_crossed {
            notes.push(format!("its point of no return was crossed at {}, by {}", moment(crossed.at), crossed.by));
        }
        if plan.going_back {
            notes.push(format!("it is on its way back: `cutover rollback {} --reason …` brings that to its end", plan.phase));
        }
        match (&plan.approved, plan.four_eyes) {
            (Some(approved), _) => notes.push(format!("approved by {} at {}", approved.by, moment(approved.at))),
            (None, true) => notes.push(format!(
                "it wants four eyes: `cutover plan {0} --out FILE`, and somebody else says `cutover approve {0} --plan FILE`",
                plan.phase
            )),
            (None, false) => {}
        }
        notes.extend(plan.lock.as_ref().map(lock_line));
        if notes.is_empty() { notes } else { std::iter::once(String::new()).chain(notes).collect() }
    }
}

/// A lock in one line.
pub(crate) fn lock_line(lock: &LockBody) -> String {
    let heard = seconds(lock.heard_seconds);
    let state = if lock.live { "keeps others out" } else { "has expired" };
    format!(
        "lock {} for phase {}: {} on {}, since {}, last heard of {heard} ago, {state}",
        lock.id,
        lock.phase,
        lock.holder,
        lock.place,
        moment(lock.since)
    )
}

/// The lock, if there is one.
pub(crate) struct Held<'a>(pub(crate) &'a LockAnswer);

impl Show for Held<'_> {
    fn body(&self) -> Value {
        value(self.0)
    }

    fn lines(&self, _: bool) -> Vec<String> {
        self.0.lock.iter().map(lock_line).collect()
    }

    fn names(&self) -> Vec<String> {
        self.0.lock.iter().map(|lock| lock.id.to_string()).collect()
    }

    fn cases(&self) -> (String, Vec<Case>) {
        let case = |lock: &LockBody| Case { name: lock.phase.clone(), grade: Verdict::Pending, text: lock_line(lock) };
        ("lock".to_owned(), self.0.lock.iter().map(case).collect())
    }

    fn tests(&self) -> (String, Vec<Case>) {
        passed(self.cases())
    }

    fn sum(&self) -> Option<String> {
        self.0.lock.is_none().then(|| "nobody holds the lock".to_owned())
    }

    fn outputs(&self) -> Vec<(&'static str, String)> {
        self.0.lock.iter().map(|lock| ("lock", lock.id.to_string())).collect()
    }
}
