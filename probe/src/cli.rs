//! The command line of `probe`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use checks::Registry;
use clap::{Parser, Subcommand};

use crate::config::cli::ConfigCommand;
use crate::telemetry::{LogArgs, complain};
use crate::verifier;

/// phasegate's prober: runs the verification checks of a phased migration and says, over HTTP, whether a gate is open.
#[derive(Debug, Parser)]
#[command(name = "probe", version, propagate_version = true, arg_required_else_help = true, after_long_help = EXAMPLES)]
struct Args {
    #[command(subcommand)]
    command: ProbeCommand,
}

const EXAMPLES: &str = "Examples:
  probe config example > migration.yaml      write a first document
  probe config check migration.yaml          find all its mistakes at once
  probe verifier --config.file migration.yaml --state.dir ./state

Exit codes: 0 done · 1 the verifier had to stop · 2 wrong usage, document, token file or state directory";

#[derive(Debug, Subcommand)]
enum ProbeCommand {
    /// Run the checks of a Migration document and serve gates, evidence and metrics.
    Verifier(VerifierArgs),
    /// Check a Migration document, or print its schema or an example.
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// Flags of `probe verifier`.
#[derive(Debug, clap::Args)]
pub struct VerifierArgs {
    /// The Migration document.
    #[arg(long = "config.file", value_name = "FILE", env = "PHASEGATE_CONFIG")]
    pub config_file: PathBuf,
    /// Where the ledger is kept: phases, soak, audit trail. Only one verifier may use it.
    #[arg(long = "state.dir", value_name = "DIR", env = "PHASEGATE_STATE_DIR")]
    pub state_dir: PathBuf,
    /// Where to listen.
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = "0.0.0.0:9470")]
    pub listen_address: SocketAddr,
    /// Who may change phases: one `NAME ROLE TOKEN` per line, roles read, operate, approve, heartbeat. Without it every change
    /// is answered with 403.
    #[arg(long = "web.token.file", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

/// The whole of `probe`, with the kinds of check that documents may name.
pub fn main(registry: Registry) -> ExitCode {
    match Args::parse().command {
        ProbeCommand::Verifier(args) => match verifier::run(args, registry) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                complain(&failure.message);
                ExitCode::from(failure.code)
            }
        },
        ProbeCommand::Config(command) => ExitCode::from(command.run(&registry)),
    }
}
