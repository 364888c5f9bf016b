//! The verdict core against a naive second implementation, on random histories, and against scripted traps.

mod case;
mod drive;
mod generate;
mod histories;
mod invariants;
mod oracle;
mod rng;
mod shrink;
