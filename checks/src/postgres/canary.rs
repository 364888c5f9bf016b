//! `postgresCanary`: our own writes commit, survive, and are read back over a new connection.

mod burden;
mod look;
mod memory;

use std::time::Duration;

use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Check, Context, FieldError, Meta, Nature, Report};
use crate::net::{Budget, reasons};
use crate::outcome::{Outcome, ReasonSpec, Step};
use crate::target::{TargetKind, TargetUse};

use super::server::STANDING;

use burden::{SLOW_COMMITS, TABLE_GROWN};
use look::Look;
use memory::Memory;

/// What the operator runs once, as the next step of a reason and in the doc comment. `ROLE` stands for the role.
macro_rules! setup {
    () => {
        "CREATE SCHEMA phasegate; \
         CREATE TABLE phasegate.canary (slot text PRIMARY KEY, beat bigint NOT NULL, writer text NOT NULL, at timestamptz NOT NULL, \
         home text NOT NULL) WITH (fillfactor = 25, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0); \
         INSERT INTO phasegate.canary SELECT slot, 0, '', now(), system_identifier || '/' || (SELECT oid FROM pg_database WHERE \
         datname = current_database()) FROM pg_control_system(), (VALUES ('verifier'), ('hand')) AS slots (slot); \
         GRANT USAGE ON SCHEMA phasegate TO ROLE; \
         GRANT SELECT, UPDATE ON phasegate.canary TO ROLE;"
    };
}

/// The table was not made there.
const NOT_SET_UP: ReasonSpec = ReasonSpec::unknown(
    "not_set_up",
    concat!(
        "make sure that the evidence names the NEW server; then log in to that database yourself and run once, with the role in ",
        "the evidence for ROLE: ",
        setup!()
    ),
);
/// The table came there with a copy.
const WRONG_HOME: ReasonSpec = ReasonSpec::unknown(
    "wrong_home",
    "the canary's table was made in another database and came here with a dump: nothing was written. If this is the old side, \
     correct the connection string and DROP SCHEMA phasegate CASCADE here; if it is the new one, run here: UPDATE \
     phasegate.canary SET beat = 0, writer = '', home = (SELECT system_identifier FROM pg_control_system()) || '/' || (SELECT oid \
     FROM pg_database WHERE datname = current_database());",
);
/// The row was there, and is gone.
const ROW_LOST: ReasonSpec = ReasonSpec::fail(
    "row_lost",
    "find out who dropped, emptied or restored the table phasegate.canary: numbers were committed in it; then set it up again",
);
/// The row is older than what was acknowledged.
const COMMIT_LOST: ReasonSpec = ReasonSpec::fail(
    "commit_lost",
    "do not trust this server with data: it lost what it had acknowledged. Look for a restored backup or volume, a disk that lies \
     about fsync, a failover to a standby that was behind",
);
/// Somebody else writes the row.
const ANOTHER_WRITER: ReasonSpec = ReasonSpec::fail(
    "another_writer",
    "stop the other verifier that writes its canary to this database, or give each a database of its own",
);
/// Two connections, two servers.
const TWO_SERVERS: ReasonSpec = ReasonSpec::fail(
    "two_servers",
    "let the address lead to one server: two connections in a row reached two, so writes would go to both",
);
/// The write was taken and did nothing.
const NOT_WRITTEN: ReasonSpec = ReasonSpec::fail(
    "not_written",
    "look for a row-level policy, rule or trigger on phasegate.canary: an UPDATE succeeds there and changes nothing",
);
/// Nothing to compare with, once.
const NOT_COMPARABLE: ReasonSpec =
    ReasonSpec::unknown("not_comparable", "wait for the next run: it can tell again whether commits survive");

/// The longest time for which a lost commit can be told.
const LONGEST_HOLD: Duration = Duration::from_hours(7 * 24);

/// The verifier's own numbers are committed on this server, are still there at the next look, also after a restart or crash of the
/// server, and are read back over a new connection. For the new side only.
///
/// Each look logs in, compares the row with the last number that was acknowledged, commits the next one with the role's own
/// `synchronous_commit`, logs in again and reads it back. One row is updated in place, so the table does not grow. The table has to
/// be made by the operator, who thereby says that this is the new side; the check never creates or inserts anything. Run this once
/// in the new database, with the role of the connection string for `server`:
///
/// ```sql
/// CREATE SCHEMA phasegate;
/// CREATE TABLE phasegate.canary (slot text PRIMARY KEY, beat bigint NOT NULL, writer text NOT NULL, at timestamptz NOT NULL,
///   home text NOT NULL) WITH (fillfactor = 25, autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0);
/// INSERT INTO phasegate.canary SELECT slot, 0, '', now(), system_identifier || '/' || (SELECT oid FROM pg_database WHERE
///   datname = current_database()) FROM pg_control_system(), (VALUES ('verifier'), ('hand')) AS slots (slot);
/// GRANT USAGE ON SCHEMA phasegate TO server;
/// GRANT SELECT, UPDATE ON phasegate.canary TO server;
/// ```
///
/// The row says in which database it was made: where it came with a dump, nothing is written. A copy of the data directory can not
/// be told from its original, so make the table after the copy. Drop the schema, and this probe, when the migration is over.
///
/// Once the table is larger than 1 MiB the evidence names who holds back its vacuum; at 8 MiB nothing more is written to it.
///
/// Fail: a number that was acknowledged is not there, the row or the table is gone, somebody else writes the row, two connections
/// reach two servers, a write that changes
/// nothing, more than one commit of 20 takes longer than `slowAfter`, the table has grown to its limit; and as for `postgresReady`: the server is silent, refuses, is a standby,
/// read-only or has an unsafe setting. What was lost is told for `holdFor`. Unknown: the table was not made, or in another
/// database; the verifier remembers too little to compare; and what `postgresReady` calls unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PostgresCanary {
    /// Name of the target on the new side, of kind `postgres`.
    pub postgres: String,
    /// For how long a lost commit, a lost row or another writer is told after it was seen, like `5m`.
    #[serde(default = "hold_for", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub hold_for: Duration,
    /// How long 95 % of the commits may take.
    #[serde(default = "slow_after", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub slow_after: Duration,
}

const fn hold_for() -> Duration {
    Duration::from_mins(5)
}

const fn slow_after() -> Duration {
    Duration::from_millis(500)
}

impl Check for PostgresCanary {
    const META: Meta = Meta {
        kind: "postgresCanary",
        nature: Nature::Continuous,
        reasons: &[
            reasons::NETWORK,
            super::LOGIN,
            STANDING,
            &[NOT_SET_UP, WRONG_HOME, ROW_LOST, COMMIT_LOST, ANOTHER_WRITER, TWO_SERVERS, NOT_WRITTEN, NOT_COMPARABLE],
            &[SLOW_COMMITS, TABLE_GROWN],
        ],
        control: COMMIT_LOST,
        measures: &["commit_seconds", "table_bytes"],
        waivable: true,
        rules: &[],
    };
    type Memory = Memory;

    fn targets(&self) -> Vec<TargetUse> {
        vec![TargetUse { field: "postgres", kind: Some(TargetKind::Postgres), name: self.postgres.clone() }]
    }

    fn writes(&self) -> bool {
        true
    }

    fn validate(&self) -> Vec<FieldError> {
        if self.hold_for <= LONGEST_HOLD {
            return Vec::new();
        }
        let hint = "a week is the longest; what was lost stays in the history and the audit trail".into();
        vec![FieldError { field: "holdFor", message: "more than a week".into(), hint }]
    }

    fn run<'a>(&'a self, cx: &'a Context, mut memory: Memory) -> BoxFuture<'a, Report<Memory>> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let (mut measures, mut identity) = (Vec::new(), None);
            let seen = match Look::begin(cx, &self.postgres, budget).await {
                Ok(mut look) => {
                    let seen = look.beat(&mut memory, self.slow_after).await.unwrap_or_else(|outcome| outcome);
                    (measures, identity) = (look.measures, look.identity);
                    seen
                }
                Err(outcome) => outcome,
            };
            let told = memory.told(seen, cx.now, self.hold_for);
            let mut report = Report { measures, ..Report::new(Step::whole(told), memory) };
            report.identities.extend(identity.map(|identity| (self.postgres.clone(), identity)));
            report
        })
    }

    /// The same write, taken back instead of committed: reading it back over a new connection must not find it.
    fn control<'a>(&'a self, cx: &'a Context, _: Memory) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            match Look::begin(cx, &self.postgres, budget).await {
                Ok(mut look) => look.never_written().await.unwrap_or_else(|outcome| outcome),
                Err(outcome) => outcome,
            }
        })
    }
}

#[cfg(test)]
mod tests;
