use serde_json::json;

use super::*;

fn datasources() -> Datasources {
    let list = json!([
        {"uid": "l1", "name": "Loki", "type": "loki", "isDefault": true},
        {"uid": "l2", "name": "Loki of old", "type": "loki"},
        {"uid": "p1", "name": "Prometheus", "type": "prometheus"},
    ]);
    Datasources(serde_json::from_value(list).unwrap())
}

fn found(model: &Value) -> Vec<String> {
    references(model, &datasources()).into_iter().map(|place| format!("{} -> {:?}", place.named, place.leads_to)).collect()
}

#[test]
fn panels_are_found_on_the_dashboard_in_rows_and_in_rows_of_old() {
    let model = json!({
        "panels": [
            {"id": 1, "title": "A", "type": "logs"},
            {"id": 2, "type": "row", "panels": [{"id": 3, "title": "B", "type": "stat"}, {"id": 4, "type": "text"}]},
        ],
        "rows": [{"panels": [{"id": 5, "title": "C", "type": "graph"}]}],
    });
    let found: Vec<_> = panels(&model).into_iter().map(|panel| (panel.id(), panel.named())).collect();
    let named = |id, name: &str| (id, name.to_owned());
    assert_eq!(found, [named(1, "panel \"A\""), named(3, "panel \"B\""), named(4, "panel 4"), named(5, "panel \"C\"")]);
    assert!(panels(&json!([])).is_empty() && panels(&json!({"panels": {"a": 1}})).is_empty());
}

#[test]
fn references_are_found_wherever_a_dashboard_asks() {
    let query = |datasource: Value| json!({"refId": "A", "datasource": datasource});
    let model = json!({
        "panels": [
            {"title": "own", "type": "logs", "datasource": {"uid": "l1"}, "targets": [query(json!(null)), query(json!({"uid": "l1"}))]},
            {"title": "mixed", "type": "logs", "datasource": {"uid": "-- Mixed --"}, "targets": [query(json!("Prometheus")), query(json!({"uid": "gone"}))]},
            {"title": "default", "type": "logs", "targets": [{"refId": "A"}]},
            {"title": "words", "type": "text"},
            {"type": "row", "panels": [{"title": "nested", "type": "logs", "datasource": "${ds}", "targets": [{}]}]},
        ],
        "templating": {"list": [
            {"name": "ds", "type": "datasource", "query": "loki", "current": {"value": "Loki of old"}},
            {"name": "node", "type": "query", "datasource": {"uid": "gone"}},
            {"name": "free", "type": "textbox"},
        ]},
        "annotations": {"list": [{"name": "deploys", "datasource": "${DS_LEFT_BEHIND}"}]},
    });
    assert_eq!(
        found(&model),
        [
            r#"panel "own" -> Uid("l1")"#,
            r#"panel "mixed" -> Uid("p1")"#,
            r#"panel "mixed" -> Missing("gone")"#,
            r#"panel "default" -> Uid("l1")"#,
            r#"panel "nested" -> Uid("l2")"#,
            r#"variable node -> Missing("gone")"#,
            r#"annotation deploys -> Missing("${DS_LEFT_BEHIND}")"#,
        ]
    );
}

#[test]
fn a_variable_that_stands_for_a_datasource_leads_to_what_it_is_set_to() {
    let with = |variable: Value| {
        found(&json!({
            "panels": [{"title": "x", "type": "logs", "datasource": {"uid": "$ds"}, "targets": [{}]}],
            "templating": {"list": [variable]},
        }))
    };
    for (query, value, leads_to) in [
        ("loki", json!("l2"), r#"Uid("l2")"#),
        ("loki", json!("default"), r#"Uid("l1")"#),
        ("prometheus", json!("default"), r#"Uid("p1")"#),
        ("prometheus", json!(null), r#"Uid("p1")"#),
        ("tempo", json!(null), r#"Missing("${ds}, set to nothing")"#),
        ("loki", json!("gone"), r#"Missing("${ds}, set to gone")"#),
    ] {
        let variable = json!({"name": "ds", "type": "datasource", "query": query, "current": {"value": value}});
        assert_eq!(with(variable), [format!("panel \"x\" -> {leads_to}")]);
    }
}

#[test]
fn the_second_schema_names_its_datasources() {
    let query = |name: &str| json!({"spec": {"query": {"kind": "DataQuery", "group": "loki", "datasource": {"name": name}}}});
    let model = json!({
        "elements": {"panel-1": {"kind": "Panel", "spec": {"title": "E", "data": {"spec": {"queries": [query("l1"), query("gone")]}}}}},
        "variables": [{"kind": "QueryVariable", "spec": {"name": "node", "query": {"datasource": {"name": "p1"}}}}],
        "annotations": [{"kind": "AnnotationQuery", "spec": {"name": "x", "query": {"datasource": {"name": "-- Grafana --"}}}}],
    });
    assert_eq!(
        found(&model),
        [r#"panel "E" -> Uid("l1")"#, r#"panel "E" -> Missing("gone")"#, r#"variable node -> Uid("p1")"#, r"annotation x -> Own",]
    );
}

#[test]
fn what_changes_with_each_save_makes_no_difference() {
    let ours = json!({
        "id": 1, "version": 3, "schemaVersion": 36, "iteration": 5, "uid": "a", "title": "A", "links": [],
        "panels": [{"id": 7, "type": "logs", "pluginVersion": "9.1", "datasource": "Loki", "targets": [{"expr": "x", "datasource": null}]}],
    });
    let theirs = json!({
        "id": 2, "version": 9, "schemaVersion": 41, "uid": "a", "title": "A", "description": null,
        "panels": [{"id": 7, "type": "logs", "pluginVersion": "12.3.2", "datasource": {"type": "loki", "uid": "l1"}, "targets": [{"expr": "x"}]}],
    });
    let same = |theirs: &Value| normalised(&ours, &datasources()) == normalised(theirs, &datasources());
    assert!(same(&theirs));
    for (pointer, other) in [
        ("/title", json!("B")),
        ("/panels/0/targets/0/expr", json!("y")),
        ("/panels/0/datasource/uid", json!("l2")),
        ("/panels/0/id", json!(8)),
        ("/panels", json!([])),
    ] {
        let mut changed = theirs.clone();
        *changed.pointer_mut(pointer).unwrap() = other;
        assert!(!same(&changed), "{pointer}");
    }
}
