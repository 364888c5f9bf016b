//! What people read.

use super::fixtures::{at, blocker, exception, gate, lock, midway, phase, probe, status};
use super::*;
use crate::api::types::StatusBody;
use crate::gate::Verdict;
use crate::state::{PhaseState, ProbeState};

/// The mock server's port changes from run to run.
fn fixed(ran: &Ran, server: &MockServer) -> String {
    let text = format!("{}--- stderr\n{}--- exit {} {}", ran.out, ran.err, ran.exit.code, ran.exit.name);
    text.replace(&server.uri(), "http://verifier:9470")
}

#[tokio::test]
async fn status_is_one_screen() {
    let server = serve("GET", "/v1/status", ok(&midway())).await;
    insta::assert_snapshot!("status", fixed(&cutover(&server, "status").await, &server));
    insta::assert_snapshot!("status_wide", fixed(&cutover(&server, "status -o wide").await, &server));
}

#[tokio::test]
async fn a_stale_status_shows_nothing_open_or_green() {
    let mut body = midway();
    body.age_seconds = Some(42.0);
    let server = serve("GET", "/v1/status", ok(&body)).await;
    insta::assert_snapshot!("status_stale", fixed(&cutover(&server, "status").await, &server));
    let ran = cutover(&server, "status -o json").await;
    assert_eq!(ran.exit, Exit::UNKNOWN);
    assert!(!ran.out.contains("\"open\"") && !ran.out.contains("\"green\""), "{}", ran.out);
}

/// Loki switching: one step done, one that failed at its second attempt, one behind the point of no return.
fn stepping() -> StatusBody {
    let step = |name: &str, state: Option<&str>, marks: (bool, bool)| {
        let since = state.map(|_| json!({"at": at(-60), "by": "vic"}));
        let note = if state == Some("failed") { "it exited with 3: no space left" } else { "" };
        serde_json::from_value(json!({
            "name": name, "kind": "command", "switch": marks.0, "ponr": marks.1, "undo": !marks.1, "check": false, "verify": [],
            "gate": null, "disturbs": [], "timeoutSeconds": 600.0, "tookSeconds": null, "rehearsed": false, "state": state,
            "since": since, "attempts": 2, "note": note,
        }))
        .unwrap()
    };
    let mut loki = phase("loki", PhaseState::Active, false, Verdict::Closed);
    loki.switching = loki.begun.clone();
    loki.ponr_crossed = loki.begun.clone();
    loki.steps = vec![
        step("copy", Some("done"), (false, false)),
        step("re-point", Some("failed"), (true, false)),
        step("drop-old", None, (false, true)),
    ];
    StatusBody { lock: Some(lock(3, 12.0, true)), ..status(vec![loki]) }
}

#[tokio::test]
async fn steps_and_the_lock_are_on_the_same_screen() {
    let mut body = stepping();
    let server = serve("GET", "/v1/status", ok(&body)).await;
    insta::assert_snapshot!("status_steps", fixed(&cutover(&server, "status").await, &server));
    body.age_seconds = Some(42.0);
    let server = serve("GET", "/v1/status", ok(&body)).await;
    let ran = cutover(&server, "status").await;
    assert!(ran.out.contains("was failed") && ran.exit == Exit::UNKNOWN, "{}", ran.out);
}

#[tokio::test]
async fn a_watch_shows_changes_and_ends_where_looking_is_denied() {
    let server = MockServer::start().await;
    let times = |answer: ResponseTemplate, count| Mock::given(path("/v1/status")).respond_with(answer).up_to_n_times(count);
    let mut other = midway();
    other.phases[1].verdict = Verdict::Pending;
    let mut ticked = midway();
    (ticked.epoch, ticked.phases[1].soak.have) = (4813, 1231.0);
    times(ok(&midway()), 1).mount(&server).await;
    times(ok(&ticked), 2).mount(&server).await;
    times(ResponseTemplate::new(502), 2).mount(&server).await;
    times(ok(&other), 2).mount(&server).await;
    times(refusal(401, None, json!([])), 1).mount(&server).await;
    let ran = cutover(&server, "status --watch --interval 1ms").await;
    assert_eq!(ran.exit, Exit::AUTH);
    assert_eq!(ran.out.matches("migration homelab").count(), 2, "{}", ran.out);
    assert_eq!(ran.err.matches("still trying").count(), 1, "{}", ran.err);
    assert_eq!(ran.err.matches("answers again").count(), 1, "{}", ran.err);
}

#[tokio::test]
async fn explain_needs_no_second_command() {
    let mut body = gate(Verdict::Closed);
    body.blockers.push(blocker(Verdict::Pending, None, "soaking"));
    body.blockers[1].evidence = "green for 20m 30s of 1h; 39m 30s to go".to_owned();
    body.blocked_by = 53;
    body.ratchet = vec![probe("net", "dns", ProbeState::Green), probe("net", "tcp", ProbeState::Red)];
    body.overrides = vec![exception()];
    body.overridden = true;
    let server = serve("GET", "/v1/gates/alloy", ok(&body)).await;
    insta::assert_snapshot!("explain_closed", fixed(&cutover(&server, "gate explain alloy").await, &server));
    insta::assert_snapshot!("check_closed", fixed(&cutover(&server, "gate check alloy").await, &server));
}

#[tokio::test]
async fn an_open_gate_says_since_when() {
    let server = serve("GET", "/v1/gates/alloy", ok(&gate(Verdict::Open))).await;
    insta::assert_snapshot!("explain_open", fixed(&cutover(&server, "gate explain alloy").await, &server));
}

#[tokio::test]
async fn advance_refuses_with_the_first_blocker() {
    let phases = vec![phase("alloy", PhaseState::Active, true, Verdict::Closed)];
    let server = serve("GET", "/v1/status", ok(&status(phases))).await;
    add(&server, "GET", "/v1/gates/alloy", ok(&gate(Verdict::Closed))).await;
    insta::assert_snapshot!("advance_refused", fixed(&cutover(&server, "advance").await, &server));
}
