//! What the entries of a journal come to.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{Entry, JournalError, Opened, Place, read};
use crate::event::Way;
use crate::plan::StepName;
use crate::state::StepState;

/// A run, as far as this machine knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Story {
    /// How it began.
    pub(crate) opened: Opened,
    /// The number of the newest entry; the one that it began with is 1.
    pub(crate) entries: u64,
    /// The lock of the ledger that it held last.
    pub(crate) lock: Option<u64>,
    /// Where each step stands that something happened to. A step that the way back passed by, since it has no `undo`, stays as it
    /// was: only the ledger has the rule for it.
    pub(crate) steps: BTreeMap<StepName, Local>,
    /// What the ledger does not know yet, by number, in its order.
    pub(crate) untold: Vec<(u64, Entry)>,
    /// Since when nothing leads back any more, and who has said so.
    pub(crate) crossed: Option<(DateTime<Utc>, String)>,
    /// How it ended, if it is over.
    pub(crate) over: Option<String>,
}

/// Where a step stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Local {
    /// As the ledger will see it once it is told.
    pub(crate) state: StepState,
    /// When its `do` or `undo` was started last; none if that was not in this run.
    pub(crate) started: Option<DateTime<Utc>>,
    /// What was said of its end.
    pub(crate) note: String,
    /// The number of the newest entry of it.
    pub(crate) entry: u64,
}

impl Story {
    /// Reads the journal of the newest run, which may be in use; none if there never was one.
    pub(crate) fn read(place: &Place) -> Result<Option<Self>, JournalError> {
        Ok(read::read(place)?.story)
    }

    pub(super) fn new(opened: Opened) -> Self {
        Self { opened, entries: 1, lock: None, steps: BTreeMap::new(), untold: Vec::new(), crossed: None, over: None }
    }

    pub(super) fn add(&mut self, entry: Entry) {
        self.entries = self.entries.saturating_add(1);
        match &entry {
            Entry::Lock { id } => self.lock = Some(*id),
            Entry::Start { step, way, at, .. } => {
                let state = match way {
                    Way::Do => StepState::Running,
                    Way::Undo => StepState::Undoing,
                };
                self.stand(step, state, "").started = Some(*at);
            }
            Entry::Worked { step, .. } => {
                self.stand(step, StepState::Verifying, "");
            }
            Entry::End { step, way, end, note, .. } => {
                self.stand(step, StepState::after(*way, *end), note);
            }
            Entry::Crossed { at, by } => self.crossed = Some((*at, by.clone())),
            Entry::Told { up_to } => self.untold.retain(|(number, _)| number > up_to),
            Entry::Over { how } => self.over = Some(how.clone()),
        }
        if let Entry::Start { told: false, .. } | Entry::Worked { told: false, .. } | Entry::End { told: false, .. } = entry {
            self.untold.push((self.entries, entry));
        }
    }

    fn stand(&mut self, step: &StepName, state: StepState, note: &str) -> &mut Local {
        let new = || Local { state, started: None, note: String::new(), entry: 0 };
        let local = self.steps.entry(step.clone()).or_insert_with(new);
        (local.state, local.entry) = (state, self.entries);
        note.clone_into(&mut local.note);
        local
    }
}
