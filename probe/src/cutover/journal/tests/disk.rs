//! Disks that do not take what is written.

use super::*;
use crate::testing::disk::SmallDisk;

#[test]
fn a_full_disk_is_an_error_and_leaves_the_journal_as_it_was() {
    let Some(disk) = SmallDisk::mount() else { return };
    let place = written(disk.path(), entries());
    let mut journal = Journal::open(&place, time(3)).unwrap();
    let before = journal.story().cloned();
    let filler = disk.fill();
    let big = || Entry::Over { how: "x".repeat(9000) };
    for _ in 0..3 {
        let error = journal.write(big()).unwrap_err();
        assert!(error.to_string().starts_with(&format!("can not write {}: No space left", place.path().display())), "{error}");
        assert!(error.hint().starts_with("make room on its disk"), "{}", error.hint());
        assert_eq!((journal.story(), story(&place).as_ref()), (before.as_ref(), before.as_ref()));
    }
    drop(journal);
    let mut journal = Journal::open(&place, time(4)).expect("a full disk can still be read");
    assert_eq!(journal.story(), before.as_ref());
    journal.write(big()).unwrap_err();
    fs::remove_file(filler).unwrap();
    assert_eq!(journal.write(Entry::Lock { id: 9 }).unwrap(), 8);
    assert_eq!(story(&place).as_ref(), journal.story());
}

#[test]
fn a_run_that_could_not_begin_can_begin_later() {
    let Some(disk) = SmallDisk::mount() else { return };
    let place = place(disk.path());
    let mut journal = Journal::open(&place, time(3)).unwrap();
    let filler = disk.fill();
    journal.begin(&"x".repeat(9000), "sha256:abc", time(4)).unwrap_err();
    assert_eq!((journal.story(), story(&place)), (None, None));
    assert!(matches!(journal.write(over()), Err(JournalError::NotBegun(_))));
    fs::remove_file(filler).unwrap();
    journal.begin("http://gate:9470", "sha256:abc", time(5)).unwrap();
    assert_eq!(story(&place).as_ref(), journal.story());
    assert_eq!(names(disk.path()), ["loki.jsonl", "loki.lock"]);
}

#[test]
fn a_folder_that_can_not_be_written_to_is_an_error_that_says_what_to_do() {
    let Some(disk) = SmallDisk::mount() else { return };
    let place = written(disk.path(), entries());
    disk.read_only();
    let error = Journal::open(&place, time(3)).unwrap_err();
    assert!(error.to_string().contains(&place.lock_path().display().to_string()), "{error}");
    assert!(error.hint().contains("set XDG_STATE_HOME"), "{}", error.hint());
    assert!(story(&place).is_some(), "it can be read all the same");
    let error = Journal::open(&Place::new(&disk.path().join("new"), "home", "loki").unwrap(), time(3)).unwrap_err();
    assert!(error.to_string().starts_with(&format!("can not create {}", disk.path().join("new").display())), "{error}");
}

#[test]
fn something_else_in_its_place_is_an_error_that_says_what_to_do() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Journal::open(&place(&file), time(3)).unwrap_err();
    assert!(error.to_string().starts_with(&format!("can not create {}", file.display())), "{error}");
    assert!(error.hint().starts_with("something else has its name"), "{}", error.hint());

    fs::create_dir_all(place(dir.path()).path()).unwrap();
    let error = Journal::open(&place(dir.path()), time(3)).unwrap_err();
    assert!(error.to_string().starts_with(&format!("can not read {}", place(dir.path()).path().display())), "{error}");
    assert!(error.hint().starts_with("something else has its name"), "{}", error.hint());
}
