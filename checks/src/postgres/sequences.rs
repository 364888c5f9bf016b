//! `postgresSequences`: no sequence of the new server gives out a number that is taken.

mod columns;
mod scan;
mod sequence;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::{BoxFuture, try_join};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::check::{Check, Context, FieldError, Meta, Nature, Report};
use crate::counter::number;
use crate::net::{Budget, reasons};
use crate::outcome::{Measure, Outcome, PartId, Progress, ReasonSpec, Step};
use crate::proof::Rest;
use crate::target::{TargetKind, TargetUse};

use super::observer::Row;
use super::pair::{PAIR, Pair, Reader};
use super::slices::{LOCKED, Trouble};
use columns::{Column, Key, Read};
use scan::{Place, Scan, Stage, Tally};
use sequence::Sequence;

/// A sequence is not there.
const MISSING: ReasonSpec = ReasonSpec::fail(
    "missing",
    "create the sequences that the evidence names on the new server, or restore it again: what draws from them fails; or `ignore` what is \
     meant to be gone",
);
/// The new one would give out again what the old one has given out.
const BEHIND: ReasonSpec = ReasonSpec::fail(
    "sequence_behind",
    "stop what still writes to the old server, then set the sequence on the new one to the old one's value: `SELECT setval('SEQUENCE', \
     LAST_VALUE, IS_CALLED)` with what `SELECT last_value, is_called FROM SEQUENCE` says on old",
);
/// The new one counts in the other direction.
const TURNED: ReasonSpec = ReasonSpec::fail(
    "turned",
    "set the sequence's increment on the new server to the old one's: `ALTER SEQUENCE … INCREMENT BY …`",
);
/// The next number is in the table already.
const COLLIDES: ReasonSpec = ReasonSpec::fail(
    "collides",
    "set the sequence beyond its column: `SELECT setval('SEQUENCE', (SELECT max(COLUMN) FROM TABLE))`, with `min` for one that counts \
     down; what draws from it fails, or gives a number twice; or `ignore` it",
);
/// Nothing is left to be given out.
const EXHAUSTED: ReasonSpec = ReasonSpec::fail(
    "exhausted",
    "give the column or the sequence a larger type (`ALTER TABLE … ALTER COLUMN … TYPE bigint`, `ALTER SEQUENCE … AS bigint MAXVALUE …`): \
     the next number does not fit",
);
/// A table can not be read in time.
const TOO_SLOW: ReasonSpec = ReasonSpec::unknown(
    "too_slow",
    "raise the probe's `timeout`, or index the column that the evidence names: its extreme can not be read in time",
);
/// There is nothing to be compared.
const NOTHING: ReasonSpec = ReasonSpec::fail(
    "nothing_to_compare",
    "correct the target `old`: its database has no sequences; leave the check out if that is right",
);

/// No sequence of the new server gives out a number that is taken, once the application writes there. A proof: it takes its time, shows
/// how far it has come, and says what it has compared.
///
/// Parts: each sequence of the old database is on the new server (`missing`); it gives out nothing that the old one has given out
/// (`values`: not behind the old one, ahead of it is right); its next value lies beyond the extreme of every column that draws from it,
/// as serial, as identity, or by a default that calls `nextval()` (`columns`); it has something left (`headroom`). What counts down is
/// mirrored. One that goes round (`CYCLE`) is compared with the old one by the shorter way round, and not with its column. A default that
/// makes another value of the number, or a column that is no number, is named and not compared. When 80 % of the
/// range of a sequence, or of a column's `int2` or `int4`, are used, that is a warning in the evidence of `headroom`. Sequences of extensions are left out.
///
/// A column with an index is read at once, another one block by block, in slices of at most `loadPercent` (25 by default) of a run's
/// timeout, and only then the sequence's value, so that rows that come meanwhile are no mistake. Both logins are those of an observer
/// (`deploy/postgres/observer.sql`). A server that does not answer is waited for two minutes. After a Pass the next look begins when
/// `rest` (15 m by default) is over. `ignore` lists sequences, like `public.orders_id_seq`, that are meant to differ.
///
/// Fail: a sequence is missing, behind, turned, collides with its column, or is exhausted; the old database has none; both targets are
/// one server; one of the two refuses, is silent, is no PostgreSQL. Unknown: a sequence or column that the role may not read, with the
/// GRANT that opens it; a column that can not be read in time, or whose table is
/// locked; our own login is refused, our own resolver or network, an answer that can
/// not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PostgresSequences {
    /// Name of the target that is left, of kind `postgres`.
    pub old: String,
    /// Name of the target that it moves to, of kind `postgres`.
    pub new: String,
    /// Sequences that are meant to differ, as `schema.sequence`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub ignore: BTreeSet<String>,
    /// How much of its timeout a run asks questions.
    #[serde(default = "a_quarter")]
    pub load_percent: u32,
    /// How long after a Pass the next look begins, like `15m`.
    #[serde(default = "a_quarter_of_an_hour", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub rest: Duration,
}

fn a_quarter() -> u32 {
    25
}

fn a_quarter_of_an_hour() -> Duration {
    Duration::from_mins(15)
}

/// What is remembered between Runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    scan: Option<Scan>,
    /// When the next look begins.
    #[serde(default)]
    rests_until: Rest,
}

impl PostgresSequences {
    /// Goes on until the end, or until this Run's share is over.
    async fn advance(&self, cx: &Context, pair: &mut Pair, scan: &mut Scan, budget: Budget) -> Result<(), Trouble> {
        let pause = budget.start + cx.timeout * self.load_percent / 100;
        if scan.total == 0 {
            let (old, columns) = try_join(count(&mut pair.old, budget), Column::count(&mut pair.new, budget)).await?;
            scan.total = old.saturating_add(columns);
        }
        // Whatever a statement does, it leaves the time to say so.
        let limit = format!("SET statement_timeout = {}", (cx.timeout / 3).as_millis().max(1));
        try_join(pair.old.ask(&limit, budget), pair.new.ask(&limit, budget)).await?;
        while scan.stage != Stage::End {
            match scan.stage.clone() {
                Stage::Values(after) => self.values(pair, scan, &after, budget).await?,
                Stage::Columns(after) => self.columns(&mut pair.new, scan, after, pause, budget).await?,
                Stage::End => {}
            }
            if Instant::now() >= pause {
                break;
            }
        }
        scan.away.answered();
        Ok(())
    }

    /// A page of both sides' sequences.
    async fn values(&self, pair: &mut Pair, scan: &mut Scan, after: &str, budget: Budget) -> Result<(), Trouble> {
        let Pair { old, new } = pair;
        let (of_old, of_new) = try_join(sequence::page(old, after, budget), sequence::page(new, after, budget)).await?;
        let end = [of_old.end(), of_new.end()].into_iter().flatten().min().map(str::to_owned);
        let within = |sequence: &&Sequence| end.as_deref().is_none_or(|end| sequence.name.as_str() <= end);
        let there: BTreeMap<&str, &Sequence> =
            of_new.sequences.iter().filter(within).map(|sequence| (sequence.name.as_str(), sequence)).collect();
        let at = |reader: &Reader| (reader.place.clone(), reader.role.clone());
        let ((old_place, old_role), (new_place, new_role)) = (at(old), at(new));
        for sequence in of_old.sequences.iter().filter(within) {
            scan.done = scan.done.saturating_add(1);
            if !scan.tally.ignores(&sequence.name, &self.ignore) {
                scan.tally.compare(sequence, there.get(sequence.name.as_str()).copied());
                scan.tally.conceals(sequence, Place { place: &old_place, role: &old_role });
            }
        }
        for sequence in there.values() {
            if !scan.tally.ignores(&sequence.name, &self.ignore) {
                scan.tally.conceals(sequence, Place { place: &new_place, role: &new_role });
                scan.tally.headroom(sequence);
            }
        }
        scan.stage = end.map_or(Stage::Columns((0, 0, 0)), Stage::Values);
        Ok(())
    }

    /// A page of the new side's columns, as far as the share of this Run goes.
    async fn columns(
        &self,
        new: &mut Reader,
        scan: &mut Scan,
        after: Key,
        pause: Instant,
        budget: Budget,
    ) -> Result<(), Trouble> {
        let page = Column::page(new, after, budget).await?;
        if page.is_empty() {
            // None at all is believed to a server only if it counts none.
            if after == (0, 0, 0) && Column::count(new, budget).await? > 0 {
                return Err(new.unreadable("columns").into());
            }
            scan.stage = Stage::End;
        }
        for mut column in page {
            while !self.column(new, scan, &mut column, budget).await? {
                if Instant::now() >= pause {
                    return Ok(());
                }
            }
            scan.done = scan.done.saturating_add(1);
            scan.stage = Stage::Columns(column.key);
            if Instant::now() >= pause {
                return Ok(());
            }
        }
        Ok(())
    }

    /// One column, or a slice of it; whether it is done.
    async fn column(&self, new: &mut Reader, scan: &mut Scan, column: &mut Column, budget: Budget) -> Result<bool, Trouble> {
        let tally = &mut scan.tally;
        // What can not be read of a sequence was told with the sequences.
        if tally.ignores(&column.sequence.name, &self.ignore) || !column.sequence.readable {
            return Ok(true);
        }
        let closed = !column.readable || column.hidden;
        let read = if tally.sets_apart(column) || closed {
            None
        } else {
            Some(scan.slice.advance(new, column, &mut scan.blocks, budget).await?)
        };
        if matches!(read, Some(Read::Part)) {
            return Ok(false);
        }
        let rows = new.session.ask(&column.sequence.question(), budget).await?;
        let seen = Row::only(&rows).and_then(|row| column.sequence.saw(&row));
        seen.map_err(|field| new.unreadable(field))?;
        tally.narrows(column);
        match read {
            Some(Read::Whole(extreme)) => tally.reaches(column, extreme),
            Some(Read::TooSlow) => tally.slow.add(&column.label()),
            None if closed && column.is_comparable() && !column.sequence.cycles => {
                tally.closed.add(&format!("{}: {}; run {}", new.place, column.label(), column.grants(&new.role)));
            }
            Some(Read::Part) | None => {}
        }
        Ok(true)
    }

    /// What is really there, as if the new server's sequence were one step behind the old one's.
    async fn look_wrong(&self, cx: &Context) -> Result<Outcome, Outcome> {
        let budget = Budget::start(cx.timeout);
        let mut pair = Pair::enter(cx, &self.old, &self.new, budget).await?;
        let page = sequence::page(&mut pair.old, "", budget).await;
        let place = pair.new.place.clone();
        pair.leave(budget).await;
        let page = page.map_err(|trouble| trouble.outcome)?;
        let some = page.sequences.into_iter().find(|sequence| sequence.next.is_some());
        let Some(old) = some else {
            return Err(NOTHING.because("the old server has no sequence that can be read"));
        };
        let mut new = old.clone();
        new.next = old.next.map(|next| next - i128::from(old.increment));
        let mut tally = Tally::default();
        tally.compare(&old, Some(&new));
        let values = tally.parts(&place, None).remove(&PartId::new("values"));
        Ok(values.unwrap_or_else(|| Outcome::pass("nothing was compared")))
    }

    fn progress(scan: &Scan, trouble: Option<&Outcome>) -> Progress {
        let what = match &scan.stage {
            Stage::Values(_) => "sequences".to_owned(),
            Stage::Columns(_) | Stage::End => format!("columns that draw from them{}", scan.slice.words()),
        };
        let trouble = trouble
            .map_or_else(String::new, |outcome| format!("no answer, asked again with the next run: {}; ", outcome.evidence()));
        let note = format!("{trouble}{} of {}: {what}", scan.done.min(scan.total), scan.total);
        Progress { done: scan.done.min(scan.total), total: scan.total, note: note.into() }
    }

    async fn look(&self, cx: &Context, memory: Memory) -> Report<Memory> {
        let budget = Budget::start(cx.timeout);
        let (kept, rests_until) = (memory.scan, Rest::default());
        let mut pair = match Pair::enter(cx, &self.old, &self.new, budget).await {
            Ok(pair) => pair,
            Err(outcome) => {
                let mut scan = kept.unwrap_or_else(|| Scan::begin(cx.now, BTreeMap::new()));
                let step = Self::stumbled(cx, &mut scan, outcome.into(), &self.new);
                return Report::new(step, Memory { scan: Some(scan), rests_until });
            }
        };
        let identities = pair.identities(&self.old, &self.new);
        let same = kept.filter(|scan| scan.identities == identities);
        let mut scan = same.unwrap_or_else(|| Scan::begin(cx.now, identities.clone()));
        let came = self.advance(cx, &mut pair, &mut scan, budget).await;
        let place = format!("{} (PostgreSQL {})", pair.new.place, pair.new.major);
        pair.leave(budget).await;
        let measures = measures(&scan.tally);
        let (step, memory) = match came {
            Err(trouble) => (Self::stumbled(cx, &mut scan, trouble, &place), Memory { scan: Some(scan), rests_until }),
            Ok(()) if scan.stage == Stage::End => {
                let parts = scan.tally.parts(&place, None);
                let passed = parts.values().all(|outcome| matches!(outcome, Outcome::Pass { .. }));
                (Step::Done(parts), Memory { scan: None, rests_until: Rest::after(passed, cx.now, self.rest) })
            }
            Ok(()) => (Step::More(Self::progress(&scan, None)), Memory { scan: Some(scan), rests_until }),
        };
        Report { measures, identities, ..Report::new(step, memory) }
    }

    /// What a Run says that came no further: what goes away by itself is waited out, and all else is begun anew.
    fn stumbled(cx: &Context, scan: &mut Scan, trouble: Trouble, place: &str) -> Step {
        if trouble.passing && scan.away.waits_out(cx.now) {
            return Step::More(Self::progress(scan, Some(&trouble.outcome)));
        }
        let parts = scan.tally.parts(place, Some(&trouble.outcome));
        *scan = Scan { away: scan.away, ..Scan::begin(cx.now, BTreeMap::new()) };
        Step::Done(parts)
    }
}

async fn count(reader: &mut Reader, budget: Budget) -> Result<u64, Trouble> {
    let rows = reader.session.ask(&format!("SELECT count(*) AS sequences FROM {}", sequence::OF_APPLICATIONS), budget).await?;
    Ok(Row::only(&rows).and_then(|row| row.number("sequences")).map_err(|field| reader.unreadable(field))?)
}

fn measures(tally: &Tally) -> Vec<Measure> {
    let of = |part, name, value| Measure { part: PartId::new(part), name, value };
    vec![
        of("missing", "sequences", number(tally.old)),
        of("columns", "columns", number(tally.columns)),
        of("headroom", "most_used_percent", f64::from(tally.most_used)),
    ]
}

impl Check for PostgresSequences {
    const META: Meta = Meta {
        kind: "postgresSequences",
        nature: Nature::Proof,
        reasons: &[
            reasons::NETWORK,
            super::LOGIN,
            PAIR,
            &[MISSING, BEHIND, TURNED, COLLIDES, EXHAUSTED, TOO_SLOW, LOCKED, NOTHING],
        ],
        control: BEHIND,
        measures: &["sequences", "columns", "most_used_percent"],
        waivable: true,
        rules: &[],
    };
    type Memory = Memory;

    fn targets(&self) -> Vec<TargetUse> {
        let of = |field, name: &String| TargetUse { field, kind: Some(TargetKind::Postgres), name: name.clone() };
        vec![of("old", &self.old), of("new", &self.new)]
    }

    fn validate(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut wrong = |field, message: &str, hint: &str| {
            errors.push(FieldError { field, message: message.to_owned(), hint: hint.to_owned() });
        };
        if self.old == self.new {
            wrong("new", "this is the old one as well", "name the server that the data moves to");
        }
        if !(1..=100).contains(&self.load_percent) {
            wrong("loadPercent", "not between 1 and 100", "25 leaves a server to its users");
        }
        if self.rest > Duration::from_hours(7 * 24) {
            wrong("rest", "too long", "seven days at most");
        }
        if self.ignore.len() > 1000 {
            wrong("ignore", "more than 1000 names", "leave the check out of the phase instead");
        }
        errors
    }

    fn run<'a>(&'a self, cx: &'a Context, memory: Memory) -> BoxFuture<'a, Report<Memory>> {
        Box::pin(async move {
            match memory.rests_until.holds(cx.now) {
                Some(step) => Report::new(step, memory),
                None => self.look(cx, memory).await,
            }
        })
    }

    fn control<'a>(&'a self, cx: &'a Context, _memory: Memory) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { Box::pin(self.look_wrong(cx)).await.unwrap_or_else(|outcome| outcome) })
    }
}

#[cfg(test)]
mod spoilt;
#[cfg(test)]
mod tests;
