//! From what was read to an outcome. Freshness is a matter of numbers and of the agent's own clock: no time that a line claims can
//! make it fresher.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use crate::counter::number;
use crate::log_path::account::{Account, Found, millis, moment, span, span_of};
use crate::log_path::head::Told;
use crate::log_path::hops::{Station, at_once};
use crate::log_path::recount::{Gone, Room};
use crate::outcome::{Outcome, ReasonSpec};

use super::book::{Book, Tail};
use super::{AGENT_SILENT, BEHIND, DESTROYED, FIRST_LINE, LOST, NOT_THROUGH_GATEWAY, NOT_THROUGH_GRAFANA, OLD_UNREADABLE};

/// A sweep may take this long whatever `lostAfter` is, in milliseconds.
const SWEEP: i64 = 60_000;

/// A clock that is off by less is not worth a word, in milliseconds.
const SKEWED: i64 = 1000;

/// The check's times in milliseconds, and how much of each agent is remembered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) late: i64,
    pub(super) lost: i64,
    pub(super) hold: i64,
    /// Intervals of one account.
    pub(super) intervals: usize,
    /// Boots that are over.
    pub(super) formers: usize,
    /// What was delivered.
    pub(super) room: Room,
}

impl Pace {
    pub(super) fn new([late, lost, hold, recheck]: [Duration; 4], agents: usize) -> Self {
        let share = |whole: usize, most: usize| (whole / agents.max(1)).clamp(1, most);
        let (recheck, pause) = (span(recheck), span(late));
        let room = Room { recheck, pause, intervals: share(200, 200), rows: share(100, 8), marks: share(300, 24) };
        Self { late: pause, lost: span(lost), hold: span(hold), intervals: share(200, 128), formers: share(50, 4), room }
    }
}

/// What a look comes to, and what it says of the way.
#[derive(Debug)]
pub(super) enum Sentence {
    /// Lines come through.
    Flows(Outcome),
    /// It is too early to say.
    Early(Outcome),
    /// They stop here.
    Stops(Station, Outcome),
    /// They do not come; this is what was seen.
    Stalled(String),
}

/// What another way to the lines has shown.
pub(super) type Elsewhere = (Station, Result<Seen, Outcome>);

/// What this Run has read of the present boot.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Why not all of it could be read.
    pub(super) trouble: Option<Outcome>,
    /// Why older lines could not be read again.
    pub(super) stuck: Option<Outcome>,
    newest: Option<Found>,
    duplicates: usize,
}

impl Seen {
    pub(super) fn take(&mut self, lines: &[Found]) {
        self.newest = lines.iter().max_by_key(|line| line.seq).copied();
        let distinct: BTreeSet<u64> = lines.iter().map(|line| line.seq).collect();
        self.duplicates = lines.len() - distinct.len();
    }

    /// The greatest number among the newest lines.
    pub(super) fn newest(&self) -> Option<u64> {
        self.newest.map(|line| line.seq)
    }

    /// Whether any of the newest lines is here.
    pub(super) fn is_flowing(&self) -> bool {
        self.newest.is_some()
    }

    /// For how long the oldest line that is newer than all that were found has been on its way.
    fn lag(&self, told: &Told) -> i64 {
        let Some(last_at) = told.last_at else { return 0 };
        let gap = told.last.saturating_sub(self.newest.map_or(0, |line| line.seq));
        let by_number = |lines: u64| last_at.saturating_sub(span_of(lines, told.every));
        let written = match (gap, self.newest) {
            (0, _) => return 0,
            (1, _) => last_at,
            // Of two estimates the older: a time that a line claims can only make it later.
            (_, Some(line)) => line.at.saturating_add(told.every).min(by_number(gap - 1)),
            (_, None) => by_number(gap - 1),
        };
        told.now.saturating_sub(written).max(0)
    }
}

pub(super) fn judge(
    told: &Told,
    seen: &Seen,
    elsewhere: &[Elsewhere],
    book: &Book,
    (now, pace): (DateTime<Utc>, Pace),
) -> Sentence {
    let (place, last) = (&told.node, told.last);
    let allowed = pace.late.max(told.every.saturating_mul(3));
    let since = book.current().map_or(i64::MAX, |account| account.since);
    let silence = told.last_at.map_or(millis(now).saturating_sub(since), |at| told.now.saturating_sub(at));
    if silence > allowed || (told.last == 0 && told.failed > 0) {
        let failed = told.failed;
        let words = format!(
            "{place}: the agent wrote its last line, number {last}, {} ago (one is due each {}); {failed} were refused",
            time(silence),
            time(told.every),
        );
        return match at_once(told, None) {
            Some(stop) => Sentence::Stops(stop.at, stop.reason.because(format!("{words}: {}", stop.words))),
            None => Sentence::Stops(Station::Agent, AGENT_SILENT.because(words)),
        };
    }
    if let Some(trouble) = &seen.trouble {
        return Sentence::Stops(Station::Found, trouble.clone());
    }
    let lag = seen.lag(told);
    if lag > pace.late {
        return Sentence::Stalled(match seen.newest {
            Some(line) => format!("the newest line here is {}, the agent is at {last}: {} behind", line.seq, time(lag)),
            None => format!("none of the agent's lines is here; it is at {last}"),
        });
    }
    if seen.is_flowing()
        && let Some((station, outcome)) = elsewhere.iter().find_map(|other| differs(told, other, pace))
    {
        return Sentence::Stops(station, outcome);
    }
    settled(told, seen, book, (now, pace))
}

/// What is wrong with another way to lines that are here.
fn differs(told: &Told, (station, seen): &Elsewhere, pace: Pace) -> Option<(Station, Outcome)> {
    let what = format!("{}: {}", told.node, station.name());
    let seen = match seen {
        Ok(seen) => seen,
        Err(outcome) => return Some((*station, outcome.clone().of(&what))),
    };
    let lag = seen.lag(told);
    let last = told.last;
    (lag > pace.late).then(|| {
        let words = match seen.newest {
            Some(line) => format!("the newest line there is {}, the agent is at {last}: {} behind", line.seq, time(lag)),
            None => format!("none of the agent's lines comes through; it is at {last}"),
        };
        (*station, blind(*station).because(format!("{what}: {words}, though Loki has them")))
    })
}

const fn blind(station: Station) -> ReasonSpec {
    match station {
        Station::Grafana => NOT_THROUGH_GRAFANA,
        Station::Agent
        | Station::Journal
        | Station::Read
        | Station::Sent
        | Station::Received
        | Station::Found
        | Station::Gateway => NOT_THROUGH_GATEWAY,
    }
}

/// What the account says once lines come through.
fn settled(told: &Told, seen: &Seen, book: &Book, (now, pace): (DateTime<Utc>, Pace)) -> Sentence {
    let (place, last, lag) = (&told.node, told.last, seen.lag(told));
    if let Some(ruin) = book.ruin {
        let Gone { count, first, from, to } = ruin.gone;
        let (ago, from, to) = (time(millis(now).saturating_sub(ruin.at).max(0)), second(from), second(to));
        return Sentence::Flows(DESTROYED.because(format!(
            "{place}: {count} lines that were here are gone, the first is number {first}; they were written between {from} and {to}; \
             noticed {ago} ago"
        )));
    }
    if let Some(held) = book.held {
        let (count, first) = (held.loss.count, held.loss.first);
        let ago = time(millis(now).saturating_sub(held.at));
        let words = format!("{place}: {count} lines are lost, the first is number {first}; noticed {ago} ago");
        return Sentence::Flows(LOST.because(words));
    }
    let Some(newest) = seen.newest else {
        // An agent that is started again and again is always young; what is waited for is a line of any of its starts.
        let patience = pace.late.saturating_add(told.every);
        let quiet = book.quiet.map_or(0, |since| millis(now).saturating_sub(since));
        if quiet > patience {
            return Sentence::Stalled(format!("none of the agent's lines came for {}, whichever start they are of", time(quiet)));
        }
        let due = now + TimeDelta::milliseconds(patience.saturating_sub(lag.max(quiet)));
        let words = format!("{place}: the agent has just started and is at line {last}");
        return Sentence::Early(FIRST_LINE.until(due, words));
    };
    let behind = book.current().and_then(|account| account.sweep).map_or(0, |sweep| millis(now).saturating_sub(sweep.began));
    if behind > pace.lost.max(SWEEP) {
        let words = format!("{place}: reading older lines again has taken {} so far", time(behind));
        return Sentence::Flows(BEHIND.because(words));
    }
    let patience = pace.lost.max(SWEEP);
    if let (Some(stuck), Some(since)) = (&seen.stuck, book.stuck)
        && millis(now).saturating_sub(since) > patience
    {
        return Sentence::Flows(OLD_UNREADABLE.because(format!("{place}: {}", stuck.evidence())));
    }
    let recount = book.recount.takes_for(millis(now));
    // What was destroyed right after it was counted has to be missed, twice, while it is still young enough.
    if recount > (pace.room.recheck / 2).max(patience) {
        let words = format!("{place}: counting delivered lines again has taken {} so far", time(recount));
        return Sentence::Flows(BEHIND.because(words));
    }
    let outstanding = book.current().map_or(0, Account::outstanding);
    let tails = match book.unaccounted {
        0 => String::new(),
        lines => format!("; of {lines} lines of earlier starts nobody can tell any more"),
    };
    let tails = match book.tail {
        None => tails,
        Some(Tail { boot, last, lines }) => {
            format!("{tails}; start {boot} ended without a word after its line {last}: at most {lines} more were written")
        }
    };
    let clock = match told.skew {
        skew if skew.abs() < SKEWED => String::new(),
        skew => format!(
            "; the node's clock is {} {}",
            time((skew.abs() + 500) / 1000 * 1000),
            if skew > 0 { "ahead" } else { "behind" }
        ),
    };
    let words = format!("{place}: line {} of {last} is here, {outstanding} are on their way{tails}{clock}", newest.seq);
    Sentence::Flows(Outcome::pass(words))
}

/// The numbers for Prometheus.
pub(super) fn numbers(told: &Told, seen: &Seen, book: &Book) -> Vec<(&'static str, f64)> {
    let mut numbers = vec![
        ("head_seq", number(told.last)),
        ("lost_lines", number(book.lost)),
        ("late_lines", number(book.late())),
        ("destroyed_lines", number(book.gone)),
        ("unaccounted_lines", number(book.unaccounted)),
        ("unheard_lines", number(book.unheard)),
        ("clock_skew_seconds", seconds(told.skew)),
        ("outstanding_lines", number(book.current().map_or(0, Account::outstanding))),
    ];
    if let Some(reach) = book.recount.reach() {
        let reach = Duration::from_millis(u64::try_from(told.now.saturating_sub(reach)).unwrap_or(0));
        numbers.push(("recheck_seconds", reach.as_secs_f64()));
    }
    if seen.trouble.is_none() {
        let lag = Duration::from_millis(u64::try_from(seen.lag(told)).unwrap_or(0));
        numbers.push(("latency_seconds", lag.as_secs_f64()));
        numbers.push(("duplicate_lines", number(u64::try_from(seen.duplicates).unwrap_or(u64::MAX))));
    }
    numbers
}

/// Milliseconds as seconds; exact enough up to a month.
fn seconds(millis: i64) -> f64 {
    f64::from(i32::try_from(millis).unwrap_or(if millis > 0 { i32::MAX } else { i32::MIN })) / 1000.0
}

/// A moment for people.
fn second(millis: i64) -> String {
    moment(millis).to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Milliseconds for people.
fn time(millis: i64) -> String {
    let time = Duration::from_millis(u64::try_from(millis).unwrap_or(0));
    humantime_serde::re::humantime::format_duration(time).to_string()
}
