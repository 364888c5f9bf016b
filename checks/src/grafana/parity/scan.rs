//! How far a comparison has come.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;
use crate::proof::Away;

use super::section::Section;
use super::thing::{Things, clipped};

/// How many of what differs are kept with their words; the others are counted.
const KEEP: usize = 20;
/// Longest words of one of them, in characters.
const MAX_WORDS: usize = 160;
/// Longest name that is kept so that it can be looked at again.
const MAX_KEY: usize = 200;

/// A comparison that is under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scan {
    #[serde(with = "chrono::serde::ts_milliseconds")]
    pub(super) begun: DateTime<Utc>,
    /// The versions of the two, if they say them.
    pub(super) versions: Option<(String, String)>,
    /// Parts that are finished.
    pub(super) done: BTreeMap<String, Finished>,
    /// The section that is being looked at.
    pub(super) walk: Walk,
    /// How many dashboards the old side has.
    pub(super) dashboards: u64,
    #[serde(default)]
    away: Away,
}

/// A part that is finished.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Finished {
    pub(super) outcome: Outcome,
    pub(super) counts: Counts,
}

/// How many things are missing, changed, too much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(super) missing: u64,
    pub(super) changed: u64,
    pub(super) extra: u64,
}

/// How far one section has come whose things are asked for one by one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Walk {
    /// The last thing that was compared.
    cursor: Option<String>,
    /// What differed, and is still to be looked at once more.
    again: Option<Vec<String>>,
    /// How many were compared, how many panels they have, and how many datasources they refer to.
    pub(super) compared: u64,
    pub(super) panels: u64,
    pub(super) references: u64,
    /// Of the names of all that were compared, in whatever order.
    digest: u64,
    pub(super) changed: Kept,
    pub(super) unresolved: Kept,
    /// Whether things appeared or vanished meanwhile, so that all was looked at anew.
    pub(super) anew: bool,
    /// Times in which annotations are still to be counted, and how many both sides had so far.
    pub(super) windows: Option<Vec<(i64, i64)>>,
    pub(super) counted: (u64, u64),
}

/// Some of what was found, all of it counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// How many.
    pub(super) count: u64,
    first: Vec<(String, String)>,
}

impl Kept {
    /// Something about the thing of this name.
    pub(super) fn add(&mut self, key: &str, words: &str) {
        self.count = self.count.saturating_add(1);
        if self.first.len() < KEEP && key.len() <= MAX_KEY {
            self.first.push((key.to_owned(), clipped(words, MAX_WORDS)));
        }
    }

    /// In words, as far as they are kept.
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        self.first.iter().map(|(_, words)| words.as_str())
    }

    /// The names, if all of them are kept.
    fn all(&self) -> Option<impl Iterator<Item = &String>> {
        let all = u64::try_from(self.first.len()).is_ok_and(|kept| kept == self.count);
        all.then(|| self.first.iter().map(|(key, _)| key))
    }
}

/// What is to be done next in a section.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// To compare this one.
    Compare(String),
    /// To see whether everything that is there was compared.
    Close,
}

impl Scan {
    pub(super) fn begin(now: DateTime<Utc>) -> Self {
        Self { begun: now, versions: None, done: BTreeMap::new(), walk: Walk::default(), dashboards: 0, away: Away::default() }
    }

    /// Begins anew: what was seen before a long silence is not known to be so after it.
    pub(super) fn start_over(&mut self, now: DateTime<Utc>) {
        *self = Self { away: self.away, ..Self::begin(now) };
    }

    /// The section that is to be looked at.
    pub(super) fn section(&self, sections: &BTreeSet<Section>) -> Option<Section> {
        sections.iter().copied().find(|section| !self.done.contains_key(section.part()))
    }

    /// A part is finished.
    pub(super) fn finish(&mut self, part: &str, outcome: Outcome, counts: Counts) {
        self.done.insert(part.to_owned(), Finished { outcome, counts });
        self.walk = Walk::default();
    }

    /// All parts of a section end alike.
    pub(super) fn end(&mut self, section: Section, outcome: &Outcome) {
        for part in section.parts() {
            self.finish(part, outcome.clone(), Counts::default());
        }
    }

    pub(super) fn answered(&mut self) {
        self.away.answered();
    }

    /// There was no answer. Whether that is still to be waited out, as a restart is.
    pub(super) fn waits_out(&mut self, now: DateTime<Utc>) -> bool {
        self.away.waits_out(now)
    }
}

impl Walk {
    /// Once more from the beginning.
    pub(super) fn anew() -> Self {
        Self { anew: true, ..Self::default() }
    }

    /// The next thing that both sides have. What differed is looked at once more: somebody may have saved it on one side between
    /// the two looks.
    pub(super) fn next(&mut self, old: &Things, new: &Things) -> Next {
        if self.again.is_none() {
            let after = self.cursor.as_deref().unwrap_or_default();
            let next = old.range::<str, _>((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded));
            if let Some((key, _)) = next.into_iter().find(|(key, _)| new.contains_key(*key)) {
                return Next::Compare(key.clone());
            }
            let differing: Option<BTreeSet<String>> = self
                .changed
                .all()
                .zip(self.unresolved.all())
                .map(|(changed, unresolved)| changed.chain(unresolved).cloned().collect());
            if let Some(differing) = differing {
                (self.changed, self.unresolved) = (Kept::default(), Kept::default());
                self.again = Some(differing.into_iter().collect());
            }
        }
        self.again.as_mut().and_then(Vec::pop).map_or(Next::Close, Next::Compare)
    }

    /// Whether it is looked at for the second time.
    pub(super) fn is_second_look(&self) -> bool {
        self.again.is_some()
    }

    /// A thing was compared, or is gone on one of the sides.
    pub(super) fn passed(&mut self, key: &str, compared: bool) {
        if self.is_second_look() {
            return;
        }
        self.cursor = Some(key.to_owned());
        if compared {
            self.compared = self.compared.saturating_add(1);
            self.digest ^= hash(key);
        }
    }

    /// Whether what was compared is what both sides have now.
    pub(super) fn is_of(&self, old: &Things, new: &Things) -> bool {
        let both = old.keys().filter(|key| new.contains_key(*key));
        both.fold(0, |digest, key| digest ^ hash(key)) == self.digest
    }
}

fn hash(key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}
