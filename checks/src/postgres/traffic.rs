//! `postgresTraffic`: the application's own rows arrive on the new server, from each declared writer.

mod look;
mod others;
mod record;
mod roles;
mod table;
mod writer;

use std::collections::{BTreeMap, BTreeSet};

use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Check, Context, FieldError, Meta, Nature, Report};
use crate::fact::FACT;
use crate::net::{Budget, reasons};
use crate::outcome::{Outcome, PartId, ReasonSpec, Step};
use crate::target::{TargetKind, TargetUse};

use super::mark::{Mark, OTHER_MARK};
use super::observer::{OBSERVER, Observer};

use look::{Look, Memory, Seen};
pub use writer::Writer;

/// No rows of a writer that writes all the time.
const SILENT: ReasonSpec = ReasonSpec::fail(
    "silent",
    "see whether the writer runs, and where it writes to: look at its connection string (a secret may win over a default), and restart \
     what keeps old connections open",
);
/// No rows of a run that was due.
const MISSED_RUN: ReasonSpec = ReasonSpec::fail(
    "missed_run",
    "see whether the job ran and where it wrote to, then run it once by hand; correct `schedule` or `jitter` if it was not due",
);
/// Rows come, but not all of them.
const PARTIAL: ReasonSpec = ReasonSpec::fail(
    "partial",
    "look at the writer's log: it writes some of its rows and not others, as the query in the evidence tells; raise `grace` if it takes \
     longer",
);
/// Rows of a time to come.
const AHEAD: ReasonSpec = ReasonSpec::fail(
    "clock",
    "correct the clock of the writer's host or of the server: a row of a time to come would look fresh for too long; then remove the row",
);
/// Rows come from somebody else.
const OTHER_ROLE: ReasonSpec = ReasonSpec::fail(
    "other_role",
    "find out who uses the role in the evidence, or correct `role`: the rows that came are not the declared writer's",
);
/// The table is not there.
const NO_TABLE: ReasonSpec = ReasonSpec::fail(
    "no_table",
    "restore the table on the new server, or correct `table`: `schema.table`, names with capital letters in double quotes",
);
/// The role is not there.
const NO_ROLE: ReasonSpec =
    ReasonSpec::fail("no_role", "create the role on the new server (`pg_dumpall --roles-only` has it), or correct `role`");
/// Tables are written to that nobody declared.
const UNKNOWN_WRITER: ReasonSpec = ReasonSpec::fail(
    "unknown_writer",
    "declare who writes to the tables in the evidence in `writers`, or stop it; with `undeclared: name` they are named only",
);
/// The column is not there, or tells no time.
const NO_TIME_COLUMN: ReasonSpec =
    ReasonSpec::unknown("no_time_column", "correct `time`: a column of type timestamptz, or timestamp in UTC");
/// The operator's query has no answer.
const COMPLETE_UNUSABLE: ReasonSpec = ReasonSpec::unknown(
    "complete_unusable",
    "correct `complete`, or let the verifier's role read what it reads: the server refuses it with the words in the evidence",
);
/// A writer's words make no sense.
const WRITER_UNUSABLE: ReasonSpec =
    ReasonSpec::unknown("writer_unusable", "correct the writer in the document: `probe config check`");
/// No two beats yet.
const FIRST_BEATS: ReasonSpec = ReasonSpec::waiting("first_beats", "wait for two rows of the writer that are a cadence apart");
/// No run is due yet.
const NOT_DUE: ReasonSpec =
    ReasonSpec::waiting("not_due", "wait for the writer's next run, or run it once by hand: any row of it proves it");
/// A first set of rows is on its way.
const COMPLETING: ReasonSpec = ReasonSpec::waiting("completing", "wait until the writer has written all rows of its run");

/// The part of everybody who is not declared.
const OTHERS: &str = "others";
/// Most writers: each is a few questions of its own in each look.
const MAX_WRITERS: usize = 20;

/// What it means that a table is written to that no writer declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Undeclared {
    /// It is named.
    Name,
    /// It is wrong.
    Fail,
}

/// Each declared writer's own rows arrive on the new server after the mark: committed, complete, and on its cadence (`every`) or by its
/// schedule; who else writes is named.
///
/// A row counts if it is visible, was written by a transaction after the mark (a Fact that `cutover postgres baseline` records), and
/// its time is newer than the mark: rows that were restored, written late with old times, or rolled back do not. One part for each
/// writer: a fast one is green after two beats, as long as the newest is no older than `every` and 30 s by the server's clock; a slow
/// one is waiting until a row comes, of a run that is due or that was made by hand, and green until the next one is missed by `jitter`
/// and 5 m. With `complete`, rows prove nothing until that query is true. If `pg_stat_statements` is there, the declared role must
/// have called what wrote them; if not, the evidence says so. The part `others` names tables that nobody declared.
///
/// Log in with a role that may read and not write (`pg_monitor`, SELECT on the tables).
///
/// Fail: no row for too long, a run that was missed, an incomplete set after `grace`, a row of a time to come, another role wrote, no
/// such table or role, with `undeclared: fail` an undeclared table that is written to; and the server is silent, refuses, or is in
/// recovery. Unknown: no mark, or of another server; the verifier's own login is refused, may write, or may not read; `track_counts` is
/// off; a column that tells no time; `complete` has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PostgresTraffic {
    /// Name of the target on the new side, of kind `postgres`.
    pub postgres: String,
    /// Name of the Fact that holds the mark.
    #[serde(default = "mark")]
    pub mark: String,
    /// Who writes: at least one, names unique.
    pub writers: Vec<Writer>,
    /// Whether it is wrong that a table is written to that no writer declares.
    #[serde(default = "name_them")]
    pub undeclared: Undeclared,
}

fn mark() -> String {
    "postgres-mark".to_owned()
}

const fn name_them() -> Undeclared {
    Undeclared::Name
}

impl PostgresTraffic {
    /// The same outcome for each part.
    fn everywhere(&self, outcome: &Outcome) -> Seen {
        let names = self.writers.iter().map(|writer| writer.name.as_str()).chain([OTHERS]);
        Seen { parts: names.map(|name| (PartId::new(name), outcome.clone())).collect(), ..Seen::default() }
    }

    async fn see(&self, cx: &Context, memory: &mut Memory, identity: &mut Option<String>) -> Result<Seen, Outcome> {
        let (edition, mark) = cx.fact::<Mark>(&self.mark)?;
        let budget = Budget::start(cx.timeout);
        let look = async |at: &mut Observer| {
            let is = identity.insert(at.identity());
            *memory = std::mem::take(memory).about(&format!("{edition} {is}"), &at.sight.counted_since);
            mark.new.is_of(at)?;
            Look { check: self, cx, mark: &mark.new, budget }.all(at, memory).await
        };
        Ok(Observer::visit(cx, &self.postgres, budget, look).await?.1)
    }

    async fn see_nothing(&self, cx: &Context) -> Result<Outcome, Outcome> {
        let (_, mark) = cx.fact::<Mark>(&self.mark)?;
        let budget = Budget::start(cx.timeout);
        let look = Look { check: self, cx, mark: &mark.new, budget };
        let look = async |at: &mut Observer| look.beyond(at).await;
        Ok(Observer::visit(cx, &self.postgres, budget, look).await?.1)
    }
}

impl Check for PostgresTraffic {
    const META: Meta = Meta {
        kind: "postgresTraffic",
        nature: Nature::Continuous,
        reasons: &[
            reasons::NETWORK,
            super::LOGIN,
            OBSERVER,
            FACT,
            &[OTHER_MARK, SILENT, MISSED_RUN, PARTIAL, AHEAD, OTHER_ROLE, NO_TABLE, NO_ROLE, UNKNOWN_WRITER],
            &[NO_TIME_COLUMN, COMPLETE_UNUSABLE, WRITER_UNUSABLE, FIRST_BEATS, NOT_DUE, COMPLETING],
        ],
        control: SILENT,
        measures: &["age_seconds"],
        waivable: true,
        rules: &[],
    };
    type Memory = Memory;

    fn targets(&self) -> Vec<TargetUse> {
        vec![TargetUse { field: "postgres", kind: Some(TargetKind::Postgres), name: self.postgres.clone() }]
    }

    fn facts(&self) -> Vec<String> {
        vec![self.mark.clone()]
    }

    fn validate(&self) -> Vec<FieldError> {
        let names: BTreeSet<_> = self.writers.iter().map(|writer| &writer.name).collect();
        let wrong = |message: String, hint: &str| FieldError { field: "writers", message, hint: hint.to_owned() };
        let mut errors: Vec<_> =
            self.writers.iter().filter_map(Writer::flaw).map(|(message, hint)| wrong(message, hint)).collect();
        if self.writers.is_empty() {
            errors.push(wrong("there is none".to_owned(), "declare at least one: who writes to which table, and how often"));
        }
        if self.writers.len() > MAX_WRITERS {
            errors.push(wrong(format!("more than {MAX_WRITERS}"), "divide them among several probes"));
        }
        if names.len() < self.writers.len() {
            errors.push(wrong("two have the same name".to_owned(), "give each a name of its own"));
        }
        errors
    }

    fn run<'a>(&'a self, cx: &'a Context, mut memory: Memory) -> BoxFuture<'a, Report<Memory>> {
        Box::pin(async move {
            let mut identity = None;
            let seen = self.see(cx, &mut memory, &mut identity).await;
            let Seen { parts, measures } = seen.unwrap_or_else(|outcome| self.everywhere(&outcome));
            let identities = BTreeMap::from_iter(identity.map(|identity| (self.postgres.clone(), identity)));
            Report { measures, identities, ..Report::new(Step::Done(parts), memory) }
        })
    }

    /// The first writer's question with a mark that is still to come: no row may be newer.
    fn control<'a>(&'a self, cx: &'a Context, _: Memory) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { self.see_nothing(cx).await.unwrap_or_else(|outcome| outcome) })
    }
}

#[cfg(test)]
mod tests;
