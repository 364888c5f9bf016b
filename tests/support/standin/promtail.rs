//! A stand-in for Promtail.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;

use super::collector::{Collector, Flaws, Pipeline, Positions, REASONS};
use super::front::{Front, Mood};
use super::journal::StandinJournal;
use super::reply::{Exposition, Reply, not_found, text};

/// A stand-in for Promtail: it ships a journal to a Loki, without a label `agent`. It stops when it is dropped.
#[derive(Debug)]
pub struct StandinPromtail {
    collector: Arc<Collector>,
    front: Front,
}

impl StandinPromtail {
    /// Starts one that ships a journal to the Loki at this base URL.
    ///
    /// # Errors
    /// No port is free, or the URL is none.
    pub fn start(journal: &StandinJournal, loki: &str) -> Result<Self> {
        let labels = [("job", "systemd-journal"), ("repo", "homelab")];
        let labels: BTreeMap<_, _> = labels.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let collector = Arc::new(Collector::start(journal, &[loki], Pipeline { labels, keep: None })?);
        let app = Router::new()
            .route("/ready", get(async || text(StatusCode::OK, "Ready")))
            .route("/metrics", get(metrics))
            .fallback(async || not_found())
            .with_state(Arc::clone(&collector));
        Ok(Self { collector, front: Front::start(app)? })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.front.address()
    }

    /// Its base URL, without a slash at the end.
    pub fn url(&self) -> String {
        self.front.url()
    }

    /// Changes how it treats whoever connects; open connections are closed. It ships all the same.
    ///
    /// # Errors
    /// Its port can not be opened again.
    pub async fn set_mood(&self, mood: Mood) -> Result<()> {
        self.front.set_mood(mood).await
    }

    /// What is wrong with it.
    pub fn set_flaws(&self, flaws: Flaws) {
        self.collector.set_flaws(flaws);
    }

    /// Keeps only lines whose identifier starts with one of these; none: all.
    pub fn set_keep(&self, identifiers: Option<&[&str]>) {
        self.collector.set_keep(identifiers);
    }

    /// Stops and starts it.
    pub fn restart(&self, positions: Positions) {
        self.collector.restart(positions);
    }

    /// How many lines it says that it has sent.
    pub fn sent(&self) -> u64 {
        self.collector.tally().targets.iter().map(|(_, sent)| sent.entries).sum()
    }
}

async fn metrics(State(collector): State<Arc<Collector>>) -> Reply {
    let tally = collector.tally();
    let mut page = Exposition::default();
    page.counter("promtail_batch_retries_total", "Number of times batches has had to be retried.");
    for (host, sent) in &tally.targets {
        page.sample(&[("host", host), ("tenant", "")], sent.retries);
    }
    page.gauge("promtail_build_info", "A metric with a constant '1' value labeled by version.").sample(
        &[
            ("branch", ""),
            ("goarch", "amd64"),
            ("goos", "linux"),
            ("goversion", "go1.24"),
            ("revision", "unknown"),
            ("tags", "promtail_journal_enabled"),
            ("version", ""),
        ],
        1,
    );
    page.counter(
        "promtail_dropped_entries_total",
        "Number of log entries dropped because failed to be sent to the ingester after all retries.",
    );
    for (host, sent) in &tally.targets {
        for reason in REASONS {
            let (entries, _) = sent.dropped.get(reason).copied().unwrap_or_default();
            page.sample(&[("host", host), ("reason", reason), ("tenant", "")], entries);
        }
    }
    page.counter("promtail_journal_target_lines_total", "Total number of successful journal lines read")
        .sample(&[], tally.lines - tally.filtered);
    page.histogram("promtail_request_duration_seconds", "Duration of send requests.");
    for (host, sent) in &tally.targets {
        for (status, count) in &sent.requests {
            let labels = [("host", host.as_str()), ("status_code", &status.to_string())];
            page.other("promtail_request_duration_seconds_count", &labels, count);
        }
    }
    page.counter("promtail_sent_entries_total", "Number of log entries sent to the ingester.");
    for (host, sent) in &tally.targets {
        page.sample(&[("host", host)], sent.entries);
    }
    page.reply()
}
