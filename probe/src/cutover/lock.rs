//! `cutover lock`: who may run steps.

use clap::Subcommand;

use super::render::{Done, Held};
use super::{Answer, Context, told};
use crate::api::types::{LockAnswer, ReleaseRequest};
use crate::exit::Exit;

/// `cutover lock …`
#[derive(Debug, Subcommand)]
pub(crate) enum LockVerb {
    /// Show who holds the lock, where and since when
    #[command(after_help = "Examples:\n  cutover lock status\n  cutover lock status -o json")]
    Status,
    /// End somebody else's lock: make sure first that they are not at work any more
    #[command(after_help = "Examples:\n  cutover lock release 7 --reason \"the laptop is lost\"")]
    Release {
        /// Its number, from `cutover lock status`
        id: u64,
        /// Why, for those who read the audit trail later
        #[arg(long, value_parser = told)]
        reason: String,
    },
}

/// Runs a verb of `cutover lock`.
pub(crate) async fn run(cx: &mut Context<'_, '_>, verb: LockVerb) -> Answer {
    match verb {
        LockVerb::Status => {
            let answer: LockAnswer = cx.client.get(&["lock"]).await?;
            cx.io.show(&Held(&answer));
            cx.io.say(match &answer.lock {
                None => "nobody holds the lock".to_owned(),
                Some(lock) if lock.live => format!(
                    "next: wait for {}; if they are gone for good: `cutover lock release {} --reason …`, then `cutover resume`",
                    lock.holder, lock.id
                ),
                Some(_) => "next: `cutover resume` goes on with the phase, `cutover abort` goes back".to_owned(),
            });
        }
        LockVerb::Release { id, reason } => {
            let effect = "whoever holds it can not go on, and a step of theirs may still be running";
            cx.confirm(&format!("release lock {id}"), effect, &id.to_string()).await?;
            let request = ReleaseRequest { reason: Some(reason) };
            let receipt = cx.client.post(&["lock", &id.to_string(), "release"], &request).await?;
            cx.io.show(&Done(&[receipt]));
            cx.io.say("next: `cutover resume` goes on with the phase, `cutover abort` goes back");
        }
    }
    Ok(Exit::OPEN)
}
