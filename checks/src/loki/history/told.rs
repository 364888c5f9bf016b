//! What a comparison has come to, in words.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::counter::{age, words};
use crate::outcome::{Outcome, Progress};

use super::compare::{Difference, Kind, Span};
use super::scan::Scan;
use super::{ALTERED, EXTRA, LokiHistory, MISSING, NO_HISTORY};

impl LokiHistory {
    /// How far a comparison has come.
    pub(super) fn progress(&self, scan: &Scan, now: DateTime<Utc>) -> Progress {
        let total = u64::try_from(scan.window.hours()).unwrap_or_default();
        let done = scan.done();
        let mut note = format!("{done} of {total} hours are the same, {} lines so far", scan.tally.lines);
        if let Some(pause) = scan.pause.filter(|_| scan.found.is_empty()) {
            note = format!(
                "all of it is looked at again from {} on: only then everything is visible that was replayed",
                pause.format("%TZ")
            );
        } else if let Some(first) = scan.found.first() {
            let differ = u64::try_from(scan.found.len()).unwrap_or_default().saturating_add(scan.more);
            let within = words(self.visible_within);
            note = format!(
                "{note}; {differ} differ: {}; looked at again, since what was moved may not be visible for {within}",
                first.words()
            );
        } else if scan.round > 0 {
            note = format!("{note}; what differed is looked at again");
        } else if let Some(left) = left(scan.begun, now, done, total) {
            note = format!("{note}; about {} left", words(left));
        }
        Progress { done, total, note: note.into() }
    }

    /// What a comparison that found no difference has compared.
    pub(super) fn same(&self, scan: &Scan, now: DateTime<Utc>) -> Outcome {
        let tally = scan.tally;
        if tally.lines == 0 {
            return NO_HISTORY.because(format!("no line of {} from {}", self.selector(), scan.window.words()));
        }
        let sample = match self.sample_one_in {
            0 => "their text was not compared".to_owned(),
            1 => format!("the text of all {} was compared", tally.read),
            parts => {
                let percent = 100.0 / f64::from(parts);
                format!("the text of {} was compared, so that a single altered line is found with {percent:.1} %", tally.read)
            }
        };
        Outcome::pass(format!(
            "{} hours from {}, up to {} services: {} lines and {} bytes in both; {sample}; looked at from {} to {}",
            tally.hours,
            scan.window.words(),
            tally.services,
            tally.lines,
            tally.bytes,
            scan.begun.format("%F %TZ"),
            now.format("%F %TZ")
        ))
    }
}

/// Time that is left, if it goes on as it did.
fn left(begun: DateTime<Utc>, now: DateTime<Utc>, done: u64, total: u64) -> Option<Duration> {
    let spent = age(now, begun)?.as_secs();
    let seconds = spent.checked_mul(total.checked_sub(done)?)?.checked_div(done)?;
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

/// The worst of the differences decides, and the first of them are named.
pub(super) fn differs(mut found: Vec<Difference>, more: u64, window: Span) -> Outcome {
    found.sort();
    let reason = match found.first().map(|worst| worst.kind) {
        Some(Kind::Missing) | None => MISSING,
        Some(Kind::Content | Kind::Bytes) => ALTERED,
        Some(Kind::Extra) => EXTRA,
    };
    let named: Vec<String> = found.iter().take(8).map(Difference::words).collect();
    let all = u64::try_from(found.len()).unwrap_or_default().saturating_add(more);
    let others = all.saturating_sub(u64::try_from(named.len()).unwrap_or_default());
    let others = if others > 0 { format!("; and {others} more") } else { String::new() };
    reason.because(format!("{}{others}; from {}", named.join("; "), window.words()))
}
