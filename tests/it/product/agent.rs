//! The agent as it is shipped: numbers without gaps, whatever its sink does, and a head that says the truth about it.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use anyhow::{Result, ensure};
use checks::log_path::line::{CanaryLine, Head};
use tests::{Agent, Journal, Spec, World, binary, wait_until};

use super::PATIENCE;

async fn head(agent: &Agent) -> Head {
    serde_json::from_value(agent.get("/v1/head").await.unwrap().json().unwrap()).unwrap()
}

async fn until(agent: &Agent, what: &str, level: impl Fn(&Head) -> bool) -> Head {
    wait_until(PATIENCE, what, async || {
        let head = head(agent).await;
        ensure!(level(&head), "{head:?}");
        Ok(head)
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_file_holds_every_line_that_the_head_tells_of_in_order() {
    let world = World::new().unwrap();
    let file = world.dir().join("lines");
    let sink = format!("file:{}", file.display());
    let agent = Agent::start(&world, "node-1", &["--every", "10ms", "--sink", &sink, "--service", "mine"]).await.unwrap();
    let told = until(&agent, "some lines", |head| head.last >= 20).await;
    assert_eq!((told.node.as_str(), told.first, told.failed, told.every_ms), ("node-1", 1, 0, 10));
    let rotated = world.dir().join("lines.1");
    std::fs::rename(&file, &rotated).unwrap();
    until(&agent, "lines after the rotation", |head| head.last >= told.last + 20).await;
    assert_eq!(agent.get("/-/ready").await.unwrap().status, 200);
    let metrics = agent.get("/metrics").await.unwrap();
    assert_eq!(metrics.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    for line in ["phasegate_canary_emitted_total{node=\"node-1\"} ", "phasegate_agent_write_failures_total{node=\"node-1\"} 0"] {
        assert!(metrics.body.contains(line), "{}", metrics.body);
    }
    assert_eq!(agent.stop().await.unwrap().code(), Some(0));
    let text = [rotated, file].map(|file| std::fs::read_to_string(file).unwrap()).concat();
    let lines: Vec<_> = text.lines().map(|line| CanaryLine::parse(line).unwrap()).collect();
    assert!(lines.iter().all(|line| line.boot == told.boot && line.service == "mine"));
    assert!(lines.iter().zip(1..).all(|(line, seq)| line.seq == seq), "{text}");
    assert!(lines.iter().any(|line| line.seq == told.last && Some(line.at) == told.last_at), "{told:?}");

    agent.start_again().await.unwrap();
    let again = until(&agent, "lines of another start", |head| head.last > 0).await;
    assert_ne!(again.boot, told.boot);
}

#[tokio::test]
async fn a_journald_that_comes_late_hangs_and_comes_back_costs_lines_but_no_numbers() {
    let world = World::new().unwrap();
    let path = world.dir().join("socket");
    let flags = ["--every", "5ms", "--journal.socket", &path.display().to_string(), "--identifier", "canary"];
    let agent = Agent::start(&world, "node-1", &flags).await.unwrap();
    let head = until(&agent, "refused lines", |head| head.failed >= 3).await;
    assert_eq!((head.first, head.last, head.last_at), (0, 0, None));
    let ready = agent.get("/-/ready").await.unwrap();
    assert!(ready.status == 503 && ready.body.contains("No such file"), "{ready:?}");

    let mut seen = Vec::new();
    for _ in 0..2 {
        // Nobody reads: the queue fills up, and the agent goes on answering.
        let failed = head_failed(&agent).await;
        let journald = UnixDatagram::bind(&path).unwrap();
        until(&agent, "the queue is full", |head| head.last > 0 && head.failed > failed + 20).await;
        journald.set_nonblocking(true).unwrap();
        let mut buffer = [0; 4096];
        let wanted = seen.len() + 50;
        wait_until(PATIENCE, "lines in the journal", async || {
            while let Ok(length) = journald.recv(&mut buffer) {
                seen.push(message(&buffer[..length])?);
            }
            ensure!(seen.len() >= wanted, "{}", seen.len());
            Ok(())
        })
        .await
        .unwrap();
        drop(journald);
        std::fs::remove_file(&path).unwrap();
    }
    let boot = seen[0].boot;
    assert!(seen.iter().all(|line| line.boot == boot && line.node == "node-1"));
    // What a socket that went away still held is gone, as with a real journald; what was refused is not missing.
    let jumps = seen.windows(2).filter(|pair| pair[1].seq != pair[0].seq + 1).count();
    assert!(seen[0].seq == 1 && jumps <= 1, "{jumps} gaps");
    assert_eq!(agent.stop().await.unwrap().code(), Some(0));
}

async fn head_failed(agent: &Agent) -> u64 {
    head(agent).await.failed
}

fn message(entry: &[u8]) -> Result<CanaryLine> {
    let entry = std::str::from_utf8(entry)?;
    ensure!(entry.contains("\nSYSLOG_IDENTIFIER=canary\n") && entry.contains("PRIORITY=6\n"), "{entry}");
    let line = entry.lines().find_map(|line| CanaryLine::parse(line.strip_prefix("MESSAGE=")?));
    line.ok_or_else(|| anyhow::anyhow!("no canary: {entry}"))
}

#[tokio::test]
async fn a_journald_that_hangs_is_told_of_within_seconds_and_has_every_number_once_when_it_goes_on() {
    let world = World::new().unwrap();
    let journal = Journal::start(&world).await.unwrap();
    let flags = ["--journal.socket", journal.socket().to_str().unwrap()];
    let agent = Agent::start(&world, "node-1", &flags).await.unwrap();
    let before = until(&agent, "two lines that were read", |head| head.last >= 2 && head.unread_ms == 0).await;
    assert_eq!((before.failed, before.every_ms), (0, 1000));
    journal.freeze().await.unwrap();
    let told = until(&agent, "an unread line", |head| head.unread_ms > 500).await;
    let later = until(&agent, "the same line", |head| head.unread_ms >= told.unread_ms + 1000).await;
    assert!(later.now.signed_duration_since(told.now).num_milliseconds() >= 900, "{told:?} {later:?}");
    let refused = until(&agent, "refused lines", |head| head.failed >= 2 && head.unread_ms > 5000).await;
    // Four lines are held, and one may have been read on the way.
    assert!(refused.last <= before.last + 5 && refused.trouble.is_some(), "{before:?} {refused:?}");
    assert_eq!(agent.get("/-/ready").await.unwrap().status, 503);
    journal.thaw().unwrap();
    let read = until(&agent, "a new line that was read", |head| head.last > refused.last && head.unread_ms == 0).await;
    assert_eq!((read.trouble.as_deref(), read.boot), (None, before.boot));
    assert_eq!(agent.get("/-/ready").await.unwrap().status, 200);
    assert_eq!(agent.stop().await.unwrap().code(), Some(0));
    let lines = numbered(&journal, read.last + 1).await;
    let (last, others) = lines.split_last().unwrap();
    assert!(last.end && others.iter().all(|line| !line.end), "{lines:?}");
}

#[tokio::test]
async fn a_stop_is_the_last_line_and_waits_for_no_sink() {
    let world = World::new().unwrap();
    let journal = Journal::start(&world).await.unwrap();
    let flags = ["--journal.socket", journal.socket().to_str().unwrap(), "--every", "1h"];
    let agent = Agent::start(&world, "node-1", &flags).await.unwrap();
    until(&agent, "the first line", |head| head.last == 1).await;
    assert_eq!(agent.stop().await.unwrap().code(), Some(0));
    let lines = numbered(&journal, 2).await;
    assert_eq!(lines.iter().map(|line| line.end).collect::<Vec<_>>(), [false, true]);

    let flags = ["--journal.socket", journal.socket().to_str().unwrap(), "--every", "10ms"];
    let agent = Agent::start(&world, "node-2", &flags).await.unwrap();
    until(&agent, "lines", |head| head.last > 0).await;
    journal.freeze().await.unwrap();
    until(&agent, "a full queue", |head| head.failed > 0).await;
    // Its own patience is far below what a supervisor has; leaving something behind would be said.
    assert_eq!(agent.stop().await.unwrap().code(), Some(0));
    let log = agent.process().stderr();
    assert!(!log.contains("not everything stopped"), "{log}");
}

#[tokio::test]
async fn a_thousand_lines_a_second_are_a_thousand_and_each_is_in_the_journal_once() {
    let world = World::new().unwrap();
    let journal = Journal::start(&world).await.unwrap();
    let flags = ["--journal.socket", journal.socket().to_str().unwrap(), "--every", "1ms"];
    let agent = Agent::start(&world, "node-1", &flags).await.unwrap();
    let first = until(&agent, "some lines", |head| head.last > 0).await;
    let later = until(&agent, "two seconds' lines", |head| head.last + head.failed >= first.last + first.failed + 2000).await;
    let passed = later.now.signed_duration_since(first.now).num_milliseconds();
    let due = i64::try_from(later.last + later.failed - first.last - first.failed).unwrap();
    // What came late before the first look is made up for after it: 200 lines at most.
    assert!(due <= passed + 250 && due >= passed / 2, "{due} lines in {passed} ms");
    assert_eq!(agent.stop().await.unwrap().code(), Some(0));
    let lines = numbered(&journal, later.last).await;
    let told = lines.iter().find(|line| line.seq == later.last).unwrap();
    assert_eq!(Some(told.at), later.last_at);
}

/// The agent's lines in the journal, once this many are there: each number once, in order.
async fn numbered(journal: &Journal, last: u64) -> Vec<CanaryLine> {
    let lines = wait_until(PATIENCE, "the last line in the journal", async || {
        let entries = journal.entries("SYSLOG_IDENTIFIER=system-metrics-canary").await?;
        let lines: Vec<_> = entries.iter().filter_map(|entry| CanaryLine::parse(entry["MESSAGE"].as_str()?)).collect();
        ensure!(lines.iter().any(|line| line.seq >= last), "{} lines", lines.len());
        Ok(lines)
    });
    let lines = lines.await.unwrap();
    assert!(lines.iter().zip(1..).all(|(line, seq)| line.seq == seq && line.boot == lines[0].boot), "{lines:?}");
    lines
}

#[tokio::test]
async fn standard_output_holds_lines_and_nothing_else() {
    let world = World::new().unwrap();
    let agent = Agent::start(&world, "node-1", &["--every", "5ms", "--sink", "stdout"]).await.unwrap();
    until(&agent, "some lines", |head| head.last >= 20).await;
    assert_eq!(agent.stop().await.unwrap().code(), Some(0));
    let text = agent.process().stdout();
    let numbers: Vec<_> = text.lines().map(|line| CanaryLine::parse(line).unwrap_or_else(|| panic!("{line}")).seq).collect();
    assert!(numbers.len() >= 20 && numbers.iter().zip(1..).all(|(seq, n)| *seq == n), "{numbers:?}");
}

#[tokio::test]
async fn what_is_wrong_at_the_start_is_one_clear_line() {
    let world = World::new().unwrap();
    let taken = Agent::start(&world, "node-1", &["--sink", "stdout"]).await.unwrap();
    let address = taken.url().strip_prefix("http://").unwrap().to_owned();
    let file = world.write("no-socket", "").unwrap().display().to_string();
    let missing = format!("file:{}/missing/lines", world.dir().display());
    let long = "x".repeat(300);
    for (flags, code, words) in [
        (vec!["--sink", "stdout", "--web.listen-address", &address], 1, "can not listen on"),
        (vec!["--journal.socket", &file], 2, "is no socket"),
        (vec!["--journal.socket", &long], 2, "--journal.socket"),
        (vec!["--sink", &missing], 2, "No such file"),
        (vec!["--sink", "syslog"], 2, "journald, stdout or file:PATH"),
        (vec!["--every", "1us"], 2, "whole milliseconds"),
        (vec!["--every", "0s"], 2, "from 1ms to 1h"),
        (vec!["--every", "1h 1ms"], 2, "from 1ms to 1h"),
        (vec!["--node", ""], 2, "--node"),
        (vec!["--sink", "stdout", "--log.level", "a=b=c"], 2, "--log.level"),
    ] {
        let spec = Spec::new("agent", binary("probe").unwrap()).arg("agent").args(flags.iter().copied());
        let output = world.run(spec, Duration::from_secs(20)).await.unwrap();
        assert_eq!(output.code, code, "{flags:?}: {output:?}");
        let errors: Vec<_> = output.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
        assert!(errors.len() == 1 && errors[0].contains(words), "{flags:?}: {output:?}");
        assert_eq!(output.stdout, "", "{flags:?}");
    }
}
