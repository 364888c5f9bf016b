//! What one agent costs its node: memory and processor, with a verifier that asks it and a Prometheus that scrapes it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use checks::log_path::line::Head;
use futures::future::try_join_all;
use tests::{Agent, Journal, World};
use tokio::time::{Instant, interval};

use crate::figures::{say, tell};
use crate::usage::cpu;

/// Lines per second, one agent for each.
const RATES: [u32; 3] = [1, 10, 1000];
/// How often the head is asked for; the metrics every third time.
const ASKED: Duration = Duration::from_secs(5);

/// All of them at the same time, into one journal, for so long.
pub(crate) async fn measure(span: Duration) -> Result<()> {
    let world = World::new()?;
    let journal = Journal::start(&world).await?;
    say(&format!("{} agents write for {span:?}", RATES.len()));
    let rows = try_join_all(RATES.map(|rate| row(&world, &journal, rate, span))).await?;
    tell("lines per s       lines     refused    RssAnon    RssFile      VmRSS   processor per 60 s");
    for row in rows {
        tell(&row);
    }
    Ok(())
}

async fn row(world: &World, journal: &Journal, rate: u32, span: Duration) -> Result<String> {
    let every = format!("{}ms", 1000 / rate);
    let socket = journal.socket().to_str().context("no UTF-8")?;
    let agent = Agent::start_small(world, &format!("at-{rate}"), &["--every", &every, "--journal.socket", socket]).await?;
    let pid = agent.process().pid().context("the agent has no process")?;
    let (begun, used) = (Instant::now(), cpu(pid)?);
    let mut tick = interval(ASKED);
    for nth in 0_u32.. {
        tick.tick().await;
        ensure!(agent.get("/v1/head").await?.status == 200, "the agent does not answer");
        if nth % 3 == 0 {
            agent.get("/metrics").await?;
        }
        if begun.elapsed() >= span {
            break;
        }
    }
    let used = (cpu(pid)? - used) / begun.elapsed().as_secs_f64() * 60.0;
    let head: Head = serde_json::from_value(agent.get("/v1/head").await?.json()?)?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let mib = |name: &str| -> Result<String> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
        let kib: f64 = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse()?;
        Ok(format!("{:.1} MiB", kib / 1024.0))
    };
    Ok(format!(
        "{rate:<11} {:>11} {:>11} {:>10} {:>10} {:>10}   {used:.2} s",
        head.last,
        head.failed,
        mib("RssAnon")?,
        mib("RssFile")?,
        mib("VmRSS")?
    ))
}
