//! The kinds of object that are watched, and what is kept of each: as little as is needed, since all of it stays in memory.

use std::collections::BTreeMap;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{self as core, ContainerStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::core::Resource;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

pub(crate) mod endpoints;
pub(crate) mod rollout;
pub(crate) mod volume;

/// A kind of object, and what is kept of it. One for each resource.
pub(crate) trait Kind: Send + Sync + 'static {
    /// As Kubernetes has it.
    type Object: Resource<DynamicType = ()> + DeserializeOwned + Send;
    /// What is kept.
    type Kept: Send + Sync + 'static;

    /// Takes out what is kept, knowing what was before.
    fn keep(object: Self::Object, before: Option<&Self::Kept>) -> Self::Kept;
}

/// What is kept of any object's metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: String,
    pub(crate) generation: i64,
    /// Somebody has deleted it; it is still there until its finalizers are done.
    pub(crate) deleted: bool,
}

impl From<&ObjectMeta> for Identity {
    fn from(meta: &ObjectMeta) -> Self {
        Self {
            uid: meta.uid.clone().unwrap_or_default(),
            generation: meta.generation.unwrap_or_default(),
            deleted: meta.deletion_timestamp.is_some(),
        }
    }
}

/// Pods.
pub(crate) struct Pods;

/// What is kept of a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) identity: Identity,
    /// The node that it runs on, or, if it does not run yet, the one that it is meant for.
    pub(crate) node: Option<String>,
    pub(crate) address: Option<String>,
    pub(crate) phase: String,
    pub(crate) ready: bool,
    /// Why it is not scheduled, in the scheduler's words.
    pub(crate) unscheduled: Option<String>,
    pub(crate) containers: Vec<Container>,
}

/// What is kept of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) name: String,
    /// As the pod asks for it.
    pub(crate) image: String,
    /// As the runtime resolved it.
    pub(crate) image_id: String,
    pub(crate) restarts: u32,
    /// Why it waits: reason and message.
    pub(crate) waits: Option<(String, String)>,
}

impl Kind for Pods {
    type Object = core::Pod;
    type Kept = Pod;

    fn keep(object: core::Pod, _: Option<&Pod>) -> Pod {
        let (spec, status) = (object.spec.unwrap_or_default(), object.status.unwrap_or_default());
        let condition = |name: &str| status.conditions.iter().flatten().find(|condition| condition.type_ == name);
        let unscheduled = condition("PodScheduled").filter(|condition| condition.status == "False");
        let statuses: BTreeMap<&str, &ContainerStatus> = [&status.init_container_statuses, &status.container_statuses]
            .into_iter()
            .flatten()
            .flatten()
            .map(|status| (status.name.as_str(), status))
            .collect();
        let named = spec.init_containers.iter().flatten().chain(&spec.containers);
        let containers = named
            .map(|container| {
                let status = statuses.get(container.name.as_str());
                let waiting = status.and_then(|status| status.state.as_ref()?.waiting.as_ref());
                let words = |text: &Option<String>| text.clone().unwrap_or_default();
                Container {
                    name: container.name.clone(),
                    image: container.image.clone().unwrap_or_default(),
                    image_id: status.map(|status| status.image_id.clone()).unwrap_or_default(),
                    restarts: status.and_then(|status| u32::try_from(status.restart_count).ok()).unwrap_or_default(),
                    waits: waiting.map(|waiting| (words(&waiting.reason), words(&waiting.message))),
                }
            })
            .collect();
        Pod {
            identity: (&object.metadata).into(),
            node: spec.node_name.clone().or_else(|| meant_for(&spec)),
            address: status.pod_ip.clone().filter(|address| !address.is_empty()),
            phase: status.phase.clone().unwrap_or_default(),
            ready: condition("Ready").is_some_and(|condition| condition.status == "True"),
            unscheduled: unscheduled.map(|condition| condition.message.clone().unwrap_or_default()),
            containers,
        }
    }
}

/// The node that a `DaemonSet` has made a pod for.
fn meant_for(spec: &core::PodSpec) -> Option<String> {
    let node = spec.affinity.as_ref()?.node_affinity.as_ref()?.required_during_scheduling_ignored_during_execution.as_ref()?;
    let mut fields = node.node_selector_terms.iter().flat_map(|term| term.match_fields.iter().flatten());
    let named = fields.find(|field| field.key == "metadata.name" && field.operator == "In")?;
    named.values.as_ref()?.first().cloned()
}

/// Nodes.
pub(crate) struct Nodes;

/// What is kept of a node.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Node {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) taints: Vec<core::Taint>,
}

impl Kind for Nodes {
    type Object = core::Node;
    type Kept = Node;

    fn keep(object: core::Node, _: Option<&Node>) -> Node {
        let taints = object.spec.and_then(|spec| spec.taints).unwrap_or_default();
        Node { labels: object.metadata.labels.unwrap_or_default(), taints }
    }
}

/// Leases.
pub(crate) struct Leases;

/// What is kept of a Lease: when it was seen renewed, by the verifier's own clock.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Renewal {
    renewed: Option<MicroTime>,
    /// When it was first seen.
    pub(crate) first: Instant,
    /// When `renewTime` was last seen to change.
    pub(crate) last: Option<Instant>,
}

impl Kind for Leases {
    type Object = Lease;
    type Kept = Renewal;

    fn keep(object: Lease, before: Option<&Renewal>) -> Renewal {
        let (renewed, now) = (object.spec.and_then(|spec| spec.renew_time), Instant::now());
        match before {
            None => Renewal { renewed, first: now, last: None },
            Some(before) if before.renewed == renewed => before.clone(),
            Some(before) => Renewal { renewed, first: before.first, last: Some(now) },
        }
    }
}

#[cfg(test)]
impl Renewal {
    pub(crate) fn of_test(first: Instant, last: Option<Instant>) -> Self {
        Self { renewed: None, first, last }
    }
}
