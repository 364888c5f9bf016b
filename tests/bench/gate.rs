//! A verifier's document of one phase, `move`, and its gate.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::{Verifier, wait_until};

/// With these targets, in YAML's flow form, and these probes: name and check. What is not said is the default.
pub(crate) fn document(targets: &str, probes: &[(&str, &str)]) -> String {
    let probes: Vec<_> = probes.iter().map(|(name, check)| format!("    - {{name: {name}, check: {{{check}}}}}\n")).collect();
    let probes = probes.concat();
    format!(
        "apiVersion: phasegate.dev/v1alpha1\nkind: Migration\nmetadata: {{name: bench}}\nspec:\n  targets: {targets}\n  \
         phases:\n  - name: move\n    gate: {{soak: 1s, minSamples: 1, unknownBudget: 1s}}\n    probes:\n{probes}"
    )
}

/// Begins and switches the phase, and waits until its gate is open.
pub(crate) async fn opened(verifier: &Verifier, patience: Duration) -> Result<()> {
    for step in ["begin", "switch"] {
        let path = format!("/v1/phases/move/{step}");
        wait_until(patience, step, async || {
            let answer = verifier.post(&path, &json!({})).await?;
            ensure!(answer.status == 200, "{}", answer.body);
            Ok(())
        })
        .await?;
    }
    wait_until(patience, "the gate is open", async || {
        ensure!(is_open(&read(verifier).await?), "it is not");
        Ok(())
    })
    .await
}

pub(crate) fn is_open(gate: &Value) -> bool {
    gate.get("open").is_some_and(|open| open == true)
}

/// Whether its first probe is red.
pub(crate) fn is_red(gate: &Value) -> bool {
    gate.pointer("/probes/0/state").is_some_and(|state| state == "red")
}

pub(crate) async fn read(verifier: &Verifier) -> Result<Value> {
    verifier.get("/v1/gates/move").await?.json()
}
