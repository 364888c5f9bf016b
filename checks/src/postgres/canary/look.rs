//! One look: log in, compare the row with what was acknowledged, commit the next number, read it back over a new connection.

use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::SimpleQueryRow;
use tokio_postgres::error::SqlState;

use crate::check::Context;
use crate::net::Budget;
use crate::outcome::{Measure, Outcome, PartId};
use crate::postgres::server::{QUESTION, READ_ONLY, Server};
use crate::postgres::{Login, NO_PERMISSION, Refusal, Session, UNREADABLE};

use super::memory::{Memory, Row};
use super::{ANOTHER_WRITER, COMMIT_LOST, NOT_SET_UP, NOT_WRITTEN, ROW_LOST, TWO_SERVERS, WRONG_HOME, burden};

/// What the row looks like.
const READ: &str = "SELECT beat, writer, home, pg_catalog.pg_total_relation_size('phasegate.canary') AS bytes \
     FROM phasegate.canary WHERE slot = ";

/// How much further the negative control counts, so that no Run can come near it.
const CONTROL_STEP: i64 = 1_000_000_000;
/// Whom the row would name if the negative control were committed.
const CONTROL_WRITER: &str = "negative-control";
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
pub(super) struct Look<'a> {
    cx: &'a Context,
    login: Login,
    budget: Budget,
    slot: &'static str,
    pub(super) identity: Option<String>,
    pub(super) measures: Vec<Measure>,
}

impl<'a> Look<'a> {
    /// A look at the target of this name.
    pub(super) async fn begin(cx: &'a Context, target: &str, budget: Budget) -> Result<Self, Outcome> {
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
    async fn read_back(&self, sent: &Sent, identity: &str) -> Result<(), Outcome> {
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
        Ok(())
    }

    /// One number, from the last one's fate to its own return.
    pub(super) async fn beat(&mut self, memory: &mut Memory, slow_after: Duration) -> Result<Outcome, Outcome> {
        let (mut session, server) = self.enter().await?;
        let (place, home) = (self.place(), server.identity());
        *memory = std::mem::take(memory).about(&home);
        let row = self.row_at_home(&mut session, &server, memory).await?;
        let fate = memory.compare(&place, &row, &server.boot);
        let size = match burden::of_size(&mut session, row.bytes, &place, self.budget).await {
            Ok(size) => size,
            Err(grown) => {
                session.close(self.budget).await;
                return fate.and(Err(grown));
            }
        };
        let begun = Instant::now();
        memory.sends();
        let next = (memory.floor(), 1);
        let sent = self.write(&mut session, &home, next, memory.writer(), End::Commit).await;
        if let Ok(sent) = &sent {
            memory.acknowledged(sent.beat, &server.boot);
            memory.latencies.add(begun.elapsed());
            self.measure("commit_seconds", begun.elapsed().as_secs_f64());
        }
        session.close(self.budget).await;
        fate?;
        let sent = sent?;
        if sent.beat > row.beat.max(next.0).saturating_add(1) {
            let words = format!("the row went from {} to {} while it was written", row.beat, sent.beat);
            return Err(ANOTHER_WRITER.because(format!("{place}: {words}")));
        }
        self.read_back(&sent, &home).await?;
        let took = memory.latencies.judged(slow_after)?;
        let size = if size.is_empty() { size } else { format!("; {size}") };
        Ok(Outcome::pass(format!("{place}: number {} committed and read back over a new connection; {took}{size}", sent.beat)))
    }

    /// The same with a number that is taken back instead of committed.
    pub(super) async fn never_written(&mut self) -> Result<Outcome, Outcome> {
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
