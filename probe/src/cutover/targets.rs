//! `cutover decommission`: an old side is removed for good.

use clap::Args;

use super::render::About;
use super::{Answer, Context, name, told};
use crate::api::types::ReasonRequest;
use crate::exit::Exit;

/// `cutover decommission …`
#[derive(Debug, Args)]
pub(crate) struct DecommissionArgs {
    /// The target, by its name in the document
    #[arg(value_parser = name)]
    target: String,
    /// Why, for those who read the audit trail later
    #[arg(long, value_parser = told)]
    reason: String,
    /// The name of the target, once more: from here on nothing leads back to it
    #[arg(long, value_name = "TARGET", value_parser = name)]
    confirm: Option<String>,
    /// Take it back: the target is there after all. Refused once it was seen gone
    #[arg(long, conflicts_with = "confirm")]
    undo: bool,
}

/// Runs `cutover decommission`.
pub(crate) async fn decommission(cx: &mut Context<'_, '_>, args: DecommissionArgs) -> Answer {
    let DecommissionArgs { target, reason, confirm, undo } = args;
    let mut request = ReasonRequest { reason, confirm, lock: None };
    let verb = if undo { "recommission" } else { "decommission" };
    if !undo && request.confirm.is_none() {
        let effect = "its probes are not asked for any more, and no phase that used it can be rolled back";
        let asked = cx.type_name(&format!("decommission {target}"), effect, &target).await;
        asked.map_err(|trouble| trouble.hint(format!("add --confirm={target}")))?;
        request.confirm = Some(target.clone());
    }
    let receipt = cx.client.post(&["targets", &target, verb], &request).await?;
    cx.io.show(&About(&target, &receipt));
    if !undo {
        cx.io.say(format!("next: stop {target}; until its tripwire sees it gone, every gate from its phase on stays pending"));
    }
    Ok(Exit::OPEN)
}
