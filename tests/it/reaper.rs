//! Does a test run leave anything on the machine? Runners with servers of all kinds are killed at random points of their lives.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use rustix::process::{Pid, Signal, geteuid, kill_process_group};
use rustix::rand::{GetRandomFlags, getrandom};
use tests::{Agent, Postgres, Process, Spec, World, wait_until};
use tokio::time::Instant;

use crate::model::rng::Rng;

/// What a killed runner has left must be gone after this time.
const GONE: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_mins(2);
const KILLS: u64 = 20;
/// So many runners live at the same time.
const LANES: u64 = 4;

/// This program itself, told to live the life below.
struct Runner {
    process: Arc<Process>,
    /// Its place for temporary files: the path stands in the environment, the arguments or the folder of all that it starts.
    place: PathBuf,
}

impl Runner {
    fn start(world: &World, name: &str) -> Self {
        let place = world.dir().join(name);
        std::fs::create_dir(&place).unwrap();
        // As at a terminal: below a shell's background job it would inherit that SIGINT is ignored.
        let spec = Spec::new(name, "env")
            .arg("--default-signal=INT")
            .arg(std::env::current_exe().unwrap().display().to_string())
            .args(["--exact", "reaper::the_life_of_a_runner", "--nocapture"])
            .env("TMPDIR", place.display().to_string())
            .env("PHASEGATE_LIFE", place.join("full").display().to_string());
        Self { process: world.start(spec).unwrap(), place }
    }

    async fn lives_fully(&self) {
        let full = async || Ok(std::fs::metadata(self.place.join("full"))?);
        self.process.wait_until(PATIENCE, "the runner has started everything", full).await.unwrap();
    }

    /// One signal to the runner itself, none to what it started.
    async fn ends_by(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal);
        self.process.wait(GONE).await?;
        wait_until(GONE, &format!("nothing is left in {}", self.place.display()), async || self.nothing_is_left()).await
    }

    fn nothing_is_left(&self) -> Result<()> {
        let processes = self.processes();
        ensure!(processes.is_empty(), "{processes:#?}");
        let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
        ensure!(!mounts.contains(self.place.to_str().context("a path")?), "{mounts}");
        let files: Vec<_> = std::fs::read_dir(&self.place)?.collect::<std::io::Result<_>>()?;
        ensure!(files.iter().all(|file| file.file_name() == "full"), "{files:?}");
        Ok(())
    }

    fn shared_memory(&self) -> Vec<String> {
        self.processes().iter().flat_map(|line| shared_memory(line.split(' ').next().unwrap())).collect()
    }

    /// All processes that have to do with its place, as `state words`.
    fn processes(&self) -> Vec<String> {
        let place = self.place.to_str().unwrap();
        let folders = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        folders.filter(|folder| folder.join("stat").is_file()).filter_map(|folder| process(&folder, place)).collect()
    }
}

/// The files of shared memory that a process uses.
fn shared_memory(process: &str) -> Vec<String> {
    let maps = std::fs::read_to_string(Path::new(process).join("maps")).unwrap_or_default();
    maps.lines().filter_map(|line| Some(line.get(line.find("/dev/shm/")?..)?.to_owned())).collect()
}

/// A living process with this word in its environment, its arguments or the names of its folder and open files.
fn process(folder: &Path, word: &str) -> Option<String> {
    let read = |name: &str| std::fs::read(folder.join(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let words = read("cmdline").ok()?.replace('\0', " ");
    let stat = read("stat").ok()?;
    let state = stat.rsplit_once(") ")?.1.chars().next().filter(|state| *state != 'Z')?;
    let open = std::fs::read_dir(folder.join("fd")).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut links = open.chain([folder.join("cwd")]).filter_map(|link| std::fs::read_link(link).ok());
    let concerned = words.contains(word)
        || read("environ").is_ok_and(|environment| environment.contains(word))
        || links.any(|target| target.to_string_lossy().contains(word));
    concerned.then(|| format!("{} {state} {words}", folder.display()))
}

/// A life with all that is hard to end. Alone, the test has nothing to do.
#[tokio::test]
async fn the_life_of_a_runner() {
    let Ok(full) = std::env::var("PHASEGATE_LIFE") else {
        return;
    };
    let world = World::new().unwrap();
    let bash = |name: &str, script: &str| world.start(Spec::new(name, "bash").args(["-c", script])).unwrap();
    bash("pipeline", "sleep 600 | (sleep 600 | cat; true) | cat");
    bash("orphan", "cd /; env -i setsid bash -c 'exec -a \"orphan of $0\" sleep 600' \"$HOME\" & exit");
    // Only where this account may do that.
    bash("mount", "mkdir disk && mount -t tmpfs none disk && echo kept >disk/file");
    // It uses shared memory with names.
    world.start(Spec::new("clocked", "sleep").arg("600").clock(chrono::TimeDelta::hours(1))).unwrap();
    let frozen = bash("frozen", "sleep 600 | cat");
    let _agent = Agent::start(&world, "node-1", &["--sink", "stdout"]).await.unwrap();
    let postgres = Postgres::start(&world).await.unwrap();
    let _session = postgres.connect().await.unwrap();
    tokio::try_join!(postgres.freeze(), frozen.freeze()).unwrap();
    std::fs::write(full, "").unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_killed_runner_leaves_nothing_whenever_it_is_killed() {
    let mut seed = [0; 8];
    getrandom(&mut seed, GetRandomFlags::empty()).unwrap();
    let seed = u64::from_ne_bytes(seed);
    println!("seed {seed}");
    let mut rng = Rng::new(seed);
    let world = World::new().unwrap();

    let began = Instant::now();
    let first = Runner::start(&world, "first");
    first.lives_fully().await;
    let life = u64::try_from(began.elapsed().as_millis()).unwrap();
    let there = first.processes();
    for (words, least) in [("T postgres", 6), ("T sleep", 1), ("S sleep", 2), ("orphan of", 1), ("probe agent", 1), ("reaper", 1)]
    {
        assert!(there.iter().filter(|line| line.contains(words)).count() >= least, "{words}: {there:#?}");
    }
    if geteuid().is_root() {
        let postmaster = there.iter().find(|line| line.contains("/postgres -D")).unwrap().split(' ').next().unwrap();
        let namespace = |process: &str| std::fs::read_link(Path::new(process).join("ns/ipc")).unwrap();
        assert_ne!(namespace(postmaster), namespace("/proc/self"), "its System V shared memory would stay");
    }
    let shared = first.shared_memory();
    assert!(!shared.is_empty());
    first.ends_by(Signal::KILL).await.unwrap();
    assert!(!shared.iter().any(|file| Path::new(file).exists()), "{shared:?}");

    for lane in 0..KILLS / LANES {
        let delays: Vec<u64> = (0..LANES).map(|_| rng.below(life * 2)).collect();
        let lives = delays.iter().zip(0_u64..).map(async |(delay, n)| {
            let runner = Runner::start(&world, &format!("{lane}-{n}"));
            tokio::time::sleep(Duration::from_millis(*delay)).await;
            runner.ends_by(Signal::KILL).await.with_context(|| format!("killed after {delay} ms"))
        });
        try_join_all(lives).await.unwrap();
    }
}

#[tokio::test]
async fn a_ctrl_c_at_the_terminal_leaves_nothing() {
    let world = World::new().unwrap();
    let runner = Runner::start(&world, "runner");
    runner.lives_fully().await;
    // The terminal sends it to the whole group.
    kill_process_group(Pid::from_raw(runner.process.pid().unwrap()).unwrap(), Signal::INT).unwrap();
    runner.ends_by(Signal::INT).await.unwrap();
}
