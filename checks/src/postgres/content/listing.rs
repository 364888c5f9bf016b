//! Which tables a database has, some at a time and in the same order on every server.

use std::collections::BTreeSet;

use crate::net::Budget;
use crate::outcome::Outcome;
use crate::postgres::observer::Row;
use crate::postgres::pair::Reader;
use crate::postgres::tables::OF_ROWS;

use super::Table;

/// Most tables that are listed at once.
pub(crate) const AT_ONCE: usize = 50;

/// Tables that an extension keeps for itself; their rows are its own, and not the application's.
const NOT_OURS: &str = "n.nspname NOT IN ('_timescaledb_catalog', '_timescaledb_config', '_timescaledb_cache') \
     AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e' \
     AND NOT c.oid = ANY (SELECT unnest(x.extconfig) FROM pg_extension x WHERE x.oid = e.refobjid))";

/// What is said of each table `c` of schema `n`, once it is known which they are.
const DETAILS: &str = "quote_ident(n.nspname) AS schema, pg_relation_filenode(c.oid) AS file, \
     c.relkind = 'p' OR (SELECT amname = 'heap' FROM pg_am WHERE oid = c.relam) AS heap, \
     has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') AS readable, \
     c.relpersistence = 'u' AS unlogged, \
     (SELECT json_agg(json_build_array(quote_ident(a.attname), CASE WHEN a.atttypid = 'bytea'::regtype THEN 'bytes' \
      WHEN a.atttypid IN ('text'::regtype, 'varchar'::regtype) THEN 'text' ELSE 'plain' END) ORDER BY a.attnum) \
      FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns, \
     (SELECT json_agg(quote_ident(a.attname) ORDER BY k.place) FROM pg_index i \
      CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place) \
      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum \
      WHERE i.indrelid = c.oid AND i.indisprimary AND k.place <= i.indnkeyatts) AS key";

/// Tables after one name, up to another.
fn question(after: &str, up_to: Option<&str>) -> String {
    let text = |name: &str| format!("'{}'", name.replace('\'', "''"));
    let up_to = up_to.map_or_else(String::new, |name| format!(" AND t.name COLLATE \"C\" <= {}", text(name)));
    format!(
        "WITH RECURSIVE up AS (SELECT inhrelid AS member, inhparent AS root FROM pg_inherits \
         UNION SELECT up.member, i.inhparent FROM up JOIN pg_inherits i ON i.inhrelid = up.root), \
         family AS (SELECT member, min(root::oid) AS root FROM up \
         WHERE NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = up.root) GROUP BY member \
         UNION SELECT inhparent, inhparent FROM pg_inherits p WHERE NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = p.inhparent)), \
         t AS (SELECT c.oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name FROM {OF_ROWS} AND {NOT_OURS}), \
         layout AS (SELECT f.root, md5(string_agg(t.name, ',' ORDER BY t.name COLLATE \"C\")) AS layout, \
         min(t.name COLLATE \"C\") AS first FROM family f JOIN t ON t.oid = f.member GROUP BY f.root), \
         slice AS (SELECT t.oid, t.name, quote_ident(rn.nspname) || '.' || quote_ident(r.relname) AS root, l.layout, l.first = t.name AS first \
         FROM t LEFT JOIN family f ON f.member = t.oid LEFT JOIN layout l ON l.root = f.root \
         LEFT JOIN pg_class r ON r.oid = l.root LEFT JOIN pg_namespace rn ON rn.oid = r.relnamespace \
         WHERE t.name COLLATE \"C\" > {}{up_to} ORDER BY t.name COLLATE \"C\" LIMIT {AT_ONCE}) \
         SELECT s.name, s.root, s.layout, s.first, false AS whole, \
         pg_relation_size(c.oid) / current_setting('block_size')::bigint AS pages, {DETAILS} \
         FROM slice s JOIN pg_class c ON c.oid = s.oid JOIN pg_namespace n ON n.oid = c.relnamespace ORDER BY s.name COLLATE \"C\"",
        text(after)
    )
}

/// One family as a whole. Its pages are counted in step: those of its largest table.
fn whole(root: &str) -> String {
    let name = root.replace('\'', "''");
    format!(
        "WITH RECURSIVE down AS (SELECT '{name}'::regclass::oid AS oid \
         UNION SELECT i.inhrelid FROM down JOIN pg_inherits i ON i.inhparent = down.oid) \
         SELECT '{name}' AS name, NULL AS root, NULL AS layout, NULL AS first, true AS whole, \
         (SELECT max(pg_relation_size(oid)) FROM down) / current_setting('block_size')::bigint AS pages, {DETAILS} \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = '{name}'::regclass"
    )
}

/// What there is in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) tables: u64,
    pub(crate) pages: u64,
    /// Tables whose rows lie on another server.
    pub(crate) foreign: u64,
    /// Views that keep rows: they are made anew from the tables.
    pub(crate) views: u64,
    pub(crate) bytes: u64,
}

impl Reader {
    /// The next tables after this name; at most [`AT_ONCE`], and up to a name, if there is one.
    pub(crate) async fn tables(&mut self, after: &str, up_to: Option<&str>, budget: Budget) -> Result<Vec<Table>, Outcome> {
        let rows = self.ask(&question(after, up_to), budget).await?;
        let read: Result<Vec<Table>, _> = rows.iter().map(|row| Table::read(&Row(row))).collect();
        let tables = read.map_err(|field| self.unreadable(field))?;
        // Their order is the server's own; one twice, or one that was there before, is no next one.
        let names: BTreeSet<&str> = tables.iter().map(|table| table.name.as_str()).chain([after]).collect();
        if names.len() <= tables.len() || tables.len() > AT_ONCE {
            return Err(self.unreadable("list of tables"));
        }
        Ok(tables)
    }

    /// A family of tables as a whole.
    pub(crate) async fn whole(&mut self, root: &str, budget: Budget) -> Result<Option<Table>, Outcome> {
        let there = format!("SELECT to_regclass('{}') AS there", root.replace('\'', "''"));
        let there = self.ask(&there, budget).await?;
        let there =
            Row::only(&there).and_then(|row| Ok(row.maybe("there")?.is_some())).map_err(|field| self.unreadable(field))?;
        if !there {
            return Ok(None);
        }
        let rows = self.ask(&whole(root), budget).await?;
        Row::only(&rows).and_then(|row| Table::read(&row)).map(Some).map_err(|field| self.unreadable(field))
    }

    /// How much there is to be read.
    pub(crate) async fn extent(&mut self, budget: Budget) -> Result<Extent, Outcome> {
        let sql = format!(
            "SELECT count(*) AS tables, coalesce(sum(pg_relation_size(c.oid)), 0) AS bytes, \
             coalesce(sum(pg_relation_size(c.oid) / current_setting('block_size')::bigint), 0) AS pages, \
             (SELECT count(*) FROM pg_class WHERE relkind = 'f') AS foreign_tables, \
             (SELECT count(*) FROM pg_class WHERE relkind = 'm') AS views FROM {OF_ROWS} AND {NOT_OURS}"
        );
        let rows = self.ask(&sql, budget).await?;
        let row = Row::only(&rows).map_err(|field| self.unreadable(field))?;
        let number = |name| row.number::<u64>(name).map_err(|field| self.unreadable(field));
        Ok(Extent {
            tables: number("tables")?,
            pages: number("pages")?,
            foreign: number("foreign_tables")?,
            views: number("views")?,
            bytes: number("bytes")?,
        })
    }
}
