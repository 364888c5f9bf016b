//! Steps and undos that fail, take too long, or are not verified.

use futures::future::join_all;
use tests::wait_until;

use super::bench::FORWARD;
use super::{Bench, STEPS};
use crate::product::PATIENCE;

/// What is done, and taken back, when a step before the point of no return fails.
fn there_and_back(failed: usize) -> Vec<String> {
    let forward = STEPS.iter().take(failed + 1).map(|step| format!("do {step}"));
    let back = STEPS.iter().take(failed + 1).rev().map(|step| format!("undo {step}"));
    forward.chain(back).collect()
}

fn words(trace: &[String]) -> Vec<&str> {
    trace.iter().map(String::as_str).collect()
}

#[tokio::test]
async fn a_step_that_fails_before_the_point_of_no_return_takes_everything_back() {
    let rows = (0..2).map(async |failed| {
        let (bench, row) = (Bench::new().await, format!("step {} fails", STEPS[failed]));
        bench.tell("do", STEPS[failed], "fail");
        let output = bench.runs(&["begin", "move"]).await;
        assert_eq!(output.code, 10, "{row}: {}", output.stderr);
        assert!(output.stderr.contains("exited with 3") && output.stderr.contains("told to fail"), "{}", output.stderr);
        bench.is_back(&row, &words(&there_and_back(failed))).await;
        bench.go("do", STEPS[failed]);
        assert_eq!(bench.runs(&["advance"]).await.code, 0, "{row}: it can begin anew");
    });
    join_all(rows).await;
}

#[tokio::test]
async fn a_step_that_fails_behind_the_point_of_no_return_takes_nothing_back() {
    let rows = (2..4).map(async |failed| {
        let (bench, row) = (Bench::new().await, format!("step {} fails", STEPS[failed]));
        bench.tell("do", STEPS[failed], "fail");
        let output = bench.runs(&["begin", "move"]).await;
        assert_eq!(output.code, 12, "{row}: {}", output.stderr);
        let mut states = ["done"; 4];
        states[failed] = "failed";
        states[failed + 1..].fill("-");
        bench.stands(&row, "active", states, &FORWARD[..=failed]).await;
        bench.is_unlocked(&row).await;
        assert_eq!(bench.cutover(&["advance", "--yes"]).await.code, 1, "{row}: advance does not go on by itself");
        bench.go("do", STEPS[failed]);
        assert_eq!(bench.runs(&["resume"]).await.code, 0, "{row}: it goes on");
        let again = [&FORWARD[..=failed], &FORWARD[failed..]].concat();
        bench.has_switched(&row, &again).await;
    });
    join_all(rows).await;
}

#[tokio::test]
async fn a_step_that_takes_too_long_has_failed() {
    let rows = (0..4).map(async |held| {
        let (bench, row) = (Bench::with("4s", "").await, format!("step {} hangs", STEPS[held]));
        bench.tell("do", STEPS[held], "hold");
        let output = bench.runs(&["begin", "move"]).await;
        assert!(output.stderr.contains("took longer than 4s"), "{row}: {}", output.stderr);
        if held < 2 {
            assert_eq!(output.code, 10, "{row}: {}", output.stderr);
            bench.is_back(&row, &words(&there_and_back(held))).await;
        } else {
            assert_eq!(output.code, 12, "{row}: {}", output.stderr);
            assert_eq!(bench.trace(), FORWARD[..=held], "{row}");
        }
    });
    join_all(rows).await;
}

#[tokio::test]
async fn a_step_whose_probe_does_not_turn_green_has_failed() {
    let bench = Bench::with("4s", "").await;
    bench.new_side.says("fail");
    let output = bench.runs(&["begin", "move"]).await;
    assert_eq!(output.code, 10, "{}", output.stderr);
    assert!(output.stderr.contains("not verified within 4s"), "{}", output.stderr);
    bench.is_back("step two is not verified", &words(&there_and_back(1))).await;
}

#[tokio::test]
async fn an_undo_that_fails_leaves_word_for_word_what_is_left() {
    let rows =
        [("two", vec!["undo two"], ["failed", "undoFailed"]), ("one", vec!["undo two", "undo one"], ["undoFailed", "undone"])];
    let rows = rows.map(async |(broken, back, states)| {
        let (bench, row) = (Bench::new().await, format!("the undo of step {broken} fails"));
        bench.tell("do", "two", "fail");
        bench.tell("undo", broken, "fail");
        let output = bench.runs(&["begin", "move"]).await;
        assert_eq!(output.code, 12, "{row}: {}", output.stderr);
        let first = if broken == "two" { "done" } else { states[0] };
        let trace = [vec!["do one", "do two"], back.clone()].concat();
        bench.stands(&row, "active", [first, states[1], "-", "-"], &trace).await;
        let left = format!("1. {broken}: sh step.sh undo {broken}");
        assert!(output.stderr.contains(&left), "{row}: {}", output.stderr);
        let forward = bench.runs(&["resume"]).await;
        assert_eq!(forward.code, 1, "{row}: nothing goes forward half-way back: {}", forward.stderr);
        bench.go("undo", broken);
        let output = bench.runs(&["rollback", "move", "--reason", "mended"]).await;
        assert_eq!(output.code, 0, "{row}: {}", output.stderr);
        let rest = if broken == "two" { vec!["undo two", "undo one"] } else { vec!["undo one"] };
        bench.is_back(&row, &[trace, rest].concat()).await;
    });
    join_all(rows).await;
}

#[tokio::test]
async fn a_red_of_an_earlier_phase_refuses_the_first_step_and_holds_the_next_ones() {
    let (bench, row) = (Bench::new().await, "red before the first step");
    bench.base.says("fail");
    crate::product::looks(&bench.verifier, "base-well", "red", "").await;
    let output = bench.runs(&["begin", "move"]).await;
    assert_eq!(output.code, 1, "{row}: {}", output.stderr);
    bench.stands(row, "waiting", ["-"; 4], &[]).await;
    bench.is_unlocked(row).await;

    let rows = (0..2).map(async |last| {
        let (bench, row) = (Bench::with("6s", "").await, format!("red after step {}", STEPS[last]));
        let process = bench.held_in(STEPS[last]).await;
        bench.base.says("fail");
        crate::product::looks(&bench.verifier, "base-well", "red", "").await;
        bench.go("do", STEPS[last]);
        bench.reaches(&format!("undo {}", STEPS[last]), 1).await;
        bench.base.says("pass");
        crate::product::looks(&bench.verifier, "base-well", "green", "").await;
        wait_until(PATIENCE, "the regression is acknowledged", async || {
            let said = bench.verifier.cutover(&["regression", "ack", "base", "--reason", "mended"]).await?;
            anyhow::ensure!(said.code == 0, "{}", said.stderr);
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(bench.ends(&process).await, 10, "{row}: {}", process.log());
        bench.is_back(&row, &words(&there_and_back(last))).await;
    });
    join_all(rows).await;
}

#[tokio::test]
async fn behind_the_point_of_no_return_no_regression_stops_a_run() {
    let bench = Bench::new().await;
    let process = bench.held_in("three").await;
    bench.base.says("fail");
    crate::product::looks(&bench.verifier, "base-well", "red", "").await;
    bench.go("do", "three");
    assert_eq!(bench.ends(&process).await, 0, "{}", process.log());
    bench.has_switched("red behind the point of no return", &FORWARD).await;
}

#[tokio::test]
async fn a_step_that_asks_for_a_password_has_failed_at_once() {
    let bench = Bench::new().await;
    bench.tell("do", "one", "ask");
    let output = bench.on_a_terminal().await;
    assert_eq!(output.code, 10, "{}", output.stdout);
    assert!(output.stdout.contains("asked for something on the terminal"), "{}", output.stdout);
    bench.is_back("a password is asked for", &words(&there_and_back(0))).await;
}

#[tokio::test]
async fn behind_a_point_of_no_return_that_a_probe_has_seen_nothing_is_taken_back() {
    let (bench, row) = (Bench::new().await, "a probe sees it in step two");
    bench.tell("do", "two", "hold");
    let process = bench.starts(&["begin", "move"]);
    bench.reaches("do two", 1).await;
    bench.mark.says("pass");
    wait_until(PATIENCE, "the point of no return is crossed", async || {
        let phase = bench.phase().await;
        anyhow::ensure!(phase["ponrCrossed"]["by"] == "verifier", "{phase}");
        Ok(())
    })
    .await
    .unwrap();
    bench.tell("do", "two", "fail");
    assert_eq!(bench.ends(&process).await, 12, "{row}: {}", process.log());
    bench.stands(row, "active", ["done", "failed", "-", "-"], &FORWARD[..2]).await;
    let unsure = bench.cutover(&["abort", "--yes"]).await;
    assert_eq!(unsure.code, 2, "{row}: {}", unsure.stderr);
    bench.verifier.kill9().await.unwrap();
    let unsure = bench.cutover(&["abort", "--yes"]).await;
    assert_eq!(unsure.code, 2, "{row}: without the verifier, too: {}", unsure.stderr);
    assert_eq!(bench.trace(), FORWARD[..2], "{row}");
    bench.verifier.start_again().await.unwrap();
    bench.go("do", "two");
    let output = bench.runs(&["resume"]).await;
    assert_eq!(output.code, 0, "{row}: {}", output.stderr);
    bench.has_switched(row, &["do one", "do two", "do two", "do three", "do four"]).await;
}
