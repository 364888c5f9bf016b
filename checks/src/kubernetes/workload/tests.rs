use std::sync::atomic::{AtomicU32, Ordering};

use chrono::TimeDelta;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::*;
use crate::kubernetes::testing::{Api, Manner, lease};
use crate::testing::check;

const DIGEST: &str = "sha256:aaaa";

/// A cluster of two nodes with a rollout in it, and a probe that looks at it in the test's time.
struct World {
    api: Api,
    cx: Context,
    check: Workload,
    memory: Memory,
    start: Instant,
    renewals: AtomicU32,
}

fn deployment(generation: i64, observed: i64, desired: i64, up: i64) -> Value {
    json!({
        "metadata": {"name": "loki", "uid": "u", "generation": generation},
        "spec": {"replicas": desired, "selector": {"matchLabels": {"app": "loki"}}, "template": {}},
        "status": {"observedGeneration": observed, "replicas": up, "updatedReplicas": up, "readyReplicas": up, "availableReplicas": up},
    })
}

fn pod(name: &str, node: &str, ready: bool, restarts: u32) -> Value {
    json!({
        "metadata": {"name": name, "uid": format!("uid-{name}")},
        "spec": {"nodeName": node, "containers": [{"name": "loki", "image": "loki:3"}]},
        "status": {
            "phase": "Running", "podIP": "10.0.0.1",
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
            "containerStatuses": [{
                "name": "loki", "image": "loki:3", "imageID": format!("docker.io/loki@{DIGEST}"), "ready": ready,
                "restartCount": restarts,
            }],
        },
    })
}

fn node(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"os": "linux"}}})
}

impl World {
    /// Looked at twice, so that the Leases were seen renewed.
    async fn of(block: Value) -> Self {
        let api = Api::start();
        for name in ["n1", "n2"] {
            api.put("nodes", node(name));
        }
        api.put("deployments", deployment(1, 1, 2, 2));
        api.put("pods", pod("loki-a", "n1", true, 3));
        api.put("pods", pod("loki-b", "n2", true, 0));
        let cx = api.context();
        let (start, renewals) = (Instant::now(), AtomicU32::new(0));
        let mut world = Self { api, cx, check: check(block), memory: Memory::default(), start, renewals };
        world.renew(&["n1", "n2"]);
        world.look().await;
        world.renew(&["n1", "n2"]);
        world
    }

    async fn deployment() -> Self {
        Self::of(json!({"namespace": "obs", "deployment": "loki"})).await
    }

    fn renew(&self, nodes: &[&str]) {
        let n = self.renewals.fetch_add(1, Ordering::Relaxed);
        for node in nodes {
            self.api.put("leases", lease(node, &format!("00:{:02}:{:02}", n / 60, n % 60)));
        }
    }

    /// The parts that do not pass, with their reasons; evidence of the first.
    async fn look(&mut self) -> (Vec<String>, String) {
        sleep(Duration::from_millis(10)).await;
        self.cx.now = chrono::DateTime::UNIX_EPOCH + TimeDelta::from_std(self.start.elapsed()).unwrap();
        let report = Check::run(&self.check, &self.cx, self.memory.clone()).await;
        self.memory = report.memory;
        let Step::Done(parts) = report.step else { panic!("no proof") };
        let wrong: Vec<_> = parts.iter().filter(|(_, outcome)| outcome.reason().is_some()).collect();
        let evidence = wrong.first().map(|(_, outcome)| outcome.evidence().to_string()).unwrap_or_default();
        (
            wrong.iter().map(|(part, outcome)| format!("{part} {} {}", outcome.label(), outcome.reason().unwrap())).collect(),
            evidence,
        )
    }

    async fn reasons(&mut self) -> Vec<String> {
        self.look().await.0
    }

    async fn control(&self) -> Outcome {
        Check::control(&self.check, &self.cx, Memory::default()).await
    }

    /// Time passes, and the nodes live.
    async fn passes(&mut self, seconds: u64) {
        for _ in 0..seconds.div_ceil(5) {
            sleep(Duration::from_secs(5)).await;
            self.renew(&["n1", "n2"]);
            self.look().await;
        }
    }
}

const NONE: [&str; 0] = [];

#[tokio::test(start_paused = true)]
async fn a_complete_rollout_passes_and_its_control_does_not() {
    let mut world = World::deployment().await;
    assert_eq!(world.reasons().await, NONE);
    let control = world.control().await;
    assert_eq!(control.reason(), Some(&UNAVAILABLE.into()), "{control:?}");
    world.passes(600).await;
    assert_eq!(world.reasons().await, NONE);
    // Ten minutes of three watches cost what they should.
    assert!(world.api.asked("watch=true") < 3 * 45, "{}", world.api.asked("watch=true"));
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_not_there_is_absent() {
    let mut world = World::deployment().await;
    world.api.delete("deployments", "loki");
    assert_eq!(world.look().await, (vec!["all fail absent".into()], "no Deployment loki in namespace obs".into()));
}

#[tokio::test(start_paused = true)]
async fn a_rollout_waits_until_it_is_due_and_short_of_pods_afterwards_fails() {
    let mut world = World::deployment().await;
    world.reasons().await;
    world.api.put("deployments", deployment(2, 1, 2, 2));
    assert_eq!(world.reasons().await, ["rollout waiting rolling_out"], "its controller has not seen it");
    world.api.put("deployments", deployment(2, 2, 2, 1));
    world.api.put("pods", pod("loki-b", "n2", false, 0));
    assert_eq!(world.reasons().await, ["pods waiting rolling_out", "rollout waiting rolling_out"]);
    world.api.put("deployments", deployment(2, 2, 2, 2));
    world.api.put("pods", pod("loki-b", "n2", true, 0));
    assert_eq!(world.reasons().await, NONE);
    world.api.put("deployments", deployment(2, 2, 2, 1));
    world.api.put("pods", pod("loki-b", "n2", false, 0));
    assert_eq!(world.reasons().await, ["pods fail pod_not_ready", "rollout fail unavailable"]);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_go_on_by_itself_fails() {
    let mut world = World::deployment().await;
    let mut paused = deployment(2, 2, 2, 2);
    paused["spec"]["paused"] = json!(true);
    world.api.put("deployments", paused.clone());
    assert_eq!(world.reasons().await, NONE, "complete, and nothing is held back");
    paused["status"]["updatedReplicas"] = json!(0);
    world.api.put("deployments", paused);
    assert_eq!(world.reasons().await, ["rollout fail rollout_paused"]);
    let mut stuck = deployment(3, 3, 2, 1);
    let message = "ReplicaSet \"loki-x\" has timed out progressing.";
    stuck["status"]["conditions"] =
        json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": message}]);
    world.api.put("deployments", stuck);
    let (reasons, evidence) = world.look().await;
    assert_eq!(reasons, ["rollout fail rollout_stuck"]);
    assert!(evidence.contains(message), "{evidence}");
    world.api.put("deployments", deployment(4, 4, 0, 0));
    assert!(world.reasons().await.contains(&"rollout fail scaled_to_zero".to_owned()));
    let mut deleted = deployment(4, 4, 2, 2);
    deleted["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    world.api.put("deployments", deleted);
    assert_eq!(world.reasons().await, ["rollout fail being_deleted"]);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_does_not_start_is_named_in_its_own_words() {
    let mut world = World::deployment().await;
    world.api.put("deployments", deployment(2, 2, 2, 1));
    let mut failing = pod("loki-b", "n2", false, 0);
    failing["status"]["containerStatuses"][0]["state"] =
        json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image \"loki:4\""}});
    world.api.put("pods", failing);
    let (reasons, evidence) = world.look().await;
    assert_eq!(reasons, ["pods fail container_failing", "rollout waiting rolling_out"]);
    assert!(evidence.starts_with("loki-b: container loki: ImagePullBackOff: Back-off pulling image \"loki:4\""), "{evidence}");
}

#[tokio::test(start_paused = true)]
async fn restarts_count_from_the_look_before_and_for_a_while() {
    let mut world = World::deployment().await;
    assert_eq!(world.reasons().await, NONE, "three restarts of long ago are history");
    world.api.put("pods", pod("loki-a", "n1", true, 4));
    let (reasons, evidence) = world.look().await;
    assert_eq!(
        (reasons, evidence),
        (vec!["restarts fail restarting".into()], "loki-a/loki restarted 0s ago (4 restarts)".into())
    );
    world.passes(590).await;
    assert_eq!(world.reasons().await, ["restarts fail restarting"]);
    world.passes(20).await;
    assert_eq!(world.reasons().await, NONE);
    // The pod is replaced by another one of the same name: it starts from zero, and that is no restart.
    let mut other = pod("loki-a", "n1", true, 1);
    other["metadata"]["uid"] = json!("another");
    world.api.put("pods", other);
    assert_eq!(world.reasons().await, NONE);
}

#[tokio::test(start_paused = true)]
async fn images_are_compared_with_the_document_and_with_each_other() {
    for (image, reasons) in [
        (DIGEST, vec![]),
        ("docker.io/loki@sha256:aaaa", vec![]),
        ("loki:3", vec![]),
        ("loki", vec!["image fail image_wrong"]),
        ("sha256:aaa", vec!["image fail image_wrong"]),
        ("sha256:bbbb", vec!["image fail image_wrong"]),
    ] {
        let mut world = World::of(json!({"namespace": "obs", "deployment": "loki", "image": image})).await;
        assert_eq!(world.reasons().await, reasons, "{image}");
    }
    let mut world = World::of(json!({"namespace": "obs", "deployment": "loki", "image": DIGEST})).await;
    let mut other = pod("loki-b", "n2", true, 0);
    other["status"]["containerStatuses"][0]["imageID"] = json!("");
    world.api.put("pods", other.clone());
    assert_eq!(world.reasons().await, ["image unknown image_untold"]);
    let mut world = World::deployment().await;
    other["status"]["containerStatuses"][0]["imageID"] = json!("docker.io/loki@sha256:bbbb");
    world.api.put("pods", other);
    assert_eq!(world.reasons().await, ["image fail images_differ"]);
}

#[tokio::test(start_paused = true)]
async fn ready_counts_only_while_the_node_is_heard() {
    let mut world = World::deployment().await;
    assert_eq!(world.reasons().await, NONE);
    for _ in 0..12 {
        sleep(Duration::from_secs(5)).await;
        world.renew(&["n2"]);
    }
    let (reasons, evidence) = world.look().await;
    assert_eq!(reasons, ["pods fail node_silent"]);
    assert!(evidence.starts_with("loki-a: n1: its Lease was not renewed for "), "{evidence}");
    sleep(Duration::from_secs(50)).await;
    assert_eq!(world.reasons().await, ["pods unknown no_news"], "no node is heard: nobody knows");
    world.renew(&["n1", "n2"]);
    assert_eq!(world.reasons().await, NONE);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_never_seen_renewed_is_waited_for() {
    let api = Api::start();
    api.put("deployments", deployment(1, 1, 1, 1));
    api.put("pods", pod("loki-a", "n1", true, 0));
    api.put("leases", lease("n1", "00:00:00"));
    let cx = api.context();
    let check = check(json!({"namespace": "obs", "deployment": "loki"}));
    let mut world = World { api, cx, check, memory: Memory::default(), start: Instant::now(), renewals: AtomicU32::new(1) };
    assert_eq!(world.reasons().await, ["pods waiting node_awaited"]);
    sleep(Duration::from_secs(41)).await;
    assert_eq!(world.reasons().await, ["pods unknown no_news"]);
    world.renew(&["n1"]);
    assert_eq!(world.reasons().await, NONE);
}

#[tokio::test(start_paused = true)]
async fn a_daemon_set_runs_on_every_node_that_it_is_meant_for() {
    let mut world = World::of(json!({"namespace": "obs", "daemonSet": "alloy"})).await;
    let set = json!({
        "metadata": {"name": "alloy", "uid": "u", "generation": 1},
        "spec": {
            "selector": {"matchLabels": {"app": "alloy"}},
            "template": {"spec": {
                "nodeSelector": {"os": "linux"}, "containers": [],
                "tolerations": [{"key": "role", "operator": "Exists", "effect": "NoSchedule"}],
            }},
        },
        "status": {
            "observedGeneration": 1, "desiredNumberScheduled": 2, "currentNumberScheduled": 2, "numberMisscheduled": 0,
            "updatedNumberScheduled": 2, "numberReady": 2, "numberAvailable": 2,
        },
    });
    world.api.put("daemonsets", set);
    assert_eq!(world.reasons().await, ["pods waiting node_awaited"]);
    world.renew(&["n1", "n2"]);
    assert_eq!(world.reasons().await, NONE);
    let mut windows = node("w1");
    windows["metadata"]["labels"]["os"] = json!("windows");
    world.api.put("nodes", windows);
    let mut apart = node("gpu");
    apart["spec"]["taints"] = json!([{"key": "gpu", "effect": "NoSchedule"}]);
    world.api.put("nodes", apart);
    assert_eq!(world.reasons().await, NONE, "neither is meant");
    let mut master = node("n3");
    master["spec"]["taints"] = json!([{"key": "role", "value": "master", "effect": "NoSchedule"}]);
    world.api.put("nodes", master);
    let (reasons, evidence) = world.look().await;
    assert_eq!(reasons, ["nodes fail node_missing"]);
    assert_eq!(evidence, "1 of 3 nodes run no Ready pod: n3");
    world.api.delete("nodes", "n3");
    assert_eq!(world.reasons().await, NONE, "a node that is deleted leaves");
}

#[tokio::test(start_paused = true)]
async fn without_the_right_each_resource_is_named() {
    for resource in ["deployments", "pods", "leases"] {
        let world = World::deployment().await;
        world.api.behaves(Manner::Denies(resource));
        let cx = world.api.context();
        let report = Check::run(&world.check, &cx, Memory::default()).await;
        let Step::Done(parts) = report.step else { panic!("no proof") };
        let (_, outcome) = parts.iter().next().unwrap();
        assert_eq!(outcome.reason().unwrap().as_str(), "forbidden");
        assert!(outcome.evidence().as_str().contains(&format!("may not list {resource}")), "{}", outcome.evidence());
    }
}
