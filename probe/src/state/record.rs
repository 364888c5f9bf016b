//! PURE. What a process has seen of one probe: its Runs, and its negative control.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use checks::{Hop, Outcome, PartId, Progress};

use super::{FLAP_LIMIT, FLAP_WINDOW, ProbeState, TRUST_CADENCES};
use crate::now::{Millis, Now};
use crate::plan::ProbePlan;

/// Whether the negative control has shown that the probe can fail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Trust {
    /// Not seen failing (recently).
    #[default]
    Untested,
    /// Seen failing with its own reason, at this moment.
    Trusted(Millis),
    /// It passed: the probe can not tell right from wrong.
    Untrusted,
}

/// One finished Run, as it is kept and shown.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    /// When it started: the age of its evidence counts from here.
    pub started: Now,
    /// When it was over.
    pub finished: Now,
    /// The worst part's outcome.
    pub outcome: Outcome,
    /// All parts.
    pub parts: BTreeMap<PartId, Outcome>,
    /// How far a proof has come, when this was a slice.
    pub progress: Option<Progress>,
    /// How far what it follows comes on its way, by part.
    pub trails: BTreeMap<PartId, Vec<Hop>>,
}

/// What this process has seen of one probe.
#[derive(Debug, Clone)]
pub struct ProbeRecord {
    /// Its fresh start.
    pub generation: u64,
    /// The colour that outcomes alone give.
    pub base: ProbeState,
    /// Consecutive Fails; an Unknown between them keeps the count.
    pub fails: u32,
    /// Consecutive Passes.
    pub passes: u32,
    /// The newest Run.
    pub last: Option<Arc<RunRecord>>,
    /// The newest Run that was not a Pass since it was last green.
    pub trouble: Option<Arc<RunRecord>>,
    /// The newest Pass.
    pub last_pass: Option<Now>,
    /// When `base` changed in a way that counts as flapping, within [`FLAP_WINDOW`].
    pub flips: VecDeque<Millis>,
    /// How often it began to flap.
    pub flaps: u64,
    /// Its negative control.
    pub trust: Trust,
    /// The newest control.
    pub control: Option<(Now, Outcome)>,
    /// Whether an epoch has shown it since its fresh start; what an epoch showed before was another probe.
    pub shown: bool,
    /// Something other than a Pass came in since the last epoch: no green credit for it.
    pub disturbed: bool,
}

impl ProbeRecord {
    /// A fresh start.
    pub fn new(generation: u64) -> Self {
        Self {
            generation,
            base: ProbeState::Unknown,
            fails: 0,
            passes: 0,
            last: None,
            trouble: None,
            last_pass: None,
            flips: VecDeque::new(),
            flaps: 0,
            trust: Trust::Untested,
            control: None,
            shown: false,
            disturbed: true,
        }
    }

    /// Takes in one finished Run of a continuous probe and says which base colour it has now. `excused`: a step is known to
    /// disturb it, so that a change says nothing about how steady it is.
    pub fn observe(&mut self, run: Arc<RunRecord>, plan: &ProbePlan, excused: bool) -> ProbeState {
        let at = run.finished.t;
        let next = match &run.outcome {
            Outcome::Pass { .. } => {
                self.fails = 0;
                self.passes = self.passes.saturating_add(1);
                self.last_pass = Some(run.started);
                if self.passes >= plan.recover_after.max(1) { ProbeState::Green } else { self.base }
            }
            Outcome::Fail { .. } => {
                self.passes = 0;
                self.fails = self.fails.saturating_add(1);
                let red = self.base == ProbeState::Red || self.fails >= plan.fail_after.max(1);
                if red { ProbeState::Red } else { ProbeState::Suspect }
            }
            Outcome::Unknown { .. } => {
                self.passes = 0;
                ProbeState::Unknown
            }
            Outcome::Waiting { .. } => {
                self.fails = 0;
                self.passes = 0;
                ProbeState::Waiting
            }
        };
        let passed = matches!(run.outcome, Outcome::Pass { .. });
        self.disturbed |= !passed;
        if !passed {
            self.trouble = Some(run.clone());
        } else if next == ProbeState::Green {
            self.trouble = None;
        }
        self.last = Some(run);
        self.flip(next, at, excused);
        next
    }

    fn flip(&mut self, next: ProbeState, at: Millis, excused: bool) {
        if next == self.base {
            return;
        }
        let before = self.flapping(at);
        // Nothing is wrong in either: what is not due yet becomes due.
        let calm = |colour| matches!(colour, ProbeState::Green | ProbeState::Waiting);
        let counts = !(excused || calm(self.base) && calm(next));
        self.base = next;
        if !counts {
            return;
        }
        self.flips.push_back(at);
        if self.flips.len() > FLAP_LIMIT {
            self.flips.pop_front();
        }
        if !before && self.flapping(at) {
            self.flaps = self.flaps.saturating_add(1);
        }
    }

    /// Whether its colour changes too often to be believed.
    pub fn flapping(&self, now: Millis) -> bool {
        self.flips.iter().filter(|at| now.since(**at) < FLAP_WINDOW).count() >= FLAP_LIMIT
    }

    /// Its trust now; an old one has run out.
    pub fn trust(&self, plan: &ProbePlan, now: Millis) -> Trust {
        match self.trust {
            Trust::Trusted(at) if now.since(at) > plan.control_every.saturating_mul(TRUST_CADENCES) => Trust::Untested,
            trust @ (Trust::Trusted(_) | Trust::Untested | Trust::Untrusted) => trust,
        }
    }
}
