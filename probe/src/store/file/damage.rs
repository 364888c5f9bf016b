//! Every byte of a small state directory is flipped, and every file is cut at every length.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tempfile::TempDir;

use super::tests::{crash_before_head, open, segment};
use super::*;
use crate::state::Durable;
use crate::store::testing::{boot, fact, now, state_of, story};

/// Acknowledged frames: the time that these tests take grows with the square of it.
const ACKNOWLEDGED: u64 = 30;

/// Acknowledged frames in several segments, then an append of two more that is not acknowledged.
fn bench() -> (TempDir, Durable, Durable) {
    let dir = TempDir::new().unwrap();
    let mut events = story(usize::try_from(ACKNOWLEDGED).unwrap());
    let (mut store, _) = open(dir.path());
    store.segment_bytes = 3000;
    for (at, chunk) in events.chunks(5).enumerate() {
        store.append(chunk, now(1), &boot(1)).unwrap();
        if at == 2 {
            store.checkpoint(&state_of(&events[..15]), now(1), &boot(1)).unwrap();
        }
    }
    drop(store);
    let acknowledged = state_of(&events).durable;
    let more = [fact("x", 0.3.into()), fact("y", serde_json::json!({"a": [null]}))];
    crash_before_head(dir.path(), |store| store.append(&more, now(2), &boot(2)).unwrap());
    events.extend(more);
    (dir, acknowledged, state_of(&events).durable)
}

/// What is loaded from a directory in which one file has another content; none: it was refused.
fn with(dir: &Path, path: &Path, content: &[u8]) -> Option<(u64, Durable)> {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(u64::try_from(content.len()).unwrap()).unwrap();
    file.write_all_at(content, 0).unwrap();
    let scanned =
        catch_unwind(AssertUnwindSafe(|| scan(dir))).unwrap_or_else(|_| panic!("panics with a changed {}", path.display()));
    scanned.ok().map(|scan| scan.map_or((0, Durable::default()), |scan| (scan.head.seq, scan.state.durable)))
}

/// Changes every file in every way, and checks that only what was not acknowledged is ever lost.
fn damage(changes: impl Fn(&[u8]) -> Box<dyn Iterator<Item = (usize, Vec<u8>)> + '_>) {
    let (dir, acknowledged, all) = bench();
    let dir = dir.path();
    let last = list_segments(dir).pop().unwrap();
    let text = fs::read_to_string(&last).unwrap();
    let tail = text.find(&format!("\"seq\":{},", ACKNOWLEDGED + 1)).unwrap() - 1;
    let mut paths = list_segments(dir);
    assert!(paths.len() > 2, "the bench has several segments");
    paths.extend([dir.join(HEAD), dir.join(SNAPSHOT)]);
    let mut cut = 0;
    for path in paths {
        let original = fs::read(&path).unwrap();
        for (at, changed) in changes(&original) {
            let loaded = with(dir, &path, &changed);
            if path == last && at >= tail {
                if let Some((seq, durable)) = loaded {
                    assert_eq!((seq, &durable), (ACKNOWLEDGED, &acknowledged), "byte {at} of the unacknowledged end");
                    cut += 1;
                }
            } else {
                assert!(loaded.is_none(), "byte {at} of {} is changed and it was loaded", path.display());
            }
        }
        assert_eq!(with(dir, &path, &original), Some((ACKNOWLEDGED + 2, all.clone())));
    }
    assert!(cut > 0);
}

fn list_segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir.join(EVENTS)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert_eq!(paths.first(), Some(&segment(dir, 1)));
    paths
}

#[test]
fn a_flipped_bit_anywhere_is_refused() {
    damage(|original| {
        let original = original.to_vec();
        Box::new((0..original.len()).map(move |at| {
            let mut changed = original.clone();
            changed[at] ^= 1 << (at % 8);
            (at, changed)
        }))
    });
}

#[test]
fn a_shorter_file_is_refused() {
    damage(|original| {
        let original = original.to_vec();
        Box::new((0..original.len()).map(move |length| (length, original[..length].to_vec())))
    });
}
