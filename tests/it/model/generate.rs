//! Random histories, realistic and adversarial: mostly a migration that goes well, with everything going wrong now and then.

mod documents;
mod operator;

use std::collections::VecDeque;

use probe::event::{StepEnd, Way};
use probe::state::State;

use documents::{document, mutate};

use super::case::{Act, Doc, Hash, Look, ProbeDoc, Said, Thing, Tick, Token, WHOLE, newest_edition};
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
    /// The newest edition of each fact when the queue was empty last.
    newest: [u8; 2],
    /// How often, in a hundred, a healthy round goes wrong somewhere.
    trouble: u64,
    /// How often, in a hundred, something wild happens between rounds.
    wild: u64,
    /// How often, in a hundred, a step does not go as it should.
    mess: u64,
    /// How often, in a hundred, an operator does something between two rounds.
    eager: u64,
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
        let queue = VecDeque::from([Tick::new(0, Act::Configure(0))]);
        let (mess, eager) = (rng.pick(&[0, 5, 15, 40]), rng.pick(&[25, 40, 70]));
        Self { rng, docs, queue, current: 0, newest: [1, 1], trouble, wild, mess, eager }
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
            self.newest = [0, 1].map(|fact| newest_edition(state, fact));
            if self.rng.percent(self.wild) {
                self.wild();
            } else if self.rng.percent(self.eager) {
                self.advance(state);
            } else {
                self.round();
            }
        }
    }

    fn push(&mut self, after: u64, act: Act) {
        self.push_with(after, act, Said::default());
    }

    fn push_with(&mut self, after: u64, act: Act, said: Said) {
        let jump = if self.rng.percent(1) { self.rng.pick(&[-3_600_000, -5_000, 5_000, 3_600_000]) } else { 0 };
        // Nothing happens twice in one millisecond: which came first would be a matter of taste.
        self.queue.push_back(Tick { after: after.max(1), jump, act, said });
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

    /// All probes look, some controls run, epochs pass.
    fn round(&mut self) {
        let probes: Vec<ProbeDoc> = self.docs[self.current].probes().map(|(_, probe)| probe.clone()).collect();
        for probe in &probes {
            if self.rng.percent(35) {
                let look = if self.rng.percent(self.trouble) { self.control_look() } else { Look::Fail };
                let began = self.rng.below(50);
                self.push(1, Act::Control { probe: probe.id, old: false, began, look });
            }
            if self.rng.percent(self.trouble / 3) {
                self.record(1);
            }
            if self.rng.percent(80) {
                let run = if self.rng.percent(self.trouble) { self.wild_run(probe) } else { self.healthy_run(probe) };
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
        let mut reads = Vec::new();
        if self.rng.percent(40) {
            reads.push((Thing::Server(self.rng.pick(&[0, 1])), u8::from(self.rng.percent(20))));
        }
        if self.rng.percent(30) {
            let (fact, older, newer) = (self.rng.pick(&[0, 1]), self.rng.percent(30), self.rng.percent(20));
            let newest = self.newest[usize::from(fact)];
            reads.push((Thing::Fact(fact), (newest + u8::from(newer) - u8::from(older)).max(1)));
        }
        let began = self.rng.pick(&[0, 20, 700, 2_500, 9_000]);
        Act::Run { probe: probe.id, old: self.rng.percent(5), began, parts: (!slice).then_some(parts), reads }
    }

    fn healthy_run(&mut self, probe: &ProbeDoc) -> Act {
        let parts = if probe.id.is_multiple_of(3) { vec![(0, Look::Pass), (1, Look::Pass)] } else { vec![(0, Look::Pass)] };
        let slice = probe.proof.is_some() && self.rng.percent(20);
        let mut reads = Vec::new();
        if probe.proof.is_some() {
            let fact = probe.id % 2;
            reads = vec![(Thing::Server(fact), 0), (Thing::Fact(fact), self.newest[usize::from(fact)])];
        }
        Act::Run { probe: probe.id, old: false, began: self.rng.below(60), parts: (!slice).then_some(parts), reads }
    }

    /// A fact is measured anew, or somebody says something else, or something older.
    fn record(&mut self, after: u64) {
        let (fact, value) = (self.rng.pick(&[0, 1]), u8::from(self.rng.percent(10)));
        let newest = self.newest[usize::from(fact)];
        let edition = if self.rng.percent(70) { newest + 1 } else { self.rng.pick(&[0, 1, 1, 2, 3, newest]) };
        self.push(after, Act::Record(fact, edition, value));
    }

    /// With or without manners.
    fn wildly(&mut self, after: u64, act: Act) {
        let said = if self.rng.percent(60) { Said::default() } else { self.wild_said() };
        self.push_with(after, act, said);
    }

    fn wild_said(&mut self) -> Said {
        Said {
            by: u8::from(self.rng.percent(50)),
            lock: self.rng.pick(&[None, Some(Token::Newest), Some(Token::Newest), Some(Token::Before), Some(Token::Never)]),
            plan: self.rng.pick(&[None, None, Some(Hash::Present), Some(Hash::Read), Some(Hash::Never)]),
            document: self.rng.pick(&[None, Some(true), Some(true), Some(true), Some(false)]),
            confirm: if self.rng.percent(60) { Some(self.any_phase()) } else { None },
        }
    }

    fn token(&mut self) -> Token {
        self.rng.pick(&[Token::Newest, Token::Newest, Token::Newest, Token::Before, Token::Never])
    }

    /// Anything at all about steps, the lock and plans.
    fn wild_step(&mut self, phase: u8, after: u64) {
        let step = u8::try_from(self.rng.below(4)).unwrap();
        let said = if self.rng.percent(50) { operator::MANNERS } else { self.wild_said() };
        let said = if self.rng.percent(70) { Said { confirm: Some(phase), ..said } } else { said };
        let act = match self.rng.below(14) {
            0 | 1 => {
                let own = self.rng.pick(&[None, None, Some(Token::Newest), Some(Token::Before)]);
                Act::Lock { phase, ttl: self.rng.pick(&[999, 1_000, 1_000, 5_000, 60_000, 3_600_000, 3_600_001]), own }
            }
            2 => Act::Renew(self.token()),
            3 => Act::Release(self.token()),
            4 => Act::ForceRelease(self.token()),
            5 | 6 => Act::StartStep { phase, step, way: Way::Do, checked: self.rng.percent(50) },
            7 => Act::StartStep { phase, step, way: Way::Undo, checked: self.rng.percent(50) },
            8 => Act::StepWorked(phase, step),
            9 | 10 => {
                let end = self.rng.pick(&[StepEnd::Done, StepEnd::Done, StepEnd::Failed, StepEnd::Interrupted]);
                Act::EndStep(phase, step, end)
            }
            11 => Act::Read(phase),
            12 => Act::Approve(phase, self.rng.pick(&[Hash::Present, Hash::Read, Hash::Never])),
            // The lease runs out.
            _ => {
                let gap = self.rng.pick(&[999, 1_000, 1_001, 5_001]);
                return self.push(gap, Act::Epoch);
            }
        };
        self.push_with(after, act, said);
    }

    /// Anything at all.
    fn wild(&mut self) {
        let after = self.rng.pick(&[0, 1, 20, 400, 1_000, 2_500]);
        let probe = self.any_probe();
        let phase = self.any_phase();
        match self.rng.below(40) {
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
            11 => self.wildly(after, Act::Begin(phase)),
            12 => self.wildly(after, Act::Switch(phase)),
            13 => self.wildly(after, Act::Complete(phase)),
            14 => self.wildly(after, Act::Rollback(phase)),
            15 => self.wildly(after, Act::Adopt(phase)),
            16 => self.wildly(after, Act::Acknowledge(phase)),
            17 | 18 => {
                let span = self.rng.pick(&[0, 500, 4_000, 30_000]);
                self.wildly(after, Act::Override(probe.id, span));
            }
            19 => {
                let which = u8::try_from(self.rng.below(3)).unwrap();
                self.push(after, Act::Revoke(which));
            }
            20 => self.record(after),
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
            29 => {
                let target = self.rng.pick(&[0, 0, 1]);
                let act = if self.rng.percent(70) { Act::Decommission(target) } else { Act::Recommission(target) };
                let said = Said { confirm: self.rng.percent(90).then_some(target), ..Said::default() };
                self.push_with(after, act, said);
            }
            30..=38 => self.wild_step(phase, after),
            _ => {
                // A short blink: a suspicious look between two epochs, mended before the second.
                let run = self.wild_run(&probe);
                self.push(300, run);
                for _ in 0..3 {
                    let run = self.healthy_run(&probe);
                    self.push(100, run);
                }
                self.push(300, Act::Epoch);
            }
        }
    }
}
