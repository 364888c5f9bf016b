//! Which rows differ: by their hashes, of which a few bits are looked at first, so that no side has to show its rows. Each round reads
//! both sides once, and leaves a 256th of the rows to be looked for, until they are few enough to be read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::net::Budget;
use crate::outcome::Outcome;
use crate::postgres::content::{Cursor, Piece, Sum, Table};
use crate::postgres::observer::Row;
use crate::postgres::pair::Reader;

/// How many bits tell one round's buckets apart.
const BITS: u32 = 8;
/// So few rows are read one by one.
const FEW: i64 = 128;
/// Most rows that are remembered one by one.
const MOST: usize = 300;
/// Most rows that are told.
const SHOWN: usize = 3;

/// Which side of a comparison.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Side {
    /// The server that is left.
    #[default]
    Old,
    /// The server that it moves to.
    New,
}

/// A search for rows that differ.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trace {
    /// How many rows there are in all.
    total: i64,
    /// How many rows are where it looks.
    rows: i64,
    /// How many bits of the hash are known, and which.
    bits: u32,
    prefix: i64,
    side: Side,
    cursor: Option<Cursor>,
    /// What the old side has more of, by bucket.
    buckets: BTreeMap<u8, Sum>,
    /// How many buckets differed in the first round.
    spread: Option<usize>,
    /// What the old side has more of, by hash, with the words for one such row.
    found: BTreeMap<i64, (i64, String)>,
    /// There were more rows than are remembered.
    cut_off: bool,
}

impl Trace {
    /// Begins one in a table of so many rows.
    pub(super) fn of(rows: i64) -> Self {
        Self { total: rows, rows, ..Self::default() }
    }

    /// Which side is read next.
    pub(super) fn side(&self) -> Side {
        self.side
    }

    fn reads_rows(&self) -> bool {
        self.rows <= FEW || self.bits >= 6 * BITS
    }

    fn question(&self, table: &Table, cut: &str, pages: &str) -> String {
        let (source, hash, mask) = (table.source(), table.hash(), (1_i64 << self.bits) - 1);
        let here = format!("FROM {source} WHERE {pages} AND {cut}");
        if self.reads_rows() {
            let label = table.label();
            format!(
                "SELECT h, label FROM (SELECT {hash} AS h, {label} AS label {here}) AS t WHERE h & {mask} = {} LIMIT {MOST}",
                self.prefix
            )
        } else {
            let Self { bits, prefix, .. } = self;
            format!(
                "SELECT (h >> {bits}) & 255 AS bucket, count(*) AS rows, sum(h) AS hash FROM (SELECT {hash} AS h {here}) AS t \
                 WHERE h & {mask} = {prefix} GROUP BY 1"
            )
        }
    }

    /// Reads the next piece of one side. Whether that was all there is to be found.
    pub(super) async fn next(
        &mut self,
        reader: &mut Reader,
        table: &Table,
        cut: &str,
        pace: (&mut Piece, Budget),
    ) -> Result<bool, Outcome> {
        if self.cursor.is_some_and(|cursor| !cursor.is_in(table)) {
            // What was read lies elsewhere now, and would be read twice.
            *self = Self::of(self.total);
            return Ok(false);
        }
        let mut cursor = self.cursor.unwrap_or_else(|| Cursor::start(table));
        let rows = cursor.next(reader, table, |pages| self.question(table, cut, pages), pace).await?;
        for row in &rows {
            self.take(&Row(row)).map_err(|field| reader.unreadable(field))?;
        }
        self.cursor = Some(cursor);
        if !cursor.is_at_the_end(table) {
            return Ok(false);
        }
        self.cursor = None;
        Ok(match self.side {
            Side::Old => {
                self.side = Side::New;
                false
            }
            Side::New => self.round(),
        })
    }

    fn take(&mut self, row: &Row<'_>) -> Result<(), &'static str> {
        let sign = if self.side == Side::Old { 1 } else { -1 };
        if !self.reads_rows() {
            let sum = Sum { rows: row.number("rows")?, hash: row.number("hash")? };
            let bucket = self.buckets.entry(row.number("bucket")?).or_default();
            *bucket = if sign > 0 { *bucket + sum } else { *bucket - sum };
            return Ok(());
        }
        let hash: i64 = row.number("h")?;
        if self.found.len() >= MOST && !self.found.contains_key(&hash) {
            self.cut_off = true;
            return Ok(());
        }
        let label = row.text("label")?.to_owned();
        let (more, _) = self.found.entry(hash).or_insert((0, label));
        *more += sign;
        Ok(())
    }

    /// Both sides are read. Whether there is nothing more to look for.
    fn round(&mut self) -> bool {
        if self.reads_rows() {
            self.found.retain(|_, (more, _)| *more != 0);
            return true;
        }
        self.buckets.retain(|_, sum| !sum.is_nothing());
        self.spread.get_or_insert(self.buckets.len());
        let Some(bucket) = self.buckets.keys().next().copied() else { return true };
        self.prefix |= i64::from(bucket) << self.bits;
        self.bits += BITS;
        self.rows >>= BITS;
        self.buckets.clear();
        self.side = Side::Old;
        false
    }

    /// What it came to.
    pub(super) fn in_words(&self) -> String {
        let place = match self.spread {
            Some(0) => return "both sides agree now: the old one has changed since the manifest".to_owned(),
            Some(spread) => format!("{spread} of 256 buckets differ, in the first of them "),
            None => String::new(),
        };
        if self.found.is_empty() {
            return format!("{place}no single row is told apart");
        }
        let side = |more: i64| if more > 0 { "on the old side only" } else { "on the new side only" };
        let mut words: Vec<String> =
            self.found.values().take(SHOWN).map(|(more, label)| format!("the row {label} is {}", side(*more))).collect();
        if let Some(more) = self.found.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            words.push(format!("{more} more"));
        }
        if self.cut_off {
            words.push("there were too many rows to see all".to_owned());
        }
        format!("{place}{}", words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_narrow_to_the_first_bucket_that_differs() {
        let mut trace = Trace::of(100_000);
        assert!(!trace.reads_rows());
        trace.buckets = BTreeMap::from([(1, Sum::default()), (7, Sum { rows: 1, hash: 5 }), (9, Sum { rows: 0, hash: 2 })]);
        assert!(!trace.round());
        assert_eq!((trace.bits, trace.prefix, trace.rows, trace.spread), (8, 7, 390, Some(2)));
        trace.buckets = BTreeMap::from([(2, Sum { rows: 1, hash: 5 })]);
        assert!(!trace.round());
        assert_eq!((trace.bits, trace.prefix, trace.rows), (16, 7 + 512, 1));
        assert!(trace.reads_rows());
        trace.found = BTreeMap::from([(5, (1, "id = (4)".to_owned())), (6, (0, "id = (5)".to_owned()))]);
        assert!(trace.round());
        assert_eq!(trace.in_words(), "2 of 256 buckets differ, in the first of them the row id = (4) is on the old side only");
    }

    #[test]
    fn what_agrees_now_has_changed_since() {
        let mut trace = Trace::of(1000);
        assert!(trace.round());
        assert!(trace.in_words().contains("changed since the manifest"), "{}", trace.in_words());
    }

    #[test]
    fn it_stays_small() {
        let row = (1, format!("id = {}", "x".repeat(60)));
        let found = (0..MOST).map(|n| (i64::MAX - i64::try_from(n).unwrap(), row.clone())).collect();
        let trace = Trace { found, ..Trace::of(1) };
        assert!(serde_json::to_vec(&trace).unwrap().len() < crate::MAX_MEMORY - 24 * 1024);
    }
}
