//! Reading lines back from Loki: `query_range` over a time window that is never cut.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::check::Context;
use crate::net::fetch::{self, Reply};
use crate::net::{Budget, below};
use crate::outcome::{Outcome, ReasonSpec};
use crate::target::LokiTarget;

/// Most lines of one answer. Loki allows 5,000 unless told otherwise.
pub(crate) const LIMIT: usize = 2000;

/// 5xx, or too many requests.
pub(crate) const QUERY_FAILED: ReasonSpec =
    ReasonSpec::fail("query_failed", "look at Loki's log: it answers the query with the error in the evidence");
/// 400: the question is wrong.
const QUERY_REFUSED: ReasonSpec = ReasonSpec::unknown(
    "query_refused",
    "correct the probe's `selector`, or Loki's limits if it names them in the evidence (`max_entries_limit_per_query` of 2000 is needed)",
);
/// Something else answers.
pub(crate) const NOT_LOKI: ReasonSpec =
    ReasonSpec::fail("not_loki", "correct the target's URL: what answers there is no Loki's answer to a query");

/// What a query can come to, beside what happens on the way.
pub(crate) const REASONS: &[ReasonSpec] = &[QUERY_FAILED, QUERY_REFUSED, NOT_LOKI, super::BAD_TENANT];

/// A line and Loki's timestamp for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Loki's timestamp.
    pub(crate) at: DateTime<Utc>,
    /// The text.
    pub(crate) text: String,
}

/// All entries from `start` to before `end`; None if there are more than fit, in which case some may be missing anywhere
/// within the window: Loki up to 3.6 cuts wrongly.
pub(crate) async fn read(
    cx: &Context,
    loki: &LokiTarget,
    query: &str,
    (start, end): (DateTime<Utc>, DateTime<Utc>),
    budget: Budget,
) -> Result<Option<Vec<Entry>>, Outcome> {
    let entries = read_by(cx, loki, query, "", (start, end), budget).await?;
    Ok(entries.map(|entries| entries.into_iter().map(|(_, entry)| entry).collect()))
}

/// The same, each with its stream's value of a label, which is empty where the stream has none.
pub(crate) async fn read_by(
    cx: &Context,
    loki: &LokiTarget,
    query: &str,
    label: &str,
    (start, end): (DateTime<Utc>, DateTime<Utc>),
    budget: Budget,
) -> Result<Option<Vec<(String, Entry)>>, Outcome> {
    let mut url = below(&loki.url, &["loki", "api", "v1", "query_range"]);
    url.query_pairs_mut()
        .append_pair("query", query)
        .append_pair("start", &nanos(start))
        .append_pair("end", &nanos(end))
        .append_pair("limit", &LIMIT.to_string())
        .append_pair("direction", "forward");
    let reply = super::get(cx, loki, &url, budget).await?;
    if let Some(reason) = refused(&reply) {
        return Err(reason.because(reply.quote()));
    }
    match reply.json() {
        Ok(document) => {
            let entries = entries(&document, label).map_err(|reason| reason.because(reply.quote()))?;
            Ok((entries.len() < LIMIT).then_some(entries))
        }
        Err(outcome) if outcome.reason() == Some(&fetch::TOO_LARGE.into()) => Ok(None),
        Err(outcome) => Err(outcome),
    }
}

/// A time as Loki takes it.
pub(super) fn nanos(at: DateTime<Utc>) -> String {
    // Far beyond any log line.
    at.timestamp_nanos_opt().unwrap_or(i64::MAX).to_string()
}

/// What a status other than 200 means, or a web page.
pub(crate) fn refused(reply: &Reply) -> Option<ReasonSpec> {
    match reply.status.as_u16() {
        200 if reply.is_html() => Some(fetch::HTML),
        200 => None,
        300..=399 => Some(fetch::REDIRECT),
        401 | 403 => Some(fetch::DENIED),
        400 | 422 => Some(QUERY_REFUSED),
        429 | 500..=599 => Some(QUERY_FAILED),
        _ => Some(NOT_LOKI),
    }
}

/// `data.result[]` of an answer of this type.
pub(super) fn results<'a>(document: &'a Value, kind: &str) -> Result<&'a [Value], ReasonSpec> {
    let is_it = document.pointer("/data/resultType").and_then(Value::as_str) == Some(kind);
    if document.get("status").and_then(Value::as_str) != Some("success") || !is_it {
        return Err(NOT_LOKI);
    }
    document.pointer("/data/result").and_then(Value::as_array).map(Vec::as_slice).ok_or(fetch::UNPARSABLE)
}

/// `data.result[].values[]`, each at least `["nanoseconds", "line"]`. Anything that does not fit is damage, not silence.
fn entries(document: &Value, label: &str) -> Result<Vec<(String, Entry)>, ReasonSpec> {
    let mut entries = Vec::new();
    for stream in results(document, "streams")? {
        let of = stream.pointer(&format!("/stream/{label}")).and_then(Value::as_str).unwrap_or_default();
        let values = stream.get("values").and_then(Value::as_array).ok_or(fetch::UNPARSABLE)?;
        for value in values {
            let field = |n: usize| value.get(n).and_then(Value::as_str).ok_or(fetch::UNPARSABLE);
            let at = field(0)?.parse().map_err(|_| fetch::UNPARSABLE)?;
            entries.push((of.to_owned(), Entry { at: DateTime::from_timestamp_nanos(at), text: field(1)?.to_owned() }));
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(result: Value) -> Value {
        json!({"status": "success", "data": {"resultType": "streams", "result": result}})
    }

    #[test]
    fn lines_of_all_streams_are_read_with_whatever_comes_beside_them() {
        let result = json!([
            {"stream": {"a": "1"}, "values": [["1", "x"], ["2", "y", {"structuredMetadata": {}}]]},
            {"stream": {}, "values": [["3", "z"]]}
        ]);
        let texts: Vec<_> = entries(&document(result), "a").unwrap().into_iter().map(|(of, entry)| of + &entry.text).collect();
        assert_eq!(texts, ["1x", "1y", "z"]);
        assert_eq!(entries(&document(json!([])), "a").unwrap(), []);
    }

    #[test]
    fn an_answer_that_is_none_is_not_taken_for_silence() {
        for (document, reason) in [
            (json!([]), NOT_LOKI),
            (json!({"status": "error"}), NOT_LOKI),
            (json!({"status": "success", "data": {"resultType": "matrix", "result": []}}), NOT_LOKI),
            (json!({"status": "success"}), NOT_LOKI),
            (document(json!({})), fetch::UNPARSABLE),
            (document(json!([{}])), fetch::UNPARSABLE),
            (document(json!([{"values": [["1"]]}])), fetch::UNPARSABLE),
            (document(json!([{"values": [[1, "x"]]}])), fetch::UNPARSABLE),
            (document(json!([{"values": [["soon", "x"]]}])), fetch::UNPARSABLE),
        ] {
            assert_eq!(entries(&document, ""), Err(reason), "{document}");
        }
    }
}
