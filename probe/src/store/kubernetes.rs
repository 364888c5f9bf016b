//! The ledger in a cluster, as objects with resource versions.
//!
//! One object, the *book*, holds what was acknowledged last, the newest frames, and the names of everything else: each append
//! and each checkpoint becomes valid by one compare-and-swap of it. Frames that are full are moved to objects that are never
//! changed again; a checkpoint is written to that one of two slots which the book does not name. The oldest of those frames go when they
//! become too many ([`trail`]). The book also holds the [`Term`](crate::kubernetes::lease::Term) of its writer: taking over changes it, so that whatever an earlier writer still sends does not fit any more.

mod book;
mod chunks;
mod open;
mod trail;

use std::collections::BTreeMap;
use std::time::Duration;

use self::book::Book;
use self::chunks::{Kind, Slot};
pub use self::trail::Trail;
use super::scan::SnapshotRef;
use super::{BootMoment, Filling, Resume, Store, StoreError, frames, page, sealed};
use crate::audit::{AuditPage, Frame, Head};
use crate::event::Event;
use crate::kubernetes::lease::Tenure;
use crate::kubernetes::objects::{ObjectError, Objects};
use crate::now::Now;
use crate::past::Record;
use crate::state::State;

/// Frames in the book beyond this are moved to an object of their own, in bytes.
const SEGMENT_BYTES: usize = 128 * 1024;
/// Time between two checkpoints: an API server is shared with everybody.
const CHECKPOINT: Duration = Duration::from_secs(30);
/// The key of what any of the objects holds.
const TEXT: &str = "text";
/// Tries to find out where a write that failed has left the book.
const TRIES: usize = 3;

/// The ledger in a cluster, which it may write as long as it holds the Lease.
pub struct KubernetesStore {
    objects: Box<dyn Objects>,
    tenure: Tenure,
    name: String,
    /// How long the trail may become.
    trail: Trail,
    /// As it was acknowledged.
    book: Book,
    /// The book's resource version.
    version: String,
    /// Texts of books that may, or may not, have been written.
    doubtful: Vec<BTreeMap<String, String>>,
    /// Resource versions of chunks, by name.
    chunks: BTreeMap<String, String>,
    /// Segments that the book does not name any more, and that are still there.
    leftovers: Vec<String>,
}

impl KubernetesStore {
    fn place(&self) -> String {
        self.objects.place(&self.book_name())
    }

    fn book_name(&self) -> String {
        format!("{}-ledger", self.name)
    }

    fn held(&self) -> Result<(), StoreError> {
        if self.tenure.is_held() { Ok(()) } else { Err(StoreError::Lapsed(self.place())) }
    }

    fn api(&self, doing: &'static str, name: &str) -> impl FnOnce(ObjectError) -> StoreError + use<> {
        let place = self.objects.place(name);
        move |error| StoreError::Api { doing, place, why: error.to_string() }
    }

    fn touched(&self, name: &str, how: &'static str) -> StoreError {
        StoreError::Touched { place: self.objects.place(name), how, label: self.objects.label() }
    }

    /// Makes this book the one that counts. After an error the one before counts, or it is not known which: then the next
    /// write finds out first.
    fn publish(&mut self, next: Book) -> Result<(), StoreError> {
        let (name, texts) = (self.book_name(), next.texts()?);
        for _ in 0..TRIES {
            self.held()?;
            self.settle()?;
            match self.objects.replace(&name, &self.version, &texts) {
                Ok(version) => {
                    (self.book, self.version) = (next, version);
                    self.doubtful.clear();
                    return Ok(());
                }
                Err(ObjectError::Conflict | ObjectError::Absent) => self.doubtful.push(texts.clone()),
                Err(error) => {
                    self.doubtful.push(texts.clone());
                    return Err(self.api("write", &name)(error));
                }
            }
        }
        Err(self.touched(&name, "changed again and again"))
    }

    /// After a write of which the fate is not known: sees what is there, and brings it back to what was acknowledged.
    fn settle(&mut self) -> Result<(), StoreError> {
        if self.doubtful.is_empty() {
            return Ok(());
        }
        let (name, known) = (self.book_name(), self.book.texts()?);
        let found = self.objects.get(&name).map_err(self.api("read", &name))?;
        let Some(found) = found else { return Err(self.touched(&name, "deleted")) };
        if found.data == known {
            // The same texts under another version: something else about the object has changed, which is nobody's harm.
            self.version = found.version;
            return Ok(());
        }
        if !self.doubtful.contains(&found.data) {
            return Err(match Book::read(&self.place(), &found.data) {
                Ok(other) if other.term != self.book.term => {
                    StoreError::Fenced { place: self.place(), holder: other.term.holder }
                }
                Ok(_) | Err(_) => self.touched(&name, "changed"),
            });
        }
        // It was written although nobody was told so, and whoever asked for it was told that it was not.
        let version = self.objects.replace(&name, &found.version, &known).map_err(self.api("write", &name))?;
        self.version = version;
        Ok(())
    }

    /// Moves the book's frames into an object of their own, if they are many.
    fn close_segment(&self, next: &mut Book) -> Result<(), StoreError> {
        if next.open.len() < SEGMENT_BYTES {
            return Ok(());
        }
        let first = next.open_first();
        let name = format!("{}-events-{first:010}-{}", self.name, self.book.term.number);
        let texts = BTreeMap::from([(TEXT.to_owned(), next.open.clone())]);
        match self.objects.create(&name, &texts, true) {
            Ok(_) => {}
            // An earlier attempt has made it, if it holds the same.
            Err(ObjectError::Exists) => {
                let found = self.objects.get(&name).map_err(self.api("read", &name))?;
                if found.is_none_or(|found| found.data != texts) {
                    return Err(self.touched(&name, "made"));
                }
            }
            Err(error) => return Err(self.api("create", &name)(error)),
        }
        next.segments.push(name);
        next.open.clear();
        Ok(())
    }

    fn segment(&self, name: &str) -> Result<String, StoreError> {
        open::text(self.objects.as_ref(), name)
    }
}

impl Store for KubernetesStore {
    fn append(&mut self, events: &[Event], at: Now, boot: &BootMoment) -> Result<(), StoreError> {
        let frames = frames(&self.book.head, events, at)?;
        let Some(last) = frames.last() else { return Ok(()) };
        self.held()?;
        let mut next = self.book.clone();
        self.close_segment(&mut next)?;
        for frame in &frames {
            next.open.push_str(&serde_json::to_string(frame).map_err(StoreError::Encode)?);
            next.open.push('\n');
        }
        next.head = Head { seq: last.seq, hash: last.hash.clone() };
        next.moment = Some(Resume::new(at, boot));
        self.publish(next)
    }

    fn checkpoint(&mut self, state: &State, at: Now, boot: &BootMoment) -> Result<(), StoreError> {
        self.held()?;
        let moment = Some(Resume::new(at, boot));
        if !self.doubtful.is_empty() {
            // A book that is still on its way may name the slot that is written next: after a change of the book it does not fit any more.
            self.publish(Book { moment: moment.clone(), ..self.book.clone() })?;
        }
        let snapshot = SnapshotRef { head: &self.book.head, moment, durable: &state.durable, soft: &state.soft };
        let text = sealed::seal(&snapshot)?;
        let included = self.book.head.seq;
        let slot = Slot::beside(self.book.checkpoint.as_ref());
        let checkpoint = Some(self.write_text(Kind::Checkpoint, slot, &text)?);
        self.publish(Book { checkpoint, ..self.book.clone() })?;
        // The ledger is written, whatever becomes of this: a trail that is too long for a while shuts no gate.
        if let Err(error) = self.rotate(included) {
            tracing::warn!(%error, "the audit trail is longer than is to be kept, and could not be shortened: tried again later");
        }
        self.delete_leftovers();
        Ok(())
    }

    fn audit(&self, from_seq: u64, limit: usize) -> Result<AuditPage, StoreError> {
        let anchor = self.book.anchor();
        let kept = anchor.map_or(1, |anchor| anchor.seq.saturating_add(1));
        if let Some(anchor) = anchor.filter(|anchor| (1..=anchor.seq).contains(&from_seq)) {
            return Err(StoreError::Dropped(anchor.clone()));
        }
        let from = from_seq.max(kept);
        let page = |frames| AuditPage { anchor: anchor.cloned(), ..page(frames, &self.book.head) };
        if from > self.book.head.seq {
            return Ok(page(Vec::new()));
        }
        let mut filling = Filling::new(limit);
        let begin = self.book.segments.partition_point(|name| book::first_of(name) <= from).saturating_sub(1);
        let closed = self.book.segments.iter().skip(begin).map(|name| self.segment(name));
        for text in closed.chain(std::iter::once(Ok(self.book.open.clone()))) {
            for line in text?.lines() {
                let frame: Frame = serde_json::from_str(line).map_err(StoreError::Encode)?;
                if frame.seq < from {
                    continue;
                }
                if !filling.takes(line.len()) {
                    return Ok(page(filling.frames));
                }
                filling.frames.push(frame);
            }
        }
        Ok(page(filling.frames))
    }

    fn head(&self) -> Head {
        self.book.head.clone()
    }

    fn anchor(&self) -> Option<Head> {
        self.book.anchor().cloned()
    }

    fn base(&self) -> Result<Option<Record>, StoreError> {
        self.base_record()
    }

    fn checkpoint_every(&self) -> Duration {
        CHECKPOINT
    }

    fn standing(&self) -> Result<(), StoreError> {
        self.held()
    }
}

#[cfg(test)]
mod tests;
