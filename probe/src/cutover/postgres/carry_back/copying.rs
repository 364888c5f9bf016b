//! The copy itself: one transaction on the old server, committed only if everything adds up.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use checks::postgres::by_hand::{Hand, Written};
use tokio::time::{Instant, interval};

use super::super::super::Context;
use super::super::super::render::Io;
use super::super::super::trouble::Trouble;
use super::super::marks::Known;
use super::super::{Patience, Talk, patiently, trouble};
use super::standing::{Ends, release, settled, wait};
use super::tables::{Sum, Table, ask, number, written};
use super::way::Way;
use super::{Spans, sequences};
use crate::exit::Exit;

/// How often it is told how far a table has come.
const TOLD: Duration = Duration::from_secs(1);

/// What the fence says is only what transactions are that say nothing of themselves.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT pg_current_xact_id() AS xid";
const OLDEST: &str = "SELECT pg_snapshot_xmin(pg_current_snapshot()) AS oldest";

/// What is to be carried.
pub(super) struct Load {
    pub(super) way: Way,
    /// Of each table, what came to the new server.
    pub(super) sums: BTreeMap<String, Sum>,
    pub(super) sequences: Vec<(String, sequences::At)>,
    /// The first transaction on the new server that is not in the snapshot.
    pub(super) new_xid: u64,
    /// What the new server had counted before.
    pub(super) counted: Written,
}

/// Carries it. Both servers' snapshots are taken; that of the new one is. Returns the first transaction after it, on the old server.
pub(super) async fn copy(
    cx: &mut Context<'_, '_>,
    ends: &mut Ends,
    known: &Known,
    load: &Load,
    spans: Spans,
) -> Result<u64, Trouble> {
    release(cx, &mut ends.old).await?;
    let xid = begin(cx, &mut ends.old, spans.wait).await?;
    let drift = written(cx, &mut ends.old, &known.mark.old.is_after(), spans.whole).await?;
    if let Some((table, rows)) = drift.iter().next() {
        return Err(refused(&format!("{table}: {rows} rows came to the old server meanwhile")));
    }
    if load.way.replica {
        ask(&mut ends.old, "SET LOCAL session_replication_role = replica", cx.request_timeout).await?;
    }
    ask(&mut ends.old, "SET CONSTRAINTS ALL DEFERRED", cx.request_timeout).await?;
    let mut expected = BTreeMap::new();
    for table in &load.way.tables {
        let sum = load.sums.get(&table.name).copied().unwrap_or_default();
        let before = total(cx, &mut ends.old, table, "true", spans.whole).await?;
        over(cx.io, ends, table, (&known.mark.new.is_after(), sum), spans.whole).await?;
        expected.insert(table.name.clone(), before + sum);
    }
    let words = "checking what was deferred";
    patiently(cx.io, words, ask(&mut ends.old, "SET CONSTRAINTS ALL IMMEDIATE", spans.whole.left())).await?;
    for table in &load.way.tables {
        let after = total(cx, &mut ends.old, table, "true", spans.whole).await?;
        let fresh = total(cx, &mut ends.old, table, &known.mark.old.is_after(), spans.whole).await?;
        let sum = load.sums.get(&table.name).copied().unwrap_or_default();
        if Some(&after) != expected.get(&table.name) || fresh != sum {
            let words = format!("{}: {} rows on the old server do not add up to those of both", table.name, after.rows);
            return Err(refused(&words));
        }
    }
    stood_still(cx, ends, load, spans).await?;
    sequences::raise(&mut ends.old, &load.sequences, cx.request_timeout).await?;
    patiently(cx.io, "committing", ask(&mut ends.old, "COMMIT", spans.whole.left())).await.map_err(|trouble| {
        let hint = "the same command again says what has become of it: all of the rows are there, or none is";
        if trouble.exit == Exit::UNKNOWN { trouble.hint(hint) } else { trouble }
    })?;
    Ok(xid.saturating_add(1))
}

/// Why nothing was changed: the transaction ends with its session.
fn refused(words: &str) -> Trouble {
    Trouble::new(Exit::CLOSED, format!("{words}; nothing was changed"))
        .hint("stop what writes to either server, and say it again: it begins anew")
}

/// Begins to write, once whatever began before has ended: what other transactions do from here on has a higher number.
async fn begin(cx: &mut Context<'_, '_>, old: &mut Hand, span: Duration) -> Result<u64, Trouble> {
    let rows = ask(old, BEGIN, cx.request_timeout).await?;
    let xid: u64 = number(old.place(), rows.first(), "xid")?;
    let (mut talk, patience) = (Talk::default(), Patience::new(span));
    loop {
        let rows = ask(old, OLDEST, cx.request_timeout).await?;
        if number::<u64>(old.place(), rows.first(), "oldest")? == xid {
            return Ok(xid);
        }
        let words = format!("{}: a transaction that writes is open", old.place());
        wait(cx, &mut talk, patience, &words).await?;
    }
}

async fn total(
    cx: &mut Context<'_, '_>,
    old: &mut Hand,
    table: &Table,
    condition: &str,
    patience: Patience,
) -> Result<Sum, Trouble> {
    let words = format!("{}: adding up {}", old.place(), table.name);
    patiently(cx.io, &words, table.sum(old, condition, patience.left())).await
}

/// Copies the rows of one table.
async fn over(
    io: &mut Io<'_>,
    ends: &mut Ends,
    table: &Table,
    (after, sum): (&str, Sum),
    patience: Patience,
) -> Result<(), Trouble> {
    let (name, columns) = (&table.name, table.copied());
    let out = format!("COPY (SELECT {columns} FROM ONLY {name} WHERE {after}) TO STDOUT");
    let into = format!("COPY {name} ({columns}) FROM STDIN");
    let gone = AtomicU64::new(0);
    let mut report = |bytes: u64| gone.store(bytes, Ordering::Relaxed);
    let mut ticks = interval(TOLD);
    ticks.tick().await;
    let began = Instant::now();
    let rows = {
        let mut copying = std::pin::pin!(ends.new.copy_to(&out, (&mut ends.old, &into), &mut report, patience.left()));
        loop {
            tokio::select! {
                rows = &mut copying => break rows,
                _ = ticks.tick() => {
                    let (kib, seconds) = (gone.load(Ordering::Relaxed) / 1024, began.elapsed().as_secs());
                    io.say(format!("{name}: {kib} KiB of {} rows are over after {seconds} s", sum.rows));
                }
            }
        }
    };
    let rows = rows.map_err(|refused| {
        let trouble = trouble(&refused);
        let exit = if refused.code.is_some() && trouble.exit == Exit::UNKNOWN { Exit::CLOSED } else { trouble.exit };
        Trouble::new(exit, format!("{name}: {}; nothing was changed", trouble.message))
            .hint("what the old server refuses it must be able to take: compare its table with that of the new server")
    })?;
    if rows == sum.rows {
        return Ok(());
    }
    Err(refused(&format!("{name}: {rows} of {} rows went over", sum.rows)))
}

/// Whether the new server is as it was when the copying began.
async fn stood_still(cx: &mut Context<'_, '_>, ends: &mut Ends, load: &Load, spans: Spans) -> Result<(), Trouble> {
    release(cx, &mut ends.new).await?;
    let now = settled(cx, &mut ends.new, spans.wait).await?;
    let place = ends.new.place().to_owned();
    let since = if now.counted_since == load.counted.counted_since { now.tables.since(&load.counted.tables) } else { None };
    let Some(since) = since else {
        return Err(refused(&format!("{place}: the server was restarted, or its counters were reset, meanwhile")));
    };
    if let Some((table, counts)) = since.first() {
        return Err(refused(&format!("{place}: {table} was written to meanwhile ({counts})")));
    }
    let condition = checks::postgres::mark::is_from(load.new_xid);
    let arrived = written(cx, &mut ends.new, &condition, spans.whole).await?;
    match arrived.iter().next() {
        Some((table, rows)) => Err(refused(&format!("{place}: {rows} rows came to {table} meanwhile"))),
        None => Ok(()),
    }
}
