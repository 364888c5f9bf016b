//! Looking at the counters along the way: once in each Run that finds lines standing still, to be compared with the Run before it.

use std::time::Duration;

use futures::future::join;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};
use url::Url;

use crate::check::Context;
use crate::log_path::head::{self, Told};
use crate::net::Budget;
use crate::target::{AgentTarget, AlloyTarget, LokiTarget};

use super::counters::{AlloyCounts, LokiCounts};
use super::{Counts, Stop, at_once, between};

/// A person is given an answer at once; Alloy delivers once in a second.
const PAUSE: Duration = Duration::from_millis(1500);
/// The counters are asked for after the lines: not for long, so that the gate shuts soon.
const BRIEF: Duration = Duration::from_millis(800);

/// What the looks of one Run share: all agents have one Loki.
pub(crate) struct Along<'a> {
    cx: &'a Context,
    agents: &'a AgentTarget,
    alloy: &'a AlloyTarget,
    loki: &'a LokiTarget,
    early: OnceCell<Option<LokiCounts>>,
    late: OnceCell<Option<LokiCounts>>,
}

impl<'a> Along<'a> {
    pub(crate) fn new(cx: &'a Context, agents: &'a AgentTarget, alloy: &'a AlloyTarget, loki: &'a LokiTarget) -> Self {
        Self { cx, agents, alloy, loki, early: OnceCell::new(), late: OnceCell::new() }
    }

    /// Where the lines of the agent at this URL stop, and the counters to compare the next look with. `mark` are those of an
    /// earlier look at the same stop.
    pub(crate) async fn stop(
        &self,
        agent: &Url,
        told: &Told,
        mark: Option<Counts>,
        budget: Budget,
    ) -> (Option<Stop>, Option<Counts>) {
        let beside = self.agents.node(agent).and_then(|node| self.alloy.on(node));
        let alloy = beside.or_else(|| reader(&self.agents.urls, agent, &self.alloy.urls));
        let first = match self.counts(told, alloy, &self.early, brief(budget)).await {
            Ok(counts) => counts,
            Err(stop) => return (Some(stop), mark),
        };
        if let Some(mark) = mark {
            // An agent that writes rarely is compared over more than one look.
            let next = if mark.last < first.last { &first } else { &mark };
            return (between(&mark, &first), Some(next.clone()));
        }
        if !self.cx.by_hand {
            return (None, Some(first));
        }
        sleep(PAUSE.max(Duration::from_millis(told.every.unsigned_abs()))).await;
        let Ok(told) = head::ask(self.cx, agent, budget.until(5)).await else { return (None, Some(first)) };
        match self.counts(&told, alloy, &self.late, brief(budget)).await {
            Ok(second) => (between(&first, &second), Some(second)),
            Err(stop) => (Some(stop), Some(first)),
        }
    }

    async fn counts(
        &self,
        told: &Told,
        alloy: Option<&Url>,
        loki: &OnceCell<Option<LokiCounts>>,
        budget: Budget,
    ) -> Result<Counts, Stop> {
        let ask_alloy = async {
            match alloy {
                Some(url) => Some(AlloyCounts::ask(self.cx, url, budget).await),
                None => None,
            }
        };
        let ask_loki = loki.get_or_init(async || LokiCounts::ask(self.cx, self.loki, budget).await.ok());
        let (alloy, loki) = join(Box::pin(ask_alloy), Box::pin(ask_loki)).await;
        match at_once(told, alloy.as_ref()) {
            Some(stop) => Err(stop),
            None => Ok(Counts { last: told.last, alloy: alloy.and_then(Result::ok), loki: loki.clone() }),
        }
    }
}

fn brief(budget: Budget) -> Budget {
    let start = Instant::now();
    let end = budget.end.min(start + BRIEF);
    Budget { start, own: start + end.saturating_duration_since(start) / 2, end }
}

/// The Alloy that reads the journal an agent writes to: on the same host, or the only one, or the one at the same place in a list
/// of as many.
fn reader<'a>(agents: &[Url], agent: &Url, alloys: &'a [Url]) -> Option<&'a Url> {
    let mut beside = alloys.iter().filter(|alloy| alloy.host() == agent.host());
    if let (Some(one), None) = (beside.next(), beside.next()) {
        return Some(one);
    }
    match alloys {
        [one] => Some(one),
        _ if alloys.len() == agents.len() => agents.iter().position(|url| url == agent).and_then(|nth| alloys.get(nth)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(hosts: &[&str]) -> Vec<Url> {
        hosts.iter().map(|host| Url::parse(&format!("http://{host}:1")).unwrap()).collect()
    }

    #[test]
    fn each_agent_has_the_alloy_that_reads_its_journal() {
        let agents = urls(&["10.0.0.1", "10.0.0.2"]);
        let of = |alloys: &[&str]| {
            let alloys = urls(alloys);
            agents.iter().map(|agent| reader(&agents, agent, &alloys).map(ToString::to_string)).collect::<Vec<_>>()
        };
        let found = |host: &str| Some(format!("http://{host}:1/"));
        assert_eq!(of(&["10.0.0.2", "10.0.0.1"]), [found("10.0.0.1"), found("10.0.0.2")], "by host");
        assert_eq!(of(&["10.1.0.1"]), [found("10.1.0.1"), found("10.1.0.1")], "the only one");
        assert_eq!(of(&["10.1.0.1", "10.1.0.2"]), [found("10.1.0.1"), found("10.1.0.2")], "by place");
        assert_eq!(of(&["10.1.0.1", "10.1.0.2", "10.1.0.3"]), [None, None], "nobody knows");
    }
}
