//! Opening a ledger: reads and verifies what is there, then makes it this term's.

use std::path::{Path, PathBuf};

use super::book::{Book, first_of};
use super::chunks::{Chunked, Kind};
use super::{KubernetesStore, TEXT, TRIES, Trail};
use crate::audit::Head;
use crate::kubernetes::lease::Tenure;
use crate::kubernetes::objects::{Object, ObjectError, Objects};
use crate::state::State;
use crate::store::scan::Snapshot;
use crate::store::walk::Walk;
use crate::store::{Loaded, Resume, StoreError, sealed};

/// What came of an attempt to take over.
enum Taken {
    /// It is ours, with what it holds.
    Ours(Option<Box<Loaded>>),
    /// It has changed meanwhile.
    Moved,
}

impl KubernetesStore {
    /// Takes over the ledger of this name for one term, and reads what it holds: nothing, if there is none yet. From now on it is to
    /// be no longer than this.
    pub fn open(
        objects: Box<dyn Objects>,
        name: &str,
        tenure: Tenure,
        trail: Trail,
    ) -> Result<(Self, Option<Loaded>), StoreError> {
        let book = Book::blank(tenure.term().clone());
        let mut store = Self {
            objects,
            tenure,
            name: name.to_owned(),
            trail,
            book,
            version: String::new(),
            doubtful: Vec::new(),
            chunks: std::collections::BTreeMap::new(),
            leftovers: Vec::new(),
        };
        let mut refused = None;
        for _ in 0..TRIES {
            store.held()?;
            let name = store.book_name();
            match store.objects.get(&name).map_err(store.api("read", &name))? {
                None => match store.initialise() {
                    // It may have been made all the same, by us or by somebody else: the next look tells.
                    Err(error @ StoreError::Api { .. }) => refused = Some(error),
                    other => return other.map(|()| (store, None)),
                },
                Some(found) => {
                    if let Taken::Ours(loaded) = store.take_over(found)? {
                        store.sweep();
                        return Ok((store, loaded.map(|loaded| *loaded)));
                    }
                }
            }
        }
        let name = store.book_name();
        Err(refused.unwrap_or_else(|| store.touched(&name, "changed again and again")))
    }

    fn initialise(&mut self) -> Result<(), StoreError> {
        let name = self.book_name();
        let left = self.objects.list().map_err(self.api("list", &name))?;
        if let Some(other) = left.iter().find(|other| other.starts_with(&format!("{}-events-", self.name))) {
            let why = format!("it is missing, although there is {}", self.objects.place(other));
            return Err(StoreError::damaged(Path::new(&self.place()), why));
        }
        self.version = self.objects.create(&name, &self.book.texts()?, false).map_err(self.api("create", &name))?;
        Ok(())
    }

    /// Reads everything that this book names, and writes our term into it.
    fn take_over(&mut self, found: Object) -> Result<Taken, StoreError> {
        let place = self.place();
        let book = Book::read(&place, &found.data)?;
        let loaded = self.load(&place, &book)?;
        let next = Book { term: self.tenure.term().clone(), ..book };
        let name = self.book_name();
        match self.objects.replace(&name, &found.version, &next.texts()?) {
            Ok(version) => (self.book, self.version) = (next, version),
            Err(ObjectError::Conflict) => return Ok(Taken::Moved),
            Err(error) => return Err(self.api("write", &name)(error)),
        }
        Ok(Taken::Ours(loaded.map(Box::new)))
    }

    fn load(&self, place: &str, book: &Book) -> Result<Option<Loaded>, StoreError> {
        let snapshot = book.checkpoint.as_ref().map(|checkpoint| self.snapshot(place, checkpoint)).transpose()?;
        if let Some(base) = &book.base {
            self.read_base(place, base)?;
        }
        let book_place = PathBuf::from(place);
        let mut marks = vec![(book_place.clone(), book.head.clone())];
        let (mut included, mut state) = (0, State::default());
        let mut moments = vec![book.moment.clone()];
        if let Some(snapshot) = snapshot {
            marks.push((PathBuf::from(Kind::Checkpoint.of(place)), snapshot.head.clone()));
            included = snapshot.head.seq;
            state = State { durable: snapshot.durable, soft: snapshot.soft, ..state };
            moments.push(snapshot.moment);
        }
        let start = book.anchor().cloned().unwrap_or_else(Head::genesis);
        if included < start.seq {
            let why = format!("its checkpoint ends with event {included}, but events up to {} are not kept", start.seq);
            return Err(StoreError::damaged(&book_place, why));
        }
        let mut walk = Walk::new(start, marks, included, state)?;
        for name in &book.segments {
            let place = PathBuf::from(self.objects.place(name));
            walk.comes_to(&place, first_of(name))?;
            walk.segment(&place, text(self.objects.as_ref(), name)?.as_bytes())?;
        }
        walk.segment(&book_place, book.open.as_bytes())?;
        // Nothing is ever half written here.
        if let Some(why) = &walk.torn {
            return Err(StoreError::damaged(&book_place, why));
        }
        walk.ends()?;
        if walk.head != book.head {
            return Err(StoreError::damaged(&book_place, format!("it holds events after frame {}", book.head.seq)));
        }
        let resume = Resume::latest(moments.into_iter().flatten());
        Ok(resume.map(|resume| Loaded { state: walk.state.restarted(), resume }))
    }

    fn snapshot(&self, place: &str, checkpoint: &Chunked) -> Result<Snapshot, StoreError> {
        let place = PathBuf::from(Kind::Checkpoint.of(place));
        sealed::open(&place, self.read_text(Kind::Checkpoint, checkpoint, &place)?.as_bytes())
    }

    /// Removes what earlier terms have begun and never acknowledged. What can not be removed does no harm.
    fn sweep(&self) {
        let names = match self.objects.list() {
            Ok(names) => names,
            Err(error) => return tracing::warn!(%error, "the ledger's objects could not be listed: what no ledger names stays"),
        };
        // What was listed after another has taken over may be that one's.
        if self.held().is_err() {
            return;
        }
        for name in names {
            let is_segment = name.starts_with(&format!("{}-events-", self.name));
            if is_segment && !self.book.segments.contains(&name) {
                match self.objects.delete(&name) {
                    Ok(()) => tracing::info!(name, "removed an object that no ledger names"),
                    Err(error) => tracing::warn!(name, %error, "an object that no ledger names could not be removed"),
                }
            }
        }
    }
}

/// What an object holds that the book names.
pub(super) fn text(objects: &dyn Objects, name: &str) -> Result<String, StoreError> {
    let place = objects.place(name);
    let found =
        objects.get(name).map_err(|error| StoreError::Api { doing: "read", place: place.clone(), why: error.to_string() })?;
    let text = found.and_then(|mut found| found.data.remove(TEXT));
    text.ok_or_else(|| StoreError::damaged(Path::new(&place), "it is missing, although the ledger names it"))
}
