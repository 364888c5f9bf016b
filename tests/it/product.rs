//! Does the product keep its promises as it is shipped? Its own binaries as processes of their own, against real servers,
//! hostile ones, and a check that does what a file tells it.

mod agent;
mod by_hand;
mod callers;
mod checks;
mod damage;
mod decommission;
mod deployed;
mod detection;
mod disk;
mod dropped;
mod freeze;
mod heartbeat;
mod input;
mod looking_back;
mod metrics;
mod page;
mod pipeline;
mod plugin;
mod postgres_canary;
mod postgres_catalog;
mod postgres_continuity;
mod postgres_cutover;
mod postgres_fence;
mod postgres_identity;
mod postgres_indexes;
mod postgres_phase;
mod postgres_quiet;
mod postgres_random;
mod postgres_ready;
mod postgres_roles;
mod postgres_rows;
mod postgres_sequences;
mod postgres_split_brain;
mod postgres_traffic;
mod postgres_versions;
mod real_account;
mod real_annotations;
mod real_canary;
mod real_cluster;
mod real_cluster_disasters;
mod real_cluster_rounds;
mod real_dashboards;
mod real_deploy;
mod real_faults;
mod real_grafana;
mod real_healthy;
mod real_history;
mod real_hops;
mod real_identity;
mod real_migration;
mod real_panels;
mod real_parity;
mod real_phases;
mod real_shipping;
mod real_streams;
mod real_traps;
mod real_workload;
mod reload;
mod restart;
mod runs;
mod seen;
mod shipping;
mod shutdown;
mod targets;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tests::{Answer, Verifier, World, wait_until};

/// How long any level may take to be reached, on a slow machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// A cadence at which little has to be waited for.
const QUICK: &str = "{every: 500ms, timeout: 450ms, maxAge: 5s}";
/// A gate that is open as soon as everything is green.
pub(crate) const AT_ONCE: &str = "{soak: 0s, minSamples: 1, unknownBudget: 0s}";

/// A document of one phase, `move`. All parts in YAML's flow form.
pub(crate) fn migration(defaults: &str, targets: &str, gate: &str, probes: &[&str]) -> String {
    let probes = probes.iter().map(|probe| format!("    - {probe}")).collect::<Vec<_>>().join("\n");
    format!(
        "apiVersion: phasegate.dev/v1alpha1\nkind: Migration\nmetadata: {{name: product}}\nspec:\n  defaults: {defaults}\n  \
         targets: {targets}\n  phases:\n  - name: move\n    gate: {gate}\n    probes:\n{probes}\n"
    )
}

/// Begins and switches the phase `move`.
pub(crate) async fn switch(verifier: &Verifier) {
    for step in ["begin", "switch"] {
        let path = format!("/v1/phases/move/{step}");
        let done = wait_until(PATIENCE, step, async || succeeded(verifier.post(&path, &json!({})).await?));
        done.await.unwrap();
    }
}

fn succeeded(answer: Answer) -> Result<Answer> {
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.body);
    Ok(answer)
}

async fn gate(verifier: &Verifier) -> Result<Value> {
    verifier.get("/v1/gates/move").await?.json()
}

/// Waits until the gate has this verdict, and returns its body.
pub(crate) async fn reaches(verifier: &Verifier, verdict: &str) -> Value {
    wait_until(PATIENCE, &format!("the gate is {verdict}"), async || {
        let body = gate(verifier).await?;
        ensure!(body["verdict"] == verdict, "it is {}: {}", body["verdict"], body["reason"]);
        Ok(body)
    })
    .await
    .unwrap()
}

/// Switches the phase `move` and waits until its gate is open.
pub(crate) async fn opened(verifier: &Verifier) -> Value {
    switch(verifier).await;
    reaches(verifier, "open").await
}

/// `GET …/check`, as a script asks: the status alone.
pub(crate) async fn check(verifier: &Verifier) -> u16 {
    verifier.get("/v1/gates/move/check").await.unwrap().status
}

async fn probe(verifier: &Verifier, name: &str) -> Result<Value> {
    verifier.get(&format!("/v1/probes/{name}")).await?.json()
}

/// Waits until a probe has this colour and reason, and returns its body.
pub(crate) async fn looks(verifier: &Verifier, name: &str, state: &str, reason: &str) -> Value {
    wait_until(PATIENCE, &format!("{name} is {state} ({reason})"), async || {
        let body = probe(verifier, name).await?;
        ensure!(body["state"] == state && (reason.is_empty() || body["reason"] == reason), "{body}");
        Ok(body)
    })
    .await
    .unwrap()
}

/// Waits until a probe has run again.
async fn runs_on(verifier: &Verifier, name: &str) -> Value {
    let before = moment(&probe(verifier, name).await.unwrap()["lastRun"]);
    wait_until(PATIENCE, &format!("{name} runs on"), async || {
        let body = probe(verifier, name).await?;
        ensure!(moment(&body["lastRun"]) > before, "{body}");
        Ok(body)
    })
    .await
    .unwrap()
}

fn moment(value: &Value) -> Option<DateTime<Utc>> {
    value.as_str()?.parse().ok()
}

#[expect(clippy::disallowed_methods, reason = "compared with the moments that a real verifier reports")]
fn now() -> DateTime<Utc> {
    Utc::now()
}

/// A probe's script: what it does at its next look.
#[derive(Debug, Clone)]
struct Script {
    name: &'static str,
    file: PathBuf,
}

impl Script {
    fn new(world: &World, name: &'static str) -> Self {
        Self { name, file: world.dir().join(format!("{name}.script")) }
    }

    /// As a probe of a document.
    fn probe(&self) -> String {
        self.probe_with("")
    }

    /// As a probe of a document, with more of its settings (`, every: 1s`).
    fn probe_with(&self, more: &str) -> String {
        format!("{{name: {}, check: {{scripted: {{file: \"{}\"}}}}{more}}}", self.name, self.file.display())
    }

    /// From the next look on it does this; the second line speaks for its control.
    fn says(&self, words: &str) {
        replace(&self.file, words.as_bytes());
    }
}

/// Replaces a file at once, so that nobody reads half of it.
fn replace(file: &Path, bytes: &[u8]) {
    let next = file.with_extension("next");
    std::fs::write(&next, bytes).unwrap();
    std::fs::rename(next, file).unwrap();
}
