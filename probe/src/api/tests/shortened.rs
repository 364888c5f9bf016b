//! A trail whose beginning is no longer kept.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;
use tower::ServiceExt;

use super::world::{Answer, REFUSED, World};
use crate::api::app;
use crate::event::Wish;

fn now(world: &World) -> DateTime<Utc> {
    world.ledger.clock().now().utc
}

async fn at(world: &World, time: DateTime<Utc>) -> Answer {
    let time = time.to_rfc3339_opts(SecondsFormat::Millis, true);
    world.get(&format!("/v1/gates/one/at?time={time}")).await
}

/// As whoever has read nothing of it yet tells it; without what only tells when it was asked.
async fn report_anew(world: &World) -> Value {
    let (router, _) = app(world.state.clone());
    let response = router.oneshot(Request::get("/v1/report").body(Body::empty()).unwrap()).await.unwrap();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    timeless(serde_json::from_slice(&bytes).unwrap())
}

async fn report(world: &World) -> Value {
    timeless(world.get("/v1/report").await.json())
}

fn timeless(mut report: Value) -> Value {
    for phase in report["phases"].as_array_mut().unwrap() {
        for field in ["criteria", "overridesEver", "regressionsEver", "completion"] {
            assert!(phase.get(field).is_some(), "{phase}");
        }
        let kept: Vec<Value> = phase["criteria"].as_array().unwrap().iter().map(|one| one["atCompletion"].clone()).collect();
        *phase = serde_json::json!([
            phase["name"],
            phase["state"],
            kept,
            phase["overridesEver"],
            phase["regressionsEver"],
            phase["completion"]
        ]);
    }
    serde_json::json!([report["head"], report["recordedSince"], report["phases"]])
}

fn head(page: &Value) -> u64 {
    page["head"]["seq"].as_u64().unwrap()
}

/// Begun, overridden, completed and regressed, with the moments at which that was.
async fn story() -> (World, Vec<DateTime<Utc>>) {
    let world = World::new().await;
    let mut moments = vec![now(&world)];
    world.wish(Wish::Begin("one".into())).await;
    world.wish(Wish::Switch("one".into())).await;
    for probe in ["a", "beat"] {
        world.control(probe).await;
    }
    world.soak(&["a", "beat"]).await;
    moments.push(now(&world));
    let ttl = Duration::from_secs(7);
    world.wish(Wish::Override { probe: "beat".into(), reason: "sender is down".into(), ticket: None, ttl }).await;
    world.wish(Wish::Complete("one".into())).await;
    world.soak(&["a", "beat"]).await;
    moments.push(now(&world));
    for _ in 0..2 {
        world.see("a", REFUSED.because("connection refused")).await;
    }
    world.soak(&["beat"]).await;
    moments.push(now(&world));
    world.wish(Wish::Rollback("one".into(), "a hole".into())).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    moments.push(now(&world));
    (world, moments)
}

#[tokio::test(start_paused = true)]
async fn wherever_it_is_cut_what_is_told_is_right_or_said_to_be_no_longer_kept() {
    let (world, moments) = story().await;
    let mut before = Vec::new();
    for time in &moments {
        before.push(at(&world, *time).await.json());
    }
    let whole = report(&world).await;
    let all = world.get("/v1/audit?from=1&limit=1000").await.json();
    assert!(all.get("anchor").is_none(), "{all}");
    let frames = all["frames"].as_array().unwrap();
    let (mut told, mut gone) = (0, 0);
    for cut in 1..head(&all) {
        world.store.forget(cut).unwrap();
        let first = &frames[usize::try_from(cut).unwrap()];
        let page = world.get("/v1/audit?limit=1").await.json();
        assert_eq!((&page["frames"][0], &page["anchor"]["seq"]), (first, &cut.into()));
        assert_eq!(page["anchor"]["hash"], first["prev"]);
        for from in [1, cut] {
            let answer = world.get(&format!("/v1/audit?from={from}")).await;
            let body = answer.json();
            assert_eq!((answer.code(), &body["code"]), (410, &"no_longer_kept".into()), "{body}");
            let message = body["message"].as_str().unwrap();
            assert!(message.contains(&format!("begins with event {}, of 2026-03-01 12:00:", cut + 1)), "{message}");
            assert!(body["hint"].as_str().unwrap().contains("cutover audit list"), "{body}");
        }
        assert_eq!(report_anew(&world).await, whole, "cut after {cut}");
        for (time, then) in moments.iter().zip(&before) {
            let answer = at(&world, *time).await;
            if answer.code() == 410 {
                let body = answer.json();
                assert_eq!(body["code"], "no_longer_kept", "{body}");
                let newest: DateTime<Utc> = frames[usize::try_from(cut).unwrap() - 1]["utc"].as_str().unwrap().parse().unwrap();
                assert!(*time < newest, "the last one that is gone is of {newest}, asked was {time}");
                gone += 1;
            } else {
                assert_eq!(&answer.json(), then, "cut after {cut}, at {time}");
                told += 1;
            }
        }
    }
    assert!(told > 20 && gone > 20, "{told} {gone}");
}

#[tokio::test(start_paused = true)]
async fn a_report_that_had_read_less_than_is_gone_goes_on_from_what_is_left() {
    let (world, _) = story().await;
    report(&world).await;
    world.wish(Wish::Begin("one".into())).await;
    world.wish(Wish::Switch("one".into())).await;
    let end = head(&world.get("/v1/audit").await.json());
    world.store.forget(end - 1).unwrap();
    assert_eq!(report(&world).await, report_anew(&world).await);
    assert_eq!(report(&world).await[2][0][1], "active");
}

#[tokio::test(start_paused = true)]
async fn how_much_is_gone_is_a_metric() {
    let world = World::open().await;
    let scrape = || world.metrics.render(&world.ledger.read(), false).unwrap();
    assert!(scrape().contains("\nphasegate_ledger_dropped_events 0\n"));
    world.store.forget(3).unwrap();
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert!(scrape().contains("\nphasegate_ledger_dropped_events 3\n"), "{}", scrape());
    let world = world.restarted(Duration::from_secs(1)).await;
    assert!(world.metrics.render(&world.ledger.read(), false).unwrap().contains("\nphasegate_ledger_dropped_events 3\n"));
}
