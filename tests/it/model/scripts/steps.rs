//! The steps of a phase, one after the other, and what goes wrong with them.

use probe::event::{RefusalKind, StepEnd, Way};
use probe::gate::Verdict;
use probe::state::{PhaseState, ProbeState, StepState};

use crate::model::case::{Act, Doc, Look, PhaseDoc, ProbeDoc, Said, Seal, StepDoc, phase_name};
use crate::model::script::{HOLDER, Script, phase, probe, start, step, stepped, switch};

#[test]
fn a_phase_is_carried_out_step_by_step() {
    let mut script = Script::stepped(vec![step(0), switch(1), step(2)]);
    let switching = |script: &Script| script.core.state.phase(&phase_name(1)).is_switching();
    let switched = |script: &Script| script.core.state.phase(&phase_name(1)).switched.is_some();
    assert_eq!(script.guard(1), Verdict::Open);
    for later in [1, 2] {
        script.refused(start(1, later, Way::Do), HOLDER, RefusalKind::Conflict);
    }
    script.refused(start(1, 7, Way::Do), HOLDER, RefusalKind::NotFound);
    assert!(script.say_with(start(7, 0, Way::Do), HOLDER).is_none());
    script.start(1, 0);
    assert_eq!(script.guard(1), Verdict::Closed, "something is running");
    script.refused(start(1, 0, Way::Do), HOLDER, RefusalKind::Conflict);
    script.refused(start(1, 1, Way::Do), HOLDER, RefusalKind::Conflict);
    script.refused(start(1, 0, Way::Undo), HOLDER, RefusalKind::Conflict);
    script.holder(Act::StepWorked(1, 0));
    assert_eq!(script.guard(1), Verdict::Closed, "its probes are looked at");
    script.refused(Act::StepWorked(1, 0), HOLDER, RefusalKind::Conflict);
    script.holder(Act::EndStep(1, 0, StepEnd::Done));
    script.refused(Act::EndStep(1, 0, StepEnd::Done), HOLDER, RefusalKind::Conflict);
    assert!(!switching(&script));
    script.start(1, 1);
    assert!(switching(&script) && !switched(&script));
    script.holder(Act::EndStep(1, 1, StepEnd::Done));
    script.healthy();
    assert_eq!((script.verdict(1), switched(&script)), (Verdict::Closed, false), "a step is not done");
    script.refused(Act::Complete(1), HOLDER, RefusalKind::Gate(Verdict::Closed));
    script.done(1, 2);
    assert!(switched(&script));
    script.healthy();
    assert_eq!((script.verdict(1), script.guard(1)), (Verdict::Open, Verdict::Closed));
    script.holder(Act::Complete(1));
    assert!(script.core.replays());
}

#[test]
fn a_phase_with_steps_is_not_switched_by_hand() {
    let mut script = Script::stepped(vec![switch(0)]);
    assert!(script.say_with(Act::Switch(1), HOLDER).is_none());
    script.done(1, 0);
    assert!(script.say_with(Act::Switch(1), HOLDER).is_none());
}

#[test]
fn the_soak_begins_when_the_last_step_is_done() {
    let mut doc = stepped(vec![switch(0), step(1)]);
    doc.phases[1].soak = 3_000;
    let mut script = Script::begun(&[doc]);
    script.done(1, 0);
    for _ in 0..5 {
        script.healthy();
    }
    script.done(1, 1);
    assert_eq!((script.gate(1).soak.have.as_millis(), script.gate(1).soak.samples_have), (0, 0));
    for _ in 0..2 {
        script.healthy();
    }
    assert_eq!(script.verdict(1), Verdict::Pending);
    for _ in 0..2 {
        script.healthy();
    }
    assert_eq!(script.verdict(1), Verdict::Open, "{:?}", script.why(1));
}

#[test]
fn a_step_waits_for_looks_of_its_probes_after_its_work() {
    let mut script = Script::stepped(vec![StepDoc { verify: vec![1, 8], ..switch(0) }]);
    let done = Act::EndStep(1, 0, StepEnd::Done);
    script.start(1, 0);
    script.healthy();
    assert_eq!(script.colour(1), ProbeState::Green);
    script.refused(done.clone(), HOLDER, RefusalKind::Conflict);
    script.holder(Act::StepWorked(1, 0));
    assert!(script.say_with(done.clone(), HOLDER).is_none(), "nobody has looked since");
    script.must(Act::Run { probe: 1, old: false, began: 500, parts: Some(vec![(0, Look::Pass)]), reads: vec![] });
    assert!(script.say_with(done.clone(), HOLDER).is_none(), "that look had begun before");
    script.run(1, Look::Waiting(60_000));
    assert!(script.say_with(done.clone(), HOLDER).is_none(), "waiting is not green");
    script.run(1, Look::Pass);
    script.run(1, Look::Pass);
    script.holder(done);
}

#[test]
fn a_step_does_not_wait_for_an_overridden_probe() {
    let mut script = Script::stepped(vec![StepDoc { verify: vec![1], ..switch(0) }]);
    script.start(1, 0);
    script.red(1);
    script.holder(Act::StepWorked(1, 0));
    assert!(script.say_with(Act::EndStep(1, 0, StepEnd::Done), HOLDER).is_none());
    script.must(Act::Override(1, 60_000));
    script.holder(Act::EndStep(1, 0, StepEnd::Done));
}

#[test]
fn a_step_waits_for_a_proof_without_a_second_look() {
    let sum = ProbeDoc { proof: Some((600_000, Seal::Complete)), ..probe(2) };
    let mut doc = stepped(vec![StepDoc { verify: vec![2], ..switch(0) }]);
    doc.phases[1].probes.push(sum);
    let mut script = Script::begun(&[doc]);
    assert_eq!(script.colour(2), ProbeState::Green);
    script.start(1, 0);
    script.holder(Act::StepWorked(1, 0));
    script.holder(Act::EndStep(1, 0, StepEnd::Done));
}

#[test]
fn a_step_waits_for_a_gate() {
    let mut doc = stepped(vec![StepDoc { gate: Some(0), ..switch(0) }]);
    doc.phases[0].soak = 2_000;
    doc.phases[0].budget = 60_000;
    let mut script = Script::new(&[doc]);
    script.healthy();
    script.switch(0);
    for _ in 0..4 {
        script.healthy();
    }
    script.must(Act::Complete(0));
    script.must(Act::Begin(1));
    script.lock(1);
    script.start(1, 0);
    script.refused(Act::EndStep(1, 0, StepEnd::Done), HOLDER, RefusalKind::Conflict);
    script.holder(Act::StepWorked(1, 0));
    script.run(0, Look::Waiting(60_000));
    assert!(script.say_with(Act::EndStep(1, 0, StepEnd::Done), HOLDER).is_none());
    script.healthy();
    script.holder(Act::EndStep(1, 0, StepEnd::Done));
}

#[test]
fn what_was_broken_off_starts_again_only_when_somebody_has_looked() {
    for (end, state) in [(StepEnd::Failed, StepState::Failed), (StepEnd::Interrupted, StepState::Interrupted)] {
        for worked in [false, true] {
            let mut script = Script::stepped(vec![switch(0)]);
            script.holder(start(1, 0, Way::Do));
            if worked {
                script.holder(Act::StepWorked(1, 0));
            }
            script.holder(Act::EndStep(1, 0, end));
            assert_eq!(script.step(1, 0), Some(state));
            assert_eq!(script.guard(1), Verdict::Open, "it can start again");
            script.refused(start(1, 0, Way::Do), HOLDER, RefusalKind::Conflict);
            script.holder(Act::StartStep { phase: 1, step: 0, way: Way::Do, checked: true });
            script.holder(Act::EndStep(1, 0, StepEnd::Done));
        }
    }
}

#[test]
fn a_step_starts_only_when_the_guard_is_open() {
    let mut script = Script::stepped(vec![step(0), switch(1)]);
    script.must(Act::Override(0, 60_000));
    script.run(0, Look::Fail);
    script.run(0, Look::Fail);
    script.epoch(1_000);
    script.must(Act::Revoke(0));
    assert_eq!((script.latched(0), script.guard(1)), (0, Verdict::Closed));
    script.refused(start(1, 0, Way::Do), HOLDER, RefusalKind::Gate(Verdict::Closed));
    script.healthy();
    script.holder(start(1, 0, Way::Do));
}

#[test]
fn the_switch_step_needs_its_proofs_and_seals_them() {
    let sum = ProbeDoc { proof: Some((600_000, Seal::Switch)), ..probe(2) };
    let mut doc = stepped(vec![step(0), switch(1)]);
    doc.phases[1].probes.push(sum);
    let mut script = Script::new(&[doc]);
    let look = |script: &mut Script| {
        for id in [0, 1] {
            script.control(id, Look::Fail);
            script.run(id, Look::Pass);
            script.run(id, Look::Pass);
        }
        script.epoch(1_000);
    };
    look(&mut script);
    script.switch(0);
    look(&mut script);
    script.must(Act::Complete(0));
    script.must(Act::Begin(1));
    script.lock(1);
    script.start(1, 0);
    script.holder(Act::EndStep(1, 0, StepEnd::Done));
    assert_eq!(script.guard(1), Verdict::Pending, "the next step needs the proof");
    script.refused(start(1, 1, Way::Do), HOLDER, RefusalKind::Gate(Verdict::Pending));
    script.healthy();
    script.holder(start(1, 1, Way::Do));
    script.epoch(700_000);
    assert_eq!(script.colour(2), ProbeState::Green, "it is sealed");
}

#[test]
fn the_way_back_is_gone_in_reverse_and_to_its_end() {
    let mut script =
        Script::stepped(vec![step(0), StepDoc { undo: false, ..step(1) }, switch(2), StepDoc { undo: false, ..step(3) }]);
    for id in 0..3 {
        script.done(1, id);
    }
    script.start(1, 3);
    script.holder(Act::EndStep(1, 3, StepEnd::Failed));
    script.refused(Act::Rollback(1), HOLDER, RefusalKind::Conflict);
    for wrong in [3, 1, 0] {
        script.refused(start(1, wrong, Way::Undo), HOLDER, RefusalKind::Conflict);
    }
    script.holder(start(1, 2, Way::Undo));
    assert_eq!((script.step(1, 2), script.step(1, 3)), (Some(StepState::Undoing), Some(StepState::Undone)));
    script.refused(Act::Rollback(1), HOLDER, RefusalKind::Conflict);
    script.holder(Act::EndStep(1, 2, StepEnd::Failed));
    assert_eq!((script.step(1, 2), script.guard(1)), (Some(StepState::UndoFailed), Verdict::Closed));
    script.refused(start(1, 0, Way::Undo), HOLDER, RefusalKind::Conflict);
    script.refused(start(1, 2, Way::Do), HOLDER, RefusalKind::Conflict);
    script.holder(start(1, 2, Way::Undo));
    script.holder(Act::EndStep(1, 2, StepEnd::Interrupted));
    assert_eq!(script.step(1, 2), Some(StepState::UndoFailed));
    script.undone(1, 2);
    assert_eq!((script.step(1, 1), script.guard(1)), (Some(StepState::Done), Verdict::Closed), "still on the way back");
    script.refused(start(1, 2, Way::Do), HOLDER, RefusalKind::Conflict);
    script.undone(1, 0);
    assert_eq!(script.step(1, 1), Some(StepState::Undone), "it can not be undone, and is left behind");
    script.refused(start(1, 0, Way::Undo), HOLDER, RefusalKind::Conflict);
    script.healthy();
    assert_eq!((script.stands(1), script.guard(1)), (PhaseState::Active, Verdict::Open), "forward again, if somebody wants to");
    script.holder(start(1, 0, Way::Do));
    assert_eq!((script.step(1, 0), script.step(1, 1), script.step(1, 2)), (Some(StepState::Running), None, None));
    script.holder(Act::EndStep(1, 0, StepEnd::Done));
    script.holder(start(1, 1, Way::Do));
    script.holder(Act::EndStep(1, 1, StepEnd::Failed));
    script.undone(1, 0);
    script.holder(Act::Rollback(1));
    assert_eq!(script.stands(1), PhaseState::Waiting);
    assert!(script.core.state.phase(&phase_name(1)).steps.is_empty());
    assert!(script.core.replays());
}

#[test]
fn a_failed_first_step_without_undo_does_not_hold_a_rollback_up() {
    let mut script = Script::stepped(vec![StepDoc { undo: false, ..step(0) }, switch(1)]);
    script.start(1, 0);
    script.refused(Act::Rollback(1), HOLDER, RefusalKind::Conflict);
    script.holder(Act::EndStep(1, 0, StepEnd::Failed));
    script.holder(Act::Rollback(1));
    assert_eq!(script.step(1, 0), None);
}

#[test]
fn undoing_a_complete_phase_takes_its_completion_and_its_proofs() {
    let sum = ProbeDoc { proof: Some((600_000, Seal::Complete)), ..probe(2) };
    let other = ProbeDoc { proof: Some((600_000, Seal::Complete)), ..probe(3) };
    let mut doc = stepped(vec![step(0), switch(1)]);
    doc.phases[0].probes.push(other);
    doc.phases[1].probes.push(sum);
    let mut script = Script::begun(&[doc]);
    script.done(1, 0);
    script.done(1, 1);
    script.healthy();
    script.holder(Act::Complete(1));
    script.red(1);
    assert_eq!(script.latched(1), 1);
    script.refused(Act::Rollback(1), HOLDER, RefusalKind::Conflict);
    script.holder(start(1, 1, Way::Undo));
    let record = script.core.state.phase(&phase_name(1));
    assert_eq!((script.stands(1), record.switched.is_some(), record.is_switching()), (PhaseState::Active, false, true));
    assert_eq!((script.colour(2), script.colour(3)), (ProbeState::Waiting, ProbeState::Green), "its own proof is void");
    assert_eq!(script.latched(1), 1, "it was a regression, and still is");
    script.holder(Act::EndStep(1, 1, StepEnd::Done));
    assert!(!script.core.state.phase(&phase_name(1)).is_switching());
    assert_eq!(script.gate(1).verdict, Verdict::Closed);
    script.undone(1, 0);
    script.holder(Act::Rollback(1));
    assert_eq!(script.latched(1), 0);
}

#[test]
fn what_the_switch_step_retires_comes_back_afresh_when_it_is_undone() {
    let mut doc = stepped(vec![switch(0), step(1)]);
    doc.phases[0].probes.push(ProbeDoc { until: Some(1), ..probe(2) });
    let mut script = Script::begun(&[doc]);
    let retired = |script: &Script| {
        let plan = script.core.state.durable.plan.clone().unwrap();
        script.core.state.retired(plan.probe("p2").unwrap().1)
    };
    assert!(!retired(&script));
    script.start(1, 0);
    assert!(retired(&script), "the old side is gone from here on");
    script.red(2);
    assert_eq!(script.latched(0), 0);
    script.holder(Act::EndStep(1, 0, StepEnd::Done));
    script.holder(start(1, 0, Way::Undo));
    assert!(retired(&script), "half-way back");
    script.holder(Act::EndStep(1, 0, StepEnd::Failed));
    assert!(retired(&script));
    script.undone(1, 0);
    assert!(!retired(&script));
    assert_eq!(script.colour(2), ProbeState::Unknown, "it starts afresh");
    assert_eq!(script.guard(1), Verdict::Unknown);
}

#[test]
fn a_phase_is_not_undone_from_under_an_active_one() {
    let mut doc = stepped(vec![switch(0)]);
    doc.phases.push(phase(2, 0, vec![probe(2)]));
    let mut script = Script::begun(&[doc]);
    script.done(1, 0);
    script.healthy();
    script.holder(Act::Complete(1));
    script.holder(Act::Begin(2));
    script.refused(start(1, 0, Way::Undo), HOLDER, RefusalKind::Conflict);
    script.holder(Act::Rollback(2));
    script.holder(start(1, 0, Way::Undo));
}

#[test]
fn an_adopted_phase_has_no_steps_to_undo() {
    let mut script = Script::new(&[stepped(vec![switch(0)])]);
    script.must(Act::Adopt(0));
    script.must(Act::Adopt(1));
    script.lock(1);
    assert!(script.core.state.phase(&phase_name(1)).is_switching());
    script.refused(start(1, 0, Way::Do), HOLDER, RefusalKind::Conflict);
    script.refused(start(1, 0, Way::Undo), HOLDER, RefusalKind::Conflict);
    script.holder(Act::Rollback(1));
    assert_eq!(script.stands(1), PhaseState::Waiting);
}

#[test]
fn a_step_in_flight_outlives_its_process() {
    for (crash, boot) in [(false, false), (true, false), (true, true)] {
        let mut script = Script::stepped(vec![switch(0)]);
        script.must(Act::Checkpoint);
        script.start(1, 0);
        script.must(Act::Restart { crash, boot });
        assert_eq!(script.step(1, 0), Some(StepState::Running));
        script.holder(Act::StepWorked(1, 0));
        script.must(Act::Restart { crash, boot });
        assert_eq!(script.step(1, 0), Some(StepState::Verifying));
        script.holder(Act::EndStep(1, 0, StepEnd::Interrupted));
        script.must(Act::Restart { crash, boot });
        assert_eq!(script.step(1, 0), Some(StepState::Interrupted));
        assert!(script.core.replays());
    }
}

#[test]
fn steps_that_something_happened_to_stay_what_they_are() {
    let with = |steps: Vec<StepDoc>| stepped(steps);
    let docs = [
        with(vec![step(0), switch(1)]),
        with(vec![switch(1), step(0)]),
        with(vec![switch(0), step(1)]),
        with(vec![step(0), StepDoc { ponr: true, ..switch(1) }]),
        with(vec![step(0), switch(1), step(2)]),
        with(vec![step(7), switch(1)]),
        with(vec![]),
        with(vec![StepDoc { timeout: 1_000, undo: false, ..step(0) }, StepDoc { verify: vec![1], ..switch(1) }]),
    ];
    let (last, wrong) = (docs.len() - 1, 1..docs.len() - 1);
    let mut script = Script::begun(&docs);
    script.done(1, 0);
    for index in wrong.clone() {
        script.refused(Act::Configure(index), Said::default(), RefusalKind::Conflict);
    }
    script.must(Act::Configure(last));
    script.must(Act::Configure(0));
    script.undone(1, 0);
    for index in wrong.clone() {
        script.refused(Act::Configure(index), Said::default(), RefusalKind::Conflict);
    }
    script.holder(Act::Rollback(1));
    for index in wrong {
        script.must(Act::Configure(index));
    }
}

#[test]
fn a_phase_that_is_begun_may_get_steps_as_long_as_none_was_started() {
    let by_hand = Doc { phases: vec![phase(0, 0, vec![probe(0)]), phase(1, 0, vec![probe(1)])] };
    let later = PhaseDoc { steps: vec![step(0), switch(1)], ..phase(1, 0, vec![probe(1)]) };
    let mut script = Script::begun(&[by_hand, Doc { phases: vec![phase(0, 0, vec![probe(0)]), later] }]);
    script.must(Act::Configure(1));
    assert!(script.say_with(Act::Switch(1), HOLDER).is_none());
    script.done(1, 0);
    script.done(1, 1);
    script.healthy();
    script.holder(Act::Complete(1));
}
