//! How far a comparison has come: which table is being read, how far on each side, and what was found so far.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::postgres::content::{Cursor, Piece, Sum, Table};
use crate::proof::Away;

use super::trace::{Side, Trace};
use crate::postgres::slices::Found;

/// What a comparison is about. With another of these it begins anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct About {
    /// The edition of the manifest.
    pub(super) manifest: Option<String>,
    /// The edition of the mark.
    pub(super) mark: String,
    pub(super) old: String,
    pub(super) new: String,
}

/// What is done in which order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Stage {
    /// Tables are compared.
    #[default]
    Tables,
    /// Large objects are.
    Objects,
    /// Rows that were left behind are looked for on the old side.
    Behind,
    /// There is nothing more to be done.
    Judge,
}

/// A comparison that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Scan {
    pub(super) about: About,
    #[serde(with = "chrono::serde::ts_milliseconds")]
    pub(super) begun: DateTime<Utc>,
    pub(super) stage: Stage,
    /// The last table that is done, by name; of large objects the number.
    pub(super) after: String,
    /// The one that is being read.
    pub(super) work: Option<Work>,
    pub(super) tally: Tally,
    /// Tables that differ.
    pub(super) different: Found,
    /// Tables that were written to on the new side, so that what came over can not be told any more.
    pub(super) too_late: Found,
    /// Tables that could not be read, and why.
    pub(super) unread: Found,
    /// How many differences were traced to their rows.
    pub(super) traced: u8,
    pub(super) objects: Objects,
    pub(super) behind: Found,
    pub(super) piece: Piece,
    #[serde(default)]
    pub(super) away: Away,
}

/// What was compared, and of what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    pub(super) tables: u64,
    pub(super) of_tables: u64,
    pub(super) pages: u64,
    pub(super) of_pages: u64,
    pub(super) rows: i64,
    /// Tables of which one row in so many was read.
    pub(super) sampled: u64,
    pub(super) excepted: u64,
    pub(super) unlogged: u64,
    /// Tables of the manifest that were come across.
    pub(super) listed: usize,
    pub(super) foreign: u64,
    pub(super) views: u64,
    /// One row in so many of large tables.
    pub(super) one_in: u32,
}

/// Large objects on both sides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Objects {
    pub(super) side: Side,
    pub(super) old: Sum,
    pub(super) new: Sum,
}

/// A table that is being read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Work {
    pub(super) table: String,
    pub(super) side: Side,
    pub(super) cursor: Option<Cursor>,
    pub(super) old: Sum,
    pub(super) new: Sum,
    /// Rows that differ are being looked for.
    pub(super) trace: Option<Trace>,
}

impl Work {
    pub(super) fn on(table: &Table) -> Self {
        let zero = Sum::default();
        Self { table: table.name.clone(), side: Side::Old, cursor: None, old: zero, new: zero, trace: None }
    }

    /// Where the reading goes on; from the beginning if the rows lie elsewhere now.
    pub(super) fn cursor(&mut self, table: &Table) -> Cursor {
        if let Some(cursor) = self.cursor.filter(|cursor| cursor.is_in(table)) {
            return cursor;
        }
        *self.sum() = Sum::default();
        Cursor::start(table)
    }

    /// What the side that is being read comes to so far.
    pub(super) fn sum(&mut self) -> &mut Sum {
        match self.side {
            Side::Old => &mut self.old,
            Side::New => &mut self.new,
        }
    }
}

impl Scan {
    pub(super) fn begin(about: About, now: DateTime<Utc>, tally: Tally) -> Self {
        Self {
            about,
            begun: now,
            stage: Stage::Tables,
            after: String::new(),
            work: None,
            tally,
            different: Found::default(),
            too_late: Found::default(),
            unread: Found::default(),
            traced: 0,
            objects: Objects::default(),
            behind: Found::default(),
            piece: Piece::default(),
            away: Away::default(),
        }
    }

    /// The next thing to do begins.
    pub(super) fn go_on(&mut self, stage: Stage) {
        (self.stage, self.after, self.work) = (stage, String::new(), None);
    }

    /// A table is done.
    pub(super) fn done(&mut self, table: &Table) {
        self.after.clone_from(&table.name);
        self.work = None;
    }
}
