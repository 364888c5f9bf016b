//! The real systemd-journald: one for each world, which neither sees the machine's own journal nor is seen by it.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::namespace;
use crate::process::{Process, Spec};
use crate::wait::wait_until;
use crate::world::{Supervisor, World};

const START: Duration = Duration::from_secs(20);
const READ: Duration = Duration::from_secs(30);

/// Everything is kept, nothing is handed on. The empty `Audit` leaves the kernel's auditing as it is.
const SETTINGS: &str = "[Journal]
Storage=volatile
RuntimeMaxUse=512M
RuntimeKeepFree=0
RateLimitIntervalSec=0
RateLimitBurst=0
SplitMode=none
ReadKMsg=no
Audit=
MaxLevelStore=debug
ForwardToSyslog=no
ForwardToKMsg=no
ForwardToConsole=no
ForwardToWall=no
";

/// journald's paths are fixed, so it gets other folders below them. `$1` is the folder with those, `$2` is journald.
const MOUNTS: &str = r#"set -e
mount -n -t tmpfs none /run
mkdir -p /run/systemd/journal /run/log/journal
mount --bind "$1/run" /run/systemd/journal
mount --bind "$1/log" /run/log/journal
mount --bind /dev/null /dev/kmsg
mount --bind "$1/etc" /etc
exec "$2"
"#;

/// A running journald with a journal of its own, in a mount namespace of its own.
///
/// Where there are no namespaces it is the one that the machine runs: then it can be neither killed nor frozen, and holds other
/// lines too; those of one agent are told by their boot.
#[derive(Debug)]
pub struct Journal {
    supervisor: Arc<Supervisor>,
    process: Option<Arc<Process>>,
    socket: PathBuf,
    folder: PathBuf,
    machine_id: String,
}

impl Journal {
    /// Starts it with an empty journal; returns when it takes lines.
    ///
    /// # Errors
    /// systemd-journald is not installed or does not start within 20 s; or this account may not make mount namespaces, and the
    /// machine runs no journald either.
    pub async fn start(world: &World) -> Result<Self> {
        let unshare = match namespace::unshare(world).await {
            Ok(unshare) => unshare,
            Err(error) => {
                return Self::shared(world).with_context(|| format!("{error:#}; nor can the machine's own journald be used"));
            }
        };
        let program = program()?;
        let folder = world.folder("journal")?;
        let settings = folder.join("etc/systemd/journald.conf.d");
        for folder in [&settings, &folder.join("run"), &folder.join("log")] {
            fs::create_dir_all(folder)?;
        }
        // The last one in the order of names wins.
        fs::write(settings.join("zz-world.conf"), SETTINGS)?;
        let machine_id = fs::read_to_string("/proc/sys/kernel/random/uuid")?.trim().replace('-', "");
        fs::write(folder.join("etc/machine-id"), format!("{machine_id}\n"))?;

        let spec = namespace::words("journald", unshare)
            .args(["sh", "-c", MOUNTS, "sh"])
            .args([folder.display().to_string(), program.display().to_string()])
            .env("SYSTEMD_LOG_TARGET", "console");
        let (socket, files) = (folder.join("run/socket"), folder.join("log"));
        let process = Some(world.start(spec)?);
        let journal = Self { supervisor: world.supervisor(), process, socket, folder: files, machine_id };
        journal.ready().await?;
        Ok(journal)
    }

    fn shared(world: &World) -> Result<Self> {
        let socket = PathBuf::from("/run/systemd/journal/socket");
        UnixDatagram::unbound()?.connect(&socket).with_context(|| socket.display().to_string())?;
        let machine_id = fs::read_to_string("/etc/machine-id").context("/etc/machine-id")?.trim().to_owned();
        let folders = ["/var/log/journal", "/run/log/journal"].map(PathBuf::from);
        let folder = folders.into_iter().find(|folder| folder.join(&machine_id).is_dir()).context("it keeps no files")?;
        Ok(Self { supervisor: world.supervisor(), process: None, socket, folder, machine_id })
    }

    /// Its native socket, for `probe agent --journal.socket`.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The folder with its files, for collectors and `journalctl --directory`. They lie in a folder below that is called
    /// [`Journal::machine_id`].
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The machine that its entries claim to come from.
    pub fn machine_id(&self) -> &str {
        &self.machine_id
    }

    /// The process, for its logs and its id.
    ///
    /// # Errors
    /// It is the machine's own.
    pub fn process(&self) -> Result<&Process> {
        self.process
            .as_deref()
            .context("this is the machine's own journald, which is left alone: there are no mount namespaces here")
    }

    /// Writes one entry over the native protocol. That it was taken says nothing about when it can be read.
    ///
    /// # Errors
    /// journald is not there, or takes nothing.
    pub fn log(&self, identifier: &str, message: &str) -> Result<()> {
        let length = u64::try_from(message.len())?.to_le_bytes();
        let head = format!("SYSLOG_IDENTIFIER={identifier}\nPRIORITY=6\nMESSAGE\n");
        // With its length before it a value may hold anything.
        let entry = [head.as_bytes(), &length, message.as_bytes(), b"\n"].concat();
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(START))?;
        let sent = socket.send_to(&entry, &self.socket).with_context(|| format!("writing to {}", self.socket.display()))?;
        ensure!(sent == entry.len(), "{sent} of {} bytes", entry.len());
        Ok(())
    }

    /// Its entries for which this holds (`SYSLOG_IDENTIFIER=canary`; all of them if it is empty), oldest first, with all of their
    /// fields.
    ///
    /// # Errors
    /// `journalctl` is missing, or can not read the journal.
    pub async fn entries(&self, holds: &str) -> Result<Vec<Value>> {
        let read = Spec::new("journalctl", "journalctl")
            .arg(format!("--directory={}", self.folder.display()))
            .args(["--output=json", "--all", "--no-pager", "--quiet"])
            .args((!holds.is_empty()).then_some(holds));
        let done = self.supervisor.adopt(read).run(READ).await?;
        ensure!(done.code == 0, "journalctl failed ({}): {}", done.code, done.stderr);
        done.stdout.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
    }

    /// SIGKILL; returns when it is gone. What its socket held is lost.
    ///
    /// # Errors
    /// It will not go, or is the machine's own.
    pub async fn kill(&self) -> Result<()> {
        self.process()?.kill().await
    }

    /// Starts it again, on the same folders and with a new socket, as journald does; returns when it takes lines.
    ///
    /// # Errors
    /// It runs already, or does not start within 20 s, or is the machine's own.
    pub async fn start_again(&self) -> Result<()> {
        self.process()?.start()?;
        self.ready().await
    }

    /// SIGSTOP: it takes what its socket can hold, and writes nothing.
    ///
    /// # Errors
    /// It does not run, or is the machine's own.
    pub async fn freeze(&self) -> Result<()> {
        self.process()?.freeze().await
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// It is the machine's own.
    pub fn thaw(&self) -> Result<()> {
        self.process()?.thaw();
        Ok(())
    }

    async fn ready(&self) -> Result<()> {
        let taken = async || Ok(UnixDatagram::unbound()?.connect(&self.socket)?);
        self.process()?.wait_until(START, "journald has its socket", taken).await?;
        wait_until(START, "journald has its file", async || {
            Ok(fs::metadata(self.folder.join(&self.machine_id).join("system.journal"))?)
        })
        .await
        .map(drop)
    }
}

/// It is no command for people, so it is not on the `PATH`.
fn program() -> Result<&'static Path> {
    let places = ["/usr/lib/systemd/systemd-journald", "/lib/systemd/systemd-journald"].map(Path::new);
    let found = places.into_iter().find(|place| place.is_file());
    found.context("there is no systemd-journald: apt-get install systemd; tests/run does that")
}
