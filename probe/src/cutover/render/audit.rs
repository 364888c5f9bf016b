//! The audit trail.

use serde_json::Value;

use super::text::{clip, table};
use super::{Case, Show, moment, value};
use crate::audit::{AuditPage, Frame, Head};
use crate::gate::Verdict;

/// Events of the audit trail.
pub(crate) struct Trail<'a>(pub(crate) &'a AuditPage);

impl Show for Trail<'_> {
    fn body(&self) -> Value {
        value(self.0)
    }

    fn lines(&self, wide: bool) -> Vec<String> {
        let row = |frame: &Frame| {
            let (what, who, rest) = told(frame);
            vec![frame.seq.to_string(), moment(frame.utc), what, who, clip(&rest, wide)]
        };
        table(&["SEQ", "WHEN", "EVENT", "BY", "WHAT"], self.0.frames.iter().map(row).collect())
    }

    fn names(&self) -> Vec<String> {
        self.0.frames.iter().map(|frame| frame.seq.to_string()).collect()
    }

    fn cases(&self) -> (String, Vec<Case>) {
        let case = |frame: &Frame| {
            let (what, _, rest) = told(frame);
            Case { name: format!("{} {what}", frame.seq), grade: Verdict::Open, text: rest }
        };
        ("audit".to_owned(), self.0.frames.iter().map(case).collect())
    }
}

/// An event's name, who did it, and its further fields that are short enough for a line.
fn told(frame: &Frame) -> (String, String, String) {
    let event: Value = serde_json::from_str(frame.event.get()).unwrap_or_default();
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(super::super::client::printable);
    let who = text(event.pointer("/stamp/by")).unwrap_or_else(|| "verifier".to_owned());
    let shown = |(name, value): (&String, &Value)| match value {
        _ if matches!(name.as_str(), "event" | "stamp" | "at" | "plan") => None,
        Value::Null => None,
        Value::String(text) => Some(format!("{name}={}", super::super::client::printable(text))),
        Value::Bool(_) | Value::Number(_) => Some(format!("{name}={value}")),
        Value::Array(items) if items.is_empty() => None,
        Value::Array(_) | Value::Object(_) => Some(format!("{name}={}", super::super::client::printable(&value.to_string()))),
    };
    let rest: Vec<_> = event.as_object().into_iter().flatten().filter_map(shown).collect();
    (text(event.get("event")).unwrap_or_else(|| "?".to_owned()), who, rest.join(" "))
}

/// A chain that verifies.
pub(crate) struct Verified<'a>(pub(crate) &'a Head);

impl Show for Verified<'_> {
    fn body(&self) -> Value {
        serde_json::json!({"verified": true, "head": value(self.0)})
    }

    fn lines(&self, _: bool) -> Vec<String> {
        vec![format!("ok: {} events, head {}", self.0.seq, self.0.hash)]
    }

    fn names(&self) -> Vec<String> {
        vec![self.0.hash.clone()]
    }

    fn cases(&self) -> (String, Vec<Case>) {
        let text = self.lines(false).concat();
        ("audit".to_owned(), vec![Case { name: "chain".to_owned(), grade: Verdict::Open, text }])
    }

    fn outputs(&self) -> Vec<(&'static str, String)> {
        vec![("events", self.0.seq.to_string()), ("head", self.0.hash.clone())]
    }
}
