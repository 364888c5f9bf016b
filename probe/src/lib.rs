//! When to look and what it means: room 2 of phasegate.

pub mod agent;
pub mod annotations;
pub mod api;
pub mod apply;
pub mod audit;
pub mod auth;
pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod cutover;
pub mod decide;
pub mod event;
pub mod events;
pub mod exit;
pub mod gate;
pub mod init;
pub mod kubernetes;
pub mod ledger;
pub mod metrics;
pub mod now;
pub mod past;
pub mod phase;
pub mod plan;
pub mod reload;
pub mod scheduler;
mod shutdown;
pub mod soak;
mod source;
pub mod state;
pub mod steps;
pub mod store;
mod telemetry;
#[cfg(test)]
mod testing;
pub mod verifier;
