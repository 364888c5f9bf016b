use std::collections::BTreeMap;
use std::time::Duration;

use checks::{Outcome, Step};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::event::{RefusalKind, Terms, Wish};
use crate::gate::Verdict;
use crate::metrics::Metrics;
use crate::store::MemoryStore;
use crate::testing::{at, phase, plan, probe};

struct Bench {
    ledger: Ledger,
    store: MemoryStore,
    stop: CancellationToken,
    tracker: TaskTracker,
}

fn bench() -> Bench {
    bench_after(|_, _| {})
}

/// One whose writer and store have a past.
fn bench_after(past: impl FnOnce(&mut Writer, &MemoryStore)) -> Bench {
    let store = MemoryStore::default();
    let parts = WriterParts {
        state: State::default(),
        store: Box::new(store.clone()),
        clock: Clock::paused(at(0)),
        metrics: Metrics::new(),
        tenure: None,
    };
    let (mut writer, ledger) = Writer::new(parts);
    past(&mut writer, &store);
    let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
    tracker.spawn(writer.run(stop.clone()));
    Bench { ledger, store, stop, tracker }
}

impl Bench {
    async fn wish(&self, wish: Wish) -> Result<Vec<Event>, CommandError> {
        self.ledger.command(Command { by: "test".into(), wish, terms: Terms::default() }).await
    }

    async fn run(&self, outcome: Outcome) -> bool {
        let now = self.ledger.clock().now();
        let generation = self.ledger.read().snapshot.state.live.probes.get("p").map_or(0, |record| record.generation);
        let run = Run {
            probe: "p".into(),
            generation,
            started: now,
            finished: now,
            step: Step::whole(outcome),
            memory: None,
            identities: BTreeMap::new(),
            trails: BTreeMap::new(),
            named: None,
        };
        self.ledger.run(run).await
    }

    fn verdict(&self) -> Option<Verdict> {
        self.ledger.read().fresh().and_then(|e| e.gate("one")).map(|gate| gate.verdict)
    }

    async fn end(self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_is_durable_before_it_is_acknowledged() {
    let bench = bench();
    bench.ledger.configure(plan(vec![phase("one", vec![probe("p")])])).await.unwrap();
    bench.store.fail(Some(std::io::ErrorKind::StorageFull));
    let answer = bench.wish(Wish::Begin("one".into())).await;
    assert!(matches!(answer, Err(CommandError::NotDurable(_))), "{answer:?}");
    assert!(bench.ledger.read().snapshot.state.phase("one").begun.is_none(), "what is not durable has not happened");
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_shuts_every_gate_and_an_empty_one_opens_the_way_again() {
    let bench = bench();
    bench.ledger.configure(plan(vec![phase("one", vec![probe("p")])])).await.unwrap();
    bench.run(Outcome::pass("fine")).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(bench.verdict(), Some(Verdict::Closed), "not begun");
    bench.store.fail(Some(std::io::ErrorKind::StorageFull));
    sleep(Duration::from_secs(12)).await;
    let reading = bench.ledger.read();
    let gate = reading.fresh().unwrap().gate("one").unwrap().clone();
    assert_eq!(gate.verdict, Verdict::Unknown);
    assert_eq!(gate.blockers.first().map(|b| b.reason.as_str().to_owned()), Some("ledger_unwritable".into()));
    bench.store.fail(None);
    sleep(Duration::from_secs(3)).await;
    assert!(bench.ledger.read().snapshot.state.live.unwritable.is_none());
    bench.wish(Wish::Begin("one".into())).await.unwrap();
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_command_changes_nothing() {
    let bench = bench();
    bench.ledger.configure(plan(vec![phase("one", vec![probe("p")])])).await.unwrap();
    let answer = bench.wish(Wish::Complete("one".into())).await;
    let Err(CommandError::Refused(refusal)) = answer else { panic!("{answer:?}") };
    assert_eq!(refusal.kind, RefusalKind::Gate(Verdict::Unknown));
    assert!(!refusal.blockers.is_empty());
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_of_an_earlier_start_is_not_taken() {
    let bench = bench();
    bench.ledger.configure(plan(vec![phase("one", vec![probe("p")])])).await.unwrap();
    assert!(bench.run(Outcome::pass("fine")).await);
    let mut changed = probe("p");
    changed.hash = "another".into();
    let generation = bench.ledger.read().snapshot.state.live.probes["p"].generation;
    bench.ledger.configure(plan(vec![phase("one", vec![changed])])).await.unwrap();
    let now = bench.ledger.clock().now();
    let old = Run {
        probe: "p".into(),
        generation,
        started: now,
        finished: now,
        step: Step::whole(Outcome::pass("old")),
        memory: None,
        identities: BTreeMap::new(),
        trails: BTreeMap::new(),
        named: None,
    };
    assert!(!bench.ledger.run(old).await);
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_reads_another_server_starts_afresh() {
    let bench = bench();
    bench.ledger.configure(plan(vec![phase("one", vec![probe("p")])])).await.unwrap();
    let generation = |bench: &Bench| bench.ledger.read().snapshot.state.live.probes["p"].generation;
    let first = generation(&bench);
    let mut readings = Vec::new();
    for server in ["old", "old", "new"] {
        let now = bench.ledger.clock().now();
        let identities = [("db".to_owned(), server.to_owned())].into();
        let step = Step::whole(Outcome::pass(server));
        let generation = generation(&bench);
        let run = Run {
            probe: "p".into(),
            generation,
            started: now,
            finished: now,
            step,
            memory: None,
            identities,
            trails: BTreeMap::new(),
            named: None,
        };
        assert!(bench.ledger.run(run).await);
        sleep(Duration::from_secs(1)).await;
        let state = bench.ledger.read().snapshot.state.clone();
        readings.push((state.live.probes["p"].generation > first, state.soft.soaks["p"].samples()));
    }
    assert_eq!(readings, [(false, 1), (false, 2), (true, 0)], "what was seen of the old server is nothing for the new one");
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn evaluations_come_each_second_and_at_most_ten_times() {
    let bench = bench();
    bench.ledger.configure(plan(vec![phase("one", vec![probe("p")])])).await.unwrap();
    let epoch = |bench: &Bench| bench.ledger.read().snapshot.evaluation.as_ref().map_or(0, |e| e.epoch);
    let before = epoch(&bench);
    sleep(Duration::from_secs(10)).await;
    let quiet = epoch(&bench) - before;
    assert!((9..=12).contains(&quiet), "{quiet}");
    let before = epoch(&bench);
    for _ in 0..1000 {
        bench.run(Outcome::pass("fine")).await;
        sleep(Duration::from_millis(1)).await;
    }
    let busy = epoch(&bench) - before;
    assert!((8..=12).contains(&busy), "{busy}");
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_boot_is_written_before_anything_else_also_when_the_disk_was_full_at_first() {
    let bench = bench_after(|writer, store| {
        store.fail(Some(std::io::ErrorKind::StorageFull));
        writer.boots();
    });
    sleep(Duration::from_secs(5)).await;
    assert!(bench.ledger.read().snapshot.state.live.unwritable.is_some());
    bench.store.fail(None);
    bench.ledger.configure(plan(vec![phase("one", vec![probe("p")])])).await.unwrap();
    let page = bench.ledger.audit(0, 10).await.unwrap().unwrap();
    let first = page.frames.first().unwrap().event().unwrap();
    assert!(matches!(first, Event::AnotherBoot { .. }), "{first:?}");
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_start_is_written_after_the_boot_and_before_anything_else() {
    let bench = bench_after(|writer, store| {
        store.fail(Some(std::io::ErrorKind::StorageFull));
        writer.boots();
        writer.starts(None, "1.2.3");
    });
    sleep(Duration::from_secs(5)).await;
    bench.store.fail(None);
    bench.ledger.configure(plan(vec![phase("one", vec![probe("p")])])).await.unwrap();
    let page = bench.ledger.audit(0, 3).await.unwrap().unwrap();
    let events: Vec<_> = page.frames.iter().map(|frame| frame.event().unwrap()).collect();
    let [Event::AnotherBoot { .. }, Event::VerifierStarted { version, .. }, Event::ConfigLoaded { .. }] = events.as_slice()
    else {
        panic!("{events:?}")
    };
    assert_eq!(version, "1.2.3");
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_evaluator_that_stood_still_says_so() {
    let bench = bench();
    bench.ledger.configure(plan(vec![phase("one", vec![probe("p")])])).await.unwrap();
    sleep(Duration::from_secs(10)).await;
    let gaps = async || {
        let page = bench.ledger.audit(0, 1000).await.unwrap().unwrap();
        let events = page.frames.iter().map(|frame| frame.event().unwrap());
        let gap = |event| if let Event::NobodyLooked { at, last } = event { Some(at.t.since(last.t)) } else { None };
        events.filter_map(gap).collect::<Vec<_>>()
    };
    assert!(gaps().await.is_empty());
    tokio::time::advance(Duration::from_secs(20)).await;
    sleep(Duration::from_secs(2)).await;
    let [gap] = gaps().await[..] else { panic!("{:?}", gaps().await) };
    assert!(gap >= Duration::from_secs(19), "{gap:?}");
    bench.end().await;
}
