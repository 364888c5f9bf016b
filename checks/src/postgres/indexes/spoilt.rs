//! Answers about indexes and tables that are none.

use serde_json::json;

use super::*;
use crate::testing::check;
use crate::testing::postgres::{Harm, Script, none_passes};

const FUNCTIONS: [(&str, &str); 6] =
    [("schema", "public"), ("version", "1.3"), ("available", "1"), ("usage", "t"), ("btree", "t"), ("heap", "t")];

fn relation(oid: &'static str) -> Vec<(&'static str, &'static str)> {
    vec![("oid", oid), ("name", "public.t"), ("bytes", "8192"), ("blocks", "1")]
}

fn none(columns: &[&'static str]) -> Vec<(&'static str, &'static str)> {
    columns.iter().map(|name| (*name, "NULL")).collect()
}

fn server() -> Script {
    Script::of("1").and(&[
        ("pg_available_extensions", FUNCTIONS.to_vec(), 1),
        ("AS relations", vec![("relations", "1")], 1),
        ("i.indislive) AND c.oid > 0::oid", relation("100"), 1),
        ("w.amname = 'heap' AND c.oid > 0::oid", relation("200"), 1),
        ("bt_index_check(i.indexrelid", vec![("oid", "100"), ("bt_index_check", "")], 1),
        ("verify_heapam(t.oid", vec![("oid", "200"), ("blkno", "NULL"), ("offnum", "NULL"), ("msg", "NULL")], 1),
        ("datcollversion", none(&["kind", "name", "recorded", "actual", "found"]), 1),
        ("pg_stat_progress_create_index", none(&["name", "relation", "valid", "ready", "building"]), 1),
        ("AS never", vec![("tables", "1"), ("indexes", "1"), ("never", "0"), ("names", "NULL")], 1),
    ])
}

#[tokio::test]
async fn an_answer_that_is_none_proves_no_index() {
    let indexes: PostgresIndexes = check(json!({"postgres": "new", "amcheck": "required", "loadPercent": 100, "rest": "0s"}));
    let idle = Script(Vec::new());
    none_passes(&indexes, [idle, server()], crate::Facts::default(), |words, harm| match (words, harm) {
        // Words for people, and names that the next question goes by.
        (_, Harm::Says("version" | "available" | "schema" | "name" | "names" | "bt_index_check", _)) => words != "datcollversion",
        (_, Harm::Without("version" | "available" | "bt_index_check")) => true,
        _ => false,
    })
    .await;
}
