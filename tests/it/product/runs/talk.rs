//! What a run says to the person in front of it, word for word.

use regex::Regex;
use tests::wait_until;

use super::Bench;
use crate::product::{PATIENCE, looks};

/// Times, hashes, names of this machine and spans change from run to run.
fn fixed(stderr: &str) -> String {
    let changes = [
        (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
        (r"\d\d:\d\d:\d\dZ", "TIME"),
        (r"\b(plan|config) [0-9a-f]{8}\b", "$1 HASH"),
        (r"http://127\.0\.0\.1:\d+", "http://verifier:9470"),
        (r"\(((\d+(h|m|s|ms)|<1s) ?)+ ago\)", "(SPAN ago)"),
        (r"(at most|after|within|waited) (\d+(h|m|s|ms) ?)+", "$1 SPAN "),
    ];
    let text =
        changes.iter().fold(stderr.to_owned(), |text, (from, to)| Regex::new(from).unwrap().replace_all(&text, *to).into());
    settled(&text)
}

/// Without the waits whose number depends on the machine: for a run of a probe that began after the step, and all but the
/// first for a guard.
fn settled(text: &str) -> String {
    let mut lines = Vec::new();
    let mut held = false;
    let mut all = text.lines().map(str::trim_end).peekable();
    while let Some(line) = all.next() {
        if !line.contains(": waiting, at most ") {
            lines.push(line);
            continue;
        }
        let mut wait = vec![line];
        while let Some(more) = all.next_if(|next| next.starts_with("  ")) {
            wait.push(more);
        }
        let guard = wait.iter().any(|line| line.contains("can not go on"));
        if guard && !held {
            lines.extend(wait);
        }
        held |= guard;
    }
    lines.join("\n")
}

#[tokio::test]
async fn a_run_that_arrives() {
    let bench = Bench::new().await;
    let output = bench.runs(&["begin", "move"]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    insta::assert_snapshot!("talk_happy", format!("{}\n--- stdout\n{}", fixed(&output.stderr), output.stdout));
}

#[tokio::test]
async fn a_run_that_fails_and_goes_back() {
    let bench = Bench::new().await;
    bench.tell("do", "two", "fail");
    let output = bench.runs(&["begin", "move"]).await;
    assert_eq!(output.code, 10, "{}", output.stderr);
    insta::assert_snapshot!("talk_back", fixed(&output.stderr));
}

#[tokio::test]
async fn a_run_whose_way_back_is_stuck() {
    let bench = Bench::new().await;
    bench.tell("do", "two", "fail");
    bench.tell("undo", "two", "fail");
    let output = bench.runs(&["begin", "move"]).await;
    assert_eq!(output.code, 12, "{}", output.stderr);
    insta::assert_snapshot!("talk_stuck", fixed(&output.stderr));
}

#[tokio::test]
async fn a_run_that_a_guard_holds_for_a_while() {
    let bench = Bench::new().await;
    let process = bench.held_in("one").await;
    bench.base.says("fail");
    looks(&bench.verifier, "base-well", "red", "").await;
    bench.go("do", "one");
    bench.says(&process, "step two: waiting").await;
    bench.base.says("pass");
    looks(&bench.verifier, "base-well", "green", "").await;
    wait_until(PATIENCE, "the regression is acknowledged", async || {
        let said = bench.verifier.cutover(&["regression", "ack", "base", "--reason", "mended"]).await?;
        anyhow::ensure!(said.code == 0, "{}", said.stderr);
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(bench.ends(&process).await, 0, "{}", process.log());
    insta::assert_snapshot!("talk_held", fixed(&process.stderr()));
}
