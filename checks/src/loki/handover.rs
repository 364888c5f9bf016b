//! `shipperHandover`: the old collector's streams have ended, and nothing is shipped twice.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Check, Context, FieldError, Meta, Nature, Report};
use crate::counter::{earlier, words};
use crate::net::{Budget, fetch, reasons};
use crate::outcome::{Measure, Outcome, PartId, ReasonSpec, Step};
use crate::target::{LokiTarget, TargetKind, TargetUse};

use super::counts::{self, Counts, Question};
use super::lines;

mod judge;

use judge::{Again, Seen, Sight};

/// The new collector ships nothing.
const NOT_TAKEN_OVER: ReasonSpec = ReasonSpec::fail(
    "not_taken_over",
    "see whether the new collector runs and ships to this Loki; correct `selector`, `label` and `new`, or raise `window` if lines are \
     that rare",
);
/// The old collector goes on.
const OLD_STILL_SHIPS: ReasonSpec = ReasonSpec::fail(
    "old_still_ships",
    "stop the old collector for good, and see that nothing starts it again: what it ships is not shipped by the new one",
);
/// Both ship the same.
const SHIPPED_TWICE: ReasonSpec = ReasonSpec::fail(
    "shipped_twice",
    "stop the old collector for good, and see that nothing starts it again: Loki keeps the lines of both",
);
/// The old collector's last lines.
const OLD_DRAINS: ReasonSpec =
    ReasonSpec::waiting("old_drains", "wait until the old collector's last lines are older than `window`, and no more come");
/// The new collector leaves something out.
const NOT_CARRIED: ReasonSpec = ReasonSpec::fail(
    "not_carried",
    "let the new collector's pipeline keep what the evidence names before you stop the old one, or list it in `ignore`; it holds until \
     the service is seen carried",
);
/// Nothing to compare with.
const OLD_SILENT: ReasonSpec = ReasonSpec::fail(
    "old_silent",
    "start the old collector again, correct `old`, or raise `window`; once it is retired on purpose, take out `both`",
);
/// Somebody else ships, too.
const THIRD_COLLECTOR: ReasonSpec = ReasonSpec::unknown(
    "third_collector",
    "correct `old` and `new`, or narrow `selector`: somebody ships who is neither of them",
);

/// The shortest and the longest time that may be looked at.
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_hours(7 * 24);
/// What nobody is called.
const NOBODY: &str = "phasegate-nobody";

/// The new collector has shipped lines to a Loki within `window` (5 m by default), and the old one none; or with `both: true`, while
/// both run on purpose, the new one ships all that the old one ships, service by service.
///
/// Counts lines by `label`, which tells the collectors apart (`agent` by default): its value is `old` for the old one, empty by
/// default since Promtail sets no such label, and `new` for the new one. `by` names the services (`service` by default).
///
/// **After the handover.** Loki can not tell that two collectors ship the same line, so each is there twice. Let `window` be longer
/// than the old collector's batches and retries. When the old one has just been stopped, its last lines are still within
/// `window`: that is Waiting, as long as no more of them come from one look to the next. When more come, it is Fail for a
/// fifth of `window` after the last of them. A collector that ships more rarely than once in `window` is not seen for all of the time.
/// So that a wrong `old` is not taken for silence, lines by anybody else than these two are Unknown.
///
/// **Before it** (`both: true`). A line has the same timestamp whoever ships it, so the new one must have as many lines of each
/// service as the old one, or more. The newest tenth of `window` is left out: those lines may be on their way. A service that the old one
/// does not ship within `window` is not compared. One that was not carried, like a job that ran once tonight, stays Fail until
/// those lines are all there, or a later `window` shows it carried.
///
/// Fail: refused, reset, silent, 429 or 5xx, a web page, another server, and what is said above; no line at all is Fail as well.
/// Waiting: the old one's last lines. Unknown: our own resolver or network, an untrusted certificate, a query that Loki does not take, a
/// reply that is cut short, too large, not parsable or of another time, a third collector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShipperHandover {
    /// Name of the target, of kind `loki`.
    pub loki: String,
    /// `LogQL` query that finds the lines of both collectors, like `{job="systemd-journal"}`.
    pub selector: String,
    /// The label that tells the collectors apart.
    #[serde(default = "agent")]
    pub label: String,
    /// Its value for the old collector. Empty: it has no such label.
    #[serde(default)]
    pub old: String,
    /// Its value for the new collector, like `alloy`.
    pub new: String,
    /// The label that names the services.
    #[serde(default = "service")]
    pub by: String,
    /// How far back lines count, like `5m`.
    #[serde(default = "five_minutes", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub window: Duration,
    /// Both collectors run on purpose, before the handover.
    #[serde(default)]
    pub both: bool,
    /// Services that do not count. Empty: lines without `by`.
    #[serde(default)]
    pub ignore: BTreeSet<String>,
}

fn agent() -> String {
    "agent".to_owned()
}

fn service() -> String {
    "service".to_owned()
}

fn five_minutes() -> Duration {
    Duration::from_mins(5)
}

impl ShipperHandover {
    /// How long the old collector's growth holds; and which part of `window` may be on its way while both run.
    fn hold(&self) -> Duration {
        self.window / 5
    }

    fn lag(&self) -> Duration {
        if self.both { self.window / 10 } else { Duration::ZERO }
    }

    /// The lines of this query from `over` before `at`.
    async fn count(
        &self,
        cx: &Context,
        query: &str,
        at: DateTime<Utc>,
        over: Duration,
        budget: Budget,
    ) -> Result<Counts, Outcome> {
        let loki = cx.target::<LokiTarget>(&self.loki)?;
        let by = [self.label.as_str(), self.by.as_str()];
        Question { query, by: &by, at, over }.ask(cx, loki, budget).await
    }

    /// The lines of the last `window`.
    async fn newest(&self, cx: &Context, budget: Budget) -> Result<Counts, Outcome> {
        self.count(cx, &self.selector, earlier(cx.now, self.lag()), self.window, budget).await
    }

    fn sight(&self, counts: &Counts) -> Sight {
        Sight::of(counts, &self.old, &self.new, &self.ignore)
    }

    async fn look(&self, cx: &Context, before: &Seen) -> Result<(Sight, Option<Again>), Outcome> {
        let budget = Budget::start(cx.timeout);
        let sight = self.sight(&self.newest(cx, budget).await?);
        let again = if self.both {
            let Some((service, missing)) = before.doubtful(&sight) else { return Ok((sight, None)) };
            let query = counts::narrowed(&self.selector, &self.by, [service.as_str()]);
            let then = self.count(cx, &query, missing.until, missing.over(), budget).await?;
            Again::Of(service.clone(), self.sight(&then))
        } else {
            let gap = before.gap(cx.now, self.window).filter(|_| sight.by_old() > 0 || before.had_old());
            let Some(gap) = gap else { return Ok((sight, None)) };
            let over = self.window.saturating_add(gap);
            Again::Since(self.sight(&self.count(cx, &self.selector, cx.now, over, budget).await?))
        };
        Ok((sight, Some(again)))
    }

    /// What was really read, as if nobody were the new collector; and with one more line that is not handed over.
    fn judge_wrong(&self, counts: &Counts, cx: &Context) -> Outcome {
        let nobody = Self { new: NOBODY.to_owned(), ..self.clone() };
        let (untaken, _) = nobody.judge(&nobody.sight(counts), None, Seen::default(), cx.now);
        if !matches!(untaken, Outcome::Fail { .. }) {
            return untaken;
        }
        let sight = self.sight(counts).with_one_by_new();
        let more = sight.clone().with_one_by_old();
        let before = Seen::after(&sight, earlier(cx.now, self.window / 2));
        let (ships, _) = self.judge(&more, Some(&Again::Since(more.clone())), before, cx.now);
        if matches!(ships, Outcome::Fail { .. }) { untaken } else { ships }
    }
}

impl Check for ShipperHandover {
    const META: Meta = Meta {
        kind: "shipperHandover",
        nature: Nature::Continuous,
        reasons: &[
            reasons::NETWORK,
            fetch::REPLIES,
            lines::REASONS,
            counts::REASONS,
            &[NOT_TAKEN_OVER, OLD_STILL_SHIPS, SHIPPED_TWICE, OLD_DRAINS, NOT_CARRIED, OLD_SILENT, THIRD_COLLECTOR],
            &[reasons::TARGET_MISSING],
        ],
        control: NOT_TAKEN_OVER,
        measures: &["old_lines", "new_lines"],
        waivable: true,
        rules: &[],
    };
    type Memory = Seen;

    fn targets(&self) -> Vec<TargetUse> {
        vec![TargetUse { field: "loki", kind: Some(TargetKind::Loki), name: self.loki.clone() }]
    }

    fn validate(&self) -> Vec<FieldError> {
        let wrong = [
            counts::wrong_query("selector", &self.selector),
            counts::wrong_label("label", &self.label),
            counts::wrong_label("by", &self.by),
        ];
        let mut errors: Vec<_> = wrong.into_iter().flatten().collect();
        let mut wrong = |field, message: String, hint: &str| errors.push(FieldError { field, message, hint: hint.into() });
        if chooses(&self.selector, &self.label) {
            let message = format!("it chooses among the collectors by `{}` itself", self.label);
            wrong("selector", message, "select the lines of both: which is whose is what `label`, `old` and `new` say");
        }
        if self.label == self.by {
            wrong("by", "the same as `label`".into(), "name the label that tells services apart, like service");
        }
        if self.old == self.new {
            wrong("new", "the same as `old`".into(), "give the value of `label` that only the new collector sets");
        }
        if !(SHORTEST..=LONGEST).contains(&self.window) {
            wrong("window", format!("{} is out of bounds", words(self.window)), "write 5s to 7d");
        }
        errors
    }

    fn moves_within(&self) -> Option<(&'static str, Duration)> {
        (!self.both).then_some(("window", self.window))
    }

    fn run<'a>(&'a self, cx: &'a Context, memory: Seen) -> BoxFuture<'a, Report<Seen>> {
        Box::pin(async move {
            match self.look(cx, &memory).await {
                Ok((sight, again)) => {
                    let (outcome, seen) = self.judge(&sight, again.as_ref(), memory, cx.now);
                    let mut report = Report::new(Step::whole(outcome), seen);
                    for (name, count) in [("old_lines", sight.by_old()), ("new_lines", sight.by_new())] {
                        // Exact as far as anybody counts.
                        let value = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
                        report.measures.push(Measure { part: PartId::new(PartId::WHOLE), name, value });
                    }
                    report
                }
                Err(outcome) => Report::new(Step::whole(outcome), memory),
            }
        })
    }

    fn control<'a>(&'a self, cx: &'a Context, _: Seen) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let counts = self.newest(cx, Budget::start(cx.timeout)).await;
            counts.map_or_else(|outcome| outcome, |counts| self.judge_wrong(&counts, cx))
        })
    }
}

/// Whether a selector says which values of a label it wants.
fn chooses(selector: &str, label: &str) -> bool {
    let named = |c: char| c.is_ascii_alphanumeric() || c == '_';
    selector.match_indices(label).any(|(at, _)| {
        let (before, after) = selector.split_at(at);
        let after = after.strip_prefix(label).unwrap_or_default().trim_start();
        !label.is_empty() && !before.ends_with(named) && after.starts_with('=')
    })
}

#[cfg(test)]
mod tests;
