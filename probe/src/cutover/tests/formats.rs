//! Each verb in every output format, side by side.

use std::path::{Path, PathBuf};

use super::fixtures::{at, blocker, exception, gate, lock, midway, phase, plan, receipt, status, step};
use super::looking_back::{story, trail};
use super::*;
use crate::api::types::{LockAnswer, PhaseBody, PlanBody, RemovalBody, StampBody, StatusBody, StepBody};
use crate::gate::Verdict;
use crate::plan::StepKind;
use crate::state::{PhaseState, ProbeState, StepState};

/// Every format, in the order of the help.
pub(super) const FORMATS: [&str; 7] = ["table", "wide", "json", "yaml", "name", "github", "junit"];

/// What one command line leaves in every format: the talk, which is the same in each of them, then each format's data. A format
/// that says the same as the one before it is not shown twice.
async fn formats(server: &MockServer, line: &str, exit: Exit) -> String {
    let folder = tempfile::tempdir().unwrap();
    let shell = Shell { collected: Some(folder.path().to_owned()), ..PLAIN };
    let mut sections: Vec<String> = Vec::new();
    let mut talk = None;
    let mut before = String::from("nothing");
    let mut json = Value::Null;
    for format in FORMATS {
        let ran = shell.run(&server.uri(), &format!("{line} -o {format}")).await;
        assert_eq!(ran.exit, exit, "{line} as {format}: {}{}", ran.out, ran.err);
        assert_eq!(*talk.get_or_insert(ran.err.clone()), ran.err, "{line} as {format}: the talk is another");
        let shown = if ran.out == before { "as above\n".to_owned() } else { brief(format, &ran.out) };
        sections.push(format!("=== {format}\n{shown}"));
        if format == "json" {
            json = serde_json::from_str::<Value>(&ran.out).unwrap();
        } else if format == "yaml" {
            assert_eq!(serde_saphyr::from_str::<Value>(&ran.out).unwrap(), json, "{line}: YAML and JSON say the same");
        }
        before = ran.out;
    }
    for collected in ["summary", "output"] {
        let text = std::fs::read_to_string(folder.path().join(collected)).unwrap_or_default();
        sections.push(format!("=== github, its {collected}\n{text}"));
    }
    let head = format!("$ cutover {line}\nexit {} {}\n=== stderr\n{}", exit.code, exit.name, talk.unwrap_or_default());
    (head + &sections.concat()).replace(&server.uri(), "http://verifier:9470")
}

/// A body as it is, or what it consists of if it is long.
fn brief(format: &str, out: &str) -> String {
    const LONG: usize = 40;
    let lines = out.lines().count();
    if !matches!(format, "json" | "yaml") || lines <= LONG {
        return out.to_owned();
    }
    let key = |line: &str| match format {
        "json" => line.strip_prefix("  \"").and_then(|rest| Some(rest.split_once('"')?.0.to_owned())),
        _ => line.split_once(':').map(|(key, _)| key.to_owned()).filter(|key| key.chars().all(char::is_alphanumeric)),
    };
    format!("({lines} lines: {})\n", out.lines().filter_map(key).collect::<Vec<_>>().join(", "))
}

fn stamp(seconds: i64, by: &str) -> StampBody {
    StampBody { at: at(seconds), by: by.to_owned() }
}

/// The operator's own document, with secrets where people write them.
const DOCUMENT: &str = "apiVersion: phasegate.dev/v1alpha1
kind: Migration
metadata: {name: homelab}
spec:
  targets: {loki: {loki: {url: \"http://127.0.0.1:1\"}}}
  phases:
  - name: loki
    breaks: Grafana shows no new lines for about two minutes
    fourEyes: true
    probes: [{name: ready, check: {lokiReady: {loki: loki}}}]
    steps:
    - {name: copy, do: [rclone, sync, 'old:loki', 'new:loki', --password, hunter2], undo: [rclone, purge, 'new:loki']}
    - {name: tell-users, manual: tell the users that history is read-only, undo: {manual: tell them it is over}}
    - {name: re-point, switch: true, disturbs: [ready], do: [sh, -c, 'kubectl apply -f alloy.yaml'], undo: [kubectl, delete, -f, alloy.yaml]}
    - {name: drop-old, ponr: true, do: [curl, -H, 'Authorization: Bearer hunter2', -X, DELETE, 'http://old/loki']}
";

fn own(folder: &Path) -> (PathBuf, String) {
    let file = folder.join("migration.yaml");
    std::fs::write(&file, DOCUMENT).unwrap();
    let hash = no_document(&file).unwrap().plan.hash.clone();
    (file, hash)
}

/// The plan of a phase that waits, as the verifier tells it.
fn planned(config_hash: String) -> PlanBody {
    let done = |name: &str, took| StepBody { took_seconds: Some(took), ..step(name, None) };
    let steps = vec![
        StepBody { rehearsed: true, ..done("copy", 754.0) },
        StepBody { kind: StepKind::Manual, ..step("tell-users", None) },
        StepBody { switch: true, disturbs: vec!["ready".to_owned()], ..done("re-point", 0.4) },
        StepBody { ponr: true, undo: false, check: false, ..step("drop-old", None) },
    ];
    PlanBody {
        config_hash,
        phase_state: PhaseState::Waiting,
        entry_reason: "open: nothing stands in the way".to_owned(),
        retires: vec!["old-ready".to_owned()],
        four_eyes: true,
        ..plan("loki", steps)
    }
}

#[tokio::test]
async fn a_plan() {
    let folder = tempfile::tempdir().unwrap();
    let (file, hash) = own(folder.path());
    let server = serve("GET", "/v1/phases/loki/plan", ok(&planned(hash.clone()))).await;
    let line = format!("plan loki --file {}", file.display());
    let shown = formats(&server, &line, Exit::OPEN).await.replace(&*file.display().to_string(), "migration.yaml");
    assert!(!shown.contains("hunter2"), "{shown}");
    insta::assert_snapshot!("formats_plan", shown.replace(&hash, "HASH").replace(&hash[..8], "HASH"));
}

#[tokio::test]
async fn a_plan_under_way() {
    let mut body = planned("a91f03c2d4e5f60718293a4b5c6d7e8f".to_owned());
    body.phase_state = PhaseState::Active;
    body.steps.truncate(2);
    body.steps[0].state = Some(StepState::Done);
    body.steps[1] = StepBody { ponr: true, undo: false, ..step("drop-old", Some(StepState::Failed)) };
    (body.entry, body.entry_reason) = (Verdict::Closed, "closed: step drop-old has failed".to_owned());
    (body.approved, body.ponr_crossed) = (Some(stamp(-4000, "ann")), Some(stamp(-3785, "vic")));
    (body.switching, body.retires) = (Some(stamp(-3700, "vic")), vec![]);
    body.lock = Some(lock(7, 0.3, true));
    let server = serve("GET", "/v1/phases/loki/plan", ok(&body)).await;
    let told = |ran: Ran| format!("{}--- stderr\n{}", ran.out, ran.err);
    insta::assert_snapshot!("plan_under_way", told(cutover(&server, "plan loki").await));
    body.going_back = true;
    body.lock = None;
    let server = serve("GET", "/v1/phases/loki/plan", ok(&body)).await;
    insta::assert_snapshot!("plan_going_back", told(cutover(&server, "plan loki").await));
}

#[tokio::test]
async fn the_lock() {
    let server = serve("GET", "/v1/lock", ok(&LockAnswer { lock: Some(lock(7, 0.3, true)) })).await;
    insta::assert_snapshot!("formats_lock_status", formats(&server, "lock status", Exit::OPEN).await);
    let server = serve("GET", "/v1/lock", ok(&LockAnswer { lock: Some(lock(7, 312.0, false)) })).await;
    insta::assert_snapshot!("lock_expired", cutover(&server, "lock status").await.out);
    let server = serve("GET", "/v1/lock", ok(&LockAnswer { lock: None })).await;
    insta::assert_snapshot!("formats_lock_free", formats(&server, "lock status", Exit::OPEN).await);
}

#[tokio::test]
async fn an_approval() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("loki.plan");
    std::fs::write(&file, serde_json::to_string(&planned("c".repeat(64))).unwrap()).unwrap();
    let server = serve("POST", "/v1/approvals", ok(&receipt("the plan of phase loki is approved by ann"))).await;
    let line = format!("approve loki --plan {}", file.display());
    let shown = formats(&server, &line, Exit::OPEN).await;
    insta::assert_snapshot!("formats_approve", shown.replace(&*file.display().to_string(), "loki.plan"));
}

#[tokio::test]
async fn a_removal() {
    let said = receipt("target docker-loki is decommissioned: once it is seen gone, it must not come back");
    let server = serve("POST", "/v1/targets/docker-loki/decommission", ok(&said)).await;
    let line = "decommission docker-loki --reason moved --confirm docker-loki";
    insta::assert_snapshot!("formats_decommission", formats(&server, line, Exit::OPEN).await);
}

#[tokio::test]
async fn overrides() {
    let mut body = status(vec![]);
    body.overrides = vec![exception()];
    body.overrides[0].remaining_seconds = 0.4;
    let server = serve("GET", "/v1/status", ok(&body)).await;
    insta::assert_snapshot!("formats_override_list", formats(&server, "override list", Exit::OPEN).await);
    let server = serve("GET", "/v1/status", ok(&status(vec![]))).await;
    insta::assert_snapshot!("formats_override_none", formats(&server, "override list", Exit::OPEN).await);
}

/// One phase whose step has failed behind the point of no return, under a lock, beside an old side that was removed.
fn late() -> StatusBody {
    let failed = StepBody { note: "it exited with 3: no space left".to_owned(), ..step("drop-old", Some(StepState::Failed)) };
    let steps = vec![
        StepBody { switch: true, ..step("re-point", Some(StepState::Done)) },
        StepBody { ponr: true, undo: false, attempts: 2, ..failed },
        step("tidy-up", None),
    ];
    let loki = PhaseBody {
        switching: Some(stamp(-3700, "vic")),
        ponr_crossed: Some(stamp(-3785, "vic")),
        steps,
        ..phase("loki", PhaseState::Active, true, Verdict::Closed)
    };
    let removed = |target: &str, gone| RemovalBody {
        target: target.to_owned(),
        stamp: stamp(-9000, "vic"),
        reason: "moved in May".to_owned(),
        gone,
        tripwires: vec![format!("{target}-stays-gone")],
    };
    StatusBody {
        lock: Some(lock(7, 0.3, true)),
        probes: vec![],
        decommissioned: vec![removed("docker-promtail", Some(at(-8000))), removed("docker-loki", None)],
        ..status(vec![loki])
    }
}

#[tokio::test]
async fn a_status() {
    let server = serve("GET", "/v1/status", ok(&late())).await;
    insta::assert_snapshot!("formats_status", formats(&server, "status", Exit::OPEN).await);
}

#[tokio::test]
async fn a_refusal() {
    let mut other = blocker(Verdict::Unknown, Some(ProbeState::Unknown), "stale");
    (other.probe, other.evidence, other.next) = (None, "no step was run".to_owned(), "look at it: `cutover status`".to_owned());
    let blockers = json!([blocker(Verdict::Closed, Some(ProbeState::Red), "lost"), other]);
    let server = serve("POST", "/v1/phases/alloy/complete", refusal(412, Some("closed"), blockers)).await;
    insta::assert_snapshot!("formats_refusal", formats(&server, "complete alloy", Exit::CLOSED).await);
}

#[tokio::test]
async fn the_history() {
    let server = trail(&story()[1..3]).await;
    insta::assert_snapshot!("formats_history", formats(&server, "history", Exit::OPEN).await);
    insta::assert_snapshot!("formats_history_none", formats(&server, "history --since 1s", Exit::OPEN).await);
}

#[tokio::test]
async fn an_explanation() {
    let mut body = gate(Verdict::Closed);
    body.overrides = vec![exception()];
    body.probes.truncate(1);
    let server = serve("GET", "/v1/gates/alloy", ok(&body)).await;
    insta::assert_snapshot!("formats_gate_explain", formats(&server, "gate explain alloy", Exit::CLOSED).await);
}

#[tokio::test]
async fn a_midway_status_for_pipelines() {
    let server = serve("GET", "/v1/status", ok(&midway())).await;
    let mut told = Vec::new();
    for format in ["name", "github", "junit"] {
        told.push(format!("=== {format}\n{}", cutover(&server, &format!("status -o {format}")).await.out));
    }
    insta::assert_snapshot!("status_for_pipelines", told.concat());
}
