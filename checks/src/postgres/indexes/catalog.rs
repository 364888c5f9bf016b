//! What the catalog says: versions of collations, indexes that are not in use, tables that the planner knows nothing of.

use crate::net::Budget;
use crate::outcome::{Outcome, ReasonSpec};
use crate::postgres::observer::Row;
use crate::postgres::pair::Reader;
use crate::postgres::slices::{Found, Trouble};
use crate::postgres::tables::OF_ROWS;

/// The order of text is another than when the indexes were built.
pub(super) const COLLATION: ReasonSpec = ReasonSpec::fail(
    "collation_changed",
    "rebuild what was sorted by the old order (`REINDEX DATABASE`), and only then record the new version: `ALTER DATABASE … REFRESH COLLATION \
     VERSION`, `ALTER COLLATION … REFRESH VERSION`; or run the server on the system libraries that the data come from",
);
/// Nobody wrote down by which order they were built.
pub(super) const NOT_RECORDED: ReasonSpec = ReasonSpec::unknown(
    "collation_not_recorded",
    "rebuild the indexes (`REINDEX DATABASE`): by which order of text they were built is not known; then record it as superuser: `UPDATE \
     pg_database SET datcollversion = pg_database_collation_actual_version(oid) WHERE …`, or `pg_collation` alike: `REFRESH VERSION` refuses it",
);
/// An index is not in use.
pub(super) const INVALID: ReasonSpec = ReasonSpec::fail(
    "invalid_index",
    "rebuild the indexes that the evidence names (`REINDEX INDEX CONCURRENTLY …`), or drop and create them anew; where they are unique, mend \
     the doubled rows first",
);
/// An index is being built.
pub(super) const BUILDING: ReasonSpec = ReasonSpec::unknown(
    "being_built",
    "wait until the indexes that the evidence names are built (`pg_stat_progress_create_index`)",
);
/// There is nothing to be proven.
pub(super) const NO_TABLE: ReasonSpec = ReasonSpec::fail(
    "nothing_restored",
    "restore the data first, or correct the database in the connection string: it has no table",
);

/// Databases that take connections, and collations, whose recorded version is another than the system's; those that an index uses first.
/// `C` and its like have no version on either side. Without any there is one row that names none: no row is no answer.
const VERSIONS: &str = "SELECT v.* FROM (SELECT) AS one LEFT JOIN \
     (SELECT kind, name, recorded, actual, count(*) OVER () AS found, rank FROM (SELECT 'database' AS kind, quote_ident(datname) AS name, datcollversion AS recorded, \
     pg_database_collation_actual_version(oid) AS actual, 0 AS rank FROM pg_database WHERE datallowconn \
     UNION ALL SELECT 'collation', quote_ident(n.nspname) || '.' || quote_ident(c.collname), collversion, \
     pg_collation_actual_version(c.oid), CASE WHEN EXISTS (SELECT FROM pg_index i WHERE c.oid = ANY (i.indcollation)) THEN 1 ELSE 2 END \
     FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace WHERE collprovider IN ('c', 'i', 'b') \
     AND collencoding IN (-1, (SELECT encoding FROM pg_database WHERE datname = current_database()))) AS v \
     WHERE recorded IS DISTINCT FROM actual) AS v ON true ORDER BY rank, kind, name LIMIT 100";

/// Indexes that the planner or writers do not use, unless this is put in its place.
const UNUSED: &str = "NOT (i.indisvalid AND i.indisready AND i.indislive)";
/// An index that is in use, in their place.
const IN_USE: &str = "i.indexrelid = 'pg_catalog.pg_class_oid_index'::regclass";

/// The rows of an answer that has one without a name when there is nothing to tell.
fn told<'a>(
    reader: &Reader,
    rows: &'a [tokio_postgres::SimpleQueryRow],
    fields: &[&'static str],
) -> Result<&'a [tokio_postgres::SimpleQueryRow], Outcome> {
    let nothing = |row: &Row<'_>| {
        let told: Result<Vec<bool>, _> = fields.iter().map(|name| row.maybe(name).map(|value| value.is_some())).collect();
        told.map(|told| told.iter().all(|there| !there)).map_err(|field| reader.unreadable(field))
    };
    match rows {
        [] => Err(reader.unreadable("row")),
        [row] if nothing(&Row(row))? => Ok(&[]),
        rows => Ok(rows),
    }
}

fn unused(which: &str) -> String {
    format!(
        "SELECT f.* FROM (SELECT) AS one LEFT JOIN (SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name, \
         i.indrelid::regclass AS relation, i.indisvalid AS valid, \
         i.indisready AS ready, EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid \
         OR p.relid = i.indrelid AND p.index_relid = 0) AS building FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
         JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relpersistence <> 't' AND ({which})) AS f ON true ORDER BY name LIMIT 1000"
    )
}

/// How many tables and indexes there are, and which tables have rows and were never analysed. A statistic that can be seen counts as well.
fn counted() -> String {
    format!(
        "SELECT (SELECT count(*) FROM {OF_ROWS}) AS tables, (SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
         JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relpersistence <> 't' \
         AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')) AS indexes, \
         count(*) AS never, (array_agg(name ORDER BY rows DESC))[1:3]::text AS names FROM \
         (SELECT quote_ident(s.schemaname) || '.' || quote_ident(s.relname) AS name, n_live_tup AS rows FROM pg_stat_user_tables s \
         WHERE n_live_tup > 0 AND last_analyze IS NULL AND last_autoanalyze IS NULL AND s.schemaname <> 'phasegate' \
         AND NOT EXISTS (SELECT FROM pg_stats t WHERE t.schemaname = s.schemaname AND t.tablename = s.relname)) AS t"
    )
}

/// Whether text is still ordered as when the indexes were built.
pub(super) async fn collations(reader: &mut Reader, budget: Budget) -> Result<Outcome, Trouble> {
    let rows = reader.session.ask(VERSIONS, budget).await?;
    let (mut changed, mut blank, mut all) = (Found::default(), Found::default(), 0);
    for row in told(reader, &rows, &["kind", "name", "recorded", "actual", "found"])? {
        let row = Row(row);
        let read = || {
            let words = format!("{} {}", row.text("kind")?, row.text("name")?);
            Ok((
                words,
                row.maybe("recorded")?.map(str::to_owned),
                row.maybe("actual")?.map(str::to_owned),
                row.number::<u64>("found")?,
            ))
        };
        let (words, recorded, actual, found) = read().map_err(|field: &'static str| reader.unreadable(field))?;
        all = found;
        match (recorded, actual) {
            (Some(recorded), actual) => {
                let actual = actual.as_deref().unwrap_or("none");
                changed.add(&format!("{words} was built by version {recorded}, the system has {actual}"));
            }
            (None, actual) => blank.add(&format!("{words}: the system has {}", actual.as_deref().unwrap_or("none"))),
        }
    }
    let place = format!("{} ({all} in all)", reader.place);
    let wrong = changed.because(COLLATION, &place).or_else(|| blank.because(NOT_RECORDED, &place));
    let right = || Outcome::pass(format!("{}: text is ordered as when the indexes were built, in all databases", reader.place));
    Ok(wrong.unwrap_or_else(right))
}

/// Whether all indexes are in use; `besides` is what else there is to say.
pub(super) async fn in_use(reader: &mut Reader, besides: &str, budget: Budget) -> Result<Outcome, Trouble> {
    if let Some(wrong) = flaws(reader, UNUSED, budget).await? {
        return Ok(wrong);
    }
    let rows = reader.session.ask(&counted(), budget).await?;
    let row = Row::only(&rows).map_err(|field| reader.unreadable(field))?;
    let read = || Ok((row.number("tables")?, row.number("indexes")?, row.number("never")?, row.maybe("names")?));
    let (tables, indexes, never, names): (u64, u64, u64, Option<&str>) =
        read().map_err(|field: &'static str| reader.unreadable(field))?;
    let place = &reader.place;
    if tables == 0 {
        return Ok(NO_TABLE.because(format!("{place}: no table")));
    }
    let warning = match never {
        0 => String::new(),
        _ => format!("; warning: {never} tables have rows and were never analysed: {} (run ANALYZE)", names.unwrap_or_default()),
    };
    Ok(Outcome::pass(format!("{place}: all {indexes} indexes of {tables} tables are in use{besides}{warning}")))
}

/// As if an index that every database has were not in use.
pub(super) async fn as_if_unused(reader: &mut Reader, budget: Budget) -> Result<Outcome, Trouble> {
    let found = flaws(reader, IN_USE, budget).await?;
    Ok(found.unwrap_or_else(|| Outcome::pass(format!("{}: no index is there", reader.place))))
}

async fn flaws(reader: &mut Reader, which: &str, budget: Budget) -> Result<Option<Outcome>, Trouble> {
    let rows = reader.session.ask(&unused(which), budget).await?;
    let (mut invalid, mut building) = (Found::default(), Found::default());
    for row in told(reader, &rows, &["name", "relation", "valid", "ready", "building"])? {
        let row = Row(row);
        let read = || {
            let words = match (row.truth("valid")?, row.truth("ready")?) {
                (true, true) => "not in use",
                (false, _) => "not valid",
                (true, false) => "not ready",
            };
            Ok((format!("{} on {}", row.text("name")?, row.text("relation")?), words, row.truth("building")?))
        };
        let (name, words, is_building) = read().map_err(|field: &'static str| reader.unreadable(field))?;
        if is_building { building.add(&name) } else { invalid.add(&format!("{name} is {words}")) }
    }
    let place = &reader.place;
    Ok(invalid.because(INVALID, place).or_else(|| building.because(BUILDING, place)))
}
