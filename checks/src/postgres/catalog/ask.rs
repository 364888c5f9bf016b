//! How a question is put: first for digests, then for what is in the buckets that differ, then for what little differs. So that much is
//! compared and little is sent.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::SimpleQueryRow;

use super::compare::{Facts, Marks, Thing};
use super::part::Part;
use super::questions::{Side, around, text};
use crate::postgres::observer::Row;

/// A definition that is longer travels as its digest.
const LONGEST: usize = 4000;

/// A side's question about one part.
#[derive(Debug, Clone)]
pub(super) struct Question {
    before: &'static str,
    things: String,
    after: &'static str,
}

impl Question {
    /// What is asked about `part`, without what `except` names.
    pub(super) fn of(side: &Side, part: Part, except: &[String]) -> Self {
        let (before, after) = around(part);
        let excepted = if except.is_empty() {
            "false".to_owned()
        } else {
            let patterns: Vec<String> = except.iter().map(|pattern| text(&like(pattern))).collect();
            format!("q.name COLLATE \"C\" LIKE ANY (ARRAY[{}])", patterns.join(", "))
        };
        // What has the same name is told apart by a number.
        let things = format!(
            "WITH things AS MATERIALIZED (SELECT name, harm, def, excepted, hashtextextended(name COLLATE \"C\", 0) AS place, \
             hashtextextended(name || ' ' || def COLLATE \"C\", 0) AS mark FROM (SELECT q.name || CASE WHEN row_number() OVER same > 1 THEN \
             ' #' || row_number() OVER same ELSE '' END AS name, q.harm, q.def, {excepted} AS excepted FROM ({}) q(name, harm, def) \
             WINDOW same AS (PARTITION BY q.name COLLATE \"C\" ORDER BY q.def COLLATE \"C\")) numbered) ",
            side.question(part)
        );
        Self { before, things, after }
    }

    fn put(&self, select: &str) -> String {
        format!("{}{}{select}{}", self.before, self.things, self.after)
    }

    /// How many there are, and a digest of all.
    pub(super) fn digest(&self) -> String {
        self.put(
            "SELECT count(*) FILTER (WHERE NOT excepted) AS things, coalesce(sum(mark) FILTER (WHERE NOT excepted), 0) AS digest, \
             count(*) FILTER (WHERE excepted) AS excepted FROM things",
        )
    }

    /// The same for each of so many buckets.
    pub(super) fn buckets(&self, buckets: u32) -> String {
        let last = buckets.saturating_sub(1);
        self.put(&format!(
            "SELECT place & {last} AS bucket, count(*) AS things, sum(mark) AS digest FROM things WHERE NOT excepted GROUP BY 1 ORDER BY 1"
        ))
    }

    /// What is in these of so many buckets.
    pub(super) fn names(&self, buckets: u32, these: &[u32]) -> String {
        let last = buckets.saturating_sub(1);
        let these: Vec<String> = these.iter().map(ToString::to_string).collect();
        self.put(&format!(
            "SELECT name, mark, harm FROM things WHERE NOT excepted AND place & {last} IN ({}) ORDER BY name COLLATE \"C\"",
            these.join(", ")
        ))
    }

    /// What these are like.
    pub(super) fn definitions(&self, names: &BTreeSet<String>) -> String {
        let names: Vec<String> = names.iter().map(|name| text(name)).collect();
        self.put(&format!(
            "SELECT name, harm, CASE WHEN length(def) > {LONGEST} THEN json_build_object('definition', '#' || md5(def))::text ELSE def END AS def \
             FROM things WHERE NOT excepted AND name COLLATE \"C\" IN ({})",
            names.join(", ")
        ))
    }

    /// The first of them.
    pub(super) fn first(&self) -> String {
        self.put("SELECT name FROM things WHERE NOT excepted ORDER BY name COLLATE \"C\" LIMIT 1")
    }
}

/// A pattern in which `*` stands for anything, as SQL writes it.
fn like(pattern: &str) -> String {
    pattern.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_").replace('*', "%")
}

/// How many there are, and a digest of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Digest {
    pub(super) things: u64,
    pub(super) sum: String,
    pub(super) excepted: u64,
}

pub(super) fn digest(rows: &[SimpleQueryRow]) -> Result<Digest, &'static str> {
    let [row] = rows else { return Err("row") };
    let row = Row(row);
    Ok(Digest { things: row.number("things")?, sum: row.text("digest")?.to_owned(), excepted: row.number("excepted")? })
}

/// By the bucket's number: how many, and their digest.
pub(super) fn buckets(rows: &[SimpleQueryRow]) -> Result<BTreeMap<u32, (u64, String)>, &'static str> {
    let one = |row| {
        let row = Row(row);
        Ok((row.number("bucket")?, (row.number("things")?, row.text("digest")?.to_owned())))
    };
    rows.iter().map(one).collect()
}

/// By name: a digest of the definition, and whether the thing does harm where it was not before.
pub(super) fn names(rows: &[SimpleQueryRow]) -> Result<Marks, &'static str> {
    let one = |row| {
        let row = Row(row);
        Ok((row.text("name")?.to_owned(), (row.text("mark")?.to_owned(), row.truth("harm")?)))
    };
    rows.iter().map(one).collect()
}

pub(super) fn definitions(rows: &[SimpleQueryRow]) -> Result<BTreeMap<String, Thing>, &'static str> {
    let one = |row| {
        let row = Row(row);
        let facts: Facts = serde_json::from_str(row.text("def")?).map_err(|_| "def")?;
        Ok((row.text("name")?.to_owned(), Thing { harm: row.truth("harm")?, facts }))
    };
    rows.iter().map(one).collect()
}

/// The one column of these rows.
pub(super) fn list(rows: &[SimpleQueryRow]) -> Result<Vec<String>, &'static str> {
    rows.iter().map(|row| Ok(Row(row).text("name")?.to_owned())).collect()
}
