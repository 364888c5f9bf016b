//! Looking back: one gate as it was, read from the audit trail. Nothing here opens anything.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Asked, In};
use super::problem::Problem;
use super::render::{planned, stamp};
use super::shared::Shared;
use super::types::{
    ErrorBody, GapBody, PastBlockerBody, PastBody, PastLockBody, PastOverrideBody, PastProbeBody, SCHEMA_VERSION, SightBody,
};
use super::words;
use crate::audit::{AuditPage, Frame};
use crate::gate::{MAX_BLOCKERS, Verdict};
use crate::ledger::Reading;
use crate::past::{Beyond, Search, Seen, Then, WasBlocked, moment};
use crate::plan::Plan;
use crate::state::{Override, ProbeState};

/// Frames that are read at once: the writer does nothing else meanwhile.
const PAGE: usize = 500;
/// Most probes that an answer lists.
const MAX_LISTED: usize = 100;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct AtQuery {
    /// The moment, as RFC 3339: `2026-11-26T10:00:00Z`.
    time: Option<String>,
}

/// The verdict as it was then
///
/// Folded from the audit trail. It tells what was known at that moment and opens nothing: there is no `open` in the answer, and
/// the status is 200 whatever the verdict was. While the verifier did not run, the answer is `unknown`.
#[utoipa::path(get, path = "/v1/gates/{phase}/at", tag = "gates", params(("phase" = String, Path), AtQuery), responses(
    (status = 200, body = PastBody), (status = 400, description = "No such moment, or one to come", body = ErrorBody),
    (status = 404, body = ErrorBody), (status = 410, description = "Before the record begins", body = ErrorBody),
    (status = 500, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn at(
    State(shared): State<Shared>,
    In(phase): In<String>,
    Asked(query): Asked<AtQuery>,
) -> Result<Json<PastBody>, Problem> {
    let time = asked(query.time.as_deref())?;
    let reading = shared.reading()?;
    if time > reading.now.utc {
        let message = format!("{} has not been yet; here it is {}", moment(time), moment(reading.now.utc));
        return Err(Problem::bad_request(message).hint("GET /v1/gates/PHASE is about now; nothing is known of what is to come"));
    }
    // Those who look back wait for each other: each reads much.
    let _turn = shared.record.lock().await;
    let mut search = Search::new(&phase, time, reading.now);
    shared.frames(1, |frame| search.take(frame)).await?;
    let then = search.finish(known(&reading)).map_err(|beyond| beyond_reach(&phase, time, beyond))?;
    match &then.state().durable.plan {
        Some(plan) => Ok(Json(body(&then, plan))),
        None => Err(Problem::not_ready("no Migration document was in force then")),
    }
}

fn asked(time: Option<&str>) -> Result<DateTime<Utc>, Problem> {
    let hint = "for example /v1/gates/PHASE/at?time=2026-11-26T10:00:00Z";
    let text = time.ok_or_else(|| Problem::bad_request("`time` is missing").hint(hint))?;
    // In a query, an unescaped `+` means a space.
    let time = DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_rfc3339(&text.replace(' ', "+")));
    let wrong = |error| Problem::bad_request(format!("`time` is no RFC 3339 moment: {error}")).hint(hint);
    time.map(|time| time.to_utc()).map_err(wrong)
}

/// Up to when everything that this verifier has seen is in the record. None: only as far as the record itself.
fn known(reading: &Reading) -> Option<crate::now::Now> {
    if reading.snapshot.state.live.unwritable.is_some() {
        return None;
    }
    let evaluated = reading.snapshot.evaluation.as_ref().map(|evaluation| evaluation.at);
    if reading.fresh().is_some() { Some(reading.now) } else { evaluated }
}

fn beyond_reach(phase: &str, time: DateTime<Utc>, beyond: Beyond) -> Problem {
    match beyond {
        Beyond::BeforeTheRecord(first) => {
            let begins = first.map_or_else(|| "it is empty".to_owned(), |first| format!("it begins {}", moment(first)));
            let message = format!("the record does not reach back to {}: {begins}", moment(time));
            Problem::new(StatusCode::GONE, "before_the_record", message).hint("ask for a later moment")
        }
        Beyond::NoSuchPhase(there_were) => {
            Problem::unknown(&format!("phase at {}", moment(time)), phase, there_were.iter().map(String::as_str))
        }
    }
}

impl Shared {
    /// Reads the audit trail from this frame on, page by page, until nothing more is wanted.
    pub(super) async fn frames(
        &self,
        from: u64,
        mut take: impl FnMut(&Frame) -> Result<bool, serde_json::Error> + Send,
    ) -> Result<(), Problem> {
        let mut from = Some(from);
        while let Some(next) = from {
            let page = self.page(next, PAGE).await?;
            for frame in &page.frames {
                let enough = take(frame).map_err(|error| unreadable(&format!("event {}: {error}", frame.seq)))?;
                if enough {
                    return Ok(());
                }
            }
            from = page.next;
        }
        Ok(())
    }

    /// A page of the audit trail.
    pub(super) async fn page(&self, from: u64, limit: usize) -> Result<AuditPage, Problem> {
        match self.app.ledger.audit(from, limit).await {
            Some(Ok(page)) => Ok(page),
            Some(Err(error)) => Err(unreadable(&error.to_string())),
            None => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopped", "the verifier is shutting down")
                .hint("try again once it is up")),
        }
    }
}

fn unreadable(error: &str) -> Problem {
    tracing::error!(error, "the audit trail can not be read");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unreadable", "the audit trail can not be read")
        .hint("the verifier's log says why")
}

fn body(then: &Then, plan: &Plan) -> PastBody {
    let state = then.state();
    let (probes, probe_count) = probes(then, plan);
    let steps = plan.phase(&then.phase).map(|phase| phase.steps.iter().map(|step| planned(state, phase, step)).collect());
    PastBody {
        schema_version: SCHEMA_VERSION,
        gate: then.phase.clone(),
        time: then.time,
        verdict: then.verdict,
        since: then.since.utc,
        until: then.until,
        reason: sentence(then),
        phase_state: state.phase(&then.phase).state(),
        blockers: then.blockers.iter().take(MAX_BLOCKERS).map(|blocker| blocked(then, blocker)).collect(),
        probes,
        probe_count,
        overrides: then.overrides().map(|(id, exception)| override_body(id, exception)).collect(),
        steps: steps.unwrap_or_default(),
        lock: state.durable.lock.as_ref().map(|lock| PastLockBody {
            id: lock.id,
            phase: lock.phase.to_string(),
            holder: lock.stamp.by.clone(),
            place: lock.place.clone(),
            since: lock.stamp.at.utc,
        }),
        config_hash: plan.hash.clone(),
        gap: then.gap.as_ref().map(|gap| GapBody {
            from: gap.from.utc,
            to: gap.to.map(|to| to.utc),
            reason: gap.why.name.to_owned(),
            recorded: then.recorded.as_ref().map(|ruling| ruling.verdict),
        }),
        head: then.past.head.clone(),
    }
}

fn probes(then: &Then, plan: &Plan) -> (Vec<PastProbeBody>, usize) {
    let at = plan.position(&then.phase).unwrap_or_default();
    let one = |(of, probe): (usize, &crate::plan::ProbePlan)| {
        let counts = then.counts(plan, at, of, probe);
        (of == at || counts).then(|| PastProbeBody {
            name: probe.name.to_string(),
            phase: plan.phases.get(of).map_or_else(String::new, |phase| phase.name.to_string()),
            check: probe.check.clone(),
            required: counts && !then.overridden(probe),
            overridden: then.overridden(probe),
            seen: sight(&then.probe(&probe.name)),
        })
    };
    let mut probes: Vec<_> = plan.probes().filter_map(one).collect();
    let count = probes.len();
    if count > MAX_LISTED {
        probes.sort_by_key(|probe| probe.seen.state == ProbeState::Green);
        probes.truncate(MAX_LISTED);
    }
    (probes, count)
}

/// A probe of the past on the wire.
pub(super) fn sight(seen: &Seen) -> SightBody {
    SightBody {
        state: seen.sight.state,
        reason: seen.sight.reason.as_ref().map(ToString::to_string),
        evidence: seen.sight.evidence.to_string(),
        since: seen.since.utc,
    }
}

/// An override of the past on the wire.
pub(super) fn override_body(id: u64, exception: &Override) -> PastOverrideBody {
    let made = stamp(&exception.stamp);
    let span = chrono::TimeDelta::from_std(exception.until.since(exception.stamp.at.t)).unwrap_or_default();
    PastOverrideBody {
        id,
        probe: exception.probe.to_string(),
        reason: exception.reason.clone(),
        ticket: exception.ticket.clone(),
        by: made.by,
        since: made.at,
        until: made.at.checked_add_signed(span).unwrap_or(made.at),
    }
}

fn blocked(then: &Then, blocker: &WasBlocked) -> PastBlockerBody {
    let seen = blocker.seen.as_ref();
    let own = || match (&then.gap, &blocker.probe) {
        (Some(gap), None) => gap.words(),
        (Some(_) | None, _) => String::new(),
    };
    PastBlockerBody {
        phase: blocker.phase.clone(),
        probe: blocker.probe.clone(),
        reason: blocker.reason.clone(),
        state: seen.map(|seen| seen.sight.state),
        evidence: seen.map_or_else(own, |seen| seen.sight.evidence.to_string()),
        since: seen.map(|seen| seen.since.utc),
    }
}

fn sentence(then: &Then) -> String {
    let verdict = then.verdict.as_str();
    let since = moment(then.since.utc);
    if let Some(gap) = &then.gap {
        let before = then.recorded.as_ref().map_or_else(
            || "no verdict was recorded before".to_owned(),
            |ruling| format!("recorded last: {} since {}", ruling.verdict.as_str(), moment(ruling.since.utc)),
        );
        return format!("{verdict}: {}; {before}", gap.words());
    }
    let Some(first) = then.blockers.first() else {
        return match (then.verdict, then.overrides().count()) {
            (Verdict::Open, 0) => format!("{verdict} since {since}: every required probe was green and the soak was served"),
            (Verdict::Open, some) => format!("{verdict} since {since}, with {some} overridden"),
            (Verdict::Closed | Verdict::Pending | Verdict::Unknown, _) => format!("{verdict} since {since}"),
        };
    };
    let more = match then.blockers.len().saturating_sub(1) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let why = match (&first.probe, &first.seen) {
        (Some(probe), Some(seen)) => {
            let evidence = words::clipped(&seen.sight.evidence.to_string());
            format!(
                "probe {probe} was {} since {} ({}: {evidence})",
                seen.sight.state.as_str(),
                moment(seen.since.utc),
                first.reason
            )
        }
        (Some(probe), None) => format!("probe {probe}: {}", first.reason),
        (None, _) => format!("phase {}: {}", first.phase, first.reason),
    };
    format!("{verdict} since {since}: {why}{more}")
}
