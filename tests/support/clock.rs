//! Clocks that a test sets: a library before libc shows the wall clock shifted, by what a file says. Monotonic clocks stay as
//! they are, as on a machine whose clock is set. Programs that do not ask libc (Go's) do not notice.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use chrono::TimeDelta;

/// The machine's own clock: nanoseconds since the Unix epoch, as lines in Loki carry them.
#[expect(clippy::disallowed_methods, reason = "a real Loki takes lines of the real time only")]
pub fn now() -> i64 {
    chrono::Utc::now().timestamp_nanos_opt().unwrap_or(i64::MAX)
}

/// The environment under which a program reads its clock through this file.
///
/// # Errors
/// The library is not installed.
pub(crate) fn environment(file: &Path) -> Result<[(&'static str, String); 5]> {
    Ok([
        ("LD_PRELOAD", library()?.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
        // The file counts at once.
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        // Times of files are compared with each other, and with those that other programs wrote.
        ("NO_FAKE_STAT", "1".to_owned()),
    ])
}

/// Sets the clock of whoever reads it through this file, to whole seconds.
///
/// # Errors
/// It can not be written.
pub(crate) fn set(file: &Path, offset: TimeDelta) -> Result<()> {
    let next = file.with_extension("clock.next");
    std::fs::write(&next, format!("{:+}\n", offset.num_seconds()))?;
    std::fs::rename(&next, file).with_context(|| format!("writing {}", file.display()))
}

fn library() -> Result<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|folder| folder.path());
    let found = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|library| library.is_file());
    found.context("there is no libfaketimeMT.so.1: apt-get install faketime; tests/run does that")
}
