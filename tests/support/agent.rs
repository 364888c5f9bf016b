//! A running `probe agent`.

use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::binary::binary;
use crate::http::Answer;
use crate::process::{Process, Spec};
use crate::world::World;

const START: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(10);

/// A running `probe agent`.
#[derive(Debug)]
pub struct Agent {
    process: Arc<Process>,
    http: reqwest::Client,
    url: String,
}

impl Agent {
    /// Starts an agent of this node, with more flags; returns when it answers.
    ///
    /// # Errors
    /// The binary is missing or stale, or it does not answer within 20 s.
    pub async fn start(world: &World, node: &str, flags: &[&str]) -> Result<Self> {
        let address = format!("127.0.0.1:{}", world.port()?);
        let spec = Spec::new(format!("agent-{node}"), binary("probe")?)
            .args(["agent", "--node", node, "--web.listen-address", &address])
            .args(flags.iter().copied());
        let process = world.start(spec)?;
        let agent = Self { process, http: world.http().clone(), url: format!("http://{address}") };
        agent.answers().await?;
        Ok(agent)
    }

    /// Its base URL, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The process, for its logs and its id.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// `GET path`.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        Answer::to(self.http.get(format!("{}{path}", self.url))).await
    }

    /// SIGTERM, and waits for its end.
    ///
    /// # Errors
    /// It does not end within 10 s.
    pub async fn sigterm(&self) -> Result<ExitStatus> {
        self.process.stop(STOP).await
    }

    /// Starts it again, on the same port and with the same flags; returns when it answers.
    ///
    /// # Errors
    /// It runs already, or does not answer within 20 s.
    pub async fn start_again(&self) -> Result<()> {
        self.process.start()?;
        self.answers().await
    }

    async fn answers(&self) -> Result<()> {
        let look = async || {
            let answer = self.get("/-/healthy").await?;
            ensure!(answer.status == 200, "{}: {}", answer.status, answer.body.trim());
            Ok(())
        };
        self.process.wait_until(START, "the agent answers", look).await
    }
}
