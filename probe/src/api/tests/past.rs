//! A gate as it was.

use std::time::Duration;

use checks::Outcome;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

use super::world::{Answer, LATER, REFUSED, World, phase, plan, probe};
use crate::api::types::PastBody;
use crate::event::Wish;
use crate::plan::{Plan, ProbePlan};

fn now(world: &World) -> DateTime<Utc> {
    world.ledger.clock().now().utc
}

fn text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

async fn ask(world: &World, phase: &str, time: DateTime<Utc>) -> Answer {
    world.get(&format!("/v1/gates/{phase}/at?time={}", text(time))).await
}

async fn was(world: &World, time: DateTime<Utc>) -> Value {
    let answer = ask(world, "one", time).await;
    assert_eq!(answer.code(), 200, "{}", answer.text);
    assert!(serde_json::from_str::<PastBody>(&answer.text).is_ok(), "{}", answer.text);
    let body = answer.json();
    assert!(body.get("open").is_none(), "what was opens nothing");
    assert_eq!(body["blockers"].as_array().unwrap().is_empty(), body["verdict"] == "open", "{body}");
    body
}

/// What a gate says now, as far as it can be asked for later.
async fn is(world: &World, phase: &str) -> (DateTime<Utc>, Value) {
    let gate = world.get(&format!("/v1/gates/{phase}")).await.json();
    let probes = world.get("/v1/probes").await.json();
    let own = probes["probes"].as_array().unwrap().iter().filter(|probe| probe["phase"] == phase);
    let colours: Vec<_> = own.map(|probe| json!([probe["name"], probe["state"]])).collect();
    let evaluated = gate["evaluatedAt"].as_str().unwrap().parse().unwrap();
    (evaluated, json!([gate["verdict"], gate["phaseState"], gate["configHash"], gate["overridden"], colours]))
}

/// The same of the past.
async fn then(world: &World, phase: &str, time: DateTime<Utc>) -> Value {
    let gate = ask(world, phase, time).await.json();
    let own = gate["probes"].as_array().unwrap().iter().filter(|probe| probe["phase"] == phase);
    let colours: Vec<_> = own.clone().map(|probe| json!([probe["name"], probe["state"]])).collect();
    let counts = |probe: &Value| probe["overridden"] == true;
    let overridden = gate["probes"].as_array().unwrap().iter().any(counts);
    json!([gate["verdict"], gate["phaseState"], gate["configHash"], overridden, colours])
}

fn waiting(world: &World) -> Outcome {
    Outcome::Waiting { reason: LATER.into(), due: now(world) + TimeDelta::hours(1), evidence: "not due".into() }
}

/// Whatever happened, each moment is later told as it was told then.
#[tokio::test(start_paused = true)]
async fn every_moment_is_told_as_it_was() {
    let world = World::new().await;
    let mut seen = Vec::new();
    let second = Duration::from_secs(1);
    for round in 0_u32..90 {
        match round {
            3 => world.wish(Wish::Begin("one".into())).await,
            5 => world.wish(Wish::Switch("one".into())).await,
            40 => {
                world
                    .wish(Wish::Override {
                        probe: "beat".into(),
                        reason: "sender is down".into(),
                        ticket: None,
                        ttl: Duration::from_secs(7),
                    })
                    .await;
            }
            60 => world.wish(Wish::Complete("one".into())).await,
            65 => world.wish(Wish::Rollback("one".into(), "second thoughts".into())).await,
            70 => {
                let mut other = plan();
                let changed = ProbePlan { hash: "another".into(), ..other.phases[0].probes[0].clone() };
                other.phases[0].probes[0] = changed;
                world.ledger.configure(Plan::new("homelab", "another", other.phases).into()).await.unwrap();
            }
            _ => {}
        }
        if round == 1 || round == 30 || round == 72 {
            for probe in ["a", "beat"] {
                world.control(probe).await;
            }
        }
        match round {
            20..=23 => world.see("a", REFUSED.because("connection refused")).await,
            38..=47 => world.see("beat", waiting(&world)).await,
            71..=80 => {}
            _ => world.pass(&["a", "beat"]).await,
        }
        tokio::time::sleep(second).await;
        for phase in ["one", "two"] {
            seen.push((phase, is(&world, phase).await));
        }
    }
    let mut verdicts = std::collections::BTreeSet::new();
    for (phase, (time, expected)) in seen {
        assert_eq!(then(&world, phase, time).await, expected, "{phase} at {}", text(time));
        verdicts.insert(expected[0].as_str().unwrap().to_owned());
    }
    assert_eq!(verdicts.len(), 4, "{verdicts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_red_then_is_told_with_its_evidence() {
    let world = World::open().await;
    let opened = now(&world);
    world.see("a", REFUSED.because("connection refused")).await;
    world.see("a", REFUSED.because("connection refused")).await;
    let red = now(&world);
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.soak(&["a", "beat"]).await;
    world.soak(&["a", "beat"]).await;
    let body = was(&world, red).await;
    insta::with_settings!({filters => vec![("[0-9a-f]{64}", "[hash]")]}, {
        insta::assert_snapshot!(serde_json::to_string_pretty(&body).unwrap());
    });
    let open = was(&world, opened).await;
    assert_eq!((&open["verdict"], &open["blockers"], &open["gap"]), (&"open".into(), &json!([]), &Value::Null));
    assert!(open["reason"].as_str().unwrap().starts_with("open since 2026-03-01 12:00:"), "{}", open["reason"]);
    let until: DateTime<Utc> = open["until"].as_str().unwrap().parse().unwrap();
    assert!(until > opened && until <= red, "{open}");
}

#[tokio::test(start_paused = true)]
async fn while_the_verifier_was_down_nobody_knew_anything() {
    let world = World::open().await;
    let opened = now(&world);
    let world = world.restarted(Duration::from_mins(5)).await;
    world.pass(&["a", "beat"]).await;
    let down = was(&world, opened + TimeDelta::minutes(3)).await;
    assert_eq!(
        (&down["verdict"], &down["gap"]["reason"], &down["gap"]["recorded"]),
        (&"unknown".into(), &"not_running".into(), &"open".into())
    );
    let reason = down["reason"].as_str().unwrap();
    assert!(reason.starts_with("unknown: the verifier did not run between 2026-03-01 12:00:"), "{reason}");
    assert!(reason.contains("; recorded last: open since 2026-03-01 12:00:"), "{reason}");
    assert_eq!((&down["probes"][0]["state"], &down["probes"][0]["reason"]), (&"unknown".into(), &"not_running".into()));
    assert_eq!(down["phaseState"], "active");
    assert_eq!(was(&world, opened).await["verdict"], "open", "before it, it is as it was");
    let up = was(&world, now(&world)).await;
    assert_eq!((&up["verdict"], &up["gap"]), (&"unknown".into(), &Value::Null), "{up}");
}

#[tokio::test(start_paused = true)]
async fn a_frozen_evaluator_says_nothing_about_its_own_silence() {
    let world = World::open().await;
    let opened = now(&world);
    world.freeze(Duration::from_mins(1)).await;
    // Nobody writes any more, so there is nobody to read either: what is known is only said as far as it reaches.
    let answer = ask(&world, "one", opened + TimeDelta::seconds(30)).await;
    assert_eq!(answer.code(), 503, "{}", answer.text);
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_can_not_be_written_tells_no_more_than_it_holds() {
    let world = World::open().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.store.fail(Some(std::io::ErrorKind::StorageFull));
    world.see("a", REFUSED.because("connection refused")).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let body = was(&world, now(&world) - TimeDelta::seconds(1)).await;
    assert_eq!((&body["verdict"], &body["gap"]["reason"]), (&"unknown".into(), &"not_evaluated".into()), "{body}");
    world.store.fail(None);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(was(&world, now(&world) - TimeDelta::seconds(7)).await["gap"], Value::Null, "what waited is in the record now");
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_answered_says_why() {
    let world = World::open().await;
    let here = now(&world);
    for (path, code, words) in [
        (format!("/v1/gates/one/at?time={}", text(here - TimeDelta::hours(1))), 410, "it begins 2026-03-01 12:00:00Z"),
        (format!("/v1/gates/one/at?time={}", text(here + TimeDelta::hours(1))), 400, "has not been yet"),
        (format!("/v1/gates/three/at?time={}", text(here)), 404, "there is one, two"),
        ("/v1/gates/one/at".to_owned(), 400, "`time` is missing"),
        ("/v1/gates/one/at?time=yesterday".to_owned(), 400, "no RFC 3339 moment"),
    ] {
        let answer = world.get(&path).await;
        assert_eq!(answer.code(), code, "{path}: {}", answer.text);
        let body = answer.json();
        assert!(body["message"].as_str().unwrap().contains(words), "{path}: {body}");
        assert!(!body["hint"].as_str().unwrap_or_default().is_empty(), "{path}: {body}");
    }
    let local = here.with_timezone(&chrono::FixedOffset::east_opt(3600).unwrap());
    let plus = world.get(&format!("/v1/gates/one/at?time={}", local.to_rfc3339_opts(SecondsFormat::Millis, true))).await;
    assert_eq!((plus.code(), &plus.json()["verdict"]), (200, &"open".into()), "an unescaped plus: {}", plus.text);
}

#[tokio::test(start_paused = true)]
async fn a_phase_that_was_not_there_then_was_no_gate() {
    let world = World::new().await;
    let before = now(&world);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut phases = plan().phases;
    phases.push(phase("three", vec![probe("d")]));
    world.ledger.configure(Plan::new("homelab", "more", phases).into()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let answer = ask(&world, "three", before).await;
    assert_eq!(answer.code(), 404, "{}", answer.text);
    assert!(answer.json()["message"].as_str().unwrap().ends_with("there is one, two"), "{}", answer.text);
    assert_eq!(ask(&world, "three", now(&world)).await.code(), 200);
}

#[tokio::test(start_paused = true)]
async fn refused_attempts_are_in_the_trail() {
    let world = World::new().await;
    assert_eq!(world.post("/v1/phases/one/complete", None).await.code(), 424);
    for _ in 0..50 {
        assert_eq!(world.post("/v1/phases/one/complete", None).await.code(), 424);
    }
    tokio::time::sleep(Duration::from_secs(90)).await;
    let frames = world.get("/v1/audit?limit=1000").await.json()["frames"].clone();
    let refused: Vec<_> =
        frames.as_array().unwrap().iter().map(|frame| &frame["event"]).filter(|event| event["event"] == "refused").collect();
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert_eq!(
        (&refused[0]["what"], &refused[0]["stamp"]["by"], &refused[0]["phase"]),
        (&"complete one".into(), &"ann".into(), &"one".into())
    );
    assert_eq!((&refused[0]["kind"], &refused[1]["times"]), (&"gate_unknown".into(), &50.into()));
}
