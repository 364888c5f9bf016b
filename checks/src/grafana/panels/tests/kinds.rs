//! Panels of all kinds, and of both schemas.

use serde_json::{Value, json};

use super::super::Memory;
use super::with;
use super::world::{Two, board, panel, rows};

#[tokio::test]
async fn panels_of_all_kinds_ask_what_they_ask() {
    let mut two = Two::start(json!({"variables": {"node": ["a", "b"]}})).await;
    let target = |id: &str, uid: &str, expr: &str| json!({"refId": id, "datasource": {"uid": uid}, "expr": expr});
    let panels = json!([
        {"id": 1, "type": "text", "title": "Words", "targets": [{"refId": "A", "expr": "left behind"}]},
        {"id": 2, "type": "row", "title": "Row", "collapsed": true, "panels": [panel(3, "Nested", "nested")]},
        {"id": 4, "type": "stat", "title": "Instant", "datasource": "Loki", "targets": [{"expr": "i[$__auto]", "instant": true, "maxLines": 5}]},
        {"id": 5, "type": "graph", "title": "Mixed", "datasource": {"uid": "-- Mixed --"}, "maxDataPoints": 50, "targets": [
            target("A", "l1", "one"), target("B", "p1", "up{node=~\"$node\"}"), {"refId": "C", "expr": "default"},
            {"refId": "D", "expr": "hidden $__user", "hide": true, "datasource": {"uid": "gone"}}, {"refId": "E", "expr": " "}]},
        {"id": 6, "type": "stat", "title": "Shared", "datasource": {"uid": "-- Dashboard --"}, "targets": [{"refId": "A", "panelId": 3}]},
        {"id": 7, "type": "stat", "title": "Own", "datasource": {"type": "datasource", "uid": "grafana"}, "targets": [{"refId": "A"}]},
        {"id": 8, "type": "stat", "title": "Sum", "targets": [
            {"refId": "A", "expr": "summand", "hide": true},
            {"refId": "B", "datasource": {"type": "__expr__", "uid": "__expr__"}, "expression": "$A*2", "type": "math"}]},
        {"id": 9, "title": "Library", "libraryPanel": {"uid": "lib", "name": "Lib"}},
        {"id": 10, "type": "table", "title": "Own time", "timeFrom": "6h", "timeShift": "1h", "datasource": {"uid": "${source}"},
         "targets": [{"refId": "A", "rawSql": "select $__interval_ms"}]},
    ]);
    for fake in two.both() {
        let mut model = board("Homelab", panels.clone());
        model["templating"] = json!({"list": [
            {"name": "source", "type": "datasource", "query": "postgres", "current": {"value": "Numbers"}},
            {"name": "node", "type": "query", "multi": true, "current": {}},
        ]});
        fake.shows("home", model);
        fake.edit(|held| drop(held.library.insert("lib".to_owned(), panel(0, "Of the library", "library"))));
    }
    two.passes(&["6 panels of 1 dashboard", "6 show something; 3 ask nothing"]).await;
    let asked = two.new.asked();
    let queries = |at: usize, key: &str| -> Vec<Value> {
        asked[at]["queries"].as_array().unwrap().iter().map(|q| q[key].clone()).collect()
    };
    assert_eq!(queries(0, "expr"), [json!("nested")]);
    assert_eq!((queries(1, "expr"), queries(1, "queryType")), (vec![json!("i[3600s]")], vec![json!("instant")]));
    assert_eq!((queries(1, "refId"), queries(1, "maxLines")), (vec![json!("A")], vec![json!(5)]));
    assert_eq!(queries(2, "expr"), [json!("one"), json!("up{node=~\"(a|b)\"}"), json!("default")]);
    let uids: Vec<Value> = queries(2, "datasource").into_iter().map(|datasource| datasource["uid"].clone()).collect();
    assert_eq!((uids, queries(2, "intervalMs")), (vec![json!("l1"), json!("p1"), json!("l1")], vec![json!(120_000); 3]));
    assert_eq!(queries(3, "expr")[0], json!("summand"));
    assert_eq!(queries(3, "expression")[1], json!("$A*2"));
    assert_eq!(queries(4, "expr"), [json!("library")]);
    assert_eq!(queries(5, "datasource"), [json!({"type": "postgres", "uid": "s1"})]);
    assert_eq!((&asked[5]["from"], &asked[5]["to"]), (&json!("1799974740000"), &json!("1799996340000")));
    for (expr, words) in
        [("one", "query A of it is empty"), ("up{node=~\"(a|b)\"}", "query B of it is empty"), ("$A*2", "panel \"Sum\" is empty")]
    {
        two.memory = Memory::default();
        two.new.brings(expr, rows(&[]));
        two.says("panel_empty", &[words]).await;
        two.new.brings(expr, rows(&[1.0]));
    }
    two.new.edit(|held| held.library.clear());
    two.says("panel_errors", &["dashboard Homelab: panel \"Library\" errs: there is no library panel lib"]).await;
}

#[tokio::test]
async fn panels_of_the_second_schema_are_asked() {
    let mut two = Two::start(json!({})).await;
    let element = |query: Value, more: Value| {
        let spec = json!({"refId": "A", "hidden": false, "query": query});
        let spec = json!({"kind": "PanelQuery", "spec": with(spec, more)});
        let data = json!({"kind": "QueryGroup", "spec": {"queries": [spec], "queryOptions": {"timeFrom": "6h"}}});
        json!({"kind": "Panel", "spec": {"id": 4, "title": "Errors", "data": data, "vizConfig": {"kind": "VizConfig", "group": "logs"}}})
    };
    let spec = json!({"expr": "{a=\"$a\"}"});
    for element in [
        element(json!({"kind": "DataQuery", "group": "loki", "datasource": {"name": "l1"}, "spec": spec}), json!({})),
        element(json!({"kind": "loki", "spec": spec}), json!({"datasource": {"type": "loki", "uid": "l1"}})),
        element(json!({"kind": "DataQuery", "group": "loki", "spec": spec}), json!({})),
    ] {
        for fake in two.both() {
            let variable = json!({"kind": "CustomVariable", "spec": {"name": "a", "current": {"value": "x"}}});
            fake.shows("home", json!({"title": "Homelab", "elements": {"panel-4": element}, "variables": [variable]}));
            fake.edit(|held| held.asked.clear());
        }
        two.memory = Memory::default();
        two.passes(&["1 panel of 1 dashboard asked on both sides, 1 show something"]).await;
        let asked = two.new.asked();
        assert_eq!((&asked[0]["queries"][0]["expr"], &asked[0]["from"]), (&json!("{a=\"x\"}"), &json!("1799978340000")));
        assert_eq!(asked[0]["queries"][0]["datasource"], json!({"type": "loki", "uid": "l1"}));
    }
}
