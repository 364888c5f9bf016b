//! What one look at a server shows that bears on whether anything is written there.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::check::Context;
use crate::net::Budget;
use crate::outcome::Outcome;
use crate::postgres::login::APPLICATION;
use crate::postgres::mark::is_from;
use crate::postgres::observer::{Observer, Row};
use crate::postgres::own::Deeds;
use crate::postgres::tables::Tables;
use crate::postgres::{Session, UNREADABLE};

/// Sequences and databases that are compared one by one, so that they fit into Memory beside the tables.
const SEQUENCES: usize = 60;
const DATABASES: usize = 16;
/// Longest text about who is there.
const SHOWN: usize = 6;
/// How often sessions are counted again, and after what pause, while other looks of this verifier are at the same server.
const RECOUNTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// Totals by name. Each catalog table but those that ANALYZE fills: whatever changes a schema, a role or a large object, rolled back
/// or not, is counted there. Each other database, and how often tables were vacuumed or analyzed in this one.
fn totals() -> String {
    format!(
        "SELECT 'catalog' AS kind, relname AS name, n_tup_ins + n_tup_upd + n_tup_del AS value FROM pg_stat_sys_tables \
         WHERE schemaname = 'pg_catalog' AND relname NOT IN ('pg_statistic', 'pg_statistic_ext_data') \
         AND n_tup_ins + n_tup_upd + n_tup_del > 0 \
         UNION ALL (SELECT 'database', datname, tup_inserted + tup_updated + tup_deleted FROM pg_stat_database \
         WHERE datname <> current_database() ORDER BY datid LIMIT {DATABASES}) \
         UNION ALL SELECT 'tended', '', coalesce(sum(vacuum_count + autovacuum_count + analyze_count + autoanalyze_count), 0) \
         FROM pg_stat_all_tables \
         UNION ALL SELECT 'elsewhere', '', coalesce(sum(sessions), 0) FROM pg_stat_database WHERE datname <> current_database() \
         UNION ALL SELECT 'strangers', '', count(*) FROM pg_stat_activity WHERE datname <> current_database() \
         AND backend_type <> 'autovacuum worker'"
    )
}

/// Where sequences stand that the role may read. Those of other sessions' temporary tables can not be read at all.
fn sequences() -> String {
    format!(
        "SELECT s.seqrelid AS oid, s.seqrelid::regclass AS name, CASE WHEN c.relpersistence <> 't' AND \
         has_sequence_privilege(s.seqrelid, 'USAGE, SELECT') THEN pg_sequence_last_value(s.seqrelid) END AS value \
         FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid ORDER BY s.seqrelid LIMIT {SEQUENCES}"
    )
}

/// Who is there. A worker of autovacuum whose transaction has a number writes statistics, and nothing of anybody's.
fn standing() -> String {
    format!(
        "SELECT 'session' AS kind, usename AS name, count(*) AS value, min(backend_start)::timestamptz(0) AS since, \
         string_agg(DISTINCT coalesce(state, 'unknown'), ', ') AS what, \
         count(*) FILTER (WHERE application_name = '{APPLICATION}') AS named FROM pg_stat_activity \
         WHERE datname = current_database() AND backend_type = 'client backend' AND usename <> current_user GROUP BY usename \
         UNION ALL (SELECT 'writer', coalesce(usename, backend_type), pid, coalesce(xact_start, query_start)::timestamptz(0), \
         coalesce(datname, ''), 0 FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() \
         AND backend_type <> 'autovacuum worker' ORDER BY xact_start LIMIT 100) \
         UNION ALL (SELECT 'prepared', owner, 1, prepared::timestamptz(0), gid, 0 FROM pg_prepared_xacts ORDER BY prepared LIMIT 100)"
    )
}

const COUNTED: &str = "SELECT sessions, xact_rollback AS rollbacks FROM pg_stat_database WHERE datname = current_database()";

/// What others did: all that the server counts, less what this process did itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Others {
    /// The process whose deeds were subtracted.
    pub(super) process: u64,
    pub(super) sessions: i64,
    pub(super) rollbacks: i64,
}

impl Others {
    fn of((sessions, rollbacks): (u64, u64), own: Deeds) -> Self {
        let signed = |count| i64::try_from(count).unwrap_or(i64::MAX);
        let less = |all: u64, own: u64| signed(all).saturating_sub(signed(own));
        Self { process: own.process, sessions: less(sessions, own.sessions), rollbacks: less(rollbacks, own.rollbacks) }
    }

    /// Whether the two can be compared: what was done before by another process is not known.
    pub(super) fn compares(&self, other: &Self) -> bool {
        self.process == other.process
    }
}

/// What is compared from look to look.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reading {
    pub(super) identity: String,
    pub(super) counted_since: String,
    pub(super) next_xid: u64,
    pub(super) tables: Tables,
    pub(super) catalogs: BTreeMap<String, u64>,
    pub(super) databases: BTreeMap<String, u64>,
    pub(super) sequences: BTreeMap<u32, i64>,
    /// How often tables were vacuumed or analyzed.
    pub(super) tended: u64,
    /// Sessions that ever were in other databases.
    #[serde(default)]
    pub(super) elsewhere: u64,
}

/// Somebody who is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Present {
    pub(super) name: String,
    pub(super) value: u64,
    pub(super) since: String,
    pub(super) what: String,
    /// How many of them go by the name of ours.
    pub(super) named: u64,
}

/// What one look shows.
#[derive(Debug, Clone, Default)]
pub(super) struct Look {
    pub(super) place: String,
    pub(super) reading: Reading,
    /// At most what others did; all of it if `exact`.
    pub(super) others: Others,
    pub(super) exact: bool,
    pub(super) sessions: Vec<Present>,
    pub(super) writers: Vec<Present>,
    pub(super) prepared: Vec<Present>,
    /// Who is in other databases, workers of autovacuum aside.
    pub(super) strangers: u64,
    /// Sequences by their number.
    pub(super) names: BTreeMap<u32, String>,
    /// Relations that are new or changed since the look before.
    pub(super) relations: Vec<String>,
}

impl Look {
    /// Looks. Relations are named that changed since `before`.
    pub(super) async fn take(cx: &Context, target: &str, before: Option<&Reading>, budget: Budget) -> Result<Self, Outcome> {
        let look = async |observer: &mut Observer| {
            let mut look = Self { place: observer.place.clone(), ..Self::default() };
            look.fill(observer, before, budget).await.map(|()| look)
        };
        Ok(Observer::visit(cx, target, budget, look).await?.1)
    }

    async fn fill(&mut self, observer: &mut Observer, before: Option<&Reading>, budget: Budget) -> Result<(), Outcome> {
        let sight = &observer.sight;
        self.reading.identity = sight.identity();
        self.reading.counted_since.clone_from(&sight.counted_since);
        self.reading.next_xid = sight.next_xid;
        self.ask(observer, &standing(), budget, Self::standing).await?;
        self.leave_out_ours(&observer.session);
        self.reading.tables = Tables::read(&mut observer.session, &observer.place, budget).await?;
        self.ask(observer, &totals(), budget, Self::total).await?;
        self.ask(observer, &sequences(), budget, Self::sequence).await?;
        if let Some(before) = before.filter(|before| before.catalogs != self.reading.catalogs) {
            let changed = format!(
                "SELECT c.oid::regclass AS name FROM pg_class c WHERE {} AND c.relpersistence <> 't' \
                 AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') ORDER BY age(c.xmin), c.oid LIMIT {SHOWN}",
                is_from(before.next_xid).replace("xmin", "c.xmin")
            );
            self.ask(observer, &changed, budget, |look, row| {
                look.relations.push(row.text("name")?.to_owned());
                Ok(())
            })
            .await?;
        }
        self.count(observer, budget).await
    }

    async fn ask(
        &mut self,
        observer: &mut Observer,
        question: &str,
        budget: Budget,
        mut take: impl FnMut(&mut Self, &Row<'_>) -> Result<(), &'static str>,
    ) -> Result<(), Outcome> {
        for row in &observer.session.ask(question, budget).await? {
            take(self, &Row(row))
                .map_err(|field| UNREADABLE.because(format!("{}: no readable {field} in the answer", self.place)))?;
        }
        Ok(())
    }

    fn standing(&mut self, row: &Row<'_>) -> Result<(), &'static str> {
        let present = Present {
            name: row.maybe("name")?.unwrap_or_default().to_owned(),
            value: row.number("value")?,
            since: row.maybe("since")?.unwrap_or("an unknown time").to_owned(),
            what: row.maybe("what")?.unwrap_or_default().to_owned(),
            named: row.number("named")?,
        };
        match row.text("kind")? {
            "session" => self.sessions.push(present),
            "writer" => self.writers.push(present),
            "prepared" => self.prepared.push(present),
            _ => return Err("kind"),
        }
        Ok(())
    }

    /// A session is ours if it says so, and as far as there are any: an application that took the name is not left out.
    fn leave_out_ours(&mut self, session: &Session) {
        for role in &mut self.sessions {
            role.value = role.value.saturating_sub(role.named.min(session.sessions_of(&role.name)));
        }
        self.sessions.retain(|role| role.value > 0);
    }

    fn total(&mut self, row: &Row<'_>) -> Result<(), &'static str> {
        let (name, value) = (row.text("name")?.to_owned(), row.number("value")?);
        match row.text("kind")? {
            "catalog" => drop(self.reading.catalogs.insert(name, value)),
            "database" => drop(self.reading.databases.insert(name, value)),
            "tended" => self.reading.tended = value,
            "elsewhere" => self.reading.elsewhere = value,
            "strangers" => self.strangers = value,
            _ => return Err("kind"),
        }
        Ok(())
    }

    fn sequence(&mut self, row: &Row<'_>) -> Result<(), &'static str> {
        let number = row.number("oid")?;
        self.names.insert(number, row.text("name")?.to_owned());
        if row.maybe("value")?.is_some() {
            self.reading.sequences.insert(number, row.number("value")?);
        }
        Ok(())
    }

    /// Counts sessions again until no other look of this verifier is on its way, whose session the server may have counted or not.
    async fn count(&mut self, observer: &mut Observer, budget: Budget) -> Result<(), Outcome> {
        for _ in 0..RECOUNTS {
            let alone = observer.session.is_alone();
            let mut counted = (0, 0);
            self.ask(observer, COUNTED, budget, |_, row| {
                counted = (row.number("sessions")?, row.number("rollbacks")?);
                Ok(())
            })
            .await?;
            self.others = Others::of(counted, observer.session.deeds());
            self.exact = alone && observer.session.is_alone();
            if self.exact || Instant::now() + PAUSE * 4 > budget.end {
                return Ok(());
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Whoever else is logged in, but for those roles.
    pub(super) fn left<'a>(&'a self, readers: &'a [String]) -> impl Iterator<Item = &'a Present> {
        self.sessions.iter().filter(|session| !readers.contains(&session.name))
    }
}

/// The first few, in words.
pub(super) fn few(all: impl IntoIterator<Item = String>) -> String {
    let mut all = all.into_iter();
    let mut words: Vec<_> = all.by_ref().take(SHOWN).collect();
    let more = all.count();
    if more > 0 {
        words.push(format!("{more} more"));
    }
    words.join(", ")
}
