//! `postgresCatalog` after real dumps and restores of a database with something of everything: nothing is said of what a dump, or another
//! major version, writes differently; and each single change is found, named, and the only thing that is.

mod changes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use checks::{Context, DynCheck, MAX_MEMORY, Outcome, Step};
use chrono::TimeDelta;
use serde_json::{Value, json};
use tests::{Fault, FaultProxy, Major, Postgres, World};
use tokio::time::Instant;

use super::postgres_canary::{context, sql};
use super::postgres_versions::by_way_of;
use changes::{NEWER, OBJECTS, OF_NEWER, OUTSIDE};

const ROLES: &str = include_str!("postgres_catalog/roles.sql");
const RICH: &str = include_str!("postgres_catalog/rich.sql");

/// A statement of it needs what one before has committed.
async fn make(postgres: &Postgres) {
    for statements in RICH.split("\n-- A value") {
        sql(postgres, &format!("--{statements}")).await;
    }
}

/// Two servers after an honest move.
struct Moved {
    world: World,
    old: Postgres,
    new: Postgres,
}

impl Moved {
    async fn start(old: Major, new: Major) -> Self {
        let world = World::new().unwrap();
        let (old, new) = tokio::try_join!(Postgres::start_version(&world, old), Postgres::start_version(&world, new)).unwrap();
        for postgres in [&old, &new] {
            postgres.grant("observer").await.unwrap();
            sql(postgres, ROLES).await;
        }
        make(&old).await;
        new.restore_from(&old).await.unwrap();
        Self { world, old, new }
    }

    fn look(&self, more: Value) -> Look {
        self.look_as(more, &self.old.observer_dsn(), &self.new.observer_dsn())
    }

    fn look_as(&self, more: Value, old: &str, new: &str) -> Look {
        let mut block = json!({"old": "old", "new": "new", "rest": "0s"});
        block.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let check = (checks::registry().get("postgresCatalog").unwrap().parse)(block).unwrap();
        Look { check, cx: context(&self.world, [("old", old), ("new", new)]), memory: None, runs: 0 }
    }
}

/// The check as the verifier holds it.
struct Look {
    check: Arc<dyn DynCheck>,
    cx: Context,
    memory: Option<Vec<u8>>,
    runs: u32,
}

impl Look {
    /// One comparison to its end.
    async fn parts(&mut self) -> BTreeMap<String, Outcome> {
        self.runs = 0;
        loop {
            self.cx.now += TimeDelta::seconds(5);
            self.runs += 1;
            let report = self.check.run(&self.cx, self.memory.as_deref()).await.unwrap();
            assert!(report.memory.len() < MAX_MEMORY, "{} bytes of memory", report.memory.len());
            self.memory = Some(report.memory);
            match report.step {
                Step::Done(parts) => return parts.into_iter().map(|(part, outcome)| (part.to_string(), outcome)).collect(),
                Step::More(progress) => println!("{} of {}: {}", progress.done, progress.total, progress.note),
            }
        }
    }

    /// These parts say this, and all others pass.
    async fn shows(&mut self, what: &str, shows: &[(&str, &str, &str)]) {
        let parts = self.parts().await;
        for (part, outcome) in &parts {
            let evidence = outcome.evidence().as_str();
            assert!(!evidence.contains("hunter"), "{what}: {part} tells a secret: {evidence}");
            let reason = outcome.reason().map_or("pass", checks::Reason::as_str);
            let (expected, words) =
                shows.iter().find(|(name, ..)| name == part).map_or(("pass", ""), |(_, reason, words)| (*reason, *words));
            assert_eq!(reason, expected, "{what}: {part}: {evidence}");
            assert!(evidence.contains(words), "{what}: {part}: {evidence}");
        }
        assert!(shows.iter().all(|(part, ..)| parts.contains_key(*part)), "{what}: {parts:?}");
    }
}

async fn is_the_same(old: Major, new: Major) {
    let moved = Moved::start(old, new).await;
    let mut look = moved.look(json!({}));
    let parts = look.parts().await;
    assert_eq!(parts.len(), 27);
    for (part, outcome) in &parts {
        println!("{part}: {}", outcome.evidence());
        assert!(matches!(outcome, Outcome::Pass { .. }), "{old:?} to {new:?}: {part}: {outcome:?}");
        // Nothing is compared by finding nothing.
        assert!(outcome.evidence().as_str().contains("are the same"), "{part}: {outcome:?}");
    }
    let control = look.check.control(&look.cx, None).await;
    assert_eq!(control.reason().map(checks::Reason::as_str), Some("missing"), "{control:?}");
}

#[tokio::test]
async fn from_15_to_15_everything_is_the_same() {
    is_the_same(Major::Fifteen, Major::Fifteen).await;
}

#[tokio::test]
async fn from_15_to_17_everything_is_the_same() {
    is_the_same(Major::Fifteen, Major::Seventeen).await;
}

#[tokio::test]
async fn from_15_to_18_everything_is_the_same() {
    is_the_same(Major::Fifteen, Major::Eighteen).await;
}

#[tokio::test]
async fn from_17_to_18_everything_is_the_same() {
    is_the_same(Major::Seventeen, Major::Eighteen).await;
}

/// One after the other on the new side, each taken back.
async fn each_is_found(moved: &Moved, changes: impl Iterator<Item = &changes::Change>) -> usize {
    let (mut look, mut found) = (moved.look(json!({})), 0);
    look.shows("before", &[]).await;
    for change in changes {
        sql(&moved.new, change.plant).await;
        look.shows(change.plant, change.shows).await;
        sql(&moved.new, change.back).await;
        found += 1;
    }
    look.shows("after", &[]).await;
    found
}

#[tokio::test]
async fn each_change_is_found_and_named_and_nothing_else_is() {
    let moved = Moved::start(Major::Fifteen, Major::Eighteen).await;
    let found = each_is_found(&moved, OBJECTS.iter().chain(OUTSIDE)).await;
    assert!(found >= 100, "{found}");
}

#[tokio::test]
async fn what_only_later_versions_know_is_compared_where_both_know_it() {
    let moved = Moved::start(Major::Eighteen, Major::Eighteen).await;
    for postgres in [&moved.old, &moved.new] {
        sql(postgres, NEWER).await;
    }
    assert_eq!(each_is_found(&moved, OF_NEWER.iter()).await, 6);
}

#[tokio::test]
async fn a_copy_of_the_volume_is_the_same() {
    let world = World::new().unwrap();
    let old = Postgres::start(&world).await.unwrap();
    old.grant("observer").await.unwrap();
    sql(&old, ROLES).await;
    make(&old).await;
    old.stop().await.unwrap();
    let new = Postgres::copy_of(&world, &old).await.unwrap();
    old.start_again().await.unwrap();
    new.grant("canary").await.unwrap();
    Moved { world, old, new }.look(json!({})).shows("a copy", &[]).await;
}

#[tokio::test]
async fn a_server_that_can_not_be_reached_is_waited_for_and_fails_after_that() {
    let moved = Moved::start(Major::Fifteen, Major::Fifteen).await;
    let proxy = FaultProxy::start(format!("127.0.0.1:{}", moved.new.port())).unwrap();
    let mut look = moved.look_as(json!({}), &moved.old.observer_dsn(), &by_way_of(&proxy, &moved.new.observer_dsn(), &moved.new));
    look.shows("through the proxy", &[]).await;
    proxy.set(Fault::Reset).await.unwrap();
    let parts = look.parts().await;
    assert!(parts.values().all(|outcome| outcome.reason().unwrap().as_str() == "reset"), "{parts:?}");
    assert!(look.runs >= 24, "it is waited for two minutes, not for {} looks", look.runs);
    proxy.set(Fault::Delay(Duration::from_millis(20))).await.unwrap();
    look.shows("slow", &[]).await;
    proxy.clear().await.unwrap();
    moved.new.stop().await.unwrap();
    let parts = look.parts().await;
    assert!(parts.values().all(|outcome| outcome.label() == "fail"), "{parts:?}");
    moved.new.start_again().await.unwrap();
    look.shows("there again", &[]).await;
}

#[tokio::test]
async fn what_an_index_build_left_behind_and_what_the_server_is_set_to_are_found() {
    let moved = Moved::start(Major::Fifteen, Major::Fifteen).await;
    let mut look = moved.look(json!({}));
    sql(&moved.new, "INSERT INTO app.doubled (a) VALUES (1), (1)").await;
    let superuser = moved.new.connect_as_superuser().await.unwrap();
    superuser.batch_execute("CREATE UNIQUE INDEX CONCURRENTLY broken ON app.doubled (a)").await.unwrap_err();
    look.shows("a build that failed", &[("indexes", "extra", "extra, and that matters: 1: index app.broken")]).await;
    sql(&moved.new, "DROP INDEX app.broken").await;
    for (setting, value, words) in [
        ("bytea_output", "escape", "server setting bytea_output: hex → escape"),
        ("DateStyle", "SQL, DMY", "server setting DateStyle: "),
        ("default_transaction_isolation", "serializable", "read committed → serializable"),
    ] {
        moved.new.set(setting, value).await.unwrap();
        look.shows(setting, &[("serverSettings", "setting_differs", words)]).await;
        moved.new.reset(setting).await.unwrap();
    }
    // The old server's fence is no difference, and neither is what the role may that puts it up.
    moved.old.grant("operator").await.unwrap();
    moved.old.set("default_transaction_read_only", "on").await.unwrap();
    look.shows("fenced", &[]).await;
}

#[tokio::test]
async fn what_is_more_on_the_new_side_is_named_and_what_is_meant_to_differ_is_left_out() {
    let moved = Moved::start(Major::Fifteen, Major::Seventeen).await;
    let extra = "CREATE ROLE visitor LOGIN; CREATE TABLE app.more (id integer); CREATE INDEX more_id ON app.more (id); CREATE SCHEMA later; \
         CREATE VIEW later.all_of_it AS SELECT 1 AS one; CREATE FUNCTION later.f() RETURNS integer LANGUAGE sql AS 'SELECT 1'; \
         SELECT lo_create(0); CREATE SCHEMA phasegate; CREATE TABLE phasegate.canary (slot text PRIMARY KEY); \
         COMMENT ON TABLE phasegate.canary IS 'ours'; ALTER TABLE app.doubled ADD more text";
    sql(&moved.new, extra).await;
    moved.new.grant("operator").await.unwrap();
    let parts = moved.look(json!({"except": ["privileges of * on *"]})).parts().await;
    for (part, words) in [
        ("roles", "extra 1: role visitor"),
        ("relations", "extra 2: table app.more, view later.all_of_it"),
        ("columns", "extra 3: column app.doubled.more, column app.more.id, column later.all_of_it.one"),
        ("indexes", "extra 1: index app.more_id"),
        ("largeObjects", "no failure: 1: large objects of postgres: number 2 → 3"),
        ("privileges", "no lists of privileges on the old side; left out by `except`: "),
        ("constraints", "are the same"),
    ] {
        let outcome = &parts[part];
        assert!(matches!(outcome, Outcome::Pass { .. }), "{part}: {outcome:?}");
        assert!(outcome.evidence().as_str().contains(words), "{part}: {outcome:?}");
    }
    assert!(parts.values().all(|outcome| matches!(outcome, Outcome::Pass { .. })), "{parts:?}");

    sql(&moved.new, "ALTER TABLE app.people ALTER height SET DEFAULT 3; ALTER TABLE public.plain ALTER n SET DEFAULT 3").await;
    let except = json!({"except": ["column app.people.*", "column * 100%", "column app_people_x"], "parts": ["columns"]});
    let parts = moved.look(except).parts().await;
    assert_eq!(parts.len(), 1);
    let evidence = parts["columns"].evidence().as_str();
    assert!(evidence.contains("changed 1: column public.plain.n: default 0 → 3; extra"), "{evidence}");
    assert!(evidence.contains("left out by `except`: 24"), "{evidence}");
}

#[tokio::test]
async fn what_the_verifiers_role_may_not_see_or_covers_is_unknown_with_what_opens_it() {
    let moved = Moved::start(Major::Fifteen, Major::Fifteen).await;
    let mut look = moved.look(json!({}));
    let hide = "REVOKE SELECT ON pg_policy FROM PUBLIC; REVOKE EXECUTE ON FUNCTION pg_get_ruledef(oid) FROM PUBLIC";
    sql(&moved.new, hide).await;
    let parts = look.parts().await;
    for (part, words) in [
        ("policies", "run GRANT SELECT ON pg_catalog.pg_policy TO \"phasegate\";"),
        ("rules", "run GRANT EXECUTE ON FUNCTION pg_catalog.pg_get_ruledef(oid) TO \"phasegate\";"),
    ] {
        let outcome = &parts[part];
        assert_eq!((outcome.label(), outcome.reason().unwrap().as_str()), ("unknown", "no_permission"), "{outcome:?}");
        let (_, grant) = outcome.evidence().as_str().split_once("; run ").unwrap();
        assert!(outcome.evidence().as_str().contains(words), "{outcome:?}");
        sql(&moved.new, grant).await;
    }
    sql(&moved.new, "ALTER ROLE phasegate SET datestyle = 'SQL, DMY'").await;
    let words = "DateStyle is set by the login itself; run ALTER ROLE \"phasegate\" RESET DateStyle;";
    look.shows("covered", &[("serverSettings", "hidden_setting", words)]).await;
    sql(&moved.new, "ALTER ROLE phasegate RESET datestyle").await;
    look.shows("granted", &[]).await;
}

#[tokio::test]
async fn a_login_that_is_the_applications_or_the_superusers_is_compared_like_any_other() {
    let moved = Moved::start(Major::Fifteen, Major::Fifteen).await;
    let (old, new) = (moved.old.superuser_dsn(), moved.new.superuser_dsn());
    moved.look_as(json!({}), &old, &new).shows("superuser", &[]).await;
    // On the old side it owns nothing that could be told from an observer's; on the new side it may write.
    sql(&moved.new, "ALTER ROLE server CONNECTION LIMIT 3").await;
    let words = "role server: connection limit none → 3";
    moved.look_as(json!({}), &moved.old.dsn(), &moved.new.dsn()).shows("server", &[("roles", "role_differs", words)]).await;
}

#[tokio::test]
async fn a_restore_that_brought_nothing_and_one_server_for_two_fail() {
    let world = World::new().unwrap();
    let (old, new) = tokio::try_join!(Postgres::start(&world), Postgres::start(&world)).unwrap();
    for postgres in [&old, &new] {
        postgres.grant("observer").await.unwrap();
        sql(postgres, ROLES).await;
    }
    let moved = Moved { world, old, new };
    let parts = moved.look(json!({})).parts().await;
    assert_eq!(parts["relations"].reason().unwrap().as_str(), "nothing_to_compare", "{parts:?}");
    make(&moved.old).await;
    let parts = moved.look(json!({})).parts().await;
    let failed: Vec<&str> =
        parts.iter().filter(|(_, outcome)| outcome.label() == "fail").map(|(part, _)| part.as_str()).collect();
    assert_eq!(failed.len(), 23, "{failed:?}");
    let evidence = parts["columns"].evidence().as_str();
    assert!(evidence.contains("missing 123, changed 0, extra 0 of 123 columns"), "{evidence}");
    let parts = moved.look_as(json!({}), &moved.old.observer_dsn(), &moved.old.observer_dsn()).parts().await;
    assert!(parts.values().all(|outcome| outcome.reason().unwrap().as_str() == "same_server"), "{parts:?}");
}

#[tokio::test]
async fn a_thousand_tables_are_compared_within_the_timeout_and_ten_thousand_changes_are_counted() {
    let world = World::new().unwrap();
    let (old, new) = tokio::try_join!(Postgres::start(&world), Postgres::start(&world)).unwrap();
    let column = |n: u32| format!(", column_number_{n} text DEFAULT ''some default value of it'' NOT NULL");
    let columns = (1..10).map(column).collect::<Vec<_>>().concat();
    let table = format!("CREATE TABLE app.some_table_of_many_%s (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY{columns})");
    let tables = format!("DO $$BEGIN FOR n IN 1..1000 LOOP EXECUTE format('{table}', n); END LOOP; END$$");
    for postgres in [&old, &new] {
        postgres.grant("observer").await.unwrap();
        sql(postgres, "CREATE SCHEMA app").await;
        sql(postgres, &tables).await;
    }
    let moved = Moved { world, old, new };
    let mut look = moved.look(json!({}));
    let begun = Instant::now();
    look.shows("a thousand tables", &[]).await;
    println!("the same: {:?} in {} runs", begun.elapsed(), look.runs);
    assert_eq!(look.runs, 1);
    sql(&moved.new, "ALTER TABLE app.some_table_of_many_500 ALTER column_number_5 DROP DEFAULT").await;
    let words = "changed 1: column app.some_table_of_many_500.column_number_5: default 'some default value of it'::text → none";
    let begun = Instant::now();
    look.shows("one column", &[("columns", "differs", words)]).await;
    println!("one column: {:?} in {} runs", begun.elapsed(), look.runs);
    let all = "DO $$BEGIN FOR n IN 1..1000 LOOP EXECUTE format('ALTER TABLE app.some_table_of_many_%s RENAME TO other_%s', n, n); END LOOP; END$$";
    sql(&moved.new, all).await;
    let begun = Instant::now();
    let parts = look.parts().await;
    println!("all of them: {:?} in {} runs", begun.elapsed(), look.runs);
    let evidence = parts["columns"].evidence().as_str();
    assert!(evidence.contains("missing 10000, changed 0, extra 10000 of 10000 columns"), "{evidence}");
    assert!(begun.elapsed() < Duration::from_mins(2));
}
