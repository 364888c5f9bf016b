//! A short hand for scripted histories: a document of healthy probes, and the things that happen to it.

use probe::event::{Event, RefusalKind, StepEnd, Way};
use probe::gate::{GateView, Verdict, evaluate};
use probe::state::{PhaseState, ProbeState, StepState};

use super::case::{Act, Doc, Look, PhaseDoc, ProbeDoc, Said, StepDoc, Tick, Token, phase_name, probe_name, step_name};
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
        before_ponr: false,
        marks_ponr: false,
        targets: vec![],
        tripwire: false,
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
    PhaseDoc { id, soak, budget: 0, min_samples: 1, max_wait: None, probes, steps: vec![], four_eyes: false }
}

/// A step that can be undone and waits for nothing.
pub(crate) fn step(id: u8) -> StepDoc {
    StepDoc { id, switch: false, ponr: false, undo: true, verify: vec![], gate: None, disturbs: vec![], timeout: 600_000 }
}

/// A phase with probe 0, and one with probe 1 and these steps.
pub(crate) fn stepped(steps: Vec<StepDoc>) -> Doc {
    Doc { phases: vec![phase(0, 0, vec![probe(0)]), PhaseDoc { steps, ..phase(1, 0, vec![probe(1)]) }] }
}

/// A step that is the switch.
pub(crate) fn switch(id: u8) -> StepDoc {
    StepDoc { switch: true, ..step(id) }
}

/// The start of a step.
pub(crate) fn start(phase: u8, step: u8, way: Way) -> Act {
    Act::StartStep { phase, step, way, checked: false }
}

/// What the holder of the lock says with each command.
pub(crate) const HOLDER: Said = Said { by: 0, lock: Some(Token::Newest), plan: None, document: Some(true), confirm: None };

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

    /// The first phase is complete, the second is begun, and the holder has its lock.
    pub(crate) fn begun(docs: &[Doc]) -> Self {
        let mut script = Self::new(docs);
        script.healthy();
        script.switch(0);
        script.healthy();
        script.must(Act::Complete(0));
        script.must(Act::Begin(1));
        script.lock(1);
        script
    }

    /// The same: probe 0 watches the first phase, probe 1 the second, which has these steps.
    pub(crate) fn stepped(steps: Vec<StepDoc>) -> Self {
        Self::begun(&[stepped(steps)])
    }

    /// A millisecond later something happens; the events, or none if it is refused.
    pub(crate) fn say(&mut self, act: Act) -> Option<Vec<Event>> {
        self.core.happen(&Tick::new(1, act))
    }

    /// The same, depending on this.
    pub(crate) fn say_with(&mut self, act: Act, said: Said) -> Option<Vec<Event>> {
        self.core.happen(&Tick { said, ..Tick::new(1, act) })
    }

    /// The same by the holder of the lock, and it must be accepted.
    pub(crate) fn holder(&mut self, act: Act) {
        assert!(self.say_with(act.clone(), HOLDER).is_some(), "{act:?} was refused: {:?}", self.core.refusal);
    }

    /// The same by the holder, who knows where nothing leads back.
    pub(crate) fn sure(&mut self, act: Act) {
        let said = Said { confirm: Some(1), ..HOLDER };
        assert!(self.say_with(act.clone(), said).is_some(), "{act:?} was refused: {:?}", self.core.refusal);
    }

    /// A probe goes red, and an epoch sees it.
    pub(crate) fn red(&mut self, probe: u8) {
        self.run(probe, Look::Fail);
        self.run(probe, Look::Fail);
        self.epoch(1_000);
        assert_eq!(self.colour(probe), ProbeState::Red);
    }

    /// The probes of a phase whose regressions are latched.
    pub(crate) fn latched(&self, phase: u8) -> usize {
        self.core.state.phase(&phase_name(phase)).regressed.len()
    }

    /// It must be refused for this reason.
    pub(crate) fn refused(&mut self, act: Act, said: Said, kind: RefusalKind) {
        assert!(self.say_with(act.clone(), said).is_none(), "{act:?} was accepted");
        assert_eq!(self.core.refusal.as_ref().map(|refusal| refusal.kind), Some(kind), "{act:?}: {:?}", self.core.refusal);
    }

    /// Somebody takes the lock for a phase, for a minute.
    pub(crate) fn lock(&mut self, phase: u8) {
        self.must(Act::Lock { phase, ttl: 60_000, own: None });
    }

    /// A step starts to be done.
    pub(crate) fn start(&mut self, phase: u8, step: u8) {
        let said = Said { confirm: Some(phase), ..HOLDER };
        let act = Act::StartStep { phase, step, way: Way::Do, checked: true };
        assert!(self.say_with(act, said).is_some(), "step {step} was refused: {:?}", self.core.refusal);
    }

    /// A step starts, works, is looked at, and ends as it should.
    pub(crate) fn done(&mut self, phase: u8, step: u8) {
        self.start(phase, step);
        self.holder(Act::StepWorked(phase, step));
        self.healthy();
        self.holder(Act::EndStep(phase, step, StepEnd::Done));
    }

    /// A step is undone.
    pub(crate) fn undone(&mut self, phase: u8, step: u8) {
        self.holder(Act::StartStep { phase, step, way: Way::Undo, checked: false });
        self.holder(Act::EndStep(phase, step, StepEnd::Done));
    }

    /// Where a step stands.
    pub(crate) fn step(&self, phase: u8, step: u8) -> Option<StepState> {
        self.core.state.phase(&phase_name(phase)).step(&step_name(step))
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
        self.must(Act::Run { probe, old: false, began: 0, parts: Some(vec![(0, look)]), reads: vec![] });
    }

    /// A negative control answers.
    pub(crate) fn control(&mut self, probe: u8, look: Look) {
        self.must(Act::Control { probe, old: false, began: 0, look });
    }

    /// So many milliseconds later everything is evaluated.
    pub(crate) fn epoch(&mut self, after: u64) {
        self.core.happen(&Tick::new(after, Act::Epoch));
    }

    /// Every probe's control fails as it should, every probe passes twice, and an epoch sees it.
    pub(crate) fn healthy(&mut self) {
        self.look_well(None);
    }

    /// The same for every probe but this one, which is left alone.
    pub(crate) fn healthy_but(&mut self, but: u8) {
        self.look_well(Some(but));
    }

    fn look_well(&mut self, but: Option<u8>) {
        let ids: Vec<u8> = self.doc.probes().map(|(_, probe)| probe.id).filter(|id| but != Some(*id)).collect();
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

    /// The guard now.
    pub(crate) fn guard(&self, phase: u8) -> Verdict {
        let evaluation = evaluate(&self.core.state, self.core.now());
        let name = phase_name(phase);
        evaluation.guards.iter().find(|guard| guard.phase == name).unwrap().verdict
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
