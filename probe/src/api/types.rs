//! The wire types of `/v1`: what the API serves, what `cutover` reads. They only grow. `camelCase`; times are RFC 3339 UTC;
//! spans are seconds.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::gate::Verdict;
use crate::state::{PhaseState, ProbeState};

mod annotations;
mod commands;
mod past;
mod records;
mod steps;
mod token;

pub use annotations::{AnnotationsBody, AnnotationsProblemBody};
pub use commands::{ErrorBody, HeartbeatRequest, ReasonRequest, Receipt};
pub use past::{
    CompletionBody, CriterionBody, EndedBody, ExceptionBody, GapBody, LatchedBody, PastBlockerBody, PastBody, PastLockBody,
    PastOverrideBody, PastProbeBody, ReportBody, ReportPhaseBody, SightBody,
};
pub use records::{FactBody, FactNameBody, FactsBody, OverrideBody, OverrideRequest, OverridesBody, RemovalBody};
pub use steps::{
    ApprovalRequest, LockAnswer, LockBody, LockRequest, PlanBody, RehearsalRequest, ReleaseRequest, StepBody, StepEndRequest,
    StepStartRequest, StepWorkedRequest, TermsRequest,
};
pub use token::{AUDIENCE, TOKEN_HEADER, TokenBody};

/// Version of this shape; grows with each addition.
pub const SCHEMA_VERSION: u32 = 1;

/// One gate, or one entry guard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GateBody {
    /// Version of this shape.
    pub schema_version: u32,
    /// The phase whose exit (or entry) this is.
    pub gate: String,
    /// `gate` or `entry`.
    pub kind: GateKind,
    /// Whether the phase may be completed (or its next step may run). True only with `verdict: open`.
    pub open: bool,
    /// The answer.
    pub verdict: Verdict,
    /// Where the phase stands.
    pub phase_state: PhaseState,
    /// Whether an active override counts here.
    pub overridden: bool,
    /// The answer in one sentence.
    pub reason: String,
    /// When this was evaluated.
    pub evaluated_at: Option<DateTime<Utc>>,
    /// How old the evaluation was when this was served. Above 3 the verdict is `unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<f64>,
    /// Since when it has been open without a break.
    pub open_since: Option<DateTime<Utc>>,
    /// The soak; for entry guards all zero.
    pub soak: SoakBody,
    /// The phase's own probes: in document order up to 100; of more, 100 with those that are not green first.
    pub probes: Vec<ProbeBody>,
    /// How many probes the phase has.
    #[serde(default)]
    pub probe_count: usize,
    /// Why it is not open, first things first. Empty exactly when open.
    pub blockers: Vec<BlockerBody>,
    /// How many blockers there are; `blockers` lists at most 50.
    pub blocked_by: usize,
    /// Probes of earlier phases that stay required; bounded like `probes`.
    pub ratchet: Vec<ProbeBody>,
    /// Number of the evaluation.
    pub epoch: u64,
    /// Hash of the document in force.
    pub config_hash: Option<String>,
    /// The active overrides that count here.
    pub overrides: Vec<OverrideBody>,
    /// What to do next, in the imperative.
    pub next_step: String,
}

/// Exit or entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum GateKind {
    /// The exit of a phase.
    Gate,
    /// The entry guard of a phase.
    Entry,
}

/// How far the soak is: the least of the phase's probes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SoakBody {
    /// Green seconds needed.
    pub need: f64,
    /// Green seconds served.
    pub have: f64,
    /// Passes needed.
    pub samples_need: u32,
    /// Passes had.
    pub samples_have: u32,
}

/// Why a gate or guard is not open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlockerBody {
    /// The phase it belongs to.
    pub phase: String,
    /// The probe, unless the phase itself is the reason.
    pub probe: Option<String>,
    /// The verdict it causes.
    pub verdict: Verdict,
    /// The probe's colour.
    pub state: Option<ProbeState>,
    /// Why; `snake_case`, bounded.
    pub reason: String,
    /// What was seen.
    pub evidence: String,
    /// Since when the probe has this colour.
    pub since: Option<DateTime<Utc>>,
    /// What would make it go away, in the imperative.
    pub next: String,
}

/// One probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProbeBody {
    /// Its name.
    pub name: String,
    /// Its phase.
    pub phase: String,
    /// Kind of its check.
    pub check: String,
    /// The colour. `unknown` when the evaluation is too old.
    pub state: ProbeState,
    /// Why it is not green.
    pub reason: Option<String>,
    /// What was seen.
    pub evidence: String,
    /// What to do when it is not green.
    pub next: Option<String>,
    /// Since when it has this colour.
    pub since: Option<DateTime<Utc>>,
    /// Start of the newest Pass.
    pub last_pass: Option<DateTime<Utc>>,
    /// Start of the newest Run.
    pub last_run: Option<DateTime<Utc>>,
    /// Age of the newest Run's evidence, in seconds.
    pub age_seconds: Option<f64>,
    /// Whether it counts for the gate of its phase.
    pub gate: bool,
    /// Whether it counts for the phase's begin.
    pub preflight: bool,
    /// Whether it is a proof.
    pub proof: bool,
    /// Whether it is not asked for: a later phase's switch has retired it, what it looks at was decommissioned, or it is a tripwire
    /// whose target was not.
    pub retired: bool,
    /// Whether it looks that a decommissioned target stays gone.
    #[serde(default)]
    pub tripwire: bool,
    /// Whether an override is active for it.
    pub overridden: bool,
    /// Consecutive Fails.
    pub consecutive_failures: u32,
    /// Its negative control: `trusted`, `untested` or `untrusted`.
    pub control: String,
    /// Green seconds and Passes of its own soak.
    pub soak: SoakBody,
    /// The parts of the newest Run; empty for probes of one part. In lists of probes, at most 20 of those that did not pass.
    pub parts: Vec<PartBody>,
    /// How far what it follows came on its way, in the newest Run. In lists of probes, at most 4, those that are broken first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trails: Vec<TrailBody>,
}

/// The way that something takes, hop by hop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrailBody {
    /// The part of the probe that it is followed for.
    pub part: String,
    /// The hops, in their order.
    pub hops: Vec<HopBody>,
}

/// One hop on the way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HopBody {
    /// What it is called.
    pub name: String,
    /// `moves`; `stands`: it is the first that stands still; `behind`: it comes after that one; `unknown`: it was not seen.
    pub state: String,
    /// In its own words.
    pub words: String,
}

/// One part of a probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PartBody {
    /// Its name.
    pub part: String,
    /// `pass`, `fail`, `unknown` or `waiting`.
    pub outcome: String,
    /// Why not pass.
    pub reason: Option<String>,
    /// What was seen.
    pub evidence: String,
}

/// One finished Run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunBody {
    /// When it started.
    pub started: DateTime<Utc>,
    /// How long it took, in seconds.
    pub duration_seconds: f64,
    /// `pass`, `fail`, `unknown`, `waiting` or `progress`.
    pub outcome: String,
    /// Why not pass.
    pub reason: Option<String>,
    /// What was seen.
    pub evidence: String,
    /// The parts, when there are several.
    pub parts: Vec<PartBody>,
}

/// The last Runs of a probe, newest first; failures are kept longer than passes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunsBody {
    /// Of which probe.
    pub probe: String,
    /// Newest first.
    pub runs: Vec<RunBody>,
}

/// One phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PhaseBody {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub state: PhaseState,
    /// When it was begun.
    pub begun: Option<StampBody>,
    /// When its switch began.
    #[serde(default)]
    pub switching: Option<StampBody>,
    /// When it switched.
    pub switched: Option<StampBody>,
    /// When its point of no return was crossed.
    #[serde(default)]
    pub ponr_crossed: Option<StampBody>,
    /// Its steps, with where they stand.
    #[serde(default)]
    pub steps: Vec<StepBody>,
    /// When it was completed.
    pub complete: Option<StampBody>,
    /// Why it was adopted instead of proven.
    pub adopted: Option<String>,
    /// Latched regressions.
    pub regressed: Vec<RegressionBody>,
    /// The verdict of its gate.
    pub verdict: Verdict,
    /// That verdict in one sentence.
    pub reason: String,
    /// The soak of its gate.
    pub soak: SoakBody,
    /// Why its gate is not open, first things first; at most 20 here.
    #[serde(default)]
    pub blockers: Vec<BlockerBody>,
    /// How many blockers its gate has.
    pub blocked_by: usize,
    /// Whether an active override counts for its gate.
    #[serde(default)]
    pub overridden: bool,
    /// Its probes by colour.
    pub probes: BTreeMap<String, usize>,
    /// Whether it can roll back now.
    pub can_roll_back: bool,
}

/// A latched regression.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegressionBody {
    /// Which probe went from green to red.
    pub probe: String,
    /// When.
    pub since: DateTime<Utc>,
    /// Why.
    pub reason: String,
    /// What was seen.
    pub evidence: String,
}

/// Who did something, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StampBody {
    /// When.
    pub at: DateTime<Utc>,
    /// The name of the token.
    pub by: String,
}

/// The whole picture: phases, probes, the health of the verifier itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusBody {
    /// Version of this shape.
    pub schema_version: u32,
    /// `metadata.name` of the document.
    pub migration: String,
    /// Version of the verifier.
    pub version: String,
    /// Hash of the document in force.
    pub config_hash: String,
    /// Number of the evaluation.
    pub epoch: u64,
    /// When this was evaluated.
    pub evaluated_at: Option<DateTime<Utc>>,
    /// How old the evaluation was when this was served.
    pub age_seconds: Option<f64>,
    /// In order.
    pub phases: Vec<PhaseBody>,
    /// In document order; with `most`, those that are not green first.
    pub probes: Vec<ProbeBody>,
    /// By phase, how many of the probes that were asked for are left out because of `most`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<String, usize>,
    /// The active overrides.
    pub overrides: Vec<OverrideBody>,
    /// Who may run steps.
    #[serde(default)]
    pub lock: Option<LockBody>,
    /// Old sides that were removed for good.
    #[serde(default)]
    pub decommissioned: Vec<RemovalBody>,
    /// How marking what happens fares, in each Grafana that the document names for it. It changes no verdict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub annotations: Vec<AnnotationsBody>,
    /// Why the ledger can not be written, while it can not.
    pub ledger_error: Option<String>,
    /// Why the newest document was not taken, while that is so.
    pub config_error: Option<String>,
    /// What to do next, in the imperative.
    pub next_step: String,
}

/// All gates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatesBody {
    /// In order.
    pub gates: Vec<GateBody>,
}

/// All probes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProbesBody {
    /// In document order.
    pub probes: Vec<ProbeBody>,
}

/// The answer of the rollback hook: status 200 says roll back now, 409 says do not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RollbackBody {
    /// The phase.
    pub gate: String,
    /// Whether to roll back now: a regression is latched, and the phase can still go back.
    pub roll_back: bool,
    /// The answer in one sentence.
    pub reason: String,
    /// Latched regressions.
    pub regressed: Vec<RegressionBody>,
}

/// Whether the verifier itself is up, or ready.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthBody {
    /// In one sentence.
    pub message: String,
    /// Number of the newest evaluation.
    pub epoch: Option<u64>,
    /// How old it is.
    pub age_seconds: Option<f64>,
}
