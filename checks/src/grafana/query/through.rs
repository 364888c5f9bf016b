//! What Grafana answers, through its datasource.

use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::check::Context;
use crate::net::fetch::{self, Reply};
use crate::net::{Budget, below};
use crate::outcome::Outcome;
use crate::target::GrafanaTarget;

use super::super::{SERVER_ERROR, WRONG_REPLY};
use super::frames;
use super::window::{LIMIT, Lines, Window, worded};
use super::{DATASOURCE_ERROR, NO_DATASOURCE, STALE_ANSWER};

/// Grafana's own word for "do not answer from the query cache".
const CACHE_SKIP: HeaderName = HeaderName::from_static("x-cache-skip");
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
    let (mut headers, secrets) = match fetch::bearer(grafana.token.as_ref()).await {
        Ok(prepared) => prepared,
        Err(outcome) => return (Err(outcome), None),
    };
    headers.insert(CACHE_SKIP, HeaderValue::from_static("true"));
    let url = below(&grafana.url, &["api", "ds", "query"]);
    let question = question(datasource, selector, window);
    let reply = match fetch::post(&cx.clients, &url, headers, &question, budget).await {
        Ok(reply) => reply.hide(secrets),
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
    let document = reply.json();
    // An error of the datasource comes with 400 in most versions and with 200, 207 or 500 in others, but always under its name.
    if let Some(answer) = document.as_ref().ok().and_then(|document| document.get("results")?.get(REF)) {
        return read_results(reply, answer);
    }
    let reason = match status {
        200..=299 => {
            document?;
            WRONG_REPLY
        }
        300..=399 => fetch::REDIRECT,
        401 | 403 => fetch::TOKEN_REFUSED,
        404 | 500 if names_no_datasource(&reply.text()) => NO_DATASOURCE,
        500..=599 => SERVER_ERROR,
        _ => WRONG_REPLY,
    };
    Err(reason.because(reply.quote()))
}

fn read_results(reply: &Reply, answer: &Value) -> Result<Lines, Outcome> {
    let error = answer.get("error").filter(|error| !error.is_null());
    let status = answer.get("status").and_then(Value::as_u64).unwrap_or(200);
    if error.is_some() || status >= 400 {
        let text = error.map_or_else(|| "no words".to_owned(), |error| error.as_str().map_or_else(|| error.to_string(), short));
        let reason = if names_no_datasource(&text) { NO_DATASOURCE } else { DATASOURCE_ERROR };
        return Err(reason.because(format!("Grafana says {status}: {}", reply.clip(&text))));
    }
    frames::read(answer).map(Lines::from_iter).map_err(|what| fetch::UNPARSABLE.because(format!("{what} in {}", reply.quote())))
}

/// Grafana's words for a uid that it does not have; they differ between versions and ways in.
fn names_no_datasource(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["data source not found", "datasource not found", "unable to load datasource metadata"]
        .iter()
        .any(|words| text.contains(words))
}

/// An error without the query of the URL that it names, which is long and hides what comes after it.
fn short(error: &str) -> String {
    let Some((before, after)) = error.split_once('?') else { return error.to_owned() };
    match after.split_once('"') {
        Some((_, after)) => format!("{before}?…\"{after}"),
        None => error.to_owned(),
    }
}
