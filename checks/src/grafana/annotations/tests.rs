use serde_json::json;
use wiremock::matchers::{body_json, header, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::testing::{Manner, Server, context};

/// A secret that every process has.
fn desk(url: &str) -> Desk {
    Desk { url: Url::parse(url).unwrap(), token: SecretRef::File("/proc/self/comm".into()) }
}

fn token() -> String {
    std::fs::read_to_string("/proc/self/comm").unwrap().trim().to_owned()
}

fn mark() -> Mark {
    Mark {
        at: DateTime::from_timestamp_millis(1_795_365_900_123).unwrap(),
        text: "phase loki of migration homelab: begun by ann".to_owned(),
        key: "phasegate-event:12-0123456789abcdef".to_owned(),
        tags: vec!["phasegate".to_owned(), "phase:loki".to_owned()],
    }
}

fn found(tags: &[&str]) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!([{"id": 1, "time": 1_795_365_900_123_i64, "tags": tags, "text": "x"}]))
}

async fn answers(server: &MockServer, verb: &str, answer: ResponseTemplate) {
    Mock::given(method(verb)).and(path("/api/annotations")).respond_with(answer).mount(server).await;
}

#[tokio::test]
async fn a_mark_is_made_once_with_its_moment_and_all_its_tags() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path("/grafana/api/annotations"))
        .and(header("authorization", format!("Bearer {}", token())))
        .and(query_param("limit", "1000"))
        .and(query_param("from", "1795365899123"))
        .and(query_param("to", "1795365901123"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!([])))
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .and(path("/grafana/api/annotations"))
        .and(header("authorization", format!("Bearer {}", token())))
        .and(body_json(json!({
            "time": 1_795_365_900_123_i64,
            "tags": ["phasegate", "phase:loki", "phasegate-event:12-0123456789abcdef"],
            "text": "phase loki of migration homelab: begun by ann",
        })))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"message": "Annotation added", "id": 1})))
        .expect(1)
        .mount(&server)
        .await;
    // A Grafana may be served below a path of its own.
    let desk = desk(&format!("{}/grafana/", server.uri()));
    assert_eq!(desk.mark(&context().clients, &mark()).await, Ok(Marked::Now));
}

#[tokio::test]
async fn what_is_there_is_not_made_again_and_what_only_looks_like_it_is_none() {
    let cx = context();
    for (tags, expected) in
        [(&["phasegate", "phasegate-event:12-0123456789abcdef"][..], Marked::Before), (&["phasegate"], Marked::Now)]
    {
        let server = MockServer::start().await;
        answers(&server, "GET", found(tags)).await;
        let posts = u64::from(expected == Marked::Now);
        let made = ResponseTemplate::new(200).set_body_json(json!({"id": 1}));
        Mock::given(method("POST")).respond_with(made).expect(posts).mount(&server).await;
        assert_eq!(desk(&server.uri()).mark(&cx.clients, &mark()).await, Ok(expected), "{tags:?}");
    }
}

#[tokio::test]
async fn what_is_missing_is_named_with_the_call() {
    let cx = context();
    let denied =
        || ResponseTemplate::new(403).set_body_json(json!({"message": "Permissions needed: x", "title": "Access denied"}));
    let server = MockServer::start().await;
    answers(&server, "GET", ResponseTemplate::new(200).set_body_json(json!([]))).await;
    answers(&server, "POST", denied()).await;
    let desk = desk(&server.uri());
    for trouble in [desk.mark(&cx.clients, &mark()).await.unwrap_err(), desk.may_mark(&cx.clients).await.unwrap_err()] {
        assert_eq!(trouble.reason, PERMISSION_MISSING.into());
        assert!(trouble.evidence.starts_with("POST /api/annotations needs annotations:create: "), "{trouble:?}");
        assert!(trouble.next.contains("the role Editor") && !trouble.alone, "{trouble:?}");
    }
    server.reset().await;
    answers(&server, "GET", denied()).await;
    let trouble = desk.mark(&cx.clients, &mark()).await.unwrap_err();
    assert!(trouble.evidence.starts_with("GET /api/annotations needs annotations:read: "), "{trouble:?}");
}

#[tokio::test]
async fn whether_marks_can_be_made_is_seen_without_making_one() {
    let cx = context();
    for (status, body, taken) in [
        (400, json!({"message": "Failed to save annotation"}), Some(false)),
        (200, json!({"id": 3, "message": "Annotation added"}), Some(true)),
        (400, json!(["another server"]), None),
        (200, json!({}), None),
        (401, json!({"message": "Unauthorized"}), None),
        (500, json!({"message": "database is locked"}), None),
    ] {
        let server = MockServer::start().await;
        let answer = ResponseTemplate::new(status).set_body_json(&body);
        Mock::given(method("POST")).and(body_json(json!({"tags": [], "text": ""}))).respond_with(answer).mount(&server).await;
        assert_eq!(desk(&server.uri()).may_mark(&cx.clients).await.ok(), taken, "{status} {body}");
    }
}

#[tokio::test]
async fn whatever_answers_it_is_never_taken_for_a_mark() {
    let cx = context();
    let page = || ResponseTemplate::new(200).set_body_raw("<!doctype html><title>Grafana</title>", "text/html");
    let json = |status, body: Value| ResponseTemplate::new(status).set_body_json(body);
    for (answer, reason, alone) in [
        (page(), "html", false),
        (json(200, json!({"message": "hello"})), "wrong_reply", false),
        (ResponseTemplate::new(200).set_body_raw("{", "application/json"), "unparsable", false),
        (json(401, json!({"message": "Unauthorized"})), "token_refused", false),
        (json(404, json!({"message": "Not found"})), "wrong_reply", false),
        (json(400, json!({"message": "tags too long"})), "not_taken", true),
        (json(502, json!({})), "server_error", false),
        (ResponseTemplate::new(302).insert_header("location", "/login"), "redirect", false),
    ] {
        let server = MockServer::start().await;
        answers(&server, "GET", json(200, json!([]))).await;
        answers(&server, "POST", answer).await;
        let trouble = desk(&server.uri()).mark(&cx.clients, &mark()).await.unwrap_err();
        assert_eq!((trouble.reason.as_str(), trouble.alone), (reason, alone), "{trouble:?}");
        assert!(trouble.next.len() > 10 && !trouble.next.starts_with("look at the log of the Grafana"), "{trouble:?}");
        let server = MockServer::start().await;
        answers(&server, "GET", json(200, json!({"message": "not a list"}))).await;
        answers(&server, "POST", json(200, json!({"id": 1}))).await;
        assert_eq!(desk(&server.uri()).mark(&cx.clients, &mark()).await.unwrap_err().reason.as_str(), "wrong_reply");
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_and_a_secret_that_is_not_there_are_told() {
    let cx = context();
    let silent = Server::start(Manner::Hold(Vec::new())).await;
    tokio::time::pause();
    let trouble = desk(&silent.url()).mark(&cx.clients, &mark()).await.unwrap_err();
    assert_eq!(trouble.reason.as_str(), "timeout");
    assert!(!trouble.next.contains("`timeout`"), "there is none to raise: {}", trouble.next);
    tokio::time::resume();
    let gone = desk("http://127.0.0.1:1").mark(&cx.clients, &mark()).await.unwrap_err();
    assert_eq!(gone.reason.as_str(), "refused");
    let unset = Desk { token: SecretRef::Env("PHASEGATE_NO_SUCH_TOKEN".into()), ..desk("http://127.0.0.1:1") };
    let trouble = unset.mark(&cx.clients, &mark()).await.unwrap_err();
    assert_eq!(trouble.reason.as_str(), "secret_missing");
    assert!(trouble.evidence.contains("PHASEGATE_NO_SUCH_TOKEN"), "{trouble:?}");
}

#[tokio::test]
async fn a_token_that_is_repeated_is_not_shown() {
    let server = Server::http("500 Oops", "text/plain", &format!("what is Bearer {}?", token())).await;
    let trouble = desk(&server.url()).mark(&context().clients, &mark()).await.unwrap_err();
    assert!(trouble.evidence.ends_with("what is Bearer ***?"), "{trouble:?}");
}
