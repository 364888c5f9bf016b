//! The lock while it is held: renewed in the background, given back at the end.

use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::super::client::Client;
use super::super::trouble::Trouble;
use crate::api::types::{LockBody, LockRequest};
use crate::exit::Exit;

/// For how long the lock holds while nothing is heard of its holder.
pub(crate) const TTL: Duration = Duration::from_mins(1);
/// Renewed this often, so that two answers may be late.
const RENEW: Duration = Duration::from_secs(20);

/// A held lock.
#[derive(Debug)]
pub(crate) struct Lease {
    /// The fencing token.
    pub(crate) id: u64,
    lost: watch::Receiver<Option<String>>,
    renewing: JoinHandle<()>,
}

impl Lease {
    /// Takes the lock of a phase. `own` is one that the same run held before.
    pub(crate) async fn take(client: &Client, phase: &str, own: Option<u64>) -> Result<Self, Trouble> {
        let request = LockRequest { phase: phase.to_owned(), place: place(), ttl_seconds: TTL.as_secs(), own };
        let lock: LockBody = client.create(&["lock"], &request).await?;
        let (say, lost) = watch::channel(None);
        let (client, id) = (client.clone(), lock.id);
        #[expect(clippy::disallowed_methods, reason = "the lease owns it, and ends it when it is dropped")]
        let renewing = tokio::spawn(async move {
            loop {
                tokio::time::sleep(RENEW).await;
                // Whatever else goes wrong may be over next time; a lock that is another's stays so.
                if let Err(trouble) = client.post(&["lock", &id.to_string(), "renew"], &json!({})).await
                    && trouble.exit == Exit::MOVED
                {
                    drop(say.send(Some(trouble.message.into())));
                    return;
                }
            }
        });
        Ok(Self { id, lost, renewing })
    }

    /// Whose it is now, if it is not ours any more.
    pub(crate) fn lost(&self) -> Option<String> {
        self.lost.borrow().clone()
    }

    /// Gives it back.
    pub(crate) async fn release(self, client: &Client) -> Result<(), Trouble> {
        client.post(&["lock", &self.id.to_string(), "release"], &json!({})).await.map(drop)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

/// Where this process runs, for whoever finds the lock taken.
pub(crate) fn place() -> String {
    let name = rustix::system::uname();
    format!("{}, process {}", name.nodename().to_string_lossy(), std::process::id())
}
