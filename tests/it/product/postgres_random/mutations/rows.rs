//! Rows that are gone, doubled, moved or another.

use super::Of::{Catalog, OldRows, Rows};
use super::{Kind, kind};

/// Another value of a column `a` of type `t`.
macro_rules! changed {
    ($before:literal) => {
        concat!(
            $before,
            " FROM {tab} JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' \
             JOIN pg_type t ON t.oid = a.atttypid, LATERAL (SELECT format(CASE WHEN t.typname IN ('int2', 'int4', 'int8') THEN 'coalesce(%1$I, 7) # 1' \
             WHEN t.typname = 'numeric' THEN '%1$I + 0.10' WHEN t.typname IN ('float4', 'float8') THEN '-%1$I' WHEN t.typname IN ('text', 'varchar', \
             'bpchar', 'Mail') THEN 'left(coalesce(%1$I, ''''), 3) || ''ä''' WHEN t.typname = 'bytea' THEN '%1$I || ''\\x00''::bytea' \
             WHEN t.typname = 'bool' THEN 'NOT %1$I' WHEN t.typname = 'date' THEN '%1$I + 1' WHEN t.typname IN ('timestamp', 'timestamptz', 'interval') \
             THEN '%1$I + ''1 s''::interval' WHEN t.typname = 'uuid' THEN 'md5(%1$I::text)::uuid' WHEN t.typname = 'inet' THEN '%1$I + 1' \
             WHEN t.typname IN ('macaddr', 'bit') THEN '~%1$I' WHEN t.typname = 'json' THEN 'json_build_array(%1$I)' WHEN t.typname = 'jsonb' THEN \
             'jsonb_build_array(%1$I)' WHEN t.typcategory = 'A' THEN '%1$I || %1$I' WHEN t.typname = 'point' THEN '%1$I + point(1, 0)' \
             WHEN t.typname = 'varbit' THEN '%1$I || B''1''' WHEN t.typname = 'money' THEN '%1$I + 1::money' WHEN t.typtype = 'r' THEN '''empty''' \
             WHEN t.typtype = 'm' THEN '''{}''' WHEN t.typtype = 'e' THEN '(SELECT l FROM unnest(enum_range(%1$I)) l WHERE l IS DISTINCT FROM %1$I LIMIT 1)' \
             WHEN t.typname = 'tsvector' THEN '%1$I || ''z''::tsvector' WHEN t.typtype = 'c' THEN '''(77,changed)''' WHEN t.typname IN ('oid', 'regclass') \
             THEN '''2747''' WHEN t.typname = 'pg_lsn' THEN '%1$I + 1' WHEN t.typname = 'tsquery' THEN '!!%1$I' WHEN t.typname = 'box' THEN \
             '''((9,9),(1,1))''' WHEN t.typname = 'time' THEN '''01:01:01''' WHEN t.typname = 'timetz' THEN '''01:01:01+03''' WHEN t.typname = 'cidr' THEN \
             '''11.0.0.0/8''' WHEN t.typname = 'small' THEN '''42''' WHEN t.typname = 'jsonpath' THEN '''$.z''' ELSE '''q''' END, a.attname) AS new) e"
        )
    };
}

#[rustfmt::skip]
pub(super) const KINDS: &[Kind] = &[
    kind("row deleted", Rows, "SELECT format('DELETE FROM ONLY %1$s WHERE {row}', c.t), c.t, '' FROM {tab}"),
    kind("half of the rows deleted", Rows, "SELECT format('DELETE FROM ONLY %1$s WHERE hashtext(ctid::text) %% 2 = 0', c.t), c.t, '' FROM {tab}"),
    kind("all rows deleted", Rows, "SELECT format('DELETE FROM ONLY %1$s', c.t), c.t, '' FROM {tab}"),
    kind("row doubled", Rows, "SELECT format('INSERT INTO %1$s (%2$s) OVERRIDING SYSTEM VALUE SELECT %2$s FROM ONLY %1$s WHERE {row}', c.t, {list}), c.t, '' FROM {tab}"),
    kind("row added", Rows, "SELECT format('INSERT INTO %1$s DEFAULT VALUES', c.t), c.t, '' FROM {rel} WHERE c.relkind = 'r'"),
    kind("row doubled and another deleted", Rows, "SELECT format('WITH gone AS (DELETE FROM ONLY %1$s WHERE {row} RETURNING *) INSERT INTO %1$s (%2$s) \
        OVERRIDING SYSTEM VALUE SELECT %2$s FROM ONLY %1$s x WHERE x.ctid = (SELECT ctid FROM ONLY %1$s ORDER BY ctid OFFSET ({n} / 3) %% \
        (SELECT count(*) FROM ONLY %1$s) LIMIT 1) AND x::text <> (SELECT gone::text FROM gone)', c.t, {list}), c.t, '' FROM {tab}"),
    kind("value changed", Rows, changed!("SELECT format('UPDATE ONLY %1$s SET %2$I = %3$s WHERE {row} AND %2$I::text IS DISTINCT FROM \
        (%3$s)::%4$s::text', c.t, a.attname, e.new, format_type(a.atttypid, a.atttypmod)), c.t, ''")),
    kind("value changed once more", Rows, changed!("SELECT format('UPDATE ONLY %1$s SET %2$I = %3$s WHERE {row} AND %2$I::text IS DISTINCT FROM \
        (%3$s)::%4$s::text', c.t, a.attname, e.new, format_type(a.atttypid, a.atttypmod)), c.t, ''")),
    kind("value set to null", Rows, "SELECT format('UPDATE ONLY %1$s SET %2$I = NULL WHERE {row} AND %2$I IS NOT NULL', c.t, a.attname), c.t, '' FROM {tab} \
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND NOT a.attnotnull"),
    kind("column set to null", Rows, "SELECT format('UPDATE ONLY %1$s SET %2$I = NULL WHERE %2$I IS NOT NULL', c.t, a.attname), c.t, '' FROM {tab} \
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND NOT a.attnotnull"),
    kind("values swapped", Rows, "SELECT format('UPDATE ONLY %1$s x SET %2$I = y.%2$I FROM ONLY %1$s y, (SELECT ARRAY[(SELECT ctid FROM ONLY %1$s ORDER BY ctid \
        OFFSET {n} %% (SELECT count(*) FROM ONLY %1$s) LIMIT 1), (SELECT ctid FROM ONLY %1$s ORDER BY ctid OFFSET ({n} / 7 + 1) %% (SELECT count(*) FROM ONLY %1$s) \
        LIMIT 1)] AS both) z WHERE x.ctid = ANY (z.both) AND y.ctid = ANY (z.both) AND x.ctid <> y.ctid AND x.%2$I::text IS DISTINCT FROM y.%2$I::text', \
        c.t, a.attname), c.t, '' FROM {tab} JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary JOIN pg_attribute a ON a.attrelid = c.oid \
        AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND NOT a.attnum = ANY (i.indkey)"),
    kind("blank appended", Rows, "SELECT format('UPDATE ONLY %1$s SET %2$I = %2$I || '' '' WHERE {row} AND %2$I IS DISTINCT FROM (%2$I || '' '')::%3$s', c.t, \
        a.attname, format_type(a.atttypid, a.atttypmod)), c.t, '' FROM {tab} JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
        AND a.atttypid IN ('text'::regtype, 'varchar'::regtype)"),
    kind("letters decomposed", Rows, "SELECT format('UPDATE ONLY %1$s SET %2$I = normalize(%2$I, NFD) WHERE %2$I <> normalize(%2$I, NFD)', c.t, a.attname), c.t, '' \
        FROM {tab} JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid = 'text'::regtype"),
    kind("times shifted", Rows, "SELECT format('UPDATE ONLY %1$s SET %2$I = %2$I + interval ''1 h'' WHERE isfinite(%2$I)', c.t, a.attname), c.t, '' \
        FROM {tab} JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype)"),
    kind("digit appended", Rows, "SELECT format('UPDATE ONLY %1$s SET %2$I = (%2$I::text || ''0'')::numeric WHERE {row} AND %2$I::text ~ ''^-?[0-9]+[.][0-9]+$''', \
        c.t, a.attname), c.t, '' FROM {tab} JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid = 'numeric'::regtype \
        AND a.atttypmod = -1"),
    kind("rows numbered anew", Rows, "SELECT format('UPDATE ONLY %1$s SET %2$I = %2$I + 1000000', c.t, a.attname), c.t, '' FROM {tab} JOIN pg_attribute a \
        ON a.attrelid = c.oid AND a.attnum = 1 AND NOT a.attisdropped AND a.atttypid IN ('int4'::regtype, 'int8'::regtype)"),
    kind("row moved to the parent", Rows, "SELECT format('WITH gone AS (DELETE FROM ONLY %1$s WHERE {row} RETURNING %2$s) INSERT INTO %3$s (%2$s) SELECT %2$s FROM gone', \
        c.t, (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = h.inhparent AND attnum > 0 AND NOT attisdropped \
        AND attgenerated = ''), h.inhparent::regclass), c.t, '' FROM {tab} JOIN pg_inherits h ON h.inhrelid = c.oid WHERE NOT c.relispartition"),
    kind("large object changed", Catalog, "SELECT format('SELECT lo_put(%s, 0, ''\\x77'')', m.oid), 'with other content', '' FROM pg_largeobject_metadata m"),
    kind("large object unlinked", Catalog, "SELECT format('SELECT lo_unlink(%s)', m.oid), 'large objects of', '' FROM pg_largeobject_metadata m"),
    kind("row doubled after the dump", OldRows, "SELECT format('INSERT INTO %1$s (%2$s) OVERRIDING SYSTEM VALUE SELECT %2$s FROM ONLY %1$s WHERE {row}', c.t, {list}), \
        c.t, '' FROM {tab}"),
    kind("row added after the dump", OldRows, "SELECT format('INSERT INTO %1$s DEFAULT VALUES', c.t), c.t, '' FROM {rel} WHERE c.relkind = 'r'"),
    kind("value changed after the dump", OldRows, changed!("SELECT format('UPDATE ONLY %1$s SET %2$I = %3$s WHERE {row} AND %2$I::text IS DISTINCT FROM \
        (%3$s)::%4$s::text', c.t, a.attname, e.new, format_type(a.atttypid, a.atttypmod)), c.t, ''")),
];
