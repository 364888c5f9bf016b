//! One probe's task: its Runs, and its negative controls beside them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use checks::{Context, DynCheck, Fact, Facts, Target};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::supervise::{self, Looked};
use super::{Shared, first_look};
use crate::event::{Control, Run};
use crate::now::Millis;
use crate::plan::{NaturePlan, ProbePlan};
use crate::state::{State, Trust};

/// Whether a control is due is asked at least this often, so that trust is soon earned again also at a slow cadence.
const CONTROL_LOOK: Duration = Duration::from_secs(30);

pub(super) struct ProbeTask {
    pub(super) shared: Shared,
    pub(super) plan: ProbePlan,
    pub(super) generation: u64,
    pub(super) check: Arc<dyn DynCheck>,
    pub(super) targets: Arc<BTreeMap<String, Target>>,
    pub(super) wake: Arc<Notify>,
    pub(super) stop: CancellationToken,
}

impl ProbeTask {
    /// Looks until it is told to stop. A look under way is dropped then: its answer would come too late anyway.
    pub(super) async fn run(self, memory: Option<Arc<[u8]>>) {
        let looks = async { tokio::join!(self.looks(memory), self.controls()) };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            _ = looks => {}
        }
    }

    async fn looks(&self, mut memory: Option<Arc<[u8]>>) {
        let start = Instant::now() + first_look(&self.plan.name, self.plan.every);
        let mut tick = interval_at(start, self.plan.every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let woken = tokio::select! {
                due = tick.tick() => { self.shared.metrics.scheduler_lag(due.elapsed()); false }
                () = self.wake.notified() => true,
            };
            if !woken && !self.look_is_due() {
                continue;
            }
            let started = self.shared.ledger.clock().now();
            let cx = self.context(started);
            let Looked { report, forget } = supervise::look(self.check.run(&cx, memory.as_deref()), self.plan.timeout).await;
            self.shared.metrics.measures(&self.plan, &report.measures);
            let next: Option<Arc<[u8]>> = report.memory.map(Arc::from);
            let run = Run {
                probe: self.plan.name.clone(),
                generation: self.generation,
                started,
                finished: self.shared.ledger.clock().now(),
                step: report.step,
                memory: next.clone(),
                identities: report.identities,
                trails: report.trails,
                named: report.named,
            };
            let taken = self.shared.ledger.run(run).await;
            if forget {
                memory = None;
            } else if taken && next.is_some() {
                memory = next;
            }
        }
    }

    async fn controls(&self) {
        let start = Instant::now() + first_look(&self.plan.name, self.plan.every);
        let mut tick = interval_at(start, self.plan.every.min(CONTROL_LOOK));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if !self.control_is_due() {
                continue;
            }
            let started = self.shared.ledger.clock().now();
            let cx = self.context(started);
            let memory = self.shared.ledger.read().snapshot.state.soft.memories.get(&self.plan.name).cloned();
            let outcome = supervise::control(self.check.control(&cx, memory.as_deref()), self.plan.timeout).await;
            let control = Control {
                probe: self.plan.name.clone(),
                generation: self.generation,
                started,
                finished: self.shared.ledger.clock().now(),
                outcome,
            };
            self.shared.ledger.control(control).await;
        }
    }

    fn context(&self, now: crate::now::Now) -> Context {
        let state = self.shared.ledger.read().snapshot.state.clone();
        let phase = state.durable.plan.as_ref().and_then(|plan| plan.phases.get(plan.probe(&self.plan.name)?.0));
        let switched = phase.and_then(|phase| state.phase(&phase.name).switched.as_ref()).map(|switched| switched.at.t);
        let since_switch = switched.map_or(Duration::MAX, |switched| now.t.since(switched));
        Context {
            targets: self.targets.clone(),
            clients: self.shared.clients.clone(),
            timeout: self.plan.timeout,
            now: now.utc,
            // What came before the phase's switch is no evidence of what it switched to.
            uptime: self.shared.started.elapsed().min(since_switch),
            facts: Arc::new(self.facts(&state)),
            beat: self.shared.beats.get(&self.plan.name, now).filter(|beat| beat.age <= since_switch),
            by_hand: false,
        }
    }

    /// All editions of the facts that the check names.
    fn facts(&self, state: &State) -> Facts {
        let wanted = self.check.facts();
        let named = |recorded: &str| wanted.iter().any(|name| checks::edition(name, recorded).is_some());
        let fact = |fact: &crate::state::Fact| Fact { at: fact.stamp.at.utc, value: fact.value.clone() };
        let recorded = state.durable.facts.iter().filter(|(name, _)| named(name));
        recorded.map(|(name, recorded)| (name.clone(), fact(recorded))).collect()
    }

    /// A heartbeat is always due; a proof is not while a valid Pass is fresh or sealed.
    fn look_is_due(&self) -> bool {
        let NaturePlan::Proof { valid_for, .. } = self.plan.nature else { return true };
        let reading = self.shared.ledger.read();
        let proof = reading.snapshot.state.durable.proofs.get(&self.plan.name).filter(|proof| proof.hash == self.plan.hash);
        proof.is_none_or(|proof| {
            let fresh = proof.failed.is_none() && reading.now.t.since(proof.at.t) < valid_for / 2;
            !proof.sealed && !fresh
        })
    }

    /// Due by its cadence; at each tick while it is not trusted, or while the soak waits for it.
    fn control_is_due(&self) -> bool {
        let reading = self.shared.ledger.read();
        let state = &reading.snapshot.state;
        let Some(record) = state.live.probes.get(&self.plan.name) else { return true };
        let served = state.soft.soaks.get(&self.plan.name).is_some_and(crate::soak::Soak::has_control);
        let age = |at: Millis| reading.now.t.since(at);
        match record.trust(&self.plan, reading.now.t) {
            Trust::Trusted(at) => age(at) >= self.plan.control_every || !served && age(at) >= Duration::from_secs(1),
            Trust::Untested | Trust::Untrusted => true,
        }
    }
}
