//! Whether what came to the new server can be carried back: both sides' tables since the mark, side by side.

use std::collections::{BTreeMap, BTreeSet};

use super::super::super::Context;
use super::super::super::doctor::Finding;
use super::super::super::trouble::Trouble;
use super::super::marks::Known;
use super::super::{Patience, patiently};
use super::copying::Load;
use super::standing::{Ends, release, settled, snapshot};
use super::tables::{self, Sum, Table, ask};
use super::{Spans, sequences, way};
use crate::exit::Exit;

const SERVER: &str = "SELECT pg_is_in_recovery() AS recovery, current_setting('default_transaction_read_only') AS read_only";

/// What is to be done.
pub(super) enum Verdict {
    /// No row came to the new server.
    Nothing,
    /// The rows are on the old server. The first transactions from then on: old, new.
    Already((u64, u64)),
    /// They can be carried, in this way.
    Carry(Box<Load>),
}

/// What was found.
pub(super) struct Judged {
    pub(super) verdict: Verdict,
    /// Tables, and their rows from after the mark on the new server.
    pub(super) rows: Vec<(String, u64)>,
    pub(super) findings: Vec<Finding>,
}

/// What is known of both sides' tables.
struct Sides {
    old: BTreeMap<String, Table>,
    new: BTreeMap<String, Table>,
    /// Rows that came after the mark.
    came_to_old: BTreeMap<String, u64>,
    came_to_new: BTreeMap<String, u64>,
    /// What was there before can not be taken for equal.
    doubtful: BTreeSet<String>,
}

/// Looks at both servers; leaves the snapshot of the new one open, and that of the old one if rows are to be carried.
pub(super) async fn judge(cx: &mut Context<'_, '_>, ends: &mut Ends, known: &Known, spans: Spans) -> Result<Judged, Trouble> {
    let (patience, still) = (spans.whole, spans.wait);
    let limit = cx.request_timeout;
    let (before_old, before_new) = (known.mark.old.is_after(), known.mark.new.is_after());
    let new_xid = snapshot(cx, &mut ends.new, still).await?;
    let came_to_new = tables::written(cx, &mut ends.new, &before_new, patience).await?;
    let rows: Vec<_> = came_to_new.clone().into_iter().collect();
    let redefined_new = tables::redefined(&mut ends.new, &before_new, limit).await?;
    let mut findings = objects(cx, ends, &before_new).await?;
    if came_to_new.is_empty() && redefined_new.is_empty() {
        return Ok(Judged { verdict: Verdict::Nothing, rows, findings });
    }

    let counted = settled(cx, &mut ends.old, still).await?;
    let mut drift = serves(cx, ends).await?;
    let old_xid = snapshot(cx, &mut ends.old, still).await?;
    if old_xid < known.mark.old.next_xid {
        let text = format!("the next transaction is {old_xid}, at the mark it was {}", known.mark.old.next_xid);
        drift.push(Finding::problem("drift", Exit::CLOSED, text, "find out who put an older state of the old server back"));
    }
    let since = (counted.counted_since == known.mark.old.counted_since).then(|| counted.tables.since(&known.mark.old.tables));
    for (table, counts) in since.clone().flatten().unwrap_or_default() {
        if counts.updated > 0 || counts.deleted > 0 {
            let text = format!("{table}: counted on the old server since the mark: {counts}, rolled back or not");
            drift.push(Finding::problem("drift", Exit::CLOSED, text, MERGING));
        }
    }
    let came_to_old = tables::written(cx, &mut ends.old, &before_old, patience).await?;
    let redefined_old = tables::redefined(&mut ends.old, &before_old, limit).await?;
    let mut doubtful: BTreeSet<String> = redefined_new.union(&redefined_old).cloned().collect();
    if since.flatten().is_none() {
        doubtful.extend(came_to_new.keys().cloned());
    }
    let touched = came_to_new.keys().chain(came_to_old.keys()).chain(&doubtful).cloned().collect();
    let (old, new) =
        (tables::described(&mut ends.old, &touched, limit).await?, tables::described(&mut ends.new, &touched, limit).await?);
    let sides = Sides { old, new, came_to_old, came_to_new, doubtful };
    drift.extend(sides.shapes());
    findings.splice(0..0, drift);
    if findings.iter().any(|finding| matches!(finding.about, "tables" | "server")) {
        return Ok(Judged { verdict: Verdict::Nothing, rows, findings });
    }
    findings.extend(sides.unequal(cx, ends, known, patience).await?);
    let sums = sides.sums(cx, ends, &before_new, patience).await?;
    if !sides.came_to_old.is_empty() {
        if sides.are_there(cx, ends, (&before_old, &sums), patience).await? {
            release(cx, &mut ends.old).await?;
            return Ok(Judged { verdict: Verdict::Already((old_xid, new_xid)), rows, findings });
        }
        findings.extend(sides.drifted());
    }
    if sides.came_to_new.is_empty() {
        return Ok(Judged { verdict: Verdict::Nothing, rows, findings });
    }
    let tables = sides.old.values().filter(|table| sides.came_to_new.contains_key(&table.name)).cloned().collect();
    let (way, hindrances) = way::find(&mut ends.old, tables, limit).await?;
    let (behind, held) =
        sequences::behind(&sequences::read(&mut ends.new, limit).await?, &sequences::read(&mut ends.old, limit).await?);
    findings.extend(hindrances.into_iter().chain(held));
    Ok(Judged { verdict: Verdict::Carry(Box::new(Load { way, sums, sequences: behind, new_xid, counted })), rows, findings })
}

/// What to do about rows on both sides.
const MERGING: &str = "merge by hand: both servers may have given out the same ids, so that the rows of one need new ones; \
     nothing was changed";

/// Large objects that are newer than the mark, and those whose content nobody can compare.
async fn objects(cx: &mut Context<'_, '_>, ends: &mut Ends, after: &str) -> Result<Vec<Finding>, Trouble> {
    let sql = format!(
        "SELECT count(*) AS objects, count(*) FILTER (WHERE {after}) AS made, \
         (SELECT string_agg(oid::text, ', ') FROM (SELECT oid FROM pg_largeobject_metadata WHERE {after} ORDER BY oid LIMIT 5) AS few) \
         AS names FROM pg_largeobject_metadata"
    );
    let rows = ask(&mut ends.new, &sql, cx.request_timeout).await?;
    let (objects, made): (u64, u64) =
        (tables::number(ends.new.place(), rows.first(), "objects")?, tables::number(ends.new.place(), rows.first(), "made")?);
    let names = rows.first().and_then(|row| row.text("names")).unwrap_or_default();
    Ok(match (objects, made) {
        (0, _) => Vec::new(),
        (_, 0) => {
            let text = format!("{objects} large objects: whether they were written to since the mark can not be told");
            vec![Finding::warning("largeObjects", text, "compare them by hand if the application writes to them")]
        }
        _ => {
            let text = format!("{made} large objects were made or changed hands on the new server since the mark: {names}");
            let next = "export them there and import them on the old server by hand (`lo_export`, `lo_import`); rows refer to them by number";
            vec![Finding::problem("largeObjects", Exit::CLOSED, text, next)]
        }
    })
}

/// Whether the old server can take rows, and whether it is kept from others meanwhile.
async fn serves(cx: &mut Context<'_, '_>, ends: &mut Ends) -> Result<Vec<Finding>, Trouble> {
    let rows = ask(&mut ends.old, SERVER, cx.request_timeout).await?;
    let row = rows.first().ok_or_else(|| Trouble::new(Exit::UNKNOWN, format!("{}: no row in the answer", ends.old.place())))?;
    if row.yes("recovery") {
        let next = "name the primary with --old: this one replays what another writes";
        return Ok(vec![Finding::problem("server", Exit::CLOSED, "the old server is in recovery", next)]);
    }
    if row.yes("read_only") {
        return Ok(Vec::new());
    }
    let text = "the old server is not fenced: whoever writes there now gives out ids that the new one has given out";
    Ok(vec![Finding::warning("fence", text, "`cutover postgres fence` keeps others out until the rows are there")])
}

impl Sides {
    /// Tables that are not on both servers, or not alike.
    fn shapes(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (name, new) in &self.new {
            let words = match self.old.get(name) {
                Some(old) => new.differs_from(old),
                None => Some("the table is not on the old server".to_owned()),
            };
            findings.extend(words.map(|words| {
                let next = "make the old server's table what it is on the new one, and say it again; nothing was changed";
                Finding::problem("tables", Exit::CLOSED, format!("{name}: {words}"), next)
            }));
        }
        for name in self.old.keys().filter(|name| !self.new.contains_key(*name)) {
            let text = format!("{name}: the table is not on the new server");
            let next = "find out who dropped it there, or made it on the old server; nothing was changed";
            findings.push(Finding::problem("tables", Exit::CLOSED, text, next));
        }
        findings
    }

    /// Tables that were redefined, and whose rows from before the mark are not the same on both sides any more.
    async fn unequal(
        &self,
        cx: &mut Context<'_, '_>,
        ends: &mut Ends,
        known: &Known,
        patience: Patience,
    ) -> Result<Vec<Finding>, Trouble> {
        let mut findings = Vec::new();
        let before = |side: &checks::postgres::mark::Side| format!("NOT ({})", side.is_after());
        let (before_old, before_new) = (before(&known.mark.old), before(&known.mark.new));
        for name in &self.doubtful {
            let Some((old, new)) = self.old.get(name).zip(self.new.get(name)) else { continue };
            let words = format!("comparing what {name} held at the mark");
            let held = patiently(cx.io, &words, old.sum(&mut ends.old, &before_old, patience.left())).await?;
            let holds = patiently(cx.io, &words, new.sum(&mut ends.new, &before_new, patience.left())).await?;
            if held != holds {
                let text = format!(
                    "{name}: rows of before the mark are not the same on both servers ({} on the old one, {} on the new one): it was \
                     truncated, or altered, or rows were changed",
                    held.rows, holds.rows
                );
                findings.push(Finding::problem("changes", Exit::CLOSED, text, MERGING));
            }
        }
        Ok(findings)
    }

    /// What came to the new server, summed up.
    async fn sums(
        &self,
        cx: &mut Context<'_, '_>,
        ends: &mut Ends,
        after: &str,
        patience: Patience,
    ) -> Result<BTreeMap<String, Sum>, Trouble> {
        let mut sums = BTreeMap::new();
        for table in self.new.values().filter(|table| self.came_to_new.contains_key(&table.name)) {
            let words = format!("{}: adding up what came to {}", ends.new.place(), table.name);
            let sum = patiently(cx.io, &words, table.sum(&mut ends.new, after, patience.left())).await?;
            sums.insert(table.name.clone(), sum);
        }
        Ok(sums)
    }

    /// Whether what came to the old server is what came to the new one.
    async fn are_there(
        &self,
        cx: &mut Context<'_, '_>,
        ends: &mut Ends,
        (after, sums): (&str, &BTreeMap<String, Sum>),
        patience: Patience,
    ) -> Result<bool, Trouble> {
        if self.came_to_old != self.came_to_new {
            return Ok(false);
        }
        for table in self.old.values().filter(|table| self.came_to_old.contains_key(&table.name)) {
            let words = format!("{}: adding up what came to {}", ends.old.place(), table.name);
            let sum = patiently(cx.io, &words, table.sum(&mut ends.old, after, patience.left())).await?;
            if sums.get(&table.name) != Some(&sum) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn drifted(&self) -> Vec<Finding> {
        let told = |(name, rows): (&String, &u64)| {
            let new = self.came_to_new.get(name).copied().unwrap_or_default();
            let text = format!("{name}: {rows} rows came to the old server since the mark, and {new} to the new one");
            Finding::problem("drift", Exit::CLOSED, text, MERGING)
        };
        self.came_to_old.iter().map(told).collect()
    }
}
