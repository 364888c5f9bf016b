//! The command, its step, the verifier and the network between them go away, at each step.

use futures::future::join_all;
use rustix::process::Signal;
use tests::{Fault, FaultProxy, Role};

use super::bench::FORWARD;
use super::{Bench, STEPS};

#[tokio::test]
async fn a_killed_terminal_is_resumed_and_no_step_runs_twice() {
    let rows = STEPS.map(async |step| {
        let (bench, row) = (Bench::new().await, format!("cutover is killed in step {step}, which goes on"));
        let process = bench.held_in(step).await;
        bench.orphan(&process).await;
        let second = bench.runs(&["begin", "move"]).await;
        assert_ne!(second.code, 0, "{row}: {}", second.stderr);
        bench.go("do", step);
        bench.is_done(step).await;
        let output = bench.runs(&["resume"]).await;
        assert_eq!(output.code, 0, "{row}: {}", output.stderr);
        bench.has_switched(&row, &FORWARD).await;
    });
    join_all(rows).await;
}

#[tokio::test]
async fn a_rebooted_laptop_is_resumed_and_its_step_is_looked_at_before_it_runs_again() {
    let rows = STEPS.map(async |step| {
        let (bench, row) = (Bench::new().await, format!("cutover and step {step} are killed"));
        let process = bench.held_in(step).await;
        process.kill().await.unwrap();
        bench.go("do", step);
        let output = bench.runs(&["resume"]).await;
        assert_eq!(output.code, 0, "{row}: {}", output.stderr);
        let at = STEPS.iter().position(|each| *each == step).unwrap();
        bench.has_switched(&row, &[&FORWARD[..=at], &FORWARD[at..]].concat()).await;
    });
    join_all(rows).await;
}

#[tokio::test]
async fn a_killed_terminal_on_the_way_back_is_resumed() {
    let rows = ["two", "one"].map(async |step| {
        let (bench, row) = (Bench::new().await, format!("cutover is killed in the undo of step {step}"));
        bench.tell("do", "two", "fail");
        bench.tell("undo", step, "hold");
        let process = bench.starts(&["begin", "move"]);
        bench.reaches(&format!("undo {step}"), 1).await;
        process.kill().await.unwrap();
        bench.go("undo", step);
        let output = bench.runs(&["abort"]).await;
        assert_eq!(output.code, 0, "{row}: {}", output.stderr);
        let rest =
            if step == "two" { vec!["undo two", "undo two", "undo one"] } else { vec!["undo two", "undo one", "undo one"] };
        bench.is_back(&row, &[vec!["do one", "do two"], rest].concat()).await;
    });
    join_all(rows).await;
}

#[tokio::test]
async fn a_verifier_that_comes_back_in_time_goes_unnoticed() {
    let rows = STEPS.map(async |step| {
        let (bench, row) = (Bench::new().await, format!("the verifier is killed in step {step}, and started again"));
        let process = bench.held_in(step).await;
        bench.verifier.kill9().await.unwrap();
        bench.go("do", step);
        bench.is_done(step).await;
        bench.verifier.start_again().await.unwrap();
        assert_eq!(bench.ends(&process).await, 0, "{row}: {}", process.log());
        bench.has_switched(&row, &FORWARD).await;
    });
    join_all(rows).await;
}

#[tokio::test]
async fn a_frozen_verifier_holds_the_run_and_is_not_believed() {
    let rows = STEPS.map(async |step| {
        let (bench, row) = (Bench::new().await, format!("the verifier freezes in step {step}"));
        let process = bench.held_in(step).await;
        bench.verifier.freeze().await.unwrap();
        bench.go("do", step);
        bench.is_done(step).await;
        bench.verifier.thaw();
        assert_eq!(bench.ends(&process).await, 0, "{row}: {}", process.log());
        bench.has_switched(&row, &FORWARD).await;
    });
    join_all(rows).await;
}

#[tokio::test]
async fn without_a_verifier_everything_is_taken_back_and_told_later() {
    let rows = ["one", "two"].map(async |step| {
        let (bench, row) = (Bench::with("5s", "").await, format!("the verifier is gone from step {step} on"));
        let process = bench.held_in(step).await;
        bench.verifier.kill9().await.unwrap();
        bench.go("do", step);
        assert_eq!(bench.ends(&process).await, 12, "{row}: {}", process.log());
        let trace = if step == "one" { vec!["do one", "undo one"] } else { vec!["do one", "do two", "undo two", "undo one"] };
        assert_eq!(bench.trace(), trace, "{row}");
        bench.verifier.start_again().await.unwrap();
        let output = bench.runs(&["abort"]).await;
        assert_eq!(output.code, 0, "{row}: {}", output.stderr);
        bench.is_back(&row, &trace).await;
    });
    join_all(rows).await;
}

#[tokio::test]
async fn without_a_verifier_behind_the_point_of_no_return_nothing_is_taken_back() {
    let rows = ["three", "four"].map(async |step| {
        let (bench, row) = (Bench::with("5s", "").await, format!("the verifier is gone from step {step} on"));
        let process = bench.held_in(step).await;
        bench.verifier.kill9().await.unwrap();
        bench.go("do", step);
        assert_eq!(bench.ends(&process).await, 12, "{row}: {}", process.log());
        bench.verifier.start_again().await.unwrap();
        let output = bench.runs(&["resume"]).await;
        assert_eq!(output.code, 0, "{row}: {}", output.stderr);
        bench.has_switched(&row, &FORWARD).await;
    });
    join_all(rows).await;
}

#[tokio::test]
async fn without_a_verifier_too_nobody_goes_back_behind_the_point_of_no_return_unasked() {
    let bench = Bench::new().await;
    let process = bench.held_in("four").await;
    bench.orphan(&process).await;
    bench.go("do", "four");
    bench.is_done("four").await;
    bench.verifier.kill9().await.unwrap();
    let output = bench.cutover(&["abort", "--yes"]).await;
    assert_eq!(output.code, 2, "{}", output.stderr);
    assert!(output.stderr.contains("--confirm=move"), "{}", output.stderr);
    assert_eq!(bench.trace(), FORWARD, "nothing was taken back");
}

#[tokio::test]
async fn a_cut_network_that_heals_goes_unnoticed() {
    let rows = STEPS.map(async |step| {
        let (bench, row) = (Bench::new().await, format!("the network is cut in step {step}"));
        let proxy = FaultProxy::start(bench.verifier.address()).unwrap();
        bench.tell("do", step, "hold");
        let args = ["begin", "move", "--yes", "--confirm", "move", "--request-timeout", "1s"];
        let spec = bench
            .verifier
            .cutover_spec(Role::Operate, &args)
            .unwrap()
            .env("PHASEGATE_SERVER", format!("http://{}", proxy.address()));
        let process = bench.world.start(spec).unwrap();
        bench.reaches(&format!("do {step}"), 1).await;
        proxy.set(Fault::BlackHole).await.unwrap();
        bench.go("do", step);
        bench.is_done(step).await;
        proxy.clear().await.unwrap();
        assert_eq!(bench.ends(&process).await, 0, "{row}: {}", process.log());
        bench.has_switched(&row, &FORWARD).await;
    });
    join_all(rows).await;
}

#[tokio::test]
async fn an_interrupt_finishes_the_step_and_a_second_one_breaks_it_off() {
    let rows = ["one", "two", "three"].map(async |step| {
        let (bench, row) = (Bench::new().await, format!("Ctrl-C in step {step}"));
        let process = bench.held_in(step).await;
        process.signal(Signal::INT);
        bench.go("do", step);
        assert_eq!(bench.ends(&process).await, 130, "{row}: {}", process.log());
        assert!(process.stderr().contains("`cutover resume`"), "{row}: {}", process.log());
        let at = STEPS.iter().position(|each| *each == step).unwrap();
        let mut states = ["done"; 4];
        states[at + 1..].fill("-");
        bench.stands(&row, "active", states, &FORWARD[..=at]).await;
        bench.is_unlocked(&row).await;
        assert_eq!(bench.runs(&["resume"]).await.code, 0, "{row}");
        bench.has_switched(&row, &FORWARD).await;
    });
    join_all(rows).await;
    let (bench, row) = (Bench::new().await, "Ctrl-C twice in step two");
    let process = bench.held_in("two").await;
    process.signal(Signal::INT);
    process.signal(Signal::TERM);
    assert_eq!(bench.ends(&process).await, 130, "{row}: {}", process.log());
    bench.stands(row, "active", ["done", "interrupted", "-", "-"], &FORWARD[..2]).await;
    bench.go("do", "two");
    let output = bench.runs(&["abort"]).await;
    assert_eq!(output.code, 0, "{row}: {}", output.stderr);
    bench.is_back(row, &["do one", "do two", "undo two", "undo one"]).await;
}
