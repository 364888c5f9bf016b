//! One look: Loki first, then Grafana and the agents at once, then what it comes to.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::{join, join3};

use crate::check::Context;
use crate::net::Budget;
use crate::outcome::{Measure, Outcome, PartId};
use crate::target::{AgentTarget, GrafanaTarget, LokiTarget};

use super::compare::{After, Own};
use super::fresh::{Heads, Judge};
use super::through::Way;
use super::window::{Lines, Window, named};
use super::{
    BAD_QUERY, GATEWAY, GRAFANA, GrafanaQuery, LOKI, METRIC, NOT_COMPARED, OLD_LOKI_UNREADABLE, SAME_IN_BOTH, TOO_MANY_LINES,
    direct, through,
};

/// What one look asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    /// The datasource's uid.
    pub(super) datasource: &'a str,
    /// The span of time.
    pub(super) window: Window,
    /// Ask Grafana for the time before it instead: what comes back must differ.
    pub(super) earlier: bool,
}

/// What one look saw.
#[derive(Debug)]
pub(in crate::grafana) struct Look {
    /// Of Loki's own answer.
    pub(in crate::grafana) loki: Outcome,
    /// Of the lines that came through Grafana.
    pub(in crate::grafana) grafana: Outcome,
    /// Of their number, as Grafana tells it.
    pub(super) metric: Outcome,
    /// Of the lines that came through Loki's gateway, if it has one.
    pub(super) gateway: Option<Outcome>,
    /// Numbers.
    pub(super) measures: Vec<Measure>,
}

impl Look {
    /// All parts alike.
    fn alike(outcome: Outcome, gateway: bool) -> Self {
        let gateway = gateway.then(|| outcome.clone());
        Self { loki: outcome.clone(), grafana: outcome.clone(), metric: outcome, gateway, measures: Vec::new() }
    }

    /// That answers agree proves nothing when none of them has a fresh line.
    fn prove_nothing(&mut self, why: Outcome) {
        let instead = if matches!(why, Outcome::Waiting { .. }) { why.clone() } else { not_compared() };
        for part in [&mut self.grafana, &mut self.metric].into_iter().chain(&mut self.gateway) {
            if matches!(part, Outcome::Pass { .. }) {
                *part = instead.clone();
            }
        }
        self.loki = why;
    }

    /// Its parts, by name.
    pub(super) fn parts(&self) -> BTreeMap<PartId, Outcome> {
        let always = [(LOKI, &self.loki), (GRAFANA, &self.grafana), (METRIC, &self.metric)];
        let gateway = self.gateway.as_ref().map(|outcome| (GATEWAY, outcome));
        always.into_iter().chain(gateway).map(|(name, outcome)| (PartId::new(name), outcome.clone())).collect()
    }

    /// The worst of them.
    pub(in crate::grafana) fn worst(&self) -> Outcome {
        let others = [&self.metric, &self.loki].into_iter().chain(&self.gateway);
        let worst = others.fold(&self.grafana, |worst, other| if other.rank() > worst.rank() { other } else { worst });
        worst.clone()
    }

    /// How long Grafana took, in seconds, if it answered.
    pub(in crate::grafana) fn latency(&self) -> Option<f64> {
        let of_grafana = |measure: &&Measure| measure.part.as_str() == GRAFANA && measure.name == "latency_seconds";
        self.measures.iter().find(of_grafana).map(|measure| measure.value)
    }

    fn measure(&mut self, part: &str, name: &'static str, value: Option<Duration>) {
        self.measures.extend(value.map(|value| Measure { part: PartId::new(part), name, value: value.as_secs_f64() }));
    }
}

/// The targets of one look.
struct Targets<'a> {
    loki: &'a LokiTarget,
    gateway: Option<LokiTarget>,
    old: Option<&'a LokiTarget>,
    grafana: &'a GrafanaTarget,
    agents: Option<&'a AgentTarget>,
}

/// What came back other ways, all of it asked at once.
struct Others {
    lines: Result<through::Answer, Outcome>,
    count: Result<u64, Outcome>,
    gateway: Option<Result<direct::Answer, Outcome>>,
}

impl Others {
    /// Whether one of them has more than Loki had before.
    fn have_more(&self, before: &Lines, window: Window) -> bool {
        let more = |lines: &Lines| lines.len() > before.len();
        let own = Own { before, after: After::NotAsked };
        self.lines.as_ref().is_ok_and(|answer| more(&answer.lines))
            || self.gateway.as_ref().is_some_and(|answer| answer.as_ref().is_ok_and(|answer| more(&answer.lines)))
            || self.count.as_ref().is_ok_and(|count| own.had_fewer(window, *count))
    }
}

impl GrafanaQuery {
    /// Looks once at the newest lines.
    pub(in crate::grafana) async fn look_now(&self, cx: &Context) -> Look {
        let window = Window::before(cx.now, self.within);
        self.look(cx, Question { datasource: &self.datasource, window, earlier: false }).await
    }

    /// Looks once.
    pub(super) async fn look(&self, cx: &Context, question: Question<'_>) -> Look {
        let targets = match self.find(cx) {
            Ok(targets) => targets,
            Err(outcome) => return Look::alike(outcome, self.has_gateway(cx)),
        };
        let budget = Budget::start(cx.timeout);
        let grafana = async |window: Window| {
            let window = if question.earlier { window.earlier() } else { window };
            let way = Way { cx, grafana: targets.grafana, datasource: question.datasource, selector: &self.selector };
            way.lines_and_count(window, budget.until(4)).await
        };
        let direct = match direct::ask(cx, targets.loki, &self.selector, question.window, budget.until(2)).await {
            Ok(direct) => direct,
            Err(outcome) => {
                let mut look = Look { loki: outcome, ..Look::alike(not_compared(), targets.gateway.is_some()) };
                // Grafana would only repeat that the question is wrong. Of all else it may have words of its own.
                if look.loki.reason() != Some(&BAD_QUERY.into()) {
                    let (lines, _, took) = Box::pin(grafana(question.window)).await;
                    look.grafana = lines.err().unwrap_or_else(not_compared);
                    look.measure(GRAFANA, "latency_seconds", took);
                }
                return look;
            }
        };
        let heads = async {
            let heads = match targets.agents {
                Some(agents) => Some(Heads::ask(cx, agents, budget.until(4)).await),
                None => None,
            };
            (heads, budget.start.elapsed())
        };
        let gateway = async {
            let gateway = targets.gateway.as_ref()?;
            Some(self.ask_again(cx, gateway, direct.window, budget.until(4)).await)
        };
        let asked = join3(Box::pin(grafana(direct.window)), Box::pin(heads), Box::pin(gateway)).await;
        let ((lines, count, took), (heads, spent), gateway) = asked;
        let others = Others { lines, count, gateway };
        let proven = Judge { now: cx.now, within: self.within, spent, heads: heads.as_ref() }.judge(&direct.lines);
        let mut look = self.compare(cx, &targets, &direct, others, budget).await;
        let age = proven.as_ref().ok().map(|proven| proven.age);
        match proven {
            Ok(proven) => {
                let (line, age) = (named(&proven.line), proven.age.as_secs_f64());
                look.loki = Outcome::pass(format!("{line} is {age:.1} s old; {} lines in all", direct.lines.len()));
            }
            Err(outcome) => look.prove_nothing(outcome),
        }
        look.measure(LOKI, "latency_seconds", Some(direct.took));
        look.measure(LOKI, "age_seconds", age);
        look.measure(GRAFANA, "latency_seconds", took);
        look
    }

    fn has_gateway(&self, cx: &Context) -> bool {
        cx.target::<LokiTarget>(&self.loki).is_ok_and(|loki| loki.gateway.is_some())
    }

    fn find<'a>(&self, cx: &'a Context) -> Result<Targets<'a>, Outcome> {
        let agents = self.agents.as_deref().map(|name| cx.target(name)).transpose()?;
        let old = self.old_loki.as_deref().map(|name| cx.target(name)).transpose()?;
        let loki = cx.target::<LokiTarget>(&self.loki)?;
        Ok(Targets { loki, gateway: loki.behind_gateway(), old, grafana: cx.target(&self.grafana)?, agents })
    }

    /// The lines of a window that is known to have few enough.
    async fn ask_again(
        &self,
        cx: &Context,
        loki: &LokiTarget,
        window: Window,
        budget: Budget,
    ) -> Result<direct::Answer, Outcome> {
        let found = direct::ask_once(cx, loki, &self.selector, window, budget).await?;
        found.ok_or_else(|| TOO_MANY_LINES.because("more lines came while we asked than can be compared"))
    }

    /// Loki's lines are all in the other answers, whatever else is in them is in Loki by now, and the old Loki has not all of them.
    async fn compare(
        &self,
        cx: &Context,
        targets: &Targets<'_>,
        direct: &direct::Answer,
        others: Others,
        budget: Budget,
    ) -> Look {
        let before = &direct.lines;
        let again = async {
            if !others.have_more(before, direct.window) {
                return After::NotAsked;
            }
            match self.ask_again(cx, targets.loki, direct.window, budget.until(5)).await {
                Ok(answer) => After::Lines(answer.lines),
                Err(why) => After::Unusable(why.evidence().to_string()),
            }
        };
        let old = async {
            let old = targets.old?;
            Some(direct::ask_once(cx, old, &self.selector, direct.window, budget.until(5)).await)
        };
        let (after, old) = join(Box::pin(again), Box::pin(old)).await;
        let own = Own { before, after };
        let through = others.lines.and_then(|answer| {
            own.has_lines(&answer.lines, "Grafana's", |text| answer.reply.clip(text))?;
            Ok(format!("{} lines, as in Loki", answer.lines.len()))
        });
        let grafana = match (through, old.map(|old| told_apart(before, old))) {
            (Err(outcome), _) | (Ok(_), Some(Err(outcome))) => outcome,
            (Ok(pass), None) => Outcome::pass(pass),
            (Ok(pass), Some(Ok(has))) => Outcome::pass(format!("{pass}; the old Loki has {has} of Loki's {}", before.len())),
        };
        let counted = others.count.and_then(|count| {
            own.has_count(direct.window, count)?;
            Ok(Outcome::pass(format!("Grafana counts {count} lines, as Loki has them")))
        });
        let gateway = others.gateway.map(|answer| {
            let same = answer.and_then(|answer| {
                own.has_lines(&answer.lines, "the gateway's", str::to_owned)?;
                Ok(Outcome::pass(format!("{} lines, as in Loki", answer.lines.len())))
            });
            same.unwrap_or_else(|outcome| outcome)
        });
        Look { grafana, metric: counted.unwrap_or_else(|outcome| outcome), gateway, ..Look::alike(not_compared(), false) }
    }
}

/// The old Loki was asked after Grafana. Lines only ever join: one that is missing there can not have come from there. Gives how many
/// of them it has.
fn told_apart(ours: &Lines, old: Result<Option<direct::Answer>, Outcome>) -> Result<usize, Outcome> {
    match old {
        Ok(Some(old)) if ours.is_subset(&old.lines) => {
            Err(SAME_IN_BOTH.because(format!("the old Loki has all {} lines too", ours.len())))
        }
        Ok(Some(old)) => Ok(ours.intersection(&old.lines).count()),
        Ok(None) => Err(OLD_LOKI_UNREADABLE.because("the old Loki has more lines than can be compared")),
        Err(why) => Err(OLD_LOKI_UNREADABLE.because(why.evidence().to_string())),
    }
}

fn not_compared() -> Outcome {
    NOT_COMPARED.because("no fresh lines from Loki to compare with")
}
