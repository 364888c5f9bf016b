//! The fence on the old server: who can not write any more, what it refuses to stand beside, and what it says of itself.

use super::*;

#[tokio::test]
async fn an_idle_pool_is_ended_and_can_not_write_when_it_comes_back() {
    let pair = Pair::new().await;
    let pool = pair.old.connect().await.unwrap();
    pool.query_one("SELECT count(*) FROM metrics", &[]).await.unwrap();
    let open = pair.old.connect().await.unwrap();
    open.batch_execute("BEGIN; INSERT INTO metrics (value) VALUES (666)").await.unwrap();
    pair.exits(1, &format!("{FENCE} --check")).await;
    assert!(pair.writes().await);

    let fenced = pair.exits(0, FENCE).await;
    assert!(fenced.stderr.contains("it does not stop superusers"), "{}", fenced.stderr);
    pool.query_one("SELECT 1", &[]).await.unwrap_err();
    open.batch_execute("COMMIT").await.unwrap_err();
    assert!(!pair.writes().await);
    let superuser = pair.old.connect_as_superuser().await.unwrap();
    let rows: i64 = superuser.query_one("SELECT count(*) FROM metrics WHERE value = 666", &[]).await.unwrap().get(0);
    assert_eq!(rows, 0);

    let again = pair.old.connect().await.unwrap();
    let second = pair.exits(0, FENCE).await;
    assert!(second.stderr.contains("was on before (set by ALTER SYSTEM)"), "{}", second.stderr);
    again.query_one("SELECT 1", &[]).await.unwrap();
    pair.exits(0, &format!("{FENCE} --check")).await;

    pair.old.stop().await.unwrap();
    pair.old.start_again().await.unwrap();
    assert!(!pair.writes().await, "a fence outlives a restart");
    pair.exits(0, VERIFY).await;
    pair.exits(0, &format!("{UNFENCE} --no-mark")).await;
    assert!(pair.writes().await);
    pair.exits(0, &format!("{UNFENCE} --no-mark")).await;
    pair.exits(1, VERIFY).await;
}

#[tokio::test]
async fn what_a_fence_would_not_stop_is_refused_before_anything_is_changed() {
    let pair = Pair::new().await;
    sql(&pair.old, "ALTER SYSTEM SET max_prepared_transactions = 5").await;
    pair.old.stop().await.unwrap();
    pair.old.start_again().await.unwrap();
    for (make, words, mend) in [
        (
            "ALTER ROLE server SET default_transaction_read_only = off",
            "ALTER ROLE server RESET default_transaction_read_only;",
            "ALTER ROLE server RESET default_transaction_read_only",
        ),
        (
            "ALTER DATABASE homelab SET default_transaction_read_only = off",
            "ALTER DATABASE homelab RESET default_transaction_read_only;",
            "ALTER DATABASE homelab RESET default_transaction_read_only",
        ),
        ("ALTER ROLE server SUPERUSER", "role server is a superuser", "ALTER ROLE server NOSUPERUSER"),
        (
            "BEGIN; INSERT INTO metrics (value) VALUES (1); PREPARE TRANSACTION 'it''s'",
            "COMMIT PREPARED 'it''s'; or ROLLBACK PREPARED 'it''s'; as postgres in database homelab",
            "ROLLBACK PREPARED 'it''s'",
        ),
    ] {
        sql(&pair.old, make).await;
        let refused = pair.exits(1, FENCE).await;
        assert!(refused.stdout.contains(words), "{}", refused.stdout);
        assert!(refused.stderr.contains("nothing was changed"), "{}", refused.stderr);
        pair.exits(1, VERIFY).await;
        sql(&pair.old, mend).await;
    }
    assert!(pair.writes().await);
    let unknown = pair.exits(2, "fence --old env:OLD_OPERATOR --role servre").await;
    assert!(unknown.stdout.contains("there is no role servre"), "{}", unknown.stdout);
    pair.exits(0, FENCE).await;
}

#[tokio::test]
async fn a_role_that_lacks_a_grant_is_told_which() {
    let pair = Pair::new().await;
    for (take, words, give) in [
        ("REVOKE pg_monitor FROM operator", "GRANT pg_monitor TO operator;", "GRANT pg_monitor TO operator"),
        ("REVOKE pg_signal_backend FROM operator", "GRANT pg_signal_backend TO operator;", "GRANT pg_signal_backend TO operator"),
        (
            "REVOKE EXECUTE ON FUNCTION pg_reload_conf() FROM operator",
            "GRANT EXECUTE ON FUNCTION pg_reload_conf() TO operator;",
            "GRANT EXECUTE ON FUNCTION pg_reload_conf() TO operator",
        ),
        (
            "REVOKE ALTER SYSTEM ON PARAMETER default_transaction_read_only FROM operator",
            "GRANT ALTER SYSTEM ON PARAMETER default_transaction_read_only",
            "GRANT ALTER SYSTEM ON PARAMETER default_transaction_read_only TO operator",
        ),
    ] {
        sql(&pair.old, take).await;
        let refused = pair.exits(4, FENCE).await;
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
        sql(&pair.old, give).await;
    }
    assert!(pair.writes().await, "nothing was changed");
    pair.exits(4, "fence --old env:OLD_WRONG --role server").await;
    pair.exits(0, FENCE).await;
}

#[tokio::test]
async fn a_standby_is_not_fenced() {
    let pair = Pair::new().await;
    pair.old.stop().await.unwrap();
    std::fs::write(pair.old.data().join("standby.signal"), "").unwrap();
    pair.old.start_again().await.unwrap();
    let refused = pair.exits(1, FENCE).await;
    assert!(refused.stdout.contains("the server is in recovery"), "{}", refused.stdout);
}

#[tokio::test]
async fn whether_it_stands_is_seen_from_outside_and_tried() {
    let pair = Pair::new().await;
    let attempt = format!("{VERIFY} --attempt env:OLD_SERVER");
    let off = pair.exits(1, &format!("{attempt} -o json")).await;
    let body: Value = serde_json::from_str(&off.stdout).unwrap();
    assert_eq!((&body["fenced"], &body["exit"]), (&false.into(), &1.into()));
    assert!(off.stdout.contains("a new session of server may write to public.metrics"), "{}", off.stdout);
    pair.exits(0, FENCE).await;
    let next = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text";
    let superuser = pair.old.connect_as_superuser().await.unwrap();
    let before: String = superuser.query_one(next, &[]).await.unwrap().get(0);
    let on = pair.exits(0, &attempt).await;
    assert!(on.stdout.contains("is refused to write to public.metrics"), "{}", on.stdout);
    let after: String = superuser.query_one(next, &[]).await.unwrap().get(0);
    assert_eq!(before, after, "no transaction of ours got a number");
    pair.exits(2, &format!("{VERIFY} --attempt env:NEW_SERVER")).await;

    superuser.batch_execute("BEGIN; SET TRANSACTION READ WRITE; INSERT INTO metrics (value) VALUES (1)").await.unwrap();
    let writer = pair.exits(1, VERIFY).await;
    assert!(writer.stdout.contains("postgres in homelab, idle in transaction: its transaction since"), "{}", writer.stdout);
    superuser.batch_execute("ROLLBACK").await.unwrap();
    pair.exits(0, VERIFY).await;
    pair.old.freeze().await.unwrap();
    pair.exits(3, &format!("{VERIFY} --request-timeout 1s")).await;
    pair.exits(3, &format!("{FENCE} --request-timeout 1s")).await;
    pair.old.thaw();
}

#[tokio::test]
async fn a_write_that_does_not_end_is_named_and_the_fence_goes_on_from_there() {
    let pair = Pair::new().await;
    let other = pair.old.connect_as_superuser().await.unwrap();
    other.batch_execute("BEGIN; INSERT INTO metrics (value) VALUES (1)").await.unwrap();
    let late = pair.exits(124, &format!("{FENCE} --timeout 1s")).await;
    for words in ["postgres in homelab", "default_transaction_read_only is set", "the same command again goes on"] {
        assert!(late.stderr.contains(words), "{}", late.stderr);
    }
    assert!(!pair.writes().await);
    let waiting = pair.starts(FENCE);
    says(&waiting, "its transaction since").await;
    other.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(ends(&waiting).await, 0, "{}", waiting.log());

    let stopped = {
        other.batch_execute("BEGIN; SET TRANSACTION READ WRITE; INSERT INTO metrics (value) VALUES (1)").await.unwrap();
        pair.starts(FENCE)
    };
    says(&stopped, "its transaction since").await;
    stopped.signal(rustix::process::Signal::INT);
    assert_eq!(ends(&stopped).await, 130, "{}", stopped.log());
    assert!(stopped.stderr().contains("verify-fence"), "{}", stopped.log());
}
