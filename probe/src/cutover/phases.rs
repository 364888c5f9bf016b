//! The commands that move phases, and acknowledgements.

use clap::{Args, Subcommand};

use super::render::{About, Done};
use super::{Answer, Context, name, told};
use crate::api::types::{ReasonRequest, TermsRequest};
use crate::exit::Exit;

/// A phase.
#[derive(Debug, Args)]
pub(crate) struct PhaseArgs {
    /// The phase
    #[arg(value_parser = name)]
    pub(crate) phase: String,
}

/// A phase, and why.
#[derive(Debug, Args)]
pub(crate) struct ReasonArgs {
    /// The phase
    #[arg(value_parser = name)]
    phase: String,
    /// Why, for those who read the audit trail later
    #[arg(long, value_parser = told)]
    reason: String,
}

/// `cutover regression …`
#[derive(Debug, Subcommand)]
pub(crate) enum RegressionVerb {
    /// Clear a phase's latched regressions: they are seen and mended
    #[command(after_help = "Examples:\n  cutover regression ack alloy --reason \"disk was full, enlarged\"")]
    Ack(ReasonArgs),
}

/// Gives a command that a gate or guard protects.
pub(crate) async fn guarded(cx: &mut Context<'_, '_>, verb: &str, phase: &str, terms: &TermsRequest) -> Answer {
    let receipt = cx.client.post(&["phases", phase, verb], terms).await?;
    cx.io.show(&Done(&[receipt]));
    Ok(Exit::OPEN)
}

/// Runs `cutover adopt`.
pub(crate) async fn adopt(cx: &mut Context<'_, '_>, args: ReasonArgs) -> Answer {
    let effect = "the phase counts as complete without its soak and proofs";
    cx.confirm(&format!("adopt {}", args.phase), effect, &args.phase).await?;
    let request = ReasonRequest { reason: args.reason, ..ReasonRequest::default() };
    let receipt = cx.client.post(&["phases", &args.phase, "adopt"], &request).await?;
    cx.io.show(&Done(&[receipt]));
    Ok(Exit::OPEN)
}

/// Returns a phase to waiting in which no step was run.
pub(crate) async fn returned(
    cx: &mut Context<'_, '_>,
    phase: &str,
    effect: &str,
    reason: String,
    confirm: Option<String>,
) -> Answer {
    cx.confirm(&format!("rollback {phase}"), effect, phase).await?;
    let receipt = cx.client.post(&["phases", phase, "rollback"], &ReasonRequest { reason, lock: None, confirm }).await?;
    cx.io.show(&Done(&[receipt]));
    Ok(Exit::OPEN)
}

/// Runs a verb of `cutover regression`.
pub(crate) async fn regression(cx: &mut Context<'_, '_>, verb: RegressionVerb) -> Answer {
    let RegressionVerb::Ack(args) = verb;
    let request = ReasonRequest { reason: args.reason, ..ReasonRequest::default() };
    let receipt = cx.client.post(&["regressions", &args.phase, "ack"], &request).await?;
    cx.io.show(&About(&args.phase, &receipt));
    Ok(Exit::OPEN)
}
