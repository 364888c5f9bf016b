//! Scripted histories that random ones seldom find.

use probe::gate::Verdict;
use probe::state::ProbeState;

use super::case::{Act, Doc, Look, ProbeDoc};
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
    let sum = ProbeDoc { proof: Some((6_000, false)), gate: false, ..probe(1) };
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
