//! An old side is removed for good, and comes back.

use std::net::TcpListener;

use anyhow::ensure;
use serde_json::{Value, json};
use tests::{Output, Role, Verifier, World, wait_until};

use super::{AT_ONCE, PATIENCE, Script, looks};

/// Two phases: `move` leaves the old side, `next` comes after it. The old side is a Loki, as far as the document knows.
struct Left {
    verifier: Verifier,
    /// Where the old side listens.
    port: u16,
    old: Option<TcpListener>,
    _world: World,
}

impl Left {
    async fn new() -> Self {
        let world = World::new().unwrap();
        let old = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = old.local_addr().unwrap().port();
        let (one, two) = (Script::new(&world, "one"), Script::new(&world, "two"));
        let document = format!(
            "apiVersion: phasegate.dev/v1alpha1\nkind: Migration\nmetadata: {{name: left}}\nspec:\n  \
             defaults: {{every: 200ms, timeout: 150ms, maxAge: 5s, failAfter: 1, recoverAfter: 1}}\n  \
             targets:\n    old-side: {{loki: {{url: \"http://127.0.0.1:{port}\"}}}}\n  phases:\n  \
             - name: move\n    gate: {AT_ONCE}\n    probes:\n    - {}\n    \
             - {{name: old-ready, use: [preflight], check: {{lokiReady: {{loki: old-side}}}}}}\n    \
             - {{name: old-stays-gone, check: {{tripwire: {{target: old-side}}}}}}\n  \
             - name: next\n    gate: {AT_ONCE}\n    probes:\n    - {}\n",
            one.probe(),
            two.probe()
        );
        let verifier = Verifier::start_scripted(&world, &document).await.unwrap();
        let left = Self { verifier, port, old: Some(old), _world: world };
        looks(&left.verifier, "one", "green", "").await;
        left
    }

    async fn says(&self, args: &[&str]) -> Output {
        self.verifier.cutover(args).await.unwrap()
    }

    async fn must(&self, args: &[&str]) {
        wait_until(PATIENCE, &args.join(" "), async || {
            let output = self.says(args).await;
            ensure!(output.code == 0, "{}", output.stderr);
            Ok(())
        })
        .await
        .unwrap();
    }

    async fn gate(&self, phase: &str, verdict: &str) -> Value {
        wait_until(PATIENCE, &format!("gate {phase} is {verdict}"), async || {
            let body = self.verifier.get(&format!("/v1/gates/{phase}")).await?.json()?;
            ensure!(body["verdict"] == verdict, "{}", body["reason"]);
            Ok(body)
        })
        .await
        .unwrap()
    }
}

#[tokio::test]
async fn a_removed_old_side_must_go_and_not_come_back() {
    let mut left = Left::new().await;
    let early = left.says(&["decommission", "old-side", "--reason", "moved", "--confirm", "old-side"]).await;
    assert_eq!(early.code, 1, "its phase is not complete: {}", early.stderr);
    // The listener is no Loki, so the phase is adopted: what it was before does not matter here.
    left.must(&["adopt", "move", "--reason", "moved in May", "--yes"]).await;
    left.must(&["begin", "next"]).await;
    left.must(&["switch", "next"]).await;
    left.gate("next", "open").await;

    let unsure = left.says(&["decommission", "old-side", "--reason", "moved"]).await;
    assert_eq!(unsure.code, 2, "{}", unsure.stderr);
    assert!(unsure.stderr.contains("--confirm=old-side"), "{}", unsure.stderr);
    let unknown = left.says(&["decommission", "other", "--reason", "moved", "--confirm", "other"]).await;
    assert_eq!(unknown.code, 13, "{}", unknown.stderr);
    assert!(unknown.stderr.contains("old-side"), "{}", unknown.stderr);
    let removed = left.says(&["decommission", "old-side", "--reason", "moved", "--confirm", "old-side"]).await;
    assert_eq!(removed.code, 0, "{}", removed.stderr);

    let body = left.gate("next", "pending").await;
    assert_eq!(body["blockers"][0]["probe"], "old-stays-gone", "{body}");
    let status = left.says(&["status"]).await;
    assert!(status.stdout.contains("it is still there"), "{}", status.stdout);
    left.must(&["decommission", "old-side", "--reason", "too early", "--undo"]).await;
    left.gate("next", "open").await;
    left.must(&["decommission", "old-side", "--reason", "moved", "--confirm", "old-side"]).await;
    left.gate("next", "pending").await;

    drop(left.old.take());
    left.gate("next", "open").await;
    let late = left.says(&["decommission", "old-side", "--reason", "a mistake", "--undo"]).await;
    assert_eq!(late.code, 1, "it was seen gone: {}", late.stderr);
    let back = left.says(&["rollback", "move", "--reason", "back", "--yes"]).await;
    assert_eq!(back.code, 1, "{}", back.stderr);

    left.old = Some(TcpListener::bind(("127.0.0.1", left.port)).unwrap());
    let body = left.gate("next", "closed").await;
    assert_eq!((&body["blockers"][0]["probe"], &body["blockers"][0]["reason"]), (&json!("old-stays-gone"), &json!("answers")));
    let waiver = json!({"probe": "old-stays-gone", "reason": "it is only a test", "ttlSeconds": 600});
    assert_eq!(left.verifier.post("/v1/overrides", &waiver).await.unwrap().status, 409);
    wait_until(PATIENCE, "a regression is latched", async || {
        let status = left.verifier.get("/v1/status").await?.json()?;
        ensure!(status["phases"][0]["regressed"][0]["probe"] == "old-stays-gone", "{}", status["phases"][0]["regressed"]);
        Ok(())
    })
    .await
    .unwrap();
    drop(left.old.take());
    left.gate("next", "open").await;
}

#[tokio::test]
async fn only_an_operator_decommissions() {
    let left = Left::new().await;
    let args = ["decommission", "old-side", "--reason", "moved", "--confirm", "old-side"];
    for role in [Role::Read, Role::Approve, Role::Heartbeat] {
        let output = left.verifier.cutover_as(role, &args).await.unwrap();
        assert_eq!(output.code, 4, "{role:?}: {}", output.stderr);
    }
}
