//! `postgresRows`: every row that the old server had is on the new one, as it was.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Check, Context, FieldError, Meta, Nature, Report};
use crate::counter::number;
use crate::fact::{FACT, FACT_READ};
use crate::net::{Budget, reasons};
use crate::outcome::{Measure, Outcome, PartId, Progress, ReasonSpec, Step};
use crate::proof::Rest;
use crate::target::{TargetKind, TargetUse};

use super::content::{Cursor, Pace, Piece};
use super::manifest::{Manifest, OTHER_MANIFEST};
use super::mark::{Mark, OTHER_MARK};
use super::pair::{PAIR, Pair};
use advance::{Advance, Terms};
use objects::OBJECTS_DIFFER;
use scan::{About, Scan, Stage, Tally};

mod advance;
mod cases;
mod judge;
mod objects;
mod scan;
mod trace;

/// What stands for large objects among the tables that are left out.
const LARGE_OBJECTS: &str = "largeObjects";

/// Rows are not the same.
const DIFFERENT: ReasonSpec = ReasonSpec::fail(
    "rows_differ",
    "restore what the evidence names again, from a dump that nothing was written after; if the application has been switched already, go \
     back first",
);
/// Rows were written on the old side when the dump had begun.
const LEFT_BEHIND: ReasonSpec = ReasonSpec::fail(
    "left_behind",
    "fence the old server (`cutover postgres fence`), dump and restore anew with a new manifest: the rows in the evidence were written after \
     the snapshot and are in no dump",
);
/// What came over was changed before it was compared.
const TOO_LATE: ReasonSpec = ReasonSpec::unknown(
    "too_late",
    "compare before the application is switched (`sealAt: switch`): what came over was changed or deleted on the new server since the mark; \
     now only an override opens the gate, or going back",
);
/// A table can not be compared.
const UNCOMPARED: ReasonSpec = ReasonSpec::unknown(
    "uncompared",
    "grant what the evidence names (`ALTER ROLE … BYPASSRLS` where row security hides rows), or leave the table out with `except` once it \
     was compared by other means",
);
/// There is nothing to compare.
const NO_TABLES: ReasonSpec = ReasonSpec::fail(
    "no_tables",
    "correct the database in the connection string: the old server has no table of an application there",
);

/// Table by table, the new server holds the same rows as the old one did: a proof that no row was lost, doubled or changed on the way,
/// while writers may be at work on both sides. It takes its time, shows how far it has come, and says what it has compared.
///
/// Compared are counts, and sums of 64-bit hashes of the text of each row; no key and no time column is needed, and no row leaves its
/// server. On the old side it is what `manifest` recorded in the snapshot that the dump was made of (`cutover postgres manifest`), or
/// without one the rows from before the mark; on the new side the rows from before the mark (`cutover postgres baseline`), so that what
/// the application writes afterwards does not count. Rows that were written on the old side after the dump's snapshot are looked for, too
/// (part `behind`), and large objects (part `objects`). What differs is traced to single rows, named by their key.
///
/// Partitions are compared one by one, or as a whole where the new side is cut otherwise. Rows of foreign tables and materialized views
/// are not compared. If all tables have more than `exactUpToGib`, of those with more than a hundredth of it only the count and one row in
/// `sampleOneIn` is compared, and the words say so. Each run reads some pages of a table after the other, for at most `loadPercent` of the
/// time, and goes on there after a restart. After a Pass the next comparison begins when `rest` is over.
///
/// Fail: rows missing, added or changed; a table or column is missing; rows left behind; large objects differ; no table at all; one of the
/// two refuses, or is silent for two minutes; both are one server. Unknown: no mark, no manifest, or of other servers; a table that the
/// role may not read in full; rows that were changed on the new server since the mark; what can not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PostgresRows {
    /// Name of the target that the rows come from, of kind `postgres`.
    pub old: String,
    /// Name of the target that they were moved to, of kind `postgres`.
    pub new: String,
    /// Name of the fact that holds the manifest. Without it the old server is read as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// Name of the fact that holds the mark.
    #[serde(default = "mark")]
    pub mark: String,
    /// Tables that are not compared, like `public.cache` or `audit.*`; `largeObjects` stands for those.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
    /// Up to how many gigabytes every row of every table is compared.
    #[serde(default = "ten")]
    pub exact_up_to_gib: u32,
    /// Beyond that, one row in so many of large tables is.
    #[serde(default = "a_hundred")]
    pub sample_one_in: u32,
    /// How much of its time a run reads.
    #[serde(default = "a_quarter")]
    pub load_percent: u32,
    /// How long after a Pass the next comparison begins, like `15m`.
    #[serde(default = "a_quarter_of_an_hour", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub rest: Duration,
}

fn mark() -> String {
    "postgres-mark".to_owned()
}

fn ten() -> u32 {
    10
}

fn a_hundred() -> u32 {
    100
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
    rest: Rest,
    /// What the rest is after.
    about: Option<About>,
}

/// What is compared with: the facts, and the names of their editions.
struct Bound {
    manifest: Option<(String, Manifest)>,
    mark: (String, Mark),
}

impl Bound {
    fn of(check: &PostgresRows, cx: &Context) -> Result<Self, Outcome> {
        let named = |(edition, value): (&str, Mark)| (edition.to_owned(), value);
        let mark = cx.fact::<Mark>(&check.mark).map(named)?;
        let manifest = check.manifest.as_ref().map(|name| cx.fact::<Manifest>(name)).transpose()?;
        Ok(Self { manifest: manifest.map(|(edition, value)| (edition.to_owned(), value)), mark })
    }

    fn about(&self) -> About {
        About {
            manifest: self.manifest.as_ref().map(|(edition, _)| edition.clone()),
            mark: self.mark.0.clone(),
            old: self.mark.1.old.identity.clone(),
            new: self.mark.1.new.identity.clone(),
        }
    }

    /// What a proof is bound to besides servers: another edition of a fact makes it void.
    fn editions(&self, check: &PostgresRows) -> BTreeMap<String, String> {
        let mut editions = BTreeMap::from([(format!("{FACT_READ}{}", check.mark), self.mark.0.clone())]);
        if let Some((name, (edition, _))) = check.manifest.as_ref().zip(self.manifest.as_ref()) {
            editions.insert(format!("{FACT_READ}{name}"), edition.clone());
        }
        editions
    }

    fn is_of(&self, pair: &Pair) -> Result<(), Outcome> {
        for (side, reader) in [(&self.mark.1.old, &pair.old), (&self.mark.1.new, &pair.new)] {
            if side.identity != reader.identity {
                let words = format!("{}: this is {}, the mark was taken of {}", reader.place, reader.identity, side.identity);
                return Err(OTHER_MARK.because(words));
            }
        }
        self.manifest.as_ref().map_or(Ok(()), |(_, manifest)| manifest.is_of(&pair.old))
    }
}

impl PostgresRows {
    fn terms<'a>(&'a self, bound: &'a Bound) -> Terms<'a> {
        Terms { manifest: bound.manifest.as_ref().map(|(_, manifest)| manifest), mark: &bound.mark.1, except: &self.except }
    }

    /// How much there is to be compared.
    async fn tally(&self, pair: &mut Pair, budget: Budget) -> Result<Tally, Outcome> {
        let extent = pair.old.extent(budget).await?;
        let exact = extent.bytes <= u64::from(self.exact_up_to_gib) << 30;
        Ok(Tally {
            of_tables: extent.tables,
            of_pages: extent.pages,
            foreign: extent.foreign,
            views: extent.views,
            one_in: if exact { 1 } else { self.sample_one_in.max(1) },
            ..Tally::default()
        })
    }

    async fn advance(
        &self,
        cx: &Context,
        bound: &Bound,
        pair: &mut Pair,
        memory: &mut Memory,
        budget: Budget,
    ) -> Result<Step, Outcome> {
        bound.is_of(pair)?;
        let about = bound.about();
        let mut scan = match memory.scan.take().filter(|scan| scan.about == about) {
            Some(scan) => scan,
            None => Scan::begin(about, cx.now, self.tally(pair, budget).await?),
        };
        let mut advance = Advance {
            terms: self.terms(bound),
            pair,
            piece: scan.piece,
            scan: &mut scan,
            budget,
            pace: Pace::new(self.load_percent, budget),
            counted: None,
        };
        let went = advance.go().await;
        let piece = advance.piece;
        scan.piece = if went.is_err() { piece.smaller() } else { piece };
        let step = match went {
            Err(outcome) => patiently(&mut scan, outcome, cx),
            Ok(()) if scan.stage == Stage::Judge => {
                let parts = judge::parts(&scan, bound.manifest.as_ref().map(|(_, manifest)| manifest));
                let passed = parts.values().all(|outcome| matches!(outcome, Outcome::Pass { .. }));
                memory.rest = Rest::after(passed, cx.now, self.rest);
                memory.about = Some(scan.about);
                return Ok(Step::Done(parts));
            }
            Ok(()) => {
                scan.away.answered();
                Ok(Step::More(judge::progress(&scan)))
            }
        };
        memory.scan = Some(scan);
        step
    }
}

/// A server that does not answer is waited for, as a restart is.
fn patiently(scan: &mut Scan, outcome: Outcome, cx: &Context) -> Result<Step, Outcome> {
    let gone = reasons::NETWORK.iter().any(|reason| outcome.reason() == Some(&(*reason).into()));
    if !gone || !scan.away.waits_out(cx.now) {
        return Err(outcome);
    }
    let progress = judge::progress(scan);
    let note = format!("asked again with the next run: {}; {}", outcome.evidence(), progress.note);
    Ok(Step::More(Progress { note: note.into(), ..progress }))
}

fn measures(memory: &Memory) -> Vec<Measure> {
    let Some(scan) = &memory.scan else { return Vec::new() };
    let counts = [
        ("tables_compared", scan.tally.tables),
        ("tables_total", scan.tally.of_tables),
        ("tables_different", scan.different.count()),
    ];
    counts.into_iter().map(|(name, count)| Measure { part: PartId::new("tables"), name, value: number(count) }).collect()
}

impl Check for PostgresRows {
    const META: Meta = Meta {
        kind: "postgresRows",
        nature: Nature::Proof,
        reasons: &[
            reasons::NETWORK,
            super::LOGIN,
            PAIR,
            FACT,
            &[OTHER_MARK, OTHER_MANIFEST, DIFFERENT, LEFT_BEHIND, OBJECTS_DIFFER, TOO_LATE, UNCOMPARED, NO_TABLES],
        ],
        control: DIFFERENT,
        measures: &["tables_compared", "tables_total", "tables_different"],
        waivable: true,
        rules: &[],
    };
    type Memory = Memory;

    fn targets(&self) -> Vec<TargetUse> {
        let of = |field, name: &String| TargetUse { field, kind: Some(TargetKind::Postgres), name: name.clone() };
        vec![of("old", &self.old), of("new", &self.new)]
    }

    fn facts(&self) -> Vec<String> {
        self.manifest.iter().chain([&self.mark]).cloned().collect()
    }

    fn validate(&self) -> Vec<FieldError> {
        judge::broken(self)
    }

    fn run<'a>(&'a self, cx: &'a Context, mut memory: Memory) -> BoxFuture<'a, Report<Memory>> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let bound = match Bound::of(self, cx) {
                Ok(bound) => bound,
                Err(outcome) => return Report::new(Step::whole(outcome), memory),
            };
            let mut identities = bound.editions(self);
            if let Some(step) = memory.rest.holds(cx.now).filter(|_| memory.about.as_ref() == Some(&bound.about())) {
                return Report { identities, ..Report::new(step, memory) };
            }
            let step = match Pair::enter(cx, &self.old, &self.new, budget).await {
                Ok(mut pair) => {
                    identities.extend(pair.identities(&self.old, &self.new));
                    let step = Box::pin(self.advance(cx, &bound, &mut pair, &mut memory, budget)).await;
                    pair.leave(budget).await;
                    step
                }
                Err(outcome) => memory.scan.as_mut().map_or(Err(outcome.clone()), |scan| patiently(scan, outcome, cx)),
            };
            let measures = measures(&memory);
            let step = step.unwrap_or_else(Step::whole);
            Report { measures, identities, ..Report::new(step, memory) }
        })
    }

    /// Some rows of the new server as if the old one had one more.
    fn control<'a>(&'a self, cx: &'a Context, _: Memory) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { self.one_row_less(cx).await.unwrap_or_else(|outcome| outcome) })
    }
}

impl PostgresRows {
    async fn one_row_less(&self, cx: &Context) -> Result<Outcome, Outcome> {
        let budget = Budget::start(cx.timeout);
        let mut reader = super::pair::Reader::enter(cx, &self.new, budget).await?;
        let tables = reader.tables("", None, budget).await?;
        let table = tables.into_iter().find(|table| table.readable);
        let table = table.ok_or_else(|| NO_TABLES.because(format!("{}: no table that can be read", reader.place)))?;
        let mut cursor = Cursor::start(&table);
        let sum = cursor.sum(&mut reader, &table, ("true", 1), (&mut Piece::default(), budget)).await;
        reader.leave(budget).await;
        Ok(judge::one_row_less(&table.name, sum?))
    }
}

#[cfg(test)]
mod spoilt;
#[cfg(test)]
mod tests;
