//! Loki 3.6.3, the real single binary, on a folder of its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::http::Answer;
use crate::process::{Process, Spec};
use crate::world::World;
use crate::{stack, wait_until};

const START: Duration = Duration::from_mins(1);
const STOP: Duration = Duration::from_secs(30);

/// A log line and its timestamp.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// Nanoseconds since the Unix epoch.
    pub at: i64,
    /// The text.
    pub text: String,
}

impl Line {
    /// A line of that text, at `at` nanoseconds since the Unix epoch.
    pub fn new(at: i64, text: impl Into<String>) -> Self {
        Self { at, text: text.into() }
    }
}

/// A real Loki.
#[derive(Debug)]
pub struct Loki {
    process: Arc<Process>,
    http: reqwest::Client,
    url: String,
}

impl Loki {
    /// Starts an empty Loki; returns when it is ready.
    ///
    /// # Errors
    /// It can not be built or started, or is not ready within a minute.
    pub async fn start(world: &World) -> Result<Self> {
        let binary = stack::loki().await?;
        let (http, grpc) = (world.port()?, world.port()?);
        let folder = world.folder("loki")?;
        let file = folder.join("config.json");
        std::fs::write(&file, config(&folder, http, grpc).to_string())?;
        let process = world.start(Spec::new("loki", binary).arg(format!("-config.file={}", file.display())))?;
        let loki = Self { process, http: world.http().clone(), url: format!("http://127.0.0.1:{http}") };
        loki.ready().await?;
        Ok(loki)
    }

    /// Its base URL, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The process, for its logs and its id.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// It will not go.
    pub async fn kill(&self) -> Result<()> {
        self.process.kill().await
    }

    /// SIGTERM, and waits for its end.
    ///
    /// # Errors
    /// It does not end within 30 s.
    pub async fn stop(&self) -> Result<ExitStatus> {
        self.process.stop(STOP).await
    }

    /// Starts it again, on the same port and data; returns when it is ready.
    ///
    /// # Errors
    /// It runs already, or is not ready within a minute.
    pub async fn start_again(&self) -> Result<()> {
        self.process.start()?;
        self.ready().await
    }

    /// SIGSTOP: it accepts connections and never answers.
    ///
    /// # Errors
    /// It does not run.
    pub async fn freeze(&self) -> Result<()> {
        self.process.freeze().await
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.process.thaw();
    }

    /// Pushes lines to the stream of these labels.
    ///
    /// # Errors
    /// Loki refuses them; the error holds its words.
    pub async fn push(&self, labels: &[(&str, &str)], lines: &[Line]) -> Result<()> {
        let stream: BTreeMap<_, _> = labels.iter().copied().collect();
        let values: Vec<_> = lines.iter().map(|line| json!([line.at.to_string(), line.text])).collect();
        let body = json!({"streams": [{"stream": stream, "values": values}]});
        let answer = Answer::to(self.http.post(format!("{}/loki/api/v1/push", self.url)).json(&body)).await?;
        ensure!(answer.status == 204, "Loki refused the push ({}): {}", answer.status, answer.body.trim());
        Ok(())
    }

    /// Up to 5,000 lines that match a `LogQL` stream query from `start` to before `end` (nanoseconds), oldest first.
    ///
    /// # Errors
    /// Loki refuses the query, or answers something else than streams.
    pub async fn lines(&self, query: &str, start: i64, end: i64) -> Result<Vec<Line>> {
        let mut url = url(&format!("{}/loki/api/v1/query_range", self.url))?;
        url.query_pairs_mut()
            .append_pair("query", query)
            .append_pair("start", &start.to_string())
            .append_pair("end", &end.to_string())
            .append_pair("limit", "5000")
            .append_pair("direction", "forward");
        let answer = Answer::to(self.http.get(url)).await?;
        ensure!(answer.status == 200, "Loki refused the query ({}): {}", answer.status, answer.body.trim());
        let reply = answer.json()?;
        let streams = reply.pointer("/data/result").and_then(Value::as_array).context("no streams in Loki's answer")?;
        let values = streams.iter().filter_map(|stream| stream.get("values")?.as_array()).flatten();
        let mut lines = values.map(line).collect::<Result<Vec<_>>>()?;
        lines.sort();
        Ok(lines)
    }

    /// Like [`Loki::lines`], until there are `count` of them.
    ///
    /// # Errors
    /// After `deadline` there are not; the error says how many there are.
    pub async fn wait_for_lines(&self, query: &str, span: (i64, i64), count: usize, deadline: Duration) -> Result<Vec<Line>> {
        wait_until(deadline, &format!("{count} lines of {query}"), async || {
            let lines = self.lines(query, span.0, span.1).await?;
            ensure!(lines.len() == count, "there are {}", lines.len());
            Ok(lines)
        })
        .await
    }

    async fn ready(&self) -> Result<()> {
        let url = format!("{}/ready", self.url);
        self.process
            .wait_until(START, "Loki is ready", async || {
                let answer = Answer::to(self.http.get(&url).timeout(Duration::from_secs(2))).await?;
                ensure!(answer.status == 200, "{}: {}", answer.status, answer.body.trim());
                Ok(())
            })
            .await
    }
}

fn url(text: &str) -> Result<reqwest::Url> {
    Ok(reqwest::Url::parse(text)?)
}

fn line(value: &Value) -> Result<Line> {
    let (at, text) = serde_json::from_value::<(String, String)>(value.clone())?;
    Ok(Line { at: at.parse()?, text })
}

/// JSON is YAML. Two settings make it ready in 0.3 s instead of 16 to 30 s: no waiting period for a ring of one, and a
/// querier that asks the frontend directly, not through a scheduler that is looked for every 10 s.
fn config(folder: &Path, http: u16, grpc: u16) -> Value {
    let at = |name: &str| folder.join(name).display().to_string();
    json!({
        "auth_enabled": false,
        "server": {
            "http_listen_address": "127.0.0.1", "http_listen_port": http,
            "grpc_listen_address": "127.0.0.1", "grpc_listen_port": grpc,
        },
        "common": {
            "instance_addr": "127.0.0.1",
            "path_prefix": at("data"),
            "replication_factor": 1,
            "ring": {"kvstore": {"store": "inmemory"}},
            "storage": {"filesystem": {"chunks_directory": at("chunks"), "rules_directory": at("rules")}},
        },
        "ingester": {"lifecycler": {"min_ready_duration": "0s", "final_sleep": "0s"}},
        "frontend_worker": {"frontend_address": format!("127.0.0.1:{grpc}")},
        "schema_config": {"configs": [{
            "from": "2024-01-01", "store": "tsdb", "object_store": "filesystem", "schema": "v13",
            "index": {"prefix": "index_", "period": "24h"},
        }]},
        "analytics": {"reporting_enabled": false},
    })
}
