//! Small builders for the unit tests of this crate.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta};

use crate::now::{Millis, Now};
use crate::plan::{GatePlan, NaturePlan, PhasePlan, Plan, ProbePlan};

pub(crate) mod disk;

/// A moment, in seconds after the start of the test's timeline.
pub(crate) fn at(seconds: u64) -> Now {
    let utc = DateTime::UNIX_EPOCH + TimeDelta::seconds(i64::try_from(seconds).unwrap());
    Now { t: Millis(seconds * 1000), utc }
}

/// A gate probe with the defaults of a document.
pub(crate) fn probe(name: &str) -> ProbePlan {
    ProbePlan {
        name: name.into(),
        check: "fake".into(),
        hash: format!("hash of {name}"),
        nature: NaturePlan::Continuous,
        gate: true,
        preflight: false,
        before_ponr: false,
        marks_ponr: false,
        targets: vec![],
        tripwire: false,
        until: None,
        fail_after: 2,
        recover_after: 2,
        every: Duration::from_secs(5),
        timeout: Duration::from_secs(4),
        max_age: Duration::from_secs(20),
        control_every: Duration::from_mins(10),
        control_reason: "control_failed".into(),
        waivable: true,
    }
}

/// A phase with a soak of a minute.
pub(crate) fn phase(name: &str, probes: Vec<ProbePlan>) -> PhasePlan {
    let gate = GatePlan { soak: Duration::from_mins(1), min_samples: 3, unknown_budget: Duration::from_secs(5), max_wait: None };
    PhasePlan { name: name.into(), gate, probes, steps: Vec::new(), four_eyes: false }
}

/// A document.
pub(crate) fn plan(phases: Vec<PhasePlan>) -> Arc<Plan> {
    let hash = format!("{phases:?}");
    Arc::new(Plan::new("test", hash, phases))
}
