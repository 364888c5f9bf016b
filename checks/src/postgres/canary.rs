//! `postgresCanary`: our own writes commit, survive, and are read back over a new connection.

mod memory;

use std::time::Duration;

use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_postgres::SimpleQueryRow;
use tokio_postgres::error::SqlState;

use crate::check::{Check, Context, FieldError, Meta, Nature, Report};
use crate::net::{Budget, reasons};
use crate::outcome::{Measure, Outcome, PartId, ReasonSpec, Step};
use crate::target::{TargetKind, TargetUse};

use super::server::{QUESTION, READ_ONLY, STANDING, Server};
use super::{Login, NO_PERMISSION, Refusal, Session, UNREADABLE};

use memory::{Memory, Row};

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

/// What the row looks like.
const READ: &str = "SELECT beat, writer, home, pg_catalog.pg_total_relation_size('phasegate.canary') AS bytes \
     FROM phasegate.canary WHERE slot = ";

/// How much further the negative control counts, so that no Run can come near it.
const CONTROL_STEP: i64 = 1_000_000_000;
/// Whom the row would name if the negative control were committed.
const CONTROL_WRITER: &str = "negative-control";
/// From this size on the evidence says that the table has grown: one row needs 32 KiB, with what it leaves behind.
const LARGE: i64 = 1024 * 1024;
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
/// Fail: a number that was acknowledged is not there, the row or the table is gone, somebody else writes the row, two connections
/// reach two servers, a write that changes nothing; and as for `postgresReady`: the server is silent, refuses, is a standby,
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
}

const fn hold_for() -> Duration {
    Duration::from_mins(5)
}

/// How a write ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Commit,
    Rollback,
}

/// A number that was sent to the server.
#[derive(Debug)]
struct Sent {
    beat: i64,
    writer: String,
}

/// One look: what it uses, and what it has learnt so far.
struct Look<'a> {
    cx: &'a Context,
    login: Login,
    budget: Budget,
    slot: &'static str,
    identity: Option<String>,
    measures: Vec<Measure>,
}

impl<'a> Look<'a> {
    async fn begin(cx: &'a Context, target: &str, budget: Budget) -> Result<Self, Outcome> {
        let login = Login::of(cx, target).await?;
        // A look by hand has a row of its own, so that it does not disturb the verifier's.
        let slot = if cx.by_hand { "hand" } else { "verifier" };
        Ok(Self { cx, login, budget, slot, identity: None, measures: Vec::new() })
    }

    fn place(&self) -> String {
        self.login.place()
    }

    fn measure(&mut self, name: &'static str, value: f64) {
        self.measures.push(Measure { part: PartId::new(PartId::WHOLE), name, value });
    }

    async fn open(&self) -> Result<(Session, Server), Outcome> {
        let mut session = self.login.open(self.cx, self.budget).await?;
        let rows = session.ask(QUESTION, self.budget).await?;
        Ok((session, Server::read(&self.place(), &rows)?))
    }

    /// Logs in and makes sure that this is a place to write to.
    async fn enter(&mut self) -> Result<(Session, Server), Outcome> {
        let (session, server) = self.open().await?;
        self.identity = Some(server.identity());
        server.stands()?;
        Ok((session, server))
    }

    /// The row; an error of the database says why it can not be read.
    async fn row(&self, session: &mut Session) -> Result<Option<Row>, Refusal> {
        let rows = session.ask(&format!("{READ}'{}'", self.slot), self.budget).await?;
        let unreadable = |words| Refusal { reason: UNREADABLE, code: None, words: format!("{}: {words}", self.place()) };
        match rows.as_slice() {
            [] => Ok(None),
            [row] => Row::read(row).map(Some).map_err(|field| unreadable(format!("no readable {field} in the row"))),
            rows => Err(unreadable(format!("{} rows instead of one", rows.len()))),
        }
    }

    /// The row as it must be for a write: there, and made in this very database.
    async fn row_at_home(&mut self, session: &mut Session, server: &Server, memory: &Memory) -> Result<Row, Outcome> {
        let place = self.place();
        let row = match self.row(session).await {
            Ok(Some(row)) => row,
            Ok(None) if memory.has_committed() => {
                return Err(ROW_LOST.because(format!("{place}: row '{}' is not in phasegate.canary any more", self.slot)));
            }
            Ok(None) => return Err(self.not_set_up(server, &format!("no row '{}' in the table phasegate.canary", self.slot))),
            Err(refusal) if refusal.code == Some(SqlState::UNDEFINED_TABLE) && memory.has_committed() => {
                return Err(ROW_LOST.because(refusal.words));
            }
            Err(refusal) if refusal.code == Some(SqlState::UNDEFINED_TABLE) => {
                return Err(self.not_set_up(server, "no table phasegate.canary"));
            }
            Err(refusal) if refusal.code == Some(SqlState::UNDEFINED_COLUMN) => {
                return Err(self.not_set_up(server, "the table phasegate.canary has other columns"));
            }
            Err(refusal) => return Err(self.refused(refusal)),
        };
        if row.home != server.identity() {
            let words = format!("the row was made in {}, this is {}", row.home, server.identity());
            return Err(WRONG_HOME.because(format!("{place}: {words}")));
        }
        #[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "a gauge: a size of 2^53 bytes is no canary's")]
        self.measure("table_bytes", row.bytes as f64);
        Ok(row)
    }

    fn not_set_up(&self, server: &Server, what: &str) -> Outcome {
        NOT_SET_UP.because(format!("{}: {what}; {}; the role is {}", self.place(), server.described(), self.login.role()))
    }

    /// What stands in the way of our own table.
    fn refused(&self, refusal: Refusal) -> Outcome {
        if refusal.code == Some(SqlState::READ_ONLY_SQL_TRANSACTION) {
            return READ_ONLY.because(refusal.words);
        }
        if refusal.reason == NO_PERMISSION {
            let role = self.login.role();
            let grants =
                format!("GRANT USAGE ON SCHEMA phasegate TO {role}; GRANT SELECT, UPDATE ON phasegate.canary TO {role};");
            return NO_PERMISSION.because(format!("{}; run {grants}", refusal.words));
        }
        refusal.into()
    }

    /// Sends the next number. Nothing is written unless the row was made in this very database.
    async fn write(&self, session: &mut Session, home: &str, next: (i64, i64), writer: &str, end: End) -> Result<Sent, Outcome> {
        let (floor, step) = next;
        // The server gives up when we do: a write that is stuck must not come true later.
        let left = self.budget.end.saturating_duration_since(Instant::now()).as_millis().clamp(1, 1 << 30);
        let end = match end {
            End::Commit => "COMMIT",
            End::Rollback => "ROLLBACK",
        };
        let sql = format!(
            "BEGIN; SET LOCAL statement_timeout = {left}; \
             UPDATE phasegate.canary SET beat = GREATEST(beat, {floor}) + {step}, writer = '{writer}', \
             at = pg_catalog.clock_timestamp() WHERE slot = '{}' AND home = '{home}' RETURNING beat, writer; {end}",
            self.slot
        );
        let rows = session.ask(&sql, self.budget).await.map_err(|refusal| self.refused(refusal))?;
        let [row] = rows.as_slice() else {
            return Err(NOT_WRITTEN.because(format!("{}: the update of the row changed {} rows", self.place(), rows.len())));
        };
        let sent = number(row, "beat").and_then(|beat| Ok(Sent { beat, writer: text(row, "writer")? }));
        sent.map_err(|field| UNREADABLE.because(format!("{}: no readable {field} in the answer", self.place())))
    }

    /// Reads a number back over a new connection.
    async fn read_back(&self, sent: &Sent, identity: &str) -> Result<Row, Outcome> {
        let place = self.place();
        let (mut session, server) = self.open().await?;
        let answer = self.row(&mut session).await;
        session.close(self.budget).await;
        if server.identity() != identity {
            let words = format!("one connection reached {identity}, the next one {}", server.identity());
            return Err(TWO_SERVERS.because(format!("{place}: {words}")));
        }
        let row = answer.map_err(|refusal| self.refused(refusal))?;
        let row = row.ok_or_else(|| ROW_LOST.because(format!("{place}: the row is gone after number {}", sent.beat)))?;
        if row.beat < sent.beat {
            let words = format!("number {} was written, a new connection reads {}", sent.beat, row.beat);
            return Err(COMMIT_LOST.because(format!("{place}: {words}")));
        }
        if row.beat > sent.beat || row.writer != sent.writer {
            let words = format!("number {} was written, and a moment later {} stood there", sent.beat, row.beat);
            return Err(ANOTHER_WRITER.because(format!("{place}: {words}, by {}", row.writer)));
        }
        Ok(row)
    }

    /// One number, from the last one's fate to its own return.
    async fn beat(&mut self, memory: &mut Memory) -> Result<Outcome, Outcome> {
        let (mut session, server) = self.enter().await?;
        let (place, home) = (self.place(), server.identity());
        *memory = std::mem::take(memory).about(&home);
        let row = self.row_at_home(&mut session, &server, memory).await?;
        let fate = memory.compare(&place, &row, &server.boot);
        let begun = Instant::now();
        memory.sends();
        let next = (memory.floor(), 1);
        let sent = self.write(&mut session, &home, next, memory.writer(), End::Commit).await;
        if let Ok(sent) = &sent {
            memory.acknowledged(sent.beat, &server.boot);
            self.measure("commit_seconds", begun.elapsed().as_secs_f64());
        }
        session.close(self.budget).await;
        fate?;
        let sent = sent?;
        if sent.beat > row.beat.max(next.0).saturating_add(1) {
            let words = format!("the row went from {} to {} while it was written", row.beat, sent.beat);
            return Err(ANOTHER_WRITER.because(format!("{place}: {words}")));
        }
        let back = self.read_back(&sent, &home).await?;
        let grown = if back.bytes > LARGE { "; the table has grown: something holds back its vacuum" } else { "" };
        Ok(Outcome::pass(format!("{place}: number {} committed and read back over a new connection{grown}", sent.beat)))
    }

    /// The same with a number that is taken back instead of committed.
    async fn never_written(&mut self) -> Result<Outcome, Outcome> {
        let (mut session, server) = self.enter().await?;
        let home = server.identity();
        let row = self.row_at_home(&mut session, &server, &Memory::default()).await?;
        let sent = self.write(&mut session, &home, (row.beat, CONTROL_STEP), CONTROL_WRITER, End::Rollback).await;
        session.close(self.budget).await;
        let sent = sent?;
        self.read_back(&sent, &home).await?;
        Ok(Outcome::pass(format!("{}: number {} is there, and was never committed", self.place(), sent.beat)))
    }
}

impl Row {
    fn read(row: &SimpleQueryRow) -> Result<Self, &'static str> {
        let home = text(row, "home")?;
        Ok(Self { beat: number(row, "beat")?, writer: text(row, "writer")?, home, bytes: number(row, "bytes")? })
    }
}

fn text(row: &SimpleQueryRow, name: &'static str) -> Result<String, &'static str> {
    row.try_get(name).ok().flatten().map(str::to_owned).ok_or(name)
}

fn number(row: &SimpleQueryRow, name: &'static str) -> Result<i64, &'static str> {
    text(row, name)?.parse().map_err(|_| name)
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
        ],
        control: COMMIT_LOST,
        measures: &["commit_seconds", "table_bytes"],
        waivable: true,
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
                    let seen = look.beat(&mut memory).await.unwrap_or_else(|outcome| outcome);
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
