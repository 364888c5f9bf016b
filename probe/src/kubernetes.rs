//! The verifier's own life in a cluster: the objects that it keeps there, and the Lease that allows it to write them.

pub mod lease;
pub(crate) mod migration;
pub mod objects;

use std::fmt;
use std::time::Duration;

use kube::core::Status;
use tokio::time::timeout;

/// How long one request may take: less than an evaluation counts, so that a silent API server makes no gap between evaluations.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// Words of an API server that are passed on, in characters.
const MAX_WORDS: usize = 400;

/// Why a request has no answer that can be used. Its text is one line of bounded length.
#[derive(Debug)]
pub enum Unanswered {
    /// The API server, or something on the way to it, says so.
    Said(kube::Error),
    /// Nobody says anything; whether anything has happened is not known.
    Silent,
}

/// Waits for one answer of the API server, for no longer than [`PATIENCE`].
pub async fn ask<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, Unanswered> {
    match timeout(PATIENCE, request).await {
        Ok(answer) => answer.map_err(Unanswered::Said),
        Err(_) => Err(Unanswered::Silent),
    }
}

impl Unanswered {
    /// What the API server itself says, if it does.
    pub fn status(&self) -> Option<&Status> {
        if let Self::Said(kube::Error::Api(status)) = self { Some(status) } else { None }
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match (self.status().filter(|status| !status.message.is_empty()), self) {
            (Some(status), _) => format!("the API server says {}: {}", status.code, status.message),
            (None, Self::Said(error)) => crate::verifier::chain(error),
            (None, Self::Silent) => {
                format!("the API server did not answer within {}", humantime::format_duration(PATIENCE))
            }
        };
        let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
        line.chars().take(MAX_WORDS).try_for_each(|letter| write!(f, "{letter}"))
    }
}
