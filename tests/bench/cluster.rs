//! A verifier in a cluster of 500 pods: what its API server is asked at rest, and what the verifier costs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::{Kubernetes, StandinLoki, Verifier, World, wait_until};
use tokio::time::{Instant, sleep};

use crate::figures::{say, tell};
use crate::{gate, usage};

const PATIENCE: Duration = Duration::from_mins(5);
/// Before anything is counted: every watch has begun by then.
const CALM: Duration = Duration::from_mins(1);
const NODES: u8 = 5;
/// With one pod of the agents on each node and one of each store there are 500 of them.
const APPS: u32 = 14;
const REPLICAS: u32 = 35;
const STORES: u32 = 5;
const ACCOUNT: &str = "system:serviceaccount:default:phasegate-verifier";
const DEFINITION: &str = include_str!("../../deploy/base/crd.yaml");
const ROLE: &str = include_str!("../../deploy/base/verifier/role.yaml");
const RIGHTS: &str = include_str!("../../deploy/components/cluster-checks/rights.yaml");

/// 50 probes with default settings, ledger and document in the cluster, counted for so long.
pub(crate) async fn measure(span: Duration) -> Result<()> {
    let world = World::new()?;
    let started = Instant::now();
    let cluster = Kubernetes::start(&world).await?.with_controllers().await?;
    cluster.nodes(NODES).await?;
    cluster.apply(&workloads()).await?;
    let served = StandinLoki::start()?;
    let kubeconfig = rights(&cluster).await?;
    wait_until(PATIENCE, "every pod is ready", async || {
        let pods = cluster.object("/api/v1/namespaces/observability/pods?fieldSelector=status.phase%3DRunning").await?;
        let count = pods.get("items").and_then(Value::as_array).map_or(0, Vec::len);
        ensure!(count == 500, "{count} run");
        Ok(())
    })
    .await?;
    say(&format!("500 pods on {NODES} nodes run after {:.0?}", started.elapsed()));

    let document = document(&served.url());
    let probes = document.pointer("/spec/phases/0/probes").and_then(Value::as_array).map_or(0, Vec::len);
    cluster.apply(&document.to_string()).await?;
    let verifier = Verifier::launch_for_migration(&world, &kubeconfig, "it")?;
    verifier.answers().await?;
    gate::opened(&verifier, PATIENCE).await?;
    say(&format!("all {probes} probes are green"));
    sleep(CALM).await;

    let pid = verifier.process().pid().context("the verifier has no process")?;
    let (before, cpu, begun) = (asked(&cluster)?, usage::cpu(pid)?, Instant::now());
    sleep(span).await;
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    let used = (usage::cpu(pid)? - cpu) / begun.elapsed().as_secs_f64();
    let after = asked(&cluster)?;
    ensure!(gate::is_open(&gate::read(&verifier).await?), "the gate is not open");

    tell(&format!("500 pods, {NODES} nodes, {probes} probes every 5s, for {:.0} s", begun.elapsed().as_secs_f64()));
    let mut all = 0;
    for (what, count) in &after {
        let count = count - before.get(what).unwrap_or(&0);
        all += count;
        if count > 0 {
            tell(&format!("  {what:<48} {:>6.1} a minute", f64::from(count) / minutes));
        }
    }
    tell(&format!("requests to the API server                         {:>6.1} a minute", f64::from(all) / minutes));
    tell(&format!("processor                                          {:>6.1} % of a core", used * 100.0));
    tell(&format!("resident memory                                    {:>6.1} MiB", usage::resident(pid)?));
    tell(&format!("at most                                            {:>6.1} MiB", usage::peak(pid)?));
    Ok(())
}

/// What the verifier asked so far, by verb and resource.
fn asked(cluster: &Kubernetes) -> Result<BTreeMap<String, u32>> {
    let mut counts = BTreeMap::new();
    for request in cluster.requests()?.into_iter().filter(|one| one.user == ACCOUNT) {
        *counts.entry(format!("{} {}", request.verb, request.resource)).or_default() += 1;
    }
    Ok(counts)
}

/// What a Migration is, and a verifier in the namespace `default` with the rights that `deploy/` gives it.
async fn rights(cluster: &Kubernetes) -> Result<PathBuf> {
    cluster.define(DEFINITION).await?;
    let subject = "{kind: ServiceAccount, name: phasegate-verifier}";
    cluster.apply(&ROLE.replace(subject, "{kind: ServiceAccount, name: phasegate-verifier, namespace: default}")).await?;
    cluster.apply(&RIGHTS.replace("namespace: phasegate", "namespace: default")).await?;
    cluster.kubeconfig_for_service_account("default", "phasegate-verifier").await
}

fn app(nth: u32) -> String {
    format!("app-{nth}")
}

fn store(nth: u32) -> String {
    format!("store-{nth}")
}

/// A namespace with 500 pods: an agent on each node, applications with Services, stores with a volume each.
fn workloads() -> String {
    let mut items = vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "observability"}}),
        json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "local-path"},
            "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer",
        }),
    ];
    let template = |name: &str| {
        json!({
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "it", "image": "it:1"}]},
        })
    };
    let object = |kind: &str, name: &str, spec: Value| json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": "observability"}, "spec": spec});
    let selector = |name: &str| json!({"matchLabels": {"app": name}});
    items.push(object("DaemonSet", "agent", json!({"selector": selector("agent"), "template": template("agent")})));
    for name in (0..APPS).map(app) {
        let spec = json!({"replicas": REPLICAS, "selector": selector(&name), "template": template(&name)});
        items.push(object("Deployment", &name, spec));
        items.push(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "observability"},
            "spec": {"selector": {"app": name}, "ports": [{"port": 80}]},
        }));
    }
    for name in (0..STORES).map(store) {
        items.push(json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "local-path",
                "hostPath": {"path": format!("/srv/{name}")},
            },
        }));
        let claim = json!({
            "metadata": {"name": "data"},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": "local-path",
                "resources": {"requests": {"storage": "1Gi"}},
            },
        });
        let spec = json!({
            "serviceName": name, "selector": selector(&name), "template": template(&name), "volumeClaimTemplates": [claim],
        });
        items.push(object("StatefulSet", &name, spec));
    }
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

/// Everything that can be looked at there, and eleven looks at something else.
fn document(url: &str) -> Value {
    let mut checks = vec![("agent".to_owned(), json!({"workload": {"namespace": "observability", "daemonSet": "agent"}}))];
    for name in (0..APPS).map(app) {
        checks.push((name.clone(), json!({"workload": {"namespace": "observability", "deployment": name}})));
        let served = json!({"namespace": "observability", "service": name, "pods": format!("app={name}"), "min": REPLICAS});
        checks.push((format!("{name}-served"), json!({"endpoints": served})));
    }
    for name in (0..STORES).map(store) {
        checks.push((name.clone(), json!({"workload": {"namespace": "observability", "statefulSet": name}})));
        checks.push((format!("{name}-data"), json!({"volume": {"namespace": "observability", "statefulSet": name}})));
    }
    let address = url.strip_prefix("http://").unwrap_or(url);
    checks.extend((0..8).map(|nth| (format!("http-{nth}"), json!({"http": {"url": format!("{url}/ready")}}))));
    checks.extend((0..3).map(|nth| (format!("tcp-{nth}"), json!({"tcp": {"address": address}}))));
    let probes: Vec<Value> = checks.into_iter().map(|(name, check)| json!({"name": name, "check": check})).collect();
    json!({
        "apiVersion": "phasegate.dev/v1alpha1", "kind": "Migration", "metadata": {"name": "it", "namespace": "default"},
        "spec": {"phases": [{
            "name": "move", "gate": {"soak": "1s", "minSamples": 1, "unknownBudget": "1m"}, "probes": probes,
        }]},
    })
}
