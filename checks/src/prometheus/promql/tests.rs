use chrono::DateTime;
use serde_json::{Value, json};
use wiremock::matchers::{header, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::net::tcp::closed_port;
use crate::testing::{Manner, Server, check, context, context_with, hasty, part, report_of};

/// When the tests look, in seconds since 1970.
const NOW: u32 = 1_795_703_549;
const TIME: &str = "min(timestamp(up{job=\"loki\"}))";

fn up() -> Promql {
    check(json!({"prometheus": "target", "query": "up{job=\"loki\"}", "equals": 1}))
}

fn prometheus(url: &str) -> Context {
    targeting(json!({"url": url}))
}

fn targeting(target: Value) -> Context {
    let cx = context_with(serde_json::from_value(json!({"prometheus": target})).unwrap());
    Context { now: DateTime::from_timestamp(NOW.into(), 0).unwrap(), ..cx }
}

fn reason(outcome: &Outcome) -> String {
    outcome.reason().map_or_else(|| outcome.label().to_owned(), ToString::to_string)
}

async fn run(check: &Promql, cx: &Context) -> Outcome {
    part(&report_of(check, cx).await, PartId::WHOLE)
}

fn answer(result: &Value) -> Value {
    json!({"status": "success", "data": {"resultType": "vector", "result": result}})
}

fn sample(value: &str) -> Value {
    answer(&json!([{"metric": {}, "value": [f64::from(NOW) + 0.642, value]}]))
}

/// A Prometheus that answers these queries, each with a status and a document; to any other it has no data.
async fn serve(answers: &[(&str, u16, Value)]) -> MockServer {
    let server = MockServer::start().await;
    for (query, status, document) in answers {
        Mock::given(method("GET"))
            .and(path("/api/v1/query"))
            .and(query_param("query", *query))
            .respond_with(ResponseTemplate::new(*status).set_body_json(document))
            .with_priority(1)
            .mount(&server)
            .await;
    }
    Mock::given(path("/api/v1/query"))
        .respond_with(ResponseTemplate::new(200).set_body_json(answer(&json!([]))))
        .mount(&server)
        .await;
    server
}

/// What is seen when the query is answered like this, from fresh data.
async fn with_answer(status: u16, document: Value) -> String {
    let server = serve(&[("up{job=\"loki\"}", status, document), (TIME, 200, sample("1795703548.248"))]).await;
    reason(&run(&up(), &prometheus(&server.uri())).await)
}

#[tokio::test]
async fn exactly_one_finite_fresh_sample_within_bounds_passes() {
    let server = serve(&[("up{job=\"loki\"}", 200, sample("1")), (TIME, 200, sample("1795703548.248"))]).await;
    let report = report_of(&up(), &prometheus(&server.uri())).await;
    let outcome = part(&report, PartId::WHOLE);
    assert_eq!(reason(&outcome), "pass");
    let evidence = outcome.evidence().as_str();
    assert!(evidence.contains("up{job=\"loki\"} is 1, must be equal to 1; data 1 s old"), "{evidence}");
    assert_eq!(report.measures.iter().map(|measure| measure.name).collect::<Vec<_>>(), ["value", "data_age_seconds"]);
}

#[tokio::test]
async fn anything_but_one_finite_number_is_not_green() {
    let at = f64::from(NOW);
    let two = json!([{"metric": {}, "value": [at, "1"]}, {"metric": {"a": "b"}, "value": [at, "1"]}]);
    let histogram = json!([{"metric": {}, "histogram": [at, {"count": "1", "sum": "1"}]}]);
    let of_kind = |kind, result: Value| json!({"status": "success", "data": {"resultType": kind, "result": result}});
    for (document, expected) in [
        (answer(&json!([])), "no_data"),
        (answer(&two), "several_samples"),
        (answer(&histogram), "not_a_number"),
        (sample("NaN"), "not_a_number"),
        (sample("+Inf"), "not_a_number"),
        (sample("-Inf"), "not_a_number"),
        (sample("0"), "wrong_value"),
        (sample("one"), "unparsable"),
        (of_kind("scalar", json!([at, "1"])), "not_a_number"),
        (of_kind("string", json!([at, "1"])), "not_a_number"),
        (of_kind("matrix", json!([])), "not_a_number"),
        (answer(&json!([{"metric": {}, "value": [at, 1]}])), "unparsable"),
        (answer(&json!([{"metric": {}, "value": ["now", "1"]}])), "unparsable"),
        (answer(&json!([{"metric": {}}])), "unparsable"),
        (answer(&json!("1")), "unparsable"),
        (json!({"status": "success"}), "unparsable"),
        (json!({"status": "error", "error": "x"}), "wrong_reply"),
        (json!([]), "wrong_reply"),
    ] {
        assert_eq!(with_answer(200, document.clone()).await, expected, "{document}");
    }
}

#[tokio::test]
async fn what_prometheus_refuses_or_warns_of_is_unknown() {
    let mut warned = sample("1");
    warned["warnings"] = json!(["remote storage unavailable"]);
    assert_eq!(with_answer(200, warned.clone()).await, "partial_result");
    warned["warnings"] = json!([]);
    warned["infos"] = json!(["metric might not be a counter"]);
    assert_eq!(with_answer(200, warned).await, "pass");
    let error = json!({"status": "error", "errorType": "bad_data", "error": "1:4: parse error"});
    for (status, expected) in [
        (400, "bad_query"),
        (422, "bad_query"),
        (401, "token_refused"),
        (403, "token_refused"),
        (404, "wrong_reply"),
        (503, "server_error"),
        (302, "redirect"),
    ] {
        assert_eq!(with_answer(status, error.clone()).await, expected, "{status}");
    }
    assert_eq!(with_answer(400, json!({})).await, "wrong_reply");
}

#[tokio::test]
async fn data_that_is_old_or_gone_never_passes() {
    let old = |age: u32| sample(&format!("{}", f64::from(NOW) + 0.642 - f64::from(age)));
    for (time, expected) in [
        (old(1), "pass"),
        (old(119), "pass"),
        (old(121), "stale_data"),
        (answer(&json!([])), "no_data"),
        (sample("NaN"), "not_a_number"),
    ] {
        let server = serve(&[("up{job=\"loki\"}", 200, sample("1")), (TIME, 200, time.clone())]).await;
        let outcome = run(&up(), &prometheus(&server.uri())).await;
        assert_eq!(reason(&outcome), expected, "{time}");
        assert!(expected != "no_data" || outcome.evidence().as_str().contains(TIME), "{outcome:?}");
    }
}

#[tokio::test]
async fn another_series_can_tell_how_fresh_a_computed_value_is() {
    let server = serve(&[
        ("sum(rate(x[5m]))", 200, sample("7")),
        ("min(timestamp(x{a=\"b\"}))", 200, sample(&format!("{}", f64::from(NOW) - 20.0))),
    ])
    .await;
    for (within, expected) in [("30s", "pass"), ("20s", "stale_data")] {
        let check = check(json!({"prometheus": "target", "query": "sum(rate(x[5m]))", "above": 0,
            "freshness": {"of": " x{a=\"b\"} ", "within": within}}));
        assert_eq!(reason(&run(&check, &prometheus(&server.uri())).await), expected);
    }
}

#[tokio::test]
async fn an_answer_of_another_time_is_not_believed() {
    for (offset, expected) in
        [(-3600.0, "clock_skew"), (-31.0, "clock_skew"), (-29.0, "pass"), (49.0, "pass"), (51.0, "clock_skew")]
    {
        let at = f64::from(NOW) + offset;
        let then = |value: String| answer(&json!([{"metric": {}, "value": [at, value]}]));
        let server = serve(&[("up{job=\"loki\"}", 200, then("1".into())), (TIME, 200, then(at.to_string()))]).await;
        assert_eq!(reason(&run(&up(), &prometheus(&server.uri())).await), expected, "{offset}");
    }
}

#[tokio::test]
async fn bounds_are_kept() {
    for (bounds, value, passes) in [
        (json!({"above": 0}), "0", false),
        (json!({"above": 0}), "1e-300", true),
        (json!({"below": 5.5}), "5.5", false),
        (json!({"below": 5.5}), "5.4", true),
        (json!({"above": 1, "below": 3}), "2", true),
        (json!({"above": 1, "below": 3}), "3", false),
        (json!({"above": 1, "below": 3}), "1", false),
        (json!({"equals": 0}), "-0", true),
        (json!({"equals": 0}), "0.0001", false),
    ] {
        let server = serve(&[("x", 200, sample(value)), ("min(timestamp(x))", 200, sample("1795703548"))]).await;
        let mut block = json!({"prometheus": "target", "query": "x"});
        block.as_object_mut().unwrap().extend(bounds.as_object().unwrap().clone());
        let expected = if passes { "pass" } else { "wrong_value" };
        assert_eq!(reason(&run(&check(block), &prometheus(&server.uri())).await), expected, "{bounds} {value}");
    }
}

#[tokio::test]
async fn silence_and_damage_are_told_apart() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n";
    let endless = "HTTP/1.1 200 OK\r\n\r\n".into();
    for (manner, expected) in [
        (Manner::Reset, "reset"),
        (Manner::Say(format!("{head}{{\"status\":\"succ").into_bytes()), "truncated"),
        (Manner::Say(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n{\"s\"".to_vec()), "unparsable"),
        (Manner::Say(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>".to_vec()), "html"),
        (Manner::Say(b"\x00\x01garbage\r\n".to_vec()), "not_http"),
        (Manner::Repeat(endless, vec![b' '; 64 * 1024]), "too_large"),
    ] {
        let server = Server::start(manner).await;
        assert_eq!(reason(&run(&up(), &prometheus(&server.url())).await), expected);
    }
    let mute = Server::start(Manner::Hold(Vec::new())).await;
    assert_eq!(reason(&run(&up(), &hasty(prometheus(&mute.url()))).await), "timeout");
    let closed = closed_port().unwrap();
    assert_eq!(reason(&run(&up(), &prometheus(&format!("http://{}", closed.local_addr().unwrap()))).await), "refused");
    assert_eq!(reason(&run(&up(), &context()).await), "target_missing");
}

#[tokio::test]
async fn the_token_is_sent_and_never_shown() {
    let server = MockServer::start().await;
    let let_in = header("authorization", "Bearer hunter2");
    Mock::given(let_in).respond_with(ResponseTemplate::new(400).set_body_string("not for hunter2")).mount(&server).await;
    let folder = std::env::temp_dir().join(format!("phasegate-promql-{}", std::process::id()));
    std::fs::write(&folder, "hunter2\n").unwrap();
    let cx = targeting(json!({"url": server.uri(), "token": {"file": folder}}));
    let outcome = run(&up(), &cx).await;
    std::fs::remove_file(&folder).unwrap();
    assert_eq!(reason(&outcome), "unparsable");
    assert!(outcome.evidence().as_str().contains("not for ***"), "{outcome:?}");
    assert_eq!(reason(&run(&up(), &cx).await), "secret_missing");
}

#[tokio::test]
async fn the_control_fails_with_its_own_reason_only_at_a_server_that_can_tell() {
    let honest = [("up{job=\"loki\"}", 200, sample("1")), (TIME, 200, sample("1795703548")), ("vector(0e0)", 200, sample("0"))];
    let server = serve(&honest).await;
    let control = Check::control(&up(), &prometheus(&server.uri()), ()).await;
    assert_eq!(control.reason(), Some(&NO_DATA.into()), "{control:?}");
    // One that gives the same answer to every query, and one that does not tell numbers apart.
    let parrot = MockServer::start().await;
    let same = ResponseTemplate::new(200).set_body_json(sample("1"));
    Mock::given(path("/api/v1/query")).respond_with(same).mount(&parrot).await;
    let anything = check::<Promql>(json!({"prometheus": "target", "query": "up", "above": 0,
        "freshness": {"within": "24h"}}));
    let control = Check::control(&anything, &prometheus(&parrot.uri()), ()).await;
    assert_ne!(control.reason(), Some(&NO_DATA.into()), "{control:?}");
    let blind = [honest[0].clone(), honest[1].clone(), ("vector(0e0)", 200, sample("1"))];
    let server = serve(&blind).await;
    assert_eq!(reason(&Check::control(&up(), &prometheus(&server.uri()), ()).await), "pass");
    let server = serve(&[
        ("up{job=\"loki\"}", 200, sample("1")),
        (TIME, 200, sample("1795703548")),
        ("vector(time() - 121)", 200, sample("1795703548")),
    ])
    .await;
    assert_eq!(reason(&Check::control(&up(), &prometheus(&server.uri()), ()).await), "pass");
}

#[test]
fn only_plain_selectors_have_samples_with_a_time() {
    for text in [
        "up",
        " up ",
        "a:b_c",
        "{__name__=\"up\"}",
        "up{}",
        "up {job=\"a\", b!=\"c\" , d=~\"e.*|f\",g!~'h'}",
        "up{a=`\\`}",
        r#"up{a="\"}\\"}"#,
        "up{a=\"é)\"}",
        "{\"my.metric\", a=\"b\"}",
        "up\n{job=\"a\"}",
    ] {
        assert!(is_selector(text), "{text}");
    }
    for text in [
        "",
        " ",
        "up[5m]",
        "up offset 1h",
        "up @ 0",
        "sum(up)",
        "up + up",
        "up{a=\"b\"} > 1",
        "up{a=\"b\"",
        "up{a=\"b}",
        "-up",
        "(up)",
        "up # {}",
        "up{} or vector(1)",
        "up) or (up",
        "up{a=\"b\"}[5m]",
        "up{a=\"b\"} offset 5m",
        "up{a={}}",
        "up{(}",
        "up{#\n}",
        "up{}}",
        "up and{}",
        r#"up{a="b\"}"#,
        "é",
    ] {
        assert!(!is_selector(text), "{text}");
    }
}

#[test]
fn a_block_that_can_not_be_right_is_refused() {
    for (block, fields) in [
        (json!({"query": "up", "above": 0}), vec![]),
        (json!({"query": "sum(up)", "above": 0, "freshness": {"of": "up"}}), vec![]),
        (json!({"query": "sum(up)", "above": 0}), vec!["query"]),
        (json!({"query": "sum(up)", "above": 0, "freshness": {"within": "1m"}}), vec!["query"]),
        (json!({"query": "sum(up)", "above": 0, "freshness": {"of": "sum(up)"}}), vec!["freshness"]),
        (json!({"query": "up", "above": 0, "freshness": {"within": "0s"}}), vec!["freshness"]),
        (json!({"query": "up", "above": 0, "freshness": {"within": "25h"}}), vec!["freshness"]),
        (json!({"query": "up"}), vec!["query"]),
        (json!({"query": " ", "equals": 1, "freshness": {"of": "up"}}), vec!["query"]),
        (json!({"query": "a".repeat(2001), "equals": 1}), vec!["query"]),
        (json!({"query": "up", "above": 1, "below": 1}), vec!["above"]),
        (json!({"query": "up", "above": 1, "equals": 2}), vec!["equals"]),
    ] {
        let mut full = block.clone();
        full["prometheus"] = json!("a");
        let errors = Check::validate(&check::<Promql>(full));
        assert_eq!(errors.iter().map(|error| error.field).collect::<Vec<_>>(), fields, "{block}");
    }
    let infinite = Promql { above: Some(f64::INFINITY), ..up() };
    assert!(Check::validate(&infinite).iter().any(|error| error.field == "above"));
}
