//! The way to one cluster: its client, made when it is first needed, and the watches that all probes share.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::core::Resource;
use kube::{Client, Config};
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::check::Context;
use crate::net::{Budget, words};
use crate::outcome::Outcome;

use super::NO_CLUSTER;
use super::kinds::Kind;
use super::watch::{Scope, Sight, Watch};

/// How much longer the wall clock may say that it took between two looks than the monotonic clock. The latter stands still while
/// the machine sleeps, and so do the ages of all that is known.
const SLEPT: TimeDelta = TimeDelta::seconds(10);
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// The cluster that the verifier runs in, or that `KUBECONFIG` leads to. Cheap to clone; nothing is asked before it is needed.
#[derive(Clone, Default)]
pub struct Cluster(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// None: what the environment says.
    kubeconfig: Option<PathBuf>,
    client: OnceCell<Client>,
    watches: Mutex<BTreeMap<Key, Running>>,
    last: Mutex<Option<(DateTime<Utc>, Instant)>>,
}

/// What tells watches apart.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    group: String,
    plural: String,
    scope: Scope,
}

/// A watch and the task that follows it; the task ends with it.
struct Running {
    watch: Arc<dyn Any + Send + Sync>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("connected", &self.0.client.initialized()).finish_non_exhaustive()
    }
}

async fn read(file: &Path) -> Result<Config, KubeconfigError> {
    Config::from_custom_kubeconfig(Kubeconfig::read_from(file)?, &KubeConfigOptions::default()).await
}

impl Cluster {
    /// The cluster that this kubeconfig leads to, whatever the environment says.
    pub fn of_kubeconfig(file: PathBuf) -> Self {
        Self(Arc::new(Inner { kubeconfig: Some(file), ..Inner::default() }))
    }

    #[cfg(test)]
    pub(crate) fn of(client: Client) -> Self {
        Self(Arc::new(Inner { client: OnceCell::new_with(Some(client)), ..Inner::default() }))
    }

    async fn client(&self, budget: Budget) -> Result<Client, Outcome> {
        let made = self.0.client.get_or_try_init(async || {
            let mut config = match &self.0.kubeconfig {
                Some(file) => read(file).await.map_err(|error| NO_CLUSTER.because(error.to_string()))?,
                None => Config::infer().await.map_err(|error| NO_CLUSTER.because(error.to_string()))?,
            };
            // A retry would hide what is to be seen, and a watch has its own limits of time.
            config.default_retry = false;
            config.read_timeout = None;
            config.connect_timeout = Some(CONNECT);
            Client::try_from(config).map_err(|error| NO_CLUSTER.because(words(&error)))
        });
        match timeout_at(budget.own, made).await {
            Ok(client) => client.cloned(),
            Err(_) => Err(NO_CLUSTER.because("the configuration could not be read in time")),
        }
    }

    /// The objects of this kind, as they are now. The first look begins the watch, and waits for what it lists.
    pub(crate) async fn see<K: Kind>(&self, cx: &Context, scope: Scope, budget: Budget) -> Result<Sight<K::Kept>, Outcome> {
        let client = self.client(budget).await?;
        self.awake(cx.now, budget.start);
        self.watch::<K>(client, scope).sight(budget.own).await
    }

    /// Forgets all that is known if the machine has slept: it is older than it says.
    fn awake(&self, now: DateTime<Utc>, start: Instant) {
        let mut last = self.0.last.lock().unwrap_or_else(PoisonError::into_inner);
        let slept = last.is_some_and(|(before, at)| {
            let passed = TimeDelta::from_std(start.saturating_duration_since(at)).unwrap_or(TimeDelta::MAX);
            now.signed_duration_since(before) > passed + SLEPT
        });
        if last.is_none_or(|(_, at)| at < start) {
            *last = Some((now, start));
        }
        if slept {
            self.0.watches.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    fn watch<K: Kind>(&self, client: Client, scope: Scope) -> Arc<Watch<K>> {
        let (group, plural) = (K::Object::group(&()).into_owned(), K::Object::plural(&()).into_owned());
        let key = Key { group, plural, scope: scope.clone() };
        let mut watches = self.0.watches.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody asks for have ended; one that ended otherwise begins afresh, knowing nothing.
        watches.retain(|_, running| !running.task.is_finished());
        let known = watches.get(&key).and_then(|running| Arc::clone(&running.watch).downcast::<Watch<K>>().ok());
        known.unwrap_or_else(|| {
            let watch = Arc::new(Watch::<K>::new(scope));
            #[expect(
                clippy::disallowed_methods,
                reason = "the map owns the task: it ends with its entry, and the map with the clients"
            )]
            let task = tokio::spawn(Arc::clone(&watch).follow(client));
            let shared: Arc<dyn Any + Send + Sync> = Arc::<Watch<K>>::clone(&watch);
            watches.insert(key, Running { watch: shared, task });
            watch
        })
    }
}
