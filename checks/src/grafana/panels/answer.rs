//! What Grafana answers to a panel's question, query by query.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::net::fetch::{self, Reply};
use crate::outcome::Outcome;

use super::super::api::{message, refusal, scrubbed};
use super::super::frames;
use super::question::Question;

/// Shorter words of a query are no secrets, and stand in errors for what they are.
const SECRET: usize = 4;

/// What one query brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// So many rows in which something is, and whether all of it are numbers that are zero.
    Rows { rows: u64, zeros: bool },
    /// The datasource's, or Grafana's, own words for why not.
    Error(String),
}

impl Answer {
    pub(super) const NOTHING: Self = Self::Rows { rows: 0, zeros: true };
}

/// What all visible queries of a panel bring.
pub(super) type Answers = BTreeMap<String, Answer>;

/// Why there are no answers.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Trouble {
    /// With Grafana itself, or the way to it.
    Side(Outcome),
    /// With this panel.
    Panel(String),
}

/// Reads a reply. An error of a datasource comes with 200, 207, 400 or 500; one of the whole question with a message alone.
pub(super) fn read(reply: &Reply, question: &Question) -> Result<Answers, Trouble> {
    let status = reply.status.as_u16();
    let document = match reply.parse::<Value>() {
        Ok(document) => document,
        Err(outcome) if !reply.is_html() && reply.status.is_success() => {
            return Err(Trouble::Panel(outcome.evidence().as_str().to_owned()));
        }
        Err(outcome) if reply.status.is_success() => return Err(Trouble::Side(outcome)),
        Err(_) => return Err(Trouble::Side(refusal(reply, "POST"))),
    };
    if let Some(results) = document.get("results").filter(|results| results.is_object()) {
        return question.refs.iter().map(|name| Ok((name.clone(), one(results, name, reply, question)?))).collect();
    }
    match (status, message(reply)) {
        (403, message) => Err(Trouble::Panel(format!("the token may not ask: {}", message.unwrap_or_default()))),
        (400 | 404..=500, Some(message)) => {
            let error = Answer::Error(without_query(&message, question));
            Ok(question.refs.iter().map(|name| (name.clone(), error.clone())).collect())
        }
        (200..=299, _) => Err(Trouble::Side(fetch::UNPARSABLE.because(format!("{}: {status}, without results", reply.place())))),
        _ => Err(Trouble::Side(refusal(reply, "POST"))),
    }
}

fn one(results: &Value, name: &str, reply: &Reply, question: &Question) -> Result<Answer, Trouble> {
    let answer = results.get(name).ok_or_else(|| Trouble::Panel(format!("no answer to query {name}")))?;
    let status = answer.get("status").and_then(Value::as_u64).unwrap_or(200);
    let error = answer.get("error").filter(|error| !error.is_null());
    if error.is_some() || status >= 400 {
        let words = error.and_then(Value::as_str).unwrap_or("no words");
        return Ok(Answer::Error(reply.clip(&without_query(&scrubbed(words), question))));
    }
    rows(answer).map_err(|what| Trouble::Panel(format!("the answer to query {name} can not be read: {what}")))
}

/// Rows in which anything but the time is.
pub(super) fn rows(answer: &Value) -> Result<Answer, String> {
    let (mut rows, mut zeros) = (0_u64, true);
    for frame in frames::all(answer)? {
        let columns = frame.columns()?;
        let only_times = columns.iter().all(|(kind, _)| *kind == "time");
        let mut full = BTreeSet::new();
        for (kind, column) in columns.iter().filter(|(kind, _)| only_times || *kind != "time") {
            for (row, value) in column.iter().enumerate().filter(|(_, value)| !value.is_null()) {
                full.insert(row);
                zeros &= *kind == "number" && value.as_f64() == Some(0.0);
            }
        }
        rows = rows.saturating_add(u64::try_from(full.len()).unwrap_or(u64::MAX));
    }
    Ok(Answer::Rows { rows, zeros })
}

/// An error without what it repeats of the query, which may be a secret: quoted parts, and words from literals.
fn without_query(error: &str, question: &Question) -> String {
    let mut texts = Vec::new();
    collect(question.body.get("queries").unwrap_or(&Value::Null), &mut texts);
    let literals: Vec<&str> = texts.iter().flat_map(|text| quoted(text)).collect();
    let mut words: Vec<&str> = quoted(error).into_iter().filter(|part| texts.iter().any(|text| text.contains(part))).collect();
    let letters = |c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '@' | '.'));
    words.extend(error.split(letters).filter(|word| literals.iter().any(|literal| literal.contains(word))));
    words.retain(|word| word.len() >= SECRET);
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    words.iter().fold(error.to_owned(), |error, word| error.replace(word, "***"))
}

fn collect<'v>(value: &'v Value, texts: &mut Vec<&'v str>) {
    let inner: Vec<&Value> = match value {
        Value::String(text) => {
            texts.push(text);
            return;
        }
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => return,
    };
    for value in inner {
        collect(value, texts);
    }
}

/// What stands between two quotation marks of a kind; with escaped ones among them, all that is next to one.
fn quoted(text: &str) -> Vec<&str> {
    let (first, step) = if text.contains('\\') { (0, 1) } else { (1, 2) };
    let between = |mark: &'static char| text.contains(*mark).then(|| text.split(*mark).skip(first).step_by(step));
    ['"', '\'', '`'].iter().filter_map(between).flatten().collect()
}
