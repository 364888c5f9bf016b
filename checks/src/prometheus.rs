//! Asking a Prometheus, or what answers its query API.

pub mod promql;

use chrono::{DateTime, Utc};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use secrecy::ExposeSecret;
use serde_json::Value;

use crate::check::Context;
use crate::counter::age;
use crate::net::exposition::{SERVER_ERROR, WRONG_REPLY};
use crate::net::fetch::{self, Reply};
use crate::net::{Budget, below, reasons};
use crate::outcome::{Outcome, ReasonSpec};
use crate::target::PrometheusTarget;

/// Nothing came back.
const NO_DATA: ReasonSpec = ReasonSpec::fail(
    "no_data",
    "ask the query by hand: it gives nothing, because its series are missing or its condition is false",
);
/// More than one sample came back.
const SEVERAL_SAMPLES: ReasonSpec =
    ReasonSpec::fail("several_samples", "aggregate the query (`min(…)`, `sum(…)`) or narrow it: it must give one sample");
/// Not a number that can be compared.
const NOT_A_NUMBER: ReasonSpec = ReasonSpec::fail(
    "not_a_number",
    "write the query so that it gives a vector with a finite number; `vector(…)` makes one of a scalar",
);
/// Prometheus does not take the query.
const BAD_QUERY: ReasonSpec =
    ReasonSpec::unknown("bad_query", "mend the query: Prometheus refuses it with the words in the evidence");
/// Prometheus itself says that the result may be wrong.
const PARTIAL: ReasonSpec =
    ReasonSpec::unknown("partial_result", "mend what Prometheus warns of in the evidence: its result may be wrong or incomplete");
/// Two clocks.
const CLOCK_SKEW: ReasonSpec = ReasonSpec::unknown(
    "clock_skew",
    "set the clocks of the verifier and of Prometheus by NTP, and take away any cache between them: the reply is of another time",
);

/// What can be wrong with an answer.
const ANSWERS: &[ReasonSpec] = &[
    SERVER_ERROR,
    WRONG_REPLY,
    NO_DATA,
    SEVERAL_SAMPLES,
    NOT_A_NUMBER,
    BAD_QUERY,
    fetch::TOKEN_REFUSED,
    PARTIAL,
    CLOCK_SKEW,
    reasons::SECRET_MISSING,
    reasons::TARGET_MISSING,
];

/// How far two clocks may be apart, in seconds.
const MAX_SKEW: f64 = 30.0;

/// One finite sample of an instant query.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Sample {
    /// The time for which Prometheus answered, in seconds since 1970, by its own clock.
    at: f64,
    value: f64,
}

/// How the target is asked.
struct Client<'a> {
    cx: &'a Context,
    target: &'a PrometheusTarget,
    headers: HeaderMap,
    secrets: Vec<String>,
    budget: Budget,
}

impl<'a> Client<'a> {
    /// Reads the token, if there is one.
    async fn of(cx: &'a Context, name: &str, budget: Budget) -> Result<Self, Outcome> {
        let target = cx.target::<PrometheusTarget>(name)?;
        let mut client = Client { cx, target, headers: HeaderMap::new(), secrets: Vec::new(), budget };
        if let Some(token) = &target.token {
            let secret = token.resolve().await.map_err(|error| reasons::SECRET_MISSING.because(error.to_string()))?;
            let mut value = HeaderValue::try_from(format!("Bearer {}", secret.expose_secret()))
                .map_err(|_| reasons::SECRET_MISSING.because(format!("{token}: what was read can not be sent in a header")))?;
            value.set_sensitive(true);
            client.headers.insert(AUTHORIZATION, value);
            client.secrets.push(secret.expose_secret().to_owned());
        }
        Ok(client)
    }

    /// Asks a query as of now, and expects exactly one finite sample.
    ///
    /// No time is sent, so that Prometheus answers as of its own now. The time in the answer then shows a reply out of a cache, and
    /// a verifier whose clock is behind, which would otherwise be shown the past.
    async fn ask(&self, query: &str) -> Result<Sample, Outcome> {
        let mut url = below(&self.target.url, &["api", "v1", "query"]);
        url.query_pairs_mut().append_pair("query", query);
        let reply = fetch::get(&self.cx.clients, &url, self.headers.clone(), self.budget).await?.hide(self.secrets.clone());
        let document = document(&reply)?;
        let sample = one_sample(&reply, &document, query)?;
        self.same_time(sample, &reply)?;
        if sample.value.is_finite() { Ok(sample) } else { Err(NOT_A_NUMBER.because(reply.quote())) }
    }

    /// The answer is of the time between the start of this Run and its end.
    fn same_time(&self, sample: Sample, reply: &Reply) -> Result<(), Outcome> {
        let age = seconds(self.cx.now) - sample.at;
        if (-MAX_SKEW - self.budget.timeout().as_secs_f64()..=MAX_SKEW).contains(&age) {
            return Ok(());
        }
        let evidence = format!("answered as of {}, {age:.0} s before the verifier's time: {}", sample.at, reply.quote());
        Err(CLOCK_SKEW.because(evidence))
    }
}

/// Seconds since 1970.
fn seconds(time: DateTime<Utc>) -> f64 {
    age(time, DateTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// The answer to a query that was taken, without warnings.
fn document(reply: &Reply) -> Result<Value, Outcome> {
    let reason = match reply.status.as_u16() {
        200..=299 | 400 | 422 if reply.is_html() => Some(fetch::HTML),
        200 | 400 | 422 => None,
        300..=399 => Some(fetch::REDIRECT),
        401 | 403 => Some(fetch::TOKEN_REFUSED),
        500..=599 => Some(SERVER_ERROR),
        _ => Some(WRONG_REPLY),
    };
    if let Some(reason) = reason {
        return Err(reason.because(reply.quote()));
    }
    let document = reply.json()?;
    let status = document.get("status").and_then(Value::as_str);
    match (reply.status.as_u16(), status) {
        (200, Some("success")) => {}
        (400 | 422, Some("error")) => return Err(BAD_QUERY.because(reply.quote())),
        _ => return Err(WRONG_REPLY.because(reply.quote())),
    }
    match document.get("warnings") {
        None | Some(Value::Null) => Ok(document),
        Some(Value::Array(warnings)) if warnings.is_empty() => Ok(document),
        Some(warnings) => Err(PARTIAL.because(format!("{}: {}", reply.place(), reply.clip(&warnings.to_string())))),
    }
}

/// The one sample in an answer, whatever its number is.
fn one_sample(reply: &Reply, document: &Value, query: &str) -> Result<Sample, Outcome> {
    let text = |pointer| document.pointer(pointer).and_then(Value::as_str);
    let result = document.pointer("/data/result");
    let pair = match (text("/data/resultType"), result.and_then(Value::as_array).map(Vec::as_slice)) {
        (Some("vector"), Some([])) => {
            return Err(NO_DATA.because(format!("{}: no sample for {}", reply.place(), reply.clip(query))));
        }
        (Some("vector"), Some([sample])) if sample.get("histogram").is_some() => {
            return Err(NOT_A_NUMBER.because(reply.quote()));
        }
        (Some("vector"), Some([sample])) => sample.get("value"),
        (Some("vector"), Some(samples)) => {
            return Err(SEVERAL_SAMPLES.because(format!(
                "{} samples for {}: {}",
                samples.len(),
                reply.clip(query),
                reply.quote()
            )));
        }
        (Some("scalar" | "matrix" | "string"), Some(_)) => return Err(NOT_A_NUMBER.because(reply.quote())),
        _ => None,
    };
    let sample = match pair.and_then(Value::as_array).map(Vec::as_slice) {
        Some([at, Value::String(value)]) => at.as_f64().zip(value.parse().ok()),
        _ => None,
    };
    sample
        .map(|(at, value)| Sample { at, value })
        .ok_or_else(|| fetch::UNPARSABLE.because(format!("no sample in {}", reply.quote())))
}
