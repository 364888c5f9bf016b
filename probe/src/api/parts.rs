//! The parts of a Run on the wire.

use checks::{Hop, HopState, Outcome, PartId, engine_reasons::PART_VANISHED};

use super::types::{HopBody, PartBody, TrailBody};
use crate::state::{RunRecord, State};

/// Which parts to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    All,
    /// At most so many of those that did not pass, worst first.
    Troubled(usize),
}

/// In lists of probes: a probe can have a thousand parts.
pub(super) const IN_LISTS: Shown = Shown::Troubled(20);

/// The parts of a Run; none when it looked at one thing only.
pub(super) fn bodies(run: &RunRecord, shown: Shown) -> Vec<PartBody> {
    let mut parts: Vec<(&PartId, &Outcome)> = run.parts.iter().collect();
    if parts.iter().all(|(part, _)| part.as_str() == PartId::WHOLE) {
        return Vec::new();
    }
    if let Shown::Troubled(most) = shown {
        parts.retain(|(_, outcome)| outcome.rank() > 0);
        parts.sort_by_key(|(_, outcome)| std::cmp::Reverse(outcome.rank()));
        parts.truncate(most);
    }
    parts.into_iter().map(|(part, outcome)| body(part, outcome)).collect()
}

fn body(part: &PartId, outcome: &Outcome) -> PartBody {
    PartBody {
        part: part.to_string(),
        outcome: outcome.label().to_owned(),
        reason: outcome.reason().map(ToString::to_string),
        evidence: outcome.evidence().to_string(),
    }
}

/// Most trails in lists of probes.
const TRAILS: usize = 4;

/// How far what a Run followed came on its way.
pub(super) fn trails(run: &RunRecord, shown: Shown) -> Vec<TrailBody> {
    let mut trails: Vec<(&PartId, &Vec<Hop>)> = run.trails.iter().collect();
    if let Shown::Troubled(most) = shown {
        trails.sort_by_key(|(_, hops)| hops.iter().all(|hop| hop.state == HopState::Moves));
        trails.truncate(most.min(TRAILS));
    }
    let hop = |hop: &Hop| HopBody { name: hop.name.clone(), state: words_of(hop.state).to_owned(), words: hop.words.to_string() };
    trails.into_iter().map(|(part, hops)| TrailBody { part: part.to_string(), hops: hops.iter().map(hop).collect() }).collect()
}

const fn words_of(state: HopState) -> &'static str {
    match state {
        HopState::Moves => "moves",
        HopState::Stands => "stands",
        HopState::Behind => "behind",
        HopState::Unknown => "unknown",
    }
}

/// The first part of a probe that is not reported any more: the one to forget, or to bring back.
pub(super) fn vanished<'a>(state: &'a State, probe: &str) -> Option<&'a str> {
    let last = state.live.probes.get(probe)?.last.as_ref()?;
    let gone = |outcome: &Outcome| outcome.reason().is_some_and(|reason| reason.as_str() == PART_VANISHED.name);
    last.parts.iter().find(|(_, outcome)| gone(outcome)).map(|(part, _)| part.as_str())
}
