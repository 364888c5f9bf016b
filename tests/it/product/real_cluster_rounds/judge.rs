//! What must never have been said, by what was seen of the Lease.

use chrono::{DateTime, TimeDelta, Utc};

use super::member::{Log, Member, Said};

/// How long the right to write lasts after it was renewed.
const LEASE: TimeDelta = TimeDelta::seconds(15);
/// An evaluation that is older is none.
const FRESH: TimeDelta = TimeDelta::seconds(3);
/// `maxAge` of the probes.
pub(super) const MAX_AGE: TimeDelta = TimeDelta::seconds(8);
/// For what is rounded to milliseconds, and for an evaluation that is under way.
const SLACK: TimeDelta = TimeDelta::seconds(1);
/// Another verifier takes over earlier than this only if the Lease was given back, in seconds: it lasts for 15, and is renewed every 5.
pub(super) const GIVEN_BACK: f64 = 9.0;
/// A checkpoint may be this old, in seconds.
const CHECKPOINT: f64 = 30.0;
/// For what is evaluated once a second, and for a write that takes its time.
pub(super) const MOMENT: f64 = 2.5;

/// The record of the Lease, when it was seen for the first time.
#[derive(Debug, Clone)]
pub(super) struct Sighting {
    pub(super) told: DateTime<Utc>,
    /// Empty: it was given back.
    pub(super) holder: String,
    pub(super) term: u64,
    pub(super) renewed: DateTime<Utc>,
}

/// A time in which what `move` is about was not there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dark {
    pub(super) from: DateTime<Utc>,
    pub(super) to: DateTime<Utc>,
}

/// Why this member must not have said that the gate is open.
pub(super) fn open_without(
    member: &Member,
    log: &Log,
    since: DateTime<Utc>,
    lease: &[Sighting],
    dark: Option<Dark>,
) -> Vec<String> {
    let term = member.term();
    let told = log.said.iter().filter(|said| said.status == 200 && said.told >= since);
    told.filter_map(|said| {
        let why = why_not(member, said, term, lease).or_else(|| in_the_dark(said, term, lease, dark?))?;
        Some(format!("{} said open at {}: {why}", member.name, said.told.format("%T%.3f")))
    })
    .collect()
}

fn why_not(member: &Member, said: &Said, term: Option<u64>, lease: &[Sighting]) -> Option<String> {
    let Some(term) = term else { return Some("it never had the Lease".to_owned()) };
    // What was asked before a freeze and answered after it must be true after it.
    let asked = member.thawed.filter(|thawed| said.asked <= *thawed && *thawed <= said.told).unwrap_or(said.asked);
    let other = lease.iter().find(|seen| seen.told <= asked && (seen.term > term || seen.term == term && seen.holder.is_empty()));
    if let Some(other) = other {
        return Some(format!("it had term {term}, and {other:?} was seen before"));
    }
    let own = lease.iter().filter(|seen| seen.term == term && !seen.holder.is_empty() && seen.renewed <= said.told);
    match own.map(|seen| seen.renewed).max() {
        Some(renewed) if asked > renewed + LEASE => return Some(format!("its Lease was last renewed at {renewed}")),
        Some(_) => {}
        None => return Some(format!("nobody saw it in term {term}")),
    }
    if said.evaluated.is_none_or(|evaluated| said.told - evaluated > FRESH + SLACK) {
        return Some(format!("evaluated at {:?}", said.evaluated));
    }
    match said.seen {
        Some(seen) if seen > member.launched && said.told - seen <= MAX_AGE + SLACK => None,
        seen => Some(format!("its evidence is of {seen:?}, and it was launched at {}", member.launched)),
    }
}

/// A verifier that took over in the dark has seen nothing; one that was there sees it within `maxAge`.
fn in_the_dark(said: &Said, term: Option<u64>, lease: &[Sighting], dark: Dark) -> Option<String> {
    let began = lease.iter().find(|seen| Some(seen.term) == term).map(|seen| seen.told);
    let from = if began.is_some_and(|began| began > dark.from + SLACK) { dark.from } else { dark.from + MAX_AGE + SLACK };
    (said.asked > from && said.told < dark.to).then(|| format!("there was nothing to be seen since {}", dark.from))
}

/// The longest time between two answers that said open, whoever gave them, in seconds.
pub(super) fn longest_shut(members: &[Member], since: DateTime<Utc>, settled: DateTime<Utc>) -> f64 {
    let mut open = vec![settled];
    for member in members {
        let log = member.log.lock();
        open.extend(log.said.iter().filter(|said| said.status == 200 && said.told >= since).map(|said| said.told));
    }
    open.sort_unstable();
    open.windows(2).map(|pair| seconds(pair[1] - pair[0])).fold(0.0, f64::max)
}

/// The soak before and after a disturbance, and what is wrong about it.
pub(super) struct Kept {
    pub(super) before: f64,
    pub(super) after: f64,
    pub(super) wrong: Option<String>,
}

/// `at` is the moment of the disturbance. Whoever has taken over is the second one.
pub(super) fn soak(before: &Member, after: &Member, at: DateTime<Utc>, orderly: bool, lease: &[Sighting]) -> Kept {
    let other = before.name != after.name;
    // From here on somebody looks again; between the disturbance and this moment, nobody's look counts.
    let again = if other {
        lease.iter().find(|seen| Some(seen.term) == after.term()).map_or(at, |seen| seen.told)
    } else {
        after.thawed.filter(|thawed| *thawed > at).unwrap_or(at)
    };
    let served = before.log.lock().soaked.iter().rfind(|soaked| soaked.told <= at).copied();
    let first = after.log.lock().soaked.iter().find(|soaked| soaked.told > again).copied();
    let (Some(served), Some(first)) = (served, first) else {
        let wrong = Some(format!("soak: {served:?} before, {first:?} after"));
        return Kept { before: 0.0, after: 0.0, wrong };
    };
    let lost = if orderly || !other { 0.0 } else { CHECKPOINT };
    let least = served.have - lost - MOMENT;
    let most = served.have + seconds(at - served.asked) + seconds(first.told - again) + MOMENT;
    let (before, after) = (served.have, first.have);
    let wrong = !(least..=most).contains(&after);
    let wrong = wrong.then(|| format!("soak: {before:.1} s before, {after:.1} s after, not within {least:.1} to {most:.1}"));
    Kept { before, after, wrong }
}

pub(super) fn seconds(span: TimeDelta) -> f64 {
    span.as_seconds_f64()
}
