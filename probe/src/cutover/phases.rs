//! The commands that move phases, and acknowledgements.

use clap::{Args, Subcommand};
use serde_json::json;

use super::render::Done;
use super::{Answer, Context, name, told};
use crate::api::types::ReasonRequest;
use crate::exit::Exit;

/// A phase.
#[derive(Debug, Args)]
pub(crate) struct PhaseArgs {
    /// The phase
    #[arg(value_parser = name)]
    phase: String,
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
pub(crate) async fn guarded(cx: &mut Context<'_, '_>, verb: &str, args: &PhaseArgs) -> Answer {
    let receipt = cx.client.post(&["phases", &args.phase, verb], &json!({})).await?;
    cx.io.show(&Done(&[receipt]));
    Ok(Exit::OPEN)
}

/// Gives a command that nothing protects but a person's certainty.
pub(crate) async fn confirmed(cx: &mut Context<'_, '_>, verb: &str, effect: &str, args: ReasonArgs) -> Answer {
    cx.confirm(&format!("{verb} {}", args.phase), effect, &args.phase).await?;
    let request = ReasonRequest { reason: args.reason };
    let receipt = cx.client.post(&["phases", &args.phase, verb], &request).await?;
    cx.io.show(&Done(&[receipt]));
    Ok(Exit::OPEN)
}

/// Runs a verb of `cutover regression`.
pub(crate) async fn regression(cx: &mut Context<'_, '_>, verb: RegressionVerb) -> Answer {
    let RegressionVerb::Ack(args) = verb;
    let request = ReasonRequest { reason: args.reason };
    let receipt = cx.client.post(&["regressions", &args.phase, "ack"], &request).await?;
    cx.io.show(&Done(&[receipt]));
    Ok(Exit::OPEN)
}
