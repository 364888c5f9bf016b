//! A writer as the document declares it: who writes which table, and how often.

use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use croner::Cron;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::counter::later;
use crate::postgres::name::{Name, is_harmless};

/// How far two clocks may be apart before it matters.
pub(super) const SKEW: Duration = Duration::from_secs(30);
/// How much later than its jitter says a run may be.
const LATE: Duration = Duration::from_mins(5);
/// The shortest cadence, and the longest of anything.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_hours(366 * 24);

/// Somebody who writes to one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Writer {
    /// What it is called here; unique.
    pub name: String,
    /// The role that it writes as.
    pub role: String,
    /// The table that each run of it adds rows to: `schema.table`, or `table` in schema `public`; partitions and chunks belong to it.
    pub table: String,
    /// The column that tells when a row came about: `timestamptz`, or `timestamp` in UTC.
    pub time: String,
    /// The cadence of one that writes all the time, like `1m`. Either this or `schedule`.
    #[serde(default, with = "humantime_serde::option", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub every: Option<Duration>,
    /// When one that writes seldom runs: a cron expression in UTC, like `0 0,12 * * *`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// How much later than its schedule a run may write, like `30m`.
    #[serde(default, with = "humantime_serde")]
    #[schemars(with = "String")]
    pub jitter: Duration,
    /// A query for one boolean that is true when the rows of a run are all there. Names without a schema are of the table's, or `public`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete: Option<String>,
    /// How long a run may take to write all of its rows, like `10s`.
    #[serde(default = "grace", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub grace: Duration,
}

const fn grace() -> Duration {
    Duration::from_secs(10)
}

/// When a writer's next rows are due.
#[derive(Debug, Clone)]
pub(super) enum Pace {
    /// It writes all the time.
    Fast(Duration),
    /// It runs by a schedule, and writes at most this much later.
    Slow(Box<Cron>, Duration),
}

impl Pace {
    /// When rows must be there of the first run that is due after `time`; none for a fast writer, or if no run is ever due.
    pub(super) fn due_after(&self, time: DateTime<Utc>) -> Option<Due> {
        match self {
            Self::Fast(_) => None,
            Self::Slow(schedule, jitter) => {
                let run = schedule.find_next_occurrence(&time, false).ok()?;
                Some(Due { run, by: later(later(run, *jitter), LATE) })
            }
        }
    }
}

/// A run that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    /// When it begins.
    pub(super) run: DateTime<Utc>,
    /// When its rows must be there.
    pub(super) by: DateTime<Utc>,
}

impl Writer {
    /// Schema and table.
    pub(super) fn place(&self) -> Option<(Name, Name)> {
        Name::of_table(&self.table)
    }

    /// The column.
    pub(super) fn column(&self) -> Option<Name> {
        Name::of_column(&self.time)
    }

    /// How often it writes.
    pub(super) fn pace(&self) -> Result<Pace, String> {
        match (self.every, &self.schedule) {
            (Some(every), None) if (SHORTEST..=LONGEST).contains(&every) => Ok(Pace::Fast(every)),
            (Some(_), None) => Err("`every` is shorter than 1s or longer than a year".to_owned()),
            (None, Some(schedule)) => {
                let cron = Cron::from_str(schedule).map_err(|error| format!("`schedule`: {error}"))?;
                let ever = cron.find_next_occurrence(&DateTime::<Utc>::UNIX_EPOCH, false).is_ok();
                if ever { Ok(Pace::Slow(Box::new(cron), self.jitter)) } else { Err("`schedule` is never due".to_owned()) }
            }
            (Some(_), Some(_)) => Err("both `every` and `schedule`".to_owned()),
            (None, None) => Err("neither `every` nor `schedule`".to_owned()),
        }
    }

    /// What is wrong with it, and how to mend that.
    pub(super) fn flaw(&self) -> Option<(String, &'static str)> {
        let of = |what: &str| format!("{:?}: {what}", self.name);
        if !is_harmless(&self.name) || self.name == super::OTHERS {
            return Some((of("no name for a writer"), "give it a short name; `others` is the part of undeclared writers"));
        }
        if !is_harmless(&self.role) {
            return Some((of("no `role`"), "name the role that the application logs in as"));
        }
        if self.place().is_none_or(|(schema, _)| schema.as_str() == "phasegate") {
            return Some((of("no `table` of an application"), "write `schema.table`, names with other letters in double quotes"));
        }
        if self.column().is_none() {
            return Some((of("no column in `time`"), "name the column that tells when a row came about"));
        }
        if self.jitter > LONGEST || self.grace > LONGEST {
            return Some((of("`jitter` or `grace` is longer than a year"), "a few minutes are usual"));
        }
        if self.complete.as_ref().is_some_and(|query| query.trim().is_empty() || query.contains([';', '\0'])) {
            return Some((of("`complete` is not one query"), "write one SELECT of one boolean, without a semicolon"));
        }
        let hint = "say either `every: 1m` or `schedule: \"0 0,12 * * *\"`: minute, hour, day, month, weekday, in UTC";
        self.pace().err().map(|why| (of(&why), hint))
    }
}
