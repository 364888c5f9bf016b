//! PURE. What a Migration's status says.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::Conditions;
use crate::api::types::{PhaseBody, StatusBody};
use crate::gate::Verdict;
use crate::state::PhaseState;

/// Longest message of a condition, in characters.
const MAX_MESSAGE: usize = 1000;

/// What is to be said, without times.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Standing {
    conditions: Vec<Condition>,
    /// The columns of `kubectl get`.
    columns: Map<String, Value>,
}

#[derive(Debug, Clone, PartialEq)]
struct Condition {
    kind: String,
    status: &'static str,
    reason: String,
    message: String,
}

/// What makes a write urgent: everything but words.
pub(super) type Edge = Vec<(String, &'static str, String)>;

/// What is to be said of an evaluation.
pub(super) fn standing(body: &StatusBody) -> Standing {
    let names: Vec<String> = body.phases.iter().map(|phase| phase.name.clone()).collect();
    let mut conditions: Vec<Condition> =
        body.phases.iter().zip(titles(&names)).flat_map(|(phase, title)| of_phase(phase, &title)).collect();
    let regressed: Vec<&str> = body.phases.iter().filter(|phase| !phase.regressed.is_empty()).map(|phase| &*phase.name).collect();
    conditions.push(if regressed.is_empty() {
        Condition::new("Regressed", "False", "NoRegression", "no complete phase has regressed")
    } else {
        Condition::new("Regressed", "True", "Regression", &format!("regressed: {}", regressed.join(", ")))
    });
    conditions.push(accepted(body.config_error.as_deref()));
    let mut columns = Map::new();
    columns.insert("configHash".to_owned(), body.config_hash.clone().into());
    let shown = body.phases.iter().find(|phase| phase.state != PhaseState::Complete).or(body.phases.last());
    if let Some(phase) = shown {
        columns.insert("phase".to_owned(), phase.name.clone().into());
        columns.insert("phaseState".to_owned(), phase.state.as_str().into());
        columns.insert("verdict".to_owned(), phase.verdict.as_str().into());
        columns.insert("reason".to_owned(), clipped(&phase.reason).into());
    }
    columns.insert("next".to_owned(), clipped(&body.next_step).into());
    Standing { conditions, columns }
}

/// What is to be said of these phases before there is an evaluation.
pub(super) fn starting(phases: &[String], config_error: Option<&str>) -> Standing {
    without_answer(phases, "Starting", "the verifier has not seen everything yet", accepted(config_error))
}

/// What is to be said of these phases when nobody looks any more.
pub(super) fn stopped(phases: &[String]) -> Standing {
    let (reason, message) = ("VerifierStopped", "the verifier has been stopped");
    without_answer(phases, reason, message, Condition::new("Accepted", "Unknown", reason, message))
}

fn without_answer(phases: &[String], reason: &str, message: &str, accepted: Condition) -> Standing {
    let unknown = |kind: String| Condition::new(&kind, "Unknown", reason, message);
    let of_phases = titles(phases).into_iter().flat_map(|title| [format!("{title}GateOpen"), format!("{title}Complete")]);
    let mut conditions: Vec<Condition> = of_phases.chain(["Regressed".to_owned()]).map(unknown).collect();
    conditions.push(accepted);
    let columns = [("verdict", "unknown"), ("reason", message)].map(|(key, text)| (key.to_owned(), Value::from(text)));
    Standing { conditions, columns: columns.into_iter().collect() }
}

fn of_phase(phase: &PhaseBody, title: &str) -> [Condition; 2] {
    let first = phase.blockers.first().map(|blocker| pascal(&blocker.reason));
    let (status, otherwise) = match phase.verdict {
        Verdict::Open => ("True", "Open"),
        Verdict::Closed => ("False", "Closed"),
        Verdict::Pending => ("False", "Pending"),
        Verdict::Unknown => ("Unknown", "Unknown"),
    };
    let reason = first.unwrap_or_else(|| otherwise.to_owned());
    let gate = Condition::new(&format!("{title}GateOpen"), status, &reason, &phase.reason);
    let state = phase.state.as_str();
    let complete = if phase.state == PhaseState::Complete { "True" } else { "False" };
    [gate, Condition::new(&format!("{title}Complete"), complete, &pascal(state), &format!("phase {} is {state}", phase.name))]
}

fn accepted(error: Option<&str>) -> Condition {
    match error {
        None => Condition::new("Accepted", "True", "Accepted", "the document is in force"),
        Some(why) => Condition::new("Accepted", "False", "Refused", why),
    }
}

impl Condition {
    fn new(kind: &str, status: &'static str, reason: &str, message: &str) -> Self {
        Self { kind: kind.to_owned(), status, reason: reason.to_owned(), message: clipped(message) }
    }
}

impl Standing {
    /// Everything but words.
    pub(super) fn edge(&self) -> Edge {
        self.conditions.iter().map(|one| (one.kind.clone(), one.status, one.reason.clone())).collect()
    }

    /// The whole status. A condition that has the status it had keeps the time of its last change.
    pub(super) fn status(&self, before: &Conditions, generation: i64, verifier: &str, now: &str) -> Value {
        let conditions: Vec<Value> =
            self.conditions.iter().map(|one| one.value(before.get(&one.kind), generation, now)).collect();
        let mut status = Map::new();
        // A merge forgets nothing that is not named.
        for key in ["configHash", "phase", "phaseState", "verdict", "reason", "next"] {
            if let Some(value) = self.columns.get(key) {
                status.insert(key.to_owned(), value.clone());
            }
        }
        status.insert("conditions".to_owned(), conditions.into());
        status.insert("observedGeneration".to_owned(), generation.into());
        status.insert("verifier".to_owned(), verifier.into());
        Value::Object(status)
    }
}

impl Condition {
    fn value(&self, before: Option<&Value>, generation: i64, now: &str) -> Value {
        let since = before.filter(|before| before.get("status").is_some_and(|status| status == self.status));
        let since = since.and_then(|before| before.get("lastTransitionTime")).cloned().unwrap_or_else(|| now.into());
        json!({
            "type": self.kind,
            "status": self.status,
            "reason": self.reason,
            "message": self.message,
            "lastTransitionTime": since,
            "observedGeneration": generation,
        })
    }
}

/// The conditions of a status, by type.
pub(super) fn by_type(status: Option<&Value>) -> Conditions {
    let list = status.and_then(|status| status.get("conditions")).and_then(Value::as_array);
    let named = |one: &Value| Some((one.get("type")?.as_str()?.to_owned(), one.clone()));
    list.into_iter().flatten().filter_map(named).collect()
}

/// Whether two statuses say the same but for words.
pub(super) fn same(one: &Value, other: &Value) -> bool {
    let heart = |status: &Value| {
        let parts = |condition: &Value| ["status", "reason", "observedGeneration"].map(|key| condition.get(key).cloned());
        let conditions: Vec<_> = by_type(Some(status)).iter().map(|(kind, condition)| (kind.clone(), parts(condition))).collect();
        let columns = ["observedGeneration", "configHash", "verifier", "phase", "phaseState", "verdict"];
        (conditions, columns.map(|key| status.get(key).cloned()))
    };
    heart(one) == heart(other)
}

/// The names of phases as conditions spell them, no two of which are the same in upper and lower case.
fn titles(phases: &[String]) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let title = |(at, name): (usize, &String)| {
        let title = pascal(name);
        if taken.insert(title.to_lowercase()) { title } else { format!("{title}{}", at.saturating_add(1)) }
    };
    phases.iter().enumerate().map(title).collect()
}

/// `a_reason` or `a-name` as `AReason`.
fn pascal(text: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    };
    text.split(['_', '-']).map(capital).collect()
}

fn clipped(text: &str) -> String {
    text.chars().take(MAX_MESSAGE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn conditions_are_named_after_their_phases_and_no_two_alike() {
        assert_eq!(
            titles(&names(&["loki", "log-store", "logstore", "a-b", "ab"])),
            ["Loki", "LogStore", "Logstore3", "AB", "Ab5"]
        );
        assert_eq!(pascal("store_unreachable"), "StoreUnreachable");
    }

    #[test]
    fn nothing_is_known_at_the_start_and_at_the_end() {
        let standing = starting(&names(&["loki"]), None);
        let status = standing.status(&Conditions::new(), 3, "me", "2026-01-01T00:00:00Z");
        let conditions = by_type(Some(&status));
        for kind in ["LokiGateOpen", "LokiComplete", "Regressed"] {
            assert_eq!((&conditions[kind]["status"], &conditions[kind]["observedGeneration"]), (&"Unknown".into(), &3.into()));
        }
        assert_eq!(conditions["Accepted"]["status"], "True");
        assert_eq!(status["observedGeneration"], 3);
        let status = stopped(&names(&["loki"])).status(&Conditions::new(), 3, "me", "2026-01-01T00:00:00Z");
        assert!(by_type(Some(&status)).values().all(|condition| condition["status"] == "Unknown"), "{status}");
    }

    #[test]
    fn a_condition_keeps_the_time_of_its_change_and_another_generation_is_another_status() {
        let standing = starting(&names(&["loki"]), None);
        let first = standing.status(&Conditions::new(), 3, "me", "2026-01-01T00:00:00Z");
        let second = standing.status(&by_type(Some(&first)), 4, "me", "2026-01-01T00:01:00Z");
        assert_eq!(by_type(Some(&second))["LokiGateOpen"]["lastTransitionTime"], "2026-01-01T00:00:00Z");
        assert!(!same(&first, &second) && same(&first, &first));
        let mut forged = first.clone();
        forged["conditions"][0]["status"] = "True".into();
        assert!(!same(&first, &forged));
        let third = standing.status(&by_type(Some(&forged)), 3, "me", "2026-01-01T00:02:00Z");
        assert_eq!(by_type(Some(&third))["LokiGateOpen"]["lastTransitionTime"], "2026-01-01T00:02:00Z");
    }
}
