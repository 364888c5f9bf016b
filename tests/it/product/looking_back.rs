//! What was: the verdict at a moment of the past, over a restart, and the checklist in every form.

use std::time::Duration;

use anyhow::ensure;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;
use tests::{Output, Verifier, World, wait_until};

use super::{AT_ONCE, PATIENCE, QUICK, Script, migration, now, opened, reaches, switch};

fn text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

async fn then(verifier: &Verifier, time: DateTime<Utc>) -> Value {
    let answer = verifier.get(&format!("/v1/gates/move/at?time={}", text(time))).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json().unwrap()
}

async fn explain(verifier: &Verifier, time: DateTime<Utc>) -> Output {
    verifier.cutover(&["gate", "explain", "move", "--at", &text(time)]).await.unwrap()
}

/// Waits until so much time has gone by.
async fn after(span: Duration) {
    let since = now();
    let gone = async || {
        ensure!((now() - since).to_std()? >= span, "not yet");
        Ok(())
    };
    wait_until(PATIENCE, "time goes by", gone).await.unwrap();
}

#[tokio::test]
async fn three_moments_are_told_as_they_were_whoever_tells_them() {
    let world = World::new().unwrap();
    let steady = Script::new(&world, "steady");
    let document = migration(QUICK, "{}", AT_ONCE, &[&steady.probe()]);
    let verifier = Verifier::start_scripted(&world, &document).await.unwrap();
    let begun = now();
    opened(&verifier).await;
    let open = now();
    verifier.kill9().await.unwrap();
    // After the last thing that it has written, and before the next verifier.
    after(Duration::from_millis(50)).await;
    let down = now();
    after(Duration::from_millis(50)).await;
    steady.says("fail");
    verifier.start_again().await.unwrap();
    reaches(&verifier, "closed").await;
    let closed = now();
    steady.says("pass");
    reaches(&verifier, "open").await;

    for round in ["as the second verifier tells it", "as the third does"] {
        for (time, verdict, code) in [(down, "unknown", 3), (closed, "closed", 1)] {
            let body = then(&verifier, time).await;
            assert_eq!((&body["verdict"], body.get("open")), (&verdict.into(), None), "{round}: {body}");
            let said = explain(&verifier, time).await;
            assert_eq!(said.code, code, "{round}: {said:?}");
            assert!(said.stdout.contains("opens nothing"), "{round}: {said:?}");
        }
        // What a killed verifier saw after its last checkpoint is not known to have gone on: open, or nobody knows.
        let body = then(&verifier, open).await;
        assert!(["open", "unknown"].contains(&body["verdict"].as_str().unwrap()), "{round}: {body}");
        let dark = explain(&verifier, down).await;
        assert!(dark.stdout.contains("the verifier did not run between"), "{round}: {dark:?}");
        assert!(dark.stdout.contains("recorded last: open since"), "{round}: {dark:?}");
        let red = then(&verifier, closed).await;
        assert_eq!(
            (&red["probes"][0]["state"], &red["blockers"][0]["probe"]),
            (&"red".into(), &"steady".into()),
            "{round}: {red}"
        );
        let early = explain(&verifier, begun - chrono::TimeDelta::hours(1)).await;
        assert_eq!(early.code, 13, "{round}: {early:?}");
        assert!(early.stderr.contains("it begins"), "{round}: {early:?}");
        assert_eq!(verifier.sigterm().await.unwrap().code(), Some(0));
        verifier.start_again().await.unwrap();
        reaches(&verifier, "open").await;
    }
    let verified = verifier.cutover(&["audit", "verify"]).await.unwrap();
    assert_eq!(verified.code, 0, "{verified:?}");
}

#[tokio::test]
async fn an_ordered_stop_leaves_no_doubt_about_what_was_before_it() {
    let world = World::new().unwrap();
    let steady = Script::new(&world, "steady");
    let verifier = Verifier::start_scripted(&world, &migration(QUICK, "{}", AT_ONCE, &[&steady.probe()])).await.unwrap();
    opened(&verifier).await;
    let open = now();
    assert_eq!(verifier.sigterm().await.unwrap().code(), Some(0));
    after(Duration::from_millis(50)).await;
    let down = now();
    after(Duration::from_millis(50)).await;
    verifier.start_again().await.unwrap();
    reaches(&verifier, "open").await;
    assert_eq!((&then(&verifier, open).await["verdict"], explain(&verifier, open).await.code), (&"open".into(), 0));
    assert_eq!(then(&verifier, down).await["verdict"], "unknown");
}

#[tokio::test]
async fn the_report_keeps_what_a_phase_was_completed_on_in_three_forms() {
    let world = World::new().unwrap();
    let steady = Script::new(&world, "steady");
    let verifier = Verifier::start_scripted(&world, &migration(QUICK, "{}", AT_ONCE, &[&steady.probe()])).await.unwrap();
    let early = verifier.cutover(&["complete", "move"]).await.unwrap();
    assert!(matches!(early.code, 1 | 3), "{early:?}");
    switch(&verifier).await;
    reaches(&verifier, "open").await;
    let done = verifier.cutover(&["advance"]).await.unwrap();
    assert_eq!(done.code, 0, "{done:?}");
    verifier.kill9().await.unwrap();
    steady.says("fail");
    verifier.start_again().await.unwrap();
    reaches(&verifier, "closed").await;

    let markdown = verifier.cutover(&["report"]).await.unwrap();
    assert_eq!(markdown.code, 0, "{markdown:?}");
    for words in ["## move: complete", "- [ ] steady (scripted): RED", "  - when the phase was completed: GREEN since"] {
        assert!(markdown.stdout.contains(words), "{words}: {markdown:?}");
    }
    let html = verifier.cutover(&["report", "--html"]).await.unwrap();
    assert_eq!(html.code, 0, "{html:?}");
    assert!(html.stdout.starts_with("<!DOCTYPE html>") && !html.stdout.contains("<script"), "{html:?}");
    assert!(html.stdout.contains("when the phase was completed: <strong class=\"green\">GREEN</strong>"), "{html:?}");
    let body = verifier.cutover(&["report", "-o", "json"]).await.unwrap();
    let body: Value = serde_json::from_str(&body.stdout).unwrap();
    let criterion = &body["phases"][0]["criteria"][0];
    assert_eq!((&criterion["state"], &criterion["atCompletion"]["state"]), (&"red".into(), &"green".into()), "{body}");
    let seq = body["phases"][0]["completion"]["event"]["seq"].as_u64().unwrap();
    let frame = verifier.get(&format!("/v1/audit?from={seq}&limit=1")).await.unwrap().json().unwrap()["frames"][0].clone();
    assert_eq!(
        (&frame["hash"], &frame["event"]["event"]),
        (&body["phases"][0]["completion"]["event"]["hash"], &"phaseCompleted".into())
    );

    let history = verifier.cutover(&["history"]).await.unwrap();
    assert_eq!(history.code, 0, "{history:?}");
    for words in
        ["test-operate  was refused to complete move", "began phase move", "completed phase move", "nothing is known of the"]
    {
        assert!(history.stdout.contains(words), "{words}: {history:?}");
    }
    assert_eq!(then(&verifier, now()).await["verdict"], "closed");
}

#[tokio::test]
async fn a_frozen_verifier_does_not_claim_to_have_looked() {
    let world = World::new().unwrap();
    let steady = Script::new(&world, "steady");
    let probe = steady.probe_with(", maxAge: 1m");
    let verifier = Verifier::start_scripted(&world, &migration(QUICK, "{}", AT_ONCE, &[&probe])).await.unwrap();
    opened(&verifier).await;
    let open = now();
    after(Duration::from_millis(1100)).await;
    verifier.freeze().await.unwrap();
    after(Duration::from_secs(2)).await;
    let frozen = now();
    after(Duration::from_secs(3)).await;
    verifier.thaw();
    let told = wait_until(PATIENCE, "it looks again", async || {
        let body = then(&verifier, frozen).await;
        ensure!(body["gap"]["to"].is_string(), "{body}");
        Ok(body)
    });
    let told = told.await.unwrap();
    assert_eq!((&told["verdict"], &told["gap"]["reason"]), (&"unknown".into(), &"not_evaluated".into()), "{told}");
    assert_eq!(then(&verifier, open).await["verdict"], "open");
}
