//! Two Grafanas that answer what they are told to, and what a comparison makes of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use super::super::{GrafanaParity, Memory};
use crate::testing::{check, context};
use crate::{Check, Context, MAX_MEMORY, Outcome, Step};

/// A change of what a Grafana has.
pub(crate) type Edit = fn(&mut State);

/// What a Grafana has; every text that people keep to themselves is `hunter2`.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) version: String,
    pub(crate) permissions: Value,
    pub(crate) dashboards: BTreeMap<String, Value>,
    pub(crate) folders: Vec<Value>,
    /// By folder.
    pub(crate) folder_permissions: BTreeMap<String, Value>,
    pub(crate) teams: Vec<Value>,
    /// By the number of the team.
    pub(crate) members: BTreeMap<String, Value>,
    pub(crate) users: Vec<Value>,
    pub(crate) accounts: Vec<Value>,
    pub(crate) plugins: Vec<Value>,
    pub(crate) datasources: Vec<Value>,
    pub(crate) rules: Vec<Value>,
    pub(crate) points: Vec<Value>,
    pub(crate) policies: Value,
    pub(crate) annotations: Vec<Value>,
    /// Paths below which something else is answered, and how often still.
    pub(crate) instead: Vec<(String, u16, String, usize)>,
    /// What happens after the first question for a path that ends like this.
    pub(crate) then: Option<(&'static str, Edit)>,
    pub(crate) asked: Vec<String>,
}

/// Where a Grafana gives dashboards of the second schema.
const RESOURCES: &str = "/apis/dashboard.grafana.app/v2beta1/namespaces/default/dashboards";

/// What a service account with the role Admin may do, of what matters here.
pub(crate) fn admin() -> Value {
    json!({
        "dashboards:read": ["dashboards:*", "folders:*"], "datasources:read": ["datasources:*", "datasources:uid:grafana"],
        "folders:read": ["folders:uid:general", "folders:*"], "folders.permissions:read": ["folders:*"], "teams:read": ["teams:*"],
        "teams.permissions:read": ["teams:*"], "org.users:read": ["users:*"], "serviceaccounts:read": ["serviceaccounts:*"],
        "plugins:write": ["plugins:*"], "alert.provisioning:read": [""], "annotations:read": ["annotations:*"],
    })
}

/// What a Viewer's token of Grafana 10.0 said that it may do.
pub(crate) fn viewer() -> Value {
    json!({
        "annotations:read": ["annotations:*"], "dashboards:read": ["dashboards:uid:prov1", "folders:uid:f1"],
        "datasources:query": ["datasources:*"], "datasources:read": ["datasources:*", "datasources:uid:grafana"],
        "folders:read": ["folders:uid:f1"], "orgs:read": [""], "plugins.app:access": ["plugins:*"],
    })
}

/// A dashboard as Grafana gives it.
pub(crate) fn dashboard(uid: &str, title: &str, panels: Value) -> Value {
    json!({
        "meta": {"type": "db", "slug": "x", "version": 3, "folderUid": "f1", "folderTitle": "Team A", "provisioned": false,
            "publicDashboardAccessToken": "hunter2"},
        "dashboard": {"id": 7, "uid": uid, "title": title, "tags": ["a", "b"], "version": 3, "schemaVersion": 36, "panels": panels, "description": "hunter2",
            "templating": {"list": [{"name": "node", "type": "query", "datasource": "Loki", "query": "hunter2"}]},
            "annotations": {"list": [{"name": "deploys", "datasource": {"uid": "l1"}, "expr": "hunter2"}]}},
    })
}

/// A panel that asks Loki.
pub(crate) fn panel(id: u64, title: &str) -> Value {
    let target = json!({"refId": "A", "expr": "{token=\"hunter2\"}", "datasource": {"type": "loki", "uid": "l1"}});
    json!({"id": id, "title": title, "type": "logs", "datasource": {"type": "loki", "uid": "l1"}, "targets": [target],
        "gridPos": {"x": 0, "y": 0}, "description": "hunter2"})
}

fn row(id: u64, title: &str, panels: Value) -> Value {
    json!({"id": id, "title": title, "type": "row", "collapsed": true, "panels": panels})
}

impl State {
    /// Some of everything, with a secret wherever Grafana returns one.
    pub(crate) fn full() -> Self {
        let granted =
            |role: &str, name: &str| json!({"role": role, "userLogin": "", "team": "", "permission": 1, "permissionName": name});
        let data =
            json!([{"refId": "A", "datasourceUid": "l1", "model": {"expr": "hunter2", "refId": "A", "maxDataPoints": 43200}}]);
        let open = json!([panel(1, "Errors"), row(9, "More", json!([panel(2, "Nested")]))]);
        let mut state = Self {
            version: "10.0.0".to_owned(),
            permissions: admin(),
            folders: vec![json!({"id": 2, "uid": "f1", "title": "Team A", "type": "dash-folder"})],
            folder_permissions: [("f1".to_owned(), json!([granted("Viewer", "View"), granted("Editor", "Edit")]))].into(),
            teams: vec![json!({"id": 4, "name": "Ops", "email": "ops@example.org", "memberCount": 1})],
            members: [("4".to_owned(), json!([{"login": "anna", "permission": 0}]))].into(),
            users: vec![
                json!({"login": "admin", "role": "Admin", "email": "admin@localhost", "isDisabled": false, "authLabels": null}),
                json!({"login": "anna", "role": "Editor", "email": "anna@example.org", "password": "hunter2"}),
            ],
            accounts: vec![
                json!({"id": 1, "orgId": 1, "login": "sa-ci", "name": "ci", "role": "Viewer", "tokens": 2, "key": "hunter2"}),
            ],
            plugins: vec![
                json!({"id": "example-panel", "enabled": true, "signature": "unsigned", "info": {"version": "1.2.3"}}),
                json!({"id": "loki", "enabled": true, "signature": "internal", "info": {"version": ""}}),
            ],
            datasources: vec![
                json!({"uid": "l1", "name": "Loki", "type": "loki", "access": "proxy", "isDefault": true, "readOnly": true,
                    "url": "http://me:hunter2@loki:3100/?token=hunter2", "basicAuthPassword": "hunter2", "password": "hunter2",
                    "secureJsonData": {"httpHeaderValue1": "hunter2"}, "jsonData": {"x": "hunter2"}}),
                json!({"uid": "p1", "name": "Prometheus", "type": "prometheus", "access": "proxy", "url": "prometheus hunter3"}),
            ],
            rules: vec![json!({"uid": "r1", "title": "Too many errors", "folderUID": "f1", "ruleGroup": "g", "condition": "A",
                "for": "1m", "data": data, "labels": {"x": "hunter2"}, "annotations": {"y": "hunter2"}})],
            points: vec![
                json!({"uid": "", "name": "email receiver", "type": "email"}),
                json!({"uid": "c", "name": "hook", "type": "webhook", "settings": {"url": "http://x/hunter2", "password": "hunter2"}}),
            ],
            policies: json!({"receiver": "hook", "routes": [{"receiver": "hook", "object_matchers": [["a", "=", "hunter2"]]}]}),
            annotations: vec![json!({"id": 1, "time": 5000, "timeEnd": 9000, "text": "hunter2"}), json!({"id": 2, "time": 6000})],
            ..Self::default()
        };
        state.put(dashboard("d1", "Logs", open));
        state.put(dashboard("d2", "Nodes", json!([panel(1, "CPU")])));
        state
    }

    pub(crate) fn put(&mut self, dashboard: Value) {
        let uid = dashboard.pointer("/metadata/name").unwrap_or(&dashboard["dashboard"]["uid"]).as_str().unwrap().to_owned();
        self.dashboards.insert(uid, dashboard);
    }

    /// Any value in the dashboard of this uid.
    pub(crate) fn at(&mut self, uid: &str, pointer: &str) -> &mut Value {
        self.dashboards.get_mut(uid).unwrap().pointer_mut(pointer).unwrap()
    }

    fn answer(&mut self, request: &Request) -> ResponseTemplate {
        let path = request.url.path().to_owned();
        self.asked.push(path.clone());
        let query: BTreeMap<String, String> = request.url.query_pairs().into_owned().collect();
        let instead = self.instead.iter_mut().find(|(below, _, _, times)| path.starts_with(below.as_str()) && *times > 0);
        if let Some((_, status, body, times)) = instead {
            *times -= 1;
            return ResponseTemplate::new(*status).set_body_raw(body.clone(), "application/json");
        }
        let body = self.body(&path, &query);
        if let Some((_, then)) = self.then.take_if(|(end, _)| path.ends_with(*end)) {
            then(self);
        }
        let resource = |uid: &str| self.dashboards.get(uid).is_some_and(|found| found.get("spec").is_some());
        if let Some(uid) = path.strip_prefix("/api/dashboards/uid/").filter(|uid| resource(uid)) {
            let message = format!("dashboard api version not supported, use {RESOURCES}/{uid} instead");
            return ResponseTemplate::new(406).set_body_json(json!({"message": message}));
        }
        let status = if body.is_some() { 200 } else { 404 };
        ResponseTemplate::new(status).set_body_json(body.unwrap_or_else(|| json!({"message": "not found, hunter2"})))
    }

    fn body(&self, path: &str, query: &BTreeMap<String, String>) -> Option<Value> {
        if let Some(uid) = path.strip_prefix(RESOURCES) {
            return self.dashboards.get(uid.trim_start_matches('/')).cloned();
        }
        let segments: Vec<&str> = path.trim_start_matches("/api/").split('/').collect();
        let number = |key: &str| query[key].parse::<usize>().unwrap();
        let page = |all: &[Value], size: usize| -> Vec<Value> {
            all.iter().skip((number("page") - 1) * size).take(size).cloned().collect()
        };
        let listed = |key: &str, all: &[Value]| json!({"totalCount": all.len(), key: page(all, number("perpage")), "page": 1});
        Some(match segments.as_slice() {
            ["health"] => json!({"database": "ok", "version": self.version}),
            ["access-control", "user", "permissions"] => self.permissions.clone(),
            ["search"] if query["type"] == "dash-folder" => page(&self.folders, number("limit")).into(),
            ["search"] => {
                let all = self.dashboards.iter().map(|(uid, found)| {
                    json!({"uid": uid, "title": found["dashboard"]["title"].as_str().unwrap_or("x"), "type": "dash-db", "folderUid": found["meta"]["folderUid"].as_str().unwrap_or_default()})
                });
                page(&all.collect::<Vec<_>>(), number("limit")).into()
            }
            ["dashboards", "uid", uid] => self.dashboards.get(*uid)?.clone(),
            ["folders", uid, "permissions"] => self.folder_permissions.get(*uid)?.clone(),
            ["teams", "search"] => listed("teams", &self.teams),
            ["teams", id, "members"] => self.members.get(*id)?.clone(),
            ["org", "users"] => self.users.clone().into(),
            ["serviceaccounts", "search"] => listed("serviceAccounts", &self.accounts),
            ["plugins"] => self.plugins.clone().into(),
            ["datasources"] => self.datasources.clone().into(),
            ["v1", "provisioning", "alert-rules"] => self.rules.clone().into(),
            ["v1", "provisioning", "contact-points"] => self.points.clone().into(),
            ["v1", "provisioning", "policies"] => self.policies.clone(),
            ["annotations"] => self.annotations(query).into(),
            _ => return None,
        })
    }

    /// As Grafana does: what touches the window, the newest first, cut at the limit.
    fn annotations(&self, query: &BTreeMap<String, String>) -> Vec<Value> {
        let number = |key: &str| query[key].parse::<i64>().unwrap();
        let (from, to) = (number("from"), number("to"));
        let begin = |one: &Value| one["time"].as_i64().unwrap();
        let end = |one: &Value| one["timeEnd"].as_i64().unwrap_or_else(|| begin(one));
        let mut found: Vec<Value> = self.annotations.iter().filter(|one| begin(one) <= to && end(one) >= from).cloned().collect();
        found.sort_by_key(|one| std::cmp::Reverse(end(one)));
        found.truncate(usize::try_from(number("limit")).unwrap());
        found
    }
}

/// A Grafana that answers.
#[derive(Debug)]
pub(crate) struct Fake {
    state: Arc<Mutex<State>>,
    pub(crate) server: MockServer,
}

struct Answers(Arc<Mutex<State>>);

impl Respond for Answers {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        self.0.lock().unwrap().answer(request)
    }
}

impl Fake {
    async fn start(state: State) -> Self {
        let (state, server) = (Arc::new(Mutex::new(state)), MockServer::start().await);
        Mock::given(any()).respond_with(Answers(Arc::clone(&state))).mount(&server).await;
        Self { state, server }
    }

    pub(crate) fn edit<T>(&self, edit: impl FnOnce(&mut State) -> T) -> T {
        edit(&mut self.state.lock().unwrap())
    }

    /// Below this path it answers something else, so many times.
    pub(crate) fn answers(&self, below: &str, status: u16, body: &str, times: usize) {
        self.edit(|state| state.instead.push((below.to_owned(), status, body.to_owned(), times)));
    }
}

/// When all of it happens.
pub(crate) fn moment() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_365_900, 0).unwrap()
}

/// The outcomes, by part.
pub(crate) type Parts = BTreeMap<String, Outcome>;

/// A comparison of two of them.
pub(crate) struct Two {
    pub(crate) old: Fake,
    pub(crate) new: Fake,
    pub(crate) check: GrafanaParity,
    pub(crate) cx: Context,
    pub(crate) memory: Memory,
    /// All that was said so far.
    pub(crate) said: String,
}

impl Two {
    /// Two that have the same, with more fields of the check.
    pub(crate) async fn start(more: Value) -> Self {
        Self::of(State::full(), more).await
    }

    pub(crate) async fn of(state: State, more: Value) -> Self {
        let (old, new) = (Fake::start(state.clone()).await, Fake::start(State { version: "12.3.2".to_owned(), ..state }).await);
        let mut block = json!({"old": "old", "new": "new", "perSecond": 1000});
        block.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let target = |fake: &Fake| serde_json::from_value(json!({"grafana": {"url": fake.server.uri()}})).unwrap();
        let targets = [("old".to_owned(), target(&old)), ("new".to_owned(), target(&new))];
        let cx = Context { targets: Arc::new(targets.into()), now: moment(), ..context() };
        Self { old, new, check: check(block), cx, memory: Memory::default(), said: String::new() }
    }

    /// One Run. What is remembered goes through its bytes.
    pub(crate) async fn slice(&mut self) -> Step {
        let report = Check::run(&self.check, &self.cx, std::mem::take(&mut self.memory)).await;
        let bytes = serde_json::to_string(&report.memory).unwrap();
        assert!(bytes.len() <= MAX_MEMORY, "{} bytes", bytes.len());
        self.memory = serde_json::from_str(&bytes).unwrap();
        self.said = format!("{}{bytes}{:?}{:?}", self.said, report.step, report.measures);
        report.step
    }

    /// To the end.
    pub(crate) async fn parts(&mut self) -> Parts {
        for _ in 0..200 {
            if let Step::Done(parts) = self.slice().await {
                return parts.into_iter().map(|(part, outcome)| (part.as_str().to_owned(), outcome)).collect();
            }
        }
        panic!("no end: {}", self.said);
    }
}

/// The reason and the evidence of a part.
pub(crate) fn told<'a>(parts: &'a Parts, part: &str) -> (&'a str, &'a str) {
    let outcome = parts.get(part).unwrap_or_else(|| panic!("no part {part}: {parts:?}"));
    (outcome.reason().map_or("", |reason| reason.as_str()), outcome.evidence().as_str())
}

/// The parts that do not pass.
pub(crate) fn wrong(parts: &Parts) -> Vec<&str> {
    parts.iter().filter(|(_, outcome)| outcome.reason().is_some()).map(|(part, _)| part.as_str()).collect()
}
