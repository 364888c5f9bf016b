//! Where the Migration document comes from: a file, or a custom resource as it was seen last.

use std::path::PathBuf;
use std::sync::Arc;

use checks::Registry;
use tokio::sync::watch;

use crate::config::{self, Config, ConfigErrors, MAX_DOCUMENT};

/// Where the document comes from. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// A file.
    File(PathBuf),
    /// A custom resource, which somebody else keeps an eye on.
    Resource {
        /// How people call it.
        place: String,
        /// What it held when it was looked at last, or why that is not known.
        seen: watch::Receiver<Result<Arc<Seen>, String>>,
    },
}

/// A custom resource's document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// As the document that a file would hold.
    pub(crate) bytes: Vec<u8>,
    /// Of the resource.
    pub(crate) generation: i64,
}

/// A document that was read.
pub(crate) struct Read {
    pub(crate) config: Config,
    /// Of the resource that it was read from.
    pub(crate) generation: Option<i64>,
}

impl Source {
    /// Reads it.
    pub(crate) fn load(&self, registry: &Registry) -> Result<Read, ConfigErrors> {
        match self {
            Self::File(path) => Ok(Read { config: config::load(path, registry)?, generation: None }),
            Self::Resource { place, seen } => {
                let seen = seen.borrow().clone();
                let hint = "see it with `kubectl get migrations`, and that the verifier may get it";
                let seen =
                    seen.map_err(|why| ConfigErrors::of_file(place, format!("the document can not be read: {why}"), hint))?;
                let config = config::parse(place, &seen.bytes, registry)?;
                Ok(Read { config, generation: Some(seen.generation) })
            }
        }
    }

    /// Its hash; none while it can not be read, which is no reason to drop what is in force.
    pub(crate) fn digest(&self) -> Option<String> {
        match self {
            Self::File(path) => digest_of(path),
            Self::Resource { seen, .. } => {
                let seen = seen.borrow();
                let seen = seen.as_ref().ok()?;
                // Of another generation the same document is news as well: it is the one that is in force then.
                Some(format!("{} {}", seen.generation, config::digest(&seen.bytes)))
            }
        }
    }
}

fn digest_of(path: &std::path::Path) -> Option<String> {
    let size = std::fs::metadata(path).ok()?.len();
    if usize::try_from(size).is_ok_and(|size| size <= MAX_DOCUMENT) {
        return std::fs::read(path).ok().map(|bytes| config::digest(&bytes));
    }
    Some(format!("too large: {size} bytes"))
}
