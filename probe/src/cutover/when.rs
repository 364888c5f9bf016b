//! Moments and spans as people give them: `2h`, `90m ago`, or a moment in RFC 3339.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// A moment of the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// By the calendar.
    At(DateTime<Utc>),
    /// So long ago.
    Ago(Duration),
}

impl When {
    /// The moment, seen from now.
    pub(crate) fn moment(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::At(at) => at,
            Self::Ago(span) => {
                let span = TimeDelta::from_std(span).unwrap_or(TimeDelta::MAX);
                now.checked_sub_signed(span).unwrap_or(DateTime::<Utc>::MIN_UTC)
            }
        }
    }
}

/// Reads a moment.
pub(crate) fn when(text: &str) -> Result<When, String> {
    let text = text.trim();
    let span = text.strip_suffix("ago").unwrap_or(text).trim();
    if let Ok(span) = humantime::parse_duration(span) {
        return Ok(When::Ago(span));
    }
    DateTime::parse_from_rfc3339(text)
        .map(|at| When::At(at.to_utc()))
        .map_err(|_| "neither a moment nor a span; for example 2026-11-26T10:00:00Z, or 2h, which is two hours ago".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_spans_are_read_as_they_are_written_and_shown() {
        let now: DateTime<Utc> = "2026-11-26T12:00:00Z".parse().unwrap();
        for (text, moment) in [
            ("2026-11-26T10:00:00Z", "2026-11-26T10:00:00Z"),
            ("2026-11-26 10:00:00Z", "2026-11-26T10:00:00Z"),
            ("2026-11-26T11:00:00.5+01:00", "2026-11-26T10:00:00.5Z"),
            ("2h", "2026-11-26T10:00:00Z"),
            ("90m ago", "2026-11-26T10:30:00Z"),
            ("1h 30m ago", "2026-11-26T10:30:00Z"),
        ] {
            assert_eq!(when(text).unwrap().moment(now), moment.parse::<DateTime<Utc>>().unwrap(), "{text}");
        }
        for text in ["", "ago", "yesterday", "10:00", "2026-11-26", "2026-11-26T10:00:00", "-2h"] {
            assert!(when(text).unwrap_err().contains("2h"), "{text}");
        }
        assert_eq!(When::Ago(Duration::MAX).moment(now), DateTime::<Utc>::MIN_UTC);
    }
}
