//! The comparison itself: table by table, some pages of one side after the other, with a rest after each.

use tokio::time::Instant;

use crate::net::Budget;
use crate::outcome::Outcome;
use crate::postgres::NO_PERMISSION;
use crate::postgres::content::{Pace, Piece, Sum, Table};
use crate::postgres::manifest::Manifest;
use crate::postgres::mark::Mark;
use crate::postgres::observer::Row;
use crate::postgres::pair::{Pair, Reader};
use crate::postgres::tables::Tables;

use super::cases::{Batch, Case};
use super::objects;
use super::scan::{Scan, Stage, Work};
use super::trace::{Side, Trace};

/// Most differences that are traced to their rows.
const MOST_TRACES: u8 = 3;

/// What is compared with what.
pub(super) struct Terms<'a> {
    pub(super) manifest: Option<&'a Manifest>,
    pub(super) mark: &'a Mark,
    pub(super) except: &'a [String],
}

impl Terms<'_> {
    /// The condition on a row of the old side that it was taken over.
    fn taken(&self) -> String {
        let before = || format!("NOT ({})", self.mark.old.is_after());
        self.manifest.map_or_else(before, |manifest| manifest.snapshot.sees())
    }

    /// The condition on a row of the new side that it came over, and was not written there.
    fn came(&self) -> String {
        format!("NOT ({})", self.mark.new.is_after())
    }

    /// One row in so many of this table is hashed.
    fn one_in(&self, table: &Table, scan: &Scan) -> u32 {
        if let Some(held) = self.manifest.and_then(|manifest| manifest.tables.get(&table.name)) {
            return held.one_in;
        }
        if scan.tally.one_in > 1 && table.pages.is_some_and(|pages| pages > scan.tally.of_pages / 100) {
            scan.tally.one_in
        } else {
            1
        }
    }
}

/// One Run's share of a comparison.
pub(super) struct Advance<'a> {
    pub(super) terms: Terms<'a>,
    pub(super) pair: &'a mut Pair,
    pub(super) scan: &'a mut Scan,
    pub(super) budget: Budget,
    pub(super) piece: Piece,
    pub(super) pace: Pace,
    /// What the new server counts, read once.
    pub(super) counted: Option<Tables>,
}

impl Advance<'_> {
    /// Goes on until there is nothing more to be done, or the time is over.
    pub(super) async fn go(&mut self) -> Result<(), Outcome> {
        while self.scan.stage != Stage::Judge && self.pace.has_time() {
            match self.scan.stage {
                Stage::Tables => self.tables().await?,
                Stage::Objects => self.objects().await?,
                Stage::Behind => self.behind().await?,
                Stage::Judge => {}
            }
        }
        Ok(())
    }

    async fn tables(&mut self) -> Result<(), Outcome> {
        let batch = Batch::after(self.pair, &self.scan.after, self.budget).await?;
        if batch.old.is_empty() {
            self.scan.go_on(Stage::Objects);
            return Ok(());
        }
        for old in &batch.old {
            let case = batch.case(self.pair, old, self.terms.except, self.budget).await?;
            if !self.table(old, case).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Looks at one table. Whether it is done.
    async fn table(&mut self, listed: &Table, case: Case) -> Result<bool, Outcome> {
        match case {
            Case::Compare { old, new } => {
                if !self.compare(&old, &new).await? {
                    return Ok(false);
                }
            }
            Case::Excepted => self.scan.tally.excepted += 1,
            Case::OfAFamily => {}
            Case::Missing => {
                self.scan.tally.tables += 1;
                self.scan.different.add(&format!("{} is not on the new side", listed.name));
            }
            Case::Lacks(column) => {
                self.scan.tally.tables += 1;
                self.scan.different.add(&format!("{}: the new side has no column {column}", listed.name));
            }
            Case::Hidden(words) => self.scan.unread.add(&words),
        }
        if self.terms.manifest.is_some_and(|manifest| manifest.tables.contains_key(&listed.name)) {
            self.scan.tally.listed += 1;
        }
        self.scan.tally.unlogged += u64::from(listed.unlogged);
        self.scan.tally.pages = self.scan.tally.pages.saturating_add(listed.pages.unwrap_or_default());
        self.scan.done(listed);
        Ok(true)
    }

    /// Compares two tables as far as there is time. Whether that is done.
    async fn compare(&mut self, old: &Table, new: &Table) -> Result<bool, Outcome> {
        let one_in = self.terms.one_in(old, self.scan);
        let mut work = match self.scan.work.take().filter(|work| work.table == old.name) {
            Some(work) => work,
            None => self.begin(old),
        };
        let read = self.read(&mut work, old, new, one_in).await;
        match read {
            Ok(true) => {
                self.scan.tally.tables += 1;
                self.scan.tally.rows = self.scan.tally.rows.saturating_add(work.old.rows);
                self.scan.tally.sampled += u64::from(one_in > 1);
                Ok(true)
            }
            Ok(false) => {
                self.scan.work = Some(work);
                Ok(false)
            }
            Err(outcome) if outcome.reason() == Some(&super::UNCOMPARED.into()) => {
                self.scan.unread.add(outcome.evidence().as_str());
                Ok(true)
            }
            Err(outcome) => {
                self.scan.work = Some(work);
                Err(outcome)
            }
        }
    }

    /// With a manifest the old side is known already; of a family as a whole it is not.
    fn begin(&self, old: &Table) -> Work {
        let mut work = Work::on(old);
        let held = self.terms.manifest.and_then(|manifest| manifest.tables.get(&old.name)).filter(|_| !old.whole);
        if let Some(held) = held {
            (work.old, work.side) = (held.sum, Side::New);
        }
        work
    }

    /// Reads piece by piece. Whether both sides are read, and what differs is told.
    async fn read(&mut self, work: &mut Work, old: &Table, new: &Table, one_in: u32) -> Result<bool, Outcome> {
        while self.pace.has_time() {
            let began = Instant::now();
            if let Some(trace) = &mut work.trace {
                let (reader, table, mut cut) = match trace.side() {
                    Side::Old => (&mut self.pair.old, old, self.terms.taken()),
                    Side::New => (&mut self.pair.new, new, self.terms.came()),
                };
                if one_in > 1 {
                    cut = format!("{cut} AND {}", table.sampled(one_in));
                }
                if trace.next(reader, table, &cut, (&mut self.piece, self.budget)).await.map_err(uncompared(table))? {
                    self.tell(work, old);
                    return Ok(true);
                }
            } else {
                let (reader, table, cut) = match work.side {
                    Side::Old => (&mut self.pair.old, old, self.terms.taken()),
                    Side::New => (&mut self.pair.new, new, self.terms.came()),
                };
                let mut cursor = work.cursor(table);
                let sum = cursor.sum(reader, table, (&cut, one_in), (&mut self.piece, self.budget)).await;
                let sum = sum.map_err(uncompared(table))?;
                *work.sum() = *work.sum() + sum;
                work.cursor = Some(cursor);
                if cursor.is_at_the_end(table) && self.side_is_read(work, old).await? {
                    return Ok(true);
                }
            }
            self.pace.rest(began).await;
        }
        Ok(false)
    }

    /// One side is read to its end. Whether the table is done.
    async fn side_is_read(&mut self, work: &mut Work, old: &Table) -> Result<bool, Outcome> {
        work.cursor = None;
        if work.side == Side::Old {
            work.side = Side::New;
            return Ok(false);
        }
        if work.old == work.new {
            return Ok(true);
        }
        if let Some(words) = self.was_changed(old).await? {
            self.scan.too_late.add(&words);
            return Ok(true);
        }
        if self.scan.traced >= MOST_TRACES {
            self.tell(work, old);
            return Ok(true);
        }
        self.scan.traced += 1;
        work.trace = Some(Trace::of(work.old.rows.max(work.new.rows)));
        Ok(false)
    }

    fn tell(&mut self, work: &Work, old: &Table) {
        let rows = if work.old.rows == work.new.rows {
            format!("{} rows on both sides, with other content", work.old.rows)
        } else {
            format!("{} rows on the old side, {} on the new one", work.old.rows, work.new.rows)
        };
        let traced = work.trace.as_ref().map_or_else(String::new, |trace| format!(" ({})", trace.in_words()));
        self.scan.different.add(&format!("{}: {rows}{traced}", old.name));
    }

    /// Whether rows that came over were changed or deleted on the new side since the mark: then what came over is not there any more.
    async fn was_changed(&mut self, table: &Table) -> Result<Option<String>, Outcome> {
        let (side, reader) = (&self.terms.mark.new, &mut self.pair.new);
        if reader.counted_since(self.budget).await? != side.counted_since {
            return Ok(None);
        }
        if self.counted.is_none() {
            self.counted = Some(Tables::read(&mut reader.session, &reader.place, self.budget).await?);
        }
        let since = self.counted.as_ref().and_then(|now| now.since(&side.tables)).unwrap_or_default();
        let changed = since.iter().find(|(name, counts)| {
            let named = *name == table.name || (name == "other tables" && !side.tables.named.contains_key(&table.name));
            named && counts.updated.saturating_add(counts.deleted) > 0
        });
        Ok(changed
            .map(|(name, counts)| format!("{} since the mark: {} updated, {} deleted", name, counts.updated, counts.deleted)))
    }

    async fn objects(&mut self) -> Result<(), Outcome> {
        if self.terms.except.iter().any(|name| name == super::LARGE_OBJECTS) {
            self.scan.go_on(Stage::Behind);
            return Ok(());
        }
        let began = Instant::now();
        let after = self.scan.after.parse().unwrap_or_default();
        let (reader, cut) = match self.scan.objects.side {
            Side::Old => (&mut self.pair.old, self.terms.taken()),
            Side::New => (&mut self.pair.new, self.terms.came()),
        };
        let batch = objects::next(reader, after, &cut, self.budget).await.map_err(|outcome| not_ours(reader, outcome))?;
        let objects = &mut self.scan.objects;
        let sum = if objects.side == Side::Old { &mut objects.old } else { &mut objects.new };
        *sum = *sum + batch.sum;
        match (batch.last, objects.side) {
            (Some(last), _) => self.scan.after = last.to_string(),
            (None, Side::Old) => (objects.side, self.scan.after) = (Side::New, String::new()),
            (None, Side::New) => self.scan.go_on(Stage::Behind),
        }
        self.pace.rest(began).await;
        Ok(())
    }

    /// Looks for rows that were written on the old side when the dump had begun.
    async fn behind(&mut self) -> Result<(), Outcome> {
        let Some(manifest) = self.terms.manifest else {
            self.scan.go_on(Stage::Judge);
            return Ok(());
        };
        if self.scan.work.is_none() && self.scan.after.is_empty() {
            let next = self.pair.old.next_xid(self.budget).await?;
            if manifest.complete_up_to() == Some(next) {
                self.scan.go_on(Stage::Judge);
                return Ok(());
            }
        }
        let tables = self.pair.old.tables(&self.scan.after, None, self.budget).await?;
        if tables.is_empty() {
            self.scan.go_on(Stage::Judge);
        }
        for table in &tables {
            if !table.readable || self.terms.except.contains(&table.name) {
                self.scan.done(table);
                continue;
            }
            let mut work = self.scan.work.take().filter(|work| work.table == table.name).unwrap_or_else(|| Work::on(table));
            let done = self.count_behind(&mut work, table, &manifest.left_behind()).await;
            if !matches!(done, Ok(true)) {
                self.scan.work = Some(work);
                return done.map(drop);
            }
            if work.old.rows > 0 {
                self.scan.behind.add(&format!("{} in {}", work.old.rows, table.name));
            }
            self.scan.done(table);
        }
        Ok(())
    }

    async fn count_behind(&mut self, work: &mut Work, table: &Table, condition: &str) -> Result<bool, Outcome> {
        while self.pace.has_time() {
            let began = Instant::now();
            let mut cursor = work.cursor(table);
            let question =
                |pages: &str| format!("SELECT count(*) AS rows FROM {} WHERE {pages} AND ({condition})", table.source());
            let reader = &mut self.pair.old;
            let rows = cursor.next(reader, table, question, (&mut self.piece, self.budget)).await?;
            let rows = Row::only(&rows).and_then(|row| row.number::<i64>("rows")).map_err(|field| reader.unreadable(field))?;
            work.old = work.old + Sum { rows, hash: 0 };
            work.cursor = Some(cursor);
            if cursor.is_at_the_end(table) {
                return Ok(true);
            }
            self.pace.rest(began).await;
        }
        Ok(false)
    }
}

/// What the server says to a question about one table concerns that table, as long as it is not about the time or the connection.
fn uncompared(table: &Table) -> impl FnOnce(Outcome) -> Outcome {
    let name = table.name.clone();
    move |outcome| {
        let about_it =
            [crate::postgres::QUERY_FAILED, NO_PERMISSION].iter().any(|spec| outcome.reason() == Some(&(*spec).into()));
        if about_it { super::UNCOMPARED.because(format!("{name}: {}", outcome.evidence())) } else { outcome }
    }
}

fn not_ours(reader: &Reader, outcome: Outcome) -> Outcome {
    if outcome.reason() != Some(&NO_PERMISSION.into()) {
        return outcome;
    }
    let role = &reader.role;
    let words = format!(
        "{}: {role} may not read every large object; run ALTER DATABASE … SET lo_compat_privileges = on, GRANT SELECT ON LARGE OBJECT … TO \
         {role} for each, or except `{}`",
        reader.place,
        super::LARGE_OBJECTS
    );
    NO_PERMISSION.because(words)
}
