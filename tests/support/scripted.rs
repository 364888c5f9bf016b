//! The `scripted` check: it does what a file tells it, so that a test can make a probe pass, fail, panic, hang or flood.

#![expect(clippy::panic, reason = "a check that panics is one of the things it is told to be")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use checks::{Check, Context, Measure, Meta, Nature, Outcome, PartId, Progress, ReasonSpec, Report, Step};
use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const TOLD_TO_FAIL: ReasonSpec = ReasonSpec::fail("told_to_fail", "tell it to pass");
const TOLD_NOT_TO_LOOK: ReasonSpec = ReasonSpec::unknown("told_not_to_look", "tell it to pass");
const CONTROL: ReasonSpec = ReasonSpec::fail("control_failed", "nothing: the control works");

/// Does what the first word of a file says, read at each look; without a file it passes.
///
/// `pass`, `fail`, `fail EVIDENCE…`, `unknown`, `panic`, `hang` (never returns), `block` (never gives its thread back), `flood` (more parts than
/// may be), `fat` (more memory than may be), `empty` (no part), `parts A B …`, `more` (a proof's slice).
/// The second line speaks for the negative control in the same words; without it the control fails as it should.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scripted {
    /// The file.
    pub file: PathBuf,
}

/// The same as a proof.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ScriptedProof(Scripted);

impl Scripted {
    fn words(&self, line: usize) -> Vec<String> {
        let script = std::fs::read_to_string(&self.file).unwrap_or_default();
        script.lines().nth(line).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    }

    async fn look(&self, memory: Vec<u8>) -> Report<Vec<u8>> {
        let words = self.words(0);
        let word = words.first().map_or("pass", String::as_str);
        let part = |outcome| Step::whole(outcome);
        let step = match word {
            "pass" => part(Outcome::pass("told to pass")),
            "fail" if words.len() > 1 => part(TOLD_TO_FAIL.because(words.get(1..).unwrap_or_default().join(" "))),
            "fail" => part(TOLD_TO_FAIL.because("told to fail")),
            "unknown" => part(TOLD_NOT_TO_LOOK.because("told not to look")),
            "hang" => std::future::pending().await,
            "empty" => Step::Done(BTreeMap::new()),
            "flood" => Step::Done((0..100_000).map(|n| (PartId::new(n.to_string()), Outcome::pass("x"))).collect()),
            "fat" => return Report::new(part(Outcome::pass("fat")), vec![0; 10_000_000]),
            "parts" => Step::Done(words.iter().skip(1).map(|name| (PartId::new(name), Outcome::pass("there"))).collect()),
            "more" => Step::More(Progress { done: 1, total: 2, note: "half way".into() }),
            "block" => block(),
            other => panic!("told to {other}"),
        };
        let measure = Measure { part: PartId::new(PartId::WHOLE), name: "answer", value: 42.0 };
        Report { measures: vec![measure], ..Report::new(step, memory) }
    }

    async fn control(&self) -> Outcome {
        match self.words(1).first().map_or("fail", String::as_str) {
            "pass" => Outcome::pass("the control was told to pass"),
            "fail" => CONTROL.because("the control was told to fail"),
            "unknown" => TOLD_NOT_TO_LOOK.because("the control was told not to look"),
            "hang" => std::future::pending().await,
            other => panic!("the control was told to {other}"),
        }
    }
}

/// Keeps its thread, as a check with a blocking call would.
fn block() -> ! {
    loop {
        std::thread::park_timeout(Duration::from_hours(1));
    }
}

const REASONS: &[ReasonSpec] = &[TOLD_TO_FAIL, TOLD_NOT_TO_LOOK, CONTROL];

impl Check for Scripted {
    const META: Meta = Meta {
        kind: "scripted",
        nature: Nature::Continuous,
        reasons: &[REASONS],
        control: CONTROL,
        measures: &["answer"],
        waivable: true,
        rules: &[],
    };
    type Memory = Vec<u8>;

    fn run<'a>(&'a self, _cx: &'a Context, memory: Vec<u8>) -> BoxFuture<'a, Report<Vec<u8>>> {
        Box::pin(self.look(memory))
    }

    fn control<'a>(&'a self, _cx: &'a Context, _memory: Vec<u8>) -> BoxFuture<'a, Outcome> {
        Box::pin(self.control())
    }
}

impl Check for ScriptedProof {
    const META: Meta = Meta {
        kind: "scriptedProof",
        nature: Nature::Proof,
        reasons: &[REASONS],
        control: CONTROL,
        measures: &["answer"],
        waivable: false,
        rules: &[],
    };
    type Memory = Vec<u8>;

    fn run<'a>(&'a self, _cx: &'a Context, memory: Vec<u8>) -> BoxFuture<'a, Report<Vec<u8>>> {
        Box::pin(self.0.look(memory))
    }

    fn control<'a>(&'a self, _cx: &'a Context, _memory: Vec<u8>) -> BoxFuture<'a, Outcome> {
        Box::pin(self.0.control())
    }
}
