//! PURE. Phases: begin, switch, complete, roll back, adopt; and what a new document may change. Their steps are in
//! [`crate::steps`].

use std::sync::Arc;
use std::time::Duration;

use crate::event::{Command, Event, Refusal, RefusalKind, Terms, Wish};
use crate::gate::{GateView, Verdict, evaluate};
use crate::now::Now;
use crate::plan::{NaturePlan, PhaseName, PhasePlan, Plan, SealAt};
use crate::state::{PhaseState, ProbeState, Stamp, State};
use crate::steps;

pub(crate) mod facts;
mod removal;

/// Longest text of a reason given by a person, in characters.
const MAX_REASON: usize = 500;
/// Longest override.
pub const MAX_OVERRIDE: Duration = Duration::from_hours(7 * 24);
/// Most facts and most overrides.
const MAX_RECORDS: usize = 1000;

/// A person's wish.
pub fn command(state: &State, command: &Command, now: Now) -> Result<Vec<Event>, Refusal> {
    let plan = state
        .durable
        .plan
        .as_deref()
        .ok_or_else(|| Refusal::new(RefusalKind::Conflict, "no Migration document was ever loaded"))?;
    let stamp = Stamp { at: now, by: command.by.clone() };
    let desk = Desk { state, plan, now, stamp, terms: &command.terms };
    desk.keeps_document()?;
    let about_the_lock = matches!(command.wish, Wish::Lock { .. } | Wish::Renew(_) | Wish::Release(_) | Wish::ForceRelease(..));
    if !about_the_lock {
        desk.keeps_lock()?;
    }
    desk.carry_out(&command.wish)
}

pub(crate) fn conflict(message: impl Into<String>) -> Refusal {
    Refusal::new(RefusalKind::Conflict, message)
}

pub(crate) fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(RefusalKind::Invalid, message)
}

pub(crate) fn said(reason: &str) -> Result<String, Refusal> {
    let reason = reason.trim();
    if reason.is_empty() {
        return Err(invalid("a reason is needed, for those who read the audit trail later"));
    }
    Ok(reason.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_REASON).collect())
}

/// One command at one moment.
pub(crate) struct Desk<'a> {
    pub(crate) state: &'a State,
    pub(crate) plan: &'a Plan,
    pub(crate) now: Now,
    pub(crate) stamp: Stamp,
    pub(crate) terms: &'a Terms,
}

impl<'a> Desk<'a> {
    fn carry_out(&self, wish: &Wish) -> Result<Vec<Event>, Refusal> {
        let event = match wish {
            Wish::Begin(phase) => self.alone().and_then(|()| self.begin(phase)),
            Wish::Switch(phase) => self.alone().and_then(|()| self.switch(phase)),
            Wish::Complete(phase) => self.alone().and_then(|()| self.complete(phase)),
            Wish::Rollback(phase, reason) => self.alone().and_then(|()| self.rollback(phase, reason)),
            Wish::Adopt(phase, reason) => self.alone().and_then(|()| self.adopt(phase, reason)),
            Wish::StartStep { phase, step, way, checked } => steps::start(self, phase, step, *way, *checked),
            Wish::StepWorked(phase, step) => steps::worked(self, phase, step),
            Wish::EndStep { phase, step, end, note } => return steps::end(self, phase, step, *end, note),
            Wish::Approve(phase, plan) => steps::approve(self, phase, plan),
            Wish::Decommission(target, reason) => self.alone().and_then(|()| removal::decommission(self, target, reason)),
            Wish::Recommission(target, reason) => self.alone().and_then(|()| removal::recommission(self, target, reason)),
            Wish::Rehearsed(phase, spans) => steps::rehearsed(self, phase, spans),
            Wish::Acknowledge(phase, reason) => self.acknowledge(phase, reason),
            Wish::Override { probe, reason, ticket, ttl } => self.exempt(probe, reason, ticket.as_deref(), *ttl),
            Wish::Revoke(id) => self.revoke(*id),
            Wish::Record(name, value) => return facts::record(self, name, value),
            Wish::Forget(probe, part) => self.forget(probe, part),
            Wish::Lock { phase, place, ttl, own } => steps::lock(self, phase, place, *ttl, *own),
            Wish::Renew(id) => steps::renew(self, *id),
            Wish::Release(id) => steps::release(self, *id),
            Wish::ForceRelease(id, reason) => steps::force_release(self, *id, reason),
        };
        event.map(|event| vec![event])
    }

    /// The document that the sender has is the one in force.
    fn keeps_document(&self) -> Result<(), Refusal> {
        match &self.terms.document {
            Some(hash) if *hash != self.plan.hash => Err(Refusal::new(
                RefusalKind::Moved,
                format!("your document has the hash {hash}, the one in force has {}", self.plan.hash),
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// The lock that the sender names is the newest.
    fn keeps_lock(&self) -> Result<(), Refusal> {
        self.terms.lock.map_or(Ok(()), |id| steps::own(self, id).map(drop))
    }

    /// Nobody else holds the lock.
    fn alone(&self) -> Result<(), Refusal> {
        match self.state.locked(self.now.t) {
            Some(lock) if self.terms.lock != Some(lock.id) => Err(steps::held(lock, "somebody else is at work")),
            Some(_) | None => Ok(()),
        }
    }

    pub(crate) fn phase(&self, name: &str) -> Result<(usize, &'a PhasePlan), Refusal> {
        let known = || {
            let names: Vec<&str> = self.plan.phases.iter().map(|p| &*p.name).collect();
            Refusal::new(RefusalKind::NotFound, format!("no phase `{name}`; the document has {}", names.join(", ")))
        };
        let at = self.plan.position(name).ok_or_else(known)?;
        self.plan.phases.get(at).map(|phase| (at, phase)).ok_or_else(known)
    }

    fn begin(&self, name: &PhaseName) -> Result<Event, Refusal> {
        let (at, phase) = self.phase(name)?;
        if self.state.phase(name).state() == PhaseState::Active {
            return Err(conflict(format!("phase {name} is active already")));
        }
        steps::keeps_plan(self, phase)?;
        open(evaluate(self.state, self.now).guards.get(at), "begin")?;
        Ok(Event::PhaseBegun { phase: phase.name.clone(), stamp: self.stamp.clone() })
    }

    fn switch(&self, name: &PhaseName) -> Result<Event, Refusal> {
        let (at, phase) = self.phase(name)?;
        let record = self.state.phase(name);
        if let Some(step) = phase.steps.iter().find(|step| step.switch) {
            return Err(conflict(format!("phase {name} switches with its step {}: `cutover resume` runs it", step.name)));
        }
        if record.state() != PhaseState::Active {
            return Err(conflict(format!("phase {name} is {}; only an active phase can switch", record.state().as_str())));
        }
        if record.switched.is_some() {
            return Err(conflict(format!("phase {name} has switched already")));
        }
        open(evaluate(self.state, self.now).guards.get(at), "switch")?;
        Ok(Event::PhaseSwitched {
            phase: phase.name.clone(),
            stamp: self.stamp.clone(),
            seals: self.seals(phase, SealAt::Switch),
        })
    }

    fn complete(&self, name: &PhaseName) -> Result<Event, Refusal> {
        let (at, phase) = self.phase(name)?;
        let record = self.state.phase(name);
        if record.state() == PhaseState::Complete {
            return Err(conflict(format!("phase {name} is complete already")));
        }
        let evaluation = evaluate(self.state, self.now);
        let gate = open(evaluation.gates.get(at), "complete")?;
        Ok(Event::PhaseCompleted {
            phase: phase.name.clone(),
            stamp: self.stamp.clone(),
            seals: self.seals(phase, SealAt::Complete),
            overrides: gate.overrides.clone(),
        })
    }

    /// The valid proofs of a phase that this event seals; `complete` also those that were proven again since the switch. One
    /// that was not needed, because it is overridden or retired, is not sealed: nobody has asked whether it is valid.
    pub(crate) fn seals(&self, phase: &PhasePlan, event: SealAt) -> Vec<Arc<str>> {
        let due = |probe: &&crate::plan::ProbePlan| match probe.nature {
            NaturePlan::Proof { seal_at, .. } => {
                (seal_at == event || event == SealAt::Complete)
                    && self.state.overridden(probe, self.now.t).is_none()
                    && !self.state.retired(probe)
                    && self.state.sight(probe, self.now).state == ProbeState::Green
            }
            NaturePlan::Continuous => false,
        };
        phase.probes.iter().filter(due).map(|probe| probe.name.clone()).collect()
    }

    fn rollback(&self, name: &PhaseName, reason: &str) -> Result<Event, Refusal> {
        let (_, phase) = self.phase(name)?;
        let reason = said(reason)?;
        self.leads_back(phase)?;
        let record = self.state.phase(name);
        if let Some(step) = record.in_flight(phase).or_else(|| record.next_undo(phase)) {
            let state = record.step(&step.name).map_or("", crate::state::StepState::as_str);
            return Err(conflict(format!("step {} is {state}: `cutover rollback {name} --reason …` undoes it first", step.name)));
        }
        Ok(Event::PhaseRolledBack { phase: phase.name.clone(), stamp: self.stamp.clone(), reason })
    }

    /// The phase can roll back, and if it has crossed its point of no return, somebody has confirmed what that costs.
    pub(crate) fn leads_back(&self, phase: &PhasePlan) -> Result<(), Refusal> {
        can_roll_back(self.state, self.plan, &phase.name).map_err(conflict)?;
        match &self.state.phase(&phase.name).ponr {
            Some(crossed) if self.terms.confirm.as_deref() != Some(&*phase.name) => Err(Refusal::new(
                RefusalKind::Unconfirmed,
                format!(
                    "phase {} crossed its point of no return at {}: going back loses what the new side took since; `--confirm={}` says that this is meant",
                    phase.name, crossed.at, phase.name
                ),
            )),
            Some(_) | None => Ok(()),
        }
    }

    fn adopt(&self, name: &PhaseName, reason: &str) -> Result<Event, Refusal> {
        let (at, phase) = self.phase(name)?;
        let reason = said(reason)?;
        let record = self.state.phase(name);
        if record.state() != PhaseState::Waiting {
            return Err(conflict(format!("phase {name} is {}; only a waiting phase can be adopted", record.state().as_str())));
        }
        let earlier = self.plan.phases.iter().take(at).find(|p| self.state.phase(&p.name).state() != PhaseState::Complete);
        if let Some(earlier) = earlier {
            return Err(conflict(format!("phase {} comes first and is not complete; adopt or complete it first", earlier.name)));
        }
        Ok(Event::PhaseAdopted { phase: phase.name.clone(), stamp: self.stamp.clone(), reason })
    }

    fn acknowledge(&self, name: &PhaseName, reason: &str) -> Result<Event, Refusal> {
        let (_, phase) = self.phase(name)?;
        let reason = said(reason)?;
        if self.state.phase(name).regressed.is_empty() {
            return Err(conflict(format!("no regression is latched for phase {name}")));
        }
        Ok(Event::RegressionAcknowledged { phase: phase.name.clone(), stamp: self.stamp.clone(), reason })
    }

    fn exempt(&self, name: &str, reason: &str, ticket: Option<&str>, ttl: Duration) -> Result<Event, Refusal> {
        let (_, probe) =
            self.plan.probe(name).ok_or_else(|| Refusal::new(RefusalKind::NotFound, format!("no probe `{name}`")))?;
        let reason = said(reason)?;
        if !probe.waivable {
            return Err(conflict(format!(
                "probe {name} can not be overridden: it guards against mixing up or splitting the data"
            )));
        }
        if ttl.is_zero() || ttl > MAX_OVERRIDE {
            return Err(invalid("an override lasts longer than nothing and at most 7 days"));
        }
        if let Some(id) = self.state.overridden(probe, self.now.t) {
            return Err(conflict(format!("override {id} of probe {name} is active already; revoke it first to change it")));
        }
        if self.state.durable.overrides.len() >= MAX_RECORDS {
            return Err(conflict("too many overrides are active; revoke some"));
        }
        let until = self.now.t.plus(ttl);
        Ok(Event::OverrideCreated {
            id: self.state.durable.next_override,
            probe: probe.name.clone(),
            stamp: self.stamp.clone(),
            reason,
            ticket: ticket.map(said).transpose()?,
            until,
        })
    }

    fn revoke(&self, id: u64) -> Result<Event, Refusal> {
        if !self.state.durable.overrides.contains_key(&id) {
            return Err(Refusal::new(RefusalKind::NotFound, format!("no active override {id}")));
        }
        Ok(Event::OverrideEnded { id, stamp: self.stamp.clone() })
    }

    fn forget(&self, name: &str, part: &checks::PartId) -> Result<Event, Refusal> {
        let known = self.state.soft.parts.get(name).is_some_and(|parts| parts.contains(part));
        let (probe, _) = self
            .state
            .soft
            .parts
            .get_key_value(name)
            .filter(|_| known)
            .ok_or_else(|| Refusal::new(RefusalKind::NotFound, format!("probe `{name}` has no part `{part}`")))?;
        Ok(Event::PartForgotten { probe: probe.clone(), part: part.clone(), stamp: self.stamp.clone() })
    }
}

/// Passes an open gate or guard on; any other is a refusal with its blockers.
pub(crate) fn open<'g>(view: Option<&'g GateView>, verb: &str) -> Result<&'g GateView, Refusal> {
    match view {
        Some(view) if view.verdict == Verdict::Open => Ok(view),
        Some(view) => Err(Refusal {
            kind: RefusalKind::Gate(view.verdict),
            message: format!("phase {} can not {verb}: {}", view.phase, view.verdict.as_str()),
            blockers: view.blockers.clone(),
        }),
        None => Err(Refusal::new(RefusalKind::Gate(Verdict::Unknown), format!("can not {verb}: nothing was evaluated"))),
    }
}

/// Whether a phase can roll back now; otherwise why not.
pub fn can_roll_back(state: &State, plan: &Plan, name: &str) -> Result<(), String> {
    match state.phase(name).state() {
        PhaseState::Waiting => Err(format!("phase {name} is waiting; there is nothing to roll back")),
        PhaseState::Active => Ok(()),
        PhaseState::Complete => {
            if let Some(crossed) = &state.phase(name).ponr {
                return Err(format!("phase {name} is complete and crossed its point of no return at {}", crossed.at));
            }
            if let Some((target, removal)) = plan.phase(name).and_then(|phase| state.way_back_removed(phase)) {
                let Stamp { at, by } = &removal.stamp;
                return Err(format!("the way back of phase {name} is lost: {by} said at {at} that {target} is decommissioned"));
            }
            let active = plan.phases.iter().find(|p| state.phase(&p.name).state() == PhaseState::Active);
            if let Some(active) = active {
                return Err(format!("phase {} is active; roll it back first", active.name));
            }
            // Begun anew, it would complete without the probes that a later phase has retired.
            let own = plan.phases.iter().filter(|phase| &*phase.name == name).flat_map(|phase| &phase.probes);
            match own.filter(|probe| state.retired(probe)).find_map(|probe| Some((probe, probe.until.as_ref()?))) {
                Some((probe, until)) => {
                    Err(format!("phase {until} has retired its probe {}; roll {until} back first", probe.name))
                }
                None => Ok(()),
            }
        }
    }
}

/// A new document: refused if it would rewrite what has happened, otherwise in force.
pub fn configure(state: &State, plan: &Arc<Plan>, now: Now) -> Result<Vec<Event>, Refusal> {
    if let Some(old) = state.durable.plan.as_deref() {
        if old == &**plan {
            return Ok(Vec::new());
        }
        keeps_history(state, old, plan)?;
        keeps_seals(state, old, plan)?;
        steps::keeps_steps(state, old, plan)?;
        removal::keeps_tripwires(state, old, plan)?;
        keeps_regressions(state, plan)?;
    }
    Ok(vec![Event::ConfigLoaded { at: now, plan: plan.clone() }])
}

fn keeps_history(state: &State, old: &Plan, new: &Plan) -> Result<(), Refusal> {
    let Some(last) = old.phases.iter().rposition(|p| state.phase(&p.name).state() != PhaseState::Waiting) else { return Ok(()) };
    if old.migration != new.migration {
        return Err(conflict(format!(
            "the ledger belongs to migration `{}`, the document is `{}`; use another state directory",
            old.migration, new.migration
        )));
    }
    for (at, phase) in old.phases.iter().take(last.saturating_add(1)).enumerate() {
        let found = new.phases.get(at).map(|p| &*p.name);
        if found != Some(&*phase.name) {
            return Err(conflict(format!(
                "phase {} is {} or stands before one that is not waiting: it can not be removed, moved or preceded by a new one (found {} in its place)",
                phase.name,
                state.phase(&phase.name).state().as_str(),
                found.unwrap_or("nothing"),
            )));
        }
    }
    Ok(())
}

/// A latched regression can not be edited away.
fn keeps_regressions(state: &State, new: &Plan) -> Result<(), Refusal> {
    for (phase, record) in &state.durable.phases {
        if let Some(gone) = record.regressed.keys().find(|probe| new.probe(probe).is_none()) {
            return Err(conflict(format!(
                "probe {gone} of phase {phase} has a latched regression: say `cutover regression ack {phase} --reason …` before you remove it"
            )));
        }
    }
    Ok(())
}

fn keeps_seals(state: &State, old: &Plan, new: &Plan) -> Result<(), Refusal> {
    let home = |plan: &Plan, name: &str| plan.probe(name).and_then(|(at, _)| plan.phases.get(at)).map(|p| p.name.clone());
    for (name, proof) in state.durable.proofs.iter().filter(|(_, proof)| proof.sealed) {
        let changed = new.probe(name).is_none_or(|(_, probe)| probe.hash != proof.hash);
        if changed || home(old, name) != home(new, name) {
            return Err(conflict(format!(
                "proof {name} is sealed: it can not be changed, moved or removed; roll its phase back first"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
