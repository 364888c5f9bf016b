//! Where the last line of a silent service is, found by counting. Reading the newest line is no way: with a limit Loki up to 3.6 gives
//! some line of several streams, not the newest.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::counter::{age, earlier};

use super::{LONGEST, Span};

/// How often Loki may fail to answer.
const MAX_FAILED: u8 = 3;

/// What is known of a service's last line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Last {
    /// There is none later.
    #[serde(with = "chrono::serde::ts_milliseconds")]
    until: DateTime<Utc>,
    /// There is one later, if any was found.
    #[serde(with = "chrono::serde::ts_milliseconds_option")]
    after: Option<DateTime<Utc>>,
    /// How often Loki did not answer. At last it is not asked again.
    failed: u8,
}

impl Last {
    /// Nothing is known but that there is none later.
    pub(super) fn not_later(until: DateTime<Utc>) -> Self {
        Self { until, after: None, failed: 0 }
    }

    /// Whether there is a line.
    pub(super) fn found(&self) -> Option<DateTime<Utc>> {
        self.after
    }

    pub(super) fn until(&self) -> DateTime<Utc> {
        self.until
    }

    /// The next span to count: back in ever longer steps, then by halves.
    pub(super) fn next(&self, now: DateTime<Utc>, cadence: Duration) -> Option<Span> {
        let old = age(now, self.until).unwrap_or_default();
        match self.after {
            _ if self.failed >= MAX_FAILED => None,
            None => {
                let farthest = earlier(now, LONGEST.max(cadence.saturating_mul(2)));
                (self.until > farthest).then(|| (earlier(self.until, old.max(cadence)).max(farthest), self.until))
            }
            Some(after) => {
                let width = age(self.until, after).unwrap_or_default();
                (width > (old / 200).max(Duration::from_secs(1))).then(|| (earlier(self.until, width / 2), self.until))
            }
        }
    }

    /// The same after a count.
    pub(super) fn learn(self, (from, _): Span, any: bool) -> Self {
        if any { Self { after: Some(from), ..self } } else { Self { until: from, ..self } }
    }

    /// The same after a count that failed.
    pub(super) fn fail(self) -> Self {
        Self { failed: self.failed.saturating_add(1), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CADENCE: Duration = Duration::from_hours(26);

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + minute * 60, 0).unwrap()
    }

    /// Searches to the end; gives what is known, and how many questions that took.
    fn searched(line: Option<DateTime<Utc>>, now: DateTime<Utc>) -> (Last, usize) {
        let (mut last, mut questions) = (Last::not_later(earlier(now, CADENCE)), 0);
        while let Some((from, until)) = last.next(now, CADENCE) {
            assert!(from < until && questions < 40, "{from} {until}");
            last = last.learn((from, until), line.is_some_and(|line| from < line && line <= until));
            questions += 1;
        }
        (last, questions)
    }

    #[test]
    fn the_last_line_is_found_in_a_few_questions() {
        for minutes in [26 * 60, 26 * 60 + 1, 27 * 60, 60 * 60, 20 * 24 * 60] {
            let (last, questions) = searched(Some(at(-minutes)), at(0));
            let (after, until) = (last.found().unwrap(), last.until());
            assert!(after < at(-minutes) && at(-minutes) <= until, "{minutes}: {last:?}");
            let width = (until - after).num_minutes();
            assert!(width <= minutes / 100, "{minutes}: {width} minutes wide");
            assert!(questions <= 16, "{minutes}: {questions} questions");
        }
    }

    #[test]
    fn the_search_for_no_line_ends() {
        let (last, questions) = searched(None, at(0));
        assert_eq!(last.found(), None);
        assert_eq!(last.until(), earlier(at(0), LONGEST));
        assert!(questions <= 6, "{questions} questions");
        let failing = Last::not_later(at(-5000)).fail().fail();
        assert!(failing.next(at(0), CADENCE).is_some());
        assert_eq!(failing.fail().next(at(0), CADENCE), None);
    }
}
