//! `postgresQuiet` against a real PostgreSQL: what it must catch, and what is no write.

use std::sync::Arc;
use std::time::Duration;

use checks::{Clients, Context, DynCheck, Outcome, Step};
use chrono::TimeDelta;
use futures::future::join_all;
use serde_json::{Value, json};
use tests::{Postgres, Spec, Verifier, World, wait_until};

use super::postgres_canary::{context, sql};
use super::{AT_ONCE, PATIENCE, looks, migration, now};

/// The verifier's own role.
pub(super) const OBSERVER: &str = "CREATE ROLE observer LOGIN PASSWORD 'observer'; GRANT pg_monitor TO observer";

/// Tables of the application, and what it does to them.
pub(super) const TABLES: &str = "SET ROLE server; CREATE TABLE public.readings (id serial PRIMARY KEY, v text); \
     CREATE TABLE public.emptied (v int); INSERT INTO public.readings (v) SELECT repeat('x', 100) FROM generate_series(1, 1000); \
     INSERT INTO public.emptied VALUES (1); CREATE SEQUENCE public.numbers; GRANT SELECT ON SEQUENCE public.numbers TO observer; \
     CREATE TABLE public.dropped (v int)";

/// A check as the verifier holds it, with its memory and its time in the test's hands.
pub(super) struct Watch {
    pub(super) check: Arc<dyn DynCheck>,
    pub(super) cx: Context,
    pub(super) memory: Option<Vec<u8>>,
}

impl Watch {
    pub(super) fn new(kind: &str, block: Value, cx: &Context) -> Self {
        let check = (checks::registry().get(kind).unwrap().parse)(block).unwrap();
        Self { check, cx: Context { now: now(), ..cx.clone() }, memory: None }
    }

    /// One look, some seconds later.
    pub(super) async fn after(&mut self, seconds: i64) -> Outcome {
        self.cx.now += TimeDelta::seconds(seconds);
        let report = self.check.run(&self.cx, self.memory.as_deref()).await.unwrap();
        self.memory = Some(report.memory);
        let Step::Done(parts) = report.step else { panic!("not done") };
        parts.into_values().next().unwrap()
    }

    async fn looks(&mut self, seconds: i64) -> String {
        name(&self.after(seconds).await)
    }

    /// Looks as often as a quiet server needs to pass.
    pub(super) async fn passes(&mut self) {
        let mut seen = Vec::new();
        for _ in 0..12 {
            let outcome = self.after(5).await;
            if outcome.label() == "pass" {
                return;
            }
            seen.push(outcome);
        }
        panic!("it does not pass: {seen:#?}");
    }

    /// Begins anew, and is quiet.
    async fn anew(&mut self) {
        self.memory = None;
        self.passes().await;
    }
}

pub(super) fn name(outcome: &Outcome) -> String {
    outcome.reason().map_or_else(|| "pass".to_owned(), ToString::to_string)
}

struct Old {
    world: World,
    postgres: Postgres,
    cx: Context,
}

impl Old {
    async fn start() -> Self {
        let world = World::new().unwrap();
        let postgres = Postgres::start(&world).await.unwrap();
        // What it does by itself would disturb what a test does.
        sql(&postgres, "ALTER SYSTEM SET autovacuum = off").await;
        sql(&postgres, "SELECT pg_reload_conf()").await;
        sql(&postgres, OBSERVER).await;
        sql(&postgres, TABLES).await;
        let cx = context(&world, [("old", &postgres.url("observer", "observer", "homelab"))]);
        Self { world, postgres, cx }
    }

    fn watch(&self, more: Value) -> Watch {
        let mut block = json!({"postgres": "old", "window": "15s", "holdFor": "1m"});
        block.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Watch::new("postgresQuiet", block, &self.cx)
    }

    async fn next_xid(&self) -> i64 {
        let session = self.postgres.connect_as_superuser().await.unwrap();
        let question = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint";
        session.query_one(question, &[]).await.unwrap().get(0)
    }
}

#[tokio::test]
async fn whatever_is_written_is_caught_and_named() {
    let old = Old::start().await;
    let mut watch = old.watch(json!({"visitors": true}));
    let mut caught = 0;
    for (deed, expected, named) in [
        ("INSERT INTO readings (id, v) VALUES (-1, 'x')", "written", "public.readings (1 inserted)"),
        ("BEGIN; INSERT INTO readings (id, v) VALUES (-2, 'x'); ROLLBACK", "written", "committed or rolled back"),
        ("UPDATE readings SET v = 'y' WHERE id = 1", "written", "public.readings (1 updated)"),
        ("DELETE FROM readings WHERE id = 2", "written", "public.readings (1 deleted)"),
        ("TRUNCATE emptied", "written", "public.emptied in pg_class"),
        ("CREATE TABLE made (v int)", "written", "public.made in "),
        ("BEGIN; CREATE TABLE never (v int); ROLLBACK", "written", "pg_class"),
        ("ALTER TABLE made ADD COLUMN w int", "written", "public.made in "),
        ("DROP TABLE dropped", "written", "pg_class"),
        ("CREATE TEMP TABLE t AS SELECT 1 AS v", "written", "pg_class"),
        ("CREATE ROLE somebody", "written", "pg_authid"),
        ("SELECT nextval('numbers')", "written", "public.numbers at 1"),
        ("SELECT lo_create(77)", "written", "pg_largeobject_metadata"),
        ("SELECT lo_put(77, 0, 'abc')", "written", "pg_largeobject"),
        ("NOTIFY somebody", "unexplained", "next_xid moved by 1"),
        ("SELECT FROM readings FOR UPDATE", "unexplained", "next_xid moved by 1"),
        ("SELECT pg_current_xact_id()", "unexplained", "next_xid moved by 1"),
    ] {
        watch.anew().await;
        sql(&old.postgres, deed).await;
        let mut outcome = watch.after(5).await;
        if expected == "unexplained" {
            assert_eq!(name(&outcome), "settling", "{deed}: {outcome:?}");
            outcome = watch.after(11).await;
        }
        assert_eq!(name(&outcome), expected, "{deed}: {outcome:?}");
        assert!(outcome.evidence().as_str().contains(named), "{deed}: {outcome:?}");
        caught += 1;
    }
    watch.anew().await;
    let other = old.postgres.url("postgres", "postgres", "postgres");
    let (other, connection) = tokio_postgres::connect(&other, tokio_postgres::NoTls).await.unwrap();
    let mut driven = tokio::task::JoinSet::new();
    driven.spawn(connection);
    other.batch_execute("CREATE TABLE elsewhere AS SELECT 1 AS v").await.unwrap();
    drop(other);
    assert_eq!(watch.looks(5).await, "settling");
    let outcome = watch.after(11).await;
    assert_eq!(name(&outcome), "unexplained");
    assert!(outcome.evidence().as_str().contains("other databases: postgres"), "{outcome:?}");
    assert_eq!(caught, 17);
}

#[tokio::test]
async fn what_writes_nothing_is_no_write_but_somebody_was_there() {
    let old = Old::start().await;
    let mut lenient = old.watch(json!({"visitors": true}));
    lenient.passes().await;
    for deed in [
        "SELECT count(*) FROM readings",
        "UPDATE readings SET v = 'z' WHERE false",
        "CREATE TABLE IF NOT EXISTS readings (v int)",
        "INSERT INTO readings (id, v) VALUES (1, 'z') ON CONFLICT DO NOTHING",
        "SELECT pg_advisory_lock(1)",
        "CHECKPOINT",
        "VACUUM readings",
        "VACUUM (ANALYZE)",
        "ANALYZE",
    ] {
        let mut strict = old.watch(json!({}));
        strict.passes().await;
        sql(&old.postgres, deed).await;
        let outcome = lenient.after(5).await;
        assert_eq!(name(&outcome), "pass", "{deed}: {outcome:?}");
        let outcome = strict.after(5).await;
        assert_eq!(name(&outcome), "visited", "{deed}: {outcome:?}");
        assert!(outcome.evidence().as_str().contains("1 sessions of others"), "{deed}: {outcome:?}");
        assert_eq!(name(&old.watch(json!({})).check.control(&strict.cx, None).await), "unexplained");
    }
    let mut strict = old.watch(json!({}));
    strict.passes().await;
    let look = Spec::new("psql", Postgres::program("psql").unwrap()).args(["-c", "SELECT 1"]).arg(old.postgres.superuser_dsn());
    assert_eq!(old.world.run(look, Duration::from_mins(1)).await.unwrap().code, 0);
    assert_eq!(strict.looks(5).await, "visited", "by hand");
    strict.passes().await;
    let dump = Spec::new("pg_dump", Postgres::program("pg_dump").unwrap()).arg(old.postgres.superuser_dsn());
    assert_eq!(old.world.run(dump, Duration::from_mins(1)).await.unwrap().code, 0);
    // For the window of 15 s, which begins when counters have settled.
    for _ in 0..5 {
        assert_eq!(lenient.looks(5).await, "refused_attempts", "it ends with a rollback");
        assert_eq!(strict.looks(5).await, "refused_attempts", "which tells more than the visit");
    }
    lenient.passes().await;
    let refused = old.postgres.connect().await.unwrap();
    refused.batch_execute("SELECT nothing").await.unwrap_err();
    drop(refused);
    let seen = wait_until(PATIENCE, "the refused statement is counted", async || {
        let outcome = lenient.after(1).await;
        anyhow::ensure!(name(&outcome) == "refused_attempts", "{outcome:?}");
        Ok(())
    });
    seen.await.unwrap();
}

#[tokio::test]
async fn autovacuum_is_no_write() {
    let old = Old::start().await;
    sql(&old.postgres, "UPDATE readings SET v = 'changed'; DELETE FROM readings WHERE id > 20").await;
    for database in ["template1", "postgres"] {
        // It has nothing left to do there since the cluster was made.
        let url = old.postgres.url("postgres", "postgres", database);
        let (session, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        let mut driven = tokio::task::JoinSet::new();
        driven.spawn(connection);
        session.batch_execute("VACUUM ANALYZE").await.unwrap();
    }
    let mut watch = old.watch(json!({"visitors": true}));
    watch.passes().await;
    let before = old.next_xid().await;
    for setting in ["autovacuum_naptime = 1", "autovacuum = on"] {
        sql(&old.postgres, &format!("ALTER SYSTEM SET {setting}")).await;
    }
    sql(&old.postgres, "SELECT pg_reload_conf()").await;
    let tended = wait_until(PATIENCE, "autovacuum has used transactions", async || {
        let outcome = watch.after(1).await;
        assert_eq!(name(&outcome), "pass", "{outcome:?}");
        anyhow::ensure!(outcome.evidence().as_str().contains("vacuum or analyze runs aside"), "{outcome:?}");
        Ok(())
    });
    tended.await.unwrap();
    assert!(old.next_xid().await > before);
    sql(&old.postgres, "INSERT INTO readings (id, v) VALUES (-1, 'x')").await;
    assert_eq!(watch.looks(1).await, "written", "in its noise");
}

#[tokio::test]
async fn whoever_is_left_is_named() {
    let old = Old::start().await;
    let mut watch = old.watch(json!({}));
    watch.passes().await;
    let pool = [old.postgres.connect().await.unwrap(), old.postgres.connect().await.unwrap()];
    let outcome = watch.after(5).await;
    assert_eq!(name(&outcome), "visited", "{outcome:?}");
    watch.memory = None;
    let outcome = watch.after(5).await;
    assert_eq!(name(&outcome), "sessions_left");
    assert!(outcome.evidence().as_str().contains("2 × server (idle) since "), "{outcome:?}");
    let mut readers = old.watch(json!({"readers": ["server"]}));
    readers.passes().await;
    let named = old.postgres.url("server", "server", "homelab?application_name=phasegate");
    let (impostor, connection) = tokio_postgres::connect(&named, tokio_postgres::NoTls).await.unwrap();
    let mut driven = tokio::task::JoinSet::new();
    driven.spawn(connection);
    watch.memory = None;
    assert!(watch.after(5).await.evidence().as_str().contains("3 × server"), "the name alone is not enough");
    drop(impostor);
    pool[0].batch_execute("BEGIN; INSERT INTO readings (id, v) VALUES (-1, 'x')").await.unwrap();
    let outcome = readers.after(5).await;
    assert_eq!(name(&outcome), "open_transaction");
    assert!(outcome.evidence().as_str().contains("server in homelab (pid "), "{outcome:?}");
    pool[0].batch_execute("COMMIT").await.unwrap();
    drop(pool);
    let counted = wait_until(PATIENCE, "the rows are counted", async || {
        let outcome = readers.after(1).await;
        anyhow::ensure!(name(&outcome) == "written", "{outcome:?}");
        Ok(())
    });
    counted.await.unwrap();

    sql(&old.postgres, "ALTER SYSTEM SET max_prepared_transactions = 2").await;
    old.postgres.stop().await.unwrap();
    old.postgres.start_again().await.unwrap();
    readers.anew().await;
    sql(&old.postgres, "BEGIN; INSERT INTO readings (id, v) VALUES (-9, 'x'); PREPARE TRANSACTION 'half'").await;
    let outcome = readers.after(5).await;
    assert_eq!(name(&outcome), "prepared_transaction");
    assert!(outcome.evidence().as_str().contains("'half' of postgres since "), "{outcome:?}");
    sql(&old.postgres, "COMMIT PREPARED 'half'").await;
    assert_eq!(readers.looks(5).await, "written");
}

#[tokio::test]
async fn starts_crashes_and_resets_are_no_events_and_hide_none() {
    let old = Old::start().await;
    let mut watch = old.watch(json!({"visitors": true}));
    watch.passes().await;
    for write in [false, true] {
        for deed in
            ["restart", "crash", "SELECT pg_stat_reset()", "SELECT pg_stat_reset_single_table_counters('readings'::regclass)"]
        {
            watch.anew().await;
            if write {
                sql(&old.postgres, "UPDATE readings SET v = 'again' WHERE id = 3").await;
            }
            match deed {
                "restart" => {
                    old.postgres.stop().await.unwrap();
                    assert_eq!(watch.looks(1).await, "refused");
                    old.postgres.start_again().await.unwrap();
                }
                "crash" => {
                    old.postgres.kill().await.unwrap();
                    old.postgres.start_again().await.unwrap();
                }
                reset => sql(&old.postgres, reset).await,
            }
            let outcome = watch.after(5).await;
            if write {
                assert_eq!(name(&outcome), "settling", "{deed}: {outcome:?}");
                let outcome = watch.after(11).await;
                assert_eq!(name(&outcome), "unexplained", "{deed}: {outcome:?}");
            } else {
                assert_eq!(name(&outcome), "pass", "{deed}: {outcome:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_stopped_server_that_comes_back_and_an_older_or_another_one_are_caught() {
    let old = Old::start().await;
    let mut watch = old.watch(json!({"mayBeStopped": true, "visitors": true}));
    watch.passes().await;
    old.postgres.stop().await.unwrap();
    let (backup, data) = (old.world.dir().join("backup"), old.postgres.data().to_owned());
    let copy = async |from: &std::path::Path, to: &std::path::Path| {
        let copy = Spec::new("cp", "/bin/cp").args(["-a", from.to_str().unwrap(), to.to_str().unwrap()]);
        assert_eq!(old.world.run(copy, Duration::from_mins(1)).await.unwrap().code, 0);
    };
    copy(&data, &backup).await;
    for _ in 0..9 {
        let outcome = watch.after(60).await;
        assert_eq!(name(&outcome), "pass", "{outcome:?}");
        assert!(outcome.evidence().as_str().contains("stopped since "), "{outcome:?}");
    }
    assert_eq!(name(&watch.check.control(&watch.cx, watch.memory.as_deref()).await), "unexplained");
    assert_eq!(old.watch(json!({"mayBeStopped": true})).looks(1).await, "never_seen");
    old.postgres.start_again().await.unwrap();
    sql(&old.postgres, "INSERT INTO readings (id, v) VALUES (-1, 'x')").await;
    let pool = old.postgres.connect().await.unwrap();
    let outcome = watch.after(5).await;
    assert_eq!(name(&outcome), "came_back");
    let told = "next_xid moved by 1 meanwhile, logged in: 1 × server";
    assert!(outcome.evidence().as_str().contains(told), "{outcome:?}");
    drop(pool);
    for _ in 0..10 {
        assert_eq!(watch.looks(5).await, "came_back");
    }
    watch.anew().await;

    old.postgres.stop().await.unwrap();
    std::fs::remove_dir_all(&data).unwrap();
    copy(&backup, &data).await;
    old.postgres.start_again().await.unwrap();
    let outcome = watch.after(5).await;
    assert_eq!(name(&outcome), "went_back", "{outcome:?}");

    watch.anew().await;
    let other = Old::start().await;
    watch.cx.targets = other.cx.targets.clone();
    assert_eq!(watch.looks(5).await, "swapped");
    for _ in 0..11 {
        assert_eq!(watch.looks(5).await, "swapped");
    }
    watch.passes().await;
}

#[tokio::test]
async fn a_job_that_is_there_for_a_moment_is_caught_each_time() {
    let old = Old::start().await;
    let mut watch = old.watch(json!({"window": "5s"}));
    let mut caught = 0;
    watch.passes().await;
    for id in 0..100 {
        sql(&old.postgres, &format!("SELECT pg_sleep(0.05); INSERT INTO readings (id, v) VALUES (-{id}, 'x')")).await;
        let outcome = watch.after(5).await;
        assert_eq!(name(&outcome), "written", "{id}: {outcome:?}");
        caught += 1;
        if id % 10 == 0 {
            watch.passes().await;
        }
    }
    assert_eq!(caught, 100);
}

#[tokio::test]
async fn other_looks_of_the_same_verifier_are_no_visitors() {
    let old = Old::start().await;
    let new = Postgres::start(&old.world).await.unwrap();
    let dsn = old.postgres.url("observer", "observer", "homelab");
    let wrong = old.postgres.url("server", "wrong", "homelab");
    let app = old.postgres.dsn();
    let cx = context(&old.world, [("old", &dsn), ("new", &new.dsn()), ("wrong", &wrong), ("app", &app)]);
    let cx = Context { clients: Clients::new().unwrap(), ..cx };
    let mut others: Vec<_> = [
        ("postgresReady", json!({"postgres": "old"})),
        ("postgresReady", json!({"postgres": "app"})),
        ("postgresReady", json!({"postgres": "wrong"})),
        ("postgresCanary", json!({"postgres": "app"})),
        ("postgresIdentity", json!({"old": "old", "new": "new"})),
        ("postgresIdentity", json!({"old": "app", "new": "new"})),
    ]
    .map(|(kind, block)| Watch::new(kind, block, &cx))
    .into();
    let mut quiets: Vec<_> =
        (0..2).map(|_| Watch::new("postgresQuiet", json!({"postgres": "old", "window": "15s"}), &cx)).collect();
    let mut passed = 0;
    for round in 0..60 {
        let seen = async {
            let mut names = Vec::new();
            for quiet in &mut quiets {
                // Not in step with the others.
                tokio::time::sleep(Duration::from_millis(7 * (round % 5))).await;
                names.push(quiet.after(5).await);
            }
            names
        };
        let rest = join_all(others.iter_mut().map(|watch| watch.after(5)));
        let (seen, _) = futures::future::join(seen, rest).await;
        for outcome in seen {
            assert!(["pass", "observing"].contains(&name(&outcome).as_str()), "round {round}: {outcome:?}");
            passed += usize::from(name(&outcome) == "pass");
        }
    }
    assert!(passed > 100, "{passed}");
    // And yet somebody else is seen among them.
    sql(&old.postgres, "SELECT 1").await;
    join_all(others.iter_mut().map(|watch| watch.after(5))).await;
    assert_eq!(quiets[0].looks(5).await, "visited");
}

#[tokio::test]
async fn a_verifier_shuts_the_gate_when_somebody_writes() {
    let old = Old::start().await;
    let file = old.world.write("old.dsn", &old.postgres.url("observer", "observer", "homelab")).unwrap();
    let target = format!("{{old: {{postgres: {{dsn: {{file: {}}}}}}}}}", file.display());
    let probe = "{name: quiet, check: {postgresQuiet: {postgres: old, window: 5s}}, controlEvery: 2s}";
    let document = migration("{every: 1s, timeout: 900ms, maxAge: 5s}", &target, AT_ONCE, &[probe]);
    let verifier = Verifier::start(&old.world, &document).await.unwrap();
    looks(&verifier, "quiet", "waiting", "observing").await;
    super::opened(&verifier).await;
    sql(&old.postgres, "INSERT INTO readings (id, v) VALUES (-1, 'x')").await;
    looks(&verifier, "quiet", "red", "written").await;
    super::reaches(&verifier, "closed").await;
    super::reaches(&verifier, "open").await;
}
