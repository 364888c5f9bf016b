use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use checks::{Context, DynCheck, FieldError, MemoryError, Meta, Nature, Outcome, ReasonSpec, Report, Step, TargetUse};
use futures::future::BoxFuture;
use tokio::time::{Instant, sleep};

use super::*;
use crate::clock::Clock;
use crate::gate::Verdict;
use crate::ledger::{Writer, WriterParts};
use crate::state::{ProbeState, State};
use crate::store::MemoryStore;
use crate::testing::{at, phase, plan, probe};

const CONTROL: ReasonSpec = ReasonSpec::fail("control_failed", "nothing");
static META: Meta = Meta {
    kind: "fake",
    nature: Nature::Continuous,
    reasons: &[&[CONTROL]],
    control: CONTROL,
    measures: &[],
    waivable: true,
    rules: &[],
};

/// What a fake check does, given how often it ran before.
type Behaviour = fn(u64) -> BoxFuture<'static, Report<Vec<u8>>>;

/// Name, behaviour and negative control of a fake.
type Part = (&'static str, Behaviour, fn() -> Outcome);

struct Fake {
    behaviour: Behaviour,
    control: fn() -> Outcome,
    runs: AtomicU64,
}

impl DynCheck for Fake {
    fn meta(&self) -> &'static Meta {
        &META
    }
    fn canonical(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
    fn targets(&self) -> Vec<TargetUse> {
        Vec::new()
    }
    fn validate(&self) -> Vec<FieldError> {
        Vec::new()
    }
    fn run<'a>(&'a self, _cx: &'a Context, _memory: Option<&'a [u8]>) -> BoxFuture<'a, Result<Report<Vec<u8>>, MemoryError>> {
        let run = (self.behaviour)(self.runs.fetch_add(1, Ordering::SeqCst));
        Box::pin(async move { Ok(run.await) })
    }
    fn control<'a>(&'a self, _cx: &'a Context, _memory: Option<&'a [u8]>) -> BoxFuture<'a, Outcome> {
        let outcome = (self.control)();
        Box::pin(async move { outcome })
    }
}

fn pass(_: u64) -> BoxFuture<'static, Report<Vec<u8>>> {
    Box::pin(async { Report::new(Step::whole(Outcome::pass("fine")), Vec::new()) })
}

fn panics(_: u64) -> BoxFuture<'static, Report<Vec<u8>>> {
    Box::pin(async { panic!("boom") })
}

fn hangs(_: u64) -> BoxFuture<'static, Report<Vec<u8>>> {
    Box::pin(std::future::pending())
}

fn floods(_: u64) -> BoxFuture<'static, Report<Vec<u8>>> {
    Box::pin(async { Report::new(Step::whole(Outcome::pass("fine")), vec![0; checks::MAX_MEMORY + 1]) })
}

fn right() -> Outcome {
    CONTROL.because("as it should")
}

fn wrong() -> Outcome {
    Outcome::pass("it passed")
}

/// A running ledger and scheduler over these fakes, one probe each, in one phase that has switched.
struct Bench {
    ledger: Ledger,
    stop: CancellationToken,
    tracker: TaskTracker,
}

async fn bench(fakes: Vec<Part>) -> Bench {
    let plan = plan(vec![phase("one", fakes.iter().map(|(name, ..)| probe(name)).collect())]);
    let metrics = Metrics::new();
    let parts = WriterParts {
        state: State::default(),
        store: Box::new(MemoryStore::default()),
        clock: Clock::paused(at(0)),
        metrics: metrics.clone(),
        tenure: None,
    };
    let (writer, ledger) = Writer::new(parts);
    let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
    tracker.spawn(writer.run(stop.clone()));
    ledger.configure(plan.clone()).await.unwrap();
    let probes = fakes
        .into_iter()
        .map(|(name, behaviour, control)| {
            let check: Arc<dyn DynCheck> = Arc::new(Fake { behaviour, control, runs: AtomicU64::new(0) });
            (ProbeName::from(name), check)
        })
        .collect();
    let config = Config {
        plan,
        targets: Arc::new(BTreeMap::new()),
        probes,
        steps: BTreeMap::new(),
        breaks: BTreeMap::new(),
        annotations: Vec::new(),
        source: crate::config::Source { file: "test".into(), digest: String::new() },
        warnings: Vec::new(),
    };
    let (configs, current) = watch::channel(Arc::new(config));
    let shared = Shared {
        ledger: ledger.clone(),
        clients: Clients::new().unwrap(),
        beats: Beats::default(),
        metrics,
        wakers: Wakers::default(),
        started: Instant::now(),
    };
    let ending = stop.clone();
    tracker.spawn(async move {
        run(shared, current, ending).await;
        drop(configs);
    });
    for wish in [crate::event::Wish::Begin("one".into()), crate::event::Wish::Switch("one".into())] {
        ledger.command(crate::event::Command { by: "test".into(), wish, terms: crate::event::Terms::default() }).await.unwrap();
    }
    Bench { ledger, stop, tracker }
}

impl Bench {
    fn probe(&self, name: &str) -> (ProbeState, String) {
        let reading = self.ledger.read();
        let view = reading.fresh().unwrap().probe(name).unwrap().clone();
        (view.sight.state, view.sight.reason.map(|reason| reason.to_string()).unwrap_or_default())
    }

    fn verdict(&self) -> Verdict {
        self.ledger.read().fresh().unwrap().gate("one").unwrap().verdict
    }

    async fn end(self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_honest_probe_opens_its_gate_once_the_soak_is_served() {
    let bench = bench(vec![("honest", pass, right)]).await;
    sleep(Duration::from_secs(50)).await;
    assert_eq!((bench.probe("honest").0, bench.verdict()), (ProbeState::Green, Verdict::Pending));
    sleep(Duration::from_secs(30)).await;
    assert_eq!(bench.verdict(), Verdict::Open);
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_check_that_panics_hangs_or_floods_is_unknown_and_disturbs_no_other() {
    let fakes: Vec<Part> =
        vec![("panics", panics, right), ("hangs", hangs, right), ("floods", floods, right), ("honest", pass, right)];
    let bench = bench(fakes).await;
    sleep(Duration::from_mins(1)).await;
    assert_eq!(bench.probe("panics"), (ProbeState::Unknown, "panic".into()));
    assert_eq!(bench.probe("hangs"), (ProbeState::Unknown, "hung".into()));
    assert_eq!(bench.probe("floods"), (ProbeState::Unknown, "flood".into()));
    assert_eq!(bench.probe("honest"), (ProbeState::Green, String::new()));
    assert_eq!(bench.verdict(), Verdict::Unknown);
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_probe_whose_control_passes_is_not_believed() {
    let bench = bench(vec![("gullible", pass, wrong)]).await;
    sleep(Duration::from_mins(10)).await;
    assert_eq!(bench.probe("gullible"), (ProbeState::Unknown, "control_passed".into()));
    assert_eq!(bench.verdict(), Verdict::Unknown);
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_frozen_writer_leaves_no_fresh_answer() {
    let bench = bench(vec![("honest", pass, right)]).await;
    sleep(Duration::from_mins(2)).await;
    assert_eq!(bench.verdict(), Verdict::Open);
    let ledger = bench.ledger.clone();
    bench.end().await;
    sleep(Duration::from_secs(4)).await;
    assert!(ledger.read().fresh().is_none(), "an old evaluation is no answer");
}

#[tokio::test(start_paused = true)]
async fn a_day_of_soak_takes_no_time() {
    let bench = bench(vec![("honest", pass, right)]).await;
    sleep(Duration::from_hours(24)).await;
    let runs = bench.ledger.history().of("honest");
    assert_eq!(bench.verdict(), Verdict::Open);
    assert!(runs.len() >= 100);
    bench.end().await;
}

#[test]
fn first_looks_are_spread_within_the_cadence() {
    let every = Duration::from_secs(5);
    let looks: Vec<_> = (0..100).map(|n| first_look(&format!("probe-{n}"), every)).collect();
    assert!(looks.iter().all(|look| *look < every));
    assert!(looks.iter().filter(|look| **look < every / 2).count().abs_diff(50) < 25);
}
