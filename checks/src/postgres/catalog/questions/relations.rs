//! Schemas, and what is in a table.

use super::{PEOPLES, Side, aspects, hidden, no_extensions, sorted};

/// Relations that count.
pub(super) fn mine() -> String {
    let free = no_extensions("pg_class", "c.oid");
    format!("pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND {PEOPLES} AND {free}")
}

/// `table`, `view` or `sequence`, before the name of a relation.
pub(super) const WORD: &str =
    "CASE c.relkind WHEN 'v' THEN 'view ' WHEN 'm' THEN 'view ' WHEN 'S' THEN 'sequence ' ELSE 'table ' END || c.oid::regclass";

pub(super) fn schemas() -> String {
    let (free, def) = (no_extensions("pg_namespace", "n.oid"), aspects("'owner', pg_get_userbyid(n.nspowner)"));
    format!("SELECT 'schema ' || quote_ident(n.nspname), false, {def} FROM pg_namespace n WHERE {PEOPLES} AND {free}")
}

pub(super) fn relations() -> String {
    let (options, toast) = (sorted("c.reloptions"), sorted("t.reloptions"));
    let def = aspects(&format!(
        "'kind', CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view' \
           WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence' ELSE 'foreign table' END, \
         'owner', pg_get_userbyid(c.relowner), \
         'persistence', CASE c.relpersistence WHEN 'u' THEN 'unlogged' WHEN 't' THEN 'temporary' ELSE 'logged' END, \
         'row security', CASE WHEN c.relrowsecurity THEN 'enabled' END, \
         'row security for the owner', CASE WHEN c.relforcerowsecurity THEN 'forced' END, \
         'replica identity', CASE c.relreplident WHEN 'f' THEN 'full' WHEN 'n' THEN 'nothing' WHEN 'i' THEN 'index' END, \
         'populated', CASE WHEN c.relkind = 'm' THEN CASE WHEN c.relispopulated THEN 'yes' ELSE 'no' END END, \
         'options', {options}, 'options of its toast table', {toast}, \
         'partitioned by', pg_get_partkeydef(c.oid), 'partition', pg_get_expr(c.relpartbound, c.oid), \
         'parents', (SELECT string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno) FROM pg_inherits i WHERE i.inhrelid = c.oid), \
         'of type', CASE WHEN c.reloftype <> 0 THEN c.reloftype::regtype::text END, \
         'access method', (SELECT nullif(a.amname, 'heap') FROM pg_am a WHERE a.oid = c.relam), \
         'triggers of constraints that do not fire', (SELECT nullif(count(*), 0)::text FROM pg_trigger g \
           WHERE g.tgrelid = c.oid AND g.tgisinternal AND g.tgenabled <> 'O')"
    ));
    format!(
        "SELECT {WORD}, false, {def} FROM {} LEFT JOIN pg_class t ON t.oid = c.reltoastrelid WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')",
        mine()
    )
}

pub(super) fn columns(side: &Side) -> String {
    let own_identity = if side.partitions_alike { "true" } else { "NOT c.relispartition" };
    // A dump writes the columns of an heir after those of its parents, whatever their order was.
    let def = aspects(&format!(
        "'type', format_type(a.atttypid, a.atttypmod), 'not null', CASE WHEN a.attnotnull THEN 'yes' END, \
         'identity', CASE WHEN {own_identity} THEN CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default' END END, \
         'generated', CASE a.attgenerated WHEN 's' THEN 'stored ' WHEN 'v' THEN 'virtual ' END || pg_get_expr(d.adbin, d.adrelid), \
         'default', CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END, \
         'collation', CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END, \
         'position', CASE WHEN c.relispartition OR NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid) THEN \
           row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum)::text END, \
         'storage', CASE WHEN a.attstorage <> t.typstorage THEN a.attstorage::text END, \
         'compression', nullif(a.attcompression::text, ''), \
         'statistics target', nullif(coalesce(a.attstattarget::integer, -1), -1)::text, \
         'options', {}, 'options of its foreign table', {}",
        sorted("a.attoptions"),
        hidden(&sorted("a.attfdwoptions"))
    ));
    format!(
        "SELECT 'column ' || c.oid::regclass || '.' || quote_ident(a.attname), \
         a.attnotnull AND a.attidentity = '' AND a.attgenerated = '' AND d.adbin IS NULL, {def} \
         FROM {} JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_type t ON t.oid = a.atttypid \
         LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped",
        mine()
    )
}

pub(super) fn constraints(side: &Side) -> String {
    // Before version 18 a column that is not null has no constraint of its own; what a partition has by its parent's foreign key is named
    // by the order in which partitions were attached.
    let kinds = if side.least < 18 { "('t', 'n')" } else { "('t')" };
    let def = aspects("'definition', pg_get_constraintdef(k.oid), 'validated', CASE WHEN NOT k.convalidated THEN 'no' END");
    format!(
        "SELECT 'constraint ' || c.oid::regclass || '.' || quote_ident(k.conname), true, {def} \
         FROM {} JOIN pg_constraint k ON k.conrelid = c.oid \
         WHERE k.contype NOT IN {kinds} AND NOT (k.contype = 'f' AND k.conparentid <> 0) \
         UNION ALL SELECT 'constraint ' || k.contypid::regtype || '.' || quote_ident(k.conname), true, {def} \
         FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace AND {PEOPLES} \
         WHERE k.contypid <> 0 AND k.contype = 'c' AND {}",
        mine(),
        no_extensions("pg_type", "k.contypid")
    )
}

pub(super) fn indexes() -> String {
    let def = aspects(
        "'definition', pg_get_indexdef(i.indexrelid), 'valid', CASE WHEN NOT i.indisvalid THEN 'no' END, \
         'ready', CASE WHEN NOT i.indisready THEN 'no' END, 'live', CASE WHEN NOT i.indislive THEN 'no' END, \
         'clustered by', CASE WHEN i.indisclustered THEN 'yes' END, 'replica identity', CASE WHEN i.indisreplident THEN 'yes' END, \
         'attached to', (SELECT h.inhparent::regclass::text FROM pg_inherits h WHERE h.inhrelid = i.indexrelid)",
    );
    format!(
        "SELECT 'index ' || i.indexrelid::regclass, i.indisunique OR i.indisexclusion, {def} FROM {} JOIN pg_index i ON i.indrelid = c.oid",
        mine()
    )
}

pub(super) fn sequences() -> String {
    let def = aspects(
        "'type', format_type(s.seqtypid, NULL), 'start', s.seqstart::text, 'increment', s.seqincrement::text, \
         'minimum', s.seqmin::text, 'maximum', s.seqmax::text, 'cache', s.seqcache::text, 'cycles', CASE WHEN s.seqcycle THEN 'yes' END, \
         'owned by', (SELECT d.refobjid::regclass || '.' || quote_ident(a.attname) FROM pg_depend d JOIN pg_attribute a \
           ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid \
           AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i'))",
    );
    format!("SELECT {WORD}, false, {def} FROM {} JOIN pg_sequence s ON s.seqrelid = c.oid", mine())
}
