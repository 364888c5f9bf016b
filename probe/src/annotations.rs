//! Marks in Grafana: what happens to a phase is annotated there, read from the audit trail as it grows.
//!
//! Nothing of it counts for a verdict, and nothing waits for it. Nothing is kept about it either: after a start, what the trail
//! holds of the last days is looked for in Grafana, and what is missing there is added.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use checks::grafana::annotations::Trouble;
use checks::{Clients, engine_reasons as why};
use chrono::{DateTime, Utc};
use futures::FutureExt;
use futures::future::join_all;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::config::{AnnotationSpec, Config};
use crate::ledger::Ledger;
use crate::metrics::Metrics;

mod book;
mod words;

use book::Book;

/// How soon something that happened is seen.
const LOOK: Duration = Duration::from_secs(2);
/// When all is given up that one mark takes, whatever holds it up.
const LIMIT: Duration = Duration::from_secs(15);

/// How the marks in one Grafana fare.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// The target.
    pub target: String,
    /// Events that are known to be marked there, by this process or one before it.
    pub marked: u64,
    /// Events that are not marked yet, as far as the trail was read.
    pub waiting: usize,
    /// Calls that failed.
    pub failures: u64,
    /// When Grafana last showed that it takes marks.
    pub proven: Option<DateTime<Utc>>,
    /// What stands in the way.
    pub problem: Option<Standstill>,
}

/// What keeps marks from being made.
#[derive(Debug, Clone, PartialEq)]
pub struct Standstill {
    /// Why, what was seen, what to do.
    pub trouble: Trouble,
    /// Since when it is for this reason.
    pub since: DateTime<Utc>,
}

/// What marks are made with.
struct Tools {
    ledger: Ledger,
    clients: Clients,
}

/// The one who makes them, before it runs.
pub(crate) struct Annotator {
    tools: Tools,
    metrics: Metrics,
    configs: watch::Receiver<Arc<Config>>,
    standings: watch::Sender<Vec<Standing>>,
    books: Vec<Book>,
}

impl Annotator {
    pub(crate) fn new(ledger: Ledger, clients: Clients, metrics: Metrics, configs: watch::Receiver<Arc<Config>>) -> Self {
        let tools = Tools { ledger, clients };
        let mut annotator = Self { tools, metrics, configs, standings: watch::Sender::default(), books: Vec::new() };
        annotator.follow();
        annotator.publish();
        annotator
    }

    /// How they fare, target by target.
    pub(crate) fn standings(&self) -> watch::Receiver<Vec<Standing>> {
        self.standings.subscribe()
    }

    /// Keeps the books of what the document still names, and opens those that are new. A Grafana that was decommissioned has none.
    fn follow(&mut self) {
        let config = self.configs.borrow_and_update().clone();
        let reading = self.tools.ledger.read();
        let removed = &reading.snapshot.state.durable.removals;
        let wanted = config.annotations.iter().filter(|spec| !removed.contains_key(spec.grafana.as_str()));
        let mut old = std::mem::take(&mut self.books);
        let mut book = |spec: &AnnotationSpec| {
            let kept = old.iter().position(|book| book.is_for(spec, &config.plan.migration));
            kept.map_or_else(|| Book::new(spec.clone(), config.plan.migration.clone()), |at| old.swap_remove(at))
        };
        self.books = wanted.map(&mut book).collect();
    }

    fn publish(&self) {
        let standings: Vec<Standing> = self.books.iter().map(Book::standing).collect();
        self.metrics.annotations(&standings);
        self.standings.send_if_modified(|shown| {
            let changed = *shown != standings;
            *shown = standings;
            changed
        });
    }

    /// One look at the trail, and what comes of it.
    async fn round(&mut self) {
        self.follow();
        let tools = &self.tools;
        join_all(self.books.iter_mut().map(|book| book.round(tools))).await;
        self.publish();
    }
}

/// Marks what happens until it is told to stop.
pub(crate) async fn run(mut annotator: Annotator, stop: CancellationToken) {
    let rounds = async {
        loop {
            annotator.round().await;
            sleep(LOOK).await;
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = rounds => {}
    }
}

/// Calls Grafana, whatever becomes of that: what panics or hangs here must not end the verifier.
async fn guarded<T>(call: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    let trouble = |reason: checks::ReasonSpec, evidence: &str| Trouble {
        reason: reason.into(),
        evidence: evidence.to_owned(),
        next: reason.next.to_owned(),
        alone: false,
    };
    match timeout(LIMIT, AssertUnwindSafe(call).catch_unwind()).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_panic)) => Err(trouble(why::PANIC, "the call of Grafana panicked")),
        Err(_elapsed) => Err(trouble(why::HUNG, "the call of Grafana did not come back")),
    }
}
