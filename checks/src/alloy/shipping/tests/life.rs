//! Restarts, reloads, and several instances behind one URL.

use super::*;

/// A page of a process that started at `started` and loaded at `loaded`.
fn at(started: i64, loaded: i64) -> Metrics {
    Metrics("alloy_build_info 1\n".into()).and(STARTED_AT, moment(started)).and(LOADED_AT, moment(loaded))
}

#[tokio::test]
async fn a_restart_and_a_reload_ask_for_new_movement() {
    let mut runs = Runs::of(to_old()).await;
    runs.run(0, &at(0, 0).sent(OLD, 10)).await;
    assert_eq!(runs.reason(5, &at(0, 0).sent(OLD, 20)).await, "pass");
    assert_eq!(runs.reason(10, &at(0, 8).sent(OLD, 30)).await, "awaited");
    assert_eq!(runs.reason(15, &at(0, 8).sent(OLD, 31)).await, "pass");
    assert_eq!(runs.reason(20, &at(17, 17).sent(OLD, 50)).await, "awaited");
    assert_eq!(runs.reason(25, &at(17, 17).sent(OLD, 51)).await, "pass");
    assert_eq!(runs.reason(30, &at(27, 27)).await, "awaited");
    assert_eq!(runs.reason(90, &at(27, 27)).await, "awaited");
    assert_eq!(runs.reason(91, &at(27, 27)).await, "not_shipping");
}

#[tokio::test]
async fn what_went_elsewhere_is_forgotten_with_a_reload_that_leads_it_back() {
    let mut runs = Runs::of(to_old()).await;
    runs.run(0, &at(0, 0).sent(NEW, 10)).await;
    assert_eq!(runs.reason(5, &at(0, 0).sent(NEW, 20)).await, "wrong_loki");
    // While it is loaded, what is held back goes where it should have gone before.
    assert_eq!(runs.reason(10, &at(0, 8).sent(NEW, 25).sent(OLD, 1)).await, "awaited");
    let outcome = runs.run(15, &at(0, 8).sent(NEW, 25).sent(OLD, 2)).await;
    assert_eq!(reason(&outcome), "pass");
    assert_eq!(runs.reason(20, &at(0, 8).sent(NEW, 26).sent(OLD, 3)).await, "wrong_loki");
}

#[tokio::test]
async fn another_process_is_held_to_its_first_line_and_not_to_what_the_one_before_did() {
    let mut runs = Runs::of(to_old()).await;
    runs.run(0, &at(0, 0).sent(NEW, 10)).await;
    assert_eq!(runs.reason(5, &at(0, 0).sent(NEW, 20)).await, "wrong_loki");
    assert_eq!(runs.reason(10, &at(8, 8).sent(OLD, 1)).await, "awaited");
    assert_eq!(runs.reason(15, &at(8, 8).sent(OLD, 2)).await, "pass");
    let outcome = runs.run(20, &at(18, 18).sent(OLD, 5).sent(NEW, 1)).await;
    assert_eq!(reason(&outcome), "wrong_loki");
    tells(&outcome, &format!("1 lines to {NEW} since"));
    let outcome = runs.run(25, &at(24, 24).sent(OLD, 5).sent(NEW, 3)).await;
    tells(&outcome, &format!("3 lines to {NEW} since"));
}

#[tokio::test]
async fn all_that_another_process_has_given_up_is_new() {
    for (started, before, expected) in [(8, 3, "dropped"), (0, 3, "pass")] {
        let mut runs = Runs::of(to_old()).await;
        runs.run(0, &at(0, 0).sent(OLD, 1).dropped(OLD, "rate_limited", before)).await;
        runs.run(5, &at(0, 0).sent(OLD, 2).dropped(OLD, "rate_limited", before)).await;
        runs.run(10, &at(started, started).sent(OLD, 3).dropped(OLD, "rate_limited", 3)).await;
        let outcome = runs.run(15, &at(started, started).sent(OLD, 4).dropped(OLD, "rate_limited", 3)).await;
        assert_eq!(reason(&outcome), expected, "{started}");
    }
}

#[tokio::test]
async fn without_its_start_a_process_is_told_by_counters_that_fell() {
    let page = |sent: u64, dropped| {
        Metrics("alloy_build_info 1\n".into()).sent(OLD, sent).dropped(OLD, "rate_limited", dropped).sent(NEW, 7)
    };
    let mut runs = Runs::of(to_old()).await;
    runs.run(0, &page(10, 5)).await;
    assert_eq!(runs.reason(5, &page(20, 5)).await, "pass");
    let outcome = runs.run(10, &page(3, 5)).await;
    assert_eq!(reason(&outcome), "wrong_loki");
    tells(&outcome, "7 lines to");
    tells(&outcome, "at most 5 lines given up");
}

#[tokio::test]
async fn a_start_that_wavers_is_no_restart() {
    let mut runs = Runs::of(to_old()).await;
    let page = |started: f64, lines: u64| {
        Metrics("alloy_build_info 1\n".into())
            .and(STARTED_AT, 1_800_000_000.0 + started)
            .and(LOADED_AT, moment(0))
            .sent(OLD, lines)
            .dropped(OLD, "rate_limited", 9)
    };
    runs.run(0, &page(0.0, 1)).await;
    for (second, started) in [(5, 1.0), (10, 0.0), (15, 1.99)] {
        assert_eq!(runs.reason(second, &page(started, 1 + u64::try_from(second).unwrap())).await, "pass", "at {second}");
    }
}

#[tokio::test]
async fn instances_that_answer_in_turn_are_never_taken_for_movement() {
    for (one, other) in [
        (at(0, 0), at(50, 50)),
        (at(0, 0), at(0, 50)),
        (at(0, 0), Metrics("alloy_build_info 1\n".into()).and(STARTED_AT, moment(50))),
    ] {
        let mut runs = Runs::of(to_old()).await;
        runs.run(0, &one.clone().sent(OLD, 10)).await;
        for second in [10, 30, 50, 70, 90] {
            let there = runs.reason(second, &other.clone().sent(OLD, 900).sent(NEW, 5)).await;
            assert_ne!(there, "pass", "{other:?}");
            let back = runs.reason(second + 10, &one.clone().sent(OLD, 10)).await;
            assert_eq!(back, "several_instances", "{other:?}");
        }
    }
    assert_eq!(SEVERAL_INSTANCES.colour, Colour::Unknown);
    // What the older one has to tell is no news.
    let page = |lines| at(0, 0).sent(OLD, lines).sent(NEW, 7).dropped(OLD, "rate_limited", 9);
    let mut runs = Runs::of(to_old()).await;
    runs.run(0, &at(50, 50).sent(OLD, 10)).await;
    assert_eq!(runs.reason(5, &page(20)).await, "several_instances");
    assert_eq!(runs.reason(10, &page(21)).await, "pass");
}

#[tokio::test]
async fn a_page_from_before_its_configuration_is_loaded_is_no_end_of_what_is_known() {
    let mut runs = Runs::of(to_old()).await;
    let early = Metrics("alloy_build_info 1\n".into()).and(STARTED_AT, moment(10));
    runs.run(0, &at(0, 0).sent(OLD, 10)).await;
    assert_eq!(runs.reason(5, &at(0, 0).sent(OLD, 20)).await, "pass");
    assert_eq!(runs.reason(11, &early).await, "awaited");
    assert_eq!(runs.reason(15, &at(10, 12).sent(OLD, 1)).await, "awaited");
    assert_eq!(runs.reason(20, &at(10, 12).sent(OLD, 2)).await, "pass");
}

#[tokio::test]
async fn time_that_nobody_watched_proves_nothing_good_and_hides_nothing_bad() {
    let mut runs = Runs::of(to_old()).await;
    let page = |old: u64, new: u64, dropped| at(0, 0).sent(OLD, old).sent(NEW, new).dropped(OLD, "rate_limited", dropped);
    runs.run(0, &page(1, 1, 1)).await;
    assert_eq!(runs.reason(5, &page(2, 1, 1)).await, "pass");
    assert_eq!(runs.reason(5000, &page(900, 1, 1)).await, "awaited");
    assert_eq!(runs.reason(9000, &page(1800, 1, 2)).await, "dropped");
    assert_eq!(runs.reason(19_000, &page(2700, 2, 2)).await, "wrong_loki");
}

#[tokio::test]
async fn what_is_remembered_outlives_a_look_that_failed() {
    let mut runs = Runs::of(to_old()).await;
    runs.run(0, &old(1)).await;
    assert_eq!(runs.reason(5, &Metrics("rubbish".into())).await, "unparsable");
    assert_eq!(runs.reason(10, &old(2)).await, "pass");
}
