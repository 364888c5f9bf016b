//! The stack that moves, with its real servers: Promtail → Loki ← Grafana and PostgreSQL on the old side, as on Docker Compose; Alloy →
//! Loki ← Grafana and PostgreSQL on the new side, as in k3s; one journal under both collectors, an application that writes, and the moves
//! from one side to the other.
//!
//! It starts as it is before the first phase: everything of the old side works; of the new side nothing is used yet.

mod application;
mod databases;
mod logs;

pub use application::{Application, Habit, Pace, Reader, Writer, Writes};
pub use databases::Databases;
pub use logs::LogPath;
