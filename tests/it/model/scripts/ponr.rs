//! Where nothing leads back.

use probe::event::{RefusalKind, StepEnd, Way};
use probe::gate::Verdict;
use probe::state::{PhaseState, ProbeState};

use crate::model::case::{Act, Doc, ProbeDoc, Said, Seal, StepDoc, phase_name};
use crate::model::script::{HOLDER, Script, probe, start, step, stepped, switch};

/// What the holder says who knows where it leads.
const SURE: Said = Said { confirm: Some(1), ..HOLDER };

fn ponr(id: u8) -> StepDoc {
    StepDoc { ponr: true, ..step(id) }
}

/// Before it, at it, after it.
fn three() -> Doc {
    stepped(vec![switch(0), ponr(1), step(2)])
}

fn crossed(script: &Script) -> bool {
    script.core.state.phase(&phase_name(1)).ponr.is_some()
}

#[test]
fn the_point_of_no_return_is_crossed_by_somebody_who_knows() {
    let mut script = Script::begun(&[three()]);
    script.holder(start(1, 0, Way::Do));
    script.holder(Act::EndStep(1, 0, StepEnd::Done));
    for confirm in [None, Some(0)] {
        script.refused(start(1, 1, Way::Do), Said { confirm, ..HOLDER }, RefusalKind::Unconfirmed);
    }
    assert!(!crossed(&script));
    script.sure(start(1, 1, Way::Do));
    assert!(crossed(&script));
    script.holder(Act::EndStep(1, 1, StepEnd::Failed));
    assert!(crossed(&script), "it may have been crossed");
    let again = Act::StartStep { phase: 1, step: 1, way: Way::Do, checked: true };
    script.refused(again.clone(), HOLDER, RefusalKind::Unconfirmed);
    script.sure(again);
    script.holder(Act::EndStep(1, 1, StepEnd::Done));
    script.holder(start(1, 2, Way::Do));
}

#[test]
fn there_is_more_to_look_at_before_the_point_of_no_return() {
    let mut doc = three();
    doc.phases[1].probes.push(ProbeDoc { gate: false, before_ponr: true, ..probe(2) });
    doc.phases[1].probes.push(ProbeDoc { gate: false, proof: Some((60_000, Seal::Ponr)), ..probe(3) });
    let mut script = Script::new(&[doc]);
    script.healthy_but(3);
    script.switch(0);
    script.healthy_but(3);
    script.must(Act::Complete(0));
    script.red(2);
    script.must(Act::Begin(1));
    script.lock(1);
    script.start(1, 0);
    script.holder(Act::EndStep(1, 0, StepEnd::Done));
    assert_eq!((script.colour(2), script.guard(1)), (ProbeState::Red, Verdict::Closed));
    script.refused(start(1, 1, Way::Do), SURE, RefusalKind::Gate(Verdict::Closed));
    script.healthy_but(3);
    assert_eq!(script.guard(1), Verdict::Pending, "the proof is not there");
    script.healthy();
    assert_eq!(script.guard(1), Verdict::Open);
    script.epoch(60_000);
    script.healthy_but(3);
    assert_eq!((script.colour(3), script.guard(1)), (ProbeState::Waiting, Verdict::Pending), "it has expired");
    script.healthy();
    script.sure(start(1, 1, Way::Do));
    script.holder(Act::EndStep(1, 1, StepEnd::Done));
    script.epoch(60_000);
    assert_eq!(script.colour(3), ProbeState::Green, "it is sealed");
    script.healthy_but(3);
    script.red(2);
    assert_eq!(script.guard(1), Verdict::Open, "that was before");
    script.holder(start(1, 2, Way::Do));
}

#[test]
fn one_step_can_be_the_switch_and_the_point_of_no_return() {
    let mut doc = stepped(vec![StepDoc { switch: true, ..ponr(0) }]);
    for (id, seal) in [(2, Seal::Switch), (3, Seal::Ponr), (4, Seal::Complete)] {
        doc.phases[1].probes.push(ProbeDoc { proof: Some((60_000, seal)), ..probe(id) });
    }
    let mut script = Script::begun(&[doc]);
    script.sure(start(1, 0, Way::Do));
    assert!(crossed(&script) && script.core.state.phase(&phase_name(1)).is_switching());
    script.epoch(70_000);
    let green = [2, 3, 4].map(|id| script.colour(id) == ProbeState::Green);
    assert_eq!(green, [true, true, false], "those that were needed are sealed");
}

#[test]
fn what_is_overridden_or_retired_is_not_sealed() {
    let mut doc = three();
    doc.phases[1].probes.push(ProbeDoc { proof: Some((60_000, Seal::Ponr)), ..probe(2) });
    let mut script = Script::begun(&[doc]);
    script.done(1, 0);
    script.must(Act::Override(2, 1_000));
    script.sure(start(1, 1, Way::Do));
    script.epoch(70_000);
    assert_eq!(script.colour(2), ProbeState::Waiting);
}

#[test]
fn beyond_the_point_of_no_return_the_way_on_is_not_shut_by_what_was_before() {
    let mut script = Script::begun(&[three()]);
    script.done(1, 0);
    script.red(0);
    script.healthy();
    assert_eq!((script.latched(0), script.guard(1)), (1, Verdict::Closed));
    script.refused(start(1, 1, Way::Do), SURE, RefusalKind::Gate(Verdict::Closed));
    script.must(Act::Acknowledge(0));
    script.sure(start(1, 1, Way::Do));
    script.holder(Act::EndStep(1, 1, StepEnd::Done));
    script.red(0);
    assert_eq!((script.latched(0), script.guard(1)), (1, Verdict::Open));
    script.must(Act::Store(false));
    assert_eq!(script.guard(1), Verdict::Unknown, "the ledger must be there");
    script.must(Act::Store(true));
    script.must(Act::Restart { crash: false, boot: false });
    assert_eq!(script.guard(1), Verdict::Open, "nobody has looked at what was before, and nobody needs to");
    script.holder(start(1, 2, Way::Do));
    script.holder(Act::EndStep(1, 2, StepEnd::Done));
    script.healthy();
    assert_eq!(script.verdict(1), Verdict::Open);
    script.red(0);
    assert_eq!(script.verdict(1), Verdict::Closed, "the gate still wants all of it");
}

#[test]
fn beyond_the_point_of_no_return_going_back_is_confirmed() {
    let mut script = Script::begun(&[three()]);
    script.done(1, 0);
    script.done(1, 1);
    for confirm in [None, Some(0)] {
        assert!(script.say_with(start(1, 1, Way::Undo), Said { confirm, ..HOLDER }).is_none());
    }
    script.sure(start(1, 1, Way::Undo));
    script.holder(Act::EndStep(1, 1, StepEnd::Done));
    assert!(crossed(&script), "undone or not");
    script.sure(start(1, 0, Way::Undo));
    script.holder(Act::EndStep(1, 0, StepEnd::Done));
    assert!(script.say_with(Act::Rollback(1), HOLDER).is_none());
    script.sure(Act::Rollback(1));
    assert!(!crossed(&script));
    script.holder(Act::Begin(1));
    script.holder(start(1, 0, Way::Do));
    script.holder(Act::EndStep(1, 0, StepEnd::Failed));
    script.holder(start(1, 0, Way::Undo));
}

#[test]
fn a_complete_phase_beyond_its_point_of_no_return_stays() {
    let mut script = Script::begun(&[three()]);
    for id in 0..3 {
        script.done(1, id);
    }
    script.healthy();
    script.holder(Act::Complete(1));
    assert!(script.say_with(start(1, 2, Way::Undo), SURE).is_none());
    assert!(script.say_with(Act::Rollback(1), SURE).is_none());
    assert_eq!(script.stands(1), PhaseState::Complete);
    assert!(script.core.replays());
}
