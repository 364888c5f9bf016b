//! How the marks in Grafana fare, on the wire.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How marking what happens fares, in one Grafana.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnnotationsBody {
    /// The target.
    pub target: String,
    /// Events of the last days that are marked there, as far as this verifier has seen since its start.
    pub marked: u64,
    /// Events that are not marked yet.
    pub waiting: usize,
    /// When Grafana last showed that it takes marks; none: not since the start of this verifier.
    #[serde(default)]
    pub proven: Option<DateTime<Utc>>,
    /// What stands in the way.
    #[serde(default)]
    pub problem: Option<AnnotationsProblemBody>,
}

/// Why marks can not be made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnnotationsProblemBody {
    /// Why, in a word.
    pub reason: String,
    /// What was seen: which call, and which permission it needs.
    pub evidence: String,
    /// What to do, in the imperative.
    pub next: String,
    /// Since when it is for this reason.
    pub since: DateTime<Utc>,
}
