//! Who may run the steps of a phase, and for how long.

use probe::event::{RefusalKind, StepEnd, Way};
use probe::now::Millis;

use crate::model::case::{Act, Said, Tick, Token};
use crate::model::script::{HOLDER, Script, start, step, stepped, switch};

const NOBODY: Said = Said { by: 0, lock: None, plan: None, document: None, confirm: None };
const OTHER: Said = Said { by: 1, ..NOBODY };
const STALE: Said = Said { lock: Some(Token::Before), ..HOLDER };

fn take(phase: u8) -> Act {
    Act::Lock { phase, ttl: 60_000, own: None }
}

fn resume(phase: u8, own: Token) -> Act {
    Act::Lock { phase, ttl: 60_000, own: Some(own) }
}

/// The lock keeps others out.
fn kept(script: &Script) -> bool {
    script.core.state.locked(Millis(script.core.t)).is_some()
}

/// So much later.
fn later(script: &mut Script, after: u64) {
    script.core.happen(&Tick::new(after, Act::Epoch));
}

#[test]
fn one_at_a_time_holds_the_lock() {
    let mut script = Script::stepped(vec![step(0), switch(1)]);
    for phase in [0, 1] {
        script.refused(take(phase), OTHER, RefusalKind::Locked);
    }
    // By the same name too: only the id tells a run from another one.
    script.refused(take(1), NOBODY, RefusalKind::Locked);
    script.refused(resume(1, Token::Before), OTHER, RefusalKind::Locked);
    script.refused(resume(0, Token::Newest), NOBODY, RefusalKind::Locked);
    script.must(Act::Release(Token::Newest));
    script.must(take(0));
    script.refused(start(1, 0, Way::Do), HOLDER, RefusalKind::Locked);
    script.must(Act::ForceRelease(Token::Newest));
    script.refused(start(1, 0, Way::Do), HOLDER, RefusalKind::Locked);
    script.refused(start(1, 0, Way::Do), Said { lock: None, ..HOLDER }, RefusalKind::Locked);
    script.must(resume(1, Token::Never));
    script.start(1, 0);
    assert!(script.core.locks.is_sorted_by(|a, b| a < b));
}

#[test]
fn a_lock_is_for_a_phase_that_exists_and_not_for_ever() {
    let mut script = Script::new(&[stepped(vec![switch(0)])]);
    script.refused(take(7), NOBODY, RefusalKind::NotFound);
    for ttl in [0, 999, 3_600_001] {
        script.refused(Act::Lock { phase: 1, ttl, own: None }, NOBODY, RefusalKind::Invalid);
    }
    for ttl in [1_000, 3_600_000] {
        script.must(Act::Lock { phase: 1, ttl, own: None });
        script.must(Act::Release(Token::Newest));
    }
}

#[test]
fn a_lock_that_is_not_renewed_passes_to_whoever_takes_it() {
    let mut script = Script::stepped(vec![step(0), switch(1)]);
    later(&mut script, 30_000);
    script.must(Act::Renew(Token::Newest));
    later(&mut script, 59_999);
    script.refused(take(1), OTHER, RefusalKind::Locked);
    assert!(kept(&script), "in its last moment");
    later(&mut script, 1);
    assert!(!kept(&script));
    // It is still the lock, as long as nobody takes it.
    script.must(Act::Renew(Token::Newest));
    assert!(kept(&script));
    later(&mut script, 60_001);
    script.healthy();
    script.start(1, 0);
    assert!(kept(&script), "a step of its phase is in flight");
    script.holder(Act::EndStep(1, 0, StepEnd::Failed));
    assert!(kept(&script), "nobody else knows how far it came");
    let mut script = Script::stepped(vec![step(0), switch(1)]);
    later(&mut script, 60_001);
    script.must(take(1));
    script.refused(Act::Renew(Token::Before), NOBODY, RefusalKind::Locked);
}

#[test]
fn a_lock_of_a_phase_that_is_half_way_passes_to_nobody() {
    let mut script = Script::stepped(vec![step(0), switch(1)]);
    script.done(1, 0);
    later(&mut script, 86_400_000);
    script.refused(take(1), OTHER, RefusalKind::Locked);
    script.refused(take(0), OTHER, RefusalKind::Locked);
    script.must(resume(1, Token::Newest));
    script.healthy();
    script.refused(start(1, 1, Way::Do), STALE, RefusalKind::Locked);
    script.start(1, 1);
    for act in [Act::StepWorked(1, 1), Act::EndStep(1, 1, StepEnd::Failed)] {
        script.refused(act, STALE, RefusalKind::Locked);
    }
    later(&mut script, 86_400_000);
    script.refused(take(1), OTHER, RefusalKind::Locked);
    script.holder(Act::EndStep(1, 1, StepEnd::Done));
    assert!(!kept(&script), "all its steps are done, and nobody has been heard of for a day");
    script.must(take(1));
    assert!(script.core.replays());
}

#[test]
fn a_lock_of_a_phase_whose_steps_are_all_undone_expires() {
    let mut script = Script::stepped(vec![step(0), switch(1)]);
    script.done(1, 0);
    script.undone(1, 0);
    assert!(kept(&script));
    later(&mut script, 60_001);
    assert!(!kept(&script));
}

#[test]
fn a_lock_is_not_released_under_a_running_step_but_by_force() {
    let mut script = Script::stepped(vec![step(0), switch(1)]);
    script.start(1, 0);
    script.refused(Act::Release(Token::Newest), NOBODY, RefusalKind::Conflict);
    script.holder(Act::StepWorked(1, 0));
    script.refused(Act::Release(Token::Newest), NOBODY, RefusalKind::Conflict);
    script.must(Act::ForceRelease(Token::Newest));
    for gone in [Act::Renew(Token::Newest), Act::Release(Token::Newest), Act::ForceRelease(Token::Newest)] {
        assert!(script.say(gone.clone()).is_none(), "{gone:?}");
    }
    script.must(take(1));
    script.refused(Act::EndStep(1, 0, StepEnd::Done), STALE, RefusalKind::Locked);
    script.holder(Act::EndStep(1, 0, StepEnd::Interrupted));
    script.must(Act::Release(Token::Newest));
}

#[test]
fn what_a_crash_forgets_is_that_the_lock_was_renewed() {
    for (saved, crash, holds) in [(true, true, true), (false, true, false), (false, false, true)] {
        let mut script = Script::stepped(vec![step(0), switch(1)]);
        script.must(Act::Checkpoint);
        later(&mut script, 50_000);
        script.must(Act::Renew(Token::Newest));
        if saved {
            script.must(Act::Checkpoint);
        }
        script.must(Act::Restart { crash, boot: false });
        later(&mut script, 20_000);
        assert_eq!(kept(&script), holds, "saved {saved}, crash {crash}");
    }
}

#[test]
fn a_renewal_is_of_one_lock() {
    let mut script = Script::stepped(vec![step(0), switch(1)]);
    script.must(Act::Renew(Token::Newest));
    script.must(Act::Release(Token::Newest));
    script.must(Act::Lock { phase: 1, ttl: 1_000, own: None });
    script.refused(Act::Renew(Token::Before), NOBODY, RefusalKind::Locked);
    later(&mut script, 1_001);
    assert!(!kept(&script));
}

#[test]
fn phases_are_moved_by_the_holder_of_the_lock_only() {
    let mut script = Script::new(&[stepped(vec![switch(0)])]);
    script.healthy();
    script.must(Act::Lock { phase: 1, ttl: 10_000, own: None });
    for act in [Act::Begin(0), Act::Switch(0), Act::Complete(0), Act::Rollback(0), Act::Adopt(0)] {
        script.refused(act, NOBODY, RefusalKind::Locked);
    }
    script.holder(Act::Begin(0));
    script.holder(Act::Switch(0));
    script.must(Act::Override(1, 1_000));
    script.must(Act::Record(0, 1, 0));
    script.healthy();
    script.holder(Act::Complete(0));
    script.holder(Act::Rollback(0));
    later(&mut script, 10_001);
    script.healthy();
    script.must(Act::Begin(0));
    script.refused(Act::Switch(0), STALE, RefusalKind::Locked);
    script.must(Act::Switch(0));
}

#[test]
fn a_lock_that_is_named_must_be_the_lock_whatever_is_said() {
    let mut script = Script::stepped(vec![step(0), switch(1)]);
    let named = |lock| Said { lock: Some(lock), ..NOBODY };
    for act in [Act::Override(1, 1_000), Act::Record(0, 1, 0), Act::Acknowledge(0), Act::Rollback(1)] {
        script.refused(act, named(Token::Never), RefusalKind::Locked);
    }
    for act in [Act::Override(1, 1_000), Act::Record(0, 1, 0)] {
        assert!(script.say_with(act, named(Token::Newest)).is_some());
    }
    assert!(script.say_with(Act::Renew(Token::Newest), named(Token::Never)).is_some());
    assert!(script.say_with(Act::Release(Token::Newest), named(Token::Never)).is_some());
    assert!(script.say_with(take(1), named(Token::Before)).is_some());
    assert!(script.say_with(Act::ForceRelease(Token::Newest), named(Token::Never)).is_some());
}
