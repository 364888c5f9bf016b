//! The counters along the way, as Alloy and Loki serve them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::alloy::{self, ANSWERS, DROPPED, GIVEN_UP, JOURNAL_LINES as READ, SENT, answer};
use crate::check::Context;
use crate::loki::{self, BUILD, DISCARDS, RECEIVED};
use crate::net::exposition::{Page, Sample};
use crate::net::{Budget, below};
use crate::outcome::Outcome;
use crate::target::LokiTarget;

const UNWANTED: &str = "loki_source_journal_target_parsing_errors_total";

/// Most names that are told apart of each kind, and how long one may be.
const MAX_NAMES: usize = 8;
const MAX_NAME: usize = 64;

/// Counts by name.
pub(crate) type ByName = BTreeMap<String, f64>;

/// How much a counter has risen; one that fell has begun anew.
pub(crate) fn rise(before: f64, after: f64) -> f64 {
    if after < before { after } else { after - before }
}

/// What has risen, with its names: `match_stage ×12`.
pub(crate) fn words(before: &ByName, after: &ByName) -> String {
    let risen = after.iter().map(|(name, after)| (name, rise(before.get(name).copied().unwrap_or_default(), *after)));
    let words: Vec<_> = risen.filter(|(_, rise)| *rise > 0.0).map(|(name, rise)| format!("{name} ×{rise}")).collect();
    words.join(", ")
}

/// What one Alloy says of the lines that pass through it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct AlloyCounts {
    /// Read from journals, before any rule.
    #[serde(rename = "r")]
    pub(crate) read: f64,
    /// Dropped on purpose, by reason.
    #[serde(rename = "d")]
    pub(crate) dropped: ByName,
    /// Delivered, by the host and port they went to.
    #[serde(rename = "s")]
    pub(crate) sent: ByName,
    /// Given up, by reason.
    #[serde(rename = "g")]
    pub(crate) lost: ByName,
    /// Requests that were not answered well, by what came instead.
    #[serde(rename = "f")]
    pub(crate) failed: ByName,
}

impl AlloyCounts {
    /// Asks one Alloy.
    pub(crate) async fn ask(cx: &Context, base: &Url, budget: Budget) -> Result<Self, Outcome> {
        let page = alloy::metrics(cx, base, budget, &[READ, UNWANTED, DROPPED, SENT, GIVEN_UP, ANSWERS]).await?;
        let mut dropped = by_label(&page, DROPPED, "reason", |_| true)?;
        // Alloy calls a line that the rules of its journal reader leave out an error.
        let unwanted = page.sum(UNWANTED, |sample| sample.labels.get("error").is_some_and(|error| error == "empty_labels"))?;
        if unwanted > 0.0 {
            dropped.insert("rules of the journal reader".to_owned(), unwanted);
        }
        let well = |sample: &Sample| sample.labels.get("status_code").is_some_and(|status| status.starts_with('2'));
        let failed = by_label(&page, ANSWERS, "status_code", |sample| !well(sample))?;
        let failed = failed.into_iter().map(|(status, count)| (answer(&status), count)).collect();
        Ok(Self {
            read: page.sum(READ, |_| true)?,
            dropped,
            sent: by_label(&page, SENT, "host", |_| true)?,
            lost: by_label(&page, GIVEN_UP, "reason", |_| true)?,
            failed,
        })
    }

    /// Where it delivers to.
    pub(crate) fn hosts(&self) -> Vec<String> {
        if self.sent.is_empty() { vec!["any Loki".to_owned()] } else { self.sent.keys().cloned().collect() }
    }

    /// How many lines it has delivered from then until `later`.
    pub(crate) fn sent_until(&self, later: &Self) -> f64 {
        risen(&self.sent, &later.sent)
    }

    /// How many lines it has dropped from then until `later`.
    pub(crate) fn dropped_until(&self, later: &Self) -> f64 {
        risen(&self.dropped, &later.dropped)
    }

    /// What came instead of good answers since its start.
    pub(crate) fn failures(&self) -> Option<String> {
        let words = words(&ByName::new(), &self.failed);
        (!words.is_empty()).then_some(words)
    }
}

/// What Loki says of the lines that it is sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LokiCounts {
    /// Received, before it looks at them.
    #[serde(rename = "r")]
    pub(crate) received: f64,
    /// Thrown away, by reason.
    #[serde(rename = "d")]
    pub(crate) discards: ByName,
}

impl LokiCounts {
    /// Asks a Loki itself; a gateway does not serve this.
    pub(crate) async fn ask(cx: &Context, target: &LokiTarget, budget: Budget) -> Result<Self, Outcome> {
        let reply = loki::get(cx, target, &below(&target.url, &["metrics"]), budget).await?;
        let page = Page::read(&reply, &[BUILD, RECEIVED, DISCARDS])?;
        let tenant = target.tenant.as_deref();
        let ours = |sample: &Sample| loki::is_ours(tenant, sample);
        Ok(Self { received: loki::received(&page, tenant)?, discards: by_label(&page, DISCARDS, "reason", ours)? })
    }
}

fn risen(before: &ByName, after: &ByName) -> f64 {
    after.iter().map(|(name, after)| rise(before.get(name).copied().unwrap_or_default(), *after)).sum()
}

/// A metric's counts by one of its labels; zeros, and more names than are told apart, are left out.
fn by_label(page: &Page, metric: &str, label: &str, keep: impl Fn(&Sample) -> bool) -> Result<ByName, Outcome> {
    let mut counts = ByName::new();
    for sample in page.all(metric).filter(|sample| keep(sample)) {
        let name: String = sample.labels.get(label).map(String::as_str).unwrap_or("?").chars().take(MAX_NAME).collect();
        let count = page.count(sample)?;
        if count > 0.0 && (counts.contains_key(&name) || counts.len() < MAX_NAMES) {
            *counts.entry(name).or_default() += count;
        }
    }
    Ok(counts)
}
