//! `postgresContinuity`: the new server goes on where the old one stopped.

mod series;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::{BoxFuture, join};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::check::{Check, Context, FieldError, Meta, Nature, Report};
use crate::counter::{age, earlier, later, words};
use crate::fact::FACT;
use crate::net::{Budget, reasons};
use crate::outcome::{Measure, Outcome, PartId, ReasonSpec, Step};
use crate::target::{TargetKind, TargetUse};

use super::NOT_ACCEPTING;
use super::mark::{Mark, OTHER_MARK, Side};
use super::observer::{OBSERVER, Observer};
pub use series::Series;
use table::{After, READING, SERIES_UNUSABLE, Source, look_up};

/// Rows are missing between the two.
const GAP: ReasonSpec = ReasonSpec::fail(
    "gap",
    "backfill the time that the evidence names on the new server, if it was kept anywhere: rows with times in it count; or raise `within` in \
     the document to the loss that is accepted",
);
/// Both were written to at once.
const OVERLAP: ReasonSpec = ReasonSpec::fail(
    "overlap",
    "stop what writes to the old server, and carry its last rows over: both sides were written to at once; then take a new mark: `cutover \
     postgres baseline --again`",
);
/// The new server has no row yet.
const NO_ROW_YET: ReasonSpec =
    ReasonSpec::waiting("no_row_yet", "switch the application to the new server: no row came there after the mark");
/// The old server was never seen with this mark.
const OLD_NEVER_SEEN: ReasonSpec = ReasonSpec::unknown(
    "old_never_seen",
    "bring the old server back, fenced, until it was looked at once: nobody knows its last row",
);
/// There is nothing to go on from.
const NO_OLD_ROW: ReasonSpec =
    ReasonSpec::unknown("no_old_row", "name a table that the old server has rows of: its table in the evidence is empty");
/// How long after the mark the first row may come, at least.
const PATIENCE: Duration = Duration::from_mins(15);
/// Tables that can be declared.
const MOST: usize = 100;

/// The new server goes on where the old one stopped: in each declared table (a part of its own), the time between the last row of the old
/// side and the rows that came to the new one after the mark (`cutover postgres baseline`) is no longer than `within`, twice the cadence
/// `every` by default.
///
/// Rows of the new side count by the transaction that wrote them, so that restored ones do not. Rows that are filled in later, with times
/// in the gap, close it: what counts is the longest time without a row, from the old side's last up to the first that the application wrote
/// on the new one. The last row of the old side is remembered with the mark, so that this side may be stopped then. Both logins are those of
/// an observer (`deploy/postgres/observer.sql`). An index on the column keeps the look short.
///
/// Fail: a longer gap (`gap`), with its beginning, end, and about how many rows it is; rows on the new side with times from after the mark
/// and before the old side's last (`overlap`): both were written to; no such table; the new server's silence. Waiting: no row came to the
/// new side yet, for 15 minutes or `within` after the mark. Unknown: no mark, or one of other servers; the old server was never seen with it,
/// or has no row; a table that the role may not read, that is locked, or not read in time; our own login is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PostgresContinuity {
    /// Name of the target that is left, of kind `postgres`.
    pub old: String,
    /// Name of the target that it moves to, of kind `postgres`.
    pub new: String,
    /// Name of the fact that holds the mark.
    #[serde(default = "mark")]
    pub mark: String,
    /// The tables whose rows tell a time.
    pub tables: Vec<Series>,
}

fn mark() -> String {
    "postgres-mark".to_owned()
}

/// What is remembered between Runs, about one mark.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    mark: String,
    tables: BTreeMap<String, Known>,
}

/// What is known of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    last: Option<Last>,
    /// The first row that the application wrote on the new side.
    live: Option<DateTime<Utc>>,
}

/// The old side's last row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Last {
    /// What time it tells.
    time: DateTime<Utc>,
    /// When it was looked for.
    seen: DateTime<Utc>,
    /// The next transaction then, if all before it had ended.
    next_xid: Option<u64>,
}

impl Memory {
    /// Of another mark nothing is known yet.
    fn about(self, edition: &str, mark: &Mark) -> Self {
        let side = |side: &Side| format!("{} {}", side.identity, side.next_xid);
        let mark = format!("{edition}: {}, {}", side(&mark.old), side(&mark.new));
        if self.mark == mark { self } else { Self { mark, tables: BTreeMap::new() } }
    }
}

impl Series {
    /// What the rows of both sides say.
    fn judge(&self, after: After, last: DateTime<Utc>, marked: DateTime<Utc>) -> Outcome {
        let clock = |time: DateTime<Utc>| time.format("%F %TZ").to_string();
        if let Some((first, rows)) = after.both {
            let words = format!("{rows} rows on new from {} on, the last one on old is of {}", clock(first), clock(last));
            return OVERLAP.because(words);
        }
        let filled = if after.filled > 0 { format!("; {} rows were filled in", after.filled) } else { String::new() };
        let Some(live) = after.live else {
            let due = later(marked, PATIENCE.max(self.limit()));
            return NO_ROW_YET
                .until(due, format!("no row on new after the mark, the last one on old is of {}{filled}", clock(last)));
        };
        // Without a hole both rows are of the same second.
        let (from, to) = after.hole.unwrap_or((last, live));
        let gap = age(to, from).unwrap_or_default();
        if gap > self.limit() {
            let rows = self.every.map(|every| gap.as_secs() / every.as_secs().max(1));
            let rows = rows.map_or_else(String::new, |rows| format!(", about {rows} rows at the cadence"));
            let words = format!("{} lost{rows}: none between {} and {}{filled}", words(gap), clock(from), clock(to));
            return GAP.because(format!("{words}; the limit is {}", crate::counter::words(self.limit())));
        }
        let longest = words(gap);
        Outcome::pass(format!("from {} on old to {} on new; at most {longest} without a row{filled}", clock(last), clock(live)))
    }
}

/// The seconds of the longest time without a row.
fn seconds(after: After) -> Option<f64> {
    let (from, to) = after.hole?;
    age(to, from).map(|gap| gap.as_secs_f64())
}

impl PostgresContinuity {
    /// The last rows of the old side, as far as they are not known.
    async fn lasts(&self, cx: &Context, old: &mut Observer, memory: &mut Memory, budget: Budget) -> BTreeMap<String, Outcome> {
        let mut troubles = BTreeMap::new();
        for series in &self.tables {
            let known = memory.tables.entry(series.table.clone()).or_default();
            let ended = old.sight.all_ended_before();
            if known.last.is_some_and(|last| ended.is_some() && last.next_xid == ended) {
                continue;
            }
            match last_of(old, series, budget).await {
                Ok(Some(time)) => known.last = Some(Last { time, seen: cx.now, next_xid: ended }),
                Ok(None) => {
                    known.last = None;
                    troubles
                        .insert(series.table.clone(), NO_OLD_ROW.because(format!("{}: {} has no row", old.place, series.table)));
                }
                Err(outcome) => {
                    troubles.insert(series.table.clone(), outcome);
                }
            }
        }
        troubles
    }

    /// What the new side says to those.
    async fn afters(
        &self,
        new: &mut Observer,
        mark: &Side,
        memory: &mut Memory,
        budget: Budget,
    ) -> BTreeMap<String, Result<After, Outcome>> {
        let mut afters = BTreeMap::new();
        for series in &self.tables {
            let Some(known) = memory.tables.get_mut(&series.table) else { continue };
            let Some(last) = known.last else { continue };
            let after = after_of(new, series, mark, last.time, known.live, budget).await;
            if let Ok(after) = &after {
                known.live = after.live;
            }
            afters.insert(series.table.clone(), after);
        }
        afters
    }

    async fn look(&self, cx: &Context, mark: &Mark, memory: &mut Memory, budget: Budget) -> Sight {
        let old = enter(cx, &self.old, &mark.old, self.tables.len(), budget);
        let new = enter(cx, &self.new, &mark.new, self.tables.len(), budget);
        let (mut old, mut new) = join(Box::pin(old), Box::pin(new)).await;
        let mut identities = BTreeMap::new();
        for (name, open) in [(&self.old, &old), (&self.new, &new)] {
            identities.extend(open.as_ref().ok().map(|open| (name.clone(), open.identity())));
        }
        let troubles = match &mut old {
            Ok(old) => Ok(self.lasts(cx, old, memory, budget).await),
            Err(outcome) => Err(outcome.clone()),
        };
        let afters = match &mut new {
            Ok(new) => Ok(self.afters(new, &mark.new, memory, budget).await),
            Err(outcome) => Err(outcome.clone()),
        };
        for open in [old, new].into_iter().flatten() {
            open.session.close(budget).await;
        }
        Sight { identities, troubles, afters }
    }

    /// The old server as it stands in the new one's control: its last row is too long ago.
    async fn as_if_lost(&self, cx: &Context) -> Result<Outcome, Outcome> {
        let budget = Budget::start(cx.timeout);
        let mut new = Observer::enter(cx, &self.new, budget).await?;
        let Some(series) = self.tables.first() else { return Err(SERIES_UNUSABLE.because("no table")) };
        let mark = Side::of_nothing(&new.sight);
        let made =
            format!("(SELECT '{}'::timestamptz AS t, '{}'::xid AS xmin) AS made", mark.at.format("%F %T%.6f+00"), mark.next_xid);
        let source = Source { from: made, column: "t".to_owned(), kind: "timestamptz".to_owned() };
        let last = earlier(mark.at, series.limit() + Duration::from_secs(1));
        let after = source.after(&mut new, &mark, last, None, budget).await;
        new.session.close(budget).await;
        Ok(series.judge(after?, last, mark.at))
    }
}

/// What both sides showed.
struct Sight {
    identities: BTreeMap<String, String>,
    troubles: Result<BTreeMap<String, Outcome>, Outcome>,
    afters: Result<BTreeMap<String, Result<After, Outcome>>, Outcome>,
}

impl Sight {
    fn part(&self, series: &Series, known: &Known, marked: DateTime<Utc>) -> Outcome {
        let mut away = None;
        match &self.troubles {
            Ok(troubles) => {
                if let Some(trouble) = troubles.get(&series.table) {
                    return trouble.clone();
                }
            }
            Err(outcome) if is_away(outcome) => away = Some(outcome),
            Err(outcome) => return outcome.clone(),
        }
        let Some(last) = known.last else {
            let words = away.map_or_else(String::new, |outcome| outcome.evidence().to_string());
            return OLD_NEVER_SEEN.because(format!("{}: {words}", series.table));
        };
        let judged = match &self.afters {
            Ok(afters) => match afters.get(&series.table) {
                Some(Ok(after)) => series.judge(*after, last.time, marked),
                Some(Err(outcome)) => outcome.clone(),
                None => OLD_NEVER_SEEN.because(series.table.as_str()),
            },
            Err(outcome) => outcome.clone(),
        };
        match away {
            Some(_) => judged.of(&format!("the old server is away, last seen {}", last.seen.format("%F %TZ"))),
            None => judged,
        }
    }
}

/// Whether a server is stopped, or not to be reached.
fn is_away(outcome: &Outcome) -> bool {
    let network = reasons::NETWORK.iter().chain([&NOT_ACCEPTING]);
    network.into_iter().any(|spec| outcome.reason() == Some(&(*spec).into()))
}

/// Logs in to the server that the mark was taken of. No question may take more than its share of the Run.
async fn enter(cx: &Context, target: &str, mark: &Side, questions: usize, budget: Budget) -> Result<Observer, Outcome> {
    let mut observer = Observer::enter(cx, target, budget).await?;
    let left = budget.end.saturating_duration_since(Instant::now()).as_millis();
    let share = (left * 2 / 5 / u128::try_from(questions.max(1)).unwrap_or(1)).max(1);
    let is_of = mark.is_of(&observer);
    let limited = observer.session.ask(&format!("SET statement_timeout = {share}"), budget).await;
    match is_of.and(limited.map_err(Outcome::from)) {
        Ok(_) => Ok(observer),
        Err(outcome) => {
            observer.session.close(budget).await;
            Err(outcome)
        }
    }
}

async fn last_of(old: &mut Observer, series: &Series, budget: Budget) -> Result<Option<DateTime<Utc>>, Outcome> {
    let source = look_up(old, series, budget).await?;
    source.last(old, budget).await
}

async fn after_of(
    new: &mut Observer,
    series: &Series,
    mark: &Side,
    last: DateTime<Utc>,
    live: Option<DateTime<Utc>>,
    budget: Budget,
) -> Result<After, Outcome> {
    let source = look_up(new, series, budget).await?;
    source.after(new, mark, last, live, budget).await
}

impl Check for PostgresContinuity {
    const META: Meta = Meta {
        kind: "postgresContinuity",
        nature: Nature::Continuous,
        reasons: &[
            reasons::NETWORK,
            super::LOGIN,
            OBSERVER,
            FACT,
            READING,
            &[OTHER_MARK, GAP, OVERLAP, NO_ROW_YET, OLD_NEVER_SEEN, NO_OLD_ROW],
        ],
        control: GAP,
        measures: &["gap_seconds"],
        waivable: true,
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
        let mut wrong = |field, message: String, hint: &str| errors.push(FieldError { field, message, hint: hint.to_owned() });
        if self.old == self.new {
            wrong("new", "this is the old one as well".to_owned(), "name the server that the data moves to");
        }
        let names: BTreeSet<_> = self.tables.iter().map(|series| &series.table).collect();
        if self.tables.is_empty() || self.tables.len() > MOST || names.len() < self.tables.len() {
            wrong(
                "tables",
                format!("none, more than {MOST}, or one of them twice"),
                "declare each table whose rows tell a time once",
            );
        }
        for (message, hint) in self.tables.iter().filter_map(Series::flaw) {
            wrong("tables", message, hint);
        }
        errors
    }

    fn run<'a>(&'a self, cx: &'a Context, memory: Memory) -> BoxFuture<'a, Report<Memory>> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let (edition, mark) = match cx.fact::<Mark>(&self.mark) {
                Ok(fact) => fact,
                Err(outcome) => {
                    let parts = self.tables.iter().map(|series| (PartId::new(&series.table), outcome.clone()));
                    return Report::new(Step::Done(parts.collect()), memory);
                }
            };
            let mut memory = memory.about(edition, &mark);
            memory.tables.retain(|name, _| self.tables.iter().any(|series| series.table == *name));
            let sight = Box::pin(self.look(cx, &mark, &mut memory, budget)).await;
            let known = |series: &Series| memory.tables.get(&series.table).cloned().unwrap_or_default();
            let part = |series: &Series| (PartId::new(&series.table), sight.part(series, &known(series), mark.new.at));
            let parts = self.tables.iter().map(part).collect();
            let afters = sight.afters.iter().flatten();
            let measured = afters.filter_map(|(name, after)| Some((name, seconds(*after.as_ref().ok()?)?)));
            let measures =
                measured.map(|(name, value)| Measure { part: PartId::new(name), name: "gap_seconds", value }).collect();
            Report { measures, identities: sight.identities, ..Report::new(Step::Done(parts), memory) }
        })
    }

    /// The same question, on the new server, about a row of now, as if the old side's last were too long ago.
    fn control<'a>(&'a self, cx: &'a Context, _: Memory) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { Box::pin(self.as_if_lost(cx)).await.unwrap_or_else(|outcome| outcome) })
    }
}

#[cfg(test)]
mod spoilt;
#[cfg(test)]
mod tests;
