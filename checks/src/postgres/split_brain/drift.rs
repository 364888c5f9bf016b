//! What came to the old server after the mark. It is on no other server, so that it stays told until there is a new mark.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::check::Context;
use crate::net::{Budget, reasons};
use crate::outcome::{Outcome, ReasonSpec};
use crate::postgres::UNREADABLE;
use crate::postgres::mark::Side;
use crate::postgres::observer::Observer;
use crate::postgres::tables::Tables;

use crate::postgres::written::{Rows, Table};

/// The old server was written to.
pub(super) const DRIFT: ReasonSpec = ReasonSpec::fail(
    "drift",
    "stop what still writes to the old server; then carry the rows in the evidence over by hand, or migrate anew; once they are on the \
     new server take a new mark: `cutover postgres baseline --again`",
);
/// The old server is an older one of itself.
pub(super) const WENT_BACK: ReasonSpec = ReasonSpec::fail(
    "went_back",
    "find out who restored a backup of the old server: it knows fewer transactions than at the mark, so that rows that were taken over \
     may be gone from it; take a new mark if that was meant",
);
/// The old server does not answer, and nobody knows what it takes meanwhile.
pub(super) const OLD_AWAY: ReasonSpec = ReasonSpec::unknown(
    "old_away",
    "bring the old server back, fenced, until the phase is complete; or say `mayBeStopped: true` if it is stopped for good, after it was \
     seen fenced",
);

/// What a transaction on the catalog leaves: the names of relations whose definition is newer than the mark. ANALYZE and VACUUM change
/// theirs in place and do not show.
fn redefined(side: &Side) -> String {
    format!(
        "SELECT c.oid::regclass AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {} \
         AND c.relkind IN ('r', 'p', 'S', 'v', 'm') AND n.nspname NOT LIKE 'pg\\_%' ORDER BY c.oid LIMIT 4",
        side.is_after().replace("xmin", "c.xmin")
    )
}

/// What is remembered of the old server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Old {
    /// When it was last seen.
    seen: Option<DateTime<Utc>>,
    /// Whether it was read-only then.
    fenced: bool,
    /// Up to which transaction it was searched, if all of those had ended.
    searched: Option<u64>,
    /// What was found.
    drift: Option<Found>,
}

/// Drift that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Found {
    rows: u64,
    words: String,
    at: DateTime<Utc>,
}

impl Old {
    /// Looks at the old server.
    pub(super) async fn look(
        &mut self,
        cx: &Context,
        target: &str,
        side: &Side,
        budget: Budget,
    ) -> Result<(String, Outcome), Outcome> {
        let mut observer = Observer::enter(cx, target, budget).await?;
        let searched = self.search(&mut observer, side, cx.now, budget).await;
        let Observer { session, place, sight, .. } = observer;
        session.close(budget).await;
        searched?;
        (self.seen, self.fenced) = (Some(cx.now), sight.read_only);
        let seen = match &self.drift {
            Some(found) => {
                DRIFT.because(format!("{place}, since the mark: {} (seen {})", found.words, found.at.format("%F %TZ")))
            }
            None if sight.next_xid == side.next_xid => {
                Outcome::pass(format!("{place}: no transaction has written since the mark"))
            }
            None => {
                let more = sight.next_xid.saturating_sub(side.next_xid);
                Outcome::pass(format!("{place}: {more} transactions since the mark have left no row (vacuum, or rolled back)"))
            }
        };
        Ok((sight.identity(), seen))
    }

    /// Rows that were found on it.
    pub(super) fn rows(&self) -> u64 {
        self.drift.as_ref().map_or(0, |found| found.rows)
    }

    /// Whether anything was found on it.
    pub(super) fn has_drifted(&self) -> bool {
        self.drift.is_some()
    }

    async fn search(&mut self, observer: &mut Observer, side: &Side, now: DateTime<Utc>, budget: Budget) -> Result<(), Outcome> {
        side.is_of(observer)?;
        let (place, next) = (observer.place.clone(), observer.sight.next_xid);
        if next < side.next_xid {
            let words = format!("{place}: the next transaction is {next}, at the mark it was {}", side.next_xid);
            return Err(WENT_BACK.because(words));
        }
        let tables = Table::all(&mut observer.session, &place, &observer.role, budget).await?;
        if next == side.next_xid || self.searched == Some(next) {
            return Ok(());
        }
        let rows = Rows::count(&mut observer.session, &tables, &side.is_after(), &place, budget).await?;
        let mut words: Vec<String> = Vec::new();
        words.extend((!rows.is_none()).then(|| rows.in_words()));
        words.extend(deleted(observer, side, budget).await?);
        words.extend(changed(observer, side, budget).await?);
        self.searched = observer.sight.all_ended_before();
        if !words.is_empty() {
            let since = self.drift.as_ref().map_or(now, |found| found.at);
            self.drift = Some(Found { rows: rows.count, words: words.join("; "), at: since });
        }
        Ok(())
    }

    /// What it means that the old server does not answer.
    pub(super) fn away(&self, outcome: Outcome, may_be_stopped: bool) -> Outcome {
        if let Some(found) = &self.drift {
            return DRIFT.because(format!(
                "since the mark: {} (seen {}; now {})",
                found.words,
                found.at.format("%F %TZ"),
                outcome.evidence()
            ));
        }
        let Some(gone) = outcome.reason().filter(|reason| reasons::NETWORK.iter().any(|network| **reason == (*network).into()))
        else {
            return outcome;
        };
        let refused = *gone == reasons::REFUSED.into();
        match self.seen.map(|seen| seen.format("%F %TZ")) {
            Some(seen) if refused && may_be_stopped && self.fenced => {
                Outcome::pass(format!("stopped; last seen {seen}, fenced and without drift ({})", outcome.evidence()))
            }
            Some(seen) => OLD_AWAY.because(format!("nobody knows since {seen}: {}", outcome.evidence())),
            None => OLD_AWAY.because(format!("never seen since the mark was first read: {}", outcome.evidence())),
        }
    }
}

/// Deleted rows are in no table: only counters tell, as long as they have not begun anew.
async fn deleted(observer: &mut Observer, side: &Side, budget: Budget) -> Result<Option<String>, Outcome> {
    if observer.sight.counted_since != side.counted_since {
        return Ok(None);
    }
    let now = Tables::read(&mut observer.session, &observer.place, budget).await?;
    let since = now.since(&side.tables).unwrap_or_default();
    let deleted: Vec<String> = since
        .iter()
        .filter(|(_, counts)| counts.deleted > 0)
        .take(3)
        .map(|(name, counts)| format!("{} rows deleted from {name}, or rolled back", counts.deleted))
        .collect();
    Ok((!deleted.is_empty()).then(|| deleted.join("; ")))
}

async fn changed(observer: &mut Observer, side: &Side, budget: Budget) -> Result<Option<String>, Outcome> {
    let rows = observer.session.ask(&redefined(side), budget).await?;
    let names: Result<Vec<&str>, _> = rows.iter().map(|row| row.try_get("name").map(Option::unwrap_or_default)).collect();
    let names = names.map_err(|_| UNREADABLE.because(format!("{}: no readable name of a relation", observer.place)))?;
    Ok((!names.is_empty()).then(|| format!("created, truncated or altered: {}", names.join(", "))))
}
