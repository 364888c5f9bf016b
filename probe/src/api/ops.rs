//! Operations: metrics, health and reload.

use axum::Json;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;

use super::extract::Operator;
use super::problem::Problem;
use super::shared::{Shared, is_alive};
use super::types::{ErrorBody, HealthBody, Receipt};
use crate::ledger::Reading;

const OPENMETRICS: &str = "application/openmetrics-text";
/// Metrics for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "operations", responses(
    (status = 200, description = "OpenMetrics when it is accepted, otherwise the classic text format", content_type = "text/plain", body = String),
    (status = 500, body = ErrorBody)))]
pub(super) async fn metrics(State(shared): State<Shared>, headers: HeaderMap) -> Result<impl IntoResponse, Problem> {
    let openmetrics = accepts_openmetrics(&headers);
    let failed = |detail: String| {
        tracing::error!(detail, "the metrics can not be rendered");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "encoding", "the metrics can not be encoded")
    };
    let render = move || shared.app.metrics.render(&shared.app.ledger.read(), openmetrics);
    // With thousands of probes this takes long enough to hold up others.
    let body = tokio::task::spawn_blocking(render).await.map_err(|error| failed(error.to_string()))?;
    let body = body.map_err(|error| failed(error.to_string()))?;
    Ok(([(CONTENT_TYPE, exposition_type(openmetrics))], body))
}

/// The content type of either format.
pub(crate) const fn exposition_type(openmetrics: bool) -> &'static str {
    if openmetrics {
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    } else {
        "text/plain; version=0.0.4; charset=utf-8"
    }
}

/// Whether a scraper asks for OpenMetrics instead of the classic text format.
pub(crate) fn accepts_openmetrics(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let offered = |range: &str| {
        let mut words = range.split(';').map(str::trim);
        let named = words.next().is_some_and(|name| name.eq_ignore_ascii_case(OPENMETRICS));
        let refused = words.filter_map(|word| word.strip_prefix("q=")).any(|q| q.parse::<f32>().is_ok_and(|q| q <= 0.0));
        named && !refused
    };
    accepted.into_iter().any(offered)
}

fn health(reading: &Reading, message: &str) -> HealthBody {
    HealthBody {
        message: message.to_owned(),
        epoch: reading.snapshot.evaluation.as_ref().map(|evaluation| evaluation.epoch),
        age_seconds: reading.age().map(|age| age.as_secs_f64()),
    }
}

/// Whether the verifier's evaluator gets to run
#[utoipa::path(get, path = "/-/healthy", tag = "operations", responses((status = 200, body = HealthBody), (status = 503, body = HealthBody)))]
pub(super) async fn healthy(State(shared): State<Shared>) -> (StatusCode, Json<HealthBody>) {
    let reading = shared.app.ledger.read();
    match &reading.snapshot.evaluation {
        Some(evaluation) if !is_alive(evaluation, &reading) => {
            (StatusCode::SERVICE_UNAVAILABLE, Json(health(&reading, "the evaluator does not get to run")))
        }
        Some(_) => (StatusCode::OK, Json(health(&reading, "healthy"))),
        None => (StatusCode::OK, Json(health(&reading, "starting"))),
    }
}

/// Whether gates can be answered
#[utoipa::path(get, path = "/-/ready", tag = "operations", responses((status = 200, body = HealthBody), (status = 503, body = ErrorBody)))]
pub(super) async fn ready(State(shared): State<Shared>) -> Result<Json<HealthBody>, Problem> {
    Ok(Json(health(&shared.reading()?, "ready")))
}

/// Read the Migration document again
///
/// The answer does not wait for it: `configError` of `/v1/status` says how it fared.
#[utoipa::path(post, path = "/-/reload", tag = "operations", security(("bearer" = [])),
    responses((status = 202, body = Receipt), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody)))]
pub(super) async fn reload(State(shared): State<Shared>, Operator(by): Operator) -> (StatusCode, Json<Receipt>) {
    tracing::info!(actor = by, "reload asked for");
    shared.app.reload.notify_one();
    (StatusCode::ACCEPTED, Json(Receipt { message: "the document is read again".to_owned(), phase: None, id: None }))
}
