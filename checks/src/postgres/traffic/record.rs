//! What is known of one writer, and what that means: pure arithmetic on times.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::counter::{age, later, words};
use crate::outcome::Outcome;

use super::roles::{Author, Calls};
use super::writer::{Pace, SKEW, Writer};
use super::{COMPLETING, FIRST_BEATS, MISSED_RUN, NOT_DUE, OTHER_ROLE, PARTIAL, SILENT};

/// What is remembered of one writer. Scene of rows are the table's own, and compared with the server's clock alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// When it was looked at first, by the verifier's clock.
    since: DateTime<Utc>,
    /// The oldest row that counts.
    first: Option<DateTime<Utc>>,
    /// The newest row that counts.
    newest: Option<DateTime<Utc>>,
    /// How much was counted for its table when it was asked last.
    pub(super) asked: Option<u64>,
    /// The newest row of the last set that was complete.
    whole: Option<DateTime<Utc>>,
    /// The newest row of the first set that was incomplete since then.
    torn: Option<DateTime<Utc>>,
    /// Who had called what when its newest row was seen first.
    pub(super) calls: Option<Calls>,
    /// Who wrote the newest rows.
    pub(super) author: Author,
}

/// What a verdict is seen against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scene {
    /// The server's clock.
    pub(super) clock: DateTime<Utc>,
    /// The verifier's, which alone it may wait by.
    pub(super) now: DateTime<Utc>,
    /// The mark, by the server's clock.
    pub(super) mark: DateTime<Utc>,
    /// Why nobody is known to have written a row, if so.
    pub(super) unseen: &'static str,
}

impl Scene {
    /// In how long `by` comes, by the verifier's clock.
    fn until(&self, by: DateTime<Utc>) -> DateTime<Utc> {
        later(self.now, age(by, self.clock).unwrap_or_default())
    }
}

fn shown(time: DateTime<Utc>) -> String {
    time.format("%F %TZ").to_string()
}

impl Record {
    /// Nothing is known yet.
    pub(super) fn new(now: DateTime<Utc>) -> Self {
        Self { since: now, first: None, newest: None, asked: None, whole: None, torn: None, calls: None, author: Author::Unseen }
    }

    /// The newest row that counts.
    pub(super) fn newest(&self) -> Option<DateTime<Utc>> {
        self.newest
    }

    /// Rows that count were found, the oldest and the newest of those that were not known. Whether that is a new beat.
    pub(super) fn sees(&mut self, rows: Option<(DateTime<Utc>, DateTime<Utc>)>) -> bool {
        let Some((oldest, newest)) = rows.filter(|(_, newest)| self.newest.is_none_or(|known| *newest > known)) else {
            return false;
        };
        self.first.get_or_insert(oldest);
        self.newest = Some(newest);
        true
    }

    /// The set of rows is complete, or not.
    pub(super) fn counts(&mut self, complete: bool) {
        if complete {
            (self.whole, self.torn) = (self.newest, None);
        } else if self.torn.is_none() {
            self.torn = self.newest;
        }
    }

    /// Whether the query for completeness is to be asked.
    pub(super) fn wants_completeness(&self, writer: &Writer, pace: &Pace) -> bool {
        writer.complete.is_some() && self.newest.is_some() && (matches!(pace, Pace::Fast(_)) || self.whole != self.newest)
    }

    /// What all of this means.
    pub(super) fn judge(&self, writer: &Writer, pace: &Pace, scene: Scene) -> Outcome {
        if let Author::Other(other) = &self.author {
            let words = format!("{} was written to by role {other}, not by {}", writer.table, writer.role);
            return OTHER_ROLE.because(format!("{words} (pg_stat_statements)"));
        }
        let outcome = match pace {
            Pace::Fast(every) => self.beats(writer, *every, scene),
            Pace::Slow(..) => self.runs(writer, pace, scene),
        };
        if matches!(outcome, Outcome::Fail { .. }) || writer.complete.is_none() {
            return outcome;
        }
        self.completeness(writer, scene).unwrap_or(outcome)
    }

    /// What is wrong with the set of rows, if anything.
    fn completeness(&self, writer: &Writer, scene: Scene) -> Option<Outcome> {
        let query = writer.complete.as_deref().unwrap_or_default();
        let torn = self.torn.or(self.newest.filter(|_| self.whole.is_none()))?;
        if age(scene.clock, torn).unwrap_or_default() > writer.grace {
            let words = format!("the rows of {} are incomplete since {}", writer.table, shown(torn));
            return Some(PARTIAL.because(format!("{words}, it is not true that: {query}")));
        }
        let due = scene.until(later(torn, writer.grace));
        self.whole.is_none().then(|| COMPLETING.until(due, format!("rows of {} came, not yet true: {query}", writer.table)))
    }

    fn beats(&self, writer: &Writer, every: Duration, scene: Scene) -> Outcome {
        let allowed = every.saturating_add(SKEW);
        let Some((first, newest)) = self.first.zip(self.newest) else {
            return self.no_beat(writer, every, scene);
        };
        let old = age(scene.clock, newest).unwrap_or_default();
        if old > allowed {
            let since = format!("no row in {} since {}, {} ago", writer.table, shown(newest), words(old));
            return SILENT.because(format!("{since}; its cadence is {}", words(every)));
        }
        // Rows of one run need not have one time; those of two runs are most of a cadence apart.
        if age(newest, first).is_none_or(|apart| apart < every / 2) {
            let due = scene.until(later(newest, allowed));
            return FIRST_BEATS.until(due, format!("one beat in {} so far, at {}", writer.table, shown(newest)));
        }
        Outcome::pass(format!(
            "{}: newest row at {}, {} ago; {}",
            writer.table,
            shown(newest),
            words(old),
            self.author(writer, scene)
        ))
    }

    fn no_beat(&self, writer: &Writer, every: Duration, scene: Scene) -> Outcome {
        let due = later(self.since, every.saturating_mul(2).saturating_add(SKEW));
        let words = format!("no row in {} since the mark of {}", writer.table, shown(scene.mark));
        if scene.now > due { SILENT.because(words) } else { FIRST_BEATS.until(due, words) }
    }

    fn runs(&self, writer: &Writer, pace: &Pace, scene: Scene) -> Outcome {
        // A row that is a little early by a clock that is a little slow is of the run that is due.
        let from = self.newest.map_or_else(|| self.since.max(scene.mark), |newest| later(newest, SKEW));
        let Some(due) = pace.due_after(from) else {
            return MISSED_RUN.because("no run of its schedule is ever due");
        };
        let missed = format!("no row in {} of the run that was due at {}", writer.table, shown(due.run));
        match self.newest {
            None if scene.now > due.by => MISSED_RUN.because(missed),
            None => {
                let words = format!("no row in {} yet; the next run is due at {}", writer.table, shown(due.run));
                NOT_DUE.until(due.by, format!("{words}, or run it once by hand: that proves it now"))
            }
            Some(newest) if scene.clock > due.by => MISSED_RUN.because(format!("{missed}; the newest is of {}", shown(newest))),
            Some(newest) => {
                let words = format!("{}: newest row at {}", writer.table, shown(newest));
                Outcome::pass(format!("{words}; next run due at {}; {}", shown(due.run), self.author(writer, scene)))
            }
        }
    }

    fn author(&self, writer: &Writer, scene: Scene) -> String {
        match &self.author {
            Author::Declared => format!("written by {}", writer.role),
            Author::Other(other) => format!("written by {other}"),
            Author::Unseen => format!("the role is not verified: {}", scene.unseen),
        }
    }
}

#[cfg(test)]
mod tests;
