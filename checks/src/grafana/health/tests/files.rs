use std::collections::BTreeMap;
use std::fs;

use chrono::{DateTime, TimeDelta};
use serde_json::{Value, json};
use tempfile::TempDir;
use wiremock::matchers::{method, path, path_regex};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::super::*;
use crate::Target;
use crate::testing::{check, context_with, part};

/// A folder of files, and a Grafana that serves these dashboards.
struct World {
    folder: TempDir,
    served: BTreeMap<String, Value>,
    /// How long ago the files were written.
    ago: TimeDelta,
    denied: bool,
}

fn dashboard(uid: &str, title: &str) -> Value {
    json!({"uid": uid, "title": title, "schemaVersion": 38, "panels": [{"id": 1, "type": "logs", "datasource": "Loki", "targets": [{"expr": "hunter2"}]}]})
}

/// As Grafana keeps it.
fn kept(uid: &str, title: &str) -> Value {
    let mut model = dashboard(uid, title);
    model["id"] = json!(7);
    model["version"] = json!(3);
    model["panels"][0]["datasource"] = json!({"type": "loki", "uid": "l1"});
    json!({"meta": {"provisioned": true, "provisionedExternalId": "a.json"}, "dashboard": model})
}

impl World {
    fn new() -> Self {
        let world = Self { folder: TempDir::new().unwrap(), served: BTreeMap::new(), ago: TimeDelta::hours(1), denied: false };
        world.write("a.json", &dashboard("a", "A").to_string());
        world
    }

    fn serving(mut self, uid: &str, reply: Value) -> Self {
        self.served.insert(uid.to_owned(), reply);
        self
    }

    fn write(&self, name: &str, text: &str) {
        let file = self.folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    async fn start(&self) -> (Context, MockServer) {
        let server = MockServer::start().await;
        let answer = |body: &Value| ResponseTemplate::new(200).set_body_json(body);
        let at = |at: &str, body: &Value| Mock::given(method("GET")).and(path(at)).respond_with(answer(body));
        at("/api/health", &json!({"database": "ok", "version": "12.3.2"})).mount(&server).await;
        at("/api/datasources", &json!([{"uid": "l1", "name": "Loki", "type": "loki"}])).mount(&server).await;
        let (served, denied) = (self.served.clone(), self.denied);
        let one = move |request: &Request| match served.get(request.url.path().rsplit('/').next().unwrap()) {
            _ if denied => ResponseTemplate::new(403).set_body_json(json!({"message": "Permissions needed: dashboards:read"})),
            Some(reply) => ResponseTemplate::new(200).set_body_json(reply),
            None => ResponseTemplate::new(404).set_body_json(json!({"message": "Dashboard not found"})),
        };
        Mock::given(method("GET")).and(path_regex("^/api/dashboards/uid/")).respond_with(one).mount(&server).await;
        let missing = ResponseTemplate::new(404).set_body_json(json!({"message": "Not found"}));
        Mock::given(method("GET")).and(path_regex("^/api/phasegate")).respond_with(missing).mount(&server).await;
        let target: Target = serde_json::from_value(json!({"grafana": {"url": server.uri()}})).unwrap();
        // The folder is as old as its newest file.
        let written = fs::metadata(self.folder.path()).map_or(DateTime::UNIX_EPOCH, |about| about.modified().unwrap().into());
        (Context { now: written + self.ago, ..context_with(target) }, server)
    }

    fn check(&self, more: &[&str]) -> GrafanaHealth {
        check(json!({"grafana": "target", "provisioned": {"files": [self.folder.path()], "dashboards": more}}))
    }

    async fn seen(&self, more: &[&str]) -> Outcome {
        let (cx, _server) = self.start().await;
        let report = Check::run(&self.check(more), &cx, Memory::default()).await;
        let said = format!("{:?} {}", report.step, serde_json::to_string(&report.memory).unwrap());
        assert!(!said.contains("hunter2"), "{said}");
        assert_eq!(part(&report, DATABASE).label(), "pass");
        part(&report, PROVISIONING)
    }
}

fn reason(outcome: &Outcome) -> &str {
    outcome.reason().map_or("pass", |reason| reason.as_str())
}

#[tokio::test]
async fn dashboards_that_are_what_their_files_say_pass() {
    let outcome = World::new().serving("a", kept("a", "A")).seen(&[]).await;
    assert_eq!(outcome.evidence().as_str(), "1 dashboards are what their files say", "{outcome:?}");
}

#[tokio::test]
async fn what_grafana_serves_instead_of_the_file_is_told_apart() {
    let by_hand = json!({"meta": {"provisioned": false}, "dashboard": dashboard("a", "A")});
    for (served, expected, words) in [
        (None, "not_provisioned", "is not there"),
        (Some(by_hand), "not_provisioned", "is there, and not from a file"),
        (Some(kept("a", "B")), "outdated", "is another version than the file"),
    ] {
        let mut world = World::new();
        world.served.extend(served.map(|reply| ("a".to_owned(), reply)));
        let outcome = world.seen(&[]).await;
        assert_eq!(reason(&outcome), expected, "{outcome:?}");
        assert!(outcome.evidence().as_str().contains(words), "{outcome:?}");
        // A file that was written a moment ago is not loaded yet.
        world.ago = TimeDelta::minutes(2);
        assert_eq!(reason(&world.seen(&[]).await), "loading");
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_files_themselves_is_named_at_once() {
    for (name, text, expected, words) in [
        ("b.json", "{\"uid\": \"b\",\n \"title\": hunter2}", "broken_file", "b.json:2:11: no JSON"),
        ("b.json", "{\"uid\": \"b\"", "broken_file", "b.json:1:11: it ends too early"),
        ("b.json", "", "broken_file", "b.json:1:0: it ends too early"),
        ("b.json", "[1]", "broken_file", "no dashboard"),
        ("deeper/b.JSON", "{\"uid\": \"a\"}", "duplicate_uid", "a in "),
        ("b.json", "{\"title\": \"hunter2\"}", "no_uid", "b.json"),
        ("..data/b.json", "{", "pass", ""),
        ("b.yaml", "{", "pass", ""),
    ] {
        let world = World::new().serving("a", kept("a", "A"));
        world.write(name, text);
        let outcome = world.seen(&[]).await;
        assert_eq!(reason(&outcome), expected, "{name} {text}: {outcome:?}");
        assert!(outcome.evidence().as_str().contains(words), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_dashboard_whose_file_is_missing_is_known_by_its_uid() {
    let world = World::new().serving("a", kept("a", "A"));
    assert_eq!(reason(&world.seen(&["b"]).await), "not_provisioned");
    assert_eq!(reason(&world.serving("b", kept("b", "B")).seen(&["b"]).await), "pass");
}

#[tokio::test]
async fn nothing_to_look_at_and_nothing_to_be_seen_never_pass() {
    let empty = World::new();
    fs::remove_file(empty.folder.path().join("a.json")).unwrap();
    assert_eq!(reason(&empty.seen(&[]).await), "not_provisioned");
    let gone = World::new();
    fs::remove_dir_all(gone.folder.path()).unwrap();
    assert_eq!(reason(&gone.seen(&[]).await), "files_unreadable");
    let endless = World::new();
    std::os::unix::fs::symlink("/dev/zero", endless.folder.path().join("z.json")).unwrap();
    assert_eq!(reason(&endless.seen(&[]).await), "files_unreadable");
    let denied = World { denied: true, ..World::new() };
    assert_eq!(reason(&denied.seen(&[]).await), "permission_missing");
}

#[tokio::test]
async fn all_are_looked_at_before_it_passes() {
    let mut world = World::new();
    for n in 0..25 {
        let uid = format!("d{n:02}");
        world.write(&format!("{uid}.json"), &dashboard(&uid, "D").to_string());
        world.served.insert(uid.clone(), kept(&uid, "D"));
    }
    let world = world.serving("a", kept("a", "A"));
    let (cx, _server) = world.start().await;
    let mut memory = Memory::default();
    for expected in ["loading", "loading", "pass", "pass"] {
        let report = Check::run(&world.check(&[]), &cx, memory).await;
        assert_eq!(reason(&part(&report, PROVISIONING)), expected);
        memory = report.memory;
    }
}

#[tokio::test]
async fn more_that_are_wrong_than_are_kept_are_not_forgotten_once_those_are_mended() {
    let mut world = World::new().serving("a", kept("a", "A"));
    let uids: Vec<String> = (0..60).map(|n| format!("d{n:02}")).collect();
    for uid in &uids {
        world.write(&format!("{uid}.json"), &dashboard(uid, "D").to_string());
    }
    let run = async |world: &World, memory: Memory| {
        let (cx, _server) = world.start().await;
        let report = Check::run(&world.check(&[]), &cx, memory).await;
        (reason(&part(&report, PROVISIONING)).to_owned(), report.memory)
    };
    let mut memory = Memory::default();
    for _ in 0..7 {
        memory = run(&world, memory).await.1;
    }
    // All but the last are mended; it is one of those that were not kept.
    world.served.extend(uids[..59].iter().map(|uid| (uid.clone(), kept(uid, "D"))));
    for _ in 0..24 {
        let (reason, next) = run(&world, memory).await;
        assert!(reason != "pass", "one is still missing");
        memory = next;
    }
}

#[tokio::test]
async fn the_control_looks_for_a_dashboard_that_nobody_has() {
    let control = async |world: World| {
        let (cx, _server) = world.start().await;
        Check::control(&world.check(&[]), &cx, Memory::default()).await
    };
    assert_eq!(reason(&control(World::new()).await), WRONG_REPLY.name);
    let parrot = World::new().serving(NOWHERE, kept("a", "A"));
    assert_eq!(reason(&control(parrot).await), "pass");
    assert_eq!(reason(&control(World { denied: true, ..World::new() }).await), "permission_missing");
}

#[test]
fn something_must_be_named() {
    let fields = |provisioned: Value| {
        let errors = Check::validate(&check::<GrafanaHealth>(json!({"grafana": "g", "provisioned": provisioned})));
        errors.into_iter().map(|error| error.field).collect::<Vec<_>>()
    };
    assert_eq!(fields(json!({})), ["provisioned"]);
    assert_eq!(fields(json!({"dashboards": ["a"]})), [""; 0]);
}
