//! What must hold whatever the oracle thinks: nothing here knows how a verdict is made.

mod runs;

use std::collections::BTreeMap;

use probe::event::Event;
use probe::gate::{Evaluation, Verdict, evaluate};
use probe::state::{PhaseState, ProbeState};

use super::case::{Act, Look, Tick, probe_name};
use super::drive::{Core, Counts};
use runs::Runs;

/// Keeps an eye on one history.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// When each probe was last shown red, as far as no crash lost it: that it went red is never lost.
    red: BTreeMap<String, u64>,
    went_red: BTreeMap<String, u64>,
    saved: BTreeMap<String, u64>,
    /// When each phase switched, or was adopted.
    switched: BTreeMap<String, u64>,
    /// What the runs of steps must keep to.
    runs: Runs,
    /// The last epoch of this process.
    epoch: Option<u64>,
    /// The last epoch ever.
    ever: Option<u64>,
    /// Unwatched stretches: where they end, how long they were.
    gaps: Vec<(u64, u64)>,
    /// Probes that ran, and whose control failed as it should, in this process.
    ran: Vec<String>,
    proven: Vec<String>,
}

impl Watch {
    /// The gate's verdict before a `complete`, the guard's before a step.
    pub(crate) fn before(core: &Core, tick: &Tick) -> Option<Verdict> {
        let (Act::Complete(phase) | Act::StartStep { phase, .. }) = tick.act else { return None };
        let mut now = core.now();
        now.t.0 += tick.after;
        now.utc += std::time::Duration::from_millis(tick.after);
        let name = super::case::phase_name(phase);
        let evaluation = evaluate(&core.state, now);
        let view = match tick.act {
            Act::Complete(_) => evaluation.gate(&name),
            _ => evaluation.guards.iter().find(|guard| guard.phase == name),
        };
        Some(view.map_or(Verdict::Unknown, |view| view.verdict))
    }

    pub(crate) fn after(
        &mut self,
        core: &Core,
        tick: &Tick,
        events: &[Event],
        before: Option<Verdict>,
        counts: &mut Counts,
    ) -> Result<(), String> {
        self.note(core, tick, events);
        self.runs.after(core, tick, events, before, counts)?;
        for event in events {
            match event {
                Event::PhaseCompleted { phase, .. } => {
                    counts.completed += 1;
                    if before != Some(Verdict::Open) {
                        return Err(format!("phase {phase} was completed while its gate was {before:?}"));
                    }
                }
                Event::ProbeChanged { probe, to: ProbeState::Red, at, .. } => {
                    self.went_red.insert(probe.to_string(), at.t.0);
                }
                Event::RegressionLatched { probe, .. } => {
                    counts.latched += 1;
                    let plan = core.state.durable.plan.as_ref().and_then(|plan| plan.probe(probe));
                    counts.came_back += u64::from(plan.is_some_and(|(_, probe)| probe.tripwire));
                }
                Event::TargetRemoved { .. } => counts.removed += 1,
                Event::AnotherServer { .. } if matches!(tick.act, Act::Record(..)) => counts.outdated += 1,
                Event::TargetGone { .. } => counts.gone += 1,
                Event::TargetReturned { .. } => counts.returned += 1,
                Event::PonrDetected { .. } => counts.crossed += 1,
                Event::PhaseSwitched { phase, stamp, .. } | Event::PhaseAdopted { phase, stamp, .. } => {
                    self.switched.insert(phase.to_string(), stamp.at.t.0);
                }
                _ => {}
            }
        }
        let active = core.state.durable.phases.values().filter(|record| record.state() == PhaseState::Active).count();
        if active > 1 {
            return Err("more than one phase is active".into());
        }
        Ok(())
    }

    fn note(&mut self, core: &Core, tick: &Tick, events: &[Event]) {
        match &tick.act {
            Act::Checkpoint => self.saved = self.red.clone(),
            Act::Restart { crash, .. } => {
                if *crash {
                    self.red = self.saved.clone();
                    for (probe, at) in &self.went_red {
                        let last = self.red.entry(probe.clone()).or_default();
                        *last = (*last).max(*at);
                    }
                }
                self.saved = self.red.clone();
                self.epoch = None;
                self.ran.clear();
                self.proven.clear();
            }
            Act::Run { probe, .. } if !events.is_empty() => self.ran.push(probe_name(*probe).to_string()),
            Act::Control { probe, look: Look::Fail, .. } if !events.is_empty() => {
                self.proven.push(probe_name(*probe).to_string());
            }
            Act::Epoch => {
                if let Some(last) = self.ever
                    && (self.epoch.is_none() || core.t - last > 3_000)
                {
                    self.gaps.push((core.t, core.t - last));
                }
                (self.epoch, self.ever) = (Some(core.t), Some(core.t));
                for view in core.state.live.evaluation.iter().flat_map(|e| &e.probes) {
                    if view.sight.state == ProbeState::Red {
                        self.red.insert(view.name.to_string(), core.t);
                    }
                }
            }
            // Another document may mean another probe by the same name.
            Act::Configure(_) if !events.is_empty() => {
                self.red.clear();
                self.went_red.clear();
                self.saved.clear();
            }
            _ => {}
        }
    }

    /// Everything that must hold of the verdicts now.
    pub(crate) fn verdicts(&self, core: &Core, evaluation: &Evaluation, counts: &mut Counts) -> Result<(), String> {
        let Some(plan) = core.state.durable.plan.as_deref() else { return Ok(()) };
        for view in evaluation.gates.iter().chain(&evaluation.guards) {
            if (view.verdict == Verdict::Open) != view.blockers.is_empty() || view.blocked_by < view.blockers.len() {
                return Err(format!("{} is {:?} with blockers {:?}", view.phase, view.verdict, view.blockers));
            }
        }
        for (at, gate) in evaluation.gates.iter().enumerate().filter(|(_, gate)| gate.verdict == Verdict::Open) {
            counts.open += 1;
            let need = &plan.phases[at].gate;
            let soak = u64::try_from(need.soak.as_millis()).unwrap();
            let budget = u64::try_from(need.unknown_budget.as_millis()).unwrap();
            let switched = self.switched.get(&*gate.phase).copied().unwrap_or(u64::MAX);
            if switched.saturating_add(soak) > core.t {
                return Err(format!("{} is open within its soak of the switch", gate.phase));
            }
            let mut own = 0;
            for ((of, probe), view) in plan.probes().zip(&evaluation.probes) {
                let adopted = core.state.phase(&plan.phases[of].name).adopted.is_some();
                let waived =
                    probe.waivable && core.state.durable.overrides.values().any(|o| o.probe == probe.name && core.t < o.until.0);
                let removed = probe.targets.iter().any(|target| core.state.durable.removals.contains_key(target));
                let behind = core.state.phase(&plan.phases[of].name).state() == PhaseState::Complete;
                let retired = probe.until.as_deref().is_some_and(|until| core.state.phase(until).is_switching())
                    || if probe.tripwire { !removed } else { removed && behind };
                if of > at || !probe.gate || waived || retired || probe.is_proof() && adopted {
                    continue;
                }
                own += usize::from(of == at);
                if view.sight.state != ProbeState::Green {
                    return Err(format!("{} is open while {} is {:?}", gate.phase, probe.name, view.sight.state));
                }
                let name = probe.name.to_string();
                let witnessed = self.ran.contains(&name) && self.proven.contains(&name);
                if !probe.is_proof() && !witnessed {
                    return Err(format!("{} is open, and {name} has not run and failed its control in this process", gate.phase));
                }
                if of == at && self.red.get(&name).is_some_and(|red| red + soak + budget >= core.t) {
                    return Err(format!("{} is open, and {name} was red within the window", gate.phase));
                }
            }
            if own == 0 {
                return Err(format!("{} is open on nothing", gate.phase));
            }
            if let Some((end, _)) = self.gaps.iter().find(|(end, long)| soak > 0 && *long > budget && end + soak > core.t) {
                return Err(format!("{} is open within its soak of a gap that ended at {end}", gate.phase));
            }
        }
        Ok(())
    }
}
