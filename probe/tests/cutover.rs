//! The real `cutover` process: exit codes, streams, signals of the outside world.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

fn cutover(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cutover"));
    command
        .args(line.split(' '))
        .env_remove("PHASEGATE_SERVER")
        .env_remove("PHASEGATE_TOKEN")
        .env("HTTP_PROXY", "http://127.0.0.1:1");
    command.stdin(Stdio::null());
    command
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

async fn versions() -> MockServer {
    let server = MockServer::start().await;
    let body = serde_json::json!({
        "schemaVersion": 1, "migration": "homelab", "version": "0.1.0", "configHash": "a91f", "epoch": 1, "evaluatedAt": null,
        "ageSeconds": 0.1, "phases": [], "probes": [], "overrides": [], "ledgerError": null, "configError": null, "nextStep": "",
    });
    let answer = ResponseTemplate::new(200).set_body_json(body);
    Mock::given(method("GET")).and(path("/v1/status")).respond_with(answer).mount(&server).await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn data_goes_to_stdout_without_colour_in_a_pipe() {
    let server = versions().await;
    let output = cutover("version").env("PHASEGATE_SERVER", server.uri()).output().unwrap();
    assert_eq!(code(&output), Some(0));
    let version = concat!("cutover ", env!("CARGO_PKG_VERSION"), "\nverifier 0.1.0\n");
    assert_eq!((String::from_utf8(output.stdout).unwrap().as_str(), output.stderr.len()), (version, 0));
}

#[test]
fn nobody_there_is_11() {
    let output = cutover("gate check alloy --server http://127.0.0.1:1 -o json").output().unwrap();
    assert_eq!(code(&output), Some(11));
    let body: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(body["error"]["exit"], 11);
    let talk = String::from_utf8(output.stderr).unwrap();
    assert!(talk.starts_with("error: ") && !talk.contains('\u{1b}'), "{talk}");
}

#[test]
fn wrong_usage_is_2_and_help_is_0() {
    assert_eq!(code(&cutover("gate check").output().unwrap()), Some(2));
    assert_eq!(code(&cutover("conquer").output().unwrap()), Some(2));
    assert_eq!(code(&cutover("--help").output().unwrap()), Some(0));
    assert_eq!(code(&cutover("--version").output().unwrap()), Some(0));
}

#[test]
fn a_confirmation_without_a_terminal_is_2_and_never_hangs() {
    let output = cutover("adopt alloy --reason x --server http://127.0.0.1:1").output().unwrap();
    assert_eq!(code(&output), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("hint: add --yes"));
}

#[test]
fn an_interrupted_wait_is_130() {
    let mut child = cutover("gate wait alloy --server http://127.0.0.1:1").stderr(Stdio::piped()).spawn().unwrap();
    let mut talk = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(talk.next().unwrap().unwrap().contains("still trying"));
    let process = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(process, Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    let mut child = cutover("completion zsh").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), output.stderr.len()), (Some(0), 0));
}

/// A script that the shell can not parse breaks every shell that is opened.
#[test]
fn a_completion_script_parses_and_completes_what_there_is() {
    for shell in ["bash", "zsh", "fish"] {
        let script = String::from_utf8(cutover(&format!("completion {shell}")).output().unwrap().stdout).unwrap();
        for verb in ["doctor", "resume", "abort", "approve", "plan", "lock", "release", "explain"] {
            assert!(script.contains(verb), "{shell} does not know {verb}");
        }
    }
    let bash = |script: &str| {
        let output = Command::new("bash").args(["--norc", "-c", script, "bash", env!("CARGO_BIN_EXE_cutover")]).output().unwrap();
        assert_eq!((code(&output), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""), "{script}");
        String::from_utf8(output.stdout).unwrap()
    };
    bash("\"$1\" completion bash | bash -n");
    for (words, offers) in [
        ("cutover doc", "doctor\n"),
        ("cutover gate w", "wait\n"),
        ("cutover lock ''", "status release"),
        ("cutover doctor --no-", "--no-input\n"),
        ("cutover -o ju", "junit\n"),
        ("cutover completion fi", "fish\n"),
    ] {
        let ask = "source <(\"$1\" completion bash); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            _cutover cutover \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD - 1]}\"; echo \"${COMPREPLY[*]}\"";
        let told = bash(&format!("COMP_WORDS=({words}); {ask}"));
        assert!(told.contains(offers), "{words}: {told}");
    }
}
