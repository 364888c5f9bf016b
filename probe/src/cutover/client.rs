//! The HTTP side: one request, one bounded answer, or a [`Trouble`] that says what happened instead.
//!
//! Nothing is retried, no redirect is followed, no proxy and no cache may stand between a verdict and its reader.

use std::error::Error;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AGE, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use super::cluster::Cluster;
use super::trouble::{Trouble, exit_of};
use crate::api::types::{ErrorBody, Receipt, TokenBody};
use crate::exit::Exit;
use crate::gate::{MAX_EPOCH_GAP, Verdict};

mod way;

pub(in crate::cutover) use way::{Lost, Question, url};
use way::{Reply, Way};

/// Larger answers are not read.
const MAX_BODY: usize = 16 * 1024 * 1024;
/// Where a verifier is looked for when nothing else is said.
const DEFAULT: &str = "http://127.0.0.1:9470";

/// Where the verifier is and how to talk to it.
#[derive(Clone)]
pub(crate) struct Client {
    way: Way,
    /// The address, for people.
    server: String,
    /// Nobody has said where the verifier is.
    guessed: bool,
    /// Whether a token is sent that was given.
    token: bool,
    timeout: Duration,
}

impl Client {
    /// Checks the address and the token, and prepares the connection; nothing is sent yet.
    pub(crate) fn new(server: &str, token: Option<&str>, timeout: Duration) -> Result<Self, Trouble> {
        let base = base(server)?;
        // An error here only says that a provider is installed already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("cutover/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .timeout(timeout);
        if base.scheme() == "http" {
            // Without TLS a machine without a certificate store must do as well.
            builder = builder.tls_certs_only([]);
        }
        let http = builder.build().map_err(|error| {
            Trouble::new(Exit::UNREACHABLE, format!("the HTTPS client can not be prepared: {}", root(&error)))
                .hint("install a certificate store (ca-certificates), or set SSL_CERT_FILE")
        })?;
        let token = token.map(bearer).transpose()?;
        let server = base.as_str().trim_end_matches('/').to_owned();
        let named = token.is_some();
        Ok(Self { way: Way::Direct { http, base, token }, server, guessed: false, token: named, timeout })
    }

    /// Where a verifier on this machine listens, when nothing says where it is.
    pub(crate) fn here(token: Option<&str>, timeout: Duration) -> Result<Self, Trouble> {
        Ok(Self { guessed: true, ..Self::new(DEFAULT, token, timeout)? })
    }

    /// The verifier of a cluster.
    pub(crate) fn through(cluster: Cluster, timeout: Duration) -> Self {
        let server = cluster.server();
        Self { way: Way::Cluster(Arc::new(cluster)), server, guessed: false, token: false, timeout }
    }

    /// No verifier: each question ends with this trouble. What needs none goes on.
    pub(crate) fn nowhere(trouble: Trouble, timeout: Duration) -> Self {
        Self { way: Way::None(trouble), server: "no verifier".to_owned(), guessed: false, token: false, timeout }
    }

    /// The address, for people.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// The cluster that leads to it, if one does.
    pub(crate) fn cluster(&self) -> Option<&Cluster> {
        match &self.way {
            Way::Cluster(cluster) => Some(cluster),
            Way::Direct { .. } | Way::None(_) => None,
        }
    }

    /// Whether nobody has said where the verifier is, and nothing else says it.
    pub(crate) fn is_guessed(&self) -> bool {
        self.guessed
    }

    /// Variables by which another `cutover` finds the same verifier.
    pub(crate) fn env(&self) -> Vec<(String, String)> {
        match &self.way {
            Way::Direct { .. } => vec![("PHASEGATE_SERVER".to_owned(), self.server.clone())],
            Way::Cluster(cluster) => cluster.env(),
            Way::None(_) => Vec::new(),
        }
    }

    /// Reads one object.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, Trouble> {
        self.read(path, &[], true).await
    }

    /// Reads one object that a question is about.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, String)]) -> Result<T, Trouble> {
        self.read(path, query, true).await
    }

    /// Reads one object whose text must stay exactly as it was sent.
    pub(crate) async fn get_exact<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, String)]) -> Result<T, Trouble> {
        self.read(path, query, false).await
    }

    /// Who the verifier takes us for.
    pub(crate) async fn whoami(&self) -> Result<TokenBody, Trouble> {
        let question = Question { method: Method::GET, path: &["token"], query: &[], body: None, named: true };
        self.answer(question, true).await
    }

    async fn read<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, String)], clean: bool) -> Result<T, Trouble> {
        self.answer(Question { method: Method::GET, path, query, body: None, named: false }, clean).await
    }

    async fn answer<T: DeserializeOwned>(&self, question: Question<'_>, clean: bool) -> Result<T, Trouble> {
        let reply = self.send(question).await.map_err(|lost| self.lost(lost))?;
        let (status, body) = self.body(reply).await?;
        if status == StatusCode::OK { self.parse(&body, clean) } else { Err(self.refused(status, &body)) }
    }

    async fn send(&self, question: Question<'_>) -> Result<Reply, Lost> {
        self.way.send(question, Instant::now() + self.timeout).await
    }

    /// Gives one command. When no answer comes back, it may have been taken all the same: the trouble says so.
    pub(crate) async fn post<B: Serialize + Sync>(&self, path: &[&str], body: &B) -> Result<Receipt, Trouble> {
        self.command(Method::POST, path, Some(encoded(body)?)).await
    }

    /// Gives a command whose answer is more than a receipt.
    pub(crate) async fn create<B: Serialize + Sync, T: DeserializeOwned>(&self, path: &[&str], body: &B) -> Result<T, Trouble> {
        self.command(Method::POST, path, Some(encoded(body)?)).await
    }

    /// Puts something under a name of its own.
    pub(crate) async fn put<B: Serialize + Sync>(&self, path: &[&str], body: &B) -> Result<Receipt, Trouble> {
        self.command(Method::PUT, path, Some(encoded(body)?)).await
    }

    /// Takes something away.
    pub(crate) async fn delete(&self, path: &[&str]) -> Result<Receipt, Trouble> {
        self.command(Method::DELETE, path, None).await
    }

    async fn command<T: DeserializeOwned>(&self, method: Method, path: &[&str], body: Option<Vec<u8>>) -> Result<T, Trouble> {
        let doubtful = |trouble: Trouble| {
            if trouble.exit != Exit::UNREACHABLE {
                return trouble;
            }
            let hint = trouble.hint.clone().map_or_else(String::new, |hint| format!("; {hint}"));
            trouble.hint(format!("the command may have been taken: look with `cutover status` before you repeat it{hint}"))
        };
        let reply = match self.send(Question { method, path, query: &[], body, named: true }).await {
            Ok(reply) => reply,
            Err(lost @ (Lost::Connect(_) | Lost::Unsent(_))) => return Err(self.lost(lost)),
            Err(lost @ (Lost::Slow | Lost::Broken(_))) => return Err(doubtful(self.lost(lost))),
        };
        let (status, body) = self.body(reply).await.map_err(doubtful)?;
        match status {
            StatusCode::OK | StatusCode::CREATED | StatusCode::ACCEPTED => self.parse(&body, true).map_err(doubtful),
            _ => Err(self.refused(status, &body)),
        }
    }

    /// The whole body, if it is JSON, fresh and not too large.
    async fn body(&self, mut response: Reply) -> Result<(StatusCode, Vec<u8>), Trouble> {
        let status = response.status();
        let (to, age, kind) = {
            let header = |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or("");
            (header(LOCATION).to_owned(), header(AGE).trim().parse::<u64>().ok(), header(CONTENT_TYPE).to_ascii_lowercase())
        };
        if status.is_redirection() {
            return Err(self
                .no_verifier(format!("answered with a redirect to `{}`, which is not followed", printable(&to)))
                .hint("give the verifier's own address with --server"));
        }
        if age.is_some_and(|age| age > MAX_EPOCH_GAP.as_secs()) {
            return Err(Trouble::new(Exit::UNKNOWN, format!("the answer of {} comes from a cache", self.server()))
                .hint("give the verifier's own address with --server"));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|lost| self.lost(lost))? {
            if body.len() + chunk.len() > MAX_BODY {
                return Err(self.no_verifier(format!("answered with more than {} MiB", MAX_BODY >> 20)));
            }
            body.extend_from_slice(&chunk);
        }
        if kind.contains("json") {
            let said = self.cluster().and_then(|cluster| cluster.said(status, &body));
            return said.map_or(Ok((status, body)), Err);
        }
        let what = if kind.contains("html") || body.trim_ascii_start().starts_with(b"<") {
            format!("answered {status} with an HTML page")
        } else {
            format!("answered {status} without JSON")
        };
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => self.denied(format!("{} {what}", self.server()), None),
            _ => self.no_verifier(what),
        })
    }

    fn parse<T: DeserializeOwned>(&self, body: &[u8], clean: bool) -> Result<T, Trouble> {
        let parsed = if clean {
            serde_json::from_slice::<Value>(body).and_then(|mut value| {
                sanitize(&mut value);
                serde_json::from_value(value)
            })
        } else {
            serde_json::from_slice(body)
        };
        parsed.map_err(|error| {
            self.no_verifier(format!("answered with JSON that is not what was asked for: {error}"))
                .hint("compare `cutover version` with the verifier's version")
        })
    }

    /// What an answer other than 2xx means.
    fn refused(&self, status: StatusCode, body: &[u8]) -> Trouble {
        let told = self.parse::<ErrorBody>(body, true);
        let Ok(told) = told else {
            return match status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    self.denied(format!("{} answered {status}", self.server()), None)
                }
                _ => self.no_verifier(format!("answered {status} without a reason")),
            };
        };
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => self.denied(told.message, told.hint),
            StatusCode::NOT_FOUND | StatusCode::GONE => Trouble::told(Exit::NOT_FOUND, told),
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::PRECONDITION_REQUIRED => {
                Trouble::told(Exit::USAGE, told)
            }
            StatusCode::LOCKED => Trouble::told(Exit::MOVED, told),
            StatusCode::CONFLICT if told.code == "moved" => Trouble::told(Exit::MOVED, told),
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED | StatusCode::FAILED_DEPENDENCY | StatusCode::TOO_EARLY => {
                let exit = match told.verdict {
                    Some(verdict @ (Verdict::Closed | Verdict::Pending | Verdict::Unknown)) => exit_of(verdict),
                    Some(Verdict::Open) => Exit::UNKNOWN,
                    None if status == StatusCode::FAILED_DEPENDENCY => Exit::UNKNOWN,
                    None if status == StatusCode::TOO_EARLY => Exit::PENDING,
                    None => Exit::CLOSED,
                };
                Trouble::told(exit, told)
            }
            _ => {
                let message = format!("{} answered {status}: {}", self.server(), told.message);
                let hint = told.hint.unwrap_or_else(|| "look at the verifier's log and at its /-/ready".to_owned());
                Trouble::new(Exit::UNREACHABLE, message).hint(hint).blocked_by(told.blockers)
            }
        }
    }

    fn denied(&self, message: String, hint: Option<String>) -> Trouble {
        let default = match &self.way {
            Way::Cluster(cluster) => cluster.how_to_be_known(),
            Way::Direct { .. } | Way::None(_) if self.token => {
                "the token is not known there, or its role does not allow this".to_owned()
            }
            Way::Direct { .. } | Way::None(_) => "give a token with --token-file FILE or in PHASEGATE_TOKEN".to_owned(),
        };
        Trouble::new(Exit::AUTH, message).hint(hint.unwrap_or(default))
    }

    fn no_verifier(&self, what: impl Display) -> Trouble {
        let hint = match &self.way {
            Way::Cluster(cluster) => cluster.how_to_look(),
            Way::Direct { .. } | Way::None(_) => "is this the verifier's address? see --server and PHASEGATE_SERVER".to_owned(),
        };
        Trouble::new(Exit::UNREACHABLE, format!("{} {what}", self.server())).hint(hint)
    }

    fn lost(&self, lost: Lost) -> Trouble {
        let (message, direct) = match lost {
            Lost::Unsent(trouble) => return trouble,
            Lost::Slow => (
                format!("{} gave no full answer within {}", self.server(), humantime::format_duration(self.timeout)),
                "is the verifier overloaded or frozen? see --request-timeout",
            ),
            Lost::Connect(why) if self.guessed => (
                format!("{} can not be reached: {why}", self.server()),
                "is the verifier running? its address comes from --server or PHASEGATE_SERVER; without them a verifier in a cluster is \
                 found by KUBECONFIG, ~/.kube/config or the service account of a pod, and there is none of these",
            ),
            Lost::Connect(why) => (
                format!("{} can not be reached: {why}", self.server()),
                "is the verifier running? its address comes from --server or PHASEGATE_SERVER",
            ),
            Lost::Broken(why) => (
                format!("{} broke off its answer: {why}", self.server()),
                "is the verifier running? its address comes from --server or PHASEGATE_SERVER",
            ),
        };
        let hint = self.cluster().map_or_else(|| direct.to_owned(), Cluster::how_to_look);
        Trouble::new(Exit::UNREACHABLE, message).hint(hint)
    }
}

fn encoded<B: Serialize>(body: &B) -> Result<Vec<u8>, Trouble> {
    serde_json::to_vec(body).map_err(|error| Trouble::new(Exit::USAGE, format!("the command can not be encoded: {error}")))
}

fn base(server: &str) -> Result<Url, Trouble> {
    let wrong = |what: String| {
        Trouble::new(Exit::USAGE, format!("--server: {what}")).hint("give it like http://127.0.0.1:9470 or https://gate.example")
    };
    let url = Url::parse(server).map_err(|error| wrong(format!("`{}` is no URL: {error}", printable(server))))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong(format!("`{}` is no http or https URL", printable(server))));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("a user or password in the URL is not supported".to_owned()));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("a query or fragment has no place here".to_owned()));
    }
    Ok(url)
}

/// The header that carries a token.
pub(crate) fn bearer(token: &str) -> Result<HeaderValue, Trouble> {
    let wrong = || {
        Trouble::new(Exit::USAGE, "the token must be one word of visible ASCII")
            .hint("the token alone: not the verifier's file with its `NAME ROLE TOKEN` lines")
    };
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong());
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| wrong())?;
    value.set_sensitive(true);
    Ok(value)
}

/// The innermost cause, in one line.
pub(super) fn root(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    printable(&error.to_string())
}

/// Words from elsewhere, without the means to steer a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn sanitize(value: &mut Value) {
    match value {
        Value::String(text) if text.chars().any(char::is_control) => *text = printable(text),
        Value::Array(items) => items.iter_mut().for_each(sanitize),
        Value::Object(fields) => fields.values_mut().for_each(sanitize),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
