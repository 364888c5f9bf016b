//! A server dies: the gate shuts, says why, and opens again on evidence only. With default cadence and thresholds.

use anyhow::ensure;
use tests::{Loki, Postgres, Verifier, World};

use super::{PATIENCE, check, gate, looks, migration, moment, now, opened, reaches};

/// Default cadence; a soak of seconds, so that there is something to serve anew.
const DEFAULTS: &str = "{}";
const SHORT_SOAK: &str = "{soak: 2s, minSamples: 1, unknownBudget: 1s}";

/// From the moment at which the servers are dead: whatever has looked since then finds no open gate, and it ends up closed.
async fn shuts(verifier: &Verifier) {
    let dead = now();
    let mut shut = false;
    let closed = tests::wait_until(PATIENCE, "the gate is closed", async || {
        let body = gate(verifier).await?;
        let looked = moment(&body["probes"][0]["lastRun"]).is_some_and(|run| run > dead);
        assert!(!(looked && body["open"] == true), "open after a look at a dead server: {body}");
        assert!(!(shut && body["open"] == true), "opened again: {body}");
        shut |= body["open"] == false;
        ensure!(body["verdict"] == "closed", "it is {}", body["verdict"]);
        Ok(())
    });
    closed.await.unwrap();
    assert_eq!(check(verifier).await, 412);
}

/// `cutover advance` refuses, and its words are enough to act on.
async fn refuses_to_advance(verifier: &Verifier, probe: &str, reason: &str) {
    let refusal = verifier.cutover(&["advance"]).await.unwrap();
    assert_eq!(refusal.code, 1, "{refusal:?}");
    for word in [probe, reason, "since:", "next:", "RED"] {
        assert!(refusal.stderr.contains(word), "no {word}: {}", refusal.stderr);
    }
    assert_eq!(refusal.stdout, "", "data on stdout only");
}

/// Once the server is back, the gate is pending first: its soak starts anew. Then it opens.
async fn opens_again(verifier: &Verifier) {
    let soaking = reaches(verifier, "pending").await;
    assert!(soaking["soak"]["have"].as_f64().unwrap() < 2.0, "{soaking}");
    let open = reaches(verifier, "open").await;
    assert!(open["soak"]["have"].as_f64().unwrap() >= 2.0, "{open}");
    assert_eq!(check(verifier).await, 200);
    assert_eq!(verifier.cutover(&["advance"]).await.unwrap().code, 0);
}

#[tokio::test]
async fn a_killed_real_loki_shuts_the_gate_and_a_new_start_opens_it_after_a_new_soak() {
    let world = World::new().unwrap();
    let loki = Loki::start(&world).await.unwrap();
    let targets = format!("{{k3s-loki: {{loki: {{url: \"{}\"}}}}}}", loki.url());
    let document = migration(DEFAULTS, &targets, SHORT_SOAK, &["{name: ready, check: {lokiReady: {loki: k3s-loki}}}"]);
    let verifier = Verifier::start(&world, &document).await.unwrap();
    opened(&verifier).await;

    loki.kill().await.unwrap();
    shuts(&verifier).await;
    let red = looks(&verifier, "ready", "red", "refused").await;
    assert!(red["evidence"].as_str().unwrap().contains(loki.url()), "{red}");
    refuses_to_advance(&verifier, "move/ready", "refused").await;

    loki.start_again().await.unwrap();
    opens_again(&verifier).await;
}

#[tokio::test]
async fn a_killed_and_a_frozen_postgres_shut_the_gate() {
    let world = World::new().unwrap();
    let postgres = Postgres::start(&world).await.unwrap();
    let targets = "{k3s-postgres: {postgres: {dsn: {env: PG_DSN}}}}";
    let probes = ["{name: ready, check: {postgresReady: {postgres: k3s-postgres}}}"];
    let document = migration(DEFAULTS, targets, SHORT_SOAK, &probes);
    let verifier = Verifier::start_with(&world, &document, &[("PG_DSN", &postgres.dsn())]).await.unwrap();
    opened(&verifier).await;

    postgres.freeze().await.unwrap();
    shuts(&verifier).await;
    looks(&verifier, "ready", "red", "timeout").await;
    refuses_to_advance(&verifier, "move/ready", "timeout").await;

    // Killed while it is red for another cause: it stays red, and says the new one.
    postgres.kill().await.unwrap();
    looks(&verifier, "ready", "red", "refused").await;
    refuses_to_advance(&verifier, "move/ready", "refused").await;
    let secret = verifier.get("/v1/status").await.unwrap().body;
    assert!(!secret.contains("server:server@") && !verifier.process().stderr().contains("server:server@"), "a password is shown");

    postgres.start_again().await.unwrap();
    opens_again(&verifier).await;
}

#[tokio::test]
async fn a_black_hole_where_a_real_loki_was_is_red_by_timeout() {
    let world = World::new().unwrap();
    let loki = Loki::start(&world).await.unwrap();
    let targets = format!("{{k3s-loki: {{loki: {{url: \"{}\"}}}}}}", loki.url());
    let document = migration(DEFAULTS, &targets, SHORT_SOAK, &["{name: ready, check: {lokiReady: {loki: k3s-loki}}}"]);
    let verifier = Verifier::start(&world, &document).await.unwrap();
    opened(&verifier).await;

    loki.freeze().await.unwrap();
    shuts(&verifier).await;
    looks(&verifier, "ready", "red", "timeout").await;
    refuses_to_advance(&verifier, "move/ready", "timeout").await;
    loki.thaw();
    reaches(&verifier, "pending").await;
}
