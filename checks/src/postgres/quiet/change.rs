//! What moved from one look to the next.

use std::collections::BTreeMap;

use crate::postgres::tables;

use super::read::{Look, Reading, few};

/// What moved, in words.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Counters can not be compared: they began anew.
    pub(super) began_anew: bool,
    /// What was written, or changed, by name.
    pub(super) named: Vec<String>,
    /// Other databases in which rows were written.
    pub(super) databases: Vec<String>,
    /// Runs of vacuum and analyze.
    pub(super) tended: u64,
    /// Nobody was in any other database, so that what was written there is autovacuum's.
    pub(super) nobody_elsewhere: bool,
}

impl Change {
    pub(super) fn between(before: &Reading, look: &Look) -> Self {
        let now = &look.reading;
        let same = before.counted_since == now.counted_since;
        let written = now.tables.since(&before.tables);
        let catalogs = rises(&before.catalogs, &now.catalogs);
        let (true, Some(written), Some(catalogs)) = (same, written, catalogs) else {
            return Self { began_anew: true, ..Self::default() };
        };
        let mut named = Vec::new();
        if !written.is_empty() {
            named.push(tables::in_words(&written));
        }
        if !catalogs.is_empty() {
            let relations = few(look.relations.iter().cloned());
            let of = if relations.is_empty() { String::new() } else { format!(" of {relations}") };
            named.push(format!("a change{of} in {}", few(catalogs)));
        }
        let moved = now.sequences.iter().filter(|(number, value)| before.sequences.get(number) != Some(*value));
        let moved = few(moved.filter_map(|(number, value)| Some(format!("{} at {value}", look.names.get(number)?))));
        if !moved.is_empty() {
            named.push(format!("sequences: {moved}"));
        }
        Self {
            began_anew: false,
            named,
            databases: rises(&before.databases, &now.databases).unwrap_or_default(),
            tended: now.tended.saturating_sub(before.tended),
            nobody_elsewhere: look.strangers == 0 && before.elsewhere == now.elsewhere,
        }
    }
}

/// Names whose totals rose; none if one of them fell.
fn rises(before: &BTreeMap<String, u64>, now: &BTreeMap<String, u64>) -> Option<Vec<String>> {
    let mut risen = Vec::new();
    for (name, value) in now {
        if value.checked_sub(before.get(name).copied().unwrap_or_default())? > 0 {
            risen.push(name.clone());
        }
    }
    Some(risen)
}
