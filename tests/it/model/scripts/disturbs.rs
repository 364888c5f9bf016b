//! What a step disturbs while it runs, and what counts as flapping.

use probe::event::{RefusalKind, StepEnd, Way};
use probe::gate::Verdict;
use probe::state::ProbeState;

use crate::model::case::{Act, Look, ProbeDoc, StepDoc};
use crate::model::script::{HOLDER, Script, probe, start, step, stepped, switch};

/// A step that disturbs the complete phase's probe, for ten seconds.
fn disturbing(id: u8) -> StepDoc {
    StepDoc { disturbs: vec![0], timeout: 10_000, ..step(id) }
}

fn running() -> Script {
    let mut script = Script::stepped(vec![disturbing(0), switch(1)]);
    script.start(1, 0);
    script
}

#[test]
fn what_a_step_disturbs_is_no_regression_and_must_come_back() {
    let mut script = running();
    script.red(0);
    assert_eq!(script.latched(0), 0);
    script.refused(Act::EndStep(1, 0, StepEnd::Done), HOLDER, RefusalKind::Conflict);
    script.holder(Act::StepWorked(1, 0));
    script.refused(Act::EndStep(1, 0, StepEnd::Done), HOLDER, RefusalKind::Gate(Verdict::Closed));
    script.run(0, Look::Pass);
    assert!(script.say_with(Act::EndStep(1, 0, StepEnd::Done), HOLDER).is_none(), "not yet");
    script.run(0, Look::Pass);
    script.epoch(1_000);
    script.holder(Act::EndStep(1, 0, StepEnd::Done));
    script.healthy();
    assert_eq!((script.latched(0), script.guard(1)), (0, Verdict::Open));
    script.red(0);
    assert_eq!(script.latched(0), 1, "nothing disturbs it now");
}

#[test]
fn what_a_step_disturbs_may_wait() {
    let mut script = running();
    script.holder(Act::StepWorked(1, 0));
    assert!(script.say_with(Act::EndStep(1, 0, StepEnd::Done), HOLDER).is_none(), "nobody has looked since");
    script.run(0, Look::Fail);
    assert_eq!(script.colour(0), ProbeState::Suspect);
    assert!(script.say_with(Act::EndStep(1, 0, StepEnd::Done), HOLDER).is_none(), "a suspicion is not calm");
    script.run(0, Look::Waiting(60_000));
    script.holder(Act::EndStep(1, 0, StepEnd::Done));
}

#[test]
fn what_would_not_latch_need_not_come_back() {
    let mut script = running();
    script.must(Act::Override(0, 60_000));
    script.red(0);
    script.holder(Act::StepWorked(1, 0));
    script.holder(Act::EndStep(1, 0, StepEnd::Done));

    let mut doc = stepped(vec![StepDoc { disturbs: vec![2, 3, 8], ..disturbing(0) }, switch(1)]);
    doc.phases[0].probes.push(ProbeDoc { gate: false, ..probe(2) });
    doc.phases[1].probes.push(probe(3));
    let mut script = Script::begun(&[doc]);
    script.start(1, 0);
    script.red(2);
    script.red(3);
    script.holder(Act::StepWorked(1, 0));
    script.holder(Act::EndStep(1, 0, StepEnd::Done));
}

#[test]
fn a_step_that_only_disturbs_says_that_it_has_worked() {
    let mut script = running();
    script.healthy();
    script.refused(Act::EndStep(1, 0, StepEnd::Done), HOLDER, RefusalKind::Conflict);
}

#[test]
fn the_excuse_ends_with_the_steps_time() {
    let mut script = running();
    script.red(0);
    script.epoch(8_990);
    assert_eq!((script.colour(0), script.latched(0)), (ProbeState::Red, 0));
    script.epoch(8);
    assert_eq!(script.latched(0), 0, "in its last moment");
    script.epoch(1);
    assert_eq!(script.latched(0), 1, "red as before, and not excused any more");
    script.must(Act::Acknowledge(0));
    script.epoch(1_000);
    assert_eq!(script.latched(0), 0, "once is enough");
}

#[test]
fn the_excuse_ends_with_the_step() {
    for end in [StepEnd::Failed, StepEnd::Interrupted] {
        let mut script = running();
        script.red(0);
        script.holder(Act::EndStep(1, 0, end));
        script.epoch(1_000);
        assert_eq!((script.latched(0), script.guard(1)), (1, Verdict::Closed));
    }
}

#[test]
fn a_red_that_was_excused_is_still_one_that_was_green() {
    let mut script = running();
    script.red(0);
    script.run(0, Look::Unknown);
    script.epoch(1_000);
    script.holder(Act::EndStep(1, 0, StepEnd::Failed));
    script.epoch(1_000);
    assert_eq!((script.colour(0), script.latched(0)), (ProbeState::Unknown, 0));
    script.run(0, Look::Fail);
    script.epoch(1_000);
    assert_eq!(script.latched(0), 1);
}

#[test]
fn the_undo_of_a_step_disturbs_as_well() {
    let mut script = running();
    script.healthy();
    script.holder(Act::EndStep(1, 0, StepEnd::Failed));
    script.epoch(60_000);
    script.healthy();
    script.holder(start(1, 0, Way::Undo));
    script.red(0);
    assert_eq!(script.latched(0), 0);
    script.holder(Act::EndStep(1, 0, StepEnd::Done));
    script.epoch(1_000);
    assert_eq!(script.latched(0), 1);
}

#[test]
fn the_excuse_survives_a_crash_with_the_step() {
    let mut script = running();
    script.must(Act::Restart { crash: true, boot: false });
    script.healthy();
    script.red(0);
    assert_eq!(script.latched(0), 0);
}

#[test]
fn an_excused_red_still_shuts_its_gate() {
    let mut script = running();
    assert_eq!(script.verdict(0), Verdict::Open);
    script.red(0);
    assert_eq!(script.verdict(0), Verdict::Closed);
}

#[test]
fn between_green_and_waiting_nothing_flaps() {
    let lively = ProbeDoc { recover_after: 1, ..probe(0) };
    let mut script = Script::one(0, vec![lively]);
    script.control(0, Look::Fail);
    for _ in 0..10 {
        script.run(0, Look::Waiting(60_000));
        script.run(0, Look::Pass);
    }
    assert_eq!(script.colour(0), ProbeState::Green);
    // One change so far: unknown to waiting.
    script.run(0, Look::Fail);
    script.run(0, Look::Waiting(60_000));
    script.run(0, Look::Pass);
    assert_eq!(script.colour(0), ProbeState::Green);
    script.run(0, Look::Fail);
    script.run(0, Look::Pass);
    assert_eq!(script.colour(0), ProbeState::Unknown, "that is flapping");
}

#[test]
fn what_changed_on_the_way_to_the_switch_is_no_flapping_after_it() {
    let mut doc = stepped(vec![switch(0)]);
    doc.phases[1].probes[0].recover_after = 1;
    let mut script = Script::begun(&[doc]);
    let flap = |script: &mut Script| {
        for look in [Look::Fail, Look::Pass, Look::Fail, Look::Pass, Look::Fail, Look::Pass] {
            script.run(1, look);
        }
        script.colour(1)
    };
    assert_eq!(flap(&mut script), ProbeState::Unknown, "that is flapping");
    script.start(1, 0);
    assert_eq!(script.colour(1), ProbeState::Unknown, "the switch has begun, and is not over");
    script.holder(Act::StepWorked(1, 0));
    script.healthy();
    script.holder(Act::EndStep(1, 0, StepEnd::Done));
    assert_eq!(script.colour(1), ProbeState::Green);
    assert_eq!(flap(&mut script), ProbeState::Unknown, "and this is flapping again");
}

#[test]
fn what_a_step_disturbs_does_not_flap() {
    let mut doc = stepped(vec![disturbing(0), switch(1)]);
    doc.phases[0].probes[0].recover_after = 1;
    let mut script = Script::begun(&[doc]);
    script.start(1, 0);
    for _ in 0..10 {
        script.run(0, Look::Fail);
        script.run(0, Look::Pass);
    }
    assert_eq!(script.colour(0), ProbeState::Green);
    script.holder(Act::EndStep(1, 0, StepEnd::Failed));
    for _ in 0..3 {
        script.run(0, Look::Fail);
        script.run(0, Look::Pass);
    }
    assert_eq!(script.colour(0), ProbeState::Unknown, "nothing disturbs it now");
}
