//! Answers that are not 2xx: always JSON, with a stable code and a next step.

use axum::Json;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::types::{AUDIENCE, ErrorBody, TOKEN_HEADER};
use crate::auth::Denied;
use crate::gate::Verdict;

/// The longest list of known names in a message.
const NAMES: usize = 20;

/// An answer that is not 2xx.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    status: StatusCode,
    body: Box<ErrorBody>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let body = ErrorBody { code: code.to_owned(), message: message.into(), verdict: None, blockers: Vec::new(), hint: None };
        Self { status, body: Box::new(body) }
    }

    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.body.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub(super) fn because(mut self, verdict: Option<Verdict>, blockers: Vec<super::types::BlockerBody>) -> Self {
        self.body.verdict = verdict;
        self.body.blockers = blockers;
        self
    }

    /// Nothing of that name; the names that there are.
    pub(super) fn unknown<'a>(kind: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.collect();
        let listed = known.iter().take(NAMES).copied().collect::<Vec<_>>().join(", ");
        let more = known.len().saturating_sub(NAMES);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        let there_is = if known.is_empty() { "there is none".into() } else { format!("there is {listed}{rest}") };
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("no {kind} `{}`; {there_is}", clipped(name)))
            .hint("GET /v1/status names everything there is")
    }

    /// Nothing can be answered yet.
    pub(super) fn not_ready(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", message)
            .hint("wait for the verifier's first evaluation; its log says what keeps it")
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }
}

/// A name from outside, short enough for a message.
fn clipped(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { ' ' } else { c }).take(100).collect()
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status;
        let mut response = (status, Json(self.body)).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Disabled => Self::new(
                StatusCode::FORBIDDEN,
                "writes_disabled",
                "this verifier takes no changes: it runs without a token file",
            )
            .hint("start it with `--web.token.file FILE`, one `NAME ROLE TOKEN` per line, or with `--web.kubernetes.auth`"),
            Denied::Missing => {
                Self::new(StatusCode::UNAUTHORIZED, "token_missing", "a bearer token is needed to change anything")
                    .hint("send `Authorization: Bearer TOKEN`; with cutover: `--token-file` or `PHASEGATE_TOKEN`")
            }
            Denied::Contradiction => {
                Self::new(StatusCode::UNAUTHORIZED, "token_invalid", "two different tokens were sent, so nobody knows who asks")
                    .hint(format!("send one token, as `Authorization: Bearer TOKEN` or as `{TOKEN_HEADER}: TOKEN`"))
            }
            Denied::Unvouched { namespace } => Self::new(
                StatusCode::UNAUTHORIZED,
                "token_invalid",
                "this token is known neither to the token file nor to Kubernetes; it may be expired, or made for somebody else",
            )
            .hint(format!("`kubectl create token SERVICE-ACCOUNT -n {namespace} --audience={AUDIENCE}` makes one that is")),
            Denied::Unusable(why) => Self::new(
                StatusCode::UNAUTHORIZED,
                "token_invalid",
                format!("Kubernetes vouches for this token in a way that can not be used: {why}"),
            )
            .hint("see what answers in the API server's place: `kubectl auth whoami` with the same token"),
            Denied::Forbidden(missing) => Self::new(StatusCode::FORBIDDEN, "role", missing.message()).hint(missing.hint()),
            Denied::Unanswered { why, next } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "unknown_identity",
                format!(
                    "nothing was changed: it is unknown who asks and what they may do, since the API server can not tell: {why}"
                ),
            )
            .hint(next),
            Denied::Invalid => Self::new(StatusCode::UNAUTHORIZED, "token_invalid", "this token is not known")
                .hint("compare it with the verifier's token file"),
            Denied::Role { name, has, needs } => Self::new(
                StatusCode::FORBIDDEN,
                "role",
                format!("token {name} has the role {}; this takes {}", has.as_str(), needs.as_str()),
            )
            .hint("use a token whose role includes it"),
        }
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_path", rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_query", rejection.body_text())
    }
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Self {
        let status = rejection.status();
        let code = if status == StatusCode::PAYLOAD_TOO_LARGE { "too_large" } else { "bad_body" };
        Self::new(status, code, rejection.body_text())
    }
}

/// 404 for paths that do not exist.
pub(super) async fn no_such_path(uri: axum::http::Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", format!("no such path: {}", clipped(uri.path())))
        .hint("GET /v1/openapi.json lists every path")
}

/// 405 for methods that a path does not have.
pub(super) async fn no_such_method(method: axum::http::Method, uri: axum::http::Uri) -> Problem {
    let message = format!("{} does not take {}", clipped(uri.path()), clipped(method.as_str()));
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
        .hint("the header Allow names the methods it takes")
}
