//! `grafanaParity` between real Grafanas: everything that was moved, and whatever gets lost or altered on the way.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Grafana, Verifier, World, wait_until};

use super::{AT_ONCE, PATIENCE, looks, migration, opened, probe, reaches, replace};

/// Nobody listens there, and nobody asks.
const NOWHERE: &str = "http://me:hunter2@127.0.0.1:9/?token=hunter2";
const SECOND: &str = "second";

fn panel(id: usize, title: &str, datasource: &str) -> Value {
    let asked = json!({"uid": datasource});
    let target = json!({"refId": "A", "expr": "{password=\"hunter2\"}", "datasource": asked});
    json!({"id": id, "title": title, "type": "logs", "datasource": asked, "targets": [target]})
}

fn dashboard(uid: &str, title: &str, panels: &[Value]) -> Value {
    json!({"uid": uid, "title": title, "tags": ["moved"], "schemaVersion": 36, "panels": panels})
}

/// With a row that is folded and a variable.
fn logs(loki: &str) -> Value {
    let row = json!({"id": 9, "title": "More", "type": "row", "collapsed": true, "panels": [panel(2, "Nested", SECOND)]});
    let mut logs = dashboard("logs", "Logs", &[panel(1, "Errors", loki), row]);
    let variable = json!({"name": "node", "type": "query", "datasource": {"uid": loki}, "query": "label_values(host)"});
    logs["templating"] = json!({"list": [variable]});
    logs
}

async fn save(grafana: &Grafana, dashboard: &Value) {
    let body = json!({"dashboard": dashboard, "folderUid": "f1", "overwrite": true});
    grafana.create("/api/dashboards/db", &body).await.unwrap();
}

async fn remove(grafana: &Grafana, path: &str) {
    let answer = grafana.as_admin(Method::DELETE, path).send().await.unwrap();
    assert!(answer.status().is_success(), "{path}: {}", answer.status());
}

fn rule(loki: &str) -> Value {
    let data = json!({"refId": "A", "datasourceUid": loki, "relativeTimeRange": {"from": 600, "to": 0},
        "model": {"expr": "count_over_time({password=\"hunter2\"}[5m])", "refId": "A"}});
    json!({"uid": "r1", "title": "Too many errors", "ruleGroup": "g", "folderUID": "f1", "orgID": 1, "condition": "A",
        "noDataState": "OK", "execErrState": "OK", "for": "1m", "data": [data]})
}

fn second(uid: &str) -> Value {
    json!({"name": "Second", "type": "prometheus", "uid": uid, "access": "proxy", "url": NOWHERE, "basicAuth": true,
        "basicAuthUser": "me", "secureJsonData": {"basicAuthPassword": "hunter2"}})
}

/// Two with the same, as an operator moves one: something of everything.
struct Pair {
    old: Grafana,
    new: Grafana,
    /// Numbers that Grafana gave: of the user, of the team.
    anna: u64,
    team: u64,
    /// What the verifier reads its tokens from.
    tokens: [PathBuf; 2],
}

fn number(answer: &Value, key: &str) -> u64 {
    answer[key].as_u64().unwrap()
}

/// Moves what the first one has, with `more` dashboards of 20 panels each.
async fn moved(world: &World, more: usize) -> Pair {
    let (old, new) = tokio::try_join!(Grafana::start(world, NOWHERE), Grafana::start(world, NOWHERE)).unwrap();
    let loki = old.datasource();
    let file = dashboard("files", "From a file", &[panel(1, "Lines", loki)]);
    std::fs::write(old.dashboards().join("files.json"), file.to_string()).unwrap();
    old.create("/api/folders", &json!({"uid": "f1", "title": "Team A"})).await.unwrap();
    old.create("/api/datasources", &second(SECOND)).await.unwrap();
    save(&old, &logs(loki)).await;
    save(&old, &dashboard("nodes", "Nodes", &[panel(1, "CPU", SECOND)])).await;
    for n in 0..more {
        let panels: Vec<Value> = (0..20).map(|of| panel(of + 1, &format!("Panel {of}"), loki)).collect();
        save(&old, &dashboard(&format!("more-{n}"), &format!("More {n}"), &panels)).await;
    }
    let user = json!({"login": "anna", "email": "anna@example.org", "name": "Anna", "password": "hunter2"});
    let anna = number(&old.create("/api/admin/users", &user).await.unwrap(), "id");
    let team = number(&old.create("/api/teams", &json!({"name": "Ops"})).await.unwrap(), "teamId");
    old.create(&format!("/api/teams/{team}/members"), &json!({"userId": anna})).await.unwrap();
    let hook = json!({"name": "hook", "type": "webhook", "settings": {"url": NOWHERE, "password": "hunter2"}});
    old.create("/api/v1/provisioning/contact-points", &hook).await.unwrap();
    old.create("/api/v1/provisioning/alert-rules", &rule(loki)).await.unwrap();
    old.create("/api/annotations", &json!({"time": 1_700_000_000_000_u64, "text": "moved, hunter2"})).await.unwrap();
    old.token("ci", "Editor").await.unwrap();
    let token = old.token("phasegate", "Admin").await.unwrap();
    for grafana in [&old, &new] {
        grafana.install_plugin("1.2.3").unwrap();
    }
    wait_until(PATIENCE, "the file is read", async || old.call(Method::GET, "/api/dashboards/uid/files", None).await)
        .await
        .unwrap();
    new.take_over(&old).await.unwrap();
    let tokens = ["old.token", "new.token"].map(|name| world.write(name, &token).unwrap());
    Pair { old, new, anna, team, tokens }
}

async fn verifier(world: &World, pair: &Pair, more: &str) -> Verifier {
    let target = |grafana: &Grafana, token: &PathBuf| {
        format!("{{grafana: {{url: \"{}\", token: {{file: \"{}\"}}}}}}", grafana.url(), token.display())
    };
    let [of_old, of_new] = &pair.tokens;
    let targets = format!("{{old: {}, new: {}}}", target(&pair.old, of_old), target(&pair.new, of_new));
    let check =
        format!("{{name: parity, controlEvery: 2s, validFor: 10s, check: {{grafanaParity: {{old: old, new: new{more}}}}}}}");
    Verifier::start(world, &migration("{every: 2s, timeout: 2s}", &targets, AT_ONCE, &[&check])).await.unwrap()
}

/// Waits until a part has come to this, and returns the evidence of all parts.
async fn comes_to(verifier: &Verifier, part: &str, (outcome, reason): (&str, &str), words: &str) -> String {
    wait_until(PATIENCE, &format!("{part} comes to {reason} with {words}"), async || -> Result<String> {
        let body = probe(verifier, "parity").await?;
        let parts = body["parts"].as_array().cloned().unwrap_or_default();
        let found = parts.iter().find(|found| found["part"] == part).cloned().unwrap_or_default();
        let evidence = found["evidence"].as_str().unwrap_or_default();
        ensure!(found["outcome"] == outcome && evidence.contains(words), "{body}");
        ensure!(reason.is_empty() || found["reason"] == reason, "{found}");
        Ok(body.to_string())
    })
    .await
    .unwrap()
}

const MISSING: (&str, &str) = ("fail", "missing");
const CHANGED: (&str, &str) = ("fail", "changed");

#[tokio::test]
async fn everything_that_was_moved_is_the_same_and_each_difference_is_named() {
    let world = World::new().unwrap();
    let pair = moved(&world, 0).await;
    let (new, loki) = (&pair.new, pair.new.datasource());
    let verifier = verifier(&world, &pair, ", rest: 0s, perSecond: 200").await;
    opened(&verifier).await;
    let mut told = String::new();
    for (part, words) in [
        ("dashboards", "3 dashboards with 4 panels are the same; versions 10.0.0-preview and 10.0.0-preview"),
        ("references", "all 5 references in 3 dashboards lead to a datasource"),
        ("folders", "1 folders with their permissions are the same"),
        ("teams", "1 teams with their members are the same"),
        ("users", "2 users with their roles are the same"),
        ("serviceAccounts", "2 service accounts are the same"),
        ("plugins", "1 installed plugins are the same"),
        ("datasources", "2 datasources are the same"),
        ("alertRules", "1 alert rules are the same"),
        ("contactPoints", "2 contact points and notification policies are the same"),
        ("annotations", "1 on the old side, 1 on the new one"),
    ] {
        let body = comes_to(&verifier, part, ("pass", ""), words).await;
        write!(told, "{body}").unwrap();
    }

    remove(new, "/api/dashboards/uid/nodes").await;
    told += &comes_to(&verifier, "dashboards", MISSING, "missing 1: \"Nodes\" (nodes)").await;
    reaches(&verifier, "closed").await;
    let mut altered = dashboard("nodes", "Nodes", &[panel(1, "CPU", SECOND)]);
    altered["panels"][0]["targets"][0]["expr"] = json!("{password=\"hunter2, too\"}");
    save(new, &altered).await;
    told += &comes_to(&verifier, "dashboards", CHANGED, "changed 1: \"Nodes\" (nodes): panel \"CPU\": query").await;
    save(new, &dashboard("nodes", "Nodes", &[panel(1, "CPU", SECOND)])).await;
    let mut altered = logs(loki);
    altered["panels"][1]["panels"] = json!([]);
    save(new, &altered).await;
    told += &comes_to(&verifier, "dashboards", CHANGED, "(logs): panel \"Nested\" missing").await;
    save(new, &logs(loki)).await;
    comes_to(&verifier, "dashboards", ("pass", ""), "").await;

    let permissions = |items: Value| {
        let body = json!({"items": items});
        async move { new.create("/api/folders/f1/permissions", &body).await.unwrap() }
    };
    permissions(json!([{"role": "Viewer", "permission": 1}, {"userId": 1, "permission": 4}])).await;
    told += &comes_to(&verifier, "folders", CHANGED, "\"Team A\" (f1): permission of role Editor missing").await;
    permissions(
        json!([{"role": "Viewer", "permission": 1}, {"role": "Editor", "permission": 2}, {"userId": 1, "permission": 4}]),
    )
    .await;
    comes_to(&verifier, "folders", ("pass", ""), "").await;

    let role = |role: &str| {
        let (path, body) = (format!("/api/org/users/{}", pair.anna), json!({"role": role}));
        async move { new.call(Method::PATCH, &path, Some(&body)).await.unwrap() }
    };
    role("Editor").await;
    told += &comes_to(&verifier, "users", CHANGED, "anna (Viewer): role: Viewer, now Editor").await;
    role("Viewer").await;

    remove(new, &format!("/api/teams/{}/members/{}", pair.team, pair.anna)).await;
    told += &comes_to(&verifier, "teams", CHANGED, "Ops: member anna missing").await;
    new.create(&format!("/api/teams/{}/members", pair.team), &json!({"userId": pair.anna})).await.unwrap();

    remove(new, "/api/v1/provisioning/alert-rules/r1").await;
    told += &comes_to(&verifier, "alertRules", MISSING, "missing 1: \"Too many errors\" (r1)").await;
    new.create("/api/v1/provisioning/alert-rules", &rule(loki)).await.unwrap();

    remove(new, &format!("/api/datasources/uid/{SECOND}")).await;
    new.create("/api/datasources", &second("other")).await.unwrap();
    let words = "missing 1: \"Second\" (second), there with the uid other";
    told += &comes_to(&verifier, "datasources", MISSING, words).await;
    let unresolved = ("fail", "unresolved_datasource");
    told += &comes_to(&verifier, "references", unresolved, "\"Logs\" (logs): panel \"Nested\" to second").await;
    remove(new, "/api/datasources/uid/other").await;
    new.create("/api/datasources", &second(SECOND)).await.unwrap();
    looks(&verifier, "parity", "green", "").await;

    new.stop().await.unwrap();
    new.remove_plugin().unwrap();
    new.start_again().await.unwrap();
    told += &comes_to(&verifier, "plugins", MISSING, "missing 1: example-panel 1.2.3").await;
    new.stop().await.unwrap();
    new.install_plugin("1.10.0").unwrap();
    new.start_again().await.unwrap();
    told += &comes_to(&verifier, "plugins", ("pass", ""), "version: 1.2.3, now 1.10.0").await;

    remove(new, &format!("/api/admin/users/{}", pair.anna)).await;
    told += &comes_to(&verifier, "users", MISSING, "missing 1: anna (Viewer)").await;
    told += &verifier.get("/metrics").await.unwrap().body;
    told += &verifier.get("/v1/report").await.unwrap().body;
    told += &verifier.process().log();
    assert!(!told.contains("hunter2"), "{told}");
}

#[tokio::test]
async fn a_viewers_token_sees_too_little_and_an_admins_compares_many_dashboards_in_one_proof() {
    let world = World::new().unwrap();
    let pair = moved(&world, 60).await;
    let admin = std::fs::read(&pair.tokens[1]).unwrap();
    let token = pair.new.token("viewer", "Viewer").await.unwrap();
    replace(&pair.tokens[1], token.as_bytes());
    let verifier = verifier(&world, &pair, "").await;
    let seen = looks(&verifier, "parity", "unknown", "permission_missing").await;
    assert!(seen["evidence"].as_str().unwrap().contains("new: GET /api/"), "{seen}");
    assert!(seen["next"].as_str().unwrap().contains("grant"), "{seen}");
    let denied = ("unknown", "permission_missing");
    comes_to(&verifier, "users", denied, "new: GET /api/org/users needs org.users:read on users:*, as the role Admin has").await;
    comes_to(&verifier, "dashboards", denied, "new: GET /api/search needs dashboards:read on dashboards:*").await;
    comes_to(&verifier, "plugins", denied, "new: GET /api/plugins needs plugins:write on plugins:*").await;

    replace(&pair.tokens[1], &admin);
    wait_until(PATIENCE, "it shows how far it has come", async || {
        let body: Value = verifier.get("/v1/probes/parity/runs").await?.json()?;
        let runs = body["runs"].as_array().cloned().unwrap_or_default();
        let shown = |run: &Value| run["evidence"].as_str().is_some_and(|note| note.contains(" of 63 compared"));
        ensure!(runs.iter().any(|run| run["outcome"] == "progress" && shown(run)), "{body}");
        Ok(())
    })
    .await
    .unwrap();
    comes_to(&verifier, "dashboards", ("pass", ""), "63 dashboards with 1204 panels are the same").await;
    let extra =
        comes_to(&verifier, "serviceAccounts", ("pass", ""), "2 service accounts are the same; extra 1: viewer (Viewer)").await;
    assert!(!extra.contains("hunter2"), "{extra}");
    looks(&verifier, "parity", "green", "").await;
}
