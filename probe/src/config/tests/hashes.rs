//! Hashes follow meaning: what is written otherwise is the same, what means otherwise is not.

use super::{FULL, SMALL, STEPS, parse};
use crate::config::Config;

fn changed(from: &str, to: &str) -> Config {
    assert!(FULL.contains(from), "{from}");
    parse(&FULL.replacen(from, to, 1)).unwrap_or_else(|errors| panic!("{errors}"))
}

fn probe_hash(config: &Config, name: &str) -> String {
    config.plan.probe(name).unwrap().1.hash.clone()
}

#[test]
fn the_same_meaning_has_the_same_hash() {
    let whole = parse(FULL).unwrap();
    for (from, to) in [
        ("every: 6s", "every: 6000ms"),
        ("soak: 2h", "soak: 120m"),
        ("within: 10m", "within: 600s"),
        ("every: 6s, timeout: 5s", "timeout: 5s, every: 6s"),
        ("name: homelab", "name: homelab # a comment"),
        ("use: [preflight, gate]", "use: [gate, preflight]"),
        (
            "check: {look: {loki: k3s-loki, level: 9, words: [a, b]}}",
            "check: {look: {words: [a, b], loki: k3s-loki, level: 9}}\n      every: 6s",
        ),
        ("level: 9", "level: 9, twice: false"),
        ("http://loki.observability.svc:3100", "http://loki.observability.svc:3100/"),
        ("      validFor: 12h\n", "      validFor: 720m\n      use: [gate]\n"),
    ] {
        let config = changed(from, to);
        assert_eq!(config.plan, whole.plan, "{to}");
        assert_eq!(config.plan.hash, whole.plan.hash, "{to}");
        assert_ne!(config.source.digest, whole.source.digest, "{to}");
    }
}

#[test]
fn another_meaning_has_another_hash() {
    let whole = parse(FULL).unwrap();
    for (from, to) in [
        ("every: 6s", "every: 7s"),
        ("minSamples: 100", "minSamples: 101"),
        ("tenant: home", "tenant: hom"),
        ("name: new-loki", "name: newer-loki"),
        ("words: [a, b]", "words: [b, a]"),
        ("sealAt: switch", "sealAt: complete"),
        ("use: [preflight]", "use: [gate]"),
    ] {
        assert_ne!(changed(from, to).plan.hash, whole.plan.hash, "{to}");
    }
}

#[test]
fn the_order_of_probes_is_meaning_but_each_stays_itself() {
    let small = |probes: [&str; 2]| {
        let probes = probes.map(|name| format!("    - {{name: {name}, check: {{pulse: {{within: 10m}}}}}}\n"));
        parse(&format!("{}{}", SMALL, probes.concat())).unwrap()
    };
    let (one, other) = (small(["a", "b"]), small(["b", "a"]));
    assert_ne!(one.plan.hash, other.plan.hash);
    assert_eq!(probe_hash(&one, "a"), probe_hash(&other, "a"));
}

#[test]
fn a_probe_is_another_one_only_by_what_it_does() {
    let whole = parse(FULL).unwrap();
    let cases: [(&str, &str, &[&str]); 8] = [
        ("minSamples: 100", "minSamples: 101", &[]),
        ("soak: 2h", "soak: 3h", &[]),
        ("controlEvery: 15m", "controlEvery: 20m", &["new-loki", "backup", "parity", "old-and-new"]),
        ("tenant: home", "tenant: hom", &["old-loki", "old-and-new"]),
        ("env: PG_OLD_DSN", "env: PG_DSN", &["old-and-new"]),
        ("level: 9", "level: 8", &["new-loki"]),
        ("      until: postgres\n", "", &["old-loki"]),
        ("validFor: 12h", "validFor: 13h", &["parity"]),
    ];
    for (from, to, expected) in cases {
        let config = changed(from, to);
        let names: Vec<_> = whole
            .plan
            .probes()
            .map(|(_, probe)| &*probe.name)
            .filter(|name| probe_hash(&whole, name) != probe_hash(&config, name))
            .collect();
        assert_eq!(names, expected, "{to}");
    }
}

#[test]
fn where_a_migration_is_marked_is_meaning_and_to_mark_it_nowhere_is_none() {
    let target = "  targets:\n    shown: {grafana: {url: \"http://192.0.2.10:3000\"}}\n";
    let with = |annotations: &str| {
        let text = FULL.replacen("  targets:\n", &format!("{annotations}{target}"), 1);
        parse(&text).unwrap_or_else(|errors| panic!("{errors}"))
    };
    let (none, one) = (with(""), with("  annotations: {grafana: shown, token: {env: NOTES}}\n"));
    assert!(none.annotations.is_empty() && one.annotations.len() == 1);
    assert_ne!(none.plan.hash, one.plan.hash);
    assert_eq!(one.plan.hash, with("  annotations: [{token: {env: NOTES}, grafana: shown}]\n").plan.hash, "a list of one");
    for other in ["{grafana: shown, token: {env: OTHER}}", "{grafana: shown, token: {env: NOTES}, tags: [home]}"] {
        assert_ne!(one.plan.hash, with(&format!("  annotations: {other}\n")).plan.hash, "{other}");
    }
    let probes = |config: &Config| config.plan.probes().map(|(_, probe)| probe.hash.clone()).collect::<Vec<_>>();
    assert_eq!(probes(&none), probes(&one), "no probe looks otherwise");
    assert_eq!((none.warnings.len(), one.warnings.len()), (1, 0), "a target that is annotated is used");
}

/// What these documents came to before anything could be annotated: ledgers hold it.
#[test]
fn a_document_without_annotations_keeps_its_hash() {
    for (text, hash) in [
        (FULL, "c0fc43acceb3663d93311a7ea313a21a73173006c11480b8af7515df013768bd"),
        (SMALL, "abb5632dff3558afeb292de089e52a2f9475fb126be11f0e3f9e8a21cfc01125"),
        (STEPS, "5687cda6e7dca2055edb6126566c51c8b47d101213f6e433555abfc9ef60a300"),
    ] {
        assert_eq!(parse(text).unwrap().plan.hash, hash);
    }
}
