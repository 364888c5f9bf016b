//! `cutover status`: one screen.

use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep_until};

use super::client::Client;
use super::render::Screen;
use super::trouble::Trouble;
use super::{Answer, Context, trust};
use crate::api::types::{PhaseBody, StatusBody};
use crate::exit::Exit;

/// What to show.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Show it again whenever it changes, until interrupted
    #[arg(long, short)]
    watch: bool,
    /// With --watch: look this often
    #[arg(long, value_name = "SPAN", value_parser = super::positive, default_value = "2s")]
    interval: Duration,
}

/// A status, and why it may not be believed. What may not be believed is shown as unknown.
pub(crate) async fn read(client: &Client) -> Result<(StatusBody, Result<(), Trouble>), Trouble> {
    let mut body: StatusBody = client.get(&["status"]).await?;
    let trusted = trust::status(&mut body);
    Ok((body, trusted))
}

/// Runs `cutover status`.
pub(crate) async fn run(cx: &mut Context<'_, '_>, args: &StatusArgs) -> Answer {
    if args.watch {
        return watch(cx, args.interval).await;
    }
    let (status, trusted) = read(cx.client).await?;
    cx.io.show(&Screen { server: cx.client.server(), status: &status });
    Ok(verdict_on(cx, trusted))
}

/// The exit code of a screen: what is on it is not judged, only whether it is fresh.
pub(crate) fn verdict_on(cx: &mut Context<'_, '_>, trusted: Result<(), Trouble>) -> Exit {
    match trusted {
        Ok(()) => Exit::OPEN,
        Err(trouble) => {
            cx.io.say(format!("error: {}", trouble.message));
            trouble.hint.iter().for_each(|hint| cx.io.say(format!("hint: {hint}")));
            trouble.exit
        }
    }
}

async fn watch(cx: &mut Context<'_, '_>, interval: Duration) -> Answer {
    let mut shown = None;
    let mut said = None;
    loop {
        let next = Instant::now() + interval;
        match read(cx.client).await {
            Ok((status, trusted)) => {
                let changed = shown.replace(key(&status)).as_ref() != shown.as_ref();
                if changed || cx.io.screen {
                    cx.io.clear();
                    cx.io.show(&Screen { server: cx.client.server(), status: &status });
                }
                let trouble = trusted.err().map(|trouble| trouble.message.into_string());
                say_change(cx, trouble, &mut said);
            }
            Err(trouble) if matches!(trouble.exit, Exit::UNREACHABLE | Exit::UNKNOWN) => {
                say_change(cx, Some(format!("{}; still trying", trouble.message)), &mut said);
            }
            Err(trouble) => return Err(trouble),
        }
        sleep_until(next).await;
    }
}

fn say_change(cx: &mut Context<'_, '_>, trouble: Option<String>, said: &mut Option<String>) {
    if trouble == *said {
        return;
    }
    match &trouble {
        Some(line) => cx.io.say(format!("error: {line}")),
        None => cx.io.say("the verifier answers again"),
    }
    *said = trouble;
}

/// What counts as a change: edges, not the ticking of ages, soak and evidence.
fn key(status: &StatusBody) -> String {
    let phase = |phase: &PhaseBody| {
        let switched = (phase.switching.is_some(), phase.switched.is_some(), phase.ponr_crossed.is_some());
        let steps: Vec<_> = phase.steps.iter().map(|step| (&step.name, step.state, step.attempts)).collect();
        let regressed: Vec<_> = phase.regressed.iter().map(|each| &each.probe).collect();
        format!("{:?}", (&phase.name, phase.state, switched, phase.verdict, phase.blocked_by, regressed, steps))
    };
    let phases: Vec<_> = status.phases.iter().map(phase).collect();
    let probes: Vec<_> = status.probes.iter().map(|probe| (&probe.name, probe.state, &probe.reason)).collect();
    let overrides: Vec<_> = status.overrides.iter().map(|each| each.id).collect();
    let lock = status.lock.as_ref().map(|lock| (lock.id, lock.live));
    format!("{:?}", (phases, probes, overrides, lock, &status.ledger_error, &status.config_error, &status.config_hash))
}
