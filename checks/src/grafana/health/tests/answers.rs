use serde_json::json;
use wiremock::MockServer;

use super::super::*;
use crate::net::tcp::closed_port;
use crate::testing::{Manner, Server, check, context, context_with, hasty, outcome_at, recorded};

fn health() -> GrafanaHealth {
    check(json!({"grafana": "target"}))
}

fn grafana(url: &str) -> Context {
    context_with(serde_json::from_value(json!({"grafana": {"url": url}})).unwrap())
}

async fn seen(check: &GrafanaHealth, cx: &Context) -> String {
    let outcome = outcome_at(check, cx).await;
    outcome.reason().map_or_else(|| "pass".to_owned(), ToString::to_string)
}

async fn recorded_health() -> MockServer {
    recorded(&[include_str!("../../../../testdata/grafana/health-200.json")]).await
}

#[tokio::test]
async fn a_recorded_healthy_grafana_passes_and_names_its_version() {
    let server = recorded_health().await;
    let outcome = outcome_at(&health(), &grafana(&server.uri())).await;
    assert_eq!(outcome.label(), "pass");
    assert!(outcome.evidence().as_str().ends_with("/api/health: database ok, version 10.0.0-preview"), "{outcome:?}");
}

#[tokio::test]
async fn only_a_database_that_is_ok_passes() {
    for (status, content_type, body, expected) in [
        ("200 OK", "application/json", r#"{"database":"ok"}"#, "pass"),
        ("200 OK", "application/json", r#"{"database":"failing","version":"12.3.2"}"#, "database_failing"),
        ("200 OK", "application/json", r#"{"database":true}"#, "wrong_reply"),
        ("200 OK", "application/json", r#"{"status":"ok"}"#, "wrong_reply"),
        ("200 OK", "application/json", "[]", "wrong_reply"),
        ("200 OK", "application/json", r#"{"database":"o"#, "unparsable"),
        ("200 OK", "text/plain", "Ok", "unparsable"),
        ("200 OK", "text/plain", "", "unparsable"),
        ("200 OK", "text/html", r#"{"database":"ok"}"#, "html"),
        ("200 OK", "application/json", "<!DOCTYPE html><title>Log in</title>", "html"),
        ("201 Created", "application/json", r#"{"database":"ok"}"#, "wrong_reply"),
        ("302 Found", "text/html", r#"<a href="/login">Found</a>"#, "redirect"),
        ("401 Unauthorized", "application/json", r#"{"message":"Unauthorized"}"#, "wrong_reply"),
        ("404 Not Found", "application/json", r#"{"database":"ok"}"#, "wrong_reply"),
        ("500 Oops", "application/json", r#"{"database":"ok"}"#, "server_error"),
        ("503 Service Unavailable", "application/json", r#"{"database":"failing"}"#, "database_failing"),
        ("503 Service Unavailable", "text/html", "<html>no upstream</html>", "server_error"),
    ] {
        let server = Server::http(status, content_type, body).await;
        assert_eq!(seen(&health(), &grafana(&server.url())).await, expected, "{status} {body}");
    }
}

#[tokio::test]
async fn silence_and_damage_are_told_apart() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    for (manner, expected) in [
        (Manner::Reset, "reset"),
        (Manner::Say(format!("{head}content-length: 99\r\n\r\n{{\"database\":\"ok\"}}").into_bytes()), "truncated"),
        (Manner::Repeat(format!("{head}\r\n{{\"database\":\"ok\",\"x\":\"").into_bytes(), vec![b'x'; 64 * 1024]), "too_large"),
        (Manner::Say(b"SSH-2.0-x\r\n".to_vec()), "not_http"),
    ] {
        let server = Server::start(manner).await;
        assert_eq!(seen(&health(), &grafana(&server.url())).await, expected);
    }
    let mute = Server::start(Manner::Hold(Vec::new())).await;
    assert_eq!(seen(&health(), &hasty(grafana(&mute.url()))).await, "timeout");
    let closed = closed_port().unwrap();
    assert_eq!(seen(&health(), &grafana(&format!("http://{}", closed.local_addr().unwrap()))).await, "refused");
    assert_eq!(seen(&health(), &context()).await, "target_missing");
}

#[tokio::test]
async fn another_version_than_expected_fails_and_a_hidden_one_is_unknown() {
    for (version, expected, seen_as) in [
        ("12.3.2", "12.", "pass"),
        ("12.3.2", "12.3", "pass"),
        ("12.3.2", "12.3.2", "pass"),
        ("12.30.2", "12.3", "wrong_version"),
        ("11.6.0", "12.", "wrong_version"),
        ("", "12.", "version_hidden"),
    ] {
        let body = json!({"database": "ok", "version": version}).to_string();
        let server = Server::http("200 OK", "application/json", &body).await;
        let check = check(json!({"grafana": "target", "version": expected}));
        assert_eq!(seen(&check, &grafana(&server.url())).await, seen_as, "{version} {expected}");
        assert_eq!(Check::validate(&check), []);
    }
    assert_eq!(Check::validate(&check::<GrafanaHealth>(json!({"grafana": "target", "version": "v12"}))).len(), 1);
}

#[tokio::test]
async fn the_control_fails_with_its_own_reason_only_at_a_server_that_can_tell() {
    let health_only = recorded_health().await;
    let denied = Server::http("401 Unauthorized", "application/json", r#"{"message":"Unauthorized"}"#).await;
    for url in [health_only.uri(), denied.url()] {
        let control = Check::control(&health(), &grafana(&url), Memory::default()).await;
        assert_eq!(control.reason(), Some(&WRONG_REPLY.into()), "{control:?}");
    }
    let parrot = Server::http("200 OK", "application/json", r#"{"database":"ok"}"#).await;
    assert_eq!(Check::control(&health(), &grafana(&parrot.url()), Memory::default()).await.label(), "pass");
}
