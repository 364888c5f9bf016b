//! The machines under a run misbehave: their disks are full, their clocks jump.

use chrono::TimeDelta;
use futures::future::join_all;
use tests::{Disk, World};

use super::bench::FORWARD;
use super::{Bench, STEPS};

const DISK_KIB: u32 = 1024;

/// A bench whose ledger is on a disk that can be filled.
async fn on_a_small_disk(timeout: &str) -> (Bench, Disk) {
    let world = World::new().unwrap();
    let disk = world.small_disk("disk", DISK_KIB).await.unwrap();
    let state = disk.path().join("state");
    (Bench::in_world(world, timeout, "", Some(state)).await, disk)
}

#[tokio::test]
async fn a_full_disk_of_the_ledger_holds_a_run_until_there_is_space() {
    let rows = STEPS.map(async |step| {
        let ((bench, disk), row) =
            (on_a_small_disk("60s").await, format!("the ledger's disk is full in step {step}, for a while"));
        let process = bench.held_in(step).await;
        disk.fill().unwrap();
        bench.go("do", step);
        bench.says(&process, "the ledger can not be written").await;
        disk.free().unwrap();
        assert_eq!(bench.ends(&process).await, 0, "{row}: {}", process.log());
        bench.has_switched(&row, &FORWARD).await;
    });
    join_all(rows).await;
}

#[tokio::test]
async fn a_disk_of_the_ledger_that_stays_full_leads_back_before_the_point_of_no_return() {
    let rows = ["one", "two"].map(async |step| {
        let ((bench, disk), row) = (on_a_small_disk("5s").await, format!("the ledger's disk stays full from step {step} on"));
        let process = bench.held_in(step).await;
        disk.fill().unwrap();
        bench.go("do", step);
        assert_eq!(bench.ends(&process).await, 12, "{row}: {}", process.log());
        let trace = if step == "one" { vec!["do one", "undo one"] } else { vec!["do one", "do two", "undo two", "undo one"] };
        assert_eq!(bench.trace(), trace, "{row}");
        disk.free().unwrap();
        let output = bench.runs(&["abort"]).await;
        assert_eq!(output.code, 0, "{row}: {}", output.stderr);
        bench.is_back(&row, &trace).await;
    });
    join_all(rows).await;
}

#[tokio::test]
async fn a_disk_of_the_ledger_that_stays_full_behind_the_point_of_no_return_takes_nothing_back() {
    let rows = ["three", "four"].map(async |step| {
        let ((bench, disk), row) = (on_a_small_disk("5s").await, format!("the ledger's disk stays full from step {step} on"));
        let process = bench.held_in(step).await;
        disk.fill().unwrap();
        bench.go("do", step);
        assert_eq!(bench.ends(&process).await, 12, "{row}: {}", process.log());
        disk.free().unwrap();
        let output = bench.runs(&["resume"]).await;
        assert_eq!(output.code, 0, "{row}: {}", output.stderr);
        bench.has_switched(&row, &FORWARD).await;
    });
    join_all(rows).await;
}

#[tokio::test]
async fn a_full_disk_of_the_operator_refuses_a_run_before_anything_is_done() {
    let (bench, row) = (Bench::new().await, "the operator's disk is full");
    let disk = bench.world.small_disk("journal", 64).await.unwrap();
    let home = disk.path().display().to_string();
    disk.fill().unwrap();
    let output = bench.with_home(&["begin", "move"], &home).await;
    assert_eq!(output.code, 2, "{row}: {}", output.stderr);
    assert!(output.stderr.contains("No space left"), "{row}: {}", output.stderr);
    bench.is_back(row, &[]).await;
    disk.free().unwrap();
    let output = bench.with_home(&["begin", "move"], &home).await;
    assert_eq!(output.code, 0, "{row}: {}", output.stderr);
    bench.has_switched(row, &FORWARD).await;
}

#[tokio::test]
async fn a_clock_that_jumps_on_the_operators_machine_goes_unnoticed() {
    let rows = STEPS.map(async |step| {
        let hours = if matches!(step, "one" | "three") { 5 } else { -5 };
        let (bench, row) = (Bench::new().await, format!("the operator's clock jumps by {hours} h in step {step}"));
        bench.tell("do", step, "hold");
        let process = bench.starts_in(|spec| spec.clock(TimeDelta::zero()));
        bench.reaches(&format!("do {step}"), 1).await;
        process.shift_clock(TimeDelta::hours(hours)).unwrap();
        bench.go("do", step);
        assert_eq!(bench.ends(&process).await, 0, "{row}: {}", process.log());
        bench.has_switched(&row, &FORWARD).await;
    });
    join_all(rows).await;
}

#[tokio::test]
async fn a_clock_that_jumps_under_the_ledger_goes_unnoticed() {
    let rows = STEPS.map(async |step| {
        let hours = if matches!(step, "one" | "three") { 5 } else { -5 };
        let world = World::new().unwrap();
        world.set_clock(Some(TimeDelta::zero()));
        let bench = Bench::in_world(world, "60s", "", None).await;
        let row = format!("the verifier's clock jumps by {hours} h in step {step}");
        let process = bench.held_in(step).await;
        bench.verifier.process().shift_clock(TimeDelta::hours(hours)).unwrap();
        bench.go("do", step);
        assert_eq!(bench.ends(&process).await, 0, "{row}: {}", process.log());
        bench.has_switched(&row, &FORWARD).await;
    });
    join_all(rows).await;
}
