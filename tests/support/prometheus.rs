//! The distribution's Prometheus.

use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use url::Url;

use crate::process::Spec;
use crate::server::Server;
use crate::world::World;

const START: Duration = Duration::from_mins(1);
const STOP: Duration = Duration::from_secs(30);

/// A real Prometheus. What it can do as a server is in [`Server`].
#[derive(Debug)]
pub struct Prometheus {
    server: Server,
}

impl Deref for Prometheus {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Prometheus {
    /// Starts one that scrapes each of these jobs (name, `HOST:PORT`) twice a second and evaluates the rules of this file each second.
    ///
    /// # Errors
    /// It is not installed, can not be started, or is not ready within a minute.
    pub async fn start(world: &World, jobs: &[(&str, &str)], rules: &Path) -> Result<Self> {
        let job = |(name, address): &(&str, &str)| json!({"job_name": name, "static_configs": [{"targets": [address]}]});
        let config = json!({
            "global": {"scrape_interval": "500ms", "scrape_timeout": "450ms", "evaluation_interval": "1s"},
            "rule_files": [rules.display().to_string()],
            "scrape_configs": jobs.iter().map(job).collect::<Vec<_>>(),
        });
        let (file, port) = (world.write("prometheus.json", &config.to_string())?, world.port()?);
        let spec = Spec::new("prometheus", "prometheus").args([
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", world.folder("prometheus")?.display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
            "--log.level=warn".to_owned(),
        ]);
        let server = Server::new(world, spec, port, "/-/ready", (START, STOP));
        server.start_again().await.context("a Prometheus is needed: apt-get install prometheus, or tests/run")?;
        Ok(Self { server })
    }

    /// What an expression comes to now: one element for each series.
    ///
    /// # Errors
    /// There is no answer, or Prometheus can not evaluate it; the error holds its words.
    pub async fn query(&self, expr: &str) -> Result<Vec<Value>> {
        let url = Url::parse_with_params("http://prometheus/api/v1/query", [("query", expr)])?;
        let answer = self.get(&format!("/api/v1/query?{}", url.query().unwrap_or_default())).await?;
        ensure!(answer.status == 200, "{expr}: {}", answer.body);
        let body = answer.json()?;
        let result = body.pointer("/data/result").and_then(Value::as_array);
        result.cloned().with_context(|| format!("{expr}: {body}"))
    }
}
