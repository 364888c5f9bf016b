//! Where a real Alloy ships to, seen by its own counters.

use anyhow::ensure;
use serde_json::{Value, json};
use tests::{Agent, Alloy, Fault, FaultProxy, Journal, Loki, Verifier, World, wait_until};

use super::{AT_ONCE, PATIENCE, looks, migration, opened, probe, reaches};

const PACE: &str = "{every: 1s, timeout: 900ms, maxAge: 10s, failAfter: 1, recoverAfter: 1}";
const LINES: &str = "{service=\"migration-canary\", agent=\"alloy\"}";

/// An agent that writes into a journal, an Alloy that ships it, and two Lokis.
struct Path {
    world: World,
    _journal: Journal,
    _agent: Agent,
    alloy: Alloy,
    old: Loki,
    new: Loki,
    /// Another way to the new one.
    to_new: FaultProxy,
}

impl Path {
    /// Alloy ships to the old Loki, which has these blocks in its configuration.
    async fn start(blocks: Value) -> Self {
        let world = World::new().unwrap();
        let (journal, old, new) =
            tokio::try_join!(Journal::start(&world), Loki::start_with(&world, blocks), Loki::start(&world)).unwrap();
        let to_new = FaultProxy::start(new.authority()).unwrap();
        let socket = journal.socket().display().to_string();
        let flags = ["--every", "200ms", "--journal.socket", &socket];
        let lokis = [old.url()];
        let (agent, alloy) =
            tokio::try_join!(Agent::start(&world, "node-1", &flags), Alloy::start(&world, journal.folder(), &lokis)).unwrap();
        Self { world, _journal: journal, _agent: agent, alloy, old, new, to_new }
    }

    /// A verifier whose probes look at that Alloy, each with these settings of its own.
    async fn watched(&self, probes: &[(&str, &str)]) -> Verifier {
        let targets = format!(
            "{{alloy: {{alloy: {{urls: [\"{}\"]}}}}, old: {{loki: {{url: \"{}\"}}}}, new: {{loki: {{url: \"{}\"}}}}}}",
            self.alloy.url(),
            self.old.url(),
            self.new.url()
        );
        let probe = |(name, more): &(&str, &str)| format!("{{name: {name}, check: {{alloyShipping: {{alloy: alloy, {more}}}}}}}");
        let probes: Vec<String> = probes.iter().map(probe).collect();
        let probes: Vec<&str> = probes.iter().map(String::as_str).collect();
        Verifier::start(&self.world, &migration(PACE, &targets, AT_ONCE, &probes)).await.unwrap()
    }

    async fn metrics(&self) -> String {
        self.alloy.get("/metrics").await.unwrap().body
    }
}

/// Waits until a probe is of this colour and says all of these words.
async fn says(verifier: &Verifier, name: &str, state: &str, words: &[&str]) {
    wait_until(PATIENCE, &format!("{name} is {state} and says {words:?}"), async || {
        let body = probe(verifier, name).await?;
        let evidence = body["evidence"].as_str().unwrap_or_default();
        ensure!(body["state"] == state && words.iter().all(|words| evidence.contains(words)), "{body}");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn lines_that_arrive_in_the_wrong_loki_shut_the_gate_until_alloy_is_led_back() {
    let path = Path::start(json!({})).await;
    let verifier = path.watched(&[("ships", "lokis: [old], within: 10s")]).await;
    opened(&verifier).await;
    let words = format!("old ({}): ", path.old.authority());
    says(&verifier, "ships", "green", &[&words]).await;

    path.alloy.set_lokis(&[path.new.url()]).await.unwrap();
    let red = looks(&verifier, "ships", "red", "wrong_loki").await;
    let evidence = red["evidence"].as_str().unwrap();
    assert!(evidence.contains(&format!(" lines to {} since ", path.new.authority())), "{evidence}");
    assert!(path.new.count(LINES).await.unwrap() > 0, "they do arrive");
    reaches(&verifier, "closed").await;

    path.alloy.set_lokis(&[path.old.url()]).await.unwrap();
    reaches(&verifier, "open").await;
    // What it sent to the new one is there for as long as the process lives.
    let series = format!(
        "loki_write_sent_entries_total{{component_id=\"loki.write.k3s\",component_path=\"/\",host=\"{}\"",
        path.new.authority()
    );
    assert!(path.metrics().await.contains(&series));
}

#[tokio::test]
async fn two_lokis_must_both_get_lines_and_one_behind_a_dead_network_is_named() {
    let path = Path::start(json!({})).await;
    path.alloy.set_lokis(&[path.old.url(), &path.to_new.url()]).await.unwrap();
    let both = format!("lokis: [old, new], hosts: {{new: [\"{}\"]}}, within: 10s", path.to_new.address());
    let verifier = path.watched(&[("ships", &both)]).await;
    opened(&verifier).await;

    path.to_new.set(Fault::BlackHole).await.unwrap();
    let (old, new) = (format!("old ({}): ", path.old.authority()), format!("new ({}): ", path.to_new.address()));
    // Alloy waits for the slower of the two, so that the other one gets nothing as well.
    let words = [old.as_str(), &new, "none for", "so far failed: no connection or no answer ×"];
    says(&verifier, "ships", "red", &words).await;
    let red = looks(&verifier, "ships", "red", "not_shipping").await;
    let evidence = red["evidence"].as_str().unwrap();
    let (before, after) = evidence.split_once(&new).unwrap();
    assert!(!before.contains("so far failed") && after.contains("so far failed"), "{evidence}");

    path.to_new.clear().await.unwrap();
    reaches(&verifier, "open").await;
}

#[tokio::test]
async fn an_alloy_that_lost_its_positions_is_refused_old_lines_and_that_is_no_alarm() {
    // What Loki refuses after hours in a homelab, this one refuses after seconds.
    let path = Path::start(json!({"limits_config": {"reject_old_samples_max_age": "5s"}})).await;
    let probes = [("ships", "lokis: [old], within: 10s"), ("strict", "lokis: [old], within: 10s, restartGrace: 0s, holdFor: 1h")];
    let verifier = path.watched(&probes).await;
    opened(&verifier).await;
    assert!(path.metrics().await.contains("\nprocess_start_time_seconds "));
    let old_enough = async || {
        let lines = path.old.count(LINES).await?;
        ensure!(lines > 50, "{lines}");
        Ok(())
    };
    wait_until(PATIENCE, "there are lines that are too old", old_enough).await.unwrap();

    path.alloy.start_without_positions().await.unwrap();
    looks(&verifier, "strict", "red", "dropped").await;
    says(&verifier, "ships", "green", &["at most ", " lines refused within 2m after Alloy's start"]).await;
    let metrics = verifier.get("/metrics").await.unwrap().body;
    let unharmed = "phasegate_probe_failures_total{probe=\"ships\",reason=\"dropped\"} 0\n";
    let failures: Vec<&str> = metrics.lines().filter(|line| line.starts_with("phasegate_probe_failures_total")).collect();
    assert!(metrics.contains(unharmed), "{failures:?}");
}
