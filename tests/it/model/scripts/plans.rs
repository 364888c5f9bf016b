//! Nothing is done that is not as its sender has seen it.

use probe::event::{RefusalKind, StepEnd, Way};
use probe::gate::Verdict;

use crate::model::case::{Act, Doc, Hash, Said, Token};
use crate::model::script::{HOLDER, Script, phase, probe, start, step, stepped, switch};

const NOBODY: Said = Said { by: 0, lock: None, plan: None, document: None, confirm: None };
const CAREFUL: Said = Said { plan: Some(Hash::Read), ..NOBODY };

/// Phase 0 complete, phase 1 could begin.
fn ready(docs: &[Doc]) -> Script {
    let mut script = Script::new(docs);
    script.healthy();
    script.switch(0);
    script.healthy();
    script.must(Act::Complete(0));
    assert_eq!(script.guard(1), Verdict::Open);
    script
}

#[test]
fn another_document_is_refused_by_everything() {
    let mut script = Script::stepped(vec![step(0), switch(1)]);
    let other = Said { document: Some(false), ..HOLDER };
    let acts = [
        Act::Rollback(1),
        Act::Override(1, 1_000),
        Act::Record(0, 1, 0),
        Act::Renew(Token::Newest),
        Act::ForceRelease(Token::Newest),
        start(1, 0, Way::Do),
    ];
    for act in acts {
        script.refused(act, other, RefusalKind::Moved);
    }
    script.refused(start(1, 0, Way::Do), Said { document: None, ..HOLDER }, RefusalKind::Moved);
    script.holder(start(1, 0, Way::Do));
    let without = Said { document: None, ..HOLDER };
    assert!(script.say_with(Act::StepWorked(1, 0), without).is_some(), "what has happened is told, whatever the document is");
    assert!(script.say_with(Act::EndStep(1, 0, StepEnd::Failed), without).is_some());
}

/// Something that moves a plan.
type Move = (&'static str, fn(&mut Script));

#[test]
fn a_plan_that_has_moved_is_not_begun() {
    let doc = stepped(vec![step(0), switch(1)]);
    let mut other = doc.clone();
    other.phases[1].steps[0].timeout = 1_000;
    let twice = [doc, other];
    let moves: [Move; 3] = [
        ("an override", |script| script.must(Act::Override(1, 60_000))),
        ("the end of an override", |script| {
            script.must(Act::Override(1, 60_000));
            script.must(Act::Read(1));
            script.must(Act::Revoke(0));
        }),
        ("another document", |script| script.must(Act::Configure(1))),
    ];
    for (what, moved) in moves {
        let mut script = ready(&twice);
        script.must(Act::Read(1));
        script.refused(Act::Begin(1), Said { plan: Some(Hash::Never), ..NOBODY }, RefusalKind::Moved);
        moved(&mut script);
        script.refused(Act::Begin(1), CAREFUL, RefusalKind::Moved);
        script.must(Act::Read(1));
        assert!(script.say_with(Act::Begin(1), CAREFUL).is_some(), "{what}: {:?}", script.core.refusal);
    }
}

#[test]
fn a_plan_does_not_move_by_itself() {
    let mut script = ready(&[stepped(vec![step(0), switch(1)])]);
    script.must(Act::Read(1));
    script.must(Act::Record(0, 1, 0));
    script.lock(1);
    script.must(Act::Release(Token::Newest));
    script.must(Act::Restart { crash: false, boot: false });
    script.healthy();
    assert!(script.say_with(Act::Begin(1), CAREFUL).is_some(), "{:?}", script.core.refusal);
}

#[test]
fn four_eyes_must_have_seen_the_plan() {
    let mut doc = stepped(vec![step(0), switch(1)]);
    doc.phases[1].four_eyes = true;
    let mut script = ready(&[doc]);
    let by = |by| Said { by, ..NOBODY };
    let begins = |script: &mut Script, by: u8| script.say_with(Act::Begin(1), Said { by, ..NOBODY }).is_some();
    assert!(!begins(&mut script, 0), "nobody has approved it");
    script.refused(Act::Approve(7, Hash::Present), by(1), RefusalKind::NotFound);
    script.refused(Act::Approve(1, Hash::Never), by(1), RefusalKind::Moved);
    assert!(script.say_with(Act::Approve(1, Hash::Present), by(0)).is_some());
    assert!(!begins(&mut script, 0), "these are the same two eyes");
    assert!(script.say_with(Act::Approve(0, Hash::Present), by(1)).is_some());
    assert!(!begins(&mut script, 0), "that is another phase");
    assert!(script.say_with(Act::Approve(1, Hash::Present), by(1)).is_some());
    script.must(Act::Override(1, 60_000));
    assert!(!begins(&mut script, 0), "the plan has moved since");
    assert!(script.say_with(Act::Approve(1, Hash::Present), by(1)).is_some());
    assert!(!begins(&mut script, 1), "the one who has approved it does not begin it");
    assert!(begins(&mut script, 0));
    script.must(Act::Rollback(1));
    assert!(!begins(&mut script, 0), "each begin needs its own approval");
    assert!(script.say_with(Act::Approve(1, Hash::Present), by(1)).is_some());
    assert!(script.say_with(Act::Approve(1, Hash::Present), by(0)).is_some());
    assert!(!begins(&mut script, 0), "the last approval counts");
    assert!(begins(&mut script, 1));
}

#[test]
fn a_regression_moves_the_plan() {
    let mut script = ready(&[stepped(vec![step(0), switch(1)])]);
    script.red(0);
    script.healthy();
    assert_eq!(script.latched(0), 1);
    script.must(Act::Read(1));
    script.must(Act::Acknowledge(0));
    assert_eq!(script.guard(1), Verdict::Open);
    script.refused(Act::Begin(1), CAREFUL, RefusalKind::Moved);
    script.must(Act::Read(1));
    assert!(script.say_with(Act::Begin(1), CAREFUL).is_some());
}

#[test]
fn a_step_moves_the_plan() {
    let mut doc = stepped(vec![step(0), switch(1)]);
    doc.phases.push(phase(2, 0, vec![probe(2)]));
    let mut script = ready(&[doc]);
    script.must(Act::Begin(1));
    script.lock(1);
    let approve = |script: &mut Script| script.say(Act::Approve(2, Hash::Read)).is_some();
    script.must(Act::Read(2));
    assert!(approve(&mut script));
    script.start(1, 0);
    assert!(!approve(&mut script), "a step was started");
    script.must(Act::Read(2));
    script.holder(Act::EndStep(1, 0, StepEnd::Failed));
    assert!(!approve(&mut script), "it has failed");
    script.must(Act::Read(2));
    script.start(1, 0);
    script.holder(Act::EndStep(1, 0, StepEnd::Failed));
    assert!(!approve(&mut script), "it has failed again");
}
