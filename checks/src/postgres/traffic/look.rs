//! One look at all writers.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::check::Context;
use crate::counter::{age, later};
use crate::net::Budget;
use crate::outcome::{Measure, Outcome, PartId};
use crate::postgres::mark::Side;
use crate::postgres::observer::Observer;

use super::others::{self, Others};
use super::record::{Record, Scene};
use super::roles::{Author, Witness};
use super::table::{Found, Question, Table, Where, look_up, share};
use super::writer::{Pace, SKEW, Writer};
use super::{AHEAD, OTHERS, PostgresTraffic, SILENT, WRITER_UNUSABLE};

/// What is remembered between Runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Which edition of the mark, and which database.
    about: String,
    /// Since when the server counts as it did at the last look.
    counted_since: String,
    writers: BTreeMap<String, Record>,
    others: Others,
}

impl Memory {
    /// The same, or nothing if it is of another mark or database; what was asked counts as long as the counters do.
    pub(super) fn about(self, about: &str, counted_since: &str) -> Self {
        let mut memory = if self.about == about { self } else { Self { about: about.to_owned(), ..Self::default() } };
        if memory.counted_since != counted_since {
            counted_since.clone_into(&mut memory.counted_since);
            for record in memory.writers.values_mut() {
                record.asked = None;
            }
        }
        memory
    }
}

/// One look: what it uses.
pub(super) struct Look<'a> {
    pub(super) check: &'a PostgresTraffic,
    pub(super) cx: &'a Context,
    pub(super) mark: &'a Side,
    pub(super) budget: Budget,
}

/// What was seen of all parts.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) parts: BTreeMap<PartId, Outcome>,
    pub(super) measures: Vec<Measure>,
}

impl Look<'_> {
    /// Looks at each writer, and at everybody else.
    pub(super) async fn all(&self, at: &mut Observer, memory: &mut Memory) -> Result<Seen, Outcome> {
        let witness = Witness::find(&mut at.session, self.budget).await?;
        let (mut seen, mut declared) = (Seen::default(), BTreeSet::new());
        for (done, writer) in self.check.writers.iter().enumerate() {
            let record = memory.writers.entry(writer.name.clone()).or_insert_with(|| Record::new(self.cx.now));
            // Completeness is a question of its own.
            let limit = share(self.budget, self.check.writers.len().saturating_sub(done).saturating_mul(2));
            let outcome = self.writer(at, writer, record, &witness, limit).await.unwrap_or_else(|outcome| outcome);
            let part = PartId::new(&writer.name);
            if let Some(age) = record.newest().and_then(|newest| age(at.sight.clock, newest)) {
                seen.measures.push(Measure { part: part.clone(), name: "age_seconds", value: age.as_secs_f64() });
            }
            seen.parts.insert(part, outcome);
            declared.extend(Where::of(writer).map(|spot| spot.spellings()).unwrap_or_default());
        }
        let others = others::look(at, &mut memory.others, self.mark, &declared, self.check.undeclared, self.budget).await;
        seen.parts.insert(PartId::new(OTHERS), others.unwrap_or_else(|outcome| outcome));
        Ok(seen)
    }

    async fn writer(
        &self,
        at: &mut Observer,
        writer: &Writer,
        record: &mut Record,
        witness: &Witness,
        limit: u128,
    ) -> Result<Outcome, Outcome> {
        let pace = writer.pace().map_err(|why| WRITER_UNUSABLE.because(why))?;
        let spot = Where::of(writer)?;
        let table = look_up(at, writer, &spot, self.budget).await?;
        let scene = Scene { clock: at.sight.clock, now: self.cx.now, mark: self.mark.at, unseen: witness.unseen() };
        let judged = record.judge(writer, &pace, scene);
        let settled = matches!(judged, Outcome::Pass { .. } | Outcome::Waiting { .. });
        // Counters only say that there is something to see; and before anything is called silent it is looked for.
        if settled && record.asked == Some(table.written) && !record.wants_completeness(writer, &pace) {
            return Ok(judged);
        }
        record.asked = None;
        let question = Question { at: &spot, table: &table, mark: self.mark, known: record.newest() };
        let Found { rows, complete } = question.ask(at, writer.complete.as_deref(), limit, self.budget).await?;
        if let Some((_, newest)) = rows.filter(|(_, newest)| *newest > later(scene.clock, SKEW)) {
            let (newest, clock) = (newest.format("%F %TZ"), scene.clock.format("%F %TZ"));
            return Err(
                AHEAD.because(format!("{}: the newest row is of {newest}, the server's clock says {clock}", writer.table))
            );
        }
        let beat = record.sees(rows);
        if beat || record.calls.is_none() {
            self.attribute(at, writer, record, witness, &spot).await;
        }
        Self::conclude(writer, record, &pace, scene, complete, &table)
    }

    /// Who wrote the newest rows.
    async fn attribute(&self, at: &mut Observer, writer: &Writer, record: &mut Record, witness: &Witness, spot: &Where) {
        let calls = witness.calls(&mut at.session, &spot.table, &writer.role, self.budget).await;
        record.author = match &calls {
            Some(calls) if record.newest().is_some() => Author::of(&writer.role, record.calls.as_ref(), calls),
            _ => Author::Unseen,
        };
        record.calls = calls;
    }

    fn conclude(
        writer: &Writer,
        record: &mut Record,
        pace: &Pace,
        scene: Scene,
        complete: Option<Result<bool, Outcome>>,
        table: &Table,
    ) -> Result<Outcome, Outcome> {
        let complete = complete.transpose();
        if let Ok(complete) = complete {
            record.asked = Some(table.written);
            if let Some(complete) = complete {
                record.counts(complete);
            }
        }
        let judged = record.judge(writer, pace, scene);
        match complete {
            // What was seen to be wrong is worse than what could not be seen.
            Err(outcome) if !matches!(judged, Outcome::Fail { .. }) => Err(outcome),
            _ => Ok(judged),
        }
    }

    /// The first writer's question with a mark that no transaction has reached: no row is newer.
    pub(super) async fn beyond(&self, at: &mut Observer) -> Result<Outcome, Outcome> {
        /// How many transactions are still to come before that mark: half of what can be told apart.
        const AHEAD: u64 = 1 << 30;
        let writer = self.check.writers.first().ok_or_else(|| WRITER_UNUSABLE.because("there is none"))?;
        let spot = Where::of(writer)?;
        let table = look_up(at, writer, &spot, self.budget).await?;
        let mark = Side { next_xid: at.sight.next_xid.saturating_add(AHEAD), ..self.mark.clone() };
        let question = Question { at: &spot, table: &table, mark: &mark, known: None };
        let found = question.ask(at, None, share(self.budget, 1), self.budget).await?;
        Ok(match found.rows {
            None => SILENT.because(format!("no row in {} since a mark that is still to come", writer.table)),
            Some((_, newest)) => Outcome::pass(format!("a row of {newest} is newer than a mark that is still to come")),
        })
    }
}
