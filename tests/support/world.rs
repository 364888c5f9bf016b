//! One test's world: a folder, ports, and every process that it started.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::TimeDelta;
use parking_lot::Mutex;

use crate::disk::Disk;
use crate::process::{Output, Process, Spec};
use crate::reaper::Reaper;

/// Below the ports that the kernel gives to outgoing connections, so that a server finds its port free again.
const PORTS: std::ops::Range<u16> = 15_000..32_000;

/// One test's world. Everything in it ends when it is dropped.
#[derive(Debug)]
pub struct World {
    http: reqwest::Client,
    supervisor: Arc<Supervisor>,
}

impl World {
    /// An empty world.
    ///
    /// # Errors
    /// The temporary folder can not be made, or the `reaper` is missing or stale.
    pub fn new() -> Result<Self> {
        // An error here only says that a provider is installed already.
        drop(rustls::crypto::ring::default_provider().install_default());
        let reaper = Arc::new(Reaper::start()?);
        std::fs::create_dir(reaper.folder().join("logs"))?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(30))
            .build()?;
        let supervisor = Arc::new(Supervisor { reaper, processes: Mutex::default(), clock: Mutex::default() });
        Ok(Self { http, supervisor })
    }

    /// Its folder. Gone with the world.
    pub fn dir(&self) -> &Path {
        self.supervisor.reaper.folder()
    }

    /// An HTTP client without redirects and proxies, 30 s per request.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// A loopback TCP port that nobody uses and that is handed out once per program.
    ///
    /// # Errors
    /// None is left.
    pub fn port(&self) -> Result<u16> {
        static HANDED_OUT: AtomicU16 = AtomicU16::new(0);
        let count = PORTS.end - PORTS.start;
        // Test programs that run side by side start at different places.
        let offset = u16::try_from(std::process::id().wrapping_mul(211) % u32::from(count))?;
        for _ in 0..count {
            let step = HANDED_OUT.fetch_add(1, Ordering::Relaxed) % count;
            let port = PORTS.start + u16::try_from((u32::from(offset) + u32::from(step)) % u32::from(count))?;
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                return Ok(port);
            }
        }
        Err(anyhow::anyhow!("no free loopback port in {PORTS:?}"))
    }

    /// Starts a process that lives no longer than this world.
    ///
    /// # Errors
    /// It can not be run.
    pub fn start(&self, spec: Spec) -> Result<Arc<Process>> {
        let process = self.supervisor.adopt(spec);
        process.start()?;
        Ok(process)
    }

    /// A process that is not started yet, and lives no longer than this world.
    pub(crate) fn adopt(&self, spec: Spec) -> Arc<Process> {
        self.supervisor.adopt(spec)
    }

    /// Runs a process to its end.
    ///
    /// # Errors
    /// It can not be run, or still runs after `deadline` (it is killed then).
    pub async fn run(&self, spec: Spec, deadline: Duration) -> Result<Output> {
        self.supervisor.adopt(spec).run(deadline).await
    }

    /// Writes a file into the world's folder and returns its path.
    ///
    /// # Errors
    /// It can not be written.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.dir().join(name);
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    /// Gives each server and command that is made from now on a clock of its own, as [`Spec::clock`] does for one of them; `None`:
    /// the machine's again.
    pub fn set_clock(&self, offset: Option<TimeDelta>) {
        *self.supervisor.clock.lock() = offset;
    }

    /// A disk of so many KiB that a test can fill.
    ///
    /// # Errors
    /// This account may not make mount namespaces.
    pub async fn small_disk(&self, name: &str, kib: u32) -> Result<Disk> {
        Disk::mount(self, name, kib).await
    }

    /// A new folder of its own for a server called `name`.
    ///
    /// # Errors
    /// It can not be made.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        static MADE: AtomicU16 = AtomicU16::new(0);
        let path = self.dir().join(format!("{name}-{}", MADE.fetch_add(1, Ordering::Relaxed)));
        std::fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(path)
    }

    /// What runs commands for a server that outlives the borrow of its world.
    pub(crate) fn supervisor(&self) -> Arc<Supervisor> {
        Arc::clone(&self.supervisor)
    }
}

/// Knows every process of a world.
#[derive(Debug)]
pub(crate) struct Supervisor {
    reaper: Arc<Reaper>,
    processes: Mutex<Vec<Arc<Process>>>,
    clock: Mutex<Option<TimeDelta>>,
}

impl Supervisor {
    pub(crate) fn adopt(&self, mut spec: Spec) -> Arc<Process> {
        if let Some(offset) = *self.clock.lock() {
            spec = spec.clock(offset);
        }
        let mut processes = self.processes.lock();
        let log = format!("{:02}-{}", processes.len(), spec.name);
        let process = Arc::new(Process::new(spec, Arc::clone(&self.reaper), &log));
        processes.push(Arc::clone(&process));
        process
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Logs are shown when nobody writes them any more, and before the folder goes.
        let ended = self.supervisor.reaper.end_all();
        let shown = std::thread::panicking().then(|| self.supervisor.processes.lock().iter().map(|one| one.log()).collect());
        let shown: Vec<String> = shown.unwrap_or_default();
        let closed = self.supervisor.reaper.close();
        let errors = [ended, closed].into_iter().filter_map(Result::err).map(|error| format!("{error:#}"));
        for words in shown.into_iter().chain(errors) {
            #[expect(clippy::print_stderr, reason = "a failed test shows what its servers said, and what was left behind")]
            {
                eprintln!("{words}");
            }
        }
    }
}
