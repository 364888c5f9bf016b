//! The verifier's Role in `deploy/`: all of it is used, nothing else is, and what is missing is said.

use std::collections::BTreeSet;

use anyhow::ensure;
use futures::stream::{self, StreamExt as _};
use serde_json::{Value, json};
use tests::{Kubernetes, World, wait_until};
use tokio::net::TcpListener;

use super::super::PATIENCE;
use super::{NAME, NAMESPACE, Pod, apply, cluster, object, rendered, works};

/// A verb and what it is allowed on, as the audit log says it.
type Right = (String, String);

/// All that a Role's rules allow, one by one: group, resource, verb.
fn single(role: &Value) -> Vec<[String; 3]> {
    let texts = |rule: &Value, key: &str| -> Vec<String> {
        rule[key].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let mut rights = Vec::new();
    for rule in role["rules"].as_array().unwrap() {
        assert!(rule.get("resourceNames").is_none() && rule.get("nonResourceURLs").is_none(), "{rule}");
        for group in texts(rule, "apiGroups") {
            for resource in texts(rule, "resources") {
                rights.extend(texts(rule, "verbs").into_iter().map(|verb| [group.clone(), resource.clone(), verb]));
            }
        }
    }
    rights
}

/// `migrations/status` of phasegate.dev is `migrations.phasegate.dev/status` in the audit log.
fn audited([group, resource, verb]: &[String; 3]) -> Right {
    let (name, sub) = resource.split_once('/').map_or((resource.as_str(), None), |(name, sub)| (name, Some(sub)));
    let group = if group.is_empty() { String::new() } else { format!(".{group}") };
    (verb.clone(), format!("{name}{group}{}", sub.map(|sub| format!("/{sub}")).unwrap_or_default()))
}

/// Somebody says that a gate is open. The verifier puts it right, and tells of the edge.
async fn forge(cluster: &Kubernetes, namespace: &str, name: &str, condition: &str) {
    let path = format!("/apis/phasegate.dev/v1alpha1/namespaces/{namespace}/migrations/{name}");
    let mut one = cluster.object(&path).await.unwrap()["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|one| one["type"] == condition)
        .cloned()
        .unwrap_or(Value::Null);
    if one.is_null() {
        one = json!({"type": condition, "reason": "Forged", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    }
    one["status"] = "True".into();
    let patch = json!({"status": {"conditions": [one]}}).to_string();
    let patched =
        cluster.kubectl(&["patch", "-n", namespace, "mig", name, "--subresource=status", "--type=merge", "-p", &patch]).await;
    let patched = patched.unwrap();
    assert_eq!(patched.code, 0, "{patched:?}");
}

/// An object of the ledger that the ledger does not name, as a verifier leaves it that was killed at the wrong moment.
fn stray(namespace: &str, name: &str) -> Value {
    let metadata = json!({
        "name": format!("{name}-events-0000000001-9"), "namespace": namespace, "labels": {"phasegate.dev/ledger": name},
    });
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"text": ""}})
}

#[tokio::test]
async fn the_verifier_needs_all_that_it_may_do_and_nothing_else() {
    let world = World::new().unwrap();
    let cluster = cluster(&world).await;
    let objects = rendered(&cluster, "overlays/homelab").await;
    let applied = apply(&cluster, "overlays/homelab").await;
    assert_eq!((applied.code, applied.stderr.as_str()), (0, ""), "{applied:?}");
    let kubeconfig = cluster.kubeconfig_for_service_account(NAMESPACE, NAME).await.unwrap();
    let deployment = object(&objects, "Deployment", NAME);

    let first = Pod::start(&world, deployment, &kubeconfig, NAMESPACE);
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        first.answers(&world, container[probe]["httpGet"]["path"].as_str().unwrap()).await;
    }
    wait_until(PATIENCE, "the verifier works", async || works(&cluster, NAMESPACE, "homelab").await).await.unwrap();
    first.stop().await;
    cluster.apply(&stray(NAMESPACE, "homelab").to_string()).await.unwrap();
    let second = Pod::start(&world, deployment, &kubeconfig, NAMESPACE);
    second.answers(&world, "/-/ready").await;
    let since = cluster.requests().unwrap().last().unwrap().at;

    let user = format!("system:serviceaccount:{NAMESPACE}:{NAME}");
    let given: BTreeSet<Right> = single(object(&objects, "Role", NAME)).iter().map(audited).collect();
    wait_until(PATIENCE, "all rights are used", async || {
        forge(&cluster, NAMESPACE, "homelab", "LokiGateOpen").await;
        let asked: Vec<_> = cluster.requests()?.into_iter().filter(|one| one.user == user).collect();
        // The same edge again is told by another verb than the first time.
        let told = asked.iter().filter(|one| one.resource == "events.events.k8s.io" && one.at > since).count();
        ensure!(told >= 3, "{told} edges were told");
        let used: BTreeSet<Right> = asked.iter().map(|one| (one.verb.clone(), one.resource.clone())).collect();
        let refused: Vec<_> = asked.iter().filter(|one| one.code == 403).collect();
        let beyond: Vec<_> = used.difference(&given).collect();
        assert!(refused.is_empty() && beyond.is_empty(), "{refused:?} {beyond:?}");
        ensure!(used == given, "given and not used: {:?}", given.difference(&used).collect::<Vec<_>>());
        Ok(())
    })
    .await
    .unwrap();
    second.stop().await;
}

#[tokio::test]
async fn a_right_that_is_missing_is_said() {
    let world = World::new().unwrap();
    let cluster = cluster(&world).await;
    let objects = rendered(&cluster, "base").await;
    let role = object(&objects, "Role", NAME);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let rights = single(role);
    let cases = rights.iter().enumerate().map(|(number, right)| {
        let (world, cluster, objects, address) = (&world, &cluster, &objects, &address);
        async move {
            let namespace = format!("without-{number}");
            without(cluster, objects, &namespace, right, address).await;
            says(world, cluster, object(objects, "Deployment", NAME), &namespace, right).await
        }
    });
    // A few at a time: each is a verifier of its own.
    let silent: Vec<_> = stream::iter(cases).buffer_unordered(3).collect::<Vec<_>>().await.into_iter().flatten().collect();
    assert!(silent.is_empty(), "{}", silent.join("\n\n"));
}

/// A namespace with everything but one right.
async fn without(cluster: &Kubernetes, objects: &[Value], namespace: &str, right: &[String; 3], address: &str) {
    let rules = single(object(objects, "Role", NAME)).into_iter().filter(|one| one != right);
    let rules: Vec<_> =
        rules.map(|[group, resource, verb]| json!({"apiGroups": [group], "resources": [resource], "verbs": [verb]})).collect();
    let mut items = vec![json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})];
    for kind in ["ServiceAccount", "Role", "RoleBinding"] {
        let mut one = object(objects, kind, NAME).clone();
        one["metadata"]["namespace"] = namespace.into();
        if kind == "Role" {
            one["rules"] = rules.clone().into();
        }
        if kind == "RoleBinding" {
            one["subjects"][0]["namespace"] = namespace.into();
        }
        items.push(one);
    }
    items.push(json!({
        "apiVersion": "phasegate.dev/v1alpha1",
        "kind": "Migration",
        "metadata": {"name": "migration", "namespace": namespace},
        "spec": {"phases": [{
            "name": "move",
            "probes": [{"name": "new-side", "every": "500ms", "timeout": "400ms", "check": {"tcp": {"address": address}}}],
        }]},
    }));
    cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()).await.unwrap();
}

/// Nothing, if the verifier says in its log, or as its last words, what it may not do; otherwise all that it said.
async fn says(world: &World, cluster: &Kubernetes, deployment: &Value, namespace: &str, right: &[String; 3]) -> Option<String> {
    let [_, resource, verb] = right;
    let kubeconfig = cluster.kubeconfig_for_service_account(namespace, NAME).await.unwrap();
    let mut pod = Pod::start(world, deployment, &kubeconfig, namespace);
    if verb == "delete" {
        pod.answers(world, "/-/ready").await;
        pod.stop().await;
        cluster.apply(&stray(namespace, "migration").to_string()).await.unwrap();
        pod = Pod::start(world, deployment, &kubeconfig, namespace);
    }
    let words = format!("cannot {verb} resource \\\"{resource}\\\"");
    let plain = words.replace('\\', "");
    let said = wait_until(PATIENCE, &plain, async || {
        if resource == "events" {
            forge(cluster, namespace, "migration", "MoveGateOpen").await;
        }
        let log = pod.process.log();
        ensure!(log.contains(&words) || log.contains(&plain));
        Ok(())
    })
    .await;
    said.err().map(|error| format!("{error}: {}", pod.process.log()))
}
