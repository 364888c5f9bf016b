//! Stand-in until the real store is merged.

use crate::clock::BootMoment;
use crate::event::Event;
use crate::now::Now;
use crate::state::State;
use serde::{Deserialize, Serialize};

/// x
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// x
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditPage {
    /// x
    pub entries: Vec<serde_json::Value>,
}

/// x
pub trait Store: Send {
    /// x
    fn append(&mut self, events: &[Event], at: Now) -> Result<(), StoreError>;
    /// x
    fn checkpoint(&mut self, state: &State, at: Now, boot: &BootMoment) -> Result<(), StoreError>;
    /// x
    fn audit(&self, from: u64, limit: usize) -> Result<AuditPage, StoreError>;
}

/// x
#[derive(Debug, Default)]
pub struct MemoryStore {
    events: Vec<Event>,
}
impl Store for MemoryStore {
    fn append(&mut self, events: &[Event], _at: Now) -> Result<(), StoreError> {
        self.events.extend_from_slice(events);
        Ok(())
    }
    fn checkpoint(&mut self, _: &State, _: Now, _: &BootMoment) -> Result<(), StoreError> {
        Ok(())
    }
    fn audit(&self, from: u64, limit: usize) -> Result<AuditPage, StoreError> {
        let skip = usize::try_from(from).unwrap_or(usize::MAX);
        Ok(AuditPage {
            entries: self.events.iter().skip(skip).take(limit).filter_map(|e| serde_json::to_value(e).ok()).collect(),
        })
    }
}
