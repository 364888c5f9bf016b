//! What a process uses, as the kernel counts it.

use anyhow::{Context, Result};

/// Kernel ticks per second, as /proc counts them on every Linux that is in use.
const TICKS: f64 = 100.0;

/// Processor seconds that the process has used.
pub(crate) fn cpu(pid: i32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = stat.rsplit_once(") ").context("no stat")?;
    let ticks: Vec<f64> = rest.split(' ').skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / TICKS)
}

/// Resident memory in MiB.
pub(crate) fn resident(pid: i32) -> Result<f64> {
    memory(pid, "VmRSS:")
}

/// The most memory that was ever resident, in MiB.
pub(crate) fn peak(pid: i32) -> Result<f64> {
    memory(pid, "VmHWM:")
}

fn memory(pid: i32, key: &'static str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)).context(key)?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}
