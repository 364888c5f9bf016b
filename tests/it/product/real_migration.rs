//! A Migration as a custom resource of a real cluster: what `kubectl` shows of it, and when it must not show an open gate.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::{Kubernetes, Verifier, World, wait_until};
use tokio::net::TcpListener;

use super::real_cluster::verifiers_kubeconfig;
use super::{PATIENCE, reaches, switch};

const DEFINITION: &str = include_str!("../../../deploy/base/crd.yaml");
const RESOURCE: &str = "/apis/phasegate.dev/v1alpha1/namespaces/default/migrations/it";

/// Tells the cluster what a Migration is.
pub(super) async fn define(cluster: &Kubernetes) {
    let applied = cluster.define(DEFINITION).await.unwrap();
    assert_eq!((applied.code, applied.stderr.as_str()), (0, ""), "{applied:?}");
}

/// A cluster that knows Migrations, and one of them.
pub(super) struct Bench {
    world: World,
    pub(super) cluster: Kubernetes,
    kubeconfig: PathBuf,
    listener: TcpListener,
}

impl Bench {
    pub(super) async fn start() -> Self {
        let world = World::new().unwrap();
        let cluster = Kubernetes::start(&world).await.unwrap();
        define(&cluster).await;
        let kubeconfig = verifiers_kubeconfig(&cluster).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let bench = Self { world, cluster, kubeconfig, listener };
        bench.apply("3s").await;
        bench
    }

    pub(super) async fn apply(&self, soak: &str) {
        let address = self.listener.local_addr().unwrap();
        let document = json!({
            "apiVersion": "phasegate.dev/v1alpha1",
            "kind": "Migration",
            "metadata": {"name": "it"},
            "spec": {"phases": [{
                "name": "move",
                "gate": {"soak": soak, "minSamples": 2, "unknownBudget": "1h"},
                "probes": [{
                    "name": "new-side", "every": "500ms", "timeout": "400ms", "maxAge": "20s",
                    "check": {"tcp": {"address": address.to_string()}},
                }],
            }]},
        });
        self.cluster.apply(&document.to_string()).await.unwrap();
    }

    pub(super) async fn verifier(&self) -> Verifier {
        let verifier = Verifier::launch_for_migration(&self.world, &self.kubeconfig, "it").unwrap();
        verifier.answers().await.unwrap();
        verifier
    }

    /// Whether `kubectl wait` sees this condition within that time.
    pub(super) async fn waits(&self, condition: &str, timeout: &str) -> bool {
        let (condition, timeout) = (format!("--for=condition={condition}"), format!("--timeout={timeout}"));
        self.cluster.kubectl(&["wait", "migration/it", &condition, &timeout]).await.unwrap().code == 0
    }

    async fn condition(&self, kind: &str) -> Result<Value> {
        let object = self.cluster.object(RESOURCE).await?;
        let conditions = object["status"]["conditions"].as_array().context("no conditions")?;
        conditions.iter().find(|one| one["type"] == kind).cloned().with_context(|| format!("no {kind}: {conditions:?}"))
    }

    pub(super) async fn becomes(&self, kind: &str, status: &str, reason: &str) -> Value {
        wait_until(PATIENCE, &format!("{kind} is {status}"), async || {
            let condition = self.condition(kind).await?;
            ensure!(condition["status"] == status && condition["reason"] == reason, "{condition}");
            Ok(condition)
        })
        .await
        .unwrap()
    }
}

#[tokio::test]
async fn a_gate_is_waited_for_in_a_real_cluster_as_long_as_somebody_looks() {
    let bench = Bench::start().await;
    assert!(!bench.waits("MoveGateOpen", "1s").await, "nobody looks yet");
    let verifier = bench.verifier().await;
    assert!(!bench.waits("MoveGateOpen", "1s").await, "not begun");
    switch(&verifier).await;
    assert!(bench.waits("MoveGateOpen", "60s").await);
    let table = bench.cluster.kubectl(&["get", "mig"]).await.unwrap().stdout;
    assert!(table.contains("move") && table.contains("active") && table.contains("open since"), "{table}");
    let events = bench.cluster.kubectl(&["events", "--for", "migration/it"]).await.unwrap().stdout;
    assert!(events.contains("MoveGateOpen"), "{events}");

    let completed = verifier.post("/v1/phases/move/complete", &json!({})).await.unwrap();
    assert_eq!(completed.status, 200, "{}", completed.body);
    assert!(bench.waits("MoveComplete", "30s").await);
    assert!(verifier.sigterm().await.unwrap().success());
    for kind in ["MoveGateOpen", "MoveComplete", "Regressed", "Accepted"] {
        let condition = bench.condition(kind).await.unwrap();
        assert_eq!((&condition["status"], &condition["reason"]), (&json!("Unknown"), &json!("VerifierStopped")), "{condition}");
    }
    assert!(!bench.waits("MoveGateOpen", "1s").await, "nobody looks any more");
}

#[tokio::test]
async fn another_generation_in_a_real_cluster_is_not_open_before_it_is_in_force() {
    let bench = Bench::start().await;
    let verifier = bench.verifier().await;
    switch(&verifier).await;
    assert!(bench.waits("MoveGateOpen", "60s").await);
    // A document that the schema takes and the verifier does not.
    let refused = json!([{"op": "add", "path": "/spec/phases/0/gate/soaak", "value": "1h"}]).to_string();
    let patched = bench.cluster.kubectl(&["patch", "mig", "it", "--type=json", "-p", &refused]).await.unwrap();
    assert_eq!(patched.code, 0, "{patched:?}");
    assert!(!bench.waits("MoveGateOpen", "1s").await, "the generation that it is about is not the newest");
    let accepted = bench.becomes("Accepted", "False", "Refused").await;
    assert!(accepted["message"].as_str().unwrap().contains("soaak"), "{accepted}");
    assert!(!bench.waits("MoveGateOpen", "1s").await);
    reaches(&verifier, "open").await;

    let mended = json!([{"op": "remove", "path": "/spec/phases/0/gate/soaak"}]).to_string();
    let patched = bench.cluster.kubectl(&["patch", "mig", "it", "--type=json", "-p", &mended]).await.unwrap();
    assert_eq!(patched.code, 0, "{patched:?}");
    bench.becomes("Accepted", "True", "Accepted").await;
    assert!(bench.waits("MoveGateOpen", "60s").await);
    bench.apply("1h").await;
    bench.becomes("MoveGateOpen", "False", "Soaking").await;
}

#[tokio::test]
async fn a_forged_condition_in_a_real_cluster_does_not_last() {
    let bench = Bench::start().await;
    let _verifier = bench.verifier().await;
    bench.becomes("MoveGateOpen", "False", "NotBegun").await;
    let mut forged = bench.condition("MoveGateOpen").await.unwrap();
    forged["status"] = "True".into();
    let patch = json!([{"op": "replace", "path": "/status/conditions", "value": [forged]}]).to_string();
    let patched =
        bench.cluster.kubectl(&["patch", "mig", "it", "--subresource=status", "--type=json", "-p", &patch]).await.unwrap();
    assert_eq!(patched.code, 0, "{patched:?}");
    bench.becomes("MoveGateOpen", "False", "NotBegun").await;
    tokio::time::timeout(Duration::from_secs(1), bench.condition("Accepted")).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_real_api_server_refuses_what_the_definition_forbids() {
    let bench = Bench::start().await;
    let refused = async |patch: Value| {
        let patched = bench.cluster.kubectl(&["patch", "mig", "it", "--type=json", "-p", &patch.to_string()]).await.unwrap();
        assert_ne!(patched.code, 0, "{patch}");
        patched.stderr
    };
    let step = |name: &str, switch: bool| json!({"name": name, "do": ["true"], "switch": switch});
    let steps = json!([{"op": "add", "path": "/spec/phases/0/steps", "value": [step("a", true), step("b", true)]}]);
    assert!(refused(steps).await.contains("exactly one with `switch: true`"));
    let twice = json!([{"op": "add", "path": "/spec/phases/-", "value": {"name": "move", "gate": {}, "probes": []}}]);
    assert!(refused(twice).await.contains("Duplicate value"));
    let two = json!([{"op": "add", "path": "/spec/phases/0/probes/0/check/dns", "value": {"name": "x", "expect": "present"}}]);
    assert!(refused(two).await.contains("at most 1"));
}
