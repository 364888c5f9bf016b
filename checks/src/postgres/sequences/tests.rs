use serde_json::json;

use super::sequence::{plain, share};
use super::*;
use crate::testing::check;

fn sequence(increment: i64, least: i64, most: i64, next: i128) -> Sequence {
    let (name, schema) = ("\"public\".\"a_id_seq\"".to_owned(), "public".to_owned());
    Sequence { name, schema, readable: true, cycles: false, increment, least, most, next: Some(next) }
}

fn up(next: i128) -> Sequence {
    sequence(1, 1, 100, next)
}

fn round(next: i128) -> Sequence {
    Sequence { cycles: true, ..up(next) }
}

fn column(sequence: Sequence, kind: &str) -> Column {
    let (table, schema, name) = ("\"public\".\"a\"".to_owned(), "public".to_owned(), "id".to_owned());
    Column {
        key: (1, 2, 3),
        sequence,
        table,
        schema,
        name,
        kind: kind.to_owned(),
        readable: true,
        hidden: false,
        indexed: true,
        plain: true,
    }
}

/// What the parts of such a look are, by their reasons.
fn reasons_of(tally: &Tally) -> Vec<(String, String)> {
    let reason = |outcome: &Outcome| outcome.reason().map_or_else(|| "pass".to_owned(), ToString::to_string);
    tally.parts("new", None).iter().map(|(part, outcome)| (part.to_string(), reason(outcome))).collect()
}

fn wrong(tally: &Tally) -> Vec<(String, String)> {
    reasons_of(tally).into_iter().filter(|(_, reason)| reason != "pass").collect()
}

fn compared(old: &Sequence, new: &Sequence) -> Tally {
    let mut tally = Tally::default();
    tally.compare(old, Some(new));
    tally.headroom(new);
    tally
}

fn one(part: &str, reason: &str) -> Vec<(String, String)> {
    vec![(part.to_owned(), reason.to_owned())]
}

#[test]
fn a_sequence_is_behind_when_it_would_give_out_again_what_was_given_out() {
    assert_eq!(wrong(&compared(&up(7), &up(7))), []);
    assert_eq!(wrong(&compared(&up(7), &up(50))), []);
    assert_eq!(wrong(&compared(&up(7), &up(6))), one("values", "sequence_behind"));
    let down = |next| sequence(-1, -100, -1, next);
    assert_eq!(wrong(&compared(&down(-7), &down(-8))), []);
    assert_eq!(wrong(&compared(&down(-7), &down(-6))), one("values", "sequence_behind"));
    assert_eq!(wrong(&compared(&up(7), &sequence(-1, 1, 100, 7))), one("values", "turned"));
}

#[test]
fn what_goes_round_is_compared_by_the_shorter_way() {
    assert_eq!(wrong(&compared(&round(95), &round(5))), [], "it went round");
    assert_eq!(wrong(&compared(&round(95), &round(95))), []);
    assert_eq!(wrong(&compared(&round(50), &round(49))), one("values", "sequence_behind"));
    assert_eq!(wrong(&compared(&round(5), &round(95))), one("values", "sequence_behind"));
}

#[test]
fn a_missing_sequence_is_named_and_an_empty_side_is_no_pass() {
    let mut tally = Tally::default();
    assert_eq!(wrong(&tally), one("missing", "nothing_to_compare"));
    tally.compare(&up(1), None);
    assert_eq!(wrong(&tally), one("missing", "missing"));
    assert!(tally.parts("new", None)[&PartId::new("missing")].evidence().as_str().contains("public.a_id_seq"));
}

#[test]
fn what_is_left_is_told_in_percent_and_nothing_left_is_a_failure() {
    let headroom = |new: Sequence| {
        let tally = compared(&new, &new);
        let part = tally.parts("new", None).remove(&PartId::new("headroom")).unwrap();
        (part.label(), part.evidence().to_string())
    };
    assert!(!headroom(up(80)).1.contains("warning"));
    let (label, words) = headroom(up(81));
    assert!(label == "pass" && words.contains("warning: public.a_id_seq has used 80 %"), "{words}");
    assert_eq!(headroom(up(100)).0, "pass", "one is left");
    assert_eq!(headroom(up(101)).0, "fail");
    assert_eq!(headroom(sequence(-1, -100, -1, -101)).0, "fail");
    assert!(headroom(sequence(-1, -100, -1, -96)).1.contains("has used 95 %"));
    assert_eq!(headroom(round(101)).0, "pass");
    assert_eq!([share(-5, 10), share(50, 10), share(1, 0)], [0, 100, 100]);
}

#[test]
fn a_column_may_end_before_its_sequence_does() {
    let narrowed = |kind: &str, new: Sequence| {
        let mut tally = compared(&new, &new);
        tally.narrows(&column(new, kind));
        tally.parts("new", None).remove(&PartId::new("headroom")).unwrap()
    };
    let wide = |next| sequence(1, 1, i64::MAX, next);
    assert!(narrowed("integer", wide(2_040_109_466)).evidence().as_str().contains("public.a.id (integer) has used 95 %"));
    assert_eq!(narrowed("integer", wide(2_147_483_647)).label(), "pass", "one is left");
    assert_eq!(narrowed("integer", wide(2_147_483_648)).label(), "fail");
    assert_eq!(narrowed("bigint", wide(2_147_483_648)).label(), "pass");
    let down = |next| sequence(-1, i64::MIN, -1, next);
    assert_eq!(narrowed("smallint", down(-32_768)).label(), "pass");
    assert_eq!(narrowed("smallint", down(-32_769)).label(), "fail");
}

#[test]
fn the_next_value_lies_beyond_the_columns_extreme() {
    let reached = |new: Sequence, extreme: Option<i64>| {
        let mut tally = compared(&new, &new);
        tally.reaches(&column(new, "bigint"), extreme);
        wrong(&tally)
    };
    assert_eq!(reached(up(8), Some(7)), []);
    assert_eq!(reached(up(8), None), []);
    assert_eq!(reached(up(7), Some(7)), one("columns", "collides"));
    let down = |next| sequence(-1, -100, -1, next);
    assert_eq!(reached(down(-8), Some(-7)), []);
    assert_eq!(reached(down(-7), Some(-7)), one("columns", "collides"));
    assert_eq!(reached(up(8), Some(i64::MAX)), one("columns", "collides"));
}

#[test]
fn what_was_not_seen_does_not_pass() {
    let mut tally = compared(&up(1), &up(1));
    tally.conceals(&Sequence { readable: false, ..up(1) }, Place { place: "me@new", role: "\"me\"" });
    let parts = tally.parts("new", None);
    for part in ["values", "columns", "headroom"] {
        let Outcome::Unknown { evidence, .. } = &parts[&PartId::new(part)] else { panic!("{part}: {parts:?}") };
        let grants = "run GRANT USAGE ON SCHEMA public TO \"me\"; GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO \"me\";";
        assert!(evidence.as_str().contains(grants), "{evidence}");
    }
    let gone = reasons::REFUSED.because("gone");
    let parts = compared(&up(7), &up(6)).parts("new", Some(&gone));
    let reason = |part: &str| parts[&PartId::new(part)].reason().unwrap().to_string();
    assert_eq!(["missing", "values", "columns", "headroom"].map(reason), ["refused", "sequence_behind", "refused", "refused"]);
}

#[test]
fn what_is_meant_to_differ_is_left_out_and_told() {
    let mut tally = Tally::default();
    assert!(tally.ignores("\"public\".\"a_id_seq\"", &BTreeSet::from(["public.a_id_seq".to_owned()])));
    assert!(!tally.ignores("\"public\".\"b\"", &BTreeSet::from(["public.a_id_seq".to_owned()])));
    let parts = tally.parts("new", None);
    assert!(parts[&PartId::new("missing")].evidence().as_str().contains("ignored: public.a_id_seq"), "{parts:?}");
}

#[test]
fn names_are_shown_as_people_write_them() {
    assert_eq!(plain("\"public\".\"a_id_seq\""), "public.a_id_seq");
    assert_eq!(plain("\"public\".\"A\"\"b\""), "\"public\".\"A\"\"b\"");
    assert_eq!(plain("\"pu.blic\".\"a\""), "\"pu.blic\".\"a\"");
}

#[test]
fn a_look_that_found_much_is_remembered_within_bounds() {
    let mut scan = Scan::begin(chrono::DateTime::UNIX_EPOCH, BTreeMap::new());
    for number in 0..5000 {
        let new = Sequence { name: format!("\"public\".\"{number}{}\"", "é".repeat(60)), readable: false, ..up(50) };
        scan.tally.compare(&Sequence { next: Some(60), ..new.clone() }, Some(&new));
        scan.tally.compare(&new, None);
        scan.tally.conceals(&new, Place { place: "me@new", role: "me" });
        scan.tally.headroom(&Sequence { next: Some(101), ..new.clone() });
        scan.tally.ignores(&new.name, &BTreeSet::from([new.name.clone()]));
    }
    let memory = Memory { scan: Some(scan), rests_until: Rest::default() };
    let text = serde_json::to_string(&memory).unwrap();
    assert!(text.len() < crate::MAX_MEMORY, "{}", text.len());
    assert_eq!(serde_json::from_str::<Memory>(&text).unwrap(), memory);
}

#[test]
fn the_document_can_not_ask_for_nonsense() {
    let of = |more: serde_json::Value| {
        let mut block = json!({"old": "a", "new": "b"});
        block.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let fields: Vec<&str> = check::<PostgresSequences>(block).validate().iter().map(|error| error.field).collect();
        fields
    };
    assert!(of(json!({})).is_empty());
    assert_eq!(of(json!({"new": "a", "loadPercent": 0, "rest": "8d"})), ["new", "loadPercent", "rest"]);
    let memory: Result<Memory, _> = serde_json::from_str(r#"{"scan": {"stage": 7}}"#);
    memory.unwrap_err();
}
