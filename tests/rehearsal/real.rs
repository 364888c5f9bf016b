//! The log path with real servers.

use anyhow::{Result, ensure};
use tests::{Agent, Fault, Line, LogPath, Loki, World, now};

use crate::stack::{Addresses, Stack};

pub(crate) struct Real<'w> {
    world: &'w World,
    logs: LogPath,
    /// Services of the node, which write a line each half second.
    _services: [Agent; 2],
}

impl<'w> Real<'w> {
    pub(crate) async fn start(world: &'w World) -> Result<Self> {
        let logs = LogPath::start(world).await?;
        let socket = logs.journal.socket().display().to_string();
        let service = async |name: &str| {
            let flags = ["--every", "500ms", "--journal.socket", &socket, "--identifier", name, "--service", name];
            Agent::start(world, name, &flags).await
        };
        let services = [service("gitops-sync").await?, service("system-metrics").await?];
        push_history(&logs.old_loki).await?;
        Ok(Self { world, logs, _services: services })
    }
}

/// Twenty hours of the past, as Promtail has shipped it, oldest lines first.
async fn push_history(loki: &Loki) -> Result<()> {
    const HOUR: i64 = 3_600_000_000_000;
    let begin = now() / HOUR * HOUR - 20 * HOUR;
    for (service, of_each_hour) in [("gitops-sync", 2), ("system-metrics", 30)] {
        let line = |nth| Line::new(begin + nth * HOUR / of_each_hour, format!("{service} said {nth}"));
        let lines: Vec<Line> = (0..20 * of_each_hour).map(line).collect();
        loki.push(&[("job", "systemd-journal"), ("service", service)], &lines).await?;
    }
    loki.flush().await
}

impl Stack for Real<'_> {
    const PARTS: &'static str = "all of it is real: journald, Promtail, Alloy, both Lokis, both Grafanas, both PostgreSQLs, the agent, the \
         verifier and cutover; only the gateway in front of the new Loki is a stand-in";
    const COUNTS: bool = true;

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
            old_loki_of_alloy: logs.to_old_loki.url().replace("http://", ""),
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

    async fn copy_loki(&self) -> Result<String> {
        let before = self.logs.count_lines(&self.logs.old_loki).await?;
        self.logs.copy_loki(self.world).await?;
        let after = self.logs.count_lines(&self.logs.new_loki).await?;
        ensure!(after >= before, "{before} lines were in the old Loki, {after} are in the new one");
        Ok(format!("{after} lines"))
    }

    async fn ship_to_old_loki(&self) -> Result<()> {
        self.logs.ship_to_old_loki().await
    }

    async fn ship_to_new_loki(&self) -> Result<()> {
        self.logs.ship_to_new_loki().await
    }

    async fn move_grafana(&self) -> Result<String> {
        self.logs.move_grafana().await?;
        Ok("grafana.db".to_owned())
    }

    async fn repoint_grafana(&self) -> Result<()> {
        self.logs.repoint_grafana().await
    }
}
