//! Old sides that are removed for good, and points of no return that a probe sees.

use probe::event::{Event, RefusalKind, StepEnd, Way};
use probe::gate::Verdict;
use probe::state::ProbeState;

use crate::model::case::{Act, Doc, Look, PhaseDoc, ProbeDoc, Said, phase_name, probe_name, target_name};
use crate::model::script::{HOLDER, Script, phase, probe, start, step, switch};

/// Probe 2 looks at the old side, target 0, until the second phase switches; probe 3 at what is both old and new, for good;
/// probe 4 is the tripwire.
fn two_sides() -> Doc {
    let old = ProbeDoc { until: Some(1), targets: vec![0], ..probe(2) };
    let both = ProbeDoc { targets: vec![0, 1], ..probe(3) };
    let tripwire = ProbeDoc { targets: vec![0], tripwire: true, waivable: false, ..probe(4) };
    Doc {
        phases: vec![phase(0, 0, vec![probe(0), old]), phase(1, 0, vec![probe(1), both, tripwire]), phase(2, 0, vec![probe(5)])],
    }
}

fn sure(target: u8) -> Said {
    Said { confirm: Some(target), ..Said::default() }
}

/// The old side answers, so its tripwire fails; everything else is well.
fn round(script: &mut Script) {
    for _ in 0..2 {
        for id in [0, 1, 2, 3, 5] {
            script.run(id, Look::Pass);
        }
        script.run(4, Look::Fail);
    }
    script.epoch(1_000);
}

/// Both phases are complete, and the old side is still there.
fn moved() -> Script {
    let mut script = Script::new(&[two_sides()]);
    script.healthy();
    for phase in [0, 1] {
        script.switch(phase);
        script.healthy();
        round(&mut script);
        script.must(Act::Complete(phase));
    }
    script
}

/// Both phases are complete, and everything looks well: the old side is gone.
fn both_complete(docs: &[Doc]) -> Script {
    let mut script = Script::new(docs);
    script.healthy();
    for phase in [0, 1] {
        script.switch(phase);
        script.healthy();
        script.must(Act::Complete(phase));
    }
    script
}

fn remove(script: &mut Script) {
    assert!(script.say_with(Act::Decommission(0), sure(0)).is_some(), "{:?}", script.core.refusal);
}

#[test]
fn what_somebody_needs_is_not_removed() {
    let mut script = Script::new(&[two_sides()]);
    script.healthy();
    script.switch(0);
    script.healthy();
    script.must(Act::Complete(0));
    script.refused(Act::Decommission(0), sure(0), RefusalKind::Conflict);
    script.refused(Act::Decommission(3), sure(3), RefusalKind::NotFound);
}

#[test]
fn what_nobody_would_see_come_back_is_not_removed() {
    let mut script = moved();
    // Probe 3 looks at target 1 too, and no tripwire does.
    script.refused(Act::Decommission(1), sure(1), RefusalKind::Conflict);
    for confirm in [None, Some(1)] {
        script.refused(Act::Decommission(0), Said { confirm, ..Said::default() }, RefusalKind::Unconfirmed);
    }
}

#[test]
fn a_tripwire_counts_from_the_removal_on_and_waits_for_the_old_side_to_go() {
    let mut script = moved();
    script.switch(2);
    script.healthy();
    round(&mut script);
    assert_eq!(script.colour(4), ProbeState::Waiting);
    assert_eq!(script.gate(2).verdict, Verdict::Open, "an old side that is there and not removed is nobody's business");
    remove(&mut script);
    assert_eq!(script.gate(2).verdict, Verdict::Pending, "it is still there");
    for _ in 0..2 {
        script.run(4, Look::Pass);
        script.run(3, Look::Fail);
    }
    let events = script.say(Act::Epoch).unwrap();
    assert!(events.iter().any(|event| matches!(event, Event::TargetGone { target, .. } if *target == target_name(0))));
    assert_eq!(script.colour(3), ProbeState::Red, "it can not see the old side any more");
    assert_eq!(script.gate(2).verdict, Verdict::Open, "and is not asked for it");
}

#[test]
fn what_comes_back_is_a_regression_and_shuts_what_comes_after() {
    let mut script = moved();
    script.switch(2);
    script.healthy();
    remove(&mut script);
    script.healthy();
    assert!(script.core.state.durable.removals[&target_name(0)].gone.is_some());
    script.red(4);
    assert_eq!(script.gate(2).verdict, Verdict::Closed);
    assert!(script.core.state.phase(&phase_name(1)).regressed.contains_key(&probe_name(4)));
    assert!(script.say(Act::Override(4, 60_000)).is_none(), "no exception is made for it");
}

#[test]
fn nothing_leads_back_to_what_is_removed() {
    let mut script = moved();
    remove(&mut script);
    for phase in [1, 0] {
        script.refused(Act::Rollback(phase), Said::default(), RefusalKind::Conflict);
    }
    script.must(Act::Recommission(0));
    script.must(Act::Rollback(1));
}

#[test]
fn nothing_leads_back_to_what_was_left_behind_and_is_removed() {
    let mut doc = two_sides();
    doc.phases[1].probes.remove(1);
    let mut script = both_complete(&[doc]);
    remove(&mut script);
    script.refused(Act::Rollback(1), Said::default(), RefusalKind::Conflict);
}

#[test]
fn a_mistake_is_taken_back_until_the_old_side_was_seen_gone() {
    let mut script = moved();
    script.refused(Act::Recommission(0), Said::default(), RefusalKind::NotFound);
    remove(&mut script);
    script.refused(Act::Decommission(0), sure(0), RefusalKind::Conflict);
    script.healthy();
    script.refused(Act::Recommission(0), Said::default(), RefusalKind::Conflict);
}

#[test]
fn a_removed_target_that_a_later_phase_looks_at_is_asked_for() {
    let mut later = two_sides();
    later.phases[2].probes.push(ProbeDoc { targets: vec![0], ..probe(6) });
    let mut script = both_complete(&[two_sides(), later]);
    remove(&mut script);
    script.healthy();
    script.must(Act::Configure(1));
    script.switch(2);
    script.healthy();
    assert_eq!(script.gate(2).verdict, Verdict::Unknown, "probe 6 has not run");
    script.red(6);
    assert_eq!(script.gate(2).verdict, Verdict::Closed);
}

#[test]
fn a_tripwire_is_not_edited_away() {
    let mut without = two_sides();
    without.phases[1].probes.pop();
    let mut elsewhere = two_sides();
    elsewhere.phases[1].probes[2].targets = vec![1];
    let mut moved_on = two_sides();
    let tripwire = moved_on.phases[1].probes.pop().unwrap();
    moved_on.phases[2].probes.push(tripwire);
    let mut slower = two_sides();
    slower.phases[1].probes[2].rev = 7;
    let mut script = both_complete(&[two_sides(), without, elsewhere, moved_on, slower]);
    remove(&mut script);
    for other in [1, 2, 3] {
        script.refused(Act::Configure(other), Said::default(), RefusalKind::Conflict);
    }
    script.must(Act::Configure(4));
}

/// Probe 2 sees whether the point of no return of the second phase is crossed.
fn marked() -> Doc {
    let mark = ProbeDoc { gate: false, marks_ponr: true, ..probe(2) };
    let steps = vec![step(0), switch(1), step(2)];
    Doc { phases: vec![phase(0, 0, vec![probe(0)]), PhaseDoc { steps, ..phase(1, 0, vec![probe(1), mark]) }] }
}

#[test]
fn a_probe_sees_the_point_of_no_return_once_the_switch_began() {
    let mut script = Script::begun(&[marked()]);
    let crossed = |script: &Script| script.core.state.phase(&phase_name(1)).ponr.is_some();
    assert_eq!(script.colour(2), ProbeState::Green, "the script's probes are well");
    assert!(!crossed(&script), "before the switch it means nothing");
    script.done(1, 0);
    assert!(!crossed(&script));
    script.holder(start(1, 1, Way::Do));
    script.epoch(1_000);
    assert!(!crossed(&script), "it has not looked since");
    script.run(2, Look::Pass);
    script.epoch(1_000);
    assert!(crossed(&script));
    script.holder(Act::EndStep(1, 1, StepEnd::Failed));
    script.refused(start(1, 1, Way::Undo), HOLDER, RefusalKind::Unconfirmed);
    script.sure(start(1, 1, Way::Undo));
}

#[test]
fn a_mark_that_is_not_reached_is_no_trouble() {
    let mut script = Script::begun(&[marked()]);
    script.run(2, Look::Fail);
    script.run(2, Look::Fail);
    script.epoch(1_000);
    assert_eq!(script.colour(2), ProbeState::Waiting);
    for nth in [0, 1, 2] {
        script.start(1, nth);
        script.holder(Act::EndStep(1, nth, StepEnd::Done));
    }
    script.healthy_but(2);
    assert_eq!(script.gate(1).verdict, Verdict::Open);
    assert!(script.core.state.phase(&phase_name(1)).ponr.is_none());
}
