//! The way back: undo by undo, in reverse, with or without a verifier; then a look whether the old side is well.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{Runner, Told};
use crate::api::types::{GateBody, ReasonRequest, Receipt, StepBody};
use crate::config::{StepSpec, Undo};
use crate::cutover::Answer;
use crate::cutover::journal::Entry;
use crate::cutover::render::{Done, shown, trouble_lines};
use crate::cutover::trouble::Trouble;
use crate::event::{StepEnd, Way};
use crate::exit::Exit;
use crate::gate::Verdict;
use crate::state::StepState;

/// How long the old side may take until it is seen to be well.
const OLD_SIDE: Duration = Duration::from_mins(5);
const PACE: Duration = Duration::from_secs(1);

impl Runner<'_, '_, '_> {
    /// A step has failed: behind the point of no return somebody must mend it, before it everything is taken back.
    pub(super) async fn failed(mut self, step: &StepBody, why: &str) -> Answer {
        let phase = self.phase.clone();
        self.cx.io.say(format!("step {} failed: {why}", step.name));
        if self.plan.ponr_crossed.is_some() {
            self.give_back().await;
            let message =
                format!("step {} of phase {phase} failed behind its point of no return: nothing was taken back", step.name);
            return Err(Trouble::new(Exit::INCOMPLETE, message).hint(format!(
                "mend the cause, then `cutover resume` goes on; `cutover rollback {phase} --reason … --confirm={phase}` goes back all the same, and loses what the new side took"
            )));
        }
        let reason = format!("step {} failed: {why}", step.name);
        self.back(&reason, true).await
    }

    /// Takes back what was done, and returns the phase to waiting. `failed`: it is a failure that leads here.
    pub(super) async fn back(mut self, reason: &str, failed: bool) -> Answer {
        let why = if failed { "what was done is undone, the last step first" } else { reason };
        self.cx.io.say(format!("going back: {why}"));
        match Box::pin(self.undo_all()).await {
            Ok(None) => self.leave_behind(),
            Ok(Some((step, why))) => return self.stuck(&step, &why).await,
            Err(trouble) => {
                self.give_back().await;
                return Err(trouble);
            }
        }
        if (self.lease.is_none() || self.is_behind()) && self.reconcile().await.is_err() {
            let message = format!("phase {} is taken back here, and the verifier does not know it yet", self.phase);
            return Err(Trouble::new(Exit::INCOMPLETE, message)
                .hint("once it answers, `cutover abort` tells it, and looks whether the old side is well"));
        }
        self.home(reason, failed).await
    }

    /// Undoes what was done, in reverse. The step whose undo failed, and why, if one did.
    async fn undo_all(&mut self) -> Result<Option<(StepBody, String)>, Trouble> {
        self.close_what_is_in_flight().await?;
        while let Some(step) = self.next_undo().cloned() {
            if let Err(why) = Box::pin(self.undo(&step)).await? {
                return Ok(Some((step, why)));
            }
        }
        Ok(None)
    }

    /// The verifier must not take a step for running that nobody runs.
    async fn close_what_is_in_flight(&mut self) -> Result<(), Trouble> {
        let forward = |step: &&StepBody| matches!(step.state, Some(StepState::Running | StepState::Verifying));
        if let Some(step) = self.plan.steps.iter().find(forward).cloned() {
            self.end(&step, StepEnd::Interrupted, "the run goes back").await?;
        }
        let back = |step: &&StepBody| step.state == Some(StepState::Undoing);
        if let Some(step) = self.plan.steps.iter().find(back).cloned() {
            self.undo_ended(&step, StepEnd::Interrupted, "its undo was broken off").await?;
        }
        Ok(())
    }

    /// Undoes one step. The inner error says why that failed.
    async fn undo(&mut self, step: &StepBody) -> Result<Result<(), String>, Trouble> {
        let spec = self.own.step(&self.phase, &step.name)?.clone();
        let told = self.tells(async |run| run.tell_start(&step.name, Way::Undo, true).await).await?;
        self.set(&step.name, StepState::Undoing);
        let at = (self.cx.now)();
        let entry = Entry::Start { step: step.name.as_str().into(), way: Way::Undo, checked: true, at, told: told == Told::Yes };
        self.note(entry)?;
        let result = self.take_back(step, &spec).await?;
        let (end, note) = match &result {
            Ok(()) => (StepEnd::Done, String::new()),
            Err(why) => (StepEnd::Failed, why.clone()),
        };
        self.undo_ended(step, end, &note).await?;
        if result.is_ok() {
            self.cx.io.say(format!("step {}: undone", step.name));
        }
        Ok(result)
    }

    async fn undo_ended(&mut self, step: &StepBody, end: StepEnd, note: &str) -> Result<(), Trouble> {
        let told = self.tells(async |run| run.tell_end(&step.name, end, note).await).await?;
        self.set(&step.name, if end == StepEnd::Done { StepState::Undone } else { StepState::UndoFailed });
        self.note(Entry::End {
            step: step.name.as_str().into(),
            way: Way::Undo,
            end,
            note: note.to_owned(),
            told: told == Told::Yes,
        })
    }

    /// Tells the ledger, or leaves it for later: an undo does not wait for a verifier that can not be reached. The ledger takes
    /// what happened in its order only, so what it does not know yet comes first.
    async fn tells(&mut self, tell: impl AsyncFnOnce(&Self) -> Result<Receipt, Trouble>) -> Result<Told, Trouble> {
        if self.lease.is_none() {
            return Ok(Told::Later);
        }
        let known = if self.is_behind() { Box::pin(self.reconcile()).await } else { Ok(()) };
        let told = match known {
            Ok(()) => tell(self).await.map(drop),
            Err(trouble) => Err(trouble),
        };
        match told {
            Ok(()) => Ok(Told::Yes),
            Err(trouble) if trouble.exit == Exit::UNREACHABLE => Ok(Told::Later),
            Err(trouble) => Err(trouble),
        }
    }

    fn is_behind(&self) -> bool {
        self.lease.is_some() && self.journal.story().is_some_and(|story| !story.untold.is_empty())
    }

    async fn take_back(&mut self, step: &StepBody, spec: &StepSpec) -> Result<Result<(), String>, Trouble> {
        match &spec.undo {
            Some(Undo::Command(words)) => {
                self.cx.io.say(format!("undo of step {}: {}", step.name, shown(words)));
                let worked = self.command(words, spec, spec.timeout).await?;
                let trouble = worked.end.trouble(spec.timeout);
                Ok(trouble.map_or(Ok(()), |why| Err(format!("{why}{}", super::forward::quoted(&worked.tail)))))
            }
            Some(Undo::Manual(text)) => {
                let text = text.clone();
                Ok(self.by_hand(&step.name, &text).await)
            }
            None => Ok(Ok(())),
        }
    }

    /// What has no undo stays as it is.
    fn leave_behind(&mut self) {
        for step in self.plan.steps.iter().filter(|step| !step.undo && step.state == Some(StepState::Done)) {
            self.cx.io.say(format!("step {}: it has no undo, and is left as it is", step.name));
        }
    }

    /// An undo has failed: everything that is left, word by word.
    async fn stuck(mut self, step: &StepBody, why: &str) -> Answer {
        self.cx.io.say(format!("the undo of step {} failed: {why}", step.name));
        self.cx.io.say("what is left to undo, in this order:");
        let left: Vec<StepBody> = self.left_to_undo().cloned().collect();
        for (nth, step) in left.iter().enumerate() {
            let how = match self.own.step(&self.phase, &step.name).ok().and_then(|spec| spec.undo.as_ref()) {
                Some(Undo::Command(words)) => shown(words),
                Some(Undo::Manual(text)) => text.clone(),
                None => continue,
            };
            self.cx.io.say(format!("  {}. {}: {how}", nth + 1, step.name));
        }
        self.give_back().await;
        let phase = &self.phase;
        let message = format!("phase {phase} is half-way back: the undo of step {} failed", step.name);
        Err(Trouble::new(Exit::INCOMPLETE, message).hint(format!(
            "mend the cause and say `cutover rollback {phase} --reason …`, which goes on from here; or do it by hand and add `--did {}`",
            step.name
        )))
    }

    /// Everything is taken back: the phase returns to waiting, and the old side must be seen to be well.
    async fn home(mut self, reason: &str, failed: bool) -> Answer {
        let request = ReasonRequest {
            reason: reason.chars().take(400).collect(),
            lock: self.lease.as_ref().map(|lease| lease.id),
            confirm: self.orders.confirm.clone(),
        };
        let receipt: Result<Receipt, Trouble> = self.cx.client.post(&["phases", &self.phase, "rollback"], &request).await;
        let receipt = match receipt {
            Ok(receipt) => receipt,
            Err(trouble) => {
                self.give_back().await;
                return Err(trouble);
            }
        };
        self.note(Entry::Over { how: "rolled back".to_owned() })?;
        self.give_back().await;
        let well = self.old_side().await;
        match well {
            Ok(()) if failed => {
                let message = format!("{reason}; everything was taken back, and the old side is well");
                let next = format!("mend the cause, then `cutover begin {}` starts anew", self.phase);
                Err(Trouble::new(Exit::ROLLED_BACK, message).hint(next))
            }
            Ok(()) => {
                self.cx.io.show(&Done(&[receipt]));
                self.cx.io.say("the old side is well");
                Ok(Exit::OPEN)
            }
            Err(trouble) => {
                let message = format!("everything was taken back, but the old side is not seen to be well: {}", trouble.message);
                Err(Trouble { exit: Exit::INCOMPLETE, code: Exit::INCOMPLETE.name.into(), message: message.into(), ..trouble })
            }
        }
    }

    /// Waits until what the phase stands on is green again: what could begin could also be left alone.
    async fn old_side(&mut self) -> Result<(), Trouble> {
        let deadline = Instant::now() + OLD_SIDE;
        let mut said = None;
        loop {
            let next = Instant::now() + PACE;
            let trouble = match self.cx.client.get::<GateBody>(&["gates", &self.phase, "entry"]).await {
                Ok(body) if body.verdict == Verdict::Open => return Ok(()),
                Ok(body) => {
                    let own = |b: &crate::api::types::BlockerBody| b.phase == self.phase;
                    // Its own preflight says whether it could begin anew; that is another question.
                    let others: Vec<_> = body.blockers.into_iter().filter(|b| !own(b)).collect();
                    if others.is_empty() && body.verdict != Verdict::Unknown {
                        return Ok(());
                    }
                    Trouble::new(Exit::UNKNOWN, body.reason).blocked_by(others).hint(body.next_step)
                }
                Err(trouble) => trouble,
            };
            if next > deadline {
                return Err(trouble);
            }
            if said.as_ref() != Some(&trouble.message) {
                said = Some(trouble.message.clone());
                self.cx.io.say("looking whether the old side is well");
                for line in trouble_lines(&trouble) {
                    self.cx.io.say(format!("  {line}"));
                }
            }
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.stop.once() => return Err(trouble),
            }
        }
    }
}
