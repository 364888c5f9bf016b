//! What the list says about phases, and which things it admits.

use probe::event::Way;
use probe::gate::Verdict;

use super::{Entry, Oracle, Turn};
use crate::model::case::{Act, Doc, Hash, Said};

/// Where a phase stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stands {
    pub(crate) begun: bool,
    /// Its switch has begun.
    pub(crate) switching: bool,
    /// Its switch is over.
    pub(crate) switched: bool,
    /// Its point of no return is crossed.
    pub(crate) ponr: bool,
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
                Act::Switch(phase) if phase == id => (stands.switching, stands.switched) = (true, true),
                Act::StartStep { phase, way: Way::Do, .. } if phase == id => {
                    stands.switching |= entry.turns.contains(&Turn::Switching);
                    stands.ponr |= entry.turns.contains(&Turn::Ponr);
                }
                Act::StartStep { phase, way: Way::Undo, .. } if phase == id => {
                    (stands.switched, stands.complete, stands.adopted) = (false, false, false);
                }
                Act::EndStep(phase, ..) if phase == id => {
                    stands.switched |= entry.turns.contains(&Turn::Switched);
                    stands.switching &= !entry.turns.contains(&Turn::Back);
                }
                Act::Complete(phase) if phase == id => stands.complete = true,
                Act::Adopt(phase) if phase == id => {
                    stands = Stands { begun: true, switching: true, switched: true, complete: true, adopted: true, ..stands };
                }
                Act::Rollback(phase) if phase == id => stands = Stands::default(),
                _ => {}
            }
            stands.ponr |= entry.crossed.contains(&id);
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

    /// Whether it is accepted.
    pub(super) fn admits(&self, act: &Act, said: Said) -> bool {
        self.terms_hold(act, said) && self.possible(act, said)
    }

    fn possible(&self, act: &Act, said: Said) -> bool {
        let doc = self.doc();
        let known = |phase: u8| doc.is_some_and(|doc| doc.position(phase).is_some());
        match act {
            Act::Epoch | Act::Store(_) | Act::Checkpoint | Act::Restart { .. } | Act::Read(_) => true,
            Act::Configure(index) => doc.is_none_or(|old| self.may_follow(old, &self.docs[*index])),
            Act::Run { probe, old, reads, .. } => {
                !old && doc.is_some_and(|doc| doc.probe(*probe).is_some()) && !self.outrun(reads)
            }
            Act::Control { probe, old, .. } => !old && doc.is_some_and(|doc| doc.probe(*probe).is_some()),
            Act::Begin(phase) => {
                known(*phase)
                    && self.phase(*phase).waiting()
                    && !doc.is_some_and(|doc| doc.phases.iter().any(|p| self.phase(p.id).active()))
                    && self.plan_as_said(*phase, said)
                    && self.guard_now(*phase) == Verdict::Open
            }
            Act::Switch(phase) => {
                let stands = self.phase(*phase);
                let by_hand = doc.is_some_and(|doc| doc.phases.iter().any(|p| p.id == *phase && p.steps.is_empty()));
                by_hand && stands.active() && !stands.switched && self.guard_now(*phase) == Verdict::Open
            }
            Act::Complete(phase) => {
                let stands = self.phase(*phase);
                known(*phase) && stands.active() && stands.switched && self.gate_now(*phase) == Verdict::Open
            }
            Act::Rollback(phase) => known(*phase) && self.can_go_back(*phase, said) && self.nothing_to_undo(*phase),
            Act::Adopt(phase) => {
                let earlier = doc.into_iter().flat_map(|doc| doc.phases.iter().take_while(|p| p.id != *phase));
                known(*phase) && self.phase(*phase).waiting() && earlier.into_iter().all(|p| self.phase(p.id).complete)
            }
            Act::Decommission(target) => self.may_remove(*target, said),
            Act::Recommission(target) => self.may_return(*target),
            Act::Acknowledge(phase) => known(*phase) && self.latched().iter().any(|(of, _)| of == phase),
            Act::Override(probe, span) => {
                let named = doc.and_then(|doc| doc.probe(*probe));
                *span > 0 && named.is_some_and(|(_, probe)| probe.waivable && !self.overridden(probe))
            }
            Act::Revoke(ordinal) => self.revocable(*ordinal),
            Act::Record(fact, edition, value) => {
                let other =
                    |e: &Entry| matches!(e.act, Act::Record(of, nth, is) if (of, nth) == (*fact, *edition) && is != *value);
                doc.is_some() && !self.log.iter().any(|e| e.ok && other(e))
            }
            Act::Forget(probe, part) => {
                doc.is_some_and(|doc| doc.probe(*probe).is_some()) && self.known_parts(*probe).contains(part)
            }
            Act::Lock { phase, ttl, own } => {
                known(*phase) && (1_000..=3_600_000).contains(ttl) && self.may_take(*phase, *own, said.by)
            }
            Act::ForceRelease(token) => self.names_newest(*token),
            Act::Renew(token) => self.names_lock(*token, said.by),
            Act::Release(token) => {
                self.names_lock(*token, said.by) && self.lock().is_some_and(|held| self.flying(held.phase).is_none())
            }
            Act::StartStep { phase, step, way, checked } => self.may_start(*phase, *step, *way, *checked, said),
            Act::StepWorked(phase, step) => self.may_verify(*phase, *step, said),
            Act::EndStep(phase, step, end) => self.may_end(*phase, *step, *end, said),
            Act::Approve(phase, hash) => known(*phase) && self.is_plan_now(*phase, *hash),
        }
    }

    /// Whether a rollback, or the undo of a step, may begin: never from under a phase that has retired its probes, nor from
    /// under an active one, and past the point of no return only while active, confirmed.
    pub(super) fn can_go_back(&self, phase: u8, said: Said) -> bool {
        let Some(doc) = self.doc() else { return false };
        let stands = self.phase(phase);
        let none_active = !doc.phases.iter().any(|p| self.phase(p.id).active());
        let retires = |until: Option<u8>| until.is_some_and(|until| self.phase(until).switching);
        let own = doc.probes().filter(|(at, _)| doc.phases[*at].id == phase);
        let whole = !own.into_iter().any(|(_, probe)| retires(probe.until)) && !self.way_is_lost(doc, phase);
        let confirmed = said.confirm == Some(phase);
        stands.active() && (!stands.ponr || confirmed) || stands.complete && !stands.ponr && none_active && whole
    }

    /// Whether the plan of a phase is the one that was said, and that somebody else has approved if need be.
    fn plan_as_said(&self, phase: u8, said: Said) -> bool {
        let four_eyes = self.doc().is_some_and(|doc| doc.phases.iter().any(|p| p.id == phase && p.four_eyes));
        said.plan.is_none_or(|hash| self.is_plan_now(phase, hash)) && (!four_eyes || self.approved(phase, said.by))
    }

    /// Whether this hash is that of the phase's plan now.
    fn is_plan_now(&self, phase: u8, hash: Hash) -> bool {
        match hash {
            Hash::Present => true,
            Hash::Read => {
                let read = self.log.iter().rev().find(|e| e.act == Act::Read(phase)).and_then(|e| e.plan.clone());
                read.is_some() && read == self.plan(phase)
            }
            Hash::Never => false,
        }
    }

    /// An override that was created and neither revoked, nor seen to have run out, nor gone with its probe or
    /// because that has become another one.
    pub(super) fn revocable(&self, ordinal: u8) -> bool {
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
    /// a latched regression does not go. Steps that something happened to stay what they are.
    fn may_follow(&self, old: &Doc, new: &Doc) -> bool {
        let started = old.phases.iter().rposition(|p| !self.phase(p.id).waiting()).map_or(0, |at| at + 1);
        let same = (0..started).all(|at| new.phases.get(at).is_some_and(|p| p.id == old.phases[at].id));
        let seals = old.probes().filter(|(_, probe)| self.sealed(probe.id)).all(|(at, probe)| {
            new.probe(probe.id).is_some_and(|(now, same)| same.rev == probe.rev && new.phases[now].id == old.phases[at].id)
        });
        let regressions = self.latched().iter().all(|(_, probe)| new.probe(*probe).is_some());
        let shape = |doc: &Doc, phase: u8| -> Vec<(u8, bool, bool)> {
            let own = doc.phases.iter().filter(|p| p.id == phase).flat_map(|p| &p.steps);
            own.map(|step| (step.id, step.switch, step.ponr)).collect()
        };
        let touched = old.phases.iter().filter(|p| !self.steps(p.id).is_empty());
        let steps = touched.into_iter().all(|p| shape(old, p.id) == shape(new, p.id));
        same && seals && regressions && steps && self.keeps_watch(old, new)
    }
}
