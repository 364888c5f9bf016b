//! A trail that becomes longer than is to be kept.

use chrono::{DateTime, SecondsFormat, Utc};
use reqwest::Method;
use tests::{Answer, Role};

use super::super::now;
use super::*;

/// The shortest that can be asked for: eight segments.
const SHORT: &[&str] = &["--state.kubernetes.trail", "1MiB"];
const SEGMENTS: usize = 8;

async fn at(verifier: &Verifier, time: DateTime<Utc>) -> Answer {
    let time = time.to_rfc3339_opts(SecondsFormat::Millis, true);
    verifier.get(&format!("/v1/gates/move/at?time={time}")).await.unwrap()
}

/// Each is long enough for a segment of its own.
async fn record(verifier: &Verifier, names: std::ops::Range<u32>) {
    for number in names {
        let value = json!("x".repeat(135_000));
        let path = format!("/v1/facts/fact-{number}");
        let said = verifier.request(Method::PUT, &path, Some(Role::Operate), Some(&value)).await.unwrap();
        assert_eq!(said.status, 200, "{}", said.body);
    }
}

/// The newest event that is no longer kept, once the trail is as short as it is to be: with a checkpoint.
async fn shortened(bench: &Bench, verifier: &Verifier, before: u64) -> u64 {
    wait_until(PATIENCE, "the trail is shortened", async || {
        let listed = bench.cluster.kubectl(&["get", "configmaps", "-l", "phasegate.dev/ledger=it", "-o", "name"]).await?;
        let segments: Vec<_> = listed.stdout.lines().filter(|name| name.contains("it-events-")).collect();
        ensure!(segments.len() == SEGMENTS, "{segments:?}");
        let page = verifier.get("/v1/audit?limit=1").await?.json()?;
        let anchor = page["anchor"]["seq"].as_u64().unwrap_or_default();
        ensure!(anchor > before, "{}", page["anchor"]);
        Ok(anchor)
    })
    .await
    .unwrap()
}

async fn told(verifier: &Verifier) -> Value {
    let report = verifier.get("/v1/report").await.unwrap().json().unwrap();
    let phase = &report["phases"][0];
    let facts = verifier.get("/v1/facts").await.unwrap().json().unwrap();
    json!([report["recordedSince"], phase["state"], phase["begun"], phase["switched"], phase["overridesEver"], facts])
}

#[tokio::test]
async fn a_long_trail_of_a_real_cluster_loses_its_beginning_and_nothing_else() {
    let bench = Bench::start().await;
    let first = bench.launch_with(SHORT);
    first.answers().await.unwrap();
    switch(&first).await;
    reaches(&first, "open").await;
    let made = first.post("/v1/overrides", &json!({"probe": "new-side", "reason": "a try", "ttlSeconds": 600})).await.unwrap();
    assert_eq!(made.status, 201, "{}", made.body);
    let revoked = first.cutover(&["override", "revoke", "0"]).await.unwrap();
    assert_eq!(revoked.code, 0, "{revoked:?}");
    let early = now();
    assert_eq!(at(&first, early).await.status, 200);
    record(&first, 0..10).await;
    reaches(&first, "open").await;
    let later = now();
    record(&first, 10..12).await;
    let anchor = shortened(&bench, &first, 0).await;
    let removed = format!("events 1 to {anchor} of the audit trail are removed");
    assert!(first.process().log().contains(&removed), "{}", first.process().log());
    let before = told(&first).await;
    assert_eq!(before[4].as_array().unwrap().len(), 1, "{before}");
    first.kill9().await.unwrap();

    let second = bench.launch_with(SHORT);
    second.answers().await.unwrap();
    reaches(&second, "open").await;
    // Its first events have filled one more segment.
    let anchor = shortened(&bench, &second, anchor - 1).await;
    assert_eq!(told(&second).await, before, "phases, facts and the checklist");
    let gone = at(&second, early).await;
    assert_eq!((gone.status, gone.json().unwrap()["code"].as_str()), (410, Some("no_longer_kept")), "{}", gone.body);
    assert!(gone.body.contains(&format!("begins with event {}", anchor + 1)), "{}", gone.body);
    let kept = at(&second, later).await.json().unwrap();
    assert_eq!((&kept["verdict"], &kept["phaseState"]), (&"open".into(), &"active".into()), "{kept}");
    assert_eq!(second.get("/v1/audit?from=1").await.unwrap().status, 410);
    let verified = second.cutover(&["audit", "verify"]).await.unwrap();
    assert_eq!(verified.code, 0, "{verified:?}");
    assert!(verified.stdout.contains(&format!("events 1 to {anchor} are no longer kept")), "{verified:?}");
    let history = second.cutover(&["history", "--limit", "1000"]).await.unwrap();
    assert_eq!((history.code, history.stderr.contains("are no longer kept")), (0, true), "{history:?}");

    record(&second, 12..15).await;
    let further = shortened(&bench, &second, anchor).await;
    let metrics = second.get("/metrics").await.unwrap().body;
    assert!(metrics.contains(&format!("phasegate_ledger_dropped_events {further}\n")), "{metrics}");
    let verified = second.cutover(&["audit", "verify", "-o", "json"]).await.unwrap();
    let verified: Value = serde_json::from_str(&verified.stdout).unwrap();
    assert_eq!((&verified["verified"], &verified["anchor"]["seq"]), (&true.into(), &further.into()), "{verified}");
}
