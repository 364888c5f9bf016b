//! The metrics of a running verifier, as Prometheus reads them.

use std::time::Duration;

use reqwest::header::ACCEPT;
use tests::{Spec, Verifier, World};

use super::{AT_ONCE, QUICK, Script, looks, migration, switch};

const END: Duration = Duration::from_secs(30);

/// Feeds an exposition to `promtool check metrics`.
async fn promtool(world: &World, exposition: &str) {
    let file = world.write("exposition", exposition).unwrap().display().to_string();
    let script = "command -v promtool >/dev/null || { echo 'there is no promtool: apt-get install prometheus, or tests/run' >&2; exit 127; }
                  exec promtool check metrics <\"$1\"";
    let checked = world.run(Spec::new("promtool", "/bin/sh").args(["-c", script, "promtool", &file]), END).await.unwrap();
    assert_eq!((checked.code, checked.stderr.as_str(), checked.stdout.as_str()), (0, "", ""), "promtool's own words");
}

/// The families that have one series or more for a probe.
const OF_A_PROBE: &[&str] = &[
    "probe_state",
    "probe_runs_total",
    "probe_duration_seconds_count",
    "probe_failures_total",
    "probe_last_run_timestamp_seconds",
    "probe_last_pass_timestamp_seconds",
    "probe_state_since_timestamp_seconds",
    "probe_consecutive_failures",
    "probe_flaps_total",
    "probe_control_trusted",
    "override_active",
];

fn has(exposition: &str, family: &str, label: &str) -> bool {
    let start = format!("phasegate_{family}{{");
    exposition.lines().any(|line| line.starts_with(&start) && line.contains(label))
}

#[tokio::test]
async fn every_series_is_there_from_the_first_scrape_and_promtool_has_no_complaint() {
    let world = World::new().unwrap();
    let (good, mad) = (Script::new(&world, "good"), Script::new(&world, "mad"));
    mad.says("panic");
    // The second one does not look before long: its series are there all the same.
    let probes = [
        good.probe(),
        mad.probe(),
        "{name: beat, every: 1h, timeout: 1s, maxAge: 3h, check: {heartbeat: {within: 1h}}}".to_owned(),
    ];
    let document = migration(QUICK, "{}", AT_ONCE, &probes.each_ref().map(String::as_str));
    let verifier = Verifier::start_scripted(&world, &document).await.unwrap();
    let scrape = async || verifier.get("/metrics").await.unwrap().body;
    let all_there = |exposition: &str| {
        for probe in ["good", "mad", "beat"] {
            for family in OF_A_PROBE {
                assert!(has(exposition, family, &format!("probe=\"{probe}\"")), "no {family} of {probe}:\n{exposition}");
            }
        }
        for (family, label) in [
            ("gate_open", "phase=\"move\""),
            ("gate_verdict", "verdict=\"unknown\""),
            ("gate_soak_seconds", "phase=\"move\""),
            ("phase_state", "state=\"waiting\""),
            ("phase_regressed", "phase=\"move\""),
        ] {
            assert!(has(exposition, family, label), "no {family} {label}:\n{exposition}");
        }
    };
    let first = scrape().await;
    all_there(&first);
    promtool(&world, &first).await;

    switch(&verifier).await;
    looks(&verifier, "good", "green", "").await;
    looks(&verifier, "mad", "unknown", "panic").await;
    let later = scrape().await;
    all_there(&later);
    promtool(&world, &later).await;
    let is = |line: &str| assert!(later.lines().any(|each| each == line), "no {line}:\n{later}");
    is("phasegate_gate_open{phase=\"move\"} 0");
    is("phasegate_probe_state{phase=\"move\",probe=\"mad\",state=\"unknown\"} 1");
    is("phasegate_probe_state{phase=\"move\",probe=\"mad\",state=\"green\"} 0");
    is("phasegate_probe_state{phase=\"move\",probe=\"good\",state=\"green\"} 1");

    let open =
        world.http().get(format!("{}/metrics", verifier.url())).header(ACCEPT, "application/openmetrics-text; version=1.0.0");
    let open = open.send().await.unwrap();
    assert!(open.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    assert!(open.text().await.unwrap().ends_with("# EOF\n"));
}
