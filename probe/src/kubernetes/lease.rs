//! The Lease: of several verifiers that could write one ledger, the one that may.
//!
//! Whoever wants it takes it once it is free, or once its record has not moved for its whole duration, measured by the
//! taker's own boot time: wall clocks are written into it for people and never compared. Whoever has it counts the duration
//! from before the request that renewed it, which is before anybody else could have seen that renewal. So the holder's right
//! ends before another's begins, however long either of them was frozen in between.

mod record;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use self::record::{Record, Sighting};
use crate::clock::boottime_ms;

/// How long the right to write lasts without being renewed.
pub const DURATION: Duration = Duration::from_secs(15);
/// How often it is renewed.
const RENEW: Duration = Duration::from_secs(5);
/// How often it is tried again, and how often another holder is looked at.
const RETRY: Duration = Duration::from_secs(1);

/// One holder's time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Term {
    /// Counts the holders of one Lease.
    pub number: u64,
    /// Who: one process, never the same again.
    pub holder: String,
}

/// A holder's right to write, as it knows it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tenure {
    term: Arc<Term>,
    /// In the machine's boot time, in milliseconds.
    until: Arc<AtomicU64>,
}

/// Why a Lease can not be taken or held.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The API server forbids it, which waiting does not change.
    #[error(
        "can not use lease {place}: {why}; the verifier's role needs `get`, `create` and `patch` on `leases` of coordination.k8s.io there"
    )]
    Forbidden {
        /// The Lease.
        place: String,
        /// The API server's words.
        why: String,
    },
    /// Somebody else has it.
    #[error("lease {place} was taken over by {holder}")]
    Lost {
        /// The Lease.
        place: String,
        /// Who; none if it is gone.
        holder: String,
    },
    /// It was told to stop while it waited.
    #[error("told to stop while waiting for lease {0}")]
    Stopped(String),
}

impl Tenure {
    fn new(term: Term) -> Self {
        Self { term: Arc::new(term), until: Arc::default() }
    }

    /// One that lasts until it is ended, without a Lease. For tests.
    #[cfg(test)]
    pub(crate) fn endless(number: u64) -> Self {
        let tenure = Self::new(Term { number, holder: format!("holder-{number}") });
        tenure.until.store(u64::MAX, Ordering::SeqCst);
        tenure
    }

    /// Ends it.
    pub(crate) fn end(&self) {
        self.until.store(0, Ordering::SeqCst);
    }

    /// Whether it lasts, at this very moment.
    pub fn is_held(&self) -> bool {
        boottime_ms() < self.until.load(Ordering::SeqCst)
    }

    /// Whose it is.
    pub fn term(&self) -> &Term {
        &self.term
    }

    /// It was renewed by a request that began then.
    fn renewed(&self, began_ms: u64) {
        let lasts = u64::try_from(DURATION.as_millis()).unwrap_or(0);
        self.until.store(began_ms.saturating_add(lasts), Ordering::SeqCst);
    }
}

/// One Lease, and who wants it.
#[derive(Clone)]
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    place: String,
    /// Never the same for two processes.
    holder: String,
}

/// A Lease that is held.
pub struct Held {
    candidate: Candidate,
    tenure: Tenure,
    /// Its record as it was last written.
    record: Record,
}

impl Candidate {
    /// Somebody who wants this Lease.
    pub fn new(client: Client, namespace: &str, name: &str, holder: String) -> Self {
        let place = format!("{namespace}/{name}");
        Self { api: Api::namespaced(client, namespace), name: name.to_owned(), place, holder }
    }

    /// Waits until it is free, and takes it.
    pub async fn acquire(self, stop: &CancellationToken) -> Result<Held, LeaseError> {
        let mut sighting: Option<Sighting> = None;
        let mut said = String::new();
        loop {
            let why = match self.attempt(&mut sighting).await {
                Ok(held) => return Ok(held),
                Err(Refused::Forever(why)) => return Err(LeaseError::Forbidden { place: self.place, why }),
                Err(Refused::Now(why)) => why,
            };
            if why != said {
                tracing::warn!(lease = self.place, why, "waiting for the Lease");
                said = why;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return Err(LeaseError::Stopped(self.place)),
                () = sleep(RETRY) => {}
            }
        }
    }

    async fn attempt(&self, sighting: &mut Option<Sighting>) -> Result<Held, Refused> {
        let began = boottime_ms();
        let found = self.ask(self.api.get_opt(&self.name)).await?;
        let Some(lease) = found else {
            let record = Record::first(&self.holder);
            let lease = record.lease(&self.name);
            let made = self.ask(self.api.create(&PostParams::default(), &lease)).await?;
            return Ok(self.held(record.written(&made), began));
        };
        let record = Record::of(&lease);
        let seen = Sighting::observe(sighting.take(), &record, boottime_ms());
        let free = record.is_free() || seen.has_expired();
        *sighting = Some(seen);
        if !free {
            return Err(Refused::Now(format!("{} has it", record.holder)));
        }
        let mine = record.taken_by(&self.holder);
        let began = boottime_ms();
        let taken = self.write(&mine).await?;
        Ok(self.held(mine.written(&taken), began))
    }

    fn held(&self, record: Record, began_ms: u64) -> Held {
        let tenure = Tenure::new(Term { number: record.number, holder: self.holder.clone() });
        tenure.renewed(began_ms);
        tracing::info!(lease = self.place, term = record.number, holder = self.holder, "took the Lease");
        Held { candidate: self.clone(), tenure, record }
    }

    async fn write(&self, record: &Record) -> Result<Lease, Refused> {
        self.ask(self.api.patch(&self.name, &PatchParams::default(), &Patch::Merge(record.patch()))).await
    }

    async fn ask<T>(&self, request: impl Future<Output = kube::Result<T>>) -> Result<T, Refused> {
        super::ask(request).await.map_err(|unanswered| match unanswered.status() {
            Some(status) if status.code == 403 => Refused::Forever(status.message.clone()),
            Some(_) | None => Refused::Now(unanswered.to_string()),
        })
    }
}

enum Refused {
    /// It may be different in a moment.
    Now(String),
    /// It will not be.
    Forever(String),
}

impl Held {
    /// The right that comes with it.
    pub fn tenure(&self) -> &Tenure {
        &self.tenure
    }

    /// Renews it until it is told to stop. Returns early when somebody else has it.
    pub async fn keep(&mut self, stop: CancellationToken) -> Result<(), LeaseError> {
        let mut tick = interval(RENEW);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = tick.tick() => {}
            }
            if let Err(why) = self.renew().await? {
                tracing::warn!(lease = self.candidate.place, why, held = self.tenure.is_held(), "the Lease was not renewed");
                tick.reset_after(RETRY);
            }
        }
        Ok(())
    }

    /// Renews it once. Inner error: not this time.
    async fn renew(&mut self) -> Result<Result<(), String>, LeaseError> {
        let began = boottime_ms();
        // The moment of writing, which the record does not hold, is what moves it.
        match self.candidate.write(&self.record).await {
            Ok(lease) => {
                self.record = self.record.clone().written(&lease);
                self.tenure.renewed(began);
                Ok(Ok(()))
            }
            Err(Refused::Now(why) | Refused::Forever(why)) => self.still_ours().await.map(|()| Err(why)),
        }
    }

    /// After a write that failed: whose it is now. A change that leaves the record ours is taken in, so that the next write fits.
    async fn still_ours(&mut self) -> Result<(), LeaseError> {
        let Ok(found) = self.candidate.ask(self.candidate.api.get_opt(&self.candidate.name)).await else { return Ok(()) };
        let now = found.as_ref().map(Record::of);
        match now {
            Some(record) if record.holder == self.record.holder && record.number == self.record.number => {
                self.record = record;
                Ok(())
            }
            other => {
                self.tenure.end();
                let holder = other.map_or_else(|| "nobody: it was deleted".to_owned(), |record| record.holder);
                Err(LeaseError::Lost { place: self.candidate.place.clone(), holder })
            }
        }
    }

    /// Gives it back, so that the next one does not have to wait. What was meant to be written must have been by now.
    pub async fn release(self) {
        self.tenure.end();
        if let Err(Refused::Now(why) | Refused::Forever(why)) = self.candidate.write(&self.record.released()).await {
            tracing::warn!(
                lease = self.candidate.place,
                why,
                "the Lease was not given back: the next verifier waits for its end"
            );
        }
    }
}
