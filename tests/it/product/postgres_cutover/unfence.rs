//! The way back: open again, unless the new server has rows that are nowhere else.

use super::*;

/// What is counted.
async fn refused(pair: &Pair) -> (Value, String) {
    let output = pair.exits(1, &format!("{UNFENCE} -o json")).await;
    assert!(!pair.writes().await, "the fence stays");
    (serde_json::from_str(&output.stdout).unwrap(), output.stderr)
}

async fn psql(pair: &Pair, server: &Postgres, command: &str) {
    let psql = Spec::new("psql", Postgres::program("psql").unwrap())
        .args([server.superuser_dsn().as_str(), "-v", "ON_ERROR_STOP=1", "-c"])
        .arg(command);
    let output = pair.world.run(psql, Duration::from_mins(1)).await.unwrap();
    assert_eq!(output.code, 0, "{command}: {}", output.stderr);
}

#[tokio::test]
async fn rows_that_are_nowhere_else_are_counted_and_can_be_brought_back() {
    let pair = Pair::new().await;
    pair.exits(0, FENCE).await;
    pair.exits(3, UNFENCE).await;
    pair.exits(0, BASELINE).await;
    sql(&pair.new, "CREATE SCHEMA phasegate; CREATE TABLE phasegate.canary (n int); INSERT INTO phasegate.canary VALUES (1)")
        .await;
    pair.exits(0, UNFENCE).await;
    assert!(pair.writes().await);

    pair.exits(0, FENCE).await;
    sql(&pair.new, "INSERT INTO metrics (value) SELECT generate_series(1001, 1007)").await;
    let (body, words) = refused(&pair).await;
    let table = &body["tables"][0];
    assert_eq!((&table["table"], &table["rows"], &table["deleted"]), (&"public.metrics".into(), &7.into(), &0.into()), "{body}");
    assert_eq!(body["insertOnly"], true, "{body}");
    assert!(words.contains("--accept-loss") && words.contains("setval"), "{words}");
    pair.exits(2, "unfence --old env:OLD_OPERATOR").await;

    let export = table["export"].as_str().unwrap().replace("'public.metrics.copy'", &copy(&pair));
    psql(&pair, &pair.new, &export).await;
    pair.exits(0, &format!("{UNFENCE} --accept-loss")).await;
    sql(&pair.old, "DELETE FROM metrics WHERE value = 0").await;
    sql(&pair.old, "UPDATE metrics SET id = id - 100000 WHERE id > 100").await;
    psql(&pair, &pair.old, &format!("\\copy public.metrics FROM {}", copy(&pair))).await;
    let session = pair.old.connect_as_superuser().await.unwrap();
    let brought: i64 = session.query_one("SELECT count(*) FROM metrics WHERE value > 1000", &[]).await.unwrap().get(0);
    assert_eq!(brought, 7);
}

/// A file for rows.
fn copy(pair: &Pair) -> String {
    format!("'{}'", pair.world.dir().join("rows.copy").display())
}

#[tokio::test]
async fn changes_and_deletions_are_no_rows_to_bring_back() {
    let pair = Pair::new().await;
    pair.exits(0, FENCE).await;
    pair.exits(0, BASELINE).await;
    sql(&pair.new, "DELETE FROM metrics WHERE id <= 3").await;
    let (body, words) = refused(&pair).await;
    let table = &body["tables"][0];
    assert_eq!((&table["rows"], &table["deleted"], &body["insertOnly"]), (&0.into(), &3.into(), &false.into()), "{body}");
    assert!(words.contains("nothing leads back without a loss"), "{words}");
    sql(&pair.new, "UPDATE metrics SET value = 0 WHERE id = 5").await;
    let (body, _) = refused(&pair).await;
    assert_eq!((&body["tables"][0]["rows"], &body["tables"][0]["updated"]), (&1.into(), &1.into()), "{body}");
    // Counters that began anew tell nothing of what was changed.
    sql(&pair.new, "SELECT pg_stat_reset()").await;
    let (body, _) = refused(&pair).await;
    assert_eq!((&body["tables"][0]["updated"], &body["insertOnly"]), (&Value::Null, &false.into()), "{body}");
    let given_up = pair.exits(0, &format!("{UNFENCE} --accept-loss")).await;
    assert!(given_up.stdout.contains("public.metrics: 1 rows are nowhere else"), "{}", given_up.stdout);
    assert!(pair.writes().await);
}

#[tokio::test]
async fn without_a_verifier_the_mark_of_this_machine_counts() {
    let pair = Pair::new().await;
    pair.exits(0, FENCE).await;
    pair.exits(0, BASELINE).await;
    sql(&pair.new, "INSERT INTO metrics (value) VALUES (1)").await;
    pair.verifier.kill9().await.unwrap();
    let (body, words) = refused(&pair).await;
    assert_eq!(body["tables"][0]["rows"], 1, "{body}");
    assert!(words.contains("going by what this machine has kept"), "{words}");
    pair.exits(1, &format!("{UNFENCE} --no-mark")).await;
    sql(&pair.new, "TRUNCATE metrics").await;
    pair.exits(0, UNFENCE).await;
    assert!(pair.writes().await);
}

#[tokio::test]
async fn what_can_not_be_counted_is_no_all_clear() {
    let pair = Pair::new().await;
    pair.exits(0, FENCE).await;
    pair.exits(0, BASELINE).await;
    sql(&pair.new, "REVOKE SELECT ON metrics FROM observer").await;
    let denied = pair.exits(4, UNFENCE).await;
    assert!(denied.stderr.contains("GRANT SELECT ON public.metrics"), "{}", denied.stderr);
    sql(&pair.new, "GRANT SELECT ON metrics TO observer").await;
    pair.exits(3, "unfence --old env:OLD_OPERATOR --new env:NEW_OTHER").await;

    let open = pair.new.connect().await.unwrap();
    open.batch_execute("BEGIN; INSERT INTO metrics (value) VALUES (1)").await.unwrap();
    let late = pair.exits(124, &format!("{UNFENCE} --timeout 1s")).await;
    assert!(late.stderr.contains("1 transactions write"), "{}", late.stderr);
    open.batch_execute("ROLLBACK").await.unwrap();
    pair.new.freeze().await.unwrap();
    pair.exits(3, &format!("{UNFENCE} --request-timeout 1s")).await;
    assert!(!pair.writes().await);
    pair.exits(0, &format!("{UNFENCE} --request-timeout 1s --accept-loss")).await;
    pair.new.thaw();
    assert!(pair.writes().await);
    pair.exits(0, &format!("{UNFENCE} --check")).await;
}
