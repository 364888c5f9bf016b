//! What all stand-ins share: a loopback port with an axum router behind it, and a mood that decides how it is served.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tower::ServiceExt;

use crate::door::Door;
use crate::hostile::{self, Habit};

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
        let address = door.address();
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
