//! The verifier's own role on a server: what it may see, what it must not be able to do, and what one look shows of the whole server.

use chrono::{DateTime, Utc};
use tokio_postgres::SimpleQueryRow;

use crate::check::Context;
use crate::net::Budget;
use crate::outcome::{Outcome, ReasonSpec};

use super::server::IN_RECOVERY;
use super::{DENIED, Login, NO_PERMISSION, Session, UNREADABLE};

/// Our own login is refused: that says nothing about the application's.
pub(super) const OWN_LOGIN_DENIED: ReasonSpec = ReasonSpec::unknown(
    "own_login_denied",
    "let the verifier's own role in: correct its connection string or `pg_hba.conf`, or create it with `deploy/postgres/observer.sql`",
);
/// The role could be the application's.
pub(super) const NOT_AN_OBSERVER: ReasonSpec = ReasonSpec::unknown(
    "not_an_observer",
    "give the verifier a role of its own that can not write (`deploy/postgres/observer.sql`): what the application's role does could \
     not be told from what the verifier does",
);
/// Our own session is read-only by itself.
pub(super) const OWN_READ_ONLY: ReasonSpec = ReasonSpec::unknown(
    "own_read_only",
    "take `default_transaction_read_only` from the verifier's own role and connection string (`ALTER ROLE … RESET`): with it every server \
     looks fenced",
);
/// The server counts nothing.
pub(super) const COUNTERS_OFF: ReasonSpec = ReasonSpec::unknown(
    "counters_off",
    "set `track_counts = on` on the server and for no role by itself: its counters stand still without it",
);

/// What can keep the verifier's own role from looking, besides what can happen on the way into any database.
pub(super) const OBSERVER: &[ReasonSpec] = &[OWN_LOGIN_DENIED, NOT_AN_OBSERVER, OWN_READ_ONLY, COUNTERS_OFF, IN_RECOVERY];

/// Pins what would change how an answer reads, or whose functions are called. It never touches `default_transaction_read_only`: what
/// that is on the server is a thing to be seen.
const PINNED: &str = "SET search_path = pg_catalog; SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET lock_timeout = '2s'; \
     SET statement_timeout = ";

/// One row that shows the whole server. `backend_xid` of others, and thereby whether a transaction that writes is open, is only seen
/// with `pg_read_all_stats`; without it the column is empty, as if there were none.
const SIGHT: &str = "SELECT (SELECT system_identifier FROM pg_control_system()) AS system, \
     (SELECT oid FROM pg_database WHERE datname = current_database()) AS database, \
     EXTRACT(epoch FROM pg_postmaster_start_time()) AS boot, \
     (SELECT stats_reset FROM pg_stat_wal) AS wal_reset, d.stats_reset AS database_reset, \
     pg_is_in_recovery() AS in_recovery, \
     (SELECT setting = 'on' AND source NOT IN ('user', 'database user', 'client', 'session') FROM pg_settings \
      WHERE name = 'track_counts') AND NOT EXISTS (SELECT FROM pg_db_role_setting \
      WHERE array_to_string(setconfig, ',') ~* 'track_counts=(off|false|no|0)') AS counts, \
     current_setting('default_transaction_read_only') AS read_only, current_setting('server_version') AS version, \
     (SELECT source FROM pg_settings WHERE name = 'default_transaction_read_only') AS read_only_by, \
     pg_snapshot_xmax(pg_current_snapshot()) AS next_xid, d.sessions, d.xact_rollback AS rollbacks, \
     (SELECT count(*) FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()) AS open_writers, \
     (SELECT count(*) FROM pg_prepared_xacts) AS prepared, \
     EXTRACT(epoch FROM clock_timestamp()) AS clock, \
     pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_all, \
     (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser, \
     (SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') \
      AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'phasegate') \
      AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') LIMIT 1) AS writable \
     FROM pg_stat_database d WHERE d.datname = current_database()";

/// Who says what a setting is, if it is not the server.
const OWN: [&str; 5] = ["user", "database user", "client", "interactive", "session"];
/// Who else can say it, in the words of `pg_settings.source`.
const OTHERS: [&str; 7] =
    ["default", "environment variable", "configuration file", "command line", "global", "database", "override"];

/// What one look shows of a server and of the database that is logged in to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sight {
    /// The cluster's identifier.
    pub(crate) system: i64,
    /// The database's own number in it.
    pub(crate) database: u32,
    /// When the server was started, in its own words.
    pub(crate) boot: String,
    /// Start, crash and every reset of counters: another text means that counters began anew.
    pub(crate) counted_since: String,
    /// What `default_transaction_read_only` is for a session that says nothing of its own.
    pub(crate) read_only: bool,
    /// In its own words.
    pub(crate) version: String,
    /// The next transaction that writes gets this number or a later one; 64 bits, so that it never wraps. It counts for the whole
    /// cluster, needs no privilege, and can not be reset.
    pub(crate) next_xid: u64,
    /// Sessions that were ever established to this database, ours included.
    pub(crate) sessions: u64,
    /// Transactions of this database that were rolled back.
    pub(crate) rollbacks: u64,
    /// Sessions of the whole cluster whose transaction writes and is open.
    pub(crate) open_writers: u64,
    /// Prepared transactions of the whole cluster.
    pub(crate) prepared: u64,
    /// The server's clock.
    pub(crate) clock: DateTime<Utc>,
}

impl Sight {
    /// Up to which transaction all have ended, if that can be said: an open one may have a lower number than one that has ended, and
    /// moves nothing when it commits.
    pub(crate) fn all_ended_before(&self) -> Option<u64> {
        (self.open_writers == 0 && self.prepared == 0).then_some(self.next_xid)
    }
}

/// A session of the verifier's own role.
pub(crate) struct Observer {
    /// Further questions go here; names without a schema are those of `pg_catalog`.
    pub(crate) session: Session,
    /// `role@host:port/database`.
    pub(crate) place: String,
    /// The role, as SQL names it.
    pub(crate) role: String,
    /// What the server showed.
    pub(crate) sight: Sight,
}

impl Observer {
    /// Logs in to the target of this name, as the role that observes, and looks.
    pub(crate) async fn enter(cx: &Context, target: &str, budget: Budget) -> Result<Self, Outcome> {
        Self::enter_by(cx, Login::of(cx, target).await?, budget).await
    }

    /// The same by a login that leads to another database than the target says.
    pub(crate) async fn enter_by(cx: &Context, login: Login, budget: Budget) -> Result<Self, Outcome> {
        let mut session = login.open(cx, budget).await.map_err(own_refusal)?;
        let seen = Self::look(&mut session, &login, budget).await;
        match seen {
            Ok(sight) => Ok(Self { session, place: login.place(), role: login.role(), sight }),
            Err(outcome) => {
                session.close(budget).await;
                Err(outcome)
            }
        }
    }

    /// Logs in to the target of this name, looks on as `more` says, and logs out. Also says which database that was.
    pub(crate) async fn visit<T>(
        cx: &Context,
        target: &str,
        budget: Budget,
        more: impl AsyncFnOnce(&mut Self) -> Result<T, Outcome>,
    ) -> Result<(String, T), Outcome> {
        let mut observer = Self::enter(cx, target, budget).await?;
        let (identity, seen) = (observer.identity(), more(&mut observer).await);
        observer.session.close(budget).await;
        Ok((identity, seen?))
    }

    async fn look(session: &mut Session, login: &Login, budget: Budget) -> Result<Sight, Outcome> {
        let place = login.place();
        let limit = budget.timeout().as_millis();
        let rows = session.ask(&format!("{PINNED}{limit}; {SIGHT}"), budget).await?;
        let [row] = rows.as_slice() else {
            return Err(UNREADABLE.because(format!("{place}: {} rows instead of one", rows.len())));
        };
        let read = Row(row);
        let unreadable = |field: &'static str| UNREADABLE.because(format!("{place}: no readable {field} in the answer"));
        read.stands(login).map_err(unreadable)??;
        read.sight().map_err(unreadable)
    }

    /// Which database of which server, as all checks name it.
    pub(crate) fn identity(&self) -> String {
        self.sight.identity()
    }
}

impl Sight {
    /// Which database of which server, as all checks name it.
    pub(crate) fn identity(&self) -> String {
        format!("{}/{}", self.system, self.database)
    }
}

/// The login of an observer is ours alone: that it is refused is no flaw of what is looked at.
pub(super) fn own_refusal(outcome: Outcome) -> Outcome {
    if outcome.reason() == Some(&DENIED.into()) { OWN_LOGIN_DENIED.because(outcome.evidence().as_str()) } else { outcome }
}

/// A row of text, read by name.
pub(super) struct Row<'a>(pub(super) &'a SimpleQueryRow);

impl<'a> Row<'a> {
    /// The row of an answer that has exactly one. More, or none, is no answer to the question.
    pub(super) fn only(rows: &'a [SimpleQueryRow]) -> Result<Self, &'static str> {
        if let [row] = rows { Ok(Self(row)) } else { Err("single row") }
    }
}

impl Row<'_> {
    /// A column that has a value.
    pub(super) fn text(&self, name: &'static str) -> Result<&str, &'static str> {
        self.maybe(name)?.ok_or(name)
    }

    /// A column that may have none.
    pub(super) fn maybe(&self, name: &'static str) -> Result<Option<&str>, &'static str> {
        self.0.try_get(name).map_err(|_| name)
    }

    /// A column that has a number.
    pub(super) fn number<T: std::str::FromStr>(&self, name: &'static str) -> Result<T, &'static str> {
        self.text(name)?.parse().map_err(|_| name)
    }

    /// A column that is true or false.
    pub(super) fn truth(&self, name: &'static str) -> Result<bool, &'static str> {
        match self.text(name)? {
            "t" | "on" => Ok(true),
            "f" | "off" => Ok(false),
            _ => Err(name),
        }
    }

    /// A column that has seconds since 1970.
    pub(super) fn moment(&self, name: &'static str) -> Result<DateTime<Utc>, &'static str> {
        let seconds: f64 = self.number(name)?;
        let span = std::time::Duration::try_from_secs_f64(seconds).map_err(|_| name)?;
        let micros = i64::try_from(span.as_micros()).map_err(|_| name)?;
        DateTime::from_timestamp_micros(micros).ok_or(name)
    }

    /// Since when the counters count, of the columns `boot`, `wal_reset` and `database_reset`: another text means that they began anew.
    pub(super) fn counted_since(&self) -> Result<String, &'static str> {
        let reset = |name| Ok::<_, &'static str>(self.maybe(name)?.unwrap_or("never"));
        Ok(format!("{}/{}/{}", self.text("boot")?, reset("wal_reset")?, reset("database_reset")?))
    }

    /// Whether what the role sees is all there is, and what others do is not what it does itself.
    fn stands(&self, login: &Login) -> Result<Result<(), Outcome>, &'static str> {
        let (place, role) = (login.place(), login.role());
        if self.truth("in_recovery")? {
            return Ok(Err(IN_RECOVERY.because(format!("{place}: the server is in recovery"))));
        }
        if self.truth("superuser")? {
            return Ok(Err(NOT_AN_OBSERVER.because(format!("{place}: role {role} is a superuser"))));
        }
        if let Some(table) = self.maybe("writable")? {
            return Ok(Err(NOT_AN_OBSERVER.because(format!("{place}: role {role} may write to {table}"))));
        }
        let read_only_by = self.text("read_only_by")?;
        if !OWN.contains(&read_only_by) && !OTHERS.contains(&read_only_by) {
            return Err("read_only_by");
        }
        if OWN.contains(&read_only_by) {
            let words = format!("{place}: {role} itself says what default_transaction_read_only is");
            return Ok(Err(OWN_READ_ONLY.because(words)));
        }
        if !self.truth("sees_all")? {
            let words = format!("{place}: what other roles do is hidden from {role}; run GRANT pg_monitor TO {role};");
            return Ok(Err(NO_PERMISSION.because(words)));
        }
        if !self.truth("counts")? {
            return Ok(Err(COUNTERS_OFF.because(format!("{place}: track_counts is off, or set for a role by itself"))));
        }
        Ok(Ok(()))
    }

    fn sight(&self) -> Result<Sight, &'static str> {
        Ok(Sight {
            system: self.number("system")?,
            database: self.number("database")?,
            counted_since: self.counted_since()?,
            boot: self.text("boot")?.to_owned(),
            read_only: self.truth("read_only")?,
            version: self.text("version")?.to_owned(),
            next_xid: self.number("next_xid")?,
            sessions: self.number("sessions")?,
            rollbacks: self.number("rollbacks")?,
            open_writers: self.number("open_writers")?,
            prepared: self.number("prepared")?,
            clock: self.moment("clock")?,
        })
    }
}
