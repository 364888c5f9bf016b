//! `lokiHistory`: what the old Loki has of the past, the new one has as well.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::{BoxFuture, try_join};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::check::{Check, Context, FieldError, Meta, Nature, Report};
use crate::counter::{later, number};
use crate::net::{Budget, exposition, fetch, reasons};
use crate::outcome::{Measure, Outcome, PartId, Progress, ReasonSpec, Step};
use crate::proof::Rest;
use crate::target::{LokiTarget, TargetKind, TargetUse};

use super::{counts, lines};
use ask::{Question, TOO_MANY_SERVICES, Trouble, amounts, content, started};
use compare::{Difference, HOUR, Span, clock, differences};
use scan::{Next, Scan};
use told::differs;

mod ask;
mod compare;
mod rules;
mod scan;
mod told;

/// Lines are not there.
const MISSING: ReasonSpec = ReasonSpec::fail(
    "lines_missing",
    "copy what the evidence names again, from a Loki that was stopped cleanly: a volume copied while Loki ran lacks what was not \
     written yet",
);
/// There is something else.
const ALTERED: ReasonSpec = ReasonSpec::fail(
    "lines_differ",
    "compare the hours that the evidence names in both Lokis: their lines have another text, or are another service's",
);
/// There is more.
const EXTRA: ReasonSpec = ReasonSpec::fail(
    "lines_extra",
    "find out what has written into the new Loki, or deleted from the old one (`over` must stay below its retention); `to` ends the \
     comparison before the old one stopped taking lines",
);
/// There is nothing to be compared.
const NO_HISTORY: ReasonSpec = ReasonSpec::fail(
    "no_history",
    "correct `selector`, `label`, `over`, `from` or `to`: the old Loki has no line of what is to be compared",
);
/// No hour is over for long enough.
const NOT_SETTLED: ReasonSpec =
    ReasonSpec::waiting("not_settled", "wait until the first hour to be compared is over and settled");
/// There is more at once than can be read.
const TOO_DENSE: ReasonSpec = ReasonSpec::unknown(
    "too_dense",
    "narrow the `selector`, or say `sampleOneIn: 0`: more than 2000 lines within a millisecond can not be read",
);

/// Hour by hour and service by service, the old and the new Loki hold the same number of lines and bytes of the past, and the same
/// text in a sample of them. A proof: it takes its time, shows how far it has come, and says what it has compared.
///
/// Compared are the full hours of the `over` (7 d by default) before now, or from `from` to `to`, but only those that have been over
/// for `settle` (1 h by default: Loki takes lines that are an hour late). The hours are counted by Loki itself (`count_over_time`,
/// `bytes_over_time`), so another split, schema or index makes no difference, and neither do labels other than `label`
/// (`service` by default). Of each hour that counts the same, the lines of a random part are read from both and compared
/// (`sampleOneIn: 20`: of one in twenty, so that a single altered line of the same length is found with 5 %; 1 reads all, 0 none).
/// Lines of the canary are left out unless `selector` says otherwise.
///
/// Lines older than 3 h that Loki replays from its write-ahead log, or takes late, are not to be seen before they are flushed, which
/// may take 35 minutes. So what differs is looked at again, and fails only when it has differed for `visibleWithin` (45 m by
/// default); and nothing passes before everything was looked at after both Lokis have run for that long. A Loki that does not
/// answer is waited for two minutes. Each run asks one question after another for at most `loadPercent` (25 by default) of its
/// timeout, so that the Lokis have time for others. After a Pass the next comparison begins when `rest` (15 m by default) is over.
///
/// Fail: lines missing, differing or added; no line in the old Loki; one of the two refuses, is silent, is no Loki. Waiting: no
/// hour is settled yet. Unknown: our own resolver or network, a reply that is cut short, too large or not parsable, a question
/// that Loki refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LokiHistory {
    /// Name of the target that the history comes from, of kind `loki`.
    pub old: String,
    /// Name of the target that it was moved to, of kind `loki`.
    pub new: String,
    /// Which lines, in `LogQL`. By default all that have the `label`, without the canary's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The label that tells services apart.
    #[serde(default = "service")]
    pub label: String,
    /// How far back, like `7d`.
    #[serde(default = "seven_days", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub over: Duration,
    /// From when on, like `2026-11-20T00:00:00Z`, instead of `over`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub from: Option<DateTime<Utc>>,
    /// Until when at most, like `2026-11-27T12:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub to: Option<DateTime<Utc>>,
    /// How long an hour must be over, like `1h`.
    #[serde(default = "one_hour", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub settle: Duration,
    /// The text of the lines of one in so many parts of each hour is compared.
    #[serde(default = "twenty")]
    pub sample_one_in: u32,
    /// For how long what was moved may not be visible yet, like `45m`.
    #[serde(default = "forty_five_minutes", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub visible_within: Duration,
    /// How much of its timeout a run asks questions.
    #[serde(default = "a_quarter")]
    pub load_percent: u32,
    /// How long after a Pass the next comparison begins, like `15m`.
    #[serde(default = "a_quarter_of_an_hour", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub rest: Duration,
}

fn service() -> String {
    "service".to_owned()
}

fn seven_days() -> Duration {
    Duration::from_hours(7 * 24)
}

fn one_hour() -> Duration {
    Duration::from_hours(1)
}

fn a_quarter_of_an_hour() -> Duration {
    Duration::from_mins(15)
}

fn twenty() -> u32 {
    20
}

fn forty_five_minutes() -> Duration {
    Duration::from_mins(45)
}

fn a_quarter() -> u32 {
    25
}

/// What is remembered between Runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    scan: Option<Scan>,
    /// When the next comparison begins.
    #[serde(default)]
    rests_until: Rest,
    /// An hour in which there were lines, for the negative control.
    busy: Option<i64>,
}

/// What a Run came to.
enum Came {
    /// The end of the comparison.
    To(Outcome),
    /// Not to its end.
    OnTheWay(Step),
}

/// The two Lokis.
type Both<'a> = (&'a LokiTarget, &'a LokiTarget);

impl LokiHistory {
    fn both<'a>(&self, cx: &'a Context) -> Result<Both<'a>, Outcome> {
        Ok((cx.target::<LokiTarget>(&self.old)?, cx.target::<LokiTarget>(&self.new)?))
    }

    fn selector(&self) -> String {
        let all = || format!("{{{}=~\".+\", service!=\"migration-canary\"}}", self.label);
        self.selector.clone().unwrap_or_else(all)
    }

    /// The hours that are to be compared, or when the first of them can be.
    fn window(&self, now: DateTime<Utc>) -> Result<Span, DateTime<Utc>> {
        let settled = now - self.settle;
        let full = |time: DateTime<Utc>| time.timestamp().div_euclid(HOUR) * HOUR;
        let to = full(self.to.map_or(settled, |to| to.min(settled)));
        let from = self.from.map_or_else(|| full(self.to.unwrap_or(settled) - self.over), full);
        if from < to {
            return Ok(Span(from, to));
        }
        Err(later(DateTime::from_timestamp(from + HOUR, 0).unwrap_or_default(), self.settle))
    }

    /// Does what is next, until the share of this Run is over.
    async fn advance(&self, cx: &Context, both: Both<'_>, scan: &mut Scan) -> Came {
        let budget = Budget::start(cx.timeout);
        let pause = budget.start + cx.timeout * self.load_percent / 100;
        let selector = self.selector();
        loop {
            let number = scan.begun.timestamp_millis() + i64::from(scan.round);
            let question = Question { selector: &selector, label: &self.label, scan: number };
            let asked = match scan.next(self.sample_one_in, self.visible_within, cx.now) {
                Next::Wait(_) => return Came::OnTheWay(Step::More(self.progress(scan, cx.now))),
                next @ (Next::Same | Next::Differs) => match self.visible_since(cx, both, budget).await {
                    Ok(visible) if !scan.is_of(visible) => {
                        scan.start_over(visible.max(cx.now));
                        Ok(())
                    }
                    Ok(_) if next == Next::Same => return Came::To(self.same(scan, cx.now)),
                    Ok(_) => return Came::To(differs(scan.found.clone(), scan.more, scan.window)),
                    Err(trouble) => Err(trouble),
                },
                Next::Count(span) => self.count(cx, both, question, span, budget, scan).await,
                Next::Read(start, end) => self.read(cx, both, question, (start, end), budget, scan).await,
            };
            match asked {
                Ok(()) => {}
                Err(Trouble::TooMuch(_)) if scan.smaller() => {}
                Err(Trouble::TooMuch(outcome) | Trouble::Other(outcome)) => {
                    if !scan.waits_out(cx.now) {
                        return Came::OnTheWay(Step::whole(outcome));
                    }
                    let progress = self.progress(scan, cx.now);
                    let note = format!("no answer, asked again with the next run: {}; {}", outcome.evidence(), progress.note);
                    return Came::OnTheWay(Step::More(Progress { note: note.into(), ..progress }));
                }
            }
            if Instant::now() >= pause {
                return Came::OnTheWay(Step::More(self.progress(scan, cx.now)));
            }
        }
    }

    /// Since when all that the two hold is to be seen.
    async fn visible_since(&self, cx: &Context, (old, new): Both<'_>, budget: Budget) -> Result<DateTime<Utc>, Trouble> {
        let (old, new) = try_join(started(cx, old, budget), started(cx, new, budget)).await?;
        Ok(later(old.max(new), self.visible_within))
    }

    async fn count(
        &self,
        cx: &Context,
        (old, new): Both<'_>,
        question: Question<'_>,
        span: Span,
        budget: Budget,
        scan: &mut Scan,
    ) -> Result<(), Trouble> {
        let asked = Instant::now();
        let (old, new) = try_join(amounts(cx, old, question, span, budget), amounts(cx, new, question, span, budget)).await?;
        scan.took(asked.elapsed(), cx.timeout);
        scan.counted(span, &old, &new, self.sample_one_in);
        Ok(())
    }

    async fn read(
        &self,
        cx: &Context,
        (old, new): Both<'_>,
        question: Question<'_>,
        window: (i64, i64),
        budget: Budget,
        scan: &mut Scan,
    ) -> Result<(), Trouble> {
        match try_join(content(cx, old, question, window, budget), content(cx, new, question, window, budget)).await? {
            (Some(old), Some(new)) => scan.read(window, &old, &new, self.sample_one_in),
            _ if scan.smaller() => {}
            _ => return Err(Trouble::Other(TOO_DENSE.because(format!("at {}", clock(window.0 / 1000))))),
        }
        Ok(())
    }

    /// What is really there in an hour, as if the new Loki had a line less than the old one.
    async fn look_wrong(&self, cx: &Context, memory: Memory) -> Result<Outcome, Outcome> {
        let (old, new) = self.both(cx)?;
        let window = memory.scan.as_ref().map_or_else(|| self.window(cx.now), |scan| Ok(scan.window));
        let window = window.map_err(|due| NOT_SETTLED.until(due, "there is no hour to be compared yet"))?;
        let busy = memory.scan.and_then(|scan| scan.tally.busy).or(memory.busy);
        let day = || Span(window.0.max(window.1 - 24 * HOUR), window.1);
        let span = busy.map_or_else(day, |hour| Span(hour, hour + HOUR));
        let selector = self.selector();
        let question = Question { selector: &selector, label: &self.label, scan: cx.now.timestamp_millis() };
        let budget = Budget::start(cx.timeout);
        let asked = try_join(amounts(cx, old, question, span, budget), amounts(cx, new, question, span, budget)).await;
        let (old, mut new) = asked.map_err(|trouble| match trouble {
            Trouble::TooMuch(outcome) | Trouble::Other(outcome) => outcome,
        })?;
        let some = old.iter().find_map(|(hour, services)| services.first_key_value().map(|(of, amount)| (*hour, of, *amount)));
        let Some((hour, of, amount)) = some else {
            return Err(NO_HISTORY.because(format!("no line of {selector} from {}", span.words())));
        };
        let there = new.entry(hour).or_default().entry(of.clone()).or_default();
        there.lines = there.lines.min(amount.lines).saturating_sub(1);
        let found: Vec<Difference> = differences(hour, &old, &new).into_iter().filter(|found| found.of == *of).collect();
        if found.is_empty() {
            return Ok(Outcome::pass(format!("{of}: a line less is taken for the same")));
        }
        Ok(differs(found, 0, span))
    }

    fn report(&self, cx: &Context, memory: Memory, scan: Scan, came: Came) -> Report<Memory> {
        let busy = scan.tally.busy.or(memory.busy);
        let total = u64::try_from(scan.window.hours()).unwrap_or_default();
        let different = u64::try_from(scan.found.len()).unwrap_or_default().saturating_add(scan.more);
        let counts = [
            ("hours_compared", scan.done()),
            ("hours_total", total),
            ("lines_compared", scan.tally.lines),
            ("hours_different", different),
        ];
        let measure = |(name, count)| Measure { part: PartId::new(PartId::WHOLE), name, value: number(count) };
        let measures = counts.into_iter().map(measure).collect();
        let (step, memory) = match came {
            Came::OnTheWay(step) => (step, Memory { scan: Some(scan), rests_until: Rest::default(), busy }),
            Came::To(outcome) => {
                let passed = matches!(outcome, Outcome::Pass { .. });
                (Step::whole(outcome), Memory { scan: None, rests_until: Rest::after(passed, cx.now, self.rest), busy })
            }
        };
        Report { measures, ..Report::new(step, memory) }
    }
}

impl Check for LokiHistory {
    const META: Meta = Meta {
        kind: "lokiHistory",
        nature: Nature::Proof,
        reasons: &[
            reasons::NETWORK,
            fetch::REPLIES,
            lines::REASONS,
            exposition::PAGES,
            &[counts::PARTIAL],
            &[MISSING, ALTERED, EXTRA, NO_HISTORY, NOT_SETTLED, TOO_DENSE, TOO_MANY_SERVICES, reasons::TARGET_MISSING],
        ],
        control: MISSING,
        measures: &["hours_compared", "hours_total", "lines_compared", "hours_different"],
        waivable: true,
        rules: &[],
    };
    type Memory = Memory;

    fn targets(&self) -> Vec<TargetUse> {
        let of = |field, name: &String| TargetUse { field, kind: Some(TargetKind::Loki), name: name.clone() };
        vec![of("old", &self.old), of("new", &self.new)]
    }

    fn validate(&self) -> Vec<FieldError> {
        rules::broken(self)
    }

    fn run<'a>(&'a self, cx: &'a Context, mut memory: Memory) -> BoxFuture<'a, Report<Memory>> {
        Box::pin(async move {
            let both = match self.both(cx) {
                Ok(both) => both,
                Err(outcome) => return Report::new(Step::whole(outcome), memory),
            };
            if let Some(step) = memory.rests_until.holds(cx.now) {
                return Report::new(step, memory);
            }
            let begun = memory.scan.take().map_or_else(|| self.window(cx.now).map(|window| Scan::begin(window, cx.now)), Ok);
            let mut scan = match begun {
                Ok(scan) => scan,
                Err(due) => {
                    let evidence = format!("the first hour can be compared from {} on", due.format("%F %TZ"));
                    return Report::new(Step::whole(NOT_SETTLED.until(due, evidence)), memory);
                }
            };
            let came = self.advance(cx, both, &mut scan).await;
            self.report(cx, memory, scan, came)
        })
    }

    fn control<'a>(&'a self, cx: &'a Context, memory: Memory) -> BoxFuture<'a, Outcome> {
        Box::pin(async move { self.look_wrong(cx, memory).await.unwrap_or_else(|outcome| outcome) })
    }
}

#[cfg(test)]
mod tests;
