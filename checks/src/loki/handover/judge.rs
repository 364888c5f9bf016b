//! From counts to an outcome.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::counter::{age, earlier, later, words};
use crate::loki::counts::{Counts, shown};
use crate::outcome::Outcome;

use super::{
    LONGEST, NOBODY, NOT_CARRIED, NOT_TAKEN_OVER, OLD_DRAINS, OLD_SILENT, OLD_STILL_SHIPS, SHIPPED_TWICE, ShipperHandover,
    THIRD_COLLECTOR,
};

/// Most services that are remembered, and that evidence names.
const MAX_SERVICES: usize = 64;
const NAMED: usize = 5;

/// Lines of a service by each of the two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pair {
    old: u64,
    new: u64,
}

/// Who shipped what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sight {
    services: BTreeMap<String, Pair>,
    others: BTreeMap<String, u64>,
}

/// A service that was not carried, and the time that its lines are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Missing {
    #[serde(with = "chrono::serde::ts_milliseconds")]
    from: DateTime<Utc>,
    #[serde(with = "chrono::serde::ts_milliseconds")]
    pub(super) until: DateTime<Utc>,
    /// When it was counted again last.
    #[serde(with = "chrono::serde::ts_milliseconds")]
    asked: DateTime<Utc>,
    lines: Pair,
}

impl Missing {
    /// How long that time is.
    pub(super) fn over(&self) -> Duration {
        age(self.until, self.from).unwrap_or_default()
    }
}

/// A second count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Again {
    /// From where the one of the last look began, until now.
    Since(Sight),
    /// Of a service that was not carried, of that time.
    Of(String, Sight),
}

/// What is remembered between Runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// When it was looked at last.
    #[serde(with = "chrono::serde::ts_milliseconds_option")]
    looked: Option<DateTime<Utc>>,
    /// What the old one had then.
    total: u64,
    old: BTreeMap<String, u64>,
    /// Since when it has had lines.
    #[serde(with = "chrono::serde::ts_milliseconds_option")]
    since: Option<DateTime<Utc>>,
    /// When more of them were seen last.
    #[serde(with = "chrono::serde::ts_milliseconds_option")]
    grew: Option<DateTime<Utc>>,
    missing: BTreeMap<String, Missing>,
}

impl Pair {
    const fn carried(self) -> bool {
        self.new >= self.old
    }
}

impl Sight {
    /// Counts by collector and service.
    pub(super) fn of(counts: &Counts, old: &str, new: &str, ignore: &BTreeSet<String>) -> Self {
        let mut sight = Self::default();
        for (key, count) in counts {
            let [collector, service] = key.as_slice() else { continue };
            if ignore.contains(service) {
                continue;
            }
            let sum = if collector == new {
                &mut sight.services.entry(service.clone()).or_default().new
            } else if collector == old {
                &mut sight.services.entry(service.clone()).or_default().old
            } else {
                sight.others.entry(collector.clone()).or_default()
            };
            *sum = sum.saturating_add(*count);
        }
        sight
    }

    pub(super) fn by_old(&self) -> u64 {
        self.services.values().fold(0, |sum, pair| sum.saturating_add(pair.old))
    }

    pub(super) fn by_new(&self) -> u64 {
        self.services.values().fold(0, |sum, pair| sum.saturating_add(pair.new))
    }

    /// As if the new one ships.
    pub(super) fn with_one_by_new(mut self) -> Self {
        self.services.entry(String::new()).or_default().new += 1;
        self
    }

    /// As if the old one ships what the new one does not.
    pub(super) fn with_one_by_old(mut self) -> Self {
        self.services.entry(NOBODY.to_owned()).or_default().old += 1;
        self
    }
}

impl Seen {
    /// What is remembered after nothing but a first look.
    pub(super) fn after(sight: &Sight, now: DateTime<Utc>) -> Self {
        let lines = |(service, pair): (&String, &Pair)| (pair.old > 0).then(|| (service.clone(), pair.old));
        let old = sight.services.iter().filter_map(lines).take(MAX_SERVICES).collect();
        Self { looked: Some(now), total: sight.by_old(), old, ..Self::default() }
    }

    /// How long ago the last look was, if that can be compared with one now.
    pub(super) fn gap(&self, now: DateTime<Utc>, window: Duration) -> Option<Duration> {
        age(now, self.looked?).filter(|gap| *gap <= window)
    }

    pub(super) fn had_old(&self) -> bool {
        self.total > 0
    }

    /// What was not carried, looks better now, and waits longest for being counted again.
    pub(super) fn doubtful(&self, sight: &Sight) -> Option<(&String, &Missing)> {
        let better = |service: &String| sight.services.get(service).copied().unwrap_or_default().carried();
        self.missing.iter().filter(|(service, _)| better(service)).min_by_key(|(_, missing)| missing.asked)
    }

    /// The services that the old one shipped since then.
    fn grown<'a>(&self, again: &'a Sight) -> Vec<&'a String> {
        let known = |service: &String| self.old.len() < MAX_SERVICES || self.old.contains_key(service);
        let more = |(service, pair): (&'a String, &Pair)| {
            (known(service) && pair.old > self.old.get(service).copied().unwrap_or_default()).then_some(service)
        };
        again.services.iter().filter_map(more).collect()
    }
}

impl ShipperHandover {
    /// What the counts mean after what is remembered. Gives also what to remember.
    pub(super) fn judge(&self, sight: &Sight, again: Option<&Again>, before: Seen, now: DateTime<Utc>) -> (Outcome, Seen) {
        match (self.both, again) {
            (true, Some(Again::Of(service, then))) => self.judge_both(sight, Some((service, then)), before, now),
            (true, Some(Again::Since(_)) | None) => self.judge_both(sight, None, before, now),
            (false, Some(Again::Since(again))) => self.judge_after(sight, Some(again), before, now),
            (false, Some(Again::Of(..)) | None) => self.judge_after(sight, None, before, now),
        }
    }

    fn judge_after(&self, sight: &Sight, again: Option<&Sight>, before: Seen, now: DateTime<Utc>) -> (Outcome, Seen) {
        let continued = before.gap(now, self.window).is_some();
        let (since, grew) = if continued { (before.since, before.grew) } else { (None, None) };
        let again = again.filter(|again| continued && again.by_old() > before.total);
        let grew = if again.is_some() { Some(now) } else { grew.filter(|grew| age(now, *grew).is_some()) };
        let ends = grew.is_some_and(|grew| age(now, grew).unwrap_or_default() < self.hold());
        let since = (sight.by_old() > 0 || ends).then(|| since.unwrap_or(now));
        let seen = Seen { since, grew, ..Seen::after(sight, now) };
        let text = self.text(sight, |pair| pair.old > 0 || sight.by_old() == 0);
        if sight.by_new() == 0 {
            return (NOT_TAKEN_OVER.because(text), seen);
        }
        if let Some(since) = since.filter(|_| ends) {
            // A batch may be so late that its lines are older than `window`.
            let all = again.filter(|_| sight.by_old() == 0).unwrap_or(sight);
            let grown = again.map(|again| before.grown(again)).unwrap_or_default();
            let twice = |(service, pair): (&String, &Pair)| {
                pair.old > 0 && pair.new > 0 && (grown.is_empty() || grown.contains(&service))
            };
            let reason = if all.services.iter().any(twice) { SHIPPED_TWICE } else { OLD_STILL_SHIPS };
            let text = self.text(all, |pair| pair.old > 0);
            return (reason.because(format!("{text}; seen since {}", since.format("%FT%TZ"))), seen);
        }
        if let Some((other, count)) = sight.others.first_key_value() {
            let more = if sight.others.len() > 1 { " and others" } else { "" };
            return (THIRD_COLLECTOR.because(format!("{count} by {}{more}; {text}", shown(other))), seen);
        }
        let outcome = match since {
            Some(since) => {
                let due = later(grew.unwrap_or(since), self.window.saturating_add(self.hold()));
                let watched = if grew.is_some() { "no more of it since" } else { "watched since" };
                OLD_DRAINS.until(due, format!("{watched} {}: {text}", grew.unwrap_or(since).format("%FT%TZ")))
            }
            None => Outcome::pass(format!("none by {}; {text}", shown(&self.old))),
        };
        (outcome, seen)
    }

    fn judge_both(&self, sight: &Sight, again: Option<(&String, &Sight)>, before: Seen, now: DateTime<Utc>) -> (Outcome, Seen) {
        let missing = self.missing(sight, again, before.missing, now);
        let outcome = if sight.by_new() == 0 {
            NOT_TAKEN_OVER.because(self.text(sight, |_| true))
        } else if !missing.is_empty() {
            let named = missing.iter().map(|(service, Missing { until, lines, .. })| {
                format!("{} until {}", self.pair(service, lines), until.format("%FT%TZ"))
            });
            NOT_CARRIED.because(listed(named, missing.len()))
        } else if sight.by_old() == 0 {
            OLD_SILENT.because(self.text(sight, |_| true))
        } else {
            let count = sight.services.values().filter(|pair| pair.old > 0).count();
            Outcome::pass(format!("{count} services carried: {}", self.text(sight, |pair| pair.old > 0)))
        };
        (outcome, Seen { missing, ..Seen::after(sight, now) })
    }

    /// What is not carried. It is carried again once its own lines are all there, or once later ones are. While the new collector ships
    /// nothing at all that tells of no service.
    fn missing(
        &self,
        sight: &Sight,
        again: Option<(&String, &Sight)>,
        before: BTreeMap<String, Missing>,
        now: DateTime<Utc>,
    ) -> BTreeMap<String, Missing> {
        let mut missing = before;
        let until = earlier(now, self.lag());
        let from = earlier(until, self.window);
        if let Some((service, then)) = again {
            let pair = then.services.get(service).copied().unwrap_or_default();
            if pair.old > 0 && pair.carried() {
                missing.remove(service);
            } else if let Some(known) = missing.get_mut(service) {
                known.asked = now;
            }
        }
        for (service, pair) in sight.services.iter().filter(|(_, pair)| sight.by_new() > 0 && pair.old > 0) {
            let known = missing.get(service).copied();
            if !pair.carried() && (known.is_some() || missing.len() < MAX_SERVICES) {
                let from = known.map_or(from, |known| known.from.min(from).max(earlier(until, LONGEST)));
                missing.insert(service.clone(), Missing { from, until, asked: now, lines: *pair });
            } else if pair.carried() && known.is_some_and(|known| known.until <= from) {
                missing.remove(service);
            }
        }
        missing
    }

    /// `gitops-sync: 12 by (none), 12 by alloy in the last 5m`, of those for which this holds.
    fn text(&self, sight: &Sight, holds: impl Fn(&Pair) -> bool) -> String {
        let chosen: Vec<_> = sight.services.iter().filter(|(_, pair)| holds(pair)).collect();
        if chosen.is_empty() {
            return self.within(format!(
                "{} by {}, {} by {}",
                sight.by_old(),
                shown(&self.old),
                sight.by_new(),
                shown(&self.new)
            ));
        }
        let count = chosen.len();
        self.within(listed(chosen.into_iter().map(|(service, pair)| self.pair(service, pair)), count))
    }

    fn pair(&self, service: &str, pair: &Pair) -> String {
        format!("{}: {} by {}, {} by {}", shown(service), pair.old, shown(&self.old), pair.new, shown(&self.new))
    }

    fn within(&self, text: String) -> String {
        format!("{text} in the last {}", words(self.window))
    }
}

fn listed(texts: impl Iterator<Item = String>, count: usize) -> String {
    let mut texts: Vec<_> = texts.take(NAMED).collect();
    if count > NAMED {
        texts.push(format!("{} more", count - NAMED));
    }
    texts.join("; ")
}
