//! The same as steps of a phase: forward, taken back, and gone on with after a kill.

use std::fmt::Write;

use super::*;

/// A phase with a fence, a baseline and a switch.
async fn with_steps(switch: &str) -> Pair {
    let words = |line: &str| {
        let quoted: Vec<_> = line.split(' ').map(|word| format!("\"{word}\"")).collect();
        format!("[cutover, postgres, {}]", quoted.join(", "))
    };
    let mut document = migration(
        QUICK,
        "{new: {postgres: {dsn: {env: PG_NEW_OBSERVER}}}}",
        crate::product::AT_ONCE,
        &["{name: new-ready, check: {postgresReady: {postgres: new}}}"],
    );
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
    let pair = Pair::with(&document).await;
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
