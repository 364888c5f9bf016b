//! Looking at PostgreSQL: each look is a real login on a fresh connection.

pub mod by_hand;
pub mod canary;
pub mod catalog;
mod content;
pub mod continuity;
pub mod fence;
pub mod identity;
pub mod indexes;
pub(crate) mod login;
pub mod manifest;
pub mod mark;
pub(crate) mod name;
mod observer;
pub(crate) mod own;
mod pair;
pub mod quiet;
pub mod ready;
pub mod rows;
pub mod sequences;
mod server;
mod slices;
pub mod split_brain;
pub mod tables;
pub mod taking;
pub mod traffic;
mod watched;
pub(crate) mod written;

use tokio_postgres::error::SqlState;

use crate::net::{causes, dial, reasons, words};
use crate::outcome::{Outcome, ReasonSpec};

pub(crate) use login::{Login, Session};
use watched::Seen;

/// The connection string does not say where to log in.
pub(crate) const DSN_UNUSABLE: ReasonSpec = ReasonSpec::unknown(
    "dsn_unusable",
    "correct the connection string: one host, known options, a password if the server asks for one, `sslmode` disable, prefer or require",
);
/// Something else listens.
pub(crate) const NOT_POSTGRES: ReasonSpec =
    ReasonSpec::fail("not_postgres", "correct host and port: what listens there does not speak PostgreSQL's protocol");
/// The database is not there.
pub(crate) const NO_SUCH_DATABASE: ReasonSpec =
    ReasonSpec::fail("no_such_database", "create or restore the database, or correct its name in the connection string");
/// The role may not log in.
pub(crate) const DENIED: ReasonSpec = ReasonSpec::fail(
    "login_denied",
    "correct user and password in the connection string, or `pg_hba.conf`: the server does not let them in",
);
/// The server is there but takes no logins.
pub(crate) const NOT_ACCEPTING: ReasonSpec =
    ReasonSpec::fail("not_accepting", "wait until the server has started or recovered; its log says what it is doing");
/// No connection is left.
pub(crate) const TOO_MANY_CONNECTIONS: ReasonSpec =
    ReasonSpec::fail("too_many_connections", "close idle connections, or raise `max_connections` or the role's limit");
/// The server answers a plain question with an error.
pub(crate) const QUERY_FAILED: ReasonSpec =
    ReasonSpec::fail("query_failed", "look at the server's log: it answers a plain question with the error in the evidence");
/// Our role may not look.
pub(crate) const NO_PERMISSION: ReasonSpec =
    ReasonSpec::unknown("no_permission", "grant the role what the evidence names, so that the probe can look");
/// TLS does not come about.
pub(crate) const TLS_SETUP: ReasonSpec =
    ReasonSpec::unknown("tls_setup", "make `sslmode` in the connection string fit the server's TLS settings");
/// The server floods us.
pub(crate) const TOO_LARGE: ReasonSpec =
    ReasonSpec::unknown("too_large", "find out what answers there: it sends more than any answer to this probe can be");
/// The server speaks the protocol but not as we know it.
pub(crate) const UNREADABLE: ReasonSpec =
    ReasonSpec::unknown("unreadable", "compare the server's version with what is supported: its answer can not be read");

/// What can happen on the way into a database.
pub(crate) const LOGIN: &[ReasonSpec] = &[
    DSN_UNUSABLE,
    NOT_POSTGRES,
    NO_SUCH_DATABASE,
    DENIED,
    NOT_ACCEPTING,
    TOO_MANY_CONNECTIONS,
    QUERY_FAILED,
    NO_PERMISSION,
    TLS_SETUP,
    reasons::UNTRUSTED_CERTIFICATE,
    TOO_LARGE,
    UNREADABLE,
    reasons::SECRET_MISSING,
    reasons::TARGET_MISSING,
];

/// Why a server did not answer as asked.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    /// What it means for any look.
    pub(crate) reason: ReasonSpec,
    /// The server's own code, if it is the server that refuses.
    pub(crate) code: Option<SqlState>,
    /// Where, and in whose words.
    pub(crate) words: String,
}

impl Refusal {
    /// What `error` says, and whose it is.
    fn of(error: &tokio_postgres::Error, seen: &Seen, place: &str) -> Self {
        let (reason, words) = reason_of(error, seen);
        Self { reason, code: error.code().cloned(), words: format!("{place}: {words}") }
    }
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Self {
        refusal.reason.because(refusal.words)
    }
}

/// What an error says, and whose it is.
fn reason_of(error: &tokio_postgres::Error, seen: &Seen) -> (ReasonSpec, String) {
    if let Some(db) = error.as_db_error() {
        return (sql_reason(db.code()), format!("{} (SQLSTATE {})", db.message(), db.code().code()));
    }
    if let Some(words) = seen.stranger() {
        return (NOT_POSTGRES, words);
    }
    if seen.flooded() {
        return (TOO_LARGE, "more bytes than any answer can have".to_owned());
    }
    let text = words(error);
    for cause in causes(error) {
        match cause.downcast_ref::<rustls::Error>() {
            Some(rustls::Error::InvalidCertificate(_)) => {
                return (reasons::UNTRUSTED_CERTIFICATE, text);
            }
            Some(_) => return (TLS_SETUP, text),
            None => {}
        }
    }
    if error.is_closed() {
        return (reasons::RESET, text);
    }
    let io = causes(error).filter_map(|cause| cause.downcast_ref::<std::io::Error>()).last();
    // The client library tells its kinds of error apart by their words alone.
    let reason = match error.to_string().as_str() {
        "error performing TLS handshake" => TLS_SETUP,
        "invalid configuration" => DSN_UNUSABLE,
        // The server's words of the login can not be read, or do not prove that it knows the password: it refused nothing.
        "authentication error" if io.is_some_and(|io| io.kind() != std::io::ErrorKind::Other) => UNREADABLE,
        "authentication error" => DENIED,
        _ => {
            let reason = io.map_or(UNREADABLE, dial::reason_of);
            if reason == reasons::LOCAL { UNREADABLE } else { reason }
        }
    };
    (reason, text)
}

fn sql_reason(code: &SqlState) -> ReasonSpec {
    match *code {
        SqlState::INVALID_CATALOG_NAME => NO_SUCH_DATABASE,
        SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => DENIED,
        SqlState::CANNOT_CONNECT_NOW | SqlState::ADMIN_SHUTDOWN | SqlState::CRASH_SHUTDOWN => NOT_ACCEPTING,
        SqlState::TOO_MANY_CONNECTIONS => TOO_MANY_CONNECTIONS,
        SqlState::INSUFFICIENT_PRIVILEGE => NO_PERMISSION,
        SqlState::QUERY_CANCELED => reasons::TIMEOUT,
        _ => QUERY_FAILED,
    }
}
