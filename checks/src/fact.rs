//! Facts: recorded, immutable references that checks compare with, like the mark of a baseline.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;

use crate::check::Context;
use crate::outcome::{Outcome, ReasonSpec};

/// The fact was never recorded.
pub(crate) const FACT_MISSING: ReasonSpec =
    ReasonSpec::unknown("fact_missing", "record the fact that the evidence names: nothing can be compared with before");
/// The fact is of another kind.
pub(crate) const FACT_UNREADABLE: ReasonSpec = ReasonSpec::unknown(
    "fact_unreadable",
    "name another fact in the document, or record it anew: what is recorded under that name is of another kind",
);
/// What can be wrong with a fact.
pub(crate) const FACT: &[ReasonSpec] = &[FACT_MISSING, FACT_UNREADABLE];

/// A recorded fact.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// When it was recorded.
    pub at: DateTime<Utc>,
    /// What it says.
    pub value: serde_json::Value,
}

/// Recorded facts, by name.
pub type Facts = BTreeMap<String, Fact>;

/// What the name of a fact is known by among the identities that a proof has read: another edition of it makes the proof void.
pub const FACT_READ: &str = "fact ";

/// Which edition of the fact `name` goes by the name `recorded`: the first is `name` itself, later ones are `name.2`, `name.3`. A
/// fact never changes, so that what was measured anew is an edition of its own, and the newest counts.
pub fn edition(name: &str, recorded: &str) -> Option<u32> {
    match recorded.strip_prefix(name)? {
        "" => Some(1),
        rest => {
            let number = rest.strip_prefix('.').filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))?;
            number.parse().ok().filter(|number| *number > 1 && !rest.starts_with(".0"))
        }
    }
}

/// The newest edition of this fact.
pub fn newest<'a>(name: &str, recorded: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    recorded.filter_map(|one| Some((edition(name, one)?, one))).max().map(|(_, one)| one)
}

impl Context {
    /// What the newest edition of this fact says, and the name of that edition.
    pub(crate) fn fact<T: DeserializeOwned>(&self, name: &str) -> Result<(&str, T), Outcome> {
        let missing = || FACT_MISSING.because(format!("no fact `{name}` is recorded"));
        let edition = newest(name, self.facts.keys().map(String::as_str)).ok_or_else(missing)?;
        let fact = self.facts.get(edition).ok_or_else(missing)?;
        let value = T::deserialize(&fact.value);
        value.map(|value| (edition, value)).map_err(|error| FACT_UNREADABLE.because(format!("fact `{edition}`: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_edition_counts_by_its_number() {
        let recorded = ["mark", "mark.10", "mark.2", "mark.x", "mark.02", "mark.1", "marks", "other.11", "mark.2.3"];
        assert_eq!(newest("mark", recorded.into_iter()), Some("mark.10"));
        assert_eq!(newest("other", recorded.into_iter()), Some("other.11"));
        assert_eq!(newest("none", recorded.into_iter()), None);
        assert_eq!(recorded.map(|name| edition("mark", name)), [Some(1), Some(10), Some(2), None, None, None, None, None, None]);
    }
}
