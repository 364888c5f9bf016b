//! The ways to a verifier: straight to its address, or through the API server of a cluster.

use std::error::Error;
use std::sync::Arc;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::HeaderMap;
use futures::future::{BoxFuture, ready};
use futures::{FutureExt, StreamExt};
use reqwest::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use tokio::time::{Instant, timeout_at};

use super::root;
use crate::cutover::cluster::Cluster;
use crate::cutover::trouble::Trouble;

/// How the verifier is reached.
#[derive(Clone)]
pub(super) enum Way {
    /// At its own address.
    Direct { http: reqwest::Client, base: Url, token: Option<HeaderValue> },
    /// As a service of a cluster.
    Cluster(Arc<Cluster>),
    /// Not at all; why.
    None(Trouble),
}

/// One request, whichever way it goes.
pub(in crate::cutover) struct Question<'a> {
    pub(in crate::cutover) method: Method,
    pub(in crate::cutover) path: &'a [&'a str],
    pub(in crate::cutover) query: &'a [(&'a str, String)],
    /// JSON.
    pub(in crate::cutover) body: Option<Vec<u8>>,
    /// Whether the verifier has to know who asks. Who only looks needs no token, and gives none away.
    pub(in crate::cutover) named: bool,
}

/// An answer that has begun.
pub(super) enum Reply {
    Direct(reqwest::Response),
    Cluster { status: StatusCode, headers: HeaderMap, body: BodyDataStream, until: Instant },
}

/// Why there is no answer, or no whole one.
pub(in crate::cutover) enum Lost {
    /// It took too long.
    Slow,
    /// Nothing was sent: no connection.
    Connect(String),
    /// It broke off.
    Broken(String),
    /// Nothing was sent: why.
    Unsent(Trouble),
}

impl Way {
    /// Sends a request; `until` is when the whole answer has to be there.
    pub(super) fn send(&self, question: Question<'_>, until: Instant) -> BoxFuture<'static, Result<Reply, Lost>> {
        match self {
            Self::Direct { http, base, token } => {
                let url = url(base, &question);
                let request = http.request(question.method, url);
                let request = request.header(ACCEPT, "application/json").header(CACHE_CONTROL, "no-cache, no-store");
                let request = token.iter().fold(request, |request, token| request.header(AUTHORIZATION, token));
                let request = match question.body {
                    Some(body) => request.header(CONTENT_TYPE, "application/json").body(body),
                    None => request,
                };
                async move { request.send().await.map(Reply::Direct).map_err(|error| Lost::from(&error)) }.boxed()
            }
            Self::Cluster(cluster) => {
                let (cluster, request, named) = (Arc::clone(cluster), cluster.request(&question), question.named);
                async move {
                    let answered = timeout_at(until, cluster.send(request?, named)).await.map_err(|_| Lost::Slow)??;
                    let (parts, body) = answered.into_parts();
                    let body = Body::new(body).into_data_stream();
                    Ok(Reply::Cluster { status: parts.status, headers: parts.headers, body, until })
                }
                .boxed()
            }
            Self::None(trouble) => ready(Err(Lost::Unsent(trouble.clone()))).boxed(),
        }
    }
}

/// Where a request goes below this address.
pub(in crate::cutover) fn url(base: &Url, question: &Question<'_>) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().push("v1").extend(question.path);
    }
    if !question.query.is_empty() {
        url.query_pairs_mut().extend_pairs(question.query);
    }
    url
}

impl Reply {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Direct(response) => response.status(),
            Self::Cluster { status, .. } => *status,
        }
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        match self {
            Self::Direct(response) => response.headers(),
            Self::Cluster { headers, .. } => headers,
        }
    }

    /// The next piece of the body.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Lost> {
        match self {
            Self::Direct(response) => response.chunk().await.map_err(|error| Lost::from(&error)),
            Self::Cluster { body, until, .. } => match timeout_at(*until, body.next()).await {
                Ok(chunk) => chunk.transpose().map_err(|error| Lost::Broken(root(&error))),
                Err(_) => Err(Lost::Slow),
            },
        }
    }
}

impl From<&reqwest::Error> for Lost {
    fn from(error: &reqwest::Error) -> Self {
        if error.is_timeout() {
            Self::Slow
        } else if error.is_connect() {
            Self::Connect(root(error))
        } else {
            Self::Broken(root(error))
        }
    }
}

impl From<&kube::Error> for Lost {
    fn from(error: &kube::Error) -> Self {
        let mut cause: Option<&dyn Error> = Some(error);
        while let Some(error) = cause {
            // What never had a connection has done nothing; everything else may have.
            if error.downcast_ref::<std::io::Error>().is_some_and(|error| never_sent(error.kind())) {
                return Self::Connect(root(error));
            }
            cause = error.source();
        }
        Self::Broken(root(error))
    }
}

fn never_sent(kind: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind as Kind;
    [Kind::ConnectionRefused, Kind::HostUnreachable, Kind::NetworkUnreachable].contains(&kind)
}
