//! The whole way of a node's log lines, every server of it real but the gateway, and an outage for each hop.

use anyhow::Result;

use crate::agent::Agent;
use crate::alloy::Alloy;
use crate::fault::{Fault, FaultProxy};
use crate::journal::Journal;
use crate::loki::Loki;
use crate::standin::StandinGateway;
use crate::world::World;

/// What can fall silent: it keeps its connections, and answers nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// `probe agent`.
    Agent,
    /// journald.
    Journal,
    /// Alloy.
    Alloy,
    /// The network between Alloy and Loki.
    Network,
    /// Loki.
    Loki,
    /// The gateway in front of Loki.
    Gateway,
}

impl Outage {
    /// All of them, in the order of the way.
    pub const ALL: [Self; 6] = [Self::Agent, Self::Journal, Self::Alloy, Self::Network, Self::Loki, Self::Gateway];

    /// The hop that a verifier has to name, and the reason that it gives.
    pub const fn named(self) -> (&'static str, &'static str) {
        match self {
            Self::Agent => ("agent", "agent_unreachable"),
            Self::Journal => ("journal", "journal_stuck"),
            Self::Alloy => ("alloy read", "not_read"),
            Self::Network => ("alloy sent", "not_sent"),
            Self::Loki => ("loki queryable", "timeout"),
            Self::Gateway => ("gateway", "timeout"),
        }
    }
}

/// A node with an agent, a journal and an Alloy; its Loki and the gateway in front of that.
#[derive(Debug)]
pub struct LogWay {
    /// Writes a line each second.
    pub agent: Agent,
    /// What it writes to.
    pub journal: Journal,
    /// Ships the journal.
    pub alloy: Alloy,
    /// Between Alloy and Loki.
    pub to_loki: FaultProxy,
    /// Where the lines go.
    pub loki: Loki,
    /// In front of Loki; a stand-in.
    pub gateway: StandinGateway,
    /// Between a verifier and the gateway.
    pub to_gateway: FaultProxy,
}

impl LogWay {
    /// Starts everything; returns when all of it is ready.
    ///
    /// # Errors
    /// A server can not be built, or does not start.
    pub async fn start(world: &World, flags: &[&str]) -> Result<Self> {
        let (journal, loki) = tokio::try_join!(Journal::start(world), Loki::start(world))?;
        let gateway = StandinGateway::start(loki.url())?;
        let (to_loki, to_gateway) = (FaultProxy::start_http(loki.url())?, FaultProxy::start(gateway.address())?);
        let socket = journal.socket().display().to_string();
        let flags: Vec<&str> = ["--journal.socket", &socket].into_iter().chain(flags.iter().copied()).collect();
        let to = to_loki.url();
        let lokis = [to.as_str()];
        let (agent, alloy) =
            tokio::try_join!(Agent::start(world, "node-1", &flags), Alloy::start(world, journal.folder(), &lokis))?;
        Ok(Self { agent, journal, alloy, to_loki, loki, gateway, to_gateway })
    }

    /// The targets of a document: `agents`, `alloy` and `loki`.
    pub fn targets(&self) -> String {
        format!(
            "{{agents: {{agent: {{urls: [\"{}\"]}}}}, alloy: {{alloy: {{urls: [\"{}\"]}}}}, \
             loki: {{loki: {{url: \"{}\", gateway: \"http://{}\"}}}}}}",
            self.agent.url(),
            self.alloy.url(),
            self.loki.url(),
            self.to_gateway.address()
        )
    }

    /// Makes one of them silent.
    ///
    /// # Errors
    /// It does not run, or can not be frozen.
    pub async fn fall_silent(&self, what: Outage) -> Result<()> {
        match what {
            Outage::Agent => self.agent.freeze().await,
            Outage::Journal => self.journal.freeze().await,
            Outage::Alloy => self.alloy.freeze().await,
            Outage::Network => self.to_loki.set(Fault::BlackHole).await,
            Outage::Loki => self.loki.freeze().await,
            Outage::Gateway => self.to_gateway.set(Fault::BlackHole).await,
        }
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// It does not run.
    pub async fn go_on(&self, what: Outage) -> Result<()> {
        match what {
            Outage::Agent => self.agent.thaw(),
            Outage::Journal => self.journal.thaw()?,
            Outage::Alloy => self.alloy.thaw(),
            Outage::Network => self.to_loki.clear().await?,
            Outage::Loki => self.loki.thaw(),
            Outage::Gateway => self.to_gateway.clear().await?,
        }
        Ok(())
    }
}
