//! The steps of a phase are rehearsed in a scratch migration.

use std::fs;

use tests::{Verifier, World};

use super::Bench;
use crate::product::{AT_ONCE, Script, looks};

/// A scratch migration with the same steps, which take a second, and its verifier.
struct Scratch {
    verifier: Verifier,
    file: String,
    _world: World,
}

impl Scratch {
    async fn new(name: &str, steps: &[&str]) -> Self {
        let world = World::new().unwrap();
        let (base, new_side) = (Script::new(&world, "base-well"), Script::new(&world, "new-side"));
        let lines: Vec<String> = steps
            .iter()
            .enumerate()
            .map(|(nth, step)| {
                let switch = if nth == 1 { ", switch: true" } else { "" };
                format!("    - {{name: {step}, do: [sh, -c, \"echo {step} >>trace; sleep 1\"], undo: [\"true\"]{switch}}}\n")
            })
            .collect();
        let document = format!(
            "apiVersion: phasegate.dev/v1alpha1\nkind: Migration\nmetadata: {{name: {name}}}\nspec:\n  \
             defaults: {{every: 300ms, timeout: 250ms, maxAge: 5s}}\n  phases:\n  \
             - name: base\n    gate: {AT_ONCE}\n    probes:\n    - {}\n  \
             - name: move\n    gate: {AT_ONCE}\n    probes:\n    - {}\n    steps:\n{}",
            base.probe(),
            new_side.probe(),
            lines.concat()
        );
        let verifier = Verifier::start_scripted(&world, &document).await.unwrap();
        looks(&verifier, "base-well", "green", "").await;
        assert_eq!(verifier.cutover(&["adopt", "base", "--reason", "scratch", "--yes"]).await.unwrap().code, 0);
        let file = verifier.document().display().to_string();
        Self { verifier, file, _world: world }
    }

    fn args<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let own = ["begin", "move", "--yes", "--rehearse", &self.file, "--scratch-server", self.verifier.url()];
        [&own, more].concat()
    }
}

#[tokio::test]
async fn a_rehearsal_runs_elsewhere_and_its_times_are_quoted() {
    let bench = Bench::new().await;
    let scratch = Scratch::new("scratch", &super::STEPS).await;
    let output = bench.cutover(&scratch.args(&[])).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
    bench.stands("rehearsed", "waiting", ["-"; 4], &[]).await;
    let folder = scratch.verifier.document().parent().unwrap();
    assert_eq!(fs::read_to_string(folder.join("trace")).unwrap(), "one\ntwo\nthree\nfour\n");
    let plan = bench.verifier.get("/v1/phases/move/plan").await.unwrap().json().unwrap();
    for step in plan["steps"].as_array().unwrap() {
        assert!(step["tookSeconds"].as_f64() >= Some(1.0) && step["rehearsed"] == true, "{step}");
    }
    let shown = bench.cutover(&["plan", "move"]).await;
    assert!(shown.stdout.contains("rehearsed"), "{}", shown.stdout);
    assert_eq!(bench.runs(&["begin", "move"]).await.code, 0);
    let plan = bench.verifier.get("/v1/phases/move/plan").await.unwrap().json().unwrap();
    assert_eq!(plan["steps"][0]["rehearsed"], false, "what was done for real says more");
}

#[tokio::test]
async fn what_is_no_rehearsal_is_refused_before_anything_is_done() {
    let bench = Bench::new().await;
    let other = Scratch::new("scratch", &["one", "two", "three"]).await;
    let same_name = Scratch::new("product", &super::STEPS).await;
    let own = bench.verifier.document().display().to_string();
    let itself = ["begin", "move", "--yes", "--rehearse", &own, "--scratch-server", bench.verifier.url()];
    for (args, words) in [
        (other.args(&[]), "the scratch migration has other steps"),
        (same_name.args(&[]), "it has the real one's name"),
        (itself.to_vec(), "it has the real one's name"),
        (other.args(&["--dry-run"]), "cannot be used with"),
        (vec!["begin", "move", "--rehearse", "x.yaml"], "--scratch-server"),
    ] {
        let output = bench.cutover(&args).await;
        assert_eq!(output.code, 2, "{args:?}: {}", output.stderr);
        assert!(output.stderr.contains(words), "{args:?}: {}", output.stderr);
    }
    bench.stands("not rehearsed", "waiting", ["-"; 4], &[]).await;
    assert!(!other.verifier.document().parent().unwrap().join("trace").exists());
}
