//! A short hand for scripted histories: a document of healthy probes, and the things that happen to it.

use probe::event::Event;
use probe::gate::{GateView, Verdict, evaluate};
use probe::state::{PhaseState, ProbeState};

use super::case::{Act, Doc, Look, PhaseDoc, ProbeDoc, Tick, phase_name, probe_name};
use super::drive::Core;

/// The core, and what is said to it.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) core: Core,
    /// Index of the document in force.
    pub(crate) doc: Doc,
}

/// A continuous gate probe without a mark.
pub(crate) fn probe(id: u8) -> ProbeDoc {
    ProbeDoc {
        id,
        rev: 0,
        proof: None,
        gate: true,
        preflight: false,
        until: None,
        fail_after: 2,
        recover_after: 2,
        every: 2_000,
        max_age: 20_000,
        control_every: 600_000,
        waivable: true,
    }
}

/// A phase that soaks for so many milliseconds.
pub(crate) fn phase(id: u8, soak: u64, probes: Vec<ProbeDoc>) -> PhaseDoc {
    PhaseDoc { id, soak, budget: 0, min_samples: 1, max_wait: None, probes }
}

impl Script {
    /// The first of these documents is loaded.
    pub(crate) fn new(docs: &[Doc]) -> Self {
        let mut script = Self { core: Core::new(docs), doc: docs[0].clone() };
        script.must(Act::Configure(0));
        script
    }

    /// One phase with these probes.
    pub(crate) fn one(soak: u64, probes: Vec<ProbeDoc>) -> Self {
        Self::new(&[Doc { phases: vec![phase(0, soak, probes)] }])
    }

    /// A millisecond later something happens; the events, or none if it is refused.
    pub(crate) fn say(&mut self, act: Act) -> Option<Vec<Event>> {
        self.core.happen(&Tick { after: 1, jump: 0, act })
    }

    /// The same, and it must be accepted.
    pub(crate) fn must(&mut self, act: Act) {
        assert!(self.say(act.clone()).is_some(), "{act:?} was refused");
    }

    /// Begins and switches.
    pub(crate) fn switch(&mut self, phase: u8) {
        self.must(Act::Begin(phase));
        self.must(Act::Switch(phase));
    }

    /// A probe looks.
    pub(crate) fn run(&mut self, probe: u8, look: Look) {
        self.must(Act::Run { probe, old: false, began: 0, parts: Some(vec![(0, look)]), target: None });
    }

    /// A negative control answers.
    pub(crate) fn control(&mut self, probe: u8, look: Look) {
        self.must(Act::Control { probe, old: false, began: 0, look });
    }

    /// So many milliseconds later everything is evaluated.
    pub(crate) fn epoch(&mut self, after: u64) {
        self.core.happen(&Tick { after, jump: 0, act: Act::Epoch });
    }

    /// Every probe's control fails as it should, every probe passes twice, and an epoch sees it.
    pub(crate) fn healthy(&mut self) {
        let ids: Vec<u8> = self.doc.probes().map(|(_, probe)| probe.id).collect();
        for id in ids {
            self.control(id, Look::Fail);
            self.run(id, Look::Pass);
            self.run(id, Look::Pass);
        }
        self.epoch(1_000);
    }

    /// The gate now.
    pub(crate) fn gate(&self, phase: u8) -> GateView {
        evaluate(&self.core.state, self.core.now()).gate(&phase_name(phase)).unwrap().clone()
    }

    pub(crate) fn verdict(&self, phase: u8) -> Verdict {
        self.gate(phase).verdict
    }

    pub(crate) fn colour(&self, probe: u8) -> ProbeState {
        evaluate(&self.core.state, self.core.now()).probe(&probe_name(probe)).unwrap().sight.state
    }

    pub(crate) fn stands(&self, phase: u8) -> PhaseState {
        self.core.state.phase(&phase_name(phase)).state()
    }

    /// Reasons of the gate's blockers.
    pub(crate) fn why(&self, phase: u8) -> Vec<String> {
        self.gate(phase).blockers.iter().map(|blocker| blocker.reason.to_string()).collect()
    }
}
