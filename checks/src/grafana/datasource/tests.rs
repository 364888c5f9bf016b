use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use wiremock::matchers::{method, path, path_regex};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::*;
use crate::testing::{check, context, part};
use crate::{Target, outcome::Colour};

const UID: &str = "loki-uid";

fn reason(outcome: &Outcome) -> &str {
    outcome.reason().map_or("pass", |reason| reason.as_str())
}

fn dashboard(title: &str, datasource: Value) -> Value {
    json!({"title": title, "schemaVersion": 38, "panels": [{"id": 1, "title": "Errors", "type": "logs", "datasource": datasource, "targets": [{"expr": "x"}]}]})
}

/// A Grafana, and a Loki without any line.
struct World {
    datasources: Value,
    permissions: Value,
    dashboards: BTreeMap<String, Value>,
}

impl Default for World {
    fn default() -> Self {
        let new = json!({"uid": UID, "name": "Loki", "type": "loki", "access": "proxy", "url": "http://me:hunter2@loki.a.svc:3100/?x=hunter2", "isDefault": true,
            "basicAuthPassword": "hunter2", "secureJsonData": {"httpHeaderValue1": "hunter2"}});
        let old = json!({"uid": "old", "name": "Loki on Docker", "type": "loki", "access": "proxy", "url": "http://old:hunter2@192.0.2.10:3100"});
        Self {
            datasources: json!([new, old, {"uid": "prom", "name": "Prometheus", "type": "prometheus"}]),
            permissions: json!({"datasources:read": ["datasources:*"], "dashboards:read": ["dashboards:*"]}),
            dashboards: BTreeMap::from([("home".to_owned(), dashboard("Home", json!({"type": "loki", "uid": UID})))]),
        }
    }
}

impl World {
    async fn start(&self) -> (Context, MockServer) {
        let server = MockServer::start().await;
        let at = |at: &str, body: &Value| {
            Mock::given(method("GET")).and(path(at)).respond_with(ResponseTemplate::new(200).set_body_json(body))
        };
        at("/api/access-control/user/permissions", &self.permissions).mount(&server).await;
        at("/api/datasources", &self.datasources).mount(&server).await;
        let list: Vec<Value> = self.dashboards.keys().map(|uid| json!({"uid": uid, "title": "t", "type": "dash-db"})).collect();
        at("/api/search", &json!(list)).mount(&server).await;
        let dashboards = self.dashboards.clone();
        let one = move |request: &Request| {
            let uid = request.url.path().rsplit('/').next().unwrap();
            match dashboards.get(uid) {
                Some(model) => ResponseTemplate::new(200).set_body_json(json!({"meta": {"folderUid": ""}, "dashboard": model})),
                None => ResponseTemplate::new(404).set_body_json(json!({"message": "Dashboard not found"})),
            }
        };
        Mock::given(method("GET")).and(path_regex("^/api/dashboards/uid/")).respond_with(one).mount(&server).await;
        let nowhere = ResponseTemplate::new(404).set_body_json(json!({"message": "Data source not found"}));
        Mock::given(method("POST")).and(path("/api/ds/query")).respond_with(nowhere).mount(&server).await;
        let streams = json!({"status": "success", "data": {"resultType": "streams", "result": []}});
        at("/loki/api/v1/query_range", &streams).mount(&server).await;
        let targets: BTreeMap<String, Target> = serde_json::from_value(json!({
            "grafana": {"grafana": {"url": server.uri()}},
            "loki": {"loki": {"url": server.uri(), "gateway": "http://gateway.a.svc"}},
        }))
        .unwrap();
        (Context { targets: Arc::new(targets), ..context() }, server)
    }

    /// Runs until all dashboards were read, at most so often.
    async fn runs(&self, check: &GrafanaDatasource, times: usize) -> Report<Survey> {
        let (cx, _server) = self.start().await;
        let mut report = Check::run(check, &cx, Survey::default()).await;
        for _ in 1..times {
            report = Check::run(check, &cx, report.memory).await;
        }
        let said = format!("{:?} {}", report.step, serde_json::to_string(&report.memory).unwrap());
        assert!(!said.contains("hunter2"), "{said}");
        report
    }
}

fn plain() -> GrafanaDatasource {
    check(json!({"grafana": "grafana", "datasource": UID, "loki": "loki", "hosts": ["loki.a.svc:3100"]}))
}

async fn settings(world: World, check: &GrafanaDatasource) -> Outcome {
    part(&world.runs(check, 1).await, SETTINGS)
}

#[tokio::test]
async fn a_datasource_is_known_by_the_host_and_port_it_leads_to() {
    let outcome = settings(World::default(), &plain()).await;
    assert_eq!(
        outcome.evidence().as_str(),
        "\"Loki\" (loki-uid) leads to http://loki.a.svc:3100/?…, made by hand; others of type loki: \"Loki on Docker\" (old) leads to http://192.0.2.10:3100/"
    );
    let with = |url: &str| {
        let mut world = World::default();
        world.datasources[0]["url"] = json!(url);
        world
    };
    for (url, expected) in [
        ("http://gateway.a.svc", "pass"),
        ("http://gateway.a.svc.cluster.local:80/loki", "pass"),
        ("http://192.0.2.10:3100", "wrong_url"),
        ("http://loki.a.svc:3101", "wrong_url"),
        ("loki.a.svc:3100", "wrong_url"),
        ("", "wrong_url"),
    ] {
        assert_eq!(reason(&settings(with(url), &plain()).await), expected, "{url}");
    }
}

#[tokio::test]
async fn what_else_is_wrong_with_a_datasource_is_told_apart() {
    let with = |key: &str, value: Value| {
        let mut world = World::default();
        world.datasources[0][key] = value;
        world
    };
    for (key, value, expected) in [
        ("uid", json!("another"), "no_datasource"),
        ("type", json!("prometheus"), "wrong_type"),
        ("access", json!("direct"), "not_proxied"),
    ] {
        assert_eq!(reason(&settings(with(key, value), &plain()).await), expected, "{key}");
    }
    let outcome = settings(with("uid", json!("another")), &plain()).await;
    assert!(outcome.evidence().as_str().contains("\"Loki\" (another) leads to http://loki.a.svc:3100"), "{outcome:?}");
}

#[tokio::test]
async fn every_dashboard_is_read_before_it_passes() {
    let mut world = World::default();
    for n in 0..24 {
        world.dashboards.insert(format!("d{n:02}"), dashboard("D", json!("Loki")));
    }
    for (runs, label, read) in [(1, "waiting", "10"), (2, "waiting", "20"), (3, "pass", "25")] {
        let report = world.runs(&plain(), runs).await;
        assert_eq!(part(&report, SURVEY).label(), label, "{report:?}");
        let measured = report.measures.iter().find(|measure| measure.name == "dashboards_read").unwrap();
        assert_eq!(measured.value.to_string(), read);
    }
    let outcome = part(&world.runs(&plain(), 3).await, SURVEY);
    assert_eq!(outcome.evidence().as_str(), "25 of 25 dashboards refer to it, in 25 places, and none to another Loki");
}

#[tokio::test]
async fn references_to_another_loki_or_to_none_are_named() {
    let with = |datasource: Value| {
        let mut world = World::default();
        world.dashboards.insert("other".to_owned(), dashboard("Other", datasource));
        world
    };
    let others = GrafanaDatasource { others: BTreeSet::from(["Loki on Docker".to_owned(), "gone".to_owned()]), ..plain() };
    for (datasource, expected, allowed) in [
        (json!({"type": "loki", "uid": "old"}), "stale_references", "pass"),
        (json!("Loki on Docker"), "stale_references", "pass"),
        (json!({"type": "loki", "uid": "gone"}), "stale_references", "pass"),
        (json!("${DS_LOKI}"), "stale_references", "stale_references"),
        (json!({"type": "prometheus", "uid": "gone"}), "pass", "pass"),
        (json!({"uid": "prom"}), "pass", "pass"),
        (json!({"uid": "-- Mixed --"}), "pass", "pass"),
    ] {
        let world = with(datasource.clone());
        assert_eq!(reason(&part(&world.runs(&plain(), 1).await, SURVEY)), expected, "{datasource}");
        assert_eq!(reason(&part(&world.runs(&others, 1).await, SURVEY)), allowed, "{datasource}");
    }
    let outcome = part(&with(json!("Loki on Docker")).runs(&plain(), 1).await, SURVEY);
    let words = "1 dashboards refer to another one: \"Other\" to \"Loki on Docker\" (old) leads to http://192.0.2.10:3100/ (panel \"Errors\")";
    assert_eq!(outcome.evidence().as_str(), words);
    let mut none = World::default();
    none.dashboards.clear();
    assert_eq!(reason(&part(&none.runs(&plain(), 1).await, SURVEY)), "not_used");
}

#[tokio::test]
async fn a_mended_dashboard_is_soon_seen() {
    let mut world = World::default();
    world.dashboards.insert("a".to_owned(), dashboard("A", json!("Loki on Docker")));
    for n in 0..40 {
        world.dashboards.insert(format!("d{n:02}"), dashboard("D", json!("Loki")));
    }
    let report = world.runs(&plain(), 5).await;
    assert_eq!(reason(&part(&report, SURVEY)), "stale_references");
    world.dashboards.insert("a".to_owned(), dashboard("A", json!("Loki")));
    let (cx, _server) = world.start().await;
    let report = Check::run(&plain(), &cx, report.memory).await;
    assert_eq!(reason(&part(&report, SURVEY)), "pass");
}

#[tokio::test]
async fn memory_stays_bounded_whatever_the_dashboards_say() {
    let mut world = World::default();
    for n in 0..120 {
        world.dashboards.insert(format!("d{n:03}"), dashboard(&"x".repeat(1000), json!("Loki on Docker")));
    }
    let report = world.runs(&plain(), 13).await;
    assert!(serde_json::to_vec(&report.memory).unwrap().len() < crate::MAX_MEMORY / 2);
    let outcome = part(&report, SURVEY);
    assert!(outcome.evidence().as_str().starts_with("120 dashboards refer"), "{outcome:?}");
}

#[tokio::test]
async fn a_grafana_that_is_too_slow_to_be_read_does_not_stay_green_on_what_was_read_before() {
    let mut report = World::default().runs(&plain(), 1).await;
    assert_eq!(part(&report, SURVEY).label(), "pass");
    let (cx, server) = World::default().start().await;
    let slow =
        ResponseTemplate::new(200).set_body_json(json!([{"uid": "home", "title": "t"}])).set_delay(Duration::from_millis(600));
    Mock::given(method("GET")).and(path("/api/search")).respond_with(slow).with_priority(1).mount(&server).await;
    let cx = Context { timeout: Duration::from_secs(1), ..cx };
    for _ in 0..2 {
        report = Check::run(&plain(), &cx, report.memory).await;
        assert_eq!(reason(&part(&report, SURVEY)), "timeout", "{report:?}");
    }
}

#[tokio::test]
async fn a_token_that_may_not_see_everything_is_unknown() {
    let with = |permissions: Value| World { permissions, ..World::default() };
    let some = json!({"datasources:read": ["datasources:*"], "dashboards:read": ["dashboards:uid:home"]});
    let report = with(some.clone()).runs(&plain(), 1).await;
    assert_eq!((reason(&part(&report, SETTINGS)), reason(&part(&report, SURVEY))), ("pass", "permission_missing"));
    let without = GrafanaDatasource { dashboards: false, ..plain() };
    let Step::Done(parts) = with(some).runs(&without, 1).await.step else { panic!() };
    assert_eq!(parts.len(), 2);
    let report = with(json!({"datasources:read": ["datasources:uid:x"]})).runs(&plain(), 1).await;
    assert_eq!((reason(&part(&report, SETTINGS)), reason(&part(&report, SURVEY))), ("permission_missing", "permission_missing"));
}

#[tokio::test]
async fn the_control_fails_with_its_own_reason_only_where_it_can_tell() {
    let (cx, _server) = World::default().start().await;
    let memory = Check::run(&plain(), &cx, Survey::default()).await.memory;
    assert_eq!(memory.example.as_deref(), Some("home"));
    let control = Check::control(&plain(), &cx, memory.clone()).await;
    assert_eq!(control.reason(), Some(&NO_DATASOURCE.into()), "{control:?}");
    let blind = GrafanaDatasource { others: BTreeSet::from([NOWHERE.to_owned(), UID.to_owned()]), ..plain() };
    assert_eq!(Check::control(&blind, &cx, memory).await.label(), "pass", "it would take any reference for its own");
}

#[test]
fn what_can_not_be_looked_at_is_refused_in_the_document() {
    let fields = |block: Value| {
        let mut whole = json!({"grafana": "g", "datasource": UID, "loki": "l"});
        whole.as_object_mut().unwrap().extend(block.as_object().unwrap().clone());
        Check::validate(&check::<GrafanaDatasource>(whole)).into_iter().map(|error| error.field).collect::<Vec<_>>()
    };
    assert_eq!(fields(json!({"hosts": ["loki:3100"], "others": ["x"]})), [""; 0]);
    assert_eq!(fields(json!({"hosts": ["http://loki"]})), ["hosts"]);
    assert_eq!(fields(json!({"others": [UID]})), ["others"]);
    assert_eq!(fields(json!({"datasource": "a b", "within": "1s"})), ["datasource", "within"]);
    assert!(GrafanaDatasource::META.reasons().any(|reason| reason.colour == Colour::Waiting));
}
