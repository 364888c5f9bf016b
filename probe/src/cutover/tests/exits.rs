//! Verb by situation by format: the exit code is the situation's and never the format's.

use std::path::Path;

use wiremock::matchers::any;

use super::fixtures::{gate, midway, phase, plan, receipt, report, status, step};
use super::formats::FORMATS;
use super::looking_back::{story, trail};
use super::*;
use crate::api::types::{GateKind, LockAnswer, ProbesBody};
use crate::gate::Verdict;
use crate::state::PhaseState;

/// Every verb that asks a verifier; `FILE` and `PLAN` are put in.
const VERBS: [&str; 23] = [
    "status",
    "gate check alloy",
    "gate check alloy --entry",
    "gate explain alloy",
    "gate explain alloy --at 10m",
    "plan",
    "plan alloy",
    "lock status",
    "doctor",
    "report",
    "history",
    "probes list",
    "probes history dns",
    "override list",
    "advance",
    "begin alloy",
    "resume --file FILE --yes",
    "abort --file FILE --yes",
    "decommission docker-loki --reason x --confirm docker-loki",
    "approve loki --plan PLAN",
    "complete alloy",
    "rollback alloy --reason x --yes",
    "override create dns --ttl 5m --reason x --yes",
];

/// What ends with a command that is posted, after everything that it reads was found well.
const COMMANDS: [&str; 7] = [
    "advance",
    "begin alloy",
    "decommission docker-loki --reason x --confirm docker-loki",
    "approve loki --plan PLAN",
    "complete alloy",
    "rollback alloy --reason x --yes",
    "override create dns --ttl 5m --reason x --yes",
];

/// A migration that has no journal on any machine.
const DOCUMENT: &str = "apiVersion: phasegate.dev/v1alpha1
kind: Migration
metadata: {name: exit-codes-are-tested-with-this}
spec:
  targets: {loki: {loki: {url: \"http://127.0.0.1:1\"}}}
  phases:
  - name: alloy
    probes: [{name: ready, check: {lokiReady: {loki: loki}}}]
    steps: [{name: move, switch: true, do: ['true'], undo: ['true']}]
";

fn refused(status: u16, code: &str) -> ResponseTemplate {
    let body = json!({"code": code, "message": "the verifier says so", "verdict": null, "hint": null});
    ResponseTemplate::new(status).set_body_json(body)
}

/// What a verifier, or something in its place, answers, and what is to come of it.
fn answers() -> Vec<(&'static str, ResponseTemplate, Exit)> {
    vec![
        ("401", refused(401, "no_token"), Exit::AUTH),
        ("403", refused(403, "forbidden"), Exit::AUTH),
        ("404", refused(404, "unknown_phase"), Exit::NOT_FOUND),
        ("409", refused(409, "refused"), Exit::CLOSED),
        ("409 moved", refused(409, "moved"), Exit::MOVED),
        ("412", refused(412, "gate_closed"), Exit::CLOSED),
        ("423", refused(423, "locked"), Exit::MOVED),
        ("424", refused(424, "gate_unknown"), Exit::UNKNOWN),
        ("425", refused(425, "gate_pending"), Exit::PENDING),
        ("428", refused(428, "confirm"), Exit::USAGE),
        ("503", refused(503, "not_ready"), Exit::UNREACHABLE),
        ("507", refused(507, "ledger"), Exit::UNREACHABLE),
        ("HTML", ResponseTemplate::new(200).set_body_raw("<html>log in</html>", "text/html"), Exit::UNREACHABLE),
    ]
}

/// The operator's files.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        std::fs::write(desk.0.path().join("migration.yaml"), DOCUMENT).unwrap();
        std::fs::write(desk.0.path().join("loki.plan"), serde_json::to_string(&plan("loki", vec![])).unwrap()).unwrap();
        desk
    }

    fn line(&self, verb: &str) -> String {
        let path = |name: &str| Path::display(&self.0.path().join(name)).to_string();
        verb.replace("FILE", &path("migration.yaml")).replace("PLAN", &path("loki.plan"))
    }

    /// Runs a verb in each format and insists on its exit code, on the same talk in each, and on a whole object in a pipe.
    async fn ends(&self, server: &str, verb: &str, what: &str, exit: Exit) {
        let shell = Shell { token: Some("an-operators-long-token"), ..PLAIN };
        let mut talk = None;
        for format in FORMATS {
            let row = format!("{what}: {verb} -o {format}");
            let ran = shell.run(server, &self.line(&format!("{verb} -o {format}"))).await;
            assert_eq!(ran.exit, exit, "{row}: {}{}", ran.out, ran.err);
            assert_eq!(*talk.get_or_insert(ran.err.clone()), ran.err, "{row}: the talk is another");
            let whole = match format {
                "json" => serde_json::from_str::<Value>(&ran.out).is_ok_and(|body| body.is_object()),
                "yaml" => serde_saphyr::from_str::<Value>(&ran.out).is_ok_and(|body| body.is_object()),
                "junit" => ran.out.starts_with("<?xml") && ran.out.ends_with("</testsuites>\n"),
                "github" => ran.out.lines().all(|line| line.starts_with("::")),
                _ => true,
            };
            assert!(whole, "{row}: {}", ran.out);
            let next = ["hint: ", "next: ", "\"next"].iter().any(|word| ran.err.contains(word) || ran.out.contains(word));
            assert!(exit == Exit::OPEN || next || format == "name", "{row}: no next step: {}{}", ran.out, ran.err);
            let token = ran.out.contains("an-operators") || ran.err.contains("an-operators");
            assert!(!token, "{row}: the token is shown");
        }
    }
}

#[tokio::test]
async fn what_an_answer_means_does_not_depend_on_the_format() {
    let desk = Desk::new();
    for (what, answer, exit) in answers() {
        let server = MockServer::start().await;
        Mock::given(any()).respond_with(answer).mount(&server).await;
        for verb in VERBS {
            desk.ends(&server.uri(), verb, what, exit).await;
        }
    }
    for verb in VERBS {
        desk.ends("http://127.0.0.1:1", verb, "nobody listens", Exit::UNREACHABLE).await;
    }
}

/// A verifier that is well: phase `alloy` is active, switched, without steps, and its gate has this verdict.
async fn verifier(verdict: Verdict) -> MockServer {
    let phases =
        vec![phase("alloy", PhaseState::Active, true, verdict), phase("loki", PhaseState::Waiting, false, Verdict::Closed)];
    let server = serve("GET", "/v1/status", ok(&status(phases))).await;
    add(&server, "GET", "/v1/gates/alloy", ok(&gate(verdict))).await;
    let mut entry = gate(verdict);
    entry.kind = GateKind::Entry;
    add(&server, "GET", "/v1/gates/alloy/entry", ok(&entry)).await;
    add(&server, "GET", "/v1/phases/alloy/plan", ok(&plan("alloy", vec![]))).await;
    server
}

#[tokio::test]
async fn a_refused_command_does_not_depend_on_the_format() {
    let desk = Desk::new();
    for (what, answer, exit) in answers() {
        let server = verifier(Verdict::Open).await;
        Mock::given(method("POST")).respond_with(answer).mount(&server).await;
        for verb in COMMANDS {
            desk.ends(&server.uri(), verb, &format!("{what} to the command"), exit).await;
        }
    }
}

#[tokio::test]
async fn a_verdict_is_the_exit_code_of_whatever_asks_for_one() {
    let desk = Desk::new();
    for (verdict, exit) in [
        (Verdict::Open, Exit::OPEN),
        (Verdict::Closed, Exit::CLOSED),
        (Verdict::Pending, Exit::PENDING),
        (Verdict::Unknown, Exit::UNKNOWN),
    ] {
        let server = verifier(verdict).await;
        Mock::given(method("POST")).respond_with(ok(&receipt("done"))).mount(&server).await;
        for verb in [
            "gate check alloy",
            "gate check alloy --entry",
            "gate explain alloy",
            "gate wait alloy --for closed --timeout 0s",
            "advance",
        ] {
            let exit = if verb.starts_with("gate wait") && verdict != Verdict::Closed { Exit::TIMEOUT } else { exit };
            desk.ends(&server.uri(), verb, verdict.as_str(), exit).await;
        }
        for verb in ["status", "plan", "plan alloy", "override list", "begin alloy"] {
            desk.ends(&server.uri(), verb, &format!("a gate that is {}", verdict.as_str()), Exit::OPEN).await;
        }
    }
}

#[tokio::test]
async fn what_is_stale_is_unknown_to_whatever_needs_it_fresh() {
    let desk = Desk::new();
    let server = MockServer::start().await;
    let mut body = status(vec![phase("alloy", PhaseState::Active, true, Verdict::Open)]);
    body.phases[0].steps = vec![step("move", None)];
    let (mut old, mut told) = (gate(Verdict::Open), report());
    (body.age_seconds, old.age_seconds, told.age_seconds) = (Some(42.0), Some(42.0), Some(42.0));
    add(&server, "GET", "/v1/status", ok(&body)).await;
    add(&server, "GET", "/v1/gates/alloy", ok(&old)).await;
    add(&server, "GET", "/v1/report", ok(&told)).await;
    for verb in [
        "status",
        "gate check alloy",
        "gate explain alloy",
        "plan",
        "report",
        "override list",
        "advance",
        "resume --file FILE --yes",
        "abort --file FILE --yes",
        "doctor",
    ] {
        desk.ends(&server.uri(), verb, "stale", Exit::UNKNOWN).await;
    }
}

#[tokio::test]
async fn what_is_only_told_is_0_in_every_format() {
    let desk = Desk::new();
    let server = trail(&story()).await;
    add(&server, "GET", "/v1/lock", ok(&LockAnswer { lock: Some(super::fixtures::lock(7, 1.0, true)) })).await;
    add(&server, "GET", "/v1/probes", ok(&ProbesBody { probes: midway().probes })).await;
    for verb in ["lock status", "history", "history --all --phase loki", "report", "probes list"] {
        desk.ends(&server.uri(), verb, "well", Exit::OPEN).await;
    }
}
