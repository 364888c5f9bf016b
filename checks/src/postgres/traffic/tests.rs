use serde_json::json;

use crate::testing::{check, context, report_of};

use super::*;

fn traffic(writers: serde_json::Value) -> PostgresTraffic {
    check(json!({"postgres": "new", "writers": writers}))
}

fn flaw(more: serde_json::Value) -> String {
    let mut block = json!({"name": "w", "role": "server", "table": "t", "time": "at", "every": "1m"});
    block.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    traffic(json!([block])).validate().first().map(|error| error.message.clone()).unwrap_or_default()
}

#[test]
fn a_writer_that_makes_no_sense_is_refused() {
    for good in [json!({}), json!({"table": "s.t"}), json!({"table": "\"A b\".\"c\"\"d\""}), json!({"complete": "SELECT true"})] {
        assert_eq!(flaw(good.clone()), "", "{good}");
    }
    for (bad, word) in [
        (json!({"name": "others"}), "name"),
        (json!({"role": ""}), "role"),
        (json!({"table": "a.b.c"}), "table"),
        (json!({"table": "t; DROP TABLE t"}), "table"),
        (json!({"table": "phasegate.canary"}), "table"),
        (json!({"time": "a.b"}), "time"),
        (json!({"every": "999ms"}), "every"),
        (json!({"schedule": "0 0 * * *"}), "both"),
        (json!({"complete": "  "}), "complete"),
        (json!({"complete": "SELECT 1; SELECT 2"}), "complete"),
    ] {
        assert!(flaw(bad.clone()).contains(word), "{bad}: {}", flaw(bad.clone()));
    }
    let none = |more| traffic(json!([{"name": "w", "role": "r", "table": "t", "time": "at", "schedule": more}])).validate();
    assert_eq!(none("0 0,12 * * *"), []);
    assert_eq!(none("0 0 31 2 *").len(), 1, "never due");
    assert_eq!(none("60 * * * *").len(), 1);
    assert_eq!(traffic(json!([])).validate().len(), 1);
}

#[tokio::test]
async fn without_a_mark_every_part_is_unknown() {
    let check = traffic(json!([{"name": "w", "role": "r", "table": "t", "time": "at", "every": "1m"}]));
    let report = report_of(&check, &context()).await;
    let Step::Done(parts) = report.step else { panic!("not done") };
    let reasons: Vec<_> = parts.values().map(|part| part.reason().unwrap().as_str()).collect();
    assert_eq!(reasons, ["fact_missing", "fact_missing"]);
}
