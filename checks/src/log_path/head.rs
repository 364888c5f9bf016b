//! The agent's own word: how far it has come.

use std::time::Duration;

use chrono::TimeDelta;
use reqwest::header::HeaderMap;
use url::Url;

use crate::check::Context;
use crate::net::{Budget, below, fetch};
use crate::outcome::{Outcome, ReasonSpec};

use super::account::{millis, span};
use super::line::{Boot, Head};

/// The agent gave no answer that is one.
const AGENT_UNREACHABLE: ReasonSpec = ReasonSpec::unknown(
    "agent_unreachable",
    "start `probe agent` on that node, or correct its URL in the document; until it answers, nobody can say what should have arrived",
);
/// An answer that contradicts itself.
const AGENT_CONFUSED: ReasonSpec =
    ReasonSpec::unknown("agent_confused", "see that the URL leads to a `probe agent` of this version, and set the node's clock");

/// What asking an agent can come to.
pub(crate) const REASONS: &[ReasonSpec] = &[AGENT_UNREACHABLE, AGENT_CONFUSED];

/// Longest name of a node.
const MAX_NODE: usize = 128;
/// Longest words for trouble.
const MAX_TROUBLE: usize = 200;
/// Longest time between two lines, in milliseconds.
const MAX_EVERY: u64 = 3_600_000;

/// A head that makes sense, its times in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) node: String,
    pub(crate) boot: Boot,
    pub(crate) last: u64,
    /// None: no line was written yet.
    pub(crate) last_at: Option<i64>,
    pub(crate) failed: u64,
    pub(crate) now: i64,
    pub(crate) every: i64,
    /// For how long the journal has not read what it was sent.
    pub(crate) unread: i64,
    /// Why the newest line was refused, if it was.
    pub(crate) trouble: Option<String>,
    /// How far the node's clock is ahead of the verifier's, give or take half the time that the answer took.
    pub(crate) skew: i64,
}

impl Told {
    /// The same, if it is the agent of this node.
    pub(crate) fn on(self, node: Option<&str>) -> Result<Self, Outcome> {
        match node {
            Some(node) if node != self.node => {
                let evidence = format!("the agent on node {node} calls itself {}: start it with `--node {node}`", self.node);
                Err(AGENT_CONFUSED.because(evidence))
            }
            Some(_) | None => Ok(self),
        }
    }

    /// The newest line that was written at least so many milliseconds ago, by the agent's clock and cadence.
    pub(crate) fn written_before(&self, age: i64) -> u64 {
        let Some(last_at) = self.last_at else { return 0 };
        let younger = age.saturating_sub(self.now.saturating_sub(last_at)).max(0);
        let lines = younger.saturating_add(self.every - 1) / self.every.max(1);
        self.last.saturating_sub(u64::try_from(lines).unwrap_or(0))
    }
}

/// Asks an agent. No answer of it is a Fail of the pipeline: it is all Unknown.
pub(crate) async fn ask(cx: &Context, url: &Url, budget: Budget) -> Result<Told, Outcome> {
    // Half of the time is Loki's.
    let half = budget.timeout() / 2;
    let budget = Budget { start: budget.start, own: budget.start + half / 2, end: budget.start + half };
    let unreachable = |outcome: Outcome| AGENT_UNREACHABLE.because(outcome.evidence().as_str());
    let reply = fetch::get(&cx.clients, &below(url, &["v1", "head"]), HeaderMap::new(), budget).await.map_err(unreachable)?;
    if reply.status.as_u16() != 200 {
        return Err(AGENT_UNREACHABLE.because(reply.quote()));
    }
    let document = reply.json().map_err(unreachable)?;
    let head = serde_json::from_value::<Head>(document)
        .map_err(|error| AGENT_UNREACHABLE.because(format!("no agent's head: {error} in {}", reply.quote())))?;
    let told = told(&head).ok_or_else(|| AGENT_CONFUSED.because(reply.quote()))?;
    let answered = millis(cx.now).saturating_add(span(budget.start.elapsed().saturating_sub(reply.took / 2)));
    Ok(Told { skew: told.now.saturating_sub(answered), ..told })
}

/// None: it contradicts itself.
fn told(head: &Head) -> Option<Told> {
    let Head { node, boot, first, last, last_at, failed, now, every_ms, unread_ms, trouble } = head;
    let named = !node.trim().is_empty() && node.len() <= MAX_NODE && !node.chars().any(char::is_control);
    let counted = *first == (*last).min(1) && last_at.is_some() == (*last > 0);
    let paced = (1..=MAX_EVERY).contains(every_ms);
    let timed = now.timestamp_nanos_opt().is_some()
        && last_at.is_none_or(|at| at.timestamp_nanos_opt().is_some() && at.signed_duration_since(now) < TimeDelta::minutes(1));
    (named && counted && paced && timed).then(|| Told {
        node: node.clone(),
        boot: *boot,
        last: *last,
        last_at: last_at.map(millis),
        failed: *failed,
        now: millis(*now),
        every: span(Duration::from_millis(*every_ms)),
        unread: span(Duration::from_millis(*unread_ms)),
        trouble: trouble.as_ref().map(|words| words.chars().take(MAX_TROUBLE).collect()),
        skew: 0,
    })
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn head() -> Head {
        let now = DateTime::from_timestamp_millis(1_795_373_889_052).unwrap();
        let last_at = Some(now - TimeDelta::milliseconds(300));
        Head {
            node: "node-1".into(),
            boot: Boot(7),
            first: 1,
            last: 9,
            last_at,
            failed: 0,
            now,
            every_ms: 1000,
            unread_ms: 0,
            trouble: None,
        }
    }

    #[test]
    fn a_head_that_contradicts_itself_is_none() {
        assert!(told(&head()).is_some());
        assert!(told(&Head { first: 0, last: 0, last_at: None, ..head() }).is_some());
        let far = DateTime::from_timestamp(1 << 40, 0).unwrap();
        for wrong in [
            Head { node: " ".into(), ..head() },
            Head { node: "x".repeat(MAX_NODE + 1), ..head() },
            Head { node: "a\nb".into(), ..head() },
            Head { first: 2, ..head() },
            Head { last: 0, ..head() },
            Head { last_at: None, ..head() },
            Head { every_ms: 0, ..head() },
            Head { every_ms: u64::MAX, ..head() },
            Head { now: far, ..head() },
            Head { now: far, last_at: Some(far), ..head() },
            Head { last_at: Some(head().now + TimeDelta::hours(1)), ..head() },
        ] {
            assert_eq!(told(&wrong), None, "{wrong:?}");
        }
    }
}
