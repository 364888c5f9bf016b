//! Gates: the verdict in every form, and what keeps it from opening.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use axum::response::IntoResponse;
use checks::Outcome;
use serde_json::Value;

use super::world::{BLIND, LATER, REFUSED, World, phase, plan, probe};
use crate::api::shared::{Ask, Form};
use crate::api::types::{GateBody, GateKind};
use crate::event::Wish;
use crate::plan::Plan;

/// Asks in every form: what each says, `accept=pending` last.
async fn table(world: &World, phase: &str) -> (String, u16, u16, u16, u16) {
    let body = world.get(&format!("/v1/gates/{phase}")).await;
    assert_eq!(body.code(), 200, "{}", body.text);
    let body = body.json();
    let verdict = body["verdict"].as_str().unwrap().to_owned();
    assert_eq!(body["open"], verdict == "open");
    assert_eq!(body["blockers"].as_array().unwrap().is_empty(), verdict == "open", "{body}");
    let check = format!("/v1/gates/{phase}/check");
    let mut codes = Vec::new();
    for (method, query) in [("GET", ""), ("HEAD", ""), ("POST", ""), ("POST", "?accept=pending")] {
        let request = Request::builder().method(method).uri(format!("{check}{query}"));
        let flagger = r#"{"name":"loki","namespace":"mig","phase":"Progressing","checksum":"1","metadata":{}}"#;
        let answer = world.send(request.body(Body::from(flagger)).unwrap()).await;
        if method == "HEAD" {
            assert_eq!(answer.text, "");
        } else {
            let said = answer.json();
            assert_eq!((said["verdict"].as_str(), &said["open"]), (Some(verdict.as_str()), &body["open"]));
            assert!(serde_json::from_str::<GateBody>(&answer.text).is_ok(), "{}", answer.text);
        }
        assert_eq!(answer.headers["content-type"], "application/json");
        assert_eq!(answer.headers["cache-control"], "no-store");
        codes.push(answer.code());
    }
    (verdict, codes[0], codes[1], codes[2], codes[3])
}

fn row(verdict: &str, code: u16, accepted: u16) -> (String, u16, u16, u16, u16) {
    (verdict.to_owned(), code, code, code, accepted)
}

#[tokio::test(start_paused = true)]
async fn each_verdict_has_its_status_in_every_form() {
    let world = World::new().await;
    assert_eq!(table(&world, "one").await, row("unknown", 424, 424), "no full round of runs");
    world.pass(&["a", "beat"]).await;
    for probe in ["a", "beat"] {
        world.control(probe).await;
    }
    world.pass(&["a", "beat"]).await;
    assert_eq!(table(&world, "one").await, row("closed", 412, 412), "not begun");

    let world = World::switched().await;
    assert_eq!(table(&world, "one").await, row("pending", 425, 200), "soaking");
    world.soak(&["a", "beat"]).await;
    assert_eq!(table(&world, "one").await, row("open", 200, 200));
    world.see("a", REFUSED.because("connection refused")).await;
    assert_eq!(table(&world, "one").await, row("pending", 425, 425), "suspect");
    world.see("a", REFUSED.because("connection refused")).await;
    assert_eq!(table(&world, "one").await, row("closed", 412, 412), "red");
    world.pass(&["a"]).await;
    world.see("beat", BLIND.because("no permission")).await;
    assert_eq!(table(&world, "one").await, row("unknown", 424, 424), "a probe is unknown");
    let due = world.ledger.clock().now().utc + chrono::TimeDelta::hours(1);
    world.see("beat", LATER.until(due, "at the full hour")).await;
    assert_eq!(table(&world, "one").await, row("pending", 425, 425), "a probe is waiting");
    assert_eq!(table(&world, "two").await.0, "unknown");
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_proof_is_not_a_soak() {
    let world = World::open().await;
    world.wish(Wish::Complete("one".into())).await;
    world.wish(Wish::Begin("two".into())).await;
    world.wish(Wish::Switch("two".into())).await;
    world.control("c").await;
    world.soak(&["a", "beat", "c"]).await;
    assert_eq!(table(&world, "two").await, row("pending", 425, 425));
}

/// The list of blockers is bounded: what is worse than a soak must stand in it.
#[tokio::test(start_paused = true)]
async fn a_suspect_probe_beyond_the_list_of_blockers_is_not_a_soak() {
    let names: Vec<String> = (0..60).map(|at| format!("p{at:02}")).collect();
    let probes = names.iter().map(|name| probe(name)).collect();
    let world = World::with(Plan::new("homelab", "60", vec![phase("one", probes)])).await;
    world.wish(Wish::Begin("one".into())).await;
    world.wish(Wish::Switch("one".into())).await;
    for name in &names {
        world.control(name).await;
        world.see(name, Outcome::pass("well")).await;
    }
    assert_eq!(table(&world, "one").await, row("pending", 425, 200));
    world.see("p59", REFUSED.because("connection refused")).await;
    assert_eq!(table(&world, "one").await, row("pending", 425, 425));
    let body = world.get("/v1/gates/one").await.json();
    assert_eq!((body["blockers"].as_array().unwrap().len(), &body["blockedBy"]), (50, &Value::from(61)));
}

#[tokio::test(start_paused = true)]
async fn a_frozen_evaluator_never_serves_an_old_green() {
    let world = World::open().await;
    let before = world.get("/v1/gates/one").await.json();
    world.freeze(Duration::from_secs(3)).await;
    assert_eq!(table(&world, "one").await, row("open", 200, 200), "3 s old is young enough");
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(table(&world, "one").await, row("unknown", 424, 424));
    let body = world.get("/v1/gates/one").await.json();
    assert_eq!(body["blockers"][0]["reason"], "not_evaluated");
    assert_eq!(body["epoch"].as_u64().unwrap(), before["epoch"].as_u64().unwrap() + 1, "the last epoch of the writer");
    assert!(body["ageSeconds"].as_f64().unwrap() > 3.0);
    assert_eq!(body["openSince"], Value::Null);
    assert!(body["probes"].as_array().unwrap().iter().all(|probe| probe["state"] == "unknown"), "{body}");
    assert_eq!(world.get("/v1/gates/one/entry/check").await.code(), 424);
    let status = world.get("/v1/status").await.json();
    assert_eq!(status["phases"][0]["verdict"], "unknown");
    assert_eq!(world.get("/v1/gates").await.json()["gates"][0]["open"], false);
}

/// A request that waited while the process was frozen is answered by what is known when the answer leaves.
#[tokio::test(start_paused = true)]
async fn a_question_is_answered_when_the_answer_leaves() {
    let world = World::open().await;
    let form = Form::Check { kind: GateKind::Gate, accept_pending: true };
    let ask = Ask { phase: "one".into(), form };
    let placeholder = ask.clone().into_response();
    assert_eq!(placeholder.status(), 503, "without its layer a handler's answer opens nothing");
    let shared = world.shared();
    assert_eq!(ask.answer(&shared).status(), 200);
    world.freeze(Duration::from_secs(4)).await;
    assert_eq!(placeholder.extensions().get::<Ask>().unwrap().answer(&shared).status(), 424);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_2xx_before_the_first_evaluation() {
    let world = World::blank();
    for path in
        ["/v1/gates", "/v1/gates/one", "/v1/gates/one/check", "/v1/gates/one/entry", "/v1/gates/one/rollback", "/v1/status"]
    {
        let answer = world.get(path).await;
        assert_eq!((answer.code(), answer.json()["code"].as_str()), (503, Some("not_ready")), "{path}");
    }
    assert_eq!(world.get("/-/ready").await.code(), 503);
    assert_eq!(world.get("/-/healthy").await.code(), 200);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_gate_is_404_and_an_unknown_accept_400() {
    let world = World::open().await;
    for path in [
        "/v1/gates/zero",
        "/v1/gates/zero/check",
        "/v1/gates/zero/entry",
        "/v1/gates/zero/entry/check",
        "/v1/gates/zero/rollback",
    ] {
        let answer = world.get(path).await;
        assert_eq!(answer.code(), 404, "{path}");
        assert!(answer.json()["message"].as_str().unwrap().contains("one, two"), "{}", answer.text);
    }
    for query in ["accept=closed", "accept=", "accept=Pending", "accept=pending&accept=closed"] {
        assert_eq!(world.get(&format!("/v1/gates/one/check?{query}")).await.code(), 400, "{query}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shut_gate_says_what_would_open_it() {
    let world = World::open().await;
    let body = world.get("/v1/gates/one").await.json();
    assert_eq!(body["reason"], "open since 12:00:10Z: every required probe is green, the soak of 10s is served");
    assert_eq!(body["nextStep"], "complete phase one: `cutover advance`");
    world.see("a", REFUSED.because("connection refused")).await;
    world.see("a", REFUSED.because("connection refused")).await;
    let body = world.get("/v1/gates/one").await.json();
    assert_eq!(body["reason"], "closed: probe a is red since 12:00:15Z (refused: connection refused); and 1 more");
    assert_eq!(body["nextStep"], "start what a looks at");
    assert_eq!(body["blockers"][0]["next"], "start what a looks at");
    world.pass(&["a"]).await;
    let body = world.get("/v1/gates/one").await.json();
    assert_eq!(
        body["reason"],
        "pending: probe a is soaking (red within the last soak + unknownBudget; leaves that window in 14s)"
    );
    assert_eq!(body["nextStep"], "wait until the soak is served; a red starts it anew");
    let two = world.get("/v1/gates/two/entry").await.json();
    assert_eq!(two["reason"], "closed: phase one is active; and 1 more");
    let world = World::new().await;
    assert_eq!(world.get("/v1/status").await.json()["nextStep"], "begin phase one: `cutover begin one`");
}

#[tokio::test(start_paused = true)]
async fn the_entry_guard_has_the_same_two_forms() {
    let world = World::new().await;
    let body = world.get("/v1/gates/one/entry").await;
    assert_eq!((body.code(), &body.json()["verdict"], &body.json()["kind"]), (200, &"open".into(), &"entry".into()));
    assert_eq!(world.get("/v1/gates/one/entry/check").await.code(), 200);
    assert_eq!(world.get("/v1/gates/two/entry").await.code(), 200);
    assert_eq!(world.post("/v1/gates/two/entry/check?accept=pending", None).await.code(), 424);
}

#[tokio::test(start_paused = true)]
async fn a_vanished_part_is_named_in_the_next_step() {
    let world = World::open().await;
    world.parts("a", &[("node-1", Outcome::pass("well")), ("node-2", Outcome::pass("well"))]).await;
    world.parts("a", &[("node-1", Outcome::pass("well"))]).await;
    let body = world.get("/v1/gates/one").await.json();
    let next = "bring the part back, or say `cutover probes forget a node-2` if it is gone for good";
    assert_eq!(body["nextStep"], next);
    assert_eq!(body["probes"][0]["parts"].as_array().unwrap().len(), 1, "lists show the trouble alone");
    let all = world.get("/v1/probes/a").await.json();
    assert_eq!(all["parts"].as_array().unwrap().len(), 2);
}

/// T7: pass means roll back, so doubt means 409.
#[tokio::test(start_paused = true)]
async fn the_rollback_hook_passes_only_on_a_latched_regression() {
    let hook = "/v1/gates/one/rollback";
    let world = World::open().await;
    assert_eq!(world.post(hook, None).await.code(), 409, "open");
    world.see("a", REFUSED.because("x")).await;
    world.see("a", REFUSED.because("x")).await;
    assert_eq!(world.post(hook, None).await.code(), 409, "closed, but the phase is not complete: nothing regressed");

    let world = World::regressed().await;
    let answer = world.post(hook, None).await;
    assert_eq!((answer.code(), answer.json()["rollBack"].as_bool()), (200, Some(true)), "{}", answer.text);
    assert_eq!(world.send(Request::head(hook).body(Body::empty()).unwrap()).await.code(), 200);
    assert_eq!(world.post("/v1/gates/two/rollback", None).await.code(), 409);
    world.pass(&["a"]).await;
    assert_eq!(world.post(hook, None).await.code(), 200, "latched: a green run does not clear it");
    world.wish(Wish::Acknowledge("one".into(), "mended".into())).await;
    assert_eq!(world.post(hook, None).await.code(), 409);

    let world = World::regressed().await;
    world.store.fail(Some(std::io::ErrorKind::StorageFull));
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(world.post(hook, None).await.code(), 409, "the ledger can not be written");

    let world = World::regressed().await;
    world.freeze(Duration::from_secs(4)).await;
    let answer = world.post(hook, None).await;
    assert_eq!((answer.code(), answer.json()["rollBack"].as_bool()), (409, Some(false)), "frozen");
}

/// T10: no status before there is a verdict, none that differs from it. T13: nothing stays in force once its reason is gone.
#[tokio::test(start_paused = true)]
async fn the_last_200_does_not_stay_in_force() {
    let world = World::open().await;
    assert_eq!(world.get("/v1/gates/one/check").await.code(), 200);
    let mut changed = plan();
    changed.phases[0].probes.remove(1);
    changed.phases[0].probes[0].hash = "another".into();
    changed.hash = "another".into();
    world.ledger.configure(std::sync::Arc::new(changed)).await.unwrap();
    assert_eq!(world.get("/v1/gates/one/check").await.code(), 424, "another probe, which has not run");
    let mut empty = plan();
    empty.phases[0].probes.clear();
    empty.hash = "empty".into();
    world.ledger.configure(std::sync::Arc::new(empty)).await.unwrap();
    let body = world.get("/v1/gates/one/check").await;
    assert_eq!((body.code(), &body.json()["blockers"][0]["reason"]), (424, &"no_probes".into()), "{}", body.text);
}

#[tokio::test(start_paused = true)]
async fn an_override_is_named_in_the_answer() {
    let world = World::open().await;
    world.see("beat", BLIND.because("no permission")).await;
    assert_eq!(world.get("/v1/gates/one/check").await.code(), 424);
    world
        .wish(Wish::Override {
            probe: "beat".into(),
            reason: "known to be blind".into(),
            ticket: None,
            ttl: Duration::from_mins(1),
        })
        .await;
    let answer = world.get("/v1/gates/one/check").await;
    assert_eq!(answer.code(), 200, "{}", answer.text);
    let body = answer.json();
    assert_eq!((&body["overridden"], &body["overrides"][0]["probe"]), (&true.into(), &"beat".into()));
    assert!(body["reason"].as_str().unwrap().contains("except 1 overridden"), "{body}");
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.pass(&["a"]).await;
    tokio::time::sleep(Duration::from_secs(58)).await;
    assert_ne!(world.get("/v1/gates/one/check").await.code(), 200, "it has expired");
}

/// A gate is asked often, so its answer does not grow with the document.
#[tokio::test(start_paused = true)]
async fn of_very_many_probes_a_gate_lists_those_that_are_not_green() {
    let names: Vec<String> = (0..150).map(|at| format!("p{at:03}")).collect();
    let probes = names.iter().map(|name| probe(name)).collect();
    let world = World::with(Plan::new("homelab", "150", vec![phase("one", probes)])).await;
    for name in names.iter().filter(|name| *name != "p149") {
        world.control(name).await;
        world.see(name, Outcome::pass("well")).await;
    }
    let body = world.get("/v1/gates/one").await.json();
    let listed = body["probes"].as_array().unwrap();
    assert_eq!((listed.len(), &body["probeCount"]), (100, &Value::from(150)));
    assert_eq!((&listed[0]["name"], &listed[1]["name"]), (&"p149".into(), &"p000".into()));
}
