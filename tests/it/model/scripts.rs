//! Scripted histories that random ones seldom find.

use probe::gate::Verdict;

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
