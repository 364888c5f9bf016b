//! The stack that moves, with its real servers: an old side as on Docker Compose, a new side as in k3s, and the moves between them.

mod application;
mod databases;
mod logs;

use anyhow::Result;

pub use application::{Application, Writes};
pub use databases::Databases;
pub use logs::LogPath;

use crate::world::World;

/// The hybrid homelab: Promtail → Loki ← Grafana and PostgreSQL on the old side, Alloy → Loki ← Grafana and PostgreSQL on the new
/// side, one journal under both collectors, and an application that writes.
///
/// It starts as it is before the first phase: everything of the old side works; of the new side nothing is used yet.
#[derive(Debug)]
pub struct Homelab {
    /// Journal, collectors, Lokis, Grafanas.
    pub logs: LogPath,
    /// Both PostgreSQL servers, and the application.
    pub databases: Databases,
}

impl Homelab {
    /// Starts everything; returns when all of it is ready.
    ///
    /// # Errors
    /// A server can not be built, or does not start.
    pub async fn start(world: &World) -> Result<Self> {
        let (logs, databases) = tokio::try_join!(LogPath::start(world), Databases::start(world))?;
        Ok(Self { logs, databases })
    }
}
