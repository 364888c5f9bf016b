//! Documents in short form.

use std::sync::Arc;
use std::time::Duration;

use probe::plan::{GatePlan, NaturePlan, PhasePlan, Plan, ProbePlan, SealAt, StepKind, StepPlan};

use super::{OWN, phase_name, probe_name, step_name, target_name};

/// A document. All times are milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Doc {
    pub(crate) phases: Vec<PhaseDoc>,
}

/// A phase of a [`Doc`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PhaseDoc {
    pub(crate) id: u8,
    pub(crate) soak: u64,
    pub(crate) budget: u64,
    pub(crate) min_samples: u32,
    pub(crate) max_wait: Option<u64>,
    pub(crate) probes: Vec<ProbeDoc>,
    pub(crate) steps: Vec<StepDoc>,
    pub(crate) four_eyes: bool,
}

/// A step of a [`PhaseDoc`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StepDoc {
    pub(crate) id: u8,
    pub(crate) switch: bool,
    pub(crate) ponr: bool,
    pub(crate) undo: bool,
    pub(crate) verify: Vec<u8>,
    pub(crate) gate: Option<u8>,
    pub(crate) disturbs: Vec<u8>,
    pub(crate) timeout: u64,
}

/// What seals a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seal {
    Switch,
    Ponr,
    Complete,
}

/// A probe of a [`Doc`]. `rev` stands for its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProbeDoc {
    pub(crate) id: u8,
    pub(crate) rev: u32,
    /// `validFor`, and what seals it.
    pub(crate) proof: Option<(u64, Seal)>,
    pub(crate) gate: bool,
    pub(crate) preflight: bool,
    pub(crate) before_ponr: bool,
    /// Its green says that the point of no return is crossed.
    pub(crate) marks_ponr: bool,
    /// The targets it looks at.
    pub(crate) targets: Vec<u8>,
    /// It looks that its target stays gone.
    pub(crate) tripwire: bool,
    pub(crate) until: Option<u8>,
    pub(crate) fail_after: u32,
    pub(crate) recover_after: u32,
    pub(crate) every: u64,
    pub(crate) max_age: u64,
    pub(crate) control_every: u64,
    pub(crate) waivable: bool,
}

impl ProbeDoc {
    fn plan(&self) -> ProbePlan {
        ProbePlan {
            name: probe_name(self.id),
            check: "scripted".into(),
            hash: format!("rev{}", self.rev),
            nature: self.proof.map_or(NaturePlan::Continuous, |(valid_for, seal)| NaturePlan::Proof {
                valid_for: Duration::from_millis(valid_for),
                seal_at: match seal {
                    Seal::Switch => SealAt::Switch,
                    Seal::Ponr => SealAt::Ponr,
                    Seal::Complete => SealAt::Complete,
                },
            }),
            gate: self.gate,
            preflight: self.preflight,
            before_ponr: self.before_ponr,
            marks_ponr: self.marks_ponr,
            targets: self.targets.iter().copied().map(target_name).collect(),
            tripwire: self.tripwire,
            until: self.until.map(phase_name),
            fail_after: self.fail_after,
            recover_after: self.recover_after,
            every: Duration::from_millis(self.every),
            timeout: Duration::from_millis(self.every),
            max_age: Duration::from_millis(self.max_age),
            control_every: Duration::from_millis(self.control_every),
            control_reason: OWN.name.into(),
            waivable: self.waivable,
        }
    }
}

impl StepDoc {
    fn plan(&self) -> StepPlan {
        StepPlan {
            name: step_name(self.id),
            kind: StepKind::Command,
            switch: self.switch,
            ponr: self.ponr,
            undo: self.undo,
            check: true,
            verify: self.verify.iter().copied().map(probe_name).collect(),
            gate: self.gate.map(phase_name),
            disturbs: self.disturbs.iter().copied().map(probe_name).collect(),
            timeout: Duration::from_millis(self.timeout),
        }
    }
}

impl PhaseDoc {
    pub(crate) fn step(&self, id: u8) -> Option<&StepDoc> {
        self.steps.iter().find(|step| step.id == id)
    }
}

impl Doc {
    /// The core's form.
    pub(crate) fn plan(&self, index: usize) -> Arc<Plan> {
        let phases = self.phases.iter().map(|phase| PhasePlan {
            name: phase_name(phase.id),
            gate: GatePlan {
                soak: Duration::from_millis(phase.soak),
                min_samples: phase.min_samples,
                unknown_budget: Duration::from_millis(phase.budget),
                max_wait: phase.max_wait.map(Duration::from_millis),
            },
            probes: phase.probes.iter().map(ProbeDoc::plan).collect(),
            steps: phase.steps.iter().map(StepDoc::plan).collect(),
            four_eyes: phase.four_eyes,
        });
        Arc::new(Plan::new("model", format!("doc{index}"), phases.collect()))
    }

    /// All probes with the position of their phase.
    pub(crate) fn probes(&self) -> impl Iterator<Item = (usize, &ProbeDoc)> {
        self.phases.iter().enumerate().flat_map(|(at, phase)| phase.probes.iter().map(move |probe| (at, probe)))
    }

    pub(crate) fn probe(&self, id: u8) -> Option<(usize, &ProbeDoc)> {
        self.probes().find(|(_, probe)| probe.id == id)
    }

    pub(crate) fn position(&self, phase: u8) -> Option<usize> {
        self.phases.iter().position(|p| p.id == phase)
    }
}
