//! PURE. Facts: recorded once, never changed; what was measured anew is another edition, and voids what was proven with an older one.

use super::{Desk, MAX_RECORDS, conflict, invalid};
use crate::event::{Event, Refusal, Run};
use crate::state::State;

/// Largest fact, in bytes of JSON.
const MAX_FACT: usize = 192 * 1024;

pub(super) fn record(desk: &Desk<'_>, name: &str, value: &serde_json::Value) -> Result<Vec<Event>, Refusal> {
    let named = !name.is_empty() && name.len() <= 63 && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if !named {
        return Err(invalid("a fact's name is 1 to 63 letters, digits, `-`, `_` or `.`"));
    }
    if value.to_string().len() > MAX_FACT {
        return Err(invalid(format!("a fact is at most {MAX_FACT} bytes of JSON")));
    }
    match desk.state.durable.facts.get(name) {
        Some(fact) if fact.value == *value => Ok(Vec::new()),
        Some(_) => Err(conflict(format!("fact `{name}` is recorded with another content, and facts are immutable"))),
        None if desk.state.durable.facts.len() >= MAX_RECORDS => Err(conflict("too many facts are recorded")),
        None => {
            let recorded = Event::FactRecorded { name: name.to_owned(), stamp: desk.stamp.clone(), value: value.clone() };
            Ok([recorded].into_iter().chain(outdated_by(desk, name)).collect())
        }
    }
}

/// Proofs, finished or not, that have read an older edition of this fact; but what is sealed stays as it is.
fn outdated_by(desk: &Desk<'_>, name: &str) -> impl Iterator<Item = Event> {
    desk.plan.probes().filter(|(_, probe)| probe.is_proof()).filter_map(move |(_, probe)| {
        let finished = desk.state.durable.proofs.get(&probe.name);
        if finished.is_some_and(|proof| proof.sealed) {
            return None;
        }
        let read = finished.map(|proof| &proof.identities).into_iter().chain(desk.state.soft.reading.get(&probe.name));
        let (target, was) = read.flatten().find(|(target, was)| is_newer(target, was, name))?;
        let (target, was, is) = (target.clone(), was.clone(), name.to_owned());
        Some(Event::AnotherServer { probe: probe.name.clone(), at: desk.now, target, was, is })
    })
}

/// Whether what is recorded by this name is a newer edition of what was read of a fact.
fn is_newer(target: &str, was: &str, recorded: &str) -> bool {
    let number = |name| target.strip_prefix(checks::FACT_READ).and_then(|fact| checks::edition(fact, name));
    number(was).zip(number(recorded)).is_some_and(|(was, is)| is > was)
}

/// Whether a newer edition of a fact that a Run has read was recorded while it was under way: it says nothing of what counts now.
pub(crate) fn outrun(state: &State, run: &Run) -> bool {
    let read = run.identities.iter().filter(|(target, _)| target.starts_with(checks::FACT_READ));
    read.into_iter().any(|(target, was)| state.durable.facts.keys().any(|recorded| is_newer(target, was, recorded)))
}
