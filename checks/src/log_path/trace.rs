//! Finding one boot's lines in Loki, window by window, so that no answer is ever cut.

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::check::Context;
use crate::loki::lines;
use crate::net::Budget;
use crate::outcome::{Outcome, ReasonSpec};
use crate::target::LokiTarget;

use super::account::{Found, millis, moment};
use super::line::{Boot, CanaryLine};

/// More lines than can be read.
pub(crate) const CUT: ReasonSpec = ReasonSpec::unknown(
    "cut",
    "let the agents write less often (`--every`), or give the probe more `timeout`: there are more lines than it can read in one run",
);

/// Most queries of one Run for one boot.
const MAX_QUERIES: u32 = 24;
/// Lines to be expected in one window at the agent's own cadence.
const EXPECTED: i64 = 1000;
/// Widest window: Loki has a limit for it too.
const WIDEST: i64 = 86_400_000;

/// The lines of one boot within a window, as far as they are its own, and how many were read to find them.
#[derive(Debug, Default)]
pub(crate) struct Window {
    pub(crate) own: Vec<Found>,
    pub(crate) read: usize,
}

/// Where lines are read back from.
pub(crate) trait Source: Sync {
    /// The lines of that node and boot from one moment to before another; None if there are more than fit.
    fn window<'a>(
        &'a self,
        whose: (&'a str, Boot),
        span: (i64, i64),
        budget: Budget,
    ) -> BoxFuture<'a, Result<Option<Window>, Outcome>>;
}

/// A Loki's streams.
pub(crate) struct InLoki<'a> {
    pub(crate) cx: &'a Context,
    pub(crate) loki: &'a LokiTarget,
    pub(crate) selector: &'a str,
}

/// A line of this node and this boot, whoever else claims to be it. Loki's timestamp is in nanoseconds.
pub(crate) fn own(text: &str, stamp: i64, (node, boot): (&str, Boot)) -> Option<Found> {
    let line = CanaryLine::parse(text).filter(|line| line.boot == boot && line.node == node)?;
    Some(Found { seq: line.seq, at: millis(line.at), stamp: stamp.div_euclid(1_000_000), end: line.end })
}

impl Source for InLoki<'_> {
    fn window<'a>(
        &'a self,
        (node, boot): (&'a str, Boot),
        (from, to): (i64, i64),
        budget: Budget,
    ) -> BoxFuture<'a, Result<Option<Window>, Outcome>> {
        Box::pin(async move {
            // On a line of its own, so that a comment in the selector does not swallow it. It only spares work: each line is read.
            let query = format!("{}\n|= \"{boot}\"", self.selector);
            let entries = lines::read(self.cx, self.loki, &query, (moment(from), moment(to)), budget).await?;
            let nanos = |at: DateTime<Utc>| at.timestamp_nanos_opt().unwrap_or_default();
            let own = |entry: &lines::Entry| own(&entry.text, nanos(entry.at), (node, boot));
            Ok(entries.map(|entries| Window { own: entries.iter().filter_map(own).collect(), read: entries.len() }))
        })
    }
}

/// One Run's reading of one boot's lines.
pub(crate) struct Trace<'a> {
    source: &'a dyn Source,
    whose: (&'a str, Boot),
    budget: Budget,
    width: i64,
    queries: u32,
    /// What was found.
    pub(crate) lines: Vec<Found>,
}

impl<'a> Trace<'a> {
    pub(crate) fn new(source: &'a dyn Source, whose: (&'a str, Boot), every: i64, budget: Budget) -> Self {
        let width = every.saturating_mul(EXPECTED).clamp(1, WIDEST);
        Self { source, whose, budget, width, queries: 0, lines: Vec::new() }
    }

    /// Whether there is time for another query.
    fn may_go_on(&self) -> bool {
        self.queries < MAX_QUERIES && Instant::now() < self.budget.start + self.budget.timeout() / 4 * 3
    }

    /// Reads from `from` to before `to`, oldest first, as far as this Run goes; says how far that was.
    pub(crate) async fn read(&mut self, from: i64, to: i64) -> Result<i64, Outcome> {
        let mut cursor = from;
        while cursor < to && self.may_go_on() {
            let end = to.min(cursor.saturating_add(self.width));
            self.queries += 1;
            match self.source.window(self.whose, (cursor, end), self.budget).await? {
                Some(window) => {
                    if window.read < lines::LIMIT / 4 {
                        self.width = self.width.saturating_mul(4).min(WIDEST);
                    }
                    self.lines.extend(window.own);
                    cursor = end;
                }
                None if self.width == 1 => {
                    return Err(CUT.because(format!("more than {} lines within a millisecond", lines::LIMIT)));
                }
                None => self.width = (self.width / 4).max(1),
            }
        }
        Ok(cursor)
    }
}
