//! A verifier with a phase of four steps, and the means to hold, fail and watch each of them.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::{Output, Process, Role, Spec, Verifier, World, wait_until};

use crate::product::{AT_ONCE, PATIENCE, Script};

/// The steps of the phase: the second is the switch, the third the point of no return.
pub(super) const STEPS: [&str; 4] = ["one", "two", "three", "four"];

/// What each step runs, with a way and its name: leaves a trace, waits while it is told to, fails if it is told to.
const STEP: &str = r#"#!/bin/sh
[ "$1" = check ] || echo "$1 $2" >>trace
while [ "$(cat "tell/$1-$2" 2>/dev/null)" = hold ]; do sleep 0.05; done
if [ "$(cat "tell/$1-$2" 2>/dev/null)" = fail ]; then echo "told to fail"; exit 3; fi
if [ "$(cat "tell/$1-$2" 2>/dev/null)" = ask ]; then read -r answer </dev/tty; fi
case $1 in
  do) : >"done/$2" ;;
  undo) rm -f "done/$2" ;;
  check) [ -e "done/$2" ] ;;
esac
"#;

/// One verifier, two phases: `base`, complete, and `move`, with steps.
pub(super) struct Bench {
    pub(super) world: World,
    pub(super) verifier: Verifier,
    folder: PathBuf,
    pub(super) base: Script,
    pub(super) new_side: Script,
    /// Whether the point of no return is crossed, as a probe sees it.
    pub(super) mark: Script,
}

impl Bench {
    /// With as much time for each step as a slow machine may need.
    pub(super) async fn new() -> Self {
        Self::with("60s", "").await
    }

    /// With this much time for each step, and more settings of the phase.
    pub(super) async fn with(timeout: &str, phase: &str) -> Self {
        Self::in_world(World::new().unwrap(), timeout, phase, None).await
    }

    /// In a world of its own, with the ledger in a folder of its own.
    pub(super) async fn in_world(world: World, timeout: &str, phase: &str, state: Option<PathBuf>) -> Self {
        let (base, new_side) = (Script::new(&world, "base-well"), Script::new(&world, "new-side"));
        let mark = Script::new(&world, "mark");
        mark.says("fail");
        let document = document([&base, &new_side, &mark], timeout, phase);
        let verifier = match state {
            Some(state) => Verifier::start_scripted_in(&world, &document, &state).await.unwrap(),
            None => Verifier::start_scripted(&world, &document).await.unwrap(),
        };
        let folder = verifier.document().parent().unwrap().to_owned();
        for name in ["tell", "done"] {
            fs::create_dir(folder.join(name)).unwrap();
        }
        fs::write(folder.join("step.sh"), STEP).unwrap();
        let bench = Self { world, verifier, folder, base, new_side, mark };
        bench.complete_base().await;
        bench
    }

    async fn complete_base(&self) {
        for verb in ["begin", "switch", "complete"] {
            wait_until(PATIENCE, verb, async || {
                let answer = self.verifier.post(&format!("/v1/phases/base/{verb}"), &json!({})).await?;
                ensure!(answer.status == 200, "{}", answer.body);
                Ok(())
            })
            .await
            .unwrap();
        }
        wait_until(PATIENCE, "the phase may begin", async || {
            let body = self.verifier.get("/v1/gates/move/entry").await?.json()?;
            ensure!(body["verdict"] == "open", "{}", body["reason"]);
            Ok(())
        })
        .await
        .unwrap();
    }

    /// From now on a step, going this way, does what it is told: `hold` or `fail`.
    pub(super) fn tell(&self, way: &str, step: &str, what: &str) {
        let file = self.folder.join("tell").join(format!("{way}-{step}"));
        fs::write(&file, what).unwrap();
    }

    /// It goes on.
    pub(super) fn go(&self, way: &str, step: &str) {
        fs::remove_file(self.folder.join("tell").join(format!("{way}-{step}"))).unwrap();
    }

    /// What was done so far, in order.
    pub(super) fn trace(&self) -> Vec<String> {
        let trace = fs::read_to_string(self.folder.join("trace")).unwrap_or_default();
        trace.lines().map(str::to_owned).collect()
    }

    /// Waits until this has been started so often.
    pub(super) async fn reaches(&self, line: &str, times: usize) {
        wait_until(PATIENCE, line, async || {
            let trace = self.trace();
            ensure!(trace.iter().filter(|done| *done == line).count() >= times, "only {trace:?}");
            Ok(())
        })
        .await
        .unwrap();
    }

    /// Somebody has done the work of this step.
    pub(super) fn did(&self, step: &str) {
        fs::write(self.folder.join("done").join(step), "").unwrap();
    }

    /// Waits until the work of a step is over, whoever has started it.
    pub(super) async fn is_done(&self, step: &str) {
        wait_until(PATIENCE, &format!("step {step} is over"), async || {
            ensure!(self.folder.join("done").join(step).exists(), "not yet");
            Ok(())
        })
        .await
        .unwrap();
    }

    /// Runs `cutover` to its end.
    pub(super) async fn cutover(&self, args: &[&str]) -> Output {
        self.verifier.cutover(args).await.unwrap()
    }

    /// Waits until a started `cutover` says this.
    pub(super) async fn says(&self, process: &Process, words: &str) {
        wait_until(PATIENCE, words, async || {
            ensure!(process.stderr().contains(words), "{}", process.log());
            Ok(())
        })
        .await
        .unwrap();
    }

    /// The same as [`Self::runs`], with the journal in another place.
    pub(super) async fn with_home(&self, verb: &[&str], home: &str) -> Output {
        let args = [verb, &["--yes", "--confirm", "move"]].concat();
        let spec = self.verifier.cutover_spec(Role::Operate, &args).unwrap().env("XDG_STATE_HOME", home);
        let process = self.world.start(spec).unwrap();
        let code = self.ends(&process).await;
        Output { code, stdout: process.stdout(), stderr: process.stderr() }
    }

    /// Runs the phase, or the rest of it, to its end.
    pub(super) async fn runs(&self, verb: &[&str]) -> Output {
        self.cutover(&[verb, &["--yes", "--confirm", "move"]].concat()).await
    }

    /// Starts `cutover`, which goes on beside the test.
    pub(super) fn starts(&self, verb: &[&str]) -> Arc<Process> {
        let args = [verb, &["--yes", "--confirm", "move"]].concat();
        self.world.start(self.verifier.cutover_spec(Role::Operate, &args).unwrap()).unwrap()
    }

    /// Starts the phase, with more of an environment.
    pub(super) fn starts_in(&self, change: impl FnOnce(Spec) -> Spec) -> Arc<Process> {
        let args = ["begin", "move", "--yes", "--confirm", "move"];
        self.world.start(change(self.verifier.cutover_spec(Role::Operate, &args).unwrap())).unwrap()
    }

    /// Runs the phase on a terminal of its own.
    pub(super) async fn on_a_terminal(&self) -> Output {
        let (spec, program) = self.verifier.cutover_in(Role::Operate).unwrap();
        let line = format!("{program} begin move --yes --confirm move");
        let process = self.world.start(spec.args(["-qec", line.as_str(), "/dev/null"])).unwrap();
        let code = self.ends(&process).await;
        Output { code, stdout: process.stdout(), stderr: process.stderr() }
    }

    /// How a started `cutover` ended.
    pub(super) async fn ends(&self, process: &Process) -> i32 {
        let status = process.wait(Duration::from_mins(3)).await.with_context(|| process.log()).unwrap();
        status.code().with_context(|| process.log()).unwrap()
    }

    /// SIGKILL to `cutover` alone: what it has started goes on.
    pub(super) async fn orphan(&self, process: &Process) {
        process.signal(Signal::KILL);
        process.wait(PATIENCE).await.unwrap();
    }

    /// Starts the phase and waits until the `do` of a step runs, where it is held.
    pub(super) async fn held_in(&self, step: &str) -> Arc<Process> {
        self.tell("do", step, "hold");
        let process = self.starts(&["begin", "move"]);
        wait_until(PATIENCE, "the step runs", async || {
            ensure!(self.trace().contains(&format!("do {step}")), "{}", process.log());
            Ok(())
        })
        .await
        .unwrap();
        process
    }

    /// The phase as the verifier tells it.
    pub(super) async fn phase(&self) -> Value {
        let status = self.verifier.get("/v1/status").await.unwrap().json().unwrap();
        status["phases"][1].clone()
    }

    /// Insists on where everything stands.
    pub(super) async fn stands(&self, row: &str, phase: &str, steps: [&str; 4], trace: &[&str]) {
        let body = self.phase().await;
        let states: Vec<&str> =
            body["steps"].as_array().unwrap().iter().map(|step| step["state"].as_str().unwrap_or("-")).collect();
        assert_eq!((body["state"].as_str().unwrap(), states.as_slice()), (phase, steps.as_slice()), "{row}");
        assert_eq!(self.trace(), trace, "{row}");
    }

    /// The phase is back to waiting, and nothing of it is left.
    pub(super) async fn is_back(&self, row: &str, trace: &[&str]) {
        self.stands(row, "waiting", ["-"; 4], trace).await;
        let left: Vec<_> = fs::read_dir(self.folder.join("done")).unwrap().collect();
        assert!(left.is_empty(), "{row}: {left:?}");
        self.is_unlocked(row).await;
    }

    /// All steps are done, each once, unless the trace says otherwise.
    pub(super) async fn has_switched(&self, row: &str, trace: &[&str]) {
        self.stands(row, "active", ["done"; 4], trace).await;
        assert!(self.phase().await["switched"].is_object(), "{row}");
        self.is_unlocked(row).await;
    }

    pub(super) async fn is_unlocked(&self, row: &str) {
        let lock = self.verifier.get("/v1/lock").await.unwrap().json().unwrap();
        assert!(lock["lock"].is_null(), "{row}: {lock}");
    }

    /// Puts another document in force.
    pub(super) async fn reloads(&self, timeout: &str) {
        let hash = async || self.verifier.get("/v1/status").await?.json().map(|status| status["configHash"].clone());
        let before = hash().await.unwrap();
        self.verifier.write_migration(&document([&self.base, &self.new_side, &self.mark], timeout, "")).unwrap();
        self.verifier.reload();
        wait_until(PATIENCE, "the new document is in force", async || {
            ensure!(hash().await? != before, "not yet");
            Ok(())
        })
        .await
        .unwrap();
    }
}

/// What a whole run leaves behind.
pub(super) const FORWARD: [&str; 4] = ["do one", "do two", "do three", "do four"];

fn document([base, new_side, mark]: [&Script; 3], timeout: &str, phase: &str) -> String {
    let step = |name: &str, marks: &str| {
        format!(
            "    - {{name: {name}, do: [sh, step.sh, do, {name}], check: [sh, step.sh, check, {name}], \
             undo: [sh, step.sh, undo, {name}], timeout: {timeout}{marks}}}\n"
        )
    };
    let steps = [
        step("one", ""),
        step("two", ", switch: true, verify: [new-side]"),
        step("three", ", ponr: true"),
        step("four", ", verify: [new-side]"),
    ];
    format!(
        "apiVersion: phasegate.dev/v1alpha1\nkind: Migration\nmetadata: {{name: product}}\nspec:\n  \
         defaults: {{every: 300ms, timeout: 250ms, maxAge: 5s, failAfter: 1, recoverAfter: 1}}\n  phases:\n  \
         - name: base\n    gate: {AT_ONCE}\n    probes:\n    - {}\n  \
         - name: move\n    gate: {AT_ONCE}\n{phase}    probes:\n    - {}\n    - {}\n    steps:\n{}",
        base.probe(),
        new_side.probe(),
        mark.probe_with(", use: [ponr]"),
        steps.concat()
    )
}
