//! The numbered canary line and the agent's head: what `probe agent` writes and serves, and what the checks read back.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

/// The `service` of a canary line unless the agent is told otherwise: pipelines make a label of it.
pub const SERVICE: &str = "migration-canary";
/// Longest line that is taken for a canary, in bytes. A hostile reply must not be able to keep us busy.
const MAX_LINE: usize = 2048;

/// One start of one agent: a random number, so that sequence numbers of two starts are never mixed up. Written as 16 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Boot(pub u64);

impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Not 16 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a boot is 16 hex digits")]
pub struct BadBoot;

impl FromStr for Boot {
    type Err = BadBoot;

    fn from_str(text: &str) -> Result<Self, BadBoot> {
        let hex = text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if !hex {
            return Err(BadBoot);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| BadBoot)
    }
}

impl Serialize for Boot {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Boot {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// One canary line. Its JSON has the keys `level` and `service` that the pipelines under migration read; fields that a pipeline
/// adds are passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryLine {
    /// Always `info`.
    pub level: String,
    /// See [`SERVICE`].
    pub service: String,
    /// For people who come across it.
    pub msg: String,
    /// The node that it was written on.
    pub node: String,
    /// The agent's start.
    pub boot: Boot,
    /// Counts from 1 within a boot, without gaps.
    pub seq: u64,
    /// When it was written, by the node's clock.
    pub at: DateTime<Utc>,
    /// The agent was told to stop: no line of this start comes after it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub end: bool,
}

impl CanaryLine {
    /// The line of this number.
    pub fn new(node: impl Into<String>, boot: Boot, seq: u64, at: DateTime<Utc>) -> Self {
        let msg = "phasegate canary: proves that log lines arrive; safe to drop once the migration is over".into();
        Self { level: "info".into(), service: SERVICE.into(), msg, node: node.into(), boot, seq, at, end: false }
    }

    /// The line as text, without a line break.
    pub fn text(&self) -> String {
        let mut line = serde_json::json!({
            "level": self.level, "service": self.service, "msg": self.msg, "node": self.node, "boot": self.boot,
            "seq": self.seq, "at": self.at.to_rfc3339_opts(SecondsFormat::Nanos, true),
        });
        if let (true, Some(fields)) = (self.end, line.as_object_mut()) {
            fields.insert("end".into(), true.into());
        }
        line.to_string()
    }

    /// Reads a line back. None: it is no canary of ours.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_LINE {
            return None;
        }
        serde_json::from_str::<Self>(text).ok().filter(|line| line.seq > 0 && !line.node.is_empty())
    }
}

/// What an agent says of itself at `/v1/head`. It does not travel through the pipeline that is measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The node.
    pub node: String,
    /// This start.
    pub boot: Boot,
    /// Number of the first line of this start: 1, or 0 while none was written.
    pub first: u64,
    /// Number of the last line that the sink took; 0 while none was.
    pub last: u64,
    /// When that line was written, by the node's clock.
    pub last_at: Option<DateTime<Utc>>,
    /// Writes that the sink refused in this start. Their lines have no number, so they leave no gap.
    pub failed: u64,
    /// The node's clock at the moment of answering, to tell how far it is off.
    pub now: DateTime<Utc>,
    /// Time between two lines, in milliseconds.
    pub every_ms: u64,
    /// For how long the journal has not read what it was sent, in milliseconds; 0 when it has read all of it.
    #[serde(default)]
    pub unread_ms: u64,
    /// Why the sink refused the newest line, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> CanaryLine {
        CanaryLine::new("node-1", Boot(0x1f), 7, DateTime::from_timestamp_nanos(1_795_373_889_052_671_001))
    }

    #[test]
    fn a_line_is_read_back_as_it_was_written() {
        assert_eq!(CanaryLine::parse(&line().text()), Some(line()));
        let text = line().text();
        assert!(text.contains(r#""boot":"000000000000001f""#) && text.contains(r#""at":"2026-11-22T"#), "{text}");
    }

    #[test]
    fn only_the_last_line_says_that_it_is_the_last() {
        assert!(!line().text().contains("end"));
        let last = CanaryLine { end: true, ..line() };
        assert!(last.text().contains(r#""end":true"#), "{}", last.text());
        assert_eq!(CanaryLine::parse(&last.text()), Some(last));
    }

    #[test]
    fn what_a_pipeline_adds_does_no_harm() {
        let text = line().text().replacen('{', r#"{"detected_level":"info","#, 1);
        assert_eq!(CanaryLine::parse(&text), Some(line()));
    }

    #[test]
    fn other_lines_are_no_canaries() {
        let text = line().text();
        let strangers = [
            "",
            "null",
            r#"{"level":"info"}"#,
            &text.replace("000000000000001f", "1F"),
            &text.replace(r#""seq":7"#, r#""seq":0"#),
            &text.replace(r#""seq":7"#, r#""seq":-7"#),
            &text.replace("node-1", ""),
            &format!("{text}{}", " ".repeat(MAX_LINE)),
        ];
        for stranger in strangers {
            assert_eq!(CanaryLine::parse(stranger), None, "{stranger}");
        }
    }
}
