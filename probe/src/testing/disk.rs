//! A small file system in memory that can be filled and made read-only. Only root can mount one.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A disk of 256 KiB.
pub(crate) struct SmallDisk(TempDir);

impl SmallDisk {
    /// None, and a word about it, where this can not be done.
    pub(crate) fn mount() -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "phasegate-test"]).arg(dir.path()).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(dir));
        }
        assert!(std::env::var_os("CI").is_none(), "a small file system can not be mounted, and under CI nothing is skipped");
        eprintln!("not tested: only root can mount a small file system");
        None
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Leaves no room. Says which file to remove for some.
    pub(crate) fn fill(&self) -> PathBuf {
        let path = self.path().join("filler");
        let file = File::create(&path).unwrap();
        let mut at = 0;
        while let Ok(count) = file.write_at(&[b'x'; 512], at) {
            at += u64::try_from(count).unwrap();
        }
        path
    }

    /// Takes no writes any more. No file may be open for writing.
    pub(crate) fn read_only(&self) {
        assert!(Command::new("mount").args(["-o", "remount,ro"]).arg(self.path()).status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(self.path()).status().unwrap();
    }
}
