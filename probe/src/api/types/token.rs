//! Who asks.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Carries a token where a proxy takes `Authorization` for itself, as that of the API server does.
pub const TOKEN_HEADER: &str = "x-phasegate-token";
/// What tokens of Kubernetes are made for that are for the verifier and nobody else.
pub const AUDIENCE: &str = "phasegate";

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
