//! `cutover postgres`: the work of a database's move that wants SQL, usable as steps. With the operator's own credentials, by reference.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use checks::postgres::by_hand::{Hand, Refused};
use checks::{Clients, PostgresTarget, SecretRef, Target};
use clap::Subcommand;
use tokio::time::{Instant, timeout};

use super::render::Io;
use super::trouble::Trouble;
use super::{Answer, Context};
use crate::exit::Exit;

mod baseline;
mod carry_back;
mod compare;
mod editions;
mod fence;
mod judge;
mod manifest;
mod marks;
mod risk;
mod stopped;
mod unfence;
mod verify;

/// `cutover postgres …`
#[derive(Debug, Subcommand)]
pub(crate) enum PostgresVerb {
    /// Record where both servers stand once the data has come over, before the application is switched
    #[command(
        after_help = "Logs in as the verifier's own role on both servers, which sees all and can write nothing. What is committed before \
the mark is migrated data; what comes after it is drift on the old server, and the application's traffic on the new one.

Examples:
  cutover postgres baseline --old env:PG_OLD_OBSERVER --new env:PG_NEW_OBSERVER
  cutover postgres baseline --old env:PG_OLD_OBSERVER --new env:PG_NEW_OBSERVER --check   # exit 0: it is recorded
  cutover postgres baseline --old env:PG_OLD_OBSERVER --new env:PG_NEW_OBSERVER --again   # after the data came over anew"
    )]
    Baseline(baseline::BaselineArgs),
    /// Record what the old server's tables hold, in the very snapshot that a dump is made of
    #[command(
        after_help = "Logs in as the verifier's own role, holds a snapshot open while the command runs, and counts and hashes every table in it. \
In the command {snapshot} stands for its name; parallel dumps are fine. Nothing is recorded unless the command succeeds and the snapshot \
outlives it. With --data the tables are counted first, then the command stops the server, and its files tell where it stood.

Examples:
  cutover postgres manifest --old env:PG_OLD_OBSERVER -- pg_dump --snapshot={snapshot} -Fc -f homelab.dump homelab
  cutover postgres manifest --old env:PG_OLD_OBSERVER -- pg_dump --snapshot={snapshot} -Fd -j 4 -f dump/ homelab
  cutover postgres manifest --old env:PG_OLD_OBSERVER --data /srv/postgres/data -- docker compose stop postgres
  cutover postgres manifest --old env:PG_OLD_OBSERVER --check                             # exit 0: it is recorded"
    )]
    Manifest(manifest::ManifestArgs),
    /// Compare two servers by hand: the proofs of phase 4, for any two connection strings
    #[command(
        after_help = "Needs no verifier, no document and no phase, only a role that can read everything on both servers. With --mark, and \
--manifest, rows are compared as of what was recorded, so that writers on both sides do not matter; without, as they are now. Exits with 0 \
if all is equal, 1 if something differs, 3 if something could not be compared.

Examples:
  cutover postgres compare --old env:PG_OLD --new env:PG_NEW
  cutover postgres compare --old env:PG_OLD --new env:PG_NEW --only rows --except public.cache -o json
  cutover postgres compare --old env:PG_OLD --new env:PG_NEW --mark postgres-mark --manifest postgres-manifest"
    )]
    Compare(compare::CompareArgs),
    /// Make the old server refuse writes, and end the sessions of the application's roles there
    #[command(
        after_help = "Logs in as a superuser, or as a role with pg_monitor, pg_signal_backend, ALTER SYSTEM on the parameter \
default_transaction_read_only and EXECUTE on pg_reload_conf(). Dumps, comparisons and the verifier go on working. Refused while \
transactions are prepared, and for a role that is a superuser or has a setting of its own. It is no wall: a session can still say \
that its own transactions write.

Examples:
  cutover postgres fence --old env:PG_OLD_OPERATOR --role server
  cutover postgres fence --old file:/run/secrets/pg-old --role server --role grafana --timeout 5m
  cutover postgres fence --old env:PG_OLD_OPERATOR --role server --check                  # exit 0: it stands"
    )]
    Fence(fence::FenceArgs),
    /// See whether the old server refuses writes, and what could still write there
    #[command(
        after_help = "Changes nothing. Exits with 0 while the fence stands, 1 if something could write, 3 if that can not be seen.

Examples:
  cutover postgres verify-fence --old env:PG_OLD_OPERATOR --role server
  cutover postgres verify-fence --old env:PG_OLD_OPERATOR --role server --attempt env:PG_OLD_APPLICATION -o json"
    )]
    VerifyFence(verify::VerifyArgs),
    /// Take the fence off the old server, unless the new one has rows that exist nowhere else
    #[command(
        after_help = "Works without a verifier: then the mark is that of this machine. Rows that were written on the new server since the \
mark are counted first; with any, it is refused, and says how to keep them.

Examples:
  cutover postgres unfence --old env:PG_OLD_OPERATOR --new env:PG_NEW_OBSERVER
  cutover postgres unfence --old env:PG_OLD_OPERATOR --new env:PG_NEW_OBSERVER --no-mark  # as an undo: nothing may have been marked yet
  cutover postgres unfence --old env:PG_OLD_OPERATOR --new env:PG_NEW_OBSERVER --accept-loss"
    )]
    Unfence(unfence::UnfenceArgs),
    /// Copy the rows that came to the new server back to the old one, so that the application can go back to it without a loss
    #[command(
        after_help = "The order: stop the application; carry-back; unfence; start the application on the old server. The old server stays \
fenced meanwhile: the copy alone says of itself that it writes, so nothing comes in between. To keep the new one still, fence it as well \
(`cutover postgres fence --old env:PG_NEW_OPERATOR --role …`).

Only what was added leads back. It is refused if a row was changed or deleted, a table truncated or altered, or the counters that tell \
began anew; if the old server was written to since the mark (both may have given out the same ids, so that merging needs new ones); \
while something can write on the new server; and where columns differ, or triggers would fire that may not be left out. Everything goes \
over in one transaction of the old server: it is committed only if the counts and hashes of every table add up and the new server \
stood still. Tables go in the order of their foreign keys, which the old server checks; sequences are raised, and stay raised \
should the commit fail. Then both servers are equal, and a new mark says so: `unfence` finds nothing that would be lost.

--old is a superuser, or a role with pg_monitor that is a member of the tables' owner (`deploy/postgres/owner.sql` makes one); --new \
may read all tables and sequences.

Examples:
  cutover postgres carry-back --old env:PG_OLD_OWNER --new env:PG_NEW_OBSERVER --dry-run
  cutover postgres carry-back --old env:PG_OLD_OWNER --new env:PG_NEW_OBSERVER
  cutover postgres carry-back --old env:PG_OLD_OWNER --new env:PG_NEW_OBSERVER --no-mark  # as an undo: nothing may have been marked yet
  cutover postgres carry-back --old env:PG_OLD_OWNER --new env:PG_NEW_OBSERVER --check    # exit 0: nothing is left to carry"
    )]
    CarryBack(carry_back::CarryBackArgs),
}

/// Runs a verb of `cutover postgres`. An interruption ends it at once, and says what to do about what stands; but a verb that runs a
/// command ends that first.
pub(crate) async fn run(cx: &mut Context<'_, '_>, verb: PostgresVerb) -> Answer {
    let ends_by_itself = matches!(verb, PostgresVerb::Manifest(_));
    let hint = if matches!(verb, PostgresVerb::CarryBack(_)) {
        "the old server takes back what was not committed; the same command with --check says whether anything is left to carry"
    } else {
        "`cutover postgres verify-fence` shows what stands; the same command again goes on from there"
    };
    let mut stop = cx.stop.clone();
    let work = async {
        match verb {
            PostgresVerb::Baseline(args) => Box::pin(baseline::run(cx, args)).await,
            PostgresVerb::Manifest(args) => Box::pin(manifest::run(cx, args)).await,
            PostgresVerb::Compare(args) => Box::pin(compare::run(cx, args)).await,
            PostgresVerb::Fence(args) => Box::pin(fence::run(cx, args)).await,
            PostgresVerb::VerifyFence(args) => Box::pin(verify::run(cx, args)).await,
            PostgresVerb::Unfence(args) => Box::pin(unfence::run(cx, args)).await,
            PostgresVerb::CarryBack(args) => Box::pin(carry_back::run(cx, args)).await,
        }
    };
    tokio::select! {
        answer = work => answer,
        () = stop.once(), if !ends_by_itself => Err(Trouble::new(Exit::INTERRUPTED, "interrupted").hint(hint)),
    }
}

/// Where a connection string is found. What is no reference is never shown: it may be the connection string itself.
#[derive(Debug, Clone)]
pub(crate) struct Dsn(Option<SecretRef>);

/// Reads a reference.
#[expect(clippy::unnecessary_wraps, reason = "a refusal by the command line's parser would show the value")]
pub(crate) fn dsn(text: &str) -> Result<Dsn, String> {
    let variable = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    Ok(Dsn(match text.split_once(':') {
        Some(("env", name)) if variable(name) => Some(SecretRef::Env(name.to_owned())),
        Some(("file", path)) if !path.is_empty() && !path.contains("://") && !path.contains("password=") => {
            Some(SecretRef::File(Path::new(path).to_owned()))
        }
        _ => None,
    }))
}

/// What checks get, for the servers that were named.
fn servers<const N: usize>(cx: &Context<'_, '_>, named: [(&'static str, Option<&Dsn>); N]) -> Result<checks::Context, Trouble> {
    let mut targets = BTreeMap::new();
    for (name, dsn) in named {
        let Some(dsn) = dsn else { continue };
        let Some(reference) = &dsn.0 else {
            return Err(Trouble::new(Exit::USAGE, format!("--{name} is no reference to a connection string"))
                .hint("say env:NAME or file:PATH; on a command line everybody on this machine could read it"));
        };
        targets.insert(name.to_owned(), Target::Postgres(PostgresTarget { dsn: reference.clone() }));
    }
    let clients = Clients::new().map_err(|error| Trouble::new(Exit::UNKNOWN, error.to_string()))?;
    Ok(checks::Context {
        targets: Arc::new(targets),
        clients,
        timeout: cx.request_timeout,
        now: (cx.now)(),
        uptime: Duration::ZERO,
        beat: None,
        facts: Arc::default(),
        by_hand: true,
    })
}

/// Logs in.
async fn enter(cx: &mut Context<'_, '_>, servers: &checks::Context, name: &str) -> Result<Hand, Trouble> {
    let entered = patiently(cx.io, &format!("logging in to {name}"), Hand::enter(servers, name)).await;
    entered.map_err(|refused| trouble(&refused))
}

/// Says what takes so long, if it takes longer than a second.
async fn patiently<T>(io: &mut Io<'_>, words: &str, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    if let Ok(done) = timeout(Duration::from_secs(1), work.as_mut()).await {
        return done;
    }
    io.say(format!("{words} …"));
    work.await
}

/// What a server's refusal means here.
fn trouble(refused: &Refused) -> Trouble {
    let (exit, hint) = match refused.reason.as_str() {
        "secret_missing" => (Exit::USAGE, "set it on this machine: the connection string is read from there"),
        "dsn_unusable" | "not_postgres" | "no_such_database" | "not_an_observer" => (Exit::USAGE, refused.next),
        "login_denied" | "own_login_denied" => {
            (Exit::AUTH, "correct user and password in the connection string, or `pg_hba.conf`: the server does not let them in")
        }
        "no_permission" => (Exit::AUTH, "grant the role what is missing"),
        "not_still" | "in_recovery" => (Exit::CLOSED, refused.next),
        "timeout" => (
            Exit::UNKNOWN,
            "see whether the server is overloaded or a firewall drops packets; --request-timeout says how long one answer may take",
        ),
        _ => (Exit::UNKNOWN, refused.next),
    };
    Trouble { code: refused.reason.as_str().into(), ..Trouble::new(exit, refused.words.clone()).hint(hint) }
}

/// How long a verb may wait.
#[derive(Debug, Clone, Copy)]
struct Patience {
    end: Instant,
    total: Duration,
}

impl Patience {
    fn new(total: Duration) -> Self {
        Self { end: Instant::now() + total, total }
    }

    fn left(self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    fn is_over(self) -> bool {
        self.left().is_zero()
    }
}

impl fmt::Display for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.total).fmt(f)
    }
}

/// Says what is waited for, once for each thing.
#[derive(Debug, Default)]
struct Talk(String);

impl Talk {
    fn say(&mut self, io: &mut Io<'_>, words: String) {
        if words != self.0 {
            io.say(&words);
            self.0 = words;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_string_on_the_command_line_is_taken_for_none_and_never_kept() {
        for text in
            ["postgres://me:hunter2@db/app", "env:postgres://me:hunter2@db", "file:postgres://me:hunter2@db/", "env:", "x"]
        {
            assert!(dsn(text).unwrap().0.is_none(), "{text}");
        }
        assert_eq!(dsn("env:PG_OLD").unwrap().0, Some(SecretRef::Env("PG_OLD".to_owned())));
        assert_eq!(dsn("file:/run/secrets/pg").unwrap().0, Some(SecretRef::File("/run/secrets/pg".into())));
    }
}
