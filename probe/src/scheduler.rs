//! The scheduler: one supervised task per probe. It decides when to look, never what it means. Tasks never retry: the next
//! tick does. A panic, a hang or a flood of one check is an Unknown of its own probe and disturbs no other.

pub(crate) mod supervise;
mod task;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use checks::Clients;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::Beats;
use crate::config::Config;
use crate::ledger::{Ledger, Snapshot};
use crate::metrics::Metrics;
use crate::plan::{ProbeName, ProbePlan};

use task::ProbeTask;

/// Wakes probes before their next tick. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Wakers(Arc<Mutex<BTreeMap<ProbeName, Arc<Notify>>>>);

impl Wakers {
    /// Wakes a probe, if a task of this name is running.
    pub fn wake(&self, probe: &str) {
        if let Some(notify) = self.0.lock().get(probe) {
            notify.notify_one();
        }
    }

    fn register(&self, probe: &ProbeName) -> Arc<Notify> {
        self.0.lock().entry(probe.clone()).or_default().clone()
    }

    fn retain(&self, known: impl Fn(&str) -> bool) {
        self.0.lock().retain(|name, _| known(name));
    }
}

/// What all probe tasks share.
#[derive(Clone)]
pub struct Shared {
    /// Where Runs go.
    pub ledger: Ledger,
    /// Shared connections.
    pub clients: Clients,
    /// Heartbeats that came in.
    pub beats: Beats,
    /// Where numbers go.
    pub metrics: Metrics,
    /// Who may wake a probe.
    pub wakers: Wakers,
    /// When the verifier started, for checks that need to know how long nothing can have come in.
    pub started: tokio::time::Instant,
}

struct Running {
    generation: u64,
    hash: String,
    stop: CancellationToken,
}

/// Keeps a task running for each probe of the document in force, until it is told to stop; then waits for them.
pub async fn run(shared: Shared, mut config: watch::Receiver<Arc<Config>>, stop: CancellationToken) {
    let tracker = TaskTracker::new();
    let mut running: BTreeMap<ProbeName, Running> = BTreeMap::new();
    let mut snapshots = shared.ledger.watch();
    let mut seen: Option<(u64, String)> = None;
    loop {
        let snapshot = snapshots.borrow_and_update().clone();
        let document = config.borrow_and_update().clone();
        let key = (snapshot.state.live.generation, document.plan.hash.clone());
        // While the ledger and the document disagree, the reload between them is not over.
        let agreed = snapshot.state.durable.plan.as_ref().is_some_and(|plan| plan.hash == document.plan.hash);
        if agreed && seen.as_ref() != Some(&key) {
            reconcile(&shared, &tracker, &mut running, &snapshot, &document, &stop);
            seen = Some(key);
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            changed = snapshots.changed() => if changed.is_err() { break },
            changed = config.changed() => if changed.is_err() { break },
        }
    }
    for task in running.values() {
        task.stop.cancel();
    }
    tracker.close();
    tracker.wait().await;
}

fn reconcile(
    shared: &Shared,
    tracker: &TaskTracker,
    running: &mut BTreeMap<ProbeName, Running>,
    snapshot: &Snapshot,
    document: &Arc<Config>,
    stop: &CancellationToken,
) {
    let wanted: BTreeMap<&str, (u64, &ProbePlan)> = document
        .plan
        .probes()
        .filter_map(|(_, probe)| Some((&*probe.name, (snapshot.state.live.probes.get(&probe.name)?.generation, probe))))
        .collect();
    running.retain(|name, task| {
        let keep =
            wanted.get(&**name).is_some_and(|(generation, probe)| task.generation == *generation && task.hash == probe.hash);
        if !keep {
            task.stop.cancel();
        }
        keep
    });
    shared.wakers.retain(|name| wanted.contains_key(name));
    for (name, (generation, probe)) in wanted {
        if running.contains_key(name) {
            continue;
        }
        let Some(check) = document.probes.get(name).cloned() else { continue };
        // A heartbeat that came before this start of the probe is none of it.
        shared.beats.forget(name);
        let stop = stop.child_token();
        let task = ProbeTask {
            shared: shared.clone(),
            plan: probe.clone(),
            generation,
            check,
            targets: document.targets.clone(),
            wake: shared.wakers.register(&probe.name),
            stop: stop.clone(),
        };
        tracker.spawn(task.run(snapshot.state.soft.memories.get(name).cloned()));
        running.insert(probe.name.clone(), Running { generation, hash: probe.hash.clone(), stop });
    }
}

/// Looks after a start are spread over no more than this, so that a slow cadence does not leave a gate unknown for hours.
const SPREAD: Duration = Duration::from_secs(30);

/// When a probe first looks: spread by name, the same at each start.
fn first_look(name: &str, every: Duration) -> Duration {
    let spread =
        name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let every = u64::try_from(every.min(SPREAD).as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(spread.checked_rem(every).unwrap_or(0))
}

#[cfg(test)]
mod tests;
