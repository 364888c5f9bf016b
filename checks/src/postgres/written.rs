//! Which rows were written after a mark, table by table: counted by the transaction that wrote them, whatever they say of themselves.

use serde::{Deserialize, Serialize};

use super::observer::Row;
use super::tables::OF_ROWS;
use super::{NO_PERMISSION, Session, UNREADABLE};
use crate::net::Budget;
use crate::outcome::Outcome;

/// Tables that are asked in one statement.
const AT_ONCE: usize = 100;
/// Tables that are remembered by name.
const SHOWN: usize = 5;

/// All tables that hold rows themselves, with their key and their first column that is a time.
fn question() -> String {
    format!(
        "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name, \
     quote_ident(n.nspname) AS schema, \
     has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') AS readable, \
     (SELECT quote_ident(a.attname) FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0] \
      WHERE i.indrelid = c.oid AND i.indisprimary AND i.indnkeyatts = 1 \
      AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)) AS key, \
     (SELECT quote_ident(a.attname) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
      AND a.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype) ORDER BY a.attnum LIMIT 1) AS time \
     FROM {OF_ROWS} ORDER BY c.oid"
    )
}

/// A table whose rows can be counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    name: String,
    key: Option<String>,
    time: Option<String>,
}

/// What was written to one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Written {
    table: String,
    rows: u64,
    keys: Option<(String, String)>,
    times: Option<(String, String)>,
}

/// What was written to all of them, the most first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rows {
    /// In all.
    pub(crate) count: u64,
    tables: usize,
    shown: Vec<Written>,
}

impl Table {
    /// A table of the catalog itself, whose rows are there on every server.
    pub(crate) fn of_the_catalog() -> Self {
        Self { name: "pg_catalog.pg_class".to_owned(), key: None, time: None }
    }

    /// The tables of the database. All of them must be readable: rows of one that is not would be missed.
    pub(crate) async fn all(session: &mut Session, place: &str, role: &str, budget: Budget) -> Result<Vec<Self>, Outcome> {
        let mut tables = Vec::new();
        for row in &session.ask(&question(), budget).await? {
            let row = Row(row);
            let unreadable = |field: &'static str| UNREADABLE.because(format!("{place}: no readable {field} of a table"));
            let (name, schema) = (row.text("name").map_err(unreadable)?, row.text("schema").map_err(unreadable)?);
            if !row.truth("readable").map_err(unreadable)? {
                let grants =
                    format!("GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role};");
                return Err(NO_PERMISSION.because(format!("{place}: {role} can not read {name}; run {grants}")));
            }
            let column = |name| row.maybe(name).map(|column| column.map(str::to_owned)).map_err(unreadable);
            tables.push(Self { name: name.to_owned(), key: column("key")?, time: column("time")? });
        }
        Ok(tables)
    }

    fn question(&self, condition: &str) -> String {
        let extremes = |column: Option<&String>| match column {
            Some(column) => format!("min({column})::text, max({column})::text"),
            None => "NULL::text, NULL::text".to_owned(),
        };
        let Self { name, key, time } = self;
        let (keys, times) = (extremes(key.as_ref()), extremes(time.as_ref()));
        format!("SELECT '{}' AS name, count(*), {keys}, {times} FROM ONLY {name} WHERE {condition}", name.replace('\'', "''"))
    }
}

impl Rows {
    /// Counts the rows of these tables that meet the condition.
    pub(crate) async fn count(
        session: &mut Session,
        tables: &[Table],
        condition: &str,
        place: &str,
        budget: Budget,
    ) -> Result<Self, Outcome> {
        let mut written = Vec::new();
        for some in tables.chunks(AT_ONCE) {
            let each: Vec<String> = some.iter().map(|table| table.question(condition)).collect();
            let sql = format!(
                "SELECT * FROM ({}) AS t (name, rows, first_key, last_key, first_time, last_time) WHERE rows > 0",
                each.join(" UNION ALL ")
            );
            for row in &session.ask(&sql, budget).await? {
                let read = Written::read(&Row(row));
                written.push(read.map_err(|field| UNREADABLE.because(format!("{place}: no readable {field} of a table")))?);
            }
        }
        Ok(Self::of(written))
    }

    fn of(mut written: Vec<Written>) -> Self {
        written.sort_by_key(|table| std::cmp::Reverse(table.rows));
        let (count, tables) = (written.iter().map(|table| table.rows).sum(), written.len());
        written.truncate(SHOWN);
        Self { count, tables, shown: written }
    }

    /// None at all.
    pub(crate) fn is_none(&self) -> bool {
        self.count == 0
    }

    /// How many rows, in which tables, with which keys and times.
    pub(crate) fn in_words(&self) -> String {
        let mut words: Vec<String> = self.shown.iter().map(Written::in_words).collect();
        if let Some(more) = self.tables.checked_sub(SHOWN).filter(|more| *more > 0) {
            words.push(format!("{more} more tables"));
        }
        words.join("; ")
    }
}

impl Written {
    fn read(row: &Row<'_>) -> Result<Self, &'static str> {
        let pair = |first, last| {
            Ok::<_, &'static str>(row.maybe(first)?.zip(row.maybe(last)?).map(|(a, b)| (a.to_owned(), b.to_owned())))
        };
        Ok(Self {
            table: row.text("name")?.to_owned(),
            rows: row.number("rows")?,
            keys: pair("first_key", "last_key")?,
            times: pair("first_time", "last_time")?,
        })
    }

    fn in_words(&self) -> String {
        let range = |what: &str, pair: Option<&(String, String)>| match pair {
            Some((first, last)) if first == last => format!(", {what} {first}"),
            Some((first, last)) => format!(", {what} {first} to {last}"),
            None => String::new(),
        };
        let plural = if self.rows == 1 { "row" } else { "rows" };
        let (keys, times) = (range("id", self.keys.as_ref()), range("time", self.times.as_ref()));
        format!("{} {plural} in {}{keys}{times}", self.rows, self.table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(table: &str, rows: u64) -> Written {
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        Written { table: table.to_owned(), rows, keys: pair("7", "9"), times: pair("10:00", "10:00") }
    }

    #[test]
    fn rows_are_told_the_most_first_with_their_keys_and_times() {
        let rows = Rows::of(vec![written("public.a", 1), written("public.b", 3)]);
        assert_eq!(rows.count, 4);
        let expected = "3 rows in public.b, id 7 to 9, time 10:00; 1 row in public.a, id 7 to 9, time 10:00";
        assert_eq!(rows.in_words(), expected);
        assert!(Rows::of(Vec::new()).is_none());
        let many = Rows::of((1..8).map(|n| written(&format!("public.t{n}"), n)).collect());
        assert!(many.in_words().ends_with("; 2 more tables"), "{}", many.in_words());
    }

    #[test]
    fn names_can_not_break_the_question() {
        let table = Table { name: "public.\"it's\"".into(), key: Some("id".into()), time: None };
        let sql = table.question("true");
        assert!(sql.starts_with("SELECT 'public.\"it''s\"' AS name, count(*), min(id)::text, max(id)::text, NULL"), "{sql}");
        assert!(sql.ends_with("FROM ONLY public.\"it's\" WHERE true"), "{sql}");
    }
}
