//! The ledger in a real cluster: one writer at a time, whatever happens to it and to the API server.

mod trail;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::{Kubernetes, Verifier, World, wait_until};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::{PATIENCE, check, gate, migration, reaches, switch};

/// For what needs the end of a Lease.
const LEASE: Duration = Duration::from_mins(1);
/// What a verifier may do in its namespace, and nothing else; kustomize says in which.
const ROLE: &str = include_str!("../../../deploy/base/verifier/role.yaml");

/// The kubeconfig of a verifier that may do in the namespace `default` what `deploy/` allows it.
pub(super) async fn verifiers_kubeconfig(cluster: &Kubernetes) -> PathBuf {
    let subject = "{kind: ServiceAccount, name: phasegate-verifier}";
    assert!(ROLE.contains(subject));
    let role = ROLE.replace(subject, "{kind: ServiceAccount, name: phasegate-verifier, namespace: default}");
    cluster.apply(&role).await.unwrap();
    cluster.kubeconfig_for_service_account("default", "phasegate-verifier").await.unwrap()
}

/// A cluster, what a verifier needs there, and something that is always well.
pub(super) struct Bench {
    pub(super) world: World,
    pub(super) cluster: Kubernetes,
    pub(super) kubeconfig: PathBuf,
    pub(super) document: String,
    _listener: TcpListener,
}

impl Bench {
    pub(super) async fn start() -> Self {
        let world = World::new().unwrap();
        let cluster = Kubernetes::start(&world).await.unwrap();
        let kubeconfig = verifiers_kubeconfig(&cluster).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let probe = format!("{{name: new-side, check: {{tcp: {{address: \"{}\"}}}}}}", listener.local_addr().unwrap());
        let document = migration(super::QUICK, "{}", "{soak: 3s, minSamples: 2, unknownBudget: 1h}", &[&probe]);
        Self { world, cluster, kubeconfig, document, _listener: listener }
    }

    fn launch(&self) -> Verifier {
        self.launch_with(&[])
    }

    fn launch_with(&self, flags: &[&str]) -> Verifier {
        Verifier::launch_in_cluster(&self.world, &self.document, &self.kubeconfig, "it", flags).unwrap()
    }

    pub(super) async fn verifier(&self) -> Verifier {
        let verifier = self.launch();
        verifier.answers().await.unwrap();
        verifier
    }

    /// Who has written the ledger, by the book itself.
    async fn term(&self) -> Result<(u64, String)> {
        let map = self.cluster.object("/api/v1/namespaces/default/configmaps/it-ledger").await?;
        let kept: Value = serde_json::from_str(map["data"]["ledger"].as_str().unwrap_or_default())?;
        let term = &kept["body"]["term"];
        Ok((term["number"].as_u64().unwrap_or_default(), term["holder"].as_str().unwrap_or_default().to_owned()))
    }
}

/// The status of the gate's check, or 0 without an answer.
async fn status(verifier: &Verifier) -> u16 {
    match verifier.get("/v1/gates/move/check").await {
        Ok(answer) => answer.status,
        Err(_) => 0,
    }
}

pub(super) async fn audited(verifier: &Verifier) -> Vec<Value> {
    let verified = verifier.cutover(&["audit", "verify"]).await.unwrap();
    assert_eq!(verified.code, 0, "{verified:?}");
    verifier.get("/v1/audit?limit=1000").await.unwrap().json().unwrap()["frames"].as_array().unwrap().clone()
}

#[tokio::test]
async fn the_ledger_in_a_real_cluster_outlives_its_writer() {
    let bench = Bench::start().await;
    let first = bench.verifier().await;
    switch(&first).await;
    reaches(&first, "open").await;
    let before = audited(&first).await;
    first.kill9().await.unwrap();

    let killed = Instant::now();
    let second = bench.verifier().await;
    println!("taken over {:.1} s after a kill", killed.elapsed().as_secs_f64());
    reaches(&second, "open").await;
    assert_eq!(audited(&second).await[..before.len()], before, "the audit trail was rewritten");
    assert_eq!(bench.term().await.unwrap().0, 2);

    // Whoever leaves in order gives the Lease back.
    let before = audited(&second).await;
    assert!(second.sigterm().await.unwrap().success());
    let left = Instant::now();
    let third = bench.verifier().await;
    println!("taken over {:.1} s after an orderly end", left.elapsed().as_secs_f64());
    reaches(&third, "open").await;
    assert_eq!(audited(&third).await[..before.len()], before);
    assert!(third.sigterm().await.unwrap().success());
}

#[tokio::test]
async fn a_frozen_writer_of_a_real_cluster_finds_out_before_it_answers() {
    let bench = Bench::start().await;
    let old = bench.verifier().await;
    switch(&old).await;
    reaches(&old, "open").await;
    let new = bench.launch();
    new.process()
        .wait_until(PATIENCE, "the second one waits", async || {
            ensure!(new.process().log().contains("waiting for the Lease"));
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(check(&old).await, 200, "a second one disturbs nothing");
    old.freeze().await.unwrap();
    new.answers().await.unwrap();
    reaches(&new, "open").await;
    old.thaw();
    // The first thing that it says.
    let said = status(&old).await;
    assert!(said == 424 || said == 0, "{said}");
    wait_until(PATIENCE, "the old one ends", async || {
        ensure!(old.process().log().contains("was taken over by"), "{}", old.process().log());
        ensure!(status(&old).await == 0);
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(check(&new).await, 200);
    audited(&new).await;
}

#[tokio::test]
async fn without_its_real_api_server_every_gate_is_unknown_and_no_phase_moves() {
    let bench = Bench::start().await;
    let verifier = bench.verifier().await;
    switch(&verifier).await;
    reaches(&verifier, "open").await;
    bench.cluster.freeze().await.unwrap();
    let frozen = Instant::now();
    let shut = wait_until(LEASE, "the gate is shut", async || {
        let body = gate(&verifier).await?;
        ensure!(body["verdict"] == "unknown", "{}", body["reason"]);
        Ok(body)
    })
    .await
    .unwrap();
    println!("shut {:.1} s after the API server fell silent", frozen.elapsed().as_secs_f64());
    assert_eq!(shut["blockers"][0]["reason"], "store_unreachable", "{shut}");
    assert_eq!(check(&verifier).await, 424);
    let refused = verifier.post("/v1/phases/move/complete", &json!({})).await.unwrap();
    assert!(refused.status == 424 || refused.status == 507, "{}: {}", refused.status, refused.body);
    bench.cluster.thaw();
    reaches(&verifier, "open").await;
    let completed = verifier.post("/v1/phases/move/complete", &json!({})).await.unwrap();
    assert_eq!(completed.status, 200, "{}", completed.body);
    audited(&verifier).await;
}

#[tokio::test]
async fn hands_on_the_real_ledger_are_said_and_nothing_is_overwritten() {
    let bench = Bench::start().await;
    let verifier = bench.verifier().await;
    switch(&verifier).await;
    reaches(&verifier, "open").await;
    // What others attach to it is no harm.
    let annotated = bench.cluster.kubectl(&["annotate", "configmap", "it-ledger", "owner=anna"]).await.unwrap();
    assert_eq!(annotated.code, 0, "{annotated:?}");
    let fact = verifier.request(reqwest::Method::PUT, "/v1/facts/a", Some(tests::Role::Operate), Some(&json!(1))).await.unwrap();
    assert_eq!(fact.status, 200, "{}", fact.body);
    let map = bench.cluster.object("/api/v1/namespaces/default/configmaps/it-ledger").await.unwrap();
    assert_eq!(map["metadata"]["annotations"]["owner"], "anna");

    let deleted = bench.cluster.kubectl(&["delete", "configmap", "it-ledger"]).await.unwrap();
    assert_eq!(deleted.code, 0, "{deleted:?}");
    let refused =
        verifier.request(reqwest::Method::PUT, "/v1/facts/b", Some(tests::Role::Operate), Some(&json!(1))).await.unwrap();
    assert_eq!(refused.status, 507, "{}", refused.body);
    assert!(refused.body.contains("was deleted by somebody else"), "{}", refused.body);
    assert_eq!(check(&verifier).await, 424);
    let gone = bench.cluster.object("/api/v1/namespaces/default/configmaps/it-ledger").await.unwrap_err();
    assert!(gone.to_string().contains("404"), "{gone}");
}
