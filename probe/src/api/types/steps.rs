//! Steps, the lock and plans on the wire.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::StampBody;
use crate::event::{StepEnd, Terms, Way};
use crate::gate::Verdict;
use crate::plan::{ProbeName, StepKind, StepPlan};
use crate::state::{PhaseState, StepState};

/// One step of a phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepBody {
    /// Its name, unique in its phase.
    pub name: String,
    /// What carries it out.
    pub kind: StepKind,
    /// Whether it changes the authoritative side.
    pub switch: bool,
    /// Whether nothing leads back once it has started.
    pub ponr: bool,
    /// Whether it can be undone.
    pub undo: bool,
    /// Whether it can tell that it was done already.
    pub check: bool,
    /// Probes that must be green before it is done.
    pub verify: Vec<String>,
    /// The phase whose gate must be open before it is done.
    pub gate: Option<String>,
    /// Probes whose red neither latches nor stops anything while it runs.
    pub disturbs: Vec<String>,
    /// How many seconds it may take.
    pub timeout_seconds: f64,
    /// How many seconds it took when it was done last.
    pub took_seconds: Option<f64>,
    /// Whether that was in a rehearsal.
    pub rehearsed: bool,
    /// Where it stands; none: nothing happened to it.
    pub state: Option<StepState>,
    /// Since when, by whom.
    pub since: Option<StampBody>,
    /// When its `do` or `undo` was started last.
    #[serde(default)]
    pub started: Option<DateTime<Utc>>,
    /// How often it was started.
    pub attempts: u32,
    /// What was said of its end.
    pub note: String,
}

impl From<&StepPlan> for StepBody {
    /// As it is planned; nothing has happened to it.
    fn from(step: &StepPlan) -> Self {
        let names = |names: &[ProbeName]| names.iter().map(ToString::to_string).collect();
        Self {
            name: step.name.to_string(),
            kind: step.kind,
            switch: step.switch,
            ponr: step.ponr,
            undo: step.undo,
            check: step.check,
            verify: names(&step.verify),
            gate: step.gate.as_ref().map(ToString::to_string),
            disturbs: names(&step.disturbs),
            timeout_seconds: step.timeout.as_secs_f64(),
            took_seconds: None,
            rehearsed: false,
            state: None,
            since: None,
            started: None,
            attempts: 0,
            note: String::new(),
        }
    }
}

/// Who may run the steps of a phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LockBody {
    /// The fencing token: each lock has a greater one than all before it.
    pub id: u64,
    /// For which phase.
    pub phase: String,
    /// Who holds it.
    pub holder: String,
    /// Where the holder works, in its own words.
    pub place: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// For how many seconds it holds without being renewed.
    pub ttl_seconds: f64,
    /// How many seconds ago its holder was last heard of.
    pub heard_seconds: f64,
    /// Whether it keeps others out now. A lock whose steps are half-way does, however long its holder is silent.
    pub live: bool,
}

/// The lock, if there is one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LockAnswer {
    /// None: nobody holds it.
    pub lock: Option<LockBody>,
}

/// What the steps of a phase would do now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanBody {
    /// Version of this shape.
    pub schema_version: u32,
    /// `metadata.name` of the document.
    pub migration: String,
    /// Of which phase.
    pub phase: String,
    /// Covers everything that this plan depends on: the same hash is the same plan.
    pub hash: String,
    /// Hash of the document in force.
    pub config_hash: String,
    /// Where the phase stands.
    pub phase_state: PhaseState,
    /// When its switch step was started.
    pub switching: Option<StampBody>,
    /// When its point of no return was crossed.
    pub ponr_crossed: Option<StampBody>,
    /// Whether it is on its way back.
    pub going_back: bool,
    /// In order.
    pub steps: Vec<StepBody>,
    /// May the next step run?
    pub entry: Verdict,
    /// That in one sentence.
    pub entry_reason: String,
    /// Probes that the switch retires: from there on nobody looks at these on the old side.
    pub retires: Vec<String>,
    /// Whether somebody else must have approved this plan.
    pub four_eyes: bool,
    /// Who has approved exactly this plan.
    pub approved: Option<StampBody>,
    /// The lock, if there is one.
    pub lock: Option<LockBody>,
}

/// What a command depends on. All of it may be left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TermsRequest {
    /// The id of the lock that the sender holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<u64>,
    /// The hash of the plan that the sender has seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// The hash of the sender's own document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    /// The name of the phase, once more: it is known that nothing leads back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<String>,
}

impl From<TermsRequest> for Terms {
    fn from(TermsRequest { lock, plan, document, confirm }: TermsRequest) -> Self {
        Self { lock, plan, document, confirm }
    }
}

/// What taking the lock wants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LockRequest {
    /// For which phase.
    pub phase: String,
    /// Where the holder works, for whoever finds the lock taken.
    pub place: String,
    /// For how many seconds it holds without being renewed, 1 to 3600.
    pub ttl_seconds: u64,
    /// The lock that the same run held before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<u64>,
}

/// What ending a lock wants: nothing from its holder, a reason from anybody else.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReleaseRequest {
    /// Why somebody else ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What starting a step wants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StepStartRequest {
    /// Do or undo.
    pub way: Way,
    /// Whether somebody has looked if it is done already.
    #[serde(default)]
    pub checked: bool,
    /// What it depends on: lock and document are needed.
    pub terms: TermsRequest,
}

/// What saying that a step's work is over wants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StepWorkedRequest {
    /// What it depends on: the lock is needed.
    pub terms: TermsRequest,
}

/// What ending a step wants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StepEndRequest {
    /// How.
    pub end: StepEnd,
    /// In words.
    #[serde(default)]
    pub note: String,
    /// What it depends on: the lock is needed.
    pub terms: TermsRequest,
}

/// What telling of a rehearsal wants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RehearsalRequest {
    /// How many seconds each step took.
    pub seconds: BTreeMap<String, f64>,
}

/// What approving a plan wants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApprovalRequest {
    /// Of which phase.
    pub phase: String,
    /// The hash of the plan that was read.
    pub plan: String,
}
