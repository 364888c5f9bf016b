use serde_json::json;

use super::*;
use crate::registry;
use crate::testing::check;

/// White space does not matter to SQL.
fn words(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_doc_comment_and_the_next_step_say_the_same_sql() {
    let registry = registry();
    let schema = (registry.get("postgresCanary").unwrap().schema)(&mut schemars::SchemaGenerator::default());
    let text = schema.get("description").and_then(serde_json::Value::as_str).unwrap();
    let documented = text.split("```sql").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert_eq!(words(documented), words(&setup!().replace("ROLE", "server")));
    assert!(NOT_SET_UP.next.ends_with(setup!()));
}

#[test]
fn a_lost_commit_is_told_for_a_week_at_most() {
    let held = |hold: &str| check::<PostgresCanary>(json!({"postgres": "target", "holdFor": hold}));
    assert_eq!(Check::validate(&held("0s")), []);
    assert_eq!(Check::validate(&held("7d")), []);
    assert_eq!(Check::validate(&held("8d")).len(), 1);
    assert_eq!(check::<PostgresCanary>(json!({"postgres": "target"})).hold_for, Duration::from_mins(5));
}
