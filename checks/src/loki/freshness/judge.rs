//! From counts to outcomes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::counter::{age, earlier, later, words};
use crate::outcome::{Outcome, PartId};

use super::{Cadence, FIRST_LINES, Last, Lines, SILENT, StreamFreshness, Unlisted};

/// What is remembered between Runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// The first look.
    #[serde(with = "chrono::serde::ts_milliseconds_option")]
    first: Option<DateTime<Utc>>,
    /// The last one.
    #[serde(with = "chrono::serde::ts_milliseconds_option")]
    looked: Option<DateTime<Utc>>,
    /// Services that had lines within their cadence once.
    had: BTreeSet<String>,
    /// The last lines of those that are silent.
    silent: BTreeMap<String, Last>,
    pub(super) unlisted: Unlisted,
}

impl Seen {
    /// As if the first look had been a cadence ago.
    pub(super) fn long_ago(now: DateTime<Utc>, cadence: Duration) -> Self {
        Self { first: Some(earlier(now, cadence.saturating_mul(2))), ..Self::default() }
    }

    /// Takes in what was counted.
    pub(super) fn begin(&mut self, check: &StreamFreshness, lines: &Lines, now: DateTime<Utc>) {
        // After the clock was set back, a first look of the future would grant a wait for as long as that.
        self.first = Some(self.first.map_or(now, |first| first.min(now)));
        for (service, lines) in lines {
            let Ok(lines) = lines else { continue };
            let cadence = check.services.get(service).map(|cadence| cadence.0).unwrap_or_default();
            // Nobody looked for longer than the cadence: lines may have come and grown old.
            let watched = self.looked.and_then(|looked| age(now, looked)).is_some_and(|gap| gap <= cadence);
            if *lines > 0 || !watched {
                self.silent.remove(service);
            }
            if *lines > 0 {
                self.had.insert(service.clone());
            }
        }
        if lines.values().any(Result::is_ok) || lines.is_empty() {
            self.looked = Some(now);
        }
    }

    /// What is known of a silent service's last line.
    pub(super) fn last(&self, service: &str, cadence: Duration, now: DateTime<Utc>) -> Last {
        self.silent.get(service).copied().unwrap_or_else(|| Last::not_later(earlier(now, cadence)))
    }

    pub(super) fn learn(&mut self, service: &str, last: Last) {
        self.silent.insert(service.to_owned(), last);
    }
}

impl StreamFreshness {
    /// What the lines of each service mean.
    pub(super) fn judge(&self, lines: &Lines, seen: &Seen, now: DateTime<Utc>) -> BTreeMap<PartId, Outcome> {
        let judged = lines.iter().filter_map(|(service, lines)| {
            let Cadence(cadence) = self.services.get(service)?;
            let outcome = match lines {
                Ok(0) => judge_silent(service, *cadence, seen, now),
                Ok(lines) => Outcome::pass(format!("{lines} lines in the last {}", words(*cadence))),
                Err(outcome) => outcome.clone(),
            };
            Some((PartId::new(service), outcome))
        });
        judged.collect()
    }
}

fn judge_silent(service: &str, cadence: Duration, seen: &Seen, now: DateTime<Utc>) -> Outcome {
    let last = seen.last(service, cadence, now);
    let first = seen.first.unwrap_or(now);
    let due = later(first, cadence);
    let ago = |time| words(age(now, time).unwrap_or_default());
    let within = words(cadence);
    match last.found() {
        Some(after) => {
            let until = last.until();
            let overdue = words(age(now, until).unwrap_or_default().saturating_sub(cadence));
            let when = if age(until, after).unwrap_or_default() <= age(now, until).unwrap_or_default() / 100 {
                format!("about {} ago, at {}", ago(until), until.format("%FT%TZ"))
            } else {
                format!("{} to {} ago", ago(until), ago(after))
            };
            SILENT
                .because(format!("{service}: no line within its cadence of {within}; the last one is {when}: {overdue} overdue"))
        }
        None if seen.had.contains(service) => {
            SILENT.because(format!("{service}: no line within its cadence of {within}; it had some, and none is found now"))
        }
        None if now < due => FIRST_LINES
            .until(due, format!("{service}: no line yet, looked for since {}; due within {within}", first.format("%FT%TZ"))),
        None => {
            let overdue = ago(due);
            SILENT.because(format!("{service}: no line yet, looked for since {}: {overdue} overdue", first.format("%FT%TZ")))
        }
    }
}
