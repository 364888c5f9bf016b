//! What is asked of both sides once the application has moved. While the network is broken what must not happen happens: none of it
//! passes then, nor when the network is well again.

use std::sync::Arc;

use anyhow::ensure;
use checks::postgres::mark::{Mark, Side};
use checks::{Context, Fact, PartId};
use chrono::TimeDelta;
use serde_json::json;
use tests::{Fault, Postgres, wait_until};

use super::super::postgres_canary::sql;
use super::super::{PATIENCE, now};
use super::{Look, Moved, by_way_of, proxy_to};

/// A row that nobody meant to write, past a fence.
async fn stray(postgres: &Postgres) {
    sql(postgres, "BEGIN READ WRITE; INSERT INTO reading_sync_history (synced) VALUES (1); COMMIT").await;
}

/// A mark that was taken ten minutes ago, by its time.
async fn mark(cx: &mut Context, [old, new]: [&str; 2]) {
    let side = async |target: &str| {
        let mut side = wait_until(PATIENCE, "the server is still", async || {
            Side::take(cx, target).await.map_err(|outcome| anyhow::anyhow!("{outcome:?}"))
        })
        .await
        .unwrap();
        side.at -= TimeDelta::minutes(10);
        side
    };
    let mark = Mark { old: side(old).await, new: side(new).await };
    let mut facts = cx.facts.as_ref().clone();
    let edition = format!("postgres-mark.{}", facts.len() + 2);
    facts.insert(edition, Fact { at: cx.now, value: serde_json::to_value(mark).unwrap() });
    cx.facts = Arc::new(facts);
}

/// Looks until the window is over.
async fn becomes_quiet(look: &mut Look) {
    wait_until(PATIENCE, "it is quiet", async || {
        let parts = look.parts().await;
        ensure!(parts.values().all(|said| said == "pass"), "{parts:?}: {}", look.evidence);
        Ok(())
    })
    .await
    .unwrap();
}

pub(super) async fn quiet(moved: &Moved) {
    let old = &moved.old;
    let proxy = proxy_to(old);
    let dsn = by_way_of(&proxy, &old.observer_dsn(), old);
    let block = json!({"postgres": "old", "window": "15s", "mayBeStopped": true});
    let mut look = moved.look("postgresQuiet", block, [("old", &dsn)]);
    becomes_quiet(&mut look).await;
    look.through(&proxy, &[]).await;
    look.silent(&proxy, "fail timeout", &[]).await;
    stray(old).await;
    look.cut_off(&proxy, &[(PartId::WHOLE, "fail written")]).await;
    becomes_quiet(&mut look).await;
}

pub(super) async fn fence(moved: &Moved) {
    let old = &moved.old;
    let proxy = proxy_to(old);
    let (observer, application) = (by_way_of(&proxy, &old.observer_dsn(), old), by_way_of(&proxy, &old.dsn(), old));
    let block = |postgres| json!({"postgres": postgres, "roles": ["server"], "attempt": "app", "mayBeStopped": true});
    let mut look = moved.look("postgresFence", block("old"), [("old", &observer), ("app", &application)]);
    let open = [("attempt", "fail write_accepted"), ("settings", "fail not_fenced")];
    look.cut_off(&proxy, &open).await;
    old.set("default_transaction_read_only", "on").await.unwrap();
    look.through(&proxy, &[]).await;
    let direct = old.observer_dsn();
    let mut apart = moved.look("postgresFence", block("direct"), [("direct", &direct), ("app", &application)]);
    apart.through(&proxy, &[("settings", "pass")]).await;
    look.silent(&proxy, "fail timeout", &[]).await;
    old.reset("default_transaction_read_only").await.unwrap();
    look.cut_off(&proxy, &open).await;
}

/// Times of rows are given, and not waited for. What came is deleted in the end: no other check is to take it for the application's.
pub(super) async fn continuity(moved: &Moved) {
    let Moved { old, new, .. } = moved;
    let (to_old, to_new) = (proxy_to(old), proxy_to(new));
    let (of_old, of_new) = (by_way_of(&to_old, &old.observer_dsn(), old), by_way_of(&to_new, &new.observer_dsn(), new));
    let block = json!({"old": "old", "new": "new", "tables": [{"table": "system_metrics", "time": "time", "within": "10m"}]});
    let mut look = moved.look("postgresContinuity", block, [("old", &of_old), ("new", &of_new)]);
    look.cx.now = now();
    let aged = "UPDATE system_metrics SET time = time - interval '3 hours'";
    sql(old, aged).await;
    sql(new, aged).await;
    mark(&mut look.cx, ["old", "new"]).await;
    look.says("waiting no_row_yet", &[]).await;
    let row = async |at: &str| {
        let row = "INSERT INTO system_metrics (time, host, metric_type, payload)";
        sql(new, &format!("{row} SELECT {at}, 'node-1', 'late', '{{}}'")).await;
    };
    row("now()").await;
    look.cut_off(&to_new, &[("system_metrics", "fail gap")]).await;
    let filled =
        "generate_series((SELECT max(time) FROM system_metrics WHERE metric_type <> 'late'), now(), interval '5 minutes')";
    row(filled).await;
    look.through(&to_new, &[]).await;
    // The old side's last row is known: the server may be stopped.
    to_old.set(Fault::Reset).await.unwrap();
    look.says("pass", &[]).await;
    assert!(look.evidence.contains("the old server is away, last seen"), "{}", look.evidence);
    to_old.clear().await.unwrap();
    stray_metric(old).await;
    look.says("fail overlap", &[]).await;
    sql(old, "DELETE FROM system_metrics WHERE metric_type = 'stray'").await;
    look.through(&to_new, &[]).await;
    sql(new, "DELETE FROM system_metrics WHERE metric_type = 'late'").await;
    let recent = aged.replace(" - ", " + ");
    sql(old, &recent).await;
    sql(new, &recent).await;
}

/// One more row of the old side, of now.
async fn stray_metric(postgres: &Postgres) {
    sql(postgres, "INSERT INTO system_metrics (time, host, metric_type, payload) VALUES (now(), 'node-1', 'stray', '{}')").await;
}

pub(super) async fn traffic(moved: &Moved) {
    let new = &moved.new;
    let proxy = proxy_to(new);
    let dsn = by_way_of(&proxy, &new.observer_dsn(), new);
    let writer = json!({"name": "job", "role": "server", "table": "system_metrics", "time": "time", "every": "1m"});
    let block = json!({"postgres": "new", "undeclared": "fail", "writers": [writer]});
    let mut look = moved.look("postgresTraffic", block, [("new", &dsn)]);
    look.cx.now = now();
    mark(&mut look.cx, ["new", "new"]).await;
    look.cut_off(&proxy, &[("job", "waiting first_beats")]).await;
    let beats = async || {
        let rows = "INSERT INTO system_metrics (time, host, metric_type, payload) \
             SELECT now() - make_interval(secs => ago), 'node-1', 'cpu', '{}' FROM unnest('{61, 1}'::int[]) AS ago";
        new.connect().await.unwrap().batch_execute(rows).await.unwrap();
    };
    beats().await;
    look.through(&proxy, &[]).await;
    look.silent(&proxy, "fail timeout", &[]).await;
    stray(new).await;
    beats().await;
    look.cut_off(&proxy, &[("others", "fail unknown_writer")]).await;
    mark(&mut look.cx, ["new", "new"]).await;
    look.says("pass", &[("job", "waiting first_beats")]).await;
    beats().await;
    look.says("pass", &[]).await;
}

pub(super) async fn split_brain(moved: &Moved) {
    let Moved { old, new, .. } = moved;
    old.set("default_transaction_read_only", "on").await.unwrap();
    let (to_old, to_new) = (proxy_to(old), proxy_to(new));
    let (of_old, of_new) = (by_way_of(&to_old, &old.observer_dsn(), old), by_way_of(&to_new, &new.observer_dsn(), new));
    let block = json!({"old": "old", "new": "new", "mayBeStopped": true});
    let mut look = moved.look("postgresSplitBrain", block, [("old", &of_old), ("new", &of_new)]);
    look.cx.now = now();
    mark(&mut look.cx, ["old", "new"]).await;
    look.through(&to_new, &[("old", "pass")]).await;
    look.through_as(&to_old, ["unknown old_away"; 2], &[("new", "pass")]).await;
    look.silent(&to_old, "unknown old_away", &[("new", "pass")]).await;
    stray(old).await;
    look.cut_off(&to_old, &[("old", "fail drift")]).await;
    look.silent(&to_new, "fail timeout", &[("old", "fail drift")]).await;
    stray(new).await;
    look.cut_off(&to_new, &[("old", "fail split_brain")]).await;
    mark(&mut look.cx, ["old", "new"]).await;
    look.says("pass", &[]).await;
    old.reset("default_transaction_read_only").await.unwrap();
}
