//! What a server can answer, what it means: never a falsely open gate.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::fixtures::gate;
use super::*;
use crate::api::types::GateBody;
use crate::gate::Verdict::{self, Closed, Open, Pending, Unknown};
use crate::state::{PhaseState, ProbeState};

const GATE: &str = "/v1/gates/alloy";

fn with(verdict: Verdict, change: impl FnOnce(&mut GateBody)) -> ResponseTemplate {
    let mut body = gate(verdict);
    change(&mut body);
    ok(&body)
}

fn error(status: u16) -> ResponseTemplate {
    let body = json!({"code": "x", "message": "the verifier says so", "verdict": null, "hint": null});
    ResponseTemplate::new(status).set_body_json(body)
}

fn html(status: u16) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_raw("<html>login</html>", "text/html")
}

fn text(body: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_raw(body.to_owned(), "application/json")
}

/// What it is, what the server answers, the exit code, and what stderr says.
type Row = (&'static str, ResponseTemplate, Exit, &'static str);

fn verdicts() -> Vec<Row> {
    vec![
        ("open", ok(&gate(Open)), Exit::OPEN, ""),
        ("closed", ok(&gate(Closed)), Exit::CLOSED, ""),
        ("pending", ok(&gate(Pending)), Exit::PENDING, ""),
        ("unknown", ok(&gate(Unknown)), Exit::UNKNOWN, ""),
        ("stale", with(Open, |b| b.age_seconds = Some(3.1)), Exit::UNKNOWN, "is 3.1s old"),
        ("no age", with(Open, |b| b.age_seconds = None), Exit::UNKNOWN, "not evaluated anything"),
        ("negative age", with(Open, |b| b.age_seconds = Some(-1.0)), Exit::UNKNOWN, "do not count"),
        ("stale closed", with(Closed, |b| b.age_seconds = Some(60.0)), Exit::UNKNOWN, "is 60.0s old"),
        ("open flag alone", with(Closed, |b| b.open = true), Exit::UNKNOWN, "verdict closed with open: true"),
        ("open verdict alone", with(Open, |b| b.open = false), Exit::UNKNOWN, "verdict open with open: false"),
        ("blockers", with(Open, |b| b.blockers = gate(Closed).blockers), Exit::UNKNOWN, "with blockers"),
        ("counted blockers", with(Open, |b| b.blocked_by = 1), Exit::UNKNOWN, "with blockers"),
        ("no probes", with(Open, |b| b.probes.clear()), Exit::UNKNOWN, "without a green probe"),
        ("a red probe", with(Open, |b| b.probes[1].state = ProbeState::Red), Exit::UNKNOWN, "probe rollout is red"),
        ("a red ratchet", with(Open, |b| b.ratchet = gate(Closed).probes), Exit::UNKNOWN, "probe journal is red"),
        ("not begun", with(Open, |b| b.phase_state = PhaseState::Waiting), Exit::UNKNOWN, "not begun"),
        ("another gate", with(Open, |b| b.gate = "loki".to_owned()), Exit::UNKNOWN, "answered about loki"),
        ("a cache", ok(&gate(Open)).insert_header("age", "9"), Exit::UNKNOWN, "from a cache"),
    ]
}

fn others() -> Vec<Row> {
    let redirect = ResponseTemplate::new(302).insert_header("location", "/login");
    let huge = text(&format!("\"{}\"", "x".repeat(17 << 20)));
    vec![
        ("half a body", text("{\"gate\":\"alloy\",\"open\":true"), Exit::UNREACHABLE, "not what was asked for"),
        ("another object", text("{\"open\":true,\"verdict\":\"open\"}"), Exit::UNREACHABLE, "missing field"),
        ("empty", ResponseTemplate::new(200), Exit::UNREACHABLE, "without JSON"),
        ("no content", ResponseTemplate::new(204), Exit::UNREACHABLE, "answered 204"),
        ("accepted", ResponseTemplate::new(202).set_body_json(gate(Open)), Exit::UNREACHABLE, "202"),
        ("login page", html(200), Exit::UNREACHABLE, "an HTML page"),
        ("redirect", redirect, Exit::UNREACHABLE, "redirect to `/login`"),
        ("401", error(401), Exit::AUTH, "the verifier says so"),
        ("403 page", html(403), Exit::AUTH, "an HTML page"),
        ("404", error(404), Exit::NOT_FOUND, "the verifier says so"),
        ("404 page", html(404), Exit::UNREACHABLE, "an HTML page"),
        ("400", error(400), Exit::USAGE, "the verifier says so"),
        ("422", error(422), Exit::USAGE, "the verifier says so"),
        ("500", error(500), Exit::UNREACHABLE, "500 Internal Server Error: the verifier says so"),
        ("503", error(503), Exit::UNREACHABLE, "503 Service Unavailable: the verifier says so"),
        ("429", error(429), Exit::UNREACHABLE, "429"),
        ("hang", ok(&gate(Open)).set_delay(Duration::from_mins(1)), Exit::UNREACHABLE, "no full answer within 300ms"),
        ("huge", huge, Exit::UNREACHABLE, "more than 16 MiB"),
    ]
}

#[tokio::test]
async fn each_answer_has_its_exit_code_in_every_format() {
    for (what, answer, exit, said) in verdicts().into_iter().chain(others()) {
        let server = serve("GET", GATE, answer).await;
        let wait = if what == "hang" { "300ms" } else { "30s" };
        let formats = ["table", "wide", "json", "yaml", "name", "github", "junit"];
        let once = matches!(what, "hang" | "huge");
        for format in formats.into_iter().take(if once { 1 } else { formats.len() }) {
            let ran = cutover(&server, &format!("gate check alloy -o {format} --request-timeout {wait}")).await;
            assert_eq!(ran.exit, exit, "{what} as {format}: {} {}", ran.out, ran.err);
            assert!(ran.err.contains(said), "{what} as {format}: {}", ran.err);
            assert!(exit == Exit::OPEN || !says_open(format, &ran.out), "{what} as {format}: {}", ran.out);
        }
    }
}

/// Whether a pipe that reads this takes it for an open gate.
fn says_open(format: &str, out: &str) -> bool {
    match format {
        "json" => {
            let body: Value = serde_json::from_str(out).unwrap();
            body["open"] == true || body["verdict"] == "open"
        }
        "yaml" => out.contains("\nopen: true") || out.contains("\nverdict: open"),
        "junit" => !(out.contains("<failure") || out.contains("<error")),
        "github" => out.starts_with("::notice"),
        _ => out.contains(" OPEN "),
    }
}

#[tokio::test]
async fn an_error_is_an_object_in_a_pipe() {
    let server = serve("GET", GATE, error(404)).await;
    let ran = cutover(&server, "gate check alloy -o json").await;
    let body: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&body["error"]["exit"], &body["error"]["message"]), (&json!(13), &json!("the verifier says so")));
}

#[tokio::test]
async fn nobody_listens() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let ran = PLAIN.run(&format!("http://{free}"), "gate check alloy").await;
    assert_eq!(ran.exit, Exit::UNREACHABLE);
    assert!(ran.err.contains("can not be reached: Connection refused"), "{}", ran.err);
    assert!(ran.err.contains("hint: is the verifier running?"), "{}", ran.err);
}

#[tokio::test]
async fn plain_http_on_a_tls_address_is_unreachable() {
    let server = serve("GET", GATE, ok(&gate(Open))).await;
    let ran = PLAIN.run(&server.uri().replace("http:", "https:"), "gate check alloy").await;
    assert_eq!(ran.exit, Exit::UNREACHABLE, "{}", ran.err);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        assert!(stream.read(&mut request).await.unwrap() > 0);
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5000\r\n\r\n{\"open\":true";
        stream.write_all(head.as_bytes()).await.unwrap();
    };
    let server = format!("http://{address}");
    let (ran, ()) = tokio::join!(PLAIN.run(&server, "gate check alloy"), serve);
    assert_eq!(ran.exit, Exit::UNREACHABLE, "{}", ran.err);
    assert!(ran.err.contains("broke off its answer"), "{}", ran.err);
}

#[tokio::test]
async fn accept_pending_passes_soaking_only() {
    let change = |change: fn(&mut GateBody)| {
        let mut body = gate(Pending);
        change(&mut body);
        body
    };
    let cases = [
        (gate(Pending), Exit::OPEN),
        (change(|b| b.blockers[0].state = Some(ProbeState::Suspect)), Exit::PENDING),
        (change(|b| b.blocked_by = 51), Exit::OPEN),
        (change(|b| (b.blocked_by, b.probes[1].state) = (51, ProbeState::Suspect)), Exit::PENDING),
        (change(|b| b.blockers[0].reason = "proof_unfinished".to_owned()), Exit::PENDING),
        (change(|b| (b.blockers, b.blocked_by) = (vec![], 0)), Exit::PENDING),
        (gate(Unknown), Exit::UNKNOWN),
        (gate(Closed), Exit::CLOSED),
    ];
    for (body, exit) in cases {
        let server = serve("GET", GATE, ok(&body)).await;
        assert_eq!(cutover(&server, "gate check alloy --accept pending").await.exit, exit, "{:?}", body.blockers);
    }
}

#[tokio::test]
async fn the_entry_guard_has_its_own_path() {
    let entry = |kind| {
        let mut body = gate(Open);
        body.kind = kind;
        body.probes.clear();
        ok(&body)
    };
    let server = serve("GET", "/v1/gates/alloy/entry", entry(crate::api::types::GateKind::Entry)).await;
    assert_eq!(cutover(&server, "gate check alloy --entry").await.exit, Exit::OPEN);
    let server = serve("GET", "/v1/gates/alloy/entry", entry(crate::api::types::GateKind::Gate)).await;
    assert_eq!(cutover(&server, "gate check alloy --entry").await.exit, Exit::UNKNOWN);
}

#[tokio::test]
async fn hostile_words_do_not_reach_the_terminal() {
    let server = serve("GET", GATE, with(Closed, |b| b.blockers[0].evidence = "a\u{1b}[2Jb\nc".to_owned())).await;
    let ran = cutover(&server, "gate explain alloy").await;
    assert!(ran.out.contains("a [2Jb c"), "{}", ran.out);
}

#[tokio::test]
async fn a_wrong_address_or_token_is_wrong_usage() {
    for server in ["", "localhost:9470", "ftp://x", "http://user:secret@x", "http://x/?q=1"] {
        let ran = PLAIN.run(server, "status").await;
        assert_eq!(ran.exit, Exit::USAGE, "{server}");
        assert!(!ran.err.contains("secret"), "{}", ran.err);
    }
    for token in ["ops operate s3cret", "é"] {
        let ran = Shell { token: Some(token), ..PLAIN }.run("http://127.0.0.1:1", "status").await;
        assert_eq!(ran.exit, Exit::USAGE);
        assert!(!ran.err.contains("s3cret"), "{}", ran.err);
    }
    let ran = PLAIN.run("http://127.0.0.1:1", "status --token-file /no/such/file").await;
    assert_eq!(ran.exit, Exit::USAGE, "{}", ran.err);
}

#[test]
fn names_can_not_leave_their_path_segment() {
    for line in ["begin ..", "begin a/b", "begin a?b", "gate check .", "gate wait alloy --interval 0s"] {
        assert!(Cli::try_parse_from(["cutover"].into_iter().chain(line.split(' '))).is_err(), "{line}");
    }
}
