//! loki-canary 3.6.3, Grafana's own canary: what ours is compared with.

use std::ops::Deref;
use std::time::Duration;

use anyhow::Result;

use crate::process::Spec;
use crate::server::Server;
use crate::stack;
use crate::world::World;

const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(30);

/// A real loki-canary that pushes its lines to a Loki by itself, and reads them back from there: over a websocket, and by queries for
/// what did not come. All of its times are its defaults. What it can do as a server is in [`Server`].
#[derive(Debug)]
pub struct LokiCanary {
    server: Server,
}

impl Deref for LokiCanary {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl LokiCanary {
    /// The streams that its lines are in.
    pub const SELECTOR: &str = "{name=\"loki-canary\"}";

    /// Starts one that pushes a line each `every` to the Loki at `HOST:PORT`; returns when it answers.
    ///
    /// # Errors
    /// It can not be built or started, or does not answer within 30 s.
    pub async fn start(world: &World, loki: &str, every: Duration) -> Result<Self> {
        let binary = stack::binary("loki-canary").await?;
        let port = world.port()?;
        let spec = Spec::new("loki-canary", binary)
            .args(["-push=true".to_owned(), format!("-addr={loki}"), format!("-port={port}")])
            .arg(format!("-interval={}ms", every.as_millis()));
        let canary = Self { server: Server::new(world, spec, port, "/metrics", (START, STOP)) };
        canary.start_again().await?;
        Ok(canary)
    }

    /// Has it write no more, and look no more; its counters stay.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn suspend(&self) -> Result<()> {
        self.get("/suspend").await.map(drop)
    }
}
