//! When to look and what it means: room 2 of phasegate.

pub mod api;
pub mod apply;
pub mod audit;
pub mod cutover;
pub mod decide;
pub mod event;
pub mod exit;
pub mod gate;
pub mod now;
pub mod phase;
pub mod plan;
pub mod soak;
pub mod state;
pub mod store;
