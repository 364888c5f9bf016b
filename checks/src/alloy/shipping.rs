//! `alloyShipping`: each Alloy ships to the Lokis that it should ship to, and to no other.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::{BoxFuture, join_all};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::check::{Check, Context, FieldError, Meta, Nature, Report};
use crate::counter::{Motion, words};
use crate::kubernetes::SIGHT;
use crate::loki::names::{Loki, told_apart};
use crate::net::exposition;
use crate::net::{Budget, fetch, reasons};
use crate::outcome::{Measure, Outcome, ReasonSpec, Step};
use crate::target::{AlloyTarget, LokiTarget, TargetKind, TargetUse, pods};

use super::{LOADED_AT, SEVERAL_INSTANCES, best, metrics, worst};
use memory::{Life, Seen};
use state::{SERIES, Sent, State};

mod alarm;
mod memory;
mod rules;
mod state;

/// Lines go elsewhere.
const WRONG_LOKI: ReasonSpec = ReasonSpec::fail(
    "wrong_loki",
    "see where Alloy's `loki.write` leads to: lines go to the host in the evidence, which is no Loki of this probe; if it is one \
     by another name, add that to `hosts`",
);
/// A Loki gets nothing.
const NOT_SHIPPING: ReasonSpec = ReasonSpec::fail(
    "not_shipping",
    "see whether Alloy's `loki.write` leads to that Loki and is answered, and whether its pipeline keeps any line; raise `within` \
     if lines are that rare",
);
/// Lines are given up.
const DROPPED: ReasonSpec = ReasonSpec::fail(
    "dropped",
    "mend what the reason in the evidence says, by Alloy's log and Loki's limits; it holds until `holdFor` has passed",
);
/// It was not seen shipping yet, but it is early.
const AWAITED: ReasonSpec = ReasonSpec::waiting(
    "awaited",
    "wait for the next lines; `logger hello` on the node writes one, if Alloy's pipeline keeps it",
);
/// Two Lokis have a name in common.
const SAME_ADDRESS: ReasonSpec = ReasonSpec::unknown(
    "same_address",
    "list one of them only: they share the host and port in the evidence, by which Alloy's counters tell Lokis apart",
);

/// Each Alloy (one part each) has shipped lines `within` (1 m by default) to every Loki in `lokis`, and ships to no other; there is
/// no new line that it has given up.
///
/// A Loki is known by host and port, as they stand in the URL of Alloy's `loki.write`: the target's `url` or its `gateway`, or what
/// `hosts` adds. That one is written with capitals or with `.svc.cluster.local` makes no difference, and one without a port is that
/// of http or https. A target at `localhost` is the same one to an Alloy at `localhost` alone. List two Lokis while Alloy ships to
/// both on purpose, or the other one in `mayShipTo` if that comes and goes; without a write-ahead log it waits for the slower one, so that neither gets lines while one of them is dead.
///
/// *Sent* means that somebody at that address has answered 2xx: not that lines can be read back, nor that none is missing, which is
/// what `logCanary` is for. The path of the URL is not looked at, nor what a host that got lines before a reload has got until
/// then. If the target has a `tenant`, lines that Alloy sends as another one do not count. A restart or a reload asks for new
/// movement. A rise counts from the look before it, so let `within` be several times `every`.
///
/// Lines to another host, and lines that are given up, are events: they hold Fail for `holdFor` (5 m by default), the former until
/// a reload at most. What the counters say at the first look is history; after a restart all that they say is new. Alloy counts a
/// batch as given up as a whole, although Loki has stored the good lines of it, so the evidence says *at most*. An Alloy that lost
/// its positions reads the journal again, and Loki answers 400 for what is too old by then: `ingester_error` from a host that
/// answers 400, within `restartGrace` (2 m by default) after a start, is no fault; the evidence says so.
///
/// Fail: refused, reset, silent, any error, a web page, another server, nothing sent to a listed Loki for longer than `within` (an
/// Alloy without any `loki.write` included), lines to another host, lines given up. Waiting: it has not been seen shipping yet.
/// Unknown: our own resolver or network, an untrusted certificate, a reply that is cut short, too large or not parsable, several
/// instances behind one URL, two Lokis at one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlloyShipping {
    /// Name of the target, of kind `alloy`.
    pub alloy: String,
    /// Names of the targets, of kind `loki`, that it should ship to: to each of them.
    pub lokis: Vec<String>,
    /// Names of the targets, of kind `loki`, that it may ship to besides: lines to them are neither asked for nor wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub may_ship_to: Vec<String>,
    /// By which other hosts Alloy addresses them, `host:port` as in its `loki.write`, by the Loki's name, like
    /// `{k3s-loki: ["loki:3100"]}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<String, Vec<String>>,
    /// Within which time lines must have been sent, like `1m`.
    #[serde(default = "one_minute", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub within: Duration,
    /// How long lines that went elsewhere or were given up hold, like `5m`.
    #[serde(default = "five_minutes", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub hold_for: Duration,
    /// For how long after a start of Alloy lines that Loki refuses are explained by it, like `2m`.
    #[serde(default = "two_minutes", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub restart_grace: Duration,
}

fn one_minute() -> Duration {
    Duration::from_mins(1)
}

fn five_minutes() -> Duration {
    Duration::from_mins(5)
}

fn two_minutes() -> Duration {
    Duration::from_mins(2)
}

/// What one look at one thing comes to, in words.
enum Finding {
    Fine(String),
    Awaited(DateTime<Utc>, String),
    Wrong(ReasonSpec, String),
}

/// One Run's look at one Alloy: when, and among how many.
#[derive(Debug, Clone, Copy)]
struct Look {
    now: DateTime<Utc>,
    alloys: usize,
}

impl AlloyShipping {
    /// The Alloys, and the Lokis that they should ship to.
    fn resolve<'a>(&self, cx: &'a Context) -> Result<(&'a AlloyTarget, Vec<Loki>), Outcome> {
        let alloy = cx.target::<AlloyTarget>(&self.alloy)?;
        let loki = |name: &String| {
            let further = self.hosts.get(name).map(Vec::as_slice).unwrap_or_default();
            Ok(Loki::new(name, cx.target::<LokiTarget>(name)?, further))
        };
        let required = self.lokis.iter().map(loki);
        let allowed = self.may_ship_to.iter().map(|name| loki(name).map(Loki::allowed));
        let lokis: Vec<Loki> = required.chain(allowed).collect::<Result<_, Outcome>>()?;
        told_apart(&lokis).map_err(|evidence| SAME_ADDRESS.because(evidence))?;
        Ok((alloy, lokis))
    }

    /// What the metrics mean after what is remembered. Gives also what to remember, and how long ago lines were sent for sure.
    fn judge(&self, lokis: &[Loki], state: &State, before: Option<Seen>, look: Look) -> (Outcome, Seen, Option<Duration>) {
        let before = before.unwrap_or_default();
        let life = before.life(lokis, state);
        let seen = before.next(self, lokis, state, life, look);
        if life == Life::Another {
            let evidence = format!("it started or loaded its configuration earlier than what answered before ({LOADED_AT})");
            return (SEVERAL_INSTANCES.because(evidence), seen, None);
        }
        let mut findings: Vec<Finding> = seen.strays(self, look.now).into_iter().collect();
        let mut oldest = None;
        for (loki, sent) in lokis.iter().zip(&state.lokis).filter(|(loki, _)| loki.required) {
            let motion = seen.motion(&loki.name, look.now, self.within);
            if let Motion::Moved(age) = motion {
                oldest = oldest.max(Some(age));
            }
            findings.push(self.judge_loki(loki, sent, motion, state.writes()));
        }
        findings.extend(seen.drops(self, look.now));
        findings.extend(seen.excused(self));
        let outcome = sum_up(findings);
        let age = oldest.filter(|_| matches!(outcome, Outcome::Pass { .. }));
        (outcome, seen, age)
    }

    fn judge_loki(&self, loki: &Loki, sent: &Sent, motion: Motion, writes: bool) -> Finding {
        let (name, lines, within) = (&loki.name, sent.lines, words(self.within));
        let hosts: Vec<&str> = sent.hosts.iter().map(String::as_str).collect();
        let so_far = match (hosts.is_empty(), writes) {
            (false, _) => format!("{name} ({}): {lines} lines since Alloy's start", hosts.join(", ")),
            (true, true) => format!("{name}: Alloy has sent it no line since its start"),
            (true, false) => format!("{name}: Alloy has no loki.write series, so it has sent no line anywhere since its start"),
        };
        let mut more = String::new();
        if sent.of_others > 0.0 {
            more = format!("; {} lines to it as other tenants", sent.of_others);
        }
        match motion {
            Motion::Moved(age) => Finding::Fine(format!("{so_far}, some within the last {}", words(age))),
            Motion::Awaited(due) => Finding::Awaited(due, format!("{so_far}, not seen moving yet; due within {within}{more}")),
            Motion::Still(age) => {
                let failed: Vec<String> =
                    sent.failed.iter().take(5).map(|(answer, count)| format!("{answer} ×{count}")).collect();
                if !failed.is_empty() {
                    more = format!("{more}; so far failed: {}", failed.join(", "));
                }
                Finding::Wrong(NOT_SHIPPING, format!("{so_far}, none for {}; due within {within}{more}", words(age)))
            }
        }
    }

    async fn look(
        &self,
        cx: &Context,
        (base, lokis): (&Url, &[Loki]),
        budget: Budget,
        before: Option<Seen>,
        alloys: usize,
    ) -> (Outcome, Option<Seen>, Option<Duration>) {
        let page = metrics(cx, base, budget, SERIES).await;
        match page.and_then(|page| State::of(&page, lokis, base)) {
            Ok(state) => {
                let (outcome, seen, age) = self.judge(lokis, &state, before, Look { now: cx.now, alloys });
                (outcome, Some(seen), age)
            }
            Err(outcome) => (outcome, before, None),
        }
    }

    /// What was really read, as if lines should go to another Loki; as if none had gone to the right ones; and as if one more had
    /// been given up.
    async fn look_wrong(&self, cx: &Context, base: &Url, lokis: &[Loki], budget: Budget) -> Outcome {
        let (now, within, elsewhere) = (cx.now, self.within, [Loki::nobody()]);
        let page = match metrics(cx, base, budget, SERIES).await {
            Ok(page) => page,
            Err(outcome) => return outcome,
        };
        let (wrong, right) = match (State::of(&page, &elsewhere, base), State::of(&page, lokis, base)) {
            (Ok(wrong), Ok(right)) => (wrong, right),
            (Err(outcome), _) | (_, Err(outcome)) => return outcome,
        };
        let mut more = right.clone();
        *more.drops.entry(("another".to_owned(), "line_too_long".to_owned())).or_default() += 1.0;
        // Lines to the right Lokis have risen, so that this one alone is wrong.
        for sent in &mut more.lokis {
            sent.lines += 1.0;
        }
        let still = Seen::still(lokis, &right, now, within);
        let look = |lokis: &[Loki], state, before| self.judge(lokis, state, Some(before), Look { now, alloys: 1 }).0;
        let outcomes = [look(lokis, &right, still.clone()), look(lokis, &more, still)];
        let astray = look(&elsewhere, &wrong, Seen::still(&elsewhere, &wrong, now, within).astray(&wrong));
        outcomes.into_iter().find(|outcome| !matches!(outcome, Outcome::Fail { .. })).unwrap_or(astray)
    }
}

/// The worst finding decides, of equals the first; the evidence tells the others as well.
fn sum_up(findings: Vec<Finding>) -> Outcome {
    let (mut wrong, mut awaited, mut fine) = (Vec::new(), Vec::new(), Vec::new());
    let (mut reason, mut due): (Option<ReasonSpec>, Option<DateTime<Utc>>) = (None, None);
    for finding in findings {
        match finding {
            Finding::Fine(text) => fine.push(text),
            Finding::Awaited(time, text) => {
                due = Some(due.map_or(time, |due| due.min(time)));
                awaited.push(text);
            }
            Finding::Wrong(spec, text) => {
                reason = reason.or(Some(spec));
                wrong.push(text);
            }
        }
    }
    let text = [wrong, awaited, fine].concat().join("; ");
    match (reason, due) {
        (Some(reason), _) => reason.because(text),
        (None, Some(due)) => AWAITED.until(due, text),
        (None, None) => Outcome::pass(text),
    }
}

impl Check for AlloyShipping {
    const META: Meta = Meta {
        kind: "alloyShipping",
        nature: Nature::Continuous,
        reasons: &[
            reasons::NETWORK,
            SIGHT,
            pods::FOUND,
            fetch::REPLIES,
            exposition::PAGES,
            &[WRONG_LOKI, NOT_SHIPPING, DROPPED, AWAITED, SAME_ADDRESS, SEVERAL_INSTANCES],
            &[reasons::TARGET_MISSING],
        ],
        control: WRONG_LOKI,
        measures: &["sent_age_seconds"],
        waivable: true,
        rules: pods::RULES,
    };
    type Memory = BTreeMap<String, Seen>;

    fn targets(&self) -> Vec<TargetUse> {
        let alloy = TargetUse { field: "alloy", kind: Some(TargetKind::Alloy), name: self.alloy.clone() };
        let listed = [("lokis", &self.lokis), ("mayShipTo", &self.may_ship_to)];
        let lokis = listed.into_iter().flat_map(|(field, names)| names.iter().map(move |name| (field, name)));
        let lokis = lokis.map(|(field, name)| TargetUse { field, kind: Some(TargetKind::Loki), name: name.clone() });
        std::iter::once(alloy).chain(lokis).collect()
    }

    fn validate(&self) -> Vec<FieldError> {
        rules::broken(self)
    }

    fn moves_within(&self) -> Option<(&'static str, Duration)> {
        Some(("within", self.within))
    }

    fn run<'a>(&'a self, cx: &'a Context, mut memory: Self::Memory) -> BoxFuture<'a, Report<Self::Memory>> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let (target, lokis) = match self.resolve(cx) {
                Ok(found) => found,
                Err(outcome) => return Report::new(Step::whole(outcome), memory),
            };
            let looks = target.urls.iter().map(|base| {
                let (before, lokis) = (memory.remove(target.part(base).as_str()), lokis.as_slice());
                async move { (target.part(base), self.look(cx, (base, lokis), budget, before, target.urls.len()).await) }
            });
            let looks: Vec<_> = looks.collect();
            let mut parts = BTreeMap::new();
            let mut report = Report::new(Step::Done(BTreeMap::new()), BTreeMap::new());
            for (part, (outcome, seen, age)) in join_all(looks).await {
                report.memory.extend(seen.map(|seen| (part.as_str().to_owned(), seen)));
                let name = "sent_age_seconds";
                report.measures.extend(age.map(|age| Measure { part: part.clone(), name, value: age.as_secs_f64() }));
                let known: Option<Outcome> = parts.remove(&part);
                parts.extend(worst(known.into_iter().chain([outcome]).collect()).map(|outcome| (part, outcome)));
            }
            let mut report = Report { step: Step::Done(parts), ..report };
            if let Some(found) = &target.found {
                found.complete(&mut report);
            }
            report
        })
    }

    fn control<'a>(&'a self, cx: &'a Context, _: Self::Memory) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            match self.resolve(cx) {
                Ok((target, lokis)) => {
                    best(join_all(target.urls.iter().map(|base| self.look_wrong(cx, base, &lokis, budget))).await)
                }
                Err(outcome) => outcome,
            }
        })
    }
}

#[cfg(test)]
mod tests;
