//! Promtail 3.6.3, the old side's log collector.

use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::process::Spec;
use crate::server::Server;
use crate::stack;
use crate::world::World;

const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(30);

/// A real Promtail that ships a journal to one Loki, with the pipeline of the old side: units of its own list and the identifier
/// `gitops-sync` are kept, everything else is dropped, the agent's lines included; `service` and `level` come from a JSON body.
/// What it can do as a server is in [`Server`].
#[derive(Debug)]
pub struct Promtail {
    server: Server,
}

impl Deref for Promtail {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Promtail {
    /// Starts one that reads the journal in `journal` and ships to the Loki at `loki`; returns when it is ready.
    ///
    /// # Errors
    /// It can not be built or started, or is not ready within 30 s.
    pub async fn start(world: &World, journal: &Path, loki: &str) -> Result<Self> {
        let binary = stack::binary("promtail").await?;
        let port = world.port()?;
        let folder = world.folder("promtail")?;
        let file = folder.join("config.json");
        let relabel = |from: &str, regex: &str, to: &str| json!({"source_labels": [from], "regex": regex, "target_label": to, "action": "replace", "replacement": "$1"});
        let config = json!({
            "server": {"http_listen_address": "127.0.0.1", "http_listen_port": port, "grpc_listen_port": 0},
            "positions": {"filename": folder.join("positions.yaml"), "sync_period": "1s"},
            "clients": [{"url": format!("{loki}/loki/api/v1/push"), "batchwait": "100ms", "backoff_config": {"max_period": "2s", "max_retries": 0}}],
            "scrape_configs": [{
                "job_name": "journal",
                "journal": {"path": journal, "max_age": "48h", "labels": {"job": "systemd-journal", "repo": "homelab"}},
                "relabel_configs": [
                    relabel("__journal__systemd_unit", r"(.+?)(?:@.*)?\.service", "service"),
                    relabel("__journal_syslog_identifier", "(gitops-sync)", "service"),
                    relabel("__journal_syslog_identifier", "(.+)", "syslog_identifier"),
                    relabel("__journal_priority_keyword", "(.+)", "level"),
                    {"source_labels": ["service"], "regex": "gitops-sync|system-metrics|proxy", "action": "keep"},
                ],
                "pipeline_stages": [
                    {"json": {"expressions": {"level": "level", "service": "service"}}},
                    {"labels": {"level": "", "service": ""}},
                ],
            }],
        });
        std::fs::write(&file, config.to_string())?;
        let spec = Spec::new("promtail", binary).arg(format!("-config.file={}", file.display()));
        let promtail = Self { server: Server::new(world, spec, port, "/ready", (START, STOP)) };
        promtail.start_again().await?;
        Ok(promtail)
    }
}
