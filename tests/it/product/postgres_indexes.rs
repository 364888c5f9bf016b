//! `postgresIndexes` against a real server: honest moves pass, and what a move can do to collations, indexes and tables is caught and named.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use checks::Outcome;
use serde_json::{Value, json};
use tests::{Major, Postgres, World};

use super::postgres_canary::sql;
use super::postgres_sequences::Proof;
use super::postgres_versions::{Moved, Way};

const TABLES: &str = "SET ROLE server; CREATE TABLE places (id serial PRIMARY KEY, name text NOT NULL, kind text); \
     INSERT INTO places (name, kind) SELECT 'place ' || n, 'k' FROM generate_series(1, 5000) n; \
     CREATE INDEX places_name ON places (name); CREATE INDEX places_hash ON places USING hash (kind); \
     CREATE MATERIALIZED VIEW busy AS SELECT name FROM places; RESET ROLE";
const GRANTS: &str = "CREATE EXTENSION IF NOT EXISTS amcheck; GRANT EXECUTE ON FUNCTION bt_index_check(regclass, boolean) TO phasegate; \
     GRANT EXECUTE ON FUNCTION verify_heapam(regclass, boolean, boolean, text, bigint, bigint) TO phasegate";

fn proof(world: &World, postgres: &Postgres, more: Value) -> Proof {
    let mut block = json!({"postgres": "new"});
    block.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Proof::of(world, "postgresIndexes", block, [("new", &postgres.observer_dsn())])
}

/// A server with tables, and whatever an observer needs.
async fn server(major: Major) -> (World, Postgres) {
    let world = World::new().unwrap();
    let postgres = Postgres::start_version(&world, major).await.unwrap();
    postgres.grant("observer").await.unwrap();
    sql(&postgres, TABLES).await;
    sql(&postgres, GRANTS).await;
    sql(&postgres, "ANALYZE").await;
    (world, postgres)
}

async fn honest(old: Major, new: Major, way: Way) {
    let moved = Moved::start(old, new, way).await;
    sql(&moved.new, GRANTS).await;
    let mut proof = proof(&moved.world, &moved.new, json!({"amcheck": "required"}));
    let parts = proof.passes().await;
    assert_eq!(parts.keys().map(String::as_str).collect::<Vec<_>>(), ["btree", "collations", "heap", "indexes"]);
    assert_eq!(proof.control().await, "invalid_index");
}

#[tokio::test]
async fn honest_moves_between_versions_pass() {
    honest(Major::Fifteen, Major::Fifteen, Way::DumpRestore).await;
    honest(Major::Fifteen, Major::Eighteen, Way::DumpRestore).await;
    honest(Major::Seventeen, Major::Seventeen, Way::DumpRestore).await;
    honest(Major::Fifteen, Major::Fifteen, Way::VolumeCopy).await;
}

#[tokio::test]
async fn an_index_that_could_not_be_built_is_caught_and_rebuilding_it_opens() {
    let (world, postgres) = server(Major::Seventeen).await;
    let mut proof = proof(&world, &postgres, json!({}));
    proof.passes().await;
    sql(&postgres, "INSERT INTO places (name) VALUES ('twice'), ('twice')").await;
    let session = postgres.connect_as_superuser().await.unwrap();
    session.batch_execute("CREATE UNIQUE INDEX CONCURRENTLY places_once ON places (name)").await.unwrap_err();
    proof.says(&[("indexes", "invalid_index", "public.places_once on public.places is not valid")]).await;
    sql(&postgres, "DELETE FROM places WHERE name = 'twice'").await;
    sql(&postgres, "REINDEX INDEX CONCURRENTLY places_once").await;
    proof.passes().await;
    // One that was interrupted when it was ready, and one that somebody is dropping.
    for (flag, words) in [("indisvalid", "not valid"), ("indisready", "not ready"), ("indislive", "not in use")] {
        sql(&postgres, &format!("UPDATE pg_index SET {flag} = false WHERE indexrelid = 'places_hash'::regclass")).await;
        proof.says(&[("indexes", "invalid_index", &format!("public.places_hash on public.places is {words}"))]).await;
        sql(&postgres, &format!("UPDATE pg_index SET {flag} = true WHERE indexrelid = 'places_hash'::regclass")).await;
    }
    proof.passes().await;
}

/// Another system library is simulated by what the catalog has recorded of the one that the indexes were built with.
#[tokio::test]
async fn another_version_of_a_collation_is_caught() {
    let (world, postgres) = server(Major::Fifteen).await;
    let mut proof = proof(&world, &postgres, json!({}));
    sql(&postgres, "CREATE COLLATION plain (provider = libc, locale = 'C')").await;
    proof.passes().await;
    sql(&postgres, "UPDATE pg_database SET datcollversion = '2.36' WHERE datname = 'homelab'").await;
    proof.says(&[("collations", "collation_changed", "database homelab was built by version 2.36, the system has")]).await;
    sql(&postgres, "UPDATE pg_database SET datcollversion = NULL WHERE datname = 'homelab'").await;
    proof.passes().await;
    sql(&postgres, "CREATE COLLATION english (provider = icu, locale = 'en'); CREATE INDEX ON places (name COLLATE english)")
        .await;
    proof.passes().await;
    sql(&postgres, "UPDATE pg_collation SET collversion = '1.1' WHERE collname = 'english'").await;
    proof
        .says(&[("collations", "collation_changed", "collation public.english was built by version 1.1, the system has 1")])
        .await;
    sql(&postgres, "UPDATE pg_collation SET collversion = NULL WHERE collname = 'english'").await;
    proof.says(&[("collations", "collation_not_recorded", "collation public.english: the system has 1")]).await;
    // What is not recorded can not be refreshed.
    let session = postgres.connect_as_superuser().await.unwrap();
    session.batch_execute("ALTER COLLATION english REFRESH VERSION").await.unwrap_err();
    let record = "UPDATE pg_collation SET collversion = pg_collation_actual_version(oid) WHERE collname = 'english'";
    session.batch_execute(record).await.unwrap();
    proof.passes().await;
}

/// As after another glibc: the index is not sorted as the catalog says. That is simulated by what the catalog says: where the build has ICU,
/// by a language's order in place of the order of bytes, else by the opposite direction.
#[tokio::test]
async fn an_index_with_another_order_is_named_by_amcheck() {
    for major in Major::ALL {
        let (world, postgres) = server(major).await;
        sql(&postgres, "CREATE TABLE words (w text COLLATE \"C\"); INSERT INTO words VALUES ('a'), ('B'), ('c'), ('D')").await;
        sql(&postgres, "CREATE INDEX words_w ON words (w); GRANT SELECT ON words TO phasegate; ANALYZE words").await;
        let mut proof = proof(&world, &postgres, json!({}));
        proof.passes().await;
        let session = postgres.connect_as_superuser().await.unwrap();
        let icu = session.batch_execute("CREATE COLLATION other (provider = icu, locale = 'en')").await.is_ok();
        assert!(icu || major != Major::Fifteen);
        let other = if icu {
            "indcollation = (SELECT oid::text::oidvector FROM pg_collation WHERE collname = 'other')"
        } else {
            "indoption = '1'"
        };
        session.batch_execute(&format!("UPDATE pg_index SET {other} WHERE indexrelid = 'words_w'::regclass")).await.unwrap();
        proof.says(&[("btree", "corrupt_index", "public.words_w: ")]).await;
    }
}

#[tokio::test]
async fn damaged_pages_are_named() {
    let (world, postgres) = server(Major::Seventeen).await;
    let mut proof = proof(&world, &postgres, json!({}));
    proof.passes().await;
    damage(&postgres, "places_name", 2).await;
    proof.says(&[("btree", "corrupt_index", "public.places_name: ")]).await;
    sql(&postgres, "REINDEX INDEX places_name").await;
    proof.passes().await;
    // A row that its index does not have: the index is put back as it was before.
    let session = postgres.connect_as_superuser().await.unwrap();
    let before = file(&session, &postgres, "places_name").await;
    session.batch_execute("CHECKPOINT").await.unwrap();
    let kept = std::fs::read(&before).unwrap();
    session.batch_execute("INSERT INTO places (name) VALUES ('place 4000x'); CHECKPOINT").await.unwrap();
    drop(session);
    postgres.stop().await.unwrap();
    std::fs::write(&before, kept).unwrap();
    postgres.start_again().await.unwrap();
    proof.says(&[("btree", "corrupt_index", "public.places_name: ")]).await;
    sql(&postgres, "REINDEX INDEX places_name").await;
    damage(&postgres, "places", 3).await;
    let parts = proof.parts().await;
    let heap = &parts["heap"];
    assert_eq!(heap.reason().unwrap().as_str(), "corrupt_table", "{parts:#?}");
    assert!(heap.evidence().as_str().contains("public.places"), "{heap:?}");
}

async fn file(session: &tests::Session, postgres: &Postgres, name: &str) -> std::path::PathBuf {
    let path: String = session.query_one("SELECT pg_relation_filepath($1::text::regclass)", &[&name]).await.unwrap().get(0);
    postgres.data().join(path)
}

/// Overwrites what rows or entries a page has, on the disk of a stopped server, and leaves its head as it was.
async fn damage(postgres: &Postgres, name: &str, page: u64) {
    let session = postgres.connect_as_superuser().await.unwrap();
    session.batch_execute("CHECKPOINT").await.unwrap();
    let path = file(&session, postgres, name).await;
    drop(session);
    postgres.stop().await.unwrap();
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&[0x5a; 4096], page * 8192 + 4000).unwrap();
    postgres.start_again().await.unwrap();
}

#[tokio::test]
async fn what_is_not_granted_is_said_with_the_statement_that_grants_it() {
    let world = World::new().unwrap();
    let postgres = Postgres::start_version(&world, Major::Eighteen).await.unwrap();
    postgres.grant("observer").await.unwrap();
    let (mut lenient, mut strict) =
        (proof(&world, &postgres, json!({})), proof(&world, &postgres, json!({"amcheck": "required"})));
    let parts = lenient.parts().await;
    assert_eq!(parts["indexes"].reason().unwrap().as_str(), "nothing_restored", "{parts:?}");
    sql(&postgres, TABLES).await;
    let create = "CREATE EXTENSION amcheck; GRANT EXECUTE ON FUNCTION bt_index_check(regclass, boolean) TO \"phasegate\"; \
         GRANT EXECUTE ON FUNCTION verify_heapam(regclass, boolean, boolean, text, bigint, bigint) TO \"phasegate\";";
    let parts = lenient.passes().await;
    assert!(
        parts["indexes"].evidence().as_str().contains(&format!("not looked into: amcheck is not installed; run {create}")),
        "{parts:?}"
    );
    assert!(!parts.contains_key("btree") && !parts.contains_key("heap"), "{parts:?}");
    strict.says(&[("btree", "amcheck_missing", create), ("heap", "amcheck_missing", create)]).await;
    sql(&postgres, "CREATE SCHEMA tools; CREATE EXTENSION amcheck SCHEMA tools").await;
    sql(&postgres, "GRANT EXECUTE ON FUNCTION tools.bt_index_check(regclass, boolean) TO phasegate").await;
    let grants =
        "run GRANT USAGE ON SCHEMA tools TO \"phasegate\"; GRANT EXECUTE ON FUNCTION tools.bt_index_check(regclass, boolean) TO";
    strict.says(&[("btree", "amcheck_missing", grants), ("heap", "amcheck_missing", grants)]).await;
    sql(&postgres, "GRANT USAGE ON SCHEMA tools TO phasegate").await;
    let heap =
        "run GRANT EXECUTE ON FUNCTION tools.verify_heapam(regclass, boolean, boolean, text, bigint, bigint) TO \"phasegate\";";
    strict.says(&[("heap", "amcheck_missing", heap)]).await;
    sql(&postgres, heap.strip_prefix("run ").unwrap()).await;
    strict.passes().await;
}

#[tokio::test]
async fn never_analysed_warns_and_a_small_share_goes_on_over_many_runs() {
    let (world, postgres) = server(Major::Fifteen).await;
    sql(&postgres, "ALTER SYSTEM SET autovacuum = off").await;
    sql(&postgres, "SELECT pg_reload_conf()").await;
    sql(&postgres, "CREATE TABLE fresh AS SELECT generate_series(1, 100000) AS n; CREATE INDEX fresh_n ON fresh (n)").await;
    sql(&postgres, "GRANT SELECT ON fresh TO phasegate").await;
    let mut proof = proof(&world, &postgres, json!({"loadPercent": 1, "exactUpToMb": 0}));
    proof.cx.timeout = std::time::Duration::from_secs(2);
    let parts = proof.passes().await;
    let words = parts["indexes"].evidence().as_str();
    assert!(words.contains("warning: 1 tables have rows and were never analysed: {public.fresh}"), "{words}");
    assert!(parts["btree"].evidence().as_str().contains("by their structure alone"), "{parts:?}");
    assert!(proof.slices > 2, "{}", proof.slices);
    sql(&postgres, "ANALYZE fresh").await;
    let parts = proof.passes().await;
    assert!(!parts["indexes"].evidence().as_str().contains("warning"), "{parts:?}");
    // Somebody who holds a table is waited for, and then told.
    let holder = postgres.connect_as_superuser().await.unwrap();
    holder.batch_execute("BEGIN; LOCK TABLE fresh").await.unwrap();
    proof.cx.timeout = std::time::Duration::from_secs(20);
    let parts = loop {
        match proof.step().await {
            checks::Step::More(_) => proof.cx.now += chrono::TimeDelta::minutes(1),
            checks::Step::Done(parts) => break parts,
        }
    };
    assert!(parts.values().all(|outcome| matches!(outcome, Outcome::Unknown { .. })), "{parts:?}");
}
