//! The way forward: step by step, each asked for, done, verified and told.

use std::time::Duration;

use tokio::time::Instant;

use super::hold::Ask;
use super::{InFlight, Runner, Told};
use crate::api::types::{StampBody, StepBody};
use crate::config::{StepSpec, Work};
use crate::cutover::Answer;
use crate::cutover::journal::Entry;
use crate::cutover::render::{Done, shown};
use crate::cutover::trouble::Trouble;
use crate::cutover::work::End;
use crate::event::{StepEnd, Way};
use crate::exit::Exit;
use crate::now::span;
use crate::state::StepState;

/// How a step ended.
enum Ended {
    Done,
    Failed(String),
}

impl Runner<'_, '_, '_> {
    /// Runs what is left of the steps.
    pub(super) async fn forward(mut self) -> Answer {
        loop {
            let Some(step) = self.next_do().cloned() else { return self.arrive().await };
            if self.stop.asked() {
                return self.pause().await;
            }
            match Box::pin(self.carry_out(&step)).await {
                Ok(Ended::Done) => {}
                Ok(Ended::Failed(why)) => return self.failed(&step, &why).await,
                Err(trouble) if trouble.exit == Exit::INTERRUPTED => return self.pause().await,
                Err(trouble) if self.has_begun() && is_a_hold(&trouble) => return self.failed(&step, &trouble.message).await,
                Err(trouble) => return self.refuse(trouble).await,
            }
        }
    }

    async fn carry_out(&mut self, step: &StepBody) -> Result<Ended, Trouble> {
        let spec = self.own.step(&self.phase, &step.name)?.clone();
        match step.state {
            Some(StepState::Running) => return self.find_out(step, &spec).await,
            Some(StepState::Verifying) => return self.verify(step, Instant::now() + spec.timeout).await,
            _ => {}
        }
        let done_already = self.check(step, &spec).await?;
        let again = matches!(step.state, Some(StepState::Failed | StepState::Interrupted));
        if again && done_already.is_none() {
            self.may_start_again(step).await?;
        }
        if let Work::Manual(_) = spec.work {
            self.can_be_confirmed(step)?;
        }
        if step.ponr {
            self.cross(step).await?;
        }
        let deadline = Instant::now() + spec.timeout;
        self.insist(Ask::Start { step: &step.name, checked: again || done_already.is_some() }, deadline).await?;
        if step.ponr {
            self.plan.ponr_crossed = Some(StampBody { at: (self.cx.now)(), by: "this run".to_owned() });
        }
        self.note(Entry::Start {
            step: step.name.as_str().into(),
            way: Way::Do,
            checked: again,
            at: (self.cx.now)(),
            told: true,
        })?;
        self.announce(step, &spec);
        let deadline = Instant::now() + spec.timeout;
        if done_already == Some(true) {
            self.cx.io.say(format!("step {}: its check says that it is done already", step.name));
        } else if let Some(why) = self.work(step, &spec).await? {
            self.end(step, StepEnd::Failed, &why).await?;
            return Ok(Ended::Failed(why));
        }
        self.verify(step, deadline).await
    }

    fn announce(&mut self, step: &StepBody, spec: &StepSpec) {
        let nth = self.plan.steps.iter().position(|each| each.name == step.name).unwrap_or_default() + 1;
        let what = match &spec.work {
            Work::Command(words) => shown(words),
            Work::Manual(_) => "by hand".to_owned(),
            Work::Wait => "waits".to_owned(),
        };
        let switch = if step.switch { " (the switch)" } else { "" };
        self.cx.io.say(format!("step {nth}/{}: {}{switch}: {what}", self.plan.steps.len(), step.name));
    }

    /// Does the work of a step. None: it is over; otherwise why it failed.
    async fn work(&mut self, step: &StepBody, spec: &StepSpec) -> Result<Option<String>, Trouble> {
        match &spec.work {
            Work::Command(words) => {
                let worked = self.command(words, spec, spec.timeout).await?;
                if worked.end == End::Cancelled {
                    self.end(step, StepEnd::Interrupted, "broken off by its operator").await?;
                    return Err(self.interrupted());
                }
                Ok(worked.end.trouble(spec.timeout).map(|why| format!("{why}{}", quoted(&worked.tail))))
            }
            Work::Manual(text) => {
                let text = text.clone();
                Ok(self.by_hand(&step.name, &text).await.err())
            }
            Work::Wait => Ok(None),
        }
    }

    /// Whether the step is done already, if it can tell.
    pub(super) async fn check(&mut self, step: &StepBody, spec: &StepSpec) -> Result<Option<bool>, Trouble> {
        let Some(words) = &spec.check else { return Ok(None) };
        let worked = self.command(words, spec, spec.timeout.min(Duration::from_mins(1))).await?;
        if let End::Exited(code) = worked.end {
            return Ok(Some(code == 0));
        }
        let message = format!("the check of step {} gives no answer: {}", step.name, worked.end.words(spec.timeout));
        Err(Trouble::new(Exit::UNKNOWN, message).hint(format!("mend it: {}", shown(words))))
    }

    /// A step that failed or was broken off, and that can not tell itself whether it is done.
    async fn may_start_again(&mut self, step: &StepBody) -> Result<(), Trouble> {
        if self.orders.in_flight == Some(InFlight::Again) {
            return Ok(());
        }
        let state = step.state.map_or("", StepState::as_str);
        let effect = format!("it is {state} and has no check: look whether starting it once more does harm");
        self.cx.confirm(&format!("start step {} again", step.name), &effect, "again").await.map_err(|trouble| {
            if trouble.exit == Exit::USAGE {
                trouble.hint("look, and say `cutover resume --in-flight again` or `cutover abort`")
            } else {
                trouble
            }
        })
    }

    /// What has become of a step that was running when it was last heard of.
    async fn find_out(&mut self, step: &StepBody, spec: &StepSpec) -> Result<Ended, Trouble> {
        let done = match (self.orders.in_flight, self.check(step, spec).await?) {
            (Some(InFlight::Done), _) | (None, Some(true)) => true,
            (Some(InFlight::Again), _) | (None, Some(false)) => false,
            (None, None) => self.ask_what_became(step).await?,
        };
        if done {
            return self.verify(step, Instant::now() + spec.timeout).await;
        }
        self.end(step, StepEnd::Interrupted, "it was in flight when the run was broken off").await?;
        self.orders.in_flight = Some(InFlight::Again);
        let Some(step) = self.step(&step.name).cloned() else { return Ok(Ended::Failed("the step is gone".to_owned())) };
        Box::pin(self.carry_out(&step)).await
    }

    async fn ask_what_became(&mut self, step: &StepBody) -> Result<bool, Trouble> {
        let question = format!(
            "Step {} was in flight when the run was broken off, and has no check.\nLook, and type `done` or `again`:",
            step.name
        );
        match self.cx.io.ask(&question).await.as_deref() {
            Some("done") => Ok(true),
            Some("again") => Ok(false),
            _ => Err(Trouble::new(Exit::USAGE, format!("what has become of step {} is not known", step.name))
                .hint("look, and say `cutover resume --in-flight done`, `… --in-flight again`, or `cutover abort`")),
        }
    }

    /// Whether somebody is there to say that a step by hand is done.
    fn can_be_confirmed(&self, step: &StepBody) -> Result<(), Trouble> {
        if self.orders.did.as_deref() == Some(&*step.name) || self.cx.io.can_ask() {
            return Ok(());
        }
        Err(Trouble::new(Exit::USAGE, format!("step {} is done by hand, and there is nobody to ask", step.name))
            .hint(format!("do it, then `cutover resume --did {}`", step.name)))
    }

    async fn cross(&mut self, step: &StepBody) -> Result<(), Trouble> {
        let phase = self.phase.clone();
        if self.orders.confirm.as_deref() == Some(&*phase) {
            return Ok(());
        }
        let effect = "it is the point of no return: nothing leads back once it has started";
        let hint = format!("add --confirm={phase}");
        let asked = self.cx.type_name(&format!("step {}", step.name), effect, &phase).await;
        asked.map_err(|trouble| trouble.hint(hint))?;
        self.orders.confirm = Some(phase);
        Ok(())
    }

    /// Waits until everything that the step must bring about is to be seen, and ends it.
    async fn verify(&mut self, step: &StepBody, deadline: Instant) -> Result<Ended, Trouble> {
        let looks = !step.verify.is_empty() || !step.disturbs.is_empty() || step.gate.is_some();
        let verifying = self.step(&step.name).and_then(|step| step.state) == Some(StepState::Verifying);
        let told = if looks && !verifying { self.insist(Ask::Worked { step: &step.name }, deadline).await } else { Ok(()) };
        let told = match told {
            Ok(()) => {
                self.note(Entry::Worked { step: step.name.as_str().into(), told: true })?;
                self.insist(Ask::Done { step: &step.name, note: "" }, deadline).await
            }
            Err(trouble) => Err(trouble),
        };
        match told {
            Ok(()) => {
                self.note(Entry::End {
                    step: step.name.as_str().into(),
                    way: Way::Do,
                    end: StepEnd::Done,
                    note: String::new(),
                    told: true,
                })?;
                self.cx.io.say(format!("step {}: done", step.name));
                Ok(Ended::Done)
            }
            Err(trouble) if matches!(trouble.exit, Exit::MOVED | Exit::AUTH | Exit::INTERRUPTED) => Err(trouble),
            Err(trouble) => {
                let why =
                    format!("not verified within {}: {}", span(Duration::from_secs_f64(step.timeout_seconds)), trouble.message);
                self.end(step, StepEnd::Failed, &why).await?;
                Ok(Ended::Failed(why))
            }
        }
    }

    /// Tells how a step ended; a verifier that can not be reached is told later.
    pub(super) async fn end(&mut self, step: &StepBody, end: StepEnd, note: &str) -> Result<Told, Trouble> {
        let told = match self.tell_end(&step.name, end, note).await {
            Ok(receipt) => {
                self.heard(receipt)?;
                Told::Yes
            }
            Err(trouble) if trouble.exit == Exit::UNREACHABLE => Told::Later,
            Err(trouble) => return Err(trouble),
        };
        let state = if end == StepEnd::Interrupted { StepState::Interrupted } else { StepState::Failed };
        self.set(&step.name, state);
        let entry =
            Entry::End { step: step.name.as_str().into(), way: Way::Do, end, note: note.to_owned(), told: told == Told::Yes };
        self.note(entry)?;
        Ok(told)
    }

    /// All steps are done.
    async fn arrive(mut self) -> Answer {
        self.note(Entry::Over { how: "switched".to_owned() })?;
        self.give_back().await;
        let receipt = crate::api::types::Receipt {
            message: format!("all {} steps of phase {} are done: it has switched", self.plan.steps.len(), self.phase),
            phase: self
                .cx
                .client
                .get::<crate::api::types::StatusBody>(&["status"])
                .await
                .ok()
                .and_then(|status| status.phases.into_iter().find(|phase| phase.name == self.phase)),
            id: None,
        };
        self.cx.io.show(&Done(&[receipt]));
        self.cx.io.say(format!("next: `cutover gate wait {}`, then `cutover advance`", self.phase));
        Ok(Exit::OPEN)
    }

    /// Stops between two steps, so that anybody can go on.
    async fn pause(mut self) -> Answer {
        self.give_back().await;
        Err(self.interrupted())
    }

    async fn refuse(mut self, trouble: Trouble) -> Answer {
        self.give_back().await;
        Err(trouble)
    }

    /// Gives the lock back, unless a step is in flight: its end is for the same run to find out.
    pub(super) async fn give_back(&mut self) {
        let in_flight = self.plan.steps.iter().any(|step| step.state.is_some_and(StepState::in_flight));
        if let Some(lease) = self.lease.take().filter(|_| !in_flight)
            && let Err(trouble) = lease.release(self.cx.client).await
        {
            self.cx.io.say(format!("the lock could not be given back: {}", trouble.message));
        }
    }
}

/// Whether this is a guard that stayed shut, rather than an order that was refused.
fn is_a_hold(trouble: &Trouble) -> bool {
    matches!(trouble.exit, Exit::UNREACHABLE | Exit::UNKNOWN | Exit::PENDING | Exit::CLOSED)
}

/// The end of what a command printed.
pub(super) fn quoted(tail: &str) -> String {
    let tail = tail.trim();
    if tail.is_empty() { String::new() } else { format!("; it printed: {tail}") }
}
