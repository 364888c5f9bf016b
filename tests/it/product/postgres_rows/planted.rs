//! One thing that is wrong at a time, in rows that came over: each is named, and nothing is once it is mended.

use super::*;

const SCHEMA: &str = "CREATE TABLE readings (id int PRIMARY KEY, at timestamptz NOT NULL, value numeric, note text); \
     INSERT INTO readings SELECT n, '2026-01-01'::timestamptz + n * interval '1 min', n * 0.10, 'note ' || n FROM generate_series(1, 60000) AS n; \
     CREATE TABLE metrics (time timestamptz(0) NOT NULL, kind text); \
     INSERT INTO metrics SELECT '2026-01-01'::timestamptz + n * interval '1 min', 'cpu' FROM generate_series(1, 2000) AS n; \
     INSERT INTO metrics SELECT * FROM metrics; \
     CREATE TABLE parts (id int, region text, v text, PRIMARY KEY (id, region)) PARTITION BY LIST (region); \
     CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a'); CREATE TABLE parts_b PARTITION OF parts FOR VALUES IN ('b'); \
     INSERT INTO parts SELECT n, CASE WHEN n % 2 = 0 THEN 'a' ELSE 'b' END, 'v' || n FROM generate_series(1, 400) AS n; \
     CREATE TABLE files (id int PRIMARY KEY, raw bytea, doc jsonb); \
     INSERT INTO files SELECT n, decode(md5(n::text), 'hex'), jsonb_build_object('n', n) FROM generate_series(1, 100) AS n; \
     CREATE TABLE small (id int); INSERT INTO small VALUES (1), (2), (2); \
     SELECT lo_from_bytea(7001, '\\x01'), lo_from_bytea(7002, '\\x02'); ALTER DATABASE homelab SET lo_compat_privileges = on";

/// What is done on the new server, and what of it is told: of tables, unless it begins with `objects:`.
const PLANTS: &[(&str, &[&str])] = &[
    (
        "DELETE FROM readings WHERE id = 31415",
        &["public.readings: 60000 rows on the old side, 59999 on the new one", "id = (31415) is on the old"],
    ),
    ("UPDATE readings SET note = 'Note 31415' WHERE id = 31415", &["public.readings: 60000 rows on both sides", "id = (31415)"]),
    ("UPDATE readings SET value = value::numeric(12, 3) WHERE id = 77", &["public.readings", "id = (77)"]),
    ("UPDATE readings SET value = NULL WHERE id = 1", &["public.readings", "id = (1)"]),
    ("UPDATE readings SET at = at + interval '1 us' WHERE id = 60000", &["public.readings", "id = (60000)"]),
    ("INSERT INTO readings VALUES (60001, now(), 1, 'x')", &["60000 rows on the old side, 60001", "id = (60001) is on the new"]),
    ("DELETE FROM readings WHERE id % 2 = 0", &["60000 rows on the old side, 30000 on the new one", "256 of 256 buckets differ"]),
    ("TRUNCATE readings", &["60000 rows on the old side, 0 on the new one"]),
    (
        "DELETE FROM metrics WHERE ctid = (SELECT min(ctid) FROM metrics)",
        &["public.metrics: 4000 rows on the old side, 3999", "is on the old side only"],
    ),
    (
        "INSERT INTO metrics SELECT * FROM metrics LIMIT 1",
        &["public.metrics: 4000 rows on the old side, 4001", "is on the new side only"],
    ),
    (
        "UPDATE metrics SET kind = 'cpu ' WHERE ctid = (SELECT max(ctid) FROM metrics)",
        &["public.metrics: 4000 rows on both sides"],
    ),
    ("UPDATE metrics SET time = time + interval '1 h'", &["public.metrics: 4000 rows on both sides", "buckets differ"]),
    (
        "UPDATE parts SET region = 'b' WHERE id = 2",
        &["public.parts_a: 200 rows on the old side, 199", "public.parts_b: 200 rows on the old side, 201"],
    ),
    ("DELETE FROM parts_b WHERE id = 399", &["public.parts_b: 200 rows on the old side, 199", "id, region = (399,b)"]),
    ("DROP TABLE parts_b", &["public.parts: 400 rows on the old side, 200 on the new one", ",b) is on the old"]),
    (
        "UPDATE files SET raw = set_byte(raw, 3, get_byte(raw, 3) # 1) WHERE id = 9",
        &["public.files: 100 rows on both sides", "id = (9)"],
    ),
    ("UPDATE files SET doc = '{\"n\": 9.0}' WHERE id = 9", &["public.files: 100 rows on both sides", "id = (9)"]),
    ("ALTER TABLE files DROP COLUMN doc", &["public.files: the new side has no column doc"]),
    ("ALTER TABLE files RENAME COLUMN doc TO docs", &["public.files: the new side has no column doc"]),
    ("ALTER TABLE small ALTER id TYPE text USING id::text || ' '", &["public.small: 3 rows on both sides"]),
    ("DELETE FROM small WHERE id = 2", &["public.small: 3 rows on the old side, 1 on the new one"]),
    ("ALTER TABLE small RENAME TO tiny", &["public.small is not on the new side"]),
    (
        "DROP TABLE small; CREATE TABLE small (id int); INSERT INTO small VALUES (1), (1), (2)",
        &["public.small: 3 rows on both sides"],
    ),
    ("SELECT lo_unlink(7002)", &["objects:2 on the old side, 1 on the new one"]),
    ("SELECT lo_put(7002, 0, '\\x03')", &["objects:2 on the old side, 2 on the new one, with other content"]),
];

/// 25 plants, each on data of its own that came over as they should: a plant is laid on a copy of the new database.
#[tokio::test]
async fn each_thing_that_is_wrong_is_named() {
    let moved = Move::of(SCHEMA).await;
    let manifest = moved.comes_over().await;
    sql(&moved.new, "ALTER DATABASE homelab SET lo_compat_privileges = on").await;
    let admin = moved.new.connect_to("postgres", "postgres").await.unwrap();
    let (mut caught, mut before) = (0, 0);
    for (plant, told) in PLANTS {
        admin.batch_execute("DROP DATABASE IF EXISTS kept").await.unwrap();
        admin.batch_execute("CREATE DATABASE kept TEMPLATE homelab").await.unwrap();
        if before == 0 {
            let [tables, objects, behind] = moved.look(Some(&manifest), json!({})).await.anew().await;
            assert_eq!([&tables, &objects, &behind].map(reason), ["pass", "pass", "pass"], "{tables:?} {objects:?}");
            before += 1;
        }
        sql(&moved.new, plant).await;
        let [tables, objects, _] = moved.look(Some(&manifest), json!({})).await.anew().await;
        let (outcome, words) = match told[0].strip_prefix("objects:") {
            Some(words) => (&objects, vec![words]),
            None => (&tables, told.to_vec()),
        };
        let expected = if told[0].starts_with("objects:") { "objects_differ" } else { "rows_differ" };
        assert_eq!(reason(outcome), expected, "{plant}: {outcome:?}");
        says(outcome, &words);
        caught += 1;
        admin.batch_execute("DROP DATABASE homelab WITH (FORCE)").await.unwrap();
        admin
            .batch_execute("ALTER DATABASE kept RENAME TO homelab; ALTER DATABASE homelab SET lo_compat_privileges = on")
            .await
            .unwrap();
    }
    assert_eq!(caught, PLANTS.len());
    let [tables, objects, behind] = moved.look(Some(&manifest), json!({})).await.anew().await;
    assert_eq!([&tables, &objects, &behind].map(reason), ["pass", "pass", "pass"], "a false alarm after all was taken back");
}

#[tokio::test]
async fn what_is_cut_otherwise_is_compared_as_a_whole() {
    let moved = Move::of(SCHEMA).await;
    let manifest = moved.comes_over().await;
    let recut = "CREATE TABLE other (LIKE parts INCLUDING ALL) PARTITION BY LIST (region); \
         CREATE TABLE other_ab PARTITION OF other FOR VALUES IN ('b', 'a'); INSERT INTO other SELECT * FROM parts; \
         DROP TABLE parts; ALTER TABLE other RENAME TO parts; GRANT SELECT ON ALL TABLES IN SCHEMA public TO observer; \
         ALTER DATABASE homelab SET lo_compat_privileges = on; \
         ALTER TABLE small RENAME TO small_rows; CREATE TABLE small (id int) PARTITION BY LIST (id); \
         CREATE TABLE small_1 PARTITION OF small DEFAULT; INSERT INTO small SELECT * FROM small_rows; GRANT SELECT ON small, small_1 TO observer";
    sql(&moved.new, recut).await;
    let mut look = moved.look(Some(&manifest), json!({})).await;
    look.tables("pass", &["5 tables with 64503 rows are the same"]).await;
    sql(&moved.new, "UPDATE parts SET v = 'x' WHERE id = 8").await;
    let mut look = moved.look(Some(&manifest), json!({})).await;
    look.tables("rows_differ", &["public.parts: 400 rows on both sides", "id, region = (8,a)"]).await;
}

#[tokio::test]
async fn what_can_not_be_read_or_is_left_out_is_said() {
    let moved = Move::of(SCHEMA).await;
    let manifest = moved.comes_over().await;
    sql(&moved.new, "REVOKE SELECT ON files FROM observer").await;
    let mut look = moved.look(Some(&manifest), json!({})).await;
    let [tables, objects, _] = look.anew().await;
    assert_eq!([&tables, &objects].map(reason), ["no_permission", "no_permission"]);
    says(&tables, &["lo_compat_privileges", "except `largeObjects`"]);
    let mut look = moved.look(Some(&manifest), json!({"except": ["largeObjects"]})).await;
    look.tables("uncompared", &["can not read public.files; run GRANT USAGE ON SCHEMA public TO \"observer\"; GRANT SELECT"])
        .await;
    let mut look = moved.look(Some(&manifest), json!({"except": ["largeObjects", "public.files"]})).await;
    look.tables("pass", &["not compared: 1 left out"]).await;
    let secured = "GRANT SELECT ON files TO observer; ALTER TABLE small ENABLE ROW LEVEL SECURITY; CREATE POLICY none ON small USING (false)";
    sql(&moved.new, secured).await;
    let mut look = moved.look(Some(&manifest), json!({"except": ["largeObjects"]})).await;
    look.tables("uncompared", &["public.small", "row-level security"]).await;
    sql(&moved.new, "ALTER ROLE observer BYPASSRLS").await;
    look.tables("pass", &["6 tables"]).await;
    let mut look = moved.look(Some(&manifest), json!({"except": ["largeObjects", "public.*"]})).await;
    look.tables("no_tables", &["6 left out"]).await;
}

#[tokio::test]
async fn large_tables_are_sampled_and_it_is_said() {
    let moved = Move::of(SCHEMA).await;
    let depth = Depth { exact_up_to_gib: 0, sample_one_in: 10, ..DEPTH };
    let (cx, holding, counting) = moved.begin(depth).await;
    moved.new.restore_snapshot(&moved.old, &holding.name).await.unwrap();
    let manifest = counted(&cx, holding, counting).await;
    let more = json!({"except": ["largeObjects"], "exactUpToGib": 0, "sampleOneIn": 10});
    for with in [Some(&manifest), None] {
        let mut look = moved.look(with, more.clone()).await;
        look.tables("pass", &["SAMPLED: of 2 large tables the count and one row in 10"]).await;
    }
    sql(&moved.new, "UPDATE readings SET note = 'x' WHERE id % 3 = 0").await;
    let mut look = moved.look(Some(&manifest), more.clone()).await;
    look.tables("rows_differ", &["public.readings: 60000 rows on both sides"]).await;
    sql(&moved.new, "DELETE FROM readings WHERE id = 5").await;
    moved.look(Some(&manifest), more).await.tables("rows_differ", &["60000 rows on the old side, 59999"]).await;
}
