//! What the list says about soak: the window rule, read literally.

use probe::state::ProbeState;

use super::{Entry, Oracle, Turn};
use crate::model::case::{Act, Look, PhaseDoc, ProbeDoc};

/// Epochs further apart than this were not watched.
const GAP: u64 = 3_000;

/// The stretches, resets and reds of one probe.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Served {
    /// Green time within the window, since the last reset.
    pub(crate) green: u64,
    /// Green time since the last epoch, if the probe is green now.
    pub(crate) since: u64,
    /// When it was last red.
    pub(crate) red: Option<u64>,
    /// Passes since the last reset.
    pub(crate) samples: u32,
    /// The control failed since the last reset.
    pub(crate) control: bool,
}

impl Oracle<'_> {
    /// Whether this entry resets the soak of the probe, if it does.
    fn resets(&self, entry: &Entry, phase: &PhaseDoc, before: Option<usize>) -> bool {
        match entry.act {
            Act::Restart { boot, .. } => boot,
            Act::Switch(id) | Act::Rollback(id) | Act::Adopt(id) => id == phase.id,
            Act::EndStep(id, ..) => id == phase.id && entry.turns.contains(&Turn::Switched),
            Act::Configure(index) => {
                let gate = |index: usize| {
                    let doc = &self.docs[index];
                    doc.position(phase.id).map(|at| {
                        let required = doc.probes().filter(|(of, probe)| *of <= at && probe.gate);
                        let set: Vec<(usize, u8, u32)> = required.map(|(of, probe)| (of, probe.id, probe.rev)).collect();
                        let p = &doc.phases[at];
                        (p.soak, p.budget, p.min_samples, p.max_wait, set)
                    })
                };
                before.and_then(gate) != gate(index)
            }
            _ => false,
        }
    }

    /// What the probe has served of its phase's soak.
    pub(crate) fn served(&self, phase: &PhaseDoc, probe: &ProbeDoc) -> Served {
        let mut reset = 0;
        let mut red: Option<u64> = None;
        let mut docs = None;
        let starts: Vec<usize> = self.starts(probe.id).map(|(at, _)| at).collect();
        for (at, entry) in self.log.iter().enumerate().filter(|(_, e)| e.ok) {
            if self.resets(entry, phase, docs) {
                reset = reset.max(entry.t);
            }
            if starts.contains(&at) {
                reset = reset.max(entry.t);
                // Another hash is another probe; the same one is not less red for starting afresh.
                if matches!(entry.act, Act::Configure(_)) {
                    red = None;
                }
            }
            match entry.act {
                // An edge is known for good; a crash may lose a further Pass.
                Act::Control { probe: id, look: Look::Pass, .. } if id == probe.id && (entry.edge || !entry.lost) => {
                    reset = reset.max(entry.t);
                }
                Act::Configure(index) => docs = Some(index),
                Act::Run { probe: id, .. }
                    if id == probe.id && !entry.lost && !entry.awaits && entry.after == Some(ProbeState::Red) =>
                {
                    red = Some(entry.t);
                }
                Act::Epoch => {
                    let shown = entry.seen.iter().find(|s| s.probe == probe.id && s.colour == ProbeState::Red);
                    if shown.is_some_and(|s| !entry.lost || !s.still) {
                        red = Some(entry.t);
                    }
                }
                _ => {}
            }
        }
        let reset = reset.max(red.unwrap_or(0));
        let mut served = Served { red, ..Served::default() };
        let from = reset.max(self.t.saturating_sub(phase.soak + phase.budget));
        let mut last: Option<&Entry> = None;
        let mut calm = true;
        for (at, entry) in self.log.iter().enumerate().filter(|(_, e)| e.ok) {
            calm &= !starts.contains(&at);
            match entry.act {
                Act::Run { probe: id, began, .. } if id == probe.id => {
                    let passed = entry.outcome == Some(Look::Pass);
                    calm &= passed || probe.proof.is_some();
                    if passed
                        && !starts.contains(&at)
                        && entry.after != Some(ProbeState::Red)
                        && !entry.lost
                        && entry.t - began >= reset
                    {
                        served.samples += 1;
                    }
                }
                Act::Control { probe: id, look: Look::Fail, began, .. } if id == probe.id && !entry.lost => {
                    served.control |= entry.t - began >= reset;
                }
                Act::Epoch => {
                    let green = |e: &Entry| e.seen.iter().any(|s| s.probe == probe.id && s.colour == ProbeState::Green);
                    if let Some(last) = last
                        && last.process == entry.process
                        && entry.t - last.t <= GAP
                        && green(last)
                        && green(entry)
                        && calm
                        && !entry.lost
                    {
                        served.green += entry.t.saturating_sub(last.t.max(from));
                    }
                    last = Some(entry);
                    calm = true;
                }
                _ => {}
            }
        }
        if let Some(last) = last
            && last.process == self.process
            && self.t - last.t <= GAP
            && calm
            && last.seen.iter().any(|s| s.probe == probe.id && s.colour == ProbeState::Green)
            && self.colour(probe) == ProbeState::Green
        {
            served.since = self.t.saturating_sub(last.t.max(from));
        }
        served
    }

    /// Whether anything of the soak is missing.
    pub(super) fn short(&self, phase: &PhaseDoc, probe: &ProbeDoc) -> bool {
        let served = self.served(phase, probe);
        let red = served.red.is_some_and(|red| red + phase.soak + phase.budget >= self.t);
        let proven = probe.proof.is_some() || served.samples >= phase.min_samples.max(1) && served.control;
        red || served.green + served.since < phase.soak || !proven
    }
}
