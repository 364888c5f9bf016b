//! What the entries come to.

use super::*;
use crate::state::StepState;

/// What these entries come to, by way of a file.
fn told(entries: Vec<Entry>) -> Story {
    let dir = TempDir::new().unwrap();
    story(&written(dir.path(), entries)).unwrap()
}

fn in_flight(story: &Story) -> Option<(&str, StepState)> {
    let running = story.steps.iter().filter(|(_, local)| local.state.in_flight());
    running.max_by_key(|(_, local)| local.entry).map(|(step, local)| (&**step, local.state))
}

#[test]
fn a_run_that_only_began_knows_nothing_more() {
    let story = told(Vec::new());
    assert_eq!((story.entries, story.lock, story.over.as_deref(), in_flight(&story)), (1, None, None, None));
    assert_eq!((story.steps.len(), story.untold.len()), (0, 0));
    let opened = &story.opened;
    assert_eq!((opened.server.as_str(), opened.document.as_str(), opened.at), ("http://gate:9470", "sha256:abc", time(2)));
}

#[test]
fn the_lock_is_the_one_that_was_held_last() {
    assert_eq!(told(vec![Entry::Lock { id: 4 }, start("copy", Way::Do, true), Entry::Lock { id: 7 }]).lock, Some(7));
}

#[test]
fn a_step_stands_where_its_last_entry_left_it() {
    let go = |way, ends| vec![start("copy", way, true), end("copy", way, ends, true)];
    for (entries, state) in [
        (vec![start("copy", Way::Do, true)], StepState::Running),
        (vec![start("copy", Way::Do, true), worked("copy", true)], StepState::Verifying),
        (go(Way::Do, StepEnd::Done), StepState::Done),
        (go(Way::Do, StepEnd::Failed), StepState::Failed),
        (go(Way::Do, StepEnd::Interrupted), StepState::Interrupted),
        (vec![start("copy", Way::Undo, true)], StepState::Undoing),
        (go(Way::Undo, StepEnd::Done), StepState::Undone),
        (go(Way::Undo, StepEnd::Failed), StepState::UndoFailed),
        (go(Way::Undo, StepEnd::Interrupted), StepState::UndoFailed),
        ([go(Way::Do, StepEnd::Failed), vec![start("copy", Way::Do, true)]].concat(), StepState::Running),
    ] {
        let story = told(entries.clone());
        let local = &story.steps["copy"];
        assert_eq!((local.state, local.started), (state, Some(time(7))), "{entries:?}");
        assert_eq!(local.note, if state.in_flight() { "" } else { "so" }, "{entries:?}");
        assert_eq!(in_flight(&story), state.in_flight().then_some(("copy", state)), "{entries:?}");
    }
}

#[test]
fn a_step_that_another_run_started_may_end_in_this_one() {
    let story = told(vec![end("copy", Way::Do, StepEnd::Interrupted, true)]);
    assert_eq!((story.steps["copy"].state, story.steps["copy"].started), (StepState::Interrupted, None));
    let story = told(vec![worked("copy", true)]);
    assert_eq!(in_flight(&story), Some(("copy", StepState::Verifying)));
}

#[test]
fn in_flight_is_the_step_that_was_started_last() {
    let story = told(vec![
        start("stop", Way::Do, true),
        end("stop", Way::Do, StepEnd::Done, true),
        start("copy", Way::Do, true),
        start("aim", Way::Do, true),
    ]);
    assert_eq!(in_flight(&story), Some(("aim", StepState::Running)));
    let mut entries = vec![start("copy", Way::Do, true), start("aim", Way::Do, true)];
    entries.push(end("aim", Way::Do, StepEnd::Done, true));
    assert_eq!(in_flight(&told(entries)), Some(("copy", StepState::Running)), "nobody has seen its end");
}

#[test]
fn what_the_ledger_was_not_told_is_kept_in_its_order() {
    let numbers = |entries| told(entries).untold.iter().map(|(number, _)| *number).collect::<Vec<_>>();
    let entries = vec![
        start("aim", Way::Undo, true),
        end("aim", Way::Undo, StepEnd::Done, false),
        start("copy", Way::Undo, false),
        end("copy", Way::Undo, StepEnd::Failed, false),
    ];
    assert_eq!(numbers(entries.clone()), [3, 4, 5]);
    let untold: Vec<_> = told(entries.clone()).untold.into_iter().map(|(_, entry)| entry).collect();
    assert_eq!(untold, entries[1..]);
    let with = |more: &[Entry]| [&entries, more].concat();
    assert_eq!(numbers(with(&[Entry::Told { up_to: 2 }])), [3, 4, 5]);
    assert_eq!(numbers(with(&[Entry::Told { up_to: 4 }])), [5]);
    assert_eq!(numbers(with(&[Entry::Told { up_to: 5 }, worked("copy", false)])), [7]);
    assert_eq!(numbers(with(&[over(), Entry::Told { up_to: 5 }])), Vec::<u64>::new(), "also after the run is over");
}

#[test]
fn a_run_is_over_when_it_says_so() {
    assert_eq!(told(vec![Entry::Lock { id: 4 }, over()]).over.as_deref(), Some("done"));
}
