//! Answers in all their forms.

use serde_json::{Value, json};

use super::super::answer::{Answer, rows};
use super::world::{Two, board, panel, rows as frames};

fn recorded(recording: &str) -> Value {
    let recording: Value = serde_json::from_str(recording).unwrap();
    recording["body"]["results"]["A"].clone()
}

#[test]
fn rows_are_counted_in_which_anything_but_the_time_is() {
    let some = |rows: u64| Ok(Answer::Rows { rows, zeros: false });
    let zeros = |rows: u64| Ok(Answer::Rows { rows, zeros: true });
    let frame = |fields: Value, values: Value| json!({"frames": [{"schema": {"fields": fields}, "data": {"values": values}}]});
    let (time, number, text) = (json!({"type": "time"}), json!({"type": "number"}), json!({"type": "string"}));
    for (answer, counted) in [
        (recorded(include_str!("../../../../testdata/grafana/ds-query-logs-200.json")), some(1)),
        (recorded(include_str!("../../../../testdata/grafana/ds-query-no-data-200.json")), zeros(0)),
        (recorded(include_str!("../../../../testdata/grafana/ds-query-instant-metric-200.json")), some(2)),
        (json!({"status": 200}), zeros(0)),
        (json!({"frames": null}), zeros(0)),
        (json!({"frames": []}), zeros(0)),
        (json!({"frames": [{}]}), zeros(0)),
        (json!({"frames": [{"schema": {"name": "no data", "fields": []}, "data": {"values": []}}]}), zeros(0)),
        (frame(json!([time, number]), json!([[], []])), zeros(0)),
        (frame(json!([time, number]), json!([[1, 2], [null, null]])), zeros(0)),
        (frame(json!([time, number]), json!([[1, 2], [0, 0.0]])), zeros(2)),
        (frame(json!([time, number]), json!([[1, 2, 3], [0, null, 2]])), some(2)),
        (frame(json!([text, number]), json!([["a"], [0]])), some(1)),
        (frame(json!([time]), json!([[1, 2]])), some(2)),
        (frame(json!([]), json!([["a"]])), some(1)),
    ] {
        assert_eq!(rows(&answer), counted, "{answer}");
    }
    for damaged in
        [json!({"frames": {}}), json!({"frames": [{"data": {"values": 1}}]}), json!({"frames": [{"data": {"values": [1]}}]})]
    {
        assert!(rows(&damaged).is_err(), "{damaged}");
    }
}

#[tokio::test]
async fn an_error_is_found_whatever_status_it_comes_with() {
    let body = |error: &str| json!({"results": {"A": {"status": 500, "error": error}}}).to_string();
    for (status, body) in [
        (200, body("parse error at line 1")),
        (207, body("parse error at line 1")),
        (400, body("parse error at line 1")),
        (500, body("parse error at line 1")),
        (200, json!({"results": {"A": {"status": 500}}}).to_string()),
        (404, json!({"message": "Data source not found"}).to_string()),
        (500, json!({"message": "Query data error"}).to_string()),
        (400, json!({"message": "bad request data"}).to_string()),
    ] {
        let mut two = Two::start(json!({})).await;
        two.new.edit(|held| held.instead = Some((status, "application/json", body.clone(), usize::MAX)));
        two.says("panel_errors", &["dashboard Homelab: panel \"Lines\" errs: ", "; the old one has 3 rows", "panel \"Rate\""])
            .await;
    }
}

#[tokio::test]
async fn what_is_no_answer_of_grafanas_is_waited_out_and_then_said() {
    let json = "application/json";
    let large = format!("{{\"results\": {{\"A\": \"{}\"}}}}", "x".repeat(5 * 1024 * 1024));
    for (status, kind, body, reason) in [
        (200, "text/html", "<html>hunter2".to_owned(), "html"),
        (302, "text/html", "<html>hunter2".to_owned(), "redirect"),
        (401, json, json!({"message": "Invalid API key", "key": "hunter2"}).to_string(), "token_refused"),
        (403, json, json!({"message": "Access denied", "key": "hunter2"}).to_string(), "not_asked"),
        (502, "text/plain", "hunter2".to_owned(), "server_error"),
        (503, json, json!({"message": "starting"}).to_string(), "server_error"),
        (200, json, "{\"results\": {\"hunter2\"".to_owned(), "not_asked"),
        (200, json, json!({"hunter2": 1}).to_string(), "unparsable"),
        (200, json, json!({"results": {}}).to_string(), "not_asked"),
        (200, json, json!({"results": {"A": {"frames": "hunter2"}}}).to_string(), "not_asked"),
        (200, json, large, "not_asked"),
    ] {
        let mut two = Two::start(json!({})).await;
        two.new.edit(|held| held.instead = Some((status, kind, body.clone(), usize::MAX)));
        two.says(reason, &[]).await;
        two.new.edit(|held| held.instead = None);
        two.passes(&["3 panels of 1 dashboard asked on both sides, 3 show something"]).await;
        // Where it does not last, nothing is wrong.
        two.memory = super::super::Memory::default();
        two.new.edit(|held| held.instead = Some((status, kind, body, 3)));
        two.passes(&["3 show something"]).await;
    }
}

#[tokio::test]
async fn a_panel_without_an_answer_in_time_is_an_error_if_it_had_all_the_time() {
    let mut two = Two::start(json!({})).await;
    two.cx.timeout = std::time::Duration::from_millis(800);
    two.new.edit(|held| held.slow = Some("errors"));
    two.says("panel_errors", &["panel \"Errors\" errs: ", "no answer within 800ms; the old one has 3 rows"]).await;
}

#[tokio::test]
async fn nothing_of_a_query_is_ever_told() {
    let mut two = Two::start(json!({})).await;
    let sql = "select dblink('password=hunter2', \"x\") from secrets -- hunter2";
    let target = json!({"refId": "A", "rawSql": sql, "datasource": {"type": "postgres", "uid": "s1"}});
    for fake in two.both() {
        fake.shows(
            "home",
            board("Homelab", json!([panel(1, "Lines", "lines"), {"id": 2, "type": "table", "targets": [target]}])),
        );
    }
    for (error, told) in [
        ("pq: syntax error at or near \"hunter2\"", "panel 2 errs: pq: syntax error at or near \"***\""),
        ("pq: could not connect with password=hunter2", "panel 2 errs: pq: could not connect with ***"),
        (
            "Get \"http://me:hunter2@numbers/x?q=hunter2\": dial tcp: refused",
            "errs: Get \"http://numbers/x?…\": dial tcp: refused",
        ),
    ] {
        two.new.brings(sql, json!({"status": 500, "error": error}));
        two.says("panel_errors", &[told]).await;
    }
    two.new.brings(sql, frames(&[1.0]));
    two.passes(&["2 show something"]).await;
}
