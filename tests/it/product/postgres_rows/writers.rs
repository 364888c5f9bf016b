//! Writers at work on both sides while rows are compared.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use checks::Progress;
use tests::{Fault, Session};
use tokio::task::JoinSet;
use tokio::time::{Duration, MissedTickBehavior, interval};

use super::super::postgres_versions::{by_way_of, proxy_to};
use super::*;

const SCHEMA: &str = "CREATE TABLE readings (id bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(), v int); \
     INSERT INTO readings (v) SELECT generate_series(1, 30000); \
     CREATE TABLE metrics (time timestamptz NOT NULL DEFAULT now(), kind text); \
     INSERT INTO metrics (kind) SELECT 'k' || n FROM generate_series(1, 30000) AS n; \
     ALTER TABLE readings OWNER TO server; ALTER TABLE metrics OWNER TO server";

/// An application that inserts so many times a second, until it is dropped.
struct Writer {
    written: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    task: JoinSet<()>,
}

impl Writer {
    async fn at(postgres: &Postgres, per_second: u64) -> Self {
        let session: Session = postgres.connect().await.unwrap();
        let (written, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, end) = (Arc::clone(&written), Arc::clone(&ended));
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut tick = interval(Duration::from_millis(1000 / per_second));
            tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
            while !end.load(Ordering::Relaxed) {
                tick.tick().await;
                let sql = "INSERT INTO readings (v) VALUES (0); INSERT INTO metrics (kind) VALUES ('new')";
                session.batch_execute(sql).await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { written, ended, task }
    }

    async fn has_written(&self, more: u64) {
        let from = self.written.load(Ordering::Relaxed);
        tests::wait_until(Duration::from_secs(20), "the writer writes", async || {
            anyhow::ensure!(self.written.load(Ordering::Relaxed) >= from + more);
            Ok(())
        })
        .await
        .unwrap();
    }

    async fn stop(mut self) -> u64 {
        self.ended.store(true, Ordering::Relaxed);
        self.task.join_next().await.unwrap().unwrap();
        self.written.load(Ordering::Relaxed)
    }
}

/// 20 a second on the old server while the dump is made, 30 a second on the new one afterwards, with an open transaction at the moment of
/// the snapshot and a vacuum that freezes.
#[tokio::test]
async fn tables_are_equal_while_both_sides_are_written_to() {
    let moved = Move::of(SCHEMA).await;
    let on_old = Writer::at(&moved.old, 20).await;
    on_old.has_written(5).await;
    let open = moved.old.connect().await.unwrap();
    open.batch_execute("BEGIN; INSERT INTO readings (v) VALUES (-1)").await.unwrap();
    let (cx, holding, counting) = moved.begin(DEPTH).await;
    on_old.has_written(5).await;
    open.batch_execute("COMMIT").await.unwrap();
    moved.new.restore_snapshot(&moved.old, &holding.name).await.unwrap();
    let manifest = counted(&cx, holding, counting).await;
    let at_the_snapshot = manifest.tables["public.metrics"].sum.rows;
    on_old.has_written(5).await;
    let written = on_old.stop().await;

    let mut look = moved.look(Some(&manifest), json!({})).await;
    let on_new = Writer::at(&moved.new, 30).await;
    on_new.has_written(10).await;
    for vacuum in [false, true] {
        if vacuum {
            moved.new.connect_as_superuser().await.unwrap().batch_execute("VACUUM FREEZE").await.unwrap();
        }
        let [tables, _, behind] = look.anew().await;
        assert_eq!(reason(&tables), "pass", "{tables:?}");
        let rows = 2 * at_the_snapshot;
        says(&tables, &[&format!("2 tables with {rows} rows are the same")]);
        let left = 30_000 + written - u64::try_from(at_the_snapshot).unwrap();
        assert_eq!(reason(&behind), "left_behind");
        says(&behind, &[&format!("{left} in public.metrics"), &format!("{} in public.readings", left + 1)]);
    }
    on_new.stop().await;
}

#[tokio::test]
async fn a_comparison_that_comes_too_late_says_so() {
    let moved = Move::of(SCHEMA).await;
    let manifest = moved.comes_over().await;
    let mut look = moved.look(Some(&manifest), json!({})).await;
    look.tables("pass", &["2 tables"]).await;
    let application = moved.new.connect().await.unwrap();
    application.batch_execute("UPDATE readings SET v = 5 WHERE id = 7; DELETE FROM readings WHERE id = 8").await.unwrap();
    drop(application);
    look.tables("too_late", &["public.readings since the mark: 1 updated, 1 deleted"]).await;
    let restored = "UPDATE readings SET v = v";
    sql(&moved.old, restored).await;
    let [tables, _, behind] = look.anew().await;
    assert_eq!([&tables, &behind].map(reason), ["too_late", "left_behind"], "{tables:?}");
}

/// A comparison is cut into many Runs, goes on from its Memory, and begins anew where a table's rows lie elsewhere. However fast the machine
/// is, the way to the new server makes each question so slow that no piece grows, and that the rest after it takes up the Run.
#[tokio::test]
async fn a_comparison_goes_on_where_it_was() {
    let moved = Move::of(SCHEMA).await;
    let manifest = moved.comes_over().await;
    let proxy = proxy_to(&moved.new);
    let direct = moved.new.url("observer", "observer", "homelab");
    let slow = by_way_of(&proxy, &direct, &moved.new);
    let mut look = moved.look(Some(&manifest), json!({"loadPercent": 1})).await;
    let old = moved.old.url("observer", "observer", "homelab");
    look.cx.targets = context(&moved.world, [("old", &old), ("new", &slow)]).targets;
    look.cx.timeout = Duration::from_secs(2);
    proxy.set(Fault::Delay(Duration::from_millis(45))).await.unwrap();
    let mut seen: Vec<Progress> = Vec::new();
    let mut before_it_moved = None;
    let parts = loop {
        match look.run().await {
            Step::Done(parts) => break parts,
            Step::More(progress) => {
                if progress.note.as_str().contains("reading public.readings") && before_it_moved.is_none() {
                    before_it_moved = Some(seen.len());
                    // The same rows, and not one of them on the page that it was on.
                    sql(&moved.new, "ALTER TABLE readings SET (fillfactor = 50)").await;
                    sql(&moved.new, "VACUUM FULL readings").await;
                }
                seen.push(progress);
            }
        }
    };
    let runs_on =
        |table: &str| seen.iter().filter(|progress| progress.note.as_str().contains(&format!("reading {table}"))).count();
    assert!(runs_on("public.metrics") >= 2 && runs_on("public.readings") >= 4, "{seen:?}");
    let moved_at = before_it_moved.unwrap();
    assert!(seen[moved_at + 1].done <= seen[moved_at].done, "it does not begin anew: {seen:?}");
    let goes_on = |progress: &[Progress]| progress[0].done < progress[1].done;
    assert!(seen[..=moved_at].windows(2).all(goes_on), "{seen:?}");
    assert!(seen.iter().all(|progress| progress.done <= progress.total), "{seen:?}");
    assert!(parts.values().all(|outcome| reason(outcome) == "pass"), "{parts:?}");
}
