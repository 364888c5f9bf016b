//! `postgresReady`: a real login reads, and the settings are safe.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Check, Context, Meta, Nature, Report};
use crate::net::{Budget, reasons};
use crate::outcome::{Measure, Outcome, PartId, ReasonSpec, Step};
use crate::target::{TargetKind, TargetUse};

use super::Login;
use super::observer::{OBSERVER, Observer};
use super::server::{QUESTION, READ_ONLY, Server, UNSAFE_SETTING};
use super::written::Table;

/// The two logins lead to two databases.
const OTHER_DATABASE: ReasonSpec = ReasonSpec::fail(
    "other_database",
    "correct one of the two connection strings: what the verifier observes is not what the application writes to",
);
/// A database that no server has.
const NOWHERE: &str = "phasegate_negative_control";

/// A real login on a fresh connection reads from the database, as the role of the connection string; the server is no standby,
/// takes writes, and none of `fsync`, `full_page_writes`, `synchronous_commit`, `zero_damaged_pages`, `ignore_checksum_failure`
/// is set so that data can be lost silently.
///
/// With `observer` a second login is tried, that of the verifier's own role (part `observer`): it may see what others do and read every
/// table, and it can not write; what it lacks is named with the GRANT that gives it. `deploy/postgres/observer.sql` makes such a role.
///
/// Fail: refused, reset, silent, not PostgreSQL, starting up or shutting down, no such database, role or password denied, no
/// connection left, an error as answer, a standby, read-only, an unsafe setting. Unknown: the connection string is missing or
/// unusable, our own resolver or network, TLS that does not come about, a permission that the probe lacks, an answer that can not
/// be read; and all that keeps the verifier's own role from looking. With `sslmode=require` the certificate is verified against the verifier's CA store; with `prefer`, the default, a
/// certificate that can not be verified means going on without TLS, as the promise of `prefer` is no stronger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PostgresReady {
    /// Name of the target with the application's login, of kind `postgres`.
    pub postgres: String,
    /// Name of the target with the verifier's own login to the same database, of kind `postgres`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observer: Option<String>,
}

/// What was seen, and which server it was.
struct Sight {
    outcome: Outcome,
    identity: Option<String>,
}

impl From<Outcome> for Sight {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, identity: None }
    }
}

/// Logs in, asks, and judges.
async fn look(cx: &Context, login: &Login, question: &str, budget: Budget) -> Sight {
    let place = login.place();
    let server = match login.ask(cx, question, budget).await.and_then(|rows| Server::read(&place, &rows)) {
        Ok(server) => server,
        Err(outcome) => return outcome.into(),
    };
    let pass = || Outcome::pass(format!("{place}: {}", server.described()));
    Sight { outcome: server.stands().map_or_else(|flaw| flaw, |()| pass()), identity: Some(server.identity()) }
}

/// Whether the verifier's own role sees all that its checks look at, in the database that the application logs in to.
async fn observes(cx: &Context, target: &str, identity: Option<&str>, budget: Budget) -> Result<Outcome, Outcome> {
    let look = async |Observer { session, place, role, .. }: &mut Observer| {
        let tables = Table::all(session, place, role, budget).await?.len();
        Ok((place.clone(), tables))
    };
    let (is, (place, tables)) = Observer::visit(cx, target, budget, look).await?;
    match identity {
        Some(other) if other != is => {
            Err(OTHER_DATABASE.because(format!("{place}: this is {is}, the application logs in to {other}")))
        }
        Some(_) | None => {
            Ok(Outcome::pass(format!("{place}: sees what others do and all of {tables} tables, and can not write")))
        }
    }
}

impl Check for PostgresReady {
    const META: Meta = Meta {
        kind: "postgresReady",
        nature: Nature::Continuous,
        reasons: &[reasons::NETWORK, super::LOGIN, OBSERVER, &[READ_ONLY, UNSAFE_SETTING, OTHER_DATABASE]],
        control: READ_ONLY,
        measures: &["latency_seconds"],
        waivable: true,
        rules: &[],
    };
    type Memory = ();

    fn targets(&self) -> Vec<TargetUse> {
        let of = |field, name: &String| TargetUse { field, kind: Some(TargetKind::Postgres), name: name.clone() };
        [of("postgres", &self.postgres)].into_iter().chain(self.observer.as_ref().map(|name| of("observer", name))).collect()
    }

    fn run<'a>(&'a self, cx: &'a Context, (): ()) -> BoxFuture<'a, Report<()>> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let sight = match Login::of(cx, &self.postgres).await {
                Ok(login) => look(cx, &login, QUESTION, budget).await,
                Err(outcome) => outcome.into(),
            };
            let part = PartId::new(self.observer.as_ref().map_or(PartId::WHOLE, |_| "application"));
            let mut parts = BTreeMap::from([(part.clone(), sight.outcome)]);
            let (mut measures, mut identities) = (Vec::new(), BTreeMap::new());
            if let Some(identity) = &sight.identity {
                let value = budget.start.elapsed().as_secs_f64();
                measures.push(Measure { part, name: "latency_seconds", value });
                identities.insert(self.postgres.clone(), identity.clone());
            }
            if let Some(observer) = &self.observer {
                let seen = observes(cx, observer, sight.identity.as_deref(), budget).await.unwrap_or_else(|outcome| outcome);
                parts.insert(PartId::new("observer"), seen);
            }
            Report { measures, identities, ..Report::new(Step::Done(parts), ()) }
        })
    }

    /// Two things that must not pass: a login to a database that is not there, and the same question where writing is refused.
    /// The second one's reason earns the trust, since `pg_hba.conf` may turn the first away before it is looked up.
    fn control<'a>(&'a self, cx: &'a Context, (): ()) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let login = match Login::of(cx, &self.postgres).await {
                Ok(login) => login,
                Err(outcome) => return outcome,
            };
            let nowhere = look(cx, &login.clone().with_database(NOWHERE), QUESTION, budget).await.outcome;
            if matches!(nowhere, Outcome::Pass { .. }) {
                return nowhere;
            }
            look(cx, &login, &format!("BEGIN READ ONLY; {QUESTION}; COMMIT"), budget).await.outcome
        })
    }
}

#[cfg(test)]
mod tests;
