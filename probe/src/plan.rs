//! PURE. The [`Plan`]: what the verdict needs to know of a Migration document, and nothing of how to look.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use checks::Nature;
use serde::{Deserialize, Serialize};

/// Name of a probe; unique per document.
pub type ProbeName = Arc<str>;
/// Name of a phase; unique per document.
pub type PhaseName = Arc<str>;
/// Name of a step; unique in its phase.
pub type StepName = Arc<str>;
/// Name of a target; unique per document.
pub type TargetName = Arc<str>;

/// The phases in their order, with their probes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// `metadata.name` of the document.
    pub migration: String,
    /// SHA-256 (hex) of the canonical JSON of the parsed `spec`.
    pub hash: String,
    /// In order, at least one.
    pub phases: Vec<PhasePlan>,
    /// Found by name in no time, however many probes there are.
    #[serde(skip)]
    index: Index,
}

/// Where each probe stands, filled at the first question. A hint: each use looks whether it is true, so it is never wrong.
#[derive(Debug, Default)]
struct Index(OnceLock<HashMap<ProbeName, (usize, usize)>>);

impl Clone for Index {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Index {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Index {}

/// One phase: its gate, its probes and its steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PhasePlan {
    /// Unique.
    pub name: PhaseName,
    /// The numbers of its gate.
    pub gate: GatePlan,
    /// In document order.
    pub probes: Vec<ProbePlan>,
    /// In the order in which they run; none: the operator does the work by hand.
    #[serde(default)]
    pub steps: Vec<StepPlan>,
    /// Whether somebody else must have approved its plan before it can begin.
    #[serde(default)]
    pub four_eyes: bool,
}

/// One step, as the verdict sees it: what it does is the operator's own business and not known here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepPlan {
    /// Unique in its phase.
    pub name: StepName,
    /// What carries it out.
    pub kind: StepKind,
    /// Whether it changes the authoritative side; one step of a phase does.
    pub switch: bool,
    /// Whether nothing leads back once it has started; at most one step of a phase.
    pub ponr: bool,
    /// Whether it can be undone.
    pub undo: bool,
    /// Whether it can tell that it was done already.
    pub check: bool,
    /// Probes that must be green before it is done.
    pub verify: Vec<ProbeName>,
    /// The phase whose gate must be open before it is done.
    pub gate: Option<PhaseName>,
    /// Probes whose red neither latches nor stops anything while it runs.
    pub disturbs: Vec<ProbeName>,
    /// How long it may take, its verification included.
    pub timeout: Duration,
}

/// What carries a step out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StepKind {
    /// A command on the operator's machine.
    Command,
    /// A person, who confirms it.
    Manual,
    /// Nobody: it waits for probes or a gate.
    Wait,
}

/// The numbers of a gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatePlan {
    /// How long every required probe of the phase must have been green.
    pub soak: Duration,
    /// How many Passes each must have had since its last reset; at least 1.
    pub min_samples: u32,
    /// How much of the window `soak + unknown_budget` may be other than green.
    pub unknown_budget: Duration,
    /// After how long a phase that is not complete alerts. It never opens anything.
    pub max_wait: Option<Duration>,
}

/// One probe, as the verdict sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbePlan {
    /// Unique per document.
    pub name: ProbeName,
    /// Kind of its check: `lokiReady`.
    pub check: String,
    /// SHA-256 (hex) of the canonical probe with its resolved targets and defaults. Another hash is another probe.
    pub hash: String,
    /// Heartbeat or finished verification.
    pub nature: NaturePlan,
    /// Whether it counts for the gate.
    pub gate: bool,
    /// Whether it counts for the entry guard at `begin`.
    pub preflight: bool,
    /// Whether it counts for the entry guard before the point of no return.
    #[serde(default)]
    pub before_ponr: bool,
    /// Whether its first green since the switch began says that nothing leads back any more.
    #[serde(default)]
    pub marks_ponr: bool,
    /// The targets that it looks at.
    #[serde(default)]
    pub targets: Vec<TargetName>,
    /// Whether it looks that a decommissioned target stays gone.
    #[serde(default)]
    pub tripwire: bool,
    /// The phase whose switch retires it.
    pub until: Option<PhaseName>,
    /// Consecutive Fails that make it red; at least 1.
    pub fail_after: u32,
    /// Consecutive Passes that make it green; at least 1.
    pub recover_after: u32,
    /// Cadence of its Runs.
    pub every: Duration,
    /// How long one Run may take.
    pub timeout: Duration,
    /// Past this age of the last Run's start it is unknown.
    pub max_age: Duration,
    /// Cadence of its negative control.
    pub control_every: Duration,
    /// The reason that its negative control must give.
    pub control_reason: String,
    /// False: no override can name it.
    pub waivable: bool,
}

/// How a probe's Pass is to be read, with a proof's own numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NaturePlan {
    /// A heartbeat.
    Continuous,
    /// A finished verification.
    #[serde(rename_all = "camelCase")]
    Proof {
        /// How long a finished Pass counts, until it is sealed. Renewal starts at half of it.
        valid_for: Duration,
        /// The event that needs it and seals it.
        seal_at: SealAt,
    },
}

/// The event that is refused unless a proof is valid, and that seals it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SealAt {
    /// The phase's switch.
    Switch,
    /// The phase's point of no return.
    Ponr,
    /// The phase's completion.
    Complete,
}

/// What a gate is configured to be: its numbers, and the required probes with their phases' positions, names and hashes.
pub type Fingerprint<'a> = (&'a GatePlan, Vec<(usize, &'a str, &'a str)>);

impl Plan {
    /// These phases, in this order.
    pub fn new(migration: impl Into<String>, hash: impl Into<String>, phases: Vec<PhasePlan>) -> Self {
        Self { migration: migration.into(), hash: hash.into(), phases, index: Index::default() }
    }

    /// The position of a phase.
    pub fn position(&self, phase: &str) -> Option<usize> {
        self.phases.iter().position(|p| &*p.name == phase)
    }

    /// All probes with the position of their phase, in document order.
    pub fn probes(&self) -> impl Iterator<Item = (usize, &ProbePlan)> {
        self.phases.iter().enumerate().flat_map(|(at, phase)| phase.probes.iter().map(move |probe| (at, probe)))
    }

    /// What the gate of a phase is configured to be, the probes of earlier phases that stay required included: another
    /// fingerprint restarts its soak.
    pub fn fingerprint(&self, phase: &str) -> Option<Fingerprint<'_>> {
        let at = self.position(phase)?;
        let required = self.probes().filter(|(of, probe)| *of <= at && probe.gate);
        let set = required.map(|(of, probe)| (of, &*probe.name, &*probe.hash)).collect();
        self.phases.get(at).map(|phase| (&phase.gate, set))
    }

    /// One phase by name.
    pub fn phase(&self, name: &str) -> Option<&PhasePlan> {
        self.phases.iter().find(|phase| &*phase.name == name)
    }

    /// The gate probes that look whether this target stays gone.
    pub fn tripwires(&self, target: &str) -> impl Iterator<Item = &ProbePlan> {
        let watches = move |probe: &&ProbePlan| probe.tripwire && probe.gate && probe.targets.iter().any(|own| &**own == target);
        self.probes().map(|(_, probe)| probe).filter(watches)
    }

    /// One probe by name.
    pub fn probe(&self, name: &str) -> Option<(usize, &ProbePlan)> {
        let place = self.index.0.get_or_init(|| self.places()).get(name).copied();
        let hinted = place.and_then(|(at, nth)| Some((at, self.phases.get(at)?.probes.get(nth)?)));
        hinted.filter(|(_, probe)| &*probe.name == name).or_else(|| self.probes().find(|(_, probe)| &*probe.name == name))
    }

    fn places(&self) -> HashMap<ProbeName, (usize, usize)> {
        let of = |(at, phase): (usize, &PhasePlan)| {
            let name = |(nth, probe): (usize, &ProbePlan)| (probe.name.clone(), (at, nth));
            phase.probes.iter().enumerate().map(name).collect::<Vec<_>>()
        };
        self.phases.iter().enumerate().flat_map(of).collect()
    }
}

impl PhasePlan {
    /// One step by name.
    pub fn step(&self, name: &str) -> Option<&StepPlan> {
        self.steps.iter().find(|step| &*step.name == name)
    }
}

impl ProbePlan {
    /// Whether it is a proof.
    pub fn is_proof(&self) -> bool {
        self.nature() == Nature::Proof
    }

    /// Its nature without the numbers.
    pub const fn nature(&self) -> Nature {
        match self.nature {
            NaturePlan::Continuous => Nature::Continuous,
            NaturePlan::Proof { .. } => Nature::Proof,
        }
    }
}
