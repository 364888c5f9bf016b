//! The writer's own loop.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::refusals::Refusals;
use super::{CommandError, History, Ledger, Message, QUEUE, Snapshot};
use crate::apply::apply;
use crate::clock::{Clock, boot_moment};
use crate::decide::decide;
use crate::event::{Command, Event, Input};
use crate::events;
use crate::gate::MAX_EPOCH_GAP;
use crate::kubernetes::lease::Tenure;
use crate::metrics::Metrics;
use crate::now::Now;
use crate::state::{State, Unwritable};
use crate::store::{Store, StoreError};

/// An evaluation at least this often.
const TICK: Duration = Duration::from_secs(1);
/// And at most this often, however much happens.
const BREATH: Duration = Duration::from_millis(100);
/// While the store can not be written, it is tried this often.
const RETRY: Duration = Duration::from_secs(1);
/// Edges that wait for a store that can not be written. Beyond it the oldest are dropped: gates are shut all the while.
const MAX_PENDING: usize = 10_000;

/// What a writer is made of.
pub struct WriterParts {
    /// What was loaded, or an empty state.
    pub state: State,
    /// Where it is kept.
    pub store: Box<dyn Store>,
    /// What it goes by.
    pub clock: Clock,
    /// What it counts into.
    pub metrics: Metrics,
    /// The right to write, where that can run out.
    pub tenure: Option<Tenure>,
}

/// The single writer. [`Writer::run`] is its life.
pub struct Writer {
    state: State,
    store: Box<dyn Store>,
    clock: Clock,
    metrics: Metrics,
    history: Arc<History>,
    queue: mpsc::Receiver<Message>,
    publish: watch::Sender<Arc<Snapshot>>,
    /// Edges that are applied and not yet durable.
    pending: Vec<Event>,
    refusals: Refusals,
    epoch_due: Instant,
    checkpoint_due: Instant,
}

impl Writer {
    /// The writer, and the way to it.
    pub fn new(parts: WriterParts) -> (Self, Ledger) {
        let WriterParts { state, store, clock, metrics, tenure } = parts;
        let (sender, queue) = mpsc::channel(QUEUE);
        let (publish, snapshots) = watch::channel(Arc::new(Snapshot { state: Arc::new(state.clone()), evaluation: None }));
        let history = Arc::new(History::default());
        let ledger = Ledger {
            queue: sender,
            snapshots,
            history: history.clone(),
            clock: clock.clone(),
            tenure,
            pages: Arc::new(Semaphore::new(1)),
        };
        let start = Instant::now();
        metrics.trail_begins(store.anchor().as_ref());
        let writer = Self {
            state,
            store,
            clock,
            metrics,
            history,
            queue,
            publish,
            pending: Vec::new(),
            refusals: Refusals::default(),
            epoch_due: start,
            checkpoint_due: start,
        };
        (writer, ledger)
    }

    /// The machine has booted since the ledger was written. What follows from it is the first edge that waits to become durable,
    /// so that nothing is written, and this boot is not known to the store, before it.
    pub fn boots(&mut self) {
        self.observe(&Input::AnotherBoot);
    }

    /// A verifier of this version begins to write. `last` is the last moment that the store knows of: what was between it and now,
    /// nobody knows, and the trail says so.
    pub fn starts(&mut self, last: Option<Now>, version: &str) {
        let event = Event::VerifierStarted { at: self.clock.now(), last, version: version.to_owned() };
        self.apply(vec![event]);
    }

    /// Writes until it is told to stop, then checkpoints.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let due = self.epoch_due.min(self.checkpoint_due);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = sleep_until(due) => self.tick(),
                message = self.queue.recv() => match message {
                    Some(message) => self.take(message),
                    None => break,
                },
            }
        }
        let counted = self.refusals.rest(self.clock.now().t, true);
        self.apply(counted);
        self.epoch();
        self.checkpoint();
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if now >= self.epoch_due {
            self.epoch();
        }
        if now >= self.checkpoint_due {
            self.checkpoint();
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Run(run, reply) => {
                let taken = self.observe(&Input::Run(*run));
                // The task that ran it may be gone by now.
                let _gone = reply.send(taken);
            }
            Message::Control(control, reply) => {
                let taken = self.observe(&Input::Control(*control));
                let _gone = reply.send(taken);
            }
            // Whoever asked has given up and was told so: what they wanted must not happen behind their back.
            Message::Command(_, reply) if reply.is_closed() => {}
            Message::Command(command, reply) => {
                let answer = self.obey(command);
                drop(reply.send(answer));
            }
            Message::Configure(plan, reply) => {
                let answer = self.transact(&Input::Configure(plan)).map(|_| ());
                if let Some(plan) = &self.state.durable.plan {
                    self.history.retain(|name| plan.probe(name).is_some());
                }
                drop(reply.send(answer));
            }
            Message::Audit { from, limit, reply } => drop(reply.send(self.store.audit(from, limit))),
            Message::Base(reply) => drop(reply.send(self.store.base())),
        }
    }

    /// Carries out a command, or keeps that it was refused. That becomes durable with the next epoch, like any edge.
    fn obey(&mut self, command: Command) -> Result<Vec<Event>, CommandError> {
        let input = Input::Command(command);
        let answer = self.transact(&input);
        if let (Err(CommandError::Refused(refusal)), Input::Command(command)) = (&answer, &input) {
            let plan = self.state.durable.plan.as_deref();
            let refused = self.refusals.note(command, refusal, plan, self.clock.now());
            self.apply(refused.into_iter().collect());
        }
        answer
    }

    /// Takes in what was seen. Its edges become durable with the next epoch.
    fn observe(&mut self, input: &Input) -> bool {
        let now = self.clock.now();
        let Ok(events) = decide(&self.state, input, now) else { return false };
        self.apply(events);
        self.epoch_due = self.epoch_due.min(Instant::now() + BREATH);
        true
    }

    /// Carries out what somebody wants: durable first, then applied, then evaluated, then acknowledged.
    fn transact(&mut self, input: &Input) -> Result<Vec<Event>, CommandError> {
        let now = self.clock.now();
        let events = decide(&self.state, input, now).map_err(CommandError::Refused)?;
        if events.iter().any(Event::is_chained) {
            self.flush().and_then(|()| self.append(&events)).map_err(|error| self.failed(&error))?;
        }
        for event in &events {
            self.apply_one(event);
        }
        self.epoch();
        Ok(events)
    }

    fn failed(&mut self, error: &StoreError) -> CommandError {
        self.store_says(Err(error));
        // Whoever is told so and asks for a gate next must not meet one from before.
        self.epoch();
        CommandError::NotDurable(unwritable(error))
    }

    fn evaluate(&mut self) {
        let now = self.clock.now();
        let last = self.state.live.evaluation.as_ref().map(|evaluation| evaluation.at);
        if let Some(last) = last.filter(|last| now.t.since(last.t) > MAX_EPOCH_GAP) {
            self.apply(vec![Event::NobodyLooked { at: now, last }]);
        }
        match decide(&self.state, &Input::Epoch, now) {
            Ok(events) => self.apply(events),
            Err(refusal) => tracing::error!(refusal.message, "an evaluation was refused"),
        }
    }

    fn epoch(&mut self) {
        if self.state.live.unwritable.is_none()
            && let Err(error) = self.store.standing()
        {
            self.store_says(Err(&error));
        }
        self.evaluate();
        if !self.pending.is_empty() && self.state.live.unwritable.is_none() {
            let result = self.flush();
            self.store_says(result.as_ref().copied());
            // An edge that could not be written must not be answered with.
            if result.is_err() {
                self.evaluate();
            }
        }
        self.epoch_due = Instant::now() + TICK;
        let snapshot = Snapshot { state: Arc::new(self.state.clone()), evaluation: self.state.live.evaluation.clone() };
        self.publish.send_replace(Arc::new(snapshot));
        self.metrics.ledger_queue(self.queue.len());
    }

    fn apply(&mut self, events: Vec<Event>) {
        for event in events {
            self.apply_one(&event);
            if event.is_chained() {
                self.pending.push(event);
            }
        }
        if self.pending.len() > MAX_PENDING {
            let lost = self.pending.len() - MAX_PENDING;
            // A boot that was forgotten would let soaks and overrides outlive it; a start, verdicts.
            let first = |event: &&Event| matches!(event, Event::AnotherBoot { .. } | Event::VerifierStarted { .. });
            let kept = self.pending.iter().take_while(first).count();
            self.pending.drain(kept..kept.saturating_add(lost));
            tracing::error!(lost, "edges dropped from the audit trail: the ledger can not be written");
        }
    }

    fn apply_one(&mut self, event: &Event) {
        apply(&mut self.state, event);
        if let Event::RunObserved { probe, run, .. } = event {
            self.history.push(probe, run);
        }
        events::emit(&self.metrics, &self.state, event);
    }

    fn append(&mut self, events: &[Event]) -> Result<(), StoreError> {
        let chained: Vec<Event> = events.iter().filter(|event| event.is_chained()).cloned().collect();
        self.store.append(&chained, self.clock.now(), &boot_moment())
    }

    /// Makes the waiting edges durable.
    fn flush(&mut self) -> Result<(), StoreError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.store.append(&self.pending, self.clock.now(), &boot_moment())?;
        self.pending.clear();
        Ok(())
    }

    /// Writes soak and Memory, and tries a store that could not be written again.
    fn checkpoint(&mut self) {
        let counted = self.refusals.rest(self.clock.now().t, false);
        self.apply(counted);
        let result = self.flush().and_then(|()| self.store.checkpoint(&self.state, self.clock.now(), &boot_moment()));
        self.store_says(result.as_ref().copied());
        self.metrics.trail_begins(self.store.anchor().as_ref());
        self.checkpoint_due = Instant::now() + if result.is_ok() { self.store.checkpoint_every() } else { RETRY };
    }

    fn store_says(&mut self, result: Result<(), &StoreError>) {
        match &result {
            Ok(()) => self.metrics.persisted(self.clock.now()),
            Err(error) => self.metrics.persist_failed(error),
        }
        let before = self.state.live.unwritable.is_some();
        let input = Input::Store(result.map_err(unwritable));
        if let Ok(events) = decide(&self.state, &input, self.clock.now()) {
            self.apply(events);
        }
        if self.state.live.unwritable.is_some() && !before {
            self.checkpoint_due = self.checkpoint_due.min(Instant::now() + RETRY);
            self.epoch_due = Instant::now();
        }
    }
}

fn unwritable(error: &StoreError) -> Unwritable {
    Unwritable { remote: error.is_remote(), cause: error.to_string() }
}
