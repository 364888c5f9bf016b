//! `postgresContinuity` against two real servers: the time without a row between the old side's last and the new side's first, what closes
//! it, and what only looks like going on.

use std::collections::BTreeMap;
use std::sync::Arc;

use checks::postgres::mark::{Mark, Side};
use checks::{Context, DynCheck, Fact, Outcome, Step};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tests::{Major, Postgres, World};

use super::postgres_canary::{context, sql};

const TABLES: &str = "SET ROLE server; CREATE TABLE metrics (time timestamptz(0) NOT NULL DEFAULT now(), kind text); \
     CREATE TABLE \"Odd one\" (\"When\" timestamp NOT NULL, n int) PARTITION BY RANGE (\"When\"); \
     CREATE TABLE odd_1 PARTITION OF \"Odd one\" DEFAULT; RESET ROLE; \
     INSERT INTO metrics SELECT now() - n * interval '10 s' FROM generate_series(1, 90) n; \
     INSERT INTO \"Odd one\" SELECT now() AT TIME ZONE 'UTC' - n * interval '10 s' FROM generate_series(1, 90) n";

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
    measures: BTreeMap<String, String>,
}

impl Two {
    async fn start(old: Major, new: Major) -> Self {
        let world = World::new().unwrap();
        let (old, new) = tokio::try_join!(Postgres::start_version(&world, old), Postgres::start_version(&world, new)).unwrap();
        for postgres in [&old, &new] {
            postgres.grant("observer").await.unwrap();
        }
        sql(&old, TABLES).await;
        new.restore_from(&old).await.unwrap();
        Self { world, old, new }
    }

    async fn look(&self, more: Value) -> Look {
        let tables = json!([
            {"table": "metrics", "time": "time", "every": "10s"},
            {"table": "public.\"Odd one\"", "time": "\"When\"", "within": "30s"},
        ]);
        let mut block = json!({"old": "old", "new": "new", "tables": tables});
        block.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let check = (checks::registry().get("postgresContinuity").unwrap().parse)(block).unwrap();
        assert!(check.validate().is_empty(), "{:?}", check.validate());
        let (old, new) = (self.old.observer_dsn(), self.new.observer_dsn());
        let cx = context(&self.world, [("old", &old), ("new", &new)]);
        let mut look = Look { check, cx, memory: None, measures: BTreeMap::new() };
        look.marks().await;
        look
    }
}

impl Look {
    /// Takes a mark of how things stand.
    async fn marks(&mut self) -> Mark {
        let mark = Mark { old: Side::take(&self.cx, "old").await.unwrap(), new: Side::take(&self.cx, "new").await.unwrap() };
        let fact = Fact { at: self.cx.now, value: serde_json::to_value(&mark).unwrap() };
        self.cx.facts = Arc::new(BTreeMap::from([("postgres-mark".to_owned(), fact)]));
        self.cx.now = mark.new.at;
        mark
    }

    async fn parts(&mut self) -> BTreeMap<String, Outcome> {
        self.cx.now += TimeDelta::seconds(5);
        let report = self.check.run(&self.cx, self.memory.as_deref()).await.unwrap();
        self.memory = Some(report.memory);
        self.measures = report.measures.iter().map(|measure| (measure.part.to_string(), measure.value.to_string())).collect();
        let Step::Done(parts) = report.step else { panic!("not done") };
        parts.into_iter().map(|(part, outcome)| (part.to_string(), outcome)).collect()
    }

    /// Of `metrics`, `pass` or the reason, with these words.
    async fn says(&mut self, reason: &str, words: &[&str]) -> Outcome {
        let outcome = self.parts().await.remove("metrics").unwrap();
        let is = outcome.reason().map_or_else(|| "pass".to_owned(), ToString::to_string);
        assert_eq!(is, reason, "{outcome:?}");
        for word in words {
            assert!(outcome.evidence().as_str().contains(word), "{word}: {outcome:?}");
        }
        outcome
    }
}

/// Rows of these times, so many seconds after the old side's last one.
async fn rows(postgres: &Postgres, last: DateTime<Utc>, seconds: &[i64]) {
    let session = postgres.connect().await.unwrap();
    for second in seconds {
        let time = (last + TimeDelta::seconds(*second)).format("%F %T+00");
        session.batch_execute(&format!("INSERT INTO metrics VALUES ('{time}', 'cpu')")).await.unwrap();
    }
}

async fn last(postgres: &Postgres) -> DateTime<Utc> {
    let session = postgres.connect().await.unwrap();
    let row = session.query_one("SELECT (EXTRACT(epoch FROM max(time)) * 1000000)::bigint FROM metrics", &[]).await.unwrap();
    DateTime::from_timestamp_micros(row.get(0)).unwrap()
}

/// A mark that was taken so many seconds after the old side's last row: the tests do not wait for the time to go by.
fn marked(look: &mut Look, mut mark: Mark, last: DateTime<Utc>, seconds: i64) {
    mark.new.at = last + TimeDelta::seconds(seconds);
    let fact = Fact { at: look.cx.now, value: serde_json::to_value(&mark).unwrap() };
    look.cx.facts = Arc::new(BTreeMap::from([("postgres-mark".to_owned(), fact)]));
}

/// All rows of the old side are moved into the past, so that a gap after them lies in the past as well.
async fn some_time_ago(two: &Two) {
    for postgres in [&two.old, &two.new] {
        sql(
            postgres,
            "UPDATE metrics SET time = time - interval '1 hour'; UPDATE \"Odd one\" SET \"When\" = \"When\" - interval '1 hour'",
        )
        .await;
    }
}

#[tokio::test]
async fn from_waiting_to_going_on_and_a_gap_that_is_filled_in() {
    for (old, new) in [(Major::Fifteen, Major::Fifteen), (Major::Fifteen, Major::Eighteen), (Major::Seventeen, Major::Seventeen)]
    {
        let two = Two::start(old, new).await;
        some_time_ago(&two).await;
        let mut look = two.look(json!({})).await;
        let mark = look.marks().await;
        let last = last(&two.old).await;
        marked(&mut look, mark, last, 60);
        let outcome = look.says("no_row_yet", &["no row on new after the mark"]).await;
        assert_eq!(outcome.label(), "waiting");
        let reason = |outcome: Outcome| outcome.reason().unwrap().to_string();
        assert_eq!(reason(look.check.control(&look.cx, None).await), "gap");
        // What is rolled back has not come.
        let application = two.new.connect().await.unwrap();
        application.batch_execute("BEGIN; INSERT INTO metrics VALUES (now(), 'cpu'); ROLLBACK").await.unwrap();
        look.says("no_row_yet", &[]).await;
        rows(&two.new, last, &[250, 260, 270]).await;
        look.says("gap", &["4m 10s lost, about 25 rows at the cadence: none between ", "the limit is 20s"]).await;
        assert_eq!(look.measures["metrics"], "250");
        // Half of it is filled in, and then the other half.
        rows(&two.new, last, &(1..=12).map(|n| n * 10).collect::<Vec<_>>()).await;
        look.says("gap", &["2m 10s lost, about 13 rows", "rows were filled in"]).await;
        rows(&two.new, last, &(13..=24).map(|n| n * 10).collect::<Vec<_>>()).await;
        look.says("pass", &["at most 10s without a row"]).await;
        assert_eq!(look.measures["metrics"], "10");
        // A later outage is no gap of the move.
        rows(&two.new, last, &[2000]).await;
        look.says("pass", &[]).await;
        sql(&two.new, "VACUUM (FREEZE) metrics").await;
        look.memory = None;
        look.says("pass", &[]).await;
    }
}

#[tokio::test]
async fn an_accepted_loss_passes_and_rows_of_another_spelling_count() {
    let two = Two::start(Major::Fifteen, Major::Seventeen).await;
    some_time_ago(&two).await;
    let tables = json!([
        {"table": "metrics", "time": "time", "every": "10s", "within": "5m"},
        {"table": "public.\"Odd one\"", "time": "\"When\"", "within": "30s"},
    ]);
    let mut look = two.look(json!({"tables": tables})).await;
    let mark = look.marks().await;
    let last = last(&two.old).await;
    marked(&mut look, mark, last, 60);
    rows(&two.new, last, &[250]).await;
    look.says("pass", &["at most 4m 10s without a row"]).await;
    let odd = "public.\"Odd one\"";
    assert_eq!(look.parts().await[odd].reason().unwrap().as_str(), "no_row_yet");
    sql(&two.new, "INSERT INTO \"Odd one\" SELECT max(\"When\") + interval '90 s' FROM \"Odd one\"").await;
    let parts = look.parts().await;
    assert_eq!(parts[odd].reason().unwrap().as_str(), "gap", "{parts:?}");
    assert!(parts[odd].evidence().as_str().starts_with("1m 30s lost: none between "), "{parts:?}");
    sql(&two.new, "REVOKE SELECT ON metrics FROM phasegate").await;
    look.says("no_permission", &["GRANT SELECT ON \"public\".\"metrics\" TO \"phasegate\";"]).await;
    sql(&two.new, "GRANT SELECT ON metrics TO phasegate; ALTER TABLE metrics RENAME time TO at").await;
    look.says("no_time_column", &["has no column \"time\""]).await;
    sql(&two.new, "ALTER TABLE metrics RENAME TO gone").await;
    look.says("no_table", &[]).await;
}

#[tokio::test]
async fn rows_on_both_sides_at_once_are_an_overlap_and_updates_of_old_rows_are_not() {
    let two = Two::start(Major::Fifteen, Major::Fifteen).await;
    some_time_ago(&two).await;
    let mut look = two.look(json!({})).await;
    let mark = look.marks().await;
    let last = last(&two.old).await;
    marked(&mut look, mark, last, 5);
    rows(&two.new, last, &[10, 20]).await;
    look.says("pass", &[]).await;
    sql(
        &two.new,
        &format!("UPDATE metrics SET kind = 'gpu' WHERE time < '{}'", (last - TimeDelta::minutes(2)).format("%F %T+00")),
    )
    .await;
    look.says("pass", &[]).await;
    rows(&two.old, last, &[15]).await;
    look.says("overlap", &["1 rows on new from ", "the last one on old is of "]).await;
    sql(&two.old, "TRUNCATE metrics").await;
    look.says("no_old_row", &[]).await;
}

#[tokio::test]
async fn an_old_server_that_is_stopped_counts_as_it_was_last_seen() {
    let two = Two::start(Major::Seventeen, Major::Seventeen).await;
    some_time_ago(&two).await;
    let mut look = two.look(json!({})).await;
    let mark = look.marks().await;
    let last = last(&two.old).await;
    marked(&mut look, mark.clone(), last, 5);
    look.says("no_row_yet", &[]).await;
    two.old.stop().await.unwrap();
    rows(&two.new, last, &[10]).await;
    look.says("pass", &["the old server is away, last seen "]).await;
    let kept = look.memory.take();
    look.says("old_never_seen", &["refused"]).await;
    look.memory = kept;
    // Of another mark nothing is known.
    let mut other = mark.clone();
    other.old.next_xid += 1;
    marked(&mut look, other, last, 5);
    look.says("old_never_seen", &[]).await;
    two.old.start_again().await.unwrap();
    marked(&mut look, mark.clone(), last, 5);
    look.says("pass", &[]).await;
    // Another server behind the address.
    let mut swapped = mark;
    std::mem::swap(&mut swapped.old, &mut swapped.new);
    marked(&mut look, swapped, last, 5);
    look.says("other_mark", &[]).await;
    look.cx.facts = Arc::default();
    look.says("fact_missing", &[]).await;
}
