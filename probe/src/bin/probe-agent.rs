//! `probe-agent`: `probe agent` in a binary of its own. It runs on every node, and the kernel keeps far less of it in memory.

use std::process::ExitCode;

fn main() -> ExitCode {
    probe::cli::agent_main()
}
