//! Trying to write as the application.

use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::error::SqlState;

use crate::check::Context;
use crate::net::{Budget, reasons};
use crate::outcome::Outcome;
use crate::postgres::observer::Row;
use crate::postgres::{DENIED, Login, NO_PERMISSION, Session, TOO_MANY_CONNECTIONS, UNREADABLE};

use super::settings::{Fences, Role, System, says};
use super::{ATTEMPT_UNCLEAR, NOTHING_TO_ATTEMPT, TABLE_LOCKED, WRITE_ACCEPTED};

/// The longest that the attempt stands in a queue for its table, where the application would stand behind it.
const QUEUE: Duration = Duration::from_secs(2);

/// A table on which the deletion of no row does nothing, of those that the role may delete from: no trigger, rule or policy hears of it.
/// A trigger for statements fires even when there is no row.
pub const UNHEARD: &str = "SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' \
     AND c.relpersistence = 'p' AND NOT c.relhasrules AND NOT c.relrowsecurity \
     AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'phasegate') \
     AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'DELETE') \
     AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal) ORDER BY c.oid LIMIT 1";

/// The server gives up no later than we do, and tells of a lock before that. Zero would mean for ever.
fn limits(budget: Budget) -> String {
    let left = budget.end.saturating_duration_since(Instant::now());
    let queue = QUEUE.min(left / 2);
    format!("SET statement_timeout = {}; SET lock_timeout = {}", left.as_millis().max(1), queue.as_millis().max(1))
}

/// Where the session is, and a table that can be tried.
fn place_and_table(limits: &str) -> String {
    format!(
        "SET search_path = pg_catalog; {limits}; SELECT (SELECT system_identifier FROM pg_control_system()) || '/' || \
         (SELECT oid FROM pg_database WHERE datname = current_database()) AS identity, \
         EXTRACT(epoch FROM pg_postmaster_start_time()) AS boot, ({UNHEARD}) AS name"
    )
}

/// Logs in as the application and tries.
pub(super) async fn make(cx: &Context, (old, target): (&str, &str), seen: Option<&System>, budget: Budget) -> Outcome {
    attempt(cx, (old, target), seen, budget).await.unwrap_or_else(|outcome| outcome)
}

async fn attempt(cx: &Context, (old, target): (&str, &str), seen: Option<&System>, budget: Budget) -> Result<Outcome, Outcome> {
    let (old, login) = (Login::of(cx, old).await?, Login::of(cx, target).await?);
    let place = login.place();
    let mut session = match login.open(cx, budget).await {
        Ok(session) => session,
        Err(outcome) => return Err(shut_out(&outcome, &login, old.counted_at() == login.counted_at(), seen)),
    };
    let tried = write(&mut session, &place, seen, budget).await;
    session.close(budget).await;
    tried
}

/// What a refused login is worth: a fence that is known to stand, or nothing.
fn shut_out(outcome: &Outcome, login: &Login, same_place: bool, seen: Option<&System>) -> Outcome {
    let ours = [DENIED, NO_PERMISSION, TOO_MANY_CONNECTIONS];
    let refused = ours.iter().any(|reason| outcome.reason() == Some(&(*reason).into()));
    if !refused && !says(outcome, &SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE) {
        return outcome.clone();
    }
    let unclear = |why: &str| ATTEMPT_UNCLEAR.because(format!("{}; {why}", outcome.evidence()));
    if !same_place {
        return unclear("and whether that is the old server can not be told: host, port or database are written differently");
    }
    let Some(seen) = seen else { return unclear("and which fences stand could not be seen") };
    match seen.fences.roles.iter().find(|role| role.name == login.user()) {
        Some(role) if is_fence(outcome, &seen.fences, role) => Outcome::pass(format!("refused: {}", outcome.evidence())),
        Some(_) => unclear("and no fence that stands refuses like that"),
        None => unclear("and its role is none of `roles`"),
    }
}

fn is_fence(outcome: &Outcome, fences: &Fences, role: &Role) -> bool {
    [
        (SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, !fences.allowed),
        (SqlState::TOO_MANY_CONNECTIONS, fences.limit == 0 || role.limit == 0),
        (SqlState::INSUFFICIENT_PRIVILEGE, !role.may_connect),
        (SqlState::INVALID_AUTHORIZATION_SPECIFICATION, !role.can_login),
    ]
    .iter()
    .any(|(code, stands)| *stands && says(outcome, code))
}

/// Deletes no rows, and takes that back. A savepoint is rolled back instead of the transaction, which the server would count as a
/// rollback of somebody.
async fn write(session: &mut Session, place: &str, seen: Option<&System>, budget: Budget) -> Result<Outcome, Outcome> {
    let rows = session.ask(&place_and_table(&limits(budget)), budget).await?;
    let row = rows.first().map(Row).ok_or_else(|| UNREADABLE.because(format!("{place}: no row")))?;
    let unreadable = |field: &'static str| UNREADABLE.because(format!("{place}: no readable {field} in the answer"));
    let (identity, boot) = (row.text("identity").map_err(unreadable)?, row.text("boot").map_err(unreadable)?);
    if let Some(seen) = seen.filter(|seen| seen.identity() != identity || seen.boot != boot) {
        let words = format!("it reaches {identity}, started at {boot}, and not {}, started at {}", seen.identity(), seen.boot);
        return Err(ATTEMPT_UNCLEAR.because(format!("{place}: {words}")));
    }
    let Some(table) = row.maybe("name").map_err(unreadable)? else {
        return Err(NOTHING_TO_ATTEMPT.because(format!("{place}: the role may delete from no plain table without triggers")));
    };
    let delete = format!("BEGIN; SAVEPOINT attempt; DELETE FROM ONLY {table} WHERE false; ROLLBACK TO SAVEPOINT attempt; COMMIT");
    match session.ask(&format!("{}; {delete}", limits(budget)), budget).await {
        Ok(_) => Err(WRITE_ACCEPTED.because(format!("{place}: a DELETE of no rows of {table} was carried out"))),
        Err(refusal) if refusal.code == Some(SqlState::READ_ONLY_SQL_TRANSACTION) => {
            if seen.is_none() {
                return Err(
                    ATTEMPT_UNCLEAR.because(format!("{}; and whether that is the old server is not known", refusal.words))
                );
            }
            Ok(Outcome::pass(format!("refused on {table}: {}", refusal.words)))
        }
        Err(refusal) if refusal.code == Some(SqlState::LOCK_NOT_AVAILABLE) => {
            Err(TABLE_LOCKED.because(format!("{table}: {}", refusal.words)))
        }
        // What broke off, or took too long, was no refusal.
        Err(refusal) if refusal.code.is_none() || refusal.reason == reasons::TIMEOUT => Err(refusal.into()),
        Err(refusal) => Err(ATTEMPT_UNCLEAR.because(refusal.words)),
    }
}
