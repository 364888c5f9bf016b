//! PostgreSQL, the distribution's: a real cluster on a folder and a port of its own.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Signal, geteuid};
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls};

use crate::process::{Process, Spec, User};
use crate::world::World;

const INITDB: Duration = Duration::from_mins(1);
const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(30);

/// A real cluster with a database `homelab` that belongs to the role `server`, as in the migration that phasegate is
/// built for. Passwords are checked (SCRAM), data are synced to the disk.
#[derive(Debug)]
pub struct Postgres {
    process: Arc<Process>,
    port: u16,
    data: PathBuf,
}

impl Postgres {
    /// Makes a new cluster and starts it; returns when `homelab` is there.
    ///
    /// # Errors
    /// PostgreSQL is not installed, or does not start within 30 s.
    pub async fn start(world: &World) -> Result<Self> {
        let user = account()?;
        let folder = world.folder("postgres")?;
        if let Some(User { uid, gid }) = user {
            std::os::unix::fs::chown(&folder, Some(uid), Some(gid))?;
        }
        let password = folder.join("password");
        std::fs::write(&password, "postgres\n")?;
        let data = folder.join("data").display().to_string();

        let initdb = Spec::new("initdb", Self::program("initdb")?)
            .args(["--no-sync", "--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"])
            .arg(format!("--pwfile={}", password.display()))
            .arg(format!("--pgdata={data}"))
            .user(user);
        let made = world.run(initdb, INITDB).await?;
        ensure!(made.code == 0, "initdb failed ({}): {}{}", made.code, made.stdout, made.stderr);

        let port = world.port()?;
        let server = Spec::new("postgres", Self::program("postgres")?)
            .args(["-D", data.as_str(), "-p", port.to_string().as_str()])
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "shared_buffers=16MB"])
            // In its folder, and not where a killed server leaves it behind.
            .args(["-c", "dynamic_shared_memory_type=mmap"])
            .user(user)
            // SIGTERM would wait for the clients to leave.
            .ends_by(Signal::INT);
        let postgres = Self { process: world.start(server)?, port, data: data.into() };
        postgres.ready("postgres").await?;
        let postgres_database = connect(&postgres.url("postgres", "postgres", "postgres")).await?;
        postgres_database.batch_execute("CREATE ROLE server LOGIN PASSWORD 'server'").await?;
        postgres_database.batch_execute("CREATE DATABASE homelab OWNER server").await?;
        Ok(postgres)
    }

    /// Where one of PostgreSQL's programs is (`pg_dump`): in `PHASEGATE_PG_BIN`, or of the newest version that the
    /// distribution has, or on the `PATH`.
    ///
    /// # Errors
    /// It is nowhere.
    pub fn program(name: &str) -> Result<PathBuf> {
        let told = std::env::var_os("PHASEGATE_PG_BIN").map(PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = told.into_iter().chain(distribution()).chain(std::env::split_paths(&path));
        found.map(|folder| folder.join(name)).find(|program| program.is_file()).with_context(|| {
            format!("there is no {name}: apt-get install postgresql, or set PHASEGATE_PG_BIN; tests/run does the former")
        })
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
        connect(&self.dsn()).await
    }

    /// Logs in to `homelab` as superuser.
    ///
    /// # Errors
    /// Nobody answers, or the login is refused.
    pub async fn connect_as_superuser(&self) -> Result<Session> {
        connect(&self.superuser_dsn()).await
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

async fn connect(url: &str) -> Result<Session> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    Ok(Session { client, _connection: tasks })
}

/// Whom to run as: PostgreSQL refuses root, and a user id that has no account.
fn account() -> Result<Option<User>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let accounts = std::fs::read_to_string("/etc/passwd").context("reading /etc/passwd")?;
    let find = |name: &str| {
        let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some(User { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
    };
    let user = find("postgres").or_else(|| find("nobody"));
    Ok(Some(user.context("PostgreSQL does not run as root, and there is neither `postgres` nor `nobody`")?))
}

/// The folders of all versions that Debian has installed, newest first.
fn distribution() -> Vec<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut numbers: Vec<u32> = versions.filter_map(|version| version.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers.into_iter().rev().map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin"))).collect()
}
