//! What is asked about a table's rows on both sides.

use chrono::{DateTime, TimeDelta, Utc};
use tokio_postgres::SimpleQueryRow;

use crate::net::Budget;
use crate::outcome::{Outcome, ReasonSpec};
use crate::postgres::mark::Side;
use crate::postgres::name::{Name, literal};
use crate::postgres::observer::{Observer, Row};
use crate::postgres::slices::{LOCKED, Trouble, took_too_long};
use crate::postgres::{NO_PERMISSION, UNREADABLE};

use super::series::Series;

/// The table is not there.
const NO_TABLE: ReasonSpec = ReasonSpec::fail("no_table", "create or restore the table, or correct `table`");
/// The column is not there, or tells no time.
const NO_TIME_COLUMN: ReasonSpec = ReasonSpec::unknown(
    "no_time_column",
    "correct `time`: the column that tells when a row came about, of type timestamptz or timestamp",
);
/// The table's name makes no sense.
pub(super) const SERIES_UNUSABLE: ReasonSpec =
    ReasonSpec::unknown("series_unusable", "correct `table` and `time` of what the evidence names");
/// The table is not read in time.
const TOO_SLOW: ReasonSpec = ReasonSpec::unknown(
    "too_slow",
    "raise the probe's `timeout`, or index the column that the evidence names: its extreme can not be read in time",
);

/// What can keep a table from being read, besides what can happen to any.
pub(super) const READING: &[ReasonSpec] = &[NO_TABLE, NO_TIME_COLUMN, SERIES_UNUSABLE, TOO_SLOW, LOCKED];

/// How far two clocks may be apart before it matters.
const SKEW: TimeDelta = TimeDelta::seconds(30);

/// Where rows are, in words of SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    /// What stands behind FROM.
    pub(super) from: String,
    pub(super) column: String,
    /// The type of the column.
    pub(super) kind: String,
}

/// What the new server's rows from after the mark say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct After {
    /// The time of the first row that was written there, and not filled in for a time before the mark.
    pub(super) live: Option<DateTime<Utc>>,
    /// The first of those that are older than the old side's last row, though from after the mark, and how many there are.
    pub(super) both: Option<(DateTime<Utc>, u64)>,
    /// The longest time without a row, between the old side's last and `live`.
    pub(super) hole: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// How many rows were filled in before the first one.
    pub(super) filled: u64,
}

impl After {
    /// What contradicts itself says nothing: a gap that ends before it begins would be none.
    pub(super) fn coherent(self, last: DateTime<Utc>) -> Result<Self, &'static str> {
        let within = self.hole.zip(self.live).is_none_or(|((from, to), live)| last <= from && from <= to && to <= live);
        let orphan = self.hole.is_some() && self.live.is_none();
        let early = self.live.is_some_and(|live| live < last) && self.both.is_none();
        if within && !orphan && !early { Ok(self) } else { Err("order of times") }
    }
}

/// Looks a declared table up.
pub(super) async fn look_up(at: &mut Observer, series: &Series, budget: Budget) -> Result<Source, Outcome> {
    let place = series.place();
    let (schema, table, column) = place.ok_or_else(|| SERIES_UNUSABLE.because(format!("{}: {}", series.table, series.time)))?;
    let rows =
        at.session.ask(&question(&schema, &table, &column), budget).await.map_err(|refusal| Trouble::from(refusal).outcome)?;
    let (place, name) = (&at.place, format!("{}.{}", schema.quoted(), table.quoted()));
    if rows.is_empty() {
        return Err(NO_TABLE.because(format!("{place}: there is no table {name}")));
    }
    let row = Row::only(&rows).map_err(|field| unreadable(place, field))?;
    let read = || Ok((row.truth("readable")?, row.truth("hidden")?, row.maybe("kind")?.map(str::to_owned)));
    let (readable, hidden, kind) = read().map_err(|field: &'static str| unreadable(place, field))?;
    if !readable {
        let (schema, role) = (schema.quoted(), &at.role);
        let grants = format!("GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON {name} TO {role};");
        return Err(NO_PERMISSION.because(format!("{place}: {role} may not read {name}; run {grants}")));
    }
    if hidden {
        let grant = format!("run ALTER ROLE {} BYPASSRLS;", at.role);
        return Err(NO_PERMISSION.because(format!("{place}: row-level security hides rows of {name}; {grant}")));
    }
    let column = column.quoted();
    match kind {
        Some(kind) if kind.starts_with("timestamp") => Ok(Source { from: name, column, kind }),
        Some(kind) => Err(NO_TIME_COLUMN.because(format!("{place}: {name}.{column} tells no time: it is of type {kind}"))),
        None => Err(NO_TIME_COLUMN.because(format!("{place}: {name} has no column {column}"))),
    }
}

fn question(schema: &Name, table: &Name, column: &Name) -> String {
    let (schema, table, column) = (literal(schema.as_str()), literal(table.as_str()), literal(column.as_str()));
    format!(
        "SELECT (SELECT atttypid::regtype::text FROM pg_attribute WHERE attrelid = c.oid AND attname = {column} AND attnum > 0 \
         AND NOT attisdropped) AS kind, has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') AS readable, \
         row_security_active(c.oid) AS hidden FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = {schema} AND c.relname = {table} AND c.relkind IN ('r', 'p')"
    )
}

fn unreadable(place: &str, field: &str) -> Outcome {
    UNREADABLE.because(format!("{place}: no readable {field} in the answer"))
}

/// A time as a literal of the column's own type; in UTC, as sessions are.
fn at(time: DateTime<Utc>, kind: &str) -> String {
    format!("'{}'::{kind}", time.format("%F %T%.6f+00"))
}

fn micros(what: &str) -> String {
    format!("(EXTRACT(epoch FROM {what}) * 1000000)::bigint")
}

fn moment(row: &Row<'_>, name: &'static str) -> Result<Option<DateTime<Utc>>, &'static str> {
    let Some(text) = row.maybe(name)? else { return Ok(None) };
    text.parse().ok().and_then(DateTime::from_timestamp_micros).map(Some).ok_or(name)
}

impl Source {
    /// The time of the last row. What is still to come was not written yet: it is no row's time.
    pub(super) async fn last(&self, observer: &mut Observer, budget: Budget) -> Result<Option<DateTime<Utc>>, Outcome> {
        let Self { from, column, kind } = self;
        let until = at(observer.sight.clock + SKEW, kind);
        let last = micros("max(t)");
        let sql = format!(
            "SELECT {last} AS last FROM (SELECT {column} AS t FROM {from} WHERE {column} > '-infinity' AND {column} <= {until}) AS rows"
        );
        let rows = ask(observer, &sql, budget).await?;
        first(&rows, &observer.place, |row| moment(row, "last"))
    }

    /// The rows of the new side that were written after the mark, seen from the old side's last row.
    fn sql(&self, mark: &Side, last: DateTime<Utc>, until: DateTime<Utc>) -> String {
        let Self { from, column, kind } = self;
        let near = mark.at - SKEW;
        let [since, until, mark_at, near, last] = [last.min(near), until, mark.at, near, last].map(|time| at(time, kind));
        let [live, both, hole_from, hole_to] = ["(SELECT t FROM live)", "min(t)", "h.since", "h.t"].map(micros);
        let after = mark.is_after();
        // A row's time does not tell when it was written. The first one that the application wrote there has the oldest transaction of
        // those that can not have been filled in, since their time comes after the mark.
        format!(
            "WITH written AS MATERIALIZED (SELECT {column} AS t, age(xmin) AS a FROM {from} WHERE {column} >= {since} AND {column} <= {until} \
             AND {after}), live AS (SELECT t FROM written WHERE t >= {mark_at} ORDER BY a DESC, t LIMIT 1), \
             holes AS (SELECT t, lag(t, 1, {last}) OVER (ORDER BY t) AS since FROM written WHERE t > {last} AND t <= (SELECT t FROM live)) \
             SELECT {live} AS live, b.first, b.found, {hole_from} AS hole_from, {hole_to} AS hole_to, \
             (SELECT count(*) FROM written WHERE t > {last} AND t < {mark_at}) AS filled \
             FROM (SELECT {both} AS first, count(*) AS found FROM written WHERE t >= {near} AND t < {last}) AS b \
             LEFT JOIN (SELECT * FROM holes ORDER BY t - since DESC, t LIMIT 1) AS h ON true"
        )
    }

    /// Asks for them; of a table whose first row is known, only up to that.
    pub(super) async fn after(
        &self,
        observer: &mut Observer,
        mark: &Side,
        last: DateTime<Utc>,
        live: Option<DateTime<Utc>>,
        budget: Budget,
    ) -> Result<After, Outcome> {
        let until = live.unwrap_or(observer.sight.clock + SKEW);
        let rows = ask(observer, &self.sql(mark, last, until), budget).await?;
        first(&rows, &observer.place, |row| {
            let (found, live) = (row.number("found")?, moment(row, "live")?);
            let (first, from, to) = (moment(row, "first")?, moment(row, "hole_from")?, moment(row, "hole_to")?);
            let after = After { live, both: first.map(|time| (time, found)), hole: from.zip(to), filled: row.number("filled")? };
            if (found == 0) != first.is_none() || from.is_some() != to.is_some() { Err("found") } else { after.coherent(last) }
        })
    }
}

async fn ask(observer: &mut Observer, sql: &str, budget: Budget) -> Result<Vec<SimpleQueryRow>, Outcome> {
    let answer = observer.session.ask(sql, budget).await;
    answer
        .map_err(|refusal| if took_too_long(&refusal) { TOO_SLOW.because(refusal.words) } else { Trouble::from(refusal).outcome })
}

fn first<T>(rows: &[SimpleQueryRow], place: &str, read: impl FnOnce(&Row<'_>) -> Result<T, &'static str>) -> Result<T, Outcome> {
    Row::only(rows).and_then(|row| read(&row)).map_err(|field| unreadable(place, field))
}
