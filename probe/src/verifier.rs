//! `probe verifier`: from flags to a running daemon, and back.
//!
//! Three threads of work that can not starve each other: the ledger's writer on a thread of its own, the API on one runtime,
//! the checks on another. A check that blocks its thread makes other probes stale, which shuts gates; it never delays an
//! answer or an evaluation.

mod document;
mod home;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use checks::{Clients, Registry};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::document::Origin;
pub use self::home::StateArgs;
use self::home::{LeaseKeeper, Opened};
use crate::annotations::{self, Annotator};
use crate::api::reasons::ReasonBook;
use crate::api::{self, AppState, Beats};
use crate::auth::{Auth, Reviews};
use crate::cli::VerifierArgs;
use crate::clock::Continuity;
use crate::kubernetes::migration::{self, Keeper};
use crate::ledger::{CommandError, Ledger, Writer, WriterParts};
use crate::metrics::Metrics;
use crate::reload::{self, Reload};
use crate::scheduler::{self, Shared, Wakers};
use crate::shutdown;
use crate::source::Read;
use crate::telemetry;

/// How long the parts may take to stop. Together with the writer's last checkpoint it stays below two seconds.
const GRACE: Duration = Duration::from_millis(1500);

/// Why the verifier or the agent did not start, or had to stop.
#[derive(Debug)]
pub struct Failure {
    /// Exit code: 2 for what the operator gave, 1 for the rest.
    pub code: u8,
    /// One clear line, or all errors of the document.
    pub message: String,
}

impl Failure {
    /// What the operator gave is wrong.
    pub(crate) fn given(message: impl Into<String>) -> Self {
        Self { code: 2, message: message.into() }
    }

    /// Something went wrong on the way.
    pub(crate) fn met(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into() }
    }
}

/// Runs until a signal or a failure. Everything that can be wrong is found before a port is bound.
pub fn run(args: VerifierArgs, registry: Registry) -> Result<(), Failure> {
    telemetry::start(&args.log).map_err(Failure::given)?;
    let holder = home::holder();
    let control = runtime("api", 2)?;
    let origin = document::find(&args.config, (args.namespace.as_deref(), &holder), &control)?;
    let document = origin.source.load(&registry).map_err(|errors| Failure::given(errors.to_string()))?;
    let auth = args.token_file.as_deref().map_or_else(|| Ok(Auth::disabled()), Auth::load);
    let auth = auth.map_err(|error| Failure::given(chain(&error)))?;
    let auth = if args.kubernetes_auth {
        let (client, namespace) = control.block_on(home::connect(args.namespace.as_deref()))?;
        auth.with_cluster(Reviews::new(client, namespace, document.config.plan.migration.clone()))
    } else {
        auth
    };
    let clients = Clients::new().map_err(|error| Failure::met(chain(&error)))?;
    let metrics = Metrics::new().with_checks(&registry);
    let Some(opened) = home::open(&args.state, args.trail, (args.namespace.as_deref(), &holder))? else { return Ok(()) };
    let Opened { state, store, clock, continuity, last, mut lease } = opened;

    let looking = runtime("check", 2)?;
    let stop = CancellationToken::new();
    let listener = control.block_on(bind(args.listen_address))?;

    let tenure = lease.as_ref().map(LeaseKeeper::tenure);
    let (mut writer, ledger) = Writer::new(WriterParts { state, store, clock, metrics: metrics.clone(), tenure });
    if matches!(continuity, Continuity::Lost | Continuity::WallClock) {
        writer.boots();
    }
    writer.starts(last, env!("CARGO_PKG_VERSION"));
    let writer_stop = CancellationToken::new();
    let writer = std::thread::Builder::new()
        .name("ledger".into())
        .spawn({
            let stop = writer_stop.clone();
            move || write(writer, stop)
        })
        .map_err(|error| Failure::met(format!("the ledger's thread can not start: {error}")))?;

    let daemon = Daemon { args: &args, registry, auth, clients, ledger, metrics, stop: stop.clone() };
    let result = control.block_on(daemon.run((document, origin), listener, &looking, lease.as_mut()));
    looking.shutdown_background();
    control.shutdown_background();
    writer_stop.cancel();
    let written = writer.join();
    if let Some(lease) = lease {
        lease.release();
    }
    match (result, written) {
        (Err(failure), _) => Err(failure),
        (Ok(()), Ok(Ok(()))) => Ok(()),
        (Ok(()), Ok(Err(error))) => Err(Failure::met(error)),
        (Ok(()), Err(_panic)) => Err(Failure::met("the ledger's thread panicked; see the log")),
    }
}

fn write(writer: Writer, stop: CancellationToken) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(|error| error.to_string())?;
    runtime.block_on(writer.run(stop));
    Ok(())
}

pub(crate) fn runtime(name: &'static str, threads: usize) -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .thread_name(name)
        .worker_threads(threads)
        .enable_all()
        .build()
        .map_err(|error| Failure::met(format!("the {name} threads can not start: {error}")))
}

/// A listener on this address, or one clear line.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        Failure::met(format!(
            "can not listen on {address}: {error}; choose another with --web.listen-address, or stop what uses it"
        ))
    })
}

struct Daemon<'a> {
    args: &'a VerifierArgs,
    registry: Registry,
    auth: Auth,
    clients: Clients,
    ledger: Ledger,
    metrics: Metrics,
    stop: CancellationToken,
}

impl Daemon<'_> {
    async fn run(
        self,
        (document, origin): (Read, Origin),
        listener: TcpListener,
        looking: &tokio::runtime::Runtime,
        lease: Option<&mut LeaseKeeper>,
    ) -> Result<(), Failure> {
        let (document, generation) = (Arc::new(document.config), document.generation);
        self.ledger.configure(document.plan.clone()).await.map_err(|error| refused(&error))?;
        tracing::info!(
            migration.name = document.plan.migration,
            config.hash = document.plan.hash,
            phases = document.plan.phases.len(),
            probes = document.probes.len(),
            "verifier started on {}",
            self.args.listen_address,
        );
        let (configs, current) = watch::channel(document);
        let (beats, wakers) = (Beats::default(), Wakers::default());
        let tools = (self.registry.clone(), self.ledger.clone(), self.metrics.clone(), beats.clone());
        let reload = Reload::new(origin.source, tools, (configs, generation));
        let annotator = Annotator::new(self.ledger.clone(), self.clients.clone(), self.metrics.clone(), current.clone());
        let keeper = origin.resource.map(|watched| Keeper {
            resource: watched.resource,
            ledger: self.ledger.clone(),
            reasons: ReasonBook::new(&self.registry),
            config: reload.status(),
            document: current.clone(),
            generation: reload.generation(),
            seen: watched.seen,
            reload: reload.requests(),
            holder: watched.holder,
        });
        let (app, _) = api::app(AppState {
            ledger: self.ledger.clone(),
            metrics: self.metrics.clone(),
            auth: self.auth,
            reasons: ReasonBook::new(&self.registry),
            config: reload.status(),
            annotations: annotator.standings(),
            beats: beats.clone(),
            waker: {
                let wakers = wakers.clone();
                Arc::new(move |probe| wakers.wake(probe))
            },
            reload: reload.requests(),
        });
        let shared = Shared {
            ledger: self.ledger,
            clients: self.clients,
            beats,
            metrics: self.metrics,
            wakers,
            started: tokio::time::Instant::now(),
        };
        let tracker = tokio_util::task::TaskTracker::new();
        let checks = tracker.spawn_on(scheduler::run(shared, current, self.stop.clone()), looking.handle());
        let annotations = tracker.spawn_on(annotations::run(annotator, self.stop.clone()), looking.handle());
        let api = tracker.spawn(api::serve(listener, app, self.stop.clone()));
        let kept = tracker.spawn(keep(keeper, self.stop.clone()));
        let reloads = tracker.spawn(reload::run(reload, self.stop.clone()));
        tracker.close();

        let ended = tokio::select! {
            biased;
            signal = shutdown::signal() => signal.map(|()| None).map_err(|error| Failure::met(format!("signals can not be received: {error}"))),
            end = checks => Ok(Some(format!("the scheduler ended: {end:?}"))),
            end = api => Ok(Some(format!("the API ended: {end:?}"))),
            end = reloads => Ok(Some(format!("the reloader ended: {end:?}"))),
            end = kept => Ok(Some(format!("nobody looks after the Migration any more: {end:?}"))),
            why = lost(lease) => Ok(Some(why)),
            end = annotations => Ok(Some(format!("the annotations ended: {end:?}"))),
        };
        self.stop.cancel();
        let calm = tokio::time::timeout(GRACE, tracker.wait());
        tokio::select! {
            biased;
            over = calm => if over.is_err() { tracing::warn!("not everything stopped within {GRACE:?}; leaving it") },
            _ = shutdown::signal() => tracing::warn!("second signal: leaving at once"),
        }
        match ended? {
            None => Ok(()),
            Some(what) => Err(Failure::met(format!("{what}; the verifier stops, so that nothing goes on half blind"))),
        }
    }
}

/// Looks after the custom resource, where there is one.
async fn keep(keeper: Option<Keeper>, stop: CancellationToken) {
    match keeper {
        Some(keeper) => migration::run(keeper, stop).await,
        None => stop.cancelled().await,
    }
}

/// Waits until the Lease is lost, where there is one.
async fn lost(lease: Option<&mut LeaseKeeper>) -> String {
    match lease {
        Some(lease) => lease.lost().await,
        None => std::future::pending().await,
    }
}

fn refused(error: &CommandError) -> Failure {
    match error {
        CommandError::Refused(refusal) => Failure::given(format!("the ledger refuses this document: {}", refusal.message)),
        CommandError::NotDurable(_) | CommandError::Stopped => Failure::met(error.to_string()),
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        source = cause.source();
    }
    line
}
