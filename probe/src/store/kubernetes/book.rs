//! The book: the one object by which everything else of the ledger counts.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::{Resume, StoreError, sealed};
use crate::audit::{Head, sha256};
use crate::kubernetes::lease::Term;

/// The key of the newest frames.
const EVENTS: &str = "events";
/// The key of the rest.
const LEDGER: &str = "ledger";

/// What was acknowledged last, the newest frames, and where the others are.
#[derive(Debug, Clone)]
pub(super) struct Book {
    pub(super) term: Term,
    pub(super) head: Head,
    /// None before the first append.
    pub(super) moment: Option<Resume>,
    /// Names of the objects with earlier frames, in their order.
    pub(super) segments: Vec<String>,
    pub(super) checkpoint: Option<CheckpointRef>,
    /// Frames after those, a line each.
    pub(super) open: String,
}

/// [`Book`], without its frames, as it is kept.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Kept {
    term: Term,
    head: Head,
    moment: Option<Resume>,
    segments: Vec<String>,
    checkpoint: Option<CheckpointRef>,
}

/// Where a checkpoint is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CheckpointRef {
    pub(super) slot: Slot,
    pub(super) chunks: usize,
    /// Of the whole text.
    pub(super) sha256: String,
}

/// Checkpoints are written to two places in turn: the one that counts stays whole while the next is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Slot {
    /// The first.
    A,
    /// The other.
    B,
}

impl Slot {
    pub(super) const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// The object of one of its chunks.
    pub(super) fn chunk(self, name: &str, index: usize) -> String {
        let letter = match self {
            Self::A => 'a',
            Self::B => 'b',
        };
        format!("{name}-checkpoint-{letter}-{index}")
    }
}

impl CheckpointRef {
    pub(super) fn new(slot: Slot, chunks: usize, text: &str) -> Self {
        Self { slot, chunks, sha256: sha256(text.as_bytes()) }
    }
}

impl Book {
    /// That of a ledger in which nothing has happened.
    pub(super) fn blank(term: Term) -> Self {
        let head = Head::genesis();
        Self { term, head, moment: None, segments: Vec::new(), checkpoint: None, open: String::new() }
    }

    /// The first of the frames that it holds itself, or will hold.
    pub(super) fn open_first(&self) -> u64 {
        let lines = u64::try_from(self.open.lines().count()).unwrap_or(u64::MAX);
        self.head.seq.saturating_add(1).saturating_sub(lines)
    }

    /// As it is kept.
    pub(super) fn texts(&self) -> Result<BTreeMap<String, String>, StoreError> {
        let Self { term, head, moment, segments, checkpoint, open } = self.clone();
        let kept = sealed::seal(&Kept { term, head, moment, segments, checkpoint })?;
        Ok(BTreeMap::from([(LEDGER.to_owned(), kept), (EVENTS.to_owned(), open)]))
    }

    /// As it was kept. `place` is its own, for what is said of it.
    pub(super) fn read(place: &str, texts: &BTreeMap<String, String>) -> Result<Self, StoreError> {
        let damaged = |why: &str| StoreError::damaged(Path::new(place), why);
        let (Some(kept), Some(open)) = (texts.get(LEDGER), texts.get(EVENTS)) else {
            return Err(damaged("it does not hold a ledger"));
        };
        if texts.len() > 2 {
            return Err(damaged("it was changed after it was written: it holds more than was written"));
        }
        let Kept { term, head, moment, segments, checkpoint } = sealed::open(Path::new(place), kept.as_bytes())?;
        Ok(Self { term, head, moment, segments, checkpoint, open: open.clone() })
    }
}

/// The first frame in the object of this name.
pub(super) fn first_of(name: &str) -> u64 {
    name.rsplit('-').nth(1).and_then(|digits| digits.parse().ok()).unwrap_or_default()
}
