//! Is the bench's journal the real one, and a world's own? And does the product's agent get on with it?

use std::time::Duration;

use anyhow::ensure;
use checks::log_path::line::{CanaryLine, Head};
use serde_json::Value;
use tests::{Agent, Journal, World, wait_until};

const SOON: Duration = Duration::from_secs(30);
const CANARY: &str = "SYSLOG_IDENTIFIER=system-metrics-canary";

async fn messages(journal: &Journal, identifier: &str, count: usize) -> Vec<String> {
    wait_until(SOON, "the lines in the journal", async || {
        let entries = journal.entries(&format!("SYSLOG_IDENTIFIER={identifier}")).await?;
        ensure!(entries.len() >= count, "{entries:?}");
        Ok(entries.iter().map(|entry| entry["MESSAGE"].as_str().unwrap_or_default().to_owned()).collect())
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn two_worlds_have_two_journals_and_a_line_stays_whole() {
    let (one, other) = (World::new().unwrap(), World::new().unwrap());
    let (one, other) = tokio::try_join!(Journal::start(&one), Journal::start(&other)).unwrap();
    one.log("mine", "first\nsecond \u{1f680}").unwrap();
    other.log("mine", "of the other").unwrap();
    one.log("mine", "third").unwrap();
    assert_eq!(messages(&one, "mine", 2).await, ["first\nsecond \u{1f680}", "third"]);
    assert_eq!(messages(&other, "mine", 1).await, ["of the other"]);
    let machines: Vec<Value> = one.entries("").await.unwrap().into_iter().map(|mut entry| entry["_MACHINE_ID"].take()).collect();
    assert!(machines.len() > 2 && machines.iter().all(|machine| machine == one.machine_id()), "{machines:?}");
    assert_ne!(one.machine_id(), std::fs::read_to_string("/etc/machine-id").unwrap_or_default().trim());
}

async fn until(agent: &Agent, what: &str, level: impl Fn(&Head) -> bool) -> Head {
    wait_until(SOON, what, async || {
        let head = serde_json::from_value(agent.get("/v1/head").await?.json()?)?;
        ensure!(level(&head), "{head:?}");
        Ok(head)
    })
    .await
    .unwrap()
}

/// The agent's lines in the journal, as soon as `last` is among them.
async fn lines(journal: &Journal, last: u64) -> Vec<CanaryLine> {
    wait_until(SOON, &format!("line {last} in the journal"), async || {
        let entries = journal.entries(CANARY).await?;
        let lines: Vec<_> = entries.iter().filter_map(|entry| CanaryLine::parse(entry["MESSAGE"].as_str()?)).collect();
        ensure!(lines.iter().any(|line| line.seq == last), "{} lines", lines.len());
        Ok(lines)
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn the_agent_writes_into_it_and_goes_on_when_it_is_killed_and_comes_back() {
    let world = World::new().unwrap();
    let journal = Journal::start(&world).await.unwrap();
    let flags = ["--every", "10ms", "--journal.socket", journal.socket().to_str().unwrap()];
    let agent = Agent::start(&world, "node-1", &flags).await.unwrap();
    let head = until(&agent, "some lines", |head| head.last >= 20).await;
    assert_eq!((head.first, head.failed), (1, 0));
    let before = lines(&journal, head.last).await;
    assert!(before.iter().zip(1..).all(|(line, seq)| line.seq == seq && line.boot == head.boot), "{before:?}");

    journal.kill().await.unwrap();
    let refused = until(&agent, "refused lines", |head| head.failed >= 20).await;
    assert_eq!(agent.get("/-/ready").await.unwrap().status, 503);
    journal.start_again().await.unwrap();
    let head = until(&agent, "lines again", |head| head.last >= refused.last + 20).await;
    let after = lines(&journal, head.last).await;
    assert!(after.len() > before.len() && after.iter().all(|line| line.boot == head.boot));
    // Only what its socket held when it was killed is missing: what was refused has no number.
    let jumps = after.windows(2).filter(|pair| pair[1].seq != pair[0].seq + 1).count();
    assert!(jumps <= 1, "{jumps} gaps in {after:?}");
    assert!(after.iter().any(|line| line.seq == refused.last + 1), "the first line that it took again: {after:?}");

    journal.freeze().await.unwrap();
    let failed = head.failed;
    until(&agent, "a queue that is full", |head| head.failed > failed + 20).await;
    journal.thaw().unwrap();
    let again = until(&agent, "an open queue", |seen| seen.failed > failed).await;
    let head = until(&agent, "lines after the thaw", |head| head.last > again.last + 20).await;
    let thawed = lines(&journal, head.last).await;
    let jumps = thawed.windows(2).filter(|pair| pair[1].seq != pair[0].seq + 1).count();
    assert!(jumps <= 1, "nothing is lost in a queue: {jumps} gaps");
}
