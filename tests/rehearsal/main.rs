//! `tests/rehearse`: a whole migration on this machine, in four phases. The product's own binaries, real PostgreSQL clusters on
//! both sides, and for the rest stand-ins, or with `--real` the real servers; everything that is printed after a `$` is what an
//! operator would type and see.

mod cluster;
mod document;
mod hands;
mod homelab;
mod real;
mod screen;
mod stack;
mod standins;
mod story;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;

use homelab::{Homelab, Pace};
use real::Real;
use screen::Screen;
use stack::Stack;
use standins::Standins;
use tests::World;

/// Walks a whole migration on this machine, on the screen: alloy, loki, grafana, postgres; two faults, refused and mended.
#[derive(Debug, Parser)]
#[command(
    name = "tests/rehearse",
    bin_name = "tests/rehearse",
    after_help = "Examples:\n  tests/rehearse\n  tests/rehearse --keep   leave it running, with the addresses\n  tests/rehearse --fast   shorter soaks, for CI\n  tests/rehearse --real   with real Loki, Alloy, Promtail, Grafana and journald; builds them once, about 25 minutes\n  tests/rehearse --real --kubernetes   with a real control plane as well; builds it once, about 10 minutes"
)]
struct Args {
    /// Shorter soaks, for CI.
    #[arg(long)]
    fast: bool,
    /// Real servers instead of stand-ins: journald, Promtail, Alloy, Loki, Grafana.
    #[arg(long)]
    real: bool,
    /// A real Kubernetes control plane: rollouts by its controllers, the document and the ledger in it, `kubectl` on the screen.
    #[arg(long)]
    kubernetes: bool,
    /// Leave everything running at the end, until Ctrl-C.
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let screen = Screen::new();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Screen::failed(&error.into()),
    };
    let result = runtime.block_on(async {
        tokio::select! {
            result = rehearse(&args, &screen) => result.map(|()| ExitCode::SUCCESS),
            _ = tokio::signal::ctrl_c() => {
                Screen::say("interrupted; everything that was started is stopped");
                Ok(ExitCode::from(130))
            }
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    result.unwrap_or_else(|error| Screen::failed(&error))
}

async fn rehearse(args: &Args, screen: &Screen) -> anyhow::Result<()> {
    let pace = if args.fast { Pace::fast() } else { Pace::watchable() };
    let pace = if args.real || args.kubernetes { pace.patient() } else { pace };
    let world = World::new()?;
    screen.title("The homelab");
    let kubernetes = args.kubernetes;
    if args.real {
        run(args, screen, Box::pin(Homelab::start(&world, Real::start(&world), pace, kubernetes)).await?).await
    } else {
        run(args, screen, Box::pin(Homelab::start(&world, Standins::start(&world), pace, kubernetes)).await?).await
    }
}

async fn run<S: Stack>(args: &Args, screen: &Screen, mut lab: Homelab<'_, S>) -> anyhow::Result<()> {
    if let Err(error) = story::tell(&mut lab, screen).await {
        lab.aftermath(screen).await.with_context(|| format!("{error:#}"))?;
        return Err(error);
    }
    if args.keep {
        screen.title("Still running, until Ctrl-C");
        lab.addresses();
        std::future::pending::<()>().await;
    }
    Ok(())
}
