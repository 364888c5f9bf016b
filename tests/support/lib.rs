//! The test bench: a [`World`] per test, real servers in it, and the product's real binaries.
//!
//! ```no_run
//! use tests::{Loki, Postgres, Verifier, World};
//!
//! # async fn example() -> anyhow::Result<()> {
//! let world = World::new()?;
//! let (loki, old, new) = tokio::try_join!(Loki::start(&world), Postgres::start(&world), Postgres::start(&world))?;
//! let verifier = Verifier::start(&world, &format!("… {} {} {}", loki.url(), old.dsn(), new.dsn())).await?;
//! let refusal = verifier.cutover(&["gate", "check", "alloy"]).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Besides servers there are a real systemd-journald ([`Journal`]), disks that can be filled ([`World::small_disk`]) and clocks that
//! can be set while a server runs ([`World::set_clock`], [`Spec::clock`], [`Process::shift_clock`]).
//!
//! Where a test needs a reply that a real server does not give on demand, there are stand-ins ([`standin`]): Loki, its gateway, Alloy,
//! Promtail and Grafana, in this process, with state. A whole log path of them:
//!
//! ```no_run
//! use tests::standin::{Datasource, Flaws, Mood};
//! use tests::{StandinAlloy, StandinGateway, StandinGrafana, StandinJournal, StandinLoki, StandinPromtail};
//!
//! # async fn example() -> anyhow::Result<()> {
//! let (old, new, journal) = (StandinLoki::start()?, StandinLoki::start()?, StandinJournal::new());
//! journal.follow("sink of `probe agent --sink file:…`".as_ref(), "system-metrics-canary");
//! let promtail = StandinPromtail::start(&journal, &old.url())?;
//! let alloy = StandinAlloy::start(&journal, &[&old.url()])?;
//! alloy.set_lokis(&[&new.url()])?; // the handover
//! drop(promtail); // it is stopped
//! let gateway = StandinGateway::start(new.url())?;
//! let grafana = StandinGrafana::start("glsa_token", &[Datasource::loki(gateway.url())])?;
//! alloy.set_flaws(Flaws { swallow_every: Some(100), ..Flaws::default() }); // it says it sent them all
//! gateway.set_broken(true); // while Loki is ready
//! new.set_mood(Mood::Refuse).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Where something is to go wrong between two parts, real ones included, there is a proxy that breaks what passes through it
//! ([`fault`]): refused, reset, silent, slow, torn, corrupted, answered by somebody else, acknowledged and dropped.
//!
//! The whole stack with every server real, old side and new side, and the moves between them, are [`LogPath`] and [`Databases`].
//!
//! What the stack moves to is a [`Kubernetes`] with a control plane of its own and fake nodes:
//!
//! ```no_run
//! use tests::{Kubernetes, World};
//!
//! # async fn example() -> anyhow::Result<()> {
//! let world = World::new()?;
//! let cluster = Kubernetes::start(&world).await?.with_controllers().await?;
//! cluster.nodes(3).await?; // at 127.0.0.1 to 127.0.0.3, where real servers can listen
//! cluster.apply("… a DaemonSet, a service account `phasegate`, its role …").await?;
//! let rolled_out = cluster.kubectl(&["rollout", "status", "daemonset/alloy", "--timeout=30s"]).await?;
//! let kubeconfig = cluster.kubeconfig_for_service_account("observability", "phasegate").await?;
//! cluster.part("kube-controller-manager")?.freeze().await?; // new generations are not observed
//! cluster.kill().await?; // the API server
//! cluster.start_again().await?; // with all that it knew
//! cluster.empty().await?; // with nothing
//! let asked = cluster.asked("system:serviceaccount:observability:phasegate", "list", "pods")?;
//! # Ok(())
//! # }
//! ```
//!
//! Three rules hold everywhere:
//!
//! - Every process dies with its [`World`], and with the test runner, however either of them ends ([`reaper`]).
//! - Nothing is skipped: a part that is missing is an error that says how to get it (`tests/run` installs all of them).
//! - When a test panics, the logs of all its processes are shown. So tests `unwrap` what this library returns.

mod agent;
mod alloy;
mod binary;
mod browser;
mod clock;
mod disk;
mod door;
pub mod fault;
mod grafana;
mod homelab;
pub mod hostile;
mod http;
mod journal;
mod kubernetes;
mod loki;
mod loki_canary;
mod namespace;
mod postgres;
mod process;
mod prometheus;
mod promtail;
pub mod reaper;
pub mod scripted;
mod server;
mod stack;
pub mod standin;
mod tree;
mod verifier;
mod wait;
mod way;
mod world;

pub use agent::Agent;
pub use alloy::Alloy;
pub use binary::binary;
pub use browser::Browser;
pub use clock::now;
pub use disk::Disk;
pub use fault::{Fault, FaultProxy};
pub use grafana::Grafana;
pub use homelab::{Application, Databases, Habit, LogPath, Pace, Reader, Writer, Writes};
pub use hostile::Hostile;
pub use http::Answer;
pub use journal::Journal;
pub use kubernetes::{Kubernetes, Request};
pub use loki::{Line, Loki};
pub use loki_canary::LokiCanary;
pub use postgres::{Major, Postgres, Session};
pub use process::{Output, Process, Spec, User};
pub use prometheus::Prometheus;
pub use promtail::Promtail;
pub use server::Server;
pub use standin::{StandinAlloy, StandinGateway, StandinGrafana, StandinJournal, StandinLoki, StandinPromtail};
pub use verifier::{Role, Verifier};
pub use wait::wait_until;
pub use way::{LogWay, Outage};
pub use world::World;
