//! The log path with real servers.

use anyhow::{Result, ensure};
use tests::{Fault, LogPath, World};

use crate::stack::{Addresses, Stack};

pub(crate) struct Real<'w> {
    world: &'w World,
    logs: LogPath,
}

impl<'w> Real<'w> {
    pub(crate) async fn start(world: &'w World) -> Result<Self> {
        Ok(Self { world, logs: LogPath::start(world).await? })
    }
}

impl Stack for Real<'_> {
    const PARTS: &'static str = "all of it is real: journald, Promtail, Alloy, both Lokis, both Grafanas, both PostgreSQLs, the agent, the \
         verifier and cutover; only the gateway in front of the new Loki is a stand-in";

    fn addresses(&self) -> Addresses {
        let logs = &self.logs;
        Addresses {
            agent: logs.agent.url().to_owned(),
            alloy: logs.alloy.url().to_owned(),
            old_loki: logs.old_loki.url().to_owned(),
            new_loki: logs.new_loki.url().to_owned(),
            gateway: logs.gateway.url(),
            old_grafana: logs.old_grafana.url().to_owned(),
            new_grafana: logs.new_grafana.url().to_owned(),
            datasource: logs.new_grafana.datasource().to_owned(),
            token: logs.token.clone(),
        }
    }

    async fn deploy_alloy(&self) -> Result<()> {
        self.logs.deploy_alloy().await
    }

    async fn remove_alloy(&self) -> Result<()> {
        self.logs.remove_alloy().await
    }

    async fn retire_promtail(&self) -> Result<()> {
        self.logs.retire_promtail().await
    }

    async fn restore_promtail(&self) -> Result<()> {
        // Like `docker compose start`: nothing to do for one that runs.
        match self.logs.promtail.process().ended()? {
            Some(_) => self.logs.promtail.start_again().await,
            None => Ok(()),
        }
    }

    async fn stop_shipping(&self) -> Result<()> {
        self.logs.to_old_loki.set(Fault::BlackHole).await
    }

    async fn ship_again(&self) -> Result<()> {
        self.logs.to_old_loki.clear().await
    }

    async fn move_loki(&self) -> Result<String> {
        let before = self.logs.count_lines(&self.logs.old_loki).await?;
        self.logs.move_loki(self.world).await?;
        let after = self.logs.count_lines(&self.logs.new_loki).await?;
        ensure!(after >= before, "{before} lines were in the old Loki, {after} are in the new one");
        Ok(format!("{after} lines"))
    }

    async fn move_grafana(&self) -> Result<String> {
        self.logs.move_grafana().await?;
        Ok("grafana.db".to_owned())
    }

    async fn repoint_grafana(&self) -> Result<()> {
        self.logs.repoint_grafana().await
    }
}
