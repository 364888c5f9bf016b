//! Tables that nobody declared, and that are written to all the same.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::net::Budget;
use crate::outcome::Outcome;
use crate::postgres::UNREADABLE;
use crate::postgres::mark::Side;
use crate::postgres::observer::{Observer, Row};
use crate::postgres::tables::{Counts, Tables, in_words};

use super::UNKNOWN_WRITER;
use super::Undeclared;
use crate::postgres::name::literal;

/// Tables of earlier epochs that are remembered by name.
const CARRIED: usize = 20;

/// What is remembered of tables that nobody declared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Others {
    /// Since when the server counts as it did at the last look.
    epoch: String,
    /// What the counters said when that began to be seen; none while the mark says it.
    base: Option<Tables>,
    /// What was written before that.
    carried: BTreeMap<String, Counts>,
    /// What was written in this epoch, at the last look.
    current: BTreeMap<String, Counts>,
}

/// Start and reset are told apart: a clean start of the server keeps its counters.
fn resets(counted_since: &str) -> &str {
    counted_since.split_once('/').map_or(counted_since, |(_, resets)| resets)
}

fn add(one: Counts, other: Counts) -> Counts {
    Counts {
        inserted: one.inserted.saturating_add(other.inserted),
        updated: one.updated.saturating_add(other.updated),
        deleted: one.deleted.saturating_add(other.deleted),
    }
}

fn most(written: BTreeMap<String, Counts>) -> Vec<(String, Counts)> {
    let mut written: Vec<_> = written.into_iter().collect();
    written.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.total()));
    written
}

impl Others {
    /// What was written since the mark, as far as it was seen.
    pub(super) fn see(&mut self, mark: &Side, counted_since: &str, tables: &Tables) -> Vec<(String, Counts)> {
        let epoch = resets(counted_since);
        if self.epoch != epoch {
            self.begin(epoch, mark, tables);
        }
        let base = self.base.as_ref().unwrap_or(&mark.tables);
        let written = tables.since(base).unwrap_or_else(|| {
            // A counter went back by itself: count from here.
            self.carry();
            self.base = Some(tables.clone());
            Vec::new()
        });
        let mut all = self.carried.clone();
        for (name, counts) in &written {
            let before = all.get(name).copied().unwrap_or_default();
            all.insert(name.clone(), add(before, *counts));
        }
        self.current = written.into_iter().take(CARRIED).collect();
        most(all)
    }

    /// What was seen so far is kept by name.
    fn carry(&mut self) {
        for (name, counts) in std::mem::take(&mut self.current) {
            let before = self.carried.get(&name).copied().unwrap_or_default();
            self.carried.insert(name, add(before, counts));
        }
        self.carried = most(std::mem::take(&mut self.carried)).into_iter().take(CARRIED).collect();
    }

    /// The counters began anew.
    fn begin(&mut self, epoch: &str, mark: &Side, tables: &Tables) {
        self.carry();
        epoch.clone_into(&mut self.epoch);
        self.base = (resets(&mark.counted_since) != epoch).then(|| tables.clone());
    }
}

/// Which of these tables belong to a declared one: itself, its partitions and its chunks.
async fn declared_of(
    at: &mut Observer,
    roots: &BTreeSet<String>,
    names: &[(String, Counts)],
    budget: Budget,
) -> Result<BTreeSet<String>, Outcome> {
    // A name with a backslash could be read in two ways; it stays a stranger.
    let list = |names: &mut dyn Iterator<Item = &String>| {
        names
            .filter(|name| !name.contains('\\'))
            .map(|name| literal(name))
            .chain(["''".to_owned()])
            .collect::<Vec<_>>()
            .join(", ")
    };
    let sql = format!(
        "WITH RECURSIVE name(oid, name) AS (SELECT c.oid, quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_class c \
         JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p')), \
         tree(oid) AS (SELECT oid FROM name WHERE name IN ({}) UNION SELECT inhrelid FROM tree JOIN pg_inherits ON inhparent = tree.oid) \
         SELECT name FROM tree JOIN name USING (oid) WHERE name IN ({})",
        list(&mut roots.iter()),
        list(&mut names.iter().map(|(name, _)| name)),
    );
    let rows = at.session.ask(&sql, budget).await?;
    let read = |row| Row(row).text("name").map(str::to_owned);
    rows.iter()
        .map(read)
        .collect::<Result<_, _>>()
        .map_err(|field| UNREADABLE.because(format!("{}: no readable {field}", at.place)))
}

/// The part of everybody who was not declared.
pub(super) async fn look(
    at: &mut Observer,
    others: &mut Others,
    mark: &Side,
    roots: &BTreeSet<String>,
    undeclared: Undeclared,
    budget: Budget,
) -> Result<Outcome, Outcome> {
    let tables = Tables::read(&mut at.session, &at.place, budget).await?;
    let mut written = others.see(mark, &at.sight.counted_since, &tables);
    written.retain(|(name, _)| !roots.contains(name));
    if !written.is_empty() && !roots.is_empty() {
        let declared = declared_of(at, roots, &written, budget).await?;
        written.retain(|(name, _)| !declared.contains(name));
    }
    if written.is_empty() {
        return Ok(Outcome::pass("nobody wrote to another table since the mark"));
    }
    let words = format!("unknown writer: {}", in_words(&written));
    Ok(match undeclared {
        Undeclared::Name => Outcome::pass(words),
        Undeclared::Fail => UNKNOWN_WRITER.because(words),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(rows: u64) -> Tables {
        Tables { named: [("public.x".to_owned(), Counts { inserted: rows, ..Counts::default() })].into(), ..Tables::default() }
    }

    fn mark() -> Side {
        let at = chrono::DateTime::UNIX_EPOCH;
        Side { identity: "1/2".into(), next_xid: 700, at, counted_since: "1/a/never".into(), tables: tables(100) }
    }

    fn rows(written: &[(String, Counts)]) -> u64 {
        written.iter().map(|(_, counts)| counts.inserted).sum()
    }

    #[test]
    fn a_clean_start_goes_on_and_a_reset_begins_anew_without_forgetting() {
        let (mut others, mark) = (Others::default(), mark());
        assert_eq!(rows(&others.see(&mark, "1/a/never", &tables(100))), 0);
        assert_eq!(rows(&others.see(&mark, "1/a/never", &tables(103))), 3);
        assert_eq!(rows(&others.see(&mark, "2/a/never", &tables(104))), 4, "a clean start");
        assert_eq!(rows(&others.see(&mark, "3/b/never", &tables(7))), 4, "a crash: what came before the first look is not told");
        assert_eq!(rows(&others.see(&mark, "3/b/never", &tables(9))), 6);
        assert_eq!(rows(&others.see(&mark, "3/b/never", &tables(2))), 6, "a counter that went back by itself");
    }

    #[test]
    fn a_first_look_in_another_epoch_counts_from_there() {
        let mut others = Others::default();
        assert_eq!(rows(&others.see(&mark(), "3/b/never", &tables(500))), 0);
        assert_eq!(rows(&others.see(&mark(), "3/b/never", &tables(501))), 1);
    }
}
