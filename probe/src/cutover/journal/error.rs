//! Why a journal can not be opened, read or written, and what to do.

use std::io;
use std::path::{Path, PathBuf};

use super::lock::Holder;
use crate::cutover::render::moment;

/// Why a journal can not be opened, read or written. Its text says what and where.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    /// Nothing says where this user keeps state.
    #[error("neither HOME nor XDG_STATE_HOME is set to an absolute path, so there is no place for the journal of the run")]
    NoHome,
    /// It would lead elsewhere.
    #[error("`{0}` can not be the name of a migration or phase")]
    Name(String),
    /// Another process has it open for writing.
    #[error("another cutover{} works on this phase: {} is in use", by(.holder.as_ref()), .path.display())]
    Busy {
        /// The journal.
        path: PathBuf,
        /// Who, if it said so.
        holder: Option<Holder>,
    },
    /// A newer version has written it.
    #[error("{} was written by a newer cutover (version {version})", .path.display())]
    Newer {
        /// The journal.
        path: PathBuf,
        /// What it says.
        version: u64,
    },
    /// It can not be read.
    #[error("{}, line {line}: {why}", .path.display())]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// Nothing can be written before a run begins.
    #[error("no run has begun in {}", .0.display())]
    NotBegun(PathBuf),
    /// The operating system says no.
    #[error("can not {doing} {}: {error}", .path.display())]
    Io {
        /// What was tried, as in "can not …".
        doing: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// The answer.
        error: io::Error,
    },
}

impl JournalError {
    /// For `map_err`.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io { doing, path, error }
    }

    /// What to do.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::NoHome => "set XDG_STATE_HOME to a folder of yours that outlives a restart".to_owned(),
            Self::Name(_) => "names consist of letters, digits, `-`, `_` and `.`".to_owned(),
            Self::Busy { .. } => "wait until it is done, or end it there".to_owned(),
            Self::Newer { .. } => "use the cutover that wrote it, or a newer one".to_owned(),
            Self::Damaged { path, .. } => format!(
                "correct that line, or move the file away (mv {path} {path}.damaged): then the verifier alone knows how far the \
                 steps came",
                path = path.display()
            ),
            Self::NotBegun(_) => "begin a run first".to_owned(),
            Self::Io { error, .. } => io_hint(error.kind()).to_owned(),
        }
    }
}

fn io_hint(kind: io::ErrorKind) -> &'static str {
    if matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        "make room on its disk, or set XDG_STATE_HOME to a folder on another one"
    } else if matches!(kind, io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied) {
        "make it yours to write, or set XDG_STATE_HOME to a folder that is"
    } else if matches!(kind, io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists | io::ErrorKind::IsADirectory) {
        "something else has its name: move that away, or set XDG_STATE_HOME to another folder"
    } else {
        "see that its disk works, or set XDG_STATE_HOME to a folder on another one"
    }
}

fn by(holder: Option<&Holder>) -> String {
    let text = |holder: &Holder| format!(" (pid {}, since {})", holder.pid, moment(holder.since));
    holder.map(text).unwrap_or_default()
}
