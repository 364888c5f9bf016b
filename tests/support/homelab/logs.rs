//! The log path: one journal, the collectors of both sides, their Lokis and Grafanas.

use anyhow::Result;

use crate::agent::Agent;
use crate::alloy::Alloy;
use crate::fault::FaultProxy;
use crate::grafana::Grafana;
use crate::journal::Journal;
use crate::loki::Loki;
use crate::promtail::Promtail;
use crate::standin::StandinGateway;
use crate::world::World;

/// One journal under the collectors of both sides; their Lokis and Grafanas.
#[derive(Debug)]
pub struct LogPath {
    /// The node's journal.
    pub journal: Journal,
    /// The old collector. It ships to the old Loki.
    pub promtail: Promtail,
    /// The new collector. Not started yet; it ships to the old Loki at first, through [`LogPath::to_old_loki`].
    pub alloy: Alloy,
    /// What writes numbered lines into the journal. Not started yet.
    pub agent: Agent,
    /// Between Alloy and the old Loki.
    pub to_old_loki: FaultProxy,
    /// The Loki on Docker.
    pub old_loki: Loki,
    /// The Loki in k3s, empty.
    pub new_loki: Loki,
    /// What stands in front of the Loki in k3s; a stand-in.
    pub gateway: StandinGateway,
    /// The Grafana on Docker. Its datasource leads to the old Loki.
    pub old_grafana: Grafana,
    /// The Grafana in k3s, new. Its datasource leads to the new Loki.
    pub new_grafana: Grafana,
    /// A token of a service account of the old Grafana, of the role Admin. It goes along with the database.
    pub token: String,
}

impl LogPath {
    /// Starts everything but Alloy and the agent; returns when all of it is ready.
    ///
    /// # Errors
    /// A server can not be built, or does not start.
    pub async fn start(world: &World) -> Result<Self> {
        let (journal, old_loki, new_loki) = tokio::try_join!(Journal::start(world), Loki::start(world), Loki::start(world))?;
        let gateway = StandinGateway::start(new_loki.url())?;
        let to_old_loki = FaultProxy::start(old_loki.authority())?;
        let socket = journal.socket().display().to_string();
        let agent = Agent::configured(world, "node-1", &["--every", "200ms", "--journal.socket", &socket])?;
        let (gateway_url, to_old_loki_url) = (gateway.url(), to_old_loki.url());
        let first_lokis = [to_old_loki_url.as_str()];
        let (promtail, alloy, old_grafana, new_grafana) = tokio::try_join!(
            Promtail::start(world, journal.folder(), old_loki.url()),
            Alloy::configured(world, journal.folder(), &first_lokis),
            Grafana::start(world, old_loki.url()),
            Grafana::start(world, &gateway_url),
        )?;
        let token = old_grafana.token("phasegate", "Admin").await?;
        Ok(Self { journal, promtail, alloy, agent, to_old_loki, old_loki, new_loki, gateway, old_grafana, new_grafana, token })
    }

    /// Phase 1: Alloy begins to ship to the old Loki, and the agent begins to write.
    ///
    /// # Errors
    /// One of them does not start.
    pub async fn deploy_alloy(&self) -> Result<()> {
        tokio::try_join!(self.agent.start_again(), self.alloy.start_again()).map(|_| ())
    }

    /// Phase 1, the way back: Alloy and the agent stop.
    ///
    /// # Errors
    /// One of them does not stop.
    pub async fn remove_alloy(&self) -> Result<()> {
        tokio::try_join!(self.agent.stop(), self.alloy.stop()).map(|_| ())
    }

    /// Phase 1: the old collector stops.
    ///
    /// # Errors
    /// It does not stop.
    pub async fn retire_promtail(&self) -> Result<()> {
        self.promtail.stop().await.map(drop)
    }

    /// How many lines a Loki has of all services, of the last day.
    ///
    /// # Errors
    /// It does not answer, or with something else.
    pub async fn count_lines(&self, loki: &Loki) -> Result<u64> {
        loki.count("{job=\"systemd-journal\"}").await
    }

    /// Phase 2: the old Loki's volume is copied to the new one. No line is lost on the way: Alloy ships to both before they stop,
    /// and what the new one has taken until then is in the copy. Both write what they replay, so that it can be seen.
    ///
    /// # Errors
    /// A server does not stop or start again, Alloy refuses a reload, or the data can not be copied.
    pub async fn copy_loki(&self, world: &World) -> Result<()> {
        self.alloy.set_lokis(&[&self.to_old_loki.url(), self.new_loki.url()]).await?;
        self.new_loki.take_over(world, &self.old_loki).await?;
        tokio::try_join!(self.old_loki.flush(), self.new_loki.flush()).map(|_| ())
    }

    /// Phase 2, the way back: Alloy ships to the old Loki alone.
    ///
    /// # Errors
    /// Alloy refuses a reload.
    pub async fn ship_to_old_loki(&self) -> Result<()> {
        self.alloy.set_lokis(&[&self.to_old_loki.url()]).await
    }

    /// Phase 2: Alloy ships to the new Loki alone.
    ///
    /// # Errors
    /// Alloy refuses a reload.
    pub async fn ship_to_new_loki(&self) -> Result<()> {
        self.alloy.set_lokis(&[self.new_loki.url()]).await
    }

    /// Phase 3: the old Grafana's database is copied to the new one. Its datasource still leads to the old Loki.
    ///
    /// # Errors
    /// One of them does not stop or start again, or the file can not be copied.
    pub async fn move_grafana(&self) -> Result<()> {
        self.new_grafana.take_over(&self.old_grafana).await
    }

    /// Phase 3: the datasource that dashboards use leads to the new Loki, through its gateway.
    ///
    /// # Errors
    /// Grafana does not stop or start again.
    pub async fn repoint_grafana(&self) -> Result<()> {
        self.new_grafana.repoint(&self.gateway.url()).await
    }
}
