//! Fail-open traps of other gates, each shown not to exist in the verdict core. Where a trap lives in a later layer, the
//! test here holds the core's part and says what the test of that layer must assert:
//!
//! - T7, T8: `POST …/rollback` answers 200 only while a regression is latched and the phase can roll back; a killed and
//!   restarted process answers the same phases, overrides and soak, and not an open gate before a full round of runs.
//! - T10: before the first evaluation the API answers 503 and `cutover` exits 3 or 11, never 0; pending is exit 8.
//! - T13: a server that is gone is exit 11, a Snapshot older than 3 s is `unknown` and 424, whatever was open before.

use probe::gate::{MAX_EPOCH_GAP, Verdict};
use probe::phase::can_roll_back;
use probe::state::{PhaseState, ProbeState};

use super::case::{Act, Doc, Look, ProbeDoc, phase_name};
use super::script::{Script, phase, probe};

/// Open, with a soak of two seconds served.
fn opened(probes: Vec<ProbeDoc>) -> Script {
    let mut script = Script::one(2_000, probes);
    script.switch(0);
    for _ in 0..4 {
        script.healthy();
    }
    assert_eq!(script.verdict(0), Verdict::Open);
    script
}

#[test]
fn t01_no_latching_all_green_must_be_in_one_epoch() {
    let lively = |id| ProbeDoc { recover_after: 1, ..probe(id) };
    let mut script = Script::one(0, vec![lively(0), lively(1)]);
    script.switch(0);
    script.control(0, Look::Fail);
    script.control(1, Look::Fail);
    script.run(1, Look::Pass);
    for (sick, well) in [(0, 1), (1, 0)] {
        script.run(sick, Look::Fail);
        script.run(well, Look::Pass);
        script.epoch(1_000);
        assert_eq!((script.colour(sick), script.colour(well)), (ProbeState::Suspect, ProbeState::Green));
        assert_eq!(script.verdict(0), Verdict::Pending, "each was green once, both never");
    }
    script.run(1, Look::Pass);
    script.epoch(1_000);
    assert_eq!(script.verdict(0), Verdict::Open);
}

#[test]
fn t02_a_gate_with_nothing_required_is_unknown() {
    let mut script = Script::one(0, vec![ProbeDoc { gate: false, ..probe(0) }]);
    script.switch(0);
    script.healthy();
    assert_eq!(script.verdict(0), Verdict::Unknown);
    assert_eq!(script.why(0), ["no_probes"]);
    assert!(script.say(Act::Complete(0)).is_none());

    let mut overridden = opened(vec![probe(0)]);
    overridden.must(Act::Override(0, 60_000));
    assert_eq!((overridden.verdict(0), overridden.why(0)), (Verdict::Unknown, vec!["no_probes".to_owned()]));
    assert!(overridden.say(Act::Complete(0)).is_none());
}

#[test]
fn t03_only_a_pass_is_a_pass() {
    for look in [Look::Unknown, Look::Waiting(60_000), Look::Waiting(-1), Look::Other] {
        let mut script = opened(vec![probe(0)]);
        for _ in 0..5 {
            script.run(0, look);
            script.epoch(1_000);
            assert_ne!(script.colour(0), ProbeState::Green, "{look:?}");
            assert_ne!(script.verdict(0), Verdict::Open, "{look:?}");
        }
    }
}

#[test]
fn t04_all_of_nothing_is_not_true() {
    let mut script = opened(vec![probe(0)]);
    script.must(Act::Run { probe: 0, old: false, began: 0, parts: Some(vec![]), reads: vec![] });
    assert_eq!((script.colour(0), script.verdict(0)), (ProbeState::Unknown, Verdict::Unknown));

    let mut script = opened(vec![probe(0)]);
    let both = Some(vec![(0, Look::Pass), (1, Look::Pass)]);
    script.must(Act::Run { probe: 0, old: false, began: 0, parts: both, reads: vec![] });
    assert_eq!(script.verdict(0), Verdict::Open);
    script.run(0, Look::Pass);
    assert_eq!(script.verdict(0), Verdict::Unknown, "part 1 has vanished");
    script.must(Act::Forget(0, 1));
    script.healthy();
    assert_eq!(script.colour(0), ProbeState::Green, "a forgotten part is not missed");
}

#[test]
fn t05_no_run_and_the_passing_of_time_open_nothing() {
    let mut script = Script::one(2_000, vec![probe(0)]);
    script.switch(0);
    for _ in 0..100 {
        script.epoch(1_000);
        assert_eq!(script.verdict(0), Verdict::Unknown);
    }
    script.epoch(400 * 24 * 3_600_000);
    assert_eq!(script.verdict(0), Verdict::Unknown);
}

#[test]
fn t06_errors_count_for_nothing_and_break_a_streak() {
    let mut script = Script::one(0, vec![probe(0)]);
    script.switch(0);
    script.control(0, Look::Fail);
    script.run(0, Look::Pass);
    for _ in 0..50 {
        script.run(0, Look::Unknown);
        script.epoch(1_000);
        assert_eq!(script.verdict(0), Verdict::Unknown);
    }
    script.run(0, Look::Pass);
    assert_eq!(script.colour(0), ProbeState::Unknown, "one pass after errors is not two in a row");
    script.run(0, Look::Pass);
    assert_eq!(script.colour(0), ProbeState::Green);
}

#[test]
fn t07_a_rollback_is_advised_by_a_latched_regression_and_by_nothing_else() {
    let mut script = opened(vec![probe(0)]);
    let plan = script.core.state.durable.plan.clone().unwrap();
    let latched = |script: &Script| script.core.state.phase(&phase_name(0)).regressed.len();
    script.must(Act::Complete(0));
    script.run(0, Look::Unknown);
    script.epoch(1_000);
    assert_eq!(latched(&script), 0, "we could not look: no reason to go back");
    script.healthy();
    script.run(0, Look::Fail);
    script.epoch(1_000);
    assert_eq!(latched(&script), 0, "a suspicion is no reason to go back");
    script.run(0, Look::Fail);
    script.epoch(1_000);
    assert_eq!((latched(&script), script.verdict(0)), (1, Verdict::Closed));
    script.healthy();
    assert_eq!(latched(&script), 1, "it stays latched until somebody has seen it");
    assert_eq!(can_roll_back(&script.core.state, &plan, "phase0"), Ok(()));
    script.must(Act::Rollback(0));
    assert_eq!((latched(&script), script.stands(0)), (0, PhaseState::Waiting));
    assert!(can_roll_back(&script.core.state, &plan, "phase0").is_err());
}

#[test]
fn t08_a_restart_keeps_what_was_earned_and_forgets_what_was_seen() {
    for crash in [false, true] {
        let mut script =
            Script::new(&[Doc { phases: vec![super::case::PhaseDoc { budget: 60_000, ..phase(0, 4_000, vec![probe(0)]) }] }]);
        script.switch(0);
        for _ in 0..6 {
            script.healthy();
        }
        script.must(Act::Checkpoint);
        assert_eq!(script.verdict(0), Verdict::Open);
        let have = script.gate(0).soak.have;
        script.must(Act::Restart { crash, boot: false });
        assert_eq!((script.stands(0), script.gate(0).soak.have), (PhaseState::Active, have));
        script.epoch(1_000);
        assert_eq!((script.colour(0), script.verdict(0)), (ProbeState::Unknown, Verdict::Unknown));
        script.run(0, Look::Pass);
        script.run(0, Look::Pass);
        assert_eq!(script.verdict(0), Verdict::Unknown, "the control has to be seen failing anew");
        script.control(0, Look::Fail);
        assert_eq!(script.verdict(0), Verdict::Open);
    }
}

#[test]
fn t09_a_name_that_matches_nothing_is_refused() {
    let mut script = opened(vec![probe(0)]);
    for act in [Act::Begin(7), Act::Switch(7), Act::Complete(7), Act::Adopt(7), Act::Override(7, 1_000), Act::Forget(7, 0)] {
        assert!(script.say(act.clone()).is_none(), "{act:?}");
    }
    assert!(probe::gate::evaluate(&script.core.state, script.core.now()).gate("phase7").is_none());
}

#[test]
fn t10_the_first_evaluation_is_never_open() {
    let mut script = Script::one(0, vec![probe(0)]);
    assert!(script.core.state.live.evaluation.is_none(), "nothing to answer with before the first epoch");
    script.epoch(1);
    let first = script.core.state.live.evaluation.clone().unwrap();
    assert_eq!(first.gates[0].verdict, Verdict::Unknown);
}

#[test]
fn t11_without_rules_nothing_is_allowed() {
    let mut core = super::drive::Core::new(&[]);
    for act in [Act::Begin(0), Act::Switch(0), Act::Complete(0), Act::Adopt(0), Act::Record(0, 1, 0)] {
        let tick = super::case::Tick::new(1, act);
        assert!(core.happen(&tick).is_none(), "{tick:?}");
    }
    let evaluation = probe::gate::evaluate(&core.state, core.now());
    assert!(evaluation.gates.is_empty() && evaluation.guards.is_empty());
}

#[test]
fn t12_what_disappears_is_not_resolved() {
    let whole = Doc { phases: vec![phase(0, 2_000, vec![probe(0), probe(1)])] };
    let less = Doc { phases: vec![phase(0, 2_000, vec![probe(1)])] };
    let mut script = Script::new(&[whole, less]);
    script.switch(0);
    for _ in 0..4 {
        script.healthy();
    }
    script.run(0, Look::Fail);
    script.run(0, Look::Fail);
    script.epoch(1_000);
    assert_eq!(script.verdict(0), Verdict::Closed);
    script.epoch(30_000);
    assert_eq!(script.verdict(0), Verdict::Unknown, "silence after red is not green");
    script.must(Act::Configure(1));
    script.run(1, Look::Pass);
    script.epoch(1_000);
    assert_eq!(script.verdict(0), Verdict::Pending, "without the red probe the soak starts anew");
}

#[test]
fn t13_a_frozen_evaluator_earns_nothing_and_its_last_answer_ages() {
    let mut script = opened(vec![probe(0)]);
    let last = script.core.state.live.evaluation.clone().unwrap();
    script.epoch(10_000);
    assert!(last.age(script.core.now().t) > MAX_EPOCH_GAP);
    assert_eq!(script.verdict(0), Verdict::Pending, "ten seconds that nobody watched are not green");
}

#[test]
fn t14_an_old_verdict_does_not_stand_for_a_new_document() {
    let old = Doc { phases: vec![phase(0, 2_000, vec![probe(0)])] };
    let new = Doc { phases: vec![phase(0, 2_000, vec![ProbeDoc { rev: 1, ..probe(0) }])] };
    let longer = Doc { phases: vec![phase(0, 3_000, vec![probe(0)])] };
    for (other, expected) in [(new, Verdict::Unknown), (longer, Verdict::Pending)] {
        let mut script = Script::new(&[old.clone(), other]);
        script.switch(0);
        for _ in 0..6 {
            script.healthy();
        }
        assert_eq!(script.verdict(0), Verdict::Open);
        script.must(Act::Configure(1));
        assert_eq!(script.verdict(0), expected);
        script.epoch(1_000);
        assert_eq!(script.verdict(0), expected);
    }
}
