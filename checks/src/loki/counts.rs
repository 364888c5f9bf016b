//! Counting lines in Loki: `sum by (…) (count_over_time(…))` as an instant query.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::check::{Context, FieldError};
use crate::net::fetch;
use crate::net::{Budget, below};
use crate::outcome::{Outcome, ReasonSpec};
use crate::target::LokiTarget;

use super::lines;

/// More series than anybody reads.
const TOO_MANY_SERIES: ReasonSpec =
    ReasonSpec::unknown("too_many_series", "narrow the probe's selector, or count by a label with fewer values");
/// Loki says itself that something is missing.
pub(super) const PARTIAL: ReasonSpec =
    ReasonSpec::unknown("partial_answer", "mend what Loki warns of in the evidence: its answer may be incomplete");
/// The answer to an earlier question.
const OTHER_TIME: ReasonSpec =
    ReasonSpec::unknown("other_time", "take away any cache between the verifier and Loki: the answer is that of another time");

/// What only a count can come to; reading lines has the rest.
pub(crate) const REASONS: &[ReasonSpec] = &[TOO_MANY_SERIES, PARTIAL, OTHER_TIME];

/// Most series of one answer. Loki allows 500 unless told otherwise.
const MAX_SERIES: usize = 2000;

/// Longest value of a label that is kept, in characters.
const MAX_VALUE: usize = 64;

/// How many lines of what: later than `at - over`, up to and with `at`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    /// A `LogQL` query of lines.
    pub(crate) query: &'a str,
    /// The labels to tell lines apart by. All others are summed away: Loki adds some of its own.
    pub(crate) by: &'a [&'a str],
    /// The newest moment.
    pub(crate) at: DateTime<Utc>,
    /// The length of time before it.
    pub(crate) over: Duration,
}

/// Counts of lines by the values of the labels that were asked for, in their order. A label that a stream does not have is empty.
pub(crate) type Counts = BTreeMap<Vec<String>, u64>;

impl Question<'_> {
    fn logql(&self) -> String {
        format!("sum by ({}) (count_over_time({}[{}ms]))", self.by.join(", "), self.query, self.over.as_millis())
    }

    /// Asks once. No lines are no counts.
    pub(crate) async fn ask(&self, cx: &Context, loki: &LokiTarget, budget: Budget) -> Result<Counts, Outcome> {
        let mut url = below(&loki.url, &["loki", "api", "v1", "query"]);
        url.query_pairs_mut().append_pair("query", &self.logql()).append_pair("time", &lines::nanos(self.at));
        let reply = super::get(cx, loki, &url, budget).await?;
        if let Some(reason) = lines::refused(&reply) {
            return Err(reason.because(reply.quote()));
        }
        self.counts(&reply.json()?).map_err(|reason| reason.because(reply.quote()))
    }

    /// `data.result[]`, each `{"metric": {…}, "value": [seconds, "number"]}`. Anything that does not fit is damage, not silence.
    fn counts(&self, document: &Value) -> Result<Counts, ReasonSpec> {
        let series = lines::results(document, "vector")?;
        if warned(document) {
            return Err(PARTIAL);
        }
        if series.len() > MAX_SERIES {
            return Err(TOO_MANY_SERIES);
        }
        let mut counts = Counts::new();
        for series in series {
            let labels = series.get("metric").and_then(Value::as_object).ok_or(fetch::UNPARSABLE)?;
            let value = series.get("value").ok_or(fetch::UNPARSABLE)?;
            let at = value.get(0).and_then(Value::as_f64).ok_or(fetch::UNPARSABLE)?;
            let count = value.get(1).and_then(Value::as_str).and_then(|count| count.parse().ok()).ok_or(fetch::UNPARSABLE)?;
            let asked = Duration::from_millis(self.at.timestamp_millis().try_into().unwrap_or_default());
            if (at - asked.as_secs_f64()).abs() > 1.0 {
                return Err(OTHER_TIME);
            }
            let of = |label: &&str| labels.get(*label).map_or(Some(""), Value::as_str).map(clipped);
            let key: Vec<String> = self.by.iter().map(of).collect::<Option<_>>().ok_or(fetch::UNPARSABLE)?;
            if labels.keys().any(|label| !self.by.contains(&label.as_str())) {
                return Err(fetch::UNPARSABLE);
            }
            let sum: &mut u64 = counts.entry(key).or_default();
            *sum = sum.saturating_add(count);
        }
        Ok(counts)
    }
}

/// Whether Loki says that its answer may be incomplete.
pub(super) fn warned(document: &Value) -> bool {
    let warned = [document.get("warnings"), document.pointer("/data/warnings")];
    warned.into_iter().flatten().any(|warnings| warnings.as_array().is_none_or(|warnings| !warnings.is_empty()))
}

fn clipped(value: &str) -> String {
    value.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_VALUE).collect()
}

/// The value of a label, for people.
pub(crate) fn shown(value: &str) -> &str {
    if value.is_empty() { "(none)" } else { value }
}

/// The same query of lines, of these values of a label alone. Of no values it finds nothing.
pub(crate) fn narrowed<'a>(query: &str, label: &str, values: impl IntoIterator<Item = &'a str>) -> String {
    let values: Vec<String> = values.into_iter().map(literal).collect();
    let rest = query.trim_start().strip_prefix('{').unwrap_or_default();
    format!("{{{label}=~\"{}\", {rest}", values.join("|"))
}

/// A text that a regular expression in a quoted string of `LogQL` takes literally.
fn literal(text: &str) -> String {
    let mut literal = String::new();
    for c in text.chars() {
        match c {
            '"' | '\\' => literal.extend(['\\', '\\', '\\', c]),
            c if c.is_ascii_punctuation() && !matches!(c, '_' | '-') => literal.extend(['\\', '\\', c]),
            c => literal.push(c),
        }
    }
    literal
}

/// What is wrong with the name of a label.
pub(crate) fn wrong_label(field: &'static str, label: &str) -> Option<FieldError> {
    let named = label.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let error = || FieldError { field, message: "no name of a label".into(), hint: "write it like service".into() };
    (!named).then(error)
}

/// What is wrong with a query of lines.
pub(crate) fn wrong_query(field: &'static str, query: &str) -> Option<FieldError> {
    let inside = query.trim_start().strip_prefix('{').map(str::trim_start);
    let error = || FieldError {
        field,
        message: "no LogQL stream selector".into(),
        hint: "write it like {job=\"systemd-journal\"}, with one label at least".into(),
    };
    inside.is_none_or(|inside| inside.is_empty() || inside.starts_with('}')).then(error)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TWO_AGENTS: &str = include_str!("../../testdata/loki/double-shipping-by-agent-200.json");
    const EMPTY: &str = include_str!("../../testdata/loki/query-vector-empty-200.json");

    fn at() -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_795_370_875_344).unwrap()
    }

    fn question<'a>(by: &'a [&'a str]) -> Question<'a> {
        Question { query: "{a=\"b\"}", by, at: at(), over: Duration::from_mins(5) }
    }

    fn recorded(text: &str) -> Value {
        let mut recording: Value = serde_json::from_str(text).unwrap();
        recording["body"].take()
    }

    fn vector(result: Value) -> Value {
        json!({"status": "success", "data": {"resultType": "vector", "result": result}})
    }

    #[test]
    fn counts_are_apart_by_the_labels_and_a_missing_one_is_empty() {
        let counts = question(&["agent"]).counts(&recorded(TWO_AGENTS)).unwrap();
        let counts: Vec<_> = counts.iter().map(|(key, count)| (key[0].as_str(), *count)).collect();
        assert_eq!(counts, [("", 5), ("alloy-2151e82", 1), ("alloy-d792a24", 14)]);
        assert_eq!(question(&["job"]).counts(&recorded(EMPTY)).unwrap(), Counts::new());
    }

    #[test]
    fn what_is_asked_is_a_sum() {
        let text = question(&["agent", "service"]).logql();
        assert_eq!(text, "sum by (agent, service) (count_over_time({a=\"b\"}[300000ms]))");
    }

    #[test]
    fn an_answer_that_is_none_is_not_taken_for_silence() {
        let series = |metric: Value, value: Value| vector(json!([{"metric": metric, "value": value}]));
        let now = 1_795_370_875.344;
        for (document, reason) in [
            (json!([]), lines::NOT_LOKI),
            (json!({"status": "error"}), lines::NOT_LOKI),
            (json!({"status": "success"}), lines::NOT_LOKI),
            (json!({"status": "success", "data": {"resultType": "streams", "result": []}}), lines::NOT_LOKI),
            (vector(json!({})), fetch::UNPARSABLE),
            (vector(json!([{}])), fetch::UNPARSABLE),
            (series(json!({"job": 7}), json!([now, "1"])), fetch::UNPARSABLE),
            (series(json!({"other": "x"}), json!([now, "1"])), fetch::UNPARSABLE),
            (series(json!({}), json!([now, 1])), fetch::UNPARSABLE),
            (series(json!({}), json!([now, "1.5"])), fetch::UNPARSABLE),
            (series(json!({}), json!([now, "-1"])), fetch::UNPARSABLE),
            (series(json!({}), json!([now, "NaN"])), fetch::UNPARSABLE),
            (series(json!({}), json!(["soon", "1"])), fetch::UNPARSABLE),
            (series(json!({}), json!([now - 60.0, "1"])), OTHER_TIME),
            (json!({"status": "success", "warnings": ["w"], "data": {"resultType": "vector", "result": []}}), PARTIAL),
            (vector(Value::Array(vec![json!({}); MAX_SERIES + 1])), TOO_MANY_SERIES),
        ] {
            assert_eq!(question(&["job"]).counts(&document), Err(reason), "{document}");
        }
    }

    #[test]
    fn values_are_taken_literally() {
        let query = narrowed(" {job=\"j\"} |= \"x\"", "service", ["a-b_1", "c.d", "e\"f", "g\\h", "ü|"]);
        assert_eq!(query, r#"{service=~"a-b_1|c\\.d|e\\\"f|g\\\\h|ü\\|", job="j"} |= "x""#);
    }

    #[test]
    fn what_is_no_selector_is_said() {
        for (query, wrong) in [("{a=\"b\"}", false), (" { a=~\"b\"}|= \"c\"", false), ("{}", true), ("{ }", true), ("a", true)] {
            assert_eq!(wrong_query("selector", query).is_some(), wrong, "{query}");
        }
        for (label, wrong) in [("service", false), ("_a1", false), ("", true), ("1a", true), ("a-b", true), ("a) (", true)] {
            assert_eq!(wrong_label("label", label).is_some(), wrong, "{label}");
        }
    }
}
