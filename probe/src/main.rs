//! `probe`: see `probe --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    probe::cli::main(checks::registry())
}
