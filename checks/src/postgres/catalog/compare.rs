//! Two sides' things beside each other: pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Longest value in evidence, in characters.
const MAX_VALUE: usize = 60;
/// Longest name in evidence, in characters.
const MAX_NAME: usize = 120;

/// What something is like, by aspect.
pub(super) type Facts = BTreeMap<String, String>;

/// Something that a database has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Thing {
    /// Whether it does harm where it was not before: it refuses, changes or allows something.
    pub(super) harm: bool,
    pub(super) facts: Facts,
}

/// What is different about a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// Only the old side has it.
    Missing,
    /// Both have it, and it is another.
    Changed,
    /// Only the new side has it, and it does harm.
    Harmful,
    /// Only the new side has it.
    Extra,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Missing, Self::Changed, Self::Harmful, Self::Extra];
}

/// By name: a digest of the definition, and whether the thing does harm where it was not before.
pub(super) type Marks = BTreeMap<String, (String, bool)>;

/// In what the things of some names differ, by their digests.
pub(super) fn differing(old: &Marks, new: &Marks) -> Vec<(Kind, String)> {
    let of_old = old.iter().filter_map(|(name, (mark, _))| match new.get(name) {
        None => Some((Kind::Missing, name.clone())),
        Some((other, _)) => (other != mark).then(|| (Kind::Changed, name.clone())),
    });
    let of_new = new.iter().filter(|(name, _)| !old.contains_key(*name));
    let extra = of_new.map(|(name, (_, harm))| (if *harm { Kind::Harmful } else { Kind::Extra }, name.clone()));
    of_old.chain(extra).collect()
}

/// What a second look at one thing shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// Nothing that matters; maybe something that is worth saying.
    Same(Option<String>),
    /// The new side does not have it.
    Missing,
    /// In what it is another.
    Changed(String),
    /// Only the new side has it; whether that does harm.
    Extra(bool),
}

/// Compares one thing, of which either side may have none.
pub(super) fn compare(old: Option<&Thing>, new: Option<&Thing>) -> Sight {
    let (old, new) = match (old, new) {
        (None, None) => return Sight::Same(None),
        (Some(_), None) => return Sight::Missing,
        (None, Some(new)) => return Sight::Extra(new.harm),
        (Some(old), Some(new)) => (old, new),
    };
    let (mut changed, mut noted) = (Vec::new(), Vec::new());
    let aspects = old.facts.keys().chain(new.facts.keys().filter(|aspect| !old.facts.contains_key(*aspect)));
    for aspect in aspects {
        let (was, is) = (old.facts.get(aspect), new.facts.get(aspect));
        if was == is && !aspect.starts_with("noted ") {
            continue;
        }
        if let Some(what) = aspect.strip_prefix("noted ") {
            noted.extend(is.map(|is| format!("{what} {}", value(is))));
        } else if aspect.ends_with(", or a newer one") && newer(was, is) || aspect.ends_with(", or more") && more(was, is) {
            noted.push(words(aspect.split(", or").next().unwrap_or_default(), was, is));
        } else {
            changed.push(words(aspect, was, is));
        }
    }
    if !changed.is_empty() {
        return Sight::Changed(changed.join("; "));
    }
    Sight::Same((!noted.is_empty()).then(|| noted.join("; ")))
}

/// `type integer → bigint`; of what is not shown only that it differs.
fn words(aspect: &str, was: Option<&String>, is: Option<&String>) -> String {
    let digest = |value: Option<&String>| value.is_some_and(|value| value.starts_with('#'));
    let aspect = aspect.split(", or").next().unwrap_or_default();
    match (was, is) {
        (Some(_), Some(_)) if digest(was) || digest(is) => format!("{aspect} differs"),
        (Some(_), None) if digest(was) => format!("{aspect} is gone"),
        (None, Some(_)) if digest(is) => format!("{aspect} added"),
        _ => {
            let shown = |value_of: Option<&String>| value_of.map_or_else(|| "none".to_owned(), |text| value(text));
            let name = if aspect == "value" { String::new() } else { format!("{aspect} ") };
            format!("{name}{} → {}", shown(was), shown(is))
        }
    }
}

/// Whether the second version is newer than the first, as far as both consist of numbers.
fn newer(was: Option<&String>, is: Option<&String>) -> bool {
    let numbers = |version: &String| version.split('.').map(str::parse).collect::<Result<Vec<u64>, _>>();
    let both = was.zip(is).map(|(was, is)| (numbers(was), numbers(is)));
    matches!(both, Some((Ok(was), Ok(is))) if is > was)
}

/// Whether the second number is the larger.
fn more(was: Option<&String>, is: Option<&String>) -> bool {
    let both = was.zip(is).map(|(was, is)| (was.parse::<u64>(), is.parse::<u64>()));
    matches!(both, Some((Ok(was), Ok(is))) if is > was)
}

fn value(text: &str) -> String {
    clipped(text, MAX_VALUE)
}

/// A name as evidence shows it.
pub(super) fn name(text: &str) -> String {
    clipped(text, MAX_NAME)
}

/// The beginning of a text, in characters, as one line.
pub(super) fn clipped(text: &str, most: usize) -> String {
    let mut short: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(most).collect();
    if text.chars().nth(most).is_some() {
        short.push('…');
    }
    short
}
