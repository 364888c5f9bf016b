//! Gates and entry guards: the verdict as body (always 200) and as status.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Asked, In};
use super::problem::Problem;
use super::shared::{Ask, Form, Shared};
use super::types::{ErrorBody, GateBody, GateKind, GatesBody, RollbackBody};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct CheckQuery {
    /// `pending`: a gate that is pending for nothing but its soak answers 200 as well. The body still says pending.
    accept: Option<String>,
}

impl CheckQuery {
    fn accepts_pending(&self) -> Result<bool, Problem> {
        match self.accept.as_deref() {
            None => Ok(false),
            Some("pending") => Ok(true),
            Some(_) => Err(Problem::bad_request("`accept` can only be `pending`")),
        }
    }
}

/// All gates
#[utoipa::path(get, path = "/v1/gates", tag = "gates", responses(
    (status = 200, body = GatesBody), (status = 503, description = "Nothing was evaluated yet", body = ErrorBody)))]
pub(super) async fn list(State(shared): State<Shared>) -> Result<Json<GatesBody>, Problem> {
    let reading = shared.reading()?;
    let view = shared.view(&reading)?;
    let age = reading.age().map(|age| age.as_secs_f64());
    let one = |name| view.gate(name, GateKind::Gate).map(|gate| GateBody { age_seconds: age, ..gate });
    Ok(Json(GatesBody { gates: view.plan.phases.iter().filter_map(|phase| one(&phase.name)).collect() }))
}

/// One gate, always 200: read `verdict`
#[utoipa::path(get, path = "/v1/gates/{phase}", tag = "gates", params(("phase" = String, Path)), responses(
    (status = 200, body = GateBody), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn one(In(phase): In<String>) -> Ask {
    Ask { phase, form: Form::Body(GateKind::Gate) }
}

/// The verdict as status
///
/// The request's body is not read.
#[utoipa::path(method(get, head, post), path = "/v1/gates/{phase}/check", tag = "gates",
    params(("phase" = String, Path), CheckQuery), responses(
    (status = 200, description = "open", body = GateBody), (status = 412, description = "closed", body = GateBody),
    (status = 425, description = "pending", body = GateBody), (status = 424, description = "unknown", body = GateBody),
    (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn check(In(phase): In<String>, Asked(query): Asked<CheckQuery>) -> Result<Ask, Problem> {
    let accept_pending = query.accepts_pending()?;
    Ok(Ask { phase, form: Form::Check { kind: GateKind::Gate, accept_pending } })
}

/// One entry guard, always 200: may this phase's next step run?
#[utoipa::path(get, path = "/v1/gates/{phase}/entry", tag = "gates", params(("phase" = String, Path)), responses(
    (status = 200, body = GateBody), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn entry(In(phase): In<String>) -> Ask {
    Ask { phase, form: Form::Body(GateKind::Entry) }
}

/// The entry guard's verdict as status
///
/// The request's body is not read. A guard has no soak, so `accept` changes nothing.
#[utoipa::path(method(get, head, post), path = "/v1/gates/{phase}/entry/check", tag = "gates",
    params(("phase" = String, Path), CheckQuery), responses(
    (status = 200, description = "open", body = GateBody), (status = 412, description = "closed", body = GateBody),
    (status = 425, description = "pending", body = GateBody), (status = 424, description = "unknown", body = GateBody),
    (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn entry_check(In(phase): In<String>, Asked(query): Asked<CheckQuery>) -> Result<Ask, Problem> {
    let accept_pending = query.accepts_pending()?;
    Ok(Ask { phase, form: Form::Check { kind: GateKind::Entry, accept_pending } })
}

/// The rollback hook, inverted: 200 says roll back now
///
/// Status 200 only while a regression is latched and the phase can still go back; 409 in every other case, doubt included.
/// It changes nothing. The request's body is not read.
#[utoipa::path(method(get, head, post), path = "/v1/gates/{phase}/rollback", tag = "gates",
    params(("phase" = String, Path)), responses(
    (status = 200, description = "Roll back now", body = RollbackBody), (status = 409, description = "Do not", body = RollbackBody),
    (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn rollback(In(phase): In<String>) -> Ask {
    Ask { phase, form: Form::Rollback }
}
