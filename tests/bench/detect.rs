//! How long it takes until a dead server shuts the gate.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::{Loki, Postgres, Verifier, World, wait_until};
use tokio::time::{Instant, sleep};

use crate::figures::{row, say, tell};

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
    let document = document(&format!("{{loki: {{url: \"{}\"}}}}", loki.url()), "lokiReady: {loki: it}");
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
    let document = document("{postgres: {dsn: {env: PG_DSN}}}", "postgresReady: {postgres: it}");
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

fn document(target: &str, check: &str) -> String {
    format!(
        "apiVersion: phasegate.dev/v1alpha1\nkind: Migration\nmetadata: {{name: bench}}\nspec:\n  targets: {{it: {target}}}\n  \
         phases:\n  - name: move\n    gate: {{soak: 1s, minSamples: 1, unknownBudget: 1s}}\n    probes:\n    - {{name: ready, check: {{{check}}}}}\n"
    )
}

/// One kill, at another point of the cadence each time: from there to a gate that is not open, and to a red probe.
async fn one(verifier: &Verifier, nth: u32, kill: impl AsyncFn() -> Result<()>) -> Result<(Duration, Duration)> {
    for step in ["begin", "switch"] {
        let path = format!("/v1/phases/move/{step}");
        wait_until(PATIENCE, step, async || {
            let answer = verifier.post(&path, &json!({})).await?;
            ensure!(answer.status == 200, "{}", answer.body);
            Ok(())
        })
        .await?;
    }
    wait_until(PATIENCE, "the gate is open", async || {
        ensure!(is_open(&gate(verifier).await?), "it is not");
        Ok(())
    })
    .await?;
    sleep(Duration::from_millis(u64::from(nth) * 250)).await;
    let dead = Instant::now();
    kill().await?;
    let shut = until(verifier, dead, |gate| !is_open(gate)).await?;
    let red = until(verifier, dead, |gate| gate.pointer("/probes/0/state").is_some_and(|state| state == "red")).await?;
    Ok((shut, red))
}

async fn until(verifier: &Verifier, dead: Instant, seen: impl Fn(&Value) -> bool) -> Result<Duration> {
    while dead.elapsed() < PATIENCE {
        if seen(&gate(verifier).await?) {
            return Ok(dead.elapsed());
        }
        sleep(LOOK).await;
    }
    anyhow::bail!("not within {PATIENCE:?}")
}

fn is_open(gate: &Value) -> bool {
    gate.get("open").is_some_and(|open| open == true)
}

async fn gate(verifier: &Verifier) -> Result<Value> {
    verifier.get("/v1/gates/move").await?.json()
}
