//! What people and runs did.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::text::{clip, moment, table, visible};
use super::{Case, Show, value};
use crate::audit::Head;
use crate::gate::Verdict;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Deed {
    /// Its place in the trail.
    pub(crate) seq: u64,
    /// When.
    pub(crate) at: DateTime<Utc>,
    /// Who; `verifier` when nobody did.
    pub(crate) by: String,
    /// In words.
    pub(crate) what: String,
    /// The event's name.
    pub(crate) kind: String,
    /// The event as it was written.
    pub(crate) event: Value,
}

/// Some of what happened, the newest last.
pub(crate) struct Deeds<'a> {
    pub(crate) deeds: &'a [Deed],
    pub(crate) head: &'a Head,
}

impl Show for Deeds<'_> {
    fn body(&self) -> Value {
        let deed = |deed: &Deed| json!({"seq": deed.seq, "at": deed.at, "by": deed.by, "what": deed.what, "event": deed.event});
        json!({"events": self.deeds.iter().map(deed).collect::<Vec<_>>(), "head": value(self.head)})
    }

    fn lines(&self, wide: bool) -> Vec<String> {
        let row = |deed: &Deed| vec![moment(deed.at), visible(&deed.by), clipped(&visible(&deed.what), wide)];
        if self.deeds.is_empty() {
            return Vec::new();
        }
        table(&["WHEN", "WHO", "WHAT"], self.deeds.iter().map(row).collect())
    }

    fn names(&self) -> Vec<String> {
        self.deeds.iter().map(|deed| deed.seq.to_string()).collect()
    }

    fn cases(&self) -> (String, Vec<Case>) {
        let case = |deed: &Deed| Case {
            name: format!("{} {}", deed.seq, visible(&deed.kind)),
            grade: Verdict::Open,
            text: format!("{} {}: {}", moment(deed.at), visible(&deed.by), visible(&deed.what)),
        };
        ("history".to_owned(), self.deeds.iter().map(case).collect())
    }

    fn sum(&self) -> Option<String> {
        let newest = self.deeds.last().map(|deed| {
            let (at, by, what) = (moment(deed.at), visible(&deed.by), visible(&deed.what));
            format!("{} shown, the newest: {at} {by}: {what}", self.deeds.len())
        });
        Some(newest.unwrap_or_else(|| "nothing happened that was asked for".to_owned()))
    }
}

/// A sentence needs more room than a cell.
fn clipped(what: &str, wide: bool) -> String {
    const SENTENCE: usize = 140;
    if wide || what.chars().count() <= SENTENCE {
        return clip(what, true);
    }
    what.chars().take(SENTENCE - 1).chain(['…']).collect()
}
