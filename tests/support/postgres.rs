//! PostgreSQL: a real cluster on a folder and a port of its own, of the distribution's version or another major one.

mod moves;
mod programs;
mod roles;

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls};

use crate::process::{Process, Spec, User};
use crate::wait::wait_until;
use crate::world::{Supervisor, World};

pub use programs::Major;

const INITDB: Duration = Duration::from_mins(1);
const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(30);
const RELOAD: Duration = Duration::from_secs(30);

/// Who is on each server besides the superuser: the application, and a reader of what it writes.
const ROLES: &str = "CREATE ROLE server LOGIN PASSWORD 'server'; CREATE ROLE grafana LOGIN PASSWORD 'grafana'";
const READER: &str = "ALTER DEFAULT PRIVILEGES FOR ROLE server GRANT SELECT ON TABLES TO grafana";

/// A real cluster with a database `homelab` that belongs to the role `server`, as in the migration that phasegate is
/// built for, and that the role `grafana` reads. Passwords are checked (SCRAM) and are the roles' own names, data are synced to the
/// disk, and transactions can be prepared.
#[derive(Debug)]
pub struct Postgres {
    process: Arc<Process>,
    port: u16,
    data: PathBuf,
    plan: Plan,
    supervisor: Arc<Supervisor>,
}

/// What a server is started with.
#[derive(Debug, Clone)]
struct Plan {
    /// The folder of its programs.
    bin: PathBuf,
    /// Settings of its own, as arguments.
    settings: Vec<String>,
    user: Option<User>,
}

impl Postgres {
    /// Makes a new cluster of the distribution's version and starts it; returns when `homelab` is there.
    ///
    /// # Errors
    /// PostgreSQL is not installed, or does not start within 30 s.
    pub async fn start(world: &World) -> Result<Self> {
        Self::make(world, Plan::new(world, programs::distribution()?, &[]).await?).await
    }

    /// The same in this major version.
    ///
    /// # Errors
    /// It can not be installed, or does not start within 30 s.
    pub async fn start_version(world: &World, major: Major) -> Result<Self> {
        Self::start_with(world, major, &[]).await
    }

    /// The same with further settings, as those that need a restart: `("shared_preload_libraries", "pg_stat_statements")`.
    ///
    /// # Errors
    /// It can not be installed, or does not start within 30 s.
    pub async fn start_with(world: &World, major: Major, settings: &[(&str, &str)]) -> Result<Self> {
        Self::make(world, Plan::new(world, programs::folder(major).await?, settings).await?).await
    }

    async fn make(world: &World, plan: Plan) -> Result<Self> {
        let folder = plan.folder(world)?;
        let password = folder.join("password");
        std::fs::write(&password, "postgres\n")?;
        let data = folder.join("data");
        let initdb = Spec::new("initdb", plan.bin.join("initdb"))
            .args(["--no-sync", "--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"])
            .arg(format!("--pwfile={}", password.display()))
            .arg(format!("--pgdata={}", data.display()))
            .user(plan.user);
        let made = world.run(initdb, INITDB).await?;
        ensure!(made.code == 0, "initdb failed ({}): {}{}", made.code, made.stdout, made.stderr);

        let postgres = Self::launch(world, plan, data)?;
        postgres.ready("postgres").await?;
        let superuser = postgres.connect_to("postgres", "postgres").await?;
        superuser.batch_execute(ROLES).await?;
        superuser.batch_execute("CREATE DATABASE homelab OWNER server").await?;
        postgres.connect_as_superuser().await?.batch_execute(READER).await?;
        Ok(postgres)
    }

    /// Starts a server on data that are there.
    fn launch(world: &World, plan: Plan, data: PathBuf) -> Result<Self> {
        let port = world.port()?;
        let server = Spec::new("postgres", plan.bin.join("postgres"))
            .arg("-D")
            .arg(data.display().to_string())
            .args(["-p", port.to_string().as_str()])
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "shared_buffers=16MB"])
            // In its folder, and not where a killed server leaves it behind.
            .args(["-c", "dynamic_shared_memory_type=mmap", "-c", "max_prepared_transactions=4"])
            .args(plan.settings.clone())
            .user(plan.user)
            // SIGTERM would wait for the clients to leave.
            .ends_by(Signal::INT);
        Ok(Self { process: world.start(server)?, port, data, plan, supervisor: world.supervisor() })
    }

    /// The application's own login: role `server`, database `homelab`.
    pub fn dsn(&self) -> String {
        self.url("server", "server", "homelab")
    }

    /// The superuser's login to `homelab`.
    pub fn superuser_dsn(&self) -> String {
        self.url("postgres", "postgres", "homelab")
    }

    /// Any other login.
    pub fn url(&self, role: &str, password: &str, database: &str) -> String {
        format!("postgres://{role}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its data directory, to be copied or put back while it is stopped.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Logs in as the application.
    ///
    /// # Errors
    /// Nobody answers, or the login is refused.
    pub async fn connect(&self) -> Result<Session> {
        self.connect_to("server", "homelab").await
    }

    /// Logs in to `homelab` as superuser.
    ///
    /// # Errors
    /// Nobody answers, or the login is refused.
    pub async fn connect_as_superuser(&self) -> Result<Session> {
        self.connect_to("postgres", "homelab").await
    }

    /// Logs in as any role to any database.
    ///
    /// # Errors
    /// Nobody answers, or the login is refused.
    pub async fn connect_to(&self, role: &str, database: &str) -> Result<Session> {
        connect(&self.url(role, role, database)).await
    }

    /// Sets something for the whole server (`ALTER SYSTEM`); returns when it holds for whoever logs in. Sessions that are open hear
    /// of it a moment later.
    ///
    /// # Errors
    /// There is no such setting or value, it needs a restart, or it does not come to hold within 30 s.
    pub async fn set(&self, name: &str, value: &str) -> Result<()> {
        self.alter(name, &format!("ALTER SYSTEM SET {name} = '{}'", value.replace('\'', "''"))).await
    }

    /// Takes back what [`Postgres::set`] did.
    ///
    /// # Errors
    /// As for [`Postgres::set`].
    pub async fn reset(&self, name: &str) -> Result<()> {
        self.alter(name, &format!("ALTER SYSTEM RESET {name}")).await
    }

    async fn alter(&self, name: &str, statement: &str) -> Result<()> {
        // A new session has the settings that the postmaster has, and the moment when that read them.
        let loaded = async || -> Result<String> {
            let session = self.connect_to("postgres", "postgres").await?;
            Ok(session.query_one("SELECT pg_conf_load_time()::text", &[]).await?.try_get(0)?)
        };
        let session = self.connect_to("postgres", "postgres").await?;
        session.batch_execute(statement).await.with_context(|| statement.to_owned())?;
        let before = loaded().await?;
        session.batch_execute("SELECT pg_reload_conf()").await?;
        wait_until(RELOAD, &format!("{statement} holds"), async || {
            ensure!(loaded().await? != before, "the server has not read its settings again");
            Ok(())
        })
        .await?;
        let fresh = self.connect_to("postgres", "postgres").await?;
        let row = fresh.query_one("SELECT pending_restart FROM pg_settings WHERE name = $1", &[&name]).await?;
        ensure!(!row.try_get::<_, bool>(0)?, "{name} needs a restart: start_with sets it");
        Ok(())
    }

    /// The process, for its logs and its id.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// SIGKILL to the postmaster and all of its children; returns when they are gone.
    ///
    /// # Errors
    /// One of them will not go.
    pub async fn kill(&self) -> Result<()> {
        self.process.kill().await
    }

    /// A fast shutdown: clients are disconnected, data are written.
    ///
    /// # Errors
    /// It does not end within 30 s.
    pub async fn stop(&self) -> Result<ExitStatus> {
        self.process.stop(STOP).await
    }

    /// Starts it again, on the same port and data; returns when `homelab` can be used.
    ///
    /// # Errors
    /// It runs already, or does not start within 30 s.
    pub async fn start_again(&self) -> Result<()> {
        self.process.start()?;
        self.ready("homelab").await
    }

    /// SIGSTOP to the postmaster and all of its children.
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

    async fn ready(&self, database: &str) -> Result<()> {
        let url = self.url("postgres", "postgres", database);
        let look = async || connect(&url).await.map(drop);
        self.process.wait_until(START, "PostgreSQL takes a login", look).await
    }
}

/// A login to PostgreSQL. Closed when dropped.
#[derive(Debug)]
pub struct Session {
    client: Client,
    _connection: JoinSet<Result<(), tokio_postgres::Error>>,
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

pub(crate) async fn connect(url: &str) -> Result<Session> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    Ok(Session { client, _connection: tasks })
}
