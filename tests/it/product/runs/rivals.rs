//! Two operators, a lock that is taken away, a document that changes under a run.

use std::collections::BTreeMap;

use futures::future::join_all;
use serde_json::json;
use tests::{Output, Role};

use super::bench::FORWARD;
use super::{Bench, STEPS};

#[tokio::test]
async fn fifty_advances_at_once_are_one_run() {
    let bench = Bench::new().await;
    let process = bench.held_in("one").await;
    let first: Vec<Output> = join_all((0..49).map(|_| bench.runs(&["advance"]))).await;
    for output in &first {
        assert_eq!(output.code, 5, "{}", output.stderr);
        assert!(
            output.stderr.contains("test-operate on ") && output.stderr.contains("at work on phase move since"),
            "{}",
            output.stderr
        );
    }
    bench.go("do", "one");
    assert_eq!(bench.ends(&process).await, 0, "{}", process.log());
    bench.has_switched("49 others", &FORWARD).await;
}

#[tokio::test]
async fn of_many_that_start_in_the_same_moment_one_runs() {
    let bench = Bench::new().await;
    let all: Vec<Output> = join_all((0..12).map(|_| bench.runs(&["advance"]))).await;
    let mut codes = BTreeMap::new();
    for output in &all {
        *codes.entry(output.code).or_insert(0) += 1;
    }
    assert_eq!(codes.get(&0), Some(&1), "{codes:?}");
    bench.has_switched("twelve at once", &FORWARD).await;
}

#[tokio::test]
async fn a_lock_that_is_taken_away_ends_a_run_and_another_goes_on() {
    let rows = STEPS.map(async |step| {
        let (bench, row) = (Bench::new().await, format!("the lock is released by force in step {step}"));
        let process = bench.held_in(step).await;
        let lock = bench.verifier.get("/v1/lock").await.unwrap().json().unwrap();
        let id = lock["lock"]["id"].to_string();
        let early = bench.verifier.post(&format!("/v1/lock/{id}/release"), &json!({})).await.unwrap();
        assert_eq!(early.status, 409, "{row}: its own holder does not lose a step: {}", early.body);
        let released = bench.cutover(&["lock", "release", &id, "--reason", "the laptop is lost", "--yes"]).await;
        assert_eq!(released.code, 0, "{row}: {}", released.stderr);
        bench.go("do", step);
        assert_eq!(bench.ends(&process).await, 5, "{row}: {}", process.log());
        let output = bench.runs(&["resume"]).await;
        assert_eq!(output.code, 0, "{row}: {}", output.stderr);
        bench.has_switched(&row, &FORWARD).await;
    });
    join_all(rows).await;
}

#[tokio::test]
async fn a_document_that_changes_under_a_run_stops_it_before_the_next_step() {
    let bench = Bench::new().await;
    let process = bench.held_in("one").await;
    bench.reloads("59s").await;
    bench.go("do", "one");
    assert_eq!(bench.ends(&process).await, 5, "{}", process.log());
    bench.stands("another document", "active", ["done", "-", "-", "-"], &FORWARD[..1]).await;
    assert_eq!(bench.runs(&["resume"]).await.code, 0, "its own copy is the new one now");
    bench.has_switched("another document", &FORWARD).await;
}

#[tokio::test]
async fn a_plan_is_approved_by_somebody_else_and_refused_once_anything_has_moved() {
    let bench = Bench::with("60s", "    fourEyes: true\n").await;
    let file = bench.world.dir().join("move.plan").display().to_string();
    let planned = bench.cutover(&["plan", "move", "--out", &file]).await;
    assert_eq!(planned.code, 0, "{}", planned.stderr);
    assert!(planned.stdout.contains("POINT OF NO RETURN") && planned.stdout.contains("four eyes"), "{}", planned.stdout);
    let alone = bench.runs(&["begin", "move", "--plan", &file]).await;
    assert_eq!(alone.code, 1, "{}", alone.stderr);
    let own = bench.cutover(&["approve", "move", "--plan", &file]).await;
    assert_eq!(own.code, 4, "to approve is a role of its own: {}", own.stderr);
    let approved = bench.verifier.cutover_as(Role::Approve, &["approve", "move", "--plan", &file]).await.unwrap();
    assert_eq!(approved.code, 0, "{}", approved.stderr);
    let waiver = json!({"probe": "new-side", "reason": "something moves", "ttlSeconds": 600});
    assert_eq!(bench.verifier.post("/v1/overrides", &waiver).await.unwrap().status, 201);
    let moved = bench.runs(&["begin", "move", "--plan", &file]).await;
    assert_eq!(moved.code, 5, "{}", moved.stderr);
    assert_eq!(bench.cutover(&["override", "revoke", "0"]).await.code, 0);
    let begun = bench.runs(&["begin", "move", "--plan", &file]).await;
    assert_eq!(begun.code, 0, "{}", begun.stderr);
    bench.has_switched("approved", &FORWARD).await;
}
