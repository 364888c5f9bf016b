//! `cutover`, the operator's command: an HTTP client of `/v1`. It never decides what the verifier decides; whatever it can not
//! read, trust or write ends in a non-zero exit code.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use chrono::{DateTime, Utc};
use clap::{CommandFactory, FromArgMatches};

mod advance;
mod audit;
mod cli;
mod client;
mod cluster;
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
mod postgres;
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

use cli::{Cli, Global, Verb, name, positive, told};
use client::Client;
use cluster::{Cluster, Machine};
use own::Own;
use plugin::Called;
use render::{Collected, Io, Keyboard};
use run::Stop;
use trouble::Trouble;

use crate::api::types::TermsRequest;
use crate::exit::Exit;

/// How a verb ends.
type Answer = Result<Exit, Trouble>;

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
    machine: Machine,
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
    let around =
        Around { token: std::env::var("PHASEGATE_TOKEN").ok().filter(|token| !token.is_empty()), machine: Machine::look(), aids };
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
        if cli.verb.sees_to_its_end() {
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
    let client = verifier(&global, around, token.as_deref()).await?;
    let examines = matches!(verb, Verb::Doctor);
    let cx = &mut Context {
        client: &client,
        io: &mut *io,
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
    let answer = match verb {
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
        Verb::Postgres(verb) => postgres::run(cx, verb).await,
        Verb::Doctor => doctor::run(cx, denied).await,
        Verb::Version => version::version(cx).await,
        Verb::Completion { .. } => Ok(Exit::OPEN),
    };
    // Nobody has said whose token to take, so it is said whose was taken; the doctor says it by itself.
    if let Some(whose) = client.cluster().and_then(Cluster::whose).filter(|_| !examines) {
        io.say(format!("asked as {whose}"));
    }
    answer
}

/// Where the verifier is: at the address that was given, or else in the cluster that this machine leads to, or else here. What was not
/// found is not looked for elsewhere: another verifier could say that another gate is open.
async fn verifier(global: &Global, around: &Around, token: Option<&str>) -> Result<Client, Trouble> {
    let timeout = global.request_timeout;
    match (global.server.as_deref(), &global.cluster.context) {
        (Some(_), Some(_)) => {
            Err(Trouble::new(Exit::USAGE, "an address and a context were given, and they may lead to two verifiers")
                .hint("give --server (PHASEGATE_SERVER) or --context (PHASEGATE_CONTEXT)"))
        }
        (Some(server), None) => Client::new(server, token, timeout),
        (None, _) => match cluster::find(&global.cluster, &around.machine, token, timeout).await {
            Ok(Some(cluster)) => Ok(Client::through(cluster, timeout)),
            Ok(None) => Client::here(token, timeout),
            Err(trouble) => Ok(Client::nowhere(trouble, timeout)),
        },
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
