//! `phasegate_*`: what the verifier exposes to Prometheus.
//!
//! What is state (colours, verdicts, phases, soak) is read from the Snapshot at the moment of the scrape, so a series exists
//! for each configured probe from the first scrape on and goes when the document no longer names it. What only grows is
//! counted here as it happens.

mod scrape;
pub(crate) mod sheet;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use checks::{Colour, MAX_MEASURES, Measure, Outcome, PartId, Reason, Registry};
use parking_lot::Mutex;
use prometheus_client::encoding::text;
use prometheus_client::metrics::histogram::Histogram;

use crate::annotations::Standing;
use crate::audit::Head;
use crate::ledger::Reading;
use crate::now::Now;
use crate::plan::{Plan, ProbeName, ProbePlan};
use crate::state::RunRecord;
use crate::store::StoreError;

/// Upper bounds of `probe_duration_seconds`.
const DURATIONS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Upper bounds of `scheduler_lag_seconds`.
const LAGS: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];
/// Upper bounds of `probe_latency_seconds`.
const LATENCIES: [f64; 13] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];
/// The measure that goes into it.
const LATENCY: &str = "latency_seconds";
/// Most parts of one probe that have such a histogram.
const MAX_LATENCIES: usize = 100;
/// More different reasons of one probe are counted as [`OTHER`].
const MAX_REASONS: usize = 64;
/// The label of reasons past [`MAX_REASONS`].
const OTHER: &str = "other";
/// The values of the label `outcome`, in the order of [`Tally::runs`].
const OUTCOMES: [&str; 5] = ["pass", "fail", "unknown", "waiting", "progress"];

/// The exposition could not be written. Nothing of it may be served then.
#[derive(Debug, thiserror::Error)]
#[error("the metrics can not be encoded")]
pub struct RenderError(#[from] fmt::Error);

/// Counts what happens, and renders it together with the state. Cheap to clone; all clones count together.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    tallies: Arc<Mutex<BTreeMap<ProbeName, Tally>>>,
    engine: Arc<Mutex<Engine>>,
    /// By kind of check, the reasons whose counters start at zero.
    reasons: Arc<BTreeMap<&'static str, Vec<&'static str>>>,
}

/// What was counted for one probe.
#[derive(Debug, Clone)]
struct Tally {
    runs: [u64; OUTCOMES.len()],
    failures: BTreeMap<String, u64>,
    durations: Histogram,
    values: BTreeMap<(PartId, &'static str), f64>,
    latencies: BTreeMap<PartId, Histogram>,
}

impl Default for Tally {
    fn default() -> Self {
        let durations = Histogram::new(DURATIONS);
        let (failures, values, latencies) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { runs: [0; OUTCOMES.len()], failures, durations, values, latencies }
    }
}

/// What was counted of the verifier itself.
#[derive(Debug, Clone)]
struct Engine {
    queue: usize,
    persist_failures: u64,
    persisted: Option<Now>,
    /// The newest event that is no longer kept.
    dropped: u64,
    reloaded: bool,
    reload_success: Option<Now>,
    lag: Histogram,
    annotations: Vec<Standing>,
}

impl Default for Engine {
    fn default() -> Self {
        let lag = Histogram::new(LAGS);
        let (persisted, reload_success, annotations) = (None, None, Vec::new());
        Self { queue: 0, persist_failures: 0, persisted, dropped: 0, reloaded: false, reload_success, lag, annotations }
    }
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, knowing which reasons the checks can give: their counters are exposed from the first scrape, at zero.
    #[must_use]
    pub fn with_checks(mut self, registry: &Registry) -> Self {
        let reasons = |entry: &checks::Entry| {
            let counted = entry.meta.reasons().filter(|spec| spec.colour != Colour::Waiting);
            (entry.meta.kind, counted.map(|spec| spec.name).collect())
        };
        self.reasons = Arc::new(registry.iter().map(reasons).collect());
        self
    }

    /// How many messages wait for the ledger's writer.
    pub fn ledger_queue(&self, depth: usize) {
        self.engine.lock().queue = depth;
    }

    /// The ledger was written.
    pub fn persisted(&self, at: Now) {
        self.engine.lock().persisted = Some(at);
    }

    /// The ledger could not be written.
    pub fn persist_failed(&self, error: &StoreError) {
        let mut engine = self.engine.lock();
        engine.persist_failures = engine.persist_failures.saturating_add(1);
        tracing::debug!(%error, "a write of the ledger failed");
    }

    /// The audit trail begins after this event; none: all of it is kept.
    pub(crate) fn trail_begins(&self, anchor: Option<&Head>) {
        self.engine.lock().dropped = anchor.map_or(0, |anchor| anchor.seq);
    }

    /// A Run started this much later than it was due.
    pub fn scheduler_lag(&self, lag: Duration) {
        self.engine.lock().lag.observe(lag.as_secs_f64());
    }

    /// How annotations fare, in each Grafana that the document names for them.
    pub fn annotations(&self, standings: &[Standing]) {
        self.engine.lock().annotations = standings.to_vec();
    }

    /// A document was read again: whether it is in force now.
    pub fn config_reload(&self, ok: bool, at: Now) {
        let mut engine = self.engine.lock();
        engine.reloaded = ok;
        if ok {
            engine.reload_success = Some(at);
        }
    }

    /// The numbers of a probe's newest Run take the place of the former ones. Not finite ones are dropped.
    pub fn measures(&self, probe: &ProbePlan, measures: &[Measure]) {
        let finite = measures.iter().filter(|measure| measure.value.is_finite()).take(MAX_MEASURES);
        let values = finite.map(|measure| ((measure.part.clone(), measure.name), measure.value)).collect();
        let mut tallies = self.tallies.lock();
        let tally = tallies.entry(probe.name.clone()).or_default();
        tally.values = values;
        let latencies = measures.iter().filter(|measure| measure.name == LATENCY && measure.value.is_finite());
        for Measure { part, value, .. } in latencies {
            if tally.latencies.contains_key(part) || tally.latencies.len() < MAX_LATENCIES {
                tally.latencies.entry(part.clone()).or_insert_with(|| Histogram::new(LATENCIES)).observe(*value);
            }
        }
    }

    /// A Run was taken in.
    pub(crate) fn run_observed(&self, probe: &ProbeName, run: &RunRecord) {
        let mut tallies = self.tallies.lock();
        let tally = tallies.entry(probe.clone()).or_default();
        let label = if run.progress.is_some() { "progress" } else { run.outcome.label() };
        if let Some(runs) = OUTCOMES.iter().position(|outcome| *outcome == label).and_then(|at| tally.runs.get_mut(at)) {
            *runs = runs.saturating_add(1);
        }
        tally.durations.observe(run.finished.t.since(run.started.t).as_secs_f64());
        match &run.outcome {
            Outcome::Fail { reason, .. } | Outcome::Unknown { reason, .. } => tally.failed(reason),
            Outcome::Pass { .. } | Outcome::Waiting { .. } => {}
        }
    }

    /// Forgets probes that the document no longer names.
    pub(crate) fn retain(&self, plan: &Plan) {
        self.tallies.lock().retain(|name, _| plan.probe(name).is_some());
    }

    /// The whole exposition, as it is at the moment of this reading: OpenMetrics, or the classic text format.
    ///
    /// # Errors
    /// When it can not be encoded; no part of it is to be served then.
    pub fn render(&self, reading: &Reading, accept_openmetrics: bool) -> Result<String, RenderError> {
        let mut registry = prometheus_client::registry::Registry::with_prefix("phasegate");
        registry.register_collector(Box::new(scrape::Scrape::new(self, reading, !accept_openmetrics)));
        let mut body = String::new();
        text::encode_registry(&mut body, &registry)?;
        if accept_openmetrics {
            text::encode_eof(&mut body)?;
        }
        Ok(body)
    }
}

impl Tally {
    fn failed(&mut self, reason: &Reason) {
        let known = self.failures.contains_key(reason.as_str()) || self.failures.len() < MAX_REASONS;
        let label = if known { reason.as_str() } else { OTHER };
        let count = self.failures.entry(label.to_owned()).or_default();
        *count = count.saturating_add(1);
    }
}

#[cfg(test)]
mod tests;
