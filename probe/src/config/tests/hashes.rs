//! Hashes follow meaning: what is written otherwise is the same, what means otherwise is not.

use super::{FULL, parse};
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
        parse(&format!("{}{}", super::SMALL, probes.concat())).unwrap()
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
