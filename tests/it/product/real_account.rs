//! The account of lines after everything on their way was away or started anew: what it says is what the agent's own log says.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use checks::log_path::line::{Boot, CanaryLine, Head};
use tests::{LogWay, Verifier, World, wait_until};
use tokio::time::{Instant, sleep};

use super::{AT_ONCE, PATIENCE, looks, migration, opened, reaches};

/// How long Loki is away. Alloy gives a batch up after some minutes; until then nothing is lost.
const AWAY: Duration = Duration::from_secs(20);
const CANARY: &str = "{service=\"migration-canary\"}";

/// The greatest number of each start in the journal; without gaps, it is how many lines that start has written.
async fn log(lines: &LogWay) -> BTreeMap<Boot, u64> {
    let mut counts = BTreeMap::new();
    for entry in lines.journal.entries("SYSLOG_IDENTIFIER=system-metrics-canary").await.unwrap() {
        let line = CanaryLine::parse(entry["MESSAGE"].as_str().unwrap()).unwrap();
        let count = counts.entry(line.boot).or_insert(0);
        assert_eq!(line.seq, *count + 1, "the agent's own log has a gap");
        *count = line.seq;
    }
    counts
}

async fn value(verifier: &Verifier, name: &str) -> String {
    let exposition = verifier.get("/metrics").await.unwrap().body;
    let mark = format!("value=\"{name}\"}} ");
    let line = exposition.lines().find_map(|line| line.split_once(&mark)).unwrap_or_else(|| panic!("no {name}: {exposition}"));
    line.1.to_owned()
}

async fn checkpointed(verifier: &Verifier) {
    let persisted = async || -> Result<String> {
        let exposition = verifier.get("/metrics").await?.body;
        let line = exposition.lines().find(|line| line.starts_with("phasegate_ledger_last_persist_timestamp_seconds "));
        Ok(line.context("it is not told")?.to_owned())
    };
    let before = persisted().await.unwrap();
    let written = async || {
        ensure!(persisted().await? != before, "none yet");
        Ok(())
    };
    wait_until(PATIENCE, "a checkpoint", written).await.unwrap();
}

#[tokio::test]
async fn after_an_outage_with_restarts_of_all_the_account_is_the_agents_own_log() {
    let world = World::new().unwrap();
    let lines = LogWay::start(&world, &["--every", "200ms"]).await.unwrap();
    let probe = "{name: canary, check: {logCanary: {agents: agents, loki: loki, alloy: alloy, lostAfter: 10s, holdFor: 5s}}}";
    let document = migration("{every: 1s, timeout: 900ms, maxAge: 10s}", &lines.targets(), AT_ONCE, &[probe]);
    let verifier = Verifier::start(&world, &document).await.unwrap();
    opened(&verifier).await;

    lines.loki.stop().await.unwrap();
    let back = Instant::now() + AWAY;
    looks(&verifier, "canary", "red", "refused").await;
    // What it remembers is written with a checkpoint; the first may have begun before that.
    for _ in 0..2 {
        checkpointed(&verifier).await;
    }
    verifier.kill9().await.unwrap();
    verifier.start_again().await.unwrap();
    lines.alloy.start_without_positions().await.unwrap();
    // Killed between two questions: of what it wrote after the last answer nobody is told.
    lines.agent.kill().await.unwrap();
    looks(&verifier, "canary", "unknown", "agent_unreachable").await;
    lines.agent.start_again().await.unwrap();
    looks(&verifier, "canary", "red", "refused").await;
    verifier.sigterm().await.unwrap();
    verifier.start_again().await.unwrap();
    sleep(back.saturating_duration_since(Instant::now())).await;
    lines.loki.start_again().await.unwrap();
    reaches(&verifier, "open").await;

    // Told to stop, it says farewell: of this start nothing is left open.
    lines.agent.stop().await.unwrap();
    let written = log(&lines).await;
    assert_eq!(written.len(), 2, "{written:?}");
    wait_until(PATIENCE, "all of it is in Loki", async || {
        let (has, of) = (lines.loki.count(CANARY).await?, written.values().sum::<u64>());
        ensure!(has == of, "{has} of {of} lines");
        Ok(())
    })
    .await
    .unwrap();
    lines.agent.start_again().await.unwrap();
    let head: Head = serde_json::from_value(lines.agent.get("/v1/head").await.unwrap().json().unwrap()).unwrap();
    assert!(!written.contains_key(&head.boot));
    let closed = wait_until(PATIENCE, "the tail of the killed start is named", async || {
        let body = looks(&verifier, "canary", "green", "").await;
        let words = body["evidence"].as_str().unwrap().to_owned();
        ensure!(words.contains("ended without a word after its line"), "{words}");
        Ok(words)
    });
    let words = closed.await.unwrap();
    let (killed, last) = written.iter().find(|(boot, _)| words.contains(&boot.to_string())).unwrap();
    assert!(words.contains(&format!("start {killed} ended without a word after its line {last}:")), "{written:?}: {words}");
    let values = [value(&verifier, "lost_lines").await, value(&verifier, "unaccounted_lines").await];
    assert_eq!(values, ["0.0", "0.0"], "{words}");
    reaches(&verifier, "open").await;
}
