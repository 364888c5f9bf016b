use serde_json::json;

use super::*;
use crate::testing::check;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
}

#[test]
fn another_server_at_an_address_is_wrong_for_a_while_and_then_the_right_one() {
    let hold = Duration::from_mins(1);
    let mut known = Known::default();
    known.see("1/5", at(0));
    known.see("1/5", at(10));
    assert_eq!(known.settled(at(10), hold), Ok(()));
    known.see("2/5", at(20));
    known.see("2/5", at(30));
    let swapped = known.settled(at(79), hold).unwrap_err();
    assert_eq!(swapped.reason(), Some(&SWAPPED.into()));
    assert_eq!(swapped.evidence().as_str(), "it was 1/5 and is 2/5 since 2023-11-14 22:13:40Z");
    assert_eq!(known.settled(at(80), hold), Ok(()));
    known.see("1/5", at(90));
    assert!(known.settled(at(90), hold).is_err(), "the first one is another one now");
}

#[test]
fn what_can_not_be_right_is_refused_in_the_document() {
    let fields = |block: serde_json::Value| {
        let mut whole = json!({"old": "a", "new": "b"});
        whole.as_object_mut().unwrap().extend(block.as_object().unwrap().clone());
        Check::validate(&check::<PostgresIdentity>(whole)).into_iter().map(|error| error.field).collect::<Vec<_>>()
    };
    assert_eq!(fields(json!({"oldSystem": "7301234567890123456", "method": "volumeCopy"})), [""; 0]);
    assert_eq!(fields(json!({"new": "a"})), ["new"]);
    assert_eq!(fields(json!({"oldSystem": "x", "newSystem": ""})), ["oldSystem", "newSystem"]);
}
