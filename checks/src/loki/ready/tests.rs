use serde_json::json;
use wiremock::matchers::{header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::net::tcp::closed_port;
use crate::target::Target;
use crate::testing::{Manner, Server, check, context, context_with, hasty, part, report_of};

fn ready() -> LokiReady {
    check(json!({"loki": "target"}))
}

fn loki(url: &str) -> Context {
    context_with(serde_json::from_value(json!({"loki": {"url": url}})).unwrap())
}

fn with_gateway(url: &str, gateway: &str) -> Context {
    context_with(serde_json::from_value(json!({"loki": {"url": url, "gateway": gateway}})).unwrap())
}

async fn direct(cx: &Context) -> String {
    reason(&part(&report_of(&ready(), cx).await, DIRECT))
}

fn reason(outcome: &Outcome) -> String {
    outcome.reason().map_or_else(|| "pass".to_owned(), ToString::to_string)
}

/// A server that gives a recorded reply at the path where it was recorded.
async fn recorded(recording: &str) -> MockServer {
    let recording: Value = serde_json::from_str(recording).unwrap();
    let server = MockServer::start().await;
    let body = recording["body"].as_str().map_or_else(|| recording["body"].to_string(), str::to_owned);
    let status = recording["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap();
    let content_type = recording["headers"]["content-type"].as_str().unwrap();
    let reply = ResponseTemplate::new(status).set_body_raw(body, content_type);
    Mock::given(method("GET")).and(path(recording["path"].as_str().unwrap())).respond_with(reply).mount(&server).await;
    server
}

#[tokio::test]
async fn recorded_replies_are_told_apart() {
    for (recording, expected) in [
        (include_str!("../../../testdata/loki/ready-200.json"), "pass"),
        (include_str!("../../../testdata/loki/ready-503-services-starting.json"), "starting"),
        (include_str!("../../../testdata/loki/ready-503-ingester-15s.json"), "ingester_waiting"),
        (include_str!("../../../testdata/loki/ready-503-stopping.json"), "stopping"),
    ] {
        let server = recorded(recording).await;
        assert_eq!(direct(&loki(&server.uri())).await, expected);
    }
}

#[tokio::test]
async fn the_evidence_quotes_lokis_own_words() {
    let server = recorded(include_str!("../../../testdata/loki/ready-503-services-starting.json")).await;
    let outcome = part(&report_of(&ready(), &loki(&server.uri())).await, DIRECT);
    assert!(outcome.evidence().as_str().contains("Starting: 5"), "{outcome:?}");
}

#[tokio::test]
async fn only_lokis_own_word_is_ready() {
    for (status, content_type, body, expected) in [
        ("200 OK", "text/plain", "ready\n", "pass"),
        ("200 OK", "text/plain", "not ready", "wrong_reply"),
        ("200 OK", "text/plain", "", "wrong_reply"),
        ("200 OK", "text/html", "ready", "html"),
        ("200 OK", "text/plain", "<html>ready</html>", "html"),
        ("204 No Content", "text/plain", "", "wrong_reply"),
        ("404 Not Found", "text/plain", "ready", "wrong_reply"),
        ("302 Found", "text/plain", "ready", "redirect"),
        ("401 Unauthorized", "text/plain", "no org id", "denied"),
        ("502 Bad Gateway", "text/html", "<html>nginx</html>", "server_error"),
        ("503 Service Unavailable", "text/plain", "no available server", "server_error"),
    ] {
        let server = Server::http(status, content_type, body).await;
        assert_eq!(direct(&loki(&server.url())).await, expected, "{status} {body}");
    }
}

#[tokio::test]
async fn silence_and_damage_are_told_apart() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
    for (manner, expected) in [
        (Manner::Reset, "reset"),
        (Manner::Say(format!("{head}read").into_bytes()), "truncated"),
        (Manner::Say(b"\x00\x01garbage\r\n".to_vec()), "not_http"),
    ] {
        let server = Server::start(manner).await;
        assert_eq!(direct(&loki(&server.url())).await, expected);
    }
    let mute = Server::start(Manner::Hold(Vec::new())).await;
    assert_eq!(direct(&hasty(loki(&mute.url()))).await, "timeout");
    let closed = closed_port().unwrap();
    assert_eq!(direct(&loki(&format!("http://{}", closed.local_addr().unwrap()))).await, "refused");
    assert_eq!(direct(&context()).await, "target_missing");
}

#[tokio::test]
async fn a_ready_loki_behind_a_broken_gateway_is_seen() {
    let direct = recorded(include_str!("../../../testdata/loki/ready-200.json")).await;
    for (content_type, body, expected) in [
        ("application/json", r#"{"status":"success"}"#, "pass"),
        ("application/json", r#"{"status":"error","error":"x"}"#, "wrong_reply"),
        ("application/json", r#"{"status":"success","data":"x"}"#, "wrong_reply"),
        ("application/json", r#"{"status":"succ"#, "unparsable"),
        ("text/html", "<html>Log in</html>", "html"),
        ("text/plain", "ready", "unparsable"),
    ] {
        let gateway = Server::http("200 OK", content_type, body).await;
        let report = report_of(&ready(), &with_gateway(&direct.uri(), &gateway.url())).await;
        assert_eq!(reason(&part(&report, DIRECT)), "pass");
        assert_eq!(reason(&part(&report, GATEWAY)), expected, "{body}");
        assert_eq!(report.measures.len(), 2);
    }
    let gateway = recorded(include_str!("../../../testdata/loki/labels-200.json")).await;
    let report = report_of(&ready(), &with_gateway(&direct.uri(), &gateway.uri())).await;
    assert_eq!(reason(&part(&report, GATEWAY)), "pass");
}

#[tokio::test]
async fn the_tenant_is_sent_and_a_base_path_is_kept() {
    let server = MockServer::start().await;
    let tenant = header("x-scope-orgid", "homelab");
    Mock::given(path("/prefix/ready"))
        .and(tenant)
        .respond_with(ResponseTemplate::new(200).set_body_string("ready"))
        .mount(&server)
        .await;
    for base in ["prefix", "prefix/"] {
        let target: Target =
            serde_json::from_value(json!({"loki": {"url": format!("{}/{base}", server.uri()), "tenant": "homelab"}})).unwrap();
        assert_eq!(direct(&context_with(target)).await, "pass");
    }
    let target = serde_json::from_value(json!({"loki": {"url": server.uri(), "tenant": "a\nb"}})).unwrap();
    assert_eq!(direct(&context_with(target)).await, "bad_tenant");
}

#[tokio::test]
async fn the_control_fails_with_its_own_reason_only_at_a_server_that_can_tell() {
    let honest = recorded(include_str!("../../../testdata/loki/ready-200.json")).await;
    let control = Check::control(&ready(), &loki(&honest.uri()), ()).await;
    assert_eq!(control.reason(), Some(&WRONG_REPLY.into()), "{control:?}");
    let parrot = Server::http("200 OK", "text/plain", "ready").await;
    assert_eq!(Check::control(&ready(), &loki(&parrot.url()), ()).await.label(), "pass");
    let parrot = Server::http("200 OK", "application/json", r#"{"status":"success"}"#).await;
    let control = Check::control(&ready(), &with_gateway(&honest.uri(), &parrot.url()), ()).await;
    assert_eq!(control.label(), "pass");
}
