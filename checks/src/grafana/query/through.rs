//! What Grafana answers, through its datasource.

use std::time::Duration;

use serde_json::{Value, json};

use crate::check::Context;
use crate::net::Budget;
use crate::net::fetch::{self, Reply};
use crate::outcome::Outcome;
use crate::target::GrafanaTarget;

use super::super::api::{Api, message, refusal, scrubbed};
use super::super::frames;
use super::window::{LIMIT, Lines, Window, worded};
use super::{DATASOURCE_ERROR, NO_DATASOURCE, STALE_ANSWER, WRONG_REPLY};

/// The name of the question for lines.
const LINES: &str = "A";
/// The name of the question for their number.
const COUNT: &str = "B";

/// Lines as Grafana answers them, and the reply, which knows what must not be quoted.
#[derive(Debug)]
pub(crate) struct Answer {
    /// All lines.
    pub(crate) lines: Lines,
    /// Where they came in.
    pub(super) reply: Reply,
}

/// The way to lines through a datasource of a Grafana.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way<'a> {
    pub(crate) cx: &'a Context,
    pub(crate) grafana: &'a GrafanaTarget,
    /// The datasource's uid.
    pub(crate) datasource: &'a str,
    pub(crate) selector: &'a str,
}

impl Way<'_> {
    /// Asks for the lines of a window.
    pub(crate) async fn lines(self, window: Window, budget: Budget) -> Result<Answer, Outcome> {
        let reply = self.post(window, &[for_lines(self.datasource, self.selector)], budget).await?;
        let lines = lines(&reply, &document(&reply)?, window)?;
        Ok(Answer { lines, reply })
    }

    /// Asks for the lines of a window and, in the same call, for their number. Also says how long Grafana took, if it answered.
    pub(super) async fn lines_and_count(
        self,
        window: Window,
        budget: Budget,
    ) -> (Result<Answer, Outcome>, Result<u64, Outcome>, Option<Duration>) {
        let questions = [for_lines(self.datasource, self.selector), for_count(self.datasource, self.selector, window)];
        let reply = match self.post(window, &questions, budget).await {
            Ok(reply) => reply,
            Err(outcome) => return (Err(outcome.clone()), Err(outcome), None),
        };
        let took = Some(reply.took);
        match document(&reply) {
            Err(outcome) => (Err(outcome.clone()), Err(outcome), took),
            Ok(document) => {
                let count = count(&reply, &document);
                (lines(&reply, &document, window).map(|lines| Answer { lines, reply }), count, took)
            }
        }
    }

    async fn post(self, window: Window, queries: &[Value], budget: Budget) -> Result<Reply, Outcome> {
        let question = json!({"from": window.start.to_string(), "to": window.end.to_string(), "queries": queries});
        Api::open(self.cx, self.grafana).await?.ask(&["api", "ds", "query"], &question, budget).await
    }
}

fn for_lines(datasource: &str, selector: &str) -> Value {
    json!({
        "refId": LINES,
        "datasource": {"type": "loki", "uid": datasource},
        "expr": selector,
        "queryType": "range",
        "direction": "backward",
        "maxLines": LIMIT,
        "intervalMs": 1000,
        "maxDataPoints": LIMIT,
    })
}

/// The count is made at the end of the window; with the offset it is of what [`Window::counted`] counts.
fn for_count(datasource: &str, selector: &str, window: Window) -> Value {
    let (length, offset) = window.count();
    json!({
        "refId": COUNT,
        "datasource": {"type": "loki", "uid": datasource},
        "expr": format!("sum(count_over_time({selector} [{length}ms] offset {offset}ms))"),
        "queryType": "instant",
        "maxLines": LIMIT,
        "intervalMs": 1000,
        "maxDataPoints": LIMIT,
    })
}

fn lines(reply: &Reply, document: &Value, window: Window) -> Result<Lines, Outcome> {
    let lines = Lines::from_iter(frames::read(result(reply, document, LINES)?).map_err(|what| unparsable(reply, &what))?);
    match window.stranger(&lines) {
        Some(line) => {
            Err(STALE_ANSWER.because(format!("Grafana answers a line that was not asked for: {}", reply.clip(&worded(line)))))
        }
        None => Ok(lines),
    }
}

fn count(reply: &Reply, document: &Value) -> Result<u64, Outcome> {
    let number = frames::number(result(reply, document, COUNT)?).map_err(|what| unparsable(reply, &what))?;
    let whole = |number: f64| format!("{number:.0}").parse().ok().filter(|_| number.fract() == 0.0);
    match number {
        None => Ok(0),
        Some(number) => whole(number).ok_or_else(|| unparsable(reply, &format!("{number} lines"))),
    }
}

fn unparsable(reply: &Reply, what: &str) -> Outcome {
    fetch::UNPARSABLE.because(format!("{what} in the answer of {}", reply.headline()))
}

/// The answer, if it has results. An error of the datasource comes with 400 in most versions and with 200, 207 or 500 in others, but
/// always under the name of its question.
fn document(reply: &Reply) -> Result<Value, Outcome> {
    let status = reply.status.as_u16();
    let document: Result<Value, Outcome> = reply.parse();
    if document.as_ref().is_ok_and(|document| document.get("results").is_some_and(Value::is_object)) {
        return document;
    }
    if reply.status.is_success() {
        document?;
    }
    Err(match message(reply).filter(|words| matches!(status, 404 | 500) && names_no_datasource(words)) {
        Some(words) => NO_DATASOURCE.because(format!("POST {}: {words}", reply.headline())),
        None => refusal(reply, "POST"),
    })
}

/// The answer to one question.
fn result<'a>(reply: &Reply, document: &'a Value, name: &str) -> Result<&'a Value, Outcome> {
    let answer = document.get("results").and_then(|results| results.get(name));
    let answer = answer.ok_or_else(|| WRONG_REPLY.because(format!("no answer to question {name} in {}", reply.headline())))?;
    let error = answer.get("error").filter(|error| !error.is_null());
    let status = answer.get("status").and_then(Value::as_u64).unwrap_or(200);
    if error.is_some() || status >= 400 {
        let text = error.and_then(Value::as_str).map_or_else(|| "no words".to_owned(), scrubbed);
        let reason = if names_no_datasource(&text) { NO_DATASOURCE } else { DATASOURCE_ERROR };
        return Err(reason.because(format!("Grafana says {status}: {}", reply.clip(&text))));
    }
    Ok(answer)
}

/// Grafana's words for a uid that it does not have; they differ between versions and ways in.
fn names_no_datasource(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["data source not found", "datasource not found", "unable to load datasource metadata"]
        .iter()
        .any(|words| text.contains(words))
}
