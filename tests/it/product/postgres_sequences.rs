//! `postgresSequences` against two real servers: honest moves pass, and each way to leave a sequence behind is caught and named.

use std::collections::BTreeMap;
use std::sync::Arc;

use checks::{Context, DynCheck, Outcome, Step};
use chrono::TimeDelta;
use serde_json::{Value, json};
use tests::{Major, Postgres, World};

use super::postgres_canary::{context, sql};
use super::postgres_versions::{Moved, Way};

/// Each kind of sequence that an application has, used a little.
const TABLES: &str = "SET ROLE server; \
     CREATE TABLE orders (id serial PRIMARY KEY, n int); INSERT INTO orders (n) SELECT generate_series(1, 50); \
     CREATE TABLE readings (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int); INSERT INTO readings (n) SELECT generate_series(1, 50); \
     CREATE SEQUENCE down_seq INCREMENT -1; CREATE TABLE debts (id bigint DEFAULT nextval('down_seq'), n int); \
     INSERT INTO debts (n) SELECT generate_series(1, 50); \
     CREATE SEQUENCE \"Odd \"\"name's\" AS smallint; CREATE TABLE odd (\"Id\" smallint DEFAULT nextval('\"Odd \"\"name''s\"'), n int); \
     INSERT INTO odd (n) SELECT generate_series(1, 5); \
     CREATE SEQUENCE slot_seq MAXVALUE 10 CYCLE; CREATE TABLE slots (slot int DEFAULT nextval('slot_seq'), n int); \
     INSERT INTO slots (n) SELECT generate_series(1, 25); \
     CREATE SEQUENCE label_seq; CREATE TABLE labels (label text DEFAULT 'L-' || nextval('label_seq'), half int DEFAULT nextval('label_seq') * 2); \
     INSERT INTO labels DEFAULT VALUES; \
     CREATE TABLE days (id bigserial, day date NOT NULL) PARTITION BY RANGE (day); \
     CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM ('2026-01-01') TO ('2026-02-01'); \
     INSERT INTO days (day) SELECT '2026-01-05' FROM generate_series(1, 30); \
     CREATE SEQUENCE unused_seq; CREATE DOMAIN key AS numeric(20); CREATE SEQUENCE key_seq; \
     CREATE TABLE keys (id key DEFAULT nextval('key_seq')); INSERT INTO keys SELECT FROM generate_series(1, 9); RESET ROLE";

/// A check as the verifier holds it, with all that it says.
pub(super) struct Proof {
    check: Arc<dyn DynCheck>,
    pub(super) cx: Context,
    memory: Option<Vec<u8>>,
    pub(super) slices: usize,
    pub(super) measures: BTreeMap<&'static str, String>,
}

impl Proof {
    pub(super) fn of<const N: usize>(world: &World, kind: &str, block: Value, targets: [(&str, &str); N]) -> Self {
        let check = (checks::registry().get(kind).unwrap().parse)(block).unwrap();
        let cx = context(world, targets);
        Self { check, cx, memory: None, slices: 0, measures: BTreeMap::new() }
    }

    /// One slice.
    pub(super) async fn step(&mut self) -> Step {
        self.cx.now += TimeDelta::seconds(5);
        let report = self.check.run(&self.cx, self.memory.as_deref()).await.unwrap();
        assert!(report.memory.len() <= checks::MAX_MEMORY);
        self.measures = report.measures.iter().map(|measure| (measure.name, measure.value.to_string())).collect();
        self.memory = Some(report.memory);
        report.step
    }

    /// A whole look, in as many slices as it takes.
    pub(super) async fn parts(&mut self) -> BTreeMap<String, Outcome> {
        self.slices = 0;
        // What has passed rests.
        self.cx.now += TimeDelta::hours(1);
        for _ in 0..1000 {
            self.slices += 1;
            if let Step::Done(parts) = self.step().await {
                return parts.into_iter().map(|(part, outcome)| (part.to_string(), outcome)).collect();
            }
        }
        panic!("it does not come to an end");
    }

    /// All of it passes.
    pub(super) async fn passes(&mut self) -> BTreeMap<String, Outcome> {
        let parts = self.parts().await;
        assert!(parts.values().all(|outcome| matches!(outcome, Outcome::Pass { .. })), "{parts:#?}");
        parts
    }

    /// These parts say so, with these words, and all others pass.
    pub(super) async fn says(&mut self, wrong: &[(&str, &str, &str)]) {
        let parts = self.parts().await;
        for (part, outcome) in &parts {
            let reason = outcome.reason().map_or_else(|| "pass".to_owned(), ToString::to_string);
            let expected =
                wrong.iter().find(|(name, ..)| name == part).map_or(("pass", ""), |(_, reason, words)| (*reason, *words));
            assert_eq!(reason, expected.0, "{part}: {parts:#?}");
            assert!(outcome.evidence().as_str().contains(expected.1), "{part}: {}: {parts:#?}", expected.1);
        }
        assert!(wrong.iter().all(|(part, ..)| parts.contains_key(*part)), "{parts:#?}");
    }

    pub(super) async fn control(&self) -> String {
        let outcome = self.check.control(&self.cx, None).await;
        outcome.reason().map_or_else(|| format!("{outcome:?}"), ToString::to_string)
    }
}

struct Two {
    world: World,
    old: Postgres,
    new: Postgres,
}

impl Two {
    /// Old with its data, and an empty new one.
    async fn start() -> Self {
        let world = World::new().unwrap();
        let (old, new) = tokio::try_join!(Postgres::start(&world), Postgres::start(&world)).unwrap();
        for postgres in [&old, &new] {
            postgres.grant("observer").await.unwrap();
        }
        sql(&old, TABLES).await;
        Self { world, old, new }
    }

    async fn moved() -> Self {
        let two = Self::start().await;
        two.new.restore_from(&two.old).await.unwrap();
        two
    }

    fn proof(&self, more: Value) -> Proof {
        let mut block = json!({"old": "old", "new": "new"});
        block.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (old, new) = (self.old.observer_dsn(), self.new.observer_dsn());
        Proof::of(&self.world, "postgresSequences", block, [("old", &old), ("new", &new)])
    }
}

async fn honest(old: Major, new: Major, way: Way) {
    let moved = Moved::start(old, new, way).await;
    let block = json!({"old": "old", "new": "new"});
    let dsn = [moved.old.observer_dsn(), moved.new.observer_dsn()];
    let mut proof = Proof::of(&moved.world, "postgresSequences", block, [("old", &dsn[0]), ("new", &dsn[1])]);
    proof.passes().await;
    assert_eq!(proof.control().await, "sequence_behind");
}

#[tokio::test]
async fn honest_moves_between_versions_pass() {
    honest(Major::Fifteen, Major::Fifteen, Way::DumpRestore).await;
    honest(Major::Fifteen, Major::Eighteen, Way::DumpRestore).await;
    honest(Major::Seventeen, Major::Seventeen, Way::DumpRestore).await;
    honest(Major::Fifteen, Major::Fifteen, Way::VolumeCopy).await;
}

#[tokio::test]
async fn every_kind_of_sequence_passes_after_a_restore_and_while_the_application_writes() {
    let two = Two::moved().await;
    let mut proof = two.proof(json!({}));
    let parts = proof.passes().await;
    let words = parts["columns"].evidence().as_str();
    assert!(words.contains("beyond the 6 columns") && words.contains("public.slots.slot: its sequence goes round"), "{words}");
    assert!(words.contains("not the sequence's own"), "{words}");
    assert_eq!(proof.measures["sequences"], "9");
    sql(
        &two.new,
        "INSERT INTO orders (n) SELECT 1 FROM generate_series(1, 500); INSERT INTO slots (n) VALUES (1), (2), (3), (4)",
    )
    .await;
    sql(&two.new, "INSERT INTO debts (n) VALUES (1)").await;
    proof.passes().await;
    assert_eq!(proof.control().await, "sequence_behind");
    // A value that was set and not given out yet.
    sql(&two.old, "SELECT setval('unused_seq', 70, false)").await;
    proof.says(&[("values", "sequence_behind", "public.unused_seq gives out 1 next, on old 70")]).await;
    sql(&two.new, "SELECT setval('unused_seq', 69)").await;
    proof.passes().await;
}

#[tokio::test]
async fn each_way_to_leave_a_sequence_behind_is_caught_and_named() {
    let two = Two::moved().await;
    let mut proof = two.proof(json!({}));
    let mut caught = 0;
    for (plant, mend, wrong) in [
        (
            "SELECT setval('orders_id_seq', 49)",
            "SELECT setval('orders_id_seq', 50)",
            vec![
                ("values", "sequence_behind", "public.orders_id_seq gives out 50 next, on old 51"),
                ("columns", "collides", "public.orders_id_seq gives out 50 next, and public.orders.id has 50"),
            ],
        ),
        (
            "ALTER TABLE readings ALTER id RESTART",
            "ALTER TABLE readings ALTER id RESTART WITH 51",
            vec![
                ("values", "sequence_behind", "public.readings_id_seq gives out 1 next, on old 51"),
                ("columns", "collides", "public.readings_id_seq gives out 1 next, and public.readings.id has 50"),
            ],
        ),
        (
            "SELECT setval('down_seq', -49)",
            "SELECT setval('down_seq', -50)",
            vec![
                ("values", "sequence_behind", "public.down_seq gives out -50 next, on old -51"),
                ("columns", "collides", "public.down_seq gives out -50 next, and public.debts.id has -50"),
            ],
        ),
        (
            "SELECT setval('\"Odd \"\"name''s\"', 4)",
            "SELECT setval('\"Odd \"\"name''s\"', 5)",
            vec![("values", "sequence_behind", "Odd \"\"name's"), ("columns", "collides", "public.odd.\"Id\" has 5")],
        ),
        (
            "SELECT setval('days_id_seq', 29)",
            "SELECT setval('days_id_seq', 30)",
            vec![("values", "sequence_behind", "public.days_id_seq"), ("columns", "collides", "public.days.id has 30")],
        ),
        (
            "INSERT INTO orders VALUES (1000, 1)",
            "DELETE FROM orders WHERE id = 1000",
            vec![("columns", "collides", "gives out 51 next, and public.orders.id has 1000")],
        ),
        (
            "INSERT INTO keys VALUES (123456789012345678), ('NaN')",
            "DELETE FROM keys WHERE id > 9",
            vec![("columns", "collides", "public.keys.id has 123456789012345678")],
        ),
        (
            "DROP SEQUENCE unused_seq",
            "CREATE SEQUENCE unused_seq; GRANT SELECT ON unused_seq TO phasegate",
            vec![("missing", "missing", "public.unused_seq")],
        ),
        (
            "ALTER SEQUENCE unused_seq INCREMENT -1 MINVALUE -5 MAXVALUE 5 START 1 RESTART",
            "DROP SEQUENCE unused_seq; CREATE SEQUENCE unused_seq; GRANT SELECT ON unused_seq TO phasegate",
            vec![("values", "turned", "public.unused_seq counts down, on old up")],
        ),
        (
            "ALTER SEQUENCE orders_id_seq MAXVALUE 50",
            "ALTER SEQUENCE orders_id_seq MAXVALUE 2147483647",
            vec![("headroom", "exhausted", "public.orders_id_seq ends at 50")],
        ),
        (
            "REVOKE SELECT ON SEQUENCE orders_id_seq FROM phasegate",
            "GRANT SELECT ON SEQUENCE orders_id_seq TO phasegate",
            ["values", "columns", "headroom"]
                .map(|part| (part, "no_permission", "GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO \"phasegate\";"))
                .to_vec(),
        ),
        (
            "REVOKE SELECT ON orders FROM phasegate",
            "GRANT SELECT ON orders TO phasegate",
            vec![(
                "columns",
                "no_permission",
                "public.orders.id; run GRANT USAGE ON SCHEMA public TO \"phasegate\"; GRANT SELECT ON ALL",
            )],
        ),
        (
            "ALTER TABLE orders ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE orders DISABLE ROW LEVEL SECURITY",
            vec![("columns", "no_permission", "ALTER ROLE \"phasegate\" BYPASSRLS;")],
        ),
    ] {
        sql(&two.new, plant).await;
        println!("{plant}");
        proof.says(&wrong).await;
        sql(&two.new, mend).await;
        proof.passes().await;
        caught += 1;
    }
    assert_eq!(caught, 13);
}

#[tokio::test]
async fn a_range_that_is_nearly_used_up_warns_and_does_not_fail() {
    let two = Two::moved().await;
    let mut proof = two.proof(json!({}));
    for postgres in [&two.old, &two.new] {
        sql(postgres, "SELECT setval('orders_id_seq', 2040109465); SELECT setval('readings_id_seq', 90)").await;
    }
    let parts = proof.passes().await;
    let words = parts["headroom"].evidence().as_str();
    assert!(words.contains("warning: public.orders_id_seq has used 95 %"), "{words}");
    assert_eq!(proof.measures["most_used_percent"], "95");
    // A bigint sequence that fills an int4 column, and an int4 column that is full.
    sql(&two.new, "ALTER SEQUENCE orders_id_seq AS bigint").await;
    let parts = proof.passes().await;
    assert!(parts["headroom"].evidence().as_str().contains("public.orders.id (integer) has used 95 %"), "{parts:?}");
    sql(&two.new, "SELECT setval('orders_id_seq', 2147483647)").await;
    proof.says(&[("headroom", "exhausted", "public.orders.id (integer) ends at 2147483647")]).await;
}

#[tokio::test]
async fn moves_that_do_not_carry_values_are_caught() {
    // Data of one table alone, as `pg_restore -a -t` restores it: without setval().
    let two = Two::start().await;
    let line = "set -e; \"$0\"/pg_dump -s -d \"$1\" | \"$0\"/psql -qX -v ON_ERROR_STOP=1 -d \"$2\" >/dev/null; \
         \"$0\"/pg_dump -Fc -d \"$1\" | \"$0\"/pg_restore -a -t orders -t readings -d \"$2\"";
    run(&two, line).await;
    let wrong = [("values", "sequence_behind", "gives out 1 next"), ("columns", "collides", "has 50")];
    two.proof(json!({})).says(&wrong).await;
    // The schema, and then COPY.
    let two = Two::start().await;
    let line = "set -e; \"$0\"/pg_dump -s -d \"$1\" | \"$0\"/psql -qX -v ON_ERROR_STOP=1 -d \"$2\" >/dev/null; \
         \"$0\"/psql -qX -d \"$1\" -c 'COPY readings TO STDOUT' | \"$0\"/psql -qX -d \"$2\" -c 'COPY readings FROM STDIN'";
    run(&two, line).await;
    let wrong = [("values", "sequence_behind", "gives out 1 next"), ("columns", "collides", "public.readings.id has 50")];
    two.proof(json!({})).says(&wrong).await;
    let empty = Two::start().await;
    let parts = empty.proof(json!({})).parts().await;
    assert_eq!(parts["missing"].reason().unwrap().as_str(), "missing", "{parts:?}");
}

async fn run(two: &Two, line: &str) {
    let bin = two.new.own_program("psql").parent().unwrap().display().to_string();
    let spec = tests::Spec::new("move", "bash").args(["-c", line, &bin]).args([two.old.superuser_dsn(), two.new.superuser_dsn()]);
    let ran = two.world.run(spec, super::PATIENCE).await.unwrap();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

#[tokio::test]
async fn thousands_of_sequences_and_a_table_without_an_index_are_read_in_slices() {
    let two = Two::start().await;
    let many = "DO $$ BEGIN FOR n IN 1..1500 LOOP EXECUTE format('CREATE SEQUENCE many_%s', n); \
         IF n % 100 = 0 THEN COMMIT; END IF; END LOOP; END $$";
    let big = "CREATE TABLE big (id bigserial, pad text); INSERT INTO big (pad) SELECT repeat('x', 500) FROM generate_series(1, 100000)";
    sql(&two.old, many).await;
    sql(&two.old, big).await;
    sql(
        &two.old,
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO phasegate; GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO phasegate",
    )
    .await;
    two.new.restore_from(&two.old).await.unwrap();
    let mut proof = two.proof(json!({"loadPercent": 1}));
    proof.cx.timeout = std::time::Duration::from_secs(4);
    let parts = proof.passes().await;
    assert!(parts["values"].evidence().as_str().contains("none of 1510 sequences"), "{parts:?}");
    assert!(proof.slices > 4, "{}", proof.slices);
    sql(&two.new, "UPDATE big SET id = 900000 WHERE id = 77777; SELECT setval('many_1499', 1, false); DROP SEQUENCE many_77")
        .await;
    sql(&two.old, "SELECT nextval('many_1499')").await;
    let wrong = [
        ("columns", "collides", "public.big.id has 900000"),
        ("values", "sequence_behind", "public.many_1499 gives out 1 next, on old 2"),
        ("missing", "missing", "public.many_77"),
    ];
    proof.says(&wrong).await;
    // Somebody holds the table: what can not be read is no pass.
    let holder = two.new.connect_as_superuser().await.unwrap();
    holder.batch_execute("BEGIN; LOCK TABLE big").await.unwrap();
    let mut patient = two.proof(json!({}));
    let step = loop {
        match patient.step().await {
            Step::More(_) => patient.cx.now += TimeDelta::minutes(1),
            Step::Done(parts) => break parts,
        }
    };
    let columns = &step[&checks::PartId::new("columns")];
    assert_eq!(columns.reason().unwrap().as_str(), "locked", "{columns:?}");
}

#[tokio::test]
async fn one_server_by_two_names_and_a_server_that_is_gone_do_not_pass() {
    let two = Two::moved().await;
    let dsn = two.old.observer_dsn();
    let block = json!({"old": "old", "new": "new"});
    let mut same = Proof::of(&two.world, "postgresSequences", block, [("old", &dsn), ("new", &dsn)]);
    for (part, outcome) in same.parts().await {
        assert_eq!(outcome.reason().unwrap().as_str(), "same_server", "{part}");
    }
    let mut proof = two.proof(json!({}));
    two.new.stop().await.unwrap();
    assert!(matches!(proof.step().await, Step::More(_)), "a restart is waited for");
    proof.cx.now += TimeDelta::minutes(3);
    for (part, outcome) in proof.parts().await {
        assert_eq!(outcome.reason().unwrap().as_str(), "refused", "{part}");
    }
    two.new.start_again().await.unwrap();
    proof.passes().await;
    let ignored = two.proof(json!({"ignore": ["public.unused_seq"]}));
    sql(&two.new, "DROP SEQUENCE unused_seq").await;
    let mut ignored = ignored;
    let parts = ignored.passes().await;
    assert!(parts["missing"].evidence().as_str().contains("ignored: public.unused_seq"), "{parts:?}");
}
