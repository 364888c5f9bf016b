//! `cutover doctor`: what it says of what it finds.

use clap::ValueEnum;

use super::fixtures::{at, gate, lock, midway, phase, probe, status};
use super::*;
use crate::api::types::{LockBody, PartBody, ProbeBody, StatusBody, TokenBody};
use crate::cutover::Format;
use crate::cutover::Own;
use crate::cutover::doctor::{Finding, Level, exit, probes_of, runs_of};
use crate::cutover::render::{Diagnosis, Show};
use crate::gate::Verdict;
use crate::state::{PhaseState, ProbeState};

fn some() -> Vec<Finding> {
    vec![
        Finding::fine("verifier", "http://verifier:9470 answered within 3 ms; evaluated 0.1s ago"),
        Finding::warning("clock", "this machine is 3s ahead of the verifier, give or take 1 ms", "timedatectl set-ntp true"),
        Finding::problem("token", Exit::AUTH, "this token is not known", "compare it with the verifier's token file"),
        Finding::problem("lock", Exit::MOVED, "lock 3 for phase loki: vic on desk", "cutover status --watch"),
    ]
}

#[test]
fn a_person_reads_one_line_for_each_and_what_to_type() {
    let findings = some();
    let shown = Diagnosis { head: "migration homelab  http://verifier:9470".to_owned(), findings: &findings };
    insta::assert_snapshot!("doctor", shown.lines(false).join("\n"));
    insta::assert_snapshot!("doctor_json", format!("{:#}", shown.body()));
    assert_eq!(shown.names(), ["clock", "token", "lock"]);
    let grades =
        |(_, cases): (String, Vec<crate::cutover::render::Case>)| cases.iter().map(|case| case.grade).collect::<Vec<_>>();
    assert_eq!(grades(shown.cases()), [Verdict::Open, Verdict::Pending, Verdict::Closed, Verdict::Closed]);
    assert_eq!(
        grades(shown.tests()),
        [Verdict::Open, Verdict::Open, Verdict::Closed, Verdict::Closed],
        "a warning fails no test"
    );
}

#[test]
fn the_first_problem_says_the_exit_code() {
    let findings = some();
    assert_eq!(exit(&findings), Exit::AUTH);
    assert_eq!(exit(&findings[..2]), Exit::OPEN, "a warning stops nothing");
    assert_eq!(exit(&[]), Exit::OPEN);
}

/// What is to be typed can be typed.
fn can_be_typed(findings: &[Finding]) {
    let commands = findings.iter().filter_map(|finding| finding.next.as_deref()?.strip_prefix("cutover "));
    for command in commands {
        let line = command.split("   (").next().unwrap();
        let parsed = Cli::try_parse_from(["cutover"].into_iter().chain(line.split(' ')));
        assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
    }
}

async fn verifier(body: &StatusBody) -> MockServer {
    let server = serve("GET", "/v1/status", ok(body)).await;
    let token = TokenBody { name: "ann".to_owned(), role: "operate".to_owned(), covers: vec!["operate".to_owned()] };
    add(&server, "GET", "/v1/token", ok(&token)).await;
    let mut guard = gate(Verdict::Open);
    (guard.gate, guard.kind) = ("loki".to_owned(), crate::api::types::GateKind::Entry);
    add(&server, "GET", "/v1/gates/loki/entry", ok(&guard)).await;
    server
}

#[tokio::test]
async fn the_exit_code_is_the_same_in_each_format() {
    let shell = Shell { token: Some("an-operators-long-token"), ..PLAIN };
    let server = verifier(&midway()).await;
    for format in Format::value_variants() {
        let line = format!("doctor -o {}", format.to_possible_value().unwrap().get_name());
        let ran = shell.run(&server.uri(), &line).await;
        assert_eq!((ran.exit, ran.err.as_str()), (Exit::CLOSED, ""), "{line}: {}", ran.out);
        assert!(ran.out.contains("regression"), "{line}: {}", ran.out);
    }
    let ran = cutover(&server, "doctor").await;
    assert_eq!(ran.exit, Exit::AUTH, "no token: {}", ran.out);
}

#[tokio::test]
async fn what_is_not_known_is_not_fine() {
    let shell = Shell { token: Some("an-operators-long-token"), ..PLAIN };
    let nobody = shell.run("http://127.0.0.1:1", "doctor").await;
    assert_eq!(nobody.exit, Exit::UNREACHABLE);
    assert!(nobody.out.contains("were not looked at") && !nobody.out.contains("lock  "), "{}", nobody.out);
    let mut stale = midway();
    stale.phases[0].regressed.clear();
    stale.age_seconds = Some(42.0);
    let ran = shell.run(&verifier(&stale).await.uri(), "doctor").await;
    assert_eq!(ran.exit, Exit::UNKNOWN);
    assert!(ran.out.contains("the evaluator stands still") && !ran.out.contains("get to look"), "{}", ran.out);
    let ran = shell.run(&verifier(&midway()).await.uri(), "doctor --file /nowhere.yaml").await;
    assert_eq!(ran.exit, Exit::USAGE);
    assert!(ran.out.contains("/nowhere.yaml: the file can not be read"), "{}", ran.out);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "ann operate an-operators-long-token\n").unwrap();
    let line = format!("doctor --token-file {}", file.path().display());
    let ran = shell.run(&verifier(&midway()).await.uri(), &line).await;
    assert_eq!(ran.exit, Exit::USAGE, "{}", ran.out);
    assert!(ran.out.contains("not the verifier's file") && !ran.out.contains("long-token"), "{}", ran.out);
}

fn blind(phase: &str, name: &str, reason: &str) -> ProbeBody {
    ProbeBody { reason: Some(reason.to_owned()), evidence: format!("saw {reason}"), ..probe(phase, name, ProbeState::Unknown) }
}

fn told(probes: Vec<ProbeBody>) -> Vec<Finding> {
    let phases =
        vec![phase("alloy", PhaseState::Active, true, Verdict::Open), phase("loki", PhaseState::Waiting, false, Verdict::Closed)];
    let findings = probes_of(&StatusBody { probes, ..status(phases) });
    can_be_typed(&findings);
    findings
}

#[test]
fn a_probe_that_can_not_look_is_a_problem_unless_it_passes_or_is_not_its_turn() {
    let green = || probe("alloy", "journal", ProbeState::Green);
    for (what, one, level) in [
        ("green", green(), Level::Fine),
        ("red", probe("alloy", "journal", ProbeState::Red), Level::Fine),
        ("no secret", blind("alloy", "a", "secret_missing"), Level::Problem(Exit::UNKNOWN)),
        ("a reason of another version", blind("alloy", "a", "of_another_version"), Level::Problem(Exit::UNKNOWN)),
        ("just started", blind("alloy", "a", "no_run"), Level::Warning),
        ("not looked at by its control yet", blind("alloy", "a", "control_untested"), Level::Warning),
        ("a control that passed", blind("alloy", "a", "control_passed"), Level::Problem(Exit::UNKNOWN)),
        ("what is not there yet", blind("loki", "a", "unresolved"), Level::Warning),
        ("what must be there", ProbeBody { preflight: true, ..blind("loki", "a", "unresolved") }, Level::Problem(Exit::UNKNOWN)),
        ("retired", ProbeBody { retired: true, ..blind("alloy", "a", "resolver") }, Level::Fine),
        ("overridden", ProbeBody { overridden: true, ..blind("alloy", "a", "resolver") }, Level::Fine),
        (
            "red and not believed",
            ProbeBody { control: "untrusted".to_owned(), ..probe("alloy", "a", ProbeState::Red) },
            Level::Warning,
        ),
    ] {
        let findings = told(vec![green(), one]);
        let [finding] = findings.as_slice() else { panic!("{what}: {findings:?}") };
        assert_eq!(finding.level, level, "{what}: {finding:?}");
    }
    let many: Vec<_> = (0..9).map(|n| blind("alloy", &format!("p{n}"), "resolver")).collect();
    let findings = told(many);
    assert_eq!(findings.len(), 1, "one line for each reason: {findings:?}");
    assert!(findings[0].text.contains("alloy/p4 and 4 more are unknown (resolver): saw resolver"), "{findings:?}");
}

#[test]
fn what_has_to_be_given_is_told_part_by_part_with_the_call_that_wants_it() {
    let part = |name: &str, reason: &str, evidence: &str| PartBody {
        part: name.to_owned(),
        outcome: "unknown".to_owned(),
        reason: Some(reason.to_owned()),
        evidence: evidence.to_owned(),
    };
    let users = "GET /api/org/users needs org.users:read: give the token's service account the role Admin";
    let rules = "GET /api/ruler/grafana/api/v1/rules needs alert.rules:read";
    let missing = "permission_missing";
    let parity = |phase: &str, name: &str| ProbeBody {
        next: Some("give the token what the evidence names".to_owned()),
        parts: vec![part("users", missing, users), part("rules", missing, rules), part("dashboards", "truncated", "cut")],
        ..blind(phase, name, missing)
    };
    let red = ProbeBody { parts: vec![part("rules", missing, rules)], ..probe("alloy", "red", ProbeState::Red) };
    let findings = told(vec![
        parity("alloy", "parity"),
        parity("alloy", "again"),
        parity("loki", "later"),
        red,
        blind("alloy", "key", "secret_missing"),
        blind("alloy", "old", "token_refused"),
        ProbeBody { retired: true, ..parity("alloy", "retired") },
    ]);
    let (problem, warning) = (Level::Problem(Exit::UNKNOWN), Level::Warning);
    let expected = [
        (problem, format!("alloy/parity (users), alloy/again (users) lack a permission (permission_missing): {users}")),
        (problem, format!("alloy/parity (rules), alloy/again (rules) lack a permission (permission_missing): {rules}")),
        (problem, "alloy/key lacks a secret (secret_missing): saw secret_missing".to_owned()),
        (problem, "alloy/old has a token that is not accepted (token_refused): saw token_refused".to_owned()),
        (warning, format!("loki/later (users) lacks a permission (permission_missing): {users}")),
        (warning, format!("alloy/red (rules) lacks a permission (permission_missing): {rules}")),
        (warning, format!("loki/later (rules) lacks a permission (permission_missing): {rules}")),
    ];
    let found: Vec<_> = findings.iter().map(|finding| (finding.level, finding.text.clone())).collect();
    assert_eq!(found, expected);
    assert_eq!(findings[0].next.as_deref(), Some("give the token what the evidence names"));
    let many: Vec<_> = (0..300).map(|nth| part(&format!("p{nth}"), missing, &format!("call {nth}"))).collect();
    let findings = told(vec![ProbeBody { parts: many, ..parity("alloy", "parity") }]);
    assert!(findings.len() == 21 && findings[20].text.starts_with("280 more"), "{findings:?}");
}

#[test]
fn a_regression_is_a_problem_with_both_ways_out() {
    let findings = probes_of(&midway());
    can_be_typed(&findings);
    let regression = findings.iter().find(|finding| finding.about == "regression").unwrap();
    assert_eq!(regression.level, Level::Problem(Exit::CLOSED));
    let next = regression.next.as_ref().unwrap();
    assert!(next.contains("cutover regression ack alloy") && next.contains("cutover rollback alloy"), "{next}");
}

#[test]
fn a_canary_that_stalls_while_the_collector_is_well_names_the_keep_rule() {
    let stalled = || ProbeBody { reason: Some("stalled".to_owned()), ..probe("alloy", "journal", ProbeState::Red) };
    let alloy = |state| ProbeBody { check: "alloyHealth".to_owned(), reason: None, ..probe("alloy", "health", state) };
    for (probes, hinted) in [
        (vec![stalled()], true),
        (vec![stalled(), alloy(ProbeState::Green)], true),
        (vec![stalled(), alloy(ProbeState::Red)], false),
        (vec![probe("alloy", "journal", ProbeState::Red), alloy(ProbeState::Green)], false),
    ] {
        let findings = told(probes.clone());
        let hint =
            findings.iter().any(|finding| finding.next.as_ref().is_some_and(|next| next.contains("system-metrics-canary")));
        assert_eq!(hint, hinted, "{probes:?}: {findings:?}");
    }
}

const DOCUMENT: &str = "apiVersion: phasegate.dev/v1alpha1
kind: Migration
metadata: {name: homelab}
spec:
  targets: {loki: {loki: {url: \"http://127.0.0.1:1\"}}}
  phases:
  - name: loki
    probes: [{name: ready, check: {lokiReady: {loki: loki}}}]
    steps:
    - {name: move, switch: true, do: [nowhere-to-be-found, x], undo: ['true'], dir: gone, env: {KEY: {env: PHASEGATE_NO_SUCH_SECRET}}}
    - {name: again, do: [nowhere-to-be-found, y], undo: ['./here.sh'], env: {KEY: {file: /nowhere/key}}}
";

#[tokio::test]
async fn what_steps_need_is_looked_for_on_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("migration.yaml");
    std::fs::write(&file, DOCUMENT).unwrap();
    let shell = Shell { token: Some("an-operators-long-token"), ..PLAIN };
    let mut body = status(vec![phase("loki", PhaseState::Waiting, false, Verdict::Closed)]);
    body.config_hash = crate::config::load(&file, &checks::registry()).unwrap().plan.hash.clone();
    let line = format!("doctor --file {}", file.display());
    let ran = shell.run(&verifier(&body).await.uri(), &line).await;
    assert_eq!(ran.exit, Exit::USAGE, "{}", ran.out);
    for words in [
        "is the document in force",
        "step loki/move: its folder",
        "mkdir -p",
        "step loki/move: `nowhere-to-be-found` is not found in PATH",
        "step loki/move: its variable KEY: environment variable PHASEGATE_NO_SUCH_SECRET: is not set",
        "export PHASEGATE_NO_SUCH_SECRET=…",
        "step loki/again: `./here.sh` does not exist",
        "step loki/again: its variable KEY: file /nowhere/key: No such file",
    ] {
        assert!(ran.out.contains(words), "no {words:?} in {}", ran.out);
    }
    assert_eq!(ran.out.matches("nowhere-to-be-found` is not").count(), 1, "once for each program: {}", ran.out);

    body.phases[0].state = PhaseState::Complete;
    let ran = shell.run(&verifier(&body).await.uri(), &line).await;
    assert_eq!(ran.exit, Exit::OPEN, "of a complete phase it is worth a word: {}", ran.out);
    body.config_hash = "another".to_owned();
    let ran = shell.run(&verifier(&body).await.uri(), &line).await;
    assert_eq!(ran.exit, Exit::MOVED, "{}", ran.out);
    assert!(ran.out.contains("is not the document in force"), "{}", ran.out);
}

/// A journal whose run holds lock 3, and what the verifier says of phase and lock.
#[test]
fn a_run_that_was_left_is_told_from_one_that_is_under_way() {
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().join("phasegate/runs/homelab");
    std::fs::create_dir_all(&folder).unwrap();
    let journal = format!(
        "{}\n{}\n",
        json!({"entry": "opened", "version": 1, "migration": "homelab", "phase": "loki", "server": "s", "document": "d", "at": at(-900)}),
        json!({"entry": "lock", "id": 3})
    );
    std::fs::write(folder.join("loki.jsonl"), &journal).unwrap();
    let file = state.path().join("migration.yaml");
    std::fs::write(&file, DOCUMENT).unwrap();
    let own = Own::of(&file, no_document(&file).unwrap()).unwrap();
    let look = |stands: Option<PhaseState>, lock: Option<LockBody>| {
        let body = stands.map(|stands| StatusBody { lock, ..status(vec![phase("loki", stands, false, Verdict::Closed)]) });
        runs_of(|name| (name == "XDG_STATE_HOME").then(|| state.path().into()), Some(&own), body.as_ref())
    };
    let (active, moved) = (Some(PhaseState::Active), Level::Problem(Exit::MOVED));
    for (what, stands, lock, journal, held, next) in [
        ("never begun", Some(PhaseState::Waiting), None, Level::Fine, Some(Level::Fine), ""),
        ("left without a lock", active, None, moved, Some(Level::Fine), "cutover resume"),
        ("under way", active, Some(lock(3, 2.0, true)), Level::Fine, Some(moved), "cutover status --watch"),
        ("silent", active, Some(lock(3, 99.0, true)), moved, Some(moved), "this machine's own"),
        ("under way elsewhere", active, Some(lock(4, 2.0, true)), moved, Some(moved), "cutover status --watch"),
        ("silent elsewhere", active, Some(lock(4, 99.0, true)), moved, Some(moved), "cutover lock release 4"),
        ("expired", active, Some(lock(4, 99.0, false)), moved, Some(Level::Fine), "cutover resume"),
        ("no verifier", None, None, moved, None, "cutover abort"),
    ] {
        let findings = look(stands, lock);
        can_be_typed(&findings);
        let worst = |about: &str| {
            let levels = findings.iter().filter(|finding| finding.about == about).map(|finding| finding.level);
            levels.reduce(|worst, level| if worst == Level::Fine { level } else { worst })
        };
        assert_eq!((worst("journal"), worst("lock")), (Some(journal), held), "{what}: {findings:?}");
        let nexts: String = findings.iter().filter_map(|finding| finding.next.clone()).collect();
        assert!(nexts.contains(next), "{what}: {nexts}");
    }
    let undone = json!({"entry": "end", "step": "move", "way": "undo", "end": "done", "note": "", "told": false});
    std::fs::write(folder.join("loki.jsonl"), format!("{journal}{undone}\n")).unwrap();
    for lock in [None, Some(lock(3, 99.0, true))] {
        let findings = look(active, lock);
        can_be_typed(&findings);
        let mut nexts = findings.iter().filter_map(|finding| finding.next.as_deref());
        assert!(nexts.all(|next| next.starts_with("cutover abort")), "what went back does not go on: {findings:?}");
    }
}
