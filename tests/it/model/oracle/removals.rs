//! What the list says about removed targets, and about points of no return that a probe has seen.

use probe::state::ProbeState;

use super::{Entry, Oracle};
use crate::model::case::{Act, Doc, ProbeDoc, Said};

impl Oracle<'_> {
    /// Where in the list a target was removed, if that still holds.
    fn removed(&self, target: u8) -> Option<usize> {
        let mut said =
            self.rare().filter(|(_, e)| matches!(e.act, Act::Decommission(of) | Act::Recommission(of) if of == target));
        said.next_back().filter(|(_, entry)| matches!(entry.act, Act::Decommission(_))).map(|(at, _)| at)
    }

    /// Whether a removed target was seen gone since.
    fn gone(&self, target: u8) -> bool {
        let seen = |entry: &Entry| entry.gone.contains(&target);
        self.removed(target).is_some_and(|at| self.log.iter().skip(at).any(seen))
    }

    /// Targets all of whose tripwires see them gone now.
    pub(super) fn vanished(&self) -> Vec<u8> {
        let wires = |target: u8| {
            let all = self.doc().into_iter().flat_map(Doc::probes).map(|(_, probe)| probe);
            all.filter(move |probe| probe.tripwire && probe.targets.contains(&target))
        };
        let green = |target: u8| wires(target).all(|probe| self.colour(probe) == ProbeState::Green);
        (0..4).filter(|target| wires(*target).next().is_some() && green(*target)).collect()
    }

    /// All targets that are removed.
    pub(super) fn removals(&self) -> Vec<u8> {
        (0..4).filter(|target| self.removed(*target).is_some()).collect()
    }

    /// Whether nobody asks for it: the phase it lasts until is switching or adopted, its target was removed behind it, or it is
    /// a tripwire without a removed target.
    pub(crate) fn retired(&self, probe: &ProbeDoc) -> bool {
        let removed = probe.targets.iter().any(|target| self.removed(*target).is_some());
        let home = self.doc().and_then(|doc| doc.probe(probe.id).map(|(at, _)| doc.phases[at].id));
        let behind = home.is_some_and(|home| self.phase(home).complete);
        let until = probe.until.is_some_and(|until| self.phase(until).switching);
        until || probe.tripwire && !removed || !probe.tripwire && removed && behind
    }

    /// Whether a Fail of it says only that something has not come about yet.
    pub(super) fn awaits(&self, probe: &ProbeDoc) -> bool {
        probe.marks_ponr || probe.tripwire && !probe.targets.iter().any(|target| self.gone(*target))
    }

    /// Phases whose point of no return is seen to be crossed now: by a green mark that has looked since the switch began.
    pub(super) fn crossings(&self) -> Vec<u8> {
        let Some(doc) = self.doc() else { return vec![] };
        let marks = doc.probes().filter(|(_, probe)| probe.marks_ponr && self.colour(probe) == ProbeState::Green);
        let seen = marks.filter(|(at, probe)| {
            let phase = doc.phases[*at].id;
            let began = self.switch_began(phase).filter(|_| !self.phase(phase).ponr);
            began.is_some_and(|began| self.runs(probe.id).last().is_some_and(|(_, started)| started >= began))
        });
        seen.map(|(at, _)| doc.phases[at].id).collect()
    }

    /// Whether a target may be removed for good: nobody needs it to go on or back, and a tripwire watches over it.
    pub(super) fn may_remove(&self, target: u8, said: Said) -> bool {
        let Some(doc) = self.doc() else { return false };
        let looks: Vec<(u8, &ProbeDoc)> = doc
            .probes()
            .filter(|(_, probe)| probe.targets.contains(&target))
            .map(|(at, probe)| (doc.phases[at].id, probe))
            .collect();
        let over = |phase: u8| self.phase(phase).complete;
        let needed = looks.iter().filter(|(_, probe)| !probe.tripwire);
        let watched = looks.iter().any(|(_, probe)| probe.tripwire && probe.gate);
        self.removed(target).is_none()
            && needed.into_iter().all(|(home, probe)| over(*home) && probe.until.is_none_or(over))
            && watched
            && said.confirm == Some(target)
    }

    /// Whether that may be taken back.
    pub(super) fn may_return(&self, target: u8) -> bool {
        self.doc().is_some() && self.removed(target).is_some() && !self.gone(target)
    }

    /// Whether the way back of a phase needs something that is removed.
    pub(super) fn way_is_lost(&self, doc: &Doc, phase: u8) -> bool {
        let needs = doc.probes().filter(|(at, probe)| doc.phases[*at].id == phase || probe.until == Some(phase));
        let needs = needs.filter(|(_, probe)| !probe.tripwire).flat_map(|(_, probe)| &probe.targets);
        needs.into_iter().any(|target| self.removed(*target).is_some())
    }

    /// Whether a new document keeps the tripwires of removed targets where they are.
    pub(super) fn keeps_watch(&self, old: &Doc, new: &Doc) -> bool {
        let watch = |doc: &Doc| -> Vec<(u8, u8)> {
            let wires = doc.probes().filter(|(_, probe)| probe.tripwire && probe.gate);
            let armed = wires.filter(|(_, probe)| probe.targets.iter().any(|target| self.removed(*target).is_some()));
            armed.map(|(at, probe)| (doc.phases[at].id, probe.id)).collect()
        };
        let kept = watch(new);
        let same = |id: u8| old.probe(id).map(|(_, p)| &p.targets) == new.probe(id).map(|(_, p)| &p.targets);
        watch(old).into_iter().all(|(home, id)| kept.contains(&(home, id)) && same(id))
    }
}
