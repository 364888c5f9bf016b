//! Lets the core live through a history, and compares it with the oracle after each thing that happens.

mod counts;

use std::collections::BTreeMap;
use std::sync::Arc;

use probe::apply::apply;
use probe::decide::decide;
use probe::event::{Event, Input, Refusal, RefusalKind, Terms};
use probe::gate::{Evaluation, evaluate};
use probe::now::{Millis, Now};
use probe::plan::{GatePlan, Plan};
use probe::soak::Soak;
use probe::state::{Durable, Soft, State};
use probe::steps::plan_hash;

use super::case::{Act, Case, Doc, Hash, Known, Tick, moment, phase_name, probe_name, step_name, target_name};
use super::generate::START;
use super::invariants::Watch;
use super::oracle::{Oracle, PlanSeen};
pub(crate) use counts::Counts;

/// The core with what the ledger would keep around it.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) state: State,
    pub(crate) t: u64,
    pub(crate) utc: i64,
    pub(crate) chain: Vec<Event>,
    plans: Vec<Arc<Plan>>,
    saved: (Durable, Soft, usize),
    overrides: Vec<u64>,
    pub(crate) locks: Vec<u64>,
    /// The hash of a phase's plan as somebody read it last.
    read: BTreeMap<u8, Option<String>>,
    /// Why the last thing was refused, if it was.
    pub(crate) refusal: Option<Refusal>,
}

impl Core {
    pub(crate) fn new(docs: &[Doc]) -> Self {
        Self {
            state: State::default(),
            t: START,
            utc: i64::try_from(START).unwrap(),
            chain: Vec::new(),
            plans: docs.iter().enumerate().map(|(index, doc)| doc.plan(index)).collect(),
            saved: (Durable::default(), Soft::default(), 0),
            overrides: Vec::new(),
            locks: Vec::new(),
            read: BTreeMap::new(),
            refusal: None,
        }
    }

    pub(crate) fn now(&self) -> Now {
        moment(self.t, self.utc)
    }

    /// One thing happens; the events it led to, or none if it was refused.
    pub(crate) fn happen(&mut self, tick: &Tick) -> Option<Vec<Event>> {
        self.t += tick.after;
        self.utc += i64::try_from(tick.after).unwrap() + tick.jump;
        match &tick.act {
            Act::Checkpoint => {
                self.saved = (self.state.durable.clone(), self.state.soft.clone(), self.chain.len());
                return Some(vec![]);
            }
            Act::Restart { crash, boot } => {
                self.restart(*crash);
                return if *boot { self.take(&Input::AnotherBoot) } else { Some(vec![]) };
            }
            Act::Read(phase) => {
                self.read.insert(*phase, plan_hash(&self.state, &phase_name(*phase)));
                return Some(vec![]);
            }
            _ => {}
        }
        let generation = match &tick.act {
            Act::Run { probe, old, .. } | Act::Control { probe, old, .. } => {
                let current = self.state.live.probes.get(&probe_name(*probe)).map_or(0, |record| record.generation);
                if *old { current.wrapping_sub(1) } else { current }
            }
            _ => 0,
        };
        let known = Known {
            plans: &self.plans,
            t: self.t,
            utc: self.utc,
            generation,
            overrides: &self.overrides,
            locks: &self.locks,
            terms: self.terms(tick),
            approved: if let Act::Approve(phase, hash) = tick.act { self.hash(phase, hash) } else { String::new() },
        };
        let input = tick.act.input(tick.said.by, &known).unwrap();
        self.take(&input)
    }

    fn hash(&self, phase: u8, hash: Hash) -> String {
        let hash = match hash {
            Hash::Present => plan_hash(&self.state, &phase_name(phase)),
            Hash::Read => self.read.get(&phase).cloned().flatten(),
            Hash::Never => None,
        };
        hash.unwrap_or_else(|| "none".into())
    }

    fn terms(&self, tick: &Tick) -> Terms {
        let said = tick.said;
        let document = |present| match &self.state.durable.plan {
            Some(plan) if present => plan.hash.clone(),
            _ => "another".into(),
        };
        Terms {
            lock: said.lock.map(|token| token.of(&self.locks).unwrap_or(9_999)),
            plan: said.plan.map(|hash| tick.act.plans().map_or_else(|| "none".into(), |phase| self.hash(phase, hash))),
            document: said.document.map(document),
            confirm: said.confirm.map(|id| match tick.act {
                Act::Decommission(_) => target_name(id).to_string(),
                _ => phase_name(id).to_string(),
            }),
        }
    }

    fn take(&mut self, input: &Input) -> Option<Vec<Event>> {
        let events = match decide(&self.state, input, self.now()) {
            Ok(events) => events,
            Err(refusal) => {
                self.refusal = Some(refusal);
                return None;
            }
        };
        self.refusal = None;
        for event in &events {
            apply(&mut self.state, event);
            match event {
                Event::OverrideCreated { id, .. } => self.overrides.push(*id),
                Event::LockTaken { lock } => self.locks.push(lock.id),
                _ => {}
            }
            if event.is_chained() {
                self.chain.push(event.clone());
            }
        }
        Some(events)
    }

    /// A new process: the last checkpoint (made now, unless it is a crash) and the chained events after it.
    fn restart(&mut self, crash: bool) {
        if !crash {
            self.saved = (self.state.durable.clone(), self.state.soft.clone(), self.chain.len());
        }
        let (durable, soft, upto) = self.saved.clone();
        let mut state = State { durable, soft, ..State::default() };
        for event in self.chain.iter().skip(upto) {
            apply(&mut state, event);
        }
        self.state = state.restarted();
    }

    /// The chained events alone, through JSON and back, make the same Durable.
    pub(crate) fn replays(&self) -> bool {
        let mut state = State::default();
        for event in &self.chain {
            let json = serde_json::to_string(event).unwrap();
            apply(&mut state, &serde_json::from_str(&json).unwrap());
        }
        state.durable == self.state.durable
    }
}

/// Core and oracle side by side.
#[derive(Debug)]
pub(crate) struct Pair<'a> {
    pub(crate) core: Core,
    oracle: Oracle<'a>,
    watch: Watch,
    starts: Vec<(u8, usize, u64)>,
    plans: BTreeMap<u8, (Option<PlanSeen>, Option<String>)>,
    pub(crate) counts: Counts,
}

impl<'a> Pair<'a> {
    pub(crate) fn new(docs: &'a [Doc]) -> Self {
        let core = Core::new(docs);
        let oracle = Oracle::new(docs, core.t, core.utc);
        Self { core, oracle, watch: Watch::default(), starts: Vec::new(), plans: BTreeMap::new(), counts: Counts::default() }
    }

    /// One thing happens to both. The first difference, in words.
    pub(crate) fn happen(&mut self, tick: &Tick) -> Result<(), String> {
        let before = Watch::before(&self.core, tick);
        let events = self.core.happen(tick);
        let ok = self.oracle.happen(self.core.t, self.core.utc, tick);
        self.counts.inputs += 1;
        self.counts.accepted += u64::from(ok);
        if ok != events.is_some() {
            return Err(format!("{tick:?}: oracle accepts: {ok}, core: {:?}", self.core.refusal));
        }
        let stale = self.core.refusal.as_ref().is_some_and(|refusal| refusal.kind == RefusalKind::Outdated);
        let known = |id: u8| self.core.state.live.probes.contains_key(&probe_name(id));
        self.counts.outrun += u64::from(stale && matches!(tick.act, Act::Run { old: false, probe, .. } if known(probe)));
        let evaluation = evaluate(&self.core.state, self.core.now());
        self.compare(tick, &evaluation)?;
        self.compare_ends(tick, events.as_deref().unwrap_or_default())?;
        self.watch.after(&self.core, tick, events.as_deref().unwrap_or_default(), before, &mut self.counts)?;
        self.watch.verdicts(&self.core, &evaluation, &mut self.counts)
    }

    fn compare(&mut self, tick: &Tick, evaluation: &Evaluation) -> Result<(), String> {
        let (core, says) = (&self.core, self.oracle.says());
        for ((id, colour), view) in says.colours.iter().zip(&evaluation.probes) {
            if *colour != view.sight.state || view.name != probe_name(*id) {
                return Err(format!("colour of p{id}: oracle {colour:?}, core {:?}", view.sight));
            }
        }
        for (at, (gate, view)) in says.gates.iter().zip(&evaluation.gates).enumerate() {
            if *gate != view.verdict {
                return Err(format!("gate at {at}: oracle {gate:?}, core {:?} {:#?}", view.verdict, view.blockers));
            }
        }
        for (at, (guard, view)) in says.guards.iter().zip(&evaluation.guards).enumerate() {
            if *guard != view.verdict {
                return Err(format!("guard at {at}: oracle {guard:?}, core {:?} {:#?}", view.verdict, view.blockers));
            }
        }
        let sizes = (says.colours.len(), says.gates.len(), says.guards.len());
        if sizes != (evaluation.probes.len(), evaluation.gates.len(), evaluation.guards.len()) {
            return Err("not as many probes, gates or guards".into());
        }
        let latched: usize = core.state.durable.phases.values().map(|record| record.regressed.len()).sum();
        let same = |(phase, probe): &(u8, u8)| core.state.phase(&phase_name(*phase)).regressed.contains_key(&probe_name(*probe));
        if latched != says.latched.len() || !says.latched.iter().all(same) {
            return Err(format!("latched: oracle {:?}, core {:?}", says.latched, core.state.durable.phases));
        }
        if tick.act == Act::Epoch {
            let shown = core.state.live.evaluation.as_deref().unwrap();
            let verdicts = |e: &Evaluation| e.gates.iter().map(|gate| gate.verdict).collect::<Vec<_>>();
            if verdicts(shown) != verdicts(evaluation) {
                return Err(format!("the epoch shows {:?}, a look right after it {:?}", verdicts(shown), verdicts(evaluation)));
            }
        }
        self.compare_soaks()?;
        self.compare_runs()?;
        // To hash a plan is slow, and looks move it seldom: what they move is seen a little later.
        if !matches!(tick.act, Act::Run { .. } | Act::Control { .. } | Act::Epoch) || self.oracle.log.len().is_multiple_of(8) {
            self.compare_plans()?;
        }
        self.compare_starts(tick)
    }

    fn compare_soaks(&self) -> Result<(), String> {
        let (Some(doc), unserved) = (self.oracle.doc(), Soak::default()) else { return Ok(()) };
        for (at, probe) in doc.probes() {
            let phase = &doc.phases[at];
            if !probe.gate || !self.oracle.phase(phase.id).switched {
                continue;
            }
            let gate: &GatePlan = &self.core.state.durable.plan.as_ref().unwrap().phases[at].gate;
            let soak = self.core.state.soft.soaks.get(&probe_name(probe.id)).unwrap_or(&unserved);
            let served = self.oracle.served(phase, probe);
            let green = u64::try_from(soak.have(Millis(self.core.t), gate).as_millis()).unwrap();
            let samples = probe.proof.is_some() || served.samples == soak.samples() && served.control == soak.has_control();
            if served.green != green || !samples {
                return Err(format!("soak of p{}: oracle {served:?}, core {green} of {soak:?}", probe.id));
            }
        }
        Ok(())
    }

    /// What becomes of a proof is told exactly when the oracle finds it worth telling.
    fn compare_ends(&mut self, tick: &Tick, events: &[Event]) -> Result<(), String> {
        let ended = events.iter().any(|event| matches!(event, Event::ProofFinished { .. }));
        let last = self.oracle.log.last().unwrap();
        if ended != last.told {
            return Err(format!("{tick:?}: oracle tells the end of a proof: {}, core {events:?}", last.told));
        }
        self.counts.silent += u64::from(last.ok && last.failure.is_some() && !last.told && !last.ignored);
        Ok(())
    }

    /// Where each phase stands, its steps, and the lock.
    fn compare_runs(&self) -> Result<(), String> {
        let Some(doc) = self.oracle.doc() else { return Ok(()) };
        for phase in &doc.phases {
            let (stands, record) = (self.oracle.phase(phase.id), self.core.state.phase(&phase_name(phase.id)));
            let own = (stands.begun, stands.switching, stands.switched, stands.ponr, stands.complete, stands.adopted);
            let has = (
                record.begun.is_some(),
                record.is_switching(),
                record.switched.is_some(),
                record.ponr.is_some(),
                record.complete.is_some(),
                record.adopted.is_some(),
            );
            if own != has {
                return Err(format!("phase{}: oracle {stands:?}, core {record:?}", phase.id));
            }
            let steps = self.oracle.steps(phase.id);
            let same = steps.iter().all(|(id, step)| {
                let record = record.steps.get(&step_name(*id));
                record.is_some_and(|record| record.state == step.state && record.attempts == step.attempts)
            });
            if !same || steps.len() != record.steps.len() {
                return Err(format!("steps of phase{}: oracle {steps:?}, core {:?}", phase.id, record.steps));
            }
        }
        let lock = self.core.state.durable.lock.as_ref();
        let ordinal = lock.and_then(|lock| self.core.locks.iter().position(|id| *id == lock.id));
        let keeps = self.core.state.locked(Millis(self.core.t)).is_some();
        let held = self.oracle.lock();
        if (held.map(|held| held.ordinal), held.is_some_and(|held| self.oracle.live(held))) != (ordinal, keeps) {
            return Err(format!("lock: oracle {held:?}, core {lock:?}, keeps others out: {keeps}"));
        }
        Ok(())
    }

    /// The hash of a plan changes exactly when the oracle sees something of what it covers change.
    fn compare_plans(&mut self) -> Result<(), String> {
        let Some(doc) = self.oracle.doc() else { return Ok(()) };
        // One phase at a time is enough: what is covered is the same for all.
        let Some(phase) = doc.phases.get(self.oracle.log.len() % doc.phases.len().max(1)) else { return Ok(()) };
        let (seen, hash) = (self.oracle.plan(phase.id), plan_hash(&self.core.state, &phase_name(phase.id)));
        if let Some((old, was)) = self.plans.get(&phase.id)
            && (*old == seen) != (*was == hash)
        {
            return Err(format!("plan of phase{}: oracle {old:?} -> {seen:?}, core {was:?} -> {hash:?}", phase.id));
        }
        self.plans.insert(phase.id, (seen, hash));
        Ok(())
    }

    /// The core numbers fresh starts; its number changes exactly when the oracle sees a fresh start.
    fn compare_starts(&mut self, tick: &Tick) -> Result<(), String> {
        let Some(doc) = self.oracle.doc() else { return Ok(()) };
        let starts: Vec<(u8, usize, u64)> = doc
            .probes()
            .map(|(_, probe)| {
                let generation = self.core.state.live.probes.get(&probe_name(probe.id)).map_or(0, |record| record.generation);
                (probe.id, self.oracle.fresh(probe.id), generation)
            })
            .collect();
        if !matches!(tick.act, Act::Restart { .. }) {
            for (id, start, generation) in &starts {
                let was = self.starts.iter().find(|(was, ..)| was == id);
                if was.is_some_and(|(_, s, g)| (s == start) != (g == generation)) {
                    return Err(format!("fresh start of p{id}: oracle {was:?} -> {start}, core generation {generation}"));
                }
            }
        }
        self.starts = starts;
        Ok(())
    }
}

/// Runs a whole history; the index of the first difference, with its words.
pub(crate) fn run(case: &Case) -> Result<(), (usize, String)> {
    let mut pair = Pair::new(&case.docs);
    for (at, tick) in case.ticks.iter().enumerate() {
        pair.happen(tick).map_err(|words| (at, words))?;
    }
    if pair.core.replays() {
        Ok(())
    } else {
        Err((case.ticks.len(), "the chained events do not replay to the same state".into()))
    }
}
