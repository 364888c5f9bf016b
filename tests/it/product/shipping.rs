//! Where Alloy ships to, with stand-ins: what a machine without the real ones can see of it.

use serde_json::Value;
use tests::standin::{Limits, Positions, StandinAlloy, StandinJournal, StandinLoki};
use tests::{Agent, Verifier, World, wait_until};

use super::{AT_ONCE, PATIENCE, looks, migration, opened, probe, reaches};

const PACE: &str = "{every: 500ms, timeout: 450ms, maxAge: 10s, failAfter: 1, recoverAfter: 1}";
const IDENTIFIER: &str = "system-metrics-canary";

/// An agent, an Alloy that ships what it writes to the first of two Lokis, and a verifier whose gate is open.
struct Path {
    _world: World,
    _agent: Agent,
    _journal: StandinJournal,
    alloy: StandinAlloy,
    old: StandinLoki,
    new: StandinLoki,
    verifier: Verifier,
}

impl Path {
    async fn open(probes: &[&str]) -> Self {
        let world = World::new().unwrap();
        let journal = StandinJournal::new();
        let sink = world.write("journal", "").unwrap();
        journal.follow(&sink, IDENTIFIER);
        let flags = ["--every", "100ms", "--sink", &format!("file:{}", sink.display())];
        let agent = Agent::start(&world, "node-1", &flags).await.unwrap();
        let (old, new) = (StandinLoki::start().unwrap(), StandinLoki::start().unwrap());
        let alloy = StandinAlloy::start(&journal, &[&old.url()]).unwrap();
        let targets = format!(
            "{{alloy: {{alloy: {{urls: [\"{}\"]}}}}, old: {{loki: {{url: \"{}\"}}}}, new: {{loki: {{url: \"{}\"}}}}}}",
            alloy.url(),
            old.url(),
            new.url()
        );
        let verifier = Verifier::start(&world, &migration(PACE, &targets, AT_ONCE, probes)).await.unwrap();
        opened(&verifier).await;
        Self { _world: world, _agent: agent, _journal: journal, alloy, old, new, verifier }
    }
}

#[tokio::test]
async fn a_gate_shuts_while_lines_arrive_in_another_loki() {
    let path = Path::open(&["{name: ships, check: {alloyShipping: {alloy: alloy, lokis: [old], within: 10s}}}"]).await;
    path.alloy.set_lokis(&[&path.new.url()]).unwrap();
    let red = looks(&path.verifier, "ships", "red", "wrong_loki").await;
    assert!(red["evidence"].as_str().unwrap().contains(&format!(" lines to {} since ", path.new.address())), "{red}");
    assert!(!path.new.lines("{job=\"systemd-journal\"}", 0, i64::MAX).unwrap().is_empty(), "they do arrive");
    reaches(&path.verifier, "closed").await;
    path.alloy.set_lokis(&[&path.old.url()]).unwrap();
    reaches(&path.verifier, "open").await;
}

#[tokio::test]
async fn lines_that_loki_refuses_after_a_start_are_told_and_others_are_a_fault() {
    let path = Path::open(&[
        "{name: ships, check: {alloyShipping: {alloy: alloy, lokis: [old], within: 10s}}}",
        "{name: strict, check: {alloyShipping: {alloy: alloy, lokis: [old], within: 10s, restartGrace: 0s, holdFor: 1h}}}",
    ])
    .await;
    path.old.set_limits(Limits { max_age: 1_000_000_000, ..Limits::default() });
    path.alloy.restart(Positions::Lost);
    looks(&path.verifier, "strict", "red", "dropped").await;
    let told = async || {
        let body: Value = probe(&path.verifier, "ships").await?;
        let evidence = body["evidence"].as_str().unwrap_or_default();
        anyhow::ensure!(body["state"] == "green" && evidence.contains(" lines refused within 2m after Alloy's start"), "{body}");
        Ok(())
    };
    wait_until(PATIENCE, "what the start explains is told", told).await.unwrap();
    let metrics = path.verifier.get("/metrics").await.unwrap().body;
    assert!(metrics.contains("phasegate_probe_failures_total{probe=\"ships\",reason=\"dropped\"} 0\n"), "{metrics}");
}
