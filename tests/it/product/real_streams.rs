//! Services in a real Loki: which of them are silent, forgotten, shipped twice or not carried by the new collector.

use std::time::Duration;

use tests::{Agent, Alloy, Journal, Line, Loki, Promtail, Verifier, World};

use super::{AT_ONCE, PATIENCE, looks, migration, now, runs_on};

const HOURS: Duration = Duration::from_hours(1);
/// Little has to be waited for, and a slow machine has time to answer.
const OFTEN: &str = "{every: 2s, timeout: 2s, maxAge: 20s}";

/// The words of a probe that has this colour and reason.
async fn words(verifier: &Verifier, name: &str, state: &str, reason: &str) -> String {
    looks(verifier, name, state, reason).await["evidence"].as_str().unwrap().to_owned()
}

/// Two services of a node whose journal both collectors ship to one Loki.
struct Node {
    _journal: Journal,
    _services: [Agent; 2],
    promtail: Promtail,
    alloy: Alloy,
    loki: Loki,
}

impl Node {
    async fn start(world: &World) -> Self {
        let (journal, loki) = tokio::try_join!(Journal::start(world), Loki::start(world)).unwrap();
        let socket = journal.socket().display().to_string();
        // Both collectors keep this identifier.
        let flags =
            |service| ["--every", "200ms", "--journal.socket", &socket, "--identifier", "gitops-sync", "--service", service];
        let (folder, lokis) = (journal.folder(), [loki.url()]);
        let (sync, backup) = (flags("gitops-sync"), flags("backup"));
        let (sync, backup, promtail, alloy) = tokio::try_join!(
            Agent::start(world, "node-1", &sync),
            Agent::start(world, "node-1", &backup),
            Promtail::start(world, folder, loki.url()),
            Alloy::start(world, folder, &lokis),
        )
        .unwrap();
        Self { _services: [sync, backup], _journal: journal, promtail, alloy, loki }
    }

    fn targets(&self) -> String {
        format!("{{loki: {{loki: {{url: \"{}\"}}}}}}", self.loki.url())
    }
}

#[tokio::test]
async fn a_handover_is_seen_from_what_is_not_carried_to_the_last_line_of_the_old_collector() {
    let world = World::new().unwrap();
    let node = Node::start(&world).await;
    node.alloy.drop_service("backup").await.unwrap();
    let both = "loki: loki, selector: '{job=\"systemd-journal\"}', new: alloy, window: 15s";
    let alloys = "loki: loki, selector: '{job=\"systemd-journal\", agent=\"alloy\"}'";
    let probes = [
        format!("{{name: ended, check: {{shipperHandover: {{{both}}}}}}}"),
        format!("{{name: carried, check: {{shipperHandover: {{{both}, both: true}}}}}}"),
        format!("{{name: fresh, check: {{streamFreshness: {{{alloys}, services: {{gitops-sync: 15s, backup: 15s}}}}}}}}"),
    ];
    let document = migration(OFTEN, &node.targets(), AT_ONCE, &probes.each_ref().map(String::as_str));
    let verifier = Verifier::start(&world, &document).await.unwrap();

    let dropped = words(&verifier, "carried", "red", "not_carried").await;
    assert!(dropped.starts_with("backup: ") && !dropped.contains("gitops-sync"), "{dropped}");
    let silent = words(&verifier, "fresh", "red", "silent").await;
    assert!(silent.contains("backup: no line") && !silent.contains("gitops-sync"), "{silent}");
    let twice = words(&verifier, "ended", "red", "shipped_twice").await;
    assert!(twice.contains("gitops-sync: ") && twice.contains(" by (none), "), "{twice}");
    assert!(twice.contains(" by alloy") && twice.contains(" in the last 15s; seen since "), "{twice}");

    node.alloy.set_lokis(&[node.loki.url()]).await.unwrap();
    let carried = words(&verifier, "carried", "green", "").await;
    assert!(carried.starts_with("2 services carried: backup: "), "{carried}");
    looks(&verifier, "fresh", "green", "").await;
    looks(&verifier, "ended", "red", "shipped_twice").await;

    node.promtail.stop().await.unwrap();
    looks(&verifier, "ended", "waiting", "old_drains").await;
    let ended = words(&verifier, "ended", "green", "").await;
    assert!(ended.contains("none by (none); backup: 0 by (none), "), "{ended}");
    looks(&verifier, "carried", "red", "old_silent").await;
    looks(&verifier, "fresh", "green", "").await;

    node.promtail.start_again().await.unwrap();
    looks(&verifier, "ended", "red", "shipped_twice").await;
    node.promtail.stop().await.unwrap();
    node.alloy.stop().await.unwrap();
    looks(&verifier, "ended", "red", "not_taken_over").await;
    looks(&verifier, "fresh", "red", "silent").await;
}

#[tokio::test]
async fn a_daily_job_may_be_silent_for_its_day_and_no_longer_and_a_forgotten_one_is_named() {
    let world = World::new().unwrap();
    let loki = Loki::start(&world).await.unwrap();
    let start = now();
    let ago = |hours: u32| (start - HOURS * hours).timestamp_nanos_opt().unwrap();
    for (service, agent, hours) in
        [("daily", "alloy", 20), ("weekly\"s|x", "alloy", 27), ("daily", "", 20), ("backup", "", 40), ("foo", "", 30)]
    {
        let labels = [("job", "systemd-journal"), ("service", service), ("agent", agent)];
        let labels = &labels[..if agent.is_empty() { 2 } else { 3 }];
        loki.push(labels, &[Line::new(ago(hours), "done")]).await.unwrap();
    }
    loki.flush().await.unwrap();
    loki.wait_for_lines("{job=\"systemd-journal\"}", (ago(41), ago(0)), 5, PATIENCE).await.unwrap();

    let new = "loki: loki, selector: '{job=\"systemd-journal\", agent=\"alloy\"}'";
    let old = "oldLoki: loki, oldSelector: '{job=\"systemd-journal\", agent=\"\"}', over: 2d, ignore: [foo]";
    let probes = [
        format!("{{name: daily, check: {{streamFreshness: {{{new}, services: {{daily: 26h}}}}}}}}"),
        format!("{{name: both, check: {{streamFreshness: {{{new}, services: {{daily: 26h, 'weekly\"s|x': 26h}}}}}}}}"),
        format!("{{name: all, check: {{streamFreshness: {{{new}, services: {{daily: 26h}}, {old}}}}}}}"),
        format!("{{name: known, check: {{streamFreshness: {{{new}, services: {{daily: 26h, backup: 26h}}, {old}}}}}}}"),
    ];
    let targets = format!("{{loki: {{loki: {{url: \"{}\"}}}}}}", loki.url());
    let document = migration(OFTEN, &targets, AT_ONCE, &probes.each_ref().map(String::as_str));
    let verifier = Verifier::start(&world, &document).await.unwrap();

    assert!(words(&verifier, "daily", "green", "").await.contains("1 lines in the last 1day 2h"));
    let silent = words(&verifier, "both", "red", "silent").await;
    assert!(silent.contains("weekly\"s|x: no line within its cadence of 1day 2h; the last one is "), "{silent}");
    let forgotten = words(&verifier, "all", "red", "forgotten_service").await;
    assert!(forgotten.contains("1 services of the old side are not listed: backup: 1 lines"), "{forgotten}");
    // Listed, it is known, but the new side has not had it yet.
    looks(&verifier, "known", "waiting", "first_lines").await;
    for _ in 0..4 {
        runs_on(&verifier, "both").await;
    }
    let found = words(&verifier, "both", "red", "silent").await;
    assert!(found.contains("about 1day 2h 5") || found.contains("about 1day 3h"), "{found}");

    let line = Line::new(now().timestamp_nanos_opt().unwrap(), "done");
    for service in ["weekly\"s|x", "backup"] {
        loki.push(&[("job", "systemd-journal"), ("agent", "alloy"), ("service", service)], std::slice::from_ref(&line))
            .await
            .unwrap();
    }
    looks(&verifier, "both", "green", "").await;
    looks(&verifier, "known", "green", "").await;
    looks(&verifier, "all", "red", "forgotten_service").await;
}
