use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use chrono::TimeDelta;
use tempfile::TempDir;

use super::*;
use crate::testing::at;

mod disk;
mod fold;

fn place(root: &Path) -> Place {
    Place::new(root, "home", "loki").unwrap()
}

fn time(seconds: u64) -> DateTime<Utc> {
    at(seconds).utc
}

fn start(step: &str, way: Way, told: bool) -> Entry {
    Entry::Start { step: step.into(), way, checked: true, at: time(7), told }
}

fn worked(step: &str, told: bool) -> Entry {
    Entry::Worked { step: step.into(), told }
}

fn end(step: &str, way: Way, end: StepEnd, told: bool) -> Entry {
    Entry::End { step: step.into(), way, end, note: "so".into(), told }
}

fn over() -> Entry {
    Entry::Over { how: "done".into() }
}

/// One of each kind.
fn entries() -> Vec<Entry> {
    vec![
        Entry::Lock { id: 4 },
        start("copy", Way::Do, true),
        worked("copy", false),
        end("copy", Way::Do, StepEnd::Done, false),
        Entry::Told { up_to: 4 },
        over(),
    ]
}

/// A journal with these entries, closed again.
fn written(root: &Path, entries: Vec<Entry>) -> Place {
    let place = place(root);
    let mut journal = Journal::open(&place, time(1)).unwrap();
    journal.begin("http://gate:9470", "sha256:abc", time(2)).unwrap();
    for entry in entries {
        journal.write(entry).unwrap();
    }
    place
}

fn story(place: &Place) -> Option<Story> {
    Story::read(place).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_journal_is_read_again_as_it_was_written() {
    let dir = TempDir::new().unwrap();
    let place = place(dir.path());
    let mut journal = Journal::open(&place, time(1)).unwrap();
    assert_eq!(journal.story(), None);
    assert!(!fs::exists(place.path()).unwrap(), "a look leaves no journal");
    assert!(matches!(journal.write(over()), Err(JournalError::NotBegun(_))));
    journal.begin("http://gate:9470", "sha256:abc", time(2)).unwrap();
    for (entry, number) in entries().into_iter().zip(2..) {
        assert_eq!(journal.write(entry).unwrap(), number);
        assert_eq!(journal.story(), story(&place).as_ref(), "each entry is there at once");
    }
    let before = journal.story().cloned();
    drop(journal);
    let mut journal = Journal::open(&place, time(3)).unwrap();
    assert_eq!(journal.story(), before.as_ref());
    assert_eq!(journal.write(Entry::Lock { id: 5 }).unwrap(), 8);
    assert_eq!(story(&place).unwrap().lock, Some(5));
}

#[test]
fn the_form_of_the_file_stays() {
    let dir = TempDir::new().unwrap();
    let place = written(dir.path(), entries());
    let expected = r#"{"entry":"opened","version":1,"migration":"home","phase":"loki","server":"http://gate:9470","document":"sha256:abc","at":"1970-01-01T00:00:02Z"}
{"entry":"lock","id":4}
{"entry":"start","step":"copy","way":"do","checked":true,"at":"1970-01-01T00:00:07Z","told":true}
{"entry":"worked","step":"copy","told":false}
{"entry":"end","step":"copy","way":"do","end":"done","note":"so","told":false}
{"entry":"told","upTo":4}
{"entry":"over","how":"done"}
"#;
    assert_eq!(fs::read_to_string(place.path()).unwrap(), expected);
}

#[test]
fn it_is_nobody_elses_to_read() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("state/phasegate/runs");
    let place = written(&root, Vec::new());
    for folder in [&root, &root.join("home"), &dir.path().join("state")] {
        assert_eq!(mode(folder), 0o700, "{}", folder.display());
    }
    assert_eq!((mode(&place.path()), mode(&place.lock_path())), (0o600, 0o600));
}

#[test]
fn an_end_that_was_torn_off_is_ignored_and_cut() {
    let dir = TempDir::new().unwrap();
    let place = written(dir.path(), entries());
    let path = place.path();
    let whole = fs::read(&path).unwrap();
    let kept = whole.len() - b"{\"entry\":\"over\",\"how\":\"done\"}\n".len();
    let torn = |len: usize| whole[..len].to_vec();
    let zeros = |len: usize| [torn(kept), vec![0; len]].concat();
    let lines = (kept + 1..whole.len()).map(torn).chain([zeros(1), zeros(4000), [zeros(9), b"\"}\n".to_vec()].concat()]);
    for bytes in lines {
        fs::write(&path, &bytes).unwrap();
        let read = story(&place).unwrap();
        assert_eq!((read.entries, read.over.clone()), (6, None));
        assert_eq!(fs::read(&path).unwrap(), bytes, "a look changes nothing");
        let mut journal = Journal::open(&place, time(3)).unwrap();
        assert_eq!(journal.story(), Some(&read));
        assert_eq!(fs::read(&path).unwrap(), torn(kept));
        assert_eq!(journal.write(over()).unwrap(), 7);
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
}

#[test]
fn a_run_whose_first_line_was_torn_off_has_not_begun() {
    let dir = TempDir::new().unwrap();
    let place = written(dir.path(), Vec::new());
    let whole = fs::read(place.path()).unwrap();
    fs::write(place.path(), &whole[..whole.len() - 1]).unwrap();
    assert_eq!(story(&place), None);
    let mut journal = Journal::open(&place, time(3)).unwrap();
    assert_eq!(journal.story(), None);
    journal.begin("http://gate:9470", "sha256:abc", time(2)).unwrap();
    assert_eq!(fs::read(place.path()).unwrap(), whole);
    assert_eq!(names(dir.path()), ["loki.jsonl", "loki.lock"], "nothing was set aside");
}

#[test]
fn a_line_that_can_not_be_read_is_an_error_that_says_where() {
    let dir = TempDir::new().unwrap();
    let place = written(dir.path(), entries());
    let path = place.path();
    let whole = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = whole.lines().collect();
    let with = |at: usize, line: &str| {
        let changed = lines.iter().enumerate().map(|(n, l)| if n == at { line.to_owned() } else { (*l).to_owned() });
        changed.collect::<Vec<_>>()
    };
    let end = lines.len() - 1;
    for (at, line, why) in [
        (2, "", "no entry of a journal"),
        (2, "{\"entry\":\"sta", "no entry of a journal"),
        (end, "{\"entry\":\"danced\"}", "unknown variant `danced`"),
        (end, "{\"entry\":\"lock\",\"id\":5,\"by\":\"me\"}", "unknown field `by`"),
        (end, "{\"entry\":\"lock\"}", "missing field `id`"),
        (end, lines[0], "unknown variant `opened`"),
        (0, lines[1], "unknown variant `lock`"),
        (0, &lines[0].replace("loki", "alloy"), "it is the journal of phase alloy of home"),
    ] {
        let text = with(at, line).join("\n") + "\n";
        fs::write(&path, &text).unwrap();
        for error in [Story::read(&place).unwrap_err(), Journal::open(&place, time(3)).unwrap_err()] {
            let shown = error.to_string();
            assert!(shown.starts_with(&format!("{}, line {}: ", path.display(), at + 1)), "{shown}");
            assert!(shown.contains(why), "{shown}");
            assert!(error.hint().contains(&format!("mv {}", path.display())), "{}", error.hint());
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "nothing was changed");
    }
}

#[test]
fn a_journal_of_a_newer_version_is_left_alone() {
    let dir = TempDir::new().unwrap();
    let place = written(dir.path(), entries());
    fs::write(place.path(), "{\"entry\":\"begun\",\"version\":2}\n{\"other\":1}\n").unwrap();
    let error = Journal::open(&place, time(3)).unwrap_err();
    assert!(error.to_string().contains("written by a newer cutover (version 2)"), "{error}");
    assert!(error.hint().contains("newer one"));
}

#[test]
fn one_process_at_a_time_writes() {
    let dir = TempDir::new().unwrap();
    let place = written(dir.path(), entries());
    let journal = Journal::open(&place, time(5)).unwrap();
    let error = Journal::open(&place, time(6)).unwrap_err();
    let expected = format!("another cutover (pid {}, since 1970-01-01 00:00:05Z) works on this phase", std::process::id());
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert!(error.hint().contains("end it there"));
    assert!(story(&place).is_some(), "it can be read all the same");
    Journal::open(&Place::new(dir.path(), "home", "alloy").unwrap(), time(6)).unwrap();

    fs::write(place.lock_path(), "").unwrap();
    let error = Journal::open(&place, time(6)).unwrap_err();
    assert!(error.to_string().starts_with("another cutover works on this phase"), "{error}");

    let mut child = Command::new("sleep").arg("1000").stdout(Stdio::null()).spawn().unwrap();
    drop(journal);
    let again = Journal::open(&place, time(7));
    child.kill().unwrap();
    child.wait().unwrap();
    again.expect("what a step leaves running does not hold the journal");
}

#[test]
fn a_new_run_sets_the_old_journal_aside() {
    let dir = TempDir::new().unwrap();
    let place = written(dir.path(), entries());
    let old = fs::read(place.path()).unwrap();
    let mut journal = Journal::open(&place, time(100)).unwrap();
    journal.begin("http://gate:9470", "sha256:def", time(100)).unwrap();
    let story = journal.story().unwrap();
    assert_eq!((story.entries, story.over.clone(), story.lock), (1, None, None));
    assert_eq!(names(dir.path()), ["loki.19700101T000002.000Z.jsonl", "loki.jsonl", "loki.lock"]);
    assert_eq!(fs::read(dir.path().join("home/loki.19700101T000002.000Z.jsonl")).unwrap(), old);
    // Two that began in the same moment.
    journal.begin("http://gate:9470", "sha256:def", time(2)).unwrap();
    journal.begin("http://gate:9470", "sha256:def", time(2)).unwrap();
    journal.write(Entry::Lock { id: 1 }).unwrap();
    let aside = ["loki.19700101T000002.000Z.jsonl", "loki.19700101T000002.001Z.jsonl", "loki.19700101T000140.000Z.jsonl"];
    assert_eq!(names(dir.path())[..3], aside);
}

#[test]
fn the_last_twenty_journals_of_a_phase_are_kept() {
    let dir = TempDir::new().unwrap();
    let place = place(dir.path());
    let folder = dir.path().join("home");
    fs::create_dir(&folder).unwrap();
    let others = ["loki-2.19700101T000002.000Z.jsonl", "loki.19700101T000002.000Z.jsonl.damaged", "loki.mine.jsonl", "notes"];
    for other in others {
        fs::write(folder.join(other), "").unwrap();
    }
    let mut journal = Journal::open(&place, time(1)).unwrap();
    for run in 0..30 {
        journal.begin("http://gate:9470", "sha256:abc", time(1000) + TimeDelta::milliseconds(run)).unwrap();
    }
    let names = names(dir.path());
    let aside: Vec<_> = names.iter().filter(|name| name.starts_with("loki.197") && name.ends_with("Z.jsonl")).collect();
    assert_eq!((aside.len(), aside[0].as_str()), (20, "loki.19700101T001640.009Z.jsonl"));
    assert!(others.iter().all(|other| names.iter().any(|name| name == other)), "{names:?}");
}

fn names(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root.join("home")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}
