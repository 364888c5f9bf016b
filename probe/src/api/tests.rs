//! The contracts of the API, over a real ledger with scripted Runs.

mod gates;
mod ops;
mod past;
mod report;
mod server;
mod shortened;
pub(crate) mod world;
mod writes;
