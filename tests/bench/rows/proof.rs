//! `postgresRows` in a verifier of its own, which is given the facts that were recorded once.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Role, Verifier, wait_until};
use tokio::time::{Instant, interval};

use super::pair::Pair;
use crate::usage::{cpu, peak};

const SOON: Duration = Duration::from_mins(1);
const PATIENCE: Duration = Duration::from_hours(6);
const LOOK: Duration = Duration::from_millis(100);

/// The names that `cutover` records them by.
pub(crate) const FACTS: [&str; 2] = ["postgres-mark", "postgres-manifest"];

/// What a comparison is made with, by name.
pub(crate) type Facts = Vec<(&'static str, Value)>;

/// How often the comparison is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Often {
    /// As by default: once, and then there is a rest.
    Once,
    /// One after the other.
    Always,
}

/// What a proof took.
pub(crate) struct Taken {
    pub(crate) took: Duration,
    /// Seconds of processor.
    pub(crate) cpu: f64,
    /// MiB.
    pub(crate) peak: f64,
}

pub(crate) struct Proof {
    pub(crate) verifier: Verifier,
    began: Instant,
}

/// How far a run came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Come {
    pub(crate) started: DateTime<Utc>,
    pub(crate) done: u64,
    pub(crate) total: u64,
}

impl Proof {
    /// A verifier without facts.
    pub(crate) async fn waiting(pair: &Pair, load: u32, often: Often) -> Result<Verifier> {
        let secrets = [("OLD", pair.old.observer_dsn()), ("NEW", pair.new.observer_dsn())];
        let secrets = secrets.each_ref().map(|(name, dsn)| (*name, dsn.as_str()));
        Verifier::start_with(&pair.world, &document(load, often), &secrets).await
    }

    /// Begins.
    pub(crate) async fn begin(pair: &Pair, facts: &Facts, load: u32, often: Often) -> Result<Self> {
        let verifier = Self::waiting(pair, load, often).await?;
        wait_until(SOON, "the control is trusted", async || {
            let probe = verifier.get("/v1/probes/rows").await?.json()?;
            ensure!(probe.get("control").is_some_and(|control| control == "trusted"), "{probe}");
            Ok(())
        })
        .await?;
        for (name, value) in facts {
            let path = format!("/v1/facts/{name}");
            let answer = verifier.request(Method::PUT, &path, Some(Role::Operate), Some(value)).await?;
            ensure!(answer.status == 200, "{name}: {}", answer.body);
        }
        let began = Instant::now();
        verifier.post("/v1/probes/rows/run", &json!({})).await?;
        Ok(Self { verifier, began })
    }

    /// Waits until it is proven.
    pub(crate) async fn proven(&self) -> Result<Taken> {
        let mut tick = interval(LOOK);
        loop {
            tick.tick().await;
            let probe = self.verifier.get("/v1/probes/rows").await?.json()?;
            let state = probe.get("state").and_then(Value::as_str).unwrap_or_default();
            ensure!(state != "red", "{probe}");
            if state == "green" {
                break;
            }
            ensure!(self.began.elapsed() < PATIENCE, "not proven: {probe}");
        }
        let pid = self.verifier.process().pid().context("the verifier has no process")?;
        Ok(Taken { took: self.began.elapsed(), cpu: cpu(pid)?, peak: peak(pid)? })
    }

    /// The newest run that has not finished the comparison.
    pub(crate) async fn come(&self) -> Result<Option<Come>> {
        let runs = self.verifier.get("/v1/probes/rows/runs").await?.json()?;
        let runs = runs.get("runs").and_then(Value::as_array).into_iter().flatten();
        Ok(runs.filter_map(come).max_by_key(|come| come.started))
    }
}

/// From a run's words, `12 of 40: …`.
fn come(run: &Value) -> Option<Come> {
    let text = |key: &str| run.get(key).and_then(Value::as_str);
    let (done, rest) = text("evidence").filter(|_| text("outcome") == Some("progress"))?.split_once(" of ")?;
    let (total, _) = rest.split_once(": ")?;
    Some(Come { started: text("started")?.parse().ok()?, done: done.parse().ok()?, total: total.parse().ok()? })
}

fn document(load: u32, often: Often) -> String {
    let (rest, valid) = match often {
        Often::Once => ("15m", "12h"),
        Often::Always => ("0s", "2s"),
    };
    format!(
        "apiVersion: phasegate.dev/v1alpha1\nkind: Migration\nmetadata: {{name: bench}}\nspec:\n  targets:\n    \
         old: {{postgres: {{dsn: {{env: OLD}}}}}}\n    new: {{postgres: {{dsn: {{env: NEW}}}}}}\n  phases:\n  - name: move\n    probes:\n    \
         - name: rows\n      validFor: {valid}\n      \
         check: {{postgresRows: {{old: old, new: new, manifest: postgres-manifest, loadPercent: {load}, rest: {rest}}}}}\n"
    )
}
