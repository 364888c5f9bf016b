//! The same as steps of a phase: forward, taken back, and gone on with after a kill.

use std::fmt::Write;

use super::*;

/// A verb of `cutover postgres` as a step's command.
fn words(line: &str) -> String {
    let quoted: Vec<_> = line.split(' ').map(|word| format!("\"{word}\"")).collect();
    format!("[cutover, postgres, {}]", quoted.join(", "))
}

fn document() -> String {
    migration(
        QUICK,
        "{new: {postgres: {dsn: {env: PG_NEW_OBSERVER}}}}",
        crate::product::AT_ONCE,
        &["{name: new-ready, check: {postgresReady: {postgres: new}}}"],
    )
}

/// A phase with a fence, a baseline and a switch.
async fn with_steps(switch: &str) -> Pair {
    let mut document = document();
    write!(
        document,
        "    steps:\n    - name: fence\n      do: {}\n      check: {}\n      undo: {}\n      timeout: 1m\n    - name: baseline\n      \
         do: {}\n      check: {}\n      timeout: 1m\n    - name: switch\n      switch: true\n      do: {switch}\n      undo: [\"true\"]\n",
        words(FENCE),
        words(&format!("{FENCE} --check")),
        words(&format!("{UNFENCE} --no-mark")),
        words(BASELINE),
        words(&format!("{BASELINE} --check")),
    )
    .unwrap();
    ready(Pair::with(&document).await).await
}

async fn ready(pair: Pair) -> Pair {
    wait_until(PATIENCE, "the phase may begin", async || {
        let body = pair.verifier.get("/v1/gates/move/entry").await?.json()?;
        ensure!(body["verdict"] == "open", "{body}");
        Ok(())
    })
    .await
    .unwrap();
    pair
}

const BEGIN: &[&str] = &["begin", "move", "--yes"];

#[tokio::test]
async fn a_switch_that_fails_leads_back_to_an_old_server_that_takes_writes() {
    let pair = with_steps("[\"false\"]").await;
    let output = pair.ran(BEGIN).await;
    assert_eq!(output.code, 10, "{}", output.stderr);
    for words in ["it does not stop superusers", "postgres-mark is recorded", "the new server has no row from after the mark"] {
        assert!(output.stderr.contains(words), "{words}: {}", output.stderr);
    }
    assert!(pair.writes().await);
    pair.exits(1, VERIFY).await;
}

#[tokio::test]
async fn a_switch_that_let_rows_in_is_not_taken_back_over_them() {
    let pair = with_steps("[sh, -c, \"psql -q \\\"$NEW_SERVER\\\" -c 'INSERT INTO metrics (value) VALUES (1)'; exit 1\"]").await;
    let output = pair.ran(BEGIN).await;
    assert_eq!(output.code, 12, "{}", output.stderr);
    assert!(output.stderr.contains("public.metrics: 1 rows are nowhere else"), "{}", output.stderr);
    assert!(!pair.writes().await);
    sql(&pair.new, "TRUNCATE metrics").await;
    let output = pair.ran(&["abort", "--yes", "--reason", "the row was a test"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(pair.writes().await);
}

#[tokio::test]
async fn a_run_that_was_killed_in_the_fence_is_resumed() {
    let pair = with_steps("[\"true\"]").await;
    let other = pair.old.connect_as_superuser().await.unwrap();
    other.batch_execute("BEGIN; INSERT INTO metrics (value) VALUES (1)").await.unwrap();
    let run = pair.world.start(pair.spec(BEGIN)).unwrap();
    says(&run, "homelab: pid").await;
    run.kill().await.unwrap();
    assert!(!pair.writes().await, "half of it was done");
    other.batch_execute("ROLLBACK").await.unwrap();
    let output = pair.ran(&["resume", "--yes"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    pair.exits(0, VERIFY).await;
    let mark = pair.fact("postgres-mark").await;
    assert!(mark["value"]["old"]["identity"].is_string(), "{mark}");
}

/// A phase of which every step can be taken back, also after the application has written to the new server. The last one is this.
async fn reversible(last: &str) -> Pair {
    let psql = |server: &str, sql: &str| format!("[sh, -c, \"psql -qv ON_ERROR_STOP=1 \\\"${server}\\\" -c '{sql}'\"]");
    let starts = |value: u32| format!("INSERT INTO metrics (value) SELECT {value} FROM generate_series(1, 5)");
    let mut document = document();
    let carry = super::carry_back::CARRY;
    write!(
        document,
        "    steps:\n    - name: stop-on-old\n      do: [\"true\"]\n      undo: {}\n    - name: fence\n      do: {}\n      check: {}\n      \
         undo: {}\n      timeout: 1m\n    - name: baseline\n      do: {}\n      undo: {}\n      timeout: 1m\n    - name: start-on-new\n      \
         switch: true\n      do: {}\n      undo: [\"true\"]\n    - name: last\n      do: {last}\n      undo: [\"true\"]\n",
        psql("OLD_SERVER", &starts(7)),
        words(FENCE),
        words(&format!("{FENCE} --check")),
        words(&format!("{UNFENCE} --no-mark")),
        words(BASELINE),
        words(&format!("{carry} --no-mark")),
        psql("NEW_SERVER", &starts(8)),
    )
    .unwrap();
    let pair = Pair::with(&document).await;
    pair.old.grant("owner").await.unwrap();
    sql(&pair.new, "GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO observer").await;
    ready(pair).await
}

/// What the application wrote after the switch, and then again after the way back, with ids that go on.
async fn is_back_without_a_loss(pair: &Pair) {
    assert!(pair.writes().await);
    let session = pair.old.connect().await.unwrap();
    let row = "SELECT count(*) FILTER (WHERE value = 8 AND id BETWEEN 101 AND 105), count(*) FILTER (WHERE value = 7 AND id > 105) \
         FROM metrics WHERE id > 100 AND value > 0";
    let row = session.query_one(row, &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (5, 5));
}

#[tokio::test]
async fn a_step_that_fails_after_rows_came_leads_back_without_a_loss() {
    let pair = reversible("[\"false\"]").await;
    let output = pair.ran(BEGIN).await;
    assert_eq!(output.code, 10, "{}", output.stderr);
    assert!(output.stderr.contains("public.metrics: 5 rows were carried back"), "{}", output.stderr);
    is_back_without_a_loss(&pair).await;
}

#[tokio::test]
async fn a_phase_is_rolled_back_after_rows_came_without_a_loss() {
    let pair = reversible("[\"true\"]").await;
    let output = pair.ran(BEGIN).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    let output = pair.ran(&["rollback", "move", "--yes", "--reason", "the new one is slow"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    is_back_without_a_loss(&pair).await;
}

/// Nothing was marked yet: there is nothing to carry, and nothing stands in the way.
#[tokio::test]
async fn what_fails_before_the_mark_leads_back_too() {
    let pair = reversible("[\"true\"]").await;
    sql(&pair.old, "REVOKE SELECT ON metrics FROM observer").await;
    sql(&pair.new, "REVOKE pg_monitor FROM observer").await;
    let output = pair.ran(BEGIN).await;
    assert_eq!(output.code, 10, "{}", output.stderr);
    assert!(output.stderr.contains("none was recorded, so nothing was switched"), "{}", output.stderr);
    assert!(pair.writes().await);
}
