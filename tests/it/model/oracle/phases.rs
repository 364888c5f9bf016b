//! What the list says about phases, and which things it admits.

use probe::gate::Verdict;

use super::{Entry, Oracle};
use crate::model::case::{Act, Doc};

/// Where a phase stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stands {
    pub(crate) begun: bool,
    pub(crate) switched: bool,
    pub(crate) complete: bool,
    pub(crate) adopted: bool,
}

impl Stands {
    pub(crate) const fn active(self) -> bool {
        self.begun && !self.complete
    }

    pub(crate) const fn waiting(self) -> bool {
        !self.begun && !self.complete
    }
}

impl Oracle<'_> {
    /// Where a phase stands now.
    pub(crate) fn phase(&self, id: u8) -> Stands {
        let mut stands = Stands::default();
        for (_, entry) in self.rare() {
            match entry.act {
                Act::Begin(phase) if phase == id => stands.begun = true,
                Act::Switch(phase) if phase == id => stands.switched = true,
                Act::Complete(phase) if phase == id => stands.complete = true,
                Act::Adopt(phase) if phase == id => {
                    stands = Stands { begun: true, switched: true, complete: true, adopted: true };
                }
                Act::Rollback(phase) if phase == id => stands = Stands::default(),
                _ => {}
            }
        }
        stands
    }

    /// Whether the ledger can be written.
    pub(crate) fn writable(&self) -> bool {
        let last = self.log.iter().rev().take_while(|e| e.process == self.process).find_map(|e| match e.act {
            Act::Store(ok) => Some(ok),
            _ => None,
        });
        last.unwrap_or(true)
    }

    pub(super) fn admits(&self, act: &Act) -> bool {
        let doc = self.doc();
        let known = |phase: u8| doc.is_some_and(|doc| doc.position(phase).is_some());
        match act {
            Act::Epoch | Act::Store(_) | Act::Checkpoint | Act::Restart { .. } => true,
            Act::Configure(index) => doc.is_none_or(|old| self.may_follow(old, &self.docs[*index])),
            Act::Run { probe, old, .. } => !old && doc.is_some_and(|doc| doc.probe(*probe).is_some()),
            Act::Control { probe, old, .. } => !old && doc.is_some_and(|doc| doc.probe(*probe).is_some()),
            Act::Begin(phase) => {
                known(*phase)
                    && self.phase(*phase).waiting()
                    && !doc.is_some_and(|doc| doc.phases.iter().any(|p| self.phase(p.id).active()))
                    && self.guard_now(*phase) == Verdict::Open
            }
            Act::Switch(phase) => {
                let stands = self.phase(*phase);
                known(*phase) && stands.active() && !stands.switched && self.guard_now(*phase) == Verdict::Open
            }
            Act::Complete(phase) => {
                let stands = self.phase(*phase);
                known(*phase) && stands.active() && stands.switched && self.gate_now(*phase) == Verdict::Open
            }
            Act::Rollback(phase) => {
                let stands = self.phase(*phase);
                let none_active = !doc.is_some_and(|doc| doc.phases.iter().any(|p| self.phase(p.id).active()));
                let retires = |until: Option<u8>| until.is_some_and(|until| self.phase(until).switched);
                let own = doc.into_iter().flat_map(Doc::probes).filter(|(at, _)| doc.unwrap().phases[*at].id == *phase);
                let whole = !own.into_iter().any(|(_, probe)| retires(probe.until));
                known(*phase) && (stands.active() || stands.complete && none_active && whole)
            }
            Act::Adopt(phase) => {
                let earlier = doc.into_iter().flat_map(|doc| doc.phases.iter().take_while(|p| p.id != *phase));
                known(*phase) && self.phase(*phase).waiting() && earlier.into_iter().all(|p| self.phase(p.id).complete)
            }
            Act::Acknowledge(phase) => known(*phase) && self.latched().iter().any(|(of, _)| of == phase),
            Act::Override(probe, span) => {
                let named = doc.and_then(|doc| doc.probe(*probe));
                *span > 0 && named.is_some_and(|(_, probe)| probe.waivable && !self.overridden(probe))
            }
            Act::Revoke(ordinal) => self.revocable(*ordinal),
            Act::Record(name, value) => {
                let other = |e: &Entry| matches!(e.act, Act::Record(of, is) if of == *name && is != *value);
                doc.is_some() && !self.log.iter().any(|e| e.ok && other(e))
            }
            Act::Forget(probe, part) => {
                doc.is_some_and(|doc| doc.probe(*probe).is_some()) && self.known_parts(*probe).contains(part)
            }
        }
    }

    /// An override that was created and neither revoked, nor seen to have run out, nor gone with its probe or
    /// because that has become another one.
    fn revocable(&self, ordinal: u8) -> bool {
        let mut created = self.log.iter().enumerate().filter(|(_, e)| e.ok && matches!(e.act, Act::Override(..)));
        let Some((at, entry)) = created.nth(usize::from(ordinal)) else { return false };
        let Act::Override(probe, span) = entry.act else { return false };
        let hash = |doc: &Doc| doc.probe(probe).map(|(_, probe)| probe.rev);
        let then = self.log.iter().take(at).rev().filter(|e| e.ok).find_map(|e| match e.act {
            Act::Configure(index) => Some(hash(&self.docs[index])),
            _ => None,
        });
        !self.log.iter().skip(at).filter(|e| e.ok).any(|e| match e.act {
            Act::Revoke(which) => which == ordinal,
            Act::Epoch => e.t >= entry.t + span,
            Act::Configure(index) => Some(hash(&self.docs[index])) != then,
            Act::Restart { boot, .. } => boot,
            _ => false,
        })
    }

    /// A reload must not rewrite what has happened: no phase up to the last that is active or complete may move, go, or get
    /// a new one before it, a sealed proof stays as it is, and a probe with
    /// a latched regression does not go.
    fn may_follow(&self, old: &Doc, new: &Doc) -> bool {
        let started = old.phases.iter().rposition(|p| !self.phase(p.id).waiting()).map_or(0, |at| at + 1);
        let same = (0..started).all(|at| new.phases.get(at).is_some_and(|p| p.id == old.phases[at].id));
        let seals = old.probes().filter(|(_, probe)| self.sealed(probe.id)).all(|(at, probe)| {
            new.probe(probe.id).is_some_and(|(now, same)| same.rev == probe.rev && new.phases[now].id == old.phases[at].id)
        });
        let regressions = self.latched().iter().all(|(_, probe)| new.probe(*probe).is_some());
        same && seals && regressions
    }
}
