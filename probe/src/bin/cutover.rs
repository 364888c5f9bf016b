//! `cutover`, the operator's command.

use std::process::ExitCode;

fn main() -> ExitCode {
    let exit = probe::cutover::main(|dir| probe::store::verify_dir(dir).map_err(|error| error.to_string()));
    ExitCode::from(exit.code)
}
