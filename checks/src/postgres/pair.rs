//! Two servers that are compared by reading them: sessions in which the same value reads the same on both.

use std::collections::BTreeMap;

use futures::future::{join, try_join};
use tokio_postgres::SimpleQueryRow;

use crate::check::Context;
use crate::net::Budget;
use crate::outcome::{Outcome, ReasonSpec};

use super::identity::{SAME_SERVER, share_a_lock};
use super::observer::{OWN_LOGIN_DENIED, Row, own_refusal};
use super::{Login, Session, UNREADABLE};

/// What can keep two servers from being compared, besides what can happen on the way into any database.
pub(super) const PAIR: &[ReasonSpec] = &[OWN_LOGIN_DENIED, SAME_SERVER];

/// Pins every setting that changes how a value reads as text, whose functions are called, and what of a table is seen: with
/// `row_security` off a table whose rows are hidden is refused instead of looking empty.
const PINNED: &str = "SET search_path = pg_catalog; SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'postgres'; \
     SET extra_float_digits = 1; SET bytea_output = 'hex'; SET lc_monetary = 'C'; SET xmloption = content; SET row_security = off; \
     SET quote_all_identifiers = off; SET standard_conforming_strings = on; SET synchronize_seqscans = off; \
     SET max_parallel_workers_per_gather = 0; SET lock_timeout = '2s'; SET statement_timeout = ";

/// Which database of which server, and what kind of role looks at it.
const WHO: &str = "SELECT (SELECT system_identifier FROM pg_control_system()) AS system, \
     (SELECT oid FROM pg_database WHERE datname = current_database()) AS database, \
     current_setting('server_version_num') AS version";

/// Start, crash and reset of the counters.
const COUNTED: &str = "SELECT EXTRACT(epoch FROM pg_postmaster_start_time()) AS boot, \
     (SELECT stats_reset FROM pg_stat_wal) AS wal_reset, d.stats_reset AS database_reset \
     FROM pg_stat_database d WHERE d.datname = current_database()";

/// A session that reads one of them.
pub(crate) struct Reader {
    pub(crate) session: Session,
    /// `role@host:port/database`.
    pub(crate) place: String,
    /// The role, as SQL names it.
    pub(crate) role: String,
    /// Which database of which server, as all checks name it: `SYSTEM/OID`.
    pub(crate) identity: String,
    /// 15, 17, 18.
    pub(crate) major: u32,
}

impl Reader {
    /// Logs in to the target of this name.
    pub(crate) async fn enter(cx: &Context, target: &str, budget: Budget) -> Result<Self, Outcome> {
        let login = Login::of(cx, target).await?;
        let (place, role) = (login.place(), login.role());
        let mut session = login.open(cx, budget).await.map_err(own_refusal)?;
        match who(&mut session, &place, budget).await {
            Ok((identity, major)) => Ok(Self { session, place, role, identity, major }),
            Err(outcome) => {
                session.close(budget).await;
                Err(outcome)
            }
        }
    }

    /// Asks.
    pub(crate) async fn ask(&mut self, sql: &str, budget: Budget) -> Result<Vec<SimpleQueryRow>, Outcome> {
        Ok(self.session.ask(sql, budget).await?)
    }

    /// The next transaction that writes gets this number or a later one; 64 bits.
    pub(crate) async fn next_xid(&mut self, budget: Budget) -> Result<u64, Outcome> {
        let rows = self.ask("SELECT pg_snapshot_xmax(pg_current_snapshot()) AS next_xid", budget).await?;
        let next = Row::only(&rows).and_then(|row| row.number("next_xid")).ok();
        next.ok_or_else(|| self.unreadable("next_xid"))
    }

    /// Since when the counters of this database count: another text means that they began anew.
    pub(crate) async fn counted_since(&mut self, budget: Budget) -> Result<String, Outcome> {
        let rows = self.ask(COUNTED, budget).await?;
        let since = Row::only(&rows).and_then(|row| row.counted_since()).ok();
        since.ok_or_else(|| self.unreadable("start of counting"))
    }

    /// What is said about a field of an answer that is not there, or not of its kind.
    pub(crate) fn unreadable(&self, field: &str) -> Outcome {
        UNREADABLE.because(format!("{}: no readable {field} in the answer", self.place))
    }

    /// Logs out.
    pub(crate) async fn leave(self, budget: Budget) {
        self.session.close(budget).await;
    }
}

async fn who(session: &mut Session, place: &str, budget: Budget) -> Result<(String, u32), Outcome> {
    let limit = budget.timeout().as_millis();
    let rows = session.ask(&format!("{PINNED}{limit}; {WHO}"), budget).await?;
    let [row] = rows.as_slice() else {
        return Err(UNREADABLE.because(format!("{place}: {} rows instead of one", rows.len())));
    };
    let row = Row(row);
    let read = || {
        let (system, database): (i64, u32) = (row.number("system")?, row.number("database")?);
        Ok((format!("{system}/{database}"), row.number::<u32>("version")? / 10_000))
    };
    read().map_err(|field: &'static str| UNREADABLE.because(format!("{place}: no readable {field} in the answer")))
}

/// Both of them.
pub(crate) struct Pair {
    pub(crate) old: Reader,
    pub(crate) new: Reader,
}

impl Pair {
    /// Logs in to both, and makes sure that they are two.
    pub(crate) async fn enter(cx: &Context, old: &str, new: &str, budget: Budget) -> Result<Self, Outcome> {
        let (old, new) = (Box::pin(Reader::enter(cx, old, budget)), Box::pin(Reader::enter(cx, new, budget)));
        let (old, new) = try_join(old, new).await?;
        let mut pair = Self { old, new };
        match share_a_lock(cx, &mut pair.old.session, &mut pair.new.session, budget).await {
            Ok(false) => Ok(pair),
            Ok(true) => {
                let words = format!("a lock that was taken at {} is seen at {}", pair.old.place, pair.new.place);
                pair.leave(budget).await;
                Err(SAME_SERVER.because(words))
            }
            Err(outcome) => {
                pair.leave(budget).await;
                Err(outcome)
            }
        }
    }

    /// Which servers they are, by the names of their targets: what a proof is bound to.
    pub(crate) fn identities(&self, old: &str, new: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(old.to_owned(), self.old.identity.clone()), (new.to_owned(), self.new.identity.clone())])
    }

    /// Logs out of both.
    pub(crate) async fn leave(self, budget: Budget) {
        join(self.old.leave(budget), self.new.leave(budget)).await;
    }
}
