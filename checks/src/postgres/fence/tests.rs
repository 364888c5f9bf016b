use serde_json::json;

use super::*;
use crate::net::tcp::closed_port;
use crate::testing::postgres::{Dsn, SIGHT, answer, context_of, dsn, error, message, ready, rows, welcome};
use crate::testing::{Manner, Server, check, hasty, part};

/// A server that is fenced for the role `me`.
const FENCES: [(&str, &str); 15] = [
    ("name", "me"),
    ("database", "16384"),
    ("allowed", "t"),
    ("db_limit", "-1"),
    ("found", "t"),
    ("superuser", "f"),
    ("can_login", "t"),
    ("role_limit", "-1"),
    ("may_connect", "t"),
    ("read_only", "NULL"),
    ("sessions", "0"),
    ("named", "0"),
    ("setting", "on"),
    ("source", "configuration file"),
    ("prepared", "NULL"),
];

/// What the application's login is told before it tries.
const PLACE: [(&str, &str); 3] =
    [("identity", "7300000000000000001/16384"), ("boot", "1793800000.123456"), ("name", "public.readings")];

fn with<const N: usize>(columns: [(&'static str, &'static str); N], name: &str, value: &'static str) -> Vec<u8> {
    answer(&columns.map(|column| if column.0 == name { (column.0, value) } else { column }))
}

fn without(columns: &[(&str, &str)], name: &str) -> Vec<u8> {
    let rest: Vec<_> = columns.iter().filter(|column| column.0 != name).copied().collect();
    answer(&rest)
}

fn fenced() -> Manner {
    Manner::Turns(vec![welcome(), answer(&SIGHT), answer(&FENCES)])
}

fn refusal(code: &str) -> Vec<u8> {
    [error(code), ready()].concat()
}

fn name(outcome: &Outcome) -> String {
    outcome.reason().map_or_else(|| "pass".to_owned(), ToString::to_string)
}

/// A fence that was seen once: a server that is stopped then passes, and nothing else may.
async fn seen_once(check: &PostgresFence) -> Memory {
    let old = Server::start(fenced()).await;
    let report = Check::run(check, &Dsn::new(&dsn(old.address, "disable")).context(), Memory::default()).await;
    assert_eq!(part(&report, "settings").label(), "pass", "{report:?}");
    report.memory
}

/// What is made of a server that speaks like this, whatever was known before; the control never passes.
async fn settings(manner: Manner) -> String {
    let may: PostgresFence = check(json!({"postgres": "target", "roles": ["me"], "mayBeStopped": true}));
    let server = Server::start(manner).await;
    let file = Dsn::new(&dsn(server.address, "disable"));
    let cx = hasty(file.context());
    let outcome = part(&Check::run(&may, &cx, seen_once(&may).await).await, "settings");
    assert!(!outcome.evidence().as_str().contains("hunter2"), "{outcome:?}");
    let control = Check::control(&may, &cx, seen_once(&may).await).await;
    assert_ne!(control.label(), "pass", "{control:?}");
    name(&outcome)
}

/// What is made of an attempt at a server that speaks like this, beside a fence that stands.
async fn attempt(manner: Manner) -> String {
    let tries: PostgresFence = check(json!({"postgres": "target", "roles": ["me"], "attempt": "app", "mayBeStopped": true}));
    let (old, app) = (Server::start(fenced()).await, Server::start(manner).await);
    let (old, app) = (Dsn::new(&dsn(old.address, "disable")), Dsn::new(&dsn(app.address, "disable")));
    let report = Check::run(&tries, &hasty(context_of([("target", &old), ("app", &app)])), Memory::default()).await;
    assert_eq!(part(&report, "settings").label(), "pass", "{report:?}");
    let outcome = part(&report, "attempt");
    assert!(!outcome.evidence().as_str().contains("hunter2"), "{outcome:?}");
    name(&outcome)
}

async fn attempts(last: Vec<u8>) -> String {
    attempt(Manner::Turns(vec![welcome(), answer(&PLACE), last])).await
}

#[tokio::test]
async fn a_fence_passes_and_an_attempt_that_it_refuses_too() {
    assert_eq!(settings(fenced()).await, "pass");
    assert_eq!(attempts(refusal("25006")).await, "pass");
    let old = Server::start(fenced()).await;
    let only: PostgresFence = check(json!({"postgres": "target", "roles": ["me"]}));
    let control = Check::control(&only, &Dsn::new(&dsn(old.address, "disable")).context(), Memory::default()).await;
    assert_eq!(name(&control), "not_fenced");
}

#[tokio::test]
async fn every_value_that_a_fence_depends_on_is_judged() {
    for (column, value, expected) in [
        ("name", "somebody", "unreadable"),
        ("name", "", "unreadable"),
        ("database", "x", "unreadable"),
        ("allowed", "f", "pass"),
        ("allowed", "maybe", "unreadable"),
        ("db_limit", "0", "pass"),
        ("db_limit", "99999999999999999999", "unreadable"),
        ("found", "f", "no_such_role"),
        ("found", "NULL", "unreadable"),
        ("superuser", "t", "superuser"),
        ("superuser", "", "unreadable"),
        ("can_login", "f", "pass"),
        ("role_limit", "none", "unreadable"),
        ("may_connect", "x", "unreadable"),
        ("read_only", "f", "not_fenced"),
        ("read_only", "x", "unreadable"),
        ("sessions", "7", "pass"),
        ("sessions", "-1", "unreadable"),
        ("named", "<b>", "unreadable"),
        ("setting", "off", "not_fenced"),
        ("setting", "true", "unreadable"),
        ("source", "session", "not_fenced"),
        ("source", "NULL", "unreadable"),
        ("prepared", "'half'", "prepared_transaction"),
    ] {
        let turns = vec![welcome(), answer(&SIGHT), with(FENCES, column, value)];
        assert_eq!(settings(Manner::Turns(turns)).await, expected, "{column} = {value}");
    }
    // Fences for new sessions stop none that are there.
    for column in ["can_login", "may_connect", "allowed"] {
        let columns = FENCES.map(|(name, value)| match name {
            "setting" => (name, "off"),
            "sessions" => (name, "2"),
            other if other == column => (name, "f"),
            _ => (name, value),
        });
        assert_eq!(settings(Manner::Turns(vec![welcome(), answer(&SIGHT), answer(&columns)])).await, "not_fenced", "{column}");
    }
}

#[tokio::test]
async fn an_observer_that_can_not_see_the_fence_passes_none() {
    for (column, value, expected) in [
        ("in_recovery", "t", "in_recovery"),
        ("superuser", "t", "not_an_observer"),
        ("writable", "public.readings", "not_an_observer"),
        ("read_only_by", "client", "own_read_only"),
        ("read_only_by", "NULL", "unreadable"),
        ("sees_all", "f", "no_permission"),
        ("counts", "f", "counters_off"),
        ("system", "x", "unreadable"),
        ("boot", "NULL", "unreadable"),
        ("clock", "NaN", "unreadable"),
        ("next_xid", "-1", "unreadable"),
    ] {
        let turns = vec![welcome(), with(SIGHT, column, value), answer(&FENCES)];
        assert_eq!(settings(Manner::Turns(turns)).await, expected, "{column} = {value}");
    }
}

#[tokio::test]
async fn an_answer_without_a_column_or_a_row_is_unreadable() {
    for (column, _) in SIGHT {
        let turns = vec![welcome(), without(&SIGHT, column), answer(&FENCES)];
        assert_eq!(settings(Manner::Turns(turns)).await, "unreadable", "without {column}");
    }
    for (column, _) in FENCES {
        let turns = vec![welcome(), answer(&SIGHT), without(&FENCES, column)];
        assert_eq!(settings(Manner::Turns(turns)).await, "unreadable", "without {column}");
    }
    for (column, _) in PLACE {
        assert_eq!(attempt(Manner::Turns(vec![welcome(), without(&PLACE, column)])).await, "unreadable", "without {column}");
    }
    for count in [0, 2] {
        for turns in [vec![rows(&SIGHT, count)], vec![answer(&SIGHT), rows(&FENCES, count)]] {
            let turns = [vec![welcome()], turns].concat();
            assert_eq!(settings(Manner::Turns(turns)).await, "unreadable", "{count} rows");
        }
    }
    assert_eq!(attempt(Manner::Turns(vec![welcome(), rows(&PLACE, 0)])).await, "unreadable");
    // One role twice is not two roles.
    let two: PostgresFence = check(json!({"postgres": "target", "roles": ["me", "you"]}));
    let server = Server::start(Manner::Turns(vec![welcome(), answer(&SIGHT), rows(&FENCES, 2)])).await;
    let report = Check::run(&two, &Dsn::new(&dsn(server.address, "disable")).context(), Memory::default()).await;
    assert_eq!(name(&part(&report, "settings")), "unreadable");
}

#[tokio::test]
async fn an_attempt_proves_something_by_one_refusal_alone() {
    for (last, expected) in [
        (message(b'C', b"DELETE 0\0"), "timeout"),
        ([message(b'C', b"DELETE 0\0"), ready()].concat(), "write_accepted"),
        (ready(), "write_accepted"),
        (refusal("55P03"), "table_locked"),
        (refusal("57014"), "timeout"),
        (refusal("42501"), "attempt_unclear"),
        (refusal("42P01"), "attempt_unclear"),
        (refusal("25006x"), "attempt_unclear"),
        (Vec::new(), "timeout"),
    ] {
        assert_eq!(attempts(last.clone()).await, expected, "{:?}", String::from_utf8_lossy(&last));
    }
    for (column, value, expected) in [
        ("identity", "1/2", "attempt_unclear"),
        ("boot", "1793800000.123457", "attempt_unclear"),
        ("name", "NULL", "nothing_to_attempt"),
    ] {
        let turns = vec![welcome(), with(PLACE, column, value), refusal("25006")];
        assert_eq!(attempt(Manner::Turns(turns)).await, expected, "{column} = {value}");
    }
    for code in ["28000", "42501", "53300", "55000"] {
        assert_eq!(attempt(Manner::Say(error(code))).await, "attempt_unclear", "{code} by another server");
    }
    assert_eq!(attempt(Manner::Say(error("28P01"))).await, "attempt_unclear");
    assert_eq!(attempt(Manner::Say(error("25006"))).await, "query_failed", "before anything was tried");
}

#[tokio::test]
async fn what_is_no_answer_passes_nowhere() {
    let page = b"HTTP/1.1 200 OK\r\n\r\n<html>fenced</html>".to_vec();
    let flood = [welcome(), b"D\x7f\xff\xff\xff".to_vec()].concat();
    for (manner, expected) in [
        (Manner::Reset, "reset"),
        (Manner::Say(Vec::new()), "reset"),
        (Manner::Hold(Vec::new()), "timeout"),
        (Manner::Say(welcome()), "reset"),
        (Manner::Hold(welcome()), "timeout"),
        (Manner::Say(page.clone()), "not_postgres"),
        (Manner::Repeat(page.clone(), vec![b'x'; 1 << 16]), "not_postgres"),
        (Manner::Repeat(flood, vec![b'x'; 1 << 16]), "too_large"),
        (Manner::Turns(vec![welcome(), refusal("XX001")]), "query_failed"),
        (Manner::Leave(vec![welcome(), page.clone()]), "unreadable"),
    ] {
        assert_eq!(settings(manner.clone()).await, expected, "{manner:?}");
        assert_eq!(attempt(manner).await, expected);
    }
    let closed = closed_port().unwrap();
    let file = Dsn::new(&dsn(closed.local_addr().unwrap(), "disable"));
    let may: PostgresFence = check(json!({"postgres": "target", "roles": ["me"], "mayBeStopped": true}));
    assert_eq!(name(&part(&Check::run(&may, &file.context(), Memory::default()).await, "settings")), "never_seen");
    assert_eq!(name(&part(&Check::run(&may, &file.context(), seen_once(&may).await).await, "settings")), "pass");
}

/// Wherever an answer breaks off, it is none.
#[tokio::test]
async fn an_answer_that_is_cut_off_passes_nowhere() {
    let (sight, fences, place) = (answer(&SIGHT), answer(&FENCES), answer(&PLACE));
    for part in 0..8 {
        let cut = |whole: &[u8]| whole[..whole.len() * part / 8].to_vec();
        for turns in [vec![cut(&sight)], vec![sight.clone(), cut(&fences)]] {
            let said = settings(Manner::Leave([vec![welcome()], turns].concat())).await;
            assert!(["reset", "unreadable"].contains(&said.as_str()), "{part}/8: {said}");
        }
        for turns in [vec![cut(&place)], vec![place.clone(), cut(&refusal("25006"))]] {
            let said = attempt(Manner::Leave([vec![welcome()], turns].concat())).await;
            assert!(["reset", "unreadable"].contains(&said.as_str()), "{part}/8: {said}");
        }
    }
}
