//! Stand-ins: in-process servers that speak the protocols of Loki, its gateway, Alloy, Promtail and Grafana, for tests that need
//! a reply which a real server does not give on demand, and for the embedded rehearsal.
//!
//! They compute what they answer from what they were sent: a line that nobody pushed is in no answer. Each listens on a loopback
//! port of its own, has a [`Mood`], ends when it is dropped, and is compared with the real server in `tests/it/conformance.rs`.

mod alloy;
mod collector;
mod front;
mod gateway;
mod grafana;
mod journal;
mod loki;
mod promtail;
mod reply;

use crate::clock::now;
pub use alloy::StandinAlloy;
pub use collector::{Flaws, Positions};
pub use front::Mood;

pub use gateway::StandinGateway;
pub use grafana::{Datasource, Recall, StandinGrafana};
pub use journal::StandinJournal;
pub use loki::{Limits, Settings, Stage, StandinLoki, Troubles};
pub use promtail::StandinPromtail;
