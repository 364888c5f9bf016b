//! `cutover audit`: the trail of what happened, and whether it is whole.

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::render::{Trail, Verified};
use super::trouble::Trouble;
use super::{Answer, Context};
use crate::audit::{AuditPage, Head, verify};
use crate::exit::Exit;

/// Frames asked for at once.
const PAGE: u64 = 500;

/// Verifies a state directory and says where its chain ends, or why it does not verify.
pub type VerifyDir = fn(&Path) -> Result<Head, String>;

/// `cutover audit …`
#[derive(Debug, Subcommand)]
pub(crate) enum AuditVerb {
    /// Verify the hash chain of the whole trail here, without trusting the verifier
    #[command(after_help = "Examples:
  cutover audit verify
  cutover audit verify --dir /var/lib/phasegate   # a state directory, without a verifier")]
    Verify {
        /// Verify this state directory instead of asking a verifier
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Show events of the trail
    #[command(after_help = "Examples:
  cutover audit list                  # the newest 50
  cutover audit list --from 1 --limit 20
  cutover audit list -o json | jq '.frames[].event'")]
    List {
        /// Start at this event; the newest ones otherwise
        #[arg(long, value_name = "EVENT")]
        from: Option<u64>,
        /// At most this many
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
        limit: u64,
    },
}

/// Runs a verb of `cutover audit`.
pub(crate) async fn run(cx: &mut Context<'_, '_>, verb: AuditVerb) -> Answer {
    match verb {
        AuditVerb::Verify { dir: Some(dir) } => {
            let verify_dir = cx.verify_dir;
            let checked = tokio::task::spawn_blocking(move || verify_dir(&dir)).await;
            // The store's own words are complete: they name the place and what to do.
            let damaged = |why| Trouble::new(Exit::CLOSED, format!("the audit trail does not verify: {why}"));
            let head = checked.map_err(|error| damaged(error.to_string()))?.map_err(damaged)?;
            verified(cx, &head)
        }
        AuditVerb::Verify { dir: None } => {
            let head = whole(cx).await?;
            verified(cx, &head)
        }
        AuditVerb::List { from, limit } => list(cx, from, limit).await,
    }
}

fn verified(cx: &mut Context<'_, '_>, head: &Head) -> Answer {
    if head.seq == 0 {
        return Err(Trouble::new(Exit::UNKNOWN, "the audit trail is empty: there is nothing to verify")
            .hint("a verifier records its first event when it loads a document: is this the right one?"));
    }
    cx.io.show(&Verified(head));
    Ok(Exit::OPEN)
}

async fn page(cx: &Context<'_, '_>, from: u64, limit: u64) -> Result<AuditPage, Trouble> {
    cx.client.get_exact(&["audit"], &[("from", from.to_string()), ("limit", limit.to_string())]).await
}

/// Follows the chain from its first frame to the head that the verifier names.
async fn whole(cx: &Context<'_, '_>) -> Result<Head, Trouble> {
    let mut head = Head::genesis();
    loop {
        let next = head.seq.saturating_add(1);
        let page = page(cx, next, PAGE).await?;
        let before = head.seq;
        head = verify(&head, &page.frames).map_err(|error| broken(error.to_string()))?;
        if head.seq >= page.head.seq {
            let named = page.frames.iter().find(|frame| frame.seq == page.head.seq);
            let same = page.head == head || named.is_some_and(|frame| frame.hash == page.head.hash);
            return if same {
                Ok(head)
            } else {
                Err(broken(format!("frame {}: it is not the head that the verifier names", page.head.seq)))
            };
        }
        if head.seq == before {
            let missing = format!("frame {next}: it is missing, though the chain goes on to {}", page.head.seq);
            return Err(broken(missing));
        }
    }
}

fn broken(why: String) -> Trouble {
    Trouble { code: "broken_chain".into(), ..Trouble::new(Exit::CLOSED, format!("the audit trail does not verify: {why}")) }
        .hint("keep a copy of the state directory and compare it with a backup: somebody or something changed it")
}

async fn list(cx: &mut Context<'_, '_>, from: Option<u64>, limit: u64) -> Answer {
    let from = if let Some(from) = from {
        from.max(1)
    } else {
        let newest = page(cx, 1, 1).await?.head.seq;
        (newest + 1).saturating_sub(limit).max(1)
    };
    let mut shown = page(cx, from, limit.min(PAGE)).await?;
    let count = |page: &AuditPage| u64::try_from(page.frames.len()).unwrap_or(u64::MAX);
    while let Some(next) = shown.next.filter(|_| count(&shown) < limit) {
        let more = page(cx, next, (limit - count(&shown)).min(PAGE)).await?;
        if more.frames.is_empty() {
            break;
        }
        shown.frames.extend(more.frames);
        (shown.next, shown.head) = (more.next, more.head);
    }
    cx.io.show(&Trail(&shown));
    Ok(Exit::OPEN)
}
