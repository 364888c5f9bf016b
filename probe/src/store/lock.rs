//! One writer per state directory, by a lock that ends with the process that holds it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::StoreError;

/// Name of the lock within the state directory.
pub(super) const NAME: &str = "lock";

/// Takes the lock; it is held until the returned file is closed.
pub(super) fn take(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join(NAME);
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut file = open.map_err(StoreError::io("open the lock", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(StoreError::Locked { dir: dir.to_owned(), pid: holder(&mut file) }),
        Err(TryLockError::Error(error)) => return Err(StoreError::io("take the lock", &path)(error)),
    }
    // The number only helps whoever finds the lock taken: a full disk must not keep the ledger from being read.
    if let Err(error) = sign(&mut file) {
        tracing::warn!(%error, "the lock of the state directory does not tell who holds it");
    }
    Ok(file)
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn sign(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}
