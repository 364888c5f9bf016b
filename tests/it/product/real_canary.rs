//! From the agent's lines through a real Loki to a gate.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use checks::log_path::line::CanaryLine;
use tests::{Agent, Grafana, Line, Loki, Verifier, World};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{AT_ONCE, looks, migration, opened, reaches};

/// A collector of sorts: ships the agent's file to Loki, unless it is told not to.
struct Shipper {
    paused: Arc<AtomicBool>,
    /// How many of the next lines it drops.
    drops: Arc<AtomicU64>,
    _task: JoinSet<()>,
}

impl Shipper {
    fn start(loki: Arc<Loki>, file: PathBuf) -> Self {
        let (paused, drops) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut task = JoinSet::new();
        task.spawn({
            let (paused, drops) = (paused.clone(), drops.clone());
            async move {
                let mut shipped = 0;
                loop {
                    sleep(Duration::from_millis(100)).await;
                    if paused.load(Ordering::SeqCst) {
                        continue;
                    }
                    let text = std::fs::read_to_string(&file).unwrap();
                    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
                    let new: Vec<_> = whole.lines().skip(shipped).map(str::to_owned).collect();
                    shipped += new.len();
                    let kept = new
                        .into_iter()
                        .filter(|_| drops.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_err());
                    let lines: Vec<_> = kept.map(|text| Line::new(stamp(&text), text)).collect();
                    if !lines.is_empty() {
                        loki.push(&[("service", "migration-canary"), ("job", "systemd-journal")], &lines).await.unwrap();
                    }
                }
            }
        });
        Self { paused, drops, _task: task }
    }

    fn pause(&self, pause: bool) {
        self.paused.store(pause, Ordering::SeqCst);
    }

    fn drop_next(&self, lines: u64) {
        self.drops.store(lines, Ordering::SeqCst);
    }
}

/// Nanoseconds since 1970 of a canary line.
fn stamp(text: &str) -> i64 {
    CanaryLine::parse(text).unwrap().at.timestamp_nanos_opt().unwrap()
}

/// An agent, a collector of sorts, a real Loki, and a verifier whose one gate is open.
struct Path {
    world: World,
    agent: Agent,
    loki: Arc<Loki>,
    shipper: Shipper,
    verifier: Verifier,
}

/// A Loki, and an agent that writes into this file.
pub(super) async fn agent_and_loki(world: &World, file: &std::path::Path) -> (Agent, Loki) {
    let sink = format!("file:{}", file.display());
    let flags = ["--every", "100ms", "--sink", sink.as_str()];
    tokio::try_join!(Agent::start(world, "node-1", &flags), Loki::start(world)).unwrap()
}

/// A verifier whose one gate is open, because all lines of this agent arrive in this Loki.
pub(super) async fn watched(world: &World, agent: &Agent, loki: &Loki) -> Verifier {
    let targets = format!("{{agents: {{agent: {{urls: [\"{}\"]}}}}, loki: {{loki: {{url: \"{}\"}}}}}}", agent.url(), loki.url());
    let times = "lateAfter: 3s, lostAfter: 8s, holdFor: 5s, recheck: 3m";
    let probe = &format!("{{name: canary, check: {{logCanary: {{agents: agents, loki: loki, {times}}}}}}}");
    let document = migration("{every: 1s, timeout: 1s, maxAge: 10s}", &targets, AT_ONCE, &[probe]);
    let verifier = Verifier::start(world, &document).await.unwrap();
    opened(&verifier).await;
    verifier
}

impl Path {
    async fn open() -> Self {
        let world = World::new().unwrap();
        let file = world.dir().join("lines");
        let (agent, loki) = agent_and_loki(&world, &file).await;
        let loki = Arc::new(loki);
        let shipper = Shipper::start(loki.clone(), file);
        let verifier = watched(&world, &agent, &loki).await;
        Self { world, agent, loki, shipper, verifier }
    }
}

#[tokio::test]
async fn a_pause_in_shipping_shuts_the_gate_and_is_no_loss() {
    let path = Path::open().await;
    path.shipper.pause(true);
    looks(&path.verifier, "canary", "red", "stalled").await;
    reaches(&path.verifier, "closed").await;
    path.shipper.pause(false);
    reaches(&path.verifier, "open").await;
    let metrics = path.verifier.get("/metrics").await.unwrap().body;
    assert!(metrics.contains("value=\"lost_lines\"} 0"), "{metrics}");
}

#[tokio::test]
async fn seven_lines_that_never_arrive_are_seven_lost_lines() {
    let path = Path::open().await;
    path.shipper.drop_next(7);
    let red = looks(&path.verifier, "canary", "red", "lost").await;
    assert!(red["evidence"].as_str().unwrap().contains("7 lines are lost"), "{red}");
    let metrics = path.verifier.get("/metrics").await.unwrap().body;
    assert!(metrics.contains("value=\"lost_lines\"} 7"), "{metrics}");
    reaches(&path.verifier, "open").await;
}

#[tokio::test]
async fn a_loki_that_is_gone_is_red_and_what_was_held_back_for_it_is_no_loss() {
    let path = Path::open().await;
    path.shipper.pause(true);
    path.loki.stop().await.unwrap();
    looks(&path.verifier, "canary", "red", "refused").await;
    path.loki.start_again().await.unwrap();
    path.shipper.pause(false);
    reaches(&path.verifier, "open").await;
}

#[tokio::test]
async fn another_start_of_the_agent_is_another_row_of_numbers() {
    let path = Path::open().await;
    assert!(path.agent.stop().await.unwrap().success());
    looks(&path.verifier, "canary", "unknown", "agent_unreachable").await;
    reaches(&path.verifier, "unknown").await;
    path.agent.start_again().await.unwrap();
    reaches(&path.verifier, "open").await;
    drop(path.world);
}

#[tokio::test]
async fn lines_that_are_destroyed_after_they_were_counted_are_seen_to_the_last_one() {
    let path = Path::open().await;
    path.shipper.pause(true);
    looks(&path.verifier, "canary", "red", "stalled").await;
    let destroyed = path.loki.count("{service=\"migration-canary\"}").await.unwrap();
    assert!(destroyed > 10, "{destroyed}");
    path.loki.destroy().await.unwrap();
    path.shipper.pause(false);
    let red = looks(&path.verifier, "canary", "red", "destroyed").await;
    let words = red["evidence"].as_str().unwrap();
    assert!(words.contains(&format!("{destroyed} lines that were here are gone, the first is number 1;")), "{words}");
    let metrics = path.verifier.get("/metrics").await.unwrap().body;
    assert!(metrics.contains("value=\"lost_lines\"} 0"), "{metrics}");
}

#[tokio::test]
async fn lines_that_loki_has_must_come_through_grafana_too() {
    let world = World::new().unwrap();
    let file = world.dir().join("lines");
    let (agent, loki) = agent_and_loki(&world, &file).await;
    let loki = Arc::new(loki);
    let _shipper = Shipper::start(loki.clone(), file);
    let grafana = Grafana::start(&world, loki.url()).await.unwrap();
    let token = grafana.token("phasegate", "Viewer").await.unwrap();
    let targets = format!(
        "{{agents: {{agent: {{urls: [\"{}\"]}}}}, loki: {{loki: {{url: \"{}\"}}}}, \
         grafana: {{grafana: {{url: \"{}\", token: {{env: GRAFANA_TOKEN}}}}}}}}",
        agent.url(),
        loki.url(),
        grafana.url()
    );
    let check = format!("logCanary: {{agents: agents, loki: loki, grafana: grafana, datasource: {}}}", grafana.datasource());
    let probe = format!("{{name: canary, check: {{{check}}}}}");
    let document = migration("{every: 1s, timeout: 1s, maxAge: 10s}", &targets, AT_ONCE, &[&probe]);
    let verifier = Verifier::start_with(&world, &document, &[("GRAFANA_TOKEN", &token)]).await.unwrap();
    opened(&verifier).await;

    let empty = Loki::start(&world).await.unwrap();
    grafana.repoint(empty.url()).await.unwrap();
    let red = looks(&verifier, "canary", "red", "not_through_grafana").await;
    let words = red["evidence"].as_str().unwrap();
    assert!(words.contains("node-1: grafana: none of the agent's lines comes through"), "{words}");
    let hops = red["trails"][0]["hops"].as_array().unwrap();
    let last = hops.iter().map(|hop| (hop["name"].as_str().unwrap(), hop["state"].as_str().unwrap())).next_back();
    assert_eq!(last, Some(("grafana", "stands")), "{red}");

    grafana.repoint(loki.url()).await.unwrap();
    reaches(&verifier, "open").await;
}
