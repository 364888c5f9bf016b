//! Ends what a `World` started, when the world or the program with the world in it is gone.

use std::process::ExitCode;

fn main() -> ExitCode {
    tests::reaper::main()
}
