//! Reload of the Migration document: on SIGHUP, on request, and when the file's hash changes. A bad file changes nothing but
//! a metric, a log line and `configError` in the status.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use checks::Registry;
use sha2::{Digest, Sha256};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config};
use crate::ledger::{CommandError, Ledger};
use crate::metrics::Metrics;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(10);
/// Requests for a reload that may wait.
const QUEUE: usize = 8;

/// Asks for a reload, and tells how the last one went. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ReloadHandle {
    queue: mpsc::Sender<oneshot::Sender<Result<(), String>>>,
    error: watch::Receiver<Option<String>>,
}

impl ReloadHandle {
    /// Reloads now. Err: why the document was not taken; the one in force stays.
    pub async fn reload(&self) -> Result<(), String> {
        let (reply, answer) = oneshot::channel();
        let gone = || "the verifier is shutting down".to_owned();
        self.queue.send(reply).await.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Why the newest document was not taken, while that is so.
    pub fn error(&self) -> Option<String> {
        self.error.borrow().clone()
    }
}

/// The reloader, before it runs.
pub(crate) struct Reload {
    path: PathBuf,
    registry: Registry,
    ledger: Ledger,
    metrics: Metrics,
    configs: watch::Sender<Arc<Config>>,
    requests: mpsc::Receiver<oneshot::Sender<Result<(), String>>>,
    error: watch::Sender<Option<String>>,
    handle: ReloadHandle,
    seen: Option<[u8; 32]>,
}

impl Reload {
    pub(crate) fn new(
        path: PathBuf,
        registry: Registry,
        ledger: Ledger,
        metrics: Metrics,
        configs: watch::Sender<Arc<Config>>,
    ) -> Self {
        let (queue, requests) = mpsc::channel(QUEUE);
        let (error, last) = watch::channel(None);
        let handle = ReloadHandle { queue, error: last };
        let seen = digest(&path);
        metrics.config_reload(true, ledger.clock().now());
        Self { path, registry, ledger, metrics, configs, requests, error, handle, seen }
    }

    pub(crate) fn handle(&self) -> ReloadHandle {
        self.handle.clone()
    }

    async fn reload(&mut self) -> Result<(), String> {
        self.seen = digest(&self.path);
        let result = self.take().await;
        self.metrics.config_reload(result.is_ok(), self.ledger.clock().now());
        match &result {
            Ok(()) => tracing::info!(config.hash = self.configs.borrow().plan.hash, "document reloaded"),
            Err(error) => tracing::error!("document not taken, the old one stays in force: {error}"),
        }
        self.error.send_replace(result.as_ref().err().cloned());
        result
    }

    async fn take(&self) -> Result<(), String> {
        let document = config::load(&self.path, &self.registry).map_err(|errors| errors.to_string())?;
        self.ledger.configure(document.plan.clone()).await.map_err(|error| match error {
            CommandError::Refused(refusal) => refusal.message,
            CommandError::NotDurable(_) | CommandError::Stopped => error.to_string(),
        })?;
        self.configs.send_replace(Arc::new(document));
        Ok(())
    }
}

/// Reloads when asked to, until it is told to stop.
pub(crate) async fn run(mut reload: Reload, stop: CancellationToken) -> std::io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            _ = hangup.recv() => drop(reload.reload().await),
            Some(reply) = reload.requests.recv() => {
                let result = reload.reload().await;
                drop(reply.send(result));
            }
            _ = look.tick() => {
                let now = digest(&reload.path);
                if now.is_some() && now != reload.seen {
                    drop(reload.reload().await);
                }
            }
        }
    }
}

/// The file's hash; none while it can not be read, which is no reason to drop what is in force.
fn digest(path: &std::path::Path) -> Option<[u8; 32]> {
    std::fs::read(path).ok().map(|bytes| Sha256::digest(bytes).into())
}
