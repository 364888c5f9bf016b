use std::cell::Cell;

use serde_json::{Value, json};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::super::part;
use super::*;
use crate::net::tcp::closed_port;
use crate::outcome::{Colour, PartId};
use crate::target::Target;
use crate::testing::{Manner, Server, check, context, context_with, hasty, part as part_of};

const READY: &str = include_str!("../../../testdata/alloy/ready-200.json");
const HEALTHY: &str = include_str!("../../../testdata/alloy/healthy-200.json");
const STEADY: &str = include_str!("../../../testdata/alloy/metrics-steady-200.json");
const BAD_RELOAD: &str = include_str!("../../../testdata/alloy/metrics-after-bad-reload-200.json");
const LOKI_DOWN: &str = include_str!("../../../testdata/alloy/metrics-loki-down-200.json");
const COMPONENTS: &str = include_str!("../../../testdata/alloy/components-200.json");

/// One Alloy that answers what it is told to, and what was seen of it.
struct Alloy {
    server: MockServer,
    priority: Cell<u8>,
    memory: BTreeMap<String, Seen>,
}

/// The body of a recorded reply. A page that was cut to an excerpt gets back the end of its last line.
fn body(recording: &str) -> String {
    let recording: Value = serde_json::from_str(recording).unwrap();
    let body = recording["body"].as_str().unwrap().to_owned();
    if body.ends_with(['\n', ']']) { body } else { body + "\n" }
}

/// The steady metrics with this many lines read.
fn lines(count: u64) -> String {
    body(STEADY).replace("path=\"/\"} 351\n", &format!("path=\"/\"}} {count}\n"))
}

/// The same, after a load of the configuration at another time.
fn loaded_at(time: &str, page: &str) -> String {
    page.replace("1.7953984403992515e+09", time)
}

fn second_reader(count: u64, page: &str) -> String {
    format!("{page}{LINES}{{component_id=\"loki.source.journal.other\",component_path=\"/\"}} {count}\n")
}

impl Alloy {
    /// A steady Alloy, as it was recorded.
    async fn steady() -> Self {
        let alloy = Self { server: MockServer::start().await, priority: Cell::new(u8::MAX), memory: BTreeMap::new() };
        alloy.says("/api/v0/web/components", 200, &body(COMPONENTS)).await;
        alloy.says("/-/ready", 200, &body(READY)).await;
        alloy.says("/-/healthy", 200, &body(HEALTHY)).await;
        alloy.says("/metrics", 200, &body(STEADY)).await;
        alloy
    }

    /// What is said last is answered first.
    async fn says(&self, at: &str, status: u16, body: &str) {
        let reply = ResponseTemplate::new(status).set_body_raw(body, "text/plain; charset=utf-8");
        self.priority.set(self.priority.get() - 1);
        Mock::given(method("GET")).and(path(at)).respond_with(reply).with_priority(self.priority.get()).mount(&self.server).await;
    }

    fn context(&self, second: i64) -> Context {
        at(second, alloy(&[&self.server.uri()]))
    }

    /// One Run at this second, with the Memory of those before it.
    async fn run(&mut self, check: &AlloyHealth, second: i64) -> Outcome {
        let report = Check::run(check, &self.context(second), std::mem::take(&mut self.memory)).await;
        let name = part(&self.server.uri().parse().unwrap());
        let outcome = part_of(&report, name.as_str());
        self.memory = serde_json::from_slice(&serde_json::to_vec(&report.memory).unwrap()).unwrap();
        outcome
    }

    /// A Run that finds these metrics.
    async fn run_with(&mut self, metrics: &str, second: i64) -> Outcome {
        self.server.reset().await;
        self.priority.set(u8::MAX);
        self.says("/-/ready", 200, &body(READY)).await;
        self.says("/-/healthy", 200, &body(HEALTHY)).await;
        self.says("/metrics", 200, metrics).await;
        self.run(&health(), second).await
    }

    async fn control(&self, check: &AlloyHealth) -> Outcome {
        Check::control(check, &self.context(0), BTreeMap::new()).await
    }
}

fn alloy(urls: &[&str]) -> Context {
    context_with(serde_json::from_value::<Target>(json!({"alloy": {"urls": urls}})).unwrap())
}

fn at(second: i64, cx: Context) -> Context {
    Context { now: DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap(), ..cx }
}

fn health() -> AlloyHealth {
    check(json!({"alloy": "target", "within": "1m"}))
}

fn without_journal() -> AlloyHealth {
    check(json!({"alloy": "target", "journal": false}))
}

fn reason(outcome: &Outcome) -> String {
    outcome.reason().map_or_else(|| outcome.label().to_owned(), ToString::to_string)
}

/// The only part of one Run against a server that treats every request alike.
async fn look_at(cx: &Context) -> Outcome {
    let report = Check::run(&health(), cx, BTreeMap::new()).await;
    let Step::Done(parts) = report.step else { panic!("not done") };
    parts.into_values().next().unwrap()
}

#[tokio::test]
async fn a_steady_alloy_is_green_once_its_journal_was_seen_moving() {
    let mut alloy = Alloy::steady().await;
    let first = alloy.run(&health(), 0).await;
    assert_eq!(reason(&first), "journal_awaited");
    let Outcome::Waiting { due, .. } = first else { panic!("{first:?}") };
    assert_eq!(due, at(60, context()).now);
    assert_eq!(reason(&alloy.run_with(&lines(352), 5).await), "pass");
    let outcome = alloy.run_with(&lines(352), 60).await;
    assert_eq!(reason(&outcome), "pass");
    assert!(outcome.evidence().as_str().contains("loki.source.journal.systemd moved within the last 1m"), "{outcome:?}");
}

#[tokio::test]
async fn a_dead_journal_reader_is_red_while_alloy_calls_itself_healthy() {
    let mut alloy = Alloy::steady().await;
    for (second, count, expected) in [
        (0, 0, "journal_awaited"),
        (59, 0, "journal_awaited"),
        (61, 0, "journal_still"),
        (70, 1, "pass"),
        (121, 1, "pass"),
        (122, 1, "journal_still"),
        (130, 2, "pass"),
    ] {
        assert_eq!(reason(&alloy.run_with(&lines(count), second).await), expected, "at {second}");
    }
}

#[tokio::test]
async fn a_restart_and_a_reload_ask_for_new_movement() {
    let mut alloy = Alloy::steady().await;
    alloy.run_with(&lines(10), 0).await;
    assert_eq!(reason(&alloy.run_with(&lines(20), 5).await), "pass");
    assert_eq!(reason(&alloy.run_with(&lines(3), 10).await), "journal_awaited");
    assert_eq!(reason(&alloy.run_with(&lines(4), 15).await), "pass");
    let reloaded = loaded_at("1.7953984503992515e+09", &lines(9));
    assert_eq!(reason(&alloy.run_with(&reloaded, 20).await), "journal_awaited");
    assert_eq!(reason(&alloy.run_with(&reloaded.replace("} 9\n", "} 10\n"), 25).await), "pass");
}

#[tokio::test]
async fn that_a_pipeline_drops_lines_is_told_and_is_no_fault() {
    let mut alloy = Alloy::steady().await;
    let dropped = |read: u64, count: u64| {
        lines(read).replace("reason=\"match_stage\"} 346\n", &format!("reason=\"match_stage\"}} {count}\n"))
    };
    let told = "its pipeline drops lines (349 so far, the last within 5s)";
    for (second, read, count, tells) in [(0, 351, 346, false), (5, 352, 346, false), (10, 353, 349, true), (80, 420, 349, false)]
    {
        let outcome = alloy.run_with(&dropped(read, count), second).await;
        assert_eq!(outcome.evidence().as_str().contains("drops lines"), tells, "{second}: {outcome:?}");
        assert_eq!(outcome.evidence().as_str().contains(told), tells, "{second}: {outcome:?}");
    }
    let silent = lines(500).replace("loki_process_dropped_lines_total", "renamed_by_another_version");
    let outcome = alloy.run_with(&silent, 85).await;
    assert!(matches!(outcome, Outcome::Pass { .. }), "it is not asked for: {outcome:?}");
}

#[tokio::test]
async fn instances_that_answer_in_turn_are_never_taken_for_movement() {
    let mut alloy = Alloy::steady().await;
    let other = loaded_at("1.7953984503992515e+09", &lines(900));
    alloy.run_with(&lines(351), 0).await;
    for second in [10, 30, 50, 70, 90] {
        let there = alloy.run_with(&other, second).await;
        let back = alloy.run_with(&lines(351), second + 10).await;
        assert!(!matches!(there, Outcome::Pass { .. }), "{there:?}");
        assert_eq!(reason(&back), "several_instances");
        assert_eq!(SEVERAL_INSTANCES.colour, Colour::Unknown);
    }
}

#[tokio::test]
async fn one_moving_reader_does_not_cover_for_another() {
    let mut alloy = Alloy::steady().await;
    alloy.run_with(&second_reader(7, &lines(351)), 0).await;
    for second in [20, 40, 60] {
        let outcome = alloy.run_with(&second_reader(7, &lines(351 + u64::try_from(second).unwrap())), second).await;
        assert_eq!(reason(&outcome), "journal_awaited");
    }
    let outcome = alloy.run_with(&second_reader(7, &lines(999)), 61).await;
    assert_eq!(reason(&outcome), "journal_still");
    assert!(outcome.evidence().as_str().contains("loki.source.journal.other: 7 lines"), "{outcome:?}");
    // Gone without a reload, it reads nothing.
    assert_eq!(reason(&alloy.run_with(&lines(1000), 66).await), "journal_still");
}

#[tokio::test]
async fn a_refused_reload_is_seen_although_all_else_is_green() {
    let mut alloy = Alloy::steady().await;
    alloy.run_with(&lines(350), 0).await;
    let outcome = alloy.run_with(&body(BAD_RELOAD), 5).await;
    assert_eq!(reason(&outcome), "old_config");
    assert_eq!(reason(&alloy.run(&without_journal(), 10).await), "old_config");
    let good = body(BAD_RELOAD).replace("last_load_successful 0", "last_load_successful 1");
    assert_eq!(reason(&alloy.run_with(&good, 15).await), "pass");
}

#[tokio::test]
async fn alloy_is_healthy_while_loki_is_down_and_this_check_agrees() {
    let mut alloy = Alloy::steady().await;
    alloy.run_with(&loaded_at("1.7954000080390143e+09", &lines(351)), 0).await;
    assert_eq!(reason(&alloy.run_with(&body(LOKI_DOWN), 5).await), "pass");
}

#[tokio::test]
async fn the_unhealthy_component_is_named() {
    let mut alloy = Alloy::steady().await;
    let ailing = body(COMPONENTS).replacen(
        "\"state\":\"healthy\",\"message\":\"started component\"",
        "\"state\":\"exited\",\"message\":\"boom\"",
        1,
    );
    alloy.says("/-/healthy", 500, "unhealthy components: loki.relabel\n").await;
    alloy.says("/api/v0/web/components", 200, &ailing).await;
    let outcome = alloy.run(&health(), 0).await;
    assert_eq!(reason(&outcome), "unhealthy_component");
    assert!(outcome.evidence().as_str().contains("loki.relabel.r is exited: boom"), "{outcome:?}");
    // One that has exited is no unhealthy one in Alloy's own words.
    alloy.says("/-/healthy", 200, &body(HEALTHY)).await;
    let metrics = body(STEADY) + RUNNING + "{controller_id=\"\",controller_path=\"/\",health_type=\"exited\"} 1\n";
    alloy.says("/metrics", 200, &metrics).await;
    let outcome = alloy.run(&without_journal(), 5).await;
    assert_eq!(reason(&outcome), "unhealthy_component");
    assert!(outcome.evidence().as_str().contains("1 exited; loki.relabel.r is exited: boom"), "{outcome:?}");
    // Not to be able to name it makes it no better.
    alloy.says("/api/v0/web/components", 200, "<html>").await;
    assert_eq!(reason(&alloy.run(&without_journal(), 10).await), "unhealthy_component");
}

#[tokio::test]
async fn an_alloy_without_a_word_of_health_is_asked_for_its_components() {
    let mut alloy = Alloy::steady().await;
    alloy.says("/-/healthy", 404, "404 page not found\n").await;
    assert_eq!(reason(&alloy.run(&without_journal(), 0).await), "pass");
    for (status, components, expected) in [
        (200, body(COMPONENTS).replacen("healthy\"", "unhealthy\"", 1), "unhealthy_component"),
        (404, "404 page not found\n".to_owned(), "wrong_reply"),
        (200, "[]".to_owned(), "wrong_reply"),
        (200, "[{}]".to_owned(), "wrong_reply"),
        (200, "[{\"health\"".to_owned(), "unparsable"),
    ] {
        alloy.says("/api/v0/web/components", status, &components).await;
        assert_eq!(reason(&alloy.run(&without_journal(), 5).await), expected, "{components}");
    }
}

#[tokio::test]
async fn only_alloys_own_words_are_believed() {
    for (at, status, text, expected) in [
        ("/-/ready", 503, "Alloy is not ready.\n", "not_ready"),
        ("/-/ready", 503, "no available server", "server_error"),
        ("/-/ready", 200, "ready", "wrong_reply"),
        ("/-/ready", 200, "", "wrong_reply"),
        ("/-/ready", 200, "<html>Alloy is ready.", "html"),
        ("/-/ready", 302, "", "redirect"),
        ("/-/ready", 401, "", "denied"),
        ("/-/healthy", 200, "Alloy is ready.", "wrong_reply"),
        ("/-/healthy", 500, "oops", "server_error"),
        ("/metrics", 500, "oops", "server_error"),
        ("/metrics", 404, "404 page not found\n", "wrong_reply"),
        ("/metrics", 200, "", "wrong_reply"),
        ("/metrics", 200, "up 1\n", "wrong_reply"),
        ("/metrics", 200, "<!doctype html><html>", "html"),
        ("/metrics", 200, "alloy_build_info{} 1\n", "unparsable"),
        ("/metrics", 200, "alloy_build_info{} 1\nalloy_config_last_load_successful 1\nrubbish\n", "unparsable"),
        ("/metrics", 200, "alloy_build_info{} 1\nalloy_config_last_load_successful NaN\n", "old_config"),
        ("/metrics", 200, "alloy_build_info{} 1\nalloy_config_last_load_successful 1", "unparsable"),
        ("/metrics", 200, "alloy_build_info{} 1\nalloy_config_last_load_successful 1\n", "no_journal"),
    ] {
        let mut alloy = Alloy::steady().await;
        alloy.says(at, status, text).await;
        assert_eq!(reason(&alloy.run(&health(), 0).await), expected, "{at} {status} {text}");
    }
    let mut alloy = Alloy::steady().await;
    alloy.says("/metrics", 200, &lines(351).replace("} 351\n", "} NaN\n")).await;
    assert_eq!(reason(&alloy.run(&health(), 0).await), "unparsable");
}

#[tokio::test]
async fn an_alloy_that_need_not_read_a_journal_may_have_none() {
    let mut alloy = Alloy::steady().await;
    alloy.says("/metrics", 200, "alloy_build_info{} 1\nalloy_config_last_load_successful 1\n").await;
    assert_eq!(reason(&alloy.run(&without_journal(), 0).await), "pass");
    assert_eq!(reason(&alloy.run(&health(), 0).await), "no_journal");
}

#[tokio::test]
async fn silence_and_damage_are_told_apart() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n";
    let endless = "HTTP/1.1 200 OK\r\n\r\n".into();
    for (manner, expected) in [
        (Manner::Reset, "reset"),
        (Manner::Say(format!("{head}Alloy is re").into_bytes()), "truncated"),
        (Manner::Say(b"\x00\x01garbage\r\n".to_vec()), "not_http"),
        (Manner::Repeat(endless, vec![b'#'; 64 * 1024]), "too_large"),
    ] {
        let server = Server::start(manner).await;
        assert_eq!(reason(&look_at(&alloy(&[&server.url()])).await), expected);
    }
    let mute = Server::start(Manner::Hold(Vec::new())).await;
    assert_eq!(reason(&look_at(&hasty(alloy(&[&mute.url()]))).await), "timeout");
    let closed = closed_port().unwrap();
    assert_eq!(reason(&look_at(&alloy(&[&format!("http://{}", closed.local_addr().unwrap())])).await), "refused");
    assert_eq!(reason(&look_at(&context()).await), "target_missing");
}

#[tokio::test]
async fn each_alloy_is_a_part_of_its_own() {
    let (one, two) = (Alloy::steady().await, Alloy::steady().await);
    two.says("/-/ready", 503, "Alloy is not ready.\n").await;
    let cx = alloy(&[&one.server.uri(), &two.server.uri()]);
    let report = Check::run(&without_journal(), &cx, BTreeMap::new()).await;
    let name = |alloy: &Alloy| alloy.server.address().to_string();
    assert_eq!(reason(&part_of(&report, &name(&one))), "pass");
    assert_eq!(reason(&part_of(&report, &name(&two))), "not_ready");
    assert_eq!(report.memory.len(), 2);
    let base = |url: &str| part(&url.parse().unwrap());
    assert_eq!(base("http://node-1/alloy/"), PartId::new("node-1:80/alloy"));
}

#[tokio::test]
async fn what_is_remembered_outlives_a_look_that_failed() {
    let mut alloy = Alloy::steady().await;
    alloy.run_with(&lines(1), 0).await;
    alloy.says("/metrics", 500, "oops").await;
    assert_eq!(reason(&alloy.run(&health(), 5).await), "server_error");
    assert_eq!(reason(&alloy.run_with(&lines(2), 10).await), "pass");
}

#[tokio::test]
async fn the_control_fails_with_its_own_reason_only_at_a_server_that_can_tell() {
    let alloy = Alloy::steady().await;
    for check in [health(), without_journal()] {
        let control = alloy.control(&check).await;
        assert_eq!(control.reason(), Some(&OLD_CONFIG.into()), "{control:?}");
    }
    let nowhere = format!("/{}", NOWHERE.join("/"));
    alloy.says(&nowhere, 200, "Alloy is ready.").await;
    assert_eq!(alloy.control(&health()).await.label(), "pass");
    alloy.says("/metrics", 500, "oops").await;
    assert_eq!(reason(&alloy.control(&health()).await), "server_error");
    assert_eq!(reason(&Check::control(&health(), &context(), BTreeMap::new()).await), "target_missing");
}

#[test]
fn a_time_to_move_has_bounds() {
    for (within, errors) in [("0s", 1), ("1s", 0), ("7d", 0), ("8d", 1)] {
        assert_eq!(Check::validate(&check::<AlloyHealth>(json!({"alloy": "a", "within": within}))).len(), errors, "{within}");
    }
}

#[test]
fn the_documents_rules_know_within_which_time_the_journal_has_to_move() {
    let within = |block| Check::moves_within(&check::<AlloyHealth>(block));
    assert_eq!(within(json!({"alloy": "a", "within": "3m"})), Some(("within", Duration::from_mins(3))));
    assert_eq!(within(json!({"alloy": "a", "journal": false})), None);
}
