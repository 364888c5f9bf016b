//! The verifier's own life in a cluster: the objects that it keeps there, and the Lease that allows it to write them.

pub mod lease;
pub(crate) mod migration;
pub mod objects;
