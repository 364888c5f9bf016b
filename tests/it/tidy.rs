//! Does the tree keep its own laws? Laws of layering, of generated documents, and of comments that hide something.

use std::path::{Path, PathBuf};

use probe::exit::Exit;

/// The verdict: plain functions over plain data.
const PURE: &[&str] = &[
    "plan.rs",
    "now.rs",
    "state.rs",
    "soak.rs",
    "gate.rs",
    "gate/board.rs",
    "gate/phase_reasons.rs",
    "phase.rs",
    "steps.rs",
    "state/record.rs",
    "state/removal.rs",
    "phase/facts.rs",
    "phase/removal.rs",
    "state/steps.rs",
    "event.rs",
    "event/command.rs",
    "event/input.rs",
    "decide.rs",
    "apply.rs",
    "past.rs",
    "past/search.rs",
    "past/record.rs",
];
/// What a pure file can not have.
const IMPURE: &[&str] = &[
    "tokio",
    "axum",
    "reqwest",
    "hyper",
    "std::fs",
    "std::net",
    "std::io",
    "std::env",
    "std::process",
    "std::thread",
    "parking_lot",
    "Mutex",
    "tracing::",
    "Utc::now",
    "Instant",
    "SystemTime",
    "crate::clock",
    "crate::ledger",
    "crate::store",
    "crate::scheduler",
    "crate::config",
    "crate::metrics",
    "crate::api",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The Rust files below a folder of the project.
fn rust_files(folder: &str) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// The code of a file up to its tests, comments left out.
fn code(path: &Path) -> String {
    let text = read(path);
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn verdict_code_is_pure() {
    for file in PURE {
        let code = code(&root().join("probe/src").join(file));
        for word in IMPURE {
            assert!(!code.contains(word), "probe/src/{file} is verdict code and must not know `{word}`");
        }
    }
}

#[test]
fn rooms_depend_one_way() {
    for file in rust_files("checks/src") {
        for word in ["probe::", "Verdict", "Soak", "PhaseState"] {
            assert!(!code(&file).contains(word), "{}: a check knows no schedule, phase or gate (`{word}`)", file.display());
        }
    }
    let mut cutover = rust_files("probe/src/cutover");
    cutover.push(root().join("probe/src/cutover.rs"));
    for file in cutover {
        for word in ["crate::ledger", "crate::scheduler", "crate::decide", "crate::apply", "crate::clock"] {
            assert!(!code(&file).contains(word), "{}: cutover is an HTTP client and must not know `{word}`", file.display());
        }
    }
}

#[test]
fn only_the_clock_reads_time() {
    for file in rust_files("probe/src").into_iter().chain(rust_files("checks/src")) {
        let reads = ["Utc::now()", "SystemTime::now()", "clock_gettime"].iter().any(|word| code(&file).contains(word));
        assert!(!reads || file.ends_with("probe/src/clock.rs"), "{}: time is read in clock.rs only", file.display());
    }
}

#[test]
fn nothing_is_allowed_ignored_or_put_off() {
    // Put together here, so that this file does not find itself.
    let words =
        [["#[al", "low("], ["#![al", "low("], ["TO", "DO"], ["FIX", "ME"], ["#[ig", "nore"]].map(|halves| halves.concat());
    for folder in ["checks/src", "probe/src", "tests"] {
        for file in rust_files(folder) {
            for word in &words {
                assert!(!read(&file).contains(word.as_str()), "{}: `{word}`", file.display());
            }
        }
    }
}

/// A mutant that does not apply is noticed here, in a second, and not at the end of an hour.
#[test]
fn mutants_apply() {
    let mut patches: Vec<_> =
        std::fs::read_dir(root().join("tests/mutants")).unwrap().map(|entry| entry.unwrap().path()).collect();
    patches.retain(|path| path.extension().is_some_and(|end| end == "patch"));
    assert!(patches.len() > 100, "{} mutants", patches.len());
    for patch in patches {
        let tried = std::process::Command::new("patch")
            .args(["--dry-run", "--silent", "-p1", "--fuzz=0", "--input"])
            .arg(&patch)
            .current_dir(root())
            .output()
            .unwrap();
        assert!(tried.status.success(), "{}: {}", patch.display(), String::from_utf8_lossy(&tried.stdout));
    }
}

#[test]
fn files_stay_small_enough_to_be_read() {
    for folder in ["checks/src", "probe/src", "tests"] {
        for file in rust_files(folder) {
            let lines = read(&file).lines().count();
            assert!(lines <= 470, "{}: {lines} lines want a better shape", file.display());
        }
    }
}

fn checks_table() -> String {
    let row = |entry: &checks::Entry| format!("| `{}` | {} |\n", entry.meta.kind, entry.summary().replace('|', "\\|"));
    let registry = checks::registry();
    ["| check | passes when |\n|---|---|\n".to_owned()].into_iter().chain(registry.iter().map(row)).collect()
}

fn exits_table() -> String {
    let row = |exit: &Exit| format!("| {} | {} |\n", exit.code, exit.meaning);
    ["| code | meaning |\n|---|---|\n".to_owned()].into_iter().chain(Exit::ALL.iter().map(row)).collect()
}

#[test]
fn the_readme_is_current() {
    let path = root().join("README.md");
    let mut readme = read(&path);
    for (name, table) in [("checks", checks_table()), ("exits", exits_table())] {
        let (begin, end) = (format!("<!-- {name}: generated, kept current by a test -->\n"), format!("<!-- /{name} -->"));
        let from = readme.find(&begin).unwrap() + begin.len();
        let to = readme.find(&end).unwrap();
        readme.replace_range(from..to, &table);
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &readme).unwrap();
    }
    assert!(read(&path) == readme, "README.md is not current: run the tests once with UPDATE=1");
}
