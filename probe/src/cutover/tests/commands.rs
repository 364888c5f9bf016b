//! Commands: what is sent, what comes of it.

use std::time::Duration;

use wiremock::matchers::{body_json, header};

use super::fixtures::{at, blocker, exception, gate, phase, plan, receipt, status};
use super::*;
use crate::api::types::{ProbesBody, RunBody, RunsBody};
use crate::gate::Verdict;
use crate::state::{PhaseState, ProbeState};

async fn asked(server: &MockServer) -> Vec<String> {
    let requests = server.received_requests().await.unwrap();
    requests.iter().map(|request| format!("{} {}", request.method, request.url.path())).collect()
}

/// Alloy as given, Loki waiting.
async fn two(alloy: PhaseState, switched: bool) -> MockServer {
    let verdict = if alloy == PhaseState::Waiting { Verdict::Closed } else { Verdict::Open };
    let phases = vec![phase("alloy", alloy, switched, verdict), phase("loki", PhaseState::Waiting, false, Verdict::Closed)];
    serve("GET", "/v1/status", ok(&status(phases))).await
}

#[tokio::test]
async fn advance_begins_the_first_waiting_phase() {
    let server = two(PhaseState::Waiting, false).await;
    add(&server, "POST", "/v1/phases/alloy/begin", ok(&receipt("phase alloy is active"))).await;
    let ran = cutover(&server, "advance").await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::OPEN, "phase alloy is active\n"));
    assert!(ran.err.contains("beginning phase alloy"), "{}", ran.err);
}

#[tokio::test]
async fn advance_wants_the_switch_to_be_said() {
    let server = two(PhaseState::Active, false).await;
    let ran = cutover(&server, "advance").await;
    assert_eq!(ran.exit, Exit::CLOSED);
    assert!(ran.err.contains("`cutover switch alloy`"), "{}", ran.err);
    assert_eq!(asked(&server).await, ["GET /v1/status"]);
}

#[tokio::test]
async fn advance_completes_and_begins_the_next() {
    let server = two(PhaseState::Active, true).await;
    add(&server, "GET", "/v1/gates/alloy", ok(&gate(Verdict::Open))).await;
    add(&server, "POST", "/v1/phases/alloy/complete", ok(&receipt("phase alloy is complete"))).await;
    add(&server, "POST", "/v1/phases/loki/begin", ok(&receipt("phase loki is active"))).await;
    let ran = cutover(&server, "advance").await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::OPEN, "phase alloy is complete\nphase loki is active\n"));
    let posts = ["GET /v1/status", "GET /v1/gates/alloy", "POST /v1/phases/alloy/complete", "POST /v1/phases/loki/begin"];
    assert_eq!(asked(&server).await, posts);
}

#[tokio::test]
async fn advance_says_what_was_done_when_the_next_phase_can_not_begin() {
    let server = two(PhaseState::Active, true).await;
    add(&server, "GET", "/v1/gates/alloy", ok(&gate(Verdict::Open))).await;
    add(&server, "POST", "/v1/phases/alloy/complete", ok(&receipt("phase alloy is complete"))).await;
    let blockers = json!([blocker(Verdict::Pending, Some(ProbeState::Waiting), "not_due")]);
    add(&server, "POST", "/v1/phases/loki/begin", refusal(425, Some("pending"), blockers)).await;
    let ran = cutover(&server, "advance -o json").await;
    assert_eq!(ran.exit, Exit::PENDING);
    assert!(ran.err.contains("phase alloy is complete; but phase loki can not begin yet"), "{}", ran.err);
    let body: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&body["done"][0]["message"], &body["error"]["exit"]), (&json!("phase alloy is complete"), &json!(8)));
}

#[tokio::test]
async fn advance_sends_nothing_while_the_gate_is_not_open() {
    let shut = [(Verdict::Closed, Exit::CLOSED), (Verdict::Pending, Exit::PENDING), (Verdict::Unknown, Exit::UNKNOWN)];
    for (verdict, exit) in shut {
        let server = two(PhaseState::Active, true).await;
        add(&server, "GET", "/v1/gates/alloy", ok(&gate(verdict))).await;
        assert_eq!(cutover(&server, "advance").await.exit, exit);
        assert_eq!(asked(&server).await, ["GET /v1/status", "GET /v1/gates/alloy"]);
    }
}

#[tokio::test]
async fn advance_needs_fresh_phases() {
    let mut stale = status(vec![phase("alloy", PhaseState::Waiting, false, Verdict::Closed)]);
    stale.age_seconds = Some(9.0);
    for body in [stale, status(vec![])] {
        let server = serve("GET", "/v1/status", ok(&body)).await;
        assert_eq!(cutover(&server, "advance").await.exit, Exit::UNKNOWN);
        assert_eq!(asked(&server).await, ["GET /v1/status"]);
    }
}

#[tokio::test]
async fn advance_at_the_end_says_so() {
    let done = |name| phase(name, PhaseState::Complete, true, Verdict::Open);
    let server = serve("GET", "/v1/status", ok(&status(vec![done("alloy"), done("loki")]))).await;
    let ran = cutover(&server, "advance").await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::OPEN, "all 2 phases of homelab are complete\n"));
}

#[tokio::test]
async fn a_refused_command_has_the_verdicts_exit_code() {
    let cases = [
        (412, Some("closed"), Exit::CLOSED),
        (425, Some("pending"), Exit::PENDING),
        (424, Some("unknown"), Exit::UNKNOWN),
        (409, Some("pending"), Exit::PENDING),
        (409, None, Exit::CLOSED),
        (424, None, Exit::UNKNOWN),
        (412, Some("open"), Exit::UNKNOWN),
        (422, None, Exit::USAGE),
        (401, None, Exit::AUTH),
    ];
    for (status, verdict, exit) in cases {
        let blockers = json!([blocker(Verdict::Closed, Some(ProbeState::Red), "lost")]);
        let server = serve("POST", "/v1/phases/alloy/complete", refusal(status, verdict, blockers)).await;
        let ran = cutover(&server, "complete alloy").await;
        assert_eq!(ran.exit, exit, "{status} {verdict:?}: {}", ran.err);
        assert!(exit == Exit::AUTH || ran.err.contains("RED      alloy/journal  lost"), "{}", ran.err);
    }
}

#[tokio::test]
async fn a_command_without_an_answer_may_have_been_taken() {
    let late = ok(&receipt("x")).set_delay(Duration::from_mins(1));
    for answer in [late, ResponseTemplate::new(200)] {
        let server = serve("POST", "/v1/phases/alloy/switch", answer).await;
        let ran = cutover(&server, "switch alloy --request-timeout 300ms").await;
        assert_eq!(ran.exit, Exit::UNREACHABLE);
        assert!(ran.err.contains("may have been taken: look with `cutover status`"), "{}", ran.err);
    }
}

#[tokio::test]
async fn what_no_gate_guards_wants_a_typed_name() {
    let lines = [
        ("adopt alloy --reason x", "alloy", "/v1/phases/alloy/adopt"),
        ("override create dns --ttl 5m --reason x", "dns", "/v1/overrides"),
    ];
    for (line, word, at) in lines {
        let server = serve("POST", at, ok(&receipt("done"))).await;
        let nobody = cutover(&server, line).await;
        assert_eq!(nobody.exit, Exit::USAGE);
        assert!(nobody.err.contains("hint: add --yes"), "{}", nobody.err);
        let wrong = Shell { answer: Some("yes"), ..PLAIN }.run(&server.uri(), line).await;
        assert_eq!(wrong.exit, Exit::USAGE);
        assert_eq!(asked(&server).await, Vec::<String>::new());
        let typed = Shell { answer: Some(word), ..PLAIN }.run(&server.uri(), line).await;
        assert_eq!((typed.exit, typed.out.as_str()), (Exit::OPEN, "done\n"));
        assert_eq!(cutover(&server, &format!("{line} --yes")).await.exit, Exit::OPEN);
    }
}

#[tokio::test]
async fn requests_carry_the_token_and_what_was_said() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/v1/overrides"))
        .and(header("authorization", "Bearer s3cret"))
        .and(body_json(json!({"probe": "dns", "reason": "x", "ttlSeconds": 300})))
        .respond_with(ok(&json!({"message": "override 3", "phase": null, "id": 3})))
        .mount(&server)
        .await;
    let line = "override create dns --ttl 5m --reason x --yes -o name";
    let ran = Shell { token: Some("s3cret"), ..PLAIN }.run(&server.uri(), line).await;
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::OPEN, "3\n"), "{}", ran.err);
}

#[tokio::test]
async fn overrides_are_listed_and_revoked() {
    let mut body = status(vec![]);
    body.overrides = vec![exception()];
    let server = serve("GET", "/v1/status", ok(&body)).await;
    add(&server, "DELETE", "/v1/overrides/3", ok(&receipt("override 3 is over"))).await;
    insta::assert_snapshot!("override_list", cutover(&server, "override list").await.out);
    assert_eq!(cutover(&server, "override revoke 3").await.out, "override 3 is over\n");
    assert_eq!(cutover(&server, "override revoke 4").await.exit, Exit::UNREACHABLE);
}

fn a_run(started: i64, outcome: &str) -> RunBody {
    RunBody {
        started: at(started),
        duration_seconds: 0.012,
        outcome: outcome.to_owned(),
        reason: None,
        evidence: "seen".to_owned(),
        parts: vec![],
    }
}

#[tokio::test]
async fn a_probe_is_run_now() {
    let cases = [
        ("pass", Exit::OPEN),
        ("fail", Exit::CLOSED),
        ("unknown", Exit::UNKNOWN),
        ("waiting", Exit::PENDING),
        ("progress", Exit::PENDING),
        ("splendid", Exit::UNKNOWN),
    ];
    for (outcome, exit) in cases {
        let server = serve("GET", "/v1/status", ok(&status(vec![]))).await;
        let runs = |runs| ok(&RunsBody { probe: "dns".to_owned(), runs });
        let before = Mock::given(method("GET")).and(path("/v1/probes/dns/runs")).respond_with(runs(vec![a_run(-5, "pass")]));
        before.up_to_n_times(2).mount(&server).await;
        add(&server, "POST", "/v1/probes/dns/run", ResponseTemplate::new(202).set_body_json(receipt("dns is woken"))).await;
        add(&server, "GET", "/v1/probes/dns/runs", runs(vec![a_run(2, outcome), a_run(-5, "pass")])).await;
        let ran = cutover(&server, "probes run dns").await;
        assert_eq!((ran.exit, ran.out.lines().count()), (exit, 2), "{}", ran.err);
        assert!(ran.out.contains(&outcome.to_uppercase()), "{}", ran.out);
    }
}

#[tokio::test]
async fn an_older_run_is_no_answer_to_running_now() {
    let server = serve("GET", "/v1/status", ok(&status(vec![]))).await;
    add(&server, "POST", "/v1/probes/dns/run", ok(&receipt("dns is woken"))).await;
    let old = RunsBody { probe: "dns".to_owned(), runs: vec![a_run(0, "pass")] };
    add(&server, "GET", "/v1/probes/dns/runs", ok(&old)).await;
    let ran = cutover(&server, "probes run dns --timeout 700ms").await;
    assert_eq!(ran.exit, Exit::TIMEOUT, "{}", ran.out);
}

#[tokio::test]
async fn probes_are_listed_forgotten_and_remembered() {
    let probes = ProbesBody { probes: status(vec![]).probes };
    let server = serve("GET", "/v1/probes", ok(&probes)).await;
    add(&server, "POST", "/v1/probes/journal/forget/node%2F3", ok(&receipt("gone"))).await;
    let runs = RunsBody { probe: "dns".to_owned(), runs: vec![a_run(0, "fail"), a_run(-5, "pass")] };
    add(&server, "GET", "/v1/probes/dns/runs", ok(&runs)).await;
    insta::assert_snapshot!("probes_list", cutover(&server, "probes list").await.out);
    assert_eq!(cutover(&server, "probes list -o name").await.out, "journal\ningest\n");
    assert_eq!(cutover(&server, "probes forget journal node/3").await.out, "gone\n");
    assert_eq!(cutover(&server, "probes history dns --limit 1").await.out.lines().count(), 2);
}

#[tokio::test]
async fn version_never_fails() {
    let ran = PLAIN.run("http://127.0.0.1:1", "version").await;
    assert_eq!((ran.exit, ran.out), (Exit::OPEN, concat!("cutover ", env!("CARGO_PKG_VERSION"), "\n").to_owned()));
    let server = serve("GET", "/v1/status", ok(&status(vec![]))).await;
    assert!(cutover(&server, "version").await.out.ends_with("verifier 0.1.0\n"));
}

#[tokio::test]
async fn completions_need_no_server() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = PLAIN.run("nonsense", &format!("completion {shell}")).await;
        assert_eq!(ran.exit, Exit::OPEN);
        assert!(ran.out.contains("cutover"), "{shell}");
    }
}

#[tokio::test]
async fn a_rollback_wants_a_typed_name() {
    let server = serve("GET", "/v1/phases/alloy/plan", ok(&plan("alloy", vec![]))).await;
    add(&server, "POST", "/v1/phases/alloy/rollback", ok(&receipt("done"))).await;
    let line = "rollback alloy --reason x";
    let nobody = cutover(&server, line).await;
    assert_eq!(nobody.exit, Exit::USAGE);
    assert!(nobody.err.contains("hint: add --yes"), "{}", nobody.err);
    assert_eq!(asked(&server).await, ["GET /v1/phases/alloy/plan"]);
    let typed = Shell { answer: Some("alloy"), ..PLAIN }.run(&server.uri(), line).await;
    assert_eq!((typed.exit, typed.out.as_str()), (Exit::OPEN, "done\n"));
}
