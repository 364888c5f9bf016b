//! Both systems on one Loki, each with a path of its own to it that can be held up.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use checks::log_path::line::{CanaryLine, Head};
use clap::ValueEnum;
use tests::{
    Agent, Alloy, Fault, FaultProxy, Journal, Line, Loki, LokiCanary, Process, Promtail, Verifier, World, now, wait_until,
};
use tokio::time::sleep;

use crate::gate;
use crate::usage;

use super::fork::Fork;
use super::watch::{Figures, Watch, samples};

const PATIENCE: Duration = Duration::from_mins(2);
/// Looked this often: the figures are no finer. A look costs both systems something, so there is none where that is measured.
const LOOK: Duration = Duration::from_millis(200);
/// The time between two lines, for both.
const EVERY: Duration = Duration::from_millis(100);
/// Under which the collectors of the tests ship the agent's lines.
const IDENTIFIER: &str = "gitops-sync";
const SELECTOR: &str = "{service=\"migration-canary\"}";
/// Until what was written last must have arrived.
const ON_ITS_WAY: Duration = Duration::from_secs(10);
/// So much is asked of Loki at once, in nanoseconds; it answers with 5,000 lines at most.
const WINDOW: i64 = 240_000_000_000;

/// What ships the agent's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Collector {
    Promtail,
    Alloy,
}

/// The collector as it runs; it ends with it.
enum Shipper {
    Promtail(Promtail),
    Alloy(Alloy),
}

impl Shipper {
    async fn start(world: &World, collector: Collector, journal: &Journal, loki: &str) -> Result<Self> {
        match collector {
            Collector::Promtail => Promtail::start(world, journal.folder(), loki).await.map(Self::Promtail),
            Collector::Alloy => Alloy::start(world, journal.folder(), &[loki]).await.map(Self::Alloy),
        }
    }

    fn process(&self) -> &Process {
        match self {
            Self::Promtail(promtail) => promtail.process(),
            Self::Alloy(alloy) => alloy.process(),
        }
    }
}

/// How many lines were written, and how many of them Loki has.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(super) struct Truth {
    pub(super) written: u64,
    pub(super) found: u64,
}

impl Truth {
    pub(super) fn missing(self) -> u64 {
        self.written.saturating_sub(self.found)
    }
}

/// What one process uses.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(super) struct Used {
    pub(super) cpu: f64,
    pub(super) resident: f64,
    pub(super) logged: usize,
}

fn used(process: &Process) -> Result<Used> {
    let pid = process.pid().context("it does not run")?;
    let logged = process.stderr().len() + process.stdout().len();
    Ok(Used { cpu: usage::cpu(pid)?, resident: usage::resident(pid)?, logged })
}

pub(super) struct Stage {
    pub(super) loki: Loki,
    pub(super) agent: Agent,
    pub(super) verifier: Verifier,
    pub(super) rival: LokiCanary,
    journal: Journal,
    shipper: Shipper,
    /// Between the collector and Loki.
    path: FaultProxy,
    /// Between loki-canary's pushes and Loki.
    rival_path: FaultProxy,
    _fork: Fork,
    began: i64,
    // The last one to go: it ends all the others.
    world: World,
}

impl Stage {
    /// Starts everything; returns when all lines of both arrive. The first probe has the defaults; each of `rechecks` gets one more.
    pub(super) async fn open(collector: Collector, rechecks: &[&str]) -> Result<Self> {
        let began = now();
        let world = World::new()?;
        let (journal, loki) = tokio::try_join!(Journal::start(&world), Loki::start(&world))?;
        let (path, rival_path) = (FaultProxy::start_http(loki.url())?, FaultProxy::start_http(loki.url())?);
        let fork = Fork::start(rival_path.address(), loki.authority().parse()?).await?;
        let every = format!("{}ms", EVERY.as_millis());
        let socket = journal.socket().display().to_string();
        let flags = ["--every", &every, "--journal.socket", &socket, "--identifier", IDENTIFIER];
        let (url, address) = (path.url(), fork.address().to_string());
        let (agent, shipper, rival) = tokio::try_join!(
            Agent::start_small(&world, "node-1", &flags),
            Shipper::start(&world, collector, &journal, &url),
            LokiCanary::start(&world, &address, EVERY),
        )?;
        let targets =
            format!("{{agents: {{agent: {{urls: [\"{}\"]}}}}, loki: {{loki: {{url: \"{}\"}}}}}}", agent.url(), loki.url());
        let check = |more: &str| format!("logCanary: {{agents: agents, loki: loki{more}}}");
        let more = rechecks.iter().map(|recheck| (format!("canary-{recheck}"), check(&format!(", recheck: {recheck}"))));
        let probes: Vec<_> = [("canary".to_owned(), check(""))].into_iter().chain(more).collect();
        let probes: Vec<_> = probes.iter().map(|(name, check)| (name.as_str(), check.as_str())).collect();
        let verifier = Verifier::start(&world, &gate::document(&targets, &probes)).await?;
        let stage = Self { loki, agent, verifier, rival, journal, shipper, path, rival_path, _fork: fork, began, world };
        gate::opened(&stage.verifier, PATIENCE).await?;
        wait_until(PATIENCE, "loki-canary receives its lines", async || {
            let received = stage.rival_says().await?.get("response_latency_seconds_count").copied().unwrap_or_default();
            ensure!(received > 20.0, "{received} so far");
            Ok(())
        })
        .await?;
        Ok(stage)
    }

    /// What the first probe says.
    pub(super) async fn evidence(&self) -> Result<String> {
        let probe = self.verifier.get("/v1/probes/canary").await?.json()?;
        let text = |name| probe.get(name).and_then(|value| value.as_str()).unwrap_or_default();
        Ok(format!("{} {}: {}", text("state"), text("reason"), text("evidence")))
    }

    /// What ours says: the gate, and what the probes have measured (a second probe's are called after it).
    pub(super) async fn we_say(&self) -> Result<Figures> {
        let (gate, metrics) = (gate::read(&self.verifier).await?, self.verifier.get("/metrics").await?.body);
        let quoted = |key: &str, label: &str| Some(key.split_once(&format!("{label}=\""))?.1.split_once('"')?.0.to_owned());
        let mut figures = samples(&metrics, |key| {
            let (probe, value) = (quoted(key, "probe")?, quoted(key, "value")?);
            Some(if probe == "canary" { value } else { format!("{value} of {probe}") })
        });
        figures.insert("gate_not_open".to_owned(), f64::from(u8::from(!gate::is_open(&gate))));
        figures.insert("probe_red".to_owned(), f64::from(u8::from(gate::is_red(&gate))));
        Ok(figures)
    }

    /// What loki-canary says: its metrics, without their buckets.
    pub(super) async fn rival_says(&self) -> Result<Figures> {
        let metrics = self.rival.get("/metrics").await?.body;
        Ok(samples(&metrics, |key| key.strip_prefix("loki_canary_").filter(|key| !key.contains("_bucket")).map(str::to_owned)))
    }

    /// From now on.
    pub(super) async fn watch(&self) -> Result<[Watch; 2]> {
        let (ours, rivals) = tokio::try_join!(self.we_say(), self.rival_says())?;
        Ok([Watch::begin(ours), Watch::begin(rivals)])
    }

    /// Looks until the watches are as old as that.
    pub(super) async fn follow(&self, watches: &mut [Watch; 2], age: Duration) -> Result<()> {
        while watches[0].elapsed() < age {
            self.look(watches).await?;
        }
        Ok(())
    }

    /// Looks until this is done.
    pub(super) async fn follow_while<T>(&self, watches: &mut [Watch; 2], deed: impl Future<Output = Result<T>>) -> Result<T> {
        let mut deed = pin!(deed);
        loop {
            tokio::select! {
                done = &mut deed => return done,
                looked = self.look(watches) => looked?,
            }
        }
    }

    async fn look(&self, [ours, rivals]: &mut [Watch; 2]) -> Result<()> {
        let (we, they) = tokio::try_join!(self.we_say(), self.rival_says())?;
        ours.takes(we);
        rivals.takes(they);
        sleep(LOOK).await;
        Ok(())
    }

    /// The same fault on both paths, at the same moment.
    pub(super) async fn hold(&self, fault: Fault) -> Result<()> {
        tokio::try_join!(self.path.set(fault.clone()), self.rival_path.set(fault)).map(|_| ())
    }

    /// Everything passes again.
    pub(super) async fn release(&self) -> Result<()> {
        tokio::try_join!(self.path.clear(), self.rival_path.clear()).map(|_| ())
    }

    /// Has each path acknowledge each so-manieth push and not pass it on, until it has done so `times` times.
    pub(super) async fn drop_pushes(&self, every: u64, times: u64) -> Result<[u64; 2]> {
        self.hold(Fault::DropWrites(every)).await?;
        let until = async |path: &FaultProxy| {
            while path.dropped().requests < times {
                sleep(EVERY / 10).await;
            }
            path.clear().await?;
            Ok::<_, anyhow::Error>(path.dropped().requests)
        };
        let (ours, rivals) = tokio::try_join!(until(&self.path), until(&self.rival_path))?;
        Ok([ours, rivals])
    }

    /// How many lines of each Loki has.
    pub(super) async fn count(&self) -> Result<[u64; 2]> {
        let (ours, rivals) = tokio::try_join!(self.loki.count(SELECTOR), self.loki.count(LokiCanary::SELECTOR))?;
        Ok([ours, rivals])
    }

    /// What was written so far of each, and what of it has arrived. loki-canary writes no more after this.
    pub(super) async fn truth(&self) -> Result<[Truth; 2]> {
        self.rival.suspend().await?;
        let head: Head = serde_json::from_str(&self.agent.get("/v1/head").await?.body)?;
        let sent = self.rival_says().await?.get("entries_total").copied().unwrap_or_default();
        sleep(ON_ITS_WAY).await;
        let lines = self.lines(SELECTOR).await?;
        let ours = lines.iter().filter_map(|line| CanaryLine::parse(&line.text));
        let ours: BTreeSet<u64> =
            ours.filter(|line| line.boot == head.boot && line.seq <= head.last).map(|line| line.seq).collect();
        let rivals: BTreeSet<Line> = self.lines(LokiCanary::SELECTOR).await?.into_iter().collect();
        let rivals = Truth { written: format!("{sent:.0}").parse()?, found: u64::try_from(rivals.len())? };
        Ok([Truth { written: head.last, found: u64::try_from(ours.len())? }, rivals])
    }

    /// Bytes of one line in Loki, of each.
    pub(super) async fn line_bytes(&self) -> Result<[usize; 2]> {
        let one = async |selector| {
            let lines = self.loki.lines(selector, now() - WINDOW / 10, now()).await?;
            lines.last().map(|line| line.text.len()).context("there is no line")
        };
        let (ours, rivals) = tokio::try_join!(one(SELECTOR), one(LokiCanary::SELECTOR))?;
        Ok([ours, rivals])
    }

    async fn lines(&self, selector: &str) -> Result<Vec<Line>> {
        let (mut lines, mut from, end) = (Vec::new(), self.began, now());
        while from < end {
            lines.extend(self.loki.lines(selector, from, from + WINDOW).await?);
            from += WINDOW;
        }
        Ok(lines)
    }

    /// What each process has used so far: the agent, the verifier, loki-canary; and journald and the collector, which are none of
    /// either's.
    pub(super) fn used(&self) -> Result<[Used; 5]> {
        let journald = self.journal.process()?;
        let (ours, theirs) = ([self.agent.process(), self.verifier.process()], self.rival.process());
        Ok([used(ours[0])?, used(ours[1])?, used(theirs)?, used(journald)?, used(self.shipper.process())?])
    }

    /// Where it is, to look at while it lasts.
    pub(super) fn folder(&self) -> String {
        self.world.dir().display().to_string()
    }
}
