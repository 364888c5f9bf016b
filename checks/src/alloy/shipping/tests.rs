use serde_json::{Value, json};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::super::part;
use super::*;
use crate::alloy::{ANSWERS, GIVEN_UP, SENT};
use crate::net::exposition::STARTED_AT;
use crate::net::tcp::closed_port;
use crate::outcome::{Colour, MAX_MEMORY};
use crate::target::Target;
use crate::testing::{Manner, Server, check, context, hasty, part as part_of};

mod drops;
mod life;
mod rules;

const OLD: &str = "192.0.2.10:3100";
const NEW: &str = "loki.observability.svc.cluster.local:3100";

/// A page of metrics, written line by line.
#[derive(Debug, Clone)]
struct Metrics(String);

impl Metrics {
    /// Of an Alloy that started at this second of its own clock, and loaded its configuration then.
    fn of(started: i64) -> Self {
        Self("alloy_build_info{version=\"v1.12.2\"} 1\n".into()).and(STARTED_AT, started).and(LOADED_AT, started)
    }

    fn and(self, name: &str, value: impl std::fmt::Display) -> Self {
        Self(format!("{}{name} {value}\n", self.0))
    }

    fn sent(self, host: &str, lines: u64) -> Self {
        self.sent_as("", host, lines)
    }

    fn sent_as(self, tenant: &str, host: &str, lines: u64) -> Self {
        self.and(&format!("{SENT}{{component_id=\"loki.write.w\",host=\"{host}\",tenant=\"{tenant}\"}}"), lines)
    }

    fn dropped(self, host: &str, reason: &str, lines: u64) -> Self {
        self.and(&format!("{GIVEN_UP}{{host=\"{host}\",reason=\"{reason}\",tenant=\"\"}}"), lines)
    }

    fn answered(self, host: &str, status: &str, requests: u64) -> Self {
        self.and(&format!("{ANSWERS}{{host=\"{host}\",status_code=\"{status}\",tenant=\"\"}}"), requests)
    }
}

/// An Alloy that started at second 0 and has sent so many lines to the old Loki.
fn old(lines: u64) -> Metrics {
    Metrics::of(moment(0)).sent(OLD, lines)
}

/// A second of the tests, as a Unix time.
fn moment(second: i64) -> i64 {
    1_800_000_000 + second
}

fn targets() -> Value {
    json!({
        "old": {"loki": {"url": format!("http://{OLD}")}},
        "new": {"loki": {"url": "http://loki.observability.svc:3100", "gateway": "http://gateway.observability.svc"}},
    })
}

fn context_of(targets: Value, urls: &[&str], second: i64) -> Context {
    let mut targets: BTreeMap<String, Target> = serde_json::from_value(targets).unwrap();
    targets.insert("alloy".to_owned(), serde_json::from_value(json!({"alloy": {"urls": urls}})).unwrap());
    Context { targets: targets.into(), now: DateTime::from_timestamp(moment(second), 0).unwrap(), ..context() }
}

fn to_old() -> AlloyShipping {
    check(json!({"alloy": "alloy", "lokis": ["old"]}))
}

fn to_both() -> AlloyShipping {
    check(json!({"alloy": "alloy", "lokis": ["old", "new"]}))
}

fn reason(outcome: &Outcome) -> String {
    outcome.reason().map_or_else(|| outcome.label().to_owned(), ToString::to_string)
}

fn tells(outcome: &Outcome, words: &str) {
    assert!(outcome.evidence().as_str().contains(words), "{words:?} in {outcome:?}");
}

fn silent_on(outcome: &Outcome, words: &str) {
    assert!(!outcome.evidence().as_str().contains(words), "{words:?} in {outcome:?}");
}

/// Runs that follow each other, each with its metrics.
struct Runs {
    check: AlloyShipping,
    targets: Value,
    server: MockServer,
    memory: BTreeMap<String, Seen>,
}

impl Runs {
    async fn of(check: AlloyShipping) -> Self {
        Self { check, targets: targets(), server: MockServer::start().await, memory: BTreeMap::new() }
    }

    async fn says(&self, status: u16, body: &str) {
        self.server.reset().await;
        let reply = ResponseTemplate::new(status).set_body_raw(body, "text/plain; version=0.0.4");
        Mock::given(method("GET")).and(path("/metrics")).respond_with(reply).mount(&self.server).await;
    }

    fn context(&self, second: i64) -> Context {
        context_of(self.targets.clone(), &[&self.server.uri()], second)
    }

    async fn report(&mut self, second: i64, metrics: &Metrics) -> Report<BTreeMap<String, Seen>> {
        self.says(200, &metrics.0).await;
        let report = Check::run(&self.check, &self.context(second), std::mem::take(&mut self.memory)).await;
        self.memory = serde_json::from_slice(&serde_json::to_vec(&report.memory).unwrap()).unwrap();
        report
    }

    /// One Run at this second, with the Memory of those before it.
    async fn run(&mut self, second: i64, metrics: &Metrics) -> Outcome {
        let report = self.report(second, metrics).await;
        part_of(&report, part(&self.server.uri().parse().unwrap()).as_str())
    }

    async fn reason(&mut self, second: i64, metrics: &Metrics) -> String {
        reason(&self.run(second, metrics).await)
    }

    async fn control(&self, metrics: &Metrics) -> Outcome {
        self.says(200, &metrics.0).await;
        Check::control(&self.check, &self.context(0), BTreeMap::new()).await
    }
}

#[tokio::test]
async fn an_alloy_is_green_while_it_ships_to_the_right_loki_and_red_when_it_stops() {
    let mut runs = Runs::of(to_old()).await;
    let first = runs.run(0, &old(7)).await;
    assert_eq!(reason(&first), "awaited");
    let Outcome::Waiting { due, .. } = first else { panic!("{first:?}") };
    assert_eq!(due.timestamp(), moment(60));
    for (second, lines, expected) in
        [(5, 7, "awaited"), (10, 8, "pass"), (65, 8, "pass"), (66, 8, "not_shipping"), (70, 9, "pass"), (90, 9, "pass")]
    {
        assert_eq!(runs.reason(second, &old(lines)).await, expected, "at {second}");
    }
    let outcome = runs.run(100, &old(10)).await;
    assert_eq!(outcome.evidence().as_str(), "old (192.0.2.10:3100): 10 lines since Alloy's start, some within the last 10s");
}

#[tokio::test]
async fn lines_to_another_host_are_refused_with_how_many_and_since_when() {
    let mut runs = Runs::of(to_old()).await;
    let both = |old: u64, new: u64| self::old(old).sent(NEW, new);
    runs.run(0, &old(1)).await;
    assert_eq!(runs.reason(5, &old(2)).await, "pass");
    let outcome = runs.run(10, &both(3, 4)).await;
    assert_eq!(reason(&outcome), "wrong_loki");
    tells(
        &outcome,
        &format!("4 lines to {NEW} since 2027-01-15T08:00:05Z, the last 0s ago, holds until 2027-01-15T08:05:10Z; old ("),
    );
    let outcome = runs.run(20, &both(4, 6)).await;
    assert_eq!(reason(&outcome), "wrong_loki");
    tells(&outcome, &format!("6 lines to {NEW} since 2027-01-15T08:00:05Z, the last 0s ago, holds until 2027-01-15T08:05:20Z"));
    for second in [60, 110, 160, 210, 260, 310, 319] {
        assert_eq!(runs.reason(second, &both(u64::try_from(second).unwrap(), 6)).await, "wrong_loki", "at {second}");
    }
    assert_eq!(runs.reason(320, &both(320, 6)).await, "pass");
    let outcome = runs.run(330, &both(330, 7)).await;
    assert_eq!(reason(&outcome), "wrong_loki");
    tells(&outcome, &format!("1 lines to {NEW} since 2027-01-15T08:05:20Z"));
}

#[tokio::test]
async fn everything_going_elsewhere_is_told_as_the_wrong_loki_with_what_the_right_one_gets() {
    let mut runs = Runs::of(to_old()).await;
    let elsewhere = |lines| Metrics::of(moment(0)).sent(NEW, lines);
    runs.run(0, &elsewhere(5)).await;
    runs.run(30, &elsewhere(9)).await;
    let outcome = runs.run(61, &elsewhere(12)).await;
    assert_eq!(reason(&outcome), "wrong_loki");
    tells(&outcome, &format!("7 lines to {NEW} since 2027-01-15T08:00:00Z"));
    tells(&outcome, "old: Alloy has sent it no line since its start, none for 1m 1s; due within 1m");
}

#[tokio::test]
async fn what_stands_still_at_another_host_is_no_fault() {
    let mut runs = Runs::of(to_old()).await;
    let page = |lines: u64| old(lines).sent(NEW, 900).sent("198.51.100.1:3100", 0);
    runs.run(0, &page(1)).await;
    assert_eq!(runs.reason(5, &page(2)).await, "pass");
    assert_eq!(runs.reason(10, &page(3)).await, "pass");
}

#[tokio::test]
async fn a_host_that_was_never_there_has_risen_whatever_it_shows() {
    let mut runs = Runs::of(to_old()).await;
    runs.run(0, &old(1)).await;
    runs.run(5, &old(2)).await;
    let outcome = runs.run(10, &old(3).sent("198.51.100.1", 900)).await;
    assert_eq!(reason(&outcome), "wrong_loki");
    tells(&outcome, "900 lines to 198.51.100.1 since");
}

#[tokio::test]
async fn each_of_two_lokis_must_get_lines_and_the_one_that_does_not_is_named() {
    let mut runs = Runs::of(to_both()).await;
    let page = |old: u64, new: u64| self::old(old).sent(NEW, new);
    runs.run(0, &page(1, 1)).await;
    let outcome = runs.run(5, &page(2, 1)).await;
    assert_eq!(reason(&outcome), "awaited");
    tells(&outcome, &format!("new ({NEW}): 1 lines since Alloy's start, not seen moving yet; due within 1m; old ("));
    assert_eq!(runs.reason(10, &page(3, 2)).await, "pass");
    let dead = page(4, 2).answered(NEW, "204", 2).answered(NEW, "-1", 7).answered(NEW, "503", 2).answered(OLD, "500", 9);
    let dead = |old| Metrics(dead.0.replace("} 4\n", &format!("}} {old}\n")));
    assert_eq!(runs.reason(40, &dead(5)).await, "pass");
    let outcome = runs.run(66, &dead(6)).await;
    assert_eq!(reason(&outcome), "not_shipping");
    tells(&outcome, &format!("new ({NEW}): 2 lines since Alloy's start, none for 1m 1s; due within 1m; so far failed: "));
    tells(&outcome, "so far failed: no connection or no answer ×7, status 503 ×2; old (");
    silent_on(&outcome, "status 500");
}

#[tokio::test]
async fn a_loki_that_may_get_lines_is_neither_wrong_nor_asked_for() {
    let mut runs = Runs::of(check(json!({"alloy": "alloy", "lokis": ["old"], "mayShipTo": ["new"]}))).await;
    let page = |old: u64, new: u64| self::old(old).sent(NEW, new);
    assert_eq!(runs.reason(0, &old(1)).await, "awaited");
    assert_eq!(runs.reason(5, &old(2)).await, "pass");
    assert_eq!(runs.reason(10, &page(3, 7)).await, "pass");
    assert_eq!(runs.reason(15, &page(4, 9)).await, "pass");
    assert_eq!(runs.reason(70, &page(4, 50)).await, "pass");
    assert_eq!(runs.reason(80, &page(4, 60)).await, "not_shipping", "lines to it are none to the one that must get some");
    assert_eq!(runs.reason(85, &page(5, 60).sent("192.0.2.99:3100", 1)).await, "wrong_loki");
}

#[tokio::test]
async fn a_loki_is_known_by_its_url_its_gateway_or_a_further_host() {
    for (host, expected) in [
        (NEW, "pass"),
        ("LOKI.observability.svc:3100", "pass"),
        ("gateway.observability.svc", "pass"),
        ("gateway.observability.svc.cluster.local:80", "pass"),
        ("loki:3100", "pass"),
        ("loki", "wrong_loki"),
        ("loki:3101", "wrong_loki"),
        ("not a host:1", "wrong_loki"),
    ] {
        let check = json!({"alloy": "alloy", "lokis": ["new"], "hosts": {"new": ["loki:3100"]}});
        let mut runs = Runs::of(self::check(check)).await;
        runs.run(0, &Metrics::of(0).sent(host, 1)).await;
        assert_eq!(runs.reason(5, &Metrics::of(0).sent(host, 2)).await, expected, "{host}");
    }
}

#[tokio::test]
async fn by_two_names_a_loki_is_one_loki() {
    let mut runs = Runs::of(check(json!({"alloy": "alloy", "lokis": ["new"]}))).await;
    let page = |direct, gateway| Metrics::of(0).sent(NEW, direct).sent("gateway.observability.svc", gateway);
    runs.run(0, &page(1, 1)).await;
    let outcome = runs.run(5, &page(1, 2)).await;
    assert_eq!(reason(&outcome), "pass");
    tells(&outcome, &format!("new (gateway.observability.svc, {NEW}): 3 lines"));
}

#[tokio::test]
async fn an_alloy_that_writes_nothing_at_all_never_passes() {
    let mut runs = Runs::of(to_old()).await;
    let nothing = Metrics::of(moment(0));
    assert_eq!(runs.reason(0, &nothing).await, "awaited");
    assert_eq!(runs.reason(60, &nothing).await, "awaited");
    let outcome = runs.run(61, &nothing).await;
    assert_eq!(reason(&outcome), "not_shipping");
    tells(&outcome, "old: Alloy has no loki.write series, so it has sent no line anywhere since its start, none for 1m 1s");
    // A series comes into being with its first line.
    assert_eq!(runs.reason(65, &old(0)).await, "not_shipping");
    assert_eq!(runs.reason(70, &old(1)).await, "pass");
}

#[tokio::test]
async fn another_tenants_lines_do_not_count_but_those_of_a_gateway_do() {
    let mut runs = Runs::of(to_old()).await;
    runs.targets["old"]["loki"]["tenant"] = json!("homelab");
    let page = |ours, theirs, unsaid| {
        Metrics::of(moment(0)).sent_as("homelab", OLD, ours).sent_as("other", OLD, theirs).sent(OLD, unsaid)
    };
    runs.run(0, &page(1, 1, 1)).await;
    runs.run(30, &page(1, 5, 1)).await;
    let outcome = runs.run(61, &page(1, 9, 1)).await;
    assert_eq!(reason(&outcome), "not_shipping");
    tells(&outcome, "9 lines to it as other tenants");
    assert_eq!(runs.reason(65, &page(2, 9, 1)).await, "pass");
    assert_eq!(runs.reason(120, &page(2, 9, 1)).await, "pass");
    assert_eq!(runs.reason(126, &page(2, 9, 1)).await, "not_shipping");
    assert_eq!(runs.reason(130, &page(2, 9, 2)).await, "pass");
}

#[tokio::test]
async fn an_alloy_as_it_was_recorded_while_its_loki_was_there_and_while_it_was_not() {
    let body = |recording: &str| {
        let recording: Value = serde_json::from_str(recording).unwrap();
        Metrics(recording["body"].as_str().unwrap().to_owned() + "\n")
    };
    let steady = body(include_str!("../../../testdata/alloy/metrics-steady-200.json"));
    let down = body(include_str!("../../../testdata/alloy/metrics-loki-down-200.json"));
    let mut runs = Runs::of(to_old()).await;
    runs.targets["old"]["loki"]["url"] = json!("http://127.0.0.1:3100");
    runs.run(0, &Metrics(steady.0.replace("tenant=\"\"} 5\n", "tenant=\"\"} 4\n"))).await;
    assert_eq!(runs.reason(5, &steady).await, "pass");
    assert_eq!(runs.reason(10, &down).await, "awaited", "its configuration was loaded again");
    let outcome = runs.run(70, &down).await;
    assert_eq!(reason(&outcome), "awaited");
    let outcome = runs.run(71, &down).await;
    assert_eq!(reason(&outcome), "not_shipping");
    tells(
        &outcome,
        "old (127.0.0.1:3100): 5 lines since Alloy's start, none for 1m 1s; due within 1m; so far failed: no connection or no answer ×11",
    );
    let control = runs.control(&steady).await;
    assert_eq!(control.reason(), Some(&WRONG_LOKI.into()), "{control:?}");
}

#[tokio::test]
async fn how_old_the_lines_are_is_measured_while_all_is_well() {
    let mut runs = Runs::of(to_both()).await;
    let page = |old: u64, new: u64| self::old(old).sent(NEW, new);
    assert_eq!(runs.report(0, &page(1, 1)).await.measures, []);
    assert_eq!(runs.report(5, &page(2, 1)).await.measures, []);
    runs.report(10, &page(2, 2)).await;
    // The Loki that got its lines earlier decides.
    for (second, old, new) in [(20, 3, 2), (25, 3, 3)] {
        let measures = runs.report(second, &page(old, new)).await.measures;
        let [measure] = measures.as_slice() else { panic!("{measures:?}") };
        assert_eq!(measure.name, "sent_age_seconds");
        assert!((14.9..15.1).contains(&measure.value), "{measure:?}");
    }
}

#[tokio::test]
async fn of_two_lokis_that_are_awaited_the_one_that_is_due_first_decides() {
    let mut runs = Runs::of(to_both()).await;
    runs.run(0, &old(1).sent(NEW, 1)).await;
    runs.run(5, &old(2).sent(NEW, 1)).await;
    let outcome = runs.run(30, &Metrics::of(moment(29)).sent(OLD, 1).sent(NEW, 1)).await;
    let Outcome::Waiting { due, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(due.timestamp(), moment(60), "the new one was never seen moving");
}
