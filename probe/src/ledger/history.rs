//! The last Runs of each probe, for people: a ring of all, and a ring of those that were not a Pass, kept longer.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use checks::Outcome;
use parking_lot::RwLock;

use crate::plan::ProbeName;
use crate::state::RunRecord;

/// Runs kept per probe, and as many that were not a Pass.
const RUNS: usize = 100;
/// Runs kept in all; with very many probes each keeps fewer.
const TOTAL: usize = 100_000;
/// Runs each probe keeps at least.
const LEAST: usize = 5;

/// Shared, in memory.
#[derive(Debug, Default)]
pub struct History(RwLock<BTreeMap<ProbeName, Rings>>);

#[derive(Debug, Default)]
struct Rings {
    all: VecDeque<Arc<RunRecord>>,
    not_passed: VecDeque<Arc<RunRecord>>,
}

impl History {
    /// Keeps a Run.
    pub fn push(&self, probe: &ProbeName, run: &Arc<RunRecord>) {
        let mut probes = self.0.write();
        let room = (TOTAL / probes.len().max(1)).clamp(LEAST, RUNS);
        let rings = probes.entry(probe.clone()).or_default();
        keep(&mut rings.all, run, room);
        if !matches!(run.outcome, Outcome::Pass { .. }) {
            keep(&mut rings.not_passed, run, room);
        }
    }

    /// The Runs of a probe, newest first, each once.
    pub fn of(&self, probe: &str) -> Vec<Arc<RunRecord>> {
        let probes = self.0.read();
        let Some(rings) = probes.get(probe) else { return Vec::new() };
        let oldest = rings.all.front().map(|run| run.started.t);
        let kept_longer = rings.not_passed.iter().filter(|run| oldest.is_none_or(|oldest| run.started.t < oldest));
        let mut runs: Vec<_> = kept_longer.chain(&rings.all).cloned().collect();
        runs.reverse();
        runs
    }

    /// Forgets probes that the document no longer names.
    pub fn retain(&self, known: impl Fn(&str) -> bool) {
        self.0.write().retain(|name, _| known(name));
    }
}

fn keep(ring: &mut VecDeque<Arc<RunRecord>>, run: &Arc<RunRecord>, room: usize) {
    while ring.len() >= room {
        ring.pop_front();
    }
    ring.push_back(run.clone());
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use checks::engine_reasons::HUNG;

    use super::*;
    use crate::now::{Millis, Now};

    #[test]
    fn failures_outlive_passes() {
        let (history, probe) = (History::default(), ProbeName::from("p"));
        for at in 0..1000_u64 {
            let now = Now { t: Millis(at), utc: chrono::DateTime::UNIX_EPOCH };
            let outcome = if at == 3 { HUNG.because("x") } else { Outcome::pass("y") };
            let (parts, trails) = (BTreeMap::new(), BTreeMap::new());
            let run = RunRecord { started: now, finished: now, outcome, parts, progress: None, trails };
            history.push(&probe, &Arc::new(run));
        }
        let runs = history.of("p");
        assert_eq!(runs.len(), RUNS + 1);
        assert_eq!(runs.first().map(|run| run.started.t), Some(Millis(999)));
        assert_eq!(runs.last().map(|run| run.started.t), Some(Millis(3)));
    }
}
