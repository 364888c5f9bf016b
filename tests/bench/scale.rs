//! Many probes in one verifier: does an answer come as fast, is the cadence kept, what does it cost?

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::{Verifier, World, wait_until};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::figures::{row, say, tell};
use crate::usage;

const PATIENCE: Duration = Duration::from_mins(3);
/// Connections that share the load.
const CLIENTS: u32 = 16;

/// So many scripted probes in four phases, read this often per second for so long.
pub(crate) async fn measure(probes: u32, rate: u32, span: Duration) -> Result<()> {
    let world = World::new()?;
    let started = Instant::now();
    let verifier = Verifier::start_scripted(&world, &document(probes)).await?;
    say(&format!("{probes} probes: it answers after {:.1?}", started.elapsed()));
    wait_until(PATIENCE, "every probe has run", async || {
        let gate = verifier.get("/v1/gates/phase-0/entry").await?.json()?;
        ensure!(gate.get("open").is_some_and(|open| open == true), "{:?}", gate.get("reason"));
        Ok(())
    })
    .await?;
    say(&format!("every probe is green after {:.1?}", started.elapsed()));
    let pid = verifier.process().pid().context("the verifier has no process")?;
    let (lag, cpu, begun) = (lag(&verifier).await?, usage::cpu(pid)?, Instant::now());
    let answers = load(&world, &verifier, rate, span).await?;
    let (asked, elapsed) = (answers.len(), begun.elapsed().as_secs_f64());
    let used = (usage::cpu(pid)? - cpu) / elapsed;
    let scrape = Instant::now();
    let size = verifier.get("/metrics").await?.body.len();
    let scraped = scrape.elapsed();
    tell(&format!("{probes} probes every 5s, /v1/gates/phase-0/check at {rate}/s over {CLIENTS} connections for {elapsed:.0} s"));
    tell(&row("a gate read", answers));
    tell(&format!("reads per second                             {:.0}", count(asked) / elapsed));
    tell(&format!("scheduler lag                                {}", lag_between(lag, self::lag(&verifier).await?)));
    tell(&format!("processor                                    {used:.2} of a core"));
    tell(&format!("resident memory                              {:.0} MiB", usage::resident(pid)?));
    tell(&format!("a scrape of /metrics                         {scraped:.2?}, {:.1} MiB", count(size) / 1024.0 / 1024.0));
    Ok(())
}

fn count(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

fn document(probes: u32) -> String {
    let probe =
        |phase, nth| format!("    - {{name: p-{phase}-{nth}, use: [preflight, gate], check: {{scripted: {{file: /none}}}}}}\n");
    let phase = |phase| {
        let probes: String = (0..probes.div_ceil(4)).map(|nth| probe(phase, nth)).collect();
        format!("  - name: phase-{phase}\n    gate: {{soak: 1h, minSamples: 1}}\n    probes:\n{probes}")
    };
    let phases: String = (0..4).map(phase).collect();
    format!("apiVersion: phasegate.dev/v1alpha1\nkind: Migration\nmetadata: {{name: bench}}\nspec:\n  phases:\n{phases}")
}

async fn load(world: &World, verifier: &Verifier, rate: u32, span: Duration) -> Result<Vec<Duration>> {
    let mut clients = JoinSet::new();
    let url = format!("{}/v1/gates/phase-0/check", verifier.url());
    for nth in 0..CLIENTS {
        let (http, url) = (world.http().clone(), url.clone());
        clients.spawn(async move {
            let pause = Duration::from_secs(1) * CLIENTS / rate.max(1);
            sleep(pause * nth / CLIENTS).await;
            let mut tick = interval(pause);
            tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let (mut answers, begun) = (Vec::new(), Instant::now());
            while begun.elapsed() < span {
                // From when it was due: an answer that holds up the next question counts for both.
                let due = tick.tick().await;
                let answer = http.get(&url).send().await?;
                ensure!(answer.status() != 200, "the gate is open, and nothing was begun");
                answer.bytes().await?;
                answers.push(due.elapsed());
            }
            Ok(answers)
        });
    }
    let all: Result<Vec<Vec<Duration>>> = clients.join_all().await.into_iter().collect();
    Ok(all?.concat())
}

/// The counts of the scheduler's lag by bucket.
async fn lag(verifier: &Verifier) -> Result<Vec<(String, u64)>> {
    let text = verifier.get("/metrics").await?.body;
    let buckets = text.lines().filter_map(|line| line.strip_prefix("phasegate_scheduler_lag_seconds_bucket{le=\""));
    buckets
        .map(|line| {
            let (le, count) = line.split_once("\"} ").context("no bucket")?;
            Ok((le.to_owned(), count.parse()?))
        })
        .collect()
}

/// The buckets in which the median and the 99th percentile lie.
fn lag_between(before: Vec<(String, u64)>, after: Vec<(String, u64)>) -> String {
    let counts: Vec<(String, u64)> =
        after.into_iter().zip(before).map(|((le, now), (_, then))| (le, now.saturating_sub(then))).collect();
    let total = counts.last().map_or(0, |(_, count)| *count);
    let at = |percent: u64| {
        let found = counts.iter().find(|(_, count)| *count * 100 >= total * percent);
        found.map_or("?", |(le, _)| le.as_str())
    };
    format!("{total} runs: median ≤ {} s, p99 ≤ {} s, max ≤ {} s", at(50), at(99), at(100))
}
