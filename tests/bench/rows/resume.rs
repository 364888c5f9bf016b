//! A verifier that is killed while it compares: from where it goes on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::wait_until;
use tokio::time::{Instant, interval};

use super::pair::Pair;
use super::proof::{Come, Facts, Often, Proof};
use crate::figures::{say, tell};

const SOON: Duration = Duration::from_mins(2);
const LOOK: Duration = Duration::from_millis(250);
/// What the verifier knew is written down this often.
const CHECKPOINT: Duration = Duration::from_secs(10);

/// Half-way through a comparison that takes about a minute.
pub(crate) async fn measure(pair: &Pair, facts: &Facts, at_full_load: Duration) -> Result<()> {
    // A run reads for four fifths of its timeout of 4 s, every 5 s.
    let percent = (at_full_load.as_secs_f64() / 0.64 / 60.0 * 100.0).round().clamp(1.0, 100.0);
    let load = (1..=100).rev().find(|load| f64::from(*load) <= percent).unwrap_or(1);
    say(&format!("the verifier is killed in the middle of a comparison at loadPercent {load}"));
    let proof = Proof::begin(pair, facts, load, Often::Once).await?;
    let (mut seen, mut tick) = (Vec::<(Instant, Come)>::new(), interval(LOOK));
    let last = loop {
        tick.tick().await;
        let Some(come) = proof.come().await? else { continue };
        seen.push((Instant::now(), come));
        if come.done * 2 >= come.total {
            break come;
        }
    };
    let killed = Instant::now();
    proof.verifier.kill9().await?;
    let before = seen.iter().rev().find(|(at, _)| *at + CHECKPOINT <= killed).map_or(0, |(_, come)| come.done);
    proof.verifier.start_again().await?;
    let first = wait_until(SOON, "it goes on", async || {
        let come = proof.come().await?.context("no run yet")?;
        ensure!(come.started > last.started, "no run since the start");
        Ok(come)
    })
    .await?;
    let Come { total, .. } = last;
    tell(&format!(
        "kill -9 at {} of {total} pages; {CHECKPOINT:?} before it had come to {before}; after the start its first run ended at {}, {:.1?} after the kill",
        last.done,
        first.done,
        killed.elapsed()
    ));
    ensure!(first.done >= before, "it went back behind what was written down");
    let taken = proof.proven().await?;
    tell(&format!("proven {:.1?} after its begin, the kill included", taken.took));
    Ok(())
}
