//! Looking at a cluster through the Kubernetes API: by watch, from one place for all probes.

pub(crate) mod api;
pub(crate) mod cluster;
pub mod endpoints;
pub(crate) mod kinds;
mod lines;
pub(crate) mod nodes;
mod rule;
#[cfg(test)]
pub(crate) mod testing;
pub mod volume;
pub(crate) mod watch;
pub mod workload;

pub use cluster::Cluster;
pub use rule::{Reach, Rule};

use crate::outcome::ReasonSpec;

/// There is no way to the API.
pub(crate) const NO_CLUSTER: ReasonSpec = ReasonSpec::unknown(
    "no_cluster",
    "run the verifier in the cluster with a service account, or set `KUBECONFIG` to a file that leads to the cluster, and restart it",
);
/// The API server does not answer, or says that it can not.
pub(crate) const API_UNREACHABLE: ReasonSpec = ReasonSpec::unknown(
    "api_unreachable",
    "see whether the API server runs and the verifier can reach it: `kubectl get --raw /readyz`; the evidence has its words",
);
/// The API server does not know us.
pub(crate) const API_UNAUTHORIZED: ReasonSpec = ReasonSpec::unknown(
    "api_unauthorized",
    "give the verifier credentials that the API server accepts: mount its service account's token, or renew `KUBECONFIG`",
);
/// A rule is missing.
pub(crate) const FORBIDDEN: ReasonSpec =
    ReasonSpec::unknown("forbidden", "add the RBAC rule that the evidence names to the verifier's service account");
/// What came back is none of its replies.
pub(crate) const API_UNREADABLE: ReasonSpec = ReasonSpec::unknown(
    "api_unreadable",
    "look for a proxy or login page between the verifier and the API server: the reply was cut, too large, or not Kubernetes'",
);
/// More than is kept.
pub(crate) const TOO_MANY_OBJECTS: ReasonSpec =
    ReasonSpec::unknown("too_many_objects", "narrow the selector or namespace: it matches more objects than are looked at");
/// What is known is old.
pub(crate) const WATCH_SILENT: ReasonSpec = ReasonSpec::unknown(
    "watch_silent",
    "see whether the API server answers: `kubectl get --raw /readyz`; its watch has fallen silent, so what is known is old",
);
/// A node's kubelet says nothing any more, while others do.
pub(crate) const NODE_SILENT: ReasonSpec = ReasonSpec::fail(
    "node_silent",
    "look at the node that the evidence names: its kubelet renews its Lease no more, so that what it says of its pods is old",
);
/// No kubelet says anything.
pub(crate) const NO_NEWS: ReasonSpec = ReasonSpec::unknown(
    "no_news",
    "see whether etcd and the kubelets run: no node's Lease is seen renewed, so nobody knows how old the pods' state is",
);
/// Too early to say whether a node lives.
pub(crate) const NODE_AWAITED: ReasonSpec =
    ReasonSpec::waiting("node_awaited", "wait until the node's Lease is seen renewed; kubelets do that every ten seconds");

/// What can keep a check from seeing the cluster.
pub(crate) const SIGHT: &[ReasonSpec] =
    &[NO_CLUSTER, API_UNREACHABLE, API_UNAUTHORIZED, FORBIDDEN, API_UNREADABLE, TOO_MANY_OBJECTS, WATCH_SILENT];
/// What can be said of nodes by their Leases.
pub(crate) const NODES: &[ReasonSpec] = &[NODE_SILENT, NO_NEWS, NODE_AWAITED];

/// Why this can not be the name of an object: it would change the question that it stands in.
pub(crate) fn bad_name(name: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    let good = !name.is_empty() && name.len() <= 253 && name.chars().all(fits);
    (!good).then(|| format!("`{name}` can not be the name of an object in Kubernetes"))
}
