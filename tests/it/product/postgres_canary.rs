//! `postgresCanary` against a real PostgreSQL: what it must see, what it must not be fooled by, and where it must not write.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use checks::{Clients, Context, DynCheck, Outcome, Report, Step};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tests::{Postgres, Spec, Verifier, World};

use super::{AT_ONCE, looks, migration, now, opened, reaches};

/// What the operator runs, as the reason says it.
pub(super) fn setup() -> String {
    let registry = checks::registry();
    let meta = registry.get("postgresCanary").unwrap().meta;
    let next = meta.reasons().find(|reason| reason.name == "not_set_up").unwrap().next;
    next[next.find("CREATE SCHEMA").unwrap()..].replace("ROLE", "server")
}

pub(super) async fn sql(postgres: &Postgres, sql: &str) {
    postgres.connect_as_superuser().await.unwrap().batch_execute(sql).await.unwrap();
}

/// The number in the verifier's row.
async fn number(postgres: &Postgres) -> i64 {
    let session = postgres.connect_as_superuser().await.unwrap();
    session.query_one("SELECT beat FROM phasegate.canary WHERE slot = 'verifier'", &[]).await.unwrap().get(0)
}

/// What a check gets that looks at these targets, each with its connection string in a file.
pub(super) fn context<const N: usize>(world: &World, targets: [(&str, &str); N]) -> Context {
    let target = |(name, dsn): (&str, &str)| {
        let file = world.write(&format!("{name}-{}.dsn", dsn.len()), dsn).unwrap();
        (name.to_owned(), serde_json::from_value(json!({"postgres": {"dsn": {"file": file}}})).unwrap())
    };
    Context {
        targets: Arc::new(targets.into_iter().map(target).collect()),
        clients: Clients::new().unwrap(),
        timeout: Duration::from_secs(20),
        now: DateTime::<Utc>::UNIX_EPOCH,
        uptime: Duration::from_hours(1),
        beat: None,
        facts: Arc::default(),
        by_hand: false,
    }
}

/// The check as the verifier holds it, with its memory in the test's hands.
struct Canary {
    world: World,
    postgres: Postgres,
    check: Arc<dyn DynCheck>,
    cx: Context,
    memory: Option<Vec<u8>>,
}

impl Canary {
    /// On a server that was not set up for it.
    async fn bare() -> Self {
        let world = World::new().unwrap();
        let postgres = Postgres::start(&world).await.unwrap();
        let cx = context(&world, [("new", &postgres.dsn())]);
        let check = checks::registry().get("postgresCanary").unwrap().parse;
        let check = check(json!({"postgres": "new", "holdFor": "0s"})).unwrap();
        Self { world, postgres, check, cx, memory: None }
    }

    async fn set_up() -> Self {
        let canary = Self::bare().await;
        sql(&canary.postgres, &setup()).await;
        canary
    }

    async fn report(&mut self) -> Report<Vec<u8>> {
        let report = self.check.run(&self.cx, self.memory.as_deref()).await.unwrap();
        self.memory = Some(report.memory.clone());
        report
    }

    /// One look: `pass`, or the reason.
    async fn look(&mut self) -> String {
        self.outcome().await.reason().map_or_else(|| "pass".to_owned(), ToString::to_string)
    }

    async fn outcome(&mut self) -> Outcome {
        let report = self.report().await;
        let Step::Done(parts) = report.step else { panic!("not done") };
        parts.into_values().next().unwrap()
    }

    async fn control(&self) -> Outcome {
        self.check.control(&self.cx, self.memory.as_deref()).await
    }

    /// The same look in another verifier's place.
    fn again(&self, world: World, postgres: Postgres) -> Self {
        Self { cx: self.cx.clone(), check: self.check.clone(), memory: self.memory.clone(), world, postgres }
    }
}

#[tokio::test]
async fn numbers_are_committed_and_read_back_and_the_table_does_not_grow() {
    let mut canary = Canary::set_up().await;
    for expected in 1..=20 {
        assert_eq!(canary.look().await, "pass");
        assert_eq!(number(&canary.postgres).await, expected);
    }
    let report = canary.report().await;
    let measures: BTreeMap<_, _> = report.measures.iter().map(|measure| (measure.name, measure.value)).collect();
    assert!(measures["table_bytes"] <= 65_536.0, "{measures:?}");
    assert!(measures["commit_seconds"] > 0.0, "{measures:?}");
    let session = canary.postgres.connect_as_superuser().await.unwrap();
    let query =
        "SELECT system_identifier || '/' || (SELECT oid FROM pg_database WHERE datname = 'homelab') FROM pg_control_system()";
    let identity: String = session.query_one(query, &[]).await.unwrap().get(0);
    assert_eq!(report.identities["new"], identity);
    let rows: i64 = session.query_one("SELECT count(*) FROM phasegate.canary", &[]).await.unwrap().get(0);
    assert_eq!(rows, 2);
}

/// Rows that are nobody's beat, so that the table is as large as if its vacuum had been held back for long.
async fn grow(canary: &Canary, rows: u32) {
    let fill = "INSERT INTO phasegate.canary SELECT 'x' || n, 0, '', now(), repeat('x', 200)";
    sql(&canary.postgres, &format!("{fill} FROM generate_series(1, {rows}) AS n ON CONFLICT DO NOTHING")).await;
}

#[tokio::test]
async fn who_holds_back_the_vacuum_of_its_table_is_named_and_at_a_limit_nothing_more_is_written() {
    let mut canary = Canary::set_up().await;
    assert_eq!(canary.look().await, "pass");
    let holder = canary.postgres.connect().await.unwrap();
    let held = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM phasegate.canary";
    holder.batch_execute(held).await.unwrap();
    grow(&canary, 2_000).await;
    let outcome = canary.outcome().await;
    let words = outcome.evidence().as_str();
    assert!(matches!(outcome, Outcome::Pass { .. }), "{outcome:?}");
    assert!(words.contains("KiB; its vacuum is held back by session ") && words.contains("of role server, "), "{words}");
    grow(&canary, 20_000).await;
    let number_before = number(&canary.postgres).await;
    let outcome = canary.outcome().await;
    assert_eq!(outcome.reason().unwrap().to_string(), "table_grown");
    assert!(outcome.evidence().as_str().contains("of role server, "), "{outcome:?}");
    assert_eq!(number(&canary.postgres).await, number_before, "nothing was written");
    holder.batch_execute("COMMIT").await.unwrap();
    sql(&canary.postgres, "DELETE FROM phasegate.canary WHERE slot LIKE 'x%'").await;
    sql(&canary.postgres, "VACUUM FULL phasegate.canary").await;
    assert_eq!(canary.look().await, "pass");
    assert_eq!(number(&canary.postgres).await, number_before + 1);
}

#[tokio::test]
async fn commits_that_take_long_are_red_although_they_arrive() {
    let mut canary = Canary::set_up().await;
    let block = json!({"postgres": "new", "holdFor": "0s", "slowAfter": "50ms"});
    canary.check = (checks::registry().get("postgresCanary").unwrap().parse)(block).unwrap();
    sql(
        &canary.postgres,
        "CREATE FUNCTION public.wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.2); RETURN NULL; END'; \
         CREATE CONSTRAINT TRIGGER slow AFTER UPDATE ON phasegate.canary DEFERRABLE INITIALLY DEFERRED \
         FOR EACH ROW EXECUTE FUNCTION public.wait()",
    )
    .await;
    assert_eq!(canary.look().await, "pass", "one proves nothing");
    let outcome = canary.outcome().await;
    assert_eq!(outcome.reason().unwrap().to_string(), "slow_commits", "{outcome:?}");
    assert_eq!(number(&canary.postgres).await, 2, "they are committed all the same");
}

#[tokio::test]
async fn the_control_writes_takes_back_and_must_not_find_it() {
    let mut canary = Canary::set_up().await;
    assert_eq!(canary.look().await, "pass");
    for _ in 0..3 {
        let control = canary.control().await;
        assert_eq!(control.reason().map(ToString::to_string).as_deref(), Some("commit_lost"), "{control:?}");
        assert_eq!(canary.look().await, "pass", "the control does not disturb the runs");
    }
    assert_eq!(number(&canary.postgres).await, 4);
}

#[tokio::test]
async fn nothing_is_made_or_written_where_the_operator_did_not_make_the_table() {
    let mut canary = Canary::bare().await;
    let next_xid = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text";
    let session = canary.postgres.connect_as_superuser().await.unwrap();
    let before: String = session.query_one(next_xid, &[]).await.unwrap().get(0);
    let outcome = canary.outcome().await;
    assert_eq!((outcome.label(), outcome.reason().unwrap().as_str()), ("unknown", "not_set_up"));
    for word in ["server@127.0.0.1:", "no table phasegate.canary", "the role is \"server\""] {
        assert!(outcome.evidence().as_str().contains(word), "{outcome:?}");
    }
    assert_eq!(canary.control().await.reason().unwrap().as_str(), "not_set_up");
    let after: String = session.query_one(next_xid, &[]).await.unwrap().get(0);
    assert_eq!(before, after, "no transaction of ours wrote anything");
    // The next step, word for word, is all that is missing.
    sql(&canary.postgres, &setup()).await;
    assert_eq!(canary.look().await, "pass");
    sql(&canary.postgres, "ALTER TABLE phasegate.canary RENAME beat TO other").await;
    canary.memory = None;
    assert_eq!(canary.look().await, "not_set_up");
}

#[tokio::test]
async fn a_table_that_came_with_a_dump_is_not_written_to() {
    let mut canary = Canary::set_up().await;
    assert_eq!(canary.look().await, "pass");
    let old = Postgres::start(&canary.world).await.unwrap();
    let dump = Spec::new("pg_dump", Postgres::program("pg_dump").unwrap()).arg(canary.postgres.superuser_dsn());
    let dump = canary.world.run(dump, Duration::from_mins(1)).await.unwrap();
    let statements: Vec<_> = dump.stdout.lines().filter(|line| !line.starts_with('\\')).collect();
    let (before, after) = statements.split_at(statements.iter().position(|line| line.starts_with("COPY ")).unwrap());
    let rows = after.iter().take_while(|line| !line.is_empty()).skip(1);
    sql(&old, &before.join("\n")).await;
    for row in rows {
        let values: Vec<_> = row.split('\t').map(|value| format!("'{value}'")).collect();
        sql(&old, &format!("INSERT INTO phasegate.canary VALUES ({})", values.join(", "))).await;
    }
    sql(&old, "GRANT USAGE ON SCHEMA phasegate TO server; GRANT SELECT, UPDATE ON phasegate.canary TO server").await;

    let cx = context(&canary.world, [("new", &format!("{}?connect_timeout=9", old.dsn()))]);
    for memory in [canary.memory.clone(), None] {
        let report = canary.check.run(&cx, memory.as_deref()).await.unwrap();
        let Step::Done(parts) = report.step else { panic!("not done") };
        let outcome = parts.into_values().next().unwrap();
        assert_eq!((outcome.label(), outcome.reason().unwrap().as_str()), ("unknown", "wrong_home"), "{outcome:?}");
    }
    assert_eq!(number(&old).await, 1);
    assert_eq!(canary.look().await, "pass", "the original is where it was");
}

#[tokio::test]
async fn a_role_without_rights_says_which_ones() {
    let mut canary = Canary::set_up().await;
    sql(&canary.postgres, "REVOKE UPDATE ON phasegate.canary FROM server").await;
    let outcome = canary.outcome().await;
    assert_eq!((outcome.label(), outcome.reason().unwrap().as_str()), ("unknown", "no_permission"));
    let grants = outcome.evidence().as_str().split("run ").nth(1).unwrap().to_owned();
    sql(&canary.postgres, "REVOKE ALL ON SCHEMA phasegate FROM server").await;
    assert_eq!(canary.look().await, "no_permission");
    sql(&canary.postgres, &grants).await;
    assert_eq!(canary.look().await, "pass");
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_red() {
    let mut canary = Canary::set_up().await;
    assert_eq!(canary.look().await, "pass");
    for (setting, reason) in [("default_transaction_read_only = on", "read_only"), ("synchronous_commit = off", "unsafe_setting")]
    {
        sql(&canary.postgres, &format!("ALTER ROLE server SET {setting}")).await;
        assert_eq!(canary.look().await, reason);
        sql(&canary.postgres, "ALTER ROLE server RESET ALL").await;
        assert_eq!(canary.look().await, "pass");
    }
}

#[tokio::test]
async fn an_update_that_changes_nothing_is_no_write() {
    let mut canary = Canary::set_up().await;
    sql(&canary.postgres, "CREATE RULE nothing AS ON UPDATE TO phasegate.canary DO INSTEAD NOTHING").await;
    assert_eq!(canary.look().await, "query_failed");
    sql(&canary.postgres, "DROP RULE nothing ON phasegate.canary").await;
    let policies =
        "ALTER TABLE phasegate.canary ENABLE ROW LEVEL SECURITY; CREATE POLICY look ON phasegate.canary FOR SELECT USING (true)";
    sql(&canary.postgres, policies).await;
    assert_eq!(canary.look().await, "not_written");
}

#[tokio::test]
async fn a_row_or_a_table_that_is_gone_is_a_loss_once_numbers_were_committed() {
    for deed in ["DELETE FROM phasegate.canary", "DROP TABLE phasegate.canary"] {
        let mut canary = Canary::set_up().await;
        assert_eq!(canary.look().await, "pass");
        sql(&canary.postgres, deed).await;
        assert_eq!(canary.look().await, "row_lost", "{deed}");
        canary.memory = None;
        assert_eq!(canary.look().await, "not_set_up", "{deed}: nothing is known any more");
    }
}

#[tokio::test]
async fn a_restored_volume_is_a_lost_commit_that_is_told_for_a_while() {
    let mut canary = Canary::set_up().await;
    assert_eq!(canary.look().await, "pass");
    let backup = canary.world.dir().join("backup");
    canary.postgres.stop().await.unwrap();
    copy(&canary.world, canary.postgres.data(), &backup).await;
    canary.postgres.start_again().await.unwrap();
    for _ in 0..3 {
        assert_eq!(canary.look().await, "pass");
    }
    canary.postgres.stop().await.unwrap();
    std::fs::remove_dir_all(canary.postgres.data()).unwrap();
    copy(&canary.world, &backup, canary.postgres.data()).await;
    canary.postgres.start_again().await.unwrap();
    let outcome = canary.outcome().await;
    assert_eq!((outcome.label(), outcome.reason().unwrap().as_str()), ("fail", "commit_lost"));
    assert!(
        outcome.evidence().as_str().contains("number 4 was committed, the row has 1; the server was restarted"),
        "{outcome:?}"
    );
    assert_eq!(number(&canary.postgres).await, 5, "no number is ever used twice");
    for _ in 0..9 {
        assert_eq!(canary.look().await, "commit_lost");
    }
    assert_eq!(canary.look().await, "pass");
}

async fn copy(world: &World, from: &Path, to: &Path) {
    let copy = Spec::new("cp", "/bin/cp").args(["-a", from.to_str().unwrap(), to.to_str().unwrap()]);
    let done = world.run(copy, Duration::from_mins(1)).await.unwrap();
    assert_eq!(done.code, 0, "{done:?}");
}

#[tokio::test]
async fn what_was_committed_survives_a_kill_of_the_server() {
    let mut canary = Canary::set_up().await;
    for _ in 0..5 {
        assert_eq!(canary.look().await, "pass");
    }
    canary.postgres.kill().await.unwrap();
    assert_eq!(canary.look().await, "refused");
    canary.postgres.start_again().await.unwrap();
    assert_eq!(canary.look().await, "pass");
    assert_eq!(number(&canary.postgres).await, 6);
}

#[tokio::test]
async fn a_memory_that_is_older_than_the_row_raises_no_alarm_and_proves_nothing_about_a_crash() {
    let mut canary = Canary::set_up().await;
    assert_eq!(canary.look().await, "pass");
    let older = canary.memory.clone();
    for _ in 0..3 {
        assert_eq!(canary.look().await, "pass");
    }
    canary.memory.clone_from(&older);
    assert_eq!(canary.look().await, "pass", "the verifier was killed");
    assert_eq!(canary.look().await, "pass");

    canary.postgres.stop().await.unwrap();
    canary.postgres.start_again().await.unwrap();
    canary.memory = older;
    assert_eq!(canary.look().await, "not_comparable", "both were killed");
    assert_eq!(canary.look().await, "pass");
}

#[tokio::test]
async fn two_verifiers_on_one_row_are_both_red_and_one_that_is_left_is_green_again() {
    let mut canary = Canary::set_up().await;
    let mut other = {
        let mut other = Canary::bare().await;
        other.cx = canary.cx.clone();
        other
    };
    assert_eq!(canary.look().await, "pass");
    assert_eq!(other.look().await, "pass", "it takes over a row of which it knows nothing");
    assert_eq!(canary.look().await, "another_writer");
    assert_eq!(other.look().await, "another_writer");
    // The other one is stopped.
    assert_eq!(canary.look().await, "another_writer");
    for _ in 0..9 {
        assert_eq!(canary.look().await, "another_writer", "it is told for a while");
    }
    assert_eq!(canary.look().await, "pass");
}

#[tokio::test]
async fn a_look_by_hand_does_not_disturb_the_verifiers_row() {
    let mut canary = Canary::set_up().await;
    assert_eq!(canary.look().await, "pass");
    let hand = Context { by_hand: true, ..canary.cx.clone() };
    for _ in 0..2 {
        let report = canary.check.run(&hand, None).await.unwrap();
        let Step::Done(parts) = report.step else { panic!("not done") };
        assert!(parts.values().all(|outcome| outcome.label() == "pass"), "{parts:?}");
    }
    assert_eq!(number(&canary.postgres).await, 1);
    assert_eq!(canary.look().await, "pass");
}

#[tokio::test]
async fn another_server_behind_the_same_name_starts_the_probe_afresh() {
    let mut canary = Canary::set_up().await;
    let first = canary.report().await.identities["new"].clone();
    assert_eq!(canary.look().await, "pass");
    let other = Postgres::start(&canary.world).await.unwrap();
    let mut moved = canary.again(World::new().unwrap(), other);
    moved.cx = context(&canary.world, [("new", &format!("{}?connect_timeout=20", moved.postgres.dsn()))]);
    let report = moved.report().await;
    assert_ne!(report.identities["new"], first);
    assert_eq!(moved.look().await, "not_set_up");
    sql(&moved.postgres, &setup()).await;
    assert_eq!(moved.look().await, "pass", "what was committed on the other one is not asked for here");
}

/// Through the verifier: the gate opens, shuts when the server is killed, and opens again; a restored backup shuts it.
#[tokio::test]
async fn the_gate_follows_the_canary() {
    let world = World::new().unwrap();
    let postgres = Postgres::start(&world).await.unwrap();
    sql(&postgres, &setup()).await;
    let targets = "{k3s-pg: {postgres: {dsn: {env: PG_DSN}}}}";
    let probes = ["{name: canary, check: {postgresCanary: {postgres: k3s-pg}}, controlEvery: 2s}"];
    let document = migration("{every: 2s, timeout: 2s, maxAge: 20s}", targets, AT_ONCE, &probes);
    let verifier = Verifier::start_with(&world, &document, &[("PG_DSN", &postgres.dsn())]).await.unwrap();
    opened(&verifier).await;

    postgres.kill().await.unwrap();
    looks(&verifier, "canary", "red", "refused").await;
    reaches(&verifier, "closed").await;
    postgres.start_again().await.unwrap();
    reaches(&verifier, "open").await;

    // The verifier is killed as well: its memory may be older than the row.
    verifier.kill9().await.unwrap();
    verifier.start_again().await.unwrap();
    reaches(&verifier, "open").await;

    let dead = now();
    sql(&postgres, "UPDATE phasegate.canary SET beat = beat - 5").await;
    let red = looks(&verifier, "canary", "red", "commit_lost").await;
    assert!(red["evidence"].as_str().unwrap().contains("was committed, the row has"), "{red}");
    assert!(super::moment(&red["lastRun"]) > Some(dead), "{red}");
    reaches(&verifier, "closed").await;
    let said: Value = verifier.get("/v1/gates/move").await.unwrap().json().unwrap();
    assert_eq!(said["open"], false, "{said}");
}
