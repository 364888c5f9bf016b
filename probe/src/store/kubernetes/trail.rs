//! The trail is bounded: beyond a size the oldest segments go. What they told stays as the *base*, with which looking back begins.
//!
//! First the base is written, then the book names it and the segments no more, by one compare-and-swap; only then are they deleted.
//! What is left behind by a crash in between, no book names, and the next verifier sweeps it away.

use std::path::PathBuf;
use std::str::FromStr;

use super::book::{BaseRef, Book, first_of};
use super::chunks::{Kind, Slot};
use super::{KubernetesStore, SEGMENT_BYTES};
use crate::audit::Frame;
use crate::kubernetes::objects::ObjectError;
use crate::past::Record;
use crate::store::{StoreError, sealed};

/// Segments that are removed at once: the writer does nothing else meanwhile.
pub(super) const AT_ONCE: usize = 4;
/// What is allowed for the trail, in bytes: the book, which each append writes, names each segment.
const SIZES: std::ops::RangeInclusive<usize> = 1024 * 1024..=256 * 1024 * 1024;

/// How much of the audit trail is kept, as a number of full segments. The newest frames, in the book, come on top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trail(pub(super) usize);

impl FromStr for Trail {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match text.get(digits.len()..).unwrap_or_default() {
            "KiB" | "Ki" => 1024,
            "MiB" | "Mi" => 1024 * 1024,
            "GiB" | "Gi" => 1024 * 1024 * 1024,
            _ => 0,
        };
        let bytes = digits.parse::<usize>().unwrap_or_default().saturating_mul(unit);
        if SIZES.contains(&bytes) {
            return Ok(Self(bytes / SEGMENT_BYTES));
        }
        Err("a size from 1MiB to 256MiB, like 16MiB".to_owned())
    }
}

impl KubernetesStore {
    /// What the frames told that are no longer kept.
    pub(super) fn read_base(&self, place: &str, base: &BaseRef) -> Result<Record, StoreError> {
        let place = PathBuf::from(Kind::Base.of(place));
        let text = self.read_text(Kind::Base, &base.text, &place)?;
        let record: Record = sealed::open(&place, text.as_bytes())?;
        if record.past.head != base.anchor {
            return Err(StoreError::damaged(&place, format!("it does not end with event {}", base.anchor.seq)));
        }
        Ok(record)
    }

    /// Removes the oldest segments if there are more than are to be kept, but none that the checkpoint, which includes the frames
    /// up to this one, would need. To be called when the book has just been written: then no earlier attempt, which may still be on
    /// its way, fits any more, and what it wrote may be written over.
    pub(super) fn rotate(&mut self, included: u64) -> Result<(), StoreError> {
        let over = self.book.segments.len().saturating_sub(self.trail.0).min(AT_ONCE);
        let nexts = self.book.segments.iter().skip(1).map(|name| first_of(name)).chain([self.book.open_first()]);
        let count = nexts.take(over).take_while(|next| next.saturating_sub(1) <= included).count();
        let (dropped, kept) = self.book.segments.split_at(count);
        let (dropped, segments) = (dropped.to_vec(), kept.to_vec());
        if dropped.is_empty() {
            return Ok(());
        }
        let mut record = self.base_record()?.unwrap_or_default();
        let first = record.past.head.seq.saturating_add(1);
        for name in &dropped {
            self.fold(&mut record, name)?;
        }
        let slot = Slot::beside(self.book.base.as_ref().map(|base| &base.text));
        let text = self.write_text(Kind::Base, slot, &sealed::seal(&record)?)?;
        let anchor = record.past.head;
        let last = anchor.seq;
        self.publish(Book { segments, base: Some(BaseRef { anchor, text }), ..self.book.clone() })?;
        let objects = dropped.join(" ");
        tracing::info!(
            objects,
            "events {first} to {last} of the audit trail are removed, it has become longer than is to be kept; what they told of \
             phases, facts, overrides and regressions stays"
        );
        self.leftovers.extend(dropped);
        Ok(())
    }

    /// What the frames told that are no longer kept; none while all are.
    pub(super) fn base_record(&self) -> Result<Option<Record>, StoreError> {
        self.book.base.as_ref().map(|base| self.read_base(&self.place(), base)).transpose()
    }

    fn fold(&self, record: &mut Record, name: &str) -> Result<(), StoreError> {
        let place = PathBuf::from(self.objects.place(name));
        let damaged = |why: String| StoreError::damaged(&place, why);
        for line in self.segment(name)?.lines() {
            let frame: Frame = serde_json::from_str(line).map_err(|error| damaged(format!("not a frame: {error}")))?;
            record.past.head.follow(&frame).map_err(|broken| damaged(broken.to_string()))?;
            record.take(&frame).map_err(|error| damaged(format!("frame {}: unknown event: {error}", frame.seq)))?;
        }
        Ok(())
    }

    /// Deletes segments that no acknowledged book names any more, and none ever will again.
    pub(super) fn delete_leftovers(&mut self) {
        while let Some(name) = self.leftovers.last() {
            if self.held().is_err() {
                return;
            }
            match self.objects.delete(name) {
                Ok(()) | Err(ObjectError::Absent) => drop(self.leftovers.pop()),
                Err(error) => {
                    return tracing::warn!(name, %error, "a removed part of the audit trail could not be deleted: tried again later");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_and_within_reason() {
        for (text, segments) in [("1MiB", 8), ("16MiB", 128), ("1536Ki", 12), ("256Mi", 2048)] {
            assert_eq!(text.parse(), Ok(Trail(segments)), "{text}");
        }
        for text in
            ["", "16", "16MB", "0MiB", "1023KiB", "257MiB", "1GiB", "-1MiB", "1.5MiB", "99999999999999999999GiB", "MiB", "16 MiB"]
        {
            assert!(text.parse::<Trail>().is_err(), "{text}");
        }
    }
}
