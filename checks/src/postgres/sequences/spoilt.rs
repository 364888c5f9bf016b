//! Answers about sequences and columns that are none.

use serde_json::json;

use super::*;
use crate::testing::check;
use crate::testing::postgres::{Harm, Script, none_passes};

/// A sequence as the catalog has it.
const SEQUENCE: [(&str, &str); 7] = [
    ("name", "\"public\".\"t_id_seq\""),
    ("schema", "public"),
    ("increment", "1"),
    ("least", "1"),
    ("most", "9223372036854775807"),
    ("cycles", "f"),
    ("readable", "t"),
];

/// The column that draws from it.
const COLUMN: [(&str, &str); 11] = [
    ("seq", "10"),
    ("tab", "11"),
    ("col", "1"),
    ("plain", "t"),
    ("relation", "\"public\".\"t\""),
    ("home", "public"),
    ("attribute", "id"),
    ("kind", "bigint"),
    ("hidden", "f"),
    ("legible", "t"),
    ("indexed", "t"),
];

/// What both sides are asked, and what the new one is asked besides.
fn sides() -> [Script; 2] {
    let stands = vec![("last_value", "7"), ("is_called", "t")];
    let both =
        [("> convert_to('', 'UTF8')", SEQUENCE.to_vec(), 1), ("SELECT 0 AS n", [vec![("n", "0")], stands.clone()].concat(), 1)];
    let [old, new] = Script::two().map(|side| side.and(&both));
    let more = [
        ("count(*) AS columns", vec![("columns", "1")], 1),
        ("(0::oid, 0::oid, 0)", [COLUMN.as_slice(), &SEQUENCE].concat(), 1),
        ("AS extreme", vec![("extreme", "7")], 1),
        ("SELECT last_value, is_called FROM", stands, 1),
    ];
    [old.and(&[("AS sequences FROM", vec![("sequences", "1")], 1)]), new.and(&more)]
}

#[tokio::test]
async fn an_answer_that_is_none_proves_no_sequence() {
    let sequences: PostgresSequences = check(json!({"old": "old", "new": "new", "loadPercent": 100, "rest": "0s"}));
    none_passes(&sequences, sides(), crate::Facts::default(), |words, harm| match (words, harm) {
        // Names that the next question goes by, or that a GRANT would name.
        // Nor is a column of another type compared: it is named; and one without a value has no extreme.
        (_, Harm::Says("schema" | "home" | "relation" | "attribute", _) | Harm::Says("kind", "<b>" | ""))
        | ("(0::oid, 0::oid, 0)", Harm::Says("name", _))
        | ("AS extreme", Harm::Says("extreme", "NULL")) => true,
        _ => false,
    })
    .await;
}
