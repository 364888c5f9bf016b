//! `logCanary`: each node's canary lines reach a Loki in time, and none is lost.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Check, Context, FieldError, Meta, Nature, Report};
use crate::loki::lines;
use crate::net::fetch;
use crate::net::{Budget, reasons, shown};
use crate::outcome::{MAX_MEMORY, Measure, Outcome, PartId, ReasonSpec, Step};
use crate::target::{AgentTarget, LokiTarget, TargetKind, TargetUse};

use super::head::{self, Told};
use super::line::Boot;
use super::trace::{self, InLoki};

mod book;
mod judge;

use book::Book;
use judge::Pace;

/// The agent lives, but writes nothing.
const AGENT_SILENT: ReasonSpec = ReasonSpec::fail(
    "agent_silent",
    "look at the agent's log on that node: its journal, or another sink, takes no lines (`failed` in the evidence)",
);
/// The agent writes, and nothing new arrives.
const STALLED: ReasonSpec = ReasonSpec::fail(
    "stalled",
    "look along the path from the node's journal to this Loki: lines are written but do not arrive; see that the collector ships \
     the canary and that `selector` finds it",
);
/// Lines are missing for good.
const LOST: ReasonSpec = ReasonSpec::fail(
    "lost",
    "find out what dropped the lines that the evidence names; it counts as over once `holdFor` brings no more",
);
/// Lines were here, and are not any more.
const DESTROYED: ReasonSpec = ReasonSpec::fail(
    "destroyed",
    "find out what took lines out of this Loki that were in it: chunks, a write-ahead log or a volume deleted, or restored from an \
     older copy, or a retention below `recheck`; it counts as over once `holdFor` brings no more",
);
/// What was delivered can not be counted again.
const OLD_UNREADABLE: ReasonSpec = ReasonSpec::unknown(
    "old_unreadable",
    "look at Loki's log: it has the newest lines, but has not answered for older ones for a while; its words are in the evidence",
);
/// The first line is on its way.
const FIRST_LINE: ReasonSpec = ReasonSpec::waiting("first_line", "wait for the first line since the agent's start");
/// A head that stands still.
const HEAD_STALE: ReasonSpec =
    ReasonSpec::unknown("head_stale", "take the cache or proxy out of the way to the agent: its answer is not fresh");
/// The account can not keep up.
const BEHIND: ReasonSpec = ReasonSpec::unknown(
    "behind",
    "wait until older lines are read again; if it stays, give the probe more `timeout` or let the agents write less often",
);
/// Two agents are one.
const SAME_NODE: ReasonSpec =
    ReasonSpec::unknown("same_node", "give each agent a name of its own (`--node`) and name each URL once: two say the same");
/// More agents than one probe can follow.
const TOO_MANY_AGENTS: ReasonSpec =
    ReasonSpec::unknown("too_many_agents", "spread the agents over several targets and probes: one follows 50 at most");

/// Most agents of one probe; what is remembered of them has to fit.
const MAX_AGENTS: usize = 50;
/// A start that no agent ever had: nobody wrote it.
const NEVER: Boot = Boot(0x5d1c_a7e0_93b4_f826);
/// The longest of the times.
const LONGEST: Duration = Duration::from_hours(24);
/// The shortest and the longest `recheck`.
const SHORTEST: Duration = Duration::from_secs(10);
const FARTHEST: Duration = Duration::from_hours(7 * 24);

/// The numbered lines that `probe agent` writes on each node (one part for each) are found in this Loki, the newest no later than
/// `lateAfter` after it was written; the agent itself says, beside the pipeline, which number that is.
///
/// Fail: the agent writes nothing, lines are written but do not arrive, lines are lost (missing for `lostAfter` although newer ones
/// are there; held for `holdFor`), Loki refused, reset, silent, 5xx, a web page, not Loki, a tenant that is denied. A pause in
/// shipping is no loss once the lines arrive. Unknown: no answer from the agent, or an old one, Loki's answer is cut, too large or
/// not parsable, it does not accept the query, our own resolver or network. Not counted as lost are lines that were written before
/// the first one was found, those that an agent wrote after it was last asked and before it was killed, and those on their way from
/// a start that more starts followed within `lostAfter` than are remembered (four, with 50 agents one).
///
/// Lines that were found are counted again, a slice in each run, about every twenty-fourth part of `recheck`. Those that two counts
/// in a row do not find are destroyed: Fail, held for `holdFor`. Unknown: Loki does not answer for older lines, or that is more than
/// can be read. It goes less far back if there are more than some hundred gaps to remember: the measure `recheck_seconds` says how
/// far. A Loki that deletes by age needs a retention longer than `recheck`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogCanary {
    /// Name of the target, of kind `agent`.
    pub agents: String,
    /// Name of the target, of kind `loki`.
    pub loki: String,
    /// `LogQL` selector of the streams that the canary's lines are in.
    #[serde(default = "selector")]
    pub selector: String,
    /// How long after it was written a line may be on its way, like `6s`.
    #[serde(with = "humantime_serde", default = "late_after")]
    #[schemars(with = "String")]
    pub late_after: Duration,
    /// How long a line may be missing, while newer ones are there, until it is lost, like `5m`.
    #[serde(with = "humantime_serde", default = "lost_after")]
    #[schemars(with = "String")]
    pub lost_after: Duration,
    /// How long the probe stays red after the last loss, like `5m`.
    #[serde(with = "humantime_serde", default = "hold_for")]
    #[schemars(with = "String")]
    pub hold_for: Duration,
    /// How old a line may be that is still counted again, like `24h`; less than Loki's retention. `0s` counts none again.
    #[serde(with = "humantime_serde", default = "recheck")]
    #[schemars(with = "String")]
    pub recheck: Duration,
}

fn selector() -> String {
    format!("{{service=\"{}\"}}", super::line::SERVICE)
}

fn late_after() -> Duration {
    Duration::from_secs(6)
}

fn lost_after() -> Duration {
    Duration::from_mins(5)
}

fn hold_for() -> Duration {
    Duration::from_mins(5)
}

fn recheck() -> Duration {
    Duration::from_hours(24)
}

/// What is remembered, by the agents' URLs.
pub type Memory = BTreeMap<String, Book>;

/// Makes it small enough. The accounts always are; what is there to be counted again gives way.
fn fit(memory: &mut Memory) {
    let too_large = |memory: &Memory| serde_json::to_vec(memory).is_ok_and(|bytes| bytes.len() > MAX_MEMORY);
    while too_large(memory)
        && let Some(book) = memory.values_mut().max_by_key(|book| book.recount.weight()).filter(|book| book.recount.weight() > 0)
    {
        book.recount.shrinks();
    }
}

/// What one agent's look came to.
struct Sight {
    part: PartId,
    outcome: Outcome,
    book: Option<Book>,
    numbers: Vec<(&'static str, f64)>,
}

impl LogCanary {
    fn pace(&self, agents: usize) -> Pace {
        Pace::new([self.late_after, self.lost_after, self.hold_for, self.recheck], agents)
    }

    /// Looks for one agent's lines, given what it says of itself.
    async fn look(
        &self,
        cx: &Context,
        loki: &LokiTarget,
        told: Result<Told, Outcome>,
        book: Option<Book>,
        (pace, budget): (Pace, Budget),
    ) -> Sight {
        let told = match told {
            Ok(told) => told,
            Err(outcome) => {
                let part = PartId::new(book.as_ref().map_or(PartId::WHOLE, |book| book.node.as_str()));
                return Sight { part, outcome, book, numbers: Vec::new() };
            }
        };
        let part = PartId::new(&told.node);
        // An agent of another name is another agent.
        let mut book = book.filter(|book| book.node == told.node).unwrap_or_else(|| Book::new(&told.node));
        if let Err(words) = book.hears(&told, cx.now, pace) {
            return Sight { part, outcome: HEAD_STALE.because(words), book: Some(book), numbers: Vec::new() };
        }
        let source = InLoki { cx, loki, selector: &self.selector };
        let seen = book.read(&source, &told, cx.now, (pace, budget)).await;
        let outcome = judge::judge(&told, &seen, &book, cx.now, pace);
        let numbers = judge::numbers(&told, &seen, &book);
        Sight { part, outcome, book: Some(book), numbers }
    }

    fn named<'a>(&self, cx: &'a Context) -> Result<(&'a AgentTarget, &'a LokiTarget), Outcome> {
        Ok((cx.target(&self.agents)?, cx.target(&self.loki)?))
    }
}

impl Check for LogCanary {
    const META: Meta = Meta {
        kind: "logCanary",
        nature: Nature::Continuous,
        reasons: &[
            reasons::NETWORK,
            fetch::REPLIES,
            lines::REASONS,
            head::REASONS,
            &[
                AGENT_SILENT,
                STALLED,
                LOST,
                DESTROYED,
                OLD_UNREADABLE,
                FIRST_LINE,
                HEAD_STALE,
                BEHIND,
                trace::CUT,
                SAME_NODE,
                TOO_MANY_AGENTS,
                reasons::TARGET_MISSING,
            ],
        ],
        control: STALLED,
        measures: &[
            "latency_seconds",
            "outstanding_lines",
            "lost_lines",
            "destroyed_lines",
            "recheck_seconds",
            "unaccounted_lines",
            "duplicate_lines",
            "head_seq",
        ],
        waivable: true,
    };
    type Memory = Memory;

    fn targets(&self) -> Vec<TargetUse> {
        vec![
            TargetUse { field: "agents", kind: Some(TargetKind::Agent), name: self.agents.clone() },
            TargetUse { field: "loki", kind: Some(TargetKind::Loki), name: self.loki.clone() },
        ]
    }

    fn validate(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut wrong = |field, message: &str, hint: &str| {
            errors.push(FieldError { field, message: message.into(), hint: hint.into() });
        };
        if !self.selector.trim_start().starts_with('{') {
            wrong("selector", "no LogQL stream selector", "write it like {service=\"migration-canary\"}");
        }
        for (field, time) in [("lateAfter", self.late_after), ("lostAfter", self.lost_after), ("holdFor", self.hold_for)] {
            if time < Duration::from_millis(1) || time > LONGEST {
                wrong(field, "not between a millisecond and a day", "a few seconds for `lateAfter`, minutes for the others");
            }
        }
        if self.recheck > FARTHEST || (!self.recheck.is_zero() && self.recheck < SHORTEST) {
            wrong(
                "recheck",
                "neither 0 nor between ten seconds and a week",
                "a day, or less than Loki keeps lines; `0s` switches it off",
            );
        }
        if self.lost_after <= self.late_after {
            wrong("lostAfter", "no longer than `lateAfter`", "a line is late first, and lost some minutes later");
        }
        errors
    }

    fn run<'a>(&'a self, cx: &'a Context, mut memory: Memory) -> BoxFuture<'a, Report<Memory>> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let (agents, loki) = match self.named(cx) {
                Ok(named) => named,
                Err(outcome) => return Report::new(Step::whole(outcome), memory),
            };
            if agents.urls.len() > MAX_AGENTS {
                let outcome = TOO_MANY_AGENTS.because(format!("{} has {}", self.agents, agents.urls.len()));
                return Report::new(Step::whole(outcome), memory);
            }
            let pace = self.pace(agents.urls.len());
            let looks = agents.urls.iter().map(|url| {
                let (key, book) = (shown(url), memory.remove(&shown(url)));
                async move {
                    let told = head::ask(cx, url, budget).await;
                    (key, self.look(cx, loki, told, book, (pace, budget)).await)
                }
            });
            let mut parts: BTreeMap<PartId, Outcome> = BTreeMap::new();
            // What the document no longer names is forgotten.
            let mut report = Report::new(Step::Done(BTreeMap::new()), Memory::new());
            for (key, Sight { part, outcome, book, numbers }) in join_all(looks.collect::<Vec<_>>()).await {
                report.memory.extend(book.map(|book| (key, book)));
                match parts.get(&part) {
                    None => {
                        report.measures.extend(numbers.into_iter().map(|(name, value)| Measure {
                            part: part.clone(),
                            name,
                            value,
                        }));
                        parts.insert(part, outcome);
                    }
                    Some(_) if part.as_str() == PartId::WHOLE => {}
                    Some(other) => {
                        let words = format!("two agents are {part}: {}; {}", other.evidence(), outcome.evidence());
                        parts.insert(part, SAME_NODE.because(words));
                    }
                }
            }
            fit(&mut report.memory);
            report.step = Step::Done(parts);
            report
        })
    }

    /// Looks for lines of a start that no agent ever had. Where those are found, anything is.
    fn control<'a>(&'a self, cx: &'a Context, _: Memory) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let (agents, loki) = match self.named(cx) {
                Ok(named) => named,
                Err(outcome) => return outcome,
            };
            let pace = self.pace(agents.urls.len());
            let looks = agents.urls.iter().take(MAX_AGENTS).map(|url| async move {
                let told = head::ask(cx, url, budget).await.map(|told| Told { boot: NEVER, ..told });
                self.look(cx, loki, told, None, (pace, budget)).await.outcome
            });
            let seen = join_all(looks.collect::<Vec<_>>()).await;
            let passed = seen.iter().find(|outcome| matches!(outcome, Outcome::Pass { .. }));
            let stalled = || seen.iter().find(|outcome| outcome.reason() == Some(&STALLED.into()));
            let said = passed.or_else(stalled).or_else(|| seen.first()).cloned();
            said.unwrap_or_else(|| reasons::TARGET_MISSING.because(format!("{} names no agent", self.agents)))
        })
    }
}

#[cfg(test)]
mod tests;
