//! Scripted histories that random ones seldom find.

mod disturbs;
mod lock;
mod plans;
mod ponr;
mod removals;
mod steps;

use probe::event::Event;
use probe::gate::Verdict;
use probe::state::ProbeState;

use super::case::{Act, Doc, Look, ProbeDoc, Seal, Thing};
use super::script::{Script, phase, probe};

#[test]
fn an_override_ends_when_its_probe_can_not_be_overridden_any_more() {
    let old = Doc { phases: vec![phase(0, 0, vec![probe(0), probe(1)])] };
    let fixed = Doc { phases: vec![phase(0, 0, vec![ProbeDoc { rev: 1, waivable: false, ..probe(0) }, probe(1)])] };
    let mut script = Script::new(&[old, fixed]);
    script.switch(0);
    script.healthy();
    script.must(Act::Override(0, 60_000));
    script.run(0, Look::Fail);
    script.run(0, Look::Fail);
    script.epoch(1_000);
    assert_eq!(script.verdict(0), Verdict::Open, "the red probe is overridden");
    script.must(Act::Configure(1));
    script.run(0, Look::Fail);
    script.run(0, Look::Fail);
    script.epoch(1_000);
    assert_eq!(script.verdict(0), Verdict::Closed, "it is not waivable any more");
}

#[test]
fn a_gate_without_a_budget_can_be_completed_between_two_epochs() {
    let mut script = Script::one(2_000, vec![probe(0)]);
    script.switch(0);
    for _ in 0..4 {
        script.healthy();
    }
    script.must(Act::Complete(0));
}

#[test]
fn a_proof_that_nobody_needed_is_not_sealed_after_it_has_expired() {
    let sum = ProbeDoc { proof: Some((6_000, Seal::Complete)), gate: false, ..probe(1) };
    let mut script = Script::one(0, vec![probe(0), sum]);
    script.switch(0);
    script.healthy();
    assert_eq!(script.colour(1), ProbeState::Green);
    script.epoch(10_000);
    assert_eq!(script.colour(1), ProbeState::Waiting);
    script.must(Act::Complete(0));
    assert_eq!(script.colour(1), ProbeState::Waiting);
    script.healthy();
    assert_eq!(script.colour(1), ProbeState::Green, "it still runs");
}

#[test]
fn a_latched_regression_is_not_edited_away() {
    let both = Doc { phases: vec![phase(0, 0, vec![probe(0), probe(1)])] };
    let edited = Doc { phases: vec![phase(0, 0, vec![probe(0)])] };
    let mut script = Script::new(&[both, edited]);
    script.switch(0);
    script.healthy();
    script.must(Act::Complete(0));
    script.run(1, Look::Fail);
    script.run(1, Look::Fail);
    script.epoch(1_000);
    assert!(script.say(Act::Configure(1)).is_none(), "its probe is gone, and with it the regression");
    script.must(Act::Acknowledge(0));
    script.must(Act::Configure(1));
}

#[test]
fn a_phase_is_not_rolled_back_from_under_one_that_has_retired_its_probes() {
    let old_side = ProbeDoc { until: Some(1), ..probe(1) };
    let mut script = Script::new(&[Doc { phases: vec![phase(0, 0, vec![probe(0), old_side]), phase(1, 0, vec![probe(2)])] }]);
    for id in [0, 1] {
        script.healthy();
        script.switch(id);
        script.healthy();
        script.must(Act::Complete(id));
    }
    assert!(script.say(Act::Rollback(0)).is_none(), "begun anew, it would complete without its probe 1");
    script.must(Act::Rollback(1));
    script.must(Act::Rollback(0));
}

#[test]
fn nothing_that_is_true_for_a_time_outlives_a_boot() {
    let sum = ProbeDoc { proof: Some((600_000, Seal::Complete)), ..probe(2) };
    let mut script = Script::one(2_000, vec![probe(0), probe(1), sum]);
    script.switch(0);
    script.must(Act::Override(1, 600_000));
    for _ in 0..4 {
        script.healthy();
    }
    assert_eq!((script.verdict(0), script.gate(0).overrides.len()), (Verdict::Open, 1));
    script.must(Act::Restart { crash: false, boot: true });
    assert_eq!((script.gate(0).soak.have.as_millis(), script.gate(0).overrides.len()), (0, 0));
    assert_eq!(script.colour(2), ProbeState::Waiting, "the proof is as old as the downtime, which nobody knows");
    script.healthy();
    assert_eq!(script.verdict(0), Verdict::Pending);
}

#[test]
fn a_sealed_proof_outlives_a_boot() {
    let sum = ProbeDoc { proof: Some((600_000, Seal::Complete)), ..probe(1) };
    let mut script = Script::one(0, vec![probe(0), sum]);
    script.switch(0);
    script.healthy();
    script.must(Act::Complete(0));
    script.must(Act::Restart { crash: true, boot: true });
    assert_eq!(script.colour(1), ProbeState::Green);
}

#[test]
fn a_failure_is_told_again_when_it_is_one_of_something_else_or_took_several_runs() {
    let sum = ProbeDoc { proof: Some((600_000, Seal::Complete)), ..probe(1) };
    let mut script = Script::one(0, vec![probe(0), sum]);
    let mut told = |server: u8, parts: Option<Vec<(u8, Look)>>| {
        let reads = vec![(Thing::Server(server), 0)];
        let events = script.say(Act::Run { probe: 1, old: false, began: 0, parts, reads }).unwrap();
        events.iter().any(|event| matches!(event, Event::ProofFinished { .. }))
    };
    let fail = || Some(vec![(0, Look::Fail)]);
    let runs = [(0, fail()), (0, fail()), (1, fail()), (1, fail()), (1, None), (1, fail()), (1, fail())];
    assert_eq!(runs.map(|(server, parts)| told(server, parts)), [true, false, true, false, false, true, false]);
}
