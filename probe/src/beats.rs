//! Heartbeats that came in for `heartbeat` probes. In memory: after a restart a fresh one must come.

use std::collections::BTreeMap;
use std::sync::Arc;

use checks::Beat;
use parking_lot::RwLock;

use crate::now::Now;

/// Longest note that is kept, in characters.
const MAX_NOTE: usize = 500;

/// The newest heartbeat of each probe. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Beats(Arc<RwLock<BTreeMap<String, Received>>>);

#[derive(Debug)]
struct Received {
    at: Now,
    passed: bool,
    from: String,
    note: String,
}

impl Beats {
    /// Keeps a heartbeat. The caller has made sure that such a probe exists.
    pub fn put(&self, probe: &str, at: Now, passed: bool, from: &str, note: &str) {
        let note = note.chars().take(MAX_NOTE).collect();
        self.0.write().insert(probe.to_owned(), Received { at, passed, from: from.to_owned(), note });
    }

    /// The newest heartbeat of a probe, with its age now.
    pub fn get(&self, probe: &str, now: Now) -> Option<Beat> {
        let beats = self.0.read();
        let beat = beats.get(probe)?;
        Some(Beat { age: now.t.since(beat.at.t), passed: beat.passed, from: beat.from.clone(), note: beat.note.clone() })
    }
}
