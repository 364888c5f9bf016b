//! The mark: where both servers stood when the data had come over and the application had not been switched yet. What was committed
//! before it is migrated data; what comes after it on new is the application's traffic, and on old is drift.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::check::Context;
use crate::net::Budget;
use crate::outcome::{Outcome, ReasonSpec};

use super::observer::{Observer, Sight};
use super::pair::Reader;
use super::tables::Tables;

/// Something was being written when the mark was to be taken.
pub(crate) const NOT_STILL: ReasonSpec = ReasonSpec::fail(
    "not_still",
    "end the transactions that the evidence counts (`pg_stat_activity`, `pg_prepared_xacts`): a mark between two halves of a transaction \
     would count it on neither side",
);
/// The mark is of another server.
pub(crate) const OTHER_MARK: ReasonSpec = ReasonSpec::unknown(
    "other_mark",
    "point the target at the server that the mark was taken of, or take a new one: `cutover postgres baseline --again`",
);

/// Numbers below it stand for no transaction.
const FIRST_NORMAL: u64 = 3;

/// Both sides at the same time. Recorded as a Fact by `cutover postgres baseline`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mark {
    /// The server that is left.
    pub old: Side,
    /// The server that it moves to.
    pub new: Side,
}

/// One server at the time of the mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Side {
    /// Which database of which server: `SYSTEM/OID`.
    pub identity: String,
    /// The first transaction after the mark has this number or a later one; 64 bits.
    pub next_xid: u64,
    /// The server's own clock.
    pub at: DateTime<Utc>,
    /// Since when its counters count.
    pub counted_since: String,
    /// What they said.
    pub tables: Tables,
}

impl Side {
    /// Looks at one server. A transaction that is open, or prepared, began before the mark and commits after it, so there must be none.
    pub async fn take(cx: &Context, target: &str) -> Result<Self, Outcome> {
        let budget = Budget::start(cx.timeout);
        let look = async |Observer { session, place, sight, .. }: &mut Observer| {
            if sight.open_writers > 0 || sight.prepared > 0 {
                let words = format!("{} open transactions that write, {} prepared ones", sight.open_writers, sight.prepared);
                return Err(NOT_STILL.because(format!("{place}: {words}")));
            }
            let tables = Tables::read(session, place, budget).await?;
            Ok((sight.next_xid, sight.clock, sight.counted_since.clone(), tables))
        };
        let (identity, (next_xid, at, counted_since, tables)) = Observer::visit(cx, target, budget, look).await?;
        Ok(Self { identity, next_xid, at, counted_since, tables })
    }

    /// As it is now, for a comparison by hand: nothing is asked of the role but to read, and nothing of what others do.
    pub async fn now(cx: &Context, target: &str) -> Result<Self, Outcome> {
        let budget = Budget::start(cx.timeout);
        let mut reader = Reader::enter(cx, target, budget).await?;
        let seen = async {
            let counted_since = reader.counted_since(budget).await?;
            let tables = Tables::read(&mut reader.session, &reader.place, budget).await?;
            Ok(Self {
                identity: reader.identity.clone(),
                next_xid: reader.next_xid(budget).await?,
                at: cx.now,
                counted_since,
                tables,
            })
        };
        let seen = seen.await;
        reader.leave(budget).await;
        seen
    }

    /// As if it had been taken before anything was written: what every row comes after.
    pub(crate) fn of_nothing(sight: &Sight) -> Self {
        let (identity, counted_since) = (sight.identity(), sight.counted_since.clone());
        Self { identity, next_xid: FIRST_NORMAL, at: sight.clock, counted_since, tables: Tables::default() }
    }

    /// Whether it was taken of the server that answers.
    pub(crate) fn is_of(&self, observer: &Observer) -> Result<(), Outcome> {
        let is = observer.identity();
        if self.identity == is {
            return Ok(());
        }
        Err(OTHER_MARK.because(format!("{}: this is {is}, the mark was taken of {}", observer.place, self.identity)))
    }

    /// The condition on a row that it was written after the mark: by a transaction that is no older. Right across the wrap of the 32
    /// bits of `xmin`, as long as less than 2^31 transactions went by.
    pub fn is_after(&self) -> String {
        is_from(self.next_xid)
    }
}

/// The condition on a row that it was written by this transaction or a later one.
pub fn is_from(xid: u64) -> String {
    format!("age(xmin) <= age('{}'::xid)", (xid % (1 << 32)).max(FIRST_NORMAL))
}
