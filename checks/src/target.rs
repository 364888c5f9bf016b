//! What is looked at: the Targets of a Migration document, and how a check names the ones it needs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::secret::SecretRef;

/// A named thing under observation. Exactly one kind per target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Target {
    /// A Loki.
    Loki(LokiTarget),
    /// A PostgreSQL server, as one database and role.
    Postgres(PostgresTarget),
}

/// How to reach a Loki.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LokiTarget {
    /// Base URL of Loki itself, e.g. `http://loki.observability.svc:3100`.
    #[schemars(with = "String", url)]
    pub url: Url,
    /// Base URL of the gateway in front of it, the path that Grafana uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub gateway: Option<Url>,
    /// Tenant, sent as `X-Scope-OrgID`. Needed when Loki runs with `auth_enabled: true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
}

/// How to reach a PostgreSQL server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PostgresTarget {
    /// Connection string (`postgres://user:password@host:port/db` or `key=value` form), by reference.
    pub dsn: SecretRef,
}

/// The kind of a [`Target`], for cross-checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TargetKind {
    /// See [`LokiTarget`].
    Loki,
    /// See [`PostgresTarget`].
    Postgres,
}

impl TargetKind {
    /// The key in the document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loki => "loki",
            Self::Postgres => "postgres",
        }
    }
}

impl Target {
    /// Its kind.
    pub const fn kind(&self) -> TargetKind {
        match self {
            Self::Loki(_) => TargetKind::Loki,
            Self::Postgres(_) => TargetKind::Postgres,
        }
    }

    /// The secrets it refers to.
    pub fn secrets(&self) -> Vec<&SecretRef> {
        match self {
            Self::Loki(_) => Vec::new(),
            Self::Postgres(target) => vec![&target.dsn],
        }
    }
}

/// That a check needs a target: which field names it, what kind it must be, and the name given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetUse {
    /// The check's own field, e.g. `loki`.
    pub field: &'static str,
    /// What it must be.
    pub kind: TargetKind,
    /// The target's name in the document.
    pub name: String,
}
