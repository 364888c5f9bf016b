//! Taking a manifest: one session holds the snapshot that a dump is made of, another counts what is visible in it.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Utc};
use tokio_postgres::error::SqlState;

use crate::check::Context;
use crate::net::Budget;
use crate::outcome::Outcome;

use super::by_hand::Refused;
use super::content::{Cursor, Pace, Piece, Sum, Table};
use super::manifest::{Held, Manifest, Snapshot};
use super::observer::Row;
use super::pair::Reader;
use super::{NO_PERMISSION, UNREADABLE};

/// A transaction that reads, and that the server does not end by itself. The time limits are those of the session that holds it.
const BEGIN: &str = "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; \
     BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// The snapshot, held open.
pub struct Holding {
    reader: Reader,
    /// By which `pg_dump --snapshot` knows it.
    pub name: String,
    /// What is visible.
    pub seen: Snapshot,
    /// The server's own clock.
    pub at: DateTime<Utc>,
}

impl Holding {
    /// Takes a snapshot of the target of this name.
    pub async fn begin(cx: &Context, target: &str) -> Result<Self, Refused> {
        let budget = Budget::start(cx.timeout);
        let mut reader = begun(cx, target, budget).await?;
        let sql =
            "SELECT pg_export_snapshot() AS name, pg_current_snapshot() AS seen, EXTRACT(epoch FROM clock_timestamp()) AS at";
        let rows = reader.ask(sql, budget).await?;
        let row = Row(rows.first().ok_or_else(|| reader.unreadable("row"))?);
        let read = || {
            let seen = row.text("seen")?.to_owned().try_into().map_err(|_| "seen")?;
            Ok((row.text("name")?.to_owned(), seen, row.moment("at")?))
        };
        let (name, seen, at) = read().map_err(|field: &'static str| reader.unreadable(field))?;
        Ok(Self { reader, name, seen, at })
    }

    /// `role@host:port/database`.
    pub fn place(&self) -> &str {
        &self.reader.place
    }

    /// Which database of which server: `SYSTEM/OID`.
    pub fn identity(&self) -> &str {
        &self.reader.identity
    }

    /// Makes sure that it is held still: a dump that goes on after its end is of another one.
    pub async fn is_held(&mut self, cx: &Context) -> Result<(), Refused> {
        let rows = self.reader.ask("SELECT pg_current_snapshot() AS seen", Budget::start(cx.timeout)).await?;
        let seen = rows.first().and_then(|row| Row(row).text("seen").ok().map(str::to_owned));
        if seen.is_some_and(|seen| seen == String::from(self.seen.clone())) {
            return Ok(());
        }
        Err(UNREADABLE.because(format!("{}: the session sees another snapshot than it began with", self.reader.place)).into())
    }

    /// Lets go of it.
    pub async fn end(self, cx: &Context) {
        self.reader.leave(Budget::start(cx.timeout)).await;
    }
}

async fn begun(cx: &Context, target: &str, budget: Budget) -> Result<Reader, Outcome> {
    let mut reader = Reader::enter(cx, target, budget).await?;
    // A server from 17 on may end a transaction for its length alone.
    let limit = if reader.major >= 17 { "SET transaction_timeout = 0; " } else { "" };
    reader.ask(&format!("{limit}{BEGIN}"), budget).await?;
    Ok(reader)
}

/// How much is hashed.
#[derive(Debug, Clone, Copy)]
pub struct Depth {
    /// Up to how many gigabytes every row of every table is.
    pub exact_up_to_gib: u32,
    /// Beyond that, one row in so many of large tables is.
    pub sample_one_in: u32,
    /// For how much of the time.
    pub load_percent: u32,
}

/// How far the counting has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Come {
    /// Tables that are done.
    pub tables: u64,
    /// Tables in all.
    pub of_tables: u64,
    /// The one that is being read.
    pub now: String,
}

/// Counting what is visible in a snapshot.
pub struct Counting {
    reader: Reader,
    depth: Depth,
    piece: Piece,
    one_in: u32,
    pages: u64,
    of_tables: u64,
    todo: VecDeque<Table>,
    after: String,
    held: BTreeMap<String, Held>,
}

impl Counting {
    /// Begins in the snapshot that is held.
    pub async fn begin(cx: &Context, target: &str, holding: &Holding, depth: Depth) -> Result<Self, Refused> {
        let budget = Budget::start(cx.timeout);
        let mut reader = begun(cx, target, budget).await?;
        reader.ask(&format!("SET TRANSACTION SNAPSHOT '{}'", holding.name.replace('\'', "''")), budget).await?;
        let extent = reader.extent(budget).await?;
        let exact = extent.bytes <= u64::from(depth.exact_up_to_gib) << 30;
        Ok(Self {
            reader,
            depth,
            piece: Piece::default(),
            one_in: if exact { 1 } else { depth.sample_one_in.max(1) },
            pages: extent.pages,
            of_tables: extent.tables,
            todo: VecDeque::new(),
            after: String::new(),
            held: BTreeMap::new(),
        })
    }

    /// Counts one more table; none if there is none.
    pub async fn next(&mut self, cx: &Context) -> Result<Option<Come>, Refused> {
        if self.todo.is_empty() {
            self.todo = self.reader.tables(&self.after, None, Budget::start(cx.timeout)).await?.into();
        }
        let Some(table) = self.todo.pop_front() else { return Ok(None) };
        if !table.readable {
            let (role, Table { name, schema, .. }) = (&self.reader.role, &table);
            let words = format!(
                "{}: {role} can not read {name}; run GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role};",
                self.reader.place
            );
            return Err(NO_PERMISSION.because(words).into());
        }
        let one_in = if table.pages.is_some_and(|pages| pages > self.pages / 100) { self.one_in } else { 1 };
        let sum = self.sum(cx, &table, one_in).await?;
        self.held.insert(table.name.clone(), Held { sum, one_in });
        self.after = table.name;
        Ok(Some(Come { tables: count(self.held.len()), of_tables: self.of_tables, now: self.after.clone() }))
    }

    async fn sum(&mut self, cx: &Context, table: &Table, one_in: u32) -> Result<Sum, Outcome> {
        let (mut cursor, mut sum) = (Cursor::start(table), Sum::default());
        while !cursor.is_at_the_end(table) || cursor == Cursor::start(table) {
            let (began, budget) = (tokio::time::Instant::now(), Budget::start(cx.timeout));
            let piece = cursor.sum(&mut self.reader, table, ("true", one_in), (&mut self.piece, budget)).await;
            sum = sum + piece.map_err(|outcome| of_table(&outcome, table))?;
            Pace::new(self.depth.load_percent, budget).rest(began).await;
        }
        Ok(sum)
    }

    /// What was counted, as it is recorded.
    pub async fn end(self, cx: &Context, holding: &Holding) -> Manifest {
        self.reader.leave(Budget::start(cx.timeout)).await;
        Manifest {
            identity: holding.reader.identity.clone(),
            snapshot: holding.seen.clone(),
            at: holding.at,
            stopped: None,
            tables: self.held,
        }
    }
}

fn count(tables: usize) -> u64 {
    u64::try_from(tables).unwrap_or(u64::MAX)
}

/// Rows that row security hides are in no manifest.
fn of_table(outcome: &Outcome, table: &Table) -> Outcome {
    let hidden = outcome.evidence().as_str().contains(SqlState::INSUFFICIENT_PRIVILEGE.code());
    let hint = if hidden { "; where row security hides rows, ALTER ROLE … BYPASSRLS shows them" } else { "" };
    outcome.clone().of(&format!("{}{hint}", table.name))
}
