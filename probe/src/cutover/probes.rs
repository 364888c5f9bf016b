//! `cutover probes`: what is looked at, how it went, and one look now.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde_json::json;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::client::Client;
use super::render::{About, History, Listing, grade, server_now};
use super::trouble::{Trouble, exit_of};
use super::{Answer, Context, name, positive, told};
use crate::api::types::{ProbesBody, RunBody, RunsBody, StatusBody};
use crate::exit::Exit;
use crate::now::span;

/// Pause between two looks for the new Run.
const POLL: Duration = Duration::from_millis(300);

/// `cutover probes …`
#[derive(Debug, Subcommand)]
pub(crate) enum ProbesVerb {
    /// Show all probes
    #[command(after_help = "Examples:\n  cutover probes list\n  cutover probes list -o wide")]
    List,
    /// Have a probe run now, and say what it saw (exit: pass 0, fail 1, unknown 3, waiting or unfinished 8)
    #[command(
        after_help = "Examples:\n  cutover probes run journal-to-docker-loki\n  cutover probes run loki-history --timeout 5m"
    )]
    Run {
        /// The probe
        #[arg(value_parser = name)]
        probe: String,
        /// Give up after this long (exit 124)
        #[arg(long, value_name = "SPAN", value_parser = positive, default_value = "2m")]
        timeout: Duration,
    },
    /// Show the last runs of a probe, newest first; failures are kept longer
    #[command(
        after_help = "Examples:\n  cutover probes history cluster-dns\n  cutover probes history cluster-dns -o wide --limit 50"
    )]
    History {
        /// The probe
        #[arg(value_parser = name)]
        probe: String,
        /// At most this many
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
    },
    /// Let a vanished part (a node, a pod, a table) go for good; audited
    #[command(after_help = "Examples:\n  cutover probes forget journal-to-docker-loki node-3")]
    Forget {
        /// The probe
        #[arg(value_parser = name)]
        probe: String,
        /// The part, as its evidence names it
        #[arg(value_parser = told)]
        part: String,
    },
}

/// Runs a verb of `cutover probes`.
pub(crate) async fn run(cx: &mut Context<'_, '_>, verb: ProbesVerb) -> Answer {
    match verb {
        ProbesVerb::List => {
            let probes: ProbesBody = cx.client.get(&["probes"]).await?;
            cx.io.show(&Listing(&probes));
            Ok(Exit::OPEN)
        }
        ProbesVerb::Run { probe, timeout } => look_now(cx, &probe, timeout).await,
        ProbesVerb::History { probe, limit } => {
            let mut runs = history(cx.client, &probe).await?;
            runs.runs.truncate(limit);
            cx.io.show(&History(&runs));
            if runs.runs.is_empty() {
                cx.io.say(format!("{probe} has not run since the verifier started"));
            }
            Ok(Exit::OPEN)
        }
        ProbesVerb::Forget { probe, part } => {
            let receipt = cx.client.post(&["probes", &probe, "forget", &part], &json!({})).await?;
            cx.io.show(&About(&part, &receipt));
            Ok(Exit::OPEN)
        }
    }
}

async fn history(client: &Client, probe: &str) -> Result<RunsBody, Trouble> {
    client.get(&["probes", probe, "runs"]).await
}

/// Wakes the probe and waits for a Run that started after that.
async fn look_now(cx: &mut Context<'_, '_>, probe: &str, timeout: Duration) -> Answer {
    let deadline = Instant::now() + timeout;
    // The server's clock says what is newer than this call; ours may differ.
    let status: StatusBody = cx.client.get(&["status"]).await?;
    let known = newest(&history(cx.client, probe).await?).map(|run| run.started);
    let before = known.max(server_now(status.evaluated_at, status.age_seconds));
    let receipt = cx.client.post(&["probes", probe, "run"], &json!({})).await?;
    cx.io.say(receipt.message);

    let client = cx.client;
    match timeout_at(deadline, newer(client, probe, before)).await {
        Ok(run) => {
            let run = run?;
            let exit = exit_of(grade(&run.outcome));
            cx.io.show(&History(&RunsBody { probe: probe.to_owned(), runs: vec![run] }));
            Ok(exit)
        }
        Err(_) => Err(Trouble::new(Exit::TIMEOUT, format!("{probe} brought no new run within {}", span(timeout)))
            .hint(format!("a run may still be under way: `cutover probes history {probe}`, or a longer --timeout"))),
    }
}

async fn newer(client: &Client, probe: &str, before: Option<DateTime<Utc>>) -> Result<RunBody, Trouble> {
    loop {
        let next = Instant::now() + POLL;
        let runs = history(client, probe).await?;
        if let Some(run) = newest(&runs).filter(|run| before.is_none_or(|before| run.started > before)) {
            return Ok(run.clone());
        }
        sleep_until(next).await;
    }
}

fn newest(runs: &RunsBody) -> Option<&RunBody> {
    runs.runs.iter().max_by_key(|run| run.started)
}
