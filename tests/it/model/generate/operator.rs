//! Honest operators: they take the lock, run the steps of a phase in order, and now and then something does not go well.

use probe::event::{StepEnd, Way};
use probe::plan::{PhasePlan, StepPlan};
use probe::state::{Lock, PhaseState, State, StepState};

use super::Generator;
use crate::model::case::{Act, Hash, Look, PhaseDoc, ProbeDoc, Said, Token, person, phase_name};

/// What a runner of steps says with everything.
pub(super) const MANNERS: Said = Said { by: 0, lock: Some(Token::Newest), plan: None, document: Some(true), confirm: None };

/// The number in a name.
fn number(name: &str) -> u8 {
    name.trim_start_matches(char::is_alphabetic).parse().unwrap()
}

impl Generator {
    /// What an honest operator says next.
    pub(super) fn advance(&mut self, state: &State) {
        let doc = &self.docs[self.current];
        let stands = |phase: &&PhaseDoc| state.phase(&phase_name(phase.id)).state();
        let lock = state.durable.lock.is_some() && self.rng.percent(90);
        let said = Said { lock: lock.then_some(Token::Newest), ..Said::default() };
        if let Some(active) = doc.phases.iter().find(|p| stands(p) == PhaseState::Active) {
            let id = active.id;
            let plan = state.durable.plan.clone();
            let plan = plan.as_deref().and_then(|plan| plan.phase(&phase_name(id)));
            match plan.filter(|plan| !plan.steps.is_empty()) {
                Some(plan) => self.run_steps(state, plan, id),
                None if state.phase(&phase_name(id)).switched.is_none() => self.push_with(100, Act::Switch(id), said),
                None => self.push_with(100, Act::Complete(id), said),
            }
        } else if let Some(waiting) = doc.phases.iter().find(|p| stands(p) == PhaseState::Waiting) {
            let (id, four_eyes) = (waiting.id, waiting.four_eyes);
            if self.rng.percent(5) {
                return self.remove();
            }
            if self.rng.percent(3 + self.mess / 3) {
                return self.go_back(state);
            }
            if self.rng.percent(10) {
                return self.push_with(100, Act::Adopt(id), said);
            }
            let careful = self.rng.percent(30);
            if careful {
                self.push(20, Act::Read(id));
            }
            if four_eyes || self.rng.percent(10) {
                let hash = if careful { Hash::Read } else { Hash::Present };
                let by = u8::from(!self.rng.percent(self.mess));
                self.push_with(20, Act::Approve(id, hash), Said { by, ..Said::default() });
            }
            if self.rng.percent(self.mess) {
                self.wild();
            }
            self.push_with(100, Act::Begin(id), Said { plan: careful.then_some(Hash::Read), ..said });
        } else {
            match self.rng.below(5) {
                0 | 1 => self.go_back(state),
                2 => self.remove(),
                _ => self.wild(),
            }
        }
    }

    /// Everything has moved: an old side goes, and now and then it comes back.
    fn remove(&mut self) {
        let target = self.rng.pick(&[0, 0, 0, 1]);
        let wires = self.docs[self.current].probes().filter(|(_, probe)| probe.tripwire && probe.targets.contains(&target));
        let wires: Vec<u8> = wires.map(|(_, probe)| probe.id).collect();
        let there = self.rng.percent(50);
        for id in wires.iter().filter(|_| there) {
            self.fails(*id);
        }
        self.push_with(100, Act::Decommission(target), Said { confirm: Some(target), ..Said::default() });
        if there && self.rng.percent(40) {
            return self.push(100, Act::Recommission(target));
        }
        self.round();
        self.round();
        if self.rng.percent(50) {
            for id in &wires {
                self.fails(*id);
            }
            self.push(1_000, Act::Epoch);
        }
    }

    /// Nothing is active: a whole phase is undone, last things first; often because something in it has broken.
    fn go_back(&mut self, state: &State) {
        let Some(plan) = state.durable.plan.clone() else { return self.wild() };
        let last = plan.phases.iter().rev().find(|phase| state.phase(&phase.name).next_undo(phase).is_some());
        let Some(phase) = last else { return self.wild() };
        let id = number(&phase.name);
        if let (Some(probe), true) = (phase.probes.first(), self.rng.percent(60)) {
            self.fails(number(&probe.name));
            self.push(1_000, Act::Epoch);
        }
        self.take_lock(state, id, 0);
        if let Some(step) = state.phase(&phase.name).next_undo(phase) {
            self.undo(id, number(&step.name));
        }
    }

    /// The lock is taken, unless this operator has it.
    fn take_lock(&mut self, state: &State, phase: u8, by: u8) {
        let lock = state.durable.lock.as_ref();
        let holder = |lock: &Lock| *lock.phase == *phase_name(phase) && lock.stamp.by == person(by);
        if lock.is_some_and(holder) && !self.rng.percent(self.mess) {
            if self.rng.percent(20) {
                self.push_with(10, Act::Renew(Token::Newest), Said { by, ..Said::default() });
            }
            return;
        }
        let mut own = None;
        if lock.is_some() && self.rng.percent(60) {
            if self.rng.percent(50) {
                own = Some(Token::Newest);
            } else {
                self.push(10, Act::ForceRelease(Token::Newest));
            }
        }
        let ttl = self.rng.pick(&[1_000, 5_000, 60_000, 3_600_000]);
        self.push_with(10, Act::Lock { phase, ttl, own }, Said { by, ..Said::default() });
    }

    /// The next thing about the steps of the active phase.
    fn run_steps(&mut self, state: &State, phase: &PhasePlan, id: u8) {
        let record = state.phase(&phase.name);
        let by = u8::from(self.rng.percent(10));
        self.take_lock(state, id, by);
        let said = Said { by, confirm: self.confirm(id), ..MANNERS };
        let next_undo = record.next_undo(phase).map(|step| number(&step.name));
        if let Some(step) = record.in_flight(phase) {
            let nth = number(&step.name);
            match record.step(&step.name) {
                Some(StepState::Running) => self.work(id, nth, &disturbed(step), said),
                Some(StepState::Verifying) => self.verify(id, nth, &disturbed(step), said),
                _ => {
                    let end = self.end();
                    self.push_with(50, Act::EndStep(id, nth, end), said);
                }
            }
        } else if let (true, Some(step)) = (record.going_back(phase), next_undo) {
            self.undo(id, step);
        } else if let Some(step) = record.next_do(phase) {
            let nth = number(&step.name);
            let all_undone = next_undo.is_none() && !record.steps.is_empty();
            match next_undo {
                Some(back) if self.rng.percent(self.mess / 2) => return self.undo(id, back),
                None if all_undone && self.rng.percent(30) => return self.push_with(100, Act::Rollback(id), said),
                _ => {}
            }
            let checked = record.step(&step.name).is_some() && !self.rng.percent(self.mess);
            self.push_with(100, Act::StartStep { phase: id, step: nth, way: Way::Do, checked }, said);
            if self.rng.percent(self.mess) {
                // It stays in flight, whatever happens meanwhile.
                return self.meanwhile();
            }
            self.work(id, nth, &disturbed(step), said);
        } else {
            match next_undo {
                Some(back) if self.rng.percent(5 + self.mess / 3) => self.undo(id, back),
                _ => self.push_with(100, Act::Complete(id), said),
            }
        }
    }

    /// The name of the phase typed once more, or not, or another one.
    fn confirm(&mut self, phase: u8) -> Option<u8> {
        if !self.rng.percent(self.mess) {
            return Some(phase);
        }
        if self.rng.percent(50) { Some(self.any_phase()) } else { None }
    }

    fn end(&mut self) -> StepEnd {
        if self.rng.percent(self.mess) { self.rng.pick(&[StepEnd::Failed, StepEnd::Interrupted]) } else { StepEnd::Done }
    }

    /// Something in the middle of a step.
    fn meanwhile(&mut self) {
        match self.rng.below(6) {
            0 => {
                let crash = self.rng.percent(50);
                self.push(50, Act::Restart { crash, boot: false });
            }
            1 => {
                let index = usize::try_from(self.rng.below(u64::try_from(self.docs.len()).unwrap())).unwrap();
                self.push(50, Act::Configure(index));
            }
            2 => self.push(50, Act::Checkpoint),
            3 => {
                let probe = self.any_probe();
                self.push(50, Act::Override(probe.id, 30_000));
            }
            4 => {
                let gap = self.rng.pick(&[1_001, 2_001, 10_001]);
                self.push(gap, Act::Epoch);
            }
            _ => self.wild(),
        }
    }

    /// A step that runs comes to its end.
    fn work(&mut self, phase: u8, step: u8, disturbed: &[u8], said: Said) {
        if self.rng.percent(self.mess) {
            self.meanwhile();
        }
        if !disturbed.is_empty() && self.rng.percent(70) {
            self.disturb(disturbed);
        }
        if self.rng.percent(85) {
            self.push_with(500, Act::StepWorked(phase, step), said);
        }
        self.verify(phase, step, disturbed, said);
    }

    /// Its probes are looked at, and it ends.
    fn verify(&mut self, phase: u8, step: u8, disturbed: &[u8], said: Said) {
        let end = self.end();
        if end == StepEnd::Done || self.rng.percent(50) {
            self.push(100, Act::Epoch);
            self.all_look();
        }
        if !disturbed.is_empty() && self.rng.percent(10) {
            let (probe, look) = (self.rng.pick(disturbed), self.rng.pick(&[Look::Fail, Look::Waiting(60_000)]));
            self.push(20, one(probe, look));
        }
        if self.rng.percent(self.mess) {
            self.meanwhile();
        }
        self.push_with(50, Act::EndStep(phase, step, end), said);
        if self.rng.percent(30) {
            self.push(200, Act::Epoch);
        }
    }

    /// All probes look well, as often as they must.
    fn all_look(&mut self) {
        let probes: Vec<ProbeDoc> = self.docs[self.current].probes().map(|(_, probe)| probe.clone()).collect();
        for probe in &probes {
            self.push(1, Act::Control { probe: probe.id, old: false, began: 0, look: Look::Fail });
            for _ in 0..probe.recover_after {
                let run = if self.rng.percent(self.trouble) { self.wild_run(probe) } else { self.healthy_run(probe) };
                self.push(1, run);
            }
        }
        self.push(1_000, Act::Epoch);
    }

    /// What a step disturbs turns red, and mostly comes back.
    fn disturb(&mut self, disturbed: &[u8]) {
        let probe = self.rng.pick(disturbed);
        self.fails(probe);
        let gap = self.rng.pick(&[200, 1_000, 1_000, 2_500, 10_001]);
        self.push(gap, Act::Epoch);
        if self.rng.percent(60) {
            let gap = self.rng.pick(&[300, 2_000, 10_001]);
            self.push(gap, Act::Epoch);
        }
    }

    /// A probe fails, mostly until it is red.
    fn fails(&mut self, probe: u8) {
        let enough = self.docs[self.current].probe(probe).map_or(1, |(_, probe)| probe.fail_after);
        for _ in 0..enough - u32::from(self.rng.percent(15)) {
            self.push(20, one(probe, Look::Fail));
        }
    }

    fn undo(&mut self, phase: u8, step: u8) {
        let said = Said { confirm: self.confirm(phase), ..MANNERS };
        self.push_with(100, Act::StartStep { phase, step, way: Way::Undo, checked: false }, said);
        if self.rng.percent(self.mess) {
            return self.meanwhile();
        }
        let end = self.end();
        self.push_with(400, Act::EndStep(phase, step, end), said);
    }
}

fn one(probe: u8, look: Look) -> Act {
    Act::Run { probe, old: false, began: 0, parts: Some(vec![(0, look)]), reads: vec![] }
}

fn disturbed(step: &StepPlan) -> Vec<u8> {
    step.disturbs.iter().map(|name| number(name)).collect()
}
