//! What a server says of itself: whether it may be written to, whether what it acknowledges is safe, and which one it is.

use tokio_postgres::SimpleQueryRow;

use crate::outcome::{Outcome, ReasonSpec};

use super::UNREADABLE;

/// A standby.
pub(super) const IN_RECOVERY: ReasonSpec =
    ReasonSpec::fail("in_recovery", "promote the server, or point the target at the primary: this one replays another's WAL");
/// Writes are refused.
pub(super) const READ_ONLY: ReasonSpec = ReasonSpec::fail(
    "read_only",
    "find out where `default_transaction_read_only` is on (server, database or role): the application could not write",
);
/// Acknowledged writes can be lost.
pub(super) const UNSAFE_SETTING: ReasonSpec =
    ReasonSpec::fail("unsafe_setting", "set what the evidence names back: with it a crash or a bad page loses data silently");

/// What a server can be found to be.
pub(super) const STANDING: &[ReasonSpec] = &[IN_RECOVERY, READ_ONLY, UNSAFE_SETTING];

/// One question, answered in one round trip. It reads a catalog table and the control file, so that the answer is more than a
/// living process.
pub(super) const QUESTION: &str = "SELECT pg_catalog.current_setting('server_version') AS version, \
     pg_catalog.pg_is_in_recovery() AS in_recovery, \
     pg_catalog.current_setting('transaction_read_only') AS transaction_read_only, \
     pg_catalog.current_setting('fsync') AS fsync, \
     pg_catalog.current_setting('full_page_writes') AS full_page_writes, \
     pg_catalog.current_setting('synchronous_commit') AS synchronous_commit, \
     pg_catalog.current_setting('zero_damaged_pages') AS zero_damaged_pages, \
     pg_catalog.current_setting('ignore_checksum_failure') AS ignore_checksum_failure, \
     pg_catalog.current_setting('data_checksums') AS data_checksums, \
     EXTRACT(epoch FROM pg_catalog.pg_postmaster_start_time()) AS boot, \
     (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) AS database, \
     (SELECT system_identifier FROM pg_catalog.pg_control_system()) AS system_identifier";

/// Settings and the values that are safe.
const SAFE: &[(&str, &[&str])] = &[
    ("fsync", &["on"]),
    ("full_page_writes", &["on"]),
    ("synchronous_commit", &["on", "remote_apply", "remote_write", "local"]),
    ("zero_damaged_pages", &["off"]),
    ("ignore_checksum_failure", &["off"]),
];

/// The answer to the question, its values checked for being values at all.
#[derive(Debug, Clone)]
pub(super) struct Server {
    place: String,
    version: String,
    in_recovery: bool,
    read_only: bool,
    checksums: String,
    unsafe_settings: Vec<String>,
    system: i64,
    database: u32,
    /// When it was started, in its own words: another text is another start.
    pub(super) boot: String,
}

impl Server {
    /// Reads the one row of the answer.
    pub(super) fn read(place: &str, rows: &[SimpleQueryRow]) -> Result<Self, Outcome> {
        let [row] = rows else {
            return Err(UNREADABLE.because(format!("{place}: {} rows instead of one", rows.len())));
        };
        Self::of(place, row).map_err(|field| UNREADABLE.because(format!("{place}: no readable {field} in the answer")))
    }

    fn of(place: &str, row: &SimpleQueryRow) -> Result<Self, &'static str> {
        let text = |name: &'static str| row.try_get(name).ok().flatten().filter(|text| !text.is_empty()).ok_or(name);
        let one_of = |name: &'static str, yes: &str, no: &str| match text(name)? {
            value if value == yes => Ok(true),
            value if value == no => Ok(false),
            _ => Err(name),
        };
        let mut unsafe_settings = Vec::new();
        for (name, safe) in SAFE {
            let value = text(name)?;
            if !safe.contains(&value) {
                unsafe_settings.push(format!("{name} = {value}"));
            }
        }
        Ok(Self {
            place: place.to_owned(),
            version: text("version")?.to_owned(),
            in_recovery: one_of("in_recovery", "t", "f")?,
            read_only: one_of("transaction_read_only", "on", "off")?,
            checksums: text("data_checksums")?.to_owned(),
            unsafe_settings,
            system: text("system_identifier")?.parse().map_err(|_| "system_identifier")?,
            database: text("database")?.parse().map_err(|_| "database")?,
            boot: text("boot")?.to_owned(),
        })
    }

    /// Which database of which server: the cluster's identifier and the database's own number in it. The same for all checks, so
    /// that they agree on what is another server. A copy of the data directory has the same.
    pub(super) fn identity(&self) -> String {
        format!("{}/{}", self.system, self.database)
    }

    /// The cluster's identifier.
    pub(super) fn system(&self) -> i64 {
        self.system
    }

    /// Whether it may be written to and keeps what it acknowledges.
    pub(super) fn stands(&self) -> Result<(), Outcome> {
        let Self { place, version, .. } = self;
        if self.in_recovery {
            return Err(IN_RECOVERY.because(format!("{place}: PostgreSQL {version} is in recovery")));
        }
        if self.read_only {
            return Err(READ_ONLY.because(format!("{place}: transaction_read_only is on")));
        }
        if !self.unsafe_settings.is_empty() {
            return Err(UNSAFE_SETTING.because(format!("{place}: {}", self.unsafe_settings.join(", "))));
        }
        Ok(())
    }

    /// In a few words.
    pub(super) fn described(&self) -> String {
        format!("PostgreSQL {}, system {}, data checksums {}", self.version, self.system, self.checksums)
    }
}
