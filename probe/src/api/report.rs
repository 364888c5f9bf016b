//! The verification checklist: where everything stands, and what it stands on.

use axum::Json;
use axum::extract::State;

use super::parts;
use super::past::{TRIES, override_body, shortened, sight};
use super::problem::Problem;
use super::render::{View, stamp};
use super::shared::Shared;
use super::types::{
    CompletionBody, CriterionBody, EndedBody, ErrorBody, ExceptionBody, LatchedBody, ReportBody, ReportPhaseBody, SCHEMA_VERSION,
};
use crate::past::{Ended, Exception, Latched, Record};
use crate::state::Override;

/// The verification checklist
///
/// Each phase with who moved it and when, its steps, every criterion with its evidence (for a complete phase also as it was when
/// it was completed), every override and every regression. `head` ties it to the audit trail.
#[utoipa::path(get, path = "/v1/report", tag = "audit", responses(
    (status = 200, body = ReportBody), (status = 500, body = ErrorBody),
    (status = 503, description = "Nothing was evaluated yet", body = ErrorBody)))]
pub(super) async fn report(State(shared): State<Shared>) -> Result<Json<ReportBody>, Problem> {
    shared.reading()?;
    let mut record = shared.record.lock().await;
    shared.read_on(&mut record).await?;
    // The first look back may have taken long; what is said of the present must be young.
    let reading = shared.reading()?;
    shared.read_on(&mut record).await?;
    let config_error = shared.app.config.borrow().error.clone();
    Ok(Json(shared.view(&reading)?.report(&record, config_error)))
}

impl Shared {
    async fn read_on(&self, record: &mut Record) -> Result<(), Problem> {
        for _ in 0..TRIES {
            let next = record.past.head.seq.saturating_add(1);
            if self.frames(next, |frame| record.take(frame).map(|()| false)).await? {
                return Ok(());
            }
            *record = self.base().await?;
        }
        Err(shortened())
    }
}

impl View<'_> {
    fn report(&self, record: &Record, config_error: Option<String>) -> ReportBody {
        ReportBody {
            schema_version: SCHEMA_VERSION,
            migration: self.plan.migration.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            config_hash: self.plan.hash.clone(),
            epoch: self.evaluation.epoch,
            evaluated_at: Some(self.evaluation.at.utc),
            age_seconds: Some(self.age.as_secs_f64()),
            head: record.past.head.clone(),
            recorded_since: record.past.first().map(|first| first.utc),
            phases: self.plan.phases.iter().filter_map(|phase| self.report_phase(&phase.name, record)).collect(),
            lock: self.lock_body(),
            ledger_error: self.state.live.unwritable.as_ref().map(|why| why.cause.clone()),
            config_error,
            next_step: self.next_step(),
        }
    }

    fn report_phase(&self, name: &str, record: &Record) -> Option<ReportPhaseBody> {
        let (at, phase) = (self.plan.position(name)?, self.phase(name)?);
        let complete = self.state.phase(name).complete.as_ref();
        let completion = record.completion(name).filter(|completion| Some(&completion.stamp) == complete);
        let criterion = |probe: super::types::ProbeBody| CriterionBody {
            at_completion: completion.and_then(|completion| completion.probes.get(probe.name.as_str())).map(sight),
            probe,
        };
        let own = self.seen().filter(|(_, view)| view.phase == at);
        Some(ReportPhaseBody {
            criteria: own.map(|(probe, view)| criterion(self.probe_body(probe, view, parts::IN_LISTS))).collect(),
            overrides_ever: record.exceptions.iter().filter(|each| &*each.phase == name).map(exception).collect(),
            regressions_ever: record.regressions.iter().filter(|each| &*each.phase == name).map(latched).collect(),
            completion: completion.map(|completion| CompletionBody {
                stamp: stamp(&completion.stamp),
                event: completion.seal.clone(),
                overrides: completion.overrides.clone(),
            }),
            phase,
        })
    }
}

fn exception(each: &Exception) -> ExceptionBody {
    let Exception { probe, stamp, reason, ticket, until, .. } = each;
    let made =
        Override { probe: probe.clone(), reason: reason.clone(), ticket: ticket.clone(), stamp: stamp.clone(), until: *until };
    ExceptionBody { made: override_body(each.id, &made), ended: each.ended.as_ref().map(ended) }
}

fn latched(each: &Latched) -> LatchedBody {
    LatchedBody {
        probe: each.probe.to_string(),
        since: each.since.utc,
        reason: each.reason.to_string(),
        evidence: each.evidence.to_string(),
        ended: each.ended.as_ref().map(ended),
    }
}

fn ended(ended: &Ended) -> EndedBody {
    EndedBody { stamp: stamp(&ended.stamp), how: ended.how.clone() }
}
