//! Lines that are given up: which are a fault, and which a restart explains.

use super::*;

const REFUSED: &str = "ingester_error";

/// An Alloy that started at this second and refuses nothing yet, with lines given up because Loki answered 400.
fn refused(started: i64, sent: u64, lines: u64) -> Metrics {
    Metrics::of(moment(started)).sent(OLD, sent).dropped(OLD, REFUSED, lines).answered(OLD, "400", 1)
}

#[tokio::test]
async fn new_lines_that_are_given_up_hold_for_their_time_and_old_ones_are_history() {
    for why in ["rate_limited", "stream_limited", "line_too_long", "queue_is_full", REFUSED, ""] {
        let mut runs = Runs::of(to_old()).await;
        let page = |sent: u64, dropped| old(sent).dropped(OLD, why, dropped).dropped(OLD, "unheard_of", 3);
        runs.run(1000, &page(1, 40)).await;
        assert_eq!(runs.reason(1005, &page(2, 40)).await, "pass", "{why}");
        let outcome = runs.run(1010, &page(3, 47)).await;
        assert_eq!(reason(&outcome), "dropped", "{why}");
        let words = format!(
            "at most 7 lines given up for {OLD} ({why}) since 2027-01-15T08:16:45Z, the last 0s ago, holds until 2027-01-15T08:21:50Z; old ("
        );
        tells(&outcome, &words);
        for second in [1060, 1110, 1160, 1210, 1260, 1309] {
            assert_eq!(runs.reason(second, &page(u64::try_from(second).unwrap(), 47)).await, "dropped", "{why} at {second}");
        }
        assert_eq!(runs.reason(1310, &page(1310, 47)).await, "pass", "{why}");
    }
}

#[tokio::test]
async fn a_first_line_that_is_given_up_is_seen_and_so_is_one_for_another_host() {
    let mut runs = Runs::of(to_old()).await;
    runs.run(0, &old(1)).await;
    assert_eq!(runs.reason(5, &old(2)).await, "pass");
    let outcome = runs.run(10, &old(3).dropped(NEW, "queue_is_full", 1).dropped(OLD, "rate_limited", 2)).await;
    assert_eq!(reason(&outcome), "dropped");
    tells(&outcome, "at most 2 lines given up for 192.0.2.10:3100 (rate_limited) since");
    tells(&outcome, &format!(", 1 lines given up for {NEW} (queue_is_full) since"));
}

#[tokio::test]
async fn what_a_start_reads_again_and_loki_refuses_is_told_and_no_fault() {
    let mut runs = Runs::of(to_old()).await;
    runs.run(0, &old(10)).await;
    assert_eq!(runs.reason(5, &old(20)).await, "pass");
    assert_eq!(runs.reason(1000, &refused(998, 1, 500)).await, "awaited");
    let outcome = runs.run(1005, &refused(998, 2, 900)).await;
    assert_eq!(reason(&outcome), "pass");
    tells(&outcome, "at most 900 lines refused within 2m after Alloy's start, which reads old ones again");
    assert_eq!(runs.reason(1060, &refused(998, 3, 900)).await, "pass");
    let outcome = runs.run(1115, &refused(998, 4, 901)).await;
    assert_eq!(reason(&outcome), "pass");
    tells(&outcome, "at most 901 lines refused within");
    let outcome = runs.run(1119, &refused(998, 5, 902)).await;
    assert_eq!(reason(&outcome), "dropped", "the start is too long ago");
    tells(&outcome, "at most 1 lines given up for");
    // Another start has its own.
    let outcome = runs.run(1500, &refused(1499, 5, 3)).await;
    assert_eq!(reason(&outcome), "awaited");
    tells(&outcome, "at most 3 lines refused within");
}

#[tokio::test]
async fn a_start_explains_nothing_else() {
    let started = || Metrics::of(moment(998)).sent(OLD, 1);
    for (page, grace, expected) in [
        (refused(998, 1, 5), "2m", "awaited"),
        (refused(998, 1, 5), "0s", "dropped"),
        (refused(998, 1, 5).dropped(OLD, "rate_limited", 1), "2m", "dropped"),
        (refused(998, 1, 5).dropped(NEW, REFUSED, 1), "2m", "dropped"),
        (started().dropped(OLD, REFUSED, 5), "2m", "dropped"),
        (started().dropped(OLD, REFUSED, 5).answered(OLD, "404", 1), "2m", "dropped"),
        (started().dropped(OLD, REFUSED, 5).answered(OLD, "401", 1).answered(OLD, "400", 0), "2m", "dropped"),
        (started().dropped(OLD, REFUSED, 5).answered(NEW, "400", 1), "2m", "dropped"),
        (started().dropped(OLD, "line_too_long", 5).answered(OLD, "400", 1), "2m", "dropped"),
    ] {
        let mut runs = Runs::of(check(json!({"alloy": "alloy", "lokis": ["old"], "restartGrace": grace}))).await;
        runs.run(0, &old(10)).await;
        assert_eq!(runs.reason(1000, &page).await, expected, "{grace} {page:?}");
    }
}

#[tokio::test]
async fn a_start_that_nobody_saw_is_dated_by_its_own_word() {
    for (started, expected) in [(990, "pass"), (885, "pass"), (884, "dropped"), (1100, "pass")] {
        let mut runs = Runs::of(to_old()).await;
        runs.run(1000, &refused(started, 1, 100)).await;
        let outcome = runs.run(1005, &refused(started, 2, 150)).await;
        assert_eq!(reason(&outcome), expected, "{started}");
        tells(&outcome, "at most 50 lines");
    }
    // A clock that is ahead does not prolong it.
    let mut runs = Runs::of(to_old()).await;
    runs.run(1000, &refused(1100, 1, 100)).await;
    for second in [1050, 1100] {
        assert_eq!(runs.reason(second, &refused(1100, u64::try_from(second).unwrap(), 100)).await, "pass");
    }
    assert_eq!(runs.reason(1121, &refused(1100, 2000, 101)).await, "dropped");
    // Nor does one that is behind shorten the time of a start that was seen.
    let mut runs = Runs::of(to_old()).await;
    runs.run(995, &old(1)).await;
    runs.run(1000, &refused(10, 1, 5)).await;
    assert_eq!(runs.reason(1005, &refused(10, 2, 7)).await, "pass");
}

#[tokio::test]
async fn a_reload_begins_no_grace_where_the_start_is_known_and_one_where_it_is_not() {
    let page = |start: Option<i64>, loaded: i64, sent: u64, dropped| {
        let page = Metrics("alloy_build_info 1\n".into()).and(LOADED_AT, moment(loaded)).sent(OLD, sent);
        let page = page.dropped(OLD, REFUSED, dropped).answered(OLD, "400", 1);
        start.map_or_else(|| page.clone(), |start| page.clone().and(STARTED_AT, moment(start)))
    };
    for (start, expected) in [(Some(0), "dropped"), (None, "pass")] {
        let mut runs = Runs::of(to_old()).await;
        runs.run(1000, &page(start, 0, 1, 5)).await;
        assert_eq!(runs.reason(1005, &page(start, 0, 2, 5)).await, "pass");
        runs.run(1010, &page(start, 1008, 3, 5)).await;
        assert_eq!(runs.reason(1015, &page(start, 1008, 4, 6)).await, expected);
    }
}

#[tokio::test]
async fn a_reload_does_not_end_what_was_given_up_before() {
    let mut runs = Runs::of(to_old()).await;
    let page = |loaded: i64, sent: u64| {
        Metrics("alloy_build_info 1\n".into()).and(STARTED_AT, moment(0)).and(LOADED_AT, moment(loaded)).sent(OLD, sent).dropped(
            OLD,
            "rate_limited",
            sent / 3,
        )
    };
    runs.run(1000, &page(0, 1)).await;
    assert_eq!(runs.reason(1005, &page(0, 3)).await, "dropped");
    assert_eq!(runs.reason(1010, &page(1008, 4)).await, "dropped");
    assert_eq!(runs.reason(1015, &page(1008, 5)).await, "dropped");
}
