//! What is kept of the three kinds of object that roll pods out, so that they can be judged alike.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{PodTemplateSpec, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::{Identity, Kind};

/// What is kept of a rollout. Numbers are of pods.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Rollout {
    pub(crate) identity: Identity,
    /// The generation that its controller has seen.
    pub(crate) observed: i64,
    pub(crate) desired: i32,
    /// All there are, old ones included.
    pub(crate) total: i32,
    pub(crate) updated: i32,
    pub(crate) ready: i32,
    pub(crate) available: i32,
    /// Why it does not go on by itself.
    pub(crate) held: Option<String>,
    /// Why it has given up, in the controller's words.
    pub(crate) stuck: Option<String>,
    /// A selector by labels, as a query has it.
    pub(crate) selector: String,
    pub(crate) placement: Placement,
    /// Of a `StatefulSet`: the claims that it makes, and what it does with them.
    pub(crate) claims: Claims,
}

/// On which nodes a `DaemonSet` places its pods.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Placement {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) tolerations: Vec<Toleration>,
    /// There is more to it than labels and tolerations.
    pub(crate) affinity: bool,
}

/// The claims of a `StatefulSet`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Claims {
    /// Names of the templates.
    pub(crate) templates: Vec<String>,
    /// The number of the first pod.
    pub(crate) first: i32,
    /// Whether scaling down deletes them.
    pub(crate) deleted_when_scaled: bool,
    /// Whether deleting the `StatefulSet` deletes them.
    pub(crate) deleted_when_deleted: bool,
}

/// A selector as a query has it. What a query can not say becomes one that matches nothing.
fn query(selector: &LabelSelector) -> String {
    let labels = selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}={value}"));
    let expressions = selector.match_expressions.iter().flatten().map(|expression| {
        let (key, values) = (&expression.key, expression.values.iter().flatten().cloned().collect::<Vec<_>>().join(","));
        match expression.operator.as_str() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.clone(),
            "DoesNotExist" => format!("!{key}"),
            other => format!("phasegate-knows-no-operator={other}"),
        }
    });
    labels.chain(expressions).collect::<Vec<_>>().join(",")
}

fn begun(meta: &ObjectMeta, observed: Option<i64>, selector: &LabelSelector) -> Rollout {
    Rollout { identity: meta.into(), observed: observed.unwrap_or_default(), selector: query(selector), ..Rollout::default() }
}

fn placement(template: PodTemplateSpec) -> Placement {
    let spec = template.spec.unwrap_or_default();
    Placement {
        labels: spec.node_selector.unwrap_or_default(),
        tolerations: spec.tolerations.unwrap_or_default(),
        affinity: spec.affinity.is_some_and(|affinity| affinity.node_affinity.is_some()),
    }
}

/// Deployments.
pub(crate) struct Deployments;

impl Kind for Deployments {
    type Object = Deployment;
    type Kept = Rollout;

    fn keep(object: Deployment, _: Option<&Rollout>) -> Rollout {
        let (spec, status) = (object.spec.unwrap_or_default(), object.status.unwrap_or_default());
        let mut conditions = status.conditions.iter().flatten();
        let progress = conditions.find(|condition| condition.type_ == "Progressing" && condition.status == "False");
        Rollout {
            desired: spec.replicas.unwrap_or(1),
            total: status.replicas.unwrap_or_default(),
            updated: status.updated_replicas.unwrap_or_default(),
            ready: status.ready_replicas.unwrap_or_default(),
            available: status.available_replicas.unwrap_or_default(),
            held: spec.paused.filter(|paused| *paused).map(|_| "it is paused".to_owned()),
            stuck: progress.filter(|condition| condition.reason.as_deref() != Some("DeploymentPaused")).map(|condition| {
                format!("{}: {}", condition.reason.clone().unwrap_or_default(), condition.message.clone().unwrap_or_default())
            }),
            ..begun(&object.metadata, status.observed_generation, &spec.selector)
        }
    }
}

/// `StatefulSets`.
pub(crate) struct StatefulSets;

impl Kind for StatefulSets {
    type Object = StatefulSet;
    type Kept = Rollout;

    fn keep(object: StatefulSet, _: Option<&Rollout>) -> Rollout {
        let (spec, status) = (object.spec.unwrap_or_default(), object.status.unwrap_or_default());
        let strategy = spec.update_strategy.unwrap_or_default();
        let partition = strategy.rolling_update.and_then(|rolling| rolling.partition).unwrap_or_default();
        let by_hand = strategy.type_.as_deref() == Some("OnDelete");
        let templates = spec.volume_claim_templates.into_iter().flatten().filter_map(|template| template.metadata.name);
        let retention = spec.persistent_volume_claim_retention_policy.unwrap_or_default();
        let deletes = |policy: Option<String>| policy.as_deref() == Some("Delete");
        let held = match (by_hand, partition) {
            (true, _) => Some("its update strategy is OnDelete: pods are replaced once they are deleted".to_owned()),
            (false, 1..) => Some(format!("its partition {partition} keeps pods of lower numbers as they are")),
            (false, _) => None,
        };
        // Without a revision that is new all pods are of the newest, whatever the strategy counts.
        let same = status.update_revision.is_some() && status.update_revision == status.current_revision;
        let updated = status.updated_replicas.unwrap_or_default();
        Rollout {
            desired: spec.replicas.unwrap_or(1),
            total: status.replicas,
            updated: if same { status.replicas } else { updated },
            ready: status.ready_replicas.unwrap_or_default(),
            available: status.available_replicas.unwrap_or_default(),
            held,
            claims: Claims {
                templates: templates.collect(),
                first: spec.ordinals.and_then(|ordinals| ordinals.start).unwrap_or_default(),
                deleted_when_scaled: deletes(retention.when_scaled),
                deleted_when_deleted: deletes(retention.when_deleted),
            },
            ..begun(&object.metadata, status.observed_generation, &spec.selector)
        }
    }
}

/// `DaemonSets`.
pub(crate) struct DaemonSets;

impl Kind for DaemonSets {
    type Object = DaemonSet;
    type Kept = Rollout;

    fn keep(object: DaemonSet, _: Option<&Rollout>) -> Rollout {
        let (spec, status) = (object.spec.unwrap_or_default(), object.status.unwrap_or_default());
        let by_hand = spec.update_strategy.and_then(|strategy| strategy.type_).as_deref() == Some("OnDelete");
        Rollout {
            desired: status.desired_number_scheduled,
            total: status.current_number_scheduled,
            updated: status.updated_number_scheduled.unwrap_or_default(),
            ready: status.number_ready,
            available: status.number_available.unwrap_or_default(),
            held: by_hand.then(|| "its update strategy is OnDelete: pods are replaced once they are deleted".to_owned()),
            placement: placement(spec.template),
            ..begun(&object.metadata, status.observed_generation, &spec.selector)
        }
    }
}
