//! Tables as they are on one of the servers: their columns, how many rows came after a mark, and the sum of those.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Add;
use std::str::FromStr;
use std::time::Duration;

use checks::postgres::by_hand::{Hand, Line, SHAPE, row_hash};
use checks::postgres::tables::OF_ROWS;
use serde::Deserialize;

use super::super::super::Context;
use super::super::super::trouble::Trouble;
use super::super::judge::list;
use super::super::{Patience, patiently, trouble};
use crate::exit::Exit;

/// Tables that are asked in one statement.
const AT_ONCE: usize = 100;

/// Asks, with what a refusal means here.
pub(super) async fn ask(hand: &mut Hand, sql: &str, limit: Duration) -> Result<Vec<Line>, Trouble> {
    hand.ask(sql, limit).await.map_err(|refused| {
        let trouble = trouble(&refused);
        if trouble.exit == Exit::AUTH {
            let next = "log in as a superuser, or as a role with pg_monitor that is a member of the tables' owner \
                 (`GRANT OWNER TO ROLE`); the observer needs SELECT on tables and sequences";
            return trouble.hint(next);
        }
        trouble
    })
}

/// A number in an answer.
pub(super) fn number<T: FromStr>(place: &str, row: Option<&Line>, column: &str) -> Result<T, Trouble> {
    let number = row.and_then(|row| row.text(column)?.parse().ok());
    number.ok_or_else(|| Trouble::new(Exit::UNKNOWN, format!("{place}: no readable {column} in the answer")))
}

/// How many rows, and the sum of their hashes: sums of parts add up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) rows: u64,
    hash: i128,
}

impl Add for Sum {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { rows: self.rows.saturating_add(other.rows), hash: self.hash.wrapping_add(other.hash) }
    }
}

/// A column: name, shape, type, and whether the server makes its values itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Column(String, String, String, bool);

/// A table of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    /// As SQL names it, with its schema.
    pub(super) name: String,
    /// Its owner, as SQL names it.
    pub(super) owner: String,
    /// Whether our role may read it and add rows.
    pub(super) writable: bool,
    columns: Vec<Column>,
}

impl Table {
    /// Without columns, for tests.
    #[cfg(test)]
    pub(super) fn named(name: &str) -> Self {
        Self { name: name.to_owned(), owner: "server".into(), writable: true, columns: Vec::new() }
    }

    /// What the other server's table of this name has otherwise.
    pub(super) fn differs_from(&self, other: &Self) -> Option<String> {
        let only = |one: &Self, two: &Self| one.columns.iter().find(|column| !two.columns.contains(column)).cloned();
        let column = only(self, other).or_else(|| only(other, self))?;
        let told = |table: &Self| {
            table.columns.iter().find(|other| other.0 == column.0).map_or_else(
                || "not there".to_owned(),
                |Column(_, _, kind, made)| format!("{kind}{}", if *made { ", generated" } else { "" }),
            )
        };
        Some(format!("column {} is {} on the new server and {} on the old one", column.0, told(self), told(other)))
    }

    /// The columns that are copied: what a server makes of others, it makes again.
    pub(super) fn copied(&self) -> String {
        let copied: Vec<&str> = self.columns.iter().filter(|column| !column.3).map(|column| column.0.as_str()).collect();
        copied.join(", ")
    }

    /// The sum of the rows that meet the condition.
    pub(super) async fn sum(&self, hand: &mut Hand, condition: &str, limit: Duration) -> Result<Sum, Trouble> {
        let columns: Vec<_> = self.columns.iter().map(|column| (column.0.clone(), column.1.clone())).collect();
        let hash = row_hash(&columns)
            .ok_or_else(|| Trouble::new(Exit::UNKNOWN, format!("{}: no readable columns of {}", hand.place(), self.name)))?;
        let sql = format!("SELECT count(*) AS rows, coalesce(sum({hash}), 0) AS hash FROM ONLY {} WHERE {condition}", self.name);
        let rows = ask(hand, &sql, limit).await?;
        let (place, row) = (hand.place(), rows.first());
        Ok(Sum { rows: number(place, row, "rows")?, hash: number(place, row, "hash")? })
    }
}

/// All tables that hold rows.
pub(super) async fn names(hand: &mut Hand, limit: Duration) -> Result<Vec<String>, Trouble> {
    named(hand, "true", limit).await
}

/// Those that were created, truncated, altered or granted since: their definition is newer.
pub(super) async fn redefined(hand: &mut Hand, after: &str, limit: Duration) -> Result<BTreeSet<String>, Trouble> {
    Ok(named(hand, &after.replace("xmin", "c.xmin"), limit).await?.into_iter().collect())
}

async fn named(hand: &mut Hand, condition: &str, limit: Duration) -> Result<Vec<String>, Trouble> {
    let sql = format!(
        "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name FROM {OF_ROWS} AND {condition} ORDER BY 1"
    );
    let rows = ask(hand, &sql, limit).await?;
    Ok(rows.iter().filter_map(|row| row.text("name").map(str::to_owned)).collect())
}

/// In which tables rows meet the condition, and how many.
pub(super) async fn written(
    cx: &mut Context<'_, '_>,
    hand: &mut Hand,
    condition: &str,
    patience: Patience,
) -> Result<BTreeMap<String, u64>, Trouble> {
    let names = names(hand, cx.request_timeout).await?;
    let mut written = BTreeMap::new();
    let words = format!("{}: counting rows", hand.place());
    for some in names.chunks(AT_ONCE) {
        let each: Vec<String> = some
            .iter()
            .map(|name| {
                let text = name.replace('\'', "''");
                format!("SELECT '{text}' AS name, count(*) AS rows FROM ONLY {name} WHERE {condition}")
            })
            .collect();
        let sql = format!("SELECT name, rows FROM ({}) AS t WHERE rows > 0", each.join(" UNION ALL "));
        let rows = patiently(cx.io, &words, ask(hand, &sql, patience.left())).await?;
        for row in &rows {
            written.insert(row.text("name").unwrap_or_default().to_owned(), number(hand.place(), Some(row), "rows")?);
        }
    }
    Ok(written)
}

/// What these tables are like; one that is not there is left out.
pub(super) async fn described(
    hand: &mut Hand,
    names: &BTreeSet<String>,
    limit: Duration,
) -> Result<BTreeMap<String, Table>, Trouble> {
    let names: Vec<String> = names.iter().cloned().collect();
    let sql = format!(
        "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name, quote_ident(pg_get_userbyid(c.relowner)) AS owner, \
         has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT') \
         AS writable, (SELECT json_agg(json_build_array(quote_ident(a.attname), {SHAPE}, format_type(a.atttypid, a.atttypmod), \
         a.attgenerated <> '') ORDER BY a.attname COLLATE \"C\") FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 \
         AND NOT a.attisdropped) AS columns \
         FROM {OF_ROWS} AND quote_ident(n.nspname) || '.' || quote_ident(c.relname) = ANY ({})",
        list(&names)
    );
    let mut tables = BTreeMap::new();
    for row in &ask(hand, &sql, limit).await? {
        let told = |column| row.text(column).unwrap_or_default().to_owned();
        let columns = serde_json::from_str(row.text("columns").unwrap_or("[]")).map_err(|error| {
            Trouble::new(Exit::UNKNOWN, format!("{}: no readable columns of {}: {error}", hand.place(), told("name")))
        })?;
        tables.insert(told("name"), Table { name: told("name"), owner: told("owner"), writable: row.yes("writable"), columns });
    }
    Ok(tables)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &[(&str, &str, bool)]) -> Table {
        let column = |(name, kind, made): &(&str, &str, bool)| Column((*name).into(), "plain".into(), (*kind).into(), *made);
        Table { columns: columns.iter().map(column).collect(), ..Table::named("public.t") }
    }

    #[test]
    fn what_differs_is_told_by_column() {
        let new = table(&[("id", "integer", false), ("twice", "integer", true), ("v", "text", false)]);
        assert_eq!(new.differs_from(&new.clone()), None);
        assert_eq!(new.copied(), "id, v");
        let old = table(&[("id", "bigint", false), ("twice", "integer", true), ("v", "text", false)]);
        let words = new.differs_from(&old).unwrap();
        assert_eq!(words, "column id is integer on the new server and bigint on the old one");
        let old = table(&[("id", "integer", false), ("twice", "integer", false)]);
        let words = new.differs_from(&old).unwrap();
        assert_eq!(words, "column twice is integer, generated on the new server and integer on the old one");
        let more = table(&[("id", "integer", false), ("twice", "integer", true), ("v", "text", false), ("w", "text", false)]);
        let words = new.differs_from(&more).unwrap();
        assert_eq!(words, "column w is not there on the new server and text on the old one");
    }
}
