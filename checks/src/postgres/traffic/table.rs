//! The questions about declared tables: what they are, which of their rows count, and whether those are complete.

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;
use tokio_postgres::SimpleQueryRow;
use tokio_postgres::error::SqlState;

use crate::net::{Budget, reasons};
use crate::outcome::Outcome;
use crate::postgres::mark::Side;
use crate::postgres::observer::{Observer, Row};
use crate::postgres::{NO_PERMISSION, QUERY_FAILED, Refusal, Session, UNREADABLE};

use super::writer::{SKEW, Writer};
use super::{COMPLETE_UNUSABLE, NO_ROLE, NO_TABLE, NO_TIME_COLUMN, WRITER_UNUSABLE};
use crate::postgres::name::{Name, literal};

/// A declared table, as the catalog has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    /// Rows that were ever inserted, updated and deleted, in its partitions and chunks as well.
    pub(super) written: u64,
    /// The type of its time column.
    kind: String,
}

/// Schema, table and column of a writer whose words make sense.
pub(super) struct Where {
    schema: Name,
    pub(super) table: Name,
    column: Name,
}

impl Where {
    pub(super) fn of(writer: &Writer) -> Result<Self, Outcome> {
        let place = writer.place().zip(writer.column());
        let ((schema, table), column) =
            place.ok_or_else(|| WRITER_UNUSABLE.because(format!("{}: {}", writer.table, writer.time)))?;
        Ok(Self { schema, table, column })
    }

    fn name(&self) -> String {
        format!("{}.{}", self.schema.quoted(), self.table.quoted())
    }

    /// How the server may spell it, as far as it quotes a name or not.
    pub(super) fn spellings(&self) -> Vec<String> {
        let of = |name: &Name| [name.as_str().to_owned(), name.quoted()];
        let pair = |schema: String| of(&self.table).map(|table| format!("{schema}.{table}"));
        of(&self.schema).into_iter().flat_map(pair).collect()
    }

    fn question(&self, role: &str) -> String {
        let (schema, table, column) =
            (literal(self.schema.as_str()), literal(self.table.as_str()), literal(self.column.as_str()));
        let role = literal(role);
        format!(
            "WITH RECURSIVE tree(oid) AS (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = {schema} AND c.relname = {table} AND c.relkind IN ('r', 'p') \
             UNION SELECT inhrelid FROM tree JOIN pg_inherits ON inhparent = tree.oid) \
             SELECT (SELECT atttypid::regtype::text FROM pg_attribute WHERE attrelid = c.oid AND attname = {column} AND attnum > 0 \
             AND NOT attisdropped) AS kind, \
             has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') AS readable, \
             row_security_active(c.oid) AS hidden, EXISTS (SELECT FROM pg_roles WHERE rolname = {role}) AS known, \
             (SELECT sum(pg_stat_get_tuples_inserted(oid) + pg_stat_get_tuples_updated(oid) + pg_stat_get_tuples_deleted(oid)) \
             FROM tree) AS written \
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = {schema} AND c.relname = {table} AND c.relkind IN ('r', 'p')"
        )
    }
}

/// The first row of an answer, read.
fn first<T>(rows: &[SimpleQueryRow], place: &str, read: impl FnOnce(Row<'_>) -> Result<T, &'static str>) -> Result<T, Outcome> {
    let row = rows.first().ok_or_else(|| UNREADABLE.because(format!("{place}: no row in the answer")))?;
    read(Row(row)).map_err(|field| UNREADABLE.because(format!("{place}: no readable {field} in the answer")))
}

/// Looks a declared table up.
pub(super) async fn look_up(at: &mut Observer, writer: &Writer, spot: &Where, budget: Budget) -> Result<Table, Outcome> {
    let rows = at.session.ask(&spot.question(&writer.role), budget).await?;
    let (place, name) = (&at.place, spot.name());
    if rows.is_empty() {
        return Err(NO_TABLE.because(format!("{place}: there is no table {name}")));
    }
    let read = |row: Row<'_>| Ok((row.truth("known")?, row.truth("readable")?, row.truth("hidden")?));
    let (known, readable, hidden) = first(&rows, place, read)?;
    if !known {
        return Err(NO_ROLE.because(format!("{place}: there is no role {}", writer.role)));
    }
    if !readable {
        let (schema, role) = (spot.schema.quoted(), &at.role);
        let grants = format!("GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON {name} TO {role};");
        return Err(NO_PERMISSION.because(format!("{place}: {role} may not read {name}; run {grants}")));
    }
    if hidden {
        let grant = format!("run ALTER ROLE {} BYPASSRLS;", at.role);
        return Err(NO_PERMISSION.because(format!("{place}: row-level security hides rows of {name}; {grant}")));
    }
    let column = || format!("{place}: {name} has no column {}", spot.column.quoted());
    let kind = first(&rows, place, |row| Ok(row.maybe("kind")?.map(str::to_owned)))?;
    let kind = kind.ok_or_else(|| NO_TIME_COLUMN.because(column()))?;
    if !kind.starts_with("timestamp ") {
        return Err(NO_TIME_COLUMN.because(format!("{} that tells a time: it is of type {kind}", column())));
    }
    first(&rows, place, |row| Ok(Table { written: row.number("written")?, kind }))
}

/// The oldest and the newest of the rows that count and are not known yet.
pub(super) type Rows = Option<(DateTime<Utc>, DateTime<Utc>)>;

/// What was found in one snapshot of the table.
pub(super) struct Found {
    pub(super) rows: Rows,
    /// Whether the set of rows is complete, where that was asked.
    pub(super) complete: Option<Result<bool, Outcome>>,
}

/// A question about the rows of a table.
pub(super) struct Question<'a> {
    pub(super) at: &'a Where,
    pub(super) table: &'a Table,
    pub(super) mark: &'a Side,
    /// The newest row that is known: older ones are not read again.
    pub(super) known: Option<DateTime<Utc>>,
}

impl Question<'_> {
    fn sql(&self) -> String {
        let (column, name, kind) = (self.at.column.quoted(), self.at.name(), &self.table.kind);
        let skew = TimeDelta::from_std(SKEW).unwrap_or_default();
        let from = self.known.unwrap_or_else(|| self.mark.at.checked_sub_signed(skew).unwrap_or(self.mark.at));
        let from = from.format("%F %T%.6f+00");
        let micros = |what: &str| format!("(EXTRACT(epoch FROM {what}(t)) * 1000000)::bigint AS {what}");
        // A written row has its transaction's number; `infinity` is no time at which anything was written.
        format!(
            "SELECT {}, {} FROM (SELECT {column} AS t FROM {name} WHERE {column} > '{from}'::{kind} AND {column} < 'infinity' \
             AND {}) AS counted",
            micros("min"),
            micros("max"),
            self.mark.is_after()
        )
    }

    /// Asks for rows, and with `complete` whether they are complete, all of it in one snapshot: a run that begins between two
    /// questions would look half-done. Takes at most `limit` milliseconds of the server for each.
    pub(super) async fn ask(
        &self,
        at: &mut Observer,
        complete: Option<&str>,
        limit: u128,
        budget: Budget,
    ) -> Result<Found, Outcome> {
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = {limit}; SET LOCAL row_security = off; {}",
            self.sql()
        );
        let answer = at.session.ask(&begin, budget).await;
        let rows = match answer {
            Ok(rows) => first(&rows, &at.place, counted),
            Err(refusal) => Err(refusal.into()),
        };
        let complete = match (complete, &rows) {
            (Some(query), Ok(_)) => Some(self.is_complete(&mut at.session, query, budget).await),
            _ => None,
        };
        at.session.ask("ROLLBACK", budget).await?;
        Ok(Found { rows: rows?, complete })
    }

    async fn is_complete(&self, session: &mut Session, query: &str, budget: Budget) -> Result<bool, Outcome> {
        let schema = self.at.schema.quoted();
        // On lines of its own: a comment at its end must not hide what follows.
        let sql = format!("SET LOCAL search_path = {schema}, public; SELECT (\n{query}\n) IS TRUE AS complete");
        let rows = session.ask(&sql, budget).await.map_err(|refusal| unusable(refusal, query))?;
        first(&rows, "complete", |row| row.truth("complete"))
    }
}

/// What keeps the operator's own query from an answer: its own words, if it is the query and not the server.
fn unusable(refusal: Refusal, query: &str) -> Outcome {
    let own = [QUERY_FAILED, NO_PERMISSION, reasons::TIMEOUT].contains(&refusal.reason) && refusal.code.is_some();
    let gone = refusal.code == Some(SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT);
    if own && !gone { COMPLETE_UNUSABLE.because(format!("{}; the query is: {query}", refusal.words)) } else { refusal.into() }
}

fn counted(row: Row<'_>) -> Result<Rows, &'static str> {
    let moment = |name: &'static str| -> Result<Option<DateTime<Utc>>, &'static str> {
        let Some(text) = row.maybe(name)? else { return Ok(None) };
        text.parse().ok().and_then(DateTime::from_timestamp_micros).map(Some).ok_or(name)
    };
    Ok(moment("min")?.zip(moment("max")?))
}

/// The milliseconds that one of so many questions may take of what is left.
pub(super) fn share(budget: Budget, questions: usize) -> u128 {
    let left = budget.end.saturating_duration_since(Instant::now()).as_millis();
    let parts = u128::try_from(questions).unwrap_or(u128::MAX).saturating_mul(10);
    (left.saturating_mul(9) / parts.max(1)).max(1)
}
