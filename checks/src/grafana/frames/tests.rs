use serde_json::{Value, json};

use super::read;

fn recorded(recording: &str) -> Value {
    let recording: Value = serde_json::from_str(recording).unwrap();
    recording["body"]["results"]["A"].clone()
}

fn frame(fields: &Value, data: Value) -> Value {
    json!({"status": 200, "frames": [{"schema": {"fields": fields}, "data": data}]})
}

#[test]
fn recorded_lines_are_read_to_the_nanosecond() {
    let lines = read(&recorded(include_str!("../../../testdata/grafana/ds-query-logs-200.json"))).unwrap();
    let text = r#"{"level":"info","service":"migration-canary","msg":"phasegate canary","node":"a","boot":"00ff","seq":4}"#;
    assert_eq!(lines, [(1_795_398_895_298_714_000, text.to_owned())]);
    let lines = read(&recorded(include_str!("../../../testdata/grafana/ds-query-one-of-two-fails-400.json"))).unwrap();
    let times: Vec<_> = lines.iter().map(|(at, _)| *at).collect();
    assert_eq!(lines.len(), 5);
    assert_eq!(times[4], 1_795_397_531_461_481_000);
    assert_eq!(read(&recorded(include_str!("../../../testdata/grafana/ds-query-no-data-200.json"))), Ok(Vec::new()));
}

#[test]
fn no_data_has_many_forms() {
    for answer in [
        json!({"status": 200}),
        json!({"status": 200, "frames": null}),
        json!({"status": 200, "frames": []}),
        json!({"status": 200, "frames": [{"schema": {"fields": []}, "data": {"values": []}}]}),
        json!({"status": 200, "frames": [{}]}),
    ] {
        assert_eq!(read(&answer), Ok(Vec::new()), "{answer}");
    }
}

#[test]
fn a_time_column_is_completed_by_its_nanoseconds() {
    let fields = json!([{"name": "body", "type": "string"}, {"name": "timestamp", "type": "time"}]);
    let with = |nanos: Value| read(&frame(&fields, json!({"values": [["x"], [1_795_398_895_298_i64]], "nanos": nanos})));
    assert_eq!(with(json!([null, [714_001]])), Ok(vec![(1_795_398_895_298_714_001, "x".to_owned())]));
    assert_eq!(with(Value::Null), Ok(vec![(1_795_398_895_298_000_000, "x".to_owned())]));
    assert_eq!(with(json!([null, null])), Ok(vec![(1_795_398_895_298_000_000, "x".to_owned())]));
    assert!(with(json!([null, []])).is_err());
    assert!(with(json!([null, [1_000_000]])).is_err());
}

#[test]
fn frames_that_hold_no_log_lines_are_told_from_none() {
    let line = json!({"name": "Line", "type": "string"});
    let time = json!({"name": "Time", "type": "time"});
    let ns = json!({"name": "tsNs", "type": "string"});
    for answer in [
        json!({"frames": {}}),
        json!({"frames": [{"schema": {"fields": 1}}]}),
        frame(&json!([line]), json!({"values": [["x"]]})),
        frame(&json!([time]), json!({"values": [[1]]})),
        frame(&json!([{"name": "Line", "type": "number"}, time]), json!({"values": [[1], [1]]})),
        frame(&json!([line, time]), json!({"values": [["x", "y"], [1]]})),
        frame(&json!([line, time]), json!({"values": [["x"]]})),
        frame(&json!([line, time]), json!({"values": [["x"], [null]]})),
        frame(&json!([line, time]), json!({"values": [[null], [1]]})),
        frame(&json!([line, time]), json!({"values": [["x"], [i64::MAX]]})),
        frame(&json!([line, ns]), json!({"values": [["x"], ["soon"]]})),
        frame(&json!([line, time]), json!({"values": "x"})),
        recorded(include_str!("../../../testdata/grafana/ds-query-instant-metric-200.json")),
    ] {
        assert!(read(&answer).is_err(), "{answer}");
    }
}
