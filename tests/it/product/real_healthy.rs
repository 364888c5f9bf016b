//! A healthy phase 2 with all of its checks: restarts shut its gate for as long as they last, and raise no alarm that is not true.

use std::time::Duration;

use tests::{Agent, Alloy, Journal, Line, Loki, Verifier, World};
use tokio::time::{Instant, sleep};

use super::{AT_ONCE, looks, migration, now, reaches, switch};

/// How long Loki is away.
const AWAY: Duration = Duration::from_secs(30);
const HOUR: i64 = 3_600_000_000_000;
/// What must not be said of a stack that loses nothing and sends nothing twice.
const ALARMS: [&str; 13] = [
    "lost",
    "destroyed",
    "dropped",
    "wrong_loki",
    "lines_discarded",
    "flush_failures",
    "panics",
    "lines_missing",
    "lines_differ",
    "lines_extra",
    "shipped_twice",
    "old_still_ships",
    "several_instances",
];

/// A day of history in hours that are over, and a line of which nothing is older than an hour in its stream.
async fn push_history(loki: &Loki) {
    let begin = now().timestamp_nanos_opt().unwrap() / HOUR * HOUR - 24 * HOUR;
    let lines: Vec<Line> = (0..240).map(|nth| Line::new(begin + nth * HOUR / 10, format!("synced {nth}"))).collect();
    loki.push(&[("job", "systemd-journal"), ("service", "gitops-sync")], &lines).await.unwrap();
    loki.flush().await.unwrap();
}

#[tokio::test]
async fn restarts_of_alloy_and_of_loki_raise_no_false_alarm() {
    let world = World::new().unwrap();
    let (journal, old, new) = tokio::try_join!(Journal::start(&world), Loki::start(&world), Loki::start(&world)).unwrap();
    let socket = journal.socket().display().to_string();
    let (lokis, service) = ([new.url()], "gitops-sync");
    let agent = ["--every", "200ms", "--journal.socket", &socket];
    let writer = ["--every", "500ms", "--journal.socket", &socket, "--identifier", service, "--service", service];
    push_history(&old).await;
    new.take_over(&world, &old).await.unwrap();
    tokio::try_join!(old.flush(), new.flush()).unwrap();
    let (agent, _writer, alloy) = tokio::try_join!(
        Agent::start(&world, "node-1", &agent),
        Agent::start(&world, service, &writer),
        Alloy::start(&world, journal.folder(), &lokis)
    )
    .unwrap();
    let targets = format!(
        "{{agents: {{agent: {{urls: [\"{}\"]}}}}, alloy: {{alloy: {{urls: [\"{}\"]}}}}, old: {{loki: {{url: \"{}\"}}}}, \
         new: {{loki: {{url: \"{}\"}}}}}}",
        agent.url(),
        alloy.url(),
        old.url(),
        new.url()
    );
    let probes = [
        "{name: health, check: {alloyHealth: {alloy: alloy, within: 15s}}}",
        "{name: shipping, check: {alloyShipping: {alloy: alloy, lokis: [new], within: 15s, holdFor: 5s}}}",
        "{name: canary, check: {logCanary: {agents: agents, loki: new, alloy: alloy, lostAfter: 20s, holdFor: 5s}}}",
        "{name: ready, check: {lokiReady: {loki: new}}}",
        "{name: ingest, check: {lokiIngest: {loki: new, within: 15s, holdFor: 5s}}}",
        "{name: left, check: {lokiQuiet: {loki: old, for: 10s}}}",
        "{name: services, check: {streamFreshness: {loki: new, selector: '{job=\"systemd-journal\", agent=\"alloy\"}', \
         services: {gitops-sync: 20s}}}}",
        "{name: handover, check: {shipperHandover: {loki: new, selector: '{job=\"systemd-journal\"}', new: alloy, window: 20s}}}",
        "{name: history, controlEvery: 2s, check: {lokiHistory: {old: old, new: new, over: 30h, settle: 0s, \
         visibleWithin: 5s, rest: 1s, sampleOneIn: 1, loadPercent: 100}}}",
    ];
    let pace = "{every: 2s, timeout: 2s, maxAge: 20s, failAfter: 1, recoverAfter: 1}";
    let verifier = Verifier::start(&world, &migration(pace, &targets, AT_ONCE, &probes)).await.unwrap();
    for name in ["health", "shipping", "canary", "ready", "ingest", "left", "services", "handover", "history"] {
        looks(&verifier, name, "green", "").await;
    }
    switch(&verifier).await;
    reaches(&verifier, "open").await;

    alloy.start_without_positions().await.unwrap();
    reaches(&verifier, "open").await;

    let back = Instant::now() + AWAY;
    new.stop().await.unwrap();
    looks(&verifier, "ready", "red", "refused").await;
    sleep(back.saturating_duration_since(Instant::now())).await;
    new.start_again().await.unwrap();
    reaches(&verifier, "open").await;

    let exposition = verifier.get("/metrics").await.unwrap().body;
    let failures: Vec<&str> =
        exposition.lines().filter(|line| line.starts_with("phasegate_probe_failures_total{") && !line.ends_with(" 0")).collect();
    assert!(failures.iter().any(|line| line.contains("probe=\"ready\",reason=\"refused\"")), "{failures:?}");
    let false_ones: Vec<_> =
        failures.iter().filter(|line| ALARMS.iter().any(|alarm| line.contains(&format!("reason=\"{alarm}\"")))).collect();
    assert!(false_ones.is_empty(), "{false_ones:?}");
}
