//! The verdict table of ARCHITECTURE.md, and the entry guard.

use probe::gate::Verdict;
use probe::state::ProbeState;

use super::Oracle;
use super::steps::{going_back, in_flight, next_do};
use crate::model::case::{Doc, ProbeDoc, Seal};

impl Oracle<'_> {
    pub(super) fn gate_now(&self, phase: u8) -> Verdict {
        let says = self.says();
        self.doc().and_then(|doc| doc.position(phase)).map_or(Verdict::Unknown, |at| says.gates[at])
    }

    pub(super) fn guard_now(&self, phase: u8) -> Verdict {
        let says = self.says();
        self.doc().and_then(|doc| doc.position(phase)).map_or(Verdict::Unknown, |at| says.guards[at])
    }

    /// The gate of the phase at this position.
    pub(super) fn gate(&self, doc: &Doc, at: usize, colours: &[(u8, ProbeState)]) -> Verdict {
        let required: Vec<(usize, &ProbeDoc)> =
            doc.probes().filter(|(of, probe)| *of <= at && self.required(doc, *of, probe)).collect();
        let continuous = || required.iter().filter(|(_, probe)| probe.proof.is_none());
        let colour = |probe: &ProbeDoc| colours.iter().find(|(id, _)| *id == probe.id).map(|(_, colour)| *colour);
        // Row 1.
        if !self.writable() || !required.iter().any(|(of, _)| *of == at) || continuous().any(|(_, probe)| !self.has_run(probe.id))
        {
            return Verdict::Unknown;
        }
        // Row 2.
        let stands = self.phase(doc.phases[at].id);
        let earlier = doc.phases.iter().take(at).all(|p| self.phase(p.id).complete);
        if !earlier || !stands.switched {
            return Verdict::Closed;
        }
        // Row 3.
        if required.iter().any(|(_, probe)| colour(probe) == Some(ProbeState::Red)) {
            return Verdict::Closed;
        }
        // Row 4.
        if continuous().any(|(_, probe)| colour(probe) == Some(ProbeState::Unknown)) {
            return Verdict::Unknown;
        }
        // Row 5.
        let all_green = required.iter().all(|(_, probe)| colour(probe) == Some(ProbeState::Green));
        if !all_green || required.iter().any(|(of, probe)| *of == at && self.short(&doc.phases[at], probe)) {
            return Verdict::Pending;
        }
        Verdict::Open
    }

    /// The entry guard of the phase at this position: at begin with `preflight`, later with what the next step needs.
    pub(super) fn guard(&self, doc: &Doc, at: usize, colours: &[(u8, ProbeState)], regressed: bool) -> Verdict {
        let phase = &doc.phases[at];
        let stands = self.phase(phase.id);
        let steps = self.steps(phase.id);
        let next = next_do(phase, &steps);
        // Without steps the next thing is the switch.
        let switch_next = stands.active() && (phase.steps.is_empty() || next.is_some_and(|step| step.switch));
        let ponr_next = stands.active() && next.is_some_and(|step| step.ponr);
        let busy = stands.active() && !phase.steps.is_empty() && (in_flight(&steps).is_some() || going_back(phase, &steps));
        let needed = doc.probes().filter(|(of, probe)| {
            let own = *of == at && !self.overridden(probe) && !self.retired(probe);
            let preflight = own && probe.preflight && stands.waiting();
            let before = own
                && match probe.proof {
                    Some((_, Seal::Switch)) => switch_next,
                    Some((_, Seal::Ponr)) => ponr_next,
                    _ => false,
                };
            let earlier = *of < at && !stands.ponr && self.required(doc, *of, probe);
            earlier || preflight || before || own && probe.before_ponr && ponr_next
        });
        let needed: Vec<&ProbeDoc> = needed.map(|(_, probe)| probe).collect();
        let shows = |wanted: ProbeState, proofs: bool| {
            let matching = needed.iter().filter(|probe| proofs || probe.proof.is_none());
            matching.into_iter().any(|probe| colours.contains(&(probe.id, wanted)))
        };
        let other = doc.phases.iter().any(|p| p.id != doc.phases[at].id && self.phase(p.id).active());
        let never_ran = needed.iter().any(|probe| probe.proof.is_none() && !self.has_run(probe.id));
        if !self.writable() || never_ran {
            Verdict::Unknown
        } else if regressed && !stands.ponr
            || other
            || busy
            || stands.switched
            || !doc.phases.iter().take(at).all(|p| self.phase(p.id).complete)
            || shows(ProbeState::Red, true)
        {
            Verdict::Closed
        } else if shows(ProbeState::Unknown, false) {
            Verdict::Unknown
        } else if needed.iter().any(|probe| !colours.contains(&(probe.id, ProbeState::Green))) {
            Verdict::Pending
        } else {
            Verdict::Open
        }
    }
}
