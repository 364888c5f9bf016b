//! Answers about tables and their rows that are none.

use chrono::DateTime;
use serde_json::json;

use super::*;
use crate::Fact;
use crate::testing::check;
use crate::testing::postgres::{Harm, Script, none_passes};

fn server(is: Script, first: &'static str) -> Script {
    let listed = vec![
        ("name", "public.t"),
        ("root", "NULL"),
        ("layout", "NULL"),
        ("first", "NULL"),
        ("whole", "f"),
        ("pages", "1"),
        ("schema", "public"),
        ("file", "1"),
        ("heap", "t"),
        ("readable", "t"),
        ("unlogged", "f"),
        ("columns", r#"[["id","plain"],["word","text"]]"#),
        ("key", r#"["id"]"#),
    ];
    is.and(&[
        (first, listed, 1),
        ("hashtextextended(ROW", vec![("rows", "3"), ("hash", "-42")], 1),
        ("pg_largeobject_metadata", vec![("rows", "0"), ("last", "NULL"), ("hash", "0")], 1),
    ])
}

fn mark() -> crate::Facts {
    let side = |system: u8| json!({"identity": format!("{system}/16384"), "nextXid": 790, "at": "2026-11-04T12:00:20Z", "countedSince": "then", "tables": {"named": {}}});
    [("postgres-mark".to_owned(), Fact { at: DateTime::UNIX_EPOCH, value: json!({"old": side(1), "new": side(2)}) })].into()
}

#[tokio::test]
async fn an_answer_that_is_none_proves_no_row() {
    let rows: PostgresRows = check(json!({"old": "old", "new": "new", "loadPercent": 100, "rest": "0s"}));
    let [old, new] = Script::two();
    let extent = vec![("tables", "1"), ("pages", "1"), ("foreign_tables", "0"), ("views", "0"), ("bytes", "8192")];
    let old = old.and(&[("AS foreign_tables", extent, 1)]);
    let sides = [server(old, "\"C\" > '' ORDER"), server(new, "\"C\" > '' AND")];
    none_passes(&rows, sides, mark(), |words, harm| match (words, harm) {
        // Of what belongs together, of a sample, and where the rows lie: nothing that this comparison goes by.
        (words, Harm::Says("layout" | "first" | "schema" | "key" | "file", _) | Harm::Without("layout" | "first")) => {
            words.starts_with("\"C\"")
        }
        _ => false,
    })
    .await;
}
