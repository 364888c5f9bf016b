//! What is looked at: the Targets of a Migration document, and how a check names the ones it needs.

pub(crate) mod pods;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::outcome::PartId;
use crate::registry::PathStep;
use crate::secret::SecretRef;

use pods::Found;
pub use pods::PodsRef;

/// A named thing under observation. Exactly one kind per target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Target {
    /// The agents that write the canary.
    Agent(AgentTarget),
    /// Grafana Alloy.
    Alloy(AlloyTarget),
    /// A Grafana.
    Grafana(GrafanaTarget),
    /// A Loki.
    Loki(LokiTarget),
    /// A PostgreSQL server, as one database and role.
    Postgres(PostgresTarget),
    /// A Prometheus, or anything that answers its query API.
    Prometheus(PrometheusTarget),
}

/// How to reach the agents, `probe agent`: one on each node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentTarget {
    /// Base URL of each agent, e.g. `http://192.0.2.10:9471`. Give either these or `pods`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub urls: Vec<Url>,
    /// The pods that they run in, found in the cluster; let their `--node` be the node's name there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodsRef>,
    /// What was found for this Run.
    #[serde(skip)]
    pub(crate) found: Option<Found>,
}

/// How to reach Grafana Alloy: each instance by itself, since a service in front of them would answer for one at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlloyTarget {
    /// Base URL of each Alloy, e.g. `http://192.0.2.10:12345`. Give either these or `pods`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub urls: Vec<Url>,
    /// The pods that it runs in, found in the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodsRef>,
    /// What was found for this Run.
    #[serde(skip)]
    pub(crate) found: Option<Found>,
}

impl AgentTarget {
    /// The node of the agent at this URL, if Kubernetes says so.
    pub(crate) fn node(&self, url: &Url) -> Option<&str> {
        self.found.as_ref()?.name(url)
    }
}

impl AlloyTarget {
    /// The part that one Alloy is: its node if Kubernetes says so, else where it is.
    pub(crate) fn part(&self, url: &Url) -> PartId {
        let node = self.found.as_ref().and_then(|found| found.name(url));
        node.map_or_else(|| crate::alloy::part(url), PartId::new)
    }

    /// The Alloy on this node, if Kubernetes says so.
    pub(crate) fn on(&self, node: &str) -> Option<&Url> {
        self.found.as_ref()?.url(node)
    }
}

/// How to reach a Grafana.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrafanaTarget {
    /// Base URL, e.g. `http://grafana.observability.svc:3000`.
    #[schemars(with = "String", url)]
    pub url: Url,
    /// Token of a service account, by reference; sent as `Authorization: Bearer`. Needed for queries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<SecretRef>,
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

impl LokiTarget {
    /// Its gateway, as a Loki.
    pub(crate) fn behind_gateway(&self) -> Option<Self> {
        self.gateway.clone().map(|url| Self { url, gateway: None, tenant: self.tenant.clone() })
    }
}

/// How to reach a PostgreSQL server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PostgresTarget {
    /// Connection string (`postgres://user:password@host:port/db` or `key=value` form), by reference.
    pub dsn: SecretRef,
}

/// How to reach a Prometheus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrometheusTarget {
    /// Base URL, e.g. `http://prometheus.observability.svc:9090`.
    #[schemars(with = "String", url)]
    pub url: Url,
    /// Token, by reference; sent as `Authorization: Bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<SecretRef>,
}

/// The kind of a [`Target`], for cross-checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TargetKind {
    /// See [`AgentTarget`].
    Agent,
    /// See [`AlloyTarget`].
    Alloy,
    /// See [`GrafanaTarget`].
    Grafana,
    /// See [`LokiTarget`].
    Loki,
    /// See [`PostgresTarget`].
    Postgres,
    /// See [`PrometheusTarget`].
    Prometheus,
}

impl TargetKind {
    /// The key in the document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Alloy => "alloy",
            Self::Grafana => "grafana",
            Self::Loki => "loki",
            Self::Postgres => "postgres",
            Self::Prometheus => "prometheus",
        }
    }
}

impl Target {
    /// Its kind.
    pub const fn kind(&self) -> TargetKind {
        match self {
            Self::Agent(_) => TargetKind::Agent,
            Self::Alloy(_) => TargetKind::Alloy,
            Self::Grafana(_) => TargetKind::Grafana,
            Self::Loki(_) => TargetKind::Loki,
            Self::Postgres(_) => TargetKind::Postgres,
            Self::Prometheus(_) => TargetKind::Prometheus,
        }
    }

    /// The secrets it refers to.
    pub fn secrets(&self) -> Vec<&SecretRef> {
        match self {
            Self::Agent(_) | Self::Alloy(_) | Self::Loki(_) => Vec::new(),
            Self::Grafana(target) => target.token.iter().collect(),
            Self::Postgres(target) => vec![&target.dsn],
            Self::Prometheus(target) => target.token.iter().collect(),
        }
    }

    /// The pods it is, if it is found in the cluster.
    pub fn pods(&self) -> Option<&PodsRef> {
        match self {
            Self::Agent(target) => target.pods.as_ref(),
            Self::Alloy(target) => target.pods.as_ref(),
            Self::Grafana(_) | Self::Loki(_) | Self::Postgres(_) | Self::Prometheus(_) => None,
        }
    }

    /// The URLs it names, each with the keys and indices that lead to it from the kind's block.
    pub fn urls(&self) -> Vec<(Vec<PathStep>, &Url)> {
        let at = |key: &str| vec![PathStep::Key(key.to_owned())];
        match self {
            Self::Agent(AgentTarget { urls, .. }) | Self::Alloy(AlloyTarget { urls, .. }) => {
                let nth = |n| vec![PathStep::Key("urls".to_owned()), PathStep::Index(n)];
                urls.iter().enumerate().map(|(n, url)| (nth(n), url)).collect()
            }
            Self::Grafana(GrafanaTarget { url, .. }) | Self::Prometheus(PrometheusTarget { url, .. }) => vec![(at("url"), url)],
            Self::Loki(LokiTarget { url, gateway, .. }) => {
                std::iter::once((at("url"), url)).chain(gateway.iter().map(|url| (at("gateway"), url))).collect()
            }
            Self::Postgres(_) => Vec::new(),
        }
    }
}

/// A type that is one kind of target, for [`Context::target`](crate::Context).
pub(crate) trait OneKind: Sized {
    /// The target itself, if it is of this kind.
    fn of(target: &Target) -> Option<&Self>;
}

macro_rules! one_kind {
    ($($variant:ident($kind:ty)),+ $(,)?) => {
        $(impl OneKind for $kind {
            fn of(target: &Target) -> Option<&Self> {
                if let Target::$variant(target) = target { Some(target) } else { None }
            }
        })+
    };
}

one_kind!(
    Agent(AgentTarget),
    Alloy(AlloyTarget),
    Grafana(GrafanaTarget),
    Loki(LokiTarget),
    Postgres(PostgresTarget),
    Prometheus(PrometheusTarget),
);

/// That a check needs a target: which field names it, what kind it must be, and the name given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetUse {
    /// The check's own field, e.g. `loki`.
    pub field: &'static str,
    /// What it must be; none: anything.
    pub kind: Option<TargetKind>,
    /// The target's name in the document.
    pub name: String,
}
