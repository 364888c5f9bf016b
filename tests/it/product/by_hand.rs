//! `probe check` as a process: exit codes and streams, on real servers and on checks that misbehave.

use std::time::Duration;

use serde_json::Value;
use tests::{Output, Postgres, Spec, World, binary};

use super::{AT_ONCE, QUICK, Script, migration};

const LIMIT: Duration = Duration::from_mins(1);

/// `probe check` on this document, without a terminal.
pub(super) async fn check(world: &World, document: &str, args: &[&str], env: &[(&str, &str)]) -> Output {
    let file = world.write("migration.yaml", document).unwrap();
    let mut spec = Spec::new("probe-check", binary("probe-scripted").unwrap()).args(["check", "--config.file"]);
    spec = spec.arg(file.display().to_string()).args(args.iter().copied());
    for (name, value) in env {
        spec = spec.env(*name, *value);
    }
    world.run(spec, LIMIT).await.unwrap()
}

pub(super) fn json(output: &Output) -> Value {
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[tokio::test]
async fn a_postgres_is_looked_at_and_its_control_fails_as_it_should() {
    let world = World::new().unwrap();
    let postgres = Postgres::start(&world).await.unwrap();
    let targets = "{new: {postgres: {dsn: {env: PG_DSN}}}}";
    let probes = [
        "{name: ready, check: {postgresReady: {postgres: new}}}",
        "{name: canary, check: {postgresCanary: {postgres: new}}}",
        "{name: nightly, check: {heartbeat: {within: 25h}}}",
    ];
    let document = migration("{every: 20s, timeout: 20s}", targets, AT_ONCE, &probes);
    let dsn = postgres.dsn();
    let env = [("PG_DSN", dsn.as_str())];
    let good = check(&world, &document, &["ready", "--control", "-o", "json"], &env).await;
    let body = json(&good);
    assert_eq!(
        (good.code, &body["outcome"], &body["probes"][0]["control"]["trusted"]),
        (0, &"pass".into(), &true.into()),
        "{body}"
    );
    assert!(good.stderr.contains("One look opens no gate") && !good.stderr.contains('\r'), "{}", good.stderr);

    let all = check(&world, &document, &[], &env).await;
    assert_eq!(all.code, 3, "{all:?}");
    for word in ["PASS     move/ready", "not_set_up: server@127.0.0.1", "CREATE SCHEMA phasegate; ", "by_hand: heartbeats come"] {
        assert!(all.stdout.contains(word), "no {word}: {}", all.stdout);
    }
    let missing = check(&world, &document, &["ready"], &[]).await;
    assert_eq!(missing.code, 3, "{missing:?}");
    assert!(missing.stdout.contains("secret_missing"), "{missing:?}");

    postgres.kill().await.unwrap();
    let dead = check(&world, &document, &["ready"], &env).await;
    assert_eq!(dead.code, 1, "{dead:?}");
    assert!(dead.stdout.contains("next: start the target") && !dead.stdout.contains("server:server"), "{dead:?}");
}

#[tokio::test]
async fn a_check_that_misbehaves_is_unknown_and_the_others_are_looked_at() {
    let world = World::new().unwrap();
    let names = ["block", "panic", "hang", "pass"];
    let scripts = names.map(|name| Script::new(&world, name));
    for (script, word) in scripts.iter().zip(names) {
        script.says(word);
    }
    let probes = scripts.each_ref().map(Script::probe);
    let document = migration(QUICK, "{}", AT_ONCE, &probes.each_ref().map(String::as_str));
    let output = check(&world, &document, &["-o", "json"], &[]).await;
    assert_eq!(output.code, 3, "{output:?}");
    let body = json(&output);
    let reasons = ["hung", "panic", "hung"].map(Value::from).into_iter().chain([Value::Null]);
    for (probe, reason) in body["probes"].as_array().unwrap().iter().zip(reasons) {
        assert_eq!(probe["reason"], reason, "{probe}");
    }
    assert!(!output.stderr.contains("panicked at"), "{}", output.stderr);
}

#[tokio::test]
async fn wrong_words_have_their_own_exit_codes() {
    let world = World::new().unwrap();
    let document = migration(QUICK, "{}", AT_ONCE, &["{name: ready, check: {dns: {name: a.example}}}"]);
    let unknown = check(&world, &document, &["raedy"], &[]).await;
    assert_eq!((unknown.code, unknown.stdout.as_str()), (13, ""));
    assert!(unknown.stderr.contains("did you mean `ready`?"), "{}", unknown.stderr);
    let broken = check(&world, &document.replace("dns", "dsn"), &["-o", "json"], &[]).await;
    assert_eq!((broken.code, &json(&broken)["error"]["exit"]), (2, &2.into()));
    assert_eq!(check(&world, &document, &["--times", "0"], &[]).await.code, 2);
}

#[tokio::test]
async fn a_first_document_is_written_without_a_terminal_and_holds() {
    let world = World::new().unwrap();
    let file = world.dir().join("first.yaml").display().to_string();
    let probe = async |args: &[&str]| {
        let spec = Spec::new("probe", binary("probe").unwrap()).args(args.iter().copied());
        world.run(spec, LIMIT).await.unwrap()
    };
    let written = probe(&["init", "-o", &file]).await;
    assert_eq!((written.code, written.stdout.as_str()), (0, ""), "{written:?}");
    assert!(written.stderr.contains("edit the lines with example values"), "{}", written.stderr);
    assert_eq!(probe(&["config", "check", &file]).await.code, 0);
    // The document names this command as the way to the SQL of its canary.
    let by_hand = probe(&["check", "--config.file", &file, "k3s-pg-commits"]).await;
    assert_eq!(by_hand.code, 3, "it looks, and can not without the connection string: {by_hand:?}");
    let again = probe(&["init", "-o", &file]).await;
    assert_eq!(again.code, 2, "{again:?}");
    assert!(again.stderr.contains("--force"), "{}", again.stderr);
}
