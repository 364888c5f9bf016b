//! Whether nodes live, by their Leases.
//!
//! That a pod is Ready is its kubelet's word, and stands in the API until somebody changes it: after a node froze, for 40 s; while
//! the API server can not write, for ever. A kubelet renews its node's Lease every ten seconds. So a pod counts for as long as its
//! node's Lease is seen renewed, by the verifier's own clock: what the Lease says of time is the node's, and is compared with
//! nothing but itself.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use crate::check::Context;
use crate::net::Budget;
use crate::outcome::Outcome;

use super::kinds::{Leases, Renewal};
use super::rule::{Reach, Rule};
use super::watch::{Scope, Sight};
use super::{NO_NEWS, NODE_AWAITED, NODE_SILENT};

/// Where kubelets keep their Leases.
const NAMESPACE: &str = "kube-node-lease";
/// The rule that it takes.
pub(crate) const RULE: Rule = Rule::watch("coordination.k8s.io", &["leases"], Reach::In(NAMESPACE));
/// A Lease counts as renewed for its own duration; this one is a kubelet's, and that of Kubernetes' controllers.
pub(crate) const RENEWED_WITHIN: Duration = Duration::from_secs(40);

/// How much later than a silent node's Lease another one must have been renewed, so that the node is to blame: kubelets renew every
/// ten seconds, so Leases that all stop at once differ by about that.
const LATER: Duration = Duration::from_secs(20);

/// The nodes' Leases at the time of one look.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    leases: Sight<Renewal>,
    now: Instant,
    wall: DateTime<Utc>,
}

impl Life {
    /// Looks at all nodes' Leases.
    pub(crate) async fn see(cx: &Context, budget: Budget) -> Result<Self, Outcome> {
        let leases = cx.clients.cluster.see::<Leases>(cx, Scope::within(NAMESPACE), budget).await?;
        Ok(Self { leases, now: Instant::now(), wall: cx.now })
    }

    fn heard(&self, renewal: &Renewal) -> bool {
        renewal.last.is_some_and(|last| self.now.saturating_duration_since(last) <= RENEWED_WITHIN)
    }

    /// Whether any kubelet is heard: then news come through, and what is not heard is silent itself.
    pub(crate) fn any(&self) -> Result<(), Outcome> {
        if self.leases.values().any(|renewal| self.heard(renewal)) {
            return Ok(());
        }
        let first = self.leases.values().map(|renewal| renewal.first).max();
        match first.map(|first| self.now.saturating_duration_since(first)) {
            Some(age) if age <= RENEWED_WITHIN => Err(self.awaited("a node", age)),
            _ => Err(NO_NEWS.because(format!("of {} Leases none was renewed within {RENEWED_WITHIN:?}", self.leases.len()))),
        }
    }

    fn awaited(&self, what: &str, age: Duration) -> Outcome {
        let left = TimeDelta::from_std(RENEWED_WITHIN.saturating_sub(age)).unwrap_or_default();
        NODE_AWAITED.until(self.wall + left, format!("{what}: its Lease has not been seen renewed yet"))
    }

    /// Whether this node lives.
    pub(crate) fn of(&self, node: &str) -> Result<(), Outcome> {
        let Some(renewal) = self.leases.get(node) else {
            self.any()?;
            return Err(NODE_SILENT.because(format!("{node}: no Lease in {NAMESPACE}")));
        };
        if self.heard(renewal) {
            return Ok(());
        }
        let since = renewal.last.unwrap_or(renewal.first);
        let age = self.now.saturating_duration_since(since);
        if renewal.last.is_none() && age <= RENEWED_WITHIN {
            return Err(self.awaited(node, age));
        }
        self.any()?;
        let words = format!("{node}: its Lease was not renewed for {} s", age.as_secs());
        let later = |other: &Renewal| other.last.is_some_and(|last| last >= since + LATER);
        if self.leases.values().any(|other| later(other)) {
            Err(NODE_SILENT.because(format!("{words}, others were")))
        } else {
            Err(NO_NEWS.because(format!("{words}, and no other since then")))
        }
    }

    #[cfg(test)]
    pub(crate) fn of_test(leases: &[(&str, Duration, Option<Duration>)]) -> Self {
        let now = Instant::now() + Duration::from_hours(1);
        let lease = |(name, first, last): &(&str, Duration, Option<Duration>)| {
            let renewal = Renewal::of_test(now - *first, last.map(|last| now - last));
            ((*name).to_owned(), std::sync::Arc::new(renewal))
        };
        Self { leases: std::sync::Arc::new(leases.iter().map(lease).collect()), now, wall: DateTime::UNIX_EPOCH }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn said(result: Result<(), Outcome>) -> String {
        result.map_or_else(|outcome| outcome.reason().unwrap().to_string(), |()| "lives".to_owned())
    }

    #[test]
    fn a_node_lives_while_its_lease_is_seen_renewed() {
        let life = Life::of_test(&[
            ("well", SECOND * 300, Some(SECOND * 9)),
            ("frozen", SECOND * 300, Some(SECOND * 41)),
            ("new", SECOND * 5, None),
            ("dead", SECOND * 41, None),
        ]);
        let names = ["well", "frozen", "new", "dead", "none"];
        assert_eq!(names.map(|name| said(life.of(name))), ["lives", "node_silent", "node_awaited", "node_silent", "node_silent"]);
    }

    #[test]
    fn without_any_news_no_node_is_to_blame() {
        let life = Life::of_test(&[("one", SECOND * 300, Some(SECOND * 41)), ("other", SECOND * 300, Some(SECOND * 50))]);
        assert_eq!([said(life.of("one")), said(life.of("none")), said(life.any())], ["no_news"; 3]);
        // All have stopped at once, and one is the first to be overdue.
        let life = Life::of_test(&[("one", SECOND * 300, Some(SECOND * 41)), ("other", SECOND * 300, Some(SECOND * 32))]);
        assert_eq!([said(life.of("one")), said(life.of("other"))], ["no_news", "lives"]);
        let life = Life::of_test(&[]);
        assert_eq!(said(life.any()), "no_news");
    }
}
