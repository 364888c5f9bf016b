//! What hangs on tables: indexes, constraints, views, functions, triggers, policies, types, sequences, comments.

use super::Of::{Catalog, Old, OldSequence, Sequence};
use super::{Kind, kind};

/// Indexes `c` of tables that no constraint needs.
macro_rules! index {
    ($plant:literal, $where:literal) => {
        concat!(
            "SELECT ",
            $plant,
            ", c.t, '' FROM {rel} JOIN pg_index i ON i.indexrelid = c.oid JOIN pg_class r ON r.oid = i.indrelid \
             WHERE NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = c.oid AND contype IN ('p', 'u', 'x')) AND ",
            $where
        )
    };
}

/// Constraints `k` of tables `c`.
macro_rules! constraint {
    ($plant:literal, $where:literal) => {
        concat!("SELECT ", $plant, ", quote_ident(k.conname), '' FROM {rel} JOIN pg_constraint k ON k.conrelid = c.oid WHERE k.contype <> 'n' AND k.contype <> 't' AND ", $where)
    };
}

/// Triggers `g` of tables `c`.
macro_rules! trigger {
    ($plant:literal, $where:literal) => {
        concat!(
            "SELECT ",
            $plant,
            ", quote_ident(g.tgname), '' FROM {rel} JOIN pg_trigger g ON g.tgrelid = c.oid WHERE NOT g.tgisinternal AND ",
            $where
        )
    };
}

/// Policies `p` of tables `c`.
macro_rules! policy {
    ($format:literal) => {
        concat!(
            "SELECT format('",
            $format,
            "', p.polname, c.t), quote_ident(p.polname), '' FROM {rel} JOIN pg_policy p ON p.polrelid = c.oid"
        )
    };
}

/// Functions `p`.
macro_rules! function {
    ($plant:literal, $where:literal) => {
        concat!(
            "SELECT ", $plant, ", p.oid::regprocedure::text, '' FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace AND {mine} \
             WHERE p.prokind = 'f' AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid \
             AND e.deptype IN ('e', 'i')) AND ", $where
        )
    };
}

/// Sequences `s`.
macro_rules! sequence {
    ($plant:literal, $where:literal) => {
        concat!("SELECT ", $plant, ", c.t, '' FROM {rel} JOIN pg_sequence s ON s.seqrelid = c.oid WHERE ", $where)
    };
}

#[rustfmt::skip]
pub(super) const KINDS: &[Kind] = &[
    kind("index dropped", Catalog, index!("format('DROP INDEX %s', c.t)", "true")),
    kind("index renamed", Catalog, "SELECT format('ALTER INDEX %s RENAME TO \"new one\"', c.t), c.t, '' FROM {rel} WHERE c.relkind IN ('i', 'I')"),
    kind("no longer unique", Catalog, index!("format('DROP INDEX %s; ', c.t) || replace(pg_get_indexdef(c.oid), 'CREATE UNIQUE INDEX', 'CREATE INDEX')", "i.indisunique")),
    kind("only where", Catalog, index!("format('DROP INDEX %s; %s WHERE %I IS NOT NULL', c.t, pg_get_indexdef(c.oid), (SELECT attname FROM pg_attribute \
        WHERE attrelid = i.indrelid AND attnum = 1))", "i.indpred IS NULL AND r.relkind = 'r'")),
    kind("options of an index", Catalog, "SELECT format('ALTER INDEX %s SET (fillfactor = 66)', c.t), c.t, '' FROM {rel} WHERE c.relkind = 'i'"),
    kind("clustered by", Catalog, "SELECT format('ALTER TABLE %s CLUSTER ON %I', i.indrelid::regclass, c.relname), c.t, '' FROM {rel} JOIN pg_index i \
        ON i.indexrelid = c.oid WHERE c.relkind = 'i' AND NOT i.indisclustered"),
    kind("unique index added", Catalog, "SELECT format('CREATE UNIQUE INDEX \"new one\" ON %s (%I)', c.t, a.attname), '\"new one\"', '' FROM {rel} JOIN pg_attribute a \
        ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped WHERE c.relkind IN ('r', 'm')"),
    kind("constraint dropped", Catalog, constraint!("format('ALTER TABLE %s DROP CONSTRAINT %I CASCADE', c.t, k.conname)", "true")),
    kind("constraint not valid", Catalog, constraint!("format('ALTER TABLE %1$s DROP CONSTRAINT %2$I; ALTER TABLE %1$s ADD CONSTRAINT %2$I %3$s NOT VALID', c.t, k.conname, \
        pg_get_constraintdef(k.oid))", "k.convalidated AND k.contype IN ('c', 'f') AND k.conislocal")),
    // What a partition has by its parent's foreign key is named by the order in which partitions were attached.
    kind("constraint renamed", Catalog, constraint!("format('ALTER TABLE %s RENAME CONSTRAINT %I TO \"new one\"', c.t, k.conname)", "NOT (k.contype = 'f' AND k.conparentid <> 0)")),
    kind("constraint deferrable", Catalog, constraint!("format('ALTER TABLE %s ALTER CONSTRAINT %I %s', c.t, k.conname, CASE WHEN k.condeferrable THEN 'NOT DEFERRABLE' \
        ELSE 'DEFERRABLE' END)", "k.contype = 'f' AND k.conparentid = 0")),
    kind("foreign key does otherwise", Catalog, constraint!("format('ALTER TABLE %1$s DROP CONSTRAINT %2$I; ALTER TABLE %1$s ADD CONSTRAINT %2$I %3$s', c.t, k.conname, \
        CASE WHEN k.confdeltype = 'a' THEN regexp_replace(pg_get_constraintdef(k.oid), '( ON UPDATE .*)?$', ' ON DELETE CASCADE') ELSE \
        regexp_replace(pg_get_constraintdef(k.oid), ' ON DELETE (CASCADE|SET NULL)', '') END)", "k.contype = 'f' AND k.conparentid = 0")),
    kind("check added", Catalog, "SELECT format('ALTER TABLE %s ADD CONSTRAINT \"new one\" CHECK (%I IS NOT NULL) NOT VALID', c.t, a.attname), '\"new one\"', '' FROM {rel} \
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped WHERE c.relkind IN ('r', 'p')"),
    kind("trigger disabled or enabled", Catalog, trigger!("format('ALTER TABLE %s %s TRIGGER %I', c.t, CASE g.tgenabled WHEN 'D' THEN 'ENABLE' ELSE 'DISABLE' END, g.tgname)", "true")),
    kind("trigger on a replica", Catalog, trigger!("format('ALTER TABLE %s ENABLE REPLICA TRIGGER %I', c.t, g.tgname)", "g.tgenabled <> 'R'")),
    kind("trigger dropped", Catalog, trigger!("format('DROP TRIGGER %I ON %s', g.tgname, c.t)", "true")),
    kind("trigger with other words", Catalog, trigger!("format('DROP TRIGGER %I ON %s; %s', g.tgname, c.t, replace(pg_get_triggerdef(g.oid), '(''a''', '(''other'''))", "g.tgenabled = 'O'")),
    kind("trigger added", Catalog, "SELECT format('CREATE TRIGGER \"new one\" BEFORE UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()', c.t), \
        '\"new one\"', '' FROM {rel} WHERE c.relkind IN ('r', 'p')"),
    kind("rule dropped", Catalog, "SELECT format('DROP RULE %I ON %s', w.rulename, c.t), quote_ident(w.rulename), '' FROM {rel} JOIN pg_rewrite w ON w.ev_class = c.oid \
        WHERE w.rulename <> '_RETURN'"),
    kind("rule disabled", Catalog, "SELECT format('ALTER TABLE %s DISABLE RULE %I', c.t, w.rulename), quote_ident(w.rulename), '' FROM {rel} JOIN pg_rewrite w \
        ON w.ev_class = c.oid WHERE w.rulename <> '_RETURN'"),
    kind("rule added", Catalog, "SELECT format('CREATE RULE \"new one\" AS ON DELETE TO %s DO INSTEAD NOTHING', c.t), '\"new one\"', '' FROM {rel} WHERE c.relkind = 'r'"),
    kind("policy dropped", Catalog, policy!("DROP POLICY %I ON %s")),
    kind("policy for others", Catalog, policy!("ALTER POLICY %I ON %s TO grafana")),
    kind("policy with other words", Catalog, policy!("ALTER POLICY %I ON %s USING (true)")),
    kind("policy added", Catalog, "SELECT format('CREATE POLICY \"new one\" ON %s USING (true)', c.t), '\"new one\"', '' FROM {rel} WHERE c.relkind = 'r'"),
    kind("view selects less", Catalog, "SELECT format('CREATE OR REPLACE VIEW %s AS SELECT * FROM (%s) q LIMIT 7', c.t, rtrim(pg_get_viewdef(c.oid), ';')), c.t, '' \
        FROM {rel} WHERE c.relkind = 'v'"),
    kind("view with another number", Catalog, "SELECT format('CREATE OR REPLACE VIEW %s AS %s', c.t, d.new), c.t, '' FROM {rel}, LATERAL (SELECT \
        regexp_replace(pg_get_viewdef(c.oid), '([(= >])([12])([), ])', '\\1 77\\3') AS new) d WHERE c.relkind = 'v' AND d.new <> pg_get_viewdef(c.oid) \
        AND pg_get_viewdef(c.oid) !~ 'ORDER BY [12]'"),
    kind("view dropped", Catalog, "SELECT format('DROP %s %s CASCADE', CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'MATERIALIZED VIEW' END, c.t), c.t, '' FROM {rel} \
        WHERE c.relkind IN ('v', 'm')"),
    kind("view as a barrier", Catalog, "SELECT format('ALTER VIEW %s SET (security_barrier = %s)', c.t, CASE WHEN c.reloptions IS NULL THEN 'true' ELSE 'false' END), c.t, '' \
        FROM {rel} WHERE c.relkind = 'v'"),
    kind("column of a view renamed", Catalog, "SELECT format('ALTER VIEW %s RENAME COLUMN %I TO \"new one\"', c.t, a.attname), c.t, '' FROM {rel} JOIN pg_attribute a \
        ON a.attrelid = c.oid AND a.attnum > 0 WHERE c.relkind = 'v'"),
    kind("nothing in a view", Catalog, "SELECT format('REFRESH MATERIALIZED VIEW %s WITH NO DATA', c.t), c.t, '' FROM {rel} WHERE c.relkind = 'm'"),
    kind("function dropped", Catalog, function!("format('DROP FUNCTION %s CASCADE', p.oid::regprocedure)", "true")),
    kind("body of a function", Catalog, function!("replace(pg_get_functiondef(p.oid), p.prosrc, p.prosrc || ' ')", "p.prosrc <> ''")),
    kind("security of a function", Catalog, function!("format('ALTER FUNCTION %s SECURITY %s', p.oid::regprocedure, CASE WHEN p.prosecdef THEN 'INVOKER' ELSE 'DEFINER' END)", "true")),
    kind("volatility of a function", Catalog, function!("format('ALTER FUNCTION %s %s', p.oid::regprocedure, CASE p.provolatile WHEN 'v' THEN 'STABLE' ELSE 'VOLATILE' END)", "true")),
    kind("cost of a function", Catalog, function!("format('ALTER FUNCTION %s COST 99', p.oid::regprocedure)", "true")),
    kind("settings of a function", Catalog, function!("format('ALTER FUNCTION %s SET work_mem = ''9MB''', p.oid::regprocedure)", "true")),
    kind("owner of a function", Catalog, function!("format('ALTER FUNCTION %s OWNER TO grafana', p.oid::regprocedure)", "true")),
    kind("value of an enumeration added", Catalog, "SELECT 'ALTER TYPE app.mood ADD VALUE ''new'' BEFORE ''sad''', 'app.mood', ''"),
    kind("value of an enumeration renamed", Catalog, "SELECT 'ALTER TYPE app.mood RENAME VALUE ''sad'' TO ''new''', 'app.mood', ''"),
    kind("domain", Catalog, "SELECT *, 'app.small', '' FROM (VALUES ('ALTER DOMAIN app.small DROP CONSTRAINT not_huge'), ('ALTER DOMAIN app.small SET DEFAULT 4'), \
        ('ALTER DOMAIN app.small DROP DEFAULT'), ('ALTER DOMAIN app.small SET NOT NULL'), ('ALTER DOMAIN app.small ADD CONSTRAINT more CHECK (VALUE <> 31) NOT VALID')) v"),
    kind("composite type", Catalog, "SELECT *, 'app.pair', '' FROM (VALUES ('ALTER TYPE app.pair ADD ATTRIBUTE c integer'), ('ALTER TYPE app.pair RENAME ATTRIBUTE a TO z'), \
        ('ALTER TYPE app.pair OWNER TO grafana'), ('REVOKE USAGE ON TYPE app.pair FROM PUBLIC; GRANT USAGE ON TYPE app.pair TO grafana')) v"),
    kind("how a sequence counts", Catalog, "SELECT format('ALTER SEQUENCE %s %s', c.t, o.o), c.t, '' FROM {rel}, (VALUES ('INCREMENT BY 9'), ('CACHE 17'), \
        ('MAXVALUE 32000'), ('START WITH 13'), ('OWNED BY NONE'), ('CYCLE')) o(o) WHERE c.relkind = 'S' AND NOT (o.o = 'CYCLE' AND (SELECT seqcycle FROM pg_sequence WHERE seqrelid = c.oid)) \
        AND NOT (o.o = 'OWNED BY NONE' AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0))"),
    kind("sequence dropped", Catalog, sequence!("format('DROP SEQUENCE %s CASCADE', c.t)", "true")),
    kind("sequence set back", Sequence, sequence!("format('SELECT setval(%L, last_value - %s) FROM %s WHERE is_called', c.t, s.seqincrement, c.t)", "CASE c.relkind WHEN 'S' THEN pg_sequence_last_value(c.oid) END \
        IS NOT NULL AND CASE c.relkind WHEN 'S' THEN pg_sequence_last_value(c.oid) END - s.seqincrement BETWEEN s.seqmin AND s.seqmax")),
    kind("sequence begins anew", Sequence, sequence!("format('ALTER SEQUENCE %s RESTART', c.t)", "CASE c.relkind WHEN 'S' THEN pg_sequence_last_value(c.oid) END IS NOT NULL")),
    kind("comment dropped", Catalog, "SELECT format('COMMENT ON TABLE %s IS NULL', c.t), c.t, '' FROM {rel} WHERE c.relkind = 'r' AND obj_description(c.oid, 'pg_class') IS NOT NULL"),
    kind("comment changed", Catalog, "SELECT format('COMMENT ON COLUMN %s.%I IS ''other''', c.t, a.attname), c.t, '' FROM {rel} JOIN pg_attribute a ON a.attrelid = c.oid \
        WHERE a.attnum > 0 AND col_description(c.oid, a.attnum) IS NOT NULL"),
    kind("comment of a function", Catalog, function!("format('COMMENT ON FUNCTION %s IS ''other''', p.oid::regprocedure)", "obj_description(p.oid, 'pg_proc') IS NOT NULL")),
    kind("statistics object dropped", Catalog, "SELECT format('DROP STATISTICS %I.%I', n.nspname, x.stxname), quote_ident(x.stxname), '' FROM pg_statistic_ext x \
        JOIN pg_namespace n ON n.oid = x.stxnamespace"),
    kind("publication dropped", Catalog, "SELECT format('DROP PUBLICATION %I', p.pubname), quote_ident(p.pubname), '' FROM pg_publication p"),
    kind("publication tells less", Catalog, "SELECT format('ALTER PUBLICATION %I SET (publish = ''insert'')', p.pubname), quote_ident(p.pubname), '' FROM pg_publication p"),
    kind("extension dropped", Catalog, "SELECT format('DROP EXTENSION %I CASCADE', x.extname), quote_ident(x.extname), '' FROM pg_extension x WHERE x.extname <> 'plpgsql'"),
    kind("owner of a schema", Catalog, "SELECT *, 'app', '' FROM (VALUES ('ALTER SCHEMA app OWNER TO grafana')) v"),
    kind("index added after the dump", Old, "SELECT format('CREATE INDEX \"new one\" ON %s (%I)', c.t, a.attname), '\"new one\"', '' FROM {rel} JOIN pg_attribute a \
        ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped WHERE c.relkind = 'r'"),
    kind("constraint added after the dump", Old, "SELECT format('ALTER TABLE %s ADD CONSTRAINT \"new one\" CHECK (true)', c.t), '\"new one\"', '' FROM {rel} WHERE c.relkind = 'r'"),
    kind("view changed after the dump", Old, "SELECT format('CREATE OR REPLACE VIEW %s AS SELECT * FROM (%s) q LIMIT 7', c.t, rtrim(pg_get_viewdef(c.oid), ';')), c.t, '' \
        FROM {rel} WHERE c.relkind = 'v'"),
    kind("function changed after the dump", Old, function!("replace(pg_get_functiondef(p.oid), p.prosrc, p.prosrc || ' ')", "p.prosrc <> ''")),
    kind("comment made after the dump", Old, "SELECT format('COMMENT ON TABLE %s IS ''late''', c.t), c.t, '' FROM {rel} WHERE c.relkind = 'r'"),
    kind("enumeration after the dump", Old, "SELECT 'ALTER TYPE app.mood ADD VALUE ''late''', 'app.mood', ''"),
    kind("sequence counted after the dump", OldSequence, sequence!("format('SELECT nextval(%L)', c.t)", "NOT s.seqcycle")),
];
