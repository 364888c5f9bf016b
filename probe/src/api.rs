//! The HTTP API: `/v1`, `/metrics` and the operational endpoints.
//!
//! No request ever starts a check: every answer comes from the newest Snapshot. Gates are answered in the outermost layer
//! ([`shared::Ask`]), so that what counts is the age of the evaluation when the answer leaves, not when the question came.

mod beats;
mod extract;
mod gates;
mod ops;
mod page;
mod parts;
mod past;
mod phases;
mod probes;
mod problem;
pub mod reasons;
mod records;
mod render;
mod report;
mod serve;
mod shared;
mod status;
mod steps;
mod targets;
mod token;
pub mod types;
mod words;

use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use beats::Beats;
pub(crate) use ops::{accepts_openmetrics, exposition_type};
pub use serve::serve;
pub use shared::{AppState, ConfigStatus, Waker};
pub(crate) use status::summary;

use problem::Problem;
use shared::{Ask, Shared};

/// The largest body of a request, in bytes.
const MAX_BODY: usize = 256 * 1024;
/// A request that takes longer, its body included, is given up.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The router, and its OpenAPI document as it is served at `/v1/openapi.json`.
pub fn app(state: AppState) -> (Router, OpenApi) {
    let shared = Shared::new(state);
    let (router, mut openapi) = OpenApiRouter::new()
        .routes(routes!(gates::list))
        .routes(routes!(gates::one))
        .routes(routes!(gates::check))
        .routes(routes!(gates::entry))
        .routes(routes!(gates::entry_check))
        .routes(routes!(gates::rollback))
        .routes(routes!(past::at))
        .routes(routes!(status::status))
        .routes(routes!(token::token))
        .routes(routes!(probes::list))
        .routes(routes!(probes::one))
        .routes(routes!(probes::runs))
        .routes(routes!(probes::run))
        .routes(routes!(probes::forget))
        .routes(routes!(probes::heartbeat))
        .routes(routes!(phases::begin))
        .routes(routes!(phases::switch))
        .routes(routes!(phases::complete))
        .routes(routes!(phases::rollback))
        .routes(routes!(phases::adopt))
        .routes(routes!(phases::acknowledge))
        .routes(routes!(steps::plan))
        .routes(routes!(steps::lock, steps::take_lock))
        .routes(routes!(steps::renew_lock))
        .routes(routes!(steps::release_lock))
        .routes(routes!(steps::start))
        .routes(routes!(steps::worked))
        .routes(routes!(steps::end))
        .routes(routes!(steps::rehearsal))
        .routes(routes!(steps::approve))
        .routes(routes!(targets::decommission))
        .routes(routes!(targets::recommission))
        .routes(routes!(records::overrides, records::create_override))
        .routes(routes!(records::revoke_override))
        .routes(routes!(records::facts))
        .routes(routes!(records::fact, records::record_fact))
        .routes(routes!(records::audit))
        .routes(routes!(report::report))
        .routes(routes!(ops::metrics))
        .routes(routes!(ops::healthy))
        .routes(routes!(ops::ready))
        .routes(routes!(ops::reload))
        .split_for_parts();
    describe(&mut openapi);
    let document = openapi.clone();
    let router = router
        .route("/", get(page::page))
        .route("/v1/openapi.json", get(|| async move { Json(document) }))
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn(in_time))
        .layer(from_fn_with_state(shared.clone(), last_look))
        .with_state(shared);
    (router, openapi)
}

fn describe(openapi: &mut OpenApi) {
    "phasegate".clone_into(&mut openapi.info.title);
    env!("CARGO_PKG_VERSION").clone_into(&mut openapi.info.version);
    openapi.info.description =
        Some("Is this gate open? Evidence for migrating an observability stack, phase by phase.".to_owned());
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    openapi.components.get_or_insert_default().add_security_scheme("bearer", bearer);
}

/// Gives a request up that takes too long.
async fn in_time(request: Request, next: Next) -> Response {
    let late = || Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the request took too long");
    tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await.unwrap_or_else(|_| late().into_response())
}

/// The outermost layer: gates are answered here, right before the answer is handed out.
async fn last_look(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let head = request.method() == Method::HEAD;
    let response = next.run(request).await;
    let asked = response.extensions().get::<Ask>().cloned();
    let mut response = asked.map_or(response, |ask| ask.answer(&shared));
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if head { shared::headless(response) } else { response }
}

#[cfg(test)]
pub(crate) mod tests;
