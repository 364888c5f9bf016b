//! What Loki itself answers.

use std::time::Duration;

use serde_json::Value;
use url::Url;

use crate::check::Context;
use crate::loki;
use crate::net::fetch::{self, Reply};
use crate::net::{Budget, below};
use crate::outcome::Outcome;
use crate::target::LokiTarget;

use super::super::{SERVER_ERROR, WRONG_REPLY};
use super::window::{LIMIT, Lines, Window, worded};
use super::{BAD_QUERY, STALE_ANSWER, TOO_MANY_LINES};

/// How often a window that has too many lines is halved.
const HALVINGS: usize = 6;

/// Lines as Loki has them.
#[derive(Debug)]
pub(super) struct Answer {
    /// All lines of the window.
    pub(super) lines: Lines,
    /// The window that was asked for in the end.
    pub(super) window: Window,
    /// How long Loki took.
    pub(super) took: Duration,
}

/// Asks for the lines of a window, or of as much of its newer end as can be compared line by line.
pub(super) async fn ask(
    cx: &Context,
    loki: &LokiTarget,
    selector: &str,
    window: Window,
    budget: Budget,
) -> Result<Answer, Outcome> {
    let mut narrowed = window;
    for _ in 0..HALVINGS {
        match ask_once(cx, loki, selector, narrowed, budget).await? {
            // The lines are all in the other half: this one says nothing about the whole.
            Some(answer) if answer.lines.is_empty() && narrowed != window => break,
            Some(answer) => return Ok(answer),
            None => narrowed = narrowed.newer_half(),
        }
    }
    Err(TOO_MANY_LINES.because(format!("{LIMIT} lines and more of {selector} at once")))
}

/// None: there are too many lines to have them all.
pub(super) async fn ask_once(
    cx: &Context,
    loki: &LokiTarget,
    selector: &str,
    window: Window,
    budget: Budget,
) -> Result<Option<Answer>, Outcome> {
    let reply = loki::get(cx, loki, &url(&loki.url, selector, window), budget).await?;
    let lines = read(&reply)?;
    if lines.len() >= LIMIT {
        return Ok(None);
    }
    let lines = Lines::from_iter(lines);
    if let Some(line) = window.stranger(&lines) {
        return Err(STALE_ANSWER.because(format!("Loki answers a line that was not asked for: {}", reply.clip(&worded(line)))));
    }
    Ok(Some(Answer { lines, window, took: reply.took }))
}

fn url(base: &Url, selector: &str, window: Window) -> Url {
    let mut url = below(base, &["loki", "api", "v1", "query_range"]);
    let (start, end) = window.nanos();
    url.query_pairs_mut()
        .append_pair("query", selector)
        .append_pair("start", &start.to_string())
        .append_pair("end", &end.to_string())
        .append_pair("limit", &LIMIT.to_string())
        .append_pair("direction", "backward");
    url
}

fn read(reply: &Reply) -> Result<Vec<(i64, String)>, Outcome> {
    let reason = match reply.status.as_u16() {
        200 => None,
        300..=399 => Some(fetch::REDIRECT),
        400 => Some(BAD_QUERY),
        401 | 403 => Some(fetch::DENIED),
        429 | 500..=599 => Some(SERVER_ERROR),
        _ => Some(WRONG_REPLY),
    };
    if let Some(reason) = reason {
        return Err(reason.because(reply.quote()));
    }
    let document = reply.json()?;
    if document.get("status").and_then(Value::as_str) != Some("success") {
        return Err(WRONG_REPLY.because(reply.quote()));
    }
    let data = document.get("data");
    match data.and_then(|data| data.get("resultType")).and_then(Value::as_str) {
        Some("streams") => {}
        Some(_) => return Err(BAD_QUERY.because(format!("not a query for log lines: {}", reply.quote()))),
        None => return Err(fetch::UNPARSABLE.because(format!("no resultType in {}", reply.quote()))),
    }
    let streams = data.and_then(|data| data.get("result")).and_then(Value::as_array);
    let lines = streams.and_then(|streams| {
        let values = streams.iter().map(|stream| stream.get("values").and_then(Value::as_array));
        values.collect::<Option<Vec<_>>>()?.into_iter().flatten().map(line).collect()
    });
    lines.ok_or_else(|| fetch::UNPARSABLE.because(format!("not the lines of streams: {}", reply.quote())))
}

/// `["<nanoseconds>", "<line>"]`, with or without a third element for structured metadata.
fn line(value: &Value) -> Option<(i64, String)> {
    let at = value.get(0).and_then(Value::as_str)?.parse().ok()?;
    Some((at, value.get(1).and_then(Value::as_str)?.to_owned()))
}
