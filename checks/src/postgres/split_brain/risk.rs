//! What the application has committed on the new server since the mark: rows that going back would lose.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::check::Context;
use crate::counter::age;
use crate::net::Budget;
use crate::outcome::Outcome;
use crate::postgres::mark::Side;
use crate::postgres::observer::Observer;
use crate::postgres::tables::Tables;

use crate::postgres::written::{Rows, Table};

/// How often rows are counted again once there are some: nothing leads back to none.
const RECOUNT: Duration = Duration::from_secs(30);

/// What is remembered of the new server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct New {
    /// What was counted last.
    counted: Option<Counted>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Counted {
    at: DateTime<Utc>,
    /// The next transaction then, if all before it had ended.
    next_xid: Option<u64>,
    rows: Rows,
    change: Change,
}

/// What else than inserts there was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Change {
    /// Inserts alone: the rows can be carried back.
    InsertsOnly,
    /// Rows were updated or deleted, so many.
    Rewritten(u64),
    /// The counters began anew since the mark.
    NotKnown,
}

impl New {
    /// Looks at the new server.
    pub(super) async fn look(
        &mut self,
        cx: &Context,
        target: &str,
        side: &Side,
        budget: Budget,
    ) -> Result<(String, Outcome), Outcome> {
        let mut observer = Observer::enter(cx, target, budget).await?;
        let counted = self.count(&mut observer, side, cx.now, budget).await;
        let Observer { session, place, sight, .. } = observer;
        session.close(budget).await;
        counted?;
        let words = self.counted.as_ref().map_or_else(String::new, Counted::in_words);
        Ok((sight.identity(), Outcome::pass(format!("{place}: {words}"))))
    }

    /// How many rows going back would lose.
    pub(super) fn rows(&self) -> u64 {
        self.counted.as_ref().map_or(0, |counted| counted.rows.count)
    }

    /// Whether those can be carried back.
    pub(super) fn is_reversible(&self) -> bool {
        self.counted.as_ref().is_some_and(|counted| counted.rows.is_none() || counted.change == Change::InsertsOnly)
    }

    /// The rows in words.
    pub(super) fn in_words(&self) -> String {
        self.counted.as_ref().map_or_else(String::new, |counted| counted.rows.in_words())
    }

    async fn count(&mut self, observer: &mut Observer, side: &Side, now: DateTime<Utc>, budget: Budget) -> Result<(), Outcome> {
        side.is_of(observer)?;
        let place = observer.place.clone();
        let tables = Table::all(&mut observer.session, &place, &observer.role, budget).await?;
        if self.counted.as_ref().is_some_and(|counted| counted.still_holds(observer.sight.next_xid, now)) {
            return Ok(());
        }
        let rows = Rows::count(&mut observer.session, &tables, &side.is_after(), &place, budget).await?;
        let change = change(observer, side, budget).await?;
        self.counted = Some(Counted { at: now, next_xid: observer.sight.all_ended_before(), rows, change });
        Ok(())
    }
}

impl Counted {
    /// No transaction since, or there are rows already and they were counted a moment ago.
    fn still_holds(&self, next_xid: u64, now: DateTime<Utc>) -> bool {
        let fresh = age(now, self.at).is_some_and(|age| age < RECOUNT);
        self.next_xid == Some(next_xid) || !self.rows.is_none() && fresh
    }

    fn in_words(&self) -> String {
        if self.rows.is_none() {
            return "no row was committed since the mark: going back loses nothing".to_owned();
        }
        let back = match self.change {
            Change::InsertsOnly => "only inserts: they could be carried back".to_owned(),
            Change::Rewritten(rows) => format!("{rows} rows were updated or deleted as well: nothing leads back"),
            Change::NotKnown => "not known whether rows were updated or deleted, as the server's counters began anew".to_owned(),
        };
        format!(
            "past the point of no return, at risk if you go back: {}; {back} (counted {})",
            self.rows.in_words(),
            self.at.format("%TZ")
        )
    }
}

async fn change(observer: &mut Observer, side: &Side, budget: Budget) -> Result<Change, Outcome> {
    if observer.sight.counted_since != side.counted_since {
        return Ok(Change::NotKnown);
    }
    let now = Tables::read(&mut observer.session, &observer.place, budget).await?;
    let Some(since) = now.since(&side.tables) else { return Ok(Change::NotKnown) };
    match since.iter().map(|(_, counts)| counts.updated.saturating_add(counts.deleted)).sum() {
        0 => Ok(Change::InsertsOnly),
        rows => Ok(Change::Rewritten(rows)),
    }
}
