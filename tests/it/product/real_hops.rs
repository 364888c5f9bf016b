//! Each hop of the way falls silent in turn: the gate shuts, and the hop is named. Default cadence and thresholds.

use anyhow::ensure;
use serde_json::Value;
use tests::{LogWay, Outage, Verifier, World, wait_until};

use super::{AT_ONCE, PATIENCE, gate, looks, migration, opened, probe, reaches};

/// The states of all hops, as `name state`, but for those that move.
fn way(body: &Value) -> Vec<String> {
    let hops = body["trails"][0]["hops"].as_array().unwrap();
    let others = hops.iter().filter(|hop| hop["state"] != "moves");
    others.map(|hop| format!("{} {}", hop["name"].as_str().unwrap(), hop["state"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn a_silent_outage_of_each_hop_in_turn_shuts_the_gate_and_is_named() {
    let world = World::new().unwrap();
    let lines = LogWay::start(&world, &[]).await.unwrap();
    let document = migration(
        "{}",
        &lines.targets(),
        AT_ONCE,
        &["{name: canary, check: {logCanary: {agents: agents, loki: loki, alloy: alloy}}}"],
    );
    for outage in Outage::ALL {
        // A verifier of its own for each: what was red this often within ten minutes would be flapping.
        let verifier = Verifier::start(&world, &document).await.unwrap();
        opened(&verifier).await;
        assert_eq!(way(&looks(&verifier, "canary", "green", "").await), [""; 0], "all of it moves");

        lines.fall_silent(outage).await.unwrap();
        let (hop, reason) = outage.named();
        let named = async || {
            let body = probe(&verifier, "canary").await?;
            ensure!(body["reason"] == reason && body["state"] != "green" && body["state"] != "suspect", "{outage:?}: {body}");
            Ok(body)
        };
        let body = wait_until(PATIENCE, &format!("{hop} is named"), named).await.unwrap();
        assert!(way(&body).contains(&format!("{hop} stands")), "{outage:?}: {body}");
        assert_ne!(gate(&verifier).await.unwrap()["open"], true, "{outage:?}");

        lines.go_on(outage).await.unwrap();
        reaches(&verifier, "open").await;
        let lost = verifier.get("/metrics").await.unwrap().body;
        assert!(lost.contains("value=\"lost_lines\"} 0"), "{outage:?}: a pause is no loss: {lost}");
        verifier.sigterm().await.unwrap();
    }
}

#[tokio::test]
async fn a_rule_of_alloy_that_drops_the_canary_is_said_as_such() {
    let world = World::new().unwrap();
    let lines = LogWay::start(&world, &["--identifier", "migration-canary"]).await.unwrap();
    let probe = "{name: canary, check: {logCanary: {agents: agents, loki: loki, alloy: alloy}}}";
    let verifier = Verifier::start(&world, &migration("{}", &lines.targets(), AT_ONCE, &[probe])).await.unwrap();
    let red = looks(&verifier, "canary", "red", "dropped_in_alloy").await;
    let words = red["evidence"].as_str().unwrap();
    assert!(
        words.contains("its pipeline drops all of them: match_stage") || words.contains("rules of the journal reader"),
        "{words}"
    );
    assert!(way(&red).contains(&"alloy sent stands".to_owned()), "{red}");
}
