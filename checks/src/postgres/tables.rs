//! What a server has counted for each table of a database: rows inserted, updated and deleted, rolled back or not.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::net::Budget;
use crate::outcome::Outcome;

use super::observer::Row;
use super::{Session, UNREADABLE};

/// Tables that are kept by name, by their age; what is counted for all others is summed up.
const NAMED: usize = 400;

/// Tables `c` of schema `n` that rows of an application are in, each by itself: of a partitioned one, its partitions.
pub const OF_ROWS: &str = "pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND c.relpersistence <> 't' \
     AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'phasegate')";

fn question() -> String {
    format!(
        "SELECT name, sum(i) AS inserted, sum(u) AS updated, sum(d) AS deleted FROM \
         (SELECT CASE WHEN row_number() OVER (ORDER BY relid) <= {NAMED} THEN quote_ident(schemaname) || '.' || quote_ident(relname) END \
         AS name, n_tup_ins AS i, n_tup_upd AS u, n_tup_del AS d FROM pg_stat_user_tables WHERE schemaname <> 'phasegate') AS t GROUP BY name"
    )
}

/// Rows of one table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, u64, u64)", into = "(u64, u64, u64)")]
pub struct Counts {
    /// Inserted.
    pub inserted: u64,
    /// Updated.
    pub updated: u64,
    /// Deleted.
    pub deleted: u64,
}

impl From<(u64, u64, u64)> for Counts {
    fn from((inserted, updated, deleted): (u64, u64, u64)) -> Self {
        Self { inserted, updated, deleted }
    }
}

impl From<Counts> for (u64, u64, u64) {
    fn from(counts: Counts) -> Self {
        (counts.inserted, counts.updated, counts.deleted)
    }
}

impl Counts {
    fn is_none(self) -> bool {
        self == Self::default()
    }

    /// How many more these are than those; none if a counter went back.
    fn beyond(self, before: Self) -> Option<Self> {
        Some(Self {
            inserted: self.inserted.checked_sub(before.inserted)?,
            updated: self.updated.checked_sub(before.updated)?,
            deleted: self.deleted.checked_sub(before.deleted)?,
        })
    }

    /// All of them.
    pub fn total(self) -> u64 {
        self.inserted.saturating_add(self.updated).saturating_add(self.deleted)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |count: u64, what| (count > 0).then(|| format!("{count} {what}"));
        let parts = [of(self.inserted, "inserted"), of(self.updated, "updated"), of(self.deleted, "deleted")];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

/// The counters of all tables of a database but those of schema `phasegate`, by `schema.table`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tables {
    /// By name; a table that nothing was ever counted for is left out.
    pub named: BTreeMap<String, Counts>,
    /// Of all others.
    #[serde(default)]
    pub others: Counts,
}

impl Tables {
    /// Asks for them.
    pub(crate) async fn read(session: &mut Session, place: &str, budget: Budget) -> Result<Self, Outcome> {
        let rows = session.ask(&question(), budget).await?;
        let mut tables = Self::default();
        for row in &rows {
            tables.take(&Row(row)).map_err(|field| UNREADABLE.because(format!("{place}: no readable {field} of a table")))?;
        }
        Ok(tables)
    }

    fn take(&mut self, row: &Row<'_>) -> Result<(), &'static str> {
        let number = |name| row.number::<u64>(name);
        let counts = Counts { inserted: number("inserted")?, updated: number("updated")?, deleted: number("deleted")? };
        match row.maybe("name")? {
            Some(name) if !counts.is_none() => {
                self.named.insert(name.to_owned(), counts);
            }
            Some(_) => {}
            None => self.others = counts,
        }
        Ok(())
    }

    /// Which tables were written to since `before`, the most first; none if a counter went back, since then they began anew.
    pub fn since(&self, before: &Self) -> Option<Vec<(String, Counts)>> {
        let mut written = Vec::new();
        for (name, now) in &self.named {
            written.push((name.clone(), now.beyond(before.named.get(name).copied().unwrap_or_default())?));
        }
        written.push(("other tables".to_owned(), self.others.beyond(before.others)?));
        written.retain(|(_, counts)| !counts.is_none());
        written.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.total()));
        Some(written)
    }
}

/// The tables in words, the first few by name.
pub(crate) fn in_words(written: &[(String, Counts)]) -> String {
    const SHOWN: usize = 5;
    let mut words: Vec<String> = written.iter().take(SHOWN).map(|(name, counts)| format!("{name} ({counts})")).collect();
    if let Some(more) = written.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        words.push(format!("{more} more"));
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables<const N: usize>(named: [(&str, (u64, u64, u64)); N]) -> Tables {
        Tables { named: named.into_iter().map(|(name, counts)| (name.to_owned(), counts.into())).collect(), ..Tables::default() }
    }

    #[test]
    fn what_was_written_is_named_the_most_first() {
        let before = tables([("public.a", (5, 0, 0)), ("public.b", (1, 1, 1))]);
        let after = tables([("public.a", (6, 0, 0)), ("public.b", (1, 1, 1)), ("public.new", (0, 2, 3))]);
        let written = after.since(&before).unwrap();
        assert_eq!(in_words(&written), "public.new (2 updated, 3 deleted), public.a (1 inserted)");
        assert_eq!(after.since(&after), Some(Vec::new()));
    }

    #[test]
    fn a_counter_that_went_back_compares_with_nothing() {
        let before = tables([("public.a", (5, 0, 0))]);
        assert_eq!(tables([("public.a", (4, 9, 0))]).since(&before), None);
        let gone = Tables { others: (1, 0, 0).into(), ..Tables::default() };
        assert_eq!(Tables::default().since(&gone), None);
        assert_eq!(Tables::default().since(&before), Some(Vec::new()), "a dropped table was not written to");
    }

    #[test]
    fn many_tables_are_small() {
        let many: BTreeMap<String, Counts> =
            (0..NAMED).map(|n| (format!("public.{}{n}", "t".repeat(56)), (9, 1, 1).into())).collect();
        let bytes = serde_json::to_vec(&Tables { named: many, ..Tables::default() }).unwrap();
        assert!(bytes.len() < crate::MAX_MEMORY - 8192, "{}", bytes.len());
    }
}
