//! The wire: bytes of one connection in both directions, and what a fault does to them.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex, split};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::sleep;

use super::body::Damage;
use super::{Fault, Kind, Setting, Shared, web};

/// Most bytes that are held of one direction.
const CHUNK: usize = 16 * 1024;
/// A throttled stream moves this often, if not a single byte takes longer.
const STEPS_PER_SECOND: u32 = 20;

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// In good order, or the client is gone.
    Closed,
    /// In good order, in the middle of an answer.
    Cut,
    /// By a reset.
    Reset,
}

/// Connects a client with the upstream until one of them has enough.
pub(super) async fn connect(client: &mut TcpStream, shared: &Arc<Shared>, setting: watch::Receiver<Setting>) -> Ending {
    let mut line = Line::new(shared.kind, setting.clone());
    // What is silent does not tell either whether its upstream is there.
    line.admit(1, Direction::Ask).await;
    let ending = match shared.kind {
        Kind::Wire => {
            let upstream = setting.borrow().upstream.clone();
            match TcpStream::connect(&*upstream).await {
                Ok(far) => {
                    // An error here comes back when it is used.
                    drop(far.set_nodelay(true));
                    relay(client, far, line).await
                }
                Err(_) => Ending::Reset,
            }
        }
        Kind::Web => {
            let (near, far) = duplex(CHUNK);
            let mut talk = pin!(relay(client, near, line));
            tokio::select! {
                ending = &mut talk => ending,
                served = web::serve(far, shared, setting) => match served {
                    // What was answered is still on its way.
                    Ok(()) => talk.await,
                    Err(web::Broken) => Ending::Reset,
                },
            }
        }
    };
    if ending == Ending::Cut {
        // To close while the client's bytes are unread would be a reset. Errors say that it is gone.
        drop(client.shutdown().await);
        drain(client).await;
    }
    ending
}

async fn relay(client: &mut TcpStream, far: impl AsyncRead + AsyncWrite, line: Line) -> Ending {
    let (from_client, to_client) = client.split();
    let (from_far, to_far) = split(far);
    match tokio::try_join!(asks(from_client, to_far, line.clone()), answers(from_far, to_client, line)) {
        Ok(_) => Ending::Closed,
        Err(ending) => ending,
    }
}

/// What the client says. `Ok` when it has said all.
async fn asks(mut from: ReadHalf<'_>, mut to: impl AsyncWrite + Unpin, mut line: Line) -> Result<(), Ending> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = from.read(&mut buffer).await.map_err(|_| Ending::Closed)?;
        let mut rest = buffer.get(..read).unwrap_or_default();
        if rest.is_empty() {
            line.admit(1, Direction::Ask).await;
            // An error here says that it was done already.
            drop(to.shutdown().await);
            return Ok(());
        }
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(line.admit(rest.len(), Direction::Ask).await);
            line.asked.store(true, Ordering::SeqCst);
            if to.write_all(piece).await.is_err() {
                // The upstream listens no more. Its own last words decide how this ends.
                drain(&mut from).await;
                return Ok(());
            }
            rest = later;
        }
    }
}

/// What the upstream says. `Ok` when it has said all.
async fn answers(mut from: impl AsyncRead + Unpin, mut to: WriteHalf<'_>, mut line: Line) -> Result<(), Ending> {
    let mut buffer = vec![0; CHUNK];
    let mut damage = Damage::new(line.setting.clone());
    loop {
        let read = from.read(&mut buffer).await;
        let mut rest = buffer.get_mut(..*read.as_ref().unwrap_or(&0)).unwrap_or_default();
        if rest.is_empty() {
            line.admit(1, Direction::Answer).await;
            read.map_err(|_| Ending::Reset)?;
            return to.shutdown().await.map_err(|_| Ending::Closed);
        }
        while !rest.is_empty() {
            let (piece, later) = rest.split_at_mut(line.admit(rest.len(), Direction::Answer).await);
            let whole = piece.len();
            let left = if line.kind == Kind::Wire { damage.harm(piece) } else { whole };
            to.write_all(piece.get(..left).unwrap_or_default()).await.map_err(|_| Ending::Closed)?;
            if left < whole {
                return Err(Ending::Cut);
            }
            rest = later;
        }
    }
}

/// Reads until the other side has said all, and keeps nothing.
async fn drain(from: &mut (impl AsyncRead + Unpin)) {
    let mut buffer = vec![0; CHUNK];
    while from.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Ask,
    Answer,
}

/// When bytes of a connection may pass.
#[derive(Debug, Clone)]
struct Line {
    kind: Kind,
    setting: watch::Receiver<Setting>,
    /// The client has said something since the upstream last did.
    asked: Arc<AtomicBool>,
}

impl Line {
    fn new(kind: Kind, setting: watch::Receiver<Setting>) -> Self {
        Self { kind, setting, asked: Arc::new(AtomicBool::new(true)) }
    }

    /// Waits until some of `length` bytes may pass, and says how many: at least one.
    async fn admit(&mut self, length: usize, direction: Direction) -> usize {
        let first = direction == Direction::Answer && self.asked.load(Ordering::SeqCst);
        loop {
            let (piece, pause) = match self.setting.borrow_and_update().fault {
                Some(Fault::BlackHole) => (length, None),
                Some(Fault::Delay(pause)) if direction == Direction::Answer => (length, Some(pause)),
                Some(Fault::DelayFirst(pause)) if first => (length, Some(pause)),
                Some(Fault::Throttle(rate)) => {
                    let piece = length.min(usize::try_from(rate / STEPS_PER_SECOND).unwrap_or(usize::MAX).max(1));
                    (piece, Some(Duration::from_secs(u64::try_from(piece).unwrap_or(u64::MAX)) / rate))
                }
                _ => (length, Some(Duration::ZERO)),
            };
            let over = async {
                match pause {
                    Some(Duration::ZERO) => {}
                    Some(pause) => sleep(pause).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                () = over => {
                    if direction == Direction::Answer {
                        self.asked.store(false, Ordering::SeqCst);
                    }
                    return piece;
                }
                changed = self.setting.changed() => {
                    if changed.is_err() {
                        // The proxy ends, and this with it.
                        pending::<()>().await;
                    }
                }
            }
        }
    }
}
