//! How far the look at the sequences has come, and what it has found.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::outcome::{Outcome, PartId};
use crate::postgres::NO_PERMISSION;
use crate::postgres::slices::{Blocks, Found};
use crate::proof::Away;

use super::columns::{Column, Key, Slice};
use super::sequence::{Sequence, plain, share};
use super::{BEHIND, COLLIDES, EXHAUSTED, MISSING, NOTHING, TOO_SLOW, TURNED};

/// From how many percent on a range is nearly used up.
const NEARLY: u8 = 80;
/// Ignored sequences that are told by name.
const NAMED: usize = 5;

/// One look at all of them, over as many Runs as it takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Scan {
    pub(super) begun: DateTime<Utc>,
    /// Of which servers.
    pub(super) identities: BTreeMap<String, String>,
    pub(super) stage: Stage,
    pub(super) away: Away,
    pub(super) blocks: Blocks,
    pub(super) slice: Slice,
    pub(super) done: u64,
    pub(super) total: u64,
    pub(super) tally: Tally,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Stage {
    /// The sequences of both sides, after this name.
    Values(String),
    /// The columns of the new side, after this one.
    Columns(Key),
    /// Nothing.
    End,
}

/// What was found so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    pub(super) old: u64,
    pub(super) columns: u64,
    pub(super) most_used: u8,
    pub(super) missing: Found,
    pub(super) behind: Found,
    pub(super) turned: Found,
    pub(super) hidden: Found,
    pub(super) collides: Found,
    pub(super) closed: Found,
    pub(super) slow: Found,
    pub(super) exhausted: Found,
    /// What is told without being a failure.
    nearly: Found,
    apart: Found,
    ignored: BTreeSet<String>,
}

impl Scan {
    pub(super) fn begin(now: DateTime<Utc>, identities: BTreeMap<String, String>) -> Self {
        Self {
            begun: now,
            identities,
            stage: Stage::Values(String::new()),
            away: Away::default(),
            blocks: Blocks::default(),
            slice: Slice::default(),
            done: 0,
            total: 0,
            tally: Tally::default(),
        }
    }
}

/// A side's words: where it is, and who looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) place: &'a str,
    pub(super) role: &'a str,
}

impl Tally {
    /// A sequence that is not to be looked at.
    pub(super) fn ignores(&mut self, name: &str, ignore: &BTreeSet<String>) -> bool {
        let ignored = ignore.contains(name) || ignore.contains(&plain(name));
        if ignored && self.ignored.len() < NAMED {
            self.ignored.insert(plain(name));
        }
        ignored
    }

    /// A sequence of the old side, and the new side's of the same name.
    pub(super) fn compare(&mut self, old: &Sequence, new: Option<&Sequence>) {
        self.old = self.old.saturating_add(1);
        let name = plain(&old.name);
        let Some(new) = new else {
            self.missing.add(&name);
            return;
        };
        if old.is_up() != new.is_up() {
            let way = |sequence: &Sequence| if sequence.is_up() { "up" } else { "down" };
            self.turned.add(&format!("{name} counts {}, on old {}", way(new), way(old)));
        } else if new.is_behind(old) == Some(true) {
            let next = |sequence: &Sequence| sequence.next.unwrap_or_default();
            self.behind.add(&format!("{name} gives out {} next, on old {}", next(new), next(old)));
        }
    }

    /// One that the role may not read.
    pub(super) fn conceals(&mut self, sequence: &Sequence, at: Place<'_>) {
        if !sequence.readable {
            let name = plain(&sequence.name);
            self.hidden.add(&format!("{}: {name}; run {}", at.place, sequence.grants(at.role)));
        }
    }

    /// How much a sequence of the new side has left by its own bounds.
    pub(super) fn headroom(&mut self, new: &Sequence) {
        let Some(used) = new.used().filter(|_| !new.cycles) else { return };
        let name = plain(&new.name);
        if new.is_exhausted() {
            self.most_used = 100;
            self.exhausted.add(&format!("{name} ends at {}", if new.is_up() { new.most } else { new.least }));
            return;
        }
        self.is_used(used, &name);
    }

    fn is_used(&mut self, used: u8, what: &str) {
        self.most_used = self.most_used.max(used);
        if used >= NEARLY {
            self.nearly.add(&format!("{what} has used {used} %"));
        }
    }

    /// How much of a column's own type is left, if that ends before the sequence does.
    pub(super) fn narrows(&mut self, column: &Column) {
        let Some((next, limit)) = column.sequence.next.zip(column.limit()).filter(|_| column.plain && !column.sequence.cycles)
        else {
            return;
        };
        let (next, limit) = if limit < 0 { (-next, -i128::from(limit)) } else { (next, i128::from(limit)) };
        let what = format!("{} ({})", column.label(), column.kind);
        if next > limit {
            self.most_used = 100;
            self.exhausted.add(&format!("{what} ends at {}", column.limit().unwrap_or_default()));
        } else {
            self.is_used(share(next - 1, limit), &what);
        }
    }

    /// A column that is not compared with its sequence, and why not.
    pub(super) fn sets_apart(&mut self, column: &Column) -> bool {
        let why = if column.sequence.cycles {
            "its sequence goes round"
        } else if !column.is_comparable() {
            "its values are not the sequence's own"
        } else {
            return false;
        };
        self.apart.add(&format!("{}: {why}", column.label()));
        true
    }

    /// A column whose extreme is known.
    pub(super) fn reaches(&mut self, column: &Column, extreme: Option<i64>) {
        self.columns = self.columns.saturating_add(1);
        let Some((next, extreme)) = column.sequence.next.zip(extreme.map(i128::from)) else { return };
        let beyond = if column.sequence.is_up() { next > extreme } else { next < extreme };
        if !beyond {
            let name = plain(&column.sequence.name);
            self.collides.add(&format!("{name} gives out {next} next, and {} has {extreme}", column.label()));
        }
    }

    /// What is left out because the document says so.
    fn but_ignored(&self) -> String {
        let names: Vec<&str> = self.ignored.iter().map(String::as_str).collect();
        if names.is_empty() { String::new() } else { format!("; ignored: {}", names.join(", ")) }
    }

    /// The parts of a look that came to its end, and those that are known to be wrong of one that did not.
    pub(super) fn parts(&self, new: &str, trouble: Option<&Outcome>) -> BTreeMap<PartId, Outcome> {
        let unknown = || trouble.cloned();
        let hidden = || self.hidden.because(NO_PERMISSION, "sequences that can not be read");
        let none =
            || (self.old == 0).then(|| NOTHING.because(format!("the old side of {new} has no sequence{}", self.but_ignored())));
        let missing = self.missing.because(MISSING, new).or_else(unknown).or_else(none);
        let values = self.behind.because(BEHIND, new).or_else(|| self.turned.because(TURNED, new));
        let values = values.or_else(unknown).or_else(hidden);
        let columns = self.collides.because(COLLIDES, new).or_else(unknown).or_else(hidden);
        let columns = columns.or_else(|| self.closed.because(NO_PERMISSION, "columns that can not be read"));
        let columns = columns.or_else(|| self.slow.because(TOO_SLOW, new));
        let headroom = self.exhausted.because(EXHAUSTED, new).or_else(unknown).or_else(hidden);
        let part = |name: &str, wrong: Option<Outcome>, right: String| {
            (PartId::new(name), wrong.unwrap_or_else(|| Outcome::pass(format!("{new}: {right}"))))
        };
        let (old, ignored) = (self.old, self.but_ignored());
        BTreeMap::from([
            part("missing", missing, format!("all {old} sequences of old are there{ignored}")),
            part("values", values, format!("none of {old} sequences would give out again what old has given out{ignored}")),
            part(
                "columns",
                columns,
                format!("each sequence is beyond the {} columns that draw from it{}", self.columns, self.besides()),
            ),
            part("headroom", headroom, format!("the most used range is used by {} %{}", self.most_used, self.warning())),
        ])
    }

    fn besides(&self) -> String {
        if self.apart.is_none() { String::new() } else { format!("; not compared: {}", self.apart.in_words()) }
    }

    fn warning(&self) -> String {
        if self.nearly.is_none() { String::new() } else { format!("; warning: {}", self.nearly.in_words()) }
    }
}
