use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use wiremock::MockServer;

use crate::testing::{check, context};
use crate::{Check, Context, MAX_MEMORY, Outcome, Report, Step, Target};

use super::compare::{Span, differences};
use super::scan::{Next, Scan};
use super::*;
use fake::{Fake, Held};

mod fake;

/// A full hour, four days ago.
const BASE: i64 = 500_000 * HOUR;
const NANOS: i64 = 1_000_000_000;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(BASE + 4 * 24 * HOUR + 1234, 0).unwrap()
}

/// Three services over four days: each minute, each hour, once.
fn history() -> Held {
    let mut lines = Held::new();
    for hour in 0..90 {
        for minute in 0..60 {
            let at = (BASE + hour * HOUR + minute * 60 + 7) * NANOS + 42;
            lines.push(("proxy", at, format!("GET /{hour}/{minute}")));
        }
        lines.push(("gitops-sync", (BASE + hour * HOUR + 1800) * NANOS, format!("synced {hour}")));
    }
    lines.push(("backup", (BASE + 40 * HOUR + 5) * NANOS, "done".to_owned()));
    lines
}

struct Two {
    old: Fake,
    new: Fake,
    cx: Context,
    check: LokiHistory,
    memory: Memory,
    _servers: [MockServer; 2],
}

impl Two {
    async fn start(more: Value) -> Self {
        let (old, new) = (Fake::of(history()), Fake::of(history()));
        let servers = [old.start().await, new.start().await];
        let target = |server: &MockServer| Target::Loki(serde_json::from_value(json!({"url": server.uri()})).unwrap());
        let targets = [("old".to_owned(), target(&servers[0])), ("new".to_owned(), target(&servers[1]))];
        let cx = Context { targets: Arc::new(targets.into_iter().collect()), now: now(), ..context() };
        let mut spec = json!({"old": "old", "new": "new", "over": "96h", "sampleOneIn": 1, "loadPercent": 100});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Self { old, new, cx, check: check(spec), memory: Memory::default(), _servers: servers }
    }

    /// One Run.
    async fn slice(&mut self) -> Step {
        let Report { step, memory, .. } = Check::run(&self.check, &self.cx, self.memory.clone()).await;
        let bytes = serde_json::to_vec(&memory).unwrap();
        assert!(bytes.len() < MAX_MEMORY, "{} bytes", bytes.len());
        self.memory = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(self.memory, memory);
        step
    }

    /// Runs, each a minute after the one before, until something is decided.
    async fn decided(&mut self) -> Outcome {
        for _ in 0..200 {
            if let Step::Done(parts) = self.slice().await {
                return parts.into_values().next().unwrap();
            }
            self.cx.now += TimeDelta::minutes(1);
        }
        panic!("nothing was decided: {:?}", self.memory)
    }

    async fn fails(&mut self, reason: ReasonSpec, words: &[&str]) {
        let outcome = self.decided().await;
        assert_eq!(outcome.reason(), Some(&reason.into()), "{outcome:?}");
        for word in words {
            assert!(outcome.evidence().as_str().contains(word), "no {word:?} in {}", outcome.evidence());
        }
    }

    async fn passes(&mut self) -> String {
        let outcome = self.decided().await;
        assert!(matches!(outcome, Outcome::Pass { .. }), "{outcome:?}");
        outcome.evidence().as_str().to_owned()
    }
}

#[tokio::test]
async fn the_same_history_passes_and_says_what_was_compared() {
    let mut two = Two::start(json!({})).await;
    let evidence = two.passes().await;
    for word in ["96 hours", "up to 3 services: 5491 lines", "the text of all 5491 was compared"] {
        assert!(evidence.contains(word), "{evidence}");
    }
    let Step::More(rest) = two.slice().await else { panic!("it does not rest") };
    assert!(rest.note.as_str().contains("the next look begins at"), "{}", rest.note);
    two.cx.now += TimeDelta::minutes(16);
    two.new.edit(|lines| lines.truncate(lines.len() - 1));
    two.fails(MISSING, &["backup", "1 of 1 lines missing"]).await;
}

#[tokio::test]
async fn three_lines_of_one_hour_are_missed_by_service_and_hour() {
    let mut two = Two::start(json!({})).await;
    let begins = (BASE + 50 * HOUR) * NANOS;
    two.new.edit(|lines| lines.retain(|(of, at, _)| *of != "proxy" || !(begins..begins + 180 * NANOS).contains(at)));
    let hour = clock(BASE + 50 * HOUR);
    two.fails(MISSING, &[&format!("proxy {hour}: 3 of 60 lines missing")]).await;
}

#[tokio::test]
async fn another_text_of_the_same_length_is_found_where_everything_is_read() {
    let mut two = Two::start(json!({})).await;
    two.new.edit(|lines| lines[100].2 = lines[100].2.replace("GET", "PUT"));
    two.fails(ALTERED, &["proxy", "as many lines and bytes, but 1 that only the old one has, 1 only the new one"]).await;
}

#[tokio::test]
async fn another_length_is_found_without_reading() {
    let mut two = Two::start(json!({"sampleOneIn": 0})).await;
    two.new.edit(|lines| lines[100].2.push('!'));
    two.fails(ALTERED, &["proxy", "as many lines, but"]).await;
    assert!(!two.new.asked.lock().unwrap().iter().any(|query| query.starts_with('{')), "it has read lines");
}

#[tokio::test]
async fn lines_that_two_services_swapped_are_found_although_all_counts_are_equal() {
    let mut two = Two::start(json!({})).await;
    two.old.edit(|lines| {
        lines.push(("auth", (BASE + 9 * HOUR + 5) * NANOS, "login a".to_owned()));
        lines.push(("mail", (BASE + 9 * HOUR + 6) * NANOS, "login b".to_owned()));
    });
    two.new.edit(|lines| {
        lines.push(("mail", (BASE + 9 * HOUR + 5) * NANOS, "login a".to_owned()));
        lines.push(("auth", (BASE + 9 * HOUR + 6) * NANOS, "login b".to_owned()));
    });
    two.fails(ALTERED, &["auth", "mail"]).await;
}

#[tokio::test]
async fn lines_too_many_fail_as_such_and_missing_ones_are_worse() {
    let mut two = Two::start(json!({})).await;
    two.new.edit(|lines| lines.push(("proxy", (BASE + HOUR + 1) * NANOS, "twice".to_owned())));
    two.fails(EXTRA, &["61 lines, 1 more than the old 60"]).await;
    two.new.edit(|lines| drop(lines.remove(3000)));
    two.fails(MISSING, &["missing", "more than"]).await;
}

#[tokio::test]
async fn what_becomes_visible_late_is_no_loss() {
    let mut two = Two::start(json!({})).await;
    two.new.edit(|lines| lines.retain(|(_, at, _)| at / NANOS / HOUR % 2 == 0));
    for _ in 0..30 {
        let Step::More(progress) = two.slice().await else { panic!("decided too early") };
        assert!(progress.note.as_str().contains("looked at again"), "{}", progress.note);
        two.cx.now += TimeDelta::minutes(1);
    }
    two.new.edit(|lines| *lines = history());
    assert!(two.passes().await.contains("96 hours"));
}

#[tokio::test]
async fn the_same_hole_on_both_sides_is_not_taken_for_the_same_history() {
    let mut two = Two::start(json!({})).await;
    *two.new.started.lock().unwrap() = now().timestamp();
    for fake in [&two.old, &two.new] {
        fake.edit(|lines| lines.truncate(1000));
    }
    for _ in 0..40 {
        let Step::More(progress) = two.slice().await else { panic!("decided too early") };
        assert!(progress.note.as_str().contains("looked at again from"), "{}", progress.note);
        two.cx.now += TimeDelta::minutes(1);
    }
    two.old.edit(|lines| *lines = history());
    two.fails(MISSING, &["lines missing"]).await;
    two.new.edit(|lines| *lines = history());
    assert!(two.passes().await.contains("5491 lines"));
}

#[tokio::test]
async fn no_history_at_all_is_not_the_same_history() {
    let mut two = Two::start(json!({})).await;
    for fake in [&two.old, &two.new] {
        fake.edit(Vec::clear);
    }
    two.fails(NO_HISTORY, &["no line of {service=~\".+\", service!=\"migration-canary\"}"]).await;
    let control = Check::control(&two.check, &two.cx, two.memory.clone()).await;
    assert_eq!(control.reason(), Some(&NO_HISTORY.into()));
}

#[tokio::test]
async fn a_restart_is_waited_out_and_a_loki_that_stays_away_is_not() {
    let mut two = Two::start(json!({})).await;
    two.new.fails(503, "starting", 4);
    let Step::More(progress) = two.slice().await else { panic!("decided") };
    assert!(progress.note.as_str().starts_with("no answer, asked again"), "{}", progress.note);
    assert!(two.passes().await.contains("5491 lines"));
    let mut two = Two::start(json!({})).await;
    two.old.fails(403, "no", usize::MAX);
    two.fails(fetch::DENIED, &["403"]).await;
}

#[tokio::test]
async fn a_loki_that_can_not_count_much_at_once_is_asked_for_less() {
    let mut two = Two::start(json!({})).await;
    *two.old.most.lock().unwrap() = 2;
    assert!(two.passes().await.contains("5491 lines"));
}

#[tokio::test]
async fn more_lines_than_one_answer_holds_are_read_in_pieces() {
    let mut two = Two::start(json!({})).await;
    for fake in [&two.old, &two.new] {
        let burst = |n: i64| ("proxy", (BASE + 3 * HOUR + 100) * NANOS + n * 1_000_000, format!("burst {n}"));
        fake.edit(|lines| lines.extend((0..7000).map(burst)));
    }
    assert!(two.passes().await.contains("the text of all 12491 was compared"));
}

#[tokio::test]
async fn the_control_misses_the_line_that_is_taken_away() {
    let mut two = Two::start(json!({})).await;
    for busy in [None, Some(BASE + 40 * HOUR)] {
        two.memory.busy = busy;
        let outcome = Check::control(&two.check, &two.cx, two.memory.clone()).await;
        assert_eq!(outcome.reason(), Some(&MISSING.into()), "{outcome:?}");
    }
    two.new.fails(500, "no", 1);
    let outcome = Check::control(&two.check, &two.cx, two.memory.clone()).await;
    assert_eq!(outcome.reason(), Some(&lines::QUERY_FAILED.into()));
}

#[tokio::test]
async fn no_query_is_asked_twice_in_the_same_words() {
    let mut two = Two::start(json!({"sampleOneIn": 0, "visibleWithin": "2m"})).await;
    two.new.edit(|lines| drop(lines.remove(0)));
    two.fails(MISSING, &["1 of 60"]).await;
    let asked = two.new.asked.lock().unwrap();
    let words: std::collections::BTreeSet<_> = asked.iter().filter_map(|query| query.split_once("# scan")).collect();
    let rounds: std::collections::BTreeSet<_> = words.iter().map(|(_, scan)| *scan).collect();
    assert!(rounds.len() > 2, "{rounds:?}");
}

#[tokio::test]
async fn hours_that_are_not_settled_are_waited_for() {
    let from = now().timestamp() / HOUR * HOUR;
    let from = DateTime::from_timestamp(from, 0).unwrap();
    let mut two = Two::start(json!({"from": from})).await;
    let Step::Done(parts) = two.slice().await else { panic!("not done") };
    let Some(Outcome::Waiting { reason, due, .. }) = parts.into_values().next() else { panic!("not waiting") };
    assert_eq!((reason, due), (NOT_SETTLED.into(), from + TimeDelta::hours(2)));
}

#[test]
fn the_window_is_of_full_settled_hours() {
    let window = |spec: Value| check::<LokiHistory>(spec).window(now()).unwrap();
    let base = BASE + 96 * HOUR;
    assert_eq!(window(json!({"old": "o", "new": "n", "over": "2h"})), Span(base - 3 * HOUR, base - HOUR));
    assert_eq!(window(json!({"old": "o", "new": "n", "over": "2h", "settle": "0s"})), Span(base - 2 * HOUR, base));
    let to = DateTime::from_timestamp(BASE + 10 * HOUR + 1799, 0).unwrap();
    let from = to - TimeDelta::hours(3);
    assert_eq!(window(json!({"old": "o", "new": "n", "from": from, "to": to})), Span(BASE + 7 * HOUR, BASE + 10 * HOUR));
    assert_eq!(window(json!({"old": "o", "new": "n", "over": "1h", "to": to})), Span(BASE + 9 * HOUR, BASE + 10 * HOUR));
}

#[test]
fn each_line_has_the_same_chance_to_be_read() {
    let mut read = [0_u32; 20];
    for begun in 0..20_000 {
        let mut scan = Scan::begin(Span(BASE, BASE + HOUR), DateTime::from_timestamp_millis(begun).unwrap());
        let amounts = compare::Amounts::from([(BASE, [("a".to_owned(), compare::Amount { lines: 9, bytes: 9 })].into())]);
        scan.counted(Span(BASE, BASE + HOUR), &amounts, &amounts, 20);
        let Next::Read(start, end) = scan.next(20, Duration::ZERO, now()) else { panic!("nothing to read") };
        assert_eq!(end - start, HOUR * 1000 / 20);
        read[usize::try_from((start / 1000 - BASE) / (HOUR / 20)).unwrap()] += 1;
    }
    assert!(read.iter().all(|count| (800..1200).contains(count)), "{read:?}");
}

#[test]
fn the_worst_case_fits_into_memory() {
    let window = Span(BASE, BASE + 366 * 24 * HOUR);
    let mut scan = Scan::begin(window, now());
    let (mut old, new) = (compare::Amounts::new(), compare::Amounts::new());
    for hour in window.each().step_by(2) {
        let services = (0..10).map(|n| (format!("{n}{}", "é".repeat(127)), compare::Amount { lines: 1, bytes: 1 }));
        old.insert(hour, services.collect());
    }
    while let Next::Count(span) = scan.next(20, Duration::from_hours(1), now()) {
        scan.counted(span, &old, &new, 20);
        let bytes = serde_json::to_vec(&scan).unwrap().len();
        assert!(bytes < MAX_MEMORY / 2, "{bytes} bytes");
    }
    assert_eq!((scan.spans(), scan.round), (1, 1), "then everything is looked at again");
    assert_eq!(differences(BASE, &old, &new).len(), 10);
}

#[test]
fn damage_is_never_taken_for_nothing() {
    let span = Span(BASE, BASE + 2 * HOUR);
    let of = |result: Value| json!({"status": "success", "data": {"resultType": "matrix", "result": result}});
    let read = |document: Value| ask::points(&document, "service", span);
    let point = |end: Value, count: Value| of(json!([{"metric": {"service": "a"}, "values": [[end, count]]}]));
    assert_eq!(read(of(json!([]))), Ok(vec![]));
    assert_eq!(read(point(json!(BASE + HOUR), json!("3"))), Ok(vec![(BASE, "a".to_owned(), 3)]));
    assert_eq!(read(point(json!(BASE), json!("3"))), Ok(vec![]), "an hour that was not asked for");
    let unnamed = json!([{"metric": {}, "values": [[BASE + HOUR, "3"]]}]);
    assert_eq!(read(of(unnamed)), Ok(vec![(BASE, String::new(), 3)]));
    for (document, reason) in [
        (json!({"status": "success", "data": {"resultType": "vector", "result": []}}), lines::NOT_LOKI),
        (json!({"status": "error"}), lines::NOT_LOKI),
        (json!({"status": "success", "warnings": ["half"], "data": {"resultType": "matrix", "result": []}}), counts::PARTIAL),
        (json!({"status": "success", "data": {"resultType": "matrix"}}), fetch::UNPARSABLE),
        (point(json!(BASE + 1), json!("3")), fetch::UNPARSABLE),
        (point(json!(BASE + HOUR), json!(3)), fetch::UNPARSABLE),
        (point(json!(BASE + HOUR), json!("NaN")), fetch::UNPARSABLE),
        (point(json!(BASE + HOUR), json!("-1")), fetch::UNPARSABLE),
        (point(json!(BASE + HOUR), json!("0.5")), fetch::UNPARSABLE),
        (point(json!("soon"), json!("3")), fetch::UNPARSABLE),
        (of(json!([{"metric": {"service": 1}, "values": []}])), fetch::UNPARSABLE),
        (of(json!([{"metric": {}, "values": [[BASE + HOUR, "1"], [BASE + HOUR, "1"]]}])), fetch::UNPARSABLE),
    ] {
        assert_eq!(read(document.clone()), Err(reason), "{document}");
    }
}

#[test]
fn wrong_fields_are_named() {
    for (spec, field) in [
        (json!({"old": "a", "new": "a"}), "new"),
        (json!({"old": "a", "new": "b", "label": "a-b"}), "label"),
        (json!({"old": "a", "new": "b", "label": ""}), "label"),
        (json!({"old": "a", "new": "b", "selector": "job=1"}), "selector"),
        (json!({"old": "a", "new": "b", "over": "59m"}), "over"),
        (json!({"old": "a", "new": "b", "over": "9000h"}), "over"),
        (json!({"old": "a", "new": "b", "settle": "8d"}), "settle"),
        (json!({"old": "a", "new": "b", "visibleWithin": "25h"}), "visibleWithin"),
        (json!({"old": "a", "new": "b", "rest": "8d"}), "rest"),
        (json!({"old": "a", "new": "b", "from": now(), "to": now()}), "from"),
        (json!({"old": "a", "new": "b", "sampleOneIn": 3601}), "sampleOneIn"),
        (json!({"old": "a", "new": "b", "loadPercent": 0}), "loadPercent"),
        (json!({"old": "a", "new": "b", "loadPercent": 101}), "loadPercent"),
    ] {
        let fields: Vec<_> = Check::validate(&check::<LokiHistory>(spec.clone())).into_iter().map(|error| error.field).collect();
        assert_eq!(fields, [field], "{spec}");
    }
    assert_eq!(Check::validate(&check::<LokiHistory>(json!({"old": "a", "new": "b"}))), []);
}
