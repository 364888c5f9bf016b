//! The alert rules of `deploy/alerts`: Prometheus takes them, each is tested and can be seen to go red, each has a runbook, and none names
//! what nobody exposes.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use regex::Regex;
use serde_json::{Value, json};
use tests::binary;

use super::promql::{Inventory, promtool, read, root};

const RULES: &str = "deploy/alerts/phasegate.rules.yaml";
const OPERATOR: &str = "deploy/components/prometheus-operator/rules.yaml";
const RUNBOOKS: &str = "https://phasegate.dev/runbooks/";

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

fn rules() -> Vec<Value> {
    let groups = yaml(&read(RULES));
    groups["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn alerts() -> Vec<(String, Value)> {
    rules().into_iter().filter_map(|rule| Some((rule["alert"].as_str()?.to_owned(), rule))).collect()
}

/// The recording rules: name and expression.
pub(super) fn records() -> Vec<(String, String)> {
    let text = |value: &Value| Some(value.as_str()?.to_owned());
    rules().iter().filter_map(|rule| Some((text(&rule["record"])?, text(&rule["expr"])?))).collect()
}

/// The files of a folder without this ending.
fn names(folder: &str, ending: &str) -> BTreeSet<String> {
    let files = std::fs::read_dir(root().join(folder)).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    files.filter_map(|name| Some(name.strip_suffix(ending)?.to_owned())).collect()
}

#[test]
fn prometheus_takes_the_rules_and_their_tests_pass() {
    let folder = root().join("deploy/alerts");
    let (fine, words) = promtool(&folder, &["check", "rules", "phasegate.rules.yaml"]);
    assert!(fine, "{words}");
    let tests: Vec<_> = names("deploy/alerts/tests", ".yaml").iter().map(|name| format!("tests/{name}.yaml")).collect();
    let args: Vec<_> = ["test", "rules"].into_iter().chain(tests.iter().map(String::as_str)).collect();
    let (fine, words) = promtool(&folder, &args);
    assert!(fine, "{words}");
}

#[test]
fn each_alert_says_what_it_is_and_what_to_do() {
    let (runbooks, title) = (names("deploy/runbooks", ".md"), Regex::new("^Phasegate([A-Z][a-z]+)+$").unwrap());
    let inventory = Inventory::of_the_product();
    let label = Regex::new(r"\$labels\.(\w+)").unwrap();
    let mut named = BTreeSet::new();
    for (name, alert) in alerts() {
        assert!(title.is_match(&name), "{name}");
        assert!(["critical", "warning", "info"].contains(&alert["labels"]["severity"].as_str().unwrap()), "{name}");
        let annotations = alert["annotations"].as_object().unwrap();
        let text = |key: &str| annotations[key].as_str().unwrap().to_owned();
        assert!(text("summary").ends_with('.') && !text("summary").contains("{{"), "{name}: a fixed sentence");
        assert_eq!(text("runbook_url"), format!("{RUNBOOKS}{name}"));
        for found in label.captures_iter(&text("description")) {
            assert!(inventory.has_label(&found[1]), "{name}: nothing has a label {}", &found[1]);
        }
        assert!(runbooks.contains(&name), "deploy/runbooks/{name}.md");
        let runbook = read(&format!("deploy/runbooks/{name}.md"));
        assert!(runbook.starts_with(&format!("# {name}\n\n{}", text("summary"))), "{name}: its title and its summary");
        assert!(runbook.lines().count() <= 60, "{name}: read at night");
        for part in ["## Means", "## Look at", "## Do", "## Roll back"] {
            assert!(runbook.contains(&format!("\n{part}\n")), "{name}: {part}");
        }
        named.insert(name);
    }
    assert_eq!(runbooks, named, "runbooks without an alert");
}

/// Somebody types them at night: they are there, and take what they are given.
#[test]
fn the_commands_of_runbooks_are_real() {
    let (mut commands, mut wrong) = (BTreeSet::new(), Vec::new());
    for name in names("deploy/runbooks", ".md") {
        let runbook = read(&format!("deploy/runbooks/{name}.md"));
        for block in runbook.split("```sh\n").skip(1) {
            let lines = block.split("```").next().unwrap().lines().map(|line| line.split(" #").next().unwrap().trim().to_owned());
            commands.extend(lines.filter(|line| line.starts_with("cutover ") || line.starts_with("probe ")));
        }
    }
    assert!(commands.len() > 20, "{commands:?}");
    for command in &commands {
        let (program, rest) = command.split_once(' ').unwrap();
        let script = format!("exec '{}' {rest} --help", binary(program).unwrap().display());
        let said = Command::new("sh").args(["-c", &script]).output().unwrap();
        if !said.status.success() {
            wrong.push(format!("{command}: {}", String::from_utf8_lossy(&said.stderr)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A rule that names what is not there never fires, and nobody notices.
#[test]
fn rules_name_only_what_is_exposed() {
    let records = records();
    let inventory = Inventory::of_the_product().with_records(records.iter().map(|(name, expr)| (name.as_str(), expr.as_str())));
    for rule in rules() {
        let expr = rule["expr"].as_str().unwrap();
        assert_eq!(inventory.flaw(expr), None, "{expr}");
    }
}

/// The rules with one alert changed, beside a copy of its tests.
fn changed(scratch: &Path, name: &str, change: impl Fn(&mut Vec<Value>, usize)) -> (bool, String) {
    let mut document = yaml(&read(RULES));
    for group in document["groups"].as_array_mut().unwrap() {
        let rules = group["rules"].as_array_mut().unwrap();
        if let Some(at) = rules.iter().position(|rule| rule["alert"] == name) {
            change(rules, at);
        }
    }
    std::fs::create_dir_all(scratch.join("tests")).unwrap();
    std::fs::write(scratch.join("phasegate.rules.yaml"), serde_json::to_string(&document).unwrap()).unwrap();
    let tests = format!("tests/{name}.yaml");
    std::fs::copy(root().join("deploy/alerts").join(&tests), scratch.join(&tests)).unwrap();
    promtool(scratch, &["test", "rules", &tests])
}

/// Whether the tests of this file say what an alert is when it fires, and when it is silent.
fn says(name: &str, fires: bool) -> bool {
    let document = yaml(&read(&format!("deploy/alerts/tests/{name}.yaml")));
    let tests = document["tests"].as_array().unwrap().iter();
    let looks = tests.flat_map(|test| test["alert_rule_test"].as_array().cloned().unwrap_or_default());
    let mut of_this = looks.filter(|look| look["alertname"] == name);
    of_this.any(|look| look["exp_alerts"].as_array().unwrap().is_empty() != fires)
}

#[test]
fn each_alert_has_a_test_that_notices_when_it_never_fires_or_always_does() {
    let scratch = tempfile::tempdir().unwrap();
    let (fine, words) = changed(scratch.path(), "PhasegateOverrideActive", |_, _| {});
    assert!(fine, "a copy of the rules as they are: {words}");
    for (name, _) in alerts() {
        assert!(says(&name, true) && says(&name, false), "{name}: one that fires, and one that is silent");
        let (fine, _) = changed(scratch.path(), &name, |rules, at| drop(rules.remove(at)));
        assert!(!fine, "{name} is gone, and its tests pass");
        let (fine, _) = changed(scratch.path(), &name, |rules, at| {
            rules[at]["expr"] = "vector(1)".into();
            rules[at]["for"] = "0s".into();
        });
        assert!(!fine, "{name} fires always, and its tests pass");
    }
}

#[test]
fn the_operators_rules_are_the_same() {
    let rule = json!({
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": "phasegate",
            "namespace": "phasegate",
            "labels": {"app.kubernetes.io/name": "phasegate-verifier"},
        },
        "spec": yaml(&read(RULES)),
    });
    let head = "# Generated from deploy/alerts/phasegate.rules.yaml: UPDATE=1 cargo test -p tests --test it -- alerts::";
    let current = format!("{head}\n{}", serde_saphyr::to_string(&rule).unwrap());
    let path = root().join(OPERATOR);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, current, "run this test again with UPDATE=1, and commit {OPERATOR}");
    assert_eq!(yaml(&found), rule, "what was written is what was meant");
}
