//! What is kept of claims and volumes.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{Identity, Kind};

/// `PersistentVolumeClaims`.
pub(crate) struct Claims;

/// What is kept of a claim.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) identity: Identity,
    pub(crate) phase: String,
    pub(crate) volume: String,
    /// As Kubernetes writes it, like `10Gi`.
    pub(crate) capacity: Option<String>,
}

impl Kind for Claims {
    type Object = PersistentVolumeClaim;
    type Kept = Claim;

    fn keep(object: PersistentVolumeClaim, _: Option<&Claim>) -> Claim {
        let (spec, status) = (object.spec.unwrap_or_default(), object.status.unwrap_or_default());
        Claim {
            identity: (&object.metadata).into(),
            phase: status.phase.unwrap_or_default(),
            volume: spec.volume_name.unwrap_or_default(),
            capacity: status.capacity.and_then(|mut capacity| capacity.remove("storage")).map(|Quantity(text)| text),
        }
    }
}

/// `PersistentVolumes`.
pub(crate) struct Volumes;

/// What is kept of a volume.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Volume {
    pub(crate) identity: Identity,
    pub(crate) phase: String,
    /// What becomes of it when its claim is deleted.
    pub(crate) reclaim: String,
    /// The uid of the claim that it is bound to.
    pub(crate) claim: String,
}

impl Kind for Volumes {
    type Object = PersistentVolume;
    type Kept = Volume;

    fn keep(object: PersistentVolume, _: Option<&Volume>) -> Volume {
        let (spec, status) = (object.spec.unwrap_or_default(), object.status.unwrap_or_default());
        Volume {
            identity: (&object.metadata).into(),
            phase: status.phase.unwrap_or_default(),
            reclaim: spec.persistent_volume_reclaim_policy.unwrap_or_default(),
            claim: spec.claim_ref.and_then(|claim| claim.uid).unwrap_or_default(),
        }
    }
}
