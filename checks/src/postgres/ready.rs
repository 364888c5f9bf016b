//! `postgresReady`: a real login reads, and the settings are safe.

use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Check, Context, Meta, Nature, Report};
use crate::net::{Budget, reasons};
use crate::outcome::{Measure, Outcome, PartId, Step};
use crate::target::{TargetKind, TargetUse};

use super::Login;
use super::server::{QUESTION, READ_ONLY, STANDING, Server};

/// A database that no server has.
const NOWHERE: &str = "phasegate_negative_control";

/// A real login on a fresh connection reads from the database, as the role of the connection string; the server is no standby,
/// takes writes, and none of `fsync`, `full_page_writes`, `synchronous_commit`, `zero_damaged_pages`, `ignore_checksum_failure`
/// is set so that data can be lost silently.
///
/// Fail: refused, reset, silent, not PostgreSQL, starting up or shutting down, no such database, role or password denied, no
/// connection left, an error as answer, a standby, read-only, an unsafe setting. Unknown: the connection string is missing or
/// unusable, our own resolver or network, TLS that does not come about, a permission that the probe lacks, an answer that can not
/// be read. With `sslmode=require` the certificate is verified against the verifier's CA store; with `prefer`, the default, a
/// certificate that can not be verified means going on without TLS, as the promise of `prefer` is no stronger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PostgresReady {
    /// Name of the target, of kind `postgres`.
    pub postgres: String,
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

impl Check for PostgresReady {
    const META: Meta = Meta {
        kind: "postgresReady",
        nature: Nature::Continuous,
        reasons: &[reasons::NETWORK, super::LOGIN, STANDING],
        control: READ_ONLY,
        measures: &["latency_seconds"],
        waivable: true,
    };
    type Memory = ();

    fn targets(&self) -> Vec<TargetUse> {
        vec![TargetUse { field: "postgres", kind: Some(TargetKind::Postgres), name: self.postgres.clone() }]
    }

    fn run<'a>(&'a self, cx: &'a Context, (): ()) -> BoxFuture<'a, Report<()>> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let sight = match Login::of(cx, &self.postgres).await {
                Ok(login) => look(cx, &login, QUESTION, budget).await,
                Err(outcome) => outcome.into(),
            };
            let mut report = Report::new(Step::whole(sight.outcome), ());
            if let Some(identity) = sight.identity {
                let (part, value) = (PartId::new(PartId::WHOLE), budget.start.elapsed().as_secs_f64());
                report.measures.push(Measure { part, name: "latency_seconds", value });
                report.identities.insert(self.postgres.clone(), identity);
            }
            report
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
