//! The level that Loki reads out of a line and adds as `detected_level`.

use serde_json::Value;

use super::logql::Labels;

pub(crate) const LABEL: &str = "detected_level";

const FIELDS: &[&str] = &[
    "level",
    "LEVEL",
    "Level",
    "log.level",
    "severity",
    "SEVERITY",
    "Severity",
    "SeverityText",
    "lvl",
    "LVL",
    "Lvl",
    "severity_text",
    "Severity_Text",
    "SEVERITY_TEXT",
];
/// How deep Loki looks into JSON.
const DEPTH: usize = 2;
const UNKNOWN: &str = "unknown";

/// A label wins over metadata, and both over the line.
pub(crate) fn detect(labels: &Labels, metadata: &Labels, line: &str) -> String {
    let given = |from: &Labels| FIELDS.iter().find_map(|field| from.get(*field).cloned());
    given(labels).or_else(|| given(metadata)).unwrap_or_else(|| of_line(line).to_owned())
}

fn of_line(line: &str) -> &'static str {
    let trimmed = line.trim();
    let field = if trimmed.starts_with('{') && trimmed.ends_with('}') {
        serde_json::from_str(trimmed).ok().and_then(|value: Value| in_json(&value, 0))
    } else if line.contains('=') {
        in_pairs(line)
    } else {
        None
    };
    field.and_then(|value| named(&value)).unwrap_or_else(|| in_words(line))
}

fn in_json(value: &Value, depth: usize) -> Option<String> {
    let object = value.as_object().filter(|_| depth < DEPTH)?;
    object.iter().find_map(|(key, value)| match value {
        Value::String(text) => FIELDS.contains(&key.as_str()).then(|| text.clone()),
        Value::Object(_) => in_json(value, depth + 1),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
    })
}

/// `key=value key="other value"`.
fn in_pairs(line: &str) -> Option<String> {
    FIELDS.iter().find_map(|field| {
        let mut rest = line;
        while let Some((before, after)) = rest.split_once('=') {
            let key = before.rsplit(char::is_whitespace).next().unwrap_or_default();
            let value = match after.strip_prefix('"') {
                Some(quoted) => quoted.split('"').next(),
                None => after.split(char::is_whitespace).next(),
            };
            if key.eq_ignore_ascii_case(field) {
                return value.map(str::to_owned);
            }
            rest = after;
        }
        None
    })
}

fn named(value: &str) -> Option<&'static str> {
    Some(match value.to_ascii_lowercase().as_str() {
        "trace" | "trc" => "trace",
        "debug" | "dbg" => "debug",
        "info" | "inf" | "information" => "info",
        "warn" | "wrn" | "warning" => "warn",
        "error" | "err" => "error",
        "critical" => "critical",
        "fatal" => "fatal",
        _ => return None,
    })
}

/// Words that count in a line without fields, in the order in which they win. An `error` by itself is none of them.
fn in_words(line: &str) -> &'static str {
    let has = |words: &[&str]| words.iter().any(|word| line.contains(word) || line.contains(&word.to_ascii_uppercase()));
    if has(&["info"]) {
        "info"
    } else if has(&["err:", "[err]", "[error]"]) {
        "error"
    } else if has(&["warn:", "[warn]", "warning"]) {
        "warn"
    } else if has(&["critical:", "[critical]"]) {
        "critical"
    } else if has(&["debug"]) {
        "debug"
    } else {
        UNKNOWN
    }
}
