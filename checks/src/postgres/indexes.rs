//! `postgresIndexes`: the new server's indexes are in use, sorted as its system sorts, and sound.

mod amcheck;
mod catalog;
mod scan;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::check::{Check, Context, FieldError, Meta, Nature, Report};
use crate::counter::number;
use crate::net::{Budget, reasons};
use crate::outcome::{Measure, Outcome, PartId, Step};
use crate::proof::Rest;
use crate::target::{TargetKind, TargetUse};

use super::observer::OWN_LOGIN_DENIED;
use super::pair::Reader;
use super::slices::{LOCKED, Trouble};
use amcheck::{AMCHECK_MISSING, Amcheck, Depth, Kind, Relation, Seen};
use catalog::{BUILDING, COLLATION, INVALID, NO_TABLE, NOT_RECORDED};
use scan::{CORRUPT_INDEX, CORRUPT_TABLE, NOT_CHECKED, Scan, Stage};

/// Whether indexes and tables must be looked into.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Looking {
    /// Without `amcheck` it is Unknown.
    Required,
    /// Where `amcheck` is installed and the role may call it.
    #[default]
    WhereGranted,
}

/// The indexes of a server that data were moved to are in use, sorted as its system sorts, and sound. A proof: it takes its time, shows how
/// far it has come, and says what it has not looked into.
///
/// Parts: the recorded version of each collation, and of each database, is that of the system (`collations`): after a copy of a volume to
/// another system library, text is sorted differently, and indexes silently miss rows. All indexes are valid and ready (`indexes`), unlike
/// what a failed `CREATE INDEX CONCURRENTLY` leaves; that a table with rows was never analysed is a warning in the evidence.
///
/// With the extension `amcheck`, where it is installed and granted to the role (`deploy/postgres/observer.sql` has the statements), each
/// B-tree is looked into, and whether it has each row of its table (`btree`, by `bt_index_check`), and each table row by row (`heap`, by
/// `verify_heapam`, in slices). Neither blocks who reads or writes. An index of more than `exactUpToMb` (1024 by default), or one that
/// takes too long, is looked into by its structure alone, and named. Without the extension the parts are left out, and `indexes` says
/// what would bring them; with `amcheck: required` they are Unknown instead. A run asks one question after another for `loadPercent`
/// (25 by default) of its timeout. A server that does not answer is waited for two minutes. After a Pass the next look begins when `rest`
/// (1 h by default) is over.
///
/// Fail: another version of a collation; an index not valid or not ready; a damaged index or table; a database without tables; the
/// server refuses, is silent, is no PostgreSQL. Unknown: a collation without a recorded version that should have one; an index that is
/// being built; one that is not looked into in time, or locked; `amcheck` missing where it is required; our own login is refused, our own
/// resolver or network, an answer that can not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PostgresIndexes {
    /// Name of the target on the new side, of kind `postgres`.
    pub postgres: String,
    /// Whether indexes and tables must be looked into.
    #[serde(default)]
    pub amcheck: Looking,
    /// Up to how many megabytes of an index each row of its table is looked for in it.
    #[serde(default = "a_gigabyte")]
    pub exact_up_to_mb: u32,
    /// How much of its timeout a run asks questions.
    #[serde(default = "a_quarter")]
    pub load_percent: u32,
    /// How long after a Pass the next look begins, like `1h`.
    #[serde(default = "one_hour", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub rest: Duration,
}

fn a_gigabyte() -> u32 {
    1024
}

fn a_quarter() -> u32 {
    25
}

fn one_hour() -> Duration {
    Duration::from_hours(1)
}

/// What is remembered between Runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    scan: Option<Scan>,
    /// When the next look begins.
    #[serde(default)]
    rests_until: Rest,
}

/// How long a Run goes on.
#[derive(Debug, Clone, Copy)]
struct Share {
    pause: Instant,
    budget: Budget,
    /// Whether nothing was asked yet in this Run, so that a question had all the time that there is.
    fresh: bool,
}

impl Share {
    fn is_over(&self) -> bool {
        Instant::now() >= self.pause
    }
}

impl PostgresIndexes {
    /// Goes on until the end, or until this Run's share is over.
    async fn advance(
        &self,
        cx: &Context,
        reader: &mut Reader,
        amcheck: &Amcheck,
        scan: &mut Scan,
        budget: Budget,
    ) -> Result<(), Trouble> {
        let pause = budget.start + cx.timeout * self.load_percent / 100;
        let mut share = Share { pause, budget, fresh: true };
        // Whatever a statement does, it leaves the time to say so.
        reader.ask(&format!("SET statement_timeout = {}", (cx.timeout * 2 / 3).as_millis().max(1)), budget).await?;
        if scan.total == 0 {
            let indexes = if amcheck.btree { Relation::count(reader, Kind::Btree, budget).await? } else { 0 };
            let tables = if amcheck.heap { Relation::count(reader, Kind::Heap, budget).await? } else { 0 };
            scan.total = indexes.saturating_add(tables);
        }
        while scan.stage != Stage::End {
            match scan.stage {
                Stage::Indexes(..) if !amcheck.btree => scan.stage = Stage::Tables(0, 0),
                Stage::Indexes(after, _) => self.indexes(reader, amcheck, scan, after, &mut share).await?,
                Stage::Tables(..) if !amcheck.heap => scan.stage = Stage::End,
                Stage::Tables(after, _) => Self::tables(reader, amcheck, scan, after, share).await?,
                Stage::End => {}
            }
            if share.is_over() {
                break;
            }
        }
        Ok(())
    }

    async fn indexes(
        &self,
        reader: &mut Reader,
        amcheck: &Amcheck,
        scan: &mut Scan,
        after: u32,
        share: &mut Share,
    ) -> Result<(), Trouble> {
        let page = Relation::page(reader, Kind::Btree, after, share.budget).await?;
        if page.is_empty() {
            Relation::is_past(reader, Kind::Btree, after, share.budget).await?;
            scan.stage = Stage::Tables(0, 0);
        }
        for index in page {
            while !self.index(reader, amcheck, scan, &index, share).await? {
                if share.is_over() {
                    return Ok(());
                }
            }
            scan.done = scan.done.saturating_add(1);
            scan.stage = Stage::Indexes(index.oid, Depth::Exact);
            if share.is_over() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Looks into one index; whether that is done. What takes too long is begun anew with the whole time of a Run, then less closely.
    async fn index(
        &self,
        reader: &mut Reader,
        amcheck: &Amcheck,
        scan: &mut Scan,
        index: &Relation,
        share: &mut Share,
    ) -> Result<bool, Trouble> {
        let large = index.bytes > u64::from(self.exact_up_to_mb) * 1024 * 1024;
        let depth = match scan.stage {
            Stage::Indexes(_, Depth::Exact) if !large => Depth::Exact,
            Stage::Indexes(..) | Stage::Tables(..) | Stage::End => Depth::Structure,
        };
        let (fresh, megabytes) = (std::mem::take(&mut share.fresh), index.bytes / (1024 * 1024));
        match amcheck.index(reader, index, depth, share.budget).await? {
            Seen::Sound => {
                scan.btree.checked = scan.btree.checked.saturating_add(1);
                scan.btree.bytes = scan.btree.bytes.saturating_add(index.bytes);
                if depth == Depth::Structure {
                    scan.btree.lightly.add(&format!("{} ({megabytes} MiB)", index.name));
                }
            }
            Seen::Corrupt(words) => scan.btree.corrupt.add(&format!("{}: {words}", index.name)),
            Seen::TooSlow if fresh && depth == Depth::Structure => {
                scan.btree.unchecked.add(&format!("{} ({megabytes} MiB) takes too long", index.name));
            }
            Seen::TooSlow if fresh => {
                if let Stage::Indexes(_, depth) = &mut scan.stage {
                    *depth = Depth::Structure;
                }
                share.pause = Instant::now();
                return Ok(false);
            }
            Seen::TooSlow | Seen::Part => {
                share.pause = Instant::now();
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn tables(reader: &mut Reader, amcheck: &Amcheck, scan: &mut Scan, after: u32, share: Share) -> Result<(), Trouble> {
        let page = Relation::page(reader, Kind::Heap, after, share.budget).await?;
        if page.is_empty() {
            Relation::is_past(reader, Kind::Heap, after, share.budget).await?;
            scan.stage = Stage::End;
        }
        for table in page {
            loop {
                let Stage::Tables(_, block) = &mut scan.stage else { return Ok(()) };
                match amcheck.table(reader, &table, block, &mut scan.blocks, share.budget).await? {
                    Seen::Part if share.is_over() => return Ok(()),
                    Seen::Part => continue,
                    Seen::Sound => {
                        scan.heap.checked = scan.heap.checked.saturating_add(1);
                        scan.heap.bytes = scan.heap.bytes.saturating_add(table.bytes);
                    }
                    Seen::Corrupt(words) => scan.heap.corrupt.add(&format!("{}: {words}", table.name)),
                    Seen::TooSlow => scan.heap.unchecked.add(&format!("{}: block {block} takes too long", table.name)),
                }
                break;
            }
            scan.done = scan.done.saturating_add(1);
            scan.stage = Stage::Tables(table.oid, 0);
            if share.is_over() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The parts that the catalog tells, with what would let more be told.
    async fn catalog(
        &self,
        reader: &mut Reader,
        amcheck: &Amcheck,
        budget: Budget,
    ) -> Result<BTreeMap<PartId, Outcome>, Trouble> {
        let besides = amcheck.lacks.as_ref().map_or_else(String::new, |lacks| format!("; not looked into: {lacks}"));
        let collations = catalog::collations(reader, budget).await?;
        let indexes = catalog::in_use(reader, &besides, budget).await?;
        Ok(BTreeMap::from([(PartId::new("collations"), collations), (PartId::new("indexes"), indexes)]))
    }

    /// What is missing where it is required.
    fn required(&self, amcheck: &Amcheck, place: &str) -> BTreeMap<PartId, Outcome> {
        let lacks = amcheck.lacks.as_deref().unwrap_or_default();
        let parts = [("btree", amcheck.btree), ("heap", amcheck.heap)].into_iter().filter(|(_, there)| !there);
        let unknown = |part: &str| (PartId::new(part), AMCHECK_MISSING.because(format!("{place}: {lacks}")));
        let required = self.amcheck == Looking::Required;
        parts.filter(|_| required).map(|(part, _)| unknown(part)).collect()
    }

    /// One slice, with the parts that are known when it is the last.
    async fn slice(
        &self,
        cx: &Context,
        reader: &mut Reader,
        scan: &mut Scan,
        budget: Budget,
    ) -> Result<Option<BTreeMap<PartId, Outcome>>, Trouble> {
        let amcheck = Amcheck::of(reader, budget).await?;
        self.advance(cx, reader, &amcheck, scan, budget).await?;
        if scan.stage != Stage::End {
            scan.away.answered();
            return Ok(None);
        }
        let mut parts = self.catalog(reader, &amcheck, budget).await?;
        parts.extend(self.required(&amcheck, &reader.place));
        parts.extend(scan.parts(&format!("{} (PostgreSQL {})", reader.place, reader.major), (amcheck.btree, amcheck.heap), None));
        Ok(Some(parts))
    }

    async fn look(&self, cx: &Context, memory: Memory) -> Report<Memory> {
        let budget = Budget::start(cx.timeout);
        let (kept, rests_until) = (memory.scan, Rest::default());
        let mut reader = match Reader::enter(cx, &self.postgres, budget).await {
            Ok(reader) => reader,
            Err(outcome) => {
                let mut scan = kept.unwrap_or_else(|| Scan::begin(cx.now, String::new()));
                let step = Self::stumbled(cx, &mut scan, &outcome.into(), &self.postgres);
                return Report::new(step, Memory { scan: Some(scan), rests_until });
            }
        };
        let identity = reader.identity.clone();
        let same = kept.filter(|scan| scan.identity == identity);
        let mut scan = same.unwrap_or_else(|| Scan::begin(cx.now, identity.clone()));
        let came = self.slice(cx, &mut reader, &mut scan, budget).await;
        let place = reader.place.clone();
        reader.leave(budget).await;
        let measures = measures(&scan);
        let (step, memory) = match came {
            Err(trouble) => (Self::stumbled(cx, &mut scan, &trouble, &place), Memory { scan: Some(scan), rests_until }),
            Ok(None) => (Step::More(scan.progress(None)), Memory { scan: Some(scan), rests_until }),
            Ok(Some(parts)) => {
                let passed = parts.values().all(|outcome| matches!(outcome, Outcome::Pass { .. }));
                (Step::Done(parts), Memory { scan: None, rests_until: Rest::after(passed, cx.now, self.rest) })
            }
        };
        let identities = BTreeMap::from([(self.postgres.clone(), identity)]);
        Report { measures, identities, ..Report::new(step, memory) }
    }

    /// What a Run says that came no further: what goes away by itself is waited out, and all else is begun anew.
    fn stumbled(cx: &Context, scan: &mut Scan, trouble: &Trouble, place: &str) -> Step {
        if trouble.passing && scan.away.waits_out(cx.now) {
            return Step::More(scan.progress(Some(&trouble.outcome)));
        }
        let looked = (!scan.btree.corrupt.is_none(), !scan.heap.corrupt.is_none());
        let mut parts = scan.parts(place, looked, Some(&trouble.outcome));
        parts.extend(["collations", "indexes"].map(|part| (PartId::new(part), trouble.outcome.clone())));
        *scan = Scan { away: scan.away, ..Scan::begin(cx.now, String::new()) };
        Step::Done(parts)
    }
}

fn measures(scan: &Scan) -> Vec<Measure> {
    let of = |part, name, value| Measure { part: PartId::new(part), name, value: number(value) };
    vec![of("btree", "indexes_checked", scan.btree.checked), of("heap", "tables_checked", scan.heap.checked)]
}

impl Check for PostgresIndexes {
    const META: Meta = Meta {
        kind: "postgresIndexes",
        nature: Nature::Proof,
        reasons: &[
            reasons::NETWORK,
            super::LOGIN,
            &[OWN_LOGIN_DENIED, COLLATION, NOT_RECORDED, INVALID, BUILDING, NO_TABLE],
            &[CORRUPT_INDEX, CORRUPT_TABLE, NOT_CHECKED, AMCHECK_MISSING, LOCKED],
        ],
        control: INVALID,
        measures: &["indexes_checked", "tables_checked"],
        waivable: true,
        rules: &[],
    };
    type Memory = Memory;

    fn targets(&self) -> Vec<TargetUse> {
        vec![TargetUse { field: "postgres", kind: Some(TargetKind::Postgres), name: self.postgres.clone() }]
    }

    fn validate(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut wrong = |field, message: &str, hint: &str| {
            errors.push(FieldError { field, message: message.to_owned(), hint: hint.to_owned() });
        };
        if !(1..=100).contains(&self.load_percent) {
            wrong("loadPercent", "not between 1 and 100", "25 leaves a server to its users");
        }
        if self.rest > Duration::from_hours(7 * 24) {
            wrong("rest", "too long", "seven days at most");
        }
        errors
    }

    fn run<'a>(&'a self, cx: &'a Context, memory: Memory) -> BoxFuture<'a, Report<Memory>> {
        Box::pin(async move {
            match memory.rests_until.holds(cx.now) {
                Some(step) => Report::new(step, memory),
                None => Box::pin(self.look(cx, memory)).await,
            }
        })
    }

    /// The same question about an index that every database has, as if that were not in use.
    fn control<'a>(&'a self, cx: &'a Context, _memory: Memory) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let mut reader = match Reader::enter(cx, &self.postgres, budget).await {
                Ok(reader) => reader,
                Err(outcome) => return outcome,
            };
            let outcome = catalog::as_if_unused(&mut reader, budget).await;
            reader.leave(budget).await;
            outcome.unwrap_or_else(|trouble| trouble.outcome)
        })
    }
}

#[cfg(test)]
mod spoilt;
#[cfg(test)]
mod tests;
