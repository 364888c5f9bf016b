//! What the rehearsal prints.

use std::io::Write;
use std::process::ExitCode;

use tests::Output;
use tokio::time::Instant;

const BOLD: &str = "\u{1b}[1m";
const DIM: &str = "\u{1b}[2m";
const CYAN: &str = "\u{1b}[36m";
const RESET: &str = "\u{1b}[0m";

/// Standard output, with colours only where somebody looks.
pub(crate) struct Screen {
    start: Instant,
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }

    fn line(text: &str) {
        let mut out = anstream::stdout();
        // A reader that went away is no reason to stop half-way.
        drop(writeln!(out, "{text}").and_then(|()| out.flush()));
    }

    /// A scene begins.
    pub(crate) fn title(&self, text: &str) {
        Self::line(&format!("\n{BOLD}── {text}{RESET} {DIM}({:.0?} since the start){RESET}", self.start.elapsed()));
    }

    /// The narrator.
    pub(crate) fn say(text: &str) {
        Self::line(&format!("{DIM}   {text}{RESET}"));
    }

    /// A command with what it printed and its exit code.
    pub(crate) fn command(words: &str, output: &Output) {
        Self::line(&format!("\n{CYAN}$ {words}{RESET}"));
        // Talk goes to stderr and data to stdout; captured apart, the talk came first nearly always.
        for text in [&output.stderr, &output.stdout] {
            if !text.trim().is_empty() {
                Self::line(text.trim_end());
            }
        }
        Self::line(&format!("{DIM}exit {}{RESET}", output.code));
    }

    /// The end, badly.
    pub(crate) fn failed(error: &anyhow::Error) -> ExitCode {
        let mut out = anstream::stderr();
        drop(writeln!(out, "\nthe rehearsal failed: {error:#}"));
        ExitCode::FAILURE
    }
}
