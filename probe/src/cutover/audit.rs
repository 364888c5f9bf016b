//! `cutover audit`: the trail of what happened, and whether it is whole.

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::render::{Trail, Verified};
use super::trouble::Trouble;
use super::{Answer, Context};
use crate::audit::{AuditPage, Head};
use crate::exit::Exit;

/// Frames asked for at once.
const PAGE: u64 = 500;
/// How often the trail may be shortened while it is verified.
const TRIES: usize = 3;
/// How a verifier calls events that it has removed since.
pub(super) const NO_LONGER_KEPT: &str = "no_longer_kept";

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
            verified(cx, &Verified { start: Head::genesis(), head })
        }
        AuditVerb::Verify { dir: None } => {
            let whole = whole(cx).await?;
            verified(cx, &whole)
        }
        AuditVerb::List { from, limit } => list(cx, from, limit).await,
    }
}

fn verified(cx: &mut Context<'_, '_>, verified: &Verified) -> Answer {
    if verified.head.seq == verified.start.seq {
        return Err(Trouble::new(Exit::UNKNOWN, "the audit trail is empty: there is nothing to verify")
            .hint("a verifier records its first event when it loads a document: is this the right one?"));
    }
    cx.io.show(verified);
    Ok(Exit::OPEN)
}

async fn page(cx: &Context<'_, '_>, from: u64, limit: u64) -> Result<AuditPage, Trouble> {
    cx.client.get_exact(&["audit"], &[("from", from.to_string()), ("limit", limit.to_string())]).await
}

/// Follows the chain from its first frame that is kept to the head that the verifier names. It may be shortened meanwhile.
async fn whole(cx: &Context<'_, '_>) -> Result<Verified, Trouble> {
    for _ in 1..TRIES {
        match follow(cx).await {
            Err(trouble) if &*trouble.code == NO_LONGER_KEPT => {}
            other => return other,
        }
    }
    follow(cx).await
}

async fn follow(cx: &Context<'_, '_>) -> Result<Verified, Trouble> {
    let mut page = page(cx, 0, PAGE).await?;
    let start = anchor(&page);
    let mut head = start.clone();
    let mut known = vec![start.hash.clone()];
    loop {
        check_anchor(&anchor(&page), &start, &known)?;
        let before = head.seq;
        for frame in &page.frames {
            head = head.follow(frame).map_err(|error| broken(error.to_string()))?;
            known.push(head.hash.clone());
        }
        if head.seq >= page.head.seq {
            let named = page.frames.iter().find(|frame| frame.seq == page.head.seq);
            let same = page.head == head || named.is_some_and(|frame| frame.hash == page.head.hash);
            return if same {
                Ok(Verified { start, head })
            } else {
                Err(broken(format!("frame {}: it is not the head that the verifier names", page.head.seq)))
            };
        }
        let next = head.seq.saturating_add(1);
        if head.seq == before {
            let missing = format!("frame {next}: it is missing, though the chain goes on to {}", page.head.seq);
            return Err(broken(missing));
        }
        page = self::page(cx, next, PAGE).await?;
    }
}

/// Where what is kept begins: after the genesis, unless something is no longer kept.
fn anchor(page: &AuditPage) -> Head {
    page.anchor.clone().filter(|anchor| anchor.seq > 0).unwrap_or_else(Head::genesis)
}

/// Whether what this page says to be no longer kept is what was verified before. `known` are the hashes from `start` on.
fn check_anchor(said: &Head, start: &Head, known: &[String]) -> Result<(), Trouble> {
    let at = said.seq.checked_sub(start.seq).and_then(|at| usize::try_from(at).ok());
    if at.and_then(|at| known.get(at)) == Some(&said.hash) {
        return Ok(());
    }
    let why = "the verifier says that the trail begins after it, which does not belong to what it had said and sent before";
    Err(broken(format!("frame {}: {why}", said.seq)))
}

fn broken(why: String) -> Trouble {
    Trouble { code: "broken_chain".into(), ..Trouble::new(Exit::CLOSED, format!("the audit trail does not verify: {why}")) }
        .hint("keep a copy of the state directory and compare it with a backup: somebody or something changed it")
}

async fn list(cx: &mut Context<'_, '_>, from: Option<u64>, limit: u64) -> Answer {
    let from = if let Some(from) = from {
        from.max(1)
    } else {
        let newest = page(cx, 0, 1).await?;
        newest.head.seq.saturating_sub(limit).max(anchor(&newest).seq).saturating_add(1)
    };
    let mut shown = page(cx, from, limit.min(PAGE)).await?;
    let count = |page: &AuditPage| u64::try_from(page.frames.len()).unwrap_or(u64::MAX);
    while let Some(next) = shown.next.filter(|_| count(&shown) < limit) {
        let more = page(cx, next, (limit - count(&shown)).min(PAGE)).await?;
        if more.frames.is_empty() {
            break;
        }
        shown.frames.extend(more.frames);
        (shown.next, shown.head, shown.anchor) = (more.next, more.head, more.anchor);
    }
    cx.io.show(&Trail(&shown));
    Ok(Exit::OPEN)
}
