//! Targets that are found through the Kubernetes API: one instance on each node, by watch, anew for each Run.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use futures::future::join;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use url::Url;

use crate::check::{Context, Report};
use crate::kubernetes::kinds::{Nodes, Pod, Pods};
use crate::kubernetes::watch::Scope;
use crate::kubernetes::{Reach, Rule, bad_name};
use crate::net::Budget;
use crate::outcome::{Outcome, PartId, ReasonSpec, Step};

use super::{AgentTarget, AlloyTarget, Target, TargetUse};

/// Nothing matches.
const NO_PODS: ReasonSpec =
    ReasonSpec::unknown("no_pods", "deploy the pods, or correct the target's `namespace` and `selector`: no pod matches them");
/// A node's pod can not be asked yet.
const POD_PENDING: ReasonSpec = ReasonSpec::unknown(
    "pod_pending",
    "see why the pod does not run: `kubectl describe` it; it has no address yet, so nobody could ask it",
);
/// What finding pods can come to, beside what keeps us from seeing the cluster.
pub(crate) const FOUND: &[ReasonSpec] = &[NO_PODS, POD_PENDING];
/// What finding pods needs to be allowed.
pub(crate) const RULES: &[Rule] = &[Rule::watch("", &["pods"], Reach::Namespace), Rule::watch("", &["nodes"], Reach::Cluster)];

/// Which pods a target is, one on each node: their part is named by the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodsRef {
    /// Their namespace.
    pub namespace: String,
    /// Their selector by labels, like `app.kubernetes.io/name=alloy`.
    pub selector: String,
    /// The port that they answer at, in plain HTTP.
    pub port: u16,
}

impl PodsRef {
    /// What is wrong with it: field, message, hint.
    pub fn problem(&self) -> Option<(&'static str, String, &'static str)> {
        if let Some(message) = bad_name(&self.namespace) {
            return Some(("namespace", message, "write it as `kubectl get namespaces` shows it"));
        }
        if self.selector.trim().is_empty() {
            return Some(("selector", "it selects every pod".into(), "name the pods' labels, like app.kubernetes.io/name=alloy"));
        }
        (self.port == 0).then(|| ("port", "0 is no port".into(), "Alloy's is 12345, the agent's 9471"))
    }
}

/// What was found for one Run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The node of each URL.
    names: BTreeMap<Url, String>,
    /// All nodes there are.
    nodes: BTreeSet<PartId>,
    /// Nodes whose pod can not be asked, and why.
    pending: BTreeMap<PartId, Outcome>,
}

impl Found {
    /// The node behind a URL.
    pub(crate) fn name(&self, url: &Url) -> Option<&str> {
        self.names.get(url).map(String::as_str)
    }

    /// The URL of a node.
    pub(crate) fn url(&self, name: &str) -> Option<&Url> {
        self.names.iter().find(|(_, node)| *node == name).map(|(url, _)| url)
    }

    /// Whether Kubernetes has this node.
    pub(crate) fn has(&self, node: &str) -> bool {
        self.nodes.contains(&PartId::new(node))
    }

    /// Adds the nodes whose pods could not be asked, and says which nodes there are: one that Kubernetes has no more has left.
    pub(crate) fn complete<M>(&self, report: &mut Report<M>) {
        if let Step::Done(parts) = &mut report.step
            && !parts.contains_key(&PartId::new(PartId::WHOLE))
        {
            for (node, outcome) in &self.pending {
                parts.entry(node.clone()).or_insert_with(|| outcome.clone());
            }
            report.named = Some(self.nodes.clone());
        }
    }
}

/// The same context, in which the targets of these uses that are pods have URLs. `None`: there is none of them.
pub(crate) async fn resolve(cx: &Context, uses: &[TargetUse]) -> Result<Option<Context>, Outcome> {
    let mut named = BTreeMap::new();
    for used in uses {
        if let Some(pods) = cx.targets.get(&used.name).and_then(Target::pods) {
            named.insert(&used.name, pods);
        }
    }
    if named.is_empty() {
        return Ok(None);
    }
    let (start, budget) = (Instant::now(), Budget::start(cx.timeout));
    let mut targets = cx.targets.as_ref().clone();
    for (name, pods) in named {
        let (urls, found) = find(cx, pods, budget).await.map_err(|outcome| outcome.of(name))?;
        match targets.get_mut(name) {
            Some(
                Target::Agent(AgentTarget { urls: to, found: as_found, .. })
                | Target::Alloy(AlloyTarget { urls: to, found: as_found, .. }),
            ) => (*to, *as_found) = (urls, Some(found)),
            Some(Target::Grafana(_) | Target::Loki(_) | Target::Postgres(_) | Target::Prometheus(_)) | None => {}
        }
    }
    let timeout = cx.timeout.saturating_sub(start.elapsed());
    Ok(Some(Context { targets: Arc::new(targets), timeout, ..cx.clone() }))
}

async fn find(cx: &Context, of: &PodsRef, budget: Budget) -> Result<(Vec<Url>, Found), Outcome> {
    let cluster = &cx.clients.cluster;
    let pods = cluster.see::<Pods>(cx, Scope::within(&of.namespace).labelled(&of.selector), budget);
    let (pods, nodes) = join(pods, cluster.see::<Nodes>(cx, Scope::cluster(), budget)).await;
    let (pods, nodes) = (pods?, nodes?);
    let over = |pod: &Pod| matches!(pod.phase.as_str(), "Failed" | "Succeeded");
    let known: Vec<_> = pods.iter().filter(|(_, pod)| !over(pod)).map(|(name, pod)| (name.as_str(), pod.as_ref())).collect();
    if known.is_empty() {
        return Err(NO_PODS.because(format!("no pod in namespace {} matches {}", of.namespace, of.selector)));
    }
    let mut found = Found { nodes: nodes.keys().map(PartId::new).collect(), ..Found::default() };
    let urls = place(&known, of.port, &mut found);
    Ok((urls, found))
}

/// The URLs, by node. A pod that runs is asked even if it is not Ready: its own answer says more than the kubelet's word, which may
/// be old either way. Of several on one node, as while one replaces the other, the Ready one is the node's.
fn place(pods: &[(&str, &Pod)], port: u16, found: &mut Found) -> Vec<Url> {
    let mut urls = Vec::new();
    let mut best: BTreeMap<&str, (bool, &str, Url)> = BTreeMap::new();
    for (name, pod) in pods {
        let node = pod.node.as_deref().unwrap_or("no node");
        let address = pod.address.as_ref().and_then(|address| address.parse::<IpAddr>().ok());
        let url = address.and_then(|address| {
            let host = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
            Url::parse(&format!("http://{host}:{port}")).ok()
        });
        if let Some(url) = url.filter(|_| !pod.identity.deleted) {
            if best.get(node).is_none_or(|(ready, other, _)| (*ready, *other) < (pod.ready, name)) {
                best.insert(node, (pod.ready, name, url));
            }
        } else {
            let why = if pod.identity.deleted { "is being deleted" } else { "has no address" };
            found.pending.insert(PartId::new(node), POD_PENDING.because(format!("{name} {why} ({})", pod.phase)));
        }
    }
    for (node, (_, _, url)) in best {
        found.pending.remove(&PartId::new(node));
        found.names.insert(url.clone(), node.to_owned());
        urls.push(url);
    }
    urls
}

#[cfg(test)]
mod tests;
