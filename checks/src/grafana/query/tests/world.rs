//! A Loki, a Grafana and an agent that answer what they are asked, and the ways in which they go wrong.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use crate::log_path::line::{Boot, CanaryLine};
use crate::testing::{check, context, part, report_of};
use crate::{Context, Outcome, Target};

use super::super::{GRAFANA, GrafanaQuery, LOKI};

/// The verifier's clock, in milliseconds.
pub(super) const NOW: i64 = 1_795_398_900_000;
pub(super) const BOOT: Boot = Boot(0x1f);
const UID: &str = "P8E80F9AEF21F6940";

pub(super) type Line = (i64, String);

/// So many seconds ago.
pub(super) fn at(ago: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(NOW).unwrap() - TimeDelta::seconds(ago)
}

/// The line of node-1 of so many seconds ago: number 30 two seconds ago, one each second.
pub(super) fn canary_at(ago: i64) -> Line {
    let line = CanaryLine::new("node-1", BOOT, u64::try_from(32 - ago).unwrap_or(1), at(ago));
    (at(ago).timestamp_nanos_opt().unwrap(), line.text())
}

pub(super) fn reason(outcome: &Outcome) -> String {
    outcome.reason().map_or_else(|| "pass".to_owned(), ToString::to_string)
}

/// How Grafana shapes its frames.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    Classic,
    Dataplane,
    /// One frame for each line, with the columns in another order, and an empty one.
    Scattered,
}

/// What one of the two servers answers.
#[derive(Debug, Clone)]
pub(super) enum Side {
    Honest,
    Nothing,
    Without(Line),
    Instead(Line, Line),
    /// The line is not there yet in the first so many answers.
    LateBy(Line, usize),
    /// These, whatever is asked.
    Always(Vec<Line>),
    /// Something else altogether.
    Reply(ResponseTemplate),
    /// Nothing: nobody listens there.
    Gone,
}

impl Side {
    fn answer(&self, lines: &[Line], start: i64, end: i64, nth: usize) -> Vec<Line> {
        let honest = lines.iter().filter(|(at, _)| (start..end).contains(at)).cloned();
        match self {
            Self::Honest | Self::Reply(_) => honest.collect(),
            Self::Nothing | Self::Gone => Vec::new(),
            Self::Without(line) => honest.filter(|other| other != line).collect(),
            Self::Instead(line, new) => honest.map(|other| if other == *line { new.clone() } else { other }).collect(),
            Self::LateBy(line, times) => honest.filter(|other| nth >= *times || other != line).collect(),
            Self::Always(lines) => lines.clone(),
        }
    }
}

/// Servers to be.
pub(super) struct World {
    pub(super) lines: Vec<Line>,
    pub(super) loki: Side,
    /// The Loki that Grafana asked before, if the check is told of it.
    pub(super) old: Option<Side>,
    pub(super) grafana: Side,
    pub(super) form: Form,
    pub(super) any_datasource: bool,
    /// By so many Grafana's count is wrong.
    pub(super) miscounts: i64,
    /// The gateway of Loki, if it has one.
    pub(super) gateway: Option<Side>,
    pub(super) token: bool,
    pub(super) head: Option<ResponseTemplate>,
}

impl Default for World {
    fn default() -> Self {
        // Two minutes of lines, so that the time before is not empty either.
        let lines = (2..120).map(canary_at).collect();
        let (loki, grafana) = (Side::Honest, Side::Honest);
        Self {
            lines,
            loki,
            old: None,
            grafana,
            form: Form::Classic,
            any_datasource: false,
            miscounts: 0,
            gateway: None,
            token: false,
            head: None,
        }
    }
}

/// Servers that run.
pub(super) struct Servers {
    pub(super) loki: MockServer,
    pub(super) grafana: MockServer,
    _old: MockServer,
    _gateway: MockServer,
    targets: Value,
    secret: Option<PathBuf>,
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.secret.iter().for_each(|file| std::fs::remove_file(file).unwrap());
    }
}

impl Servers {
    pub(super) fn context(&self) -> Context {
        let targets: std::collections::BTreeMap<String, Target> = serde_json::from_value(self.targets.clone()).unwrap();
        Context { targets: Arc::new(targets), now: at(0), ..context() }
    }
}

impl World {
    pub(super) fn check(&self) -> GrafanaQuery {
        let mut block = json!({"grafana": "grafana", "datasource": UID, "loki": "loki"});
        if self.old.is_some() {
            block["oldLoki"] = json!("old");
        }
        if self.head.is_some() {
            block["agents"] = json!("agents");
        }
        check(block)
    }

    /// What the two parts of one Run are.
    pub(super) async fn seen(self) -> (Outcome, Outcome) {
        let servers = self.start().await;
        let report = report_of(&self.check(), &servers.context()).await;
        (part(&report, LOKI), part(&report, GRAFANA))
    }

    pub(super) async fn start(&self) -> Servers {
        let (loki, grafana, old) = (MockServer::start().await, MockServer::start().await, MockServer::start().await);
        let gateway = MockServer::start().await;
        if let Some(side) = &self.gateway {
            Mock::given(path("/loki/api/v1/query_range")).respond_with(self.loki(side)).mount(&gateway).await;
        }
        if let Some(side) = &self.old {
            Mock::given(path("/loki/api/v1/query_range")).respond_with(self.loki(side)).mount(&old).await;
        }
        Mock::given(method("GET")).and(path("/loki/api/v1/query_range")).respond_with(self.loki(&self.loki)).mount(&loki).await;
        Mock::given(method("POST")).and(path("/base/api/ds/query")).respond_with(self.grafana()).mount(&grafana).await;
        let mut target = json!({"url": format!("{}/base", grafana.uri())});
        let secret = self.token.then(|| {
            let name = format!("phasegate-grafana-query-{}-{}", std::process::id(), grafana.address().port());
            let file = std::env::temp_dir().join(name);
            std::fs::write(&file, "glsa_secret\n").unwrap();
            target["token"] = json!({ "file": file });
            file
        });
        let loki_at = |server: &MockServer| json!({"loki": {"url": server.uri()}});
        let mut targets = json!({"loki": loki_at(&loki), "old": loki_at(&old), "grafana": {"grafana": target}});
        if matches!(self.old, Some(Side::Gone)) {
            let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            targets["old"]["loki"]["url"] = json!(format!("http://{port}"));
        }
        if self.gateway.is_some() {
            targets["loki"]["loki"]["gateway"] = json!(gateway.uri());
        }
        if let Some(head) = &self.head {
            Mock::given(path("/v1/head")).respond_with(head.clone()).mount(&loki).await;
            targets["agents"] = json!({"agent": {"urls": [loki.uri()]}});
        }
        Servers { loki, grafana, _old: old, _gateway: gateway, targets, secret }
    }

    fn loki(&self, side: &Side) -> impl Fn(&Request) -> ResponseTemplate + Send + Sync + use<> {
        let (side, lines, count) = (side.clone(), self.lines.clone(), AtomicUsize::new(0));
        move |request| {
            if let Side::Reply(reply) = &side {
                return reply.clone();
            }
            let asked = |name: &str| request.url.query_pairs().find(|(key, _)| key == name).unwrap().1.parse::<i64>().unwrap();
            let mut found = side.answer(&lines, asked("start"), asked("end"), count.fetch_add(1, Ordering::SeqCst));
            found.truncate(usize::try_from(asked("limit")).unwrap());
            // Some lines have metadata, so they come as a third element and in a stream of their own.
            let values = |odd: bool| -> Vec<Value> {
                let of_kind = found.iter().filter(|(at, _)| (at / 1_000_000_000 % 2 == 1) == odd);
                of_kind
                    .map(|(at, line)| if odd { json!([at.to_string(), line, {}]) } else { json!([at.to_string(), line]) })
                    .collect()
            };
            let streams = json!([{"stream": {"a": "b"}, "values": values(false)}, {"stream": {}, "values": values(true)}]);
            ResponseTemplate::new(200)
                .set_body_json(json!({"status": "success", "data": {"resultType": "streams", "result": streams}}))
        }
    }

    fn grafana(&self) -> impl Fn(&Request) -> ResponseTemplate + Send + Sync + use<> {
        let (side, lines, form, any) = (self.grafana.clone(), self.lines.clone(), self.form, self.any_datasource);
        let off = self.miscounts;
        move |request| {
            if let Side::Reply(reply) = &side {
                return reply.clone();
            }
            let body: Value = serde_json::from_slice(&request.body).unwrap();
            let asked = |name: &str| body[name].as_str().unwrap().parse::<i64>().unwrap() * 1_000_000;
            let query = &body["queries"][0];
            if !any && query["datasource"]["uid"] != UID {
                return ResponseTemplate::new(404).set_body_json(json!({"message": "Data source not found", "traceID": ""}));
            }
            let mut found = side.answer(&lines, asked("from"), asked("to"), 0);
            found.truncate(usize::try_from(query["maxLines"].as_u64().unwrap()).unwrap());
            let counted = {
                let (from, to) = (asked("from"), asked("to") - 1_000_000);
                let count = side.answer(&lines, from + 1, to + 1, 0).len();
                let count = i64::try_from(count).unwrap() + off;
                if count > 0 { json!([[1], [count]]) } else { json!([]) }
            };
            let metric = frame(&[("Time", "time"), ("Value", "number")], counted, Value::Null);
            let frames = match form {
                Form::Classic => vec![classic(&found)],
                Form::Dataplane => vec![dataplane(&found)],
                Form::Scattered => found.iter().map(|line| scattered(std::slice::from_ref(line))).chain([classic(&[])]).collect(),
            };
            let results = json!({"A": {"status": 200, "frames": frames}, "B": {"status": 200, "frames": [metric]}});
            ResponseTemplate::new(200).set_body_json(json!({ "results": results }))
        }
    }
}

fn frame(fields: &[(&str, &str)], values: Value, nanos: Value) -> Value {
    let fields: Vec<_> = fields.iter().map(|(name, kind)| json!({"name": name, "type": kind})).collect();
    json!({"schema": {"refId": "A", "fields": fields}, "data": {"values": values, "nanos": nanos}})
}

fn columns(lines: &[Line]) -> [Vec<Value>; 5] {
    let column = |of: fn(&Line) -> Value| lines.iter().map(of).collect();
    [
        column(|_| json!({"service": "migration-canary"})),
        column(|(at, _)| json!(at / 1_000_000)),
        column(|(_, line)| json!(line)),
        column(|(at, _)| json!(at.to_string())),
        column(|(at, _)| json!(at % 1_000_000)),
    ]
}

fn classic(lines: &[Line]) -> Value {
    let [labels, ms, texts, ns, nanos] = columns(lines);
    let fields = [("labels", "other"), ("Time", "time"), ("Line", "string"), ("tsNs", "string")];
    frame(&fields, json!([labels, ms, texts, ns]), json!([null, nanos, null, null]))
}

fn dataplane(lines: &[Line]) -> Value {
    let [labels, ms, texts, ns, nanos] = columns(lines);
    let fields = [("attributes", "other"), ("timestamp", "time"), ("body", "string"), ("id", "string")];
    frame(&fields, json!([labels, ms, texts, ns]), json!([null, nanos, null, null]))
}

fn scattered(lines: &[Line]) -> Value {
    let [labels, ms, texts, ns, _] = columns(lines);
    let fields = [("tsNs", "string"), ("Line", "string"), ("Time", "time"), ("labels", "other"), ("labelTypes", "other")];
    frame(&fields, json!([ns, texts, ms, labels, labels]), Value::Null)
}
