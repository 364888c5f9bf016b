//! `tests/rehearse`: a whole migration on this machine, in four phases. The product's own binaries, real PostgreSQL clusters on
//! both sides, and stand-ins for the rest; everything that is printed after a `$` is what an operator would type and see.

mod application;
mod document;
mod homelab;
mod moves;
mod screen;
mod story;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use homelab::{Homelab, Pace};
use screen::Screen;

/// Walks a whole migration on this machine, on the screen: alloy, loki, grafana, postgres; two faults, refused and mended.
#[derive(Debug, Parser)]
#[command(
    name = "tests/rehearse",
    bin_name = "tests/rehearse",
    after_help = "Examples:\n  tests/rehearse\n  tests/rehearse --keep   leave it running, with the addresses\n  tests/rehearse --fast   shorter soaks, for CI"
)]
struct Args {
    /// Shorter soaks, for CI.
    #[arg(long)]
    fast: bool,
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
    let world = tests::World::new()?;
    let mut lab = Homelab::start(&world, screen, pace).await?;
    story::tell(&mut lab, screen).await?;
    if args.keep {
        screen.title("Still running, until Ctrl-C");
        lab.addresses();
        std::future::pending::<()>().await;
    }
    Ok(())
}
