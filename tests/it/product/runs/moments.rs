//! What goes away between two steps, before the point of no return, and while a step is being verified.

use std::sync::Arc;

use futures::future::join_all;
use rustix::process::Signal;
use serde_json::json;
use tests::Process;

use super::Bench;
use super::bench::FORWARD;
use crate::product::looks;

/// Where a run stands when something happens to it.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// The guard is shut before this step, though nothing is red.
    Before(&'static str),
    /// The work of this step is over, and its probe is not green yet.
    Verifying(&'static str),
}

const MOMENTS: [Moment; 4] =
    [Moment::Before("two"), Moment::Before("three"), Moment::Verifying("two"), Moment::Verifying("four")];

impl Moment {
    /// Runs the phase up to here.
    async fn reach(self, bench: &Bench) -> Arc<Process> {
        match self {
            Self::Before(step) => {
                let last = if step == "two" { "one" } else { "two" };
                let process = bench.held_in(last).await;
                bench.base.says("unknown");
                looks(&bench.verifier, "base-well", "unknown", "").await;
                bench.go("do", last);
                bench.says(&process, &format!("step {step}: waiting")).await;
                process
            }
            Self::Verifying(step) => {
                let process = bench.held_in(step).await;
                bench.new_side.says("unknown");
                looks(&bench.verifier, "new-side", "unknown", "").await;
                bench.go("do", step);
                bench.says(&process, &format!("step {step}: waiting")).await;
                process
            }
        }
    }

    /// What holds the run is over.
    async fn pass(self, bench: &Bench) {
        let (script, probe) = match self {
            Self::Before(_) => (&bench.base, "base-well"),
            Self::Verifying(_) => (&bench.new_side, "new-side"),
        };
        script.says("pass");
        looks(&bench.verifier, probe, "green", "").await;
    }
}

#[tokio::test]
async fn a_terminal_that_is_killed_at_any_moment_is_resumed() {
    let rows = MOMENTS.map(async |moment| {
        let (bench, row) = (Bench::new().await, format!("cutover is killed: {moment:?}"));
        let process = moment.reach(&bench).await;
        process.kill().await.unwrap();
        moment.pass(&bench).await;
        let output = bench.runs(&["resume"]).await;
        assert_eq!(output.code, 0, "{row}: {}", output.stderr);
        bench.has_switched(&row, &FORWARD).await;
    });
    join_all(rows).await;
}

#[tokio::test]
async fn a_verifier_that_is_killed_at_any_moment_and_comes_back_goes_unnoticed() {
    let rows = MOMENTS.map(async |moment| {
        let (bench, row) = (Bench::new().await, format!("the verifier is killed and started again: {moment:?}"));
        let process = moment.reach(&bench).await;
        bench.verifier.kill9().await.unwrap();
        bench.verifier.start_again().await.unwrap();
        moment.pass(&bench).await;
        assert_eq!(bench.ends(&process).await, 0, "{row}: {}", process.log());
        bench.has_switched(&row, &FORWARD).await;
    });
    join_all(rows).await;
}

#[tokio::test]
async fn an_interrupt_at_any_moment_leaves_something_that_can_be_resumed() {
    let rows = MOMENTS.map(async |moment| {
        let (bench, row) = (Bench::new().await, format!("Ctrl-C: {moment:?}"));
        let process = moment.reach(&bench).await;
        process.signal(Signal::INT);
        // A step that runs is verified first; one that does not is not started.
        if let Moment::Verifying(_) = moment {
            moment.pass(&bench).await;
        }
        let code = bench.ends(&process).await;
        let last = matches!(moment, Moment::Verifying("four"));
        assert_eq!(code, if last { 0 } else { 130 }, "{row}: {}", process.log());
        if let Moment::Before(_) = moment {
            moment.pass(&bench).await;
        }
        if !last {
            assert!(process.stderr().contains("`cutover resume`"), "{row}: {}", process.log());
            bench.is_unlocked(&row).await;
            assert_eq!(bench.runs(&["resume"]).await.code, 0, "{row}");
        }
        bench.has_switched(&row, &FORWARD).await;
    });
    join_all(rows).await;
}

#[tokio::test]
async fn a_lock_that_is_taken_away_at_any_moment_ends_the_run() {
    let rows = MOMENTS.map(async |moment| {
        let (bench, row) = (Bench::new().await, format!("the lock is released by force: {moment:?}"));
        let process = moment.reach(&bench).await;
        let lock = bench.verifier.get("/v1/lock").await.unwrap().json().unwrap();
        let id = lock["lock"]["id"].to_string();
        let released = bench.cutover(&["lock", "release", &id, "--reason", "the laptop is lost", "--yes"]).await;
        assert_eq!(released.code, 0, "{row}: {}", released.stderr);
        assert_eq!(bench.ends(&process).await, 5, "{row}: {}", process.log());
        moment.pass(&bench).await;
        let output = bench.runs(&["resume"]).await;
        assert_eq!(output.code, 0, "{row}: {}", output.stderr);
        bench.has_switched(&row, &FORWARD).await;
    });
    join_all(rows).await;
}

/// The lock of somebody who was never heard of again.
async fn lapsed(bench: &Bench) -> u64 {
    let request = json!({"phase": "move", "place": "a laptop", "ttlSeconds": 1});
    let lock = bench.verifier.post("/v1/lock", &request).await.unwrap();
    assert_eq!(lock.status, 201, "{}", lock.body);
    lock.json().unwrap()["id"].as_u64().unwrap()
}

async fn expires(bench: &Bench) {
    tests::wait_until(crate::product::PATIENCE, "the lock's holder is silent for too long", async || {
        let lock = bench.verifier.get("/v1/lock").await?.json()?;
        anyhow::ensure!(lock["lock"]["heardSeconds"].as_f64() > Some(1.0), "{lock}");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_lock_that_expires_with_nothing_begun_passes_on_and_fences_its_holder_off() {
    let (bench, row) = (Bench::new().await, "the lock expires before the first step");
    let old = lapsed(&bench).await;
    expires(&bench).await;
    let output = bench.runs(&["begin", "move"]).await;
    assert_eq!(output.code, 0, "{row}: {}", output.stderr);
    bench.has_switched(row, &FORWARD).await;
    let late = bench.verifier.post(&format!("/v1/lock/{old}/renew"), &json!({})).await.unwrap();
    assert_eq!(late.status, 423, "{row}: {}", late.body);
}

#[tokio::test]
async fn a_lock_that_expires_half_way_passes_to_nobody_but_by_force() {
    let (bench, row) = (Bench::new().await, "the lock expires after step one");
    let old = lapsed(&bench).await;
    let post = async |path: &str, body: serde_json::Value| {
        let answer = bench.verifier.post(path, &body).await.unwrap();
        assert_eq!(answer.status, 200, "{row}: {path}: {}", answer.body);
    };
    let hash = bench.verifier.get("/v1/status").await.unwrap().json().unwrap()["configHash"].clone();
    let terms = json!({"lock": old, "document": hash});
    post("/v1/phases/move/begin", terms.clone()).await;
    post("/v1/phases/move/steps/one/start", json!({"way": "do", "terms": terms})).await;
    bench.did("one");
    post("/v1/phases/move/steps/one/end", json!({"end": "done", "terms": terms})).await;
    expires(&bench).await;
    for verb in ["resume", "advance", "abort"] {
        let output = bench.runs(&[verb]).await;
        assert_eq!(output.code, 5, "{row}: {verb}: {}", output.stderr);
        assert!(output.stderr.contains("a laptop"), "{row}: {verb}: {}", output.stderr);
    }
    let output = bench.cutover(&["lock", "release", &old.to_string(), "--reason", "the laptop is lost", "--yes"]).await;
    assert_eq!(output.code, 0, "{row}: {}", output.stderr);
    let output = bench.runs(&["resume"]).await;
    assert_eq!(output.code, 0, "{row}: {}", output.stderr);
    bench.has_switched(row, &FORWARD[1..]).await;
}
