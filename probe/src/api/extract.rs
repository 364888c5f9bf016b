//! What handlers take from a request; each failure is a JSON answer.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use super::problem::Problem;
use super::shared::Shared;
use crate::auth::Role;

/// Parts of the path.
pub(super) struct In<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Shared> for In<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, Problem> {
        Ok(Self(Path::from_request_parts(parts, state).await?.0))
    }
}

/// The query.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Shared> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, Problem> {
        Ok(Self(Query::from_request_parts(parts, state).await?.0))
    }
}

/// The name of a token that may operate.
pub(super) struct Operator(pub(super) String);

impl FromRequestParts<Shared> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, Problem> {
        Ok(Self(state.app.auth.actor(&parts.headers, Role::Operate).await?))
    }
}

/// The name of a token that may approve.
pub(super) struct Approver(pub(super) String);

impl FromRequestParts<Shared> for Approver {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, Problem> {
        Ok(Self(state.app.auth.actor(&parts.headers, Role::Approve).await?))
    }
}

/// The name of a token that may send heartbeats.
pub(super) struct Sender(pub(super) String);

impl FromRequestParts<Shared> for Sender {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, Problem> {
        Ok(Self(state.app.auth.actor(&parts.headers, Role::Heartbeat).await?))
    }
}

/// A JSON body.
pub(super) struct Said<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Shared> for Said<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", "the body must be JSON")
                .hint("send `Content-Type: application/json`"));
        }
        let bytes = Bytes::from_request(request, state).await?;
        parse(&bytes).map(Self)
    }
}

/// A JSON body, or none.
pub(super) struct MaybeSaid<T>(pub(super) T);

impl<T: DeserializeOwned + Default> FromRequest<Shared> for MaybeSaid<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, Problem> {
        let bytes = Bytes::from_request(request, state).await?;
        if bytes.is_empty() { Ok(Self(T::default())) } else { parse(&bytes).map(Self) }
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let invalid = |error: serde_json::Error| {
        let code = if error.is_data() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::BAD_REQUEST };
        Problem::new(code, "bad_body", format!("the body can not be read: {error}")).hint("GET /v1/openapi.json describes it")
    };
    serde_json::from_slice(bytes).map_err(invalid)
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}
