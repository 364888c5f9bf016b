//! When to look and what it means: room 2 of phasegate.

pub mod config;
pub mod plan;
