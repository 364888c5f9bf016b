//! What the tests of the stores have in common.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::BootMoment;
use crate::apply::apply;
use crate::event::Event;
use crate::now::{Millis, Now};
use crate::plan::{GatePlan, NaturePlan, PhasePlan, Plan, ProbePlan, SealAt};
use crate::state::{ProbeState, Stamp, State};

pub(crate) fn now(second: u64) -> Now {
    let utc = chrono::DateTime::from_timestamp(1_770_000_000 + i64::try_from(second).unwrap(), 123_000_000).unwrap();
    Now { t: Millis(second * 1000), utc }
}

pub(crate) fn boot(second: u64) -> BootMoment {
    BootMoment { boot_id: "5f0c1a52".to_owned(), boottime_ms: 77_000 + second * 1000 }
}

fn stamp(second: u64) -> Stamp {
    Stamp { at: now(second), by: "anna".to_owned() }
}

pub(crate) fn fact(name: &str, value: serde_json::Value) -> Event {
    Event::FactRecorded { name: name.to_owned(), stamp: stamp(1), value }
}

fn probe(name: &str, nature: NaturePlan) -> ProbePlan {
    ProbePlan {
        name: name.into(),
        check: "lokiReady".to_owned(),
        hash: format!("{name}-1"),
        nature,
        gate: true,
        preflight: false,
        before_ponr: false,
        marks_ponr: false,
        targets: vec![],
        tripwire: false,
        until: None,
        fail_after: 2,
        recover_after: 2,
        every: Duration::from_millis(2500),
        timeout: Duration::from_secs(2),
        max_age: Duration::from_secs(20),
        control_every: Duration::from_mins(10),
        control_reason: "no_such_line".to_owned(),
        waivable: true,
    }
}

fn plan() -> Arc<Plan> {
    let proof = NaturePlan::Proof { valid_for: Duration::from_hours(1), seal_at: SealAt::Switch };
    let gate = GatePlan { soak: Duration::from_mins(1), min_samples: 3, unknown_budget: Duration::ZERO, max_wait: None };
    let probes = vec![probe("ready", NaturePlan::Continuous), probe("history", proof)];
    let phases = vec![PhasePlan { name: "loki".into(), gate, probes, steps: Vec::new(), four_eyes: false }];
    Arc::new(Plan::new("homelab", "c0ffee", phases))
}

/// This many events of a made-up migration, most kinds of them, each of which changes the state.
pub(crate) fn story(count: usize) -> Vec<Event> {
    let colour = |at, from, to| Event::ProbeChanged {
        probe: "ready".into(),
        at: now(at),
        from,
        to,
        reason: None,
        evidence: "“ready” \\ 200".into(),
    };
    let finished = |at| Event::ProofFinished {
        probe: "history".into(),
        at: now(at),
        failed: None,
        evidence: "240 hours agree".into(),
        hash: "history-1".to_owned(),
        identities: BTreeMap::from([("old".to_owned(), "a".to_owned())]),
    };
    let mut story = vec![
        Event::ConfigLoaded { at: now(0), plan: plan() },
        Event::PhaseBegun { phase: "loki".into(), stamp: stamp(1) },
        colour(2, ProbeState::Unknown, ProbeState::Green),
        fact(
            "baseline",
            serde_json::json!({"rows": 9_007_199_254_740_993_u64, "mean": 0.1, "tiny": 2.225_073_858_507_201_4e-308}),
        ),
        Event::OverrideCreated {
            id: 0,
            probe: "ready".into(),
            stamp: stamp(3),
            reason: "disk".to_owned(),
            ticket: Some("OPS-7".to_owned()),
            until: Millis(9000),
        },
        finished(4),
        Event::PhaseSwitched { phase: "loki".into(), stamp: stamp(5), seals: vec!["history".into()] },
        Event::OverrideEnded { id: 0, stamp: stamp(6) },
        colour(7, ProbeState::Green, ProbeState::Red),
        Event::AnotherServer {
            probe: "history".into(),
            at: now(8),
            target: "old".to_owned(),
            was: "a".to_owned(),
            is: "b".to_owned(),
        },
        Event::PhaseRolledBack { phase: "loki".into(), stamp: stamp(9), reason: "red".to_owned() },
    ];
    for at in story.len()..count {
        story.push(fact(&format!("fact-{at}"), serde_json::json!(1.0 / f64::from(u32::try_from(at).unwrap()))));
    }
    story.truncate(count);
    story
}

/// The state after these events.
pub(crate) fn state_of(events: &[Event]) -> State {
    let mut state = State::default();
    for event in events {
        apply(&mut state, event);
    }
    state
}
