//! Reload of the Migration document: on SIGHUP, on request, and when the file's hash changes. A bad file changes nothing but
//! a metric, a log line and `configError` in the status.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use checks::Registry;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::api::{Beats, ConfigStatus};
use crate::config::{self, Config, MAX_DOCUMENT};
use crate::ledger::{CommandError, Ledger};
use crate::metrics::Metrics;

/// How often the file is looked at.
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
    path: PathBuf,
    registry: Registry,
    ledger: Ledger,
    metrics: Metrics,
    beats: Beats,
    configs: watch::Sender<Arc<Config>>,
    requests: Arc<Notify>,
    status: watch::Sender<ConfigStatus>,
    /// The file that was last looked at; none: look again.
    seen: Option<String>,
}

impl Reload {
    pub(crate) fn new(
        path: PathBuf,
        registry: Registry,
        ledger: Ledger,
        metrics: Metrics,
        beats: Beats,
        configs: watch::Sender<Arc<Config>>,
    ) -> Self {
        let hash = configs.borrow().plan.hash.clone();
        let (status, _) = watch::channel(ConfigStatus { hash: Some(hash), error: None });
        let seen = Some(configs.borrow().source.digest.clone());
        metrics.config_reload(true, ledger.clock().now());
        Self { path, registry, ledger, metrics, beats, configs, requests: Arc::default(), status, seen }
    }

    /// Notified, it reloads.
    pub(crate) fn requests(&self) -> Arc<Notify> {
        self.requests.clone()
    }

    /// How the newest document fared.
    pub(crate) fn status(&self) -> watch::Receiver<ConfigStatus> {
        self.status.subscribe()
    }

    async fn reload(&mut self) {
        self.seen = digest(&self.path);
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
        let document = config::load(&self.path, &self.registry).map_err(|errors| Untaken::Refused(errors.to_string()))?;
        self.ledger.configure(document.plan.clone()).await.map_err(|error| match error {
            CommandError::Refused(refusal) => Untaken::Refused(refusal.message),
            CommandError::NotDurable(_) | CommandError::Stopped => Untaken::NotNow(error.to_string()),
        })?;
        self.beats.retain(&document.plan);
        self.configs.send_replace(Arc::new(document));
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
                let now = digest(&reload.path);
                if now.is_some() && now != reload.seen {
                    reload.reload().await;
                }
            }
        }
    }
}

/// The file's hash; none while it can not be read, which is no reason to drop what is in force.
fn digest(path: &std::path::Path) -> Option<String> {
    let size = std::fs::metadata(path).ok()?.len();
    if usize::try_from(size).is_ok_and(|size| size <= MAX_DOCUMENT) {
        return std::fs::read(path).ok().map(|bytes| config::digest(&bytes));
    }
    Some(format!("too large: {size} bytes"))
}
