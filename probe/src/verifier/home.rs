//! Where the verifier keeps its ledger, and what allows it to write there: a directory with its lock, or a cluster with a Lease.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::{Client, Config};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Failure, chain, runtime};
use crate::clock::{Clock, Continuity};
use crate::kubernetes::PATIENCE;
use crate::kubernetes::lease::{Candidate, Held, LeaseError, Tenure};
use crate::kubernetes::objects::ConfigMaps;
use crate::now::Now;
use crate::shutdown;
use crate::state::State;
use crate::store::{FileStore, KubernetesStore, Loaded, Store, StoreError, Trail};

/// The label of a ledger's objects; its value is the ledger's name.
const LABEL: &str = "phasegate.dev/ledger";
/// How long the Lease may take to be given back at the end.
const FAREWELL: Duration = Duration::from_millis(500);

/// Where the ledger is kept.
#[derive(Debug, Clone, clap::Args)]
#[group(required = true, multiple = false)]
pub struct StateArgs {
    /// Keep the ledger in this directory: phases, soak, and the whole audit trail, which grows. Only one verifier may use it.
    #[arg(long = "state.dir", value_name = "DIR", env = "PHASEGATE_STATE_DIR")]
    pub dir: Option<PathBuf>,
    /// Keep the ledger in the cluster instead, in `ConfigMaps` whose names begin with this one. A Lease of this name makes sure
    /// that one verifier writes it.
    #[arg(long = "state.kubernetes", value_name = "NAME", env = "PHASEGATE_STATE_KUBERNETES", value_parser = object_name)]
    pub kubernetes: Option<String>,
}

/// Room for what is appended to the name, within the 63 characters of a label.
fn object_name(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if text.len() <= 40 && text.chars().all(good) && text.starts_with(ends) && text.ends_with(ends) {
        return Ok(text.to_owned());
    }
    Err("1 to 40 lower-case letters, digits or `-`, as names of Kubernetes objects are".to_owned())
}

/// The ledger as it was left.
pub(super) struct Opened {
    pub(super) state: State,
    pub(super) store: Box<dyn Store>,
    /// It goes on from where the ledger was left.
    pub(super) clock: Clock,
    pub(super) continuity: Continuity,
    /// The last moment that the ledger knows of.
    pub(super) last: Option<Now>,
    /// What allows to write it, where that can run out.
    pub(super) lease: Option<LeaseKeeper>,
}

/// Renews the Lease as long as the ledger is written.
pub(super) struct LeaseKeeper {
    runtime: Runtime,
    tenure: Tenure,
    stop: CancellationToken,
    task: JoinHandle<(Held, Result<(), LeaseError>)>,
}

/// Opens the ledger. None: told to stop while another verifier was still writing it.
pub(super) fn open(args: &StateArgs, trail: Trail, (namespace, holder): (Option<&str>, &str)) -> Result<Option<Opened>, Failure> {
    if let Some(dir) = &args.dir {
        return open_dir(dir).map(Some);
    }
    let name = args.kubernetes.as_deref().unwrap_or_default();
    open_cluster((name, trail), namespace, holder)
}

fn open_dir(dir: &Path) -> Result<Opened, Failure> {
    let (store, loaded) = FileStore::open(dir).map_err(|error| Failure::given(error.to_string()))?;
    tracing::info!(state.dir = %dir.display(), "ledger opened");
    Ok(opened(Box::new(store), loaded, None))
}

fn open_cluster((name, trail): (&str, Trail), namespace: Option<&str>, holder: &str) -> Result<Option<Opened>, Failure> {
    let runtime = runtime("store", 1)?;
    let stop = CancellationToken::new();
    let (client, namespace) = runtime.block_on(connect(namespace))?;
    let candidate = Candidate::new(client.clone(), &namespace, name, holder.to_owned());
    let taken = runtime.block_on(async {
        tokio::select! {
            taken = candidate.acquire(&stop) => Some(taken),
            _ = shutdown::signal() => None,
        }
    });
    let Some(taken) = taken else { return Ok(None) };
    let mut held = taken.map_err(|error| Failure::given(error.to_string()))?;
    let tenure = held.tenure().clone();
    let task = runtime.spawn({
        let stop = stop.clone();
        async move {
            let kept = held.keep(stop).await;
            (held, kept)
        }
    });
    let objects = ConfigMaps::new(client, &namespace, (LABEL, name), runtime.handle().clone());
    let keeper = LeaseKeeper { runtime, tenure: tenure.clone(), stop, task };
    match KubernetesStore::open(Box::new(objects), name, tenure, trail) {
        Ok((store, loaded)) => {
            tracing::info!(state.kubernetes = name, namespace, "ledger opened");
            Ok(Some(opened(Box::new(store), loaded, Some(keeper))))
        }
        Err(error) => {
            keeper.release();
            let code = if matches!(error, StoreError::Api { .. }) { Failure::met } else { Failure::given };
            Err(code(error.to_string()))
        }
    }
}

fn opened(store: Box<dyn Store>, loaded: Option<Loaded>, lease: Option<LeaseKeeper>) -> Opened {
    let (clock, continuity) = Clock::machine(loaded.as_ref().map(|loaded| &loaded.resume));
    let last = loaded.as_ref().map(|loaded| Now { t: loaded.resume.t, utc: loaded.resume.utc });
    let state = loaded.map(|loaded| loaded.state).unwrap_or_default();
    tracing::info!(?continuity, "ledger loaded");
    Opened { state, store, clock, continuity, last, lease }
}

/// A client of the cluster that the environment names, and the namespace to live in.
pub(super) async fn connect(namespace: Option<&str>) -> Result<(Client, String), Failure> {
    let hint = "run in a pod with a service account, or name a kubeconfig with KUBECONFIG";
    let mut config = Config::infer()
        .await
        .map_err(|error| Failure::given(format!("there is no cluster to be found: {}; {hint}", chain(&error))))?;
    // The next tick is the retry, and an answer that comes too late is none.
    config.default_retry = false;
    config.connect_timeout = Some(PATIENCE);
    config.read_timeout = Some(PATIENCE);
    config.write_timeout = Some(PATIENCE);
    let namespace = namespace.map_or_else(|| config.default_namespace.clone(), str::to_owned);
    let client = Client::try_from(config)
        .map_err(|error| Failure::given(format!("the cluster can not be talked to: {}", chain(&error))))?;
    Ok((client, namespace))
}

/// One name for this process, which no other has.
pub(super) fn holder() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut random = [0_u8; 8];
    // Without randomness the time since boot still tells two processes of one host apart.
    if rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).is_err() {
        random = crate::clock::boottime_ms().to_be_bytes();
    }
    format!("{host}_{:016x}", u64::from_be_bytes(random))
}

impl LeaseKeeper {
    /// The right to write.
    pub(super) fn tenure(&self) -> Tenure {
        self.tenure.clone()
    }

    /// Waits until the Lease is lost.
    pub(super) async fn lost(&mut self) -> String {
        match (&mut self.task).await {
            Ok((_, Err(error))) => error.to_string(),
            Ok((_, Ok(()))) => "nobody renews the Lease any more".to_owned(),
            Err(error) => format!("nobody renews the Lease any more: {error}"),
        }
    }

    /// Gives the Lease back. The ledger must have been written for the last time.
    pub(super) fn release(self) {
        // Asked before it is told to stop: one that has ended by then has lost the Lease, one that ends because of this has not.
        if self.task.is_finished() {
            return;
        }
        self.stop.cancel();
        self.runtime.block_on(async {
            let farewell = async {
                if let Ok((held, Ok(()))) = self.task.await {
                    held.release().await;
                }
            };
            if tokio::time::timeout(FAREWELL, farewell).await.is_err() {
                tracing::warn!("the Lease was not given back in time: the next verifier waits for its end");
            }
        });
        self.runtime.shutdown_background();
    }
}
