use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::*;
use crate::kubernetes::testing::{Api, lease};
use crate::testing::{check, outcome_at};

fn pod(name: &str, node: &str) -> Value {
    let conditions = json!([{"type": "Ready", "status": "True"}]);
    let status = json!({"phase": "Running", "conditions": conditions});
    json!({"metadata": {"name": name, "uid": name}, "spec": {"nodeName": node, "containers": []}, "status": status})
}

fn slice(endpoints: &[(&str, bool)]) -> Value {
    let endpoints: Vec<Value> = endpoints
        .iter()
        .map(|(pod, ready)| {
            let target = json!({"kind": "Pod", "name": pod});
            json!({"addresses": ["10.0.0.1"], "conditions": {"ready": ready}, "targetRef": target})
        })
        .collect();
    json!({"metadata": {"name": "loki-abc"}, "addressType": "IPv4", "endpoints": endpoints})
}

#[tokio::test(start_paused = true)]
async fn a_service_leads_to_enough_of_the_right_pods() {
    let api = Api::start();
    for (name, node) in [("loki-0", "n1"), ("loki-1", "n2")] {
        api.put("pods", pod(name, node));
        api.put("leases", lease(node, "00:00:00"));
    }
    api.put("endpointslices", slice(&[("loki-0", true), ("loki-1", true)]));
    let cx = api.context();
    let check: Endpoints = check(json!({"namespace": "obs", "service": "loki", "pods": "app=loki", "min": 2}));
    let told = async || {
        sleep(Duration::from_millis(10)).await;
        let outcome = outcome_at(&check, &cx).await;
        outcome.reason().map_or_else(|| "pass".to_owned(), ToString::to_string)
    };
    assert_eq!(told().await, "node_awaited");
    let renew = |time: &str, nodes: &[&str]| nodes.iter().for_each(|node| api.put("leases", lease(node, time)));
    renew("00:00:10", &["n1", "n2"]);
    assert_eq!(told().await, "pass");
    assert_eq!(Check::control(&check, &cx, ()).await.reason(), Some(&TOO_FEW_ENDPOINTS.into()));
    api.put("endpointslices", slice(&[("loki-0", true), ("loki-1", false)]));
    assert_eq!(told().await, "too_few_endpoints");
    api.put("endpointslices", slice(&[("loki-0", true), ("loki-1", true), ("grafana-0", true)]));
    assert_eq!(told().await, "other_pods");
    api.put("endpointslices", slice(&[("loki-0", true), ("loki-1", true)]));
    assert_eq!(told().await, "pass");
    for n in 1..10 {
        sleep(Duration::from_secs(5)).await;
        renew(&format!("00:01:{n:02}"), &["n1"]);
    }
    assert_eq!(told().await, "node_silent");
    api.delete("endpointslices", "loki-abc");
    assert_eq!(told().await, "too_few_endpoints");
}
