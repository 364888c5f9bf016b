//! `postgresIdentity`: old and new are two servers, and the right ones.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::{BoxFuture, join};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Check, Context, FieldError, Meta, Nature, Report};
use crate::counter::age;
use crate::net::{Budget, reasons};
use crate::outcome::{Outcome, PartId, ReasonSpec, Step};
use crate::target::{TargetKind, TargetUse};

use super::server::{IN_RECOVERY, QUESTION, READ_ONLY, Server};
use super::{Login, Session, UNREADABLE};

/// Both names lead to one server.
pub(super) const SAME_SERVER: ReasonSpec =
    ReasonSpec::fail("same_server", "correct the connection string of one of the two targets: both lead to the same server");
/// The new server is a copy of files, and should be a restored dump.
const COPIED: ReasonSpec = ReasonSpec::fail(
    "copied",
    "restore a dump into a server that was initialised by itself, or say `method: volumeCopy`: both have the same system identifier, as \
     after a copy of the data directory",
);
/// The new server is one of its own, and should be a copy of files.
const NOT_COPIED: ReasonSpec = ReasonSpec::fail(
    "not_copied",
    "copy the old server's data directory, or say `method: dumpRestore`: the two have different system identifiers, so that the new \
     one began with an empty data directory of its own",
);
/// Another server than the document says.
const WRONG_SERVER: ReasonSpec = ReasonSpec::fail(
    "wrong_server",
    "correct the connection string, or `oldSystem` and `newSystem`: another server answers there",
);
/// Another server than before.
const SWAPPED: ReasonSpec = ReasonSpec::fail(
    "swapped",
    "find out who has put another server, or another data directory, behind the address; if that was meant, it counts as the right one \
     when `holdFor` is over",
);

/// How the data comes to the new server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Method {
    /// `pg_dump` and restore: the new server was initialised by itself.
    DumpRestore,
    /// A copy of the data directory: the new server has the old one's system identifier.
    VolumeCopy,
}

/// The old and the new server are two servers (part `both`), each of them the right one (parts `old` and `new`), and the new one can be
/// written to.
///
/// That they are two is proven by a lock: one session takes an advisory lock on the old server, and no session of the new server may see
/// it; the lock writes nothing and goes with its session. The system identifier alone can not tell it, since a copy of the data
/// directory has the same. It is equal for `method: volumeCopy` and different for `dumpRestore` (the default), or the method was
/// another than the document says. With `oldSystem` and `newSystem` the identifiers themselves are expected. What answers at an address is
/// remembered: another server there later is `swapped`, for `holdFor` (10 m by default). No override can name this check.
///
/// Fail: both are one server; copied or not as `method` says; another identifier than expected; swapped; one of them in recovery, or the
/// new one read-only; one refuses, resets, is silent or is no PostgreSQL, or does not let the role in. Unknown: the connection string is
/// missing or unusable, our own resolver or network, an answer that can not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PostgresIdentity {
    /// Name of the target that is left, of kind `postgres`.
    pub old: String,
    /// Name of the target that it moves to, of kind `postgres`.
    pub new: String,
    /// How the data comes to the new server.
    #[serde(default = "dump_restore")]
    pub method: Method,
    /// The old server's system identifier, as `pg_controldata` tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_system: Option<String>,
    /// The new server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_system: Option<String>,
    /// How long it is wrong that another server answers, like `10m`.
    #[serde(default = "ten_minutes", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub hold_for: Duration,
}

const fn dump_restore() -> Method {
    Method::DumpRestore
}

fn ten_minutes() -> Duration {
    Duration::from_mins(10)
}

/// What answered at an address before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    identity: Option<String>,
    /// When another one came, and which was there before.
    #[serde(default)]
    swapped: Option<(DateTime<Utc>, String)>,
}

/// What is remembered between Runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    old: Known,
    new: Known,
}

impl Known {
    /// This one answers now.
    fn see(&mut self, identity: &str, now: DateTime<Utc>) {
        if let Some(before) = self.identity.replace(identity.to_owned()).filter(|before| before != identity) {
            self.swapped = Some((now, before));
        }
    }

    /// Whether it is another one than `hold` ago.
    fn settled(&self, now: DateTime<Utc>, hold: Duration) -> Result<(), Outcome> {
        match &self.swapped {
            Some((since, before)) if age(now, *since).unwrap_or_default() < hold => {
                let is = self.identity.as_deref().unwrap_or_default();
                Err(SWAPPED.because(format!("it was {before} and is {is} since {}", since.format("%F %TZ"))))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// A server that answers.
struct Open {
    session: Session,
    server: Server,
    place: String,
}

impl Open {
    async fn at(cx: &Context, name: &str, budget: Budget) -> Result<Self, Outcome> {
        let login = Login::of(cx, name).await?;
        let place = login.place();
        let mut session = login.open(cx, budget).await?;
        let server = Server::read(&place, &session.ask(QUESTION, budget).await?)?;
        Ok(Self { session, server, place })
    }
}

/// A number that no other look takes at the same time.
fn key(cx: &Context) -> (i32, i32) {
    const CLASS: i32 = 7306;
    let number = cx.now.timestamp_micros().rem_euclid(i64::from(i32::MAX));
    (CLASS, i32::try_from(number).unwrap_or_default())
}

/// Whether a lock that is taken in one session is seen in the other.
pub(super) async fn share_a_lock(cx: &Context, one: &mut Session, other: &mut Session, budget: Budget) -> Result<bool, Outcome> {
    let (class, object) = key(cx);
    let take = format!("SELECT pg_catalog.pg_try_advisory_lock({class}, {object}) AS taken");
    let look = format!(
        "SELECT count(*) AS seen FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND classid = {class} AND objid = {object} AND granted"
    );
    let answer = |rows: &[tokio_postgres::SimpleQueryRow], name: &str| {
        let value = if let [row] = rows { row.try_get(name).ok().flatten().map(str::to_owned) } else { None };
        value.ok_or_else(|| UNREADABLE.because(format!("no {name} in the answer")))
    };
    let taken = answer(&one.ask(&take, budget).await?, "taken")?;
    let seen = answer(&other.ask(&look, budget).await?, "seen")?;
    match (taken.as_str(), seen.as_str()) {
        ("t", seen) => Ok(seen != "0"),
        _ => Err(UNREADABLE.because("a lock with a number that nobody else has was not to be had")),
    }
}

impl PostgresIdentity {
    async fn two(&self, cx: &Context, old: &mut Open, new: &mut Open, budget: Budget) -> Outcome {
        let shared = match share_a_lock(cx, &mut old.session, &mut new.session, budget).await {
            Ok(shared) => shared,
            Err(outcome) => return outcome,
        };
        let (one, other) = (old.server.system(), new.server.system());
        let places = format!("{} is system {one}, {} is system {other}", old.place, new.place);
        match (shared, self.method, one == other) {
            (true, ..) => SAME_SERVER.because(format!("a lock that was taken at {} is seen at {}", old.place, new.place)),
            (false, Method::DumpRestore, true) => COPIED.because(places),
            (false, Method::VolumeCopy, false) => NOT_COPIED.because(places),
            (false, Method::DumpRestore, false) => Outcome::pass(format!("two servers: {places}")),
            (false, Method::VolumeCopy, true) => Outcome::pass(format!("two servers, one a copy of the other: {places}")),
        }
    }

    /// One of them by itself.
    fn one(&self, open: &Open, expected: Option<&String>, known: &Known, writable: bool, now: DateTime<Utc>) -> Outcome {
        let judged = || {
            known.settled(now, self.hold_for)?;
            let system = open.server.system().to_string();
            if let Some(expected) = expected.filter(|expected| **expected != system) {
                return Err(WRONG_SERVER.because(format!("{} is system {system}, expected {expected}", open.place)));
            }
            match open.server.stands() {
                Err(flaw) if flaw.reason() == Some(&IN_RECOVERY.into()) => Err(flaw),
                Err(flaw) if writable && flaw.reason() == Some(&READ_ONLY.into()) => Err(flaw),
                Ok(()) | Err(_) => Ok(Outcome::pass(format!("{}: {}", open.place, open.server.described()))),
            }
        };
        judged().unwrap_or_else(|outcome| outcome)
    }
}

impl Check for PostgresIdentity {
    const META: Meta = Meta {
        kind: "postgresIdentity",
        nature: Nature::Continuous,
        reasons: &[
            reasons::NETWORK,
            super::LOGIN,
            &[IN_RECOVERY, READ_ONLY],
            &[SAME_SERVER, COPIED, NOT_COPIED, WRONG_SERVER, SWAPPED],
        ],
        control: SAME_SERVER,
        measures: &[],
        waivable: false,
        rules: &[],
    };
    type Memory = Memory;

    fn targets(&self) -> Vec<TargetUse> {
        let of = |field, name: &String| TargetUse { field, kind: Some(TargetKind::Postgres), name: name.clone() };
        vec![of("old", &self.old), of("new", &self.new)]
    }

    fn validate(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut wrong =
            |field, message: &str, hint: &str| errors.push(FieldError { field, message: message.into(), hint: hint.into() });
        if self.old == self.new {
            wrong("new", "this is the old one as well", "name the server that the data moves to");
        }
        for (field, system) in [("oldSystem", &self.old_system), ("newSystem", &self.new_system)] {
            if system.as_ref().is_some_and(|system| system.parse::<i64>().is_err()) {
                wrong(
                    field,
                    "no system identifier",
                    "take it from `pg_controldata`, or `SELECT system_identifier FROM pg_control_system()`",
                );
            }
        }
        errors
    }

    fn run<'a>(&'a self, cx: &'a Context, mut memory: Memory) -> BoxFuture<'a, Report<Memory>> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let (mut old, mut new) =
                join(Box::pin(Open::at(cx, &self.old, budget)), Box::pin(Open::at(cx, &self.new, budget))).await;
            let mut identities = BTreeMap::new();
            for (open, known, name) in [(&old, &mut memory.old, &self.old), (&new, &mut memory.new, &self.new)] {
                if let Ok(open) = open {
                    known.see(&open.server.identity(), cx.now);
                    identities.insert(name.clone(), open.server.identity());
                }
            }
            let both = match (&mut old, &mut new) {
                (Ok(old), Ok(new)) => self.two(cx, old, new, budget).await,
                (Err(outcome), _) | (_, Err(outcome)) => outcome.clone(),
            };
            let part = |open: &Result<Open, Outcome>, expected: Option<&String>, known: &Known, writable| match open {
                Ok(open) => self.one(open, expected, known, writable, cx.now),
                Err(outcome) => outcome.clone(),
            };
            let parts = BTreeMap::from([
                (PartId::new("both"), both),
                (PartId::new("old"), part(&old, self.old_system.as_ref(), &memory.old, false)),
                (PartId::new("new"), part(&new, self.new_system.as_ref(), &memory.new, true)),
            ]);
            for open in [old, new].into_iter().flatten() {
                open.session.close(budget).await;
            }
            Report { identities, ..Report::new(Step::Done(parts), memory) }
        })
    }

    /// The new server compared with itself must not pass for two.
    fn control<'a>(&'a self, cx: &'a Context, _memory: Memory) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let opened = join(Box::pin(Open::at(cx, &self.new, budget)), Box::pin(Open::at(cx, &self.new, budget))).await;
            match opened {
                (Ok(mut one), Ok(mut other)) => {
                    let outcome = self.two(cx, &mut one, &mut other, budget).await;
                    for open in [one, other] {
                        open.session.close(budget).await;
                    }
                    outcome
                }
                (Err(outcome), _) | (_, Err(outcome)) => outcome,
            }
        })
    }
}

#[cfg(test)]
mod tests;
