use super::*;
use crate::log_path::line::Boot;
use HopState::{Behind, Moves, Stands, Unknown};

fn told() -> Told {
    Told {
        node: "node-1".into(),
        boot: Boot(7),
        last: 9,
        last_at: Some(9000),
        failed: 0,
        now: 9300,
        every: 1000,
        unread: 0,
        trouble: None,
        skew: 0,
    }
}

fn by_name(counts: &[(&str, f64)]) -> counters::ByName {
    counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

/// Everything as it was, but the agent wrote five lines more.
fn still() -> (Counts, Counts) {
    let alloy = AlloyCounts { read: 100.0, sent: by_name(&[("loki:3100", 40.0)]), ..AlloyCounts::default() };
    let loki = LokiCounts { received: 70.0, ..LokiCounts::default() };
    let before = Counts { last: 10, alloy: Some(alloy), loki: Some(loki) };
    (before.clone(), Counts { last: 15, ..before })
}

/// The same, and all that is done to the counters of the second look.
fn after(change: impl FnOnce(&mut AlloyCounts, &mut LokiCounts)) -> Option<Stop> {
    let (before, mut after) = still();
    change(after.alloy.as_mut().unwrap(), after.loki.as_mut().unwrap());
    between(&before, &after)
}

#[track_caller]
fn stops(stop: Option<Stop>, at: Station, reason: ReasonSpec, words: &[&str]) {
    let stop = stop.unwrap();
    assert_eq!((stop.at, stop.reason), (at, reason), "{}", stop.words);
    for word in words {
        assert!(stop.words.contains(word), "no {word:?} in {}", stop.words);
    }
}

#[test]
fn the_first_hop_that_stands_still_is_named_in_its_own_words() {
    stops(after(|_, _| {}), Station::Read, NOT_READ, &["reads nothing", "100 lines"]);

    let hangs = after(|alloy, _| alloy.read += 5.0);
    stops(hangs, Station::Sent, NOT_SENT, &["5 lines", "loki:3100", "no request was answered meanwhile"]);

    let failing = after(|alloy, _| {
        alloy.read += 5.0;
        alloy.failed = by_name(&[("status 500", 3.0)]);
        alloy.lost = by_name(&[("ingester_error", 7.0)]);
    });
    stops(failing, Station::Sent, NOT_SENT, &["status 500 ×3", "given up: ingester_error ×7"]);

    let dropped = after(|alloy, _| {
        alloy.read += 5.0;
        alloy.dropped = by_name(&[("match_stage", 5.0)]);
    });
    stops(dropped, Station::Sent, DROPPED_IN_ALLOY, &["drops all of them", "match_stage ×5"]);

    let elsewhere = after(|alloy, _| {
        alloy.read += 5.0;
        alloy.sent = by_name(&[("loki:3100", 40.0), ("old:3100", 5.0)]);
    });
    stops(elsewhere, Station::Received, NOT_RECEIVED, &["loki:3100, old:3100", "receives nothing"]);

    let discarded = after(|alloy, loki| {
        alloy.read += 5.0;
        alloy.sent = by_name(&[("loki:3100", 45.0)]);
        loki.received += 5.0;
        loki.discards = by_name(&[("rate_limited", 5.0)]);
    });
    stops(discarded, Station::Received, DISCARDED_BY_LOKI, &["rate_limited ×5"]);
}

#[test]
fn where_other_lines_pass_as_many_drops_as_lines_are_most_likely_these() {
    let pass = |dropped: f64| {
        after(|alloy, loki| {
            alloy.read += 50.0;
            alloy.sent = by_name(&[("loki:3100", 60.0)]);
            alloy.dropped = by_name(&[("match_stage", dropped)]);
            loki.received += 20.0;
        })
    };
    stops(pass(5.0), Station::Sent, DROPPED_IN_ALLOY, &["most likely", "match_stage ×5"]);
    assert_eq!(pass(4.0), None, "fewer than the agent wrote");
}

#[test]
fn nothing_is_said_without_something_to_compare() {
    let (before, _) = still();
    assert_eq!(between(&before, &before), None, "the agent wrote nothing meanwhile");
    let silent = |counts: Counts| Counts { loki: None, ..counts };
    let (before, mut after) = still();
    let alloy = after.alloy.as_mut().unwrap();
    (alloy.read, alloy.sent) = (105.0, by_name(&[("loki:3100", 45.0)]));
    assert_eq!(between(&silent(before), &silent(after)), None, "Loki tells nothing");
}

#[test]
fn a_counter_that_begins_anew_has_risen_to_where_it_is() {
    let restarted = after(|alloy, loki| {
        (alloy.read, alloy.sent) = (3.0, by_name(&[("loki:3100", 2.0)]));
        loki.received += 2.0;
    });
    assert_eq!(restarted, None, "all of them move");
}

#[test]
fn the_journal_is_named_by_the_agents_own_word() {
    assert_eq!(at_once(&told(), None), None);
    assert_eq!(at_once(&Told { unread: STUCK - 1, ..told() }, None), None);
    let unread = at_once(&Told { unread: 4200, ..told() }, None);
    stops(unread, Station::Journal, JOURNAL_STUCK, &["has not read", "4s"]);
    let refused = at_once(&Told { trouble: Some("Connection refused".into()), ..told() }, None);
    stops(refused, Station::Journal, JOURNAL_STUCK, &["takes no lines: Connection refused"]);
    let silent = Err(crate::net::reasons::TIMEOUT.because("http://alloy/metrics: no answer within 800ms"));
    stops(at_once(&told(), Some(&silent)), Station::Read, NOT_READ, &["Alloy does not answer", "800ms"]);
}

#[test]
fn the_way_shows_what_moves_what_stands_and_what_comes_behind() {
    let stations = stations(true, false, true);
    let states = |hops: Vec<Hop>| hops.into_iter().map(|hop| (hop.name, hop.state)).collect::<Vec<_>>();
    let names = ["agent", "journal", "alloy read", "alloy sent", "loki received", "loki queryable", "grafana"];
    let of = |states: [HopState; 7]| names.map(str::to_owned).into_iter().zip(states).collect::<Vec<_>>();
    let broken = trail(&stations, Some((Station::Sent, "status 500")), 0);
    assert_eq!(states(broken), of([Moves, Moves, Moves, Stands, Behind, Behind, Behind]));
    let unreadable = trail(&stations, Some((Station::Found, "refused")), 0);
    assert_eq!(states(unreadable), of([Moves, Unknown, Unknown, Unknown, Unknown, Stands, Behind]));
    assert_eq!(states(trail(&stations, None, 7)), of([Moves; 7]));
    assert_eq!(states(untold(&stations, "")), of([Moves, Unknown, Unknown, Unknown, Unknown, Behind, Unknown]));
}
