//! Runs the steps of a phase on the operator's machine, forward and back. The ledger says what may start; this side does it,
//! tells how it ended, and keeps a journal of its own, so that the way back never depends on a verifier that answers.

mod back;
mod forward;
mod hold;
mod lease;
mod rehearse;
mod stop;
mod verbs;

pub(crate) use stop::Stop;
pub(crate) use verbs::{
    AbortArgs, BeginArgs, ResumeArgs, RollbackArgs, abort, begin, begin_with_steps, journal_trouble, resume, rollback,
};

use std::time::Duration;

use secrecy::ExposeSecret;

use super::journal::{Entry, Journal};
use super::trouble::Trouble;
use super::work::{Job, Worked, work};
use super::{Context, Own, plan};
use crate::api::types::{PlanBody, Receipt, StepBody, StepEndRequest, StepStartRequest, StepWorkedRequest, TermsRequest};
use crate::config::{EnvValue, StepSpec};
use crate::event::{StepEnd, Way};
use crate::exit::Exit;
use crate::state::StepState;
use lease::Lease;

/// What the person who started the run has decided beforehand.
#[derive(Debug, Clone, Default)]
pub(crate) struct Orders {
    /// The phase whose point of no return may be crossed.
    pub(crate) confirm: Option<String>,
    /// A step by hand that was done before.
    pub(crate) did: Option<String>,
    /// What has become of the step that was in flight.
    pub(crate) in_flight: Option<InFlight>,
}

/// What has become of a step whose end nobody has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum InFlight {
    /// Its work is over: go on with its verification
    Done,
    /// It is not done, or can be done twice: start it again
    Again,
}

/// One run: a phase, the own document, the lock, the journal.
pub(crate) struct Runner<'r, 'a, 'w> {
    cx: &'r mut Context<'a, 'w>,
    own: Own,
    phase: String,
    /// As the ledger told it last, with what was done here since.
    plan: PlanBody,
    /// None: the verifier can not be reached, and only the way back is open.
    lease: Option<Lease>,
    journal: Journal,
    orders: Orders,
    stop: Stop,
}

/// Whether the ledger has been told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Yes,
    Later,
}

/// Whether something that a step did may still be there.
fn stands(step: &StepBody) -> bool {
    step.state.is_some_and(|state| state != StepState::Undone)
}

impl Runner<'_, '_, '_> {
    fn terms(&self) -> TermsRequest {
        TermsRequest {
            lock: self.lease.as_ref().map(|lease| lease.id),
            plan: None,
            document: Some(self.own.hash().to_owned()),
            confirm: self.orders.confirm.clone(),
        }
    }

    /// For what has happened already, whatever document is in force by now.
    fn held(&self) -> TermsRequest {
        TermsRequest { document: None, ..self.terms() }
    }

    /// Looks at the plan anew.
    async fn refresh(&mut self) -> Result<(), Trouble> {
        self.plan = plan::fetch(self.cx, &self.phase).await?;
        self.own.must_be(&self.plan)
    }

    /// A probe may have seen that nothing leads back any more; this machine must know it without the verifier, too.
    fn heard(&mut self, receipt: Receipt) -> Result<(), Trouble> {
        let Some(crossed) = receipt.phase.and_then(|phase| phase.ponr_crossed).filter(|_| self.plan.ponr_crossed.is_none())
        else {
            return Ok(());
        };
        self.cx.io.say(format!("the point of no return of phase {} is crossed, by {}", self.phase, crossed.by));
        self.note(Entry::Crossed { at: crossed.at, by: crossed.by.clone() })?;
        self.plan.ponr_crossed = Some(crossed);
        Ok(())
    }

    fn step(&self, name: &str) -> Option<&StepBody> {
        self.plan.steps.iter().find(|step| step.name == name)
    }

    fn set(&mut self, name: &str, state: StepState) {
        if let Some(step) = self.plan.steps.iter_mut().find(|step| step.name == name) {
            step.state = Some(state);
        }
    }

    /// The first step that is not done.
    fn next_do(&self) -> Option<&StepBody> {
        self.plan.steps.iter().find(|step| step.state != Some(StepState::Done))
    }

    /// The last step that something happened to, and that can be undone and is not.
    fn next_undo(&self) -> Option<&StepBody> {
        self.left_to_undo().next()
    }

    /// What is left to undo, in the order in which it is undone.
    fn left_to_undo(&self) -> impl Iterator<Item = &StepBody> {
        self.plan.steps.iter().rev().filter(|step| step.undo && stands(step))
    }

    /// Whether a step of this phase was started, so that there is something to take back.
    fn has_begun(&self) -> bool {
        self.plan.steps.iter().any(stands)
    }

    async fn tell<B: serde::Serialize + Sync>(&self, step: &str, what: &str, body: &B) -> Result<Receipt, Trouble> {
        if let Some(whose) = self.lease.as_ref().and_then(Lease::lost) {
            return Err(Trouble::new(Exit::MOVED, whose).hint("`cutover status` shows who is at work; nothing more is done here"));
        }
        self.cx.client.post(&["phases", &self.phase, "steps", step, what], body).await
    }

    async fn tell_start(&self, step: &str, way: Way, checked: bool) -> Result<Receipt, Trouble> {
        self.tell(step, "start", &StepStartRequest { way, checked, terms: self.terms() }).await
    }

    async fn tell_worked(&self, step: &str) -> Result<Receipt, Trouble> {
        self.tell(step, "worked", &StepWorkedRequest { terms: self.held() }).await
    }

    async fn tell_end(&self, step: &str, end: StepEnd, note: &str) -> Result<Receipt, Trouble> {
        self.tell(step, "end", &StepEndRequest { end, note: note.to_owned(), terms: self.held() }).await
    }

    /// Keeps what happened here. Without it the way back would depend on the verifier, so a journal that can not be written
    /// stops a run.
    fn note(&mut self, entry: Entry) -> Result<(), Trouble> {
        self.journal.write(entry).map(drop).map_err(|error| verbs::journal_trouble(&error))
    }

    /// Runs a command of a step, with its environment, and shows what it prints.
    async fn command(&mut self, words: &[String], spec: &StepSpec, timeout: Duration) -> Result<Worked, Trouble> {
        // A step that is `cutover` again must find the verifier of this run, in a rehearsal that of the scratch side.
        let (mut env, mut secrets) = (self.cx.client.env(), Vec::new());
        for (name, value) in &spec.env {
            let value = match value {
                EnvValue::Text(text) => text.clone(),
                EnvValue::Secret(source) => {
                    let resolved = source.resolve().await.map_err(|error| {
                        Trouble::new(Exit::USAGE, format!("step {}: its variable {name}: {error}", spec.name))
                            .hint("set it on this machine; the document only says where it comes from")
                    })?;
                    secrets.push(resolved.expose_secret().to_owned());
                    resolved.expose_secret().to_owned()
                }
            };
            env.push((name.clone(), value));
        }
        secrets.extend(self.cx.token.iter().cloned());
        let dir = self.own.dir(spec);
        let mut stop = self.stop.clone();
        let (io, name) = (&mut *self.cx.io, &spec.name);
        let job = Job { words: words.to_vec(), env, secrets, dir, timeout };
        Ok(work(&job, async move { stop.twice().await }, &mut |line| io.say(format!("  {name} | {line}"))).await)
    }

    /// Has a person do something, and say whether it is done. The error says what they said.
    async fn by_hand(&mut self, step: &str, text: &str) -> Result<(), String> {
        self.cx.io.say(format!("step {step}, by hand: {text}"));
        if self.orders.did.as_deref() == Some(step) {
            return Ok(());
        }
        match self.cx.io.ask("Type `done` when it is done, anything else if it can not be done:").await.as_deref() {
            Some("done") => Ok(()),
            Some(other) => Err(format!("not done by hand: {other}")),
            None => Err("nobody was there to do it".to_owned()),
        }
    }
}
