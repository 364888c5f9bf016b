//! `workload`: a rollout is complete, its pods are Ready on nodes that live, and they stay up.

use std::time::Duration;

use futures::future::{BoxFuture, join3};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Check, Context, FieldError, Meta, Nature, Report};
use crate::net::Budget;
use crate::outcome::{Measure, Outcome, PartId, ReasonSpec, Step};

use super::kinds::rollout::{DaemonSets, Deployments, Rollout, StatefulSets};
use super::kinds::{Kind, Node, Nodes, Pod, Pods};
use super::nodes::{self, Life};
use super::rule::{Reach, Rule};
use super::watch::{Scope, Sight};
use super::{NODES, SIGHT, bad_name};
use judge::Memory;

mod judge;
mod restarts;

/// There is none.
pub(crate) const ABSENT: ReasonSpec =
    ReasonSpec::fail("absent", "create the object that the evidence names, or correct `namespace` and name in the document");
/// Somebody has deleted it.
pub(crate) const BEING_DELETED: ReasonSpec = ReasonSpec::fail(
    "being_deleted",
    "find out who deleted it: it is only still there until its finalizers are done; create it again if that was a mistake",
);
/// It is to have no pods.
const SCALED_TO_ZERO: ReasonSpec =
    ReasonSpec::fail("scaled_to_zero", "scale it up, or let its node selector match a node: it is to have no pods");
/// The rollout does not go on by itself.
const PAUSED: ReasonSpec =
    ReasonSpec::fail("rollout_paused", "resume the rollout (`kubectl rollout resume`), or do by hand what the evidence says");
/// The controller has given up.
const ROLLOUT_STUCK: ReasonSpec =
    ReasonSpec::fail("rollout_stuck", "see what the controller says in the evidence, and the events of the pods");
/// It was complete, and is not any more.
const UNAVAILABLE: ReasonSpec =
    ReasonSpec::fail("unavailable", "see why pods are missing or not available: `kubectl describe` them and look at their log");
/// A pod is not Ready.
const POD_NOT_READY: ReasonSpec =
    ReasonSpec::fail("pod_not_ready", "look at the pod's log and its readiness probe: it runs, but is not Ready");
/// A pod finds no node.
const UNSCHEDULABLE: ReasonSpec =
    ReasonSpec::fail("unschedulable", "give the pod a node it can run on: the evidence has the scheduler's words");
/// A container does not start.
const CONTAINER_FAILING: ReasonSpec = ReasonSpec::fail(
    "container_failing",
    "mend what the evidence says of the container: `kubectl logs --previous`, its image, its pull secret, its configuration",
);
/// A container has restarted.
const RESTARTING: ReasonSpec = ReasonSpec::fail(
    "restarting",
    "find out why the container restarts: `kubectl logs --previous`; it counts as over when `restartsWithin` brings no more",
);
/// It runs another image.
const IMAGE_WRONG: ReasonSpec =
    ReasonSpec::fail("image_wrong", "roll out the image that the document expects, or correct `image` in the document");
/// Its pods run different images.
const IMAGES_DIFFER: ReasonSpec = ReasonSpec::fail(
    "images_differ",
    "pin the image by its digest and roll out anew: the same tag was resolved to different images on different nodes",
);
/// The runtime does not say which image it runs.
const IMAGE_UNTOLD: ReasonSpec =
    ReasonSpec::unknown("image_untold", "wait until the container runs: the runtime has not said yet which image it resolved");
/// A node has no pod.
const NODE_MISSING: ReasonSpec = ReasonSpec::fail(
    "node_missing",
    "see why the nodes that the evidence names run no Ready pod of this DaemonSet, or say `everyNode: false`",
);
/// It is on its way.
const ROLLING_OUT: ReasonSpec = ReasonSpec::waiting("rolling_out", "wait until the rollout is complete");

/// A name that no object of the document has: no name may have two dots in a row.
const NOBODY: &str = "phasegate..negative-control";
/// The longest of the times.
const LONGEST: Duration = Duration::from_hours(24);

/// The rollout of a Deployment, `StatefulSet` or `DaemonSet` is complete, all its pods are Ready on nodes that live, they run the same
/// image, and no container has restarted within `restartsWithin` (10 m by default). It is seen by watch, a moment after it happens.
///
/// Parts are `rollout`, `pods`, `restarts`, `image` and, of a `DaemonSet`, `nodes`. Ready is the kubelet's word, and stays written
/// when a node freezes or the API server can not write any more; so a pod counts only while its node's Lease is seen renewed
/// (within 40 s, by the verifier's clock). Of a `DaemonSet`, the nodes that its node selector and tolerations allow are compared
/// with those that run a Ready pod of it; if it has a node affinity, with the controller's own count alone. `image` is a digest
/// (`sha256:…`, compared with what the runtime resolved) or exactly what stands in the pod. Ready says nothing about data: that is
/// what the other checks are for.
///
/// Fail: absent, being deleted, scaled to zero, paused half-way, given up by the controller, complete before and short of pods now,
/// a pod not Ready, without a node, or on a node whose Lease stands still while others move, a container that does not start or
/// has restarted, another image, a node without a pod. Waiting: the rollout is under way, at most for `rolloutWithin` (10 m by
/// default). Unknown: no cluster, the API server is silent or unreadable, a rule is missing, no Lease moves at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workload {
    /// Its namespace.
    pub namespace: String,
    /// Name of a Deployment. Give one of the three.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<String>,
    /// Name of a `StatefulSet`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stateful_set: Option<String>,
    /// Name of a `DaemonSet`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daemon_set: Option<String>,
    /// The image that a container of each pod must run: `sha256:…`, `name@sha256:…`, or the exact reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Whether each node that it is meant for must run a pod of a `DaemonSet`.
    #[serde(default = "yes")]
    pub every_node: bool,
    /// How long a rollout may take, like `10m`.
    #[serde(default = "ten_minutes", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub rollout_within: Duration,
    /// For how long a restart of a container counts, like `10m`.
    #[serde(default = "ten_minutes", with = "humantime_serde")]
    #[schemars(with = "String")]
    pub restarts_within: Duration,
}

fn yes() -> bool {
    true
}

fn ten_minutes() -> Duration {
    Duration::from_mins(10)
}

/// Which object it is.
enum Named<'a> {
    Deployment(&'a str),
    StatefulSet(&'a str),
    DaemonSet(&'a str),
}

/// What one look has seen.
struct Seen {
    rollout: Rollout,
    pods: Sight<Pod>,
    life: Life,
    /// Only if they are compared.
    nodes: Option<Sight<Node>>,
}

impl Workload {
    fn named(&self) -> Option<Named<'_>> {
        match (self.deployment.as_deref(), self.stateful_set.as_deref(), self.daemon_set.as_deref()) {
            (Some(name), None, None) => Some(Named::Deployment(name)),
            (None, Some(name), None) => Some(Named::StatefulSet(name)),
            (None, None, Some(name)) => Some(Named::DaemonSet(name)),
            _ => None,
        }
    }

    /// The object as its own kind, by its name; in a control by another name.
    async fn find<K: Kind<Kept = Rollout>>(
        &self,
        cx: &Context,
        (kind, name): (&str, &str),
        budget: Budget,
    ) -> Result<[Result<Rollout, Outcome>; 2], Outcome> {
        let sight = cx.clients.cluster.see::<K>(cx, Scope::within(&self.namespace).named(name), budget).await?;
        Ok([name, NOBODY].map(|name| {
            let found = sight.get(name).map(|rollout| Rollout::clone(rollout));
            found.ok_or_else(|| ABSENT.because(format!("no {kind} {name} in namespace {}", self.namespace)))
        }))
    }

    async fn rollout(&self, cx: &Context, budget: Budget) -> Result<[Result<Rollout, Outcome>; 2], Outcome> {
        match self.named() {
            Some(Named::Deployment(name)) => self.find::<Deployments>(cx, ("Deployment", name), budget).await,
            Some(Named::StatefulSet(name)) => self.find::<StatefulSets>(cx, ("StatefulSet", name), budget).await,
            Some(Named::DaemonSet(name)) => self.find::<DaemonSets>(cx, ("DaemonSet", name), budget).await,
            None => Err(ABSENT.because("the document names no object, or several")),
        }
    }

    async fn look(&self, cx: &Context, rollout: Rollout, budget: Budget) -> Result<Seen, Outcome> {
        let cluster = &cx.clients.cluster;
        let pods = cluster.see::<Pods>(cx, Scope::within(&self.namespace).labelled(&rollout.selector), budget);
        let nodes = async {
            let compared = self.every_node && self.daemon_set.is_some() && !rollout.placement.affinity;
            if compared { cluster.see::<Nodes>(cx, Scope::cluster(), budget).await.map(Some) } else { Ok(None) }
        };
        let (pods, nodes, life) = join3(pods, nodes, Life::see(cx, budget)).await;
        Ok(Seen { pods: pods?, nodes: nodes?, life: life?, rollout })
    }
}

impl Check for Workload {
    const META: Meta = Meta {
        kind: "workload",
        nature: Nature::Continuous,
        reasons: &[
            SIGHT,
            NODES,
            &[
                ABSENT,
                BEING_DELETED,
                SCALED_TO_ZERO,
                PAUSED,
                ROLLOUT_STUCK,
                UNAVAILABLE,
                POD_NOT_READY,
                UNSCHEDULABLE,
                CONTAINER_FAILING,
                RESTARTING,
                IMAGE_WRONG,
                IMAGES_DIFFER,
                IMAGE_UNTOLD,
                NODE_MISSING,
                ROLLING_OUT,
            ],
        ],
        control: UNAVAILABLE,
        measures: &["desired_pods", "ready_pods", "restarts"],
        waivable: true,
        rules: &[
            Rule::watch("apps", &["deployments", "statefulsets", "daemonsets"], Reach::Namespace),
            Rule::watch("", &["pods"], Reach::Namespace),
            Rule::watch("", &["nodes"], Reach::Cluster),
            nodes::RULE,
        ],
    };
    type Memory = Memory;

    fn validate(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut wrong = |field, message: String, hint: &str| errors.push(FieldError { field, message, hint: hint.into() });
        if self.named().is_none() {
            let hint = "give exactly one of `deployment`, `statefulSet` and `daemonSet`";
            wrong("namespace", "no object is named, or several".into(), hint);
        }
        let names = [
            ("namespace", Some(&self.namespace)),
            ("deployment", self.deployment.as_ref()),
            ("statefulSet", self.stateful_set.as_ref()),
            ("daemonSet", self.daemon_set.as_ref()),
        ];
        for (field, name) in names {
            if let Some(message) = name.and_then(|name| bad_name(name)) {
                wrong(field, message, "write it as `kubectl get` shows it");
            }
        }
        for (field, time) in [("rolloutWithin", self.rollout_within), ("restartsWithin", self.restarts_within)] {
            if time < Duration::from_secs(1) || time > LONGEST {
                wrong(field, "not between a second and a day".into(), "minutes are usual, like 10m");
            }
        }
        errors
    }

    fn run<'a>(&'a self, cx: &'a Context, memory: Memory) -> BoxFuture<'a, Report<Memory>> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let seen = match self.rollout(cx, budget).await {
                Ok([Ok(rollout), _]) => self.look(cx, rollout, budget).await,
                Ok([Err(outcome), _]) | Err(outcome) => Err(outcome),
            };
            let seen = match seen {
                Ok(seen) => seen,
                Err(outcome) => return Report::new(Step::whole(outcome), memory),
            };
            let (parts, memory) = self.judge(&seen, memory, cx.now);
            let ready = judge::live(&seen.pods).filter(|(_, pod)| pod.ready).count();
            let restarts: u32 = judge::live(&seen.pods).flat_map(|(_, pod)| &pod.containers).map(|one| one.restarts).sum();
            let numbers = [
                ("desired_pods", f64::from(seen.rollout.desired)),
                ("ready_pods", u32::try_from(ready).map_or(f64::NAN, f64::from)),
                ("restarts", f64::from(restarts)),
            ];
            let whole = PartId::new(PartId::WHOLE);
            let measures = numbers.map(|(name, value)| Measure { part: whole.clone(), name, value }).into();
            Report { measures, ..Report::new(Step::Done(parts), memory) }
        })
    }

    /// Looks for an object that is not there, and at the real one as if it should have one pod more.
    fn control<'a>(&'a self, cx: &'a Context, _: Memory) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let (found, nobody) = match self.rollout(cx, budget).await {
                Ok([found, nobody]) => (found, nobody),
                Err(outcome) => return outcome,
            };
            if nobody.is_ok() {
                return Outcome::pass(format!("there is an object named {NOBODY}"));
            }
            let seen = match found {
                Ok(rollout) => self.look(cx, rollout, budget).await,
                Err(outcome) => Err(outcome),
            };
            seen.map_or_else(|outcome| outcome, |seen| self.short_of_one(&seen, cx.now))
        })
    }
}

#[cfg(test)]
mod tests;
