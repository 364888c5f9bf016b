//! What a dashboard's variables stand for, put into queries as Grafana's web interface does it: the backend that is asked here
//! replaces none of them, and few of the built-in ones.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The value that means all of them.
const ALL: &str = "$__all";
/// What all of them is in a query language with regular expressions, where the options are not stored.
const ANY: &str = ".+";

/// What a variable is set to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "neither a text nor a list of texts (numbers are to be quoted)")]
pub enum Values {
    /// To one value.
    One(String),
    /// To several at once.
    Several(Vec<String>),
}

/// Times of a question, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) interval: i64,
}

/// All that can be put into a query.
#[derive(Debug, Clone, Copy)]
pub(super) struct Variables<'a> {
    /// As the dashboard has them, in the form of its first schema.
    pub(super) list: &'a [Value],
    /// As the document sets them, which comes first.
    pub(super) given: &'a BTreeMap<String, Values>,
    pub(super) dashboard: (&'a str, &'a str),
    pub(super) times: Times,
}

/// What one variable stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Meaning {
    /// These values, and whether there may be several.
    Of(Vec<String>, bool),
    /// Text that is taken as it is.
    Text(String),
    /// All, whatever there is.
    Any,
}

/// A reference within a text: its name, a field of it, a format, and how long it is.
struct Reference<'t> {
    name: &'t str,
    field: Option<&'t str>,
    format: Option<&'t str>,
    length: usize,
}

impl Variables<'_> {
    /// A text with all variables replaced, for a datasource of this plugin; `instant` says that it asks for one point. The error is
    /// the name of a variable that nothing is known for. What is no variable stays, as it does in Grafana.
    pub(super) fn replaced(&self, text: &str, plugin: &str, instant: bool) -> Result<String, String> {
        let mut done = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(['$', '[']) {
            let (before, from) = rest.split_at(at);
            done.push_str(before);
            let found = reference(from);
            let macro_call = |found: &Reference<'_>| from.get(found.length..).is_some_and(|after| after.starts_with('('));
            let known = match &found {
                Some(found) if !(found.name.starts_with("__") && macro_call(found)) => self.known(found, plugin, instant)?,
                Some(_) | None => None,
            };
            let length = match (&found, known) {
                (Some(found), Some(text)) => {
                    done.push_str(&text);
                    found.length
                }
                (Some(Reference { length, .. }), None) => {
                    done.push_str(from.get(..*length).unwrap_or_default());
                    *length
                }
                (None, _) => {
                    done.extend(from.chars().next());
                    1
                }
            };
            rest = from.get(length..).unwrap_or_default();
        }
        done.push_str(rest);
        Ok(done)
    }

    fn known(&self, found: &Reference<'_>, plugin: &str, instant: bool) -> Result<Option<String>, String> {
        let Reference { name, field, format, .. } = *found;
        let unresolved = || [Some(name), field, format].into_iter().flatten().collect::<Vec<_>>().join(":");
        if name.starts_with("__") {
            return self.built_in(found, instant).map(Some).ok_or_else(unresolved);
        }
        let stored = self.list.iter().find(|variable| text(variable, "/name") == Some(name));
        let meaning = match (self.given.get(name), stored) {
            (Some(Values::One(value)), stored) => Some(Meaning::Of(vec![value.clone()], stored.is_some_and(several))),
            (Some(Values::Several(values)), _) => Some(Meaning::Of(values.clone(), true)),
            (None, Some(variable)) => stored_meaning(variable),
            (None, None) => return Ok(None),
        };
        let meaning = match meaning {
            Some(Meaning::Text(auto)) if auto.starts_with("$__auto_interval") => Some(Meaning::Text(words(self.times.interval))),
            other => other,
        };
        meaning.and_then(|meaning| meaning.written(format, plugin)).map(Some).ok_or_else(unresolved)
    }

    fn built_in(&self, found: &Reference<'_>, instant: bool) -> Option<String> {
        let Times { from, to, interval } = self.times;
        let range = (to - from).max(1000);
        // As for a Prometheus that scrapes each 15 s, which is what Grafana takes it for unless told otherwise.
        let rate = (interval + 15_000).max(60_000);
        let (uid, title) = self.dashboard;
        match (found.name, found.field) {
            ("__interval", None) => Some(words(interval)),
            ("__interval_ms", None) => Some(interval.to_string()),
            ("__range", None) => Some(format!("{}s", range / 1000)),
            ("__range_s", None) => Some((range / 1000).to_string()),
            ("__range_ms", None) => Some(range.to_string()),
            ("__rate_interval", None) => Some(words(rate)),
            ("__rate_interval_ms", None) => Some(rate.to_string()),
            ("__auto", None) => Some(if instant { format!("{}s", range / 1000) } else { words(interval) }),
            ("__from", None) => moment(from, found.format),
            ("__to", None) => moment(to, found.format),
            ("__dashboard", None) => Some(title.to_owned()),
            ("__dashboard", Some("uid")) => Some(uid.to_owned()),
            _ => None,
        }
    }
}

/// The reference that a text begins with.
fn reference(text: &str) -> Option<Reference<'_>> {
    let word = |text: &str| text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    let framed = |open: &str, close: &str| {
        let inner = text.strip_prefix(open)?;
        let inner = inner.get(..inner.find(close)?)?;
        let (name, rest) = inner.split_at(word(inner));
        let (field, rest) = match rest.strip_prefix('.') {
            Some(rest) => rest.find(':').map_or((Some(rest), ""), |end| (rest.get(..end), rest.get(end..).unwrap_or_default())),
            None => (None, rest),
        };
        let format = rest.strip_prefix(':');
        let whole = !name.is_empty() && (rest.is_empty() || format.is_some());
        whole.then(|| Reference { name, field, format, length: open.len() + inner.len() + close.len() })
    };
    framed("${", "}").or_else(|| framed("[[", "]]")).or_else(|| {
        let rest = text.strip_prefix('$')?;
        let name = rest.get(..word(rest)).filter(|name| !name.is_empty())?;
        Some(Reference { name, field: None, format: None, length: name.len() + 1 })
    })
}

fn text<'v>(value: &'v Value, pointer: &str) -> Option<&'v str> {
    value.pointer(pointer).and_then(Value::as_str)
}

/// Whether a variable may have several values at once.
fn several(variable: &Value) -> bool {
    ["multi", "includeAll"].iter().any(|key| variable.get(*key).and_then(Value::as_bool) == Some(true))
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// What a dashboard's variable is set to, or what Grafana sets it to when the dashboard is opened, as far as that is stored.
fn stored_meaning(variable: &Value) -> Option<Meaning> {
    let kind = text(variable, "/type").unwrap_or_default();
    let typed = || text(variable, "/query").map(str::to_owned);
    let current = match variable.pointer("/current/value") {
        Some(Value::Array(values)) => values.iter().filter_map(scalar).collect(),
        Some(value) => scalar(value).filter(|value| !value.is_empty() || kind == "textbox").into_iter().collect(),
        None => Vec::new(),
    };
    let includes_all = variable.get("includeAll").and_then(Value::as_bool) == Some(true);
    let all = current.first().is_some_and(|value| value == ALL) || (current.is_empty() && includes_all);
    if all {
        if let Some(own) = text(variable, "/allValue").filter(|own| !own.is_empty()) {
            return Some(Meaning::Text(own.to_owned()));
        }
        let options = options(variable, kind);
        return Some(if options.is_empty() { Meaning::Any } else { Meaning::Of(options, true) });
    }
    match (kind, current.is_empty()) {
        ("constant" | "textbox", true) => typed().map(Meaning::Text),
        ("custom" | "interval", true) => options(variable, kind).into_iter().next().map(Meaning::Text),
        ("adhoc", _) | (_, true) => None,
        ("interval" | "textbox" | "constant", false) => current.into_iter().next().map(Meaning::Text),
        (_, false) => Some(Meaning::Of(current, several(variable))),
    }
}

/// All values that a variable can have, as far as they are stored.
fn options(variable: &Value, kind: &str) -> Vec<String> {
    let list = variable.get("options").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let stored: Vec<String> =
        list.iter().filter_map(|option| scalar(option.get("value")?)).filter(|value| value != ALL).collect();
    if !stored.is_empty() || !matches!(kind, "custom" | "interval") {
        return stored;
    }
    let listed = text(variable, "/query").unwrap_or_default().split(',').map(str::trim).filter(|value| !value.is_empty());
    listed.map(|value| value.split_once(" : ").map_or(value, |(_, value)| value.trim()).to_owned()).collect()
}

impl Meaning {
    /// As it stands in a query. None for a format that is not known here.
    fn written(self, format: Option<&str>, plugin: &str) -> Option<String> {
        let regular = matches!(plugin, "loki" | "prometheus");
        match self {
            Self::Text(text) => Some(text),
            Self::Any => regular.then(|| ANY.to_owned()),
            Self::Of(values, multi) => match format {
                None | Some("") => Some(by_default(&values, multi, plugin)),
                Some(format) => in_format(&values, format),
            },
        }
    }
}

/// As the plugin itself writes it where no format is asked for.
fn by_default(values: &[String], multi: bool, plugin: &str) -> String {
    let sql = matches!(plugin, "postgres" | "grafana-postgresql-datasource" | "mysql" | "mssql");
    let first = || values.first().cloned().unwrap_or_default();
    let each =
        |write: fn(&str) -> String, between: &str| values.iter().map(|value| write(value)).collect::<Vec<_>>().join(between);
    match plugin {
        "loki" if multi => each(literal_regex, "|"),
        "loki" => first(),
        "prometheus" if multi && values.len() > 1 => format!("({})", each(literal_regex, "|")),
        "prometheus" if multi => each(literal_regex, "|"),
        "prometheus" => first().replace('\\', "\\\\").replace('"', "\\\""),
        _ if sql && multi => each(sql_quoted, ","),
        _ if sql => first().replace('\'', "''"),
        _ if values.len() > 1 => format!("{{{}}}", values.join(",")),
        _ => first(),
    }
}

fn in_format(values: &[String], format: &str) -> Option<String> {
    let each =
        |write: fn(&str) -> String, between: &str| values.iter().map(|value| write(value)).collect::<Vec<_>>().join(between);
    Some(match format {
        "text" => values.join(" + "),
        "pipe" => values.join("|"),
        "regex" if values.len() == 1 => each(regex, "|"),
        "regex" => format!("({})", each(regex, "|")),
        "glob" if values.len() > 1 => format!("{{{}}}", values.join(",")),
        "glob" | "raw" | "csv" => values.join(","),
        "singlequote" => each(|value| format!("'{}'", value.replace('\'', "\\'")), ","),
        "doublequote" => each(|value| format!("\"{}\"", value.replace('"', "\\\"")), ","),
        "sqlstring" => each(sql_quoted, ","),
        "json" => match values {
            [one] => one.clone(),
            several => Value::from(several).to_string(),
        },
        _ => return None,
    })
}

fn sql_quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// For a regular expression.
fn regex(value: &str) -> String {
    escaped(value, "\\", "\\\\")
}

/// For a regular expression that stands in a string literal, in which a backslash is written as two.
fn literal_regex(value: &str) -> String {
    escaped(value, "\\\\", "\\\\\\\\")
}

fn escaped(value: &str, by: &str, backslash: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '\\' => escaped.push_str(backslash),
            '$' | '^' | '*' | '{' | '}' | '[' | ']' | '+' | '?' | '.' | '(' | ')' | '|' => {
                escaped.push_str(by);
                escaped.push(c);
            }
            _ => escaped.push(c),
        }
    }
    escaped
}

/// A duration as query languages write it.
fn words(milliseconds: i64) -> String {
    if milliseconds % 1000 == 0 { format!("{}s", milliseconds / 1000) } else { format!("{milliseconds}ms") }
}

fn moment(milliseconds: i64, format: Option<&str>) -> Option<String> {
    match format {
        None | Some("date:ms") => Some(milliseconds.to_string()),
        Some("date:seconds") => Some((milliseconds / 1000).to_string()),
        Some("date" | "date:iso") => {
            Some(DateTime::from_timestamp_millis(milliseconds)?.to_rfc3339_opts(SecondsFormat::Millis, true))
        }
        Some(_) => None,
    }
}
