//! Views: each version writes a query in its own words.

use super::names::Names;
use super::tables::Table;
use crate::model::rng::Rng;

/// What is selected of the row `x`; `c` stands for a column, `U` for a table, `k` for its number.
const ITEMS: &[&str] = &[
    "x.c",
    "x.c",
    "x.c::text",
    "coalesce(x.c::text, '-') || 'é'''",
    "x.c IS NULL",
    "count(*) OVER (PARTITION BY x.k)",
    "row_number() OVER (ORDER BY x.k DESC NULLS LAST)",
    "CASE WHEN x.k > 3 THEN 'many' WHEN x.c IS NULL THEN NULL ELSE 'few' END",
    "(SELECT max(y.k) FROM U y)",
    "(SELECT count(*) FROM U y WHERE y.k = x.k)",
    "ARRAY[x.k, 1]",
    "ROW(x.k, x.c)::text",
    "x.c::text LIKE 'a%'",
    "'literal'::text",
    "now() - interval '1 day 2 h'",
    "extract(epoch FROM now())",
    "date_trunc('day', now() AT TIME ZONE 'UTC')",
    "x.k BETWEEN 1 AND 7",
    "x.k IN (1, 2, 3)",
    "nullif(x.k, 0)",
    "greatest(x.k, 2)",
    "x.k % 3 = 1 AND NOT x.k = ANY (ARRAY[4, 5])",
    "position('a' IN x.c::text)",
    "substring(x.c::text FROM 1 FOR 2)",
    "trim(BOTH ' ' FROM x.c::text)",
    "(ROW(1, 'a')::app.pair).b",
    "'sad'::app.mood",
    "x.k::numeric(12,2)",
    "x.c::text COLLATE \"C\"",
    "x.k IS DISTINCT FROM 3",
    "CURRENT_DATE",
    "x.c::text SIMILAR TO 'a%'",
    "overlay('abc' PLACING 'x' FROM 2)",
    "x.k::float8 ^ 2 - -1",
    "('{\"a\": 1}'::jsonb -> 'a') ->> 0",
    "(ARRAY['a', 'b'])[1:1]",
    "make_interval(days => 2)",
    "x IS NOT NULL",
    "EXISTS (SELECT FROM U WHERE U.k = x.k)",
];
/// Where the row `x` comes from.
const PLACES: &[&str] = &[
    "T x",
    "T x",
    "T AS x",
    "ONLY T x",
    "T x JOIN U b ON x.k = b.k",
    "T x LEFT JOIN U b ON x.k = b.k AND b.k > 2",
    "T x, U b",
    "T x CROSS JOIN generate_series(1, 2) g(i)",
    "(SELECT * FROM T LIMIT 5) x",
    "T x CROSS JOIN LATERAL (SELECT count(*) AS n FROM U b WHERE b.k = x.k) l",
    "T x FULL JOIN U b ON x.k = b.k",
    "T x TABLESAMPLE BERNOULLI (50)",
    "T x JOIN (VALUES (1, 'one'), (2, 'two')) v(i, w) ON v.i = x.k",
    "(T x JOIN U b ON x.k = b.k) JOIN T z ON z.k = b.k",
    "T x RIGHT JOIN U AS \"Odd b\" ON x.k = \"Odd b\".k",
];
const WHERE: &[&str] = &[
    "",
    "",
    " WHERE x.c IS NOT NULL",
    " WHERE x.k > 2 AND (x.k < 100 OR x.c IS NULL)",
    " WHERE EXISTS (SELECT 1 FROM U y WHERE y.k = x.k)",
    " WHERE x.k IN (SELECT y.k FROM U y)",
    " WHERE x.c::text ~ '^a' OR NOT x.k = 5",
    " WHERE x.k = ANY (ARRAY(SELECT y.k::integer FROM U y WHERE y.k > x.k))",
];
const TAILS: &[&str] =
    &["", "", " ORDER BY 1", " ORDER BY x.k DESC LIMIT 10 OFFSET 1", " ORDER BY x.k FETCH FIRST 3 ROWS WITH TIES"];
/// Whole queries.
const WHOLE: &[&str] = &[
    "SELECT x.k % 5 AS g, count(*) AS n, string_agg(x.k::text, ', ' ORDER BY x.k) FILTER (WHERE x.k > 1) AS s FROM T x GROUP BY x.k % 5 HAVING count(*) > 0",
    "SELECT x.k AS a FROM T x UNION ALL SELECT y.k FROM U y EXCEPT SELECT 1",
    "SELECT DISTINCT ON (x.k) x.k AS a, x.c AS b FROM T x ORDER BY x.k",
    "WITH c AS MATERIALIZED (SELECT x.k AS a, x.c AS b FROM T x) SELECT c.a, c.b FROM c WHERE c.a > 1",
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT r.n, x.k FROM r JOIN T x ON x.k = r.n",
    "SELECT g.a, g.n FROM (SELECT x.k AS a, count(*) AS n FROM T x GROUP BY x.k) g WHERE g.n > 1",
    "SELECT * FROM T x",
    "SELECT x AS r, x.*::text AS t FROM T x",
    "SELECT x.k AS a, sum(x.k) OVER w AS s FROM T x WINDOW w AS (ORDER BY x.k ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)",
    "SELECT x.k AS a, grouping(x.k) AS g, avg(x.k) AS v FROM T x GROUP BY ROLLUP (x.k)",
    "SELECT k AS a, c AS b FROM T WHERE k > 0",
    "SELECT a.k AS one, b.k AS two FROM T a JOIN T b USING (k)",
    "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY x.k) AS median, bool_and(x.c IS NULL) AS none FROM T x",
    "SELECT k AS a FROM T WHERE k IN (SELECT k FROM U WHERE U.k = T.k)",
];

/// A query of these two tables.
pub(super) fn query(rng: &mut Rng, of: &Table, and: &Table) -> String {
    let column = of.columns.get(usize::try_from(rng.below(8)).unwrap()).map_or(&of.first, |column| &column.name);
    let template = if rng.percent(35) {
        rng.pick(WHOLE).to_owned()
    } else {
        let items: Vec<String> = (0..rng.between(1, 4)).map(|n| format!("{} AS i{n}", rng.pick(ITEMS))).collect();
        format!("SELECT {} FROM {}{}{}", items.join(", "), rng.pick(PLACES), rng.pick(WHERE), rng.pick(TAILS))
    };
    filled(&template, of, and, column)
}

/// Puts names for the words `T`, `U`, `k` (of either table by its alias) and `c`, outside of quotes.
fn filled(template: &str, of: &Table, and: &Table, column: &str) -> String {
    let (mut sql, mut quoted, mut word) = (String::new(), None, String::new());
    for c in template.chars().chain([' ']) {
        if quoted.is_none() && (c.is_ascii_alphanumeric() || c == '_') {
            word.push(c);
            continue;
        }
        let second =
            ["b.", "y.", "Odd b\"."].iter().any(|alias| sql.ends_with(alias)) || sql.ends_with(&format!("{}.", and.name));
        let of_second = second && !template.contains("T b");
        sql += match word.as_str() {
            "T" => &of.name,
            "U" => &and.name,
            "k" if of_second => &and.first,
            "k" => &of.first,
            "c" if sql.ends_with("x.") || template.starts_with("SELECT k AS a, c") => column,
            other => other,
        };
        word.clear();
        quoted = match quoted {
            Some(open) if open == c => None,
            None if c == '\'' || c == '"' => Some(c),
            other => other,
        };
        sql.push(c);
    }
    sql.trim_end().to_owned()
}

/// Some views, and one that keeps its rows.
pub(super) fn views(rng: &mut Rng, names: &mut Names, tables: &[Table]) -> Vec<String> {
    let last = u64::try_from(tables.len()).unwrap();
    let any = |rng: &mut Rng| &tables[usize::try_from(rng.below(last)).unwrap()];
    let mut sql = Vec::new();
    for n in 0..rng.between(1, 4) {
        let (of, and) = (any(rng), any(rng));
        let (view, query) = (names.in_schema(rng), query(rng, of, and));
        let options = rng.pick(&["", "", " WITH (security_barrier = true)"]);
        sql.push(match (n, rng.percent(30)) {
            (0, true) => format!("CREATE MATERIALIZED VIEW {view} AS {query}"),
            _ => format!("CREATE VIEW {view}{options} AS {query}"),
        });
        if rng.percent(30) {
            sql.push(format!(
                "COMMENT ON {} {view} IS 'it''s a view'",
                if sql.last().unwrap().contains("MATERIALIZED VIEW") { "MATERIALIZED VIEW" } else { "VIEW" }
            ));
        }
    }
    sql
}
