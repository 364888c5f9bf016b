//! How long it takes until a silent outage of a hop shuts the gate and is named.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use serde_json::Value;
use tests::{LogWay, Outage, Verifier, World, wait_until};
use tokio::time::{Instant, sleep};

use crate::figures::{row, say, tell};
use crate::gate::{document, is_open, opened, read};

const PATIENCE: Duration = Duration::from_mins(2);
/// Asked this often: the figures are no finer.
const LOOK: Duration = Duration::from_millis(20);

/// One outage: to a gate that is not open, to a probe that is red or unknown, to the right name.
type Times = [Duration; 3];

/// Each hop in turn, so many times.
pub(crate) async fn measure(rounds: u32) -> Result<()> {
    let world = World::new()?;
    let lines = LogWay::start(&world, &[]).await?;
    let check = "logCanary: {agents: agents, loki: loki, alloy: alloy}";
    let document = document(&lines.targets(), &[("canary", check)]);
    let mut figures: Vec<(Outage, Vec<Times>)> = Outage::ALL.into_iter().map(|outage| (outage, Vec::new())).collect();
    for nth in 0..rounds {
        for (outage, times) in &mut figures {
            let verifier = Verifier::start(&world, &document).await?;
            opened(&verifier, PATIENCE).await?;
            // At another point of the cadence each time.
            sleep(Duration::from_secs(5) * nth / rounds).await;
            let found = one(&lines, &verifier, *outage).await?;
            say(&format!("{outage:?}, {} of {rounds}: {found:.1?}", nth + 1));
            times.push(found);
            verifier.sigterm().await?;
        }
    }
    tell("every 5s, timeout 4s, failAfter 2, lateAfter 3s, a line each second; from the outage to:");
    for (outage, times) in figures {
        for (at, what) in ["a gate that is not open", "red or unknown", "its name"].into_iter().enumerate() {
            let times = times.iter().filter_map(|times| times.get(at)).copied().collect();
            tell(&row(&format!("{outage:?}: {what}"), times));
        }
    }
    Ok(())
}

async fn one(lines: &LogWay, verifier: &Verifier, outage: Outage) -> Result<Times> {
    let (hop, reason) = outage.named();
    let began = Instant::now();
    lines.fall_silent(outage).await?;
    let (mut shut, mut bad) = (None, None);
    let named = loop {
        ensure!(began.elapsed() < PATIENCE, "{outage:?}: {hop} is not named within {PATIENCE:?}");
        let body = read(verifier).await?;
        let probe = verifier.get("/v1/probes/canary").await?.json()?;
        let now = began.elapsed();
        if !is_open(&body) {
            shut = shut.or(Some(now));
        }
        if probe.get("state").is_some_and(|state| state == "red" || state == "unknown") {
            bad = bad.or(Some(now));
        }
        if bad.is_some() && is_named(&probe, hop, reason) {
            break now;
        }
        sleep(LOOK).await;
    };
    lines.go_on(outage).await?;
    let clear = async || {
        ensure!(is_open(&read(verifier).await?), "the gate is not open again after {outage:?}");
        Ok(())
    };
    wait_until(PATIENCE, "the gate opens again", clear).await?;
    let (Some(shut), Some(bad)) = (shut, bad) else { bail!("{outage:?}: named, but the gate was never shut") };
    Ok([shut, bad, named])
}

fn is_named(probe: &Value, hop: &str, reason: &str) -> bool {
    let hops = probe.pointer("/trails/0/hops").and_then(Value::as_array);
    let stands = hops.into_iter().flatten().find(|one| one.get("state").is_some_and(|state| state == "stands"));
    let right = stands.and_then(|one| one.get("name")).is_some_and(|name| name == hop);
    right && probe.get("reason").is_some_and(|is| is == reason)
}
