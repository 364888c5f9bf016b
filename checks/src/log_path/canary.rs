//! `logCanary`: each node's canary lines reach a Loki in time, and none is lost.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Check, Context, FieldError, Meta, Nature, Report};
use crate::grafana::query;
use crate::kubernetes::SIGHT;
use crate::loki::lines;
use crate::net::fetch;
use crate::net::{Budget, reasons, shown};
use crate::outcome::{MAX_MEMORY, Measure, Outcome, PartId, ReasonSpec, Step};
use crate::target::{AgentTarget, AlloyTarget, GrafanaTarget, LokiTarget, TargetKind, TargetUse, pods};

use super::head::{self, Told};
use super::hops::look::Along;
use super::hops::{self, stations};
use super::line::Boot;
use super::trace;
use super::views::View;

mod book;
mod judge;
mod sight;

use book::Book;
use judge::Pace;
use sight::{Sight, Way, look};

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
/// Loki has the lines, and its gateway does not answer with them.
const NOT_THROUGH_GATEWAY: ReasonSpec = ReasonSpec::fail(
    "not_through_gateway",
    "see where the gateway leads to: Loki itself answers with lines that do not come through it",
);
/// Loki has the lines, and Grafana does not answer with them.
const NOT_THROUGH_GRAFANA: ReasonSpec = ReasonSpec::fail(
    "not_through_grafana",
    "see which Loki the datasource leads to: Loki itself answers with lines that do not come through Grafana",
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
/// the first one was found, those that an agent wrote after it was last asked and before it was killed (how many at most is told:
/// `unheard_lines`), and those on their way from a start that more starts followed within `lostAfter` than are remembered (four,
/// with 50 agents one).
///
/// Lateness is by the agents' own clocks, so one that is off does no harm; how far, `clock_skew_seconds` says.
///
/// If the target has a `gateway`, the newest lines must come through it, too, and with `grafana` and `datasource` through Grafana.
/// Of lines that do not come it says where they stop, if it can be seen: at the agent, in the journal (by the agent's word), in
/// Loki, the gateway or Grafana; with `alloy` also whether Alloy reads them, drops them on purpose, or can not deliver them, in its
/// own words. For that its counters and Loki's are read in two runs in a row, so it is told with the second run that fails.
///
/// Lines that were found are counted again, a slice in each run, about every twenty-fourth part of `recheck`. Those that two counts
/// in a row do not find are destroyed: Fail, held for `holdFor`. When Loki was away, the newest (about the last hour of a day) are
/// counted at once. Unknown: Loki does not answer for older lines, or that is more than
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
    /// How long after it was written a line may be on its way, like `3s`.
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
    /// Name of the target, of kind `alloy`, that ships the lines: its counters tell where lines stop. As many URLs as there are
    /// agents, in their order, unless each Alloy is on the host of its agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alloy: Option<String>,
    /// Name of the target, of kind `grafana`, through which the lines must come, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grafana: Option<String>,
    /// The uid of the datasource in that Grafana.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datasource: Option<String>,
}

fn selector() -> String {
    format!("{{service=\"{}\"}}", super::line::SERVICE)
}

fn late_after() -> Duration {
    Duration::from_secs(3)
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
    if too_large(memory) {
        // A hop is named a run later then.
        for book in memory.values_mut() {
            book.mark = None;
        }
    }
    while too_large(memory)
        && let Some(book) = memory.values_mut().max_by_key(|book| book.recount.weight()).filter(|book| book.recount.weight() > 0)
    {
        book.recount.shrinks();
    }
}

/// The targets of one Run.
struct Named<'a> {
    agents: &'a AgentTarget,
    loki: &'a LokiTarget,
    alloy: Option<&'a AlloyTarget>,
    grafana: Option<(&'a GrafanaTarget, &'a str)>,
    gateway: Option<LokiTarget>,
}

impl LogCanary {
    fn pace(&self, agents: usize) -> Pace {
        Pace::new([self.late_after, self.lost_after, self.hold_for, self.recheck], agents)
    }

    fn named<'a>(&'a self, cx: &'a Context) -> Result<Named<'a>, Outcome> {
        let loki: &LokiTarget = cx.target(&self.loki)?;
        let grafana = match (&self.grafana, &self.datasource) {
            (Some(name), Some(datasource)) => Some((cx.target(name)?, datasource.as_str())),
            _ => None,
        };
        Ok(Named {
            agents: cx.target(&self.agents)?,
            loki,
            alloy: self.alloy.as_deref().map(|name| cx.target(name)).transpose()?,
            grafana,
            gateway: loki.behind_gateway(),
        })
    }
}

impl<'a> Named<'a> {
    fn way(&'a self, cx: &'a Context, selector: &'a str) -> Way<'a> {
        let gateway = self.gateway.as_ref().map(|gateway| View::gateway(cx, gateway, selector));
        let grafana = self.grafana.map(|grafana| View::grafana(cx, grafana, selector));
        let stations = stations(self.alloy.is_some(), gateway.is_some(), grafana.is_some());
        let along = self.alloy.map(|alloy| Along::new(cx, self.agents, alloy, self.loki));
        Way {
            cx,
            agents: self.agents,
            loki: self.loki,
            selector,
            views: gateway.into_iter().chain(grafana).collect(),
            stations,
            along,
        }
    }
}

impl Check for LogCanary {
    const META: Meta = Meta {
        kind: "logCanary",
        nature: Nature::Continuous,
        reasons: &[
            reasons::NETWORK,
            SIGHT,
            pods::FOUND,
            fetch::REPLIES,
            lines::REASONS,
            head::REASONS,
            hops::REASONS,
            query::THROUGH,
            &[
                AGENT_SILENT,
                STALLED,
                NOT_THROUGH_GATEWAY,
                NOT_THROUGH_GRAFANA,
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
            "late_lines",
            "lost_lines",
            "destroyed_lines",
            "recheck_seconds",
            "unaccounted_lines",
            "unheard_lines",
            "clock_skew_seconds",
            "duplicate_lines",
            "head_seq",
        ],
        waivable: true,
        rules: pods::RULES,
    };
    type Memory = Memory;

    fn targets(&self) -> Vec<TargetUse> {
        let named = [
            ("agents", TargetKind::Agent, Some(&self.agents)),
            ("loki", TargetKind::Loki, Some(&self.loki)),
            ("alloy", TargetKind::Alloy, self.alloy.as_ref()),
            ("grafana", TargetKind::Grafana, self.grafana.as_ref()),
        ];
        let uses =
            |(field, kind, name): (_, _, Option<&String>)| Some(TargetUse { field, kind: Some(kind), name: name?.clone() });
        named.into_iter().filter_map(uses).collect()
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
        match (&self.grafana, &self.datasource) {
            (Some(_), None) => {
                wrong("grafana", "no `datasource` beside it", "name the uid of the Loki datasource in that Grafana");
            }
            (None, Some(_)) => wrong("datasource", "no `grafana` beside it", "name the target that the datasource is in"),
            (Some(_), Some(uid)) if !query::is_uid(uid) => {
                wrong("datasource", query::NO_UID, "take it from the datasource's page or provisioning file");
            }
            _ => {}
        }
        if self.lost_after <= self.late_after {
            wrong("lostAfter", "no longer than `lateAfter`", "a line is late first, and lost some minutes later");
        }
        errors
    }

    fn run<'a>(&'a self, cx: &'a Context, mut memory: Memory) -> BoxFuture<'a, Report<Memory>> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let named = match self.named(cx) {
                Ok(named) => named,
                Err(outcome) => return Report::new(Step::whole(outcome), memory),
            };
            let urls = &named.agents.urls;
            if urls.len() > MAX_AGENTS {
                let outcome = TOO_MANY_AGENTS.because(format!("{} has {}", self.agents, urls.len()));
                return Report::new(Step::whole(outcome), memory);
            }
            let (pace, way) = (self.pace(urls.len()), named.way(cx, &self.selector));
            let looks = urls.iter().map(|url| {
                // A pod has another address after each start; what was lost before it is not forgotten with that.
                let key = named.agents.node(url).map_or_else(|| shown(url), str::to_owned);
                let (book, way) = (memory.remove(&key), &way);
                async move {
                    let told = head::ask(cx, url, budget).await.and_then(|told| told.on(way.agents.node(url)));
                    (key, look(way, url, told, book, (pace, budget)).await)
                }
            });
            let mut report = together(join_all(looks.collect::<Vec<_>>()).await);
            if let Some(found) = &named.agents.found {
                // A node whose agent can not be asked now is not forgotten either.
                report.memory.extend(memory);
                report.memory.retain(|node, _| found.has(node));
                found.complete(&mut report);
            }
            fit(&mut report.memory);
            report
        })
    }

    /// Looks for lines of a start that no agent ever had. Where those are found, anything is.
    fn control<'a>(&'a self, cx: &'a Context, _: Memory) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let named = match self.named(cx) {
                Ok(named) => named,
                Err(outcome) => return outcome,
            };
            let pace = self.pace(named.agents.urls.len());
            let way = Way { along: None, ..named.way(cx, &self.selector) };
            let looks = named.agents.urls.iter().take(MAX_AGENTS).map(|url| {
                let way = &way;
                async move {
                    let told = head::ask(cx, url, budget).await.map(|told| Told { boot: NEVER, ..told });
                    look(way, url, told, None, (pace, budget)).await.outcome
                }
            });
            let seen = join_all(looks.collect::<Vec<_>>()).await;
            let passed = seen.iter().find(|outcome| matches!(outcome, Outcome::Pass { .. }));
            let stalled = || seen.iter().find(|outcome| outcome.reason() == Some(&STALLED.into()));
            let said = passed.or_else(stalled).or_else(|| seen.first()).cloned();
            said.unwrap_or_else(|| reasons::TARGET_MISSING.because(format!("{} names no agent", self.agents)))
        })
    }
}

/// What the looks at all agents come to. What the document no longer names is forgotten.
fn together(sights: Vec<(String, Sight)>) -> Report<Memory> {
    let mut parts: BTreeMap<PartId, Outcome> = BTreeMap::new();
    let mut report = Report::new(Step::Done(BTreeMap::new()), Memory::new());
    for (key, Sight { part, outcome, book, numbers, trail }) in sights {
        report.memory.extend(book.map(|book| (key, book)));
        match parts.get(&part) {
            None => {
                let measure = |(name, value)| Measure { part: part.clone(), name, value };
                report.measures.extend(numbers.into_iter().map(measure));
                report.trails.insert(part.clone(), trail);
                parts.insert(part, outcome);
            }
            Some(_) if part.as_str() == PartId::WHOLE => {}
            Some(other) => {
                let words = format!("two agents are {part}: {}; {}", other.evidence(), outcome.evidence());
                parts.insert(part, SAME_NODE.because(words));
            }
        }
    }
    report.step = Step::Done(parts);
    report
}

#[cfg(test)]
mod tests;
