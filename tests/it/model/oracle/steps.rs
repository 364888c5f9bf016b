//! What the list says about the steps of phases, and about the lock.

use std::collections::BTreeMap;

use probe::event::{StepEnd, Way};
use probe::gate::Verdict;
use probe::state::{ProbeState, StepState};

use super::{Oracle, Turn};
use crate::model::case::{Act, PhaseDoc, Said, StepDoc, Token};

/// What has happened to a step. The places are those of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) state: StepState,
    pub(crate) attempts: u32,
    /// Its last change.
    pub(crate) changed: usize,
    /// When its do or undo was started last.
    pub(crate) started: u64,
}

pub(crate) type Steps = BTreeMap<u8, Step>;

/// The lock that was taken last and not released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    /// How many were taken before it.
    pub(crate) ordinal: usize,
    at: usize,
    pub(crate) phase: u8,
    ttl: u64,
    by: u8,
}

/// All that the hash of a plan stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlanSeen {
    document: usize,
    phases: Vec<PhaseSeen>,
    overrides: Vec<u8>,
    removals: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct PhaseSeen {
    /// Begun, switching, switched, complete, past its point of no return, adopted: each with its place.
    marks: [Option<usize>; 6],
    /// State, attempts, last change.
    steps: Vec<(u8, StepState, u32, usize)>,
    latched: Vec<u8>,
    ever: usize,
}

/// Something may be running.
fn flies(state: StepState) -> bool {
    matches!(state, StepState::Running | StepState::Verifying | StepState::Undoing)
}

/// The step that may be running.
pub(super) fn in_flight(steps: &Steps) -> Option<u8> {
    steps.iter().find(|(_, step)| flies(step.state)).map(|(id, _)| *id)
}

/// The next on the way forward.
pub(super) fn next_do<'d>(phase: &'d PhaseDoc, steps: &Steps) -> Option<&'d StepDoc> {
    phase.steps.iter().find(|step| steps.get(&step.id).is_none_or(|now| now.state != StepState::Done))
}

/// The next on the way back.
fn next_undo<'d>(phase: &'d PhaseDoc, steps: &Steps) -> Option<&'d StepDoc> {
    last_to_undo(&phase.steps, steps)
}

fn last_to_undo<'d>(order: &'d [StepDoc], steps: &Steps) -> Option<&'d StepDoc> {
    let touched = order.iter().filter(|step| steps.get(&step.id).is_some_and(|now| now.state != StepState::Undone));
    touched.rev().find(|step| step.undo)
}

/// Whether the way back was begun and is not over.
pub(super) fn going_back(phase: &PhaseDoc, steps: &Steps) -> bool {
    let back = [StepState::Undoing, StepState::Undone, StepState::UndoFailed];
    next_undo(phase, steps).is_some() && steps.values().any(|step| back.contains(&step.state))
}

impl Oracle<'_> {
    /// What has happened to the steps of a phase, since it was rolled back last.
    pub(crate) fn steps(&self, id: u8) -> Steps {
        let mut steps = Steps::new();
        let mut order: &[StepDoc] = &[];
        for (at, entry) in self.rare() {
            match entry.act {
                Act::Configure(index) => {
                    order = self.docs[index].phases.iter().find(|p| p.id == id).map_or(&[], |phase| &phase.steps);
                }
                Act::StartStep { phase, step, way: Way::Do, .. } if phase == id => {
                    // Once all is undone, the way back is over, and forward it goes from the beginning.
                    if last_to_undo(order, &steps).is_none() {
                        steps.retain(|_, own| own.state != StepState::Undone);
                    }
                    let attempts = steps.get(&step).map_or(0, |before| before.attempts) + 1;
                    steps.insert(step, Step { state: StepState::Running, attempts, changed: at, started: entry.t });
                }
                Act::StartStep { phase, step, way: Way::Undo, .. } if phase == id => {
                    // What can not be undone is left behind.
                    for later in order.iter().rev().take_while(|s| s.id != step).filter(|s| !s.undo) {
                        if let Some(left) = steps.get_mut(&later.id)
                            && left.state != StepState::Undone
                        {
                            (left.state, left.changed) = (StepState::Undone, at);
                        }
                    }
                    if let Some(own) = steps.get_mut(&step) {
                        (own.state, own.changed, own.started) = (StepState::Undoing, at, entry.t);
                    }
                }
                Act::StepWorked(phase, step) if phase == id => {
                    if let Some(own) = steps.get_mut(&step) {
                        (own.state, own.changed) = (StepState::Verifying, at);
                    }
                }
                Act::EndStep(phase, step, end) if phase == id => {
                    if let Some(own) = steps.get_mut(&step) {
                        own.changed = at;
                        own.state = match (own.state == StepState::Undoing, end) {
                            (false, StepEnd::Done) => StepState::Done,
                            (false, StepEnd::Failed) => StepState::Failed,
                            (false, StepEnd::Interrupted) => StepState::Interrupted,
                            (true, StepEnd::Done) => StepState::Undone,
                            (true, StepEnd::Failed | StepEnd::Interrupted) => StepState::UndoFailed,
                        };
                    }
                }
                Act::Rollback(phase) if phase == id => steps.clear(),
                _ => {}
            }
        }
        steps
    }

    /// The step of a phase that may be running now.
    pub(super) fn flying(&self, phase: u8) -> Option<u8> {
        in_flight(&self.steps(phase))
    }

    /// Nothing runs, and nothing is left to be undone.
    pub(super) fn nothing_to_undo(&self, phase: u8) -> bool {
        let steps = self.steps(phase);
        let undo = self.phase_doc(phase).and_then(|doc| next_undo(doc, &steps));
        in_flight(&steps).is_none() && undo.is_none()
    }

    fn phase_doc(&self, phase: u8) -> Option<&PhaseDoc> {
        self.doc().and_then(|doc| doc.phases.iter().find(|p| p.id == phase))
    }

    /// What the start of a step does to its phase.
    pub(super) fn turns_at_start(&self, phase: u8, step: u8, way: Way) -> Vec<Turn> {
        let Some(plan) = self.phase_doc(phase).and_then(|doc| doc.step(step)).filter(|_| way == Way::Do) else { return vec![] };
        let turns = [(plan.switch, Turn::Switching), (plan.ponr, Turn::Ponr)];
        turns.into_iter().filter(|(is, _)| *is).map(|(_, turn)| turn).collect()
    }

    /// What the end of a step does to its phase.
    pub(super) fn turns_at_end(&self, phase: u8, step: u8, end: StepEnd) -> Vec<Turn> {
        let (Some(doc), mut steps) = (self.phase_doc(phase), self.steps(phase)) else { return vec![] };
        let undoing = steps.get(&step).is_some_and(|own| own.state == StepState::Undoing);
        if end != StepEnd::Done {
            return vec![];
        }
        if undoing {
            return if doc.step(step).is_some_and(|plan| plan.switch) { vec![Turn::Back] } else { vec![] };
        }
        if let Some(own) = steps.get_mut(&step) {
            own.state = StepState::Done;
        }
        if next_do(doc, &steps).is_none() { vec![Turn::Switched] } else { vec![] }
    }

    /// Whether a step in flight has said that it disturbs this probe, and is not at it for too long.
    pub(super) fn excused(&self, probe: u8) -> bool {
        let phases = self.doc().into_iter().flat_map(|doc| &doc.phases).filter(|phase| !phase.steps.is_empty());
        phases.into_iter().any(|phase| {
            let steps = self.steps(phase.id);
            let running = phase.steps.iter().filter(|step| step.disturbs.contains(&probe));
            running
                .into_iter()
                .any(|plan| steps.get(&plan.id).is_some_and(|step| flies(step.state) && self.t - step.started <= plan.timeout))
        })
    }

    /// The lock, expired or not.
    pub(crate) fn lock(&self) -> Option<Held> {
        let mut taken = 0;
        let mut held = None;
        for (at, entry) in self.rare() {
            match entry.act {
                Act::Lock { phase, ttl, .. } => {
                    held = Some(Held { ordinal: taken, at, phase, ttl, by: entry.said.by });
                    taken += 1;
                }
                Act::Release(_) | Act::ForceRelease(_) => held = None,
                _ => {}
            }
        }
        held
    }

    /// Whether the lock keeps others out.
    pub(crate) fn live(&self, held: Held) -> bool {
        let since = self.log.iter().skip(held.at).filter(|e| e.ok);
        let heard = since.filter(|e| matches!(e.act, Act::Renew(_)) && !e.lost).map(|e| e.t).next_back();
        self.t - heard.unwrap_or(self.log[held.at].t) <= held.ttl || self.half_way(held.phase)
    }

    /// Whether the steps of a phase were begun, and are neither all done nor all undone.
    fn half_way(&self, phase: u8) -> bool {
        let (Some(doc), steps) = (self.phase_doc(phase), self.steps(phase)) else { return false };
        let begun = steps.values().any(|step| step.state != StepState::Undone);
        in_flight(&steps).is_some() || begun && next_do(doc, &steps).is_some()
    }

    /// Whether this means the lock that is held now, by this person.
    pub(super) fn names_lock(&self, token: Token, by: u8) -> bool {
        self.names_newest(token) && self.lock().is_some_and(|held| held.by == by)
    }

    /// Whether this means the lock that is held now.
    pub(super) fn names_newest(&self, token: Token) -> bool {
        let taken: Vec<usize> = self.rare().filter(|(_, e)| matches!(e.act, Act::Lock { .. })).map(|(at, _)| at).collect();
        self.lock().is_some_and(|held| token.of(&taken) == Some(held.at))
    }

    /// Whether the lock may be taken for this phase.
    pub(super) fn may_take(&self, phase: u8, own: Option<Token>, by: u8) -> bool {
        let Some(held) = self.lock() else { return true };
        let goes_on = held.phase == phase && own.is_some_and(|token| self.names_lock(token, by));
        goes_on || !self.live(held)
    }

    /// Whether everything is as the command's sender has said.
    pub(super) fn terms_hold(&self, act: &Act, said: Said) -> bool {
        let of_lock = matches!(act, Act::Lock { .. } | Act::Renew(_) | Act::Release(_) | Act::ForceRelease(_));
        let of_phase = matches!(
            act,
            Act::Begin(_)
                | Act::Switch(_)
                | Act::Complete(_)
                | Act::Rollback(_)
                | Act::Adopt(_)
                | Act::Decommission(_)
                | Act::Recommission(_)
        );
        let command = of_lock
            || of_phase
            || matches!(
                act,
                Act::Acknowledge(_)
                    | Act::Override(..)
                    | Act::Revoke(_)
                    | Act::Record(..)
                    | Act::Forget(..)
                    | Act::StartStep { .. }
                    | Act::StepWorked(..)
                    | Act::EndStep(..)
                    | Act::Approve(..)
            );
        if !command {
            return true;
        }
        let document = said.document.is_none_or(|present| present && self.doc().is_some());
        let lock = of_lock || said.lock.is_none_or(|token| self.names_lock(token, said.by));
        let kept_out = of_phase && said.lock.is_none() && self.lock().is_some_and(|held| self.live(held));
        document && lock && !kept_out
    }

    /// Whether the sender has the lock of this phase, and the phase such a step.
    fn has_right(&self, phase: u8, step: u8, said: Said) -> bool {
        let named = said.lock.is_some_and(|token| self.names_lock(token, said.by));
        named
            && self.lock().is_some_and(|held| held.phase == phase)
            && self.phase_doc(phase).is_some_and(|doc| doc.step(step).is_some())
    }

    pub(super) fn may_start(&self, phase: u8, step: u8, way: Way, checked: bool, said: Said) -> bool {
        let (Some(doc), steps) = (self.phase_doc(phase), self.steps(phase)) else { return false };
        let Some(plan) = doc.step(step) else { return false };
        if !self.has_right(phase, step, said) || said.document.is_none() || in_flight(&steps).is_some() {
            return false;
        }
        let is = |next: Option<&StepDoc>| next.is_some_and(|next| next.id == step);
        match way {
            Way::Do => {
                let broken = steps.get(&step).is_some_and(|s| matches!(s.state, StepState::Failed | StepState::Interrupted));
                self.phase(phase).active()
                    && !going_back(doc, &steps)
                    && is(next_do(doc, &steps))
                    && (!broken || checked)
                    && (!plan.ponr || said.confirm == Some(phase))
                    && self.guard_now(phase) == Verdict::Open
            }
            Way::Undo => self.can_go_back(phase, said) && is(next_undo(doc, &steps)),
        }
    }

    pub(super) fn may_verify(&self, phase: u8, step: u8, said: Said) -> bool {
        let runs = self.steps(phase).get(&step).is_some_and(|own| own.state == StepState::Running);
        self.has_right(phase, step, said) && runs
    }

    pub(super) fn may_end(&self, phase: u8, step: u8, end: StepEnd, said: Said) -> bool {
        let Some(own) = self.steps(phase).get(&step).copied().filter(|own| flies(own.state)) else { return false };
        let Some(plan) = self.phase_doc(phase).and_then(|doc| doc.step(step)) else { return false };
        let quiet = plan.verify.is_empty() && plan.disturbs.is_empty() && plan.gate.is_none();
        let well = match (own.state, end) {
            (StepState::Running, StepEnd::Done) => quiet,
            (StepState::Verifying, StepEnd::Done) => self.verified(plan, own.changed),
            _ => true,
        };
        self.has_right(phase, step, said) && well
    }

    /// Whether all that a step waits for has come, by looks that began after its work.
    fn verified(&self, plan: &StepDoc, since: usize) -> bool {
        let Some(doc) = self.doc() else { return false };
        let looked = |id: u8| self.runs(id).last().is_some_and(|(_, started)| started >= self.log[since].t);
        let known = |id: &u8| doc.probe(*id);
        let verify = plan.verify.iter().filter_map(known).all(|(_, probe)| {
            let seen = self.colour(probe) == ProbeState::Green && (probe.proof.is_some() || looked(probe.id));
            self.overridden(probe) || seen
        });
        let disturbs = plan.disturbs.iter().filter_map(known).all(|(at, probe)| {
            let watched = self.phase(doc.phases[at].id).complete && self.required(doc, at, probe);
            let calm = matches!(self.colour(probe), ProbeState::Green | ProbeState::Waiting);
            !watched || calm && (probe.proof.is_some() || looked(probe.id))
        });
        verify && disturbs && plan.gate.is_none_or(|gate| self.gate_now(gate) == Verdict::Open)
    }

    /// Whether somebody else has approved the plan of this phase as it is now.
    pub(super) fn approved(&self, phase: u8, by: u8) -> bool {
        let last = self
            .rare()
            .rev()
            .find(|(_, entry)| matches!(entry.act, Act::Approve(of, _) | Act::Begin(of) | Act::Rollback(of) if of == phase));
        last.is_some_and(|(_, entry)| {
            let approval = matches!(entry.act, Act::Approve(..));
            approval && entry.said.by != by && entry.plan.is_some() && entry.plan == self.plan(phase)
        })
    }

    /// All that the hash of a phase's plan stands for now.
    pub(crate) fn plan(&self, phase: u8) -> Option<PlanSeen> {
        let doc = self.doc()?;
        doc.position(phase)?;
        let document = self.rare().rev().find_map(|(_, e)| if let Act::Configure(index) = e.act { Some(index) } else { None })?;
        let (latched, ever) = (self.latched(), self.latches().ever);
        let created = self.rare().filter(|(_, e)| matches!(e.act, Act::Override(..))).count();
        let seen = |phase: &PhaseDoc| PhaseSeen {
            marks: self.marks(phase.id),
            steps: self.steps(phase.id).into_iter().map(|(id, s)| (id, s.state, s.attempts, s.changed)).collect(),
            latched: latched.iter().filter(|(of, _)| *of == phase.id).map(|(_, probe)| *probe).collect(),
            ever: ever.iter().fold(0, |count, of| count + usize::from(*of == phase.id)),
        };
        Some(PlanSeen {
            document,
            phases: doc.phases.iter().map(seen).collect(),
            overrides: (0..u8::try_from(created).unwrap()).filter(|ordinal| self.revocable(*ordinal)).collect(),
            removals: self.removals(),
        })
    }

    /// Where in the list a phase was begun, and so on, as far as that still holds.
    fn marks(&self, id: u8) -> [Option<usize>; 6] {
        let mut marks = [None; 6];
        for (at, entry) in self.rare() {
            let [begun, switching, switched, complete, ponr, adopted] = &mut marks;
            match entry.act {
                Act::Begin(phase) if phase == id => *begun = Some(at),
                Act::Switch(phase) if phase == id => (*switching, *switched) = (Some(at), Some(at)),
                Act::Complete(phase) if phase == id => *complete = Some(at),
                Act::Adopt(phase) if phase == id => {
                    for mark in [begun, switching, switched, complete, adopted] {
                        *mark = Some(at);
                    }
                }
                Act::Rollback(phase) if phase == id => marks = [None; 6],
                Act::StartStep { phase, way: Way::Undo, .. } if phase == id => {
                    (*switched, *complete, *adopted) = (None, None, None);
                }
                Act::StartStep { phase, .. } | Act::EndStep(phase, ..) if phase == id => {
                    for turn in &entry.turns {
                        match turn {
                            Turn::Switching => *switching = switching.or(Some(at)),
                            Turn::Ponr => *ponr = ponr.or(Some(at)),
                            Turn::Switched => *switched = Some(at),
                            Turn::Back => *switching = None,
                        }
                    }
                }
                Act::Epoch if entry.crossed.contains(&id) => *ponr = ponr.or(Some(at)),
                _ => {}
            }
        }
        marks
    }

    /// When the switch of a phase began.
    pub(super) fn switch_began(&self, id: u8) -> Option<u64> {
        let [_, switching, ..] = self.marks(id);
        switching.map(|at| self.log[at].t)
    }
}
