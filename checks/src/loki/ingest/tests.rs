use serde_json::{Value, json};

use super::*;
use crate::net::tcp::closed_port;
use crate::target::Target;
use crate::testing::{Manner, Server, check, context, context_with, hasty, part as part_of};

const EXCERPT: &str = include_str!("../../../testdata/loki/metrics-excerpt-200.json");
const AFTER_DISCARD: &str = include_str!("../../../testdata/loki/metrics-after-discard-200.json");
const FRESH: &str = include_str!("../../../testdata/loki/metrics-no-lines-yet-200.json");

fn body(recording: &str) -> String {
    let recording: Value = serde_json::from_str(recording).unwrap();
    recording["body"].as_str().unwrap().to_owned()
}

/// Recorded metrics with this many lines received.
fn lines(count: u64) -> String {
    body(EXCERPT).replace("tenant=\"fake\"} 276\n", &format!("tenant=\"fake\"}} {count}\n"))
}

/// The same and one more line.
fn with(page: &str, line: &str) -> String {
    format!("{page}{line}\n")
}

fn discards(page: &str, why: &str, count: u64) -> String {
    with(page, &format!("{DISCARDS}{{format=\"loki\",reason=\"{why}\",tenant=\"fake\"}} {count}"))
}

fn started_at(page: &str, time: u64) -> String {
    with(page, &format!("{STARTED_AT} {time}"))
}

fn loki(url: &str) -> Context {
    context_with(serde_json::from_value::<Target>(json!({"loki": {"url": url}})).unwrap())
}

fn ingest() -> LokiIngest {
    check(json!({"loki": "target"}))
}

fn reason(outcome: &Outcome) -> String {
    outcome.reason().map_or_else(|| outcome.label().to_owned(), ToString::to_string)
}

/// Runs that follow each other, at each second with these metrics. Gives the last outcome.
struct Runs {
    tenant: Option<&'static str>,
    memory: Seen,
}

impl Runs {
    fn new() -> Self {
        Self { tenant: None, memory: Seen::default() }
    }

    async fn run(&mut self, second: i64, page: &str) -> Outcome {
        let server = Server::http("200 OK", "text/plain; version=0.0.4", page).await;
        let target = json!({"loki": {"url": server.url(), "tenant": self.tenant}});
        let cx = context_with(serde_json::from_value(target).unwrap());
        let now = DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap();
        let report = Check::run(&ingest(), &Context { now, ..cx }, std::mem::take(&mut self.memory)).await;
        let bytes = serde_json::to_vec(&report.memory).unwrap();
        assert!(bytes.len() <= crate::MAX_MEMORY);
        self.memory = serde_json::from_slice(&bytes).unwrap();
        part_of(&report, PartId::WHOLE)
    }

    async fn reason(&mut self, second: i64, page: &str) -> String {
        reason(&self.run(second, page).await)
    }
}

async fn look_at(cx: &Context) -> String {
    reason(&part_of(&Check::run(&ingest(), cx, Seen::default()).await, PartId::WHOLE))
}

#[tokio::test]
async fn a_loki_is_green_while_lines_come_and_red_when_they_stop() {
    let mut runs = Runs::new();
    for (second, count, expected) in [
        (0, 276, "lines_awaited"),
        (60, 276, "lines_awaited"),
        (61, 276, "no_lines"),
        (65, 277, "pass"),
        (121, 277, "pass"),
        (122, 277, "no_lines"),
        (130, 3, "lines_awaited"),
        (135, 4, "pass"),
    ] {
        assert_eq!(runs.reason(second, &lines(count)).await, expected, "at {second}");
    }
}

#[tokio::test]
async fn the_first_line_and_the_first_discard_ever_are_seen() {
    let mut runs = Runs::new();
    let outcome = runs.run(0, &body(FRESH)).await;
    assert_eq!(reason(&outcome), "lines_awaited");
    assert!(outcome.evidence().as_str().starts_with("0 since Loki's start"), "{outcome:?}");
    let outcome = runs.run(5, &body(AFTER_DISCARD)).await;
    assert_eq!(reason(&outcome), "lines_discarded");
    assert!(outcome.evidence().as_str().contains("1 discarded lines (greater_than_max_sample_age)"), "{outcome:?}");
}

#[tokio::test]
async fn trouble_holds_for_its_time_and_old_trouble_is_history() {
    let mut runs = Runs::new();
    let old = discards(&lines(1), "rate_limited", 40);
    runs.run(0, &old).await;
    assert_eq!(runs.reason(5, &old.replace("} 1\n", "} 2\n")).await, "pass");
    let new = old.replace("} 40\n", "} 41\n");
    let outcome = runs.run(10, &new.replace("} 1\n", "} 3\n")).await;
    assert_eq!(reason(&outcome), "lines_discarded");
    assert!(outcome.evidence().as_str().contains("1 discarded lines (rate_limited)"), "{outcome:?}");
    for second in (20..310).step_by(20) {
        let page = new.replace("tenant=\"fake\"} 1\n", &format!("tenant=\"fake\"}} {second}\n"));
        assert_eq!(runs.reason(second, &page).await, "lines_discarded", "at {second}");
    }
    assert_eq!(runs.reason(310, &new.replace("tenant=\"fake\"} 1\n", "tenant=\"fake\"} 999\n")).await, "pass");
}

#[tokio::test]
async fn each_trouble_has_its_reason_and_the_worst_comes_first() {
    for (line, expected) in [
        ("loki_ingester_chunks_flush_failures_total", "flush_failures"),
        ("loki_ingester_wal_disk_full_failures_total", "wal_disk_full"),
        ("loki_panic_total", "panics"),
    ] {
        let mut runs = Runs::new();
        runs.run(0, &lines(1)).await;
        assert_eq!(runs.reason(5, &lines(2).replace(&format!("{line} 0"), &format!("{line} 1"))).await, expected);
    }
    let mut runs = Runs::new();
    runs.run(0, &lines(1)).await;
    let both = discards(&lines(2), "stream_limit", 3).replace("disk_full_failures_total 0", "disk_full_failures_total 2");
    let outcome = runs.run(5, &both).await;
    assert_eq!(reason(&outcome), "wal_disk_full");
    assert!(outcome.evidence().as_str().contains("3 discarded lines (stream_limit)"), "{outcome:?}");
}

#[tokio::test]
async fn after_a_restart_all_trouble_is_new_and_lines_must_come_again() {
    let mut runs = Runs::new();
    runs.run(0, &started_at(&discards(&lines(10), "rate_limited", 3), 100)).await;
    assert_eq!(runs.reason(5, &started_at(&discards(&lines(20), "rate_limited", 3), 100)).await, "pass");
    assert_eq!(runs.reason(10, &started_at(&lines(30), 200)).await, "lines_awaited");
    assert_eq!(runs.reason(15, &started_at(&discards(&lines(40), "rate_limited", 3), 300)).await, "lines_discarded");
    let mut runs = Runs::new();
    runs.run(0, &discards(&lines(10), "rate_limited", 3)).await;
    assert_eq!(runs.reason(5, &discards(&lines(2), "rate_limited", 2)).await, "lines_discarded");
}

#[tokio::test]
async fn instances_that_answer_in_turn_are_never_taken_for_movement() {
    let mut runs = Runs::new();
    runs.run(0, &started_at(&lines(10), 100)).await;
    for second in [10, 30, 50, 70] {
        assert_ne!(runs.reason(second, &started_at(&lines(900), 200)).await, "pass");
        assert_eq!(runs.reason(second + 10, &started_at(&lines(10), 100)).await, "several_instances");
    }
}

#[tokio::test]
async fn what_loki_writes_to_itself_is_no_traffic() {
    let own = |count| {
        with(&lines(5), &format!("{RECEIVED}{{format=\"loki\",is_internal_stream=\"true\",policy=\"\",tenant=\"fake\"}} {count}"))
    };
    let mut runs = Runs::new();
    runs.run(0, &own(1)).await;
    runs.run(30, &own(50)).await;
    assert_eq!(runs.reason(61, &own(900)).await, "no_lines");
}

#[tokio::test]
async fn another_tenants_lines_and_discards_do_not_count() {
    let page = |ours, theirs, refused| {
        let page = with(&body(FRESH), &format!("{RECEIVED}{{tenant=\"homelab\"}} {ours}"));
        discards(&with(&page, &format!("{RECEIVED}{{tenant=\"fake\"}} {theirs}")), "rate_limited", refused)
    };
    let mut runs = Runs { tenant: Some("homelab"), ..Runs::new() };
    runs.run(0, &page(1, 1, 1)).await;
    assert_eq!(runs.reason(30, &page(1, 2, 2)).await, "lines_awaited");
    assert_eq!(runs.reason(35, &page(2, 2, 3)).await, "pass");
    assert_eq!(runs.reason(95, &page(2, 9, 3)).await, "no_lines");
}

#[tokio::test]
async fn trouble_of_the_future_does_not_hold_for_ever() {
    let mut runs = Runs::new();
    runs.run(9_000_000, &lines(1)).await;
    assert_eq!(runs.reason(9_000_005, &discards(&lines(2), "rate_limited", 1)).await, "lines_discarded");
    assert_eq!(runs.reason(0, &discards(&lines(3), "rate_limited", 1)).await, "lines_discarded");
    assert_eq!(runs.reason(299, &discards(&lines(3), "rate_limited", 1)).await, "lines_discarded");
    assert_ne!(runs.reason(300, &discards(&lines(3), "rate_limited", 1)).await, "lines_discarded");
}

#[tokio::test]
async fn a_thousand_reasons_are_bounded_and_still_seen() {
    let mut runs = Runs::new();
    runs.run(0, &lines(1)).await;
    let many = (0..1000).fold(lines(2), |page, n| discards(&page, &format!("{}{n}", "é".repeat(100)), 1));
    assert_eq!(runs.reason(5, &many).await, "lines_discarded");
}

#[tokio::test]
async fn only_a_loki_that_can_be_read_is_believed() {
    for (status, content_type, body, expected) in [
        ("200 OK", "text/plain", "up 1\n".to_owned(), "wrong_reply"),
        ("200 OK", "text/plain", String::new(), "wrong_reply"),
        ("404 Not Found", "text/plain", "404 page not found\n".to_owned(), "wrong_reply"),
        ("500 Internal Server Error", "text/plain", "oops".to_owned(), "server_error"),
        ("302 Found", "text/plain", String::new(), "redirect"),
        ("401 Unauthorized", "text/plain", "no org id".to_owned(), "denied"),
        ("200 OK", "text/html", "<html>".to_owned(), "html"),
        ("200 OK", "text/plain", "{\"status\":\"success\"}".to_owned(), "unparsable"),
        ("200 OK", "text/plain", lines(1).replace("} 1\n", "} NaN\n"), "unparsable"),
        ("200 OK", "text/plain", lines(1).replace("} 1\n", "} -1\n"), "unparsable"),
        ("200 OK", "text/plain", lines(1) + "loki_panic_total", "unparsable"),
        ("200 OK", "text/plain", lines(1) + "loki_panic_total 1", "unparsable"),
        ("200 OK", "text/plain", with(&lines(1), "\u{0}\u{1}garbage"), "unparsable"),
    ] {
        let server = Server::http(status, content_type, &body).await;
        assert_eq!(look_at(&loki(&server.url())).await, expected, "{status} {body}");
    }
}

#[tokio::test]
async fn silence_and_damage_are_told_apart() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n";
    let endless = "HTTP/1.1 200 OK\r\n\r\n".into();
    for (manner, expected) in [
        (Manner::Reset, "reset"),
        (Manner::Say(format!("{head}loki_build_in").into_bytes()), "truncated"),
        (Manner::Say(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n\xff\n".to_vec()), "unparsable"),
        (Manner::Say(b"\x00\x01garbage\r\n".to_vec()), "not_http"),
        (Manner::Repeat(endless, vec![b'#'; 64 * 1024]), "too_large"),
    ] {
        let server = Server::start(manner).await;
        assert_eq!(look_at(&loki(&server.url())).await, expected);
    }
    let mute = Server::start(Manner::Hold(Vec::new())).await;
    assert_eq!(look_at(&hasty(loki(&mute.url()))).await, "timeout");
    let closed = closed_port().unwrap();
    assert_eq!(look_at(&loki(&format!("http://{}", closed.local_addr().unwrap()))).await, "refused");
    assert_eq!(look_at(&context()).await, "target_missing");
}

#[tokio::test]
async fn what_is_remembered_outlives_a_look_that_failed() {
    let mut runs = Runs::new();
    runs.run(0, &lines(1)).await;
    assert_eq!(runs.reason(5, "rubbish").await, "unparsable");
    assert_eq!(runs.reason(10, &lines(2)).await, "pass");
}

#[tokio::test]
async fn the_control_fails_with_its_own_reason_at_a_loki_in_any_state() {
    for page in [body(FRESH), lines(276), started_at(&discards(&lines(1), "rate_limited", 7), 5)] {
        let server = Server::http("200 OK", "text/plain", &page).await;
        let control = Check::control(&ingest(), &loki(&server.url()), Seen::default()).await;
        assert_eq!(control.reason(), Some(&NO_LINES.into()), "{control:?}");
    }
    let server = Server::http("500 Internal Server Error", "text/plain", "").await;
    assert_eq!(reason(&Check::control(&ingest(), &loki(&server.url()), Seen::default()).await), "server_error");
}

#[test]
fn times_have_bounds() {
    for (block, errors) in [
        (json!({"loki": "a"}), 0),
        (json!({"loki": "a", "within": "0s"}), 1),
        (json!({"loki": "a", "holdFor": "0s"}), 0),
        (json!({"loki": "a", "within": "8d", "holdFor": "8d"}), 2),
    ] {
        assert_eq!(Check::validate(&check::<LokiIngest>(block.clone())).len(), errors, "{block}");
    }
}

#[test]
fn the_documents_rules_know_within_which_time_lines_have_to_come() {
    let lines = check::<LokiIngest>(json!({"loki": "l", "within": "3m"}));
    assert_eq!(Check::moves_within(&lines), Some(("within", Duration::from_mins(3))));
}
