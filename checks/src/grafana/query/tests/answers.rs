use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use super::super::*;
use super::world::{Side, World, reason};
use crate::Context;
use crate::net::tcp::closed_port;
use crate::testing::{Manner, Server, hasty, part, replay, report_of};

fn recording(text: &str) -> ResponseTemplate {
    replay(&serde_json::from_str(text).unwrap())
}

fn reply(status: u16, content_type: &str, body: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_raw(body, content_type)
}

async fn through(reply: ResponseTemplate) -> Outcome {
    let (loki, grafana) = World { grafana: Side::Reply(reply), ..World::default() }.seen().await;
    assert_eq!(loki.label(), "pass");
    grafana
}

#[tokio::test]
async fn recorded_refusals_of_grafana_are_told_apart() {
    for (text, expected, words) in [
        (
            include_str!("../../../../testdata/grafana/ds-query-loki-down-400.json"),
            "datasource_error",
            "connect: connection refused",
        ),
        (include_str!("../../../../testdata/grafana/ds-query-parse-error-400.json"), "datasource_error", "syntax error"),
        (
            include_str!("../../../../testdata/grafana/ds-query-unknown-datasource-404.json"),
            "no_datasource",
            "Data source not found",
        ),
        (include_str!("../../../../testdata/grafana/datasources-no-login-401.json"), "token_refused", "Unauthorized"),
        (include_str!("../../../../testdata/grafana/datasources-bad-token-401.json"), "token_refused", "invalid API key"),
        (
            include_str!("../../../../testdata/grafana/viewer-admin-stats-403.json"),
            "permission_missing",
            "Permissions needed: server.stats:read",
        ),
        (include_str!("../../../../testdata/grafana/unknown-page-no-login-302.json"), "redirect", "302"),
        (include_str!("../../../../testdata/grafana/unknown-api-route-404.json"), "wrong_reply", "Not found"),
        (include_str!("../../../../testdata/grafana/ds-query-no-data-200.json"), "empty_answer", "Loki has 29 lines"),
        (include_str!("../../../../testdata/grafana/ds-query-instant-metric-200.json"), "unparsable", "no column of log lines"),
        (include_str!("../../../../testdata/grafana/ds-query-logs-200.json"), "differs", "29 of Loki's 29 lines"),
        (include_str!("../../../../testdata/grafana/ds-query-one-of-two-fails-400.json"), "stale_answer", "was not asked for"),
    ] {
        let outcome = through(recording(text)).await;
        assert_eq!(reason(&outcome), expected, "{outcome:?}");
        assert!(outcome.evidence().as_str().contains(words), "{outcome:?}");
    }
}

#[tokio::test]
async fn an_error_of_the_datasource_fails_whatever_status_it_comes_with() {
    let error = json!({"results": {"A": {"error": "denied", "errorSource": "downstream", "status": 401}}}).to_string();
    for status in [200, 207, 400, 500] {
        assert_eq!(reason(&through(reply(status, "application/json", &error)).await), "datasource_error", "{status}");
    }
    for (body, expected) in [
        (json!({"results": {"A": {"status": 504, "frames": []}}}), "datasource_error"),
        (json!({"results": {"A": {"error": {"a": 1}}}}), "datasource_error"),
        (json!({"results": {"A": {"error": "Data source not found", "status": 404}}}), "no_datasource"),
        (json!({"results": {"B": {"status": 200, "frames": []}}}), "wrong_reply"),
        (json!({"results": {"A": {"error": null, "frames": []}}}), "empty_answer"),
        (json!({"message": "hello"}), "wrong_reply"),
        (json!([]), "wrong_reply"),
    ] {
        assert_eq!(reason(&through(reply(200, "application/json", &body.to_string())).await), expected, "{body}");
    }
}

#[tokio::test]
async fn other_replies_than_grafanas_are_told_apart() {
    for (status, content_type, body, expected) in [
        (200, "text/html", "<html>Grafana</html>", "html"),
        (200, "application/json", "<!doctype html><title>Log in</title>", "html"),
        (200, "application/json", r#"{"results":{"A":{"#, "unparsable"),
        (200, "text/plain", "", "unparsable"),
        (204, "text/plain", "", "unparsable"),
        (400, "application/json", r#"{"message":"bad request data"}"#, "wrong_reply"),
        (404, "text/html", "<html>nginx</html>", "html"),
        (401, "text/html", "<html>sign in</html>", "token_refused"),
        (500, "application/json", r#"{"message":"Unable to load datasource metadata","traceID":""}"#, "no_datasource"),
        (500, "application/json", r#"{"message":"Query data error"}"#, "server_error"),
        (502, "text/html", "<html>bad gateway</html>", "server_error"),
        (504, "text/plain", "upstream request timeout", "server_error"),
    ] {
        assert_eq!(reason(&through(reply(status, content_type, body)).await), expected, "{status} {body}");
    }
}

/// A context in which one of the two is another server.
async fn with(name: &str, url: &str) -> (super::world::Servers, Context) {
    let servers = World::default().start().await;
    let mut cx = servers.context();
    let target = serde_json::from_value(json!({ name: {"url": url} })).unwrap();
    std::sync::Arc::make_mut(&mut cx.targets).insert(name.to_owned(), target);
    (servers, cx)
}

async fn manners(name: &str) -> Vec<(String, String)> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let mut seen = Vec::new();
    for manner in [
        Manner::Reset,
        Manner::Say(format!("{head}content-length: 99\r\n\r\n{{\"results\":").into_bytes()),
        Manner::Repeat(format!("{head}\r\n{{\"results\":\"").into_bytes(), vec![b'x'; 64 * 1024]),
        Manner::Say(b"\x00\x01garbage\r\n".to_vec()),
        Manner::Hold(Vec::new()),
    ] {
        let silent = matches!(manner, Manner::Hold(_));
        let server = Server::start(manner).await;
        let (_servers, cx) = with(name, &server.url()).await;
        let cx = if silent { Context { timeout: Duration::from_secs(2), ..hasty(cx) } } else { cx };
        let report = report_of(&World::default().check(), &cx).await;
        seen.push((reason(&part(&report, LOKI)), reason(&part(&report, GRAFANA))));
    }
    let closed = closed_port().unwrap();
    let (_servers, cx) = with(name, &format!("http://{}", closed.local_addr().unwrap())).await;
    let report = report_of(&World::default().check(), &cx).await;
    seen.push((reason(&part(&report, LOKI)), reason(&part(&report, GRAFANA))));
    seen
}

#[tokio::test]
async fn a_grafana_that_is_broken_is_the_grafana_parts_own() {
    let expected =
        ["reset", "truncated", "too_large", "not_http", "timeout", "refused"].map(|why| ("pass".to_owned(), why.to_owned()));
    assert_eq!(manners("grafana").await, expected);
}

#[tokio::test]
async fn a_loki_that_is_broken_leaves_nothing_to_compare_with() {
    let expected = ["reset", "truncated", "too_large", "not_http", "timeout", "refused"];
    assert_eq!(manners("loki").await, expected.map(|why| (why.to_owned(), "not_compared".to_owned())));
}

#[tokio::test]
async fn when_loki_is_down_grafanas_own_words_are_heard_too() {
    let closed = closed_port().unwrap();
    let down = recording(include_str!("../../../../testdata/grafana/ds-query-loki-down-400.json"));
    let servers = World { grafana: Side::Reply(down), ..World::default() }.start().await;
    let mut cx = servers.context();
    let target = json!({"loki": {"url": format!("http://{}", closed.local_addr().unwrap())}});
    std::sync::Arc::make_mut(&mut cx.targets).insert(LOKI.to_owned(), serde_json::from_value(target).unwrap());
    let report = report_of(&World::default().check(), &cx).await;
    assert_eq!(reason(&part(&report, LOKI)), "refused");
    assert_eq!(reason(&part(&report, GRAFANA)), "datasource_error");
}

#[tokio::test]
async fn lokis_refusals_are_told_apart() {
    let success = |data: Value| json!({"status": "success", "data": data}).to_string();
    let streams = |result: Value| success(json!({"resultType": "streams", "result": result}));
    for (status, content_type, body, expected) in [
        (400, "text/plain", "parse error at line 1, col 9: syntax error", "bad_query"),
        (401, "text/plain", "no org id", "denied"),
        (404, "text/plain", "404 page not found", "wrong_reply"),
        (429, "text/plain", "too many outstanding requests", "server_error"),
        (503, "text/plain", "Some services are not Running", "server_error"),
        (302, "text/html", "", "redirect"),
        (200, "text/html", "<html></html>", "html"),
        (200, "application/json", r#"{"status":"error"}"#, "wrong_reply"),
        (200, "application/json", r#"{"status":"success"}"#, "unparsable"),
        (200, "application/json", success(json!({"resultType": "matrix", "result": []})).as_str(), "bad_query"),
        (200, "application/json", streams(json!({})).as_str(), "unparsable"),
        (200, "application/json", streams(json!([{"stream": {}}])).as_str(), "unparsable"),
        (200, "application/json", streams(json!([{"values": [[1, "x"]]}])).as_str(), "unparsable"),
        (200, "application/json", streams(json!([{"values": [["1"]]}])).as_str(), "unparsable"),
        (200, "application/json", streams(json!([])).as_str(), "no_fresh_line"),
    ] {
        let world = World { loki: Side::Reply(reply(status, content_type, body)), ..World::default() };
        let (loki, grafana) = world.seen().await;
        assert_eq!(reason(&loki), expected, "{status} {body}");
        assert_ne!(grafana.label(), "pass", "{status} {body}");
    }
}

#[tokio::test]
async fn our_own_token_is_unknown_when_missing_and_never_quoted() {
    let echo = json!({"results": {"A": {"error": "what is glsa_secret?", "status": 500}}});
    let world =
        World { token: true, grafana: Side::Reply(reply(400, "application/json", &echo.to_string())), ..World::default() };
    let grafana = world.seen().await.1;
    assert_eq!(grafana.evidence().as_str(), "Grafana says 500: what is ***?");
    let servers = World::default().start().await;
    let mut cx = servers.context();
    let target = json!({"grafana": {"url": servers.grafana.uri(), "token": {"env": "PHASEGATE_NO_SUCH_TOKEN"}}});
    std::sync::Arc::make_mut(&mut cx.targets).insert(GRAFANA.to_owned(), serde_json::from_value(target).unwrap());
    let report = report_of(&World::default().check(), &cx).await;
    assert_eq!((reason(&part(&report, LOKI)), reason(&part(&report, GRAFANA))), ("pass".to_owned(), "secret_missing".to_owned()));
}
