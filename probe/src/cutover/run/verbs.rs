//! The verbs that run steps: begin, resume, abort, rollback.

use std::path::PathBuf;

use clap::Args;

use super::lease::Lease;
use super::rehearse::RehearseArgs;
use super::{InFlight, Orders, Runner};
use crate::api::types::{PlanBody, Receipt, TermsRequest};
use crate::cutover::journal::{Entry, Journal, JournalError, Place, Story, root};
use crate::cutover::render::{Planned, Show, moment};
use crate::cutover::trouble::Trouble;
use crate::cutover::{Answer, Context, Own, name, phases, plan, status, told};
use crate::exit::Exit;
use crate::state::{PhaseState, StepState};

/// `cutover begin`
#[derive(Debug, Args)]
pub(crate) struct BeginArgs {
    /// The phase
    #[arg(value_parser = name)]
    phase: String,
    /// Begin exactly what this file says, from `cutover plan --out`; refused if anything has moved since
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    rehearse: RehearseArgs,
    #[command(flatten)]
    ponr: PonrArgs,
}

/// What crosses a point of no return.
#[derive(Debug, Clone, Args)]
pub(crate) struct PonrArgs {
    /// The phase once more: its point of no return may be crossed
    #[arg(long, value_name = "PHASE", value_parser = name)]
    confirm: Option<String>,
}

/// `cutover resume`
#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    /// The step by hand that you have done
    #[arg(long, value_name = "STEP", value_parser = name)]
    did: Option<String>,
    /// What has become of the step that was in flight: done, or to be started again
    #[arg(long, value_enum, value_name = "done|again", hide_possible_values = true)]
    in_flight: Option<InFlight>,
    #[command(flatten)]
    ponr: PonrArgs,
}

/// `cutover abort`
#[derive(Debug, Args)]
pub(crate) struct AbortArgs {
    /// Why, for those who read the audit trail later
    #[arg(long, value_parser = told, default_value = "aborted")]
    reason: String,
    #[command(flatten)]
    back: BackArgs,
}

/// `cutover rollback`
#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// The phase
    #[arg(value_parser = name)]
    phase: String,
    /// Why, for those who read the audit trail later
    #[arg(long, value_parser = told)]
    reason: String,
    #[command(flatten)]
    back: BackArgs,
}

/// What the way back may need.
#[derive(Debug, Clone, Args)]
pub(crate) struct BackArgs {
    /// The step whose undo you have done by hand
    #[arg(long, value_name = "STEP", value_parser = name)]
    did: Option<String>,
    #[command(flatten)]
    ponr: PonrArgs,
}

/// Runs `cutover begin`.
pub(crate) async fn begin(cx: &mut Context<'_, '_>, args: BeginArgs) -> Answer {
    let BeginArgs { phase, plan: file, dry_run, rehearse, ponr } = args;
    if let Some(scratch) = rehearse.scratch() {
        return Box::pin(super::rehearse::rehearse(cx, &phase, scratch, ponr.confirm)).await;
    }
    let seen = file.as_deref().map(|file| plan::read(file, &phase)).transpose()?;
    let now = plan::fetch(cx, &phase).await?;
    if let Some(seen) = seen.as_ref().filter(|seen| seen.hash != now.hash) {
        let message = format!("the plan of phase {phase} has moved since {} was made", seen.hash.get(..8).unwrap_or_default());
        return Err(Trouble::new(Exit::MOVED, message).hint(format!("read it again: `cutover plan {phase} --out FILE`")));
    }
    if dry_run {
        let own = cx.file.is_some().then(|| Own::load(cx)).transpose()?;
        cx.io.show(&Planned { plan: &now, own: own.as_ref() });
        cx.io.say("nothing was done: --dry-run");
        return Ok(Exit::OPEN);
    }
    if now.steps.is_empty() {
        return phases::guarded(cx, "begin", &phase, &TermsRequest { plan: Some(now.hash), ..TermsRequest::default() }).await;
    }
    begin_with_steps(cx, now, ponr.confirm).await
}

/// Begins a phase that has steps, and runs them.
pub(crate) async fn begin_with_steps(cx: &mut Context<'_, '_>, plan: PlanBody, confirm: Option<String>) -> Answer {
    let own = Own::load(cx)?;
    own.must_be(&plan)?;
    if plan.phase_state != PhaseState::Waiting {
        let message = format!("phase {} is {}", plan.phase, plan.phase_state.as_str());
        return Err(Trouble::new(Exit::CLOSED, message).hint("`cutover resume` goes on with the steps of an active phase"));
    }
    can_cross(cx, &plan, confirm.as_deref())?;
    agreed(cx, &plan, &own, "begin").await?;
    let hash = plan.hash.clone();
    let orders = Orders { confirm, ..Orders::default() };
    let mut runner = Box::pin(Runner::start(cx, own, plan, orders)).await?;
    let request = TermsRequest { plan: Some(hash), ..runner.terms() };
    let begun: Result<Receipt, Trouble> = runner.cx.client.post(&["phases", &runner.phase, "begin"], &request).await;
    match begun {
        Ok(receipt) => runner.cx.io.say(&receipt.message),
        Err(trouble) => {
            runner.give_back().await;
            return Err(trouble);
        }
    }
    Box::pin(runner.forward()).await
}

/// Runs `cutover resume`.
pub(crate) async fn resume(cx: &mut Context<'_, '_>, args: ResumeArgs) -> Answer {
    let own = Own::load(cx)?;
    let plan = active(cx).await?;
    own.must_be(&plan)?;
    if plan.going_back {
        let message = format!("phase {} is on its way back", plan.phase);
        return Err(
            Trouble::new(Exit::CLOSED, message).hint(format!("`cutover rollback {} --reason …` goes on with it", plan.phase))
        );
    }
    let orders = Orders { confirm: args.ponr.confirm, did: args.did, in_flight: args.in_flight };
    can_cross(cx, &plan, orders.confirm.as_deref())?;
    agreed(cx, &plan, &own, "resume").await?;
    let mut runner = Box::pin(Runner::start(cx, own, plan, orders)).await?;
    if let Err(trouble) = Box::pin(runner.stands_as_told()).await {
        runner.give_back().await;
        return Err(trouble);
    }
    Box::pin(runner.forward()).await
}

/// Runs `cutover abort`.
pub(crate) async fn abort(cx: &mut Context<'_, '_>, args: AbortArgs) -> Answer {
    let AbortArgs { reason, back } = args;
    let own = Own::load(cx)?;
    let plan = match active(cx).await {
        Ok(plan) => plan,
        Err(trouble) if trouble.exit == Exit::UNREACHABLE => from_journal(cx, &own, trouble)?,
        Err(trouble) => return Err(trouble),
    };
    take_back(cx, own, plan, "abort", reason, back).await
}

/// Runs `cutover rollback`.
pub(crate) async fn rollback(cx: &mut Context<'_, '_>, args: RollbackArgs) -> Answer {
    let RollbackArgs { phase, reason, back } = args;
    let plan = plan::fetch(cx, &phase).await?;
    if plan.steps.iter().all(|step| step.state.is_none()) {
        let effect = "the phase returns to waiting, its soak and proofs are void";
        return phases::returned(cx, &phase, effect, reason, back.ponr.confirm).await;
    }
    let own = Own::load(cx)?;
    take_back(cx, own, plan, "rollback", reason, back).await
}

async fn take_back(cx: &mut Context<'_, '_>, own: Own, plan: PlanBody, verb: &str, reason: String, args: BackArgs) -> Answer {
    own.must_be(&plan)?;
    let phase = plan.phase.clone();
    // The ledger asks for it too, but it may be out of reach.
    if let Some(crossed) = plan.ponr_crossed.as_ref().filter(|_| args.ponr.confirm.as_deref() != Some(&*phase)) {
        let message = format!("phase {phase} crossed its point of no return at {}", moment(crossed.at));
        return Err(Trouble::new(Exit::USAGE, message)
            .hint(format!("going back loses what the new side took since: add --confirm={phase} if that is meant")));
    }
    let effect = "its steps are undone in reverse order, and it returns to waiting";
    cx.confirm(&format!("{verb} {phase}"), effect, &phase).await?;
    let orders = Orders { confirm: args.ponr.confirm, did: args.did, in_flight: None };
    let runner = Box::pin(Runner::start(cx, own, plan, orders)).await?;
    Box::pin(runner.back(&reason, false)).await
}

/// The plan of the active phase, which must have steps.
async fn active(cx: &Context<'_, '_>) -> Result<PlanBody, Trouble> {
    let (status, trusted) = status::read(cx.client).await?;
    trusted?;
    let Some(phase) = status.phases.iter().find(|phase| phase.state == PhaseState::Active) else {
        return Err(Trouble::new(Exit::NOT_FOUND, "no phase is active").hint("`cutover advance` begins the next one"));
    };
    if phase.steps.is_empty() {
        let message = format!("phase {} has no steps: its work is done by hand", phase.name);
        return Err(
            Trouble::new(Exit::NOT_FOUND, message).hint(format!("`cutover switch {}` says that re-pointing begins", phase.name))
        );
    }
    plan::fetch(cx, &phase.name).await
}

/// A point of no return must be confirmed before anything is done, where nobody can be asked when it is there.
fn can_cross(cx: &Context<'_, '_>, plan: &PlanBody, confirm: Option<&str>) -> Result<(), Trouble> {
    let phase = &plan.phase;
    if let Some(other) = confirm.filter(|named| named != phase) {
        let message = format!("--confirm names {other}, the phase is {phase}");
        return Err(Trouble::new(Exit::USAGE, message).hint(format!("say --confirm={phase}, if that is meant")));
    }
    let ahead = plan.steps.iter().find(|step| step.ponr && step.state != Some(StepState::Done));
    match ahead {
        Some(step) if confirm.is_none() && !cx.io.can_ask() => {
            let message = format!("step {} is the point of no return of phase {phase}, and there is nobody to ask", step.name);
            Err(Trouble::new(Exit::USAGE, message).hint(format!("add --confirm={phase}")))
        }
        Some(_) | None => Ok(()),
    }
}

/// Shows what will be done, and has a person agree.
async fn agreed(cx: &mut Context<'_, '_>, plan: &PlanBody, own: &Own, verb: &str) -> Result<(), Trouble> {
    for line in (Planned { plan, own: Some(own) }).lines(false) {
        cx.io.say(line);
    }
    cx.confirm(&format!("{verb} {}", plan.phase), "its steps run on this machine", &plan.phase).await
}

/// What is known of a run without the verifier.
fn from_journal(cx: &mut Context<'_, '_>, own: &Own, trouble: Trouble) -> Result<PlanBody, Trouble> {
    let found = own.phases().find_map(|phase| {
        let story = Story::read(&place(own, phase).ok()?).ok()??;
        story.over.is_none().then_some((phase.to_owned(), story))
    });
    let Some((phase, story)) = found else { return Err(trouble) };
    cx.io.say(format!("{}; going by the journal of this machine", trouble.message));
    Ok(own.plan_from(&phase, &story))
}

/// Where this machine keeps the journal of a phase.
fn place(own: &Own, phase: &str) -> Result<Place, JournalError> {
    Place::new(&root(|name| std::env::var_os(name))?, own.migration(), phase)
}

/// What is wrong with the journal.
pub(crate) fn journal_trouble(error: &JournalError) -> Trouble {
    let exit = if matches!(error, JournalError::Busy { .. }) { Exit::MOVED } else { Exit::USAGE };
    Trouble::new(exit, error.to_string()).hint(error.hint())
}

impl<'r, 'a, 'w> Runner<'r, 'a, 'w> {
    /// Opens the journal, takes the lock, and tells the ledger what it does not know yet.
    async fn start(cx: &'r mut Context<'a, 'w>, own: Own, plan: PlanBody, orders: Orders) -> Result<Self, Trouble> {
        // Of a phase that waits, whatever an earlier run has left in the journal is over.
        let anew = plan.phase_state == PhaseState::Waiting;
        let now = (cx.now)();
        let opened = place(&own, &plan.phase).and_then(|place| Journal::open(&place, now));
        let mut journal = opened.map_err(|error| journal_trouble(&error))?;
        if anew || journal.story().is_none_or(|story| story.over.is_some()) {
            journal.begin(cx.client.server(), own.hash(), now).map_err(|error| journal_trouble(&error))?;
        }
        let (phase, stop) = (plan.phase.clone(), cx.stop.clone());
        let mut runner = Self { cx, own, phase, plan, lease: None, journal, orders, stop };
        match Box::pin(runner.reconcile()).await {
            Ok(()) => {}
            // Nothing goes forward without the verifier; the way back does, if this machine knows what was done.
            Err(trouble) if trouble.exit == Exit::UNREACHABLE && runner.knows_of_steps() => {}
            Err(trouble) => {
                runner.give_back().await;
                return Err(trouble);
            }
        }
        Ok(runner)
    }

    fn knows_of_steps(&self) -> bool {
        self.journal.story().is_some_and(|story| !story.steps.is_empty())
    }

    /// Takes the lock, and tells the ledger everything that it was not told yet.
    pub(super) async fn reconcile(&mut self) -> Result<(), Trouble> {
        if self.lease.is_none() {
            let own = self.journal.story().and_then(|story| story.lock);
            let lease = Lease::take(self.cx.client, &self.phase, own).await?;
            self.note(Entry::Lock { id: lease.id })?;
            self.lease = Some(lease);
        }
        let untold = self.journal.story().map(|story| story.untold.clone()).unwrap_or_default();
        let Some((last, _)) = untold.last().cloned() else { return self.refresh().await };
        for (_, entry) in &untold {
            let told = match entry {
                Entry::Start { step, way, checked, .. } => self.tell_start(step, *way, *checked).await,
                Entry::Worked { step, .. } => self.tell_worked(step).await,
                Entry::End { step, end, note, .. } => self.tell_end(step, *end, note).await,
                Entry::Lock { .. } | Entry::Crossed { .. } | Entry::Told { .. } | Entry::Over { .. } => continue,
            };
            match told {
                Ok(_) => {}
                // It was told before, and the answer got lost; whether that is so is looked at below.
                Err(trouble) if trouble.exit == Exit::CLOSED => {}
                Err(trouble) => return Err(trouble),
            }
        }
        self.note(Entry::Told { up_to: last })?;
        self.refresh().await?;
        self.agrees_with_journal()
    }

    /// What this machine has done is what the ledger has in its books.
    fn agrees_with_journal(&self) -> Result<(), Trouble> {
        let steps = self.journal.story().map(|story| story.steps.clone()).unwrap_or_default();
        for (name, local) in &steps {
            let here = &local.state;
            let there = self.step(name).and_then(|step| step.state);
            if there != Some(*here) && !(there.is_none() && *here == StepState::Undone) {
                let there = there.map_or("untouched", StepState::as_str);
                let message =
                    format!("step {name} is {} by the journal of this machine, and {there} by the ledger", here.as_str());
                return Err(Trouble::new(Exit::MOVED, message)
                    .hint("somebody else has gone on with this phase: `cutover audit list` shows who; if theirs is right, move the journal away"));
            }
        }
        Ok(())
    }

    /// Steps that another machine has done are looked at again: only their own `check` knows how they are now.
    async fn stands_as_told(&mut self) -> Result<(), Trouble> {
        let elsewhere = |step: &crate::api::types::StepBody| {
            let here = self.journal.story().is_some_and(|story| story.steps.contains_key(&*step.name));
            step.check && step.state == Some(StepState::Done) && !here
        };
        let steps: Vec<_> = self.plan.steps.iter().filter(|step| elsewhere(step)).cloned().collect();
        for step in steps {
            let spec = self.own.step(&self.phase, &step.name)?.clone();
            if Box::pin(self.check(&step, &spec)).await? == Some(false) {
                let message = format!("step {} was done elsewhere, and its check says that it is not done any more", step.name);
                return Err(Trouble::new(Exit::MOVED, message).hint("do it by hand, or `cutover abort` and begin anew"));
            }
        }
        Ok(())
    }
}
