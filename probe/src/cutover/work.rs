//! Runs one command of a step on this machine: without a shell, without input, in a process group of its own, up to a deadline,
//! and shows what it says as it says it, but for secrets.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures::FutureExt;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, test_kill_process_group, waitid};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, sleep_until, timeout};

mod lines;
mod mask;
mod output;
#[cfg(test)]
mod tests;

use mask::Mask;
use output::{Output, Screen};

/// How long a command that is to end has for it, before it is killed.
const GRACE: Duration = Duration::from_secs(5);
/// How long a command that has ended is listened to, if somebody it left behind still holds its output.
const REST: Duration = Duration::from_secs(1);
/// What both of its pipes hold when it ends.
const HELD: usize = 2 * 64 * 1024;
/// How often to look whether a command asks for something.
const ASKS: Duration = Duration::from_millis(200);
/// How often to look whether a process group is gone.
const LOOK: Duration = Duration::from_millis(20);

/// One command of a step.
#[derive(Clone)]
pub(crate) struct Job {
    /// The program and its arguments, as they are. The machine shows them to everybody: no secret belongs here.
    pub(crate) words: Vec<String>,
    /// Variables by name, besides those that are inherited. Secrets travel here.
    pub(crate) env: Vec<(String, String)>,
    /// Values that are never shown.
    pub(crate) secrets: Vec<String>,
    /// Where it runs.
    pub(crate) dir: PathBuf,
    /// How long it may take.
    pub(crate) timeout: Duration,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mask = Mask::new(&self.secrets);
        let words: Vec<String> = self.words.iter().map(|word| mask.text(word)).collect();
        let names: Vec<&str> = self.env.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Job")
            .field("words", &words)
            .field("env", &names)
            .field("secrets", &self.secrets.len())
            .field("dir", &self.dir)
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself, with this code.
    Exited(i32),
    /// By a signal that was not ours.
    Signalled(i32),
    /// It took too long, and was ended.
    TimedOut,
    /// It asked for something on the terminal, which a step does not have, and was ended.
    Asked,
    /// It was never run: why, and what to do.
    NotStarted(String),
    /// It was broken off.
    Cancelled,
    /// It ran, but the machine does not say how it ended: why.
    Lost(String),
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Worked {
    /// How it ended.
    pub(crate) end: End,
    /// How long it took.
    pub(crate) took: Duration,
    /// The end of what it said, as it was shown.
    pub(crate) tail: String,
}

impl End {
    /// Why it did not end as it should, in words; none: it did.
    pub(crate) fn trouble(&self, timeout: Duration) -> Option<String> {
        (*self != Self::Exited(0)).then(|| self.words(timeout))
    }

    /// In words: how it ended, after this time.
    pub(crate) fn words(&self, timeout: Duration) -> String {
        match self {
            Self::Exited(code) => format!("it exited with {code}"),
            Self::Signalled(signal) => format!("it was killed by signal {signal}"),
            Self::TimedOut => format!("it took longer than {}", humantime::format_duration(timeout)),
            Self::Asked => {
                "it asked for something on the terminal, and a step has none: give it a key, a token or a rule that needs no password".to_owned()
            }
            Self::NotStarted(why) => why.clone(),
            Self::Cancelled => "it was broken off".to_owned(),
            Self::Lost(why) => format!("how it ended is not known: {why}"),
        }
    }
}

/// Runs a command to its end, and shows each line of its output. When `cancel` is ready, it is ended as if its time were over.
///
/// What it leaves running in the background, without holding its output, goes on. Dropped half-way, this leaves it running, too.
pub(crate) async fn work(job: &Job, cancel: impl Future<Output = ()>, echo: &mut dyn FnMut(&str)) -> Worked {
    let started = Instant::now();
    let mut screen = Screen::new(Mask::new(&job.secrets), echo);
    let end = run(job, cancel, &mut screen).await;
    Worked { end, took: started.elapsed(), tail: screen.into_tail() }
}

async fn run(job: &Job, cancel: impl Future<Output = ()>, screen: &mut Screen<'_>) -> End {
    let mut cancel = pin!(cancel);
    if cancel.as_mut().now_or_never().is_some() {
        return End::Cancelled;
    }
    let (mut child, group) = match start(job) {
        Ok(started) => started,
        Err(why) => return End::NotStarted(screen.mask().text(&why)),
    };
    let mut output = Output::new(&mut child, screen.mask());
    let (end, left) = {
        let mut ends = pin!(watch(child, group, job.timeout, cancel));
        loop {
            tokio::select! {
                biased;
                ended = &mut ends => break ended,
                _ = output.more(screen), if output.is_open() => {}
            }
        }
    };
    // What it said before it ended is shown however long that takes; beyond that, its heirs are not waited for.
    let deadline = Instant::now() + REST;
    let mut seen = 0;
    while output.is_open() && (seen < HELD || Instant::now() < deadline) {
        tokio::select! {
            biased;
            more = output.more(screen) => seen += more,
            () = sleep_until(deadline) => break,
        }
    }
    output.finish(screen);
    if let Some(left) = left {
        screen.say(&left);
    }
    end
}

/// Waits until the command has ended, or ends it. Says what is left of it, if it can not be ended.
async fn watch(mut child: Child, group: Pid, time: Duration, cancel: impl Future<Output = ()>) -> (End, Option<String>) {
    let end = tokio::select! {
        biased;
        status = child.wait() => return (how(status), None),
        () = cancel => End::Cancelled,
        () = sleep(time) => End::TimedOut,
        () = asks(group) => End::Asked,
    };
    (end, stop(&mut child, group).await)
}

/// Waits until a command is suspended because it wants to read from the terminal, or to set it. Its group is not the terminal's,
/// so it would wait there for its whole time.
async fn asks(leader: Pid) {
    let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    loop {
        sleep(ASKS).await;
        // A leader that is gone asks for nothing any more.
        let Ok(status) = waitid(WaitId::Pid(leader), options) else { return std::future::pending().await };
        let signal = status.and_then(|status| status.stopping_signal());
        if signal.is_some_and(|signal| [Signal::TTIN, Signal::TTOU].map(Signal::as_raw).contains(&signal)) {
            return;
        }
    }
}

fn how(status: io::Result<ExitStatus>) -> End {
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => End::Exited(code),
            (None, Some(signal)) => End::Signalled(signal),
            (None, None) => End::Lost(status.to_string()),
        },
        Err(error) => End::Lost(error.to_string()),
    }
}

/// Ends the whole group. All of it gets the time: a shell often dies at once, and leaves the one who has to tidy up.
async fn stop(child: &mut Child, group: Pid) -> Option<String> {
    // What was suspended would never see that it is to end.
    for signal in [Signal::TERM, Signal::CONT] {
        // A group that is gone already has ended, too.
        let _gone = kill_process_group(group, signal);
    }
    let gone = async {
        drop(child.wait().await);
        while test_kill_process_group(group) != Err(Errno::SRCH) {
            sleep(LOOK).await;
        }
    };
    if timeout(GRACE, gone).await.is_ok() {
        return None;
    }
    let denied = kill_process_group(group, Signal::KILL) == Err(Errno::PERM);
    let there = timeout(REST, child.wait()).await.is_err();
    (denied || there).then(|| {
        let group = group.as_raw_nonzero();
        format!(
            "process group {group} can not be ended and still runs: see to its end before you go on (sudo kill -KILL -- -{group})"
        )
    })
}

/// Starts it, as the leader of its own group. Otherwise: why not, and what to do.
fn start(job: &Job) -> Result<(Child, Pid), String> {
    let Some((program, args)) = job.words.split_first().filter(|(program, _)| !program.is_empty()) else {
        return Err("there is no command to run: name a program for the step".to_owned());
    };
    // Of a missing folder the machine says the same as of a missing program.
    enter(&job.dir)?;
    let mut command = Command::new(program);
    command.args(args).envs(job.env.iter().cloned()).current_dir(&job.dir);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let child = command.spawn().map_err(|error| not_run(program, &job.dir, &error))?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    group.map(|group| (child, group)).ok_or_else(|| format!("`{program}` has no process id: this machine can not run it"))
}

fn enter(dir: &Path) -> Result<(), String> {
    // The dot makes it a folder that may be entered.
    match fs::metadata(dir.join(".")) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(format!("the folder {} does not exist: create it, or name another one for the step", dir.display()))
        }
        Err(error) => Err(format!("the folder {} can not be entered ({error}): name another one for the step", dir.display())),
    }
}

fn not_run(program: &str, dir: &Path, error: &io::Error) -> String {
    let path = dir.join(program);
    let missing = error.kind() == io::ErrorKind::NotFound;
    if missing && program.contains('/') && path.exists() {
        format!("`{program}` is there, but the interpreter of its first line is not: install it, or correct that line")
    } else if missing && program.contains('/') {
        format!("`{}` does not exist: correct the command of the step", path.display())
    } else if missing {
        format!("`{program}` is not found in PATH: install it, or name it with its full path")
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        format!("`{program}` is not executable: make it so with `chmod +x`, or name another program")
    } else if error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error()) {
        format!("`{program}` is neither a program for this machine nor a script with `#!` in front: give its interpreter first")
    } else {
        format!("`{program}` can not be started ({error}): correct the command of the step")
    }
}
