//! The verdict core against a naive second implementation, on random histories, and against scripted traps.
#![expect(clippy::wildcard_enum_match_arm, reason = "each question is about few of the many things that can happen")]

mod case;
mod day;
mod drive;
mod generate;
mod histories;
mod invariants;
mod liveness;
mod oracle;
pub(crate) mod rng;
mod script;
mod scripts;
mod shrink;
mod traps;
