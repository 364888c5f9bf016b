use chrono::TimeDelta;
use serde_json::json;

use super::*;
use crate::testing::check;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + second, 0).unwrap()
}

fn series() -> Series {
    Series { table: "public.metrics".to_owned(), time: "time".to_owned(), every: Some(Duration::from_secs(10)), within: None }
}

fn seen(from: i64, to: i64) -> After {
    After { live: Some(at(300)), hole: Some((at(from), at(to))), ..After::default() }
}

#[test]
fn what_is_longer_than_twice_the_cadence_is_lost() {
    let judge = |after| series().judge(after, at(0), at(50));
    assert_eq!(judge(seen(0, 20)).label(), "pass");
    let Outcome::Fail { reason, evidence } = judge(seen(0, 250)) else { panic!("no gap") };
    assert_eq!(reason, GAP.into());
    let words =
        "4m 10s lost, about 25 rows at the cadence: none between 2023-11-14 22:13:20Z and 2023-11-14 22:17:30Z; the limit is 20s";
    assert_eq!(evidence.as_str(), words);
    let accepted = Series { within: Some(Duration::from_secs(250)), ..series() };
    assert_eq!(accepted.judge(seen(0, 250), at(0), at(50)).label(), "pass");
    let at_once = After { live: Some(at(0)), ..After::default() };
    assert_eq!(judge(at_once).label(), "pass", "the first row is of the same second as the last");
    assert_eq!(seconds(seen(0, 250)), Some(250.0));
    assert_eq!(seconds(After::default()), None);
}

#[test]
fn rows_on_both_sides_at_once_are_no_continuation() {
    let after = After { both: Some((at(60), 3)), ..seen(0, 10) };
    let outcome = series().judge(after, at(90), at(50));
    assert_eq!(outcome.reason(), Some(&OVERLAP.into()));
    assert!(outcome.evidence().as_str().starts_with("3 rows on new from 2023-11-14 22:14:20Z on"), "{outcome:?}");
}

#[test]
fn no_row_yet_is_waited_for_and_not_for_ever() {
    let filled = After { filled: 3, ..After::default() };
    let Outcome::Waiting { due, evidence, .. } = series().judge(filled, at(0), at(50)) else { panic!("it does not wait") };
    assert_eq!(due, at(50) + TimeDelta::minutes(15));
    assert!(evidence.as_str().ends_with("3 rows were filled in"), "{evidence}");
}

fn sight(old: Result<(), Outcome>, after: Result<After, Outcome>) -> Sight {
    Sight {
        identities: BTreeMap::new(),
        troubles: old.map(|()| BTreeMap::new()),
        afters: Ok(BTreeMap::from([("public.metrics".to_owned(), after)])),
    }
}

#[test]
fn an_old_server_that_is_away_counts_as_it_was_seen() {
    let known = Known { last: Some(Last { time: at(0), seen: at(5), next_xid: Some(7) }), live: None };
    let reason = |sight: &Sight, known: &Known| {
        let outcome = sight.part(&series(), known, at(50));
        outcome.reason().map_or_else(|| "pass".to_owned(), ToString::to_string)
    };
    let gone = || Err(reasons::REFUSED.because("gone"));
    assert_eq!(reason(&sight(Ok(()), Ok(seen(0, 20))), &known), "pass");
    let away = sight(gone(), Ok(seen(0, 20)));
    assert_eq!(reason(&away, &known), "pass");
    let outcome = away.part(&series(), &known, at(50));
    assert!(
        outcome.evidence().as_str().starts_with("the old server is away, last seen 2023-11-14 22:13:25Z: from "),
        "{outcome:?}"
    );
    assert_eq!(reason(&away, &Known::default()), "old_never_seen");
    assert_eq!(reason(&sight(Err(OTHER_MARK.because("")), Ok(seen(0, 20))), &known), "other_mark");
    assert_eq!(reason(&sight(gone(), gone().map(|()| After::default())), &known), "refused");
}

#[test]
fn what_is_remembered_is_about_one_mark() {
    let side = |identity: &str| Side {
        identity: identity.to_owned(),
        next_xid: 7,
        at: at(0),
        counted_since: String::new(),
        tables: crate::postgres::tables::Tables::default(),
    };
    let mark = Mark { old: side("1/2"), new: side("3/4") };
    let mut memory = Memory::default().about("postgres-mark", &mark);
    memory.tables.insert("t".to_owned(), Known::default());
    assert_eq!(memory.clone().about("postgres-mark", &mark).tables.len(), 1);
    assert_eq!(memory.clone().about("postgres-mark.2", &mark).tables.len(), 0);
    let other = Mark { old: side("9/2"), ..mark };
    assert_eq!(memory.about("postgres-mark", &other).tables.len(), 0);
}

#[test]
fn the_document_can_not_ask_for_nonsense() {
    let of = |block: serde_json::Value| {
        let check = check::<PostgresContinuity>(block);
        check.validate().into_iter().map(|error| error.message).collect::<Vec<_>>().join("; ")
    };
    let table = |more: serde_json::Value| {
        let mut table = json!({"table": "metrics", "time": "time"});
        table.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"old": "a", "new": "b", "tables": [table]})
    };
    assert_eq!(of(table(json!({"every": "1m"}))), "");
    assert_eq!(of(table(json!({"within": "1m"}))), "");
    assert!(of(table(json!({}))).contains("neither `every` nor `within`"));
    assert!(of(table(json!({"every": "10ms"}))).contains("shorter than 1s"));
    assert!(of(table(json!({"every": "1m", "table": "a;b"}))).contains("no `table`"));
    assert!(of(json!({"old": "a", "new": "a", "tables": []})).contains("this is the old one as well; none"));
    let twice = json!({"table": "metrics", "time": "time", "every": "1m"});
    assert!(of(json!({"old": "a", "new": "b", "tables": [twice, twice]})).contains("twice"));
}

#[test]
fn memory_of_as_many_tables_as_there_may_be_stays_small() {
    let known = Known { last: Some(Last { time: at(0), seen: at(5), next_xid: Some(u64::MAX) }), live: Some(at(9)) };
    let tables = (0..MOST).map(|number| (format!("{number}{}", "t".repeat(300)), known.clone())).collect();
    let memory = Memory { mark: "m".repeat(200), tables };
    let text = serde_json::to_string(&memory).unwrap();
    assert!(text.len() < crate::MAX_MEMORY, "{}", text.len());
    assert_eq!(serde_json::from_str::<Memory>(&text).unwrap(), memory);
}
