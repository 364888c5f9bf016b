//! What is asked of each of the two Lokis.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::check::Context;
use crate::loki::counts::{PARTIAL, warned};
use crate::loki::{BUILD, lines};
use crate::net::exposition::{Page, STARTED_AT};
use crate::net::fetch;
use crate::net::{Budget, below, reasons};
use crate::outcome::{Outcome, ReasonSpec};
use crate::target::LokiTarget;

use super::compare::{Amount, Amounts, HOUR, Line, Span};

/// Loki counts too many services at once.
pub(super) const TOO_MANY_SERVICES: ReasonSpec = ReasonSpec::unknown(
    "too_many_services",
    "name a `label` with fewer values, narrow the `selector`, or raise Loki's `max_query_series`",
);
/// Longest name of a service that is told apart.
const MAX_NAME: usize = 128;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The question was too large: a smaller one may be answered.
    TooMuch(Outcome),
    /// Anything else.
    Other(Outcome),
}

impl From<Outcome> for Trouble {
    fn from(outcome: Outcome) -> Self {
        let large: [&ReasonSpec; 3] = [&reasons::TIMEOUT, &fetch::TOO_LARGE, &lines::QUERY_FAILED];
        if large.iter().any(|large| outcome.reason() == Some(&(**large).into())) {
            return Self::TooMuch(outcome);
        }
        Self::Other(outcome)
    }
}

/// Which lines are compared, and by what they are told apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) selector: &'a str,
    pub(super) label: &'a str,
    /// Makes the text of a query another one than that of the scan before: Loki up to 3.6 answers a repeated range query out of
    /// its cache, whatever a client asks for.
    pub(super) scan: i64,
}

/// Lines and bytes of each service in each hour of a span.
pub(super) async fn amounts(
    cx: &Context,
    loki: &LokiTarget,
    question: Question<'_>,
    span: Span,
    budget: Budget,
) -> Result<Amounts, Trouble> {
    let mut amounts = Amounts::new();
    for (hour, of, lines) in matrix(cx, loki, question, "count_over_time", span, budget).await? {
        amounts.entry(hour).or_default().entry(of).or_default().lines = lines;
    }
    for (hour, of, bytes) in matrix(cx, loki, question, "bytes_over_time", span, budget).await? {
        amounts.entry(hour).or_default().entry(of).or_default().bytes = bytes;
    }
    for services in amounts.values_mut() {
        services.retain(|_, amount| *amount != Amount::default());
    }
    Ok(amounts)
}

/// One number for each hour and service.
async fn matrix(
    cx: &Context,
    loki: &LokiTarget,
    Question { selector, label, scan }: Question<'_>,
    function: &str,
    span: Span,
    budget: Budget,
) -> Result<Vec<(i64, String, u64)>, Trouble> {
    let mut url = below(&loki.url, &["loki", "api", "v1", "query_range"]);
    // A point counts the hour that ends with it.
    url.query_pairs_mut()
        .append_pair("query", &format!("sum by ({label}) ({function}({selector}[1h])) # scan {scan}"))
        .append_pair("start", &(span.0 + HOUR).to_string())
        .append_pair("end", &span.1.to_string())
        .append_pair("step", &HOUR.to_string());
    let reply = crate::loki::get(cx, loki, &url, budget).await?;
    if reply.status.as_u16() == 400 && reply.text().contains("maximum number of series") {
        return Err(Trouble::Other(TOO_MANY_SERVICES.because(reply.quote())));
    }
    if let Some(reason) = lines::refused(&reply) {
        return Err(reason.because(reply.quote()).into());
    }
    points(&reply.json()?, label, span).map_err(|reason| reason.because(reply.quote()).into())
}

/// `data.result[]`, each with its `metric` and `values[]` of `[seconds, "number"]`. Anything that does not fit is damage, not zero.
pub(super) fn points(document: &Value, label: &str, span: Span) -> Result<Vec<(i64, String, u64)>, ReasonSpec> {
    let series = lines::results(document, "matrix")?;
    if warned(document) {
        return Err(PARTIAL);
    }
    let mut points = Vec::new();
    for one in series {
        let of = one.pointer(&format!("/metric/{label}")).map_or(Some(""), Value::as_str).ok_or(fetch::UNPARSABLE)?;
        let of: String = of.chars().take(MAX_NAME).collect();
        for value in one.get("values").and_then(Value::as_array).ok_or(fetch::UNPARSABLE)? {
            let end = value.get(0).and_then(Value::as_i64).filter(|end| end % HOUR == 0).ok_or(fetch::UNPARSABLE)?;
            let count = value.get(1).and_then(Value::as_str).and_then(|text| text.parse().ok()).ok_or(fetch::UNPARSABLE)?;
            let hour = end - HOUR;
            // Loki rounds the range to its step, and may count an hour more at each end.
            if (span.0..span.1).contains(&hour) {
                points.push((hour, of.clone(), count));
            }
        }
    }
    let seen: std::collections::BTreeSet<(i64, &str)> = points.iter().map(|(hour, of, _)| (*hour, of.as_str())).collect();
    if seen.len() < points.len() {
        return Err(fetch::UNPARSABLE);
    }
    Ok(points)
}

/// When a Loki was started. What it replays then is not to be seen before it is flushed.
pub(super) async fn started(cx: &Context, loki: &LokiTarget, budget: Budget) -> Result<DateTime<Utc>, Trouble> {
    let reply = crate::loki::get(cx, loki, &below(&loki.url, &["metrics"]), budget).await?;
    let page = Page::read(&reply, &[BUILD, STARTED_AT])?;
    let second = page.gauge(STARTED_AT).filter(|second| (0.0..1e11).contains(second));
    let since = second
        .and_then(|second| DateTime::UNIX_EPOCH.checked_add_signed(TimeDelta::from_std(Duration::from_secs_f64(second)).ok()?));
    since.ok_or_else(|| Trouble::Other(page.unparsable(&format!("no {STARTED_AT}"))))
}

/// All lines from one millisecond to before another, or none if there are more than one answer holds.
pub(super) async fn content(
    cx: &Context,
    loki: &LokiTarget,
    Question { selector, label, .. }: Question<'_>,
    (start, end): (i64, i64),
    budget: Budget,
) -> Result<Option<Vec<Line>>, Trouble> {
    let time = |ms| DateTime::<Utc>::from_timestamp_millis(ms).unwrap_or_default();
    let entries = lines::read_by(cx, loki, selector, label, (time(start), time(end)), budget).await?;
    let line = |(of, entry): (String, lines::Entry)| {
        (of.chars().take(MAX_NAME).collect(), entry.at.timestamp_nanos_opt().unwrap_or_default(), entry.text)
    };
    Ok(entries.map(|entries| entries.into_iter().map(line).collect()))
}
