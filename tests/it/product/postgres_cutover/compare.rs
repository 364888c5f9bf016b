//! Two servers compared by hand, without a verifier.

use super::*;

const COMPARE: &str = "compare --old env:OLD_OBSERVER --new env:NEW_OBSERVER";

#[tokio::test]
async fn two_servers_are_compared_without_a_verifier() {
    let pair = Pair::new().await;
    pair.verifier.kill9().await.unwrap();
    let equal = pair.exits(0, &format!("{COMPARE} --only rows")).await;
    assert!(equal.stdout.contains("1 tables with 100 rows are the same"), "{}", equal.stdout);
    sql(&pair.new, "UPDATE metrics SET value = -7 WHERE id = 7").await;
    let differs = pair.exits(1, &format!("{COMPARE} --only rows")).await;
    for words in ["rows_differ: public.metrics: 100 rows on both sides", "the row id = (7) is on the", "next: restore what"] {
        assert!(differs.stdout.contains(words), "{words}: {}", differs.stdout);
    }
    let json = pair.exits(1, &format!("{COMPARE} --only rows -o json")).await;
    let body: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((&body["verb"], &body["equal"]), (&"compare".into(), &false.into()), "{body}");
    sql(&pair.new, "REVOKE SELECT ON metrics FROM observer").await;
    let hidden = pair.exits(3, &format!("{COMPARE} --only rows")).await;
    assert!(hidden.stdout.contains("can not read public.metrics; run GRANT"), "{}", hidden.stdout);
    let itself = pair.exits(1, "compare --old env:OLD_OBSERVER --new env:OLD_OBSERVER --only rows").await;
    assert!(itself.stdout.contains("same_server"), "{}", itself.stdout);
}

#[tokio::test]
async fn what_was_recorded_is_compared_with_while_writers_go_on() {
    let pair = Pair::new().await;
    pair.exits(0, BASELINE).await;
    sql(&pair.new, "INSERT INTO metrics (value) VALUES (1)").await;
    pair.exits(1, &format!("{COMPARE} --only rows")).await;
    pair.exits(0, &format!("{COMPARE} --only rows --mark postgres-mark")).await;
    let missing = pair.exits(13, &format!("{COMPARE} --mark other")).await;
    assert!(missing.stderr.contains("no fact other is recorded"), "{}", missing.stderr);
    let usage = pair.exits(2, &format!("{COMPARE} --manifest postgres-manifest")).await;
    assert!(usage.stderr.contains("--mark"), "{}", usage.stderr);
    let schema = pair.exits(2, &format!("{COMPARE} --except metrics")).await;
    assert!(schema.stderr.contains("`metrics` names no schema"), "{}", schema.stderr);
}
