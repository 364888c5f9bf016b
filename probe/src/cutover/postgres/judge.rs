//! Whether a server refuses writes: what one look shows, and what of it would let something be written.

use std::time::Duration;

use checks::postgres::by_hand::{Hand, Line};

use super::super::doctor::Finding;
use super::super::trouble::Trouble;
use super::trouble;
use crate::exit::Exit;

/// Of each kind of hindrance, so many are shown one by one.
const SHOWN: usize = 10;

/// `pg_conf_load_time()` of a session that has just begun is when the server itself has loaded its settings last.
const SERVER: &str = "SELECT pg_is_in_recovery() AS recovery, s.setting AS read_only, s.source, \
     CASE WHEN s.sourcefile ~ 'postgresql.auto.conf$' THEN 'set by ALTER SYSTEM' \
     WHEN s.sourcefile IS NOT NULL THEN 'set in ' || s.sourcefile ELSE s.source END AS origin, \
     (SELECT system_identifier FROM pg_control_system()) AS system, quote_ident(current_user) AS role, \
     pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_all, \
     pg_has_role(current_user, 'pg_signal_backend', 'USAGE') AS signals, \
     has_function_privilege('pg_reload_conf()', 'EXECUTE') AS reloads \
     FROM pg_settings s WHERE s.name = 'default_transaction_read_only'";
const PREPARED: &str = "SELECT quote_literal(gid) AS gid, owner, database, date_trunc('second', prepared) AS since \
     FROM pg_prepared_xacts ORDER BY prepared LIMIT 1000";

/// A list of names as SQL has it.
pub(super) fn list(names: &[String]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("'{}'", name.replace('\'', "''"))).collect();
    format!("ARRAY[{}]::text[]", quoted.join(", "))
}

fn roles_question(roles: &[String]) -> String {
    format!(
        "SELECT n.name, quote_ident(n.name) AS role, r.rolname IS NOT NULL AS there, coalesce(r.rolsuper, false) AS super \
         FROM unnest({}) AS n(name) LEFT JOIN pg_roles r ON r.rolname = n.name ORDER BY 1",
        list(roles)
    )
}

/// Settings of a role or database come before those of the server.
fn overrides_question(roles: &[String]) -> String {
    format!(
        "SELECT c.setting, CASE WHEN s.setrole = 0 AND s.setdatabase = 0 THEN 'ALTER ROLE ALL' \
         WHEN s.setrole = 0 THEN 'ALTER DATABASE ' || quote_ident(d.datname) \
         WHEN s.setdatabase = 0 THEN 'ALTER ROLE ' || quote_ident(r.rolname) \
         ELSE 'ALTER ROLE ' || quote_ident(r.rolname) || ' IN DATABASE ' || quote_ident(d.datname) END AS alter, \
         split_part(c.setting, '=', 1) AS name \
         FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole LEFT JOIN pg_database d ON d.oid = s.setdatabase, \
         unnest(s.setconfig) AS c(setting) \
         WHERE c.setting ~* '^(default_)?transaction_read_only=' AND c.setting !~* '=(on|true|yes|1)$' \
         AND (s.setrole = 0 OR r.rolname = ANY ({})) ORDER BY 2 LIMIT 1000",
        list(roles)
    )
}

/// A transaction is as it was when it began. One of anybody that has a number writes; one of the application that is older than the
/// settings may yet.
fn sessions_question(roles: &[String]) -> String {
    format!(
        "SELECT pid, quote_ident(usename) AS role, coalesce(quote_ident(datname), '-') AS database, coalesce(state, '-') AS state, \
         date_trunc('second', coalesce(xact_start, backend_start)) AS since, usename = ANY ({}) AS ours, \
         coalesce(backend_start <= pg_conf_load_time(), true) AS old, backend_xid IS NOT NULL AS writes \
         FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY backend_start LIMIT 10000",
        list(roles)
    )
}

/// What one look shows.
pub(super) struct Sight {
    /// `role@host:port/database`.
    pub(super) place: String,
    /// The login's role, as SQL names it.
    pub(super) role: String,
    /// The cluster's identifier.
    pub(super) system: String,
    /// What new sessions get.
    pub(super) read_only: bool,
    /// Where that comes from, in words.
    pub(super) origin: String,
    /// What the role lacks to put up a fence.
    pub(super) lacks: Vec<String>,
    /// What a fence can not change; one finding each.
    pub(super) hindrances: Vec<Finding>,
    /// Sessions that can write, or may.
    pub(super) sessions: Vec<Finding>,
    /// Roles that have sessions and were not named.
    others: Vec<String>,
}

impl Sight {
    /// Looks, in a session that has just begun.
    pub(super) async fn take(hand: &mut Hand, roles: &[String], limit: Duration) -> Result<Self, Trouble> {
        let asked = async |hand: &mut Hand, sql: &str| hand.ask(sql, limit).await.map_err(|refused| trouble(&refused));
        let place = hand.place().to_owned();
        let rows = asked(hand, SERVER).await?;
        let server = rows.first().ok_or_else(|| Trouble::new(Exit::UNKNOWN, format!("{place}: no row in the answer")))?;
        let told = |name| server.text(name).unwrap_or_default().to_owned();
        let role = told("role");
        sees_all(server, &place, &role)?;
        let lack = |has: &str, grant: &str| (!server.yes(has)).then(|| format!("GRANT {grant} TO {role};"));
        let lacks = [lack("signals", "pg_signal_backend"), lack("reloads", "EXECUTE ON FUNCTION pg_reload_conf()")];
        let mut sight = Self {
            read_only: server.yes("read_only"),
            system: told("system"),
            origin: told("origin"),
            lacks: lacks.into_iter().flatten().collect(),
            hindrances: Vec::new(),
            sessions: Vec::new(),
            others: Vec::new(),
            place,
            role,
        };
        if server.yes("recovery") {
            let next = "name the primary with --old: this one replays what another writes";
            sight.hindrances.push(Finding::problem("recovery", Exit::CLOSED, "the server is in recovery", next));
        }
        let named = asked(hand, &roles_question(roles)).await?;
        sight.hindrances.extend(named.iter().filter_map(role_finding));
        let overrides = asked(hand, &overrides_question(roles)).await?;
        if overrides.is_empty() {
            overt(server, &sight.place)?;
        }
        sight.hindrances.extend(few(overrides.iter().map(override_finding).collect()));
        let prepared = asked(hand, PREPARED).await?;
        sight.hindrances.extend(few(prepared.iter().map(prepared_finding).collect()));
        sight.see_sessions(&asked(hand, &sessions_question(roles)).await?);
        Ok(sight)
    }

    fn see_sessions(&mut self, rows: &[Line]) {
        let mut found = Vec::new();
        for row in rows {
            let told = |name| row.text(name).unwrap_or_default();
            let who = format!("pid {}: {} in {}, {}", told("pid"), told("role"), told("database"), told("state"));
            if row.yes("writes") {
                let next = "wait for its end, or end it: `SELECT pg_terminate_backend(PID)`";
                let text = format!("{who}: its transaction since {} writes", told("since"));
                found.push(Finding::problem("transaction", Exit::CLOSED, text, next));
            } else if row.yes("ours") && row.yes("old") {
                let text = format!("{who}: it began before the server last loaded its settings");
                let next = "`cutover postgres fence` ends it; the application connects again, read-only";
                found.push(Finding::problem("session", Exit::CLOSED, text, next));
            }
            if !row.yes("ours") && told("role") != self.role && !self.others.iter().any(|other| other == told("role")) {
                self.others.push(told("role").to_owned());
            }
        }
        self.sessions = few(found);
    }

    /// What was found, as it is shown; a fence stands if none of it is a problem.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let setting = if self.read_only {
            Finding::fine("setting", format!("default_transaction_read_only is on for new sessions ({})", self.origin))
        } else {
            let text = format!("default_transaction_read_only is off for new sessions ({})", self.origin);
            Finding::problem("setting", Exit::CLOSED, text, "`cutover postgres fence` puts it up")
        };
        let mut all = vec![setting];
        all.extend(self.hindrances.iter().chain(&self.sessions).cloned());
        if self.sessions.is_empty() {
            all.push(Finding::fine("sessions", "none of the application's is from before, and no transaction writes"));
        }
        if !self.others.is_empty() {
            let text = format!("other roles have sessions: {}", few_names(&self.others));
            all.push(Finding::warning("roles", text, "name those of the application with --role, too"));
        }
        all
    }
}

/// Whether the login sees what others do.
fn sees_all(server: &Line, place: &str, role: &str) -> Result<(), Trouble> {
    if server.yes("sees_all") {
        return Ok(());
    }
    let message = format!("{place}: what other roles do is hidden from {role}");
    Err(Trouble::new(Exit::AUTH, message).hint(format!("run GRANT pg_monitor TO {role};")))
}

/// Whether the login gets the setting that others get.
fn overt(server: &Line, place: &str) -> Result<(), Trouble> {
    match server.text("source") {
        Some(source @ ("client" | "session" | "user" | "database" | "database user" | "global")) => {
            let message = format!(
                "{place}: default_transaction_read_only is set for this login itself ({source}), so what others get is not seen"
            );
            let next = "take it out of the connection string, of `ALTER ROLE … SET` and of `ALTER DATABASE … SET`";
            Err(Trouble::new(Exit::UNKNOWN, message).hint(next))
        }
        Some(_) => Ok(()),
        None => Err(Trouble::new(Exit::UNKNOWN, format!("{place}: no readable setting in the answer"))),
    }
}

fn role_finding(row: &Line) -> Option<Finding> {
    let role = row.text("role").unwrap_or_default();
    if !row.yes("there") {
        let text = format!("there is no role {role}");
        return Some(Finding::problem("role", Exit::USAGE, text, "name the roles that the application logs in with"));
    }
    let next = format!("ALTER ROLE {role} NOSUPERUSER; or have the application log in with another role");
    let text = format!("role {role} is a superuser, whom no fence stops");
    row.yes("super").then(|| Finding::problem("role", Exit::CLOSED, text, next))
}

fn override_finding(row: &Line) -> Finding {
    let told = |name| row.text(name).unwrap_or_default();
    let text = format!("`{} SET {}` comes before the server's own setting", told("alter"), told("setting"));
    Finding::problem("override", Exit::CLOSED, text, format!("{} RESET {};", told("alter"), told("name")))
}

fn prepared_finding(row: &Line) -> Finding {
    let told = |name| row.text(name).unwrap_or_default();
    let gid = told("gid");
    let text = format!("transaction {gid} is prepared since {}, and its commit passes through any fence", told("since"));
    let next =
        format!("COMMIT PREPARED {gid}; or ROLLBACK PREPARED {gid}; as {} in database {}", told("owner"), told("database"));
    Finding::problem("prepared", Exit::CLOSED, text, next)
}

/// Not more of one kind than anybody reads.
fn few(mut findings: Vec<Finding>) -> Vec<Finding> {
    let more = findings.len().saturating_sub(SHOWN);
    findings.truncate(SHOWN);
    if let Some(last) = findings.last_mut().filter(|_| more > 0) {
        last.text = format!("{}; and {more} more", last.text);
    }
    findings
}

fn few_names(names: &[String]) -> String {
    let shown: Vec<_> = names.iter().take(SHOWN).map(String::as_str).collect();
    let more = names.len().saturating_sub(SHOWN);
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_as_literals() {
        assert_eq!(list(&["server".to_owned(), "o'neill".to_owned()]), "ARRAY['server', 'o''neill']::text[]");
        assert_eq!(list(&[]), "ARRAY[]::text[]");
    }
}
