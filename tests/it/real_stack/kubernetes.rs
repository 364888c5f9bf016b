//! The control plane of the test bench: is it one that the product can be tried on?

use anyhow::{Context, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Fault, FaultProxy, Kubernetes, World, wait_until};

use super::SOON;

const WORKLOADS: &str = include_str!("kubernetes/workloads.yaml");
const GATES: &str = include_str!("kubernetes/gates.yaml");
const READER: &str = include_str!("kubernetes/reader.yaml");
const READER_USER: &str = "system:serviceaccount:default:reader";

const GRAFANA: &str = "/apis/apps/v1/namespaces/observability/deployments/grafana";
const NOTE: &str = "/api/v1/namespaces/default/configmaps/note";

/// The value at a place in an object of the API.
async fn field(cluster: &Kubernetes, path: &str, pointer: &str) -> Value {
    cluster.object(path).await.unwrap().pointer(pointer).cloned().unwrap_or_default()
}

/// `kubectl`, which must succeed. What it printed.
async fn kubectl(cluster: &Kubernetes, args: &[&str]) -> String {
    let output = cluster.kubectl(args).await.unwrap();
    assert_eq!(output.code, 0, "{args:?}: {output:?}");
    output.stdout
}

async fn pods(cluster: &Kubernetes, selector: &str) -> Vec<Value> {
    let pods = field(cluster, &format!("/api/v1/namespaces/observability/pods?labelSelector={selector}"), "/items").await;
    pods.as_array().cloned().unwrap_or_default()
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// How often a container of this pod was started again, and whether the pod is ready.
fn restarts(pod: &Value) -> (u64, bool) {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let ready = conditions.iter().any(|one| text(one, "/type") == "Ready" && text(one, "/status") == "True");
    (pod.pointer("/status/containerStatuses/0/restartCount").and_then(Value::as_u64).unwrap_or_default(), ready)
}

#[tokio::test]
async fn real_controllers_roll_out_an_agent_a_store_and_a_deployment_and_what_fails_is_seen() {
    let world = World::new().unwrap();
    let cluster = Kubernetes::start(&world).await.unwrap().with_controllers().await.unwrap();
    cluster.nodes(3).await.unwrap();
    cluster.apply(WORKLOADS).await.unwrap();
    for workload in ["daemonset/alloy", "statefulset/loki", "deployment/grafana"] {
        kubectl(&cluster, &["rollout", "status", workload, "-n", "observability", "--timeout=60s"]).await;
    }

    // One on each node, at its address.
    let mut at: Vec<_> = pods(&cluster, "app=alloy").await.iter().map(|pod| text(pod, "/status/podIP").to_owned()).collect();
    at.sort();
    assert_eq!(at, ["127.0.0.1", "127.0.0.2", "127.0.0.3"]);
    // Where its volume is, which the real controllers have bound.
    let loki = pods(&cluster, "app=loki").await;
    assert_eq!(text(&loki[0], "/spec/nodeName"), "node-2");
    let claim = "/api/v1/namespaces/observability/persistentvolumeclaims/storage-loki-0";
    let claim = cluster.object(claim).await.unwrap();
    assert_eq!((text(&claim, "/status/phase"), text(&claim, "/spec/volumeName")), ("Bound", "by-hand"));

    // A new image is a new generation, which is rolled out once the controllers have seen it.
    let generations = async || {
        let grafana = cluster.object(GRAFANA).await.unwrap();
        ["/metadata/generation", "/status/observedGeneration"].map(|at| grafana.pointer(at).and_then(Value::as_u64))
    };
    assert_eq!(generations().await, [Some(1), Some(1)]);
    let controllers = cluster.part("kube-controller-manager").unwrap();
    controllers.freeze().await.unwrap();
    kubectl(&cluster, &["set", "image", "deployment/grafana", "grafana=grafana/grafana:10.0.1", "-n", "observability"]).await;
    assert_eq!(generations().await, [Some(2), Some(1)]);
    controllers.thaw();
    kubectl(&cluster, &["rollout", "status", "deployment/grafana", "-n", "observability", "--timeout=60s"]).await;
    assert_eq!(generations().await, [Some(2), Some(2)]);
    let sets = "/apis/apps/v1/namespaces/observability/replicasets?labelSelector=app=grafana";
    assert_eq!(field(&cluster, sets, "/items").await.as_array().map(Vec::len), Some(2));

    // A container that ends again and again, and then does not any more.
    let pod = "/api/v1/namespaces/observability/pods/loki-0";
    kubectl(&cluster, &["label", "pod", "loki-0", "-n", "observability", "tests.phasegate.dev/pod=crashes"]).await;
    wait_until(SOON, "the restarts rise, and the pod is not ready", async || {
        let seen = restarts(&cluster.object(pod).await?);
        ensure!(seen.0 >= 3 && !seen.1, "{seen:?}");
        Ok(())
    })
    .await
    .unwrap();
    let ready = field(&cluster, "/apis/apps/v1/namespaces/observability/statefulsets/loki", "/status/readyReplicas").await;
    assert!(ready.is_null() || ready == json!(0), "{ready}");
    kubectl(&cluster, &["label", "pod", "loki-0", "-n", "observability", "tests.phasegate.dev/pod-"]).await;
    kubectl(&cluster, &["rollout", "status", "statefulset/loki", "-n", "observability", "--timeout=60s"]).await;
    assert!(restarts(&cluster.object(pod).await.unwrap()).0 >= 3);
    // One that runs and is not ready.
    kubectl(&cluster, &["label", "pod", "loki-0", "-n", "observability", "tests.phasegate.dev/pod=unready"]).await;
    wait_until(SOON, "the pod is not ready", async || {
        let seen = restarts(&cluster.object(pod).await?);
        ensure!(!seen.1, "{seen:?}");
        Ok(())
    })
    .await
    .unwrap();

    // Nodes say that they are there: without that they would be given up after a minute, and all pods with them.
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    assert_eq!(field(&cluster, leases, "/items").await.as_array().map(Vec::len), Some(3));
    // A node that is not well any more: no pod is put there.
    kubectl(&cluster, &["label", "node", "node-3", "node-not-ready.stage.kwok.x-k8s.io=true"]).await;
    wait_until(SOON, "the node is shut", async || {
        let taints = field(&cluster, "/api/v1/nodes/node-3", "/spec/taints").await.to_string();
        ensure!(taints.contains("node.kubernetes.io/not-ready"), "{taints}");
        Ok(())
    })
    .await
    .unwrap();

    // The others find the API server again, and begin anew when all is lost.
    cluster.kill().await.unwrap();
    cluster.start_again().await.unwrap();
    kubectl(&cluster, &["rollout", "restart", "deployment/grafana", "-n", "observability"]).await;
    kubectl(&cluster, &["rollout", "status", "deployment/grafana", "-n", "observability", "--timeout=60s"]).await;
    cluster.empty().await.unwrap();
    assert_eq!(field(&cluster, "/api/v1/nodes", "/items").await, json!([]));
    cluster.nodes(1).await.unwrap();
}

#[tokio::test]
async fn real_admission_refuses_what_pod_security_and_quotas_forbid() {
    let world = World::new().unwrap();
    let cluster = Kubernetes::start(&world).await.unwrap().with_controllers().await.unwrap();
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "strict", "labels": labels}});
    cluster.apply(&namespace.to_string()).await.unwrap();
    let pod = |name: &str, namespace: &str, host: bool| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
            "spec": {"hostNetwork": host, "containers": [{"name": "main", "image": "main"}]}})
        .to_string()
    };
    let refused = async |manifest: String, words: &str| {
        wait_until(SOON, words, async || {
            let error = format!("{:#}", cluster.apply(&manifest).await.err().context("it was taken")?);
            ensure!(error.contains(words), "{error}");
            Ok(())
        })
        .await
    };
    refused(pod("agent", "strict", true), "violates PodSecurity \"restricted:latest\"").await.unwrap();
    cluster.apply(&pod("agent", "default", true)).await.unwrap();

    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few", "namespace": "default"},
        "spec": {"hard": {"pods": "1"}}});
    cluster.apply(&quota.to_string()).await.unwrap();
    wait_until(SOON, "the quota is counted", async || {
        let used = field(&cluster, "/api/v1/namespaces/default/resourcequotas/few", "/status/used/pods").await;
        ensure!(used == json!("1"), "{used}");
        Ok(())
    })
    .await
    .unwrap();
    refused(pod("second", "default", false), "exceeded quota: few").await.unwrap();
}

#[tokio::test]
async fn real_service_accounts_may_do_what_their_role_says_and_the_audit_log_tells() {
    let world = World::new().unwrap();
    let cluster = Kubernetes::start(&world).await.unwrap();
    cluster.apply(READER).await.unwrap();
    let token = cluster.token("default", "reader").await.unwrap();
    let status = async |token: &str, method: Method, path: &str| cluster.call(token, method, path, None).await.unwrap().status;

    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    assert_eq!(status(&token, Method::GET, deployments).await, 200);
    assert_eq!(status(&token, Method::GET, &format!("{deployments}/none")).await, 404);
    for (method, path) in [
        (Method::DELETE, format!("{deployments}/none")),
        (Method::GET, "/apis/apps/v1/namespaces/kube-system/deployments".to_owned()),
        (Method::GET, "/api/v1/namespaces/default/pods".to_owned()),
        (Method::GET, "/api/v1/nodes".to_owned()),
    ] {
        assert_eq!(status(&token, method.clone(), &path).await, 403, "{method} {path}");
    }
    assert_eq!(status("nobody's", Method::GET, deployments).await, 401);

    let kubeconfig = cluster.kubeconfig_for_service_account("default", "reader").await.unwrap();
    let can = async |verb: &str, resource: &str| {
        cluster.kubectl_with(&kubeconfig, &["auth", "can-i", verb, resource]).await.unwrap().stdout.trim().to_owned()
    };
    assert_eq!(can("list", "deployments.apps").await, "yes");
    assert_eq!(can("watch", "deployments.apps").await, "no");

    wait_until(SOON, "all requests are in the audit log", async || {
        let counts = [("list", "deployments.apps"), ("delete", "deployments.apps"), ("list", "pods"), ("list", "nodes")];
        let counts = counts.map(|(verb, resource)| cluster.asked(READER_USER, verb, resource).unwrap());
        ensure!(counts == [2, 1, 1, 1], "{counts:?}");
        Ok(())
    })
    .await
    .unwrap();
    let requests = cluster.requests().unwrap();
    let codes: Vec<_> =
        requests.iter().filter(|one| one.user == READER_USER && one.resource == "nodes").map(|one| one.code).collect();
    assert_eq!(codes, [403]);
}

#[tokio::test]
async fn real_api_server_keeps_its_objects_over_a_kill_and_loses_them_with_etcd() {
    let world = World::new().unwrap();
    let cluster = Kubernetes::start(&world).await.unwrap();
    assert_eq!(field(&cluster, "/version", "/gitVersion").await, json!("v1.37.2"));
    cluster.apply(READER).await.unwrap();
    kubectl(&cluster, &["create", "configmap", "note", "--from-literal=a=b"]).await;
    let token = cluster.token("default", "reader").await.unwrap();
    let before = cluster.object(NOTE).await.unwrap();

    cluster.kill().await.unwrap();
    let gone = cluster.kubectl(&["get", "configmap", "note"]).await.unwrap();
    assert!(gone.code != 0 && gone.stderr.contains("refused"), "{gone:?}");
    cluster.start_again().await.unwrap();
    assert_eq!(cluster.object(NOTE).await.unwrap(), before);
    let reads =
        async || cluster.call(&token, Method::GET, "/apis/apps/v1/namespaces/default/deployments", None).await.unwrap().status;
    assert_eq!(reads().await, 200);

    cluster.empty().await.unwrap();
    assert_eq!(cluster.get(NOTE).await.unwrap().status, 404);
    // The keys are the same, but whom the token was for is gone.
    assert_eq!(reads().await, 401);
}

#[tokio::test]
async fn real_api_server_can_be_frozen_and_cut_off_and_its_name_still_holds() {
    let world = World::new().unwrap();
    let cluster = Kubernetes::start(&world).await.unwrap();
    let proxy = FaultProxy::start(cluster.authority()).unwrap();
    let through = cluster.kubeconfig_at("through", &proxy.address().to_string(), cluster.admin_token()).unwrap();
    let get = async |wait: &str| {
        let args = ["get", "namespace", "default", "-o", "name", &format!("--request-timeout={wait}")];
        cluster.kubectl_with(&through, &args).await.unwrap()
    };
    assert_eq!(get("20s").await.stdout, "namespace/default\n");
    proxy.set(Fault::BlackHole).await.unwrap();
    assert_ne!(get("1s").await.code, 0);
    proxy.clear().await.unwrap();
    assert_eq!(get("20s").await.code, 0);

    cluster.freeze().await.unwrap();
    assert_ne!(get("1s").await.code, 0);
    cluster.thaw();
    assert_eq!(get("20s").await.code, 0);

    // The name that pods know it by is in the certificate, another one is not.
    for (name, holds) in [("kubernetes.default.svc", true), ("kubernetes.example", false)] {
        let ca = reqwest::Certificate::from_pem(&std::fs::read(cluster.ca()).unwrap()).unwrap();
        let client = reqwest::Client::builder().tls_certs_only([ca]).no_proxy().resolve(name, proxy.address());
        let url = format!("https://{name}:{}/readyz", proxy.address().port());
        let asked = client.build().unwrap().get(url).bearer_auth(cluster.admin_token()).send().await;
        assert_eq!(asked.is_ok(), holds, "{name}: {asked:?}");
    }
}

#[tokio::test]
async fn real_kubectl_waits_for_a_condition_of_a_resource_of_ones_own() {
    let world = World::new().unwrap();
    let cluster = Kubernetes::start(&world).await.unwrap();
    cluster.apply(GATES).await.unwrap();
    kubectl(&cluster, &["wait", "crd/gates.tests.phasegate.dev", "--for=condition=Established", "--timeout=30s"]).await;
    let gate =
        json!({"apiVersion": "tests.phasegate.dev/v1", "kind": "Gate", "metadata": {"name": "loki", "namespace": "default"}});
    cluster.apply(&gate.to_string()).await.unwrap();

    let wait = ["wait", "gate/loki", "--for=condition=Open", "--timeout=30s"];
    let vain = cluster.kubectl(&["wait", "gate/loki", "--for=condition=Open", "--timeout=1s"]).await.unwrap();
    assert!(vain.code == 1 && vain.stderr.contains("timed out"), "{vain:?}");
    let open = r#"{"status": {"conditions": [{"type": "Open", "status": "True"}]}}"#;
    let patch = ["patch", "gate/loki", "--subresource=status", "--type=merge", "--patch", open];
    let watched = async || {
        // It is patched when somebody waits.
        wait_until(SOON, "kubectl watches it", async || {
            ensure!(cluster.asked("admin", "watch", "gates.tests.phasegate.dev")? >= 2, "not yet");
            Ok(())
        })
        .await?;
        cluster.kubectl(&patch).await
    };
    let (waited, patched) = tokio::try_join!(cluster.kubectl(&wait), watched()).unwrap();
    assert_eq!((patched.code, waited.code), (0, 0), "{patched:?} {waited:?}");
    assert_eq!(waited.stdout, "gate.tests.phasegate.dev/loki condition met\n");
}

#[tokio::test]
async fn real_services_lead_to_what_listens_in_the_place_of_a_pod() {
    let world = World::new().unwrap();
    let cluster = Kubernetes::start(&world).await.unwrap().with_controllers().await.unwrap();
    let address = Kubernetes::outward().unwrap();
    cluster.add_nodes(&[("here".to_owned(), address)]).await.unwrap();
    let listener = tokio::net::TcpListener::bind((address, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = axum::Router::new().route("/ready", axum::routing::get(async || "from the pod"));
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn(async move { axum::serve(listener, app).await });

    let labels = json!({"app": "loki"});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "loki", "namespace": "default", "labels": labels},
        "spec": {"hostNetwork": true, "containers": [{"name": "loki", "image": "loki"}]}});
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "loki", "namespace": "default"},
        "spec": {"selector": labels, "ports": [{"name": "http", "port": 3100, "targetPort": port}]}});
    cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": [pod, service]}).to_string()).await.unwrap();
    let path = "/api/v1/namespaces/default/services/http:loki:http/proxy/ready";
    let answer = wait_until(SOON, "the service answers", async || {
        let answer = cluster.get(path).await?;
        ensure!(answer.status == 200, "{}: {}", answer.status, answer.body);
        Ok(answer)
    });
    assert_eq!(answer.await.unwrap().body, "from the pod");
}
