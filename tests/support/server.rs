//! What all servers with an HTTP port have in common: they start, answer, freeze, end and start again.

use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::http::Answer;
use crate::process::{Process, Spec};
use crate::world::World;

/// How long one look at a server's readiness may take.
const LOOK: Duration = Duration::from_secs(2);

/// A server process with an HTTP port. Readiness is a status 200 at one path.
#[derive(Debug)]
pub struct Server {
    process: Arc<Process>,
    http: reqwest::Client,
    url: String,
    ready: &'static str,
    start: Duration,
    stop: Duration,
}

impl Server {
    /// A server that is not started yet: `spec` listens on `port` of 127.0.0.1 and is ready when `GET ready` is a 200, at most
    /// `start` after its start. It ends at most `stop` after it was told to.
    pub(crate) fn new(world: &World, spec: Spec, port: u16, ready: &'static str, times: (Duration, Duration)) -> Self {
        Self::at(world, spec, format!("http://127.0.0.1:{port}"), world.http().clone(), ready, times)
    }

    /// The same for one that listens at this base URL and is asked by a client of its own: over TLS, as somebody.
    pub(crate) fn at(
        world: &World,
        spec: Spec,
        url: String,
        http: reqwest::Client,
        ready: &'static str,
        (start, stop): (Duration, Duration),
    ) -> Self {
        Self { process: world.adopt(spec), http, url, ready, start, stop }
    }

    /// Its base URL, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// `HOST:PORT` of it.
    pub fn authority(&self) -> &str {
        self.url.split_once("://").map_or(&self.url, |(_, authority)| authority)
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

    /// Starts it, or starts it again on the same port and data; returns when it is ready.
    ///
    /// # Errors
    /// It runs already, or is not ready in time; the error holds the end of its log.
    pub async fn start_again(&self) -> Result<()> {
        self.process.start()?;
        self.wait_until_ready().await
    }

    /// Returns when it is ready.
    ///
    /// # Errors
    /// It is not in time; the error holds the end of its log.
    pub async fn wait_until_ready(&self) -> Result<()> {
        let url = format!("{}{}", self.url, self.ready);
        let what = format!("{} is ready", self.process.name());
        self.process
            .wait_until(self.start, &what, async || {
                let answer = Answer::to(self.http.get(&url).timeout(LOOK)).await?;
                ensure!(answer.status == 200, "{}: {}", answer.status, answer.body.trim());
                Ok(())
            })
            .await
    }

    /// SIGKILL to all of its processes; returns when they are gone.
    ///
    /// # Errors
    /// One of them will not go.
    pub async fn kill(&self) -> Result<()> {
        self.process.kill().await
    }

    /// Ends it in good order and waits for its end.
    ///
    /// # Errors
    /// It does not end in time.
    pub async fn stop(&self) -> Result<ExitStatus> {
        self.process.stop(self.stop).await
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

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }
}

/// Copies a folder with everything in it, as `cp -a` does.
pub(crate) async fn copy_folder(world: &World, from: &Path, to: &Path) -> Result<()> {
    let spec = Spec::new("cp", "cp").arg("-a").arg(format!("{}/.", from.display())).arg(to.display().to_string());
    let copied = world.run(spec, Duration::from_mins(1)).await?;
    ensure!(copied.code == 0, "{} can not be copied: {}", from.display(), copied.stderr);
    Ok(())
}
