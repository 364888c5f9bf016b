//! Probes: what they see, their last Runs, and the few things that can be asked of them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use checks::PartId;
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Asked, In, MaybeSaid, Operator, Sender};
use super::parts::Shown;
use super::problem::Problem;
use super::render;
use super::shared::{Shared, known_probe, plan_of};
use super::types::{ErrorBody, HeartbeatRequest, ProbeBody, ProbesBody, Receipt, RunsBody};
use crate::event::{Terms, Wish};

/// The kind of check that heartbeats feed.
const HEARTBEAT: &str = "heartbeat";

/// All probes
#[utoipa::path(get, path = "/v1/probes", tag = "probes", responses((status = 200, body = ProbesBody), (status = 503, body = ErrorBody)))]
pub(super) async fn list(State(shared): State<Shared>) -> Result<Json<ProbesBody>, Problem> {
    let reading = shared.reading()?;
    Ok(Json(ProbesBody { probes: shared.view(&reading)?.probes() }))
}

/// One probe with all its parts
#[utoipa::path(get, path = "/v1/probes/{probe}", tag = "probes", params(("probe" = String, Path)), responses(
    (status = 200, body = ProbeBody), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn one(State(shared): State<Shared>, In(probe): In<String>) -> Result<Json<ProbeBody>, Problem> {
    let reading = shared.reading()?;
    let view = shared.view(&reading)?;
    known_probe(view.plan, &probe)?;
    view.probe(&probe).map(Json).ok_or_else(|| Problem::not_ready("the probe is new and was not evaluated yet"))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct RunsQuery {
    /// At most so many, the newest.
    most: Option<usize>,
    /// `false`: without their parts.
    parts: Option<bool>,
}

/// The last Runs of a probe
#[utoipa::path(get, path = "/v1/probes/{probe}/runs", tag = "probes", params(("probe" = String, Path), RunsQuery), responses(
    (status = 200, body = RunsBody), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn runs(
    State(shared): State<Shared>,
    In(probe): In<String>,
    Asked(query): Asked<RunsQuery>,
) -> Result<Json<RunsBody>, Problem> {
    let reading = shared.reading()?;
    known_probe(&*plan_of(&reading)?, &probe)?;
    let shown = if query.parts.unwrap_or(true) { Shown::All } else { Shown::Troubled(0) };
    let runs = shared.app.ledger.history().of(&probe);
    let runs = runs.iter().take(query.most.unwrap_or(usize::MAX)).map(|run| render::run(run, shown)).collect();
    Ok(Json(RunsBody { probe, runs }))
}

/// Run a probe soon
///
/// Wakes the scheduler; the answer does not wait for the Run.
#[utoipa::path(post, path = "/v1/probes/{probe}/run", tag = "probes", params(("probe" = String, Path)), security(("bearer" = [])),
    responses((status = 202, body = Receipt), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn run(
    State(shared): State<Shared>,
    Operator(by): Operator,
    In(probe): In<String>,
) -> Result<(StatusCode, Json<Receipt>), Problem> {
    let (name, _) = known_probe(&*plan_of(&shared.reading()?)?, &probe)?;
    tracing::info!(probe.name = &*name, actor = by, "run asked for");
    (shared.app.waker)(&name);
    Ok((StatusCode::ACCEPTED, Json(Receipt { message: format!("probe {name} runs soon"), phase: None, id: None })))
}

/// A part is gone for good
#[utoipa::path(post, path = "/v1/probes/{probe}/forget/{part}", tag = "probes",
    params(("probe" = String, Path), ("part" = String, Path)), security(("bearer" = [])),
    responses((status = 200, body = Receipt), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 507, body = ErrorBody)))]
pub(super) async fn forget(
    State(shared): State<Shared>,
    Operator(by): Operator,
    In((probe, part)): In<(String, String)>,
) -> Result<Json<Receipt>, Problem> {
    let message = format!("part {part} of probe {probe} is forgotten");
    shared.command(by, Wish::Forget(probe.into(), PartId::new(part)), Terms::default()).await?;
    Ok(Json(Receipt { message, phase: None, id: None }))
}

/// A heartbeat for a `heartbeat` probe
///
/// Without a body it says that all is well.
#[utoipa::path(post, path = "/v1/probes/{probe}/heartbeat", tag = "probes", params(("probe" = String, Path)),
    request_body = Option<HeartbeatRequest>, security(("bearer" = [])),
    responses((status = 200, body = Receipt), (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 409, description = "Not a heartbeat probe", body = ErrorBody)))]
pub(super) async fn heartbeat(
    State(shared): State<Shared>,
    Sender(by): Sender,
    In(probe): In<String>,
    MaybeSaid(beat): MaybeSaid<HeartbeatRequest>,
) -> Result<Json<Receipt>, Problem> {
    let (name, check) = known_probe(&*plan_of(&shared.reading()?)?, &probe)?;
    if check != HEARTBEAT {
        let message = format!("probe {name} looks by itself (its check is {check}); it takes no heartbeats");
        return Err(Problem::new(StatusCode::CONFLICT, "not_a_heartbeat", message));
    }
    shared.app.beats.put(&name, shared.app.ledger.clock().now(), !beat.failed, by, &beat.note);
    Ok(Json(Receipt { message: format!("heartbeat of probe {name} taken"), phase: None, id: None }))
}
