//! A store without a disk, which fails when it is told to.

use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{BootMoment, Loaded, Resume, Store, StoreError, frames, page};
use crate::apply::apply;
use crate::audit::{AuditPage, Frame, Head};
use crate::event::Event;
use crate::now::Now;
use crate::past::Record;
use crate::state::State;

/// A store without a disk, for tests. Clones share what is kept.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    frames: Vec<Frame>,
    snapshot: Option<(u64, State)>,
    moment: Option<Resume>,
    failing: Option<io::ErrorKind>,
    /// What the frames told that are no longer kept.
    base: Option<Record>,
}

impl MemoryStore {
    /// From now on writing fails in this way, or works again.
    pub fn fail(&self, kind: Option<io::ErrorKind>) {
        self.kept.lock().failing = kind;
    }

    /// Keeps the frames up to this one no longer, only what they told.
    pub fn forget(&self, up_to: u64) -> Result<(), StoreError> {
        let mut kept = self.kept.lock();
        let mut base = kept.base.clone().unwrap_or_default();
        for frame in kept.frames.iter().filter(|frame| frame.seq <= up_to) {
            base.take(frame).map_err(StoreError::Encode)?;
        }
        kept.frames.retain(|frame| frame.seq > up_to);
        kept.base = Some(base);
        Ok(())
    }

    /// What a new process would load.
    pub fn load(&self) -> Result<Option<Loaded>, StoreError> {
        let kept = self.kept.lock();
        let base = || kept.base.clone().map(|base| (base.past.head.seq, base.past.state)).unwrap_or_default();
        let (included, state) = kept.snapshot.clone().unwrap_or_else(base);
        let mut state = state.restarted();
        for frame in kept.frames.iter().filter(|frame| frame.seq > included) {
            apply(&mut state, &frame.event().map_err(StoreError::Encode)?);
        }
        Ok(kept.moment.clone().map(|resume| Loaded { state: state.restarted(), resume }))
    }
}

impl Kept {
    fn head(&self) -> Head {
        let newest = self.frames.last().map(|frame| Head { seq: frame.seq, hash: frame.hash.clone() });
        newest.or_else(|| self.anchor()).unwrap_or_else(Head::genesis)
    }

    fn anchor(&self) -> Option<Head> {
        self.base.as_ref().map(|base| base.past.head.clone())
    }

    fn check(&self) -> Result<(), StoreError> {
        self.failing.map_or(Ok(()), |kind| Err(StoreError::io("write", Path::new("memory"))(kind.into())))
    }
}

impl Store for MemoryStore {
    fn append(&mut self, events: &[Event], at: Now, boot: &BootMoment) -> Result<(), StoreError> {
        let mut kept = self.kept.lock();
        let frames = frames(&kept.head(), events, at)?;
        if frames.is_empty() {
            return Ok(());
        }
        kept.check()?;
        kept.frames.extend(frames);
        kept.moment = Some(Resume::new(at, boot));
        Ok(())
    }

    fn checkpoint(&mut self, state: &State, at: Now, boot: &BootMoment) -> Result<(), StoreError> {
        let mut kept = self.kept.lock();
        kept.check()?;
        kept.snapshot = Some((kept.head().seq, state.clone()));
        kept.moment = Some(Resume::new(at, boot));
        Ok(())
    }

    fn audit(&self, from_seq: u64, limit: usize) -> Result<AuditPage, StoreError> {
        let kept = self.kept.lock();
        let anchor = kept.anchor();
        if let Some(anchor) = anchor.clone().filter(|anchor| (1..=anchor.seq).contains(&from_seq)) {
            return Err(StoreError::Dropped(anchor));
        }
        let found = kept.frames.iter().filter(|frame| frame.seq >= from_seq).take(limit.max(1)).cloned().collect();
        Ok(AuditPage { anchor, ..page(found, &kept.head()) })
    }

    fn head(&self) -> Head {
        self.kept.lock().head()
    }

    fn anchor(&self) -> Option<Head> {
        self.kept.lock().anchor()
    }

    fn base(&self) -> Result<Option<Record>, StoreError> {
        Ok(self.kept.lock().base.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{boot, fact, now, state_of, story};

    #[test]
    fn it_keeps_what_the_file_store_keeps_and_fails_on_demand() {
        let mut store = MemoryStore::default();
        assert!(store.load().unwrap().is_none());
        let story = story(10);
        store.append(&story[..5], now(1), &boot(1)).unwrap();
        store.checkpoint(&state_of(&story[..5]), now(2), &boot(2)).unwrap();
        store.append(&story[5..], now(3), &boot(3)).unwrap();
        let loaded = store.load().unwrap().unwrap();
        assert_eq!(loaded.state.durable, state_of(&story).durable);
        assert_eq!(loaded.resume, Resume::new(now(3), &boot(3)));

        let (mut other, head) = (store.clone(), store.head());
        store.fail(Some(io::ErrorKind::StorageFull));
        assert!(other.append(&[fact("f", 1.into())], now(4), &boot(4)).is_err());
        assert!(other.checkpoint(&State::default(), now(4), &boot(4)).is_err());
        assert_eq!(other.head(), head);
        store.fail(None);
        other.append(&[fact("f", 1.into())], now(4), &boot(4)).unwrap();
        assert_eq!(crate::audit::verify(&Head::genesis(), &store.audit(0, 99).unwrap().frames), Ok(other.head()));
    }
}
