//! One file for each rule that a document can break, each with its text as a snapshot.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::registry;
use crate::config::load;

/// What stands in the corpus where a secret was written by mistake.
const SECRET: &str = "hunter2";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/config")
}

fn names(folder: &Path, extension: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    entries.filter_map(|name| name.strip_suffix(extension).map(str::to_owned)).collect()
}

#[test]
fn every_broken_rule_has_its_text() {
    let invalid: BTreeSet<_> = names(&folder(), ".yaml").into_iter().filter(|name| name.starts_with("invalid-")).collect();
    assert!(invalid.len() >= 40, "only {} files", invalid.len());
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(folder().join("snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for name in &invalid {
        let file = format!("{name}.yaml");
        let errors = load(&folder().join(&file), &registry()).expect_err(&file);
        let text = errors.to_string().replace(&format!("{}/", folder().display()), "");
        assert!(!text.contains(SECRET), "{file} shows a secret:\n{text}");
        assert_eq!(text.matches("= hint: ").count(), errors.problems().len(), "{file}: each error has a hint");
        settings.bind(|| insta::assert_snapshot!(name.as_str(), text));
    }
    assert_eq!(names(&folder().join("snapshots"), ".snap"), invalid, "snapshots and files belong together");
}

#[test]
fn a_file_that_is_not_there_is_one_error() {
    let errors = load(&folder().join("nowhere.yaml"), &registry()).unwrap_err();
    assert_eq!(errors.problems().len(), 1);
    assert!(errors.to_string().contains("nowhere.yaml"), "{errors}");
    let errors = load(&folder(), &registry()).unwrap_err();
    assert_eq!(errors.problems().len(), 1, "a folder: {errors}");
}

#[test]
fn a_file_that_is_far_too_large_is_one_error_and_is_not_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.yaml");
    std::fs::write(&path, "a: b\n".repeat(2_000_000)).unwrap();
    let errors = load(&path, &registry()).unwrap_err();
    assert_eq!(errors.problems().len(), 1);
    assert!(errors.to_string().contains("larger than 1024 KiB"), "{errors}");
    assert_eq!(load(Path::new("/dev/zero"), &registry()).unwrap_err().problems().len(), 1);
}
