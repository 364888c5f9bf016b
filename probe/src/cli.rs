//! The command line of `probe`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use checks::Registry;
use checks::log_path::line::SERVICE;
use clap::{Parser, Subcommand};

use crate::agent::{self, SinkKind};
use crate::check::{self, CheckArgs};
use crate::config::cli::ConfigCommand;
use crate::init::{self, InitArgs};
use crate::store::Trail;
use crate::telemetry::{LogArgs, complain};
use crate::verifier::{self, Failure, StateArgs};

/// phasegate's prober: runs the verification checks of a phased migration and says, over HTTP, whether a gate is open.
#[derive(Debug, Parser)]
#[command(name = "probe", version, propagate_version = true, arg_required_else_help = true, after_long_help = EXAMPLES)]
struct Args {
    #[command(subcommand)]
    command: ProbeCommand,
}

const EXAMPLES: &str = "Examples:
  probe init                                 write a first document
  probe config check migration.yaml          find all its mistakes at once
  probe check --config.file migration.yaml   look once with every probe
  probe verifier --config.file migration.yaml --state.dir ./state
  probe verifier --config.migration homelab --state.kubernetes homelab   # in the cluster
  probe agent --node node-1                  on each node: canary lines into its journal

Exit codes: 0 done · 1 the verifier or the agent had to stop · 2 wrong usage, document, token file, state directory or sink;
`probe check` has those of `cutover`, see its help";

#[derive(Debug, Subcommand)]
enum ProbeCommand {
    /// Run the checks of a Migration document and serve gates, evidence and metrics.
    Verifier(VerifierArgs),
    /// Write numbered canary lines into this node's journal, and tell how far they have come.
    Agent(AgentArgs),
    /// Write a first Migration document, from flags or a few answers.
    Init(Box<InitArgs>),
    /// Run probes once, by hand, and show what they see.
    Check(Box<CheckArgs>),
    /// Check a Migration document, or print its schema or an example.
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// Where the Migration document is.
#[derive(Debug, Clone, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct ConfigArgs {
    /// The Migration document.
    #[arg(long = "config.file", value_name = "FILE", env = "PHASEGATE_CONFIG")]
    pub(crate) file: Option<PathBuf>,
    /// The Migration, a custom resource of this name, instead; its status is written.
    #[arg(long = "config.migration", value_name = "NAME", env = "PHASEGATE_MIGRATION", hide_env_values = true)]
    pub(crate) migration: Option<String>,
}

/// Flags of `probe verifier`.
#[derive(Debug, clap::Args)]
pub struct VerifierArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    #[command(flatten)]
    pub(crate) state: StateArgs,
    /// About how much of the audit trail to keep in the cluster, from 1MiB to 256MiB. The oldest events beyond it are removed; phases,
    /// facts, the checklist and what can still be looked back at do not depend on them. A directory keeps all.
    #[arg(long = "state.kubernetes.trail", value_name = "SIZE", default_value = "16MiB", conflicts_with = "dir")]
    pub(crate) trail: Trail,
    /// The namespace to live in [default: that of the pod, or of the kubeconfig]
    #[arg(long = "kubernetes.namespace", value_name = "NAME", env = "PHASEGATE_NAMESPACE", hide_env_values = true)]
    pub(crate) namespace: Option<String>,
    /// Where to listen.
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = "0.0.0.0:9470")]
    pub listen_address: SocketAddr,
    /// Who may change phases: one `NAME ROLE TOKEN` per line, roles read, operate, approve, heartbeat. Without it every change
    /// is answered with 403.
    #[arg(long = "web.token.file", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Also ask Kubernetes whose a bearer token is that is not in the token file (`TokenReview`, for the audience `phasegate` or the API
    /// server's own), and whether they may `operate`, `approve` or `heartbeat` the resource `migrations.phasegate.dev` of the document's
    /// name in the verifier's namespace (`SubjectAccessReview`).
    #[arg(long = "web.kubernetes.auth")]
    pub kubernetes_auth: bool,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

/// Flags of `probe agent`.
#[derive(Debug, clap::Args)]
pub struct AgentArgs {
    /// The node's name, as the verifier shall know it [default: the host's name]
    #[arg(long, value_name = "NAME", env = "PHASEGATE_NODE", hide_env_values = true)]
    pub node: Option<String>,
    /// Time between two lines, from 1ms to 1h.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = cadence)]
    pub every: Duration,
    /// Where the lines go: `journald`, `stdout` or `file:PATH`.
    #[arg(long, value_name = "SINK", default_value = "journald")]
    pub sink: SinkKind,
    /// The journal's socket.
    #[arg(long = "journal.socket", value_name = "PATH", default_value = "/run/systemd/journal/socket")]
    pub journal_socket: PathBuf,
    /// The lines' `SYSLOG_IDENTIFIER` in the journal, by which collectors choose what to ship.
    #[arg(long, value_name = "NAME", default_value = "system-metrics-canary")]
    pub identifier: String,
    /// The lines' `service`, of which pipelines make a label.
    #[arg(long, value_name = "NAME", default_value = SERVICE)]
    pub service: String,
    /// Where to serve the head and the metrics.
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = "0.0.0.0:9471")]
    pub listen_address: SocketAddr,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

/// `probe agent` as a program.
#[derive(Debug, Parser)]
#[command(
    name = "probe-agent",
    version,
    about = "Write numbered canary lines into this node's journal, and tell how far they have come: `probe agent`, smaller",
    after_long_help = "Examples:\n  probe-agent --node node-1\n  probe-agent --every 100ms --sink stdout"
)]
struct AgentProgram {
    #[command(flatten)]
    agent: AgentArgs,
}

/// The whole of `probe-agent`.
pub fn agent_main() -> ExitCode {
    ended(agent::run(AgentProgram::parse().agent))
}

fn cadence(text: &str) -> Result<Duration, String> {
    let every = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let whole = every.subsec_nanos() % 1_000_000 == 0;
    if (Duration::from_millis(1)..=Duration::from_hours(1)).contains(&every) && whole {
        return Ok(every);
    }
    Err("whole milliseconds from 1ms to 1h".into())
}

/// The whole of `probe`, with the kinds of check that documents may name.
pub fn main(registry: Registry) -> ExitCode {
    match Args::parse().command {
        ProbeCommand::Verifier(args) => ended(verifier::run(args, registry)),
        ProbeCommand::Agent(args) => ended(agent::run(args)),
        ProbeCommand::Init(args) => ExitCode::from(init::main(*args, &registry).code),
        ProbeCommand::Check(args) => ExitCode::from(check::main(&args, &registry).code),
        ProbeCommand::Config(command) => ExitCode::from(command.run(&registry)),
    }
}

fn ended(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure.message);
            ExitCode::from(failure.code)
        }
    }
}
