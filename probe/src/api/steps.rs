//! Steps, the lock, plans and their approval. What may happen is the ledger's to say, not this file's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::extract::{Approver, In, MaybeSaid, Operator, Said};
use super::problem::Problem;
use super::shared::Shared;
use super::types::{
    ApprovalRequest, ErrorBody, LockAnswer, LockBody, LockRequest, PlanBody, Receipt, RehearsalRequest, ReleaseRequest,
    StepEndRequest, StepStartRequest, StepWorkedRequest,
};
use crate::event::{StepEnd, Terms, Way, Wish};

/// What the steps of a phase would do now
#[utoipa::path(get, path = "/v1/phases/{phase}/plan", tag = "steps", params(("phase" = String, Path)),
    responses((status = 200, body = PlanBody), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn plan(State(shared): State<Shared>, In(phase): In<String>) -> Result<Json<PlanBody>, Problem> {
    let reading = shared.reading()?;
    let view = shared.view(&reading)?;
    let body = view.plan_body(&phase).ok_or_else(|| super::shared::no_such_phase(view.plan, &phase))?;
    Ok(Json(body))
}

/// Who may run steps
#[utoipa::path(get, path = "/v1/lock", tag = "steps",
    responses((status = 200, body = LockAnswer), (status = 503, body = ErrorBody)))]
pub(super) async fn lock(State(shared): State<Shared>) -> Result<Json<LockAnswer>, Problem> {
    let reading = shared.reading()?;
    Ok(Json(LockAnswer { lock: shared.view(&reading)?.lock_body() }))
}

/// Take the lock for a phase
#[utoipa::path(post, path = "/v1/lock", tag = "steps", request_body = LockRequest, security(("bearer" = [])),
    responses((status = 201, body = LockBody), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 422, body = ErrorBody), (status = 423, description = "Somebody else holds it", body = ErrorBody),
    (status = 507, description = "The ledger can not be written", body = ErrorBody)))]
pub(super) async fn take_lock(
    State(shared): State<Shared>,
    Operator(by): Operator,
    Said(said): Said<LockRequest>,
) -> Result<(StatusCode, Json<LockBody>), Problem> {
    let LockRequest { phase, place, ttl_seconds, own } = said;
    let wish = Wish::Lock { phase: phase.into(), place, ttl: Duration::from_secs(ttl_seconds), own };
    shared.command(by, wish, Terms::default()).await?;
    let reading = shared.reading()?;
    let lock = shared.view(&reading)?.lock_body().ok_or_else(|| Problem::not_ready("the lock is gone already"))?;
    Ok((StatusCode::CREATED, Json(lock)))
}

/// The holder of a lock is still there
#[utoipa::path(post, path = "/v1/lock/{id}/renew", tag = "steps", params(("id" = u64, Path)), security(("bearer" = [])),
    responses((status = 200, body = Receipt), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 423, description = "It is not in force any more", body = ErrorBody)))]
pub(super) async fn renew_lock(
    State(shared): State<Shared>,
    Operator(by): Operator,
    In(id): In<u64>,
) -> Result<Json<Receipt>, Problem> {
    shared.command(by, Wish::Renew(id), Terms::default()).await?;
    Ok(Json(Receipt { message: format!("lock {id} is renewed"), phase: None, id: Some(id) }))
}

/// End a lock
///
/// Its holder needs no reason, anybody else does.
#[utoipa::path(post, path = "/v1/lock/{id}/release", tag = "steps", params(("id" = u64, Path)), request_body = ReleaseRequest,
    security(("bearer" = [])),
    responses((status = 200, body = Receipt), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 409, description = "A step is in flight", body = ErrorBody),
    (status = 423, description = "It is not in force any more", body = ErrorBody),
    (status = 507, description = "The ledger can not be written", body = ErrorBody)))]
pub(super) async fn release_lock(
    State(shared): State<Shared>,
    Operator(by): Operator,
    In(id): In<u64>,
    MaybeSaid(said): MaybeSaid<ReleaseRequest>,
) -> Result<Json<Receipt>, Problem> {
    let wish = said.reason.map_or(Wish::Release(id), |reason| Wish::ForceRelease(id, reason));
    shared.command(by, wish, Terms::default()).await?;
    Ok(Json(Receipt { message: format!("lock {id} is released"), phase: None, id: Some(id) }))
}

/// A step starts
#[utoipa::path(post, path = "/v1/phases/{phase}/steps/{step}/start", tag = "steps",
    params(("phase" = String, Path), ("step" = String, Path)), request_body = StepStartRequest, security(("bearer" = [])),
    responses((status = 200, body = Receipt), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 412, description = "The entry guard is closed", body = ErrorBody),
    (status = 423, description = "The lock is not the sender's", body = ErrorBody), (status = 424, description = "unknown", body = ErrorBody),
    (status = 425, description = "pending", body = ErrorBody), (status = 428, description = "The point of no return wants to be confirmed", body = ErrorBody),
    (status = 507, description = "The ledger can not be written", body = ErrorBody)))]
pub(super) async fn start(
    State(shared): State<Shared>,
    Operator(by): Operator,
    In((phase, step)): In<(String, String)>,
    Said(said): Said<StepStartRequest>,
) -> Result<Json<Receipt>, Problem> {
    let StepStartRequest { way, checked, terms } = said;
    let wish = Wish::StartStep { phase: Arc::from(phase.as_str()), step: Arc::from(step.as_str()), way, checked };
    let done = match way {
        Way::Do => "starts",
        Way::Undo => "is being undone",
    };
    shared.move_step(by, &phase, &step, wish, terms, done).await
}

/// The work of a step is over, its probes must turn green yet
#[utoipa::path(post, path = "/v1/phases/{phase}/steps/{step}/worked", tag = "steps",
    params(("phase" = String, Path), ("step" = String, Path)), request_body = StepWorkedRequest, security(("bearer" = [])),
    responses((status = 200, body = Receipt), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 423, description = "The lock is not the sender's", body = ErrorBody),
    (status = 507, description = "The ledger can not be written", body = ErrorBody)))]
pub(super) async fn worked(
    State(shared): State<Shared>,
    Operator(by): Operator,
    In((phase, step)): In<(String, String)>,
    Said(said): Said<StepWorkedRequest>,
) -> Result<Json<Receipt>, Problem> {
    let wish = Wish::StepWorked(Arc::from(phase.as_str()), Arc::from(step.as_str()));
    shared.move_step(by, &phase, &step, wish, said.terms, "has done its work").await
}

/// A step has ended
///
/// `done` is refused until its probes are green, by looks that began after its work was over.
#[utoipa::path(post, path = "/v1/phases/{phase}/steps/{step}/end", tag = "steps",
    params(("phase" = String, Path), ("step" = String, Path)), request_body = StepEndRequest, security(("bearer" = [])),
    responses((status = 200, body = Receipt), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 409, body = ErrorBody), (status = 412, description = "A probe is red", body = ErrorBody),
    (status = 423, description = "The lock is not the sender's", body = ErrorBody), (status = 424, description = "unknown", body = ErrorBody),
    (status = 425, description = "pending", body = ErrorBody),
    (status = 507, description = "The ledger can not be written", body = ErrorBody)))]
pub(super) async fn end(
    State(shared): State<Shared>,
    Operator(by): Operator,
    In((phase, step)): In<(String, String)>,
    Said(said): Said<StepEndRequest>,
) -> Result<Json<Receipt>, Problem> {
    let StepEndRequest { end, note, terms } = said;
    let wish = Wish::EndStep { phase: Arc::from(phase.as_str()), step: Arc::from(step.as_str()), end, note };
    let done = match end {
        StepEnd::Done => "is done",
        StepEnd::Failed => "has failed",
        StepEnd::Interrupted => "was broken off",
    };
    shared.move_step(by, &phase, &step, wish, terms, done).await
}

/// How long the steps of a phase took in a rehearsal
///
/// Plans quote it until a step was done for real.
#[utoipa::path(post, path = "/v1/phases/{phase}/rehearsal", tag = "steps", params(("phase" = String, Path)),
    request_body = RehearsalRequest, security(("bearer" = [])),
    responses((status = 200, body = Receipt), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 422, body = ErrorBody),
    (status = 507, description = "The ledger can not be written", body = ErrorBody)))]
pub(super) async fn rehearsal(
    State(shared): State<Shared>,
    Operator(by): Operator,
    In(phase): In<String>,
    Said(said): Said<RehearsalRequest>,
) -> Result<Json<Receipt>, Problem> {
    let span = |(step, seconds): (String, f64)| Some((Arc::from(step), Duration::try_from_secs_f64(seconds).ok()?));
    let spans: Option<BTreeMap<_, _>> = said.seconds.into_iter().map(span).collect();
    let wrong = || Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "a step takes a number of seconds, 0 or more");
    let message = format!("the rehearsal of phase {phase} is recorded");
    shared.command(by, Wish::Rehearsed(phase.into(), spans.ok_or_else(wrong)?), Terms::default()).await?;
    Ok(Json(Receipt { message, phase: None, id: None }))
}

/// Approve the plan of a phase
#[utoipa::path(post, path = "/v1/approvals", tag = "steps", request_body = ApprovalRequest, security(("bearer" = [])),
    responses((status = 201, body = Receipt), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 409, description = "The plan is another one now", body = ErrorBody),
    (status = 507, description = "The ledger can not be written", body = ErrorBody)))]
pub(super) async fn approve(
    State(shared): State<Shared>,
    Approver(by): Approver,
    Said(said): Said<ApprovalRequest>,
) -> Result<(StatusCode, Json<Receipt>), Problem> {
    let ApprovalRequest { phase, plan } = said;
    let message = format!("the plan of phase {phase} is approved by {by}");
    shared.command(by, Wish::Approve(phase.into(), plan), Terms::default()).await?;
    Ok((StatusCode::CREATED, Json(Receipt { message, phase: None, id: None })))
}

impl Shared {
    async fn move_step(
        &self,
        by: String,
        phase: &str,
        step: &str,
        wish: Wish,
        terms: impl Into<Terms>,
        done: &str,
    ) -> Result<Json<Receipt>, Problem> {
        self.command(by, wish, terms.into()).await?;
        let reading = self.reading()?;
        let body = self.view(&reading)?.phase(phase);
        Ok(Json(Receipt { message: format!("step {step} of phase {phase} {done}"), phase: body, id: None }))
    }
}
