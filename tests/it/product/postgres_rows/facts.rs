//! What a comparison is bound to: a mark, a manifest, and two servers.

use super::*;

const SCHEMA: &str = "CREATE TABLE small (id int); INSERT INTO small VALUES (1), (2)";

#[tokio::test]
async fn without_its_facts_nothing_is_compared() {
    let moved = Move::of(SCHEMA).await;
    let manifest = moved.comes_over().await;
    let mut look = moved.look(Some(&manifest), json!({})).await;
    look.tables("pass", &["1 tables with 2 rows"]).await;
    assert_eq!(reason(&look.check.control(&look.cx, None).await), "rows_differ");
    let bound: Vec<_> = look.identities.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(bound[0], ("fact postgres-manifest", "postgres-manifest"));
    assert_eq!(bound[1], ("fact postgres-mark", "postgres-mark"));
    assert_eq!((bound[2].0, bound[2].1), ("new", moved.mark().await.new.identity.as_str()));

    let facts = Arc::clone(&look.cx.facts);
    let mut of_another = manifest.clone();
    of_another.identity = "1/1".to_owned();
    look.knows("postgres-manifest.2", serde_json::to_value(&of_another).unwrap());
    look.tables("other_manifest", &["the manifest was taken of 1/1"]).await;
    look.cx.facts = Arc::clone(&facts);
    let mut other = moved.mark().await;
    other.new.identity = "1/1".to_owned();
    look.knows("postgres-mark.2", serde_json::to_value(&other).unwrap());
    look.tables("other_mark", &["the mark was taken of 1/1"]).await;
    look.cx.facts = Arc::default();
    look.tables("fact_missing", &["no fact `postgres-mark` is recorded"]).await;
}

/// After a Pass it rests, but not past another edition of what it compared with.
#[tokio::test]
async fn a_new_manifest_ends_the_rest() {
    let moved = Move::of(SCHEMA).await;
    let manifest = moved.comes_over().await;
    let mut look = moved.look(Some(&manifest), json!({})).await;
    look.parts().await;
    let Step::More(progress) = look.run().await else { panic!("it does not rest") };
    assert!(progress.note.as_str().contains("the next look begins at"), "{progress:?}");
    let mut newer = manifest.clone();
    newer.tables.get_mut("public.small").unwrap().sum.rows = 3;
    look.knows("postgres-manifest.2", serde_json::to_value(&newer).unwrap());
    let parts = look.parts().await;
    assert_eq!(reason(&parts[&PartId::new("tables")]), "rows_differ");
    assert_eq!(look.identities["fact postgres-manifest"], "postgres-manifest.2");
}

#[tokio::test]
async fn a_server_is_not_compared_with_itself() {
    let moved = Move::of(SCHEMA).await;
    let mut look = moved.look(None, json!({})).await;
    let dsn = moved.old.url("observer", "observer", "homelab");
    look.cx = Context { facts: Arc::clone(&look.cx.facts), ..context(&moved.world, [("old", &dsn), ("new", &dsn)]) };
    look.tables("same_server", &["a lock that was taken at"]).await;
}

#[tokio::test]
async fn a_table_of_the_manifest_that_is_gone_is_missed() {
    let moved = Move::of(SCHEMA).await;
    let manifest = moved.comes_over().await;
    sql(&moved.old, "CREATE TABLE other (id int); DROP TABLE small; GRANT SELECT ON other TO observer").await;
    sql(&moved.new, "CREATE TABLE other (id int); GRANT SELECT ON other TO observer").await;
    let mut look = moved.look(Some(&manifest), json!({})).await;
    look.tables("rows_differ", &["1 tables of the manifest are not on the old side any more"]).await;
}
