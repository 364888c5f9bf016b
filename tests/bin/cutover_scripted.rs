//! `cutover` with the `scripted` checks of the tests in its registry, so that it can read the documents that have them.

use std::process::ExitCode;

use checks::Entry;
use probe::cutover::Aids;
use tests::scripted::{Scripted, ScriptedProof};

fn main() -> ExitCode {
    let exit = probe::cutover::main(Aids {
        verify_dir: |dir| probe::store::verify_dir(dir).map_err(|error| error.to_string()),
        load: |file| {
            let registry = checks::registry().with(Entry::of::<Scripted>()).with(Entry::of::<ScriptedProof>());
            probe::config::load(file, &registry)
        },
        now: probe::clock::wall,
    });
    ExitCode::from(exit.code)
}
