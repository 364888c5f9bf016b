//! A pipeline that keeps only some identifiers drops the canary: each server is well, no line arrives, and the doctor knows where
//! to look.

use anyhow::ensure;
use serde_json::{Value, json};
use tests::{Browser, Verifier, World, wait_until};

use super::pipeline::Pipeline;
use super::{AT_ONCE, PATIENCE, looks, migration};

const CADENCE: &str = "{every: 1s, timeout: 900ms, maxAge: 10s, failAfter: 1}";

#[tokio::test]
async fn the_doctor_names_the_rule_that_a_pipeline_lacks() {
    let world = World::new().unwrap();
    let Pipeline { alloy, targets, .. } = &Pipeline::start(&world).await;
    let probes = [
        "{name: canary, check: {logCanary: {agents: agents, loki: loki, alloy: alloy}}}",
        "{name: collector, check: {alloyHealth: {alloy: alloy}}}",
    ];
    let verifier = Verifier::start(&world, &migration(CADENCE, targets, AT_ONCE, &probes)).await.unwrap();
    looks(&verifier, "canary", "green", "").await;
    looks(&verifier, "collector", "green", "").await;
    let doctor = async || {
        let output = verifier.cutover(&["doctor", "-o", "json"]).await.unwrap();
        let body: Value = serde_json::from_str(&output.stdout).unwrap();
        let canary = body["findings"].as_array().unwrap().iter().find(|finding| finding["about"] == "canary").cloned();
        (output.code, canary)
    };
    assert_eq!(doctor().await, (0, None));

    alloy.set_keep(Some(&["system-metrics.service"]));
    let red = looks(&verifier, "canary", "red", "dropped_in_alloy").await;
    assert!(red["evidence"].as_str().unwrap().contains("its pipeline drops all of them"), "{red}");
    wait_until(PATIENCE, "the doctor names the rule", async || {
        let (_, canary) = doctor().await;
        let text = canary.unwrap_or_default().to_string();
        for words in
            ["move/canary", "move/collector is well", "its pipeline drops lines", "SYSLOG_IDENTIFIER=system-metrics-canary"]
        {
            ensure!(text.contains(words), "no {words:?} in {text}");
        }
        Ok(())
    })
    .await
    .unwrap();

    // The page shows the way, and where it is broken.
    let browser = Browser::start(&world).await.unwrap();
    browser.open(verifier.url()).await.unwrap();
    let hops = "return [...document.querySelectorAll('.trail li:not(.whose)')].map((hop) => hop.textContent)";
    wait_until(PATIENCE, "the page shows the way", async || {
        let shown = browser.run(hops).await?;
        let expected = json!([
            "agentmoves",
            "journalmoves",
            "alloy readmoves",
            "alloy sentstands",
            "loki receivedbehind",
            "loki queryablebehind"
        ]);
        ensure!(shown == expected, "{shown}");
        Ok(())
    })
    .await
    .unwrap();
    browser.picture("way").await.unwrap();

    alloy.set_keep(Some(&["system-metrics"]));
    looks(&verifier, "canary", "green", "").await;
    assert_eq!(doctor().await.1, None);
}
