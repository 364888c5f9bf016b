//! Reload of the Migration document: on SIGHUP, on request, and when its hash changes. A bad file changes nothing but
//! a metric, a log line and `configError` in the status.

use std::sync::Arc;
use std::time::Duration;

use checks::Registry;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::api::{Beats, ConfigStatus};
use crate::config::Config;
use crate::ledger::{CommandError, Ledger};
use crate::metrics::Metrics;
use crate::source::Source;

/// How often its source is looked at.
const LOOK: Duration = Duration::from_secs(10);

/// Why a document is not in force.
enum Untaken {
    /// It is wrong; another one has to come.
    Refused(String),
    /// The ledger could not take it now; the same one is tried again.
    NotNow(String),
}

/// The reloader, before it runs.
pub(crate) struct Reload {
    source: Source,
    registry: Registry,
    ledger: Ledger,
    metrics: Metrics,
    beats: Beats,
    configs: watch::Sender<Arc<Config>>,
    requests: Arc<Notify>,
    status: watch::Sender<ConfigStatus>,
    /// Of the custom resource, as far as it is in force.
    generation: watch::Sender<Option<i64>>,
    /// What was last looked at; none: look again.
    seen: Option<String>,
}

impl Reload {
    pub(crate) fn new(
        source: Source,
        tools: (Registry, Ledger, Metrics, Beats),
        (configs, generation): (watch::Sender<Arc<Config>>, Option<i64>),
    ) -> Self {
        let (registry, ledger, metrics, beats) = tools;
        let hash = configs.borrow().plan.hash.clone();
        let (status, _) = watch::channel(ConfigStatus { hash: Some(hash), error: None });
        let (seen, (generation, _)) = (source.digest(), watch::channel(generation));
        metrics.config_reload(true, ledger.clock().now());
        Self { source, registry, ledger, metrics, beats, configs, requests: Arc::default(), status, generation, seen }
    }

    /// Notified, it reloads.
    pub(crate) fn requests(&self) -> Arc<Notify> {
        self.requests.clone()
    }

    /// How the newest document fared.
    pub(crate) fn status(&self) -> watch::Receiver<ConfigStatus> {
        self.status.subscribe()
    }

    /// Which generation of a custom resource is in force.
    pub(crate) fn generation(&self) -> watch::Receiver<Option<i64>> {
        self.generation.subscribe()
    }

    async fn reload(&mut self) {
        self.seen = self.source.digest();
        let result = self.take().await;
        if matches!(&result, Err(Untaken::NotNow(_))) {
            self.seen = None;
        }
        let result = result.map_err(|untaken| match untaken {
            Untaken::Refused(words) | Untaken::NotNow(words) => words,
        });
        self.metrics.config_reload(result.is_ok(), self.ledger.clock().now());
        match &result {
            Ok(()) => tracing::info!(config.hash = self.configs.borrow().plan.hash, "document reloaded"),
            Err(error) => tracing::error!("document not taken, the old one stays in force: {error}"),
        }
        let hash = Some(self.configs.borrow().plan.hash.clone());
        self.status.send_replace(ConfigStatus { hash, error: result.err() });
    }

    async fn take(&self) -> Result<(), Untaken> {
        let read = self.source.load(&self.registry).map_err(|errors| Untaken::Refused(errors.to_string()))?;
        let document = read.config;
        self.ledger.configure(document.plan.clone()).await.map_err(|error| match error {
            CommandError::Refused(refusal) => Untaken::Refused(refusal.message),
            CommandError::NotDurable(_) | CommandError::Stopped => Untaken::NotNow(error.to_string()),
        })?;
        self.beats.retain(&document.plan);
        self.configs.send_replace(Arc::new(document));
        self.generation.send_replace(read.generation);
        Ok(())
    }
}

/// Reloads when asked to, until it is told to stop.
pub(crate) async fn run(mut reload: Reload, stop: CancellationToken) -> std::io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let requests = reload.requests.clone();
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            _ = hangup.recv() => reload.reload().await,
            () = requests.notified() => reload.reload().await,
            _ = look.tick() => {
                let now = reload.source.digest();
                if now.is_some() && now != reload.seen {
                    reload.reload().await;
                }
            }
        }
    }
}
