use serde_json::{Value, json};

use super::*;
use crate::loki::scripted::{Scripted, at, with_lokis};
use crate::testing::{check, context, part};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

fn block(more: Value) -> Value {
    let mut block = json!({
        "loki": "loki",
        "selector": "{job=\"systemd-journal\", agent=\"alloy\"}",
        "services": {"system-metrics": "2m", "gitops-sync": "26h"},
    });
    block.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    block
}

fn discovering(more: Value) -> Value {
    let mut block = block(json!({"oldLoki": "old", "oldSelector": "{job=\"systemd-journal\", agent=\"\"}"}));
    block.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    block
}

fn reason(outcome: &Outcome) -> String {
    outcome.reason().map_or_else(|| outcome.label().to_owned(), ToString::to_string)
}

/// Runs that follow each other.
struct Runs {
    check: StreamFreshness,
    loki: Scripted,
    old: Scripted,
    memory: Seen,
}

impl Runs {
    async fn new(block: Value) -> Self {
        let (loki, old) = (Scripted::start().await, Scripted::start().await);
        Self { check: check(block), loki, old, memory: Seen::default() }
    }

    async fn report(&mut self, second: i64) -> Report<()> {
        let cx = with_lokis(second, &[("loki", &self.loki), ("old", &self.old)]);
        let report = Check::run(&self.check, &cx, std::mem::take(&mut self.memory)).await;
        let bytes = serde_json::to_vec(&report.memory).unwrap();
        assert!(bytes.len() <= crate::MAX_MEMORY, "{} bytes", bytes.len());
        self.memory = serde_json::from_slice(&bytes).unwrap();
        Report { measures: report.measures, ..Report::new(report.step, ()) }
    }

    async fn at(&mut self, second: i64, name: &str) -> Outcome {
        part(&self.report(second).await, name)
    }

    async fn reason(&mut self, second: i64, name: &str) -> String {
        reason(&self.at(second, name).await)
    }

    /// The reason of a look, whose evidence says this.
    async fn says(&mut self, second: i64, name: &str, words: &str) -> String {
        let outcome = self.at(second, name).await;
        assert!(outcome.evidence().as_str().contains(words), "{outcome:?}");
        reason(&outcome)
    }
}

#[tokio::test]
async fn each_service_has_its_own_cadence() {
    let mut runs = Runs::new(block(json!({}))).await;
    runs.loki.add_all([-20 * HOUR, -20 * HOUR + 1], "alloy", "gitops-sync");
    runs.loki.add_all((-9 * HOUR..600).step_by(30), "alloy", "system-metrics");
    let report = runs.report(0).await;
    assert_eq!(part(&report, "gitops-sync"), Outcome::pass("2 lines in the last 1day 2h"));
    assert_eq!(part(&report, "system-metrics"), Outcome::pass("4 lines in the last 2m"));
    let lines: Vec<_> = report.measures.iter().map(|measure| (measure.part.as_str(), measure.value)).collect();
    assert_eq!(lines.len(), 2);
    assert!(lines.contains(&("gitops-sync", 2.0)) && lines.contains(&("system-metrics", 4.0)), "{lines:?}");
    assert_eq!(runs.reason(689, "system-metrics").await, "pass");
    assert_eq!(runs.says(690, "system-metrics", "0s overdue").await, "silent");
    assert_eq!(runs.says(750, "system-metrics", "about 3m").await, "silent");
    assert_eq!(runs.reason(6 * HOUR, "gitops-sync").await, "pass");
    assert_eq!(runs.reason(6 * HOUR + 1, "gitops-sync").await, "silent");
}

#[tokio::test]
async fn a_missing_run_is_silent_at_the_first_look_and_the_last_line_is_found() {
    let mut runs = Runs::new(block(json!({}))).await;
    runs.loki.add_all([-27 * HOUR], "alloy", "gitops-sync");
    assert_eq!(
        runs.says(0, "gitops-sync", "gitops-sync: no line within its cadence of 1day 2h; the last one is ").await,
        "silent"
    );
    for second in 1..4 {
        runs.report(second).await;
    }
    let outcome = runs.at(4, "gitops-sync").await;
    let words = outcome.evidence().as_str();
    assert!(words.contains("about 1day 2h 5") || words.contains("about 1day 3h"), "{words}");
    // Once it is found it is not searched for again.
    runs.loki.asked();
    runs.report(5).await;
    assert!(
        runs.loki.asked().iter().all(|query| !query.contains("{service=~\"gitops\\\\-sync\"") || query.contains("[93600000ms]"))
    );
}

#[tokio::test]
async fn the_first_lines_have_one_cadence_from_the_first_look() {
    let mut runs = Runs::new(block(json!({}))).await;
    let outcome = runs.at(0, "system-metrics").await;
    let Outcome::Waiting { due, .. } = &outcome else { panic!("{outcome:?}") };
    assert_eq!(*due, at(120));
    // Lines of the old collector are not the new one's.
    runs.loki.add_all(0..200, "", "system-metrics");
    assert_eq!(runs.reason(119, "system-metrics").await, "first_lines");
    assert_eq!(runs.says(120, "system-metrics", "no line yet").await, "silent");
    assert_eq!(runs.reason(121, "gitops-sync").await, "first_lines");
    runs.loki.add(122, "alloy", "system-metrics");
    assert_eq!(runs.reason(123, "system-metrics").await, "pass");
}

#[tokio::test]
async fn lines_that_vanished_were_there() {
    let mut runs = Runs::new(block(json!({}))).await;
    runs.loki.add(-5, "alloy", "gitops-sync");
    assert_eq!(runs.reason(0, "gitops-sync").await, "pass");
    runs.loki.lose("alloy");
    assert_eq!(runs.says(5, "gitops-sync", "it had some, and none is found now").await, "silent");
}

#[tokio::test]
async fn a_clock_that_was_set_back_grants_no_longer_wait() {
    let mut runs = Runs::new(block(json!({}))).await;
    assert_eq!(runs.reason(900_000, "system-metrics").await, "first_lines");
    assert_eq!(runs.reason(0, "system-metrics").await, "first_lines");
    assert_eq!(runs.reason(120, "system-metrics").await, "silent");
}

#[tokio::test]
async fn what_came_and_grew_old_while_nobody_looked_is_the_last_line() {
    let mut runs = Runs::new(block(json!({}))).await;
    runs.loki.add(-600, "alloy", "system-metrics");
    for second in 0..9 {
        assert_eq!(runs.reason(second, "system-metrics").await, "silent");
    }
    runs.loki.add(1000, "alloy", "system-metrics");
    runs.report(2000).await;
    for second in 2000..2009 {
        runs.report(second).await;
    }
    assert_eq!(runs.says(2010, "system-metrics", "about 16m").await, "silent");
}

#[tokio::test]
async fn a_name_is_taken_literally() {
    let mut runs = Runs::new(block(json!({"services": {"a\"b|c": "2m"}}))).await;
    runs.loki.add(-600, "alloy", "a\"b|c");
    runs.report(0).await;
    let first = runs.loki.asked();
    assert!(first[0].contains(r#"{service=~"a\\\"b\\|c", job="systemd-journal", agent="alloy"}[120000ms]"#), "{first:?}");
}

#[tokio::test]
async fn a_service_of_the_old_side_that_nobody_listed_is_named() {
    let mut runs = Runs::new(discovering(json!({"ignore": ["foo"]}))).await;
    runs.old.add_all((-7 * DAY..0).step_by(3600), "", "system-metrics");
    runs.old.add_all((-7 * DAY..0).step_by(3600), "", "foo");
    runs.old.add_all((-5 * DAY..0).step_by(usize::try_from(DAY).unwrap()), "", "backup");
    runs.old.add_all([-3 * DAY], "", "");
    runs.old.add_all([-3 * DAY], "alloy", "only-new");
    assert_eq!(runs.says(0, UNLISTED, "of 7days").await, "discovering");
    for second in 1..9 {
        runs.report(second).await;
    }
    let words = "2 services of the old side are not listed: (none): 1 lines; backup: 5 lines up to 1day apart";
    assert_eq!(runs.says(10, UNLISTED, words).await, "forgotten_service");
    // It stays, whatever becomes of the old side.
    runs.old.refuse(Some((500, "")));
    assert_eq!(runs.says(20 * DAY, UNLISTED, words).await, "forgotten_service");
}

#[tokio::test]
async fn an_old_side_that_was_read_may_fall_silent_and_go() {
    let mut runs = Runs::new(discovering(json!({}))).await;
    runs.old.add_all((-7 * DAY..0).step_by(3600), "", "system-metrics");
    for second in 0..9 {
        assert_ne!(runs.reason(second, UNLISTED).await, "forgotten_service");
    }
    assert_eq!(runs.reason(10, UNLISTED).await, "pass");
    runs.old.asked();
    assert_eq!(runs.reason(200, UNLISTED).await, "pass");
    assert_eq!(runs.old.asked(), Vec::<String>::new(), "it is left alone for a while");
    runs.old.add(500, "", "late");
    assert_eq!(runs.says(700, UNLISTED, "late: 1 lines").await, "forgotten_service");

    let mut runs = Runs::new(discovering(json!({}))).await;
    runs.old.add_all((-7 * DAY..0).step_by(3600), "", "system-metrics");
    for second in 0..9 {
        runs.report(second).await;
    }
    assert_eq!(runs.reason(10 * DAY, UNLISTED).await, "pass");
    runs.old.refuse(Some((500, "")));
    assert_eq!(runs.reason(20 * DAY, UNLISTED).await, "pass");
}

#[tokio::test]
async fn an_old_side_that_was_not_read_is_not_known() {
    let mut runs = Runs::new(discovering(json!({}))).await;
    runs.old.add_all((-7 * DAY..0).step_by(3600), "", "system-metrics");
    runs.report(0).await;
    runs.old.refuse(Some((504, "request timed out")));
    assert_eq!(runs.says(5, UNLISTED, "504 Gateway Timeout: request timed out").await, "old_unread");
    assert_eq!(runs.reason(50 * DAY, UNLISTED).await, "old_unread");
    // Smaller pieces then, until it answers again.
    let asked = runs.old.asked().pop().unwrap();
    assert!(asked.contains("[10800000ms]"), "{asked}");

    let mut runs = Runs::new(discovering(json!({}))).await;
    for second in 0..9 {
        runs.report(second).await;
    }
    assert_eq!(runs.reason(10, UNLISTED).await, "old_empty");
    let mut runs = Runs::new(discovering(json!({"oldLoki": "nowhere"}))).await;
    assert_eq!(runs.says(0, UNLISTED, "no target nowhere").await, "old_unread");
}

#[tokio::test]
async fn a_thousand_services_are_bounded() {
    let name = |n: i64| format!("{n}{}", "\u{10ffff}".repeat(80));
    let listed: BTreeMap<_, _> = (0..50).map(|n| (format!("{n:02}{}", "\"".repeat(62)), "2m")).collect();
    let mut runs = Runs::new(discovering(json!({"services": listed}))).await;
    for n in 0..1000 {
        runs.old.add(-n - 600, "", &name(n));
    }
    for second in 0..9 {
        runs.report(second).await;
    }
    assert_eq!(runs.says(10, UNLISTED, "64 or more services of the old side are not listed: ").await, "forgotten_service");
}

#[tokio::test]
async fn a_loki_that_can_not_be_asked_is_said_of_each_service() {
    let mut runs = Runs::new(block(json!({}))).await;
    for (status, words, expected) in [
        (400, "maximum number of series (500) reached for a single query", "query_refused"),
        (429, "too many outstanding requests", "query_failed"),
        (504, "request timed out", "query_failed"),
        (404, "404 page not found", "not_loki"),
        (200, "<html>", "html"),
    ] {
        runs.loki.refuse(Some((status, words)));
        let report = runs.report(0).await;
        for name in ["gitops-sync", "system-metrics"] {
            assert_eq!(reason(&part(&report, name)), expected, "{status}");
        }
    }
    let nowhere: StreamFreshness = check(block(json!({})));
    let report = Check::run(&nowhere, &context(), Seen::default()).await;
    assert_eq!(reason(&part(&report, "gitops-sync")), "target_missing");
}

#[tokio::test]
async fn the_control_fails_with_its_own_reason_at_a_loki_in_any_state() {
    for block in [block(json!({})), discovering(json!({})), discovering(json!({"services": {}}))] {
        let runs = Runs::new(block).await;
        let cx = with_lokis(0, &[("loki", &runs.loki), ("old", &runs.old)]);
        for service in ["gitops-sync", "system-metrics", ""] {
            let control = Check::control(&runs.check, &cx, Seen::default()).await;
            assert_eq!(control.reason(), Some(&SILENT.into()), "{control:?}");
            runs.loki.add_all(-60..0, "alloy", service);
        }
        // A Loki that has lines of anybody has no say.
        runs.loki.add(-1, "alloy", NOBODY);
        assert_eq!(Check::control(&runs.check, &cx, Seen::default()).await.label(), "pass");
        runs.loki.refuse(Some((500, "")));
        assert_eq!(reason(&Check::control(&runs.check, &cx, Seen::default()).await), "query_failed");
    }
}

#[test]
fn a_block_that_can_not_work_is_refused() {
    let many: BTreeMap<_, _> = (0..51).map(|n| (n.to_string(), "2m")).collect();
    let cadences: BTreeMap<_, _> = (1..10).map(|n| (n.to_string(), format!("{n}m"))).collect();
    for (block, fields) in [
        (block(json!({})), vec![]),
        (discovering(json!({"services": {}, "ignore": [""]})), vec![]),
        (block(json!({"services": {}})), vec!["services"]),
        (block(json!({"services": many})), vec!["services"]),
        (block(json!({"services": cadences})), vec!["services"]),
        (block(json!({"services": {"": "2m", "a\nb": "2m", "(unlisted)": "2m", "c": "1s", "d": "40d"}})), vec!["services"; 5]),
        (block(json!({"services": {"é".repeat(33): "2m"}})), vec!["services"]),
        (block(json!({"oldLoki": "old"})), vec!["oldLoki"]),
        (block(json!({"oldSelector": "{a=\"b\"}"})), vec!["oldSelector"]),
        (discovering(json!({"oldSelector": "{}"})), vec!["oldSelector"]),
        (block(json!({"ignore": ["foo"]})), vec!["ignore"]),
        (block(json!({"label": "a-b", "selector": "job"})), vec!["selector", "label"]),
        (discovering(json!({"over": "1s"})), vec!["over"]),
    ] {
        let errors = Check::validate(&check::<StreamFreshness>(block.clone()));
        assert_eq!(errors.iter().map(|error| error.field).collect::<Vec<_>>(), fields, "{block}");
    }
}
