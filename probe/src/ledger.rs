//! The ledger: the single writer. Runs, controls, documents and commands come in at one door; each becomes events; the
//! chained ones are durable before a command is acknowledged; every evaluation is published as a [`Snapshot`].

mod history;
mod refusals;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::audit::AuditPage;
use crate::clock::Clock;
use crate::event::{Command, Control, Event, Refusal, Run};
use crate::gate::{Evaluation, MAX_EPOCH_GAP};
use crate::kubernetes::lease::Tenure;
use crate::now::Now;
use crate::past::Record;
use crate::plan::Plan;
use crate::state::{State, Unwritable};
use crate::store::StoreError;

pub use history::History;
pub use writer::{Writer, WriterParts};

/// Messages that may wait for the writer.
const QUEUE: usize = 1024;

/// What readers get: the state and its newest evaluation, never changed once published.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Everything the ledger knows.
    pub state: Arc<State>,
    /// The newest evaluation; none before the first epoch.
    pub evaluation: Option<Arc<Evaluation>>,
}

/// A Snapshot as it is read: with the moment of reading, which decides whether it still counts.
#[derive(Debug, Clone)]
pub struct Reading {
    /// What was published.
    pub snapshot: Arc<Snapshot>,
    /// When it is read.
    pub now: Now,
    /// Whether the verifier holds the right to write its ledger, when it is read.
    pub held: bool,
}

impl Reading {
    /// The evaluation, if it is fresh enough to answer with. An older one is no answer: the evaluator may be frozen. Nor is one
    /// of a verifier that can not renew its Lease: another one may have taken over.
    pub fn fresh(&self) -> Option<&Arc<Evaluation>> {
        let fresh = |evaluation: &&Arc<Evaluation>| evaluation.age(self.now.t) <= MAX_EPOCH_GAP;
        self.snapshot.evaluation.as_ref().filter(|_| self.held).filter(fresh)
    }

    /// How old the newest evaluation is.
    pub fn age(&self) -> Option<Duration> {
        self.snapshot.evaluation.as_ref().map(|evaluation| evaluation.age(self.now.t))
    }
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The ledger says no.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// It could not be made durable, so it did not happen.
    #[error("the ledger can not be written: {}", .0.cause)]
    NotDurable(Unwritable),
    /// The ledger is shutting down.
    #[error("the ledger is shutting down")]
    Stopped,
}

/// What reaches the writer.
#[derive(Debug)]
enum Message {
    Run(Box<Run>, oneshot::Sender<bool>),
    Control(Box<Control>, oneshot::Sender<bool>),
    Command(Command, oneshot::Sender<Result<Vec<Event>, CommandError>>),
    Configure(Arc<Plan>, oneshot::Sender<Result<(), CommandError>>),
    Audit { from: u64, limit: usize, reply: oneshot::Sender<Result<AuditPage, StoreError>> },
    Base(oneshot::Sender<Result<Option<Record>, StoreError>>),
}

/// The way to the ledger. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ledger {
    queue: mpsc::Sender<Message>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    history: Arc<History>,
    clock: Clock,
    tenure: Option<Tenure>,
    /// Pages of the audit trail are read by the writer: one at a time, so that Runs do not wait behind many.
    pages: Arc<Semaphore>,
}

impl Ledger {
    /// Hands in a finished Run. False: it was not taken, and its Memory does not count.
    pub async fn run(&self, run: Run) -> bool {
        self.ask(|reply| Message::Run(Box::new(run), reply)).await.unwrap_or(false)
    }

    /// Hands in a finished negative control.
    pub async fn control(&self, control: Control) -> bool {
        self.ask(|reply| Message::Control(Box::new(control), reply)).await.unwrap_or(false)
    }

    /// Carries out a command. Ok: it is durable, with the events it made.
    pub async fn command(&self, command: Command) -> Result<Vec<Event>, CommandError> {
        self.ask(|reply| Message::Command(command, reply)).await.unwrap_or(Err(CommandError::Stopped))
    }

    /// Puts a document in force, unless it would rewrite what has happened.
    pub async fn configure(&self, plan: Arc<Plan>) -> Result<(), CommandError> {
        self.ask(|reply| Message::Configure(plan, reply)).await.unwrap_or(Err(CommandError::Stopped))
    }

    /// A page of the audit trail. None: the ledger is shutting down.
    pub async fn audit(&self, from: u64, limit: usize) -> Option<Result<AuditPage, StoreError>> {
        let _turn = self.pages.acquire().await.ok()?;
        self.ask(|reply| Message::Audit { from, limit, reply }).await
    }

    /// What the events told that are no longer kept. None: the ledger is shutting down.
    pub async fn base(&self) -> Option<Result<Option<Record>, StoreError>> {
        let _turn = self.pages.acquire().await.ok()?;
        self.ask(Message::Base).await
    }

    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(message(reply)).await.ok()?;
        answer.await.ok()
    }

    /// The newest Snapshot, with the moment of this reading.
    pub fn read(&self) -> Reading {
        // The clock is read last: a process frozen in between must not make an old evaluation look young.
        let snapshot = self.snapshots.borrow().clone();
        Reading { snapshot, now: self.clock.now(), held: self.is_held() }
    }

    /// The same reading, looked at once more.
    pub fn again(&self, reading: &Reading) -> Reading {
        Reading { snapshot: reading.snapshot.clone(), now: self.clock.now(), held: self.is_held() }
    }

    fn is_held(&self) -> bool {
        self.tenure.as_ref().is_none_or(Tenure::is_held)
    }

    /// Follows the Snapshots.
    pub fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.clone()
    }

    /// The last Runs of each probe.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The clock that the ledger goes by.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// How many messages wait for the writer.
    pub fn queued(&self) -> usize {
        self.queue.max_capacity().saturating_sub(self.queue.capacity())
    }
}

#[cfg(test)]
mod tests;
