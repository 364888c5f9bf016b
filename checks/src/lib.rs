//! How to look at one thing: room 1 of phasegate.
//!
//! A check knows the outside world and nothing of schedules, phases or gates. Each check is one file with its configuration,
//! declaration, run, control and tests, and one line in [`registry()`].

pub mod alloy;
mod check;
mod clients;
mod counter;
mod fact;
pub mod grafana;
pub mod heartbeat;
pub mod kubernetes;
pub mod log_path;
pub mod loki;
pub mod net;
mod outcome;
pub mod postgres;
pub mod prometheus;
mod proof;
mod registry;
mod secret;
mod target;
#[cfg(test)]
mod testing;
mod trail;

pub use check::{Beat, Check, Context, DynCheck, FieldError, MemoryError, Meta, Nature, Report};
pub use clients::{Clients, ClientsError, MAX_BODY};
pub use fact::{FACT_READ, Fact, Facts, edition, newest};
pub use kubernetes::{Cluster, Reach, Rule};
pub use outcome::{
    Colour, Evidence, MAX_EVIDENCE, MAX_MEASURES, MAX_MEMORY, MAX_PARTS, Measure, Outcome, PartId, Progress, Reason, ReasonSpec,
    Step,
};
pub use registry::{Entry, PathStep, Registry, SpecError, spec_error};
pub use secret::{SecretError, SecretRef};
pub use target::{
    AgentTarget, AlloyTarget, GrafanaTarget, LokiTarget, PodsRef, PostgresTarget, PrometheusTarget, Target, TargetKind, TargetUse,
};
pub use trail::{Hop, HopState};

/// Reasons that the engine itself gives, for any probe.
pub mod engine_reasons {
    use crate::ReasonSpec;

    /// The check panicked.
    pub const PANIC: ReasonSpec = ReasonSpec::unknown("panic", "report this as a bug of phasegate, with the verifier's log");
    /// The check did not return in time.
    pub const HUNG: ReasonSpec =
        ReasonSpec::unknown("hung", "look at the verifier's log and load; the check overran its timeout");
    /// No part was reported.
    pub const NO_PARTS: ReasonSpec = ReasonSpec::unknown("no_parts", "make sure that the probe's targets exist");
    /// A part that was there before is not reported any more.
    pub const PART_VANISHED: ReasonSpec = ReasonSpec::unknown(
        "part_vanished",
        "bring the part back, or say `cutover probes forget PROBE PART` if it is gone for good",
    );
    /// The check reported more than it may.
    pub const FLOOD: ReasonSpec = ReasonSpec::unknown("flood", "report this as a bug of phasegate: the check reports too much");
    /// The Memory from an earlier Run is unreadable.
    pub const MEMORY: ReasonSpec = ReasonSpec::unknown("memory_unreadable", "nothing to do: the probe starts afresh");
    /// The last Run is older than the probe's maxAge.
    pub const STALE: ReasonSpec = ReasonSpec::unknown("stale", "wait for the next run; if it stays, look at the verifier's load");
    /// No Run yet.
    pub const NO_RUN: ReasonSpec = ReasonSpec::unknown("no_run", "wait for the first run");
    /// It passes again, but not often enough in a row yet.
    pub const RECOVERING: ReasonSpec = ReasonSpec::unknown("recovering", "wait for the next passes in a row");
    /// The colour changes too often to be believed.
    pub const FLAPPING: ReasonSpec =
        ReasonSpec::unknown("flapping", "find out why it comes and goes; it counts again after 10 quiet minutes");
    /// The negative control has not been seen failing yet.
    pub const CONTROL_UNTESTED: ReasonSpec =
        ReasonSpec::unknown("control_untested", "wait for the negative control; if it stays, see the control's own reason");
    /// The negative control passed: this probe can not tell right from wrong.
    pub const CONTROL_PASSED: ReasonSpec = ReasonSpec::unknown(
        "control_passed",
        "do not trust this probe: its negative control passed; check what it is pointed at",
    );
    /// A wait ran past its due time.
    pub const OVERDUE: ReasonSpec = ReasonSpec::unknown("overdue", "find out why what was due did not happen");
    /// A proof is not finished.
    pub const UNFINISHED: ReasonSpec = ReasonSpec::waiting("unfinished", "wait until the verification is complete");
    /// A proof's Pass is older than its validFor.
    pub const EXPIRED: ReasonSpec = ReasonSpec::waiting("expired", "wait until the verification is renewed");

    /// All of them.
    pub const ALL: &[ReasonSpec] = &[
        PANIC,
        HUNG,
        NO_PARTS,
        PART_VANISHED,
        FLOOD,
        MEMORY,
        STALE,
        NO_RUN,
        RECOVERING,
        FLAPPING,
        CONTROL_UNTESTED,
        CONTROL_PASSED,
        OVERDUE,
        UNFINISHED,
        EXPIRED,
    ];
}

/// The checks: one line each.
pub fn registry() -> Registry {
    Registry::new([
        Entry::of::<alloy::health::AlloyHealth>(),
        Entry::of::<alloy::shipping::AlloyShipping>(),
        Entry::of::<net::dns::Dns>(),
        Entry::of::<kubernetes::endpoints::Endpoints>(),
        Entry::of::<grafana::datasource::GrafanaDatasource>(),
        Entry::of::<grafana::health::GrafanaHealth>(),
        Entry::of::<grafana::panels::GrafanaPanels>(),
        Entry::of::<grafana::parity::GrafanaParity>(),
        Entry::of::<grafana::query::GrafanaQuery>(),
        Entry::of::<heartbeat::Heartbeat>(),
        Entry::of::<net::http::Http>(),
        Entry::of::<log_path::canary::LogCanary>(),
        Entry::of::<loki::history::LokiHistory>(),
        Entry::of::<loki::ingest::LokiIngest>(),
        Entry::of::<loki::quiet::LokiQuiet>(),
        Entry::of::<loki::ready::LokiReady>(),
        Entry::of::<postgres::canary::PostgresCanary>(),
        Entry::of::<postgres::catalog::PostgresCatalog>(),
        Entry::of::<postgres::continuity::PostgresContinuity>(),
        Entry::of::<postgres::fence::PostgresFence>(),
        Entry::of::<postgres::identity::PostgresIdentity>(),
        Entry::of::<postgres::indexes::PostgresIndexes>(),
        Entry::of::<postgres::quiet::PostgresQuiet>(),
        Entry::of::<postgres::ready::PostgresReady>(),
        Entry::of::<postgres::rows::PostgresRows>(),
        Entry::of::<postgres::sequences::PostgresSequences>(),
        Entry::of::<postgres::split_brain::PostgresSplitBrain>(),
        Entry::of::<postgres::traffic::PostgresTraffic>(),
        Entry::of::<prometheus::promql::Promql>(),
        Entry::of::<loki::handover::ShipperHandover>(),
        Entry::of::<loki::freshness::StreamFreshness>(),
        Entry::of::<net::tcp::Tcp>(),
        Entry::of::<net::tripwire::Tripwire>(),
        Entry::of::<kubernetes::volume::Volume>(),
        Entry::of::<kubernetes::workload::Workload>(),
    ])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn snake_case(name: &str) -> bool {
        name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_'))
    }

    #[test]
    fn every_check_says_what_it_looks_at() {
        for entry in registry().iter() {
            let kind = entry.meta.kind;
            let schema = (entry.schema)(&mut schemars::SchemaGenerator::default());
            let text = schema.get("description").and_then(serde_json::Value::as_str).unwrap_or_default();
            assert!(entry.summary().len() > 20, "{kind}: {}", entry.summary());
            for word in ["Fail", "Unknown"] {
                assert!(text.contains(word), "{kind}: the doc comment does not say where {word} begins");
            }
        }
    }

    #[test]
    fn reasons_are_a_closed_vocabulary() {
        for entry in registry().iter() {
            let meta = entry.meta;
            let names: BTreeSet<_> = meta.reasons().map(|reason| reason.name).collect();
            assert_eq!(names.len(), meta.reasons().count(), "{}: a reason is listed twice", meta.kind);
            for reason in meta.reasons() {
                assert!(snake_case(reason.name), "{}: {}", meta.kind, reason.name);
                assert!(reason.next.len() > 10, "{}: {} does not say what to do next", meta.kind, reason.name);
                assert!(engine_reasons::ALL.iter().all(|other| other.name != reason.name), "{}: {}", meta.kind, reason.name);
            }
            assert!(names.iter().all(|name| !name.is_empty()) && !names.is_empty(), "{}", meta.kind);
            assert!(meta.measures.iter().all(|name| snake_case(name)), "{}: {:?}", meta.kind, meta.measures);
        }
    }

    #[test]
    fn the_same_reason_has_the_same_colour_everywhere() {
        let mut colours = std::collections::BTreeMap::new();
        for entry in registry().iter() {
            for reason in entry.meta.reasons() {
                assert_eq!(*colours.entry(reason.name).or_insert(reason.colour), reason.colour, "{}", reason.name);
            }
        }
    }

    #[test]
    fn every_control_has_a_reason_of_its_check_that_fails() {
        for entry in registry().iter() {
            let meta = entry.meta;
            assert!(meta.reasons().any(|reason| *reason == meta.control), "{}", meta.kind);
            assert_eq!(meta.control.colour, Colour::Fail, "{}", meta.kind);
        }
    }
}
