//! What changes state: who may, what is refused, and how it says so.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use super::world::{OPERATOR, REFUSED, World};
use crate::api::app;
use crate::auth::Auth;
use crate::event::Wish;

const WRITES: [(&str, &str); 15] = [
    ("POST", "/v1/phases/one/begin"),
    ("POST", "/v1/phases/one/switch"),
    ("POST", "/v1/phases/one/complete"),
    ("POST", "/v1/phases/one/rollback"),
    ("POST", "/v1/phases/one/adopt"),
    ("POST", "/v1/regressions/one/ack"),
    ("POST", "/v1/overrides"),
    ("DELETE", "/v1/overrides/1"),
    ("PUT", "/v1/facts/baseline"),
    ("POST", "/v1/probes/a/run"),
    ("POST", "/v1/probes/a/forget/node"),
    ("POST", "/v1/probes/beat/heartbeat"),
    ("POST", "/-/reload"),
    ("POST", "/v1/phases/nowhere/begin"),
    ("POST", "/v1/probes/nowhere/run"),
];

#[tokio::test(start_paused = true)]
async fn a_token_is_told_who_it_is_and_nothing_else() {
    let mut world = World::new().await;
    for (token, name, role, covers) in [
        (OPERATOR, "ann", "operate", json!(["read", "heartbeat", "operate"])),
        ("a-heartbeat-senders-token", "cron", "heartbeat", json!(["read", "heartbeat"])),
        ("a-dashboards-long-token", "board", "read", json!(["read"])),
        ("an-approvers-long-token", "boss", "approve", json!(["read", "approve"])),
    ] {
        let answer = world.tell("GET", "/v1/token", Some(token), None).await;
        assert_eq!((answer.code(), answer.json()), (200, json!({"name": name, "role": role, "covers": covers})));
    }
    for (token, code) in [(None, "token_missing"), (Some("not-a-token-of-this-verifier"), "token_invalid")] {
        let answer = world.tell("GET", "/v1/token", token, None).await;
        assert_eq!((answer.code(), &answer.json()["code"]), (401, &code.into()));
        assert!(answer.headers.contains_key("www-authenticate"));
    }
    world.state.auth = Auth::disabled();
    world.router = app(world.state.clone()).0;
    let answer = world.tell("GET", "/v1/token", Some(OPERATOR), None).await;
    assert_eq!((answer.code(), &answer.json()["code"]), (403, &"writes_disabled".into()));
}

#[tokio::test(start_paused = true)]
async fn nobody_writes_without_a_token_of_the_right_role() {
    let mut world = World::new().await;
    let before = world.ledger.audit(0, 100).await.unwrap().unwrap();
    for (method, path) in WRITES {
        let beats = path.ends_with("/heartbeat");
        for (token, expected) in [
            (None, 401),
            (Some("not-a-token-of-this-verifier"), 401),
            (Some("a-dashboards-long-token"), 403),
            (Some("an-approvers-long-token"), 403),
            (Some("a-heartbeat-senders-token"), if beats { 200 } else { 403 }),
        ] {
            let answer = world.tell(method, path, token, None).await;
            assert_eq!(answer.code(), expected, "{method} {path} with {token:?}: {}", answer.text);
            assert_eq!(answer.headers.contains_key("www-authenticate"), expected == 401);
            assert!(answer.json()["message"].is_string());
        }
    }
    world.state.auth = Auth::disabled();
    world.router = app(world.state.clone()).0;
    for (method, path) in WRITES {
        let answer = world.tell(method, path, Some(OPERATOR), None).await;
        assert_eq!((answer.code(), &answer.json()["code"]), (403, &"writes_disabled".into()), "{method} {path}");
    }
    let after = world.ledger.audit(0, 100).await.unwrap().unwrap();
    assert_eq!(serde_json::to_value(after).unwrap(), serde_json::to_value(before).unwrap(), "nothing happened");
    assert!(world.woken.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_migration_is_moved_over_the_api() {
    let world = World::new().await;
    let begun = world.post("/v1/phases/one/begin", None).await;
    assert_eq!((begun.code(), &begun.json()["phase"]["state"]), (200, &"active".into()), "{}", begun.text);
    assert_eq!(begun.json()["phase"]["begun"]["by"], "ann", "the token's name is the actor");
    assert_eq!(world.post("/v1/phases/one/begin", None).await.code(), 409);
    assert_eq!(world.post("/v1/phases/one/switch", None).await.code(), 200);
    for probe in ["a", "beat"] {
        world.control(probe).await;
    }
    world.soak(&["a", "beat"]).await;
    let done = world.post("/v1/phases/one/complete", None).await;
    assert_eq!((done.code(), &done.json()["phase"]["state"]), (200, &"complete".into()), "{}", done.text);
    let back = world.post("/v1/phases/one/rollback", Some(json!({"reason": "second thoughts"}))).await;
    assert_eq!((back.code(), &back.json()["phase"]["state"]), (200, &"waiting".into()), "{}", back.text);
    let adopted = world.post("/v1/phases/one/adopt", Some(json!({"reason": "done by hand in February"}))).await;
    assert_eq!((adopted.code(), &adopted.json()["phase"]["adopted"]), (200, &"done by hand in February".into()));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_what_would_be_taken() {
    let world = World::switched().await;
    let refused = |answer: &super::world::Answer| {
        let body = answer.json();
        (answer.code(), body["code"].as_str().unwrap().to_owned(), body["verdict"].clone())
    };
    let soaking = world.post("/v1/phases/one/complete", None).await;
    assert_eq!(refused(&soaking), (425, "gate_pending".into(), "pending".into()));
    assert_eq!(soaking.json()["blockers"][0]["reason"], "soaking");
    assert_eq!(soaking.json()["hint"], "wait until the soak is served; a red starts it anew");
    world.see("a", REFUSED.because("connection refused")).await;
    world.see("a", REFUSED.because("connection refused")).await;
    let red = world.post("/v1/phases/one/complete", None).await;
    assert_eq!(refused(&red), (412, "gate_closed".into(), "closed".into()));
    assert_eq!(red.json()["hint"], "start what a looks at");
    tokio::time::sleep(Duration::from_secs(30)).await;
    let stale = world.post("/v1/phases/one/complete", None).await;
    assert_eq!(refused(&stale), (424, "gate_unknown".into(), "unknown".into()));

    assert_eq!(refused(&world.post("/v1/phases/one/begin", None).await), (409, "conflict".into(), Value::Null));
    assert_eq!(refused(&world.post("/v1/phases/zero/begin", None).await), (404, "not_found".into(), Value::Null));
    let silent = world.post("/v1/phases/one/rollback", Some(json!({"reason": "  "}))).await;
    assert_eq!(refused(&silent), (422, "invalid".into(), Value::Null));
    world.store.fail(Some(std::io::ErrorKind::StorageFull));
    let full = world.post("/v1/phases/one/rollback", Some(json!({"reason": "x"}))).await;
    assert_eq!(refused(&full), (507, "not_durable".into(), Value::Null));
    assert_eq!(world.get("/v1/status").await.json()["phases"][0]["state"], "active", "nothing was changed");
    world.freeze(Duration::ZERO).await;
    assert_eq!(refused(&world.post("/v1/phases/one/begin", None).await), (503, "stopped".into(), Value::Null));
}

#[tokio::test(start_paused = true)]
async fn bodies_are_json_and_bounded() {
    let world = World::switched().await;
    let send = |kind: &'static str, body: String| {
        let request = Request::post("/v1/phases/one/rollback").header("authorization", format!("Bearer {OPERATOR}"));
        world.send(request.header("content-type", kind).body(Body::from(body)).unwrap())
    };
    let json = "application/json";
    assert_eq!(send("text/plain", r#"{"reason":"x"}"#.into()).await.code(), 415);
    assert_eq!(send(json, "{".into()).await.code(), 400);
    assert_eq!(send(json, String::new()).await.code(), 400);
    assert_eq!(send(json, r#"{"reason":"x","reson":"y"}"#.into()).await.code(), 422);
    let huge = send(json, format!(r#"{{"reason":"{}"}}"#, "x".repeat(256 * 1024))).await;
    assert_eq!((huge.code(), huge.json()["code"].as_str()), (413, Some("too_large")));
    assert_eq!(send("application/json; charset=utf-8", r#"{"reason":"x"}"#.into()).await.code(), 200);
}

#[tokio::test(start_paused = true)]
async fn overrides_come_and_go() {
    let world = World::new().await;
    let wish = json!({"probe": "a", "reason": "flaky switch", "ttlSeconds": 600});
    let made = world.post("/v1/overrides", Some(wish.clone())).await;
    assert_eq!((made.code(), &made.json()["id"]), (201, &0.into()), "{}", made.text);
    let listed = world.get("/v1/overrides").await.json();
    assert_eq!((&listed["overrides"][0]["by"], &listed["overrides"][0]["remainingSeconds"]), (&"ann".into(), &600.0.into()));
    assert_eq!(world.tell("DELETE", "/v1/overrides/0", Some(OPERATOR), None).await.code(), 200);
    assert_eq!(world.tell("DELETE", "/v1/overrides/0", Some(OPERATOR), None).await.code(), 404);
    assert_eq!(world.tell("DELETE", "/v1/overrides/x", Some(OPERATOR), None).await.code(), 400);
    assert_eq!(world.get("/v1/overrides").await.json()["overrides"], json!([]));
    let forever = json!({"probe": "a", "reason": "x", "ttlSeconds": u64::MAX});
    assert_eq!(world.post("/v1/overrides", Some(forever)).await.code(), 422);
}

#[tokio::test(start_paused = true)]
async fn facts_are_immutable() {
    let world = World::new().await;
    let put = |value: Value| world.tell("PUT", "/v1/facts/baseline", Some(OPERATOR), Some(value));
    assert_eq!(world.get("/v1/facts/baseline").await.code(), 404);
    assert_eq!(put(json!({"rows": 7})).await.code(), 200);
    assert_eq!(put(json!({"rows": 7})).await.code(), 200);
    assert_eq!(put(json!({"rows": 8})).await.code(), 409);
    let fact = world.get("/v1/facts/baseline").await.json();
    assert_eq!((&fact["value"]["rows"], &fact["stamp"]["by"]), (&7.into(), &"ann".into()));
    let listed = world.get("/v1/facts").await.json();
    assert_eq!((&listed["facts"][0]["name"], &listed["facts"][0]["stamp"]["by"]), (&"baseline".into(), &"ann".into()));
    assert_eq!((listed["facts"].as_array().unwrap().len(), listed["facts"][0].get("value")), (1, None));
}

#[tokio::test(start_paused = true)]
async fn heartbeats_reach_their_probe_only() {
    let world = World::new().await;
    let beat = |path: &'static str, body: Option<Value>| world.tell("POST", path, Some("a-heartbeat-senders-token"), body);
    assert_eq!(beat("/v1/probes/a/heartbeat", None).await.code(), 409);
    assert_eq!(beat("/v1/probes/zero/heartbeat", None).await.code(), 404);
    assert_eq!(beat("/v1/probes/beat/heartbeat", Some(json!({"faled": true}))).await.code(), 422);
    assert!(world.beats.get("beat", world.ledger.clock().now()).is_none());
    assert_eq!(beat("/v1/probes/beat/heartbeat", None).await.code(), 200);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let seen = world.beats.get("beat", world.ledger.clock().now()).unwrap();
    assert_eq!((seen.age, seen.passed, seen.from.as_str()), (Duration::from_secs(5), true, "cron"));
    assert_eq!(beat("/v1/probes/beat/heartbeat", Some(json!({"failed": true, "note": "a\nb"}))).await.code(), 200);
    let seen = world.beats.get("beat", world.ledger.clock().now()).unwrap();
    assert_eq!((seen.age, seen.passed, seen.note.as_str()), (Duration::ZERO, false, "a b"));
}

#[tokio::test(start_paused = true)]
async fn a_run_is_asked_for_and_a_part_forgotten() {
    let world = World::new().await;
    assert_eq!(world.post("/v1/probes/a/run", None).await.code(), 202);
    assert_eq!(world.post("/v1/probes/zero/run", None).await.code(), 404);
    assert_eq!(*world.woken.lock(), ["a"]);
    let well = checks::Outcome::pass("well");
    world.parts("a", &[("ns/pod 1", well.clone()), ("n", well.clone())]).await;
    assert_eq!(world.post("/v1/probes/a/forget/gone", None).await.code(), 404);
    assert_eq!(world.post("/v1/probes/a/forget/ns%2Fpod%201", None).await.code(), 200);
    world.parts("a", &[("n", well)]).await;
    assert_eq!(world.get("/v1/probes/a").await.json()["parts"].as_array().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_acknowledged_regression_is_in_the_audit_trail() {
    let world = World::regressed().await;
    assert_eq!(world.get("/v1/status").await.json()["phases"][0]["regressed"][0]["probe"], "a");
    assert_eq!(world.post("/v1/regressions/one/ack", Some(json!({"reason": "cable"}))).await.code(), 200);
    assert_eq!(world.post("/v1/regressions/one/ack", Some(json!({"reason": "cable"}))).await.code(), 409);
    let trail = world.get("/v1/audit?limit=1000").await;
    assert_eq!(trail.code(), 200);
    for event in ["configLoaded", "phaseBegun", "regressionLatched", "regressionAcknowledged"] {
        assert!(trail.text.contains(event), "{event}: {}", trail.text);
    }
    assert_eq!(world.get("/v1/audit?from=x").await.code(), 400);
}

#[tokio::test(start_paused = true)]
async fn a_token_file_is_read_again() {
    let world = World::new().await;
    std::fs::write(world.tokens(), "eve operate a-new-operators-token\n").unwrap();
    assert_eq!(world.post("/v1/probes/a/run", None).await.code(), 401);
    assert_eq!(world.tell("POST", "/v1/probes/a/run", Some("a-new-operators-token"), None).await.code(), 202);
    world.wish(Wish::Begin("one".into())).await;
}
