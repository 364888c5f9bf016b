//! The dashboards of `deploy/components/dashboards`: generated from their description here, and each query names what is exposed.

mod internals;
mod log_path;
mod migration;
mod panel;
mod postgres;
mod words;

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};

use super::alerts::records;
use super::promql::{Inventory, promtool, root};

const FOLDER: &str = "deploy/components/dashboards";
/// What a `ConfigMap` may hold.
const LARGEST: usize = 1 << 20;
/// What Grafana 10 draws without plugins and without Angular.
const KINDS: [&str; 9] = ["row", "timeseries", "state-timeline", "stat", "bargauge", "heatmap", "table", "annolist", "text"];

/// By the names of their files.
pub(super) fn boards() -> [(&'static str, Value); 4] {
    [
        ("migration-health", migration::board()),
        ("log-path", log_path::board()),
        ("postgres-cutover", postgres::board()),
        ("probe-internals", internals::board()),
    ]
}

/// The titles and expressions of panels, with what Grafana puts in for its variables.
pub(super) fn queries(board: &Value) -> Vec<(String, String)> {
    let fill = |target: &Value| {
        let expr = target["expr"].as_str().unwrap().replace("$__rate_interval", "1m").replace("$__interval", "1m");
        let exact = expr.replace("job=\"$job\"", "job=~\".*\"");
        ["phase", "probe", "node"].iter().fold(exact, |expr, name| expr.replace(&format!("\"${name}\""), "\".*\""))
    };
    let panels = board["panels"].as_array().unwrap().iter();
    let asked = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten().map(move |target| (panel, target)));
    asked.map(|(panel, target)| (panel["title"].as_str().unwrap().to_owned(), fill(target))).collect()
}

#[test]
fn dashboards_are_current() {
    for (name, board) in boards() {
        let path = root().join(FOLDER).join(format!("{name}.json"));
        let current = serde_json::to_string_pretty(&board).unwrap() + "\n";
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &current).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(found == current, "{name}: run this test again with UPDATE=1, and commit {FOLDER}");
        assert!(found.len() < LARGEST / 4, "{name}: {} bytes; all four go into ConfigMaps of their own", found.len());
    }
}

/// What an overlay gets that takes this component.
fn rendered(component: &str) -> Vec<Value> {
    let scratch = tempfile::tempdir().unwrap();
    let up: String = scratch.path().ancestors().skip(1).map(|_| "../").collect();
    let component = format!("{up}{}/deploy/components/{component}", root().display()).replace("//", "/");
    std::fs::write(scratch.path().join("kustomization.yaml"), format!("components: ['{component}']\n")).unwrap();
    let said = Command::new("kubectl").arg("kustomize").arg(scratch.path()).output().expect("kubectl is needed: tests/run");
    assert!(said.status.success() && said.stderr.is_empty(), "{}", String::from_utf8_lossy(&said.stderr));
    let text = String::from_utf8(said.stdout).unwrap();
    text.split("\n---\n").map(|one| serde_saphyr::from_str(one).unwrap()).collect()
}

#[test]
fn the_component_hands_all_of_them_to_grafanas_sidecar() {
    let found: BTreeSet<String> = rendered("dashboards")
        .iter()
        .map(|map| {
            assert_eq!((&map["kind"], &map["metadata"]["labels"]["grafana_dashboard"]), (&"ConfigMap".into(), &"1".into()));
            assert_eq!(map["metadata"]["namespace"], "observability");
            let files = map["data"].as_object().unwrap();
            let (_, text) = files.iter().next().unwrap();
            let board: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
            assert_eq!(files.len(), 1);
            board["uid"].as_str().unwrap().to_owned()
        })
        .collect();
    let all: BTreeSet<String> = boards().iter().map(|(_, board)| board["uid"].as_str().unwrap().to_owned()).collect();
    assert_eq!(found, all);
    let operator = rendered("prometheus-operator");
    let kinds: BTreeSet<_> = operator.iter().filter_map(|one| one["kind"].as_str()).collect();
    assert_eq!(kinds, ["PodMonitor", "PrometheusRule", "ServiceMonitor"].into());
}

#[test]
fn dashboards_are_what_grafana_10_reads() {
    let mut uids = BTreeSet::new();
    for (name, board) in boards() {
        assert!(uids.insert(board["uid"].as_str().unwrap().to_owned()), "{name}: its uid is taken");
        assert!(board["id"].is_null() && board["schemaVersion"].as_u64().unwrap() >= 38, "{name}");
        let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
        for panel in board["panels"].as_array().unwrap() {
            let (kind, title) = (panel["type"].as_str().unwrap(), &panel["title"]);
            assert!(KINDS.contains(&kind), "{name}: {kind}");
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{name} {title}: its id is taken");
            let side = |side: &str| panel["gridPos"][side].as_u64().unwrap();
            assert!(side("x") + side("w") <= 24 && side("w") >= 3, "{name} {title}: too wide, or too narrow for a laptop");
            for (x, y) in (side("x")..side("x") + side("w")).flat_map(|x| (side("y")..side("y") + side("h")).map(move |y| (x, y)))
            {
                assert!(places.insert((x, y)), "{name} {title}: lies on another panel");
            }
            if !["row", "annolist"].contains(&kind) {
                assert!(!panel["description"].as_str().unwrap().is_empty(), "{name} {title}: says nothing");
                assert_eq!(panel["datasource"]["uid"], "${datasource}", "{name} {title}");
                assert!(!panel["targets"].as_array().unwrap().is_empty(), "{name} {title}: asks nothing");
            }
        }
    }
}

#[test]
fn each_query_parses_and_names_only_what_is_exposed() {
    let records = records();
    let inventory = Inventory::of_the_product().with_records(records.iter().map(|(name, expr)| (name.as_str(), expr.as_str())));
    let mut rules = Vec::new();
    for (name, board) in boards() {
        for (_, expr) in queries(&board) {
            assert_eq!(inventory.flaw(&expr), None, "{name}: {expr}");
            assert!(!expr.contains('$'), "{name}: a variable that is not there: {expr}");
            rules.push(json!({"record": format!("panel:{}", rules.len()), "expr": expr}));
        }
        for variable in board["templating"]["list"].as_array().unwrap().iter().filter_map(|one| one["definition"].as_str()) {
            let (series, label) = variable.trim_start_matches("label_values(").trim_end_matches(')').rsplit_once(", ").unwrap();
            assert_eq!(inventory.flaw(series), None, "{name}: {variable}");
            assert!(inventory.has_label(label), "{name}: {variable}");
        }
    }
    let scratch = tempfile::tempdir().unwrap();
    let document = json!({"groups": [{"name": "panels", "rules": rules}]});
    std::fs::write(scratch.path().join("panels.yaml"), document.to_string()).unwrap();
    let (fine, words) = promtool(scratch.path(), &["check", "rules", "panels.yaml"]);
    assert!(fine, "{words}");
}
