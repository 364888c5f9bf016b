//! Measures the product as it is shipped, on this machine. Nothing here asserts a time: the figures are for people, and for
//! comparing two of them that were taken in one run.

mod agent;
mod canary;
mod cluster;
mod compare;
mod detect;
mod figures;
mod gate;
mod history;
mod hops;
mod parity;
mod postgres;
mod rows;
mod scale;
mod usage;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

/// Measures phasegate on this machine; prints tables of figures.
#[derive(Debug, Parser)]
#[command(
    name = "bench",
    after_help = "Examples:\n  cargo build --release --workspace --bins\n  target/release/bench detect --kills 20\n  target/release/bench scale\n  \
                  target/release/bench canary --quick --json canary.json"
)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// What one agent costs its node, at 1, 10 and 1,000 lines a second: memory and processor.
    Agent {
        /// For how many seconds.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Ours beside loki-canary on one real Loki: what they cost, and what they say of an outage, a pause, destroyed and dropped lines.
    Canary(canary::Options),
    /// A real control plane with 500 pods and 50 probes: what its API server is asked at rest, processor and memory; default settings.
    Cluster {
        /// For how many seconds.
        #[arg(long, default_value_t = 120)]
        seconds: u64,
    },
    /// Ours beside pgcopydb's `compare` on the same two databases: how long they take, and what each of them finds of what is wrong.
    Compare(compare::Options),
    /// From the kill of a real Loki and of a real PostgreSQL to a gate that is not open, and to a red probe; default settings.
    Detect {
        /// How often each of them is killed.
        #[arg(long, default_value_t = 20)]
        kills: u32,
    },
    /// A history of a week, moved and proven: time, queries, memory, and how much longer others wait meanwhile.
    History {
        /// How many lines.
        #[arg(long, default_value_t = 1_000_000)]
        lines: u32,
        /// `visibleWithin` of the check: nothing is proven before the Lokis have run for that long.
        #[arg(long, default_value = "2m")]
        visible_within: String,
    },
    /// A silent outage of each hop between an agent and a gateway: from there to a gate that is not open, to a red or unknown probe,
    /// and to the hop's name; default settings.
    Hops {
        /// How often each of them falls silent.
        #[arg(long, default_value_t = 5)]
        rounds: u32,
    },
    /// Dashboards of a Grafana, moved and proven with default settings: time, questions, and the verifier's memory.
    Parity {
        /// How many dashboards.
        #[arg(long, default_value_t = 500)]
        dashboards: u32,
        /// How many panels each of them has.
        #[arg(long, default_value_t = 20)]
        panels: u32,
    },
    /// All checks of PostgreSQL on two servers: statements, time for a look, and pgbench with and without them; default settings.
    Postgres {
        /// For how many seconds each run of pgbench.
        #[arg(long, default_value_t = 20)]
        seconds: u64,
        /// How often with and without.
        #[arg(long, default_value_t = 3)]
        rounds: u32,
    },
    /// Every row of two servers proven: time beside a plain statement, memory, a writer meanwhile, a kill half-way, many small tables.
    Rows(rows::Options),
    /// Many scripted probes in one verifier under load: gate reads, scheduler lag, processor, memory.
    Scale {
        /// How many probes.
        #[arg(long, default_value_t = 10_000)]
        probes: u32,
        /// Gate reads per second.
        #[arg(long, default_value_t = 1_000)]
        rate: u32,
        /// For how many seconds.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    let result = tokio::runtime::Runtime::new().map_err(anyhow::Error::from).and_then(|runtime| {
        runtime.block_on(async {
            match args.what {
                What::Agent { seconds } => agent::measure(Duration::from_secs(seconds)).await,
                What::Canary(options) => canary::measure(&options).await,
                What::Cluster { seconds } => cluster::measure(Duration::from_secs(seconds)).await,
                What::Compare(options) => compare::measure(&options).await,
                What::Detect { kills } => detect::measure(kills).await,
                What::History { lines, visible_within } => history::measure(lines, &visible_within).await,
                What::Hops { rounds } => hops::measure(rounds).await,
                What::Parity { dashboards, panels } => parity::measure(dashboards, panels).await,
                What::Postgres { seconds, rounds } => postgres::measure(seconds, rounds).await,
                What::Rows(options) => rows::measure(&options).await,
                What::Scale { probes, rate, seconds } => scale::measure(probes, rate, Duration::from_secs(seconds)).await,
            }
        })
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            figures::say(&format!("the measurement failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
