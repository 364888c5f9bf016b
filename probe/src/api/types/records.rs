//! Exceptions, facts and removed targets on the wire.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::StampBody;

/// An active override.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OverrideBody {
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
    /// How many seconds it lasts yet.
    pub remaining_seconds: f64,
}

/// What creating an override wants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OverrideRequest {
    /// For which probe.
    pub probe: String,
    /// Why.
    pub reason: String,
    /// Where that is discussed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// For how many seconds.
    pub ttl_seconds: u64,
}

/// The active overrides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OverridesBody {
    /// By number.
    pub overrides: Vec<OverrideBody>,
}

/// A recorded fact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FactBody {
    /// Its name.
    pub name: String,
    /// When, by whom.
    pub stamp: StampBody,
    /// The content.
    pub value: serde_json::Value,
}

/// A recorded fact by its name, without its content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FactNameBody {
    /// Its name.
    pub name: String,
    /// When, by whom.
    pub stamp: StampBody,
}

/// The recorded facts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FactsBody {
    /// By name.
    pub facts: Vec<FactNameBody>,
}

/// An old side that was removed for good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemovalBody {
    /// Which target.
    pub target: String,
    /// Who said so, and when.
    pub stamp: StampBody,
    /// Why.
    pub reason: String,
    /// When its tripwire has first seen it gone; none: it is there yet.
    pub gone: Option<DateTime<Utc>>,
    /// The probes that keep watch over it.
    pub tripwires: Vec<String>,
}
