//! Why a store can not be opened, read or written.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::audit::Head;

/// Why a store can not be opened, read or written. Its text is complete: it names the place and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else holds the lock.
    #[error("another verifier{} uses this state directory: {}; stop it, or name another directory", Pid(.pid), .dir.display())]
    Locked {
        /// The state directory.
        dir: PathBuf,
        /// Who; none if it did not say.
        pid: Option<u32>,
    },
    /// Something else has the name of the state directory.
    #[error("{} is not a directory; name an empty or not yet existing directory to keep the state in", .0.display())]
    NotADirectory(PathBuf),
    /// Nothing was ever kept there.
    #[error("there is no state in {}; name the verifier's state directory", .0.display())]
    Absent(PathBuf),
    /// The directory belongs to somebody else.
    #[error(
        "{} is not a state directory: it holds {name:?} and nothing of phasegate; name an empty or not yet existing directory",
        .dir.display()
    )]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// One of the files that are not ours.
        name: String,
    },
    /// A newer version has been here.
    #[error("{} was written by a newer phasegate (schema {schema}), this one knows {known}; run the newer one", .path.display())]
    Newer {
        /// Which file says so.
        path: PathBuf,
        /// What it says.
        schema: u64,
        /// What this version reads and writes.
        known: u64,
    },
    /// Something does not verify.
    #[error(
        "the state is damaged: {}{}: {why}; nothing was changed: restore a backup of it, or start with an empty one \
         and `cutover adopt` the phases that are finished",
        .path.display(), At(*.line)
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Line and the offset of its first byte, in a file of several lines.
        line: Option<(usize, u64)>,
        /// What is wrong with it, a sentence fragment.
        why: String,
    },
    /// The operating system says no.
    #[error("can not {doing} {}: {error}", .path.display())]
    Io {
        /// What was tried, as in "can not …".
        doing: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// The answer.
        error: io::Error,
    },
    /// The API server can not be reached, or says no.
    #[error("can not {doing} {place}: {why}")]
    Api {
        /// What was tried, as in "can not …".
        doing: &'static str,
        /// With which object.
        place: String,
        /// The answer, or that there was none.
        why: String,
    },
    /// The right to write has run out, because it could not be renewed.
    #[error("the Lease could not be renewed in time, so another verifier may write by now: {0}")]
    Lapsed(String),
    /// Another verifier has taken over.
    #[error("{place} is written by another verifier now: {holder}; this one must stop")]
    Fenced {
        /// The object.
        place: String,
        /// Who.
        holder: String,
    },
    /// Somebody's hand was in it.
    #[error(
        "{place} was {how} by somebody else while this verifier was using it; nothing was overwritten: put back what was there, \
         or delete all objects labelled `{label}`, start the verifier again and `cutover adopt` the phases that are finished"
    )]
    Touched {
        /// The object.
        place: String,
        /// Changed or deleted.
        how: &'static str,
        /// What the ledger's objects are labelled with.
        label: String,
    },
    /// A frame that was asked for is no longer kept.
    #[error("events up to {} are no longer kept", .0.seq)]
    Dropped(Head),
    /// An event or state has no JSON form.
    #[error("can not encode: {0}")]
    Encode(serde_json::Error),
    /// An event would read differently when it is loaded.
    #[error("this event would not be read again as it was written: {0}")]
    Ambiguous(String),
    /// More events at once than a frame can count.
    #[error("too many events at once")]
    TooMany,
}

impl StoreError {
    /// Whether it is a matter of a cluster, not of this machine.
    pub const fn is_remote(&self) -> bool {
        matches!(self, Self::Api { .. } | Self::Lapsed(_) | Self::Fenced { .. } | Self::Touched { .. })
    }

    pub(super) fn damaged(path: &Path, why: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), line: None, why: why.into() }
    }

    /// For `map_err`.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io { doing, path, error }
    }
}

struct Pid<'a>(&'a Option<u32>);

impl fmt::Display for Pid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |pid| write!(f, " (pid {pid})"))
    }
}

struct At(Option<(usize, u64)>);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |(line, offset)| write!(f, ", line {line} (byte {offset})"))
    }
}
