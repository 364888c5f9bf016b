use std::collections::BTreeMap;

use checks::{Outcome, Progress, ReasonSpec, Step};
use serde_json::json;

use super::*;
use crate::apply::apply;
use crate::decide::decide;
use crate::event::{Control, Input, Run};
use crate::now::Millis;
use crate::plan::{GatePlan, ProbePlan};

const OWN: ReasonSpec = ReasonSpec::fail("broken", "mend it");

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn now(seconds: u64) -> Now {
    let utc = chrono::DateTime::from_timestamp(1_700_000_000 + i64::try_from(seconds).unwrap(), 0).unwrap();
    Now { t: Millis(seconds * 1000), utc }
}

fn probe(name: &str, nature: NaturePlan) -> ProbePlan {
    ProbePlan {
        name: name.into(),
        check: "scripted".into(),
        hash: "h".into(),
        nature,
        gate: true,
        preflight: false,
        before_ponr: false,
        marks_ponr: false,
        targets: vec![],
        tripwire: false,
        until: None,
        fail_after: 1,
        recover_after: 1,
        every: s(5),
        timeout: s(4),
        max_age: s(1_000),
        control_every: s(1_000),
        control_reason: OWN.name.into(),
        waivable: true,
    }
}

fn phase(name: &str) -> PhasePlan {
    let gate = GatePlan { soak: s(0), min_samples: 1, unknown_budget: s(0), max_wait: None };
    PhasePlan {
        name: name.into(),
        gate,
        probes: vec![probe(&format!("{name}-look"), NaturePlan::Continuous)],
        steps: Vec::new(),
        four_eyes: false,
    }
}

fn document(names: &[&str]) -> Plan {
    Plan::new("m", names.concat(), names.iter().map(|name| phase(name)).collect())
}

fn ledger(plan: Plan) -> State {
    let mut state = State::default();
    take(&mut state, &Input::Configure(Arc::new(plan)), now(0)).unwrap();
    state
}

fn take(state: &mut State, input: &Input, at: Now) -> Result<Vec<Event>, Refusal> {
    let events = decide(state, input, at)?;
    for event in &events {
        apply(state, event);
    }
    Ok(events)
}

fn say(state: &mut State, wish: Wish) -> Result<Vec<Event>, Refusal> {
    take(state, &Input::Command(Command { by: "tester".into(), wish, terms: Terms::default() }), now(10))
}

fn refused(state: &mut State, wish: Wish) -> RefusalKind {
    say(state, wish).unwrap_err().kind
}

fn adopt(state: &mut State, phase: &str) {
    say(state, Wish::Adopt(phase.into(), "done by hand".into())).unwrap();
}

fn reload(state: &mut State, plan: Plan) -> Result<Vec<Event>, Refusal> {
    take(state, &Input::Configure(Arc::new(plan)), now(20))
}

fn pass(state: &mut State, probe: &str, at: u64) {
    read(state, probe, at, Step::whole(Outcome::pass("seen")), BTreeMap::new());
}

fn read(state: &mut State, probe: &str, at: u64, step: Step, identities: BTreeMap<String, String>) {
    let run = run_of(state, probe, at, step, identities);
    let (generation, started, finished) = (run.generation, run.started, run.finished);
    let outcome = OWN.because("as it should");
    take(state, &Input::Control(Control { probe: probe.into(), generation, started, finished, outcome }), now(at)).unwrap();
    take(state, &Input::Run(run), now(at)).unwrap();
}

fn run_of(state: &State, probe: &str, at: u64, step: Step, identities: BTreeMap<String, String>) -> Run {
    let generation = state.live.probes[probe].generation;
    let (probe, started, finished) = (probe.into(), now(at), now(at));
    Run { probe, generation, started, finished, step, memory: None, identities, trails: BTreeMap::new(), named: None }
}

#[test]
fn a_phase_goes_from_waiting_to_active_to_complete() {
    let mut state = ledger(document(&["a", "b"]));
    assert_eq!(refused(&mut state, Wish::Switch("a".into())), RefusalKind::Conflict);
    assert_eq!(refused(&mut state, Wish::Complete("a".into())), RefusalKind::Gate(Verdict::Unknown));
    assert_eq!(refused(&mut state, Wish::Begin("b".into())), RefusalKind::Gate(Verdict::Unknown));
    say(&mut state, Wish::Begin("a".into())).unwrap();
    assert_eq!(refused(&mut state, Wish::Begin("a".into())), RefusalKind::Conflict);
    say(&mut state, Wish::Switch("a".into())).unwrap();
    assert_eq!(refused(&mut state, Wish::Switch("a".into())), RefusalKind::Conflict);
    pass(&mut state, "a-look", 10);
    say(&mut state, Wish::Complete("a".into())).unwrap();
    assert_eq!(state.phase("a").state(), PhaseState::Complete);
    assert_eq!(refused(&mut state, Wish::Complete("a".into())), RefusalKind::Conflict);
    say(&mut state, Wish::Begin("b".into())).unwrap();
}

#[test]
fn a_refusal_says_what_stands_in_the_way() {
    let mut state = ledger(document(&["a", "b"]));
    let refusal = say(&mut state, Wish::Complete("a".into())).unwrap_err();
    let reasons: Vec<_> = refusal.blockers.iter().map(|b| b.reason.to_string()).collect();
    assert!(reasons.contains(&"not_begun".to_owned()), "{reasons:?}");
    assert!(reasons.contains(&"no_run".to_owned()), "{reasons:?}");
}

#[test]
fn phases_are_adopted_in_order_and_only_while_they_wait() {
    let mut state = ledger(document(&["a", "b"]));
    assert_eq!(refused(&mut state, Wish::Adopt("b".into(), "why".into())), RefusalKind::Conflict);
    assert_eq!(refused(&mut state, Wish::Adopt("a".into(), " ".into())), RefusalKind::Invalid);
    adopt(&mut state, "a");
    assert_eq!(refused(&mut state, Wish::Adopt("a".into(), "why".into())), RefusalKind::Conflict);
    adopt(&mut state, "b");
}

#[test]
fn a_rollback_wants_no_other_phase_active() {
    let mut state = ledger(document(&["a", "b"]));
    assert_eq!(refused(&mut state, Wish::Rollback("a".into(), "why".into())), RefusalKind::Conflict);
    adopt(&mut state, "a");
    pass(&mut state, "a-look", 10);
    say(&mut state, Wish::Begin("b".into())).unwrap();
    assert_eq!(refused(&mut state, Wish::Rollback("a".into(), "why".into())), RefusalKind::Conflict);
    say(&mut state, Wish::Rollback("b".into(), "why".into())).unwrap();
    say(&mut state, Wish::Rollback("a".into(), "why".into())).unwrap();
    assert_eq!((state.phase("a").state(), state.phase("b").state()), (PhaseState::Waiting, PhaseState::Waiting));
}

#[test]
fn a_probe_returns_afresh_from_the_rollback_of_the_phase_it_lasted_until() {
    let mut plan = document(&["a", "b"]);
    plan.phases[0].probes.push(ProbePlan { until: Some("b".into()), ..probe("old-side", NaturePlan::Continuous) });
    let mut state = ledger(plan.clone());
    adopt(&mut state, "a");
    let generation = state.live.probes["old-side"].generation;
    assert!(!state.retired(&plan.phases[0].probes[1]));
    adopt(&mut state, "b");
    assert!(state.retired(&plan.phases[0].probes[1]));
    say(&mut state, Wish::Rollback("b".into(), "why".into())).unwrap();
    assert!(!state.retired(&plan.phases[0].probes[1]));
    assert_ne!(state.live.probes["old-side"].generation, generation);
}

#[test]
fn overrides_name_waivable_probes_for_a_while() {
    let mut plan = document(&["a"]);
    plan.phases[0].probes.push(ProbePlan { waivable: false, ..probe("identity", NaturePlan::Continuous) });
    let mut state = ledger(plan.clone());
    let wish =
        |probe: &str, ttl: u64| Wish::Override { probe: probe.into(), reason: "because".into(), ticket: None, ttl: s(ttl) };
    assert_eq!(refused(&mut state, wish("identity", 60)), RefusalKind::Conflict);
    assert_eq!(refused(&mut state, wish("nobody", 60)), RefusalKind::NotFound);
    assert_eq!(refused(&mut state, wish("a-look", 0)), RefusalKind::Invalid);
    assert_eq!(refused(&mut state, wish("a-look", 7 * 24 * 3600 + 1)), RefusalKind::Invalid);
    say(&mut state, wish("a-look", 60)).unwrap();
    let look = &plan.phases[0].probes[0];
    assert_eq!(state.overridden(look, now(69).t), Some(0));
    assert_eq!(state.overridden(look, now(70).t), None);
    assert_eq!(refused(&mut state, wish("a-look", 60)), RefusalKind::Conflict, "one at a time");
    say(&mut state, Wish::Revoke(0)).unwrap();
    assert_eq!(state.overridden(look, now(11).t), None);
    assert_eq!(refused(&mut state, Wish::Revoke(0)), RefusalKind::NotFound);
    say(&mut state, wish("a-look", 60)).unwrap();
    assert_eq!(state.overridden(look, now(11).t), Some(1), "ids are never used twice");
}

#[test]
fn facts_are_immutable() {
    let mut state = ledger(document(&["a"]));
    say(&mut state, Wish::Record("baseline".into(), json!(1))).unwrap();
    assert_eq!(say(&mut state, Wish::Record("baseline".into(), json!(1))), Ok(vec![]));
    assert_eq!(refused(&mut state, Wish::Record("baseline".into(), json!(2))), RefusalKind::Conflict);
    assert_eq!(refused(&mut state, Wish::Record("a name".into(), json!(2))), RefusalKind::Invalid);
}

/// From the moment on that a newer edition is recorded, and not only with the proof's next Run.
#[test]
fn a_newer_edition_of_a_fact_voids_what_was_proven_with_an_older_one() {
    let proof = |name, seal_at| probe(name, NaturePlan::Proof { valid_for: s(1_000), seal_at });
    let mut plan = document(&["a"]);
    plan.phases[0].probes.extend([
        proof("done", SealAt::Complete),
        proof("begun", SealAt::Complete),
        proof("other", SealAt::Complete),
        proof("sealed", SealAt::Switch),
    ]);
    let mut state = ledger(plan);
    say(&mut state, Wish::Begin("a".into())).unwrap();
    let with = |fact: &str, edition: &str| BTreeMap::from([(format!("fact {fact}"), edition.to_owned())]);
    let passed = || Step::whole(Outcome::pass("seen"));
    let slice = Step::More(Progress { done: 1, total: 2, note: "half".into() });
    read(&mut state, "done", 10, passed(), with("sums", "sums.2"));
    read(&mut state, "begun", 10, slice, with("sums", "sums.2"));
    read(&mut state, "other", 10, passed(), with("sum", "sum"));
    read(&mut state, "sealed", 10, passed(), with("sums", "sums.2"));
    say(&mut state, Wish::Switch("a".into())).unwrap();
    assert!(state.durable.proofs["sealed"].sealed);

    for older in ["sums", "sums.1", "other", "sums.x"] {
        say(&mut state, Wish::Record(older.into(), json!(older))).unwrap();
        assert_eq!(state.durable.proofs.len(), 3, "{older}");
        assert!(state.soft.reading.contains_key("begun"), "{older}");
    }
    say(&mut state, Wish::Record("sums.3".into(), json!(3))).unwrap();
    assert_eq!(state.durable.proofs.keys().map(|name| &**name).collect::<Vec<_>>(), ["other", "sealed"]);
    assert!(!state.soft.reading.contains_key("begun"));

    let late = run_of(&state, "done", 20, passed(), with("sums", "sums.2"));
    assert_eq!(decide(&state, &Input::Run(late), now(20)).unwrap_err().kind, RefusalKind::Outdated, "it began before");
    read(&mut state, "done", 20, passed(), with("sums", "sums.3"));
    assert!(state.durable.proofs["sealed"].sealed, "what others read by now is nothing to it");
}

#[test]
fn a_reload_does_not_rewrite_what_has_happened() {
    let mut state = ledger(document(&["a", "b", "c"]));
    adopt(&mut state, "a");
    adopt(&mut state, "b");
    for names in [&["b", "a", "c"][..], &["a", "c"], &["new", "a", "b", "c"], &["a", "new", "b", "c"], &["a"]] {
        assert!(reload(&mut state, document(names)).is_err(), "{names:?}");
    }
    for names in [&["a", "b", "new", "c"][..], &["a", "b"], &["a", "b", "c"]] {
        assert!(reload(&mut state, document(names)).is_ok(), "{names:?}");
    }
}

#[test]
fn a_sealed_proof_is_neither_changed_nor_moved_nor_removed() {
    let proof = || probe("sum", NaturePlan::Proof { valid_for: s(1_000), seal_at: SealAt::Complete });
    let mut plan = document(&["a", "b"]);
    plan.phases[0].probes.push(proof());
    let mut state = ledger(plan.clone());
    say(&mut state, Wish::Begin("a".into())).unwrap();
    say(&mut state, Wish::Switch("a".into())).unwrap();
    pass(&mut state, "a-look", 10);
    pass(&mut state, "sum", 10);
    say(&mut state, Wish::Complete("a".into())).unwrap();
    assert!(state.durable.proofs["sum"].sealed);

    let mut changed = plan.clone();
    changed.phases[0].probes[1].hash = "other".into();
    let mut moved = document(&["a", "b"]);
    moved.phases[1].probes.push(proof());
    for other in [changed, moved, document(&["a", "b"])] {
        assert_eq!(reload(&mut state, other).unwrap_err().kind, RefusalKind::Conflict);
    }
    let mut more = plan;
    more.phases[1].probes.push(probe("more", NaturePlan::Continuous));
    assert!(reload(&mut state, more).is_ok());
}

#[test]
fn nothing_is_possible_without_a_document() {
    assert_eq!(refused(&mut State::default(), Wish::Begin("a".into())), RefusalKind::Conflict);
}
