//! The HTTP side: one request, one bounded answer, or a [`Trouble`] that says what happened instead.
//!
//! Nothing is retried, no redirect is followed, no proxy and no cache may stand between a verdict and its reader.

use std::error::Error;
use std::fmt::Display;
use std::time::Duration;

use reqwest::header::{ACCEPT, AGE, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::trouble::{Trouble, exit_of};
use crate::api::types::{ErrorBody, Receipt};
use crate::exit::Exit;
use crate::gate::{MAX_EPOCH_GAP, Verdict};

/// Larger answers are not read.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// Where the verifier is and how to talk to it.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<HeaderValue>,
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
        Ok(Self { http, base, token, timeout })
    }

    /// The address, for people.
    pub(crate) fn server(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
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

    async fn read<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, String)], clean: bool) -> Result<T, Trouble> {
        let mut request = self.request(Method::GET, path);
        if !query.is_empty() {
            let mut url = self.url(path);
            url.query_pairs_mut().extend_pairs(query);
            request = self.prepared(self.http.get(url));
        }
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let (status, body) = self.body(response).await?;
        if status == StatusCode::OK { self.parse(&body, clean) } else { Err(self.refused(status, &body)) }
    }

    /// Gives one command. When no answer comes back, it may have been taken all the same: the trouble says so.
    pub(crate) async fn post<B: Serialize + Sync>(&self, path: &[&str], body: &B) -> Result<Receipt, Trouble> {
        self.command(self.request(Method::POST, path).json(body)).await
    }

    /// Gives a command whose answer is more than a receipt.
    pub(crate) async fn create<B: Serialize + Sync, T: DeserializeOwned>(&self, path: &[&str], body: &B) -> Result<T, Trouble> {
        self.command(self.request(Method::POST, path).json(body)).await
    }

    /// Puts something under a name of its own.
    pub(crate) async fn put<B: Serialize + Sync>(&self, path: &[&str], body: &B) -> Result<Receipt, Trouble> {
        self.command(self.request(Method::PUT, path).json(body)).await
    }

    /// Takes something away.
    pub(crate) async fn delete(&self, path: &[&str]) -> Result<Receipt, Trouble> {
        self.command(self.request(Method::DELETE, path)).await
    }

    async fn command<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<T, Trouble> {
        let doubtful = |trouble: Trouble| {
            if trouble.exit != Exit::UNREACHABLE {
                return trouble;
            }
            let hint = trouble.hint.clone().map_or_else(String::new, |hint| format!("; {hint}"));
            trouble.hint(format!("the command may have been taken: look with `cutover status` before you repeat it{hint}"))
        };
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Err(self.unreachable(&error)),
            Err(error) => return Err(doubtful(self.unreachable(&error))),
        };
        let (status, body) = self.body(response).await.map_err(doubtful)?;
        match status {
            StatusCode::OK | StatusCode::CREATED | StatusCode::ACCEPTED => self.parse(&body, true).map_err(doubtful),
            _ => Err(self.refused(status, &body)),
        }
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        url
    }

    fn request(&self, method: Method, path: &[&str]) -> reqwest::RequestBuilder {
        self.prepared(self.http.request(method, self.url(path)))
    }

    fn prepared(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        let request = request.header(ACCEPT, "application/json").header(CACHE_CONTROL, "no-cache, no-store");
        match &self.token {
            Some(token) => request.header(AUTHORIZATION, token),
            None => request,
        }
    }

    /// The whole body, if it is JSON, fresh and not too large.
    async fn body(&self, mut response: Response) -> Result<(StatusCode, Vec<u8>), Trouble> {
        let status = response.status();
        let header = |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or("");
        if status.is_redirection() {
            let to = header(LOCATION).to_owned();
            return Err(self
                .no_verifier(format!("answered with a redirect to `{}`, which is not followed", printable(&to)))
                .hint("give the verifier's own address with --server"));
        }
        let cached = header(AGE).trim().parse::<u64>().ok();
        if cached.is_some_and(|age| age > MAX_EPOCH_GAP.as_secs()) {
            return Err(Trouble::new(Exit::UNKNOWN, format!("the answer of {} comes from a cache", self.server()))
                .hint("give the verifier's own address with --server"));
        }
        let kind = header(CONTENT_TYPE).to_ascii_lowercase();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if body.len() + chunk.len() > MAX_BODY {
                return Err(self.no_verifier(format!("answered with more than {} MiB", MAX_BODY >> 20)));
            }
            body.extend_from_slice(&chunk);
        }
        if kind.contains("json") {
            return Ok((status, body));
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
        let default = if self.token.is_some() {
            "the token is not known there, or its role does not allow this"
        } else {
            "give a token with --token-file FILE or in PHASEGATE_TOKEN"
        };
        Trouble::new(Exit::AUTH, message).hint(hint.unwrap_or_else(|| default.to_owned()))
    }

    fn no_verifier(&self, what: impl Display) -> Trouble {
        Trouble::new(Exit::UNREACHABLE, format!("{} {what}", self.server()))
            .hint("is this the verifier's address? see --server and PHASEGATE_SERVER")
    }

    fn unreachable(&self, error: &reqwest::Error) -> Trouble {
        if error.is_timeout() {
            let message = format!("{} gave no full answer within {}", self.server(), humantime::format_duration(self.timeout));
            return Trouble::new(Exit::UNREACHABLE, message).hint("is the verifier overloaded or frozen? see --request-timeout");
        }
        let what = if error.is_connect() { "can not be reached" } else { "broke off its answer" };
        Trouble::new(Exit::UNREACHABLE, format!("{} {what}: {}", self.server(), root(error)))
            .hint("is the verifier running? its address comes from --server or PHASEGATE_SERVER")
    }
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
fn root(error: &dyn Error) -> String {
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
