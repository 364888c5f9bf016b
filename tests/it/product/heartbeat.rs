//! A sender that reports to the verifier.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tests::{Role, Verifier, World};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{AT_ONCE, QUICK, check, looks, migration, opened, reaches, succeeded, switch};

/// Sends a heartbeat again and again, until dropped.
fn beats(verifier: &Verifier, http: reqwest::Client) -> JoinSet<()> {
    let (url, token) = (format!("{}/v1/probes/beat/heartbeat", verifier.url()), verifier.token(Role::Heartbeat));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            // The verifier's own view of it is what is asserted.
            drop(http.post(&url).bearer_auth(&token).send().await);
            sleep(Duration::from_millis(200)).await;
        }
    });
    tasks
}

#[tokio::test]
async fn a_heartbeat_opens_a_gate_and_its_silence_shuts_it() {
    let world = World::new().unwrap();
    let document = migration(QUICK, "{}", AT_ONCE, &["{name: beat, check: {heartbeat: {within: 2s}}}"]);
    let verifier = Verifier::start(&world, &document).await.unwrap();
    let send = async |role, path: &str, body| verifier.request(Method::POST, path, role, body).await.unwrap().status;
    assert_eq!(send(None, "/v1/probes/beat/heartbeat", None).await, 401);
    assert_eq!(send(Some(Role::Read), "/v1/probes/beat/heartbeat", None).await, 403);
    assert_eq!(send(Some(Role::Heartbeat), "/v1/probes/beat/run", None).await, 403, "it may do nothing else");

    let sender = beats(&verifier, world.http().clone());
    opened(&verifier).await;
    assert_eq!(check(&verifier).await, 200);
    drop(sender);
    looks(&verifier, "beat", "red", "overdue_beat").await;
    assert_eq!(reaches(&verifier, "closed").await["open"], false);

    let sender = beats(&verifier, world.http().clone());
    reaches(&verifier, "open").await;
    drop(sender);
    let failed = json!({"failed": true, "note": "the nightly dump is empty"});
    assert_eq!(send(Some(Role::Heartbeat), "/v1/probes/beat/heartbeat", Some(&failed)).await, 200);
    let red = looks(&verifier, "beat", "red", "reported_failure").await;
    assert!(red["evidence"].as_str().unwrap().contains("the nightly dump is empty"), "{red}");
}

#[tokio::test]
async fn a_heartbeat_from_before_the_switch_is_no_evidence_of_what_was_switched_to() {
    let world = World::new().unwrap();
    let document = migration(QUICK, "{}", AT_ONCE, &["{name: beat, check: {heartbeat: {within: 1h}}}"]);
    let verifier = Verifier::start(&world, &document).await.unwrap();
    let path = "/v1/probes/beat/heartbeat";
    let beat = async || succeeded(verifier.request(Method::POST, path, Some(Role::Heartbeat), None).await.unwrap()).unwrap();

    beat().await;
    looks(&verifier, "beat", "green", "").await;
    switch(&verifier).await;
    looks(&verifier, "beat", "unknown", "no_beat_yet").await;
    assert_ne!(check(&verifier).await, 200);
    beat().await;
    reaches(&verifier, "open").await;
}
