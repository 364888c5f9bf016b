//! PURE. The ledger's state, and the debounced colour of a probe.
//!
//! Three parts with three lifetimes: [`Durable`] changes by chained events alone, [`Soft`] is checkpointed and may be some
//! seconds old after a crash, [`Live`] starts empty with each process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use checks::{Evidence, PartId, Reason};
use serde::{Deserialize, Serialize};

use crate::gate::Evaluation;
use crate::now::{Millis, Now};
use crate::plan::{PhaseName, Plan, ProbeName, ProbePlan, StepName, TargetName};
use crate::soak::Soak;

mod record;
mod removal;
mod sight;
mod steps;

pub use record::{ProbeRecord, RunRecord, Trust};
pub use removal::Removal;
pub use sight::Sight;
pub use steps::{Approval, Lock, StepRecord, StepState, Took};

/// The window in which colour changes count as flapping.
pub const FLAP_WINDOW: Duration = Duration::from_mins(10);
/// This many colour changes within [`FLAP_WINDOW`] are not believed.
pub const FLAP_LIMIT: usize = 5;
/// A control's trust outlives this many cadences without a fresh proof of it.
const TRUST_CADENCES: u32 = 3;

/// The debounced colour of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProbeState {
    /// Seen right, often enough and recently enough.
    Green,
    /// Seen wrong, not yet often enough to be red.
    Suspect,
    /// Nothing is wrong, something is not due or not finished yet.
    Waiting,
    /// Seen wrong, `failAfter` times in a row.
    Red,
    /// Not seen, not seen recently, or not to be believed.
    Unknown,
}

impl ProbeState {
    /// All of them, in the order of the metric's labels.
    pub const ALL: [Self; 5] = [Self::Green, Self::Suspect, Self::Waiting, Self::Red, Self::Unknown];

    /// Lower-case name, as in metrics and API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Green => "green",
            Self::Suspect => "suspect",
            Self::Waiting => "waiting",
            Self::Red => "red",
            Self::Unknown => "unknown",
        }
    }
}

/// Where a phase stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PhaseState {
    /// Not begun.
    Waiting,
    /// Begun, not complete.
    Active,
    /// Complete, or adopted.
    Complete,
}

impl PhaseState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Waiting, Self::Active, Self::Complete];

    /// Lower-case name, as in metrics and API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Active => "active",
            Self::Complete => "complete",
        }
    }
}

/// Who did something, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// When.
    pub at: Now,
    /// The name of the token, or of the verifier itself.
    pub by: String,
}

/// Everything the ledger knows.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// Changed by chained events alone.
    pub durable: Durable,
    /// Checkpointed.
    pub soft: Soft,
    /// Of this process.
    pub live: Live,
}

/// What chained events alone change.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Durable {
    /// The document in force.
    pub plan: Option<Arc<Plan>>,
    /// By phase.
    pub phases: BTreeMap<PhaseName, PhaseRecord>,
    /// By probe.
    pub proofs: BTreeMap<ProbeName, ProofRecord>,
    /// By name; immutable once recorded.
    pub facts: BTreeMap<String, Fact>,
    /// By id.
    pub overrides: BTreeMap<u64, Override>,
    /// Ids of overrides are never used twice.
    pub next_override: u64,
    /// Probes whose last green or red edge was to green: red would be a regression.
    pub armed: BTreeSet<ProbeName>,
    /// Who may run steps. One that has expired stays until somebody else takes it.
    #[serde(default)]
    pub lock: Option<Lock>,
    /// Ids of locks are never used twice, so that each tells the newest from all before it.
    #[serde(default)]
    pub next_lock: u64,
    /// Approved plans that were not begun yet, by phase.
    #[serde(default)]
    pub approvals: BTreeMap<PhaseName, Approval>,
    /// Old sides that were removed, by target.
    #[serde(default)]
    pub removals: BTreeMap<TargetName, Removal>,
    /// How long steps took when they were done last, by phase.
    #[serde(default)]
    pub took: BTreeMap<PhaseName, BTreeMap<StepName, Took>>,
}

/// What happened to a phase.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PhaseRecord {
    /// Made active.
    pub begun: Option<Stamp>,
    /// Its switch step was started, or re-pointing was said to begin: what lasts until this phase is retired from here on.
    #[serde(default)]
    pub switching: Option<Stamp>,
    /// All its steps are done, or re-pointing was said to begin: its soak starts here.
    pub switched: Option<Stamp>,
    /// Its point of no return was crossed.
    #[serde(default)]
    pub ponr: Option<Stamp>,
    /// What happened to its steps.
    #[serde(default)]
    pub steps: BTreeMap<StepName, StepRecord>,
    /// Completed.
    pub complete: Option<Stamp>,
    /// Adopted instead of proven: why.
    pub adopted: Option<String>,
    /// Latched regressions, by probe.
    pub regressed: BTreeMap<ProbeName, Regression>,
    /// How many were ever latched.
    pub regressions: u64,
}

impl PhaseRecord {
    /// Where it stands.
    pub const fn state(&self) -> PhaseState {
        match (&self.begun, &self.complete) {
            (_, Some(_)) => PhaseState::Complete,
            (Some(_), None) => PhaseState::Active,
            (None, None) => PhaseState::Waiting,
        }
    }
}

/// A required probe of a complete phase went from green to red.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Regression {
    /// When.
    pub since: Now,
    /// The probe's reason.
    pub reason: Reason,
    /// What was seen.
    pub evidence: Evidence,
}

/// A finished verification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProofRecord {
    /// When its last slice started.
    pub at: Now,
    /// None: it passed. Otherwise why it failed.
    pub failed: Option<Reason>,
    /// What was seen.
    pub evidence: Evidence,
    /// The probe's hash it belongs to.
    pub hash: String,
    /// Identities that it read, by target.
    pub identities: BTreeMap<String, String>,
    /// Sealed by the event that needed it: never run again.
    pub sealed: bool,
}

/// A recorded, immutable reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    /// When, by whom.
    pub stamp: Stamp,
    /// The content.
    pub value: serde_json::Value,
}

/// A time-boxed exception for one probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// Which probe.
    pub probe: ProbeName,
    /// Why.
    pub reason: String,
    /// Where that is discussed.
    #[serde(default)]
    pub ticket: Option<String>,
    /// When, by whom.
    pub stamp: Stamp,
    /// Up to when.
    pub until: Millis,
}

/// What is checkpointed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Soft {
    /// By probe, with the numbers of its own phase.
    pub soaks: BTreeMap<ProbeName, Soak>,
    /// The parts each probe has reported.
    pub parts: BTreeMap<ProbeName, BTreeSet<PartId>>,
    /// Each check's own Memory.
    pub memories: BTreeMap<ProbeName, Arc<[u8]>>,
    /// Identities that each proof has read since its scan began, by target; they go with the cursor in its Memory.
    #[serde(default)]
    pub reading: BTreeMap<ProbeName, BTreeMap<String, String>>,
    /// The last evaluation's number.
    pub epoch: u64,
    /// Which lock was renewed last, and when.
    #[serde(default)]
    pub renewed: Option<(u64, Millis)>,
}

/// Why the ledger can not be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwritable {
    /// Whether it is a matter of a cluster, not of this machine.
    pub remote: bool,
    /// In the store's words.
    pub cause: String,
}

impl Unwritable {
    /// A matter of this machine.
    pub fn here(cause: &str) -> Self {
        Self { remote: false, cause: cause.to_owned() }
    }
}

/// What this process has seen.
#[derive(Debug, Clone, Default)]
pub struct Live {
    /// By probe.
    pub probes: BTreeMap<ProbeName, ProbeRecord>,
    /// The last evaluation.
    pub evaluation: Option<Arc<Evaluation>>,
    /// Numbers the fresh starts of probes; Runs of an earlier one are ignored.
    pub generation: u64,
    /// Why the ledger can not be written, while it can not.
    pub unwritable: Option<Unwritable>,
}

impl State {
    /// The same ledger in a new process: what was live is gone, each probe starts unknown.
    #[must_use]
    pub fn restarted(self) -> Self {
        let mut state = Self { durable: self.durable, soft: self.soft, live: Live::default() };
        state.enroll();
        state
    }

    /// Gives each probe of the document that has none a live record.
    pub(crate) fn enroll(&mut self) {
        let Some(plan) = self.durable.plan.clone() else { return };
        for (_, probe) in plan.probes() {
            if !self.live.probes.contains_key(&probe.name) {
                self.live.generation = self.live.generation.saturating_add(1);
                self.live.probes.insert(probe.name.clone(), ProbeRecord::new(self.live.generation));
            }
        }
    }

    /// The record of a phase; one that nothing happened to yet is the default.
    pub fn phase(&self, name: &str) -> &PhaseRecord {
        static UNTOUCHED: PhaseRecord = PhaseRecord {
            begun: None,
            switching: None,
            switched: None,
            ponr: None,
            steps: BTreeMap::new(),
            complete: None,
            adopted: None,
            regressed: BTreeMap::new(),
            regressions: 0,
        };
        self.durable.phases.get(name).unwrap_or(&UNTOUCHED)
    }

    /// Whether what the last evaluation showed of it belongs to its present start.
    pub(crate) fn shown(&self, name: &str) -> bool {
        self.live.probes.get(name).is_some_and(|record| record.shown)
    }

    /// The active override of a probe, if any and if it may have one.
    pub fn overridden(&self, probe: &ProbePlan, now: Millis) -> Option<u64> {
        let named = |o: &&Override| probe.waivable && o.probe == probe.name && o.until > now;
        self.durable.overrides.iter().find(|(_, o)| named(o)).map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests;
