use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::*;
use crate::TargetKind;
use crate::kubernetes::testing::{Api, Manner};

fn pod(name: &str, node: &str, address: Option<&str>, ready: bool) -> Value {
    let conditions = json!([{"type": "Ready", "status": if ready { "True" } else { "False" }}]);
    let status = json!({"phase": "Running", "podIP": address, "conditions": conditions});
    json!({"metadata": {"name": name, "uid": name}, "spec": {"nodeName": node, "containers": []}, "status": status})
}

fn world() -> (Api, Context) {
    let api = Api::start();
    for (node, address) in [("n1", "10.0.0.1"), ("n2", "10.0.0.2")] {
        api.put("nodes", json!({"metadata": {"name": node}}));
        api.put("pods", pod(&format!("alloy-{node}"), node, Some(address), true));
    }
    let target = json!({"alloy": {"pods": {"namespace": "obs", "selector": "app=alloy", "port": 12345}}});
    let targets = BTreeMap::from([("alloys".to_owned(), serde_json::from_value(target).unwrap())]);
    let cx = Context { targets: Arc::new(targets), ..api.context() };
    (api, cx)
}

/// Each node and where it is asked, the nodes that can not be, and those that are there; or the reason.
async fn found(cx: &Context) -> Result<(Vec<String>, Vec<String>, Vec<String>), String> {
    sleep(Duration::from_millis(10)).await;
    let uses = [TargetUse { field: "alloy", kind: Some(TargetKind::Alloy), name: "alloys".into() }];
    let cx = resolve(cx, &uses).await.map_err(|outcome| outcome.reason().unwrap().to_string())?.unwrap();
    let target: &AlloyTarget = cx.target("alloys").unwrap();
    let urls = target.urls.iter().map(|url| format!("{} {url}", target.part(url))).collect();
    let mut report = Report::new(Step::Done(BTreeMap::new()), ());
    target.found.as_ref().unwrap().complete(&mut report);
    let Step::Done(parts) = report.step else { panic!("no proof") };
    let names = |part: &PartId| part.to_string();
    Ok((urls, parts.keys().map(names).collect(), report.named.unwrap().iter().map(names).collect()))
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn each_node_is_asked_where_its_pod_is_now() {
    let (api, cx) = world();
    let nodes = words(&["n1", "n2"]);
    let both = words(&["n1 http://10.0.0.1:12345/", "n2 http://10.0.0.2:12345/"]);
    assert_eq!(found(&cx).await, Ok((both, vec![], nodes.clone())));
    // The pod is replaced: the new one is asked as soon as it has an address, and until then the node is missing.
    api.delete("pods", "alloy-n2");
    api.put("pods", pod("alloy-x", "n2", None, false));
    let one = words(&["n1 http://10.0.0.1:12345/"]);
    assert_eq!(found(&cx).await, Ok((one.clone(), words(&["n2"]), nodes.clone())));
    api.put("pods", pod("alloy-x", "n2", Some("fd00::2"), false));
    let moved = words(&["n1 http://10.0.0.1:12345/", "n2 http://[fd00::2]:12345/"]);
    assert_eq!(found(&cx).await, Ok((moved, vec![], nodes.clone())));
    // Nobody runs one there any more, but the node is there: it is among those that can be missed. Then it is not.
    api.delete("pods", "alloy-x");
    assert_eq!(found(&cx).await, Ok((one.clone(), vec![], nodes)));
    api.delete("nodes", "n2");
    assert_eq!(found(&cx).await, Ok((one, vec![], words(&["n1"]))));
    api.delete("pods", "alloy-n1");
    assert_eq!(found(&cx).await, Err("no_pods".into()));
}

#[tokio::test(start_paused = true)]
async fn of_two_pods_on_a_node_the_ready_one_is_asked() {
    let (api, cx) = world();
    api.put("pods", pod("alloy-zz", "n1", Some("10.0.0.9"), false));
    let (urls, ..) = found(&cx).await.unwrap();
    assert_eq!(urls[0], "n1 http://10.0.0.1:12345/");
    let mut leaving = pod("alloy-n1", "n1", Some("10.0.0.1"), true);
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    api.put("pods", leaving);
    let (urls, pending, _) = found(&cx).await.unwrap();
    assert_eq!((urls[0].as_str(), pending), ("n1 http://10.0.0.9:12345/", vec![]));
}

#[tokio::test(start_paused = true)]
async fn without_a_sight_of_the_cluster_nobody_is_asked() {
    let (api, cx) = world();
    api.behaves(Manner::Denies("nodes"));
    assert_eq!(found(&cx).await, Err("forbidden".into()));
}
