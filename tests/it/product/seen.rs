//! A real Prometheus takes what verifier and agent expose, evaluates every rule on it, and answers every panel.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde_json::Value;
use tests::{Prometheus, Verifier, World, wait_until};

use super::pipeline::Pipeline;
use super::{PATIENCE, looks, migration, switch};
use crate::dashboards::{boards, queries};
use crate::promql::read;

const CADENCE: &str = "{every: 1s, timeout: 900ms, maxAge: 10s, failAfter: 1}";
const GATE: &str = "{soak: 1s, minSamples: 1, unknownBudget: 1s}";
/// Panels that ask for what this migration does not have: a fault, a lock, the second collector, marks in a Grafana.
const EMPTY: &[&str] = &[
    "log-path: Agents",
    "log-path: Loki",
    "log-path: Old and new collector",
    "log-path: Where lines stop",
    "migration-health: Not green, and asked for",
    "migration-health: Regressions and overrides",
    "probe-internals: Fails in a row",
    "probe-internals: Flaps",
    "probe-internals: Marks in Grafana",
    "probe-internals: Reasons",
];

/// The alerts that there are, with their state, the first time that these are among them.
async fn alerts(prometheus: &Prometheus, wanted: &[(&str, &str)]) -> BTreeSet<(String, String)> {
    wait_until(PATIENCE, &format!("{wanted:?}"), async || {
        let body = prometheus.get("/api/v1/alerts").await?.json()?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let alerts = body["data"]["alerts"].as_array().cloned().unwrap_or_default();
        let alerts: BTreeSet<_> =
            alerts.iter().map(|alert| (text(&alert["labels"]["alertname"]), text(&alert["state"]))).collect();
        for (name, state) in wanted {
            ensure!(alerts.contains(&((*name).to_owned(), (*state).to_owned())), "{alerts:?}");
        }
        Ok(alerts)
    })
    .await
    .unwrap()
}

/// No rule fails on what is really there, as two series for one would make it.
async fn every_rule_is_well(prometheus: &Prometheus) -> Result<()> {
    let body = prometheus.get("/api/v1/rules").await?.json()?;
    let groups = body["data"]["groups"].as_array().cloned().unwrap_or_default();
    let rules: Vec<_> = groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()).collect();
    ensure!(rules.len() > 20, "{body}");
    for rule in rules {
        ensure!(rule["health"] == "ok", "{}: {} {}", rule["name"], rule["health"], rule["lastError"]);
    }
    Ok(())
}

#[tokio::test]
async fn a_real_prometheus_evaluates_every_rule_and_answers_every_panel() {
    let world = World::new().unwrap();
    let Pipeline { agent, targets, .. } = &Pipeline::start(&world).await;
    let probes = [
        "{name: canary, check: {logCanary: {agents: agents, loki: loki, alloy: alloy}}}",
        "{name: collector, check: {alloyHealth: {alloy: alloy}}}",
        "{name: ships, check: {alloyShipping: {alloy: alloy, lokis: [loki]}}}",
    ];
    let verifier = Verifier::start(&world, &migration(CADENCE, targets, GATE, &probes)).await.unwrap();
    switch(&verifier).await;
    for probe in ["canary", "collector", "ships"] {
        looks(&verifier, probe, "green", "").await;
    }
    let rules = read("deploy/alerts/phasegate.rules.yaml").replace("interval: 30s", "interval: 1s");
    let rules = world.write("rules.yaml", &rules).unwrap();
    let jobs = [("phasegate-verifier", verifier.address()), ("phasegate-agent", agent.authority())];
    let prometheus = Prometheus::start(&world, &jobs, &rules).await.unwrap();

    // Every panel has something to show, but for those that ask for what is not there.
    wait_until(PATIENCE, "every panel has an answer", async || {
        let mut empty = BTreeSet::new();
        for (name, board) in boards().iter().filter(|(name, _)| *name != "postgres-cutover") {
            for (title, expr) in queries(board) {
                if prometheus.query(&expr).await?.is_empty() {
                    empty.insert(format!("{name}: {title}"));
                }
            }
        }
        let empty: Vec<_> = empty.iter().map(String::as_str).collect();
        ensure!(empty == EMPTY, "{empty:#?}");
        Ok(())
    })
    .await
    .unwrap();
    for (_, board) in boards() {
        for (_, expr) in queries(&board) {
            prometheus.query(&expr).await.unwrap();
        }
    }

    // An alert about what is so, and no other.
    let made = verifier.cutover(&["override", "create", "collector", "--reason", "seen", "--ttl", "10m", "--yes"]).await.unwrap();
    assert_eq!(made.code, 0, "{made:?}");
    let told = alerts(&prometheus, &[("PhasegateOverrideActive", "firing")]).await;
    assert_eq!(told.len(), 1, "{told:?}");
    every_rule_is_well(&prometheus).await.unwrap();

    verifier.kill9().await.unwrap();
    alerts(&prometheus, &[("PhasegateVerifierDown", "pending")]).await;
    every_rule_is_well(&prometheus).await.unwrap();
}
