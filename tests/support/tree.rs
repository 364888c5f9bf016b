//! Processes as the kernel sees them. A child may leave its parent's process group (PostgreSQL's do), so a server is
//! the tree below its first process, not a group.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// One line of the process table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    /// The kernel's letter: `R` running, `S` sleeping, `T` stopped, `Z` zombie, …
    pub(crate) state: char,
}

impl Entry {
    fn read(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may itself hold spaces and parentheses.
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        Some(Self { pid, parent, state })
    }

    fn gone(self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// True while `pid` is there and not merely a zombie.
pub(crate) fn alive(pid: i32) -> bool {
    Entry::read(pid).is_some_and(|entry| !entry.gone())
}

/// True when `pid` is stopped, or gone.
pub(crate) fn stopped(pid: i32) -> bool {
    Entry::read(pid).is_none_or(|entry| entry.gone() || matches!(entry.state, 'T' | 't'))
}

/// The living processes below `root`, with `root` first.
pub(crate) fn tree(root: i32) -> Vec<i32> {
    let mut table = Vec::new();
    for folder in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if let Some(pid) = folder.file_name().to_str().and_then(|name| name.parse().ok()) {
            table.extend(Entry::read(pid).filter(|entry| !entry.gone()));
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(table.iter().filter(|entry| entry.parent == parent).map(|entry| entry.pid));
        next += 1;
    }
    found
}

/// Sends `signal` to `pid`. A process that is gone already is none of our concern.
pub(crate) fn send(pid: i32, signal: Signal) {
    if let Some(Err(error)) = Pid::from_raw(pid).map(|pid| kill_process(pid, signal)) {
        debug_assert_eq!(error, rustix::io::Errno::SRCH, "{signal:?} to {pid}");
    }
}
