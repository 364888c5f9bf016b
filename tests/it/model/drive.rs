//! Lets the core live through a history, and compares it with the oracle after each thing that happens.

use std::sync::Arc;

use probe::apply::apply;
use probe::decide::decide;
use probe::event::{Event, Input};
use probe::gate::{Evaluation, evaluate};
use probe::now::{Millis, Now};
use probe::plan::{GatePlan, Plan};
use probe::soak::Soak;
use probe::state::{Durable, Soft, State};

use super::case::{Act, Case, Doc, Tick, moment, phase_name, probe_name};
use super::generate::START;
use super::invariants::Watch;
use super::oracle::Oracle;

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
            _ => {}
        }
        let generation = match &tick.act {
            Act::Run { probe, old, .. } | Act::Control { probe, old, .. } => {
                let current = self.state.live.probes.get(&probe_name(*probe)).map_or(0, |record| record.generation);
                if *old { current.wrapping_sub(1) } else { current }
            }
            _ => 0,
        };
        let input = tick.act.input(&self.plans, self.t, self.utc, generation, &self.overrides).unwrap();
        self.take(&input)
    }

    fn take(&mut self, input: &Input) -> Option<Vec<Event>> {
        let events = decide(&self.state, input, self.now()).ok()?;
        for event in &events {
            apply(&mut self.state, event);
            if let Event::OverrideCreated { id, .. } = event {
                self.overrides.push(*id);
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

/// What was seen on the way, for the statistics.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) inputs: u64,
    pub(crate) accepted: u64,
    pub(crate) open: u64,
    pub(crate) completed: u64,
    pub(crate) latched: u64,
}

/// Core and oracle side by side.
#[derive(Debug)]
pub(crate) struct Pair<'a> {
    pub(crate) core: Core,
    oracle: Oracle<'a>,
    watch: Watch,
    starts: Vec<(u8, usize, u64)>,
    pub(crate) counts: Counts,
}

impl<'a> Pair<'a> {
    pub(crate) fn new(docs: &'a [Doc]) -> Self {
        let core = Core::new(docs);
        let oracle = Oracle::new(docs, core.t, core.utc);
        Self { core, oracle, watch: Watch::default(), starts: Vec::new(), counts: Counts::default() }
    }

    /// One thing happens to both. The first difference, in words.
    pub(crate) fn happen(&mut self, tick: &Tick) -> Result<(), String> {
        let before = Watch::before(&self.core, tick);
        let events = self.core.happen(tick);
        let ok = self.oracle.happen(self.core.t, self.core.utc, &tick.act);
        self.counts.inputs += 1;
        self.counts.accepted += u64::from(ok);
        if ok != events.is_some() {
            return Err(format!("{:?}: oracle accepts: {ok}, core: {}", tick.act, events.is_some()));
        }
        let evaluation = evaluate(&self.core.state, self.core.now());
        self.compare(tick, &evaluation)?;
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
