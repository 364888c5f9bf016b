//! What an expression of a rule or a panel names, held against what verifier and agent expose: the snapshots of their expositions, which
//! tests of their own keep true.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;

/// The expositions.
const SNAPSHOTS: [&str; 2] = [
    "probe/src/metrics/snapshots/probe__metrics__tests__the_whole_exposition.snap",
    "probe/src/agent/snapshots/probe__agent__web__tests__the_whole_exposition.snap",
];
/// Labels that Prometheus gives to what it scrapes.
const TARGET: [&str; 6] = ["job", "instance", "namespace", "pod", "container", "endpoint"];
/// Labels with any value, written by those who deploy.
const FREE: [&str; 6] = ["phase", "probe", "part", "node", "target", "version"];

pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

pub(super) fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Metrics with their labels, and labels with their values.
pub(super) struct Inventory {
    metrics: BTreeMap<String, BTreeSet<String>>,
    values: BTreeMap<String, BTreeSet<String>>,
}

impl Inventory {
    /// All that the product exposes.
    pub(super) fn of_the_product() -> Self {
        let (sample, label) = (Regex::new(r"^(phasegate_\w+)(?:\{(.*)\})? \S+$").unwrap(), label());
        let (mut metrics, mut values) = (BTreeMap::new(), BTreeMap::<String, BTreeSet<String>>::new());
        for snapshot in SNAPSHOTS {
            for line in read(snapshot).lines() {
                let Some(found) = sample.captures(line) else { continue };
                let labels: &mut BTreeSet<String> = metrics.entry(found[1].to_owned()).or_default();
                for pair in label.captures_iter(found.get(2).map_or("", |labels| labels.as_str())) {
                    labels.insert(pair[1].to_owned());
                    values.entry(pair[1].to_owned()).or_default().insert(pair[3].to_owned());
                }
            }
        }
        for entry in checks::registry().iter() {
            values.entry("check".into()).or_default().insert(entry.meta.kind.into());
            let reasons = entry.meta.reasons().map(|reason| reason.name.to_owned());
            values.entry("reason".into()).or_default().extend(reasons);
            values.entry("value".into()).or_default().extend(entry.meta.measures.iter().map(|&name| name.to_owned()));
        }
        assert!(metrics.len() > 40 && values["check"].len() > 30, "the snapshots hold the expositions");
        Self { metrics, values }
    }

    /// What recording rules add, as (name, expression).
    #[must_use]
    pub(super) fn with_records<'a>(mut self, records: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        for (name, expr) in records {
            let mut labels = BTreeSet::new();
            for (metric, _) in selectors(expr) {
                labels.extend(self.metrics.get(&metric).cloned().unwrap_or_default());
            }
            self.metrics.insert(name.to_owned(), labels);
        }
        self
    }

    /// Whether something exposes this label, or Prometheus adds it.
    pub(super) fn has_label(&self, label: &str) -> bool {
        TARGET.contains(&label) || self.metrics.values().any(|labels| labels.contains(label))
    }

    /// What of an expression nobody exposes; none if it names something of the product, and nothing else.
    pub(super) fn flaw(&self, expr: &str) -> Option<String> {
        let (found, label) = (selectors(expr), label());
        if found.is_empty() {
            return Some("names no metric of the product".to_owned());
        }
        for (metric, matchers) in found {
            let Some(labels) = self.metrics.get(&metric) else { return Some(format!("there is no metric {metric}")) };
            for pair in label.captures_iter(&matchers) {
                let (name, operator, value) = (&pair[1], &pair[2], &pair[3]);
                if !TARGET.contains(&name) && !labels.contains(name) {
                    return Some(format!("{metric} has no label {name}"));
                }
                if !TARGET.contains(&name) && !FREE.contains(&name) && value != ".*" && !value.starts_with('$') {
                    let named = if operator.contains('~') { value.split('|').collect() } else { vec![value] };
                    if let Some(wrong) = named.into_iter().find(|one| !self.values[name].contains(*one)) {
                        return Some(format!("no {name} of {metric} is ever {wrong}"));
                    }
                }
            }
        }
        let grouping = Regex::new(r"\b(?:by|without|on|ignoring|group_left|group_right) \(([^)]*)\)").unwrap();
        let groups = grouping.captures_iter(expr);
        let mut named = groups.flat_map(|group| group[1].split(',').map(|one| one.trim().to_owned()).collect::<Vec<_>>());
        let wrong = named.find(|name| !name.is_empty() && !self.has_label(name));
        wrong.map(|name| format!("nothing has a label {name}"))
    }
}

/// `name="value"`, as in samples and in matchers: name, operator, value.
fn label() -> Regex {
    Regex::new(r#"(\w+)(=~|!~|!=|=)"((?:[^"\\]|\\.)*)""#).unwrap()
}

/// The series that an expression reads: their name and matchers.
fn selectors(expr: &str) -> Vec<(String, String)> {
    let selector = Regex::new(r#"\b(phasegate[_:][\w:]+)(?:\{((?:[^}"]|"[^"]*")*)\})?"#).unwrap();
    let found = selector.captures_iter(expr);
    found.map(|one| (one[1].to_owned(), one.get(2).map_or_else(String::new, |matchers| matchers.as_str().to_owned()))).collect()
}

/// Runs `promtool` in a folder: whether it has no complaint, and its words.
pub(super) fn promtool(folder: &Path, args: &[&str]) -> (bool, String) {
    let said = Command::new("promtool").args(args).current_dir(folder).output();
    let said = said.expect("promtool is needed: apt-get install prometheus, or tests/run");
    let words = [said.stdout, said.stderr].concat();
    (said.status.success(), String::from_utf8_lossy(&words).into_owned())
}

#[test]
fn what_nobody_exposes_is_found() {
    let inventory = Inventory::of_the_product().with_records([("phasegate:some:max", "max by (phase) (phasegate_gate_open)")]);
    for expr in [
        "phasegate_gate_open == 1",
        "max by (phase, job) (phasegate_probe_state{job=\"$job\", state=~\"red|unknown\"})",
        "rate(phasegate_probe_runs_total{check=\"logCanary\", outcome=\"pass\"}[5m])",
        "phasegate:some:max{phase=\"x\"} and ignoring (probe) phasegate_canary_emitted_total{node=\"n\"}",
    ] {
        assert_eq!(inventory.flaw(expr), None, "{expr}");
    }
    for (expr, words) in [
        ("up == 0", "names no metric of the product"),
        ("phasegate_gate_opened", "there is no metric phasegate_gate_opened"),
        ("phasegate_gate_open{probe=\"x\"}", "phasegate_gate_open has no label probe"),
        ("phasegate_probe_state{state=\"amber\"}", "no state of phasegate_probe_state is ever amber"),
        ("phasegate_probe_failures_total{reason=~\"lost|lots\"}", "no reason of phasegate_probe_failures_total is ever lots"),
        ("sum by (phases) (phasegate_gate_open)", "nothing has a label phases"),
    ] {
        assert_eq!(inventory.flaw(expr).as_deref(), Some(words), "{expr}");
    }
}
