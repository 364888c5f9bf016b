//! What happens to a phase is marked in a real Grafana, each event once, and whatever Grafana does changes no verdict.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Fault, FaultProxy, Grafana, Verifier, World, wait_until};
use tokio::time::Instant;

use super::{AT_ONCE, PATIENCE, QUICK, Script, looks, migration, opened, reaches, replace, succeeded, switch};

/// Within that the verifier has to end, and waits for nothing that goes on.
const SOON: Duration = Duration::from_secs(2);

/// A document whose one probe does what it is told, marked in the Grafana at this URL by the token in a file.
fn document(world: &World, url: &str, token: &str) -> (String, Script, PathBuf) {
    let (script, file) = (Script::new(world, "told"), world.dir().join("annotations.token"));
    replace(&file, token.as_bytes());
    let targets = format!("{{shown: {{grafana: {{url: \"{url}\"}}}}}}");
    let text = migration(QUICK, &targets, AT_ONCE, &[&script.probe()]);
    let annotations =
        format!("  annotations: {{grafana: shown, token: {{file: \"{}\"}}, tags: [home]}}\n  phases:\n", file.display());
    (text.replacen("  phases:\n", &annotations, 1), script, file)
}

/// All that is annotated, the oldest first.
async fn marks(grafana: &Grafana) -> Result<Vec<Value>> {
    let answer = grafana.as_admin(Method::GET, "/api/annotations?limit=100").send().await?;
    let mut marks: Vec<Value> = answer.error_for_status()?.json().await?;
    marks.sort_by_key(|mark| (mark["time"].as_i64(), mark["id"].as_i64()));
    Ok(marks)
}

fn text(mark: &Value) -> String {
    let text = mark["text"].as_str().unwrap_or_default();
    text.strip_prefix("phase move of migration product: ").unwrap_or_else(|| panic!("{mark}")).to_owned()
}

/// Waits until exactly this is marked.
async fn marked(grafana: &Grafana, expected: &[&str]) -> Vec<Value> {
    wait_until(PATIENCE, "what happened is marked", async || {
        let marks = marks(grafana).await?;
        let texts: Vec<String> = marks.iter().map(text).collect();
        ensure!(texts == expected, "{texts:?}");
        Ok(marks)
    })
    .await
    .unwrap()
}

/// Waits until the verifier says this of its annotations.
async fn says(verifier: &Verifier, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    wait_until(PATIENCE, what, async || {
        let body = verifier.get("/v1/status").await?.json()?["annotations"][0].clone();
        ensure!(holds(&body), "{body}");
        Ok(body)
    })
    .await
    .unwrap()
}

async fn post(verifier: &Verifier, path: &str, body: Value) {
    wait_until(PATIENCE, path, async || succeeded(verifier.post(path, &body).await?)).await.unwrap();
}

#[tokio::test]
async fn each_event_is_marked_once_also_by_a_verifier_that_was_killed() {
    let world = World::new().unwrap();
    let grafana = Grafana::start(&world, "http://127.0.0.1:1").await.unwrap();
    let token = grafana.token("annotations", "Editor").await.unwrap();
    let (document, script, _) = document(&world, grafana.url(), &token);
    let verifier = Verifier::start_scripted(&world, &document).await.unwrap();
    says(&verifier, "the token was tried out", |body| body["proven"].is_string() && body["problem"].is_null()).await;
    assert_eq!(marks(&grafana).await.unwrap().len(), 0, "to try it out makes no mark");

    opened(&verifier).await;
    let so_far = ["begun by test-operate", "switched by test-operate"];
    let found = marked(&grafana, &so_far).await;
    for (mark, tag) in found.iter().zip(["begun", "switched"]) {
        let tags: Vec<&str> = mark["tags"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        for wanted in ["phasegate", "migration:product", "phase:move", tag, "home"] {
            assert!(tags.contains(&wanted), "{wanted}: {tags:?}");
        }
        assert_eq!(tags.iter().filter(|tag| tag.starts_with("phasegate-event:")).count(), 1, "{tags:?}");
    }
    let status = verifier.get("/v1/status").await.unwrap().json().unwrap();
    let begun: chrono::DateTime<chrono::Utc> = status["phases"][0]["begun"]["at"].as_str().unwrap().parse().unwrap();
    assert_eq!(found[0]["time"], begun.timestamp_millis(), "when it happened");

    post(&verifier, "/v1/phases/move/complete", json!({})).await;
    // Killed before, while or after it marks that: once more, a moment later.
    verifier.kill9().await.unwrap();
    verifier.start_again().await.unwrap();
    let so_far = [&so_far[..], &["completed by test-operate"]].concat();
    marked(&grafana, &so_far).await;
    says(&verifier, "all three are found", |body| body["marked"] == 3 && body["waiting"] == 0).await;

    looks(&verifier, "told", "green", "").await;
    script.says("fail");
    let regressed = "regressed: probe told went red (told_to_fail)";
    let so_far = [&so_far[..], &[regressed]].concat();
    marked(&grafana, &so_far).await;
    post(&verifier, "/v1/phases/move/rollback", json!({"reason": "a <b>hole</b>, token=hunter2"})).await;
    let back = "rolled back by test-operate: a &lt;b&gt;hole&lt;/b&gt;, token=***";
    let so_far = [&so_far[..], &[back]].concat();
    marked(&grafana, &so_far).await;

    verifier.kill9().await.unwrap();
    verifier.start_again().await.unwrap();
    says(&verifier, "all five are found", |body| body["marked"] == 5 && body["waiting"] == 0).await;
    marked(&grafana, &so_far).await;
}

#[tokio::test]
async fn a_token_that_allows_too_little_is_named_by_doctor_and_shuts_no_gate() {
    let world = World::new().unwrap();
    let grafana = Grafana::start(&world, "http://127.0.0.1:1").await.unwrap();
    let viewer = grafana.token("viewer", "Viewer").await.unwrap();
    let (document, _script, file) = document(&world, grafana.url(), &viewer);
    let verifier = Verifier::start_scripted(&world, &document).await.unwrap();
    // Before there is anything to mark.
    let body = says(&verifier, "it is refused", |body| body["problem"]["reason"] == "permission_missing").await;
    let evidence = body["problem"]["evidence"].as_str().unwrap();
    assert!(evidence.starts_with("POST /api/annotations needs annotations:create: "), "{evidence}");
    opened(&verifier).await;
    says(&verifier, "two events wait", |body| body["waiting"] == 2).await;
    let doctor = verifier.cutover(&["doctor"]).await.unwrap();
    for words in ["shown is not annotated (permission_missing)", "annotations:create", "the role Editor"] {
        assert!(doctor.stdout.contains(words), "{words}: {doctor:?}");
    }
    assert_eq!(doctor.code, 0, "it stops no run: {doctor:?}");
    let metrics = verifier.get("/metrics").await.unwrap().body;
    assert!(metrics.contains("phasegate_annotations_failing{target=\"shown\"} 1"), "{metrics}");
    let said = verifier.process().stderr().matches("annotations do not go through").count();
    assert_eq!(said, 1, "once, not at each try");

    replace(&file, b"glsa_of_another_grafana");
    says(&verifier, "it is not known", |body| body["problem"]["reason"] == "token_refused").await;
    replace(&file, grafana.token("editor", "Editor").await.unwrap().as_bytes());
    marked(&grafana, &["begun by test-operate", "switched by test-operate"]).await;
    says(&verifier, "all is well", |body| body["marked"] == 2 && body["problem"].is_null()).await;
    reaches(&verifier, "open").await;
    let doctor = verifier.cutover(&["doctor"]).await.unwrap();
    assert!(doctor.stdout.contains("shown takes them: 2 in the last days"), "{doctor:?}");
}

#[tokio::test]
async fn a_silent_grafana_and_a_login_page_hold_up_nothing() {
    let world = World::new().unwrap();
    let grafana = Grafana::start(&world, "http://127.0.0.1:1").await.unwrap();
    let token = grafana.token("annotations", "Editor").await.unwrap();
    let proxy = FaultProxy::start_http(grafana.authority()).unwrap();
    proxy.set(Fault::BlackHole).await.unwrap();
    let (document, _script, _) = document(&world, &proxy.url(), &token);
    let verifier = Verifier::start_scripted(&world, &document).await.unwrap();
    switch(&verifier).await;
    reaches(&verifier, "open").await;
    says(&verifier, "nobody answers", |body| body["problem"]["reason"] == "timeout" && body["waiting"] == 2).await;
    reaches(&verifier, "open").await;

    // Started anew it calls at once, and is told to end while nobody answers.
    let before = proxy.connections();
    verifier.kill9().await.unwrap();
    verifier.start_again().await.unwrap();
    wait_until(PATIENCE, "a call is under way", async || {
        ensure!(proxy.connections() > before, "{}", proxy.connections());
        Ok(())
    })
    .await
    .unwrap();
    let asked = Instant::now();
    let status = verifier.sigterm().await.unwrap();
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());

    proxy.set(Fault::LoginPage).await.unwrap();
    verifier.start_again().await.unwrap();
    says(&verifier, "a page came", |body| body["problem"]["reason"] == "html").await;
    post(&verifier, "/v1/phases/move/complete", json!({})).await;
    assert_eq!(marks(&grafana).await.unwrap().len(), 0);
    proxy.clear().await.unwrap();
    marked(&grafana, &["begun by test-operate", "switched by test-operate", "completed by test-operate"]).await;
}
