//! A stream that remembers how the other side began to speak, and stops listening when it does not end.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most bytes that are read from one connection.
const MAX_READ: usize = 1024 * 1024;
/// How many bytes of the beginning are remembered.
const MAX_HEAD: usize = 64;

/// What was read so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Read>>);

#[derive(Debug, Default)]
struct Read {
    head: Vec<u8>,
    total: usize,
    unlimited: bool,
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, Read> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether more came than is read.
    pub(super) fn flooded(&self) -> bool {
        let read = self.lock();
        read.total > MAX_READ && !read.unlimited
    }

    /// From now on as much is read as comes.
    pub(super) fn lift(&self) {
        self.lock().unlimited = true;
    }

    /// The first words of a server that can not be PostgreSQL: that one begins with the one-letter answer to a request for TLS, or
    /// with the tag of a message that may come first.
    pub(super) fn stranger(&self) -> Option<String> {
        let read = self.lock();
        let known = read.head.first().is_none_or(|first| b"SNERv".contains(first)) && !read.head.starts_with(b"SSH-");
        (!known).then(|| format!("it says {:?}", String::from_utf8_lossy(&read.head)))
    }
}

/// A stream under watch.
#[derive(Debug)]
pub(super) struct Watched<S> {
    inner: S,
    seen: Seen,
}

impl<S> Watched<S> {
    /// Watches this stream.
    pub(super) fn new(inner: S) -> (Self, Seen) {
        let seen = Seen::default();
        (Self { inner, seen: seen.clone() }, seen)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.seen.flooded() {
            return Poll::Ready(Err(io::Error::other("more bytes than any answer can have")));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        let new = buf.filled().get(before..).unwrap_or_default();
        let mut read = self.seen.lock();
        read.total = read.total.saturating_add(new.len());
        let room = MAX_HEAD.saturating_sub(read.head.len());
        read.head.extend(new.iter().take(room));
        drop(read);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
