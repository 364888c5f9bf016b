//! What the list says about one probe: its parts, its trust, its proof, its colour.

use std::collections::{BTreeMap, BTreeSet};

use probe::state::ProbeState;

use super::{Entry, Oracle};
use crate::model::case::{Act, Look, ProbeDoc};

const FLAP_WINDOW: u64 = 10 * 60 * 1000;

/// What a proof has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Proof {
    #[default]
    Unfinished,
    Failed,
    Passed {
        at: u64,
        identities: BTreeMap<u8, u8>,
        sealed: bool,
    },
}

impl Oracle<'_> {
    /// The first entry of the probe's present start: a new process, another hash, or its return from retirement.
    fn fresh(&self, id: u8) -> usize {
        let mut fresh = self.log.iter().position(|e| e.process == self.process).unwrap_or(self.log.len());
        let mut rev = None;
        let mut home = None;
        let mut until = None;
        let mut retired = false;
        for (at, entry) in self.log.iter().enumerate().filter(|(_, e)| e.ok) {
            match entry.act {
                Act::Configure(index) => {
                    let now = self.docs[index].probe(id);
                    if now.map(|(_, probe)| probe.rev) != rev {
                        fresh = fresh.max(at + 1);
                    }
                    rev = now.map(|(_, probe)| probe.rev);
                    home = now.map(|(phase, _)| self.docs[index].phases[phase].id);
                    until = now.and_then(|(_, probe)| probe.until);
                }
                Act::Switch(phase) | Act::Adopt(phase) if until == Some(phase) => retired = true,
                Act::Rollback(phase) => {
                    if retired && until == Some(phase) || home == Some(phase) {
                        fresh = fresh.max(at + 1);
                    }
                    if until == Some(phase) {
                        retired = false;
                    }
                }
                _ => {}
            }
        }
        fresh
    }

    /// How many starts the probe had in this process: its generation must change exactly with it.
    pub(crate) fn start(&self, id: u8) -> usize {
        self.fresh(id)
    }

    /// Runs of this probe's present start that were taken in, oldest first.
    fn runs(&self, id: u8) -> impl Iterator<Item = (&Entry, u64)> {
        self.log.iter().skip(self.fresh(id)).filter_map(move |entry| match entry.act {
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
        let mut rev = None;
        let mut until = None;
        let mut home = None;
        for entry in self.log.iter().filter(|e| e.ok) {
            match &entry.act {
                Act::Configure(index) => {
                    let now = self.docs[*index].probe(id);
                    if now.map(|(_, probe)| probe.rev) != rev {
                        known.clear();
                    }
                    rev = now.map(|(_, probe)| probe.rev);
                    until = now.and_then(|(_, probe)| probe.until);
                    home = now.map(|(phase, _)| self.docs[*index].phases[phase].id);
                }
                Act::Run { probe, parts: Some(parts), .. } if *probe == id && !entry.lost => {
                    known.extend(parts.iter().map(|(part, _)| *part));
                }
                Act::Rollback(phase) if until == Some(*phase) || home == Some(*phase) => known.clear(),
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
        let mut since = None;
        for entry in self.log.iter().skip(self.fresh(id)).filter(|e| e.ok) {
            match entry.act {
                Act::Control { probe, look: Look::Fail, began, .. } if probe == id => since = Some(entry.t - began),
                Act::Control { probe, look: Look::Pass, .. } if probe == id => since = None,
                _ => {}
            }
        }
        since.is_some_and(|since| self.t - since <= 3 * plan.control_every)
    }

    /// What a proof has come to, over all processes.
    pub(super) fn proof(&self, id: u8) -> Proof {
        let mut proof = Proof::default();
        let mut known: Option<(u32, u8, u64, bool)> = None;
        for entry in self.log.iter().filter(|e| e.ok) {
            match &entry.act {
                Act::Configure(index) => {
                    let doc = &self.docs[*index];
                    let now = doc.probe(id).and_then(|(at, probe)| {
                        probe.proof.map(|(valid_for, at_switch)| (probe.rev, doc.phases[at].id, valid_for, at_switch))
                    });
                    if now.map(|n| n.0) != known.map(|n| n.0) {
                        proof = Proof::Unfinished;
                    }
                    known = now;
                }
                Act::Run { probe, target, began, .. } => {
                    if let (Proof::Passed { identities, .. }, Some((target, is))) = (&proof, target)
                        && identities.get(target).is_some_and(|was| was != is)
                    {
                        proof = Proof::Unfinished;
                    }
                    if *probe == id && known.is_some() {
                        match entry.outcome {
                            Some(Look::Pass) if entry.trusted => {
                                let identities = target.iter().copied().collect();
                                proof = Proof::Passed { at: entry.t - began, identities, sealed: false };
                            }
                            Some(Look::Fail) => proof = Proof::Failed,
                            _ => {}
                        }
                    }
                }
                Act::Switch(phase) | Act::Complete(phase) => {
                    if let (Proof::Passed { at, sealed, .. }, Some((_, home, valid_for, at_switch))) = (&mut proof, known)
                        && home == *phase
                        && entry.t - *at <= valid_for
                        && (at_switch || matches!(entry.act, Act::Complete(_)))
                    {
                        *sealed = true;
                    }
                }
                Act::Rollback(phase) if known.is_some_and(|n| n.1 == *phase) => proof = Proof::Unfinished,
                _ => {}
            }
        }
        proof
    }

    /// Whether a proof is sealed: it never runs again.
    pub(super) fn sealed(&self, id: u8) -> bool {
        matches!(self.proof(id), Proof::Passed { sealed: true, .. })
    }

    /// The probe's colour now.
    pub(super) fn colour(&self, probe: &ProbeDoc) -> ProbeState {
        if let Some((valid_for, _)) = probe.proof {
            return match self.proof(probe.id) {
                Proof::Failed => ProbeState::Red,
                Proof::Passed { at, sealed, .. } if sealed || self.t - at <= valid_for => ProbeState::Green,
                Proof::Passed { .. } | Proof::Unfinished => ProbeState::Waiting,
            };
        }
        let (mut base, mut fails, mut passes) = (ProbeState::Unknown, 0, 0);
        let mut changed: Vec<u64> = Vec::new();
        let mut due = i64::MAX;
        let mut last = None;
        for (entry, started) in self.runs(probe.id) {
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
                Some(Look::Waiting(when)) => {
                    (fails, passes) = (0, 0);
                    due = when;
                    base = ProbeState::Waiting;
                }
            }
            if base != before {
                changed.push(entry.t);
            }
            last = Some((started, entry.outcome));
        }
        let Some((started, outcome)) = last else { return ProbeState::Unknown };
        let flaps = changed.len() >= 5 && self.t - changed[changed.len() - 5] <= FLAP_WINDOW;
        if self.t - started > probe.max_age || matches!(outcome, Some(Look::Unknown) | None) {
            ProbeState::Unknown
        } else if base == ProbeState::Red {
            ProbeState::Red
        } else if flaps || !self.trusted(probe.id) || base == ProbeState::Waiting && self.utc > due {
            ProbeState::Unknown
        } else {
            base
        }
    }
}
