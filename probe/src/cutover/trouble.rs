//! Why a verb can not answer "open" or "done": one line, what to do next, one exit code.

use serde_json::{Value, json};

use crate::api::types::{BlockerBody, ErrorBody};
use crate::exit::Exit;
use crate::gate::Verdict;

/// A verb ended without what was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Trouble {
    /// The exit code, whatever the output format.
    pub(crate) exit: Exit,
    /// Stable, `snake_case`.
    pub(crate) code: Box<str>,
    /// What is the matter, in one line.
    pub(crate) message: Box<str>,
    /// What to do next.
    pub(crate) hint: Option<Box<str>>,
    /// What stands in the way.
    pub(crate) blockers: Box<[BlockerBody]>,
    /// What was done before it went wrong.
    pub(crate) done: Box<[Value]>,
}

/// The exit code of a verdict.
pub(crate) const fn exit_of(verdict: Verdict) -> Exit {
    match verdict {
        Verdict::Open => Exit::OPEN,
        Verdict::Closed => Exit::CLOSED,
        Verdict::Pending => Exit::PENDING,
        Verdict::Unknown => Exit::UNKNOWN,
    }
}

/// What to type next where the server gave no hint.
fn where_to_look(exit: Exit) -> &'static str {
    match exit {
        Exit::NOT_FOUND => "`cutover status` shows what there is",
        Exit::USAGE => "add --help to see what this takes",
        Exit::MOVED => "`cutover lock status` shows who is at work, `cutover plan` what the plan is now",
        _ => "`cutover status` shows what stands in the way",
    }
}

impl Trouble {
    /// Trouble whose code is the name of its exit.
    pub(crate) fn new(exit: Exit, message: impl Into<Box<str>>) -> Self {
        Self { exit, code: exit.name.into(), message: message.into(), hint: None, blockers: [].into(), done: [].into() }
    }

    /// Says what to do next.
    pub(crate) fn hint(mut self, hint: impl Into<Box<str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what stands in the way.
    pub(crate) fn blocked_by(mut self, blockers: Vec<BlockerBody>) -> Self {
        self.blockers = blockers.into();
        self
    }

    /// The server's own words for an exit; the words of the exit where it has none.
    pub(crate) fn told(exit: Exit, body: ErrorBody) -> Self {
        let or = |told: String, own: &str| if told.is_empty() { own.into() } else { told.into_boxed_str() };
        let trouble = Self { code: or(body.code, exit.name), ..Self::new(exit, or(body.message, exit.meaning)) };
        let hint = body.hint.unwrap_or_else(|| where_to_look(exit).to_owned());
        trouble.hint(hint).blocked_by(body.blockers)
    }

    /// Whether a gate, a guard or the phase itself said no, rather than something being broken.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self.exit, Exit::CLOSED | Exit::PENDING | Exit::UNKNOWN)
    }

    /// The machine-readable form: `{code, exit, message, hint, blockers}`.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "code": self.code,
            "exit": self.exit.code,
            "message": self.message,
            "hint": self.hint,
            "blockers": self.blockers,
        })
    }
}
