//! The whole picture, or as much of it as a page can show.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::Asked;
use super::parts;
use super::problem::Problem;
use super::reasons::ReasonBook;
use super::render::View;
use super::shared::Shared;
use super::types::{AnnotationsBody, AnnotationsProblemBody, ErrorBody, ProbeBody, SCHEMA_VERSION, StatusBody};
use crate::annotations::{Standing, Standstill};
use crate::gate::ProbeView;
use crate::ledger::Reading;
use crate::plan::ProbePlan;
use crate::state::ProbeState;

/// Which probes are wanted. With none of these, all of them, in document order.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct StatusQuery {
    /// Only probes of these phases, separated by commas; empty for none.
    phases: Option<String>,
    /// At most so many probes of each phase, those that are not green first; `leftOut` counts the rest.
    most: Option<usize>,
    /// Only probes with this text in their name, check, colour or reason, in upper or lower case.
    find: Option<String>,
}

/// The whole picture
#[utoipa::path(get, path = "/v1/status", tag = "status", params(StatusQuery), responses(
    (status = 200, body = StatusBody), (status = 400, body = ErrorBody),
    (status = 503, description = "Nothing was evaluated yet", body = ErrorBody)))]
pub(super) async fn status(State(shared): State<Shared>, Asked(query): Asked<StatusQuery>) -> Result<Json<StatusBody>, Problem> {
    let reading = shared.reading()?;
    let config_error = shared.app.config.borrow().error.clone();
    let mut body = shared.view(&reading)?.status(&query, config_error);
    body.annotations = shared.app.annotations.borrow().iter().map(annotations).collect();
    Ok(Json(body))
}

/// The whole picture without its probes, for who shows it elsewhere. None: nothing was evaluated yet.
pub(crate) fn summary(reading: &Reading, reasons: &ReasonBook, config_error: Option<String>) -> Option<StatusBody> {
    let query = StatusQuery { phases: Some(String::new()), ..StatusQuery::default() };
    Some(View::of(reading, reasons)?.status(&query, config_error))
}

fn annotations(standing: &Standing) -> AnnotationsBody {
    let problem = |Standstill { trouble, since }: &Standstill| AnnotationsProblemBody {
        reason: trouble.reason.to_string(),
        evidence: trouble.evidence.clone(),
        next: trouble.next.clone(),
        since: *since,
    };
    AnnotationsBody {
        target: standing.target.clone(),
        marked: standing.marked,
        waiting: standing.waiting,
        proven: standing.proven,
        problem: standing.problem.as_ref().map(problem),
    }
}

impl View<'_> {
    fn status(&self, query: &StatusQuery, config_error: Option<String>) -> StatusBody {
        let (probes, left_out) = self.wanted(query);
        StatusBody {
            schema_version: SCHEMA_VERSION,
            migration: self.plan.migration.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            config_hash: self.plan.hash.clone(),
            epoch: self.evaluation.epoch,
            evaluated_at: Some(self.evaluation.at.utc),
            age_seconds: Some(self.age.as_secs_f64()),
            phases: self.plan.phases.iter().filter_map(|phase| self.phase(&phase.name)).collect(),
            probes,
            left_out,
            overrides: self.overrides(),
            lock: self.lock_body(),
            decommissioned: self.removals(),
            annotations: Vec::new(),
            ledger_error: self.state.live.unwritable.as_ref().map(|why| why.cause.clone()),
            config_error,
            next_step: self.next_step(),
        }
    }

    /// The probes that are asked for, and by phase how many more there are.
    fn wanted(&self, query: &StatusQuery) -> (Vec<ProbeBody>, BTreeMap<String, usize>) {
        let (mut bodies, mut left_out) = (Vec::new(), BTreeMap::new());
        let find = query.find.as_deref().map(str::to_lowercase).unwrap_or_default();
        let most = query.most.unwrap_or(usize::MAX);
        let mut by_phase: BTreeMap<usize, Vec<(&ProbePlan, &ProbeView)>> = BTreeMap::new();
        for (probe, view) in self.seen().filter(|(probe, view)| find.is_empty() || self.matches(probe, view, &find)) {
            by_phase.entry(view.phase).or_default().push((probe, view));
        }
        for (at, mut probes) in by_phase {
            let name = self.plan.phases.get(at).map_or("", |phase| &*phase.name);
            if query.phases.as_ref().is_some_and(|names| !names.split(',').any(|wanted| wanted == name)) {
                continue;
            }
            if query.most.is_some() {
                probes.sort_by_key(|(_, view)| (view.retired, urgency(view.sight.state)));
            }
            let more = probes.len().saturating_sub(most);
            if more > 0 {
                left_out.insert(name.to_owned(), more);
            }
            bodies.extend(probes.iter().take(most).map(|(probe, view)| self.probe_body(probe, view, parts::IN_LISTS)));
        }
        (bodies, left_out)
    }

    fn matches(&self, probe: &ProbePlan, view: &ProbeView, find: &str) -> bool {
        let state = if self.fresh { view.sight.state } else { ProbeState::Unknown };
        let reason = view.sight.reason.as_ref().map(|reason| reason.as_str().to_lowercase());
        probe.name.to_lowercase().contains(find)
            || probe.check.to_lowercase().contains(find)
            || state.as_str().contains(find)
            || reason.is_some_and(|reason| reason.contains(find))
    }
}

/// What a person looks at first.
const fn urgency(state: ProbeState) -> u8 {
    match state {
        ProbeState::Red => 0,
        ProbeState::Unknown => 1,
        ProbeState::Suspect => 2,
        ProbeState::Waiting => 3,
        ProbeState::Green => 4,
    }
}
