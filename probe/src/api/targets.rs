//! Old sides that are removed for good.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::extract::{In, Operator, Said};
use super::problem::Problem;
use super::shared::Shared;
use super::types::{ErrorBody, ReasonRequest, Receipt};
use crate::event::Wish;

/// An old side is removed for good
///
/// Refused until every phase that needs it is complete, and unless a tripwire will tell that it comes back. `confirm` is the name
/// of the target, once more: from here on nothing leads back to it.
#[utoipa::path(post, path = "/v1/targets/{target}/decommission", tag = "targets", params(("target" = String, Path)),
    request_body = ReasonRequest, security(("bearer" = [])),
    responses((status = 200, body = Receipt), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 422, body = ErrorBody),
    (status = 423, description = "Somebody else holds the lock", body = ErrorBody),
    (status = 428, description = "It wants to be confirmed", body = ErrorBody),
    (status = 507, description = "The ledger can not be written", body = ErrorBody)))]
pub(super) async fn decommission(
    State(shared): State<Shared>,
    Operator(by): Operator,
    In(target): In<String>,
    Said(said): Said<ReasonRequest>,
) -> Result<Json<Receipt>, Problem> {
    let (wish, terms) = said.split(|reason| Wish::Decommission(Arc::from(target.as_str()), reason));
    shared.command(by, wish, terms).await?;
    let message = format!("target {target} is decommissioned: once it is seen gone, it must not come back");
    Ok(Json(Receipt { message, phase: None, id: None }))
}

/// An old side is there after all
///
/// Refused once it was seen gone.
#[utoipa::path(post, path = "/v1/targets/{target}/recommission", tag = "targets", params(("target" = String, Path)),
    request_body = ReasonRequest, security(("bearer" = [])),
    responses((status = 200, body = Receipt), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 422, body = ErrorBody),
    (status = 423, description = "Somebody else holds the lock", body = ErrorBody),
    (status = 507, description = "The ledger can not be written", body = ErrorBody)))]
pub(super) async fn recommission(
    State(shared): State<Shared>,
    Operator(by): Operator,
    In(target): In<String>,
    Said(said): Said<ReasonRequest>,
) -> Result<Json<Receipt>, Problem> {
    let (wish, terms) = said.split(|reason| Wish::Recommission(Arc::from(target.as_str()), reason));
    shared.command(by, wish, terms).await?;
    Ok(Json(Receipt { message: format!("target {target} is not decommissioned any more"), phase: None, id: None }))
}
