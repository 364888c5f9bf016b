//! Following log lines on their way: what the agent writes, and what arrives.

pub(crate) mod account;
pub mod canary;
pub(crate) mod head;
pub(crate) mod hops;
pub(crate) mod intervals;
pub mod line;
pub(crate) mod recount;
pub(crate) mod trace;
pub(crate) mod views;
