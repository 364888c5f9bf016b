//! Faults of phases 1 and 2 that stay hidden behind a healthy face: real Alloys and a real Loki.

use serde_json::json;
use tests::{Agent, Alloy, Fault, FaultProxy, Journal, Line, Loki, Verifier, World};

use super::{AT_ONCE, looks, migration, now, opened, reaches, switch};

const PACE: &str = "{every: 1s, timeout: 900ms, maxAge: 10s, failAfter: 1, recoverAfter: 1}";

#[tokio::test]
async fn one_dead_alloy_of_three_and_one_whose_journal_is_empty_shut_the_gate() {
    let world = World::new().unwrap();
    let (journal, loki) = tokio::try_join!(Journal::start(&world), Loki::start(&world)).unwrap();
    let socket = journal.socket().display().to_string();
    let _agent = Agent::start(&world, "node-1", &["--every", "200ms", "--journal.socket", &socket]).await.unwrap();
    let (lokis, empty) = ([loki.url()], world.dir().join("empty-journal"));
    std::fs::create_dir(&empty).unwrap();
    let start = |folder| Alloy::start(&world, folder, &lokis);
    let folder = journal.folder();
    let (one, two, three, blind) = tokio::try_join!(start(folder), start(folder), start(folder), start(empty.as_path())).unwrap();
    let urls = [&one, &two, &three].map(|alloy| format!("\"{}\"", alloy.url())).join(", ");
    let targets = format!("{{three: {{alloy: {{urls: [{urls}]}}}}, blind: {{alloy: {{urls: [\"{}\"]}}}}}}", blind.url());
    let probes = [
        "{name: three, check: {alloyHealth: {alloy: three, within: 8s}}}",
        "{name: blind, check: {alloyHealth: {alloy: blind, within: 8s}}}",
    ];
    let verifier = Verifier::start(&world, &migration(PACE, &targets, AT_ONCE, &probes)).await.unwrap();
    switch(&verifier).await;
    // Its own word is that all is well, and no line is read.
    assert_eq!(blind.get("/-/healthy").await.unwrap().status, 200);
    let probe = looks(&verifier, "blind", "red", "").await;
    assert!(["journal_still", "no_journal"].iter().any(|reason| probe["reason"] == *reason), "{probe}");

    looks(&verifier, "three", "green", "").await;
    two.kill().await.unwrap();
    let probe = looks(&verifier, "three", "red", "refused").await;
    let part = two.url().trim_start_matches("http://");
    assert!(probe["evidence"].as_str().unwrap().contains(part), "{probe}");
    reaches(&verifier, "closed").await;
    two.start_again().await.unwrap();
    looks(&verifier, "three", "green", "").await;
}

#[tokio::test]
async fn a_broken_gateway_a_full_disk_and_discarded_lines_shut_the_gate_of_a_ready_loki() {
    let world = World::new().unwrap();
    let disk = world.small_disk("loki-disk", 16 * 1024).await.unwrap();
    let at = |name: &str| disk.path().join(name).display().to_string();
    let common = json!({
        "instance_addr": "127.0.0.1", "path_prefix": at("data"), "replication_factor": 1,
        "ring": {"kvstore": {"store": "inmemory"}},
        "storage": {"filesystem": {"chunks_directory": at("chunks"), "rules_directory": at("rules")}},
    });
    let loki = Loki::start_with(&world, json!({"common": common})).await.unwrap();
    let gateway = FaultProxy::start_http(loki.authority()).unwrap();
    let targets = format!("{{loki: {{loki: {{url: \"{}\", gateway: \"{}\"}}}}}}", loki.url(), gateway.url());
    let probes = [
        "{name: ready, check: {lokiReady: {loki: loki}}}",
        "{name: ingest, check: {lokiIngest: {loki: loki, within: 30s, holdFor: 3s}}}",
    ];
    let verifier = Verifier::start(&world, &migration(PACE, &targets, AT_ONCE, &probes)).await.unwrap();
    let push = async |age: i64, text: &str| {
        let at = now().timestamp_nanos_opt().unwrap() - age * 1_000_000_000;
        loki.push(&[("service", "proxy")], &[Line::new(at, text)]).await
    };
    looks(&verifier, "ingest", "waiting", "lines_awaited").await;
    push(0, "hello").await.unwrap();
    opened(&verifier).await;

    gateway.set(Fault::Status(502, "no upstream".into())).await.unwrap();
    let probe = looks(&verifier, "ready", "red", "server_error").await;
    assert!(
        probe["parts"].as_array().unwrap().iter().any(|part| part["part"] == "direct" && part["outcome"] == "pass"),
        "{probe}"
    );
    assert_eq!(reaches(&verifier, "closed").await["open"], false);
    gateway.clear().await.unwrap();
    reaches(&verifier, "open").await;

    let refused = push(30 * 24 * 3600, "of last month").await.unwrap_err();
    assert!(refused.to_string().contains("too old"), "{refused}");
    let probe = looks(&verifier, "ingest", "red", "lines_discarded").await;
    assert!(probe["evidence"].as_str().unwrap().contains("greater_than_max_sample_age"), "{probe}");
    push(0, "it goes on").await.unwrap();
    reaches(&verifier, "open").await;

    disk.fill().unwrap();
    // Loki takes it as ever.
    for nth in 0..20 {
        push(0, &format!("on a full disk {nth} {}", "x".repeat(20_000))).await.unwrap();
    }
    assert_eq!(loki.get("/ready").await.unwrap().status, 200);
    looks(&verifier, "ingest", "red", "wal_disk_full").await;
    disk.free().unwrap();
    push(0, "there is space again").await.unwrap();
    reaches(&verifier, "open").await;
}

#[tokio::test]
async fn a_loki_that_was_left_is_quiet_until_somebody_still_ships_there() {
    let world = World::new().unwrap();
    let loki = Loki::start(&world).await.unwrap();
    let targets = format!("{{loki: {{loki: {{url: \"{}\"}}}}}}", loki.url());
    let probe = "{name: quiet, check: {lokiQuiet: {loki: loki, for: 5s}}}";
    let verifier = Verifier::start(&world, &migration(PACE, &targets, AT_ONCE, &[probe])).await.unwrap();
    let push = async |text: &str| {
        let line = Line::new(now().timestamp_nanos_opt().unwrap(), text);
        loki.push(&[("job", "systemd-journal")], &[line]).await.unwrap();
    };
    opened(&verifier).await;
    push("from a Promtail that was forgotten").await;
    let probe = looks(&verifier, "quiet", "red", "lines_arrive").await;
    assert!(probe["evidence"].as_str().unwrap().starts_with("1 lines were sent to it"), "{probe}");
    reaches(&verifier, "open").await;
}
