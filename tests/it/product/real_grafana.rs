//! Phase 3 with real Grafanas and Lokis: a Grafana that runs and is ready, and does not show what it should.

use std::fs;
use std::path::PathBuf;

use anyhow::ensure;
use serde_json::{Value, json};
use tests::{Fault, FaultProxy, Grafana, LogPath, Spec, Verifier, World, wait_until};

use super::{AT_ONCE, PATIENCE, check, looks, migration, opened, reaches, replace};

const PACE: &str = "{every: 2s, timeout: 2s, maxAge: 30s, failAfter: 1, recoverAfter: 1, controlEvery: 5s}";

/// A dashboard that asks a datasource: in a panel, in a panel of a row, for a variable.
fn dashboard(uid: &str, datasource: &str) -> Value {
    let asks = json!({"type": "loki", "uid": datasource});
    let panel = |id: u64, title: &str| {
        let target = json!({"refId": "A", "expr": "{job=\"systemd-journal\"}", "datasource": asks});
        json!({"id": id, "title": title, "type": "logs", "datasource": asks, "targets": [target], "gridPos": {"h": 8, "w": 12, "x": 0, "y": 0}})
    };
    let row = json!({"id": 2, "type": "row", "title": "More", "collapsed": true, "panels": [panel(3, "Warnings")]});
    let variable = json!({"name": "node", "type": "query", "datasource": asks, "query": "label_values(node)"});
    json!({"uid": uid, "title": uid, "tags": ["homelab"], "schemaVersion": 38, "panels": [panel(1, "Errors"), row], "templating": {"list": [variable]}})
}

async fn save(grafana: &Grafana, model: Value) {
    grafana.create("/api/dashboards/db", &json!({"dashboard": model, "overwrite": true})).await.unwrap();
}

/// A migration whose Grafana has moved; verifiers look at it through a proxy.
struct Moved<'w> {
    world: &'w World,
    logs: LogPath,
    to_grafana: FaultProxy,
    token: PathBuf,
    document: String,
}

/// A verifier with an open gate, which something will shut.
struct Watch(Verifier);

impl<'w> Moved<'w> {
    async fn start(world: &'w World, probes: impl Fn(&LogPath) -> Vec<String>) -> Self {
        let logs = LogPath::start(world).await.unwrap();
        logs.alloy.configure(&[logs.new_loki.url()]).unwrap();
        logs.deploy_alloy().await.unwrap();
        let datasource = logs.old_grafana.datasource();
        for uid in ["homelab", "nodes"] {
            save(&logs.old_grafana, dashboard(uid, datasource)).await;
        }
        let from_file = dashboard("provisioned", datasource).to_string();
        replace(&logs.old_grafana.dashboards().join("provisioned.json"), from_file.as_bytes());
        let admin = logs.old_grafana.token("verifier", "Admin").await.unwrap();
        let token = world.write("grafana.token", &admin).unwrap();
        logs.move_grafana().await.unwrap();
        logs.repoint_grafana().await.unwrap();
        let to_grafana = FaultProxy::start_http(logs.new_grafana.url()).unwrap();
        let targets = format!(
            "{{agents: {{agent: {{urls: [\"{}\"]}}}}, old: {{loki: {{url: \"{}\"}}}}, loki: {{loki: {{url: \"{}\", gateway: \"{}\"}}}}, \
             grafana: {{grafana: {{url: \"{}\", token: {{file: \"{}\"}}}}}}}}",
            logs.agent.url(),
            logs.old_loki.url(),
            logs.new_loki.url(),
            logs.gateway.url(),
            to_grafana.url(),
            token.display()
        );
        let probes = probes(&logs);
        let probes: Vec<&str> = probes.iter().map(String::as_str).collect();
        let document = migration(PACE, &targets, AT_ONCE, &probes);
        Self { world, logs, to_grafana, token, document }
    }

    /// A verifier of its own for each fault: what comes and goes often within minutes would be flapping.
    async fn watch(&self) -> Watch {
        let verifier = Verifier::start(self.world, &self.document).await.unwrap();
        opened(&verifier).await;
        Watch(verifier)
    }
}

impl Watch {
    /// A probe is red or unknown for this reason and with these words; the gate is shut.
    async fn sees(&self, probe: &str, reason: &str, words: &str) {
        let state = if reason == "permission_missing" { "unknown" } else { "red" };
        let seen = async || {
            let body = looks(&self.0, probe, state, reason).await.to_string();
            ensure!(body.contains(words), "{words}: {body}");
            Ok(())
        };
        wait_until(PATIENCE, words, seen).await.unwrap();
        assert_ne!(check(&self.0).await, 200, "{probe} {reason}");
    }

    async fn stays_green(&self, probe: &str) {
        looks(&self.0, probe, "green", "").await;
    }

    /// What shut the gate is over.
    async fn ends(self) {
        reaches(&self.0, "open").await;
        self.0.sigterm().await.unwrap();
    }
}

#[tokio::test]
async fn a_datasource_that_does_not_lead_to_the_new_loki_is_seen_whatever_grafana_says() {
    let world = World::new().unwrap();
    let moved = Moved::start(&world, |logs| {
        let uid = logs.new_grafana.datasource();
        vec![
            "{name: health, check: {grafanaHealth: {grafana: grafana}}}".to_owned(),
            format!("{{name: datasource, check: {{grafanaDatasource: {{grafana: grafana, datasource: {uid}, loki: loki}}}}}}"),
            format!(
                "{{name: query, check: {{grafanaQuery: {{grafana: grafana, datasource: {uid}, loki: loki, oldLoki: old, agents: agents, \
                 within: 5s}}}}}}"
            ),
        ]
    })
    .await;
    let logs = &moved.logs;
    let grafana = &logs.new_grafana;

    let watch = moved.watch().await;
    // The old Loki is still there, and answers.
    grafana.repoint(logs.old_loki.url()).await.unwrap();
    watch.sees("datasource", "wrong_url", "which is not loki by any of its names").await;
    watch.sees("query", "empty_answer", "Grafana's answer is empty").await;
    watch.stays_green("health").await;
    watch.0.sigterm().await.unwrap();
    logs.repoint_grafana().await.unwrap();

    let watch = moved.watch().await;
    // Panels use another uid than the datasource has.
    save(grafana, dashboard("nodes", "another-uid")).await;
    watch.sees("datasource", "stale_references", "another-uid, which is not there").await;
    let twin =
        json!({"name": "Loki of old", "type": "loki", "access": "proxy", "uid": "another-uid", "url": logs.old_loki.url()});
    grafana.create("/api/datasources", &twin).await.unwrap();
    watch.sees("datasource", "stale_references", "Loki of old").await;
    save(grafana, dashboard("nodes", grafana.datasource())).await;
    watch.ends().await;

    let watch = moved.watch().await;
    // The gateway between Grafana and Loki is away; Loki itself is not.
    logs.gateway.set_broken(true);
    watch.sees("query", "datasource_error", "502").await;
    watch.sees("datasource", "datasource_error", "502").await;
    logs.gateway.set_broken(false);
    watch.ends().await;

    let watch = moved.watch().await;
    // A Viewer sees fewer dashboards, and is answered 200 all the same.
    let admin = fs::read(&moved.token).unwrap();
    let viewer = grafana.token("viewer", "Viewer").await.unwrap();
    replace(&moved.token, viewer.as_bytes());
    watch.sees("datasource", "permission_missing", "GET /api/search needs dashboards:read").await;
    watch.stays_green("query").await;
    replace(&moved.token, &admin);
    watch.ends().await;

    let watch = moved.watch().await;
    moved.to_grafana.set(Fault::LoginPage).await.unwrap();
    for probe in ["health", "datasource", "query"] {
        watch.sees(probe, "html", "").await;
    }
    moved.to_grafana.clear().await.unwrap();
    watch.ends().await;

    let watch = moved.watch().await;
    // Loki is emptied behind a datasource that is green, and nothing comes any more.
    logs.alloy.stop().await.unwrap();
    logs.new_loki.destroy().await.unwrap();
    watch.sees("query", "no_fresh_line", "").await;
    watch.sees("datasource", "no_fresh_line", "").await;
    watch.stays_green("health").await;
}

#[tokio::test]
async fn a_provisioning_that_failed_is_seen_although_grafana_is_ready() {
    let world = World::new().unwrap();
    let moved = Moved::start(&world, |logs| {
        let files = logs.new_grafana.dashboards();
        let provisioned = format!("{{files: [\"{}\"], dashboards: [provisioned], within: 6s}}", files.display());
        vec![format!("{{name: health, check: {{grafanaHealth: {{grafana: grafana, provisioned: {provisioned}}}}}}}")]
    })
    .await;
    let grafana = &moved.logs.new_grafana;
    let file = |name: &str| grafana.dashboards().join(name);
    let ready = async || assert_eq!(grafana.get("/api/health").await.unwrap().status, 200);
    let uid = grafana.datasource();

    let watch = moved.watch().await;
    // Broken JSON: Grafana serves what it had.
    replace(&file("provisioned.json"), b"{\"uid\": \"provisioned\",\n  \"title\": \"cut");
    watch.sees("health", "broken_file", "provisioned.json:2:").await;
    ready().await;
    replace(&file("provisioned.json"), dashboard("provisioned", uid).to_string().as_bytes());
    watch.ends().await;

    let watch = moved.watch().await;
    // One uid in two files: the whole folder freezes.
    replace(&file("twin.json"), dashboard("provisioned", uid).to_string().as_bytes());
    watch.sees("health", "duplicate_uid", "provisioned in ").await;
    ready().await;
    fs::remove_file(file("twin.json")).unwrap();
    watch.ends().await;

    let watch = moved.watch().await;
    // A new version that Grafana can not load: a title is missing.
    let mut untitled = dashboard("provisioned", uid);
    untitled["title"] = json!("");
    replace(&file("provisioned.json"), untitled.to_string().as_bytes());
    watch.sees("health", "outdated", "is another version than the file").await;
    ready().await;
    replace(&file("provisioned.json"), dashboard("provisioned", uid).to_string().as_bytes());
    watch.ends().await;

    let watch = moved.watch().await;
    // The file is missing: Grafana deletes the dashboard.
    fs::remove_file(file("provisioned.json")).unwrap();
    watch.sees("health", "not_provisioned", "provisioned, is not there").await;
    ready().await;
    replace(&file("provisioned.json"), dashboard("provisioned", uid).to_string().as_bytes());
    watch.ends().await;

    let watch = moved.watch().await;
    // Its database is locked by somebody else.
    let locks = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1], isolation_level=None)\nc.execute('PRAGMA locking_mode=EXCLUSIVE')\n\
                 c.execute('BEGIN EXCLUSIVE')\nprint('locked', flush=True)\nsys.stdin.read()\nimport time\nwhile True: time.sleep(60)\n";
    let script = world.write("lock.py", locks).unwrap();
    let lock =
        world.start(Spec::new("lock", "python3").arg(script.display().to_string()).arg(grafana.database().display().to_string()));
    watch.sees("health", "timeout", "no answer within").await;
    lock.unwrap().kill().await.unwrap();
    watch.ends().await;
}
