//! A running `probe agent`.

use std::ops::Deref;
use std::time::Duration;

use anyhow::Result;

use crate::binary::binary;
use crate::process::Spec;
use crate::server::Server;
use crate::world::World;

const START: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(10);

/// A running `probe agent`. What it can do as a server is in [`Server`].
#[derive(Debug)]
pub struct Agent {
    server: Server,
}

impl Deref for Agent {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Agent {
    /// Starts an agent of this node, with more flags; returns when it answers.
    ///
    /// # Errors
    /// The binary is missing or stale, or it does not answer within 20 s.
    pub async fn start(world: &World, node: &str, flags: &[&str]) -> Result<Self> {
        let agent = Self::configured(world, node, flags)?;
        agent.start_again().await?;
        Ok(agent)
    }

    /// The same from the binary of its own, as it is installed on nodes.
    ///
    /// # Errors
    /// As of [`Agent::start`].
    pub async fn start_small(world: &World, node: &str, flags: &[&str]) -> Result<Self> {
        let agent = Self::of(world, Spec::new(format!("agent-{node}"), binary("probe-agent")?), node, flags)?;
        agent.start_again().await?;
        Ok(agent)
    }

    /// One that is not started yet.
    ///
    /// # Errors
    /// The binary is missing or stale.
    pub fn configured(world: &World, node: &str, flags: &[&str]) -> Result<Self> {
        Self::of(world, Spec::new(format!("agent-{node}"), binary("probe")?).arg("agent"), node, flags)
    }

    fn of(world: &World, spec: Spec, node: &str, flags: &[&str]) -> Result<Self> {
        let port = world.port()?;
        let spec = spec.args(["--node", node, "--web.listen-address", &format!("127.0.0.1:{port}")]).args(flags.iter().copied());
        Ok(Self { server: Server::new(world, spec, port, "/-/healthy", (START, STOP)) })
    }
}
