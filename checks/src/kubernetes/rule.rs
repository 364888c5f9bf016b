//! What a check needs to be allowed: the rules that RBAC is made of.

/// Where a [`Rule`] has to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// In the namespace that the document names: a Role.
    Namespace,
    /// In this namespace, whatever the document says: a Role.
    In(&'static str),
    /// For things that are in no namespace: a `ClusterRole`.
    Cluster,
}

/// One rule of RBAC that a check needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// The API group; empty for the core.
    pub api_group: &'static str,
    /// The resources, in the plural.
    pub resources: &'static [&'static str],
    /// The verbs.
    pub verbs: &'static [&'static str],
    /// Where.
    pub scope: Reach,
}

/// What a watch needs.
const VERBS: &[&str] = &["list", "watch"];

impl Rule {
    /// To watch these resources.
    pub(crate) const fn watch(api_group: &'static str, resources: &'static [&'static str], scope: Reach) -> Self {
        Self { api_group, resources, verbs: VERBS, scope }
    }
}
