//! The account of one boot's lines: which are there, which are missing, and from when on a missing one is lost.
//!
//! A number is settled once it is decided: found, or lost. Loss needs three things. A newer line was there `lostAfter` ago (its
//! *mark*), the number was still missing then, and all of Loki's lines since before it was written have been read again after
//! that: one *sweep*. A sweep may take several Runs; what it has found so far is kept.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::intervals::Intervals;
use super::line::Boot;

/// Loki's timestamp of a line may be this much before the line's own time.
pub(crate) const MARGIN: i64 = 10_000;

/// Most marks that are kept.
const MAX_MARKS: usize = 6;

/// Milliseconds since 1970. Far times are cut, not wrapped.
pub(crate) fn millis(at: DateTime<Utc>) -> i64 {
    at.timestamp_millis()
}

/// The moment of these milliseconds.
pub(crate) fn moment(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}

/// A duration as milliseconds.
pub(crate) fn span(time: std::time::Duration) -> i64 {
    TimeDelta::from_std(time).map_or(i64::MAX / 4, |time| time.num_milliseconds().min(i64::MAX / 4))
}

/// The time of so many lines, in milliseconds.
pub(crate) fn span_of(lines: u64, every: i64) -> i64 {
    i64::try_from(lines).unwrap_or(i64::MAX).saturating_mul(every)
}

/// A line that was read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its number.
    pub(crate) seq: u64,
    /// Its own time.
    pub(crate) at: i64,
    /// Loki's timestamp.
    pub(crate) stamp: i64,
    /// Whether it says that it is the last of its start.
    pub(crate) end: bool,
}

/// Reading again all that may hold missing lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sweep {
    /// When it began.
    #[serde(rename = "b")]
    pub(crate) began: i64,
    /// Everything before this was read.
    #[serde(rename = "c")]
    pub(crate) cursor: i64,
    /// More was found than is kept: beyond this number it tells nothing.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
}

impl Sweep {
    /// Begins now, with what was written from then on.
    pub(crate) fn new(now: i64, from: i64) -> Self {
        Self { began: now, cursor: from, limit: None }
    }

    /// The same, when the clock was set back meanwhile.
    pub(crate) fn not_after(self, now: i64) -> Self {
        Self { began: self.began.min(now), ..self }
    }

    /// The same, further on.
    pub(crate) fn at(self, cursor: i64) -> Self {
        Self { cursor, ..self }
    }
}

/// Numbers that are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Loss {
    /// The first of them.
    pub(crate) first: u64,
    /// How many.
    pub(crate) count: u64,
}

/// What a sweep has decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    /// What is lost.
    pub(crate) loss: Option<Loss>,
    /// What was found.
    pub(crate) delivered: Intervals,
    /// The number that all of it comes after.
    pub(crate) above: u64,
    /// Loki has none of those found before this.
    pub(crate) after: i64,
}

impl Settled {
    /// Together with what was decided right after it.
    pub(crate) fn and(mut self, more: &Self) -> Self {
        let count = |loss: Loss| loss.count.saturating_add(more.loss.map_or(0, |more| more.count));
        self.loss = self.loss.map(|loss| Loss { count: count(loss), ..loss }).or(more.loss);
        self.delivered.join(&more.delivered);
        self.after = self.after.min(more.after);
        self
    }
}

/// What is known of the lines of one boot. Its names are short: there are many in one Memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    #[serde(rename = "b")]
    pub(crate) boot: Boot,
    /// When the boot was first met.
    #[serde(rename = "s")]
    pub(crate) since: i64,
    /// Last number that the agent told of.
    #[serde(rename = "l")]
    pub(crate) last: u64,
    /// When it wrote that line.
    #[serde(rename = "t")]
    pub(crate) last_at: i64,
    /// All numbers up to this are decided. None: no line of it was ever found, so nothing is counted yet.
    #[serde(rename = "n")]
    settled: Option<u64>,
    /// A settled number and its time: what is not settled was written after it.
    #[serde(rename = "f")]
    from: Option<(u64, i64)>,
    /// Numbers beyond the settled ones that were found.
    #[serde(rename = "i")]
    found: Intervals,
    /// Loki's earliest timestamp of the lines beyond the settled ones that were read since the last sweep was over; the next sweep
    /// reads all of them.
    #[serde(rename = "y", default, skip_serializing_if = "Option::is_none")]
    earliest: Option<i64>,
    /// When which greatest number was there.
    #[serde(rename = "m")]
    marks: Vec<(i64, u64)>,
    /// When the last sweep that is over began.
    #[serde(rename = "d")]
    swept: i64,
    /// The line that says that it is the last one was found.
    #[serde(rename = "e", default, skip_serializing_if = "std::ops::Not::not")]
    ended: bool,
    /// All numbers up to this are late unless they were found before the last Run was over.
    #[serde(rename = "u", default)]
    due: u64,
    /// How many came although they were late.
    #[serde(rename = "g", default)]
    late: u64,
    /// The sweep that is under way.
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    pub(crate) sweep: Option<Sweep>,
}

impl Account {
    /// A boot that is met now. From its first line on if lines of this agent arrived before, of whichever boot, else from the first
    /// line that is found: what was written before the pipeline was there is no loss.
    pub(crate) fn new(boot: Boot, now: i64, from_the_first: bool) -> Self {
        let settled = from_the_first.then_some(0);
        let (found, marks) = (Intervals::default(), Vec::new());
        Self {
            boot,
            since: now,
            last: 0,
            last_at: now,
            settled,
            from: None,
            found,
            earliest: None,
            marks,
            swept: now,
            ended: false,
            due: 0,
            late: 0,
            sweep: None,
        }
    }

    /// Whether a line of it was ever found, or is owed from the first on.
    pub(crate) fn has_begun(&self) -> bool {
        self.settled.is_some()
    }

    /// The greatest number that was found, or 0.
    pub(crate) fn newest(&self) -> u64 {
        self.found.last().or(self.settled).unwrap_or(0)
    }

    /// How many lines came although they were late.
    pub(crate) fn late(&self) -> u64 {
        self.late
    }

    /// From now on all numbers up to this are late when they come.
    pub(crate) fn owes(&mut self, due: u64) {
        self.due = self.due.max(due);
    }

    fn overdue(&self) -> u64 {
        self.settled.map_or(0, |settled| self.found.missing(settled, self.due.saturating_add(1)).count())
    }

    /// Whether its agent has said which line is the last.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// How many lines that the agent told of are neither found nor settled.
    pub(crate) fn outstanding(&self) -> u64 {
        self.last.max(self.newest()).saturating_sub(self.settled.unwrap_or(0)).saturating_sub(self.found.count())
    }

    /// Since when lines have to be read to find all that is missing.
    pub(crate) fn since_when(&self, every: i64) -> i64 {
        let Some(settled) = self.settled else { return i64::MAX };
        // The second holds when the node's clock was set back.
        let by_number = self.last_at.saturating_sub(span_of(self.last.saturating_sub(settled), every));
        self.from.map_or(by_number, |(_, at)| at.min(by_number)).saturating_sub(MARGIN)
    }

    /// Whether it is time to read all again that may hold missing lines. As long as some are missing that is a lot to read.
    pub(crate) fn wants_sweep(&self, now: i64, lost_after: i64) -> bool {
        !(self.swept..self.swept.saturating_add(lost_after / 8)).contains(&now)
    }

    /// Takes in what was read at `now`. `most` intervals are kept.
    pub(crate) fn observe(&mut self, lines: &[Found], now: i64, lost_after: i64, most: usize) {
        if let (None, Some(first)) = (self.settled, lines.iter().map(|line| line.seq).min()) {
            self.settled = Some(first.saturating_sub(1));
        }
        let Some(settled) = self.settled else { return };
        self.moves_on(lines, settled);
        self.ended |= lines.iter().any(|line| line.end);
        let open = || lines.iter().filter(|line| line.seq > settled);
        let overdue = self.overdue();
        self.found.extend(open().map(|line| line.seq));
        self.late = self.late.saturating_add(overdue.saturating_sub(self.overdue()));
        self.earliest = open().map(|line| line.stamp).chain(self.earliest).min();
        let newest = self.newest();
        self.marks.iter_mut().for_each(|(at, _)| *at = now.min(*at));
        let (last_mark, marked) = self.marks.last().copied().unwrap_or((i64::MIN, settled));
        // Fewer marks only mean that a loss is told a little later.
        let far = now.saturating_sub(last_mark) >= lost_after / 4 && self.marks.len() < MAX_MARKS;
        if newest > marked && far {
            self.marks.push((now, newest));
        }
        // What is forgotten without a sweep is read again by the next one.
        if let (Some(limit), Some(sweep)) = (self.found.keep(most), &mut self.sweep) {
            sweep.limit = Some(sweep.limit.unwrap_or(limit).min(limit));
        }
    }

    /// A sweep that began then has read everything: decides what can be decided.
    pub(crate) fn settle(&mut self, lines: &[Found], lost_after: i64) -> Settled {
        let (Some(sweep), Some(above)) = (self.sweep.take(), self.settled) else { return Settled::default() };
        self.swept = sweep.began;
        let limit = sweep.limit.unwrap_or(u64::MAX);
        let due = sweep.began.saturating_sub(lost_after);
        let horizon = self.marks.iter().filter(|(at, _)| *at <= due).map(|(_, newest)| *newest).max();
        let horizon = horizon.unwrap_or(above).clamp(above, limit.max(above));
        let loss = self.lose(above, horizon.saturating_add(1));
        let settled = self.found.unbroken_after(horizon).min(limit.max(horizon));
        self.settled = Some(settled);
        let after = self.earliest.take().unwrap_or(sweep.began);
        let delivered = self.found.up_to(settled);
        self.found.forget_to(settled);
        self.marks.retain(|(_, newest)| *newest > settled);
        self.moves_on(lines, settled);
        Settled { loss, delivered, above, after }
    }

    fn moves_on(&mut self, lines: &[Found], settled: u64) {
        let line = lines.iter().filter(|line| line.seq <= settled).max_by_key(|line| line.seq);
        let from = line.map(|line| (line.seq, line.at.min(line.stamp)));
        self.from = from.filter(|(seq, _)| self.from.is_none_or(|(before, _)| *seq >= before)).or(self.from);
    }

    fn lose(&self, above: u64, below: u64) -> Option<Loss> {
        let missing = self.found.missing(above, below);
        missing.first().map(|first| Loss { first, count: missing.count() })
    }

    /// Whether a newer line came so lately that what is missing before it may still come.
    pub(crate) fn is_moving(&self, now: i64, lost_after: i64) -> bool {
        self.marks.last().is_some_and(|(at, _)| now.saturating_sub(*at) < lost_after)
    }

    /// Closes the account right after a sweep: every number that the agent told of left it, so what is missing now is lost, up to
    /// its end.
    pub(crate) fn close(&self) -> Settled {
        let Some(above) = self.settled else { return Settled::default() };
        let loss = self.lose(above, self.last.max(self.newest()).saturating_add(1));
        Settled { loss, delivered: self.found.clone(), above, after: i64::MAX }
    }
}

#[cfg(test)]
mod tests;
