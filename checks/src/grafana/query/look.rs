//! One look: Loki first, then Grafana and the agents at once, then what it comes to.

use std::time::Duration;

use futures::future::join;

use crate::check::Context;
use crate::net::Budget;
use crate::outcome::{Measure, Outcome, PartId};
use crate::target::{AgentTarget, GrafanaTarget, LokiTarget};

use super::fresh::{Heads, Judge};
use super::window::{Lines, Window, named, worded};
use super::{BAD_QUERY, DIFFERS, GRAFANA, GrafanaQuery, LOKI, NOT_COMPARED, OLD_LOKI_UNREADABLE, SAME_IN_BOTH, direct, through};

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
    /// Of Grafana's.
    pub(in crate::grafana) grafana: Outcome,
    /// Numbers.
    pub(super) measures: Vec<Measure>,
}

impl Look {
    fn new(loki: Outcome, grafana: Outcome) -> Self {
        Self { loki, grafana, measures: Vec::new() }
    }

    /// The worse of the two outcomes; if neither is, Grafana's.
    pub(in crate::grafana) fn worse(&self) -> Outcome {
        let worse = if self.loki.rank() > self.grafana.rank() { &self.loki } else { &self.grafana };
        worse.clone()
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
    old: Option<&'a LokiTarget>,
    grafana: &'a GrafanaTarget,
    agents: Option<&'a AgentTarget>,
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
            Err(outcome) => return Look::new(outcome.clone(), outcome),
        };
        let budget = Budget::start(cx.timeout);
        let grafana = async |window: Window| {
            let window = if question.earlier { window.earlier() } else { window };
            through::ask(cx, targets.grafana, question.datasource, &self.selector, window, budget.until(4)).await
        };
        let direct = match direct::ask(cx, targets.loki, &self.selector, question.window, budget.until(2)).await {
            Ok(direct) => direct,
            // Grafana would only repeat that the question is wrong. Of all else it may have words of its own.
            Err(outcome) if outcome.reason() == Some(&BAD_QUERY.into()) => return Look::new(outcome, not_compared()),
            Err(outcome) => {
                let (answer, took) = Box::pin(grafana(question.window)).await;
                let mut look = Look::new(outcome, answer.err().unwrap_or_else(not_compared));
                look.measure(GRAFANA, "latency_seconds", took);
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
        let ((answer, took), (heads, spent)) = join(Box::pin(grafana(direct.window)), Box::pin(heads)).await;
        let proven = Judge { now: cx.now, within: self.within, spent, heads: heads.as_ref() }.judge(&direct.lines);
        let through = match answer {
            Ok(answer) => self.compare(cx, &targets, &direct, &answer, budget).await,
            Err(outcome) => outcome,
        };
        let age = proven.as_ref().ok().map(|proven| proven.age);
        let mut look = match proven {
            Ok(proven) => {
                let (line, age) = (named(&proven.line), proven.age.as_secs_f64());
                Look::new(Outcome::pass(format!("{line} is {age:.1} s old; {} lines in all", direct.lines.len())), through)
            }
            Err(outcome) => {
                // That two answers agree proves nothing when neither has a fresh line.
                let through = match (&through, &outcome) {
                    (Outcome::Pass { .. }, Outcome::Waiting { .. }) => outcome.clone(),
                    (Outcome::Pass { .. }, _) => not_compared(),
                    _ => through,
                };
                Look::new(outcome, through)
            }
        };
        look.measure(LOKI, "latency_seconds", Some(direct.took));
        look.measure(LOKI, "age_seconds", age);
        look.measure(GRAFANA, "latency_seconds", took);
        look
    }

    fn find<'a>(&self, cx: &'a Context) -> Result<Targets<'a>, Outcome> {
        let agents = self.agents.as_deref().map(|name| cx.target(name)).transpose()?;
        let old = self.old_loki.as_deref().map(|name| cx.target(name)).transpose()?;
        Ok(Targets { loki: cx.target(&self.loki)?, old, grafana: cx.target(&self.grafana)?, agents })
    }

    /// Loki's lines are all in Grafana's answer, whatever else is in it is in Loki by now, and the old Loki has not all of them.
    async fn compare(
        &self,
        cx: &Context,
        targets: &Targets<'_>,
        direct: &direct::Answer,
        through: &through::Answer,
        budget: Budget,
    ) -> Outcome {
        let (ours, theirs) = (&direct.lines, &through.lines);
        let quote = |line: &(i64, String)| through.reply.clip(&worded(line));
        let mut missing = ours.difference(theirs);
        if let Some(first) = missing.next() {
            let (count, of, has) = (1 + missing.count(), ours.len(), theirs.len());
            return DIFFERS
                .because(format!("{count} of Loki's {of} lines are not among Grafana's {has}, first {}", quote(first)));
        }
        let ask = async |loki| direct::ask_once(cx, loki, &self.selector, direct.window, budget.until(5)).await;
        let again = async {
            // Lines only ever join, so what Grafana saw later than our first look must be in a second one.
            if ours.len() < theirs.len() { Some(ask(targets.loki).await) } else { None }
        };
        let old = async {
            match targets.old {
                Some(old) => Some(ask(old).await),
                None => None,
            }
        };
        let (again, old) = join(Box::pin(again), Box::pin(old)).await;
        match again {
            None => {}
            Some(Ok(Some(again))) => {
                let mut extra = theirs.difference(&again.lines);
                if let Some(first) = extra.next() {
                    let (count, of) = (1 + extra.count(), theirs.len());
                    return DIFFERS.because(format!("{count} of Grafana's {of} lines are not in Loki, first {}", quote(first)));
                }
            }
            Some(Ok(None)) => return NOT_COMPARED.because("more lines came while we asked than can be compared"),
            Some(Err(why)) => {
                return NOT_COMPARED.because(format!("lines came while we asked, and no second answer: {}", why.evidence()));
            }
        }
        let pass = format!("{} lines, as in Loki", theirs.len());
        match old.map(|old| told_apart(ours, old)) {
            None => Outcome::pass(pass),
            Some(Ok(has)) => Outcome::pass(format!("{pass}; the old Loki has {has} of Loki's {}", ours.len())),
            Some(Err(outcome)) => outcome,
        }
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
