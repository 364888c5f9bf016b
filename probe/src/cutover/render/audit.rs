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
pub(crate) struct Verified {
    /// The newest event that is no longer kept; the genesis: all are.
    pub(crate) start: Head,
    /// The newest event.
    pub(crate) head: Head,
}

impl Verified {
    fn count(&self) -> u64 {
        self.head.seq.saturating_sub(self.start.seq)
    }
}

impl Show for Verified {
    fn body(&self) -> Value {
        let mut body = serde_json::json!({"verified": true, "head": value(&self.head)});
        if let Some(fields) = body.as_object_mut().filter(|_| self.start.seq > 0) {
            fields.insert("anchor".to_owned(), value(&self.start));
        }
        body
    }

    fn lines(&self, _: bool) -> Vec<String> {
        let Self { start, head } = self;
        let all = format!("ok: {} events, head {}", self.count(), head.hash);
        if start.seq == 0 {
            return vec![all];
        }
        let span = format!("verified are {} to {}", start.seq.saturating_add(1), head.seq);
        vec![all, format!("events 1 to {} are no longer kept: {span}", start.seq)]
    }

    fn names(&self) -> Vec<String> {
        vec![self.head.hash.clone()]
    }

    fn cases(&self) -> (String, Vec<Case>) {
        let text = self.lines(false).join("; ");
        ("audit".to_owned(), vec![Case { name: "chain".to_owned(), grade: Verdict::Open, text }])
    }

    fn outputs(&self) -> Vec<(&'static str, String)> {
        vec![
            ("events", self.count().to_string()),
            ("no_longer_kept", self.start.seq.to_string()),
            ("head", self.head.hash.clone()),
        ]
    }
}
