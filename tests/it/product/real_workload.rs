//! `workload`, `volume`, `endpoints` and the discovery of pods on a real control plane: what they must see, when the API server is not
//! there, is denied to them, or has no news, and when a volume is not the one it was.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use checks::{Clients, Cluster, Context, DynCheck, Fact, Outcome, Reach, Report, Step, Target};
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Kubernetes, World, wait_until};
use tokio::time::{Instant, sleep};

use super::now;

const SOON: Duration = Duration::from_mins(1);
const WORKLOADS: &str = include_str!("real_workload/workloads.yaml");
const KINDS: &[&str] = &["workload", "volume", "endpoints", "alloyHealth"];
pub(super) const CLAIM: &str = "/api/v1/namespaces/observability/persistentvolumeclaims/storage-loki-0";

/// The roles of a service account that may do what these checks declare, but for one resource.
fn roles(account: &str, without: &str) -> String {
    let mut rules: BTreeMap<Reach, Vec<Value>> = BTreeMap::new();
    for kind in KINDS {
        for rule in checks::registry().get(kind).unwrap().meta.rules {
            let resources: Vec<_> = rule.resources.iter().filter(|resource| **resource != without).collect();
            if !resources.is_empty() {
                let rule_of = json!({"apiGroups": [rule.api_group], "resources": resources, "verbs": rule.verbs});
                rules.entry(rule.scope).or_default().push(rule_of);
            }
        }
    }
    let account_of = json!({"kind": "ServiceAccount", "name": account, "namespace": "observability"});
    let named = |namespace: &str| json!({"name": format!("{account}-reads"), "namespace": namespace});
    let group = "rbac.authorization.k8s.io";
    let mut items = vec![json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": "observability"},
    })];
    for (reach, rules) in rules {
        let (kind, metadata) = match reach {
            Reach::Namespace => ("Role", named("observability")),
            Reach::In(namespace) => ("Role", named(namespace)),
            Reach::Cluster => ("ClusterRole", json!({"name": format!("{account}-reads")})),
        };
        let role = json!({"apiGroup": group, "kind": kind, "name": format!("{account}-reads")});
        let version = format!("{group}/v1");
        items.push(json!({"apiVersion": version, "kind": kind, "metadata": metadata, "rules": rules}));
        let binding = json!({"apiVersion": version, "kind": format!("{kind}Binding"), "metadata": metadata, "roleRef": role, "subjects": [account_of]});
        items.push(binding);
    }
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

/// A cluster with the workloads rolled out, and a kubeconfig that may do what the checks declare.
pub(super) async fn cluster(world: &World) -> (Kubernetes, PathBuf) {
    let cluster = Kubernetes::start(world).await.unwrap().with_controllers().await.unwrap();
    cluster.nodes(3).await.unwrap();
    cluster.apply(WORKLOADS).await.unwrap();
    cluster.apply(&roles("phasegate", "")).await.unwrap();
    let kubeconfig = cluster.kubeconfig_for_service_account("observability", "phasegate").await.unwrap();
    (cluster, kubeconfig)
}

pub(super) async fn kubectl(cluster: &Kubernetes, args: &[&str]) {
    let output = cluster.kubectl(&[args, &["-n", "observability"]].concat()).await.unwrap();
    assert_eq!(output.code, 0, "{args:?}: {output:?}");
}

fn context(cluster: Cluster) -> Context {
    let mut clients = Clients::new().unwrap();
    clients.cluster = cluster;
    Context {
        targets: Arc::default(),
        clients,
        timeout: Duration::from_secs(10),
        now: now(),
        uptime: Duration::from_hours(1),
        beat: None,
        facts: Arc::default(),
        by_hand: false,
    }
}

/// A patch that says what becomes of the claims of what is scaled down.
pub(super) fn retention(scaled: &str) -> String {
    json!({"spec": {"persistentVolumeClaimRetentionPolicy": {"whenScaled": scaled, "whenDeleted": "Retain"}}}).to_string()
}

/// A check as the verifier holds it, with its memory in the test's hands.
struct Look {
    check: Arc<dyn DynCheck>,
    cx: Context,
    memory: Option<Vec<u8>>,
}

type Parts = BTreeMap<String, Outcome>;

impl Look {
    fn new(cx: &Context, kind: &str, block: Value) -> Self {
        let check = (checks::registry().get(kind).unwrap().parse)(block).unwrap();
        Self { check, cx: cx.clone(), memory: None }
    }

    fn workload(cx: &Context, kind: &str, name: &str) -> Self {
        Self::new(cx, "workload", json!({"namespace": "observability", kind: name, "restartsWithin": "5s"}))
    }

    async fn report(&mut self) -> (Parts, Report<Vec<u8>>) {
        self.cx.now = now();
        let report = self.check.run(&self.cx, self.memory.as_deref()).await.unwrap();
        self.memory = Some(report.memory.clone());
        let Step::Done(parts) = &report.step else { panic!("no proof") };
        (parts.iter().map(|(part, outcome)| (part.to_string(), outcome.clone())).collect(), report)
    }

    async fn parts(&mut self) -> Parts {
        self.report().await.0
    }

    /// Waits until every part passes.
    async fn passes(&mut self) -> Parts {
        wait_until(SOON, "it passes", async || {
            let parts = self.parts().await;
            ensure!(green(&parts), "{parts:?}");
            Ok(parts)
        })
        .await
        .unwrap()
    }

    /// Waits until a part has this reason.
    async fn says(&mut self, reason: &str) -> String {
        wait_until(SOON, reason, async || {
            let parts = self.parts().await;
            let said = parts.values().find(|outcome| outcome.reason().is_some_and(|why| why.as_str() == reason));
            Ok(said.with_context(|| format!("{parts:?}"))?.evidence().to_string())
        })
        .await
        .unwrap()
    }

    /// Its control does not pass, for its own reason.
    async fn control_fails(&mut self) {
        let outcome = self.check.control(&self.cx, None).await;
        assert_eq!(outcome.reason(), Some(&self.check.meta().control.into()), "{outcome:?}");
    }
}

fn green(parts: &Parts) -> bool {
    !parts.is_empty() && parts.values().all(|outcome| matches!(outcome, Outcome::Pass { .. }))
}

#[tokio::test]
async fn real_rollouts_are_green_when_complete_and_red_when_a_container_fails() {
    let world = World::new().unwrap();
    let (cluster, kubeconfig) = cluster(&world).await;
    let cx = context(Cluster::of_kubeconfig(kubeconfig));
    let mut grafana = Look::workload(&cx, "deployment", "grafana");
    let mut alloy = Look::workload(&cx, "daemonSet", "alloy");
    let mut loki = Look::workload(&cx, "statefulSet", "loki");
    let service = json!({"namespace": "observability", "service": "grafana", "pods": "app=grafana", "min": 2});
    let mut endpoints = Look::new(&cx, "endpoints", service);
    for look in [&mut grafana, &mut alloy, &mut loki, &mut endpoints] {
        look.passes().await;
        look.control_fails().await;
    }
    assert!(alloy.parts().await["nodes"].evidence().as_str().starts_with("all 3 nodes that it is meant for"));

    // A new image: seen under way or complete, but never the old one as complete once the API has the new one.
    kubectl(&cluster, &["set", "image", "deployment/grafana", "grafana=grafana/grafana:10.0.1"]).await;
    let asked = Instant::now();
    let seen = wait_until(SOON, "the new generation is seen", async || {
        let parts = grafana.parts().await;
        ensure!(parts["rollout"].evidence().as_str().starts_with("generation 2:"), "{parts:?}");
        Ok(asked.elapsed())
    })
    .await
    .unwrap();
    assert!(seen < Duration::from_secs(2), "{seen:?}");
    let parts = grafana.passes().await;
    assert!(parts["image"].evidence().as_str().contains("grafana/grafana:10.0.1"), "{parts:?}");

    // Scaled to nothing and gone.
    kubectl(&cluster, &["scale", "deployment/grafana", "--replicas=0"]).await;
    grafana.says("scaled_to_zero").await;
    endpoints.says("too_few_endpoints").await;
    kubectl(&cluster, &["delete", "deployment/grafana"]).await;
    grafana.says("absent").await;

    // A container that ends again and again.
    let crashes = r#"{"spec": {"template": {"metadata": {"labels": {"tests.phasegate.dev/pod": "crashes"}}}}}"#;
    kubectl(&cluster, &["patch", "statefulset/loki", "--patch", crashes]).await;
    let words = loki.says("container_failing").await;
    assert!(words.contains("loki-0: container loki: CrashLoopBackOff: back-off restarting failed container"), "{words}");
    loki.says("restarting").await;

    // A new node must run an agent, and does.
    cluster.nodes(4).await.unwrap();
    wait_until(SOON, "all four run one", async || {
        let parts = alloy.parts().await;
        ensure!(green(&parts) && parts["nodes"].evidence().as_str().starts_with("all 4 "), "{parts:?}");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn real_api_servers_that_freeze_are_unknown_within_30_seconds_and_never_green() {
    let world = World::new().unwrap();
    let (cluster, kubeconfig) = cluster(&world).await;
    let cx = context(Cluster::of_kubeconfig(kubeconfig));
    let mut alloy = Look::workload(&cx, "daemonSet", "alloy");
    alloy.passes().await;
    let calm = Instant::now();
    let watches = || cluster.asked("system:serviceaccount:observability:phasegate", "watch", "pods").unwrap();
    let before = watches();
    while calm.elapsed() < Duration::from_secs(62) {
        let parts = alloy.parts().await;
        assert!(green(&parts), "{parts:?}");
        sleep(Duration::from_millis(500)).await;
    }
    let cost = watches() - before;
    assert!((3..=5).contains(&cost), "{cost} requests a minute");

    cluster.freeze().await.unwrap();
    let frozen = Instant::now();
    loop {
        let parts = alloy.parts().await;
        if !green(&parts) {
            assert!(parts.values().all(|outcome| matches!(outcome, Outcome::Unknown { .. })), "{parts:?}");
            break;
        }
        sleep(Duration::from_millis(200)).await;
    }
    let blind = frozen.elapsed();
    assert!(blind < Duration::from_secs(30), "{blind:?}");
    while frozen.elapsed() < Duration::from_secs(45) {
        assert!(!green(&alloy.parts().await));
        sleep(Duration::from_millis(500)).await;
    }
    cluster.thaw();
    alloy.passes().await;

    // Killed and started again.
    cluster.kill().await.unwrap();
    let killed = Instant::now();
    while green(&alloy.parts().await) {
        assert!(killed.elapsed() < Duration::from_secs(30));
        sleep(Duration::from_millis(200)).await;
    }
    cluster.start_again().await.unwrap();
    alloy.passes().await;

    // An API server that answers everything from its memory, without its store: no kubelet is heard.
    cluster.etcd().freeze().await.unwrap();
    let frozen = Instant::now();
    while green(&alloy.parts().await) {
        assert!(frozen.elapsed() < Duration::from_mins(1));
        sleep(Duration::from_millis(200)).await;
    }
    let parts = alloy.parts().await;
    assert!(parts.values().all(|outcome| !matches!(outcome, Outcome::Fail { .. })), "{parts:?}");
    cluster.etcd().thaw();
    alloy.passes().await;
}

#[tokio::test]
async fn real_rules_that_are_missing_are_named_and_volumes_that_change_are_red() {
    let world = World::new().unwrap();
    let (cluster, kubeconfig) = cluster(&world).await;

    for (without, kind, words) in [
        ("pods", "Role", "may not list pods of API group \"\" in namespace observability"),
        ("leases", "Role", "may not list leases of API group \"coordination.k8s.io\" in namespace kube-node-lease"),
        ("nodes", "ClusterRole", "may not list nodes of API group \"\""),
        ("daemonsets", "Role", "may not list daemonsets of API group \"apps\" in namespace observability"),
    ] {
        let account = format!("without-{without}");
        cluster.apply(&roles(&account, without)).await.unwrap();
        let kubeconfig = cluster.kubeconfig_for_service_account("observability", &account).await.unwrap();
        let mut alloy = Look::workload(&context(Cluster::of_kubeconfig(kubeconfig)), "daemonSet", "alloy");
        let said = alloy.says("forbidden").await;
        assert!(said.starts_with(words) && said.contains(&format!("add to a {kind}")), "{said}");
        // What the evidence says is what opens it.
        cluster.apply(&roles(&account, "")).await.unwrap();
        alloy.passes().await;
    }

    let cx = context(Cluster::of_kubeconfig(kubeconfig));
    let block = json!({"namespace": "observability", "statefulSet": "loki", "fact": "volume-loki", "minCapacity": "1Gi"});
    let mut volume = Look::new(&cx, "volume", block);
    let told = volume.says("fact_missing").await;
    let uid = cluster.object(CLAIM).await.unwrap()["metadata"]["uid"].as_str().unwrap().to_owned();
    assert!(told.contains(&uid) && told.contains("/v1/facts/volume-loki"), "{told}");
    let fact = Fact { at: now(), value: json!({"storage-loki-0": uid}) };
    volume.cx.facts = Arc::new(BTreeMap::from([("volume-loki".to_owned(), fact)]));
    volume.passes().await;
    volume.control_fails().await;

    kubectl(&cluster, &["patch", "statefulset/loki", "--patch", &retention("Delete")]).await;
    volume.says("deleted_on_scale_down").await;
    // That is what it does.
    kubectl(&cluster, &["scale", "statefulset/loki", "--replicas=0"]).await;
    wait_until(SOON, "the claim is gone", async || {
        let gone = cluster.call(cluster.admin_token(), Method::GET, CLAIM, None).await?.status == 404;
        ensure!(gone, "it is there");
        Ok(())
    })
    .await
    .unwrap();
    volume.says("absent").await;
    kubectl(&cluster, &["patch", "statefulset/loki", "--patch", &retention("Retain")]).await;
    kubectl(&cluster, &["scale", "statefulset/loki", "--replicas=1"]).await;
    let words = volume.says("other_volume").await;
    assert!(words.contains(&format!("recorded was uid {uid}")), "{words}");
}

#[tokio::test]
async fn real_pods_are_found_by_node_and_a_node_that_is_deleted_leaves() -> Result<()> {
    let world = World::new()?;
    let (cluster, kubeconfig) = cluster(&world).await;
    let mut cx = context(Cluster::of_kubeconfig(kubeconfig));
    // Nobody answers there: that each node is asked, at its pod's address, is what is to be seen.
    let port = world.port()?;
    let target = json!({"alloy": {"pods": {"namespace": "observability", "selector": "app=alloy", "port": port}}});
    let target: Target = serde_json::from_value(target)?;
    cx.targets = Arc::new(BTreeMap::from([("alloys".to_owned(), target)]));
    let mut alloy = Look::new(&cx, "alloyHealth", json!({"alloy": "alloys"}));
    let names = |parts: &Parts| parts.keys().cloned().collect::<Vec<_>>();
    wait_until(SOON, "three nodes are asked", async || {
        let parts = alloy.parts().await;
        ensure!(names(&parts) == ["node-1", "node-2", "node-3"], "{parts:?}");
        ensure!(parts.values().all(|outcome| outcome.reason().is_some_and(|why| why.as_str() == "refused")), "{parts:?}");
        ensure!(parts["node-2"].evidence().as_str().contains(&format!("127.0.0.2:{port}")), "{parts:?}");
        Ok(())
    })
    .await?;
    let node = "/api/v1/nodes/node-3";
    cluster.call(cluster.admin_token(), Method::DELETE, node, None).await?;
    wait_until(SOON, "it has left", async || {
        let (parts, report) = alloy.report().await;
        let there: BTreeSet<String> = report.named.context("Kubernetes named nothing")?.iter().map(ToString::to_string).collect();
        ensure!(!there.contains("node-3") && there.contains("node-1") && parts.contains_key("node-1"), "{parts:?} {there:?}");
        Ok(())
    })
    .await
}
