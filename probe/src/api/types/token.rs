//! Who asks.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The token that asks; never the token itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenBody {
    /// Its name, as it stands in the audit trail.
    pub name: String,
    /// `read`, `heartbeat`, `operate` or `approve`.
    pub role: String,
    /// The roles that this one includes, itself among them.
    pub covers: Vec<String>,
}
