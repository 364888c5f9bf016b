//! Where the ledger is kept: [`FileStore`] is the default, [`KubernetesStore`] that of a cluster. The verifier's single writer
//! calls it synchronously.
//!
//! Two things are kept: the chain of [`Frame`]s, which alone decides what is [`crate::state::Durable`], and the newest
//! checkpoint of the state, which also holds what is [`crate::state::Soft`]. A store that does not verify is refused; it is
//! never repaired by guessing, never overwritten and never taken for an empty one.
//!
//! A directory keeps the whole chain, however long. In a cluster it is bounded: the oldest frames go, and what they told stays as
//! a [`Record`], with which looking back begins.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::audit::{AuditPage, Frame, Head};
use crate::event::Event;
use crate::now::{Millis, Now};
use crate::past::Record;
use crate::state::State;

mod error;
mod file;
mod kubernetes;
mod lock;
mod memory;
mod scan;
mod sealed;
#[cfg(test)]
pub(crate) mod testing;
mod walk;

pub use error::StoreError;
pub use file::{FileStore, verify_dir};
pub use kubernetes::{KubernetesStore, Trail};
pub use memory::MemoryStore;

/// A machine's own time since it was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BootMoment {
    /// Which start of which machine.
    pub boot_id: String,
    /// Milliseconds since then, suspended time included.
    pub boottime_ms: u64,
}

/// The last moment that a store knows of: the clock continues the ledger's timeline from here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resume {
    /// On the ledger's own timeline.
    pub t: Millis,
    /// By the wall clock.
    pub utc: DateTime<Utc>,
    /// By the machine; none when only an unacknowledged frame tells of this moment.
    pub boot: Option<BootMoment>,
}

/// What was kept.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The ledger as in a new process: nothing of it is live yet.
    pub state: State,
    /// The last moment.
    pub resume: Resume,
}

/// Keeps a ledger. One value is the only writer of its place.
pub trait Store: Send {
    /// Makes the chained ones of these events durable, all or none. After an error nothing is acknowledged and the same call
    /// can be made again. Blocks on the disk.
    fn append(&mut self, events: &[Event], at: Now, boot: &BootMoment) -> Result<(), StoreError>;

    /// Replaces the checkpoint by this state, to which every appended event was applied. After an error the old one stands.
    /// Blocks on the disk.
    fn checkpoint(&mut self, state: &State, at: Now, boot: &BootMoment) -> Result<(), StoreError>;

    /// Acknowledged frames from `from_seq` on, at most `limit` and at least one if there is one; from 0 on: from the first that is
    /// kept. A frame that is no longer kept is [`StoreError::Dropped`].
    fn audit(&self, from_seq: u64, limit: usize) -> Result<AuditPage, StoreError>;

    /// The newest acknowledged frame.
    fn head(&self) -> Head;

    /// The newest frame that is no longer kept; none while all are.
    fn anchor(&self) -> Option<Head> {
        None
    }

    /// What the frames told that are no longer kept; none while all are. It ends with the anchor.
    fn base(&self) -> Result<Option<Record>, StoreError> {
        Ok(None)
    }

    /// How often a checkpoint may be written.
    fn checkpoint_every(&self) -> Duration {
        Duration::from_secs(10)
    }

    /// Whether this is still the writer of its place, as far as is known without asking anybody.
    fn standing(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl Resume {
    fn new(at: Now, boot: &BootMoment) -> Self {
        Self { t: at.t, utc: at.utc, boot: Some(boot.clone()) }
    }

    /// The latest of some moments; at the same one, the one that knows the machine's time.
    fn latest(moments: impl IntoIterator<Item = Self>) -> Option<Self> {
        moments.into_iter().max_by_key(|moment| (moment.t, moment.boot.is_some()))
    }
}

/// The frames of the chained ones of these events, each of which is known to be readable again.
fn frames(head: &Head, events: &[Event], at: Now) -> Result<Vec<Frame>, StoreError> {
    let chained: Vec<&Event> = events.iter().filter(|event| event.is_chained()).collect();
    let (mut head, mut frames) = (head.clone(), Vec::with_capacity(chained.len()));
    for (done, event) in chained.iter().enumerate() {
        let rest = u32::try_from(chained.len().saturating_sub(done + 1)).map_err(|_| StoreError::TooMany)?;
        let frame = Frame::new(&head, at, rest, event).map_err(StoreError::Encode)?;
        if frame.event().map_err(StoreError::Encode)? != **event {
            return Err(StoreError::Ambiguous(frame.event.get().to_owned()));
        }
        head = Head { seq: frame.seq, hash: frame.hash.clone() };
        frames.push(frame);
    }
    Ok(frames)
}

/// A page of the audit trail is not much longer than this, in bytes.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// A page that is being filled: a limit of frames and of bytes, and at least one frame.
struct Filling {
    frames: Vec<Frame>,
    bytes: usize,
    limit: usize,
}

impl Filling {
    fn new(limit: usize) -> Self {
        Self { frames: Vec::new(), bytes: 0, limit: limit.max(1) }
    }

    /// Whether a frame of this length in bytes belongs to it as well.
    fn takes(&mut self, length: usize) -> bool {
        self.bytes = self.bytes.saturating_add(length);
        self.frames.len() < self.limit && (self.bytes <= PAGE_BYTES || self.frames.is_empty())
    }
}

/// A page of these frames; `head` is the newest of the chain.
fn page(frames: Vec<Frame>, head: &Head) -> AuditPage {
    let next = frames.last().map(|frame| frame.seq.saturating_add(1)).filter(|next| *next <= head.seq);
    AuditPage { frames, next, head: head.clone(), anchor: None }
}
