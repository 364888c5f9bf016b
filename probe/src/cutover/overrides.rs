//! `cutover override`: time-boxed, audited exceptions for single probes.

use std::time::Duration;

use clap::Subcommand;

use super::render::{Done, Overrides};
use super::{Answer, Context, name, positive, status, told};
use crate::api::types::OverrideRequest;
use crate::exit::Exit;
use crate::now::span;

/// `cutover override …`
#[derive(Debug, Subcommand)]
pub(crate) enum OverrideVerb {
    /// Take one probe out of its gate for a while; shown in every verdict, ends by itself
    #[command(after_help = "Examples:
  cutover override create cluster-dns --ttl 30m --reason \"resolver is being replaced\" --ticket OPS-4711")]
    Create {
        /// The probe
        #[arg(value_parser = name)]
        probe: String,
        /// For how long, like 30m or 2h
        #[arg(long, value_name = "SPAN", value_parser = positive)]
        ttl: Duration,
        /// Why, for those who read the audit trail later
        #[arg(long, value_parser = told)]
        reason: String,
        /// Where that is discussed, like OPS-4711
        #[arg(long, value_parser = told)]
        ticket: Option<String>,
    },
    /// Show the active overrides
    #[command(after_help = "Examples:\n  cutover override list\n  cutover override list -o name")]
    List,
    /// End an override before its time
    #[command(after_help = "Examples:\n  cutover override revoke 3")]
    Revoke {
        /// Its number, from `cutover override list`
        id: u64,
    },
}

/// Runs a verb of `cutover override`.
pub(crate) async fn run(cx: &mut Context<'_, '_>, verb: OverrideVerb) -> Answer {
    match verb {
        OverrideVerb::Create { probe, ttl, reason, ticket } => {
            let effect = format!("for {}, {probe} will not be looked at by any gate", span(ttl));
            cx.confirm(&format!("override {probe}"), &effect, &probe).await?;
            let ttl_seconds = ttl.as_secs().max(1);
            let receipt = cx.client.post(&["overrides"], &OverrideRequest { probe, reason, ticket, ttl_seconds }).await?;
            cx.io.show(&Done(&[receipt]));
        }
        OverrideVerb::List => {
            let (status, trusted) = status::read(cx.client).await?;
            trusted?;
            cx.io.show(&Overrides(&status.overrides));
            cx.io.say(match status.overrides.as_slice() {
                [] => "no override is active",
                _ => "next: `cutover override revoke ID` ends one before its time",
            });
        }
        OverrideVerb::Revoke { id } => {
            let receipt = cx.client.delete(&["overrides", &id.to_string()]).await?;
            cx.io.show(&Done(&[receipt]));
        }
    }
    Ok(Exit::OPEN)
}
