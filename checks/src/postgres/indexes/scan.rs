//! How far the look into indexes and tables has come, and what it has found.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::outcome::{Outcome, PartId, Progress, ReasonSpec};
use crate::postgres::slices::{Blocks, Found};
use crate::proof::Away;

use super::amcheck::Depth;

/// An index does not hold what its table has.
pub(super) const CORRUPT_INDEX: ReasonSpec = ReasonSpec::fail(
    "corrupt_index",
    "rebuild the indexes that the evidence names (`REINDEX INDEX …`), all of them after another order of text (`REINDEX DATABASE`); see \
     first whether the table itself is sound",
);
/// A table is damaged.
pub(super) const CORRUPT_TABLE: ReasonSpec = ReasonSpec::fail(
    "corrupt_table",
    "restore the tables that the evidence names from the old server, which is still there, and look at the new one's disk before that",
);
/// Not all could be looked into.
pub(super) const NOT_CHECKED: ReasonSpec = ReasonSpec::unknown(
    "not_checked",
    "raise the probe's `timeout`: what the evidence names is not looked into within it; or rebuild it (`REINDEX`)",
);

/// One look at all of them, over as many Runs as it takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Scan {
    pub(super) begun: DateTime<Utc>,
    /// Of which server.
    pub(super) identity: String,
    pub(super) stage: Stage,
    pub(super) away: Away,
    pub(super) done: u64,
    pub(super) total: u64,
    pub(super) blocks: Blocks,
    pub(super) btree: Tally,
    pub(super) heap: Tally,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Stage {
    /// The indexes after this one; the next of them as closely as this.
    Indexes(u32, Depth),
    /// The tables after this one, the next of them from this block on.
    Tables(u32, u64),
    /// Nothing.
    End,
}

/// What was found of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    pub(super) checked: u64,
    pub(super) bytes: u64,
    pub(super) corrupt: Found,
    pub(super) unchecked: Found,
    /// Looked at less closely.
    pub(super) lightly: Found,
}

impl Scan {
    pub(super) fn begin(now: DateTime<Utc>, identity: String) -> Self {
        Self {
            begun: now,
            identity,
            stage: Stage::Indexes(0, Depth::Exact),
            away: Away::default(),
            done: 0,
            total: 0,
            blocks: Blocks::default(),
            btree: Tally::default(),
            heap: Tally::default(),
        }
    }

    /// For people.
    pub(super) fn progress(&self, trouble: Option<&Outcome>) -> Progress {
        let what = match self.stage {
            Stage::Indexes(..) => "indexes".to_owned(),
            Stage::Tables(_, 0) | Stage::End => "tables".to_owned(),
            Stage::Tables(_, block) => format!("tables, block {block}"),
        };
        let trouble = trouble
            .map_or_else(String::new, |outcome| format!("no answer, asked again with the next run: {}; ", outcome.evidence()));
        let note = format!("{trouble}{} of {}: {what}", self.done.min(self.total), self.total);
        Progress { done: self.done.min(self.total), total: self.total, note: note.into() }
    }

    /// What is known of those that the role may look into.
    pub(super) fn parts(&self, place: &str, looked: (bool, bool), trouble: Option<&Outcome>) -> BTreeMap<PartId, Outcome> {
        let mut parts = BTreeMap::new();
        let (btree, heap) = looked;
        if btree {
            let right = |tally: &Tally| format!("{} indexes are sound, and have each row of their table", tally.checked);
            let part = self.btree.outcome(place, CORRUPT_INDEX, right(&self.btree), trouble);
            parts.insert(PartId::new("btree"), part);
        }
        if heap {
            let right = format!("{} tables are sound, row by row", self.heap.checked);
            parts.insert(PartId::new("heap"), self.heap.outcome(place, CORRUPT_TABLE, right, trouble));
        }
        parts
    }
}

impl Tally {
    fn outcome(&self, place: &str, corrupt: ReasonSpec, right: String, trouble: Option<&Outcome>) -> Outcome {
        let wrong = self.corrupt.because(corrupt, place).or_else(|| trouble.cloned());
        wrong.or_else(|| self.unchecked.because(NOT_CHECKED, place)).unwrap_or_else(|| {
            let lightly = if self.lightly.is_none() {
                String::new()
            } else {
                format!("; by their structure alone, without looking for each row: {}", self.lightly.in_words())
            };
            Outcome::pass(format!("{place}: {right}, {} MiB{lightly}", self.bytes / (1024 * 1024)))
        })
    }
}
