//! The verifier itself stands still (SIGSTOP, a paused VM, a starved node) and everything dies meanwhile: when it moves again,
//! no question is answered by what was true before.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::{Loki, Verifier, World, wait_until};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{PATIENCE, migration, opened, reaches};

/// More than `maxAge` and more than an evaluation may be old.
const STOP: Duration = Duration::from_secs(5);
const LONG_STOP: Duration = Duration::from_secs(30);
const ASKING: usize = 8;

/// What the clients saw in one cycle.
#[derive(Debug, Default)]
struct Tally {
    /// SIGCONT was sent.
    moving: AtomicBool,
    /// The verifier stands still.
    still: AtomicBool,
    open_before: AtomicUsize,
    answered_after: AtomicUsize,
    /// Asked while it stood still, answered later.
    queued: AtomicUsize,
    open_after: AtomicUsize,
}

/// Asks without pause until told to stop, by connections that are kept or by a new one each time.
async fn asks(url: String, keep: bool, tally: Arc<Tally>, stop: watch::Receiver<bool>) {
    let client = || reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
    let mut http = client();
    while !*stop.borrow() {
        if !keep {
            http = client();
        }
        let asked_still = tally.still.load(Ordering::SeqCst) && !tally.moving.load(Ordering::SeqCst);
        let Ok(answer) = http.get(&url).send().await else { continue };
        let status = answer.status().as_u16();
        if !tally.moving.load(Ordering::SeqCst) {
            tally.open_before.fetch_add(usize::from(status == 200), Ordering::SeqCst);
            continue;
        }
        tally.answered_after.fetch_add(1, Ordering::SeqCst);
        tally.queued.fetch_add(usize::from(asked_still), Ordering::SeqCst);
        tally.open_after.fetch_add(usize::from(status == 200), Ordering::SeqCst);
    }
}

/// The new side: two ports, and a real Loki or none.
struct Servers {
    loki: Option<Loki>,
    ports: Vec<SocketAddr>,
    listening: Vec<TcpListener>,
}

impl Servers {
    async fn start(world: &World, loki: bool) -> Self {
        let loki = if loki { Some(Loki::start(world).await.unwrap()) } else { None };
        let ports = (0..2).map(|_| ([127, 0, 0, 1], world.port().unwrap()).into()).collect();
        let mut servers = Self { loki, ports, listening: Vec::new() };
        servers.listen().await;
        servers
    }

    async fn listen(&mut self) {
        for port in &self.ports {
            self.listening.push(TcpListener::bind(port).await.unwrap());
        }
    }

    fn document(&self) -> String {
        let mut probes = Vec::new();
        let mut targets = "{}".to_owned();
        for port in &self.ports {
            probes.push(format!("{{name: port-{}, check: {{tcp: {{address: \"{port}\"}}}}}}", port.port()));
        }
        if let Some(loki) = &self.loki {
            targets = format!("{{k3s-loki: {{loki: {{url: \"{}\"}}}}}}", loki.url());
            probes.push("{name: loki, check: {lokiReady: {loki: k3s-loki}}}".to_owned());
        }
        let probes: Vec<_> = probes.iter().map(String::as_str).collect();
        migration("{every: 1s, timeout: 800ms, maxAge: 2s}", &targets, super::AT_ONCE, &probes)
    }

    async fn kill(&mut self) {
        self.listening.clear();
        if let Some(loki) = &self.loki {
            loki.kill().await.unwrap();
        }
    }

    async fn start_again(&mut self) {
        if let Some(loki) = &self.loki {
            loki.start_again().await.unwrap();
        }
        self.listen().await;
    }
}

/// One cycle; returns how many questions that had queued up were answered.
async fn cycle(verifier: &Verifier, servers: &mut Servers, stop: Duration) -> usize {
    reaches(verifier, "open").await;
    let tally = Arc::new(Tally::default());
    let (over, stopped) = watch::channel(false);
    let url = format!("{}/v1/gates/move/check", verifier.url());
    let mut clients = JoinSet::new();
    for client in 0..ASKING {
        clients.spawn(asks(url.clone(), client % 2 == 0, tally.clone(), stopped.clone()));
    }
    wait_until(PATIENCE, "the clients see an open gate", async || {
        ensure!(tally.open_before.load(Ordering::SeqCst) > 20 * ASKING, "not yet");
        Ok(())
    })
    .await
    .unwrap();

    verifier.freeze().await.unwrap();
    tally.still.store(true, Ordering::SeqCst);
    // It answers nobody now, and everything that it has seen dies.
    servers.kill().await;
    let late: JoinSet<Result<u16>> = (0..ASKING)
        .map(|_| {
            let (url, tally) = (url.clone(), tally.clone());
            async move {
                let status = reqwest::get(&url).await?.status().as_u16();
                tally.queued.fetch_add(1, Ordering::SeqCst);
                Ok(status)
            }
        })
        .collect();
    sleep(stop).await;
    tally.moving.store(true, Ordering::SeqCst);
    verifier.thaw();

    for status in late.join_all().await {
        let status = status.unwrap();
        assert_ne!(status, 200, "a question that was asked while the verifier stood still");
    }
    reaches(verifier, "closed").await;
    over.send_replace(true);
    clients.join_all().await;
    let (answered, open) = (tally.answered_after.load(Ordering::SeqCst), tally.open_after.load(Ordering::SeqCst));
    assert_eq!(open, 0, "of {answered} answers after SIGCONT: {tally:?}");
    assert!(answered >= ASKING, "{tally:?}");
    servers.start_again().await;
    tally.queued.load(Ordering::SeqCst)
}

/// A verifier of its own through several freezes; returns how many questions had queued up in all.
async fn freezes(loki: bool, stops: &[Duration]) -> usize {
    let world = World::new().unwrap();
    let mut servers = Servers::start(&world, loki).await;
    let verifier = Verifier::start(&world, &servers.document()).await.unwrap();
    opened(&verifier).await;
    let mut queued = 0;
    for stop in stops {
        queued += cycle(&verifier, &mut servers, *stop).await;
        // Else it would not believe probes that came and went this often.
        verifier.kill9().await.unwrap();
        verifier.start_again().await.unwrap();
    }
    // The phase can still be completed, by evidence from after all that.
    reaches(&verifier, "open").await;
    assert_eq!(verifier.cutover(&["advance"]).await.unwrap().code, 0);
    queued
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_real_loki_no_answer_after_a_freeze_is_an_old_green() {
    let mut stops = vec![STOP; 2];
    if std::env::var_os("PHASEGATE_LONG").is_some() {
        stops.push(LONG_STOP);
    }
    let (one, two, three) = tokio::join!(freezes(true, &stops), freezes(false, &stops), freezes(false, &stops));
    let queued = one + two + three;
    println!("{queued} questions had queued up in {} freezes", 3 * stops.len());
    assert!(queued >= 3 * stops.len() * ASKING, "only {queued} questions had queued up");
}
