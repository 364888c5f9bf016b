//! What commands say, and how they are answered.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{BlockerBody, PhaseBody};
use crate::gate::Verdict;

/// What rollback, adopt and acknowledge want.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReasonRequest {
    /// Why, for those who read the audit trail later.
    pub reason: String,
    /// The id of the lock that the sender holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<u64>,
    /// The name of the phase, once more: it is known what going back behind its point of no return costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<String>,
}

/// What a sender of heartbeats says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeartbeatRequest {
    /// False when the sender itself reports a failure.
    #[serde(default)]
    pub failed: bool,
    /// The sender's own words.
    #[serde(default)]
    pub note: String,
}

/// A command was taken and is durable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// What happened, in one sentence.
    pub message: String,
    /// Where the phase stands now, for phase commands.
    pub phase: Option<PhaseBody>,
    /// The number of a new override.
    pub id: Option<u64>,
}

/// Any answer that is not 2xx, except a gate's own verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody {
    /// Stable, `snake_case`.
    pub code: String,
    /// For people.
    pub message: String,
    /// The verdict, when a gate or guard refused.
    pub verdict: Option<Verdict>,
    /// What stands in the way.
    #[serde(default)]
    pub blockers: Vec<BlockerBody>,
    /// What to do next, in the imperative.
    pub hint: Option<String>,
}
