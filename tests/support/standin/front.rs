//! What all stand-ins share: a loopback port with an axum router behind it, and a mood that decides how it is served.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tower::ServiceExt;

use crate::hostile::{self, Habit};

const BACKLOG: u32 = 256;

/// How a stand-in treats whoever connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// As the real server would.
    Fine,
    /// As the real server would, but it takes this long before each answer.
    Slow(Duration),
    /// Nobody listens: connections are refused. The port stays its own.
    Refuse,
    /// Listens, and misbehaves on every connection.
    Bad(Habit),
}

struct Order {
    mood: Mood,
    done: oneshot::Sender<Result<()>>,
}

/// A loopback port that serves a router, until it is dropped.
#[derive(Debug)]
pub(crate) struct Front {
    address: SocketAddr,
    orders: mpsc::Sender<Order>,
    _serving: JoinSet<()>,
}

impl Front {
    pub(crate) fn start(app: Router) -> Result<Self> {
        let mut door = Door::reserve()?;
        door.open()?;
        let address = door.address;
        let (orders, inbox) = mpsc::channel(1);
        let mut serving = JoinSet::new();
        serving.spawn(serve(door, app, inbox));
        Ok(Self { address, orders, _serving: serving })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From the moment this returns, open connections are closed and new ones get the new mood.
    pub(crate) async fn set_mood(&self, mood: Mood) -> Result<()> {
        let (done, answer) = oneshot::channel();
        self.orders.send(Order { mood, done }).await.ok().context("the stand-in has ended")?;
        answer.await.context("the stand-in has ended")?
    }
}

/// A listener that can be shut without giving its port away: a second socket is bound to the port and never listens, so nobody
/// else gets it while the first one is gone.
struct Door {
    address: SocketAddr,
    spare: TcpSocket,
    listener: Option<TcpListener>,
}

impl Door {
    fn reserve() -> Result<Self> {
        let spare = bound(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        Ok(Self { address: spare.local_addr()?, spare, listener: None })
    }

    fn open(&mut self) -> Result<()> {
        if self.listener.is_none() {
            // Bound before the other one listens: afterwards the kernel would refuse it.
            let next = bound(self.address)?;
            self.listener = Some(std::mem::replace(&mut self.spare, next).listen(BACKLOG)?);
        }
        Ok(())
    }

    fn shut(&mut self) {
        self.listener = None;
    }

    /// The next connection; never, while the door is shut.
    async fn next(&self) -> Option<TcpStream> {
        match &self.listener {
            // An error here is the client's, which has left already.
            Some(listener) => listener.accept().await.ok().map(|(stream, _)| stream),
            None => std::future::pending().await,
        }
    }
}

fn bound(address: SocketAddr) -> Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn serve(mut door: Door, app: Router, mut orders: mpsc::Receiver<Order>) {
    let (mut mood, mut connections) = (Mood::Fine, JoinSet::new());
    loop {
        tokio::select! {
            order = orders.recv() => {
                let Some(order) = order else { return };
                mood = order.mood;
                let done = if mood == Mood::Refuse {
                    door.shut();
                    Ok(())
                } else {
                    door.open()
                };
                connections.shutdown().await;
                // An error here says that nobody waits for it any more.
                drop(order.done.send(done));
            }
            stream = door.next() => {
                if let Some(stream) = stream {
                    connections.spawn(connection(stream, app.clone(), mood));
                }
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn connection(stream: TcpStream, app: Router, mood: Mood) {
    let pause = match mood {
        Mood::Bad(habit) => return drop(hostile::serve(stream, habit).await),
        Mood::Slow(pause) => pause,
        Mood::Fine | Mood::Refuse => Duration::ZERO,
    };
    let service = service_fn(|request: Request<Incoming>| {
        let app = app.clone();
        async move {
            tokio::time::sleep(pause).await;
            app.oneshot(request.map(Body::new)).await
        }
    });
    // Answers are small and wanted at once. Errors are the client's.
    drop(stream.set_nodelay(true));
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}
