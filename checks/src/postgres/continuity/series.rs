//! A table whose rows tell a time, as the document declares it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::postgres::name::Name;

/// The shortest cadence, and the longest of anything.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_hours(366 * 24);

/// Rows that come one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Series {
    /// The table: `schema.table`, or `table` in schema `public`; partitions and chunks belong to it.
    pub table: String,
    /// The column that tells when a row came about: `timestamptz`, or `timestamp` in UTC.
    pub time: String,
    /// The cadence at which rows come, like `1m`.
    #[serde(default, with = "humantime_serde::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub every: Option<Duration>,
    /// How long there may be no row, like `5m`: twice the cadence by default.
    #[serde(default, with = "humantime_serde::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub within: Option<Duration>,
}

impl Series {
    /// How long there may be no row.
    pub(super) fn limit(&self) -> Duration {
        self.within.unwrap_or_else(|| self.every.unwrap_or_default().saturating_mul(2))
    }

    /// Schema, table and column.
    pub(super) fn place(&self) -> Option<(Name, Name, Name)> {
        let (schema, table) = Name::of_table(&self.table)?;
        Some((schema, table, Name::of_column(&self.time)?))
    }

    /// What is wrong with it, and how to mend that.
    pub(super) fn flaw(&self) -> Option<(String, &'static str)> {
        let of = |what: &str| format!("{:?}: {what}", self.table);
        if self.place().is_none_or(|(schema, ..)| schema.as_str() == "phasegate") {
            return Some((
                of("no `table` and `time` of an application"),
                "write `schema.table`, names with other letters in double quotes",
            ));
        }
        if self.every.is_none() && self.within.is_none() {
            return Some((of("neither `every` nor `within`"), "say the cadence (`every: 1m`), or how long there may be no row"));
        }
        let fits = |time: Duration| (SHORTEST..=LONGEST).contains(&time);
        if !self.every.into_iter().chain(self.within).all(fits) {
            return Some((of("`every` or `within` is shorter than 1s or longer than a year"), "a few minutes are usual"));
        }
        None
    }
}
