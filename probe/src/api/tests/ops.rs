//! Status, probes, operations, and what every answer has in common.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use checks::grafana::annotations::Trouble;
use futures::FutureExt;
use serde_json::{Value, json};

use super::world::{REFUSED, World};
use crate::annotations::{Standing, Standstill};
use crate::api::types::StatusBody;
use crate::api::{ConfigStatus, app};

#[tokio::test(start_paused = true)]
async fn the_status_shows_everything() {
    let world = World::open().await;
    world.config.send_replace(ConfigStatus { hash: None, error: Some("line 3: no such target".into()) });
    world.see("a", REFUSED.because("connection refused")).await;
    let answer = world.get("/v1/status").await;
    assert!(serde_json::from_str::<StatusBody>(&answer.text).is_ok());
    insta::with_settings!({filters => vec![(r#""version": "[^"]+""#, r#""version": "[version]""#)]}, {
        insta::assert_snapshot!(serde_json::to_string_pretty(&answer.json()).unwrap());
    });
}

#[tokio::test(start_paused = true)]
async fn annotations_are_told_of_where_there_are_any() {
    let world = World::open().await;
    assert!(world.get("/v1/status").await.json().get("annotations").is_none());
    let since = world.ledger.clock().now().utc;
    let trouble = Trouble { reason: REFUSED.into(), evidence: "nobody listens".into(), next: "start it".into(), alone: false };
    let problem = Some(Standstill { trouble, since });
    let target = "new-grafana".to_owned();
    world.annotations.send_replace(vec![Standing { target, marked: 3, waiting: 2, failures: 7, proven: Some(since), problem }]);
    let body: StatusBody = serde_json::from_str(&world.get("/v1/status").await.text).unwrap();
    let [told] = body.annotations.as_slice() else { panic!("{body:?}") };
    assert_eq!((told.target.as_str(), told.marked, told.waiting, told.proven), ("new-grafana", 3, 2, Some(since)));
    let problem = told.problem.as_ref().unwrap();
    assert_eq!(
        (problem.reason.as_str(), problem.evidence.as_str(), problem.next.as_str()),
        ("refused", "nobody listens", "start it")
    );
    assert_eq!(world.get("/v1/gates/one").await.json()["verdict"], "open", "it is no blocker");
}

#[tokio::test(start_paused = true)]
async fn runs_are_kept_with_their_evidence() {
    let world = World::switched().await;
    world.see("a", REFUSED.because("connection refused")).await;
    let runs = world.get("/v1/probes/a/runs").await.json();
    assert_eq!(runs["runs"][0]["reason"], "refused");
    assert_eq!(runs["runs"][0]["durationSeconds"], 0.02);
    assert_eq!(runs["runs"].as_array().unwrap().len(), 2);
    world.parts("a", &[("n", checks::Outcome::pass("well")), ("m", REFUSED.because("x"))]).await;
    let newest = world.get("/v1/probes/a/runs?most=1").await.json()["runs"].clone();
    assert_eq!((newest.as_array().unwrap().len(), newest[0]["parts"].as_array().unwrap().len()), (1, 2));
    assert_eq!(world.get("/v1/probes/a/runs?most=1&parts=false").await.json()["runs"][0]["parts"], json!([]));
    assert_eq!(world.get("/v1/probes/zero/runs").await.code(), 404);
    assert_eq!(world.get("/v1/probes/zero").await.code(), 404);
    assert_eq!(world.get("/v1/probes").await.json()["probes"].as_array().unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn wrong_paths_and_methods_are_answered_in_json() {
    let world = World::new().await;
    for path in ["/nowhere", "/v1", "/v1/gates/", "/v1/gates/one/chek", "/v1//gates"] {
        let answer = world.get(path).await;
        assert_eq!((answer.code(), answer.json()["code"].as_str()), (404, Some("not_found")), "{path}");
    }
    for (method, path) in
        [("GET", "/-/reload"), ("DELETE", "/v1/gates/one/check"), ("PUT", "/v1/gates/one"), ("GET", "/v1/phases/one/begin")]
    {
        let answer = world.tell(method, path, None, None).await;
        assert_eq!((answer.code(), answer.json()["code"].as_str()), (405, Some("method_not_allowed")), "{method} {path}");
        assert!(answer.headers.contains_key("allow"));
    }
    assert_eq!(world.get("/v1/gates/%ff").await.code(), 400);
}

#[tokio::test(start_paused = true)]
async fn readiness_and_health() {
    let world = World::new().await;
    assert_eq!(world.get("/-/ready").await.code(), 200);
    assert_eq!(world.get("/-/healthy").await.code(), 200);
    world.freeze(Duration::from_secs(31)).await;
    assert_eq!(world.get("/-/healthy").await.code(), 503, "a wedged evaluator is worth a restart");
}

#[tokio::test(start_paused = true)]
async fn reload_is_asked_for_with_post() {
    let world = World::new().await;
    assert_eq!(world.post("/-/reload", None).await.code(), 202);
    assert!(world.reload.notified().now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn the_page_is_one_file() {
    let world = World::new().await;
    let page = world.get("/").await;
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    for foreign in
        ["src=", "@import", "url(", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "{style}", "{script}"]
    {
        assert!(!page.text.contains(foreign), "{foreign}");
    }
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    for weak in ["unsafe", "*", "http"] {
        assert!(!policy.contains(weak), "{policy}");
    }
    assert!(
        policy.starts_with("default-src 'none'; script-src 'sha256-") && policy.contains("require-trusted-types-for 'script'")
    );
}

/// What the page asks for: a thousand probes must not travel once a second.
#[tokio::test(start_paused = true)]
async fn the_status_can_be_asked_for_some_probes_only() {
    let world = World::open().await;
    world.see("beat", REFUSED.because("connection refused")).await;
    let ask = async |query: &str| {
        let status = world.get(&format!("/v1/status?{query}")).await.json();
        let probes = status["probes"].as_array().unwrap().iter().map(|probe| probe["name"].as_str().unwrap().to_owned());
        (probes.collect::<Vec<_>>().join(" "), status["leftOut"].clone())
    };
    for (query, probes, left_out) in [
        ("", "a beat c proof", Value::Null),
        ("phases=one", "a beat", Value::Null),
        ("phases=two,one", "a beat c proof", Value::Null),
        ("phases=", "", Value::Null),
        ("phases=nowhere", "", Value::Null),
        ("most=1", "beat c", json!({"one": 1, "two": 1})),
        ("most=9", "beat a c proof", Value::Null),
        ("most=0&phases=one", "", json!({"one": 2})),
        ("find=BEA", "beat", Value::Null),
        ("find=scripted", "a c proof", Value::Null),
        ("find=suspect", "beat", Value::Null),
        ("find=refused", "beat", Value::Null),
        ("find=nothing%20like%20it", "", Value::Null),
    ] {
        assert_eq!(ask(query).await, (probes.to_owned(), left_out), "{query}");
    }
    assert_eq!(world.get("/v1/status?most=x").await.code(), 400);
    let phase = world.get("/v1/status?phases=").await.json()["phases"][0].clone();
    assert_eq!((&phase["blockers"][0]["probe"], &phase["probes"]["suspect"]), (&"beat".into(), &1.into()), "{phase}");
}

#[tokio::test(start_paused = true)]
async fn an_old_status_finds_probes_by_what_they_are_now() {
    let world = World::open().await;
    world.freeze(Duration::from_secs(4)).await;
    for (find, count) in [("green", 0), ("unknown", 4)] {
        let found = world.get(&format!("/v1/status?find={find}")).await.json();
        assert_eq!(found["probes"].as_array().unwrap().len(), count, "{find}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_api_is_described() {
    let world = World::new().await;
    let (_, openapi) = app(world.state.clone());
    let served = world.get("/v1/openapi.json").await;
    assert_eq!(served.json(), serde_json::to_value(&openapi).unwrap());
    let paths: std::collections::BTreeMap<String, Vec<String>> = served.json()["paths"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(path, item)| (path.clone(), item.as_object().unwrap().keys().cloned().collect()))
        .collect();
    insta::assert_json_snapshot!(paths);
}

#[tokio::test(start_paused = true)]
async fn metrics_are_served_as_what_they_are() {
    let world = World::open().await;
    let ask = |accept: &'static str| world.send(Request::get("/metrics").header("accept", accept).body(Body::empty()).unwrap());
    for accept in ["*/*", "text/plain;version=0.0.4", "application/openmetrics-text;q=0,text/plain"] {
        let classic = ask(accept).await;
        assert_eq!(classic.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8", "{accept}");
        assert!(!classic.text.contains("# EOF"));
        assert!(classic.text.contains("\n# TYPE phasegate_probe_runs_total counter\n"));
    }
    let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
    let open = ask(prometheus).await;
    assert_eq!(open.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(open.text.ends_with("# EOF\n"));
    assert!(open.text.contains("\n# TYPE phasegate_probe_runs counter\n"));
}
