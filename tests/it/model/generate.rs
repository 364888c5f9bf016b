//! Random histories, realistic and adversarial: mostly a migration that goes well, with everything going wrong now and then.

use std::collections::VecDeque;

use probe::state::{PhaseState, State};

use super::case::{Act, Doc, Look, PhaseDoc, ProbeDoc, Tick, WHOLE, phase_name};
use super::rng::Rng;

/// Where every history starts on the ledger's timeline.
pub(crate) const START: u64 = 1_000_000;

/// Makes one history, one thing at a time, with an eye on where the phases stand.
#[derive(Debug)]
pub(crate) struct Generator {
    rng: Rng,
    pub(crate) docs: Vec<Doc>,
    queue: VecDeque<Tick>,
    /// The document that was asked for last.
    current: usize,
    /// How often, in a hundred, a healthy round goes wrong somewhere.
    trouble: u64,
    /// How often, in a hundred, something wild happens between rounds.
    wild: u64,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut docs = vec![document(&mut rng)];
        let mut rev = 100;
        for _ in 0..rng.below(5) {
            let from = usize::try_from(rng.below(u64::try_from(docs.len()).unwrap())).unwrap();
            let mut doc = docs[from].clone();
            for _ in 0..rng.between(1, 2) {
                rev += 1;
                mutate(&mut rng, &mut doc, rev);
            }
            docs.push(doc);
        }
        let (trouble, wild) = (rng.pick(&[0, 1, 3, 10, 30]), rng.pick(&[2, 10, 25, 60]));
        let queue = VecDeque::from([Tick { after: 0, jump: 0, act: Act::Configure(0) }]);
        Self { rng, docs, queue, current: 0, trouble, wild }
    }

    /// The next thing to happen.
    pub(crate) fn next(&mut self, state: &State) -> Tick {
        loop {
            if let Some(tick) = self.queue.pop_front() {
                if let Act::Configure(index) = tick.act {
                    self.current = index;
                }
                return tick;
            }
            if self.rng.percent(self.wild) {
                self.wild();
            } else if self.rng.percent(25) {
                self.advance(state);
            } else {
                self.round();
            }
        }
    }

    fn push(&mut self, after: u64, act: Act) {
        let jump = if self.rng.percent(1) { self.rng.pick(&[-3_600_000, -5_000, 5_000, 3_600_000]) } else { 0 };
        // Nothing happens twice in one millisecond: which came first would be a matter of taste.
        self.queue.push_back(Tick { after: after.max(1), jump, act });
    }

    fn any_probe(&mut self) -> ProbeDoc {
        let doc = &self.docs[self.current];
        let all: Vec<&ProbeDoc> = doc.probes().map(|(_, probe)| probe).collect();
        self.rng.pick(&all).clone()
    }

    fn any_phase(&mut self) -> u8 {
        let ids: Vec<u8> = self.docs[self.current].phases.iter().map(|p| p.id).collect();
        self.rng.pick(&ids)
    }

    /// What an honest operator says next.
    fn advance(&mut self, state: &State) {
        let doc = &self.docs[self.current];
        let stands = |phase: &&PhaseDoc| state.phase(&phase_name(phase.id)).state();
        if let Some(active) = doc.phases.iter().find(|p| stands(p) == PhaseState::Active) {
            let act = if state.phase(&phase_name(active.id)).switched.is_none() {
                Act::Switch(active.id)
            } else {
                Act::Complete(active.id)
            };
            self.push(100, act);
        } else if let Some(waiting) = doc.phases.iter().find(|p| stands(p) == PhaseState::Waiting) {
            let act = if self.rng.percent(10) { Act::Adopt(waiting.id) } else { Act::Begin(waiting.id) };
            self.push(100, act);
        } else {
            self.wild();
        }
    }

    /// All probes look, some controls run, epochs pass.
    fn round(&mut self) {
        let probes: Vec<ProbeDoc> = self.docs[self.current].probes().map(|(_, probe)| probe.clone()).collect();
        for probe in &probes {
            if self.rng.percent(35) {
                let look = if self.rng.percent(self.trouble) { self.control_look() } else { Look::Fail };
                let began = self.rng.below(50);
                self.push(1, Act::Control { probe: probe.id, old: false, began, look });
            }
            if self.rng.percent(80) {
                let run = if self.rng.percent(self.trouble) { self.wild_run(probe) } else { healthy_run(&mut self.rng, probe) };
                self.push(1, run);
            }
        }
        for _ in 0..self.rng.between(1, 4) {
            let gap = if self.rng.percent(90) { 1_000 } else { self.rng.pick(&[1, 500, 2_999, 3_000, 3_001, 4_500]) };
            self.push(gap, Act::Epoch);
        }
    }

    fn control_look(&mut self) -> Look {
        self.rng.pick(&[Look::Pass, Look::Pass, Look::Fail, Look::Other, Look::Unknown, Look::Waiting(5_000)])
    }

    fn look(&mut self) -> Look {
        let due = self.rng.pick(&[-1_000, 0, 2_000, 60_000]);
        self.rng.pick(&[Look::Pass, Look::Pass, Look::Fail, Look::Fail, Look::Other, Look::Unknown, Look::Waiting(due)])
    }

    fn wild_run(&mut self, probe: &ProbeDoc) -> Act {
        let parts = match self.rng.below(10) {
            0 => vec![],
            1 => vec![(WHOLE, self.look())],
            2..=5 => vec![(0, self.look())],
            6 | 7 => vec![(0, self.look()), (1, self.look())],
            _ => vec![(1, self.look()), (2, Look::Pass)],
        };
        let slice = if probe.proof.is_some() { self.rng.percent(40) } else { self.rng.percent(3) };
        let target = self.rng.percent(40).then(|| (self.rng.pick(&[0, 1]), u8::from(self.rng.percent(20))));
        let began = self.rng.pick(&[0, 20, 700, 2_500, 9_000]);
        Act::Run { probe: probe.id, old: self.rng.percent(5), began, parts: (!slice).then_some(parts), target }
    }

    /// Anything at all.
    fn wild(&mut self) {
        let after = self.rng.pick(&[0, 1, 20, 400, 1_000, 2_500]);
        let probe = self.any_probe();
        let phase = self.any_phase();
        match self.rng.below(30) {
            0..=7 => {
                let run = self.wild_run(&probe);
                for _ in 0..self.rng.between(1, 3) {
                    self.push(after, run.clone());
                }
            }
            8..=10 => {
                let (look, began) = (self.control_look(), self.rng.pick(&[0, 30, 1_500]));
                let old = self.rng.percent(10);
                self.push(after, Act::Control { probe: probe.id, old, began, look });
            }
            11 => self.push(after, Act::Begin(phase)),
            12 => self.push(after, Act::Switch(phase)),
            13 => self.push(after, Act::Complete(phase)),
            14 => self.push(after, Act::Rollback(phase)),
            15 => self.push(after, Act::Adopt(phase)),
            16 => self.push(after, Act::Acknowledge(phase)),
            17 | 18 => {
                let span = self.rng.pick(&[0, 500, 4_000, 30_000]);
                self.push(after, Act::Override(probe.id, span));
            }
            19 => {
                let which = u8::try_from(self.rng.below(3)).unwrap();
                self.push(after, Act::Revoke(which));
            }
            20 => {
                let value = u8::try_from(self.rng.below(2)).unwrap();
                self.push(after, Act::Record(0, value));
            }
            21 => {
                let part = self.rng.pick(&[0, 1, 2]);
                self.push(after, Act::Forget(probe.id, part));
            }
            22 => {
                self.push(after, Act::Store(false));
                self.push(after, Act::Epoch);
                if self.rng.percent(80) {
                    self.push(after, Act::Store(true));
                }
            }
            23 | 24 => self.push(after, Act::Checkpoint),
            25 => {
                let crash = self.rng.percent(60);
                let boot = self.rng.percent(25);
                self.push(after, Act::Restart { crash, boot });
            }
            26 => {
                let gap = self.rng.pick(&[3_001, 6_000, 30_000, 600_000, 86_400_000]);
                self.push(gap, Act::Epoch);
            }
            27 | 28 => {
                let index = usize::try_from(self.rng.below(u64::try_from(self.docs.len()).unwrap())).unwrap();
                self.push(after, Act::Configure(index));
            }
            _ => {
                // A short blink: a suspicious look between two epochs, mended before the second.
                let run = self.wild_run(&probe);
                self.push(300, run);
                for _ in 0..3 {
                    let run = healthy_run(&mut self.rng, &probe);
                    self.push(100, run);
                }
                self.push(300, Act::Epoch);
            }
        }
    }
}

fn healthy_run(rng: &mut Rng, probe: &ProbeDoc) -> Act {
    let parts = if probe.id.is_multiple_of(3) { vec![(0, Look::Pass), (1, Look::Pass)] } else { vec![(0, Look::Pass)] };
    let slice = probe.proof.is_some() && rng.percent(20);
    let target = probe.proof.is_some().then_some((probe.id % 2, 0));
    Act::Run { probe: probe.id, old: false, began: rng.below(60), parts: (!slice).then_some(parts), target }
}

fn new_probe(rng: &mut Rng, id: u8, rev: u32, later: &[u8]) -> ProbeDoc {
    let proof = rng.percent(25).then(|| (rng.pick(&[6_000, 60_000, 86_400_000]), rng.percent(40)));
    ProbeDoc {
        id,
        rev,
        proof,
        gate: rng.percent(90),
        preflight: rng.percent(15),
        until: (!later.is_empty() && rng.percent(20)).then(|| rng.pick(later)),
        fail_after: u32::try_from(rng.between(1, 3)).unwrap(),
        recover_after: u32::try_from(rng.between(1, 3)).unwrap(),
        every: 2_000,
        max_age: rng.pick(&[8_000, 20_000, 600_000]),
        control_every: rng.pick(&[3_000, 10_000, 600_000]),
        waivable: rng.percent(85),
    }
}

fn new_phase(rng: &mut Rng, id: u8) -> PhaseDoc {
    PhaseDoc {
        id,
        soak: rng.pick(&[0, 2_000, 4_000, 10_000]),
        budget: rng.pick(&[0, 1_000, 3_000, 20_000]),
        min_samples: rng.pick(&[0, 1, 3]),
        max_wait: None,
        probes: vec![],
    }
}

fn document(rng: &mut Rng) -> Doc {
    let count = u8::try_from(rng.between(2, 3)).unwrap();
    let mut phases: Vec<PhaseDoc> = (0..count).map(|id| new_phase(rng, id)).collect();
    let mut id = 0;
    for at in 0..phases.len() {
        let later: Vec<u8> = phases.iter().skip(at + 1).map(|p| p.id).collect();
        for nth in 0..rng.between(1, 2) {
            let mut probe = new_probe(rng, id, 0, &later);
            if nth == 0 {
                (probe.gate, probe.until) = (true, None);
            }
            phases[at].probes.push(probe);
            id += 1;
        }
    }
    Doc { phases }
}

/// Another document: mostly one that may follow, sometimes one that must be refused.
fn mutate(rng: &mut Rng, doc: &mut Doc, rev: u32) {
    let at = usize::try_from(rng.below(u64::try_from(doc.phases.len()).unwrap())).unwrap();
    let unused = (0..9).find(|id| doc.probe(*id).is_none()).unwrap_or(0);
    match rng.below(10) {
        0 | 1 => {
            if let Some(probe) = doc.phases[at].probes.first_mut() {
                let waivable = probe.waivable && rng.percent(60);
                *probe = ProbeDoc { rev, waivable, ..probe.clone() };
            }
        }
        2 => {
            let probe = new_probe(rng, unused, rev, &[]);
            doc.phases[at].probes.push(probe);
        }
        3 => {
            doc.phases[at].probes.pop();
        }
        4 => doc.phases[at].soak += 1_000,
        5 => doc.phases[at].min_samples += 1,
        6 => doc.phases.reverse(),
        7 => {
            let id = (0..9).find(|id| doc.position(*id).is_none()).unwrap_or(8);
            let mut phase = new_phase(rng, id);
            phase.probes.push(new_probe(rng, unused, rev, &[]));
            let position = if rng.percent(50) { doc.phases.len() } else { at };
            doc.phases.insert(position, phase);
        }
        8 => {
            if let (Some(probe), true) = (doc.phases[at].probes.pop(), doc.phases.len() > 1) {
                let to = (at + 1) % doc.phases.len();
                doc.phases[to].probes.push(probe);
            }
        }
        _ => {
            if doc.phases.len() > 1 {
                doc.phases.remove(at);
            }
        }
    }
    // A document without any probe has nothing to be random about.
    if doc.probes().next().is_none() {
        let probe = new_probe(rng, unused, rev, &[]);
        doc.phases[0].probes.push(probe);
    }
}
