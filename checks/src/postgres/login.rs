//! Logging in: from a connection string to a session that answers.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Either, Fuse, FusedFuture, select};
use secrecy::ExposeSecret;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, SimpleQueryMessage, SimpleQueryRow};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::check::Context;
use crate::net::{Budget, dial, reasons, words};
use crate::outcome::Outcome;
use crate::target::PostgresTarget;

use super::own::{Deeds, End, Visit};
use super::watched::{Seen, Watched};
use super::{DSN_UNUSABLE, NOT_POSTGRES, Refusal};

mod copy;

/// How long a finished connection may take to say good-bye.
const FAREWELL: Duration = Duration::from_millis(100);

/// How our sessions name themselves.
pub(super) const APPLICATION: &str = "phasegate";

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
        config.application_name(APPLICATION);
        Ok(Self { config, host, port })
    }

    /// The same login to another database of the same server.
    pub(crate) fn with_database(mut self, name: &str) -> Self {
        self.config.dbname(name);
        self
    }

    /// The host and port that it connects to.
    pub(crate) fn address(&self) -> (&Host, u16) {
        (&self.host, self.port)
    }

    /// Where it leads, without the password.
    pub(crate) fn place(&self) -> String {
        format!("{}@{}", self.config.get_user().unwrap_or_default(), self.counted_at())
    }

    /// Where the verifier's own logins are counted (`own.rs`).
    pub(crate) fn counted_at(&self) -> String {
        let host = match &self.host {
            Host::Tcp(host) => host.clone(),
            Host::Unix(path) => path.display().to_string(),
        };
        let user = self.config.get_user().unwrap_or_default();
        format!("{host}:{}/{}", self.port, self.config.get_dbname().unwrap_or(user))
    }

    /// The database.
    pub(crate) fn database(&self) -> &str {
        self.config.get_dbname().unwrap_or(self.user())
    }

    /// The role.
    pub(crate) fn user(&self) -> &str {
        self.config.get_user().unwrap_or_default()
    }

    /// The role, as SQL names it.
    pub(crate) fn role(&self) -> String {
        format!("\"{}\"", self.config.get_user().unwrap_or_default().replace('"', "\"\""))
    }

    /// Logs in on a fresh connection, asks, and logs out. The statements are sent as one simple query.
    pub(crate) async fn ask(&self, cx: &Context, sql: &str, budget: Budget) -> Result<Vec<SimpleQueryRow>, Outcome> {
        let mut session = self.open(cx, budget).await?;
        let answer = session.ask(sql, budget).await;
        session.close(budget).await;
        Ok(answer?)
    }

    /// Logs in on a fresh connection.
    pub(crate) async fn open(&self, cx: &Context, budget: Budget) -> Result<Session, Outcome> {
        let first = match self.attempt(cx, budget).await {
            Err(outcome) if outcome.reason() == Some(&reasons::UNTRUSTED_CERTIFICATE.into()) => outcome,
            other => return other,
        };
        if self.config.get_ssl_mode() != SslMode::Prefer {
            return Err(first);
        }
        // `prefer` promises no protection: like libpq it goes on without TLS when TLS does not come about.
        let mut plain = self.clone();
        plain.config.ssl_mode(SslMode::Disable);
        match plain.attempt(cx, budget).await {
            Err(second) if second.evidence().as_str().contains(SqlState::INVALID_AUTHORIZATION_SPECIFICATION.code()) => {
                let both = format!("{}; and without TLS: {}", first.evidence(), second.evidence());
                Err(reasons::UNTRUSTED_CERTIFICATE.because(both))
            }
            other => other,
        }
    }

    async fn attempt(&self, cx: &Context, budget: Budget) -> Result<Session, Outcome> {
        match &self.host {
            Host::Unix(path) => {
                let path = path.join(format!(".s.PGSQL.{}", self.port));
                let stream = timeout_at(budget.end, UnixStream::connect(&path)).await;
                let stream = stream.map_err(|_| silence(&self.place(), budget))?.map_err(|error| {
                    let gone = error.kind() == std::io::ErrorKind::NotFound;
                    let reason = if gone { reasons::REFUSED } else { dial::reason_of(&error) };
                    reason.because(format!("{}: {error}", path.display()))
                })?;
                Box::pin(self.greet(cx, stream, "localhost", budget)).await
            }
            Host::Tcp(host) => {
                let addresses = match self.config.get_hostaddrs().first() {
                    Some(ip) => vec![(*ip, self.port).into()],
                    None => cx.clients.names.addresses(host, self.port, budget).await?,
                };
                let stream = dial::connect_any(&addresses, budget).await?;
                Box::pin(self.greet(cx, stream, host, budget)).await
            }
        }
    }

    async fn greet<S>(&self, cx: &Context, stream: S, host: &str, budget: Budget) -> Result<Session, Outcome>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (stream, seen) = Watched::new(stream);
        let mut tls = MakeRustlsConnect::new(cx.clients.tls.as_ref().clone());
        let Ok(tls) = MakeTlsConnect::<Watched<S>>::make_tls_connect(&mut tls, host);
        let (place, visit) = (self.place(), cx.clients.own.logs_in(&self.counted_at(), self.user()));
        let answer = within(self.config.connect_raw(stream, tls), &seen, &place, budget).await;
        let (client, connection) = answer.inspect_err(|refusal| visit.turned_away(end_of(refusal)))?;
        visit.inside();
        Ok(Session { client, connection: connection.boxed().fuse(), seen, place, visit })
    }
}

/// A login that came about. Its connection is driven while it is asked.
pub(crate) struct Session {
    client: Client,
    connection: Fuse<BoxFuture<'static, Result<(), tokio_postgres::Error>>>,
    seen: Seen,
    place: String,
    visit: Visit,
}

impl Session {
    /// Asks. The statements are sent as one simple query.
    pub(crate) async fn ask(&mut self, sql: &str, budget: Budget) -> Result<Vec<SimpleQueryRow>, Refusal> {
        let answer = first_of(self.client.simple_query(sql), &mut self.connection);
        let answered = within(answer, &self.seen, &self.place, budget).await;
        let messages = answered.inspect_err(|refusal| self.visit.failed(end_of(refusal)))?;
        Ok(messages
            .into_iter()
            .filter_map(|message| if let SimpleQueryMessage::Row(row) = message { Some(row) } else { None })
            .collect())
    }

    /// Whether the server has surely counted all that other sessions of ours did at the same address.
    pub(crate) fn is_alone(&self) -> bool {
        self.visit.is_alone()
    }

    /// What this process has done at this address so far.
    pub(crate) fn deeds(&self) -> Deeds {
        self.visit.deeds()
    }

    /// How many sessions of ours the server may show for this role.
    pub(crate) fn sessions_of(&self, role: &str) -> u64 {
        self.visit.sessions_of(role)
    }

    /// Logs out. What was answered counts, whether or not the good-bye reaches the server.
    pub(crate) async fn close(self, budget: Budget) {
        let Self { client, connection, visit, .. } = self;
        drop(client);
        if !connection.is_terminated() {
            drop(timeout_at(budget.end.min(Instant::now() + FAREWELL), connection).await);
        }
        drop(visit);
    }
}

fn end_of(refusal: &Refusal) -> End<'_> {
    refusal.code.as_ref().map_or(End::BrokenOff, End::Told)
}

/// What the server says within the time that is left.
async fn within<T>(
    talk: impl Future<Output = Result<T, tokio_postgres::Error>>,
    seen: &Seen,
    place: &str,
    budget: Budget,
) -> Result<T, Refusal> {
    let stranger = |words: String| Refusal { reason: NOT_POSTGRES, code: None, words: format!("{place}: {words}") };
    match timeout_at(budget.end, talk).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Refusal::of(&error, seen, place)),
        Err(_) => Err(seen.stranger().map_or_else(|| silence(place, budget), stranger)),
    }
}

fn silence(place: &str, budget: Budget) -> Refusal {
    let words = format!("{place}: no answer within {:?}", budget.timeout());
    Refusal { reason: reasons::TIMEOUT, code: None, words }
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
