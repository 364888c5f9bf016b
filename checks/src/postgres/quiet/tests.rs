use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::memory::Memory;
use super::read::{Look, Present};
use super::*;
use crate::postgres::tables::{Counts, Tables};
use crate::testing::{check, context};

/// A server that a test changes, and what is known of it.
struct Told {
    check: PostgresQuiet,
    memory: Memory,
    look: Look,
    now: DateTime<Utc>,
}

impl Told {
    fn new(more: serde_json::Value) -> Self {
        let mut block = json!({"postgres": "old", "window": "15s", "holdFor": "1m"});
        block.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut look = Look { place: "me@old".to_owned(), exact: true, strangers: 1, ..Look::default() };
        look.reading.identity = "1/2".to_owned();
        look.reading.next_xid = 1000;
        Self { check: check(block), memory: Memory::default(), look, now: DateTime::UNIX_EPOCH }
    }

    /// One that was seen quiet for its window.
    fn quiet(more: serde_json::Value) -> Self {
        let mut told = Self::new(more);
        told.reaches("pass", 30);
        told
    }

    /// One look after some seconds: `pass`, or the reason.
    fn after(&mut self, seconds: i64) -> String {
        self.now += TimeDelta::seconds(seconds);
        let outcome = self.memory.judge(&self.check, &self.look, self.now);
        if let Outcome::Waiting { due, .. } = outcome {
            assert!(due > self.now, "{due}");
        }
        let bytes = serde_json::to_vec(&self.memory).unwrap();
        self.memory = serde_json::from_slice(&bytes).unwrap();
        name(&outcome)
    }

    /// Looks every second, and says after how many it is so.
    fn reaches(&mut self, expected: &str, within: i64) -> i64 {
        let mut seen = Vec::new();
        for second in 0..=within {
            seen.push(self.after(1));
            if seen.last().unwrap() == expected {
                return second;
            }
        }
        panic!("{expected} was not reached: {seen:?}");
    }

    fn count(&mut self, table: &str, inserted: u64) {
        let counts = Counts { inserted, ..Counts::default() };
        self.look.reading.tables.named.insert(table.to_owned(), counts);
    }
}

fn name(outcome: &Outcome) -> String {
    outcome.reason().map_or_else(|| "pass".to_owned(), ToString::to_string)
}

#[test]
fn a_whole_window_is_watched_after_the_counters_have_settled() {
    let mut told = Told::new(json!({}));
    assert_eq!(told.reaches("pass", 30), 11 + 15);
    assert_eq!(told.after(61), "observing", "nobody watched");
    assert_eq!(told.reaches("pass", 30), 14);
    told.now -= TimeDelta::hours(1);
    assert_eq!(told.after(0), "observing", "the clock was set back");
    assert_eq!(told.reaches("pass", 30), 14);
}

#[test]
fn what_was_written_is_told_until_a_whole_window_went_by() {
    let mut told = Told::quiet(json!({}));
    told.look.reading.next_xid += 1;
    told.count("public.a", 3);
    assert_eq!(told.after(5), "written");
    for _ in 0..25 {
        assert_eq!(told.after(1), "written");
    }
    assert_eq!(told.after(1), "pass");
}

#[test]
fn counters_that_lag_are_waited_for_and_then_it_is_unexplained() {
    let mut told = Told::quiet(json!({}));
    told.look.reading.next_xid += 1;
    assert_eq!(told.after(1), "settling");
    assert_eq!(told.after(9), "settling");
    told.count("public.a", 1);
    assert_eq!(told.after(1), "written");

    let mut told = Told::quiet(json!({}));
    told.look.reading.next_xid += 1;
    assert_eq!(told.after(1), "settling");
    assert_eq!(told.after(11), "unexplained");
    assert_eq!(told.reaches("pass", 40), 11 + 15 - 1);
}

#[test]
fn counters_of_what_was_before_the_first_look_are_no_event() {
    let mut told = Told::new(json!({}));
    assert_eq!(told.after(0), "observing");
    told.count("public.a", 1);
    assert_eq!(told.after(9), "observing");
    told.reaches("pass", 30);
    told.count("public.a", 2);
    assert_eq!(told.after(1), "written", "nothing lags that long");
}

#[test]
fn autovacuum_accounts_for_as_many_transactions_as_it_had_runs() {
    let mut told = Told::quiet(json!({}));
    told.look.reading.next_xid += 2;
    told.look.reading.tended += 2;
    assert_eq!(told.after(1), "pass");
    told.look.reading.tended += 1;
    assert_eq!(told.after(1), "pass", "it is counted before its transaction ends");
    told.look.reading.next_xid += 1;
    assert_eq!(told.after(1), "pass");
    told.look.reading.next_xid += 1;
    assert_eq!(told.after(1), "settling");
    told.look.reading.tended += 1;
    assert_eq!(told.after(1), "pass", "or after that");
    told.look.reading.tended += 1;
    assert_eq!(told.after(1), "pass");
    told.look.reading.next_xid += 1;
    assert_eq!(told.after(12), "settling", "but not much earlier");
    told.look.reading.next_xid += 3;
    told.look.reading.tended += 2;
    assert_eq!(told.after(11), "unexplained");
}

#[test]
fn without_any_session_what_moves_is_autovacuums() {
    let mut told = Told::quiet(json!({"readers": ["grafana"]}));
    told.look.strangers = 0;
    let (name, since, what) = ("grafana".to_owned(), "then".to_owned(), "idle".to_owned());
    told.look.sessions.push(Present { name, value: 1, since, what, named: 0 });
    told.look.reading.next_xid += 11;
    assert_eq!(told.after(1), "pass");
    told.look.reading.elsewhere += 1;
    told.look.reading.next_xid += 1;
    assert_eq!(told.after(1), "settling", "somebody was in another database");
    told.reaches("unexplained", 12);
    told.reaches("pass", 60);
    told.look.others.sessions += 1;
    told.look.reading.next_xid += 1;
    assert_eq!(told.after(1), "settling", "somebody was in this one");
    told.reaches("unexplained", 12);
    told.reaches("pass", 60);
    told.look.reading.databases.insert("template1".to_owned(), 40);
    told.look.others.sessions += 1;
    told.look.reading.next_xid += 1;
    assert_eq!(told.after(1), "pass", "rows in another database are not of whoever was in this one");
    told.count("public.a", 7);
    told.look.reading.next_xid += 1;
    assert_eq!(told.after(1), "written", "whoever it was");
}

#[test]
fn a_restart_is_no_event_and_hides_none() {
    let mut told = Told::quiet(json!({}));
    told.count("public.a", 7);
    told.look.reading.next_xid += 1;
    assert_eq!(told.after(1), "written");
    told.reaches("pass", 40);
    told.look.reading.counted_since = "later".to_owned();
    told.look.reading.tables = Tables::default();
    assert_eq!(told.after(1), "pass", "next_xid stands where it stood");
    told.look.reading.counted_since = "even later".to_owned();
    told.look.reading.next_xid += 1;
    told.look.reading.tended += 9;
    assert_eq!(told.after(1), "settling", "nothing accounts for it across a start");
    assert_eq!(told.after(11), "unexplained");
    told.reaches("pass", 40);
    told.look.reading.next_xid -= 1;
    assert_eq!(told.after(1), "went_back");
}

#[test]
fn sessions_of_others_are_counted_beside_our_own() {
    let mut told = Told::quiet(json!({}));
    (told.look.others.sessions, told.look.exact) = (-2, false);
    assert_eq!(told.after(1), "pass", "our own logins are on their way");
    (told.look.others.sessions, told.look.exact) = (0, true);
    assert_eq!(told.after(1), "pass");
    (told.look.others.sessions, told.look.exact) = (1, false);
    assert_eq!(told.after(1), "visited");
    assert_eq!(told.reaches("pass", 40), 25);
    told.look.exact = true;
    told.look.others.process = 7;
    told.look.others.sessions = 500;
    assert_eq!(told.after(1), "pass", "another process knows nothing of what was before");
    told.look.others.rollbacks = 1;
    assert_eq!(told.after(1), "refused_attempts");
    for lenient in [json!({"visitors": true}), json!({"readers": ["grafana"]})] {
        let mut told = Told::quiet(lenient);
        told.look.others.sessions = 1;
        assert_eq!(told.after(1), "pass");
    }
}

#[test]
fn nothing_counts_before_it_is_known_what_others_did() {
    let mut told = Told::new(json!({}));
    told.look.exact = false;
    for _ in 0..60 {
        assert_eq!(told.after(1), "observing");
    }
    told.look.exact = true;
    assert_eq!(told.reaches("pass", 30), 15);
}

#[test]
fn whoever_is_there_is_named_and_begins_the_window_anew() {
    let one = |name: &str| {
        vec![Present { name: name.to_owned(), value: 1, since: "noon".to_owned(), what: "idle".to_owned(), named: 0 }]
    };
    for (sessions, writers, prepared, expected) in [
        (one("server"), vec![], vec![], "sessions_left"),
        (one("server"), one("server"), vec![], "open_transaction"),
        (vec![], vec![], one("server"), "prepared_transaction"),
    ] {
        let mut told = Told::quiet(json!({"readers": ["grafana"]}));
        told.look.sessions = one("grafana");
        assert_eq!(told.after(1), "pass");
        (told.look.sessions, told.look.writers, told.look.prepared) = (sessions, writers, prepared);
        assert_eq!(told.after(1), expected);
        (told.look.sessions, told.look.writers, told.look.prepared) = (vec![], vec![], vec![]);
        assert_eq!(told.after(1), "observing");
        assert_eq!(told.reaches("pass", 40), 10 + 15 - 1);
    }
}

#[test]
fn another_server_is_told_and_then_watched_anew() {
    let mut told = Told::quiet(json!({}));
    told.look.reading.identity = "1/3".to_owned();
    told.look.reading.next_xid = 5;
    assert_eq!(told.after(1), "swapped");
    assert_eq!(told.after(59), "swapped");
    told.look.reading.next_xid += 1;
    told.count("public.a", 1);
    assert_eq!(told.after(1 - 1), "swapped");
    assert_eq!(told.reaches("observing", 61), 59, "what came after it is told as long");
    assert_eq!(told.reaches("pass", 16), 14);
}

fn refused(told: &mut Told) -> String {
    let outcome = reasons::REFUSED.because("nobody listens");
    let cx = Context { now: told.now, ..context() };
    name(&told.check.clone().unseen(outcome, &mut told.memory, &cx))
}

#[test]
fn a_stopped_server_passes_only_if_it_was_seen_quiet_and_must_not_come_back() {
    let mut told = Told::quiet(json!({}));
    assert_eq!(refused(&mut told), "refused");
    let allowed = json!({"mayBeStopped": true});
    assert_eq!(refused(&mut Told::new(allowed.clone())), "never_seen");
    let mut told = Told::quiet(allowed.clone());
    told.look.reading.next_xid += 1;
    told.after(1);
    assert_eq!(refused(&mut told), "never_seen");

    let mut told = Told::quiet(allowed);
    assert_eq!(refused(&mut told), "pass");
    let silent = reasons::TIMEOUT.because("nothing");
    let cx = Context { now: told.now, ..context() };
    assert_eq!(name(&told.check.clone().unseen(silent, &mut told.memory, &cx)), "timeout");
    assert_eq!(refused(&mut told), "pass");
    let starting = crate::postgres::NOT_ACCEPTING.because("starting up");
    assert_eq!(name(&told.check.clone().unseen(starting, &mut told.memory, &cx)), "came_back");
    assert_eq!(refused(&mut told), "never_seen", "it ran in between, and nobody saw what it did");
    assert_eq!(told.after(1), "came_back");
    assert_eq!(told.after(59), "came_back");
    assert_eq!(told.after(1), "observing");
    told.reaches("pass", 16);
}

#[test]
fn what_is_remembered_of_a_large_server_fits() {
    let mut told = Told::quiet(json!({}));
    for n in 0..400 {
        told.count(&format!("public.{}{n}", "t".repeat(56)), n);
    }
    let many = |n: usize, length: usize| (0..n).map(|n| (format!("{n:0length$}"), u64::MAX)).collect::<BTreeMap<_, _>>();
    told.look.reading.catalogs = many(66, 20);
    told.look.reading.databases = many(16, 63);
    told.look.reading.sequences = (0..60).map(|n| (u32::MAX - n, i64::MIN)).collect();
    told.look.relations = vec!["r".repeat(63); 6];
    assert_eq!(told.after(1), "written");
    let bytes = serde_json::to_vec(&told.memory).unwrap().len();
    assert!(bytes < crate::MAX_MEMORY, "{bytes}");
}
