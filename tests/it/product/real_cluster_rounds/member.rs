//! One verifier, asked and written to from its launch to its end.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::{Value, json};
use tests::{FaultProxy, Kubernetes, Role, Verifier, World};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::product::{moment, now};

const ASK: Duration = Duration::from_millis(50);
const SOAK: Duration = Duration::from_millis(250);
const WRITE: Duration = Duration::from_millis(600);
/// How large a fact is made, so that the ledger needs several objects.
const PAD: usize = 1024;

/// What it said of the gate `move`: its status as `check` has it.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) asked: DateTime<Utc>,
    pub(super) told: DateTime<Utc>,
    pub(super) status: u16,
    pub(super) evaluated: Option<DateTime<Utc>>,
    /// The oldest last Pass of its probes.
    pub(super) seen: Option<DateTime<Utc>>,
}

/// What it said of the soak of `stay`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Soaked {
    pub(super) asked: DateTime<Utc>,
    pub(super) told: DateTime<Utc>,
    pub(super) have: f64,
}

/// A fact that it was given, and whether it acknowledged that.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) fact: String,
    pub(super) status: u16,
}

#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) said: Vec<Said>,
    pub(super) soaked: Vec<Soaked>,
    pub(super) written: Vec<Written>,
}

pub(super) struct Member {
    pub(super) name: String,
    pub(super) verifier: Arc<Verifier>,
    /// Between it and the API server.
    pub(super) way: FaultProxy,
    pub(super) launched: DateTime<Utc>,
    /// When it was told to go on, after a freeze.
    pub(super) thawed: Option<DateTime<Utc>>,
    pub(super) over: bool,
    pub(super) log: Arc<Mutex<Log>>,
    tasks: JoinSet<()>,
}

impl Member {
    /// Starts a verifier on this ledger. It may have to wait for the Lease.
    pub(super) async fn launch(world: &World, cluster: &Kubernetes, document: &str, ledger: &str, name: String) -> Self {
        let way = FaultProxy::start(cluster.authority()).unwrap();
        let token = cluster.token("default", "phasegate-verifier").await.unwrap();
        let kubeconfig = cluster.kubeconfig_at(&name, &way.address().to_string(), &token).unwrap();
        let launched = now();
        let verifier = Arc::new(Verifier::launch_in_cluster(world, document, &kubeconfig, ledger, &[]).unwrap());
        let (log, mut tasks) = (Arc::default(), JoinSet::new());
        tasks.spawn(ask(Arc::clone(&verifier), Arc::clone(&log)));
        tasks.spawn(look(Arc::clone(&verifier), Arc::clone(&log)));
        tasks.spawn(write(Arc::clone(&verifier), Arc::clone(&log), name.clone()));
        Self { name, verifier, way, launched, thawed: None, over: false, log, tasks }
    }

    /// The number of its term, by its own word; none before it has had the Lease.
    pub(super) fn term(&self) -> Option<u64> {
        let log = self.verifier.process().stderr();
        let line = log.lines().find(|line| line.contains("took the Lease"))?;
        line.split_once(" term=")?.1.split(' ').next()?.parse().ok()
    }

    /// It has ended, and is not asked any more.
    pub(super) async fn is_over(&mut self) {
        self.over = true;
        self.tasks.shutdown().await;
    }
}

async fn ask(verifier: Arc<Verifier>, log: Arc<Mutex<Log>>) {
    let mut tick = interval(ASK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let asked = now();
        let Ok(answer) = verifier.get("/v1/gates/move/check").await else { continue };
        let (told, body) = (now(), answer.json().unwrap_or_default());
        let passes = body["probes"].as_array().into_iter().flatten().map(|probe| moment(&probe["lastPass"]));
        let seen = passes.min().flatten();
        log.lock().said.push(Said { asked, told, status: answer.status, evaluated: moment(&body["evaluatedAt"]), seen });
    }
}

async fn look(verifier: Arc<Verifier>, log: Arc<Mutex<Log>>) {
    let mut tick = interval(SOAK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let asked = now();
        let Ok(answer) = verifier.get("/v1/gates/stay").await else { continue };
        let body = if answer.status == 200 { answer.json().unwrap_or_default() } else { Value::Null };
        // What is no answer is told without a soak: an evaluation that is too old, or one of a time without the Lease.
        let unserved = body["verdict"] == "unknown" && body["blockers"].as_array().is_some_and(|all| all.len() == 1);
        if let Some(have) = body["soak"]["have"].as_f64().filter(|_| !unserved) {
            log.lock().soaked.push(Soaked { asked, told: now(), have });
        }
    }
}

async fn write(verifier: Arc<Verifier>, log: Arc<Mutex<Log>>, name: String) {
    let mut tick = interval(WRITE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0_u32.. {
        tick.tick().await;
        let fact = format!("{name}-{number:05}");
        let value = json!({"by": name, "number": number, "pad": ".".repeat(PAD)});
        let path = format!("/v1/facts/{fact}");
        if let Ok(answer) = verifier.request(Method::PUT, &path, Some(Role::Operate), Some(&value)).await {
            log.lock().written.push(Written { fact, status: answer.status });
        }
    }
}
