//! One HTTP request with bounded time and size, and what its errors mean.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{RequestBuilder, StatusCode};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::error::Category;
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::clients::{Clients, MAX_BODY};
use crate::outcome::{Outcome, ReasonSpec};
use crate::secret::SecretRef;

use super::{Budget, causes, dial, reasons, shown, words};

/// Not an HTTP server.
pub(crate) const NOT_HTTP: ReasonSpec =
    ReasonSpec::fail("not_http", "correct the address or its scheme: what listens there does not speak HTTP");
/// An HTML page where data was due.
pub(crate) const HTML: ReasonSpec = ReasonSpec::fail(
    "html",
    "correct the URL: an HTML page came instead of data, so another server or a login page answers there",
);
/// The target wants to send us elsewhere.
pub(crate) const REDIRECT: ReasonSpec =
    ReasonSpec::fail("redirect", "use the final URL: redirects are not followed, they often lead to a login page");
/// The target does not accept the credentials.
pub(crate) const DENIED: ReasonSpec =
    ReasonSpec::fail("denied", "correct the credentials or the tenant: the target does not accept them");
/// The reply ended early.
pub(crate) const TRUNCATED: ReasonSpec = ReasonSpec::unknown("truncated", "look for a proxy or network that cuts replies short");
/// The reply does not end.
pub(crate) const TOO_LARGE: ReasonSpec =
    ReasonSpec::unknown("too_large", "point the probe at a smaller reply: it reads 4 MiB at most");
/// The reply is of the right kind but damaged.
pub(crate) const UNPARSABLE: ReasonSpec =
    ReasonSpec::unknown("unparsable", "compare the reply with the target's documentation: it is damaged, or in another format");

/// The target does not accept a token that is ours alone. Nothing is wrong with the stack: we could not look.
pub(crate) const TOKEN_REFUSED: ReasonSpec = ReasonSpec::unknown(
    "token_refused",
    "give the target a valid `token` that may do what the probe asks: the verifier's own is missing, wrong or too weak",
);

/// What a reply over HTTP can be, whatever was asked.
pub(crate) const REPLIES: &[ReasonSpec] =
    &[reasons::TLS, reasons::UNTRUSTED_CERTIFICATE, NOT_HTTP, HTML, REDIRECT, DENIED, TRUNCATED, TOO_LARGE, UNPARSABLE];

/// Longest quote from a reply, in characters.
const MAX_QUOTE: usize = 200;

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    /// Status code.
    pub(crate) status: StatusCode,
    /// From asking to the last byte.
    pub(crate) took: Duration,
    place: String,
    content_type: String,
    location: Option<String>,
    body: Vec<u8>,
    cut: Option<Outcome>,
    secrets: Vec<String>,
}

/// The header that carries a token, and what [`Reply::hide`] must take out of quotes. Read anew each time, so that a rotated
/// token is picked up. Without a token there is nothing to send.
pub(crate) async fn bearer(token: Option<&SecretRef>) -> Result<(HeaderMap, Vec<String>), Outcome> {
    let mut headers = HeaderMap::new();
    let Some(reference) = token else { return Ok((headers, Vec::new())) };
    let secret = reference.resolve().await.map_err(|error| reasons::SECRET_MISSING.because(error.to_string()))?;
    let token = secret.expose_secret();
    let mut value = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| reasons::SECRET_MISSING.because(format!("{reference}: what was read can not be sent in a header")))?;
    value.set_sensitive(true);
    headers.insert(AUTHORIZATION, value);
    Ok((headers, vec![token.to_owned()]))
}

/// Asks once. `Err` when not even a status came back.
pub(crate) async fn get(clients: &Clients, url: &Url, headers: HeaderMap, budget: Budget) -> Result<Reply, Outcome> {
    ask(clients, url, clients.http.get(url.clone()).headers(headers), budget).await
}

/// Asks once with a question that is too long for a URL. `Err` as for [`get`].
pub(crate) async fn post(
    clients: &Clients,
    url: &Url,
    headers: HeaderMap,
    body: &Value,
    budget: Budget,
) -> Result<Reply, Outcome> {
    ask(clients, url, clients.http.post(url.clone()).headers(headers).json(body), budget).await
}

async fn ask(clients: &Clients, url: &Url, request: RequestBuilder, budget: Budget) -> Result<Reply, Outcome> {
    let place = shown(url);
    clients.names.pin(url.host_str().unwrap_or_default(), budget).await?;
    let start = Instant::now();
    let asked = request.header(CACHE_CONTROL, "no-cache").send();
    let mut response = match timeout_at(budget.end, asked).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return Err(failed(error, &place)),
        Err(_) => {
            return Err(reasons::TIMEOUT.because(format!("{place}: no answer within {:?}", budget.timeout())));
        }
    };
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (content_type, location) = (text(CONTENT_TYPE).unwrap_or_default(), text(LOCATION));
    let status = response.status();
    let mut body = Vec::new();
    let cut = loop {
        match timeout_at(budget.end, response.chunk()).await {
            Ok(Ok(None)) => break None,
            Ok(Ok(Some(chunk))) if body.len() + chunk.len() > MAX_BODY => {
                break Some(TOO_LARGE.because(format!("{place}: the reply is larger than {MAX_BODY} bytes")));
            }
            Ok(Ok(Some(chunk))) => body.extend_from_slice(&chunk),
            Ok(Err(error)) => {
                let why = words(&error.without_url());
                break Some(TRUNCATED.because(format!("{place}: the reply ended after {} bytes: {why}", body.len())));
            }
            Err(_) => {
                let evidence = format!("{place}: {} bytes, but no whole reply within {:?}", body.len(), budget.timeout());
                break Some(reasons::TIMEOUT.because(evidence));
            }
        }
    };
    Ok(Reply { status, took: start.elapsed(), place, content_type, location, body, cut, secrets: Vec::new() })
}

impl Reply {
    /// Takes these secrets out of whatever is quoted, in case the target repeats what we sent.
    pub(crate) fn hide(mut self, secrets: Vec<String>) -> Self {
        self.secrets = secrets;
        self
    }

    /// Where it came from, as evidence may show it.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// The body, if all of it arrived.
    pub(crate) fn whole(&self) -> Result<&[u8], Outcome> {
        self.cut.clone().map_or(Ok(&self.body), Err)
    }

    /// The body as JSON. An HTML page is another server; anything else that can not be parsed is damage.
    pub(crate) fn json(&self) -> Result<Value, Outcome> {
        if self.is_html() {
            return Err(HTML.because(self.quote()));
        }
        serde_json::from_slice(self.whole()?).map_err(|error| UNPARSABLE.because(format!("{error} in {}", self.quote())))
    }

    /// The body as what is expected of it. Nothing of the body is shown, for replies that may hold secrets.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, Outcome> {
        if self.is_html() {
            return Err(HTML.because(self.headline()));
        }
        let place = |error: serde_json::Error| {
            let what = match error.classify() {
                Category::Data => "not what is expected",
                Category::Syntax | Category::Eof | Category::Io => "no JSON",
            };
            let (line, column) = (error.line(), error.column());
            UNPARSABLE.because(format!("{}: {what} at line {line}, column {column}", self.headline()))
        };
        serde_json::from_slice(self.whole()?).map_err(place)
    }

    /// Whether it is a web page.
    pub(crate) fn is_html(&self) -> bool {
        let mime = self.content_type.to_ascii_lowercase();
        let start = self.text().trim_start_matches('\u{feff}').trim_start().chars().take(14).collect::<String>();
        let start = start.to_ascii_lowercase();
        mime.starts_with("text/html")
            || mime.starts_with("application/xhtml")
            || start.starts_with("<!doctype html")
            || start.starts_with("<html")
    }

    /// As much of the body as arrived.
    pub(crate) fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// Place, status and the beginning of the body, for evidence.
    pub(crate) fn quote(&self) -> String {
        let mut quote = self.headline();
        let text = self.clip(self.text().trim());
        if !text.is_empty() {
            quote.push_str(": ");
            quote.push_str(&text);
        }
        quote
    }

    /// Place and status. Of a redirect the place it leads to, without its query.
    pub(crate) fn headline(&self) -> String {
        let mut quote = format!("{}: {}", self.place, self.status);
        if let Some(location) = self.location.as_deref().filter(|_| self.status.is_redirection()) {
            let place = Url::parse(location)
                .map_or_else(|_| location.split(['?', '#']).next().unwrap_or_default().to_owned(), |url| shown(&url));
            quote.push_str(" to ");
            quote.push_str(&self.clip(&place));
        }
        quote
    }

    /// The beginning of something the target said, without our secrets.
    pub(crate) fn clip(&self, text: &str) -> String {
        let text = self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "***"));
        let mut clipped: String = text.chars().take(MAX_QUOTE).collect();
        if clipped.len() < text.len() {
            clipped.push('…');
        }
        clipped
    }
}

fn failed(error: reqwest::Error, place: &str) -> Outcome {
    let error = error.without_url();
    let evidence = format!("{place}: {}", words(&error));
    reason_of(&error).because(evidence)
}

/// Walks from the client's error to what happened below it.
fn reason_of(error: &reqwest::Error) -> ReasonSpec {
    let mut reason = if error.is_timeout() { reasons::TIMEOUT } else { reasons::LOCAL };
    for cause in causes(error) {
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return tls_reason(tls);
        }
        match cause.downcast_ref::<hyper::Error>() {
            Some(http) if http.is_parse() => return NOT_HTTP,
            Some(http) if http.is_incomplete_message() => return reasons::RESET,
            _ => {}
        }
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            reason = dial::reason_of(io);
        }
    }
    reason
}

/// Which side a TLS error speaks of.
#[expect(clippy::wildcard_enum_match_arm, reason = "all other errors are the target's")]
fn tls_reason(error: &rustls::Error) -> ReasonSpec {
    match error {
        rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer) => reasons::UNTRUSTED_CERTIFICATE,
        _ => reasons::TLS,
    }
}

#[cfg(test)]
mod tests;
