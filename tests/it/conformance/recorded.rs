//! An exchange with a real server, as it was recorded, to be had again with a stand-in or a real server.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use tests::{Line, World};

/// An exchange with a real server.
#[derive(Debug, Deserialize)]
struct Recorded {
    method: String,
    path: String,
    #[serde(default)]
    request_headers: BTreeMap<String, String>,
    #[serde(default)]
    request_body: Value,
    status: u16,
    headers: BTreeMap<String, String>,
    body: Value,
}

/// What answers now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// A stand-in: it has no metrics but those that were recorded.
    Standin,
    /// A real server: what was recorded of its metrics is an excerpt.
    Real,
}

/// Asks a server what was once asked of it, and keeps what differs.
pub(super) struct Replays<'w> {
    world: &'w World,
    of: Of,
    differences: String,
}

impl<'w> Replays<'w> {
    pub(super) fn new(world: &'w World, of: Of) -> Self {
        Self { world, of, differences: String::new() }
    }

    pub(super) async fn same(&mut self, base: &str, authorization: Option<&str>, names: &[&str]) {
        for name in names {
            let difference = Recorded::read(name).replay(self.world, base, self.of, authorization).await;
            if !difference.is_empty() {
                write!(self.differences, "\n{name}\n  {difference}\n").unwrap();
            }
        }
    }

    pub(super) fn agree(&self) {
        assert!(self.differences.is_empty(), "{}", self.differences);
    }
}

/// The labels and lines of a service's stream, as they were when a Grafana was recorded.
pub(super) fn stream(service: &str, now: i64) -> ([(&str, &str); 5], Vec<Line>) {
    let line = |seq: i64| {
        let text =
            format!(r#"{{"level":"info","service":"{service}","msg":"phasegate canary","node":"a","boot":"00ff","seq":{seq}}}"#);
        // Moments that are no whole milliseconds.
        Line::new(now / 1_000_000 * 1_000_000 - 1_000_000_000 + seq * 1_001_000, text)
    };
    let labels = [
        ("agent", "alloy"),
        ("job", "systemd-journal"),
        ("level", "info"),
        ("service", service),
        ("syslog_identifier", "system-metrics-canary"),
    ];
    (labels, (1..=5).map(line).collect())
}

impl Recorded {
    fn read(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_str(&text).unwrap()
    }

    /// The same request to a stand-in, or to a real server. Good logins become the token; it answers with what differs.
    async fn replay(&self, world: &World, base: &str, of: Of, authorization: Option<&str>) -> String {
        let method = self.method.parse().unwrap();
        let mut request = world.http().request(method, format!("{base}{}", self.path));
        if self.request_headers.contains_key("Authorization") {
            request = request.header("authorization", authorization.unwrap());
        }
        if !self.request_body.is_null() {
            request = request.header("content-type", "application/json").body(self.request_body.to_string());
        }
        let answer = request.send().await.unwrap();
        let mut differences = Vec::new();
        if answer.status() != self.status {
            differences.push(format!("status: {} instead of {}", answer.status(), self.status));
        }
        for (name, value) in &self.headers {
            let ours = answer.headers().get(name).map(|value| value.to_str().unwrap());
            if ours != Some(value) {
                differences.push(format!("header {name}: {ours:?} instead of {value}"));
            }
        }
        let text = answer.text().await.unwrap();
        let recorded = self.body.as_str();
        if let Some(body) = recorded.filter(|body| body.starts_with("# HELP")) {
            metrics(body, &text, of, &mut differences);
        } else if let Some(body) = recorded.filter(|body| !body.starts_with(['{', '['])) {
            shape("", &body.into(), &text.into(), &mut differences);
        } else {
            // Alloy calls its JSON text.
            let theirs = recorded.map_or_else(|| self.body.clone(), |body| serde_json::from_str(body).unwrap());
            match serde_json::from_str(&text) {
                Ok(ours) => shape("", &ordered(theirs), &ordered(ours), &mut differences),
                Err(_) => differences.push(format!("no JSON: {text}")),
            }
        }
        differences.join("\n  ")
    }
}

/// Alloy lists components and what they refer to in no order, and a healthy one says either that it was started or evaluated.
fn ordered(body: Value) -> Value {
    match body {
        Value::Array(list) => {
            let mut list: Vec<Value> = list.into_iter().map(ordered).collect();
            if list.iter().all(Value::is_string) {
                list.sort_by_key(Value::to_string);
            }
            list.sort_by_key(|item| item.get("localID").map(Value::to_string));
            Value::Array(list)
        }
        Value::Object(mut object) => {
            if object.get("state").is_some_and(|state| state == "healthy") {
                object.remove("message");
            }
            object.into_iter().map(|(key, value)| (key, ordered(value))).collect()
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
    }
}

/// The same keys, types and words; lists of the same kind of things.
fn shape(at: &str, theirs: &Value, ours: &Value, differences: &mut Vec<String>) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            let keys = |object: &serde_json::Map<String, Value>| object.keys().cloned().collect::<BTreeSet<_>>();
            if keys(theirs) != keys(ours) {
                differences.push(format!("{at}: keys {:?} instead of {:?}", keys(ours), keys(theirs)));
            }
            for (key, theirs) in theirs {
                if let Some(ours) = ours.get(key) {
                    shape(&format!("{at}/{key}"), theirs, ours, differences);
                }
            }
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            if theirs.is_empty() != ours.is_empty() {
                differences.push(format!("{at}: {} items instead of {}", ours.len(), theirs.len()));
            }
            for (index, ours) in ours.iter().enumerate() {
                if let Some(theirs) = theirs.get(index).or_else(|| theirs.first()) {
                    shape(&format!("{at}/{index}"), theirs, ours, differences);
                }
            }
        }
        (Value::String(theirs), Value::String(ours)) if masked(theirs) == masked(ours) => {}
        (Value::Number(_), Value::Number(_)) | (Value::Null, Value::Null) => {}
        (Value::Bool(theirs), Value::Bool(ours)) if theirs == ours => {}
        _ => differences.push(format!("{at}: {ours} instead of {theirs}")),
    }
}

/// Without what is another one each time: addresses, moments, long numbers.
fn masked(text: &str) -> String {
    let mut text = text.to_owned();
    while let Some(at) = text.find("127.0.0.1:") {
        let from = at + "127.0.0.1:".len();
        let to = text[from..].find(|char: char| !char.is_ascii_digit()).map_or(text.len(), |end| from + end);
        text.replace_range(at..to, "HOST");
    }
    if let Ok(moment) = chrono::DateTime::parse_from_rfc3339(&text) {
        return if moment.timestamp() > 0 { "MOMENT".into() } else { text };
    }
    let mut result = String::new();
    let mut digits = String::new();
    for char in text.chars().chain(['\0']) {
        if char.is_ascii_digit() {
            digits.push(char);
            continue;
        }
        result.push_str(if digits.len() > 9 { "NUMBER" } else { &digits });
        digits.clear();
        result.push(char);
    }
    result
}

/// The same series, whatever their values; those that are 0 or 1 by meaning have the same value.
fn metrics(theirs: &str, ours: &str, of: Of, differences: &mut Vec<String>) {
    const FLAGS: &[&str] = &["alloy_config_last_load_successful", "alloy_component_controller_running_components"];
    let series = |text: &str| -> BTreeSet<String> {
        let kept = text.lines().filter(|line| !line.starts_with("# HELP"));
        kept.map(|line| {
            let Some((series, value)) = line.rsplit_once(' ').filter(|_| !line.starts_with('#')) else { return line.to_owned() };
            let name = series.split('{').next().unwrap();
            if name.ends_with("_build_info") {
                // Which build it is differs, what is said of it does not.
                let keys: Vec<&str> = series
                    .split("=\"")
                    .map(|part| part.rsplit(['{', ',']).next().unwrap())
                    .filter(|key| !key.contains('"'))
                    .collect();
                return format!("{name} {keys:?}");
            }
            if FLAGS.contains(&name) { format!("{series} {value}") } else { masked(series) }
        })
        .collect()
    };
    let (theirs, mut ours) = (series(theirs), series(ours));
    // What was recorded is an excerpt: of a histogram, its count without its head.
    ours.retain(|line| !line.ends_with(" histogram"));
    for missing in theirs.difference(&ours) {
        differences.push(format!("without {missing}"));
    }
    if of == Of::Standin {
        for more in ours.difference(&theirs) {
            differences.push(format!("has {more}"));
        }
    }
}
