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
//! Three rules hold everywhere:
//!
//! - Every process dies with its [`World`], and with the test runner, however either of them ends.
//! - Nothing is skipped: a part that is missing is an error that says how to get it (`tests/run` installs all of them).
//! - When a test panics, the logs of all its processes are shown. So tests `unwrap` what this library returns.

mod binary;
pub mod hostile;
mod http;
mod loki;
mod postgres;
mod process;
pub mod scripted;
mod stack;
pub mod standin;
mod tree;
mod verifier;
mod wait;
mod world;

pub use binary::binary;
pub use hostile::Hostile;
pub use http::Answer;
pub use loki::{Line, Loki};
pub use postgres::{Postgres, Session};
pub use process::{Output, Process, Spec, User};
pub use standin::{StandinAlloy, StandinGateway, StandinGrafana, StandinJournal, StandinLoki, StandinPromtail};
pub use verifier::{Role, Verifier};
pub use wait::wait_until;
pub use world::World;
