//! One request to the API server with bounded time and size, and what its errors mean.

use std::time::Duration;

use hyper::{Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use kube::core::Status;
use tokio::time::{Instant, timeout, timeout_at};

use crate::clients::MAX_BODY;
use crate::net::words;
use crate::outcome::{Outcome, ReasonSpec};

use super::lines::{Broken, Lines};
use super::{API_UNAUTHORIZED, API_UNREACHABLE, API_UNREADABLE, FORBIDDEN};

/// How long the API server may take until it begins to answer. It answers from memory; more is trouble.
pub(super) const ANSWER: Duration = Duration::from_secs(5);
/// Longest quote of its words, in characters.
const MAX_QUOTE: usize = 240;

/// What is asked for, for evidence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Asked {
    /// `list` or `watch`.
    pub(super) verb: &'static str,
    /// The API group; empty for the core.
    pub(super) group: String,
    /// The resource, in the plural.
    pub(super) resource: String,
    /// The namespace; none for things that are in none.
    pub(super) namespace: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Trouble {
    /// The resource version is too old: list anew.
    Gone,
    /// It may pass by itself: what was known before counts on, for as long as it may count in silence.
    Passing(Outcome),
    /// The API server has answered, and we can not look.
    Said(Outcome),
}

impl Asked {
    fn place(&self) -> String {
        let namespace = self.namespace.as_ref().map(|name| format!(" in namespace {name}")).unwrap_or_default();
        format!("{} {}{namespace}", self.verb, self.resource)
    }

    /// What it means that the API server denies it: the rule that is missing, ready to be added.
    fn forbidden(&self, said: &str) -> Outcome {
        let Self { verb, group, resource, namespace } = self;
        let (role, place) = match namespace {
            Some(name) => ("Role", format!(" in namespace {name}")),
            None => ("ClusterRole", String::new()),
        };
        let rule = format!("{{apiGroups: [\"{group}\"], resources: [{resource}], verbs: [list, watch]}}");
        let evidence =
            format!("may not {verb} {resource} of API group \"{group}\"{place}; add to a {role}{place}: {rule}; {said}");
        FORBIDDEN.because(evidence)
    }

    fn broken(&self, broken: Broken) -> Trouble {
        let place = self.place();
        match broken {
            Broken::Cut(words) => Trouble::Passing(API_UNREADABLE.because(format!("{place}: the reply was cut: {words}"))),
            Broken::Large(limit) => {
                Trouble::Said(API_UNREADABLE.because(format!("{place}: the reply is larger than {limit} bytes")))
            }
        }
    }

    pub(super) fn unreadable(&self, words: &str) -> Trouble {
        Trouble::Said(API_UNREADABLE.because(format!("{}: {}", self.place(), clip(words))))
    }

    pub(super) fn silent(&self, reason: ReasonSpec, after: Duration) -> Trouble {
        Trouble::Passing(reason.because(format!("{}: no answer within {after:?}", self.place())))
    }

    /// What an answer of the API server means that is no answer.
    pub(super) fn refused(&self, code: u16, said: &str) -> Trouble {
        let (place, said) = (self.place(), clip(said));
        match code {
            410 => Trouble::Gone,
            401 => Trouble::Said(API_UNAUTHORIZED.because(format!("{place}: {code}: {said}"))),
            403 => Trouble::Said(self.forbidden(&said)),
            429 | 500..=599 => Trouble::Passing(API_UNREACHABLE.because(format!("{place}: {code}: {said}"))),
            _ => Trouble::Said(API_UNREADABLE.because(format!("{place}: {code}: {said}"))),
        }
    }

    /// Asks. What comes back is an answer in JSON that has begun.
    pub(super) async fn open(&self, client: &Client, request: Request<Vec<u8>>) -> Result<Response<Body>, Trouble> {
        let sent = timeout(ANSWER, client.send(request.map(Body::from))).await;
        let response = match sent {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                let evidence = format!("{}: {}", self.place(), clip(&words(&error)));
                return Err(Trouble::Passing(API_UNREACHABLE.because(evidence)));
            }
            Err(_) => return Err(self.silent(API_UNREACHABLE, ANSWER)),
        };
        let status = response.status();
        let header = response.headers().get(hyper::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let json = header.unwrap_or_default().starts_with("application/json");
        if status == StatusCode::OK && json {
            return Ok(response);
        }
        let kind = header.unwrap_or("no content type").to_owned();
        let body = timeout(ANSWER, Lines::new(response.into_body(), MAX_BODY).whole()).await;
        let body = body.ok().and_then(Result::ok).unwrap_or_default();
        match serde_json::from_slice::<Status>(&body).ok().filter(|_| json && status != StatusCode::OK) {
            Some(said) => Err(self.refused(status.as_u16(), &said.message)),
            // Words of another server; a code of its own may be true all the same.
            None if matches!(status.as_u16(), 401 | 403) || status.is_server_error() => {
                Err(self.refused(status.as_u16(), &String::from_utf8_lossy(&body)))
            }
            None => Err(self.unreadable(&format!("{status}, {kind}: {}", String::from_utf8_lossy(&body)))),
        }
    }

    /// Asks, and reads the whole answer.
    pub(super) async fn read(&self, client: &Client, request: Request<Vec<u8>>) -> Result<Vec<u8>, Trouble> {
        let end = Instant::now() + ANSWER * 2;
        let response = self.open(client, request).await?;
        match timeout_at(end, Lines::new(response.into_body(), MAX_BODY).whole()).await {
            Ok(body) => body.map_err(|broken| self.broken(broken)),
            Err(_) => Err(self.silent(API_UNREACHABLE, ANSWER * 2)),
        }
    }

    /// The next line of an answer, by `end`.
    pub(super) async fn line(&self, lines: &mut Lines, end: Instant, reason: ReasonSpec) -> Result<Option<Vec<u8>>, Trouble> {
        let start = Instant::now();
        match timeout_at(end, lines.next()).await {
            Ok(line) => line.map_err(|broken| self.broken(broken)),
            Err(_) => Err(self.silent(reason, end.saturating_duration_since(start))),
        }
    }
}

/// The beginning of what somebody said.
fn clip(words: &str) -> String {
    let mut clipped: String = words.trim().chars().take(MAX_QUOTE).collect();
    if clipped.len() < words.trim().len() {
        clipped.push('…');
    }
    clipped
}
