use serde_json::json;

use super::*;
use crate::testing::check;

fn parts(scan: &Scan, looked: (bool, bool), trouble: Option<&Outcome>) -> Vec<(String, String)> {
    let reason = |outcome: &Outcome| outcome.reason().map_or_else(|| "pass".to_owned(), ToString::to_string);
    scan.parts("new", looked, trouble).iter().map(|(part, outcome)| (part.to_string(), reason(outcome))).collect()
}

fn of(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(part, reason)| ((*part).to_owned(), (*reason).to_owned())).collect()
}

fn scan() -> Scan {
    Scan::begin(chrono::DateTime::UNIX_EPOCH, "1/2".to_owned())
}

#[test]
fn what_is_damaged_fails_and_what_was_not_looked_into_does_not_pass() {
    let mut scan = scan();
    assert_eq!(parts(&scan, (false, false), None), []);
    assert_eq!(parts(&scan, (true, true), None), of(&[("btree", "pass"), ("heap", "pass")]));
    scan.btree.unchecked.add("public.big");
    assert_eq!(parts(&scan, (true, true), None), of(&[("btree", "not_checked"), ("heap", "pass")]));
    scan.btree.corrupt.add("public.bad");
    scan.heap.corrupt.add("public.t");
    assert_eq!(parts(&scan, (true, true), None), of(&[("btree", "corrupt_index"), ("heap", "corrupt_table")]));
    let gone = reasons::REFUSED.because("gone");
    assert_eq!(parts(&scan, (true, false), Some(&gone)), of(&[("btree", "corrupt_index")]), "it was seen");
    assert_eq!(parts(&super::tests::scan(), (true, false), Some(&gone)), of(&[("btree", "refused")]));
}

#[test]
fn what_was_looked_into_less_closely_is_named() {
    let mut scan = scan();
    scan.btree.lightly.add("public.big (2048 MiB)");
    let parts = scan.parts("new", (true, false), None);
    let words = parts[&PartId::new("btree")].evidence().as_str();
    assert!(words.contains("by their structure alone, without looking for each row: public.big (2048 MiB)"), "{words}");
}

#[test]
fn a_silent_server_is_waited_for_and_then_told() {
    let (mut scan, mut cx) = (scan(), crate::testing::context());
    let gone = Trouble::from(reasons::REFUSED.because("gone"));
    assert!(matches!(PostgresIndexes::stumbled(&cx, &mut scan, &gone, "new"), Step::More(_)));
    cx.now += chrono::TimeDelta::minutes(3);
    let Step::Done(parts) = PostgresIndexes::stumbled(&cx, &mut scan, &gone, "new") else { panic!("not done") };
    assert!(parts.values().all(|outcome| outcome.reason() == Some(&reasons::REFUSED.into())), "{parts:?}");
}

#[test]
fn the_document_can_not_ask_for_nonsense() {
    let block = json!({"postgres": "new", "loadPercent": 101, "rest": "8d", "amcheck": "required"});
    let fields: Vec<&str> = check::<PostgresIndexes>(block).validate().iter().map(|error| error.field).collect();
    assert_eq!(fields, ["loadPercent", "rest"]);
    assert!(check::<PostgresIndexes>(json!({"postgres": "new"})).validate().is_empty());
    serde_json::from_value::<PostgresIndexes>(json!({"postgres": "new", "amcheck": "maybe"})).unwrap_err();
}

#[test]
fn memory_comes_back_as_it_was_and_stays_small() {
    let mut scan = scan();
    scan.stage = Stage::Tables(7, 9);
    for number in 0..5000 {
        let words = format!("{number} {}", "é".repeat(300));
        scan.btree.corrupt.add(&words);
        scan.heap.corrupt.add(&words);
        scan.btree.lightly.add(&words);
    }
    let memory = Memory { scan: Some(scan), rests_until: Rest::default() };
    let text = serde_json::to_string(&memory).unwrap();
    assert!(text.len() < 16 * 1024, "{}", text.len());
    assert_eq!(serde_json::from_str::<Memory>(&text).unwrap(), memory);
}
