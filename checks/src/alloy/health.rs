//! `alloyHealth`: each Alloy is ready, runs the configuration it was given, and reads the journal.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::{BoxFuture, join, join_all, join3};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::check::{Check, Context, FieldError, Meta, Nature, Report};
use crate::counter::{Motion, Rising, Succession, words};
use crate::kubernetes::SIGHT;
use crate::net::exposition::{self, Page};
use crate::net::{Budget, below, fetch, reasons};
use crate::outcome::{Measure, Outcome, ReasonSpec, Step};
use crate::target::{AlloyTarget, TargetKind, TargetUse, pods};

use super::{DROPPED, JOURNAL_LINES as LINES, LOADED_AT, SEVERAL_INSTANCES, best, get, metrics, worst};
use ask::{ask_health, ask_ready, named};

mod ask;

/// Up, but not ready.
const NOT_READY: ReasonSpec =
    ReasonSpec::fail("not_ready", "wait until Alloy has loaded its configuration; if it stays, look at Alloy's log");
/// A component does not work.
const UNHEALTHY: ReasonSpec =
    ReasonSpec::fail("unhealthy_component", "mend the component that the evidence names; its message says what is wrong");
/// The newest configuration was refused, an older one is running.
const OLD_CONFIG: ReasonSpec = ReasonSpec::fail(
    "old_config",
    "mend Alloy's configuration and reload it: it refused the newest one and goes on with the one before",
);
/// The journal is not read.
const JOURNAL_STILL: ReasonSpec = ReasonSpec::fail(
    "journal_still",
    "see whether Alloy can read the host's journal (`/etc/machine-id`, `/var/log/journal`, `/run/log/journal`, rights) and restart \
     it; raise `within` if the journal is that quiet",
);
/// There is nothing that reads the journal.
const NO_JOURNAL: ReasonSpec =
    ReasonSpec::fail("no_journal", "add a `loki.source.journal` to Alloy's configuration, or say `journal: false`");
/// It was not seen moving yet, but it is early.
const JOURNAL_AWAITED: ReasonSpec =
    ReasonSpec::waiting("journal_awaited", "wait for the next journal lines; `logger hello` on the node writes one");

const LOADED: &str = "alloy_config_last_load_successful";
const RUNNING: &str = "alloy_component_controller_running_components";
/// What is read of its metrics.
const SERIES: &[&str] = &[LOADED, LOADED_AT, RUNNING, LINES, DROPPED];

/// A path that no Alloy serves; below `/api`, since its own pages answer at any other path.
const NOWHERE: &[&str] = &["api", "v0", "web", "components", "phasegate-negative-control"];
/// The longest time within which the journal may be asked to move.
const LONGEST: Duration = Duration::from_hours(7 * 24);
/// Most journal readers that one Alloy may have.
const MAX_READERS: usize = 16;
/// Longest name of a journal reader.
const MAX_NAME: usize = 128;

/// Each Alloy (one part each) says that it is ready and that all its components are healthy, runs the configuration it was given
/// last, and each of its journal readers has read lines `within` (5 m by default).
///
/// Alloy's own word of health is not enough: after a refused reload it goes on with the old configuration, ready and healthy
/// (`alloy_config_last_load_successful` tells), and a journal reader that reads nothing at all stays healthy
/// (`loki_source_journal_target_lines_total` tells, before any filter of the pipeline). A restart or a reload asks for new
/// movement. A rise counts from the look before it, so let `within` be several times `every`. Alloy also stays healthy while Loki
/// is down: this check does not say whether lines arrive. That its pipeline drops some on purpose is no fault; the evidence says so.
///
/// Fail: refused, reset, silent, not ready, an unhealthy or exited component, the last reload refused, a journal that stands
/// still for longer than `within`, no journal reader (unless `journal: false`), a web page, any other server. Waiting: the
/// journal has not been seen moving yet. Unknown: our own resolver or network, an untrusted certificate, a reply that is cut
/// short, too large or not parsable, several instances behind one URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlloyHealth {
    /// Name of the target, of kind `alloy`.
    pub alloy: String,
    /// Within which time the journal must have moved, like `5m`.
    #[serde(default = "five_minutes", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub within: Duration,
    /// Whether Alloy must read the journal. With `false` its journal readers, if any, are not looked at.
    #[serde(default = "yes")]
    pub journal: bool,
}

fn five_minutes() -> Duration {
    Duration::from_mins(5)
}

fn yes() -> bool {
    true
}

/// What is remembered of one Alloy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// When its configuration was loaded: a time that only ever increases, by restart or reload.
    loaded_at: Option<f64>,
    readers: BTreeMap<String, Rising>,
    #[serde(default)]
    dropped: Option<Rising>,
}

/// What Alloy's metrics say.
#[derive(Debug, Clone)]
struct State {
    loaded: bool,
    loaded_at: Option<f64>,
    /// How many components are in each state of health.
    components: BTreeMap<String, f64>,
    /// Lines read, by reader.
    readers: BTreeMap<String, f64>,
    /// Lines that its pipeline dropped on purpose.
    dropped: f64,
}

impl State {
    fn of(page: &Page) -> Result<Self, Outcome> {
        let mut loads = page.all(LOADED).peekable();
        if loads.peek().is_none() {
            return Err(page.unparsable(&format!("no {LOADED}")));
        }
        let loaded = loads.all(|sample| (0.5..1.5).contains(&sample.value));
        let dropped = page.all(DROPPED).filter_map(|sample| page.count(sample).ok()).sum();
        let (components, readers) = (BTreeMap::new(), BTreeMap::new());
        let mut state = Self { loaded, loaded_at: page.gauge(LOADED_AT), components, readers, dropped };
        for sample in page.all(RUNNING) {
            let health = sample.labels.get("health_type").cloned().unwrap_or_default();
            *state.components.entry(health).or_default() += page.count(sample)?;
        }
        for sample in page.all(LINES) {
            let label = |name| sample.labels.get(name).map(String::as_str).unwrap_or_default();
            let name = format!("{}{}", label("component_path").trim_end_matches('/'), label("component_id"));
            if name.len() > MAX_NAME || state.readers.len() >= MAX_READERS {
                return Err(page.unparsable("more, or longer named, journal readers than an Alloy has"));
            }
            *state.readers.entry(name).or_default() += page.count(sample)?;
        }
        Ok(state)
    }

    /// How many components are not healthy, by their health.
    fn ailing(&self) -> Option<String> {
        let ailing = self.components.iter().filter(|(health, count)| *health != "healthy" && **count > 0.0);
        let words: Vec<String> = ailing.map(|(health, count)| format!("{count} {health}")).collect();
        (!words.is_empty()).then(|| words.join(", "))
    }
}

/// What the journal's counters are worth.
enum Journal {
    Fine(String, Option<Duration>),
    Not(Outcome),
}

impl AlloyHealth {
    /// Looks at one Alloy. Gives also what to remember of it, and how old the journal's movement is.
    async fn look(
        &self,
        cx: &Context,
        base: &Url,
        budget: Budget,
        before: Option<Seen>,
    ) -> (Outcome, Option<Seen>, Option<Duration>) {
        let page = metrics(cx, base, budget, SERIES);
        let ready = ask_ready(cx, below(base, &["-", "ready"]), budget);
        let (ready, health, page) = join3(ready, ask_health(cx, base, budget), page).await;
        let state = page.and_then(|page| State::of(&page));
        let health = match (health, state.as_ref().ok().and_then(State::ailing)) {
            (Ok(()), Some(ailing)) => Err(UNHEALTHY.because(format!("{ailing}{}", named(cx, base, budget).await))),
            (health, _) => health,
        };
        self.judge(ready, health, state, before, cx.now)
    }

    fn judge(
        &self,
        ready: Result<(), Outcome>,
        health: Result<(), Outcome>,
        state: Result<State, Outcome>,
        before: Option<Seen>,
        now: DateTime<Utc>,
    ) -> (Outcome, Option<Seen>, Option<Duration>) {
        let mut wrong: Vec<Outcome> = [ready, health].into_iter().filter_map(Result::err).collect();
        let state = match state {
            Ok(state) => state,
            Err(outcome) => {
                wrong.push(outcome);
                return (worst(wrong).unwrap_or_else(|| Outcome::pass("")), before, None);
            }
        };
        if !state.loaded {
            let since = state.loaded_at.map_or_else(String::new, |time| format!("; the running one was loaded at {time} (Unix)"));
            wrong.push(OLD_CONFIG.because(format!("{LOADED} is not 1{since}")));
        }
        let (seen, succession) = self.remember(&state, before, now);
        let mut age = None;
        let mut text = "journal not asked for".to_owned();
        if self.journal {
            match self.judge_journal(&state, &seen, succession, now) {
                Journal::Fine(words, moved) => (text, age) = (words, moved),
                Journal::Not(outcome) => wrong.push(outcome),
            }
        }
        let healthy = state.components.get("healthy").copied().unwrap_or_default();
        let drops = self.drops(&seen, state.dropped, now);
        let pass = || Outcome::pass(format!("ready, configuration loaded, {healthy} components healthy, {text}{drops}"));
        (worst(wrong).unwrap_or_else(pass), Some(seen), age)
    }

    /// Lines that are dropped on purpose are no fault, but whoever misses some looks for them here.
    fn drops(&self, seen: &Seen, dropped: f64, now: DateTime<Utc>) -> String {
        match seen.dropped.map(|rising| rising.motion(now, self.within)) {
            Some(Motion::Moved(age)) => format!(", its pipeline drops lines ({dropped} so far, the last within {})", words(age)),
            Some(Motion::Awaited(_) | Motion::Still(_)) | None => String::new(),
        }
    }

    /// What to remember after this look.
    fn remember(&self, state: &State, before: Option<Seen>, now: DateTime<Utc>) -> (Seen, Succession) {
        let before = before.unwrap_or_default();
        let succession = Succession::of(before.loaded_at, state.loaded_at);
        let restarted = succession != Succession::Same;
        // A reader leaves with a reload; one that is gone without it reads nothing.
        let gone = before.readers.keys().filter(|name| !restarted && !state.readers.contains_key(*name));
        let now_read = state.readers.iter().map(|(name, lines)| (name, *lines)).chain(gone.map(|name| (name, 0.0)));
        let next = |(name, lines): (&String, f64)| {
            let earlier = before.readers.get(name).copied();
            (name.clone(), Rising::next(earlier, lines, restarted, now, self.within))
        };
        let dropped = Some(Rising::next(before.dropped, state.dropped, restarted, now, self.within));
        (Seen { loaded_at: state.loaded_at, readers: now_read.map(next).collect(), dropped }, succession)
    }

    /// The worst reader decides: one that moves says nothing of another.
    fn judge_journal(&self, state: &State, seen: &Seen, succession: Succession, now: DateTime<Utc>) -> Journal {
        if succession == Succession::Another {
            let evidence = format!("{LOADED_AT} went back to {} (Unix)", state.loaded_at.unwrap_or_default());
            return Journal::Not(SEVERAL_INSTANCES.because(evidence));
        }
        if seen.readers.is_empty() {
            return Journal::Not(NO_JOURNAL.because(format!("no {LINES}")));
        }
        let mut wrong = Vec::new();
        let mut fine = Vec::new();
        let mut oldest = None;
        for (name, rising) in &seen.readers {
            let lines = state.readers.get(name).copied().unwrap_or_default();
            let within = words(self.within);
            match rising.motion(now, self.within) {
                Motion::Moved(age) => {
                    oldest = oldest.max(Some(age));
                    fine.push(format!("{name} moved within the last {} ({lines} lines)", words(age)));
                }
                Motion::Awaited(due) => wrong
                    .push(JOURNAL_AWAITED.until(due, format!("{name}: {lines} lines, not seen moving yet; due within {within}"))),
                Motion::Still(age) => {
                    let evidence = format!("{name}: {lines} lines, the same for {}; due within {within}", words(age));
                    wrong.push(JOURNAL_STILL.because(evidence));
                }
            }
        }
        worst(wrong).map_or_else(|| Journal::Fine(fine.join(", "), oldest), Journal::Not)
    }

    /// Looks at what must not pass at one Alloy: a path where none is ready, its own metrics as if the last reload had been
    /// refused, and as if its journal had stood still.
    async fn look_wrong(&self, cx: &Context, base: &Url, budget: Budget) -> Outcome {
        let page = metrics(cx, base, budget, SERIES);
        let (nowhere, page) = join(ask_ready(cx, below(base, NOWHERE), budget), page).await;
        let state = match page.and_then(|page| State::of(&page)) {
            Ok(state) => state,
            Err(outcome) => return outcome,
        };
        let refused = State { loaded: false, ..state.clone() };
        let (refused, ..) = self.judge(Ok(()), Ok(()), Ok(refused), None, cx.now);
        let mut outcomes =
            vec![refused, nowhere.map_or_else(|outcome| outcome, |()| Outcome::pass("ready at a path of no Alloy"))];
        if self.journal {
            let still = |(name, lines): (&String, &f64)| (name.clone(), Rising::still(*lines, cx.now, self.within));
            let readers = state.readers.iter().map(still).collect();
            let before = Seen { loaded_at: state.loaded_at, readers, dropped: None };
            let loaded = State { loaded: true, ..state };
            outcomes.push(self.judge(Ok(()), Ok(()), Ok(loaded), Some(before), cx.now).0);
        }
        best(outcomes)
    }
}

impl Check for AlloyHealth {
    const META: Meta = Meta {
        kind: "alloyHealth",
        nature: Nature::Continuous,
        reasons: &[
            reasons::NETWORK,
            SIGHT,
            pods::FOUND,
            fetch::REPLIES,
            exposition::PAGES,
            &[NOT_READY, UNHEALTHY, OLD_CONFIG, JOURNAL_STILL, NO_JOURNAL, JOURNAL_AWAITED, SEVERAL_INSTANCES],
            &[reasons::TARGET_MISSING],
        ],
        control: OLD_CONFIG,
        measures: &["journal_age_seconds"],
        waivable: true,
        rules: pods::RULES,
    };
    type Memory = BTreeMap<String, Seen>;

    fn targets(&self) -> Vec<TargetUse> {
        vec![TargetUse { field: "alloy", kind: Some(TargetKind::Alloy), name: self.alloy.clone() }]
    }

    fn validate(&self) -> Vec<FieldError> {
        if (Duration::from_secs(1)..=LONGEST).contains(&self.within) {
            return Vec::new();
        }
        let hint = "give the journal's own cadence and some slack, like 5m: 1s to 7d".into();
        vec![FieldError { field: "within", message: format!("{} is no time to wait for", words(self.within)), hint }]
    }

    fn moves_within(&self) -> Option<(&'static str, Duration)> {
        self.journal.then_some(("within", self.within))
    }

    fn run<'a>(&'a self, cx: &'a Context, mut memory: Self::Memory) -> BoxFuture<'a, Report<Self::Memory>> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let target = match cx.target::<AlloyTarget>(&self.alloy) {
                Ok(target) => target,
                Err(outcome) => return Report::new(Step::whole(outcome), memory),
            };
            let looks = target.urls.iter().map(|base| {
                let before = memory.remove(target.part(base).as_str());
                async move { (target.part(base), self.look(cx, base, budget, before).await) }
            });
            let looks: Vec<_> = looks.collect();
            let mut parts = BTreeMap::new();
            let mut report = Report::new(Step::Done(BTreeMap::new()), BTreeMap::new());
            for (part, (outcome, seen, age)) in join_all(looks).await {
                report.memory.extend(seen.map(|seen| (part.as_str().to_owned(), seen)));
                report.measures.extend(age.map(|age| Measure {
                    part: part.clone(),
                    name: "journal_age_seconds",
                    value: age.as_secs_f64(),
                }));
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
            match cx.target::<AlloyTarget>(&self.alloy) {
                Ok(target) => best(join_all(target.urls.iter().map(|base| self.look_wrong(cx, base, budget))).await),
                Err(outcome) => outcome,
            }
        })
    }
}

#[cfg(test)]
mod tests;
