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
use crate::past::{Beyond, Past, Record, Search, Seen, Then, WasBlocked, moment};
use crate::plan::Plan;
use crate::state::{Override, ProbeState};
use crate::store::StoreError;

/// Frames that are read at once: the writer does nothing else meanwhile.
const PAGE: usize = 500;
/// Most probes that an answer lists.
const MAX_LISTED: usize = 100;
/// How often the audit trail may be shortened while it is read.
pub(super) const TRIES: usize = 3;

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
    (status = 404, body = ErrorBody), (status = 410, description = "Before the record begins, or no longer kept", body = ErrorBody),
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
    let search = shared.search(&phase, time, &reading).await?;
    let then = match search.finish(known(&reading)) {
        Ok(then) => then,
        Err(Beyond::NoLongerKept) => return Err(shared.no_longer_kept(&format!("what was at {}", moment(time))).await),
        Err(Beyond::BeforeTheRecord(first)) => return Err(before_the_record(time, first)),
        Err(Beyond::NoSuchPhase(there_were)) => {
            let kind = format!("phase at {}", moment(time));
            return Err(Problem::unknown(&kind, &phase, there_were.iter().map(String::as_str)));
        }
    };
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

fn before_the_record(time: DateTime<Utc>, first: Option<DateTime<Utc>>) -> Problem {
    let begins = first.map_or_else(|| "it is empty".to_owned(), |first| format!("it begins {}", moment(first)));
    let message = format!("the record does not reach back to {}: {begins}", moment(time));
    Problem::new(StatusCode::GONE, "before_the_record", message).hint("ask for a later moment")
}

impl Shared {
    /// Reads as much of the audit trail as this question needs.
    async fn search(&self, phase: &str, time: DateTime<Utc>, reading: &Reading) -> Result<Search, Problem> {
        let mut begin = Past::default();
        for _ in 0..TRIES {
            let next = begin.head.seq.saturating_add(1);
            let mut search = Search::new(phase, time, reading.now, begin);
            if self.frames(next, |frame| search.take(frame)).await? {
                return Ok(search);
            }
            begin = self.base().await?.past;
        }
        Err(shortened())
    }

    /// Reads the audit trail from this frame on, page by page, until nothing more is wanted. False: the next one is no longer
    /// kept, and what it told is in the base.
    pub(super) async fn frames(
        &self,
        from: u64,
        mut take: impl FnMut(&Frame) -> Result<bool, serde_json::Error> + Send,
    ) -> Result<bool, Problem> {
        let mut from = Some(from);
        while let Some(next) = from {
            let Some(page) = self.page(next, PAGE).await? else { return Ok(false) };
            for frame in &page.frames {
                let enough = take(frame).map_err(|error| unreadable(&format!("event {}: {error}", frame.seq)))?;
                if enough {
                    return Ok(true);
                }
            }
            from = page.next;
        }
        Ok(true)
    }

    /// A page of the audit trail; none: it would begin with an event that is no longer kept.
    pub(super) async fn page(&self, from: u64, limit: usize) -> Result<Option<AuditPage>, Problem> {
        match self.app.ledger.audit(from, limit).await {
            Some(Ok(page)) => Ok(Some(page)),
            Some(Err(StoreError::Dropped(_))) => Ok(None),
            Some(Err(error)) => Err(unreadable(&error.to_string())),
            None => Err(stopped()),
        }
    }

    /// What the events told that are no longer kept.
    pub(super) async fn base(&self) -> Result<Record, Problem> {
        let base = self.app.ledger.base().await.ok_or_else(stopped)?;
        base.map(Option::unwrap_or_default).map_err(|error| unreadable(&error.to_string()))
    }

    /// The answer to a question about events that are no longer kept: where the rest begins.
    pub(super) async fn no_longer_kept(&self, what: &str) -> Problem {
        let page = match self.page(0, 1).await {
            Ok(page) => page,
            Err(problem) => return problem,
        };
        let first = page.and_then(|page| page.frames.into_iter().next());
        let begins = first.map_or_else(
            || "nothing has happened since".to_owned(),
            |first| format!("the audit trail begins with event {}, of {}", first.seq, moment(first.utc)),
        );
        let hint = "ask from there on; whoever needs all of it keeps a copy in time: `cutover audit list --limit 10000 -o json`";
        Problem::new(StatusCode::GONE, "no_longer_kept", format!("{what} is no longer kept: {begins}")).hint(hint)
    }
}

fn stopped() -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopped", "the verifier is shutting down").hint("try again once it is up")
}

pub(super) fn shortened() -> Problem {
    let message = "the audit trail was shortened again and again while it was read";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "shortened", message).hint("ask again")
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
