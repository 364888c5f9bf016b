//! The verifier is killed in mid-soak and started again: what was durable is there, what was seen is not, and the time in
//! between counts for nothing.

use std::time::Duration;

use anyhow::{Context, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Role, Verifier, World, wait_until};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use super::{PATIENCE, Script, check, gate, looks, migration, moment, now, opened, reaches, switch};

/// How long the verifier is gone. Long enough to be told from a rounding error.
const DOWN: Duration = Duration::from_secs(3);
/// For what is rounded to milliseconds, or evaluated once a second.
const SLACK: f64 = 1.5;

fn have(gate: &Value) -> f64 {
    gate["soak"]["have"].as_f64().unwrap()
}

async fn metric(verifier: &Verifier, name: &str) -> String {
    let exposition = verifier.get("/metrics").await.unwrap().body;
    let line = exposition.lines().find(|line| line.starts_with(name)).with_context(|| format!("no {name}")).unwrap();
    line.to_owned()
}

/// Waits for a checkpoint; returns a soak that is in it, and when that was read.
async fn checkpointed(verifier: &Verifier) -> (f64, Instant) {
    const PERSISTED: &str = "phasegate_ledger_last_persist_timestamp_seconds ";
    let before = metric(verifier, PERSISTED).await;
    wait_until(PATIENCE, "a checkpoint", async || {
        let (served, at) = (have(&gate(verifier).await?), Instant::now());
        ensure!(metric(verifier, PERSISTED).await != before, "none yet");
        Ok((served, at))
    })
    .await
    .unwrap()
}

/// What no restart may change.
async fn durable(verifier: &Verifier) -> (Value, Value, Value, Vec<Value>) {
    let json = async |path: &str| verifier.get(path).await.unwrap().json().unwrap();
    let phase = json("/v1/status").await["phases"][0].clone();
    let stamps = json!([phase["state"], phase["begun"], phase["switched"]]);
    let mut overrides = json("/v1/overrides").await["overrides"].clone();
    overrides[0]["remainingSeconds"].take();
    let frames = json("/v1/audit?limit=1000").await["frames"].as_array().unwrap().clone();
    (stamps, overrides, json("/v1/facts/baseline").await, frames)
}

#[tokio::test]
async fn a_kill_in_mid_soak_keeps_the_soak_and_credits_no_downtime() {
    let world = World::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let probes = [
        format!("{{name: new-side, check: {{tcp: {{address: \"{address}\"}}}}}}"),
        "{name: waived, check: {heartbeat: {within: 1h}}}".to_owned(),
    ];
    let gate_numbers = "{soak: 20s, minSamples: 5, unknownBudget: 1m}";
    let document = migration(super::QUICK, "{}", gate_numbers, &probes.each_ref().map(String::as_str));
    let verifier = Verifier::start(&world, &document).await.unwrap();
    let waiver = json!({"probe": "waived", "reason": "no sender yet", "ttlSeconds": 3600});
    assert_eq!(verifier.post("/v1/overrides", &waiver).await.unwrap().status, 201);
    let fact = json!({"lines": 1200});
    let recorded = verifier.request(Method::PUT, "/v1/facts/baseline", Some(Role::Operate), Some(&fact)).await.unwrap();
    assert_eq!(recorded.status, 200, "{}", recorded.body);
    switch(&verifier).await;
    wait_until(PATIENCE, "some soak", async || {
        let body = gate(&verifier).await?;
        ensure!(have(&body) >= 3.0, "{}", body["reason"]);
        Ok(())
    })
    .await
    .unwrap();
    let (kept, read) = checkpointed(&verifier).await;
    let before = durable(&verifier).await;
    verifier.kill9().await.unwrap();
    let at_most = kept + read.elapsed().as_secs_f64();
    assert_eq!(verifier.cutover(&["gate", "check", "move"]).await.unwrap().code, 11);
    sleep(DOWN).await;

    let (restarted, up) = (now(), Instant::now());
    verifier.start_again().await.unwrap();
    let after = wait_until(PATIENCE, "a first verdict", async || {
        let answer = verifier.get("/v1/gates/move").await?;
        ensure!(answer.status == 200, "{}", answer.status);
        let body = answer.json()?;
        ensure!(body["verdict"] != "unknown", "{}", body["reason"]);
        Ok(body)
    })
    .await
    .unwrap();
    let longest = at_most + up.elapsed().as_secs_f64() + SLACK;
    assert_eq!(after["verdict"], "pending", "{after}");
    assert!(moment(&after["probes"][0]["lastRun"]).unwrap() > restarted, "a verdict without a look: {after}");
    assert!(have(&after) + SLACK >= kept, "{kept} s were kept: {after}");
    assert!(have(&after) <= longest, "downtime was credited, at most {longest}: {after}");

    let (stamps, overrides, fact, frames) = durable(&verifier).await;
    assert_eq!((&stamps, &overrides, &fact), (&before.0, &before.1, &before.2));
    assert_eq!(frames[..before.3.len()], before.3, "the audit trail was rewritten");
    let verified = verifier.cutover(&["audit", "verify"]).await.unwrap();
    assert_eq!(verified.code, 0, "{verified:?}");
    // Sooner than a soak of its own would have been.
    let open = reaches(&verifier, "open").await;
    assert!(have(&open) > up.elapsed().as_secs_f64(), "{open}");
    assert_eq!(check(&verifier).await, 200);
}

#[tokio::test]
async fn an_open_gate_is_unknown_after_a_restart_until_everything_was_seen_again() {
    let world = World::new().unwrap();
    let (quick, slow) = (Script::new(&world, "quick"), Script::new(&world, "slow"));
    let probes = [quick.probe(), slow.probe_with(", every: 1s, maxAge: 10s")];
    let document = migration(super::QUICK, "{}", super::AT_ONCE, &probes.each_ref().map(String::as_str));
    let verifier = Verifier::start_scripted(&world, &document).await.unwrap();
    opened(&verifier).await;
    verifier.kill9().await.unwrap();
    // One of the two does not come back to its senses.
    slow.says("hang");
    verifier.start_again().await.unwrap();
    let answer = verifier.get("/v1/gates/move/check").await.unwrap();
    assert!(matches!(answer.status, 424 | 503), "{answer:?}");
    looks(&verifier, "quick", "green", "").await;
    let hung = looks(&verifier, "slow", "unknown", "hung").await;
    assert_eq!(check(&verifier).await, 424, "{hung}");
    assert_eq!(verifier.cutover(&["advance"]).await.unwrap().code, 3);
    slow.says("pass");
    reaches(&verifier, "open").await;
}

#[tokio::test]
async fn a_latched_regression_survives_a_kill() {
    let world = World::new().unwrap();
    let old = Script::new(&world, "steady");
    let document = migration(super::QUICK, "{}", super::AT_ONCE, &[&old.probe()]);
    let verifier = Verifier::start_scripted(&world, &document).await.unwrap();
    opened(&verifier).await;
    let hook = async || verifier.request(Method::POST, "/v1/gates/move/rollback", None, None).await.unwrap().status;
    assert_eq!(verifier.cutover(&["advance"]).await.unwrap().code, 0);
    assert_eq!(hook().await, 409, "nothing regressed");
    old.says("fail");
    wait_until(PATIENCE, "the regression is latched", async || {
        let status = hook().await;
        ensure!(status == 200, "{status}");
        Ok(())
    })
    .await
    .unwrap();
    old.says("pass");
    verifier.kill9().await.unwrap();
    verifier.start_again().await.unwrap();
    looks(&verifier, "steady", "green", "").await;
    assert_eq!(hook().await, 200, "it is not forgotten by being green again, nor by a restart");
    let acked = verifier.cutover(&["regression", "ack", "move", "--reason", "seen", "--yes"]).await.unwrap();
    assert_eq!(acked.code, 0, "{acked:?}");
    assert_eq!(hook().await, 409);
}
