//! `grafanaPanels` between two real Grafanas, each before a real Loki: the same panels, and what goes wrong with them.

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Fault, FaultProxy, Grafana, Loki, Verifier, World};

use super::{AT_ONCE, looks, migration, now, opened, reaches};

const JOB: (&str, &str) = ("job", "systemd-journal");
const SECOND: i64 = 1_000_000_000;

/// A line each ten seconds of the last 25 minutes, of two services.
async fn push(loki: &Loki) {
    let now = now().timestamp_nanos_opt().unwrap();
    for service in ["proxy", "backup"] {
        let lines: Vec<_> = (6..150)
            .rev()
            .map(|n| tests::Line::new(now - n * 10 * SECOND, format!("level=info service={service} n={n}")))
            .collect();
        loki.push(&[JOB, ("service", service)], &lines).await.unwrap();
    }
}

/// A query of the Loki datasource.
fn loki(grafana: &Grafana, id: &str, kind: &str, expr: &str) -> Value {
    let datasource = json!({"type": "loki", "uid": grafana.datasource()});
    json!({"refId": id, "datasource": datasource, "queryType": kind, "expr": expr, "legendFormat": "{{service}} $nothing"})
}

fn panel(id: i64, kind: &str, title: &str, targets: &[Value]) -> Value {
    json!({"id": id, "type": kind, "title": title, "targets": targets, "gridPos": {"h": 4, "w": 4, "x": 0, "y": 0}})
}

/// Panels of all kinds that a homelab has.
fn homelab(grafana: &Grafana, errors: &str) -> Value {
    let test = json!({"type": "testdata", "uid": "test"});
    let numbers = json!({"refId": "B", "datasource": test, "scenarioId": "csv_metric_values", "stringInput": "1,20,3"});
    let twice =
        json!({"refId": "B", "datasource": {"type": "__expr__", "uid": "__expr__"}, "type": "math", "expression": "$A * 2"});
    let mut summand = loki(grafana, "A", "instant", "sum(count_over_time({job=\"systemd-journal\"}[30m]))");
    summand["hide"] = json!(true);
    let mut mixed = panel(6, "timeseries", "Mixed", &[loki(grafana, "A", "range", "sum(rate({job=~\".+\"}[$__auto]))"), numbers]);
    mixed["datasource"] = json!({"type": "datasource", "uid": "-- Mixed --"});
    let mut other = panel(8, "logs", "By variable", &[json!({"refId": "A", "expr": "{service=\"proxy\"}"})]);
    other["datasource"] = json!({"type": "loki", "uid": "${source}"});
    let nested = panel(5, "logs", "Nested", &[loki(grafana, "A", "range", "{service=~\"$service\"}")]);
    let panels = json!([
        panel(1, "logs", "Lines", &[loki(grafana, "A", "range", "{job=\"systemd-journal\"} |= \"level=info\"")]),
        panel(2, "timeseries", "Rate", &[loki(grafana, "A", "range", "sum by (service) (count_over_time({job=~\".+\"}[$__interval]))")]),
        panel(3, "stat", "Count", &[loki(grafana, "A", "instant", "sum(count_over_time({job=\"systemd-journal\"}[$__range]))")]),
        {"id": 4, "type": "row", "title": "More", "collapsed": true, "panels": [nested]},
        mixed,
        {"id": 7, "type": "text", "title": "Words"},
        other,
        panel(9, "stat", "Twice", &[summand, twice]),
        {"id": 10, "libraryPanel": {"uid": "shared", "name": "Shared"}, "gridPos": {"h": 4, "w": 4, "x": 0, "y": 0}},
        panel(11, "stat", "Errors", &[loki(grafana, "A", "range", errors)]),
    ]);
    let variables = json!([
        {"name": "service", "type": "query", "multi": true, "includeAll": true, "current": {"value": ["proxy", "backup"]}},
        {"name": "source", "type": "datasource", "query": "loki", "current": {}},
    ]);
    json!({"uid": "homelab", "title": "Homelab", "panels": panels, "templating": {"list": variables}, "schemaVersion": 38})
}

const ERRORS: &str = "sum(count_over_time({service=\"proxy\"} |= \"n=\" [1m])) or vector(0)";

async fn save(grafana: &Grafana, dashboard: &Value) {
    grafana.create("/api/dashboards/db", &json!({"dashboard": dashboard, "overwrite": true})).await.unwrap();
}

/// A Grafana with the dashboard, and a token of this role.
async fn grafana(world: &World, loki_url: &str, role: &str) -> (Grafana, String) {
    let grafana = Grafana::start(world, loki_url).await.unwrap();
    let test = json!({"name": "Test", "type": "testdata", "access": "proxy", "uid": "test"});
    grafana.create("/api/datasources", &test).await.unwrap();
    let shared = panel(1, "stat", "Shared", &[loki(&grafana, "A", "instant", "sum(count_over_time({service=\"backup\"}[30m]))")]);
    grafana
        .create("/api/library-elements", &json!({"uid": "shared", "name": "Shared", "kind": 1, "model": shared}))
        .await
        .unwrap();
    save(&grafana, &homelab(&grafana, ERRORS)).await;
    let token = grafana.token("panels", role).await.unwrap();
    (grafana, token)
}

/// Two Grafanas and Lokis, and a verifier with a probe for both sides and one for the new side alone.
struct Stack {
    _world: World,
    old: Grafana,
    new: Grafana,
    new_loki: Loki,
    /// Between the new Grafana and the new Loki.
    way: FaultProxy,
    verifier: Verifier,
    _old_loki: Loki,
}

async fn stack(role: &str) -> Stack {
    let world = World::new().unwrap();
    let (old_loki, new_loki) = tokio::try_join!(Loki::start(&world), Loki::start(&world)).unwrap();
    tokio::join!(push(&old_loki), push(&new_loki));
    let way = FaultProxy::start_http(new_loki.url()).unwrap();
    let url = way.url();
    let ((old, old_token), (new, new_token)) = tokio::join!(grafana(&world, old_loki.url(), role), grafana(&world, &url, role));
    let target = |name: &str, grafana: &Grafana, token: &str| {
        format!("{name}: {{grafana: {{url: \"{}\", token: {{env: {token}}}}}}}", grafana.url())
    };
    let targets = format!("{{{}, {}}}", target("old", &old, "OLD_TOKEN"), target("new", &new, "NEW_TOKEN"));
    let more = "dashboards: [homelab], window: 30m, settle: 1s, rest: 0s, perSecond: 50";
    let probe = |name: &str, sides: &str| {
        format!("{{name: {name}, controlEvery: 3s, validFor: 20s, check: {{grafanaPanels: {{{sides}, {more}}}}}}}")
    };
    let probes = [probe("both", "old: old, new: new"), probe("alone", "new: new")];
    let probes = probes.each_ref().map(String::as_str);
    let document = migration("{every: 1s, timeout: 900ms}", &targets, AT_ONCE, &probes);
    let tokens = [("OLD_TOKEN", old_token.as_str()), ("NEW_TOKEN", new_token.as_str())];
    let verifier = Verifier::start_with(&world, &document, &tokens).await.unwrap();
    Stack { _world: world, old, new, new_loki, way, verifier, _old_loki: old_loki }
}

fn evidence(probe: &Value) -> &str {
    probe["evidence"].as_str().unwrap()
}

#[tokio::test]
async fn panels_that_show_the_same_on_both_sides_open_the_gate_and_what_breaks_is_named() {
    let stack = stack("Admin").await;
    let Stack { verifier, new, .. } = &stack;
    opened(verifier).await;
    let both = looks(verifier, "both", "green", "").await;
    let words = "9 panels of 1 dashboard asked on both sides, 9 show something; 1 ask nothing; from ";
    assert!(evidence(&both).starts_with(words), "{both}");
    let alone = looks(verifier, "alone", "green", "").await;
    assert!(evidence(&alone).starts_with("9 panels of 1 dashboard asked, 9 show something; 1 ask nothing; from "), "{alone}");

    save(new, &homelab(new, "sum(count_over_time({service=\"proxy\"}[1m])")).await;
    for name in ["both", "alone"] {
        let red = looks(verifier, name, "red", "panel_errors").await;
        assert!(evidence(&red).starts_with("dashboard Homelab: panel \"Errors\" errs: parse error"), "{red}");
    }
    reaches(verifier, "closed").await;

    let mut dashboard = homelab(new, ERRORS);
    dashboard["panels"][1]["targets"][0]["datasource"]["uid"] = json!("of-docker");
    save(new, &dashboard).await;
    let words = "dashboard Homelab: panel \"Rate\" errs: there is no datasource of-docker; the old one has ";
    tests::wait_until(super::PATIENCE, "the datasource is named", async || {
        let probe = super::probe(verifier, "both").await?;
        anyhow::ensure!(evidence(&probe).starts_with(words), "{probe}");
        Ok(())
    })
    .await
    .unwrap();

    save(new, &homelab(new, ERRORS)).await;
    looks(verifier, "both", "green", "").await;
    new.call(Method::DELETE, "/api/dashboards/uid/homelab", None).await.unwrap();
    let red = looks(verifier, "both", "red", "dashboard_missing").await;
    assert_eq!(evidence(&red), "dashboard Homelab is not there, the old Grafana has it");
}

#[tokio::test]
async fn a_loki_behind_a_green_datasource_that_was_emptied_or_can_not_be_reached_is_seen() {
    let stack = stack("Viewer").await;
    let verifier = &stack.verifier;
    opened(verifier).await;
    stack.way.set(Fault::Refuse).await.unwrap();
    let red = looks(verifier, "both", "red", "panel_errors").await;
    assert!(evidence(&red).contains("connection refused; the old one has "), "{red}");
    looks(verifier, "alone", "red", "panel_errors").await;
    stack.way.clear().await.unwrap();
    looks(verifier, "both", "green", "").await;
    looks(verifier, "alone", "green", "").await;

    // Where nothing is known of before, what is empty is only counted.
    stack.new_loki.destroy().await.unwrap();
    let red = looks(verifier, "both", "red", "panel_empty").await;
    assert!(evidence(&red).contains("dashboard Homelab: panel \"Lines\" is empty, the old one has 100 rows"), "{red}");
    reaches(verifier, "closed").await;
    let alone = looks(verifier, "alone", "green", "").await;
    assert!(evidence(&alone).contains("empty: dashboard Homelab: panel \"Lines\""), "{alone}");

    push(&stack.new_loki).await;
    looks(verifier, "both", "green", "").await;
    stack.old.stop().await.unwrap();
    looks(verifier, "alone", "green", "").await;
}
