//! Bodies of the API server, read with a limit: whole, or line by line.

use std::future::poll_fn;
use std::pin::Pin;

use hyper::body::Body as _;
use kube::client::Body;

use crate::net::words;

/// Why a body could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Broken {
    /// It ended early, or the connection did.
    Cut(String),
    /// It is larger than the limit.
    Large(usize),
}

/// A body on its way, never holding more than its limit.
pub(super) struct Lines {
    body: Body,
    buffer: Vec<u8>,
    limit: usize,
    ended: bool,
}

impl Lines {
    pub(super) fn new(body: Body, limit: usize) -> Self {
        Self { body, buffer: Vec::new(), limit, ended: false }
    }

    /// Reads one more piece. False at the orderly end.
    async fn more(&mut self) -> Result<bool, Broken> {
        let Some(frame) = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await else { return Ok(false) };
        if let Ok(data) = frame.map_err(|error| Broken::Cut(words(&error)))?.into_data() {
            if self.buffer.len() + data.len() > self.limit {
                return Err(Broken::Large(self.limit));
            }
            self.buffer.extend_from_slice(&data);
        }
        Ok(true)
    }

    /// All of it.
    pub(super) async fn whole(mut self) -> Result<Vec<u8>, Broken> {
        while self.more().await? {}
        Ok(self.buffer)
    }

    /// The next line that is not empty; `None` at the orderly end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(end + 1);
                let line = std::mem::replace(&mut self.buffer, rest);
                if line.iter().any(|byte| !byte.is_ascii_whitespace()) {
                    return Ok(Some(line));
                }
            } else if self.ended {
                let line = std::mem::take(&mut self.buffer);
                return Ok(Some(line).filter(|line| line.iter().any(|byte| !byte.is_ascii_whitespace())));
            } else {
                self.ended = !self.more().await?;
            }
        }
    }
}
