//! Logs of the verifier: to stderr, as text or JSON lines.

use std::io::Write;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// How to log.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// What to log: error, warn, info, debug, trace, or a filter such as `info,probe::scheduler=debug`.
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info")]
    pub(crate) level: String,
    /// How to write a line.
    #[arg(long = "log.format", value_name = "FORMAT", default_value = "text")]
    pub(crate) format: LogFormat,
}

/// The shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Starts logging. A panic becomes one log line: checks may panic, and a stack trace helps nobody who reads the log.
pub(crate) fn start(args: &LogArgs) -> Result<(), String> {
    let filter = EnvFilter::builder().parse(&args.level).map_err(|error| format!("--log.level {}: {error}", args.level))?;
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi).with_target(false);
    // An error here only says that logging was started before.
    let started = match args.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    drop(started);
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a panic was caught: {}", panic.payload_as_str().unwrap_or("no message"));
    }));
    Ok(())
}

/// What is wrong, on stderr, where no log is running. A document's errors bring their own heading.
pub(crate) fn complain(message: &str) {
    let heading = if message.starts_with("error: ") { "" } else { "error: " };
    // Nothing is left to tell if stderr is gone.
    drop(writeln!(anstream::stderr(), "{heading}{message}"));
}
