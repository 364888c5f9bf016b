//! `postgresReady`: a real login reads, and the settings are safe.

use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_postgres::SimpleQueryRow;

use crate::check::{Check, Context, Meta, Nature, Report};
use crate::net::{Budget, reasons};
use crate::outcome::{Measure, Outcome, PartId, ReasonSpec, Step};
use crate::target::{TargetKind, TargetUse};

use super::Login;

/// A standby.
const IN_RECOVERY: ReasonSpec =
    ReasonSpec::fail("in_recovery", "promote the server, or point the target at the primary: this one replays another's WAL");
/// Writes are refused.
const READ_ONLY: ReasonSpec = ReasonSpec::fail(
    "read_only",
    "find out where `default_transaction_read_only` is on (server, database or role): the application could not write",
);
/// Acknowledged writes can be lost.
const UNSAFE_SETTING: ReasonSpec =
    ReasonSpec::fail("unsafe_setting", "set what the evidence names back: with it a crash or a bad page loses data silently");

/// One question, answered in one round trip. It reads a catalog table and the control file, so that the answer is more than a
/// living process.
const QUESTION: &str = "SELECT pg_catalog.current_setting('server_version') AS version, \
     pg_catalog.pg_is_in_recovery() AS in_recovery, \
     pg_catalog.current_setting('transaction_read_only') AS transaction_read_only, \
     pg_catalog.current_setting('fsync') AS fsync, \
     pg_catalog.current_setting('full_page_writes') AS full_page_writes, \
     pg_catalog.current_setting('synchronous_commit') AS synchronous_commit, \
     pg_catalog.current_setting('zero_damaged_pages') AS zero_damaged_pages, \
     pg_catalog.current_setting('ignore_checksum_failure') AS ignore_checksum_failure, \
     pg_catalog.current_setting('data_checksums') AS data_checksums, \
     (SELECT datname FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) AS datname, \
     (SELECT system_identifier FROM pg_catalog.pg_control_system()) AS system_identifier";

/// Settings and the values that are safe.
const SAFE: &[(&str, &[&str])] = &[
    ("fsync", &["on"]),
    ("full_page_writes", &["on"]),
    ("synchronous_commit", &["on", "remote_apply", "remote_write", "local"]),
    ("zero_damaged_pages", &["off"]),
    ("ignore_checksum_failure", &["off"]),
];

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
    let rows = match login.ask(cx, question, budget).await {
        Ok(rows) => rows,
        Err(outcome) => return outcome.into(),
    };
    let [row] = rows.as_slice() else {
        return super::UNREADABLE.because(format!("{place}: {} rows instead of one", rows.len())).into();
    };
    let judged = Answer::read(row).map(|answer| (answer.judge(&place), answer.system_identifier.to_owned()));
    match judged {
        Ok((outcome, identity)) => Sight { outcome, identity: Some(identity) },
        Err(field) => super::UNREADABLE.because(format!("{place}: no readable {field} in the answer")).into(),
    }
}

/// The answer to the question, its values checked for being values at all.
struct Answer<'a> {
    version: &'a str,
    in_recovery: bool,
    read_only: bool,
    checksums: &'a str,
    system_identifier: &'a str,
    unsafe_settings: Vec<String>,
}

impl<'a> Answer<'a> {
    fn read(row: &'a SimpleQueryRow) -> Result<Self, &'static str> {
        let text = |name: &'static str| row.try_get(name).ok().flatten().filter(|text| !text.is_empty()).ok_or(name);
        let one_of = |name: &'static str, yes: &str, no: &str| match text(name)? {
            value if value == yes => Ok(true),
            value if value == no => Ok(false),
            _ => Err(name),
        };
        let mut unsafe_settings = Vec::new();
        for (name, safe) in SAFE {
            let value = text(name)?;
            if !safe.contains(&value) {
                unsafe_settings.push(format!("{name} = {value}"));
            }
        }
        let system_identifier = text("system_identifier")?;
        system_identifier.parse::<i64>().map_err(|_| "system_identifier")?;
        text("datname")?;
        Ok(Self {
            version: text("version")?,
            in_recovery: one_of("in_recovery", "t", "f")?,
            read_only: one_of("transaction_read_only", "on", "off")?,
            checksums: text("data_checksums")?,
            system_identifier,
            unsafe_settings,
        })
    }

    fn judge(&self, place: &str) -> Outcome {
        let Self { version, checksums, system_identifier, .. } = self;
        if self.in_recovery {
            return IN_RECOVERY.because(format!("{place}: PostgreSQL {version} is in recovery"));
        }
        if self.read_only {
            return READ_ONLY.because(format!("{place}: transaction_read_only is on"));
        }
        if !self.unsafe_settings.is_empty() {
            return UNSAFE_SETTING.because(format!("{place}: {}", self.unsafe_settings.join(", ")));
        }
        Outcome::pass(format!("{place}: PostgreSQL {version}, system {system_identifier}, data checksums {checksums}"))
    }
}

impl Check for PostgresReady {
    const META: Meta = Meta {
        kind: "postgresReady",
        nature: Nature::Continuous,
        reasons: &[reasons::NETWORK, super::LOGIN, &[IN_RECOVERY, READ_ONLY, UNSAFE_SETTING]],
        control: READ_ONLY,
        measures: &["latency_seconds"],
        waivable: true,
    };
    type Memory = ();

    fn targets(&self) -> Vec<TargetUse> {
        vec![TargetUse { field: "postgres", kind: TargetKind::Postgres, name: self.postgres.clone() }]
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
