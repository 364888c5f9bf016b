//! How long it takes until a dead server shuts the gate.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;
use tests::{Loki, Postgres, Verifier, World};
use tokio::time::{Instant, sleep};

use crate::figures::{row, say, tell};
use crate::gate;

const PATIENCE: Duration = Duration::from_mins(2);
/// Asked this often: the figures are no finer.
const LOOK: Duration = Duration::from_millis(20);

/// Both servers' kills side by side, each in a world of its own.
pub(crate) async fn measure(kills: u32) -> Result<()> {
    let (loki, postgres) = tokio::try_join!(loki(kills), postgres(kills))?;
    tell("every 5s, timeout 4s, failAfter 2; the rest by default");
    for (name, figures) in [("Loki", loki), ("PostgreSQL", postgres)] {
        let (shut, red): (Vec<_>, Vec<_>) = figures.into_iter().unzip();
        tell(&row(&format!("{name}: kill -9 to a gate that is not open"), shut));
        tell(&row(&format!("{name}: kill -9 to a red probe"), red));
    }
    Ok(())
}

async fn loki(kills: u32) -> Result<Vec<(Duration, Duration)>> {
    let world = World::new()?;
    let loki = Loki::start(&world).await?;
    let targets = format!("{{it: {{loki: {{url: \"{}\"}}}}}}", loki.url());
    let document = gate::document(&targets, &[("ready", "lokiReady: {loki: it}")]);
    let mut figures = Vec::new();
    for nth in 0..kills {
        let verifier = Verifier::start(&world, &document).await?;
        figures.push(one(&verifier, nth, async || loki.kill().await).await?);
        say(&format!("Loki {} of {kills}: {:.2?}", nth + 1, figures.last()));
        verifier.sigterm().await?;
        loki.start_again().await?;
    }
    Ok(figures)
}

async fn postgres(kills: u32) -> Result<Vec<(Duration, Duration)>> {
    let world = World::new()?;
    let postgres = Postgres::start(&world).await?;
    let probe = ("ready", "postgresReady: {postgres: it}");
    let document = gate::document("{it: {postgres: {dsn: {env: PG_DSN}}}}", &[probe]);
    let mut figures = Vec::new();
    for nth in 0..kills {
        let verifier = Verifier::start_with(&world, &document, &[("PG_DSN", &postgres.dsn())]).await?;
        figures.push(one(&verifier, nth, async || postgres.kill().await).await?);
        say(&format!("PostgreSQL {} of {kills}: {:.2?}", nth + 1, figures.last()));
        verifier.sigterm().await?;
        postgres.start_again().await?;
    }
    Ok(figures)
}

/// One kill, at another point of the cadence each time: from there to a gate that is not open, and to a red probe.
async fn one(verifier: &Verifier, nth: u32, kill: impl AsyncFn() -> Result<()>) -> Result<(Duration, Duration)> {
    gate::opened(verifier, PATIENCE).await?;
    sleep(Duration::from_millis(u64::from(nth) * 250)).await;
    let dead = Instant::now();
    kill().await?;
    let shut = until(verifier, dead, |gate| !gate::is_open(gate)).await?;
    let red = until(verifier, dead, gate::is_red).await?;
    Ok((shut, red))
}

async fn until(verifier: &Verifier, dead: Instant, seen: impl Fn(&Value) -> bool) -> Result<Duration> {
    while dead.elapsed() < PATIENCE {
        if seen(&gate::read(verifier).await?) {
            return Ok(dead.elapsed());
        }
        sleep(LOOK).await;
    }
    anyhow::bail!("not within {PATIENCE:?}")
}
