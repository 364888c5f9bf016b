//! From a [`Reading`] to the wire types. Nothing is decided here: a verdict is the evaluation's own, or `unknown` when that
//! is too old to answer with.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use checks::{Outcome, ReasonSpec};

use super::reasons::{NOT_EVALUATED, ReasonBook};
use super::types::{
    BlockerBody, GateBody, GateKind, OverrideBody, PhaseBody, ProbeBody, RegressionBody, RemovalBody, RunBody, SCHEMA_VERSION,
    SoakBody, StampBody,
};
use super::{parts, words};
use crate::gate::{Blocker, Evaluation, GateView, ProbeView, SoakView, Verdict, phase_reasons as why};
use crate::ledger::Reading;
use crate::now::Now;
use crate::phase::can_roll_back;
use crate::plan::{PhasePlan, Plan, ProbePlan, TargetName};
use crate::state::{Override, PhaseState, ProbeState, Regression, Removal, RunRecord, Stamp, State, Trust};

mod steps;

pub(super) use steps::planned;

/// Blockers that a phase lists; its gate lists more.
const BLOCKERS_OF_A_PHASE: usize = 20;
/// Most probes that the body of a gate lists.
const MAX_LISTED: usize = 100;

/// A reading that can be rendered: a document is in force and was evaluated at least once.
pub(super) struct View<'a> {
    pub(super) state: &'a State,
    pub(super) plan: &'a Plan,
    pub(super) evaluation: &'a Evaluation,
    pub(super) fresh: bool,
    held: bool,
    /// The evaluation's own moment while it is fresh, so that one evaluation always renders the same.
    now: Now,
    pub(super) age: Duration,
    book: &'a ReasonBook,
}

impl<'a> View<'a> {
    /// None: there is nothing to render yet.
    pub(super) fn of(reading: &'a Reading, book: &'a ReasonBook) -> Option<Self> {
        let state = &*reading.snapshot.state;
        let (plan, evaluation) = (state.durable.plan.as_deref()?, reading.snapshot.evaluation.as_deref()?);
        let (fresh, age) = (reading.fresh().is_some(), evaluation.age(reading.now.t));
        let now = if fresh { evaluation.at } else { reading.now };
        Some(Self { state, plan, evaluation, fresh, held: reading.held, now, age, book })
    }

    /// One gate or guard. None: no such phase.
    pub(super) fn gate(&self, phase: &str, kind: GateKind) -> Option<GateBody> {
        let at = self.plan.position(phase)?;
        let plan = self.plan.phases.get(at)?;
        let state = self.state.phase(phase).state();
        let view = self.gate_view(phase, kind);
        let (verdict, blockers, blocked_by) = self.answer(view, phase);
        let open = verdict == Verdict::Open;
        let next_step = match (open, kind) {
            (true, GateKind::Gate) => words::exit_step(phase, state),
            (true, GateKind::Entry) => words::entry_step(plan, state),
            (false, _) => blockers.first().map_or_else(String::new, |blocker| blocker.next.clone()),
        };
        let counted = view.filter(|_| self.fresh);
        let overrides: BTreeSet<u64> = counted.map(|view| view.overrides.iter().copied().collect()).unwrap_or_default();
        Some(GateBody {
            schema_version: SCHEMA_VERSION,
            gate: phase.to_owned(),
            kind,
            open,
            verdict,
            phase_state: state,
            overridden: !overrides.is_empty(),
            reason: self.reason(counted, kind, verdict, &blockers, blocked_by),
            evaluated_at: Some(self.evaluation.at.utc),
            age_seconds: None,
            open_since: counted.and_then(|view| view.open_since).map(|since| since.utc),
            soak: counted.map_or_else(|| unserved(plan, kind), |view| soak(&view.soak)),
            probes: self.most_telling(|_, view| view.phase == at),
            probe_count: plan.probes.len(),
            blockers,
            blocked_by,
            ratchet: self.ratchet(at),
            epoch: self.evaluation.epoch,
            config_hash: Some(self.plan.hash.clone()),
            overrides: self.overrides().into_iter().filter(|exception| overrides.contains(&exception.id)).collect(),
            next_step,
        })
    }

    /// Whether a pending gate is pending for nothing but its soak. The list of blockers is bounded, and soaks come last in it.
    pub(super) fn only_soaking(&self, phase: &str, kind: GateKind) -> bool {
        let Some(view) = self.gate_view(phase, kind).filter(|view| self.fresh && view.verdict == Verdict::Pending) else {
            return false;
        };
        let soaks = |b: &Blocker| b.verdict == Verdict::Pending && b.state.is_none() && b.reason.as_str() == why::SOAK.name;
        !view.blockers.is_empty() && view.blockers.iter().all(soaks)
    }

    fn is_adopted_proof(&self, probe: &ProbePlan, view: &ProbeView) -> bool {
        let phase = self.plan.phases.get(view.phase);
        probe.is_proof() && phase.is_some_and(|phase| self.state.phase(&phase.name).adopted.is_some())
    }

    /// Every probe of the document that was evaluated.
    pub(super) fn seen(&self) -> impl Iterator<Item = (&'a ProbePlan, &'a ProbeView)> {
        self.plan.probes().map(|(_, probe)| probe).zip(&self.evaluation.probes).filter(|(probe, view)| probe.name == view.name)
    }

    fn gate_view(&self, phase: &str, kind: GateKind) -> Option<&'a GateView> {
        match kind {
            GateKind::Gate => self.evaluation.gate(phase),
            GateKind::Entry => self.evaluation.guard(phase),
        }
    }

    /// The verdict with its blockers. An evaluation that is too old, or does not know the phase, is no answer.
    fn answer(&self, view: Option<&GateView>, phase: &str) -> (Verdict, Vec<BlockerBody>, usize) {
        match view.filter(|_| self.fresh) {
            Some(view) => {
                let blockers = view.blockers.iter().map(|blocker| self.blocker(blocker)).collect();
                (view.verdict, blockers, view.blocked_by)
            }
            None => (Verdict::Unknown, vec![self.not_evaluated(phase)], 1),
        }
    }

    fn not_evaluated(&self, phase: &str) -> BlockerBody {
        BlockerBody {
            phase: phase.to_owned(),
            probe: None,
            verdict: Verdict::Unknown,
            state: None,
            reason: self.no_answer().name.to_owned(),
            evidence: self.staleness(),
            since: Some(self.evaluation.at.utc),
            next: self.no_answer().next.to_owned(),
        }
    }

    /// Why the evaluation is no answer, when it is none.
    const fn no_answer(&self) -> ReasonSpec {
        if self.held { NOT_EVALUATED } else { why::UNREACHABLE }
    }

    fn staleness(&self) -> String {
        if !self.held {
            return "the Lease could not be renewed in time: another verifier may answer for this migration by now".to_owned();
        }
        let (age, bound) = (self.age.as_secs_f64(), crate::gate::MAX_EPOCH_GAP.as_secs());
        format!("the last evaluation is {age:.1} s old; past {bound} s it is no answer")
    }

    fn reason(
        &self,
        view: Option<&GateView>,
        kind: GateKind,
        verdict: Verdict,
        blockers: &[BlockerBody],
        blocked_by: usize,
    ) -> String {
        match (view, kind, verdict) {
            (Some(view), GateKind::Gate, Verdict::Open) => words::open_gate(view, self.now.utc),
            (Some(view), GateKind::Entry, Verdict::Open) => format!("open: the next step of phase {} may run", view.phase),
            _ => words::sentence(verdict, blockers, blocked_by, self.now.utc),
        }
    }

    /// One blocker, with what would make it go away.
    pub(super) fn blocker(&self, blocker: &Blocker) -> BlockerBody {
        let probe = blocker.probe.as_deref();
        let plan = probe.and_then(|name| self.plan.probe(name)).map(|(_, plan)| plan);
        let next = match (plan, blocker.state) {
            (Some(plan), Some(_)) => self.book.of_probe(&plan.check, blocker.reason.as_str()),
            _ => self.book.of_phase(blocker.reason.as_str()),
        };
        let part = probe.and_then(|name| parts::vanished(self.state, name));
        BlockerBody {
            phase: blocker.phase.to_string(),
            probe: probe.map(ToOwned::to_owned),
            verdict: blocker.verdict,
            state: blocker.state,
            reason: blocker.reason.to_string(),
            evidence: blocker.evidence.to_string(),
            since: probe.and_then(|name| self.evaluation.probe(name)).map(|view| view.since.utc),
            next: words::fill(next, &blocker.phase, probe, part),
        }
    }

    /// Gate probes of earlier phases that stay required.
    fn ratchet(&self, at: usize) -> Vec<ProbeBody> {
        let required = |probe: &ProbePlan, view: &ProbeView| {
            view.phase < at && probe.gate && !view.retired && !self.is_adopted_proof(probe, view)
        };
        self.most_telling(required)
    }

    /// The chosen probes; of more than [`MAX_LISTED`] so many, those that are not green first. A gate is asked often.
    fn most_telling(&self, which: impl Fn(&ProbePlan, &ProbeView) -> bool) -> Vec<ProbeBody> {
        let mut chosen: Vec<_> = self.seen().filter(|(probe, view)| which(probe, view)).collect();
        if chosen.len() > MAX_LISTED {
            chosen.sort_by_key(|(_, view)| view.sight.state == ProbeState::Green);
            chosen.truncate(MAX_LISTED);
        }
        chosen.into_iter().map(|(probe, view)| self.probe_body(probe, view, parts::IN_LISTS)).collect()
    }

    /// All probes.
    pub(super) fn probes(&self) -> Vec<ProbeBody> {
        self.seen().map(|(probe, view)| self.probe_body(probe, view, parts::IN_LISTS)).collect()
    }

    /// One probe with all its parts. None: no such probe.
    pub(super) fn probe(&self, name: &str) -> Option<ProbeBody> {
        let (probe, view) = self.seen().find(|(probe, _)| &*probe.name == name)?;
        Some(self.probe_body(probe, view, parts::Shown::All))
    }

    /// One probe as it was evaluated.
    pub(super) fn probe_body(&self, probe: &ProbePlan, view: &ProbeView, shown: parts::Shown) -> ProbeBody {
        let phase = self.plan.phases.get(view.phase);
        let phase_name = phase.map_or("", |phase| &*phase.name);
        let record = self.state.live.probes.get(&probe.name);
        let last = record.and_then(|record| record.last.as_ref());
        let proof = self.state.durable.proofs.get(&probe.name).filter(|proof| proof.hash == probe.hash && proof.failed.is_none());
        let (state, reason, evidence) = if self.fresh {
            let sight = &view.sight;
            (sight.state, sight.reason.as_ref().map(ToString::to_string), sight.evidence.to_string())
        } else {
            let before = format!("{}; before that it was {}", self.staleness(), view.sight.state.as_str());
            (ProbeState::Unknown, Some(self.no_answer().name.to_owned()), before)
        };
        let part = parts::vanished(self.state, &probe.name);
        let next = reason.as_deref().map(|reason| self.book.of_probe(&probe.check, reason));
        let own = self.state.soft.soaks.get(&probe.name).zip(phase);
        let soak = own.map(|(soak, phase)| SoakBody {
            need: phase.gate.soak.as_secs_f64(),
            have: soak.have(self.now.t, &phase.gate).min(phase.gate.soak).as_secs_f64(),
            samples_need: if probe.is_proof() { 0 } else { phase.gate.min_samples.max(1) },
            samples_have: soak.samples(),
        });
        ProbeBody {
            name: probe.name.to_string(),
            phase: phase_name.to_owned(),
            check: probe.check.clone(),
            state,
            reason,
            evidence,
            next: next.map(|next| words::fill(next, phase_name, Some(&probe.name), part)),
            since: Some(view.since.utc),
            last_pass: proof.map(|proof| proof.at).or_else(|| record.and_then(|record| record.last_pass)).map(|pass| pass.utc),
            last_run: last.map(|run| run.started.utc),
            age_seconds: last.map(|run| self.now.t.since(run.started.t).as_secs_f64()),
            gate: probe.gate,
            preflight: probe.preflight,
            proof: probe.is_proof(),
            retired: view.retired,
            tripwire: probe.tripwire,
            overridden: self.state.overridden(probe, self.now.t).is_some(),
            consecutive_failures: record.map_or(0, |record| record.fails),
            control: trust(record.map(|record| record.trust(probe, self.now.t))).to_owned(),
            soak: soak.unwrap_or_else(|| phase.map_or_else(SoakBody::default, |phase| unserved(phase, GateKind::Gate))),
            parts: last.map_or_else(Vec::new, |run| parts::bodies(run, shown)),
            // What is too old to be evaluated shows no way that is open.
            trails: last.filter(|_| self.fresh).map_or_else(Vec::new, |run| parts::trails(run, shown)),
        }
    }

    /// The active overrides.
    pub(super) fn overrides(&self) -> Vec<OverrideBody> {
        let active = self.state.durable.overrides.iter().filter(|(_, exception)| exception.until > self.now.t);
        active.map(|(id, exception)| self.exception(*id, exception)).collect()
    }

    fn exception(&self, id: u64, exception: &Override) -> OverrideBody {
        OverrideBody {
            id,
            probe: exception.probe.to_string(),
            reason: exception.reason.clone(),
            ticket: exception.ticket.clone(),
            by: exception.stamp.by.clone(),
            since: exception.stamp.at.utc,
            remaining_seconds: exception.until.since(self.now.t).as_secs_f64(),
        }
    }

    /// The old sides that were removed.
    pub(super) fn removals(&self) -> Vec<RemovalBody> {
        let body = |(target, removal): (&TargetName, &Removal)| RemovalBody {
            target: target.to_string(),
            stamp: stamp(&removal.stamp),
            reason: removal.reason.clone(),
            gone: removal.gone.map(|gone| gone.utc),
            tripwires: self.plan.tripwires(target).map(|probe| probe.name.to_string()).collect(),
        };
        self.state.durable.removals.iter().map(body).collect()
    }

    /// One phase. None: no such phase.
    pub(super) fn phase(&self, name: &str) -> Option<PhaseBody> {
        let at = self.plan.position(name)?;
        let plan = self.plan.phases.get(at)?;
        let record = self.state.phase(name);
        let view = self.gate_view(name, GateKind::Gate);
        let (verdict, mut blockers, blocked_by) = self.answer(view, name);
        let counted = view.filter(|_| self.fresh);
        let reason = self.reason(counted, GateKind::Gate, verdict, &blockers, blocked_by);
        blockers.truncate(BLOCKERS_OF_A_PHASE);
        let mut colours: BTreeMap<String, usize> = ProbeState::ALL.iter().map(|state| (state.as_str().to_owned(), 0)).collect();
        for view in self.evaluation.probes.iter().filter(|view| view.phase == at && !view.retired) {
            let state = if self.fresh { view.sight.state } else { ProbeState::Unknown };
            *colours.entry(state.as_str().to_owned()).or_default() += 1;
        }
        Some(PhaseBody {
            name: name.to_owned(),
            state: record.state(),
            begun: record.begun.as_ref().map(stamp),
            switching: record.switching.as_ref().map(stamp),
            switched: record.switched.as_ref().map(stamp),
            ponr_crossed: record.ponr.as_ref().map(stamp),
            steps: self.steps(plan),
            complete: record.complete.as_ref().map(stamp),
            adopted: record.adopted.clone(),
            regressed: regressions(&record.regressed),
            verdict,
            reason,
            soak: counted.map_or_else(|| unserved(plan, GateKind::Gate), |view| soak(&view.soak)),
            blockers,
            blocked_by,
            overridden: counted.is_some_and(|view| !view.overrides.is_empty()),
            probes: colours,
            can_roll_back: can_roll_back(self.state, self.plan, name).is_ok(),
        })
    }

    /// What to do next, in the imperative.
    pub(super) fn next_step(&self) -> String {
        if !self.fresh {
            return self.no_answer().next.to_owned();
        }
        if let Some(unwritable) = &self.state.live.unwritable {
            return why::unwritable(unwritable).next.to_owned();
        }
        let in_state =
            |state: PhaseState| self.plan.phases.iter().find(move |phase| self.state.phase(&phase.name).state() == state);
        if let Some(regressed) = self.plan.phases.iter().find(|phase| !self.state.phase(&phase.name).regressed.is_empty()) {
            return words::fill(why::REGRESSED.next, &regressed.name, None, None);
        }
        let (phase, kind) = match (in_state(PhaseState::Active), in_state(PhaseState::Waiting)) {
            (Some(active), _) if self.state.phase(&active.name).switched.is_some() => (active, GateKind::Gate),
            (Some(active), _) => (active, GateKind::Entry),
            (None, Some(waiting)) => (waiting, GateKind::Entry),
            (None, None) => return "nothing to do: every phase is complete".to_owned(),
        };
        let (verdict, blockers, _) = self.answer(self.gate_view(&phase.name, kind), &phase.name);
        let state = self.state.phase(&phase.name).state();
        match (verdict, kind, blockers.first()) {
            (Verdict::Open, GateKind::Gate, _) => words::exit_step(&phase.name, state),
            (Verdict::Open, GateKind::Entry, _) => words::entry_step(phase, state),
            (_, _, Some(blocker)) => blocker.next.clone(),
            (_, _, None) => String::new(),
        }
    }
}

const fn trust(trust: Option<Trust>) -> &'static str {
    match trust {
        Some(Trust::Trusted(_)) => "trusted",
        Some(Trust::Untrusted) => "untrusted",
        Some(Trust::Untested) | None => "untested",
    }
}

fn soak(view: &SoakView) -> SoakBody {
    SoakBody {
        need: view.need.as_secs_f64(),
        have: view.have.as_secs_f64(),
        samples_need: view.samples_need,
        samples_have: view.samples_have,
    }
}

/// What a gate needs, with nothing served; guards need none.
fn unserved(phase: &PhasePlan, kind: GateKind) -> SoakBody {
    match kind {
        GateKind::Gate => {
            SoakBody { need: phase.gate.soak.as_secs_f64(), samples_need: phase.gate.min_samples.max(1), ..SoakBody::default() }
        }
        GateKind::Entry => SoakBody::default(),
    }
}

/// A stamp on the wire.
pub(super) fn stamp(stamp: &Stamp) -> StampBody {
    StampBody { at: stamp.at.utc, by: stamp.by.clone() }
}

/// Latched regressions on the wire.
pub(super) fn regressions(latched: &BTreeMap<crate::plan::ProbeName, Regression>) -> Vec<RegressionBody> {
    let body = |(probe, regression): (&crate::plan::ProbeName, &Regression)| RegressionBody {
        probe: probe.to_string(),
        since: regression.since.utc,
        reason: regression.reason.to_string(),
        evidence: regression.evidence.to_string(),
    };
    latched.iter().map(body).collect()
}

/// A Run on the wire.
pub(super) fn run(record: &RunRecord, shown: parts::Shown) -> RunBody {
    let slice = record.progress.as_ref();
    RunBody {
        started: record.started.utc,
        duration_seconds: record.finished.t.since(record.started.t).as_secs_f64(),
        outcome: if slice.is_some() { "progress" } else { record.outcome.label() }.to_owned(),
        reason: record.outcome.reason().map(ToString::to_string),
        evidence: slice.map_or_else(
            || Outcome::evidence(&record.outcome).to_string(),
            |slice| format!("{} of {}: {}", slice.done, slice.total, slice.note),
        ),
        parts: parts::bodies(record, shown),
    }
}
