//! What the list says about one proof: what it has read, what that binds it to, what it has come to.

use std::collections::BTreeMap;

use probe::state::ProbeState;

use super::{Entry, Failure, Oracle};
use crate::model::case::{Act, Doc, Look, Seal, Thing, WHOLE};

/// What a proof has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Proof {
    #[default]
    Unfinished,
    Failed {
        identities: BTreeMap<Thing, u8>,
    },
    Passed {
        at: u64,
        identities: BTreeMap<Thing, u8>,
        sealed: bool,
    },
}

impl Oracle<'_> {
    /// Identities that a proof has read since its start or its last end: those of an unfinished scan.
    pub(super) fn scan(&self, id: u8) -> BTreeMap<Thing, u8> {
        self.unfinished(id).unwrap_or_default()
    }

    /// The same; none: no slice of a scan was taken in.
    fn unfinished(&self, id: u8) -> Option<BTreeMap<Thing, u8>> {
        let mut read: Option<BTreeMap<Thing, u8>> = None;
        for entry in self.log.iter().skip(self.start(id).map_or(0, |at| at + 1)).filter(|e| e.ok) {
            match &entry.act {
                Act::Run { probe, parts, reads, .. } if *probe == id && !entry.ignored => match entry.outcome {
                    _ if parts.is_none() && !entry.lost => read.get_or_insert_default().extend(reads.iter().copied()),
                    Some(Look::Pass) if entry.trusted => read = None,
                    Some(Look::Fail) => read = None,
                    _ => {}
                },
                Act::Switch(_) | Act::StartStep { .. } | Act::Complete(_) if entry.seals.contains(&id) => read = None,
                _ => {}
            }
        }
        read
    }

    /// Identities that a continuous probe has read since its start, as far as no crash has lost them.
    fn reads(&self, id: u8) -> BTreeMap<Thing, u8> {
        let since = self.log.iter().skip(self.start(id).map_or(0, |at| at + 1)).filter(|e| e.ok && !e.lost);
        let own = since.filter_map(|entry| match &entry.act {
            Act::Run { probe, reads, .. } if *probe == id => Some(reads),
            _ => None,
        });
        own.flatten().copied().collect()
    }

    /// Proofs that have read another identity of one of these, unless it is an edition of a fact and they are sealed; and the
    /// continuous probe that has read these.
    pub(super) fn voids(&self, own: u8, reads: &[(Thing, u8)]) -> Vec<u8> {
        let counts = |thing: Thing, sealed: bool| !(sealed && matches!(thing, Thing::Fact(_)));
        let unlike = |bound: &BTreeMap<Thing, u8>, sealed: bool| {
            let other = |(thing, is): &(Thing, u8)| counts(*thing, sealed) && bound.get(thing).is_some_and(|was| was != is);
            reads.iter().any(other)
        };
        let differs = |bound: &BTreeMap<Thing, u8>| unlike(bound, false);
        let proofs = self.doc().into_iter().flat_map(Doc::probes).filter(|(_, probe)| probe.proof.is_some());
        proofs
            .map(|(_, probe)| probe.id)
            .filter(|id| {
                let finished = match self.proof(*id) {
                    Proof::Unfinished => false,
                    Proof::Failed { identities } => differs(&identities),
                    Proof::Passed { identities, sealed, .. } => unlike(&identities, sealed),
                };
                finished || unlike(&self.scan(*id), self.sealed(*id))
            })
            .chain(
                self.doc()
                    .and_then(|doc| doc.probe(own))
                    .filter(|(_, p)| p.proof.is_none() && differs(&self.reads(own)))
                    .map(|_| own),
            )
            .collect()
    }

    /// Proofs, finished or being read, that are bound to an older edition of a fact than the one that is recorded now for the
    /// first time; but none that is sealed.
    pub(super) fn outdates(&self, fact: u8, edition: u8) -> Vec<u8> {
        let again = |e: &Entry| matches!(e.act, Act::Record(of, is, _) if e.ok && (of, is) == (fact, edition));
        if self.log.iter().any(again) {
            return vec![];
        }
        let older = |read: &BTreeMap<Thing, u8>| read.get(&Thing::Fact(fact)).is_some_and(|was| *was < edition);
        let proofs = self.doc().into_iter().flat_map(Doc::probes).filter(|(_, probe)| probe.proof.is_some());
        let outdated = |id: &u8| match self.proof(*id) {
            Proof::Passed { sealed: true, .. } => false,
            Proof::Passed { identities, .. } | Proof::Failed { identities } => older(&identities) || older(&self.scan(*id)),
            Proof::Unfinished => older(&self.scan(*id)),
        };
        proofs.map(|(_, probe)| probe.id).filter(outdated).collect()
    }

    /// Whether a newer edition of a fact than one of these is recorded.
    pub(super) fn outrun(&self, reads: &[(Thing, u8)]) -> bool {
        let newer = |e: &Entry| match e.act {
            Act::Record(fact, edition, _) => reads.iter().any(|(thing, was)| *thing == Thing::Fact(fact) && edition > *was),
            _ => false,
        };
        self.log.iter().any(|e| e.ok && newer(e))
    }

    /// How these parts fail, if they do: the last of those that fail is named, if there are several, vanished ones included.
    pub(super) fn failure(&self, id: u8, parts: &[(u8, Look)]) -> Option<Failure> {
        let reported: BTreeMap<u8, Look> = parts.iter().copied().collect();
        let failing = |(_, look): &(&u8, &Look)| matches!(look, Look::Fail | Look::Other);
        // In the order of their names the whole comes first.
        let (part, look) = reported.iter().filter(failing).max_by_key(|(part, _)| (**part != WHOLE, **part))?;
        let blind = reported.get(&WHOLE).is_some_and(|whole| matches!(whole, Look::Fail | Look::Other | Look::Unknown));
        let vanished = if blind { 0 } else { self.known_parts(id).iter().filter(|part| !reported.contains_key(part)).count() };
        Some((*look, (reported.len() + vanished > 1).then_some(*part)))
    }

    /// Whether a Run that happens now ends a proof in a way worth telling: it passes, or it took several Runs, or it does not
    /// fail just as it did before.
    pub(super) fn tells(&self, id: u8, run: &Entry) -> bool {
        let proof = self.doc().and_then(|doc| doc.probe(id)).is_some_and(|(_, probe)| probe.proof.is_some());
        if !proof || run.ignored || run.voided.contains(&id) {
            return false;
        }
        match run.outcome {
            Some(Look::Pass) => run.trusted,
            Some(Look::Fail) => {
                let before = self.last_end(id).filter(|_| self.unfinished(id).is_none());
                before.is_none_or(|before| (before.failure, &before.identities) != (run.failure, &run.identities))
            }
            _ => false,
        }
    }

    /// The Run that has ended a proof last.
    fn last_end(&self, id: u8) -> Option<&Entry> {
        if !matches!(self.proof(id), Proof::Failed { .. }) {
            return None;
        }
        self.log
            .iter()
            .rev()
            .find(|e| e.ok && matches!(e.act, Act::Run { probe, .. } if probe == id) && e.outcome == Some(Look::Fail))
    }

    /// What a proof has come to, over all processes.
    pub(super) fn proof(&self, id: u8) -> Proof {
        let mut proof = Proof::default();
        for entry in self.log.iter().skip(self.start(id).map_or(0, |at| at + 1)).filter(|e| e.ok) {
            match &entry.act {
                Act::Run { probe, began, .. } if *probe == id && !entry.ignored => match entry.outcome {
                    Some(Look::Pass) if entry.trusted => {
                        let (at, identities) = (entry.t - began, entry.identities.clone());
                        proof = Proof::Passed { at, identities, sealed: false };
                    }
                    Some(Look::Fail) => proof = Proof::Failed { identities: entry.identities.clone() },
                    _ => {}
                },
                Act::Restart { boot: true, .. } if matches!(proof, Proof::Passed { sealed: false, .. }) => {
                    proof = Proof::Unfinished;
                }
                Act::Switch(_) | Act::StartStep { .. } | Act::Complete(_) if entry.seals.contains(&id) => {
                    if let Proof::Passed { sealed, .. } = &mut proof {
                        *sealed = true;
                    }
                }
                _ => {}
            }
        }
        proof
    }

    /// The proofs of a phase that are sealed by what happens now: valid ones, and no exception in force.
    pub(super) fn needs(&self, phase: u8, now: impl Fn(Seal) -> bool) -> Vec<u8> {
        let Some(doc) = self.doc() else { return vec![] };
        let own = doc.probes().filter(|(at, _)| doc.phases[*at].id == phase).map(|(_, probe)| probe);
        own.filter(|probe| probe.proof.is_some_and(|(_, seal)| now(seal)))
            .filter(|probe| !self.overridden(probe) && !self.retired(probe) && self.colour(probe) == ProbeState::Green)
            .map(|probe| probe.id)
            .collect()
    }

    /// Whether a proof is sealed: it never runs again.
    pub(super) fn sealed(&self, id: u8) -> bool {
        matches!(self.proof(id), Proof::Passed { sealed: true, .. })
    }
}
