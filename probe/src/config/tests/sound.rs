//! What a sound document comes to, and that no bytes make the reader stumble.

use std::fmt::Write as _;
use std::time::Duration;

use super::{FULL, SMALL, STEPS, parse};
use crate::plan::{GatePlan, NaturePlan, SealAt};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn what_is_not_said_has_a_default() {
    let config = parse(SMALL).unwrap();
    let phase = &config.plan.phases[0];
    assert_eq!(phase.gate, GatePlan { soak: secs(3600), min_samples: 60, unknown_budget: secs(300), max_wait: None });
    let probe = &phase.probes[0];
    assert!(probe.gate && !probe.preflight && probe.until.is_none() && probe.waivable);
    assert_eq!((probe.every, probe.timeout, probe.max_age, probe.control_every), (secs(5), secs(4), secs(20), secs(600)));
    assert_eq!((probe.fail_after, probe.recover_after), (2, 2));
    assert_eq!((probe.check.as_str(), probe.control_reason.as_str()), ("pulse", "wrong"));
    assert_eq!(probe.nature, NaturePlan::Continuous);
    assert_eq!(config.probes.keys().map(|name| &**name).collect::<Vec<_>>(), ["backup"]);
}

#[test]
fn what_is_said_is_kept() {
    let config = parse(FULL).unwrap();
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let plan = &config.plan;
    assert_eq!(plan.migration, "homelab");
    assert_eq!(plan.phases[0].gate.max_wait, Some(secs(72 * 3600)));
    let (_, old) = plan.probe("old-loki").unwrap();
    assert_eq!((old.every, old.timeout, old.max_age, old.control_every), (secs(3), secs(2), secs(12), secs(300)));
    assert_eq!((old.fail_after, old.recover_after, old.until.as_deref()), (1, 2, Some("postgres")));
    assert!(old.gate && old.preflight);
    let (_, new) = plan.probe("new-loki").unwrap();
    assert_eq!((new.every, new.timeout, new.max_age, new.fail_after), (secs(6), secs(5), secs(40), 3));
    assert!(!plan.probe("backup").unwrap().1.gate);
    let (at, parity) = plan.probe("parity").unwrap();
    assert_eq!(at, 1);
    assert_eq!(parity.nature, NaturePlan::Proof { valid_for: secs(12 * 3600), seal_at: SealAt::Switch });
    assert_eq!((parity.fail_after, parity.recover_after), (1, 1));
    let (_, other) = plan.probe("old-and-new").unwrap();
    assert_eq!(other.nature, NaturePlan::Proof { valid_for: secs(24 * 3600), seal_at: SealAt::Complete });
    assert_eq!(config.targets.len(), 4);
    assert_eq!(config.probes.len(), 5);
}

#[test]
fn built_in_numbers_make_room_for_the_ones_given() {
    let probe = |numbers: &str| {
        let config = parse(&format!("{SMALL}      {numbers}\n").replace("within: 10m", "within: 24h")).unwrap();
        let probe = &config.plan.phases[0].probes[0];
        (probe.every, probe.timeout, probe.max_age, probe.control_every)
    };
    assert_eq!(probe("every: 3s"), (secs(3), Duration::from_millis(2400), secs(20), secs(600)));
    assert_eq!(probe("every: 1h"), (secs(3600), secs(4), secs(4 * 3600), secs(3600)));
    assert_eq!(probe("{every: 1h, timeout: 30m}".trim_matches(['{', '}']).replace(", ", "\n      ").as_str()).3, secs(3600));
}

#[test]
fn an_unused_target_and_a_short_wait_are_remarks() {
    let text = FULL.replace("{look: {loki: k3s-loki, level: 9, words: [a, b]}}", "{pulse: {within: 1m}}");
    let text = text.replace("from: k3s-loki", "from: docker-loki").replace("maxWait: 72h", "maxWait: 1h");
    let warnings = parse(&text).unwrap().warnings;
    let texts: Vec<_> = warnings.iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(
        texts,
        ["target `k3s-loki` is not used by any probe", "`maxWait` (1h) is shorter than `soak` (2h): its alert is sure to fire"]
    );
}

#[test]
fn a_canary_on_the_new_side_may_leave_with_a_later_phase() {
    let text = FULL.trim_end().to_owned()
        + "\n    - {name: canary, check: {mark: {on: k3s-pg}}, until: after}\n  - {name: after, probes: [{name: end, check: {pulse: {within: 1m}}}, {name: still, check: {mark: {on: docker-pg}}}]}\n";
    let config = parse(&text).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.plan.phases.len(), 3);
}

#[test]
fn an_alias_stands_for_its_anchor() {
    let text =
        FULL.replace("docker-pg: {postgres: {dsn: {env: PG_OLD_DSN}}}", "docker-pg: &pg {postgres: {dsn: {env: PG_OLD_DSN}}}");
    let text = text.replace("k3s-pg: {postgres: {dsn: {file: /var/run/secrets/phasegate/pg}}}", "k3s-pg: *pg");
    let config = parse(&text).unwrap();
    assert_eq!(config.targets["k3s-pg"], config.targets["docker-pg"]);
}

#[test]
fn a_merge_key_fills_in_what_is_not_said() {
    let more = "    - {name: a, check: &c {pulse: {within: 10m}}, <<: &base {every: 2s, timeout: 1s}}\n    - {name: b, check: *c, <<: *base, every: 3s}\n";
    let config = parse(&format!("{SMALL}{more}")).unwrap_or_else(|errors| panic!("{errors}"));
    let (_, b) = config.plan.probe("b").unwrap();
    assert_eq!((b.every, b.timeout), (secs(3), secs(1)));
}

#[test]
fn a_document_cut_anywhere_is_refused_or_has_its_own_meaning() {
    for text in [FULL, STEPS] {
        let whole = parse(text).unwrap();
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            let Ok(cut) = parse(&text[..end]) else { continue };
            // What is left may be a sound document (a last probe without its last line), but never one that passes for the whole.
            let tail = text[end..].trim();
            assert!(tail.is_empty() || cut.plan.hash != whole.plan.hash, "cut at {end}");
        }
    }
}

#[test]
fn no_change_of_a_character_makes_the_reader_stumble() {
    let replacements = [
        "",
        "\0",
        "\t",
        "\n",
        " ",
        "-",
        ":",
        "{",
        "}",
        "[",
        "]",
        "&",
        "*",
        "!",
        "|",
        ">",
        "'",
        "\"",
        "#",
        "%",
        "9",
        "é",
        "\u{1f511}",
    ];
    for whole in [FULL, STEPS] {
        for (at, replacement) in (0..whole.len()).flat_map(|at| replacements.iter().map(move |with| (at, with))).step_by(29) {
            let text = format!("{}{replacement}{}", &whole[..at], &whole[at + 1..]);
            if let Err(errors) = parse(&text) {
                assert!(!errors.to_string().is_empty());
            }
        }
    }
    for end in 0..FULL.len() {
        let mut bytes = FULL.as_bytes().to_vec();
        bytes[end] ^= 0x80;
        assert!(crate::config::parse("x", &bytes, &super::registry()).is_err());
    }
}

#[test]
fn ten_thousand_probes_fit_and_all_their_errors_are_told() {
    let mut text = SMALL.to_owned();
    for n in 0..10_000 {
        writeln!(text, "    - {{name: p{n}, check: {{pulse: {{within: 10m}}}}, every: 3s, use: [gate]}}").unwrap();
    }
    assert_eq!(parse(&text).unwrap().probes.len(), 10_001);
    let errors = parse(&text.replace("every: 3s", "evry: 3s")).unwrap_err();
    assert_eq!(errors.problems().len(), 10_000);
    assert!(errors.to_string().ends_with("10000 errors in migration.yaml"));
}
