//! From Grafana's query to Loki's, and what Grafana says when Loki does not answer well.

use axum::http::StatusCode;
use serde_json::Value;

use super::{Datasource, Recall};
use crate::standin::now;

const MILLISECOND: i64 = 1_000_000;

/// One query of a call.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Its `refId`.
    pub(crate) id: String,
    pub(crate) expression: String,
    pub(crate) instant: bool,
    /// In milliseconds.
    pub(crate) step: i64,
    base: String,
    uid: String,
    lines: i64,
    start: i64,
    end: i64,
}

/// The whole call is refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) message: &'static str,
}

/// One query failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: u16,
    pub(crate) words: String,
}

impl Failure {
    fn new(status: u16, words: impl Into<String>) -> Self {
        Self { status, words: words.into() }
    }

    /// Loki said something that is not the answer to a query.
    pub(crate) fn strange(words: impl Into<String>) -> Self {
        Self::new(500, words)
    }
}

/// The queries of a call.
pub(crate) fn read(body: &Value, known: &[Datasource], recall: Recall) -> Result<Vec<Asked>, Refusal> {
    let bad = |message| Refusal { status: StatusCode::BAD_REQUEST, message };
    let now = now();
    let at = |name: &str| body.get(name).and_then(Value::as_str).and_then(|text| moment(text, now));
    let queries = body.get("queries").and_then(Value::as_array).filter(|queries| !queries.is_empty());
    let queries = queries.ok_or_else(|| bad("no queries found"))?;
    let (Some(start), Some(end)) = (at("from"), at("to")) else { return Err(bad("invalid time range")) };
    let end = match recall {
        Recall::AsOf(moment) => end.min(moment),
        Recall::Fresh | Recall::Cached => end,
    };
    let read = |query: &Value| {
        let text = |name: &str| query.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = |name: &str, default| query.get(name).and_then(Value::as_i64).unwrap_or(default);
        let uid = query.pointer("/datasource/uid").and_then(Value::as_str).unwrap_or_default();
        let found = known.iter().find(|one| one.uid == uid);
        let found = found.ok_or(Refusal { status: StatusCode::NOT_FOUND, message: "Data source not found" })?;
        Ok(Asked {
            id: text("refId"),
            expression: text("expr"),
            instant: text("queryType") == "instant",
            step: number("intervalMs", 1000).max(1),
            base: found.url.clone(),
            uid: uid.to_owned(),
            lines: number("maxLines", 0),
            start,
            end,
        })
    };
    queries.iter().map(read).collect()
}

impl Asked {
    /// What a cache knows it by.
    pub(crate) fn key(&self) -> String {
        format!("{} {} {}", self.uid, self.instant, self.expression)
    }

    pub(crate) fn url(&self) -> String {
        let mut pairs = url::form_urlencoded::Serializer::new(String::new());
        pairs.append_pair("direction", "backward");
        if !self.instant {
            pairs.append_pair("end", &self.end.to_string());
        }
        if self.lines > 0 {
            pairs.append_pair("limit", &self.lines.to_string());
        }
        pairs.append_pair("query", &self.expression);
        if self.instant {
            pairs.append_pair("time", &self.end.to_string());
            return format!("{}/loki/api/v1/query?{}", self.base, pairs.finish());
        }
        pairs.append_pair("start", &self.start.to_string()).append_pair("step", &format!("{}ms", self.step));
        format!("{}/loki/api/v1/query_range?{}", self.base, pairs.finish())
    }
}

/// Milliseconds since the Unix epoch, `now`, or `now-1h`.
fn moment(text: &str, now: i64) -> Option<i64> {
    if let Some(ago) = text.strip_prefix("now") {
        let ago = match ago.strip_prefix('-') {
            Some(ago) => {
                let (number, unit) = ago.split_at_checked(ago.len().checked_sub(1)?)?;
                let seconds = match unit {
                    "s" => 1,
                    "m" => 60,
                    "h" => 3600,
                    "d" => 86_400,
                    _ => return None,
                };
                number.parse::<i64>().ok()?.checked_mul(seconds * 1000 * MILLISECOND)?
            }
            None if ago.is_empty() => 0,
            None => return None,
        };
        return Some(now - ago);
    }
    text.parse::<i64>().ok()?.checked_mul(MILLISECOND)
}

/// Loki's answer.
pub(crate) async fn loki(http: &reqwest::Client, url: &str) -> Result<Value, Failure> {
    let answer = async {
        let answer = http.get(url).send().await?;
        Ok::<_, reqwest::Error>((answer.status(), answer.text().await?))
    };
    let (status, text) = answer.await.map_err(|error| Failure::new(502, unanswered(url, &error)))?;
    if !status.is_success() {
        return Err(Failure::strange(if text.is_empty() { format!("{status}") } else { text }));
    }
    serde_json::from_str(&text).map_err(|_| {
        let first = text
            .chars()
            .next()
            .map_or_else(|| "EOF".to_owned(), |first| format!("invalid character '{first}' looking for beginning of value"));
        Failure::strange(first)
    })
}

/// In the words of Go.
fn unanswered(url: &str, error: &reqwest::Error) -> String {
    let host = reqwest::Url::parse(url).ok();
    let host = host.and_then(|url| Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?))).unwrap_or_default();
    let why = if error.is_connect() {
        format!("dial tcp {host}: connect: connection refused")
    } else if error.is_timeout() {
        "context deadline exceeded (Client.Timeout exceeded while awaiting headers)".to_owned()
    } else if error.is_body() || error.is_decode() {
        "unexpected EOF".to_owned()
    } else {
        "EOF".to_owned()
    };
    format!("Get \"{url}\": {why}")
}
