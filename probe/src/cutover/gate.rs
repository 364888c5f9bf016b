//! `cutover gate`: the verdict as exit code.

use std::time::Duration;

use chrono::SecondsFormat;
use clap::{Args, Subcommand, ValueEnum};

use super::client::Client;
use super::render::{Brief, soak_left};
use super::trouble::{Trouble, exit_of};
use super::when::{When, when};
use super::{Answer, Context, name, trust};
use crate::api::types::{GateBody, GateKind, PastBody};
use crate::exit::Exit;
use crate::gate::{Verdict, phase_reasons};

mod wait;

const CHECK_EXAMPLES: &str = "Examples:
  cutover gate check loki
  cutover gate check loki --entry            # may the phase's next step run?
  cutover gate check loki --accept pending   # only the soak may be missing
  cutover gate check loki -o json | jq .blockers";

const WAIT_EXAMPLES: &str = "The exit code is that of the final verdict (also with --for closed), 124 when --timeout ran out. \
While the verifier can not be reached it keeps trying until then; an `open` counts only with fresh evidence.

Examples:
  cutover gate wait loki --timeout 2h
  cutover gate wait loki --fail-fast --no-input -o github     # in a pipeline
  cutover gate wait loki --stable-for 10m --timeout 3h";

const EXPLAIN_EXAMPLES: &str =
    "The exit code is that of the verdict; with --at, that of the verdict then: 0 says that the gate was open, \
never that it is. Of a time at which the verifier did not run nobody knows anything: unknown (3). Before the \
record begins: 13.

Examples:
  cutover gate explain loki
  cutover gate explain loki --entry
  cutover gate explain loki --at 2026-11-26T10:00:00Z
  cutover gate explain loki --at 90m -o wide          # that long ago, with every probe";

/// `cutover gate …`
#[derive(Debug, Subcommand)]
pub(crate) enum GateVerb {
    /// Say whether the gate is open, by exit code
    #[command(after_help = CHECK_EXAMPLES)]
    Check {
        #[command(flatten)]
        which: Which,
        /// Also let a gate pass that only lacks soak (never a red, suspect, waiting or unknown probe)
        #[arg(long, value_enum, value_name = "VERDICT")]
        accept: Option<Accept>,
    },
    /// Wait for a verdict; prints a line whenever something changes
    #[command(after_help = WAIT_EXAMPLES)]
    Wait {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        until: Until,
    },
    /// Say why: each blocker with since when, what was seen, what would open it
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain {
        #[command(flatten)]
        which: Which,
        /// As it was then: a moment in RFC 3339, or a span like 2h for that long ago
        #[arg(long, value_parser = when, value_name = "TIME|SPAN", conflicts_with = "entry")]
        at: Option<When>,
    },
}

/// Which gate.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The phase
    #[arg(value_parser = name)]
    phase: String,
    /// The entry guard instead of the gate: may the phase's next step run?
    #[arg(long)]
    entry: bool,
}

/// What else passes.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Accept {
    /// A gate that only lacks soak
    Pending,
}

/// What to wait for, and how long.
#[derive(Debug, Clone, Args)]
pub(crate) struct Until {
    /// The verdict to wait for
    #[arg(long = "for", value_enum, value_name = "VERDICT", default_value = "open")]
    goal: Goal,
    /// Give up after this long, like 90s or 2h (exit 124); 0s looks once
    #[arg(long, value_name = "SPAN", value_parser = humantime::parse_duration, default_value = "30m")]
    timeout: Duration,
    /// The gate must be watched open for this long without a break or a failed answer
    #[arg(long, value_name = "SPAN", value_parser = humantime::parse_duration, default_value = "0s")]
    stable_for: Duration,
    /// End at once when the gate is closed or the verifier can not be reached
    #[arg(long)]
    fail_fast: bool,
    /// Look this often
    #[arg(long, value_name = "SPAN", value_parser = super::positive, default_value = "2s")]
    interval: Duration,
}

/// A verdict that can be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Goal {
    /// Everything required is green and has been for long enough
    Open,
    /// Something is wrong
    Closed,
    /// Nothing is wrong, the soak runs
    Pending,
}

impl Goal {
    const fn verdict(self) -> Verdict {
        match self {
            Self::Open => Verdict::Open,
            Self::Closed => Verdict::Closed,
            Self::Pending => Verdict::Pending,
        }
    }
}

impl Which {
    const fn kind(&self) -> GateKind {
        if self.entry { GateKind::Entry } else { GateKind::Gate }
    }
}

/// Runs a verb of `cutover gate`.
pub(crate) async fn run(cx: &mut Context<'_, '_>, verb: GateVerb) -> Answer {
    match verb {
        GateVerb::Check { which, accept } => check(cx, &which, accept).await,
        GateVerb::Wait { which, until } => wait(cx, &which, &until).await,
        GateVerb::Explain { which, at: Some(at) } => explain_then(cx, &which.phase, at).await,
        GateVerb::Explain { which, at: None } => {
            let body = look(cx.client, &which.phase, which.kind()).await?;
            cx.io.show(&body);
            Ok(exit_of(body.verdict))
        }
    }
}

/// A gate as it was. What was open then opens nothing now.
async fn explain_then(cx: &mut Context<'_, '_>, phase: &str, at: When) -> Answer {
    let time = at.moment((cx.now)()).to_rfc3339_opts(SecondsFormat::AutoSi, true);
    let body: PastBody = cx.client.ask(&["gates", phase, "at"], &[("time", time)]).await?;
    trust::past(&body, phase)?;
    cx.io.show(&body);
    Ok(exit_of(body.verdict))
}

/// A gate that may be believed.
pub(crate) async fn look(client: &Client, phase: &str, kind: GateKind) -> Result<GateBody, Trouble> {
    let body: GateBody = match kind {
        GateKind::Gate => client.get(&["gates", phase]).await?,
        GateKind::Entry => client.get(&["gates", phase, "entry"]).await?,
    };
    trust::verdict(&body, phase, kind)?;
    Ok(body)
}

async fn check(cx: &mut Context<'_, '_>, which: &Which, accept: Option<Accept>) -> Answer {
    let body = look(cx.client, &which.phase, which.kind()).await?;
    cx.io.show(&Brief(&body));
    let exit = exit_of(body.verdict);
    match accept {
        Some(Accept::Pending) if only_soaks(&body) => {
            let left = soak_left(&body.soak).map_or_else(String::new, |left| format!(", {left} left"));
            cx.io.say(format!("accepted: nothing but soak is missing{left}"));
            Ok(Exit::OPEN)
        }
        _ => Ok(exit),
    }
}

/// Whether soak is all that is missing. A list of blockers that is not whole could hide a suspect probe: then each required
/// one must be seen green.
fn only_soaks(body: &GateBody) -> bool {
    let soaks = body.blockers.iter().all(|blocker| {
        blocker.verdict == Verdict::Pending && blocker.state.is_none() && blocker.reason == phase_reasons::SOAK.name
    });
    body.verdict == Verdict::Pending
        && soaks
        && !body.blockers.is_empty()
        && (body.blocked_by == body.blockers.len() || trust::all_green(body))
}

async fn wait(cx: &mut Context<'_, '_>, which: &Which, until: &Until) -> Answer {
    if !until.stable_for.is_zero() && until.stable_for >= until.timeout {
        return Err(Trouble::new(Exit::USAGE, "--stable-for must be shorter than --timeout")
            .hint(format!("for example --timeout {}", humantime::format_duration(until.stable_for.saturating_mul(2)))));
    }
    let client = cx.client;
    let once = until.timeout.is_zero();
    let until = Until { timeout: if once { cx.request_timeout } else { until.timeout }, ..until.clone() };
    wait::wait(cx.io, &until, once, async || look(client, &which.phase, which.kind()).await).await
}
