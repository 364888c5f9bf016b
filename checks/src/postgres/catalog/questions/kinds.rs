//! Types, collations, extensions, and what people wrote about things.

use super::{PEOPLES, Side, aspects, hidden, no_extensions};

pub(super) fn types() -> String {
    let def = aspects(
        "'owner', pg_get_userbyid(t.typowner), \
         'labels', (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid), \
         'base', CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END, 'default', t.typdefault, \
         'not null', CASE WHEN t.typnotnull THEN 'yes' END, \
         'collation', CASE WHEN t.typcollation NOT IN (0, coalesce(b.typcollation, 0)) THEN t.typcollation::regcollation::text END, \
         'fields', (SELECT string_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod) || \
           CASE WHEN a.attcollation <> u.typcollation THEN ' COLLATE ' || a.attcollation::regcollation ELSE '' END, ', ' ORDER BY a.attnum) \
           FROM pg_attribute a JOIN pg_type u ON u.oid = a.atttypid WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped), \
         'range of', (SELECT concat_ws(' ', r.rngsubtype::regtype, r.rngmultitypid::regtype, r.rngcanonical::regproc, r.rngsubdiff::regproc, \
           CASE WHEN r.rngcollation <> 0 THEN r.rngcollation::regcollation END, (SELECT o.opcname FROM pg_opclass o WHERE o.oid = r.rngsubopc)) \
           FROM pg_range r WHERE r.rngtypid = t.oid), \
         'functions', CASE WHEN t.typtype = 'b' THEN concat_ws(' ', t.typinput::regproc, t.typoutput::regproc, t.typlen, t.typalign, t.typstorage, \
           t.typcategory) END",
    );
    format!(
        "SELECT CASE t.typtype WHEN 'd' THEN 'domain ' ELSE 'type ' END || format_type(t.oid, NULL), false, {def} \
         FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace AND {PEOPLES} LEFT JOIN pg_class c ON c.oid = t.typrelid \
         LEFT JOIN pg_type b ON b.oid = t.typbasetype \
         WHERE t.typtype <> 'm' AND (c.oid IS NULL OR c.relkind = 'c') AND NOT EXISTS (SELECT FROM pg_type s WHERE s.typarray = t.oid) AND {}",
        no_extensions("pg_type", "t.oid")
    )
}

pub(super) fn collations(side: &Side) -> String {
    let locale = if side.major < 17 { "l.colliculocale" } else { "l.colllocale" };
    let rules = if side.least < 16 { "NULL" } else { "l.collicurules" };
    let def = aspects(&format!(
        "'owner', pg_get_userbyid(l.collowner), 'provider', CASE l.collprovider WHEN 'i' THEN 'icu' WHEN 'c' THEN 'libc' WHEN 'b' THEN 'builtin' \
         ELSE 'default' END, 'deterministic', CASE WHEN NOT l.collisdeterministic THEN 'no' END, 'collate', l.collcollate, 'ctype', l.collctype, \
         'locale', {locale}, 'rules', {rules}, 'noted version', CASE WHEN l.collversion <> pg_collation_actual_version(l.oid) THEN \
         l.collversion || ' recorded, ' || pg_collation_actual_version(l.oid) || ' in use' END"
    ));
    format!(
        "SELECT 'collation ' || quote_ident(n.nspname) || '.' || quote_ident(l.collname), false, {def} \
         FROM pg_collation l JOIN pg_namespace n ON n.oid = l.collnamespace AND {PEOPLES} WHERE {}",
        no_extensions("pg_collation", "l.oid")
    )
}

pub(super) fn extensions() -> String {
    // What TimescaleDB keeps in its catalog is of one version; another one can not read it.
    let def = aspects(
        "'schema', quote_ident(n.nspname), 'version', CASE WHEN x.extname = 'timescaledb' THEN x.extversion END, \
         'version, or a newer one', CASE WHEN x.extname <> 'timescaledb' THEN x.extversion END",
    );
    format!(
        "SELECT 'extension ' || quote_ident(x.extname), false, {def} FROM pg_extension x JOIN pg_namespace n ON n.oid = x.extnamespace"
    )
}

pub(super) fn comments(side: &Side) -> String {
    let def = aspects(&format!("'text', {}", hidden("d.description")));
    format!(
        "SELECT 'comment on ' || i.type || ' ' || i.identity, false, {def} \
         FROM pg_description d, LATERAL pg_identify_object(d.classoid, d.objoid, d.objsubid) i \
         WHERE (d.objoid >= 16384 OR (i.type, i.identity) = ('schema', 'public')) AND i.identity IS NOT NULL \
         AND d.classoid <> 'pg_extension'::regclass \
         AND coalesce(i.schema, CASE i.type WHEN 'schema' THEN i.identity END, '') !~ '^\"?(pg_|_timescaledb|information_schema$|phasegate$)' \
         AND split_part(i.identity, '.', 1) <> 'phasegate' \
         AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = d.classoid AND e.objid = d.objoid AND e.deptype = 'e') \
         UNION ALL SELECT 'comment on role ' || quote_ident(r.rolname), false, {def} FROM pg_shdescription d JOIN pg_roles r \
         ON d.classoid = 'pg_authid'::regclass AND d.objoid = r.oid WHERE r.rolname !~ '^pg_' AND {} \
         UNION ALL SELECT 'comment on the database', false, {def} FROM pg_shdescription d JOIN pg_database b \
         ON d.classoid = 'pg_database'::regclass AND d.objoid = b.oid WHERE b.datname = current_database()",
        side.not_ours("r.rolname")
    )
}
