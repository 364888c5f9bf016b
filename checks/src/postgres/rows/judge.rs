//! What a comparison comes to.

use std::collections::BTreeMap;

use crate::check::FieldError;
use crate::outcome::{Evidence, Outcome, PartId, Progress};
use crate::postgres::content::{Cursor, Sum};
use crate::postgres::manifest::Manifest;

use super::scan::{Scan, Stage, Tally};
use super::{DIFFERENT, LEFT_BEHIND, NO_TABLES, OBJECTS_DIFFER, PostgresRows, TOO_LATE, UNCOMPARED};
use crate::postgres::slices::Found;

/// Each part of a finished comparison.
pub(super) fn parts(scan: &Scan, manifest: Option<&Manifest>) -> BTreeMap<PartId, Outcome> {
    BTreeMap::from([
        (PartId::new("tables"), tables(scan, manifest)),
        (PartId::new("objects"), objects(scan)),
        (PartId::new("behind"), behind(scan, manifest)),
    ])
}

fn tables(scan: &Scan, manifest: Option<&Manifest>) -> Outcome {
    let mut different: Vec<String> = Vec::new();
    if let Some(gone) = manifest.map(|manifest| manifest.tables.len().saturating_sub(scan.tally.listed)).filter(|gone| *gone > 0)
    {
        different.push(format!("{gone} tables of the manifest are not on the old side any more"));
    }
    if !scan.different.is_none() {
        different.push(scan.different.in_words());
    }
    let also = |told: &Found, words: &str| if told.is_none() { String::new() } else { format!("; {words}: {}", told.in_words()) };
    if !different.is_empty() {
        let late = also(&scan.too_late, "not to be told any more");
        return DIFFERENT.because(format!("{}{late}{}", different.join("; "), also(&scan.unread, "not compared")));
    }
    if !scan.unread.is_none() {
        return UNCOMPARED.because(scan.unread.in_words());
    }
    if scan.tally.tables == 0 {
        return NO_TABLES.because(format!("no table to be compared ({} left out)", scan.tally.excepted));
    }
    if !scan.too_late.is_none() {
        return TOO_LATE.because(scan.too_late.in_words());
    }
    Outcome::pass(compared(&scan.tally))
}

/// What was compared, and what was not.
fn compared(tally: &Tally) -> String {
    let sampled = if tally.sampled > 0 {
        let Tally { sampled, one_in, .. } = tally;
        format!("SAMPLED: of {sampled} large tables the count and one row in {one_in}")
    } else {
        "every row".to_owned()
    };
    let mut words = format!("{} tables with {} rows are the same ({sampled})", tally.tables, tally.rows);
    let not = [(tally.excepted, "left out"), (tally.foreign, "foreign"), (tally.views, "materialized views")];
    let not: Vec<String> = not.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if !not.is_empty() {
        words.push_str("; not compared: ");
        words.push_str(&not.join(", "));
    }
    if tally.unlogged > 0 {
        words.push_str("; a crash would empty unlogged tables: ");
        words.push_str(&tally.unlogged.to_string());
    }
    words
}

fn objects(scan: &Scan) -> Outcome {
    let (old, new) = (scan.objects.old, scan.objects.new);
    if old == new {
        return Outcome::pass(format!("{} large objects are the same", old.rows));
    }
    let content = if old.rows == new.rows { ", with other content" } else { "" };
    OBJECTS_DIFFER.because(format!("{} on the old side, {} on the new one{content}", old.rows, new.rows))
}

fn behind(scan: &Scan, manifest: Option<&Manifest>) -> Outcome {
    let Some(manifest) = manifest else {
        return Outcome::pass("without a manifest the old side was read as it is");
    };
    let since = manifest.at.format("%F %TZ");
    if scan.behind.is_none() {
        return Outcome::pass(format!("no row was written on the old side since the manifest of {since}"));
    }
    LEFT_BEHIND
        .because(format!("rows on the old side that were written after the snapshot of {since}: {}", scan.behind.in_words()))
}

/// How far it has come.
pub(super) fn progress(scan: &Scan) -> Progress {
    let Tally { tables, of_tables, pages, of_pages, .. } = scan.tally;
    let doing = match (&scan.work, scan.stage) {
        (Some(work), Stage::Tables) if work.trace.is_some() => format!("looking for rows that differ in {}", work.table),
        (Some(work), Stage::Tables) => format!("reading {}", work.table),
        (_, Stage::Tables) => "reading tables".to_owned(),
        (_, Stage::Objects) => "reading large objects".to_owned(),
        (_, Stage::Behind) => "looking for rows that were left behind".to_owned(),
        (_, Stage::Judge) => "done".to_owned(),
    };
    let differ = if scan.different.is_none() { String::new() } else { format!(", {} different", scan.different.count()) };
    let note: Evidence = format!("{tables} of {of_tables} tables{differ}; {doing}").into();
    let read = scan.work.as_ref().and_then(|work| work.cursor).map_or(0, Cursor::pages);
    Progress { done: pages.saturating_add(read).min(of_pages), total: of_pages.max(1), note }
}

/// The words for a table that has one row less than it should.
pub(super) fn one_row_less(table: &str, is: Sum) -> Outcome {
    let should = is + Sum { rows: 1, hash: 1 };
    if should == is {
        return Outcome::pass(format!("{table}: a row less is taken for the same"));
    }
    DIFFERENT.because(format!("{table}: {} rows, as if there should be {}", is.rows, should.rows))
}

/// Rules that the document breaks.
pub(super) fn broken(check: &PostgresRows) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut wrong =
        |field, message: &str, hint: &str| errors.push(FieldError { field, message: message.into(), hint: hint.into() });
    if check.old == check.new {
        wrong("new", "this is the old one as well", "name the server that the data moves to");
    }
    if !(1..=100).contains(&check.load_percent) {
        wrong("loadPercent", "must be 1 to 100", "25 leaves the servers three quarters of the time");
    }
    if check.sample_one_in == 0 {
        wrong("sampleOneIn", "must be at least 1", "1 compares every row");
    }
    if let Some(name) = check.except.iter().find(|name| *name != super::LARGE_OBJECTS && !name.contains('.')) {
        wrong("except", &format!("`{name}` names no schema"), "write it like `public.cache` or `audit.*`");
    }
    errors
}
