//! `cutover advance`: the next step of the migration, if the evidence allows it. The verifier decides again at that moment and
//! enforces; this side words it.

use clap::Args;
use serde_json::json;

use super::render::{Done, moment, soak_left, value};
use super::trouble::{Trouble, exit_of};
use super::{Answer, Context, gate, plan, status};
use crate::api::types::{GateBody, GateKind, LockBody, PhaseBody, Receipt, StatusBody};
use crate::exit::Exit;
use crate::gate::Verdict;
use crate::state::{PhaseState, StepState};

/// `cutover advance`
#[derive(Debug, Args)]
pub(crate) struct AdvanceArgs {
    /// The phase whose point of no return may be crossed
    #[arg(long, value_name = "PHASE", value_parser = super::name)]
    confirm: Option<String>,
}

/// Runs `cutover advance`.
pub(crate) async fn run(cx: &mut Context<'_, '_>, args: AdvanceArgs) -> Answer {
    let (status, trusted) = status::read(cx.client).await?;
    trusted?;
    if let Some(lock) = status.lock.as_ref().filter(|lock| lock.live) {
        return Err(at_work(lock));
    }
    if status.phases.is_empty() {
        return Err(Trouble::new(Exit::UNKNOWN, "the verifier knows no phase")
            .hint("load a Migration document with phases: `probe config check FILE`"));
    }
    let mut active = status.phases.iter().filter(|phase| phase.state == PhaseState::Active);
    match (active.next(), active.next()) {
        (Some(phase), None) => return finish(cx, &status, phase, args.confirm).await,
        (Some(one), Some(other)) => {
            let message = format!("both {} and {} are said to be active", one.name, other.name);
            return Err(Trouble::new(Exit::UNKNOWN, message).hint("is this the verifier's address (--server)?"));
        }
        (None, _) => {}
    }
    if let Some(next) = status.phases.iter().find(|phase| phase.state == PhaseState::Waiting) {
        return begin(cx, next, Vec::new(), args.confirm).await;
    }
    all_complete(cx, &status);
    Ok(Exit::OPEN)
}

fn all_complete(cx: &mut Context<'_, '_>, status: &StatusBody) {
    let message = format!("all {} phases of {} are complete", status.phases.len(), status.migration);
    cx.io.show(&Done(&[Receipt { message, phase: None, id: None }]));
    for phase in status.phases.iter().filter(|phase| !phase.regressed.is_empty()) {
        cx.io.say(format!("phase {} has a latched regression: see `cutover status`", phase.name));
    }
}

/// The active phase: completes it, if it has switched and its gate is open, and begins the next one.
async fn finish(cx: &mut Context<'_, '_>, status: &StatusBody, phase: &PhaseBody, confirm: Option<String>) -> Answer {
    let name = &phase.name;
    if phase.switched.is_none() && !phase.steps.is_empty() {
        let done = phase.steps.iter().filter(|step| step.state == Some(StepState::Done)).count();
        let message = format!("phase {name} is active, and {done} of its {} steps are done", phase.steps.len());
        return Err(Trouble::new(Exit::CLOSED, message).hint("`cutover resume` runs the rest, `cutover abort` goes back"));
    }
    if phase.switched.is_none() {
        return Err(Trouble::new(Exit::CLOSED, format!("phase {name} is active and has not switched")).hint(format!(
            "begin to re-point, and say so: `cutover switch {name}`; then `cutover advance` completes the phase"
        )));
    }
    let body = gate::look(cx.client, name, GateKind::Gate).await?;
    if body.verdict != Verdict::Open {
        return Err(not_open(body));
    }
    cx.io.say(format!("completing phase {name}: its gate is open"));
    let done = cx.client.post(&["phases", name, "complete"], &json!({})).await?;
    let mut later = status.phases.iter().skip_while(|each| each.name != *name);
    if let Some(next) = later.find(|each| each.state == PhaseState::Waiting) {
        return begin(cx, next, vec![done], confirm).await;
    }
    cx.io.show(&Done(&[done]));
    cx.io.say("that was the last phase: the migration is complete");
    Ok(Exit::OPEN)
}

/// Begins a phase after what was done before it.
async fn begin(cx: &mut Context<'_, '_>, phase: &PhaseBody, mut done: Vec<Receipt>, confirm: Option<String>) -> Answer {
    let name = &phase.name;
    if !phase.steps.is_empty() {
        let plan = plan::fetch(cx, name).await?;
        let begun = Box::pin(super::run::begin_with_steps(cx, plan, confirm)).await;
        return begun.map_err(|trouble| after(done, name, trouble));
    }
    cx.io.say(format!("beginning phase {name}"));
    match cx.client.post(&["phases", name, "begin"], &json!({})).await {
        Ok(receipt) => {
            done.push(receipt);
            cx.io.show(&Done(&done));
            cx.io.say(format!("next: bring up the new side, then `cutover switch {name}` when you begin to re-point"));
            Ok(Exit::OPEN)
        }
        Err(trouble) => Err(after(done, name, trouble)),
    }
}

/// What was done before it went wrong is said, too.
fn after(done: Vec<Receipt>, name: &str, trouble: Trouble) -> Trouble {
    if done.is_empty() {
        return trouble;
    }
    let said: Vec<_> = done.iter().map(|receipt| receipt.message.as_str()).collect();
    let message = format!("{}; but phase {name} can not begin yet: {}", said.join("; "), trouble.message).into();
    let hint = trouble.hint.clone().unwrap_or_else(|| format!("`cutover gate explain {name} --entry` says why").into());
    Trouble { message, done: done.iter().map(value).collect(), ..trouble }.hint(hint)
}

/// Somebody else moves phases now.
fn at_work(lock: &LockBody) -> Trouble {
    let LockBody { id, phase, holder, place, since, .. } = lock;
    let since = moment(*since);
    Trouble::new(Exit::MOVED, format!("{holder} on {place} is at work on phase {phase} since {since}, with lock {id}"))
        .hint(format!("wait for them; if they are gone for good: `cutover lock release {id} --reason …`, then `cutover resume`"))
}

/// The refusal, in the gate's own words.
fn not_open(body: GateBody) -> Trouble {
    let left = soak_left(&body.soak).filter(|_| body.verdict == Verdict::Pending);
    let left = left.map_or_else(String::new, |left| format!(" ({left} of soak left)"));
    let name = &body.gate;
    let mut trouble = Trouble::new(exit_of(body.verdict), format!("gate {name}{left} is {}", body.reason))
        .hint(format!("`cutover gate wait {name}` waits for it, `cutover gate explain {name}` shows everything"));
    let unlisted = body.blocked_by.saturating_sub(body.blockers.len());
    if unlisted > 0 {
        trouble.message = format!("{} (and {unlisted} blockers that are not listed)", trouble.message).into();
    }
    trouble.blocked_by(body.blockers)
}
