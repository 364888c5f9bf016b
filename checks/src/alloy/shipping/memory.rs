//! What is remembered of one Alloy between Runs, and what is said of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::counter::{Motion, Rising, Succession, age, earlier, later, words};

use super::alarm::{Alarm, News};
use super::state::State;
use super::{AlloyShipping, DROPPED, Finding, Look, WRONG_LOKI};
use crate::loki::names::Loki;

/// Most names that are told apart of each kind, of all Alloys together and of one; and the name of the rest.
const MAX_NAMES: usize = 64;
const MAX_EACH: usize = 8;
const OTHERS: &str = "(more than are told apart)";
/// How much the start of one process may differ from one look to another, in seconds: it is computed from a clock that can be set.
const SAME_START: f64 = 2.0;
/// Why lines are given up that Loki answers 400 for, among others.
const REFUSED: &str = "ingester_error";
/// Most names that evidence tells.
const MAX_TOLD: usize = 3;

/// Whether it is what was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// The same process with the same configuration, as far as can be told; or the first one that is seen.
    Same,
    /// It has loaded its configuration since.
    Reloaded,
    /// It has started since.
    Restarted,
    /// It started or loaded earlier, so another one answers under the same address.
    Another,
}

/// What is remembered of one Alloy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    #[serde(rename = "s")]
    started_at: Option<f64>,
    #[serde(rename = "l")]
    loaded_at: Option<f64>,
    /// When it was looked at last. None: never.
    #[serde(rename = "t", with = "chrono::serde::ts_milliseconds_option")]
    looked: Option<DateTime<Utc>>,
    /// Since when its process is there, by the verifier's clock.
    #[serde(rename = "b", with = "chrono::serde::ts_milliseconds_option")]
    born: Option<DateTime<Utc>>,
    /// Lines sent, by the Loki that should get them.
    #[serde(rename = "r")]
    sent: BTreeMap<String, Rising>,
    /// Lines sent to other hosts.
    #[serde(rename = "o")]
    strays: BTreeMap<String, Alarm>,
    /// Lines given up, by host and reason.
    #[serde(rename = "d")]
    drops: BTreeMap<String, Alarm>,
    /// Lines given up that the start of this process explains.
    #[serde(rename = "e")]
    excused: f64,
}

impl Seen {
    /// Whether these metrics come from what is remembered. Without the time of its start a counter that fell tells.
    pub(super) fn life(&self, lokis: &[Loki], state: &State) -> Life {
        let start = self.started_at.zip(state.started_at).map(|(before, now)| now - before);
        let mut sent = lokis.iter().zip(&state.lokis);
        let fell = start.is_none() && sent.any(|(loki, sent)| Rising::fell_to(self.sent.get(&loki.name), sent.lines));
        match (Succession::of(self.loaded_at, state.loaded_at), start) {
            (Succession::Another, _) => Life::Another,
            (Succession::Same, Some(later)) if later < -SAME_START => Life::Another,
            (_, Some(later)) if later.abs() > SAME_START => Life::Restarted,
            _ if fell => Life::Restarted,
            (Succession::Restarted, _) => Life::Reloaded,
            (Succession::Same, _) => Life::Same,
        }
    }

    /// What to remember after this look.
    pub(super) fn next(&self, check: &AlloyShipping, lokis: &[Loki], state: &State, life: Life, look: Look) -> Self {
        let now = look.now;
        let last = self.looked.unwrap_or(now).min(now);
        let born = self.born_after(state, life, last, now);
        let news = match life {
            _ if self.looked.is_none() => News::History,
            Life::Same | Life::Reloaded => News::Since,
            Life::Restarted => News::Anew,
            Life::Another => News::History,
        };
        let sent = lokis.iter().zip(&state.lokis).map(|(loki, sent)| {
            let earlier = self.sent.get(&loki.name).copied();
            (loki.name.clone(), Rising::next(earlier, sent.lines, life != Life::Same, now, check.within))
        });
        let stray = |(name, value): (String, f64)| {
            // Another configuration may lead elsewhere. What is held back for the old one is sent while it is loaded.
            let (before, news) = match life {
                Life::Same | Life::Another => (self.strays.get(&name), news),
                Life::Reloaded => (None, News::History),
                Life::Restarted => (None, news),
            };
            let alarm = Alarm::next(before, value, Alarm::risen(before, value, news), (last, now), check.hold_for);
            (name, alarm)
        };
        let explained = explained(check, state, born, now);
        let mut excused = if life == Life::Restarted { 0.0 } else { self.excused };
        let drop = |(name, value): (String, f64)| {
            let before = self.drops.get(&name);
            let mut risen = Alarm::risen(before, value, news);
            if explained.contains(&name) {
                excused += risen;
                risen = 0.0;
            }
            let alarm = Alarm::next(before, value, risen, (last, now), check.hold_for);
            (name, alarm)
        };
        let room = room(look.alloys);
        Self {
            started_at: state.started_at,
            loaded_at: state.loaded_at.or(self.loaded_at),
            looked: Some(now),
            born: Some(born),
            sent: sent.collect(),
            strays: bounded(&state.strays, &self.strays, room).into_iter().map(stray).collect(),
            drops: bounded(&by_name(state), &self.drops, room).into_iter().map(drop).collect(),
            excused,
        }
    }

    /// Its own word of when it started counts as far as it fits in with when it was seen: clocks differ.
    fn born_after(&self, state: &State, life: Life, last: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
        let said = state.started_at.or(state.loaded_at).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let said = said.map(|since| later(DateTime::UNIX_EPOCH, since)).filter(|said| *said <= now);
        // Without the time of its start, a reload can not be told from a restart.
        let started = life == Life::Restarted || (life == Life::Reloaded && state.started_at.is_none());
        match self.born {
            Some(born) if !started => born.min(now),
            Some(_) => said.filter(|said| *said >= last).unwrap_or(now),
            None => said.unwrap_or(now),
        }
    }

    /// What is known of the movement to a Loki.
    pub(super) fn motion(&self, loki: &str, now: DateTime<Utc>, within: Duration) -> Motion {
        self.sent.get(loki).map_or(Motion::Awaited(later(now, within)), |rising| rising.motion(now, within))
    }

    /// Lines that went to other hosts.
    pub(super) fn strays(&self, check: &AlloyShipping, now: DateTime<Utc>) -> Option<Finding> {
        told(&self.strays, |name, alarm| alarm.told(&format!("lines to {name}"), now, check.hold_for))
            .map(|text| Finding::Wrong(WRONG_LOKI, text))
    }

    /// Lines that were given up.
    pub(super) fn drops(&self, check: &AlloyShipping, now: DateTime<Utc>) -> Option<Finding> {
        told(&self.drops, |name, alarm| alarm.told(&format!("lines given up for {name}"), now, check.hold_for))
            .map(|text| Finding::Wrong(DROPPED, format!("at most {text}")))
    }

    /// Lines that were given up, and are no fault.
    pub(super) fn excused(&self, check: &AlloyShipping) -> Option<Finding> {
        (self.excused > 0.0).then(|| {
            let (lines, grace) = (self.excused, words(check.restart_grace));
            Finding::Fine(format!("at most {lines} lines refused within {grace} after Alloy's start, which reads old ones again"))
        })
    }

    /// What would be remembered of these metrics if nothing had moved for longer than `within`: for negative controls.
    pub(super) fn still(lokis: &[Loki], state: &State, now: DateTime<Utc>, within: Duration) -> Self {
        let silent = |(name, value)| (name, Alarm::silent(value));
        let sent = lokis.iter().zip(&state.lokis).map(|(loki, sent)| (loki.name.clone(), Rising::still(sent.lines, now, within)));
        let none = BTreeMap::new();
        Self {
            started_at: state.started_at,
            loaded_at: state.loaded_at,
            looked: Some(earlier(now, within / 2)),
            born: Some(now),
            sent: sent.collect(),
            strays: bounded(&state.strays, &none, MAX_EACH).into_iter().map(silent).collect(),
            drops: bounded(&by_name(state), &none, MAX_EACH).into_iter().map(silent).collect(),
            excused: 0.0,
        }
    }

    /// The same, if there had been a line less in each counter of lines to other hosts.
    pub(super) fn astray(self, state: &State) -> Self {
        let less = |(name, value)| (name, Alarm::silent(value - 1.0));
        Self { strays: bounded(&state.strays, &BTreeMap::new(), MAX_EACH).into_iter().map(less).collect(), ..self }
    }
}

/// Which of the lines that are given up a start explains: Loki answers 400 for what is read again and too old by then.
fn explained(check: &AlloyShipping, state: &State, born: DateTime<Utc>, now: DateTime<Utc>) -> BTreeSet<String> {
    // A look can begin in the very moment of a start: no grace is none then, too.
    let graced = !check.restart_grace.is_zero() && age(now, born).is_some_and(|age| age <= check.restart_grace);
    let refused = |(host, reason): &&(String, String)| graced && reason == REFUSED && state.refusing.contains(host);
    state.drops.keys().filter(refused).map(name_of).collect()
}

/// How many names of each kind are kept of each of so many Alloys.
fn room(alloys: usize) -> usize {
    (MAX_NAMES / alloys.max(1)).clamp(1, MAX_EACH)
}

fn name_of((host, reason): &(String, String)) -> String {
    format!("{host} ({reason})")
}

fn by_name(state: &State) -> BTreeMap<String, f64> {
    state.drops.iter().map(|(key, lines)| (name_of(key), *lines)).collect()
}

/// The counts by name, those that are known first, and together what there is no room for.
fn bounded(counts: &BTreeMap<String, f64>, known: &BTreeMap<String, Alarm>, room: usize) -> BTreeMap<String, f64> {
    let (old, new): (Vec<_>, Vec<_>) = counts.iter().partition(|(name, _)| known.contains_key(*name));
    let mut kept = BTreeMap::new();
    for (name, count) in old.into_iter().chain(new) {
        let name = if kept.len() < room { name } else { OTHERS };
        *kept.entry(name.to_owned()).or_default() += *count;
    }
    kept
}

/// The first of those that hold, in words.
fn told(alarms: &BTreeMap<String, Alarm>, words: impl Fn(&str, &Alarm) -> Option<String>) -> Option<String> {
    let mut texts: Vec<String> = alarms.iter().filter_map(|(name, alarm)| words(name, alarm)).collect();
    if texts.len() > MAX_TOLD {
        let more = texts.len() - MAX_TOLD;
        texts.truncate(MAX_TOLD);
        texts.push(format!("and {more} more"));
    }
    (!texts.is_empty()).then(|| texts.join(", "))
}
