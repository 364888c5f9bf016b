//! `probe check`: probes are run once by hand, in this process, with the document's own targets and secrets. It needs no verifier
//! and changes nothing there: what it sees is shown and forgotten.

mod look;
mod show;
#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use checks::{Clients, Registry};
use clap::ValueEnum;
use serde_json::json;
use tokio::runtime::Handle;

use crate::api::reasons::ReasonBook;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::cutover::painted;
use crate::exit::Exit;
use crate::plan::ProbePlan;

use look::{Looking, Order};
use show::{CheckBody, Seen};

/// Flags of `probe check`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES, after_long_help = long_help())]
pub struct CheckArgs {
    /// The Migration document
    #[arg(long = "config.file", value_name = "FILE", env = "PHASEGATE_CONFIG")]
    pub config_file: PathBuf,
    /// The probes to run; all of the document unless some are named
    #[arg(value_name = "PROBE", conflicts_with = "phase")]
    pub probes: Vec<String>,
    /// Run the probes of this phase
    #[arg(long, value_name = "PHASE")]
    pub phase: Option<String>,
    /// Run each probe's negative control as well, which has to fail
    #[arg(long)]
    pub control: bool,
    /// How often each probe looks; checks that compare two looks, such as counters, need two
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub times: u32,
    /// Pause between two looks, instead of each probe's own `every`
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub pause: Option<Duration>,
    /// How long one look may take, instead of each probe's own `timeout`
    #[arg(long, value_name = "SPAN", value_parser = positive)]
    pub timeout: Option<Duration>,
    /// How stdout is written; the exit code is the same in each
    #[arg(long, short, value_enum, default_value = "table")]
    pub output: Format,
}

/// How stdout is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// One JSON object
    Json,
}

const EXAMPLES: &str = "Examples:
  probe check --config.file migration.yaml
  probe check --config.file migration.yaml new-postgres --control
  probe check --config.file migration.yaml --phase loki --times 2 --pause 5s -o json";

/// Its exit codes, of those that `cutover` has.
const EXITS: &[(Exit, &str)] = &[
    (Exit::OPEN, "every probe passed"),
    (Exit::CLOSED, "a probe failed"),
    (Exit::USAGE, "wrong usage or document"),
    (Exit::UNKNOWN, "a probe could not look, or its negative control did not fail as it should"),
    (Exit::PENDING, "nothing is wrong, but a probe waits or a proof is not finished"),
    (Exit::NOT_FOUND, "no such probe or phase"),
    (Exit::INTERRUPTED, "interrupted"),
];

fn long_help() -> String {
    let line = |(exit, meaning): &(Exit, &str)| format!("  {:>3}  {meaning}", exit.code);
    let codes: Vec<_> = EXITS.iter().map(line).collect();
    format!(
        "{EXAMPLES}\n\n{}\nSecrets are read from this process's environment and this machine's files. A `heartbeat` can not \
         be looked at by hand; a `postgresCanary` writes to a row of its own.\n\nExit codes, the worst of all probes:\n{}",
        show::NOTE,
        codes.join("\n")
    )
}

fn span(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; for example 500ms, 5s, 1m"))
}

fn positive(text: &str) -> Result<Duration, String> {
    match span(text)? {
        Duration::ZERO => Err("must be longer than 0".to_owned()),
        span => Ok(span),
    }
}

/// Where it writes.
struct Io<'w> {
    out: &'w mut dyn Write,
    err: &'w mut dyn Write,
    /// Whether stderr is a terminal, where a line can be taken back.
    live: bool,
}

/// Why there is nothing to show.
#[derive(Debug)]
struct Trouble {
    exit: Exit,
    message: String,
    hint: Option<String>,
}

/// Runs the command line of this process.
pub fn main(args: &CheckArgs, registry: &Registry) -> Exit {
    // A check that panics is an Unknown, in words; where it panicked helps nobody who reads them.
    std::panic::set_hook(Box::new(|_| {}));
    let (out, err) = (&mut anstream::stdout(), &mut anstream::stderr());
    let io = &mut Io { out, err, live: io::stderr().is_terminal() };
    let started = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtimes = started.and_then(|own| Ok((own, look::runtime()?)));
    let (own, looking) = match runtimes {
        Ok(runtimes) => runtimes,
        Err(error) => {
            drop(writeln!(io.err, "error: can not start: {error}"));
            return Exit::UNKNOWN;
        }
    };
    let exit = own.block_on(async {
        tokio::select! {
            exit = run(args, registry, looking.handle(), io) => Some(exit),
            () = interrupted() => None,
        }
    });
    // A check that never gives its thread back must not hold the process.
    looking.shutdown_background();
    exit.unwrap_or_else(|| {
        drop(writeln!(anstream::stderr(), "\ninterrupted"));
        Exit::INTERRUPTED
    })
}

async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn run(args: &CheckArgs, registry: &Registry, threads: &Handle, io: &mut Io<'_>) -> Exit {
    let config = config::load(&args.config_file, registry);
    let config = config.map_err(|errors| Trouble { exit: Exit::USAGE, message: errors.to_string(), hint: None });
    told(args, registry, config, threads, io).await
}

/// Looks, and tells what was seen or why nothing was.
async fn told(args: &CheckArgs, registry: &Registry, config: Result<Config, Trouble>, threads: &Handle, io: &mut Io<'_>) -> Exit {
    let answer = match config {
        Ok(config) => looked(args, registry, &config, threads, io).await,
        Err(trouble) => Err(trouble),
    };
    let (exit, lines, body) = match answer {
        Ok(body) => {
            say(io, &painted(&show::summary(&body)));
            (body.exit(), show::lines(&body), json!(body))
        }
        Err(Trouble { exit, message, hint }) => {
            let heading = if message.starts_with("error: ") { "" } else { "error: " };
            let hints = hint.iter().map(|hint| format!("hint: {hint}"));
            say(io, &painted(&[format!("{heading}{message}")].into_iter().chain(hints).collect::<Vec<_>>()));
            let error = json!({"code": exit.name, "exit": exit.code, "message": message, "hint": hint});
            (exit, Vec::new(), json!({ "error": error }))
        }
    };
    let text = match args.output {
        Format::Table => painted(&lines),
        Format::Json => format!("{body:#}\n"),
    };
    settle(io, &text, exit)
}

/// Writes to stderr. Talk that nobody reads changes nothing.
fn say(io: &mut Io<'_>, text: &str) {
    drop(io.err.write_all(text.as_bytes()).and_then(|()| io.err.flush()));
}

/// Writes to stdout. An answer that nobody could be given in full is no pass; a reader that went away has what it wants.
fn settle(io: &mut Io<'_>, text: &str, exit: Exit) -> Exit {
    match io.out.write_all(text.as_bytes()).and_then(|()| io.out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            drop(writeln!(io.err, "error: the answer could not be written: {error}"));
            if exit == Exit::OPEN { Exit::UNKNOWN } else { exit }
        }
        Ok(()) | Err(_) => exit,
    }
}

/// Looks at what was asked for.
async fn looked(
    args: &CheckArgs,
    registry: &Registry,
    config: &Config,
    threads: &Handle,
    io: &mut Io<'_>,
) -> Result<CheckBody, Trouble> {
    let orders = orders(args, config)?;
    let clients = Clients::new();
    let clients = clients.map_err(|error| Trouble { exit: Exit::UNKNOWN, message: error.to_string(), hint: None })?;
    let looking = Arc::new(Looking {
        targets: config.targets.clone(),
        clients,
        clock: Clock::machine(None).0,
        control: args.control,
        times: args.times,
        pause: args.pause,
    });
    let sights = look::all(&looking, orders, threads, io).await;
    let book = ReasonBook::new(registry);
    let probes = sights.into_iter().map(|(order, sight)| Seen::of(&order, sight, &book)).collect();
    Ok(CheckBody::new(config, probes))
}

/// The probes that were asked for, in the document's order.
fn orders(args: &CheckArgs, config: &Config) -> Result<Vec<Order>, Trouble> {
    let plan = &config.plan;
    let missing = |what: &str, name: &str, known: Vec<&str>| Trouble {
        exit: Exit::NOT_FOUND,
        message: format!("no {what} `{name}` in {}", config.source.file),
        hint: Some(config::instead(name, &known, &format!("{what}s"))),
    };
    if let Some(phase) = args.phase.as_deref().filter(|phase| plan.position(phase).is_none()) {
        return Err(missing("phase", phase, plan.phases.iter().map(|phase| &*phase.name).collect()));
    }
    if let Some(probe) = args.probes.iter().find(|probe| plan.probe(probe).is_none()) {
        return Err(missing("probe", probe, plan.probes().map(|(_, probe)| &*probe.name).collect()));
    }
    let wanted = |phase: &str, probe: &ProbePlan| {
        args.phase.as_deref().is_none_or(|only| only == phase)
            && (args.probes.is_empty() || args.probes.iter().any(|name| **name == *probe.name))
    };
    let all = plan.phases.iter().flat_map(|phase| phase.probes.iter().map(move |probe| (&phase.name, probe)));
    let orders = all.filter(|(phase, probe)| wanted(phase, probe)).filter_map(|(phase, probe)| {
        let check = config.probes.get(&probe.name)?.clone();
        let plan = ProbePlan { timeout: args.timeout.unwrap_or(probe.timeout), ..probe.clone() };
        Some(Order { phase: phase.clone(), plan, check })
    });
    Ok(orders.collect())
}
