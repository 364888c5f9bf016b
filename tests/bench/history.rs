//! What proving a history costs: time, queries, memory of the verifier, and how much longer others wait for the Loki that it reads.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tests::{Line, Loki, Verifier, World, now, wait_until};
use tokio::time::{Instant, interval};

use crate::figures::{row, say, tell};
use crate::usage::{cpu, resident};

const HOUR: i64 = 3_600_000_000_000;
const SERVICES: i64 = 10;
/// Lines of one push.
const AT_ONCE: usize = 5_000;
/// How often somebody else asks for the newest lines.
const ASKED: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_hours(2);

/// This many lines over a week, in ten services, moved by a clean copy of the volume, and proven with the default settings.
pub(crate) async fn measure(lines: u32, visible_within: &str) -> Result<()> {
    let world = World::new()?;
    let limits = json!({
        "reject_old_samples": false, "ingestion_rate_mb": 1000, "ingestion_burst_size_mb": 1000,
        "per_stream_rate_limit": "1GB", "per_stream_rate_limit_burst": "1GB",
    });
    let ingester = json!({
        "lifecycler": {"min_ready_duration": "0s", "final_sleep": "0s"}, "chunk_idle_period": "5s", "flush_check_period": "1s",
    });
    let sections = json!({"limits_config": limits, "ingester": ingester});
    let (old, new) = tokio::try_join!(Loki::start_with(&world, sections.clone()), Loki::start_with(&world, sections))?;
    say(&format!("{lines} lines are pushed to the old Loki"));
    push(&old, i64::from(lines)).await?;
    old.flush().await?;
    say("its volume is copied");
    new.take_over(&world, &old).await?;

    let alone = ask_for(&new, Duration::from_secs(30)).await?;
    let (before, begun) = (queries(&old).await?, Instant::now());
    let verifier = Verifier::start(&world, &document(&old, &new, visible_within)).await?;
    let pid = verifier.process().pid().context("the verifier has no process")?;
    let (mut peak, mut beside, mut tick) = (0.0_f64, Vec::new(), interval(ASKED));
    let evidence = loop {
        tick.tick().await;
        beside.push(ask(&new).await?);
        peak = peak.max(resident(pid)?);
        let probe = verifier.get("/v1/probes/history").await?.json()?;
        ensure!(probe.get("state").is_some_and(|state| state != "red"), "{probe}");
        if probe.get("state").is_some_and(|state| state == "green") {
            break probe.get("evidence").cloned().unwrap_or_default();
        }
        ensure!(begun.elapsed() < PATIENCE, "not proven: {probe}");
    };
    let asked = queries(&old).await? - before;
    tell(&format!("{evidence}"));
    tell(&format!(
        "proven after {:.0?}, of which everything was looked at twice: the Lokis had been started just before",
        begun.elapsed()
    ));
    tell(&format!("the old Loki counts {asked} range queries, those included that it makes of one itself"));
    tell(&format!("verifier: {peak:.1} MiB at its peak, {:.2} s of processor", cpu(pid)?));
    let median = |samples: &[Duration]| {
        let mut sorted = samples.to_vec();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default().as_secs_f64()
    };
    tell(&format!("another's query takes {:.2} times as long at the median", median(&beside) / median(&alone)));
    tell(&row("another's query, alone", alone));
    tell(&row("another's query, beside the proof", beside));
    Ok(())
}

fn document(old: &Loki, new: &Loki, visible_within: &str) -> String {
    format!(
        "apiVersion: phasegate.dev/v1alpha1\nkind: Migration\nmetadata: {{name: bench}}\nspec:\n  targets:\n    \
         old: {{loki: {{url: \"{}\"}}}}\n    new: {{loki: {{url: \"{}\"}}}}\n  phases:\n  - name: move\n    \
         gate: {{soak: 0s, minSamples: 1, unknownBudget: 0s}}\n    probes:\n    - {{name: history, controlEvery: 10s, check: \
         {{lokiHistory: {{old: old, new: new, over: 167h, visibleWithin: {visible_within}}}}}}}\n",
        old.url(),
        new.url()
    )
}

/// The lines, oldest first, each service in a stream of its own.
async fn push(loki: &Loki, lines: i64) -> Result<()> {
    let end = now() / HOUR * HOUR - HOUR;
    let (begin, of_each) = (end - 166 * HOUR, lines / SERVICES);
    let every = 166 * HOUR / of_each;
    for service in 0..SERVICES {
        let name = format!("service-{service}");
        let mut batch = Vec::with_capacity(AT_ONCE);
        for nth in 0..of_each {
            let mut text = String::new();
            write!(text, "GET /api/v1/things/{nth}?of={service} answered 200 in {} ms", nth * 7919 % 977)?;
            batch.push(Line::new(begin + nth * every, text));
            if batch.len() == AT_ONCE || nth + 1 == of_each {
                loki.push(&[("job", "systemd-journal"), ("service", &name)], &batch).await?;
                batch.clear();
            }
        }
    }
    Ok(())
}

/// Somebody else's query: the newest lines of a service.
async fn ask(loki: &Loki) -> Result<Duration> {
    let begun = Instant::now();
    let answer = loki.get("/loki/api/v1/query_range?query=%7Bservice%3D%22service-3%22%7D&since=24h&limit=100").await?;
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.body);
    Ok(begun.elapsed())
}

/// The same for a while.
async fn ask_for(loki: &Loki, span: Duration) -> Result<Vec<Duration>> {
    // What was copied is visible only when it was flushed.
    wait_until(PATIENCE, "the copy is visible", async || {
        ensure!(loki.count("{service=\"service-3\"}").await? > 0, "not yet");
        Ok(())
    })
    .await?;
    let (begun, mut times, mut tick) = (Instant::now(), Vec::new(), interval(ASKED));
    while begun.elapsed() < span {
        tick.tick().await;
        times.push(ask(loki).await?);
    }
    Ok(times)
}

/// How many range queries a Loki has answered.
async fn queries(loki: &Loki) -> Result<u64> {
    let page = loki.get("/metrics").await?.body;
    let of = |line: &&str| line.starts_with("loki_request_duration_seconds_count{") && line.contains("loki_api_v1_query_range");
    let counts = page.lines().filter(of).filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    Ok(counts.sum())
}
