//! Which lines are asked for, and what the two sides answer.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::log_path::line::CanaryLine;

/// Log lines, each with its timestamp in nanoseconds.
pub(crate) type Lines = BTreeSet<(i64, String)>;

/// Most lines in one answer, and one more: an answer of this size may have been cut, and a cut answer can not be compared.
pub(crate) const LIMIT: usize = 1000;
/// What is written in the last moment is left out, so that most lines that are on their way are not met half-way.
pub(super) const SETTLE: Duration = Duration::from_secs(1);

/// A closed span of time: the start is in it, the end is not. In whole milliseconds, since Grafana can not be asked for less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    /// Since 1970, in milliseconds.
    pub(crate) start: i64,
    /// The same.
    pub(crate) end: i64,
}

impl Window {
    /// The last `within` before now, but for [`SETTLE`].
    pub(super) fn before(now: DateTime<Utc>, within: Duration) -> Self {
        let (now, ago) = (now.timestamp_millis(), |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
        Self { start: now.saturating_sub(ago(within)), end: now.saturating_sub(ago(SETTLE)) }
    }

    /// As long a span directly before this one. The two have nothing in common.
    pub(super) fn earlier(self) -> Self {
        Self { start: self.start.saturating_sub(self.end.saturating_sub(self.start)), end: self.start }
    }

    /// The newer half.
    pub(super) fn newer_half(self) -> Self {
        Self { start: self.start.midpoint(self.end), end: self.end }
    }

    /// Start and end in nanoseconds.
    pub(super) fn nanos(self) -> (i64, i64) {
        (self.start.saturating_mul(1_000_000), self.end.saturating_mul(1_000_000))
    }

    /// What a count is asked for at the end of this window: over so many milliseconds, with such an offset. `LogQL` counts what comes
    /// after the start up to the end, so that without an offset a line of the next window might be counted.
    pub(super) fn count(self) -> (i64, i64) {
        (self.end.saturating_sub(self.start).saturating_sub(1), 1)
    }

    /// How many of its lines such a count is of.
    pub(super) fn counted(self, lines: &Lines) -> u64 {
        let (length, offset) = self.count();
        let end = self.end.saturating_sub(offset);
        let (start, end) = (end.saturating_sub(length).saturating_mul(1_000_000), end.saturating_mul(1_000_000));
        let count = lines.iter().filter(|(at, _)| *at > start && *at <= end).count();
        u64::try_from(count).unwrap_or(u64::MAX)
    }

    /// A line that was not asked for.
    pub(super) fn stranger(self, lines: &Lines) -> Option<&(i64, String)> {
        let (start, end) = self.nanos();
        lines.iter().find(|(at, _)| !(start..end).contains(at))
    }
}

/// A line with its time, for evidence; a canary in few words.
pub(super) fn worded((at, line): &(i64, String)) -> String {
    let at = DateTime::from_timestamp_nanos(*at).to_rfc3339();
    CanaryLine::parse(line).map_or_else(|| format!("{at} {line}"), |line| format!("{at} {}", named(&line)))
}

/// A canary in few words.
pub(super) fn named(line: &CanaryLine) -> String {
    format!("#{} of {} (boot {})", line.seq, line.node, line.boot)
}
