use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use checks::{Measure, PartId};

use crate::annotations::Standing;
use crate::api::tests::world::{BLIND, REFUSED, World, plan};
use crate::event::Wish;
use crate::metrics::{MAX_REASONS, Tally};

fn classic(world: &World) -> String {
    world.metrics.render(&world.ledger.read(), false).unwrap()
}

/// The value of one series, as it stands.
fn value<'a>(body: &'a str, series: &str) -> &'a str {
    let line = body.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series}"))
}

async fn eventful() -> World {
    let world = World::regressed().await;
    world.see("beat", BLIND.because("no permission")).await;
    world.wish(Wish::Override { probe: "beat".into(), reason: "known".into(), ticket: None, ttl: Duration::from_mins(1) }).await;
    let (part, probe) = (PartId::new("node \"1\""), &plan().phases[0].probes[0]);
    let measure = |name, value| Measure { part: part.clone(), name, value };
    world.metrics.measures(probe, &[measure("lag_seconds", 1.5), measure("latency_seconds", 0.2)]);
    world.metrics.annotations(&[Standing {
        target: "grafana".into(),
        marked: 3,
        waiting: 1,
        failures: 2,
        proven: None,
        problem: None,
    }]);
    world.metrics.scheduler_lag(Duration::from_millis(7));
    world.metrics.config_reload(true, world.ledger.clock().now());
    world
}

#[tokio::test(start_paused = true)]
async fn the_whole_exposition() {
    let world = eventful().await;
    insta::with_settings!({filters => vec![(r#"version="[^"]+""#, r#"version="[version]""#)]}, {
        insta::assert_snapshot!(classic(&world));
    });
}

#[tokio::test(start_paused = true)]
async fn promtool_has_no_objection() {
    let world = eventful().await;
    let tool = Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut tool = match tool {
        Ok(tool) => tool,
        Err(error) if std::env::var_os("CI").is_none() => {
            println!("skipped, promtool is not installed: {error}");
            return;
        }
        Err(error) => panic!("promtool is needed: {error}"),
    };
    tool.stdin.take().unwrap().write_all(classic(&world).as_bytes()).unwrap();
    let output = tool.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// T12: a series that is missing is a series that can not alert.
#[tokio::test(start_paused = true)]
async fn every_probe_has_its_series_from_the_first_scrape_on() {
    let world = World::new().await;
    let body = classic(&world);
    for (phase, probe) in [("one", "a"), ("one", "beat"), ("two", "c"), ("two", "proof")] {
        assert_eq!(value(&body, &format!("phasegate_probe_duration_seconds_count{{phase=\"{phase}\",probe=\"{probe}\"}}")), "0");
        assert_eq!(
            value(&body, &format!("phasegate_probe_last_pass_timestamp_seconds{{phase=\"{phase}\",probe=\"{probe}\"}}")),
            "0.0"
        );
    }
    assert_eq!(value(&body, "phasegate_probe_state{phase=\"one\",probe=\"a\",state=\"unknown\"}"), "1");
    assert_eq!(value(&body, "phasegate_probe_failures_total{probe=\"a\",reason=\"refused\"}"), "0");
    assert_eq!(value(&body, "phasegate_probe_runs_total{phase=\"one\",probe=\"a\",check=\"scripted\",outcome=\"fail\"}"), "0");

    world.pass(&["a"]).await;
    world.measure(&plan().phases[0].probes[0], 1.0);
    let mut changed = plan();
    changed.hash = "another".into();
    changed.phases[0].probes[0].name = "b".into();
    world.ledger.configure(Arc::new(changed.clone())).await.unwrap();
    let body = classic(&world);
    assert!(!body.contains("probe=\"a\""), "series of a probe that is gone: {body}");
    assert_eq!(value(&body, "phasegate_probe_state{phase=\"one\",probe=\"b\",state=\"unknown\"}"), "1");
    world.ledger.configure(Arc::new(plan())).await.unwrap();
    let body = classic(&world);
    assert_eq!(value(&body, "phasegate_probe_runs_total{phase=\"one\",probe=\"a\",check=\"scripted\",outcome=\"pass\"}"), "0");
    assert!(!body.contains("lag_seconds\"} "), "an old value of a new probe");
}

/// What alerts count: the same as the verdict does.
#[tokio::test(start_paused = true)]
async fn required_is_what_gates_ask_for() {
    let world = World::new().await;
    let is = |world: &World, probe: &str| {
        let body = classic(world);
        let [one, two] = ["one", "two"].map(|phase| format!("phasegate_probe_required{{phase=\"{phase}\",probe=\"{probe}\"}} "));
        let line = body.lines().find_map(|line| line.strip_prefix(one.as_str()).or(line.strip_prefix(two.as_str())));
        line.unwrap_or_else(|| panic!("no {probe}")).to_owned()
    };
    for probe in ["a", "beat", "c", "proof"] {
        assert_eq!(is(&world, probe), "1", "{probe}");
    }
    let mut changed = plan();
    changed.hash = "another".into();
    changed.phases[0].probes[1].gate = false;
    changed.phases[0].probes[0].until = Some("two".into());
    changed.phases[0].probes.push(crate::api::tests::world::probe("stays"));
    world.ledger.configure(Arc::new(changed)).await.unwrap();
    assert_eq!(is(&world, "beat"), "0", "not meant for a gate");
    for phase in ["one", "two"] {
        world.wish(Wish::Adopt(phase.into(), "it was there before".into())).await;
    }
    assert_eq!(is(&world, "a"), "0", "retired");
    assert_eq!(is(&world, "stays"), "1");
    assert_eq!((is(&world, "c"), is(&world, "proof")), ("1".into(), "0".into()), "proofs of an adopted phase are not asked for");
    world.wish(Wish::Override { probe: "c".into(), reason: "known".into(), ticket: None, ttl: Duration::from_mins(1) }).await;
    assert_eq!(is(&world, "c"), "0", "overridden");
}

#[tokio::test(start_paused = true)]
async fn a_stale_evaluation_opens_nothing() {
    let world = World::open().await;
    assert_eq!(value(&classic(&world), "phasegate_gate_open{phase=\"one\"}"), "1");
    world.freeze(Duration::from_millis(3001)).await;
    let body = classic(&world);
    assert_eq!(value(&body, "phasegate_gate_open{phase=\"one\"}"), "0");
    assert_eq!(value(&body, "phasegate_gate_verdict{phase=\"one\",verdict=\"unknown\"}"), "1");
    assert_eq!(value(&body, "phasegate_gate_verdict{phase=\"one\",verdict=\"open\"}"), "0");
    for (phase, probe) in [("one", "a"), ("one", "beat"), ("two", "c"), ("two", "proof")] {
        let series = format!("phasegate_probe_state{{phase=\"{phase}\",probe=\"{probe}\",state=");
        assert_eq!(value(&body, &format!("{series}\"unknown\"}}")), "1");
        assert_eq!(value(&body, &format!("{series}\"green\"}}")), "0");
    }
    let at = value(&body, "phasegate_gate_last_evaluation_timestamp_seconds{phase=\"one\"}");
    assert!(at.starts_with("17723664"), "it says when it was: {at}");
}

#[tokio::test(start_paused = true)]
async fn numbers_that_are_none_are_dropped() {
    let world = World::new().await;
    let probe = &plan().phases[0].probes[0];
    world.measure(probe, 2.5);
    let series = r#"phasegate_probe_value{probe="a",part="node \"1\"",value="lag_seconds"}"#;
    assert_eq!(value(&classic(&world), series), "2.5");
    world.measure(probe, f64::NAN);
    assert!(!classic(&world).contains(series));
}

#[test]
fn reasons_are_bounded() {
    let mut tally = Tally::default();
    for at in 0..1000 {
        let reason = serde_json::from_value(format!("reason_{at}").into()).unwrap();
        tally.failed(&reason);
    }
    assert_eq!(tally.failures.len(), MAX_REASONS + 1);
    assert_eq!(tally.failures["other"], 1000 - u64::try_from(MAX_REASONS).unwrap());
    assert!(REFUSED.name.len() < 64);
}
