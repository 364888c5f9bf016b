//! Where journals are: `MIGRATION/PHASE.jsonl` below one folder, and beside it those of earlier runs, by their time.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

use super::JournalError;
use crate::cutover;

/// How many journals of earlier runs of a phase are kept.
const KEPT: usize = 20;
/// A time in the name of a file.
const TIME: &str = "%Y%m%dT%H%M%S%.3fZ";

/// The folder of all journals, given the variables of the environment.
pub(crate) fn root(variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, JournalError> {
    // A relative one would be another folder from each working directory, and XDG says that it does not count.
    let folder = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = folder("XDG_STATE_HOME").or_else(|| folder("HOME").map(|home| home.join(".local/state")));
    state.map(|state| state.join("phasegate/runs")).ok_or(JournalError::NoHome)
}

/// Keeps a file of this machine in a folder beside that of all journals: whole or not at all, and so that it outlives a crash.
pub(crate) fn keep(path: &Path, bytes: &[u8]) -> Result<(), JournalError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    create(folder)?;
    let write = || {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(JournalError::io("write", path))?;
    sync(folder)
}

/// Whether journals can be kept below this folder: writes as much as an entry takes there, or in the nearest folder above it that
/// exists, and removes it again.
pub(crate) fn try_out(root: &Path) -> Result<(), JournalError> {
    let folder = root.ancestors().find(|folder| folder.exists()).unwrap_or(root);
    let write = || {
        let mut file = tempfile::Builder::new().prefix(".try-").tempfile_in(folder)?;
        file.write_all(&[b'\n'; 4096])?;
        file.as_file().sync_data()
    };
    write().map_err(JournalError::io("write", folder))
}

/// Where the journal of a phase is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    folder: PathBuf,
    migration: String,
    phase: String,
}

impl Place {
    /// Below the folder of all journals.
    pub(crate) fn new(root: &Path, migration: &str, phase: &str) -> Result<Self, JournalError> {
        // They come from a document or a verifier, and become a path.
        let name = |name: &str| cutover::name(name).map_err(|_| JournalError::Name(name.escape_debug().to_string()));
        let (migration, phase) = (name(migration)?, name(phase)?);
        Ok(Self { folder: root.join(&migration), migration, phase })
    }

    /// The journal of the newest run.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join(format!("{}.jsonl", self.phase))
    }

    pub(super) fn migration(&self) -> &str {
        &self.migration
    }

    pub(super) fn phase(&self) -> &str {
        &self.phase
    }

    pub(super) fn lock_path(&self) -> PathBuf {
        self.folder.join(format!("{}.lock", self.phase))
    }

    pub(super) fn create_folder(&self) -> Result<(), JournalError> {
        create(&self.folder)
    }

    /// Makes names in the folder outlive a crash.
    pub(super) fn sync_folder(&self) -> Result<(), JournalError> {
        sync(&self.folder)
    }

    /// Gives the journal the name of an earlier run's.
    pub(super) fn set_aside(&self, at: DateTime<Utc>) -> Result<(), JournalError> {
        let mut at = at.naive_utc();
        while self.earlier(at).exists() {
            at += TimeDelta::milliseconds(1);
        }
        let path = self.path();
        fs::rename(&path, self.earlier(at)).map_err(JournalError::io("rename", &path))
    }

    /// Removes the oldest journals. One too many harms nobody.
    pub(super) fn prune(&self) {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut found: Vec<_> = entries.filter_map(|entry| self.time(entry.file_name().to_str()?)).collect();
        found.sort_unstable();
        for at in found.iter().rev().skip(KEPT) {
            drop(fs::remove_file(self.earlier(*at)));
        }
    }

    fn earlier(&self, at: NaiveDateTime) -> PathBuf {
        self.folder.join(format!("{}.{}.jsonl", self.phase, at.format(TIME)))
    }

    /// The time in the name of an earlier run's journal; none in another name.
    fn time(&self, name: &str) -> Option<NaiveDateTime> {
        let time = name.strip_prefix(&self.phase)?.strip_prefix('.')?.strip_suffix(".jsonl")?;
        NaiveDateTime::parse_from_str(time, TIME).ok()
    }
}

/// Creates a folder with those above it, so that they outlive a crash.
fn create(folder: &Path) -> Result<(), JournalError> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Of a working folder that was deleted, `.` is not there either.
    if above != folder {
        create(above)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => sync(above),
        // Somebody else was faster.
        Err(_) if folder.is_dir() => Ok(()),
        Err(error) => Err(JournalError::io("create", folder)(error)),
    }
}

fn sync(folder: &Path) -> Result<(), JournalError> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(JournalError::io("write", folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(variables: &[(&str, &str)]) -> Option<PathBuf> {
        root(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())).ok()
    }

    #[test]
    fn the_folder_is_where_this_user_keeps_state() {
        let at = |path: &str| Some(PathBuf::from(path));
        assert_eq!(found(&[("HOME", "/home/me")]), at("/home/me/.local/state/phasegate/runs"));
        assert_eq!(found(&[("HOME", "/home/me"), ("XDG_STATE_HOME", "/state")]), at("/state/phasegate/runs"));
        for none in ["", "relative"] {
            let variables = [("HOME", "/home/me"), ("XDG_STATE_HOME", none)];
            assert_eq!(found(&variables), at("/home/me/.local/state/phasegate/runs"), "XDG_STATE_HOME={none}");
            assert_eq!(found(&[("HOME", none)]), None, "HOME={none}");
        }
        let error = root(|_| None).unwrap_err();
        assert!(error.to_string().contains("neither HOME nor XDG_STATE_HOME"), "{error}");
        assert!(error.hint().contains("set XDG_STATE_HOME"), "{}", error.hint());
    }

    #[test]
    fn a_folder_is_tried_out_without_a_trace() {
        let above = tempfile::tempdir().unwrap();
        let root = above.path().join("state/phasegate/runs");
        try_out(&root).unwrap();
        assert_eq!(fs::read_dir(above.path()).unwrap().count(), 0, "nothing is left, and nothing created");
        fs::write(above.path().join("state"), "").unwrap();
        let error = try_out(&root).unwrap_err();
        assert!(error.hint().contains("something else has its name"), "{error}: {}", error.hint());
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        for name in ["", ".", "..", "../x", "a/b", "/etc", "a\0b", "a\nb"] {
            for (migration, phase) in [(name, "loki"), ("home", name)] {
                let error = Place::new(Path::new("/state"), migration, phase).unwrap_err();
                assert!(!error.to_string().contains('\n') && error.hint().contains("letters"), "{error}");
            }
        }
        let place = Place::new(Path::new("/state"), "home", "loki").unwrap();
        assert_eq!(place.path(), Path::new("/state/home/loki.jsonl"));
    }
}
