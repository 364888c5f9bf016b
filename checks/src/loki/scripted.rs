//! A Loki of the unit tests that counts: it has lines by collector and service, and answers the one form of query that is asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use crate::Context;
use crate::testing::context;

/// A second of the tests' time.
pub(crate) fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap() + TimeDelta::seconds(second)
}

/// A line: second, collector (`agent`), service.
type Line = (i64, String, String);

/// What it holds and says.
#[derive(Debug, Default)]
struct Held {
    lines: Vec<Line>,
    queries: Vec<String>,
    refuses: Option<(u16, String)>,
}

/// The server and its lines.
pub(crate) struct Scripted {
    server: MockServer,
    held: Arc<Mutex<Held>>,
}

struct Answers(Arc<Mutex<Held>>);

impl Respond for Answers {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut held = self.0.lock().unwrap();
        let asked: BTreeMap<String, String> = request.url.query_pairs().into_owned().collect();
        held.queries.push(asked["query"].clone());
        if let Some((status, words)) = &held.refuses {
            return ResponseTemplate::new(*status).set_body_raw(words.clone(), "text/plain; charset=utf-8");
        }
        ResponseTemplate::new(200).set_body_json(answer(&held.lines, &asked["query"], asked["time"].parse().unwrap()))
    }
}

/// What stands between two texts.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.split_once(before)?.1.split_once(after).map(|(inside, _)| inside)
}

fn answer(lines: &[Line], query: &str, nanos: i64) -> Value {
    let by: Vec<&str> = between(query, "sum by (", ")").unwrap().split(", ").collect();
    let until = DateTime::from_timestamp_nanos(nanos);
    let from = until - TimeDelta::milliseconds(between(query, "[", "ms]").unwrap().parse().unwrap());
    let services = between(query, "service=~\"", "\"").map(|names| names.replace("\\\\", ""));
    let agent = between(query, "agent=\"", "\"");
    let mut counts: BTreeMap<BTreeMap<&str, &str>, u64> = BTreeMap::new();
    for (second, collector, service) in lines {
        let wanted = services.as_ref().is_none_or(|names| names.split('|').any(|name| name == service));
        if !wanted || agent.is_some_and(|agent| agent != collector) || at(*second) <= from || at(*second) > until {
            continue;
        }
        let labels = [("agent", collector.as_str()), ("service", service.as_str())];
        // Loki leaves out labels that a stream does not have.
        let metric = labels.into_iter().filter(|(name, value)| by.contains(name) && !value.is_empty()).collect();
        *counts.entry(metric).or_default() += 1;
    }
    let seconds = until.timestamp();
    let result: Vec<_> =
        counts.into_iter().map(|(metric, count)| json!({"metric": metric, "value": [seconds, count.to_string()]})).collect();
    json!({"status": "success", "data": {"resultType": "vector", "result": result, "stats": {}}})
}

impl Scripted {
    pub(crate) async fn start() -> Self {
        let (server, held) = (MockServer::start().await, Arc::default());
        Mock::given(path("/loki/api/v1/query")).respond_with(Answers(Arc::clone(&held))).mount(&server).await;
        Self { server, held }
    }

    /// It has a line of this second from now on.
    pub(crate) fn add(&self, second: i64, collector: &str, service: &str) {
        self.held.lock().unwrap().lines.push((second, collector.to_owned(), service.to_owned()));
    }

    /// It has lines of all of these seconds.
    pub(crate) fn add_all(&self, seconds: impl IntoIterator<Item = i64>, collector: &str, service: &str) {
        for second in seconds {
            self.add(second, collector, service);
        }
    }

    /// It loses all lines of a collector.
    pub(crate) fn lose(&self, collector: &str) {
        self.held.lock().unwrap().lines.retain(|(_, of, _)| of != collector);
    }

    /// It answers with an error, or not any more.
    pub(crate) fn refuse(&self, with: Option<(u16, &str)>) {
        self.held.lock().unwrap().refuses = with.map(|(status, words)| (status, words.to_owned()));
    }

    /// What it was asked since the last time.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.held.lock().unwrap().queries)
    }

    pub(crate) fn target(&self) -> Value {
        json!({"loki": {"url": self.server.uri()}})
    }
}

/// A context at this second with these Lokis as targets.
pub(crate) fn with_lokis(second: i64, lokis: &[(&str, &Scripted)]) -> Context {
    let target = |(name, loki): &(&str, &Scripted)| ((*name).to_owned(), serde_json::from_value(loki.target()).unwrap());
    Context { now: at(second), targets: Arc::new(lokis.iter().map(target).collect()), ..context() }
}
