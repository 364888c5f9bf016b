//! `postgresQuiet`: nothing writes on the old server any more.

mod change;
mod kind;
mod memory;
mod read;

use std::time::Duration;

use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Check, Context, FieldError, Meta, Nature, Report};
use crate::counter::{number, words};
use crate::net::{Budget, reasons};
use crate::outcome::{Measure, Outcome, PartId, ReasonSpec, Step};
use crate::target::{TargetKind, TargetUse};

use super::observer::OBSERVER;
use super::{LOGIN, UNREADABLE};

use memory::Memory;
use read::Look;

/// Rows or objects changed.
const WRITTEN: ReasonSpec = ReasonSpec::fail(
    "written",
    "find who wrote to what the evidence names, and lead it to the new server: what it wrote is not there; then carry those rows over",
);
/// A transaction had a number, and nothing says what for.
const UNEXPLAINED: ReasonSpec = ReasonSpec::fail(
    "unexplained",
    "find who runs transactions that write: NOTIFY, SELECT FOR UPDATE, a sequence, another database of the same server \
     (`log_statement = all` names them), and end it",
);
/// Somebody was there.
const VISITED: ReasonSpec = ReasonSpec::fail(
    "visited",
    "find who still logs in (`log_connections = on` names them) and lead it away; if it only reads, name its role in `readers`, or say \
     `visitors: true`",
);
/// Somebody tries, and is refused.
const REFUSED_ATTEMPTS: ReasonSpec = ReasonSpec::fail(
    "refused_attempts",
    "find who is refused (the server's log names them) and lead it to the new server: what it meant to write is nowhere; `pg_dump` and \
     some drivers end with a rollback, too: do not let them in while this is watched",
);
/// The number of transactions fell.
const WENT_BACK: ReasonSpec = ReasonSpec::fail(
    "went_back",
    "find out who put an older copy of the data behind the address: next_xid never falls on a server that runs on",
);
/// Another server than before.
const SWAPPED: ReasonSpec = ReasonSpec::fail(
    "swapped",
    "find out who has put another server, or another data directory, behind the address; if that was meant, it counts as the right one \
     when `holdFor` is over",
);
/// It was stopped, and runs.
const CAME_BACK: ReasonSpec = ReasonSpec::fail(
    "came_back",
    "find out what started the stopped server (a timer, a restart policy), remove that, and stop it again; if it was meant, wait \
     until `holdFor` is over",
);
/// A transaction that writes is open.
const OPEN_TRANSACTION: ReasonSpec = ReasonSpec::fail(
    "open_transaction",
    "end the transaction that the evidence names, or its session with `pg_terminate_backend(pid)`: it has written and can still commit",
);
/// A transaction waits to be committed.
const PREPARED_TRANSACTION: ReasonSpec = ReasonSpec::fail(
    "prepared_transaction",
    "COMMIT PREPARED or ROLLBACK PREPARED what the evidence names: it passes through every fence",
);
/// Somebody is logged in.
const SESSIONS_LEFT: ReasonSpec = ReasonSpec::fail(
    "sessions_left",
    "restart what holds these sessions, so that it logs in to the new server, or end them with `pg_terminate_backend`: an idle pool \
     writes whenever it likes; name roles that only read in `readers`",
);
/// Not watched for long enough.
const OBSERVING: ReasonSpec = ReasonSpec::waiting("observing", "wait until the server was seen quiet for the whole `window`");
/// What it was will show.
const SETTLING: ReasonSpec = ReasonSpec::waiting(
    "settling",
    "wait some seconds: a transaction was given a number, and the counters that say what for lag behind",
);
/// Nobody listens, and nobody knows what was before.
const NEVER_SEEN: ReasonSpec = ReasonSpec::unknown(
    "never_seen",
    "start the server again, fenced, until this probe has seen it quiet; then stop it: what a stopped server took last can not be seen",
);

/// The shortest and the longest window.
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_hours(7 * 24);

/// Nothing was written on the server that was left, for a whole `window` (3 m by default; take three times the cadence of the fastest
/// writer): no transaction was given a number, by the server's own count over all of its databases; no row, no schema and no readable
/// sequence changed; nobody else is or was logged in, none tried and was refused; no transaction is open or prepared. A dump counts
/// as `refused_attempts` for a window (`pg_dump` ends with a rollback), a look by hand (`psql`) as `visited`.
///
/// Look from the switch on, with a role of the verifier's own that can not write (`deploy/postgres/observer.sql`). The count of
/// transactions can not be reset and survives restarts and crashes, so that it is compared across them; all other counters begin anew
/// then. Transactions of vacuum and analyze are no writes: one for each table that was analyzed, and one for each that was truncated
/// by vacuum, as far as their own counts rose. What else moved the count is `unexplained` 11 s later, since counters lag; so are
/// writes in other databases, and their autovacuum. A rollback of others counts whoever they are. Logins of this verifier are not counted against it, as long as all targets name the server's host
/// alike. Sessions of `readers` are left alone; `visitors: true` lets anybody log in for less than a look. With `mayBeStopped` a
/// server that was seen quiet may be stopped: nobody listens, actively refused. One that answers again is red for `holdFor` (10 m).
/// It can not see what a job does once a day unless the window has that job in it: fence the server too (`postgresFence`).
///
/// Fail: something was written, or a number given to a transaction that nothing explains; sessions of others are left or came and
/// went; rollbacks of others; an open or prepared transaction; the count fell, another server answers, a stopped one came back. They
/// are told until a whole window went by. Refused (without `mayBeStopped`), reset, silent, no PostgreSQL, a standby. Waiting: not
/// watched for the whole window yet; a transaction whose counters lag. Unknown: stopped, and never seen quiet; our own role may not
/// look, may write, or is not let in; counters are off; our own resolver or network; an answer that can not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PostgresQuiet {
    /// Name of the target that is left, of kind `postgres`.
    pub postgres: String,
    /// For how long nothing must have been written, like `3m`.
    #[serde(default = "three_minutes", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub window: Duration,
    /// Roles that only read, and may stay.
    #[serde(default)]
    pub readers: Vec<String>,
    /// Whether others may log in for a moment.
    #[serde(default)]
    pub visitors: bool,
    /// Whether the server may be stopped.
    #[serde(default)]
    pub may_be_stopped: bool,
    /// How long it is told that a stopped server came back, or that another one answers, like `10m`.
    #[serde(default = "ten_minutes", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub hold_for: Duration,
}

const fn three_minutes() -> Duration {
    Duration::from_mins(3)
}

const fn ten_minutes() -> Duration {
    Duration::from_mins(10)
}

/// What somebody who listens can say instead of an answer.
const ANSWERS: &[ReasonSpec] = &[
    super::NO_SUCH_DATABASE,
    super::NOT_ACCEPTING,
    super::TOO_MANY_CONNECTIONS,
    super::QUERY_FAILED,
    super::NO_PERMISSION,
    UNREADABLE,
];

impl PostgresQuiet {
    /// A look that did not come about.
    fn unseen(&self, outcome: Outcome, memory: &mut Memory, cx: &Context) -> Outcome {
        let is = |reason: &ReasonSpec| outcome.reason() == Some(&(*reason).into());
        if self.may_be_stopped && is(&reasons::REFUSED) {
            return memory.refused(outcome.evidence().as_str(), cx.now);
        }
        if self.may_be_stopped && ANSWERS.iter().chain(OBSERVER).any(is) { memory.answers(outcome, cx.now) } else { outcome }
    }
}

fn measures(look: &Look, check: &PostgresQuiet, memory: &Memory, cx: &Context) -> Vec<Measure> {
    let count = |all: usize| number(u64::try_from(all).unwrap_or(u64::MAX));
    let sessions = look.left(&check.readers).fold(0, |sum: u64, session| sum.saturating_add(session.value));
    [
        ("open_writers", count(look.writers.len())),
        ("prepared_transactions", count(look.prepared.len())),
        ("sessions", number(sessions)),
        ("quiet_seconds", memory.quiet_for(cx.now).as_secs_f64()),
    ]
    .map(|(name, value)| Measure { part: PartId::new(PartId::WHOLE), name, value })
    .into()
}

impl Check for PostgresQuiet {
    const META: Meta = Meta {
        kind: "postgresQuiet",
        nature: Nature::Continuous,
        reasons: &[
            reasons::NETWORK,
            LOGIN,
            OBSERVER,
            &[WRITTEN, UNEXPLAINED, VISITED, REFUSED_ATTEMPTS, WENT_BACK, SWAPPED, CAME_BACK],
            &[OPEN_TRANSACTION, PREPARED_TRANSACTION, SESSIONS_LEFT, OBSERVING, SETTLING, NEVER_SEEN],
        ],
        control: UNEXPLAINED,
        measures: &["open_writers", "prepared_transactions", "sessions", "quiet_seconds"],
        waivable: true,
        rules: &[],
    };
    type Memory = Memory;

    fn targets(&self) -> Vec<TargetUse> {
        vec![TargetUse { field: "postgres", kind: Some(TargetKind::Postgres), name: self.postgres.clone() }]
    }

    fn validate(&self) -> Vec<FieldError> {
        if (SHORTEST..=LONGEST).contains(&self.window) {
            return Vec::new();
        }
        let (message, hint) = (format!("{} is out of bounds", words(self.window)), "write 5s to 7d".to_owned());
        vec![FieldError { field: "window", message, hint }]
    }

    /// Looks that are farther apart than the window begin it anew.
    fn moves_within(&self) -> Option<(&'static str, Duration)> {
        Some(("window", self.window))
    }

    fn run<'a>(&'a self, cx: &'a Context, mut memory: Memory) -> BoxFuture<'a, Report<Memory>> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let look = match Look::take(cx, &self.postgres, memory.last(), budget).await {
                Ok(look) => look,
                Err(outcome) => {
                    let outcome = self.unseen(outcome, &mut memory, cx);
                    return Report::new(Step::whole(outcome), memory);
                }
            };
            let outcome = memory.judge(self, &look, cx.now);
            let measures = measures(&look, self, &memory, cx);
            let identities = [(self.postgres.clone(), look.reading.identity)].into();
            Report { measures, identities, ..Report::new(Step::whole(outcome), memory) }
        })
    }

    /// What was really read, as if there had been one transaction less at the look before. Of a stopped server, what was read last.
    fn control<'a>(&'a self, cx: &'a Context, memory: Memory) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let look = match Look::take(cx, &self.postgres, None, Budget::start(cx.timeout)).await {
                Ok(look) => look,
                Err(outcome) => match memory.last() {
                    Some(last) if self.may_be_stopped && outcome.reason() == Some(&reasons::REFUSED.into()) => {
                        Look { reading: last.clone(), ..Look::default() }
                    }
                    Some(_) | None => return outcome,
                },
            };
            let changed = Memory::of_control(&look, cx.now).changes(self, &look, cx.now);
            changed.unwrap_or_else(|| Outcome::pass("one transaction more than before went unnoticed"))
        })
    }
}

#[cfg(test)]
mod tests;
