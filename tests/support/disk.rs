//! A disk that can be filled.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::namespace;
use crate::process::Process;
use crate::world::World;

const START: Duration = Duration::from_secs(20);

/// A small disk of its own. It is mounted where only one process sees it, and goes with that; everybody else of this account
/// gets to it through that process.
#[derive(Debug)]
pub struct Disk {
    _holder: Arc<Process>,
    path: PathBuf,
}

impl Disk {
    pub(crate) async fn mount(world: &World, name: &str, kib: u32) -> Result<Self> {
        let place = world.folder(name)?;
        let script = r#"mount -n -t tmpfs -o "size=$1k" none "$2" && echo mounted && exec sleep infinity"#;
        let holder = namespace::words(name, namespace::unshare(world).await?)
            .args(["sh", "-c", script, "sh"])
            .args([kib.to_string(), place.display().to_string()]);
        let holder = world.start(holder)?;
        let mounted = async || {
            ensure!(holder.stdout() == "mounted\n", "not yet");
            Ok(())
        };
        holder.wait_until(START, "the disk is mounted", mounted).await?;
        let root = format!("/proc/{}/root", holder.pid().context("no pid")?);
        let path = Path::new(&root).join(place.strip_prefix("/").unwrap_or(&place));
        Ok(Self { _holder: holder, path })
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes into a file of its own until nothing fits any more.
    ///
    /// # Errors
    /// It can not be written for another reason than that.
    pub fn fill(&self) -> Result<()> {
        let mut file = File::options().create(true).append(true).open(self.filler()).context("filling a disk")?;
        loop {
            match file.write_all(&[0; 1024]) {
                Ok(()) => {}
                Err(full) if full.kind() == ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error).context("filling a disk"),
            }
        }
    }

    /// Takes away what [`Disk::fill`] wrote.
    ///
    /// # Errors
    /// It was not filled.
    pub fn free(&self) -> Result<()> {
        fs::remove_file(self.filler()).context("freeing a disk")
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }
}
