//! `probe` with the `scripted` checks of the tests in its registry.

use std::process::ExitCode;

use checks::Entry;
use tests::scripted::{Scripted, ScriptedProof};

fn main() -> ExitCode {
    probe::cli::main(checks::registry().with(Entry::of::<Scripted>()).with(Entry::of::<ScriptedProof>()))
}
