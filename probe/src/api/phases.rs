//! Phases: the commands that move them. The guards are the ledger's, not this file's.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::extract::{In, MaybeSaid, Operator, Said};
use super::problem::Problem;
use super::shared::Shared;
use super::types::{ErrorBody, ReasonRequest, Receipt, TermsRequest};
use crate::event::{Terms, Wish};

impl Shared {
    async fn move_phase(
        &self,
        by: String,
        phase: String,
        wish: Wish,
        terms: Terms,
        done: &str,
    ) -> Result<Json<Receipt>, Problem> {
        self.command(by, wish, terms).await?;
        let reading = self.reading()?;
        let body = self.view(&reading)?.phase(&phase);
        Ok(Json(Receipt { message: format!("phase {phase} {done}"), phase: body, id: None }))
    }
}

impl ReasonRequest {
    pub(super) fn split(self, wish: impl FnOnce(String) -> Wish) -> (Wish, Terms) {
        (wish(self.reason), Terms { lock: self.lock, confirm: self.confirm, ..Terms::default() })
    }
}

/// Make a phase active
#[utoipa::path(post, path = "/v1/phases/{phase}/begin", tag = "phases", params(("phase" = String, Path)), request_body = Option<TermsRequest>, security(("bearer" = [])),
    responses((status = 200, body = Receipt), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 423, description = "Somebody else holds the lock", body = ErrorBody), (status = 412, description = "The entry guard is closed", body = ErrorBody),
    (status = 424, description = "unknown", body = ErrorBody), (status = 425, description = "pending", body = ErrorBody),
    (status = 507, description = "The ledger can not be written", body = ErrorBody)))]
pub(super) async fn begin(
    State(shared): State<Shared>,
    Operator(by): Operator,
    In(phase): In<String>,
    MaybeSaid(terms): MaybeSaid<TermsRequest>,
) -> Result<Json<Receipt>, Problem> {
    let wish = Wish::Begin(Arc::from(phase.as_str()));
    shared.move_phase(by, phase, wish, terms.into(), "is active").await
}

/// The work of re-pointing begins
#[utoipa::path(post, path = "/v1/phases/{phase}/switch", tag = "phases", params(("phase" = String, Path)), request_body = Option<TermsRequest>, security(("bearer" = [])),
    responses((status = 200, body = Receipt), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 423, description = "Somebody else holds the lock", body = ErrorBody), (status = 412, description = "The entry guard is closed", body = ErrorBody),
    (status = 424, description = "unknown", body = ErrorBody), (status = 425, description = "pending", body = ErrorBody),
    (status = 507, description = "The ledger can not be written", body = ErrorBody)))]
pub(super) async fn switch(
    State(shared): State<Shared>,
    Operator(by): Operator,
    In(phase): In<String>,
    MaybeSaid(terms): MaybeSaid<TermsRequest>,
) -> Result<Json<Receipt>, Problem> {
    let wish = Wish::Switch(Arc::from(phase.as_str()));
    shared.move_phase(by, phase, wish, terms.into(), "has switched").await
}

/// The phase is done
///
/// Refused unless its gate is open at this moment.
#[utoipa::path(post, path = "/v1/phases/{phase}/complete", tag = "phases", params(("phase" = String, Path)), request_body = Option<TermsRequest>, security(("bearer" = [])),
    responses((status = 200, body = Receipt), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 423, description = "Somebody else holds the lock", body = ErrorBody), (status = 412, description = "The gate is closed", body = ErrorBody),
    (status = 424, description = "unknown", body = ErrorBody), (status = 425, description = "pending", body = ErrorBody),
    (status = 507, description = "The ledger can not be written", body = ErrorBody)))]
pub(super) async fn complete(
    State(shared): State<Shared>,
    Operator(by): Operator,
    In(phase): In<String>,
    MaybeSaid(terms): MaybeSaid<TermsRequest>,
) -> Result<Json<Receipt>, Problem> {
    let wish = Wish::Complete(Arc::from(phase.as_str()));
    shared.move_phase(by, phase, wish, terms.into(), "is complete").await
}

/// Back to waiting
#[utoipa::path(post, path = "/v1/phases/{phase}/rollback", tag = "phases", params(("phase" = String, Path)),
    request_body = ReasonRequest, security(("bearer" = [])),
    responses((status = 200, body = Receipt), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 422, body = ErrorBody),
    (status = 507, description = "The ledger can not be written", body = ErrorBody)))]
pub(super) async fn rollback(
    State(shared): State<Shared>,
    Operator(by): Operator,
    In(phase): In<String>,
    Said(said): Said<ReasonRequest>,
) -> Result<Json<Receipt>, Problem> {
    let (wish, terms) = said.split(|reason| Wish::Rollback(Arc::from(phase.as_str()), reason));
    shared.move_phase(by, phase, wish, terms, "is waiting again").await
}

/// Mark a finished phase complete without proof
#[utoipa::path(post, path = "/v1/phases/{phase}/adopt", tag = "phases", params(("phase" = String, Path)),
    request_body = ReasonRequest, security(("bearer" = [])),
    responses((status = 200, body = Receipt), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 422, body = ErrorBody),
    (status = 507, description = "The ledger can not be written", body = ErrorBody)))]
pub(super) async fn adopt(
    State(shared): State<Shared>,
    Operator(by): Operator,
    In(phase): In<String>,
    Said(said): Said<ReasonRequest>,
) -> Result<Json<Receipt>, Problem> {
    let (wish, terms) = said.split(|reason| Wish::Adopt(Arc::from(phase.as_str()), reason));
    shared.move_phase(by, phase, wish, terms, "is adopted, not proven").await
}

/// A latched regression is seen and mended
#[utoipa::path(post, path = "/v1/regressions/{phase}/ack", tag = "phases", params(("phase" = String, Path)),
    request_body = ReasonRequest, security(("bearer" = [])),
    responses((status = 200, body = Receipt), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 422, body = ErrorBody),
    (status = 507, description = "The ledger can not be written", body = ErrorBody)))]
pub(super) async fn acknowledge(
    State(shared): State<Shared>,
    Operator(by): Operator,
    In(phase): In<String>,
    Said(said): Said<ReasonRequest>,
) -> Result<Json<Receipt>, Problem> {
    let (wish, terms) = said.split(|reason| Wish::Acknowledge(Arc::from(phase.as_str()), reason));
    shared.move_phase(by, phase, wish, terms, "has no latched regression any more").await
}
