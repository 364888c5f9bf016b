//! The book: the one object by which everything else of the ledger counts.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::{Resume, StoreError, sealed};
use super::chunks::Chunked;
use crate::audit::Head;
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
    /// None while all frames are kept.
    pub(super) base: Option<BaseRef>,
    /// Names of the objects with earlier frames, in their order.
    pub(super) segments: Vec<String>,
    pub(super) checkpoint: Option<Chunked>,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base: Option<BaseRef>,
    segments: Vec<String>,
    checkpoint: Option<Chunked>,
}

/// What is left of the frames that are no longer kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct BaseRef {
    /// The newest of them.
    pub(super) anchor: Head,
    /// What they told.
    pub(super) text: Chunked,
}

impl Book {
    /// That of a ledger in which nothing has happened.
    pub(super) fn blank(term: Term) -> Self {
        let head = Head::genesis();
        Self { term, head, moment: None, base: None, segments: Vec::new(), checkpoint: None, open: String::new() }
    }

    /// The first of the frames that it holds itself, or will hold.
    pub(super) fn open_first(&self) -> u64 {
        let lines = u64::try_from(self.open.lines().count()).unwrap_or(u64::MAX);
        self.head.seq.saturating_add(1).saturating_sub(lines)
    }

    /// The newest frame that is no longer kept.
    pub(super) fn anchor(&self) -> Option<&Head> {
        self.base.as_ref().map(|base| &base.anchor)
    }

    /// As it is kept. A verifier that knows of no base must not find a part of one damaged, so it is told that this is newer.
    pub(super) fn texts(&self) -> Result<BTreeMap<String, String>, StoreError> {
        let Self { term, head, moment, base, segments, checkpoint, open } = self.clone();
        let schema = if base.is_some() { sealed::SHORTENED } else { sealed::SCHEMA };
        let kept = sealed::seal_as(schema, &Kept { term, head, moment, base, segments, checkpoint })?;
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
        let Kept { term, head, moment, base, segments, checkpoint } =
            sealed::open_as(sealed::SHORTENED, Path::new(place), kept.as_bytes())?;
        let book = Self { term, head, moment, base, segments, checkpoint, open: open.clone() };
        if book.texts()? != *texts {
            return Err(damaged("it was changed after it was written: not the form that phasegate writes"));
        }
        Ok(book)
    }
}

/// The first frame in the object of this name.
pub(super) fn first_of(name: &str) -> u64 {
    name.rsplit('-').nth(1).and_then(|digits| digits.parse().ok()).unwrap_or_default()
}
