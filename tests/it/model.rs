//! The verdict core against a naive second implementation, on random histories, and against scripted traps.

mod case;
mod day;
mod drive;
mod generate;
mod histories;
mod invariants;
mod liveness;
mod oracle;
mod rng;
mod script;
mod shrink;
mod traps;
