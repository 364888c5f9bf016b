use serde_json::json;

use super::*;
use crate::testing::{Manner, Server, check, context, hasty_outcome_of, outcome_of, part, report_of, silent_address};

use super::super::tcp::closed_port;

fn http(url: &str) -> Http {
    check(json!({"url": url}))
}

fn with_json(url: &str) -> Http {
    check(json!({"url": url, "json": {"pointer": "/database", "equals": "ok"}}))
}

async fn reason(check: &Http) -> String {
    outcome_of(check).await.reason().map_or_else(|| "pass".to_owned(), ToString::to_string)
}

#[tokio::test]
async fn the_listed_status_passes_and_is_timed() {
    let server = Server::http("200 OK", "text/plain", "all well").await;
    let report = report_of(&http(&server.url()), &context()).await;
    assert_eq!(part(&report, PartId::WHOLE).label(), "pass");
    assert_eq!(report.measures.len(), 1);
}

#[tokio::test]
async fn another_status_fails_with_a_reason_of_its_own() {
    for (status, expected) in [
        ("500 Oops", "wrong_status"),
        ("204 No Content", "wrong_status"),
        ("401 Unauthorized", "denied"),
        ("403 Forbidden", "denied"),
        ("302 Found", "redirect"),
    ] {
        let server = Server::http(status, "text/plain", "").await;
        assert_eq!(reason(&http(&server.url())).await, expected);
        let code: u16 = status.get(..3).unwrap().parse().unwrap();
        assert_eq!(reason(&check(json!({"url": server.url(), "status": [code]}))).await, "pass");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_its_query_is_not_shown() {
    let there = Server::http("200 OK", "text/plain", "").await;
    let head = format!("HTTP/1.1 302 Found\r\nlocation: {}/login?code=hunter2\r\ncontent-length: 0\r\n\r\n", there.url());
    let here = Server::start(Manner::Say(head.into_bytes())).await;
    let outcome = outcome_of(&http(&here.url())).await;
    assert_eq!(outcome.reason(), Some(&fetch::REDIRECT.into()));
    assert!(outcome.evidence().as_str().contains("/login"), "{outcome:?}");
    assert!(!outcome.evidence().as_str().contains("hunter2"), "{outcome:?}");
}

#[tokio::test]
async fn text_and_values_are_compared() {
    let server = Server::http("200 OK", "application/json", r#"{"database": "ok", "version": "1"}"#).await;
    let url = server.url();
    assert_eq!(reason(&check(json!({"url": url, "contains": "database"}))).await, "pass");
    assert_eq!(reason(&check(json!({"url": url, "contains": "databases"}))).await, "missing_text");
    assert_eq!(reason(&with_json(&url)).await, "pass");
    let pointing = |pointer: &str, equals: Value| check(json!({"url": url, "json": {"pointer": pointer, "equals": equals}}));
    assert_eq!(reason(&pointing("/database", json!("failing"))).await, "wrong_value");
    assert_eq!(reason(&pointing("/version", json!(1))).await, "wrong_value");
    assert_eq!(reason(&pointing("/nothing", json!(null))).await, "wrong_value");
}

#[tokio::test]
async fn a_web_page_instead_of_data_is_another_server() {
    for content_type in ["text/html; charset=utf-8", "text/plain"] {
        let server = Server::http("200 OK", content_type, "\n<!DOCTYPE html><title>Log in</title>").await;
        assert_eq!(reason(&with_json(&server.url())).await, "html");
    }
}

#[tokio::test]
async fn damage_is_unknown() {
    let broken = Server::http("200 OK", "application/json", r#"{"database": "o"#).await;
    assert_eq!(reason(&with_json(&broken.url())).await, "unparsable");
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n";
    let cut = Server::start(Manner::Say(format!("{head}{}", r#"{"database": "ok"}"#).into_bytes())).await;
    assert_eq!(reason(&with_json(&cut.url())).await, "truncated");
    assert_eq!(reason(&http(&cut.url())).await, "truncated");
}

#[tokio::test]
async fn an_endless_reply_is_not_read_to_the_end() {
    let head = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    let server = Server::start(Manner::Repeat(head, vec![b'x'; 1 << 16])).await;
    let outcome = outcome_of(&http(&server.url())).await;
    assert_eq!(outcome.reason(), Some(&fetch::TOO_LARGE.into()));
}

#[tokio::test]
async fn the_status_alone_condemns_a_reply_that_is_cut_short() {
    let server = Server::start(Manner::Say(b"HTTP/1.1 500 Oops\r\ncontent-length: 9\r\n\r\nbroken".to_vec())).await;
    let outcome = outcome_of(&http(&server.url())).await;
    assert_eq!(outcome.reason(), Some(&WRONG_STATUS.into()));
    assert!(outcome.evidence().as_str().contains("broken"), "{outcome:?}");
}

#[tokio::test]
async fn silence_of_the_target_fails() {
    let mute = Server::start(Manner::Hold(Vec::new())).await;
    let slow = Server::start(Manner::Hold(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nslow".to_vec())).await;
    let (_held, hole) = silent_address().await;
    for url in [mute.url(), slow.url(), format!("http://{hole}")] {
        assert_eq!(hasty_outcome_of(&http(&url)).await.reason(), Some(&reasons::TIMEOUT.into()), "{url}");
    }
}

#[tokio::test]
async fn a_connection_that_is_refused_or_cut_fails() {
    let closed = closed_port().unwrap();
    assert_eq!(reason(&http(&format!("http://{}", closed.local_addr().unwrap()))).await, "refused");
    let cut = Server::start(Manner::Reset).await;
    assert_eq!(reason(&http(&cut.url())).await, "reset");
    let mute = Server::start(Manner::Say(Vec::new())).await;
    assert_eq!(reason(&http(&mute.url())).await, "reset");
}

#[tokio::test]
async fn another_protocol_fails() {
    let ssh = Server::start(Manner::Say(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec())).await;
    assert_eq!(reason(&http(&ssh.url())).await, "not_http");
    let plain = Server::http("200 OK", "text/plain", "no TLS here").await;
    assert_eq!(reason(&http(&format!("https://{}", plain.address))).await, "tls");
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_unknown() {
    assert_eq!(outcome_of(&http("http://no-such-host.invalid/")).await.label(), "unknown");
}

#[tokio::test]
async fn secrets_are_sent_but_never_shown() {
    let path = std::env::temp_dir().join(format!("phasegate-header-{}", std::process::id()));
    std::fs::write(&path, "hunter2hunter2\n").unwrap();
    let server = wiremock::MockServer::start().await;
    let echo = wiremock::ResponseTemplate::new(500).set_body_string("you sent hunter2hunter2");
    wiremock::Mock::given(wiremock::matchers::header("x-api-key", "hunter2hunter2")).respond_with(echo).mount(&server).await;
    let asked: Http =
        check(json!({"url": server.uri(), "headers": {"X-Api-Key": {"file": path}, "Accept": {"value": "text/plain"}}}));
    let outcome = outcome_of(&asked).await;
    std::fs::remove_file(&path).unwrap();
    assert_eq!(outcome.reason(), Some(&WRONG_STATUS.into()));
    assert!(outcome.evidence().as_str().contains("you sent ***"), "{outcome:?}");
    assert_eq!(reason(&asked).await, "secret_missing");
}

#[tokio::test]
async fn the_control_fails_with_its_own_reason_while_the_target_is_down() {
    let down = "http://127.0.0.1:1/";
    for block in [
        json!({"url": down}),
        json!({"url": down, "status": [500, 501, 204], "contains": "x"}),
        json!({"url": down, "contains": "phasegate", "json": {"pointer": "", "equals": {}}}),
    ] {
        let control = Check::control(&check::<Http>(block), &context(), ()).await;
        assert_eq!(control.reason(), Some(&Http::META.control.into()), "{control:?}");
    }
}

#[tokio::test]
async fn the_control_passes_where_nothing_can_be_refused() {
    let accepts_what_must_be_wrong: Http =
        check(json!({"url": "http://127.0.0.1:1/", "json": {"pointer": "", "equals": "phasegate negative control"}}));
    assert_eq!(Check::control(&accepts_what_must_be_wrong, &context(), ()).await.label(), "pass");
}

#[test]
fn rules_of_the_fields_are_told() {
    let fields = |block| -> Vec<_> { Check::validate(&check::<Http>(block)).into_iter().map(|error| error.field).collect() };
    assert_eq!(fields(json!({"url": "ftp://host/"})), ["url"]);
    assert_eq!(fields(json!({"url": "http://me:secret@host/"})), ["url"]);
    assert_eq!(fields(json!({"url": "http://host/", "status": []})), ["status"]);
    assert_eq!(fields(json!({"url": "http://host/", "status": [99]})), ["status"]);
    assert_eq!(fields(json!({"url": "http://host/", "contains": ""})), ["contains"]);
    assert_eq!(fields(json!({"url": "http://host/", "json": {"pointer": "a", "equals": 1}})), ["json"]);
    assert_eq!(fields(json!({"url": "http://host/", "headers": {"a b": {"value": "c"}}})), ["headers"]);
    assert_eq!(fields(json!({"url": "http://host/", "status": [200, 204], "contains": "x"})), ["status"]);
    assert!(fields(json!({"url": "http://host/", "status": [204]})).is_empty());
    assert!(fields(json!({"url": "http://host/"})).is_empty());
}
