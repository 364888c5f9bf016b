//! What a look at a rollout comes to. Pure.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::core::v1::{Taint, Toleration};
use serde::{Deserialize, Serialize};

use crate::kubernetes::kinds::rollout::{Placement, Rollout};
use crate::kubernetes::kinds::{Node, Pod};
use crate::kubernetes::watch::Sight;
use crate::outcome::{Outcome, PartId};

use super::restarts::Restarts;
use super::{
    BEING_DELETED, CONTAINER_FAILING, IMAGE_UNTOLD, IMAGE_WRONG, IMAGES_DIFFER, NODE_MISSING, PAUSED, POD_NOT_READY, ROLLING_OUT,
    ROLLOUT_STUCK, SCALED_TO_ZERO, Seen, UNAVAILABLE, UNSCHEDULABLE, Workload,
};

/// Reasons for which a container waits that do not pass by themselves.
const FAILING: &[&str] = &[
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImageInspectError",
    "ImagePullBackOff",
    "InvalidImageName",
    "PostStartHookError",
    "RegistryUnavailable",
    "RunContainerError",
];
/// Taints that Kubernetes lets every pod of a `DaemonSet` tolerate.
const TOLERATED: &[&str] = &[
    "node.kubernetes.io/disk-pressure",
    "node.kubernetes.io/memory-pressure",
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/pid-pressure",
    "node.kubernetes.io/unreachable",
    "node.kubernetes.io/unschedulable",
];
/// Most things that are named in one evidence.
const NAMED: usize = 3;

/// What is remembered of a rollout.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    pub(super) mark: Option<Mark>,
    pub(super) restarts: Restarts,
}

/// One rollout: the same object, as it was asked for, with as many pods.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Mark {
    uid: String,
    generation: i64,
    desired: i32,
    /// When it was first seen.
    since: DateTime<Utc>,
    /// Whether it was seen complete: what is missing afterwards is no rollout.
    pub(super) complete: bool,
}

impl Mark {
    fn of(rollout: &Rollout, before: Option<Mark>, now: DateTime<Utc>) -> Self {
        let next = Self {
            uid: rollout.identity.uid.clone(),
            generation: rollout.identity.generation,
            desired: rollout.desired,
            since: now,
            complete: false,
        };
        let same = |mark: &Mark| {
            (&mark.uid, mark.generation, mark.desired) == (&next.uid, next.generation, next.desired) && mark.since <= now
        };
        let mut mark = before.filter(same).unwrap_or(next);
        mark.complete |= complete(rollout);
        mark
    }
}

fn complete(rollout: &Rollout) -> bool {
    let Rollout { desired, total, updated, ready, available, .. } = rollout;
    rollout.observed >= rollout.identity.generation
        && *desired > 0
        && updated >= desired
        && total <= updated
        && ready >= desired
        && available >= desired
}

/// The pods that count: not those that are on their way out, or over.
pub(super) fn live(pods: &Sight<Pod>) -> impl Iterator<Item = (&String, &Pod)> {
    let over = |pod: &Pod| pod.identity.deleted || matches!(pod.phase.as_str(), "Failed" | "Succeeded");
    pods.iter().map(|(name, pod)| (name, pod.as_ref())).filter(move |(_, pod)| !over(pod))
}

/// The worst decides, of equals the first; the evidence names some more of them.
fn worst(outcomes: Vec<Outcome>) -> Option<Outcome> {
    let rank = outcomes.iter().map(Outcome::rank).max()?;
    let mut alike = outcomes.into_iter().filter(|outcome| outcome.rank() == rank);
    let first = alike.next()?;
    let others: Vec<String> = alike.map(|outcome| outcome.evidence().to_string()).collect();
    let mut text = first.evidence().to_string();
    for other in others.iter().take(NAMED - 1) {
        text.push_str("; ");
        text.push_str(other);
    }
    if others.len() >= NAMED {
        text = format!("{text}; and {} more", others.len() + 1 - NAMED);
    }
    Some(match first {
        Outcome::Pass { .. } => Outcome::pass(text),
        Outcome::Fail { reason, .. } => Outcome::Fail { reason, evidence: text.into() },
        Outcome::Unknown { reason, .. } => Outcome::Unknown { reason, evidence: text.into() },
        Outcome::Waiting { reason, due, .. } => Outcome::Waiting { reason, due, evidence: text.into() },
    })
}

fn list<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let names: Vec<&String> = names.into_iter().collect();
    let shown: Vec<&str> = names.iter().take(NAMED).map(|name| name.as_str()).collect();
    let more = if names.len() > NAMED { format!(" and {} more", names.len() - NAMED) } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

impl Workload {
    pub(super) fn judge(&self, seen: &Seen, memory: Memory, now: DateTime<Utc>) -> (BTreeMap<PartId, Outcome>, Memory) {
        let mark = Mark::of(&seen.rollout, memory.mark, now);
        let (restarts, told) = memory.restarts.next(live(&seen.pods), now, self.restarts_within);
        let mut parts = vec![
            ("rollout", self.judge_rollout(&seen.rollout, &mark)),
            ("pods", self.judge_pods(seen, &mark)),
            ("restarts", told),
            ("image", self.judge_image(seen, &mark)),
        ];
        if self.daemon_set.is_some() && self.every_node {
            parts.push(("nodes", judge_nodes(seen)));
        }
        let parts = parts.into_iter().map(|(part, outcome)| (PartId::new(part), outcome)).collect();
        (parts, Memory { mark: Some(mark), restarts })
    }

    /// The same as if one pod more should be there, after a rollout that was complete.
    pub(super) fn short_of_one(&self, seen: &Seen, now: DateTime<Utc>) -> Outcome {
        let rollout = Rollout {
            desired: seen.rollout.desired.max(seen.rollout.available).saturating_add(1),
            held: None,
            stuck: None,
            observed: seen.rollout.identity.generation,
            ..seen.rollout.clone()
        };
        let mark = Mark { complete: true, ..Mark::of(&rollout, None, now) };
        let (all, pods) = (self.judge_rollout(&rollout, &mark), self.judge_count(seen, rollout.desired, &mark));
        if matches!(pods, Some(Outcome::Fail { .. })) { all } else { pods.unwrap_or_else(|| Outcome::pass("pods suffice")) }
    }

    fn waits(&self, mark: &Mark, words: String) -> Outcome {
        let within = TimeDelta::from_std(self.rollout_within).unwrap_or(TimeDelta::MAX);
        ROLLING_OUT.until(mark.since + within, words)
    }

    fn judge_rollout(&self, rollout: &Rollout, mark: &Mark) -> Outcome {
        let Rollout { identity, observed, desired, total, updated, ready, available, held, stuck, .. } = rollout;
        let generation = identity.generation;
        let words = format!(
            "generation {generation}: {desired} wanted, {total} there, {updated} updated, {ready} ready, {available} available"
        );
        if identity.deleted {
            return BEING_DELETED.because(words);
        }
        if *observed < generation {
            return self.waits(mark, format!("{words}; its controller has seen generation {observed}"));
        }
        if *desired <= 0 {
            return SCALED_TO_ZERO.because(words);
        }
        if complete(rollout) {
            return Outcome::pass(words);
        }
        match (stuck, held) {
            (Some(stuck), _) => ROLLOUT_STUCK.because(format!("{words}; {stuck}")),
            (None, Some(held)) if updated < desired || total > updated => PAUSED.because(format!("{words}; {held}")),
            (None, _) if mark.complete => UNAVAILABLE.because(words),
            (None, _) => self.waits(mark, words),
        }
    }

    fn judge_pods(&self, seen: &Seen, mark: &Mark) -> Outcome {
        let mut wrong: Vec<Outcome> = live(&seen.pods).filter_map(|(name, pod)| self.judge_pod(seen, name, pod, mark)).collect();
        wrong.extend(self.judge_count(seen, seen.rollout.desired, mark));
        let (count, nodes) = (live(&seen.pods).count(), live(&seen.pods).filter_map(|(_, pod)| pod.node.as_ref()));
        let nodes: BTreeSet<&String> = nodes.collect();
        worst(wrong).unwrap_or_else(|| Outcome::pass(format!("{count} pods Ready on {}", list(nodes))))
    }

    /// Whether there are as many Ready pods as there should be, counted by ourselves.
    fn judge_count(&self, seen: &Seen, desired: i32, mark: &Mark) -> Option<Outcome> {
        let ready = live(&seen.pods).filter(|(_, pod)| pod.ready).count();
        if i32::try_from(ready).is_ok_and(|ready| ready >= desired) && desired > 0 {
            return None;
        }
        let words = format!("{ready} pods are Ready, {desired} wanted");
        Some(if mark.complete { UNAVAILABLE.because(words) } else { self.waits(mark, words) })
    }

    fn judge_pod(&self, seen: &Seen, name: &str, pod: &Pod, mark: &Mark) -> Option<Outcome> {
        let waiting =
            pod.containers.iter().filter_map(|container| container.waits.as_ref().map(|waits| (&container.name, waits)));
        for (container, (reason, message)) in waiting.clone() {
            if FAILING.contains(&reason.as_str()) {
                let message: String = message.chars().take(300).collect();
                return Some(CONTAINER_FAILING.because(format!("{name}: container {container}: {reason}: {message}")));
            }
        }
        if let Some(words) = &pod.unscheduled {
            return Some(UNSCHEDULABLE.because(format!("{name}: {words}")));
        }
        if !pod.ready {
            let why: Vec<String> = waiting.map(|(container, (reason, _))| format!("{container} waits: {reason}")).collect();
            let words = format!("{name} is not Ready ({}) {}", pod.phase, why.join(", "));
            return Some(if mark.complete { POD_NOT_READY.because(words) } else { self.waits(mark, words) });
        }
        let node = pod.node.as_deref().unwrap_or_default();
        seen.life.of(node).err().map(|outcome| outcome.of(name))
    }

    fn judge_image(&self, seen: &Seen, mark: &Mark) -> Outcome {
        let finished = complete(&seen.rollout);
        let wrong = |reason: crate::ReasonSpec, words: String| {
            if finished || mark.complete { reason.because(words) } else { self.waits(mark, words) }
        };
        // Names of containers, and what they run.
        let mut images: BTreeMap<&String, BTreeSet<&String>> = BTreeMap::new();
        let mut asked: BTreeMap<&String, BTreeSet<&String>> = BTreeMap::new();
        let (mut others, mut untold) = (BTreeSet::new(), BTreeSet::new());
        for (name, pod) in live(&seen.pods) {
            for container in &pod.containers {
                asked.entry(&container.name).or_default().insert(&container.image);
                if !container.image_id.is_empty() {
                    images.entry(&container.name).or_default().insert(&container.image_id);
                }
            }
            let Some(expected) = &self.image else { continue };
            match digest(expected) {
                Some(digest) if pod.containers.iter().any(|one| runs(&one.image_id, digest)) => {}
                Some(_) if pod.containers.iter().any(|one| one.image_id.is_empty()) => {
                    untold.insert(name);
                }
                None if pod.containers.iter().any(|one| one.image == *expected) => {}
                Some(_) | None => {
                    others.insert(name);
                }
            }
        }
        let run: Vec<&String> = images.values().chain(asked.values()).flatten().copied().collect();
        if !others.is_empty() {
            return wrong(IMAGE_WRONG, format!("{} run {}", list(others), list(run)));
        }
        let several = images.iter().chain(&asked).find(|(_, ids)| ids.len() > 1);
        if let Some((container, ids)) = several {
            return wrong(IMAGES_DIFFER, format!("container {container} runs {}", list(ids.iter().copied())));
        }
        if !untold.is_empty() {
            return IMAGE_UNTOLD.because(format!("{}: no image id yet", list(untold)));
        }
        if asked.is_empty() { wrong(UNAVAILABLE, "no pod".into()) } else { Outcome::pass(format!("all run {}", list(run))) }
    }
}

/// The digest that an expected image names.
fn digest(expected: &str) -> Option<&str> {
    let digest = expected.rsplit_once('@').map_or(expected, |(_, digest)| digest);
    digest.starts_with("sha256:").then_some(digest)
}

/// Whether this is an image of that digest: `name@sha256:…`, `docker-pullable://…`, or the digest alone.
fn runs(image_id: &str, digest: &str) -> bool {
    image_id.strip_suffix(digest).is_some_and(|before| before.is_empty() || before.ends_with('@') || before.ends_with('/'))
}

fn judge_nodes(seen: &Seen) -> Outcome {
    let covered: BTreeSet<&String> =
        live(&seen.pods).filter(|(_, pod)| pod.ready).filter_map(|(_, pod)| pod.node.as_ref()).collect();
    let desired = seen.rollout.desired;
    let Some(nodes) = &seen.nodes else {
        let words = format!("{} nodes run a Ready pod, the controller wants {desired}", covered.len());
        let enough = i32::try_from(covered.len()).is_ok_and(|count| count >= desired) && desired > 0;
        return if enough { Outcome::pass(words) } else { NODE_MISSING.because(words) };
    };
    let meant = nodes.iter().filter(|(_, node)| meant(&seen.rollout.placement, node)).map(|(name, _)| name);
    let meant: BTreeSet<&String> = meant.collect();
    let missing: Vec<&String> = meant.difference(&covered).copied().collect();
    if !missing.is_empty() || meant.is_empty() {
        let words = format!("{} of {} nodes run no Ready pod: {}", missing.len(), meant.len(), list(missing));
        return NODE_MISSING.because(words);
    }
    Outcome::pass(format!("all {} nodes that it is meant for run a Ready pod ({desired} by the controller's count)", meant.len()))
}

/// Whether a node is one that pods are placed on.
fn meant(placement: &Placement, node: &Node) -> bool {
    placement.labels.iter().all(|(key, value)| node.labels.get(key) == Some(value))
        && node.taints.iter().all(|taint| harmless(taint) || placement.tolerations.iter().any(|one| tolerates(one, taint)))
}

fn harmless(taint: &Taint) -> bool {
    taint.effect == "PreferNoSchedule" || TOLERATED.contains(&taint.key.as_str())
}

/// As the scheduler has it.
fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let key = toleration.key.as_deref().unwrap_or_default();
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let exists = toleration.operator.as_deref() == Some("Exists");
    let value = exists || toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default();
    (effect.is_empty() || effect == taint.effect) && (key == taint.key || (key.is_empty() && exists)) && value
}
