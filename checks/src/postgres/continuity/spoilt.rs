//! Answers about rows that are none.

use serde_json::json;

use super::*;
use crate::Fact;
use crate::testing::check;
use crate::testing::postgres::{Harm, SIGHT, Script, none_passes};

fn server(system: &'static str) -> Script {
    let sight = SIGHT.map(|column| if column.0 == "system" { ("system", system) } else { column });
    let looked_up = vec![("kind", "timestamp with time zone"), ("readable", "t"), ("hidden", "f")];
    Script(vec![("pg_control_system", sight.to_vec(), 1), ("atttypid", looked_up, 1)])
}

fn mark() -> crate::Facts {
    let side = |system: &str| json!({"identity": format!("{system}/16384"), "nextXid": 790, "at": "2026-11-04T12:00:20Z", "countedSince": "then", "tables": {"named": {}}});
    let value = json!({"old": side("7300000000000000001"), "new": side("7300000000000000002")});
    [("postgres-mark".to_owned(), Fact { at: DateTime::UNIX_EPOCH, value })].into()
}

fn micros(seconds: i64) -> &'static str {
    let start = "2026-11-04T12:00:00Z".parse::<DateTime<Utc>>().unwrap().timestamp_micros();
    (start + seconds * 1_000_000).to_string().leak()
}

fn after(live: i64, hole: (i64, i64)) -> Vec<(&'static str, &'static str)> {
    let (from, to) = (micros(hole.0), micros(hole.1));
    vec![("live", micros(live)), ("first", "NULL"), ("found", "0"), ("hole_from", from), ("hole_to", to), ("filled", "0")]
}

fn continuity() -> PostgresContinuity {
    check(json!({"old": "old", "new": "new", "tables": [{"table": "public.metrics", "time": "time", "within": "1m"}]}))
}

fn sides(after: Vec<(&'static str, &'static str)>) -> [Script; 2] {
    let old = server("7300000000000000001").and(&[("AS last", vec![("last", micros(0))], 1)]);
    [old, server("7300000000000000002").and(&[("WITH written", after, 1)])]
}

#[tokio::test]
async fn an_answer_that_is_none_continues_nothing() {
    none_passes(&continuity(), sides(after(30, (0, 30))), mark(), |words, harm| match (words, harm) {
        // Which counters are read, by what version: not what this check goes by.
        ("pg_control_system", Harm::Says(name, _)) => ["wal_reset", "database_reset", "version", "boot"].contains(&name),
        _ => false,
    })
    .await;
}

#[test]
fn times_that_contradict_each_other_are_no_answer() {
    let at = |seconds: i64| DateTime::<Utc>::UNIX_EPOCH + chrono::TimeDelta::seconds(seconds);
    let seen = |live: i64, from: i64, to: i64| {
        let hole = Some((at(from), at(to)));
        After { live: Some(at(live)), both: None, hole, filled: 0 }.coherent(at(100))
    };
    assert!(seen(130, 100, 130).is_ok() && seen(130, 110, 120).is_ok());
    for (live, from, to) in [(130, 130, 100), (130, 90, 130), (130, 100, 140), (90, 100, 100)] {
        seen(live, from, to).unwrap_err();
    }
    let nothing = After { live: None, both: None, hole: Some((at(100), at(100))), filled: 0 };
    nothing.coherent(at(100)).unwrap_err();
    After { live: Some(at(90)), ..After::default() }.coherent(at(100)).unwrap_err();
    After { live: Some(at(90)), both: Some((at(90), 1)), ..After::default() }.coherent(at(100)).unwrap();
}
