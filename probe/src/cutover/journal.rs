//! The run journal: what this machine did for a phase, in a file of its own. With it an undo can be finished without the
//! verifier, and a run goes on after its terminal was killed or its machine was started anew.
//!
//! Each entry is on the disk before the call that wrote it returns. No entry has room for a secret.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::event::{StepEnd, Way};
use crate::plan::StepName;

mod error;
mod lock;
mod place;
mod read;
mod story;
#[cfg(test)]
mod tests;

pub(crate) use error::JournalError;
pub(crate) use place::{Place, keep, root, try_out};
pub(crate) use story::{Local, Story};

/// What this version reads and writes.
const VERSION: u64 = 1;

/// How a journal begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Opened {
    /// Of this form of the file.
    pub(crate) version: u64,
    /// Of which migration.
    pub(crate) migration: String,
    /// Of which phase.
    pub(crate) phase: String,
    /// Address of the verifier.
    pub(crate) server: String,
    /// The hash of the document.
    pub(crate) document: String,
    /// When the run began.
    pub(crate) at: DateTime<Utc>,
}

/// The first line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "camelCase")]
enum First {
    Opened(Opened),
}

/// What happened. `told`: the ledger has acknowledged it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub(crate) enum Entry {
    /// The run holds this lock of the ledger.
    Lock {
        /// Its id.
        id: u64,
    },
    /// A step is about to start.
    Start {
        /// Which.
        step: StepName,
        /// Do or undo.
        way: Way,
        /// Whether somebody has looked if it is done already.
        checked: bool,
        /// When.
        at: DateTime<Utc>,
        /// Whether the ledger knows.
        told: bool,
    },
    /// The `do` of a step is over; its probes must turn green yet.
    Worked {
        /// Which.
        step: StepName,
        /// Whether the ledger knows.
        told: bool,
    },
    /// A step has ended.
    End {
        /// Which.
        step: StepName,
        /// Do or undo.
        way: Way,
        /// How.
        end: StepEnd,
        /// In words.
        note: String,
        /// Whether the ledger knows.
        told: bool,
    },
    /// The ledger has said that nothing leads back any more.
    Crossed {
        /// Since when.
        at: DateTime<Utc>,
        /// Who has crossed it, or has seen it.
        by: String,
    },
    /// The ledger knows by now what happened before.
    Told {
        /// Up to this entry.
        up_to: u64,
    },
    /// The run is over.
    Over {
        /// In a word.
        how: String,
    },
}

/// A journal that is open for writing. No other process writes to it meanwhile.
#[derive(Debug)]
pub(crate) struct Journal {
    place: Place,
    _lock: lock::Lock,
    file: Option<File>,
    /// Bytes that count.
    len: u64,
    /// Whether a failed write may have left something behind them.
    dirty: bool,
    story: Option<Story>,
}

impl Journal {
    /// Takes a journal and reads what it holds. `at` is told to others who want it, too.
    pub(crate) fn open(place: &Place, at: DateTime<Utc>) -> Result<Self, JournalError> {
        place.create_folder()?;
        let lock = lock::take(place, at)?;
        let found = read::read(place)?;
        let mut journal =
            Self { place: place.clone(), _lock: lock, file: None, len: found.len, dirty: found.torn, story: found.story };
        if journal.story.is_some() {
            let path = place.path();
            let file = OpenOptions::new().write(true).open(&path).map_err(JournalError::io("open", &path))?;
            journal.file = Some(file);
            journal.cut()?;
        }
        Ok(journal)
    }

    /// What the run has come to; none before the first one begins.
    pub(crate) const fn story(&self) -> Option<&Story> {
        self.story.as_ref()
    }

    /// Begins a run. The journal of the run before is set aside.
    pub(crate) fn begin(&mut self, server: &str, document: &str, at: DateTime<Utc>) -> Result<(), JournalError> {
        let path = self.place.path();
        if let Some(story) = &self.story {
            self.place.set_aside(story.opened.at)?;
        }
        (self.story, self.file) = (None, None);
        let (migration, phase) = (self.place.migration().to_owned(), self.place.phase().to_owned());
        let opened = Opened { version: VERSION, migration, phase, server: server.to_owned(), document: document.to_owned(), at };
        let line = line(&First::Opened(opened.clone())).map_err(JournalError::io("write", &path))?;
        // What an attempt before has left is no journal.
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        self.file = Some(file.map_err(JournalError::io("create", &path))?);
        (self.len, self.dirty) = (0, false);
        self.append(&line)?;
        self.place.sync_folder()?;
        self.story = Some(Story::new(opened));
        self.place.prune();
        Ok(())
    }

    /// Writes an entry and says its number.
    pub(crate) fn write(&mut self, entry: Entry) -> Result<u64, JournalError> {
        let path = self.place.path();
        if self.story.is_none() {
            return Err(JournalError::NotBegun(path));
        }
        let line = line(&entry).map_err(JournalError::io("write", &path))?;
        self.append(&line)?;
        let story = self.story.as_mut().ok_or(JournalError::NotBegun(path))?;
        story.add(entry);
        Ok(story.entries)
    }

    fn append(&mut self, line: &str) -> Result<(), JournalError> {
        self.cut()?;
        let Some(file) = &self.file else { return Err(JournalError::NotBegun(self.place.path())) };
        self.dirty = true;
        if let Err(error) = file.write_all_at(line.as_bytes(), self.len).and_then(|()| file.sync_data()) {
            // If this fails as well, the next write or the next process begins with it.
            drop(self.cut());
            return Err(JournalError::io("write", &self.place.path())(error));
        }
        self.len = self.len.saturating_add(u64::try_from(line.len()).unwrap_or(u64::MAX));
        self.dirty = false;
        Ok(())
    }

    /// Removes what is behind the bytes that count.
    fn cut(&mut self) -> Result<(), JournalError> {
        if let (true, Some(file)) = (self.dirty, &self.file) {
            file.set_len(self.len)
                .and_then(|()| file.sync_all())
                .map_err(JournalError::io("cut the unfinished end of", &self.place.path()))?;
            self.dirty = false;
        }
        Ok(())
    }
}

fn line(entry: &impl Serialize) -> io::Result<String> {
    Ok(serde_json::to_string(entry)? + "\n")
}
