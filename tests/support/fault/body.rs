//! What a fault does to the bytes of an answer.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::sync::watch;

use super::{Fault, Setting};

/// Counts the bytes of one answer since the fault was set, and damages them.
#[derive(Debug)]
pub(super) struct Damage {
    setting: watch::Receiver<Setting>,
    generation: u64,
    passed: u64,
}

impl Damage {
    pub(super) fn new(setting: watch::Receiver<Setting>) -> Self {
        Self { setting, generation: 0, passed: 0 }
    }

    fn idle(&self) -> bool {
        !matches!(self.setting.borrow().fault, Some(Fault::Truncate(_) | Fault::Corrupt(_)))
    }

    /// Damages the next bytes, and says how many of them are left.
    pub(super) fn harm(&mut self, bytes: &mut [u8]) -> usize {
        let now = self.setting.borrow().clone();
        if now.generation != self.generation {
            (self.generation, self.passed) = (now.generation, 0);
        }
        let left = match now.fault {
            Some(Fault::Truncate(limit)) => {
                usize::try_from(limit.saturating_sub(self.passed)).unwrap_or(usize::MAX).min(bytes.len())
            }
            _ => bytes.len(),
        };
        if let Some(Fault::Corrupt(every)) = now.fault {
            for (byte, number) in bytes.iter_mut().zip(self.passed + 1..) {
                if number.is_multiple_of(every) {
                    *byte = !*byte;
                }
            }
        }
        self.passed += u64::try_from(left).unwrap_or(u64::MAX);
        left
    }
}

/// An answer's body on its way to the client.
#[derive(Debug)]
pub(super) struct Answer {
    inner: Body,
    damage: Damage,
    /// Set when no more comes, although the body is not over: the connection is to be closed once all is written.
    cut: Arc<AtomicBool>,
}

impl Answer {
    pub(super) fn new(inner: Body, setting: watch::Receiver<Setting>, cut: Arc<AtomicBool>) -> Self {
        Self { inner, damage: Damage::new(setting), cut }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.cut.load(Ordering::SeqCst) {
            return Poll::Pending;
        }
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        let Poll::Ready(Some(Ok(frame))) = polled else { return polled };
        let data = match frame.into_data() {
            Ok(data) if self.damage.idle() => return Poll::Ready(Some(Ok(Frame::data(data)))),
            Ok(data) => data,
            Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
        };
        let mut bytes = Vec::from(data);
        let left = self.damage.harm(&mut bytes);
        if left < bytes.len() {
            bytes.truncate(left);
            self.cut.store(true, Ordering::SeqCst);
        }
        Poll::Ready(Some(Ok(Frame::data(bytes.into()))))
    }

    fn is_end_stream(&self) -> bool {
        !self.cut.load(Ordering::SeqCst) && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
