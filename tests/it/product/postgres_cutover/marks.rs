//! The baseline: taken once, of two servers, in a moment in which nothing is being written.

use super::*;

#[tokio::test]
async fn a_mark_is_recorded_once_and_again_only_if_asked() {
    let pair = Pair::new().await;
    pair.exits(1, &format!("{BASELINE} --check")).await;
    let first = pair.exits(0, BASELINE).await;
    assert!(first.stderr.contains("warning: the old server is not fenced"), "{}", first.stderr);
    let fact = pair.fact("postgres-mark").await;
    assert!(fact["value"]["old"]["nextXid"].as_u64() > Some(100), "{fact}");
    assert_ne!(fact["value"]["old"]["identity"], fact["value"]["new"]["identity"]);
    pair.exits(0, &format!("{BASELINE} --check")).await;

    sql(&pair.new, "INSERT INTO public.metrics (value) VALUES (1)").await;
    let second = pair.exits(0, &format!("{BASELINE} -o json")).await;
    let body: Value = serde_json::from_str(&second.stdout).unwrap();
    assert_eq!((&body["fact"], &body["value"]), (&"postgres-mark".into(), &fact["value"]), "nothing is taken anew");
    assert_eq!(pair.fact("postgres-mark.2").await["code"], "not_found");

    pair.exits(0, &format!("{BASELINE} --again")).await;
    let newer = pair.fact("postgres-mark.2").await;
    assert!(newer["value"]["new"]["nextXid"].as_u64() > fact["value"]["new"]["nextXid"].as_u64(), "{newer}");
    let listed = pair.verifier.get("/v1/facts").await.unwrap().json().unwrap();
    assert_eq!(listed["facts"].as_array().unwrap().len(), 2, "{listed}");
}

#[tokio::test]
async fn other_servers_the_same_one_and_a_role_that_writes_are_refused() {
    let pair = Pair::new().await;
    pair.exits(0, BASELINE).await;
    let other = pair.exits(1, "baseline --old env:OLD_OBSERVER --new env:NEW_OTHER").await;
    assert!(other.stderr.contains("other servers") && other.stderr.contains("--again"), "{}", other.stderr);
    let same = pair.exits(2, "baseline --old env:OLD_OBSERVER --new env:OLD_SERVER --fact other").await;
    assert!(same.stderr.contains("are one server"), "{}", same.stderr);
    let writer = pair.exits(2, "baseline --old env:OLD_SERVER --new env:NEW_OBSERVER --fact other").await;
    assert!(writer.stderr.contains("may write to"), "{}", writer.stderr);
    let missing = pair.exits(2, "baseline --old env:NOBODY --new env:NEW_OBSERVER").await;
    assert!(missing.stderr.contains("environment variable NOBODY: is not set"), "{}", missing.stderr);
    let shown = pair.exits(2, "baseline --old postgres://me:hunter2@db/app --new env:NEW_OBSERVER").await;
    assert!(shown.stderr.contains("env:NAME or file:PATH"), "{}", shown.stderr);
    pair.verifier.kill9().await.unwrap();
    pair.exits(11, BASELINE).await;
}

#[tokio::test]
async fn an_open_transaction_is_waited_for() {
    let pair = Pair::new().await;
    let session = pair.old.connect().await.unwrap();
    session.batch_execute("BEGIN; INSERT INTO public.metrics (value) VALUES (7)").await.unwrap();
    let late = pair.exits(124, &format!("{BASELINE} --timeout 1s")).await;
    assert!(late.stderr.contains("1 open transactions that write"), "{}", late.stderr);
    assert_eq!(pair.fact("postgres-mark").await["code"], "not_found");
    let waiting = pair.starts(BASELINE);
    says(&waiting, "waiting:").await;
    session.batch_execute("COMMIT").await.unwrap();
    assert_eq!(ends(&waiting).await, 0, "{}", waiting.log());
    let next = pair.fact("postgres-mark").await["value"]["old"]["nextXid"].as_u64().unwrap();
    let written: i64 = session
        .query_one("SELECT xmin::text::bigint FROM public.metrics WHERE value = 7 ORDER BY id DESC LIMIT 1", &[])
        .await
        .unwrap()
        .get(0);
    assert!(u64::try_from(written).unwrap() < next, "what was waited for is before the mark");
}

#[tokio::test]
async fn a_prepared_transaction_is_not_waited_for() {
    let pair = Pair::new().await;
    sql(&pair.new, "ALTER SYSTEM SET max_prepared_transactions = 5").await;
    pair.new.stop().await.unwrap();
    pair.new.start_again().await.unwrap();
    let session = pair.new.connect().await.unwrap();
    session.batch_execute("BEGIN; INSERT INTO metrics (value) VALUES (1); PREPARE TRANSACTION 'half'").await.unwrap();
    let refused = pair.exits(1, BASELINE).await;
    assert!(refused.stderr.contains("'half' in database homelab"), "{}", refused.stderr);
    session.batch_execute("ROLLBACK PREPARED 'half'").await.unwrap();
    pair.exits(0, BASELINE).await;
}
