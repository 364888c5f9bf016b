use std::collections::BTreeMap;
use std::sync::Arc;

use checks::{MAX_PARTS, Outcome, PartId, ReasonSpec, Step};

use super::*;
use crate::apply::apply;
use crate::decide::decide;
use crate::event::{Command, Control, Event, Input, Run, Terms, Wish};
use crate::plan::{GatePlan, NaturePlan, PhasePlan, SealAt};
use crate::state::Unwritable;

const OWN: ReasonSpec = ReasonSpec::fail("broken", "mend it");
const BLIND: ReasonSpec = ReasonSpec::unknown("blind", "open your eyes");
const LATER: ReasonSpec = ReasonSpec::waiting("later", "wait");

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn probe(name: &str) -> ProbePlan {
    ProbePlan {
        name: name.into(),
        check: "scripted".into(),
        hash: "h".into(),
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
        every: s(5),
        timeout: s(4),
        max_age: s(20),
        control_every: s(600),
        control_reason: OWN.name.into(),
        waivable: true,
    }
}

fn proof(name: &str, seal_at: SealAt) -> ProbePlan {
    ProbePlan { nature: NaturePlan::Proof { valid_for: s(1_000), seal_at }, ..probe(name) }
}

fn phase(name: &str, soak: u64, probes: Vec<ProbePlan>) -> PhasePlan {
    let gate = GatePlan { soak: s(soak), min_samples: 1, unknown_budget: s(0), max_wait: None };
    PhasePlan { name: name.into(), gate, probes, steps: Vec::new(), four_eyes: false }
}

/// A ledger with its clock.
struct World {
    state: State,
    seconds: u64,
}

impl World {
    /// Phase `a` with probe `one` and a proof, phase `b` with probe `two`; nothing has to soak.
    fn new() -> Self {
        Self::with(vec![
            phase("a", 0, vec![probe("one"), proof("sum", SealAt::Complete)]),
            phase("b", 0, vec![ProbePlan { preflight: true, ..probe("two") }, proof("copy", SealAt::Switch)]),
        ])
    }

    fn with(phases: Vec<PhasePlan>) -> Self {
        let mut world = Self { state: State::default(), seconds: 0 };
        world.must(&Input::Configure(Arc::new(Plan::new("m", "h", phases))));
        world
    }

    fn now(&self) -> Now {
        let utc = chrono::DateTime::from_timestamp(1_700_000_000 + i64::try_from(self.seconds).unwrap(), 0).unwrap();
        Now { t: Millis(self.seconds * 1000), utc }
    }

    fn take(&mut self, input: &Input) -> Option<Vec<Event>> {
        let events = decide(&self.state, input, self.now()).ok()?;
        for event in &events {
            apply(&mut self.state, event);
        }
        Some(events)
    }

    fn must(&mut self, input: &Input) {
        assert!(self.take(input).is_some(), "{input:?} was refused");
    }

    fn say(&mut self, wish: Wish) -> bool {
        self.take(&Input::Command(Command { by: "tester".into(), wish, terms: Terms::default() })).is_some()
    }

    fn switch(&mut self, phase: &str) {
        assert!(self.say(Wish::Begin(phase.into())), "begin {phase}: {:?}", self.guard(phase));
        assert!(self.say(Wish::Switch(phase.into())), "switch {phase}: {:?}", self.guard(phase));
    }

    fn run(&mut self, probe: &str, outcome: Outcome) {
        let run = Run {
            probe: probe.into(),
            generation: self.state.live.probes[probe].generation,
            started: self.now(),
            finished: self.now(),
            step: Step::whole(outcome),
            memory: None,
            identities: BTreeMap::new(),
            trails: BTreeMap::new(),
            named: None,
        };
        self.must(&Input::Run(run));
    }

    fn pass(&mut self, probe: &str) {
        let (generation, now) = (self.state.live.probes[probe].generation, self.now());
        let control =
            Control { probe: probe.into(), generation, started: now, finished: now, outcome: OWN.because("as it should") };
        self.must(&Input::Control(control));
        self.run(probe, Outcome::pass("seen"));
    }

    /// A second later everything is evaluated.
    fn epoch(&mut self) {
        self.seconds += 1;
        self.must(&Input::Epoch);
    }

    /// Verdict and first reason.
    fn gate(&self, phase: &str) -> (Verdict, String) {
        brief(evaluate(&self.state, self.now()).gate(phase).unwrap())
    }

    fn guard(&self, phase: &str) -> (Verdict, String) {
        brief(evaluate(&self.state, self.now()).guard(phase).unwrap())
    }

    /// Phase `a` is switched and everything in it is green.
    fn green() -> Self {
        let mut world = Self::new();
        world.pass("one");
        world.switch("a");
        world.epoch();
        world.pass("one");
        world.pass("sum");
        world.epoch();
        assert_eq!(world.gate("a").0, Verdict::Open, "{:?}", world.gate("a"));
        world
    }

    /// Phase `a` is complete, phase `b` switched and green.
    fn second() -> Self {
        let mut world = Self::green();
        assert!(world.say(Wish::Complete("a".into())));
        world.pass("two");
        assert!(world.say(Wish::Begin("b".into())), "{:?}", world.guard("b"));
        world.pass("copy");
        assert!(world.say(Wish::Switch("b".into())), "{:?}", world.guard("b"));
        world.epoch();
        world.pass("two");
        world.epoch();
        assert_eq!(world.gate("b").0, Verdict::Open, "{:?}", world.gate("b"));
        world
    }
}

fn brief(view: &GateView) -> (Verdict, String) {
    (view.verdict, view.blockers.first().map_or_else(String::new, |blocker| blocker.reason.to_string()))
}

fn is(verdict: Verdict, reason: &str) -> (Verdict, String) {
    (verdict, reason.to_owned())
}

#[test]
fn row_1_nothing_is_known_without_a_document() {
    let evaluation = evaluate(&State::default(), World::new().now());
    assert!(evaluation.gates.is_empty());
}

#[test]
fn row_1_no_required_probe_is_left() {
    let mut world = World::green();
    assert!(world.say(Wish::Override { probe: "one".into(), reason: "because".into(), ticket: None, ttl: s(60) }));
    assert_eq!(world.gate("a").0, Verdict::Open, "the proof is left");
    assert!(world.say(Wish::Override { probe: "sum".into(), reason: "because".into(), ticket: None, ttl: s(60) }));
    assert_eq!(world.gate("a"), is(Verdict::Unknown, "no_probes"));
    assert_eq!(evaluate(&world.state, world.now()).gate("a").unwrap().overrides, [0, 1]);
}

#[test]
fn row_1_no_full_round_since_the_start_beats_closed() {
    let mut world = World::new();
    assert_eq!(world.gate("a").0, Verdict::Unknown);
    world.run("one", BLIND.because("not seen"));
    assert_eq!(world.gate("a"), is(Verdict::Closed, "not_begun"));
    world.state = world.state.restarted();
    assert_eq!(world.gate("a").0, Verdict::Unknown);
}

#[test]
fn row_1_an_unwritable_ledger_beats_closed() {
    let mut world = World::second();
    world.must(&Input::Store(Err(Unwritable::here("disk full"))));
    world.run("one", OWN.because("wrong"));
    world.run("one", OWN.because("wrong"));
    assert_eq!(world.gate("b"), is(Verdict::Unknown, "ledger_unwritable"));
    assert_eq!(world.guard("b").0, Verdict::Unknown);
    world.must(&Input::Store(Ok(())));
    assert_eq!(world.gate("b"), is(Verdict::Closed, "broken"));
}

#[test]
fn row_2_order_begin_and_switch() {
    let mut world = World::new();
    world.pass("one");
    world.pass("two");
    assert_eq!(world.gate("b"), is(Verdict::Closed, "earlier_phase_not_complete"));
    assert_eq!(world.gate("a"), is(Verdict::Closed, "not_begun"));
    assert!(world.say(Wish::Begin("a".into())));
    assert_eq!(world.gate("a"), is(Verdict::Closed, "not_switched"));
    world.run("one", BLIND.because("not seen"));
    assert_eq!(world.gate("a"), is(Verdict::Closed, "not_switched"), "row 2 comes before row 4");
}

#[test]
fn row_3_red_here_or_in_an_earlier_phase_beats_unknown() {
    for probe in ["one", "two"] {
        let mut world = World::second();
        world.run(if probe == "one" { "two" } else { "one" }, BLIND.because("not seen"));
        world.run(probe, OWN.because("wrong"));
        assert_eq!(world.gate("b"), is(Verdict::Unknown, "blind"));
        world.run(probe, OWN.because("wrong"));
        assert_eq!(world.gate("b"), is(Verdict::Closed, "broken"));
    }
}

#[test]
fn row_4_unknown_beats_pending() {
    let mut world = World::second();
    world.run("two", OWN.because("wrong"));
    assert_eq!(world.gate("b").0, Verdict::Pending);
    world.run("one", BLIND.because("not seen"));
    assert_eq!(world.gate("b"), is(Verdict::Unknown, "blind"));
    world.pass("one");
    world.pass("two");
    world.seconds += 21;
    assert_eq!(world.gate("b"), is(Verdict::Unknown, "stale"));
}

#[test]
fn row_5_suspect_waiting_unfinished_proof_and_soak() {
    let mut world = World::second();
    world.run("one", OWN.because("wrong"));
    assert_eq!(world.gate("b"), is(Verdict::Pending, "broken"));
    world.pass("one");
    assert_eq!(world.gate("b").0, Verdict::Open, "a suspicion is not red");
    let due = world.now().utc + s(10);
    world.run("one", LATER.until(due, "not yet"));
    assert_eq!(world.gate("b"), is(Verdict::Pending, "later"));

    let mut world = World::green();
    world.seconds += 1_001;
    world.pass("one");
    assert_eq!(world.gate("a"), is(Verdict::Pending, "expired"));
    assert!(!world.say(Wish::Complete("a".into())));

    let mut world = World::with(vec![phase("a", 3, vec![probe("one")])]);
    world.switch("a");
    world.pass("one");
    for _ in 0..4 {
        assert_eq!(world.gate("a"), is(Verdict::Pending, "soaking"));
        world.epoch();
    }
    assert_eq!(world.gate("a").0, Verdict::Open);
}

#[test]
fn row_6_open_since_the_first_open_epoch() {
    let mut world = World::green();
    let since = world.now();
    world.epoch();
    let gate = evaluate(&world.state, world.now()).gate("a").unwrap().clone();
    assert_eq!((gate.open_since, gate.blocked_by, gate.blockers.len()), (Some(since), 0, 0));
    assert!(world.say(Wish::Complete("a".into())));
    assert!(world.state.durable.proofs["sum"].sealed);
}

#[test]
fn the_guard_wants_earlier_phases_complete_and_green_and_preflight_at_begin_only() {
    let mut world = World::green();
    world.pass("two");
    assert_eq!(world.guard("b").0, Verdict::Closed);
    assert!(world.say(Wish::Complete("a".into())));
    assert_eq!(world.guard("b").0, Verdict::Open);
    world.run("two", OWN.because("wrong"));
    assert_eq!(world.guard("b"), is(Verdict::Pending, "broken"), "preflight");
    world.pass("two");
    assert!(world.say(Wish::Begin("b".into())));
    world.run("two", OWN.because("wrong"));
    assert_eq!(world.guard("b"), is(Verdict::Pending, "unfinished"), "the proof that the switch seals");
    world.pass("copy");
    assert_eq!(world.guard("b").0, Verdict::Open, "steps are not guarded by what only they can turn green");
    world.run("one", OWN.because("wrong"));
    assert_eq!(world.guard("b").0, Verdict::Pending);
    world.run("one", OWN.because("wrong"));
    assert_eq!(world.guard("b").0, Verdict::Closed);
}

#[test]
fn a_latched_regression_shuts_every_guard_but_no_gate() {
    let mut world = World::green();
    assert!(world.say(Wish::Complete("a".into())));
    world.pass("two");
    for _ in 0..2 {
        world.run("one", OWN.because("wrong"));
    }
    world.epoch();
    world.pass("one");
    world.epoch();
    assert_eq!(world.guard("b"), is(Verdict::Closed, "regressed"));
    assert!(!world.say(Wish::Begin("b".into())));
    assert_eq!(world.gate("b").1, "not_begun");
    assert!(world.say(Wish::Acknowledge("a".into(), "mended".into())));
    assert!(world.say(Wish::Begin("b".into())));
}

/// An agent that calls itself by another name in each answer must not fill the ledger.
#[test]
fn a_target_that_names_new_parts_for_ever_is_remembered_within_bounds_and_stays_unknown() {
    let mut world = World::green();
    for n in 0..MAX_PARTS + 2 {
        let run = Run {
            probe: "one".into(),
            generation: world.state.live.probes["one"].generation,
            started: world.now(),
            finished: world.now(),
            step: Step::Done(BTreeMap::from([(PartId::new(format!("part-{n}")), Outcome::pass("seen"))])),
            memory: None,
            identities: BTreeMap::new(),
            trails: BTreeMap::new(),
            named: None,
        };
        world.must(&Input::Run(run));
    }
    assert_eq!(world.state.soft.parts["one"].len(), MAX_PARTS);
    let last = world.state.live.probes["one"].last.clone().unwrap();
    assert!(last.parts.len() <= MAX_PARTS + 1);
    assert_eq!(last.outcome.reason(), Some(&checks::engine_reasons::PART_VANISHED.into()));
    world.epoch();
    assert_eq!(world.gate("a").0, Verdict::Unknown);
}

/// A node that Kubernetes has no more has left; one that it has, and that runs nothing, is missing.
#[test]
fn a_part_that_nobody_names_any_more_has_left() {
    let mut world = World::green();
    let look = |world: &mut World, reported: &[&str], named: Option<&[&str]>| {
        let part = |name: &&str| (PartId::new(name), Outcome::pass("seen"));
        let run = Run {
            probe: "one".into(),
            generation: world.state.live.probes["one"].generation,
            started: world.now(),
            finished: world.now(),
            step: Step::Done(reported.iter().map(part).collect()),
            memory: None,
            identities: BTreeMap::new(),
            trails: BTreeMap::new(),
            named: named.map(|named| named.iter().map(PartId::new).collect()),
        };
        world.must(&Input::Run(run));
        world.state.live.probes["one"].last.clone().unwrap().outcome.label()
    };
    assert_eq!(look(&mut world, &["n1", "n2"], Some(&["n1", "n2"])), "pass");
    assert_eq!(look(&mut world, &["n1"], Some(&["n1", "n2"])), "unknown", "the node is there");
    assert_eq!(look(&mut world, &["n1"], None), "unknown", "nobody knows");
    assert_eq!(look(&mut world, &["n1"], Some(&["n1"])), "pass", "the node is gone");
    assert_eq!(look(&mut world, &["n1"], Some(&["n1", "n2"])), "unknown", "it is back, without a pod");
}
