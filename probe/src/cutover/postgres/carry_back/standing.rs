//! Two servers of which neither may move: when nothing is open, and in which snapshot they are looked at.

use std::time::Duration;

use checks::postgres::by_hand::{Hand, Written};
use checks::postgres::mark::{Mark, Side};
use tokio::time::sleep;

use super::super::super::Context;
use super::super::super::trouble::Trouble;
use super::super::marks::Known;
use super::super::{Patience, Talk, enter, trouble};
use super::tables::{ask, number};
use crate::exit::Exit;

/// How often to look again.
const PACE: Duration = Duration::from_millis(200);
/// By then the counters of sessions that have gone idle show all that they did.
const SETTLED: Duration = Duration::from_secs(11);

/// What would change how a value reads, and what would end a transaction that takes its time.
const PINS: &str = "SET IntervalStyle = 'postgres'; SET extra_float_digits = 1; SET bytea_output = 'hex'; SET lc_monetary = 'C'; \
     SET xmloption = content; SET synchronous_commit = on; \
     SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ('transaction_timeout', 'idle_in_transaction_session_timeout')";

/// A snapshot in which nothing was open. `COMMIT` ends it.
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
     SELECT pg_snapshot_xmax(s) AS next_xid, pg_snapshot_xmin(s) AS oldest FROM pg_current_snapshot() AS s";

/// A login to each server.
pub(super) struct Ends {
    pub(super) old: Hand,
    pub(super) new: Hand,
    /// Which database of which server the old one is.
    pub(super) old_is: String,
    new_is: String,
}

impl Ends {
    /// Logs in to both, and makes sure that they are two.
    pub(super) async fn enter(cx: &mut Context<'_, '_>, servers: &checks::Context) -> Result<Self, Trouble> {
        let mut old = enter(cx, servers, "old").await?;
        let mut new = enter(cx, servers, "new").await?;
        if old.is_where(&mut new, servers).await.map_err(|refused| trouble(&refused))? {
            let message = format!("{} and {} are one server", old.place(), new.place());
            return Err(Trouble::new(Exit::USAGE, message).hint("correct the connection string of one of the two"));
        }
        let limit = cx.request_timeout;
        ask(&mut old, PINS, limit).await?;
        ask(&mut new, PINS, limit).await?;
        let old_is = old.identity(limit).await.map_err(|refused| trouble(&refused))?;
        let new_is = new.identity(limit).await.map_err(|refused| trouble(&refused))?;
        Ok(Self { old, new, old_is, new_is })
    }

    /// From where to where.
    pub(super) fn places(&self) -> String {
        format!("{} → {}", self.new.place(), self.old.place())
    }

    /// Whether the mark was taken of these two.
    pub(super) fn are_of(&self, Known { fact, mark }: &Known) -> Result<(), Trouble> {
        let sides = [("old", &self.old, &mark.old, &self.old_is), ("new", &self.new, &mark.new, &self.new_is)];
        for (name, hand, side, is) in sides {
            if side.identity != *is {
                let message = format!("{}: this is {is}, and {fact} was taken of {}", hand.place(), side.identity);
                return Err(Trouble::new(Exit::UNKNOWN, message)
                    .hint(format!("correct --{name}, or name the mark of these two servers with --fact")));
            }
        }
        Ok(())
    }
}

/// Waits until no transaction writes that could commit yet, and until what was done is counted.
pub(super) async fn settled(cx: &mut Context<'_, '_>, hand: &mut Hand, span: Duration) -> Result<Written, Trouble> {
    let (mut talk, patience) = (Talk::default(), Patience::new(span));
    let mut waited = false;
    loop {
        let written = hand.written(cx.request_timeout).await.map_err(|refused| trouble(&refused))?;
        let (open, prepared, restless) = (written.open_writers, written.prepared, written.restless);
        if open > 0 || prepared > 0 {
            let words = format!("{}: {open} transactions write, {prepared} are prepared", hand.place());
            wait(cx, &mut talk, patience, &words).await?;
        } else if restless > 0 && !waited {
            talk.say(cx.io, format!("{}: {restless} sessions were active just now: waiting until that is counted", hand.place()));
            sleep(SETTLED).await;
            waited = true;
        } else {
            return Ok(written);
        }
    }
}

/// Waits a little for something that is open to end.
pub(super) async fn wait(cx: &mut Context<'_, '_>, talk: &mut Talk, patience: Patience, words: &str) -> Result<(), Trouble> {
    if patience.is_over() {
        return Err(Trouble::new(Exit::CLOSED, format!("{words}, and could commit rows yet; nothing was changed"))
            .hint("stop the application, and end what is left (`pg_stat_activity`, `pg_prepared_xacts`)"));
    }
    talk.say(cx.io, format!("waiting: {words}"));
    sleep(PACE.min(patience.left())).await;
    Ok(())
}

/// Begins to look at a server as it is in a moment without any transaction that writes. The first one after it has the number that is
/// returned, or a later one.
pub(super) async fn snapshot(cx: &mut Context<'_, '_>, hand: &mut Hand, span: Duration) -> Result<u64, Trouble> {
    let (mut talk, patience) = (Talk::default(), Patience::new(span));
    loop {
        let rows = ask(hand, SNAPSHOT, cx.request_timeout).await?;
        let (next, oldest): (u64, u64) =
            (number(hand.place(), rows.first(), "next_xid")?, number(hand.place(), rows.first(), "oldest")?);
        if next == oldest {
            return Ok(next);
        }
        release(cx, hand).await?;
        let words = format!("{}: a transaction that writes is open", hand.place());
        wait(cx, &mut talk, patience, &words).await?;
    }
}

/// Ends looking at it.
pub(super) async fn release(cx: &Context<'_, '_>, hand: &mut Hand) -> Result<(), Trouble> {
    ask(hand, "COMMIT", cx.request_timeout).await.map(|_| ())
}

/// The server's own clock, as RFC 3339 has it.
const CLOCK: &str = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS at";

/// Where a server stands from this transaction on.
async fn side(cx: &mut Context<'_, '_>, hand: &mut Hand, identity: String, next_xid: u64) -> Result<Side, Trouble> {
    let written = hand.written(cx.request_timeout).await.map_err(|refused| trouble(&refused))?;
    let clock = ask(hand, CLOCK, cx.request_timeout).await?;
    let at = number(hand.place(), clock.first(), "at")?;
    Ok(Side { identity, next_xid, at, counted_since: written.counted_since, tables: written.tables })
}

/// Both of them, once they are equal again. The old one is logged in to anew: what a session did is counted when it ends.
pub(super) async fn mark(
    cx: &mut Context<'_, '_>,
    servers: &checks::Context,
    ends: Ends,
    (old_xid, new_xid): (u64, u64),
) -> Result<Mark, Trouble> {
    let Ends { old, mut new, old_is, new_is } = ends;
    old.leave().await;
    let new_side = side(cx, &mut new, new_is, new_xid).await?;
    new.leave().await;
    let mut old = enter(cx, servers, "old").await?;
    let old_side = side(cx, &mut old, old_is, old_xid).await?;
    old.leave().await;
    Ok(Mark { old: old_side, new: new_side })
}
