//! The checks, against the servers that they were written for.

use tests::{LogPath, Verifier, World};

use crate::product::{check, looks, migration, reaches, switch};

/// A migration of one phase that looks at the whole log path of the new side.
fn document(logs: &LogPath) -> String {
    let targets = format!(
        r#"{{agents: {{agent: {{urls: ["{agent}"]}}}}, alloy: {{alloy: {{urls: ["{alloy}"]}}}}, old: {{loki: {{url: "{old}"}}}},
        loki: {{loki: {{url: "{loki}", gateway: "{gateway}"}}}},
        grafana: {{grafana: {{url: "{grafana}", token: {{env: GRAFANA_TOKEN}}}}}}}}"#,
        agent = logs.agent.url(),
        alloy = logs.alloy.url(),
        old = logs.old_loki.url(),
        loki = logs.new_loki.url(),
        gateway = logs.gateway.url(),
        grafana = logs.new_grafana.url(),
    );
    let query = format!(
        "grafanaQuery: {{grafana: grafana, datasource: {}, loki: loki, oldLoki: old, agents: agents, within: 5s}}",
        logs.new_grafana.datasource()
    );
    let probes = [
        "{name: alloy, check: {alloyHealth: {alloy: alloy, within: 10s}}}",
        "{name: ready, check: {lokiReady: {loki: loki}}}",
        "{name: ingest, check: {lokiIngest: {loki: loki, within: 5s}}}",
        "{name: canary, check: {logCanary: {agents: agents, loki: loki, lateAfter: 2s, lostAfter: 2m, holdFor: 5s}}}",
        "{name: grafana, check: {grafanaHealth: {grafana: grafana}}}",
        &format!("{{name: query, check: {{{query}}}}}"),
    ];
    let defaults = "{every: 2s, timeout: 2s, maxAge: 20s, failAfter: 1, recoverAfter: 1}";
    migration(defaults, &targets, "{soak: 1s, minSamples: 1, unknownBudget: 10s}", &probes)
}

/// The log path with an Alloy that ships to the new Loki, or to both, and a verifier whose phase has switched.
async fn switched(world: &World, both: bool) -> (LogPath, Verifier) {
    let logs = LogPath::start(world).await.unwrap();
    let (old, new) = (logs.old_loki.url(), logs.new_loki.url());
    let lokis = if both { vec![old, new] } else { vec![new] };
    logs.alloy.configure(&lokis).unwrap();
    logs.deploy_alloy().await.unwrap();
    let token = logs.new_grafana.token("phasegate", "Viewer").await.unwrap();
    let verifier = Verifier::start_with(world, &document(&logs), &[("GRAFANA_TOKEN", &token)]).await.unwrap();
    switch(&verifier).await;
    (logs, verifier)
}

#[tokio::test]
async fn while_both_lokis_get_the_lines_it_is_not_known_which_of_them_grafana_asks() {
    let world = World::new().unwrap();
    let (logs, verifier) = switched(&world, true).await;
    looks(&verifier, "canary", "green", "").await;
    looks(&verifier, "query", "unknown", "same_in_both").await;
    logs.alloy.set_lokis(&[logs.new_loki.url()]).await.unwrap();
    reaches(&verifier, "open").await;
}

#[tokio::test]
async fn a_grafana_that_asks_the_old_loki_and_an_alloy_with_a_refused_file_shut_the_gate() {
    let world = World::new().unwrap();
    let (logs, verifier) = switched(&world, false).await;
    reaches(&verifier, "open").await;

    logs.new_grafana.repoint(logs.old_loki.url()).await.unwrap();
    looks(&verifier, "query", "red", "empty_answer").await;
    looks(&verifier, "grafana", "green", "").await;
    assert_ne!(check(&verifier).await, 200);
    logs.repoint_grafana().await.unwrap();
    looks(&verifier, "query", "green", "").await;

    // Ready and healthy with the old file, and it ships.
    std::fs::write(logs.alloy.file(), "loki.write {").unwrap();
    assert_eq!(logs.alloy.reload().await.unwrap().status, 400);
    looks(&verifier, "alloy", "red", "old_config").await;
    looks(&verifier, "canary", "green", "").await;
    assert_ne!(check(&verifier).await, 200);
}

#[tokio::test]
async fn a_loki_that_dies_is_seen_by_all_but_alloy_and_nothing_is_lost() {
    let world = World::new().unwrap();
    let (logs, verifier) = switched(&world, false).await;
    reaches(&verifier, "open").await;
    logs.new_loki.kill().await.unwrap();
    looks(&verifier, "ready", "red", "").await;
    looks(&verifier, "canary", "red", "refused").await;
    looks(&verifier, "query", "red", "").await;
    looks(&verifier, "alloy", "green", "").await;
    assert_ne!(check(&verifier).await, 200);
    logs.new_loki.start_again().await.unwrap();
    // Alloy held the lines back and ships them now: late, and none is lost.
    for probe in ["ready", "canary", "query"] {
        looks(&verifier, probe, "green", "").await;
    }
    let metrics = verifier.get("/metrics").await.unwrap().body;
    assert!(metrics.contains("value=\"lost_lines\"} 0"), "{metrics}");
}
