//! Counting again what was delivered: lines can be destroyed after they were found.
//!
//! Each settled number that was found is kept in a *row* of its boot, with marks that say from which time on Loki has it. A *pass*
//! reads a row's lines again, oldest first and a slice per Run. What it does not find is in doubt, and gone if a second pass does
//! not find it either: a Loki that has just started may not show everything at once.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::account::{Found, MARGIN, Settled};
use super::intervals::Intervals;
use super::line::Boot;

/// What is written is of this shape; another is begun anew.
const VERSION: u8 = 1;
/// A pass goes this much faster than the time in which its lines were written, and one begins this often within `recheck`.
const SPEED: i64 = 24;
/// A pass that is in a hurry goes so many times as fast as another.
const HURRY: i64 = 8;
/// The first slice, in lines at the agent's cadence.
const FIRST: i64 = 100;

/// How much may be remembered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// How far back it goes; 0 for not at all.
    pub(crate) recheck: i64,
    /// Time between the end of a pass and a second look at what is in doubt.
    pub(crate) pause: i64,
    /// Intervals of all rows; a pass may have twice as many.
    pub(crate) intervals: usize,
    /// Boots.
    pub(crate) rows: usize,
    /// Marks of one row.
    pub(crate) marks: usize,
}

/// Lines that are not there any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gone {
    /// Number of the first of them.
    #[serde(rename = "f")]
    pub(crate) first: u64,
    /// How many.
    #[serde(rename = "c")]
    pub(crate) count: u64,
    /// All were written after this,
    #[serde(rename = "s")]
    pub(crate) from: i64,
    /// and before this.
    #[serde(rename = "t")]
    pub(crate) to: i64,
}

/// What was delivered of one boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Row {
    #[serde(rename = "b")]
    boot: Boot,
    #[serde(rename = "e")]
    every: i64,
    #[serde(rename = "i")]
    delivered: Intervals,
    /// Numbers above the first are, up to the next mark, not in Loki before the second.
    #[serde(rename = "k")]
    marks: Vec<(u64, i64)>,
}

/// Reading a row's lines again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Pass {
    #[serde(rename = "b")]
    boot: Boot,
    /// When it begins.
    #[serde(rename = "a")]
    began: i64,
    #[serde(rename = "s")]
    start: i64,
    #[serde(rename = "c")]
    cursor: i64,
    #[serde(rename = "u")]
    until: i64,
    /// What it has not come across yet.
    #[serde(rename = "l")]
    left: Intervals,
    /// Set in a second pass, for what the first one did not find.
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    doubt: Option<Doubt>,
    /// Out of turn, for the newest lines only.
    #[serde(rename = "h", default, skip_serializing_if = "std::ops::Not::not")]
    hurried: bool,
}

/// What is in doubt, and the lines around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Doubt {
    #[serde(rename = "f")]
    first: u64,
    #[serde(rename = "l")]
    last: u64,
    /// The number next below that is there, and when it was written.
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    before: Option<(u64, i64)>,
    /// The number next above.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    after: Option<(u64, i64)>,
}

/// What was delivered by one agent, and how far counting it again has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recount {
    #[serde(rename = "v")]
    version: u8,
    #[serde(rename = "r")]
    rows: Vec<Row>,
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    pass: Option<Pass>,
    /// When the newest round through all rows began,
    #[serde(rename = "n")]
    round: i64,
    /// and the row that it has done last.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    done: Option<Boot>,
    /// Loki was away: the newest lines are counted first.
    #[serde(rename = "h", default, skip_serializing_if = "std::ops::Not::not")]
    hurry: bool,
}

/// What is to be read next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slice {
    pub(crate) boot: Boot,
    pub(crate) every: i64,
    pub(crate) from: i64,
    pub(crate) to: i64,
}

impl Default for Recount {
    fn default() -> Self {
        Self { version: VERSION, rows: Vec::new(), pass: None, round: i64::MIN, done: None, hurry: false }
    }
}

/// Reads it back if it is of this version's shape.
pub(crate) fn of_this_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Recount, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let known = value.get("v").and_then(Value::as_u64) == Some(VERSION.into());
    Ok(serde_json::from_value(value).ok().filter(|_| known).unwrap_or_default())
}

impl Row {
    /// From when on its numbers from `first` on have to be looked for.
    fn since(&self, first: u64) -> i64 {
        let ends = self.marks.iter().skip(1).map(|(above, _)| *above).chain([u64::MAX]);
        let held = self.marks.iter().zip(ends).filter(|(_, end)| *end >= first).map(|((_, at), _)| *at);
        held.min().unwrap_or(i64::MAX)
    }

    fn takes(&mut self, settled: &Settled, room: Room) {
        self.delivered.join(&settled.delivered);
        let width = room.recheck / i64::try_from(room.marks.max(2)).unwrap_or(i64::MAX);
        match self.marks.last_mut() {
            Some((_, at)) if settled.after < at.saturating_add(width) => *at = settled.after.min(*at),
            _ => self.marks.push((settled.above, settled.after)),
        }
        while let (true, Some((_, at))) = (self.marks.len() > room.marks.saturating_add(1), self.marks.last().copied()) {
            self.marks.pop();
            self.marks.iter_mut().last().into_iter().for_each(|(_, last)| *last = at.min(*last));
        }
    }

    /// Forgets what may be older than that.
    fn expire(&mut self, limit: i64) {
        let Some(old) = self.marks.iter().rposition(|(_, at)| *at < limit) else { return };
        self.marks.drain(..=old);
        match self.marks.first() {
            Some((above, _)) => self.delivered.forget_to(*above),
            None => self.delivered = Intervals::default(),
        }
    }
}

impl Recount {
    /// Takes in what was delivered.
    pub(crate) fn takes(&mut self, (boot, every): (Boot, i64), settled: &Settled, room: Room) {
        if room.recheck == 0 || settled.delivered.is_empty() {
            return;
        }
        let at = self.rows.iter().position(|row| row.boot == boot).unwrap_or_else(|| {
            self.rows.push(Row { boot, every, delivered: Intervals::default(), marks: Vec::new() });
            self.rows.len() - 1
        });
        self.rows.iter_mut().skip(at).take(1).for_each(|row| row.takes(settled, room));
        let pieces = |rows: &[Row]| rows.iter().map(|row| row.delivered.pieces()).sum::<usize>();
        // The oldest first: it goes less far back then.
        while pieces(&self.rows) > room.intervals
            && let Some(row) = self.rows.first_mut()
            && row.delivered.forget_lowest().is_some()
        {
            self.rows.retain(|row| !row.delivered.is_empty());
        }
        while self.rows.len() > room.rows {
            self.rows.remove(0);
        }
    }

    /// Whether there is nothing to remember.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// How much there is to remember.
    pub(crate) fn weight(&self) -> usize {
        if self.is_empty() {
            return 0;
        }
        let rows = self.rows.iter().map(|row| row.delivered.pieces() + row.marks.len() + 2).sum::<usize>();
        1 + rows + self.pass.as_ref().map_or(0, |pass| pass.left.pieces() + 4)
    }

    /// Remembers less: it goes less far back then.
    pub(crate) fn shrinks(&mut self) {
        self.pass = None;
        match &mut self.rows[..] {
            [row] if row.delivered.pieces() > 1 => {
                for _ in 0..row.delivered.pieces() / 2 {
                    row.delivered.forget_lowest();
                }
            }
            [] | [_] => *self = Self::default(),
            _ => drop(self.rows.remove(0)),
        }
    }

    /// From when on everything that was delivered is counted again.
    pub(crate) fn reach(&self) -> Option<i64> {
        self.rows.iter().filter_map(|row| row.delivered.first().map(|first| row.since(first))).min()
    }

    /// For how long a round has been under way.
    pub(crate) fn takes_for(&self, now: i64) -> i64 {
        self.pass.as_ref().map_or(0, |pass| now.saturating_sub(if pass.hurried { pass.began } else { self.round }))
    }

    /// Loki was away, and may have come back without what it had: counts the newest lines again now, before anything else.
    pub(crate) fn hurries(&mut self) {
        self.hurry = !self.rows.is_empty();
        self.pass = self.pass.take().filter(|_| !self.hurry);
    }

    /// What to read now. `end` is after all that Loki can have.
    pub(crate) fn next(&mut self, now: i64, end: i64, room: Room) -> Option<Slice> {
        self.expire(now.saturating_sub(room.recheck), room);
        if self.pass.is_none() {
            let hurried = std::mem::take(&mut self.hurry);
            let due = if hurried { self.newest() } else { self.due(now, room) };
            self.pass = due.map(|(boot, left, start)| Pass {
                boot,
                began: now,
                start,
                cursor: start,
                until: end,
                left,
                doubt: None,
                hurried,
            });
        }
        let pass = self.pass.as_mut()?;
        // A clock that was set back.
        pass.began = pass.began.min(now.saturating_add(room.pause));
        let every = self.rows.iter().find(|row| row.boot == pass.boot)?.every;
        let speed = if pass.hurried { SPEED * HURRY } else { SPEED };
        let paced = now.saturating_sub(pass.began).saturating_mul(speed).saturating_add(every.saturating_mul(FIRST));
        let to = Some(pass.start.saturating_add(paced)).filter(|to| pass.doubt.is_none() && *to < pass.began);
        let slice = Slice { boot: pass.boot, every, from: pass.cursor, to: to.unwrap_or(pass.until) };
        (now >= pass.began && slice.from < slice.to).then_some(slice)
    }

    /// What was delivered of the newest row since the last mark but one: about the last hour of a day.
    fn newest(&self) -> Option<(Boot, Intervals, i64)> {
        let row = self.rows.last()?;
        let (above, _) = row.marks.iter().rev().nth(1).or(row.marks.first())?;
        let mut left = row.delivered.clone();
        left.forget_to(*above);
        let start = row.since(left.first()?);
        Some((row.boot, left, start))
    }

    /// The row whose turn it is.
    fn due(&mut self, now: i64, room: Room) -> Option<(Boot, Intervals, i64)> {
        self.rows.first()?;
        let after = |done| self.rows.iter().position(|row| row.boot == done).map_or(0, |at| at + 1);
        let mut at = self.done.map(after);
        if at.is_none_or(|at| at >= self.rows.len()) {
            self.done = None;
            let round = self.round.saturating_add(room.recheck / SPEED);
            if (self.round..round).contains(&now) {
                return None;
            }
            self.round = now;
            at = Some(0);
        }
        let row = self.rows.get(at?)?;
        Some((row.boot, row.delivered.clone(), row.since(row.delivered.first()?)))
    }

    fn expire(&mut self, limit: i64, room: Room) {
        self.rows.iter_mut().for_each(|row| row.expire(limit));
        self.rows.retain(|row| !row.delivered.is_empty() && room.recheck > 0);
        if let Some(pass) = &mut self.pass {
            match self.rows.iter().find(|row| row.boot == pass.boot).and_then(|row| row.delivered.first()) {
                Some(first) => pass.left.forget_to(first.saturating_sub(1)),
                None => self.pass = None,
            }
        }
    }

    /// Takes in what a slice brought, up to `cursor`. Says what is gone once that is known.
    pub(crate) fn saw(&mut self, lines: &[Found], cursor: i64, now: i64, room: Room) -> Option<Gone> {
        let pass = self.pass.as_mut()?;
        let mut seen = Intervals::default();
        seen.extend(lines.iter().map(|line| line.seq));
        pass.left = pass.left.without(&seen);
        // What is cut off here is left to the next round.
        pass.left.keep(room.intervals.saturating_mul(2));
        pass.cursor = cursor;
        if let Some(doubt) = &mut pass.doubt {
            let known = |line: &Found| (line.seq, line.at);
            let before = lines.iter().filter(|line| line.seq < doubt.first).map(known).chain(doubt.before);
            doubt.before = before.max_by_key(|(seq, _)| *seq);
            let after = lines.iter().filter(|line| line.seq > doubt.last).map(known).chain(doubt.after);
            doubt.after = after.min_by_key(|(seq, _)| *seq);
        }
        if cursor < pass.until && !pass.left.is_empty() {
            return None;
        }
        let pass = self.pass.take()?;
        let row = self.rows.iter_mut().find(|row| row.boot == pass.boot)?;
        let done = if pass.hurried { self.done } else { Some(pass.boot) };
        let (Some(first), Some(last)) = (pass.left.first(), pass.left.last()) else {
            self.done = done;
            return None;
        };
        let Some(doubt) = pass.doubt else {
            // From some lines before, to have a time that they were written after.
            let start = row.since(first).saturating_sub(row.every.saturating_mul(2)).saturating_sub(MARGIN);
            let doubt = Some(Doubt { first, last, before: None, after: None });
            let began = now.saturating_add(room.pause);
            self.pass = Some(Pass { began, start, cursor: start, doubt, ..pass });
            return None;
        };
        row.delivered = row.delivered.without(&pass.left);
        self.done = done;
        let (from, to) = (doubt.before.map_or(pass.start, |(_, at)| at), doubt.after.map_or(pass.began, |(_, at)| at));
        Some(Gone { first, count: pass.left.count(), from, to })
    }
}
