//! Servers that misbehave, on loopback TCP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const LOGIN_PAGE: &str =
    "<!DOCTYPE html><html><head><title>Sign in</title></head><body><form action=\"/login\"></form></body></html>";
const REFUSAL: &str = "{\"message\":\"no\"}";

/// How a server misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// Accepts, reads, and never answers.
    Silent,
    /// Resets the connection as soon as it is there.
    Reset,
    /// Closes the connection in good order, without a word.
    Close,
    /// 200, and a body that never ends, as fast as it is read.
    Endless,
    /// 200, announces 1,000 bytes, sends some, closes.
    Truncated,
    /// 200, but it is a login page.
    Html,
    /// This status code, with a short JSON body.
    Status(u16),
    /// 200, and one byte of the body at a time, with this pause between two. Never ends.
    Drip(Duration),
}

/// A server that misbehaves, until it is dropped.
#[derive(Debug)]
pub struct Hostile {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    _accepting: JoinSet<()>,
}

impl Hostile {
    /// Starts it, on a port of its own.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(habit: Habit) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut serving = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                // An error here is the client's: it has left.
                serving.spawn(async move { drop(serve(stream, habit).await) });
                while serving.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, connections, _accepting: accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections it has accepted.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Misbehaves on one connection, until the client leaves.
pub(crate) async fn serve(mut stream: TcpStream, habit: Habit) -> std::io::Result<()> {
    match habit {
        Habit::Reset => return stream.set_zero_linger(),
        Habit::Silent => {}
        Habit::Close => stream.shutdown().await?,
        Habit::Endless => {
            answer(&mut stream, &head(200, "application/json", None), "").await?;
            loop {
                stream.write_all(&[b'x'; 16 * 1024]).await?;
            }
        }
        Habit::Drip(pause) => {
            answer(&mut stream, &head(200, "application/json", None), "").await?;
            loop {
                stream.write_all(b" ").await?;
                tokio::time::sleep(pause).await;
            }
        }
        Habit::Truncated => {
            answer(&mut stream, &head(200, "application/json", Some(1000)), "{\"status\":\"success\",\"data\":{").await?;
            stream.shutdown().await?;
        }
        Habit::Html => {
            answer(&mut stream, &head(200, "text/html; charset=utf-8", Some(LOGIN_PAGE.len())), LOGIN_PAGE).await?;
            stream.shutdown().await?;
        }
        Habit::Status(code) => {
            answer(&mut stream, &head(code, "application/json", Some(REFUSAL.len())), REFUSAL).await?;
            stream.shutdown().await?;
        }
    }
    // To close while the client's bytes are unread would be a reset.
    while stream.read(&mut [0; 1024]).await? > 0 {}
    Ok(())
}

/// Reads to the end of the request's head, then answers.
async fn answer(stream: &mut TcpStream, head: &str, body: &str) -> std::io::Result<()> {
    let mut seen = Vec::new();
    while !seen.windows(4).any(|window| window == b"\r\n\r\n") {
        if stream.read_buf(&mut seen).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await
}

fn head(code: u16, kind: &str, length: Option<usize>) -> String {
    let length = length.map(|length| format!("content-length: {length}\r\n")).unwrap_or_default();
    format!("HTTP/1.1 {code} -\r\ncontent-type: {kind}\r\n{length}connection: close\r\n\r\n")
}
