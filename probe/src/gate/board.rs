//! PURE. The rows of the table, for one phase at one moment.

use std::time::Duration;

use super::phase_reasons as why;
use super::{Blocker, Evaluation, GateView, MAX_BLOCKERS, ProbeView, SoakView, Verdict};
use crate::now::{Now, span};
use crate::plan::{GatePlan, NaturePlan, PhaseName, PhasePlan, Plan, ProbePlan, SealAt};
use crate::soak::{Short, Soak};
use crate::state::{PhaseState, ProbeState, State, StepState};

/// Everything a verdict is made of, at one moment.
pub(super) struct Board<'a> {
    pub(super) state: &'a State,
    pub(super) plan: &'a Plan,
    pub(super) probes: &'a [ProbeView],
    pub(super) now: Now,
}

impl<'a> Board<'a> {
    /// The gate of the phase at this position.
    pub(super) fn gate(&self, at: usize, before: Option<&Evaluation>) -> Option<GateView> {
        let phase = self.plan.phases.get(at)?;
        let mut tally = Tally::new(phase.name.clone());
        self.ledger_rows(&mut tally);

        let required: Vec<_> = self.required(at, &mut tally).collect();
        if !required.iter().any(|(probe, view)| view.phase == at && probe.gate) {
            tally.block(Verdict::Unknown, why::NO_PROBES, "no required probe of this phase is left");
        }
        self.phase_rows(at, phase, &mut tally);
        for (probe, view) in &required {
            self.probe_row(probe, view, &mut tally);
        }
        let soak = self.soak_row(phase, required.into_iter().filter(|(_, view)| view.phase == at), &mut tally);

        let mut view = tally.verdict(soak);
        if view.verdict == Verdict::Open {
            let was = before.and_then(|e| e.gates.get(at)).filter(|g| g.phase == phase.name && g.verdict == Verdict::Open);
            view.open_since = Some(was.and_then(|g| g.open_since).unwrap_or(self.now));
        }
        Some(view)
    }

    /// The entry guard of the phase at this position: may its next step run?
    pub(super) fn guard(&self, at: usize) -> Option<GateView> {
        let phase = self.plan.phases.get(at)?;
        let record = self.state.phase(&phase.name);
        let mut tally = Tally::new(phase.name.clone());
        self.ledger_rows(&mut tally);
        self.earlier_complete(at, &mut tally);
        let other =
            self.plan.phases.iter().find(|p| p.name != phase.name && self.state.phase(&p.name).state() == PhaseState::Active);
        if let Some(other) = other {
            tally.block(Verdict::Closed, why::OTHER_ACTIVE, format!("phase {} is active", other.name));
        }
        if record.state() == PhaseState::Complete {
            tally.block(Verdict::Closed, why::ALREADY_COMPLETE, "the phase is complete");
        } else if record.switched.is_some() {
            tally.block(Verdict::Closed, why::NOTHING_LEFT, "the phase has switched; nothing is left but to complete it");
        }
        self.steps_row(phase, &mut tally);
        // Nothing leads back any more: whatever else has broken, to stop half-way would be worse.
        if record.ponr.is_none() {
            self.earlier_rows(at, &mut tally);
        }
        for (probe, view) in self.seen().filter(|(_, view)| view.phase == at && !view.retired) {
            let needed = match record.state() {
                PhaseState::Waiting => probe.preflight,
                PhaseState::Active => self.guards_next(phase, probe),
                PhaseState::Complete => false,
            };
            if needed && self.state.overridden(probe, self.now.t).is_none() {
                self.probe_row(probe, view, &mut tally);
            }
        }
        Some(tally.verdict(SoakView::default()))
    }

    /// Whether one of the phase's steps is in the way of the next.
    fn steps_row(&self, phase: &PhasePlan, tally: &mut Tally) -> bool {
        let record = self.state.phase(&phase.name);
        if let Some(step) = record.in_flight(phase) {
            let state = record.step(&step.name).map_or("", StepState::as_str);
            let by = record.steps.get(&step.name).map(|own| format!(" since {}, by {}", own.stamp.at, own.stamp.by));
            tally.block(Verdict::Closed, why::IN_FLIGHT, format!("step {} is {state}{}", step.name, by.unwrap_or_default()));
        } else if record.going_back(phase) {
            let next = record.next_undo(phase).map_or("", |step| &*step.name);
            tally.block(Verdict::Closed, why::GOING_BACK, format!("step {next} is to be undone next"));
        } else {
            return false;
        }
        true
    }

    /// What earlier phases stand for: no regression, and their required probes green.
    fn earlier_rows(&self, at: usize, tally: &mut Tally) {
        for regressed in &self.plan.phases {
            for (probe, regression) in &self.state.phase(&regressed.name).regressed {
                tally.push(Blocker {
                    phase: regressed.name.clone(),
                    probe: Some(probe.clone()),
                    verdict: Verdict::Closed,
                    state: None,
                    reason: why::REGRESSED.into(),
                    evidence: format!("went red at {}: {} {}", regression.since, regression.reason, regression.evidence).into(),
                });
            }
        }
        if let Some(earlier) = at.checked_sub(1) {
            for (probe, view) in self.required(earlier, tally).collect::<Vec<_>>() {
                self.probe_row(probe, view, tally);
            }
        }
    }

    /// Whether the next step of an active phase waits for this probe of it.
    fn guards_next(&self, phase: &PhasePlan, probe: &ProbePlan) -> bool {
        let seal_at = match probe.nature {
            NaturePlan::Proof { seal_at, .. } => Some(seal_at),
            NaturePlan::Continuous => None,
        };
        if phase.steps.is_empty() {
            return seal_at == Some(SealAt::Switch);
        }
        let next = self.state.phase(&phase.name).next_do(phase);
        next.is_some_and(|step| {
            step.switch && seal_at == Some(SealAt::Switch) || step.ponr && (seal_at == Some(SealAt::Ponr) || probe.before_ponr)
        })
    }

    fn seen(&self) -> impl Iterator<Item = (&'a ProbePlan, &'a ProbeView)> {
        self.plan.probes().map(|(_, probe)| probe).zip(self.probes)
    }

    /// The gate probes of the phases up to this one that count now; overridden ones are noted in the tally instead.
    fn required<'t>(
        &self,
        at: usize,
        tally: &'t mut Tally,
    ) -> impl Iterator<Item = (&'a ProbePlan, &'a ProbeView)> + use<'a, 't, '_> {
        self.seen().filter(move |(probe, view)| {
            let phase = self.plan.phases.get(view.phase).filter(|_| view.phase <= at);
            let counts = phase.is_some_and(|phase| self.state.asked_for(&phase.name, probe));
            let waived = if counts { self.state.overridden(probe, self.now.t) } else { None };
            tally.overrides.extend(waived);
            counts && waived.is_none()
        })
    }

    /// Row 1, as far as the ledger itself is concerned.
    fn ledger_rows(&self, tally: &mut Tally) {
        if let Some(unwritable) = &self.state.live.unwritable {
            tally.block(Verdict::Unknown, why::unwritable(unwritable), &unwritable.cause);
        }
    }

    fn earlier_complete(&self, at: usize, tally: &mut Tally) {
        for earlier in self.plan.phases.iter().take(at) {
            let state = self.state.phase(&earlier.name).state();
            if state != PhaseState::Complete {
                tally.push(Blocker {
                    phase: earlier.name.clone(),
                    probe: None,
                    verdict: Verdict::Closed,
                    state: None,
                    reason: why::EARLIER.into(),
                    evidence: format!("phase {} is {}", earlier.name, state.as_str()).into(),
                });
            }
        }
    }

    /// Row 2.
    fn phase_rows(&self, at: usize, phase: &PhasePlan, tally: &mut Tally) {
        self.earlier_complete(at, tally);
        let record = self.state.phase(&phase.name);
        if record.state() == PhaseState::Waiting {
            tally.block(Verdict::Closed, why::NOT_BEGUN, "the phase is not begun");
        } else if record.switched.is_none() && !self.steps_row(phase, tally) {
            match record.next_do(phase) {
                Some(step) => {
                    let done = phase.steps.iter().filter(|step| record.step(&step.name) == Some(StepState::Done)).count();
                    let words = format!("{done} of {} steps are done; the next is {}", phase.steps.len(), step.name);
                    tally.block(Verdict::Closed, why::STEPS_LEFT, words);
                }
                None => tally.block(Verdict::Closed, why::NOT_SWITCHED, "the phase has not switched to the new side"),
            }
        }
    }

    /// Rows 1 (a full round), 3, 4 and 5 for one probe. Only an explicit green adds nothing.
    fn probe_row(&self, probe: &ProbePlan, view: &ProbeView, tally: &mut Tally) {
        let verdict = match (view.sight.state, probe.is_proof()) {
            (ProbeState::Green, _) => return,
            (ProbeState::Red, _) => Verdict::Closed,
            (ProbeState::Unknown, false) => Verdict::Unknown,
            (ProbeState::Suspect | ProbeState::Waiting, _) | (ProbeState::Unknown, true) => Verdict::Pending,
        };
        let never_ran = self.state.live.probes.get(&probe.name).is_none_or(|record| record.last.is_none());
        tally.first_round |= never_ran && !probe.is_proof();
        tally.push(Blocker {
            phase: self.plan.phases.get(view.phase).map_or_else(|| tally.phase.clone(), |p| p.name.clone()),
            probe: Some(view.name.clone()),
            verdict,
            state: Some(view.sight.state),
            reason: view.sight.reason.clone().unwrap_or_else(|| why::SOAK.into()),
            evidence: view.sight.evidence.clone(),
        });
    }

    /// What the probe has served up to this moment, the time since the last epoch included.
    fn served(&self, phase: &PhasePlan, view: &ProbeView) -> Soak {
        let mut soak = self.state.soft.soaks.get(&view.name).cloned().unwrap_or_default();
        let switched = self.state.phase(&phase.name).switched.as_ref();
        if let (true, Some(last), Some(switched)) = (view.credited, &self.state.live.evaluation, switched) {
            soak.credit(last.at.t.max(switched.at.t), self.now.t, &phase.gate);
        }
        soak
    }

    /// Row 5, the soak.
    fn soak_row(
        &self,
        phase: &PhasePlan,
        probes: impl Iterator<Item = (&'a ProbePlan, &'a ProbeView)>,
        tally: &mut Tally,
    ) -> SoakView {
        let gate = &phase.gate;
        let mut least =
            SoakView { need: gate.soak, have: Duration::MAX, samples_need: gate.min_samples.max(1), samples_have: u32::MAX };
        for (probe, view) in probes {
            let soak = self.served(phase, view);
            let have = soak.have(self.now.t, gate);
            least.have = least.have.min(have);
            if !probe.is_proof() {
                least.samples_have = least.samples_have.min(soak.samples());
            }
            if let Some(short) = soak.short(self.now.t, gate, probe.is_proof()) {
                tally.push(Blocker {
                    phase: phase.name.clone(),
                    probe: Some(probe.name.clone()),
                    verdict: Verdict::Pending,
                    state: None,
                    reason: why::SOAK.into(),
                    evidence: soak_words(short, have, gate, soak.samples()).into(),
                });
            }
        }
        SoakView {
            have: if least.have == Duration::MAX { Duration::ZERO } else { least.have.min(gate.soak) },
            samples_have: if least.samples_have == u32::MAX { 0 } else { least.samples_have },
            ..least
        }
    }
}

fn soak_words(short: Short, have: Duration, gate: &GatePlan, samples: u32) -> String {
    match short {
        Short::RedInWindow(left) => format!("red within the last soak + unknownBudget; leaves that window in {}", span(left)),
        Short::Time(missing) => format!("green for {} of {}; {} to go", span(have), span(gate.soak), span(missing)),
        Short::Samples(missing) => format!("{samples} of {} passes; {missing} to go", gate.min_samples.max(1)),
        Short::Control => "the negative control has not failed since the last reset".into(),
    }
}

/// Collects blockers of one gate or guard.
struct Tally {
    phase: PhaseName,
    blockers: Vec<Blocker>,
    overrides: Vec<u64>,
    /// A required continuous probe has had no run since the start: row 1.
    first_round: bool,
}

impl Tally {
    const fn new(phase: PhaseName) -> Self {
        Self { phase, blockers: Vec::new(), overrides: Vec::new(), first_round: false }
    }

    fn push(&mut self, blocker: Blocker) {
        self.blockers.push(blocker);
    }

    fn block(&mut self, verdict: Verdict, reason: checks::ReasonSpec, evidence: impl AsRef<str>) {
        let phase = self.phase.clone();
        self.push(Blocker { phase, probe: None, verdict, state: None, reason: reason.into(), evidence: evidence.into() });
    }

    /// The first row that matches: 1 unknown (the ledger, nothing to look at, no full round), 2 and 3 closed, 4 unknown,
    /// 5 pending, 6 open.
    fn verdict(mut self, soak: SoakView) -> GateView {
        let row_one = self.first_round || self.blockers.iter().any(|b| b.verdict == Verdict::Unknown && b.probe.is_none());
        let has = |verdict| self.blockers.iter().any(|b| b.verdict == verdict);
        let verdict = if row_one {
            Verdict::Unknown
        } else if has(Verdict::Closed) {
            Verdict::Closed
        } else if has(Verdict::Unknown) {
            Verdict::Unknown
        } else if self.blockers.is_empty() {
            Verdict::Open
        } else {
            Verdict::Pending
        };
        let order = |b: &Blocker| (b.verdict != verdict, b.probe.is_some(), severity(b.verdict));
        self.blockers.sort_by_key(order);
        let blocked_by = self.blockers.len();
        self.blockers.truncate(MAX_BLOCKERS);
        let Self { phase, blockers, overrides, .. } = self;
        GateView { phase, verdict, blockers, blocked_by, overrides, soak, open_since: None }
    }
}

const fn severity(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Closed => 0,
        Verdict::Unknown => 1,
        Verdict::Pending => 2,
        Verdict::Open => 3,
    }
}
