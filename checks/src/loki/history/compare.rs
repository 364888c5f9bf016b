//! What two Lokis have of the same hour, side by side.

use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;
use serde::{Deserialize, Serialize};

/// Seconds of an hour.
pub(super) const HOUR: i64 = 3600;

/// Full hours: from the Unix second with which the first begins to before the second one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Span(pub(super) i64, pub(super) i64);

impl Span {
    /// How many hours it has.
    pub(super) const fn hours(self) -> i64 {
        (self.1 - self.0) / HOUR
    }

    /// Its hours, each by the second with which it begins.
    pub(super) fn each(self) -> impl Iterator<Item = i64> {
        (0..self.hours()).map(move |hour| self.0 + hour * HOUR)
    }

    /// For people: both ends.
    pub(super) fn words(self) -> String {
        format!("{} to {}", clock(self.0), clock(self.1))
    }
}

/// A Unix second for people.
pub(super) fn clock(second: i64) -> String {
    DateTime::from_timestamp(second, 0).unwrap_or_default().format("%F %H:%MZ").to_string()
}

/// What a Loki has of one service in one hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) lines: u64,
    pub(super) bytes: u64,
}

/// What it has, by hour and service. What is absent is nothing.
pub(super) type Amounts = BTreeMap<i64, BTreeMap<String, Amount>>;

/// How an hour of a service differs, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Kind {
    /// The new one has fewer lines.
    Missing,
    /// As many lines, but another text among those that were compared.
    Content,
    /// As many lines, of another length.
    Bytes,
    /// The new one has more lines.
    Extra,
}

/// An hour of a service that is not the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Difference {
    pub(super) kind: Kind,
    pub(super) hour: i64,
    pub(super) of: String,
    /// Lines, bytes, or lines that only this side has: of the old one and the new one.
    pub(super) counts: (u64, u64),
}

impl Difference {
    /// For people: service, hour and difference.
    pub(super) fn words(&self) -> String {
        let (old, new) = self.counts;
        let of = if self.of.is_empty() { "(no service)" } else { &self.of };
        let what = match self.kind {
            Kind::Missing => format!("{} of {old} lines missing", old - new),
            Kind::Extra => format!("{new} lines, {} more than the old {old}", new - old),
            Kind::Bytes => format!("as many lines, but {new} bytes instead of {old}"),
            Kind::Content => format!("as many lines and bytes, but {old} that only the old one has, {new} only the new one"),
        };
        format!("{of} {}: {what}", clock(self.hour))
    }
}

/// How one hour of the new side differs from the old one's.
pub(super) fn differences(hour: i64, old: &Amounts, new: &Amounts) -> Vec<Difference> {
    let none = BTreeMap::new();
    let (old, new) = (old.get(&hour).unwrap_or(&none), new.get(&hour).unwrap_or(&none));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let differs = |name: &String| {
        let (old, new) = (old.get(name).copied().unwrap_or_default(), new.get(name).copied().unwrap_or_default());
        let (kind, counts) = match old.lines.cmp(&new.lines) {
            std::cmp::Ordering::Greater => (Kind::Missing, (old.lines, new.lines)),
            std::cmp::Ordering::Less => (Kind::Extra, (old.lines, new.lines)),
            std::cmp::Ordering::Equal if old.bytes != new.bytes => (Kind::Bytes, (old.bytes, new.bytes)),
            std::cmp::Ordering::Equal => return None,
        };
        Some(Difference { kind, hour, of: name.clone(), counts })
    };
    names.into_iter().filter_map(differs).collect()
}

/// A line with the service it is of, and Loki's timestamp.
pub(super) type Line = (String, i64, String);

/// What only one of the sides has among the lines of one hour's sample, by service. A line that stands there twice counts twice.
pub(super) fn contents(hour: i64, old: &[Line], new: &[Line]) -> Vec<Difference> {
    let mut balance: BTreeMap<&Line, i64> = BTreeMap::new();
    for line in old {
        *balance.entry(line).or_default() += 1;
    }
    for line in new {
        *balance.entry(line).or_default() -= 1;
    }
    let mut by_service: BTreeMap<&String, (u64, u64)> = BTreeMap::new();
    for ((of, ..), surplus) in balance.into_iter().filter(|(_, surplus)| *surplus != 0) {
        let counts = by_service.entry(of).or_default();
        if surplus > 0 {
            counts.0 += surplus.unsigned_abs();
        } else {
            counts.1 += surplus.unsigned_abs();
        }
    }
    let difference = |(of, counts): (&String, _)| Difference { kind: Kind::Content, hour, of: of.clone(), counts };
    by_service.into_iter().map(difference).collect()
}
