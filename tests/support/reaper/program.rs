//! The reaper's side of the wire. Everything is done by its first thread: the parent-death signal that its children get, in
//! case that somebody kills the reaper itself, is that of the thread that started them.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File, Permissions};
use std::io::{BufRead, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, setsid, wait, waitpid};
use tempfile::TempDir;
use tokio::time::Instant;

use super::{Launch, Order, Reply};
use crate::tree;

/// How long killed processes may take to vanish.
const KERNEL: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(2);

/// What the program `reaper` does. It is of use to a [`World`](crate::World) only.
pub fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "it speaks where the program speaks that it works for")]
            {
                eprintln!("reaper: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<()> {
    // A Ctrl-C at the terminal is for the program that it works for.
    setsid().context("beginning a session of its own")?;
    set_child_subreaper(Some(getpid())).context("becoming a subreaper")?;
    // Servers that run as another account have to get through to their own folder below.
    let folder = tempfile::Builder::new().prefix("phasegate-").permissions(Permissions::from_mode(0o755)).tempdir()?;
    let (mut orders, mut replies) = (std::io::stdin().lock().lines(), std::io::stdout().lock());
    // When nobody reads the replies any more, the next order does not come either.
    drop(writeln!(replies, "{}", serde_json::to_string(folder.path())?));
    let mut family = Family::default();
    while let Some(Ok(order)) = orders.next() {
        let reply: Reply = family.obey(&order).map_err(|error| format!("{error:#}"));
        drop(writeln!(replies, "{}", serde_json::to_string(&reply)?));
    }
    match family.end().and_then(|()| family.clear()).and_then(|()| unmount_below(folder.path())) {
        Ok(()) => remove(folder),
        Err(error) => Err(error.context(format!("leaving {}", folder.keep().display()))),
    }
}

#[derive(Debug, Default)]
struct Family {
    /// How the programs ended that have, by process id.
    ended: HashMap<i32, i32>,
    /// Shared memory that killed processes may have left behind.
    shared: BTreeSet<PathBuf>,
}

impl Family {
    fn obey(&mut self, order: &str) -> Result<Option<i32>> {
        match serde_json::from_str(order)? {
            Order::Start(launch) => self.start(&launch).map(Some),
            Order::Ended(pid) => self.ended(pid),
            Order::Kill(pid) => self.kill(&tree::tree(pid)).map_or(Ok(None), |error| Err(error.into())),
            Order::EndAll => self.end().map(|()| None),
        }
    }

    fn start(&mut self, launch: &Launch) -> Result<i32> {
        let append = |log: &Path| {
            let file = File::options().create(true).append(true).open(log);
            file.with_context(|| format!("opening {}", log.display()))
        };
        let (program, args) = launch.words.split_first().context("no program")?;
        let mut command = Command::new(program);
        command.args(args).env_clear().envs(launch.env.iter().map(|(name, value)| (name, value)));
        command.current_dir(&launch.folder).process_group(0);
        command.stdin(Stdio::null()).stdout(append(&launch.stdout)?).stderr(append(&launch.stderr)?);
        let pid = i32::try_from(command.spawn().with_context(|| format!("starting {program}"))?.id())?;
        self.ended.remove(&pid);
        Ok(pid)
    }

    fn ended(&mut self, pid: i32) -> Result<Option<i32>> {
        if !self.ended.contains_key(&pid)
            && let Some((_, status)) = waitpid(Pid::from_raw(pid), WaitOptions::NOHANG)?
        {
            self.ended.insert(pid, status.as_raw());
        }
        Ok(self.ended.get(&pid).copied())
    }

    /// Removes what dead processes left outside of the folder.
    fn clear(&self) -> Result<()> {
        for path in &self.shared {
            match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("removing {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// All of them stand still before the first one dies, so that nobody answers the death of another.
    fn kill(&mut self, pids: &[i32]) -> Option<Errno> {
        let mut refused = None;
        for signal in [Signal::STOP, Signal::KILL] {
            for pid in pids.iter().filter_map(|pid| Pid::from_raw(*pid)) {
                refused = kill_process(pid, signal).err().filter(|error| *error != Errno::SRCH).or(refused);
            }
            if signal == Signal::STOP {
                self.shared.extend(pids.iter().flat_map(|pid| shared_memory(*pid)));
            }
        }
        refused
    }

    /// Kills all that is below this process, until the kernel says that it has no child.
    fn end(&mut self) -> Result<()> {
        let own = getpid().as_raw_nonzero().get();
        let (end, mut refused) = (Instant::now() + KERNEL, None);
        loop {
            let below: Vec<i32> = tree::tree(own).into_iter().filter(|pid| *pid != own).collect();
            refused = self.kill(&below).or(refused);
            loop {
                match wait(WaitOptions::NOHANG) {
                    Ok(Some((pid, status))) => drop(self.ended.insert(pid.as_raw_nonzero().get(), status.as_raw())),
                    Ok(None) => break,
                    Err(Errno::CHILD) => return Ok(()),
                    Err(error) => return Err(error.into()),
                }
            }
            if Instant::now() > end {
                bail!("these processes will not go ({refused:?}): {below:?}");
            }
            // The kernel waits for a child or not at all, and one that will not go must not hold its world for ever.
            std::thread::sleep(PAUSE);
        }
    }
}

/// The pieces of shared memory with a name that a process uses: a folder of files that outlive it.
fn shared_memory(pid: i32) -> Vec<PathBuf> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let files = maps.lines().filter_map(|line| line.find("/dev/shm/").and_then(|from| line.get(from..)));
    files.filter(|file| !file.ends_with(" (deleted)")).map(PathBuf::from).collect()
}

/// What is mounted below the folder is not ours to remove: it only goes from there.
fn unmount_below(folder: &Path) -> Result<()> {
    let folder = folder.canonicalize()?;
    for point in mounts(&fs::read_to_string("/proc/self/mountinfo")?).into_iter().rev() {
        if point.starts_with(&folder) {
            unmount(&point, UnmountFlags::DETACH).with_context(|| format!("unmounting {}", point.display()))?;
        }
    }
    Ok(())
}

/// The mount points of a `mountinfo`, where blanks and backslashes are written in octal.
fn mounts(table: &str) -> Vec<PathBuf> {
    let point = |line: &str| {
        let words = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
        let point = line.split(' ').nth(4)?.to_owned();
        Some(words.iter().fold(point, |point, (octal, plain)| point.replace(octal, plain)).into())
    };
    table.lines().filter_map(point).collect()
}

fn remove(folder: TempDir) -> Result<()> {
    let path = folder.path().to_owned();
    folder.close().with_context(|| format!("removing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_also_with_blanks_in_them() {
        let table = "27 1 254:0 / / rw - ext4 /dev/vda rw\n41 31 0:38 / /tmp/a\\040b\\134c rw,relatime - tmpfs none rw\n";
        assert_eq!(mounts(table), [Path::new("/"), Path::new("/tmp/a b\\c")]);
    }
}
