//! A supervised process: it dies with its [`World`](crate::World) and with this program, its output is kept in files,
//! and it can be started again.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use chrono::TimeDelta;
use parking_lot::Mutex;
use rustix::process::Signal;

use crate::clock;
use crate::reaper::{Launch, Reaper};
use crate::tree;
use crate::wait::wait_until;

/// How long a process may take to vanish after SIGKILL, or to stop after SIGSTOP.
const KERNEL: Duration = Duration::from_secs(10);
/// How much of each log is shown, in lines.
const SHOWN: usize = 60;

/// An account to run a process as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// Its user id.
    pub uid: u32,
    /// Its primary group's id.
    pub gid: u32,
}

/// What to run. The environment is empty but for `PATH`, `HOME`, `LANG`, `TZ` and what [`Spec::env`] adds.
#[derive(Debug, Clone)]
pub struct Spec {
    pub(crate) name: String,
    program: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
    user: Option<User>,
    end: Signal,
    clock: Option<TimeDelta>,
}

impl Spec {
    /// `name` is what the logs are called.
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>) -> Self {
        let (args, env) = (Vec::new(), Vec::new());
        Self { name: name.into(), program: program.into(), args, env, user: None, end: Signal::TERM, clock: None }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<String>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Runs it as another account. `None`: as ourselves.
    #[must_use]
    pub fn user(mut self, user: Option<User>) -> Self {
        self.user = user;
        self
    }

    /// Gives it a wall clock of its own, this far from the machine's, that [`Process::shift_clock`] can set while it runs.
    /// Programs that do not ask libc for the time (Go's) do not notice.
    #[must_use]
    pub fn clock(mut self, offset: TimeDelta) -> Self {
        self.clock = Some(offset);
        self
    }

    /// Has a shell start it that runs this script: `"$@"` in it is the program with its arguments.
    #[must_use]
    pub fn by_shell(mut self, script: &str) -> Self {
        let program = std::mem::replace(&mut self.program, PathBuf::from("/bin/sh"));
        let words = ["-c".to_owned(), script.to_owned(), "sh".to_owned(), program.display().to_string()];
        self.args = words.into_iter().chain(std::mem::take(&mut self.args)).collect();
        self
    }

    /// The signal by which it ends in good order. SIGTERM unless said otherwise.
    #[must_use]
    pub fn ends_by(mut self, signal: Signal) -> Self {
        self.end = signal;
        self
    }
}

/// How a process that ran to its end did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit code. A signal counts as 128 + its number, as in a shell.
    pub code: i32,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
}

/// A supervised process, running or not.
#[derive(Debug)]
pub struct Process {
    spec: Spec,
    reaper: Arc<Reaper>,
    stdout: PathBuf,
    stderr: PathBuf,
    clock: PathBuf,
    life: Mutex<Life>,
}

#[derive(Debug, Clone, Copy)]
enum Life {
    Ahead,
    Running(i32),
    Over(i32, ExitStatus),
}

impl Process {
    pub(crate) fn new(spec: Spec, reaper: Arc<Reaper>, log: &str) -> Self {
        let logs = reaper.folder().join("logs");
        let [stdout, stderr, clock] = ["stdout", "stderr", "clock"].map(|kind| logs.join(format!("{log}.{kind}")));
        Self { spec, reaper, stdout, stderr, clock, life: Mutex::new(Life::Ahead) }
    }

    /// Starts it, or starts it again. The logs go on.
    ///
    /// # Errors
    /// It is running already, or can not be run, or is to have a clock of its own and `faketime` is not installed.
    pub fn start(&self) -> Result<()> {
        let mut life = self.life.lock();
        if let Life::Running(pid) = *life {
            ensure!(self.reaper.ended(pid)?.is_some(), "{} is running already", self.spec.name);
        }
        if let (Some(offset), false) = (self.spec.clock, self.clock.exists()) {
            clock::set(&self.clock, offset)?;
        }
        let pid = self.reaper.launch(self.command()?).with_context(|| format!("starting {}", self.spec.program.display()))?;
        *life = Life::Running(pid);
        Ok(())
    }

    /// What its logs are called.
    pub(crate) fn name(&self) -> &str {
        &self.spec.name
    }

    /// The process id it was last started with, `None` before that.
    pub fn pid(&self) -> Option<i32> {
        match *self.life.lock() {
            Life::Ahead => None,
            Life::Running(pid) | Life::Over(pid, _) => Some(pid),
        }
    }

    /// How it ended, `None` while it runs.
    ///
    /// # Errors
    /// It was never started.
    pub fn ended(&self) -> Result<Option<ExitStatus>> {
        let mut life = self.life.lock();
        match *life {
            Life::Ahead => bail!("{} was never started", self.spec.name),
            Life::Over(_, status) => Ok(Some(status)),
            Life::Running(pid) => {
                let ended = self.reaper.ended(pid)?;
                if let Some(status) = ended {
                    *life = Life::Over(pid, status);
                }
                Ok(ended)
            }
        }
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// It still runs after `deadline`.
    pub async fn wait(&self, deadline: Duration) -> Result<ExitStatus> {
        let what = format!("{} ends", self.spec.name);
        wait_until(deadline, &what, async || self.ended()?.context("it still runs")).await
    }

    /// Looks until `look` is `Ok`, see [`wait_until`]; gives up at once when the process ends.
    ///
    /// # Errors
    /// It ended, or the deadline passed. The error holds the end of its log.
    pub async fn wait_until<T>(&self, deadline: Duration, what: &str, mut look: impl AsyncFnMut() -> Result<T>) -> Result<T> {
        let seen = wait_until(deadline, what, async || {
            let looked = look().await;
            match self.ended()? {
                Some(status) if looked.is_err() => Ok(Err(anyhow!("{} ended ({status}) before: {what}", self.spec.name))),
                _ => looked.map(Ok),
            }
        });
        seen.await.flatten().with_context(|| self.log())
    }

    /// SIGKILL to all of its processes, frozen or not; returns when they are gone.
    ///
    /// # Errors
    /// One of them will not go.
    pub async fn kill(&self) -> Result<()> {
        let Some(pid) = self.running() else {
            return Ok(());
        };
        let all = tree::tree(pid);
        self.reaper.kill(pid)?;
        self.wait(KERNEL).await?;
        wait_until(KERNEL, &format!("all processes of {} are gone", self.spec.name), async || {
            match all.iter().find(|pid| tree::alive(**pid)) {
                Some(pid) => bail!("process {pid} is still there"),
                None => Ok(()),
            }
        })
        .await
    }

    /// Ends it in good order ([`Spec::ends_by`]) and returns how it did.
    ///
    /// # Errors
    /// It still runs after `deadline`.
    pub async fn stop(&self, deadline: Duration) -> Result<ExitStatus> {
        self.signal(self.spec.end);
        self.wait(deadline).await.with_context(|| self.log())
    }

    /// Sends a signal to its first process, if it runs.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = self.running() {
            tree::send(pid, signal);
        }
    }

    /// SIGSTOP to all of its processes; returns when they stand still.
    ///
    /// # Errors
    /// One of them runs on.
    pub async fn freeze(&self) -> Result<()> {
        let pid = self.running().with_context(|| format!("{} does not run", self.spec.name))?;
        wait_until(KERNEL, &format!("{} stands still", self.spec.name), async || {
            // The tree is read again on each look: what was forked in between has to stop as well.
            let all = tree::tree(pid);
            for &pid in &all {
                tree::send(pid, Signal::STOP);
            }
            ensure!(all.iter().all(|pid| tree::stopped(*pid)), "it moves");
            Ok(())
        })
        .await
    }

    /// SIGCONT to all of its processes.
    pub fn thaw(&self) {
        for pid in self.running().map(tree::tree).unwrap_or_default() {
            tree::send(pid, Signal::CONT);
        }
    }

    /// Sets its clock this far from the machine's, in whole seconds; it runs on from there, also when it is started again.
    ///
    /// # Errors
    /// It has no clock of its own ([`Spec::clock`]).
    pub fn shift_clock(&self, offset: TimeDelta) -> Result<()> {
        ensure!(self.spec.clock.is_some(), "{} has the machine's clock", self.spec.name);
        clock::set(&self.clock, offset)
    }

    /// Its standard output so far.
    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// Its standard error so far.
    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// The end of both of its logs, for people.
    pub fn log(&self) -> String {
        let mut shown = Vec::new();
        for (stream, log) in [("stdout", self.stdout()), ("stderr", self.stderr())] {
            let lines: Vec<&str> = log.lines().collect();
            let hidden = lines.len().saturating_sub(SHOWN);
            if !lines.is_empty() {
                shown.push(format!("--- {} {stream} (the first {hidden} lines left out)", self.spec.name));
                shown.extend(lines.iter().skip(hidden).map(|line| format!("    {line}")));
            }
        }
        if shown.is_empty() { format!("--- {} said nothing", self.spec.name) } else { shown.join("\n") }
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// It can not be run, or still runs after `deadline` (it is killed then).
    pub(crate) async fn run(&self, deadline: Duration) -> Result<Output> {
        self.start()?;
        let status = match self.wait(deadline).await {
            Ok(status) => status,
            Err(error) => {
                self.kill().await?;
                return Err(error.context(self.log()));
            }
        };
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).context("neither code nor signal")?;
        Ok(Output { code, stdout: self.stdout(), stderr: self.stderr() })
    }

    fn running(&self) -> Option<i32> {
        match self.ended() {
            Ok(None) => self.pid(),
            Ok(Some(_)) | Err(_) => None,
        }
    }

    fn command(&self) -> Result<Launch> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let mut command = words(&["setpriv", "--pdeathsig", "KILL"]);
        if let Some(user) = self.spec.user {
            command.extend([format!("--reuid={}", user.uid), format!("--regid={}", user.gid), "--clear-groups".to_owned()]);
        }
        command.push("--".to_owned());
        if self.spec.clock.is_some() {
            // Not before: what the library shares between processes belongs to the account of the first one.
            command.push("env".to_owned());
            command.extend(clock::environment(&self.clock)?.map(|(name, value)| format!("{name}={value}")));
        }
        command.push(self.spec.program.display().to_string());
        command.extend(self.spec.args.iter().cloned());
        let folder = self.reaper.folder().to_owned();
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".to_owned());
        let fixed = [("HOME", folder.display().to_string()), ("LANG", "C.UTF-8".into()), ("TZ", "UTC".into()), ("PATH", path)];
        let env = fixed.map(|(name, value)| (name.to_owned(), value)).into_iter().chain(self.spec.env.iter().cloned()).collect();
        Ok(Launch { words: command, env, folder, stdout: self.stdout.clone(), stderr: self.stderr.clone() })
    }
}

fn read(log: &Path) -> String {
    fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
