//! How far a comparison has come: hours to count, hours to read a part of, and hours that differed and are looked at again.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::counter::{age, later};
use crate::proof::Away;

use super::compare::{Amounts, Difference, HOUR, Line, Span, contents, differences};

/// Most hours that are counted with one question.
const MOST_HOURS: i64 = 48;
/// Most differences that are kept with their words; the others are counted.
const MAX_FOUND: usize = 40;
/// Most spans that are kept of what is looked at again. With more, everything is.
const MAX_SPANS: usize = 300;
/// About so many lines are read at once.
const LINES_AT_ONCE: u64 = 1000;
/// The longest pause before what differed is looked at again.
const PAUSE: Duration = Duration::from_secs(30);

/// A comparison that is under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Scan {
    #[serde(with = "chrono::serde::ts_milliseconds")]
    pub(super) begun: DateTime<Utc>,
    pub(super) window: Span,
    /// Rounds over what differed in the one before; the first is over everything.
    pub(super) round: u32,
    /// Spans that are still to be counted in this round.
    todo: Vec<Span>,
    /// Spans that differed in this round.
    again: Vec<Span>,
    /// How many hours the next question is about.
    at_once: i64,
    /// Hours that were counted alike, and of which a part is still to be read.
    to_read: Vec<Counted>,
    /// How far that of the first of them has come, in Unix milliseconds, and how many are read at once.
    reading: Option<(i64, i64)>,
    pub(super) tally: Tally,
    pub(super) found: Vec<Difference>,
    /// Further differences.
    pub(super) more: u64,
    /// Since when something differs.
    #[serde(with = "chrono::serde::ts_milliseconds_option")]
    differs: Option<DateTime<Utc>>,
    /// Nothing is asked before.
    #[serde(with = "chrono::serde::ts_milliseconds_option")]
    pub(super) pause: Option<DateTime<Utc>>,
    #[serde(default)]
    away: Away,
}

/// An hour that was counted alike on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Counted {
    hour: i64,
    lines: u64,
    bytes: u64,
}

/// What was found to be the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(super) hours: u64,
    pub(super) lines: u64,
    pub(super) bytes: u64,
    /// Lines whose text was compared.
    pub(super) read: u64,
    /// Most services within one hour.
    pub(super) services: u64,
    /// An hour in which there were lines.
    pub(super) busy: Option<i64>,
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// To count these hours.
    Count(Span),
    /// To read the lines of these milliseconds.
    Read(i64, i64),
    /// Nothing, before this time.
    Wait(DateTime<Utc>),
    /// Everything is the same.
    Same,
    /// Something still differs, after everything was given its time.
    Differs,
}

impl Scan {
    pub(super) fn begin(window: Span, now: DateTime<Utc>) -> Self {
        Self {
            begun: now,
            window,
            round: 0,
            todo: vec![window],
            again: Vec::new(),
            at_once: 6,
            to_read: Vec::new(),
            reading: None,
            tally: Tally::default(),
            found: Vec::new(),
            more: 0,
            differs: None,
            pause: None,
            away: Away::default(),
        }
    }

    /// What is to be done next. What differs is looked at again until it has differed for `visible_within`.
    pub(super) fn next(&mut self, one_in: u32, visible_within: Duration, now: DateTime<Utc>) -> Next {
        if let Some(until) = self.pause.filter(|until| *until > now) {
            return Next::Wait(until);
        }
        if self.pause.take().is_some() {
            self.found.clear();
            self.more = 0;
        }
        if let Some(window) = self.window_to_read(one_in) {
            return Next::Read(window.0, window.1);
        }
        if let Some(Span(from, to)) = self.todo.last() {
            return Next::Count(Span(*from, (*to).min(from + self.at_once * HOUR)));
        }
        if self.again.is_empty() {
            return Next::Same;
        }
        let since = *self.differs.get_or_insert(now);
        if age(now, since).unwrap_or_default() >= visible_within {
            return Next::Differs;
        }
        let until = later(now, PAUSE.min(visible_within / 4));
        self.todo = std::mem::take(&mut self.again);
        self.todo.sort_unstable_by(|one, other| other.cmp(one));
        if self.todo == [self.window] {
            self.tally = Tally::default();
        }
        (self.round, self.pause) = (self.round.saturating_add(1), Some(until));
        Next::Wait(until)
    }

    /// Whether all of it was looked at since a time.
    pub(super) fn is_of(&self, time: DateTime<Utc>) -> bool {
        self.begun >= time
    }

    /// Everything is looked at anew from a time on. Since when something differs stays.
    pub(super) fn start_over(&mut self, from: DateTime<Utc>) {
        let (at_once, differs, round) = (self.at_once, self.differs, self.round.saturating_add(1));
        *self = Self { at_once, differs, round, pause: Some(from), ..Self::begin(self.window, from) };
    }

    /// The part of the first hour that is to be read, from where its reading has come to.
    fn window_to_read(&mut self, one_in: u32) -> Option<(i64, i64)> {
        let counted = *self.to_read.first()?;
        let slot = Slot::of(counted.hour, one_in, self.begun);
        let pieces = (counted.lines / u64::from(one_in.max(1)) / LINES_AT_ONCE).saturating_add(1);
        let piece = (slot.length() / i64::try_from(pieces).unwrap_or(i64::MAX)).max(1);
        let (at, piece) = *self.reading.get_or_insert((slot.start, piece));
        Some((at, slot.end.min(at.saturating_add(piece))))
    }

    /// A question about hours has taken so much of a Run's time: the next one is as large as does not keep a Loki from others.
    pub(super) fn took(&mut self, time: Duration, timeout: Duration) {
        if time < timeout / 40 {
            self.at_once = (self.at_once * 2).min(MOST_HOURS);
        } else if time > timeout / 10 {
            self.at_once = (self.at_once / 2).max(1);
        }
    }

    /// Both sides were counted over a span that [`Next::Count`] named.
    pub(super) fn counted(&mut self, span: Span, old: &Amounts, new: &Amounts, one_in: u32) {
        self.away.answered();
        match self.todo.last_mut() {
            Some(rest) if rest.1 > span.1 => rest.0 = span.1,
            _ => drop(self.todo.pop()),
        }
        for hour in span.each() {
            let different = differences(hour, old, new);
            if !different.is_empty() {
                self.differs(hour, different);
                continue;
            }
            let amounts = old.get(&hour).map(|services| services.values()).into_iter().flatten();
            let (lines, bytes) =
                amounts.fold((0_u64, 0_u64), |(lines, bytes), a| (lines.saturating_add(a.lines), bytes.saturating_add(a.bytes)));
            let services = old.get(&hour).map_or(0, |services| u64::try_from(services.len()).unwrap_or(u64::MAX));
            self.tally.services = self.tally.services.max(services);
            let counted = Counted { hour, lines, bytes };
            if one_in == 0 || lines == 0 { self.same(counted) } else { self.to_read.push(counted) }
        }
    }

    /// Both sides were read over a window that [`Next::Read`] named.
    pub(super) fn read(&mut self, (start, end): (i64, i64), old: &[Line], new: &[Line], one_in: u32) {
        self.away.answered();
        let Some(counted) = self.to_read.first().copied() else { return };
        let different = contents(counted.hour, old, new);
        let over = end >= Slot::of(counted.hour, one_in, self.begun).end;
        let differs = !different.is_empty();
        if differs {
            self.differs(counted.hour, different);
        } else {
            self.tally.read = self.tally.read.saturating_add(u64::try_from(old.len()).unwrap_or(u64::MAX));
        }
        if over || differs {
            self.to_read.remove(0);
            self.reading = None;
            if !differs {
                self.same(counted);
            }
        } else if let Some((at, _)) = &mut self.reading {
            *at = end.max(start);
        }
    }

    fn same(&mut self, Counted { hour, lines, bytes }: Counted) {
        self.tally.hours = self.tally.hours.saturating_add(1);
        self.tally.lines = self.tally.lines.saturating_add(lines);
        self.tally.bytes = self.tally.bytes.saturating_add(bytes);
        if lines > 0 {
            self.tally.busy = Some(hour);
        }
    }

    fn differs(&mut self, hour: i64, different: Vec<Difference>) {
        for difference in different {
            if self.found.len() < MAX_FOUND {
                self.found.push(difference);
            } else {
                self.more = self.more.saturating_add(1);
            }
        }
        let many = self.again.len() >= MAX_SPANS;
        match self.again.last_mut() {
            Some(last) if *last == self.window => {}
            Some(last) if last.1 == hour => last.1 = hour + HOUR,
            Some(_) if many => self.again = vec![self.window],
            Some(_) | None => self.again.push(Span(hour, hour + HOUR)),
        }
    }

    /// The question was too large. Whether a smaller one can be asked.
    pub(super) fn smaller(&mut self) -> bool {
        match &mut self.reading {
            Some((_, piece)) if *piece > 1 => *piece /= 2,
            None if self.at_once > 1 => self.at_once /= 2,
            Some(_) | None => return false,
        }
        true
    }

    /// There was no answer. Whether that is still to be waited out, as a restart is.
    pub(super) fn waits_out(&mut self, now: DateTime<Utc>) -> bool {
        self.away.waits_out(now)
    }

    /// How many hours are the same so far.
    pub(super) fn done(&self) -> u64 {
        self.tally.hours
    }

    /// Spans that are kept.
    #[cfg(test)]
    pub(super) fn spans(&self) -> usize {
        self.todo.len() + self.again.len()
    }
}

/// The part of an hour that is read, in Unix milliseconds.
struct Slot {
    start: i64,
    end: i64,
}

impl Slot {
    /// The hour is cut into so many parts, of which one is taken as if by chance, another in each scan, so that each line has
    /// the same chance to be compared.
    fn of(hour: i64, one_in: u32, begun: DateTime<Utc>) -> Self {
        let parts = i64::from(one_in.max(1));
        let length = HOUR * 1000 / parts;
        let chosen = i64::try_from(mix(begun.timestamp_millis().unsigned_abs() ^ hour.unsigned_abs()) % u64::from(one_in.max(1)));
        let chosen = chosen.unwrap_or_default();
        let start = hour * 1000 + chosen * length;
        Self { start, end: if chosen == parts - 1 { (hour + HOUR) * 1000 } else { start + length } }
    }

    const fn length(&self) -> i64 {
        self.end - self.start
    }
}

/// Spreads a number over all others: the finalizer of `SplitMix64` (Steele, Lea, Flood 2014).
const fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
