//! What Kubernetes calls well although the data is gone, or about to go: each of it shuts the gate, and says what would open it.

use std::time::Duration;

use anyhow::ensure;
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Kubernetes, Role, Verifier, World, wait_until};

use super::real_history::{history, new_with, old_loki, push};
use super::real_workload::{CLAIM, cluster, kubectl, retention};
use super::{AT_ONCE, check, migration, opened, reaches};

/// For two comparisons, one after the other.
const COMPARED: Duration = Duration::from_mins(5);
/// A cadence that a proof keeps up with.
const CALM: &str = "{every: 2s, timeout: 2s, maxAge: 20s}";

async fn uid(cluster: &Kubernetes) -> String {
    cluster.object(CLAIM).await.unwrap()["metadata"]["uid"].as_str().unwrap().to_owned()
}

/// Records, as the next edition, which claim holds the data.
async fn recorded(verifier: &Verifier, fact: &str, uid: &str) {
    let value = json!({"storage-loki-0": uid});
    let answer = verifier.request(Method::PUT, &format!("/v1/facts/{fact}"), Some(Role::Operate), Some(&value)).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// Waits until the gate is shut, for this reason of this probe and with a word on what opens it.
async fn shuts(verifier: &Verifier, probe: &str, reason: &str) {
    let body = reaches(verifier, "closed").await;
    let blockers = body["blockers"].as_array().unwrap();
    let found = blockers.iter().find(|one| one["probe"] == probe && one["reason"] == reason);
    let found = found.unwrap_or_else(|| panic!("{probe}: {reason} is not among {blockers:?}"));
    assert!(found["next"].as_str().is_some_and(|words| !words.is_empty()), "{found}");
    assert_eq!(check(verifier).await, 412);
}

#[tokio::test]
async fn real_pods_that_are_ready_without_their_data_shut_the_gate() {
    let world = World::new().unwrap();
    let (cluster, kubeconfig) = cluster(&world).await;
    let (old, whole) = (old_loki(&world, 1).await, history());
    push(&old, &whole).await;
    let new = new_with(&world, &whole).await;
    let targets = format!("{{old: {{loki: {{url: \"{}\"}}}}, new: {{loki: {{url: \"{}\"}}}}}}", old.url(), new.url());
    let of_loki = "namespace: observability, statefulSet: loki";
    let probes = [
        format!("{{name: rollout, check: {{workload: {{{of_loki}, restartsWithin: 5s}}}}}}"),
        format!("{{name: volume, check: {{volume: {{{of_loki}, fact: volume-loki}}}}}}"),
        "{name: ready, check: {lokiReady: {loki: new}}}".to_owned(),
        "{name: history, controlEvery: 2s, validFor: 30s, check: {lokiHistory: {old: old, new: new, over: 60h, settle: 0s, visibleWithin: 5s, rest: 0s, \
         sampleOneIn: 1, loadPercent: 100}}}"
            .to_owned(),
    ];
    let probes: Vec<&str> = probes.iter().map(String::as_str).collect();
    let kubeconfig = kubeconfig.display().to_string();
    let document = migration(CALM, &targets, AT_ONCE, &probes);
    let verifier = Verifier::start_with(&world, &document, &[("KUBECONFIG", &kubeconfig)]).await.unwrap();
    let first = uid(&cluster).await;
    recorded(&verifier, "volume-loki", &first).await;
    opened(&verifier).await;

    // The chart's default: nothing has happened yet, and the next scale-down deletes everything.
    kubectl(&cluster, &["patch", "statefulset/loki", "--patch", &retention("Delete")]).await;
    shuts(&verifier, "volume", "deleted_on_scale_down").await;

    // It is scaled down and up again: another claim, another volume, an empty Loki, and every pod is Ready.
    kubectl(&cluster, &["scale", "statefulset/loki", "--replicas=0"]).await;
    kubectl(&cluster, &["wait", "--for=delete", "pvc/storage-loki-0", "--timeout=60s"]).await;
    kubectl(&cluster, &["patch", "statefulset/loki", "--patch", &retention("Retain")]).await;
    kubectl(&cluster, &["scale", "statefulset/loki", "--replicas=1"]).await;
    kubectl(&cluster, &["rollout", "status", "statefulset/loki", "--timeout=60s"]).await;
    new.destroy().await.unwrap();
    let pod = cluster.object("/api/v1/namespaces/observability/pods/loki-0").await.unwrap();
    let conditions = pod["status"]["conditions"].as_array().unwrap();
    assert!(conditions.iter().any(|one: &Value| one["type"] == "Ready" && one["status"] == "True"), "{conditions:?}");
    super::looks(&verifier, "rollout", "green", "").await;
    super::looks(&verifier, "ready", "green", "").await;
    // The comparison before it stands until it expires, or the next one is over, which waits for a Loki that was restarted.
    wait_until(COMPARED, "the history is missed", async || {
        let history = super::probe(&verifier, "history").await?;
        ensure!(history["state"] == "red" && history["reason"] == "lines_missing", "{history}");
        Ok(())
    })
    .await
    .unwrap();
    shuts(&verifier, "volume", "other_volume").await;

    // What opens it: the data is brought back, and only then the new claim is recorded as the one that holds it.
    recorded(&verifier, "volume-loki.2", &uid(&cluster).await).await;
    super::looks(&verifier, "volume", "green", "").await;
    shuts(&verifier, "history", "lines_missing").await;
    push(&new, &whole).await;
    new.flush().await.unwrap();
    wait_until(COMPARED, "the gate is open", async || {
        let status = check(&verifier).await;
        ensure!(status == 200, "{status}");
        Ok(())
    })
    .await
    .unwrap();
}
