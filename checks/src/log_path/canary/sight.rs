//! One agent's look: its lines at each end of the way, what the account says, and where they stop if they do not come.

use futures::future::{join, join_all};
use url::Url;

use crate::check::Context;
use crate::log_path::head::Told;
use crate::log_path::hops::look::Along;
use crate::log_path::hops::{Station, trail, untold};
use crate::log_path::trace::InLoki;
use crate::log_path::views::View;
use crate::net::Budget;
use crate::outcome::{Outcome, PartId};
use crate::target::{AgentTarget, LokiTarget};
use crate::trail::Hop;

use super::book::{self, Book};
use super::judge::{self, Pace, Sentence};
use super::{HEAD_STALE, STALLED};

/// What one agent's look came to.
pub(super) struct Sight {
    pub(super) part: PartId,
    pub(super) outcome: Outcome,
    pub(super) book: Option<Book>,
    pub(super) numbers: Vec<(&'static str, f64)>,
    pub(super) trail: Vec<Hop>,
}

/// The way of the lines, as one Run looks at it.
pub(super) struct Way<'a> {
    pub(super) cx: &'a Context,
    pub(super) agents: &'a AgentTarget,
    pub(super) loki: &'a LokiTarget,
    pub(super) selector: &'a str,
    /// Where the lines must come through, beside Loki itself.
    pub(super) views: Vec<View<'a>>,
    pub(super) stations: Vec<Station>,
    /// How to find out where they stop.
    pub(super) along: Option<Along<'a>>,
}

/// Looks for one agent's lines, given what it says of itself.
pub(super) async fn look(
    way: &Way<'_>,
    agent: &Url,
    told: Result<Told, Outcome>,
    book: Option<Book>,
    (pace, budget): (Pace, Budget),
) -> Sight {
    let (now, stations) = (way.cx.now, &way.stations);
    let told = match told {
        Ok(told) => told,
        Err(outcome) => {
            let node = way.agents.node(agent).or(book.as_ref().map(|book| book.node.as_str()));
            let part = PartId::new(node.unwrap_or(PartId::WHOLE));
            let trail = trail(stations, Some((Station::Agent, outcome.evidence().as_str())), 0);
            return Sight { part, outcome, book, numbers: Vec::new(), trail };
        }
    };
    let part = PartId::new(&told.node);
    // An agent of another name is another agent.
    let mut book = book.filter(|book| book.node == told.node).unwrap_or_else(|| Book::new(&told.node));
    if let Err(words) = book.hears(&told, now, pace) {
        let trail = trail(stations, Some((Station::Agent, &words)), 0);
        return Sight { part, outcome: HEAD_STALE.because(words), book: Some(book), numbers: Vec::new(), trail };
    }
    let source = InLoki { cx: way.cx, loki: way.loki, selector: way.selector };
    let elsewhere = way.views.iter().map(|view| {
        let told = &told;
        async move { (view.station, book::newest(view.source.as_ref(), told, now, (pace, budget.until(4))).await) }
    });
    let elsewhere = join_all(elsewhere.collect::<Vec<_>>());
    let (seen, elsewhere) = join(Box::pin(book.read(&source, &told, now, (pace, budget))), elsewhere).await;
    let sentence = judge::judge(&told, &seen, &elsewhere, &book, (now, pace));
    let mark = book.mark.take();
    let (outcome, trail) = match sentence {
        Sentence::Flows(outcome) => (outcome, trail(stations, None, seen.newest().unwrap_or_default())),
        Sentence::Early(outcome) => {
            let trail = untold(stations, outcome.evidence().as_str());
            (outcome, trail)
        }
        Sentence::Stops(station, outcome) => {
            let trail = trail(stations, Some((station, outcome.evidence().as_str())), 0);
            (outcome, trail)
        }
        Sentence::Stalled(words) => {
            let (stop, next) = match &way.along {
                Some(along) => Box::pin(along.stop(agent, &told, mark, budget)).await,
                None => (None, None),
            };
            book.mark = next;
            match stop {
                Some(stop) => {
                    let evidence = format!("{part}: lines stop at {}: {}; {words}", stop.at.name(), stop.words);
                    (stop.reason.because(evidence), trail(stations, Some((stop.at, &stop.words)), 0))
                }
                None => (STALLED.because(format!("{part}: {words}")), untold(stations, &words)),
            }
        }
    };
    let numbers = judge::numbers(&told, &seen, &book);
    Sight { part, outcome, book: Some(book), numbers, trail }
}
