//! The callers that exist, as they ask over the wire and as they read the answer: each of them stops unless the gate is open.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::{Spec, Verifier, World, wait_until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{AT_ONCE, PATIENCE, QUICK, Script, looks, migration, reaches, switch};

const END: Duration = Duration::from_secs(30);

/// Sends these bytes on a connection of its own and reads the answer to its end.
async fn exchange(verifier: &Verifier, request: &str) -> Result<(u16, String, String)> {
    let mut stream = TcpStream::connect(verifier.address()).await?;
    stream.write_all(request.replace('\n', "\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8(answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no head")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, head.to_ascii_lowercase(), body.to_owned()))
}

/// `POST` with its fixed body, no headers of its own. Anything above 202 halts (`pkg/controller/webhook.go`).
async fn flagger(verifier: &Verifier, path: &str) -> Result<bool> {
    let body = r#"{"name":"loki","namespace":"observability","phase":"Progressing","checksum":"85d557f47b","metadata":{}}"#;
    let (status, head, said) = exchange(
        verifier,
        &format!(
            "POST {path} HTTP/1.1\nHost: gate.mig:9470\nUser-Agent: Go-http-client/1.1\nContent-Length: {}\n\
             Content-Type: application/json\nConnection: close\n\n{body}",
            body.len()
        ),
    )
    .await?;
    ensure!(!head.contains("location:") && !(300..400).contains(&status), "a redirect turns POST into GET: {head}");
    ensure!(status < 500 && status != 429, "it would be retried, and its body thrown away: {status}");
    ensure!(!said.is_empty(), "operators see the body of a hook that failed");
    Ok(status <= 202)
}

/// `HEAD` every 100 ms; only 200 goes on (`go/logic/throttler.go`).
async fn gh_ost(verifier: &Verifier, path: &str) -> Result<bool> {
    let request = format!("HEAD {path} HTTP/1.1\nHost: gate\nUser-Agent: Go-http-client/1.1\nConnection: close\n\n");
    let (status, _, body) = exchange(verifier, &request).await?;
    ensure!(body.is_empty(), "a body after HEAD: {body}");
    Ok(status == 200)
}

/// The `web` provider: `GET`, 2xx or else an error; success and failure by conditions on the body.
async fn argo(verifier: &Verifier, path: &str) -> Result<&'static str> {
    let request = format!(
        "GET {path} HTTP/1.1\nHost: gate\nUser-Agent: Go-http-client/1.1\nAccept: application/json\nAccept-Encoding: gzip\n\
         Connection: close\n\n"
    );
    let (status, head, body) = exchange(verifier, &request).await?;
    ensure!((200..300).contains(&status), "a closed gate would be an Error, not a Failure: {status}");
    ensure!(head.contains("content-type: application/json"), "{head}");
    // Releases up to 1.8.3 took any 2xx whose body was no JSON for a success.
    let result: Value = serde_json::from_str(&body).context("not JSON")?;
    ensure!(result.as_object().is_some_and(|object| !object.is_empty()), "{body}");
    ensure!((result["open"] == true) == (result["verdict"] == "open"), "{body}");
    Ok(match result["verdict"].as_str() {
        Some("open") => "Successful",
        Some("closed") => "Failed",
        Some("pending" | "unknown") => "Inconclusive",
        _ => "Error",
    })
}

/// `curl -f`, the real one.
async fn curl(world: &World, verifier: &Verifier, path: &str) -> i32 {
    let url = format!("{}{path}", verifier.url());
    world.run(Spec::new("curl", "curl").args(["-fsS", "-L", "-o", "/dev/null", &url]), END).await.unwrap().code
}

/// What each caller does at one verdict.
async fn callers(world: &World, verifier: &Verifier) -> (bool, bool, &'static str, bool, bool) {
    let check = "/v1/gates/move/check";
    (
        flagger(verifier, check).await.unwrap(),
        gh_ost(verifier, check).await.unwrap(),
        argo(verifier, "/v1/gates/move").await.unwrap(),
        curl(world, verifier, check).await == 0,
        flagger(verifier, "/v1/gates/move/rollback").await.unwrap(),
    )
}

const STOPPED: (bool, bool, &str, bool, bool) = (false, false, "Inconclusive", false, false);

#[tokio::test]
async fn every_caller_goes_on_only_through_an_open_gate() {
    let world = World::new().unwrap();
    let one = Script::new(&world, "one");
    let soak = "{soak: 3s, minSamples: 1, unknownBudget: 1s}";
    let verifier = Verifier::start_scripted(&world, &migration(QUICK, "{}", soak, &[&one.probe()])).await.unwrap();
    wait_until(PATIENCE, "an evaluation", async || {
        ensure!(verifier.get("/-/ready").await?.status == 200, "not ready");
        Ok(())
    })
    .await
    .unwrap();
    reaches(&verifier, "closed").await;
    assert_eq!(callers(&world, &verifier).await, (false, false, "Failed", false, false), "not begun");

    switch(&verifier).await;
    reaches(&verifier, "pending").await;
    assert_eq!(flagger(&verifier, "/v1/gates/move/check").await.unwrap(), false, "soaking");
    assert_eq!(flagger(&verifier, "/v1/gates/move/check?accept=pending").await.unwrap(), true, "asked for it");
    reaches(&verifier, "open").await;
    assert_eq!(callers(&world, &verifier).await, (true, true, "Successful", true, false), "open");

    one.says("unknown");
    reaches(&verifier, "unknown").await;
    assert_eq!(callers(&world, &verifier).await, STOPPED, "unknown");
    assert_eq!(flagger(&verifier, "/v1/gates/move/check?accept=pending").await.unwrap(), false);
    one.says("fail");
    reaches(&verifier, "closed").await;
    assert_eq!(callers(&world, &verifier).await, (false, false, "Failed", false, false), "red, and nothing to roll back");
    assert_eq!(flagger(&verifier, "/v1/gates/move/check?accept=pending").await.unwrap(), false);
}

/// Flagger's rollback hook is the other way round: to pass is to roll back now. Only a latched regression may do that, not a
/// verifier that knows nothing, nor one that is new.
#[tokio::test]
async fn the_rollback_hook_says_yes_to_a_latched_regression_alone() {
    let world = World::new().unwrap();
    let one = Script::new(&world, "one");
    let document = migration(QUICK, "{}", AT_ONCE, &[&one.probe()]);
    let verifier = Verifier::start_scripted(&world, &document).await.unwrap();
    let hook = async || flagger(&verifier, "/v1/gates/move/rollback").await;
    wait_until(PATIENCE, "an evaluation", async || {
        ensure!(verifier.get("/-/ready").await?.status == 200, "not ready");
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(hook().await.unwrap(), false, "waiting");
    switch(&verifier).await;
    reaches(&verifier, "open").await;
    assert_eq!(verifier.cutover(&["complete", "move"]).await.unwrap().code, 0);
    assert_eq!(hook().await.unwrap(), false, "complete and well");
    one.says("unknown");
    looks(&verifier, "one", "unknown", "").await;
    assert_eq!(hook().await.unwrap(), false, "unknown is no regression");
    one.says("pass");
    looks(&verifier, "one", "green", "").await;
    one.says("fail");
    looks(&verifier, "one", "red", "").await;
    wait_until(PATIENCE, "the regression is latched", async || {
        ensure!(hook().await?, "not yet");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn what_is_not_there_or_not_ready_lets_nobody_through() {
    let world = World::new().unwrap();
    let one = Script::new(&world, "one");
    let verifier = Verifier::start_scripted(&world, &migration(QUICK, "{}", AT_ONCE, &[&one.probe()])).await.unwrap();
    switch(&verifier).await;
    reaches(&verifier, "open").await;
    for path in [
        "/v1/gates/other/check",
        "/v1/gates/move/check/",
        "/v1/gates//check",
        "/v1/gates/move%2f/check",
        "/v1/gates/MOVE/check",
        "/v1/gates/move/check?accept=unknown",
        "/v1/gates/move/check?accept=pending&accept=open",
        "/v1/gate/move/check",
        "/gates/move/check",
        "/v1/gates/other/rollback",
    ] {
        let halted = !flagger(&verifier, path).await.unwrap();
        assert!(halted && !gh_ost(&verifier, path).await.unwrap(), "{path} lets somebody through");
        assert_ne!(curl(&world, &verifier, path).await, 0, "{path}");
    }
    // gh-ost holds the last answer while the verifier is gone; the first new one is no 200.
    verifier.kill9().await.unwrap();
    assert!(gh_ost(&verifier, "/v1/gates/move/check").await.is_err());
    one.says("hang");
    verifier.start_again().await.unwrap();
    assert_eq!(gh_ost(&verifier, "/v1/gates/move/check").await.unwrap_or(false), false);
}
