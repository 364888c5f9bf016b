//! PURE. The steps of a phase: who may run them, when one may start, and what its end takes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::event::{Event, Refusal, RefusalKind, StepEnd, Way};
use crate::gate::{Blocker, Evaluation, GateView, ProbeView, Verdict, evaluate};
use crate::now::{Millis, Now};
use crate::phase::{Desk, conflict, invalid, open, said};
use crate::plan::{PhaseName, PhasePlan, Plan, ProbeName, ProbePlan, SealAt, StepName, StepPlan, TargetName};
use crate::state::{Lock, PhaseRecord, PhaseState, ProbeState, State, StepState};

/// Shortest and longest lease: a shorter one is lost by one slow answer, a longer one keeps others out for no reason.
pub const TTL: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);
/// Longest note of a step's end, in characters.
const MAX_NOTE: usize = 2_000;
/// Longest name of a place, in characters.
const MAX_PLACE: usize = 200;

/// Why the lock is not to be had.
pub(crate) fn held(lock: &Lock, why: &str) -> Refusal {
    let Lock { id, phase, stamp, place, .. } = lock;
    let at = stamp.at;
    Refusal::new(RefusalKind::Locked, format!("{why}: {} holds lock {id} for phase {phase} since {at}, on {place}", stamp.by))
}

/// The right to run a phase's steps.
pub(crate) fn lock(desk: &Desk<'_>, phase: &PhaseName, place: &str, ttl: Duration, own: Option<u64>) -> Result<Event, Refusal> {
    let (_, phase) = desk.phase(phase)?;
    if !TTL.contains(&ttl) {
        return Err(invalid("a lock holds for 1 second to 1 hour without being renewed"));
    }
    if let Some(lock) = &desk.state.durable.lock {
        // The number is no secret, so it alone proves nothing.
        let goes_on = own == Some(lock.id) && lock.phase == phase.name && lock.stamp.by == desk.stamp.by;
        if !goes_on && let Some(lock) = desk.state.locked(desk.now.t) {
            return Err(held(lock, "the lock is not free"));
        }
    }
    let lock = Lock {
        id: desk.state.durable.next_lock.saturating_add(1),
        phase: phase.name.clone(),
        stamp: desk.stamp.clone(),
        place: one_line(place),
        ttl,
    };
    Ok(Event::LockTaken { lock })
}

/// The holder is still there.
pub(crate) fn renew(desk: &Desk<'_>, id: u64) -> Result<Event, Refusal> {
    own(desk, id)?;
    Ok(Event::LockRenewed { id, at: desk.now.t })
}

/// The holder is done.
pub(crate) fn release(desk: &Desk<'_>, id: u64) -> Result<Event, Refusal> {
    let lock = own(desk, id)?;
    let phase = desk.plan.phase(&lock.phase);
    if let Some(step) = phase.and_then(|phase| desk.state.phase(&phase.name).in_flight(phase)) {
        return Err(conflict(format!("step {} is in flight: say how it ended first", step.name)));
    }
    Ok(Event::LockReleased { id, phase: lock.phase.clone(), stamp: desk.stamp.clone(), forced: None })
}

/// Somebody else ends the lock.
pub(crate) fn force_release(desk: &Desk<'_>, id: u64, reason: &str) -> Result<Event, Refusal> {
    let forced = Some(said(reason)?);
    let lock = newest(desk, id)?;
    Ok(Event::LockReleased { id, phase: lock.phase.clone(), stamp: desk.stamp.clone(), forced })
}

/// The lock with this id, if it is the newest and the sender's.
pub(crate) fn own<'a>(desk: &Desk<'a>, id: u64) -> Result<&'a Lock, Refusal> {
    let lock = newest(desk, id)?;
    if lock.stamp.by == desk.stamp.by { Ok(lock) } else { Err(held(lock, &format!("lock {id} is not yours"))) }
}

/// The lock with this id, if it is the newest.
fn newest<'a>(desk: &Desk<'a>, id: u64) -> Result<&'a Lock, Refusal> {
    match &desk.state.durable.lock {
        Some(lock) if lock.id == id => Ok(lock),
        Some(lock) => Err(held(lock, &format!("lock {id} is not in force any more"))),
        None => Err(Refusal::new(RefusalKind::Locked, format!("lock {id} was released"))),
    }
}

/// A phase and one of its steps, for somebody who holds the lock of that phase.
struct Bench<'a> {
    at: usize,
    phase: &'a PhasePlan,
    step: &'a StepPlan,
    record: &'a PhaseRecord,
    lock: u64,
}

impl<'a> Bench<'a> {
    fn of(desk: &Desk<'a>, phase: &PhaseName, step: &str) -> Result<Self, Refusal> {
        let (at, phase) = desk.phase(phase)?;
        let unknown = || {
            let names: Vec<&str> = phase.steps.iter().map(|step| &*step.name).collect();
            let has = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            Refusal::new(RefusalKind::NotFound, format!("phase {} has no step `{step}`; it has {has}", phase.name))
        };
        let step = phase.step(step).ok_or_else(unknown)?;
        let Some(lock) = desk.terms.lock else {
            return Err(Refusal::new(RefusalKind::Locked, "steps run under a lock: take it first"));
        };
        let held_for = own(desk, lock)?;
        if held_for.phase != phase.name {
            return Err(held(held_for, &format!("lock {lock} is not for phase {}", phase.name)));
        }
        Ok(Self { at, phase, step, record: desk.state.phase(&phase.name), lock })
    }

    fn stands(&self) -> Option<StepState> {
        self.record.step(&self.step.name)
    }

    fn refuse(&self, why: impl std::fmt::Display) -> Refusal {
        conflict(format!("step {} of phase {} can not start: {why}", self.step.name, self.phase.name))
    }
}

/// A step starts.
pub(crate) fn start(desk: &Desk<'_>, phase: &PhaseName, step: &str, way: Way, checked: bool) -> Result<Event, Refusal> {
    let bench = Bench::of(desk, phase, step)?;
    if desk.terms.document.is_none() {
        return Err(Refusal::new(RefusalKind::Moved, "steps run from a document of your own: say its hash"));
    }
    if let Some(other) = bench.record.in_flight(bench.phase) {
        return Err(bench.refuse(format_args!("step {} is in flight", other.name)));
    }
    let seals = match way {
        Way::Do => may_do(desk, &bench, checked)?,
        Way::Undo => may_undo(desk, &bench)?,
    };
    Ok(Event::StepStarted {
        phase: bench.phase.name.clone(),
        step: bench.step.name.clone(),
        way,
        stamp: desk.stamp.clone(),
        lock: bench.lock,
        checked,
        switch: bench.step.switch,
        ponr: bench.step.ponr,
        seals,
    })
}

fn may_do(desk: &Desk<'_>, bench: &Bench<'_>, checked: bool) -> Result<Vec<ProbeName>, Refusal> {
    let Bench { phase, step, record, .. } = bench;
    if record.state() != PhaseState::Active {
        return Err(bench.refuse(format_args!("the phase is {}", record.state().as_str())));
    }
    if record.going_back(phase) {
        return Err(bench.refuse(format_args!(
            "the phase is on its way back; `cutover rollback {} --reason …` brings that to its end",
            phase.name
        )));
    }
    match record.next_do(phase) {
        Some(next) if next.name == step.name => {}
        Some(next) => return Err(bench.refuse(format_args!("the next step is {}", next.name))),
        None => return Err(bench.refuse("all steps are done")),
    }
    if matches!(bench.stands(), Some(StepState::Failed | StepState::Interrupted)) && !checked {
        return Err(bench.refuse("it was started before: look first whether it is done"));
    }
    if step.ponr && desk.terms.confirm.as_deref() != Some(&*phase.name) {
        let words = format!("step {} is the point of no return; `--confirm={}` says that it is meant", step.name, phase.name);
        return Err(Refusal::new(RefusalKind::Unconfirmed, words));
    }
    open(evaluate(desk.state, desk.now).guards.get(bench.at), "go on")?;
    let due = [(step.switch, SealAt::Switch), (step.ponr, SealAt::Ponr)];
    Ok(due.into_iter().filter(|(due, _)| *due).flat_map(|(_, event)| desk.seals(phase, event)).collect())
}

fn may_undo(desk: &Desk<'_>, bench: &Bench<'_>) -> Result<Vec<ProbeName>, Refusal> {
    desk.leads_back(bench.phase)?;
    match bench.record.next_undo(bench.phase) {
        Some(next) if next.name == bench.step.name => Ok(Vec::new()),
        Some(next) => Err(bench.refuse(format_args!("the next to undo is {}", next.name))),
        None => Err(bench.refuse("nothing is left to undo")),
    }
}

/// The `do` of a step is over.
pub(crate) fn worked(desk: &Desk<'_>, phase: &PhaseName, step: &str) -> Result<Event, Refusal> {
    let bench = Bench::of(desk, phase, step)?;
    if bench.stands() != Some(StepState::Running) {
        return Err(not_in_flight(&bench));
    }
    Ok(Event::StepWorked { phase: bench.phase.name.clone(), step: bench.step.name.clone(), stamp: desk.stamp.clone() })
}

fn not_in_flight(bench: &Bench<'_>) -> Refusal {
    let state = bench.stands().map_or("not started", StepState::as_str);
    conflict(format!("step {} of phase {} is {state}", bench.step.name, bench.phase.name))
}

/// A step has ended; with the last one, its phase has switched.
pub(crate) fn end(desk: &Desk<'_>, phase: &PhaseName, step: &str, end: StepEnd, note: &str) -> Result<Vec<Event>, Refusal> {
    let bench = Bench::of(desk, phase, step)?;
    let stands = bench.stands().filter(|state| state.in_flight()).ok_or_else(|| not_in_flight(&bench))?;
    let way = if stands == StepState::Undoing { Way::Undo } else { Way::Do };
    if way == Way::Do && end == StepEnd::Done {
        verified(desk, &bench, stands)?;
    }
    let mut events = vec![Event::StepEnded {
        phase: bench.phase.name.clone(),
        step: bench.step.name.clone(),
        way,
        stamp: desk.stamp.clone(),
        end,
        switch: bench.step.switch,
        note: note.chars().take(MAX_NOTE).collect(),
    }];
    let others = |other: &&StepPlan| other.name != bench.step.name;
    let rest_done = || bench.phase.steps.iter().filter(others).all(|s| bench.record.step(&s.name) == Some(StepState::Done));
    if way == Way::Do && end == StepEnd::Done && rest_done() {
        events.push(Event::PhaseSwitched { phase: bench.phase.name.clone(), stamp: desk.stamp.clone(), seals: Vec::new() });
    }
    Ok(events)
}

/// Whether what a step must bring about is to be seen, by looks that began after its work was over.
fn verified(desk: &Desk<'_>, bench: &Bench<'_>, stands: StepState) -> Result<(), Refusal> {
    let Bench { step, .. } = bench;
    if stands == StepState::Running {
        if step.verify.is_empty() && step.disturbs.is_empty() && step.gate.is_none() {
            return Ok(());
        }
        return Err(conflict(format!("step {} has probes to look at: say first that its work is over", step.name)));
    }
    let evaluation = evaluate(desk.state, desk.now);
    let since = bench.record.steps.get(&step.name).map_or(desk.now.t, |record| record.stamp.at.t);
    let look = Verification { desk, evaluation: &evaluation, since };
    let green: &[ProbeState] = &[ProbeState::Green];
    let calm: &[ProbeState] = &[ProbeState::Green, ProbeState::Waiting];
    let verify = step.verify.iter().filter_map(|name| look.missing(name, green));
    let disturbs = step.disturbs.iter().filter(|name| look.would_latch(name)).filter_map(|name| look.missing(name, calm));
    let mut blockers: Vec<Blocker> = verify.chain(disturbs).collect();
    if let Some(gate) = &step.gate {
        let view = evaluation.gate(gate).filter(|view| view.verdict == Verdict::Open);
        blockers.extend(view.is_none().then(|| gate_blocker(gate, evaluation.gate(gate))));
    }
    if blockers.is_empty() {
        return Ok(());
    }
    let has = |verdict| blockers.iter().any(|blocker| blocker.verdict == verdict);
    let verdict = [Verdict::Closed, Verdict::Unknown].into_iter().find(|verdict| has(*verdict)).unwrap_or(Verdict::Pending);
    let message = format!("step {} is not done: {} of what it must bring about is missing", step.name, blockers.len());
    Err(Refusal { kind: RefusalKind::Gate(verdict), message, blockers })
}

fn gate_blocker(gate: &PhaseName, view: Option<&GateView>) -> Blocker {
    let first = view.and_then(|view| view.blockers.first());
    Blocker {
        phase: gate.clone(),
        probe: None,
        verdict: view.map_or(Verdict::Unknown, |view| view.verdict),
        state: None,
        reason: first.map_or_else(|| crate::gate::phase_reasons::NO_CONFIG.into(), |blocker| blocker.reason.clone()),
        evidence: first.map_or_else(|| "there is no such gate".into(), |blocker| blocker.evidence.clone()),
    }
}

/// A look at what a step must bring about.
struct Verification<'a> {
    desk: &'a Desk<'a>,
    evaluation: &'a Evaluation,
    /// When the step's work was over.
    since: Millis,
}

impl<'a> Verification<'a> {
    fn found(&self, name: &str) -> Option<(&'a PhasePlan, &'a ProbePlan, &'a ProbeView)> {
        let (at, probe) = self.desk.plan.probe(name)?;
        Some((self.desk.plan.phases.get(at)?, probe, self.evaluation.probe(name)?))
    }

    /// Why a probe does not show one of these colours yet, if it does not.
    fn missing(&self, name: &str, wanted: &[ProbeState]) -> Option<Blocker> {
        let (phase, probe, view) = self.found(name)?;
        if self.desk.state.overridden(probe, self.desk.now.t).is_some() {
            return None;
        }
        let last = self.desk.state.live.probes.get(name).and_then(|record| record.last.as_ref());
        let fresh = probe.is_proof() || last.is_some_and(|run| run.started.t >= self.since);
        if fresh && wanted.contains(&view.sight.state) {
            return None;
        }
        let verdict = match view.sight.state {
            ProbeState::Red => Verdict::Closed,
            ProbeState::Unknown => Verdict::Unknown,
            ProbeState::Green | ProbeState::Suspect | ProbeState::Waiting => Verdict::Pending,
        };
        let reason = view.sight.reason.clone().filter(|_| fresh || !wanted.contains(&view.sight.state));
        Some(Blocker {
            phase: phase.name.clone(),
            probe: Some(probe.name.clone()),
            verdict,
            state: Some(view.sight.state),
            reason: reason.unwrap_or_else(|| crate::gate::phase_reasons::BEFORE_THE_STEP.into()),
            evidence: view.sight.evidence.clone(),
        })
    }

    /// Whether a red of this probe would be a regression.
    fn would_latch(&self, name: &str) -> bool {
        self.found(name).is_some_and(|(phase, probe, view)| watched(self.desk.state, phase, probe, view, self.desk.now))
    }
}

/// Whether a red of this probe would be a regression of its phase.
pub(crate) fn watched(state: &State, phase: &PhasePlan, probe: &ProbePlan, view: &ProbeView, now: Now) -> bool {
    let record = state.phase(&phase.name);
    let required = probe.gate && !view.retired && !(probe.is_proof() && record.adopted.is_some());
    required && record.state() == PhaseState::Complete && state.overridden(probe, now.t).is_none()
}

/// Somebody finds the plan of a phase right.
pub(crate) fn approve(desk: &Desk<'_>, phase: &PhaseName, plan: &str) -> Result<Event, Refusal> {
    let (_, phase) = desk.phase(phase)?;
    same_plan(desk, phase, plan)?;
    Ok(Event::PlanApproved { phase: phase.name.clone(), stamp: desk.stamp.clone(), plan: plan.to_owned() })
}

/// How long steps took somewhere else.
pub(crate) fn rehearsed(desk: &Desk<'_>, phase: &PhaseName, spans: &BTreeMap<StepName, Duration>) -> Result<Event, Refusal> {
    let (_, phase) = desk.phase(phase)?;
    if let Some(other) = spans.keys().find(|step| phase.step(step).is_none()) {
        return Err(invalid(format!("phase {} has no step `{other}`", phase.name)));
    }
    if spans.is_empty() {
        return Err(invalid("a rehearsal took the time of one step at least"));
    }
    Ok(Event::StepsRehearsed { phase: phase.name.clone(), stamp: desk.stamp.clone(), spans: spans.clone() })
}

/// What the sender of `begin` has seen, and what somebody else has approved, is what is.
pub(crate) fn keeps_plan(desk: &Desk<'_>, phase: &PhasePlan) -> Result<(), Refusal> {
    if let Some(seen) = &desk.terms.plan {
        same_plan(desk, phase, seen)?;
    }
    if !phase.four_eyes {
        return Ok(());
    }
    let name = &phase.name;
    let next = format!("`cutover plan {name} --out FILE`, and somebody else says `cutover approve {name} --plan FILE`");
    let Some(approval) = desk.state.durable.approvals.get(name) else {
        return Err(conflict(format!("phase {name} wants four eyes, and nobody has approved its plan: {next}")));
    };
    if approval.stamp.by == desk.stamp.by {
        return Err(conflict(format!("phase {name} wants four eyes: its plan was approved by {}, who begins it", desk.stamp.by)));
    }
    same_plan(desk, phase, &approval.plan)
        .map_err(|_| conflict(format!("what {} approved for phase {name} has changed since: {next}", approval.stamp.by)))
}

fn same_plan(desk: &Desk<'_>, phase: &PhasePlan, seen: &str) -> Result<(), Refusal> {
    let is = plan_hash(desk.state, &phase.name).unwrap_or_default();
    if is == seen {
        return Ok(());
    }
    let message =
        format!("the plan {seen} of phase {} is not what it would do now ({is}): look at `cutover plan` again", phase.name);
    Err(Refusal::new(RefusalKind::Moved, message))
}

/// Everything that a plan depends on: where the phases and their steps stand, what has regressed, is overridden or removed.
#[derive(Serialize)]
struct Seen<'a> {
    phase: &'a str,
    document: &'a str,
    phases: Vec<(&'a str, &'a PhaseRecord)>,
    overrides: Vec<u64>,
    removals: Vec<&'a TargetName>,
}

/// SHA-256 (hex) of everything that the plan of a phase depends on; none for an unknown phase. Two moments with the same hash
/// have the same plan.
pub fn plan_hash(state: &State, phase: &str) -> Option<String> {
    let plan = state.durable.plan.as_deref()?;
    plan.phase(phase)?;
    let seen = Seen {
        phase,
        document: &plan.hash,
        phases: plan.phases.iter().map(|phase| (&*phase.name, state.phase(&phase.name))).collect(),
        overrides: state.durable.overrides.keys().copied().collect(),
        removals: state.durable.removals.keys().collect(),
    };
    let json = serde_json::to_vec(&seen).ok()?;
    Some(Sha256::digest(json).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}")))
}

/// The steps of a phase that has begun to run them keep their order and their marks.
pub(crate) fn keeps_steps(state: &State, old: &Plan, new: &Plan) -> Result<(), Refusal> {
    let shape = |phase: &PhasePlan| phase.steps.iter().map(|s| (s.name.clone(), s.switch, s.ponr)).collect::<Vec<_>>();
    for phase in old.phases.iter().filter(|phase| !state.phase(&phase.name).steps.is_empty()) {
        if new.phase(&phase.name).map(shape) != Some(shape(phase)) {
            return Err(conflict(format!(
                "phase {} has begun to run its steps: they can not be added, removed, renamed or moved, nor change `switch` or `ponr`; roll it back first",
                phase.name
            )));
        }
    }
    Ok(())
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_PLACE).collect()
}
