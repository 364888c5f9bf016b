//! The services of the old side: which of them nobody has listed.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::check::Context;
use crate::counter::{age, earlier, later, words};
use crate::loki::counts::{Counts, Question, shown};
use crate::net::Budget;
use crate::outcome::Outcome;
use crate::target::LokiTarget;

use super::{DISCOVERING, FORGOTTEN, OLD_EMPTY, OLD_UNREAD, Span, StreamFreshness};

/// Most names that are remembered, and that evidence lists.
const MAX_NAMES: usize = 64;
const NAMED: usize = 6;
/// The largest piece that is read at once, and the smallest after Loki did not answer.
const PIECE: Duration = Duration::from_hours(6);
const SMALLEST: Duration = Duration::from_mins(5);
/// Most pieces in one Run.
const MAX_PIECES: usize = 4;
/// How long what is known is not asked for again, and which lines may still be on their way.
const FRESH: Duration = Duration::from_mins(5);
const LAG: Duration = Duration::from_mins(1);
/// By when the old side must have been read on.
const DUE: Duration = Duration::from_mins(10);

/// What is remembered of the old side.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Unlisted {
    /// How far it has been read.
    #[serde(with = "chrono::serde::ts_milliseconds_option")]
    read: Option<DateTime<Utc>>,
    /// When it was asked last.
    #[serde(with = "chrono::serde::ts_milliseconds_option")]
    asked: Option<DateTime<Utc>>,
    /// Whether all of it was read once.
    complete: bool,
    /// How small the pieces are, as a power of two.
    small: u32,
    /// Whether there was a line of anybody.
    any: bool,
    names: BTreeMap<String, Found>,
    /// There are more names.
    more: bool,
}

/// Lines of a service that is not listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Found {
    lines: u64,
    #[serde(with = "chrono::serde::ts_milliseconds")]
    last: DateTime<Utc>,
    /// The largest time between two pieces with lines, in seconds.
    gap: u64,
}

impl Unlisted {
    /// All of it was read, and there is one service.
    pub(super) fn with(name: &str, now: DateTime<Utc>) -> Self {
        let names = BTreeMap::from([(name.to_owned(), Found { lines: 1, last: now, gap: 0 })]);
        Self { read: Some(now), asked: Some(now), complete: true, any: true, names, ..Self::default() }
    }

    /// The next piece to read. What is complete is left alone for a while.
    fn next(&self, over: Duration, now: DateTime<Utc>) -> Option<Span> {
        let asked = self.asked.and_then(|asked| age(now, asked));
        if self.complete && asked.is_some_and(|asked| asked < FRESH) {
            return None;
        }
        let end = earlier(now, LAG);
        let from = self.read.unwrap_or_else(|| earlier(now, over)).max(earlier(now, over));
        (from < end).then(|| (from, later(from, self.piece()).min(end)))
    }

    fn piece(&self) -> Duration {
        (PIECE / 2_u32.saturating_pow(self.small)).max(SMALLEST)
    }

    /// Takes in a piece.
    fn learn(&mut self, check: &StreamFreshness, counts: &Counts, (_, until): Span, now: DateTime<Utc>) {
        for (key, lines) in counts.iter().filter(|(_, lines)| **lines > 0) {
            let name = key.first().map(String::as_str).unwrap_or_default();
            self.any = true;
            if check.services.contains_key(name) || check.ignore.contains(name) {
                continue;
            }
            if self.names.len() >= MAX_NAMES && !self.names.contains_key(name) {
                self.more = true;
                continue;
            }
            let found = self.names.entry(name.to_owned()).or_insert(Found { lines: 0, last: until, gap: 0 });
            found.gap = found.gap.max(age(until, found.last).unwrap_or_default().as_secs());
            *found = Found { lines: found.lines.saturating_add(*lines), last: until, ..*found };
        }
        // What was found stays: the old side is to fall silent.
        self.read = Some(until);
        self.complete |= until >= earlier(now, LAG + FRESH);
        self.small = self.small.saturating_sub(1);
    }

    /// The old side did not answer: a smaller piece may do.
    fn fail(&mut self) {
        self.small = (self.small + 1).min(7);
    }
}

impl StreamFreshness {
    /// Reads the old side on, some pieces in each Run. Gives also what kept it from that.
    pub(super) async fn discover(&self, cx: &Context, mut known: Unlisted, budget: Budget) -> (Unlisted, Option<Outcome>) {
        let (Some(name), Some(query)) = (&self.old_loki, &self.old_selector) else { return (Unlisted::default(), None) };
        let loki = match cx.target::<LokiTarget>(name) {
            Ok(loki) => loki,
            Err(outcome) => return (known, Some(outcome)),
        };
        for _ in 0..MAX_PIECES {
            let Some((from, until)) = known.next(self.over, cx.now) else { break };
            let over = age(until, from).unwrap_or_default();
            let asked = Question { query, by: &[self.label.as_str()], at: until, over }.ask(cx, loki, budget).await;
            known.asked = known.complete.then_some(cx.now);
            match asked {
                Ok(counts) => known.learn(self, &counts, (from, until), cx.now),
                Err(outcome) => {
                    known.fail();
                    return (known, Some(outcome));
                }
            }
        }
        (known, None)
    }

    /// What is known of the old side's services means this.
    pub(super) fn judge_unlisted(&self, known: &Unlisted, unread: Option<Outcome>, now: DateTime<Utc>) -> Outcome {
        let over = words(self.over);
        if !known.names.is_empty() {
            let name = |(name, found): (&String, &Found)| {
                let gap =
                    if found.gap > 0 { format!(" up to {} apart", words(Duration::from_secs(found.gap))) } else { String::new() };
                format!("{}: {} lines{gap}", shown(name), found.lines)
            };
            let names: Vec<_> = known.names.iter().map(name).take(NAMED).collect();
            let (count, more) = (known.names.len(), if known.more { " or more" } else { "" });
            let others = if count > NAMED { "; …" } else { "" };
            let names = names.join("; ");
            return FORGOTTEN.because(format!("{count}{more} services of the old side are not listed: {names}{others}"));
        }
        let read = known.read.map_or_else(|| "nothing yet".to_owned(), |read| format!("until {}", read.format("%FT%TZ")));
        match unread {
            Some(unread) if !known.complete => OLD_UNREAD.because(format!("read {read}; {}", unread.evidence())),
            None if !known.complete => DISCOVERING.until(later(now, DUE), format!("read {read}, of {over}")),
            Some(_) | None if !known.any => OLD_EMPTY.because(format!("no line at all, read {read}")),
            Some(_) | None => Outcome::pass(format!("all services of the old side in the {over} {read} are listed or ignored")),
        }
    }
}
