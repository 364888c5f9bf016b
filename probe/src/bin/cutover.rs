//! `cutover`, the operator's command.

use std::process::ExitCode;

use probe::cutover::Aids;

fn main() -> ExitCode {
    let exit = probe::cutover::main(Aids {
        verify_dir: |dir| probe::store::verify_dir(dir).map_err(|error| error.to_string()),
        load: |file| probe::config::load(file, &checks::registry()),
        now: probe::clock::wall,
    });
    ExitCode::from(exit.code)
}
