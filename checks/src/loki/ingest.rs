//! `lokiIngest`: lines arrive at a Loki, and it neither refuses nor loses them.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Check, Context, FieldError, Meta, Nature, Report};
use crate::counter::{Motion, Rising, Succession, age, later, words};
use crate::net::exposition::{self, Page, STARTED_AT, Sample};
use crate::net::{Budget, below, fetch, reasons};
use crate::outcome::{Measure, Outcome, PartId, ReasonSpec, Step};
use crate::target::{LokiTarget, TargetKind, TargetUse};

use super::{BUILD, DISCARDS, RECEIVED, SEVERAL_INSTANCES, get, is_ours, received};

/// Nothing arrives.
const NO_LINES: ReasonSpec = ReasonSpec::fail(
    "no_lines",
    "see whether the shipper runs and sends to this Loki as this tenant; raise `within` if lines are that rare",
);
/// Nothing was seen arriving yet, but it is early.
const LINES_AWAITED: ReasonSpec = ReasonSpec::waiting("lines_awaited", "wait for the next lines that are pushed to this Loki");
/// Lines are refused.
const DISCARDED: ReasonSpec = ReasonSpec::fail(
    "lines_discarded",
    "mend what the reason in the evidence says (a limit of Loki, or old or oversized lines); it holds until `holdFor` has passed",
);
/// Chunks do not reach the store.
const FLUSH_FAILURES: ReasonSpec = ReasonSpec::fail(
    "flush_failures",
    "look at Loki's log for why chunks can not be written to its store; it holds until `holdFor` has passed",
);
/// The write-ahead log can not be written, and Loki says nothing of it.
const WAL_DISK_FULL: ReasonSpec = ReasonSpec::fail(
    "wal_disk_full",
    "free space on Loki's disk: what is pushed now is lost if Loki crashes; it holds until `holdFor` has passed",
);
/// Loki panicked.
const PANICS: ReasonSpec =
    ReasonSpec::fail("panics", "look at Loki's log for the panic, and update Loki; it holds until `holdFor` has passed");

/// Most reasons of discards that are told apart, and the name of the rest.
const MAX_WHYS: usize = 32;
const OTHERS: &str = "(others)";
/// The longest times that may be asked for.
const LONGEST: Duration = Duration::from_hours(7 * 24);

/// Loki has received lines `within` (1 m by default), and there is no new sign of trouble: no discarded line, no failed flush, no
/// full disk under its write-ahead log, no panic.
///
/// Reads `/metrics` of Loki itself, which a gateway does not serve. *Received* is counted before validation: it proves traffic,
/// not that lines are stored, which is what `logCanary` is for. The canary's lines are traffic like any other, so next to a canary
/// this check does not say that anything else arrives. What Loki writes to itself (`is_internal_stream`) and, if the target has a
/// `tenant`, what other tenants send, does not count. A rise counts from the look before it, so let `within` be several times
/// `every`. Trouble is an event: it holds Fail for `holdFor` (5 m by default). What the counters say at the first look is history
/// and holds nothing; after a restart all that they say is new. A shipper that lost its positions sends lines again that are too
/// old by then: such discards are no loss, but they are seen.
///
/// Fail: refused, reset, silent, any error, a web page, another server, no lines for longer than `within`, trouble. Waiting: no
/// line has been seen arriving yet. Unknown: our own resolver or network, an untrusted certificate, a reply that is cut short,
/// too large or not parsable, several instances behind one URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LokiIngest {
    /// Name of the target, of kind `loki`.
    pub loki: String,
    /// Within which time lines must have arrived, like `1m`.
    #[serde(default = "one_minute", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub within: Duration,
    /// How long a sign of trouble holds, like `5m`.
    #[serde(default = "five_minutes", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub hold_for: Duration,
}

fn one_minute() -> Duration {
    Duration::from_mins(1)
}

fn five_minutes() -> Duration {
    Duration::from_mins(5)
}

/// A sign of trouble, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Trouble {
    /// The disk under the write-ahead log is full.
    WalDiskFull,
    /// A panic.
    Panic,
    /// A chunk could not be written.
    Flush,
    /// A line was refused.
    Discard,
}

impl Trouble {
    const ALL: [Self; 4] = [Self::WalDiskFull, Self::Panic, Self::Flush, Self::Discard];

    /// Its reason, its counter, and what to call one count of it.
    const fn spec(self) -> (ReasonSpec, &'static str, &'static str) {
        match self {
            Self::WalDiskFull => (WAL_DISK_FULL, "loki_ingester_wal_disk_full_failures_total", "writes to a full disk"),
            Self::Panic => (PANICS, "loki_panic_total", "panics"),
            Self::Flush => (FLUSH_FAILURES, "loki_ingester_chunks_flush_failures_total", "failed flushes"),
            Self::Discard => (DISCARDED, DISCARDS, "discarded lines"),
        }
    }
}

/// Counts of trouble, by kind and, for discards, by Loki's reason.
type Counts = BTreeMap<Trouble, BTreeMap<String, f64>>;

/// Trouble that was seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Event {
    #[serde(with = "chrono::serde::ts_milliseconds")]
    at: DateTime<Utc>,
    text: String,
}

/// What is remembered between Runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    started_at: Option<f64>,
    lines: Option<Rising>,
    counts: Counts,
    events: BTreeMap<Trouble, Event>,
}

/// What Loki's metrics say.
#[derive(Debug, Clone)]
struct State {
    started_at: Option<f64>,
    lines: f64,
    counts: Counts,
}

impl State {
    /// Absent counters are 0: Loki makes many of them with their first event only.
    fn of(page: &Page, tenant: Option<&str>) -> Result<Self, Outcome> {
        let label = |sample: &Sample, name| sample.labels.get(name).cloned().unwrap_or_default();
        let lines = received(page, tenant)?;
        let mut counts = Counts::new();
        for trouble in Trouble::ALL {
            let by_why = counts.entry(trouble).or_default();
            for sample in page.all(trouble.spec().1).filter(|sample| trouble != Trouble::Discard || is_ours(tenant, sample)) {
                let why: String = label(sample, "reason").chars().take(64).collect();
                let known = by_why.len() < MAX_WHYS || by_why.contains_key(&why);
                *by_why.entry(if known { why } else { OTHERS.to_owned() }).or_default() += page.count(sample)?;
            }
        }
        Ok(Self { started_at: page.gauge(STARTED_AT), lines, counts })
    }

    /// Whether it comes from another process than what is remembered. Without their start times a fallen counter tells.
    fn restarted(&self, before: &Seen) -> bool {
        let fell = |(trouble, by_why): (&Trouble, &BTreeMap<String, f64>)| {
            by_why.iter().any(|(why, count)| count_of(&self.counts, *trouble, why) < *count)
        };
        let known = before.started_at.is_some() && self.started_at.is_some();
        let any_fell = Rising::fell_to(before.lines.as_ref(), self.lines) || before.counts.iter().any(fell);
        Succession::of(before.started_at, self.started_at) != Succession::Same || (!known && any_fell)
    }

    /// What is new since the look before.
    fn news(&self, before: &Seen, restarted: bool) -> Vec<(Trouble, String)> {
        let mut news = Vec::new();
        for (trouble, by_why) in &self.counts {
            let risen = by_why.iter().filter_map(|(why, count)| {
                let earlier = count_of(&before.counts, *trouble, why);
                // A series that fell started anew, and all that it says came after the look before.
                let earlier = if restarted || *count < earlier { 0.0 } else { earlier };
                let why = if why.is_empty() { String::new() } else { format!(" ({why})") };
                (*count > earlier).then(|| format!("{} {}{why}", count - earlier, trouble.spec().2))
            });
            let risen: Vec<String> = risen.take(5).collect();
            if !risen.is_empty() {
                news.push((*trouble, risen.join(", ")));
            }
        }
        news
    }
}

fn count_of(counts: &Counts, trouble: Trouble, why: &str) -> f64 {
    counts.get(&trouble).and_then(|by_why| by_why.get(why)).copied().unwrap_or_default()
}

impl LokiIngest {
    async fn read(cx: &Context, loki: &LokiTarget, budget: Budget) -> Result<State, Outcome> {
        let reply = get(cx, loki, &below(&loki.url, &["metrics"]), budget).await?;
        let wanted: Vec<&str> =
            [BUILD, STARTED_AT, RECEIVED].into_iter().chain(Trouble::ALL.map(|trouble| trouble.spec().1)).collect();
        State::of(&Page::read(&reply, &wanted)?, loki.tenant.as_deref())
    }

    /// What the metrics mean after what is remembered. Gives also what to remember, and how old the lines' movement is.
    fn judge(&self, state: &State, before: Seen, now: DateTime<Utc>) -> (Outcome, Seen, Option<Duration>) {
        let succession = Succession::of(before.started_at, state.started_at);
        let restarted = state.restarted(&before);
        let mut events = before.events.clone();
        if before.lines.is_some() && succession != Succession::Another {
            events.extend(state.news(&before, restarted).into_iter().map(|(trouble, text)| (trouble, Event { at: now, text })));
        }
        for event in events.values_mut() {
            // After the clock was set back, an event of the future would hold for as long as that.
            event.at = event.at.min(now);
        }
        events.retain(|_, event| age(now, event.at).is_some_and(|age| age.is_zero() || age < self.hold_for));
        let lines = Rising::next(before.lines, state.lines, restarted, now, self.within);
        let seen = Seen { started_at: state.started_at, lines: Some(lines), counts: state.counts.clone(), events };
        let motion = lines.motion(now, self.within);
        let moved = if let Motion::Moved(age) = motion { Some(age) } else { None };
        if succession == Succession::Another {
            let evidence = format!("{STARTED_AT} went back to {}", state.started_at.unwrap_or_default());
            return (SEVERAL_INSTANCES.because(evidence), seen, None);
        }
        let outcome = self.held(&seen, now).unwrap_or_else(|| self.judge_lines(state.lines, motion));
        (outcome, seen, moved)
    }

    /// The worst trouble that is held, and the others in its evidence.
    fn held(&self, seen: &Seen, now: DateTime<Utc>) -> Option<Outcome> {
        let (worst, _) = seen.events.first_key_value()?;
        let text = seen.events.values().map(|event| {
            let ago = words(age(now, event.at).unwrap_or_default());
            format!("{} {ago} ago, holds until {}", event.text, later(event.at, self.hold_for).format("%FT%TZ"))
        });
        Some(worst.spec().0.because(text.collect::<Vec<_>>().join("; ")))
    }

    fn judge_lines(&self, lines: f64, motion: Motion) -> Outcome {
        let within = words(self.within);
        match motion {
            Motion::Moved(age) => Outcome::pass(format!("lines came within the last {}, {lines} since Loki's start", words(age))),
            Motion::Awaited(due) => {
                LINES_AWAITED.until(due, format!("{lines} since Loki's start, none seen arriving yet; due within {within}"))
            }
            Motion::Still(age) => {
                let ago = words(age);
                NO_LINES.because(format!("{lines} since Loki's start, none for {ago}; due within {within}"))
            }
        }
    }

    /// What was really read, as if it had stood still, and as if there were one more sign of trouble of each kind.
    fn judge_wrong(&self, state: &State, now: DateTime<Utc>) -> Outcome {
        let still = Seen {
            started_at: state.started_at,
            lines: Some(Rising::still(state.lines, now, self.within)),
            counts: state.counts.clone(),
            events: BTreeMap::new(),
        };
        let (stands, ..) = self.judge(state, still.clone(), now);
        if !matches!(stands, Outcome::Fail { .. }) {
            return stands;
        }
        for trouble in Trouble::ALL {
            let mut more = State { lines: state.lines + 1.0, ..state.clone() };
            *more.counts.entry(trouble).or_default().entry(OTHERS.to_owned()).or_default() += 1.0;
            let (outcome, ..) = self.judge(&more, still.clone(), now);
            if !matches!(outcome, Outcome::Fail { .. }) {
                return outcome;
            }
        }
        stands
    }
}

impl Check for LokiIngest {
    const META: Meta = Meta {
        kind: "lokiIngest",
        nature: Nature::Continuous,
        reasons: &[
            reasons::NETWORK,
            fetch::REPLIES,
            exposition::PAGES,
            &[NO_LINES, LINES_AWAITED, DISCARDED, FLUSH_FAILURES, WAL_DISK_FULL, PANICS, SEVERAL_INSTANCES],
            &[reasons::TARGET_MISSING, super::BAD_TENANT],
        ],
        control: NO_LINES,
        measures: &["lines_age_seconds"],
        waivable: true,
        rules: &[],
    };
    type Memory = Seen;

    fn targets(&self) -> Vec<TargetUse> {
        vec![TargetUse { field: "loki", kind: Some(TargetKind::Loki), name: self.loki.clone() }]
    }

    fn validate(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        for (field, time, least) in [("within", self.within, 1), ("holdFor", self.hold_for, 0)] {
            if !(Duration::from_secs(least)..=LONGEST).contains(&time) {
                let message = format!("{} is out of bounds", words(time));
                errors.push(FieldError { field, message, hint: format!("write {least}s to 7d") });
            }
        }
        errors
    }

    fn moves_within(&self) -> Option<(&'static str, Duration)> {
        Some(("within", self.within))
    }

    fn run<'a>(&'a self, cx: &'a Context, memory: Seen) -> BoxFuture<'a, Report<Seen>> {
        Box::pin(async move {
            let state = match cx.target::<LokiTarget>(&self.loki) {
                Ok(loki) => Self::read(cx, loki, Budget::start(cx.timeout)).await,
                Err(outcome) => Err(outcome),
            };
            match state {
                Ok(state) => {
                    let (outcome, seen, age) = self.judge(&state, memory, cx.now);
                    let mut report = Report::new(Step::whole(outcome), seen);
                    let part = PartId::new(PartId::WHOLE);
                    report.measures.extend(age.map(|age| Measure { part, name: "lines_age_seconds", value: age.as_secs_f64() }));
                    report
                }
                Err(outcome) => Report::new(Step::whole(outcome), memory),
            }
        })
    }

    fn control<'a>(&'a self, cx: &'a Context, _: Seen) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let read = match cx.target::<LokiTarget>(&self.loki) {
                Ok(loki) => Self::read(cx, loki, Budget::start(cx.timeout)).await,
                Err(outcome) => Err(outcome),
            };
            read.map_or_else(|outcome| outcome, |state| self.judge_wrong(&state, cx.now))
        })
    }
}

#[cfg(test)]
mod tests;
