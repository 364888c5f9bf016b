//! Tables and their columns.

use super::Of::{Catalog, Old};
use super::{Kind, kind};

/// Columns of tables (those of heirs change with them, so the column alone is the name), with a statement that is made of the table, the column and a third text.
macro_rules! column {
    ($format:literal, $third:literal, $where:literal) => {
        concat!(
            "SELECT format('", $format, "', c.t, a.attname, ", $third, "), quote_ident(a.attname), '' FROM {rel} JOIN pg_attribute a \
             ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped JOIN pg_type t ON t.oid = a.atttypid WHERE c.relkind IN ('r', 'p') AND ", $where
        )
    };
}

/// Tables, with a statement that is made of the table's name.
macro_rules! table {
    ($format:literal, $where:literal) => {
        concat!("SELECT format('", $format, "', c.t, c.relname), c.t, '' FROM {rel} WHERE ", $where)
    };
}

#[rustfmt::skip]
pub(super) const KINDS: &[Kind] = &[
    kind("column dropped", Catalog, column!("ALTER TABLE %1$s DROP COLUMN %2$I", "''", "true")),
    kind("column renamed", Catalog, column!("ALTER TABLE %1$s RENAME COLUMN %2$I TO \"new one\"", "''", "true")),
    kind("column that must be filled", Catalog, table!("ALTER TABLE %1$s ADD COLUMN \"new one\" integer NOT NULL", "c.relkind = 'r' AND c.reltuples <= 0")),
    kind("type of a column", Catalog, column!("ALTER TABLE %1$s ALTER %2$I TYPE %3$s",
        "CASE t.typname WHEN 'int4' THEN 'bigint' WHEN 'int8' THEN 'numeric' WHEN 'int2' THEN 'integer' WHEN 'varchar' THEN 'text' WHEN 'text' THEN 'varchar' \
         WHEN 'timestamptz' THEN 'timestamp' WHEN 'float4' THEN 'float8' WHEN 'bpchar' THEN 'varchar' WHEN 'date' THEN 'timestamp' ELSE 'text' END", "true")),
    kind("precision of a column", Catalog, column!("ALTER TABLE %1$s ALTER %2$I TYPE %3$s", "t.oid::regtype", "a.atttypmod <> -1")),
    kind("default dropped", Catalog, column!("ALTER TABLE %1$s ALTER %2$I DROP DEFAULT", "''", "a.atthasdef AND a.attgenerated = ''")),
    kind("default changed", Catalog, column!("ALTER TABLE %1$s ALTER %2$I SET DEFAULT %3$s", "CASE t.typcategory WHEN 'N' THEN '41' ELSE '''q''' END",
        "t.typname IN ('int4', 'int8', 'numeric', 'text', 'varchar') AND a.attgenerated = '' AND a.attidentity = ''")),
    kind("not null dropped", Catalog, column!("ALTER TABLE %1$s ALTER %2$I DROP NOT NULL", "''", "a.attnotnull")),
    kind("not null set", Catalog, column!("ALTER TABLE %1$s ALTER %2$I SET NOT NULL", "''", "NOT a.attnotnull")),
    kind("identity", Catalog, column!("ALTER TABLE %1$s ALTER %2$I SET GENERATED %3$s", "CASE a.attidentity WHEN 'a' THEN 'BY DEFAULT' ELSE 'ALWAYS' END", "a.attidentity <> ''")),
    kind("identity dropped", Catalog, column!("ALTER TABLE %1$s ALTER %2$I DROP IDENTITY", "''", "a.attidentity <> ''")),
    kind("no longer generated", Catalog, column!("ALTER TABLE %1$s ALTER %2$I DROP EXPRESSION", "''", "a.attgenerated <> ''")),
    kind("statistics of a column", Catalog, column!("ALTER TABLE %1$s ALTER %2$I SET STATISTICS 77", "''", "true")),
    kind("storage of a column", Catalog, column!("ALTER TABLE %1$s ALTER %2$I SET STORAGE EXTERNAL", "''", "a.attstorage = 'x' AND t.typstorage = 'x'")),
    kind("compression of a column", Catalog, column!("ALTER TABLE %1$s ALTER %2$I SET COMPRESSION pglz", "''", "a.attstorage = 'x'")),
    kind("options of a column", Catalog, column!("ALTER TABLE %1$s ALTER %2$I SET (n_distinct = 5)", "''", "true")),
    kind("table dropped", Catalog, table!("DROP TABLE %1$s CASCADE", "c.relkind IN ('r', 'p')")),
    kind("table renamed", Catalog, table!("ALTER TABLE %1$s RENAME TO \"new one\"", "c.relkind IN ('r', 'p')")),
    kind("table in another schema", Catalog, table!("CREATE SCHEMA other; ALTER TABLE %1$s SET SCHEMA other", "c.relkind IN ('r', 'p')")),
    kind("owner of a table", Catalog, table!("ALTER TABLE %1$s OWNER TO grafana", "c.relkind IN ('r', 'p', 'v')")),
    kind("unlogged", Catalog, table!("ALTER TABLE %1$s SET UNLOGGED", "c.relkind = 'r' AND c.relpersistence = 'p'")),
    kind("logged", Catalog, table!("ALTER TABLE %1$s SET LOGGED", "c.relkind = 'r' AND c.relpersistence = 'u'")),
    kind("options of a table", Catalog, table!("ALTER TABLE %1$s SET (fillfactor = 55)", "c.relkind = 'r'")),
    kind("row security", Catalog, table!("ALTER TABLE %1$s ENABLE ROW LEVEL SECURITY", "c.relkind IN ('r', 'p') AND NOT c.relrowsecurity")),
    kind("no row security", Catalog, table!("ALTER TABLE %1$s DISABLE ROW LEVEL SECURITY", "c.relrowsecurity")),
    kind("row security of the owner", Catalog, table!("ALTER TABLE %1$s FORCE ROW LEVEL SECURITY", "c.relkind IN ('r', 'p') AND NOT c.relforcerowsecurity")),
    kind("replica identity", Catalog, table!("ALTER TABLE %1$s REPLICA IDENTITY NOTHING", "c.relkind = 'r'")),
    kind("partition detached", Catalog, "SELECT format('ALTER TABLE %s DETACH PARTITION %s', h.inhparent::regclass, c.t), c.t, '' FROM {rel} JOIN pg_inherits h \
        ON h.inhrelid = c.oid WHERE c.relispartition AND c.relkind IN ('r', 'p')"),
    kind("bounds of a partition", Catalog, "SELECT format('ALTER TABLE %1$s DETACH PARTITION %2$s; ALTER TABLE %1$s ATTACH PARTITION %2$s FOR VALUES FROM (MINVALUE) TO (5)', \
        h.inhparent::regclass, c.t), c.t, '' FROM {rel} JOIN pg_inherits h ON h.inhrelid = c.oid WHERE c.relispartition AND c.relkind IN ('r', 'p')"),
    kind("inheritance cut", Catalog, "SELECT format('ALTER TABLE %s NO INHERIT %s', c.t, h.inhparent::regclass), c.t, '' FROM {rel} JOIN pg_inherits h \
        ON h.inhrelid = c.oid WHERE NOT c.relispartition AND c.relkind = 'r'"),
    kind("triggers of constraints", Catalog, "SELECT format('ALTER TABLE %s DISABLE TRIGGER ALL', c.t), c.t, '' FROM {rel} WHERE c.relkind = 'r' \
        AND EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND g.tgisinternal AND g.tgenabled = 'O')"),
    kind("table replaced by a view", Catalog, table!("CREATE TABLE \"app\".\"new one\" AS TABLE %1$s; DROP TABLE %1$s; CREATE VIEW %1$s AS TABLE \"app\".\"new one\"", "c.relkind = 'r'")),
    kind("column added after the dump", Old, table!("ALTER TABLE %1$s ADD COLUMN \"new one\" integer", "c.relkind IN ('r', 'p')")),
    kind("table made after the dump", Old, "SELECT 'CREATE TABLE app.late (a integer)', 'app.late', ''"),
    kind("type changed after the dump", Old, column!("ALTER TABLE %1$s ALTER %2$I TYPE bigint", "''", "t.typname = 'int4'")),
    kind("default changed after the dump", Old, column!("ALTER TABLE %1$s ALTER %2$I SET DEFAULT 41", "''", "t.typname IN ('int4', 'int8', 'numeric') AND a.attgenerated = '' AND a.attidentity = ''")),
    kind("owner changed after the dump", Old, table!("ALTER TABLE %1$s OWNER TO grafana", "c.relkind IN ('r', 'p', 'v')")),
];
