//! `cutover`, the operator's command: an HTTP client of `/v1`. It never decides what the verifier decides; whatever it can not
//! read, trust or write ends in a non-zero exit code.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use chrono::{DateTime, Utc};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

mod advance;
mod audit;
mod client;
mod doctor;
mod gate;
mod history;
mod journal;
mod lock;
mod overrides;
mod own;
mod phases;
mod plan;
mod plugin;
mod probes;
mod render;
mod report;
mod run;
mod status;
mod targets;
#[cfg(test)]
mod tests;
mod trouble;
mod trust;
mod version;
mod when;
mod work;

pub use audit::VerifyDir;
pub use own::LoadDocument;
pub use render::Format;
pub(crate) use render::painted;

use client::Client;
use own::Own;
use plugin::Called;
use render::{Collected, Io, Keyboard};
use run::Stop;
use trouble::Trouble;

use crate::api::types::TermsRequest;
use crate::exit::Exit;

/// How a verb ends.
type Answer = Result<Exit, Trouble>;

const ABOUT: &str =
    "Moves an observability stack from one home to another, phase by phase: a phase is left only through an open gate";

const EXAMPLES: &str = "Examples:
  cutover status                 # where everything stands
  cutover advance                # the next step, if the evidence allows it
  cutover gate explain loki      # why not, since when, and what would open it
  cutover gate wait loki --timeout 2h";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "cutover", version, about = ABOUT, after_help = EXAMPLES, after_long_help = long_help())]
#[command(propagate_version = false, disable_help_subcommand = true, max_term_width = 120)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// What every verb takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// Address of the verifier
    #[arg(long, global = true, env = "PHASEGATE_SERVER", hide_env_values = true, value_name = "URL")]
    #[arg(default_value = "http://127.0.0.1:9470")]
    server: String,
    /// File that holds the token for commands; without it, the variable `PHASEGATE_TOKEN` holds the token itself
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Your own copy of the Migration document: what steps do comes from here and from nowhere else
    #[arg(long, global = true, env = "PHASEGATE_FILE", hide_env_values = true, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How long one answer may take, like 500ms or 10s
    #[arg(long, global = true, value_parser = positive, default_value = "10s", value_name = "SPAN")]
    request_timeout: Duration,
    /// How stdout is written; the exit code is the same in each
    #[arg(long, short, global = true, value_enum, default_value = "table", hide_possible_values = true)]
    #[arg(value_name = "table|wide|json|yaml|name|github|junit")]
    output: Format,
    /// Answer every confirmation with yes
    #[arg(long, global = true)]
    yes: bool,
    /// Never ask; what wants a confirmation is refused (exit 2) unless --yes is given
    #[arg(long, global = true)]
    no_input: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show where everything stands, on one screen
    #[command(
        after_help = "Examples:\n  cutover status\n  cutover status -o wide      # with all probes\n  cutover status --watch"
    )]
    Status(status::StatusArgs),
    /// Print the verification checklist with its evidence, as Markdown
    #[command(after_help = "Examples:
  cutover report > checklist.md
  cutover report -o wide             # evidence in full length
  cutover report --html > checklist.html
  cutover report -o json | jq .head  # the event of the audit trail that it reaches up to")]
    Report(report::ReportArgs),
    /// Show what people and runs did, the newest last: commands, steps, overrides, refusals, verdicts
    #[command(after_help = "Examples:
  cutover history
  cutover history --phase loki --since 2h
  cutover history --all --limit 200  # also each change of a probe's colour")]
    History(history::HistoryArgs),
    /// Ask for the verdict of a phase's gate: check, wait, explain
    #[command(subcommand)]
    Gate(gate::GateVerb),
    /// Show what a phase would do: its steps, how each is undone, how long they take, what leads back
    #[command(after_help = "Examples:
  cutover plan loki --file migration.yaml
  cutover plan loki --out loki.plan          # to be read and approved by somebody else")]
    Plan(plan::PlanArgs),
    /// Approve a plan that somebody else will run
    #[command(after_help = "Examples:\n  cutover approve postgres --plan postgres.plan")]
    Approve(plan::ApproveArgs),
    /// Take the next step: begin the first waiting phase and run its steps, or complete the active one and begin the next
    #[command(after_help = "Refuses with the verdict's exit code while the active phase's gate is not open, and says why.

Examples:
  cutover advance --file migration.yaml
  cutover gate wait loki --timeout 2h && cutover advance --file migration.yaml --yes")]
    Advance(advance::AdvanceArgs),
    /// Make a waiting phase active, and run its steps
    #[command(after_help = "Examples:
  cutover begin loki                                  # a phase without steps
  cutover begin loki --file migration.yaml --dry-run
  cutover begin postgres --file migration.yaml --plan postgres.plan --confirm postgres
  cutover begin loki --file migration.yaml --rehearse scratch.yaml --scratch-server http://127.0.0.1:9472")]
    Begin(run::BeginArgs),
    /// Go on with the steps of the active phase, after an interruption or a failure
    #[command(after_help = "Examples:
  cutover resume --file migration.yaml
  cutover resume --file migration.yaml --did tell-the-users
  cutover resume --file migration.yaml --in-flight again")]
    Resume(run::ResumeArgs),
    /// Undo the steps of the active phase that were done, and return it to waiting
    #[command(after_help = "Works without a verifier, by the journal of this machine, and tells it later.

Examples:
  cutover abort --file migration.yaml --reason \"the window is over\"")]
    Abort(run::AbortArgs),
    /// Say that re-pointing to the new side begins
    #[command(after_help = "Examples:\n  cutover switch loki")]
    Switch(phases::PhaseArgs),
    /// Complete the active phase, if its gate is open
    #[command(after_help = "Examples:\n  cutover complete loki")]
    Complete(phases::PhaseArgs),
    /// Mark a phase that was finished before as complete, without proof
    #[command(after_help = "Examples:\n  cutover adopt alloy --reason \"moved in May, before phasegate\"")]
    Adopt(phases::ReasonArgs),
    /// Undo the steps of a phase and return it to waiting; its soak and proofs are void
    #[command(after_help = "Examples:
  cutover rollback loki --reason \"history has a hole\"
  cutover rollback loki --file migration.yaml --reason \"history has a hole\"   # a phase with steps
  cutover rollback postgres --file migration.yaml --reason \"gives up what the new side took\" --confirm postgres")]
    Rollback(run::RollbackArgs),
    /// Say that an old side is removed for good: its probes retire, and a tripwire watches that it stays gone
    #[command(after_help = "Examples:
  cutover decommission docker-loki --reason \"moved in May, volume deleted\" --confirm docker-loki
  cutover decommission docker-loki --reason \"not yet\" --undo      # as long as it was not seen gone")]
    Decommission(targets::DecommissionArgs),
    /// Show or end the lock that steps run under
    #[command(subcommand)]
    Lock(lock::LockVerb),
    /// Acknowledge regressions
    #[command(subcommand)]
    Regression(phases::RegressionVerb),
    /// Look at probes: list, run, history, forget
    #[command(subcommand)]
    Probes(probes::ProbesVerb),
    /// Make, show and end time-boxed exceptions for single probes
    #[command(subcommand)]
    Override(overrides::OverrideVerb),
    /// Show and verify the audit trail
    #[command(subcommand)]
    Audit(audit::AuditVerb),
    /// Look at everything a run needs before one begins: document, programs, secrets, verifier, token, clocks, lock, probes
    #[command(
        after_help = "Changes nothing. Exits with 0 while nothing is a problem, else with the code of the first problem: 2 this \
machine or the document, 3 something is unknown, 4 the token, 5 the lock or another document, 11 the verifier, 1 a regression. \
Warnings stop nothing.

Examples:
  cutover doctor --file migration.yaml
  cutover doctor --file migration.yaml && cutover advance --file migration.yaml"
    )]
    Doctor,
    /// Print a completion script for a shell
    #[command(after_help = "Examples:\n  cutover completion bash > /etc/bash_completion.d/cutover")]
    Completion {
        /// The shell
        shell: Shell,
    },
    /// Print the version, and the verifier's if it answers
    #[command(after_help = "Examples:\n  cutover version\n  cutover version -o json")]
    Version,
}

fn long_help() -> String {
    let line = |exit: &Exit| format!("  {:>3}  {:<11}  {}", exit.code, exit.name, exit.meaning);
    let codes: Vec<_> = Exit::ALL.iter().map(line).collect();
    format!("{EXAMPLES}\n\nExit codes, the same in every output format:\n{}", codes.join("\n"))
}

/// A name of the document: one path segment.
fn name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || !text.chars().all(fits) || text.chars().all(|c| c == '.') {
        return Err("names consist of letters, digits, `-`, `_` and `.`".to_owned());
    }
    Ok(text.to_owned())
}

/// Words that must not be missing.
fn told(text: &str) -> Result<String, String> {
    let text = text.trim();
    if matches!(text, "" | "." | "..") { Err("say something".to_owned()) } else { Ok(text.to_owned()) }
}

/// A span longer than nothing.
fn positive(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(span) if span.is_zero() => Err("must be longer than 0".to_owned()),
        Ok(span) => Ok(span),
        Err(error) => Err(format!("{error}; for example 30s, 10m, 2h")),
    }
}

/// What a verb works with.
struct Context<'a, 'w> {
    client: &'a Client,
    io: &'a mut Io<'w>,
    request_timeout: Duration,
    yes: bool,
    file: Option<PathBuf>,
    /// Never shown, in no output of any step.
    token: Option<String>,
    token_file: Option<PathBuf>,
    verify_dir: VerifyDir,
    load: LoadDocument,
    now: Wall,
    stop: Stop,
}

/// Reads the wall clock.
pub type Wall = fn() -> DateTime<Utc>;

impl Context<'_, '_> {
    /// Has a person type a word before something that no gate guards.
    async fn confirm(&mut self, deed: &str, effect: &str, word: &str) -> Result<(), Trouble> {
        if self.yes {
            return Ok(());
        }
        self.type_name(deed, effect, word).await
    }

    /// The same, for what `--yes` alone is not enough for.
    async fn type_name(&mut self, deed: &str, effect: &str, word: &str) -> Result<(), Trouble> {
        let question = format!("{deed}: {effect}.\nType `{word}` to go on:");
        match self.io.ask(&question).await {
            Some(answer) if answer == word => Ok(()),
            Some(_) => Err(Trouble::new(Exit::USAGE, "not confirmed: nothing was done")),
            None => {
                Err(Trouble::new(Exit::USAGE, format!("`{deed}` wants a confirmation, and there is nobody to ask: {effect}"))
                    .hint("add --yes"))
            }
        }
    }
}

/// What the process finds around it.
#[derive(Debug, Clone)]
struct Around {
    /// `$PHASEGATE_TOKEN`.
    token: Option<String>,
    aids: Aids,
}

/// What the command needs of the rest of the product, given to it so that it can not reach for more.
#[derive(Debug, Clone, Copy)]
pub struct Aids {
    /// Verifies a state directory offline.
    pub verify_dir: VerifyDir,
    /// Loads the operator's own document.
    pub load: LoadDocument,
    /// Reads the wall clock.
    pub now: Wall,
}

/// Runs the command line of this process.
pub fn main(aids: Aids) -> Exit {
    let called = Called::by(std::env::args_os().next().as_deref());
    if called == Called::Completer {
        return completed(&std::env::args().skip(1).collect::<Vec<_>>());
    }
    let matches = called.name(Cli::command()).try_get_matches();
    let cli = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            // Help that nobody reads is no failure.
            drop(error.print());
            return if error.use_stderr() { Exit::USAGE } else { Exit::OPEN };
        }
    };
    let around = Around { token: std::env::var("PHASEGATE_TOKEN").ok().filter(|token| !token.is_empty()), aids };
    let mut io = terminal(&cli.global, called);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            io.say(format!("error: can not start: {error}"));
            return Exit::UNKNOWN;
        }
    };
    let exit = runtime.block_on(async {
        let stop = Stop::listen();
        if cli.verb.runs_steps() {
            return Some(run(cli, &around, stop, &mut io).await);
        }
        let mut asked = stop.clone();
        tokio::select! {
            exit = run(cli, &around, stop, &mut io) => Some(exit),
            () = asked.once() => None,
        }
    });
    // A question that nobody answered must not hold the process.
    runtime.shutdown_background();
    exit.unwrap_or_else(|| {
        io.say("\ninterrupted");
        Exit::INTERRUPTED
    })
}

impl Verb {
    /// Whether an interruption ends it after the step in flight, and not at once.
    const fn runs_steps(&self) -> bool {
        matches!(self, Self::Advance(_) | Self::Begin(_) | Self::Resume(_) | Self::Abort(_) | Self::Rollback(_))
    }
}

/// Completes what is being typed behind `kubectl cutover`. Words that nobody reads are no failure.
fn completed(words: &[String]) -> Exit {
    drop(io::stdout().write_all(plugin::complete(Cli::command(), words).as_bytes()));
    Exit::OPEN
}

fn terminal(global: &Global, called: Called) -> Io<'static> {
    let out = AutoStream::auto(io::stdout());
    let err = AutoStream::auto(io::stderr());
    let asked = !global.no_input && io::stdin().is_terminal() && io::stderr().is_terminal();
    let collected = |variable| std::env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from);
    Io {
        screen: io::stdout().is_terminal() && out.current_choice() != ColorChoice::Never,
        out: Box::new(out),
        err: Box::new(err),
        format: global.output,
        called,
        keyboard: if asked { Keyboard::Terminal } else { Keyboard::None },
        collected: Collected { output: collected("GITHUB_OUTPUT"), summary: collected("GITHUB_STEP_SUMMARY") },
        broken: None,
    }
}

/// Runs one command line and says its exit code.
async fn run(cli: Cli, around: &Around, stop: Stop, io: &mut Io<'_>) -> Exit {
    let exit = match Box::pin(dispatch(cli, around, stop, io)).await {
        Ok(exit) => exit,
        Err(trouble) => {
            io.trouble(&trouble);
            trouble.exit
        }
    };
    io.settle(exit)
}

async fn dispatch(cli: Cli, around: &Around, stop: Stop, io: &mut Io<'_>) -> Answer {
    let Cli { global, verb } = cli;
    if let Verb::Completion { shell } = verb {
        io.data(&version::completion(shell));
        return Ok(Exit::OPEN);
    }
    let found = token(&global, around);
    let (token, denied) = if matches!(verb, Verb::Doctor) { doctor::usable(found) } else { (found?, None) };
    let client = Client::new(&global.server, token.as_deref(), global.request_timeout)?;
    let cx = &mut Context {
        client: &client,
        io,
        request_timeout: global.request_timeout,
        yes: global.yes,
        file: global.file,
        token,
        token_file: global.token_file,
        verify_dir: around.aids.verify_dir,
        load: around.aids.load,
        now: around.aids.now,
        stop,
    };
    match verb {
        Verb::Status(args) => status::run(cx, &args).await,
        Verb::Report(args) => report::run(cx, &args).await,
        Verb::History(args) => history::run(cx, args).await,
        Verb::Gate(verb) => gate::run(cx, verb).await,
        Verb::Plan(args) => plan::run(cx, args).await,
        Verb::Approve(args) => plan::approve(cx, args).await,
        Verb::Advance(args) => advance::run(cx, args).await,
        Verb::Begin(args) => run::begin(cx, args).await,
        Verb::Resume(args) => run::resume(cx, args).await,
        Verb::Abort(args) => run::abort(cx, args).await,
        Verb::Rollback(args) => run::rollback(cx, args).await,
        Verb::Switch(args) => phases::guarded(cx, "switch", &args.phase, &TermsRequest::default()).await,
        Verb::Complete(args) => phases::guarded(cx, "complete", &args.phase, &TermsRequest::default()).await,
        Verb::Adopt(args) => phases::adopt(cx, args).await,
        Verb::Decommission(args) => targets::decommission(cx, args).await,
        Verb::Lock(verb) => lock::run(cx, verb).await,
        Verb::Regression(verb) => phases::regression(cx, verb).await,
        Verb::Probes(verb) => probes::run(cx, verb).await,
        Verb::Override(verb) => overrides::run(cx, verb).await,
        Verb::Audit(verb) => audit::run(cx, verb).await,
        Verb::Doctor => doctor::run(cx, denied).await,
        Verb::Version => version::version(cx).await,
        Verb::Completion { .. } => Ok(Exit::OPEN),
    }
}

/// The token for commands: from the file that was named, or else from the environment.
fn token(global: &Global, around: &Around) -> Result<Option<String>, Trouble> {
    let Some(path) = &global.token_file else { return Ok(around.token.as_deref().map(|token| token.trim().to_owned())) };
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) => Err(Trouble::new(Exit::USAGE, format!("--token-file {}: {error}", path.display()))
            .hint("name a readable file that holds nothing but the token")),
    }
}
