//! `probe agent`: numbered canary lines into a node's journal.
//!
//! The agent keeps nothing: each start is a boot of its own, numbered from 1. How far it has come is told over HTTP, beside the
//! pipeline that is measured. Nothing that a sink does holds it up: the journal is never waited for, and other sinks are written
//! to aside.

mod emitter;
mod journal;
mod sink;
mod web;

use std::os::unix::fs::FileTypeExt;
use std::sync::Arc;
use std::time::Duration;

use checks::log_path::line::{Boot, CanaryLine};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api;
use crate::cli::AgentArgs;
use crate::clock::Clock;
use crate::shutdown;
use crate::telemetry;
use crate::verifier::{Failure, bind};

use emitter::{Account, Emitter};
use journal::Journal;
use sink::{Pen, Sink};

pub use sink::SinkKind;

/// How long open requests may take once it stops.
const GRACE: Duration = Duration::from_millis(1500);

/// Runs until a signal or a failure. Everything that can be wrong is found before a line is written.
pub fn run(args: AgentArgs) -> Result<(), Failure> {
    telemetry::start(&args.log).map_err(Failure::given)?;
    let account = account(&args)?;
    let sink = open(&args)?;
    let account = Arc::new(account.watching(sink.queue()));
    // One thread: nothing that runs on it waits for a sink.
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::met(format!("the agent can not start: {error}")))?;
    let listener = runtime.block_on(bind(args.listen_address))?;
    tracing::info!(node = account.node(), boot = %account.head().boot, every = ?args.every, "agent started on {}", args.listen_address);
    let result = runtime.block_on(serve(listener, account, sink));
    // A write that is stuck is left behind.
    runtime.shutdown_background();
    result
}

fn account(args: &AgentArgs) -> Result<Account, Failure> {
    let node = match &args.node {
        Some(node) => node.clone(),
        None => rustix::system::uname().nodename().to_string_lossy().into_owned(),
    };
    for (flag, value) in [("--node", &node), ("--service", &args.service), ("--identifier", &args.identifier)] {
        if value.trim().is_empty() || value.chars().any(char::is_control) {
            return Err(Failure::given(format!("{flag} {value:?} is no name: give one line that is not empty")));
        }
    }
    let account = Account::new(node, args.service.clone(), boot()?, args.every, Clock::machine(None).0);
    // The longest line must be one that the verifier reads back.
    let longest = CanaryLine { end: true, ..account.line(u64::MAX) };
    if CanaryLine::parse(&longest.text()).as_ref() != Some(&longest) {
        return Err(Failure::given("--node and --service are too long for a canary line"));
    }
    Ok(account)
}

/// A number that no other start has.
fn boot() -> Result<Boot, Failure> {
    let mut bytes = [0; 8];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(8) => Ok(Boot(u64::from_le_bytes(bytes))),
        Ok(_) => Err(Failure::met("no random number: the system gave too few bytes")),
        Err(error) => Err(Failure::met(format!("no random number: {error}"))),
    }
}

fn open(args: &AgentArgs) -> Result<Sink, Failure> {
    match &args.sink {
        SinkKind::Journald => {
            let path = &args.journal_socket;
            let shown = path.display();
            match path.metadata() {
                Ok(meta) if !meta.file_type().is_socket() => {
                    return Err(Failure::given(format!("--journal.socket {shown} is no socket")));
                }
                Ok(_) => {}
                // It may come later: journald is started like everything else.
                Err(error) => tracing::warn!("--journal.socket {shown}: {error}; lines are refused until it is there"),
            }
            Journal::new(path.clone(), args.identifier.clone(), args.every)
                .map(Sink::Journal)
                .map_err(|error| Failure::given(format!("--journal.socket {shown}: {error}")))
        }
        SinkKind::Stdout => {
            Pen::stdout().map(Sink::Pen).map_err(|error| Failure::met(format!("standard output can not be used: {error}")))
        }
        SinkKind::File(path) => Pen::file(path.clone())
            .map(Sink::Pen)
            .map_err(|error| Failure::given(format!("--sink file:{}: {error}", path.display()))),
    }
}

async fn serve(listener: TcpListener, account: Arc<Account>, sink: Sink) -> Result<(), Failure> {
    let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
    let api = tracker.spawn(api::serve(listener, web::app(account.clone()), stop.clone()));
    let emitter = tracker.spawn(Emitter::new(account, sink).run(stop.clone()));
    tracker.close();
    let ended = tokio::select! {
        biased;
        signal = shutdown::signal() => signal.map_err(|error| format!("signals can not be received: {error}")),
        end = emitter => match end {
            Ok(Err(why)) => Err(why),
            other => Err(format!("the emitter ended: {other:?}")),
        },
        end = api => Err(format!("the server ended: {end:?}")),
    };
    stop.cancel();
    let calm = tokio::time::timeout(GRACE, tracker.wait());
    tokio::select! {
        biased;
        over = calm => if over.is_err() { tracing::warn!("not everything stopped within {GRACE:?}; leaving it") },
        _ = shutdown::signal() => tracing::warn!("second signal: leaving at once"),
    }
    ended.map_err(|why| Failure::met(format!("{why}; the agent stops")))
}
