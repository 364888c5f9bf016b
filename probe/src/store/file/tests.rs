use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::audit::verify;
use crate::plan::ProbeName;
use crate::store::PAGE_BYTES;
use crate::store::testing::{boot, fact, now, state_of, story};

pub(super) fn open(dir: &Path) -> (FileStore, Option<Loaded>) {
    FileStore::open(dir).unwrap()
}

/// The text of the refusal.
pub(super) fn refusal(dir: &Path) -> String {
    FileStore::open(dir).map(|_| ()).expect_err("must be refused").to_string()
}

pub(super) fn segment(dir: &Path, first: u64) -> PathBuf {
    dir.join(EVENTS).join(segment_name(first))
}

/// A directory with these events, appended one by one, and a checkpoint in their midst.
fn written(events: &[Event], checkpoint_after: usize) -> TempDir {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path());
    for (at, event) in (1_u64..).zip(events) {
        store.append(std::slice::from_ref(event), now(at), &boot(at)).unwrap();
        if store.head().seq == u64::try_from(checkpoint_after).unwrap() {
            store.checkpoint(&state_of(&events[..checkpoint_after]), now(at), &boot(at)).unwrap();
        }
    }
    dir
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.join(EVENTS)).unwrap();
    for name in [HEAD, SNAPSHOT] {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
    for entry in fs::read_dir(from.join(EVENTS)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(EVENTS).join(path.file_name().unwrap())).unwrap();
    }
}

/// The head that a directory had before its last append.
pub(super) fn crash_before_head(dir: &Path, append: impl FnOnce(&mut FileStore)) {
    let head = fs::read(dir.join(HEAD)).unwrap();
    let (mut store, _) = open(dir);
    append(&mut store);
    drop(store);
    fs::write(dir.join(HEAD), head).unwrap();
}

#[test]
fn what_was_written_is_loaded_with_and_without_checkpoint() {
    let story = story(20);
    for checkpoint_after in [0, 1, 7, 20] {
        let dir = written(&story, checkpoint_after);
        let (store, loaded) = open(dir.path());
        let loaded = loaded.unwrap();
        assert_eq!(loaded.state.durable, state_of(&story).durable);
        assert_eq!(loaded.state.soft, state_of(&story).soft, "checkpoint after {checkpoint_after}");
        assert_eq!(loaded.state.live.probes.len(), 2);
        assert_eq!(loaded.resume, Resume::new(now(20), &boot(20)));
        assert_eq!(store.head().seq, 20);
    }
}

#[test]
fn the_soft_part_is_that_of_the_checkpoint() {
    let dir = written(&story(8), 0);
    let (mut store, loaded) = open(dir.path());
    let mut state = loaded.unwrap().state;
    state.soft.soaks.entry("ready".into()).or_default().sample(now(80).t);
    state.soft.epoch = 42;
    state.soft.memories.insert(ProbeName::from("ready"), Arc::from([1_u8, 2, 255]));
    store.checkpoint(&state, now(90), &boot(90)).unwrap();
    drop(store);
    let loaded = open(dir.path()).1.unwrap();
    assert_eq!(loaded.state.soft, state.soft);
    assert_eq!(loaded.resume, Resume::new(now(90), &boot(90)));
}

#[test]
fn a_new_directory_is_private_and_empty_ones_are_a_fresh_start() {
    let dir = TempDir::new().unwrap();
    let new = dir.path().join("a/b");
    assert!(open(&new).1.is_none());
    assert_eq!(fs::metadata(&new).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(open(&new).1.is_none(), "opened again, still nothing happened");

    let mounted = dir.path().join("mounted");
    fs::create_dir_all(mounted.join(LOST_AND_FOUND)).unwrap();
    assert!(open(&mounted).1.is_none());
}

#[test]
fn a_first_start_that_was_interrupted_is_a_fresh_start() {
    let dir = TempDir::new().unwrap();
    drop(open(dir.path()));
    fs::rename(dir.path().join(HEAD), dir.path().join("head.json.tmp")).unwrap();
    assert!(open(dir.path()).1.is_none());
    fs::remove_file(dir.path().join(HEAD)).unwrap();
    fs::rename(dir.path().join(SNAPSHOT), dir.path().join("snapshot.json.tmp")).unwrap();
    assert!(open(dir.path()).1.is_none());
}

#[test]
fn only_one_verifier_at_a_time() {
    let dir = TempDir::new().unwrap();
    let first = open(dir.path());
    let said = refusal(dir.path());
    assert!(said.contains(&format!("another verifier (pid {}) uses this state directory", std::process::id())), "{said}");
    drop(first);
    open(dir.path());
}

#[test]
fn what_is_not_a_state_directory_is_left_alone() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("photo.jpg"), "x").unwrap();
    let said = refusal(dir.path());
    assert!(said.contains("holds \"photo.jpg\" and nothing of phasegate"), "{said}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was created");
    let said = refusal(&dir.path().join("photo.jpg"));
    assert!(said.contains("photo.jpg is not a directory"), "{said}");
    let said = refusal(&dir.path().join("photo.jpg/state"));
    assert!(said.contains("can not look at"), "{said}");
    assert!(matches!(verify_dir(&dir.path().join("nothing")), Err(StoreError::Absent(_))));
}

#[test]
fn events_that_are_not_chained_are_passed_over() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path());
    store.append(&[Event::StoreChanged { unwritable: None }], now(1), &boot(1)).unwrap();
    assert_eq!(store.head(), Head::genesis());
    let events = [fact("a", 1.into()), Event::StoreChanged { unwritable: None }, fact("b", 2.into())];
    store.append(&events, now(1), &boot(1)).unwrap();
    assert_eq!(store.head().seq, 2);
}

#[test]
fn a_deeply_nested_fact_can_be_loaded_again() {
    let deep = (0..126).fold(serde_json::json!(1), |value, _| serde_json::json!([value]));
    let events = [fact("deep", deep)];
    for checkpoint_after in [0, 1] {
        let dir = written(&events, checkpoint_after);
        assert_eq!(open(dir.path()).1.unwrap().state.durable, state_of(&events).durable);
    }
}

#[test]
fn segments_are_rotated_and_pages_verify_across_them() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path());
    store.segment_bytes = 2000;
    let story = story(40);
    for pair in story.chunks(2) {
        store.append(pair, now(1), &boot(1)).unwrap();
    }
    assert!(store.segments.len() > 3);
    for (store, limit) in [(&store, 1), (&store, 7), (&store, 1000)] {
        let (mut at, mut from) = (Head::genesis(), Some(0));
        while let Some(seq) = from {
            let page = store.audit(seq, limit).unwrap();
            assert!(page.frames.len() <= limit);
            at = verify(&at, &page.frames).unwrap();
            from = page.next;
        }
        assert_eq!(at, store.head());
    }
    assert!(store.audit(41, 10).unwrap().frames.is_empty());
    assert_eq!(store.audit(40, 10).unwrap().frames.len(), 1);

    let (head, second) = (store.head(), store.segments[1].path.clone());
    assert_eq!(verify_dir(dir.path()).unwrap(), head, "while it is in use");
    drop(store);
    let (store, loaded) = open(dir.path());
    assert_eq!(store.head(), head);
    assert_eq!(loaded.unwrap().state.durable, state_of(&story).durable);
    drop(store);

    let kept = fs::read(&second).unwrap();
    fs::remove_file(&second).unwrap();
    let said = refusal(dir.path());
    assert!(said.contains("is missing") && said.contains("restore a backup"), "{said}");
    fs::write(&second, &kept[..kept.len() - 1]).unwrap();
    assert!(refusal(dir.path()).contains("the last line has no end"));
}

#[test]
fn a_page_is_bounded_by_its_size() {
    let dir = TempDir::new().unwrap();
    let (mut store, _) = open(dir.path());
    let big = |name| fact(name, "x".repeat(PAGE_BYTES / 2 + 1).into());
    store.append(&[big("a"), big("b"), big("c")], now(1), &boot(1)).unwrap();
    let page = store.audit(0, 100).unwrap();
    assert_eq!((page.frames.len(), page.next), (1, Some(2)));
}

#[test]
fn a_frame_that_was_written_but_not_acknowledged_is_taken_in() {
    let story = story(12);
    let dir = written(&story[..10], 5);
    crash_before_head(dir.path(), |store| store.append(&story[10..], now(50), &boot(50)).unwrap());
    let (mut store, loaded) = open(dir.path());
    let loaded = loaded.unwrap();
    assert_eq!(loaded.state.durable, state_of(&story).durable);
    assert_eq!(loaded.resume, Resume { boot: None, ..Resume::new(now(50), &boot(50)) });
    store.append(&[fact("next", 1.into())], now(51), &boot(51)).unwrap();
    drop(store);
    assert_eq!(open(dir.path()).0.head().seq, 13);
}

#[test]
fn an_append_that_was_torn_anywhere_is_cut_as_a_whole() {
    let story = story(12);
    let dir = written(&story[..10], 5);
    let whole = segment(dir.path(), 1);
    let kept = fs::read(&whole).unwrap();
    crash_before_head(dir.path(), |store| store.append(&story[10..], now(50), &boot(50)).unwrap());
    let longer = fs::read(&whole).unwrap();
    let head = fs::read(dir.path().join(HEAD)).unwrap();
    for length in kept.len()..longer.len() {
        fs::write(&whole, &longer[..length]).unwrap();
        assert_eq!(open(dir.path()).0.head().seq, 10, "torn at {length}");
        assert_eq!(fs::read(&whole).unwrap(), kept);
    }
    for hole in (kept.len()..longer.len()).step_by(7) {
        let mut zeros = longer.clone();
        zeros[hole..longer.len().min(hole + 40)].fill(0);
        fs::write(&whole, &zeros).unwrap();
        fs::write(dir.path().join(HEAD), &head).unwrap();
        assert_eq!(open(dir.path()).0.head().seq, 10, "pages that were never written from {hole} on");
    }
}

#[test]
fn other_states_of_a_directory_are_refused() {
    let story = story(12);
    let original = written(&story, 5);
    let older = written(&story[..8], 5);
    let other = written(&[fact("other", 1.into())], 1);
    let case = |says: &str, change: &dyn Fn(&Path)| {
        let dir = TempDir::new().unwrap();
        copy(original.path(), dir.path());
        change(dir.path());
        let said = refusal(dir.path());
        assert!(said.contains(says), "{said}");
        assert!(verify_dir(dir.path()).is_err());
    };
    let replace = |from: PathBuf, to: PathBuf| {
        fs::copy(from, to).unwrap();
    };
    case("head.json: it is missing", &|dir| fs::remove_file(dir.join(HEAD)).unwrap());
    case("snapshot.json: it is missing", &|dir| fs::remove_file(dir.join(SNAPSHOT)).unwrap());
    case("events are missing", &|dir| fs::remove_dir_all(dir.join(EVENTS)).unwrap());
    case("events are missing", &|dir| replace(segment(older.path(), 1), segment(dir, 1)));
    case("frame 1 is another one", &|dir| replace(other.path().join(SNAPSHOT), dir.join(SNAPSHOT)));
    case("frame 1 is another one", &|dir| replace(other.path().join(HEAD), dir.join(HEAD)));
    case("is missing", &|dir| fs::rename(segment(dir, 1), segment(dir, 2)).unwrap());
    case("not one of ours", &|dir| fs::write(dir.join("events/notes.txt"), "x").unwrap());
    case("not one of ours", &|dir| fs::write(dir.join("events/1.jsonl"), "").unwrap());
    case("it is not a file", &|dir| {
        fs::remove_file(dir.join(HEAD)).unwrap();
        fs::create_dir(dir.join(HEAD)).unwrap();
    });
    case("not readable", &|dir| fs::write(dir.join(SNAPSHOT), "").unwrap());
    case("written by a newer phasegate (schema 2), this one knows 1", &|dir| {
        fs::write(dir.join(SNAPSHOT), r#"{"schema":2,"all":"different"}"#).unwrap();
    });
    case("never was a schema 0", &|dir| fs::write(dir.join(SNAPSHOT), r#"{"schema":0}"#).unwrap());
    case("line 1 (byte 0): not a frame", &|dir| {
        let text = fs::read_to_string(segment(dir, 1)).unwrap();
        fs::write(segment(dir, 1), text.replacen(':', ";", 1)).unwrap();
    });
    case("line 13", &|dir| {
        let mut text = fs::read_to_string(segment(dir, 1)).unwrap();
        text.push_str(&text.lines().last().unwrap().replace("\"seq\":12", "\"seq\":13"));
        fs::write(segment(dir, 1), text + "\n").unwrap();
    });
}

#[test]
fn a_failed_write_leaves_the_old_state_and_can_be_repeated() {
    let story = story(12);
    let dir = written(&story[..10], 5);
    let (mut store, _) = open(dir.path());
    let (head, length) = (store.head(), fs::metadata(segment(dir.path(), 1)).unwrap().len());
    for name in [HEAD, SNAPSHOT] {
        fs::create_dir(sealed::waiting(&dir.path().join(name))).unwrap();
    }
    store.append(&story[10..], now(50), &boot(50)).unwrap_err();
    store.checkpoint(&state_of(&story[..10]), now(50), &boot(50)).unwrap_err();
    assert_eq!(store.head(), head);
    assert_eq!(fs::metadata(segment(dir.path(), 1)).unwrap().len(), length);
    assert_eq!(store.audit(0, 100).unwrap().frames.len(), 10);
    assert_eq!(verify_dir(dir.path()).unwrap(), head);
    for name in [HEAD, SNAPSHOT] {
        fs::remove_dir(sealed::waiting(&dir.path().join(name))).unwrap();
    }
    store.append(&story[10..], now(51), &boot(51)).unwrap();
    store.checkpoint(&state_of(&story), now(51), &boot(51)).unwrap();
    drop(store);
    assert_eq!(open(dir.path()).1.unwrap().state.durable, state_of(&story).durable);
}

#[test]
fn a_head_that_can_not_be_replaced_is_put_right_before_the_next_write() {
    let story = story(12);
    let dir = written(&story[..10], 5);
    let (mut store, _) = open(dir.path());
    let (path, aside) = (dir.path().join(HEAD), dir.path().join("aside"));
    fs::rename(&path, &aside).unwrap();
    fs::create_dir(&path).unwrap();
    store.append(&story[10..], now(50), &boot(50)).unwrap_err();
    store.append(&story[10..], now(50), &boot(50)).unwrap_err();
    assert!(matches!(store.undo, Some(Undo::FramesAndHead)));
    fs::remove_dir(&path).unwrap();
    fs::rename(&aside, &path).unwrap();
    store.append(&story[10..], now(50), &boot(50)).unwrap();
    drop(store);
    let (store, loaded) = open(dir.path());
    assert_eq!((store.head().seq, loaded.unwrap().state.durable), (12, state_of(&story).durable));
}
