//! What an operator gives is wrong: an exit code that says which kind of wrong, and words that say what to do.

use std::path::Path;
use std::time::Duration;

use tests::hostile::Habit;
use tests::{Hostile, Output, Role, Spec, Verifier, World, binary};
use tokio::net::TcpListener;

use super::{AT_ONCE, QUICK, migration};

const END: Duration = Duration::from_secs(30);
const HEARTBEAT: &str = "{name: beat, check: {heartbeat: {within: 10m}}}";

async fn run(world: &World, program: &str, args: &[&str]) -> Output {
    let spec = Spec::new(program, binary(program).unwrap()).args(args.iter().copied());
    world.run(spec, END).await.unwrap()
}

/// A verifier on this document, with the flags that are always there.
async fn verifier(world: &World, document: &Path, more: &[&str]) -> Output {
    let (document, state) = (document.display().to_string(), world.dir().join("state").display().to_string());
    let mut args = vec!["verifier", "--config.file", &document, "--state.dir", &state];
    if !more.contains(&"--web.listen-address") {
        args.extend(["--web.listen-address", "127.0.0.1:0"]);
    }
    args.extend(more);
    run(world, "probe", &args).await
}

fn sound(world: &World) -> std::path::PathBuf {
    world.write("sound.yaml", &migration(QUICK, "{}", AT_ONCE, &[HEARTBEAT])).unwrap()
}

#[track_caller]
fn is_error(output: &Output, code: i32, words: &[&str]) {
    assert_eq!(output.code, code, "{output:?}");
    assert_eq!(output.stderr.matches("error").count().min(1), 1, "{output:?}");
    for word in words {
        assert!(output.stderr.contains(word), "no {word:?}: {}", output.stderr);
    }
    assert!(!output.stderr.contains("panicked"), "{output:?}");
}

#[tokio::test]
async fn a_flag_that_does_not_exist_is_wrong_usage() {
    let world = World::new().unwrap();
    for (program, args) in [
        ("probe", vec!["verifier", "--config", "x"]),
        ("probe", vec!["verifier"]),
        ("probe", vec!["watch"]),
        ("cutover", vec!["status", "--fast"]),
        ("cutover", vec!["gate", "check"]),
        ("cutover", vec!["gate", "check", "../loki"]),
        ("cutover", vec!["--server", "localhost", "status"]),
        ("cutover", vec!["--token-file", "/nowhere", "status"]),
    ] {
        let output = run(&world, program, &args).await;
        assert_eq!(output.code, 2, "{program} {args:?}: {output:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{program} {args:?}: {output:?}");
    }
    let flags = verifier(&world, &sound(&world), &["--log.level", "probe=loud"]).await;
    is_error(&flags, 2, &["--log.level"]);
}

#[tokio::test]
async fn a_document_that_can_not_be_used_is_told_in_one_go_and_starts_nothing() {
    let world = World::new().unwrap();
    let good = migration(QUICK, "{}", AT_ONCE, &[HEARTBEAT]);
    let path = |name: &str| world.dir().join(name);
    std::fs::create_dir(path("folder.yaml")).unwrap();
    std::fs::write(path("latin1.yaml"), [good.as_bytes(), b"# caf\xe9\n"].concat()).unwrap();
    world.write("twice.yaml", &good.replace("kind: Migration", "kind: Migration\nkind: Migration")).unwrap();
    world.write("large.yaml", &format!("{good}{}", "# filler\n".repeat(10_000_000 / 9))).unwrap();
    world.write("empty.yaml", "").unwrap();
    world.write("no-probe.yaml", &migration(QUICK, "{}", AT_ONCE, &[]).replace("probes:\n", "probes: []\n")).unwrap();
    let two = good.replace("within: 10m", "within: soon").replace("{soak: 0s", "{soek: 0s");
    world.write("two.yaml", &two).unwrap();
    for (name, words) in [
        ("nowhere.yaml", vec!["nowhere.yaml", "can not be read"]),
        ("folder.yaml", vec!["folder.yaml", "can not be read"]),
        ("latin1.yaml", vec!["latin1.yaml", "not valid UTF-8"]),
        ("twice.yaml", vec!["twice.yaml", "stands here twice"]),
        ("large.yaml", vec!["large.yaml", "larger than"]),
        ("empty.yaml", vec!["empty.yaml", "empty"]),
        ("no-probe.yaml", vec!["no-probe.yaml", "has no probe"]),
        ("two.yaml", vec!["two.yaml", "soek", "soon"]),
    ] {
        let output = verifier(&world, &path(name), &[]).await;
        is_error(&output, 2, &words);
        let hints = if name == "two.yaml" { 2 } else { 1 };
        assert_eq!(output.stderr.matches("hint").count(), hints, "{name}: {}", output.stderr);
        let checked = run(&world, "probe", &["config", "check", &path(name).display().to_string()]).await;
        assert_eq!(checked.code, 2, "{name}: {checked:?}");
    }
    assert!(!path("state").exists(), "a verifier that did not start left a ledger");
}

#[tokio::test]
async fn a_token_file_that_can_not_be_used_is_refused_without_showing_a_token() {
    let world = World::new().unwrap();
    let document = sound(&world);
    let secret = "hunter2hunter2hunter2";
    for (text, word) in [
        ("alice operate\n".to_owned(), "line 1"),
        (format!("# people\nalice admin {secret}\n"), "line 2"),
        (format!("alice operate {secret}\nbob read {secret}\n"), "line 2"),
        ("alice operate short\n".to_owned(), "line 1"),
    ] {
        let file = world.write("tokens", &text).unwrap().display().to_string();
        let output = verifier(&world, &document, &["--web.token.file", &file]).await;
        is_error(&output, 2, &["token file", word]);
        assert!(!output.stderr.contains(secret), "{output:?}");
    }
    is_error(&verifier(&world, &document, &["--web.token.file", "/nowhere"]).await, 2, &["token file /nowhere"]);
}

#[tokio::test]
async fn a_port_in_use_is_one_line_that_names_it() {
    let world = World::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = verifier(&world, &sound(&world), &["--web.listen-address", &address]).await;
    is_error(&output, 1, &[&address, "--web.listen-address"]);
    assert_eq!(output.stderr.lines().filter(|line| line.starts_with("error")).count(), 1, "{output:?}");
}

#[tokio::test]
async fn cutover_tells_by_its_exit_code_who_did_not_answer() {
    let world = World::new().unwrap();
    let nobody = format!("http://127.0.0.1:{}", world.port().unwrap());
    for args in [vec!["status"], vec!["gate", "check", "move"], vec!["advance"], vec!["audit", "verify"]] {
        let args: Vec<_> = ["--server", &nobody].into_iter().chain(args).collect();
        is_error(&run(&world, "cutover", &args).await, 11, &[&nobody, "hint"]);
    }
    for habit in
        [Habit::Html, Habit::Silent, Habit::Reset, Habit::Truncated, Habit::Endless, Habit::Status(500), Habit::Status(302)]
    {
        let stranger = Hostile::start(habit).await.unwrap();
        let args = ["--server", &stranger.url(), "--request-timeout", "2s", "gate", "check", "move"];
        let output = run(&world, "cutover", &args).await;
        assert_eq!(output.code, 11, "{habit:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{habit:?}: {output:?}");
    }
}

#[tokio::test]
async fn cutover_tells_by_its_exit_code_what_was_not_allowed_or_not_found() {
    let world = World::new().unwrap();
    let verifier = Verifier::start(&world, &migration(QUICK, "{}", AT_ONCE, &[HEARTBEAT])).await.unwrap();
    for args in [["gate", "check", "loki"], ["gate", "explain", "loki"], ["probes", "history", "loki"]] {
        let output = verifier.cutover(&args).await.unwrap();
        is_error(&output, 13, &["loki", "hint"]);
    }
    is_error(&verifier.cutover(&["begin", "loki"]).await.unwrap(), 13, &["loki"]);

    for role in [Role::Read, Role::Heartbeat, Role::Approve] {
        is_error(&verifier.cutover_as(role, &["advance"]).await.unwrap(), 4, &["hint"]);
    }
    let anybody = Spec::new("cutover", binary("cutover").unwrap()).env("PHASEGATE_SERVER", verifier.url());
    is_error(&world.run(anybody.clone().arg("advance"), END).await.unwrap(), 4, &["token"]);
    let stranger = anybody.clone().env("PHASEGATE_TOKEN", "nobody-knows-this-token");
    let refused = world.run(stranger.arg("advance"), END).await.unwrap();
    is_error(&refused, 4, &["token"]);
    assert!(!refused.stderr.contains("nobody-knows-this-token"), "{refused:?}");
    // Looking needs no token.
    assert_eq!(world.run(anybody.arg("status"), END).await.unwrap().code, 0);
    let status = verifier.get("/v1/status").await.unwrap().json().unwrap();
    assert_eq!(status["phases"][0]["state"], "waiting", "{status}");
}

/// The same verdict has the same exit code however it is printed, and never 0 before there is one.
#[tokio::test]
async fn the_exit_code_is_the_same_in_every_output_format() {
    let world = World::new().unwrap();
    let verifier = Verifier::start(&world, &migration(QUICK, "{}", AT_ONCE, &[HEARTBEAT])).await.unwrap();
    tests::wait_until(super::PATIENCE, "a first evaluation", async || {
        anyhow::ensure!(verifier.get("/-/ready").await?.status == 200, "not ready");
        Ok(())
    })
    .await
    .unwrap();
    for format in ["table", "wide", "json", "yaml", "name", "github", "junit"] {
        for (words, code) in [(vec!["gate", "check", "move"], 1), (vec!["gate", "wait", "move", "--timeout", "0s"], 124)] {
            let args: Vec<_> = words.into_iter().chain(["-o", format]).collect();
            let output = verifier.cutover(&args).await.unwrap();
            assert!(output.code == code || output.code == 3, "{args:?}: {output:?}");
            assert_ne!(output.code, 0, "{args:?}");
        }
    }
}
