//! Heartbeats: what others send for their `heartbeat` probes, until the next Run looks at it.

use std::collections::BTreeMap;
use std::sync::Arc;

use checks::Beat;
use parking_lot::RwLock;

use crate::now::Now;
use crate::plan::{Plan, ProbeName};

/// Longest note that is kept, in characters.
const MAX_NOTE: usize = 500;

/// One heartbeat as it came in.
#[derive(Debug, Clone)]
struct Received {
    at: Now,
    passed: bool,
    from: String,
    note: String,
}

/// The newest heartbeat of each probe; in memory, since an old one is worth nothing. Cheap to clone, shared.
#[derive(Debug, Clone, Default)]
pub struct Beats(Arc<RwLock<BTreeMap<ProbeName, Received>>>);

impl Beats {
    /// Keeps a heartbeat in place of the former one.
    pub fn put(&self, probe: &ProbeName, at: Now, passed: bool, from: String, note: &str) {
        let note = note.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_NOTE).collect();
        self.0.write().insert(probe.clone(), Received { at, passed, from, note });
    }

    /// The newest heartbeat of a probe, with its age at this moment.
    pub fn get(&self, probe: &str, now: Now) -> Option<Beat> {
        let beats = self.0.read();
        let Received { at, passed, from, note } = beats.get(probe)?;
        Some(Beat { age: now.t.since(at.t), passed: *passed, from: from.clone(), note: note.clone() })
    }

    /// Forgets what came for this probe.
    pub fn forget(&self, probe: &str) {
        self.0.write().remove(probe);
    }

    /// Forgets the heartbeats of probes that the document no longer names.
    pub fn retain(&self, plan: &Plan) {
        self.0.write().retain(|name, _| plan.probe(name).is_some());
    }
}
