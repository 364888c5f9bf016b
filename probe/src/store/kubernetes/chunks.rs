//! Texts that are cut into several objects, and written to that one of two slots which the book does not name.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{KubernetesStore, TEXT, open};
use crate::audit::sha256;
use crate::kubernetes::objects::ObjectError;
use crate::store::StoreError;

/// A text is cut into objects of this size, in bytes; an object may have a MiB.
const CHUNK_BYTES: usize = 512 * 1024;

/// What a text is, as it is part of the names of its objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The state.
    Checkpoint,
    /// What the events told that are no longer kept.
    Base,
}

/// Each text is written to two places in turn: the one that counts stays whole while the next is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Slot {
    /// The first.
    A,
    /// The other.
    B,
}

/// Where a text is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Chunked {
    pub(super) slot: Slot,
    pub(super) chunks: usize,
    /// Of the whole text.
    pub(super) sha256: String,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Base => "base",
        }
    }

    /// What people call it.
    pub(super) fn of(self, place: &str) -> String {
        match self {
            Self::Checkpoint => format!("the checkpoint of {place}"),
            Self::Base => format!("what is left of the earliest events of {place}"),
        }
    }
}

impl Slot {
    /// The one to write to, while this is the one that counts.
    pub(super) fn beside(counts: Option<&Chunked>) -> Self {
        match counts.map(|text| text.slot) {
            None | Some(Self::B) => Self::A,
            Some(Self::A) => Self::B,
        }
    }

    const fn letter(self) -> char {
        match self {
            Self::A => 'a',
            Self::B => 'b',
        }
    }
}

impl KubernetesStore {
    fn chunk(&self, kind: Kind, slot: Slot, index: usize) -> String {
        format!("{}-{}-{}-{index}", self.name, kind.as_str(), slot.letter())
    }

    /// Writes a text into a slot.
    pub(super) fn write_text(&mut self, kind: Kind, slot: Slot, text: &str) -> Result<Chunked, StoreError> {
        let chunks = cut(text, CHUNK_BYTES);
        for (index, chunk) in chunks.iter().enumerate() {
            self.held()?;
            let name = self.chunk(kind, slot, index);
            let texts = BTreeMap::from([(TEXT.to_owned(), (*chunk).to_owned())]);
            // What is not known of a chunk is found out with the next attempt: a silent API server is not asked twice in one.
            let known = self.chunks.remove(&name);
            let version = self.write_chunk(&name, known, &texts)?;
            self.chunks.insert(name, version);
        }
        Ok(Chunked { slot, chunks: chunks.len(), sha256: sha256(text.as_bytes()) })
    }

    fn write_chunk(&self, name: &str, known: Option<String>, texts: &BTreeMap<String, String>) -> Result<String, StoreError> {
        let version = match known {
            Some(version) => version,
            None => match self.objects.create(name, texts, false) {
                Ok(version) => return Ok(version),
                // The slot that the book does not name holds nothing of worth: whatever is there may be written over.
                Err(ObjectError::Exists) => {
                    let found = self.objects.get(name).map_err(self.api("read", name))?;
                    found.ok_or(ObjectError::Absent).map_err(self.api("write", name))?.version
                }
                Err(error) => return Err(self.api("write", name)(error)),
            },
        };
        // Only now: whoever takes over after the version was read changes it, and whoever did so before is noticed here.
        self.held()?;
        self.objects.replace(name, &version, texts).map_err(self.api("write", name))
    }

    /// Reads a text that the book names. `place` is its own, for what is said of it.
    pub(super) fn read_text(&self, kind: Kind, text: &Chunked, place: &Path) -> Result<String, StoreError> {
        let mut whole = String::new();
        for index in 0..text.chunks {
            whole.push_str(&open::text(self.objects.as_ref(), &self.chunk(kind, text.slot, index))?);
        }
        if sha256(whole.as_bytes()) != text.sha256 {
            return Err(StoreError::damaged(place, "it was changed after it was written: its checksum does not match"));
        }
        Ok(whole)
    }
}

/// Pieces of at most this many bytes, none of which ends within a character.
fn cut(text: &str, bytes: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(bytes));
        pieces.push(piece);
        rest = after;
    }
    pieces
}
