//! A ledger with scripted Runs on a paused clock, and the API in front of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use checks::{Check, Context, Entry, Measure, Meta, Nature, Outcome, PartId, ReasonSpec, Registry, Report, Step, TargetUse};
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::annotations::Standing;
use crate::api::reasons::ReasonBook;
use crate::api::shared::Shared;
use crate::api::{AppState, Beats, ConfigStatus, app};
use crate::auth::Auth;
use crate::clock::Clock;
use crate::event::{Command, Control, Run, Terms, Wish};
use crate::ledger::{Ledger, Writer, WriterParts};
use crate::metrics::Metrics;
use crate::now::{Millis, Now};
use crate::plan::{GatePlan, NaturePlan, PhasePlan, Plan, ProbePlan, SealAt};
use crate::state::State;
use crate::store::MemoryStore;

pub(crate) const REFUSED: ReasonSpec = ReasonSpec::fail("refused", "start what PROBE looks at");
pub(crate) const BLIND: ReasonSpec = ReasonSpec::unknown("blind", "give PROBE its sight back");
pub(crate) const LATER: ReasonSpec = ReasonSpec::waiting("later", "wait for it");

/// Whatever the test says.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Scripted {}

impl Check for Scripted {
    const META: Meta = Meta {
        kind: "scripted",
        nature: Nature::Continuous,
        reasons: &[&[REFUSED, BLIND, LATER]],
        control: REFUSED,
        measures: &["lag_seconds"],
        waivable: true,
        rules: &[],
    };
    type Memory = ();

    fn targets(&self) -> Vec<TargetUse> {
        Vec::new()
    }

    fn run<'a>(&'a self, _: &'a Context, (): ()) -> BoxFuture<'a, Report<()>> {
        async { Report::new(Step::whole(Outcome::pass("scripted")), ()) }.boxed()
    }

    fn control<'a>(&'a self, _: &'a Context, (): ()) -> BoxFuture<'a, Outcome> {
        async { REFUSED.because("scripted") }.boxed()
    }
}

pub(crate) fn registry() -> Registry {
    Registry::new([Entry::of::<Scripted>()])
}

pub(crate) const OPERATOR: &str = "an-operators-long-token";
const TOKENS: &str = "\
ann operate an-operators-long-token
cron heartbeat a-heartbeat-senders-token
board read a-dashboards-long-token
boss approve an-approvers-long-token
";

pub(crate) fn probe(name: &str) -> ProbePlan {
    ProbePlan {
        name: name.into(),
        check: "scripted".into(),
        hash: format!("hash-of-{name}"),
        nature: NaturePlan::Continuous,
        gate: true,
        preflight: false,
        before_ponr: false,
        marks_ponr: false,
        targets: vec![],
        tripwire: false,
        until: None,
        fail_after: 2,
        recover_after: 1,
        every: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        max_age: Duration::from_secs(20),
        control_every: Duration::from_mins(10),
        control_reason: "refused".into(),
        waivable: true,
    }
}

pub(crate) fn phase(name: &str, probes: Vec<ProbePlan>) -> PhasePlan {
    let gate = GatePlan {
        soak: Duration::from_secs(10),
        min_samples: 3,
        unknown_budget: Duration::from_secs(5),
        max_wait: Some(Duration::from_hours(1)),
    };
    PhasePlan { name: name.into(), gate, probes, steps: Vec::new(), four_eyes: false }
}

/// Phase `one` with `a` and the heartbeat `beat`; phase `two` with `c` and the proof `proof`.
pub(crate) fn plan() -> Plan {
    let beat = ProbePlan { check: "heartbeat".into(), ..probe("beat") };
    let nature = NaturePlan::Proof { valid_for: Duration::from_hours(1), seal_at: SealAt::Complete };
    let proof = ProbePlan { nature, ..probe("proof") };
    let phases = vec![phase("one", vec![probe("a"), beat]), phase("two", vec![probe("c"), proof])];
    Plan::new("homelab", "0123456789abcdef", phases)
}

pub(crate) struct World {
    pub(crate) ledger: Ledger,
    pub(crate) metrics: Metrics,
    pub(crate) store: MemoryStore,
    pub(crate) beats: Beats,
    pub(crate) woken: Arc<Mutex<Vec<String>>>,
    pub(crate) reload: Arc<Notify>,
    pub(crate) config: watch::Sender<ConfigStatus>,
    pub(crate) annotations: watch::Sender<Vec<Standing>>,
    pub(crate) state: AppState,
    pub(crate) router: Router,
    stop: CancellationToken,
    tasks: TaskTracker,
    tokens: tempfile::NamedTempFile,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text))
    }

    pub(crate) fn code(&self) -> u16 {
        self.status.as_u16()
    }
}

impl World {
    /// A ledger without a document, and without an evaluation of one.
    pub(crate) fn blank() -> Self {
        let base = Now { t: Millis(1_000_000), utc: "2026-03-01T12:00:00Z".parse().unwrap() };
        Self::on(MemoryStore::default(), State::default(), base, None)
    }

    /// A verifier that begins at this moment with what it found.
    fn on(store: MemoryStore, state: State, base: Now, last: Option<Now>) -> Self {
        let (clock, metrics) = (Clock::paused(base), Metrics::new().with_checks(&registry()));
        let parts = WriterParts { state, store: Box::new(store.clone()), clock, metrics: metrics.clone(), tenure: None };
        let (mut writer, ledger) = Writer::new(parts);
        writer.starts(last, "1.2.3");
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(writer.run(stop.clone()));
        let tokens = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(tokens.path(), TOKENS).unwrap();
        let (config, config_status) = watch::channel(ConfigStatus::default());
        let woken = Arc::new(Mutex::new(Vec::new()));
        let list = woken.clone();
        let annotations = watch::Sender::default();
        let (beats, reload) = (Beats::default(), Arc::new(Notify::new()));
        let state = AppState {
            ledger: ledger.clone(),
            metrics: metrics.clone(),
            auth: Auth::load(tokens.path()).unwrap(),
            reasons: ReasonBook::new(&registry()),
            config: config_status,
            annotations: annotations.subscribe(),
            beats: beats.clone(),
            waker: Arc::new(move |probe| list.lock().push(probe.to_string())),
            reload: reload.clone(),
        };
        let (router, _) = app(state.clone());
        Self { ledger, metrics, store, beats, woken, reload, config, annotations, state, router, stop, tasks, tokens }
    }

    /// The document of [`plan`] is in force.
    pub(crate) async fn new() -> Self {
        Self::with(plan()).await
    }

    pub(crate) async fn with(plan: Plan) -> Self {
        let world = Self::blank();
        world.ledger.configure(Arc::new(plan)).await.unwrap();
        world
    }

    /// Phase `one` has begun and switched; `a` and `beat` are green and trusted.
    pub(crate) async fn switched() -> Self {
        let world = Self::new().await;
        world.wish(Wish::Begin("one".into())).await;
        world.wish(Wish::Switch("one".into())).await;
        for probe in ["a", "beat"] {
            world.control(probe).await;
        }
        world.pass(&["a", "beat"]).await;
        world
    }

    /// The gate of phase `one` is open.
    pub(crate) async fn open() -> Self {
        let world = Self::switched().await;
        world.soak(&["a", "beat"]).await;
        assert_eq!(world.get("/v1/gates/one").await.json()["verdict"], "open");
        world
    }

    /// Phase `one` is complete, and `a` is red after it.
    pub(crate) async fn regressed() -> Self {
        let world = Self::open().await;
        world.wish(Wish::Complete("one".into())).await;
        world.see("a", REFUSED.because("connection refused")).await;
        world.see("a", REFUSED.because("connection refused")).await;
        world
    }

    pub(crate) async fn soak(&self, probes: &[&str]) {
        for _ in 0..12 {
            self.pass(probes).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    pub(crate) async fn wish(&self, wish: Wish) {
        self.ledger.command(Command { by: "test".into(), wish, terms: Terms::default() }).await.unwrap();
    }

    pub(crate) async fn pass(&self, probes: &[&str]) {
        for probe in probes {
            self.see(probe, Outcome::pass("as it should be")).await;
        }
    }

    /// One Run of 20 ms, evaluated when this returns.
    pub(crate) async fn see(&self, probe: &str, outcome: Outcome) {
        self.run(probe, Step::whole(outcome)).await;
    }

    pub(crate) async fn parts(&self, probe: &str, parts: &[(&str, Outcome)]) {
        let parts: BTreeMap<_, _> = parts.iter().map(|(part, outcome)| (PartId::new(part), outcome.clone())).collect();
        self.run(probe, Step::Done(parts)).await;
    }

    async fn run(&self, probe: &str, step: Step) {
        let started = self.ledger.clock().now();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let finished = self.ledger.clock().now();
        let run = Run {
            probe: probe.into(),
            generation: self.generation(probe),
            started,
            finished,
            step,
            memory: None,
            identities: BTreeMap::new(),
            trails: BTreeMap::new(),
            named: None,
        };
        assert!(self.ledger.run(run).await, "the run of {probe} was not taken");
        self.evaluated(finished).await;
    }

    pub(crate) async fn control(&self, probe: &str) {
        let now = self.ledger.clock().now();
        let generation = self.generation(probe);
        let outcome = REFUSED.because("as it must");
        let control = Control { probe: probe.into(), generation, started: now, finished: now, outcome };
        assert!(self.ledger.control(control).await);
    }

    fn generation(&self, probe: &str) -> u64 {
        self.ledger.read().snapshot.state.live.probes[probe].generation
    }

    async fn evaluated(&self, since: Now) {
        let newer = |snapshot: &Arc<crate::ledger::Snapshot>| {
            snapshot.evaluation.as_ref().is_some_and(|evaluation| evaluation.at.t > since.t)
        };
        self.ledger.watch().wait_for(newer).await.unwrap();
    }

    /// The writer does nothing any more, as in a frozen process, and so much time goes by.
    pub(crate) async fn freeze(&self, span: Duration) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        tokio::time::advance(span).await;
    }

    /// The verifier is killed, and another one begins with what it left after such a time.
    pub(crate) async fn restarted(&self, down: Duration) -> Self {
        let plan = self.ledger.read().snapshot.state.durable.plan.clone().unwrap();
        self.freeze(down).await;
        let loaded = self.store.load().unwrap().unwrap();
        let last = Now { t: loaded.resume.t, utc: loaded.resume.utc };
        let world = Self::on(self.store.clone(), loaded.state, self.ledger.clock().now(), Some(last));
        world.ledger.configure(plan).await.unwrap();
        world
    }

    pub(in crate::api) fn shared(&self) -> Shared {
        Shared::new(self.state.clone())
    }

    pub(crate) fn tokens(&self) -> &std::path::Path {
        self.tokens.path()
    }

    pub(crate) fn measure(&self, probe: &ProbePlan, value: f64) {
        self.metrics.measures(probe, &[Measure { part: PartId::new("node \"1\""), name: "lag_seconds", value }]);
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// With the operator's token.
    pub(crate) async fn post(&self, path: &str, body: Option<Value>) -> Answer {
        self.tell("POST", path, Some(OPERATOR), body).await
    }

    pub(crate) async fn tell(&self, method: &str, path: &str, token: Option<&str>, body: Option<Value>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.send(request.body(body).unwrap()).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Answer { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }
}
