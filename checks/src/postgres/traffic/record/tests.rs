use serde_json::json;

use super::*;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn scene(seconds: i64) -> Scene {
    Scene { clock: at(seconds), now: at(seconds), mark: at(0), unseen: "nobody looked" }
}

fn writer(more: serde_json::Value) -> (Writer, Pace) {
    let mut block = json!({"name": "w", "role": "server", "table": "t", "time": "at"});
    block.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let writer: Writer = serde_json::from_value(block).unwrap();
    assert_eq!(writer.flaw(), None);
    let pace = writer.pace().unwrap();
    (writer, pace)
}

fn reason(outcome: &Outcome) -> &str {
    outcome.reason().map_or("pass", |reason| reason.as_str())
}

#[test]
fn a_fast_writer_is_proven_by_two_beats_and_silent_after_its_cadence() {
    let (writer, pace) = writer(json!({"every": "1m"}));
    let mut record = Record::new(at(0));
    let says = |record: &Record, second| reason(&record.judge(&writer, &pace, scene(second))).to_owned();
    assert_eq!(says(&record, 150), "first_beats");
    assert_eq!(says(&record, 151), "silent", "nothing ever came");
    assert!(record.sees(Some((at(160), at(161)))));
    assert_eq!(says(&record, 165), "first_beats", "two rows of one run are one beat");
    assert!(!record.sees(Some((at(161), at(161)))), "the same row");
    assert!(record.sees(Some((at(220), at(220)))));
    assert_eq!(says(&record, 310), "pass");
    assert_eq!(says(&record, 311), "silent");
}

#[test]
fn a_slow_writer_waits_passes_by_any_row_and_misses_a_run() {
    // at(0) is 08:00:00 UTC.
    let (writer, pace) = writer(json!({"schedule": "0 0,12 * * *", "jitter": "30m"}));
    let mut record = Record::new(at(0));
    let hour = |hours: i64, minutes: i64| (hours - 8) * 3600 + minutes * 60;
    let says = |record: &Record, second| reason(&record.judge(&writer, &pace, scene(second))).to_owned();
    let waiting = record.judge(&writer, &pace, scene(0));
    assert!(matches!(&waiting, Outcome::Waiting { due, .. } if *due == at(hour(12, 35))), "{waiting:?}");
    assert_eq!(says(&record, hour(12, 36)), "missed_run");
    record.sees(Some((at(hour(9, 0)), at(hour(9, 0)))));
    assert_eq!(says(&record, hour(12, 35)), "pass", "run by hand at nine");
    assert_eq!(says(&record, hour(12, 36)), "missed_run");
    record.sees(Some((at(hour(12, 0) - 5), at(hour(12, 0) - 5))));
    assert_eq!(says(&record, hour(12, 36)), "pass", "a clock that is a little slow");
    assert_eq!(says(&record, hour(24, 36)), "missed_run");
}

#[test]
fn an_incomplete_set_is_given_its_grace_and_proves_nothing_before_it_was_whole() {
    let (writer, pace) = writer(json!({"every": "1m", "complete": "SELECT true"}));
    let mut record = Record::new(at(0));
    let says = |record: &Record, second| reason(&record.judge(&writer, &pace, scene(second))).to_owned();
    record.sees(Some((at(0), at(60))));
    assert_eq!(says(&record, 61), "completing", "nobody asked yet");
    record.counts(false);
    assert_eq!(says(&record, 70), "completing");
    record.sees(Some((at(69), at(69))));
    record.counts(false);
    assert_eq!(says(&record, 71), "partial", "more rows of an incomplete set do not renew its grace");
    record.counts(true);
    assert_eq!(says(&record, 72), "pass");
    record.sees(Some((at(120), at(120))));
    record.counts(false);
    assert_eq!(says(&record, 130), "pass", "half-way");
    assert_eq!(says(&record, 131), "partial");
}

#[test]
fn who_wrote_is_told_by_whose_calls_grew() {
    let calls = |server, other| Calls::from([("server".to_owned(), server), ("postgres".to_owned(), other)]);
    assert_eq!(Author::of("server", Some(&calls(5, 9)), &calls(6, 9)), Author::Declared);
    assert_eq!(Author::of("server", Some(&calls(5, 9)), &calls(5, 10)), Author::Other("postgres".to_owned()));
    assert_eq!(Author::of("server", Some(&calls(5, 9)), &calls(5, 9)), Author::Unseen);
    assert_eq!(Author::of("server", Some(&calls(5, 9)), &calls(1, 0)), Author::Declared, "counted anew");
    assert_eq!(Author::of("server", None, &calls(0, 3)), Author::Other("postgres".to_owned()));
}
