//! Looking at PostgreSQL: each look is a real login on a fresh connection.

pub mod ready;
mod watched;

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, select};
use secrecy::ExposeSecret;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::time::timeout_at;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Config, SimpleQueryMessage, SimpleQueryRow};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::check::Context;
use crate::net::{Budget, causes, dial, reasons, words};
use crate::outcome::{Outcome, ReasonSpec};
use crate::target::PostgresTarget;

use watched::{Seen, Watched};

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

/// How long a finished connection may take to say good-bye.
const FAREWELL: Duration = Duration::from_millis(100);

/// A target's connection string, resolved, and where it leads.
#[derive(Clone)]
pub(crate) struct Login {
    config: Config,
    host: Host,
    port: u16,
}

impl Login {
    /// Reads the connection string of the target of this name.
    pub(crate) async fn of(cx: &Context, name: &str) -> Result<Self, Outcome> {
        let target = cx.target::<PostgresTarget>(name)?;
        let dsn = target.dsn.resolve().await.map_err(|error| reasons::SECRET_MISSING.because(error.to_string()))?;
        Self::parse(dsn.expose_secret()).map_err(|why| DSN_UNUSABLE.because(format!("{}: {why}", target.dsn)))
    }

    fn parse(dsn: &str) -> Result<Self, String> {
        let mut config: Config = dsn.parse().map_err(|error| harmless(&error))?;
        let host = match config.get_hosts() {
            [host] => host.clone(),
            [] => return Err("it names no host".to_owned()),
            _ => return Err("it names more than one host; a target is one server".to_owned()),
        };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        if matches!(host, Host::Unix(_)) {
            config.ssl_mode(SslMode::Disable);
        }
        config.application_name("phasegate");
        Ok(Self { config, host, port })
    }

    /// The same login to another database of the same server.
    pub(crate) fn with_database(mut self, name: &str) -> Self {
        self.config.dbname(name);
        self
    }

    /// Where it leads, without the password.
    pub(crate) fn place(&self) -> String {
        let host = match &self.host {
            Host::Tcp(host) => host.clone(),
            Host::Unix(path) => path.display().to_string(),
        };
        let user = self.config.get_user().unwrap_or_default();
        format!("{user}@{host}:{}/{}", self.port, self.config.get_dbname().unwrap_or(user))
    }

    /// Logs in on a fresh connection, asks, and logs out. The statements are sent as one simple query.
    pub(crate) async fn ask(&self, cx: &Context, sql: &str, budget: Budget) -> Result<Vec<SimpleQueryRow>, Outcome> {
        let first = match self.attempt(cx, sql, budget).await {
            Err(outcome) if outcome.reason() == Some(&reasons::UNTRUSTED_CERTIFICATE.into()) => outcome,
            other => return other,
        };
        if self.config.get_ssl_mode() != SslMode::Prefer {
            return Err(first);
        }
        // `prefer` promises no protection: like libpq it goes on without TLS when TLS does not come about.
        let mut plain = self.clone();
        plain.config.ssl_mode(SslMode::Disable);
        match plain.attempt(cx, sql, budget).await {
            Err(second) if second.evidence().as_str().contains(SqlState::INVALID_AUTHORIZATION_SPECIFICATION.code()) => {
                let both = format!("{}; and without TLS: {}", first.evidence(), second.evidence());
                Err(reasons::UNTRUSTED_CERTIFICATE.because(both))
            }
            other => other,
        }
    }

    async fn attempt(&self, cx: &Context, sql: &str, budget: Budget) -> Result<Vec<SimpleQueryRow>, Outcome> {
        match &self.host {
            Host::Unix(path) => {
                let path = path.join(format!(".s.PGSQL.{}", self.port));
                let stream = timeout_at(budget.end, UnixStream::connect(&path)).await;
                let stream = stream.map_err(|_| self.silent(budget))?.map_err(|error| {
                    let gone = error.kind() == std::io::ErrorKind::NotFound;
                    let reason = if gone { reasons::REFUSED } else { dial::reason_of(&error) };
                    reason.because(format!("{}: {error}", path.display()))
                })?;
                Box::pin(self.converse(cx, stream, "localhost", sql, budget)).await
            }
            Host::Tcp(host) => {
                let addresses = match self.config.get_hostaddrs().first() {
                    Some(ip) => vec![(*ip, self.port).into()],
                    None => cx.clients.names.addresses(host, self.port, budget).await?,
                };
                let stream = dial::connect_any(&addresses, budget).await?;
                Box::pin(self.converse(cx, stream, host, sql, budget)).await
            }
        }
    }

    async fn converse<S>(
        &self,
        cx: &Context,
        stream: S,
        host: &str,
        sql: &str,
        budget: Budget,
    ) -> Result<Vec<SimpleQueryRow>, Outcome>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (stream, seen) = Watched::new(stream);
        let mut tls = MakeRustlsConnect::new(cx.clients.tls.as_ref().clone());
        let Ok(tls) = MakeTlsConnect::<Watched<S>>::make_tls_connect(&mut tls, host);
        let talk = async {
            let (client, connection) = self.config.connect_raw(stream, tls).await?;
            let mut connection = pin!(connection);
            let answer = first_of(client.simple_query(sql), connection.as_mut()).await;
            drop(client);
            // The answer counts, whether or not the good-bye reaches the server.
            drop(tokio::time::timeout(FAREWELL, connection).await);
            answer
        };
        let messages = match timeout_at(budget.end, talk).await {
            Ok(Ok(messages)) => messages,
            Ok(Err(error)) => {
                let (reason, words) = reason_of(&error, &seen);
                return Err(reason.because(format!("{}: {words}", self.place())));
            }
            Err(_) => match seen.stranger() {
                Some(words) => {
                    return Err(NOT_POSTGRES.because(format!("{}: {words}", self.place())));
                }
                None => return Err(self.silent(budget)),
            },
        };
        Ok(messages
            .into_iter()
            .filter_map(|message| if let SimpleQueryMessage::Row(row) = message { Some(row) } else { None })
            .collect())
    }

    fn silent(&self, budget: Budget) -> Outcome {
        reasons::TIMEOUT.because(format!("{}: no answer within {:?}", self.place(), budget.timeout()))
    }
}

/// The answer to a query, while its connection is driven. If the connection ends first, its own words count.
async fn first_of<T>(
    query: impl Future<Output = Result<T, tokio_postgres::Error>>,
    connection: impl Future<Output = Result<(), tokio_postgres::Error>> + Unpin,
) -> Result<T, tokio_postgres::Error> {
    match select(pin!(query), connection).await {
        Either::Left((answer, _)) => answer,
        Either::Right((Err(error), _)) => Err(error),
        Either::Right((Ok(()), query)) => query.await,
    }
}

/// Why a connection string can not be parsed, without any part of it: a password could be taken for an option.
fn harmless(error: &tokio_postgres::Error) -> String {
    let text = words(error);
    match text.split_once("invalid value for option") {
        Some((_, option)) => format!("invalid value for option{option}"),
        None => "it can not be parsed".to_owned(),
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
    // The client library tells its kinds of error apart by their words alone.
    let reason = match error.to_string().as_str() {
        "error performing TLS handshake" => TLS_SETUP,
        "invalid configuration" => DSN_UNUSABLE,
        "authentication error" => DENIED,
        _ => {
            let io = causes(error).filter_map(|cause| cause.downcast_ref::<std::io::Error>()).last();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_string_names_one_server() {
        for dsn in ["postgres://me:pw@db.example:5433/app?sslmode=require", "host=db.example port=5433 user=me dbname=app"] {
            assert_eq!(Login::parse(dsn).map(|login| login.place()), Ok("me@db.example:5433/app".to_owned()));
        }
        for dsn in ["postgres://me@a,b/app", "user=me", "hunter2", "postgres://me:hunter2@host:port/"] {
            assert!(Login::parse(dsn).is_err(), "{dsn}");
        }
    }

    #[test]
    fn a_bad_connection_string_is_not_shown() {
        for dsn in ["host=a password=my hunter2=x", "postgres://me:hunter2@host/?hunter2=1", "host=a port=hunter2"] {
            let why = Login::parse(dsn).err().unwrap();
            assert!(!why.contains("hunter2"), "{why}");
        }
        assert!(Login::parse("host=a sslmode=verify-full").err().unwrap().contains("sslmode"));
    }

    #[test]
    fn the_words_of_the_client_library_are_as_expected() {
        let error = "sslmode=x".parse::<Config>().unwrap_err();
        assert_eq!(error.to_string(), "invalid connection string");
    }
}
