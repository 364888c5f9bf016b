//! Where lines stop on their way. Two looks at the counters along it, some moments apart, tell which hop is the first that stands
//! still while the one before it moves.

use serde::{Deserialize, Serialize};

use crate::counter::number;
use crate::outcome::{Evidence, Outcome, ReasonSpec};
use crate::trail::{Hop, HopState};

use super::head::Told;
use counters::{AlloyCounts, LokiCounts, rise, words};

pub(crate) mod counters;
pub(crate) mod look;

/// The journal does not take, or does not read, what it is sent.
const JOURNAL_STUCK: ReasonSpec = ReasonSpec::fail(
    "journal_stuck",
    "look at systemd-journald on that node (`systemctl status systemd-journald`, free space under `/var/log/journal`): it does not \
     take what the agent writes",
);
/// The collector does not read.
const NOT_READ: ReasonSpec = ReasonSpec::fail(
    "not_read",
    "look at Alloy on that node: whether it runs, and whether it can read the host's journal (`/etc/machine-id`, \
     `/var/log/journal`, `/run/log/journal`, rights)",
);
/// The collector reads and drops.
const DROPPED_IN_ALLOY: ReasonSpec = ReasonSpec::fail(
    "dropped_in_alloy",
    "let Alloy's pipeline keep the canary: add a rule for its `SYSLOG_IDENTIFIER` to those that are kept",
);
/// The collector can not get rid of what it reads.
const NOT_SENT: ReasonSpec = ReasonSpec::fail(
    "not_sent",
    "look at the network from Alloy to Loki, and at Alloy's log: it reads lines but gets none of them delivered",
);
/// Loki takes lines and throws them away.
const DISCARDED_BY_LOKI: ReasonSpec = ReasonSpec::fail(
    "discarded_by_loki",
    "mend what Loki's reason in the evidence says: a limit of Loki, or the time that lines carry",
);
/// What is sent goes elsewhere.
const NOT_RECEIVED: ReasonSpec =
    ReasonSpec::fail("not_received", "see where Alloy's `loki.write` leads to: it delivers lines, but this Loki receives none");

/// What attribution can come to.
pub(crate) const REASONS: &[ReasonSpec] = &[JOURNAL_STUCK, NOT_READ, DROPPED_IN_ALLOY, NOT_SENT, DISCARDED_BY_LOKI, NOT_RECEIVED];

/// A journal that has not read for this long, in milliseconds, is the one that stands still.
const STUCK: i64 = 1000;

/// The stations of a line, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Station {
    /// Who writes it.
    Agent,
    /// The node's journal, or whatever else the agent's sink is.
    Journal,
    /// The collector reads it.
    Read,
    /// The collector gets it delivered.
    Sent,
    /// Loki takes it.
    Received,
    /// Loki answers with it.
    Found,
    /// The gateway in front of Loki answers with it.
    Gateway,
    /// Grafana answers with it.
    Grafana,
}

impl Station {
    /// What people call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Journal => "journal",
            Self::Read => "alloy read",
            Self::Sent => "alloy sent",
            Self::Received => "loki received",
            Self::Found => "loki queryable",
            Self::Gateway => "gateway",
            Self::Grafana => "grafana",
        }
    }

    fn hop(self, state: HopState, words: &str) -> Hop {
        Hop { name: self.name().to_owned(), state, words: Evidence::from(words) }
    }
}

/// The stations that a probe knows of, in the order of the way.
pub(crate) fn stations(alloy: bool, gateway: bool, grafana: bool) -> Vec<Station> {
    use Station::{Agent, Found, Gateway, Grafana, Journal, Read, Received, Sent};
    let known = |station: &Station| match station {
        Read | Sent => alloy,
        Gateway => gateway,
        Grafana => grafana,
        Agent | Journal | Received | Found => true,
    };
    [Agent, Journal, Read, Sent, Received, Found, Gateway, Grafana].into_iter().filter(known).collect()
}

/// The whole way when it is known where lines stop, or that they do not.
pub(crate) fn trail(stations: &[Station], broken: Option<(Station, &str)>, newest: u64) -> Vec<Hop> {
    let passed = format!("line {newest} passed");
    let hop = |station: &Station| match broken {
        Some((at, words)) if *station == at => station.hop(HopState::Stands, words),
        Some((at, _)) if *station > at => station.hop(HopState::Behind, ""),
        // A Loki that can not be asked says nothing of the way to it.
        Some((Station::Found, _)) if *station > Station::Agent => station.hop(HopState::Unknown, ""),
        Some(_) => station.hop(HopState::Moves, ""),
        None => station.hop(HopState::Moves, &passed),
    };
    stations.iter().map(hop).collect()
}

/// The whole way when it could not be seen where lines stop.
pub(crate) fn untold(stations: &[Station], words: &str) -> Vec<Hop> {
    let hop = |station: &Station| match station {
        Station::Agent => station.hop(HopState::Moves, ""),
        Station::Found => station.hop(HopState::Behind, words),
        Station::Journal | Station::Read | Station::Sent | Station::Received | Station::Gateway | Station::Grafana => {
            station.hop(HopState::Unknown, "")
        }
    };
    stations.iter().map(hop).collect()
}

/// The counters along one agent's way at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Last number that the agent told of.
    #[serde(rename = "l")]
    pub(crate) last: u64,
    /// Those of the Alloy that reads the agent's journal. None: it is not named.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub(crate) alloy: Option<AlloyCounts>,
    /// Those of Loki. None: it does not tell.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub(crate) loki: Option<LokiCounts>,
}

/// Where the lines of an agent stop.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stop {
    /// The first hop that stands still.
    pub(crate) at: Station,
    /// Why.
    pub(crate) reason: ReasonSpec,
    /// In its own words.
    pub(crate) words: String,
}

impl Stop {
    fn new(at: Station, reason: ReasonSpec, words: impl Into<String>) -> Self {
        Self { at, reason, words: words.into() }
    }
}

/// What one moment tells, without a second: the journal's state by the agent's own word, and an Alloy that does not answer.
pub(crate) fn at_once(told: &Told, alloy: Option<&Result<AlloyCounts, Outcome>>) -> Option<Stop> {
    if let Some(trouble) = &told.trouble {
        return Some(Stop::new(Station::Journal, JOURNAL_STUCK, format!("the journal takes no lines: {trouble}")));
    }
    if told.unread >= STUCK {
        let seconds = told.unread / 1000;
        let words = format!("the journal has not read what the agent has sent it for {seconds}s");
        return Some(Stop::new(Station::Journal, JOURNAL_STUCK, words));
    }
    let Some(Err(outcome)) = alloy else { return None };
    Some(Stop::new(Station::Read, NOT_READ, format!("Alloy does not answer: {}", outcome.evidence())))
}

/// What moved between two moments. None: the first that stands still can not be told.
pub(crate) fn between(before: &Counts, after: &Counts) -> Option<Stop> {
    let written = after.last.saturating_sub(before.last);
    if written == 0 {
        return None;
    }
    let dropped = match (&before.alloy, &after.alloy) {
        (Some(before), Some(after)) => match in_alloy(before, after) {
            Ok(dropped) => dropped,
            Err(stop) => return Some(stop),
        },
        _ => None,
    };
    let (Some(earlier), Some(later)) = (&before.loki, &after.loki) else { return None };
    let discards = words(&earlier.discards, &later.discards);
    if !discards.is_empty() {
        let words = format!("Loki receives lines and discards some: {discards}");
        return Some(Stop::new(Station::Received, DISCARDED_BY_LOKI, words));
    }
    if rise(earlier.received, later.received) <= 0.0 {
        let to = after.alloy.as_ref().map(|alloy| format!("Alloy delivers to {}, but ", alloy.hosts().join(", ")));
        let words = format!("{}this Loki receives nothing", to.unwrap_or_default());
        return Some(Stop::new(Station::Received, NOT_RECEIVED, words));
    }
    // Where other lines pass, only their number can tell: at least as many were dropped as the agent wrote.
    let (lines, why) = dropped?;
    (lines >= number(written)).then(|| {
        let words = format!("Alloy's pipeline drops lines, most likely these: {why} meanwhile, and other lines arrive");
        Stop::new(Station::Sent, DROPPED_IN_ALLOY, words)
    })
}

/// Whether lines stop in Alloy. If not: how many it has dropped on purpose, in its words.
fn in_alloy(before: &AlloyCounts, after: &AlloyCounts) -> Result<Option<(f64, String)>, Stop> {
    let read = rise(before.read, after.read);
    if read <= 0.0 {
        let words = format!("Alloy reads nothing from the journal; it stands at {} lines", after.read);
        return Err(Stop::new(Station::Read, NOT_READ, words));
    }
    let dropped = before.dropped_until(after);
    if before.sent_until(after) > 0.0 {
        return Ok((dropped > 0.0).then(|| (dropped, words(&before.dropped, &after.dropped))));
    }
    let lost = words(&before.lost, &after.lost);
    let failed = words(&before.failed, &after.failed);
    if failed.is_empty() && lost.is_empty() && dropped >= read {
        let words = format!("Alloy reads lines, and its pipeline drops all of them: {}", words(&before.dropped, &after.dropped));
        return Err(Stop::new(Station::Sent, DROPPED_IN_ALLOY, words));
    }
    let answers = match (failed.is_empty(), after.failures()) {
        (false, _) => format!("answers meanwhile: {failed}"),
        (true, Some(so_far)) => format!("no request was answered meanwhile, so far failed: {so_far}"),
        (true, None) => "no request was answered meanwhile".to_owned(),
    };
    let lost = if lost.is_empty() { lost } else { format!("; given up: {lost}") };
    let hosts = after.hosts().join(", ");
    let words = format!("Alloy reads ({read} lines meanwhile) and delivers nothing to {hosts}; {answers}{lost}");
    Err(Stop::new(Station::Sent, NOT_SENT, words))
}

#[cfg(test)]
mod tests;
