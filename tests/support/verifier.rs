//! The product's own binaries: a running `probe verifier`, and `cutover` against it.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::Value;

use crate::binary::binary;
use crate::http::Answer;
use crate::process::{Output, Process, Spec};
use crate::world::{Supervisor, World};

const START: Duration = Duration::from_secs(45);
const DOCUMENT: &str = "migration.yaml";
const STOP: Duration = Duration::from_secs(10);
const COMMAND: Duration = Duration::from_mins(2);

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Look.
    Read,
    /// Move phases.
    Operate,
    /// Approve what others asked for.
    Approve,
    /// Report for a `heartbeat` probe.
    Heartbeat,
}

impl Role {
    const ALL: [Self; 4] = [Self::Read, Self::Operate, Self::Approve, Self::Heartbeat];

    fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Approve => "approve",
            Self::Heartbeat => "heartbeat",
        }
    }

    fn token(self) -> String {
        format!("test-token-of-{}", self.word())
    }
}

/// A running `probe verifier` with one token for each role.
#[derive(Debug)]
pub struct Verifier {
    supervisor: Arc<Supervisor>,
    http: reqwest::Client,
    process: Arc<Process>,
    cutover: &'static str,
    document: PathBuf,
    state: PathBuf,
    url: String,
}

impl Verifier {
    /// Starts the verifier on this Migration document; returns when it answers (not: when it is ready).
    ///
    /// # Errors
    /// The binary is missing or stale, or it does not answer within 45 s.
    pub async fn start(world: &World, migration: &str) -> Result<Self> {
        Self::start_with(world, migration, &[]).await
    }

    /// Like [`Verifier::start`], with environment variables for the document's secrets.
    ///
    /// # Errors
    /// As [`Verifier::start`].
    pub async fn start_with(world: &World, migration: &str, env: &[(&str, &str)]) -> Result<Self> {
        let folder = world.folder("verifier")?;
        Self::launch(world, "probe", migration, env, (folder.clone(), folder.join("state")), &[]).await
    }

    /// A verifier that keeps its ledger under this name in the cluster of a kubeconfig, in the namespace `default`. It is started, and
    /// answers once it holds the Lease: [`Verifier::answers`]. `more` are further flags.
    ///
    /// # Errors
    /// The binary is missing or stale.
    pub fn launch_in_cluster(world: &World, migration: &str, kubeconfig: &Path, name: &str, more: &[&str]) -> Result<Self> {
        let folder = world.folder("verifier")?;
        let env = [("KUBECONFIG", &*kubeconfig.display().to_string())];
        let state = [&["--kubernetes.namespace", "default", "--state.kubernetes", name], more].concat();
        std::fs::write(folder.join(DOCUMENT), migration)?;
        Self::spawn(world, "probe", &env, (&folder, &state))
    }

    /// The same, which also takes its document from there: the Migration of this name.
    ///
    /// # Errors
    /// The binary is missing or stale.
    pub fn launch_for_migration(world: &World, kubeconfig: &Path, name: &str) -> Result<Self> {
        Self::launch_for_migration_in(world, kubeconfig, ("default", name), &[])
    }

    /// The same in another namespace, with environment variables for the document's secrets.
    ///
    /// # Errors
    /// The binary is missing or stale.
    pub fn launch_for_migration_in(
        world: &World,
        kubeconfig: &Path,
        (namespace, name): (&str, &str),
        env: &[(&str, &str)],
    ) -> Result<Self> {
        let folder = world.folder("verifier")?;
        let kubeconfig = kubeconfig.display().to_string();
        let env: Vec<_> = env.iter().copied().chain([("KUBECONFIG", kubeconfig.as_str())]).collect();
        let from = ["--kubernetes.namespace", namespace, "--state.kubernetes", name, "--config.migration", name];
        Self::spawn(world, "probe", &env, (&folder, &from))
    }

    /// Like [`Verifier::start`], asking the cluster of this kubeconfig about tokens that are not its own.
    ///
    /// # Errors
    /// As [`Verifier::start`].
    pub async fn start_asking(world: &World, migration: &str, kubeconfig: &Path) -> Result<Self> {
        let folder = world.folder("verifier")?;
        let env = [("KUBECONFIG", &*kubeconfig.display().to_string())];
        let places = (folder.clone(), folder.join("state"));
        Self::launch(world, "probe", migration, &env, places, &["--web.kubernetes.auth"]).await
    }

    /// Like [`Verifier::start`], with the `scripted` checks of [`crate::scripted`] in its registry.
    ///
    /// # Errors
    /// As [`Verifier::start`].
    pub async fn start_scripted(world: &World, migration: &str) -> Result<Self> {
        let folder = world.folder("verifier")?;
        Self::launch(world, "probe-scripted", migration, &[], (folder.clone(), folder.join("state")), &[]).await
    }

    /// Like [`Verifier::start_scripted`], with its ledger in this folder.
    ///
    /// # Errors
    /// As [`Verifier::start`].
    pub async fn start_scripted_in(world: &World, migration: &str, state: &Path) -> Result<Self> {
        let folder = world.folder("verifier")?;
        Self::launch(world, "probe-scripted", migration, &[], (folder, state.to_owned()), &[]).await
    }

    async fn launch(
        world: &World,
        program: &str,
        migration: &str,
        env: &[(&str, &str)],
        (folder, state): (PathBuf, PathBuf),
        more: &[&str],
    ) -> Result<Self> {
        let state_dir = state.display().to_string();
        std::fs::write(folder.join(DOCUMENT), migration)?;
        let flags = [&["--state.dir", &*state_dir], more].concat();
        let verifier = Self::spawn(world, program, env, (&folder, &flags))?;
        verifier.answers().await?;
        Ok(Self { state, ..verifier })
    }

    fn spawn(world: &World, program: &str, env: &[(&str, &str)], (folder, from): (&Path, &[&str])) -> Result<Self> {
        let binary = binary(program)?;
        let (document, tokens) = (folder.join(DOCUMENT), folder.join("tokens"));
        let lines = Role::ALL.map(|role| format!("test-{word} {word} {}\n", role.token(), word = role.word()));
        std::fs::write(&tokens, lines.concat())?;
        let address = format!("127.0.0.1:{}", world.port()?);
        let mut spec = Spec::new("verifier", binary);
        spec = spec.arg("verifier");
        if document.exists() {
            spec = spec.arg("--config.file").arg(document.display().to_string());
        }
        spec = spec.args(from.iter().copied());
        spec = spec.arg("--web.listen-address").arg(address.as_str());
        spec = spec.arg("--web.token.file").arg(tokens.display().to_string());
        for (name, value) in env {
            spec = spec.env(*name, *value);
        }
        let process = world.start(spec)?;
        Ok(Self {
            supervisor: world.supervisor(),
            http: world.http().clone(),
            process,
            cutover: if program == "probe" { "cutover" } else { "cutover-scripted" },
            document,
            state: PathBuf::new(),
            url: format!("http://{address}"),
        })
    }

    /// Its base URL, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its address.
    pub fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap_or(&self.url)
    }

    /// Its Migration document.
    pub fn document(&self) -> &Path {
        &self.document
    }

    /// The folder that holds its ledger, if it is in a folder.
    pub fn state_dir(&self) -> &PathBuf {
        &self.state
    }

    /// The process, for its logs and its id.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The token that has this role.
    pub fn token(&self, role: Role) -> String {
        role.token()
    }

    /// Replaces the Migration document. The verifier notices by itself, or at once by [`Verifier::reload`].
    ///
    /// # Errors
    /// It can not be written.
    pub fn write_migration(&self, migration: &str) -> Result<()> {
        let next = self.document.with_extension("next");
        std::fs::write(&next, migration)?;
        Ok(std::fs::rename(next, &self.document)?)
    }

    /// SIGHUP: reads the document again.
    pub fn reload(&self) {
        self.process.signal(Signal::HUP);
    }

    /// SIGKILL; returns when it is gone.
    ///
    /// # Errors
    /// It will not go.
    pub async fn kill9(&self) -> Result<()> {
        self.process.kill().await
    }

    /// SIGTERM, and waits for its end.
    ///
    /// # Errors
    /// It does not end within 10 s.
    pub async fn sigterm(&self) -> Result<ExitStatus> {
        self.process.stop(STOP).await
    }

    /// SIGSTOP.
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

    /// Starts it again, on the same port, document and state; returns when it answers.
    ///
    /// # Errors
    /// It runs already, or does not answer within 45 s.
    pub async fn start_again(&self) -> Result<()> {
        self.process.start()?;
        self.answers().await
    }

    /// `GET path`, with the token for reading.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.request(Method::GET, path, Some(Role::Read), None).await
    }

    /// `POST path`, with the operator's token.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.request(Method::POST, path, Some(Role::Operate), Some(body)).await
    }

    /// Any request, as any role or as nobody.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn request(&self, method: Method, path: &str, role: Option<Role>, body: Option<&Value>) -> Result<Answer> {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(role) = role {
            request = request.bearer_auth(role.token());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        Answer::to(request).await
    }

    /// Runs `cutover` against this verifier, as the operator and without a terminal.
    ///
    /// # Errors
    /// The binary is missing or stale, or it still runs after two minutes. An exit code is no error.
    pub async fn cutover(&self, args: &[&str]) -> Result<Output> {
        self.cutover_as(Role::Operate, args).await
    }

    /// Like [`Verifier::cutover`], with another role's token.
    ///
    /// # Errors
    /// As [`Verifier::cutover`].
    pub async fn cutover_as(&self, role: Role, args: &[&str]) -> Result<Output> {
        self.supervisor.adopt(self.cutover_spec(role, args)?).run(COMMAND).await
    }

    /// `cutover` against this verifier, to be started: with this role's token, the verifier's own document and a journal beside
    /// that.
    ///
    /// # Errors
    /// The binary is missing or stale.
    pub fn cutover_spec(&self, role: Role, args: &[&str]) -> Result<Spec> {
        Ok(self.in_its_environment(Spec::new("cutover", binary(self.cutover)?).args(args.iter().copied()), role))
    }

    fn in_its_environment(&self, spec: Spec, role: Role) -> Spec {
        let home = self.document.parent().unwrap_or(&self.document);
        spec.env("PHASEGATE_SERVER", self.url.as_str())
            .env("PHASEGATE_TOKEN", role.token())
            .env("PHASEGATE_FILE", self.document.display().to_string())
            .env("XDG_STATE_HOME", home.join("journal").display().to_string())
    }

    /// `script`, which runs a command line on a terminal of its own, in the environment of [`Verifier::cutover_spec`]; and the
    /// program that such a line begins with.
    ///
    /// # Errors
    /// The binary is missing or stale.
    pub fn cutover_in(&self, role: Role) -> Result<(Spec, String)> {
        let program = binary(self.cutover)?.display().to_string();
        Ok((self.in_its_environment(Spec::new("script", "script"), role), program))
    }

    /// Waits until it answers (not: until it is ready).
    ///
    /// # Errors
    /// It does not within 45 s: the time of a Lease that was not given back is in it.
    pub async fn answers(&self) -> Result<()> {
        let look = async || {
            let answer = self.get("/-/healthy").await?;
            ensure!(answer.status == 200, "{}: {}", answer.status, answer.body.trim());
            Ok(())
        };
        self.process.wait_until(START, "the verifier answers", look).await
    }
}
