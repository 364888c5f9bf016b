use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::*;
use crate::Fact;
use crate::kubernetes::testing::{Api, lease};
use crate::testing::check;

fn claim(uid: &str) -> Value {
    json!({
        "metadata": {"name": "storage-loki-0", "uid": uid},
        "spec": {"volumeName": "pv-1"},
        "status": {"phase": "Bound", "capacity": {"storage": "10Gi"}},
    })
}

fn disk(uid: &str) -> Value {
    let spec = json!({"persistentVolumeReclaimPolicy": "Delete", "claimRef": {"uid": uid}});
    json!({"metadata": {"name": "pv-1"}, "spec": spec, "status": {"phase": "Bound"}})
}

fn owner(scaled: &str, deleted: &str) -> Value {
    json!({
        "metadata": {"name": "loki", "uid": "s", "generation": 1},
        "spec": {
            "replicas": 1, "serviceName": "loki", "selector": {"matchLabels": {"app": "loki"}}, "template": {},
            "volumeClaimTemplates": [{"metadata": {"name": "storage"}, "spec": {}}],
            "persistentVolumeClaimRetentionPolicy": {"whenScaled": scaled, "whenDeleted": deleted},
        },
        "status": {"replicas": 1},
    })
}

async fn world() -> (Api, Context) {
    let api = Api::start();
    api.put("persistentvolumeclaims", claim("a"));
    api.put("persistentvolumes", disk("a"));
    api.put("statefulsets", owner("Retain", "Retain"));
    api.put("leases", lease("n1", "00:00:00"));
    let cx = api.context();
    assert_eq!(told(&cx, &json!({})).await, ["retention node_awaited", "storage-loki-0 node_awaited"]);
    api.put("leases", lease("n1", "00:00:10"));
    sleep(Duration::from_millis(10)).await;
    (api, cx)
}

async fn report(cx: &Context, more: &Value) -> Report<()> {
    sleep(Duration::from_millis(10)).await;
    let mut block = json!({"namespace": "obs", "claim": "storage-loki-0"});
    if more.get("statefulSet").is_some() {
        block = json!({"namespace": "obs"});
    }
    for (key, value) in more.as_object().unwrap() {
        block[key] = value.clone();
    }
    Check::run(&check::<Volume>(block), cx, ()).await
}

/// The parts that do not pass.
async fn told(cx: &Context, more: &Value) -> Vec<String> {
    let Step::Done(parts) = report(cx, more).await.step else { panic!("no proof") };
    parts.iter().filter_map(|(part, outcome)| Some(format!("{part} {}", outcome.reason()?))).collect()
}

const NONE: [&str; 0] = [];

#[tokio::test(start_paused = true)]
async fn a_bound_claim_passes_by_its_name_and_by_its_owners() {
    let (_api, cx) = world().await;
    for more in [json!({}), json!({"statefulSet": "loki"}), json!({"minCapacity": "10Gi"})] {
        assert_eq!(told(&cx, &more).await, NONE, "{more}");
    }
    let report = report(&cx, &json!({})).await;
    assert_eq!(report.identities, BTreeMap::from([("volume obs/storage-loki-0".into(), "a".into())]));
    let control = Check::control(&check::<Volume>(json!({"namespace": "obs", "claim": "storage-loki-0"})), &cx, ()).await;
    assert_eq!(control.reason(), Some(&OTHER_VOLUME.into()));
    assert_eq!(told(&cx, &json!({"minCapacity": "11Gi"})).await, ["storage-loki-0 too_small"]);
    assert_eq!(told(&cx, &json!({"statefulSet": "other"})).await, ["all absent"]);
    assert_eq!(told(&cx, &json!({"claim": "other"})).await, ["other absent"]);
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_deletes_what_it_is_scaled_down_from_is_named() {
    let (api, cx) = world().await;
    for (scaled, deleted) in [("Delete", "Retain"), ("Retain", "Delete"), ("Delete", "Delete")] {
        api.put("statefulsets", owner(scaled, deleted));
        for more in [json!({}), json!({"statefulSet": "loki"})] {
            assert_eq!(told(&cx, &more).await, ["retention deleted_on_scale_down"], "{scaled} {deleted} {more}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_was_made_anew_is_another_one() {
    let (api, mut cx) = world().await;
    let more = json!({"fact": "volume-loki"});
    let outcome = {
        let Step::Done(parts) = report(&cx, &more).await.step else { panic!("no proof") };
        parts[&PartId::new("storage-loki-0")].clone()
    };
    assert_eq!(outcome.reason(), Some(&FACT_MISSING.into()));
    let command = "-d '{\"storage-loki-0\": \"a\"}' $PHASEGATE_SERVER/v1/facts/volume-loki";
    assert!(outcome.evidence().as_str().contains(command), "{}", outcome.evidence());
    let fact = |value| std::sync::Arc::new(BTreeMap::from([("volume-loki".to_owned(), Fact { at: cx.now, value })]));
    let (good, foreign, other) = (fact(json!({"storage-loki-0": "a"})), fact(json!(7)), fact(json!({"x": "a"})));
    cx.facts = foreign;
    assert_eq!(told(&cx, &more).await, ["storage-loki-0 fact_unreadable"]);
    cx.facts = other;
    assert_eq!(told(&cx, &more).await, ["storage-loki-0 fact_missing"]);
    cx.facts = good;
    assert_eq!(told(&cx, &more).await, NONE);
    api.delete("persistentvolumeclaims", "storage-loki-0");
    assert_eq!(told(&cx, &more).await, ["storage-loki-0 absent"]);
    api.put("persistentvolumeclaims", claim("b"));
    assert_eq!(told(&cx, &more).await, ["storage-loki-0 other_volume"]);
    assert_eq!(told(&cx, &json!({})).await, ["storage-loki-0 not_bound"], "its volume is still the other one's");
    api.put("persistentvolumes", disk("b"));
    assert_eq!(told(&cx, &more).await, ["storage-loki-0 other_volume"]);
}

#[tokio::test(start_paused = true)]
async fn a_claim_on_its_way_out_or_without_its_volume_fails() {
    let (api, cx) = world().await;
    let mut deleted = claim("a");
    deleted["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    api.put("persistentvolumeclaims", deleted);
    assert_eq!(told(&cx, &json!({})).await, ["storage-loki-0 being_deleted"]);
    api.put("persistentvolumeclaims", claim("a"));
    api.delete("persistentvolumes", "pv-1");
    assert_eq!(told(&cx, &json!({})).await, ["storage-loki-0 not_bound"]);
}

#[tokio::test(start_paused = true)]
async fn without_news_from_any_node_nothing_passes() {
    let (_api, cx) = world().await;
    sleep(Duration::from_secs(41)).await;
    assert_eq!(told(&cx, &json!({})).await, ["retention no_news", "storage-loki-0 no_news"]);
}
