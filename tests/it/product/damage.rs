//! The ledger on the disk is damaged, not ours, or taken: it is refused by name, and left as it is.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tests::{Output, Spec, Verifier, World, binary};

use super::{AT_ONCE, QUICK, Script, migration, opened};

const END: Duration = Duration::from_secs(30);

/// A world with a ledger that somebody has worked with, and nobody uses now.
struct Left {
    world: World,
    document: PathBuf,
    state: PathBuf,
}

impl Left {
    async fn behind() -> Self {
        let world = World::new().unwrap();
        let document = migration(QUICK, "{}", AT_ONCE, &[&Script::new(&world, "one").probe()]);
        let verifier = Verifier::start_scripted(&world, &document).await.unwrap();
        opened(&verifier).await;
        assert_eq!(verifier.cutover(&["advance"]).await.unwrap().code, 0);
        assert!(verifier.sigterm().await.unwrap().success());
        let (document, state) = (verifier.document().to_owned(), verifier.state_dir().clone());
        Self { world, document, state }
    }

    /// The newest segment of events.
    fn segment(&self) -> PathBuf {
        let entries = fs::read_dir(self.state.join("events")).unwrap().map(|entry| entry.unwrap().path());
        entries.max().expect("a segment")
    }

    async fn verify(&self) -> Output {
        let verify = Spec::new("cutover", binary("cutover").unwrap()).args(["audit", "verify", "--dir"]);
        self.world.run(verify.arg(self.state.display().to_string()), END).await.unwrap()
    }

    async fn start(&self, state: &Path) -> Output {
        start(&self.world, &self.document, state).await
    }

    /// `audit verify` and a start both refuse, naming `words`, and change nothing.
    async fn is_refused(&self, what: &str, words: &str) {
        let before = content(&self.state);
        let verified = self.verify().await;
        assert_eq!(verified.code, 1, "{what}: {verified:?}");
        assert!(verified.stderr.contains(words), "{what}: {verified:?}");
        let started = self.start(&self.state).await;
        assert_eq!(started.code, 2, "{what}: {started:?}");
        let lines: Vec<&str> = started.stderr.lines().collect();
        assert!(matches!(*lines, [line] if line.starts_with("error: ") && line.contains(words)), "{what}: {started:?}");
        assert!(content(&self.state) == before, "{what}: it was changed");
    }
}

/// Runs a verifier that is expected to end by itself.
async fn start(world: &World, document: &Path, state: &Path) -> Output {
    let spec = Spec::new("verifier", binary("probe-scripted").unwrap())
        .args(["verifier", "--web.listen-address", "127.0.0.1:0", "--config.file"])
        .arg(document.display().to_string())
        .arg("--state.dir")
        .arg(state.display().to_string());
    world.run(spec, END).await.unwrap()
}

/// Every file below, but for the lock, which says who looked last.
fn content(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap).filter(|entry| entry.file_name() != "lock") {
        let path = entry.path();
        if path.is_dir() {
            files.append(&mut content(&path));
        } else {
            files.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    files
}

#[tokio::test]
async fn one_flipped_byte_in_the_events_is_found_by_line_and_refused() {
    let left = Left::behind().await;
    let segment = left.segment();
    let whole = fs::read(&segment).unwrap();
    assert_eq!(left.verify().await.code, 0);
    let places = 8;
    for place in 0..places {
        let at = (whole.len() - 2) * place / (places - 1);
        let line = whole[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        let mut bytes = whole.clone();
        bytes[at] ^= 0b10;
        fs::write(&segment, &bytes).unwrap();
        left.is_refused(&format!("byte {at}"), &format!("line {line} ")).await;
    }
    fs::write(&segment, &whole).unwrap();
    assert_eq!(left.verify().await.code, 0);
}

#[tokio::test]
async fn a_shortened_ledger_is_refused_and_a_torn_end_that_nobody_was_told_of_is_cut() {
    let left = Left::behind().await;
    let segment = left.segment();
    let whole = fs::read(&segment).unwrap();
    let frame = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    let name = segment.file_name().unwrap().to_string_lossy().into_owned();
    let half = usize::midpoint(frame, whole.len());
    for (what, length, words) in [("half of the last frame", half, &*name), ("the last frame", frame, "events are missing")] {
        fs::write(&segment, &whole[..length]).unwrap();
        left.is_refused(what, words).await;
    }
    fs::remove_file(&segment).unwrap();
    left.is_refused("the segment is gone", "the state is damaged").await;

    // A crash in the middle of a write: its bytes were never acknowledged.
    let mut torn = whole.clone();
    torn.extend_from_slice(&whole[frame..usize::midpoint(frame, whole.len())]);
    fs::write(&segment, torn).unwrap();
    let document = fs::read_to_string(&left.document).unwrap();
    let verifier = Verifier::start_scripted_in(&left.world, &document, &left.state).await.unwrap();
    let log = verifier.process().stderr();
    assert!(log.contains("cut the unacknowledged end"), "{log}");
    let status = verifier.get("/v1/status").await.unwrap().json().unwrap();
    assert_eq!(status["phases"][0]["state"], "complete", "{status}");
    assert_eq!(verifier.cutover(&["audit", "verify"]).await.unwrap().code, 0);
}

#[tokio::test]
async fn a_directory_of_somebody_else_is_refused_and_left_alone() {
    let left = Left::behind().await;
    let photos = left.world.dir().join("photos");
    fs::create_dir(&photos).unwrap();
    fs::write(photos.join("holiday.jpg"), "not ours").unwrap();
    let refused = left.start(&photos).await;
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("holiday.jpg"), "{refused:?}");
    let names: Vec<_> = fs::read_dir(&photos).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["holiday.jpg"], "nothing was put there");

    let file = left.world.write("a-file", "not a directory").unwrap();
    let refused = left.start(&file).await;
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("is not a directory"), "{refused:?}");
}

#[tokio::test]
async fn a_second_verifier_on_the_same_ledger_is_refused_by_the_pid_of_the_first() {
    let world = World::new().unwrap();
    let document = migration(QUICK, "{}", AT_ONCE, &[&Script::new(&world, "one").probe()]);
    let verifier = Verifier::start_scripted(&world, &document).await.unwrap();
    let refused = start(&world, verifier.document(), verifier.state_dir()).await;
    assert_eq!(refused.code, 2, "{refused:?}");
    let pid = verifier.process().pid().unwrap();
    assert!(refused.stderr.contains(&format!("pid {pid}")), "{refused:?}");
    // Also after the first one was killed: its lock is gone with it.
    opened(&verifier).await;
    verifier.kill9().await.unwrap();
    verifier.start_again().await.unwrap();
}
