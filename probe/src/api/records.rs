//! Overrides, facts and the audit trail.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Asked, In, Operator, Said};
use super::problem::Problem;
use super::render::stamp;
use super::shared::Shared;
use super::types::{ErrorBody, FactBody, FactNameBody, FactsBody, OverrideRequest, OverridesBody, Receipt};
use crate::audit::AuditPage;
use crate::event::{Event, Terms, Wish};

/// Frames of the audit trail in one page, unless asked for fewer.
const PAGE: usize = 100;
/// Frames of the audit trail in one page at most.
const MAX_PAGE: usize = 1000;

/// The active overrides
#[utoipa::path(get, path = "/v1/overrides", tag = "overrides", responses((status = 200, body = OverridesBody), (status = 503, body = ErrorBody)))]
pub(super) async fn overrides(State(shared): State<Shared>) -> Result<Json<OverridesBody>, Problem> {
    let reading = shared.reading()?;
    Ok(Json(OverridesBody { overrides: shared.view(&reading)?.overrides() }))
}

/// A time-boxed exception for one probe
#[utoipa::path(post, path = "/v1/overrides", tag = "overrides", request_body = OverrideRequest, security(("bearer" = [])),
    responses((status = 201, body = Receipt), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 422, body = ErrorBody),
    (status = 507, description = "The ledger can not be written", body = ErrorBody)))]
pub(super) async fn create_override(
    State(shared): State<Shared>,
    Operator(by): Operator,
    Said(said): Said<OverrideRequest>,
) -> Result<(StatusCode, Json<Receipt>), Problem> {
    let OverrideRequest { probe, reason, ticket, ttl_seconds } = said;
    let wish = Wish::Override { probe: probe.as_str().into(), reason, ticket, ttl: Duration::from_secs(ttl_seconds) };
    let events = shared.command(by, wish, Terms::default()).await?;
    let id = events.iter().find_map(|event| if let Event::OverrideCreated { id, .. } = event { Some(*id) } else { None });
    let message = format!("probe {probe} is overridden for {ttl_seconds} s");
    Ok((StatusCode::CREATED, Json(Receipt { message, phase: None, id })))
}

/// End an exception
#[utoipa::path(delete, path = "/v1/overrides/{id}", tag = "overrides", params(("id" = u64, Path)), security(("bearer" = [])),
    responses((status = 200, body = Receipt), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 507, description = "The ledger can not be written", body = ErrorBody)))]
pub(super) async fn revoke_override(
    State(shared): State<Shared>,
    Operator(by): Operator,
    In(id): In<u64>,
) -> Result<Json<Receipt>, Problem> {
    shared.command(by, Wish::Revoke(id), Terms::default()).await?;
    Ok(Json(Receipt { message: format!("override {id} is ended"), phase: None, id: Some(id) }))
}

/// The recorded facts, without their contents
#[utoipa::path(get, path = "/v1/facts", tag = "facts", responses((status = 200, body = FactsBody), (status = 503, body = ErrorBody)))]
pub(super) async fn facts(State(shared): State<Shared>) -> Result<Json<FactsBody>, Problem> {
    let reading = shared.reading()?;
    let facts = reading.snapshot.state.durable.facts.iter();
    Ok(Json(FactsBody {
        facts: facts.map(|(name, fact)| FactNameBody { name: name.clone(), stamp: stamp(&fact.stamp) }).collect(),
    }))
}

/// A recorded fact
#[utoipa::path(get, path = "/v1/facts/{name}", tag = "facts", params(("name" = String, Path)), responses(
    (status = 200, body = FactBody), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn fact(State(shared): State<Shared>, In(name): In<String>) -> Result<Json<FactBody>, Problem> {
    let reading = shared.reading()?;
    let facts = &reading.snapshot.state.durable.facts;
    let fact = facts.get(&name).ok_or_else(|| Problem::unknown("fact", &name, facts.keys().map(String::as_str)))?;
    Ok(Json(FactBody { stamp: stamp(&fact.stamp), value: fact.value.clone(), name }))
}

/// Record a fact
///
/// Facts are immutable: the same content again is fine, another is refused.
#[utoipa::path(put, path = "/v1/facts/{name}", tag = "facts", params(("name" = String, Path)), request_body = serde_json::Value,
    security(("bearer" = [])),
    responses((status = 200, body = Receipt), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 409, body = ErrorBody), (status = 422, body = ErrorBody),
    (status = 507, description = "The ledger can not be written", body = ErrorBody)))]
pub(super) async fn record_fact(
    State(shared): State<Shared>,
    Operator(by): Operator,
    In(name): In<String>,
    Said(value): Said<serde_json::Value>,
) -> Result<Json<Receipt>, Problem> {
    let message = format!("fact {name} is recorded");
    shared.command(by, Wish::Record(name, value), Terms::default()).await?;
    Ok(Json(Receipt { message, phase: None, id: None }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditQuery {
    /// Position of the first frame; the chain begins with 1. 0, or nothing: the first one that is kept.
    #[serde(default)]
    from: u64,
    /// How many frames, at most 1000; 100 without it.
    limit: Option<usize>,
}

/// The audit trail, hash-chained
///
/// In a cluster the trail is bounded: `anchor` is then the newest event that is no longer kept, and the next one begins the rest.
#[utoipa::path(get, path = "/v1/audit", tag = "audit", params(AuditQuery), responses(
    (status = 200, body = AuditPage), (status = 400, body = ErrorBody),
    (status = 410, description = "No longer kept", body = ErrorBody), (status = 500, body = ErrorBody),
    (status = 503, body = ErrorBody)))]
pub(super) async fn audit(State(shared): State<Shared>, Asked(query): Asked<AuditQuery>) -> Result<Json<AuditPage>, Problem> {
    let limit = query.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    match shared.page(query.from, limit).await? {
        Some(page) => Ok(Json(page)),
        None => Err(shared.no_longer_kept(&format!("event {}", query.from)).await),
    }
}
