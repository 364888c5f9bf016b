//! The reaper: a small process beside each [`World`](crate::World), the parent of all that the world starts. It ends them, and
//! removes the world's folder, as soon as its standard input closes: when the world is dropped, and just the same when the
//! program with the world in it is killed.
//!
//! It is what the kernel calls a child subreaper: whoever below it loses a parent becomes its own child. So no process can leave
//! it, whatever it does to its group, session, environment or parent, and none is left when the kernel knows no child of it
//! any more. A list of process ids would miss a child that was born a moment ago; a mark in the environment would miss
//! PostgreSQL's backends and Chromium's, which write over it; the parent-death signal only reaches first processes, and lets
//! their children run on.

mod program;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::LazyLock;

use anyhow::{Context, Result, anyhow, bail, ensure};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::binary::binary;

pub use program::main;

/// One line to the reaper. Each is answered by one line.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Order {
    /// Starts a program; answered by its process id.
    Start(Launch),
    /// Asks how the program with this process id ended; answered by nothing while it runs. Until then its id is not used again.
    Ended(i32),
    /// SIGKILL to the tree below this process; answered when it is sent.
    Kill(i32),
    /// Ends all that was started; answered when they are gone.
    EndAll,
}

/// What to start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Launch {
    /// The program, looked for on the `PATH`, and its arguments.
    pub(crate) words: Vec<String>,
    /// All of its environment.
    pub(crate) env: Vec<(String, String)>,
    /// Where it starts.
    pub(crate) folder: PathBuf,
    /// The file that its standard output is appended to.
    pub(crate) stdout: PathBuf,
    /// The file that its standard error is appended to.
    pub(crate) stderr: PathBuf,
}

/// A number, if there is one to tell, or why not.
type Reply = Result<Option<i32>, String>;

/// A running reaper. Its folder and all that it started go when this is dropped, or the program is.
#[derive(Debug)]
pub(crate) struct Reaper {
    folder: PathBuf,
    wire: Mutex<Option<Wire>>,
}

#[derive(Debug)]
struct Wire {
    reaper: Child,
    orders: ChildStdin,
    replies: BufReader<ChildStdout>,
}

impl Reaper {
    /// Starts it, with an empty folder of its own in the place for temporary files.
    ///
    /// # Errors
    /// Its binary is missing or stale, or it can not make the folder.
    pub(crate) fn start() -> Result<Self> {
        // Both pipes are closed by whatever else this program executes, so that it alone holds the reaper.
        let mut reaper = command()?.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("starting the reaper")?;
        let (orders, replies) = reaper.stdin.take().zip(reaper.stdout.take()).context("a reaper without pipes")?;
        let mut wire = Wire { reaper, orders, replies: BufReader::new(replies) };
        let folder = wire.hear()?;
        Ok(Self { folder, wire: Mutex::new(Some(wire)) })
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts a program in a process group of its own; returns its process id.
    pub(crate) fn launch(&self, launch: Launch) -> Result<i32> {
        self.ask(&Order::Start(launch))?.context("it was started without a process id")
    }

    /// How a program ended, `None` while it runs.
    pub(crate) fn ended(&self, pid: i32) -> Result<Option<ExitStatus>> {
        Ok(self.ask(&Order::Ended(pid))?.map(ExitStatus::from_raw))
    }

    /// SIGKILL to a process and to all below it.
    pub(crate) fn kill(&self, pid: i32) -> Result<()> {
        self.ask(&Order::Kill(pid)).map(drop)
    }

    /// SIGKILL to all that was started and to all that they started; returns when they are gone.
    pub(crate) fn end_all(&self) -> Result<()> {
        self.ask(&Order::EndAll).map(drop)
    }

    /// Ends what is left, and removes the folder.
    pub(crate) fn close(&self) -> Result<()> {
        let Some(Wire { mut reaper, orders, replies }) = self.wire.lock().take() else {
            return Ok(());
        };
        drop((orders, replies));
        let status = reaper.wait()?;
        ensure!(status.success(), "the reaper of {} ended with {status}", self.folder.display());
        Ok(())
    }

    fn ask(&self, order: &Order) -> Result<Option<i32>> {
        let mut slot = self.wire.lock();
        let wire = slot.as_mut().context("its world has ended")?;
        let told = writeln!(wire.orders, "{}", serde_json::to_string(order)?);
        told.context("the reaper is gone")?;
        wire.hear::<Reply>()?.map_err(|reason| anyhow!(reason))
    }
}

/// In an IPC namespace of its own, where this account may make one: a PostgreSQL that is killed leaves System V shared memory, of
/// which a machine has a limited number of pieces.
fn command() -> Result<Command> {
    static ALONE: LazyLock<bool> = LazyLock::new(|| {
        let trial = Command::new("unshare").args(["--ipc", "true"]).stderr(Stdio::null()).status();
        trial.is_ok_and(|status| status.success())
    });
    let program = binary("reaper")?;
    if !*ALONE {
        return Ok(Command::new(program));
    }
    let mut command = Command::new("unshare");
    command.arg("--ipc").arg(program);
    Ok(command)
}

impl Drop for Reaper {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            #[expect(
                clippy::print_stderr,
                reason = "what a test leaves on the machine has to be said, and a drop has no other way"
            )]
            {
                eprintln!("{error:#}");
            }
        }
    }
}

impl Wire {
    fn hear<T: for<'a> Deserialize<'a>>(&mut self) -> Result<T> {
        let mut line = String::new();
        if self.replies.read_line(&mut line)? == 0 {
            bail!("the reaper is gone ({})", self.reaper.wait()?);
        }
        Ok(serde_json::from_str(&line)?)
    }
}
