use serde_json::{Value, json};

use super::*;
use crate::loki::scripted::{Scripted, at, with_lokis};
use crate::testing::{Manner, Server, check, context, context_with, hasty, outcome_at, part};

fn block(more: Value) -> Value {
    let mut block = json!({"loki": "loki", "selector": "{job=\"systemd-journal\"}", "new": "alloy"});
    block.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    block
}

fn reason(outcome: &Outcome) -> String {
    outcome.reason().map_or_else(|| outcome.label().to_owned(), ToString::to_string)
}

/// Runs that follow each other at one Loki.
struct Runs {
    check: ShipperHandover,
    loki: Scripted,
    memory: Seen,
}

impl Runs {
    async fn new(more: Value) -> Self {
        Self { check: check(block(more)), loki: Scripted::start().await, memory: Seen::default() }
    }

    async fn at(&mut self, second: i64) -> Outcome {
        let cx = with_lokis(second, &[("loki", &self.loki)]);
        let report = Check::run(&self.check, &cx, std::mem::take(&mut self.memory)).await;
        let bytes = serde_json::to_vec(&report.memory).unwrap();
        assert!(bytes.len() <= crate::MAX_MEMORY, "{} bytes", bytes.len());
        self.memory = serde_json::from_slice(&bytes).unwrap();
        part(&report, PartId::WHOLE)
    }

    async fn reason(&mut self, second: i64) -> String {
        reason(&self.at(second).await)
    }

    /// Whether the evidence of a look says this.
    async fn says(&mut self, second: i64, words: &str) -> String {
        let outcome = self.at(second).await;
        assert!(outcome.evidence().as_str().contains(words), "{outcome:?}");
        reason(&outcome)
    }
}

#[tokio::test]
async fn two_that_ship_are_seen_at_the_second_look_and_the_end_of_the_old_one_when_its_lines_are_old() {
    let mut runs = Runs::new(json!({})).await;
    runs.loki.add_all((-600..600).step_by(10), "", "gitops-sync");
    runs.loki.add_all((-600..2000).step_by(10), "alloy", "gitops-sync");
    assert_eq!(runs.says(0, "gitops-sync: 30 by (none), 30 by alloy in the last 5m").await, "old_drains");
    assert_eq!(runs.says(5, "gitops-sync: 30 by (none)").await, "old_drains");
    assert_eq!(runs.reason(10).await, "shipped_twice");
    for second in (15..595).step_by(20) {
        assert_eq!(runs.reason(second).await, "shipped_twice", "at {second}");
    }
    assert_eq!(runs.says(595, "seen since 2027-01-15T08:00:00Z").await, "shipped_twice");
    // The last line is of 590, and holds for a minute from the look that saw it.
    assert_eq!(runs.reason(600).await, "shipped_twice");
    assert_eq!(runs.reason(654).await, "shipped_twice");
    let waits = runs.at(655).await;
    let Outcome::Waiting { due, .. } = &waits else { panic!("{waits:?}") };
    assert_eq!(*due, at(595 + 360));
    assert_eq!(runs.reason(889).await, "old_drains");
    assert_eq!(runs.says(890, "none by (none); gitops-sync: 0 by (none), 30 by alloy in the last 5m").await, "pass");
}

#[tokio::test]
async fn what_only_the_old_one_ships_has_a_reason_of_its_own() {
    let mut runs = Runs::new(json!({})).await;
    runs.loki.add_all((-600..600).step_by(10), "", "proxy");
    runs.loki.add_all((-600..600).step_by(10), "alloy", "gitops-sync");
    runs.at(1).await;
    assert_eq!(runs.says(20, "proxy: 30 by (none), 0 by alloy").await, "old_still_ships");
}

#[tokio::test]
async fn a_batch_that_comes_late_is_seen_although_its_lines_are_old() {
    let mut runs = Runs::new(json!({})).await;
    runs.loki.add_all((-600..2000).step_by(10), "alloy", "gitops-sync");
    runs.loki.add_all([-200, -190], "", "gitops-sync");
    assert_eq!(runs.reason(0).await, "old_drains");
    assert_eq!(runs.reason(30).await, "old_drains");
    runs.loki.add_all([-180, -170, -160], "", "gitops-sync");
    assert_eq!(runs.reason(35).await, "shipped_twice");
    assert_eq!(runs.reason(94).await, "shipped_twice");
    assert_eq!(runs.reason(95).await, "old_drains");
    // Older than the window by now, but later than the one of the look before.
    assert_eq!(runs.reason(139).await, "old_drains");
    runs.loki.add_all([-159], "", "gitops-sync");
    assert_eq!(runs.reason(150).await, "shipped_twice");
    assert_eq!(runs.reason(210).await, "pass");
}

#[tokio::test]
async fn without_lines_of_the_new_one_nothing_is_taken_over() {
    let mut runs = Runs::new(json!({})).await;
    assert_eq!(runs.says(0, "0 by (none), 0 by alloy in the last 5m").await, "not_taken_over");
    runs.loki.add(1, "", "gitops-sync");
    assert_eq!(runs.reason(5).await, "not_taken_over");
    runs.loki.add(5, "alloy", "gitops-sync");
    assert_eq!(runs.reason(10).await, "shipped_twice");
    assert_eq!(runs.reason(65).await, "old_drains");
}

#[tokio::test]
async fn somebody_elses_lines_open_nothing() {
    let mut runs = Runs::new(json!({"old": "promtail"})).await;
    runs.loki.add_all(0..9, "alloy", "gitops-sync");
    runs.loki.add(3, "", "gitops-sync");
    assert_eq!(runs.says(10, "1 by (none)").await, "third_collector");
    runs.loki.lose("");
    assert_eq!(runs.reason(15).await, "pass");
}

#[tokio::test]
async fn looks_that_are_far_apart_or_before_each_other_begin_anew() {
    for second in [301, -100] {
        let mut runs = Runs::new(json!({})).await;
        runs.loki.add_all((-600..400).step_by(10), "", "gitops-sync");
        runs.loki.add_all((-600..400).step_by(10), "alloy", "gitops-sync");
        runs.at(0).await;
        assert_eq!(runs.reason(10).await, "shipped_twice");
        assert_eq!(runs.reason(10 + second).await, "old_drains", "{second}");
    }
}

#[tokio::test]
async fn a_second_count_is_only_asked_for_while_there_is_something_to_compare() {
    let mut runs = Runs::new(json!({})).await;
    runs.loki.add_all((-600..2000).step_by(10), "alloy", "gitops-sync");
    for second in [0, 5, 10] {
        assert_eq!(runs.reason(second).await, "pass");
    }
    let one = "sum by (agent, service) (count_over_time({job=\"systemd-journal\"}[300000ms]))";
    assert_eq!(runs.loki.asked(), [one; 3]);
    runs.loki.add(11, "", "gitops-sync");
    assert_eq!(runs.reason(15).await, "shipped_twice");
    assert_eq!(runs.loki.asked(), [one, &one.replace("300000", "305000")]);
}

#[tokio::test]
async fn before_the_handover_each_service_of_the_old_one_must_be_carried() {
    let mut runs = Runs::new(json!({"both": true})).await;
    runs.loki.add_all((-600..600).step_by(10), "", "gitops-sync");
    runs.loki.add_all((-600..600).step_by(10), "alloy", "gitops-sync");
    runs.loki.add_all((-600..600).step_by(10), "alloy", "proxy");
    assert_eq!(runs.says(0, "1 services carried: gitops-sync: 30 by (none), 30 by alloy in the last 5m").await, "pass");
    // The newest half minute may be on its way.
    runs.loki.add_all([0, 1], "", "system-metrics");
    assert_eq!(runs.reason(29).await, "pass");
    assert_eq!(runs.says(31, "system-metrics: 2 by (none), 0 by alloy until").await, "not_carried");
}

#[tokio::test]
async fn a_unit_that_is_dropped_is_seen_among_others_of_its_service() {
    let mut runs = Runs::new(json!({"both": true})).await;
    runs.loki.add_all([0, 1, 2, 3], "", "gitops-sync");
    runs.loki.add_all([2, 3], "alloy", "gitops-sync");
    assert_eq!(runs.says(60, "gitops-sync: 4 by (none), 2 by alloy").await, "not_carried");
    // The dropped lines leave the window before the others.
    assert_eq!(runs.reason(331).await, "not_carried");
}

#[tokio::test]
async fn a_nightly_job_that_was_not_carried_is_not_forgotten_in_the_morning() {
    let mut runs = Runs::new(json!({"both": true})).await;
    runs.loki.add_all((-600..90_000).step_by(10), "", "gitops-sync");
    runs.loki.add_all((-600..90_000).step_by(10), "alloy", "gitops-sync");
    runs.loki.add_all([100, 101], "", "backup");
    assert_eq!(runs.says(200, "backup: 2 by (none), 0 by alloy").await, "not_carried");
    assert_eq!(runs.says(30_000, "backup: 2 by (none), 0 by alloy until 2027-01-15T08:02:50Z").await, "not_carried");
    runs.loki.add_all([86_500, 86_501], "", "backup");
    runs.loki.add_all([86_500, 86_501], "alloy", "backup");
    assert_eq!(runs.reason(86_600).await, "pass");
}

#[tokio::test]
async fn lines_that_come_later_are_carried_after_all() {
    let mut runs = Runs::new(json!({"both": true})).await;
    runs.loki.add_all((-600..9000).step_by(10), "", "gitops-sync");
    runs.loki.add_all((-600..9000).step_by(10), "alloy", "gitops-sync");
    runs.loki.add_all([100, 101], "", "backup");
    assert_eq!(runs.reason(200).await, "not_carried");
    assert_eq!(runs.reason(1000).await, "not_carried");
    runs.loki.add_all([100, 101], "alloy", "backup");
    assert_eq!(runs.reason(1005).await, "pass");
}

#[tokio::test]
async fn while_one_of_both_is_away_nothing_is_carried_and_no_service_is_blamed() {
    let mut runs = Runs::new(json!({"both": true})).await;
    assert_eq!(runs.reason(0).await, "not_taken_over");
    runs.loki.add_all([1, 2], "", "backup");
    assert_eq!(runs.reason(60).await, "not_taken_over");
    runs.loki.add_all([400], "alloy", "gitops-sync");
    assert_eq!(runs.reason(450).await, "old_silent");
}

#[tokio::test]
async fn ignored_services_do_not_count() {
    let mut runs = Runs::new(json!({"ignore": ["foo", ""]})).await;
    runs.loki.add_all(0..9, "alloy", "gitops-sync");
    runs.loki.add_all(0..9, "", "foo");
    runs.loki.add_all(0..9, "", "");
    assert_eq!(runs.reason(10).await, "pass");
    let mut runs = Runs { check: check(block(json!({"both": true, "ignore": ["foo", ""]}))), ..runs };
    runs.loki.add(1, "", "gitops-sync");
    assert_eq!(runs.reason(40).await, "pass");
}

#[tokio::test]
async fn a_thousand_services_are_bounded() {
    for both in [false, true] {
        let mut runs = Runs::new(json!({"both": both})).await;
        let name = |n| format!("{n}{}", "\u{10ffff}\"\\".repeat(40));
        for n in 0..1000 {
            runs.loki.add(0, "", &name(n));
            runs.loki.add(0, "alloy", "gitops-sync");
        }
        runs.at(60).await;
        for n in 0..1000 {
            runs.loki.add(61, "", &name(n));
        }
        let fails = runs.at(110).await;
        assert_eq!(fails.label(), "fail", "{fails:?}");
        assert!(both || fails.evidence().as_str().contains("995 more"), "{fails:?}");
    }
}

#[tokio::test]
async fn only_a_loki_that_can_be_read_is_believed() {
    let mut runs = Runs::new(json!({})).await;
    runs.loki.add_all(-9..0, "alloy", "gitops-sync");
    for (status, words, expected) in [
        (400, "parse error at line 1, col 9: syntax error", "query_refused"),
        (400, "maximum number of series (500) reached for a single query", "query_refused"),
        (429, "too many outstanding requests", "query_failed"),
        (500, "oops", "query_failed"),
        (504, "request timed out, decrease the duration", "query_failed"),
        (401, "no org id", "denied"),
        (404, "404 page not found", "not_loki"),
        (302, "", "redirect"),
        (200, "<html>", "html"),
        (200, "{}", "not_loki"),
        (200, "{", "unparsable"),
    ] {
        runs.loki.refuse(Some((status, words)));
        assert_eq!(runs.reason(0).await, expected, "{status} {words}");
    }
    runs.loki.refuse(None);
    assert_eq!(runs.reason(0).await, "pass");
    let mute = Server::start(Manner::Hold(Vec::new())).await;
    let cx = context_with(serde_json::from_value(json!({"loki": {"url": mute.url()}})).unwrap());
    let silent: ShipperHandover = check(block(json!({"loki": "target"})));
    assert_eq!(reason(&outcome_at(&silent, &hasty(cx)).await), "timeout");
    assert_eq!(reason(&outcome_at(&silent, &context()).await), "target_missing");
}

#[tokio::test]
async fn the_control_fails_with_its_own_reason_at_a_loki_in_any_state() {
    for both in [false, true] {
        let runs = Runs::new(json!({"both": both})).await;
        for (agent, service) in [("", ""), ("", "gitops-sync"), ("alloy", "gitops-sync"), ("other", "x"), ("alloy", "")] {
            let cx = with_lokis(0, &[("loki", &runs.loki)]);
            let control = Check::control(&runs.check, &cx, Seen::default()).await;
            assert_eq!(control.reason(), Some(&NOT_TAKEN_OVER.into()), "{control:?}");
            runs.loki.add_all(-60..0, agent, service);
        }
        runs.loki.refuse(Some((500, "")));
        let control = Check::control(&runs.check, &with_lokis(0, &[("loki", &runs.loki)]), Seen::default()).await;
        assert_eq!(reason(&control), "query_failed");
    }
}

#[test]
fn a_block_that_can_not_work_is_refused() {
    for (more, fields) in [
        (json!({}), vec![]),
        (json!({"selector": "{job=\"a\", agent!=\"x\", useragent=\"y\"}"}), vec![]),
        (json!({"selector": "{}"}), vec!["selector"]),
        (json!({"selector": "{job=\"a\", agent=\"alloy\"}"}), vec!["selector"]),
        (json!({"selector": "{agent =~ \"alloy|\"}"}), vec!["selector"]),
        (json!({"label": "a b", "by": ""}), vec!["label", "by"]),
        (json!({"label": "service"}), vec!["by"]),
        (json!({"new": ""}), vec!["new"]),
        (json!({"old": "promtail", "new": ""}), vec![]),
        (json!({"window": "1s"}), vec!["window"]),
        (json!({"window": "8d"}), vec!["window"]),
    ] {
        let errors = Check::validate(&check::<ShipperHandover>(block(more.clone())));
        assert_eq!(errors.iter().map(|error| error.field).collect::<Vec<_>>(), fields, "{more}");
    }
    let check: ShipperHandover = check(block(json!({})));
    assert_eq!(Check::moves_within(&check), Some(("window", Duration::from_mins(5))));
}
