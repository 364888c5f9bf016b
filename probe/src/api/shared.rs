//! What every handler shares, and the one place where gates are answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::beats::Beats;
use super::problem::Problem;
use super::reasons::ReasonBook;
use super::render::{View, regressions};
use super::types::{GateKind, RollbackBody};
use crate::annotations::Standing;
use crate::auth::Auth;
use crate::event::{Command, Event, RefusalKind, Terms, Wish};
use crate::gate::{Evaluation, MAX_EPOCH_GAP, Verdict, phase_reasons as why};
use crate::ledger::{CommandError, Ledger, Reading};
use crate::metrics::Metrics;
use crate::past::Record;
use crate::phase::can_roll_back;
use crate::plan::{Plan, ProbeName};

/// How the newest document fared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigStatus {
    /// Hash of the document in force.
    pub hash: Option<String>,
    /// Why the newest one was not taken, while that is so.
    pub error: Option<String>,
}

/// Makes a probe run soon. It never waits.
pub type Waker = Arc<dyn Fn(&ProbeName) + Send + Sync>;

/// What the API is made of.
#[derive(Clone)]
pub struct AppState {
    /// Answers come from its Snapshot, commands go to its writer.
    pub ledger: Ledger,
    /// Served at `/metrics`.
    pub metrics: Metrics,
    /// Who may change something.
    pub auth: Auth,
    /// The next step for each reason.
    pub reasons: ReasonBook,
    /// How the newest document fared.
    pub config: watch::Receiver<ConfigStatus>,
    /// How annotations fare.
    pub annotations: watch::Receiver<Vec<Standing>>,
    /// Where heartbeats are put.
    pub beats: Beats,
    /// Wakes the scheduler's task of a probe.
    pub waker: Waker,
    /// Asks for the document to be read again.
    pub reload: Arc<Notify>,
}

/// The state of the router. Cheap to clone.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) app: Arc<AppState>,
    rendered: Arc<Mutex<Rendered>>,
    /// The audit trail as far as a report has read it. Whoever looks back holds it: one at a time.
    pub(super) record: Arc<tokio::sync::Mutex<Record>>,
}

/// Gates of one evaluation as they were rendered: many ask, and nothing changes until the next one.
#[derive(Default)]
struct Rendered {
    epoch: u64,
    gates: BTreeMap<(bool, String), Arc<Answer>>,
}

/// A rendered gate.
struct Answer {
    verdict: Verdict,
    /// Pending for nothing but its soak.
    only_soaking: bool,
    /// The body without its age.
    json: String,
}

/// A question about a gate. Handlers return it; [`Ask::answer`] is called when everything else about the request is done,
/// so that a request that waited while the process was frozen is answered by what is known then.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) phase: String,
    pub(super) form: Form,
}

/// What the question wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The body, always with status 200.
    Body(GateKind),
    /// The verdict as status.
    Check { kind: GateKind, accept_pending: bool },
    /// Whether to roll back.
    Rollback,
}

impl IntoResponse for Ask {
    /// A placeholder that opens nothing, for the outermost layer to replace.
    fn into_response(self) -> Response {
        let mut response = Problem::not_ready("the question was not answered").into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl Ask {
    /// Answers from what is known at this moment.
    pub(super) fn answer(&self, shared: &Shared) -> Response {
        let answer = match self.form {
            Form::Body(kind) => shared.gate(&self.phase, kind, |_| StatusCode::OK),
            Form::Check { kind, accept_pending } => shared.gate(&self.phase, kind, |answer| {
                if accept_pending && answer.only_soaking { StatusCode::OK } else { status_of(answer.verdict) }
            }),
            Form::Rollback => shared.rollback(&self.phase),
        };
        answer.unwrap_or_else(IntoResponse::into_response)
    }
}

/// The status that stands for a verdict.
const fn status_of(verdict: Verdict) -> StatusCode {
    match verdict {
        Verdict::Open => StatusCode::OK,
        Verdict::Closed => StatusCode::PRECONDITION_FAILED,
        Verdict::Pending => StatusCode::TOO_EARLY,
        Verdict::Unknown => StatusCode::FAILED_DEPENDENCY,
    }
}

impl Shared {
    pub(super) fn new(app: AppState) -> Self {
        Self { app: Arc::new(app), rendered: Arc::default(), record: Arc::default() }
    }

    /// The newest Snapshot, if there is anything to answer from.
    pub(super) fn reading(&self) -> Result<Reading, Problem> {
        let reading = self.app.ledger.read();
        if reading.snapshot.state.durable.plan.is_none() {
            return Err(Problem::not_ready("no Migration document is in force yet"));
        }
        if reading.snapshot.evaluation.is_none() {
            return Err(Problem::not_ready("nothing has been evaluated yet"));
        }
        Ok(reading)
    }

    /// The rendering of a reading that [`Self::reading`] gave.
    pub(super) fn view<'a>(&'a self, reading: &'a Reading) -> Result<View<'a>, Problem> {
        View::of(reading, &self.app.reasons).ok_or_else(|| Problem::not_ready("nothing has been evaluated yet"))
    }

    fn gate(&self, phase: &str, kind: GateKind, status: impl FnOnce(&Answer) -> StatusCode) -> Result<Response, Problem> {
        let reading = self.reading()?;
        let view = self.view(&reading)?;
        let answer = self.answer(&view, phase, kind)?;
        // Rendering takes time as well: the age is taken once more when the body is ready.
        let late = self.app.ledger.again(&reading);
        let answer =
            if view.fresh && late.fresh().is_none() { Arc::new(render(&self.view(&late)?, phase, kind)?) } else { answer };
        let age = late.age().unwrap_or(Duration::MAX).as_secs_f64();
        let body = format!("{{\"ageSeconds\":{age:.3},{}", answer.json.get(1..).unwrap_or_default());
        Ok((status(&answer), [(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response())
    }

    fn answer(&self, view: &View<'_>, phase: &str, kind: GateKind) -> Result<Arc<Answer>, Problem> {
        if !view.fresh {
            return render(view, phase, kind).map(Arc::new);
        }
        let epoch = view.evaluation.epoch;
        let key = (kind == GateKind::Entry, phase.to_owned());
        if let Some(answer) = Some(self.rendered.lock()).filter(|r| r.epoch == epoch).and_then(|r| r.gates.get(&key).cloned()) {
            return Ok(answer);
        }
        let answer = Arc::new(render(view, phase, kind)?);
        let mut rendered = self.rendered.lock();
        if rendered.epoch < epoch {
            *rendered = Rendered { epoch, gates: BTreeMap::new() };
        }
        if rendered.epoch == epoch {
            rendered.gates.insert(key, answer.clone());
        }
        Ok(answer)
    }

    fn rollback(&self, phase: &str) -> Result<Response, Problem> {
        let reading = self.reading()?;
        let state = &*reading.snapshot.state;
        let plan = plan_of(&reading)?;
        known_phase(&plan, phase)?;
        let record = state.phase(phase);
        let (roll_back, reason) = if reading.fresh().is_none() {
            (false, "do not roll back: the last evaluation is too old to act on".to_owned())
        } else if let Some(why) = &state.live.unwritable {
            (false, format!("do not roll back: the ledger can not be written ({})", why.cause))
        } else if record.regressed.is_empty() {
            (false, format!("do not roll back: no regression is latched for phase {phase}"))
        } else if let Err(why) = can_roll_back(state, &plan, phase) {
            (false, format!("do not roll back: {why}"))
        } else {
            let probes: Vec<&str> = record.regressed.keys().map(|name| &**name).collect();
            (true, format!("roll back: {} of phase {phase} regressed", probes.join(", ")))
        };
        let body = RollbackBody { gate: phase.to_owned(), roll_back, reason, regressed: regressions(&record.regressed) };
        let status = if roll_back { StatusCode::OK } else { StatusCode::CONFLICT };
        Ok((status, axum::Json(body)).into_response())
    }

    /// Carries out a command.
    pub(super) async fn command(&self, by: String, wish: Wish, terms: Terms) -> Result<Vec<Event>, Problem> {
        match self.app.ledger.command(Command { by, wish, terms }).await {
            Ok(events) => Ok(events),
            Err(error) => Err(self.refused(error)),
        }
    }

    fn refused(&self, error: CommandError) -> Problem {
        let refusal = match error {
            CommandError::NotDurable(unwritable) => {
                let message = format!("nothing was changed: the ledger can not be written: {}", unwritable.cause);
                let next = why::unwritable(&unwritable).next;
                return Problem::new(StatusCode::INSUFFICIENT_STORAGE, "not_durable", message).hint(next);
            }
            CommandError::Stopped => {
                let message = "nothing was changed: the verifier is shutting down";
                return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopped", message).hint("try again once it is up");
            }
            CommandError::Refused(refusal) => refusal,
        };
        let reading = self.app.ledger.read();
        let view = View::of(&reading, &self.app.reasons);
        let blockers: Vec<_> = refusal.blockers.iter().filter_map(|b| Some(view.as_ref()?.blocker(b))).collect();
        let hint = blockers.first().map(|blocker| blocker.next.clone());
        let (status, verdict) = match refusal.kind {
            RefusalKind::Gate(Verdict::Closed) => (StatusCode::PRECONDITION_FAILED, Some(Verdict::Closed)),
            RefusalKind::Gate(Verdict::Pending) => (StatusCode::TOO_EARLY, Some(Verdict::Pending)),
            RefusalKind::Gate(Verdict::Unknown | Verdict::Open) => (StatusCode::FAILED_DEPENDENCY, Some(Verdict::Unknown)),
            RefusalKind::Conflict | RefusalKind::Outdated | RefusalKind::Moved => (StatusCode::CONFLICT, None),
            RefusalKind::NotFound => (StatusCode::NOT_FOUND, None),
            RefusalKind::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, None),
            RefusalKind::Locked => (StatusCode::LOCKED, None),
            RefusalKind::Unconfirmed => (StatusCode::PRECONDITION_REQUIRED, None),
        };
        let otherwise = match refusal.kind {
            RefusalKind::Locked => "wait for the holder, or end the lock: `cutover lock release ID --reason …`",
            RefusalKind::Moved => "look at it anew: `cutover plan`",
            RefusalKind::Gate(_)
            | RefusalKind::Conflict
            | RefusalKind::NotFound
            | RefusalKind::Invalid
            | RefusalKind::Unconfirmed
            | RefusalKind::Outdated => "GET /v1/status shows where everything stands",
        };
        let hint = hint.unwrap_or_else(|| otherwise.to_owned());
        Problem::new(status, refusal.kind.as_str(), refusal.message).because(verdict, blockers).hint(hint)
    }
}

fn render(view: &View<'_>, phase: &str, kind: GateKind) -> Result<Answer, Problem> {
    let body = view.gate(phase, kind).ok_or_else(|| no_such_phase(view.plan, phase))?;
    let failed = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "encoding", "the answer can not be encoded");
    Ok(Answer {
        verdict: body.verdict,
        only_soaking: view.only_soaking(phase, kind),
        json: serde_json::to_string(&body).map_err(failed)?,
    })
}

/// The document in force.
pub(super) fn plan_of(reading: &Reading) -> Result<Arc<Plan>, Problem> {
    let plan = reading.snapshot.state.durable.plan.clone();
    plan.ok_or_else(|| Problem::not_ready("no Migration document is in force yet"))
}

/// 404 with the phases that there are, unless it is one of them.
pub(super) fn known_phase(plan: &Plan, phase: &str) -> Result<(), Problem> {
    plan.position(phase).map(|_| ()).ok_or_else(|| no_such_phase(plan, phase))
}

pub(super) fn no_such_phase(plan: &Plan, phase: &str) -> Problem {
    Problem::unknown("phase", phase, plan.phases.iter().map(|phase| &*phase.name))
}

/// 404 with the probes that there are, unless it is one of them.
pub(super) fn known_probe(plan: &Plan, probe: &str) -> Result<(ProbeName, String), Problem> {
    let found = plan.probe(probe).map(|(_, probe)| (probe.name.clone(), probe.check.clone()));
    found.ok_or_else(|| Problem::unknown("probe", probe, plan.probes().map(|(_, probe)| &*probe.name)))
}

/// Whether the evaluator gets to run, as far as this evaluation tells.
pub(super) fn is_alive(evaluation: &Evaluation, reading: &Reading) -> bool {
    evaluation.age(reading.now.t) <= MAX_EPOCH_GAP.saturating_mul(10)
}

/// Keeps the headers, drops the body: what HEAD gets.
pub(super) fn headless(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = axum::body::HttpBody::size_hint(&body).exact() {
        parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Response::from_parts(parts, Body::from(Bytes::new()))
}
