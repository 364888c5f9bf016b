//! What is refused before anything is done, and what nobody can skip with curl.

use serde_json::{Value, json};

use super::Bench;
use super::bench::FORWARD;

#[tokio::test]
async fn nothing_starts_without_a_person_or_their_word() {
    let bench = Bench::new().await;
    for (args, code, words) in [
        (vec!["begin", "move"], 2, "--confirm=move"),
        (vec!["begin", "move", "--yes"], 2, "--confirm=move"),
        (vec!["begin", "move", "--confirm", "move"], 2, "--yes"),
        (vec!["begin", "move", "--yes", "--confirm", "base"], 2, "--confirm=move"),
        (vec!["advance", "--yes"], 2, "--confirm=move"),
        (vec!["resume", "--yes"], 13, "cutover advance"),
        (vec!["abort", "--yes"], 13, "no phase is active"),
        (vec!["switch", "move"], 1, "cutover resume"),
        (vec!["begin", "move", "--yes", "--confirm", "move", "--file", "/nowhere.yaml"], 2, "/nowhere.yaml"),
        (vec!["begin", "move", "--dry-run"], 0, "nothing was done"),
    ] {
        let output = bench.cutover(&args).await;
        assert_eq!(output.code, code, "{args:?}: {}{}", output.stdout, output.stderr);
        assert!(output.stderr.contains(words), "{args:?}: {}", output.stderr);
    }
    bench.stands("nothing was done", "waiting", ["-"; 4], &[]).await;
    bench.is_unlocked("nothing was done").await;
}

#[tokio::test]
async fn a_script_with_curl_can_not_skip_what_the_command_would_refuse() {
    let bench = Bench::new().await;
    let post = async |path: &str, body: Value| bench.verifier.post(path, &body).await.unwrap();
    assert_eq!(post("/v1/phases/move/begin", json!({})).await.status, 200);
    let hash = bench.verifier.get("/v1/status").await.unwrap().json().unwrap()["configHash"].clone();
    let start = |terms: Value| json!({"way": "do", "terms": terms});
    let lock = post("/v1/lock", json!({"phase": "move", "place": "a script", "ttlSeconds": 60})).await;
    assert_eq!(lock.status, 201, "{}", lock.body);
    let id = lock.json().unwrap()["id"].clone();
    for (path, body, status) in [
        ("/v1/phases/move/steps/one/start", start(json!({"document": hash})), 423),
        ("/v1/phases/move/steps/one/start", start(json!({"document": hash, "lock": 999})), 423),
        ("/v1/phases/move/steps/one/start", start(json!({"lock": id})), 409),
        ("/v1/phases/move/steps/one/start", start(json!({"lock": id, "document": "another"})), 409),
        ("/v1/phases/move/steps/two/start", start(json!({"lock": id, "document": hash})), 409),
        ("/v1/phases/move/steps/one/end", json!({"end": "done", "terms": {"lock": id}}), 409),
        ("/v1/phases/move/steps/nine/start", start(json!({"lock": id, "document": hash})), 404),
        ("/v1/phases/move/switch", json!({"lock": id}), 409),
        ("/v1/phases/move/complete", json!({"lock": id}), 412),
        ("/v1/phases/move/rollback", json!({"reason": "x"}), 423),
        ("/v1/lock", json!({"phase": "move", "place": "another", "ttlSeconds": 60}), 423),
    ] {
        let answer = post(path, body.clone()).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.body);
    }
    assert_eq!(post("/v1/phases/move/steps/one/start", start(json!({"lock": id, "document": hash}))).await.status, 200);
    let end = post("/v1/phases/move/steps/one/end", json!({"end": "done", "terms": {"lock": id}})).await;
    assert_eq!(end.status, 200, "{}", end.body);
    assert_eq!(post("/v1/phases/move/steps/two/start", start(json!({"lock": id, "document": hash}))).await.status, 200);
    bench.new_side.says("fail");
    let early = post("/v1/phases/move/steps/two/end", json!({"end": "done", "terms": {"lock": id}})).await;
    assert_eq!(early.status, 409, "its work is not over: {}", early.body);
    assert_eq!(post("/v1/phases/move/steps/two/worked", json!({"terms": {"lock": id}})).await.status, 200);
    let unseen = post("/v1/phases/move/steps/two/end", json!({"end": "done", "terms": {"lock": id}})).await;
    assert!([412, 425].contains(&unseen.status), "what was green before the step is no evidence: {}", unseen.body);
}

#[tokio::test]
async fn a_complete_phase_is_rolled_back_with_its_steps_unless_nothing_leads_back() {
    let bench = Bench::new().await;
    assert_eq!(bench.runs(&["advance"]).await.code, 0);
    bench.has_switched("forward", &FORWARD).await;
    let refused = bench.cutover(&["rollback", "move", "--reason", "x", "--yes"]).await;
    assert_eq!(refused.code, 2, "it costs what the new side took: {}", refused.stderr);
    let waited = bench.cutover(&["gate", "wait", "move", "--timeout", "1m"]).await;
    assert_eq!(waited.code, 0, "{}", waited.stderr);
    assert_eq!(bench.cutover(&["advance"]).await.code, 0);
    let gone = bench.runs(&["rollback", "move", "--reason", "x"]).await;
    assert_eq!(gone.code, 1, "complete, and behind its point of no return: {}", gone.stderr);
}
