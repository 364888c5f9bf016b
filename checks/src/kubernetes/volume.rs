//! `volume`: a claim is bound to the volume that it should be, large enough, and nothing is set up to delete it.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::{BoxFuture, join4};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Check, Context, FieldError, Meta, Nature, Report};
use crate::fact::{FACT, FACT_MISSING};
use crate::net::Budget;
use crate::outcome::{Outcome, PartId, ReasonSpec, Step};

use super::kinds::rollout::{Rollout, StatefulSets};
use super::kinds::volume::{Claim, Claims, Volume as Disk, Volumes};
use super::nodes::{self, Life};
use super::rule::{Reach, Rule};
use super::watch::{Scope, Sight};
use super::workload::{ABSENT, BEING_DELETED};
use super::{NODES, SIGHT, bad_name};
use quantity::bytes;

mod quantity;

/// It has no volume.
const NOT_BOUND: ReasonSpec = ReasonSpec::fail(
    "not_bound",
    "see why the claim has no volume: `kubectl describe pvc`; a storage class may wait for the first pod, or its volume is lost",
);
/// It is another claim than the one that was recorded.
const OTHER_VOLUME: ReasonSpec = ReasonSpec::fail(
    "other_volume",
    "find out who deleted the claim and made it anew: the data of the recorded one is not in it. If that was meant, bring the data \
     in, verify it, and record the new uid as the next edition of the fact (`NAME.2`)",
);
/// It is too small.
const TOO_SMALL: ReasonSpec = ReasonSpec::fail(
    "too_small",
    "enlarge the claim, or correct `minCapacity`: the volume is smaller than the document asks for",
);
/// Something is set up to delete it.
const DELETED_ON_SCALE_DOWN: ReasonSpec = ReasonSpec::fail(
    "deleted_on_scale_down",
    "set `persistentVolumeClaimRetentionPolicy` to `Retain` (in Grafana's Loki chart `singleBinary.persistence.\
     enableStatefulSetAutoDeletePVC: false`) before anybody scales it down: the claim and its data go with the pod",
);
/// There is no such check of a size.
const NO_SIZE: &str = "write it as Kubernetes does, like 10Gi";
/// A uid that no claim has.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";
/// The part for the owner's policy.
const RETENTION: &str = "retention";

/// Each claim (one part each) is bound to a volume that is bound to it, is the one that was recorded, and is at least as large as
/// `minCapacity`; the `StatefulSet` that it belongs to (part `retention`) keeps it when it is scaled down or deleted.
///
/// Name a `claim`, or a `statefulSet` to look at all of its claims. With `fact`, the uid of each claim is compared with the recorded
/// one: `{"CLAIM": "UID"}`, recorded once the data is in the volume by
/// `curl -X PUT -H "Authorization: Bearer $TOKEN" -d '{"CLAIM": "UID"}' $PHASEGATE_SERVER/v1/facts/volume-NAME`. Without it, a claim
/// that is made anew under the same name makes the probe start afresh. The owner of a `claim` is found by its name. That a volume
/// would be deleted with its claim (reclaim policy `Delete`) is told in the evidence. Grafana's Loki chart sets `whenScaled: Delete`:
/// `kubectl scale --replicas=0` then deletes the data.
///
/// Fail: absent, not bound, being deleted, another claim than the recorded one, too small, deleted when scaled down or with its
/// owner. Waiting: no node's Lease has been seen renewed yet. Unknown: no cluster, the API server is silent or unreadable or has no
/// news at all (no Lease moves), a rule is missing, the fact is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Volume {
    /// Its namespace.
    pub namespace: String,
    /// Name of a `PersistentVolumeClaim`. Give one of the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    /// Name of a `StatefulSet`, for all claims that it makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stateful_set: Option<String>,
    /// Name of the fact that holds the uid of each claim, like `volume-loki`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fact: Option<String>,
    /// The least capacity, like `10Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_capacity: Option<String>,
}

/// The recorded uids, by claim.
type Recorded = BTreeMap<String, String>;

/// The `StatefulSet` that makes claims, by its name.
type Owner<'a> = (&'a String, &'a Rollout);

/// What one look has seen.
struct Seen {
    claims: Sight<Claim>,
    disks: Sight<Disk>,
    owners: Sight<Rollout>,
    life: Life,
}

/// Whether a claim is one that a `StatefulSet` of this name makes.
fn belongs(claim: &str, owner: &str, rollout: &Rollout) -> bool {
    rollout.claims.templates.iter().any(|template| {
        let number =
            claim.strip_prefix(template.as_str()).and_then(|rest| rest.strip_prefix('-')?.strip_prefix(owner)?.strip_prefix('-'));
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

impl Volume {
    async fn look(&self, cx: &Context, budget: Budget) -> Result<Seen, Outcome> {
        let (cluster, within) = (&cx.clients.cluster, || Scope::within(&self.namespace));
        let claims = cluster.see::<Claims>(cx, within(), budget);
        let disks = cluster.see::<Volumes>(cx, Scope::cluster(), budget);
        let owners = cluster.see::<StatefulSets>(cx, within(), budget);
        let (claims, disks, owners, life) = join4(claims, disks, owners, Life::see(cx, budget)).await;
        Ok(Seen { claims: claims?, disks: disks?, owners: owners?, life: life? })
    }

    /// The claims to look at, and the one that owns them.
    fn named<'a>(&self, seen: &'a Seen) -> Result<(BTreeSet<String>, Option<Owner<'a>>), Outcome> {
        let owners = || seen.owners.iter().map(|(name, owner)| (name, owner.as_ref()));
        if let Some(claim) = &self.claim {
            return Ok((BTreeSet::from([claim.clone()]), owners().find(|(name, owner)| belongs(claim, name, owner))));
        }
        let name = self.stateful_set.as_deref().unwrap_or_default();
        let Some((name, owner)) = owners().find(|(known, _)| *known == name) else {
            return Err(ABSENT.because(format!("no StatefulSet {name} in namespace {}", self.namespace)));
        };
        // Scaled down, it still has the claims of its pods: that is when they matter most.
        let numbers = (0..owner.desired.max(1)).map(|n| owner.claims.first.saturating_add(n));
        let wanted = numbers.flat_map(|n| owner.claims.templates.iter().map(move |template| format!("{template}-{name}-{n}")));
        let there = seen.claims.keys().filter(|claim| belongs(claim, name, owner)).cloned();
        let claims: BTreeSet<String> = wanted.chain(there).take(crate::MAX_PARTS - 1).collect();
        if claims.is_empty() {
            return Err(ABSENT.because(format!("StatefulSet {name} makes no claims")));
        }
        Ok((claims, Some((name, owner))))
    }

    fn judge(&self, seen: &Seen, name: &str, recorded: Option<&Recorded>) -> Outcome {
        let Some(claim) = seen.claims.get(name) else {
            return ABSENT.because(format!("no PersistentVolumeClaim {name} in namespace {}", self.namespace));
        };
        let Claim { identity, phase, volume, capacity } = claim.as_ref();
        let uid = &identity.uid;
        let capacity = capacity.as_deref().unwrap_or("no capacity");
        let words = format!("{name}: uid {uid}, {phase}, {capacity}, volume {volume}");
        if identity.deleted {
            return BEING_DELETED.because(words);
        }
        match recorded.map(|recorded| recorded.get(name)) {
            Some(Some(was)) if was != uid => return OTHER_VOLUME.because(format!("{words}; recorded was uid {was}")),
            Some(None) => {
                return FACT_MISSING.because(format!("{words}; the fact has no uid of it{}", self.to_record(name, uid)));
            }
            Some(Some(_)) | None => {}
        }
        let disk = seen.disks.get(volume);
        let bound = disk.is_some_and(|disk| disk.claim == *uid && disk.phase == "Bound" && !disk.identity.deleted);
        if phase != "Bound" || !bound {
            let disk =
                disk.map_or_else(|| "there is none".to_owned(), |disk| format!("{} for claim uid {}", disk.phase, disk.claim));
            return NOT_BOUND.because(format!("{words}: {disk}"));
        }
        if let Some(least) = &self.min_capacity
            && !matches!((bytes(capacity), bytes(least)), (Some(is), Some(least)) if is >= least)
        {
            return TOO_SMALL.because(format!("{words}; at least {least} is wanted"));
        }
        let reclaim = disk.map(|disk| disk.reclaim.as_str()).unwrap_or_default();
        let told = if reclaim == "Delete" { "; it is deleted with its claim (reclaim policy Delete)" } else { "" };
        Outcome::pass(format!("{words}{told}"))
    }

    fn to_record(&self, name: &str, uid: &str) -> String {
        let fact = self.fact.as_deref().unwrap_or_default();
        format!(
            "; to record what is there now: curl -X PUT -H \"Authorization: Bearer $TOKEN\" -d '{{\"{name}\": \"{uid}\"}}' \
             $PHASEGATE_SERVER/v1/facts/{fact}"
        )
    }

    fn recorded(&self, cx: &Context) -> Result<Option<Recorded>, Outcome> {
        self.fact.as_deref().map(|name| cx.fact::<Recorded>(name).map(|(_, recorded)| recorded)).transpose()
    }

    fn parts(&self, cx: &Context, seen: &Seen) -> Result<BTreeMap<PartId, Outcome>, Outcome> {
        let (claims, owner) = self.named(seen)?;
        let recorded = self.recorded(cx);
        let mut parts = BTreeMap::new();
        for name in &claims {
            let outcome = match &recorded {
                Ok(recorded) => self.judge(seen, name, recorded.as_ref()),
                Err(outcome) => {
                    let uid = seen.claims.get(name).map(|claim| claim.identity.uid.as_str()).unwrap_or_default();
                    match self.judge(seen, name, None) {
                        Outcome::Pass { .. } if outcome.reason() == Some(&FACT_MISSING.into()) => {
                            FACT_MISSING.because(format!("{}{}", outcome.evidence(), self.to_record(name, uid)))
                        }
                        Outcome::Pass { .. } => outcome.clone(),
                        wrong @ (Outcome::Fail { .. } | Outcome::Unknown { .. } | Outcome::Waiting { .. }) => wrong,
                    }
                }
            };
            parts.insert(PartId::new(name), outcome);
        }
        parts.insert(PartId::new(RETENTION), retention(owner));
        // A claim has no Lease of its own. That some node's is renewed shows that the API server has news.
        if let Err(old) = seen.life.any() {
            for outcome in parts.values_mut().filter(|outcome| matches!(outcome, Outcome::Pass { .. })) {
                *outcome = old.clone();
            }
        }
        Ok(parts)
    }
}

fn retention(owner: Option<Owner<'_>>) -> Outcome {
    let Some((name, owner)) = owner else { return Outcome::pass("no StatefulSet makes it") };
    match (owner.claims.deleted_when_scaled, owner.claims.deleted_when_deleted) {
        (true, _) => DELETED_ON_SCALE_DOWN.because(format!("StatefulSet {name}: whenScaled is Delete")),
        (false, true) => DELETED_ON_SCALE_DOWN.because(format!("StatefulSet {name}: whenDeleted is Delete")),
        (false, false) => Outcome::pass(format!("StatefulSet {name} keeps its claims")),
    }
}

impl Check for Volume {
    const META: Meta = Meta {
        kind: "volume",
        nature: Nature::Continuous,
        reasons: &[SIGHT, NODES, FACT, &[ABSENT, BEING_DELETED, NOT_BOUND, OTHER_VOLUME, TOO_SMALL, DELETED_ON_SCALE_DOWN]],
        control: OTHER_VOLUME,
        measures: &[],
        waivable: true,
        rules: &[
            Rule::watch("", &["persistentvolumeclaims"], Reach::Namespace),
            Rule::watch("apps", &["statefulsets"], Reach::Namespace),
            Rule::watch("", &["persistentvolumes"], Reach::Cluster),
            nodes::RULE,
        ],
    };
    type Memory = ();

    fn facts(&self) -> Vec<String> {
        self.fact.iter().cloned().collect()
    }

    fn validate(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut wrong = |field, message: String, hint: &str| errors.push(FieldError { field, message, hint: hint.into() });
        if self.claim.is_some() == self.stateful_set.is_some() {
            wrong("namespace", "no claim is named, or twice".into(), "give exactly one of `claim` and `statefulSet`");
        }
        let names =
            [("namespace", Some(&self.namespace)), ("claim", self.claim.as_ref()), ("statefulSet", self.stateful_set.as_ref())];
        for (field, name) in names {
            if let Some(message) = name.and_then(|name| bad_name(name)) {
                wrong(field, message, "write it as `kubectl get` shows it");
            }
        }
        if let Some(least) = self.min_capacity.as_deref().filter(|least| bytes(least).is_none()) {
            wrong("minCapacity", format!("`{least}` is no size"), NO_SIZE);
        }
        errors
    }

    fn run<'a>(&'a self, cx: &'a Context, (): ()) -> BoxFuture<'a, Report<()>> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let seen = match self.look(cx, budget).await {
                Ok(seen) => seen,
                Err(outcome) => return Report::new(Step::whole(outcome), ()),
            };
            let parts = match self.parts(cx, &seen) {
                Ok(parts) => parts,
                Err(outcome) => return Report::new(Step::whole(outcome), ()),
            };
            let named =
                |(name, claim): (&String, &Claim)| (format!("volume {}/{name}", self.namespace), claim.identity.uid.clone());
            let read = seen.claims.iter().filter(|(name, _)| parts.contains_key(&PartId::new(name)));
            let identities = read.map(|(name, claim)| named((name, claim.as_ref()))).collect();
            Report { identities, ..Report::new(Step::Done(parts), ()) }
        })
    }

    /// Looks at the real claims as if another uid had been recorded.
    fn control<'a>(&'a self, cx: &'a Context, (): ()) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let budget = Budget::start(cx.timeout);
            let seen = match self.look(cx, budget).await {
                Ok(seen) => seen,
                Err(outcome) => return outcome,
            };
            match self.named(&seen) {
                Ok((claims, _)) => {
                    let wrong = claims.iter().map(|name| (name.clone(), NOBODY.to_owned())).collect();
                    let outcomes = claims.iter().map(|name| self.judge(&seen, name, Some(&wrong)));
                    outcomes.min_by_key(Outcome::rank).unwrap_or_else(|| ABSENT.because("no claim"))
                }
                Err(outcome) => outcome,
            }
        })
    }
}

#[cfg(test)]
mod tests;
