//! `deploy/` in a real cluster: it is taken without a warning, its pods get nodes, and the verifier works with exactly the rights that it is
//! given there.

mod rights;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use tests::{Kubernetes, Output, Process, Spec, World, binary, wait_until};

use super::PATIENCE;

/// The namespace of the verifier in `deploy/`, its service account, and its name there.
const NAMESPACE: &str = "phasegate";
const NAME: &str = "phasegate-verifier";

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy").join(path)
}

/// The objects that `kubectl apply -k` of this folder would apply.
async fn rendered(cluster: &Kubernetes, folder: &str) -> Vec<Value> {
    let made = cluster.kubectl(&["kustomize", &deploy(folder).display().to_string()]).await.unwrap();
    assert_eq!((made.code, made.stderr.as_str()), (0, ""), "{folder}");
    made.stdout.split("\n---\n").map(|one| serde_saphyr::from_str(one).unwrap()).collect()
}

/// The object of this kind and name.
fn object<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = objects.iter().find(|one| one["kind"] == kind && one["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("there is no {kind} {name}"))
}

/// A cluster without controllers that knows what a Migration is.
async fn cluster(world: &World) -> Kubernetes {
    let cluster = Kubernetes::start(world).await.unwrap();
    define(&cluster).await;
    cluster
}

/// The README's first line.
async fn define(cluster: &Kubernetes) {
    let crd = deploy("base/crd.yaml").display().to_string();
    for args in [&["apply", "-f", &crd][..], &["wait", "--for=condition=Established", "-f", &crd]] {
        let said = cluster.kubectl(args).await.unwrap();
        assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{said:?}");
    }
}

async fn apply(cluster: &Kubernetes, folder: &str) -> Output {
    cluster.kubectl(&["apply", "-k", &deploy(folder).display().to_string()]).await.unwrap()
}

/// The verifier of this Deployment, as its container is started, where this kubeconfig leads.
struct Pod {
    process: Arc<Process>,
    url: String,
}

impl Pod {
    fn start(world: &World, deployment: &Value, kubeconfig: &Path, namespace: &str) -> Self {
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let env: Vec<(&str, &str)> = container["env"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|one| Some((one["name"].as_str()?, one["value"].as_str()?)))
            .collect();
        let args = container["args"].as_array().unwrap().iter().map(|arg| {
            env.iter().fold(arg.as_str().unwrap().to_owned(), |arg, (name, value)| arg.replace(&format!("$({name})"), value))
        });
        let address = format!("127.0.0.1:{}", world.port().unwrap());
        let spec = Spec::new("verifier", binary("probe").unwrap())
            .args(args)
            .args(["--web.listen-address", &address, "--kubernetes.namespace", namespace])
            .env("KUBECONFIG", kubeconfig.display().to_string());
        Self { process: world.start(spec).unwrap(), url: format!("http://{address}") }
    }

    /// Waits until this path answers with this status, as a probe of its container does.
    async fn answers(&self, world: &World, path: &str) {
        let look = async || Ok(world.http().get(format!("{}{path}", self.url)).send().await?.error_for_status()?);
        self.process.wait_until(PATIENCE, path, look).await.unwrap();
    }

    async fn stop(&self) {
        assert!(self.process.stop(Duration::from_secs(10)).await.unwrap().success());
    }
}

#[tokio::test]
async fn the_homelab_is_taken_by_a_real_cluster_without_a_warning_and_gets_nodes() {
    let world = World::new().unwrap();
    let cluster = Kubernetes::start(&world).await.unwrap().with_controllers().await.unwrap();
    cluster.nodes(3).await.unwrap();
    let once = apply(&cluster, "overlays/homelab").await;
    // kubectl asks what all kinds are before it makes any of them: all but the document is there, which is why the README begins with it.
    assert_eq!(once.code, 1);
    assert!(once.stderr.starts_with("error: resource mapping not found for name: \"homelab\""), "{once:?}");
    define(&cluster).await;
    let applied = apply(&cluster, "overlays/homelab").await;
    assert_eq!((applied.code, applied.stderr.as_str()), (0, ""), "{applied:?}");

    wait_until(PATIENCE, "an agent on each node, and the verifier", async || {
        let agents = cluster.object("/apis/apps/v1/namespaces/phasegate-agents/daemonsets/phasegate-agent").await?;
        ensure!(agents["status"]["numberReady"] == 3, "{}", agents["status"]);
        let verifier = cluster.object(&format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{NAME}")).await?;
        ensure!(verifier["status"]["availableReplicas"] == 1, "{}", verifier["status"]);
        let service = format!("/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices");
        let slices = cluster.object(&service).await?;
        ensure!(
            slices["items"][0]["ports"][0]["port"] == 9470 && slices["items"][0]["endpoints"][0]["addresses"][0].is_string(),
            "{slices}"
        );
        Ok(())
    })
    .await
    .unwrap();

    // What checks of Kubernetes itself need: the verifier can do it where it was granted, and there alone.
    let applied = cluster.kubectl(&["create", "namespace", "observability"]).await.unwrap();
    assert_eq!(applied.code, 0, "{applied:?}");
    let rights = deploy("components/cluster-checks/rights.yaml").display().to_string();
    let applied = cluster.kubectl(&["apply", "-f", &rights]).await.unwrap();
    assert_eq!((applied.code, applied.stderr.as_str()), (0, ""), "{applied:?}");
    let account = format!("--as=system:serviceaccount:{NAMESPACE}:{NAME}");
    for (verb, what, namespace, answer) in [
        ("watch", "daemonsets.apps", "observability", "yes"),
        ("list", "leases.coordination.k8s.io", "kube-node-lease", "yes"),
        ("watch", "nodes", "observability", "yes"),
        ("list", "pods", NAMESPACE, "no"),
        ("get", "secrets", "observability", "no"),
        ("patch", "daemonsets.apps", "observability", "no"),
    ] {
        wait_until(PATIENCE, what, async || {
            let said = cluster.kubectl(&["auth", "can-i", verb, what, "-n", namespace, &account]).await?;
            ensure!(said.stdout.trim() == answer, "{verb} {what} in {namespace}: {said:?}");
            Ok(())
        })
        .await
        .unwrap();
    }

    // The other one.
    let minimal = deploy("overlays/minimal").display().to_string();
    let taken = cluster.kubectl(&["apply", "--dry-run=server", "-k", &minimal]).await.unwrap();
    assert_eq!((taken.code, taken.stderr.as_str()), (0, ""), "{taken:?}");
}

/// What a pod of the verifier needs to be seen at work.
async fn works(cluster: &Kubernetes, namespace: &str, name: &str) -> Result<()> {
    let of = |path: &str| format!("{path}/namespaces/{namespace}");
    let migration = cluster.object(&format!("{}/migrations/{name}", of("/apis/phasegate.dev/v1alpha1"))).await?;
    let conditions = migration["status"]["conditions"].as_array().cloned().unwrap_or_default();
    ensure!(conditions.iter().any(|one| one["type"] == "Accepted" && one["status"] == "True"), "{conditions:?}");
    let lease = cluster.object(&format!("{}/leases/{name}", of("/apis/coordination.k8s.io/v1"))).await?;
    ensure!(lease["spec"]["holderIdentity"].is_string(), "{lease}");
    cluster.object(&format!("{}/configmaps/{name}-ledger", of("/api/v1"))).await.map(drop)
}
