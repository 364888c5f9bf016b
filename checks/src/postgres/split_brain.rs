//! `postgresSplitBrain`: after the mark the application's rows are on one side only.

mod drift;
mod risk;

use std::collections::BTreeMap;

use futures::future::{BoxFuture, join};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Check, Context, FieldError, Meta, Nature, Report};
use crate::fact::FACT;
use crate::net::{Budget, reasons};
use crate::outcome::{Measure, Outcome, PartId, ReasonSpec, Step};
use crate::target::{TargetKind, TargetUse};

use super::mark::{Mark, OTHER_MARK, Side};
use super::observer::{OBSERVER, Observer};

use super::written::{Rows, Table};
use drift::{DRIFT, OLD_AWAY, Old, WENT_BACK};
use risk::New;

/// Both sides were written to.
const SPLIT_BRAIN: ReasonSpec = ReasonSpec::fail(
    "split_brain",
    "stop what writes to the old server first; then carry its rows over to the new one, with new ids where both gave out the same; then \
     take a new mark: `cutover postgres baseline --again`",
);

/// After the mark (`cutover postgres baseline`) the application's rows are on the new server alone: the old one got none (part `old`).
/// What the new one got since is counted (part `new`): rows that going back would lose, and whether they could be carried back.
///
/// Rows are told by the transaction that wrote them, not by their time: one that began after the mark. The first such row on the new
/// server is the point of no return. On the old one each is drift, and named with its table, ids and times; the tables are searched when
/// a transaction has written, and drift stays red until there is a new mark, even if the rows are deleted. Both logins are those of an
/// observer (`deploy/postgres/observer.sql`), which has to see every table. No override can name this check.
///
/// Fail: rows came to the old server after the mark, or were deleted there, or tables were truncated or altered; rows came to both; the
/// old server knows fewer transactions than at the mark. Unknown: no mark, or one of other servers; the old server does not answer, since
/// nobody knows then what it takes; with `mayBeStopped` one that refuses connections passes, if it was fenced and without drift when it
/// was last seen; what the role may not see; the new server's silence is Fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PostgresSplitBrain {
    /// Name of the target that is left, of kind `postgres`.
    pub old: String,
    /// Name of the target that it moves to, of kind `postgres`.
    pub new: String,
    /// Name of the fact that holds the mark.
    #[serde(default = "mark")]
    pub mark: String,
    /// Whether the old server may be stopped once it was seen fenced.
    #[serde(default)]
    pub may_be_stopped: bool,
}

fn mark() -> String {
    "postgres-mark".to_owned()
}

/// What is remembered between Runs, about one mark.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    mark: String,
    old: Old,
    new: New,
}

impl Memory {
    /// Of another mark nothing is known yet.
    fn about(self, mark: &str) -> Self {
        if self.mark == mark { self } else { Self { mark: mark.to_owned(), ..Self::default() } }
    }
}

impl PostgresSplitBrain {
    async fn look(
        &self,
        cx: &Context,
        mark: &Mark,
        memory: &mut Memory,
        budget: Budget,
    ) -> (Outcome, Outcome, BTreeMap<String, String>) {
        let (old, new) = (&mut memory.old, &mut memory.new);
        let old = async |at: &mut Observer| old.look(at, &mark.old, cx.now, budget).await;
        let new = async |at: &mut Observer| new.look(at, &mark.new, cx.now, budget).await;
        let (old, new) = (Observer::visit(cx, &self.old, budget, old), Observer::visit(cx, &self.new, budget, new));
        let (old, new) = join(Box::pin(old), Box::pin(new)).await;
        let mut identities = BTreeMap::new();
        for (name, seen) in [(&self.old, &old), (&self.new, &new)] {
            identities.extend(seen.as_ref().ok().map(|(identity, _)| (name.clone(), identity.clone())));
        }
        let old = old.map_or_else(|outcome| memory.old.away(outcome, self.may_be_stopped), |(_, outcome)| outcome);
        let new = new.map_or_else(|outcome| outcome, |(_, outcome)| outcome);
        if memory.old.has_drifted() && memory.new.rows() > 0 {
            let both = format!("on the old server {}; on the new one: {}", old.evidence(), memory.new.in_words());
            return (SPLIT_BRAIN.because(both), new, identities);
        }
        (old, new, identities)
    }
}

fn measure(part: &str, name: &'static str, value: u64) -> Measure {
    Measure { part: PartId::new(part), name, value: f64::from(u32::try_from(value).unwrap_or(u32::MAX)) }
}

impl Check for PostgresSplitBrain {
    const META: Meta = Meta {
        kind: "postgresSplitBrain",
        nature: Nature::Continuous,
        reasons: &[reasons::NETWORK, super::LOGIN, OBSERVER, FACT, &[OTHER_MARK, DRIFT, SPLIT_BRAIN, WENT_BACK, OLD_AWAY]],
        control: DRIFT,
        measures: &["drift_rows", "rows_at_risk", "reversible"],
        waivable: false,
        rules: &[],
    };
    type Memory = Memory;

    fn targets(&self) -> Vec<TargetUse> {
        let of = |field, name: &String| TargetUse { field, kind: Some(TargetKind::Postgres), name: name.clone() };
        vec![of("old", &self.old), of("new", &self.new)]
    }

    fn facts(&self) -> Vec<String> {
        vec![self.mark.clone()]
    }

    fn validate(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if self.old == self.new {
            let (message, hint) = ("this is the old one as well".into(), "name the server that the data moves to".into());
            errors.push(FieldError { field: "new", message, hint });
        }
        errors
    }

    fn run<'a>(&'a self, cx: &'a Context, memory: Memory) -> BoxFuture<'a, Report<Memory>> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let (edition, mark) = match cx.fact::<Mark>(&self.mark) {
                Ok(fact) => fact,
                Err(outcome) => {
                    let parts = ["old", "new"].map(|part| (PartId::new(part), outcome.clone()));
                    return Report::new(Step::Done(parts.into()), memory);
                }
            };
            let mut memory = memory.about(edition);
            let (old, new, identities) = self.look(cx, &mark, &mut memory, budget).await;
            let measures = vec![
                measure("old", "drift_rows", memory.old.rows()),
                measure("new", "rows_at_risk", memory.new.rows()),
                measure("new", "reversible", memory.new.is_reversible().into()),
            ];
            let parts = BTreeMap::from([(PartId::new("old"), old), (PartId::new("new"), new)]);
            Report { measures, identities, ..Report::new(Step::Done(parts), memory) }
        })
    }

    /// The same count, on the new server, with a mark from before there was anything: rows that every server has must be found.
    fn control<'a>(&'a self, cx: &'a Context, _: Memory) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { self.before_everything(cx).await.unwrap_or_else(|outcome| outcome) })
    }
}

impl PostgresSplitBrain {
    async fn before_everything(&self, cx: &Context) -> Result<Outcome, Outcome> {
        let budget = Budget::start(cx.timeout);
        let look = async |Observer { session, place, sight, .. }: &mut Observer| {
            let first = Side::of_nothing(sight).is_after();
            let rows = Rows::count(session, &[Table::of_the_catalog()], &first, place, budget).await?;
            let found = || DRIFT.because(format!("{place}, since before there was anything: {}", rows.in_words()));
            Ok(if rows.is_none() { Outcome::pass(format!("{place}: no row is there")) } else { found() })
        };
        Ok(Observer::visit(cx, &self.new, budget, look).await?.1)
    }
}
