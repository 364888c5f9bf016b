//! What the list says about one probe: its parts, its trust, its colour.

use std::collections::{BTreeMap, BTreeSet};

use probe::event::Way;
use probe::state::ProbeState;

use super::proofs::Proof;
use super::{Entry, Oracle, Turn};
use crate::model::case::{Act, Look, ProbeDoc, WHOLE};

const FLAP_WINDOW: u64 = 10 * 60 * 1000;

/// When a Run started, and what it saw unless it was a slice.
type LastRun = (u64, Option<Look>);

impl Oracle<'_> {
    /// The entries after which the probe started afresh, other than with the process: another hash, a rollback of its own
    /// phase (a proof) or of the phase it lasts until, another identity or a newer edition (a proof).
    pub(super) fn starts(&self, id: u8) -> impl Iterator<Item = (usize, &Entry)> {
        let mut plan: Option<(u8, &ProbeDoc)> = None;
        let mut switching: Vec<u8> = Vec::new();
        self.rare().filter(move |(_, entry)| match &entry.act {
            Act::Configure(index) => {
                let doc = &self.docs[*index];
                let now = doc.probe(id).map(|(phase, probe)| (doc.phases[phase].id, probe));
                let changed = now.map(|n| n.1.rev) != plan.map(|p| p.1.rev);
                plan = now;
                changed
            }
            Act::Switch(phase) | Act::Adopt(phase) => {
                switching.push(*phase);
                false
            }
            Act::StartStep { phase, way: Way::Do, .. } => {
                if entry.turns.contains(&Turn::Switching) {
                    switching.push(*phase);
                }
                false
            }
            Act::StartStep { phase, way: Way::Undo, .. } => {
                plan.is_some_and(|(home, probe)| home == *phase && probe.proof.is_some())
            }
            Act::EndStep(phase, ..) if entry.turns.contains(&Turn::Back) => {
                let retired = switching.contains(phase);
                switching.retain(|s| s != phase);
                plan.is_some_and(|(_, probe)| retired && probe.until == Some(*phase))
            }
            Act::Rollback(phase) => {
                let retired = switching.contains(phase);
                switching.retain(|s| s != phase);
                plan.is_some_and(|(home, probe)| {
                    retired && probe.until == Some(*phase) || home == *phase && probe.proof.is_some()
                })
            }
            Act::Run { .. } | Act::Record(..) => entry.voided.contains(&id),
            _ => false,
        })
    }

    /// The last of them.
    pub(super) fn start(&self, id: u8) -> Option<usize> {
        let mut memo = self.looked_up.borrow_mut();
        if memo.0 != self.log.len() {
            *memo = (self.log.len(), BTreeMap::new());
        }
        *memo.1.entry(id).or_insert_with(|| self.starts(id).last().map(|(at, _)| at))
    }

    /// The first entry of the probe's present start.
    pub(crate) fn fresh(&self, id: u8) -> usize {
        let process = self.log.iter().position(|e| e.process == self.process).unwrap_or(self.log.len());
        self.start(id).map_or(process, |at| process.max(at + 1))
    }

    /// Runs of this probe's present start that were taken in, oldest first.
    pub(super) fn runs(&self, id: u8) -> impl Iterator<Item = (&Entry, u64)> {
        self.runs_before(id, self.log.len())
    }

    /// Those of them that came before an entry of the list.
    fn runs_before(&self, id: u8, end: usize) -> impl Iterator<Item = (&Entry, u64)> {
        self.log.iter().take(end).skip(self.fresh(id)).filter_map(move |entry| match entry.act {
            Act::Run { probe, began, .. } if probe == id && entry.ok => Some((entry, entry.t - began)),
            _ => None,
        })
    }

    /// Whether it has run since the start of the process.
    pub(super) fn has_run(&self, id: u8) -> bool {
        self.runs(id).next().is_some()
    }

    /// Parts that were ever reported and not forgotten, as far as no crash lost them.
    pub(super) fn known_parts(&self, id: u8) -> BTreeSet<u8> {
        let mut known = BTreeSet::new();
        let from = self.start(id).unwrap_or(0);
        for entry in self.log.iter().skip(from).filter(|e| e.ok) {
            match &entry.act {
                Act::Run { probe, parts: Some(parts), .. } if *probe == id && !entry.lost && !entry.voided.contains(&id) => {
                    known.extend(parts.iter().map(|(part, _)| *part).filter(|part| *part != WHOLE));
                }
                Act::Forget(probe, part) if *probe == id => {
                    known.remove(part);
                }
                _ => {}
            }
        }
        known
    }

    /// The worst part, vanished ones included. Due times become wall clock; of two the earlier counts.
    pub(super) fn worst(&self, id: u8, parts: &[(u8, Look)]) -> Look {
        let reported: BTreeSet<u8> = parts.iter().map(|(part, _)| *part).collect();
        let mut looks: Vec<Look> = parts.iter().map(|(_, look)| *look).collect();
        // Parts vanish also behind a whole that passes; one that does not is as bad as a vanished part, or worse.
        if parts.is_empty() || self.known_parts(id).iter().any(|part| !reported.contains(part)) {
            looks.push(Look::Unknown);
        }
        if looks.iter().any(|look| matches!(look, Look::Fail | Look::Other)) {
            return Look::Fail;
        }
        if looks.contains(&Look::Unknown) {
            return Look::Unknown;
        }
        let due = looks.iter().filter_map(|look| if let Look::Waiting(due) = look { Some(self.utc + due) } else { None }).min();
        due.map_or(Look::Pass, Look::Waiting)
    }

    /// Whether its negative control is to be believed now.
    pub(super) fn trusted(&self, id: u8) -> bool {
        let Some((_, plan)) = self.doc().and_then(|doc| doc.probe(id)) else { return false };
        self.last_control(id).is_some_and(|(look, since)| look == Look::Fail && self.t - since <= 3 * plan.control_every)
    }

    /// Whether its negative control has passed.
    pub(super) fn untrusted(&self, id: u8) -> bool {
        self.last_control(id).is_some_and(|(look, _)| look == Look::Pass)
    }

    /// The newest control that says anything, and when it started.
    fn last_control(&self, id: u8) -> Option<(Look, u64)> {
        let entries = self.log.iter().skip(self.fresh(id)).rev().filter(|e| e.ok);
        entries.filter(|e| e.process == self.process).find_map(|entry| match entry.act {
            Act::Control { probe, look: look @ (Look::Fail | Look::Pass), began, .. } if probe == id => {
                Some((look, entry.t - began))
            }
            _ => None,
        })
    }

    /// The colour that outcomes alone give.
    pub(super) fn base(&self, probe: &ProbeDoc) -> ProbeState {
        self.outcomes(probe).0
    }

    /// The base colour, when it changed without excuse, and the newest Run: its start and what it saw.
    fn outcomes(&self, probe: &ProbeDoc) -> (ProbeState, Vec<u64>, Option<LastRun>) {
        let (mut base, mut fails, mut passes) = (ProbeState::Unknown, 0, 0);
        let mut changed: Vec<u64> = Vec::new();
        let mut last = None;
        if probe.proof.is_some() {
            let colour = if matches!(self.proof(probe.id), Proof::Failed { .. }) { ProbeState::Red } else { ProbeState::Waiting };
            return (colour, changed, last);
        }
        // Changes on the way to a switch say nothing of what stands after it.
        let on_the_way = self.runs_before(probe.id, self.arrived(probe.id)).count();
        for (number, (entry, started)) in self.runs(probe.id).enumerate() {
            let before = base;
            match entry.outcome {
                Some(Look::Pass) => {
                    (fails, passes) = (0, passes + 1);
                    if passes >= probe.recover_after {
                        base = ProbeState::Green;
                    }
                }
                Some(Look::Fail | Look::Other) => {
                    (fails, passes) = (fails + 1, 0);
                    if fails >= probe.fail_after {
                        base = ProbeState::Red;
                    } else if base != ProbeState::Red {
                        base = ProbeState::Suspect;
                    }
                }
                Some(Look::Unknown) | None => {
                    passes = 0;
                    base = ProbeState::Unknown;
                }
                Some(Look::Waiting(_)) => {
                    (fails, passes) = (0, 0);
                    base = ProbeState::Waiting;
                }
            }
            let calm =
                matches!((before, base), (ProbeState::Green, ProbeState::Waiting) | (ProbeState::Waiting, ProbeState::Green));
            if base != before && !calm && !entry.excused && number >= on_the_way {
                changed.push(entry.t);
            }
            last = Some((started, entry.outcome));
        }
        (base, changed, last)
    }

    /// The last entry with which the phase that a probe was in had switched.
    fn arrived(&self, id: u8) -> usize {
        let (mut home, mut arrived) = (None, 0);
        for (at, entry) in self.rare() {
            let phase = match entry.act {
                Act::Configure(index) => {
                    let doc = &self.docs[index];
                    home = doc.probe(id).map(|(phase, _)| doc.phases[phase].id);
                    continue;
                }
                Act::Switch(phase) | Act::Adopt(phase) => phase,
                Act::EndStep(phase, ..) if entry.turns.contains(&Turn::Switched) => phase,
                _ => continue,
            };
            if home == Some(phase) {
                arrived = at;
            }
        }
        arrived
    }

    /// The probe's colour now. Where a Fail says only that something is not yet, it waits.
    pub(super) fn colour(&self, probe: &ProbeDoc) -> ProbeState {
        match self.plain(probe) {
            ProbeState::Red | ProbeState::Suspect if self.awaits(probe) => ProbeState::Waiting,
            colour => colour,
        }
    }

    fn plain(&self, probe: &ProbeDoc) -> ProbeState {
        if let Some((valid_for, _)) = probe.proof {
            let blind = self.runs(probe.id).last().is_some_and(|(e, _)| matches!(e.outcome, Some(Look::Unknown | Look::Pass)));
            return match self.proof(probe.id) {
                Proof::Failed { .. } => ProbeState::Red,
                Proof::Passed { at, sealed, .. } if sealed || self.t - at <= valid_for => ProbeState::Green,
                Proof::Unfinished if blind => ProbeState::Unknown,
                Proof::Passed { .. } | Proof::Unfinished => ProbeState::Waiting,
            };
        }
        let (base, changed, last) = self.outcomes(probe);
        let Some((started, outcome)) = last else { return ProbeState::Unknown };
        let flaps = changed.len() >= 5 && self.t - changed[changed.len() - 5] < FLAP_WINDOW;
        let overdue = matches!(outcome, Some(Look::Waiting(due)) if self.utc > due);
        if self.t - started > probe.max_age || matches!(outcome, Some(Look::Unknown) | None) {
            ProbeState::Unknown
        } else if base == ProbeState::Red {
            ProbeState::Red
        } else if flaps || !self.trusted(probe.id) || overdue {
            ProbeState::Unknown
        } else {
            base
        }
    }
}
