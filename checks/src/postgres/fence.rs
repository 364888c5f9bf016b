//! `postgresFence`: the old server refuses the application's writes.

mod attempt;
mod settings;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Check, Context, FieldError, Meta, Nature, Report};
use crate::net::{Budget, reasons};
use crate::outcome::{Measure, Outcome, PartId, ReasonSpec, Step};
use crate::target::{TargetKind, TargetUse};

use super::observer::OBSERVER;

pub use attempt::UNHEARD;
pub use settings::NOT_STOPPED;
use settings::{Fences, System};

/// Nothing stops the application.
const NOT_FENCED: ReasonSpec = ReasonSpec::fail(
    "not_fenced",
    "put up the fence with `cutover postgres fence`, or by hand: ALTER SYSTEM SET default_transaction_read_only = on; SELECT \
     pg_reload_conf(); and end the sessions that the evidence counts",
);
/// No setting binds it.
const SUPERUSER: ReasonSpec =
    ReasonSpec::fail("superuser", "take SUPERUSER from the application's role: no fence binds a superuser");
/// It passes every fence.
const PREPARED_TRANSACTION: ReasonSpec = ReasonSpec::fail(
    "prepared_transaction",
    "COMMIT PREPARED or ROLLBACK PREPARED what the evidence names: it passes through every fence",
);
/// The application's login could write.
const WRITE_ACCEPTED: ReasonSpec = ReasonSpec::fail(
    "write_accepted",
    "put up the fence with `cutover postgres fence`: a login as the application was let in, and a DELETE of no rows was carried out",
);
/// The role is not there.
const NO_SUCH_ROLE: ReasonSpec =
    ReasonSpec::unknown("no_such_role", "correct `roles`: name the roles with which the application logs in to the old server");
/// No table to try it on.
const NOTHING_TO_ATTEMPT: ReasonSpec = ReasonSpec::unknown(
    "nothing_to_attempt",
    "leave `attempt` out: the application's role may delete from no table without triggers and rules, so that nothing can be tried",
);
/// Somebody stands before the attempt.
const TABLE_LOCKED: ReasonSpec = ReasonSpec::unknown(
    "table_locked",
    "wait until the table in the evidence is unlocked, or end who holds it (`pg_locks`): behind a lock nothing can be tried",
);
/// The attempt proves nothing.
const ATTEMPT_UNCLEAR: ReasonSpec = ReasonSpec::unknown(
    "attempt_unclear",
    "make the connection string of `attempt` the application's own on the old server, with one of `roles`, and host, port and database \
     as in that of `postgres`: it is refused for another reason than a fence, or reaches somewhere else",
);
/// Nobody listens, and nobody knows what was before.
const NEVER_SEEN: ReasonSpec = ReasonSpec::unknown(
    "never_seen",
    "start the server again until this probe has seen its fence; then stop it: whether a stopped server is fenced can not be seen",
);

/// The server that was left takes no writes from the application's `roles`: a fence stands for new sessions (part `settings`), and for
/// those that are there; with `attempt`, a login as the application tries to write and is refused (part `attempt`).
///
/// A fence is one of: `default_transaction_read_only = on` in the server's configuration, which stops sessions that are there as
/// well, unless the role or the database is set to `off`; the same set for the database or the role; connection limit 0 of the database or
/// the role; a database that allows no connections; a role without LOGIN, or without CONNECT. All but the first leave sessions alone that
/// are there, so none may be left. No fence stops a superuser, nor a prepared transaction; read-only settings do not stop a session
/// that turns them off itself, so look for writes, too (`postgresQuiet`). If the fence keeps the verifier's own role out as well, it looks
/// from the database `postgres`. The attempt deletes no rows of a table without triggers, and is taken back; it uses no number of
/// a transaction. With `mayBeStopped` a server whose fence was seen may be stopped. No override can name this check.
///
/// Fail: no fence for one of the roles, or sessions left behind it; a superuser; a prepared transaction; the attempt was carried out.
/// Refused (without `mayBeStopped`), reset, silent, no PostgreSQL, a standby. Unknown: a role that does not exist; an attempt that is
/// refused for another reason, like a wrong password, or has no table to be made on, or a locked one; stopped, and never seen fenced; our own role may
/// not look, may write, or is not let in; our own resolver or network; an answer that can not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PostgresFence {
    /// Name of the target that is left, of kind `postgres`, with the verifier's own role.
    pub postgres: String,
    /// The application's roles.
    pub roles: Vec<String>,
    /// Name of a target with the application's own login to the same server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<String>,
    /// Whether the server may be stopped.
    #[serde(default)]
    pub may_be_stopped: bool,
}

/// What is remembered between Runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// When the server was last seen, and whether it was fenced then.
    seen: Option<(DateTime<Utc>, bool)>,
    /// What answered then, for a control while nobody listens.
    fences: Option<Fences>,
}

impl PostgresFence {
    /// A stopped server takes no writes; that it was fenced when it stopped keeps it so when somebody starts it.
    fn stopped(&self, outcome: Outcome, memory: &Memory) -> Outcome {
        if !self.may_be_stopped || outcome.reason() != Some(&reasons::REFUSED.into()) {
            return outcome;
        }
        match memory.seen {
            Some((at, true)) => {
                Outcome::pass(format!("stopped, {}; last seen fenced {}", outcome.evidence(), at.format("%F %TZ")))
            }
            Some((at, false)) => {
                NEVER_SEEN.because(format!("{}; last seen {}, and not fenced", outcome.evidence(), at.format("%F %TZ")))
            }
            None => NEVER_SEEN.because(format!("{}; it was never seen fenced", outcome.evidence())),
        }
    }
}

impl Check for PostgresFence {
    const META: Meta = Meta {
        kind: "postgresFence",
        nature: Nature::Continuous,
        reasons: &[
            reasons::NETWORK,
            super::LOGIN,
            OBSERVER,
            &[
                NOT_FENCED,
                SUPERUSER,
                PREPARED_TRANSACTION,
                WRITE_ACCEPTED,
                NO_SUCH_ROLE,
                NOTHING_TO_ATTEMPT,
                TABLE_LOCKED,
                ATTEMPT_UNCLEAR,
                NEVER_SEEN,
            ],
        ],
        control: NOT_FENCED,
        measures: &["sessions"],
        waivable: false,
        rules: &[],
    };
    type Memory = Memory;

    fn targets(&self) -> Vec<TargetUse> {
        let of = |field, name: &String| TargetUse { field, kind: Some(TargetKind::Postgres), name: name.clone() };
        let attempt = self.attempt.iter().map(|name| of("attempt", name));
        std::iter::once(of("postgres", &self.postgres)).chain(attempt).collect()
    }

    fn validate(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut wrong =
            |field, message: &str, hint: &str| errors.push(FieldError { field, message: message.into(), hint: hint.into() });
        if self.roles.is_empty() || self.roles.len() > 50 || self.roles.iter().any(String::is_empty) {
            wrong("roles", "one to fifty roles are needed", "name the roles with which the application logs in");
        }
        if self.attempt.as_ref() == Some(&self.postgres) {
            wrong("attempt", "this is the verifier's own login", "name a target with the application's login");
        }
        errors
    }

    fn run<'a>(&'a self, cx: &'a Context, mut memory: Memory) -> BoxFuture<'a, Report<Memory>> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let seen = System::look(cx, &self.postgres, &self.roles, budget.until(3)).await;
            let mut report = Report::new(Step::Done(BTreeMap::new()), Memory::default());
            let settings = match &seen {
                Ok(system) => {
                    let outcome = system.fences.judge(&system.place);
                    memory.seen = Some((cx.now, matches!(outcome, Outcome::Pass { .. })));
                    memory.fences = Some(system.fences.clone());
                    report.identities.insert(self.postgres.clone(), system.identity());
                    let value = crate::counter::number(system.fences.sessions());
                    report.measures.push(Measure { part: PartId::new("settings"), name: "sessions", value });
                    outcome
                }
                Err(outcome) => self.stopped(outcome.clone(), &memory),
            };
            let mut parts = BTreeMap::from([(PartId::new("settings"), settings)]);
            if let Some(target) = &self.attempt {
                let outcome = attempt::make(cx, (&self.postgres, target), seen.as_ref().ok(), budget).await;
                parts.insert(PartId::new("attempt"), self.stopped(outcome, &memory));
            }
            Report { step: Step::Done(parts), memory, ..report }
        })
    }

    /// What was really seen, as if none of the fences stood. Of a stopped server, what was seen last.
    fn control<'a>(&'a self, cx: &'a Context, memory: Memory) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let seen = System::look(cx, &self.postgres, &self.roles, Budget::start(cx.timeout)).await;
            match (seen, memory.fences) {
                (Ok(system), _) => system.fences.taken_down().judge(&system.place),
                (Err(outcome), Some(fences)) if self.may_be_stopped && outcome.reason() == Some(&reasons::REFUSED.into()) => {
                    fences.taken_down().judge("as seen last")
                }
                (Err(outcome), _) => outcome,
            }
        })
    }
}

#[cfg(test)]
mod tests;
