//! `cutover` runs a phase of four steps, and everything goes wrong: what it was told is broken, killed, cut off or taken away
//! before, during and after each step. What must come of each is written down beforehand: exit code, what was done in which
//! order, where phase and steps stand.

mod bench;
mod commands;
mod doctor;
mod failures;
mod kills;
mod machines;
mod moments;
mod rehearsals;
mod rivals;
mod silence;
mod talk;

use bench::{Bench, STEPS};
