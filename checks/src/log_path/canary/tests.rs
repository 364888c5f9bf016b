use std::sync::{Arc, Mutex};

use chrono::DateTime;
use serde_json::json;
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use super::*;
use crate::log_path::line::{CanaryLine, Head};
use crate::outcome::MAX_MEMORY;
use crate::testing::{Manner, Server, check, context, hasty, part};

mod days;
mod hostile;
mod recount;
mod story;

/// When every story begins.
const START: i64 = 1_795_373_889_000;
const NODE: &str = "node-1";

/// What the stand-in of Loki holds: nanoseconds and text.
type Store = Arc<Mutex<Vec<(i64, String)>>>;

/// An agent and a Loki whose time is made by the test.
struct World {
    check: LogCanary,
    agent: MockServer,
    _loki: MockServer,
    cx: Context,
    head: Arc<Mutex<Head>>,
    store: Store,
    answers: Arc<Mutex<Option<i64>>>,
    boot: Boot,
    memory: Memory,
    now: i64,
    every: i64,
    /// How far the verifier's clock is ahead of the node's.
    off: i64,
}

struct HeadOf(Arc<Mutex<Head>>);

impl Respond for HeadOf {
    fn respond(&self, _: &Request) -> ResponseTemplate {
        ResponseTemplate::new(200).set_body_json(&*self.0.lock().unwrap())
    }
}

/// The store, and from which moment on it answers.
struct LinesOf(Store, Arc<Mutex<Option<i64>>>);

impl Respond for LinesOf {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let asked: BTreeMap<String, String> = request.url.query_pairs().into_owned().collect();
        let number = |name: &str| asked[name].parse::<i64>().unwrap();
        let (start, end, limit) = (number("start"), number("end"), usize::try_from(number("limit")).unwrap());
        assert!(start < end, "{asked:?}");
        if self.1.lock().unwrap().is_some_and(|from| start < from * 1_000_000) {
            return ResponseTemplate::new(500).set_body_string("open chunks/x: no such file or directory");
        }
        let wanted = asked["query"].split('"').rev().nth(1).unwrap();
        let store = self.0.lock().unwrap();
        let found = store.iter().filter(|(at, text)| (start..end).contains(at) && text.contains(wanted));
        let values: Vec<_> = found.take(limit).map(|(at, text)| json!([at.to_string(), text])).collect();
        let result = json!([{"stream": {"service": "migration-canary"}, "values": values}]);
        ResponseTemplate::new(200)
            .set_body_json(json!({"status": "success", "data": {"resultType": "streams", "result": result}}))
    }
}

fn target(agents: &[String], loki: &str) -> Context {
    let targets = json!({"agents": {"agent": {"urls": agents}}, "loki": {"loki": {"url": loki}}});
    Context { targets: Arc::new(serde_json::from_value(targets).unwrap()), ..context() }
}

fn canary() -> LogCanary {
    check(json!({"agents": "agents", "loki": "loki", "lateAfter": "6s"}))
}

impl World {
    /// An agent that writes each `every` milliseconds and has not begun.
    async fn of(every: i64) -> Self {
        let (agent, loki) = (MockServer::start().await, MockServer::start().await);
        let (boot, moment) = (Boot(7), time(START));
        let every_ms = u64::try_from(every).unwrap();
        let head = Head {
            node: NODE.into(),
            boot,
            first: 0,
            last: 0,
            last_at: None,
            failed: 0,
            now: moment,
            every_ms,
            unread_ms: 0,
            trouble: None,
        };
        let (head, store, answers) = (Arc::new(Mutex::new(head)), Store::default(), Arc::default());
        Mock::given(path("/v1/head")).respond_with(HeadOf(head.clone())).mount(&agent).await;
        Mock::given(path("/loki/api/v1/query_range"))
            .respond_with(LinesOf(store.clone(), Arc::clone(&answers)))
            .mount(&loki)
            .await;
        let cx = target(&[agent.uri()], &loki.uri());
        let (check, memory) = (canary(), Memory::new());
        Self { check, agent, _loki: loki, cx, head, store, answers, boot, memory, now: START, every, off: 0 }
    }

    async fn new() -> Self {
        Self::of(1000).await
    }

    /// Writes for so many milliseconds; lines that pass arrive at once.
    fn writes(&mut self, time: i64, passes: impl Fn(u64) -> bool) {
        for line in self.silently(time) {
            if passes(line.seq) {
                self.arrives(&line);
            }
        }
    }

    /// Writes, and gives back what would have to arrive.
    fn silently(&mut self, time: i64) -> Vec<CanaryLine> {
        let end = self.now + time;
        let mut lines = Vec::new();
        while self.now + self.every <= end {
            self.now += self.every;
            let mut head = self.head.lock().unwrap();
            head.last += 1;
            (head.first, head.last_at) = (1, Some(moment(self.now)));
            lines.push(CanaryLine::new(NODE, self.boot, head.last, moment(self.now)));
        }
        self.now = end;
        lines
    }

    fn arrives(&self, line: &CanaryLine) {
        let at = line.at.timestamp_nanos_opt().unwrap() + 3_000_000;
        self.store.lock().unwrap().push((at, line.text()));
    }

    /// From this moment on Loki answers; for older lines it has an error.
    fn answers_from(&self, from: Option<i64>) {
        *self.answers.lock().unwrap() = from;
    }

    /// Another start of the agent.
    fn restarts(&mut self) {
        self.boot = Boot(self.boot.0 + 1);
        let mut head = self.head.lock().unwrap();
        (head.boot, head.first, head.last, head.last_at, head.failed) = (self.boot, 0, 0, None, 0);
    }

    fn head_seq(&self) -> u64 {
        self.head.lock().unwrap().last
    }

    /// One Run, a moment after the last line; Memory travels in its serialized form.
    async fn report(&mut self) -> Report<Memory> {
        self.now += 7;
        self.head.lock().unwrap().now = moment(self.now);
        let cx = Context { now: moment(self.now + self.off), ..self.cx.clone() };
        let bytes = serde_json::to_vec(&self.memory).unwrap();
        assert!(bytes.len() <= MAX_MEMORY);
        let report = Check::run(&self.check, &cx, serde_json::from_slice(&bytes).unwrap()).await;
        self.memory.clone_from(&report.memory);
        report
    }

    /// What one Run says of the node.
    async fn says(&mut self) -> String {
        word(&part(&self.report().await, NODE))
    }

    async fn measure(&mut self, name: &str) -> String {
        let report = self.report().await;
        report.measures.iter().find(|measure| measure.name == name).unwrap().value.to_string()
    }

    async fn control(&mut self) -> String {
        self.head.lock().unwrap().now = moment(self.now);
        let cx = Context { now: moment(self.now), ..self.cx.clone() };
        word(&Check::control(&self.check, &cx, self.memory.clone()).await)
    }
}

fn moment(millis: i64) -> DateTime<chrono::Utc> {
    DateTime::from_timestamp_millis(millis).unwrap()
}

use moment as time;

fn word(outcome: &Outcome) -> String {
    outcome.reason().map_or_else(|| outcome.label().to_owned(), ToString::to_string)
}

#[test]
fn the_times_and_the_selector_have_to_make_sense() {
    let rules = |block: serde_json::Value| -> Vec<&'static str> {
        Check::validate(&check::<LogCanary>(block)).into_iter().map(|error| error.field).collect()
    };
    assert_eq!(rules(json!({"agents": "a", "loki": "l"})), [""; 0]);
    for selector in ["", " ", "service=x", "sum({a=\"b\"})"] {
        assert_eq!(rules(json!({"agents": "a", "loki": "l", "selector": selector})), ["selector"]);
    }
    for (block, expected) in [
        (json!({"agents": "a", "loki": "l", "lateAfter": "0s"}), vec!["lateAfter"]),
        (json!({"agents": "a", "loki": "l", "lostAfter": "3s"}), vec!["lostAfter"]),
        (json!({"agents": "a", "loki": "l", "holdFor": "25h"}), vec!["holdFor"]),
        (json!({"agents": "a", "loki": "l", "recheck": "0s"}), vec![]),
        (json!({"agents": "a", "loki": "l", "recheck": "9s"}), vec!["recheck"]),
        (json!({"agents": "a", "loki": "l", "recheck": "8d"}), vec!["recheck"]),
        (json!({"agents": "a", "loki": "l", "grafana": "g"}), vec!["grafana"]),
        (json!({"agents": "a", "loki": "l", "datasource": "d"}), vec!["datasource"]),
        (json!({"agents": "a", "loki": "l", "grafana": "g", "datasource": "d d"}), vec!["datasource"]),
        (json!({"agents": "a", "loki": "l", "grafana": "g", "datasource": "d", "alloy": "c"}), vec![]),
    ] {
        assert_eq!(rules(block), expected);
    }
    let defaults = serde_json::to_value(check::<LogCanary>(json!({"agents": "agents", "loki": "loki"}))).unwrap();
    let expected = json!({"agents": "agents", "loki": "loki", "selector": "{service=\"migration-canary\"}", "lateAfter": "3s",
                          "lostAfter": "5m", "holdFor": "5m", "recheck": "1day"});
    assert_eq!(defaults, expected);
}
