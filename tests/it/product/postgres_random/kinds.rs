//! Types of columns, with values that text, locale, precision or a dump could spoil.

use crate::model::rng::Rng;

/// A type of columns.
pub(super) struct Kind {
    pub(super) sql: &'static str,
    /// Values at the edges, as expressions.
    edges: &'static [&'static str],
    /// The value of row `n`.
    pub(super) series: &'static str,
    /// How it can be indexed.
    pub(super) index: Option<&'static str>,
}

const fn kind(sql: &'static str, edges: &'static [&'static str], series: &'static str, index: &'static str) -> Kind {
    Kind { sql, edges, series, index: if index.is_empty() { None } else { Some(index) } }
}

/// Types that every database has, and those of [`TYPES`].
#[rustfmt::skip]
pub(super) const KINDS: &[Kind] = &[
    kind("integer", &["0", "'-2147483648'", "2147483647"], "n", "btree"),
    kind("bigint", &["0", "'-9223372036854775808'", "9223372036854775807"], "n::bigint * 1000003", "brin"),
    kind("smallint", &["'-32768'", "32767"], "n % 30000", "hash"),
    kind("numeric", &["'NaN'", "'1.0'", "'1.00'", "'-0.000'", "'Infinity'", "'12345678901234567890.1234567890'", "'1e-20'"], "n * 0.10", "btree"),
    kind("numeric(12,3)", &["0", "'NaN'", "'-999999999.999'", "'0.0005'"], "n / 7.0", "btree"),
    kind("real", &["'NaN'", "'-0'", "'infinity'", "'1e-38'", "'0.1'", "'3.4e38'"], "n / 3.0", "btree"),
    kind("double precision", &["'NaN'", "'-0'", "'-infinity'", "'1e-307'", "0.1::float8 + 0.2", "'4.9e-324'"], "n / 3.0", "btree"),
    kind("text", &["''", "' '", "E'line\\nquote '' \" \\t\\\\'", "'Ünï ↯ 😀'", "U&'e\\0301'", "'é'", "'NULL'", "'\\N'", "repeat('x', 9000)",
        "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 300) i)"], "'v' || n", ""),
    kind("varchar(20)", &["''", "'x  '", "'ÄÖÜäöüß€'", "'{\"a\"}'"], "'v' || n", "btree"),
    kind("char(5)", &["''", "'abc'", "'ü'"], "'c' || n % 1000", "btree"),
    kind("\"char\"", &["'a'", "''"], "'z'", "btree"),
    kind("name", &["''", "'Odd \" name'"], "'n' || n", "btree"),
    kind("bytea", &["'\\x'", "'\\x00ff27'", "decode(repeat('ab', 4000), 'hex')"], "decode(md5(n::text), 'hex')", ""),
    kind("boolean", &["true", "false"], "n % 2 = 0", "btree"),
    kind("date", &["'infinity'", "'-infinity'", "'0044-03-15 BC'", "'2026-02-28'"], "'2026-01-01'::date + n", "btree"),
    kind("timestamp", &["'infinity'", "'2026-10-25 02:30:00'", "'0001-01-01 00:00:00 BC'"], "'2026-01-01'::timestamp + n * interval '1 min'", "brin"),
    kind("timestamptz", &["'-infinity'", "'2026-10-25 02:30:00+02'", "'1883-11-18 12:03:58+00'"], "'2026-01-01'::timestamptz + n * interval '1 us'", "btree"),
    kind("timestamptz(0)", &["'2026-10-25 02:30:00.5+02'", "'infinity'"], "'2026-01-01'::timestamptz + n * interval '1 h'", "btree"),
    kind("time", &["'24:00:00'", "'00:00:00.000001'"], "'00:00'::time + n * interval '1 s'", "btree"),
    kind("timetz", &["'12:00+02'", "'23:59:59.999-15:59'"], "'12:00+01'", "btree"),
    kind("interval", &["'0'", "'1 mon -3 days 04:05:06.7'", "'-1 day'", "'24:00'", "'1 day'", "'178000000 years'"], "n * interval '1 min'", "btree"),
    kind("uuid", &["'00000000-0000-0000-0000-000000000000'"], "md5(n::text)::uuid", "btree"),
    kind("inet", &["'::1'", "'10.0.0.1/8'", "'10.0.0.1'"], "'10.0.0.0'::inet + n", "btree"),
    kind("cidr", &["'10.0.0.0/8'", "'::/0'"], "'192.168.0.0/16'", "btree"),
    kind("macaddr", &["'08:00:2b:01:02:03'"], "'08:00:2b:01:02:04'", "btree"),
    kind("json", &["'{\"b\": 1,  \"a\": 1.0, \"a\": 2}'", "'null'", "'\"\\u00e9\"'", "'[ ]'"], "json_build_object('n', n)", ""),
    kind("jsonb", &["'{\"n\": 1.000, \"b\": [null, \"x\"]}'", "'null'", "'{}'", "'1e2'"], "jsonb_build_object('n', n)", "gin"),
    kind("text[]", &["'{}'", "'{\"a,b\",NULL,\"\",\"NULL\"}'", "'[0:1]={x,y}'"], "ARRAY['a' || n]", "gin"),
    kind("integer[]", &["'{}'", "'{{1,2},{3,4}}'", "'{NULL}'"], "ARRAY[n, n + 1]", "gin"),
    kind("numeric[]", &["'{1.0,1.00,NaN}'"], "ARRAY[n * 0.1]", ""),
    kind("point", &["'(1.1,-2)'", "'(NaN,-0)'", "'(infinity,0)'"], "point(n, n / 3.0)", "gist"),
    kind("box", &["'(1,1),(0,0)'"], "box(point(n, n), point(0, 0))", ""),
    kind("tsvector", &["'a fat cat'", "''", "'a:1A b:2,3'"], "to_tsvector('simple', 'word' || n)", "gin"),
    kind("tsquery", &["'a & !b'", "'a <2> b:*'"], "'x'", ""),
    kind("bit(3)", &["B'101'", "B'000'"], "(n % 8)::bit(3)", "btree"),
    kind("varbit", &["B''", "B'1'"], "B'10'", "btree"),
    kind("money", &["'12.50'", "'-0.01'"], "n::money", "btree"),
    kind("int4range", &["'empty'", "'(,)'", "'[1,5)'"], "int4range(n, n + 5)", "gist"),
    kind("numrange", &["'empty'", "'[1.0,1.00]'", "'(,NaN)'"], "numrange(n, n * 2.0)", "gist"),
    kind("tstzrange", &["'[-infinity,infinity]'", "'empty'"], "tstzrange('2026-01-01'::timestamptz, NULL)", "gist"),
    kind("int4multirange", &["'{}'", "'{[1,3),[5,7)}'"], "int4multirange(int4range(n, n + 1))", "gist"),
    kind("pg_lsn", &["'0/0'", "'FFFFFFFF/FFFFFFFF'"], "'0/0'::pg_lsn + n", "btree"),
    kind("oid", &["0", "'4294967295'"], "n", "btree"),
    kind("regclass", &["'pg_class'", "'0'"], "'pg_type'", "btree"),
    kind("jsonpath", &["'$.a[*] ? (@ > 1)'"], "'$.b'", ""),
    kind("app.mood", &["'sad'", "'it''s ok'", "'Ünï'"], "(enum_range(NULL::app.mood))[1 + n % 3]", "btree"),
    kind("app.mood[]", &["'{}'", "'{sad,\"it''s ok\",NULL}'"], "ARRAY['sad']", ""),
    kind("app.small", &["0", "'-5'", "29999"], "n % 100", "btree"),
    kind("app.\"Mail\"", &["''", "'a@b'", "'Ä'"], "n || '@x'", "btree"),
    kind("app.pair", &["ROW(1, 'x,\"y')", "ROW(NULL, NULL)", "ROW(0, '')"], "ROW(n, 'p')", ""),
    kind("app.pair[]", &["ARRAY[ROW(1, 'x')::app.pair, NULL]"], "ARRAY[ROW(n, NULL)::app.pair]", ""),
    kind("app.span", &["'empty'", "'[1.5,infinity)'", "'[NaN,NaN]'", "'[-0,0]'"], "app.span(n, n + 0.5)", "gist"),
];

/// What [`KINDS`] names beside what every database has.
pub(super) const TYPES: &str = "CREATE TYPE app.mood AS ENUM ('sad', 'it''s ok', 'Ünï');\n\
     CREATE DOMAIN app.small AS integer DEFAULT 3 CONSTRAINT not_huge CHECK (VALUE < 30000);\n\
     CREATE DOMAIN app.\"Mail\" AS text COLLATE \"C\" CHECK (VALUE <> 'never');\n\
     CREATE TYPE app.pair AS (a integer, b text);\nCREATE TYPE app.span AS RANGE (SUBTYPE = float8)";

impl Kind {
    /// One of them.
    pub(super) fn any(rng: &mut Rng) -> &'static Self {
        &KINDS[usize::try_from(rng.below(u64::try_from(KINDS.len()).unwrap())).unwrap()]
    }

    /// A value at the edge.
    pub(super) fn edge(&self, rng: &mut Rng) -> String {
        format!("({})::{}", rng.pick(self.edges), self.sql)
    }

    /// The same, as a default can be.
    pub(super) fn constant(&self, rng: &mut Rng) -> String {
        let value = self.edge(rng);
        if value.contains("SELECT") { "''::text".to_owned() } else { value }
    }

    /// The same, or NULL where that may be.
    pub(super) fn edge_or_null(&self, rng: &mut Rng, not_null: bool) -> String {
        if !not_null && rng.percent(25) { "NULL".to_owned() } else { self.edge(rng) }
    }
}
