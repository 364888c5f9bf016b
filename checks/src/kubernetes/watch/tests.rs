use std::time::Duration;

use serde_json::json;
use tokio::time::{advance, sleep};

use super::*;
use crate::Context;
use crate::kubernetes::kinds::Nodes;
use crate::kubernetes::testing::{Api, Manner};
use crate::net::Budget;

async fn look(cx: &Context) -> Result<Vec<String>, Outcome> {
    let sight = cx.clients.cluster.see::<Nodes>(cx, Scope::cluster(), Budget::start(Duration::from_secs(4))).await?;
    Ok(sight.keys().cloned().collect())
}

/// The names, or the reason and its evidence.
async fn told(cx: &Context) -> String {
    match look(cx).await {
        Ok(names) => names.join(" "),
        Err(outcome) => format!("{}: {}", outcome.reason().unwrap(), outcome.evidence()),
    }
}

fn node(name: &str) -> serde_json::Value {
    json!({"metadata": {"name": name}})
}

fn one_node() -> (Api, Context) {
    let api = Api::start();
    api.put("nodes", node("one"));
    let cx = api.context();
    (api, cx)
}

#[tokio::test(start_paused = true)]
async fn changes_are_seen_without_asking_again() {
    let (api, cx) = one_node();
    assert_eq!(told(&cx).await, "one");
    sleep(Duration::from_millis(10)).await;
    api.put("nodes", node("two"));
    sleep(Duration::from_millis(10)).await;
    assert_eq!(told(&cx).await, "one two");
    api.delete("nodes", "one");
    sleep(Duration::from_millis(10)).await;
    assert_eq!(told(&cx).await, "two");
    assert_eq!((api.asked("limit="), api.asked("watch=true")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_costs_four_requests_a_minute_and_is_never_old() {
    let (api, cx) = one_node();
    for _ in 0..600 {
        assert_eq!(told(&cx).await, "one");
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(api.asked("limit="), 1, "bookmarks spare the lists");
    let watches = api.asked("watch=true");
    assert!((38..=42).contains(&watches), "{watches} in ten minutes");
}

#[tokio::test(start_paused = true)]
async fn a_frozen_server_is_unknown_within_25_seconds_and_what_changed_meanwhile_is_never_shown_old() {
    let (api, cx) = one_node();
    assert_eq!(told(&cx).await, "one");
    sleep(Duration::from_secs(14)).await;
    api.behaves(Manner::Frozen);
    api.delete("nodes", "one");
    api.put("nodes", node("new"));
    let frozen = Instant::now();
    while told(&cx).await == "one" {
        sleep(Duration::from_millis(500)).await;
    }
    assert!(frozen.elapsed() <= SILENT, "{:?}", frozen.elapsed());
    for _ in 0..300 {
        assert!(told(&cx).await.starts_with("watch_silent: watch nodes: nothing heard for "), "{}", told(&cx).await);
        sleep(Duration::from_secs(1)).await;
    }
    api.behaves(Manner::Well);
    let back = Instant::now();
    loop {
        let words = told(&cx).await;
        assert_ne!(words, "one");
        if words == "new" {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    assert!(back.elapsed() <= Duration::from_secs(11), "{:?}", back.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_gone_is_listed_anew() {
    let (api, cx) = one_node();
    assert_eq!(told(&cx).await, "one");
    api.behaves(Manner::Forgets);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(told(&cx).await, "one");
    api.behaves(Manner::Well);
    sleep(Duration::from_secs(6)).await;
    assert_eq!(told(&cx).await, "one");
    assert!(api.asked("limit=") > 1);
}

#[tokio::test(start_paused = true)]
async fn a_missing_rule_is_named_ready_to_be_added() {
    let (api, cx) = one_node();
    assert_eq!(told(&cx).await, "one");
    api.behaves(Manner::Denies("nodes"));
    sleep(Duration::from_secs(16)).await;
    let words = told(&cx).await;
    assert_eq!(
        words,
        "forbidden: may not watch nodes of API group \"\"; add to a ClusterRole: \
         {apiGroups: [\"\"], resources: [nodes], verbs: [list, watch]}; nobody may"
    );
    api.behaves(Manner::Well);
    sleep(Duration::from_secs(6)).await;
    assert_eq!(told(&cx).await, "one");
}

#[tokio::test(start_paused = true)]
async fn whatever_else_answers_is_no_sight() {
    let cases = [
        (Manner::Says(200, "text/html", "<html>log in</html>".into()), "api_unreadable"),
        (Manner::Says(401, "application/json", "{\"message\": \"who?\"}".into()), "api_unauthorized"),
        (Manner::Says(403, "text/html", "<html>".into()), "forbidden"),
        (Manner::Says(404, "application/json", "{\"message\": \"no such resource\"}".into()), "api_unreadable"),
        (Manner::Says(302, "text/html", String::new()), "api_unreadable"),
        (Manner::Says(500, "application/json", "{\"message\": \"etcd\"}".into()), "api_unreachable"),
        (Manner::Says(429, "text/plain", "slow".into()), "api_unreadable"),
        (Manner::Says(200, "application/json", String::new()), "api_unreadable"),
        (Manner::Says(200, "application/json", "[]".into()), "api_unreadable"),
        (Manner::Says(200, "application/json", "{\"items\": []}".into()), "api_unreadable"),
        (Manner::Says(200, "application/json", "{\"items\": [{\"metadata\": 7}], \"metadata\": {}}".into()), "api_unreadable"),
        (Manner::Says(200, "application/json", "x".repeat(MAX_BODY + 1)), "api_unreadable"),
        (Manner::Cuts, "api_unreadable"),
        (Manner::Frozen, "api_unreachable"),
    ];
    for (manner, reason) in cases {
        let (api, cx) = one_node();
        api.behaves(manner.clone());
        let words = told(&cx).await;
        assert!(words.starts_with(&format!("{reason}: ")), "{manner:?}: {words}");
        // The same when it was well before: at the latest when it has been silent for long enough.
        let (api, cx) = one_node();
        assert_eq!(told(&cx).await, "one");
        api.behaves(manner.clone());
        sleep(Duration::from_mins(1)).await;
        let words = told(&cx).await;
        assert!(words.starts_with(&format!("{reason}: ")) || words.starts_with("watch_silent: "), "{manner:?}: {words}");
    }
}

#[tokio::test(start_paused = true)]
async fn more_than_can_be_kept_is_not_kept() {
    let (api, cx) = one_node();
    for n in 0..MAX_OBJECTS {
        api.put("nodes", node(&format!("n{n}")));
    }
    assert_eq!(told(&cx).await, "too_many_objects: list nodes: more than 5000");
}

#[tokio::test(start_paused = true)]
async fn whoever_ends_each_watch_at_once_is_no_api_server() {
    let (api, cx) = one_node();
    assert_eq!(told(&cx).await, "one");
    let before = api.asked("");
    api.behaves(Manner::Ends);
    sleep(Duration::from_mins(1)).await;
    let asked = api.asked("") - before;
    assert!(asked < 30, "{asked} requests in a minute");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_nobody_needs_ends() {
    let (api, cx) = one_node();
    assert_eq!(told(&cx).await, "one");
    sleep(Duration::from_mins(10)).await;
    let asked = api.asked("");
    sleep(Duration::from_mins(10)).await;
    assert_eq!(api.asked(""), asked);
    api.put("nodes", node("two"));
    assert_eq!(told(&cx).await, "one two", "it begins anew when somebody asks");
}

#[tokio::test(start_paused = true)]
async fn what_was_known_before_the_machine_slept_is_forgotten() {
    let (api, cx) = one_node();
    assert_eq!(told(&cx).await, "one");
    sleep(Duration::from_secs(1)).await;
    // Nothing of it is heard: the machine sleeps, and its monotonic clock stands still.
    api.0.objects.lock().unwrap().clear();
    api.put("nodes", node("new"));
    let awake = Context { now: cx.now + chrono::TimeDelta::minutes(5), ..cx.clone() };
    assert_eq!(told(&awake).await, "new");
    advance(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn without_a_configuration_there_is_no_cluster() {
    let cx = crate::testing::context();
    if std::env::var_os("KUBECONFIG").is_none() && std::env::var_os("KUBERNETES_SERVICE_HOST").is_none() {
        let words = told(&cx).await;
        assert!(words.starts_with("no_cluster: "), "{words}");
    }
}
