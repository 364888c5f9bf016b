//! Columns that draw from a sequence: their extreme, which the sequence must lie beyond.

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::net::Budget;
use crate::postgres::Refusal;
use crate::postgres::observer::Row;
use crate::postgres::pair::Reader;
use crate::postgres::slices::{Blocks, Trouble, took_too_long};

use super::sequence::{OF_APPLICATIONS, Sequence, columns, name_of};

/// Columns of one page.
const PAGE: usize = 200;

/// Which sequence, table and column, by the server's own numbers: the order in which columns are looked at.
pub(super) type Key = (u32, u32, i32);

/// Pairs of a sequence and a column that draws from it: by a default that calls `nextval()`, as an identity, or as its owner. A part of a
/// table whose parent draws from the same sequence is read with the parent.
const PAIRS: &str = "WITH RECURSIVE d AS (SELECT d.refobjid AS seq, ad.adrelid AS tab, ad.adnum::int AS col, \
     pg_get_expr(ad.adbin, ad.adrelid) ~ '^\\(*nextval\\(''([^'']|'''')*''::regclass\\)\\)*(::[a-z0-9 ]+)?\\)*$' AS plain \
     FROM pg_attrdef ad JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = ad.oid \
     AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'n'), \
     own AS (SELECT objid AS seq, refobjid AS tab, refobjsubid AS col, true AS plain FROM pg_depend \
     WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass AND deptype IN ('a', 'i') AND refobjsubid > 0), \
     o AS (SELECT * FROM d UNION SELECT * FROM own WHERE NOT EXISTS (SELECT FROM d WHERE d.tab = own.tab AND d.col = own.col)), \
     q AS (SELECT * FROM o WHERE NOT EXISTS (SELECT FROM o p JOIN pg_inherits i ON i.inhparent = p.tab \
     WHERE i.inhrelid = o.tab AND p.seq = o.seq))";

/// The type behind a domain.
const BASE: &str = "(WITH RECURSIVE b(t) AS (SELECT a.atttypid UNION SELECT typbasetype FROM b JOIN pg_type y ON y.oid = b.t \
     WHERE y.typtype = 'd') SELECT b.t::regtype::text FROM b JOIN pg_type y ON y.oid = b.t WHERE y.typtype <> 'd' LIMIT 1)";

fn from() -> String {
    format!(
        "FROM q JOIN (SELECT c.oid AS seq, {} FROM {OF_APPLICATIONS}) AS s USING (seq) \
         JOIN pg_class r ON r.oid = q.tab AND r.relkind IN ('r', 'p') JOIN pg_namespace m ON m.oid = r.relnamespace \
         JOIN pg_attribute a ON a.attrelid = q.tab AND a.attnum = q.col AND NOT a.attisdropped",
        columns()
    )
}

/// A column that draws from a sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) key: Key,
    pub(super) sequence: Sequence,
    /// `"schema"."table"`.
    pub(super) table: String,
    /// The table's schema and the column, as SQL names them.
    pub(super) schema: String,
    pub(super) name: String,
    /// The type behind it.
    pub(super) kind: String,
    pub(super) readable: bool,
    /// Whether row-level security hides rows of the table from the role.
    pub(super) hidden: bool,
    pub(super) indexed: bool,
    /// Whether its default is the sequence's next value itself, and no expression that makes another value of it.
    pub(super) plain: bool,
}

impl Column {
    fn read(row: &Row<'_>) -> Result<Self, &'static str> {
        Ok(Self {
            key: (row.number("seq")?, row.number("tab")?, row.number("col")?),
            sequence: Sequence::read(row)?,
            table: row.text("relation")?.to_owned(),
            schema: row.text("home")?.to_owned(),
            name: row.text("attribute")?.to_owned(),
            kind: row.text("kind")?.to_owned(),
            readable: row.truth("legible")?,
            hidden: row.truth("hidden")?,
            indexed: row.truth("indexed")?,
            plain: row.truth("plain")?,
        })
    }

    /// Columns in their order, after this one.
    pub(super) async fn page(reader: &mut Reader, after: Key, budget: Budget) -> Result<Vec<Self>, Trouble> {
        let sql = format!(
            "{PAIRS} SELECT q.seq, q.tab, q.col, q.plain, s.*, {} AS relation, quote_ident(m.nspname) AS home, \
             quote_ident(a.attname) AS attribute, {BASE} AS kind, row_security_active(r.oid) AS hidden, \
             has_schema_privilege(m.oid, 'USAGE') AND has_column_privilege(r.oid, a.attnum, 'SELECT') AS legible, \
             EXISTS (SELECT FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am w ON w.oid = x.relam \
             WHERE i.indrelid = q.tab AND i.indkey[0] = q.col AND i.indisvalid AND i.indpred IS NULL AND w.amname = 'btree') AS indexed \
             {} WHERE (q.seq, q.tab, q.col) > ({}::oid, {}::oid, {}) ORDER BY q.seq, q.tab, q.col LIMIT {PAGE}",
            name_of("m.nspname", "r.relname"),
            from(),
            after.0,
            after.1,
            after.2
        );
        let rows = reader.session.ask(&sql, budget).await?;
        let read: Result<Vec<Self>, _> = rows.iter().map(|row| Self::read(&Row(row))).collect();
        let columns = read.map_err(|field| reader.unreadable(field))?;
        let sorted = columns.iter().try_fold(after, |before, column| (before < column.key).then_some(column.key));
        if sorted.is_none() { Err(reader.unreadable("order").into()) } else { Ok(columns) }
    }

    /// How many there are.
    pub(super) async fn count(reader: &mut Reader, budget: Budget) -> Result<u64, Trouble> {
        let rows = reader.session.ask(&format!("{PAIRS} SELECT count(*) AS columns {}", from()), budget).await?;
        Ok(Row::only(&rows).and_then(|row| row.number("columns")).map_err(|field| reader.unreadable(field))?)
    }

    /// `public.t.id`.
    pub(super) fn label(&self) -> String {
        format!("{}.{}", super::sequence::plain(&self.table), self.name)
    }

    /// Whether its values are numbers that can be compared with the sequence's.
    pub(super) fn is_comparable(&self) -> bool {
        self.plain && matches!(self.kind.as_str(), "smallint" | "integer" | "bigint" | "numeric")
    }

    /// The last value that fits its type, in the direction that the sequence counts.
    pub(super) fn limit(&self) -> Option<i64> {
        let (least, most) = match self.kind.as_str() {
            "smallint" => (i64::from(i16::MIN), i64::from(i16::MAX)),
            "integer" => (i64::from(i32::MIN), i64::from(i32::MAX)),
            _ => return None,
        };
        let up = self.sequence.is_up();
        let narrower = if up { most < self.sequence.most } else { least > self.sequence.least };
        narrower.then_some(if up { most } else { least })
    }

    /// What opens the table.
    pub(super) fn grants(&self, role: &str) -> String {
        if self.readable {
            return format!("ALTER ROLE {role} BYPASSRLS;");
        }
        let schema = &self.schema;
        format!("GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role};")
    }

    /// The statement that gives the extreme; of a column of type numeric without what is no number.
    fn extreme(&self, condition: &str) -> String {
        let Self { table, name, kind, .. } = self;
        let (most, whole) = if self.sequence.is_up() { ("max", "ceil") } else { ("min", "floor") };
        if kind == "numeric" {
            let finite = format!("{name} > '-Infinity' AND {name} < 'Infinity'");
            return format!("SELECT {whole}({most}({name}))::text AS extreme FROM {table} WHERE {finite} AND {condition}");
        }
        format!("SELECT {most}({name})::text AS extreme FROM {table} WHERE {condition}")
    }
}

/// How far a column was read that is read in slices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Slice {
    of: Option<Key>,
    block: u64,
    extreme: Option<i64>,
}

/// What a question about a column came to.
pub(super) enum Read {
    /// Its extreme is known, if it has any value.
    Whole(Option<i64>),
    /// A slice more.
    Part,
    /// Not even the smallest slice is read in time.
    TooSlow,
}

impl Slice {
    /// Reads the column, or one slice more of it: all at once with an index, and block by block without one.
    pub(super) async fn advance(
        &mut self,
        reader: &mut Reader,
        column: &Column,
        blocks: &mut Blocks,
        budget: Budget,
    ) -> Result<Read, Trouble> {
        let begun = self.of == Some(column.key);
        if column.indexed && !begun {
            match reader.session.ask(&column.extreme("true"), budget).await {
                Ok(rows) => return Ok(Read::Whole(value(reader, &rows)?)),
                Err(refusal) if took_too_long(&refusal) => {}
                Err(refusal) => return Err(refusal.into()),
            }
        }
        if !begun {
            *self = Self { of: Some(column.key), ..Self::default() };
        }
        let total = size(reader, column, budget).await?;
        let end = (self.block + blocks.count()).min(u64::from(u32::MAX));
        let range = format!("ctid >= '({},0)'::tid AND ctid < '({end},0)'::tid", self.block);
        let asked = Instant::now();
        let rows = match reader.session.ask(&column.extreme(&range), budget).await {
            Ok(rows) => rows,
            Err(refusal) => return Self::was_refused(refusal, blocks),
        };
        blocks.took(asked.elapsed(), budget.timeout());
        let up = column.sequence.is_up();
        self.extreme = further(self.extreme, value(reader, &rows)?, up);
        self.block = end;
        if end < total { Ok(Read::Part) } else { Ok(Read::Whole(std::mem::take(self).extreme)) }
    }

    fn was_refused(refusal: Refusal, blocks: &mut Blocks) -> Result<Read, Trouble> {
        match took_too_long(&refusal) {
            true if blocks.shrink() => Ok(Read::Part),
            true => Ok(Read::TooSlow),
            false => Err(refusal.into()),
        }
    }

    /// For people.
    pub(super) fn words(&self) -> String {
        if self.of.is_some() { format!(", block {}", self.block) } else { String::new() }
    }
}

/// The blocks of the largest part of a table.
async fn size(reader: &mut Reader, column: &Column, budget: Budget) -> Result<u64, Trouble> {
    let sql = format!(
        "WITH RECURSIVE tree(oid) AS (SELECT {}::oid UNION SELECT inhrelid FROM tree JOIN pg_inherits ON inhparent = tree.oid) \
         SELECT coalesce(max(pg_relation_size(c.oid)), 0)::bigint / current_setting('block_size')::bigint AS blocks \
         FROM tree JOIN pg_class c USING (oid) WHERE c.relkind = 'r'",
        column.key.1
    );
    let rows = reader.session.ask(&sql, budget).await?;
    Ok(Row::only(&rows).and_then(|row| row.number("blocks")).map_err(|field| reader.unreadable(field))?)
}

fn value(reader: &Reader, rows: &[tokio_postgres::SimpleQueryRow]) -> Result<Option<i64>, Trouble> {
    let row = Row::only(rows).map_err(|field| reader.unreadable(field))?;
    let text = row.maybe("extreme").map_err(|field| reader.unreadable(field))?;
    text.map(|text| number(text).ok_or_else(|| reader.unreadable("extreme").into())).transpose()
}

/// A whole number; one that no sequence reaches is as good as the last one that it could.
fn number(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let beyond = if text.starts_with('-') { i64::MIN } else { i64::MAX };
    Some(text.parse().unwrap_or(beyond))
}

fn further(one: Option<i64>, other: Option<i64>, up: bool) -> Option<i64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if up { one.max(other) } else { one.min(other) }),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_are_whole_numbers_of_any_length() {
        assert_eq!(number("-12"), Some(-12));
        assert_eq!(number("123456789012345678901234567890"), Some(i64::MAX));
        assert_eq!(number("-123456789012345678901234567890"), Some(i64::MIN));
        assert_eq!(["", "-", "NaN", "1.5", "1 "].map(number), [None; 5]);
        assert_eq!(further(Some(3), Some(5), true), Some(5));
        assert_eq!(further(Some(3), Some(5), false), Some(3));
        assert_eq!(further(None, Some(5), true), Some(5));
    }
}
