//! The document changes while the verifier runs.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::ensure;
use serde_json::Value;
use tests::{Verifier, World, wait_until};

use super::{PATIENCE, QUICK, Script, check, migration, opened, reaches};

const SOAK: &str = "{soak: 2s, minSamples: 1, unknownBudget: 0s}";

async fn status(verifier: &Verifier) -> Value {
    verifier.get("/v1/status").await.unwrap().json().unwrap()
}

fn state_of(status: &Value, probe: &str) -> String {
    let probes = status["probes"].as_array().unwrap();
    probes.iter().find(|body| body["name"] == probe).unwrap()["state"].as_str().unwrap().to_owned()
}

async fn config_error(verifier: &Verifier) -> String {
    wait_until(PATIENCE, "a reload has failed", async || {
        let status = verifier.get("/v1/status").await?.json()?;
        let error = status["configError"].as_str().map(str::to_owned);
        anyhow::Context::context(error, "no configError")
    })
    .await
    .unwrap()
}

async fn reload_metric(verifier: &Verifier) -> String {
    const NAME: &str = "phasegate_config_last_reload_successful ";
    let exposition = verifier.get("/metrics").await.unwrap().body;
    exposition.lines().find_map(|line| line.strip_prefix(NAME)).expect("the metric").to_owned()
}

#[tokio::test]
async fn a_reload_keeps_what_did_not_change_and_starts_the_rest_anew() {
    let world = World::new().unwrap();
    let (kept, changed, added) = (Script::new(&world, "kept"), Script::new(&world, "changed"), Script::new(&world, "added"));
    let before = migration(QUICK, "{}", SOAK, &[&kept.probe(), &changed.probe()]);
    let verifier = Verifier::start_scripted(&world, &before).await.unwrap();
    let open = opened(&verifier).await;

    let after = migration(QUICK, "{}", SOAK, &[&kept.probe(), &changed.probe_with(", failAfter: 3"), &added.probe()]);
    verifier.write_migration(&after).unwrap();
    verifier.reload();
    let fresh = wait_until(PATIENCE, "the new document is in force", async || {
        let status = status(&verifier).await;
        assert_eq!(state_of(&status, "kept"), "green", "it did not change: {status}");
        ensure!(status["configHash"] != open["configHash"], "not yet");
        Ok(status)
    })
    .await
    .unwrap();
    assert_eq!((state_of(&fresh, "changed").as_str(), state_of(&fresh, "added").as_str()), ("unknown", "unknown"), "{fresh}");
    assert_eq!(check(&verifier).await, 424);
    let mut soaked = false;
    wait_until(PATIENCE, "the gate is open", async || {
        let status = status(&verifier).await;
        assert_eq!(state_of(&status, "kept"), "green", "{status}");
        let phase = &status["phases"][0];
        soaked |= phase["verdict"] == "pending";
        ensure!(phase["verdict"] == "open", "{}", phase["reason"]);
        Ok(())
    })
    .await
    .unwrap();
    assert!(soaked, "the gate's set changed: its soak starts anew");

    // What is not different by meaning changes nothing at all.
    verifier.write_migration(&format!("# a remark\n{after}\n")).unwrap();
    verifier.reload();
    wait_until(PATIENCE, "it was read", async || {
        ensure!(verifier.process().stderr().matches("document reloaded").count() == 2, "not yet");
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(check(&verifier).await, 200);
}

#[tokio::test]
async fn a_changed_file_that_is_wrong_changes_nothing_but_what_is_said_about_it() {
    let world = World::new().unwrap();
    let one = Script::new(&world, "one");
    let good = migration(QUICK, "{}", SOAK, &[&one.probe()]);
    let verifier = Verifier::start_scripted(&world, &good).await.unwrap();
    let open = opened(&verifier).await;
    assert_eq!(reload_metric(&verifier).await, "1");

    // Without a signal: the file itself is looked at.
    verifier.write_migration(&good.replace("scripted:", "skripted:")).unwrap();
    let error = config_error(&verifier).await;
    assert!(error.contains("skripted"), "{error}");
    assert_eq!(reload_metric(&verifier).await, "0");
    let still = status(&verifier).await;
    assert_eq!((&still["configHash"], &still["phases"][0]["verdict"]), (&open["configHash"], &open["verdict"]), "{still}");
    let said = verifier.cutover(&["status"]).await.unwrap();
    assert!(said.stdout.contains("skripted") || said.stderr.contains("skripted"), "an operator does not see it: {said:?}");

    verifier.write_migration(&good).unwrap();
    let reload = verifier.post("/-/reload", &serde_json::json!({})).await.unwrap();
    assert_eq!(reload.status, 202);
    wait_until(PATIENCE, "the good one is taken", async || {
        let status = verifier.get("/v1/status").await?.json()?;
        ensure!(status["configError"].is_null(), "{}", status["configError"]);
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(reload_metric(&verifier).await, "1");
    assert_eq!(check(&verifier).await, 200);
}

#[tokio::test]
async fn the_active_phase_can_not_be_taken_away() {
    let world = World::new().unwrap();
    let one = Script::new(&world, "one");
    let good = migration(QUICK, "{}", SOAK, &[&one.probe()]);
    let verifier = Verifier::start_scripted(&world, &good).await.unwrap();
    opened(&verifier).await;
    verifier.write_migration(&good.replace("- name: move", "- name: elsewhere")).unwrap();
    verifier.reload();
    let error = config_error(&verifier).await;
    assert!(error.contains("move"), "{error}");
    assert_eq!(check(&verifier).await, 200, "the old document stays in force");
    // Nor by starting anew with it.
    verifier.kill9().await.unwrap();
    let refused = verifier.start_again().await.unwrap_err();
    assert!(verifier.process().stderr().contains("the ledger refuses this document"), "{refused:#}");
    assert_eq!(verifier.process().ended().unwrap().and_then(|status| status.code()), Some(2));
    verifier.write_migration(&good).unwrap();
    verifier.start_again().await.unwrap();
    reaches(&verifier, "open").await;
}

/// A volume of a `ConfigMap`, as the kubelet keeps it: each version in a folder of its own, `..data` leads to the one that counts, and the
/// file that is named leads through that.
struct Mounted {
    volume: PathBuf,
    file: PathBuf,
    versions: u32,
}

impl Mounted {
    /// In the place of this file.
    fn at(file: &Path, text: &str) -> Self {
        let mut mounted = Self { volume: file.parent().unwrap().to_owned(), file: file.to_owned(), versions: 0 };
        mounted.swap(text);
        std::fs::remove_file(file).unwrap();
        symlink(Path::new("..data").join(file.file_name().unwrap()), file).unwrap();
        mounted
    }

    fn version(&self) -> PathBuf {
        self.volume.join(format!("..2026_11_28_12_00_00.{:09}", self.versions))
    }

    /// Another version counts from now on; the one before is removed.
    fn swap(&mut self, text: &str) {
        let before = self.version();
        self.versions += 1;
        let folder = self.version();
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join(self.file.file_name().unwrap()), text).unwrap();
        let link = self.volume.join("..data_tmp");
        symlink(folder.file_name().unwrap(), &link).unwrap();
        std::fs::rename(link, self.volume.join("..data")).unwrap();
        if before.exists() {
            std::fs::remove_dir_all(before).unwrap();
        }
    }
}

#[tokio::test]
async fn a_mounted_config_map_is_read_through_its_links_and_its_next_version_is_noticed() {
    let world = World::new().unwrap();
    let (one, two) = (Script::new(&world, "one"), Script::new(&world, "two"));
    let good = migration(QUICK, "{}", SOAK, &[&one.probe()]);
    let verifier = Verifier::start_scripted(&world, &good).await.unwrap();
    verifier.kill9().await.unwrap();
    let mut mounted = Mounted::at(verifier.document(), &good);
    verifier.start_again().await.unwrap();
    let open = opened(&verifier).await;

    mounted.swap(&migration(QUICK, "{}", SOAK, &[&one.probe(), &two.probe()]));
    let next = wait_until(PATIENCE, "the next version is in force", async || {
        let status = status(&verifier).await;
        ensure!(status["configHash"] != open["configHash"], "not yet");
        Ok(status)
    })
    .await
    .unwrap();
    assert_eq!((state_of(&next, "one").as_str(), &next["configError"]), ("green", &Value::Null), "{next}");
    reaches(&verifier, "open").await;

    mounted.swap(&good.replace("scripted:", "skripted:"));
    let error = config_error(&verifier).await;
    assert!(error.contains("skripted"), "{error}");
    assert_eq!(status(&verifier).await["configHash"], next["configHash"]);
    assert_eq!(check(&verifier).await, 200, "the old version stays in force");

    // The kubelet takes the volume away, and brings it back.
    let away = mounted.volume.join("..away");
    std::fs::rename(mounted.volume.join("..data"), &away).unwrap();
    verifier.reload();
    wait_until(PATIENCE, "it is not there", async || {
        let error = config_error(&verifier).await;
        ensure!(error.contains("migration.yaml") && !error.contains("skripted"), "{error}");
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(check(&verifier).await, 200);
    std::fs::rename(&away, mounted.volume.join("..data")).unwrap();
    mounted.swap(&good);
    wait_until(PATIENCE, "the first one is in force again", async || {
        let status = status(&verifier).await;
        ensure!(status["configHash"] == open["configHash"] && status["configError"].is_null(), "not yet");
        Ok(())
    })
    .await
    .unwrap();
}
