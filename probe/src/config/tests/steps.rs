//! Phases with steps: what a sound document comes to, what is only remarked, and what the hashes cover.

use std::path::Path;
use std::time::Duration;

use checks::SecretRef;

use super::{FULL, SMALL, STEPS, parse};
use crate::config::{Config, EnvValue, StepSpec, Undo, Work};
use crate::plan::{NaturePlan, SealAt, StepKind, StepPlan};

fn sound(text: &str) -> Config {
    parse(text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn changed(from: &str, to: &str) -> Config {
    assert!(STEPS.contains(from), "{from}");
    sound(&STEPS.replacen(from, to, 1))
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn step<'a>(config: &'a Config, name: &str) -> (&'a StepPlan, &'a StepSpec) {
    let plan = config.plan.phase("loki").and_then(|phase| phase.step(name)).unwrap();
    (plan, config.steps["loki"].iter().find(|spec| &*spec.name == name).unwrap())
}

fn names(listed: &[std::sync::Arc<str>]) -> Vec<&str> {
    listed.iter().map(|name| &**name).collect()
}

#[test]
fn what_is_said_of_steps_is_kept() {
    let config = sound(STEPS);
    assert_eq!(config.warnings, []);
    let phases = &config.plan.phases;
    assert!(!phases[0].four_eyes && phases[0].steps.is_empty() && phases[1].four_eyes);
    assert_eq!(config.breaks.values().collect::<Vec<_>>(), ["the old Grafana sees no new lines until phase grafana"]);
    assert_eq!(config.breaks.keys().chain(config.steps.keys()).map(|name| &**name).collect::<Vec<_>>(), ["loki", "loki"]);
    let order = ["alloy-is-proven", "tell-the-users", "deploy-loki", "loki-settles", "retire-promtail", "remove-promtail"];
    assert_eq!(phases[1].steps.iter().map(|step| &*step.name).collect::<Vec<_>>(), order);
    assert_eq!(config.steps["loki"].iter().map(|step| &*step.name).collect::<Vec<_>>(), order);

    let (plan, spec) = step(&config, "deploy-loki");
    let expected = StepPlan {
        name: "deploy-loki".into(),
        kind: StepKind::Command,
        switch: false,
        ponr: false,
        undo: true,
        check: true,
        verify: vec!["k3s-loki-writes".into(), "alloy-rollout".into()],
        gate: None,
        disturbs: Vec::new(),
        timeout: Duration::from_mins(15),
    };
    assert_eq!(*plan, expected);
    assert_eq!(spec.work, Work::Command(words("kubectl apply -k k3s/loki")));
    assert_eq!(spec.check, Some(words("kubectl get statefulset/loki")));
    assert_eq!(spec.undo, Some(Undo::Command(words("kubectl delete -k k3s/loki"))));
    assert_eq!((spec.dir.as_deref(), spec.timeout), (Some(Path::new("k3s")), Duration::from_mins(15)));
    let env: Vec<_> = spec.env.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    let expected = [
        ("API_TOKEN", EnvValue::Secret(SecretRef::File("/run/token".into()))),
        ("KUBECONFIG", EnvValue::Text("/etc/k.yaml".into())),
        ("PGPASSWORD", EnvValue::Secret(SecretRef::Env("PG_PASSWORD".into()))),
    ];
    assert_eq!(env, expected);
}

#[test]
fn a_person_and_a_wait_are_steps_too() {
    let config = sound(STEPS);
    let (plan, spec) = step(&config, "tell-the-users");
    assert_eq!((plan.kind, plan.undo, plan.check, plan.timeout), (StepKind::Manual, true, false, Duration::from_mins(10)));
    assert_eq!(spec.work, Work::Manual("Tell the users that the logs stop for a while".into()));
    assert_eq!(spec.undo, Some(Undo::Manual("Tell them that it is off".into())));
    let (plan, spec) = step(&config, "alloy-is-proven");
    assert_eq!((plan.kind, plan.gate.as_deref(), plan.timeout), (StepKind::Wait, Some("alloy"), Duration::from_hours(2)));
    assert!(plan.verify.is_empty() && spec.work == Work::Wait && spec.env.is_empty() && spec.dir.is_none());
    let (plan, _) = step(&config, "loki-settles");
    assert_eq!((plan.kind, names(&plan.verify), plan.gate.as_deref()), (StepKind::Wait, vec!["k3s-loki-ready"], None));
}

#[test]
fn the_switch_and_the_point_of_no_return_are_marked() {
    let config = sound(STEPS);
    let marked = |mark: fn(&StepPlan) -> bool| {
        let steps = config.plan.phases[1].steps.iter().filter(|step| mark(step));
        steps.map(|step| &*step.name).collect::<Vec<_>>()
    };
    assert_eq!(marked(|step| step.switch), ["retire-promtail"]);
    assert_eq!(marked(|step| step.ponr), ["remove-promtail"]);
    assert_eq!(names(&step(&config, "retire-promtail").0.disturbs), ["docker-loki-ready", "alloy-rollout"]);
    let uses = |name: &str| {
        let (_, probe) = config.plan.probe(name).unwrap();
        (probe.gate, probe.preflight, probe.before_ponr)
    };
    assert_eq!(uses("docker-loki-ready"), (false, true, true));
    assert_eq!(uses("k3s-loki-writes"), (false, false, false));
    assert_eq!(uses("alloy-rollout"), (true, false, false));
    let sealed = |nature: &NaturePlan| matches!(nature, NaturePlan::Proof { seal_at: SealAt::Ponr, .. });
    assert!(sealed(&config.plan.probe("same-lines").unwrap().1.nature));
}

#[test]
fn a_switch_that_nothing_leads_back_from_and_a_probe_that_no_step_asks_are_remarks() {
    let text = STEPS.replacen("      undo: [docker, compose, start, promtail]\n", "", 1);
    let text = text.replacen("[k3s-loki-writes, alloy-rollout]", "[alloy-rollout]", 1);
    let warnings: Vec<_> = sound(&text).warnings.into_iter().map(|warning| (warning.message, warning.hint)).collect();
    let pair = |message: &str, hint: &str| (message.to_owned(), hint.to_owned());
    let expected = [
        pair(
            "probe `k3s-loki-writes` is for steps only, and no step verifies it",
            "name it in the `verify` of a step, or say what else it counts for: `use: [gate]`",
        ),
        pair("step `retire-promtail` is the switch, and nothing leads back from it", "give it `undo`, or write `ponr: true`"),
    ];
    assert_eq!(warnings, expected);
    let waited = text.replacen("[k3s-loki-ready]}", "[k3s-loki-writes]}", 1);
    assert_eq!(sound(&waited).warnings.len(), 1, "a wait asks too");
    let switched = STEPS.replacen("      ponr: true\n", "", 1).replacen("ponr: false", "ponr: true", 1);
    let switched = switched.replacen("      undo: [docker, compose, start, promtail]\n", "", 1);
    assert_eq!(sound(&switched).warnings, [], "a switch may be the point of no return");
}

#[test]
fn each_word_of_the_steps_is_in_the_hash_of_the_document_and_of_no_probe() {
    let whole = sound(STEPS);
    for (from, to) in [
        ("fourEyes: true", "fourEyes: false"),
        ("the old Grafana sees", "the old Grafana shows"),
        ("    breaks: \"the old Grafana sees no new lines until phase grafana\"\n", ""),
        ("name: tell-the-users", "name: tell-users"),
        ("logs stop", "logs end"),
        ("that it is off", "that it is over"),
        ("apply, -k", "replace, -k"),
        ("get, statefulset/loki", "describe, statefulset/loki"),
        ("      check: [kubectl, get, statefulset/loki]\n", ""),
        ("[k3s-loki-writes, alloy-rollout]", "[k3s-loki-writes]"),
        ("delete, -k", "scale, -k"),
        ("timeout: 15m", "timeout: 16m"),
        ("KUBECONFIG: /etc/k.yaml", "KUBECONFIG: /etc/l.yaml"),
        ("KUBECONFIG: /etc/k.yaml", "KUBECONFIG: {file: /etc/k.yaml}"),
        ("env: PG_PASSWORD", "env: PG_PASS"),
        ("file: /run/token", "file: /run/tokens"),
        ("dir: k3s", "dir: k3s/base"),
        ("wait: {gate: alloy}", "wait: {probes: [alloy-rollout]}"),
        ("wait: {probes: [k3s-loki-ready]}", "wait: {probes: [k3s-loki-writes]}"),
        ("disturbs: [docker-loki-ready, alloy-rollout]", "disturbs: [docker-loki-ready]"),
        ("      ponr: true\n", "      ponr: true\n      undo: [docker, compose, up, promtail]\n"),
    ] {
        let config = changed(from, to);
        assert_ne!(config.plan.hash, whole.plan.hash, "{to}");
        for (_, probe) in whole.plan.probes() {
            assert_eq!(config.plan.probe(&probe.name).unwrap().1.hash, probe.hash, "{to}");
        }
    }
}

#[test]
fn steps_that_are_written_otherwise_have_the_same_hash() {
    let whole = sound(STEPS);
    for (from, to) in [
        ("timeout: 15m", "timeout: 900s"),
        ("      timeout: 2h\n", "      timeout: 120m\n"),
        ("      ponr: false\n", ""),
        ("      switch: true\n      ponr: false\n", "      timeout: 10m\n      ponr: false\n      switch: true\n"),
        (
            "{KUBECONFIG: /etc/k.yaml, PGPASSWORD: {env: PG_PASSWORD},",
            "{PGPASSWORD: {env: PG_PASSWORD}, KUBECONFIG: /etc/k.yaml,",
        ),
        ("do: [kubectl, apply, -k, k3s/loki]", "do:\n      - kubectl\n      - \"apply\"\n      - -k\n      - k3s/loki"),
        (
            "manual: \"Tell the users that the logs stop for a while\"",
            "manual: |\n        Tell the users that the logs stop for a while",
        ),
        ("  - name: alloy\n", "  - name: alloy\n    fourEyes: false\n"),
    ] {
        let config = changed(from, to);
        assert_eq!((&config.plan.hash, &config.plan), (&whole.plan.hash, &whole.plan), "{to}");
    }
}

/// A document that does not know of steps must not look like another one to a ledger that has its hash.
#[test]
fn a_document_without_steps_keeps_the_hash_that_it_had() {
    assert_eq!(sound(FULL).plan.hash.get(..12), Some("c0fc43acceb3"));
    assert_eq!(sound(SMALL).plan.hash.get(..12), Some("abb5632dff35"));
    let said = format!("{SMALL}    fourEyes: false\n");
    assert_eq!(sound(&said).plan.hash, sound(SMALL).plan.hash);
}

#[test]
fn nothing_shows_a_secret_of_a_step() {
    for (from, to) in [
        ("PGPASSWORD: {env: PG_PASSWORD}", "PGPASSWORD: hunter2"),
        ("PGPASSWORD: {env: PG_PASSWORD}", "PGPASSWORD: {value: hunter2}"),
        ("[docker, compose, stop, promtail]", "[curl, \"http://me:hunter2@192.0.2.10/stop\"]"),
        ("Tell them that it is off", "Open http://me:hunter2@192.0.2.10/"),
        ("[docker, compose, stop, promtail]", "psql --password=hunter2"),
        ("[docker, compose, stop, promtail]", "curl http://me:hunter2@192.0.2.10/stop"),
        ("timeout: 15m", "timeout: token=hunter2"),
        ("[docker, compose, stop, promtail]", "[mysql, --password, 40427]"),
    ] {
        assert!(STEPS.contains(from), "{from}");
        let errors = parse(&STEPS.replacen(from, to, 1)).unwrap_err();
        let shown = format!("{errors}{errors:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("40427"), "{errors}");
    }
    let config = sound(STEPS);
    let shown = format!("{:?}", config.steps);
    assert!(shown.contains("PG_PASSWORD") && !shown.contains("/etc/k.yaml"), "{shown}");
}
