//! A proxy that breaks what passes through it, on demand, between any two parts.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use tests::{Fault, FaultProxy, Loki, Postgres, World};
//!
//! # async fn example() -> anyhow::Result<()> {
//! let world = World::new()?;
//! let (loki, postgres) = tokio::try_join!(Loki::start(&world), Postgres::start(&world))?;
//! let web = FaultProxy::start_http(loki.url())?;
//! let wire = FaultProxy::start(format!("127.0.0.1:{}", postgres.port()))?;
//! let document = format!("… {} postgres://server:server@{}/homelab", web.url(), wire.address());
//! web.set(Fault::DropWrites(100)).await?; // answers 204, and Loki never sees them
//! wire.set(Fault::BlackHole).await?; // open connections fall silent as well
//! wire.clear().await?;
//! assert_eq!(web.dropped().requests, 0);
//! # Ok(())
//! # }
//! ```
//!
//! Nothing is invented: while the upstream can not be reached, whoever connects is reset (also under [`Fault::DropWrites`]), or told
//! 502 if [`FaultProxy::set_bad_gateway`] asks for it. Only [`Fault::Status`] and [`Fault::LoginPage`] answer in the upstream's place.

mod body;
mod relay;
#[cfg(test)]
mod tests;
mod web;

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hyper::StatusCode;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::door::Door;

pub use web::Dropped;

/// What goes wrong. It holds for new connections and for those that are open already, until something else is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The port is closed: connections are refused, open ones are closed. The port stays its own.
    Refuse,
    /// Connections are reset: open ones at once, new ones as soon as they are there.
    Reset,
    /// Connections are accepted, and nothing passes in either direction. What was held passes once it is over, as after a broken
    /// network; also if the client has left meanwhile.
    BlackHole,
    /// Each chunk of an answer comes this much later.
    Delay(Duration),
    /// The first byte of each answer comes this much later, the others at once.
    DelayFirst(Duration),
    /// So many bytes a second in each direction, of each connection.
    Throttle(u32),
    /// An answer that is longer ends after so many bytes, and the connection is closed in good order. Counted are the bytes of each
    /// HTTP answer's body; on the wire, all that the upstream has said on a connection since this was set.
    Truncate(u64),
    /// All bits of each so-manieth byte of an answer are flipped, so that no text survives it. Counted as for [`Fault::Truncate`];
    /// an HTTP answer's head stays as it is.
    Corrupt(u64),
    /// HTTP only. Each request is answered with this status code and text, and not passed on.
    Status(u16, String),
    /// HTTP only. Each request is answered 200 with a page to sign in, and not passed on.
    LoginPage,
    /// HTTP only. Each so-manieth POST request is answered 204 and not passed on: see [`FaultProxy::dropped`].
    DropWrites(u64),
}

impl Fault {
    fn check(&self, kind: Kind) -> Result<()> {
        if let Self::Status(code, _) = self {
            ensure!(StatusCode::from_u16(*code).is_ok_and(|code| code.as_u16() >= 200), "{code} is no status of an answer");
        }
        let every = matches!(self, Self::Throttle(0) | Self::Corrupt(0) | Self::DropWrites(0));
        ensure!(!every, "{self:?}: 0 is no number to count to");
        let web_only = matches!(self, Self::Status(..) | Self::LoginPage | Self::DropWrites(_));
        ensure!(kind == Kind::Web || !web_only, "{self:?} needs a proxy that speaks HTTP: FaultProxy::start_http");
        Ok(())
    }
}

/// What passes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Wire,
    Web,
}

/// What holds for each connection right now.
#[derive(Debug, Clone)]
struct Setting {
    fault: Option<Fault>,
    /// Another number after each change, so that what counts starts anew.
    generation: u64,
    upstream: Arc<str>,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    kind: Kind,
    accepted: AtomicUsize,
    open: AtomicUsize,
    bad_gateway: AtomicBool,
    dropped: Mutex<Dropped>,
    /// POST requests since the fault was set, by its generation.
    writes: Mutex<(u64, u64)>,
}

enum Change {
    Fault(Option<Fault>),
    Upstream(Arc<str>),
}

struct Order {
    change: Change,
    done: oneshot::Sender<Result<()>>,
}

/// A proxy in this process, on a loopback port of its own, until it is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    orders: mpsc::Sender<Order>,
    _serving: JoinSet<()>,
}

impl FaultProxy {
    /// Starts one that passes bytes on to `127.0.0.1:PORT`, whatever they say. `http://` before it is ignored.
    ///
    /// # Errors
    /// No port is free.
    pub fn start(upstream: impl Display) -> Result<Self> {
        Self::launch(Kind::Wire, &upstream)
    }

    /// Starts one that passes HTTP/1.1 requests on to `127.0.0.1:PORT`. Paths, headers (`Host` included) and bodies stay as they
    /// are, chunked and compressed ones included; a connection is kept alive for as long as the client wants. It neither upgrades
    /// connections nor retries.
    ///
    /// # Errors
    /// No port is free.
    pub fn start_http(upstream: impl Display) -> Result<Self> {
        Self::launch(Kind::Web, &upstream)
    }

    fn launch(kind: Kind, upstream: &dyn Display) -> Result<Self> {
        let mut door = Door::reserve()?;
        door.open()?;
        let address = door.address();
        let shared = Arc::new(Shared {
            kind,
            accepted: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            bad_gateway: AtomicBool::new(false),
            dropped: Mutex::default(),
            writes: Mutex::default(),
        });
        let (orders, inbox) = mpsc::channel(1);
        let setting = watch::Sender::new(Setting { fault: None, generation: 0, upstream: place(upstream) });
        let mut serving = JoinSet::new();
        serving.spawn(serve(door, Arc::clone(&shared), setting, inbox));
        Ok(Self { address, shared, orders, _serving: serving })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From the moment this returns, the fault is there, instead of the one before.
    ///
    /// # Errors
    /// The fault needs HTTP and this proxy does not speak it, one of its numbers makes no sense, or the port can not be opened again.
    pub async fn set(&self, fault: Fault) -> Result<()> {
        fault.check(self.shared.kind)?;
        self.order(Change::Fault(Some(fault))).await
    }

    /// Everything passes again. Connections that a fault has not ended go on.
    ///
    /// # Errors
    /// The port can not be opened again.
    pub async fn clear(&self) -> Result<()> {
        self.order(Change::Fault(None)).await
    }

    /// Leads to another upstream from now on; connections to the former one are closed.
    ///
    /// # Errors
    /// The proxy has ended.
    pub async fn retarget(&self, upstream: impl Display) -> Result<()> {
        self.order(Change::Upstream(place(&upstream))).await
    }

    /// Whether it answers 502 over HTTP while the upstream can not be reached, as a gateway would, instead of resetting.
    pub fn set_bad_gateway(&self, asked: bool) {
        self.shared.bad_gateway.store(asked, Ordering::SeqCst);
    }

    /// How many connections it has accepted.
    pub fn connections(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// How many of them are open.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// What it has acknowledged and not passed on, since its start.
    pub fn dropped(&self) -> Dropped {
        self.shared.dropped.lock().clone()
    }

    async fn order(&self, change: Change) -> Result<()> {
        let (done, answer) = oneshot::channel();
        self.orders.send(Order { change, done }).await.ok().context("the proxy has ended")?;
        answer.await.context("the proxy has ended")?
    }
}

fn place(upstream: &dyn Display) -> Arc<str> {
    let text = upstream.to_string();
    text.strip_prefix("http://").unwrap_or(&text).trim_end_matches('/').into()
}

async fn serve(mut door: Door, shared: Arc<Shared>, setting: watch::Sender<Setting>, mut orders: mpsc::Receiver<Order>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            order = orders.recv() => {
                let Some(Order { change, done }) = order else { return };
                let result = match change {
                    Change::Fault(fault) => change_fault(fault, &mut door, &setting, &mut connections).await,
                    Change::Upstream(upstream) => {
                        setting.send_modify(|now| now.upstream = upstream);
                        connections.shutdown().await;
                        Ok(())
                    }
                };
                // An error here says that nobody waits for it any more.
                drop(done.send(result));
            }
            stream = door.next() => {
                if let Some(stream) = stream {
                    shared.accepted.fetch_add(1, Ordering::SeqCst);
                    connections.spawn(connection(stream, Arc::clone(&shared), setting.subscribe()));
                }
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn change_fault(
    fault: Option<Fault>,
    door: &mut Door,
    setting: &watch::Sender<Setting>,
    connections: &mut JoinSet<()>,
) -> Result<()> {
    setting.send_modify(|now| {
        now.fault.clone_from(&fault);
        now.generation += 1;
    });
    match fault {
        Some(Fault::Refuse) => {
            door.shut();
            connections.shutdown().await;
            return Ok(());
        }
        // They see it by themselves.
        Some(Fault::Reset) => while connections.join_next().await.is_some() {},
        _ => {}
    }
    door.open()
}

/// Counts a connection as open, until it is dropped.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One connection, from its first byte to its end.
async fn connection(mut client: TcpStream, shared: Arc<Shared>, setting: watch::Receiver<Setting>) {
    let _counted = Counted::new(&shared.open);
    let mut resets = setting.clone();
    let reset = async move {
        // An error here says that the proxy ends, and this with it.
        drop(resets.wait_for(|now| now.fault == Some(Fault::Reset)).await);
    };
    // Chunks are passed on as they come. An error here is the client's.
    drop(client.set_nodelay(true));
    let ending = tokio::select! {
        biased;
        () = reset => relay::Ending::Reset,
        ending = relay::connect(&mut client, &shared, setting) => ending,
    };
    if ending == relay::Ending::Reset {
        // An error here says that it is gone already.
        drop(client.set_zero_linger());
    }
}
