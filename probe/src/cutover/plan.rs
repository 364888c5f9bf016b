//! `cutover plan` and `cutover approve`: what a phase would do, to be read before it is done, by two people if need be.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use super::render::{About, Planned};
use super::trouble::Trouble;
use super::{Answer, Context, Own, name, status};
use crate::api::types::{ApprovalRequest, PlanBody, StatusBody};
use crate::exit::Exit;
use crate::gate::Verdict;
use crate::state::{PhaseState, StepState};

/// Largest plan file that is read, in bytes.
const MAX_PLAN: u64 = 1024 * 1024;

/// `cutover plan`
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// The phase; the active one, or else the first that waits, unless given
    #[arg(value_parser = name)]
    phase: Option<String>,
    /// Also write it to this file, for `cutover approve` and `cutover begin --plan`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// `cutover approve`
#[derive(Debug, Args)]
pub(crate) struct ApproveArgs {
    /// The phase
    #[arg(value_parser = name)]
    phase: String,
    /// The plan that was read, from `cutover plan --out`
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
}

/// The plan of a phase as the verifier sees it now.
pub(crate) async fn fetch(cx: &Context<'_, '_>, phase: &str) -> Result<PlanBody, Trouble> {
    let plan: PlanBody = cx.client.get(&["phases", phase, "plan"]).await?;
    if plan.phase != phase {
        let message = format!("asked about {phase}, the verifier answered about {}", plan.phase);
        return Err(Trouble::new(Exit::UNKNOWN, message).hint("is this the verifier's address (--server)?"));
    }
    Ok(plan)
}

/// The phase that is meant when none is named: the active one, or else the first that waits.
pub(crate) fn at_hand(status: &StatusBody) -> Result<String, Trouble> {
    let find = |state| status.phases.iter().find(|phase| phase.state == state);
    let found = find(PhaseState::Active).or_else(|| find(PhaseState::Waiting));
    found.map(|phase| phase.name.clone()).ok_or_else(|| {
        Trouble::new(Exit::NOT_FOUND, "every phase is complete: nothing is left to plan").hint("name a phase to see its plan")
    })
}

/// Runs `cutover plan`.
pub(crate) async fn run(cx: &mut Context<'_, '_>, args: PlanArgs) -> Answer {
    let phase = if let Some(phase) = args.phase {
        phase
    } else {
        let (status, trusted) = status::read(cx.client).await?;
        trusted?;
        at_hand(&status)?
    };
    let plan = fetch(cx, &phase).await?;
    let own = cx.file.is_some().then(|| Own::load(cx)).transpose()?;
    if let Some(own) = &own {
        own.must_be(&plan)?;
    }
    if let Some(path) = &args.out {
        let text = serde_json::to_string_pretty(&plan).map_err(|error| Trouble::new(Exit::UNKNOWN, error.to_string()))?;
        fs::write(path, text + "\n").map_err(|error| {
            Trouble::new(Exit::USAGE, format!("--out {}: {error}", path.display())).hint("name a file that can be written")
        })?;
    }
    cx.io.show(&Planned { plan: &plan, own: own.as_ref() });
    if let Some(path) = &args.out {
        let file = path.display();
        cx.io.say(format!(
            "written to {file}; next: `cutover approve {phase} --plan {file}`, `cutover begin {phase} --plan {file}`"
        ));
    } else if let Some(next) = next(&plan, cx.file.as_deref()) {
        cx.io.say(format!("next: {next}"));
    }
    Ok(Exit::OPEN)
}

/// What to type once a plan was read.
fn next(plan: &PlanBody, file: Option<&Path>) -> Option<String> {
    let phase = &plan.phase;
    let file = match file {
        _ if plan.steps.is_empty() => String::new(),
        Some(file) => format!(" --file {}", file.display()),
        None => " --file FILE".to_owned(),
    };
    match plan.phase_state {
        PhaseState::Waiting if plan.entry != Verdict::Open => {
            Some(format!("`cutover gate explain {phase} --entry` says what stands in the way"))
        }
        PhaseState::Waiting if plan.four_eyes && plan.approved.is_none() => {
            Some(format!("`cutover plan {phase}{file} --out {phase}.plan`, for whoever approves it"))
        }
        PhaseState::Waiting => Some(format!("`cutover begin {phase}{file}`")),
        PhaseState::Active if plan.going_back => {
            Some(format!("`cutover rollback {phase}{file} --reason …` goes on with the way back"))
        }
        PhaseState::Active if plan.steps.iter().any(|step| step.state != Some(StepState::Done)) => {
            Some(format!("`cutover resume{file}` goes on with its steps, `cutover abort{file}` goes back"))
        }
        PhaseState::Active | PhaseState::Complete => None,
    }
}

/// Reads a plan that was written for a phase.
pub(crate) fn read(path: &Path, phase: &str) -> Result<PlanBody, Trouble> {
    let wrong = |what: String| {
        Trouble::new(Exit::USAGE, format!("--plan {}: {what}", path.display()))
            .hint(format!("`cutover plan {phase} --out FILE` writes one"))
    };
    let size = fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
    if size > MAX_PLAN {
        return Err(wrong("this is no plan: it is too large".to_owned()));
    }
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let plan: PlanBody = serde_json::from_str(&text).map_err(|error| wrong(format!("this is no plan: {error}")))?;
    if plan.phase != phase {
        return Err(wrong(format!("it is the plan of phase {}, not of {phase}", plan.phase)));
    }
    Ok(plan)
}

/// Runs `cutover approve`.
pub(crate) async fn approve(cx: &mut Context<'_, '_>, args: ApproveArgs) -> Answer {
    let ApproveArgs { phase, plan } = args;
    let file = plan.display().to_string();
    let plan = read(&plan, &phase)?;
    let request = ApprovalRequest { phase: phase.clone(), plan: plan.hash };
    let receipt = cx.client.post(&["approvals"], &request).await?;
    cx.io.show(&About(&phase, &receipt));
    cx.io.say(format!("next: somebody else says `cutover begin {phase} --plan {file}`"));
    Ok(Exit::OPEN)
}
