//! What is done to a real cluster while a verifier runs in it. Each of it ends in a named reason and a shut gate, overwrites nothing, and
//! is over when what was done is undone.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Answer, Kubernetes, Role, Verifier, World, wait_until};

use super::real_cluster::{Bench, audited};
use super::{PATIENCE, check, gate, looks, migration, opened, reaches, real_migration};

const BOOK: &str = "/api/v1/namespaces/default/configmaps/it-ledger";
/// Less than a fact may have, and more than the book keeps.
const LONG: usize = 150 * 1024;

async fn record(verifier: &Verifier, fact: &str, value: &Value) -> Answer {
    verifier.request(Method::PUT, &format!("/v1/facts/{fact}"), Some(Role::Operate), Some(value)).await.unwrap()
}

/// Waits until the gate is unknown for this reason, and returns that blocker's words.
async fn shut(verifier: &Verifier, reason: &str) -> String {
    wait_until(PATIENCE, reason, async || {
        let body = gate(verifier).await?;
        ensure!(body["verdict"] == "unknown" && body["blockers"][0]["reason"] == reason, "{body}");
        Ok(body["blockers"][0]["evidence"].as_str().unwrap_or_default().to_owned())
    })
    .await
    .unwrap()
}

async fn kubectl(cluster: &Kubernetes, args: &[&str]) {
    let output = cluster.kubectl(args).await.unwrap();
    assert_eq!(output.code, 0, "{args:?}: {output:?}");
}

#[tokio::test]
async fn a_real_api_server_that_was_killed_shuts_the_gate_until_it_is_back() {
    let bench = Bench::start().await;
    let verifier = bench.verifier().await;
    opened(&verifier).await;
    let before = audited(&verifier).await;
    bench.cluster.kill().await.unwrap();
    let words = shut(&verifier, "store_unreachable").await;
    assert!(words.contains("Lease") || words.contains("can not write"), "{words}");
    assert_eq!(check(&verifier).await, 424);
    assert_eq!(record(&verifier, "a", &json!(1)).await.status, 507);
    bench.cluster.start_again().await.unwrap();
    reaches(&verifier, "open").await;
    assert_eq!(record(&verifier, "a", &json!(1)).await.status, 200);
    assert_eq!(audited(&verifier).await[..before.len()], before);
}

#[tokio::test]
async fn a_real_cluster_that_forgot_everything_ends_the_verifier_and_the_next_one_begins_with_nothing() {
    let bench = Bench::start().await;
    // The admin is known to the cluster after it has forgotten all service accounts.
    let launch = || Verifier::launch_in_cluster(&bench.world, &bench.document, bench.cluster.kubeconfig(), "it", &[]).unwrap();
    let verifier = launch();
    verifier.answers().await.unwrap();
    opened(&verifier).await;
    bench.cluster.empty().await.unwrap();
    let status = verifier.process().wait(PATIENCE).await.unwrap();
    assert_eq!(status.code(), Some(1), "{}", verifier.process().log());
    let said = verifier.process().stderr();
    assert!(said.contains("lease default/it was taken over by nobody: it was deleted"), "{said}");

    let next = launch();
    next.answers().await.unwrap();
    let body = reaches(&next, "closed").await;
    assert_eq!(body["phaseState"], "waiting", "what was not kept is not assumed: {body}");
    assert_eq!(audited(&next).await[0]["seq"], 1);
    opened(&next).await;
}

#[tokio::test]
async fn a_kind_that_is_deleted_in_a_real_cluster_is_named_and_the_document_stays_in_force_until_it_is_back() {
    let bench = real_migration::Bench::start().await;
    let verifier = bench.verifier().await;
    opened(&verifier).await;
    assert!(bench.waits("MoveGateOpen", "60s").await);
    kubectl(&bench.cluster, &["delete", "crd", "migrations.phasegate.dev"]).await;
    let error = wait_until(PATIENCE, "it is told", async || {
        let status = verifier.get("/v1/status").await?.json()?;
        status["configError"].as_str().map(str::to_owned).context("no configError")
    })
    .await
    .unwrap();
    assert!(error.contains("migration default/it") && error.contains("404"), "{error}");
    // The document is the one that was accepted, and what it is about is looked at as before.
    assert_eq!(check(&verifier).await, 200);

    real_migration::define(&bench.cluster).await;
    assert!(!bench.waits("MoveGateOpen", "1s").await, "there is no object");
    bench.apply("3s").await;
    bench.becomes("Accepted", "True", "Accepted").await;
    assert!(bench.waits("MoveGateOpen", "60s").await);
    // Another document under the same name is another document.
    kubectl(&bench.cluster, &["delete", "migration", "it"]).await;
    bench.apply("1h").await;
    bench.becomes("MoveGateOpen", "False", "Soaking").await;
    reaches(&verifier, "pending").await;
}

#[tokio::test]
async fn a_real_ledger_that_was_edited_shuts_the_gate_until_what_was_there_is_put_back() {
    let bench = Bench::start().await;
    let verifier = bench.verifier().await;
    opened(&verifier).await;
    assert_eq!(record(&verifier, "a", &json!(1)).await.status, 200);
    let before = bench.cluster.object(BOOK).await.unwrap()["data"].clone();
    let edit = async |data: &Value| {
        let patch = json!([{"op": "replace", "path": "/data", "value": data}]).to_string();
        kubectl(&bench.cluster, &["patch", "configmap", "it-ledger", "--type=json", "-p", &patch]).await;
    };
    let mut forged = before.clone();
    forged["events"] = before["events"].as_str().unwrap().replace("\"a\"", "\"z\"").into();
    assert_ne!(forged, before);
    edit(&forged).await;
    let refused = record(&verifier, "b", &json!(1)).await;
    assert_eq!(refused.status, 507, "{}", refused.body);
    let words = shut(&verifier, "store_unreachable").await;
    assert!(words.contains("was changed by somebody else") && words.contains("put back what was there"), "{words}");
    assert_eq!(check(&verifier).await, 424);
    assert_eq!(bench.cluster.object(BOOK).await.unwrap()["data"], forged, "nothing is overwritten");

    // Whoever starts on it does not take it either.
    edit(&before).await;
    reaches(&verifier, "open").await;
    assert_eq!(record(&verifier, "b", &json!(1)).await.status, 200);
    audited(&verifier).await;
    edit(&forged).await;
    verifier.kill9().await.unwrap();
    let next = Verifier::launch_in_cluster(&bench.world, &bench.document, &bench.kubeconfig, "it", &[]).unwrap();
    let status = next.process().wait(PATIENCE).await.unwrap();
    assert_eq!(status.code(), Some(2), "{}", next.process().log());
    let said = next.process().stderr();
    assert!(said.contains("the state is damaged: configmap default/it-ledger"), "{said}");
    assert_eq!(bench.cluster.object(BOOK).await.unwrap()["data"], forged);
}

#[tokio::test]
async fn a_quota_of_a_real_cluster_that_refuses_objects_is_named_and_its_end_is_noticed() {
    let bench = Bench::start().await;
    let verifier = bench.verifier().await;
    opened(&verifier).await;
    kubectl(&bench.cluster, &["create", "quota", "tight", "--hard=configmaps=1"]).await;
    // What a controller would count.
    let counted = json!({"status": {"hard": {"configmaps": "1"}, "used": {"configmaps": "1"}}}).to_string();
    kubectl(&bench.cluster, &["patch", "quota", "tight", "--subresource=status", "--type=merge", "-p", &counted]).await;
    // The book is full after this one, and its frames need an object of their own.
    assert_eq!(record(&verifier, "long", &json!(".".repeat(LONG))).await.status, 200);
    let refused = wait_until(PATIENCE, "a write is refused", async || {
        let answer = record(&verifier, "next", &json!(1)).await;
        ensure!(answer.status == 507, "{}: {}", answer.status, answer.body);
        Ok(answer.body)
    })
    .await
    .unwrap();
    assert!(refused.contains("can not create configmap default/it-events-"), "{refused}");
    assert!(refused.contains("exceeded quota: tight"), "{refused}");
    let words = shut(&verifier, "store_unreachable").await;
    assert!(words.contains("exceeded quota: tight"), "{words}");
    assert_eq!(check(&verifier).await, 424);

    kubectl(&bench.cluster, &["delete", "quota", "tight"]).await;
    reaches(&verifier, "open").await;
    assert_eq!(record(&verifier, "next", &json!(1)).await.status, 200);
    audited(&verifier).await;
}

/// After it has begun anew on a compacted etcd, an API server can not tell what has changed before. (What a watch makes of its answer 410 is
/// tested beside it, with an API server that gives it on demand; a Migration is looked at without a watch.)
#[tokio::test]
async fn what_changed_before_a_real_api_server_forgot_it_is_seen() {
    let world = World::new().unwrap();
    let (cluster, kubeconfig) = super::real_workload::cluster(&world).await;
    let probe = "{name: rollout, check: {workload: {namespace: observability, deployment: grafana, restartsWithin: 5s}}}";
    let document = migration("{every: 1s, timeout: 900ms, maxAge: 5s}", "{}", super::AT_ONCE, &[probe]);
    let env = [("KUBECONFIG", &*kubeconfig.display().to_string())];
    let verifier = Verifier::start_with(&world, &document, &env).await.unwrap();
    opened(&verifier).await;
    // Longer than one request to watch.
    verifier.freeze().await.unwrap();
    tokio::time::sleep(Duration::from_secs(17)).await;
    kubectl(&cluster, &["scale", "deployment/grafana", "--replicas=0", "-n", "observability"]).await;
    wait_until(PATIENCE, "nothing is left of it", async || {
        let pods = cluster.object("/api/v1/namespaces/observability/pods?labelSelector=app%3Dgrafana").await?;
        ensure!(pods["items"].as_array().is_some_and(Vec::is_empty), "{pods}");
        Ok(())
    })
    .await
    .unwrap();
    forget(&world, &cluster).await.unwrap();
    verifier.thaw();
    assert_ne!(check(&verifier).await, 200, "nothing was evaluated since");
    looks(&verifier, "rollout", "red", "scaled_to_zero").await;
    assert_ne!(check(&verifier).await, 200);
}

/// Compacts etcd up to now, and lets the API server begin anew, which then knows nothing of what was before.
async fn forget(world: &World, cluster: &Kubernetes) -> Result<()> {
    let status = world.http().post(format!("{}/v3/maintenance/status", cluster.etcd().url())).body("{}").send().await?;
    let status: Value = serde_json::from_str(&status.text().await?)?;
    let revision = status["header"]["revision"].as_str().context("no revision")?.to_owned();
    let compact = json!({"revision": revision, "physical": true}).to_string();
    let done = world.http().post(format!("{}/v3/kv/compaction", cluster.etcd().url())).body(compact).send().await?;
    ensure!(done.status() == 200, "{}", done.text().await?);
    cluster.kill().await?;
    cluster.start_again().await
}
