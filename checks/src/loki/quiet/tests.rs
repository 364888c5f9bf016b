use serde_json::json;
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::testing::{check, context_with, part};

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
}

fn quiet() -> LokiQuiet {
    check(json!({"loki": "target", "for": "1m"}))
}

/// Looks one after the other: second, start of the process, lines received, lines found. The label of each outcome.
fn looks(of: &[(i64, f64, f64, u64)]) -> Vec<String> {
    let mut seen = Seen::default();
    let mut label = |(second, started, lines, found): &(i64, f64, f64, u64)| {
        let state = State { started_at: Some(*started).filter(|time| !time.is_nan()), lines: *lines, found: *found };
        let (outcome, next) = quiet().judge(&state, std::mem::take(&mut seen), at(*second));
        seen = serde_json::from_str(&serde_json::to_string(&next).unwrap()).unwrap();
        assert_eq!(seen, next);
        outcome.reason().map_or_else(|| outcome.label().to_owned(), ToString::to_string)
    };
    of.iter().map(&mut label).collect()
}

#[test]
fn quiet_is_what_was_watched_for_all_of_the_time() {
    let same = |second| (second, 1.0, 500.0, 0);
    assert_eq!(
        looks(&[same(0), same(30), same(59), same(60), same(300)]),
        ["quiet_awaited", "quiet_awaited", "quiet_awaited", "pass", "pass"]
    );
}

#[test]
fn one_line_is_red_until_none_came_for_the_time() {
    let more = |second, lines| (second, 1.0, lines, 0);
    let seen = looks(&[more(0, 5.0), more(60, 5.0), more(65, 6.0), more(100, 6.0), more(124, 6.0), more(125, 6.0)]);
    assert_eq!(seen, ["quiet_awaited", "pass", "lines_arrive", "lines_arrive", "lines_arrive", "pass"]);
    // Also before it was ever quiet.
    assert_eq!(looks(&[more(0, 5.0), more(5, 6.0), more(64, 6.0), more(65, 6.0)])[1..], ["lines_arrive", "lines_arrive", "pass"]);
}

#[test]
fn a_restart_begins_anew_and_what_came_since_counts() {
    let seen = looks(&[(0, 1.0, 5.0, 0), (60, 1.0, 5.0, 0), (65, 62.0, 0.0, 0), (124, 62.0, 0.0, 0), (125, 62.0, 0.0, 0)]);
    assert_eq!(seen, ["quiet_awaited", "pass", "quiet_awaited", "quiet_awaited", "pass"]);
    assert_eq!(looks(&[(0, 1.0, 5.0, 0), (60, 1.0, 5.0, 0), (65, 62.0, 2.0, 0)])[2], "lines_arrive");
    // Without the time of its start a counter that fell tells.
    let unknown = f64::NAN;
    assert_eq!(looks(&[(0, unknown, 5.0, 0), (60, unknown, 5.0, 0), (65, unknown, 2.0, 0)])[2], "lines_arrive");
    assert_eq!(looks(&[(0, 9.0, 5.0, 0), (60, 8.0, 5.0, 0)])[1], "several_instances");
}

#[test]
fn lines_that_are_found_outweigh_a_counter_that_is_not_there() {
    assert_eq!(looks(&[(0, 1.0, 0.0, 3), (60, 1.0, 0.0, 3), (90, 1.0, 0.0, 0)]), ["quiet_awaited", "lines_arrive", "pass"]);
}

#[test]
fn a_clock_that_was_set_back_begins_anew() {
    assert_eq!(looks(&[(0, 1.0, 5.0, 0), (60, 1.0, 5.0, 0), (-10, 1.0, 5.0, 0)])[2], "quiet_awaited");
}

async fn loki(metrics: &str, vector: serde_json::Value) -> (MockServer, Context) {
    let server = MockServer::start().await;
    let page = ResponseTemplate::new(200).set_body_string(metrics);
    Mock::given(path("/metrics")).respond_with(page).mount(&server).await;
    Mock::given(path("/loki/api/v1/query")).respond_with(ResponseTemplate::new(200).set_body_json(vector)).mount(&server).await;
    let cx = context_with(serde_json::from_value(json!({"loki": {"url": server.uri()}})).unwrap());
    (server, Context { now: at(0), ..cx })
}

fn vector(result: &serde_json::Value) -> serde_json::Value {
    json!({"status": "success", "data": {"resultType": "vector", "result": result}})
}

#[tokio::test]
async fn a_loki_is_asked_for_its_counter_and_for_its_lines_and_the_control_sees_one_more() {
    let page = "loki_build_info 1\nprocess_start_time_seconds 7\n\
                loki_distributor_lines_received_total{is_internal_stream=\"false\",tenant=\"fake\"} 41\n\
                loki_distributor_lines_received_total{is_internal_stream=\"true\",tenant=\"fake\"} 9\n";
    let found = vector(&json!([{"metric": {}, "value": [at(0).timestamp(), "3"]}]));
    let (_server, cx) = loki(page, found).await;
    let expected = State { started_at: Some(7.0), lines: 41.0, found: 3 };
    assert_eq!(quiet().read(&cx, Budget::start(cx.timeout)).await, Ok(expected));
    assert_eq!(part(&Check::run(&quiet(), &cx, Seen::default()).await, PartId::WHOLE).reason(), Some(&QUIET_AWAITED.into()));
    let control = Check::control(&quiet(), &cx, Seen::default()).await;
    assert_eq!(control.reason(), Some(&LINES_ARRIVE.into()));
}

#[tokio::test]
async fn what_can_not_be_read_is_no_quiet() {
    for (page, vector, reason) in [
        ("up 1\n", vector(&json!([])), exposition::WRONG_REPLY),
        ("loki_build_info 1\nloki_distributor_lines_received_total{} NaN\n", vector(&json!([])), fetch::UNPARSABLE),
        ("loki_build_info 1\n", json!({"status": "success"}), lines::NOT_LOKI),
    ] {
        let (_server, cx) = loki(page, vector).await;
        let outcome = part(&Check::run(&quiet(), &cx, Seen::default()).await, PartId::WHOLE);
        assert_eq!(outcome.reason(), Some(&reason.into()), "{page}");
    }
}

#[test]
fn wrong_fields_are_named() {
    for (spec, field) in [
        (json!({"loki": "l", "for": "4s"}), "for"),
        (json!({"loki": "l", "for": "8d"}), "for"),
        (json!({"loki": "l", "selector": "job"}), "selector"),
    ] {
        let fields: Vec<_> = Check::validate(&check::<LokiQuiet>(spec)).into_iter().map(|error| error.field).collect();
        assert_eq!(fields, [field]);
    }
    assert_eq!(Check::validate(&quiet()), []);
}
