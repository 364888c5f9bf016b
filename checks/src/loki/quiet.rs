//! `lokiQuiet`: nobody sends lines to a Loki that was left.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::{BoxFuture, try_join};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Check, Context, FieldError, Meta, Nature, Report};
use crate::counter::{Succession, age, later, words};
use crate::net::exposition::{self, Page, STARTED_AT};
use crate::net::{Budget, below, fetch, reasons};
use crate::outcome::{Measure, Outcome, PartId, ReasonSpec, Step};
use crate::target::{LokiTarget, TargetKind, TargetUse};

use super::counts::{self, Counts, Question};
use super::{BUILD, RECEIVED, SEVERAL_INSTANCES, get, lines, received};

/// Somebody still sends.
const LINES_ARRIVE: ReasonSpec = ReasonSpec::fail(
    "lines_arrive",
    "find who still ships to this Loki, and stop it or lead it to the new one: whatever it sends is not in the new one",
);
/// It was not watched for long enough.
const QUIET_AWAITED: ReasonSpec =
    ReasonSpec::waiting("quiet_awaited", "wait until this Loki was watched for as long as `for` says");

/// The shortest and the longest time that may be asked for.
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_hours(7 * 24);

/// A Loki that was left has received no line `for` some time (5 m by default): its own counter has not risen, and it finds no line
/// of that time.
///
/// For the old Loki, from the switch on: what still ships there, a collector that was forgotten or came back, ships past the new
/// one. *Received* is counted before validation, so that lines which it refuses count as well; what Loki writes to itself does not,
/// nor, if the target has a `tenant`, what other tenants send. The counter is absent until the first line, so Loki is asked for the
/// lines of that time by `selector`, too. When lines have come, it is red until none came `for` that time. A restart begins the
/// time anew. When the old Loki is stopped for good, this probe has had its day (`until`), and a `tripwire` takes over.
///
/// Fail: lines arrive; refused, reset, silent, any error, a web page, another server. Waiting: it was not watched for that long yet.
/// Unknown: our own resolver or network, an untrusted certificate, a reply that is cut short, too large or not parsable, a query
/// that Loki does not take, several instances behind one URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LokiQuiet {
    /// Name of the target, of kind `loki`.
    pub loki: String,
    /// For how long no line must have come, like `5m`.
    #[serde(rename = "for", default = "five_minutes", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub quiet_for: Duration,
    /// `LogQL` query that finds all of its lines.
    #[serde(default = "any_job")]
    pub selector: String,
}

fn five_minutes() -> Duration {
    Duration::from_mins(5)
}

fn any_job() -> String {
    "{job=~\".+\"}".to_owned()
}

/// What is remembered between Runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    started_at: Option<f64>,
    lines: Option<f64>,
    /// Since when it is quiet.
    #[serde(with = "chrono::serde::ts_milliseconds_option")]
    since: Option<DateTime<Utc>>,
    /// What came last, as long as it counts.
    came: Option<f64>,
}

/// What a Loki says.
#[derive(Debug, Clone, PartialEq)]
struct State {
    started_at: Option<f64>,
    /// Lines that it was sent since its start.
    lines: f64,
    /// Lines of the time that has to be quiet.
    found: u64,
}

impl LokiQuiet {
    async fn read(&self, cx: &Context, budget: Budget) -> Result<State, Outcome> {
        let loki = cx.target::<LokiTarget>(&self.loki)?;
        let page = async {
            let reply = get(cx, loki, &below(&loki.url, &["metrics"]), budget).await?;
            Page::read(&reply, &[BUILD, STARTED_AT, RECEIVED])
        };
        let question = Question { query: &self.selector, by: &[], at: cx.now, over: self.quiet_for };
        let (page, counts): (Page, Counts) = try_join(page, question.ask(cx, loki, budget)).await?;
        let lines = received(&page, loki.tenant.as_deref())?;
        Ok(State { started_at: page.gauge(STARTED_AT), lines, found: counts.values().sum() })
    }

    fn judge(&self, state: &State, before: Seen, now: DateTime<Utc>) -> (Outcome, Seen) {
        let succession = Succession::of(before.started_at, state.started_at);
        let restarted = succession != Succession::Same || before.lines.is_some_and(|lines| state.lines < lines);
        let earlier = if restarted { Some(0.0) } else { before.lines };
        let more = state.lines - earlier.unwrap_or(state.lines);
        let known = before.since.filter(|since| !restarted && more <= 0.0 && *since <= now);
        let since = known.unwrap_or(now);
        let quiet = age(now, since).unwrap_or_default();
        let over = quiet >= self.quiet_for;
        let came = if more > 0.0 { Some(more) } else { before.came.filter(|_| !over) };
        let seen = Seen { started_at: state.started_at, lines: Some(state.lines), since: Some(since), came };
        if succession == Succession::Another {
            let evidence = format!("{STARTED_AT} went back to {}", state.started_at.unwrap_or_default());
            return (SEVERAL_INSTANCES.because(evidence), seen);
        }
        let (lines, asked) = (state.lines, words(self.quiet_for));
        let outcome = match came {
            Some(came) => LINES_ARRIVE.because(format!(
                "{came} lines were sent to it, none in the last {}; {lines} since Loki's start; quiet once none came for {asked}",
                words(quiet)
            )),
            None if state.found > 0 && over => LINES_ARRIVE
                .because(format!("it has {} lines of the last {asked}, though its counter stands at {lines}", state.found)),
            None if over => Outcome::pass(format!("no line for {}, {lines} since Loki's start", words(quiet))),
            None => {
                let evidence = format!("no line for {}, {lines} since Loki's start; watched for {asked} at least", words(quiet));
                QUIET_AWAITED.until(later(since, self.quiet_for), evidence)
            }
        };
        (outcome, seen)
    }
}

impl Check for LokiQuiet {
    const META: Meta = Meta {
        kind: "lokiQuiet",
        nature: Nature::Continuous,
        reasons: &[
            reasons::NETWORK,
            fetch::REPLIES,
            exposition::PAGES,
            lines::REASONS,
            counts::REASONS,
            &[LINES_ARRIVE, QUIET_AWAITED, SEVERAL_INSTANCES, reasons::TARGET_MISSING],
        ],
        control: LINES_ARRIVE,
        measures: &["quiet_seconds"],
        waivable: true,
        rules: &[],
    };
    type Memory = Seen;

    fn targets(&self) -> Vec<TargetUse> {
        vec![TargetUse { field: "loki", kind: Some(TargetKind::Loki), name: self.loki.clone() }]
    }

    fn validate(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if !(SHORTEST..=LONGEST).contains(&self.quiet_for) {
            let message = format!("{} is out of bounds", words(self.quiet_for));
            errors.push(FieldError { field: "for", message, hint: "write 5s to 7d".to_owned() });
        }
        if !self.selector.trim_start().starts_with('{') {
            let hint = "begin with a stream selector, like `{job=~\".+\"}`".to_owned();
            errors.push(FieldError { field: "selector", message: "no stream selector".to_owned(), hint });
        }
        errors
    }

    fn run<'a>(&'a self, cx: &'a Context, memory: Seen) -> BoxFuture<'a, Report<Seen>> {
        Box::pin(async move {
            match self.read(cx, Budget::start(cx.timeout)).await {
                Ok(state) => {
                    let (outcome, seen) = self.judge(&state, memory, cx.now);
                    let quiet = seen.since.and_then(|since| age(cx.now, since)).unwrap_or_default();
                    let part = PartId::new(PartId::WHOLE);
                    let measures = vec![Measure { part, name: "quiet_seconds", value: quiet.as_secs_f64() }];
                    Report { measures, ..Report::new(Step::whole(outcome), seen) }
                }
                Err(outcome) => Report::new(Step::whole(outcome), memory),
            }
        })
    }

    /// What was really read, as if a line had come since the look before.
    fn control<'a>(&'a self, cx: &'a Context, _: Seen) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            match self.read(cx, Budget::start(cx.timeout)).await {
                Ok(state) => {
                    let lines = Some(state.lines);
                    let before = Seen { started_at: state.started_at, lines, since: Some(DateTime::UNIX_EPOCH), came: None };
                    self.judge(&State { lines: state.lines + 1.0, ..state }, before, cx.now).0
                }
                Err(outcome) => outcome,
            }
        })
    }
}

#[cfg(test)]
mod tests;
