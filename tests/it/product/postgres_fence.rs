//! `postgresFence` against a real PostgreSQL: each fence, what it leaves open, and what is no fence.

use std::time::Duration;

use checks::{Context, Outcome, PartId, Step};
use chrono::TimeDelta;
use serde_json::{Value, json};
use tests::{Postgres, World, wait_until};

use super::PATIENCE;
use super::postgres_canary::{context, sql};
use super::postgres_quiet::{OBSERVER, TABLES, Watch, name};

/// A superuser's session passes through the fence.
const IN_SPITE: &str = "SET default_transaction_read_only = off";

struct Old {
    _world: World,
    postgres: Postgres,
    cx: Context,
}

impl Old {
    async fn start() -> Self {
        let world = World::new().unwrap();
        let postgres = Postgres::start(&world).await.unwrap();
        sql(&postgres, OBSERVER).await;
        sql(&postgres, TABLES).await;
        let targets = [
            ("old", &*postgres.url("observer", "observer", "homelab")),
            ("app", &postgres.dsn()),
            ("wrong", &postgres.url("server", "wrong", "homelab")),
            ("elsewhere", &postgres.url("server", "server", "postgres")),
        ];
        Self { cx: context(&world, targets), _world: world, postgres }
    }

    fn watch(&self, more: Value) -> Watch {
        let mut block = json!({"postgres": "old", "roles": ["server"], "attempt": "app"});
        block.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Watch::new("postgresFence", block, &self.cx)
    }

    /// As superuser, in a database that no fence of these tests is put around.
    async fn outside(&self, statements: &[&str]) {
        let url = self.postgres.url("postgres", "postgres", "postgres");
        let (session, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        let mut driven = tokio::task::JoinSet::new();
        driven.spawn(connection);
        for statement in statements {
            session.batch_execute(statement).await.unwrap();
        }
    }
}

/// One look: both parts.
async fn look(watch: &mut Watch) -> [Outcome; 2] {
    watch.cx.now += TimeDelta::seconds(5);
    let report = watch.check.run(&watch.cx, watch.memory.as_deref()).await.unwrap();
    watch.memory = Some(report.memory);
    let Step::Done(parts) = report.step else { panic!("not done") };
    ["settings", "attempt"].map(|part| parts.get(&PartId::new(part)).cloned().unwrap_or_else(|| Outcome::pass("none")))
}

/// Looks until both parts are like this.
async fn becomes(watch: &mut Watch, expected: [&str; 2], words: &str) -> [Outcome; 2] {
    wait_until(PATIENCE, &format!("{expected:?} {words}"), async || {
        let parts = look(watch).await;
        anyhow::ensure!(parts.each_ref().map(name) == expected, "{parts:?}");
        anyhow::ensure!(parts[0].evidence().as_str().contains(words), "{parts:?}");
        Ok(parts)
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn each_fence_is_seen_and_what_it_leaves_open_is_too() {
    let old = Old::start().await;
    let reload = "SELECT pg_reload_conf()";
    let mut caught = 0;
    for (up, down, words, refused, reaches_all) in [
        (
            "ALTER SYSTEM SET default_transaction_read_only = on",
            "ALTER SYSTEM RESET default_transaction_read_only",
            "is on for the server",
            "25006",
            true,
        ),
        (
            "ALTER DATABASE homelab SET default_transaction_read_only = on",
            "ALTER DATABASE homelab RESET ALL",
            "for the role or the database",
            "25006",
            false,
        ),
        (
            "ALTER ROLE server SET default_transaction_read_only = on",
            "ALTER ROLE server RESET ALL",
            "for the role or the database",
            "25006",
            false,
        ),
        (
            "ALTER DATABASE homelab CONNECTION LIMIT 0",
            "ALTER DATABASE homelab CONNECTION LIMIT -1",
            "database's connection limit is 0",
            "53300",
            false,
        ),
        (
            "ALTER ROLE server CONNECTION LIMIT 0",
            "ALTER ROLE server CONNECTION LIMIT -1",
            "role's connection limit is 0",
            "53300",
            false,
        ),
        (
            "ALTER DATABASE homelab ALLOW_CONNECTIONS false",
            "ALTER DATABASE homelab ALLOW_CONNECTIONS true",
            "allows no connections",
            "55000",
            false,
        ),
        ("ALTER ROLE server NOLOGIN", "ALTER ROLE server LOGIN", "has no LOGIN", "28000", false),
        (
            "REVOKE CONNECT ON DATABASE homelab FROM server, PUBLIC",
            "GRANT CONNECT ON DATABASE homelab TO server, PUBLIC",
            "has no CONNECT",
            "42501",
            false,
        ),
    ] {
        let mut watch = old.watch(json!({}));
        let before = becomes(&mut watch, ["not_fenced", "write_accepted"], "nothing stops new sessions").await;
        assert!(before[1].evidence().as_str().contains("DELETE of no rows of public."), "{before:?}");
        let pool = old.postgres.connect().await.unwrap();
        old.outside(&[up, reload]).await;
        if reaches_all {
            becomes(&mut watch, ["pass", "pass"], words).await;
            let write = async || {
                let done =
                    pool.batch_execute("INSERT INTO readings (id, v) VALUES (-1, 'x'); DELETE FROM readings WHERE id = -1").await;
                anyhow::ensure!(done.is_err(), "it still writes");
                Ok(())
            };
            wait_until(PATIENCE, "the pool is stopped", write).await.unwrap();
        } else {
            let parts = becomes(&mut watch, ["not_fenced", "pass"], "1 sessions of role server are left").await;
            assert!(parts[0].evidence().as_str().contains(words), "{parts:?}");
            pool.batch_execute("UPDATE readings SET v = 'straggler' WHERE id = 1").await.unwrap();
        }
        drop(pool);
        let parts = becomes(&mut watch, ["pass", "pass"], words).await;
        assert!(parts[1].evidence().as_str().contains(refused), "{parts:?}");
        let control = watch.check.control(&watch.cx, watch.memory.as_deref()).await;
        assert_eq!(name(&control), "not_fenced", "{control:?}");
        let mut wrong = old.watch(json!({"attempt": "wrong"}));
        assert_ne!(name(&look(&mut wrong).await[1]), "pass", "{up}: a wrong password is no fence");
        old.outside(&[IN_SPITE, down, reload]).await;
        caught += 1;
    }
    assert_eq!(caught, 8);
}

#[tokio::test]
async fn what_no_fence_stops_is_said() {
    let old = Old::start().await;
    let (system, reload) = ("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()");
    old.outside(&["ALTER SYSTEM SET max_prepared_transactions = 2"]).await;
    old.postgres.stop().await.unwrap();
    old.postgres.start_again().await.unwrap();
    sql(&old.postgres, "BEGIN; INSERT INTO readings (id, v) VALUES (-9, 'x'); PREPARE TRANSACTION 'half'").await;
    old.outside(&[system]).await;
    let mut watch = old.watch(json!({}));
    becomes(&mut watch, ["prepared_transaction", "write_accepted"], "'half'").await;
    old.outside(&[reload]).await;
    becomes(&mut watch, ["prepared_transaction", "pass"], "'half'").await;
    old.postgres.connect_as_superuser().await.unwrap().batch_execute("ROLLBACK PREPARED 'half'").await.unwrap();
    becomes(&mut watch, ["pass", "pass"], "is on for the server").await;
    for (set, reset) in [
        ("ALTER ROLE server SET default_transaction_read_only = off", "ALTER ROLE server RESET ALL"),
        ("ALTER DATABASE homelab SET default_transaction_read_only = off", "ALTER DATABASE homelab RESET ALL"),
        (
            "ALTER ROLE server IN DATABASE homelab SET default_transaction_read_only = off",
            "ALTER ROLE server IN DATABASE homelab RESET ALL",
        ),
        ("ALTER ROLE ALL SET default_transaction_read_only = off", "ALTER ROLE ALL RESET ALL"),
    ] {
        old.outside(&[IN_SPITE, set]).await;
        becomes(&mut watch, ["not_fenced", "write_accepted"], "").await;
        old.outside(&[IN_SPITE, reset]).await;
        becomes(&mut watch, ["pass", "pass"], "").await;
    }
    old.outside(&[IN_SPITE, "ALTER ROLE server SUPERUSER"]).await;
    becomes(&mut watch, ["superuser", "pass"], "server is a superuser").await;
    old.outside(&[IN_SPITE, "ALTER ROLE server NOSUPERUSER"]).await;
    becomes(&mut old.watch(json!({"roles": ["server", "nobody"]})), ["no_such_role", "pass"], "nobody").await;
    becomes(&mut old.watch(json!({"attempt": "wrong"})), ["pass", "attempt_unclear"], "").await;
    becomes(&mut old.watch(json!({"attempt": "elsewhere"})), ["pass", "attempt_unclear"], "").await;
}

#[tokio::test]
async fn a_fence_may_stop_and_its_attempts_are_no_event_on_a_quiet_server() {
    let old = Old::start().await;
    old.outside(&["ALTER SYSTEM SET autovacuum = off", "SELECT pg_reload_conf()"]).await;
    let mut fence = old.watch(json!({"mayBeStopped": true}));
    let mut quiet = Watch::new("postgresQuiet", json!({"postgres": "old", "window": "15s"}), &old.cx);
    quiet.passes().await;
    for fenced in [false, true] {
        if fenced {
            old.outside(&["ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"]).await;
            becomes(&mut fence, ["pass", "pass"], "").await;
        }
        for _ in 0..10 {
            let (parts, outcome) = futures::future::join(look(&mut fence), quiet.after(5)).await;
            assert_eq!(name(&parts[1]), if fenced { "pass" } else { "write_accepted" }, "{parts:?}");
            assert_eq!(name(&outcome), "pass", "{outcome:?}");
        }
    }
    old.postgres.stop().await.unwrap();
    let parts = look(&mut fence).await;
    assert_eq!(parts.each_ref().map(name), ["pass", "pass"], "{parts:?}");
    assert_eq!(name(&fence.check.control(&fence.cx, fence.memory.as_deref()).await), "not_fenced");
    assert_eq!(look(&mut old.watch(json!({"mayBeStopped": true}))).await.each_ref().map(name), ["never_seen", "never_seen"]);
    assert_eq!(look(&mut old.watch(json!({}))).await.each_ref().map(name), ["refused", "refused"]);
}

#[tokio::test]
async fn an_attempt_behind_a_lock_says_so_and_leaves_nothing_on_the_server() {
    let old = Old::start().await;
    let holder = old.postgres.connect_as_superuser().await.unwrap();
    holder.batch_execute("BEGIN; LOCK TABLE readings, emptied, dropped").await.unwrap();
    let mut watch = old.watch(json!({}));
    watch.cx.timeout = Duration::from_millis(1500);
    let parts = look(&mut watch).await;
    assert_eq!(parts.each_ref().map(name), ["not_fenced", "table_locked"], "{parts:?}");
    assert!(parts[1].evidence().as_str().contains("public.readings: "), "{parts:?}");
    let left = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'server' AND state = 'active'";
    assert_eq!(holder.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 0);
    holder.batch_execute("COMMIT").await.unwrap();
    assert_eq!(look(&mut watch).await.each_ref().map(name), ["not_fenced", "write_accepted"]);
}
