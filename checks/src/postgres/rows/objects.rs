//! Large objects: they are in no table of the application, and only whoever owns one may read it.

use serde::{Deserialize, Serialize};

use crate::net::Budget;
use crate::outcome::{Outcome, ReasonSpec};
use crate::postgres::content::Sum;
use crate::postgres::observer::Row;
use crate::postgres::pair::Reader;

/// How many are read at once.
const AT_ONCE: usize = 50;

/// Large objects differ.
pub(crate) const OBJECTS_DIFFER: ReasonSpec = ReasonSpec::fail(
    "objects_differ",
    "dump and restore them too: `pg_dump --blobs`, which a dump of single schemas or tables leaves out",
);

/// Some of them, and the last of those.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Batch {
    pub(super) sum: Sum,
    /// None if there are no more.
    pub(super) last: Option<u32>,
}

/// The next after this number that are older than the cut.
pub(super) async fn next(reader: &mut Reader, after: u32, cut: &str, budget: Budget) -> Result<Batch, Outcome> {
    let sql = format!(
        "SELECT count(*) AS rows, max(oid) AS last, coalesce(sum(hashtextextended(oid::text || md5(lo_get(oid)), 0)), 0) AS hash \
         FROM (SELECT oid FROM pg_largeobject_metadata WHERE oid > {after} AND {cut} ORDER BY oid LIMIT {AT_ONCE}) AS batch"
    );
    let rows = reader.ask(&sql, budget).await?;
    let read = || {
        let row = Row::only(&rows)?;
        let last = row.maybe("last")?.map(str::parse).transpose().map_err(|_| "last")?;
        Ok(Batch { sum: Sum { rows: row.number("rows")?, hash: row.number("hash")? }, last })
    };
    read().map_err(|field: &'static str| reader.unreadable(field))
}
