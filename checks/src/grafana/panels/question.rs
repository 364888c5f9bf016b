//! What a panel asks Grafana's backend, as the web interface would put it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::super::dashboard::variable;
use super::super::datasources::{Datasources, Resolved};
use super::shape::{Board, Shape, list};
use super::variables::{Times, Values, Variables};

/// Most points of a graph and lines of a log that are asked for: enough to see that there are some, and no load.
const MOST: u64 = 100;
/// What a variable in them does no harm to: they are no part of the question.
const NOT_ASKED: &[&str] = &["datasource", "refId", "hide", "key", "legendFormat", "alias"];
/// Steps that Grafana rounds to, in milliseconds.
const STEPS: &[i64] = &[
    1_000, 2_000, 5_000, 10_000, 15_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000, 1_200_000, 1_800_000,
    3_600_000, 7_200_000, 10_800_000, 21_600_000, 43_200_000, 86_400_000,
];

/// What a panel asks.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Question {
    /// As it is sent.
    pub(super) body: Value,
    /// The queries that people see the answers of.
    pub(super) refs: BTreeSet<String>,
}

/// What a panel's queries come to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Made {
    /// To a question.
    Ask(Question),
    /// To none.
    Nothing,
    /// To an error, without asking.
    Wrong(String),
    /// To one that is not known here.
    Unclear(String),
}

/// What a question about a panel is about, beside the panel.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) uid: &'a str,
    pub(super) board: &'a Board,
    pub(super) given: &'a BTreeMap<String, Values>,
    /// In milliseconds.
    pub(super) window: (i64, i64),
    /// Asks a datasource of this uid instead: for the negative control.
    pub(super) instead: Option<&'a str>,
}

/// What makes questions of a Grafana's panels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) about: About<'a>,
    pub(super) datasources: &'a Datasources,
}

/// Where a query goes.
enum Goes {
    To { uid: String, plugin: String },
    Expression,
    Nowhere,
}

impl Asker<'_> {
    pub(super) fn made(self, panel: &Shape) -> Made {
        self.put(panel).unwrap_or_else(|made| made)
    }

    fn put(self, panel: &Shape) -> Result<Made, Made> {
        if !panel.asks() {
            return Ok(Made::Nothing);
        }
        let times = self.times(&panel.model);
        let About { uid, board, given, .. } = self.about;
        let variables = Variables { list: &board.variables, given, dashboard: (uid, &board.title), times };
        let own = panel.model.get("datasource").unwrap_or(&Value::Null);
        let hidden = |target: &Value| target.get("hide").and_then(Value::as_bool) == Some(true);
        let targets = list(&panel.model, "/targets");
        // Expressions may need what is hidden; nothing else does.
        let computes = targets.iter().any(|target| !hidden(target) && is_expression(reference(target, own)));
        let (mut queries, mut refs) = (Vec::new(), BTreeSet::new());
        for target in targets.iter().filter(|target| computes || !hidden(target)) {
            let goes = self.goes(reference(target, own))?;
            if let Some(query) = query(target, &goes, variables)? {
                queries.push((hidden(target), query));
            }
        }
        let mut asked = Vec::new();
        for (hidden, mut query) in queries {
            let free = || ('A'..='Z').map(String::from).find(|free| !refs.contains(free)).unwrap_or_default();
            let name =
                query.get("refId").and_then(Value::as_str).filter(|name| !name.is_empty()).map_or_else(free, str::to_owned);
            query.insert("refId".to_owned(), name.clone().into());
            query.insert("intervalMs".to_owned(), times.interval.into());
            query.insert("maxDataPoints".to_owned(), points(&panel.model).into());
            if !hidden {
                refs.insert(name);
            }
            asked.push(query);
        }
        if refs.is_empty() {
            return Ok(Made::Nothing);
        }
        let body = json!({"from": times.from.to_string(), "to": times.to.to_string(), "queries": asked});
        Ok(Made::Ask(Question { body, refs }))
    }

    /// The panel's own time, if it has one, at the end of the window.
    fn times(self, model: &Value) -> Times {
        let text = |key: &str| model.get(key).and_then(Value::as_str).and_then(duration);
        let shift = text("timeShift").unwrap_or_default();
        let (from, to) = self.about.window;
        let from = text("timeFrom").map_or(from, |long| to.saturating_sub(long));
        let (from, to) = (from.saturating_sub(shift), to.saturating_sub(shift));
        let points = i64::try_from(points(model)).unwrap_or(1).max(1);
        let raw = (to - from) / points;
        let step = STEPS.iter().copied().find(|step| *step >= raw).unwrap_or(raw);
        Times { from, to, interval: step.max(text("interval").unwrap_or_default()) }
    }

    fn goes(self, reference: &Value) -> Result<Goes, Made> {
        if is_expression(reference) {
            return Ok(Goes::Expression);
        }
        let resolved = match self.datasources.resolve(reference) {
            Resolved::Variable(name) => match self.about.given.get(&name) {
                Some(Values::One(set)) => self
                    .datasources
                    .by_uid_or_name(set)
                    .map_or_else(|| Resolved::Missing(set.clone()), |found| Resolved::Uid(found.uid.clone())),
                Some(Values::Several(_)) | None => variable(&self.about.board.variables, &name, self.datasources),
            },
            resolved @ (Resolved::Uid(_) | Resolved::Own | Resolved::Missing(_)) => resolved,
        };
        match resolved {
            Resolved::Uid(uid) => {
                let plugin = self.datasources.by_uid(&uid).map(|found| found.plugin.clone()).unwrap_or_default();
                Ok(Goes::To { uid: self.about.instead.map_or(uid, str::to_owned), plugin })
            }
            Resolved::Own => Ok(Goes::Nowhere),
            Resolved::Variable(name) => Err(Made::Unclear(format!("variable {name} stands for a datasource that is not known"))),
            Resolved::Missing(word) => Err(Made::Wrong(format!("there is no datasource {word}"))),
        }
    }
}

/// What a query refers to: its own datasource or the panel's, or the default one among several.
fn reference<'v>(target: &'v Value, own: &'v Value) -> &'v Value {
    let reference = target.get("datasource").filter(|reference| !reference.is_null()).unwrap_or(own);
    if word(reference, "uid") == Some("-- Mixed --") { &Value::Null } else { reference }
}

fn is_expression(reference: &Value) -> bool {
    let words = [word(reference, "uid"), word(reference, "type")];
    words.iter().flatten().any(|word| matches!(*word, "__expr__" | "-100" | "Expression"))
}

/// The uid, or the type, that a reference to a datasource names.
fn word<'v>(reference: &'v Value, key: &str) -> Option<&'v str> {
    reference.as_str().or_else(|| reference.get(key)?.as_str())
}

fn points(model: &Value) -> u64 {
    model.get("maxDataPoints").and_then(Value::as_u64).map_or(MOST, |points| points.clamp(1, MOST))
}

/// A query with its variables replaced; none for one that asks nothing, or what only the web interface knows.
fn query(target: &Value, goes: &Goes, variables: Variables<'_>) -> Result<Option<Map<String, Value>>, Made> {
    let Value::Object(fields) = target else { return Ok(None) };
    let (uid, plugin) = match goes {
        Goes::Nowhere => return Ok(None),
        Goes::Expression => ("__expr__", "__expr__"),
        Goes::To { uid, plugin } => (uid.as_str(), plugin.as_str()),
    };
    let empty = |key: &str| fields.get(key).is_none_or(|text| text.as_str().is_some_and(|text| text.trim().is_empty()));
    if matches!(plugin, "loki" | "prometheus") && empty("expr") {
        return Ok(None);
    }
    let instant = fields.get("queryType").and_then(Value::as_str) == Some("instant")
        || fields.get("instant").and_then(Value::as_bool) == Some(true);
    let mut query = Map::new();
    for (key, value) in fields {
        let kept = NOT_ASKED.contains(&key.as_str());
        let replaced = |value: &Value| replaced(value, &|text| variables.replaced(text, plugin, instant));
        let value = if kept { Ok(value.clone()) } else { replaced(value) };
        let value = value.map_err(|name| Made::Unclear(format!("variable {name} has no value that is known")))?;
        query.insert(key.clone(), value);
    }
    query.remove("hide");
    query.insert("datasource".to_owned(), json!({"type": plugin, "uid": uid}));
    if plugin == "loki" {
        if empty("queryType") {
            query.insert("queryType".to_owned(), if instant { "instant" } else { "range" }.into());
        }
        let lines = query.get("maxLines").and_then(Value::as_u64).filter(|lines| (1..MOST).contains(lines));
        query.insert("maxLines".to_owned(), lines.unwrap_or(MOST).into());
    }
    Ok(Some(query))
}

fn replaced(value: &Value, replace: &impl Fn(&str) -> Result<String, String>) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => Value::String(replace(text)?),
        Value::Array(items) => Value::Array(items.iter().map(|item| replaced(item, replace)).collect::<Result<_, _>>()?),
        Value::Object(fields) => {
            let field = |(key, value): (&String, &Value)| Ok((key.clone(), replaced(value, replace)?));
            Value::Object(fields.iter().map(field).collect::<Result<_, String>>()?)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    })
}

/// A time as dashboards have it, like `6h`, `now-6h` or `>10s`, in milliseconds.
fn duration(text: &str) -> Option<i64> {
    let text = text.trim().trim_start_matches("now-").trim_start_matches(['>', '=']);
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let seconds = match unit {
        "ms" => return number.parse().ok().filter(|time| *time > 0),
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        "M" => 30 * 86_400,
        "y" => 365 * 86_400,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(seconds * 1000).filter(|time| (1..=10 * 365 * 86_400_000).contains(time))
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn times_of_panels_are_read() {
        let hour = 3_600_000;
        for (text, time) in [
            ("6h", Some(6 * hour)),
            ("now-6h", Some(6 * hour)),
            (">10s", Some(10_000)),
            ("500ms", Some(500)),
            ("2d", Some(48 * hour)),
            ("1M", Some(720 * hour)),
            ("", None),
            ("h", None),
            ("$interval", None),
            ("0h", None),
            ("99999999999999999999h", None),
            ("now/d", None),
        ] {
            assert_eq!(duration(text), time, "{text}");
        }
    }
}
