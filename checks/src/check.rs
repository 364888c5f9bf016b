//! The [`Check`] trait: how to look at one thing. A check knows the outside world; it knows no schedule, phase or gate.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::clients::Clients;
use crate::fact::Facts;
use crate::kubernetes::Rule;
use crate::net::reasons;
use crate::outcome::{Measure, Outcome, PartId, ReasonSpec, Step};
use crate::target::{OneKind, Target, TargetUse, pods};
use crate::trail::Hop;

/// How a check's Pass is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Nature {
    /// A heartbeat: true now, worth nothing once it is old.
    Continuous,
    /// A finished verification, advanced in slices; it stays true until it expires or is revoked.
    Proof,
}

/// What a check declares about itself.
#[derive(Debug)]
pub struct Meta {
    /// The key in the document: `lokiReady`.
    pub kind: &'static str,
    /// Heartbeat or finished verification.
    pub nature: Nature,
    /// The closed list of reasons it can give, in groups. The engine adds its own ([`crate::engine_reasons`]).
    pub reasons: &'static [&'static [ReasonSpec]],
    /// The reason its negative control must give; anything else does not earn trust.
    pub control: ReasonSpec,
    /// Names and units of the numbers it reports.
    pub measures: &'static [&'static str],
    /// False for identity, fence and split-brain checks: no override can name them.
    pub waivable: bool,
    /// What it needs to be allowed in Kubernetes, the discovery of its targets included.
    pub rules: &'static [Rule],
}

impl Meta {
    /// All reasons it can give.
    pub fn reasons(&self) -> impl Iterator<Item = &'static ReasonSpec> + use<> {
        self.reasons.iter().copied().flatten()
    }
}

/// What the verifier received from outside for a `heartbeat` probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// How long ago it came.
    pub age: Duration,
    /// What the sender says: true is well.
    pub passed: bool,
    /// Who sent it.
    pub from: String,
    /// The sender's own words.
    pub note: String,
}

/// What a check may use while it looks.
#[derive(Debug, Clone)]
pub struct Context {
    /// The document's targets, by name.
    pub targets: Arc<BTreeMap<String, Target>>,
    /// Shared connections and limits.
    pub clients: Clients,
    /// How long this Run may take. The check owns it: silence of the target past it is a Fail, our own is Unknown.
    pub timeout: Duration,
    /// Wall-clock time at the start of this Run, for comparing with times that targets state.
    pub now: DateTime<Utc>,
    /// How long the verifier has been up, for "nothing received since the start".
    pub uptime: Duration,
    /// The newest heartbeat sent for this probe, if any.
    pub beat: Option<Beat>,
    /// The recorded facts that the check names, all editions of each.
    pub facts: Arc<Facts>,
    /// Whether a person looks from the command line, beside a verifier that may be looking too.
    pub by_hand: bool,
}

impl Context {
    /// The target of this name, as the kind that the check needs.
    pub(crate) fn target<T: OneKind>(&self, name: &str) -> Result<&T, Outcome> {
        let target = self.targets.get(name).ok_or_else(|| reasons::TARGET_MISSING.because(format!("no target {name}")))?;
        T::of(target)
            .ok_or_else(|| reasons::TARGET_MISSING.because(format!("target {name} is of kind {}", target.kind().as_str())))
    }
}

/// What a Run brings back, with the Memory for the next one.
#[derive(Debug, Clone, PartialEq)]
pub struct Report<M> {
    /// The sight itself.
    pub step: Step,
    /// Handed to the next Run once this one is accepted.
    pub memory: M,
    /// Numbers for `phasegate_probe_value`.
    pub measures: Vec<Measure>,
    /// Identities that were read, by target name. A proof is void once a different one is read.
    pub identities: BTreeMap<String, String>,
    /// The way that something takes, and how far it comes, by the part that it is followed for.
    pub trails: BTreeMap<PartId, Vec<Hop>>,
    /// Everything that can be a part now, if Kubernetes says so: what was one and is not named any more has left.
    pub named: Option<BTreeSet<PartId>>,
}

impl<M> Report<M> {
    /// A report with the sight and the Memory alone.
    pub fn new(step: Step, memory: M) -> Self {
        Self { step, memory, measures: Vec::new(), identities: BTreeMap::new(), trails: BTreeMap::new(), named: None }
    }
}

/// How to look at one thing.
///
/// The type itself is the configuration: its doc comment is the schema description and the README row, its serialized form
/// (defaults applied, durations normalised) is what the probe's hash covers.
pub trait Check: DeserializeOwned + Serialize + JsonSchema + Send + Sync + 'static {
    /// What it declares about itself.
    const META: Meta;
    /// What it remembers between Runs. At most [`crate::MAX_MEMORY`] bytes; may be older after a crash, so Runs are idempotent.
    type Memory: Serialize + DeserializeOwned + Default + Send;

    /// The targets it names.
    fn targets(&self) -> Vec<TargetUse> {
        Vec::new()
    }

    /// The facts that it compares with.
    fn facts(&self) -> Vec<String> {
        Vec::new()
    }

    /// Rules on its own fields that their types can not say: `(field, message, hint)`.
    fn validate(&self) -> Vec<FieldError> {
        Vec::new()
    }

    /// Whether it writes to its targets: its own canary, nothing else. The document's rules keep it off the old side.
    fn writes(&self) -> bool {
        false
    }

    /// Whether it looks that a decommissioned target stays gone. Until that is decommissioned it counts for nothing.
    fn is_tripwire(&self) -> bool {
        false
    }

    /// The time within which something must have moved from one look to another, and its field. Looks that are farther apart
    /// never see that, so the document's rules keep `every` well below it.
    fn moves_within(&self) -> Option<(&'static str, Duration)> {
        None
    }

    /// Looks once. Infallible: errors are outcomes.
    fn run<'a>(&'a self, cx: &'a Context, memory: Self::Memory) -> BoxFuture<'a, Report<Self::Memory>>;

    /// The same code path against something that must not pass.
    fn control<'a>(&'a self, cx: &'a Context, memory: Self::Memory) -> BoxFuture<'a, Outcome>;
}

/// A rule that a field of a check breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The field, in the document's spelling.
    pub field: &'static str,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub hint: String,
}

/// Memory could not be read back: written by another version, or damaged.
#[derive(Debug, thiserror::Error)]
#[error("memory of the probe can not be read")]
pub struct MemoryError(#[source] serde_json::Error);

/// A [`Check`] with its types erased; Memory travels as bytes.
pub trait DynCheck: Send + Sync {
    /// See [`Check::META`].
    fn meta(&self) -> &'static Meta;
    /// The configuration in canonical form.
    fn canonical(&self) -> serde_json::Value;
    /// See [`Check::targets`].
    fn targets(&self) -> Vec<TargetUse>;
    /// See [`Check::facts`].
    fn facts(&self) -> Vec<String> {
        Vec::new()
    }
    /// See [`Check::validate`].
    fn validate(&self) -> Vec<FieldError>;
    /// See [`Check::writes`].
    fn writes(&self) -> bool {
        false
    }
    /// See [`Check::is_tripwire`].
    fn is_tripwire(&self) -> bool {
        false
    }
    /// See [`Check::moves_within`].
    fn moves_within(&self) -> Option<(&'static str, Duration)> {
        None
    }
    /// See [`Check::run`]. `None` memory means a fresh start.
    fn run<'a>(&'a self, cx: &'a Context, memory: Option<&'a [u8]>) -> BoxFuture<'a, Result<Report<Vec<u8>>, MemoryError>>;
    /// See [`Check::control`].
    fn control<'a>(&'a self, cx: &'a Context, memory: Option<&'a [u8]>) -> BoxFuture<'a, Outcome>;
}

struct Declared<C: Check>(std::marker::PhantomData<C>);

impl<C: Check> Declared<C> {
    const META: &'static Meta = &C::META;
}

/// The declaration of a check type, for a registry entry.
pub(crate) fn meta_of<C: Check>() -> &'static Meta {
    Declared::<C>::META
}

impl<C: Check> DynCheck for C {
    fn meta(&self) -> &'static Meta {
        Declared::<C>::META
    }

    fn canonical(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    fn targets(&self) -> Vec<TargetUse> {
        Check::targets(self)
    }

    fn facts(&self) -> Vec<String> {
        Check::facts(self)
    }

    fn validate(&self) -> Vec<FieldError> {
        Check::validate(self)
    }

    fn writes(&self) -> bool {
        Check::writes(self)
    }

    fn is_tripwire(&self) -> bool {
        Check::is_tripwire(self)
    }

    fn moves_within(&self) -> Option<(&'static str, Duration)> {
        Check::moves_within(self)
    }

    fn run<'a>(&'a self, cx: &'a Context, memory: Option<&'a [u8]>) -> BoxFuture<'a, Result<Report<Vec<u8>>, MemoryError>> {
        Box::pin(async move {
            let memory: C::Memory = memory.map(serde_json::from_slice).transpose().map_err(MemoryError)?.unwrap_or_default();
            let report = match pods::resolve(cx, &Check::targets(self)).await {
                Ok(found) => Check::run(self, found.as_ref().unwrap_or(cx), memory).await,
                Err(outcome) => Report::new(Step::whole(outcome), memory),
            };
            let Report { step, memory, measures, identities, trails, named } = report;
            let memory = serde_json::to_vec(&memory).map_err(MemoryError)?;
            Ok(Report { step, memory, measures, identities, trails, named })
        })
    }

    fn control<'a>(&'a self, cx: &'a Context, memory: Option<&'a [u8]>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let memory: C::Memory = memory.and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_default();
            match pods::resolve(cx, &Check::targets(self)).await {
                Ok(found) => Check::control(self, found.as_ref().unwrap_or(cx), memory).await,
                Err(outcome) => outcome,
            }
        })
    }
}
