//! `streamFreshness`: each listed service has lines within its own cadence, and no service is forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::{BoxFuture, join, join_all};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Check, Context, FieldError, Meta, Nature, Report};
use crate::counter::{age, earlier, words};
use crate::net::{Budget, fetch, reasons};
use crate::outcome::{Measure, Outcome, PartId, ReasonSpec, Step};
use crate::target::{LokiTarget, TargetKind, TargetUse};

use super::counts::{self, Question};
use super::lines;

mod judge;
mod last;
mod unlisted;

use judge::Seen;
use last::Last;
use unlisted::Unlisted;

/// No lines for longer than the service's cadence.
const SILENT: ReasonSpec = ReasonSpec::fail(
    "silent",
    "see whether the service or its job runs, and whether the collector ships it to this Loki with this label; correct its cadence if it \
     is that rare",
);
/// None yet, but it is early.
const FIRST_LINES: ReasonSpec =
    ReasonSpec::waiting("first_lines", "wait for the service's first lines; they are due one cadence after the first look");
/// The old side has a service that nobody thought of.
const FORGOTTEN: ReasonSpec = ReasonSpec::fail(
    "forgotten_service",
    "list what the evidence names in `services` with its cadence, or in `ignore` if it is not to move; an empty name is a line without \
     the label",
);
/// The old side is being read.
const DISCOVERING: ReasonSpec =
    ReasonSpec::waiting("discovering", "wait until the old side has been read as far back as `over` says");
/// The old side can not be read.
const OLD_UNREAD: ReasonSpec = ReasonSpec::unknown(
    "old_unread",
    "let the old Loki answer until its services are known, or take `oldLoki` out once it is gone for good",
);
/// The old side is empty.
const OLD_EMPTY: ReasonSpec =
    ReasonSpec::unknown("old_empty", "correct `oldLoki` and `oldSelector`: they find no line at all within `over`");

/// The part that tells of services that are not listed.
const UNLISTED: &str = "(unlisted)";
/// What nobody is called.
const NOBODY: &str = "phasegate-nobody";
/// Most services, and most cadences: each is a query of its own.
const MAX_SERVICES: usize = 50;
const MAX_CADENCES: usize = 8;
/// Longest name, in bytes.
const MAX_NAME: usize = 64;
/// The shortest and the longest time that may be asked for.
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_hours(31 * 24);
/// Most questions in one Run about where the last lines of silent services are.
const MAX_SEARCHES: usize = 6;

/// Each service in `services` has a line in a Loki within its own cadence; with `oldLoki`, no service that logs on the old side is
/// left out of the list.
///
/// Lines are told apart by the stream label `label` (`service` by default). A daily job's silence is no loss, its missing run is: give
/// it a cadence of a run's distance and some hours, like `26h`. A service that has had no line in this Loki yet is Waiting for
/// one cadence from the probe's first look; one that had some is Fail as soon as the newest is older than its cadence. What
/// is pushed with old timestamps shows only when Loki has flushed it. Names go into the query, so list 50 services and 8
/// different cadences at most. A long cadence is for services that log little: all of its lines are counted in each run.
///
/// With `oldLoki` and `oldSelector` the part `(unlisted)` reads the old side as far back as `over` (7 d by default), some hours in
/// each run, then what is new every five minutes. Each service there that is neither in `services` nor in `ignore` is Fail, with its lines
/// and their largest gap, and stays so until it is in one of them. Once the old side has been read in full it is remembered: that it
/// falls silent or goes away later changes nothing. Until then an old side that does not answer is Unknown; after the probe
/// was changed it is read anew.
///
/// Fail: refused, reset, silent, 429 or 5xx, a web page, another server, no line within a cadence, a forgotten service. Waiting: the
/// first lines of a service, the first reading of the old side. Unknown: our own resolver or network, an untrusted certificate, a query
/// that Loki does not take, a reply that is cut short, too large, not parsable or of another time, an old side that was not read
/// in full or has no lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StreamFreshness {
    /// Name of the target, of kind `loki`.
    pub loki: String,
    /// `LogQL` query that finds the lines of the services, like `{job="systemd-journal", agent="alloy"}`.
    pub selector: String,
    /// The stream label that names the services.
    #[serde(default = "service")]
    pub label: String,
    /// Each service with the longest time between two of its lines, like `{system-metrics: 2m, gitops-sync: 26h}`.
    #[serde(default)]
    pub services: BTreeMap<String, Cadence>,
    /// Name of the target of kind `loki` that has the old side's lines; may be the same one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_loki: Option<String>,
    /// `LogQL` query that finds the old side's lines there, like `{job="systemd-journal", agent=""}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_selector: Option<String>,
    /// How far back the old side's services count, like `7d`.
    #[serde(default = "a_week", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub over: Duration,
    /// Services of the old side that need not be listed. Empty: lines without the label.
    #[serde(default)]
    pub ignore: BTreeSet<String>,
}

/// The longest time between two lines of a service, like `26h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Cadence(
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    Duration,
);

fn service() -> String {
    "service".to_owned()
}

fn a_week() -> Duration {
    Duration::from_hours(7 * 24)
}

/// How many lines of each service there are within its cadence, or why that is not known.
type Lines = BTreeMap<String, Result<u64, Outcome>>;

impl StreamFreshness {
    async fn count(
        &self,
        cx: &Context,
        services: &[&str],
        (from, until): Span,
        budget: Budget,
    ) -> Result<counts::Counts, Outcome> {
        let loki = cx.target::<LokiTarget>(&self.loki)?;
        let query = counts::narrowed(&self.selector, &self.label, services.iter().copied());
        let over = age(until, from).unwrap_or_default();
        Question { query: &query, by: &[self.label.as_str()], at: until, over }.ask(cx, loki, budget).await
    }

    /// Asks for all services, one question for those of a cadence.
    async fn lines(&self, cx: &Context, budget: Budget) -> Lines {
        let mut groups: BTreeMap<Duration, Vec<&str>> = BTreeMap::new();
        for (service, Cadence(cadence)) in &self.services {
            groups.entry(*cadence).or_default().push(service);
        }
        let asked = groups.into_iter().map(|(cadence, services)| async move {
            let counts = self.count(cx, &services, (earlier(cx.now, cadence), cx.now), budget).await;
            let of = |service: &str| match &counts {
                Ok(counts) => Ok(counts.get([service.to_owned()].as_slice()).copied().unwrap_or_default()),
                Err(outcome) => Err(outcome.clone()),
            };
            services.iter().map(|service| ((*service).to_owned(), of(service))).collect::<Vec<_>>()
        });
        join_all(asked.collect::<Vec<_>>()).await.into_iter().flatten().collect()
    }

    /// Looks for the last lines of those that are silent, as far as one Run may go.
    async fn search(&self, cx: &Context, lines: &Lines, seen: &mut Seen, budget: Budget) {
        let silent = lines.iter().filter(|(_, lines)| matches!(lines, Ok(0))).map(|(service, _)| service);
        let mut silent: Vec<(&String, Duration)> =
            silent.filter_map(|service| Some((service, self.services.get(service)?.0))).collect();
        for _ in 0..MAX_SEARCHES {
            silent.retain(|(service, cadence)| seen.last(service, *cadence, cx.now).next(cx.now, *cadence).is_some());
            let Some((service, cadence)) = silent.first().copied() else { return };
            silent.rotate_left(1);
            let last = seen.last(service, cadence, cx.now);
            let Some(span) = last.next(cx.now, cadence) else { return };
            let Ok(counts) = self.count(cx, &[service.as_str()], span, budget).await else {
                seen.learn(service, last.fail());
                return;
            };
            seen.learn(service, last.learn(span, counts.values().any(|count| *count > 0)));
        }
    }

    async fn look(&self, cx: &Context, seen: &mut Seen) -> (BTreeMap<PartId, Outcome>, Vec<Measure>) {
        let budget = Budget::start(cx.timeout);
        let known = std::mem::take(&mut seen.unlisted);
        let (lines, (unlisted, unread)) = join(self.lines(cx, budget), self.discover(cx, known, budget)).await;
        seen.unlisted = unlisted;
        seen.begin(self, &lines, cx.now);
        self.search(cx, &lines, seen, budget.until(4)).await;
        let mut parts = self.judge(&lines, seen, cx.now);
        if self.old_loki.is_some() {
            parts.insert(PartId::new(UNLISTED), self.judge_unlisted(&seen.unlisted, unread, cx.now));
        }
        let measured = lines.iter().filter_map(|(service, lines)| {
            let value = f64::from(u32::try_from(*lines.as_ref().ok()?).unwrap_or(u32::MAX));
            Some(Measure { part: PartId::new(service), name: "lines", value })
        });
        (parts, measured.collect())
    }

    fn wrong_sides(&self) -> Option<FieldError> {
        let error = |field, message: &str, hint: &str| Some(FieldError { field, message: message.into(), hint: hint.into() });
        match (&self.old_loki, &self.old_selector) {
            (Some(_), None) => error("oldLoki", "no `oldSelector` beside it", "say how the old side's lines are found there"),
            (None, Some(_)) => error("oldSelector", "no `oldLoki` beside it", "name the target that has the old side's lines"),
            (None, None) if self.services.is_empty() => {
                error("services", "no service, and no `oldLoki` to find some", "list each service with its cadence")
            }
            (None, None) if !self.ignore.is_empty() => {
                error("ignore", "no `oldLoki` beside it", "take it out: without an old side nothing is looked for")
            }
            (Some(_), Some(selector)) => counts::wrong_query("oldSelector", selector),
            (None, None) => None,
        }
    }
}

/// Later than the first, up to and with the second.
type Span = (DateTime<Utc>, DateTime<Utc>);

impl Check for StreamFreshness {
    const META: Meta = Meta {
        kind: "streamFreshness",
        nature: Nature::Continuous,
        reasons: &[
            reasons::NETWORK,
            fetch::REPLIES,
            lines::REASONS,
            counts::REASONS,
            &[SILENT, FIRST_LINES, FORGOTTEN, DISCOVERING, OLD_UNREAD, OLD_EMPTY],
            &[reasons::TARGET_MISSING],
        ],
        control: SILENT,
        measures: &["lines"],
        waivable: true,
        rules: &[],
    };
    type Memory = Seen;

    fn targets(&self) -> Vec<TargetUse> {
        let named = [("loki", Some(&self.loki)), ("oldLoki", self.old_loki.as_ref())];
        let uses =
            |(field, name): (_, Option<&String>)| Some(TargetUse { field, kind: Some(TargetKind::Loki), name: name?.clone() });
        named.into_iter().filter_map(uses).collect()
    }

    fn validate(&self) -> Vec<FieldError> {
        let wrong =
            [counts::wrong_query("selector", &self.selector), counts::wrong_label("label", &self.label), self.wrong_sides()];
        let mut errors: Vec<_> = wrong.into_iter().flatten().collect();
        let mut wrong = |field, message: String, hint: &str| errors.push(FieldError { field, message, hint: hint.into() });
        let cadences: BTreeSet<_> = self.services.values().collect();
        if self.services.len() > MAX_SERVICES || cadences.len() > MAX_CADENCES {
            let message = format!("{} services with {} different cadences", self.services.len(), cadences.len());
            wrong("services", message, "50 and 8 at most; give services alike the same cadence, or use several probes");
        }
        for (service, Cadence(cadence)) in &self.services {
            if service.is_empty() || service.len() > MAX_NAME || service.chars().any(char::is_control) || service == UNLISTED {
                wrong(
                    "services",
                    format!("{service:?} is no name of a service"),
                    "write the value of the label, 64 bytes at most",
                );
            }
            if !(SHORTEST..=LONGEST).contains(cadence) {
                wrong("services", format!("{service}: {} is out of bounds", words(*cadence)), "write 5s to 31d");
            }
        }
        if !(Duration::from_mins(1)..=LONGEST).contains(&self.over) {
            wrong("over", format!("{} is out of bounds", words(self.over)), "write 1m to 31d");
        }
        errors
    }

    fn run<'a>(&'a self, cx: &'a Context, mut memory: Seen) -> BoxFuture<'a, Report<Seen>> {
        Box::pin(async move {
            let (parts, measures) = self.look(cx, &mut memory).await;
            Report { measures, ..Report::new(Step::Done(parts), memory) }
        })
    }

    /// Looks for a service that nobody has, as if it had been watched for longer than its cadence; and asks itself whether one more
    /// service of the old side would be seen.
    fn control<'a>(&'a self, cx: &'a Context, _: Seen) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let cadence = self.services.values().min().copied().unwrap_or(Cadence(Duration::from_mins(1)));
            let nobody = Self { services: BTreeMap::from([(NOBODY.to_owned(), cadence)]), old_loki: None, ..self.clone() };
            let lines = nobody.lines(cx, Budget::start(cx.timeout)).await;
            let mut seen = Seen::long_ago(cx.now, cadence.0);
            seen.begin(&nobody, &lines, cx.now);
            let silent = nobody.judge(&lines, &seen, cx.now).into_values().next();
            let forgotten = self.judge_unlisted(&Unlisted::with(NOBODY, cx.now), None, cx.now);
            match silent {
                Some(silent @ Outcome::Fail { .. }) if matches!(forgotten, Outcome::Fail { .. }) => silent,
                Some(Outcome::Fail { .. }) | None => forgotten,
                Some(other) => other,
            }
        })
    }
}

#[cfg(test)]
mod tests;
