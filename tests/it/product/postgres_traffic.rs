//! `postgresTraffic` against a real PostgreSQL: which rows prove a writer, and which do not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use checks::postgres::mark::{Mark, Side};
use checks::{Context, DynCheck, Fact, Outcome, Step};
use chrono::TimeDelta;
use serde_json::{Value, json};
use tests::{Postgres, Spec, World};

use super::now;
use super::postgres_canary::{context, setup, sql};

const TABLES: &str = "CREATE TABLE system_metrics (time timestamptz NOT NULL, metric_type text); \
     CREATE TABLE reading_sync_history (id serial, at timestamp); CREATE TABLE stranger (n int); \
     ALTER TABLE system_metrics OWNER TO server; ALTER TABLE reading_sync_history OWNER TO server; \
     CREATE ROLE observer LOGIN PASSWORD 'observer'; GRANT pg_monitor TO observer; \
     GRANT SELECT ON ALL TABLES IN SCHEMA public TO observer";
const COMPLETE: &str = "SELECT count(DISTINCT metric_type) = 4 FROM system_metrics WHERE time > now() - interval '2 minutes'";

/// The check as the verifier holds it, on a new server with a mark that says it was taken ten minutes ago.
struct Traffic {
    world: World,
    new: Postgres,
    check: Arc<dyn DynCheck>,
    cx: Context,
    memory: Option<Vec<u8>>,
}

impl Traffic {
    async fn start() -> Self {
        let world = World::new().unwrap();
        let new = Postgres::start(&world).await.unwrap();
        sql(&new, TABLES).await;
        let cx = context(&world, [("new", &new.url("observer", "observer", "homelab"))]);
        let mut traffic = Self { check: fast(&json!({})), world, new, cx: Context { now: now(), ..cx }, memory: None };
        traffic.mark().await;
        traffic
    }

    /// Takes the mark; its time is put back, so that rows can be as old as a test needs them.
    async fn mark(&mut self) {
        let mut side = Side::take(&self.cx, "new").await.unwrap();
        side.at -= TimeDelta::minutes(10);
        let value = serde_json::to_value(Mark { old: side.clone(), new: side }).unwrap();
        let edition = format!("postgres-mark.{}", self.cx.facts.len() + 2);
        let mut facts = (*self.cx.facts).clone();
        facts.insert(edition, Fact { at: now(), value });
        self.cx.facts = Arc::new(facts);
    }

    fn is(&mut self, check: Arc<dyn DynCheck>) {
        (self.check, self.memory) = (check, None);
    }

    async fn look(&mut self) -> BTreeMap<String, Outcome> {
        let report = self.check.run(&self.cx, self.memory.as_deref()).await.unwrap();
        self.memory = Some(report.memory);
        let Step::Done(parts) = report.step else { panic!("not done") };
        parts.into_iter().map(|(part, outcome)| (part.as_str().to_owned(), outcome)).collect()
    }

    async fn says(&mut self) -> String {
        said(&self.look().await["w"])
    }

    /// Two runs of the metrics job, the last one `ago` seconds ago.
    async fn beats(&self, role: &str, ago: u32) {
        for seconds in [ago + 60, ago] {
            let sql = format!(
                "INSERT INTO system_metrics SELECT now() - interval '{seconds}s', unnest('{{cpu,memory,disk,network}}'::text[])"
            );
            self.run(role, &sql).await;
        }
    }

    async fn run(&self, role: &str, statement: &str) {
        if role == "server" {
            self.new.connect().await.unwrap().batch_execute(statement).await.unwrap();
        } else {
            sql(&self.new, statement).await;
        }
    }
}

fn said(outcome: &Outcome) -> String {
    outcome.reason().map_or_else(|| "pass".to_owned(), ToString::to_string)
}

fn check(writer: Value, undeclared: &str) -> Arc<dyn DynCheck> {
    let parse = checks::registry().get("postgresTraffic").unwrap().parse;
    parse(json!({"postgres": "new", "writers": [writer], "undeclared": undeclared})).unwrap()
}

fn fast(more: &Value) -> Arc<dyn DynCheck> {
    let mut writer = json!({"name": "w", "role": "server", "table": "system_metrics", "time": "time", "every": "1m"});
    writer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    check(writer, "name")
}

fn slow(schedule: &str) -> Arc<dyn DynCheck> {
    let writer =
        json!({"name": "w", "role": "server", "table": "public.reading_sync_history", "time": "at", "schedule": schedule});
    check(writer, "name")
}

#[tokio::test]
async fn a_fast_writer_is_green_after_two_beats_and_silence_is_red() {
    let mut traffic = Traffic::start().await;
    assert_eq!(traffic.says().await, "first_beats");
    let control = traffic.check.control(&traffic.cx, None).await;
    assert_eq!(said(&control), "silent");
    let later = Context { now: traffic.cx.now + TimeDelta::minutes(3), ..traffic.cx.clone() };
    let before = std::mem::replace(&mut traffic.cx, later);
    assert_eq!(traffic.says().await, "silent", "never green, and red when it is due");
    traffic.cx = before;
    traffic.beats("server", 1).await;
    let pass = traffic.look().await["w"].clone();
    assert_eq!(said(&pass), "pass", "{pass:?}");
    assert!(pass.evidence().as_str().contains("pg_stat_statements is not installed"), "{pass:?}");
    let control = traffic.check.control(&traffic.cx, None).await;
    assert_eq!(said(&control), "silent", "{control:?}");

    let mut old = Traffic::start().await;
    old.beats("server", 120).await;
    assert_eq!(old.says().await, "silent");
    sql(&old.new, "INSERT INTO system_metrics VALUES (now() + interval '2 minutes', 'cpu')").await;
    assert_eq!(old.says().await, "clock");
    sql(&old.new, "DELETE FROM system_metrics WHERE time > now()").await;
    old.beats("server", 0).await;
    assert_eq!(old.says().await, "pass");
}

#[tokio::test]
async fn rows_that_were_restored_rolled_back_or_ours_are_no_traffic() {
    let mut traffic = Traffic::start().await;
    sql(&traffic.new, &setup()).await;
    sql(
        &traffic.new,
        "UPDATE phasegate.canary SET beat = 7; INSERT INTO system_metrics VALUES (now() - interval '1 day', 'cpu')",
    )
    .await;
    // A dump that is restored after the mark.
    let dump = Spec::new("pg_dump", Postgres::program("pg_dump").unwrap())
        .args(["--inserts", "--data-only", "--table=system_metrics"])
        .arg(traffic.new.superuser_dsn());
    let dump = traffic.world.run(dump, Duration::from_mins(1)).await.unwrap().stdout;
    let inserts: Vec<_> = dump.lines().filter(|line| line.starts_with("INSERT")).collect();
    assert_eq!(inserts.len(), 1, "{dump}");
    sql(&traffic.new, &inserts.concat()).await;
    traffic.run("server", "BEGIN; INSERT INTO system_metrics VALUES (now(), 'cpu'); ROLLBACK").await;
    assert_eq!(traffic.says().await, "first_beats");
    assert_eq!(said(&traffic.look().await["others"]), "pass");
    traffic.is(fast(&json!({"every": "1m"})));
    // Fresh times that were there before the mark do not count either.
    traffic.beats("server", 1).await;
    traffic.mark().await;
    assert_eq!(traffic.says().await, "first_beats", "another mark");
    traffic.beats("server", 0).await;
    assert_eq!(traffic.says().await, "pass");
}

#[tokio::test]
async fn three_of_four_kinds_of_rows_are_partial() {
    let mut traffic = Traffic::start().await;
    traffic.is(fast(&json!({"complete": COMPLETE, "grace": "1s"})));
    for ago in [75, 15] {
        let rows = format!("INSERT INTO system_metrics SELECT now() - interval '{ago}s', unnest('{{cpu,memory,disk}}'::text[])");
        traffic.run("server", &rows).await;
    }
    let partial = traffic.look().await["w"].clone();
    assert_eq!(said(&partial), "partial");
    assert!(partial.evidence().as_str().contains("count(DISTINCT metric_type) = 4"), "{partial:?}");
    traffic.run("server", "INSERT INTO system_metrics VALUES (now(), 'network')").await;
    assert_eq!(traffic.says().await, "pass");
    traffic.is(fast(&json!({"complete": COMPLETE, "grace": "1h"})));
    traffic.run("server", "DELETE FROM system_metrics WHERE metric_type = 'cpu'").await;
    assert_eq!(traffic.says().await, "completing", "an incomplete first set is never green");
    for query in ["SELECT 1", "SELECT true FROM nowhere", "SELECT true FROM generate_series(1, 2)", "SELECT pg_sleep(60) IS NULL"]
    {
        traffic.cx.timeout = Duration::from_secs(if query.contains("sleep") { 2 } else { 20 });
        traffic.is(fast(&json!({"complete": query})));
        assert_eq!(traffic.says().await, "complete_unusable", "{query}");
    }
}

#[tokio::test]
async fn a_slow_writer_waits_is_proven_by_hand_and_misses_a_run() {
    let mut traffic = Traffic::start().await;
    let at = |minutes: i64| (traffic.cx.now + TimeDelta::minutes(minutes)).format("%M %H * * *").to_string();
    let (coming, missed) = (slow(&at(30)), slow(&at(-7)));
    traffic.is(coming.clone());
    let waiting = traffic.look().await["w"].clone();
    assert_eq!(said(&waiting), "not_due");
    assert!(waiting.evidence().as_str().contains("by hand"), "{waiting:?}");
    traffic
        .run("server", "INSERT INTO reading_sync_history (at) VALUES ((now() - interval '9 minutes') AT TIME ZONE 'UTC')")
        .await;
    assert_eq!(traffic.says().await, "pass");
    traffic.is(missed);
    assert_eq!(traffic.says().await, "missed_run");
    traffic.run("server", "INSERT INTO reading_sync_history (at) VALUES (now() AT TIME ZONE 'UTC')").await;
    assert_eq!(traffic.says().await, "pass");
}

#[tokio::test]
async fn unknown_writers_are_named_and_partitions_are_none() {
    let mut traffic = Traffic::start().await;
    let partitioned = "ALTER TABLE system_metrics RENAME TO plain; CREATE TABLE system_metrics (time timestamptz, metric_type text) \
         PARTITION BY RANGE (time); CREATE TABLE chunk PARTITION OF system_metrics DEFAULT; GRANT SELECT ON system_metrics TO observer; \
         ALTER TABLE system_metrics OWNER TO server";
    sql(&traffic.new, partitioned).await;
    traffic.beats("server", 1).await;
    let parts = traffic.look().await;
    assert_eq!((said(&parts["w"]).as_str(), said(&parts["others"]).as_str()), ("pass", "pass"), "{parts:?}");
    assert!(!parts["others"].evidence().as_str().contains("chunk"), "{parts:?}");
    sql(&traffic.new, "INSERT INTO stranger VALUES (1), (2), (3)").await;
    let others = traffic.look().await["others"].clone();
    assert_eq!(others, Outcome::pass("unknown writer: public.stranger (3 inserted)"));
    let writer = json!({"name": "w", "role": "server", "table": "system_metrics", "time": "time", "every": "1m"});
    traffic.is(check(writer, "fail"));
    assert_eq!(said(&traffic.look().await["others"]), "unknown_writer");
}

#[tokio::test]
async fn a_crash_and_a_reset_of_counters_neither_lose_nor_invent_traffic() {
    let mut traffic = Traffic::start().await;
    sql(&traffic.new, "INSERT INTO stranger VALUES (1)").await;
    assert_eq!(traffic.says().await, "first_beats");
    traffic.new.kill().await.unwrap();
    assert_eq!(traffic.says().await, "refused");
    traffic.new.start_again().await.unwrap();
    let parts = traffic.look().await;
    assert_eq!(said(&parts["w"]), "first_beats", "{parts:?}");
    assert!(parts["others"].evidence().as_str().contains("public.stranger (1 inserted)"), "{parts:?}");
    traffic.beats("server", 1).await;
    assert_eq!(traffic.says().await, "pass");
    sql(&traffic.new, "SELECT pg_stat_reset()").await;
    assert_eq!(traffic.says().await, "pass");
    traffic.new.kill().await.unwrap();
    traffic.new.start_again().await.unwrap();
    assert_eq!(traffic.says().await, "pass");
}

#[tokio::test]
async fn what_the_verifier_may_not_see_is_unknown_and_says_what_opens_it() {
    let mut traffic = Traffic::start().await;
    traffic.beats("server", 1).await;
    sql(&traffic.new, "REVOKE SELECT ON system_metrics FROM observer").await;
    let outcome = traffic.look().await["w"].clone();
    assert_eq!((outcome.label(), said(&outcome).as_str()), ("unknown", "no_permission"));
    let grants = outcome.evidence().as_str().split("run ").nth(1).unwrap().to_owned();
    sql(&traffic.new, &grants).await;
    assert_eq!(traffic.says().await, "pass");
    for (deed, reason) in [
        ("ALTER TABLE system_metrics ENABLE ROW LEVEL SECURITY", "no_permission"),
        ("ALTER TABLE system_metrics DISABLE ROW LEVEL SECURITY, ALTER time TYPE text", "no_time_column"),
        ("ALTER TABLE system_metrics RENAME time TO other", "no_time_column"),
        ("DROP TABLE system_metrics", "no_table"),
        ("ALTER SYSTEM SET track_counts = off; SELECT pg_reload_conf()", "counters_off"),
    ] {
        for deed in deed.split("; ") {
            sql(&traffic.new, deed).await;
        }
        let look = async || {
            let report = traffic.check.run(&traffic.cx, None).await.unwrap();
            let Step::Done(parts) = report.step else { panic!("not done") };
            anyhow::ensure!(said(&parts.into_values().next_back().unwrap()) == reason);
            Ok(())
        };
        tests::wait_until(Duration::from_secs(20), reason, look).await.unwrap();
    }
    let cx = context(&traffic.world, [("new", &traffic.new.dsn())]);
    traffic.cx = Context { facts: traffic.cx.facts.clone(), ..cx };
    assert_eq!(traffic.says().await, "not_an_observer");
}

#[tokio::test]
async fn another_role_is_named_where_statements_are_counted() {
    let mut traffic = Traffic::start().await;
    sql(&traffic.new, "ALTER SYSTEM SET shared_preload_libraries = pg_stat_statements").await;
    traffic.new.stop().await.unwrap();
    traffic.new.start_again().await.unwrap();
    sql(&traffic.new, "CREATE EXTENSION pg_stat_statements").await;
    assert_eq!(traffic.says().await, "first_beats");
    traffic.beats("postgres", 1).await;
    let outcome = traffic.look().await["w"].clone();
    assert_eq!(said(&outcome), "other_role");
    assert!(outcome.evidence().as_str().contains("by role postgres"), "{outcome:?}");
    traffic.beats("server", 0).await;
    let outcome = traffic.look().await["w"].clone();
    assert_eq!(said(&outcome), "pass", "{outcome:?}");
    assert!(outcome.evidence().as_str().contains("written by server"), "{outcome:?}");
}

#[tokio::test]
async fn a_mark_of_another_server_proves_nothing() {
    let mut traffic = Traffic::start().await;
    let other = Postgres::start(&traffic.world).await.unwrap();
    sql(&other, TABLES).await;
    traffic.beats("server", 1).await;
    assert_eq!(traffic.says().await, "pass");
    let cx = context(&traffic.world, [("new", &format!("{}?connect_timeout=20", other.url("observer", "observer", "homelab")))]);
    traffic.cx = Context { facts: traffic.cx.facts.clone(), now: now(), ..cx };
    assert_eq!(traffic.says().await, "other_mark");
}
