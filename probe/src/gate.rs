//! PURE. From colours to verdicts: the verdict table of ARCHITECTURE.md, row by row, for gates (the exit of a phase) and entry guards.

use std::time::Duration;

use checks::{Evidence, Reason};
use serde::{Deserialize, Serialize};

mod board;
pub mod phase_reasons;

use board::Board;

use crate::now::{Millis, Now};
use crate::plan::{PhaseName, Plan, ProbeName, ProbePlan};
use crate::state::{ProbeState, Sight, State};

/// Two evaluations further apart than this leave time between them that nobody looked at. Readers use the same bound: an
/// older evaluation is no answer.
pub const MAX_EPOCH_GAP: Duration = Duration::from_secs(3);
/// More blockers than this are counted, not listed.
pub const MAX_BLOCKERS: usize = 50;

/// A gate's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything required is green now and has been for long enough.
    Open,
    /// Something is wrong, or it is not this phase's turn.
    Closed,
    /// Nothing is wrong, it is too early.
    Pending,
    /// We do not know.
    Unknown,
}

impl Verdict {
    /// All of them, in the order of the metric's labels.
    pub const ALL: [Self; 4] = [Self::Open, Self::Closed, Self::Pending, Self::Unknown];

    /// Lower-case name, as in metrics and API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Pending => "pending",
            Self::Unknown => "unknown",
        }
    }
}

/// One reason why a gate or guard is not open.
#[derive(Debug, Clone, PartialEq)]
pub struct Blocker {
    /// The phase it belongs to.
    pub phase: PhaseName,
    /// The probe, unless the phase itself is the reason.
    pub probe: Option<ProbeName>,
    /// The verdict it causes.
    pub verdict: Verdict,
    /// The probe's colour.
    pub state: Option<ProbeState>,
    /// Why; `snake_case`.
    pub reason: Reason,
    /// What was seen.
    pub evidence: Evidence,
}

/// How far the soak of a gate is: the least of its probes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SoakView {
    /// Green time needed.
    pub need: Duration,
    /// Green time served by the probe that has least.
    pub have: Duration,
    /// Passes needed.
    pub samples_need: u32,
    /// Passes of the probe that has fewest.
    pub samples_have: u32,
}

/// A verdict with its reasons.
#[derive(Debug, Clone, PartialEq)]
pub struct GateView {
    /// Of which phase.
    pub phase: PhaseName,
    /// The answer.
    pub verdict: Verdict,
    /// Why not open, worst first; at most [`MAX_BLOCKERS`].
    pub blockers: Vec<Blocker>,
    /// How many blockers there are.
    pub blocked_by: usize,
    /// Active overrides that count here.
    pub overrides: Vec<u64>,
    /// The soak, for gates.
    pub soak: SoakView,
    /// Since when it has been open without a break.
    pub open_since: Option<Now>,
}

/// What one probe looks like in an evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeView {
    /// Its name.
    pub name: ProbeName,
    /// Position of its phase.
    pub phase: usize,
    /// The colour and why.
    pub sight: Sight,
    /// Since when it has this colour.
    pub since: Now,
    /// Whether this epoch's time counts as green for its soak.
    pub credited: bool,
    /// Whether a `until` has retired it.
    pub retired: bool,
}

/// One evaluation of everything.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Its number.
    pub epoch: u64,
    /// When.
    pub at: Now,
    /// In document order.
    pub probes: Vec<ProbeView>,
    /// The gate of each phase, in document order.
    pub gates: Vec<GateView>,
    /// The entry guard of each phase, in document order.
    pub guards: Vec<GateView>,
}

/// Evaluates everything at one moment.
pub fn evaluate(state: &State, now: Now) -> Evaluation {
    let epoch = state.soft.epoch.saturating_add(1);
    let Some(plan) = state.durable.plan.clone() else {
        return Evaluation { epoch, at: now, probes: Vec::new(), gates: Vec::new(), guards: Vec::new() };
    };
    let before = state.live.evaluation.as_deref();
    let probes = look(state, &plan, before, now);
    let board = Board { state, plan: &plan, probes: &probes, now };
    let gates = (0..plan.phases.len()).filter_map(|at| board.gate(at, before)).collect();
    let guards = (0..plan.phases.len()).filter_map(|at| board.guard(at)).collect();
    Evaluation { epoch, at: now, probes, gates, guards }
}

fn look(state: &State, plan: &Plan, before: Option<&Evaluation>, now: Now) -> Vec<ProbeView> {
    let close = before.is_some_and(|e| now.t.since(e.at.t) <= MAX_EPOCH_GAP);
    let view = |(at, (phase, probe)): (usize, (usize, &ProbePlan))| {
        let sight = state.sight(probe, now);
        let last = before.filter(|_| state.shown(&probe.name)).and_then(|e| e.probe_named(at, &probe.name));
        let was = last.map(|view| view.sight.state);
        let disturbed = state.live.probes.get(&probe.name).is_none_or(|record| record.disturbed);
        ProbeView {
            name: probe.name.clone(),
            phase,
            since: last.filter(|view| view.sight.state == sight.state).map_or(now, |view| view.since),
            credited: close && !disturbed && was == Some(ProbeState::Green) && sight.state == ProbeState::Green,
            retired: state.retired(probe),
            sight,
        }
    };
    plan.probes().enumerate().map(view).collect()
}

impl Evaluation {
    /// The gate of a phase.
    pub fn gate(&self, phase: &str) -> Option<&GateView> {
        self.gates.iter().find(|gate| &*gate.phase == phase)
    }

    /// The entry guard of a phase.
    pub fn guard(&self, phase: &str) -> Option<&GateView> {
        self.guards.iter().find(|guard| &*guard.phase == phase)
    }

    /// A probe.
    pub fn probe(&self, name: &str) -> Option<&ProbeView> {
        self.probes.iter().find(|probe| &*probe.name == name)
    }

    /// The same probe as in another evaluation; its position is tried first.
    pub fn probe_named(&self, at: usize, name: &str) -> Option<&ProbeView> {
        self.probes.get(at).filter(|view| &*view.name == name).or_else(|| self.probe(name))
    }

    /// How old it is.
    pub fn age(&self, now: Millis) -> Duration {
        now.since(self.at.t)
    }
}

#[cfg(test)]
mod tests;
