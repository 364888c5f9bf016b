//! What Grafana answers, through its datasource.

use std::time::Duration;

use serde_json::{Value, json};

use crate::check::Context;
use crate::net::Budget;
use crate::net::fetch::{self, Reply};
use crate::outcome::Outcome;
use crate::target::GrafanaTarget;

use super::super::api::{Api, message, refusal, scrubbed};
use super::frames;
use super::window::{LIMIT, Lines, Window, worded};
use super::{DATASOURCE_ERROR, NO_DATASOURCE, STALE_ANSWER};

/// Our one question's name.
const REF: &str = "A";

/// Lines as Grafana answers them, and the reply, which knows what must not be quoted.
#[derive(Debug)]
pub(crate) struct Answer {
    /// All lines.
    pub(crate) lines: Lines,
    /// Where they came in.
    pub(super) reply: Reply,
}

/// Asks for the lines of a window. Also says how long Grafana took, if it answered.
pub(crate) async fn ask(
    cx: &Context,
    grafana: &GrafanaTarget,
    datasource: &str,
    selector: &str,
    window: Window,
    budget: Budget,
) -> (Result<Answer, Outcome>, Option<Duration>) {
    let api = match Api::open(cx, grafana).await {
        Ok(api) => api,
        Err(outcome) => return (Err(outcome), None),
    };
    let reply = match api.ask(&["api", "ds", "query"], &question(datasource, selector, window), budget).await {
        Ok(reply) => reply,
        Err(outcome) => return (Err(outcome), None),
    };
    let took = Some(reply.took);
    let answer = read(&reply).and_then(|lines| match window.stranger(&lines) {
        Some(line) => {
            Err(STALE_ANSWER.because(format!("Grafana answers a line that was not asked for: {}", reply.clip(&worded(line)))))
        }
        None => Ok(lines),
    });
    (answer.map(|lines| Answer { lines, reply }), took)
}

fn question(datasource: &str, selector: &str, window: Window) -> Value {
    json!({
        "from": window.start.to_string(),
        "to": window.end.to_string(),
        "queries": [{
            "refId": REF,
            "datasource": {"type": "loki", "uid": datasource},
            "expr": selector,
            "queryType": "range",
            "direction": "backward",
            "maxLines": LIMIT,
            "intervalMs": 1000,
            "maxDataPoints": LIMIT,
        }],
    })
}

fn read(reply: &Reply) -> Result<Lines, Outcome> {
    let status = reply.status.as_u16();
    let document: Result<Value, Outcome> = reply.parse();
    // An error of the datasource comes with 400 in most versions and with 200, 207 or 500 in others, but always under its name.
    if let Some(answer) = document.as_ref().ok().and_then(|document| document.get("results")?.get(REF)) {
        return read_results(reply, answer);
    }
    if reply.status.is_success() {
        document?;
    }
    Err(match message(reply).filter(|words| matches!(status, 404 | 500) && names_no_datasource(words)) {
        Some(words) => NO_DATASOURCE.because(format!("POST {}: {words}", reply.headline())),
        None => refusal(reply, "POST"),
    })
}

fn read_results(reply: &Reply, answer: &Value) -> Result<Lines, Outcome> {
    let error = answer.get("error").filter(|error| !error.is_null());
    let status = answer.get("status").and_then(Value::as_u64).unwrap_or(200);
    if error.is_some() || status >= 400 {
        let text =
            error.map_or_else(|| "no words".to_owned(), |error| error.as_str().map_or_else(|| "no words".to_owned(), scrubbed));
        let reason = if names_no_datasource(&text) { NO_DATASOURCE } else { DATASOURCE_ERROR };
        return Err(reason.because(format!("Grafana says {status}: {}", reply.clip(&text))));
    }
    frames::read(answer)
        .map(Lines::from_iter)
        .map_err(|what| fetch::UNPARSABLE.because(format!("{what} in the answer of {}", reply.headline())))
}

/// Grafana's words for a uid that it does not have; they differ between versions and ways in.
fn names_no_datasource(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["data source not found", "datasource not found", "unable to load datasource metadata"]
        .iter()
        .any(|words| text.contains(words))
}
