//! The disk under the ledger is full: nothing that can not be kept is acknowledged, and gates are shut until it can be.

use anyhow::ensure;
use reqwest::Method;
use serde_json::json;
use tests::{Role, Verifier, World, wait_until};

use super::{AT_ONCE, PATIENCE, QUICK, Script, check, looks, migration, opened, reaches};

const DISK_KIB: u32 = 512;

#[tokio::test]
async fn a_full_disk_shuts_every_gate_and_refuses_every_command_until_there_is_space() {
    let world = World::new().unwrap();
    let one = Script::new(&world, "one");
    let document = migration(QUICK, "{}", AT_ONCE, &[&one.probe()]);
    let disk = world.small_disk("disk", DISK_KIB).await.unwrap();
    let verifier = Verifier::start_scripted_in(&world, &document, &disk.path().join("state")).await.unwrap();
    opened(&verifier).await;
    let record = async |name: &str, value| {
        let path = format!("/v1/facts/{name}");
        verifier.request(Method::PUT, &path, Some(Role::Operate), Some(&value)).await.unwrap()
    };
    assert_eq!(record("before", json!(1)).await.status, 200);

    disk.fill().unwrap();
    let refused = record("during", json!(2)).await;
    assert_eq!(refused.status, 507, "{}", refused.body);
    let body = reaches(&verifier, "unknown").await;
    assert_eq!(body["blockers"][0]["reason"], "ledger_unwritable", "{body}");
    assert_eq!(check(&verifier).await, 424);
    looks(&verifier, "one", "green", "").await;
    for words in
        [vec!["advance"], vec!["complete", "move"], vec!["override", "create", "--probe", "one", "--reason", "x", "--ttl", "1h"]]
    {
        let output = verifier.cutover(&words).await.unwrap();
        assert_ne!(output.code, 0, "{words:?}: {output:?}");
        assert!(!output.stderr.is_empty(), "{words:?}: {output:?}");
    }
    let status = verifier.get("/v1/status").await.unwrap().json().unwrap();
    assert!(status["ledgerError"].as_str().is_some_and(|error| error.contains("No space left")), "{status}");
    assert_eq!(status["phases"][0]["state"], "active", "nothing was changed: {status}");

    disk.free().unwrap();
    reaches(&verifier, "open").await;
    wait_until(PATIENCE, "the audit trail verifies", async || {
        let verified = verifier.cutover(&["audit", "verify"]).await?;
        ensure!(verified.code == 0, "{verified:?}");
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(verifier.get("/v1/facts/during").await.unwrap().status, 404, "what was refused is not there");
    assert_eq!(verifier.get("/v1/facts/before").await.unwrap().status, 200);
    assert_eq!(record("after", json!(3)).await.status, 200);
    assert_eq!(verifier.cutover(&["advance"]).await.unwrap().code, 0);
}
