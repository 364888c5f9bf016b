//! What was: a gate at a moment of the past, and the verification checklist.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{LockBody, PhaseBody, ProbeBody, StampBody, StepBody};
use crate::audit::Head;
use crate::gate::Verdict;
use crate::state::{PhaseState, ProbeState};

/// The verdict of a gate as it was. There is no `open` here: what was once open opens nothing now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PastBody {
    /// Version of this shape.
    pub schema_version: u32,
    /// The phase whose exit this was.
    pub gate: String,
    /// The moment that was asked about.
    pub time: DateTime<Utc>,
    /// The answer at that moment. `unknown` also when nobody knew: the verifier did not run, or did not evaluate.
    pub verdict: Verdict,
    /// Since when it had this verdict.
    pub since: DateTime<Utc>,
    /// When it changed next; none: it has not, as far as is recorded.
    pub until: Option<DateTime<Utc>>,
    /// The answer in one sentence.
    pub reason: String,
    /// Where the phase stood.
    pub phase_state: PhaseState,
    /// Why it was not open, first things first: the first five that were recorded with the verdict, as far as they still held,
    /// and required probes that were not green since. At most 50.
    pub blockers: Vec<PastBlockerBody>,
    /// The phase's probes and those of earlier phases that were required: up to 100; of more, those that were not green first.
    pub probes: Vec<PastProbeBody>,
    /// How many of these there were.
    pub probe_count: usize,
    /// The overrides that were active, for any phase.
    pub overrides: Vec<PastOverrideBody>,
    /// The steps of the phase, with where they stood.
    pub steps: Vec<StepBody>,
    /// The lock that was taken last, unless it was released. Whether its holder was still heard of is not recorded.
    pub lock: Option<PastLockBody>,
    /// Hash of the document that was in force.
    pub config_hash: String,
    /// Why nobody knew anything, when that is so.
    pub gap: Option<GapBody>,
    /// The newest event that counts here.
    pub head: Head,
}

/// Why a gate was not open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PastBlockerBody {
    /// The phase it belongs to.
    pub phase: String,
    /// The probe, unless the phase itself was the reason.
    pub probe: Option<String>,
    /// Why; `snake_case`.
    pub reason: String,
    /// The probe's colour then.
    pub state: Option<ProbeState>,
    /// What was seen when the probe got this colour.
    pub evidence: String,
    /// Since when the probe had this colour.
    pub since: Option<DateTime<Utc>>,
}

/// One probe as it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PastProbeBody {
    /// Its name.
    pub name: String,
    /// Its phase.
    pub phase: String,
    /// Kind of its check.
    pub check: String,
    /// Whether the gate asked for it.
    pub required: bool,
    /// Whether an override was active for it.
    pub overridden: bool,
    /// As it was.
    #[serde(flatten)]
    pub seen: SightBody,
}

/// What a probe looked like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SightBody {
    /// The colour.
    pub state: ProbeState,
    /// Why it was not green.
    pub reason: Option<String>,
    /// What was seen when it got this colour.
    pub evidence: String,
    /// Since when it had this colour.
    pub since: DateTime<Utc>,
}

/// An override that was active.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PastOverrideBody {
    /// Its number.
    pub id: u64,
    /// For which probe.
    pub probe: String,
    /// Why.
    pub reason: String,
    /// Where that is discussed.
    #[serde(default)]
    pub ticket: Option<String>,
    /// Who.
    pub by: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Up to when it was to last.
    pub until: DateTime<Utc>,
}

/// The lock as it was taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PastLockBody {
    /// The fencing token.
    pub id: u64,
    /// For which phase.
    pub phase: String,
    /// Who held it.
    pub holder: String,
    /// Where the holder worked, in its own words.
    pub place: String,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// A span about which nobody knows anything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GapBody {
    /// The last moment that is known.
    pub from: DateTime<Utc>,
    /// The next moment that is known.
    pub to: Option<DateTime<Utc>>,
    /// `not_running`, `not_evaluated` or `clock_set_back`.
    pub reason: String,
    /// The verdict that was recorded last; it says nothing about this span.
    pub recorded: Option<Verdict>,
}

/// The verification checklist: what was to be proven, phase by phase, with the evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReportBody {
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
    /// How old the evaluation was when this was served. Above 3, what is said of the present is `unknown`.
    pub age_seconds: Option<f64>,
    /// The newest event of the audit trail that went into this: `cutover audit verify` leads up to it.
    pub head: Head,
    /// Since when there is a record.
    pub recorded_since: Option<DateTime<Utc>>,
    /// In order.
    pub phases: Vec<ReportPhaseBody>,
    /// Who may run steps.
    pub lock: Option<LockBody>,
    /// Why the ledger can not be written, while it can not.
    pub ledger_error: Option<String>,
    /// Why the newest document was not taken, while that is so.
    pub config_error: Option<String>,
    /// What to do next, in the imperative.
    pub next_step: String,
}

/// One phase of the checklist.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReportPhaseBody {
    /// As it stands.
    #[serde(flatten)]
    pub phase: PhaseBody,
    /// The moment at which it was completed; none for a phase that is not complete, or was adopted.
    pub completion: Option<CompletionBody>,
    /// What was to be proven, in document order.
    pub criteria: Vec<CriterionBody>,
    /// Every override that was ever made for one of its probes.
    pub overrides_ever: Vec<ExceptionBody>,
    /// Every regression that was ever latched.
    pub regressions_ever: Vec<LatchedBody>,
}

/// The moment at which a phase was completed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CompletionBody {
    /// When, by whom.
    #[serde(flatten)]
    pub stamp: StampBody,
    /// The event of the audit trail that says so.
    pub event: Head,
    /// Numbers of the overrides that counted.
    pub overrides: Vec<u64>,
}

/// One thing that was to be proven.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CriterionBody {
    /// As it is now.
    #[serde(flatten)]
    pub probe: ProbeBody,
    /// As it was when its phase was completed.
    pub at_completion: Option<SightBody>,
}

/// An override, from its beginning to its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExceptionBody {
    /// As it was made.
    #[serde(flatten)]
    pub made: PastOverrideBody,
    /// How it ended; none: it is active.
    pub ended: Option<EndedBody>,
}

/// A regression, from its beginning to its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LatchedBody {
    /// Which probe went from green to red.
    pub probe: String,
    /// When.
    pub since: DateTime<Utc>,
    /// Why.
    pub reason: String,
    /// What was seen.
    pub evidence: String,
    /// How it was acknowledged or taken back; none: it is latched.
    pub ended: Option<EndedBody>,
}

/// How something ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndedBody {
    /// When, by whom; `verifier` when nobody did.
    #[serde(flatten)]
    pub stamp: StampBody,
    /// In words.
    pub how: String,
}
