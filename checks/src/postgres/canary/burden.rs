//! What the canary's own writes show besides: how long a commit takes, and whether the server can clear away what they leave behind.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::net::Budget;
use crate::outcome::{Outcome, ReasonSpec};
use crate::postgres::Session;

/// Commits take too long.
pub(super) const SLOW_COMMITS: ReasonSpec = ReasonSpec::fail(
    "slow_commits",
    "look at the disk under the server's WAL, at its CPU limit and at `synchronous_standby_names`: the application waits as long for each \
     of its commits; raise `slowAfter` if that is good enough",
);
/// The canary's table has grown to its limit.
pub(super) const TABLE_GROWN: ReasonSpec = ReasonSpec::fail(
    "table_grown",
    "end what the evidence names: it keeps vacuum from clearing rows away, in all tables; then run VACUUM FULL phasegate.canary. The \
     canary writes nothing meanwhile",
);

/// From this size on the evidence says that the table has grown: one row needs 32 KiB, with what it leaves behind.
const LARGE: i64 = 1024 * 1024;
/// From this size on nothing more is written to it.
const CAP: i64 = 8 * LARGE;
/// How many commits the 95th percentile is of.
const KEPT: usize = 20;

/// Who holds back the horizon of vacuum, the oldest first. Of sessions of other roles that shows with `pg_read_all_stats` only.
const HOLDERS: &str = "SELECT words FROM (\
     SELECT pg_catalog.format('session %s of role %s, %s, in a transaction since %s', pid, usename, application_name, \
     pg_catalog.date_trunc('second', xact_start)) AS words, pg_catalog.age(backend_xmin) AS age FROM pg_catalog.pg_stat_activity \
     WHERE backend_xmin IS NOT NULL AND pid <> pg_catalog.pg_backend_pid() \
     UNION ALL SELECT pg_catalog.format('replication slot %s', slot_name), \
     GREATEST(pg_catalog.age(xmin), pg_catalog.age(catalog_xmin)) FROM pg_catalog.pg_replication_slots \
     UNION ALL SELECT pg_catalog.format('prepared transaction %L of role %s', gid, owner), pg_catalog.age(transaction) \
     FROM pg_catalog.pg_prepared_xacts) AS holders WHERE age > 0 ORDER BY age DESC LIMIT 2";

/// What the last commits took, in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Latencies(Vec<u32>);

impl Latencies {
    /// One more commit.
    pub(super) fn add(&mut self, took: Duration) {
        self.0.push(u32::try_from(took.as_millis()).unwrap_or(u32::MAX));
        let surplus = self.0.len().saturating_sub(KEPT);
        self.0.drain(..surplus);
    }

    /// The 95th percentile, by the nearest rank; of a few it is the slowest.
    fn p95(&self) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len().saturating_mul(95)).div_ceil(100);
        Duration::from_millis(sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default().into())
    }

    /// Whether commits are fast enough, and how fast they are. One that is slow by itself is none of 20.
    pub(super) fn judged(&self, slow_after: Duration) -> Result<String, Outcome> {
        let (p95, of) = (self.p95(), self.0.len());
        let words = format!("95 % of the last {of} commits took at most {} ms", p95.as_millis());
        if p95 > slow_after && of > 1 { Err(SLOW_COMMITS.because(words)) } else { Ok(words) }
    }
}

/// What is to be said of the table's size; nothing while it is small.
pub(super) async fn of_size(session: &mut Session, bytes: i64, place: &str, budget: Budget) -> Result<String, Outcome> {
    if bytes <= LARGE {
        return Ok(String::new());
    }
    let rows = session.ask(HOLDERS, budget).await?;
    let named: Vec<&str> = rows.iter().filter_map(|row| row.try_get("words").ok().flatten()).collect();
    let holders = if named.is_empty() {
        "who holds back its vacuum is not seen (pg_read_all_stats shows it), or autovacuum is off".to_owned()
    } else {
        format!("its vacuum is held back by {}", named.join(", "))
    };
    let words = format!("the table has {} KiB; {holders}", bytes / 1024);
    if bytes > CAP { Err(TABLE_GROWN.because(format!("{place}: {words}"))) } else { Ok(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW_AFTER: Duration = Duration::from_millis(500);

    fn of(millis: impl IntoIterator<Item = u64>) -> Latencies {
        let mut latencies = Latencies::default();
        for took in millis {
            latencies.add(Duration::from_millis(took));
        }
        latencies
    }

    #[test]
    fn one_slow_commit_of_twenty_is_none() {
        let words = of((0..25).map(|n| if n == 20 { 900 } else { 3 })).judged(SLOW_AFTER);
        assert_eq!(words.unwrap(), "95 % of the last 20 commits took at most 3 ms");
        let slow = of((0..25).map(|n| if n > 22 { 900 } else { 3 })).judged(SLOW_AFTER).unwrap_err();
        assert_eq!(slow.reason(), Some(&SLOW_COMMITS.into()));
        assert!(of([900]).judged(SLOW_AFTER).is_ok(), "the first one proves nothing");
        assert!(of([900, 3]).judged(SLOW_AFTER).is_err());
        assert!(of([]).judged(SLOW_AFTER).is_ok());
    }

    #[test]
    fn no_more_than_twenty_are_kept() {
        assert_eq!(of(0..1000).0.len(), KEPT);
    }
}
