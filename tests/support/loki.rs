//! Loki 3.6.3, the real single binary, on a folder of its own.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::http::Answer;
use crate::process::Spec;
use crate::server::{Server, copy_folder};
use crate::world::World;
use crate::{stack, wait_until};

const START: Duration = Duration::from_mins(1);
const STOP: Duration = Duration::from_secs(30);
/// Where index, write-ahead log and the rest are.
const DATA: &str = "data";
const CHUNKS: &str = "chunks";

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

/// A real Loki. What it can do as a server is in [`Server`].
#[derive(Debug)]
pub struct Loki {
    server: Server,
    folder: PathBuf,
}

impl Deref for Loki {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Loki {
    /// Starts an empty Loki; returns when it is ready.
    ///
    /// # Errors
    /// It can not be built or started, or is not ready within a minute.
    pub async fn start(world: &World) -> Result<Self> {
        Self::start_with(world, json!({})).await
    }

    /// The same with these blocks of its configuration, in the place of its defaults.
    ///
    /// # Errors
    /// It can not be built or started, or is not ready within a minute.
    pub async fn start_with(world: &World, blocks: Value) -> Result<Self> {
        let binary = stack::binary("loki").await?;
        let (http, grpc) = (world.port()?, world.port()?);
        let folder = world.folder("loki")?;
        let file = folder.join("config.json");
        let mut config = config(&folder, http, grpc);
        if let (Value::Object(config), Value::Object(blocks)) = (&mut config, blocks) {
            config.extend(blocks);
        }
        std::fs::write(&file, config.to_string())?;
        let spec = Spec::new("loki", binary).arg(format!("-config.file={}", file.display()));
        let loki = Self { server: Server::new(world, spec, http, "/ready", (START, STOP)), folder };
        loki.start_again().await?;
        Ok(loki)
    }

    /// Puts another Loki's data in the place of its own, as an operator copies a volume. Both are stopped meanwhile, in good order,
    /// this one first: a running Loki has not written all that it holds, and what the other takes until then is in the copy.
    ///
    /// # Errors
    /// One of them does not stop or start again, or the data can not be copied.
    pub async fn take_over(&self, world: &World, other: &Self) -> Result<()> {
        self.stop().await?;
        other.stop().await?;
        for name in [DATA, CHUNKS] {
            let (from, to) = (other.folder.join(name), self.folder.join(name));
            std::fs::remove_dir_all(&to)?;
            std::fs::create_dir(&to)?;
            copy_folder(world, &from, &to).await?;
        }
        tokio::try_join!(self.start_again(), other.start_again()).map(|_| ())
    }

    /// Puts a copy of what another, running Loki has in its store in the place of its own data, as a careless operator does:
    /// what the other has not written yet is not in it.
    ///
    /// # Errors
    /// It does not stop or start again, or the data can not be copied.
    pub async fn take_over_carelessly(&self, world: &World, other: &Self) -> Result<()> {
        self.stop().await?;
        for name in [DATA, CHUNKS] {
            std::fs::remove_dir_all(self.folder.join(name))?;
            std::fs::create_dir(self.folder.join(name))?;
        }
        copy_folder(world, &other.folder.join(CHUNKS), &self.folder.join(CHUNKS)).await?;
        self.start_again().await
    }

    /// Destroys all that it has taken, as somebody who deletes the volume's files does. It is stopped meanwhile.
    ///
    /// # Errors
    /// It does not stop or start again, or the files can not be deleted.
    pub async fn destroy(&self) -> Result<()> {
        self.stop().await?;
        for name in [DATA, CHUNKS] {
            let folder = self.folder.join(name);
            std::fs::remove_dir_all(&folder)?;
            std::fs::create_dir(&folder)?;
        }
        self.start_again().await
    }

    /// Pushes lines to the stream of these labels.
    ///
    /// # Errors
    /// Loki refuses them; the error holds its words.
    pub async fn push(&self, labels: &[(&str, &str)], lines: &[Line]) -> Result<()> {
        let stream: BTreeMap<_, _> = labels.iter().copied().collect();
        let values: Vec<_> = lines.iter().map(|line| json!([line.at.to_string(), line.text])).collect();
        let body = json!({"streams": [{"stream": stream, "values": values}]});
        let answer = Answer::to(self.http().post(format!("{}/loki/api/v1/push", self.url())).json(&body)).await?;
        ensure!(answer.status == 204, "Loki refused the push ({}): {}", answer.status, answer.body.trim());
        Ok(())
    }

    /// Writes what it holds to its store. Until then it shows no line that was pushed with a time more than three hours ago.
    ///
    /// # Errors
    /// It does not answer, or does not take it.
    pub async fn flush(&self) -> Result<()> {
        let answer = Answer::to(self.http().post(format!("{}/flush", self.url()))).await?;
        ensure!(answer.status == 204, "Loki refused the flush ({}): {}", answer.status, answer.body.trim());
        Ok(())
    }

    /// Up to 5,000 lines that match a `LogQL` stream query from `start` to before `end` (nanoseconds), oldest first.
    ///
    /// # Errors
    /// Loki refuses the query, or answers something else than streams.
    pub async fn lines(&self, query: &str, start: i64, end: i64) -> Result<Vec<Line>> {
        self.read(query, &[("start", &start.to_string()), ("end", &end.to_string())]).await
    }

    /// Up to 5,000 lines of the last hour that match a `LogQL` stream query, oldest first.
    ///
    /// # Errors
    /// Loki refuses the query, or answers something else than streams.
    pub async fn recent_lines(&self, query: &str) -> Result<Vec<Line>> {
        self.read(query, &[]).await
    }

    async fn read(&self, query: &str, span: &[(&str, &str)]) -> Result<Vec<Line>> {
        let mut url = url(&format!("{}/loki/api/v1/query_range", self.url()))?;
        url.query_pairs_mut()
            .append_pair("query", query)
            .extend_pairs(span)
            .append_pair("limit", "5000")
            .append_pair("direction", "forward");
        let answer = Answer::to(self.http().get(url)).await?;
        ensure!(answer.status == 200, "Loki refused the query ({}): {}", answer.status, answer.body.trim());
        let reply = answer.json()?;
        let streams = reply.pointer("/data/result").and_then(Value::as_array).context("no streams in Loki's answer")?;
        let values = streams.iter().filter_map(|stream| stream.get("values")?.as_array()).flatten();
        let mut lines = values.map(line).collect::<Result<Vec<_>>>()?;
        lines.sort();
        Ok(lines)
    }

    /// How many lines of the last day match a `LogQL` stream query.
    ///
    /// # Errors
    /// Loki refuses the query, or answers something else than a number.
    pub async fn count(&self, query: &str) -> Result<u64> {
        let mut url = url(&format!("{}/loki/api/v1/query", self.url()))?;
        url.query_pairs_mut().append_pair("query", &format!("sum(count_over_time({query}[24h])) or vector(0)"));
        let answer = Answer::to(self.http().get(url)).await?;
        ensure!(answer.status == 200, "Loki refused the query ({}): {}", answer.status, answer.body.trim());
        let reply = answer.json()?;
        let number = reply.pointer("/data/result/0/value/1").and_then(Value::as_str).context("no number in Loki's answer")?;
        Ok(number.parse()?)
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
            "path_prefix": at(DATA),
            "replication_factor": 1,
            "ring": {"kvstore": {"store": "inmemory"}},
            "storage": {"filesystem": {"chunks_directory": at(CHUNKS), "rules_directory": at("rules")}},
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
