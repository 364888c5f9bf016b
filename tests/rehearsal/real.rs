//! The log path with real servers.

use anyhow::{Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Agent, Fault, Grafana, Line, LogPath, Loki, World, now};

use crate::stack::{Addresses, Stack};

pub(crate) struct Real<'w> {
    world: &'w World,
    logs: LogPath,
    /// A token of the role Editor of the old Grafana.
    editor: String,
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
        let editor = fill_grafana(&logs.old_grafana).await?;
        Ok(Self { world, logs, editor, _services: services })
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

/// What people have in the old Grafana: a folder, dashboards by hand and from a file, a user, a team. A token for marks.
async fn fill_grafana(grafana: &Grafana) -> Result<String> {
    grafana.create("/api/folders", &json!({"uid": "node", "title": "The node"})).await?;
    let by_hand = json!({"dashboard": dashboard("homelab", grafana.datasource()), "folderUid": "node"});
    grafana.create("/api/dashboards/db", &by_hand).await?;
    std::fs::write(grafana.dashboards().join("from-a-file.json"), dashboard("from-a-file", grafana.datasource()).to_string())?;
    let user = json!({"login": "ann", "email": "ann@example.org", "password": "a-password-of-anns"});
    grafana.create("/api/admin/users", &user).await?;
    grafana.create("/api/teams", &json!({"name": "operators"})).await?;
    grafana.token("marks", "Editor").await
}

/// Lines of two services, their number, and a variable.
fn dashboard(uid: &str, datasource: &str) -> Value {
    let loki = json!({"type": "loki", "uid": datasource});
    let panel = |id: u64, kind: &str, title: &str, expr: &str| {
        let target = json!({"refId": "A", "expr": expr, "datasource": loki});
        json!({"id": id, "title": title, "type": kind, "datasource": loki, "targets": [target], "gridPos": {"h": 8, "w": 12, "x": 0, "y": id * 8}})
    };
    let panels = [
        panel(1, "logs", "Syncs", r#"{service="gitops-sync"}"#),
        panel(2, "timeseries", "Lines a minute", r#"sum by (service) (count_over_time({service=~"$service"}[$__interval]))"#),
    ];
    let service = json!({"name": "service", "type": "custom", "query": "gitops-sync,system-metrics", "current": {"value": "system-metrics"}});
    json!({"uid": uid, "title": format!("Dashboard {uid}"), "tags": ["homelab"], "schemaVersion": 38, "panels": panels, "templating": {"list": [service]}})
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
            editor: self.editor.clone(),
            new_grafana_files: logs.new_grafana.dashboards().display().to_string(),
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
        Ok("grafana.db and the files of its dashboards".to_owned())
    }

    async fn marks(&self) -> Result<Option<usize>> {
        let found = self.logs.new_grafana.call(Method::GET, "/api/annotations?tags=phasegate&limit=1000", None).await?;
        Ok(Some(found.as_array().map_or(0, Vec::len)))
    }

    async fn repoint_grafana(&self) -> Result<()> {
        self.logs.repoint_grafana().await
    }
}
