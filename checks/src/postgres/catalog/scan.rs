//! How far a comparison has come.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;
use crate::proof::Away;

use super::ask::Digest;
use super::compare::{Kind, Sight, clipped, name};
use super::part::Part;

/// How many of what differs are looked at once more, and are named; the others are counted.
const KEEP: usize = 40;
/// How many of one kind there are among them, if there are more of all.
const OF_A_KIND: usize = KEEP / 4;
/// How long their names may be together, in bytes.
const ROOM: usize = 12 * 1024;
/// Longest words about one of them, in characters.
const MAX_WORDS: usize = 300;

/// A comparison that is under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scan {
    /// The two databases: with others all begins anew.
    pub(super) identities: BTreeMap<String, String>,
    /// Parts that are finished.
    pub(super) done: BTreeMap<Part, Finished>,
    /// The part that is being looked at, once its digests differ.
    pub(super) walk: Option<Walk>,
    #[serde(default)]
    away: Away,
}

/// A part that is finished.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Finished {
    pub(super) outcome: Outcome,
    pub(super) counts: Counts,
}

/// How many things are there, missing, changed, too much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// On the old side.
    pub(super) total: u64,
    pub(super) missing: u64,
    pub(super) changed: u64,
    pub(super) extra: u64,
    /// Those of the extra ones that do harm.
    pub(super) harmful: u64,
    /// Left out because the document says so, on both sides together.
    pub(super) excepted: u64,
}

/// The way through the buckets of one part.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Walk {
    /// Into how many buckets names are divided.
    pub(super) buckets: u32,
    /// Those that differ and were not looked into, with how many things are in each.
    pub(super) left: Vec<(u32, u64)>,
    pub(super) counts: Counts,
    /// Some of what differs.
    kept: Vec<(Kind, String)>,
}

impl Scan {
    pub(super) fn begin(identities: BTreeMap<String, String>) -> Self {
        Self { identities, done: BTreeMap::new(), walk: None, away: Away::default() }
    }

    /// Begins anew: what was seen before a long silence is not known to be so after it.
    pub(super) fn start_over(&mut self) {
        *self = Self { away: self.away, ..Self::begin(self.identities.clone()) };
    }

    /// The part that is to be looked at.
    pub(super) fn part(&self, parts: &BTreeSet<Part>) -> Option<Part> {
        parts.iter().copied().find(|part| !self.done.contains_key(part))
    }

    /// A part is finished.
    pub(super) fn finish(&mut self, part: Part, outcome: Outcome, counts: Counts) {
        self.done.insert(part, Finished { outcome, counts });
        self.walk = None;
    }

    pub(super) fn answered(&mut self) {
        self.away.answered();
    }

    /// There was no answer. Whether that is still to be waited out, as a restart is.
    pub(super) fn waits_out(&mut self, now: DateTime<Utc>) -> bool {
        self.away.waits_out(now)
    }
}

impl Counts {
    /// As digests tell it.
    pub(super) fn of(old: &Digest, new: &Digest) -> Self {
        Self { total: old.things, excepted: old.excepted.saturating_add(new.excepted), ..Self::default() }
    }
}

impl Walk {
    /// The way through these.
    pub(super) fn of(buckets: u32, left: Vec<(u32, u64)>, counts: Counts) -> Self {
        Self { buckets, left, counts, kept: Vec::new() }
    }

    /// The next buckets, with at most so many things, one bucket at least.
    pub(super) fn next(&mut self, most: u64) -> Vec<u32> {
        let (mut these, mut things) = (Vec::new(), 0_u64);
        while let Some((bucket, count)) = self.left.last().copied() {
            things = things.saturating_add(count);
            if !these.is_empty() && things > most {
                break;
            }
            these.push(bucket);
            self.left.pop();
        }
        these
    }

    /// Counts what differs in them.
    pub(super) fn add(&mut self, differing: Vec<(Kind, String)>) {
        for (kind, name) in differing {
            let Counts { missing, changed, extra, harmful, .. } = &mut self.counts;
            let counts: &mut [&mut u64] = match kind {
                Kind::Missing => &mut [missing],
                Kind::Changed => &mut [changed],
                Kind::Harmful => &mut [extra, harmful],
                Kind::Extra => &mut [extra],
            };
            for count in counts {
                **count = count.saturating_add(1);
            }
            self.keep(kind, name);
        }
    }

    /// Any, as long as there is room; then as many of a kind as were promised to it.
    fn keep(&mut self, kind: Kind, name: String) {
        let used: usize = self.kept.iter().map(|(_, name)| name.len()).sum();
        if used.saturating_add(name.len()) > ROOM {
            return;
        }
        if self.kept.len() < KEEP {
            self.kept.push((kind, name));
            return;
        }
        let of = |kept: &[(Kind, String)], kind: Kind| kept.iter().filter(|(other, _)| *other == kind).count();
        if of(&self.kept, kind) >= OF_A_KIND {
            return;
        }
        let common = Kind::ALL.into_iter().max_by_key(|kind| of(&self.kept, *kind));
        if let Some(last) = self.kept.iter().rposition(|(other, _)| Some(*other) == common) {
            self.kept.remove(last);
            self.kept.push((kind, name));
        }
    }

    /// The names that are looked at once more.
    pub(super) fn again(&self) -> BTreeSet<String> {
        self.kept.iter().map(|(_, name)| name.clone()).collect()
    }

    /// Whether these are all that differ.
    fn keeps_all(&self) -> bool {
        let Counts { missing, changed, extra, .. } = self.counts;
        u64::try_from(self.kept.len()).is_ok_and(|kept| kept == missing.saturating_add(changed).saturating_add(extra))
    }
}

/// What the second look has found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) counts: Counts,
    pub(super) missing: Vec<String>,
    pub(super) changed: Vec<String>,
    pub(super) harmful: Vec<String>,
    pub(super) extra: Vec<String>,
    pub(super) noted: Vec<String>,
}

impl Found {
    /// What is left of a walk's findings after the second look. If that was at all of them, it alone counts: somebody may have changed
    /// one side between the two looks.
    pub(super) fn of(walk: &Walk, sights: Vec<(String, Sight)>) -> Self {
        let mut found = Self::default();
        for (key, sight) in sights {
            let label = name(&key);
            match sight {
                Sight::Same(None) => {}
                Sight::Same(Some(words)) => found.noted.push(clipped(&format!("{label}: {words}"), MAX_WORDS)),
                Sight::Missing => found.missing.push(label),
                Sight::Changed(words) => found.changed.push(clipped(&format!("{label}: {words}"), MAX_WORDS)),
                Sight::Extra(true) => found.harmful.push(label),
                Sight::Extra(false) => found.extra.push(label),
            }
        }
        let size = |list: &[String]| u64::try_from(list.len()).unwrap_or(u64::MAX);
        found.counts = walk.counts;
        if walk.keeps_all() {
            found.counts.harmful = size(&found.harmful);
            found.counts.missing = size(&found.missing);
            found.counts.changed = size(&found.changed);
            found.counts.extra = size(&found.harmful).saturating_add(size(&found.extra));
        }
        found
    }
}
