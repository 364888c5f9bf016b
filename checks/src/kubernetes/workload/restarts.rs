//! Which containers have restarted, and when that was seen.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::counter::words;
use crate::kubernetes::TOO_MANY_OBJECTS;
use crate::kubernetes::kinds::Pod;
use crate::outcome::Outcome;

use super::RESTARTING;

/// Most containers that are remembered.
const MAX_CONTAINERS: usize = 300;

/// What is remembered, by pod and container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Restarts(BTreeMap<String, Count>);

/// The restarts of one container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Count {
    /// Of the pod: another one of the same name counts from its own beginning.
    uid: String,
    restarts: u32,
    /// When it was last seen to rise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rose: Option<DateTime<Utc>>,
}

impl Restarts {
    /// What to remember after this look, and what it means. What is seen for the first time is history.
    pub(super) fn next<'a>(
        &self,
        pods: impl Iterator<Item = (&'a String, &'a Pod)>,
        now: DateTime<Utc>,
        within: Duration,
    ) -> (Self, Outcome) {
        let mut next = BTreeMap::new();
        for (name, pod) in pods {
            for container in &pod.containers {
                let key = format!("{name}/{}", container.name);
                let (uid, restarts) = (pod.identity.uid.clone(), container.restarts);
                let before = self.0.get(&key);
                let rises = before.is_some_and(|before| before.uid == uid && before.restarts < restarts);
                let rose = if rises { Some(now) } else { before.and_then(|before| before.rose) };
                next.insert(key, Count { uid, restarts, rose });
            }
        }
        if next.len() > MAX_CONTAINERS {
            let outcome = TOO_MANY_OBJECTS.because(format!("{} containers; {MAX_CONTAINERS} are remembered at most", next.len()));
            return (Self::default(), outcome);
        }
        let age = |rose: DateTime<Utc>| now.signed_duration_since(rose).to_std().unwrap_or_default();
        let recent: Vec<String> = next
            .iter()
            .filter_map(|(key, count)| {
                let age = count.rose.map(age).filter(|age| *age <= within)?;
                Some(format!("{key} restarted {} ago ({} restarts)", words(age), count.restarts))
            })
            .collect();
        let outcome = if recent.is_empty() {
            let all: u32 = next.values().map(|count| count.restarts).sum();
            Outcome::pass(format!("{} containers, {all} restarts in all, none new within {}", next.len(), words(within)))
        } else {
            RESTARTING.because(recent.join("; "))
        };
        (Self(next), outcome)
    }
}
