//! The verification checklist.

use std::time::Duration;

use serde_json::{Value, json};

use super::world::{REFUSED, World};
use crate::api::types::ReportBody;
use crate::event::Wish;

async fn report(world: &World) -> Value {
    let answer = world.get("/v1/report").await;
    assert_eq!(answer.code(), 200, "{}", answer.text);
    let body: ReportBody = serde_json::from_str(&answer.text).unwrap();
    assert_eq!(serde_json::to_value(body).unwrap(), answer.json());
    answer.json()
}

#[tokio::test(start_paused = true)]
async fn a_complete_phase_keeps_what_it_was_completed_on() {
    let world = World::switched().await;
    world
        .wish(Wish::Override {
            probe: "beat".into(),
            reason: "sender is down".into(),
            ticket: None,
            ttl: Duration::from_mins(10),
        })
        .await;
    world.soak(&["a", "beat"]).await;
    world.wish(Wish::Complete("one".into())).await;
    for _ in 0..2 {
        world.see("a", REFUSED.because("connection refused")).await;
    }
    assert_eq!(world.post("/v1/regressions/one/ack", Some(json!({"reason": "a cable"}))).await.code(), 200);
    let body = report(&world).await;
    insta::with_settings!({filters => vec![("[0-9a-f]{64}", "[hash]"), (r#""version": "[^"]+""#, r#""version": "[version]""#)]}, {
        insta::assert_snapshot!(serde_json::to_string_pretty(&body["phases"][0]).unwrap());
    });
    let head = world.get("/v1/audit?limit=1").await.json()["head"].clone();
    assert_eq!(body["head"], head, "it can be tied to the trail");
    let (then, now) = (&body["phases"][0]["criteria"][0]["atCompletion"], &body["phases"][0]["criteria"][0]);
    assert_eq!((&then["state"], &now["state"]), (&"green".into(), &"red".into()));
}

#[tokio::test(start_paused = true)]
async fn it_goes_on_from_where_the_last_report_ended_and_over_a_restart() {
    let world = World::open().await;
    let first = report(&world).await;
    assert_eq!(first["phases"][0]["completion"], Value::Null);
    world.wish(Wish::Complete("one".into())).await;
    let second = report(&world).await;
    assert_eq!(second["phases"][0]["completion"]["by"], "test");
    assert!(second["head"]["seq"].as_u64() > first["head"]["seq"].as_u64());
    let world = world.restarted(Duration::from_secs(30)).await;
    let third = report(&world).await;
    assert_eq!(third["phases"][0]["completion"], second["phases"][0]["completion"]);
    assert_eq!(third["phases"][0]["criteria"][0]["atCompletion"], second["phases"][0]["criteria"][0]["atCompletion"]);
    assert_eq!(third["phases"][0]["criteria"][0]["state"], "unknown", "what was proven then says nothing about now");
    world.wish(Wish::Rollback("one".into(), "second thoughts".into())).await;
    let back = report(&world).await;
    assert_eq!(
        (&back["phases"][0]["completion"], &back["phases"][0]["criteria"][0]["atCompletion"]),
        (&Value::Null, &Value::Null)
    );
}

#[tokio::test(start_paused = true)]
async fn an_adopted_phase_was_proven_by_nothing() {
    let world = World::new().await;
    world.wish(Wish::Adopt("one".into(), "moved in May".into())).await;
    let body = report(&world).await;
    assert_eq!((&body["phases"][0]["adopted"], &body["phases"][0]["completion"]), (&"moved in May".into(), &Value::Null));
}
