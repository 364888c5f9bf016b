//! Which fences stand, as the catalogs say.

use serde::{Deserialize, Serialize};
use tokio_postgres::error::SqlState;

use crate::check::Context;
use crate::net::Budget;
use crate::outcome::Outcome;
use crate::postgres::login::APPLICATION;
use crate::postgres::observer::{Observer, Row};
use crate::postgres::{Login, Session, UNREADABLE};

use super::{NO_SUCH_ROLE, NOT_FENCED, PREPARED_TRANSACTION, SUPERUSER};

/// A database that every server has.
const ELSEWHERE: &str = "postgres";
/// How a server refuses a login because of a fence: a database that allows none, a limit, no CONNECT.
const SHUT_OUT: [SqlState; 3] =
    [SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, SqlState::TOO_MANY_CONNECTIONS, SqlState::INSUFFICIENT_PRIVILEGE];

/// What no fence of this kind stops, for whoever hears that it stands.
pub const NOT_STOPPED: &str = "it does not stop superusers, a session that says itself that its transactions write, nor COMMIT PREPARED \
     of a transaction that is prepared later";

/// What binds one role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Role {
    pub(super) name: String,
    found: bool,
    superuser: bool,
    pub(super) can_login: bool,
    pub(super) limit: i64,
    pub(super) may_connect: bool,
    /// What the role, the database or both are set to, the nearest first.
    read_only: Option<bool>,
    sessions: u64,
}

/// All fences of a database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fences {
    /// `default_transaction_read_only` is on by the server's configuration, which reaches sessions that are there.
    everywhere: bool,
    pub(super) allowed: bool,
    pub(super) limit: i64,
    prepared: Vec<String>,
    pub(super) roles: Vec<Role>,
}

/// A server that was looked at.
pub(super) struct System {
    pub(super) place: String,
    identifier: i64,
    database: u32,
    pub(super) boot: String,
    pub(super) fences: Fences,
}

/// A text as SQL writes it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// One row for each role; the nearest setting wins, as when a session begins.
fn question(database: &str, roles: &[String]) -> String {
    let roles = roles.iter().map(|role| format!("({})", quoted(role))).collect::<Vec<_>>().join(", ");
    let set = |database: &str, role: &str| {
        format!(
            "(SELECT o.option_value::boolean FROM pg_db_role_setting s, pg_options_to_table(s.setconfig) o \
             WHERE s.setdatabase = {database} AND s.setrole = {role} AND o.option_name = 'default_transaction_read_only')"
        )
    };
    let there = "FROM pg_stat_activity a WHERE a.datid = d.oid AND a.usesysid = r.oid AND a.backend_type = 'client backend'";
    let nearest = [set("d.oid", "r.oid"), set("0", "r.oid"), set("d.oid", "0"), set("0", "0")].join(", ");
    format!(
        "SET standard_conforming_strings = on; \
         SELECT w.name, d.oid AS database, d.datallowconn AS allowed, d.datconnlimit AS db_limit, r.oid IS NOT NULL AS found, \
         coalesce(r.rolsuper, false) AS superuser, coalesce(r.rolcanlogin, false) AS can_login, coalesce(r.rolconnlimit, 0) AS role_limit, \
         coalesce(has_database_privilege(r.oid, d.oid, 'CONNECT'), false) AS may_connect, coalesce({nearest}) AS read_only, \
         (SELECT count(*) {there}) AS sessions, (SELECT count(*) {there} AND a.application_name = '{APPLICATION}') AS named, \
         (SELECT setting FROM pg_settings WHERE name = 'default_transaction_read_only') AS setting, \
         (SELECT source FROM pg_settings WHERE name = 'default_transaction_read_only') AS source, \
         (SELECT string_agg(quote_literal(gid), ', ') FROM (SELECT gid FROM pg_prepared_xacts WHERE database = d.datname LIMIT 5) p) \
         AS prepared FROM (VALUES {roles}) AS w (name) CROSS JOIN pg_database d LEFT JOIN pg_roles r ON r.rolname = w.name \
         WHERE d.datname = {}",
        quoted(database)
    )
}

impl System {
    /// Looks, from another database if a fence keeps us out of this one.
    pub(super) async fn look(cx: &Context, target: &str, roles: &[String], budget: Budget) -> Result<Self, Outcome> {
        let login = Login::of(cx, target).await?;
        let entered = Observer::enter_by(cx, login.clone(), budget).await;
        let mut observer = match entered {
            Err(outcome) if SHUT_OUT.iter().any(|code| says(&outcome, code)) => {
                Observer::enter_by(cx, login.clone().with_database(ELSEWHERE), budget).await.map_err(|_| outcome)?
            }
            other => other?,
        };
        let seen = Self::read(&mut observer, login.database(), roles, budget).await;
        observer.session.close(budget).await;
        seen
    }

    async fn read(observer: &mut Observer, database: &str, roles: &[String], budget: Budget) -> Result<Self, Outcome> {
        let place = observer.place.clone();
        let rows = observer.session.ask(&question(database, roles), budget).await?;
        if rows.len() != roles.len() {
            return Err(UNREADABLE.because(format!("{place}: {} rows instead of {}", rows.len(), roles.len())));
        }
        let (identifier, boot) = (observer.sight.system, observer.sight.boot.clone());
        let mut seen = Self { place: place.clone(), identifier, database: 0, boot, fences: Fences::default() };
        for row in &rows {
            seen.take(&Row(row), &observer.session)
                .map_err(|field| UNREADABLE.because(format!("{place}: no readable {field} in the answer")))?;
        }
        match roles.iter().find(|role| seen.fences.roles.iter().all(|seen| seen.name != **role)) {
            Some(role) => Err(UNREADABLE.because(format!("{place}: nothing about role {role} in the answer"))),
            None => Ok(seen),
        }
    }

    fn take(&mut self, row: &Row<'_>, session: &Session) -> Result<(), &'static str> {
        let name = row.text("name")?.to_owned();
        self.database = row.number("database")?;
        let by = ["configuration file", "command line"];
        self.fences.everywhere = row.truth("setting")? && by.contains(&row.text("source")?);
        self.fences.allowed = row.truth("allowed")?;
        self.fences.limit = row.number("db_limit")?;
        self.fences.prepared = row.maybe("prepared")?.map(str::to_owned).into_iter().collect();
        let read_only = if row.maybe("read_only")?.is_some() { Some(row.truth("read_only")?) } else { None };
        let (sessions, named): (u64, u64) = (row.number("sessions")?, row.number("named")?);
        // A session is ours if it says so, and as far as there are any.
        let ours = named.min(session.sessions_of(&name));
        self.fences.roles.push(Role {
            found: row.truth("found")?,
            superuser: row.truth("superuser")?,
            can_login: row.truth("can_login")?,
            limit: row.number("role_limit")?,
            may_connect: row.truth("may_connect")?,
            read_only,
            sessions: sessions.saturating_sub(ours),
            name,
        });
        Ok(())
    }

    /// Which database of which server, as all checks name it.
    pub(super) fn identity(&self) -> String {
        format!("{}/{}", self.identifier, self.database)
    }
}

/// Whether the server itself said this.
pub(super) fn says(outcome: &Outcome, code: &SqlState) -> bool {
    outcome.evidence().as_str().ends_with(&format!("(SQLSTATE {})", code.code()))
}

impl Fences {
    /// Sessions of all of these roles.
    pub(super) fn sessions(&self) -> u64 {
        self.roles.iter().fold(0, |sum, role| sum.saturating_add(role.sessions))
    }

    /// The same server without any of them.
    pub(super) fn taken_down(mut self) -> Self {
        (self.everywhere, self.allowed, self.limit, self.prepared) = (false, true, -1, Vec::new());
        for role in &mut self.roles {
            (role.can_login, role.limit, role.may_connect, role.read_only) = (true, -1, true, None);
            (role.found, role.superuser) = (true, false);
        }
        self
    }

    /// What stops new sessions of this role.
    fn for_new(&self, role: &Role) -> Vec<&'static str> {
        let read_only = role.read_only.unwrap_or(self.everywhere);
        [
            (read_only && role.read_only.is_none(), "default_transaction_read_only is on for the server"),
            (read_only && role.read_only.is_some(), "default_transaction_read_only is on for the role or the database"),
            (!self.allowed, "the database allows no connections"),
            (self.limit == 0, "the database's connection limit is 0"),
            (!role.can_login, "the role has no LOGIN"),
            (role.limit == 0, "the role's connection limit is 0"),
            (!role.may_connect, "the role has no CONNECT"),
        ]
        .into_iter()
        .filter_map(|(stands, what)| stands.then_some(what))
        .collect()
    }

    /// Whether the role can write.
    pub(super) fn judge(&self, place: &str) -> Outcome {
        let mut stand = Vec::new();
        for role in &self.roles {
            let name = &role.name;
            if !role.found {
                return NO_SUCH_ROLE.because(format!("{place}: there is no role {name}"));
            }
            if role.superuser {
                return SUPERUSER.because(format!("{place}: role {name} is a superuser"));
            }
        }
        if !self.prepared.is_empty() {
            return PREPARED_TRANSACTION.because(format!("{place}: {}", self.prepared.join(", ")));
        }
        for role in &self.roles {
            let (name, fences) = (&role.name, self.for_new(role));
            if fences.is_empty() {
                let off = if self.everywhere { ": default_transaction_read_only is off for it or the database" } else { "" };
                return NOT_FENCED.because(format!("{place}: nothing stops new sessions of role {name}{off}"));
            }
            let all = self.everywhere && role.read_only != Some(false);
            if !all && role.sessions > 0 {
                let stands = fences.join(", ");
                let words = format!("{} sessions of role {name} are left, which none of this stops: {stands}", role.sessions);
                return NOT_FENCED.because(format!("{place}: {words}"));
            }
            stand.push(format!("{name}: {}", fences.join(", ")));
        }
        Outcome::pass(format!("{place}: {}; {NOT_STOPPED}", stand.join("; ")))
    }
}
