//! PURE. What comes in: documents, finished Runs and controls, commands, and the passing of time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use checks::{Hop, Outcome, PartId, Step};

use super::Command;
use crate::now::Now;
use crate::plan::{Plan, ProbeName};
use crate::state::Unwritable;

/// What reaches the ledger.
#[derive(Debug, Clone)]
pub enum Input {
    /// A document was loaded: at the start, or on reload.
    Configure(Arc<Plan>),
    /// A probe's Run is over.
    Run(Run),
    /// A probe's negative control is over.
    Control(Control),
    /// The machine has booted since the ledger was written.
    AnotherBoot,
    /// Evaluate now.
    Epoch,
    /// Somebody wants something.
    Command(Command),
    /// The store could, or could not, be written.
    Store(Result<(), Unwritable>),
}

/// One finished Run, on its way in.
#[derive(Debug, Clone)]
pub struct Run {
    /// Of which probe.
    pub probe: ProbeName,
    /// Of which fresh start; an older one is ignored.
    pub generation: u64,
    /// When it started looking.
    pub started: Now,
    /// When it was over.
    pub finished: Now,
    /// What it saw.
    pub step: Step,
    /// Memory for the next Run.
    pub memory: Option<Arc<[u8]>>,
    /// Identities it read, by target.
    pub identities: BTreeMap<String, String>,
    /// How far what it follows comes on its way, by part.
    pub trails: BTreeMap<PartId, Vec<Hop>>,
    /// Everything that can be a part now, if somebody knows: what was one and is not named any more has left.
    pub named: Option<BTreeSet<PartId>>,
}

/// One finished negative control, on its way in.
#[derive(Debug, Clone)]
pub struct Control {
    /// Of which probe.
    pub probe: ProbeName,
    /// Of which fresh start.
    pub generation: u64,
    /// When it started.
    pub started: Now,
    /// When it was over.
    pub finished: Now,
    /// What it saw; it must be a Fail with the control's own reason.
    pub outcome: Outcome,
}
