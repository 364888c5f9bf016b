//! `postgresSplitBrain` against two real servers: rows that came after the mark to the one, to the other, to both, and what only looks
//! like it.

use std::collections::BTreeMap;
use std::sync::Arc;

use checks::postgres::mark::{Mark, Side};
use checks::{Context, DynCheck, Fact, Outcome, PartId, Step};
use chrono::TimeDelta;
use serde_json::{Value, json};
use tests::{Postgres, World};

use super::postgres_canary::{context, sql};

const TABLES: &str = "CREATE TABLE metrics (time timestamptz(0) NOT NULL DEFAULT now(), kind text NOT NULL); \
     CREATE TABLE history (id bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), n int NOT NULL); \
     ALTER TABLE metrics OWNER TO server; ALTER TABLE history OWNER TO server; \
     INSERT INTO metrics (kind) SELECT 'cpu' FROM generate_series(1, 100); INSERT INTO history (n) SELECT generate_series(1, 100)";
const OBSERVER: &str = "CREATE ROLE observer LOGIN PASSWORD 'observer'; GRANT pg_monitor TO observer; \
     GRANT SELECT ON ALL TABLES IN SCHEMA public TO observer; \
     ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO observer";
const METRIC: &str = "INSERT INTO metrics (kind) VALUES ('cpu')";
const READING: &str = "INSERT INTO history (n) VALUES (1)";

/// Two servers with the same data, as after a restore.
struct Two {
    world: World,
    old: Postgres,
    new: Postgres,
}

/// The check as the verifier holds it.
struct Look {
    check: Arc<dyn DynCheck>,
    cx: Context,
    memory: Option<Vec<u8>>,
    measures: BTreeMap<&'static str, String>,
}

impl Two {
    async fn start() -> Self {
        let world = World::new().unwrap();
        let (old, new) = tokio::try_join!(Postgres::start(&world), Postgres::start(&world)).unwrap();
        for postgres in [&old, &new] {
            sql(postgres, TABLES).await;
            sql(postgres, OBSERVER).await;
        }
        Self { world, old, new }
    }

    fn context(&self) -> Context {
        let dsn = |postgres: &Postgres| postgres.url("observer", "observer", "homelab");
        context(&self.world, [("old", &dsn(&self.old)), ("new", &dsn(&self.new))])
    }

    async fn mark(&self) -> Mark {
        let cx = self.context();
        Mark { old: Side::take(&cx, "old").await.unwrap(), new: Side::take(&cx, "new").await.unwrap() }
    }

    async fn look(&self, more: Value) -> Look {
        let mut block = json!({"old": "old", "new": "new"});
        block.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let check = (checks::registry().get("postgresSplitBrain").unwrap().parse)(block).unwrap();
        let mut look = Look { check, cx: self.context(), memory: None, measures: BTreeMap::new() };
        look.knows("postgres-mark", &self.mark().await);
        look
    }
}

impl Look {
    fn knows(&mut self, name: &str, mark: &Mark) {
        let mut facts = self.cx.facts.as_ref().clone();
        facts.insert(name.to_owned(), Fact { at: self.cx.now, value: serde_json::to_value(mark).unwrap() });
        self.cx.facts = Arc::new(facts);
    }

    /// One look, some seconds later.
    async fn parts(&mut self) -> [Outcome; 2] {
        self.cx.now += TimeDelta::seconds(5);
        let report = self.check.run(&self.cx, self.memory.as_deref()).await.unwrap();
        self.memory = Some(report.memory);
        self.measures = report.measures.iter().map(|measure| (measure.name, measure.value.to_string())).collect();
        let Step::Done(parts) = report.step else { panic!("not done") };
        ["old", "new"].map(|name| parts[&PartId::new(name)].clone())
    }

    /// Rows of drift, rows at risk, and whether those could be carried back.
    fn measured(&self) -> [&str; 3] {
        ["drift_rows", "rows_at_risk", "reversible"].map(|name| self.measures[name].as_str())
    }

    /// Of each part `pass`, or the reason.
    async fn reasons(&mut self) -> [String; 2] {
        self.parts().await.map(|outcome| reason(&outcome))
    }
}

fn reason(outcome: &Outcome) -> String {
    outcome.reason().map_or_else(|| "pass".to_owned(), ToString::to_string)
}

fn says(outcome: &Outcome, words: &[&str]) {
    for word in words {
        assert!(outcome.evidence().as_str().contains(word), "{word}: {outcome:?}");
    }
}

#[tokio::test]
async fn rows_on_the_new_server_are_at_risk_from_the_first_commit_on() {
    let two = Two::start().await;
    let mut look = two.look(json!({})).await;
    let [old, new] = look.parts().await;
    assert_eq!([reason(&old), reason(&new)], ["pass", "pass"]);
    says(&old, &["no transaction has written since the mark"]);
    says(&new, &["going back loses nothing"]);
    assert_eq!(reason(&look.check.control(&look.cx, None).await), "drift");
    let application = two.new.connect().await.unwrap();
    application.batch_execute(&format!("BEGIN; {METRIC}; ROLLBACK")).await.unwrap();
    says(&look.parts().await[1], &["going back loses nothing"]);
    assert_eq!(look.measured(), ["0", "0", "1"]);
    application.batch_execute(&format!("{METRIC}; {READING}; {READING}")).await.unwrap();
    let [old, new] = look.parts().await;
    assert_eq!([reason(&old), reason(&new)], ["pass", "pass"]);
    // The one that was rolled back has not taken an id of `history`.
    says(
        &new,
        &["past the point of no return", "2 rows in public.history, id 101 to 102, time ", "1 row in public.metrics, time "],
    );
    says(&new, &["only inserts: they could be carried back"]);
    assert_eq!(look.measured(), ["0", "3", "1"]);
    // A vacuum changes nothing of it.
    sql(&two.new, "VACUUM (FREEZE, ANALYZE)").await;
    sql(&two.old, "ANALYZE").await;
    look.cx.now += TimeDelta::minutes(1);
    let [old, new] = look.parts().await;
    says(&old, &["have left no row"]);
    says(&new, &["2 rows in public.history, id 101 to 102"]);
    application.batch_execute("UPDATE history SET n = 2 WHERE id = 7").await.unwrap();
    drop(application);
    let counted = tests::wait_until(super::PATIENCE, "the update is counted", async || {
        look.cx.now += TimeDelta::minutes(1);
        let _parts = look.parts().await;
        anyhow::ensure!(look.measures["reversible"] == "0");
        Ok(())
    });
    counted.await.unwrap();
    says(&look.parts().await[1], &["1 rows were updated or deleted as well: nothing leads back"]);
}

#[tokio::test]
async fn drift_on_the_old_server_is_named_and_stays_until_there_is_a_new_mark() {
    let two = Two::start().await;
    let mut look = two.look(json!({})).await;
    assert_eq!(look.reasons().await, ["pass", "pass"]);
    two.old.connect().await.unwrap().batch_execute(&format!("{METRIC}; {READING}; {READING}")).await.unwrap();
    let [old, new] = look.parts().await;
    assert_eq!([reason(&old), reason(&new)], ["drift", "pass"]);
    says(&old, &["2 rows in public.history, id 101 to 102, time ", "1 row in public.metrics, time "]);
    assert_eq!(look.measures["drift_rows"], "3");
    // The application is on the new side as well by now.
    two.new.connect().await.unwrap().batch_execute(READING).await.unwrap();
    let [old, new] = look.parts().await;
    assert_eq!([reason(&old), reason(&new)], ["split_brain", "pass"]);
    says(
        &old,
        &["on the old server", "2 rows in public.history, id 101 to 102", "on the new one: 1 row in public.history, id 101, "],
    );
    sql(&two.old, "DELETE FROM history WHERE id > 100; DELETE FROM metrics WHERE time > now() - interval '1 day'").await;
    sql(&two.old, "VACUUM").await;
    assert_eq!(look.reasons().await, ["split_brain", "pass"], "what was there was there");
    two.old.stop().await.unwrap();
    assert_eq!(look.reasons().await, ["split_brain", "pass"], "a server that is stopped has not lost them");
    two.old.start_again().await.unwrap();
    look.knows("postgres-mark.2", &two.mark().await);
    assert_eq!(look.reasons().await, ["pass", "pass"]);
}

/// The number of a transaction says when it began; one that began later may have ended before.
#[tokio::test]
async fn a_transaction_that_ends_after_a_later_one_is_not_missed() {
    let two = Two::start().await;
    let mut look = two.look(json!({})).await;
    for (name, postgres) in [("old", &two.old), ("new", &two.new)] {
        let (slow, quick) = (postgres.connect().await.unwrap(), postgres.connect().await.unwrap());
        slow.batch_execute(&format!("BEGIN; {READING}")).await.unwrap();
        quick.batch_execute(&format!("BEGIN; {METRIC}; ROLLBACK")).await.unwrap();
        assert_eq!(look.reasons().await, ["pass", "pass"], "{name}: nothing is committed");
        slow.batch_execute("COMMIT").await.unwrap();
        let [old, new] = look.parts().await;
        let words = if name == "old" { old } else { new };
        says(&words, &["1 row in public.history, id 101"]);
        look.knows("postgres-mark.2", &two.mark().await);
    }
}

#[tokio::test]
async fn what_is_deleted_truncated_or_altered_on_the_old_server_is_drift_too() {
    for (change, words) in [
        ("DELETE FROM history WHERE id = 3", "1 rows deleted from public.history, or rolled back"),
        ("TRUNCATE metrics", "created, truncated or altered: public.metrics"),
        ("CREATE TABLE more (n int)", "created, truncated or altered: public.more"),
        ("UPDATE history SET n = 0 WHERE id = 3", "1 row in public.history, id 3, time "),
    ] {
        let two = Two::start().await;
        let mut look = two.look(json!({})).await;
        assert_eq!(look.reasons().await, ["pass", "pass"]);
        sql(&two.old, change).await;
        let [old, _] = look.parts().await;
        assert_eq!(reason(&old), "drift", "{change}: {old:?}");
        says(&old, &[words]);
    }
}

#[tokio::test]
async fn an_old_server_that_is_away_is_unknown_unless_it_was_fenced_and_may_be_stopped() {
    let two = Two::start().await;
    let (mut strict, mut stopped) = (two.look(json!({})).await, two.look(json!({"mayBeStopped": true})).await);
    assert_eq!(strict.reasons().await, ["pass", "pass"]);
    assert_eq!(stopped.reasons().await, ["pass", "pass"]);
    two.old.stop().await.unwrap();
    assert_eq!(strict.reasons().await, ["old_away", "pass"]);
    assert_eq!(stopped.reasons().await, ["old_away", "pass"], "it was not fenced");
    two.old.start_again().await.unwrap();
    sql(&two.old, "ALTER SYSTEM SET default_transaction_read_only = on").await;
    two.old.stop().await.unwrap();
    two.old.start_again().await.unwrap();
    assert_eq!(stopped.reasons().await, ["pass", "pass"]);
    two.old.stop().await.unwrap();
    let [old, _] = stopped.parts().await;
    assert_eq!(reason(&old), "pass");
    says(&old, &["stopped; last seen ", "fenced and without drift"]);
    assert_eq!(strict.reasons().await, ["old_away", "pass"]);
    // It comes back from the dead, and takes a row.
    two.old.start_again().await.unwrap();
    sql(&two.old, &format!("BEGIN READ WRITE; {READING}; COMMIT")).await;
    assert_eq!(stopped.reasons().await, ["drift", "pass"]);
    two.old.kill().await.unwrap();
    two.old.start_again().await.unwrap();
    assert_eq!(strict.reasons().await, ["drift", "pass"], "a crash takes nothing back");
}

#[tokio::test]
async fn a_mark_is_of_these_servers_and_of_a_still_moment() {
    let two = Two::start().await;
    let mut look = two.look(json!({})).await;
    let mut swapped = two.mark().await;
    std::mem::swap(&mut swapped.old, &mut swapped.new);
    look.knows("postgres-mark.2", &swapped);
    assert_eq!(look.reasons().await, ["other_mark", "other_mark"]);
    look.cx.facts = Arc::default();
    assert_eq!(look.reasons().await, ["fact_missing", "fact_missing"]);
    let mut look = two.look(json!({})).await;
    sql(&two.new, "REVOKE SELECT ON metrics FROM observer").await;
    let [old, new] = look.parts().await;
    assert_eq!([reason(&old), reason(&new)], ["pass", "no_permission"]);
    let grants = "GRANT USAGE ON SCHEMA public TO \"observer\"; GRANT SELECT ON ALL TABLES IN SCHEMA public TO \"observer\";";
    says(&new, &[grants]);
    sql(&two.new, grants).await;
    assert_eq!(look.reasons().await, ["pass", "pass"]);
    let open = two.old.connect().await.unwrap();
    open.batch_execute(&format!("BEGIN; {READING}")).await.unwrap();
    assert_eq!(reason(&Side::take(&look.cx, "old").await.unwrap_err()), "not_still");
    open.batch_execute("COMMIT").await.unwrap();
    assert_eq!(look.reasons().await, ["drift", "pass"]);
    look.knows("postgres-mark.2", &two.mark().await);
    assert_eq!(look.reasons().await, ["pass", "pass"]);
    let application = two.look(json!({})).await.cx;
    let own = context(&two.world, [("old", two.old.dsn().as_str()), ("new", two.new.dsn().as_str())]);
    look.cx = Context { facts: application.facts, ..own };
    assert_eq!(look.reasons().await, ["not_an_observer", "not_an_observer"]);
}
