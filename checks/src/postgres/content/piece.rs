//! Pieces of a table: some of its pages, read in one short statement. They are as large as a writer beside them does not notice, however
//! much time a Run has; `slices::Blocks` are as large as a Run's timeout allows, so that each is answered before it is over.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::net::Budget;
use crate::outcome::Outcome;
use crate::postgres::observer::Row;
use crate::postgres::pair::Reader;

use super::{Sum, Table};

/// Pages that are read at first.
const FIRST: u64 = 64;
/// Most pages that are read at once: 128 MiB.
const MOST: u64 = 16_384;
/// How long reading a piece should take, so that a writer on a small machine does not notice.
const AIM: Duration = Duration::from_millis(80);

/// How many pages the next piece has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Piece(u64);

impl Default for Piece {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Piece {
    /// After one that was too much.
    pub(crate) fn smaller(self) -> Self {
        Self((self.0 / 8).max(1))
    }

    /// Learns from how long the last piece took.
    fn took(&mut self, took: Duration) {
        let factor = if took > AIM.saturating_mul(2) {
            (1, 2)
        } else if took < AIM / 2 {
            (2, 1)
        } else {
            return;
        };
        self.0 = (self.0.saturating_mul(factor.0) / factor.1).clamp(1, MOST);
    }
}

/// How fast one piece follows another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    load_percent: u32,
    until: Instant,
}

impl Pace {
    /// Reads for so much of the time, until most of the budget is used: the rest is for logging in and out.
    pub(crate) fn new(load_percent: u32, budget: Budget) -> Self {
        Self { load_percent: load_percent.clamp(1, 100), until: budget.start + budget.timeout() * 4 / 5 }
    }

    /// Whether another piece may be read.
    pub(crate) fn has_time(self) -> bool {
        Instant::now() < self.until
    }

    /// Leaves the server to others for as long as they deserve it.
    pub(crate) async fn rest(self, began: Instant) {
        let rest = began.elapsed().saturating_mul(100 - self.load_percent) / self.load_percent;
        sleep(rest.min(self.until.saturating_duration_since(Instant::now()))).await;
    }
}

/// How far one side of a table is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    /// The next page.
    page: u64,
    /// The file that the pages are in.
    file: u64,
}

impl Cursor {
    /// At the beginning.
    pub(crate) fn start(table: &Table) -> Self {
        Self { page: 0, file: table.file }
    }

    /// Whether the rows lie where they lay when the reading began.
    pub(crate) fn is_in(&self, table: &Table) -> bool {
        self.file == table.file
    }

    /// Whether all that was there is read.
    pub(crate) fn is_at_the_end(&self, table: &Table) -> bool {
        self.page >= table.pages.unwrap_or(1)
    }

    /// How many pages are read.
    pub(crate) fn pages(self) -> u64 {
        self.page
    }

    fn condition(&self, table: &Table, piece: Piece) -> (String, u64) {
        let Some(pages) = table.pages else { return ("true".to_owned(), 1) };
        let end = self.page.saturating_add(piece.0);
        // The last piece is open at its end: what is appended meanwhile is cut off by its transaction, and never by its place.
        let to = if end >= pages { String::new() } else { format!(" AND ctid < '({end},0)'") };
        (format!("ctid >= '({},0)'{to}", self.page), end)
    }

    /// Reads the next piece with one statement, made of the columns to be selected, the source and the condition.
    pub(crate) async fn next(
        &mut self,
        reader: &mut Reader,
        table: &Table,
        question: impl FnOnce(&str) -> String,
        (piece, budget): (&mut Piece, Budget),
    ) -> Result<Vec<tokio_postgres::SimpleQueryRow>, Outcome> {
        let (condition, end) = self.condition(table, *piece);
        let asked = Instant::now();
        let rows = reader.ask(&question(&condition), budget).await?;
        piece.took(asked.elapsed());
        self.page = end;
        Ok(rows)
    }

    /// The sum of the next piece.
    pub(crate) async fn sum(
        &mut self,
        reader: &mut Reader,
        table: &Table,
        (cut, one_in): (&str, u32),
        pace: (&mut Piece, Budget),
    ) -> Result<Sum, Outcome> {
        let (source, hash) = (table.source(), table.hash());
        let filter = if one_in > 1 { format!(" FILTER (WHERE {})", table.sampled(one_in)) } else { String::new() };
        let question = |pages: &str| {
            format!("SELECT count(*) AS rows, coalesce(sum({hash}){filter}, 0) AS hash FROM {source} WHERE {pages} AND {cut}")
        };
        let rows = self.next(reader, table, question, pace).await?;
        let read = || {
            let row = Row::only(&rows)?;
            Ok(Sum { rows: row.number("rows")?, hash: row.number("hash")? })
        };
        read().map_err(|field: &'static str| reader.unreadable(field))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_grow_and_shrink_within_bounds() {
        let mut piece = Piece::default();
        for _ in 0..20 {
            piece.took(Duration::ZERO);
        }
        assert_eq!(piece.0, MOST);
        piece.took(AIM);
        assert_eq!(piece.0, MOST);
        for _ in 0..40 {
            piece.took(Duration::from_secs(1));
        }
        assert_eq!(piece.0, 1);
    }
}
