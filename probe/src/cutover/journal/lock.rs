//! One writer per journal, by a lock that ends with the process that holds it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{JournalError, Place};

/// Who holds the lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    /// Its process id.
    pub(crate) pid: u32,
    /// Since when.
    pub(crate) since: DateTime<Utc>,
}

/// The lock, until it is dropped or the process ends.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Not by closing it only: a command that is just being started still has it open.
        drop(self.0.unlock());
    }
}

/// Takes the lock.
pub(super) fn take(place: &Place, at: DateTime<Utc>) -> Result<Lock, JournalError> {
    // Beside the journal, which is renamed when a run begins.
    let path = place.lock_path();
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut file = open.map_err(JournalError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(JournalError::Busy { path: place.path(), holder: holder(&mut file) }),
        Err(TryLockError::Error(error)) => return Err(JournalError::io("lock", &path)(error)),
    }
    // It only helps whoever finds the lock taken: a full disk must not keep a run from being read.
    drop(sign(&mut file, &Holder { pid: std::process::id(), since: at }));
    Ok(Lock(file))
}

fn holder(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.take(256).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn sign(file: &mut File, holder: &Holder) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", serde_json::to_string(holder)?)
}
