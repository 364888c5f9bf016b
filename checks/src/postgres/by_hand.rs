//! Servers that an operator names by hand: what `cutover postgres` needs of logging in and asking, and the proof that two names lead to
//! two servers.

use std::time::Duration;

use tokio_postgres::SimpleQueryRow;

use crate::check::Context;
use crate::net::{Budget, reasons};
use crate::outcome::{Outcome, Reason, ReasonSpec};

use super::content::{Column, hash_of};
use super::identity::share_a_lock;
use super::mark::NOT_STILL;
use super::observer::{OBSERVER, Row};
use super::tables::Tables;
use super::{LOGIN, Login, NO_PERMISSION, Refusal, Session, UNREADABLE};

/// Pins what would change how an answer reads, whose functions are called, or what of a table is seen. It never touches
/// `default_transaction_read_only`: what that is for a new session is a thing to be seen.
const PINNED: &str = "SET search_path = pg_catalog; SET standard_conforming_strings = on; SET TimeZone = 'UTC'; \
     SET DateStyle = 'ISO, YMD'; SET lock_timeout = '2s'; SET row_security = off";

/// A server did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// One of the reasons that checks give.
    pub reason: Reason,
    /// What to do about it.
    pub next: &'static str,
    /// Where, and in whose words.
    pub words: String,
    /// SQLSTATE, if it is the server that refuses.
    pub code: Option<String>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let code = refusal.code.map(|code| code.code().to_owned());
        Self { reason: refusal.reason.into(), next: refusal.reason.next, words: refusal.words, code }
    }
}

impl From<Outcome> for Refused {
    fn from(outcome: Outcome) -> Self {
        let reason = outcome.reason().cloned().unwrap_or_else(|| UNREADABLE.into());
        let known = |spec: &&ReasonSpec| Reason::from(**spec) == reason;
        let mut specs = LOGIN.iter().chain(reasons::NETWORK).chain(OBSERVER).chain([&NOT_STILL]);
        let next = specs.find(known).map_or("look at the server's log", |spec| spec.next);
        Self { reason, next, words: outcome.evidence().to_string(), code: None }
    }
}

/// A row of an answer, as text.
#[derive(Debug)]
pub struct Line(SimpleQueryRow);

impl Line {
    /// What a column says; none if it is not there, or says nothing.
    pub fn text(&self, column: &str) -> Option<&str> {
        self.0.try_get(column).ok().flatten()
    }

    /// Whether a column says yes.
    pub fn yes(&self, column: &str) -> bool {
        matches!(self.text(column), Some("t" | "on"))
    }
}

/// How a column becomes text, by its type: for [`row_hash`].
pub const SHAPE: &str = "CASE WHEN a.atttypid = 'bytea'::regtype THEN 'bytes' \
     WHEN a.atttypid IN ('text'::regtype, 'varchar'::regtype) THEN 'text' ELSE 'plain' END";

/// The hash of a row as the proofs compare it, of columns with their [`SHAPE`]; none if those are no such list.
pub fn row_hash(columns: &[(String, String)]) -> Option<String> {
    let listed = serde_json::to_value(columns).ok()?;
    serde_json::from_value::<Vec<Column>>(listed).ok().map(|columns| hash_of(&columns))
}

/// A login of the operator.
pub struct Hand {
    session: Session,
    place: String,
}

impl Hand {
    /// Logs in to the target of this name, with the time that the context has.
    pub async fn enter(cx: &Context, target: &str) -> Result<Self, Refused> {
        let budget = Budget::start(cx.timeout);
        let login = Login::of(cx, target).await?;
        let mut session = login.open(cx, budget).await?;
        session.ask(PINNED, budget).await?;
        Ok(Self { session, place: login.place() })
    }

    /// `role@host:port/database`.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Asks; what the server has not answered within the limit it gives up, too.
    pub async fn ask(&mut self, sql: &str, limit: Duration) -> Result<Vec<Line>, Refused> {
        self.session.ask(&format!("SET statement_timeout = {}", limit.as_millis().max(1)), Budget::start(limit)).await?;
        Ok(self.session.ask(sql, Budget::start(limit)).await?.into_iter().map(Line).collect())
    }

    /// Which database of which server, as all checks name it: `SYSTEM/OID`.
    pub async fn identity(&mut self, limit: Duration) -> Result<String, Refused> {
        let sql = "SELECT (SELECT system_identifier FROM pg_control_system()) || '/' || oid AS identity FROM pg_database \
             WHERE datname = current_database()";
        let rows = self.ask(sql, limit).await?;
        let identity = rows.first().and_then(|row| row.text("identity"));
        identity.map(str::to_owned).ok_or_else(|| UNREADABLE.because(format!("{}: no identity in the answer", self.place)).into())
    }

    /// Copies what `out`, a `COPY … TO STDOUT`, gives into `into`, a `COPY … FROM STDIN` of the other login, row by row, and says how
    /// many bytes have gone over. How many rows the other server took.
    pub async fn copy_to(
        &mut self,
        out: &str,
        (other, into): (&mut Self, &str),
        told: &mut (dyn FnMut(u64) + Send),
        limit: Duration,
    ) -> Result<u64, Refused> {
        let budget = Budget::start(limit);
        let patient = format!("SET statement_timeout = {}", limit.as_millis().max(1));
        self.session.ask(&patient, budget).await?;
        other.session.ask(&patient, budget).await?;
        Ok(self.session.copy_to(out, (&mut other.session, into), told, budget).await?)
    }

    /// Whether the other login leads to the same server, under whatever name: a lock that is taken in one is seen in the other.
    pub async fn is_where(&mut self, other: &mut Self, cx: &Context) -> Result<bool, Refused> {
        Ok(share_a_lock(cx, &mut self.session, &mut other.session, Budget::start(cx.timeout)).await?)
    }

    /// Logs out.
    pub async fn leave(self) {
        self.session.close(Budget::start(Duration::from_secs(1))).await;
    }
}

/// What a server says of what was written to a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Since when its counters count, as a [`Side`](super::mark::Side) says it.
    pub counted_since: String,
    /// What they say.
    pub tables: Tables,
    /// Sessions of the whole cluster whose transaction writes and is open.
    pub open_writers: u64,
    /// Prepared transactions of the whole cluster.
    pub prepared: u64,
    /// Other sessions of this database that did something so lately that their counters may not show it.
    pub restless: u64,
}

/// The counters of a session that has gone idle show up within 10 s.
const WRITTEN: &str = "SELECT EXTRACT(epoch FROM pg_postmaster_start_time()) AS boot, \
     (SELECT stats_reset FROM pg_stat_wal) AS wal_reset, d.stats_reset AS database_reset, \
     pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_all, quote_ident(current_user) AS role, \
     (SELECT count(*) FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()) AS open_writers, \
     (SELECT count(*) FROM pg_prepared_xacts) AS prepared, \
     (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' \
      AND pid <> pg_backend_pid() AND state_change > clock_timestamp() - interval '11 s') AS restless \
     FROM pg_stat_database d WHERE d.datname = current_database()";

impl Hand {
    /// What was written to this database.
    pub async fn written(&mut self, limit: Duration) -> Result<Written, Refused> {
        let budget = Budget::start(limit);
        let rows = self.session.ask(WRITTEN, budget).await?;
        let unreadable = |field: &'static str| UNREADABLE.because(format!("{}: no readable {field}", self.place));
        let row = rows.first().map(Row).ok_or_else(|| unreadable("row"))?;
        if !row.truth("sees_all").map_err(unreadable)? {
            let role = row.text("role").map_err(unreadable)?;
            let words = format!("{}: what other roles do is hidden from {role}; run GRANT pg_monitor TO {role};", self.place);
            return Err(NO_PERMISSION.because(words).into());
        }
        let counted_since = row.counted_since().map_err(unreadable)?;
        let number = |name| row.number::<u64>(name).map_err(unreadable);
        let (open_writers, prepared, restless) = (number("open_writers")?, number("prepared")?, number("restless")?);
        let tables = Tables::read(&mut self.session, &self.place, budget).await?;
        Ok(Written { counted_since, tables, open_writers, prepared, restless })
    }
}
