//! Two Grafanas of a few dashboards, which answer what they are told to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use crate::testing::{check, context};
use crate::{Check, Context, MAX_MEMORY, Outcome, Report, Step, Target};

use super::super::{GrafanaPanels, Memory};

/// A status, a content type, a body, and how often it is still answered.
type Instead = (u16, &'static str, String, usize);

/// A Grafana.
#[derive(Clone, Default)]
pub(super) struct Fake(Arc<Mutex<Held>>);

#[derive(Default)]
pub(super) struct Held {
    pub(super) boards: BTreeMap<String, Value>,
    pub(super) library: BTreeMap<String, Value>,
    pub(super) datasources: Value,
    pub(super) permissions: Value,
    /// What queries of this `expr` bring; three rows otherwise.
    pub(super) brings: BTreeMap<String, Value>,
    /// What is answered to questions about panels instead.
    pub(super) instead: Option<Instead>,
    /// What is answered to anything else instead, at this path.
    pub(super) refuses: Option<(String, u16, Value)>,
    /// Questions with this in them are answered late.
    pub(super) slow: Option<&'static str>,
    /// When it was started, if it tells.
    pub(super) started: Option<u32>,
    /// The questions about panels.
    pub(super) asked: Vec<Value>,
}

/// So many rows of numbers.
pub(super) fn rows(values: &[f64]) -> Value {
    let times: Vec<usize> = (0..values.len()).collect();
    let fields = json!([{"name": "Time", "type": "time"}, {"name": "Value", "type": "number"}]);
    json!({"status": 200, "frames": [{"schema": {"fields": fields}, "data": {"values": [times, values]}}]})
}

/// A dashboard of these panels.
pub(super) fn board(title: &str, panels: Value) -> Value {
    json!({"title": title, "version": 1, "schemaVersion": 38, "panels": panels})
}

/// A panel with one query.
pub(super) fn panel(id: i64, title: &str, expr: &str) -> Value {
    let target = json!({"refId": "A", "expr": expr, "datasource": {"type": "loki", "uid": "l1"}});
    json!({"id": id, "title": title, "type": "timeseries", "targets": [target]})
}

impl Fake {
    pub(super) fn edit(&self, edit: impl FnOnce(&mut Held)) {
        edit(&mut self.0.lock().unwrap());
    }

    pub(super) fn brings(&self, expr: &str, answer: Value) {
        self.edit(|held| drop(held.brings.insert(expr.to_owned(), answer)));
    }

    pub(super) fn shows(&self, uid: &str, model: Value) {
        self.edit(|held| drop(held.boards.insert(uid.to_owned(), model)));
    }

    pub(super) fn asked(&self) -> Vec<Value> {
        self.0.lock().unwrap().asked.clone()
    }

    async fn start(&self) -> MockServer {
        self.edit(|held| {
            held.datasources = json!([
                {"uid": "l1", "name": "Loki", "type": "loki", "isDefault": true},
                {"uid": "p1", "name": "Prometheus", "type": "prometheus"},
                {"uid": "s1", "name": "Numbers", "type": "postgres"},
            ]);
            held.permissions = json!({"datasources:read": ["datasources:*"], "dashboards:read": ["dashboards:*"]});
        });
        let server = MockServer::start().await;
        Mock::given(any()).respond_with(self.clone()).mount(&server).await;
        server
    }
}

impl Held {
    fn results(&self, question: &Value) -> ResponseTemplate {
        let queries = question["queries"].as_array().unwrap();
        let known = self.datasources.as_array().unwrap();
        let there = |query: &&Value| {
            let uid = &query["datasource"]["uid"];
            *uid == "__expr__" || known.iter().any(|datasource| datasource["uid"] == *uid)
        };
        if !queries.iter().all(|query| there(&query)) {
            return ResponseTemplate::new(404).set_body_json(json!({"message": "Data source not found", "traceID": ""}));
        }
        let answer = |query: &Value| {
            let text = ["expr", "rawSql", "expression"].iter().find_map(|key| query[*key].as_str()).unwrap_or_default();
            (
                query["refId"].as_str().unwrap().to_owned(),
                self.brings.get(text).cloned().unwrap_or_else(|| rows(&[1.0, 2.0, 3.0])),
            )
        };
        let results: BTreeMap<String, Value> = queries.iter().map(answer).collect();
        let failed = results.values().any(|answer| answer.get("error").is_some());
        ResponseTemplate::new(if failed { 400 } else { 200 }).set_body_json(json!({"results": results}))
    }
}

impl Respond for Fake {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut held = self.0.lock().unwrap();
        let path = request.url.path();
        if let Some((_, status, body)) = held.refuses.as_ref().filter(|(at, ..)| path.starts_with(at)) {
            return ResponseTemplate::new(*status).set_body_json(body);
        }
        let ok = |body: &Value| ResponseTemplate::new(200).set_body_json(body);
        let missing = |what: &str| ResponseTemplate::new(404).set_body_json(json!({"message": format!("{what} not found")}));
        if let Some(uid) = path.strip_prefix("/api/dashboards/uid/") {
            let found = held.boards.get(uid).map(|model| json!({"meta": {}, "dashboard": model}));
            return found.map_or_else(|| missing("Dashboard"), |found| ok(&found));
        }
        if let Some(uid) = path.strip_prefix("/api/library-elements/") {
            let found = held.library.get(uid).map(|model| json!({"result": {"uid": uid, "model": model}}));
            return found.map_or_else(|| missing("library element"), |found| ok(&found));
        }
        match path {
            "/api/access-control/user/permissions" => ok(&held.permissions),
            "/api/datasources" => ok(&held.datasources),
            "/api/search" => ok(&held.boards.keys().map(|uid| json!({"uid": uid, "title": uid})).collect()),
            "/api/ds/query" => {
                let question: Value = request.body_json().unwrap();
                held.asked.push(question.clone());
                let slow = held.slow.is_some_and(|word| question.to_string().contains(word));
                let reply = match held.instead.as_mut().filter(|(.., times)| *times > 0) {
                    Some((status, kind, body, times)) => {
                        *times -= 1;
                        ResponseTemplate::new(*status).set_body_raw(body.clone(), kind)
                    }
                    None => held.results(&question),
                };
                if slow { reply.set_delay(Duration::from_secs(30)) } else { reply }
            }
            "/metrics" => match held.started {
                None => ResponseTemplate::new(404),
                Some(at) => {
                    let page = format!("grafana_build_info 1\nprocess_start_time_seconds {at}\n");
                    ResponseTemplate::new(200).set_body_raw(page, "text/plain")
                }
            },
            other => panic!("{other}"),
        }
    }
}

/// Two Grafanas, and a check that compares them.
pub(super) struct Two {
    pub(super) old: Fake,
    pub(super) new: Fake,
    pub(super) cx: Context,
    pub(super) check: GrafanaPanels,
    pub(super) memory: Memory,
    _servers: [MockServer; 2],
}

impl Two {
    /// With one dashboard, `home`, of three panels on both sides.
    pub(super) async fn start(more: Value) -> Self {
        let (old, new) = (Fake::default(), Fake::default());
        let servers = [old.start().await, new.start().await];
        for fake in [&old, &new] {
            let panels = json!([panel(1, "Lines", "lines"), panel(2, "Errors", "errors"), panel(3, "Rate", "rate")]);
            fake.shows("home", board("Homelab", panels));
        }
        let target = |server: &MockServer| Target::Grafana(serde_json::from_value(json!({"url": server.uri()})).unwrap());
        let targets = [("old".to_owned(), target(&servers[0])), ("new".to_owned(), target(&servers[1]))];
        let now = chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let cx = Context { targets: Arc::new(targets.into_iter().collect()), now, ..context() };
        let mut spec = json!({"old": "old", "new": "new", "dashboards": ["home"], "perSecond": 100});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        Self { old, new, cx, check: check(spec), memory: Memory::default(), _servers: servers }
    }

    pub(super) fn both(&self) -> [&Fake; 2] {
        [&self.old, &self.new]
    }

    /// One Run. What is planted as a secret is nowhere in what it leaves.
    pub(super) async fn slice(&mut self) -> Step {
        let Report { step, memory, .. } = Check::run(&self.check, &self.cx, self.memory.clone()).await;
        let bytes = serde_json::to_vec(&memory).unwrap();
        assert!(bytes.len() < MAX_MEMORY, "{} bytes", bytes.len());
        self.memory = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(self.memory, memory);
        for text in [format!("{step:?}"), String::from_utf8(bytes).unwrap()] {
            assert!(!text.contains("hunter2"), "{text}");
        }
        step
    }

    /// Runs, each ten seconds after the one before, until something is decided.
    pub(super) async fn decided(&mut self) -> Outcome {
        for _ in 0..100 {
            if let Step::Done(parts) = self.slice().await {
                let outcome = parts.into_values().next().unwrap();
                let repeated = self.memory.scan.is_some() && outcome.reason() == Some(&super::super::NOT_ASKED.into());
                if !repeated {
                    return outcome;
                }
            }
            self.cx.now += TimeDelta::seconds(10);
        }
        panic!("nothing was decided: {:?}", self.memory)
    }

    pub(super) async fn says(&mut self, reason: &str, words: &[&str]) {
        let outcome = self.decided().await;
        assert_eq!(outcome.reason().map(crate::Reason::as_str), Some(reason), "{outcome:?}");
        for word in words {
            assert!(outcome.evidence().as_str().contains(word), "no {word:?} in {}", outcome.evidence());
        }
    }

    pub(super) async fn passes(&mut self, words: &[&str]) {
        let outcome = self.decided().await;
        assert!(matches!(outcome, Outcome::Pass { .. }), "{outcome:?}");
        for word in words {
            assert!(outcome.evidence().as_str().contains(word), "no {word:?} in {}", outcome.evidence());
        }
    }

    pub(super) async fn control(&self) -> Outcome {
        Check::control(&self.check, &self.cx, self.memory.clone()).await
    }
}
